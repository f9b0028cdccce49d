"""What stands around the text of an ordinary delta: the next one that differs in nothing but its text need not be looked through."""

from __future__ import annotations

_CONTENT = b'"content":"'

Around = tuple[int, bytes, bytes]
"""The length of what stands before the text, that itself, and what stands behind it (its quote is the first after the text)."""

NOTHING: Around = (0, b"", b"")  # like no frame at all


def around(data: bytes) -> Around:
    """NOTHING where the text is not in the usual place, or where it holds a quote."""
    place = data.find(_CONTENT) + len(_CONTENT)
    if place < len(_CONTENT) or data.find(_CONTENT, place) >= 0:
        return NOTHING
    end = data.find(b'"', place)
    return NOTHING if data[end - 1 : end] == b"\\" else (place, data[:place], data[end:])
