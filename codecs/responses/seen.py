"""The state of a responses upstream's items while they are streamed, and their match with complete items."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from ..anything import dict_of, str_of
from ..jsontext import SurrogateJoiner
from ..tools import ToolText

_Value = dict[str, Any]


@dataclass(slots=True)
class SeenPart:
    """What was received of one content or summary part. open: its hub part is the current one."""

    streamed: bool = False
    cited: int = 0  # number of annotations received


@dataclass(slots=True, eq=False)
class SeenItem:
    """One output item upstream."""

    index: int
    kind: str  # its type; "" before it is known
    order: int  # number of items before it
    id: str = ""
    call_id: str = ""
    part: int = -1  # its open hub part
    parts: dict[tuple[str, int], SeenPart] = field(default_factory=dict)  # by kind of text and index in the item
    place: tuple[str, int] = ("", -1)  # the key in `parts` of the open hub part
    announced: bool = False
    done: bool = False
    plain: bool = True  # its text is passed on unchanged: no surrogate half, no unwrapping, no logprobs
    source: str = ""  # reasoning: the kind of text received first; the other kind repeats it
    text_sent: bool = False  # reasoning: some text was passed on
    thought: tuple[str, int] = ("", -1)  # reasoning: the kind and index of the text last passed on in the open hub part
    waiting: list[tuple[str, _Value]] = field(default_factory=list)  # events received before the item's turn
    joiner: SurrogateJoiner | None = None  # only after a lone surrogate was received
    # calls
    held: list[str] = field(default_factory=list)  # argument text received before the name
    streamed: bool = False
    begun: bool = False  # some arguments were passed on
    null: str = ""  # the beginning of the arguments, while it may become null
    text: ToolText | None = None


_ORDER = attrgetter("order")


class SeenItems:
    """The items of one answer. of: by index. unfinished: those that are not done, in the order in which they came. newest: the highest
    index.
    """

    __slots__ = ("_by_id", "newest", "of", "unfinished")

    def __init__(self) -> None:
        self.of: dict[int, SeenItem] = {}
        self.unfinished: dict[int, SeenItem] = {}
        self.newest = -1
        self._by_id: dict[str, list[SeenItem]] = {}  # those that have or had an id or call id, the one that came last behind the others

    def add(self, index: int, plain: bool) -> SeenItem:
        item = SeenItem(index, "", len(self.of), plain=plain)
        self.of[index] = self.unfinished[index] = item
        self.newest = max(self.newest, index)
        return item

    def name(self, item: SeenItem, id: str, call_id: str) -> None:
        """Set what is known of an item's ids; some providers change them."""
        if id and id != item.id:
            item.id = id
            insort(self._by_id.setdefault(id, []), item, key=_ORDER)
        if call_id and call_id != item.call_id:
            item.call_id = call_id
            insort(self._by_id.setdefault(call_id, []), item, key=_ORDER)

    def named(self, *ids: str) -> SeenItem | None:
        """The item that came last of those with one of these ids or call ids."""
        candidates: list[SeenItem] = []
        for id in ids:
            items = self._by_id.get(id, [])
            while items and id not in (items[-1].id, items[-1].call_id):
                items.pop()
            candidates += items[-1:]
        return max(candidates, key=_ORDER, default=None)


_KINDS = {"output_text": "text", "refusal": "refusal", "reasoning_text": "content"}  # type of a part -> kind of its text


def placed(parts: list[_Value], seen: Mapping[tuple[str, int], SeenPart]) -> list[tuple[int, _Value]]:
    """The parts of a complete item, each with the index at which it was streamed.

    Servers of gpt-oss stream a text as the item's second part, but list it first in the complete item.
    """
    indexed = list(enumerate(parts))
    for type, kind in _KINDS.items():
        streamed = sorted(index for known, index in seen if known == kind)
        of_kind = [index for index, part in indexed if part.get("type") == type]
        if not set(streamed) <= set(of_kind):
            moved = dict(zip(of_kind, streamed, strict=False))
            indexed = [(moved.get(index, index) if part.get("type") == type else index, part) for index, part in indexed]
    return indexed


def is_another(item: SeenItem, whole: _Value) -> bool:
    """Whether an item announced at the index of a known item is a different one."""
    if item.done:
        return True
    call_id, id = str_of(whole, "call_id"), str_of(whole, "id")
    if item.call_id and call_id:
        return item.call_id != call_id
    return item.announced and bool(item.id and id) and item.id != id


# event type -> the type of its item, for items that were not announced
_IMPLIED = {
    "response.output_text.delta": "message",
    "response.output_text.done": "message",
    "response.refusal.delta": "message",
    "response.refusal.done": "message",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_summary_text.done": "reasoning",
    "response.reasoning_summary_part.done": "reasoning",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_text.done": "reasoning",
    "response.reasoning.delta": "reasoning",
    "response.reasoning.done": "reasoning",
    "response.function_call_arguments.delta": "function_call",
    "response.function_call_arguments.done": "function_call",
    "response.custom_tool_call_input.delta": "custom_tool_call",
    "response.custom_tool_call_input.done": "custom_tool_call",
}
_OF_PARTS = {"output_text": "message", "refusal": "message", "reasoning_text": "reasoning"}  # the same, by the type of an event's part


def implied(kind: str, value: _Value) -> str:
    """The type of an event's item, as far as the event says it; "" if it does not."""
    return _IMPLIED.get(kind, "") or _OF_PARTS.get(str_of(dict_of(value, "part"), "type"), "")
