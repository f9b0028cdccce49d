"""One client's socket: the loop says when there is something to read, writes go to the kernel at once, what it does not take waits.

IOStream would do this too. For a socket that somebody else reads, though, most of it is weight: two kilobytes of every stream, and
a Future and a buffer for each write. What a write needs here is no more than the kernel's word.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from time import monotonic

from tornado.iostream import StreamClosedError

from .http1 import FRAME

WRITE_SLICE = 256 * 1024  # bytes offered to the kernel at once
WRITES_PER_TURN = 8
TCP_CLOSE = 7  # the first byte of TCP_INFO, of a connection that the peer has reset

# nothing is lost: the socket only has to become ready (TLS may want the other direction)
NOT_READY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Stream:
    """Make it inside the running loop, of a socket that does not block; of an SSLSocket whose handshake is still to come."""

    __slots__ = (
        "_closed",
        "_fd",
        "_forgets",
        "_loop",
        "_on_close",
        "_readable",
        "_reading",
        "_stall",
        "_waiting",
        "error",
        "receive",
        "send",
        "socket",
        "written",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.receive, self.send = sock.recv_into, sock.send  # the socket's own
        self.error: OSError | None = None  # why it was closed, when it was not we who did
        self._fd = sock.fileno()
        self._loop = asyncio.get_running_loop()
        self._readable: Callable[[], None] | None = None
        self._on_close: Callable[[], None] | None = None
        self._reading = self._closed = False
        libuv = not isinstance(self._loop, asyncio.SelectorEventLoop)
        self._forgets = libuv and hasattr(socket, "TCP_INFO") and sock.family in (socket.AF_INET, socket.AF_INET6)
        self._waiting: list[tuple[memoryview, asyncio.Future[None]]] = []
        self._stall = 0.0
        self.written = 0.0  # when the last chunk was offered, in monotonic seconds

    @property
    def secure(self) -> bool:
        return isinstance(self.socket, ssl.SSLSocket)

    def serve(self, readable: Callable[[], None], closed: Callable[[], None]) -> None:
        """From now on `readable` is called when there is something to read, and `closed` once, soon after the end."""
        self._readable, self._on_close = readable, closed
        if isinstance(self.socket, ssl.SSLSocket):
            self._shake_hands(self.socket)
        else:
            self.resume()

    def _shake_hands(self, sock: ssl.SSLSocket) -> None:
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            self._loop.add_reader(self._fd, self._shake_hands, sock)
        except ssl.SSLWantWriteError:
            self._loop.add_writer(self._fd, self._shake_hands, sock)
        except OSError:  # not TLS, or a client that does not trust us
            self.close()
        else:
            self.resume()
            if self._readable is not None:
                self._readable()  # what came together with the end of the handshake

    def resume(self) -> None:
        if not self._reading and self._readable is not None and not self._closed:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)

    def pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def look_again(self) -> None:
        """After a read. A loop on libuv reports a reset once, and then forgets the socket, however much data came before the reset."""
        if not self._forgets or self._closed or not self._reading:
            return
        if self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE:
            self.pause()
            self.resume()

    def close_after(self, seconds: float) -> None:
        """Have the system close the connection when the client takes nothing for so long (TCP only, where it can)."""
        if seconds != self._stall and not self._closed:
            self._stall = seconds
            if hasattr(socket, "TCP_USER_TIMEOUT") and self.socket.family in (socket.AF_INET, socket.AF_INET6):
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))

    def writing(self) -> bool:
        """Whether something waits for the kernel."""
        return bool(self._waiting)

    def offer(self, data: bytes) -> asyncio.Future[None] | None:
        """Write; None when the kernel has taken everything at once (or the stream is closed), as nearly always."""
        if not self._waiting:
            try:
                count = self.send(data)
            except NOT_READY:
                count = 0
            except OSError as error:
                self._lost(error)
                return None
            if count == len(data):
                return None
            data = data[count:]
        return self.write(data)

    def offer_chunk(self, data: bytes) -> asyncio.Future[None] | None:
        """As `offer`, as one chunk of a chunked body: the last step of a streamed delta."""
        self.written = monotonic()
        return self.offer(FRAME % (len(data), data))

    def write(self, data: bytes) -> asyncio.Future[None]:
        """The future is done when the kernel has taken everything; it raises StreamClosedError."""
        future: asyncio.Future[None] = self._loop.create_future()
        rest = memoryview(data)
        if rest and not (self._waiting or self._closed):
            rest = self._send(rest)
        if self._closed:
            self._fail(future)
        elif not (rest or self._waiting):
            future.set_result(None)
        else:
            if not self._waiting:
                self._loop.add_writer(self._fd, self._go_on)
            self._waiting.append((rest, future))
        return future

    def _fail(self, future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_exception(StreamClosedError(real_error=self.error))
            future.exception()  # whoever does not wait for it need not know

    def _send(self, data: memoryview) -> memoryview:
        """What the kernel did not take. Closes the stream when it failed."""
        try:
            return data[self.send(data[:WRITE_SLICE]) :]
        except NOT_READY:
            return data
        except OSError as error:
            self._lost(error)
            return data

    def _go_on(self) -> None:
        """The kernel takes more."""
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
            self.error = error.with_traceback(None)  # its frames lead back here
            self.close()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # the loop must forget the descriptor before its number can belong to someone else
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self.socket.close()
        for _, future in self._waiting:
            self._fail(future)
        self._waiting.clear()
        if self._on_close is not None:
            self._loop.call_soon(self._on_close)
        self._readable = self._on_close = None  # else the connection and this one would keep each other alive
