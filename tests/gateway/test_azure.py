"""Azure: OpenAI's models by the undated API and by dated ones, other vendors' there, what Azure answers, and Claude in Foundry.

C34 to C37 are acceptance tests of the work on clouds.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from dragoman import conf
from dragoman.conf.model import Entra
from dragoman.proxy.routing.check import check_lines
from dragoman.proxy.routing.router import Router

from ..scripted import Provider, Request, Steps, respond, sse, stream
from .inside import Inside, inside_once
from .wire import request

CHAT = {"messages": [{"role": "user", "content": "Hi"}]}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5.5-2026-01-01",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}
RESPONSE = {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": [], "created_at": 1}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-5-5",
    "content": [{"type": "text", "text": "Hello."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 2},
}


def config(entry: str, base: str = "UPSTREAM") -> str:
    return f"listeners: [{{type: model, address: 127.0.0.1}}]\nmodel_providers:\n  - {{{entry}, base_url: {base}, access_key: sk-azure}}\n"


def answer(request: Request) -> Steps:
    path = request.target.partition("?")[0]
    if path.endswith("/responses"):
        return [respond(RESPONSE)]
    return [respond(MESSAGE if path.endswith("/messages") else ANSWER)]


async def asked(gateway: Inside, path: str, body: Any, **headers: str) -> tuple[int, dict[str, str], Any]:
    async with gateway.call(request(path, body, **headers)) as caller:
        status, received = await caller.head()
        return status, received, orjson.loads(await caller.body(received))


# ---- which URL, which credential, which rules ----


@inside_once
async def test_c34_a_deployment_by_the_undated_api() -> None:
    entry = "model: azure_openai/prod, base_model: gpt-5.5, apis: [chat_completions], http_host: acme.services.ai.azure.com"
    async with Provider(answer) as provider, Inside(config(entry), provider) as gateway:
        body = {"model": "azure_openai/prod", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        status, headers, _ = await asked(gateway, "/v1/messages", body)
        assert (status, headers["x-dragoman-upstream"]) == (200, "azure_openai/prod")
        (sent,) = provider.requests
        assert sent.target == "/openai/v1/chat/completions"
        assert (sent.headers["api-key"], "authorization" in sent.headers) == ("sk-azure", False)
        assert (sent.json["model"], sent.json["max_completion_tokens"], "max_tokens" in sent.json) == ("prod", 9, False)


DATED = "model: azure_openai/gpt-5.5, azure: {deployment: prod, api_version: 2025-04-01-preview}"


@pytest.mark.parametrize("base", ["UPSTREAM", "UPSTREAM/openai/v1"])
@inside_once
async def test_c35_a_deployment_by_a_dated_api(base: str) -> None:
    query, own = "?api-version=2025-04-01-preview", "?api-version=2024-01-01"
    async with Provider(answer) as provider, Inside(config(DATED, base), provider) as gateway:
        model = {"model": "gpt-5.5"}
        raw = b'{"messages": [{"role": "user", "content": "Hi"}],"model": "gpt-5.5", "seed": 1}'
        assert (await asked(gateway, "/v1/chat/completions" + own, raw))[0] == 200
        assert (await asked(gateway, "/v1/responses" + own, model | {"input": "Hi", "store": False}))[0] == 200
        assert (await asked(gateway, "/v1/embeddings" + own, model | {"input": "Hi"}))[0] == 200
        deployed = f"/openai/deployments/gpt-5.5/chat/completions{own}"
        assert (await asked(gateway, deployed, CHAT))[0] == 200
        assert (await asked(gateway, "/v1/files/file-1", b"", x_dragoman_provider="azure_openai"))[0] == 200
        chat, responses, embeddings, again, file = provider.requests
        assert chat.target == again.target == f"/openai/deployments/prod/chat/completions{query}"
        assert chat.body == b'{"messages": [{"role": "user", "content": "Hi"}], "seed": 1}'
        assert "model" not in again.json
        assert (responses.target, responses.json["model"]) == (f"/openai/responses{query}", "prod")
        assert embeddings.target == f"/openai/deployments/prod/embeddings{query}"
        assert file.target == f"/openai/files/file-1{query}"


@inside_once
async def test_a_callers_api_version_does_not_reach_the_undated_api() -> None:
    async with Provider(answer) as provider, Inside(config("model: azure_openai/gpt-5.5"), provider) as gateway:
        path = "/openai/deployments/gpt-5.5/chat/completions?API-version=2024-01-01&x=1"
        assert (await asked(gateway, path, CHAT))[0] == 200
        assert provider.requests[0].target == "/openai/v1/chat/completions?x=1"


def entry(text: str, **environ: str) -> Any:
    return conf.loads(f"model_providers: [{{{text}}}]", environ=environ)


HERE = "access_key: k, base_url: 'https://acme.services.ai.azure.com'"
FIELDS = {
    "openai": (f"model: azure/gpt-5.5, {HERE}", True, "max_completion_tokens"),
    "by-its-base-model": (f"model: azure/x, base_model: gpt-5.5, {HERE}", True, "max_completion_tokens"),
    "mistral": (f"model: azure/Mistral-Large-3, {HERE}", False, "max_tokens"),
    "grok": (f"model: azure/x, base_model: grok-4, {HERE}", False, "max_tokens"),
    "llama": (f"model: azure/Llama-4-Maverick-17B-128E-Instruct-FP8, {HERE}", False, "max_tokens"),
    "unknown": (f"model: azure/prod, {HERE}", True, "max_completion_tokens"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_which_deployments_have_openais_rules(name: str) -> None:
    text, host, field = FIELDS[name]
    config = entry(text)
    (candidate,) = Router(config).candidates("chat", config.model_providers[0].model).candidates
    assert (candidate.capabilities.openai_host, candidate.capabilities.c_max_tokens_field) == (host, field)
    assert any("base_model does" in warning for warning in config.warnings) is (name == "unknown")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"model: azure/x, {HERE}, azure: {{api_version: v1}}", "azure.api_version: must be a date such as"),
        (f"model: azure/x, {HERE}, azure: {{api_version: '2025-04-01&x=y'}}", "azure.api_version: must be a date such as"),
        (f"model: azure/*, {HERE}, azure: {{deployment: x}}", "azure.deployment: is one model's"),
        ("model: foundry/x, access_key: k", "foundry.resource: is missing, as is base_url"),
        ("model: foundry/x, access_key: k, foundry: {resource: 'a.evil.com/'}", "foundry.resource: must be letters"),
    ],
)
def test_what_check_refuses(text: str, problem: str) -> None:
    with pytest.raises(conf.ConfigError) as caught:
        entry(text)
    assert problem in "\n".join(f"{one.path.removeprefix('model_providers[0].')}: {one.message}" for one in caught.value.problems)


def test_a_version_beside_another_way_to_authenticate() -> None:
    found = entry(f"model: azure/gpt-5.5, {HERE.partition(', ')[2]}, token_command: t, azure: {{api_version: preview}}").model_providers[0]
    assert (found.way.argv, found.query, found.base_url) == (("t",), "api-version=preview", "https://acme.services.ai.azure.com/openai/v1")


SCOPES = {
    "model: azure/gpt-5.5, base_url: 'https://acme.openai.azure.com'": "https://cognitiveservices.azure.com/.default",
    "model: azure/gpt-5.5, base_url: 'https://acme.services.ai.azure.com'": "https://ai.azure.com/.default",
    "model: foundry/claude-haiku-5-5, foundry: {resource: acme}": "https://ai.azure.com/.default",
}


@pytest.mark.parametrize("text", SCOPES)
def test_c36_the_scope_is_by_host(text: str) -> None:
    """The rest of C36 is in test_cloud_credentials.py."""
    assert entry(f"{text}, azure: {{api_version: preview}}").model_providers[0].way == Entra("default", SCOPES[text])


# ---- what Azure answers ----

FILTERED = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True, "severity": "high"}}},
    }
}
MISSING = {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}}
MISLAID = {"error": {"code": "404", "message": "Resource not found"}}
DENIED = {"error": {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint."}}
ERRORS: dict[str, tuple[int, Any, int, str]] = {
    "filtered": (400, FILTERED, 400, "content_filter"),
    "no-deployment": (404, MISSING, 502, "upstream_error"),
    "no-resource": (404, MISLAID, 502, "upstream_error"),
    "denied": (401, DENIED, 403, "upstream_auth_failed"),
}
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}


@pytest.mark.parametrize("shape", PATHS)
@pytest.mark.parametrize("name", ERRORS)
@inside_once
async def test_c37_errors(name: str, shape: str) -> None:
    upstream, error, status, code = ERRORS[name]
    with Provider([respond(error, upstream, apim_request_id="apim-1", x_ms_region="Sweden Central")]) as provider:
        async with Inside(config("model: azure_openai/gpt-5.5"), provider) as gateway:
            body = CHAT | {"model": "gpt-5.5", "max_tokens": 9}
            found, headers, told = await asked(gateway, PATHS[shape], body)
            assert (found, headers["x-dragoman-upstream-request-id"]) == (status, "apim-1")
            if shape == "chat":
                assert told["error"]["code"] == code
            await gateway.until(lambda: gateway.lines)
            line = gateway.lines[0]
            assert (line["status"], line["upstream_request_id"], line["upstream_region"]) == (status, "apim-1", "Sweden Central")


@inside_once
async def test_c37_the_next_candidate_is_asked_where_a_deployment_is_missing() -> None:
    text = config("model: azure_openai/gpt-5.5") + "  - {model: openai/gpt-5.5, base_url: UPSTREAM/other/v1, access_key: k}\n"
    both = text.replace("model: azure_openai/gpt-5.5", "model: azure_openai/gpt-5.5, name: gpt").replace(
        "openai/gpt-5.5, base_url: UPSTREAM/other", "openai/gpt-5.5, name: gpt, base_url: UPSTREAM/other"
    )

    def steps(request: Request) -> Steps:
        return [respond(ANSWER) if "other" in request.target else respond(MISSING, 404)]

    async with Provider(steps) as provider, Inside(both, provider) as gateway:
        assert (await asked(gateway, "/v1/chat/completions", CHAT | {"model": "gpt"}))[0] == 200
        assert len(provider.requests) == 2


def piece(**choice: Any) -> bytes:
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return sse(base | {"choices": [{"index": 0, "finish_reason": None} | choice]})


FIRST = sse({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [{"prompt_index": 0}]})
OFFSETS = {"content_filter_offsets": {"check_offset": 1, "start_offset": 1, "end_offset": 9}, "content_filter_results": {}}
STREAMS = {
    "as-usual": (
        [FIRST, piece(delta={"role": "assistant", "content": "Hello."}), piece(delta={}, finish_reason="stop")],
        "Hello.",
        "end_turn",
    ),
    "asynchronous-filter": (
        [FIRST, piece(delta={"content": "Hello."}), piece(**OFFSETS), piece(delta={}, finish_reason="stop"), piece(**OFFSETS)],
        "Hello.",
        "end_turn",
    ),
    "filtered-without-text": ([FIRST, piece(delta={}, finish_reason="content_filter")], "", "refusal"),
}


@pytest.mark.parametrize("name", STREAMS)
@inside_once
async def test_c37_streams(name: str) -> None:
    events, text, reason = STREAMS[name]
    with Provider(lambda request: stream(*events, sse("[DONE]"))) as provider:
        async with Inside(config("model: azure_openai/gpt-5.5, apis: [chat_completions]"), provider) as gateway:
            body = CHAT | {"model": "gpt-5.5", "max_tokens": 9, "stream": True}
            async with gateway.call(request("/v1/messages", body)) as caller:
                _, headers = await caller.head()
                told = (await caller.body(headers)).decode()
            datas = [orjson.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
            assert "".join(one["delta"].get("text", "") for one in datas if one["type"] == "content_block_delta") == text
            assert next(one["delta"]["stop_reason"] for one in datas if one["type"] == "message_delta") == reason
            async with gateway.call(request("/v1/chat/completions", body)) as caller:
                _, headers = await caller.head()
                assert events[0] in await caller.body(headers)


@inside_once
async def test_c37_a_prompt_that_is_filtered_within_a_stream() -> None:
    with Provider(lambda request: stream(sse(FILTERED))) as provider:
        async with Inside(config("model: azure_openai/gpt-5.5, apis: [chat_completions]"), provider) as gateway:
            body = CHAT | {"model": "gpt-5.5", "max_tokens": 9, "stream": True}
            status, _, told = await asked(gateway, "/v1/messages", body)
            assert (status, told["error"]["type"]) == (400, "invalid_request_error")


# ---- Claude in Foundry ----


@inside_once
async def test_claude_in_foundry() -> None:
    async with Provider(answer) as provider, Inside(config("model: foundry/claude-haiku-5-5"), provider) as gateway:
        body = CHAT | {"model": "claude-haiku-5-5", "max_tokens": 9}
        headers = {"anthropic_version": "2023-06-01", "anthropic_beta": "context-1m-2025-08-07", "x_api_key": "own"}
        status, received, told = await asked(gateway, "/v1/messages", body, **headers)
        assert (status, received["x-dragoman-lane"], told) == (200, "bytes", MESSAGE)
        assert (await asked(gateway, "/v1/chat/completions", body))[0] == 200
        for sent in provider.requests:
            assert sent.target == "/anthropic/v1/messages"
            assert (sent.headers["x-api-key"], sent.headers["api-key"], "authorization" in sent.headers) == (
                "sk-azure",
                "sk-azure",
                False,
            )
            assert (sent.headers["anthropic-version"], sent.json["model"]) == ("2023-06-01", "claude-haiku-5-5")
        assert provider.requests[0].headers["anthropic-beta"] == "context-1m-2025-08-07"


def test_the_address_of_foundry() -> None:
    config = entry("model: foundry/claude-haiku-5-5, access_key: k", ANTHROPIC_FOUNDRY_RESOURCE="acme")
    assert "https://acme.services.ai.azure.com/anthropic/v1/messages" in "\n".join(check_lines(config))
