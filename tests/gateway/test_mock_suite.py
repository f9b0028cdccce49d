"""The behaviours that the project began with: both SDKs against the mock configuration, provider on 51001, gateway on 12000."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import anthropic
import openai
import pytest
from pytest_httpserver import HTTPServer

from ..conftest import Running
from .mock import Upstream

GATEWAY = "http://localhost:12000"
CLAUDE = "claude-sonnet-4-20250514"
TOOL = {
    "type": "function",
    "function": {
        "name": "echo_tool",
        "description": "Echo input",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
}


@pytest.fixture(scope="module")
def httpserver_listen_address() -> tuple[str, int]:
    return ("127.0.0.1", 51001)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Running]:
    with resources.as_file(resources.files("dragoman.conf") / "examples" / "config_mock_llm.yaml") as path:
        running = Running([str(path)], 12000)
        try:
            yield running
        finally:
            running.close()


@pytest.fixture(scope="module")
def _server(gateway: Running) -> Iterator[HTTPServer]:
    server = HTTPServer(host="127.0.0.1", port=51001)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def upstream(_server: HTTPServer) -> Iterator[Upstream]:
    _server.clear()
    yield Upstream(_server)
    _server.check_assertions()


@pytest.fixture
def oai(gateway: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="test-key", base_url=f"{GATEWAY}/v1", max_retries=0) as client:
        yield client


@pytest.fixture
def ant(gateway: Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="test-key", base_url=GATEWAY, max_retries=0) as client:
        yield client


def ask(text: str = "Hello") -> list[Any]:
    return [{"role": "user", "content": text}]


def text_of(stream: Any) -> list[str]:
    return [c.choices[0].delta.content for c in stream if c.choices and c.choices[0].delta.content]


# ---- streams ----


def test_openai_chat_streaming_basic(upstream: Upstream, oai: openai.OpenAI) -> None:
    upstream.chat("The quick brown fox jumps over the lazy dog")
    stream = oai.chat.completions.create(model="gpt-4o-mini", max_tokens=100, messages=ask(), stream=True)
    chunks = text_of(stream)
    assert "".join(chunks) == "The quick brown fox jumps over the lazy dog"
    assert len(chunks) > 1
    assert upstream.bodies[0]["model"] == "gpt-4o-mini"


def test_openai_chat_streaming_tool_calls(upstream: Upstream, oai: openai.OpenAI) -> None:
    upstream.chat_tool("echo_tool", '{"text":"hello"}')
    stream = oai.chat.completions.create(model="gpt-4o-mini", max_tokens=100, messages=ask("Call the echo tool"), tools=[TOOL], stream=True)
    calls = [call for chunk in stream if chunk.choices for call in chunk.choices[0].delta.tool_calls or []]
    assert calls[0].id == "call_mock_123"
    assert calls[0].function.name == "echo_tool"
    assert "".join(call.function.arguments or "" for call in calls) == '{"text":"hello"}'


def test_anthropic_messages_streaming_basic(upstream: Upstream, ant: anthropic.Anthropic) -> None:
    upstream.messages("Hello from streaming Claude!")
    with ant.messages.stream(model=CLAUDE, max_tokens=100, messages=ask()) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == "Hello from streaming Claude!"
    assert len(pieces) > 1
    assert final.content[0].text == "Hello from streaming Claude!"
    assert upstream.paths == ["/v1/messages"]


def test_anthropic_messages_streaming_thinking(upstream: Upstream, ant: anthropic.Anthropic) -> None:
    upstream.messages("4", thinking="Two and two make four.")
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    with ant.messages.stream(model=CLAUDE, max_tokens=2048, thinking=thinking, messages=ask("What is 2+2?")) as stream:
        seen = {e.delta.type for e in stream if e.type == "content_block_delta"}
        final = stream.get_final_message()
    assert {"thinking_delta", "text_delta"} <= seen
    assert [block.type for block in final.content] == ["thinking", "text"]


def test_openai_client_streaming_anthropic_upstream(upstream: Upstream, oai: openai.OpenAI) -> None:
    upstream.chat("Cross-provider streaming works!")
    stream = oai.chat.completions.create(model=CLAUDE, max_tokens=100, messages=ask(), stream=True)
    assert "".join(text_of(stream)) == "Cross-provider streaming works!"
    assert upstream.paths == ["/v1/chat/completions"]


def test_anthropic_client_streaming_openai_upstream(upstream: Upstream, ant: anthropic.Anthropic) -> None:
    upstream.chat("Reverse cross-provider streaming!")
    with ant.messages.stream(model="gpt-4o-mini", max_tokens=100, messages=ask()) as stream:
        assert "".join(stream.text_stream) == "Reverse cross-provider streaming!"
        final = stream.get_final_message()
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == ("end_turn", 12, 7)


def test_responses_api_streaming(upstream: Upstream, oai: openai.OpenAI) -> None:
    upstream.chat("Responses API streaming works!")
    events = list(oai.responses.create(model=CLAUDE, input="Hello", stream=True))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "Responses API streaming works!"
    assert events[-1].type == "response.completed"
    assert upstream.paths == ["/v1/chat/completions"]


def test_responses_client_of_a_gpt_model_passes_through(upstream: Upstream, oai: openai.OpenAI) -> None:
    seen: list[str] = []

    def answer(body: dict[str, Any]) -> Any:
        from werkzeug.wrappers import Response

        seen.append(body["model"])
        response = {"id": "resp_1", "object": "response", "created_at": 1, "model": body["model"], "status": "completed", "output": []}
        return Response(json.dumps(response), content_type="application/json")

    upstream.serve("/v1/responses", answer)
    assert oai.responses.create(model="gpt-4o", input="Hello").id == "resp_1"
    assert seen == ["gpt-4o"]


# ---- whole answers, aliases, tools, state ----


@pytest.mark.parametrize(("alias", "target"), [("arch.summarize.v1", "gpt-5-mini-2025-08-07"), ("arch.v1", "o3")])
def test_alias(upstream: Upstream, oai: openai.OpenAI, ant: anthropic.Anthropic, alias: str, target: str) -> None:
    upstream.chat("by alias")
    answer = oai.chat.completions.create(model=alias, max_tokens=50, messages=ask())
    assert (answer.choices[0].message.content, answer.model) == ("by alias", alias)
    message = ant.messages.create(model=alias, max_tokens=50, messages=ask())
    assert (message.content[0].text, message.model) == ("by alias", alias)
    assert [body["model"] for body in upstream.bodies] == [target, target]


def test_default_model(upstream: Upstream, oai: openai.OpenAI) -> None:
    upstream.chat("by default")
    answer = oai.post("/chat/completions", body={"messages": ask()}, cast_to=object)
    assert isinstance(answer, dict)
    assert upstream.bodies[0]["model"] == "gpt-5-mini-2025-08-07"


def test_whole_tool_call_for_an_anthropic_client(upstream: Upstream, ant: anthropic.Anthropic) -> None:
    upstream.chat_tool("echo_tool", '{"text": "hi"}')
    schema: Any = TOOL["function"]["parameters"]  # type: ignore[index]
    message = ant.messages.create(model="gpt-4o", max_tokens=50, messages=ask(), tools=[{"name": "echo_tool", "input_schema": schema}])
    assert message.stop_reason == "tool_use"
    assert (message.content[0].name, message.content[0].input) == ("echo_tool", {"text": "hi"})
    assert upstream.bodies[0]["tools"][0]["function"]["name"] == "echo_tool"


def test_responses_with_mixed_input_and_tools(upstream: Upstream, oai: openai.OpenAI) -> None:
    upstream.chat_tool("echo_tool", '{"text": "hi"}')
    content: Any = [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": "https://example.com/i.png"}]
    tool: Any = {"type": "function", **TOOL["function"]}  # type: ignore[dict-item]
    answer = oai.responses.create(model=CLAUDE, input=[{"role": "user", "content": content}], tools=[tool])
    assert [item.type for item in answer.output] == ["function_call"]
    parts = upstream.bodies[0]["messages"][0]["content"]
    assert parts[0] == {"type": "text", "text": "look"}
    assert parts[1]["image_url"]["url"] == "https://example.com/i.png"


@pytest.mark.parametrize("stream", [False, True])
def test_two_turns_with_state(upstream: Upstream, oai: openai.OpenAI, stream: bool) -> None:
    upstream.chat("My name is Mock.")

    def turn(text: str, **more: Any) -> Any:
        if not stream:
            return oai.responses.create(model=CLAUDE, input=text, **more)
        events = list(oai.responses.create(model=CLAUDE, input=text, stream=True, **more))
        return events[-1].response

    first = turn("Who are you?")
    second = turn("Say it again", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert [(m["role"], m["content"]) for m in upstream.bodies[1]["messages"]] == [
        ("user", "Who are you?"),
        ("assistant", "My name is Mock."),
        ("user", "Say it again"),
    ]


def test_unknown_model(oai: openai.OpenAI, ant: anthropic.Anthropic) -> None:
    with pytest.raises(openai.NotFoundError) as openai_error:
        oai.chat.completions.create(model="nobody/nothing", messages=ask())
    assert openai_error.value.code == "model_not_found"
    with pytest.raises(anthropic.NotFoundError):
        ant.messages.create(model="nobody/nothing", max_tokens=10, messages=ask())


def test_models_in_both_sdks(oai: openai.OpenAI, ant: anthropic.Anthropic) -> None:
    names = {model.id for model in oai.models.list()}
    assert {"arch.v1", "openai/gpt-4o", "anthropic/claude-sonnet-4-20250514"} <= names
    assert "openai/gpt-4o" in {model.id for model in ant.models.list()}
    assert oai.models.retrieve("openai/gpt-4o").owned_by == "openai"
