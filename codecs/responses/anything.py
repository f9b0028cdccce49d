"""Reading an upstream's objects, whose members may be anything: a member of another type is absent."""

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
    """A time since the epoch; 0 when it is none."""
    value = holder.get(key)
    return int(value) if isinstance(value, int | float) and 0 < value < 1 << 53 else 0


def dict_of(holder: _Value, key: str) -> _Value:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def dicts_of(holder: _Value, key: str) -> list[_Value]:
    """The objects in a list; what is none of them reads as an empty object, so that places stay."""
    value = holder.get(key)
    return [each if isinstance(each, dict) else {} for each in value] if isinstance(value, list) else []
