"""The state of a responses upstream's items while they are streamed, and their match with complete items."""

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
    """What was received of one content or summary part. open: its hub part is the current one."""

    streamed: bool = False
    cited: int = 0  # number of annotations received


@dataclass(slots=True, eq=False)
class SeenItem:
    """One output item upstream."""

    index: int
    kind: str  # its type; "" before it is known
    id: str = ""
    call_id: str = ""
    part: int = -1  # its open hub part
    parts: dict[tuple[str, int], SeenPart] = field(default_factory=dict)  # by kind of text and index in the item
    place: tuple[str, int] = ("", -1)  # the key in `parts` of the open hub part
    announced: bool = False
    done: bool = False
    plain: bool = True  # its text is passed on unchanged: no surrogate half, no unwrapping, no logprobs
    source: str = ""  # reasoning: the kind of text received first; the other kind repeats it
    said: bool = False  # reasoning: some text was passed on
    thought: tuple[str, int] = ("", -1)  # reasoning: the kind and index of the text last passed on in the open hub part
    waiting: list[tuple[str, _Value]] = field(default_factory=list)  # events received before the item's turn
    joiner: SurrogateJoiner | None = None  # only after a lone surrogate was received
    # calls
    held: list[str] = field(default_factory=list)  # argument text received before the name
    streamed: bool = False
    begun: bool = False  # some arguments were passed on
    null: str = ""  # the beginning of the arguments, while it may become null
    text: ToolText | None = None


_KINDS = {"output_text": "text", "refusal": "refusal", "reasoning_text": "content"}  # type of a part -> kind of its text


def placed(parts: list[_Value], seen: Mapping[tuple[str, int], SeenPart]) -> list[tuple[int, _Value]]:
    """The parts of a complete item, each with the index at which it was streamed.

    Servers of gpt-oss stream a text as the item's second part, but list it first in the complete item.
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
    """Whether an item announced at the index of a known item is a different one."""
    if item.done:
        return True
    call_id, id = text_of(whole, "call_id"), text_of(whole, "id")
    if item.call_id and call_id:
        return item.call_id != call_id
    return item.announced and bool(item.id and id) and item.id != id
