"""The SDKs' own helpers in every direction: streams gathered, tools run, answers parsed into the caller's types."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import openai
import pytest
from anthropic import beta_tool
from openai import pydantic_function_tool
from pydantic import BaseModel

from .spoken import SHAPES
from .stage import ALICE, Stage
from .upstreams import text_answer, tool_answer

ASK: Any = [{"role": "user", "content": "How is Ulm?"}]


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    days: int


PIECES = ('{"city":', '"Ulm",', '"days":2}')
ULM = Weather(city="Ulm", days=2)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"title": "City", "type": "string"}, "days": {"title": "Days", "type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


@pytest.fixture(params=SHAPES)
def upstream(request: pytest.FixtureRequest) -> str:
    """The shape that answers."""
    found: str = request.param
    return found


def schema_of(shape: str, asked: Any) -> Any:
    """The schema that an upstream was asked to keep to."""
    if shape == "chat":
        found = asked["response_format"]["json_schema"]["schema"]
    else:
        found = asked["output_config"]["format"]["schema"] if shape == "messages" else asked["text"]["format"]["schema"]
    return {key: found[key] for key in SCHEMA}


def tool_of(shape: str, asked: Any) -> tuple[str, Any]:
    tool = asked["tools"][0]
    tool = tool["function"] if shape == "chat" else tool
    schema = tool["input_schema"] if shape == "messages" else tool["parameters"]
    return tool["name"], {key: schema[key] for key in SCHEMA if key in schema}


# ---- chat ----


def test_chat_stream(stage: Stage, upstream: str) -> None:
    stage.play(text_answer(upstream, "It ", "rains."))
    with stage.oai.chat.completions.stream(model=f"{upstream}/m", messages=ASK, stream_options={"include_usage": True}) as told:
        events = list(told)
        answer = told.get_final_completion()
    assert [event.delta for event in events if event.type == "content.delta" and event.delta] == ["It ", "rains."]
    assert [event.content for event in events if event.type == "content.done"] == ["It rains."]
    assert answer.choices[0].message.content == "It rains."
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (12, 7, 19)


def test_chat_stream_of_tools(stage: Stage, upstream: str) -> None:
    stage.play(tool_answer(upstream, "Weather", *PIECES))
    tools: Any = [pydantic_function_tool(Weather)]
    with stage.oai.chat.completions.stream(model=f"{upstream}/m", messages=ASK, tools=tools) as told:
        events = list(told)
        answer = told.get_final_completion()
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert [(event.name, event.parsed_arguments) for event in done] == [("Weather", ULM)]
    pieces = [event.arguments_delta for event in events if event.type == "tool_calls.function.arguments.delta"]
    assert "".join(pieces) == "".join(PIECES)
    assert len(pieces) > 1
    call = answer.choices[0].message.tool_calls[0]
    assert (call.id, call.function.parsed_arguments, answer.choices[0].finish_reason) == ("call_1", ULM, "tool_calls")
    assert tool_of(upstream, stage.asked[0]) == ("Weather", SCHEMA)


def test_chat_parse(stage: Stage, upstream: str) -> None:
    stage.play(text_answer(upstream, *PIECES))
    answer = stage.oai.chat.completions.parse(model=f"{upstream}/m", messages=ASK, response_format=Weather)
    assert answer.choices[0].message.parsed == ULM
    assert schema_of(upstream, stage.asked[0]) == SCHEMA


def test_chat_parse_of_a_stream(stage: Stage, upstream: str) -> None:
    stage.play(text_answer(upstream, *PIECES))
    with stage.oai.chat.completions.stream(model=f"{upstream}/m", messages=ASK, response_format=Weather) as told:
        events = list(told)
        assert told.get_final_completion().choices[0].message.parsed == ULM
    assert [event.parsed for event in events if event.type == "content.done"] == [ULM]


def test_chat_parse_of_tools(stage: Stage, upstream: str) -> None:
    stage.play(tool_answer(upstream, "Weather", *PIECES))
    answer = stage.oai.chat.completions.parse(model=f"{upstream}/m", messages=ASK, tools=[pydantic_function_tool(Weather)])
    assert [call.function.parsed_arguments for call in answer.choices[0].message.tool_calls or []] == [ULM]


# ---- messages ----


def test_messages_stream(stage: Stage, upstream: str) -> None:
    stage.play(text_answer(upstream, "It ", "rains."))
    with stage.ant.messages.stream(model=f"{upstream}/m", max_tokens=50, messages=ASK) as told:
        pieces = list(told.text_stream)
        assert told.get_final_text() == "It rains."
        answer = told.get_final_message()
    assert pieces == ["It ", "rains."]
    assert answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (12, 7)


def test_messages_stream_of_tools(stage: Stage, upstream: str) -> None:
    stage.play(tool_answer(upstream, "Weather", *PIECES))
    tools: Any = [{"name": "Weather", "input_schema": SCHEMA}]
    with stage.ant.messages.stream(model=f"{upstream}/m", max_tokens=50, messages=ASK, tools=tools) as told:
        events = list(told)
        answer = told.get_final_message()
    partial = [event for event in events if event.type == "input_json"]
    assert "".join(event.partial_json for event in partial) == "".join(PIECES)
    assert partial[-1].snapshot == {"city": "Ulm", "days": 2}
    assert [(block.type, block.id, block.name, block.input) for block in answer.content] == [
        ("tool_use", "call_1", "Weather", {"city": "Ulm", "days": 2})
    ]
    assert answer.stop_reason == "tool_use"
    assert tool_of(upstream, stage.asked[0]) == ("Weather", SCHEMA)


def test_messages_parse(stage: Stage, upstream: str) -> None:
    stage.play(text_answer(upstream, *PIECES))
    answer = stage.ant.messages.parse(model=f"{upstream}/m", max_tokens=50, messages=ASK, output_format=Weather)
    assert answer.parsed_output == ULM
    assert schema_of(upstream, stage.asked[0]) == SCHEMA


def test_messages_parse_of_a_stream(stage: Stage, upstream: str) -> None:
    stage.play(text_answer(upstream, *PIECES))
    with stage.ant.messages.stream(model=f"{upstream}/m", max_tokens=50, messages=ASK, output_format=Weather) as told:
        assert told.get_final_message().parsed_output == ULM


@beta_tool
def weather(city: str, days: int) -> str:
    """The weather of a city.

    Args:
        city: Which one.
        days: How many.
    """
    return f"{city} has {days} days of rain"


def result_of(shape: str, asked: Any) -> Any:
    """The tool's result as the upstream got it on the second turn."""
    if shape == "responses":
        return asked["input"][-1]["output"]
    last = asked["messages"][-1]
    return last["content"] if shape == "chat" else last["content"][0]["content"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_messages_tool_runner(stage: Stage, upstream: str, streamed: bool) -> None:
    """The runner calls the function itself and asks again, until there is an answer."""
    stage.play(tool_answer(upstream, "weather", *PIECES), text_answer(upstream, "It ", "rains."))
    options: Any = {"model": f"{upstream}/m", "max_tokens": 50, "messages": ASK, "tools": [weather]}
    if streamed:
        answer: Any = None
        for told in stage.ant.beta.messages.tool_runner(**options, stream=True):
            answer = told.get_final_message()
    else:
        answer = stage.ant.beta.messages.tool_runner(**options).until_done()
    assert [block.text for block in answer.content] == ["It rains."]
    assert len(stage.asked) == 2
    assert result_of(upstream, stage.asked[1]) in (
        "Ulm has 2 days of rain",
        [{"type": "text", "text": "Ulm has 2 days of rain"}],
    )


# ---- responses ----


def test_responses_stream(stage: Stage, upstream: str) -> None:
    stage.play(text_answer(upstream, "It ", "rains."))
    with stage.oai.responses.stream(model=f"{upstream}/m", input=ASK) as told:
        events = list(told)
        answer = told.get_final_response()
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert [(event.delta, event.snapshot) for event in deltas] == [("It ", "It "), ("rains.", "It rains.")]
    assert (answer.output_text, answer.status) == ("It rains.", "completed")
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (12, 7, 19)


def test_responses_stream_of_tools(stage: Stage, upstream: str) -> None:
    stage.play(tool_answer(upstream, "Weather", *PIECES))
    tools: Any = [openai.pydantic_responses_function_tool(Weather)]
    with stage.oai.responses.stream(model=f"{upstream}/m", input=ASK, tools=tools) as told:
        events = list(told)
        answer = told.get_final_response()
    deltas = [event for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(event.delta for event in deltas) == deltas[-1].snapshot == "".join(PIECES)
    assert [(item.type, item.call_id, item.name, item.parsed_arguments) for item in answer.output] == [
        ("function_call", "call_1", "Weather", ULM)
    ]
    assert tool_of(upstream, stage.asked[0]) == ("Weather", SCHEMA)


def test_responses_parse(stage: Stage, upstream: str) -> None:
    stage.play(text_answer(upstream, *PIECES))
    answer = stage.oai.responses.parse(model=f"{upstream}/m", input=ASK, text_format=Weather)
    assert answer.output_parsed == ULM
    assert schema_of(upstream, stage.asked[0]) == SCHEMA


def test_responses_parse_of_a_stream(stage: Stage, upstream: str) -> None:
    stage.play(text_answer(upstream, *PIECES))
    with stage.oai.responses.stream(model=f"{upstream}/m", input=ASK, text_format=Weather) as told:
        assert told.get_final_response().output_parsed == ULM


# ---- the asynchronous clients ----


def test_asynchronous_clients(stage: Stage, upstream: str) -> None:
    stage.play(text_answer(upstream, "It ", "rains."))

    async def ask() -> list[str]:
        async with (
            openai.AsyncOpenAI(api_key=ALICE, base_url=f"{stage.url}/v1", max_retries=0) as oai,
            anthropic.AsyncAnthropic(api_key=ALICE, base_url=stage.url, max_retries=0) as ant,
        ):
            async with oai.chat.completions.stream(model=f"{upstream}/m", messages=ASK) as chat:
                completion = await chat.get_final_completion()
            async with ant.messages.stream(model=f"{upstream}/m", max_tokens=50, messages=ASK) as messages:
                text = await messages.get_final_text()
            async with oai.responses.stream(model=f"{upstream}/m", input=ASK) as responses:
                response = await responses.get_final_response()
        return [completion.choices[0].message.content or "", text, response.output_text]

    assert asyncio.run(ask()) == ["It rains."] * 3
