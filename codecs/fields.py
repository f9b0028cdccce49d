"""Read a client's JSON object field by field: fields that are read are removed, the remaining ones are reported."""

from __future__ import annotations

from typing import Any

from .errors import Malformed, Missing, WrongType
from .ledger import Ledger, Path, concrete
from .request import Cache


class Fields:
    """A shallow copy of one object in the request. Null counts as absent; readers raise errors.WrongType with the field's path."""

    def __init__(self, value: Any, path: Path) -> None:
        if not isinstance(value, dict):
            raise wrong_type(path, "an object")
        self._left: dict[str, Any] = dict(value)
        self.path = path

    def take(self, key: str) -> Any:
        return self._left.pop(key, None)

    def peek(self, key: str) -> list[Any] | None:
        """A list that another reader takes, too."""
        return list(value) if isinstance(value := self._left.get(key), list) else None

    def text(self, key: str) -> str | None:
        value = self._left.pop(key, None)
        if value is None or isinstance(value, str):
            return value
        raise wrong_type((*self.path, key), "a string")

    def required(self, key: str) -> str:
        """Return a required string. Raises errors.Missing."""
        value = self._left.pop(key, None)
        if isinstance(value, str):
            return value
        raise missing((*self.path, key)) if value is None else wrong_type((*self.path, key), "a string")

    def number(self, key: str) -> int | float | None:
        value = self.take(key)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise wrong_type((*self.path, key), "a number")
        return value

    def integer(self, key: str) -> int | None:
        value = self.take(key)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise wrong_type((*self.path, key), "an integer")
        return value

    def flag(self, key: str) -> bool | None:
        value = self.take(key)
        if value is not None and not isinstance(value, bool):
            raise wrong_type((*self.path, key), "a boolean")
        return value

    def items(self, key: str) -> list[Any] | None:
        value = self.take(key)
        if value is not None and not isinstance(value, list):
            raise wrong_type((*self.path, key), "a list")
        return value

    def members(self, key: str) -> dict[str, Any] | None:
        value = self._left.pop(key, None)
        if value is None or isinstance(value, dict):
            return value
        raise wrong_type((*self.path, key), "an object")

    def inner(self, key: str) -> Fields | None:
        """Return an object as Fields, or None."""
        value = self.members(key)
        return None if value is None else Fields(value, (*self.path, key))

    def ignore(self, *keys: str) -> None:
        """Remove fields without a meaning in other shapes, without a report."""
        pop = self._left.pop
        for key in keys:
            pop(key, None)

    def ignore_all(self, keys: frozenset[str]) -> None:
        """As `ignore`, for many keys of which few are there."""
        for key in keys.intersection(self._left):
            del self._left[key]

    def mark(self, key: str, long: str, ledger: Ledger) -> Cache | None:
        """The cache breakpoint set by the object under this key, or None. long: the value of `ttl` for the long lifetime."""
        if key not in self._left or (marker := self.inner(key)) is None:
            return None
        cache = Cache(long=marker.take("ttl") == long)
        marker.ignore("type", "mode")
        marker.report(ledger)
        return cache

    def report(self, ledger: Ledger) -> None:
        """Report the remaining fields as dropped, except empty lists and objects, which count as null."""
        if not self._left:
            return
        for key, value in self._left.items():
            if value not in (None, [], {}):
                ledger.drop((*self.path, key))


def missing(path: Path) -> Missing:
    where = concrete(path)
    return Missing(f"{where}: field required", param=where)


def wrong_type(path: Path, wanted: str) -> WrongType:
    where = concrete(path) or "the body"
    return WrongType(f"{where} must be {wanted}", param=concrete(path) or None)


def invalid(path: Path, why: str) -> Malformed:
    where = concrete(path)
    return Malformed(f"{where}: {why}", code="invalid_value", param=where)
