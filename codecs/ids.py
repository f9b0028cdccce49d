"""Identifiers: kept where they can be, derived by hashing where they cannot, so that the same input gives the same output."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

_FOREIGN_PREFIX = re.compile(r"^(?:chatcmpl-|msg_|resp_|gen-)")
_NOT_ID = re.compile(r"[^A-Za-z0-9_-]")


class IdForm(NamedTuple):
    """What an API takes as the id of a tool call.

    prefix: of ids that are made here. pattern: of ids that it takes; None: any. longest: that the API's own vendor takes in a
    request; None: any.
    """

    prefix: str
    pattern: re.Pattern[str] | None = None
    longest: int | None = None


def digest(text: str, length: int) -> str:
    """The first `length` hex digits of the text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def tail(upstream_id: str, nonce: str) -> str:
    """An upstream's answer id without its prefix and odd characters; 24 digits of the nonce when nothing is left."""
    return _NOT_ID.sub("", _FOREIGN_PREFIX.sub("", upstream_id, count=1)) or nonce[:24]


class CallIds:
    """Tool call ids on their way up: unchanged unless the upstream would refuse them, calls and results alike.

    A call id that stands twice in a conversation is told apart by its ordinal; results are paired with calls in order.
    """

    def __init__(self, form: IdForm, own_vendor: bool = False) -> None:
        """own_vendor: the upstream is the API's own vendor."""
        self._prefix, self._pattern, longest = form
        self._longest = longest if own_vendor else None
        self._calls: dict[str, int] = {}
        self._results: dict[str, int] = {}

    def call(self, id: str) -> str:
        return self._wire(id, self._calls)

    def result(self, id: str) -> str:
        return self._wire(id, self._results)

    def _wire(self, id: str, seen: dict[str, int]) -> str:
        seen[id] = ordinal = seen.get(id, 0) + 1
        if ordinal > 1 and (seen is self._calls or ordinal <= self._calls.get(id, 1)):
            return self._prefix + digest(f"{id}#{ordinal}", 24)
        if self._pattern is not None and not self._pattern.fullmatch(id):
            return self._prefix + digest(id, 24)
        if self._longest is not None and len(id) > self._longest:
            return self._prefix + digest(id, 24)
        return id


class AnswerIds:
    """Tool call ids on their way down: the upstream's own, minted where it gave none or the same twice."""

    def __init__(self, form: IdForm) -> None:
        self._prefix = form.prefix
        self._seen: set[str] = set()

    def call(self, id: str, response_id: str, slot: int) -> str:
        """slot: the call's place among the answer's calls, from 0."""
        id = id or self._prefix + digest(f"{response_id}:{slot}", 24)
        ordinal = 1
        unique = id
        while unique in self._seen:
            ordinal += 1
            unique = self._prefix + digest(f"{id}#{ordinal}", 24)
        self._seen.add(unique)
        return unique
