"""Requests on their way up: tool results, orders, names, limits, schemas, and what no upstream can be asked (acceptance T29–T34, T36)."""

from __future__ import annotations

import re
from typing import Any

import anthropic
import openai
import pytest

from .stage import Stage
from .upstreams import called, message, text_answer

ASK: Any = [{"role": "user", "content": "Hi"}]
PNG = "iVBORw0KGgo="
OBJECT = {"type": "object"}


def ok(shape: str) -> Any:
    return text_answer(shape, "ok")


def chat_calls(*calls: tuple[str, str, str]) -> list[Any]:
    return [{"id": id, "type": "function", "function": {"name": name, "arguments": text}} for id, name, text in calls]


def chat_tools(*names: str) -> Any:
    return [{"type": "function", "function": {"name": name, "parameters": OBJECT}} for name in names]


# ---- T29–T31: results and orders ----


def test_T29_results_with_errors_and_images_for_chat(stage: Stage) -> None:
    stage.play(ok("chat"))
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    turn: Any = [
        {"type": "text", "text": "first"},
        {"type": "tool_result", "tool_use_id": "b", "is_error": True, "content": [{"type": "text", "text": "broken"}]},
        {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "see"}, image]},
        {"type": "text", "text": "last"},
    ]
    calls: Any = [{"type": "tool_use", "id": id, "name": "f", "input": {}} for id in ("a", "b")]
    history: Any = [*ASK, {"role": "assistant", "content": calls}, {"role": "user", "content": turn}]
    answer = stage.ant.messages.create(
        model="chat/m", max_tokens=10, messages=history, tools=[{"name": "f", "input_schema": {"type": "object"}}]
    )
    assert answer.content[0].text == "ok"
    assert stage.asked[0]["messages"][1:] == [
        {"role": "assistant", "content": None, "tool_calls": chat_calls(("a", "f", "{}"), ("b", "f", "{}"))},
        {"role": "tool", "tool_call_id": "b", "content": "Error: broken"},
        {"role": "tool", "tool_call_id": "a", "content": "see"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Image output of tool call a:"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {"type": "text", "text": "first"},
                {"type": "text", "text": "last"},
            ],
        },
    ]


ANSWERED: Any = [
    *ASK,
    {"role": "assistant", "content": None, "tool_calls": chat_calls(("a", "f", "{}"), ("b", "f", "{}"))},
    {"role": "tool", "tool_call_id": "b", "content": "two"},
    {"role": "tool", "tool_call_id": "a", "content": "one"},
]
RESULTS: list[Any] = [
    {"type": "tool_result", "tool_use_id": "b", "content": "two"},
    {"type": "tool_result", "tool_use_id": "a", "content": "one"},
]


@pytest.mark.parametrize("model", ["messages/m", "messages-mid/m"])
def test_T30_results_and_a_late_system_message_for_messages(stage: Stage, model: str) -> None:
    """Before a user's turn the system message has no place of its own, whatever the model takes."""
    stage.play(ok("messages"))
    history: Any = [{"role": "system", "content": "S1"}, *ANSWERED, {"role": "system", "content": "S2"}, {"role": "user", "content": "go"}]
    told = stage.oai.chat.completions.with_raw_response.create(model=model, messages=history, tools=chat_tools("f"))
    asked = stage.asked[0]
    assert asked["messages"][2:] == [{"role": "user", "content": [*RESULTS, {"type": "text", "text": "go"}]}]
    assert asked["system"] == [{"type": "text", "text": "S1"}, {"type": "text", "text": "S2"}]
    assert told.headers["x-dragoman-adapted"] == "messages[*]"


@pytest.mark.parametrize("model", ["messages/m", "messages-mid/m"])
def test_T30_a_system_message_where_a_model_may_take_one(stage: Stage, model: str) -> None:
    stage.play(ok("messages"))
    history: Any = [{"role": "system", "content": "S1"}, *ANSWERED, {"role": "system", "content": "S2"}]
    told = stage.oai.chat.completions.with_raw_response.create(model=model, messages=history, tools=chat_tools("f"))
    asked = stage.asked[0]
    if model == "messages-mid/m":
        assert asked["system"] == "S1"
        assert asked["messages"][2:] == [{"role": "user", "content": RESULTS}, {"role": "system", "content": "S2"}]
        assert "x-dragoman-adapted" not in told.headers
    else:
        assert asked["system"] == [{"type": "text", "text": "S1"}, {"type": "text", "text": "S2"}]
        assert asked["messages"][2:] == [{"role": "user", "content": RESULTS}]
        assert told.headers["x-dragoman-adapted"] == "messages[*]"


ITEMS: Any = [
    {"role": "user", "content": "q"},
    {"type": "function_call", "call_id": "A", "name": "f", "arguments": '{"x": 1}'},
    {"role": "assistant", "content": "working"},
    {"type": "function_call", "call_id": "B", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "B", "output": "two"},
    {"type": "function_call_output", "call_id": "A", "output": "one"},
]
RESPONSES_TOOLS: Any = [{"type": "function", "name": "f", "parameters": OBJECT, "strict": False}]


def test_T31_items_in_a_row_are_one_turn_for_messages(stage: Stage) -> None:
    stage.play(ok("messages"))
    assert stage.oai.responses.create(model="messages/m", input=ITEMS, tools=RESPONSES_TOOLS).output_text == "ok"
    assert stage.asked[0]["messages"] == [
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "A", "name": "f", "input": {"x": 1}},
                {"type": "text", "text": "working"},
                {"type": "tool_use", "id": "B", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "B", "content": "two"},
                {"type": "tool_result", "tool_use_id": "A", "content": "one"},
            ],
        },
    ]


def test_T31_items_in_a_row_are_one_turn_for_chat(stage: Stage) -> None:
    stage.play(ok("chat"))
    assert stage.oai.responses.create(model="chat/m", input=ITEMS, tools=RESPONSES_TOOLS).output_text == "ok"
    assert stage.asked[0]["messages"] == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "working", "tool_calls": chat_calls(("A", "f", '{"x": 1}'), ("B", "f", "{}"))},
        {"role": "tool", "tool_call_id": "B", "content": "two"},
        {"role": "tool", "tool_call_id": "A", "content": "one"},
    ]


# ---- T32: names and ids ----

NAME = "mcp.server/do it ".ljust(70, "x")


def test_T32_names_and_ids_that_messages_would_refuse(stage: Stage) -> None:
    stage.play(ok("messages"))
    history: Any = [
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": chat_calls(("functions.x:0", NAME, "{}"))},
        {"role": "tool", "tool_call_id": "functions.x:0", "content": "one"},
    ]
    options: Any = {"model": "messages/m", "messages": history, "tools": chat_tools(NAME)}
    stage.oai.chat.completions.create(**options)
    stage.oai.chat.completions.create(**{**options, "messages": [*history, {"role": "user", "content": "again"}]})
    first, second = stage.asked
    name = first["tools"][0]["name"]
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", name)
    call = first["messages"][1]["content"][0]
    assert call == {"type": "tool_use", "id": call["id"], "name": name, "input": {}}
    assert re.fullmatch("toolu_[0-9a-f]{24}", call["id"])
    assert first["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": call["id"], "content": "one"}]
    assert (second["tools"][0]["name"], second["messages"][1]) == (name, first["messages"][1])
    # on the way down the caller sees its own name, and the provider's id
    stage.play(message(called("toolu_9", name, '{"x":1}'), stop="tool_use"))
    whole = stage.oai.chat.completions.create(**options).choices[0].message.tool_calls[0]
    chunks = list(stage.oai.chat.completions.create(**options, stream=True))
    streamed = next(call for one in chunks for choice in one.choices for call in choice.delta.tool_calls or [])
    for found in (whole, streamed):
        assert (found.id, found.function.name) == ("toolu_9", NAME)


# ---- T33: limits and sampling ----

LACKING: Any = {"model": "messages/m", "messages": ASK, "temperature": 1.7, "stop": "\n\n", "seed": 7}


def test_T33_settings_that_messages_lacks(stage: Stage) -> None:
    stage.play(ok("messages"))
    told = stage.post("chat", {**LACKING, "n": 1, "logit_bias": {}})
    assert told.headers["x-dragoman-dropped"] == "stop,seed"
    assert told.headers["x-dragoman-adapted"] == "temperature=1"
    assert stage.asked[0] == {"model": "m", "max_tokens": 8192, "messages": ASK, "temperature": 1}


def test_T33_too_many_tokens_are_fewer(stage: Stage) -> None:
    stage.play(ok("messages"))
    told = stage.oai.chat.completions.with_raw_response.create(model="messages/m", messages=ASK, max_tokens=999999)
    assert told.headers["x-dragoman-adapted"] == "max_tokens=8192"
    assert stage.asked[0]["max_tokens"] == 8192


def test_T33_strict_callers_are_refused_what_would_be_dropped(stage: Stage) -> None:
    stage.play(ok("messages"))
    told = stage.post("chat", LACKING, x_dragoman_strict="1")
    assert told.status_code == 400
    assert (told.json()["error"]["param"], told.json()["error"]["code"]) == ("stop", "unsupported_parameter")
    assert stage.requests == []
    adapted = {"x-dragoman-strict": "1"}
    assert stage.oai.chat.completions.create(model="messages/m", messages=ASK, temperature=1.7, extra_headers=adapted)


# ---- T34: schemas ----

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2, "description": "Who."},
        "minimum": {"type": "object", "properties": {"maximum": {"type": "integer", "maximum": 5}}},
        "either": {"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "null"}]},
    },
    "required": ["name", "minimum"],
}
NORMAL = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": 'Who. (constraints: {"minLength":2})'},
        "minimum": {
            "type": "object",
            "properties": {"maximum": {"type": "integer", "description": '(constraints: {"maximum":5})'}},
            "additionalProperties": False,
        },
        "either": {"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}, {"type": "null"}]},
    },
    "required": ["name", "minimum"],
    "additionalProperties": False,
}


def as_format(schema: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "o", "schema": schema, "strict": True}}


def test_T34_a_schema_as_messages_takes_it(stage: Stage) -> None:
    stage.play(ok("messages"))
    told = stage.oai.chat.completions.with_raw_response.create(model="messages/m", messages=ASK, response_format=as_format(SCHEMA))
    assert stage.asked[0]["output_config"] == {"format": {"type": "json_schema", "schema": NORMAL}}
    assert told.headers["x-dragoman-adapted"] == "response_format"
    assert "x-dragoman-dropped" not in told.headers


def test_T34_a_schema_without_end_is_refused(stage: Stage) -> None:
    stage.play(ok("messages"))
    tree = {"type": "object", "properties": {"below": {"$ref": "#"}}}
    with pytest.raises(openai.BadRequestError) as caught:
        stage.oai.chat.completions.create(model="messages/m", messages=ASK, response_format=as_format(tree))
    assert caught.value.param.startswith("response_format")
    assert stage.requests == []


# ---- T36: what cannot be asked ----

AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
FILE = {"type": "file", "file": {"file_id": "file-1"}}


def content(part: Any) -> Any:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, part]}]}


@pytest.mark.parametrize("upstream", ["messages", "responses"])
@pytest.mark.parametrize(
    ("asked", "code", "param"),
    [
        ({"messages": ASK, "n": 3}, "unsupported_parameter", "n"),
        (content(AUDIO), "unsupported_content", "messages[0].content[1]"),
        (content(FILE), "unsupported_content", "messages[0].content[1]"),
    ],
    ids=["n", "audio", "file"],
)
def test_T36_what_would_be_lost_is_refused(stage: Stage, upstream: str, asked: Any, code: str, param: str) -> None:
    stage.play(ok(upstream))
    with pytest.raises(openai.BadRequestError) as caught:
        stage.oai.chat.completions.create(model=f"{upstream}/m", **asked)
    assert caught.value.code == code
    assert caught.value.param.startswith(param)
    assert caught.value.type == "invalid_request_error"
    assert stage.requests == []


@pytest.mark.parametrize("upstream", ["chat", "responses"])
def test_T36_a_file_of_another_account_is_refused_to_messages_clients_too(stage: Stage, upstream: str) -> None:
    stage.play(ok(upstream))
    image: Any = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    with pytest.raises(anthropic.BadRequestError) as caught:
        stage.ant.messages.create(model=f"{upstream}/m", max_tokens=10, messages=[{"role": "user", "content": [image]}])
    body: Any = caught.value.body
    assert body["error"]["type"] == "invalid_request_error"
    assert "messages[0].content[0]" in body["error"]["message"]
    assert stage.requests == []
