"""Entries of logprobs as both OpenAI shapes take them: each requires members that the other may leave out."""

from __future__ import annotations

from typing import Any


def spelt_out(entries: list[Any]) -> list[dict[str, Any]]:
    """The entries with all of their members; bytes that nobody gave are the token's own."""
    return [_entry(entry) | {"top_logprobs": _others(entry)} for entry in entries if isinstance(entry, dict)]


def _others(entry: dict[str, Any]) -> list[dict[str, Any]]:
    others = entry.get("top_logprobs")
    return [_entry(other) for other in others if isinstance(other, dict)] if isinstance(others, list) else []


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    token = entry.get("token")
    if isinstance(entry.get("bytes"), list) or not isinstance(token, str):
        return entry
    return entry | {"bytes": list(token.encode("utf-8", "replace"))}
