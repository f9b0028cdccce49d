"""Connections to upstreams: opened by Tornado's TCPClient, driven by the loop's own reader, pooled while idle.

Strategy: once TCPClient (DNS, happy eyeballs, TLS) has given a stream, IOLoop's handler is taken off and the loop calls the
connection itself, which reads from the socket into one buffer that all connections share, and passes the bytes of that read on.
Nothing else happens for a read: no Future, no buffer of its own, no search for delimiters. The stream itself is let go.

What comes faster than anyone reads is not read piece by piece: after HURRIED reads, each right after the one before, a connection is read
once every REST (network cards do the same with interrupts). It costs such a stream a millisecond or two, and leaves time to others.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import struct
import types
import weakref
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NamedTuple, Protocol

from tornado.iostream import IOStream
from tornado.tcpclient import TCPClient

from ...codecs import errors
from .socket import NOT_READY

READ_SIZE = 64 * 1024  # bytes of one read; more than a TLS record, so that nothing stays behind inside OpenSSL
CHECK_SECONDS = 0.1  # between two looks at connections that the loop may have forgotten, see Pool: at FEW of them, or
FEW, LOOKS = 100, 10  # at as many as it takes to have seen all in so many looks (all at once would hold up every stream)
HURRIED, REST = 4, 0.001  # reads, seconds (the clock of a loop on libuv has steps of one millisecond)
CHECK_READS = 64  # of one connection at such a look; what is left waits for the next

# Model calls are silent for minutes: probes keep NAT tables alive and find a peer that is gone.
_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *((socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in _PROBES.items() if hasattr(socket, name)),
]


class Origin(NamedTuple):
    """Requests of one origin may share connections. context: None without TLS."""

    host: str
    port: int
    context: ssl.SSLContext | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Receiver(Protocol):
    """Whom a connection serves. waiting: not None as long as nothing may be read."""

    waiting: asyncio.Future[None] | None

    def received(self, data: bytes, now: float) -> None: ...

    def lost(self, error: OSError | None) -> None: ...


class Connection:
    """A connected stream. Either a receiver has it, or it lies idle in the pool, or it is closed."""

    def __init__(self, origin: Origin, stream: IOStream, pool: Pool) -> None:
        self.origin = origin
        self.receiver: Receiver | None = None
        self.reused = False
        self.idle_since = 0.0
        self._pool = pool
        self._buffer = pool.buffer
        self._socket = stream.socket
        self._receive, self._send = self._socket.recv_into, self._socket.send
        self._fd = self._socket.fileno()
        self._loop = pool.loop
        self._writer = False
        self._open = True
        stream.io_loop.remove_handler(stream.socket)
        for option in _SOCKET_OPTIONS:
            self._set(*option)
        self._reader = False
        self._last = 0.0  # loop time of the last read
        self._hurry = 0  # reads that came right after the one before
        self._resting: asyncio.TimerHandle | None = None
        self._add_reader()

    def _set(self, level: int, option: int, value: int | bytes) -> None:
        with contextlib.suppress(OSError):  # some systems refuse when the peer has reset it; reading will tell
            self._socket.setsockopt(level, option, value)

    def _add_reader(self) -> None:
        self._loop.add_reader(self._fd, self._read)
        self._reader = True

    def _remove_reader(self) -> None:
        self._loop.remove_reader(self._fd)
        self._reader = False

    def _rested(self) -> None:
        self._resting = None
        if self._read():
            self._resting = self._loop.call_later(REST, self._rested)
        elif self._open and (self.receiver is None or self.receiver.waiting is None):
            self._hurry = 0
            self.resume()

    def _read(self) -> bool:
        """One read, and all that follows from it. True if there may be more to read at once."""
        receiver = self.receiver
        if receiver is not None and receiver.waiting is not None:
            self._remove_reader()  # not before now: most awaitables are done before more bytes come
            return False
        error = None
        try:
            count = self._receive(self._buffer)
        except NOT_READY:
            return False
        except OSError as reset:
            count, error = 0, reset
        if receiver is None:
            self._pool.drop(self)  # bytes that nobody asked for, or the end: no use for it either way
        elif count:
            now = self._loop.time()
            self._hurry = self._hurry + 1 if now - self._last < 1.5 * REST else 0
            self._last = now
            receiver.received(bytes(self._buffer[:count]), now)
            more = self.receiver is receiver and receiver.waiting is None
            if more and self._reader and self._hurry >= HURRIED:
                self._remove_reader()
                self._resting = self._loop.call_later(REST, self._rested)
            return more
        else:
            receiver.lost(error)
        return False

    def resume(self) -> None:
        """The receiver no longer waits."""
        if not self._reader and self._resting is None:
            self._add_reader()

    def check(self) -> None:
        """Read what is there, unasked."""
        for _ in range(CHECK_READS):
            if not (self._reader and self._read()):
                return

    def write(self, data: memoryview) -> int:
        """Bytes that the kernel took, 0 if it is full. Raises OSError."""
        try:
            return self._send(data)
        except NOT_READY:
            return 0

    def when_writable(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` whenever the kernel takes more; None to end that."""
        if callback is not None:
            self._loop.add_writer(self._fd, callback)
        elif self._writer:
            self._loop.remove_writer(self._fd)
        self._writer = callback is not None

    def release(self) -> None:
        """The receiver is done; the connection is as good as new."""
        self.receiver = None
        self.when_writable(None)
        self._stop_resting()
        self.resume()
        self._pool.put(self)

    def _stop_resting(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    def close(self, reset: bool = False) -> None:
        """reset: drop what the peer has not taken yet, and tell it so (else the kernel would go on sending)."""
        self.receiver = None
        if reset:
            self._set(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # the loop must forget the descriptor before its number can belong to someone else
        self._open = False
        self._stop_resting()
        self._remove_reader()
        self.when_writable(None)
        self._socket.close()


class Pool:
    """Opens connections, and keeps idle ones by origin. The latest used is taken first, so that those not needed grow old and go.

    max_idle: connections kept for one origin. idle_seconds: how long each is kept.
    """

    def __init__(self, max_idle: int, idle_seconds: float) -> None:
        self.buffer = memoryview(bytearray(READ_SIZE))
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._idle: dict[Origin, list[Connection]] = {}
        self._tcp = TCPClient()
        self.loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        # a loop on libuv (uvloop) reports a reset once and then forgets the socket, however much data came before the reset
        self._check_timer: asyncio.TimerHandle | None = None
        self._unchecked: list[Connection] = []
        if not isinstance(self.loop, asyncio.SelectorEventLoop):
            self._check_timer = self.loop.call_later(CHECK_SECONDS, self._check)

    async def open(self, origin: Origin, seconds: float | None) -> Connection:
        """A new connection, within this time (None or 0: whatever it takes). Raises errors.Refused or errors.Timeout."""
        try:
            async with asyncio.timeout(seconds or None):
                stream = await _owned(self._connect(origin))
        except TimeoutError as error:
            raise errors.Timeout("connect", "The upstream could not be reached in time.", str(error)) from error
        except ssl.SSLError as error:
            raise errors.Refused("No secure connection to the upstream could be made.", str(error)) from error
        except (OSError, ValueError) as error:  # ValueError: no host name at all, or a peer that did not wait for TLS
            # a StreamClosedError hides why
            raise errors.Refused("The upstream could not be reached.", str(getattr(error, "real_error", None) or error)) from error
        if stream.closed():
            raise errors.Refused("The upstream closed the connection at once.")
        connection = Connection(origin, stream, self)
        self._connections.add(connection)
        return connection

    async def _connect(self, origin: Origin) -> IOStream:
        # no timeout for TCPClient: that would wrap the futures that _owned watches
        stream = await self._tcp.connect(origin.host, origin.port)
        if origin.context is None:
            return stream
        try:
            handshake = stream.start_tls(False, origin.context, server_hostname=origin.host)
        except ValueError:  # it has sent something already, or closed
            stream.close()
            raise
        return await handshake

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection, if there is one."""
        stack = self._idle.get(origin)
        if not stack:
            return None
        connection = stack.pop()
        connection.reused = True
        return connection

    def put(self, connection: Connection) -> None:
        if self._closed:
            connection.close()
            return
        stack = self._idle.setdefault(connection.origin, [])
        connection.idle_since = self.loop.time()
        stack.append(connection)
        if len(stack) > self._max_idle:
            stack.pop(0).close()
        if self._timer is None:
            self._timer = self.loop.call_later(self._idle_seconds, self._sweep)

    def drop(self, connection: Connection) -> None:
        """Close an idle connection."""
        self._idle[connection.origin].remove(connection)
        connection.close()

    def close(self) -> None:
        """Close all that is idle; what is in use will be closed when it comes back."""
        self._closed = True
        self._expire(float("inf"))
        for timer in (self._timer, self._check_timer):
            if timer is not None:
                timer.cancel()
        self._tcp.close()

    def _check(self) -> None:
        if not self._unchecked:
            self._unchecked = list(self._connections)
        for _ in range(min(len(self._unchecked), max(FEW, len(self._connections) // LOOKS))):
            self._unchecked.pop().check()
        self._check_timer = self.loop.call_later(CHECK_SECONDS, self._check)

    def _sweep(self) -> None:
        self._expire(self.loop.time() - self._idle_seconds)
        oldest = min((stack[0].idle_since for stack in self._idle.values()), default=None)
        self._timer = None if oldest is None else self.loop.call_at(oldest + self._idle_seconds, self._sweep)

    def _expire(self, horizon: float) -> None:
        for origin, stack in list(self._idle.items()):
            while stack and stack[0].idle_since <= horizon:
                stack.pop(0).close()
            if not stack:
                del self._idle[origin]


@types.coroutine
def _owned(connecting: Coroutine[Any, Any, IOStream]) -> Generator[Any, Any, IOStream]:
    """Await `connecting`, and leave no stream behind when cancelled.

    A cancellation in the very turn of the loop in which the connection came up hits an await that has its result already. The
    stream in it would stay open with no owner. So let `connecting` take its result before it is cancelled.
    """
    resume = take = functools.partial(connecting.send, None)
    while True:
        try:
            waited = resume()
        except StopIteration as end:
            stream: IOStream = end.value
            return stream
        try:
            yield waited
            resume = take
        except asyncio.CancelledError as cancelled:
            if waited.done() and not waited.cancelled():
                try:
                    take().cancel()  # it had the address, say, and has begun to connect
                except StopIteration as end:
                    end.value.close()
                    raise cancelled from None
                except Exception:
                    raise cancelled from None
            resume = functools.partial(connecting.throw, cancelled)
        except BaseException as error:
            resume = functools.partial(connecting.throw, error)
