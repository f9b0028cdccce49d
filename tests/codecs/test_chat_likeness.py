"""Deltas that differ from the one before in nothing but their text are read in a shorter way: with the same outcome."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import chat
from dragoman.codecs.chat.likeness import NOTHING, around
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request


def chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} | more]}


TEXTS = st.text() | st.sampled_from(["a", 'a "b" c', "\\", '\\"', '"', '"content":"', "ü", "\U0001f600", "\n", '"},"logprobs":null'])
CHUNKS = (
    TEXTS.map(lambda text: chunk({"content": text}))
    | TEXTS.map(lambda text: chunk({"content": text, "reasoning_content": text}))
    | st.just(chunk({"content": "x"}, finish_reason="stop"))
    | st.just(chunk({"tool_calls": [{"index": 0, "id": "i", "function": {"name": "f", "arguments": "{}"}}]}))
)


@given(st.lists(CHUNKS, max_size=12), st.booleans())
def test_the_short_way_tells_the_same(values: list[dict[str, Any]], ascii_only: bool) -> None:
    told: list[list[Any]] = []
    for separators in ((",", ":"), (" , ", " : ")):  # with spaces nothing is like anything
        decoder = chat.StreamDecoder(Reply(Request("chat", "m", {}, True)))
        feed = decoder.feed
        told.append([feed((b"", json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode())) for value in values])
    assert told[0] == told[1]


def test_around() -> None:
    assert around(b'{"content":"a","b":1}') == (12, b'{"content":"', b'","b":1}')
    for other in (b'{"content":"a\\"b"}', b'{"content":null}', b'{"content":"a","x":{"content":"b"}}', b"{}", b""):
        assert around(other) == NOTHING
