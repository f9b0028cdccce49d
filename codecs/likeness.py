"""The bytes before and after a plain delta's text; a delta with the same surroundings needs no JSON parsing."""

from __future__ import annotations

CONTENT = b'"content":"'
"""Where the text begins in a chunk of the Chat Completions API."""

Around = tuple[int, bytes, bytes]
"""The length of the bytes before the text, these bytes, and the bytes after it, starting with the closing quote."""

NOTHING: Around = (0, b"", b"")  # matches no frame


def around(data: bytes, opening: bytes) -> Around:
    """The surroundings of a plain delta's text; NOTHING if the text is not where expected or contains a quote.

    opening: the text's key, up to the text's opening quote.
    """
    place = data.find(opening) + len(opening)
    if place < len(opening) or data.find(opening, place) >= 0:
        return NOTHING
    end = data.find(b'"', place)
    return NOTHING if data[end - 1 : end] == b"\\" else (place, data[:place], data[end:])
