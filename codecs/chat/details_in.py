"""Entries of an upstream's `reasoning_details` without an equivalent in other shapes: stored verbatim, to be returned unchanged.

Source: OpenRouter's documentation, "Preserving reasoning": the entire sequence is sent back unchanged. In a stream the text of an
entry arrives in pieces, and only those are joined: encrypted entries of several calls may have the same index.
"""

from __future__ import annotations

from typing import Any

from .. import jsontext
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
    return _text(detail, "format") in _SHARED.get(_text(detail, "type"), ())


class Verbatim:
    """The entries of one reasoning part, in order."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[tuple[dict[str, Any], list[str]]] = []  # each as received, and the pieces of its text

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, detail: dict[str, Any]) -> bool:
        """Add an entry, or the next piece of one. Returns whether it is a new entry."""
        key = detail_text(detail)
        piece = detail.get(key)
        pieces = [piece] if isinstance(piece, str) and _text(detail, "type") in _IN_PIECES else []
        for entry, before in self._entries:
            if _goes_on(entry, detail):
                before += pieces
                entry |= {name: value for name, value in detail.items() if value is not None and name != key}
                return False
        self._entries.append((dict(detail), pieces))
        return True

    def json(self) -> str:
        whole = [entry | {detail_text(entry): "".join(pieces)} if pieces else entry for entry, pieces in self._entries]
        return jsontext.dumps(whole).decode()


def _goes_on(entry: dict[str, Any], detail: dict[str, Any]) -> bool:
    if _text(detail, "type") not in _IN_PIECES:
        return entry == detail  # sent twice
    same = all(entry.get(name) == detail.get(name) for name in ("type", "index"))
    return same and len({_text(entry, "id"), _text(detail, "id")} - {""}) < 2


def _text(holder: dict[str, Any], key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def entry_text(detail: dict[str, Any]) -> str:
    kind = detail.get("type")
    return _text(detail, "text") if kind == "reasoning.text" else _text(detail, "summary") if kind == "reasoning.summary" else ""


def entry_value(detail: dict[str, Any]) -> str:
    """The entry's signature or encrypted data; "" if it has none."""
    kind = detail.get("type")
    return _text(detail, "signature") if kind == "reasoning.text" else _text(detail, "data") if kind == "reasoning.encrypted" else ""
