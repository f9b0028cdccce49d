"""Prices times tokens, to the last digit that matters."""

from __future__ import annotations

import pytest

from dragoman.codecs.usage import Usage
from dragoman.conf.model import Price
from dragoman.conf.providers import list_prices, price_of
from dragoman.conf.providers import price as priced
from dragoman.proxy.keys.cost import complete, cost

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


FULL = Price("m", input=2.0, output=10.0, cached_input=0.2, cache_write=2.5, cache_write_1h=4.0, web_search=10.0, fast=6.0)


@pytest.mark.parametrize(
    ("usage", "usd", "bare", "whole"),
    [
        (Usage(input=1_000_000, cache_write=1_000_000, cache_write_long=400_000), 0.6 * 2.5 + 0.4 * 4, 2.5, True),
        (Usage(input=10, cache_write=10, cache_write_long=20), 10 * 4 / 1e6, 10 * 2.5 / 1e6, True),  # no more than was written
        (Usage(input=1_000_000, output=1_000_000, fast=True), 72.0, 12.0, False),
        (Usage(input=1_000_000, tools={"web_search": 3}), 2.03, 2.0, False),
        (Usage(input=1_000_000, fast=True, tools={"web_search": 1000, "web_fetch": 5}), 22.0, 2.0, False),
        (Usage(input=1_000_000, tools={"web_fetch": 5}), 2.0, 2.0, True),
    ],
)
def test_prices_of_their_own(usage: Usage, usd: float, bare: float, whole: bool) -> None:
    """usd: with prices of everything. bare: without; and whether that is all of it."""
    assert (cost(usage, FULL), complete(usage, FULL)) == (pytest.approx(usd), True)
    assert (cost(usage, PRICE), complete(usage, PRICE)) == (pytest.approx(bare), whole)


def test_a_service_tier_has_prices_of_its_own() -> None:
    row = {
        "input": 2,
        "output": 10,
        "web_search": 10,
        "service_tiers": {"flex": {"input": 1, "output": 5}, "priority": {"input": 4, "output": 20, "cached_input": 1}},
    }
    for tier, usd in ((None, 12.0), ("default", 12.0), ("scale", 12.0), ("flex", 6.0), ("priority", 22.5)):
        used = Usage(input=1_000_000, output=1_000_000, cache_read=500_000, tier=tier)
        assert cost(used, priced("m", row)) == pytest.approx(usd)
    searched = Usage(input=1_000_000, tools={"web_search": 100}, tier="flex")
    assert cost(searched, priced("m", row)) == pytest.approx(2.0)  # searches have one price in all tiers


def test_images_have_no_price() -> None:
    assert not complete(Usage(tools={"image_tokens": 1}), FULL)


def test_the_list_knows_long_caches_and_searches() -> None:
    claude = [price for price in list_prices() if price.pattern.startswith("claude")]
    assert claude
    for price in claude:
        assert price.cache_write_1h == pytest.approx(2 * price.input)
        assert price.web_search == 10


def test_the_first_price_that_fits_counts():
    prices = (Price("openai/a*", 1, 1, 1, 1), Price("b", 2, 2, 2, 2), Price("*", 3, 3, 3, 3))
    for provider, model, found in (("openai", "ab", 1), ("x", "ab", 3), ("x", "b", 2), ("x", "y/b", 2), ("x", "openai/a", 1)):
        assert price_of(prices, provider, model).input == found
    assert price_of(prices[:2], "x", "c") is None
    assert price_of((), "x", "c") is None
