"""The state of the Responses API in one request: what it continues, and what is stored of its answer.

A Turn is created for every request of a responses caller; it accesses the store only when the request uses state. If the upstream
stores responses itself (`r.stateful`), the gateway records only the owner of the response. Otherwise the gateway stores the request's
own items, the answer's items and the id of the previous response. It does so before the end of the answer is sent; when storing fails,
the caller gets an error instead of the end.

By then the model has been paid for, so storing an answer waits for an unavailable store as long as `patience` allows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from time import time
from typing import Any, Literal, NamedTuple

from ...codecs import errors, jsontext, responses
from ...codecs.events import Fault
from ...codecs.ledger import Ledger
from ...codecs.registry import STATEFUL
from ...codecs.reply import Reply
from ...codecs.request import Request
from ...codecs.usage import from_responses
from ..routing.candidate import Candidate
from ..wire import bodies
from . import input_items, upstream_names
from .answers import own_answer, response_id, sound
from .background import ANNOUNCED, Background, Job
from .conversations import RENEW, Conversations, check_room
from .expansion import Expansion, compacts, native
from .ports import Asked, Lane
from .records import Item, Native, Record, Records, continued, named
from .resumable import Streams
from .seals import Seals
from .stores import Store
from .stores.guard import Guard, Patience, task_apart

log = logging.getLogger("dragoman")

ENCRYPTED = "reasoning.encrypted_content"


class State:
    """Responses, conversations and background jobs of one worker, in a store that workers and replicas may share."""

    def __init__(self, store: Store, ttl: float, reasoning_ttl: float = 0.0) -> None:
        """ttl: seconds that a response is stored, and a conversation after its last change. reasoning_ttl: as of Seals."""
        self.store = store
        self.records = Records(store, ttl)
        self.conversations = Conversations(store, ttl)
        self.background = Background(store, self.records)
        self.seals = Seals(store, reasoning_ttl)
        self.streams = Streams(store)
        self._doubtful = False  # the last write failed

    async def begin(self, exchange: Asked, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Give an exchange of the responses shape its Turn; return the candidates that can serve the request.

        Raises ClientFault; raises GatewayError when an answer could not be stored.
        """
        turn = exchange.turn = Turn(exchange)
        with Patience():
            return await (turn.look(candidates) if exchange.dry else turn.begin(candidates))

    async def ensure_writable(self) -> None:
        """Raise GatewayError when the store accepts no writes, before the model is paid for an answer that could not be stored."""
        if isinstance(self.store, Guard):
            self.store.check()
        if self._doubtful:
            await self.store.lease("-/doubt", "doubt", 0.001, force=True)
            self._doubtful = False

    def doubt(self) -> None:
        self._doubtful = True

    async def find(self, owner: str, id: str) -> Record | Native | None:
        """The record for GET, with its response object; marked failed when the gateway that ran it has died."""
        with Patience():
            record = await self.records.whole(owner, id)
            return await self.background.settled(owner, record) if isinstance(record, Record) else record

    async def close(self) -> None:
        self.background.close()
        await self.seals.close()
        await self.store.close()


class Laid(NamedTuple):
    """JSON arrays of items. before: those that a request continues. own: its own input, as it is kept."""

    before: bytes
    own: bytes


Keeping = Literal["here", "upstream", "connection"]
"""Who stores an answer; `connection`: nobody, but the connection keeps it as it came."""


class Turn(Expansion):
    """The state of one request of a responses caller.

    compacts: its answer has a compaction, which upstreams that do not compact leave to the gateway. job: set when the gateway runs it
    in the background.
    """

    def __init__(self, exchange: Asked) -> None:
        super().__init__(exchange.services, exchange.owner, exchange.scan.value, exchange.recent)
        self._exchange = exchange
        self.id = f"resp_{exchange.nonce}"
        self.job: Job | None = None
        self.owed = False  # the usage of a background response that the upstream runs is not yet charged
        self._upstream_id = ""
        self._background = False
        self._streamed = exchange.stream  # as the caller asked
        self.compacts = responses.asked(self._body)
        self._created = int(time())
        self._laid: Laid | None = None  # what is kept of the request, once it is sent
        self._lines: list[bytes] | None = None  # each item of its own input as JSON, where a conversation is to have them
        self._claim: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None

    # ---- before the request is sent ----

    async def begin(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """As `find`; also answers the caller of a background response. Raises GatewayError when an answer could not be stored."""
        candidates = await self._fitting(candidates)
        if self._in_background:
            candidates = self._into_background(candidates)
        if self._writes:
            await self._state.ensure_writable()
        if self._background:
            await self._go_on()
        return candidates

    async def look(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """As `begin`, for a request that is not sent: nothing is locked, and no background response begins."""
        candidates = await self._fitting(candidates)
        return self._into_background(candidates) if self._in_background else candidates

    async def _fitting(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """As `find`. Also raises ClientFault when the conversation has no room for the request's own items."""
        candidates = await self.find(candidates)
        if self.conversation is not None:
            self._lines = await bodies.apart(self._exchange.heavy, lambda: list(map(jsontext.dumps, self._own())))
            check_room(self._weight, self._lines)
        return candidates

    async def _enter(self, id: str) -> None:
        """Lock the conversation: one request at a time may use it."""
        if self._exchange.dry:
            await super()._enter(id)
            return
        await self._state.conversations.lock(self._owner, id, self._exchange.nonce)
        self.conversation = id
        self._renewal = task_apart(self._renew(id))
        await super()._enter(id)

    async def _leave(self) -> None:
        """Unlock the conversation."""
        renewal, self._renewal = self._renewal, None
        if renewal is not None:
            renewal.cancel()
            try:
                await self._state.conversations.unlock(self._owner, self.conversation or "", self._exchange.nonce)
            except errors.GatewayError:
                pass  # the lock expires

    async def _renew(self, id: str) -> None:
        while True:
            await asyncio.sleep(RENEW)
            try:
                await self._state.conversations.lock(self._owner, id, self._exchange.nonce)
            except errors.GatewayError as error:
                log.warning("the lock of %s was not renewed: %s", id, error.detail or error.message)

    def _into_background(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Decide who runs a background response: an upstream that stores responses, otherwise the gateway."""
        if self._native(candidates[0]) and self.conversation is None:
            return tuple(candidate for candidate in candidates if self._native(candidate))
        if self._body.get("store") is False:
            raise errors.ClientFault("A background response must be stored: `store` cannot be false.", param="background")
        self._background = True
        return candidates

    async def _go_on(self) -> None:
        """Answer the caller of a background response at once.

        From then on the exchange writes to the job, and the caller reads from the job's log.
        """
        exchange = self._exchange
        reply = self.adorn(Reply(Request("responses", exchange.scan.model or "", self._body), created=self._created))
        record = self._record(responses.response_object(reply, "queued"), [])
        limits = exchange.services.config.limits
        most = (limits.max_background, limits.max_background_per_key if self._owner else limits.max_background)
        self.job = await self._state.background.begin(self._owner, record, exchange.give_up, *most)
        if self._streamed:
            self.job.stream_to(exchange.client, exchange.own_headers())
        else:
            headers = exchange.own_headers() | {"content-type": "application/json"}
            await exchange.client.answer(200, headers, jsontext.dumps(record.shown()))
        self._body["stream"] = True
        exchange.go_on_as(self.job)

    # ---- when the request is sent ----

    def stores(self, candidate: Candidate) -> bool:
        """Whether the gateway rather than the upstream stores this candidate's answer, if it is stored at all."""
        if self._background or self.conversation is not None or not self._native(candidate):
            return True
        # an upstream does not know the id of an answer that it does not store; what began there alone cannot be kept here
        return self._lane is not None and self._body.get("store") is False and self._begins_here

    def _native(self, candidate: Candidate) -> bool:
        """Whether the upstream stores the answer to this request, which it does of answers that are its own."""
        return native(candidate) and (compacts(candidate) or not self.compacts)

    def keeping(self, candidate: Candidate) -> Keeping | None:
        """Who stores this candidate's answer; None: it is not stored."""
        if self.stores(candidate):
            return "here" if self._writes else None if self._lane is None else "connection"
        return "upstream" if self._writes or self._names_containers(candidate) else None

    def keeps_input(self, candidate: Candidate) -> bool:
        """Whether the request's own input is stored with this candidate's answer."""
        return self.keeping(candidate) in ("here", "connection")

    @property
    def laid(self) -> bool:
        """Whether what is stored with the answer is held as JSON."""
        return self._laid is not None or self._lines is not None

    def lay_by(self) -> None:
        """Hold as JSON from now on what the request continues and its own input: parsed they take two to three times as much.

        Not in a conversation, which stores items one by one.
        """
        if self.conversation is not None:
            return
        if self._laid is None:
            recent = None if self._recent is None or self._left_out else self._recent.items
            self._laid = Laid(_held(self._stored) if recent is None else recent, _held(self._own()))
        self._stored = []

    def take_up(self) -> None:
        """The request is looked at again."""
        if self._laid is not None and not self._stored:
            self._stored = jsontext.loads(self._laid.before)

    def _names_containers(self, candidate: Candidate) -> bool:
        """Whether the answer may name containers whose owner must be recorded: they outlive an answer that is not stored."""
        return not self._services.lets_through(candidate) and upstream_names.makes_containers(self._body)

    @property
    def _begins_here(self) -> bool:
        """Whether the gateway has all that the request continues."""
        return self._continues or self._body.get("previous_response_id") is None

    @property
    def _writes(self) -> bool:
        return self._body.get("store") is not False or self.conversation is not None

    def inlined(self, candidate: Candidate, ledger: Ledger) -> Item | None:
        """As Expansion.inlined; sets `store` to false for an answer that the gateway stores, and asks for encrypted reasoning."""
        body = super().inlined(candidate, ledger)
        if not self.stores(candidate):
            return body
        if body is None and self._body.get("store") is False and self._lane is None:
            return None
        asked = self._body.get("include")
        asked = asked if isinstance(asked, list) else []
        wanted = candidate.capabilities.r_encrypted_reasoning and ENCRYPTED not in asked
        if body is None and self._body.get("store") is False and not wanted:
            return None
        body = {**(body or self._body), "store": False}
        body.pop("background", None)
        if wanted:
            body["include"] = [*asked, ENCRYPTED]
        return body

    async def counted(self) -> int | None:
        """The tokens of the previous response, its input included, as far as its upstream counted them."""
        record = None if self._previous is None else await self._state.records.whole(self._owner, self._previous.id)
        usage = record.response.get("usage") if isinstance(record, Record) else None
        return from_responses(usage).all if isinstance(usage, dict) else None

    def adorn(self, reply: Reply) -> Reply:
        """Set the members of a reply that the answer shows of the state."""
        previous = self._body.get("previous_response_id")
        reply.response_id = self.id
        reply.previous_response_id = previous if isinstance(previous, str) else None
        reply.conversation_id = self.conversation
        if self._background:
            reply.announced, reply.created = ANNOUNCED, self._created
        return reply

    # ---- while the answer is received ----

    def claimed(self, id: str, candidate: Candidate) -> asyncio.Task[None]:
        """Record the owner of an answer that the upstream stores under this id. Await the task before sending content."""
        self._upstream_id, self.owed = id, self._in_background
        self._claim = asyncio.create_task(self._remember(id, candidate))
        self._claim.add_done_callback(_seen)  # nobody awaits it when the answer breaks off
        return self._claim

    @property
    def _in_background(self) -> bool:
        """Whether the caller requested a background response, whether the upstream or the gateway runs it."""
        return self._body.get("background") is True

    async def _remember(self, id: str, candidate: Candidate, names: set[str] | None = None) -> None:
        router = self._exchange.services.router
        record = Native(router.mark(candidate.provider), self._exchange.scan.model, self._in_background)
        with Patience(insist=True):
            await self._state.records.claim(self._owner, id, record, names or ())

    async def _remember_names(self, response: Item | None, candidate: Candidate) -> None:
        """Record the names in an upstream's answer: its caller may use them again."""
        if response is None or self._services.lets_through(candidate):
            return
        names = upstream_names.named_in_answer(response)
        if names and isinstance(response.get("id"), str):
            await self._remember(response["id"], candidate, names)

    async def keep(self, lane: Lane, candidate: Candidate, tail: bytes) -> bytes:
        """Store a streamed answer that has ended or failed. Returns the bytes to send: `tail`, or an error when storing failed."""
        answer = lane.answer
        response: Item | None = getattr(answer, "response", None)
        try:
            with Patience(insist=True):
                if self.keeping(candidate) == "upstream":
                    if self._claim is not None:
                        await self._claim
                        await self._remember_names(response, candidate)
                        await self._charge(lane.usage)
                elif (self._writes or self._lane is not None) and response is not None:
                    await self._store(response, getattr(answer, "raw_reasoning", {}), candidate)
        except errors.GatewayError as error:
            self._state.doubt()
            if lane.error is not None:
                log.error("a failed response could not be stored: %s", error.detail or error.message)
                return tail
            lane.error = error
            failure: bytes = lane.fail(error)
            return failure
        return tail

    async def keep_whole(self, collector: Any, candidate: Candidate) -> None:
        """Store a complete answer of another shape. Raises GatewayError when it cannot be stored."""
        if self._writes:
            await self._ensure(self._store(collector.response, collector.raw_reasoning, candidate))

    async def keep_prepared(self, response: Item) -> None:
        """Store the answer of a request that only prepares state. Raises GatewayError when it cannot be stored."""
        await self._ensure(self._store(response, {}, None))

    async def keep_body(self, reply: Reply, candidate: Candidate, value: Item, body: bytes) -> bytes:
        """Store a complete answer of the same shape; return the body for the caller. Raises GatewayError when it cannot be stored."""
        keeping = self.keeping(candidate)
        if keeping == "here":
            value = own_answer(reply, value)
            await self._ensure(self._store(value, {}, candidate))
            return jsontext.dumps(value)
        id = response_id(body) if keeping == "upstream" else None
        if id is not None:
            names = set() if self._services.lets_through(candidate) else upstream_names.named_in_answer(value)
            self._upstream_id, self.owed = id, self._in_background
            await self._ensure(self._remember(id, candidate, names))
            await self._charge(value.get("usage"))
        return body

    async def _charge(self, usage: Any) -> None:
        """Charge the usage of a background response that the upstream runs, if this request is the first to see it."""
        if self.owed and usage is not None:
            try:
                self.owed = not await self._state.records.charge(self._owner, self._upstream_id, self._exchange.nonce)
            except errors.GatewayError:
                self.owed = False  # the usage may be charged twice, but never not at all

    async def _ensure(self, writing: Coroutine[Any, Any, None]) -> None:
        try:
            with Patience(insist=True):
                await writing
        except errors.GatewayError:
            self._state.doubt()
            raise

    async def failed(self, error: errors.GatewayError) -> None:
        """The request failed before any of its answer was sent: store the failure of a background response."""
        if self.job is None:
            return
        reply = self.adorn(Reply(Request("responses", self._exchange.scan.model or "", self._body), created=self._created))
        encoder = responses.StreamEncoder(reply)
        frames = encoder.feed([Fault(error)])
        assert encoder.response is not None
        try:
            with Patience(insist=True):
                await self._store(encoder.response, {}, None)
            self.job.write(STATEFUL.framing.join(frames))
        except errors.GatewayError as trouble:
            log.error("a failed response could not be stored: %s", trouble.detail or trouble.message)

    async def _store(self, response: Item, raw: dict[int, Any], candidate: Candidate | None) -> None:
        response = sound(response)
        output = [_private(item, raw.get(index), candidate) for index, item in enumerate(response["output"])]
        record = self._record(response, output)
        record.upstream = candidate.name if candidate is not None else ""
        if self.job is not None:
            await self.job.hold()
        if self._body.get("store") is not False:
            await self._state.records.put(self._owner, record)
            if self.job is not None:
                self.job.recorded = True
        if self.conversation is not None and record.status != "failed":
            await self._add(self.conversation, record)
        if self._lane is not None and record.status != "failed" and self._begins_here:
            before = b"[]" if self._recent is not None else self._before()
            items = jsontext.joined(self._written(), jsontext.dumps(output))
            self._lane.keep(str(response["id"]), self._recent, before, items, self._link(record))
        await self._leave()  # before the end is sent: the caller's next request may follow at once

    async def _add(self, conversation: str, record: Record) -> None:
        """Add the record's items to the conversation; delete the record when that fails."""
        conversations = self._state.conversations
        written = [*(self._lines or ()), *map(jsontext.dumps, record.output if record.counts else [])]
        try:
            await conversations.lock(self._owner, conversation, self._exchange.nonce)
            await conversations.extend(self._owner, conversation, written)
        except errors.GatewayError:
            if self._body.get("store") is not False:
                await self._state.records.delete(self._owner, record.id)
            raise

    def _before(self) -> bytes:
        """What the request continues, as JSON."""
        return jsontext.dumps(self._stored) if self._laid is None else self._laid.before

    def _written(self) -> bytes:
        """The request's own input as JSON, as it is kept."""
        if self._lines is not None:
            return b"[%b]" % b",".join(self._lines)
        return jsontext.dumps(self._own()) if self._laid is None else self._laid.own

    def _own(self) -> list[Item]:
        """The request's own input, as it is kept."""
        return named(input_items.resolved(input_items.own_input(self._body), self._referenced, strict=False), self._exchange.nonce)

    def _link(self, record: Record) -> dict[str, Any] | None:
        """The fields that link a later record to this one, if this one is stored."""
        return None if self._body.get("store") is False else continued(record)

    def _record(self, response: Item, output: list[Item]) -> Record:
        """What is stored of the answer. What it continues and is not stored itself is part of its input."""
        link, own = {}, self._written()
        if self._previous is not None:
            link = continued(self._previous)
        elif self._recent is not None and self._recent.link is not None:
            link = self._recent.link
        elif self._recent is not None:
            own = jsontext.joined(self._before(), own)
        return Record(
            id=self.id,
            created_at=time(),
            status=response["status"],
            input=[],
            output=output,
            response=response,
            conversation=self.conversation,
            background=self._background,
            stream=self._streamed,
            written=own,
            **link,
        )

    # ---- the end ----

    async def release(self) -> None:
        """Release what the exchange holds, when it has ended."""
        if self._claim is not None and not self._claim.done():
            await asyncio.wait([self._claim])
        await self._leave()
        if self.job is not None:
            await self._state.background.over(self.id)


def _private(item: Item, raw: Any, candidate: Candidate | None) -> Item:
    """An output item as it is stored: reasoning with what its provider requires in a later request."""
    if item.get("type") != "reasoning" or candidate is None:
        return item
    own = {"dragoman_domain": candidate.domain}
    if raw:
        item = {key: value for key, value in item.items() if key != "encrypted_content"}
    if isinstance(raw, str):
        return item | own | {"dragoman_text": raw}
    if raw and raw[0].get("type") == "reasoning":  # from a responses upstream
        return item | own | {"encrypted_content": raw[0]["encrypted_content"]}
    return item | own | ({"dragoman_blocks": raw} if raw else {})


def _seen(done: asyncio.Task[None]) -> None:
    """Mark the task's error as retrieved: whoever awaits it still gets it."""
    if not done.cancelled():
        done.exception()


def _held(items: list[Item]) -> bytes:
    return jsontext.trimmed(jsontext.dumps(items))
