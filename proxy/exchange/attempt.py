"""One call of one candidate: the request written for it, the answer brought down, up to the moment that decides.

Until the first content is sent, a failed attempt raises GatewayError and the exchange may try another candidate. From the commit on
(the first content, see lanes.CONTENT) every failure is told in the shape's own words within the stream; an answer of the raw lane,
which has no such words, is aborted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from tornado.httputil import HTTPHeaders

from ...codecs import errors, jsontext, lessons, limits, splice, sse
from ...codecs.carrier import Framing
from ...codecs.continuation import Transcript
from ...codecs.events import Event, Metered, Start, Stop, metered
from ...codecs.ledger import Ledger
from ...codecs.recall import History, Recall
from ...codecs.reply import Reply, Unsaid
from ...codecs.request import Request
from ...codecs.shape import Collector
from ...codecs.usage import Usage
from ..credentials.credential import Credential
from ..memory.expansion import compacts
from ..routing.candidate import Candidate
from ..routing.router import REFUSED
from ..routing.signing import located, sign
from ..wire import bodies
from ..wire import headers as travel
from ..wire.http1 import Fields
from ..wire.upstream import UpstreamRequest
from . import continuing, counting, following, question, summing, unneeded, upstream_error
from .lanes import CONTENT, BytesLane, CollectingLane, EventsLane, Flow, ReframedLane, collected, json_object
from .raw import RawLane
from .stored import storing_lane
from .waiting import SETTLING, drained, seen, succeeded

if TYPE_CHECKING:
    from .exchange import Exchange

LINGER = 5.0  # seconds that the upstream may take to end its body after the answer is complete
HELD_LIMIT = 1 << 20  # bytes held before the first content

EDITED, EVENTS = "edited", EventsLane.name
HEADER_LANES = {EDITED: BytesLane.name}  # the header knows no more than bytes, events and raw

_REFUSALS = frozenset({"refusal", "filter"})  # reasons for which an answer ends by its provider's policy
_BODILESS = frozenset({204, 205})
_NONE = Fields()


class Attempt:
    """Made, run once, and read for the log line: status, lane, usage, times."""

    __slots__ = (
        "_before", "_body", "_done", "_flow", "_held", "_loop", "_observer", "asked", "asks", "candidate", "capabilities", "carried",
        "collects", "committed", "compacting", "continued", "denied", "error", "exchange", "granted", "history", "lane", "learned",
        "ledger", "lessons", "overtaken", "owed", "prompt", "raw", "read", "recall", "refusal", "reply", "request", "rewritten",
        "same_shape", "span", "status", "stop", "stream", "times", "transcript", "unsaid", "upstream_headers", "upstream_id", "usage",
        "warms", "withhold",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, candidate: Candidate) -> None:
        operation = exchange.operation
        self.exchange = exchange
        self.candidate = candidate
        lane = operation.lane
        native = (lane == "count" and counting.native(exchange.shape, candidate)) or (lane == "compact" and compacts(candidate))
        self.raw = lane == "raw" or native
        self.asks = not (self.raw or lane == "count")  # the model for an answer
        self.compacting = summing.part(self) if exchange.compacting else ""
        self.stream = exchange.stream and self.compacting != "first"
        self.granted: Credential | None = None  # what the candidate's source gave
        self.denied = False  # the upstream did not know that
        self.carried: dict[str, str] = {}  # headers that the encoder or the candidate's carrier asks for
        self.lessons = exchange.taught.of(candidate) if self.asks else ()
        self.capabilities = lessons.known(self.lessons, candidate.capabilities) if self.lessons else candidate.capabilities
        own = candidate.shape == exchange.shape and exchange.cut is None
        self.same_shape = self.raw or (own and not candidate.speaks.translates(exchange.scan.value, self.capabilities))
        self.ledger = Ledger()
        self.unsaid = Unsaid()
        self.times: dict[str, float] = {}  # monotonic seconds: sent, headers, first, end
        self._held: list[bytes] = []
        self._loop = exchange.services.loop
        self._done: asyncio.Future[None]  # a stream's lane has ended, or the upstream's call
        self.reply: Reply
        self.asked: Request  # of an answer that is translated
        self.history: History | None = None  # of that, while it is asked
        self.prompt: int | None = None  # tokens of what was sent, about; None: that is still there
        self.collects = False  # a whole answer, from an upstream that only streams
        self.lane: BytesLane | EventsLane | RawLane | None = None
        self.committed = False  # some of its answer has been sent to the caller
        self.transcript: Transcript | None = continuing.begins(self)  # None: an answer that breaks off is not continued
        self.continued = False  # another attempt goes on with its answer, which broke off
        self.overtaken = False  # another one's content came first
        self.usage: Usage | None = None
        self.stop: str | None = None
        self.error: errors.GatewayError | None = None  # why it failed, even if that was told within the stream
        self.refusal: tuple[int, dict[str, str], bytes] | None = None  # an error answer of the caller's own shape, as it came
        self.status = 0
        self._before = 0  # bytes of the answer up to the commit, or of a whole one
        self._flow: Flow | None = None  # from the commit on
        self.upstream_headers: HTTPHeaders = _NONE
        self.upstream_id: str | None = None  # the provider's own id of the call, once a caller was told of it
        self.span = 0  # the id of the call's span in the trace
        self.owed = False  # the answer ends a background response that nobody was charged for yet
        self.learned = False  # the upstream refused something that another attempt at it leaves out
        self.rewritten = ""  # how a whole answer of the same shape was changed: "edited", "events", or not at all
        self.read = 0.0  # when bytes of the upstream's answer came last, up to the commit; 0: more of it is awaited
        self._body: bytes | bytearray = b""  # an answer that came where a stream was asked for, under a content type of its own
        self.withhold = False
        self.warms = ""  # nothing is asked of the model, and so nothing of the upstream: the reason to stop for
        self.recall: Recall | None = None  # None: the caller brings by itself what belongs to its calls
        self._observer = None if exchange.observer is None else exchange.observer.attempt(self)  # None: nobody looks

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
        return self.rewritten or (BytesLane.name if self.same_shape else EVENTS)

    # ---- up ----

    def _prepare(self, url: str, body: bytes | None) -> None:
        """Write the upstream's request. Raises Unconfigured without a credential."""
        exchange, candidate = self.exchange, self.candidate
        timeouts = candidate.provider.timeouts
        self.request = UpstreamRequest(
            located(url, self.granted, candidate),
            exchange.operation.method,
            question.headers(self, body),
            body,
            connect_timeout=timeouts.connect,
            first_byte_timeout=timeouts.first_byte,
            idle_timeout=timeouts.idle,
            on_headers=self._on_headers,
            max_body=exchange.services.config.limits.max_event,
            ssl_context=candidate.context,
            proxy=candidate.provider.proxy,
            producer=None if exchange.passing is None else exchange.passing.produce,
            length=None if exchange.passing is None else exchange.passing.length,
        )

    @property
    def streams(self) -> bool:
        """Whether the upstream is asked for a stream."""
        return self.stream or self.collects

    def _keep_seals(self) -> None:
        """The answer is whole: keep what belongs to its tool calls."""
        if self.recall is not None and (note := self.recall.note()) is not None:
            self.exchange.services.state.seals.keep(self.exchange.owner, *note)

    # ---- down ----

    async def run(self) -> None:
        """Bring the answer to the caller. Raises GatewayError while another attempt could still take over."""
        try:
            asked = await question.written(self)
            if self.candidate.source is not None:
                self.granted = await self.candidate.grant()
            self._prepare(*asked)
            del asked
            if self.granted is not None and self.granted.signs:
                await sign(self.request, self.granted, self.candidate)
            if self.warms:
                return await self._deliver(lambda: [Start("", "", 0), Metered(Usage()), Stop(self.warms)], False)
            self.times["sent"] = monotonic()
            if waits := self.streams or self.raw:
                self._done = self._loop.create_future()
            await self.exchange.step()
            unneeded.lighten(self)
            fetch = following.fetch(self)
            if self.streams and self.asks:
                self.reply.settled = partial(self._loop.call_later, SETTLING, fetch.cancel)
            patience = self.candidate.provider.timeouts.first_content
            timer = None if patience is None or not self.streams else self._loop.call_later(patience, self._late)
            try:
                if waits:
                    fetch.add_done_callback(self._over)
                    await self._done
                else:
                    await fetch
                if (lane := self.lane) is None:
                    await self._whole(fetch)
                elif isinstance(lane, RawLane):
                    await self._finished(lane, fetch)
                elif isinstance(lane, CollectingLane):
                    await self._whole_of_stream(lane, fetch)
                else:
                    await self._streamed(lane, fetch)
            finally:
                if timer is not None:
                    timer.cancel()
                self._let_go(fetch)
        except errors.GatewayError as error:
            self.error = error
            self.learned = self.learned or summing.asks_again(self, error)
            raise
        finally:
            self.times["end"] = monotonic()
            if self._observer is not None:
                self._observer.ended()

    def upstream(self) -> Any:
        """The client for one call."""
        plain = self.exchange.services.upstream_for(self.candidate)
        return plain if self._observer is None else self._observer.upstream(plain)

    @property
    def receive(self) -> Callable[[bytes], Awaitable[Any] | None]:
        """What takes the reads of a stream that has begun."""
        return self._on_chunk if self._flow is None else self._flow.feed

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

    def _late(self) -> None:
        """`timeouts.first_content` is over: the call fails, unless there is content or something of it has been sent."""
        if not (self.committed or self._done.done() or (self.lane is not None and self.lane.heard)):
            self._done.set_exception(errors.Timeout("first_content", "The upstream's answer had no content in time."))

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
        if self.asks and (tier := self.candidate.speaks.tier_header):
            self.reply.tier = headers.get(tier, "")
        if self.asks and (named := self.candidate.speaks.id_header):
            self.reply.answer_id = travel.plain_id(headers.get(named)) or ""
        if status != 200 or not self.streams:
            return
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        carrier = self.candidate.carrier
        if carrier is not None and carrier.framing is not None:
            if kind != carrier.framing.content_type:
                raise errors.Garbled("The upstream answered with something that is not its event stream.", f"content type {kind[:64]!r}")
            self.request.streaming_callback = self._on_chunk
            self._open_lane(carrier.framing)
        elif kind != "application/json":
            self.request.streaming_callback = self._on_first if kind != "text/event-stream" else self._on_chunk
            self._open_lane()

    def _open_raw(self, headers: HTTPHeaders) -> None:
        kind, operation = headers.get("Content-Type", ""), self.exchange.operation
        whole = operation.claims is not None and kind.startswith("application/json")
        self.lane = RawLane(kind.startswith("text/event-stream"), operation.metered, whole)
        if (stored := self.exchange.stored) is not None and stored.before_answer is not None:
            self.lane.claimed = asyncio.ensure_future(stored.before_answer())
            self.lane.claimed.add_done_callback(seen)
        self.request.streaming_callback = self._on_chunk

    def _open_lane(self, framing: Framing | None = None) -> None:
        """framing: of the upstream's stream; None: server-sent events."""
        limit, exchange_cut = self.exchange.services.config.limits.max_event, self.exchange.cut
        splitter = None if framing is None else framing.Splitter(limit, self.unsaid)
        if self.same_shape and not (self.collects or self.compacting):
            turn = self.exchange.turn
            storing = None if turn is None else storing_lane(turn, self.reply, self.candidate, limit)
            self.lane = storing or BytesLane(self.reply, self.exchange.shape, limit, self.withhold)
            if splitter is not None:
                self.lane = ReframedLane(self.reply, self.exchange.shape, limit, splitter)
        else:
            kind = CollectingLane if self.collects else EventsLane
            self.lane = kind(self.reply, self.candidate.shape, self.exchange.shape, limit, splitter)
            if self.compacting:
                self.lane.decoder = summing.decoder(self, self.lane.decoder)
            if exchange_cut is not None:
                exchange_cut.join(self, self.lane)
            if self._observer is not None:
                self.lane.decoder = self._observer.decoder(self.lane.decoder)
        if self.transcript is not None:
            continuing.listen(self, self.transcript)

    def _on_first(self, chunk: bytes) -> Awaitable[Any] | None:
        """A stream that does not call itself one: its first bytes must look like events."""
        first = self._body = (bytes(self._body) + chunk).lstrip(sse.BLANK)
        verdict = sse.is_stream(first)
        if verdict:
            self._body, self.request.streaming_callback = b"", self._on_chunk
            return self._on_chunk(first)
        if verdict is None:
            return None
        if not first.startswith(b"{"):
            raise errors.Garbled("The upstream answered with something that is not an event stream.", jsontext.described(first))
        self.lane, self._body, self.request.streaming_callback = None, bytearray(first), self._gather
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
        self.read = monotonic()
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
        if lane.content or (out and self.exchange.cut is not None):  # what has gone to the encoder of both cannot be taken back
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
        exchange = self.exchange
        if exchange.race is not None and not exchange.race.claim(self):
            return None
        self.committed = True
        self.times["first"] = now = monotonic()
        held = b"".join(self._held)
        self._held.clear()
        if exchange.placing is not None and (paces := exchange.services.paces) is not None and self.streams and not self.warms:
            paces.began(self.candidate, now - self.times["sent"], len(self.request.body or b""))
        client = exchange.client
        if exchange.cut is not None:
            held = exchange.cut.mark(self) + held
        if client.committed:  # the stream was begun by time, or by an attempt that broke off
            pending = client.write(held) if held else None
        elif self.raw:
            pending = self._commit_raw(held)
        else:
            pending = client.start(self.answer_headers() | travel.SSE_HEADERS, held)
        if self.lane is not None and self.request.streaming_callback is not None:
            self._flow = Flow(self.lane, client.writer(), self._lane_ended)
            self.request.streaming_callback = self._flow.feed
        if self.transcript is None:
            unneeded.let_go(exchange)
        return pending

    def _claim(self) -> None:
        """The answer is complete, and is about to be stored: no other attempt answers."""
        if self.exchange.race is not None:
            self.exchange.race.claim(self)  # granted: who lost is cancelled before it goes on

    def _commit_raw(self, first: bytes) -> Awaitable[Any] | None:
        kind, length = self.upstream_headers.get("Content-Type", ""), self.upstream_headers.get("Content-Length", "")
        streams = kind.startswith("text/event-stream")
        headers = self.answer_headers() | (travel.SSE_HEADERS if streams else {"content-type": kind or "application/octet-stream"})
        self.exchange.status = self.status
        promised = int(length) if length.isdecimal() and self.status not in _BODILESS else None
        return self.exchange.client.start(headers, first, self.status, promised)

    def keep_alive(self) -> bytes:
        """What may be sent between two events at this moment; nothing when the answer is about to end."""
        if self.lane is None or not self.committed:
            return self.exchange.speaks.keep_alive(False)
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
            self.read = 0.0
            self._commit()
            del self.times["first"]  # it is no content
        return b""

    # ---- the ends ----

    async def _streamed(self, lane: BytesLane | EventsLane, fetch: asyncio.Future[Any]) -> None:
        """The end of a stream."""
        exchange = self.exchange
        self._held.append(b"" if lane.ended else self._end(lane, fetch))
        self.usage, self.stop = lane.usage, lane.stop
        if lane.error is not None:
            lane.error.message = upstream_error.without_key(self, lane.error.message.encode()).decode()
            if not self.committed:
                raise lane.error
            if continuing.cuts(self, lane):
                held = b"".join(self._held)
                self._held.clear()
                await drained(exchange.client.write(held) if held else None)
                raise lane.error
        if not self.committed:
            self._look_for_refusal(self.stop, lane.content)
        await self.conclude(lane)

    async def conclude(self, lane: BytesLane | EventsLane) -> None:
        """Store a streamed answer, and tell its end or its failure."""
        exchange = self.exchange
        self._claim()
        tail = lane.close()
        if exchange.turn is not None:
            tail = await exchange.turn.keep(lane, self.candidate, tail)
            if lane.error is not None and not self.committed:
                raise lane.error  # it could not be kept
        if lane.error is None:
            self._keep_seals()  # before the caller is told of the end: its next request may come at once
        self._held.append(tail)
        if not self.committed:
            await drained(self._commit())
        if lane.error is None:
            await exchange.client.finish(b"".join(self._held))
        else:
            exchange.failed_midway(lane.error)
            await exchange.end_of_failed(b"".join(self._held))

    async def _whole_of_stream(self, lane: CollectingLane, fetch: asyncio.Future[Any]) -> None:
        """The end of a stream that becomes a whole answer."""
        if not lane.ended:
            self._end(lane, fetch)
        self.times["first"] = monotonic()
        self.usage, self.stop = lane.usage, lane.stop
        if lane.error is not None:
            raise lane.error
        self._look_for_refusal(self.stop, lane.heard)
        await self._give(lane.collector, jsontext.dumps(lane.collector.body()))

    async def _give(self, collector: Collector, answer: bytes) -> None:
        """A whole answer that was collected: to the caller, or to the next attempt."""
        if self.compacting == "first":
            summing.made(self, collector)
            return
        if self.exchange.turn is not None:
            await self.exchange.turn.keep_whole(collector, self.candidate)
        self._keep_seals()
        await self._answer(answer)

    def _look_for_refusal(self, stop: str | None, content: bool) -> None:
        """Raise when the provider's policy refused before any content, and other models are there for that. stop: why the answer ended."""
        if stop in _REFUSALS and not content and self.exchange.instead(self.candidate, REFUSED):
            raise errors.Answered("The provider's policy refused the request.", kind=REFUSED)

    def _end(self, lane: BytesLane | EventsLane | RawLane, fetch: asyncio.Future[Any]) -> bytes:
        """The upstream's call is over: tell the lane how; returns what it still had."""
        failure = fetch.exception() if not fetch.cancelled() else errors.Truncated("The upstream call was cancelled.")
        if failure is None:
            return lane.finish(True)
        if not isinstance(failure, errors.GatewayError):
            raise failure
        if isinstance(lane, RawLane):
            lane.break_off(failure)
            return b""
        out = lane.finish(False)  # what came before may prove that the answer is whole
        if lane.error is None:
            return out
        lane.break_off(failure)
        return b""

    async def _finished(self, lane: RawLane, fetch: asyncio.Future[Any]) -> None:
        """The end of a raw answer: as whole as the upstream's, or no end at all."""
        exchange = self.exchange
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
            if (claims := exchange.operation.claims) is not None:
                await claims(exchange, self.candidate, b"".join(self._held))
            await drained(self._commit())
        await exchange.client.finish()

    async def _whole(self, fetch: asyncio.Future[Any]) -> None:
        """The upstream answered with a body: the answer, or an error."""
        response = fetch.result()
        body: bytes = bytes(self._body) or response.body
        self._before = len(body)
        self.times["first"] = self.read = monotonic()
        if not 200 <= self.status < 300:
            raise upstream_error.read(self, body)
        shape = self.candidate.speaks
        if shape.lists and not self.same_shape and body.lstrip()[:1] == b"[":  # where a stream of events was asked for
            await self._deliver(partial(self._listed, body), len(body) > bodies.LONG)
            return
        value = json_object(body)
        if self.exchange.operation.lane == "count":
            await self._answer(counting.answer(self.exchange, counting.counted(self.candidate, value)))
            return
        if shape.is_error(value):
            self.usage = self._metered(value)
            raise shape.decode_error(200, upstream_error.without_key(self, body))
        if not (isinstance(value.get(shape.bears), shape.bears_a) or (shape.bears_instead and shape.bears_instead in value)):
            self.usage = self._metered(value)
            raise errors.Garbled("The upstream's answer does not match its API.", f"{len(value)} members, and no `{shape.bears}`")
        if self.same_shape and not (self.stream or self.compacting):
            observer = shape.Observer(self.reply)
            observer.observe_whole(value)
            self.usage, self.stop = observer.usage, observer.stop
            self._look_for_refusal(self.stop, observer.content)
            filled = shape.filled(value, self.reply) if self.reply.complete else value
            if filled is not value:
                value, body, self.rewritten = filled, jsontext.dumps(filled), EDITED
            if self.reply.echo_model is not None:
                body = splice.replace_answer_model(body, shape.model_at, self.reply.echo_model)
                self.rewritten = EDITED
            if self.exchange.turn is not None:
                before, body = body, await self.exchange.turn.keep_body(self.reply, self.candidate, value, body)
                if body is not before:
                    self.rewritten = EVENTS
            await self._answer(body)
        else:
            await self._deliver(partial(self._decoded, value), len(body) > bodies.LONG)

    async def _deliver(self, decoded: Callable[[], list[Event]], heavy: bool) -> None:
        """Bring a whole answer's events to the caller, as it asked for them. heavy: as of bodies.apart."""
        if self.exchange.cut is not None:
            raise errors.Garbled("The upstream returned a complete answer instead of a stream.")
        if self.stream:
            await self._synthesised(decoded, heavy)
        else:
            await self._give(*await bodies.apart(heavy, partial(self._collected, decoded)))

    async def _synthesised(self, decoded: Callable[[], list[Event]], heavy: bool) -> None:
        """A whole answer as a stream, as of a provider that ignored `stream: true`."""
        lane = EventsLane(self.reply, self.candidate.shape, self.exchange.shape, 0)
        self.lane = lane
        out = await bodies.apart(heavy, lambda: lane.replay(decoded()))
        self.usage, self.stop = lane.usage, lane.stop
        if lane.error is not None:
            raise lane.error
        self._held.append(out)
        await self.conclude(lane)

    def _collected(self, decoded: Callable[[], list[Event]]) -> tuple[Collector, bytes]:
        """A whole answer in the caller's shape."""
        events = decoded()
        lane = EventsLane(self.reply, self.candidate.shape, self.exchange.shape, 0)
        lane.note(events)
        self.usage, self.stop = lane.usage, lane.stop
        collector = collected(events, self.reply, self.exchange.shape)
        return collector, jsontext.dumps(collector.body())

    def _listed(self, body: bytes) -> list[Event]:
        """The events of a stream's chunks that came as one list. Raises Garbled."""
        try:
            value = jsontext.loads(body)
        except ValueError:
            raise errors.Garbled("The upstream's answer is not valid JSON.", jsontext.described(body)) from None
        return self._decoded(value)

    def _decoded(self, value: Any) -> list[Event]:
        """A whole answer's events."""
        events = self.candidate.speaks.decode_response(value, self.reply)
        if self.exchange.route.instead:
            stop = next((event.reason for event in events if isinstance(event, Stop)), None)
            self._look_for_refusal(stop, any(isinstance(event, CONTENT) for event in events))
        if self.compacting:
            events = summing.events(self, events)
        if self._observer is not None:
            self._observer.events(events)
        return events

    def _metered(self, value: Any) -> Usage | None:
        """What the upstream counted of a whole answer that failed."""
        events = self.candidate.speaks.decode_response(value, replace(self.reply, unsaid=Unsaid(), recall=None))
        return metered(summing.events(self, events) if self.compacting else events)

    async def _answer(self, body: bytes) -> None:
        self.committed = True
        self.exchange.body = b""
        await self.exchange.client.answer(200, self.answer_headers() | {"content-type": "application/json"}, body)

    def forwarded_down(self) -> dict[str, str]:
        """The upstream's own headers, for a caller of its API."""
        return travel.forwarded_down(self.upstream_headers.get_all(), account=self._shows_account)

    def translated_limits(self) -> dict[str, str]:
        """Of the upstream's headers the limits and when to ask again, for a caller of another API."""
        own, callers = self.candidate.speaks.limits, self.exchange.speaks.limits
        return limits.answer_headers(own, callers, self.upstream_headers, time(), account=self._shows_account)

    @property
    def _shows_account(self) -> bool:
        """Whether the caller is told what the account has left: that is nothing for those who have keys of the gateway's."""
        return self.candidate.provider.passthrough_auth or self.exchange.services.access.open

    def answer_headers(self) -> dict[str, str]:
        """Headers of an answer that this attempt brought."""
        exchange, candidate = self.exchange, self.candidate
        headers = exchange.own_headers()
        headers["x-dragoman-upstream"] = candidate.name
        lane = self.lane_name
        headers["x-dragoman-lane"] = HEADER_LANES.get(lane, lane)
        body = exchange.scan.value
        if self.ledger.dropped:
            headers["x-dragoman-dropped"] = self.ledger.header(self.ledger.dropped, body)
        if self.ledger.adapted:
            headers["x-dragoman-adapted"] = self.ledger.header(self.ledger.adapted, body)
        if self.transcript is not None:
            headers["x-dragoman-continue"] = "text"
        if self.unsaid.labels and not exchange.stream:
            headers["x-dragoman-response-dropped"] = self.unsaid.header()
        self.upstream_id = travel.upstream_request_id(self.upstream_headers)
        if self.upstream_id:
            headers["x-dragoman-upstream-request-id"] = self.upstream_id
        now = monotonic()
        upstream = _waited(exchange.attempts, self.read or now)
        headers["server-timing"] = f"gateway;dur={(now - exchange.begun - upstream) * 1e3:.2f}, upstream;dur={upstream * 1e3:.2f}"
        if self.same_shape:
            headers |= self.forwarded_down()
        else:
            headers |= self.translated_limits()
        return limits.replaced(headers, exchange.limits) if exchange.limits else headers


def _waited(attempts: list[Attempt], until: float) -> float:
    """The seconds, up to this time, in which an upstream was waited for. Attempts at the same time (hedging) count once."""
    waited = reached = 0.0
    for begun, ended in sorted((one.times["sent"], one.times.get("end", until)) for one in attempts if "sent" in one.times):
        waited += max(0.0, min(ended, until) - max(begun, reached))
        reached = max(reached, ended)
    return waited
