"""What a responses request goes on from: a response, a conversation, single items; read from the store, written out for an upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...codecs import errors
from ...codecs.ledger import Ledger
from ..routing.router import Candidate
from . import history
from .conversations import conversation_id
from .records import Item, Native, Record, conversation_of, previous_not_found

if TYPE_CHECKING:
    from ..exchange.services import Services

_CONTINUES = ("previous_response_id", "conversation")


class Prior:
    """conversation: the id of the one that the request goes on in, if it does."""

    def __init__(self, services: Services, owner: str, body: Item) -> None:
        self.conversation: str | None = None
        self._services = services
        self._state = services.state
        self._owner = owner
        self._body = body
        self._parent: Record | None = None
        self._stored: list[Item] = []
        self._found: dict[str, Item | None] = {}  # what item_references stand for; None: it stands among the stored items

    async def find(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Read what there is; returns the candidates that can go on from there. Raises ClientFault."""
        previous, conversation = (self._body.get(name) for name in _CONTINUES)
        if previous is not None and conversation is not None:
            told = "Mutually exclusive parameters: only one of `previous_response_id` and `conversation` can be given."
            raise errors.ClientFault(told, code="mutually_exclusive_parameters", param="previous_response_id")
        if previous is not None:
            candidates = await self._continue(previous, candidates)
        elif conversation is not None:
            id = conversation_id(conversation)
            await self._state.conversations.find(self._owner, id)
            await self._enter(id)
        await self._look_up()
        return candidates

    async def _continue(self, previous: Any, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        if not isinstance(previous, str):
            raise errors.WrongType("`previous_response_id` must be a string.", param="previous_response_id")
        records, owner = self._state.records, self._owner
        found = await records.find(owner, previous)
        if isinstance(found, Record):
            found = await self._state.background.settled(owner, found)
        if isinstance(found, Record):
            if not found.final:
                told = f"Previous response with id '{previous[:256]}' is not completed yet."
                raise errors.ClientFault(told, code="response_not_completed", param="previous_response_id")
            self._parent = found
            self._keep_before([item for link in await records.chain(owner, found) for item in link.said])
            return candidates
        services = self._services
        if isinstance(found, Native):
            able = tuple(c for c in candidates if native(c) and services.router.mark(c.provider) == found.provider)
            why = " It lives on another upstream."
        else:
            able, why = tuple(c for c in candidates if native(c) and services.lets_through(c)), ""
        if not able:
            raise previous_not_found(previous, why if found is not None else "")
        return able

    async def _enter(self, id: str) -> None:
        self.conversation = id
        self._keep_before([item for _, item in await self._state.conversations.items(self._owner, id)])

    def _keep_before(self, stored: list[Item]) -> None:
        self._stored = history.without_cut_calls(stored, history.own_input(self._body))

    async def _look_up(self) -> None:
        """Find what item_references stand for."""
        wanted = [id for item in history.own_input(self._body) if (id := history.referred(item)) is not None]
        if not wanted:
            return
        here = {item.get("id") for item in self._stored}
        self._found.update((id, None) for id in wanted if id in here)
        missing = [id for id in wanted if id not in self._found]
        if missing:
            self._found.update(await self._state.records.items(self._owner, missing))
        for id in {conversation_of(id) for id in missing if id not in self._found} - {None}:
            try:
                items = await self._state.conversations.items(self._owner, id or "")
            except errors.NotFound:
                continue
            self._found.update((item["id"], item) for _, item in items if item["id"] in missing)

    # ---- written out ----

    @property
    def _here(self) -> bool:
        """Whether it goes on from something that the gateway keeps."""
        return self._parent is not None or self.conversation is not None

    def items(self) -> list[Any] | None:
        """The whole expanded input for an upstream of another shape; None where it is the request's own. Raises NotFound."""
        if not (self._here or self._found):
            return None
        return self._stored + history.resolved(history.own_input(self._body), self._found, strict=True)

    def inlined(self, candidate: Candidate, ledger: Ledger) -> Item | None:
        """The body for an upstream of the same shape that knows nothing of what is stored here; None when it goes up as it is."""
        if not (self._here or self._found):
            return None
        told, domain = dict(self._body), candidate.domain
        if self._here:
            for name in _CONTINUES:
                if told.pop(name, None) is not None:
                    ledger.adapt((name,))
        found = {id: None if item is None else history.plain(item, domain) for id, item in self._found.items()}
        own = history.resolved(history.own_input(self._body), found, strict=False)
        told["input"] = [item for kept in self._stored if (item := history.plain(kept, domain)) is not None] + own
        return told


def native(candidate: Candidate) -> bool:
    """Whether this upstream keeps its responses itself."""
    return candidate.shape == "responses" and candidate.capabilities.r_stateful
