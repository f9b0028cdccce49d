"""Checks before a process serves and before workers are forked: certificates, ports, the store.

An error found here ends `serve` with a message that names the listener, the file or the store; an error found in a worker would
make the supervisor restart it again and again. `check` finds the same errors without keeping a port or creating a file.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import pathlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import takewhile

from tornado.netutil import bind_sockets

from ...conf import ConfigError
from ...conf.document import Path
from ...conf.model import Config, Control, Listener, StateStorage
from .. import control
from ..credentials import sources
from ..exchange import envelopes
from ..memory import stores
from ..wire import egress

log = logging.getLogger("dragoman")

BACKLOG = 4096  # connections that wait for `accept`
THREAD_SECONDS = 1.0  # for a thread to end

Fault = tuple[Path, str]
"""Where in the file it is, and what is wrong there, by name."""

Sockets = dict[int, list[socket.socket]]
"""Listening sockets by the index of their listener."""


class Unusable(ConfigError):
    """The configuration names a certificate or an address that cannot be used."""

    def __init__(self, message: str) -> None:
        super().__init__([])
        self.args = (message,)


class Taken(OSError):
    """Another process has the port of a listener. `str` names the listener."""


@dataclass(frozen=True)
class Plan:
    """A configuration that can be served.

    config: with the ports that the system assigned for port 0. contexts: the TLS context of each listener, None without TLS.
    written: the listeners as configured.
    """

    config: Config
    contexts: tuple[ssl.SSLContext | None, ...]
    written: tuple[Listener, ...]


def plan(config: Config) -> Plan:
    """Check a configuration. Raises ConfigError when a certificate, a credential's package or the store cannot be used."""
    _have_packages(config)
    contexts = tuple(map(tls_context, config.listeners))
    egress.contexts(config)
    asyncio.run(_try_store(config.state_storage))
    _prepare_control(config)
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(THREAD_SECONDS)  # threads of the closed store: none may exist when workers are forked
    return Plan(config, contexts, config.listeners)


def claim(plan: Plan) -> tuple[Plan, Sockets]:
    """Bind the listeners: the plan with the assigned ports, and the sockets. Raises Taken, or ConfigError for an unusable address."""
    sockets = {index: bind(listener) for index, listener in enumerate(plan.config.listeners)}
    listeners = [replace(listener, port=sockets[index][0].getsockname()[1]) for index, listener in enumerate(plan.config.listeners)]
    return replace(plan, config=replace(plan.config, listeners=tuple(listeners))), sockets


def renewed(old: Plan, config: Config) -> tuple[Plan, list[str]]:
    """The plan for a reloaded configuration while `old` is served, and a message for each change that needs a restart.

    Raises ConfigError when a certificate or a credential's package cannot be used.
    """
    _have_packages(config)
    waiting = [
        f"{section} has changed: this takes effect at the next start"
        for section in ("state_storage", "tracing", "control")
        if getattr(config, section) != getattr(old.config, section)
    ]
    written = config.listeners
    served = old.config.listeners
    if list(map(_place, written)) == list(map(_place, old.written)):
        served = tuple(
            replace(now, timeout=new.timeout, tls=new.tls, name=new.name, allow_from=new.allow_from)
            for new, now in zip(written, served, strict=True)
        )
        waiting += [
            f"{called(now)} has changed: all but its name, timeout, tls and allow_from takes effect at the next start"
            for new, now in zip(written, served, strict=True)
            if replace(new, port=now.port) != now
        ]
    else:
        written = old.written
        waiting.append("the number of listeners, or the type, address or port of one, has changed: this takes effect at the next start")
    contexts = tuple(map(tls_context, served))
    egress.contexts(config)
    config = replace(
        config, listeners=served, state_storage=old.config.state_storage, tracing=old.config.tracing, control=old.config.control
    )
    return Plan(config, contexts, written), waiting


def _place(listener: Listener) -> tuple[str, str, int]:
    """The fields of a listener that cannot change while it listens."""
    return listener.type, listener.address, listener.port


def called(listener: Listener) -> str:
    """A listener, for messages."""
    return f"{listener.type} listener {listener.address}:{listener.port}"


# ---- packages ----


def _have_packages(config: Config) -> None:
    """Raises ConfigError for an entry whose credential needs an extra that is not installed."""
    if lacking := "\n".join(message for _, message in _lacking(config)):
        raise Unusable(lacking)


# ---- the control store ----


def _prepare_control(config: Config) -> None:
    """Bring its tables up to date. Raises ConfigError when it cannot be used. A server that does not answer is no error."""
    if config.control is None:
        return
    if fault := control.lacking():
        raise Unusable(fault)
    from ..control.control import make_folder
    from ..control.store import Away, migrate

    make_folder(config.control.folder)
    try:
        migrate(config.control)
    except Away as error:
        if config.control.store == "sqlite":
            raise Unusable(f"control: {config.control.path}: {error}") from None
        log.error("the control store does not answer: %s", error)


# ---- certificates ----


def tls_context(listener: Listener) -> ssl.SSLContext | None:
    """A context with the listener's certificate; None without TLS. Raises ConfigError, which names the file."""
    if listener.tls is None:
        return None
    for key, file in (("cert", listener.tls.cert), ("key", listener.tls.key)):
        try:
            pathlib.Path(file).read_bytes()
        except OSError as error:
            raise Unusable(f"{called(listener)}: tls.{key}: {file}: {error.strerror}") from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(listener.tls.cert, listener.tls.key, password="")  # "": do not prompt for one
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise Unusable(f"{called(listener)}: tls: {listener.tls.cert} and {listener.tls.key}: {reason}") from None
    return context


# ---- ports ----


def bind(listener: Listener, shared: bool = False) -> list[socket.socket]:
    """Listening sockets. shared: with SO_REUSEPORT, so that other processes can share the port.

    Raises Taken when another process has the port (if shared: without SO_REUSEPORT), ConfigError for any other failure.
    """
    try:
        return bind_sockets(listener.port, listener.address, backlog=BACKLOG, reuse_port=shared)
    except UnicodeError:  # of the codec `idna`
        raise Unusable(f"{called(listener)}: cannot listen: the address is not the name of a host") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Taken(f"{called(listener)}: the port is in use by another process") from None
        raise Unusable(f"{called(listener)}: cannot listen: {error.strerror}") from None


def hold(sockets: Sockets) -> list[socket.socket]:
    """Close listening sockets and reserve their ports for sockets with SO_REUSEPORT. Raises OSError."""
    held = []
    for sock in [sock for some in sockets.values() for sock in some]:
        place = sock.getsockname()
        sock.close()
        holder = socket.socket(sock.family)
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            holder.setsockopt(socket.SOL_SOCKET, option, 1)
        if sock.family == socket.AF_INET6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        holder.bind(place)  # it does not listen, so it receives no connections
        held.append(holder)
    return held


# ---- the store ----


async def _try_store(storage: StateStorage) -> None:
    """Raises ConfigError. An unreachable server is not an error: requests that need it are refused until it answers."""
    await stores.make(storage).close()


def _store_fault(storage: StateStorage) -> str | None:
    """Why the store cannot be used, or None. Creates no file."""
    if storage.type != "sqlite":
        try:
            asyncio.run(_try_store(storage))
        except ConfigError as error:
            return str(error)
        return None
    from ..memory.stores import sqlite

    file = pathlib.Path(storage.path or "")
    why = _file_fault(file) or (sqlite.fault(file) if file.exists() else None)
    return why and f"state_storage: {file}: {why}"


def _file_fault(file: pathlib.Path) -> str | None:
    """Why a file can be neither made nor written, or None."""
    if file.is_dir():
        return "is a folder"
    needed = file if file.exists() else file.parent
    if not needed.exists():
        return f"there is no folder {needed}"
    return None if os.access(needed, os.W_OK) else "cannot be written"


def _control_fault(settings: Control) -> str | None:
    """Why the control store cannot be used, or None. Makes no file and no folder."""
    if fault := control.lacking():
        return fault
    from ..control.store import fault as store_fault

    folder = pathlib.Path(settings.folder)
    made = list(takewhile(lambda one: not one.exists(), (folder, *folder.parents)))
    above = folder.parents[len(made) - 1] if made else folder
    if not above.is_dir():
        return f"control: folder: {folder}: {above} is not a folder"
    if made and not os.access(above, os.W_OK):
        return f"control: folder: {folder}: {above} cannot be written"
    file = None if settings.path is None else pathlib.Path(settings.path).absolute()
    if file is not None and file.parent not in made and (why := _file_fault(file)):
        return f"control: {settings.path}: {why}"
    return store_fault(settings)


# ---- check ----


def _lacking(config: Config) -> Iterator[Fault]:
    """Each part of the configuration that needs a package that is not installed."""
    yield from sources.lacking(config)
    if config.jwt is not None and not all(map(find_spec, ("jwt", "cryptography"))):
        yield ("jwt",), "jwt needs: pip install 'dragoman[jwt]'"
    if config.compaction.seal_key and not all(map(find_spec, envelopes.PACKAGES)):
        yield ("compaction", "seal_key"), "compaction.seal_key needs: pip install 'dragoman[seal]'"


def faults(config: Config) -> tuple[list[Fault], list[Fault]]:
    """The errors that would end `serve` at its start, and the ports in use (perhaps by the running gateway itself)."""
    wrong = list(_lacking(config))
    if fault := _store_fault(config.state_storage):
        wrong.append((("state_storage",), fault))
    wrong += [((*_in_file(one), "tls"), fault) for one in config.listeners if (fault := _tls_fault(one))]
    wrong += egress.faults(config)
    if config.control is not None and (fault := _control_fault(config.control)):
        wrong.append((("control",), fault))
    busy: list[Fault] = []
    for listener in config.listeners:
        try:
            for sock in bind(listener):
                sock.close()
        except Taken as error:
            busy.append(((*_in_file(listener), "port"), str(error)))
        except ConfigError as error:
            wrong.append(((*_in_file(listener), "address"), str(error)))
    return wrong, busy


def _in_file(listener: Listener) -> Path:
    return () if listener.index is None else ("listeners", listener.index)


def _tls_fault(listener: Listener) -> str | None:
    try:
        tls_context(listener)
    except ConfigError as error:
        return str(error)
    return None
