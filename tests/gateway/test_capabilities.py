"""What /capabilities says of a field is what becomes of it: dry runs of the same requests are the judges."""

from __future__ import annotations

import json

import pytest
from google import genai as google

from dragoman.codecs.registry import SHAPES as KNOWN
from dragoman.proxy.routing import survey

from ..codecs.bodies import BODIES
from .inside import Inside, inside_once
from .spoken import PATHS, SHAPES
from .test_last_word import sent

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - {model: up/claude-opus-4-6, base_url: "http://127.0.0.1:9/v1", apis: [messages], access_key: k}
  - {model: up/gpt-5.2, base_url: "http://127.0.0.1:9/v1", apis: [chat_completions], access_key: k, capabilities: {leave_out: [seed]}}
  - model: up/gpt-6-luna
    base_url: "http://127.0.0.1:9/v1"
    apis: [responses]
    access_key: k
    request: {set: {service_tier: flex}, remove: [user, "tools[].strict"]}
  - {model: up/gemini-3-flash, base_url: "http://127.0.0.1:9/v1beta", apis: [gemini], provider_interface: gemini, access_key: k}
"""
MODELS = {"messages": "up/claude-opus-4-6", "chat": "up/gpt-5.2", "responses": "up/gpt-6-luna", "gemini": "up/gemini-3-flash"}


@pytest.mark.parametrize("api", MODELS)
@pytest.mark.parametrize("shape", MODELS)
@inside_once
async def test_a_dry_run_says_the_same(shape: str, api: str) -> None:
    own, model = KNOWN[shape], MODELS[api]
    path = PATHS.get(shape, f"/v1beta/models/{model}:generateContent")
    async with Inside(CONFIG) as gateway:
        (candidate,) = gateway.gateway.router.candidates(shape, model).candidates
        assert candidate.speaks.api == KNOWN[api].api
        for found in survey.fields(own, candidate):
            specimen = own.specimens.fields[found.field]
            body = {**own.specimens.least, **specimen.beside, **specimen.members, "model": model}
            status, _, shown = await sent(gateway, path, json.dumps(body).encode(), X_Dragoman_Dry_Run="1")
            if found.outcome == "refused":
                assert status == 400, (found, shown)
                assert shown["error"]["message"].startswith(found.details[0])  # messages callers are told the place behind it
                continue
            assert status == 200, (found, shown)
            ledger = shown["ledger"]
            assert set(found.details) <= {*ledger["dropped"], *ledger["adapted"]}, (found, ledger)
            assert (found.outcome == "dropped") == bool(set(found.details) & set(ledger["dropped"])), (found, ledger)


def test_every_member_of_gemini_has_a_specimen() -> None:
    """Of Google's reference of the request and its generationConfig."""
    fields = KNOWN["gemini"].specimens.fields.values()
    types = google.types
    members = {member for one in fields for member in one.members} | {"contents"}
    config = {member for one in fields for member in one.members.get("generationConfig", {})}
    known = {field.alias for field in types.GenerationConfig.model_fields.values()}
    assert known - config <= {"audioTranscriptionConfig", "translationConfig"}, known - config
    assert {"contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "cachedContent", "labels", "serviceTier"} <= members


@pytest.mark.parametrize("shape", SHAPES)
def test_every_member_has_a_specimen(shape: str) -> None:
    """Of what a request with nearly everything has, but for names of stored things."""
    specimens = KNOWN[shape].specimens
    shown = {*specimens.least, *(member for one in specimens.fields.values() for member in one.members)}
    assert set(BODIES[shape]) - shown <= {"previous_response_id", "conversation", "background"}


# caller's shape, API, field, outcome, what is told, into
KNOWN_OUTCOMES = [
    ("chat", "messages", "seed", "dropped", ["seed"], []),
    ("chat", "messages", "max_completion_tokens", "carried", [], ["max_tokens"]),
    ("chat", "messages", "stop", "carried", [], ["stop_sequences"]),
    ("chat", "messages", "stream_options.include_usage", "carried", [], []),
    ("chat", "messages", "n", "refused", ["n: more than one answer is not supported by the selected model"], []),
    ("chat", "chat", "seed", "dropped", ["seed"], ["seed"]),
    ("chat", "chat", "n", "carried", [], ["n"]),
    ("messages", "chat", "top_k", "dropped", ["top_k"], []),
    ("messages", "chat", "system", "carried", [], ["messages"]),
    ("messages", "messages", "top_k", "carried", [], ["top_k"]),
    ("responses", "messages", "max_tool_calls", "dropped", ["max_tool_calls"], []),
    ("responses", "responses", "user", "dropped", ["user"], []),
    ("gemini", "messages", "generationConfig.maxOutputTokens", "carried", [], ["max_tokens"]),
    ("gemini", "messages", "generationConfig.seed", "dropped", ["generationConfig.seed"], []),
    ("gemini", "chat", "tools[].urlContext", "dropped", ["tools[*]:urlContext"], []),
    ("gemini", "responses", "labels", "carried", [], ["metadata"]),
    ("gemini", "gemini", "cachedContent", "carried", [], ["cachedContent"]),
    ("chat", "gemini", "seed", "carried", [], ["generationConfig"]),
    ("messages", "gemini", "system", "carried", [], ["systemInstruction"]),
    ("responses", "responses", "service_tier=priority", "adapted", ["service_tier"], []),
]


@pytest.mark.parametrize(("shape", "api", "field", "outcome", "told", "into"), KNOWN_OUTCOMES)
@inside_once
async def test_known_outcomes(shape: str, api: str, field: str, outcome: str, told: list[str], into: list[str]) -> None:
    async with Inside(CONFIG) as gateway:
        (candidate,) = gateway.gateway.router.candidates(shape, MODELS[api]).candidates
        found = next(one for one in survey.fields(KNOWN[shape], candidate) if one.field == field)
        assert (found.outcome, found.details) == (outcome, told)
        if outcome != "dropped":
            assert found.into == into
