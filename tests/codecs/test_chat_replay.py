"""A chat client's next turn over a messages upstream: what it was told, sent back, is what the model said, block by block."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import chat, messages
from dragoman.codecs import events as ev
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request

from .fuzzing import fuzz
from .wire import Wire


def answered(blocks: list[dict[str, Any]]) -> list[ev.Event]:
    body = {"id": "msg_1", "model": "claude-x", "content": blocks, "stop_reason": "end_turn", "usage": {}}
    return messages.decode_response(body, Reply(Request("chat", "m", {})))


def told(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that the client gets."""
    collector = chat.Collector(Reply(Request("chat", "m", {})))
    collector.feed(answered(blocks))
    message: dict[str, Any] = orjson.loads(orjson.dumps(collector.body()["choices"][0]["message"]))
    return message


def replayed(message: dict[str, Any]) -> tuple[Any, list[str]]:
    """The model's turn as the upstream reads it the next time, and what was not carried."""
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "r"} for call in message.get("tool_calls", [])]
    history = [{"role": "user", "content": "q"}, message, *results, {"role": "user", "content": "go"}]
    request = chat.decode_request({"model": "m", "messages": history})
    body = messages.encode_request(request, Capabilities(), "m").body
    return body["messages"][1]["content"], request.ledger.names(request.ledger.dropped, request.body)


def thinking(text: str, signature: str = "SIG") -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(id: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "f", "input": given}


RED = {"type": "redacted_thinking", "data": "RED"}


@pytest.mark.parametrize(
    "blocks",
    [
        [thinking("plan", "S1"), RED, text("Hi 😀"), use("c", a=1)],
        [thinking("p", "S1"), text("a"), thinking("q", "S2"), use("c")],
        [thinking("", "S1"), text("a")],
        [text("a"), use("c"), thinking("p"), text("b"), use("d"), text("c")],
        [RED, text("a\n\nb"), RED, text("c")],
        [use("c"), thinking("p"), use("d"), thinking("q")],
        [thinking("p"), use("c"), text("b")],
    ],
)
def test_blocks_come_back_as_they_were(blocks: list[dict[str, Any]]) -> None:
    assert replayed(told(blocks)) == (blocks, [])


def test_texts_that_nothing_sealed_stands_between() -> None:
    assert replayed(told([text("a"), text("b")])) == ("ab", [])
    assert replayed(told([text("a"), use("c"), text("b")])) == ([text("a\n\nb"), use("c")], [])


@st.composite
def turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    words = st.text('ab\n 😀"', min_size=1, max_size=5).filter(str.strip)
    blocks: list[dict[str, Any]] = []
    for kind in draw(st.lists(st.sampled_from(["thinking", "redacted", "text", "use"]), min_size=1, max_size=8)):
        if kind == "thinking":
            blocks.append(thinking(draw(words | st.just("")), f"S{len(blocks)}"))
        elif kind == "redacted":
            blocks.append({"type": "redacted_thinking", "data": f"R{len(blocks)}"})
        elif kind == "text":
            blocks.append(text(draw(words)))
        else:
            blocks.append(use(f"c{len(blocks)}", **draw(st.sampled_from([{}, {"a": [1, "é"]}]))))
    return [RED, *blocks]


@fuzz(200)
@given(turns())
def test_any_sealed_turn_comes_back_as_it_was(blocks: list[dict[str, Any]]) -> None:
    message = told(blocks)
    found, lost = replayed(message)
    assert found == blocks
    assert lost == []
    # and so it does from what a stream adds up to
    said = [value for value in chat_stream(blocks) if isinstance(value, dict)]
    details = [delta["reasoning_details"] for delta in said if "reasoning_details" in delta]
    assert details == [message["reasoning_details"]]


def chat_stream(blocks: list[dict[str, Any]]) -> list[Any]:
    out = Wire("chat", Reply(Request("chat", "m", {}))).feed(answered(blocks))
    values = [orjson.loads(frame[6:]) for frame in out.split(b"\n\n") if frame not in (b"", b"data: [DONE]")]
    return [choice["delta"] for value in values for choice in value["choices"]]
