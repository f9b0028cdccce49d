"""No provider refuses what the gateway sends: every typical caller towards every known provider, over real sockets.

What a caller sends in the provider's own API is adapted too, before anything is sent; what the gateway refuses by itself must be named
here.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .double import Double
from .matrix import MODELS, Driver, Matrix, driving, played

# where reports differ, the other world: by provider, switches of its double
OTHER_WORLD = {"deepseek": ("text_wanted",), "openai": ("unverified_org",), "xai": ("unverified",), "ollama": ("unverified",)}
LEARNED = "OP10"  # what the account may ask: refused once for each model, and never again


# by model and caller: what is reported, also to callers of the provider's own API, and how the cell is shown
LEFT_OUT = {
    ("openai/o3", "langchain"): ({"temperature"}, "+"),
    ("openai/gpt-6-luna", "plain chat"): ({"temperature", "stop", "max_tokens"}, "+"),
    ("anthropic/claude-opus-5-5", "forced tool"): ({"temperature", "tool_choice"}, "+"),
    ("mistral/mistral-large-latest", "plain chat"): ({"user"}, "+"),
    ("openai/gpt-4.1", "plain chat"): (set(), "="),
}


@pytest.fixture(scope="module")
def driven() -> Iterator[tuple[Driver, dict[str, Double]]]:
    with driving(MODELS) as both:
        yield both


@pytest.fixture(scope="module", params=MODELS, ids=[model for _, model in MODELS])
def matrix(driven: tuple[Driver, dict[str, Double]], request: pytest.FixtureRequest) -> Matrix:
    """Of one model: all of them take a busy machine more than the time after which a test counts as hung."""
    return Matrix([request.param], *driven)


def test_no_request_is_refused(matrix: Matrix) -> None:
    assert matrix.broken() == {}


def test_every_caller_is_answered(matrix: Matrix) -> None:
    assert matrix.failed == {}


def test_what_is_refused_by_name(matrix: Matrix) -> None:
    """Tools, by a provider that has none."""
    assert bool(matrix.refused) == ({model for model, _ in matrix.cells} == {"perplexity/sonar"})
    assert all("tools are not supported by the selected model" in told for told in matrix.refused.values())


def test_what_was_left_out_is_told(matrix: Matrix) -> None:
    expected = {cell: told for cell, told in LEFT_OUT.items() if cell in matrix.cells}
    assert {cell: (matrix.cells[cell].reported, str(matrix.cells[cell])) for cell in expected} == expected


def test_every_row_is_of_a_model() -> None:
    assert {model for model, _ in LEFT_OUT} <= {model for _, model in MODELS}


def test_in_the_other_world() -> None:
    models = [(provider, model) for provider, model in MODELS if provider in OTHER_WORLD]
    broken = played(models, OTHER_WORLD).broken()
    learned = [cell.partition(" > ")[2] for cell in broken.pop(LEARNED, [])]
    assert broken == {}
    assert len(set(learned)) == len(learned)
