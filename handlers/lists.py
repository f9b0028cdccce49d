"""Pagination as in the OpenAI API: `order`, `limit`, `after` and `before` in the query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tornado.web import RequestHandler

from ..codecs import errors

PAGE = 20  # items by default
LONGEST = 100  # items at most


class Window(NamedTuple):
    """The items that a query asks for. after, before: ids."""

    newest_first: bool
    limit: int
    after: str | None
    before: str | None

    def cut(self, numbers: Sequence[int], places: Mapping[str, int]) -> tuple[Sequence[int], bool]:
        """Those of these numbers, oldest first, that it shows, and whether there are more. places: the number of an id.

        Raises ClientFault.
        """
        ordered = numbers[::-1] if self.newest_first else numbers
        if self.after is not None:
            ordered = ordered[_place(ordered, places, self.after, "after") + 1 :]
        if self.before is not None:
            ordered = ordered[: _place(ordered, places, self.before, "before")]
        shown = ordered[: self.limit] if self.before is None or self.after is not None else ordered[-self.limit :]
        return shown, len(shown) < len(ordered)


def window(handler: RequestHandler) -> Window:
    """Raises ClientFault."""
    order = handler.get_query_argument("order", "desc")
    if order not in ("asc", "desc"):
        raise errors.ClientFault("`order` must be asc or desc.", code="invalid_value", param="order")
    after, before = handler.get_query_argument("after", None), handler.get_query_argument("before", None)
    return Window(order == "desc", _limit(handler), after, before)


def page(handler: RequestHandler, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The page that the query requests of these items, which are in order, oldest first. Raises ClientFault."""
    places = {item["id"]: number for number, item in reversed(list(enumerate(items)))}  # of several the first
    shown, more = window(handler).cut(range(len(items)), places)
    return whole([items[number] for number in shown], more)


def whole(items: Sequence[dict[str, Any]], more: bool = False) -> dict[str, Any]:
    """A list object of all these items."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": more,
    }


def size(text: str, most: int) -> int | None:
    """The number of items that a query wants; None if that is not between 1 and `most`, which has four digits at most."""
    return int(text) if len(text) <= 4 and text.isdecimal() and 1 <= int(text) <= most else None


def _limit(handler: RequestHandler) -> int:
    limit = size(handler.get_query_argument("limit", str(PAGE)), LONGEST)
    if limit is None:
        raise errors.ClientFault(f"`limit` must be between 1 and {LONGEST}.", code="invalid_value", param="limit")
    return limit


def _place(ordered: Sequence[int], places: Mapping[str, int], id: str, param: str) -> int:
    if id not in places or places[id] not in ordered:
        raise errors.ClientFault(f"Item with id '{id[:256]}' not found.", param=param)
    return ordered.index(places[id])
