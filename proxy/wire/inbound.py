"""Connections of callers: HTTP/1.1 for Tornado's Application, read by the loop's own reader, answered in one write.

Strategy: the bytes of one read are parsed (http1, server role) in the same turn of the loop and given to the request's delegate: no
coroutine runs for a connection, no Future and no timer is made for a read, and the loop is not asked anew about the descriptor for
each request. What starts at the same time in every request (the request object, routing, the handler) is Tornado's own. Requests on
one connection are answered one after the other; what comes early waits, bounded.

An answer that is given before its request has ended closes the connection, a while after it: a reset would overtake it.

A connection that waits for its caller (TLS handshake, first request, next request) is idle: where all places are taken the server
closes the longest idle one.
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
from .socket import NOT_READY, Stream

log = logging.getLogger("dragoman")

READ_SIZE = 256 * 1024  # bytes of one read of a body whose length is known
LITTLE = 32 * 1024  # bytes of any other read: as chunks of one byte they cost 20 ms
AHEAD = 32 * 1024  # bytes that may wait behind a request that is being answered, besides those of one read
LINGER = 2.0  # seconds that a caller who is still sending has to read an early answer
PATIENCE = 600.0  # seconds for a request's body; between two requests as well
HEAD_PATIENCE = 60.0  # seconds for a handshake with the first head, for a head from its first byte, and without a byte of a body

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Context(NamedTuple):
    """What Tornado's requests know of their connection."""

    remote_ip: str
    protocol: str


class Host(Protocol):
    """What a connection knows of its server.

    buffer, little: for the reads of all its connections, of a body and of anything else. max_body_size: bytes. crowded: somebody waits
    for a place.
    """

    buffer: memoryview
    little: memoryview
    max_body_size: int
    crowded: bool

    @property
    def conn_params(self) -> Any:
        """Tornado's HTTP1ConnectionParameters, of which `no_keep_alive` counts."""

    def start_request(self, server_conn: object, request_conn: httputil.HTTPConnection) -> httputil.HTTPMessageDelegate:
        """A request begins."""

    def on_close(self, server_conn: object) -> None:
        """The connection has ended."""

    def place_free(self) -> None:
        """The connection waits for its caller, and could make room."""


class Inbound(httputil.HTTPConnection):
    """One caller's connection, for one request after another. As an HTTPConnection it is the request's way to answer."""

    def __init__(self, stream: Stream, server: Host, address: Any, number: int = 0) -> None:
        """number: how many connections came before; tells which of two waits longer within one step of the loop's clock."""
        self.number = number
        self.stream = stream
        remote = address[0] if stream.socket.family in (socket.AF_INET, socket.AF_INET6) else "0.0.0.0"
        self.context = Context(remote, "https" if stream.secure else "http")
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._reader = http1.RequestReader()
        self._first = True  # no request has come yet
        self.since = self._loop.time()  # when it began to wait for the caller; 0: it does not
        self._heard = self.since  # when the last of a body came
        self._clear()

    def _clear(self) -> None:
        """Before a request."""
        self._delegate: httputil.HTTPMessageDelegate | None = None  # of the request that is being read or answered
        self._body: http1.BodyReader | None = None  # while a body is read
        self._buffer = self._server.little
        self._close_callback: Callable[[], None] | None = None
        self.written: asyncio.Future[None] | None = None  # the last write of this answer
        self._read_finished = self._write_finished = False
        self.also: Mapping[str, str] = {}  # headers of the answer besides its handler's: for many it is the shorter way
        self.last = b""  # of the answer's body: what leaves with its end

    def start(self) -> None:
        """Begin to serve."""
        self.stream.serve(self._readable, self._closed)

    @property
    def idle(self) -> bool:
        """Whether it waits for a request, or for the handshake before the first."""
        return self._delegate is None and not self.stream.closed()

    def sweep(self, now: float) -> None:
        """Give up a caller that has taken too long to ask."""
        if not self.since:
            return
        reading = self._delegate is not None
        soon = self._first or reading or self._reader.buffer
        if now - self.since > (PATIENCE if reading or not soon else HEAD_PATIENCE) or (reading and now - self._heard > HEAD_PATIENCE):
            self.stream.close()

    async def close(self) -> None:
        self.stream.close()

    def abort(self) -> None:
        """Close. An answer that has begun ends in a reset: where it would end with the connection, nothing else shows that it is cut."""
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
            self.stream.error = error.with_traceback(None)  # its frames lead back here
            count = 0
        if not count:
            if self._delegate is not None and self._body is None and not (self._read_finished or self._write_finished):
                self.stream.pause()  # the handler is not ready yet for what came before: this is seen again when it is
            else:
                self.stream.close()
            return
        self._received(bytes(self._buffer[:count]))
        self.stream.look_again()

    def _received(self, data: bytes) -> None:
        if self._write_finished and not self._read_finished:
            return  # the answer is out: the rest of the request is thrown away
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
        """Begin the request whose head is whole, if one is."""
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
        """The handler is ready for it."""
        if self._delegate is not delegate or self.stream.closed():
            return
        self.stream.resume()
        if body is None or body.ended:
            self._request_over()
            return
        if isinstance(body, http1.Counted) and body.left > self._limit:
            self._malformed(HTTPInputError("Content-Length too long"))
            return
        if "Expect" in self._head.headers and self._head.awaits_continue and not self._write_finished:
            self.stream.write(CONTINUE)
        self._body = body
        if isinstance(body, http1.Counted):
            self._buffer = self._server.buffer
        self._total = 0
        data = self._reader.take() if self._reader.buffer else b""
        if data and not self._write_finished:
            self._feed(body, data)

    def _feed(self, body: http1.BodyReader, data: bytes) -> None:
        payload = body.feed(data)
        self._total += len(payload)
        if body.fault is not None or self._total > self._limit:
            self._malformed(HTTPInputError("malformed or too large body"))
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
                raise TypeError("handlers take a body without waiting")
        if body.ended and not (self.stream.closed() or self._write_finished):
            self._body = None
            self._buffer = self._server.little
            if body.rest:
                self._reader.feed(body.rest)
            self._request_over()

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

    def _malformed(self, error: HTTPInputError) -> None:
        """Where the message ends is not known: nothing more is read of this connection."""
        logging.getLogger("tornado.general").info("malformed request from %s: %s", self.context.remote_ip, error)
        delegate, self._delegate = self._delegate, None
        if delegate is not None and not self._write_finished:
            delegate.on_connection_close()
        if self.written is None and not self.stream.closed():
            self.stream.write(BAD_REQUEST)
        self._linger()

    def _broken(self) -> None:
        log.exception("a request could not be handled")
        self.stream.close()

    # ---- the end ----

    def _closed(self) -> None:
        """The stream has closed, for whatever reason."""
        delegate, callback = self._delegate, self._close_callback
        answered, self._delegate, self._close_callback = self._write_finished, None, None
        self._body = None
        self._reader.take()
        self.since = 0.0
        self._server.on_close(self)
        if delegate is None or answered:
            return
        if self._read_finished:
            if callback is not None:
                callback()
        else:
            delegate.on_connection_close()

    def _linger(self) -> None:
        """Close, but not before the caller could read what it was answered."""
        self._write_finished, self._read_finished = True, False
        self._body = None
        self._reader.take()
        if self.stream.closed():
            return
        if not self.stream.secure:
            try:
                self.stream.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self.stream.resume()
        self._loop.call_later(LINGER, self.stream.close)

    def _answered(self, _: object = None) -> None:
        """The answer is with the kernel."""
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

    # ---- what a request's handler calls ----

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Called when the caller leaves before its answer."""
        self._close_callback = callback

    def set_max_body_size(self, size: int) -> None:
        """Of this request."""
        self._limit = size

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
        self.written = written = self.stream.write(data)
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
