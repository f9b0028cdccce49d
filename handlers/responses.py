"""What the Responses API lets a caller do with a stored response: read it, read its input, delete it, cancel it."""

from __future__ import annotations

from ..codecs import errors
from ..proxy import headers as travel
from ..proxy.state import Record
from .base import Handler

PAGE = 20  # items of a list when the caller names no limit


class _OverState(Handler):
    shape = "responses"

    async def record(self, id: str) -> Record:
        """The caller's own record. Raises Unauthorized, NotFound."""
        owner = self.gateway.access.admit(travel.credential(self.request.headers, "responses"))
        record = await self.gateway.state.owned(id, owner)
        if record is None:
            raise errors.NotFound(f"Response with id '{id[:100]}' not found.")
        return record


class Stored(_OverState):
    """GET and DELETE /v1/responses/{id}."""

    async def get(self, id: str) -> None:
        record = await self.record(id)
        if self.get_query_argument("stream", "false").lower() == "true":
            raise errors.ClientFault("Only background responses that were streamed can be streamed again.", param="stream")
        self.write(record.response)

    async def delete(self, id: str) -> None:
        await self.record(id)
        await self.gateway.state.store.delete(id)
        self.write({"id": id, "object": "response", "deleted": True})


class Cancel(_OverState):
    """POST /v1/responses/{id}/cancel: only background work can be cancelled."""

    async def post(self, id: str) -> None:
        await self.record(id)
        raise errors.ClientFault("Cannot cancel a synchronous response.")


class InputItems(_OverState):
    """GET /v1/responses/{id}/input_items."""

    async def get(self, id: str) -> None:
        items = (await self.record(id)).input_items
        if self.get_query_argument("order", "desc") == "desc":
            items = items[::-1]
        after = self.get_query_argument("after", None)
        if after is not None:
            ids = [item.get("id") for item in items]
            if after not in ids:
                raise errors.ClientFault(f"Item with id '{after[:100]}' not found.", param="after")
            items = items[ids.index(after) + 1 :]
        given = self.get_query_argument("limit", str(PAGE))
        if not given.isdecimal() or not 1 <= int(given[:5]) <= 100:
            raise errors.ClientFault("`limit` must be between 1 and 100.", param="limit")
        page = items[: int(given)]
        self.write(
            {
                "object": "list",
                "data": page,
                "first_id": page[0].get("id") if page else None,
                "last_id": page[-1].get("id") if page else None,
                "has_more": len(page) < len(items),
            }
        )
