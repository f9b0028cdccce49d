"""The short way of answers that are carried as they are: a read of deltas, and nothing besides, need not be taken apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.sse import Splitter


def _chat(text: str, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: %b\n\n" % json.dumps({"id": "c", "choices": [choice | more]}, separators=(",", ":")).encode()


def _event(kind: str, **members: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **members}).encode())


def _messages(text: str) -> bytes:
    return _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def _responses(text: str) -> bytes:
    return _event("response.output_text.delta", output_index=0, content_index=0, delta=text)


DELTA = {"chat": _chat, "messages": _messages, "responses": _responses}


def observer(shape: str) -> Any:
    """One that has seen two deltas."""
    found = SHAPES[shape].Observer(Reply(Request(shape, "m", {})))
    for frame in Splitter().feed(DELTA[shape]("one") + DELTA[shape]("two")):
        found.feed(frame)
    return found


@pytest.mark.parametrize("shape", DELTA)
@pytest.mark.parametrize("text", ["", "three", "\u2028", "x" * 9000])
def test_more_deltas(shape: str, text: str) -> None:
    assert observer(shape).repeats(DELTA[shape](text)) == 1
    assert observer(shape).repeats(DELTA[shape](text) + DELTA[shape]("b")) == 2
    assert observer(shape).repeats(DELTA[shape]("a") * 7 + DELTA[shape](text)) == 8


@pytest.mark.parametrize("shape", DELTA)
def test_nothing_repeats_what_was_not_seen(shape: str) -> None:
    """An observer is asked as soon as it has seen content; the first delta is content, and is fed."""
    fresh = SHAPES[shape].Observer(Reply(Request(shape, "m", {})))
    assert not fresh.content
    assert shape != "chat" or not fresh.repeats(DELTA[shape]("one"))


OTHER = [
    ("chat", _chat("a") + b"\n"),
    ("chat", _chat("a") + b": ping\n\n"),
    ("chat", _chat("a") + _chat("b", index=1)),
    ("chat", _chat("a") + _chat("b", finish_reason="stop") + _chat("c")),
    ("chat", _chat("a") + _chat('b"') + _chat("c")),
    ("chat", _chat("a") + _chat("b\nc").replace(b"\\n", b"\n")),
    ("chat", _chat("a") + _chat("b") + _chat("c")[:-1]),
    ("chat", _chat("a") + _chat("b\rc").replace(b"\\r", b"\r")),
    ("chat", _chat("a", finish_reason="stop")),
    ("chat", _chat("a\nb").replace(b"\\n", b"\n")),
    ("chat", _chat("a\n\nb").replace(b"\\n", b"\n")),
    ("chat", _chat('a"b')),
    ("chat", _chat("a")[:-1]),
    ("chat", _chat("a") + b"data: [DONE]\n\n"),
    ("chat", b"data: [DONE]\n\n"),
    ("chat", b": keep-alive\n\n"),
    ("chat", b"event: error\n" + _chat("a")),
    ("messages", _messages("a") + b"\n"),
    ("messages", _messages("a") + _messages("b").replace(b"}}\n\n", b"\n\n") + _messages("c")),
    ("messages", _messages("a") + _event("message_stop")),
    ("messages", _messages("a") + _event("message_stop") + _messages("b")),
    ("messages", _messages("a") + _messages("b")[:-1]),
    ("messages", _messages("a")[:-1]),
    ("messages", _messages("a").replace(b"}}\n\n", b"\n\n")),
    ("messages", _messages("a").replace(b"data: ", b"id: 1\ndata: ")),
    ("messages", _event("message_stop")),
    ("messages", _event("error", error={"type": "api_error", "message": "x"})),
    ("responses", _responses("a") + _event("response.completed", response={})),
    ("responses", _responses("a") + _event("response.completed", response={}) + _responses("b")),
    ("responses", _responses("a") + b": ping\n\n" + _responses("b")),
    ("responses", _responses("a").replace(b"}\n\n", b"\n\n")),
    ("responses", _event("response.completed", response={})),
    ("responses", _event("error", message="x")),
]


@pytest.mark.parametrize(("shape", "read"), OTHER)
def test_anything_else_is_looked_at(shape: str, read: bytes) -> None:
    for chunk in (read, read.replace(b"\n", b"\r\n"), read.replace(b"\n", b"\r")):
        assert not observer(shape).repeats(chunk)
