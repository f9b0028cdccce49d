"""The double itself: it refuses in its provider's own form, gives out values of its own, and knows them again."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import orjson
import pytest

from dragoman.codecs.chat.errors_in import decode_error

from ..scripted import Provider, Request
from .double import Double
from .rules import JSON, everyone, load
from .test_rules import MINIMAL, request

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}


def asked(double: Double, shape: str, body: JSON, **headers: str) -> tuple[int, Any]:
    """Status and JSON of a whole answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    (told,) = double.script(Request("POST", PATHS[shape], named, orjson.dumps(body), 0))
    assert isinstance(told, bytes)
    head, _, content = told.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), orjson.loads(content)


def minimal(provider: str, shape: str, **more: Any) -> JSON:
    return request(load(provider), shape, more).body


def first_refusal(provider: str) -> tuple[Double, str, JSON]:
    """A double, and a request that violates the first rule of its own that a plain patch can violate."""
    double = Double(provider)
    for rule in double.provider.rules:
        shape = double.provider.shapes[0] if rule.shape == "any" else rule.shape
        if rule.breaks is not None and shape in PATHS and not rule.when and "_headers" not in rule.breaks:
            body = request(double.provider, shape, rule.breaks, model=rule.breaks.get("_model")).body
            violated = double.provider.first_violation(request(double.provider, shape, rule.breaks, model=body["model"]))
            if violated is rule:
                return double, shape, body
    raise LookupError(provider)


WITHOUT = {"vertex_claude", "sglang", "together", "others"}  # rules that a plain request of theirs violates
SPEAKING = [one.id for one in everyone() if set(one.shapes) & PATHS.keys() and one.id not in WITHOUT]
SPOKEN = {"type": "message", "role": "user", "content": "hi", "status": "completed"}


@pytest.mark.parametrize("provider", SPEAKING)
def test_a_refusal_is_one_that_the_gateway_can_read(provider: str) -> None:
    """With the status of the rule, in the provider's form; what it says reaches a caller."""
    double, shape, body = first_refusal(provider)
    status, told = asked(double, shape, body)
    ((rule, seen),) = double.violations
    answer = next(one.answer for one in double.provider.rules if one.id == rule)
    assert (status, seen.body) == (answer.get("status", 400), body)
    error = decode_error(status, orjson.dumps(told))
    assert error.kind in ("bad_request", "permission", "not_found", "server")
    assert answer["message"] in error.message


@pytest.mark.parametrize(
    ("provider", "shape", "more", "member"),
    [
        ("openai", "responses", {"model": "gpt-4.1", "reasoning": {"effort": "low"}}, "reasoning.effort"),
        ("openai", "chat", {"model": "gpt-5", "stop": ["x"]}, "stop"),
        (
            "azure_openai",
            "responses",
            {"input": [SPOKEN]},
            "input[0].status",
        ),
    ],
)
def test_the_member_is_named(provider: str, shape: str, more: JSON, member: str) -> None:
    _, told = asked(Double(provider), shape, minimal(provider, shape, **more))
    assert told["error"]["param"] == member


def test_members_in_other_forms() -> None:
    _, told = asked(Double("mistral"), "chat", minimal("mistral", "chat", user="u"))
    assert told["detail"][0]["loc"] == ["body", "user"]
    _, told = asked(Double("chatgpt"), "responses", minimal("chatgpt", "responses", temperature=1))
    assert told["detail"].endswith(": temperature")


def test_what_violates_nothing_is_answered() -> None:
    for provider in SPEAKING:
        for shape in set(load(provider).shapes) & PATHS.keys():
            double = Double(provider)
            body = minimal(provider, shape) | {"stream": False} if provider != "chatgpt" else None
            if body is not None:
                assert asked(double, shape, body)[0] == 200
            assert double.violations == []


# ---- values of its own ----

CLAUDE = "claude-opus-5-5"
TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {}}}


def talk(double: Double, **more: Any) -> tuple[JSON, JSON]:
    """A turn with a thought and calls, and the request that answers them."""
    body = {**MINIMAL["messages"], "model": CLAUDE, "tools": [TOOL], "thinking": {"type": "adaptive"}, **more}
    status, told = asked(double, "messages", body)
    assert status == 200
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "ok"} for block in told["content"] if block["type"] == "tool_use"
    ]
    said = [{"role": "assistant", "content": told["content"]}, {"role": "user", "content": results}]
    return told, body | {"messages": [*body["messages"], *said]}


def test_its_signatures_are_its_own() -> None:
    double = Double("anthropic")
    told, again = talk(double)
    assert told["content"][0]["signature"].startswith("sig-anthropic-")
    assert asked(double, "messages", again)[0] == 200
    again["messages"][1]["content"][0]["signature"] = "sig-openai-0001"
    assert asked(double, "messages", again)[0] == 400
    assert [rule for rule, _ in double.violations] == ["AN14"]


def test_its_encrypted_reasoning_is_its_own() -> None:
    double = Double("openai")
    body = minimal("openai", "responses", model="gpt-5")
    _, told = asked(double, "responses", body)
    assert told["output"][0]["encrypted_content"].startswith("enc-openai-")
    going_on = {"type": "message", "role": "user", "content": "so?"}
    assert asked(double, "responses", body | {"input": [*body["input"], *told["output"], going_on]})[0] == 200
    foreign = [item | {"encrypted_content": "enc-azure_openai-0001"} if item["type"] == "reasoning" else item for item in told["output"]]
    status, told = asked(double, "responses", body | {"input": [*body["input"], *foreign, going_on]})
    assert (status, told["error"]["code"]) == (400, "invalid_encrypted_content")


def test_two_doubles_of_one_provider_give_the_same_values() -> None:
    """A signature is told by its mark; what it belongs to, by the double that gave it alone."""
    first, second = Double("anthropic"), Double("anthropic")
    _, again = talk(first)
    assert asked(second, "messages", again)[0] == 200


CHANGES: list[JSON] = [
    {"system": "Something new."},
    {"tools": [TOOL, {"name": "g", "input_schema": {"type": "object", "properties": {}}}]},
    {"messages": [{"role": "user", "content": "hello"}]},
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_thought_belongs_to_its_prefix(change: JSON) -> None:
    double = Double("anthropic")
    _, again = talk(double)
    changed = again | change
    if "messages" in change:
        changed["messages"] = [*change["messages"], *again["messages"][1:]]
    assert asked(double, "messages", changed)[0] == 400
    assert [rule for rule, _ in double.violations] == ["AN16"]
    loose = changed | {"thinking": {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}}
    assert asked(double, "messages", loose)[0] == 400  # the beta is not asked for
    assert asked(double, "messages", loose, anthropic_beta="thinking-binding-controls-2026-08-01")[0] == 200


def test_a_thought_does_not_mind_cache_marks_or_what_comes_after() -> None:
    double = Double("anthropic")
    _, again = talk(double, system=[{"type": "text", "text": "Be."}])
    again["system"] = [{"type": "text", "text": "Be.", "cache_control": {"type": "ephemeral"}}]
    again["max_tokens"] = 3000
    assert asked(double, "messages", again)[0] == 200


def test_older_models_do_not_mind() -> None:
    double = Double("anthropic")
    _, again = talk(double, model="claude-opus-4-8")
    assert asked(double, "messages", again | CHANGES[0])[0] == 200


# ---- images ----


def png(width: int, height: int, size: int = 0) -> JSON:
    head = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data = base64.b64encode(head + b"\0" * 8).decode() + "A" * size
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}


@pytest.mark.parametrize(
    ("images", "taken"),
    [
        ([png(8000, 10)], True),
        ([png(8001, 10)], False),
        ([png(10, 8001)], False),
        ([png(2001, 10)] * 20, True),
        ([png(2000, 10)] * 21, True),
        ([png(2001, 10)] * 21, False),
        ([png(10, 10)] * 100, True),
        ([png(10, 10)] * 101, False),
        ([png(10, 10, 10 << 20)], False),
    ],
    ids=["8000", "8001", "tall", "20 of 2001", "21 of 2000", "21 of 2001", "100", "101", "10 MB"],
)
def test_images(images: list[JSON], taken: bool) -> None:
    double = Double("anthropic")
    body = {**MINIMAL["messages"], "model": CLAUDE, "messages": [{"role": "user", "content": images}]}
    assert (asked(double, "messages", body)[0] == 200) is taken
    assert [rule for rule, _ in double.violations] == ([] if taken else ["AN20"])


def test_over_a_socket() -> None:
    """As the gateway sees it."""
    double = Double("mistral")
    with Provider(double.script) as provider:
        answer = httpx.post(f"{provider.url}/v1/chat/completions", json=minimal("mistral", "chat", user="u"))
    assert answer.status_code == 422
    assert [rule for rule, _ in double.violations] == ["MI01"]
