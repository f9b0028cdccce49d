"""The rules prove themselves: a provider's minimal request violates none, and with a rule's own patch it violates that one."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .rules import JSON, Asked, Provider, Rule, everyone

MINIMAL: dict[str, JSON] = {
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
    "messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2048},
    "responses": {"input": [{"type": "message", "role": "user", "content": "hi"}]},
    "converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
    "invoke": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2048, "anthropic_version": "bedrock-2023-05-31"},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}
OWN: dict[str, JSON] = {"vertex_claude": {"anthropic_version": "vertex-2023-10-16", "model": None}}
RULES = [pytest.param(provider, rule, id=rule.id) for provider in everyone() for rule in provider.rules if rule.breaks is not None]


def _repeated(value: Any) -> Any:
    """A patch with its {$repeat, item} written out."""
    if isinstance(value, dict) and "$repeat" in value:
        return [_numbered(_repeated(value["item"]), number) for number in range(value["$repeat"])]
    if isinstance(value, dict):
        return {key: _repeated(inner) for key, inner in value.items()}
    return [_repeated(inner) for inner in value] if isinstance(value, list) else value


def _numbered(value: Any, number: int) -> Any:
    if isinstance(value, dict):
        return {key: _numbered(inner, number) for key, inner in value.items()}
    return value.replace("%d", str(number)) if isinstance(value, str) else value


def _conditions(when: Any) -> set[str]:
    return {one["option"] for one in when if "option" in one}


def request(provider: Provider, shape: str, patch: JSON, options: frozenset[str] = frozenset(), model: str | None = None) -> Asked:
    body = {"model": model or provider.example, **MINIMAL[shape], **provider.base, **OWN.get(provider.id, {})} | _repeated(patch)
    named = str(body.pop("model", "")) if shape in ("invoke", "gemini") else ""
    headers, streamed = body.pop("_headers", {}), body.pop("_stream", False)
    body = {key: value for key, value in body.items() if value is not None and key[0] != "_"}
    return Asked(shape, body, headers, options, named, streamed)


def _model(provider: Provider, rule: Rule) -> str:
    """A model that the rule is about: the patch's, the provider's example, or what its first glob means."""
    patch = rule.breaks or {}
    if "_model" in patch:
        return str(patch["_model"])
    asked = Asked("", {"model": provider.example})
    return provider.example if rule.names(asked.model) else re.sub(r"\[(.).*?\]|[*?]", r"\1", rule.models[0])


@pytest.mark.parametrize(("provider", "rule"), RULES)
def test_each_rule(provider: Provider, rule: Rule) -> None:
    assert rule.breaks is not None
    shape = rule.breaks.get("_shape") or (rule.shape if rule.shape != "any" else provider.shapes[0])
    if rule.check.get("order") == "prefix_bound":
        return  # the double's own: test_double.py
    options = frozenset(_conditions(rule.when))
    assert rule.violated(provider, request(provider, shape, rule.breaks, options, _model(provider, rule)))


@pytest.mark.parametrize("provider", everyone(), ids=lambda provider: provider.id)
def test_a_minimal_request_is_answered(provider: Provider) -> None:
    for shape in provider.shapes:
        assert [rule.id for rule in provider.violations(request(provider, shape, {}))] == []
