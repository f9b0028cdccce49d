"""How a conversation begins: a digest by which its requests can be told from those of others, the same in every turn.

It is made of what stays at the beginning of each request: the instructions and the turns up to the first of the user's. Only texts
count, and of other content its type and the beginnings of its values: clients move cache marks from turn to turn and write a text now
as a string, now as a list. All APIs' members are read alike. Time is bounded: of each text its beginning and its length count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import chain, islice
from typing import Any

DIGEST = 16  # bytes
_TURNS = 8  # at most, and as many parts of each
_LONGEST = 8192  # characters of one text
_VALUE = 256  # characters of another value
_INSTRUCTIONS = ("system", "instructions")
_HISTORY = ("messages", "input")


def digest(kind: str, *texts: str) -> bytes:
    """kind: what the texts are, so that equal texts of two kinds differ."""
    hasher = blake2b(kind.encode(), digest_size=DIGEST)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        hasher.update(b"%d:%b" % (len(data), data))
    return hasher.digest()


def opening(body: Mapping[str, Any], before: list[Any]) -> bytes | None:
    """The digest of a conversation's beginning; None where the body holds none. before: turns that precede those of the body."""
    history = next((body[name] for name in _HISTORY if name in body), None)
    turns = [history] if isinstance(history, str) else history if isinstance(history, list) else []
    texts: list[str] = []
    for turn in islice(chain(before, turns), _TURNS):
        texts += _texts(turn)
        if isinstance(turn, str) or (isinstance(turn, dict) and turn.get("role") == "user"):
            break
    if not texts:
        return None
    return digest("opening", *(text for name in _INSTRUCTIONS for text in _texts(body.get(name))), "", *texts)


def _texts(turn: Any) -> Iterator[str]:
    """What a turn, or instructions, say."""
    if isinstance(turn, str):
        yield from _bounded(turn)
        return
    content = turn.get("content") if isinstance(turn, dict) else turn
    if isinstance(content, str):
        yield from _bounded(content)
        return
    for part in content[:_TURNS] if isinstance(content, list) else [turn]:
        if isinstance(part, str):
            yield from _bounded(part)
        elif isinstance(part, dict):
            if isinstance(text := part.get("text"), str):
                yield from _bounded(text)
            else:
                yield from _values(part)


def _bounded(text: str) -> Iterator[str]:
    yield text if len(text) <= _LONGEST else f"{len(text)} {text[:_LONGEST]}"


def _values(part: dict[str, Any]) -> Iterator[str]:
    """Of what is not text: the texts in it, two levels deep, without the marks of caches."""
    for name, value in islice(part.items(), _TURNS):
        if isinstance(value, str):
            yield f"{name} {len(value)} {value[:_VALUE]}"
        elif isinstance(value, dict) and name != "cache_control":
            for inner, text in islice(value.items(), _TURNS):
                if isinstance(text, str):
                    yield f"{inner} {len(text)} {text[:_VALUE]}"
