"""The caller's side of one exchange: headers once, then bytes as they come, with backpressure.

An event goes straight to the socket when nothing waits before it: no Future and no task is made. What the kernel does not take at
once waits in the stream, and the upstream's reading for it: a slow client slows the upstream, and never more than one joined
buffer waits.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from time import monotonic
from typing import Any, Protocol

from tornado.web import RequestHandler

from ..wire.inbound import Inbound
from ..wire.socket import Stream

Writer = Callable[[bytes], Awaitable[Any] | None]
"""Takes bytes of a started stream. What it returns is to be awaited before the next write."""


class Caller(Protocol):
    """Whoever an exchange answers: a Client, or a background job that writes down what is said.

    committed: the answer's status and headers are out. gone: nobody takes it any more. stalled: it was given up because it took
    nothing. aborted: the exchange itself has closed it. has_head: a stream has a head that somebody may be waiting for, and is
    begun without its content when that takes long.
    """

    gone: bool

    @property
    def has_head(self) -> bool: ...
    @property
    def committed(self) -> bool: ...
    @property
    def aborted(self) -> bool: ...
    @property
    def stalled(self) -> bool: ...
    def idle_since(self, now: float) -> float: ...
    def abort(self) -> None: ...
    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None: ...
    def start(self, headers: Mapping[str, str], first: bytes, status: int = 200, length: int | None = None) -> Awaitable[Any] | None: ...
    def write(self, data: bytes) -> Awaitable[Any] | None: ...
    def writer(self) -> Writer: ...
    async def finish(self, last: bytes = b"") -> None: ...


class CallerAround:
    """A Caller in front of another, to which it passes everything on. Subclasses override what they see of the answer."""

    __slots__ = ("_caller",)

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def has_head(self) -> bool:
        return self._caller.has_head

    @property
    def committed(self) -> bool:
        return self._caller.committed

    @property
    def gone(self) -> bool:
        return self._caller.gone

    @gone.setter
    def gone(self, gone: bool) -> None:
        self._caller.gone = gone

    @property
    def aborted(self) -> bool:
        return self._caller.aborted

    @property
    def stalled(self) -> bool:
        return self._caller.stalled

    def idle_since(self, now: float) -> float:
        return self._caller.idle_since(now)

    def abort(self) -> None:
        self._caller.abort()

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        await self._caller.answer(status, headers, body)

    def start(self, headers: Mapping[str, str], first: bytes, status: int = 200, length: int | None = None) -> Awaitable[Any] | None:
        return self._caller.start(headers, first, status, length)

    def write(self, data: bytes) -> Awaitable[Any] | None:
        return self._caller.write(data)

    def writer(self) -> Writer:
        return self.write

    async def finish(self, last: bytes = b"") -> None:
        await self._caller.finish(last)


_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing is a reset


class Client:
    """What an exchange sees of its RequestHandler."""

    __slots__ = (
        "_chunked", "_connection", "_counted", "_handler", "_stall", "_stream", "_written", "aborted", "committed", "gone",
    )  # fmt: skip

    has_head = True

    def __init__(self, handler: RequestHandler, stall: float) -> None:
        """stall: seconds that a client may take nothing before its connection is closed."""
        self._handler = handler
        self._stall = stall
        self._chunked = False
        self._counted = False  # the answer's length was promised
        self.aborted = False  # by us
        self._connection: Stream | None = None  # once the answer has begun
        self._stream: Stream | None = None  # the same, of a stream
        self.committed = False  # the answer's status and headers are out
        self.gone = False  # the client has left
        self._written = 0.0  # when a stream was last written to, in monotonic seconds

    def idle_since(self, now: float) -> float:
        """Seconds since the last write of a stream; 0 while one is still under way. now: monotonic seconds."""
        if self._stream is not None and self._stream.writing():
            return 0.0
        return now - (self._written if self._stream is None else max(self._written, self._stream.written))

    @property
    def stalled(self) -> bool:
        """Whether the connection was closed because the client took nothing for too long."""
        stream = self._connection
        return stream is not None and getattr(stream.error, "errno", None) == errno.ETIMEDOUT

    def abort(self) -> None:
        """Close the connection: what was sent has no proper end, and the caller can see that."""
        self.aborted = True
        connection: Inbound = self._handler.request.connection  # type: ignore[assignment]
        stream = connection.stream
        if self._stream is not None and not (self._chunked or self._counted) and not stream.closed():
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)  # else the end would look like one
        stream.close()

    def _set(self, status: int, headers: Mapping[str, str]) -> None:
        self._handler.set_status(status)
        self.committed = True
        connection: Inbound = self._handler.request.connection  # type: ignore[assignment]
        connection.also = headers
        self._connection = stream = connection.stream
        stream.close_after(self._stall)

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer, up to its last byte handed to the kernel. Raises StreamClosedError."""
        self._set(status, headers)
        await self._handler.finish(body)

    def start(self, headers: Mapping[str, str], first: bytes, status: int = 200, length: int | None = None) -> Awaitable[Any] | None:
        """Commit a stream: status, headers, and the first bytes in the same write. length: bytes of the whole body, when known."""
        handler = self._handler
        self._set(status, headers)
        self._written = monotonic()
        self._counted = length is not None
        if self._counted:
            handler.set_header("Content-Length", str(length))
        handler.write(first)
        self._chunked = handler.request.version == "HTTP/1.1" and not self._counted
        self._stream = self._connection
        flushed = handler.flush()
        return None if flushed.done() and flushed.exception() is None else flushed

    def write(self, data: bytes) -> Awaitable[Any] | None:
        """Bytes of a started stream. What is returned is to be waited for before the next write."""
        stream = self._stream
        if stream is None or stream.closed():
            self.gone = self.gone or not self.aborted
            return None
        self._written = monotonic()
        if self._counted:
            return self._handler.request.connection.write(data)  # type: ignore[union-attr]
        return stream.offer_chunk(data) if self._chunked else stream.offer(data)

    def writer(self) -> Writer:
        """The shortest way for the bytes of a started stream: for most the socket's own, which nothing stands before."""
        return self._stream.offer_chunk if self._stream is not None and self._chunked else self.write

    async def finish(self, last: bytes = b"") -> None:
        """End a started stream in good order, with these last bytes of it. Raises StreamClosedError, unless the caller had all of it."""
        if self.gone or self.aborted:
            return
        connection: Inbound = self._handler.request.connection  # type: ignore[assignment]
        whole = connection.whole
        connection.last = last
        self._written = inf  # nothing may be sent behind the end
        self._handler.finish()
        if connection.written is not None and not whole:
            await connection.written
