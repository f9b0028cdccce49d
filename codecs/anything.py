"""Typed access to data that nobody has validated: what is missing or of the wrong type is an empty value of the wanted type."""

from __future__ import annotations

from typing import Any

from . import jsontext

_Object = dict[str, Any]


def object_of(data: bytes) -> _Object:
    """The object that the JSON text is."""
    try:
        value = jsontext.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def at(value: Any, *keys: str) -> Any:
    """The member at a path of keys, None without it."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def str_of(holder: _Object, key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def int_of(holder: _Object, key: str) -> int:
    value = holder.get(key)
    return value if isinstance(value, int) else 0


def seconds_of(holder: _Object, key: str) -> int:
    """Whole seconds since the epoch."""
    value = holder.get(key)
    return int(value) if isinstance(value, int | float) and 0 < value < 1 << 53 else 0


def dict_of(holder: _Object, key: str) -> _Object:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def list_of(holder: _Object, key: str) -> list[Any]:
    value = holder.get(key)
    return value if isinstance(value, list) else []


def dicts_of(holder: _Object, key: str) -> list[_Object]:
    """The objects in a list."""
    value = holder.get(key)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def dicts_in(value: Any) -> list[_Object]:
    """As `dicts_of`, of the list itself."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def placed_dicts_of(holder: _Object, key: str) -> list[_Object]:
    """As `dicts_of`, but what is no object becomes an empty one: all keep their places."""
    value = holder.get(key)
    return [each if isinstance(each, dict) else {} for each in value] if isinstance(value, list) else []
