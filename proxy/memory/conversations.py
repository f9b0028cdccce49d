"""Conversations: lists of items under an id. A request that continues one adds to it; a lease admits one request at a time.

What callers send may not bring one above WEIGHT_LIMIT: the store decides that as it adds. An answer is added in any case, because it is
paid for; a conversation that is too long then cannot be continued, but can be listed, and its items deleted.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import time
from typing import Any

from ...codecs import errors, jsontext
from ..wire import bodies
from .records import WEIGHT_LIMIT, Item, entry_name, known, named, share
from .stores import Entry, Full, Store
from .stores.guard import Patience

LEASE = 30.0  # seconds that a conversation stays locked after its gateway has died
RENEW = 10.0  # seconds between renewals of the lock
_PAGE = 500  # items per read from the store

Choose = Callable[[Sequence[int], Mapping[str, int]], tuple[Sequence[int], bool]]
"""Some of these numbers that follow one another, and whether there are more."""


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
        if sum(map(len, written)) > WEIGHT_LIMIT:
            raise _too_long(_WITH_THESE, "items")
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

    async def _each(self, owner: str, id: str, see: Callable[[int, bytes], bool | None]) -> None:
        """Call `see` with the number and the JSON of each item, oldest first, until it returns True; in a thread if they are long."""
        name, after = entry_name(owner, id), -1
        with Patience():
            while page := await self._store.read(name, after, _PAGE):
                if await bodies.apart(_is_heavy(page), partial(_any, see, page)):
                    return
                after = page[-1][0]

    async def page(self, owner: str, id: str, names: Iterable[str], choose: Choose, made: Callable[[list[Item], bool], bytes]) -> bytes:
        """What is made of some of the items; only these are read whole.

        names: the ids of items whose places are to be known. choose: of the numbers of all items, oldest first, and of those that are
        named. made: of the items, and whether there are more.
        """
        numbers: list[int] = []
        places: dict[str, int] = {}
        written = {name: jsontext.dumps(name) for name in names}

        def see(number: int, raw: bytes) -> None:
            numbers.append(number)
            for name, text in written.items():
                if name not in places and text in raw and jsontext.loads(raw)["id"] == name:
                    places[name] = number

        await self._each(owner, id, see)
        chosen, more = choose(numbers, places)
        page = await self._store.read(entry_name(owner, id), min(chosen) - 1, len(chosen)) if chosen else []
        raw = dict(page)  # without those that were removed meanwhile
        return await bodies.apart(_is_heavy(page), lambda: made([jsontext.loads(raw[one]) for one in chosen if one in raw], more))

    async def named(self, owner: str, id: str, ids: set[str]) -> dict[str, Item]:
        """The items that have these ids."""
        items: dict[str, Item] = {}

        def see(_: int, raw: bytes) -> None:
            if (item := jsontext.loads(raw))["id"] in ids:
                items[item["id"]] = item

        await self._each(owner, id, see)
        return items

    async def history(self, owner: str, id: str) -> tuple[list[Item], int]:
        """All items, to be continued, and their bytes. Raises ClientFault (context_too_long) above WEIGHT_LIMIT."""
        items: list[Item] = []
        weight = 0

        def see(_: int, raw: bytes) -> None:
            nonlocal weight
            weight += len(raw)
            if weight > WEIGHT_LIMIT:
                raise _too_long("it has more. Its items can be listed and deleted.", "conversation")
            items.append(jsontext.loads(raw))

        await self._each(owner, id, see)
        return items, weight

    async def item(self, owner: str, id: str, item_id: str) -> tuple[int, Item] | None:
        """The first item of this id, and its number; None when there is none."""
        written, numbered = jsontext.dumps(item_id), list[tuple[int, Item]]()

        def see(number: int, raw: bytes) -> bool:
            if written in raw and (item := jsontext.loads(raw))["id"] == item_id:
                numbered.append((number, item))
            return bool(numbered)

        await self._each(owner, id, see)
        return numbered[0] if numbered else None

    async def add(self, owner: str, id: str, items: Sequence[Any]) -> list[Item]:
        """Add a caller's items, with ids minted where they have none.

        Raises NotFound when the conversation was deleted, ClientFault (context_too_long) when it could not be continued with them.
        """
        own, written = _own(id, items)
        try:
            await self._append(owner, id, written, WEIGHT_LIMIT)
        except Full:
            raise _too_long(_WITH_THESE, "items") from None
        return own

    async def extend(self, owner: str, id: str, written: list[bytes]) -> None:
        """Add a response's items as JSON, which have ids: whatever they weigh, since its answer is there. Raises NotFound as `add`."""
        await self._append(owner, id, written)

    async def _append(self, owner: str, id: str, written: list[bytes], most: int | None = None) -> None:
        """Add items as JSON. most: bytes of all items. Raises NotFound when the conversation was deleted, Full."""
        if await self._store.append(entry_name(owner, id), written, time() + self._ttl, most=most) is None:
            raise not_found(id)

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


def _own(id: str, items: Sequence[Any]) -> tuple[list[Item], list[bytes]]:
    """A caller's items as they are stored, and as JSON."""
    own = named(items, id.removeprefix("conv_") + secrets.token_hex(4))
    return own, list(map(jsontext.dumps, own))


def _is_heavy(page: Sequence[tuple[int, bytes]]) -> bool:
    return sum(len(raw) for _, raw in page) > bodies.LONG


def _any(see: Callable[[int, bytes], bool | None], page: Sequence[tuple[int, bytes]]) -> bool:
    return any(see(number, raw) for number, raw in page)


def check_room(weight: int, written: Sequence[bytes]) -> None:
    """Raise ClientFault (context_too_long) if a conversation could not be continued with a request's own items. weight: its bytes."""
    if weight + sum(map(len, written)) > WEIGHT_LIMIT:
        raise _too_long(_WITH_THESE, "input")


_WITH_THESE = "with these it could not be continued."


def _too_long(why: str, param: str) -> errors.GatewayError:
    message = f"A conversation can have {WEIGHT_LIMIT >> 20} MB of items: {why}"
    return errors.ClientFault(message, kind="context_too_long", param=param)


def conversation_id(value: Any) -> str:
    """The id that a request's `conversation` names, as a string or in an object. Raises WrongType."""
    id = value.get("id") if isinstance(value, dict) else value
    if not isinstance(id, str):
        raise errors.WrongType("`conversation` must be an id, or an object with one.", param="conversation")
    return id


def not_found(id: str) -> errors.GatewayError:
    return errors.NotFound(f"Conversation with id '{id[:256]}' not found.")
