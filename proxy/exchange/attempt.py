"""One call of one candidate: the request written for it, the answer brought down, up to the moment that decides.

An attempt raises a GatewayError as long as nothing of its answer has gone to the client: then another can take over. From the
commit on (the first content, see lanes.CONTENT) every failure is told in the shape's own words within the stream.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from dataclasses import replace
from functools import cached_property
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from tornado.httputil import HTTPHeaders

from ...codecs import errors, jsontext, limits, scrub, splice
from ...codecs.ledger import Ledger
from ...codecs.reply import Reply, Unsaid
from ...codecs.request import Part, ReasoningPart, Request
from ...codecs.usage import Usage
from ..keys import secrets
from ..routing.router import Candidate
from ..wire import headers as travel
from ..wire.upstream import UpstreamRequest
from .caller import SSE_HEADERS
from .lanes import BytesLane, EventsLane, json_object, translate_whole
from .shapes import SHAPES
from .spent import used

if TYPE_CHECKING:
    from .exchange import Exchange

KEEP_ALIVE = 15.0  # seconds without a byte for the client before a keep-alive
COMMIT_AFTER = 25.0  # seconds that a stream which the upstream has begun may stay uncommitted
LINGER = 5.0  # seconds that the upstream may take to end its body after the answer is complete
TRIMMED = 1 << 14  # bytes of a body; for more a copy is not worth its while
HELD_LIMIT = 1 << 20  # bytes held before the first content

# what an upstream may refuse although most take it -> (its shape, the bytes that say it was sent, how the refusal reads);
# the first two are believed of the upstream for an hour, the others are of this request alone
LESSONS: dict[str, tuple[str, bytes, re.Pattern[bytes]]] = {
    "stream_options": ("chat", b'"stream_options"', re.compile(rb"stream_options")),
    "summary": ("responses", b'"summary"', re.compile(rb"reasoning\.summary")),
    "reasoning": ("responses", b'"encrypted_content"', re.compile(rb"invalid_encrypted_content")),
    "signature": ("messages", b'"signature"', re.compile(rb"[Ii]nvalid `?signature`?")),
}

# what a whole answer of a shape has in any case
_BEARS = {"chat": "choices", "messages": "content", "responses": "output"}

_OPERATORS_FAULT = frozenset({401, 402, 403})  # with the gateway's own key


class Attempt:
    """Made, run once, and read for the log line: status, lane, usage, times."""

    def __init__(self, exchange: Exchange, candidate: Candidate) -> None:
        self.exchange = exchange
        self.candidate = candidate
        self.same_shape = candidate.shape == exchange.shape
        self.lane: BytesLane | EventsLane | None = None
        self.usage: Usage | None = None
        self.stop: str | None = None
        self.ledger = Ledger()
        self.unsaid = Unsaid()
        self.error: errors.GatewayError | None = None  # why it failed, even if that was told within the stream
        self.refusal: tuple[int, dict[str, str], bytes] | None = None  # an error answer of the caller's own shape, as it came
        self.status = 0
        self.received = 0  # bytes of the answer
        self.upstream_headers: HTTPHeaders = HTTPHeaders()
        self.times: dict[str, float] = {}  # monotonic seconds: sent, headers, first
        self.learned = False  # the upstream refused something that another attempt at it leaves out
        self._committed = False
        self._held: list[bytes] = []
        self._body = bytearray()  # an answer that came where a stream was asked for, under a content type of its own
        self._loop = exchange.gateway.loop
        self._done: asyncio.Future[None] = self._loop.create_future()  # a stream's lane has ended, or the upstream's call
        self._timer: asyncio.TimerHandle | None = None
        self._begun = 0.0

    @cached_property
    def spent(self) -> Usage | None:
        """The tokens of an answer that is over, in however broken a way. To be asked then, not before."""
        return used(self)

    # ---- up ----

    def prepare(self) -> None:
        """Write the upstream's request. Raises ClientFault for what cannot be expressed, Unconfigured without a credential."""
        exchange, candidate = self.exchange, self.candidate
        own = candidate.provider.passthrough_auth
        headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "dragoman"}
        if self.same_shape:
            headers |= travel.forwarded_up(exchange.headers.get_all(), own_credential=own)
            body = self._spliced()
        else:
            body = self._translated()
        if candidate.shape == "messages":
            headers.setdefault("anthropic-version", candidate.capabilities.m_version)
        headers["accept"] = "text/event-stream" if exchange.stream else "application/json"
        headers |= candidate.headers(exchange.credential)
        if exchange.trace is not None:
            headers |= exchange.trace.attempt(self)
        timeouts = candidate.provider.timeouts
        self.request = UpstreamRequest(
            candidate.url + exchange.query if self.same_shape else candidate.url,
            "POST",
            headers,
            body,
            connect_timeout=timeouts.connect,
            first_byte_timeout=timeouts.first_byte,
            idle_timeout=timeouts.idle,
            on_headers=self._on_headers,
            max_body=exchange.gateway.config.limits.max_event,
        )

    def _reply(self, request: Request) -> Reply:
        exchange = self.exchange
        reply = Reply(
            request,
            echo_model=self.candidate.echo if self.candidate.capabilities.echo_model == "alias" else None,
            domain=self.candidate.domain,
            upstream=self.candidate.shape,
            request_id=exchange.request_id,
            nonce=exchange.nonce,
            created=int(time()),
            response_id=f"resp_{exchange.nonce}",
            unsaid=self.unsaid,
        )
        return reply if exchange.turn is None else exchange.turn.adorn(reply)

    def _spliced(self) -> bytes:
        """The client's bytes with the model's value replaced, and what else was asked for."""
        exchange, candidate = self.exchange, self.candidate
        scan = exchange.scan
        self._withhold = False
        body = exchange.body
        inlined = None if exchange.turn is None else exchange.turn.inlined(candidate, self.ledger)
        if inlined is not None or scrub.is_foreign(body):
            value = dict(scan.value) if inlined is None else inlined
            if scrub.scrub(exchange.shape, value, candidate.capabilities, self.ledger) or inlined is not None:
                body = jsontext.dumps(value)
                scan = splice.scan(body)
        if scan.model != candidate.model:
            body = splice.replace_model(body, scan, candidate.model)
        refuses = exchange.gateway.knows(candidate, "stream_options")
        if exchange.shape == "chat" and exchange.stream and not refuses and not scan.include_usage:
            body = splice.add_include_usage(body, scan)
            self._withhold = True
        request = Request(exchange.shape, scan.model or candidate.model, exchange.scan.value, exchange.stream)
        self.reply = self._reply(request)
        return body

    def _translated(self) -> bytes:
        exchange, candidate = self.exchange, self.candidate
        own = SHAPES[exchange.shape]
        request: Request
        if exchange.turn is not None:
            request = own.decode_request(exchange.scan.value, exchange.turn.items())
        else:
            request = own.decode_request(exchange.scan.value)
        if "anthropic-beta" in exchange.headers:
            request.ledger.drop(("header:anthropic-beta",))
        if exchange.refused & {"reasoning", "signature"}:
            _without_reasoning(request)
        capabilities = candidate.capabilities
        if exchange.gateway.knows(candidate, "summary"):
            capabilities = replace(capabilities, r_summaries=False)
        encoded = SHAPES[candidate.shape].encode_request(request, capabilities, candidate.model)
        if exchange.gateway.knows(candidate, "stream_options"):
            encoded.body.pop("stream_options", None)
        self.ledger = request.ledger
        if exchange.strict:
            lost = self.ledger.first_dropped(exchange.scan.value)
            if lost is not None:
                raise errors.Unsupported(f"{lost} cannot be carried to the selected model", param=lost)
        self.reply = self._reply(request)
        self.reply.tools = encoded.tools
        return _trimmed(jsontext.dumps(encoded.body))

    # ---- down ----

    async def run(self) -> None:
        """Bring the answer to the client. Raises GatewayError while another attempt could still take over."""
        self.prepare()
        exchange = self.exchange
        self._begun = self.times["sent"] = monotonic()
        upstream = exchange.gateway.upstream_for(self.candidate)
        fetch = upstream.fetch(self.request)
        try:
            if exchange.stream:
                fetch.add_done_callback(self._over)
                self._timer = self._loop.call_later(KEEP_ALIVE, self._tick)
                await self._done
            else:
                await fetch
            if self.lane is None:
                await self._whole(fetch)
            else:
                await self._streamed(fetch)
        finally:
            self.request.on_headers = None  # it leads back here: a cycle for the collector
            if self._timer is not None:
                self._timer.cancel()
            if not fetch.done():
                if self.lane is not None and self.lane.ended and self._committed and self.lane.error is None:
                    linger = self._loop.call_later(LINGER, fetch.cancel)  # so that the connection can be used again
                    fetch.add_done_callback(lambda _: linger.cancel())  # else it would keep all of this alive
                else:
                    fetch.cancel()
            elif not fetch.cancelled():
                fetch.exception()  # seen

    def _over(self, fetch: asyncio.Future[Any]) -> None:
        self.request.streaming_callback = None  # it leads back here: a cycle for the collector
        if not self._done.done():
            self._done.set_result(None)

    def _on_headers(self, status: int, headers: HTTPHeaders) -> None:
        self.status, self.upstream_headers = status, headers
        self.times["headers"] = monotonic()
        if status != 200 or not self.exchange.stream:
            return
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            self.request.streaming_callback = self._on_first if kind != "text/event-stream" else self._on_chunk
            self._open_lane()

    def _open_lane(self) -> None:
        limit = self.exchange.gateway.config.limits.max_event
        if self.same_shape:
            kept = None if self.exchange.turn is None else self.exchange.turn.lane(self.reply, self.candidate, limit)
            self.lane = kept or BytesLane(self.reply, self.exchange.shape, limit, self._withhold)
        else:
            self.lane = EventsLane(self.reply, self.candidate.shape, self.exchange.shape, limit)

    def _on_first(self, chunk: bytes) -> Awaitable[Any] | None:
        """A stream that does not call itself one: its first bytes must look like events."""
        head = chunk.lstrip(b"\xef\xbb\xbf\r\n ")[:6]
        if head.startswith((b"data:", b"event:", b":", b"id:", b"retry:")):
            self.request.streaming_callback = self._on_chunk
            return self._on_chunk(chunk)
        if not head.startswith(b"{"):
            raise errors.Garbled("The upstream answered with something that is not an event stream.", jsontext.described(chunk))
        self.lane = None
        self.request.streaming_callback = self._gather
        self._gather(chunk)
        return None

    def _gather(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > self.request.max_body:
            raise errors.Garbled("The upstream's answer is too large.")

    def _on_chunk(self, chunk: bytes) -> Awaitable[Any] | None:
        """What one read of the upstream brought: the hot path."""
        lane = self.lane
        if lane is None or lane.ended:
            return None
        self.received += len(chunk)
        out = lane.feed(chunk)
        if lane.ended:
            if lane.error is not None:
                out = self._without_key(out)
            if not self._done.done():
                self._done.set_result(None)
            if self.exchange.turn is None:  # else something is stored first, and what can be given out does not wait for that
                self._held.append(out)  # to leave with the end, in the next turn of the loop
                return None
        if self._committed:
            return self.exchange.client.write(out) if out else None
        return self._hold(out)

    def _hold(self, out: bytes) -> Awaitable[Any] | None:
        """Before the commit: keep what an attempt after this one would say anew."""
        lane = self.lane
        assert lane is not None
        if out:
            self._held.append(out)
        if lane.content:
            if lane.error is None:
                return self._commit() if lane.claimed is None else self._commit_after(lane.claimed)
        elif sum(map(len, self._held)) > HELD_LIMIT:
            return self._commit()
        return None

    async def _commit_after(self, claimed: asyncio.Future[None]) -> None:
        """Nothing more is read meanwhile; an answer that has ended by now is given out at its end."""
        await asyncio.shield(claimed)
        lane = self.lane
        if not self._committed and lane is not None and not lane.ended:
            await self._drained(self._commit())

    def _commit(self) -> Awaitable[Any] | None:
        self._committed = True
        self.times["first"] = monotonic()
        held = b"".join(self._held)
        self._held.clear()
        self.exchange.body = b""  # no other attempt will ask for it
        return self.exchange.client.start(self.answer_headers() | SSE_HEADERS, held)

    def _tick(self) -> None:
        """Keep-alives while the upstream thinks, and the commit of a stream that has begun and says nothing."""
        client, now = self.exchange.client, monotonic()
        if self.lane is not None and not self.lane.ended:
            if self._committed:
                if client.idle_since(now) >= KEEP_ALIVE - 0.01 and (beat := self.lane.keep_alive()):
                    client.write(beat)
            elif now - self._begun >= COMMIT_AFTER:
                self._held.append(self.lane.keep_alive())
                self._commit()
        wait = KEEP_ALIVE if self._committed else max(0.05, min(KEEP_ALIVE, self._begun + COMMIT_AFTER - now))
        self._timer = self._loop.call_later(wait, self._tick)

    # ---- the ends ----

    async def _streamed(self, fetch: asyncio.Future[Any]) -> None:
        lane, exchange = self.lane, self.exchange
        assert lane is not None
        out = b""
        if not lane.ended:
            failure = fetch.exception() if not fetch.cancelled() else errors.Truncated("The upstream call was cancelled.")
            if failure is not None:
                if not isinstance(failure, errors.GatewayError):
                    raise failure
                lane.break_off(failure)
            else:
                out = lane.finish(True)
        self.usage, self.stop = lane.usage, lane.stop
        if lane.error is not None and not self._committed:
            lane.error.message = self._without_key(lane.error.message.encode()).decode()
            raise lane.error
        tail = lane.close()
        if exchange.turn is not None:
            tail = await exchange.turn.keep(lane, self.candidate, tail)
            if lane.error is not None and not self._committed:
                raise lane.error  # it could not be kept
        self._held += out, tail
        if not self._committed:
            await self._drained(self._commit())
        if lane.error is not None:
            exchange.failed_midway(lane.error)
        await exchange.client.finish(b"".join(self._held))

    async def _drained(self, pending: Awaitable[Any] | None) -> None:
        if pending is not None:
            await pending

    async def _whole(self, fetch: asyncio.Future[Any]) -> None:
        """The upstream answered with a body: the answer, or an error."""
        response = fetch.result()
        body: bytes = bytes(self._body) or response.body
        self.received = len(body)
        self.times["first"] = monotonic()
        if not 200 <= self.status < 300:
            raise self._refused(body)
        value = json_object(body)
        if "error" in value and value["error"] and value.get("object") != "response" and value.get("type") != "message":
            raise SHAPES[self.candidate.shape].decode_error(200, self._without_key(body))
        borne = _BEARS[self.candidate.shape]
        if not isinstance(value.get(borne), list):
            raise errors.Garbled("The upstream's answer is not one of its API.", f"{len(value)} members, and no list `{borne}`")
        if self.exchange.stream:
            await self._synthesised(value)
        elif self.same_shape:
            observer = SHAPES[self.exchange.shape].Observer(self.reply)
            observer.observe_whole(value)
            self.usage, self.stop = observer.usage, observer.stop
            if self.reply.echo_model is not None:
                body = splice.replace_answer_model(body, ("model",), self.reply.echo_model)
            if self.exchange.turn is not None:
                body = await self.exchange.turn.keep_body(self.reply, self.candidate, value, body)
            await self._answer(body)
        else:
            collector, found = translate_whole(body, self.reply, self.candidate.shape, self.exchange.shape)
            lane = EventsLane(self.reply, self.candidate.shape, self.exchange.shape, 0)
            lane.note(found)
            self.usage, self.stop = lane.usage, lane.stop
            answer = jsontext.dumps(collector.body())
            if self.exchange.turn is not None:
                await self.exchange.turn.keep_whole(collector, self.candidate)
            await self._answer(answer)

    async def _synthesised(self, value: dict[str, Any]) -> None:
        """A provider that ignored `stream: true`: its whole answer as a stream."""
        lane = EventsLane(self.reply, self.candidate.shape, self.exchange.shape, 0)
        self.lane = lane
        out = lane.replay(SHAPES[self.candidate.shape].decode_response(value, self.reply))
        self.usage, self.stop = lane.usage, lane.stop
        if lane.error is not None:
            raise lane.error
        tail = lane.close()
        if self.exchange.turn is not None:
            tail = await self.exchange.turn.keep(lane, self.candidate, tail)
        self._held.append(out + tail)
        await self._drained(self._commit())
        await self.exchange.client.finish()

    async def _answer(self, body: bytes) -> None:
        self._committed = True
        await self.exchange.client.answer(200, self.answer_headers() | {"content-type": "application/json"}, body)

    def _refused(self, body: bytes) -> errors.GatewayError:
        """The error that the upstream answered with, and (same shape) its bytes, which the caller may get as they are."""
        if 300 <= self.status < 400:
            return errors.Garbled("The upstream answered with a redirect.", f"status {self.status}")
        kind = self.upstream_headers.get("Content-Type", "")
        self._learn(body)
        told = self._without_key(body)
        error: errors.GatewayError = SHAPES[self.candidate.shape].decode_error(self.status, told, kind)
        error.retry_after = limits.retry_after(self.upstream_headers, time())
        managed = self.candidate.capabilities.owns_key and not self.candidate.provider.passthrough_auth
        if managed and (self.status in _OPERATORS_FAULT or error.code == "insufficient_quota"):
            return errors.Answered(
                "The gateway's credential was refused by the upstream.",
                f"status {self.status}, {error.code or error.kind}",
                kind="bad_gateway",
                code="upstream_auth_failed",
                should_retry=False,
            )
        if self.same_shape and told.lstrip().startswith(b"{"):  # a page, or nothing, is not what the caller's SDK can read
            own = self.candidate.provider.passthrough_auth
            shown = secrets.scrub(body, secrets.of(self.candidate.provider)) if own else told  # its own the caller may see
            self.refusal = (self.status, travel.forwarded_down(self.upstream_headers), shown)
        error.headers = limits.answer_headers(self.candidate.shape, self.exchange.shape, self.upstream_headers, time())
        return error

    def _without_key(self, body: bytes) -> bytes:
        """An upstream's error without the credentials that it may know: some providers say which one they refused."""
        return secrets.scrub(body, (*secrets.of(self.candidate.provider), self.exchange.credential))

    def _learn(self, body: bytes) -> None:
        """A refusal of something that can be left out: the same candidate is asked again without it."""
        for name, (shape, sent, word) in LESSONS.items():
            said = self.status == 400 and self.candidate.shape == shape and word.search(body)
            if said and sent in (self.request.body or b"") and name not in self.exchange.refused:
                self.exchange.refused.add(name)
                if name in ("stream_options", "summary"):
                    self.exchange.gateway.learn(self.candidate, name)
                self.learned = True

    def answer_headers(self) -> dict[str, str]:
        """Headers of an answer that this attempt brought."""
        exchange, candidate = self.exchange, self.candidate
        found = exchange.own_headers()
        found["x-dragoman-upstream"] = candidate.name
        found["x-dragoman-lane"] = "bytes" if self.same_shape else "events"
        body = exchange.scan.value
        if self.ledger.dropped:
            found["x-dragoman-dropped"] = self.ledger.header(self.ledger.dropped, body)
        if self.ledger.adapted:
            found["x-dragoman-adapted"] = self.ledger.header(self.ledger.adapted, body)
        if self.unsaid.labels and not exchange.stream:
            found["x-dragoman-response-dropped"] = self.unsaid.header()
        upstream_id = travel.upstream_request_id(self.upstream_headers)
        if upstream_id:
            found["x-dragoman-upstream-request-id"] = upstream_id
        now, begun = monotonic(), self._begun
        upstream = self.times.get("headers", now) - begun
        found["server-timing"] = f"gateway;dur={(now - exchange.begun - upstream) * 1e3:.2f}, upstream;dur={upstream * 1e3:.2f}"
        if self.same_shape:
            found |= travel.forwarded_down(self.upstream_headers)
        else:
            found |= limits.answer_headers(candidate.shape, exchange.shape, self.upstream_headers, time())
        return limits.replaced(found, exchange.limits)


def _trimmed(body: bytes) -> bytes:
    """The same in as much memory as it needs: orjson leaves a small text in a block of 4 kB, and a body is kept for all of its answer."""
    return bytes(memoryview(body)) if len(body) < TRIMMED else body


def _without_reasoning(request: Request) -> None:
    """History without what an upstream refused to take back."""
    for turn in request.turns:
        kept: list[Part] = [part for part in turn.parts if not isinstance(part, ReasoningPart)]
        if len(kept) != len(turn.parts):
            turn.parts = kept
            request.ledger.adapt(("reasoning",))
