"""Entries of logprobs in a form that both OpenAI shapes accept: each requires members that are optional in the other."""

from __future__ import annotations

from typing import Any


def spelt_out(entries: list[Any]) -> list[dict[str, Any]]:
    """Return the entries with all members; missing `bytes` are set to the token's UTF-8."""
    return [_entry(entry) | {"top_logprobs": _others(entry)} for entry in entries if isinstance(entry, dict)]


def _others(entry: dict[str, Any]) -> list[dict[str, Any]]:
    others = entry.get("top_logprobs")
    return [_entry(other) for other in others if isinstance(other, dict)] if isinstance(others, list) else []


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    token = entry.get("token")
    if isinstance(entry.get("bytes"), list) or not isinstance(token, str):
        return entry
    return entry | {"bytes": list(token.encode("utf-8", "replace"))}
