"""Items of the most frequent forms are read by a shorter way: it says what the longer one says, and leaves it what it cannot say."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import errors, reasoning
from dragoman.codecs.fields import Fields
from dragoman.codecs.gemini import signatures
from dragoman.codecs.gemini.signatures import DUMMIES
from dragoman.codecs.registry import SHAPES

CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a":1}'}}
USE = {"type": "tool_use", "id": "c1", "name": "find", "input": {"a": 1}}
WORD = {"type": "text", "text": "Yes."}
PAYLOAD = {"k": "c", "u": "a provider", "t": "So it is."}
SEALED = reasoning.seal(PAYLOAD)
DETAIL = {"type": "reasoning.text", "text": "So.", "signature": "c2ln"}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "So."}, {"type": "summary_text", "text": ""}],
    "encrypted_content": "gAAAA",
}
ENVELOPE = signatures.written(PAYLOAD)
ASKED = {"role": "user", "parts": [{"text": "Hi"}]}
FIND = {"id": "c1", "name": "find", "args": {"a": 1}}
FOUND = {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "find", "response": {"output": "one"}}}]}

# turns, of which the last is an item of a usual form; each is also read with one more member, which is empty
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
        [{"role": "assistant", "content": "Yes.", "refusal": None, "audio": None, "annotations": [], "function_call": None}],
        [{"role": "assistant", "content": "Yes.", "reasoning_content": "So."}],
        [{"role": "assistant", "content": "Yes.", "reasoning": "So.", "reasoning_content": "", "tool_calls": [CALL]}],
        [{"role": "assistant", "content": [WORD, WORD], "reasoning_text": None, "tool_calls": [CALL | {"index": 0}]}],
        [{"role": "assistant", "content": "Yes.", "reasoning_content": ["So."]}],
        [{"role": "assistant", "content": []}],
        [{"role": "assistant", "reasoning_content": "So."}],
        [{"role": "assistant", "tool_calls": [CALL]}],
        [{"role": "assistant", "tool_calls": [CALL], "reasoning": "So."}],
        [{"role": "assistant", "tool_calls": [CALL], "reasoning_details": [DETAIL]}],
        [{"role": "assistant", "tool_calls": [CALL], "refusal": "No."}],
        [{"role": "user", "content": [WORD]}],
        [{"role": "user", "content": [WORD, {"type": "text", "text": None}]}],
        [{"role": "user", "content": []}],
        [{"role": "user"}],
        [{"role": "tool", "tool_call_id": "c1", "name": "find", "content": [WORD, WORD]}],
        [{"role": "tool", "tool_call_id": "c1", "content": []}],
        [{"role": "tool", "tool_call_id": "c1", "content": None}],
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
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "one", "is_error": True}]}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [WORD], "is_error": False}]}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "one", "is_error": "no"}]}],
        [{"role": "assistant", "content": [{"type": "thinking", "thinking": "So.", "signature": "c2ln"}, WORD]}],
        [{"role": "assistant", "content": [{"type": "thinking", "thinking": "So.", "signature": ""}, WORD]}],
        [{"role": "assistant", "content": [{"type": "thinking", "thinking": "So.", "signature": SEALED}, WORD]}],
        [{"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": None}, WORD]}],
        [{"role": "user", "content": [{"type": "thinking", "thinking": "So.", "signature": "c2ln"}]}],  # refused
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
        [{"type": "message", "id": "msg_1", "role": "assistant", "phase": "commentary", "content": [{"type": "text", "text": "Yes."}]}],
        [{"type": "message", "role": "assistant", "phase": ["commentary"], "content": "Yes."}],
        [{"type": "message", "role": "assistant", "name": "Anna", "content": "Yes."}],
        [THOUGHT],
        [THOUGHT | {"summary": [], "content": None, "status": "completed"}],
        [THOUGHT | {"encrypted_content": SEALED, "content": []}],
        [THOUGHT | {"encrypted_content": SEALED, "content": [{"type": "reasoning_text", "text": "So."}]}],
        [THOUGHT | {"content": {}}],
        [THOUGHT | {"encrypted_content": None}],
        [THOUGHT | {"encrypted_content": None, "summary": None}],
        [THOUGHT | {"id": 5}],
        [THOUGHT | {"summary": "So."}],
        [THOUGHT | {"dragoman_text": "So it is."}],
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
    "gemini": [
        [ASKED],
        [ASKED, {"role": "user", "parts": []}],
        [{"role": "user", "parts": [{"text": ""}, {"text": "Hi", "thought": True}]}],
        [{"parts": [{"text": "Hi"}]}],
        [{"role": "user", "parts": {"text": "Hi"}}],
        [{"role": "nobody", "parts": [{"text": "Hi"}]}],
        [{"role": ["user"], "parts": [{"text": "Hi"}]}],
        [{"role": "user", "parts": [{"text": 5}]}],
        [{"role": "user", "parts": [{"functionCall": {"name": "find", "args": {}}}]}],  # refused: it belongs to the other role
        [ASKED, {"role": "model", "parts": [{"text": "Yes"}, {"text": "."}, {"text": "", "thoughtSignature": "c2ln"}, {"text": "And"}]}],
        [ASKED, {"role": "model", "parts": [{"text": "So.", "thought": True}, {"text": "Yes."}]}],
        [ASKED, {"role": "model", "parts": [{"text": "So.", "thought": True, "thoughtSignature": ENVELOPE}, {"text": "Yes."}]}],
        [ASKED, {"role": "model", "parts": [{"text": "So.", "thought": True}, {"text": "Yes.", "thoughtSignature": ENVELOPE}]}],
        [ASKED, {"role": "model", "parts": [{"text": "Yes.", "thoughtSignature": DUMMIES[0]}]}],
        [ASKED, {"role": "model", "parts": [{"text": "Yes.", "thoughtSignature": 5}]}],
        [ASKED, {"role": "model", "parts": [{"text": "Yes.", "thought": "so"}]}],
        [ASKED, {"role": "model", "parts": [{"text": "Yes.", "functionCall": FIND}]}],  # refused: it has two contents
        [ASKED, {"role": "model", "parts": [{"text": None, "functionCall": FIND}]}],
        [ASKED, {"role": "model", "parts": [{"functionCall": FIND, "thoughtSignature": "c2ln"}]}, FOUND],
        [ASKED, {"role": "model", "parts": [{"functionCall": {"name": "find"}}]}, FOUND],
        [ASKED, {"role": "model", "parts": [{"functionCall": {"name": "find", "args": {"a": 1}}}]}, FOUND],
        [ASKED, {"role": "model", "parts": [{"functionCall": FIND | {"name": None}}]}, FOUND],
        [ASKED, {"role": "model", "parts": [{"functionCall": FIND | {"args": "a"}}]}, FOUND],
        [ASKED, {"role": "model", "parts": [{"functionCall": FIND}, {"functionCall": FIND | {"id": "c2"}}]}, FOUND],
        [ASKED, FOUND],
        [ASKED, {"role": "user", "parts": [{"functionResponse": {"name": "find", "response": {"error": "none"}}}]}],
        [ASKED, {"role": "user", "parts": [{"functionResponse": {"id": 5, "name": "find", "response": {"output": "one"}}}]}],
        [ASKED, {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "find", "response": "one"}}]}],
        [ASKED, {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "find"}}]}],
        [ASKED, {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "find", "response": {}, "willContinue": True}}]}],
    ],
}  # fmt: skip


MEMBERS = {"responses": "input", "gemini": "contents"}
DATA = frozenset({"input", "arguments", "args", "response"})  # members that hold what is data


def read(shape: str, turns: list[Any]) -> Any:
    """What is read, or how it is refused."""
    more = {"max_tokens": 9} if shape == "messages" else {}
    try:
        request = SHAPES[shape].decode_request({"model": "m", MEMBERS.get(shape, "messages"): turns, **more})
    except errors.ClientFault as fault:
        return type(fault), fault.message, fault.param
    return request.turns, request.ledger, request.phases


def with_nothing(value: Any) -> Any:
    """The value with an empty member in each of its objects, which counts as absent."""
    if isinstance(value, dict):
        return {key: value if key in DATA else with_nothing(value) for key, value in value.items()} | {"more": {}}
    return [with_nothing(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("shape", "turns"), [(shape, turns) for shape, table in TURNS.items() for turns in table])
def test_both_ways_say_the_same(shape: str, turns: list[Any]) -> None:
    assert read(shape, turns) == read(shape, with_nothing(turns))


# ---- what agents send, round by round ----


def chat_round(n: int) -> list[Any]:
    call = CALL | {"id": f"c{n}", "index": 0}
    said = {"role": "assistant", "content": [WORD], "reasoning_content": "So.", "tool_calls": [call], "refusal": None, "annotations": []}
    return [said, {"role": "tool", "tool_call_id": f"c{n}", "content": [WORD]}]


def messages_round(n: int) -> list[Any]:
    thought = {"type": "thinking", "thinking": "So.", "signature": "c2ln"}
    result = {"type": "tool_result", "tool_use_id": f"c{n}", "content": "one", "is_error": False}
    return [{"role": "assistant", "content": [thought, WORD, USE | {"id": f"c{n}"}]}, {"role": "user", "content": [result]}]


def responses_round(n: int) -> list[Any]:
    return [
        THOUGHT | {"id": f"rs_{n}", "content": None},
        {
            "type": "message",
            "id": f"msg_{n}",
            "role": "assistant",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "So."}],
        },
        {"type": "function_call", "id": f"fc_{n}", "call_id": f"c{n}", "name": "find", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": f"c{n}", "output": "one"},
    ]


def gemini_round(n: int) -> list[Any]:
    called = {"functionCall": FIND | {"id": f"c{n}"}, "thoughtSignature": "c2ln"}
    result = {"functionResponse": {"id": f"c{n}", "name": "find", "response": {"output": "one"}}}
    return [{"role": "model", "parts": [{"text": "So.", "thought": True}, {"text": "Yes."}, called]}, {"role": "user", "parts": [result]}]


ROUNDS = {"chat": chat_round, "messages": messages_round, "responses": responses_round, "gemini": gemini_round}


@pytest.mark.parametrize("shape", SHAPES)
def test_rounds_of_agents_are_usual(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads an item member by member needs an object for it: three to six times the work."""
    made = 0
    usual = Fields.__init__

    def counted(self: Fields, *args: Any) -> None:
        nonlocal made
        made += 1
        usual(self, *args)

    monkeypatch.setattr(Fields, "__init__", counted)
    counts = []
    for rounds in (3, 9):
        made = 0
        first = [ASKED] if shape == "gemini" else [{"type": "message", "role": "user", "content": "Hi"}] if shape == "responses" else []
        found, _, _ = read(shape, first + [item for n in range(rounds) for item in ROUNDS[shape](n)])
        assert len(found) == len(first) + 2 * rounds
        counts.append(made)
    assert counts[0] == counts[1]
