"""Connections to upstreams: opening, reading, and the pool of idle ones.

Strategy: a connection registers its own reader callback with the event loop, reads from the socket into one buffer that all
connections share, and passes the bytes on. A read needs no Future, no buffer per connection and no search for delimiters.

Fast streams are read in larger pieces: after HURRIED reads in quick succession a connection is read once every REST (as network
cards moderate interrupts). This delays such a stream by a millisecond or two and leaves time for the others.

One upstream does not starve another. At most MOST_OPENING connections to an origin are opened at once, so that an unresponsive one
cannot use up the descriptors; further ones wait within their connect timeout. When the process has no descriptor left, the
connection that has been idle longest is closed. The kernel ends a connection whose data the peer has not acknowledged for
UNACKNOWLEDGED seconds, and probes silent ones. A connection older than OLDEST is not reused, so that changed addresses take effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import select
import socket
import ssl
import struct
import termios
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ...codecs import errors
from ...conf.model import Proxy
from . import http1
from .connect import connect, secure, tunnel
from .resolver import LookUp, Resolver, system_look_up
from .socket import Outbox
from .tls import NOT_READY, Tls, ways

READ_SIZE = 64 * 1024  # bytes of one read: at least tls.FITS
CHECK_SECONDS = 0.1  # between two checks of connections that the loop may no longer report, see Pool
FEW, LOOKS = 100, 10  # connections per check: FEW, or a LOOKS-th of all if that is more (all at once would delay every stream)
QUICK = 0.0015  # seconds between two reads in quick succession
HURRIED, REST = 4, 0.001  # reads, seconds (the clock of a loop on libuv has a resolution of one millisecond)
HEARD = 0.5  # seconds since a read in which a connection is not checked
CHECK_READS = 64  # reads of one connection per check
MOST_OPENING = 256  # connections to one origin that are being opened
OLDEST = 600.0  # seconds
UNACKNOWLEDGED = 30.0  # seconds

# Model calls are silent for minutes: probes keep NAT entries alive and detect a dead peer (with TCP_USER_TIMEOUT the second
# unanswered probe ends the connection).
_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *((socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in _PROBES.items() if hasattr(socket, name)),
]


class Origin(NamedTuple):
    """The key of the pool: requests to one origin may share connections. context: None without TLS. proxy: None for a direct way."""

    host: str
    port: int
    context: ssl.SSLContext | None
    proxy: Proxy | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" + (f" via {self.proxy}" if self.proxy else "")


class Receiver(Protocol):
    """The user of a connection. waiting: not None while reading is paused."""

    waiting: asyncio.Future[None] | None

    def received(self, data: bytes, now: float) -> None: ...

    def lost(self, error: OSError | None) -> None: ...


class Connection:
    """A connected socket: in use by a receiver, idle in the pool, or closed."""

    __slots__ = (
        "__weakref__", "_buffer", "_fd", "_hurry", "_last", "_loop", "_open", "_poll", "_pool", "_reader", "_receive", "_resting",
        "_send", "_socket", "_writer", "idle_since", "opened_at", "origin", "receiver", "reused",
    )  # fmt: skip

    def __init__(self, origin: Origin, sock: socket.socket, tls: Tls | None, pool: Pool) -> None:
        self.origin = origin
        self.receiver: Receiver | None = None
        self.reused = False
        self.idle_since = 0.0
        self._pool = pool
        self._buffer = pool.buffer
        self._socket = sock
        self._receive, self._send = ways(sock, tls)
        self._fd = self._socket.fileno()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._loop = pool.loop
        self.opened_at = self._loop.time()
        self._writer = False
        self._open = True
        for option in _SOCKET_OPTIONS:
            self._set(*option)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            self._set(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNACKNOWLEDGED * 1000))
        self._reader = False
        self._last = 0.0  # loop time of the last read
        self._hurry = 0  # reads in quick succession
        self._resting: asyncio.TimerHandle | None = None
        self._add_reader()

    def _set(self, level: int, option: int, value: int | bytes) -> None:
        with contextlib.suppress(OSError):  # some systems refuse after a reset by the peer; the next read reports that
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
        """Read once and deliver the bytes. True if there may be more to read."""
        receiver = self.receiver
        if receiver is not None and receiver.waiting is not None:
            self._remove_reader()  # only now: most awaitables are done before more bytes arrive
            return False
        error = None
        receive = self._receive  # a call of a slot's content is slow in CPython
        try:
            count = receive(self._buffer)
        except NOT_READY:
            return False
        except OSError as reset:
            count, error = 0, reset
        if receiver is None:
            self._pool.drop(self)  # unsolicited bytes, or the end: the connection is unusable
            return False
        if not count:
            receiver.lost(error)
            return False
        now = self._loop.time()
        hurry = self._hurry = self._hurry + 1 if now - self._last < QUICK else 0
        self._last = now
        receiver.received(self._buffer[:count].tobytes(), now)
        if self.receiver is not receiver or receiver.waiting is not None:
            return False
        if hurry >= HURRIED and self._reader:
            self._remove_reader()
            self._resting = self._loop.call_later(REST, self._rested)
        return True

    def resume(self) -> None:
        """Read again, after the receiver's `waiting` was done."""
        if not self._reader and self._resting is None:
            self._add_reader()

    def check(self) -> None:
        """Read what is available, without waiting for the loop's report; what has just been read was reported."""
        if self._loop.time() - self._last < HEARD:
            return
        for _ in range(CHECK_READS):
            if not (self._reader and self._read()):
                return

    def silent(self) -> bool:
        """Whether an idle connection is open and has nothing to read; asks the kernel, as the loop may not have reported yet."""
        if not self._poll.poll(0):
            return True  # the usual case; an exception takes longer
        try:
            self._receive(self._buffer)
        except NOT_READY:
            return True
        except OSError:
            pass
        return False

    def unacknowledged(self) -> int:
        """Written bytes that the peer's kernel has not acknowledged; 0 where that is unknown."""
        try:
            (count,) = struct.unpack("i", fcntl.ioctl(self._fd, termios.TIOCOUTQ, bytes(4)))
        except OSError:
            return 0
        return int(count)

    def write(self, data: memoryview) -> int:
        """The number of bytes that the kernel accepted, 0 if its buffer is full. Raises OSError."""
        try:
            return self._send(data)
        except NOT_READY:
            return 0

    def when_writable(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` whenever the socket is writable; None stops that."""
        if callback is not None:
            self._loop.add_writer(self._fd, callback)
        elif self._writer:
            self._loop.remove_writer(self._fd)
        self._writer = callback is not None

    def release(self) -> None:
        """Return the connection to the pool. It must be at the start of a next response."""
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
        """reset: discard unsent data and send a reset; otherwise the kernel continues to send it."""
        self.receiver = None
        if reset:
            self._set(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # unregister the descriptor before its number can be reused
        self._open = False
        self._stop_resting()
        self._remove_reader()
        self.when_writable(None)
        self._socket.close()


class Pool:
    """Opens connections and keeps idle ones by origin. The most recently used is taken first, so that surplus ones expire.

    max_idle: idle connections kept for one origin. idle_seconds: how long each is kept. look_up: see resolver.py.
    """

    def __init__(self, max_idle: int, idle_seconds: float, look_up: LookUp = system_look_up) -> None:
        self.buffer = memoryview(bytearray(READ_SIZE))
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._idle: dict[Origin, OrderedDict[Connection, None]] = {}  # the longest idle first
        self._resolver = Resolver(look_up)
        self._turns: weakref.WeakValueDictionary[Origin, asyncio.Semaphore] = weakref.WeakValueDictionary()
        self.loop = asyncio.get_running_loop()
        self.outbox = Outbox()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._renewed_at = 0.0
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        # a loop on libuv (uvloop) reports a reset once and no longer polls the socket, even if unread data preceded the reset
        self._check_timer: asyncio.TimerHandle | None = None
        self._unchecked: list[Connection] = []
        if not isinstance(self.loop, asyncio.SelectorEventLoop):
            self._check_timer = self.loop.call_later(CHECK_SECONDS, self._check)

    async def open(self, origin: Origin, seconds: float | None) -> Connection:
        """A new connection, within so many seconds (None or 0: no limit). Raises errors.Refused or errors.Timeout."""
        turn = self._turns.get(origin)
        if turn is None:
            turn = self._turns[origin] = asyncio.Semaphore(MOST_OPENING)
        doing = f"{MOST_OPENING} other connections are being opened"
        proxy = origin.proxy
        peer = "upstream" if proxy is None else "proxy"
        failed = f"The {peer} could not be reached."
        try:
            async with asyncio.timeout(seconds or None), turn:
                doing = "resolving its name"
                addresses = await self._resolver.addresses(*(origin[:2] if proxy is None else (proxy.host, proxy.port)))
                doing = "connecting to " + ", ".join(str(address.place[0]) for address in addresses)
                sock, tls = await connect(addresses, self.make_room), None
                if origin.context is not None:
                    if proxy is not None:
                        doing, failed = "waiting for its answer to CONNECT", "The proxy did not open a tunnel to the upstream."
                        await tunnel(sock, http1.connect_head(*origin[:2], proxy.login))
                        peer = "upstream"
                    doing, failed = "in the TLS handshake", "The TLS handshake with the upstream failed."
                    tls = await secure(sock, origin.context, origin.host)
        except TimeoutError as error:
            raise errors.Timeout("connect", f"The {peer} could not be reached in time.", doing) from error
        except (OSError, ValueError) as error:  # ValueError: not a host name
            refused = errors.Refused(failed, str(error))
            refused.again = not isinstance(error, ValueError)  # which a certificate's error is, too
            raise refused from error
        connection = Connection(origin, sock, tls, self)
        self._connections.add(connection)
        return connection

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection that is still open, or None."""
        stack = self._idle.get(origin)
        while stack:
            connection, _ = stack.popitem()
            if connection.silent():
                connection.reused = True
                return connection
            connection.close()
        return None

    def put(self, connection: Connection) -> None:
        now = self.loop.time()
        outdated = connection.origin.context is not None and connection.opened_at < self._renewed_at
        if self._closed or outdated or now > connection.opened_at + OLDEST:
            connection.close()
            return
        stack = self._idle.setdefault(connection.origin, OrderedDict())
        connection.idle_since = now
        stack[connection] = None
        if len(stack) > self._max_idle:
            stack.popitem(last=False)[0].close()
        if self._timer is None:
            self._timer = self.loop.call_later(self._idle_seconds, self._sweep)

    def drop(self, connection: Connection) -> None:
        """Close an idle connection."""
        del self._idle[connection.origin][connection]
        connection.close()

    def make_room(self) -> bool:
        """Close the connection that has been idle longest, of any origin. False if there is none."""
        stacks = [stack for stack in self._idle.values() if stack]
        if not stacks:
            return False
        oldest = min(stacks, key=lambda stack: next(iter(stack)).idle_since)
        oldest.popitem(last=False)[0].close()
        return True

    def renew(self) -> None:
        """Reuse no TLS connection from before now: certificates have been read again."""
        self._renewed_at = self.loop.time()
        for origin in [origin for origin in self._idle if origin.context is not None]:
            for connection in self._idle.pop(origin):
                connection.close()

    def close(self) -> None:
        """Close the idle connections; those in use are closed when they are released."""
        self._closed = True
        self._expire(float("inf"))
        for timer in (self._timer, self._check_timer):
            if timer is not None:
                timer.cancel()

    def _check(self) -> None:
        if not self._unchecked:
            self._unchecked = list(self._connections)
        for _ in range(min(len(self._unchecked), max(FEW, len(self._connections) // LOOKS))):
            self._unchecked.pop().check()
        self._check_timer = self.loop.call_later(CHECK_SECONDS, self._check)

    def _sweep(self) -> None:
        self._expire(self.loop.time() - self._idle_seconds)
        oldest = min((next(iter(stack)).idle_since for stack in self._idle.values()), default=None)
        self._timer = None if oldest is None else self.loop.call_at(oldest + self._idle_seconds, self._sweep)

    def _expire(self, horizon: float) -> None:
        for origin, stack in list(self._idle.items()):
            while stack and next(iter(stack)).idle_since <= horizon:
                stack.popitem(last=False)[0].close()
            if not stack:
                del self._idle[origin]
