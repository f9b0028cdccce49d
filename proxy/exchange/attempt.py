"""One call of one candidate: the request written for it, the answer brought down, up to the moment that decides.

Until the first content is sent, a failed attempt raises GatewayError and the exchange may try another candidate. From the commit on
(the first content, see lanes.CONTENT) every failure is told in the shape's own words within the stream; an answer of the raw lane,
which has no such words, is aborted.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from functools import cached_property, partial
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from tornado.httputil import HTTPHeaders

from ...codecs import errors, jsontext, lessons, limits, rules, scrub, splice
from ...codecs.events import Event
from ...codecs.ledger import Ledger
from ...codecs.recall import History, Recall
from ...codecs.reply import Reply, Unsaid
from ...codecs.request import Request
from ...codecs.shape import Collector
from ...codecs.sse import KEEP_ALIVE
from ...codecs.usage import Usage
from ..routing.router import Candidate
from ..wire import bodies
from ..wire import headers as travel
from ..wire.upstream import UpstreamRequest
from . import counting, upstream_error
from .kept import storing_lane
from .lanes import BytesLane, CollectingLane, EventsLane, Flow, collected, json_object
from .raw import RawLane
from .spent import used
from .waiting import drained, seen, succeeded

if TYPE_CHECKING:
    from .exchange import Exchange

LINGER = 5.0  # seconds that the upstream may take to end its body after the answer is complete
HELD_LIMIT = 1 << 20  # bytes held before the first content

EDITED, EVENTS = "edited", EventsLane.name
HEADER_LANES = {EDITED: BytesLane.name}  # the header knows no more than bytes, events and raw

_IMAGE = re.compile(rb'"type"\s*:\s*"(?:image_url|image|input_image)"')
_BODILESS = frozenset({204, 205})


class Attempt:
    """Made, run once, and read for the log line: status, lane, usage, times."""

    def __init__(self, exchange: Exchange, candidate: Candidate) -> None:
        operation = exchange.operation
        self.exchange = exchange
        self.candidate = candidate
        self.lessons = exchange.taught.of(candidate) if operation.lane == "shape" else ()
        self.capabilities = lessons.known(self.lessons, candidate.capabilities) if self.lessons else candidate.capabilities
        self.collects = False  # a whole answer, from an upstream that only streams
        self.raw = operation.lane == "raw" or (operation.lane == "count" and counting.native(exchange.shape, candidate))
        self.same_shape = self.raw or candidate.shape == exchange.shape
        self.lane: BytesLane | EventsLane | RawLane | None = None
        self.committed = False  # some of its answer has been sent to the caller
        self.usage: Usage | None = None
        self.stop: str | None = None
        self.ledger = Ledger()
        self.unsaid = Unsaid()
        self.error: errors.GatewayError | None = None  # why it failed, even if that was told within the stream
        self.refusal: tuple[int, dict[str, str], bytes] | None = None  # an error answer of the caller's own shape, as it came
        self.status = 0
        self._before = 0  # bytes of the answer up to the commit, or of a whole one
        self._flow: Flow | None = None  # from the commit on
        self.upstream_headers: HTTPHeaders = HTTPHeaders()
        self.times: dict[str, float] = {}  # monotonic seconds: sent, headers, first, end
        self.span = 0  # the id of the call's span in the trace
        self.owed = False  # the answer ends a background response that nobody was charged for yet
        self.learned = False  # the upstream refused something that another attempt at it leaves out
        self._rewritten = ""  # how a whole answer of the same shape was changed: "edited", "events", or not at all
        self._held: list[bytes] = []
        self._body = bytearray()  # an answer that came where a stream was asked for, under a content type of its own
        self._loop = exchange.services.loop
        self._done: asyncio.Future[None] = self._loop.create_future()  # a stream's lane has ended, or the upstream's call
        self._begun = 0.0
        self._asked: Request  # of an answer that is translated
        self._recall: Recall | None = None  # None: the caller brings by itself what belongs to its calls
        self._observer = None if exchange.observer is None else exchange.observer.attempt(self)  # None: nobody looks

    @cached_property
    def _heavy(self) -> bool:
        return bodies.heavy(self.exchange.body)

    @cached_property
    def spent(self) -> Usage | None:
        """The tokens of an answer that is over, in however broken a way. To be asked then, not before."""
        return used(self)

    @property
    def received(self) -> int:
        """Bytes of the answer."""
        return self._before + (self._flow.received if self._flow is not None else 0)

    @property
    def lane_name(self) -> str:
        """How the answer travels: as a lane is called, for an answer without one as it was treated."""
        if self.lane is not None:
            return self.lane.name
        if self.raw:
            return RawLane.name
        return self._rewritten or (BytesLane.name if self.same_shape else EVENTS)

    # ---- up ----

    async def _prepare(self) -> None:
        """Write the upstream's request. Raises ClientFault for what cannot be expressed, Unconfigured without a credential."""
        exchange, candidate = self.exchange, self.candidate
        if self.same_shape and not self.lessons:  # bytes are put together, nothing is translated
            url, body = self._question()
        else:
            url, body = await bodies.apart(self._heavy, self._question)
        timeouts = candidate.provider.timeouts
        self.request = UpstreamRequest(
            url,
            exchange.operation.method,
            self._headers(body),
            body,
            connect_timeout=timeouts.connect,
            first_byte_timeout=timeouts.first_byte,
            idle_timeout=timeouts.idle,
            on_headers=self._on_headers,
            max_body=exchange.services.config.limits.max_event,
        )

    def _question(self) -> tuple[str, bytes | None]:
        """The URL to ask, and the body."""
        exchange, candidate = self.exchange, self.candidate
        if self.raw:
            return candidate.base_url + exchange.path + exchange.query, self._carried()
        if exchange.operation.lane == "count":
            path, body = counting.question(exchange, candidate)
            return candidate.base_url + path, body
        body = self._spliced() if self.same_shape else self._translated()
        return candidate.endpoint(self.streams, exchange.query if self.same_shape else ""), body

    @property
    def streams(self) -> bool:
        """Whether the upstream is asked for a stream."""
        return self.exchange.stream or self.collects

    def _report_left_out(self, ledger: Ledger) -> None:
        """What of the caller's headers and path does not reach the upstream."""
        own = self.candidate.provider.passthrough_auth
        for name in travel.left_out(self.exchange.headers, same_shape=self.same_shape, own_credential=own):
            ledger.drop((f"header:{name}",))
        for path in self.exchange.left_out:
            ledger.drop(path)

    def _headers(self, body: bytes | None) -> dict[str, str]:
        """What the upstream is sent besides this body: the one place that puts it together."""
        exchange, candidate = self.exchange, self.candidate
        headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "dragoman"}
        if self.same_shape:
            headers |= travel.forwarded_up(exchange.headers.get_all(), own_credential=candidate.provider.passthrough_auth)
            self._report_left_out(self.ledger)
        headers = candidate.speaks.headers(self.capabilities) | headers
        if self.capabilities.image_header and not self.raw and _IMAGE.search(body or b""):
            headers[self.capabilities.image_header] = "true"
        if self.raw:
            headers["content-type"] = exchange.headers.get("Content-Type", "application/json")
        else:
            headers["accept"] = "text/event-stream" if self.streams else "application/json"
        headers |= candidate.headers(exchange.credential)
        if exchange.trace is not None:
            self.span, traced = exchange.trace.call()
            headers |= traced
        return headers

    def _carried(self) -> bytes | None:
        """The caller's bytes for an operation that is carried as it is, with the model's name replaced."""
        exchange, candidate = self.exchange, self.candidate
        body, scan, field = exchange.body, exchange.scan, exchange.form_field
        if exchange.operation.model == "none":
            return b"" if exchange.operation.method == "POST" else None
        if field is not None:
            return body[: field[0]] + candidate.model.encode() + body[field[1] :]
        inlined = None if exchange.expansion is None else exchange.expansion.inlined(candidate, self.ledger)
        if inlined is not None:
            body = jsontext.dumps(inlined)
            scan = splice.scan(body)
        return body if scan.model == candidate.model else splice.replace_model(body, scan, candidate.model)

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
            max_answer=exchange.services.config.limits.max_answer,
        )
        return reply if exchange.turn is None else exchange.turn.adorn(reply)

    def _spliced(self) -> bytes:
        """The client's bytes with the model's value replaced, and what else was asked for."""
        exchange, candidate, own = self.exchange, self.candidate, self.candidate.speaks
        scan = exchange.scan
        self._withhold = False
        body = exchange.body
        inlined = None if exchange.turn is None else exchange.turn.inlined(candidate, self.ledger)
        if inlined is not None or scrub.is_foreign(body):
            value = dict(scan.value) if inlined is None else inlined
            if scrub.scrub(own.scrub, value, candidate.capabilities, self.ledger) or inlined is not None:
                body = jsontext.dumps(value)
                scan = splice.scan(body)
        request = Request(exchange.shape, scan.model or candidate.model, exchange.scan.value, exchange.stream, ledger=self.ledger)
        if self.lessons:
            body, scan = self._followed(body, scan, request)
        if scan.model != candidate.model:
            body = own.rename(body, scan, candidate.model)
        if self._must_collect(scan.value):
            request = self._readable(request)
            body = self._streaming(splice.ask_stream(body, scan), scan)
        elif exchange.stream:
            body = self._streaming(body, scan)
        self.reply = self._reply(request)
        return body

    def _followed(self, body: bytes, scan: splice.Scan, request: Request) -> tuple[bytes, splice.Scan]:
        """The caller's body without what the upstream is known to refuse."""
        lost = len(self.ledger.dropped)
        value = rules.follow(self.lessons, scan.value, request, own=True)
        if value is scan.value:
            return body, scan
        if self.exchange.strict and len(self.ledger.dropped) > lost:
            raise _lost(self.ledger.first_dropped(request.body) or "the request")
        body = jsontext.dumps(value)
        return body, splice.scan(body)

    def _streaming(self, body: bytes, scan: splice.Scan) -> bytes:
        """The body of a stream with its usage asked for, where the caller does not and the upstream takes that."""
        demand = self.candidate.speaks.usage_on_demand
        if demand is None or demand.asked(scan) or any(lesson.about.startswith(demand.member) for lesson in self.lessons):
            return body
        self._withhold = True
        return demand.ask(body, scan)

    def _must_collect(self, body: dict[str, Any]) -> bool:
        """Whether a whole answer is to be collected from a stream, since the upstream gives none for this body."""
        self.collects = not self.exchange.stream and self.candidate.speaks.only_streams(body, self.capabilities)
        return self.collects

    def _readable(self, bare: Request) -> Request:
        """The caller's request, as far as it can be read; what cannot be is the upstream's to judge."""
        turn = self.exchange.turn
        try:
            items = () if turn is None else (turn.items(),)
            return self.exchange.speaks.decode_request(bare.body, *items)
        except errors.ClientFault:
            return bare

    async def _decode(self) -> None:
        """Read what is asked, with what the caller did not bring of it: reasoning and signatures that belong to its tool calls."""
        exchange, candidate = self.exchange, self.candidate
        self._asked = await bodies.apart(self._heavy, self._decoded_request)
        seals = exchange.services.state.seals
        if not seals.enabled or not candidate.speaks.recalls(self.capabilities):
            return
        history = History(self._asked)
        if history.lacking:
            history.restore(await seals.find(exchange.owner, history.keys()), candidate.domain)
        if not history.brings:
            self._recall = Recall(history, candidate.domain)

    def _decoded_request(self) -> Request:
        exchange, decode = self.exchange, self.exchange.speaks.decode_request
        return decode(exchange.scan.value) if exchange.turn is None else decode(exchange.scan.value, exchange.turn.items())

    def _keep_seals(self) -> None:
        """The answer is whole: keep what belongs to its tool calls."""
        note = None if self._recall is None else self._recall.note()
        if note is not None:
            self.exchange.services.state.seals.keep(self.exchange.owner, *note)

    def _translated(self) -> bytes:
        exchange, candidate, request = self.exchange, self.candidate, self._asked
        self._report_left_out(request.ledger)
        encoded = candidate.speaks.encode_request(request, self.capabilities, candidate.model)
        value = rules.follow(self.lessons, encoded.body, request, own=False)
        self.ledger = request.ledger
        if exchange.strict:
            lost = self.ledger.first_dropped(exchange.scan.value)
            if lost is not None:
                raise _lost(lost)
        self.reply = self._reply(request)
        self.reply.tools, self.reply.recall = encoded.tools, self._recall
        body = jsontext.dumps(value)
        if self._must_collect(value):
            scan = splice.scan(body)
            body = self._streaming(splice.ask_stream(body, scan), scan)
        return bodies.trimmed(body)

    # ---- down ----

    async def run(self) -> None:
        """Bring the answer to the caller. Raises GatewayError while another attempt could still take over."""
        exchange = self.exchange
        try:
            if not self.same_shape and exchange.operation.lane == "shape":
                await self._decode()
            await self._prepare()
            self._begun = self.times["sent"] = monotonic()
            upstream = exchange.services.upstream_for(self.candidate)
            if self._observer is not None:
                upstream = self._observer.upstream(upstream)
            fetch = upstream.fetch(self.request)
            try:
                if self.streams or self.raw:
                    fetch.add_done_callback(self._over)
                    await self._done
                else:
                    await fetch
                if self.lane is None:
                    await self._whole(fetch)
                elif self.raw:
                    await self._finished(fetch)
                elif self.collects:
                    await self._whole_of_stream(fetch)
                else:
                    await self._streamed(fetch)
            finally:
                self._let_go(fetch)
        except errors.GatewayError as error:
            self.error = error
            raise
        finally:
            self.times["end"] = monotonic()
            if self._observer is not None:
                self._observer.ended()

    def _let_go(self, fetch: asyncio.Future[Any]) -> None:
        """Nothing more is wanted of the upstream's call."""
        self.request.on_headers = None  # it leads back here, as a Flow does: cycles for the collector
        self._before, self._flow = self.received, None
        if not fetch.done():
            if self.lane is not None and self.lane.ended and self.committed and self.lane.error is None:
                linger = self._loop.call_later(LINGER, fetch.cancel)  # so that the connection can be used again
                fetch.add_done_callback(lambda _: linger.cancel())  # else it would keep all of this alive
                fetch.add_done_callback(seen)
            else:
                fetch.cancel()
        else:
            seen(fetch)

    def _over(self, fetch: asyncio.Future[Any]) -> None:
        self.request.streaming_callback = None  # it leads back here: a cycle for the collector
        if not self._done.done():
            self._done.set_result(None)

    def _on_headers(self, status: int, headers: HTTPHeaders) -> None:
        self.status, self.upstream_headers = status, headers
        self.times["headers"] = monotonic()
        if self.raw:
            if 200 <= status < 300:
                self._open_raw(headers)
            return
        if status != 200 or not self.streams:
            return
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            self.request.streaming_callback = self._on_first if kind != "text/event-stream" else self._on_chunk
            self._open_lane()

    def _open_raw(self, headers: HTTPHeaders) -> None:
        self.lane = RawLane(headers.get("Content-Type", "").startswith("text/event-stream"))
        before = self.exchange.before_answer
        if before is not None:
            self.lane.claimed = asyncio.ensure_future(before())
            self.lane.claimed.add_done_callback(seen)
        self.request.streaming_callback = self._on_chunk

    def _open_lane(self) -> None:
        limit = self.exchange.services.config.limits.max_event
        if self.same_shape and not self.collects:
            turn = self.exchange.turn
            storing = None if turn is None else storing_lane(turn, self.reply, self.candidate, limit)
            self.lane = storing or BytesLane(self.reply, self.exchange.shape, limit, self._withhold)
        else:
            kind = CollectingLane if self.collects else EventsLane
            self.lane = kind(self.reply, self.candidate.shape, self.exchange.shape, limit)
            if self._observer is not None:
                self.lane.decoder = self._observer.decoder(self.lane.decoder)

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
        """What one read of the upstream brought, up to the commit; then a Flow takes its place (unless somebody looks on)."""
        lane = self.lane
        if lane is None or lane.ended:
            return None
        self._before += len(chunk)
        out = lane.feed(chunk)
        if lane.ended:
            return self._lane_ended(out)
        if self.committed:
            return self.exchange.client.write(out) if out else None
        return self._hold(out)

    def _lane_ended(self, out: bytes) -> Awaitable[Any] | None:
        """The answer is complete, or has failed; out: what of it the last read brought."""
        if self.lane is not None and self.lane.error is not None:
            out = upstream_error.without_key(self, out)
        if not self._done.done():
            self._done.set_result(None)
        if self.exchange.turn is None:
            self._held.append(out)  # to leave with the end, in the next turn of the loop
            return None
        if self.committed:  # something is stored before the end; what can be sent does not wait for that
            return self.exchange.client.write(out) if out else None
        return self._hold(out)

    def _hold(self, out: bytes) -> Awaitable[Any] | None:
        """Before the commit: buffer output that another attempt would produce again."""
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
        if not self.committed and lane is not None and not lane.ended:
            await drained(self._commit())

    def _commit(self) -> Awaitable[Any] | None:
        self.committed = True
        self.times["first"] = monotonic()
        held = b"".join(self._held)
        self._held.clear()
        exchange = self.exchange
        exchange.body = b""  # no other attempt will ask for it
        client = exchange.client
        if client.committed:  # the stream was begun by time
            pending = client.write(held) if held else None
        elif self.raw:
            pending = self._commit_raw(held)
        else:
            pending = client.start(self.answer_headers() | travel.SSE_HEADERS, held)
        if self.lane is not None and self.request.streaming_callback is not None:
            self._flow = Flow(self.lane, client.writer(), self._lane_ended)
            self.request.streaming_callback = self._flow.feed
        return pending

    def _commit_raw(self, first: bytes) -> Awaitable[Any] | None:
        kind, length = self.upstream_headers.get("Content-Type"), self.upstream_headers.get("Content-Length", "")
        headers = self.answer_headers()
        if kind is None or not kind.startswith("text/event-stream"):
            headers["content-type"] = kind or "application/octet-stream"
        else:
            headers |= travel.SSE_HEADERS
        self.exchange.status = self.status
        promised = int(length) if length.isdecimal() and self.status not in _BODILESS else None
        return self.exchange.client.start(headers, first, self.status, promised)

    def keep_alive(self) -> bytes:
        """What may be sent between two events at this moment; nothing when the answer is about to end."""
        if self.lane is None or not self.committed:
            return KEEP_ALIVE
        return b"" if self.lane.ended else self.lane.keep_alive()

    def progress(self) -> bytes:
        """What tells a caller of a stateful API after a long silence that its response is in progress; b"" if nothing can be.

        An answer that has begun and has no content yet is committed for it: from then on no other candidate takes over.
        """
        lane = self.lane
        if lane is None or isinstance(lane, RawLane) or lane.ended:
            return b""
        if self.committed:
            return lane.progress()
        if any(self._held) and (lane.claimed is None or succeeded(lane.claimed)):
            self._commit()
            del self.times["first"]  # it is no content
        return b""

    # ---- the ends ----

    async def _streamed(self, fetch: asyncio.Future[Any]) -> None:
        lane, exchange = self.lane, self.exchange
        assert isinstance(lane, BytesLane | EventsLane)
        out = b"" if lane.ended else self._end(lane, fetch)
        self.usage, self.stop = lane.usage, lane.stop
        if lane.error is not None:
            lane.error.message = upstream_error.without_key(self, lane.error.message.encode()).decode()
            if not self.committed:
                raise lane.error
        tail = lane.close()
        if exchange.turn is not None:
            tail = await exchange.turn.keep(lane, self.candidate, tail)
            if lane.error is not None and not self.committed:
                raise lane.error  # it could not be kept
        self._held += out, tail
        if not self.committed:
            await drained(self._commit())
        if lane.error is not None:
            exchange.failed_midway(lane.error)
        else:
            self._keep_seals()  # before the caller is told of the end: its next request may come at once
        await exchange.client.finish(b"".join(self._held))

    async def _whole_of_stream(self, fetch: asyncio.Future[Any]) -> None:
        """The end of a stream that becomes a whole answer."""
        lane, exchange = self.lane, self.exchange
        assert isinstance(lane, CollectingLane)
        if not lane.ended:
            self._end(lane, fetch)
        self.times["first"] = monotonic()
        self.usage, self.stop = lane.usage, lane.stop
        if lane.error is not None:
            raise lane.error
        answer = jsontext.dumps(lane.collector.body())
        if exchange.turn is not None:
            await exchange.turn.keep_whole(lane.collector, self.candidate)
        self._keep_seals()
        await self._answer(answer)

    def _end(self, lane: BytesLane | EventsLane | RawLane, fetch: asyncio.Future[Any]) -> bytes:
        """The upstream's call is over: tell the lane how; returns what it still had."""
        failure = fetch.exception() if not fetch.cancelled() else errors.Truncated("The upstream call was cancelled.")
        if failure is None:
            return lane.finish(True)
        if not isinstance(failure, errors.GatewayError):
            raise failure
        lane.break_off(failure)
        return b""

    async def _finished(self, fetch: asyncio.Future[Any]) -> None:
        """The end of a raw answer: as whole as the upstream's, or no end at all."""
        lane, exchange = self.lane, self.exchange
        assert isinstance(lane, RawLane)
        self._end(lane, fetch)
        self.usage = lane.usage
        if lane.error is None and self.usage is not None:
            self.owed = await exchange.charged()
        if lane.error is not None:
            if not self.committed:
                raise lane.error
            exchange.failed_midway(lane.error)
            exchange.client.abort()
            return
        if not self.committed:
            if lane.claimed is not None:
                await lane.claimed
            await drained(self._commit())
        await exchange.client.finish()

    async def _whole(self, fetch: asyncio.Future[Any]) -> None:
        """The upstream answered with a body: the answer, or an error."""
        response = fetch.result()
        body: bytes = bytes(self._body) or response.body
        self._before = len(body)
        self.times["first"] = monotonic()
        if not 200 <= self.status < 300:
            raise upstream_error.read(self, body)
        value = json_object(body)
        shape = self.candidate.speaks
        if self.exchange.operation.lane == "count":
            await self._answer(counting.answer(self.exchange, counting.counted(value)))
            return
        if shape.is_error(value):
            raise shape.decode_error(200, upstream_error.without_key(self, body))
        if not isinstance(value.get(shape.bears), list):
            raise errors.Garbled("The upstream's answer does not match its API.", f"{len(value)} members, and no list `{shape.bears}`")
        if self.exchange.stream:
            await self._synthesised(value, body)
        elif self.same_shape:
            observer = shape.Observer(self.reply)
            observer.observe_whole(value)
            self.usage, self.stop = observer.usage, observer.stop
            if self.reply.echo_model is not None:
                body = splice.replace_answer_model(body, shape.model_at, self.reply.echo_model)
                self._rewritten = EDITED
            if self.exchange.turn is not None:
                before, body = body, await self.exchange.turn.keep_body(self.reply, self.candidate, value, body)
                if body is not before:
                    self._rewritten = EVENTS
            await self._answer(body)
        else:
            collector, answer = await bodies.apart(bodies.heavy(body), partial(self._collected, value))
            if self.exchange.turn is not None:
                await self.exchange.turn.keep_whole(collector, self.candidate)
            self._keep_seals()
            await self._answer(answer)

    async def _synthesised(self, value: dict[str, Any], body: bytes) -> None:
        """A provider that ignored `stream: true`: its whole answer as a stream."""
        lane = EventsLane(self.reply, self.candidate.shape, self.exchange.shape, 0)
        self.lane = lane
        out = await bodies.apart(bodies.heavy(body), lambda: lane.replay(self._decoded(value)))
        self.usage, self.stop = lane.usage, lane.stop
        if lane.error is not None:
            raise lane.error
        tail = lane.close()
        if self.exchange.turn is not None:
            tail = await self.exchange.turn.keep(lane, self.candidate, tail)
        self._held.append(out + tail)
        self._keep_seals()
        await drained(self._commit())
        await self.exchange.client.finish()

    def _collected(self, value: dict[str, Any]) -> tuple[Collector, bytes]:
        """A whole answer in the caller's shape."""
        found = self._decoded(value)
        collector = collected(found, self.reply, self.exchange.shape)
        lane = EventsLane(self.reply, self.candidate.shape, self.exchange.shape, 0)
        lane.note(found)
        self.usage, self.stop = lane.usage, lane.stop
        return collector, jsontext.dumps(collector.body())

    def _decoded(self, value: dict[str, Any]) -> list[Event]:
        """A whole answer's events."""
        found = self.candidate.speaks.decode_response(value, self.reply)
        if self._observer is not None:
            self._observer.events(found)
        return found

    async def _answer(self, body: bytes) -> None:
        self.committed = True
        self.exchange.body = b""
        await self.exchange.client.answer(200, self.answer_headers() | {"content-type": "application/json"}, body)

    def forwarded_down(self) -> dict[str, str]:
        """The upstream's own headers. What its account has left is nothing for those who have keys of the gateway's."""
        account = self.candidate.provider.passthrough_auth or self.exchange.services.access.open
        return travel.forwarded_down(self.upstream_headers, account=account)

    def answer_headers(self) -> dict[str, str]:
        """Headers of an answer that this attempt brought."""
        exchange, candidate = self.exchange, self.candidate
        found = exchange.own_headers()
        found["x-dragoman-upstream"] = candidate.name
        found["x-dragoman-lane"] = HEADER_LANES.get(self.lane_name, self.lane_name)
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
            found |= self.forwarded_down()
        else:
            found |= limits.answer_headers(candidate.speaks.limits, exchange.speaks.limits, self.upstream_headers, time())
        return limits.replaced(found, exchange.limits)


def _lost(field: str) -> errors.Unsupported:
    return errors.Unsupported(f"{field} cannot be carried to the selected model", param=field)
