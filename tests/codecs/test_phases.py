"""Which of a model's texts are commentary and which is the answer, and calls that tool_choice does not allow."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import events as ev
from dragoman.codecs import responses
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.errors import Garbled
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply

JSON = dict[str, Any]

START = ev.Start("up_1", "m", 0)


def text(part: int, words: str, apart: bool = False) -> list[ev.Event]:
    return [ev.TextStart(part, apart), ev.Text(part, words), ev.PartStop(part)]


def call(part: int) -> list[ev.Event]:
    return [ev.ToolStart(part, f"c{part}", "f"), ev.Arguments(part, "{}"), ev.PartStop(part)]


def phases(reason: str, *events: ev.Event, phased: bool = True) -> list[str | None]:
    reply = Reply(responses.decode_request({"model": "m", "input": "q"}), phases=phased)
    encoder = responses.StreamEncoder(reply)
    encoder.feed([START, *events, ev.Stop(reason)])
    assert encoder.response is not None
    return [item.get("phase") for item in encoder.response["output"] if item["type"] == "message"]


@pytest.mark.parametrize(
    ("reason", "events", "wanted"),
    [
        ("end", [*text(0, "a")], ["final_answer"]),
        ("tool", [*text(0, "a"), *call(1)], ["commentary"]),
        ("tool", [*text(0, "a"), *call(1), *call(2)], ["commentary"]),
        ("end", [*text(0, "a"), *text(1, "b", apart=True)], ["commentary", "final_answer"]),
        ("end", [*text(0, "a"), ev.ReasoningStart(1), ev.Reasoning(1, "r"), ev.PartStop(1), *text(2, "b")], ["commentary", "final_answer"]),
        ("length", [*text(0, "a")], [None]),  # nobody knows what would have come
        ("length", [*text(0, "a"), *call(1)], ["commentary"]),
        ("refusal", [ev.Refusal("no")], [None]),
    ],
)
def test_phases(reason: str, events: list[ev.Event], wanted: list[str | None]) -> None:
    assert phases(reason, *events) == wanted
    assert phases(reason, *events, phased=False) == [None] * len(wanted)


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_a_phase_of_history_is_no_affair_of_other_apis(upstream: str) -> None:
    said = {"type": "message", "role": "assistant", "phase": "commentary", "content": "I look."}
    request = responses.decode_request({"model": "m", "input": [said, {"role": "user", "content": "q"}]})
    assert request.phases
    SHAPES[upstream].encode_request(request, Capabilities(m_first_user_required=False), "m")
    assert request.ledger.dropped == request.ledger.adapted == []
    assert not responses.decode_request({"model": "m", "input": "q"}).phases


# ---- allowed tools ----

ANSWERS: dict[str, Any] = {
    "chat": lambda name: {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": "a", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
        ]}}],
    },
    "messages": lambda name: {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
        "content": [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "c", "name": name, "input": {}}], "usage": {},
    },
    "responses": lambda name: {
        "id": "resp_1", "object": "response", "status": "completed",
        "output": [{"type": "function_call", "id": "fc_1", "call_id": "c", "name": name, "arguments": "{}", "status": "completed"}],
    },
}  # fmt: skip
TOOLS = [{"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}} for name in ("f", "g")]


def answered(upstream: str, name: str, choice: Any, **flags: Any) -> list[ev.Event]:
    request = responses.decode_request({"model": "m", "input": "q", "tools": TOOLS, "tool_choice": choice})
    encoded = SHAPES[upstream].encode_request(request, Capabilities(**flags), "m")
    return SHAPES[upstream].decode_response(ANSWERS[upstream](name), Reply(request, tools=encoded.tools, upstream=upstream))


ALLOWED = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("upstream", ANSWERS)
def test_a_call_that_is_not_allowed_fails_the_answer(upstream: str, native: bool) -> None:
    found = answered(upstream, "g", ALLOWED, c_allowed_tools=native)
    fault = next(event for event in found if isinstance(event, ev.Fault))
    assert isinstance(fault.error, Garbled)
    assert not any(isinstance(event, ev.ToolStart) for event in found)
    collector = responses.Collector(Reply(responses.decode_request({"model": "m", "input": "q"})))
    collector.feed(found)
    assert collector.response is not None
    assert (collector.response["status"], collector.response["error"]["code"]) == ("failed", "server_error")


@pytest.mark.parametrize("upstream", ANSWERS)
def test_other_calls_are_passed_on(upstream: str) -> None:
    for name, choice in (("f", ALLOWED), ("g", "auto"), ("h", None)):  # h: whoever allows all judges by itself what was made up
        found = answered(upstream, name, choice)
        assert [event.name for event in found if isinstance(event, ev.ToolStart)] == [name]
        assert found[-1] == ev.Stop("tool")
