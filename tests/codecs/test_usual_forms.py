"""Items of the most frequent forms are read by a shorter way: it says what the longer one says, and leaves it what it cannot say."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import errors
from dragoman.codecs.registry import SHAPES

CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a":1}'}}
USE = {"type": "tool_use", "id": "c1", "name": "find", "input": {"a": 1}}
WORD = {"type": "text", "text": "Yes."}

# turns, of which the last is an item of a usual form; each is also read with one more member, which is null
TURNS: dict[str, list[list[Any]]] = {
    "chat": [
        [{"role": "user", "content": "Hi"}],
        [{"role": "system", "content": ""}],
        [{"role": "assistant", "content": "Yes."}],
        [{"role": "assistant", "content": "", "tool_calls": []}],
        [{"role": "assistant", "content": "Yes.", "tool_calls": [CALL]}],
        [{"role": "assistant", "content": None, "tool_calls": [CALL, CALL | {"id": "c2"}]}],
        [{"role": "assistant", "content": None, "tool_calls": [CALL | {"type": "custom"}]}],  # longer, and refused
        [{"role": "assistant", "content": None, "tool_calls": [CALL | {"function": {"name": "find", "arguments": {"a": 1}}}]}],
        [{"role": "assistant", "content": None, "tool_calls": [CALL | {"function": {"name": None, "arguments": ""}}]}],
        [{"role": "assistant", "content": None, "tool_calls": None}],
        [{"role": "assistant", "content": "Yes.", "refusal": "No."}],
        [{"role": "assistant", "content": "Yes.", "reasoning_content": "So."}],
        [{"role": "tool", "tool_call_id": "c1", "content": "one"}],
        [{"role": "tool", "tool_call_id": 1, "content": "one"}],
        [{"role": "function", "name": "find", "content": "one"}],
        [{"role": "tool", "content": "one"}],
        [{"role": "nobody", "content": "one"}],
        [{"role": ["user"], "content": "one"}],
        [{"role": "user", "content": None}],
    ],
    "messages": [
        [{"role": "user", "content": "Hi"}],
        [{"role": "user", "content": ""}],
        [{"role": "user", "content": [WORD]}],
        [{"role": "user", "content": [WORD, {"type": "text", "text": ""}]}],
        [{"role": "assistant", "content": [WORD, USE]}],
        [{"role": "assistant", "content": [USE | {"input": None}]}],
        [{"role": "assistant", "content": [USE | {"input": {"INVALID_JSON": "{"}}]}],
        [{"role": "assistant", "content": [USE | {"id": 5}]}],
        [{"role": "user", "content": [USE]}],  # refused: it belongs to the other role
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "one"}]}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [WORD]}]}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "thinking"}]}]}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": None}]}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "is_error": True}]}],
        [{"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "one"}]}],
        [{"role": "user", "content": [{"type": ["text"], "text": "Yes."}]}],
        [{"role": "user", "content": [{"type": "text", "text": None}]}],
        [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Speak."}],
        [{"role": "user", "content": [{"type": "compaction", "content": "All."}]}],
        [{"role": "user", "content": []}],
        [{"role": {}, "content": "Hi"}],
    ],
    "responses": [
        [{"type": "message", "role": "user", "content": "Hi"}],
        [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
        [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [{"type": "text", "text": "Yes."}]}],
        [{"type": "message", "role": "assistant", "content": [{"type": "odd", "text": "Yes."}]}],
        [{"type": "message", "role": "nobody", "content": "Hi"}],
        [{"type": "message", "role": ["user"], "content": "Hi"}],
        [{"type": "message", "role": "user", "content": [{"type": ["text"], "text": "Hi"}]}],
        [{"type": "message", "role": "user", "content": None}],
        [{"type": "message", "role": "user", "phase": "commentary"}],
        [
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "find", "arguments": "{}", "status": "completed"},
            {"type": "function_call_output", "call_id": "c1", "output": "one"},
        ],
        [
            {"type": "function_call", "call_id": "c1", "name": "find", "arguments": {"a": 1}},
            {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "one"}]},
        ],
        [{"type": "function_call_output", "call_id": "", "output": "one"}],
        [{"type": "function_call_output", "call_id": "c1", "output": "one"}],  # refused: there is no call
        [{"type": "function_call", "call_id": "c1", "name": "find", "arguments": "{}"}],
    ],
}  # fmt: skip


def read(shape: str, turns: list[Any]) -> Any:
    """What is read, or how it is refused."""
    member = "input" if shape == "responses" else "messages"
    more = {"max_tokens": 9} if shape == "messages" else {}
    try:
        request = SHAPES[shape].decode_request({"model": "m", member: turns, **more})
    except errors.ClientFault as fault:
        return type(fault), fault.message, fault.param
    return request.turns, request.ledger, request.phases


def with_nothing(value: Any) -> Any:
    """The value with a member of null in each of its objects, which counts as absent."""
    if isinstance(value, dict):
        return {key: value if key in ("input", "arguments") else with_nothing(value) for key, value in value.items()} | {
            "cache_control": None
        }
    return [with_nothing(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("shape", "turns"), [(shape, turns) for shape, table in TURNS.items() for turns in table])
def test_both_ways_say_the_same(shape: str, turns: list[Any]) -> None:
    assert read(shape, turns) == read(shape, with_nothing(turns))
