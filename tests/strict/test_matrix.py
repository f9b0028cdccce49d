"""No provider refuses what the gateway sends: every typical caller towards every known provider, over real sockets.

What a caller sends in the provider's own API is adapted too, before anything is sent; what the gateway refuses by itself must be named
here.
"""

from __future__ import annotations

import pytest

from .matrix import MODELS, Matrix, played

# where reports differ, the other world: by provider, switches of its double
OTHER_WORLD = {"deepseek": ("text_wanted",), "openai": ("unverified_org",), "xai": ("unverified",), "ollama": ("unverified",)}
LEARNED = "OP10"  # what the account may ask: refused once for each model, and never again


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return played()


def test_no_request_is_refused(matrix: Matrix) -> None:
    assert matrix.broken() == {}


def test_every_caller_is_answered(matrix: Matrix) -> None:
    assert matrix.failed == {}


def test_what_is_refused_by_name(matrix: Matrix) -> None:
    """Tools, by a provider that has none."""
    assert {cell.partition(" > ")[2] for cell in matrix.refused} == {"perplexity/sonar"}
    assert all("tools are not supported by the selected model" in told for told in matrix.refused.values())


def test_in_the_other_world() -> None:
    models = [(provider, model) for provider, model in MODELS if provider in OTHER_WORLD]
    broken = played(models, OTHER_WORLD).broken()
    learned = [cell.partition(" > ")[2] for cell in broken.pop(LEARNED, [])]
    assert broken == {}
    assert len(set(learned)) == len(learned)


def test_what_was_left_out_is_told(matrix: Matrix) -> None:
    """Of callers of the provider's own API too."""
    assert matrix.cells["openai/o3", "langchain"].reported == {"temperature"}
    assert matrix.cells["openai/gpt-6-luna", "plain chat"].reported == {"temperature", "stop", "max_tokens"}
    assert matrix.cells["anthropic/claude-opus-5-5", "forced tool"].reported == {"temperature", "tool_choice"}
    assert matrix.cells["mistral/mistral-large-latest", "plain chat"].reported == {"user"}
    assert matrix.cells["openai/gpt-4.1", "plain chat"].reported == set()
    assert str(matrix.cells["openai/o3", "langchain"]) == "+"
    assert str(matrix.cells["openai/gpt-4.1", "plain chat"]) == "="
