"""Entries of an upstream's `reasoning_details` without an equivalent in other shapes: stored verbatim, to be returned unchanged.

Source: OpenRouter's documentation, "Preserving reasoning": the entire sequence is sent back unchanged. In a stream the text of an
entry arrives in pieces, and only those are joined: encrypted entries of several calls may have the same index.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .. import jsontext, quirks
from ..anything import str_of
from ..events import Event, Seal
from ..reasoning import detail_text

ANTHROPIC, OPENAI = "anthropic-claude-v1", "openai-responses-v1"

# kind of entry -> its formats that other shapes can express; a signed text without a format is Anthropic's
_SHARED = {
    "reasoning.text": frozenset({ANTHROPIC, ""}),
    "reasoning.summary": frozenset({OPENAI}),
    "reasoning.encrypted": frozenset({ANTHROPIC, OPENAI}),
}
_IN_PIECES = frozenset({"reasoning.text", "reasoning.summary"})


def is_shared(detail: dict[str, Any]) -> bool:
    """Whether other shapes can express the entry."""
    return str_of(detail, "format") in _SHARED.get(str_of(detail, "type"), ())


def with_opaque(delta: dict[str, Any]) -> dict[str, Any]:
    """A delta or message whose reasoning has its seal in a member of its own, with the seal among the details."""
    opaque, details = delta.get(quirks.REASONING_OPAQUE), delta.get("reasoning_details")
    if not isinstance(opaque, str) or not opaque:
        return delta
    entry = {"type": "reasoning.encrypted", "format": quirks.REASONING_OPAQUE, "data": opaque}
    return delta | {"reasoning_details": [*(details if isinstance(details, list) else ()), entry]}


def opaque_of(details: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The seal that stood in a member of its own ("" when there is none), and the other entries."""
    opaque = [entry for entry in details if entry.get("format") == quirks.REASONING_OPAQUE]
    others = [entry for entry in details if entry.get("format") != quirks.REASONING_OPAQUE]
    return (str_of(opaque[-1], "data"), others) if opaque else ("", details)


@dataclass(slots=True)
class Entry:
    """One entry of `reasoning_details`, as far as it was received."""

    kind: str
    text: list[str] = field(default_factory=list)
    value: list[str] = field(default_factory=list)  # a signature (the last counts), or pieces of encrypted data
    id: str = ""
    format: str = ""


def seals(part: int, entries: Iterable[Entry]) -> list[Event]:
    """The seals of a reasoning part with these entries. Of those that cover the text of the part, one of a form, the last counts."""
    entries = list(entries)
    events: list[Event] = []
    summary = tuple("".join(entry.text) for entry in entries if entry.kind == "reasoning.summary")
    sealed = [(_seal_form(entry), entry) for entry in entries if entry.value]
    last = dict(sealed)
    for form, entry in sealed:
        if form == "redacted" or last[form] is entry:
            whole = (entry.id, summary) if form == "openai" else ()
            events.append(Seal(part, form, "".join(entry.value), *whole))
    return events


def _seal_form(entry: Entry) -> str:
    """The hub's seal form of an entry's signature or encrypted data."""
    if entry.kind == "reasoning.text":
        return "anthropic"
    return "redacted" if entry.format == ANTHROPIC else "openai"


_Received = tuple[dict[str, Any], list[str]]
"""An entry as received, and the pieces of its text."""


class Verbatim:
    """The entries of one reasoning part, in order."""

    __slots__ = ("_entries", "_places")

    def __init__(self) -> None:
        self._entries: list[_Received] = []
        self._places: dict[tuple[Any, str], _Received] = {}  # by place and id; without an id the first of its place

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, detail: dict[str, Any]) -> bool:
        """Add an entry, or the next piece of one. Returns whether it is a new entry."""
        key, place = detail_text(detail), _place(detail)
        id = str_of(detail, "id") if isinstance(place, tuple) else ""
        entry = self._find(place, id)
        began = entry is None
        if entry is None:
            entry = dict(detail), []
            self._entries.append(entry)
            self._places.setdefault((place, ""), entry)
        else:
            entry[0].update((name, value) for name, value in detail.items() if value is not None and name != key)
        if isinstance(place, tuple) and isinstance(piece := detail.get(key), str):
            entry[1].append(piece)
        if id:
            self._places[place, id] = entry
        return began

    def _find(self, place: Any, id: str) -> _Received | None:
        """The first entry that one of this place and id continues, or repeats."""
        first = self._places.get((place, ""))
        if first is None or not id or not str_of(first[0], "id"):
            return first
        entry = self._places.get((place, id))
        return entry if entry is not None and str_of(entry[0], "id") == id else None

    def seals(self, part: int) -> list[Event]:
        """The seal that holds all of them; none without entries."""
        return [Seal(part, "details", self.json())] if self._entries else []

    def json(self) -> str:
        whole = [entry | {detail_text(entry): "".join(pieces)} if pieces else entry for entry, pieces in self._entries]
        return jsontext.dumps(whole).decode()


def _place(detail: dict[str, Any]) -> tuple[Any, ...] | bytes:
    """The type and index of an entry that comes in pieces; of another all of it, since it may be sent twice."""
    kind, index = str_of(detail, "type"), detail.get("index")
    if kind not in _IN_PIECES:
        return jsontext.dumps(sorted(detail.items()))
    return kind, jsontext.dumps(index) if isinstance(index, list | dict) else index


def entry_text(detail: dict[str, Any]) -> str:
    kind = detail.get("type")
    return str_of(detail, "text") if kind == "reasoning.text" else str_of(detail, "summary") if kind == "reasoning.summary" else ""


def entry_value(detail: dict[str, Any]) -> str:
    """The entry's signature or encrypted data; "" if it has none."""
    kind = detail.get("type")
    return str_of(detail, "signature") if kind == "reasoning.text" else str_of(detail, "data") if kind == "reasoning.encrypted" else ""
