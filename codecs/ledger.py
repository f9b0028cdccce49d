"""The report of what a translation dropped or adapted: filled while a request is encoded, read when the answer's headers are written.

A path is a tuple of keys and indexes into the client's JSON body. In headers an index is written as `[*]`, the order is that of the
keys in the body, and names that are not body paths are last.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Path = tuple[str | int, ...]

# the first element of paths into content that is not in this request (the stored turns of a conversation): it is not reported,
# because it was when it was sent
STORED = -1

HINTS = frozenset({("prompt_cache_key",)})
"""What changes no answer, and so is no loss to a caller who wants none."""

HEADER_LIMIT = 1024  # bytes of one report header
_VALUE_LIMIT = 32
_NOT_TOKEN = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_LAST = 1 << 60


class Entry(NamedTuple):
    path: Path
    label: str = ""  # appended as `:label`, for example the type of a dropped tool
    value: str = ""  # adapted only: appended as `=value`


def concrete(path: Path) -> str:
    """The path as in `messages[0].content[1]`, for an error's param. Stored content, not in the body, counts as its input."""
    if path[:1] == (STORED,):
        return "input"
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def collapsed(path: Path) -> str:
    """The path as in `messages[*].content[*]`, for a report header. Non-ASCII characters and separators are percent-encoded."""
    text = ""
    for step in path:
        text += "[*]" if isinstance(step, int) else f".{step}" if text else step
    return encoded(text)


def encoded(text: str) -> str:
    return "".join(c if "!" <= c <= "~" and c not in ",=%" else "".join(f"%{b:02X}" for b in c.encode("utf-8", "replace")) for c in text)


def _position(path: Path, body: Any, places: dict[int, dict[str, int]]) -> tuple[int, ...]:
    """The position of the path in a depth-first traversal of the body, as a sort key.

    places: of the members of objects, by the object's identity; those that the path leads through are added.
    """
    where: list[int] = []
    for step in path:
        if isinstance(step, int):
            where.append(step if step >= 0 else _LAST)
            body = body[step] if isinstance(body, list) and -len(body) <= step < len(body) else None
        elif isinstance(body, dict) and (key := step if step in body else step.partition("[")[0]) in body:  # `include[a.value]` too
            members = places.get(id(body))
            if members is None:
                members = places[id(body)] = {name: place for place, name in enumerate(body)}
            where.append(members[key])
            body = body[key]
        else:
            where.append(_LAST)
            body = None
    return tuple(where)


@dataclass(slots=True)
class Ledger:
    """The report of one request's translation."""

    dropped: list[Entry] = field(default_factory=list)
    adapted: list[Entry] = field(default_factory=list)
    arranged: bool = False  # the entries are in the body's order, as far as they were there then

    def arrange(self, body: Any) -> None:
        """Bring the entries in the body's order, before that is let go of."""
        self.dropped, self.adapted = _ordered(self.dropped, body), _ordered(self.adapted, body)
        self.arranged = True

    def carried(self, paths: Set[Path]) -> None:
        """Take back reports: an encoder carries what a decoder reported, since most cannot."""
        if paths:
            self.dropped = [entry for entry in self.dropped if entry.path not in paths]

    def drop(self, path: Path, label: str = "") -> None:
        if path[:1] != (STORED,):
            self.dropped.append(Entry(path, label))

    def adapt(self, path: Path, value: object = None) -> None:
        """Report a field as adapted. value: what was sent instead, if it is short."""
        text = "" if value is None else str(value)
        if len(text) > _VALUE_LIMIT or _NOT_TOKEN.search(text):
            text = ""
        if path[:1] != (STORED,):
            self.adapted.append(Entry(path, value=text))

    def first_dropped(self, body: Any) -> str | None:
        """The first loss, as an error's param; None when nothing was lost but HINTS."""
        ordered = _ordered([entry for entry in self.dropped if entry.path not in HINTS], body)
        return f"{concrete(ordered[0].path)}{':' + ordered[0].label if ordered[0].label else ''}" if ordered else None

    def names(self, which: list[Entry], body: Any) -> list[str]:
        """The header entries in the body's order, without duplicates."""
        seen: dict[str, None] = {}
        for entry in which if self.arranged else _ordered(which, body):
            name = collapsed(entry.path)
            name += f":{collapsed((entry.label,))}" if entry.label else ""
            seen.setdefault(name + (f"={entry.value}" if entry.value else ""))
        return list(seen)

    def header(self, which: list[Entry], body: Any) -> str:
        """The value of a report header, at most HEADER_LIMIT bytes; "" if there is nothing to report."""
        return joined(self.names(which, body))


def joined(names: list[str]) -> str:
    """The value of a report header with these entries, at most HEADER_LIMIT bytes."""
    fitting, size = 0, -1
    for name in names:
        size += len(name) + 1
        if size > HEADER_LIMIT - 8:
            break
        fitting += 1
    text = ",".join(names[:fitting])
    return text if fitting == len(names) else f"{text},+{len(names) - fitting}"


def _ordered(entries: list[Entry], body: Any) -> list[Entry]:
    places: dict[int, dict[str, int]] = {}
    return sorted(entries, key=lambda entry: _position(entry.path, body, places))
