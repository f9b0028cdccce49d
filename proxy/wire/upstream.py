"""The HTTP client for upstreams: HTTP/1.1 over pooled connections, with streamed response bodies and immediate abort.

Strategy: the bytes of one read pass from pool.py through the framing of http1.py to `streaming_callback` in the same iteration of
the loop, joined to one bytes object; a read creates no Future, no task and no timer. A callback that needs time returns an
awaitable, and reading pauses until it is done. Each call has one timer; reads only record the time, and a timer that fires early
rearms itself. The response is read while the request is still being written, so that an early error response is seen.

A call ends in one of four ways: its response; an UpstreamFault; an exception raised by a callback; cancellation of the future that
fetch() returned. All but the first close the connection at once.

This module does not repeat a request that the upstream may have received, because it may have been executed and billed. The
fault's `sent` says so, and the caller of fetch() decides by the operator's policy. Failures without a response are of three kinds:

- No connection was established: `sent` is False.
- A pooled connection was stale: it had ended before a byte was written, or the peer closed it before any byte of this request
  arrived. The second is the race of keep-alive, where a server closes an idle connection while a request is on its way. It can be
  detected, because every segment acknowledges what came before it: when the peer's FIN arrives and no byte of the request is
  acknowledged, the peer closed before it could read (RFC 9112, section 9.3.1: "means to detect that the original request was never
  applied"). The request is repeated once, on a new connection, and counted in `sendings`.
- Anything else: `sent` is True. This includes a reset, which acknowledges nothing and may come from a server that has read the
  request, and a FIN after bytes of the request were acknowledged. If the connection came from the pool, requests whose method is
  idempotent (RFC 9110, section 9.2.2) are repeated all the same.

The race is rare: a pooled connection is checked for its end before it is used, and kept for at most `idle_seconds`, which is shorter
than the usual keep-alive of servers and load balancers (60 s and more).

A request with a proxy goes to an https upstream through a tunnel (connect.py), to an http upstream by the absolute form of the request
target (RFC 9112, section 3.2.2), with the proxy's credential. The proxy's other answers to the second form look as the upstream's do.

It does not follow redirects, store cookies, look for proxies or speak HTTP/2. It does not ask for compression, but decodes gzip and
deflate. Of HTTPRequest's options it reads only those that UpstreamRequest takes.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import lru_cache
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders

from ...codecs import errors
from ...conf.model import Certificates, Proxy
from . import egress, http1
from .connect import refusal
from .pool import Connection, Origin, Pool
from .resolver import LookUp, system_look_up
from .socket import SHORT

FIRST_WRITE = 64 * 1024  # bytes of the body that are sent in one write with the head
WRITE_SLICE = 256 * 1024  # bytes offered to the kernel at once
WRITES_PER_TURN = 8  # writes of one connection in one iteration of the loop
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})  # RFC 9110, section 9.2.2


Write = Callable[[bytes], Awaitable[None]]
Producer = Callable[[Write], Coroutine[Any, Any, None]]


class UpstreamRequest(HTTPRequest):
    """One request. Timeouts are in seconds; None or 0 means no limit.

    connect_timeout: DNS, TCP, a proxy's tunnel and TLS together.
    first_byte_timeout: from the last byte of the request written to the final response's headers; while the request is being
    written, between two writes that the kernel accepts.
    idle_timeout: between two reads of the body; does not run while a callback's awaitable is pending.
    on_headers: called once with status and headers of the final response, before any of its body.
    streaming_callback: called with the decoded body, never with b""; looked up after on_headers, which may set it. Without it the
    body is collected into response.body, up to max_body bytes.
    ssl_context: for https, instead of the client's own. proxy: None for a direct connection.
    producer: instead of body: called once with a function that takes a part of the body and returns an awaitable, to be awaited
    before the next part; its own awaitable is done at the body's end. length: of this body in bytes; None for chunks. Such a body is
    sent once, on a new connection, and is cancelled when the response is complete before it.

    The client sets, in loop time: sent_at, when the last byte was written; first_byte_at, when the first bytes of the response
    arrived; each is None until then. sendings: the number of connections on which bytes of the request were written.
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
        proxy: Proxy | None = None,
        producer: Producer | None = None,
        length: int | None = None,
    ) -> None:
        # HTTPRequest.__init__ is not called: it stores thirty options that are unused here, 1.5 kB for each stream
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
        self.proxy = proxy
        self.producer = producer
        self.length = length
        self.sent_at: float | None = None
        self.first_byte_at: float | None = None
        self.sendings = 0


class UpstreamClient(AsyncHTTPClient):
    """The client. Create one per loop, inside the running loop, with `UpstreamClient(force_instance=True, …)`.

    max_idle: idle connections kept for one origin. idle_seconds: how long each is kept. ssl_context: for https; None uses the
    system's certificates. look_up: resolves a host name, called in a thread.
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
        self._ssl_context = self._given_context = ssl_context
        self._calls: set[_Call] = set()  # in progress

    def fetch(self, request: str | HTTPRequest, raise_error: bool = False, **kwargs: Any) -> asyncio.Future[HTTPResponse]:
        """Send an UpstreamRequest. The future resolves to the response, whatever its status; cancelling it aborts the call.

        raise_error: raise Tornado's HTTPError for a status other than 2xx. Raises ValueError, before anything is sent, for an
        invalid request. The future raises errors.Refused, Timeout, Truncated or Garbled (with host and port in `detail`, and
        `sent`), or the exception that a callback raised.
        """
        if self._closed:
            raise RuntimeError("fetch() on a closed UpstreamClient")
        if not isinstance(request, UpstreamRequest) or kwargs:
            raise TypeError("fetch() takes an UpstreamRequest")
        origin, head = self._prepare(request)
        call = _Call(request, origin, head, self._pool, self._calls, raise_error)
        call.begin(self._pool.take(origin) if request.producer is None else None)
        return call.future

    def close(self) -> None:
        """Close the idle connections and fail the calls in progress with Refused."""
        super().close()
        for call in list(self._calls):
            call.fail(errors.Refused("The gateway is shutting down."))
        self._pool.close()

    def _prepare(self, request: UpstreamRequest) -> tuple[Origin, bytes]:
        secure, host, port, netloc, target = _place(request.url)
        context = request.ssl_context or self._default_context() if secure else None
        proxy = request.proxy
        origin = Origin(host, port, context, proxy)
        has_body = bool(request.body) or request.method in ("POST", "PUT", "PATCH")
        length = len(request.body or b"") if has_body else None
        if request.producer is not None:
            length = http1.CHUNKED if request.length is None else request.length
        headers = request.headers
        fields = headers.items() if isinstance(headers, dict) else headers.get_all()
        if proxy is None or secure:
            return origin, http1.request_head(request.method, target, netloc, fields, length)
        head = http1.request_head(request.method, f"http://{netloc}{target}", netloc, fields, length)
        return origin, http1.to_proxy(head, proxy.login)

    def renew(self) -> None:
        """Read the system's certificates again for new connections, and reuse no TLS connection that was made with the old ones."""
        self._ssl_context = self._given_context
        self._pool.renew()

    def _default_context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = egress.context(Certificates())
        return self._ssl_context


@lru_cache(128)  # small: the URL includes the caller's query, of any length
def _place(url: str) -> tuple[bool, str, int, str, str]:
    """Whether TLS is used, host, port, network location and request target. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or not url.isprintable():
        raise ValueError("not an absolute http(s) URL without credentials")
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return secure, parts.hostname, parts.port or (443 if secure else 80), parts.netloc, target


class _StaleConnection(Exception):
    """A pooled connection was closed before any byte of a response, and the request may be repeated."""


class _Call:
    """One request, up to its response. `future` receives the outcome; a task runs only while a connection is opened."""

    __slots__ = (
        "_body", "_calls", "_collected", "_connecting", "_connection", "_drained", "_due", "_head", "_head_bytes", "_head_reader",
        "_inflater", "_keeps_alive", "_limit", "_loop", "_origin", "_pieces", "_pool", "_producing", "_raise_error", "_request", "_room",
        "_since", "_timer", "_timer_name", "_unsent", "_waits_for_own_task", "_written", "future", "waiting",
    )  # fmt: skip

    def __init__(self, request: UpstreamRequest, origin: Origin, head: bytes, pool: Pool, calls: set[_Call], raise_error: bool) -> None:
        self._loop = pool.loop
        self.future: asyncio.Future[HTTPResponse] = self._loop.create_future()
        self.waiting: asyncio.Future[None] | None = None  # a callback's awaitable; nothing is read meanwhile
        self._request, self._origin, self._head_bytes = request, origin, head
        self._pool, self._calls = pool, calls
        self._raise_error = raise_error
        self._connecting: asyncio.Task[None] | None = None
        self._producing: asyncio.Task[None] | None = None  # while a producer runs
        self._drained: asyncio.Future[None] | None = None  # of the part that it has written last
        self._connection: Connection | None = None
        self._unsent: list[memoryview] = []
        self._written = 0  # bytes that the kernel accepted on this connection
        self._head_reader = http1.HeadReader()
        self._body: http1.BodyReader | None = None  # None until the head is complete
        self._pieces: Iterator[bytes] = iter(())  # decoded, not yet delivered
        self._collected: list[bytes] = []
        self._room = request.max_body
        self._timer: asyncio.TimerHandle | None = None
        calls.add(self)
        self.future.add_done_callback(self._over)

    def begin(self, connection: Connection | None) -> None:
        """Send the request on this connection; None opens a new one."""
        if connection is None:
            self._connecting = self._loop.create_task(self._connect())
            return
        request = self._request
        request.sent_at = request.first_byte_at = None
        self._connection = connection
        connection.receiver = self
        self._timer_name, self._limit = "first_byte", request.first_byte_timeout
        self._since = self._loop.time()  # when the limit began to run
        if request.producer is not None:
            self._producing = self._loop.create_task(self._produce(request.producer))
        self._send_first(connection, self._head_bytes, request.body or b"")
        # one timer serves both limits: it fires for the shorter one and then checks the limit in force
        limits = [limit for limit in (request.first_byte_timeout, request.idle_timeout) if limit]
        self._arm(min(limits) if limits else None)

    async def _connect(self) -> None:
        if self.future.done():
            return  # cancelled before it ran
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
        if self._producing is None and len(body) <= SHORT:
            self._pool.outbox.add(self)
        else:  # parts may follow in this turn; a long body is still in the processor's caches
            self.flush()

    def flush(self) -> None:
        """Send what is unsent; nothing if the call has ended or opens another connection."""
        if self._connection is not None and self._unsent:
            self._send()
            if self._unsent and self._connection is not None:
                self._connection.when_writable(self._send)

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
                    if self._producing is None:
                        self._request.sent_at = self._since
                    elif self._drained is not None and not self._drained.done():
                        self._drained.set_result(None)
                    break
            else:
                return
        except OSError:
            # The upstream has closed, but may have sent an early response (a 413, say): the reader decides.
            self._unsent.clear()
        self._connection.when_writable(None)

    async def _produce(self, producer: Producer) -> None:
        """Send a body as it comes."""
        try:
            await producer(self._send_part)
            if self._request.length is None:
                await self._send_more(http1.LAST_FRAME)
        except Exception as error:
            self.fail(error)
            return
        finally:
            self._producing = None
        if self._connection is not None:
            self._request.sent_at = self._since = self._loop.time()

    async def _send_part(self, data: bytes) -> None:
        if data:
            await self._send_more(http1.FRAME % (len(data), data) if self._request.length is None else data)

    async def _send_more(self, data: bytes) -> None:
        """Returns when the kernel has accepted everything."""
        if self._connection is None:
            return
        self._drained = self._loop.create_future()
        self._unsent.append(memoryview(data))
        self.flush()
        await self._drained

    # -- the response --

    def received(self, data: bytes, now: float) -> None:
        """The bytes of one read, at this loop time. Never raises: exceptions fail the call."""
        if self.future.done():
            return  # cancelled in this iteration of the loop
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
            else:  # the usual read: one piece, not the last
                answer = (self._request.streaming_callback or self._collect)(payload)
                if answer is not None:
                    self._wait(answer)
                return
            self._hand_over(body)
        except (Exception, asyncio.CancelledError) as error:
            self.fail(error)

    def lost(self, error: OSError | None) -> None:
        """The connection has ended, in order when error is None."""
        if self.future.done():
            return
        try:
            if self._body is None:
                raise self._unanswered(error)
            self._body.eof(in_order=error is None)
            self._finish(self._body)
        except _StaleConnection:
            self._release()
            self.begin(None)  # not with another one from the pool, which is likely to be stale too
        except Exception as fault:
            self.fail(fault)

    def _unanswered(self, error: OSError | None) -> Exception:
        assert self._connection is not None
        if self._request.first_byte_at is not None:
            return errors.Truncated("The upstream closed the connection before its headers were complete.")
        if self._connection.reused and self._is_stale(self._connection, error):
            return _StaleConnection()
        if isinstance(error, ssl.SSLError):  # TLS 1.3: the upstream refuses the client's certificate after the handshake
            return errors.Refused("The TLS handshake with the upstream failed.", str(error))
        if error is not None and error.errno == errno.ETIMEDOUT:
            return errors.Refused("The upstream stopped acknowledging what was sent.", str(error))
        return errors.Refused("The upstream closed the connection without an answer.", str(error or ""))

    def _is_stale(self, connection: Connection, error: OSError | None) -> bool:
        """Whether the request may be repeated: it is idempotent, or the upstream has provably not received it."""
        if error is not None and error.errno not in (errno.ECONNRESET, errno.EPIPE):
            return False
        if not self._written or self._request.method in IDEMPOTENT:
            return True
        # EPIPE from a read is a reset after a FIN; the bytes that TLS adds to those written are less than a segment
        in_order = error is None or error.errno == errno.EPIPE
        return in_order and connection.unacknowledged() >= self._written

    def _read_head(self, data: bytes) -> http1.Head | None:
        if self._request.first_byte_at is None:
            self._request.first_byte_at = self._loop.time()
        return self._head_reader.feed(data)

    def _begin_body(self, head: http1.Head) -> http1.BodyReader:
        method = self._request.method
        if head.status == 407 and self._origin.proxy is not None and self._origin.context is None:
            raise refusal(head)
        self._head = head
        self._body = http1.body_reader(method, head)
        self._keeps_alive = head.keeps_alive()
        self._inflater = http1.inflater(method, head)  # last, as it removes headers
        self._timer_name, self._limit = "idle", self._request.idle_timeout
        self._since = self._loop.time()
        if self._limit and (self._timer is None or self._due > self._since + self._limit):
            self._arm(self._limit)
        if self._request.on_headers is not None:
            self._request.on_headers(head.status, head.headers)
        return self._body

    def _hand_over(self, body: http1.BodyReader) -> None:
        """Deliver the decoded pieces until a callback returns a pending awaitable; finish the call after the last one."""
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
        """Whether `answer` is still pending; _go_on continues when it is done."""
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
        if self._connection is None:  # the call ended in the iteration of the loop in which the awaitable finished
            if not waiting.cancelled():
                waiting.exception()  # mark it as retrieved
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
        response.error = None  # Tornado's error refers to the response: a cycle that keeps the request alive
        self.future.remove_done_callback(self._over)
        self._calls.discard(self)
        self.future.set_result(response)

    def fail(self, error: BaseException) -> None:
        """End the call with this error, unless it has ended."""
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
            error = RuntimeError(f"a callback raised {error!r}")  # a future does not accept StopIteration
        if isinstance(error, errors.GatewayError):
            errors.forget(error)  # drops the traceback, whose frames refer to the future: a cycle
        self.future.set_exception(error)

    def _over(self, _: object) -> None:
        """Called when the future has failed or was cancelled."""
        self._calls.discard(self)
        self._release()
        if self._connecting is not None:
            self._connecting.cancel()

    def _release(self, reusable: bool = False) -> None:
        """Return the connection, if any, to the pool or close it."""
        if self._timer is not None:
            self._timer.cancel()
        if self.waiting is not None:
            self.waiting.remove_done_callback(self._go_on)
            if self._waits_for_own_task:
                self.waiting.cancel()
            self.waiting = None
        connection, self._connection = self._connection, None
        producing = self._producing
        if producing is not None and producing is not asyncio.current_task(self._loop):
            producing.cancel()
        if connection is None:
            return
        if reusable:
            connection.release()
        else:
            connection.close(reset=bool(self._unsent) or producing is not None)  # else the end waits behind what the peer does not read

    # -- the timer --

    def _arm(self, seconds: float | None) -> None:
        """Set the timer to fire this long after `_since`. Progress does not move the timer: _tick rearms it when it fires early."""
        if self._timer is not None:
            self._timer.cancel()
        self._due = self._since + (seconds or 0.0)
        self._timer = self._loop.call_at(self._since + seconds, self._tick) if seconds else None

    def _tick(self) -> None:
        if self.waiting is not None or (self._producing is not None and not self._unsent):
            self._since = self._loop.time()  # the callback, or the producer, is slow, not the upstream
        if not self._limit or self._loop.time() < self._since + self._limit:
            self._arm(self._limit)
        elif self._body is None:
            self.fail(errors.Timeout(self._timer_name, f"The upstream did not answer within {self._limit:g} s."))
        else:
            self.fail(errors.Timeout(self._timer_name, f"The upstream's answer stalled for {self._limit:g} s."))
