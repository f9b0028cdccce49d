"""What must work before a process serves, and before any worker is forked: certificates, ports, the store.

A fault found here ends `serve` with a message that names the listener, the file or the store; a fault found later, in a worker,
could only be met by starting that worker again and again. `check` asks the same questions without taking a port or making a file.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from tornado.netutil import bind_sockets

from ...conf import ConfigError
from ...conf.model import Config, Listener, StateStorage
from ..memory import stores
from .server import BACKLOG

THREAD_SECONDS = 1.0  # that a thread has to end

Sockets = dict[int, list[socket.socket]]
"""Listening sockets by the index of their listener."""


class Unusable(ConfigError):
    """The configuration names something that cannot be used: a certificate, an address."""

    def __init__(self, message: str) -> None:
        super().__init__([])
        self.args = (message,)


class Taken(OSError):
    """Another process listens where a listener should. `str` names the listener."""


@dataclass(frozen=True)
class Plan:
    """A configuration that can be served.

    config: with the ports that were given out where the file says 0. contexts: of TLS, one for each listener, None without. written:
    the listeners as the file has them.
    """

    config: Config
    contexts: tuple[ssl.SSLContext | None, ...]
    written: tuple[Listener, ...]


def plan(config: Config) -> Plan:
    """Raises ConfigError when a certificate or the store cannot be used."""
    contexts = tuple(map(tls_context, config.listeners))
    asyncio.run(_try_store(config.state_storage))
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(THREAD_SECONDS)  # the store's, which has been closed: no thread may be there when workers are forked
    return Plan(config, contexts, config.listeners)


def claim(plan: Plan) -> tuple[Plan, Sockets]:
    """The plan with real ports, and all its listening sockets. Raises Taken; ConfigError for an address that is not this machine's."""
    sockets = {index: bind(listener) for index, listener in enumerate(plan.config.listeners)}
    listeners = [replace(listener, port=sockets[index][0].getsockname()[1]) for index, listener in enumerate(plan.config.listeners)]
    return replace(plan, config=replace(plan.config, listeners=tuple(listeners))), sockets


def renewed(old: Plan, config: Config) -> tuple[Plan, list[str]]:
    """The plan for a configuration that was read again while `old` is served, and what of it waits for the next start.

    Raises ConfigError when a certificate cannot be used; then nothing has changed.
    """
    waiting = [
        f"{section} has changed: this takes effect at the next start"
        for section in ("state_storage", "tracing")
        if getattr(config, section) != getattr(old.config, section)
    ]
    written = config.listeners
    served = old.config.listeners
    if list(map(_place, written)) == list(map(_place, old.written)):
        served = tuple(replace(now, timeout=new.timeout, tls=new.tls, name=new.name) for new, now in zip(written, served, strict=True))
        waiting += [
            f"{called(now)} has changed: what is not its name, timeout or tls takes effect at the next start"
            for new, now in zip(written, served, strict=True)
            if replace(new, port=now.port) != now
        ]
    else:
        written = old.written
        waiting.append("type, address or port of a listener, or their number, has changed: listeners change at the next start")
    contexts = tuple(map(tls_context, served))
    config = replace(config, listeners=served, state_storage=old.config.state_storage, tracing=old.config.tracing)
    return Plan(config, contexts, written), waiting


def _place(listener: Listener) -> tuple[str, str, int]:
    """What of a listener cannot change while it listens."""
    return listener.type, listener.address, listener.port


def called(listener: Listener) -> str:
    """A listener, for people."""
    return f"{listener.type} listener {listener.address}:{listener.port}"


# ---- certificates ----


def tls_context(listener: Listener) -> ssl.SSLContext | None:
    """A new context with the listener's certificate. Raises ConfigError, which names the file."""
    if listener.tls is None:
        return None
    for key, file in (("cert", listener.tls.cert), ("key", listener.tls.key)):
        try:
            Path(file).read_bytes()
        except OSError as error:
            raise Unusable(f"{called(listener)}: tls.{key}: {file}: {error.strerror}") from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(listener.tls.cert, listener.tls.key, password="")  # "": never ask for one on the terminal
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise Unusable(f"{called(listener)}: tls: {listener.tls.cert} and {listener.tls.key}: {reason}") from None
    return context


# ---- ports ----


def bind(listener: Listener, shared: bool = False) -> list[socket.socket]:
    """Sockets that listen. shared: with other processes that say the same (SO_REUSEPORT).

    Raises Taken when another process listens there alone, or, unless shared, in whatever way; ConfigError when the address or the
    port cannot be had at all.
    """
    try:
        return bind_sockets(listener.port, listener.address, backlog=BACKLOG, reuse_port=shared)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Taken(f"{called(listener)}: the port is in use by another process") from None
        raise Unusable(f"{called(listener)}: cannot be listened on: {error.strerror}") from None


def hold(sockets: Sockets) -> list[socket.socket]:
    """Close listening sockets and keep their ports: only sockets that share them (SO_REUSEPORT) can be bound to them. Raises OSError."""
    held = []
    for sock in [sock for some in sockets.values() for sock in some]:
        place = sock.getsockname()
        sock.close()
        holder = socket.socket(sock.family)
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            holder.setsockopt(socket.SOL_SOCKET, option, 1)
        if sock.family == socket.AF_INET6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        holder.bind(place)  # it never listens, so it gets no connections
        held.append(holder)
    return held


# ---- the store ----


async def _try_store(storage: StateStorage) -> None:
    """Raises ConfigError. A server that does not answer now is no fault: requests that need it are refused until it does."""
    await stores.make(storage).close()


def _store_fault(storage: StateStorage) -> str | None:
    """Why the store cannot be used; no file is made."""
    if storage.type != "sqlite":
        try:
            asyncio.run(_try_store(storage))
        except ConfigError as error:
            return str(error)
        return None
    file = Path(storage.path or "")
    if file.is_dir():
        return f"state_storage: {file}: is a folder"
    needed = file if file.exists() else file.parent
    if not needed.exists():
        return f"state_storage: {file}: there is no folder {needed}"
    return None if os.access(needed, os.W_OK) else f"state_storage: {file}: cannot be written"


# ---- check ----


def faults(config: Config) -> tuple[list[str], list[str]]:
    """What would end `serve` at its start, and what might (a port that is taken, perhaps by the gateway that runs with this file)."""
    wrong = [fault for fault in (_store_fault(config.state_storage), *map(_tls_fault, config.listeners)) if fault]
    busy: list[str] = []
    for listener in config.listeners:
        try:
            for sock in bind(listener):
                sock.close()
        except Taken as error:
            busy.append(str(error))
        except ConfigError as error:
            wrong.append(str(error))
    return wrong, busy


def _tls_fault(listener: Listener) -> str | None:
    try:
        tls_context(listener)
    except ConfigError as error:
        return str(error)
    return None
