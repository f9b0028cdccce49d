"""Identifiers: passed on unchanged if possible, otherwise derived by hashing, so that equal input gives equal output."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

_FOREIGN_PREFIX = re.compile(r"^(?:chatcmpl-|msg_|resp_|gen-)")
_NOT_ID = re.compile(r"[^A-Za-z0-9_-]")


class IdForm(NamedTuple):
    """The tool call ids that an API accepts.

    prefix: of ids created here. pattern: of accepted ids; None: any. vendor: of those accepted by the API's own vendor, if it is stricter.
    """

    prefix: str
    pattern: re.Pattern[str] | None = None
    vendor: re.Pattern[str] | None = None


def digest(text: str, length: int) -> str:
    """The first `length` hex digits of the text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def tail(upstream_id: str, nonce: str) -> str:
    """An upstream's answer id without prefix and special characters; 24 digits of the nonce if nothing remains."""
    return _NOT_ID.sub("", _FOREIGN_PREFIX.sub("", upstream_id, count=1)) or nonce[:24]


class CallIds:
    """Tool call ids sent upstream: calls and results keep their ids unless the upstream would refuse them.

    A call id that occurs several times in a conversation gets its ordinal added; results are paired with calls in order.
    """

    def __init__(self, form: IdForm, own_vendor: bool = False) -> None:
        """own_vendor: the upstream is the API's own vendor."""
        self._prefix = form.prefix
        self._pattern = form.vendor if own_vendor and form.vendor else form.pattern
        self._calls: dict[str, int] = {}
        self._results: dict[str, int] = {}

    def call(self, id: str) -> str:
        self._calls[id] = ordinal = self._calls.get(id, 0) + 1
        if ordinal == 1 and (self._pattern is None or self._pattern.fullmatch(id)):
            return id
        return self._another(id, ordinal)

    def result(self, id: str) -> str:
        self._results[id] = ordinal = self._results.get(id, 0) + 1
        if ordinal > self._calls.get(id, 1):
            ordinal = 1
        if ordinal == 1 and (self._pattern is None or self._pattern.fullmatch(id)):
            return id
        return self._another(id, ordinal)

    def _another(self, id: str, ordinal: int) -> str:
        return self._prefix + digest(f"{id}#{ordinal}" if ordinal > 1 else id, 24)


def with_id(entry: dict[str, Any], member: str, use: Callable[[str], str]) -> dict[str, Any]:
    """An object with another id at this member; the same object if it needs none."""
    id = entry.get(member)
    return entry if not isinstance(id, str) or (new := use(id)) == id else entry | {member: new}


class AnswerIds:
    """Tool call ids sent to the client: the upstream's, or new ones if it sent none or a duplicate.

    anew: the upstream's ids begin anew in each answer, so that they are told apart by the answer's.
    """

    def __init__(self, form: IdForm, anew: bool = False) -> None:
        self._prefix, self._anew = form.prefix, anew
        self._seen: set[str] = set()
        self._ordinals: dict[str, int] = {}  # the last that was tried for an id

    def call(self, id: str, response_id: str, slot: int) -> str:
        """Return the id to send. slot: the call's index among the answer's calls, from 0."""
        if self._anew or not id:
            id = self._prefix + digest(f"{response_id}:{slot}", 24)
        ordinal = self._ordinals.get(id, 1)
        unique = id
        while unique in self._seen:
            ordinal += 1
            unique = self._prefix + digest(f"{id}#{ordinal}", 24)
        self._ordinals[id] = ordinal
        self._seen.add(unique)
        return unique
