"""Google's models, Claude and Mistral on Vertex AI: their own APIs behind Google's door.

C31 to C33 are acceptance tests of the work on clouds, G29 one of that on Google's API.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anthropic
import orjson
import pytest

from dragoman import conf
from dragoman.conf import clouds
from dragoman.proxy.routing.router import Router

from ..scripted import Provider, Request, Steps, respond, sse, stream
from .clouds import Tokens, service_account
from .inside import Inside, inside_once
from .spoken import SPEECH
from .wire import request

# google-auth 2.63 warns of what it calls itself
pytestmark = pytest.mark.filterwarnings("ignore:The load_credentials_from_dict method:DeprecationWarning")

MESSAGE = {
    "id": "msg_vrtx_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5-5",
    "content": [{"type": "text", "text": "Hello."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 2},
}
CHAT = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "mistral-medium-3",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}
EVENTS = [
    sse({"type": "message_start", "message": MESSAGE | {"content": [], "stop_reason": None}}, "message_start"),
    sse({"type": "vertex_event", "data": {}}, "vertex_event"),
    sse({"type": "ping"}, "ping"),
    sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, "content_block_start"),
    sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello."}}, "content_block_delta"),
    sse({"type": "content_block_stop", "index": 0}, "content_block_stop"),
    sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}, "message_delta"),
    sse({"type": "message_stop"}, "message_stop"),
]
ASKED: dict[str, Any] = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
PREFIX = "/v1/projects/p/locations/eu/publishers"


def config(model: str, more: str = "") -> str:
    entry = f"{{model: {model}, base_url: UPSTREAM, gcp: {{project: p, location: eu, credentials_file: FILE}}{more}}}"
    return f"listeners: [{{type: model, address: 127.0.0.1}}]\nmodel_providers:\n  - {entry}\n"


GEMINI = config("vertex/google/gemini-3.8-flash")
CLAUDE, MISTRAL = config("vertex/claude-sonnet-5-5"), config("vertex/mistral-medium-3")


GENERATED = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello."}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3},
}


def answer(request: Request) -> Steps:
    if "publishers/google" in request.target:
        return stream(sse(GENERATED)) if "stream" in request.target else [respond(GENERATED)]
    if "count-tokens" in request.target:
        return [respond({"input_tokens": 7})]
    if request.target.endswith("/responses"):
        return [respond(SPEECH["responses"].whole)]
    if "stream" in request.target:
        return stream(*EVENTS)
    return [respond(MESSAGE if "anthropic" in request.target else CHAT)]


async def asked(gateway: Inside, path: str, body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    async with gateway.call(request(path, body, **headers)) as caller:
        status, received = await caller.head()
        return status, received, await caller.body(received)


ADDRESSES = {
    "global": "https://aiplatform.googleapis.com",
    "eu": "https://aiplatform.eu.rep.googleapis.com",
    "us-east5": "https://us-east5-aiplatform.googleapis.com",
}
MODELS = {
    "claude-sonnet-5-5": "publishers/anthropic/models/claude-sonnet-5-5:rawPredict",
    "claude-sonnet-4-5@20250929": "publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict",
    "mistral-medium-3": "publishers/mistralai/models/mistral-medium-3:rawPredict",
    "meta/llama-4-maverick-maas": "endpoints/openapi/chat/completions",
    "gpt-6-luna": "publishers/openai/v1/responses",
    "openai/gpt-5.5": "publishers/openai/v1/responses",
    "openai/gpt-oss-120b-maas": "endpoints/openapi/chat/completions",
    "google/gemini-3.8-flash": "publishers/google/models/gemini-3.8-flash:generateContent",
    "gemini-3.8-flash": "publishers/google/models/gemini-3.8-flash:generateContent",
    "anthropic/claude-sonnet-5-5": "publishers/anthropic/models/claude-sonnet-5-5:rawPredict",
    "mistralai/mistral-medium-3": "publishers/mistralai/models/mistral-medium-3:rawPredict",
    "codestral@2405": "publishers/mistralai/models/codestral@2405:rawPredict",
    "mistralai/codestral@2405": "publishers/mistralai/models/codestral@2405:rawPredict",
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("location", ADDRESSES)
def test_c31_c33_addresses(location: str, model: str) -> None:
    for entry in (model, "*"):
        text = f"model_providers: [{{model: 'vertex/{entry}', gcp: {{project: p, location: {location}}}, proxy: 'http://p:1'}}]"
        router = Router(conf.loads(text, environ={}))
        (candidate,) = router.candidates("messages", f"vertex/{model}").candidates
        assert candidate.url == f"{ADDRESSES[location]}/v1/projects/p/locations/{location}/{MODELS[model]}"
        assert candidate.provider.proxy is not None
        assert router.mark(candidate.provider) == f"vertex/{entry}#0"


def test_an_endpoint_of_one_s_own_is_called_whatever_its_model() -> None:
    for entry in ("mistral-7b", "*"):
        text = f"model_providers: [{{model: 'vertex/{entry}', gcp: {{project: p, endpoint: '7'}}}}]"
        (candidate,) = Router(conf.loads(text, environ={})).candidates("chat", "vertex/mistral-7b").candidates
        assert candidate.url.endswith("/locations/global/endpoints/7/chat/completions")


@pytest.mark.parametrize("more", ["apis: [chat_completions]", "base_url: 'https://h/v1'"])
def test_a_wildcard_of_which_the_operator_says_what_it_is(more: str) -> None:
    text = f"model_providers: [{{model: 'vertex/*', gcp: {{project: p}}, {more}}}]"
    (candidate,) = Router(conf.loads(text, environ={})).candidates("messages", "vertex/claude-sonnet-5-5").candidates
    assert candidate.url.endswith("/chat/completions")


@inside_once
async def test_a_wildcard_reaches_each_vendor_by_its_own_api(tmp_path: Path) -> None:
    entry = CLAUDE.replace("claude-sonnet-5-5", "*")
    with Tokens() as tokens, Provider(answer) as provider:
        async with Inside(entry, provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            for model in MODELS:
                path = "/v1/messages" if "claude" in model else "/v1/chat/completions"
                assert (await asked(gateway, path, ASKED | {"model": f"vertex/{model}"}, anthropic_beta="unknown-1"))[0] == 200
    assert [request.target.rpartition("/locations/")[2].partition("/")[2] for request in provider.requests] == list(MODELS.values())
    assert {request.headers["authorization"] for request in provider.requests} == {"Bearer tok-1"}
    assert "anthropic_version" in provider.requests[0].json


@inside_once
async def test_c31_claude(tmp_path: Path) -> None:
    with Tokens() as tokens, Provider(answer) as provider:
        async with Inside(CLAUDE, provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            raw = b'{"model": "vertex/claude-sonnet-5-5", "max_tokens": 9e0, "stream": false,"messages": [{"role":"user","content":"Hi"}] }'
            status, headers, told = await asked(gateway, "/v1/messages", raw, anthropic_version="2023-06-01", x_api_key="own")
            assert (status, headers["x-dragoman-lane"], orjson.loads(told)) == (200, "bytes", MESSAGE)
            (sent,) = provider.requests
            assert sent.target == f"{PREFIX}/anthropic/models/claude-sonnet-5-5:rawPredict"
            assert sent.body == (
                b'{ "max_tokens": 9e0, "stream": false,"messages": [{"role":"user","content":"Hi"}] '
                b',"anthropic_version":"vertex-2023-10-16"}'
            )
            assert sent.headers["authorization"] == "Bearer tok-1"
            assert not {"anthropic-version", "x-api-key", "anthropic-beta"} & sent.headers.keys()


@inside_once
async def test_c31_a_stream_comes_as_it_is(tmp_path: Path) -> None:
    with Tokens() as tokens, Provider(answer) as provider:
        async with Inside(CLAUDE, provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            body = ASKED | {"model": "claude-sonnet-5-5", "stream": True}
            status, _, told = await asked(gateway, "/v1/messages", body)
            assert (status, told) == (200, b"".join(EVENTS))
            assert provider.requests[0].target == f"{PREFIX}/anthropic/models/claude-sonnet-5-5:streamRawPredict"
            assert provider.requests[0].json["stream"] is True
            status, headers, told = await asked(gateway, "/v1/chat/completions", body)
            assert (status, headers["x-dragoman-lane"], b'"content":"Hello."' in told) == (200, "events", True)
            await gateway.until(lambda: len(gateway.lines) == 2)
            assert "response_dropped" not in gateway.lines[1]


@inside_once
async def test_c31_one_token_for_a_hundred_requests(tmp_path: Path) -> None:
    with Tokens() as tokens, Provider(answer) as provider:
        async with Inside(CLAUDE, provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            body = ASKED | {"model": "claude-sonnet-5-5"}
            found = await asyncio.gather(*(asked(gateway, "/v1/messages", body) for _ in range(100)))
            assert {status for status, _, _ in found} == {200}
            assert len(tokens.asked) == 1


@inside_once
async def test_c32_betas_and_counting(tmp_path: Path) -> None:
    with Tokens() as tokens, Provider(answer) as provider:
        async with Inside(CLAUDE, provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            betas = {"anthropic_beta": "files-api-2025-04-14,context-1m-2025-08-07", "anthropic_version": "2026-10-21"}
            body = ASKED | {"model": "claude-sonnet-5-5"}
            status, headers, _ = await asked(gateway, "/v1/messages", body | {"tags": {"team": "x"}}, **betas)
            assert (status, headers["x-dragoman-dropped"]) == (200, "tags,header:anthropic-beta")
            assert "tags" not in provider.requests[0].json
            status, _, told = await asked(gateway, "/v1/messages/count_tokens", body | {"anthropic_beta": ["x"]}, **betas)
            assert (status, orjson.loads(told)) == (200, {"input_tokens": 7})
            message, count = provider.requests
            assert message.json["anthropic_beta"] == ["context-1m-2025-08-07"]
            assert message.json["anthropic_version"] == count.json["anthropic_version"] == "2026-10-21"
            assert count.target == f"{PREFIX}/anthropic/models/count-tokens:rawPredict"
            assert (count.json["model"], "anthropic_beta" in count.json) == ("claude-sonnet-5-5", False)
            for sent in (message, count):
                assert not {"anthropic-version", "anthropic-beta"} & sent.headers.keys()


@inside_once
async def test_an_unknown_beta_that_a_pattern_let_through_is_learned(tmp_path: Path) -> None:
    refusal = {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "Unexpected value(s) `thinking-x` for the `anthropic-beta` header."},
    }

    def steps(request: Request) -> Steps:
        return [respond(refusal, 400) if "anthropic_beta" in request.json else respond(MESSAGE)]

    with Tokens() as tokens, Provider(steps) as provider:
        async with Inside(CLAUDE, provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            for _ in range(2):
                status, _, _ = await asked(gateway, "/v1/messages", ASKED | {"model": "claude-sonnet-5-5"}, anthropic_beta="thinking-x")
                assert status == 200
            assert ["anthropic_beta" in sent.json for sent in provider.requests] == [True, False, False]


@pytest.fixture
def no_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing in the environment says a project."""
    for name in (*clouds.PROJECTS, "GOOGLE_APPLICATION_CREDENTIALS", "GCLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))


OF_CREDENTIALS = config("vertex/*").replace("project: p, ", "")


@inside_once
async def test_the_project_that_the_metadata_server_says(monkeypatch: pytest.MonkeyPatch, no_project: None) -> None:
    """It is asked for with the first token, and once for every model."""
    entry = OF_CREDENTIALS.replace(", credentials_file: FILE", "")
    with Tokens() as tokens, Provider(answer) as provider:
        monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{tokens.port}")
        monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{tokens.port}")
        async with Inside(entry, provider) as gateway:
            for model in MODELS:
                status, _, told = await asked(gateway, "/v1/messages", ASKED | {"model": f"vertex/{model}"})
                assert status == 200, told
            counted = ASKED | {"model": "vertex/anthropic/claude-sonnet-5-5"}
            assert (await asked(gateway, "/v1/messages/count_tokens", counted))[0] == 200
            dry = await asked(gateway, "/v1/messages", counted, x_dragoman_dry_run="1")
    before = "/v1/projects/metadata-project/locations/eu/"
    *answers, count = provider.requests
    assert [request.target for request in answers] == [before + place for place in MODELS.values()]
    assert count.target == f"{before}publishers/anthropic/models/count-tokens:rawPredict"
    assert count.json["model"] == "claude-sonnet-5-5"
    assert [request.target for request in tokens.requests].count("/computeMetadata/v1/project/project-id") == 1
    assert b"/projects/{gcp.project}/" in dry[2], "no credential is fetched for a dry run"


@pytest.mark.parametrize("project", [None, "a/../b"])
@inside_once
async def test_credentials_that_belong_to_no_project(project: str | None, tmp_path: Path, no_project: None) -> None:
    with Tokens() as tokens, Provider(answer) as provider:
        file = service_account(tmp_path, tokens, project_id=project)
        async with Inside(OF_CREDENTIALS, provider, FILE=str(file)) as gateway:
            status, headers, told = await asked(gateway, "/v1/messages", ASKED | {"model": "vertex/claude-sonnet-5-5"})
    assert (status, headers["x-should-retry"], provider.requests) == (502, "false", [])
    assert "no project for vertex/*: gcp.project is missing" in orjson.loads(told)["error"]["message"]


EXHAUSTED = {"error": {"code": 429, "message": "Quota exceeded for aiplatform.googleapis.com", "status": "RESOURCE_EXHAUSTED"}}
TOO_LONG = {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}}
ERRORS = {"google": (EXHAUSTED, 429, "rate_limit_error"), "anthropic": (TOO_LONG, 400, "invalid_request_error")}


@pytest.mark.parametrize("name", ERRORS)
@inside_once
async def test_errors_in_both_forms(tmp_path: Path, name: str) -> None:
    error, code, kind = ERRORS[name]
    with Tokens() as tokens, Provider([respond(error, code)]) as provider:
        async with Inside(CLAUDE, provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            status, _, told = await asked(gateway, "/v1/messages", ASKED | {"model": "claude-sonnet-5-5"})
            found = orjson.loads(told)
            assert (status, found["type"], found["error"]["type"]) == (code, "error", kind)
            assert found["error"]["message"] == error["error"]["message"]  # type: ignore[index]


@inside_once
async def test_what_vertex_does_not_take_is_left_out(tmp_path: Path) -> None:
    with Tokens() as tokens, Provider(answer) as provider:
        async with Inside(CLAUDE, provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            body = ASKED | {"model": "claude-sonnet-5-5", "mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]}
            status, headers, _ = await asked(gateway, "/v1/messages", body)
            assert (status, headers["x-dragoman-dropped"]) == (200, "mcp_servers")
            assert "mcp_servers" not in provider.requests[0].json
            own = {"name": "f", "input_schema": {"type": "object"}}
            code = {"type": "code_execution_20250825", "name": "code_execution"}
            chosen = {"type": "tool", "name": "code_execution"}
            for tools, sent, dropped in (
                ([own, code], [own], "tools[*]:code_execution_20250825,tool_choice"),
                ([code, {"type": "mcp_toolset"}], None, "tools[*]:code_execution_20250825,tools[*]:mcp_toolset,tool_choice"),
            ):
                body = ASKED | {"model": "claude-sonnet-5-5", "tools": tools, "tool_choice": chosen}
                status, headers, _ = await asked(gateway, "/v1/messages", body)
                assert (status, headers["x-dragoman-dropped"]) == (200, dropped)
                assert provider.requests[-1].json.get("tools") == sent
                assert "tool_choice" not in provider.requests[-1].json


FORMAT = {"type": "json_schema", "schema": {"type": "object", "properties": {}, "additionalProperties": False}}


@pytest.mark.parametrize("config_too", [{}, {"output_config": {"effort": "low"}}], ids=["alone", "beside effort"])
@inside_once
async def test_the_older_name_of_the_format_is_not_sent(tmp_path: Path, config_too: dict[str, Any]) -> None:
    with Tokens() as tokens, Provider(answer) as provider:
        async with Inside(CLAUDE, provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            body = ASKED | {"model": "claude-sonnet-5-5", "output_format": FORMAT} | config_too
            status, headers, _ = await asked(gateway, "/v1/messages", body)
            assert (status, headers["x-dragoman-adapted"]) == (200, "output_format")
            (sent,) = provider.requests
            assert sent.json["output_config"] == {"format": FORMAT, **config_too.get("output_config", {})}
            assert "output_format" not in sent.json


@inside_once
async def test_an_effort_that_is_refused_is_left_out_from_then_on(tmp_path: Path) -> None:
    """Reports differ on whether Vertex AI takes it."""

    def steps(request: Request) -> Steps:
        if "output_config" not in request.json:
            return answer(request)
        message = "output_config.effort: Extra inputs are not permitted"
        return [respond({"type": "error", "error": {"type": "invalid_request_error", "message": message}}, 400)]

    with Tokens() as tokens, Provider(steps) as provider:
        async with Inside(CLAUDE, provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            for _ in range(2):
                body = ASKED | {"model": "claude-sonnet-5-5", "output_config": {"effort": "low"}}
                status, headers, _ = await asked(gateway, "/v1/messages", body)
                assert (status, headers["x-dragoman-dropped"]) == (200, "output_config.effort")
            assert ["output_config" in sent.json for sent in provider.requests] == [True, False, False]


@inside_once
async def test_c33_mistral(tmp_path: Path) -> None:
    with Tokens() as tokens, Provider(answer) as provider:
        async with Inside(MISTRAL, provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            body = ASKED | {"model": "mistral-medium-3", "seed": 1, "max_completion_tokens": 9}
            status, _, told = await asked(gateway, "/v1/chat/completions", {"model": "mistral-medium-3", **ASKED})
            assert (status, orjson.loads(told)) == (200, CHAT)
            assert (await asked(gateway, "/v1/messages", body | {"stream": False}))[0] == 200
            for sent in provider.requests:
                assert sent.target == f"{PREFIX}/mistralai/models/mistral-medium-3:rawPredict"
                assert (sent.json["model"], sent.json["max_tokens"]) == ("mistral-medium-3", 9)
                assert not {"max_completion_tokens", "seed"} & sent.json.keys()
            await asked(gateway, "/v1/chat/completions", body | {"stream": True})
            assert provider.requests[-1].target == f"{PREFIX}/mistralai/models/mistral-medium-3:streamRawPredict"


@inside_once
async def test_the_sdk_assembles_what_vertexs_own_does(tmp_path: Path) -> None:
    """The same bytes, once by Anthropic's client for Vertex from the double, once by its usual client through the gateway."""
    with Tokens() as tokens, Provider(answer) as provider:
        async with Inside(CLAUDE, provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            direct = anthropic.AsyncAnthropicVertex(project_id="p", region="eu", access_token="t", base_url=f"{provider.url}/v1")
            usual = anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{gateway.port}", api_key="own")
            found = []
            for client in (direct, usual):
                async with client, client.messages.stream(model="claude-sonnet-5-5", **ASKED) as streamed:
                    found.append((await streamed.get_final_message()).model_dump())
            assert found[0] == found[1]
            assert provider.requests[0].target == provider.requests[1].target
            assert provider.requests[0].json == provider.requests[1].json


REFUSED = {"error": {"code": 401, "message": "Request had invalid authentication credentials.", "status": "UNAUTHENTICATED"}}


@inside_once
async def test_g29_google_s_models(tmp_path: Path) -> None:
    """In its own API and in another one: one token for all requests, a new one when it is refused, and the request once more."""
    refused: list[str] = []

    def steps(request: Request) -> Steps:
        if request.headers["authorization"] in refused:
            return [respond(REFUSED, 401)]
        return answer(request)

    with Tokens() as tokens, Provider(steps) as provider:
        async with Inside(GEMINI, provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            model, contents = "vertex/google/gemini-3.8-flash", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
            own = f"/v1beta1/projects/x/locations/y/publishers/google/models/{model}:streamGenerateContent?alt=sse"
            asks = [asked(gateway, own, contents, x_goog_api_key="own") for _ in range(10)]
            asks += [asked(gateway, "/v1/messages", ASKED | {"model": model}) for _ in range(10)]
            assert {status for status, _, _ in await asyncio.gather(*asks)} == {200}
            assert {sent.target.rpartition("/")[2] for sent in provider.requests} == {
                "gemini-3.8-flash:streamGenerateContent?alt=sse",
                "gemini-3.8-flash:generateContent",
            }
            assert {sent.target.rpartition("/")[0] for sent in provider.requests} == {f"{PREFIX}/google/models"}
            assert {sent.headers["authorization"] for sent in provider.requests} == {"Bearer tok-1"}
            assert not any("x-goog-api-key" in sent.headers for sent in provider.requests)
            assert len(tokens.asked) == 1
            refused.append("Bearer tok-1")
            for path, body in ((own, contents), ("/v1/messages", ASKED | {"model": model})):
                assert (await asked(gateway, path, body))[0] == 200
            assert [sent.headers["authorization"][-1] for sent in provider.requests[20:]] == ["1", "2", "2"]
            assert len(tokens.asked) == 2


@inside_once
async def test_g29_a_key_without_a_project() -> None:
    """Vertex AI's express mode."""
    entry = "{model: express/gemini-3.8-flash, base_url: UPSTREAM/v1/publishers/google, provider_interface: gemini, access_key: AIza-x}"
    with Provider(answer) as provider:
        async with Inside(f"listeners: [{{type: model, address: 127.0.0.1}}]\nmodel_providers:\n  - {entry}\n", provider) as gateway:
            status, _, told = await asked(gateway, "/v1/messages", ASKED | {"model": "express/gemini-3.8-flash"})
            assert (status, orjson.loads(told)["content"]) == (200, [{"type": "text", "text": "Hello."}])
    (sent,) = provider.requests
    assert sent.target == "/v1/publishers/google/models/gemini-3.8-flash:generateContent"
    assert (sent.headers["x-goog-api-key"], "authorization" in sent.headers) == ("AIza-x", False)


def of_claude(request: Request) -> Steps:
    return [respond({"input_tokens": 7})] if request.target.endswith("count_tokens") else stream(*EVENTS)


@inside_once
async def test_claude_on_google_cloud_is_called_as_its_sdk_does(tmp_path: Path) -> None:
    entry = "{model: claude_gcp/*, base_url: UPSTREAM, gcp: {project: p, workspace_id: w, credentials_file: FILE}}"
    path = "/v1/projects/p/locations/global/workspaces/w/invoke"
    with Tokens() as tokens, Provider(of_claude) as provider:
        async with Inside(f"model_providers: [{entry}]", provider, FILE=str(service_account(tmp_path, tokens))) as gateway:
            direct = anthropic.AsyncAnthropicGoogleCloud(base_url=provider.url + path, token_provider=lambda: "tok-1")
            usual = anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{gateway.port}", api_key="own")
            for client, model in ((direct, "claude-haiku-5-5"), (usual, "claude_gcp/claude-haiku-5-5")):
                async with client:
                    async with client.messages.stream(model=model, **ASKED, extra_headers={"anthropic-beta": "any-1"}) as streamed:
                        assert (await streamed.get_final_message()).content[0].text == "Hello."
                    counted = await client.messages.count_tokens(model=model, messages=ASKED["messages"])
                    assert counted.input_tokens == 7
    theirs, ours = provider.requests[:2], provider.requests[2:]
    assert [one.target for one in ours] == [f"{path}/v1/messages", f"{path}/v1/messages/count_tokens"]
    for one, other in zip(theirs, ours, strict=True):
        assert one.target.partition("?")[0] == other.target.partition("?")[0]
        assert one.json == other.json
        for name in ("authorization", "anthropic-version", "anthropic-beta"):
            assert one.headers.get(name) == other.headers.get(name)
