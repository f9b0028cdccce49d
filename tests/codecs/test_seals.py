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

CALLERS = ("chat", "messages", "responses")  # what gemini callers are told is in test_gemini_stream_out.py
SIGNED = {"google": {"thought_signature": "SIG-A"}}
GOOGLE = Capabilities(c_extra_content=True, c_reasoning_in="none", reasoning_domain="gemini")


def call(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}} | more


def answer(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": None} | message, "finish_reason": "tool_calls"}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def reply(shape: str) -> Reply:
    return Reply(Request(shape, "m", {}), domain="gemini", upstream="chat")


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


@pytest.mark.parametrize("shape", CALLERS)
def test_a_calls_signature_comes_back(shape: str) -> None:
    told, events, _ = carried(shape, answer(tool_calls=[call("a", extra_content=SIGNED), call("b")]))
    starts = [event for event in events if isinstance(event, ev.ToolStart)]
    assert [start.seal for start in starts] == [ev.Seal(0, "google", "SIG-A"), None]
    request = SHAPES[shape].decode_request(history(shape, told))
    up = SHAPES["chat"].encode_request(request, GOOGLE, "m").body
    first, second = up["messages"][1]["tool_calls"]
    assert (first["extra_content"], "extra_content" in second) == (SIGNED, False)
    assert (request.ledger.dropped, request.ledger.adapted) == ([], [])


@pytest.mark.parametrize("shape", CALLERS)
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


@pytest.mark.parametrize("shape", CALLERS)
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


@pytest.mark.parametrize("shape", CALLERS)
def test_a_texts_signature(shape: str) -> None:
    """The chat shape has a place for it; a responses caller gets it in an item of its own, a messages caller only if it thinks."""
    told, events, given = carried(shape, answer(content="Hello", extra_content=SIGNED))
    assert ev.Seal(0, "google", "SIG-A") in events
    if shape == "chat":
        said = told["choices"][0]["message"]
        assert (said["content"], said["extra_content"], given.unsaid.count) == ("Hello", SIGNED, 0)
        request = SHAPES["chat"].decode_request({"model": "m", "messages": [{"role": "user", "content": "Hi"}, said]})
        assert SHAPES["chat"].encode_request(request, GOOGLE, "m").body["messages"][1]["extra_content"] == SIGNED
    elif shape == "responses":
        assert [item["type"] for item in told["output"]] == ["message", "reasoning"]
        request = SHAPES["responses"].decode_request({"model": "m", "input": [{"role": "user", "content": "Hi"}, *told["output"]]})
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


# ---- reasoning_details of a format that no other shape knows, and reasoning that nobody sealed ----

SAID = {"type": "reasoning.text", "text": "Hm.", "format": "google-gemini-v1", "index": 0}
DETAILS: list[list[dict[str, Any]]] = [
    [SAID, {"type": "reasoning.encrypted", "data": "ENC", "id": "a", "format": "google-gemini-v1", "index": 0}],
    [
        {"type": "reasoning.encrypted", "data": "E1", "id": "a", "format": "google-gemini-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "E2", "id": "b", "format": "google-gemini-v1", "index": 0},
    ],
    [
        {"type": "reasoning.summary", "summary": "Hm.", "format": "xai-responses-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "ENC", "id": "rs_1", "format": "xai-responses-v1", "index": 1},
    ],
    [{"type": "reasoning.text", "text": "Hm.", "format": "unknown", "index": 0, "id": None, "signature": None}],
    [{"type": "reasoning.text", "text": "Hm.", "signature": "S", "format": "of-tomorrow", "index": 3, "more": {"x": [1]}}],
    [{"type": "reasoning.of_tomorrow", "format": "unknown", "blob": "B"}],
]
ROUTER = Capabilities(c_reasoning_in="reasoning_details", reasoning_domain="gemini")


def streamed(shape: str, *deltas: dict[str, Any]) -> tuple[dict[str, Any], Reply]:
    """As `carried`, of an answer that comes in deltas."""
    told = reply(shape)
    decoder, collector = SHAPES["chat"].Decoder(told), SHAPES[shape].Collector(told)
    choices = [*({"delta": delta} for delta in deltas), {"delta": {}, "finish_reason": "tool_calls"}]
    for choice in choices:
        collector.feed(decoder.feed((b"", json.dumps({"id": "c", "choices": [{"index": 0} | choice]}).encode())))
    collector.feed(decoder.feed((b"", b"[DONE]")))
    return collector.body(), told


def sent_up(shape: str, told: dict[str, Any], capabilities: Capabilities) -> tuple[dict[str, Any], list[str]]:
    """The model's turn as it gets it back, and what was lost."""
    request = SHAPES[shape].decode_request(history(shape, told))
    body = SHAPES["chat"].encode_request(request, capabilities, "m").body
    return body["messages"][1], request.ledger.names(request.ledger.dropped, request.body)


@pytest.mark.parametrize("shape", ["messages", "responses"])
@pytest.mark.parametrize("entries", DETAILS)
def test_details_come_back_as_they_came(entries: list[dict[str, Any]], shape: str) -> None:
    shown = "Hm." if "Hm." in str(entries) else None
    whole, _, _ = carried(shape, answer(reasoning=shown, reasoning_details=entries, tool_calls=[call("a")]))
    asked = {"tool_calls": [{"index": 0} | call("a")]}
    for told in (whole, streamed(shape, {"reasoning_details": entries}, asked)[0]):
        said, lost = sent_up(shape, told, ROUTER)
        assert (said["reasoning_details"], lost) == (entries, [])
        assert "reasoning" not in said
        said, lost = sent_up(shape, told, Capabilities(c_reasoning_in="reasoning_details", reasoning_domain="another"))
        assert "reasoning_details" not in said
        assert len(lost) == 1


@pytest.mark.parametrize("shape", ["messages", "responses"])
def test_details_behind_the_call_that_they_belong_to(shape: str) -> None:
    entries = DETAILS[1]
    told, _ = streamed(shape, {"reasoning_details": [SAID]}, {"tool_calls": [{"index": 0} | call("a")]}, {"reasoning_details": entries})
    said, lost = sent_up(shape, told, ROUTER)
    assert (said["reasoning_details"], lost) == ([SAID, *entries], [])


@pytest.mark.parametrize("shape", ["messages", "responses"])
def test_the_text_of_an_entry_comes_in_pieces(shape: str) -> None:
    pieces = [{"reasoning": piece, "reasoning_details": [SAID | {"text": piece}]} for piece in ("H", "m", ".")]
    told, _ = streamed(shape, *pieces, {"tool_calls": [{"index": 0} | call("a")]})
    assert sent_up(shape, told, ROUTER)[0]["reasoning_details"] == [SAID]


def test_a_text_that_stands_beside_its_envelope_is_not_in_it() -> None:
    told, _ = streamed("messages", {"reasoning_details": [SAID | {"text": "long " * 99}]}, {"tool_calls": [{"index": 0} | call("a")]})
    assert len(told["content"][0]["signature"]) < 300 < len(told["content"][0]["thinking"])


def test_every_caller_gets_the_text_in_the_envelope() -> None:
    """Also one that stores its answers. Whoever sends back nothing of a reasoning item but its sealed content has all of it."""
    told, _, _ = carried("responses", answer(reasoning_content="secret 42", tool_calls=[call("a")]))
    item = told["output"][0]
    item["content"] = []
    for where in ("reasoning_content", "reasoning"):
        said, lost = sent_up("responses", told, Capabilities(reasoning_domain="gemini", c_reasoning_in=where))
        assert (said[where], lost) == ("secret 42", [])


def unsigned(shape: str, *blocks: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """A messages upstream's answer with thinking that it did not sign, as it gets it back from a caller of the shape."""
    told = reply(shape)
    body = {"id": "msg_1", "model": "m", "content": list(blocks), "stop_reason": "tool_use", "usage": {}}
    collector = SHAPES[shape].Collector(told)
    collector.feed(SHAPES["messages"].decode_response(body, told))
    request = SHAPES[shape].decode_request(history(shape, collector.body()))
    up = SHAPES["messages"].encode_request(request, Capabilities(reasoning_domain="gemini"), "m").body
    return up["messages"][1]["content"], request.ledger.names(request.ledger.dropped, request.body)


USE = {"type": "tool_use", "id": "a", "name": "f", "input": {}}


@pytest.mark.parametrize("shape", ["responses"])
@pytest.mark.parametrize(
    "blocks",
    [
        [{"type": "thinking", "thinking": "let me see", "signature": ""}, USE],
        [{"type": "thinking", "thinking": "p", "signature": ""}, {"type": "text", "text": "So."}, USE],
    ],
)
def test_unsigned_thinking_comes_back(blocks: list[dict[str, Any]], shape: str) -> None:
    assert unsigned(shape, *blocks) == (blocks, [])


def test_thinking_that_was_cut_stays_away() -> None:
    """Where the limit ends an answer within its thinking, even a provider that signs all of it has not signed that."""
    cut = {"type": "thinking", "thinking": "let me", "signature": ""}
    found, _ = unsigned("responses", USE, cut)
    assert found == [USE]


COPILOT = Capabilities(c_reasoning_in="reasoning_text", reasoning_domain="gemini")
OPAQUE = {"reasoning_text": "Hm.", "reasoning_opaque": "OPAQUE"}


def gone_on(shape: str, told: dict[str, Any]) -> dict[str, Any]:
    """The model's message of the next request, as the upstream gets it."""
    request = SHAPES[shape].decode_request(history(shape, told))
    up: dict[str, Any] = SHAPES["chat"].encode_request(request, COPILOT, "m").body["messages"][1]
    assert request.ledger.dropped == []
    return up


@pytest.mark.parametrize("shape", ["messages", "responses"])
def test_a_seal_in_a_member_of_its_own(shape: str) -> None:
    """GitHub Copilot's."""
    told, _, reply = carried(shape, answer(tool_calls=[call("a")], **OPAQUE))
    assert reply.unsaid.labels == []
    up = gone_on(shape, told)
    assert {name: up.get(name) for name in OPAQUE} == OPAQUE
    assert "reasoning_details" not in up
    other = SHAPES[shape].decode_request(history(shape, told))
    body = SHAPES["chat"].encode_request(other, Capabilities(c_reasoning_in="reasoning_text", reasoning_domain="xai"), "m").body
    assert b"OPAQUE" not in json.dumps(body).encode()  # it is nobody else's


@pytest.mark.parametrize("last", [{"content": "", "reasoning_opaque": "OPAQUE"}, {"reasoning_opaque": "OPAQUE"}])
@pytest.mark.parametrize("shape", ["messages", "responses"])
def test_a_seal_in_a_member_of_its_own_in_a_stream(shape: str, last: dict[str, Any]) -> None:
    told = reply(shape)
    decoder, collector = SHAPES["chat"].Decoder(told), SHAPES[shape].Collector(told)
    deltas = [{"reasoning_text": "H"}, {"reasoning_text": "m."}, last, {"tool_calls": [{"index": 0} | call("a")]}]
    choices: list[dict[str, Any]] = [*({"delta": delta} for delta in deltas), {"delta": {}, "finish_reason": "tool_calls"}]
    for choice in choices:
        collector.feed(decoder.feed((b"", json.dumps({"id": "c", "choices": [{"index": 0} | choice]}).encode())))
    collector.feed(decoder.feed((b"", b"[DONE]")))
    assert told.unsaid.labels == []
    up = gone_on(shape, collector.body())
    assert {name: up.get(name) for name in OPAQUE} == OPAQUE
