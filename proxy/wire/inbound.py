"""Connections of callers: HTTP/1.1 for Tornado's Application, driven directly by the event loop's reader callbacks.

Strategy: the bytes of one read are parsed (http1, server role) in the same iteration of the loop and passed to the request's
delegate. A connection has no coroutine, a read creates no Future and no timer, and the reader stays registered across requests. The
request object, routing and the handler are Tornado's own. Requests on one connection are answered in order; pipelined ones wait in
a bounded buffer.

A response that ends before its request closes the connection only after a delay: an immediate close would send a reset, which
could discard the response.

A connection that waits for its caller (TLS handshake, first request, next request) is idle; when the server is full it closes the
one that has been idle longest.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Mapping
from functools import partial
from time import time
from typing import Any, NamedTuple, Protocol

from tornado import httputil
from tornado.httputil import HTTPHeaders, HTTPInputError, RequestStartLine, ResponseStartLine

from . import http1
from .socket import Stream
from .tls import NOT_READY

log = logging.getLogger("dragoman")

READ_SIZE = 256 * 1024  # bytes of one read of a body whose length is known
LITTLE = 32 * 1024  # bytes of any other read: in chunks of one byte they take 20 ms to parse
AHEAD = 32 * 1024  # bytes of pipelined requests that are buffered, besides those of one read
LINGER = 2.0  # seconds that a caller who is still sending has to read an early response
PATIENCE = 600.0  # seconds for a request's body, and between two requests
HANGUP = 0.5  # seconds between two looks at a caller whose body waits for the handler
HEAD_PATIENCE = 60.0  # seconds for the handshake and the first head, for a later head from its first byte, between reads of a body

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Request Entity Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Context(NamedTuple):
    """The attributes of a connection that Tornado's HTTPServerRequest reads."""

    remote_ip: str
    protocol: str


class Host(Protocol):
    """The interface of the server that a connection uses.

    buffer, little: shared by all connections, for reads of a body and for other reads. max_body_size: bytes. crowded: the server is
    full and a new connection waits.
    """

    buffer: memoryview
    little: memoryview
    max_body_size: int
    crowded: bool

    @property
    def conn_params(self) -> Any:
        """Tornado's HTTP1ConnectionParameters; only `no_keep_alive` is used."""

    def start_request(self, server_conn: object, request_conn: httputil.HTTPConnection) -> httputil.HTTPMessageDelegate:
        """Called when a request's head is complete."""

    def on_close(self, server_conn: object) -> None:
        """Called once when the connection has closed."""

    def place_free(self) -> None:
        """Called when the connection becomes idle while the server is crowded."""


class Upgraded(Protocol):
    """Another protocol that a connection speaks after an upgrade.

    idle: nothing is under way, and the connection may be closed. wanted: bytes that the next read may bring.
    """

    @property
    def idle(self) -> bool: ...
    @property
    def wanted(self) -> int: ...

    def received(self, data: bytes) -> None:
        """Called with what each read brought."""

    def closed(self) -> None:
        """Called once when the connection has closed."""


class Inbound(httputil.HTTPConnection):
    """One caller's connection, which serves one request after another. Handlers write responses through its HTTPConnection API."""

    def __init__(self, stream: Stream, server: Host, address: Any, number: int = 0) -> None:
        """number: of connections accepted before; orders connections that became idle at the same loop time."""
        self.number = number
        self.stream = stream
        remote = address[0] if stream.socket.family in (socket.AF_INET, socket.AF_INET6) else "0.0.0.0"
        self.context = Context(remote, "https" if stream.secure else "http")
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._reader = http1.RequestReader()
        self._upgraded: Upgraded | None = None
        self._first = True  # until the first request
        self.since = self._loop.time()  # when the connection began to wait for the caller; 0 while it does not
        self._heard = self.since  # when the last bytes of a body arrived
        self._clear()

    def _clear(self) -> None:
        """Reset the state of the request."""
        self._delegate: httputil.HTTPMessageDelegate | None = None  # of the request that is being read or answered
        self._body: http1.BodyReader | None = None  # while a body is read
        self._waits = False  # for the handler to take what it was given of the body; nothing is read meanwhile
        self._buffer = self._server.little
        self._close_callback: Callable[[], None] | None = None
        self.written: asyncio.Future[None] | None = None  # the last write of this response
        self._read_finished = self._write_finished = False
        self._patience: float | None = PATIENCE  # for the body
        self.also: Mapping[str, str] = {}  # further response headers: cheaper than the handler's HTTPHeaders
        self.last = b""  # the last part of the response's body, written together with its end

    def start(self) -> None:
        """Start to read requests."""
        self.stream.serve(self._readable, self._closed)

    @property
    def idle(self) -> bool:
        """Whether the connection waits for a request or for the handshake before the first."""
        waits = self._delegate is None if self._upgraded is None else self._upgraded.idle
        return waits and not self.stream.closed()

    @property
    def whole(self) -> bool:
        """Whether the kernel has accepted all that the response's Content-Length promises, although it may not be finished yet."""
        written = self.written
        return written is not None and self._response.left == 0 and written.done() and not (written.cancelled() or written.exception())

    def sweep(self, now: float) -> None:
        """Close the connection if the caller has exceeded PATIENCE or HEAD_PATIENCE."""
        if not self.since or self._upgraded is not None:  # another protocol has timers of its own
            return
        if self._waits:  # the handler is slow, not the caller
            self._heard = now
        reading = self._delegate is not None
        soon = self._first or reading or self._reader.buffer
        most = self._patience if reading else PATIENCE if not soon else HEAD_PATIENCE
        if (most is not None and now - self.since > most) or (reading and now - self._heard > HEAD_PATIENCE):
            self.stream.close()

    async def close(self) -> None:
        self.stream.close()

    def abort(self) -> None:
        """Close; with a reset if a response has begun. A body that ends with the connection would otherwise look complete."""
        self.stream.flush()
        begun = self.written is not None and not self._write_finished
        if (begun or self.stream.writing()) and not self.stream.closed():
            self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.close()

    # ---- reading ----

    def _readable(self) -> None:
        try:
            count = self.stream.receive(self._buffer)
        except NOT_READY:
            self.stream.look_again()
            return
        except OSError as error:
            self.stream.error = error.with_traceback(None)  # the frames refer to this object: a cycle
            count = 0
        if not count:
            if self._delegate is not None and self._body is None and not (self._read_finished or self._write_finished):
                self.stream.pause()  # the handler is not ready for the body yet; the end is read again after resume()
            else:
                self.stream.close()
            return
        self._received(self._buffer[:count].tobytes())
        self.stream.look_again()

    def _received(self, data: bytes) -> None:
        if self._write_finished and not self._read_finished:
            return  # the response is complete: discard the rest of the request
        if self._body is not None:
            self._heard = self._loop.time()
            self._feed(self._body, data)
            return
        reader = self._reader
        if not (self._delegate or self._first or reader.buffer):
            self.since = self._loop.time()
        reader.feed(data)
        if self._delegate is None:
            self._next()
        elif len(reader.buffer) > AHEAD:
            self.stream.pause()

    def _next(self) -> None:
        """Start the next request if its head is complete."""
        if self._delegate is not None or self.stream.closed():
            return
        try:
            head = self._reader.next()
            if head is not None:
                self._begin(head)
        except HTTPInputError as error:
            self._malformed(error)

    def _begin(self, head: http1.RequestHead) -> None:
        self._head, body = head, head.body
        self._response = http1.Response(head.line, head.persists and not self._server.conn_params.no_keep_alive)
        self._limit = self._server.max_body_size
        self._first = False
        self.since = self._heard = self._loop.time()
        self._read_finished = body is None or body.ended
        self._delegate = delegate = self._server.start_request(self, self)
        try:
            ready = delegate.headers_received(head.line, head.headers)
        except HTTPInputError:
            raise
        except Exception:
            self._broken()
            return
        if ready is None:
            self._read_body(delegate, body)
        else:
            asyncio.ensure_future(ready).add_done_callback(partial(self._read_body, delegate, body))

    def _read_body(self, delegate: httputil.HTTPMessageDelegate, body: http1.BodyReader | None, _: object = None) -> None:
        """Called when the handler is ready for the body."""
        if self._delegate is not delegate or self.stream.closed():
            return
        self.stream.resume()
        if body is None or body.ended:
            self._request_over()
            return
        if isinstance(body, http1.Counted) and body.left > self._limit:
            self._malformed(HTTPInputError("Content-Length too long"), TOO_LARGE)
            return
        if "Expect" in self._head.headers and self._head.awaits_continue and not self._write_finished:
            self.stream.write(CONTINUE)
        self._body = body
        self._total = 0
        data = self._reader.take() if self._reader.buffer else b""
        if data and not self._write_finished:
            self._feed(body, data)
        else:
            self._fed(body)

    def _feed(self, body: http1.BodyReader, data: bytes) -> None:
        payload = body.feed(data)
        self._total += len(payload)
        if body.fault is not None:
            self._malformed(HTTPInputError("malformed body"))
            return
        if self._total > self._limit:
            self._malformed(HTTPInputError("too large body"), TOO_LARGE)
            return
        if payload:
            assert self._delegate is not None
            try:
                pending = self._delegate.data_received(payload)
            except HTTPInputError as error:
                self._malformed(error)
                return
            except Exception:
                self._broken()
                return
            if pending is not None:
                self._wait(body, asyncio.ensure_future(pending))
                return
        self._fed(body)

    def _wait(self, body: http1.BodyReader, pending: asyncio.Future[None]) -> None:
        """Read on when the handler has taken what it was given: a slow upstream slows the caller."""
        if pending.done():
            self._fed(body)
            return
        self._waits = True
        self.stream.pause()
        self._loop.call_later(HANGUP, self._look_for_hangup, pending)
        pending.add_done_callback(partial(self._taken, body))

    def _taken(self, body: http1.BodyReader, _: object) -> None:
        self._waits = False
        if self._body is body and not self.stream.closed():
            self._heard = self._loop.time()
            self.stream.resume()
            self._fed(body)

    def _look_for_hangup(self, pending: asyncio.Future[None]) -> None:
        """Notice a caller that leaves while nothing is read from it."""
        if pending.done() or self.stream.closed():
            return
        if self.stream.hung_up():
            self.stream.close()
        else:
            self._loop.call_later(HANGUP, self._look_for_hangup, pending)

    def _fed(self, body: http1.BodyReader) -> None:
        if body.ended and not (self.stream.closed() or self._write_finished):
            self._body = None
            self._buffer = self._server.little
            if body.rest:
                self._reader.feed(body.rest)
            self._request_over()
        elif isinstance(body, http1.Counted):  # no more than LITTLE of what follows it
            self._buffer = self._server.buffer[: max(body.left, LITTLE)]

    def _request_over(self) -> None:
        self._read_finished = True
        self.since = 0.0
        if self._write_finished:
            return
        assert self._delegate is not None
        try:
            self._delegate.finish()
        except Exception:
            self._broken()

    def _malformed(self, error: HTTPInputError, answer: bytes = BAD_REQUEST) -> None:
        """Send the answer if nothing was sent, and close. The end of the message is unknown, so no further request can be read."""
        logging.getLogger("tornado.general").info("malformed request from %s: %s", self.context.remote_ip, error)
        delegate, self._delegate = self._delegate, None
        if delegate is not None and not self._write_finished:
            delegate.on_connection_close()
        if self.written is None and not self.stream.closed():
            self.stream.write(answer)
        self._linger()

    def _broken(self) -> None:
        log.exception("a request could not be handled")
        self.stream.close()

    # ---- the end ----

    def _closed(self) -> None:
        """Called once when the stream has closed, for whatever reason."""
        delegate, callback = self._delegate, self._close_callback
        answered, self._delegate, self._close_callback = self._write_finished, None, None
        self._body = None
        self._reader.take()
        self.since = 0.0
        self._server.on_close(self)
        if self._upgraded is not None:
            upgraded, self._upgraded = self._upgraded, None
            upgraded.closed()
        if delegate is None or answered:
            return
        if self._read_finished:
            if callback is not None:
                callback()
        else:
            delegate.on_connection_close()

    def _linger(self) -> None:
        """Stop writing, discard what arrives, and close after LINGER seconds, so that the caller can read the response."""
        self._write_finished, self._read_finished = True, False
        self._body = None
        self._reader.take()
        if self.stream.closed():
            return
        self.stream.flush()
        if not self.stream.secure:
            try:
                self.stream.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self.stream.resume()
        self._loop.call_later(LINGER, self.stream.close)

    def _answered(self, _: object = None) -> None:
        """Called when the kernel has accepted the whole response."""
        if self.stream.closed():
            return
        if not self._read_finished:
            self._linger()
        elif not self._response.persists:
            self.stream.close()
        else:
            self._clear()
            self.since = self._loop.time()
            self.stream.resume()
            if self._reader.buffer:
                self._loop.call_soon(self._next)
            if self._server.crowded:
                self._server.place_free()

    # ---- another protocol ----

    def upgrade(self, headers: Mapping[str, str], upgraded: Upgraded) -> None:
        """Answer the request with 101 and these headers; what the caller sends from now on is the protocol's.

        Called by the request's handler, which finishes nothing: for the Application the request is over.
        """
        line = ResponseStartLine("HTTP/1.1", 101, "Switching Protocols")
        head = http1.Response(self._head.line, persists=True).head(line, HTTPHeaders(), headers, int(time()))
        self._delegate = self._close_callback = None
        self._upgraded = upgraded
        rest = self._reader.take()
        self.stream.write(head)
        self.stream.hand_over(self._readable_upgraded)
        if rest:
            upgraded.received(rest)

    def _readable_upgraded(self) -> None:
        wanted = READ_SIZE if self._upgraded is None else self._upgraded.wanted
        try:
            count = self.stream.receive(self._server.buffer[:wanted])
        except NOT_READY:
            self.stream.look_again()
            return
        except OSError as error:
            self.stream.error = error.with_traceback(None)
            count = 0
        if not count or self._upgraded is None:
            self.stream.close()
            return
        self._upgraded.received(bytes(self._server.buffer[:count]))
        self.stream.look_again()

    # ---- called by the request's handler ----

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """callback: called when the caller disconnects before its response is complete."""
        self._close_callback = callback

    def set_max_body_size(self, size: int) -> None:
        """size: bytes, for this request."""
        self._limit = size

    def set_body_timeout(self, timeout: float | None) -> None:
        """timeout: seconds for the whole body of this request, instead of PATIENCE; None for no limit. That between two reads stays."""
        self._patience = timeout

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> asyncio.Future[None]:
        assert isinstance(start_line, ResponseStartLine)
        response = self._response
        if not self._read_finished:
            response.persists = False
        head = response.head(start_line, headers, self.also, int(time()))
        return self._write(head + self._framed(chunk) if chunk else head)

    def _framed(self, chunk: bytes) -> bytes:
        try:
            return self._response.frame(chunk)
        except httputil.HTTPOutputError:
            self.stream.close()
            raise

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        return self._write(self._framed(chunk))

    def _write(self, data: bytes) -> asyncio.Future[None]:
        self.written = written = self.stream.write_soon(data)
        return written

    def finish(self) -> None:
        try:
            rest = self._response.end(self.last)
        except httputil.HTTPOutputError:
            if self.stream.closed():
                rest = b""
            else:
                self.stream.close()
                raise
        if rest and not self.stream.closed():
            self._write(rest)
        self._write_finished = True
        if self.written is None or self.written.done():
            self._answered()
        else:
            self.written.add_done_callback(self._answered)
