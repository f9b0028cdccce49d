"""Typed access to unvalidated upstream data: a value of the wrong type is treated as absent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def choice_of(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """The first choice with index 0, or None."""
    for choice in dicts_of(chunk.get("choices")):
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


def seconds_of(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and 0 < value < 1 << 53 else 0


def str_of(holder: dict[str, Any], key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def dicts_of(value: Any) -> Iterable[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else ()


def texts_of(value: Any) -> str:
    return "".join(str_of(part, "text") for part in dicts_of(value))
