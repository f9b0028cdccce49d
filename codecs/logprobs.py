"""Entries of logprobs in a form that both OpenAI shapes accept: each requires members that are optional in the other."""

from __future__ import annotations

from typing import Any

from .anything import dicts_of


def spelt_out(entries: list[Any]) -> list[dict[str, Any]]:
    """Return the entries with all members; missing `bytes` are set to the token's UTF-8."""
    return [_entry(entry) | {"top_logprobs": _others(entry)} for entry in entries if isinstance(entry, dict)]


def _others(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [_entry(other) for other in dicts_of(entry, "top_logprobs")]


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    token = entry.get("token")
    if isinstance(entry.get("bytes"), list) or not isinstance(token, str):
        return entry
    return entry | {"bytes": list(token.encode("utf-8", "replace"))}
