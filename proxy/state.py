"""The memory of the Responses API: what was said under a response's id, so that `previous_response_id` works over any upstream.

A record holds one response's own input and output items and its parent's id; a conversation is the chain of records. Tool calls
are kept as tool calls, and reasoning as its provider wants it back. Ids belong to the key that made them: to another caller they
do not exist.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from time import time
from typing import Any, Protocol

from ..codecs import errors, responses

CHAIN_LIMIT = 1000  # records of one conversation


@dataclass(slots=True)
class Record:
    """One stored response. Times are seconds since the epoch."""

    id: str
    owner: str  # the access key's name; "" without access keys
    created_at: float
    expires_at: float
    parent: str | None
    input_items: list[dict[str, Any]]
    output_items: list[dict[str, Any]]
    response: dict[str, Any] = field(default_factory=dict)


class Store(Protocol):
    """Where records are kept. A store that cannot answer raises errors.GatewayError."""

    async def put(self, record: Record) -> None: ...
    async def get(self, id: str) -> Record | None: ...
    async def delete(self, id: str) -> None: ...
    async def close(self) -> None: ...


class MemoryStore:
    """Within this process: the oldest record goes when there are too many, and each goes when it expires."""

    def __init__(self, max_entries: int, clock: Callable[[], float] = time) -> None:
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._max_entries = max_entries
        self._clock = clock

    async def put(self, record: Record) -> None:
        self._records[record.id] = record
        self._records.move_to_end(record.id)
        while len(self._records) > self._max_entries or self._oldest_expired():
            self._records.popitem(last=False)

    def _oldest_expired(self) -> bool:
        return bool(self._records) and next(iter(self._records.values())).expires_at <= self._clock()

    async def get(self, id: str) -> Record | None:
        record = self._records.get(id)
        if record is not None and record.expires_at <= self._clock():
            del self._records[id]
            return None
        return record

    async def delete(self, id: str) -> None:
        self._records.pop(id, None)

    async def close(self) -> None:
        self._records.clear()


@dataclass(slots=True)
class Prior:
    """The stored items that stand before a request's own input, oldest first."""

    stored: list[dict[str, Any]]

    def items(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The whole input: what is stored, then the request's own."""
        return self.stored + own_input(body)

    def inlined(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body with the stored items written out, for an upstream of the same shape that does not know the id."""
        told = {key: value for key, value in body.items() if key != "previous_response_id"}
        stored = [{key: value for key, value in item.items() if key not in responses.PRIVATE} for item in self.stored]
        told["input"] = stored + own_input(body)
        return told


def own_input(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The request's own input as a list of items."""
    given = body.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return given if isinstance(given, list) else []


def not_found(id: str) -> errors.GatewayError:
    return errors.ClientFault(
        f"Previous response with id '{id}' not found.", code="previous_response_not_found", param="previous_response_id"
    )


class State:
    """The Responses API's memory over a store."""

    def __init__(self, store: Store, ttl: float) -> None:
        """ttl: seconds that a record is kept."""
        self.store = store
        self._ttl = ttl

    async def prior(self, body: dict[str, Any], owner: str) -> Prior | None:
        """What stands before this request; None when it continues nothing, or something that is not ours.

        Raises ClientFault (previous_response_not_found) when a link of the chain is gone.
        """
        previous = body.get("previous_response_id")
        if previous is None:
            return None
        if not isinstance(previous, str):
            raise errors.WrongType("`previous_response_id` must be a string.", param="previous_response_id")
        record = await self.owned(previous, owner)
        if record is None:
            return None
        chain = [record]
        while record.parent is not None:
            parent, record = record.parent, await self.owned(record.parent, owner)
            if record is None:
                raise not_found(parent)
            chain.append(record)
            if len(chain) > CHAIN_LIMIT:
                raise errors.ClientFault("The conversation has too many turns.", kind="context_too_long", param="previous_response_id")
        return Prior([item for link in reversed(chain) for item in link.input_items + link.output_items])

    async def owned(self, id: str, owner: str) -> Record | None:
        record = await self.store.get(id)
        return record if record is not None and record.owner == owner else None

    async def remember(self, body: dict[str, Any], prior: Prior | None, answer: Any, owner: str) -> None:
        """Store a finished answer, unless the request says `store: false`. answer: the responses encoder or collector that made it."""
        if body.get("store") is False:
            return
        response: dict[str, Any] = answer.response
        output = [dict(item) for item in response["output"]] if response["status"] != "failed" else []
        for index, raw in answer.raw_reasoning.items():
            if index < len(output):
                output[index]["dragoman_blocks" if isinstance(raw, list) else "dragoman_text"] = raw
        now = time()
        await self.store.put(
            Record(
                id=response["id"],
                owner=owner,
                created_at=now,
                expires_at=now + self._ttl,
                parent=body["previous_response_id"] if prior is not None else None,
                input_items=responses.input_items(body),
                output_items=output,
                response=response,
            )
        )
