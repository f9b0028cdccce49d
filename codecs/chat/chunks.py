"""What a chunk holds, whichever vendor has sent it."""

from __future__ import annotations

from typing import Any

from ..anything import dicts_of


def choice_of(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """The first choice with index 0, or None."""
    for choice in dicts_of(chunk, "choices"):
        if not choice.get("index"):
            return choice
    return None


def usage_of(chunk: dict[str, Any], choice: dict[str, Any] | None) -> dict[str, Any] | None:
    """The usage object of a chunk, or None. Groq also sends it in `x_groq`, Moonshot in the choice."""
    usage = chunk.get("usage")
    if not (usage and isinstance(usage, dict)) and "x_groq" in chunk:
        groq = chunk["x_groq"]
        usage = groq.get("usage") if isinstance(groq, dict) else None
    if not (usage and isinstance(usage, dict)) and choice is not None:
        usage = choice.get("usage")
    return usage if usage and isinstance(usage, dict) else None
