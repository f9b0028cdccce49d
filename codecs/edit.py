"""Change members of a JSON body by their paths: the operator's last word on what an upstream is sent. Every other byte stays.

A path is names with dots between them (`reasoning.effort`); `[]` behind a name stands for all elements of its list
(`messages[].name`). Strategy: the text is walked along the path alone; what is not on it is skipped by one pattern. Where a name stands
twice in one object each of them is changed, since parsers differ in which of the two they take.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from . import jsontext
from .ledger import Ledger, Path
from .lessons import EACH, steps_to
from .splice import value_end

_NAME = r'[^.\[\]\s"\\]+'
PATH = re.compile(rf"{_NAME}(?:(?:\[\])*\.{_NAME})*")

_BLANK = re.compile(rb"[ \t\n\r]*+")
_MEMBER = re.compile(rb'[ \t\n\r]*+("(?:[^"\\]++|\\.)*+")[ \t\n\r]*+:[ \t\n\r]*+', re.DOTALL)
_NEXT = re.compile(rb"[ \t\n\r]*+,")


class Edited(NamedTuple):
    """A body that was edited, and the paths of the members that were removed or given another value."""

    body: bytes
    removed: list[Path]
    replaced: list[Path]


class _Member(NamedTuple):
    name: str
    key: int  # where it begins
    start: int  # its value
    end: int


class _Change(NamedTuple):
    start: int
    end: int
    text: bytes = b""


def edited(body: bytes, set: Iterable[tuple[str, object]], remove: Iterable[str], *, adds: bool = True) -> Edited:
    """Return the body with these members removed and then those set. body: valid JSON; what is no object stays as it is.

    adds: whether members that the body lacks are added, else only those that it has are changed.
    """
    removed: list[Path] = []
    replaced: list[Path] = []
    if not _is_object(body, _start(body)):
        return Edited(body, removed, replaced)
    for path in remove:
        body = _applied(body, _removals(body, _start(body), steps_to(path), (), removed))
    for path, value in set:
        body = _applied(body, _settings(body, _start(body), steps_to(path), value, (), replaced, adds))
    return Edited(body, removed, replaced)


def report(edits: Edited, ledger: Ledger, body: Mapping[str, Any], at: Callable[[str], Path] | None) -> None:
    """Report what was taken from a caller's request. body: the caller's. at: where what an upstream's member says stands in it; None if
    both are of one shape.
    """
    for paths, tell in ((edits.removed, ledger.drop), (edits.replaced, ledger.adapt)):
        for path in paths:
            place = path if at is None else at(str(path[0]))
            if place and place[0] in body:
                tell(place)


def _removals(body: bytes, place: int, steps: tuple[str, ...], path: Path, removed: list[Path]) -> Iterator[_Change]:
    """The cuts of what the steps lead to from the value at `place`."""
    name, *rest = steps
    if name == EACH:
        for number, start in enumerate(_elements(body, place)):
            yield from _removals(body, start, tuple(rest), (*path, number), removed)
        return
    members = list(_members(body, place))
    if rest:
        for member in members:
            if member.name == name:
                yield from _removals(body, member.start, tuple(rest), (*path, name), removed)
        return
    last = None  # the end of the last member that stays
    for number, member in enumerate(members, 1):
        if member.name != name:
            last = member.end
            continue
        removed.append((*path, name))
        if number < len(members):
            yield _Change(member.key, members[number].key)
        else:
            yield _Change(member.key if last is None else last, member.end)


def _settings(
    body: bytes, place: int, steps: tuple[str, ...], value: object, path: Path, replaced: list[Path], adds: bool
) -> Iterator[_Change]:
    """The changes that set the member of the object at `place` to which the steps lead; of a list that is missing there are none."""
    name, *rest = steps
    if name == EACH:
        for number, start in enumerate(_elements(body, place)):
            yield from _settings(body, start, tuple(rest), value, (*path, number), replaced, adds)
        return
    path = (*path, name)
    members = list(_members(body, place))
    matches = [member for member in members if member.name == name]
    for member in matches:
        if rest and (rest[0] == EACH or _is_object(body, member.start)):
            yield from _settings(body, member.start, tuple(rest), value, path, replaced, adds)
        elif adds or not rest:
            text = _text(rest, value)
            if body[member.start : member.end] != text:
                replaced.append(path)
                yield _Change(member.start, member.end, text)
    if not matches and adds and EACH not in rest and _is_object(body, place):
        brace = value_end(body, place) - 1
        yield _Change(brace, brace, (b"," if members else b"") + jsontext.dumps(name) + b":" + _text(rest, value))


def _text(names: list[str], value: object) -> bytes:
    """A value within objects of these names."""
    for name in reversed(names):
        value = {name: value}
    return jsontext.dumps(value)


def _applied(body: bytes, changes: Iterable[_Change]) -> bytes:
    pieces: list[Any] = []
    at, view = 0, memoryview(body)
    for start, end, text in sorted(changes):
        pieces += view[at : max(at, start)], text
        at = max(at, end)  # cuts of neighbours overlap
    return b"".join([*pieces, view[at:]]) if pieces else body


# ---- the text ----


def _start(body: bytes) -> int:
    """Where the body's value begins."""
    return _after_blank(body, 3 if body.startswith(b"\xef\xbb\xbf") else 0)


def _after_blank(body: bytes, place: int) -> int:
    blank = _BLANK.match(body, place)
    return place if blank is None else blank.end()


def _is_object(body: bytes, place: int) -> bool:
    return body[place : place + 1] == b"{"


def _members(body: bytes, place: int) -> Iterator[_Member]:
    """The members of the object at `place`, in order; none where no object is."""
    if not _is_object(body, place):
        return
    at: int | None = place + 1
    while at is not None and (key := _MEMBER.match(body, at)) is not None:
        name = jsontext.loads(key[1]) if b"\\" in key[1] else key[1][1:-1].decode("utf-8", "replace")
        end = value_end(body, key.end())
        yield _Member(name, key.start(1), key.end(), end)
        at = _after_comma(body, end)


def _elements(body: bytes, place: int) -> Iterator[int]:
    """Where the elements of the list at `place` begin; none where no list is."""
    if body[place : place + 1] != b"[":
        return
    at: int | None = place + 1
    while at is not None:
        at = _after_blank(body, at)
        if body[at : at + 1] == b"]":
            return
        yield at
        at = _after_comma(body, value_end(body, at))


def _after_comma(body: bytes, place: int) -> int | None:
    comma = _NEXT.match(body, place)
    return None if comma is None else comma.end()
