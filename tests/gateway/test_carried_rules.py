"""What an upstream refuses of its own callers: left out or said otherwise before it is sent, or every byte as it came."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ..scripted import Provider, Request, Steps, respond
from .inside import CONFIG, Inside, inside_once
from .spoken import ASKED, PATHS, SHAPE_AT, SHAPES
from .upstreams import text_answer, tool_answer
from .wire import request

JSON = dict[str, Any]

REFUSING = CONFIG.replace("access_key: sk-upstream", 'access_key: sk-upstream, capabilities: {leave_out: [user, "input[].status"]}')
NO_USAGE = CONFIG.replace("access_key: sk-upstream", "access_key: sk-upstream, capabilities: {leave_out: [stream_options]}")


class Upstream:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def script(self, request: Request) -> Steps:
        self.sent.append(request.body)
        return text_answer(SHAPE_AT[request.target], "Hi").steps(request.json.get("stream") is True)


async def ask(gateway: Inside, shape: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    async with gateway.call(request(PATHS[shape], body, **headers)) as caller:
        status, found = await caller.head()
        return status, found, await caller.body(found)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_a_configured_member_is_left_out(shape: str, stream: bool) -> None:
    up = Upstream()
    body = ASKED[shape] | {"model": f"{shape}/m", "user": "u", "stream": stream, "seed": 10**20}
    async with Provider(up.script) as provider, Inside(REFUSING, provider) as gateway:
        status, headers, answer = await ask(gateway, shape, orjson.dumps(body | {"seed": 5}))
        assert status == 200
        assert b"Hi" in answer
        assert headers["x-dragoman-dropped"] == "user"
        assert headers["x-dragoman-lane"] == "bytes"
    sent = orjson.loads(up.sent[0])
    sent.pop("stream_options", None)  # asked for by the gateway
    assert sent == {**ASKED[shape], "model": "m", "stream": stream, "seed": 5}


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_a_body_that_breaks_no_rule_is_carried_byte_for_byte(shape: str) -> None:
    up = Upstream()
    text = orjson.dumps(ASKED[shape])[1:-1]
    body = b'{ "seed": 1.50e1,\t"model" : "%b/m", %b, "\\u0061": "\\u00e9" }' % (shape.encode(), text)
    async with Provider(up.script) as provider, Inside(REFUSING, provider) as gateway:
        status, headers, _ = await ask(gateway, shape, body)
        assert status == 200
        assert "x-dragoman-dropped" not in headers
    assert up.sent == [body.replace(b"%b/m" % shape.encode(), b"m")]


@inside_once
async def test_members_of_items() -> None:
    up = Upstream()
    item = {"type": "message", "role": "user", "content": "Hi"}
    body = {"model": "responses/m", "store": False, "input": [item | {"status": "completed"}, item]}
    async with Provider(up.script) as provider, Inside(REFUSING, provider) as gateway:
        status, headers, _ = await ask(gateway, "responses", orjson.dumps(body))
        assert status == 200
        assert headers["x-dragoman-dropped"] == "input[*].status"
    assert orjson.loads(up.sent[0])["input"] == [item, item]


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_a_strict_caller_is_refused_before_anything_is_sent(shape: str) -> None:
    up = Upstream()
    body = ASKED[shape] | {"model": f"{shape}/m", "user": "u"}
    async with Provider(up.script) as provider, Inside(REFUSING, provider) as gateway:
        status, _, answer = await ask(gateway, shape, orjson.dumps(body), x_dragoman_strict="1")
        assert status == 400
        assert b"user cannot be carried to the selected model" in answer
    assert up.sent == []


@inside_once
async def test_usage_is_not_asked_for_where_that_is_refused() -> None:
    up = Upstream()
    body = ASKED["chat"] | {"model": "chat/m", "stream": True}
    async with Provider(up.script) as provider, Inside(NO_USAGE, provider) as gateway:
        for more, dropped in (({}, None), ({"stream_options": {"include_usage": True}}, "stream_options")):
            status, headers, _ = await ask(gateway, "chat", orjson.dumps(body | more))
            assert status == 200
            assert headers.get("x-dragoman-dropped") == dropped
    assert all(b"stream_options" not in sent for sent in up.sent)


@inside_once
async def test_another_upstream_gets_what_the_first_was_spared() -> None:
    """Rules change a copy: a candidate without them is asked for what the caller asked."""
    config = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - {model: "chat/a", base_url: "UPSTREAM/a", access_key: k, apis: [chat_completions], capabilities: {leave_out: [user]},
     retry_policy: {max_attempts: 1, fallback_models: [chat/b]}}
  - {model: "chat/b", base_url: "UPSTREAM/b", access_key: k, apis: [chat_completions]}
"""
    sent: list[JSON] = []

    def script(request: Request) -> Steps:
        sent.append(request.json)
        if request.target.startswith("/a"):
            return [respond({"error": {"message": "busy"}}, 503, content_type="application/json")]
        return text_answer("chat", "Hi").steps(False)

    async with Provider(script) as provider, Inside(config, provider) as gateway:
        status, headers, _ = await ask(gateway, "chat", orjson.dumps(ASKED["chat"] | {"model": "chat/a", "user": "u"}))
        assert status == 200
        assert "x-dragoman-dropped" not in headers
    assert [one.get("user") for one in sent] == [None, "u"]


OLD = {
    "functions": [{"name": "weather", "parameters": {"type": "object", "properties": {}}}],
    "function_call": {"name": "weather"},
    "messages": [
        {"role": "user", "content": "Sunny?"},
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
        {"role": "function", "name": "weather", "content": "no"},
        {"role": "user", "content": "And now?"},
    ],
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@inside_once
async def test_functions_of_the_older_form_become_tools(stream: bool) -> None:
    """For an upstream that knows tools alone; its calls come back in the form that the caller knows."""
    sent: list[JSON] = []

    def script(request: Request) -> Steps:
        sent.append(request.json)
        return tool_answer("chat", "weather", "{}").steps(stream)

    config = CONFIG.replace("access_key: sk-upstream", "access_key: sk-upstream, capabilities: {c.functions: false}")
    async with Provider(script) as provider, Inside(config, provider) as gateway:
        status, headers, answer = await ask(gateway, "chat", orjson.dumps(OLD | {"model": "chat/m", "stream": stream}))
        assert (status, headers["x-dragoman-lane"]) == (200, "events")
        assert b'"finish_reason":"function_call"' in answer
        assert b'"function_call":{"' in answer
        assert b"tool_calls" not in answer
        body = orjson.dumps(ASKED["chat"] | {"model": "chat/m", "stream": stream})
        assert (await ask(gateway, "chat", body))[1]["x-dragoman-lane"] == "bytes"
    asked = sent[0]
    assert not {"functions", "function_call"} & asked.keys()
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert [message["role"] for message in asked["messages"]] == ["user", "assistant", "tool", "user"]
    assert asked["messages"][1]["tool_calls"][0]["id"] == asked["messages"][2]["tool_call_id"]
