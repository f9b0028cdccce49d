"""What real clients have asked and real providers have answered: a caller's body that a provider takes goes up as it is.

The recordings are not part of this repository: DRAGOMAN_CORPUS names their folder.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dragoman import conf
from dragoman.codecs import jsontext, rules
from dragoman.codecs.request import Request
from dragoman.proxy.routing.candidate import Candidate
from dragoman.proxy.routing.router import Router

CORPUS = os.environ.get("DRAGOMAN_CORPUS", "")
APIS = {"chat": "chat_completions", "messages": "messages", "responses": "responses", "gemini": "gemini"}
# the recordings' names of providers, and ours
PROVIDERS = {
    **{name: name for name in ("openai", "anthropic", "groq", "mistral", "xai", "deepseek", "zai", "cerebras", "openrouter", "together")},
    **{name: name for name in ("perplexity", "xiaomi", "ollama", "llamacpp", "fireworks", "minimax")},
    "google": "gemini",
    "alibaba": "qwen",
    "moonshot": "moonshotai",
    "vertex": "vertex",
}
HOSTS = {"openai": ", http_host: api.openai.com"}
# what is changed all the same: where reports differ what every version of a provider takes, or what it ignores
CHANGED = {
    ("llamacpp", "", "tool_choice=required"),  # a name is refused by other versions
    ("groq", "", "messages"),  # system content as parts was refused until 2025
    ("mistral", "messages[*].name", ""),
    ("openrouter", "temperature", ""),  # of a model that does not take it
    ("xiaomi", "", "messages"),
}

pytestmark = pytest.mark.skipif(not CORPUS, reason="DRAGOMAN_CORPUS names no folder of recordings")


@cache
def candidate(shape: str, provider: str, model: str) -> Candidate:
    name = f"{PROVIDERS[provider]}/{model}"
    text = f'model_providers: [{{model: "{name}", apis: [{APIS[shape]}], access_key: k, base_url: "http://h/v1"{HOSTS.get(provider, "")}}}]'
    return Router(conf.loads(text, environ={})).candidates(shape, name).candidates[0]


def asked(shape: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Provider, model and body of the requests that were answered."""
    found = []
    for kind in ("json", "stream", "array"):
        for folder in sorted((Path(CORPUS) / "recordings" / shape / kind).glob("*")):
            provider, request = folder.name.partition("--")[0], folder / "request.json"
            body = jsontext.loads(request.read_bytes()) if provider in PROVIDERS and request.exists() else None
            if isinstance(body, dict):
                model = body.get("model") or jsontext.loads((folder / "meta.json").read_bytes())["model"]
                found.append((provider, model, body))
    return found


@pytest.mark.parametrize("shape", APIS)
def test_what_was_answered_goes_up_as_it_is(shape: str) -> None:
    changed, bodies = set(), asked(shape)
    for provider, model, body in bodies:
        upstream, request = candidate(shape, provider, model), Request(shape, model, body)
        draft = upstream.speaks.Draft(body, request, upstream.capabilities, own=True)
        ledger = request.ledger
        if rules.amended(upstream.rules, draft) is not body:
            changed.add((provider, ledger.header(ledger.dropped, body), ledger.header(ledger.adapted, body)))
        assert not upstream.speaks.translates(body, upstream.capabilities)
    assert len(bodies) > 60
    assert changed <= CHANGED
