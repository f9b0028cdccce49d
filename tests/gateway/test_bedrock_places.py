"""Where models are served besides InvokeModel (C29, C30): the Claude Platform on AWS, and Bedrock's mantle."""

from __future__ import annotations

import re

import pytest

from ..scripted import Request, Steps, respond
from .aws import Bedrock, refused
from .bedrock import KEYS, Answers, ask, asked
from .inside import Inside, inside_once
from .spoken import SPEECH
from .wire import request


@inside_once
async def test_c30_the_claude_platform_is_signed_for_itself_and_names_the_workspace() -> None:
    answers = Answers()
    text = f'model_providers: [{{model: claude_aws/claude-x, base_url: "UPSTREAM/v1", aws: {{{KEYS}, workspace_id: w-1}}}}]'
    async with Bedrock(answers, service="aws-external-anthropic") as up, Inside(text, up) as gateway:
        status, _, _ = await ask(gateway, "messages", asked() | {"model": "claude_aws/claude-x"}, anthropic_beta="any")
    assert (status, up.wrong) == (200, [])
    sent = answers.seen[0]
    assert sent.target == "/v1/messages"
    assert sent.json["model"] == "claude-x"
    assert sent.headers["anthropic-workspace-id"] == "w-1"
    assert sent.headers["anthropic-beta"] == "any"
    assert sent.headers["authorization"].startswith("AWS4")


@pytest.mark.parametrize("chunked", [False, True])
@inside_once
async def test_stored_objects_of_the_claude_platform_are_signed_with_their_bodies(chunked: bool) -> None:
    seen: list[Request] = []

    def script(one: Request) -> Steps:
        seen.append(one)
        return [respond({"id": "file_1"})]

    text = f'model_providers: [{{model: claude_aws/*, discover: false, base_url: "UPSTREAM/v1", aws: {{{KEYS}, workspace_id: w-1}}}}]'
    form = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * 100_000 + b"\r\n--B--\r\n"
    more = {"content_type": "multipart/form-data; boundary=B", "anthropic_version": "2023-06-01", "anthropic_beta": "files-api-2025-04-14"}
    async with Bedrock(script, service="aws-external-anthropic") as up, Inside(text, up) as gateway:
        upload = request("/v1/files?beta=true", form, **more)
        if chunked:
            head, _, _ = upload.partition(b"\r\n\r\n")
            head = re.sub(rb"content-length: \d+", b"transfer-encoding: chunked", head, flags=re.IGNORECASE)
            upload = head + b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(form), form)
        for data in (upload, request("/v1/files/file_1", b"", "GET", **more), request("/v1/files/file_1", b"", "DELETE", **more)):
            async with gateway.call(data) as caller:
                status, headers = await caller.head()
                assert (status, await caller.body(headers)) == (200, b'{"id":"file_1"}')
    assert up.wrong == []
    assert [(one.method, one.target) for one in seen] == [
        ("POST", "/v1/files?beta=true"),
        ("GET", "/v1/files/file_1"),
        ("DELETE", "/v1/files/file_1"),
    ]
    assert seen[0].body == form
    assert {one.headers["anthropic-workspace-id"] for one in seen} == {"w-1"}
    assert {one.headers["anthropic-beta"] for one in seen} == {"files-api-2025-04-14"}


TOOLS = {
    "messages": {"name": "f", "input_schema": {"type": "object", "properties": {}}},
    "responses": {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}},
}


@pytest.mark.parametrize(
    ("model", "shape", "path"),
    [
        ("openai.gpt-5.5", "responses", "/openai/v1/responses"),
        ("openai.gpt-5.6-luna", "chat", "/openai/v1/responses"),
        ("openai.gpt-oss-120b", "responses", "/v1/responses"),
        ("openai.gpt-oss-120b", "chat", "/v1/chat/completions"),
        ("openai.gpt-oss-120b", "messages", "/v1/responses"),
        ("openai.gpt-oss-120b", "messages any", "/v1/chat/completions"),
        ("openai.gpt-oss-120b", "responses required", "/v1/chat/completions"),
        ("mistral.voxtral-mini-3b-2507", "chat", "/v1/chat/completions"),
        ("qwen.qwen3-32b", "responses", "/v1/responses"),
        ("anthropic.claude-haiku-4-5", "messages", "/anthropic/v1/messages"),
    ],
)
@inside_once
async def test_c29_where_models_of_the_mantle_are(model: str, shape: str, path: str) -> None:
    seen: list[Request] = []
    shape, _, must = shape.partition(" ")
    more = {"tools": [TOOLS[shape]], "tool_choice": {"type": must} if shape == "messages" else must} if must else {}

    def script(request: Request) -> Steps:
        seen.append(request)
        return refused(400, "X", "no more")

    text = f'model_providers: [{{model: "bedrock_mantle/{model}", name: c, base_url: "UPSTREAM", aws: {{{KEYS}}}}}]'
    async with Bedrock(script, service="bedrock-mantle") as up, Inside(text, up) as gateway:
        await ask(gateway, shape, asked(shape) | more, anthropic_beta="web-search-2025-03-05,nope")
    assert up.wrong == []
    assert seen[0].target == path
    assert seen[0].json["model"] == model
    if path.endswith("/messages"):
        assert seen[0].headers["anthropic-version"] == "2023-06-01"
        assert seen[0].headers["anthropic-beta"] == "web-search-2025-03-05"


@pytest.mark.parametrize(
    ("entry", "shape", "paths"),
    [
        ("bedrock_mantle/openai.gpt-9", "responses", ("/openai/v1/responses", "/v1/responses")),
        ("bedrock_mantle/qwen.qwen9", "responses", ("/v1/responses", "/openai/v1/responses")),
        ("bedrock_mantle/openai.gpt-oss-9", "chat", ("/v1/chat/completions", "/openai/v1/chat/completions")),
        ("bedrock/openai.gpt-5.5", "responses", ("/openai/v1/responses", "/v1/responses")),
        ("bedrock/*", "responses", ("/openai/v1/responses", "/v1/responses")),
    ],
)
@inside_once
async def test_c29_the_other_path_is_tried_once_and_remembered(entry: str, shape: str, paths: tuple[str, str]) -> None:
    seen: list[str] = []

    def script(request: Request) -> Steps:
        seen.append(request.target)
        if request.target == paths[0]:
            return [respond({"error": {"message": "model `m` isn't supported on this route", "type": "invalid_request_error"}}, 400)]
        return [respond(SPEECH[shape].whole)]

    text = f'model_providers: [{{model: "{entry}", base_url: "UPSTREAM", discover: false, aws: {{{KEYS}}}}}]'
    async with Bedrock(script, service="bedrock-mantle") as up, Inside(text, up) as gateway:
        for _ in range(2):
            model = "bedrock/openai.gpt-5.5" if entry == "bedrock/*" else entry
            status, _, _ = await ask(gateway, shape, asked(shape) | {"model": model, "store": False})
            assert status == 200
    assert (up.wrong, seen) == ([], [*paths, paths[1]])
