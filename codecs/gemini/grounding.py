"""Read the sources that Google gives for ranges of an answer.

`groundingMetadata` and `citationMetadata` count in bytes of UTF-8 of the answer's text, without its thoughts. Some of Google's ranges are
off; where a range does not hold the text that is said to be there, that text is looked for.
Source: GroundingMetadata, Segment and CitationSource in the protos of the Generative Language API.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from ..anything import dict_of, dicts_in, dicts_of, str_of

_MOST = 1000  # sources of one answer
_PAIRS = 5 * _MOST  # of a range and a source that are looked at, for those that are repeated
_LONGEST = 1_000_000  # characters of a text whose ranges are read
_SEARCHED = 20 * _LONGEST  # characters that are looked through for texts that are not in their ranges
_BLOCK = 4096  # bytes
_INNER = bytes(range(0x80, 0xC0))  # bytes that begin no character


class Source(NamedTuple):
    """start, end: code points of the answer's text; None: all of it."""

    url: str
    title: str
    start: int | None = None
    end: int | None = None


def sources(text: str, grounding: dict[str, Any], citations: list[Any]) -> list[Source]:
    """text: the answer's, joined. grounding: groundingMetadata. citations: those of citationMetadata."""
    reading = _Ranges(text)
    unique = dict.fromkeys((*islice(_grounded(reading, grounding), _PAIRS), *_cited(reading, citations)))
    return list(unique)[:_MOST]


def _grounded(reading: _Ranges, grounding: dict[str, Any]) -> Iterator[Source]:
    chunks = [_place(chunk) for chunk in dicts_of(grounding, "groundingChunks")]
    for support in dicts_of(grounding, "groundingSupports")[:_MOST]:
        begin, end = reading.of(dict_of(support, "segment"))
        indices = support.get("groundingChunkIndices")
        for index in indices[:_MOST] if isinstance(indices, list) else []:
            if type(index) is int and 0 <= index < len(chunks) and chunks[index] is not None:
                url, title = chunks[index] or ("", "")
                yield Source(url, title, begin, end)


def _cited(reading: _Ranges, citations: list[Any]) -> Iterator[Source]:
    for citation in dicts_in(citations)[:_MOST]:
        url = citation.get("uri")
        if isinstance(url, str) and url.startswith(("https://", "http://")):
            yield Source(url, str_of(citation, "title"), *reading.of(citation))


def _place(chunk: dict[str, Any]) -> tuple[str, str] | None:
    for kind in ("web", "maps", "retrievedContext"):
        place = chunk.get(kind)
        if isinstance(place, dict) and (url := str_of(place, "uri")):
            return url, str_of(place, "title")
    return None


class _Ranges:
    """Ranges of bytes of a text as ranges of code points."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._data = b"" if len(text) > _LONGEST else text.encode("utf-8", "replace")
        self._plain = len(self._data) == len(text)
        self._before = [0]  # characters before each block, as far as it was needed
        self._left = _SEARCHED

    def of(self, segment: dict[str, Any]) -> tuple[int | None, int | None]:
        """The range of a segment; (None, None) for all of the text."""
        begin, end, excerpt = segment.get("startIndex", 0), segment.get("endIndex"), str_of(segment, "text")
        if type(begin) is int and type(end) is int and 0 <= begin < end:
            first, last = self._point(begin), self._point(end)
            if end <= len(self._data) and (not excerpt or self._text[first:last] == excerpt):
                return first, last
        at = self._find(excerpt) if excerpt and self._data else -1
        return (None, None) if at < 0 else (at, at + len(excerpt))

    def _find(self, excerpt: str) -> int:
        self._left -= len(self._text)
        return self._text.find(excerpt) if self._left >= 0 else -1

    def _point(self, byte: int) -> int:
        """The number of whole characters before a byte."""
        if self._plain or byte >= len(self._data):
            return min(byte, len(self._text))
        block, before = byte // _BLOCK, self._before
        while len(before) <= block:
            begin = (len(before) - 1) * _BLOCK
            before.append(before[-1] + _begun(self._data[begin : begin + _BLOCK]))
        inside = 0x80 <= self._data[byte] < 0xC0
        return before[block] + _begun(self._data[block * _BLOCK : byte]) - inside


def _begun(data: bytes) -> int:
    """The number of characters that begin in these bytes."""
    return len(data.translate(None, _INNER))
