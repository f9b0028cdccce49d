"""A responses client's items as the hub's turns: grouped, moved to where they belong, stored ones first; or refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import errors, messages, responses
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.ledger import STORED
from dragoman.codecs.request import CallPart, ImagePart, ResultPart, TextPart, Turn

from .items import adapted, ask, call, decode, dropped, line_of, out

BLOCKS = [{"type": "thinking", "thinking": "plan", "signature": "SIG"}, {"type": "redacted_thinking", "data": "RED"}]


def user(text: str, i: int) -> Turn:
    return Turn("user", [TextPart(text, ("input", i, "content"))], ("input", i), plain=True)


def say(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "E"}


@pytest.mark.parametrize(
    ("items", "turns", "moved"),
    [
        ([ask("a"), ask("b")], ["user: a", "user: b"], []),
        ([ask("a"), say("b"), say("c"), ask("d")], ["user: a", "assistant: b, c", "user: d"], []),
        ([THOUGHT, say("a"), call("1"), out("1")], ["assistant: thought, a, call 1", "tool: 1=r"], []),
        # a text between a call and its output, and outputs in another order than calls
        (
            [call("1"), say("working"), call("2"), out("2", "b"), out("1", "a")],
            ["assistant: call 1, working, call 2", "tool: 2=b, 1=a"],
            [],
        ),
        # whatever the model says after an output is a new turn
        ([call("1"), out("1"), call("2"), out("2")], ["assistant: call 1", "tool: 1=r", "assistant: call 2", "tool: 2=r"], []),
        ([call("1"), out("1"), say("done")], ["assistant: call 1", "tool: 1=r", "assistant: done"], []),
        ([call("1"), out("1"), THOUGHT, say("a")], ["assistant: call 1", "tool: 1=r", "assistant: thought, a"], []),
        # outputs that came late go to their calls
        ([call("1"), ask("wait"), out("1")], ["assistant: call 1", "tool: 1=r", "user: wait"], ["input"]),
        (
            [call("1"), call("2"), out("1"), ask("wait"), say("well"), out("2")],
            ["assistant: call 1, call 2", "tool: 1=r, 2=r", "user: wait", "assistant: well"],
            ["input"],
        ),
        ([call("1"), out("1"), say("a"), out("1", "new")], ["assistant: call 1", "tool: 1=new", "assistant: a"], ["input", "input[*]"]),
        # of several outputs the last counts
        ([call("1"), out("1", "old"), out("1", "new")], ["assistant: call 1", "tool: 1=new"], ["input[*]"]),
        # the same id again, later: outputs belong to calls in their order
        (
            [call("1"), out("1", "a"), ask("go"), call("1"), out("1", "b")],
            ["assistant: call 1", "tool: 1=a", "user: go", "assistant: call 1", "tool: 1=b"],
            [],
        ),
        ([call("1"), call("1"), out("1", "a"), out("1", "b")], ["assistant: call 1, call 1", "tool: 1=a, 1=b"], []),
    ],
)
def test_items_are_turns(items: list[dict[str, Any]], turns: list[str], moved: list[str]) -> None:
    request = decode(input=items)
    assert [line_of(turn) for turn in request.turns] == turns
    assert adapted(request) == moved


def test_messages() -> None:
    request = decode(
        instructions="I",
        input=[
            ask("q"),
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "D"}]},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "commentary", "content": "A"},
            {"role": "system", "content": "S", "mood": 1},
        ],
    )
    assert request.turns == [
        Turn("system", [TextPart("I", ("instructions",))], ("instructions",), plain=True),
        user("q", 0),
        Turn("developer", [TextPart("D", ("input", 1, "content", 0))], ("input", 1)),
        Turn("assistant", [TextPart("A", ("input", 2, "content"))], ("input", 2), plain=True),
        Turn("system", [TextPart("S", ("input", 3, "content"))], ("input", 3), plain=True),
    ]
    assert dropped(request) == ["input[*].mood"]


def test_a_string_is_a_message() -> None:
    assert decode(input="q").turns == [Turn("user", [TextPart("q", ("input",))], ("input",), plain=True)]


def test_calls_and_outputs() -> None:
    image = {"type": "input_image", "image_url": "https://h/i"}
    request = decode(
        input=[
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a": 1}', "namespace": "n", "status": "x"},
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c2", "name": "sh", "input": "ls"},
            {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": [{"type": "input_text", "text": "t"}, image]},
            # the call says what kind its output is of
            {"type": "function_call_output", "call_id": "c2", "output": "x"},
        ]
    )
    assert request.turns == [
        Turn(
            "assistant",
            [CallPart("c1", "f", '{"a": 1}', ("input", 0), namespace="n"), CallPart("c2", "sh", "ls", ("input", 1), "custom")],
            ("input", 0),
        ),
        Turn(
            "tool",
            [
                ResultPart(
                    "c1",
                    [TextPart("t", ("input", 2, "output", 0)), ImagePart(("input", 2, "output", 1), url="https://h/i")],
                    ("input", 2),
                ),
                ResultPart("c2", "x", ("input", 3), kind="custom"),
            ],
            ("input", 2),
        ),
    ]
    assert dropped(request) == []


@pytest.mark.parametrize(
    "kind",
    [
        "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "computer_call", "computer_call_output",
        "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "mcp_call", "program", "program_output",
        "agent_message", "multi_agent_call", "multi_agent_call_output",
    ],
)  # fmt: skip
def test_hosted_items_are_dropped(kind: str) -> None:
    request = decode(input=[ask("q"), {"type": kind, "id": "x", "action": {"a": 1}}])
    assert [line_of(turn) for turn in request.turns] == ["user: q"]
    assert dropped(request) == [f"input[*]:{kind}"]


# ---- what is stored ----


def test_stored_items_stand_first_and_nothing_is_reported_of_them() -> None:
    stored: list[dict[str, Any]] = [
        {"type": "message", "role": "user", "content": "first", "mood": 1},
        {"type": "web_search_call", "id": "ws_1"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "dragoman_blocks": BLOCKS},
        call("1"),
        ask("wait"),
    ]
    own = [out("1"), {"role": "user", "content": "then", "mood": 1}]
    request = decode(stored + own, input=own, previous_response_id="resp_1")
    assert [line_of(turn) for turn in request.turns] == [
        "user: first",
        "assistant: thought, call 1",
        "tool: 1=r",
        "user: wait",
        "user: then",
    ]
    assert dropped(request) == ["input[*].mood"]
    assert adapted(request) == ["input"]
    encoded = messages.encode_request(request, Capabilities(), "m")
    assert encoded.body["messages"][1]["content"][:2] == BLOCKS


def test_a_string_after_what_is_stored() -> None:
    stored = [ask("a"), say("b")]
    request = decode([*stored, {"type": "message", "role": "user", "content": "c"}], input="c", conversation={"id": "conv_1"})
    assert [line_of(turn) for turn in request.turns] == ["user: a", "assistant: b", "user: c"]
    assert request.turns[2].path == ("input",)
    assert dropped(request) == []


def test_no_input_of_its_own() -> None:
    assert [line_of(turn) for turn in decode([ask("a")], input=None, previous_response_id="resp_1").turns] == ["user: a"]


def test_what_is_refused_of_a_stored_turn_is_the_inputs() -> None:
    stored = [{"role": "user", "content": [{"type": "input_file", "file_url": "https://h/a.doc"}]}]
    request = decode([*stored, ask("q")], input=[ask("q")])
    with pytest.raises(errors.UnsupportedContent) as caught:
        messages.encode_request(request, Capabilities(), "m")
    assert caught.value.param == "input"


def test_nobody_found_what_is_continued() -> None:
    assert dropped(decode(previous_response_id="resp_1")) == ["previous_response_id"]
    assert dropped(decode(conversation="conv_1")) == ["conversation"]


# ---- any items ----

_ITEMS = st.one_of(
    st.just(ask("q")),
    st.just(say("a")),
    st.just(THOUGHT),
    st.sampled_from("123").map(call),
    st.sampled_from("123").map(out),
)


@given(st.lists(_ITEMS, max_size=12))
def test_every_call_is_answered_right_after_it(items: list[dict[str, Any]]) -> None:
    """Whatever the order of the items: a request is refused, or a tool turn holds just the results of the turn before it."""
    try:
        request = decode(input=items)
    except errors.ClientFault:
        return
    for before, turn in zip([None, *request.turns], request.turns, strict=False):
        calls = [part.id for part in turn.parts if isinstance(part, CallPart)]
        if turn.role == "tool":
            assert before is not None
            assert sorted(part.id for part in turn.parts if isinstance(part, ResultPart)) == sorted(
                part.id for part in before.parts if isinstance(part, CallPart)
            )
        if calls:
            assert request.turns[request.turns.index(turn) + 1].role == "tool"


def test_an_output_that_answers_no_call() -> None:
    """What Codex writes down of other tasks: a user says it."""
    item = {"type": "function_call_output", "name": "send_message", "output": "Go on."}
    request = decode(input=[ask("a"), say("b"), item, call("c"), out("c")])
    assert list(map(line_of, request.turns)) == [
        "user: a",
        "assistant: b",
        "user: Output of send_message:, Go on.",
        "assistant: call c",
        "tool: c=r",
    ]
    assert (dropped(request), adapted(request)) == (["input[*].type"], ["input[*]"])
    parts = [{"type": "input_text", "text": "one"}, {"type": "input_image", "image_url": "https://x/y.png"}]
    request = decode(input=[{"type": "custom_tool_call_output", "call_id": None, "output": parts}])
    assert [type(part) for part in request.turns[0].parts] == [TextPart, TextPart, ImagePart]


@pytest.mark.parametrize(
    ("items", "missing"),
    [
        ([], None),
        ([{"type": "function_call_output", "call_id": "x", "output": "4"}], "x"),
        ([{"type": "custom_tool_call_output", "call_id": "x", "output": "4"}], "x"),
        ([{"type": "function_call", "call_id": "x"}, {"type": "function_call_output", "call_id": "x"}], None),
        ([{"type": "function_call", "call_id": "x"}, {"type": "function_call_output", "call_id": "y"}], "y"),
        ([{"type": "function_call_output", "call_id": "x"}, {"type": "function_call", "call_id": "x"}], None),
        ([{"type": "item_reference", "id": "fc_1"}, {"type": "function_call_output", "call_id": "x"}], None),
        ([{"type": "compaction", "encrypted_content": "gAAA"}, {"type": "function_call_output", "call_id": "x"}], None),
        ([{"type": "mcp_approval_response", "call_id": "x"}, {"type": "of_tomorrow_output", "call_id": "x"}], None),
        (["x", 7, None, {"type": ["function_call_output"]}, {"type": "function_call_output", "call_id": [7]}], None),
    ],
)
def test_outputs_of_a_whole_input(items: list[Any], missing: str | None) -> None:
    if missing is None:
        responses.check_outputs(items)
        return
    with pytest.raises(errors.ClientFault, match=f"No tool call found for function call output with call_id {missing}\\."):
        responses.check_outputs(items)


def test_places_where_items_refer_to_stored_ones() -> None:
    """References to what stands there already are left out of the expanded input, others have the stored item in their place."""
    here, elsewhere = ({"type": "message", "id": id, "role": "user", "content": id} for id in ("msg_1", "msg_2"))
    more = {"type": "message", "role": "user", "content": "More."}
    own: list[dict[str, Any]] = [*[{"type": "item_reference", "id": id} for id in ("msg_1", "msg_2", "msg_1")], more]
    request = decode([elsewhere, more], input=own[1:])
    assert [turn.path for turn in request.turns] == [("input", 0), ("input", 2)]
    request = decode([here, more], input=[more])
    assert [turn.path for turn in request.turns] == [(STORED, 0), ("input", 0)]
    request = decode([here, elsewhere, more], input=own)
    assert [turn.path for turn in request.turns] == [("input", 0), ("input", 1), ("input", 3)]
    request = decode([here], input=own[:1] * 3)
    assert [turn.parts[0].text for turn in request.turns if isinstance(turn.parts[0], TextPart)] == ["msg_1"]
