"""Reasoning, signatures and refusals over two turns: what a model gave comes back to it as it was (acceptance T22–T28)."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from .stage import Stage
from .upstreams import (
    Answer,
    Block,
    called,
    declined,
    function,
    message,
    reasoned,
    redacted,
    response,
    said,
    text_answer,
    thought,
)

ASK: Any = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}
CHAT_TOOLS: Any = [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]
RESPONSES_TOOLS: Any = [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False}]
MESSAGES_TOOLS: Any = [{"name": "f", "input_schema": SCHEMA}]

# as a strict provider signs it: any changed byte would be refused
THINKING = 'Let me see: \u00e9, \U0001f600, "quotes" and\n\nlines.'
SIGNATURE = "EqQBCkYIBxgCKkD+/==S1"
REDACTED = "EmwKAhgBEgy3+/D1=="

CALLED = message(
    thought(THINKING, SIGNATURE), redacted(REDACTED), said("I ", "call."), called("toolu_1", "f", '{"x":', "1}"), stop="tool_use"
)
TURN = [
    {"type": "thinking", "thinking": THINKING, "signature": SIGNATURE},
    {"type": "redacted_thinking", "data": REDACTED},
    {"type": "text", "text": "I call."},
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}},
]
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "7"}
DONE = message(said("ok"))


# ---- a chat client, a messages upstream ----


def chat_turns(stage: Stage, first: Answer, streamed: bool) -> Any:
    """The second turn's request as the upstream got it, from a client that sends back what the SDK gave it."""
    stage.play(first, DONE)
    if streamed:
        with stage.oai.chat.completions.stream(model="messages/m", messages=ASK, tools=CHAT_TOOLS) as told:
            for _ in told:
                pass
            answer: Any = told.get_final_completion()
    else:
        answer = stage.oai.chat.completions.create(model="messages/m", messages=ASK, tools=CHAT_TOOLS)
    back = answer.choices[0].message.to_dict()
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "7"} for call in back["tool_calls"]]
    history: Any = [*ASK, back, *results, {"role": "user", "content": "and?"}]
    last = stage.oai.chat.completions.create(model="messages/m", messages=history, tools=CHAT_TOOLS)
    assert last.choices[0].message.content == "ok"
    return stage.asked[1]


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_T22_a_chat_client_sends_reasoning_back_to_messages(stage: Stage, streamed: bool) -> None:
    user, assistant, results = chat_turns(stage, CALLED, streamed)["messages"]
    assert user == {"role": "user", "content": "Hi"}
    assert assistant == {"role": "assistant", "content": TURN}
    assert results == {"role": "user", "content": [RESULT, {"type": "text", "text": "and?"}]}


INTERLEAVED: list[list[Block]] = [
    [thought("r0", "S0"), said("One."), thought("r1", "S1"), called("toolu_1", "f", '{"x":1}')],
    [said("One."), thought("r0", "S0"), said("Two."), said("Three."), called("toolu_1", "f", '{"x":1}')],
    [called("toolu_1", "f", '{"x":1}'), thought("r0", "S0"), redacted("D"), called("toolu_2", "f", '{"x":2}'), said("\U0001f600 end")],
]


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("blocks", INTERLEAVED)
def test_T23_interleaved_reasoning_keeps_its_place(stage: Stage, blocks: list[Block], streamed: bool) -> None:
    asked = chat_turns(stage, message(*blocks, stop="tool_use"), streamed)
    assert asked["messages"][1]["content"] == [block.whole for block in blocks]


# ---- a responses client, a messages upstream ----


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_T24_a_stateless_responses_client_sends_reasoning_back(stage: Stage, streamed: bool) -> None:
    stage.play(CALLED, DONE)
    options: Any = {"model": "messages/m", "tools": RESPONSES_TOOLS, "store": False, "include": ["reasoning.encrypted_content"]}
    if streamed:
        with stage.oai.responses.stream(input=ASK, **options) as told:
            answer: Any = told.get_final_response()
    else:
        answer = stage.oai.responses.create(input=ASK, **options)
    result = {"type": "function_call_output", "call_id": "toolu_1", "output": "7"}
    stage.oai.responses.create(input=[*ASK, *(item.to_dict() for item in answer.output), result], **options)
    assert stage.asked[1]["messages"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": TURN},
        {"role": "user", "content": [RESULT]},
    ]


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_T24_a_stored_response_needs_nothing_sent_back(stage: Stage, streamed: bool) -> None:
    stage.play(CALLED, DONE)
    options: Any = {"model": "messages/m", "tools": RESPONSES_TOOLS, "store": True}
    if streamed:
        with stage.oai.responses.stream(input=ASK, **options) as told:
            answer: Any = told.get_final_response()
    else:
        answer = stage.oai.responses.create(input=ASK, **options)
    assert all(item.encrypted_content for item in answer.output if item.type == "reasoning")  # as OpenAI's are, stored or not
    result = {"type": "function_call_output", "call_id": "toolu_1", "output": "7"}
    stage.oai.responses.create(input=[result], previous_response_id=answer.id, **options)
    assert stage.asked[1]["messages"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": TURN},
        {"role": "user", "content": [RESULT]},
    ]


# ---- a messages client, a responses upstream ----

REASONED = response(reasoned("rs_1", "E1", "I look.", "I see."), function("call_1", "f", '{"x":', "1}"))


def bare(content: list[Any]) -> list[Any]:
    """Blocks as a coding agent builds them anew: nothing but what the reference names."""
    kept = {"thinking": ("thinking", "signature"), "text": ("text",), "tool_use": ("id", "name", "input")}
    return [{"type": block["type"], **{key: block[key] for key in kept[block["type"]]}} for block in content]


def sealed_turn(stage: Stage, streamed: bool) -> list[Any]:
    """The first turn's content: reasoning of a responses upstream in a messages client's hands."""
    options: Any = {"model": "responses/m", "max_tokens": 2000, "messages": ASK, "tools": MESSAGES_TOOLS}
    if streamed:
        with stage.ant.messages.stream(**options) as told:
            answer: Any = told.get_final_message()
    else:
        answer = stage.ant.messages.create(**options)
    content: list[Any] = [block.to_dict() for block in answer.content]
    assert [block["type"] for block in content] == ["thinking", "tool_use"]
    assert content[0]["thinking"] == "I look.\n\nI see."
    assert content[0]["signature"].startswith("dgr1.")
    return bare(content)


def second_turn(content: list[Any]) -> Any:
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": "7"}
    return [*ASK, {"role": "assistant", "content": content}, {"role": "user", "content": [result]}]


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_T25_a_messages_client_sends_reasoning_back_to_responses(stage: Stage, streamed: bool) -> None:
    stage.play(REASONED, text_answer("responses", "ok"))
    content = sealed_turn(stage, streamed)
    stage.ant.messages.create(model="responses/m", max_tokens=2000, messages=second_turn(content), tools=MESSAGES_TOOLS)
    first, second = stage.asked
    for asked in (first, second):
        assert asked["store"] is False
        assert asked["include"] == ["reasoning.encrypted_content"]
    assert second["input"] == [
        {"type": "message", "role": "user", "content": "Hi"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "I look."}, {"type": "summary_text", "text": "I see."}],
            "encrypted_content": "E1",
        },
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"x":1}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "7"},
    ]


def test_T26_a_history_that_goes_to_another_model_is_cleaned(stage: Stage) -> None:
    stage.play(REASONED)
    history = second_turn(sealed_turn(stage, streamed=True))
    stage.play(DONE)
    asked = {"model": "messages/m", "max_tokens": 2000, "messages": history, "tools": MESSAGES_TOOLS}
    answer = stage.post("messages", asked)
    assert answer.status_code == 200
    assert answer.headers["x-dragoman-dropped"] == "messages[*].content[*]:thinking"
    cleaned = [*history[:1], {"role": "assistant", "content": history[1]["content"][1:]}, *history[2:]]
    assert stage.asked[0] == {**asked, "model": "m", "messages": cleaned}


BODY = (
    b'\n{ "max_tokens":1e3, "temperature" : 1.0,"top_p":1.00, "metadata":{"user_id":"\\u00e9"}, "metadata" :{"user_id":"\xc3\xa9"},'
    b'"unknown":{"big":12345678901234567890,"tiny":1.10, "model":"inner"},'
    b'"messages":[{"role":"user","content":"\\u0048i \\ud83d\\ude00"}],'
    b'\t"model" : "messages/m" }\r\n'
)


def test_T26_any_other_body_keeps_every_byte(stage: Stage) -> None:
    stage.play(DONE)
    assert stage.post("messages", BODY).status_code == 200
    assert stage.requests[0].body == BODY.replace(b'"messages/m"', b'"m"')
    assert stage.requests[0].headers["content-length"] == str(len(BODY) - len("messages/"))


# ---- refusals ----

REFUSED = message(said("I can"), stop="refusal", details={"type": "refusal", "category": None, "explanation": "no"})


def test_T27_a_refusal_of_messages_for_chat(stage: Stage) -> None:
    stage.play(REFUSED)
    choice = stage.oai.chat.completions.create(model="messages/m", messages=ASK).choices[0]
    assert (choice.message.content, choice.message.refusal, choice.finish_reason) == ("I can", "no", "content_filter")
    chunks = list(stage.oai.chat.completions.create(model="messages/m", messages=ASK, stream=True))
    choices = [choice for one in chunks for choice in one.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == "I can"
    assert "".join(choice.delta.refusal or "" for choice in choices) == "no"
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["content_filter"]


def test_T27_a_refusal_of_messages_for_responses(stage: Stage) -> None:
    stage.play(REFUSED)
    whole = stage.oai.responses.create(model="messages/m", input="Hi")
    last = list(stage.oai.responses.create(model="messages/m", input="Hi", stream=True))[-1]
    assert last.type == "response.incomplete"
    for answer in (whole, last.response):
        assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "content_filter")
        parts = [part for item in answer.output for part in item.content]
        assert [(part.type, part.text if part.type == "output_text" else part.refusal) for part in parts] == [
            ("output_text", "I can"),
            ("refusal", "no"),
        ]


def test_T28_a_refusal_of_responses_for_chat(stage: Stage) -> None:
    stage.play(response(declined("I ", "won't")))
    with stage.oai.chat.completions.stream(model="responses/m", messages=ASK) as told:
        for _ in told:
            pass
        streamed = told.get_final_completion().choices[0]
    whole = stage.oai.chat.completions.create(model="responses/m", messages=ASK).choices[0]
    for choice in (streamed, whole):
        assert (choice.message.refusal, choice.message.content or "", choice.finish_reason) == ("I won't", "", "stop")


def test_T28_a_refusal_of_responses_for_messages(stage: Stage) -> None:
    stage.play(response(declined("I ", "won't")))
    with stage.ant.messages.stream(model="responses/m", max_tokens=100, messages=ASK) as told:
        streamed = told.get_final_message()
    whole = stage.ant.messages.create(model="responses/m", max_tokens=100, messages=ASK)
    for answer in (streamed, whole):
        assert [(block.type, block.text) for block in answer.content] == [("text", "I won't")]
        assert answer.stop_reason == "refusal"
        assert answer.stop_details.to_dict() == {"type": "refusal", "category": None, "explanation": "I won't"}


def test_T28_a_content_filter_raises_in_the_helper_by_its_own_design(stage: Stage) -> None:
    stage.play(REFUSED)
    with (
        pytest.raises(openai.ContentFilterFinishReasonError),
        stage.oai.chat.completions.stream(model="messages/m", messages=ASK, tools=[_strict()]) as told,
    ):
        list(told)


def _strict() -> Any:
    return {"type": "function", "function": {"name": "f", "strict": True, "parameters": {**SCHEMA, "additionalProperties": False}}}
