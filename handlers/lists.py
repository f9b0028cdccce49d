"""Pagination as in the OpenAI API: `order`, `limit`, `after` and `before` in the query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tornado.web import RequestHandler

from ..codecs import errors

PAGE = 20  # items by default
LONGEST = 100  # items at most


def page(handler: RequestHandler, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The page that the query requests of these items, which are in order, oldest first. Raises ClientFault."""
    order = handler.get_query_argument("order", "desc")
    if order not in ("asc", "desc"):
        raise errors.ClientFault("`order` must be asc or desc.", code="invalid_value", param="order")
    ordered = list(items) if order == "asc" else list(reversed(items))
    limit = _limit(handler)
    after, before = handler.get_query_argument("after", None), handler.get_query_argument("before", None)
    if after is not None:
        ordered = ordered[_place(ordered, after, "after") + 1 :]
    if before is not None:
        ordered = ordered[: _place(ordered, before, "before")]
    shown = ordered[:limit] if before is None or after is not None else ordered[-limit:]
    return whole(shown) | {"has_more": len(shown) < len(ordered)}


def whole(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A list object of all these items."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": False,
    }


def size(text: str, most: int) -> int | None:
    """The number of items that a query wants; None if that is not between 1 and `most`, which has four digits at most."""
    return int(text) if len(text) <= 4 and text.isdecimal() and 1 <= int(text) <= most else None


def _limit(handler: RequestHandler) -> int:
    limit = size(handler.get_query_argument("limit", str(PAGE)), LONGEST)
    if limit is None:
        raise errors.ClientFault(f"`limit` must be between 1 and {LONGEST}.", code="invalid_value", param="limit")
    return limit


def _place(items: Sequence[dict[str, Any]], id: str, param: str) -> int:
    for place, item in enumerate(items):
        if item["id"] == id:
            return place
    raise errors.ClientFault(f"Item with id '{id[:256]}' not found.", param=param)
