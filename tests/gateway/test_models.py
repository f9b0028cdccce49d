"""The list of models: what the vendors' SDKs read in it, what upstreams of wildcards list, and what a restricted key sees."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from dragoman import conf
from dragoman.conf import facts
from dragoman.proxy.routing import discovery

from ..conftest import Start
from ..proxies import HOST, Authority, tunnel
from ..scripted import Provider, Request, Steps, close, respond, until_closed
from .inside import Inside, inside_once

LISTS = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - {model: openai/*, base_url: "UPSTREAM/openai/v1", access_key: sk-openai}
  - {model: anthropic/*, base_url: "UPSTREAM/anthropic/v1", access_key: sk-anthropic, apis: [messages]}
  - {model: own/*, base_url: "UPSTREAM/own/v1", access_key: sk-own, discover: true, metadata: {max_output_tokens: 77}}
  - {model: quiet/*, base_url: "UPSTREAM/quiet/v1", access_key: sk-quiet}
  - {model: groq/declared, base_url: "UPSTREAM/groq/v1", access_key: sk-groq, metadata: {context_window: 4096,
     input_modalities: [text, image], efforts: [low, high], display_name: Declared, released: 2026-01-02,
     lifecycle: deprecated, retired: 2027-03-01}}
model_aliases: {fast: {target: groq/declared}}
access_keys: [{key: sk-all, name: all}, {key: sk-some, name: some, models: ["anthropic/*", fast]}]
"""


def lists(request: Request) -> Steps:
    vendor = request.target.split("/")[1]
    assert request.method == "GET"
    if vendor == "openai":
        assert request.headers["authorization"] == "Bearer sk-openai"
        models: list[Any] = [{"id": "gpt-5.5", "object": "model", "created": 1, "owned_by": "openai"}, {"id": "gpt-99", "object": "model"}]
        return [respond({"object": "list", "data": [*models, {"id": "bad id"}, {"id": 7}, "x"]})]
    if vendor == "anthropic":
        assert request.headers["x-api-key"] == "sk-anthropic"
        assert "anthropic-version" in request.headers
        later = request.target.endswith("?after_id=claude-opus-5-5")
        id = "claude-next" if later else "claude-opus-5-5"
        entry = {
            "type": "model",
            "id": id,
            "display_name": id.title(),
            "max_input_tokens": 500_000,
            "max_tokens": 64_000,
            "lifecycle": "active",
        }
        return [respond({"data": [entry], "has_more": not later, "first_id": id, "last_id": id})]
    entry = {"name": "models/a/b", "context_length": 1000, "architecture": {"input_modalities": ["text", "file"]}, "max_model_len": -1}
    return [respond({"models": [entry]})]


ALL = [
    "openai/gpt-5.5",
    "openai/gpt-99",
    "anthropic/claude-opus-5-5",
    "anthropic/claude-next",
    "own/a/b",
    "groq/declared",
    "fast",
]


async def get(gateway: Inside, path: str, key: str = "sk-all", more: str = "") -> tuple[int, Any]:
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n{more}\r\n"
    async with gateway.call(head.encode()) as caller:
        status, headers = await caller.head()
        return status, json.loads(await caller.body(headers))


async def ids(gateway: Inside, key: str = "sk-all") -> list[str]:
    return [model["id"] for model in (await get(gateway, "/v1/models", key))[1]["data"]]


async def listed(gateway: Inside, count: int) -> None:
    listing = gateway.gateway.services.listing
    await gateway.until(lambda: len(listing.models()) == count)


@inside_once
async def test_models_of_wildcards() -> None:
    tiers = "prices: {groq/declared: {input: 2, output: 4, service_tiers: {flex: {input: 1, output: 2}}}}\n"
    async with Provider(lists) as provider, Inside(LISTS + tiers, provider) as gateway:
        await listed(gateway, len(ALL))
        assert await ids(gateway) == ALL
        assert await ids(gateway, "sk-some") == ["anthropic/claude-opus-5-5", "anthropic/claude-next", "fast"]
        status, known = await get(gateway, "/v1/models/openai%2Fgpt-5.5")
        assert (status, known["context_window"], known["pricing"]["input"]) == (200, 1_050_000, 5)
        assert known["knowledge_cutoff"] == "2025-12"
        status, bare = await get(gateway, "/v1/models/gpt-5.5")
        assert (status, bare) == (200, known | {"id": "gpt-5.5", "display_name": "gpt-5.5"})
        status, unknown = await get(gateway, "/v1/models/openai/gpt-99")
        assert "context_window" not in unknown
        assert "pricing" not in unknown
        opus = (await get(gateway, "/v1/models/anthropic/claude-opus-5-5"))[1]
        assert (opus["max_input_tokens"], opus["max_tokens"], opus["context_window"]) == (500_000, 64_000, 1_000_000)
        pricing = (await get(gateway, "/v1/models/groq/declared"))[1]["pricing"]
        assert pricing["service_tiers"] == {"flex": {"input": 1, "output": 2, "cached_input": 1, "cache_write": 1}}
        own = (await get(gateway, "/v1/models/own/a/b"))[1]
        assert (own["context_window"], own["max_tokens"], own["input_modalities"]) == (1000, 77, ["text", "pdf"])
        for model, key in (("openai/gpt-5", "sk-all"), ("openai/gpt-5.5", "sk-some"), ("gpt-5.5", "sk-some"), ("quiet/m", "sk-all")):
            assert (await get(gateway, f"/v1/models/{model}", key))[0] == 404
        assert (await get(gateway, "/v1/models", "sk-none"))[0] == 401
        assert len(provider.requests) == 4  # nobody who lists asks an upstream


@pytest.mark.parametrize(
    "answer",
    [
        [respond({"error": {"message": "No."}}, 401)],
        [respond(b"<html>")],
        [close],
        [respond({"data": {}})],
        [respond(b"[" + b"[[]]," * 400_000 + b"0]")],  # would take half a second
        [respond(b"[" + b"0," * (2 << 20) + b"0]")],
        [respond(b"[" * 50_000)],
        [respond({"data": [], "has_more": True, "last_id": "x" * 100_000})],
        [respond({"data": ["x", None, {"id": "../m"}, {"id": "a\nb"}, {"id": ""}, {"id": "x" * 300}, {"id": {}}], "nextPageToken": 7})],
        [respond(b'{"data": []}')[:-1], until_closed],
    ],
    ids=["401", "html", "closed", "no list", "dense", "large", "deep", "a long place", "garbage", "slow"],
)
@inside_once
async def test_an_upstream_without_a_list_costs_its_list_alone(answer: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "PATIENCE", 0.5)
    monkeypatch.setattr(discovery, "EVERY", 0.5)  # a busy machine may be too late for the others, too: they are read again

    def script(request: Request) -> Steps:
        return answer if request.target.startswith("/openai") else lists(request)

    async with Provider(script) as provider, Inside(LISTS, provider) as gateway:
        await listed(gateway, len(ALL) - 2)
        assert await ids(gateway) == ALL[2:]
        assert not gateway.gateway.services.ejection.passed_over()


@inside_once
async def test_a_list_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "EVERY", 0.02)
    answers: list[Steps] = [[respond({"data": [{"id": "one"}]})], [respond({}, 500)], [respond({"data": [{"id": "two"}]})]]

    def script(request: Request) -> Steps:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    with Provider(script) as provider:
        async with Inside("model_providers: [{model: openai/*, base_url: UPSTREAM/v1, access_key: k}]", provider) as gateway:
            listing = gateway.gateway.services.listing
            await gateway.until(lambda: "openai/one" in listing.models())
            await gateway.until(lambda: "openai/two" in listing.models())
            assert "openai/one" not in listing.models()
            gateway.gateway.adopt(gateway.gateway.config)  # a reload keeps what is known until it has read again
            assert "openai/two" in gateway.gateway.services.listing.models()


@inside_once
async def test_a_list_comes_the_way_of_requests(tmp_path: Path) -> None:
    """Through the proxy, with the authority, the certificate and the credential that ends."""
    authority = Authority(tmp_path, "first")
    cert, key = authority.client
    config = f"""
model_providers:
  - model: own/*
    base_url: https://{HOST}/v1
    discover: true
    token_command: [echo, fresh-token]
    proxy: http://u:p@127.0.0.1:PROXY
    ca_file: {authority.ca_file}
    client_cert: {{cert: {cert}, key: {key}}}
    request: {{headers: {{remove: [user-agent]}}}}
"""
    with (
        Provider([respond({"data": [{"id": "m"}]})], tls=authority.demanding) as provider,
        Provider(tunnel(provider.port, "u:p")) as proxy,
    ):
        async with Inside(config.replace("PROXY", str(proxy.port))) as gateway:
            await gateway.until(lambda: "own/m" in gateway.gateway.services.listing.models())
    (request,) = provider.requests
    assert (request.target, request.headers["authorization"]) == ("/v1/models", "Bearer fresh-token")
    assert "user-agent" not in request.headers


@inside_once
async def test_codex_reads_its_catalogue() -> None:
    async with Provider(lists) as provider, Inside(LISTS, provider) as gateway:
        await listed(gateway, len(ALL))
        _, answer = await get(gateway, "/v1/models?client_version=0.171.0", "sk-some")
        assert [entry["slug"] for entry in answer["models"]] == ["anthropic/claude-opus-5-5", "anthropic/claude-next", "fast"]
        opus, unknown, fast = answer["models"]
        assert opus["context_window"] == 1_000_000
        assert [level["effort"] for level in opus["supported_reasoning_levels"]] == ["low", "medium", "high", "xhigh", "max"]
        assert opus["default_reasoning_level"] == "medium"
        assert opus["base_instructions"]
        assert (unknown["supported_reasoning_levels"], unknown["supports_reasoning_summaries"]) == ([], False)
        assert "context_window" not in unknown
        assert (fast["input_modalities"], fast["default_reasoning_level"]) == (["text", "image"], "high")


def test_the_sdks_read_the_list(start: Start) -> None:
    import anthropic
    import openai

    gateway = start(LISTS.replace("UPSTREAM", "http://127.0.0.1:9").replace("127.0.0.1}", "127.0.0.1, port: PORT}"))
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-all", max_retries=0) as chat:
        assert [model.id for model in chat.models.list()] == ["groq/declared", "fast"]
        one = chat.models.retrieve("fast")
        assert (one.id, one.object, one.created, one.owned_by, one.shutdown_date) == ("fast", "model", 1767312000, "groq", "2027-03-01")
        with pytest.raises(openai.NotFoundError):
            chat.models.retrieve("nobody")
    with anthropic.Anthropic(base_url=gateway.url, api_key="sk-all", max_retries=0) as messages:
        assert [model.id for model in messages.models.list(limit=1)] == ["groq/declared", "fast"]
        info = messages.models.retrieve("groq/declared")
        assert (info.display_name, info.max_input_tokens, info.max_tokens, info.lifecycle) == ("Declared", 4096, None, "deprecated")
        assert info.retires_at is not None
        assert info.created_at.isoformat() == "2026-01-02T00:00:00+00:00"
        assert info.capabilities is not None
        assert (info.capabilities.image_input.supported, info.capabilities.pdf_input.supported) == (True, False)
        assert (info.capabilities.effort.low.supported, info.capabilities.effort.medium.supported) == (True, False)
        with pytest.raises(anthropic.NotFoundError):
            messages.models.retrieve("nobody")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("model: openai/m, discover: true", "belongs to a wildcard"),
        ("model: openai/*, discover: true, passthrough_auth: true", "needs a credential of the gateway's own"),
        ("model: demo/*, discover: true", "demo is built in"),
        ("model: openai/*, metadata: {context_window: many}", "must be a whole number"),
        ("model: openai/*, metadata: {released: June}", "must be a day such as"),
        ("model: openai/*, metadata: {efforts: [hard]}", "must be one of"),
        ("model: openai/*, metadata: {contextwindow: 1}", "the nearest known one is context_window"),
    ],
)
def test_mistakes_in_the_file(entry: str, problem: str) -> None:
    with pytest.raises(conf.ConfigError) as raised:
        conf.loads(f"model_providers: [{{{entry}}}]", environ={})
    assert problem in str(raised.value)


@pytest.mark.parametrize(("prefix", "more", "discovers"), [("openai", "", True), ("own", "", False), ("vertex", "", False)])
def test_who_is_asked_for_a_list(prefix: str, more: str, discovers: bool) -> None:
    config = conf.loads(f"model_providers: [{{model: {prefix}/*, base_url: 'http://h/v1', access_key: k{more}}}]", environ={})
    assert config.model_providers[0].discover is discovers


@pytest.mark.parametrize(
    ("entry", "efforts"),
    [
        ("model: own/m, capabilities: {c.effort_values: [low, high]}", ("low", "high")),
        ("model: openai/gpt-5-mini, capabilities: {c: {effort_values: []}}", ()),
        ("model: own/m, capabilities: {c.effort_values: [low], m.effort_values: [high]}, apis: [messages]", ("high",)),
        ("model: own/m, capabilities: {c.effort_values: [low]}, metadata: {efforts: [max]}", ("max",)),
        ("model: own/m", None),
    ],
)
def test_efforts_are_those_of_the_capabilities(entry: str, efforts: tuple[str, ...] | None) -> None:
    (found,) = conf.loads(f"model_providers: [{{{entry}, base_url: 'http://h/v1', access_key: k}}]", environ={}).model_providers
    assert facts.of(found, found.model_id, {}).efforts == efforts


def test_facts_have_a_source_and_a_day() -> None:
    for row in yaml.safe_load((Path(facts.__file__).parent / "models.yaml").read_text()):
        assert ("flags" in row) != ("facts" in row), row
        if "facts" in row:
            assert row["source"], row
            assert isinstance(row["date"], date), row
            assert facts.read(row["facts"])
