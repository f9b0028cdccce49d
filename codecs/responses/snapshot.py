"""The response object so far, built from its stream, for callers that request it while the answer is in progress."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from .. import jsontext

_Value = dict[str, Any]

# type of a delta event -> the list of its part, the member with the index in it, and the member extended
_PIECES = {
    "response.output_text.delta": ("content", "content_index", "text"),
    "response.refusal.delta": ("content", "content_index", "refusal"),
    "response.reasoning_text.delta": ("content", "content_index", "text"),
    "response.reasoning.delta": ("content", "content_index", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "text"),
}
_PARTS = {
    "response.content_part.added": ("content", "content_index"),
    "response.content_part.done": ("content", "content_index"),
    "response.reasoning_summary_part.added": ("summary", "summary_index"),
    "response.reasoning_summary_part.done": ("summary", "summary_index"),
}
_TEXTS = {"response.function_call_arguments.delta": "arguments", "response.custom_tool_call_input.delta": "input"}


class Snapshot:
    """response: the latest response object in an event, {} before the first. Frames at the beginning may be missing."""

    def __init__(self) -> None:
        self.response: _Value = {}
        self._items: dict[int, _Value] = {}
        self._pieces: dict[tuple[int, str], tuple[_Value, str, list[str]]] = {}  # to be added to members of items, by holder and name

    @property
    def output(self) -> list[_Value]:
        """The items so far; open items with their partial content."""
        for holder, member, pieces in self._pieces.values():
            holder[member] += "".join(pieces)
        self._pieces.clear()
        return [self._items[index] for index in sorted(self._items)]

    def cut(self) -> list[_Value]:
        """The items of an answer that has been broken off: open items are marked incomplete."""
        return [item | {"status": "incomplete"} if item.get("status") == "in_progress" else item for item in self.output]

    def feed(self, frames: Iterable[bytes]) -> None:
        """Apply events. frames: their data, as `StreamEncoder` writes it."""
        for frame in frames:
            _, _, data = frame.partition(b"\ndata: ")
            self._event(jsontext.loads(data))

    def _event(self, event: _Value) -> None:
        kind, index = event["type"], event.get("output_index")
        if "response" in event:
            self.response = event["response"]
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._items[event["output_index"]] = event["item"]
        elif index in self._items:
            with suppress(KeyError, IndexError, TypeError):  # a provider's events may lack members that others have
                self._grow(self._items[index], kind, event)

    def _grow(self, item: _Value, kind: str, event: _Value) -> None:
        if kind in _TEXTS:
            self._add(item, _TEXTS[kind], event["delta"])
        elif kind in _PARTS:
            holder, place = _PARTS[kind]
            item.setdefault(holder, [])[event[place] :] = [event["part"]]
        elif kind in _PIECES:
            holder, place, member = _PIECES[kind]
            self._add(item[holder][event[place]], member, event["delta"])

    def _add(self, holder: _Value, member: str, text: Any) -> None:
        if isinstance(holder[member], str) and isinstance(text, str):
            self._pieces.setdefault((id(holder), member), (holder, member, []))[2].append(text)
