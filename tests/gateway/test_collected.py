"""Whole answers over an upstream that only streams: collected from a stream, or failed as honestly as one that never came."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ..scripted import LAST_CHUNK, Provider, Request, Steps, chunk, close, respond, stream_head
from .inside import CONFIG, Inside, inside_once
from .spoken import SHAPE_AT, SHAPES
from .upstreams import Answer, called, completion, function, message, more, opened, reasoned, response, said, spoken, text_answer, thought

JSON = dict[str, Any]

NEVER = CONFIG.replace("access_key", "capabilities: {whole_answers: never}, access_key")
ABOVE = CONFIG.replace("access_key", "capabilities: {whole_answers_up_to: 4096}, access_key")
PAIRS = [(client, upstream) for client in SHAPES for upstream in SHAPES]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
RICH = {
    "chat": completion(
        {"reasoning_content": "Hm."}, {"content": "Hi"}, opened(0, "call_1", "f"), more(0, '{"a": 1}'), finish="tool_calls", usage=USAGE
    ),
    "messages": message(thought("Hm.", "sig"), said("Hi"), called("call_1", "f", '{"a": 1}'), stop="tool_use"),
    "responses": response(reasoned("rs_1", "enc", "Hm."), spoken("Hi"), function("call_1", "f", '{"a": 1}')),
}


class Streaming:
    """Answers streams alone. asked: what it was sent."""

    def __init__(self, answers: dict[str, Answer] | None = None) -> None:
        self.asked: list[JSON] = []
        self._answers = answers

    def script(self, request: Request) -> Steps:
        body = orjson.loads(request.body)
        self.asked.append(body)
        if body.get("stream") is not True:
            return [respond({"error": {"message": "Bad request."}}, 400)]
        shape = SHAPE_AT[request.target]
        return (self._answers[shape] if self._answers else text_answer(shape, "Hi")).steps(True)


async def ask(gateway: Inside, client: str, upstream: str, **more: Any) -> tuple[int, dict[str, str], JSON]:
    async with gateway.ask(client, f"{upstream}/m", **more) as caller:
        status, headers = await caller.head()
        return status, headers, orjson.loads(await caller.body(headers))


def shown(client: str, answer: JSON) -> tuple[str, list[tuple[str, Any]], str]:
    """Text, calls, and reasoning of a whole answer."""
    if client == "chat":
        told = answer["choices"][0]["message"]
        calls = [(call["function"]["name"], orjson.loads(call["function"]["arguments"])) for call in told.get("tool_calls") or ()]
        return told["content"], calls, told.get("reasoning_content") or ""
    if client == "messages":
        blocks = answer["content"]
        calls = [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
        return (
            "".join(block["text"] for block in blocks if block["type"] == "text"),
            calls,
            "".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        )
    items = answer["output"]
    return (
        "".join(part["text"] for item in items if item["type"] == "message" for part in item["content"]),
        [(item["name"], orjson.loads(item["arguments"])) for item in items if item["type"] == "function_call"],
        "".join(part["text"] for item in items if item["type"] == "reasoning" for part in [*item["summary"], *(item.get("content") or ())]),
    )


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@inside_once
async def test_the_whole_answer(client: str, upstream: str) -> None:
    """Its own shape's, too; counted once, and charged as the upstream said."""
    up = Streaming(RICH)
    async with Provider(up.script) as provider, Inside(NEVER, provider) as gateway:
        asks = {"reasoning": {"summary": "auto"}} if client == "responses" else {}
        status, headers, answer = await ask(gateway, client, upstream, **asks)
        await gateway.until(lambda: gateway.lines)
    assert (status, headers["content-type"], headers["x-dragoman-lane"]) == (200, "application/json", "events")
    assert shown(client, answer) == ("Hi", [("f", {"a": 1})], "Hm.")
    line = gateway.lines[0]
    counted = answer["usage"]
    assert line["tokens"]["input"] == (counted.get("prompt_tokens") or counted["input_tokens"])
    assert line["tokens"]["output"] == (counted.get("completion_tokens") or counted["output_tokens"]) == 7
    assert up.asked[0]["stream"] is True
    assert (up.asked[0].get("stream_options") == {"include_usage": True}) is (upstream == "chat")


@pytest.mark.parametrize("limit", [4096, 4097])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@inside_once
async def test_only_above_a_bound(client: str, upstream: str, limit: int) -> None:
    asked: list[JSON] = []

    def script(request: Request) -> Steps:
        asked.append(orjson.loads(request.body))
        return text_answer(SHAPE_AT[request.target], "Hi").steps(asked[-1].get("stream") is True)

    member = "max_output_tokens" if client == "responses" else "max_tokens"
    async with Provider(script) as provider, Inside(ABOVE, provider) as gateway:
        status, _, answer = await ask(gateway, client, upstream, **{member: limit})
    assert status == 200
    assert shown(client, answer)[0] == "Hi"
    assert asked[0].get("stream", False) is (limit > 4096)


@inside_once
async def test_a_caller_that_says_that_it_wants_no_stream() -> None:
    up = Streaming()
    async with Provider(up.script) as provider, Inside(NEVER, provider) as gateway:
        status, _, answer = await ask(gateway, "chat", "chat", stream=False, metadata={"stream": False}, stream_options=None)
    assert (status, shown("chat", answer)[0]) == (200, "Hi")
    assert up.asked[0]["metadata"] == {"stream": False}


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@inside_once
async def test_a_stream_that_breaks(client: str, upstream: str) -> None:
    """There is no half of a whole answer."""

    def script(request: Request) -> Steps:
        events = text_answer(SHAPE_AT[request.target], "Half of", " it").events
        return [stream_head(), *map(chunk, events[:-2]), close]

    async with Provider(script) as provider, Inside(NEVER, provider) as gateway:
        status, _, answer = await ask(gateway, client, upstream)
        await gateway.until(lambda: gateway.lines)
    assert status == 502
    assert "Half of" not in str(answer)
    assert gateway.lines[0]["error"]


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@inside_once
async def test_a_stream_that_ends_without_its_end(client: str, upstream: str) -> None:
    def script(request: Request) -> Steps:
        events = text_answer(SHAPE_AT[request.target], "Half of", " it").events
        return [stream_head(), *map(chunk, events[: 3 if request.target.endswith("completions") else -2]), LAST_CHUNK]

    async with Provider(script) as provider, Inside(NEVER, provider) as gateway:
        assert (await ask(gateway, client, upstream))[0] == 502


FAILURES = {
    "chat": b'data: {"error": {"message": "Slow down.", "type": "rate_limit_error", "code": "rate_limit_exceeded"}}\n\n',
    "messages": b'event: error\ndata: {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}}\n\n',
    "responses": b'event: error\ndata: {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down.", "param": null}\n\n',
}


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@inside_once
async def test_a_failure_within_the_stream(client: str, upstream: str) -> None:
    """It has the status that it would have had as an answer of its own, though content came before it."""

    def script(request: Request) -> Steps:
        shape = SHAPE_AT[request.target]
        return [stream_head(), *map(chunk, text_answer(shape, "Half of", " it").events[:4]), chunk(FAILURES[shape]), LAST_CHUNK]

    async with Provider(script) as provider, Inside(NEVER, provider) as gateway:
        status, _, answer = await ask(gateway, client, upstream)
    assert status == 429
    assert "Slow down." in answer["error"]["message"]


@inside_once
async def test_another_candidate_takes_over() -> None:
    asked: list[str] = []

    def script(request: Request) -> Steps:
        asked.append(request.target)
        if len(asked) == 1:
            return [stream_head(), *map(chunk, text_answer("chat", "Half of", " it").events[:3]), close]
        return text_answer("chat", "Hi").steps(True)

    entry = '  - {model: up/m, base_url: "UPSTREAM/v1", access_key: k, provider_interface: openai, capabilities: {whole_answers: never}}'
    config = "\n".join(["listeners: [{type: model, address: 127.0.0.1}]", "model_providers:", entry, entry])
    async with Provider(script) as provider, Inside(config, provider) as gateway, gateway.ask("chat", "up/m") as caller:
        status, headers = await caller.head()
        assert status == 200
        assert b"Half" not in await caller.body(headers)
    assert len(asked) == 2


@inside_once
async def test_it_is_learned() -> None:
    """And so is what an upstream answers whole although it was asked for a stream."""
    asked: list[JSON] = []

    def script(request: Request) -> Steps:
        asked.append(orjson.loads(request.body))
        if not asked[-1].get("stream"):
            return [respond({"detail": "Stream must be set to true"}, 400)]
        return text_answer("responses", "Hi").steps(len(asked) < 4)

    async with Provider(script) as provider, Inside(CONFIG, provider) as gateway:
        for client in ("messages", "responses", "chat"):
            status, _, answer = await ask(gateway, client, "responses")
            assert (status, shown(client, answer)[0]) == (200, "Hi")
    assert [body.get("stream") for body in asked] == [None, True, True, True]


@inside_once
async def test_a_response_is_stored() -> None:
    """A response that was collected can be gone on from, as any other."""
    up = Streaming()
    config = NEVER.replace("whole_answers: never", "whole_answers: never, r.stateful: false")
    async with Provider(up.script) as provider, Inside(config, provider) as gateway:
        _, _, first = await ask(gateway, "responses", "responses")
        status, _, _ = await ask(gateway, "responses", "responses", previous_response_id=first["id"])
    assert status == 200
    assert [item["role"] for item in up.asked[1]["input"]] == ["user", "assistant", "user"]
