"""The Conversations API: create, read, update and delete. Conversations are stored by the gateway, whichever model is used in them."""

from __future__ import annotations

from typing import Any

from ..codecs import errors, jsontext
from ..proxy.memory.conversations import Conversation
from ..proxy.memory.conversations import Conversations as ConversationStore
from ..proxy.memory.records import Item, listed
from ..proxy.wire import bodies
from ..proxy.wire import headers as travel
from . import lists
from .base import Handler

ITEMS_AT_ONCE = 20
METADATA = (16, 64, 512)  # maximum of pairs, and of characters of a name and of a value


class _OverConversations(Handler):
    shape = "responses"
    takes = frozenset({"POST"})

    def prepare(self) -> None:
        """Raises Unauthorized, TooLarge, Overloaded."""
        super().prepare()
        headers, services = self.request.headers, self.services
        name = services.access.admit(travel.key(headers, "responses")).name
        self.owner = services.owner(name, travel.credential(headers, "responses"))

    @property
    def conversations(self) -> ConversationStore:
        return self.services.state.conversations

    async def object(self) -> dict[str, Any]:
        """The request's JSON object; {} for an empty body. Raises Malformed, TooLarge."""
        body = await self.body()
        if not body.strip():
            return {}
        return (await bodies.scan(body, self.gateway.config.limits.max_values)).value


class Conversations(_OverConversations):
    """POST /v1/conversations."""

    async def post(self) -> None:
        body = await self.object()
        value = body.get("items")
        items = [] if value is None else _items(value)
        made = await self.conversations.create(self.owner, items, _metadata(body))
        self.write(made.shown())


class One(_OverConversations):
    """GET, POST and DELETE /v1/conversations/{id}."""

    async def get(self, id: str) -> None:
        self.write((await self.conversations.find(self.owner, id)).shown())

    async def post(self, id: str) -> None:
        conversation = await self.conversations.find(self.owner, id)
        body = await self.object()
        if "metadata" not in body:
            raise errors.Missing("`metadata` is required.", param="metadata")
        conversation.metadata = _metadata(body)
        await self.conversations.update(self.owner, conversation)
        self.write(conversation.shown())

    async def delete(self, id: str) -> None:
        await self.conversations.find(self.owner, id)
        await self.conversations.delete(self.owner, id)
        self.write({"id": id, "object": "conversation.deleted", "deleted": True})


class Items(_OverConversations):
    """GET and POST /v1/conversations/{id}/items."""

    async def get(self, id: str) -> None:
        await self.conversations.find(self.owner, id)
        window = lists.window(self)
        cursors = filter(None, (window.after, window.before))
        page = await self.conversations.page(self.owner, id, cursors, window.cut, _page)
        self.begin_json()
        self.write(page)

    async def post(self, id: str) -> None:
        await self.conversations.find(self.owner, id)
        added = await self.conversations.add(self.owner, id, _items((await self.object()).get("items")))
        self.write(lists.whole([listed(item) for item in added]))


class OneItem(_OverConversations):
    """GET and DELETE /v1/conversations/{id}/items/{item_id}."""

    async def _item(self, id: str, item_id: str) -> tuple[Conversation, int, Item]:
        conversation = await self.conversations.find(self.owner, id)
        numbered = await self.conversations.item(self.owner, id, item_id)
        if numbered is None:
            raise errors.NotFound(f"Item with id '{item_id[:256]}' not found.")
        return conversation, *numbered

    async def get(self, id: str, item_id: str) -> None:
        _, _, item = await self._item(id, item_id)
        self.write(listed(item))

    async def delete(self, id: str, item_id: str) -> None:
        conversation, number, _ = await self._item(id, item_id)
        await self.conversations.remove(self.owner, id, number)
        self.write(conversation.shown())


def _page(items: list[Item], more: bool) -> bytes:
    return jsontext.dumps(lists.whole([listed(item) for item in items], more))


def _items(value: Any) -> list[Item]:
    """Validate items to add. Raises ClientFault."""
    if not isinstance(value, list):
        raise errors.WrongType("`items` must be a list.", param="items")
    if len(value) > ITEMS_AT_ONCE:
        raise errors.ClientFault(f"At most {ITEMS_AT_ONCE} items can be added at a time.", code="array_above_max_length", param="items")
    for place, item in enumerate(value):
        if not isinstance(item, dict) or not isinstance(item.get("type", item.get("role")), str):
            raise errors.WrongType(f"`items[{place}]` is not an item.", param=f"items[{place}]")
    return value


def _metadata(body: dict[str, Any]) -> dict[str, str]:
    """The body's metadata, validated; {} if it has none. Raises ClientFault."""
    metadata = body.get("metadata")
    if metadata is None:
        return {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise errors.WrongType("`metadata` must be an object of strings.", param="metadata")
    pairs, name, value = METADATA
    if len(metadata) > pairs or any(len(k) > name or len(v) > value for k, v in metadata.items()):
        message = f"`metadata` can have at most {pairs} pairs, names of {name} and values of {value} characters."
        raise errors.ClientFault(message, code="invalid_value", param="metadata")
    return metadata
