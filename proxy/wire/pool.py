"""Connections to upstreams: opened, driven by the loop's own reader, pooled while idle.

Strategy: the loop calls a connection itself, which reads from the socket into one buffer that all connections share, and passes the
bytes of that read on. Nothing else happens for a read: no Future, no buffer of its own, no search for delimiters.

What comes faster than anyone reads is not read piece by piece: after HURRIED reads, each right after the one before, a connection is read
once every REST (network cards do the same with interrupts). It costs such a stream a millisecond or two, and leaves time to others.

One upstream does not harm another. No more than MOST_OPENING connections to an origin are opened at once, so that one that does not
answer takes no descriptors without end; the others wait for their turn within their own connect timeout. When the process has no
descriptor left, the connection that has been idle longest makes room. The kernel ends a connection whose bytes the peer has not
acknowledged for UNACKNOWLEDGED, and probes silent ones. A connection older than OLDEST is not used again, so that changed addresses
and new machines behind one address are found.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ...codecs import errors
from .connect import connect, secure
from .resolver import LookUp, Resolver, system_look_up
from .socket import NOT_READY

READ_SIZE = 64 * 1024  # bytes of one read; more than a TLS record, so that nothing stays behind inside OpenSSL
CHECK_SECONDS = 0.1  # between two looks at connections that the loop may have forgotten, see Pool: at FEW of them, or
FEW, LOOKS = 100, 10  # at as many as it takes to have seen all in so many looks (all at once would hold up every stream)
HURRIED, REST = 4, 0.001  # reads, seconds (the clock of a loop on libuv has steps of one millisecond)
CHECK_READS = 64  # of one connection at such a look; what is left waits for the next
MOST_OPENING = 256  # connections to one origin that are being opened
OLDEST = 600.0  # seconds
UNACKNOWLEDGED = 30.0  # seconds

# Model calls are silent for minutes: probes keep NAT tables alive and find a peer that is gone (with TCP_USER_TIMEOUT the second
# unanswered one ends the connection).
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
    """A connected socket. Either a receiver has it, or it lies idle in the pool, or it is closed."""

    def __init__(self, origin: Origin, sock: socket.socket, pool: Pool) -> None:
        self.origin = origin
        self.receiver: Receiver | None = None
        self.reused = False
        self.idle_since = 0.0
        self._pool = pool
        self._buffer = pool.buffer
        self._socket = sock
        self._receive, self._send = self._socket.recv_into, self._socket.send
        self._fd = self._socket.fileno()
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

    def silent(self) -> bool:
        """Whether an idle connection is open and has nothing to read. The loop may not have reported yet what the kernel has."""
        try:
            self._receive(self._buffer)
        except NOT_READY:
            return True
        except OSError:
            pass
        return False

    def unacknowledged(self) -> int:
        """Written bytes that the peer's system has not acknowledged; 0 where the kernel does not tell."""
        try:
            (count,) = struct.unpack("i", fcntl.ioctl(self._fd, termios.TIOCOUTQ, bytes(4)))
        except OSError:
            return 0
        return int(count)

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

    max_idle: connections kept for one origin. idle_seconds: how long each is kept. look_up: see resolver.py.
    """

    def __init__(self, max_idle: int, idle_seconds: float, look_up: LookUp = system_look_up) -> None:
        self.buffer = memoryview(bytearray(READ_SIZE))
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._idle: dict[Origin, OrderedDict[Connection, None]] = {}  # the longest idle first
        self._resolver = Resolver(look_up)
        self._turns: weakref.WeakValueDictionary[Origin, asyncio.Semaphore] = weakref.WeakValueDictionary()
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
        turn = self._turns.get(origin)
        if turn is None:
            turn = self._turns[origin] = asyncio.Semaphore(MOST_OPENING)
        doing = f"{MOST_OPENING} others are being opened"
        try:
            async with asyncio.timeout(seconds or None), turn:
                doing = "looking up its name"
                addresses = await self._resolver.addresses(origin.host, origin.port)
                doing = "connecting to " + ", ".join(str(address.place[0]) for address in addresses)
                sock = await connect(addresses, self.make_room)
                if origin.context is not None:
                    doing = "in the TLS handshake"
                    sock = await secure(sock, origin.context, origin.host)
        except TimeoutError as error:
            raise errors.Timeout("connect", "The upstream could not be reached in time.", doing) from error
        except ssl.SSLError as error:
            raise errors.Refused("No secure connection to the upstream could be made.", str(error)) from error
        except (OSError, ValueError) as error:  # ValueError: no host name at all
            raise errors.Refused("The upstream could not be reached.", str(error)) from error
        connection = Connection(origin, sock, self)
        self._connections.add(connection)
        return connection

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection, if there is one that is open."""
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
        if self._closed or now > connection.opened_at + OLDEST:
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
        """Close the connection that has been idle longest, of whichever origin. Whether there was one."""
        stacks = [stack for stack in self._idle.values() if stack]
        if not stacks:
            return False
        oldest = min(stacks, key=lambda stack: next(iter(stack)).idle_since)
        oldest.popitem(last=False)[0].close()
        return True

    def close(self) -> None:
        """Close all that is idle; what is in use will be closed when it comes back."""
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
