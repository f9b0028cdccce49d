"""Connections of clients: HTTP/1.1 for Tornado's Application, read by the loop's own reader, answered in one write.

Strategy: the bytes of one read are parsed in the same turn of the loop and given to the request's delegate: no coroutine runs for a
connection, no Future and no timer is made for a read, and the loop is not asked anew about the descriptor for each request. What
starts at the same time in every request (parsing of start line and headers, the request object, routing, the handler) is
Tornado's own. Requests on one connection are answered one after the other; what comes early waits, bounded.

It is as strict as Tornado about what decides where a message ends (RFC 9112): one framing, plain numbers, only `chunked`; and
more lenient where nothing depends on it (chunk extensions, trailers, empty lines before a request). An answer that is given before
its request has ended closes the connection, a while after it: a reset would overtake it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tornado import httputil
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPOutputError, RequestStartLine, ResponseStartLine

from . import http1
from .socket import NOT_READY, Stream

if TYPE_CHECKING:
    from ..process.server import Server

log = logging.getLogger("dragoman")

READ_SIZE = 256 * 1024  # bytes of one read
MAX_HEAD = 64 * 1024  # bytes of a request's head
AHEAD = 256 * 1024  # bytes that may wait behind a request that is being answered
LINGER = 2.0  # seconds that a client who is still sending has to read an early answer
PATIENCE = 600.0  # seconds for a request's body; between two requests as well
HEAD_PATIENCE = 60.0  # seconds for a request's head, from its first byte

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(r"[0-9]{1,18}")


class Context(NamedTuple):
    """What Tornado's requests know of their connection."""

    remote_ip: str
    protocol: str


class Inbound(httputil.HTTPConnection):
    """One client's connection, for one request after another. As an HTTPConnection it is the request's way to answer."""

    def __init__(self, stream: Stream, server: Server, address: Any) -> None:
        self.stream = stream
        remote = address[0] if stream.socket.family in (socket.AF_INET, socket.AF_INET6) else "0.0.0.0"
        self.context = Context(remote, "https" if stream.secure else "http")
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()  # what was read and not yet looked at
        self._searched = 0  # of it, for the end of a head
        self.since = self._loop.time()  # when it began to wait for the client; 0: it does not
        self._clear()

    def _clear(self) -> None:
        """Before a request."""
        self._delegate: httputil.HTTPMessageDelegate | None = None  # of the request that is being read or answered
        self._body: http1.BodyReader | None = None  # while a body is read
        self._close_callback: Callable[[], None] | None = None
        self.written: asyncio.Future[None] | None = None  # the last write of this answer
        self._read_finished = self._write_finished = False
        self._chunked = self._persists = False
        self._left: int | None = None  # bytes of the answer that its Content-Length still promises
        self.also: Mapping[str, str] = {}  # headers of the answer besides its handler's: for many it is the shorter way
        self.last = b""  # of the answer's body: what leaves with its end

    def start(self) -> None:
        """Begin to serve."""
        self.stream.serve(self._readable, self._closed)

    def sweep(self, now: float) -> None:
        """Give up a client that has taken too long to ask."""
        patience = HEAD_PATIENCE if self._delegate is None and self._buffer else PATIENCE
        if self.since and now - self.since > patience:
            self.stream.close()

    async def close(self) -> None:
        self.stream.close()

    # ---- reading ----

    def _readable(self) -> None:
        try:
            count = self.stream.receive(self._server.buffer)
        except NOT_READY:
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
        self._received(bytes(self._server.buffer[:count]))

    def _received(self, data: bytes) -> None:
        if self._write_finished and not self._read_finished:
            return  # the answer is out: the rest of the request is thrown away
        if self._body is not None:
            self._feed(self._body, data)
            return
        if not self._buffer and self._delegate is None:
            self.since = self._loop.time()
        self._buffer += data
        if self._delegate is None:
            self._next()
        elif len(self._buffer) > AHEAD:
            self.stream.pause()

    def _next(self) -> None:
        """Begin the request whose head is whole, if one is."""
        if self._delegate is not None or self.stream.closed():
            return
        try:
            raw = self._head()
            if raw is not None:
                self._begin(*_parsed(raw))
        except HTTPInputError as error:
            self._malformed(error)

    def _head(self) -> bytes | None:
        buffer = self._buffer
        if buffer.startswith((b"\r", b"\n")):
            del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n"))]  # some clients send an empty line after a body
        blank = _BLANK_LINE.search(buffer, self._searched)
        if (blank.end() if blank else len(buffer)) > MAX_HEAD:
            raise HTTPInputError("request head too large")
        if blank is None:
            self._searched = max(0, len(buffer) - 3)
            return None
        raw = bytes(buffer[: blank.start()])
        del buffer[: blank.end()]
        self._searched = 0
        return raw

    def _begin(self, line: RequestStartLine, headers: HTTPHeaders) -> None:
        self._line, self._headers = line, headers
        self._limit = self._server.max_body_size
        body = _body_reader(headers)
        self._persists = not self._server.conn_params.no_keep_alive and _keeps_alive(line, headers)
        self.since = self._loop.time()
        self._read_finished = body is None or body.ended
        self._delegate = delegate = self._server.start_request(self, self)
        try:
            ready = delegate.headers_received(line, headers)
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
        if not self._write_finished and self._headers.get("Expect", "").lower() == "100-continue":
            self.stream.write(CONTINUE)
        self._body = body
        self._total = 0
        data, self._buffer = bytes(self._buffer), bytearray()
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
            self._buffer += body.rest
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
        self._buffer.clear()
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
        """Close, but not before the client could read what it was told."""
        self._write_finished, self._read_finished = True, False
        self._body = None
        self._buffer.clear()
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
        elif not self._persists:
            self.stream.close()
        else:
            self._clear()
            self.since = self._loop.time()
            self.stream.resume()
            if self._buffer:
                self._loop.call_soon(self._next)

    # ---- what a request's handler calls ----

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Called when the client leaves before its answer."""
        self._close_callback = callback

    def set_max_body_size(self, size: int) -> None:
        """Of this request."""
        self._limit = size

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> asyncio.Future[None]:
        assert isinstance(start_line, ResponseStartLine)
        line, code = self._line, start_line.code
        length = headers.get("Content-Length")
        bodiless = line.method == "HEAD" or code in (204, 304) or 100 <= code < 200
        self._chunked = line.version == "HTTP/1.1" and not bodiless and length is None
        if not self._read_finished or headers.get("Connection") == "close":
            self._persists = False
        lines = [f"HTTP/1.1 {code} {start_line.reason}"]
        if "Date" not in headers:
            lines.append(_date(int(time())))
        if not self._persists and line.version == "HTTP/1.1":
            headers["Connection"] = "close"
        elif line.version == "HTTP/1.0" and self._persists:
            headers["Connection"] = "Keep-Alive"
        if self._chunked:
            lines.append("Transfer-Encoding: chunked")
        self._left = 0 if line.method == "HEAD" or code == 304 else None if length is None else int(length)
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        lines += [f"{name}: {value}" for name, value in self.also.items()]
        text = "\r\n".join(lines)
        if not (text.count("\r") == text.count("\n") == len(lines) - 1):
            raise ValueError("a line break in a header")
        return self._write(text.encode("latin-1") + b"\r\n\r\n" + (self._framed(chunk) if chunk else b""))

    def _framed(self, chunk: bytes) -> bytes:
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                self.stream.close()
                raise HTTPOutputError("more was written than Content-Length promised")
        return b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked and chunk else chunk

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        return self._write(self._framed(chunk))

    def _write(self, data: bytes) -> asyncio.Future[None]:
        self.written = written = self.stream.write(data)
        return written

    def finish(self) -> None:
        rest = self._framed(self.last)
        if self._left and not self.stream.closed():
            self.stream.close()
            raise HTTPOutputError("less was written than Content-Length promised")
        if self._chunked:
            rest += b"0\r\n\r\n"
        if rest and not self.stream.closed():
            self._write(rest)
        self._write_finished = True
        if self.written is None or self.written.done():
            self._answered()
        else:
            self.written.add_done_callback(self._answered)


# ---- heads ----


@lru_cache(1)
def _date(seconds: int) -> str:
    """The header that says when; the same for a second."""
    return f"Date: {httputil.format_timestamp(seconds)}"


def _parsed(raw: bytes) -> tuple[RequestStartLine, HTTPHeaders]:
    """Raises HTTPInputError."""
    line, _, lines = raw.decode("latin-1").partition("\n")
    return httputil.parse_request_start_line(line.rstrip("\r")), http1.parse_headers(lines)


def _keeps_alive(line: RequestStartLine, headers: HTTPHeaders) -> bool:
    wish = headers.get("Connection", "").lower()
    if line.version == "HTTP/1.1":
        return wish != "close"
    framed = "Content-Length" in headers or "Transfer-Encoding" in headers or line.method in ("HEAD", "GET")
    return wish == "keep-alive" and framed


def _body_reader(headers: HTTPHeaders) -> http1.BodyReader | None:
    """How the request's body ends; None without one (RFC 9112, 6.3). Raises HTTPInputError for what two readers may see differently."""
    length = headers.get("Content-Length")
    coding = headers.get("Transfer-Encoding")
    if coding is not None:
        if length is not None or coding.lower() != "chunked":
            raise HTTPInputError("two framings, or an unknown one")
        return http1.Chunked()
    if length is None:
        return None
    if _LENGTH.fullmatch(length):
        return http1.Counted(int(length))
    lengths = set(re.split(r",[ \t]*", length))
    length = lengths.pop()
    if lengths or not _LENGTH.fullmatch(length):
        raise HTTPInputError("malformed Content-Length")
    headers["Content-Length"] = length
    return http1.Counted(int(length))
