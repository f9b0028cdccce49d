"""Stored responses: what one consists of, and the chain that `previous_response_id` makes of them.

Each record holds its own input and output items only, and the ids of its nearest ancestors, so that a conversation of a thousand
turns is read in a few questions. How deep and how heavy the chain is by now stands in every record: a chain that is too long is
refused before it is read. Ids belong to the access key that made them: they are part of every entry's name, and to another caller
they do not exist.
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

CHAIN_LIMIT = 1000  # records of one conversation
WEIGHT_LIMIT = 32 * 1024 * 1024  # bytes of a conversation's items
NEAREST = 32  # ancestors that a record names
REFERENCES_LIMIT = 1000  # item_references of one request
NAMES_LIMIT = 1000  # names of an upstream's things that one request may use, or that are remembered of one answer

FINAL = frozenset({"completed", "incomplete", "failed", "cancelled"})

# members of a stored item that are the gateway's own: what a provider wants back of reasoning, and whose it is
PRIVATE = frozenset({"dragoman_blocks", "dragoman_text", "dragoman_domain"})

# what stands in a record's head besides its items
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
    """One stored response of the gateway's own. created_at: seconds since the epoch."""

    id: str
    created_at: float
    status: str
    input: list[Item]
    output: list[Item]  # a failed or cancelled response's too, though no request continues with it
    response: Item = field(default_factory=dict)  # the response object without its output; {} when only the items were read
    parent: str | None = None
    ancestors: list[str] = field(default_factory=list)  # the nearest first, the parent included
    depth: int = 1
    above: int = 0  # bytes of the items of all its ancestors
    weight: int = 0  # of its own besides; known once it is written
    conversation: str | None = None
    upstream: str = ""
    background: bool = False
    stream: bool = False

    @property
    def final(self) -> bool:
        return self.status in FINAL

    @property
    def continued_items(self) -> list[Item]:
        """The items that a request which continues this response begins with."""
        return self.input + (self.output if self.status not in ("failed", "cancelled") else [])

    def shown(self, encrypted: bool = False) -> Item:
        """The response object as callers see it. encrypted: with what reasoning is replayed by, where that may be shown."""
        return self.response | {"output": [_sealed(item) if encrypted else public(item) for item in self.output]}


@dataclass(slots=True)
class Native:
    """A response that an upstream stores itself. provider: the entry's name. model: what the caller asked for.

    background: it runs there on its own, and what it has used is learned when somebody reads it.
    """

    provider: str
    model: str | None
    background: bool = False


def known(id: Any) -> bool:
    """Whether a text from outside could be an id at all."""
    return isinstance(id, str) and _ID.fullmatch(id) is not None


def entry_name(owner: str, id: str) -> str:
    return f"{digest(owner, 16)}/{id}"


def share(owner: str) -> str:
    """What an owner's entries count against; nothing where all callers are one."""
    return digest(owner, 16) if owner else ""


def public(item: Item) -> Item:
    """The item without what is the gateway's own."""
    return {key: value for key, value in item.items() if key not in PRIVATE} if PRIVATE & item.keys() else item


def _sealed(item: Item) -> Item:
    blocks = item.get("dragoman_blocks")
    if not blocks or item.get("encrypted_content"):
        return public(item)
    return public(item) | {"encrypted_content": reasoning.seal_blocks(item.get("dragoman_domain", ""), blocks)}


def named(items: Iterable[Any], nonce: str, start: int = 0) -> list[Item]:
    """The items of a request as they are stored: each with a type and an id, the caller's own where it has one.

    A minted id holds the nonce of the response or conversation that it belongs to, so that it can be found by it.
    """
    complete = []
    for number, item in enumerate((item for item in items if isinstance(item, dict)), start):
        kind = item.get("type") or "message"
        if not isinstance(item.get("id"), str):
            item = item | {"id": f"{_PREFIXES.get(str(kind), 'item_')}{nonce}{number:04x}"}
        complete.append(item if item.get("type") else item | {"type": kind})
    return complete


def continued(parent: Record) -> dict[str, Any]:
    """The fields of a record that tell of its place behind another."""
    nearest = [parent.id, *parent.ancestors][:NEAREST]
    return {"parent": parent.id, "ancestors": nearest, "depth": parent.depth + 1, "above": parent.weight}


def listed(item: Item) -> Item:
    """An input item as lists show it: content as parts, and a status."""
    item = public(item)
    if item.get("type") == "message":
        content = item.get("content")
        if isinstance(content, str):
            part: Item = {"type": "input_text", "text": content}
            if item.get("role") == "assistant":
                part = {"type": "output_text", "text": content, "annotations": [], "logprobs": []}
            item = item | {"content": [part]}
    return item if item.get("status") or item.get("type") == "reasoning" else item | {"status": "completed"}


class Records:
    """The responses of all callers, over a store."""

    def __init__(self, store: Store, ttl: float) -> None:
        self._store = store
        self._ttl = ttl

    async def find(self, owner: str, id: Any) -> Record | Native | None:
        """What is known of an id; of a record its items, not the response object."""
        if not known(id):
            return None
        raw = (await self._store.get([entry_name(owner, id)], "head"))[0]
        return None if raw is None else _head(id, raw)

    async def whole(self, owner: str, id: Any) -> Record | Native | None:
        """As `find`, with the response object."""
        while isinstance(record := await self.find(owner, id), Record):
            raw = (await self._store.get([entry_name(owner, id)], "object"))[0]
            if raw is None:
                return None  # deleted in between
            record.response = jsontext.loads(raw)
            if record.response["status"] == record.status:
                break  # else it was written anew in between
        return record

    async def put(self, owner: str, record: Record) -> None:
        input, output = jsontext.dumps(record.input), jsontext.dumps(record.output)
        record.weight = record.above + len(input) + len(output)
        rest = {name: getattr(record, name) for name in _HEAD}
        head = b'{"input":%b,"output":%b,%b' % (input, output, jsontext.dumps(rest)[1:])
        response = {key: value for key, value in record.response.items() if key != "output"}
        parts = {"head": head, "object": jsontext.dumps(response)}
        own = entry_name(owner, record.id)
        aliases = tuple(entry_name(owner, item["id"]) for item in record.output if known(item.get("id")))
        await self._store.put(Entry(own, parts, record.created_at + self._ttl, aliases, share(owner)))

    async def claim(self, owner: str, id: str, native: Native, names: Iterable[str] = ()) -> None:
        """Remember which upstream stores a response, whose it is, and what else of the upstream's it named."""
        if known(id):
            head = jsontext.dumps({"native": native.provider, "model": native.model, "background": native.background})
            aliases = tuple(entry_name(owner, name) for name in islice(filter(known, names), NAMES_LIMIT))
            await self._store.put(Entry(entry_name(owner, id), {"head": head}, time() + self._ttl, aliases, share(owner)))

    async def owned(self, owner: str, names: Iterable[str]) -> set[str]:
        """Which of these an answer has named to this owner."""
        wanted = [name for name in dict.fromkeys(names) if known(name)]
        if len(wanted) > NAMES_LIMIT:
            raise errors.ClientFault(f"More than {NAMES_LIMIT} names of files and the like.", param="input")
        places = await self._store.resolve([entry_name(owner, name) for name in wanted]) if wanted else []
        return {name for name, place in zip(wanted, places, strict=True) if place is not None}

    async def charge(self, owner: str, id: str, holder: str) -> bool:
        """Whether what a background response has used is to be charged by this holder: it is by the first that asks."""
        return await self._store.lease(f"{entry_name(owner, id)}/charge", holder, self._ttl)

    async def delete(self, owner: str, id: str) -> None:
        await self._store.delete(entry_name(owner, id))

    async def chain(self, owner: str, last: Record) -> list[Record]:
        """The record and all its ancestors, the oldest first.

        Raises ClientFault: context_too_long over the limits, previous_response_not_found when a link is gone.
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
        """The stored items with these ids, in whatever response of the owner they stand."""
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
    """The conversation that a minted item id names, if it is one of those."""
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
