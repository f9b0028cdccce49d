"""Deltas that differ from the one before in nothing but their text are read in a shorter way: with the same outcome."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import chat, messages
from dragoman.codecs.likeness import CONTENT, NOTHING, around
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


def start(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **members: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind} | members}


INDEXES = st.sampled_from([0, 0, 0, 1])
DELTAS = (
    st.builds(lambda index, text: delta(index, "text_delta", text=text), INDEXES, TEXTS)
    | st.builds(lambda index, text: delta(index, "text_delta", text=text, also=text), INDEXES, TEXTS)
    | st.builds(lambda index, text: delta(index, "thinking_delta", thinking=text), INDEXES, TEXTS)
    | st.builds(lambda index, text: delta(index, "input_json_delta", partial_json=text), INDEXES, TEXTS)
    | st.builds(lambda index: delta(index, "signature_delta", signature="s"), INDEXES)
    | st.builds(lambda index: {"type": "content_block_stop", "index": index}, INDEXES)
    | st.builds(start, INDEXES, st.sampled_from([{"type": "text", "text": ""}, {"type": "thinking", "thinking": "", "signature": ""}]))
    | st.builds(start, INDEXES, st.just({"type": "tool_use", "id": "t", "name": "f", "input": {}}))
    | st.sampled_from([{"type": "ping"}, {"type": "error", "error": {"type": "api_error", "message": "m"}}, {"type": "message_stop"}])
)


def decoded(decoder: Any, values: list[dict[str, Any]], separators: tuple[str, str], ascii_only: bool) -> list[str]:
    feed = decoder.feed
    return [repr(feed((b"", json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode()))) for value in values]


SPACED = (" , ", " : ")  # with spaces nothing is like anything


@given(st.lists(CHUNKS, max_size=12), st.booleans())
def test_the_short_way_tells_the_same(values: list[dict[str, Any]], ascii_only: bool) -> None:
    short, long = (chat.StreamDecoder(Reply(Request("chat", "m", {}, True))) for _ in range(2))
    assert decoded(short, values, (",", ":"), ascii_only) == decoded(long, values, SPACED, ascii_only)


@given(st.lists(DELTAS, max_size=12), st.booleans())
def test_the_short_way_of_messages_tells_the_same(values: list[dict[str, Any]], ascii_only: bool) -> None:
    begun = [{"type": "message_start", "message": {"id": "m", "model": "m", "usage": {}}}, start(0, {"type": "text", "text": ""})]
    short, long = (messages.StreamDecoder(Reply(Request("messages", "m", {}, True))) for _ in range(2))
    assert decoded(short, begun + values, (",", ":"), ascii_only) == decoded(long, begun + values, SPACED, ascii_only)


def test_around() -> None:
    assert around(b'{"content":"a","b":1}', CONTENT) == (12, b'{"content":"', b'","b":1}')
    for other in (b'{"content":"a\\"b"}', b'{"content":null}', b'{"content":"a","x":{"content":"b"}}', b"{}", b""):
        assert around(other, CONTENT) == NOTHING


ENTRIES = st.builds(
    lambda index, arguments, more: {"index": index, "function": {"arguments": arguments}} | more,
    st.sampled_from([0, 0, 0, 1, None, True]),
    st.sampled_from(['{"a":', '"b', '"', "}", '{"a":"b"}', "null", "", " ", "\u00e9", '"}', None, {"a": 1}]),
    st.sampled_from([{}, {}, {}, {"type": "function"}, {"id": "i"}, {"id": "k", "type": "custom"}, {"extra_content": {}}]),
)
OPENINGS = st.sampled_from([0, 1]).map(lambda index: {"index": index, "id": f"i{index}", "function": {"name": "f", "arguments": ""}})


@given(st.lists(st.lists(ENTRIES | OPENINGS, min_size=1, max_size=2), max_size=12))
def test_the_short_way_of_arguments_tells_the_same(calls: list[list[dict[str, Any]]]) -> None:
    """A delta that says something else besides, even nothing, goes the long way."""
    first = chunk({"tool_calls": [{"index": 0, "id": "i", "function": {"name": "f", "arguments": '{"x'}}]})
    last = chunk({}, finish_reason="tool_calls")
    both = [[first, *(chunk({"tool_calls": entries} | more) for entries in calls), last] for more in ({}, {"content": None})]
    short, long = (chat.StreamDecoder(Reply(Request("chat", "m", {}, True))) for _ in range(2))
    assert decoded(short, both[0], SPACED, True) == decoded(long, both[1], SPACED, True)
    assert repr(short.finish(True)) == repr(long.finish(True))
