"""Typed access to unvalidated upstream data: a member of the wrong type is treated as absent."""

from __future__ import annotations

from typing import Any

_Value = dict[str, Any]


def is_error(value: _Value) -> bool:
    return value.get("type") == "error" or isinstance(value.get("error"), dict | str)


def text_of(holder: _Value, key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def int_of(holder: _Value, key: str, default: int) -> int:
    value = holder.get(key)
    return value if isinstance(value, int) else default


def seconds_of(holder: _Value, key: str) -> int:
    """Seconds since the epoch; 0 if absent or not a number."""
    value = holder.get(key)
    return int(value) if isinstance(value, int | float) and 0 < value < 1 << 53 else 0


def dict_of(holder: _Value, key: str) -> _Value:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def dicts_of(holder: _Value, key: str) -> list[_Value]:
    """The objects in a list; other values become empty objects, so that indexes are preserved."""
    value = holder.get(key)
    return [each if isinstance(each, dict) else {} for each in value] if isinstance(value, list) else []
