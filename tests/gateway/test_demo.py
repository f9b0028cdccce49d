"""The demo models, as a newcomer tries them through each API: tools with arguments of their schema, structured output."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ..scripted import Provider, respond
from .inside import Inside, inside_once
from .wire import request

CONFIG = "listeners: [{type: model, address: 127.0.0.1}]\nmodel_providers: [{model: demo/*}]"
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["C", "F"]},
        "days": {"type": "integer", "minimum": 3},
        "place": {"type": "object", "properties": {"zip": {"type": "string"}}, "required": ["zip"]},
        "more": {"type": "string"},
    },
    "required": ["city", "unit", "days", "place"],
    "additionalProperties": False,
}
FILLED = {"city": "demo", "unit": "C", "days": 3, "place": {"zip": "demo"}}
HI = [{"role": "user", "content": "Good morning"}]
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": HI}),
    "messages": ("/v1/messages", {"messages": HI, "max_tokens": 100}),
    "responses": ("/v1/responses", {"input": HI}),
}


async def ask(shape: str, model: str, stream: bool = False, **more: Any) -> bytes:
    path, body = ASKED[shape]
    with Provider(lambda asked: [respond({})]) as provider:
        async with (
            Inside(CONFIG, provider) as gateway,
            gateway.call(request(path, body | {"model": model, "stream": stream} | more)) as caller,
        ):
            status, headers = await caller.head()
            assert status == 200
            return await caller.body(headers)


def tools(shape: str, *names: str) -> list[dict[str, Any]]:
    if shape == "messages":
        return [{"name": name, "input_schema": SCHEMA} for name in names]
    functions = [{"name": name, "parameters": SCHEMA} for name in names]
    return [{"type": "function", "function": each} if shape == "chat" else {"type": "function", **each} for each in functions]


def call_of(shape: str, answer: dict[str, Any]) -> tuple[str, Any]:
    if shape == "chat":
        call = answer["choices"][0]["message"]["tool_calls"][0]["function"]
        return call["name"], orjson.loads(call["arguments"])
    if shape == "messages":
        block = answer["content"][-1]
        return block["name"], block["input"]
    item = answer["output"][-1]
    return item["name"], orjson.loads(item["arguments"])


@pytest.mark.parametrize("shape", ASKED)
@inside_once
async def test_a_tool_gets_what_its_schema_requires(shape: str) -> None:
    answer = orjson.loads(await ask(shape, "demo/tool", tools=tools(shape, "weather", "other")))
    assert call_of(shape, answer) == ("weather", FILLED)
    assert orjson.dumps("C").decode() in (await ask(shape, "demo/tool", stream=True, tools=tools(shape, "weather"))).decode().replace(
        "\\", ""
    )


@pytest.mark.parametrize(
    ("shape", "choice"),
    [
        ("chat", {"type": "function", "function": {"name": "other"}}),
        ("messages", {"type": "tool", "name": "other"}),
        ("responses", {"type": "function", "name": "other"}),
    ],
)
@inside_once
async def test_the_tool_that_must_be_called(shape: str, choice: dict[str, Any]) -> None:
    answer = orjson.loads(await ask(shape, "demo/tool", tools=tools(shape, "weather", "other"), tool_choice=choice))
    assert call_of(shape, answer)[0] == "other"
    assert b"no tool to call" in await ask(
        shape, "demo/tool", tools=tools(shape, "weather"), tool_choice={"chat": "none", "messages": {"type": "none"}}.get(shape, "none")
    )


@inside_once
async def test_custom_tools_are_seen() -> None:
    custom = {"name": "patch", "description": "Patches."}
    answer = orjson.loads(await ask("chat", "demo/tool", tools=[{"type": "custom", "custom": custom}]))
    call = answer["choices"][0]["message"]["tool_calls"][0]
    assert (call["type"], call["custom"]) == ("custom", {"name": "patch", "input": "demo"})
    answer = orjson.loads(await ask("responses", "demo/tool", tools=[{"type": "custom", **custom}]))
    item = answer["output"][-1]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "patch", "demo")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@inside_once
async def test_functions_of_the_older_form_are_called(stream: bool) -> None:
    asked = {"functions": [{"name": "other"}, {"name": "weather", "parameters": SCHEMA}], "function_call": {"name": "weather"}}
    answer = await ask("chat", "demo/tool", stream, **asked)
    if stream:
        assert b'"finish_reason":"function_call"' in answer
        assert orjson.dumps(orjson.dumps(FILLED).decode()) in answer
        return
    choice = orjson.loads(answer)["choices"][0]
    call = choice["message"]["function_call"]
    assert (choice["finish_reason"], call["name"], orjson.loads(call["arguments"])) == ("function_call", "weather", FILLED)
    said = [{"role": "assistant", "content": None, "function_call": call}, {"role": "function", "name": "weather", "content": "sunny"}]
    assert b"The tool said: sunny" in await ask("chat", "demo/tool", **asked, messages=[*HI, *said])


BEHIND: list[tuple[str, list[dict[str, Any]]]] = [
    ("a reminder", [{"type": "text", "text": "<system-reminder>Go on.</system-reminder>"}]),
    ("nothing", []),
]


@pytest.mark.parametrize(("name", "behind"), BEHIND, ids=[name for name, _ in BEHIND])
@pytest.mark.parametrize("system", [False, True])
@inside_once
async def test_an_agents_loop_ends(name: str, behind: list[dict[str, Any]], system: bool) -> None:
    """Coding agents add reminders behind the results of tools: a call again and again would never end."""
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}
    messages: list[dict[str, Any]] = [
        *HI,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": FILLED}]},
        {"role": "user", "content": [result, *behind]},
        *([{"role": "system", "content": "Be brief."}] if system else []),
    ]
    answer = orjson.loads(await ask("messages", "demo/tool", tools=tools("messages", "weather"), messages=messages))
    assert (answer["stop_reason"], answer["content"][0]["text"]) == ("end_turn", "The tool said: sunny")
    messages += [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": "And tomorrow?"}]
    answer = orjson.loads(await ask("messages", "demo/tool", tools=tools("messages", "weather"), messages=messages))
    assert answer["stop_reason"] == "tool_use"


FORMATS: dict[str, dict[str, Any]] = {
    "chat": {"response_format": {"type": "json_schema", "json_schema": {"name": "o", "schema": SCHEMA}}},
    "messages": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "responses": {"text": {"format": {"type": "json_schema", "name": "o", "schema": SCHEMA}}},
}


@pytest.mark.parametrize("shape", ASKED)
@inside_once
async def test_an_echo_with_a_schema(shape: str) -> None:
    answer = orjson.loads(await ask(shape, "demo/echo", **FORMATS[shape]))
    text = {
        "chat": lambda: answer["choices"][0]["message"]["content"],
        "messages": lambda: answer["content"][0]["text"],
        "responses": lambda: answer["output"][-1]["content"][0]["text"],
    }[shape]()
    said = "Good morning"
    assert orjson.loads(text) == {"city": said, "unit": "C", "days": 3, "place": {"zip": said}, "more": said}


@inside_once
async def test_an_echo_as_an_object() -> None:
    answer = orjson.loads(await ask("chat", "demo/echo", response_format={"type": "json_object"}))
    assert orjson.loads(answer["choices"][0]["message"]["content"]) == {"text": "Good morning"}


@inside_once
async def test_two_answers_have_two_ids() -> None:
    ids = {
        orjson.loads(await ask("chat", "demo/tool", tools=tools("chat", "f")))["choices"][0]["message"]["tool_calls"][0]["id"] for _ in "ab"
    }
    assert len(ids) == 2


ENDED = {  # how an answer of this text ends, by the members that ask for it: text, and the reason in each API
    "length": ("one two ", {"chat": "length", "messages": "max_tokens", "responses": "max_output_tokens"}),
    "stop": ("one two ", {"chat": "stop", "messages": "stop_sequence"}),
    "both": ("one ", {"chat": "length", "messages": "max_tokens"}),
    "neither": ("one two three", {"chat": "stop", "messages": "end_turn"}),
}
ASKS: dict[str, dict[str, dict[str, Any]]] = {
    "chat": {
        "length": {"max_completion_tokens": 2},
        "stop": {"stop": ["four", "three"]},
        "both": {"max_tokens": 1, "stop": "three"},
        "neither": {"max_tokens": 3, "stop": "four"},
    },
    "messages": {
        "length": {"max_tokens": 2},
        "stop": {"stop_sequences": ["four", "three"]},
        "both": {"max_tokens": 1, "stop_sequences": ["three"]},
        "neither": {"max_tokens": 3, "stop_sequences": ["four"]},
    },
    "responses": {"length": {"max_output_tokens": 2}},
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("shape", "end"), [(shape, end) for shape, ends in ASKS.items() for end in ends])
@inside_once
async def test_an_answer_ends_as_it_is_asked_to(shape: str, end: str, stream: bool) -> None:
    said = [{"role": "user", "content": "one two three"}]
    body = {"input" if shape == "responses" else "messages": said} | ASKS[shape][end]
    answer = await ask(shape, "demo/echo", stream, **body)
    text, reasons = ENDED[end]
    if stream:
        assert (answer.count(b"three") > 0) is (end in ("neither", "stop"))  # in the text, or as the sequence that stopped it
        assert orjson.dumps(reasons[shape]) in answer
        return
    whole = orjson.loads(answer)
    if shape == "chat":
        (choice,) = whole["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == (text, reasons[shape])
        assert whole["usage"]["completion_tokens"] == len(text.split())
    elif shape == "messages":
        assert (whole["content"][0]["text"], whole["stop_reason"]) == (text, reasons[shape])
        assert whole["stop_sequence"] == ("three" if end == "stop" else None)
    else:
        assert (whole["output"][0]["content"][0]["text"], whole["status"]) == (text, "incomplete")
        assert whole["incomplete_details"]["reason"] == reasons[shape]


@inside_once
async def test_thoughts_count() -> None:
    answer = orjson.loads(await ask("chat", "demo/think", max_tokens=3))
    message = answer["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"], answer["choices"][0]["finish_reason"]) == ("The caller sent ", None, "length")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@inside_once
async def test_several_answers(stream: bool) -> None:
    answer = await ask("chat", "demo/echo", stream, n=3, stream_options={"include_usage": True} if stream else None)
    if not stream:
        whole = orjson.loads(answer)
        assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
        assert {choice["message"]["content"] for choice in whole["choices"]} == {"Good morning"}
        assert whole["usage"]["completion_tokens"] == 6
        return
    chunks = [orjson.loads(line[6:]) for line in answer.splitlines() if line.startswith(b"data: {")]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    texts = ["".join(choice["delta"].get("content", "") for choice in choices if choice["index"] == number) for number in range(3)]
    assert texts == ["Good morning"] * 3
    assert [choice["index"] for choice in choices if choice["finish_reason"] == "stop"] == [0, 1, 2]
    assert chunks[-1]["usage"]["completion_tokens"] == 6


@inside_once
async def test_more_answers_than_there_may_be() -> None:
    async with (
        Inside(CONFIG) as gateway,
        gateway.call(request(ASKED["chat"][0], {"model": "demo/echo", "messages": HI, "n": 129})) as caller,
    ):
        status, headers = await caller.head()
        assert (status, b"at most 128" in await caller.body(headers)) == (400, True)
