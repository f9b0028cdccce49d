"""One request's life, from the first look at its body to its log line: readable from top to bottom.

read      what is asked: the operation, the model, whether to stream, who asks
route     which upstreams could answer, in order
attempt   one after the other, until one has sent its first content or all have failed (attempt.py)
settle    usage, metrics, one log line: always, however it ended

Every request that reaches an upstream, and every count that is estimated in an upstream's place, is one. When it is over it holds
nothing large: what is kept of it must not keep its body.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from functools import partial
from time import monotonic, time
from typing import Any, Literal, NamedTuple

from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError

from ...codecs import errors, jsontext, limits, multipart, responses, splice
from ...codecs import events as ev
from ...codecs.ledger import Path
from ...codecs.registry import SHAPES
from ...codecs.reply import Reply
from ...codecs.request import Request
from ...codecs.usage import Usage
from ..keys import users
from ..keys.identity import ANYONE
from ..memory.background import Job
from ..memory.expansion import Expansion, allowed
from ..memory.recent import Lane
from ..memory.turn import Turn
from ..routing.candidate import Candidate
from ..routing.router import Route
from ..telemetry.account import Via
from ..wire import bodies
from ..wire import headers as travel
from . import continuing, counting, dry, hedging, resuming, retry, summing, unneeded
from .attempt import HEADER_LANES, Attempt
from .caller import Caller
from .continuing import Cut
from .dialects import in_dialect
from .heartbeat import Heartbeat
from .hedging import Race
from .hooks import Heard
from .lessons import Taught
from .operation import Operation
from .placing import LONG, Placing, fitting, in_region, least_tokens
from .refusal import own_headers, refusal
from .resuming import Resumable
from .services import Services
from .settle import settle
from .turnstile import Passage, Read
from .waiting import drained

log = logging.getLogger("dragoman")

_ASKS_STREAM = re.compile(r"[?&]stream=true(?:&|$)", re.IGNORECASE)
_NOTHING = splice.Scan({}, None, None, None)
_ALONE = Route((), {}, {}, (), {}, 0)


class Stored(NamedTuple):
    """A response that an upstream stores, and that is asked for.

    keeper: that upstream, which no other can stand in for. before_answer: awaited when its answer is good, before any of it is sent.
    charges: asked when it tells of a usage, whether this request is to be charged for that although its operation is free.
    """

    keeper: Candidate
    before_answer: Callable[[], Coroutine[Any, Any, None]] | None
    charges: Callable[[], Coroutine[Any, Any, bool]] | None


class Message(NamedTuple):
    """That a request came as a message on a WebSocket.

    via: which. recent: the responses that it keeps. prepares: no model is asked: the answer is empty, and can be continued.
    """

    via: Via
    recent: Lane
    prepares: bool


class Exchange:
    """One caller's request."""

    __slots__ = (
        "_ending", "_fit", "_heartbeat", "_model", "_parsed", "_passage", "_running", "_task", "_timeout", "attempts", "begun",
        "body", "client", "compacting", "credential", "cut", "dry", "error", "expansion", "form_field", "headers", "heard",
        "identity", "key", "left_out", "limits", "made", "message", "nonce", "observer", "operation", "order", "passing",
        "path", "placing", "query", "race", "recent", "release", "request_id", "resumable", "route", "scan", "services",
        "shape", "speaks", "status", "stored", "stream", "strict", "summary", "target", "taught", "tokens", "trace", "turn",
        "unread", "without_tools",
    )  # fmt: skip

    def __init__(
        self,
        services: Services,
        operation: Operation,
        client: Caller,
        headers: HTTPHeaders,
        body: bytes = b"",
        *,
        key: str | None,
        credential: str | None,
        nonce: str,
        request_id: str,
        query: str = "",
        target: str = "",
        timeout: float | None = None,
        path: str | None = None,
        model: str | None = None,
        stored: Stored | None = None,
        message: Message | None = None,
        parsed: Read | None = None,
        passing: bodies.Passing | None = None,
        release: Callable[[], object] = lambda: None,
    ) -> None:
        """headers: the caller's. key: in them, what admits it. credential: likewise, the caller's own, which is the key where there is
        no other. nonce: 32 random hex digits of which ids are made. timeout: seconds that the whole request may take.

        query: what stood behind the path, with its mark. target: the path and the query, for shapes whose model and stream stand there.
        path: the operation's, with its id filled in. model: its name, where the caller's path says it. parsed: the body, if it is parsed
        already. passing: the body, if that is sent on while it arrives; `body` is empty then. release: called when the body is not needed
        any more.
        """
        self.services = services
        self.operation = operation
        self._timeout = timeout
        self.shape = operation.shape
        self.speaks = SHAPES[operation.shape]  # what the caller speaks
        self.path = operation.path if path is None else path
        self.headers = headers
        self.body = body
        self.passing = passing
        self.query = query
        self.target = target
        self.nonce = nonce
        self.request_id = request_id
        self.stored = stored
        self.message = message
        self.recent = None if message is None else message.recent
        self.key, self.credential = key, credential
        self.strict = headers.get("X-Dragoman-Strict", "").strip() == "1"
        self.dry = dry.asked(headers)  # nothing is sent: the answer is what would be
        self.begun = monotonic()  # not the loop's time, which has steps of a millisecond on uvloop
        self.left_out: list[Path] = []  # of the body that came, what has no place in its API
        self.limits: dict[str, str] = {}  # rate-limit headers of the caller's key
        self.taught = Taught(services.lessons)  # what its upstreams are known to refuse
        self.attempts: list[Attempt] = []
        self.route = _ALONE
        self._fit: tuple[Candidate, ...] = ()  # who can serve it, where others stand in for some causes of failure
        self.placing: Placing | None = None  # None: there was nothing to choose
        self.tokens = 0  # that it surely has, where that may be too many for a candidate
        self.order: tuple[Candidate, ...] = ()  # the candidates in the order to try
        self.cut: Cut | None = None  # an answer that broke off after its first content, and goes on
        self.resumable: Resumable | None = None  # its stream can be resumed
        self.race: Race | None = None  # of the candidates, where one that is late is hedged
        self._model = model
        self._running = False
        self._ending: errors.GatewayError | None = None  # why it is ended from outside
        self.stream = False
        self.scan = _NOTHING
        self.made = -1  # objects and lists in the body, see bodies.parsed; negative: not known
        self.unread: tuple[str, ...] = ()  # members of the body that were let go of, see unneeded.py
        self._parsed = parsed
        self._passage: Passage | None = None if parsed is None else parsed.passage  # through the turnstile
        self.form_field: splice.Span | None = None  # where the model's name stands in a multipart form
        self.turn: Turn | None = None  # of a responses caller: what it continues, and what is kept
        self.expansion: Expansion | None = None  # what a token count or a compaction continues; they store nothing
        self.compacting: Literal["", "trigger", "endpoint", "automatic"] = ""  # how the caller asks for a compaction
        self.summary: summing.Made | None = None  # that precedes the answer
        self.without_tools: Usage | None = None  # what a model used that called a tool instead of summing up; it is asked again
        self.identity = ANYONE
        self.status = 200
        self.error: errors.GatewayError | None = None
        self._task: asyncio.Task[Any] | None = None
        self._heartbeat: Heartbeat | None = None  # of a stream
        self.release = release
        self.trace = None if services.tracer is None else services.tracer.begin(headers)
        self.observer = services.watcher.open(self)  # None: nobody looks
        self.heard = Heard(client) if services.hooks is not None and services.hooks.listens else None
        client = self.heard or client
        self.client: Caller = client if self.observer is None else self.observer.caller(client)

    async def run(self) -> None:
        """Answer the request. Raises nothing: every failure is told to the caller in its own shape, or ends its connection."""
        self._task = asyncio.current_task()
        self.services.live.exchanges.add(self)
        try:
            if not self.client.gone:
                await self._answered()
        except asyncio.CancelledError:
            if not self.client.gone:
                if self.client.committed:
                    self.client.abort()  # the process ends: an answer that was cut may not look whole
                raise
        except StreamClosedError as error:
            errors.forget(error)  # the connection's last write holds it
            self.client.gone = True
        except Exception as error:
            log.exception("request %s failed, and the error could not be sent", self.request_id)
            errors.forget(error)
            self.client.abort()
        finally:
            await self._end()

    async def step(self) -> None:
        """Let the other requests come as far as this one.

        Of 32 whole answers at once each costs a sixth less when one step is done for all of them, then the next: its code is in the
        processor's caches. Streams cost more that way: fewer of their events come in one read.
        """
        if not self.stream:
            await asyncio.sleep(0)

    async def _end(self) -> None:
        """Settle, and let go of all that is large: now, not when the collector comes."""
        self.services.live.exchanges.discard(self)
        self._task = None
        if self._heartbeat is not None:
            self._quieten()
        if self.client.gone and self.client.stalled:
            self.error = errors.Timeout("client_stall", "The client stopped reading the response.", code="client_stall")
        if self.turn is not None and self.turn.job is not None:
            self.error = self.turn.job.error or self.error
        self.pass_on()
        settle(self)
        for attempt in self.attempts:
            if attempt.error is not None:
                errors.forget(attempt.error)
        if self.error is not None:
            errors.forget(self.error)
        self.attempts.clear()  # each leads back here
        self.trace = self.observer = self.heard = self.expansion = self.summary = self.message = self.recent = self.placing = None
        self.race = self.cut = None
        self.body, self.scan, self._parsed = b"", _NOTHING, None
        if self.passing is not None:
            self.passing.close()
        turn, self.turn = self.turn, None
        resumable, self.resumable = self.resumable, None
        if resumable is not None:
            await resumable.over()
        if turn is not None:
            await turn.release()

    def leave(self) -> None:
        """The caller has closed its connection: whatever goes on for it ends."""
        if self.turn is not None and self.turn.job is not None:
            self.turn.job.left()
        elif self.resumable is not None:
            self.resumable.left()
        elif not self.client.aborted:
            self.client.gone = True
            self.give_up()

    def end(self, error: errors.GatewayError) -> None:
        """Tell the caller of this error, in its stream's own way if its answer has begun, and end."""
        if self._running and self._ending is None:
            self._ending = error
            self.give_up()

    def go_on_as(self, job: Job) -> None:
        """Write to a background job from now on, as a stream; the caller has its answer."""
        if not self.stream:
            self.services.metrics.opened()
        self.heard = None if self.heard is None else Heard(job)
        self.client, self.stream = self.heard or job, True

    def give_up(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()

    async def _answered(self) -> None:
        timer = None
        if self._timeout is not None:
            late = errors.Timeout("timeout", "The request took longer than this gateway allows.")
            timer = self.services.loop.call_later(self._timeout, self.end, late)
        failure: errors.GatewayError | None = None
        self._running = True
        try:
            await self._run()
        except errors.GatewayError as error:
            failure = error
        except asyncio.CancelledError:
            assert self._task is not None
            if self._ending is None or self._task.uncancel():  # cancelled by others, too
                raise
            failure = self._ending
        except StreamClosedError:
            raise
        except Exception as error:
            log.exception("request %s failed", self.request_id)
            errors.forget(error)
            failure = errors.LocalBug(f"Internal error. Request id: {self.request_id}")
        finally:
            self._running = False
            if timer is not None:
                timer.cancel()
        if failure is not None:
            await self._refuse(failure)

    async def _run(self) -> None:
        await self._read()
        await self.step()
        operation = self.operation
        if operation.counted and self.identity.limits:
            self.limits = await self.services.quota.admit(self.identity, self.shape)
        if self.services.hooks is not None and not self.dry:
            self.pass_on()
            await self.services.hooks.before(self)
        find = operation.upstreams
        candidates = self._candidates() if find is None else await find(self)
        if operation.lane != "raw":
            if self.speaks.stateful:
                candidates = await self._continued(candidates)
            else:
                candidates = in_region(self, allowed(self.services, self.shape, self.scan.value, candidates))
        if self.route.window and len(self.body) > self.route.window * LONG and operation.lane != "count":
            self.tokens = await least_tokens(self.body)
        if self.dry:
            self._quieten()
            await dry.answer(self, self._in_order(candidates))
            return
        if operation.lane == "count":
            await self._count(candidates)
            return
        if self.message is not None and self.message.prepares:
            await self._prepare(candidates[0])
            return
        if resuming.asked(self):
            await resuming.begin(self)
        failed: list[tuple[Candidate, errors.GatewayError]] = []
        candidates = self.order = self._in_order(candidates)
        if hedging.possible(self, candidates):
            self.race = Race(self, candidates, self._try)
            if await self.race.run(failed):
                return
        else:
            for candidate in candidates:
                if await self._try(candidate, failed):
                    return
        raise retry.verdict(failed)

    async def _continued(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Find what the request continues; return the candidates that can go on from there. Raises ClientFault."""
        if self.operation.lane == "shape":
            candidates = await self.services.state.begin(self, candidates)
            if self.turn is not None and self.turn.compacts:
                self.compacting = "trigger"
            elif self.services.config.compaction.automatic and self.turn is not None and await summing.due(self, self.turn):
                self.compacting, self.turn.compacts = "automatic", True
            return candidates
        if self.operation.lane == "compact":
            self.compacting = "endpoint"
        self.expansion = Expansion(self.services, self.owner, self.scan.value)
        return await self.expansion.find(candidates)

    async def _read(self) -> None:
        """See who asks, and for what. Raises ClientFault, Overloaded."""
        operation = self.operation
        self.services.admit(self)
        if self.dry:
            dry.refuse(self)
        if operation.model == "none":
            self.stream = _ASKS_STREAM.search(self.query) is not None
        elif operation.form and self.headers.get("Content-Type", "").lower().startswith("multipart/form-data"):
            field = multipart.find_model(self.body, self.headers["Content-Type"])
            self.form_field = None if field is None else (field.start, field.end)
            self.scan = splice.Scan({}, None if field is None else field.name, None, None)
        else:
            self.scan = await self.parse(self.services.config.limits.max_values)
            if self._model is not None:
                self.body, self.scan = splice.named(self.body, self.scan, self._model)
            self.scan = self.speaks.read(self.target, self.scan)
            if operation.lane in ("shape", "count"):
                self._rewrite()
            self.stream = bool(self.scan.stream) and operation.lane not in ("count", "compact")
        if self.stream and not self.dry:
            self.services.metrics.opened()
        if self.services.access.sources and (user := users.user_of(self.headers, self.scan.value)):
            self.identity = self.services.access.named(self.identity, user)
        if operation.model == "required" and self.scan.model is None:
            raise errors.Missing("`model` is required.", param="model")
        if operation.model != "none" and self.identity.name:
            await self.services.check_models(self.identity, self.scan, self.body, self.query)
        if self.stream and operation.lane == "shape":
            self._heartbeat = Heartbeat(self)

    async def parse(self, most: int) -> splice.Scan:
        """The body as it can be read. most: JSON values. Raises ClientFault."""
        parsed, self._parsed = self._parsed, None
        if parsed is None:
            parsed = await self.services.turnstile.read(self.body, most, self._passage)
        self.made, self._passage = parsed.made, parsed.passage
        return parsed.scan

    def pass_on(self) -> None:
        """Make room for another large request: this one is sent, or waits for something."""
        passage, self._passage = self._passage, None
        if passage is not None:
            passage.leave()

    def _rewrite(self) -> None:
        """A body in another API's form as its own API has it. Raises ClientFault."""
        own = self.speaks.own_form(self.scan.value)
        if own is not None:
            value, self.left_out = own
            self.body = jsontext.dumps(value)
            self.scan = splice.scan(self.body)

    def _candidates(self) -> tuple[Candidate, ...]:
        """Which upstreams could answer, in order. Raises NoCandidate, or what the operation says when none of them fits."""
        if self.stored is not None:
            return (self.stored.keeper,)
        route, fits = self.services.router.candidates(self.shape, self.scan.model), self.operation.fits
        self.route, candidates = route, route.candidates + route.spare
        if self.operation.counted and self.identity.limits:
            candidates = self.services.affordable(self.identity, candidates)
        if self.operation.lane == "shape":
            candidates = tuple([self.taught.over(one, self.shape, self.scan.value) if one.others else one for one in candidates])
        if fits is None:
            return candidates
        fitting = tuple(candidate for candidate in candidates if fits(candidate))
        if not fitting:
            raise self.operation.unfit(self.scan.model or "")
        return fitting

    def _in_order(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """The candidates in the order to try."""
        route = self.route
        if route.instead:
            self._fit = candidates
            if route.spare:
                spare = {candidate.seed for candidate in route.spare}
                candidates = tuple([candidate for candidate in candidates if candidate.seed not in spare]) or candidates
        if route.ranks and len(candidates) > 1:
            self.placing = Placing(self, candidates)
            candidates = self.placing.candidates
        if self.tokens:
            candidates = fitting(self, candidates)
        return self.services.ejection.ordered(candidates, tries=not self.dry)

    async def _try(self, candidate: Candidate, failed: list[tuple[Candidate, errors.GatewayError]]) -> bool:
        """Whether this candidate answered, within the attempts that its policy allows. Raises what no candidate could mend."""
        ejection, counts, policy = self.services.ejection, self.services.counts, candidate.provider.retry_policy
        allowed = (policy.max_attempts if policy else 2) if self.operation.retried else 1
        for number in range(1, allowed + 1):
            await unneeded.reread(self)
            attempt = Attempt(self, candidate)
            self.attempts.append(attempt)
            if self.race is not None:
                self.race.begins(attempt)
            try:
                await (attempt.run() if counts is None else counts.counted(candidate, attempt.run()))
                if attempt.warms:
                    return True
                self.taught.answered(candidate)
                if isinstance(self.error, errors.UpstreamFault):  # in mid-stream
                    ejection.failed(candidate, self.error)
                else:
                    ejection.worked(candidate)
                    if self.placing is not None:
                        self.placing.answered(candidate)
                return await self._try(candidate, failed) if attempt.compacting == "first" else True
            except errors.GatewayError as error:
                if attempt.committed:
                    if self.cut is None or self.cut.attempt is not attempt:
                        raise
                    ejection.failed(candidate, error)
                    return await continuing.go_on(self, self.cut, partial(self._try, failed=failed))
                if attempt.learned:
                    await unneeded.reread(self)
                    again = self.taught.over(candidate, self.shape, self.scan.value) if candidate.others else candidate
                    return await self._try(again, failed)
                failed.append((candidate, error))
                if isinstance(error, errors.Unconfigured):
                    return False
                if instead := self.instead(candidate, error.kind):
                    for other in ejection.ordered(instead):
                        if await self._try(other, failed):
                            return True
                    raise retry.verdict(failed) from None
                if not retry.mendable(error, attempt.status, candidate.provider):
                    raise
                ejection.failed(candidate, error)
                wait = retry.pause(error, attempt.status, number, policy)
                if number == allowed or wait is None:
                    return False
                await asyncio.sleep(wait)
        return False

    def instead(self, candidate: Candidate, kind: str) -> tuple[Candidate, ...]:
        """Who stands in for a candidate that failed with this kind of error, and was not asked yet."""
        stand_ins = self.route.instead.get((candidate.seed, kind), ())
        if not stand_ins:
            return ()
        asked, fit = {attempt.candidate.seed for attempt in self.attempts}, {candidate.seed: candidate for candidate in self._fit}
        return tuple(fit[one.seed] for one in stand_ins if one.seed in fit and one.seed not in asked)

    async def _count(self, candidates: tuple[Candidate, ...]) -> None:
        """Count tokens: by the first candidate that can be asked, unless one that cannot stands before it."""
        failed: list[tuple[Candidate, errors.GatewayError]] = []
        for candidate in self._in_order(candidates):
            counts = counting.native(self.shape, candidate)
            try:
                asked = counts or counting.askable(self, candidate)
                if asked and await self._try(candidate, failed):
                    return
            except errors.GatewayError as error:
                if self.client.committed or (counts and not counting.lacks(self.attempts[-1])):
                    raise
                counting.refused(self, candidate, error)
                counts = False
            if not counts:
                headers = self.own_headers() | {"x-dragoman-upstream": candidate.name, "x-dragoman-estimate": "true"}
                body = counting.answer(self, await bodies.apart(self.heavy, partial(counting.estimated, self)))
                await self.client.answer(200, headers | {"content-type": "application/json"}, body)
                return
        raise retry.verdict(failed)

    async def _prepare(self, candidate: Candidate) -> None:
        """Answer without an upstream: an empty response that a later one can continue. Raises ClientFault for input that cannot be read."""
        turn = self.turn
        assert turn is not None
        if candidate.shape != self.shape:
            await bodies.apart(self.heavy, partial(responses.check_request, self.scan.value, turn.items()))
        frames, response = responses.prepared(turn.adorn(self._reply()))
        await turn.keep_prepared(response)
        self.client.start(self.own_headers() | travel.SSE_HEADERS, self.speaks.framing.join(frames))
        await self.client.finish()

    # ---- ends ----

    def begin_by_time(self, first: bytes) -> None:
        """Send a stream's head although nothing of its answer has come; it describes the attempt that is under way."""
        attempt = self.attempts[-1] if self.attempts else None
        if attempt is not None and "sent" in attempt.times:
            attempt.read = 0.0
            headers = attempt.answer_headers()
        else:
            headers = self.own_headers()
        self.client.start(headers | travel.SSE_HEADERS, first)

    def _quieten(self) -> None:
        """Nothing is sent by time any more."""
        heartbeat, self._heartbeat = self._heartbeat, None  # it leads back here: a cycle for the collector
        if heartbeat is not None:
            heartbeat.stop()

    async def _refuse(self, error: errors.GatewayError) -> None:
        """Tell the caller of an error: as an HTTP answer, or (too late for that) in the stream's own way."""
        self.error = error
        self._quieten()
        if self.client.gone:
            return
        if self.client.committed:
            await self._break_off(error)
            return
        self.status, headers, body = refusal(error, self.shape, self.request_id)
        attempt = self.attempts[-1] if self.attempts else None
        if attempt is not None:
            headers["x-dragoman-upstream"] = attempt.candidate.name
            headers["x-dragoman-lane"] = HEADER_LANES.get(attempt.lane_name, attempt.lane_name)
            attempt.upstream_id = travel.upstream_request_id(attempt.upstream_headers)
            if attempt.upstream_id:
                headers["x-dragoman-upstream-request-id"] = attempt.upstream_id
            if attempt.refusal is not None and isinstance(error, errors.Answered):
                self.status, carried, body = attempt.refusal
                headers |= carried | {"content-type": attempt.upstream_headers.get("Content-Type", "application/json")}
        if self.turn is not None:
            await self.turn.failed(error)
        await self.client.answer(self.status, limits.replaced(headers, self.limits), body)

    async def _break_off(self, error: errors.GatewayError) -> None:
        """End an answer whose head is out."""
        attempt = self.attempts[-1] if self.attempts else None
        if self.cut is not None and attempt is not None and not attempt.committed:
            attempt = self.cut.attempt
        if attempt is None or not attempt.committed:
            await self.end_of_failed(self._failure(error))
        elif attempt.lane is None or attempt.raw:
            self.client.abort()
        else:
            attempt.lane.break_off(error)
            tail = attempt.lane.close()
            if self.turn is not None:
                tail = await self.turn.keep(attempt.lane, attempt.candidate, tail)  # type: ignore[arg-type] # it is not raw
            await self.end_of_failed(tail)

    async def end_of_failed(self, tail: bytes) -> None:
        """End a stream that tells of a failure in its last bytes, in good order or, where the caller's API wants that, without an end."""
        if not self.speaks.cuts:
            await self.client.finish(tail)
            return
        await drained(self.client.write(tail))
        self.client.abort()

    def _failure(self, error: errors.GatewayError) -> bytes:
        """A whole stream that fails: for one that was begun by time, and of which nothing else was sent."""
        reply = self._reply() if self.turn is None else self.turn.adorn(self._reply())
        reply = in_dialect(reply, self)
        return self.speaks.framing.join(self.speaks.Encoder(reply).feed([ev.Fault(error)])) + reply.dialect.end

    def _reply(self) -> Reply:
        """Of an answer that no upstream gives."""
        request = Request(self.shape, self.scan.model or "", self.scan.value, True)
        return Reply(request, request_id=self.request_id, nonce=self.nonce, created=int(time()), response_id=f"resp_{self.nonce}")

    async def charged(self) -> bool:
        """Whether a usage that a raw answer tells of is to be charged although its operation is free."""
        if self.stored is None or self.stored.charges is None:
            return False
        try:
            return await self.stored.charges()
        except errors.GatewayError as error:
            log.warning("request %s is charged and may have been charged before: %s", self.request_id, error.detail or error.message)
            return True

    def failed_midway(self, error: errors.GatewayError) -> None:
        """The answer failed behind its first content, and was ended accordingly."""
        self.error = self.attempts[-1].error = error

    def own_headers(self) -> dict[str, str]:
        """Of every answer: the request's id, and what is left of the caller's limits, which were asked for this request."""
        return own_headers(self.request_id) | self.limits

    @property
    def caller_path(self) -> str:
        """The path that was asked, as the API has it: in some shapes with the model."""
        return self.target.partition("?")[0] if self.speaks.route else f"/v1{self.path}"

    @property
    def owner(self) -> str:
        """Whose the state is."""
        return self.services.owner(self.identity.name, self.credential)

    @property
    def heavy(self) -> bool:
        """Whether what looks at all of the request's body takes so long that it is done in a thread."""
        return bodies.heavy(self.body, self.made)

    @property
    def state(self) -> Expansion | None:
        """What the request continues, of a shape that stores its answers."""
        return self.turn or self.expansion
