"""A caller's socket: reads on the loop's report, short writes sent at the end of the loop's turn, the rest buffered.

What has been read in one turn of the loop is written at its end, one send after the other. A send that wakes a sleeping process takes
two to three times as long as another, on virtual machines most of all; of sends in quick succession only the first wakes it.

Tornado's IOStream would also do. As this module leaves reading to its user, most of IOStream would be unused weight: two kilobytes
per stream, and a Future and a buffer for each write.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from tornado.iostream import StreamClosedError

from ...codecs import errors
from .http1 import FRAME
from .tls import NOT_READY, Tls, ways

WRITE_SLICE = 256 * 1024  # bytes offered to the kernel at once
WRITES_PER_TURN = 8
SHORT = 16 * 1024  # bytes that may wait for the end of the turn: the kernel's buffer has room for them in the usual case
TCP_CLOSE = 7  # the first byte of TCP_INFO after a reset by the peer

log = logging.getLogger("dragoman")


class Sender(Protocol):
    """flush: sends what waits for the end of the turn, if anything still does."""

    def flush(self) -> object: ...


class Outbox(list[Sender]):
    """Who has something to send at the end of this turn of the loop."""

    __slots__ = ("_loop",)

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()

    def add(self, sender: Sender) -> None:
        if not self:
            self._loop.call_soon(self._flush)
        self.append(sender)

    def _flush(self) -> None:
        senders = self[:]
        self.clear()
        for sender in senders:
            try:
                sender.flush()
            except Exception:
                log.exception("what was written could not be sent")  # the others' must be


class Stream:
    """Create it inside the running loop, with a non-blocking socket; `serve` does the handshake of TLS."""

    __slots__ = (
        "_closed",
        "_fd",
        "_forgets",
        "_late",
        "_loop",
        "_on_close",
        "_outbox",
        "_promise",
        "_readable",
        "_reading",
        "_stall",
        "_tls",
        "_waiting",
        "error",
        "receive",
        "send",
        "socket",
        "written",
    )

    def __init__(self, sock: socket.socket, outbox: Outbox, tls: Tls | None = None) -> None:
        self.socket, self._outbox, self._tls = sock, outbox, tls
        self.receive, self.send = ways(sock, tls)
        self.error: OSError | None = None  # the error that closed the stream, if any
        self._fd = sock.fileno()
        self._loop = asyncio.get_running_loop()
        self._readable: Callable[[], None] | None = None
        self._on_close: Callable[[], None] | None = None
        self._reading = self._closed = False
        libuv = not isinstance(self._loop, asyncio.SelectorEventLoop)
        self._forgets = libuv and hasattr(socket, "TCP_INFO") and sock.family in (socket.AF_INET, socket.AF_INET6)
        self._late = b""  # to be sent at the end of the turn; empty while anything is in _waiting
        self._promise: asyncio.Future[None] | None = None  # what write_soon has returned for it
        self._waiting: list[tuple[memoryview, asyncio.Future[None]]] = []
        self._stall = 0.0
        self.written = 0.0  # when offer_chunk was last called, in monotonic seconds

    @property
    def secure(self) -> bool:
        return self._tls is not None

    def serve(self, readable: Callable[[], None], closed: Callable[[], None]) -> None:
        """Start. readable: called when there is something to read. closed: called once, soon after the stream has closed."""
        self._readable, self._on_close = readable, closed
        if self._tls is not None:
            self._shake_hands(self._tls)
        else:
            self.resume()

    def hand_over(self, readable: Callable[[], None]) -> None:
        """From now on call this when there is something to read."""
        self.pause()
        self._readable = readable
        self.resume()

    def _shake_hands(self, tls: Tls) -> None:
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        try:
            tls.shake_hands()
        except ssl.SSLWantReadError:
            self._loop.add_reader(self._fd, self._shake_hands, tls)
        except ssl.SSLWantWriteError:
            self._loop.add_writer(self._fd, self._shake_hands, tls)
        except OSError:  # not TLS, or the caller rejects the certificate
            self.close()
        else:
            self.resume()

    def resume(self) -> None:
        if not self._reading and self._readable is not None and not self._closed:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)
            self._look_behind()

    def pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def look_again(self) -> None:
        """Call after a read. A loop on libuv reports a reset once and no longer polls the socket, even if unread data preceded it."""
        self._look_behind()
        if not self._forgets or self._closed or not self._reading:
            return
        if self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE:
            self.pause()
            self.resume()

    def _look_behind(self) -> None:
        """Read again soon if TLS has more than the last read took."""
        if self._tls is not None and self._tls.behind:
            self._loop.call_soon(self._read_behind)

    def _read_behind(self) -> None:
        if self._reading and self._readable is not None:
            self._readable()

    def hung_up(self) -> bool:
        """Whether the caller has closed its side, also behind bytes that are not read yet. False where the system cannot tell."""
        poll = select.poll()
        poll.register(self._fd, getattr(select, "POLLRDHUP", 0))
        return bool(poll.poll(0))

    def close_after(self, seconds: float) -> None:
        """Let the kernel close the connection when the caller acknowledges nothing for this long (TCP_USER_TIMEOUT, if available)."""
        if seconds != self._stall and not self._closed:
            self._stall = seconds
            if hasattr(socket, "TCP_USER_TIMEOUT") and self.socket.family in (socket.AF_INET, socket.AF_INET6):
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))

    def writing(self) -> bool:
        """Whether the kernel has not accepted everything that it was offered."""
        return bool(self._waiting)

    def offer(self, data: bytes) -> asyncio.Future[None] | None:
        """Write, at the end of the turn if it is short. None if nothing has to be waited for, the usual case, or if the stream is closed.

        A stream that does not accept what waits for the end of the turn lets the next call wait.
        """
        if self._waiting:
            return self.write(data)
        if self._late or len(data) > SHORT:
            self._late += data
            return self.flush()
        if not self._closed:
            self._late = data
            outbox = self._outbox
            if outbox:
                outbox.append(self)  # add() would be a call more for each delta
            else:
                outbox.add(self)
        return None

    def flush(self) -> asyncio.Future[None] | None:
        """Send now what was to be sent at the end of the turn. Returns what `offer` does."""
        data = self._late
        if not data:
            return None
        self._late = b""
        promise = self._promise
        if promise is not None:
            self._promise = None
            return None if self._write(data, promise).done() else promise
        send = self.send  # a call of a slot's content is slow in CPython
        try:
            count = send(data)
        except NOT_READY:
            count = 0
        except OSError as error:
            self._lost(error)
            return None
        return None if count == len(data) else self.write(data[count:])

    def offer_chunk(self, data: bytes) -> asyncio.Future[None] | None:
        """Like `offer`, with the framing of a chunked body."""
        self.written = monotonic()
        return self.offer(FRAME % (len(data), data))

    def write(self, data: bytes) -> asyncio.Future[None]:
        """Write at once. The future is done when the kernel has accepted everything. It raises StreamClosedError."""
        self.flush()
        return self._write(data, self._loop.create_future())

    def write_soon(self, data: bytes) -> asyncio.Future[None]:
        """As `write`, but at the end of the turn if it is short."""
        if self._waiting or self._late or self._closed or not 0 < len(data) <= SHORT:
            return self.write(data)
        self._late = data
        self._promise = promise = self._loop.create_future()
        self._outbox.add(self)
        return promise

    def _write(self, data: bytes, future: asyncio.Future[None]) -> asyncio.Future[None]:
        rest = memoryview(data)
        if rest and not (self._waiting or self._closed):
            rest = self._send(rest)
        if self._closed:
            self._fail(future)
        elif not (rest or self._waiting):
            if not future.done():  # who waited for it may have been cancelled
                future.set_result(None)
        else:
            if not self._waiting:
                self._loop.add_writer(self._fd, self._go_on)
            self._waiting.append((rest, future))
        return future

    def _fail(self, future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_exception(StreamClosedError(real_error=self.error))
            future.exception()  # mark it as retrieved, as it may have no waiter

    def _send(self, data: memoryview) -> memoryview:
        """The bytes that the kernel did not accept. Closes the stream on an error."""
        try:
            return data[self.send(data[:WRITE_SLICE]) :]
        except NOT_READY:
            return data
        except OSError as error:
            self._lost(error)
            return data

    def _go_on(self) -> None:
        """Called when the socket is writable."""
        for _ in range(WRITES_PER_TURN):
            data, future = self._waiting[0]
            rest = self._send(data) if data else data
            if self._closed or (rest and len(rest) == len(data)):
                return
            if rest:
                self._waiting[0] = (rest, future)
                continue
            self._waiting.pop(0)
            if not future.done():
                future.set_result(None)
            if not self._waiting:
                self._loop.remove_writer(self._fd)
                return

    def closed(self) -> bool:
        return self._closed

    def _lost(self, error: OSError) -> None:
        if not self._closed:
            errors.forget(error)
            self.error = error
            self.close()

    def close(self) -> None:
        if self._closed:
            return
        self.flush()
        if self._closed:
            return  # that failed
        self._closed = True
        # unregister the descriptor before its number can be reused
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self.socket.close()
        for _, future in self._waiting:
            self._fail(future)
        self._waiting.clear()
        if self._on_close is not None:
            self._loop.call_soon(self._on_close)
        self._readable = self._on_close = None  # breaks the cycle with the connection
