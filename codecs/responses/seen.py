"""What was seen of a responses upstream's items: how far each came, and which of them a whole one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..jsontext import SurrogateJoiner
from ..tools import ToolText
from .anything import text_of

_Value = dict[str, Any]


@dataclass(slots=True)
class SeenPart:
    """What was seen of one content or summary part. open: its hub part is the current one."""

    streamed: bool = False
    cited: int = 0  # annotations that were seen


@dataclass(slots=True, eq=False)
class SeenItem:
    """One output item upstream."""

    index: int
    kind: str  # its type; "" as long as nothing says it
    id: str = ""
    call_id: str = ""
    part: int = -1  # the hub part that is open for it
    parts: dict[tuple[str, int], SeenPart] = field(default_factory=dict)  # by kind of text and its index in the item
    place: tuple[str, int] = ("", -1)  # which of them the open hub part is for
    announced: bool = False
    done: bool = False
    plain: bool = True  # its text goes on as it comes: no half character is held, nothing is unwrapped, no logprobs go with it
    source: str = ""  # reasoning: the kind of text that came first; the other says the same again
    said: bool = False  # reasoning: some text went on
    thought: tuple[str, int] = ("", -1)  # reasoning: the kind of text and its index that went on last, in the open hub part
    waiting: list[tuple[str, _Value]] = field(default_factory=list)  # events that came before their turn
    joiner: SurrogateJoiner | None = None  # only after a lone surrogate was seen
    # calls
    held: list[str] = field(default_factory=list)  # argument text that came before the name
    streamed: bool = False
    begun: bool = False  # some of them went on
    null: str = ""  # the beginning of arguments, as long as it may become null
    text: ToolText | None = None


_KINDS = {"output_text": "text", "refusal": "refusal", "reasoning_text": "content"}  # type of a part -> kind of its text


def placed(parts: list[_Value], seen: Mapping[tuple[str, int], SeenPart]) -> list[tuple[int, _Value]]:
    """A whole item's parts, each with the index that it was streamed at.

    Servers of gpt-oss stream a text as the item's second part, and give it as the first of the whole.
    """
    found = list(enumerate(parts))
    for type, kind in _KINDS.items():
        streamed = sorted(index for known, index in seen if known == kind)
        of_kind = [index for index, part in found if part.get("type") == type]
        if not set(streamed) <= set(of_kind):
            moved = dict(zip(of_kind, streamed, strict=False))
            found = [(moved.get(index, index) if part.get("type") == type else index, part) for index, part in found]
    return found


def is_another(item: SeenItem, whole: _Value) -> bool:
    """Whether an item that is announced at the place of one that is known is not that one."""
    if item.done:
        return True
    call_id, id = text_of(whole, "call_id"), text_of(whole, "id")
    if item.call_id and call_id:
        return item.call_id != call_id
    return item.announced and bool(item.id and id) and item.id != id
