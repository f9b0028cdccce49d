"""The observer of chat answers that are carried as they are: it sees what the decoder sees, and changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dragoman.codecs import chat
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.usage import Usage

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def observer(*values: Any) -> chat.Observer:
    found = chat.Observer(Reply(Request("chat", "m", {})))
    for value in values:
        data = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
        found.feed((b"", data))
    return found


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]} | more


ROLE = chunk({"role": "assistant", "content": ""})
A = chunk({"content": "a"})


def test_a_stream_from_its_beginning_to_its_end() -> None:
    found = observer(ROLE)
    assert (found.content, found.proof, found.stop) == (False, False, None)
    found = observer(ROLE, A, A)
    assert (found.content, found.proof, found.stop, found.completed(True)) == (True, False, None, False)
    found = observer(ROLE, A, chunk({}, "length"))
    assert (found.proof, found.stop, found.completed(True), found.completed(False)) == (False, "length", True, False)
    found = observer(ROLE, A, chunk({}, "length"), {"choices": [], "usage": USAGE}, b"[DONE]")
    assert (found.proof, found.stop, found.completed(False)) == (True, "length", True)
    assert found.usage == Usage(input=3, output=2)
    assert found.error is None


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "a"},
        {"reasoning_content": "p"},
        {"reasoning": "p"},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]},
        {"refusal": "No."},
        {"audio": {"data": "x"}},
    ],
)
def test_what_is_content(delta: dict[str, Any]) -> None:
    assert observer(chunk({"role": "assistant"} | delta)).content


def test_a_call_is_seen_after_text_too() -> None:
    call = chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]})
    assert observer(A, call, chunk({}, "stop"), b"[DONE]").stop == "tool"
    assert observer(chunk({"function_call": {"name": "f"}}), chunk({}, "function_call")).stop == "tool"


@pytest.mark.parametrize(
    ("values", "usage"),
    [
        ([A, A | {"usage": USAGE}], Usage(input=3, output=2)),
        ([A | {"usage": {"prompt_tokens": 1}}, A | {"usage": USAGE}, A | {"usage": None}], Usage(input=3, output=2)),
        ([A, chunk({}, "stop", x_groq={"usage": USAGE})], Usage(input=3, output=2)),
        ([A, chunk({}, "stop", usage=USAGE, service_tier="flex")], Usage(input=3, output=2, tier="flex")),
        ([A, chunk({}, "stop")], None),
    ],
)
def test_usage(values: list[dict[str, Any]], usage: Usage | None) -> None:
    assert observer(*values).usage == usage


@pytest.mark.parametrize(
    "value",
    [
        chunk({"content": "b"}, "stop"),
        chunk({"content": "a", "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}),
        chunk({"content": "a"}, usage=USAGE),
        chunk({"content": "a"}) | {"error": {"message": "slow", "code": 429}},
        chunk({"content": 'a "quoted" \\'}),
        {"choices": [], "usage": USAGE},
        b"[DONE]",
    ],
)
def test_after_many_deltas_of_one_form_another_is_seen_all_the_same(value: Any) -> None:
    many, few = observer(ROLE, *[A] * 5, value, A), observer(ROLE, A, value, A)
    seen = [(found.content, found.proof, found.stop, found.usage, found.bare, repr(found.error)) for found in (many, few)]
    assert seen[0] == seen[1]
    assert many.stop or many.usage or many.error or many._called or value == chunk({"content": 'a "quoted" \\'})


def test_done_alone_proves_nothing() -> None:
    assert not observer(b"[DONE]").proof
    assert observer(A, b" [DONE] ").proof
    assert observer(A, b"[DONE]").stop == "end"


@pytest.mark.parametrize(
    "value",
    [
        {"error": {"message": "slow", "code": 429}},
        chunk({}, "error", error=None) | {"choices": [{"error": {"message": "slow", "code": 429}}]},
    ],
)
def test_errors(value: dict[str, Any]) -> None:
    found = observer(ROLE, A, value)
    assert found.error is not None
    assert (found.error.kind, found.error.message) == ("rate_limit", "slow")


def test_what_is_no_json_is_let_pass() -> None:
    found = observer(b"{", b"", b"7", b"\xff", A, b"{")
    assert found.content
    assert found.error is None


def test_whole_answers() -> None:
    found = observer()
    found.observe_whole({"choices": [{"message": {"content": "a", "tool_calls": [{}]}, "finish_reason": "stop"}], "usage": USAGE})
    assert (found.content, found.proof, found.stop, found.usage) == (True, True, "tool", Usage(input=3, output=2))
    found = observer()
    found.observe_whole({"error": "broken"})
    assert (found.content, found.proof) == (False, False)
    assert found.error is not None
