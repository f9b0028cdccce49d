"""Deltas that differ from the one before in their text and the numbers of the usage alone are read in a shorter way, to the same effect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs.gemini.likeness import NOTHING, Around, alike, around
from dragoman.codecs.gemini.observer import Observer
from dragoman.codecs.gemini.stream_in import StreamDecoder
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request

JSON = dict[str, Any]


def chunk(part: JSON, count: int = 1, index: int = 0, **more: Any) -> JSON:
    usage = {"promptTokenCount": 3, "candidatesTokenCount": count, "totalTokenCount": 3 + count}
    return {
        "candidates": [{"content": {"parts": [part], "role": "model"}, "index": index} | more],
        "usageMetadata": usage,
        "responseId": "r1",
    }


TEXTS = st.text() | st.sampled_from([
    "a", 'a "b" c', "\\", '\\"', '"', '"text":"', "ü", "\U0001f600", "\n", "\n\n", '"}],"role":"model"},"index":0}],"usageMetadata"', "7",
])  # fmt: skip
NUMBERS = st.integers(0, 12)
CHUNKS = (
    st.builds(lambda text, count: chunk({"text": text}, count), TEXTS, NUMBERS)
    | st.builds(lambda text, count: chunk({"text": text}, count), st.sampled_from("abc"), NUMBERS)
    | TEXTS.map(lambda text: chunk({"text": text}, index=1))
    | TEXTS.map(lambda text: chunk({"text": text, "thought": True}))
    | TEXTS.map(lambda text: chunk({"text": text, "thoughtSignature": "AAAA"}))
    | TEXTS.map(lambda text: {key: value for key, value in chunk({"text": text}).items() if key != "usageMetadata"})
    | st.just(chunk({"text": "x"}, finishReason="STOP"))
    | st.just(chunk({"text": "x"}, finishReason="CONTINUATION", continuationToken="t"))
    | st.just(chunk({"functionCall": {"name": "f", "args": {"text": "x"}}}))
    | st.just({"promptFeedback": {"blockReason": "SAFETY"}})
    | st.just({"error": {"code": 503, "message": "m"}})
)
COMPACT, SPACED = (",", ":"), (", ", ": ")


def written(value: JSON, separators: tuple[str, str], ascii_only: bool) -> bytes:
    return json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


@given(st.lists(CHUNKS, max_size=12), st.booleans(), st.sampled_from([COMPACT, SPACED]))
def test_the_short_way_tells_the_same(values: list[JSON], ascii_only: bool, separators: tuple[str, str]) -> None:
    told: list[Any] = []
    for disturbed in (False, True):
        decoder = StreamDecoder(Reply(Request("chat", "m", {}, True)))
        events: list[Any] = []
        for number, value in enumerate(values):
            if disturbed:  # each frame is unlike the one before
                value = value | {f"x{'y' * number}": 1}
            events.append(decoder.feed((b"", written(value, separators, ascii_only))))
        told.append(repr((events, decoder.finish(True), decoder.usage)))
    assert told[0] == told[1]


@given(st.lists(CHUNKS, max_size=12), st.sampled_from([COMPACT, SPACED]), st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_the_observer_sees_the_same(values: list[JSON], separators: tuple[str, str], end: bytes) -> None:
    told: list[Any] = []
    for repeats in (True, False):
        observer = Observer(Reply(Request("gemini", "m", {}, True)))
        for value in values:
            data = written(value, separators, True)
            if not (repeats and observer.content and observer.repeats(b"data: " + data + end)):
                observer.feed((b"", data))
        told.append((observer.usage, observer.stop, observer.content, observer.error and observer.error.message, observer.completed(True)))
    assert told[0] == told[1]


PLAIN = written(chunk({"text": "a"}), COMPACT, True)


def test_around() -> None:
    head = b'{"candidates":[{"content":{"parts":[{"text":"'
    usage = b'"usageMetadata":{"promptTokenCount":,"candidatesTokenCount":,"totalTokenCount":},"responseId":"r"}'
    known = Around(len(head), head, b'"}],"role":"model"},"index":0}],', usage)
    assert around(PLAIN) == known
    assert alike(PLAIN.replace(b'"a"', b'"b c"').replace(b":1,", b":17,"), known)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"index":0', b'"index":1'),
        (b'"index":0', b'"index":0,"finishReason":"STOP"'),
        (b'"a"', b'"a","thought":true'),
        (b'"a"', b'"a\n"'),
        (b'"responseId"', b'"error":{},"responseId"'),
    ],
)
def test_what_is_not_alike(before: bytes, after: bytes) -> None:
    assert before in PLAIN
    assert not alike(PLAIN.replace(before, after), around(PLAIN))


@pytest.mark.parametrize("data", [b"", b"{}", b'{"text":7}', b'{"text":"a\\"b"}', b'{"text":"a","x":{"text":"b"}}', b'{"text":["a"]}'])
def test_nothing_is_known_of_others(data: bytes) -> None:
    assert around(data) == NOTHING
    assert not alike(data, NOTHING)
