"""Read the sources that Google gives for ranges of an answer.

`groundingMetadata` and `citationMetadata` count in bytes of UTF-8 of the answer's text, without its thoughts. Some of Google's ranges are
off; where a range does not hold the text that is said to be there, that text is looked for.
Source: GroundingMetadata, Segment and CitationSource in the protos of the Generative Language API.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

_MOST = 1000  # sources of one answer
_LONGEST = 1_000_000  # characters of a text whose ranges are read


class Source(NamedTuple):
    """start, end: code points of the answer's text; None: all of it."""

    url: str
    title: str
    start: int | None = None
    end: int | None = None


def sources(text: str, grounding: dict[str, Any], citations: list[Any]) -> list[Source]:
    """text: the answer's, joined. grounding: groundingMetadata. citations: those of citationMetadata."""
    reading = _Ranges(text)
    found = dict.fromkeys((*_grounded(reading, grounding), *_cited(reading, citations)))
    return list(found)[:_MOST]


def _grounded(reading: _Ranges, grounding: dict[str, Any]) -> Iterator[Source]:
    chunks = [_place(chunk) for chunk in _dicts(grounding.get("groundingChunks"))]
    for support in _dicts(grounding.get("groundingSupports"))[:_MOST]:
        segment = support.get("segment")
        begin, end = reading.of(segment if isinstance(segment, dict) else {})
        indices = support.get("groundingChunkIndices")
        for index in indices[:_MOST] if isinstance(indices, list) else []:
            if type(index) is int and 0 <= index < len(chunks) and chunks[index] is not None:
                url, title = chunks[index] or ("", "")
                yield Source(url, title, begin, end)


def _cited(reading: _Ranges, citations: list[Any]) -> Iterator[Source]:
    for citation in _dicts(citations)[:_MOST]:
        url = citation.get("uri")
        if isinstance(url, str) and url.startswith(("https://", "http://")):
            yield Source(url, _text(citation, "title"), *reading.of(citation))


def _place(chunk: dict[str, Any]) -> tuple[str, str] | None:
    for kind in ("web", "maps", "retrievedContext"):
        place = chunk.get(kind)
        if isinstance(place, dict) and (url := _text(place, "uri")):
            return url, _text(place, "title")
    return None


class _Ranges:
    """Ranges of bytes of a text as ranges of code points."""

    def __init__(self, text: str) -> None:
        self._text = text
        long = len(text) > _LONGEST
        self._ends = None if long or text.isascii() else list(accumulate(len(each.encode("utf-8", "replace")) for each in text))
        self._bytes = -1 if long else self._ends[-1] if self._ends else len(text)

    def of(self, segment: dict[str, Any]) -> tuple[int | None, int | None]:
        """The range of a segment; (None, None) for all of the text."""
        begin, end, said = segment.get("startIndex", 0), segment.get("endIndex"), _text(segment, "text")
        if type(begin) is int and type(end) is int and 0 <= begin < end:
            first, last = self._point(begin), self._point(end)
            if end <= self._bytes and (not said or self._text[first:last] == said):
                return first, last
        at = self._text.find(said) if said and self._bytes >= 0 else -1
        return (None, None) if at < 0 else (at, at + len(said))

    def _point(self, byte: int) -> int:
        return byte if self._ends is None else bisect_right(self._ends, byte)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(holder: dict[str, Any], key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""
