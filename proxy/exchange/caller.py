"""The caller's side of one exchange: headers once, then bytes as they come, with backpressure.

An event goes straight to the socket when nothing waits before it: no Future and no task is made. What the kernel does not take at
once waits in the stream, and the upstream's reading for it: a slow client slows the upstream, and never more than one joined
buffer waits.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Mapping
from time import monotonic
from typing import Any

from tornado.web import RequestHandler

from ..wire.http1 import FRAME
from ..wire.inbound import Inbound
from ..wire.socket import Stream


class Client:
    """What an exchange sees of its RequestHandler."""

    def __init__(self, handler: RequestHandler, stall: float) -> None:
        """stall: seconds that a client may take nothing before its connection is closed."""
        self._handler = handler
        self._stall = stall
        self._chunked = False
        self._connection: Stream | None = None  # once the answer has begun
        self._stream: Stream | None = None  # the same, of a stream
        self.committed = False  # the answer's status and headers are out
        self.gone = False  # the client has left
        self._written = 0.0  # when a stream was last written to, in monotonic seconds

    def idle_since(self, now: float) -> float:
        """Seconds since the last write of a stream; 0 while one is still under way. now: monotonic seconds."""
        if self._stream is not None and self._stream.writing():
            return 0.0
        return now - self._written

    @property
    def stalled(self) -> bool:
        """Whether the connection was closed because the client took nothing for too long."""
        stream = self._connection
        return stream is not None and getattr(stream.error, "errno", None) == errno.ETIMEDOUT

    def abort(self) -> None:
        """Close the connection: what was sent has no proper end."""
        self.gone = True
        if self._connection is not None:
            self._connection.close()

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

    def start(self, headers: Mapping[str, str], first: bytes) -> Awaitable[Any] | None:
        """Commit a stream: status 200, headers, and the first bytes in the same write."""
        handler = self._handler
        self._set(200, headers)
        self._written = monotonic()
        handler.write(first)
        self._chunked = handler.request.version == "HTTP/1.1"
        self._stream = self._connection
        flushed = handler.flush()
        return None if flushed.done() and flushed.exception() is None else flushed

    def write(self, data: bytes) -> Awaitable[Any] | None:
        """Bytes of a started stream. What is returned is to be waited for before the next write."""
        stream = self._stream
        if stream is None or stream.closed():
            self.gone = True
            return None
        self._written = monotonic()
        return stream.offer(FRAME % (len(data), data) if self._chunked else data)

    async def finish(self, last: bytes = b"") -> None:
        """End a started stream in good order, with these last bytes of it. Raises StreamClosedError."""
        if self.gone:
            return
        connection: Inbound = self._handler.request.connection  # type: ignore[assignment]
        connection.last = last
        self._handler.finish()
        if connection.written is not None:
            await connection.written
