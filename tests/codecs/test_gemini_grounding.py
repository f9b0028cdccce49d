"""Ranges of an answer and their sources: bytes of UTF-8 on Google's side, code points in the hub, and how much of them is looked at."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import events as ev
from dragoman.codecs.gemini.grounding import sources
from dragoman.codecs.gemini.grounding_out import Grounding

LETTERS = st.sampled_from(["a", "é", "\u2028", "😀", "\ud800"])
# long ones have several of the blocks by which places are counted
TEXTS = st.tuples(st.text(LETTERS, min_size=1, max_size=40), st.sampled_from([1, 300])).map(lambda drawn: drawn[0] * drawn[1])


def size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def grounded(begin: int, end: int, said: str = "") -> dict[str, Any]:
    segment = {"startIndex": begin, "endIndex": end} | ({"text": said} if said else {})
    return {
        "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}],
        "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0]}],
    }


@given(TEXTS, st.data())
def test_a_range_is_the_same_on_both_sides(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    begin, after = size(text[:start]), size(text[:end])
    assert [found[2:] for found in sources(text, grounded(begin, after), [])] == [(start, end)]
    told = Grounding()
    told.text_of(0)
    told.pieces.append(text)
    told.citations.append(ev.Citation(0, "https://a.example", "A", start, end))
    metadata = told.metadata()
    assert metadata is not None
    assert metadata["groundingSupports"][0]["segment"] == {"startIndex": begin, "endIndex": after, "text": text[start:end]}


@given(TEXTS, st.data())
def test_a_place_within_a_character_is_before_it(text: str, data: st.DataObject) -> None:
    byte = data.draw(st.integers(1, size(text)))
    whole = len(text.encode("utf-8", "replace")[:byte].decode("utf-8", "ignore"))
    assert [found[2:] for found in sources(text, grounded(0, byte), [])] == [(0, whole)]


def test_sources_that_are_repeated_without_end() -> None:
    """What stands behind five thousand of them is not looked at."""
    support = {"segment": {"startIndex": 0, "endIndex": 2, "text": "ab"}, "groundingChunkIndices": [0] * 1000}
    last = {"segment": {"startIndex": 0, "endIndex": 2, "text": "ab"}, "groundingChunkIndices": [1]}
    chunks = [{"web": {"uri": f"https://{name}.example"}} for name in "ab"]
    for before, told in ((4, ["https://a.example", "https://b.example"]), (5, ["https://a.example"])):
        found = sources("ab", {"groundingChunks": chunks, "groundingSupports": [support] * before + [last]}, [])
        assert [source.url for source in found] == told


def test_texts_that_are_not_in_their_ranges() -> None:
    """They are looked for as long as that is cheap; the rest is cited for all of the text."""
    text = "a" * 999_999 + "b"
    support = {"segment": {"startIndex": 0, "endIndex": 1, "text": "b"}}
    chunks = [{"web": {"uri": f"https://{number}.example"}} for number in range(25)]
    supports = [support | {"groundingChunkIndices": [number]} for number in range(25)]
    found = sources(text, {"groundingChunks": chunks, "groundingSupports": supports}, [])
    assert [source[2:] for source in found] == [(999_999, 1_000_000)] * 20 + [(None, None)] * 5


def test_an_upstream_that_cites_without_end() -> None:
    """The first thousand ranges are told, and no more of their texts than a million characters."""
    told = Grounding()
    told.text_of(0)
    told.pieces.append("é" * 10_000)
    told.citations += [ev.Citation(0, f"https://{number}.example", "", None, None) for number in range(2000)]
    metadata = told.metadata()
    assert metadata is not None
    segments = [support["segment"] for support in metadata["groundingSupports"]]
    assert len(segments) == len(metadata["groundingChunks"]) == 1000
    assert [("text" in segment, segment["endIndex"]) for segment in segments] == [(True, 20_000)] * 100 + [(False, 20_000)] * 900
