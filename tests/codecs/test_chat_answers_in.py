"""A chat upstream's whole answers as hub events, and that nothing which a server may send breaks their order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import chat, errors, machine
from dragoman.codecs import events as ev
from dragoman.codecs.usage import Usage

from .chatting import BEGUN, END, USAGE, call, called, calls, chunk, cited, fault, inside, read, reply, says, text, thought, wire

# ---- whole answers ----


def body(message: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "created": 7, "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish}]} | more


WHOLE = {
    "role": "assistant",
    "content": "Hi",
    "refusal": None,
    "reasoning_content": "plan",
    "annotations": [cited()],
    "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "d", "type": "function", "function": {"name": "g", "arguments": ""}},
    ],
}


def test_a_whole_answer() -> None:
    events = chat.decode_response(body(WHOLE, usage=USAGE), reply())
    machine.check(events)
    assert events == [
        BEGUN,
        *thought(0, "plan"),
        *text(1, "Hi")[:-1],
        ev.Citation(1, "u", "t", 0, 1),
        ev.PartStop(1),
        ev.ToolStart(2, "c", "f"),
        ev.Arguments(2, "{}"),
        ev.PartStop(2),
        ev.ToolStart(3, "d", "g"),
        ev.PartStop(3),
        ev.Metered(Usage(input=1130, output=50, cache_read=1000, cache_write=100, reasoning=20)),
        ev.Stop("tool"),
    ]


@pytest.mark.parametrize(
    ("message", "finish", "events"),
    [
        ({"content": None}, "stop", END),
        ({"content": ""}, "stop", END),
        ({"content": "a"}, None, [*text(0, "a"), *END]),
        ({"content": [{"type": "text", "text": "a"}]}, "length", [*text(0, "a"), ev.Stop("length")]),
        ({"content": None, "refusal": "No."}, "stop", [ev.Refusal("No."), *END]),
        ({"content": "", "function_call": {"name": "f", "arguments": "{}"}}, "function_call", [*called(0, "", "f", "{}"), ev.Stop("tool")]),
        (
            {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}, {"index": 0, "function": {"name": "f"}}]},
            "tool_calls",
            [*called(0, "", "f", '{"a":1}'), *called(1, "", "f"), ev.Stop("tool")],
        ),
        (None, "content_filter", [ev.Stop("filter")]),
    ],
)
def test_other_whole_answers(message: Any, finish: Any, events: list[ev.Event]) -> None:
    found = chat.decode_response(body(message, finish), reply())
    machine.check(found)
    assert found == [BEGUN, *events]


@pytest.mark.parametrize(
    "value",
    [[], {}, {"choices": []}, {"choices": None}, {"choices": [{"index": 0}]}, {"choices": [7]}, {"message": "x"}],
)
def test_a_body_that_is_no_answer(value: dict[str, Any]) -> None:
    assert isinstance(fault(chat.decode_response(value, reply())), errors.Garbled)


def test_a_body_that_is_an_error() -> None:
    error = fault(chat.decode_response({"error": {"message": "slow", "code": 429}}, reply()))
    assert (error.kind, error.message) == ("rate_limit", "slow")


def test_streamed_is_whole() -> None:
    """What stands in a message, said in deltas, is the same answer."""
    streamed = inside(
        chunk({"role": "assistant", "content": ""}), chunk({"reasoning_content": "plan"}), says("Hi"), chunk({"annotations": [cited()]}),
        calls(call(0, "c", "f", "{}")), calls(call(1, "d", "g", "")),
    )  # fmt: skip
    assert streamed == chat.decode_response(body(WHOLE), reply())[1:-1]


# ---- anything ----


_SCALARS = st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3) | st.sampled_from(["stop", "tool_calls", "error", "{}"])
_JSON: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "id", "name"]), inner, max_size=3),
    max_leaves=6,
)
_ENTRY = st.fixed_dictionaries({}, optional={"index": _JSON, "id": _JSON, "type": _JSON, "function": _JSON, "custom": _JSON})
_FUNCTION = st.fixed_dictionaries(
    {}, optional={"name": st.sampled_from(["f", "g", ""]), "arguments": st.sampled_from(["{", "}", " ", "{}"])}
)
_CALL = st.fixed_dictionaries({"function": _FUNCTION}, optional={"index": st.integers(-1, 2), "id": st.sampled_from(["", "c", "d"])})
_DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": _JSON, "reasoning_content": _JSON, "refusal": _JSON, "annotations": _JSON, "audio": _JSON, "function_call": _JSON,
        "tool_calls": st.lists(_ENTRY | _CALL, max_size=2), "reasoning_details": st.lists(_JSON, max_size=2),
    },
)  # fmt: skip
_CHOICE = st.fixed_dictionaries({"delta": _DELTA | _JSON}, optional={"finish_reason": _SCALARS, "index": _SCALARS, "error": _JSON})
_CHUNK = st.fixed_dictionaries({"choices": st.lists(_CHOICE, max_size=2) | _JSON}, optional={"id": _JSON, "usage": _JSON, "error": _JSON})


@given(st.lists(_CHUNK | _JSON, max_size=8), st.booleans())
def test_no_json_breaks_the_order_of_events(values: list[Any], clean: bool) -> None:
    machine.check(read(wire(*(json.dumps(value) for value in values)), clean=clean))


@given(_CHUNK)
def test_no_body_breaks_the_order_of_events(value: dict[str, Any]) -> None:
    machine.check(chat.decode_response(value, reply()))


@given(st.binary(max_size=20))
def test_no_bytes_raise(data: bytes) -> None:
    machine.check(chat.StreamDecoder(reply()).feed((b"", data)), whole=False)
    chat.Observer(reply()).feed((b"", data))
