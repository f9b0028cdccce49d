"""Stored responses: what a record consists of, and the chain that `previous_response_id` links.

A record holds only its own input and output items and the ids of its nearest ancestors, so that a chain of a thousand records is read
in a few batches. It also holds the depth and the weight in bytes of its chain: a chain that is too long is refused before it is read.
An id is visible only to the access key that created it: the key's owner is part of the name of every entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import time
from typing import Any

from ...codecs import errors, jsontext, reasoning
from ...codecs.ids import digest
from .stores import Entry, Store

Item = dict[str, Any]

CHAIN_LIMIT = 1000  # records in a chain
WEIGHT_LIMIT = 32 * 1024 * 1024  # bytes of the items of a chain or a conversation
NEAREST = 32  # ancestors that a record names
REFERENCES_LIMIT = 1000  # item_references in a request
NAMES_LIMIT = 1000  # upstream names in a request, and those recorded of one answer

FINAL = frozenset({"completed", "incomplete", "failed", "cancelled"})

# members of a stored reasoning item that callers do not see: what its provider requires in a later request, and its domain
PRIVATE = frozenset({"dragoman_blocks", "dragoman_text", "dragoman_domain"})

# the members of a record's head besides its items
_HEAD = (
    "created_at",
    "status",
    "parent",
    "ancestors",
    "depth",
    "above",
    "weight",
    "conversation",
    "upstream",
    "background",
    "stream",
)

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
_NONCE = re.compile(r"_([0-9a-f]{32})")
_PREFIXES = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "custom_tool_call": "ctc_",
    "custom_tool_call_output": "ctco_",
}


@dataclass(slots=True)
class Record:
    """A response that the gateway stores. created_at: seconds since the epoch."""

    id: str
    created_at: float
    status: str
    input: list[Item]
    output: list[Item]  # also of a failed or cancelled response, though requests that continue it leave it out
    response: Item = field(default_factory=dict)  # the response object without its output; {} when only the items were read
    parent: str | None = None
    ancestors: list[str] = field(default_factory=list)  # at most NEAREST ids, the parent first
    depth: int = 1
    above: int = 0  # bytes of the items of all ancestors
    weight: int = 0  # `above` plus the bytes of its own items; set by Records.put
    conversation: str | None = None
    upstream: str = ""
    background: bool = False
    stream: bool = False
    written: bytes = b""  # the input as JSON, of a record that is to be stored; `input` is empty then

    @property
    def final(self) -> bool:
        return self.status in FINAL

    @property
    def continued_items(self) -> list[Item]:
        """The items of this response that precede the input of a request that continues it."""
        return self.input + (self.output if self.counts else [])

    @property
    def counts(self) -> bool:
        """Whether requests that continue it have its output in their history."""
        return self.status not in ("failed", "cancelled")

    def shown(self) -> Item:
        """The response object as callers see it."""
        return self.response | {"output": [_sealed(item) for item in self.output]}


@dataclass(slots=True)
class Native:
    """A response that an upstream stores. provider: the router's mark of the upstream. model: as the caller requested it.

    background: the upstream runs it in the background; its usage is known when a caller reads it.
    """

    provider: str
    model: str | None
    background: bool = False


def known(id: Any) -> bool:
    """Whether a value from a caller or an upstream has the form of an id."""
    return isinstance(id, str) and _ID.fullmatch(id) is not None


def entry_name(owner: str, id: str) -> str:
    return f"{digest(owner, 16)}/{id}"


def share(owner: str) -> str:
    """The share of the store that an owner's entries count against; "" when callers have no keys."""
    return digest(owner, 16) if owner else ""


def public(item: Item) -> Item:
    """The item without the gateway's private members."""
    return {key: value for key, value in item.items() if key not in PRIVATE} if PRIVATE & item.keys() else item


def _sealed(item: Item) -> Item:
    """The item as callers see it. Of reasoning only what is inside of its envelope is stored."""
    blocks, text, domain = item.get("dragoman_blocks"), item.get("dragoman_text"), item.get("dragoman_domain", "")
    if item.get("encrypted_content") or not (blocks or text):
        return public(item)
    return public(item) | {"encrypted_content": reasoning.seal_blocks(domain, blocks) if blocks else reasoning.seal_text(domain, text)}


def named(items: Iterable[Any], nonce: str) -> list[Item]:
    """The items of a request as they are stored: each with a type and an id, which is minted where the caller gave none.

    A minted id contains the nonce of its response or conversation, through which the item can be found.
    """
    complete = []
    for number, item in enumerate(item for item in items if isinstance(item, dict)):
        kind = item.get("type") or "message"
        if not isinstance(item.get("id"), str):
            item = item | {"id": f"{_PREFIXES.get(str(kind), 'item_')}{nonce}{number:04x}"}
        complete.append(item if item.get("type") else item | {"type": kind})
    return complete


def continued(parent: Record) -> dict[str, Any]:
    """The fields of a record that link it to its parent."""
    nearest = [parent.id, *parent.ancestors][:NEAREST]
    return {"parent": parent.id, "ancestors": nearest, "depth": parent.depth + 1, "above": parent.weight}


def listed(item: Item) -> Item:
    """An input item as list endpoints show it: with its content as parts, and a status."""
    item = _sealed(item)
    if item.get("type") == "message":
        content = item.get("content")
        if isinstance(content, str):
            part: Item = {"type": "input_text", "text": content}
            if item.get("role") == "assistant":
                part = {"type": "output_text", "text": content, "annotations": [], "logprobs": []}
            item = item | {"content": [part]}
    return item if item.get("status") or item.get("type") == "reasoning" else item | {"status": "completed"}


class Records:
    """The responses of all callers, in a store."""

    def __init__(self, store: Store, ttl: float) -> None:
        self._store = store
        self._ttl = ttl

    async def find(self, owner: str, id: Any) -> Record | Native | None:
        """Return the record of an id without its response object; None when there is none."""
        if not known(id):
            return None
        raw = (await self._store.get([entry_name(owner, id)], "head"))[0]
        return None if raw is None else _head(id, raw)

    async def whole(self, owner: str, id: Any) -> Record | Native | None:
        """As `find`, with the response object."""
        while isinstance(record := await self.find(owner, id), Record):
            raw = (await self._store.get([entry_name(owner, id)], "object"))[0]
            if raw is None:
                return None  # deleted in the meantime
            record.response = jsontext.loads(raw)
            if record.response["status"] == record.status:
                break  # otherwise it was written again in the meantime
        return record

    async def put(self, owner: str, record: Record) -> None:
        input, output = record.written or jsontext.dumps(record.input), jsontext.dumps(record.output)
        record.weight = record.above + len(input) + len(output)
        rest = {name: getattr(record, name) for name in _HEAD}
        head = b'{"input":%b,"output":%b,%b' % (input, output, jsontext.dumps(rest)[1:])
        response = dict(record.response)
        response.pop("output", None)
        parts = {"head": head, "object": jsontext.dumps(response)}
        own = entry_name(owner, record.id)
        aliases = tuple(entry_name(owner, item["id"]) for item in record.output if known(item.get("id")))
        await self._store.put(Entry(own, parts, record.created_at + self._ttl, aliases, share(owner)))

    async def claim(self, owner: str, id: str, native: Native, names: Iterable[str] = ()) -> None:
        """Record which upstream stores a response, its owner, and the upstream names that the answer contains."""
        if known(id):
            head = jsontext.dumps({"native": native.provider, "model": native.model, "background": native.background})
            aliases = tuple(entry_name(owner, name) for name in islice(filter(known, names), NAMES_LIMIT))
            await self._store.put(Entry(entry_name(owner, id), {"head": head}, time() + self._ttl, aliases, share(owner)))

    async def owned(self, owner: str, names: Iterable[str]) -> set[str]:
        """The names among these that an answer has given to this owner. Raises ClientFault above NAMES_LIMIT."""
        wanted = [name for name in dict.fromkeys(names) if known(name)]
        if len(wanted) > NAMES_LIMIT:
            raise errors.ClientFault(f"More than {NAMES_LIMIT} references to files, containers and similar objects.", param="input")
        places = await self._store.resolve([entry_name(owner, name) for name in wanted]) if wanted else []
        return {name for name, place in zip(wanted, places, strict=True) if place is not None}

    async def charge(self, owner: str, id: str, holder: str) -> bool:
        """Whether this holder is the first to ask, and therefore charges the usage of a background response."""
        return await self._store.lease(f"{entry_name(owner, id)}/charge", holder, self._ttl)

    async def delete(self, owner: str, id: str) -> None:
        await self._store.delete(entry_name(owner, id))

    async def chain(self, owner: str, last: Record) -> list[Record]:
        """The record and all its ancestors, oldest first.

        Raises ClientFault: context_too_long above the limits, previous_response_not_found when a link was deleted.
        """
        if last.depth > CHAIN_LIMIT or last.weight > WEIGHT_LIMIT:
            raise too_long("previous_response_id")
        links = [last]
        while links[-1].ancestors:
            wanted = links[-1].ancestors
            for id, raw in zip(wanted, await self._store.get([entry_name(owner, id) for id in wanted], "head"), strict=True):
                link = None if raw is None else _head(id, raw)
                if not isinstance(link, Record):
                    raise previous_not_found(id)
                links.append(link)
        return links[::-1]

    async def items(self, owner: str, ids: Sequence[str]) -> dict[str, Item]:
        """The stored items with these ids, from any response of the owner. Raises ClientFault above REFERENCES_LIMIT."""
        wanted = [id for id in dict.fromkeys(ids) if known(id)]
        if len(wanted) > REFERENCES_LIMIT:
            raise errors.ClientFault(f"More than {REFERENCES_LIMIT} item references.", param="input")
        places = await self._store.resolve([entry_name(owner, id) for id in wanted])
        names = {name for name in places if name} | {entry_name(owner, f"resp_{nonce[1]}") for id in wanted if (nonce := _NONCE.search(id))}
        items: dict[str, Item] = {}
        for raw in await self._store.get(sorted(names), "head") if names else []:
            record = None if raw is None else _head("", raw)
            if isinstance(record, Record):
                items.update((item["id"], item) for item in record.input + record.output if isinstance(item.get("id"), str))
        return {id: items[id] for id in wanted if id in items}


def conversation_of(item_id: str) -> str | None:
    """The id of the conversation that a minted item id may belong to; None for other ids."""
    nonce = _NONCE.search(item_id)
    return f"conv_{nonce[1]}" if nonce else None


def _head(id: str, raw: bytes) -> Record | Native:
    head = jsontext.loads(raw)
    if "native" in head:
        return Native(head["native"], head["model"], head.get("background", False))
    return Record(id=id, **head)


# ---- errors ----


def previous_not_found(id: str, why: str = "") -> errors.GatewayError:
    message = f"Previous response with id '{id[:256]}' not found.{why}"
    return errors.ClientFault(message, code="previous_response_not_found", param="previous_response_id")


def too_long(param: str) -> errors.GatewayError:
    return errors.ClientFault("The conversation is too long to be continued.", kind="context_too_long", param=param)
