"""Prices times tokens, to the last digit that matters."""

from __future__ import annotations

import pytest

from dragoman.codecs.usage import Usage
from dragoman.conf.model import Price
from dragoman.conf.providers import list_prices, price_of
from dragoman.proxy.keys.cost import cost

PRICE = Price("m", input=2.0, output=10.0, cached_input=0.2, cache_write=2.5)


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (None, 0.0),
        (Usage(), 0.0),
        (Usage(input=1_000_000), 2.0),
        (Usage(output=1_000_000), 10.0),
        (Usage(input=1_000_000, cache_read=1_000_000), 0.2),
        (Usage(input=1_000_000, cache_write=1_000_000), 2.5),
        (Usage(input=1000, output=100, cache_read=600, cache_write=300), (100 * 2 + 600 * 0.2 + 300 * 2.5 + 100 * 10) / 1e6),
        (Usage(input=10, cache_read=20), 20 * 0.2 / 1e6),  # no negative rest
        (Usage(input=12, output=7, reasoning=5, total=40), (12 * 2 + 7 * 10) / 1e6),  # reasoning is part of output
    ],
)
def test_cost(usage: Usage | None, usd: float) -> None:
    assert cost(usage, PRICE) == pytest.approx(usd, abs=1e-12)


def test_a_model_without_a_price_costs_nothing_known() -> None:
    assert cost(Usage(input=5, output=5), None) == 0.0


def test_list_prices_find_their_model() -> None:
    price = price_of(list_prices(), "anthropic", "claude-sonnet-4-5-20250929")
    assert price is not None
    assert (price.input, price.output, price.cached_input, price.cache_write) == (3, 15, 0.3, 3.75)
    assert price_of(list_prices(), "local", "qwen3-coder") is None
