"""Conversations: lists of items under an id. A request that continues one adds to it; a lease admits one request at a time."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import time
from typing import Any

from ...codecs import errors, jsontext
from .records import WEIGHT_LIMIT, Item, entry_name, known, named, share, too_long
from .stores import Entry, Store
from .stores.guard import Patience

LEASE = 30.0  # seconds that a conversation stays locked after its gateway has died
RENEW = 10.0  # seconds between renewals of the lock
_PAGE = 500  # items per read from the store


@dataclass(slots=True)
class Conversation:
    id: str
    created_at: int
    metadata: dict[str, str] = field(default_factory=dict)

    def shown(self) -> Item:
        return {"id": self.id, "object": "conversation", "created_at": self.created_at, "metadata": self.metadata}


class Conversations:
    """The conversations of all callers, over a store; each is stored for `ttl` seconds after its last change."""

    def __init__(self, store: Store, ttl: float) -> None:
        self._store = store
        self._ttl = ttl

    async def create(self, owner: str, items: Sequence[Any], metadata: dict[str, str]) -> Conversation:
        """Raises ClientFault (context_too_long) for items with which it could not be continued."""
        made = Conversation(f"conv_{secrets.token_hex(16)}", int(time()), metadata)
        _, written = _own(made.id, items)
        await self._write(owner, made)
        if written:
            await self._append(owner, made.id, written)
        return made

    async def find(self, owner: str, id: Any) -> Conversation:
        """Return a conversation without its items. Raises NotFound."""
        raw = (await self._store.get([entry_name(owner, id)], "head"))[0] if known(id) else None
        head = {} if raw is None else jsontext.loads(raw)
        if "metadata" not in head:
            raise not_found(str(id))
        return Conversation(id, head["created_at"], head["metadata"])

    async def update(self, owner: str, conversation: Conversation) -> None:
        await self._write(owner, conversation)

    async def _write(self, owner: str, it: Conversation) -> None:
        head = jsontext.dumps({"created_at": it.created_at, "metadata": it.metadata})
        await self._store.put(Entry(entry_name(owner, it.id), {"head": head}, time() + self._ttl, owner=share(owner)))

    async def delete(self, owner: str, id: str) -> None:
        await self._store.delete(entry_name(owner, id))

    async def items(self, owner: str, id: str) -> list[tuple[int, Item]]:
        """All items with their numbers, oldest first. Raises ClientFault (context_too_long) above WEIGHT_LIMIT."""
        name, items = entry_name(owner, id), list[tuple[int, Item]]()
        weight, after = 0, -1
        with Patience():
            while page := await self._store.read(name, after, _PAGE):
                weight += sum(len(raw) for _, raw in page)
                if weight > WEIGHT_LIMIT:
                    raise too_long("conversation")
                items += [(number, jsontext.loads(raw)) for number, raw in page]
                after = page[-1][0]
        return items

    async def add(self, owner: str, id: str, items: Sequence[Any]) -> list[Item]:
        """Add a caller's items, with ids minted where they have none.

        Raises NotFound when the conversation was deleted, ClientFault (context_too_long) when it could not be continued with them.
        """
        own, written = _own(id, items, await self._weight(owner, id))
        await self._append(owner, id, written)
        return own

    async def extend(self, owner: str, id: str, items: Sequence[Item]) -> None:
        """Add a response's items, which have ids. Raises NotFound when the conversation was deleted."""
        await self._append(owner, id, list(map(jsontext.dumps, items)))

    async def _append(self, owner: str, id: str, written: list[bytes]) -> None:
        """Add items as JSON. Raises NotFound when the conversation was deleted."""
        if await self._store.append(entry_name(owner, id), written, time() + self._ttl) is None:
            raise not_found(id)

    async def _weight(self, owner: str, id: str) -> int:
        """Bytes of all items."""
        name, weight, after = entry_name(owner, id), 0, -1
        with Patience():
            while page := await self._store.read(name, after, _PAGE):
                weight += sum(len(raw) for _, raw in page)
                after = page[-1][0]
        return weight

    async def remove(self, owner: str, id: str, number: int) -> bool:
        return await self._store.remove(entry_name(owner, id), number)

    async def lock(self, owner: str, id: str, holder: str) -> None:
        """Take or renew the lock. Raises ClientFault (conversation_locked) when another holder has it."""
        if not await self._store.lease(entry_name(owner, id), holder, LEASE):
            raise errors.ClientFault(
                "Another process is currently operating on this conversation. Please retry in a few seconds.",
                code="conversation_locked",
                param="conversation",
            )

    async def unlock(self, owner: str, id: str, holder: str) -> None:
        await self._store.release(entry_name(owner, id), holder)


def _own(id: str, items: Sequence[Any], weight: int = 0) -> tuple[list[Item], list[bytes]]:
    """A caller's items as they are stored, and as JSON. weight: of what the conversation has. Raises ClientFault above WEIGHT_LIMIT."""
    own = named(items, id.removeprefix("conv_") + secrets.token_hex(4))
    written = list(map(jsontext.dumps, own))
    if weight + sum(map(len, written)) > WEIGHT_LIMIT:
        message = f"A conversation can have {WEIGHT_LIMIT >> 20} MB of items: with these it would be too long to be continued."
        raise errors.ClientFault(message, kind="context_too_long", param="items")
    return own, written


def conversation_id(value: Any) -> str:
    """The id that a request's `conversation` names, as a string or in an object. Raises WrongType."""
    id = value.get("id") if isinstance(value, dict) else value
    if not isinstance(id, str):
        raise errors.WrongType("`conversation` must be an id, or an object with one.", param="conversation")
    return id


def not_found(id: str) -> errors.GatewayError:
    return errors.NotFound(f"Conversation with id '{id[:256]}' not found.")
