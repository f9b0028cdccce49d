"""What a provider wants back with a tool call or a text: from its answer through a caller of each shape, and back to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dragoman.codecs import events as ev
from dragoman.codecs import machine
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request

from . import grammar
from .wire import Wire

SIGNED = {"google": {"thought_signature": "SIG-A"}}
GOOGLE = Capabilities(c_extra_content=True, c_reasoning_in="none", reasoning_domain="gemini")


def call(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}} | more


def answer(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": None} | message, "finish_reason": "tool_calls"}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def reply(shape: str) -> Reply:
    return Reply(Request(shape, "m", {}, include_encrypted=True), domain="gemini", upstream="chat")


def carried(shape: str, body: dict[str, Any]) -> tuple[dict[str, Any], list[ev.Event], Reply]:
    """An upstream's answer as a caller of the shape gets it; the stream says the same."""
    told = reply(shape)
    events = SHAPES["chat"].decode_response(body, told)
    machine.check(events)
    collector = SHAPES[shape].Collector(told)
    collector.feed(events)
    return collector.body(), events, told


def history(shape: str, told: dict[str, Any]) -> dict[str, Any]:
    """The next request of a caller that sends back what it got."""
    if shape == "chat":
        said = told["choices"][0]["message"]
        results = [{"role": "tool", "tool_call_id": one["id"], "content": "42"} for one in said["tool_calls"]]
        return {"model": "m", "messages": [{"role": "user", "content": "Hi"}, said, *results]}
    if shape == "messages":
        results = [{"type": "tool_result", "tool_use_id": b["id"], "content": "42"} for b in told["content"] if b["type"] == "tool_use"]
        turns = [{"role": "assistant", "content": told["content"]}, {"role": "user", "content": results}]
        return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}, *turns]}
    calls = [item["call_id"] for item in told["output"] if item["type"] == "function_call"]
    results = [{"type": "function_call_output", "call_id": id, "output": "42"} for id in calls]
    return {"model": "m", "store": False, "input": [{"role": "user", "content": "Hi"}, *told["output"], *results]}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_calls_signature_comes_back(shape: str) -> None:
    told, events, _ = carried(shape, answer(tool_calls=[call("a", extra_content=SIGNED), call("b")]))
    starts = [event for event in events if isinstance(event, ev.ToolStart)]
    assert [start.seal for start in starts] == [ev.Seal(0, "google", "SIG-A"), None]
    request = SHAPES[shape].decode_request(history(shape, told))
    up = SHAPES["chat"].encode_request(request, GOOGLE, "m").body
    first, second = up["messages"][1]["tool_calls"]
    assert (first["extra_content"], "extra_content" in second) == (SIGNED, False)
    assert (request.ledger.dropped, request.ledger.adapted) == ([], [])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_signature_streams_with_the_call(shape: str) -> None:
    told = reply(shape)
    decoder, encoder = SHAPES["chat"].Decoder(told), Wire(shape, told)
    delta = {"tool_calls": [{"index": 0} | call("a", extra_content=SIGNED)]}
    out = b""
    for choice in ({"delta": delta}, {"delta": {}, "finish_reason": "tool_calls"}):
        out += encoder.feed(decoder.feed((b"", json.dumps({"id": "c", "choices": [{"index": 0} | choice]}).encode())))
    out += encoder.feed(decoder.feed((b"", b"[DONE]")))
    assert {"chat": grammar.chat, "messages": grammar.messages, "responses": grammar.responses}[shape](out) == "done"
    at = {"chat": b'"extra_content":{"google":{"thought_signature":"SIG-A"}}', "messages": b"dgr1.", "responses": b"dgr1."}[shape]
    assert 0 <= out.index(at) < out.index(b'{\\"x\\":1}')
    assert told.unsaid.labels == []


@pytest.mark.parametrize("shape", SHAPES)
def test_a_provider_that_cannot_read_it_does_not_get_it(shape: str) -> None:
    """It is named as lost, whichever upstream comes next."""
    told, _, _ = carried(shape, answer(tool_calls=[call("a", extra_content=SIGNED)]))
    for upstream, capabilities in (("chat", Capabilities()), ("messages", Capabilities()), ("responses", Capabilities())):
        request = SHAPES[shape].decode_request(history(shape, told))
        up = SHAPES[upstream].encode_request(request, capabilities, "m").body
        assert b"SIG-A" not in json.dumps(up).encode()
        assert b"dgr1." not in json.dumps(up).encode()
        assert len(request.ledger.dropped) == 1, upstream


def test_another_domains_signature_stays_here() -> None:
    told, _, _ = carried("messages", answer(tool_calls=[call("a", extra_content=SIGNED)]))
    request = SHAPES["messages"].decode_request(history("messages", told))
    other = Capabilities(c_extra_content=True, reasoning_domain="other")
    assert "extra_content" not in SHAPES["chat"].encode_request(request, other, "m").body["messages"][1]["tool_calls"][0]
    assert len(request.ledger.dropped) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_texts_signature(shape: str) -> None:
    """The chat shape has a place for it; elsewhere it is reported."""
    told, events, given = carried(shape, answer(content="Hello", extra_content=SIGNED))
    assert ev.Seal(0, "google", "SIG-A") in events
    if shape == "chat":
        said = told["choices"][0]["message"]
        assert (said["content"], said["extra_content"], given.unsaid.count) == ("Hello", SIGNED, 0)
        request = SHAPES["chat"].decode_request({"model": "m", "messages": [{"role": "user", "content": "Hi"}, said]})
        assert SHAPES["chat"].encode_request(request, GOOGLE, "m").body["messages"][1]["extra_content"] == SIGNED
    else:
        assert given.unsaid.count == 1


@pytest.mark.parametrize("extra", [7, "x", [], {"google": 7}, {"google": {"thought_signature": 7}}, {"google": {}}, {"other": 1}])
def test_other_extras_are_reported(extra: Any) -> None:
    _, events, told = carried("messages", answer(tool_calls=[call("a", extra_content=extra)]))
    assert [event.seal for event in events if isinstance(event, ev.ToolStart)] == [None]
    assert told.unsaid.count == bool(extra)
    said = {"role": "assistant", "content": None, "tool_calls": [call("a", extra_content=extra)]}
    request = SHAPES["chat"].decode_request({"model": "m", "messages": [said]})
    assert [entry.path[-1] for entry in request.ledger.dropped] == ["extra_content"]
