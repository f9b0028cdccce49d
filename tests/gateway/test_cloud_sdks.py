"""Clouds' own clients as judges: what each sends to its cloud, and reads of it, the vendor's usual client must through the gateway.

The clients for Bedrock's InvokeModel, Vertex AI and Google Cloud are in test_bedrock.py and test_vertex.py.
"""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import orjson
import pytest

from ..scripted import Provider, Request, Steps, respond, stream
from .bedrock import EVENTS, MESSAGE
from .inside import Inside, inside_once
from .spoken import SPEECH

JSON = dict[str, Any]
ASK: list[Any] = [{"role": "user", "content": "q"}]
HEADERS = ("api-key", "anthropic-version", "anthropic-workspace-id", "anthropic-beta", "content-type")


def _openai(gateway: Inside) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="k", base_url=f"http://127.0.0.1:{gateway.port}/v1", max_retries=0)


def _anthropic(gateway: Inside) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(api_key="k", base_url=f"http://127.0.0.1:{gateway.port}", max_retries=0)


# ---- Azure OpenAI ----


def _azure(request: Request) -> Steps:
    shape = "responses" if "/responses" in request.target else "chat"
    return stream(*SPEECH[shape].stream) if request.json.get("stream") else [respond(SPEECH[shape].whole)]


DATED = ', azure: {api_version: "2025-04-01-preview"}'


@pytest.mark.parametrize(("more", "but"), [(DATED, ("model",)), ("", ())], ids=["dated", "v1"])
@inside_once
async def test_azure_openai(more: str, but: tuple[str, ...]) -> None:
    entry = f"{{model: azure_openai/prod, name: prod, base_model: gpt-5.5, base_url: UPSTREAM, access_key: sk-azure-key{more}}}"
    with Provider(_azure) as up:
        direct: openai.AsyncOpenAI
        if more:
            direct = openai.AsyncAzureOpenAI(azure_endpoint=up.url, api_version="2025-04-01-preview", api_key="sk-azure-key", max_retries=0)
        else:
            direct = openai.AsyncOpenAI(
                base_url=f"{up.url}/openai/v1", api_key="x", default_headers={"api-key": "sk-azure-key"}, max_retries=0
            )
        async with Inside(f"model_providers: [{entry}]", up) as gateway, direct, _openai(gateway) as usual:
            found: list[list[Any]] = []
            for client in (direct, usual):
                chat = await client.chat.completions.create(model="prod", messages=ASK)
                said = await client.responses.create(model="prod", input="q", store=False)
                async with client.chat.completions.stream(model="prod", messages=ASK) as events:
                    streamed = await events.get_final_completion()
                found.append([chat.choices, said.output, streamed.choices])
        theirs, ours = up.requests[:3], up.requests[3:]
    assert found[0] == found[1]
    for one, other in zip(theirs, ours, strict=True):
        assert one.headers.get("api-key") == other.headers["api-key"]
        assert (one.target, "authorization" in other.headers) == (other.target, False)
        left = () if one.target.startswith("/openai/responses") else but
        asked = {name: value for name, value in one.json.items() if name not in left}
        told = {name: value for name, value in other.json.items() if name != "stream_options" or name in asked}
        assert (one.target, told) == (one.target, asked)


# ---- Claude ----


def _claude(request: Request) -> Steps:
    if request.target.partition("?")[0].endswith("/count_tokens"):
        return [respond({"input_tokens": 7})]
    if not request.json.get("stream"):
        return [respond(MESSAGE)]
    return stream(*(f"event: {one['type']}\ndata: ".encode() + orjson.dumps(one) + b"\n\n" for one in EVENTS))


# the part of an entry behind its model, the client, and what that calls the model
def _places(url: str) -> dict[str, tuple[str, Any, str]]:
    keys: JSON = {"api_key": "sk-cloud", "max_retries": 0}
    return {
        "foundry": ("base_url: UPSTREAM/anthropic/v1", anthropic.AsyncAnthropicFoundry(base_url=f"{url}/anthropic", **keys), "m"),
        "claude_aws": (
            "base_url: UPSTREAM/v1, aws: {region: us-east-1, workspace_id: w-1}",
            anthropic.AsyncAnthropicAWS(base_url=url, workspace_id="w-1", aws_region="us-east-1", **keys),
            "m",
        ),
        "bedrock_mantle": (
            "base_url: UPSTREAM, aws: {region: us-east-1}",
            anthropic.AsyncAnthropicBedrockMantle(base_url=f"{url}/anthropic", aws_region="us-east-1", **keys),
            "anthropic.m",
        ),
    }


@pytest.mark.parametrize("name", ["foundry", "claude_aws", "bedrock_mantle"])
@inside_once
async def test_claude(name: str) -> None:
    with Provider(_claude) as up:
        more, direct, model = _places(up.url)[name]
        entry = f"{{model: {name}/{model}, access_key: sk-cloud, {more}}}"
        async with Inside(f"model_providers: [{entry}]", up) as gateway, direct, _anthropic(gateway) as usual:
            found: list[list[Any]] = []
            for client in (direct, usual):
                whole = await client.messages.create(model=model, max_tokens=9, messages=ASK)
                async with client.messages.stream(model=model, max_tokens=9, messages=ASK) as events:
                    found.append([whole, await events.get_final_message()])
        theirs, ours = up.requests[:2], up.requests[2:]
    assert found[0] == found[1]
    for one, other in zip(theirs, ours, strict=True):
        assert (one.method, one.target.partition("?")[0], one.json) == (other.method, other.target.partition("?")[0], other.json)
        for header in HEADERS:
            assert (header, one.headers.get(header)) == (header, other.headers.get(header))
        # the client has the key of the Claude Platform as a bearer, as it has Anthropic's own; both take either
        keys = [sent.headers.get("authorization", "").removeprefix("Bearer ") or sent.headers["x-api-key"] for sent in (one, other)]
        assert keys == ["sk-cloud"] * 2
