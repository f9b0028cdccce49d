"""The HTTP client towards providers: HTTP/1.1 over pooled connections, streamed at no cost per read, aborted at once.

Strategy: the bytes of one read go from pool.py through the framing of http1.py to `streaming_callback` in the same turn of
the loop, joined to one bytes object: no Future, no task and no timer is made for a read. A callback that needs time returns an
awaitable, and nothing is read until that is done. Each call has one timer; reads only note the time, and the timer sets itself
anew when it fires early. The response is read while the request is still being written, so an early refusal is seen.

A call ends in one of four ways: its response; an UpstreamFault; the error that a callback of the caller raised; cancellation of
the future that fetch() returned. All but the first close the connection at once.

A request that may have been read is not sent twice by this module: what it asks for may have been done, and must be paid. The fault
says so (`sent`), and whoever knows the operator's policy decides. Three endings without an answer are told apart:

- No connection came up. `sent` is False.
- A pooled connection was stale: it had ended before a byte was written, or its peer had closed it, in order, before any byte of this
  request arrived there. The second is the race of keep-alive: a server closes an idle connection while a request is on its way. It
  can be known, as every segment acknowledges what came before it: when the peer's FIN comes and nothing of the request is
  acknowledged, the peer had decided to close before it could read (RFC 9112, section 9.3.1: "means to detect that the original
  request was never applied"). The request is sent anew on a new connection, once, and counted in `sendings`.
- Anything else: `sent` is True. A reset is among them, as it acknowledges nothing and may come from a server that has read the
  request; so is an end in order after the kernel's acknowledgement. Only methods that are idempotent by definition (RFC 9110, section
  9.2.2) are then sent anew, on a pooled connection.

The race is rare: before it is used each pooled connection is asked whether it has ended, and none is kept for longer than
`idle_seconds`, which is less than what common servers and balancers allow (60 s and more), or than those with a shorter time need
to have closed it.

It follows no redirects, keeps no cookies, asks for no compression (but undoes gzip and deflate), knows no proxies and no HTTP/2.
Of HTTPRequest's options it reads only those that UpstreamRequest takes.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Awaitable, Callable, Iterator
from functools import lru_cache
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders

from ...codecs import errors
from . import http1
from .pool import Connection, Origin, Pool
from .resolver import LookUp, system_look_up

FIRST_WRITE = 64 * 1024  # bytes of body that are copied behind the head, to leave with it in one write
WRITE_SLICE = 256 * 1024  # bytes offered to the kernel at once
WRITES_PER_TURN = 8  # then other connections have their turn
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})  # RFC 9110, section 9.2.2


class UpstreamRequest(HTTPRequest):
    """One request. Timeouts are in seconds; None or 0 is no limit.

    connect_timeout: DNS, TCP and TLS together.
    first_byte_timeout: from the last byte of the request handed to the kernel to the final response's headers; while the request
    is still being written, between two writes that the upstream takes.
    idle_timeout: between two reads of the body; does not run while a callback's awaitable is pending.
    on_headers: called once with status and headers of the final response, before any of its body.
    streaming_callback: called with the decoded body, never with b""; looked up when on_headers has returned, which may set it.
    Without it the body is collected into response.body, up to max_body bytes.
    ssl_context: for https, instead of the client's own.

    The client notes in the request, as the loop's time: sent_at, when the last byte was handed to the kernel; first_byte_at, when
    the first bytes of the response came. They are None as long as that did not happen. sendings: on how many connections the kernel
    took bytes of it.
    """

    def __init__(
        self,
        url: str,
        method: str = "GET",
        headers: dict[str, str] | HTTPHeaders | None = None,
        body: bytes | None = None,
        *,
        connect_timeout: float | None = 10.0,
        first_byte_timeout: float | None = 600.0,
        idle_timeout: float | None = 300.0,
        on_headers: Callable[[int, HTTPHeaders], None] | None = None,
        streaming_callback: Callable[[bytes], Awaitable[None] | None] | None = None,
        max_body: int = 64 * 1024 * 1024,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        # not HTTPRequest's own __init__: what it keeps of thirty options that are not read here is 1.5 kB of every stream
        self.url = url
        self.method = method
        self.headers = headers  # type: ignore[assignment]
        self.body = body  # type: ignore[assignment]
        self.connect_timeout = connect_timeout
        self.streaming_callback = streaming_callback
        self.first_byte_timeout = first_byte_timeout
        self.idle_timeout = idle_timeout
        self.on_headers = on_headers
        self.max_body = max_body
        self.ssl_context = ssl_context
        self.sent_at: float | None = None
        self.first_byte_at: float | None = None
        self.sendings = 0


class UpstreamClient(AsyncHTTPClient):
    """The client; make one a loop, inside it, with `UpstreamClient(force_instance=True, …)`.

    max_idle: connections kept open for one origin. idle_seconds: how long each is kept unused. ssl_context: what https trusts.
    look_up: the addresses of a name, called in a thread.
    """

    def initialize(  # type: ignore[override]
        self,
        max_idle: int = 64,
        idle_seconds: float = 50.0,
        ssl_context: ssl.SSLContext | None = None,
        look_up: LookUp = system_look_up,
    ) -> None:
        super().initialize()
        self._pool = Pool(max_idle, idle_seconds, look_up)
        self._ssl_context = ssl_context
        self._calls: set[_Call] = set()  # under way

    def fetch(self, request: str | HTTPRequest, raise_error: bool = False, **kwargs: Any) -> asyncio.Future[HTTPResponse]:
        """Send an UpstreamRequest. The future gives the response, whatever its status, and aborts the call when cancelled.

        raise_error: raise Tornado's HTTPError for a status other than 2xx. Raises ValueError, before anything is sent, for a
        request that cannot be written as HTTP. The future raises errors.Refused, Timeout, Truncated or Garbled (all with host and
        port in `detail`, and `sent`), or what a callback raised.
        """
        if self._closed:
            raise RuntimeError("fetch() on a closed UpstreamClient")
        if not isinstance(request, UpstreamRequest) or kwargs:
            raise TypeError("fetch() takes an UpstreamRequest")
        origin, head = self._prepare(request)
        call = _Call(request, origin, head, self._pool, self._calls, raise_error)
        call.begin(self._pool.take(origin))
        return call.future

    def close(self) -> None:
        """Close what is idle and fail what is under way with Refused."""
        super().close()
        for call in list(self._calls):
            call.fail(errors.Refused("The gateway is shutting down."))
        self._pool.close()

    def _prepare(self, request: UpstreamRequest) -> tuple[Origin, bytes]:
        secure, host, port, netloc, target = _place(request.url)
        context = request.ssl_context or self._default_context() if secure else None
        origin = Origin(host, port, context)
        has_body = bool(request.body) or request.method in ("POST", "PUT", "PATCH")
        length = len(request.body or b"") if has_body else None
        given = request.headers
        fields = given.get_all() if isinstance(given, HTTPHeaders) else given.items() if given else ()
        return origin, http1.request_head(request.method, target, netloc, fields, length)

    def _default_context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
            self._ssl_context.set_alpn_protocols(["http/1.1"])
        return self._ssl_context


@lru_cache(128)  # few: a caller's query of any length is in it
def _place(url: str) -> tuple[bool, str, int, str, str]:
    """Whether with TLS, host, port, network location and request target. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or not url.isprintable():
        raise ValueError("not an absolute http(s) URL without credentials")
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return secure, parts.hostname, parts.port or (443 if secure else 80), parts.netloc, target


class _StaleConnection(Exception):
    """A pooled connection was closed before any byte of an answer, and the request may be sent anew."""


class _Call:
    """One request, up to its response. `future` gets the outcome; no task runs but while a connection is opened."""

    def __init__(self, request: UpstreamRequest, origin: Origin, head: bytes, pool: Pool, calls: set[_Call], raise_error: bool) -> None:
        self._loop = pool.loop
        self.future: asyncio.Future[HTTPResponse] = self._loop.create_future()
        self.waiting: asyncio.Future[None] | None = None  # a callback's awaitable; nothing is read meanwhile
        self._request, self._origin, self._head_bytes = request, origin, head
        self._pool, self._calls = pool, calls
        self._raise_error = raise_error
        self._connecting: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._unsent: list[memoryview] = []
        self._written = 0  # bytes that the kernel took, on this connection
        self._head_reader = http1.HeadReader()
        self._body: http1.BodyReader | None = None  # None until the head is there
        self._pieces: Iterator[bytes] = iter(())  # decoded, not yet handed over
        self._collected: list[bytes] = []
        self._room = request.max_body
        self._timer: asyncio.TimerHandle | None = None
        calls.add(self)
        self.future.add_done_callback(self._over)

    def begin(self, connection: Connection | None) -> None:
        """Send the request, over a connection of its own when it is given none."""
        if connection is None:
            self._connecting = self._loop.create_task(self._connect())
            return
        request = self._request
        request.sent_at = request.first_byte_at = None
        self._connection = connection
        connection.receiver = self
        self._timer_name, self._limit = "first_byte", request.first_byte_timeout
        self._since = self._loop.time()  # what the limit counts from
        self._send_first(connection, self._head_bytes, request.body or b"")
        # one timer for both limits: it goes off for the shorter one, and then sees which is in force
        limits = [limit for limit in (request.first_byte_timeout, request.idle_timeout) if limit]
        self._arm(min(limits) if limits else None)

    async def _connect(self) -> None:
        if self.future.done():
            return  # cancelled at once
        try:
            connection = await self._pool.open(self._origin, self._request.connect_timeout)
        except Exception as error:
            self.fail(error)
            return
        finally:
            self._connecting = None
        if self.future.done():
            connection.close()
        else:
            self.begin(connection)

    # -- the request --

    def _send_first(self, connection: Connection, head: bytes, body: bytes) -> None:
        self._written = 0
        self._unsent = [memoryview(head + body[:FIRST_WRITE])]
        if len(body) > FIRST_WRITE:
            self._unsent.append(memoryview(body)[FIRST_WRITE:])
        self._send()
        if self._unsent:
            connection.when_writable(self._send)

    def _send(self) -> None:
        assert self._connection is not None
        try:
            for _ in range(WRITES_PER_TURN):
                count = self._connection.write(self._unsent[0][:WRITE_SLICE])
                if not count:
                    return
                self._since = self._loop.time()
                if not self._written:
                    self._request.sendings += 1
                self._written += count
                self._unsent[0] = self._unsent[0][count:]
                if not self._unsent[0]:
                    self._unsent.pop(0)
                if not self._unsent:
                    self._request.sent_at = self._since
                    break
            else:
                return
        except OSError:
            # The upstream hears no more, but may have said why (an early 413): what is there to read decides.
            self._unsent.clear()
        self._connection.when_writable(None)

    # -- the response --

    def received(self, data: bytes, now: float) -> None:
        """The bytes of one read, at this loop time. Whatever they lead to, nothing is raised into the loop."""
        if self.future.done():
            return  # cancelled in this very turn
        try:
            body = self._body
            if body is None:
                head = self._read_head(data)
                if head is None:
                    return
                body = self._begin_body(head)
                data = self._head_reader.rest
            self._since = now
            payload = body.feed(data) if data else b""
            if self._inflater is not None:
                self._pieces = self._inflater.feed(payload)
            elif body.ended or not payload:
                self._pieces = iter((payload,) if payload else ())
            else:  # nearly every read: one piece, and more to come
                answer = (self._request.streaming_callback or self._collect)(payload)
                if answer is not None:
                    self._wait(answer)
                return
            self._hand_over(body)
        except (Exception, asyncio.CancelledError) as error:
            self.fail(error)

    def lost(self, error: OSError | None) -> None:
        """The connection ended: in order (error is None), or not."""
        if self.future.done():
            return
        try:
            if self._body is None:
                raise self._unanswered(error)
            self._body.eof(in_order=error is None)
            self._finish(self._body)
        except _StaleConnection:
            self._release()
            self.begin(None)  # not another from the pool: it is likely to be as dead
        except Exception as fault:
            self.fail(fault)

    def _unanswered(self, error: OSError | None) -> Exception:
        assert self._connection is not None
        if self._request.first_byte_at is not None:
            return errors.Truncated("The upstream closed the connection within its answer's headers.")
        if self._connection.reused and self._is_stale(self._connection, error):
            return _StaleConnection()
        if error is not None and error.errno == errno.ETIMEDOUT:
            return errors.Refused("The upstream no longer acknowledged what was sent.", str(error))
        return errors.Refused("The upstream closed the connection without an answer.", str(error or ""))

    def _is_stale(self, connection: Connection, error: OSError | None) -> bool:
        """Whether the request can be sent anew although it is not known what the upstream did with it, or because that is known."""
        if error is not None and error.errno not in (errno.ECONNRESET, errno.EPIPE):
            return False
        if not self._written or self._request.method in IDEMPOTENT:
            return True
        # EPIPE from a read is a reset that came after a FIN; what TLS adds to the written bytes is less than a segment
        in_order = error is None or error.errno == errno.EPIPE
        return in_order and connection.unacknowledged() >= self._written

    def _read_head(self, data: bytes) -> http1.Head | None:
        if self._request.first_byte_at is None:
            self._request.first_byte_at = self._loop.time()
        return self._head_reader.feed(data)

    def _begin_body(self, head: http1.Head) -> http1.BodyReader:
        method = self._request.method
        self._head = head
        self._body = http1.body_reader(method, head)
        self._keeps_alive = head.keeps_alive()
        self._inflater = http1.inflater(method, head)  # last: it takes headers away
        self._timer_name, self._limit = "idle", self._request.idle_timeout
        self._since = self._loop.time()
        if self._limit and (self._timer is None or self._due > self._since + self._limit):
            self._arm(self._limit)
        if self._request.on_headers is not None:
            self._request.on_headers(head.status, head.headers)
        return self._body

    def _hand_over(self, body: http1.BodyReader) -> None:
        """Give what is decoded to the caller, until that asks for time; then see whether it was the last."""
        receive = self._request.streaming_callback or self._collect
        for piece in self._pieces:
            if self.future.done():
                return  # a callback cancelled the call
            answer = receive(piece)
            if answer is not None and self._wait(answer):
                return
        if body.ended and not self.future.done():
            self._finish(body)

    def _collect(self, piece: bytes) -> None:
        self._room -= len(piece)
        if self._room < 0:
            raise errors.Garbled("The upstream's answer is too large.", f"more than {self._request.max_body} bytes")
        self._collected.append(piece)

    def _wait(self, answer: Awaitable[None]) -> bool:
        """Whether `answer` is still to come; then _go_on continues."""
        waiting = asyncio.ensure_future(answer)
        if waiting.done():
            waiting.result()
            return False
        self.waiting = waiting
        self._waits_for_own_task = waiting is not answer
        waiting.add_done_callback(self._go_on)
        return True

    def _go_on(self, waiting: asyncio.Future[None]) -> None:
        assert self._body is not None
        self.waiting = None
        if self._connection is None:  # the call was given up in the very turn in which the caller was done
            if not waiting.cancelled():
                waiting.exception()  # seen
            return
        try:
            waiting.result()
            self._since = self._loop.time()
            self._hand_over(self._body)
            if self._connection is not None and self.waiting is None:
                self._connection.resume()
        except (Exception, asyncio.CancelledError) as error:
            self.fail(error)

    # -- the end --

    def _finish(self, body: http1.BodyReader) -> None:
        if body.fault is not None:
            raise body.fault
        if self._inflater is not None:
            self._inflater.finish()
        self._release(body.reusable and self._keeps_alive and self._request.sent_at is not None)
        content = BytesIO(b"".join(self._collected))
        head = self._head
        response = HTTPResponse(self._request, head.status, head.headers, content, reason=head.reason)
        if self._raise_error:
            response.rethrow()
        response.error = None  # Tornado's leads back to the response: a cycle that holds the request
        self.future.remove_done_callback(self._over)
        self._calls.discard(self)
        self.future.set_result(response)

    def fail(self, error: BaseException) -> None:
        """End the call with this error, unless it is over."""
        self._release()
        if self.future.done():
            return
        if isinstance(error, asyncio.CancelledError):
            self.future.cancel()
            return
        if isinstance(error, errors.UpstreamFault):
            error.sent = self._written > 0
            error.detail = f"{self._origin}: {error.detail}" if error.detail else str(self._origin)
        elif isinstance(error, StopIteration):
            error = RuntimeError(f"a callback raised {error!r}")  # no future takes it, just as no coroutine does
        if isinstance(error, errors.GatewayError):
            errors.forget(error)  # the future keeps the traceback, and its frames the future
        self.future.set_exception(error)

    def _over(self, _: object) -> None:
        """The outcome is there, or the caller has cancelled it."""
        self._calls.discard(self)
        self._release()
        if self._connecting is not None:
            self._connecting.cancel()

    def _release(self, reusable: bool = False) -> None:
        """Part from the connection, if there is one: back to the pool, or closed."""
        if self._timer is not None:
            self._timer.cancel()
        if self.waiting is not None:
            self.waiting.remove_done_callback(self._go_on)
            if self._waits_for_own_task:
                self.waiting.cancel()
            self.waiting = None
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if reusable:
            connection.release()
        else:
            connection.close(reset=bool(self._unsent))

    # -- the timer --

    def _arm(self, seconds: float | None) -> None:
        """Look again so long after the last sign of life. When that is too early it is not yet the end: _tick decides."""
        if self._timer is not None:
            self._timer.cancel()
        self._due = self._since + (seconds or 0.0)
        self._timer = self._loop.call_at(self._since + seconds, self._tick) if seconds else None

    def _tick(self) -> None:
        if self.waiting is not None:
            self._since = self._loop.time()  # the slowness is not the upstream's
        if not self._limit or self._loop.time() < self._since + self._limit:
            self._arm(self._limit)
        elif self._body is None:
            self.fail(errors.Timeout(self._timer_name, f"The upstream did not answer within {self._limit:g} s."))
        else:
            self.fail(errors.Timeout(self._timer_name, f"The upstream's answer stalled for {self._limit:g} s."))
