"""The cost of a response: token counts times a price. Pure arithmetic, for the log line, the metrics and budgets.

Usage.input includes cached tokens, which have prices of their own (cache reads and cache writes). If an upstream reports more cached
tokens than input tokens, the cached tokens are charged as reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...codecs.usage import Usage
from ...conf.model import Price

_UNIT = 1_000_000  # a price is for so many tokens
_SEARCHES = 1_000  # and one of searches for so many of them
_SEARCH = "web_search"
_FREE = ("web_fetch",)  # tools that cost no more than their tokens
_MOST = 2**63  # tokens: an upstream can report integers that no float can hold


def cost(usage: Usage | None, price: Price | None) -> float:
    """The cost of one response in USD; 0.0 when its usage or the price is unknown."""
    if usage is None or price is None:
        return 0.0
    price = dict(price.service_tiers).get(usage.tier or "", price)
    read, written = min(usage.cache_read or 0, _MOST), min(usage.cache_write or 0, _MOST)
    plain = max(0, min(usage.input, _MOST) - read - written)
    spent = plain * price.input + read * price.cached_input + written * price.cache_write + min(usage.output, _MOST) * price.output
    if usage.cache_write_long and price.cache_write_1h is not None:
        spent += min(usage.cache_write_long, written) * (price.cache_write_1h - price.cache_write)
    if usage.fast and price.fast is not None:
        spent *= price.fast
    if usage.tools and price.web_search is not None:
        spent += usage.tools.get(_SEARCH, 0) * price.web_search * (_UNIT / _SEARCHES)
    return spent / _UNIT


def complete(usage: Usage, price: Price) -> bool:
    """Whether `cost` is all of it: nothing was used that the price says nothing of."""
    if usage.fast and price.fast is None:
        return False
    priced = _FREE if price.web_search is None else (*_FREE, _SEARCH)
    return not usage.tools or all(tool in priced for tool in usage.tools)


def charged(usage: Usage, price: Price, price_of: Callable[[str], Price | None]) -> tuple[float, bool]:
    """What an answer cost, and whether that is all of it. Rounds of other models have the prices of these; price_of: by name."""
    spent, whole = cost(usage, price), complete(usage, price)
    for model, one in usage.rounds:
        other = price_of(model)
        if other is None:
            whole = False
        elif other is not price:
            counts = replace(one, fast=usage.fast, tier=usage.tier)
            spent += cost(counts, other) - cost(counts, price)
            whole = whole and complete(counts, other)
    return spent, whole
