"""The bytes around the text of a plain delta. A delta with the same ones needs no JSON parsing.

Each delta tells a usage of its own: behind its name only what is no digit is compared. What stands between the text and the usage (the
candidate's index, a finish reason) is the same to the byte.
"""

from __future__ import annotations

from typing import NamedTuple

DIGITS = b"0123456789"
USAGE = b'"usageMetadata"'
_TEXT = b'"text"'


class Around(NamedTuple):
    """length: of `head`, which ends with the opening quote. middle: from the closing quote up to the usage. tail: the rest, no digits."""

    length: int
    head: bytes
    middle: bytes
    tail: bytes


NOTHING = Around(0, b"\n", b"", b"")  # no data begins so


def around(data: bytes) -> Around:
    """What surrounds the text of a plain delta; NOTHING if that is not where expected, or holds a quote."""
    place = data.find(_TEXT)
    opening = data.find(b'"', place + len(_TEXT))
    if place < 0 or data.count(_TEXT) > 1 or data[place + len(_TEXT) : opening].strip() != b":":
        return NOTHING
    end = data.find(b'"', opening + 1)
    if end < 0 or data[end - 1 : end] == b"\\":
        return NOTHING
    usage = data.find(USAGE, end)
    return Around(opening + 1, data[: opening + 1], data[end:usage], data[usage:].translate(None, DIGITS))


def alike(data: bytes, known: Around) -> bool:
    """Whether data has these surroundings, and a text in one line."""
    length, head, middle, tail = known
    if not data.startswith(head):
        return False
    end = data.find(b'"', length)
    usage = data.find(USAGE, end)
    return data[end:usage] == middle and data[usage:].translate(None, DIGITS) == tail and data.find(b"\n", length, end) < 0
