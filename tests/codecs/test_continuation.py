"""Where an answer that goes on with another repeats the end of that."""

from __future__ import annotations

import random

import pytest

from dragoman.codecs.continuation import SHORTEST, Overlap, Transcript
from dragoman.codecs.events import Ping, Start, Text, TextStart

from ..attack.growth import assert_linear

END = "the quick brown fox jumps over the lazy dog"


@pytest.mark.parametrize(
    ("text", "more", "out"),
    [
        (f"So {END}", f"{END} again", " again"),
        (f"So {END}", f"So {END} again", " again"),
        (f"So {END}", " again and again and again", " again and again and again"),
        (f"So {END}", END[:-1], END[:-1]),
        (f"So {END}", END[-SHORTEST:] + "!", "!"),
        (f"So {END}", END[1 - SHORTEST :] + "!", END[1 - SHORTEST :] + "!"),
        ("ab" * 30, "ab" * 8 + "!", "!"),
        ("", "Hello", "Hello"),
    ],
)
def test_overlap(text: str, more: str, out: str) -> None:
    draw = random.Random(3)
    for size in (1, 2, 5, SHORTEST, len(more)):
        overlap = Overlap(text)
        found = [overlap.feed(more[at : at + size]) for at in range(0, len(more), size)]
        assert "".join(found) + overlap.finish() == out
    for _ in range(100):
        overlap, cut = Overlap(text), draw.randrange(len(more))
        assert overlap.feed(more[:cut]) + overlap.feed(more[cut:]) + overlap.finish() == out


def test_a_long_repetition_in_small_pieces() -> None:
    def fed(text: str) -> None:
        overlap = Overlap(text)
        for at in range(0, len(text) - 1, 8):
            overlap.feed(text[at : at + 8])

    assert_linear(lambda size: "".join(random.Random(1).choices("abcdefgh ", k=size)), fed, small=20_000)


def test_a_ping_within_a_text_changes_nothing() -> None:
    told = Transcript()
    told.feed([Start("", "", 0), TextStart(0), Text(0, "The quick "), Ping(), Text(0, "brown "), Text(0, "fox")])
    assert told.texts() == ["The quick brown fox"]
