"""Read messages of proto JSON as leniently as Google does.

Members may be in camelCase or snake_case (SDKs mix both in one body; camelCase wins when both are there), enums in any case or by number,
integers as decimal strings, and a list of one may be written as its element. Only known messages are read this way: the keys of
arguments, of results and of JSON schemas are data.

Source: Protocol Buffers, "ProtoJSON format"; bodies of google-genai 3.6.1 and gemini-cli 0.61.0.
"""

from __future__ import annotations

import re
from typing import Any

from ..fields import Fields, invalid, wrong_type
from ..ledger import Ledger, Path

_SNAKE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
_STEP = re.compile(r"_([a-z0-9])")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?")


def camel(name: str) -> str:
    """The camelCase name of a member; itself if it is not in snake_case."""
    return _STEP.sub(lambda match: match[1].upper(), name) if _SNAKE.fullmatch(name) else name


class Message(Fields):
    """One message, by the camelCase names of its members. Null counts as absent; readers raise errors.WrongType with the member's path."""

    def __init__(self, value: Any, path: Path) -> None:
        super().__init__(value, path)
        self._spelled: dict[str, str] = {}  # by camelCase name, where the caller's is another
        for name in [name for name in self._left if "_" in name]:
            known = camel(name)
            if known != name:
                member = self._left.pop(name)
                if known not in self._left:
                    self._left[known] = member
                    self._spelled[known] = name

    @property
    def rest(self) -> list[str]:
        """The members that are left and not null."""
        return [key for key, value in self._left.items() if value is not None]

    def at(self, key: str) -> Path:
        """The path of a member, as the caller spells it."""
        return (*self.path, self._spelled.get(key, key))

    def number(self, key: str) -> int | float | None:
        value = self._left.get(key)
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            self._left[key] = float(value)
        return super().number(key)

    def integer(self, key: str) -> int | None:
        value = self._left.get(key)
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            self._left[key] = int(value)
        return super().integer(key)

    def word(self, key: str, numbers: tuple[str, ...] = ()) -> str | None:
        """An enum's value in upper case; None if it is unspecified. numbers: the values by their numbers."""
        value = self.take(key)
        if isinstance(value, int) and not isinstance(value, bool):
            if not 0 <= value < len(numbers):
                raise invalid(self.at(key), "is not a known value")
            value = numbers[value]
        if value is None:
            return None
        if not isinstance(value, str):
            raise wrong_type(self.at(key), "a string")
        value = value.upper()
        return None if value.endswith("UNSPECIFIED") or not value else value

    def listed(self, key: str) -> list[Any]:
        """The elements of a list, or the one that stands in its place."""
        value = self.take(key)
        if value is None or isinstance(value, list):
            return value or []
        if isinstance(value, dict):
            return [value]
        raise wrong_type(self.at(key), "a list")

    def message(self, key: str) -> Message | None:
        value = self.members(key)
        return None if value is None else Message(value, self.at(key))

    def messages(self, key: str) -> list[Message]:
        """The messages in a list, each with its path; the same for one in the place of a list."""
        path = self.at(key)
        return [Message(value, (*path, i)) for i, value in enumerate(self.listed(key))]

    def report(self, ledger: Ledger) -> None:
        for key, value in self._left.items():
            if value not in (None, [], {}):
                ledger.drop(self.at(key))
