"""Forms, paths and headers in which real clients ask, over every upstream: understood for what they mean."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ..scripted import Provider, Request, Steps, respond
from .inside import Inside, inside_once
from .wire import request

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - {model: chat/*, provider_interface: openai, base_url: "UPSTREAM/v1", access_key: k, apis: [chat_completions]}
  - {model: messages/*, provider_interface: anthropic, base_url: "UPSTREAM/v1", access_key: k, apis: [messages]}
  - {model: responses/*, provider_interface: openai, base_url: "UPSTREAM/v1", access_key: k, apis: [responses]}
  - {model: hosted/*, base_url: "UPSTREAM/v1", access_key: k, apis: [chat_completions], capabilities: {openai_host: true}}
  - {model: plain/*, base_url: "UPSTREAM/v1", access_key: k, apis: [chat_completions], capabilities: {c.json_schema: false}}
  - {model: own/*, provider_interface: anthropic, base_url: "UPSTREAM/v1", passthrough_auth: true, apis: [messages]}
KEYS
"""
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
WHOLE: dict[str, dict[str, Any]] = {
    "chat/completions": {
        "id": "7", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    },
    "messages": {
        "id": "msg_7", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "ok"}],
        "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 2},
    },
    "responses": {
        "id": "resp_7", "object": "response", "created_at": 1, "model": "m", "status": "completed", "error": None,
        "incomplete_details": None, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        "output": [{"id": "msg_7", "type": "message", "role": "assistant", "status": "completed",
                    "content": [{"type": "output_text", "text": "ok", "annotations": []}]}],
    },
}  # fmt: skip
UPSTREAMS = ["chat", "messages", "responses"]


def answer(asked: Request) -> Steps:
    path = asked.target.partition("?")[0].removeprefix("/v1/")
    return [respond(WHOLE[path], anthropic_ratelimit_unified_status="allowed", x_codex_turn_state="T", x_codex_primary_used_percent="9")]


class Asked:
    """One request to a gateway before a provider that answers "ok". sent: what the provider was sent."""

    def __init__(self, status: int, headers: Any, body: bytes, requests: list[Request]) -> None:
        self.status, self.headers, self.body = status, headers, orjson.loads(body)
        self.request = requests[-1] if requests else None
        self.sent: dict[str, Any] = orjson.loads(requests[-1].body) if requests else {}


async def ask(path: str, body: dict[str, Any], keys: str = "", **headers: str) -> Asked:
    with Provider(answer) as provider:
        async with Inside(CONFIG.replace("KEYS", keys), provider) as gateway, gateway.call(request(path, body, **headers)) as caller:
            status, found = await caller.head()
            return Asked(status, found, await caller.body(found), provider.requests)


# ---- a Responses body on the chat path, as Cursor sends it ----

CURSOR: dict[str, Any] = {
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "List"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "ls", "arguments": '{"path":"/"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "a.py"},
        {"role": "user", "content": "Go on"},
    ],
    "tools": [{"type": "function", "name": "ls", "parameters": {"type": "object", "properties": {}}}],
    "tool_choice": {"type": "function", "name": "ls"},
    "max_output_tokens": 500,
    "include": ["reasoning.encrypted_content"],
}


@pytest.mark.parametrize("upstream", UPSTREAMS)
@inside_once
async def test_a_responses_body_on_the_chat_path(upstream: str) -> None:
    asked = await ask("/v1/chat/completions", CURSOR | {"model": f"{upstream}/m"})
    assert (asked.status, asked.body["object"]) == (200, "chat.completion")
    assert {"include", "input[*]"} <= set(asked.headers["x-dragoman-dropped"].split(","))
    text = orjson.dumps(asked.sent).decode()
    for part in ("Be brief.", "List", "a.py", "Go on", "c1", '"ls"', "500"):
        assert part in text
    if upstream == "chat":
        assert [message["role"] for message in asked.sent["messages"]] == ["system", "user", "assistant", "tool", "user"]
        assert asked.sent["tools"][0]["function"]["name"] == asked.sent["tool_choice"]["function"]["name"] == "ls"
        assert "input" not in asked.sent


@pytest.mark.parametrize("upstream", UPSTREAMS)
@inside_once
async def test_flat_tools_on_the_chat_path(upstream: str) -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
    tools = [*CURSOR["tools"], {"type": "custom", "name": "patch", "format": grammar}]
    body = {"messages": [{"role": "user", "content": "Hi"}], "tools": tools, "model": f"{upstream}/m"}
    asked = await ask("/v1/chat/completions", body)
    assert asked.status == 200
    names = [tool.get("function", tool.get("custom", tool))["name"] for tool in asked.sent["tools"]]
    assert names == ["ls", "patch"]


@inside_once
async def test_what_only_the_responses_api_continues() -> None:
    asked = await ask("/v1/chat/completions", CURSOR | {"model": "chat/m", "previous_response_id": "resp_1"})
    assert (asked.status, asked.body["error"]["param"], asked.sent) == (400, "previous_response_id", {})


@pytest.mark.parametrize(("thinking", "level"), [({"type": "enabled", "budget_tokens": 20000}, "high"), ({"type": "adaptive"}, None)])
@inside_once
async def test_chat_bodies_with_thinking(thinking: dict[str, Any], level: str | None) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "thinking": thinking}
    asked = await ask("/v1/chat/completions", body | {"model": "messages/m"})
    assert asked.sent["thinking"]["type"] == "adaptive"
    assert "x-dragoman-dropped" not in asked.headers
    asked = await ask("/v1/chat/completions", body | {"model": "responses/m"})
    assert asked.sent.get("reasoning", {}).get("effort") == level


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@inside_once
async def test_instructions_alone_are_what_is_asked(path: str) -> None:
    said = [{"role": "system", "content": "Be brief."}, {"role": "system", "content": "Tell a joke."}]
    asked = await ask(path, {"model": "messages/m", "input" if "responses" in path else "messages": said})
    assert asked.status == 200
    assert (asked.sent["system"], asked.sent["messages"]) == ("Be brief.", [{"role": "user", "content": "Tell a joke."}])


# ---- structured output, as the AI SDK asks for it ----

CITY: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": ["number", "null"]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
GENERATION = {"responseMimeType": "application/json", "responseJsonSchema": CITY}
# (path, body, its field that holds the schema)
ASKS_FOR_CITY: list[tuple[str, dict[str, Any], str]] = [
    (
        "/v1/chat/completions",
        {
            "response_format": {"type": "json_schema", "json_schema": {"schema": CITY, "strict": True, "name": "response"}},
            "messages": [{"role": "user", "content": "obj"}],
        },
        "response_format",
    ),
    (
        "/v1/responses",
        {
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "obj"}]}],
            "text": {"format": {"type": "json_schema", "strict": True, "name": "response", "schema": CITY}},
        },
        "text.format",
    ),
    (
        "/v1/messages",
        {
            "max_tokens": 4096,
            "output_config": {"format": {"type": "json_schema", "schema": CITY}},
            "messages": [{"role": "user", "content": [{"type": "text", "text": "obj"}]}],
        },
        "output_config.format",
    ),
    (
        "/v1beta/models/plain/m:generateContent",
        {"generationConfig": GENERATION, "contents": [{"role": "user", "parts": [{"text": "obj"}]}]},
        "generationConfig.responseJsonSchema",
    ),
]


@pytest.mark.parametrize(("path", "body", "field"), ASKS_FOR_CITY)
@inside_once
async def test_a_schema_for_a_model_that_takes_none(path: str, body: dict[str, Any], field: str) -> None:
    """DeepSeek knows JSON, and no schema: the model is told it in words, and the caller that it was."""
    asked = await ask(path, body if "v1beta" in path else body | {"model": "plain/m"})
    assert asked.status == 200
    assert asked.sent["response_format"] == {"type": "json_object"}
    words = f"Answer with one JSON value, and nothing else, that is valid by this JSON schema:\n{orjson.dumps(CITY).decode()}"
    assert asked.sent["messages"] == [{"role": "user", "content": f"obj\n\n{words}"}]
    assert asked.headers["x-dragoman-adapted"] == field
    assert field not in asked.headers.get("x-dragoman-dropped", "")


# ---- paths and credentials ----

HI = [{"role": "user", "content": "Hi"}]
AT: list[tuple[str, dict[str, Any]]] = [
    ("/openai/v1/chat/completions", {"model": "chat/m", "messages": HI}),
    ("/openai/chat/completions", {"model": "chat/m", "messages": HI}),
    ("/openai/v1/responses", {"model": "responses/m", "input": HI}),
    ("/anthropic/v1/messages", {"model": "messages/m", "max_tokens": 9, "messages": HI}),
    ("/anthropic/v1/messages?beta=true", {"model": "chat/m", "max_tokens": 9, "messages": HI}),
    ("/openai/deployments/chat%2Fm/chat/completions?api-version=2024-10-21", {"messages": HI}),
    ("/openai/deployments/chat%2Fm/chat/completions", {"model": "other", "messages": HI, "metadata": {"model": "x"}}),
]


@pytest.mark.parametrize(("path", "body"), AT)
@pytest.mark.parametrize("header", ["authorization", "x_api_key", "api_key", "x_goog_api_key"])
@inside_once
async def test_paths_and_keys_of_chat_programs(path: str, body: dict[str, Any], header: str) -> None:
    key = "Bearer KEY" if header == "authorization" else "KEY"
    asked = await ask(path, body, "access_keys: [{key: KEY}]", **{header: key})
    assert asked.status == 200
    assert asked.sent["model"] == "m"
    assert asked.sent.get("metadata") in (None, {"model": "x"})


# ---- headers ----

ACCOUNT = {"anthropic_workspace_id": "w", "anthropic_user_profile_id": "p", "anthropic_use_case_id": "u"}
MESSAGE = {"max_tokens": 9, "messages": HI}


@pytest.mark.parametrize("upstream", ["own", "messages", "chat", "responses"])
@inside_once
async def test_headers_that_name_something_of_an_account(upstream: str) -> None:
    asked = await ask("/v1/messages", MESSAGE | {"model": f"{upstream}/m"}, x_api_key="sk-mine", **ACCOUNT)
    assert asked.request is not None
    names = [name.replace("_", "-") for name in ACCOUNT]
    carried = upstream == "own"  # with the caller's own credential, else they name something of another account
    assert [name in asked.request.headers for name in names] == [carried] * 3
    said = asked.headers.get("x-dragoman-dropped", "").split(",")
    assert [f"header:{name}" in said for name in names] == [not carried] * 3


OF_CODEX = ("x_openai_subagent", "x_responsesapi_include_timing_metrics", "version", "openresponses_version", "x_codex_turn_state")


@pytest.mark.parametrize("upstream", ["responses", "chat"])
@inside_once
async def test_headers_of_codex(upstream: str) -> None:
    """Over its own API they go up; an attestation is bound to an account, and the gateway's is another."""
    given = dict.fromkeys((*OF_CODEX, "x_oai_attestation"), "1")
    asked = await ask("/v1/responses", {"model": f"{upstream}/m", "input": HI, "store": False}, **given)
    assert asked.request is not None
    carried = [name for name in given if name.replace("_", "-") in asked.request.headers]
    assert carried == (list(OF_CODEX) if upstream == "responses" else [])


@inside_once
async def test_a_key_of_repeats_is_carried_or_named() -> None:
    asked = await ask("/v1/chat/completions", {"model": "chat/m", "messages": HI}, idempotency_key="i-1")
    assert asked.request is not None
    assert asked.request.headers["idempotency-key"] == "i-1"
    asked = await ask("/v1/chat/completions", {"model": "messages/m", "messages": HI}, idempotency_key="i-1")
    assert asked.headers["x-dragoman-dropped"] == "header:idempotency-key"
    asked = await ask("/v1/messages", MESSAGE | {"model": "hosted/m"}, idempotency_key="i-1", x_dragoman_strict="1")
    assert asked.request is not None
    assert asked.request.headers["idempotency-key"] == "i-1"  # OpenAI takes it, whatever API the caller speaks
    assert "x-dragoman-dropped" not in asked.headers


@pytest.mark.parametrize(("keys", "shown"), [("", True), ("access_keys: [{key: KEY}]", False)])
@inside_once
async def test_what_the_account_has_left_is_for_its_owner(keys: str, shown: bool) -> None:
    asked = await ask("/v1/messages", MESSAGE | {"model": "messages/m"}, keys, x_api_key="KEY")
    assert ("anthropic-ratelimit-unified-status" in asked.headers) == shown
    asked = await ask("/v1/responses", {"model": "responses/m", "input": HI, "store": False}, keys, x_api_key="KEY")
    assert ("x-codex-primary-used-percent" in asked.headers) == shown
    assert asked.headers["x-codex-turn-state"] == "T"


# an upstream's header as callers of its own API get it, and of another: (upstream, header, caller, header)
LEFT = [
    ("chat", "x_ratelimit_remaining_requests", "/v1/chat/completions", "x-ratelimit-remaining-requests"),
    ("chat", "x_ratelimit_remaining_requests", "/v1/messages", "anthropic-ratelimit-requests-remaining"),
    ("messages", "anthropic_ratelimit_tokens_remaining", "/v1/messages", "anthropic-ratelimit-tokens-remaining"),
    ("messages", "anthropic_ratelimit_tokens_remaining", "/v1/chat/completions", "x-ratelimit-remaining-tokens"),
]


@pytest.mark.parametrize("status", [200, 429])
@pytest.mark.parametrize(("keys", "shown"), [("", "7"), ("access_keys: [{key: KEY}]", None)])
@pytest.mark.parametrize(("upstream", "theirs", "path", "name"), LEFT)
@inside_once
async def test_limits_of_the_operators_account(
    upstream: str, theirs: str, path: str, name: str, keys: str, shown: str | None, status: int
) -> None:
    """They say nothing of what a key of the gateway's may still ask; when to ask again is for everybody."""

    def script(asked: Request) -> Steps:
        given = {theirs: "7", "retry_after": "3"}
        return [respond(WHOLE[asked.target.removeprefix("/v1/")] if status == 200 else {"error": {"message": "slow"}}, status, **given)]

    async with Provider(script) as provider, Inside(CONFIG.replace("KEYS", keys), provider) as gateway:
        body = MESSAGE | {"model": f"{upstream}/m"}
        async with gateway.call(request(path, body, x_api_key="KEY")) as caller:
            found, headers = await caller.head()
    assert (found, headers.get(name), headers["retry-after"]) == (status, shown, "3")
