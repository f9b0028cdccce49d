"""The tool calls of a chat upstream's answer as they are received: which of them a piece belongs to, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..arguments import ArgumentText
from ..events import Arguments
from ..jsontext import SurrogateJoiner
from ..tools import ToolText

_MOST_CALLS = 1024
_CONTINUES = frozenset({"index", "type", "function"})  # the members of an entry that may continue a call


@dataclass(slots=True)
class Slot:
    """One tool call being received. part: its hub part, -1 before it has one. held: argument text received until then.

    order: the number of calls before it.
    """

    order: int
    id: str = ""
    name: str = ""
    custom: bool = False
    part: int = -1
    held: list[str] = field(default_factory=list)
    signature: str = ""  # Google's
    json: ArgumentText = field(default_factory=ArgumentText)  # of a function
    whole: bool = False  # no further pieces are expected
    over: bool = False  # its part is closed
    text: ToolText | None = None
    joiner: SurrogateJoiner = field(default_factory=SurrogateJoiner)


class Slots:
    """The calls of one answer. all: in the order in which they came. grown: those that may have become complete, by their parts."""

    __slots__ = ("_by_id", "_newest", "all", "grown")

    def __init__(self) -> None:
        self.all: list[Slot] = []
        self.grown: dict[int, Slot] = {}
        self._newest: dict[int | None, Slot] = {}  # by index
        self._by_id: dict[str, Slot] = {}

    def find(self, index: Any, id: str, name: str, argued: bool) -> Slot | None:
        """The slot of an entry; None if there are too many. argued: whether the entry has arguments."""
        if isinstance(index, bool) or not isinstance(index, int):
            slot = self._unnumbered(id, name if argued else "")
            index = None
        else:
            slot = self._newest.get(index)
            if slot is not None and self._is_another(slot, id, name, argued):
                slot = None
        if slot is None and len(self.all) < _MOST_CALLS:
            self._newest[index] = slot = Slot(len(self.all))
            self.all.append(slot)
        return slot

    def _is_another(self, slot: Slot, id: str, name: str, argued: bool) -> bool:
        """Whether an entry is of another call than the slot with its number: some servers number every call 0.

        Others give each piece of a call an id of its own, but a name to the first alone (Poolside, mlx-openai-server).
        """
        if id and slot.id and id != slot.id:
            return bool(name) or not slot.name or slot.json.complete()
        return bool(not id and name and argued and slot.json.complete())

    def name(self, slot: Slot, id: str) -> None:
        """The id of a slot is known."""
        slot.id = id
        if self._by_id.setdefault(id, slot).order > slot.order:
            self._by_id[id] = slot

    def _unnumbered(self, id: str, name: str) -> Slot | None:
        if id:
            return self._by_id.get(id)
        newest = self.all[-1] if self.all else None
        return None if newest is not None and name and newest.name else newest

    def continued(self, delta: dict[str, Any]) -> Arguments | None:
        """The event of a piece that continues the arguments of one open call as it is; None for everything else."""
        calls = delta["tool_calls"]
        if len(delta) > 1 or type(calls) is not list or len(calls) != 1 or type(calls[0]) is not dict:
            return None
        entry = calls[0]
        index, inner = entry.get("index"), entry.get("function")
        if type(index) is not int or type(inner) is not dict or len(inner) != 1 or not entry.keys() <= _CONTINUES:
            return None
        slot, text = self._newest.get(index), inner.get("arguments")
        if slot is None or type(text) is not str or not text or text[0] == "{" or entry.get("type", "function") != "function":
            return None
        if slot.part < 0 or slot.over or slot.custom or slot.held or not slot.json.plain or slot.text is None or not slot.text.plain:
            return None
        slot.json.pieces.append(text)
        if "}" in text:
            slot.json.plain = text[-1] != "}"
            self.grown[slot.part] = slot
        return Arguments(slot.part, text)
