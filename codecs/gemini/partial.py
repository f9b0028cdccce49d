"""Put the arguments of one call together from the pieces that Vertex AI streams (`partialArgs`).

A piece names its place by a JSON path and has a value; a string may come in several pieces. The pieces are only put in their places:
what would leave a hole, or lead through a value that holds nothing, is refused.
Source: PartialArg in the discovery document of aiplatform v1, and recorded streams.
"""

from __future__ import annotations

import re
from typing import Any

_STEP = re.compile(r"""\.([^.\[\]]++)|\[([0-9]{1,7}+)\]|\['((?:[^'\\]|\\.)*+)'\]|\["((?:[^"\\]|\\.)*+)"\]|\[\]""")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_DEEPEST = 100
_LONGEST = 10_000  # characters of a path
_VALUES = ("numberValue", "boolValue", "nullValue")


class Unplaceable(ValueError):
    """A piece that has no place."""


class PartialArguments:
    """The arguments of one call. value: the object so far, once `finish` was called."""

    def __init__(self, begun: Any = None) -> None:
        self.value: dict[str, Any] = begun if isinstance(begun, dict) else {}
        self._path = ""  # of the string that is not over
        self._pieces: list[str] = []  # of that

    def add(self, entry: dict[str, Any]) -> None:
        """Raises Unplaceable."""
        path = entry.get("jsonPath")
        if not isinstance(path, str):
            raise Unplaceable("a piece of arguments without a path")
        text = entry.get("stringValue")
        if isinstance(text, str):
            if path != self._path:
                self.finish()
                self._path = path
            self._pieces.append(text)
            if not entry.get("willContinue"):
                self.finish()
            return
        self.finish()
        name = next((name for name in _VALUES if name in entry), "")
        if name:  # otherwise it says that an array is over
            self._put(path, None if name == "nullValue" else entry[name])

    def finish(self) -> None:
        """The string in pieces is over, if there is one. Raises Unplaceable."""
        path, self._path = self._path, ""
        text = "".join(self._pieces)
        self._pieces.clear()
        if path:
            self._put(path, text)

    def _put(self, path: str, value: Any) -> None:
        steps = _steps(path)
        holder: Any = self.value
        for step, after in zip(steps, [*steps[1:], None], strict=True):
            inner = value if after is None else {} if isinstance(after, str) else []
            if isinstance(step, str) and isinstance(holder, dict):
                if after is None or not isinstance(holder.get(step), dict | list):
                    holder[step] = inner
            elif isinstance(step, int) and isinstance(holder, list) and step <= len(holder):
                if step == len(holder):
                    holder.append(inner)
                elif after is None:
                    holder[step] = inner
            else:
                raise Unplaceable("a piece of arguments that has no place")
            holder = holder[step]


def _steps(path: str) -> list[str | int]:
    """The names and indices of a path."""
    steps: list[str | int] = []
    at = 1
    while at < len(path) and len(path) <= _LONGEST and len(steps) < _DEEPEST:
        step = _STEP.match(path, at)
        if step is None or step[0] == "[]":
            break
        plain, index, *quoted = step.groups()
        steps.append(plain if plain is not None else int(index) if index is not None else _unquoted(quoted))
        at = step.end()
    if at != len(path) or path[:1] != "$" or not steps:
        raise Unplaceable("a piece of arguments with an invalid path")
    return steps


def _unquoted(names: list[str]) -> str:
    name = next(name for name in names if name is not None)
    return _ESCAPE.sub(r"\1", name)
