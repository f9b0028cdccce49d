"""What a responses request continues (a previous response or a conversation), and the items that it refers to.

They are read from the store and written into the request for an upstream that does not have them. Ids that the gateway does not know
are left to the upstream, after a check that the caller may use them.
"""

from __future__ import annotations

from typing import Any

from ...codecs import errors, responses
from ...codecs.ledger import Ledger
from ..routing.candidate import Candidate
from ..wire import bodies
from . import input_items, upstream_names
from .conversations import conversation_id
from .ports import Services
from .recent import Lane, Recent
from .records import REFERENCES_LIMIT, Item, Native, Record, conversation_of, previous_not_found

_CONTINUES = ("previous_response_id", "conversation")


class Expansion:
    """The stored items that one request builds on. conversation: the id of the conversation it continues, if any."""

    def __init__(self, services: Services, owner: str, body: Item, lane: Lane | None = None) -> None:
        """lane: of the connection that the request came on, if that keeps responses."""
        self.conversation: str | None = None
        self._services = services
        self._state = services.state
        self._owner = owner
        self._body = body
        self._lane = lane
        self._previous: Record | None = None
        self._recent: Recent | None = None  # the same, if the connection keeps it
        self._stored: list[Item] = []
        self._weight = 0  # bytes of the conversation's items
        self._left_out = False  # something of what the request continues
        self._referenced: dict[str, Item | None] = {}  # by id; None: already among the stored items

    async def find(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Read what the request continues; return the candidates that can continue it. Raises ClientFault."""
        previous, conversation = (self._body.get(name) for name in _CONTINUES)
        if previous is not None and conversation is not None:
            message = "Mutually exclusive parameters: only one of `previous_response_id` and `conversation` can be given."
            raise errors.ClientFault(message, code="mutually_exclusive_parameters", param="previous_response_id")
        if previous is not None:
            candidates = await self._continue(previous, candidates)
        elif conversation is not None:
            id = conversation_id(conversation)
            await self._state.conversations.find(self._owner, id)
            await self._enter(id)
        await self._look_up_references(reasoning=not all(map(native, candidates)))
        return await self._allowed(self._able_to_read(candidates))

    def _able_to_read(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """The candidates of the API whose providers may read a compaction of another maker's, if there is one in the input."""
        able = tuple(candidate for candidate in candidates if candidate.speaks.stateful)
        if not able or len(able) == len(candidates):
            return candidates
        return able if responses.foreign([*self._stored, *input_items.own_input(self._body)]) else candidates

    async def _continue(self, previous: Any, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        if not isinstance(previous, str):
            raise errors.WrongType("`previous_response_id` must be a string.", param="previous_response_id")
        if self._lane is not None and (recent := self._lane.find(previous)) is not None:
            self._recent = recent
            self._begin_with(await bodies.apart(len(recent.items) > bodies.AT_ONCE, recent.begin))
            return candidates
        records, owner = self._state.records, self._owner
        record = await records.find(owner, previous)
        if isinstance(record, Record):
            record = await self._state.background.settled(owner, record)
        if isinstance(record, Record):
            if not record.final:
                message = f"Previous response with id '{previous[:256]}' is not completed yet."
                raise errors.ClientFault(message, code="response_not_completed", param="previous_response_id")
            self._begin_with([item for link in await records.chain(owner, record) for item in link.continued_items])
            record.input, record.output = [], []  # they are among the stored items now
            self._previous = record
            return candidates
        services = self._services
        if isinstance(record, Native):
            able = tuple(c for c in candidates if native(c) and services.router.mark(c.provider) == record.provider)
            why = " It is stored at another upstream."
        else:
            able, why = tuple(c for c in candidates if native(c) and services.lets_through(c)), ""
        if not able:
            raise previous_not_found(previous, why if record is not None else "")
        return able

    async def _enter(self, id: str) -> None:
        self.conversation = id
        items, self._weight = await self._state.conversations.history(self._owner, id)
        self._begin_with(items)

    def _begin_with(self, stored: list[Item]) -> None:
        self._stored = input_items.without_cut_calls(stored, input_items.own_input(self._body))
        self._left_out = self._stored is not stored

    async def _look_up_references(self, reasoning: bool) -> None:
        """Find the items that item_references name. reasoning: and reasoning items of which the caller sent the id alone."""
        own = [item for item in input_items.own_input(self._body) if type(item) is dict and "id" in item]  # all that can name one
        wanted = [id for item in own if (id := input_items.referred(item)) is not None]
        if reasoning:
            wanted += [id for item in own if (id := input_items.bare_reasoning(item)) is not None][-REFERENCES_LIMIT:]
        if not wanted:
            return
        here = {item.get("id") for item in self._stored}
        self._referenced.update((id, None) for id in wanted if id in here)
        missing = [id for id in wanted if id not in self._referenced]
        if missing:
            self._referenced.update(await self._state.records.items(self._owner, missing))
        sought = set(missing)
        for id in {conversation_of(id) for id in sought if id not in self._referenced} - {None}:
            self._referenced.update(await self._state.conversations.named(self._owner, id or "", sought))

    async def _allowed(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """The candidates at which the caller may use the names in the request. Raises NotFound when none is left."""
        services, body = self._services, self._body
        if all(map(services.lets_through, candidates)):
            return candidates
        carried = any(candidate.speaks.stateful for candidate in candidates)  # names are not sent to other APIs
        things = upstream_names.used_in_request("responses", body) if carried else {}
        items = [id for id in upstream_names.items_looked_up(body) if id not in self._referenced] if any(map(native, candidates)) else []
        if not things and not items:
            return candidates
        owned = await self._state.records.owned(self._owner, [*things, *items])
        unseen = {name: place for name, place in things.items() if name not in owned}
        unseen_items = [id for id in items if id not in owned]
        able = tuple(
            c for c in candidates if services.lets_through(c) or not c.speaks.stateful or not (unseen or (unseen_items and native(c)))
        )
        if not able:
            raise not_seen(unseen) if unseen else errors.NotFound(f"Item with id '{unseen_items[0][:256]}' not found.", param="input")
        return able

    @property
    def beginning(self) -> list[Item]:
        """The first items of what is continued, as far as the gateway stores it."""
        return self._stored[:8]

    # ---- expanded input ----

    @property
    def continued(self) -> int:
        """How many stored items precede the request's own."""
        return len(self._stored)

    @property
    def _continues(self) -> bool:
        """Whether the request continues something that the gateway has."""
        return self._previous is not None or self._recent is not None or self.conversation is not None

    def items(self) -> list[Any] | None:
        """The expanded input for an upstream of another shape; None when the request needs no expansion. Raises NotFound."""
        if not (self._continues or self._referenced):
            return None
        return self._stored + input_items.resolved(input_items.own_input(self._body), self._referenced, strict=True)

    def everything(self) -> list[Any]:
        """The expanded input; references that the gateway does not know stay as they are."""
        return self._stored + input_items.resolved(input_items.own_input(self._body), self._referenced, strict=False)

    def inlined(self, candidate: Candidate, ledger: Ledger) -> Item | None:
        """The body with the input expanded, for an upstream of the same shape; None when the request needs no expansion.

        Raises ClientFault for what the upstream would refuse if it had the items itself: some take an output without its call.
        """
        if not (self._continues or self._referenced):
            return None
        body, domain = dict(self._body), candidate.domain
        if self._continues:
            for name in _CONTINUES:
                if body.pop(name, None) is not None:
                    ledger.adapt((name,))
        referenced = {id: None if item is None else input_items.plain(item, domain) for id, item in self._referenced.items()}
        own = input_items.resolved(input_items.own_input(self._body), referenced, strict=False)
        body["input"] = [plain for item in self._stored if (plain := input_items.plain(item, domain)) is not None] + own
        if self._continues:
            responses.check_outputs(body["input"])
        return body


def allowed(services: Services, shape: str, body: Item, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """The candidates at which a caller of an API other than responses may use the names in its request.

    The gateway does not record what the answers of these APIs name, so no name counts as the caller's. An upstream of another shape is
    sent no such name: the codecs refuse them. Raises NotFound when no candidate is left.
    """
    if services.one_team():
        return candidates
    able = tuple(candidate for candidate in candidates if candidate.shape != shape or services.lets_through(candidate))
    if able == candidates or not (unseen := upstream_names.used_in_request(shape, body)):
        return candidates
    if not able:
        raise not_seen(unseen)
    return able


def native(candidate: Candidate) -> bool:
    """Whether this upstream stores responses itself."""
    return candidate.speaks.stateful and candidate.capabilities.r_stateful


def compacts(candidate: Candidate) -> bool:
    """Whether this upstream compacts conversations by itself."""
    return candidate.speaks.stateful and candidate.capabilities.r_compact


def not_seen(names: dict[str, str]) -> errors.GatewayError:
    """names: the field of the body by name; not empty. The error is about the first."""
    name, place = next(iter(names.items()))
    return errors.NotFound(f"'{name[:256]}' was not found for this API key.", param=place)
