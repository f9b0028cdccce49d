"""Connecting a socket by Happy Eyeballs (RFC 8305), a proxy's tunnel (RFC 9110, section 9.3.6) and TLS over it, without blocking.

The addresses are tried in the system's order, with the families alternating. The next attempt starts when one has failed, or after
DELAY, while the earlier ones go on; the first to connect wins and the others are closed. Tornado's TCPClient makes one attempt per
family at a time: an address that drops packets delays all others of its family.

Each function closes the sockets of its own cancelled or failed attempts.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from http.client import responses
from typing import Any

from ...codecs import errors
from . import http1
from .resolver import Address
from .tls import NOT_READY, Tls

DELAY = 0.25  # seconds, RFC 8305's "Connection Attempt Delay"
_FOR_NOW = frozenset({408, 425, 429})  # refusals of a request that would be answered at another time
MAX_PROXY_HEAD = 16 * 1024  # bytes of a proxy's answer to CONNECT


def in_turn(addresses: list[Address]) -> list[Address]:
    """The same addresses with the families alternating, the first one's first (RFC 8305, section 4)."""
    families: dict[int, deque[Address]] = {}
    for address in addresses:
        families.setdefault(address.family, deque()).append(address)
    ordered: list[Address] = []
    while len(ordered) < len(addresses):
        ordered += [queue.popleft() for queue in families.values() if queue]
    return ordered


async def connect(addresses: list[Address], make_room: Callable[[], bool]) -> socket.socket:
    """A socket connected to one of the addresses. Raises OSError, whose text has the error of each address.

    make_room: called when the process has no descriptor left; returns whether it has closed one.
    """
    waiting = deque(in_turn(addresses))
    if len(waiting) == 1:
        return await _attempt(waiting[0], make_room)
    attempts: set[asyncio.Task[socket.socket]] = set()
    failures: list[str] = []
    try:
        while waiting or attempts:
            if waiting:
                attempts.add(asyncio.get_running_loop().create_task(_attempt(waiting.popleft(), make_room)))
            done, _ = await asyncio.wait(attempts, timeout=DELAY if waiting else None, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                attempts.discard(task)
                error = task.exception()
                if error is None:
                    attempts |= done - {task}  # several may connect in one iteration of the loop
                    return task.result()
                failures.append(str(error))
        raise OSError("; ".join(failures))
    finally:
        for task in attempts:
            task.add_done_callback(_discard)
            task.cancel()


def _discard(task: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that succeeded before it could be cancelled."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _attempt(address: Address, make_room: Callable[[], bool]) -> socket.socket:
    sock = _socket(address.family, make_room)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(address.place)
        if code == errno.EINPROGRESS:
            await _ready(sock, asyncio.get_running_loop().add_writer, asyncio.get_running_loop().remove_writer)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, f"{os.strerror(code)} ({address.place[0]})")
    except BaseException:
        sock.close()
        raise
    return sock


def _socket(family: int, make_room: Callable[[], bool]) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE) or not make_room():
            raise
    return socket.socket(family, socket.SOCK_STREAM)


async def tunnel(sock: socket.socket, request: bytes) -> None:
    """Have a proxy connect the socket to an upstream. request: the head of a CONNECT request. Closes the socket when it fails.

    Raises OSError, also when the proxy closes the connection; Refused for a status other than 2xx; Garbled. A server says nothing before
    the TLS handshake, so bytes behind the proxy's answer do not come from the upstream.
    """
    loop = asyncio.get_running_loop()
    try:
        unsent = memoryview(request)
        while unsent:
            try:
                unsent = unsent[sock.send(unsent) :]
            except NOT_READY:
                await _ready(sock, loop.add_writer, loop.remove_writer)
        reader, head, room = http1.HeadReader(), None, MAX_PROXY_HEAD
        while head is None:
            try:
                data = sock.recv(room)
            except NOT_READY:
                await _ready(sock, loop.add_reader, loop.remove_reader)
                continue
            if not data:
                raise ConnectionError("closed by the proxy")
            room -= len(data)
            try:
                head = reader.feed(data)
            except errors.Garbled as fault:
                raise _malformed(fault.detail) from None
            if head is None and not room:
                raise _malformed("response head too large")
        if not 200 <= head.status < 300:
            raise refusal(head)
        if reader.rest:
            raise _malformed("bytes before the TLS handshake")
    except BaseException:
        sock.close()
        raise


def _malformed(detail: str) -> errors.Garbled:
    return errors.Garbled("The proxy's answer is malformed.", detail)


def refusal(head: http1.Head) -> errors.Refused:
    """The fault for a proxy's own answer that is no success. Its words are not told: they may repeat the login."""
    detail, message = f"proxy: {head.status} {responses.get(head.status, '')}".rstrip(), "The proxy refused to connect to the upstream."
    if head.status == 407:
        detail, message = f"{detail}: the proxy wants a login", "The proxy requires credentials, or rejected the configured ones."
    fault = errors.Refused(message, detail)
    fault.again = head.status >= 500 or head.status in _FOR_NOW
    return fault


async def secure(sock: socket.socket, context: ssl.SSLContext, host: str) -> Tls:
    """TLS over the connection, after the handshake. Closes the socket when it fails. Raises OSError or ValueError."""
    loop = asyncio.get_running_loop()
    try:
        tls = Tls(sock, context, host)
        while True:
            try:
                tls.shake_hands()
                return tls
            except ssl.SSLWantReadError:
                await _ready(sock, loop.add_reader, loop.remove_reader)
            except ssl.SSLWantWriteError:
                await _ready(sock, loop.add_writer, loop.remove_writer)
    except BaseException:
        sock.close()
        raise


async def _ready(sock: socket.socket, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
    """Wait until the loop reports the socket ready."""
    reported: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(sock.fileno(), _report, reported)
    try:
        await reported
    finally:
        remove(sock.fileno())


def _report(reported: asyncio.Future[None]) -> None:
    if not reported.done():
        reported.set_result(None)
