"""What an answer costs: token counts times a price. Pure arithmetic, for the log line, the metrics and budgets.

Usage counts everything that was read as input; what was read from a cache or written to one has a price of its own, and an
upstream that gives cached tokens beyond its own total is charged for what it gives.
"""

from __future__ import annotations

from ...codecs.usage import Usage
from ...conf.model import Price

_UNIT = 1_000_000  # tokens that a price is for
_MOST = 2**63  # tokens: an upstream can name numbers that no float holds


def cost(usage: Usage | None, price: Price | None) -> float:
    """USD of one answer; 0.0 when its tokens or its model's price are not known."""
    if usage is None or price is None:
        return 0.0
    read, written = min(usage.cache_read or 0, _MOST), min(usage.cache_write or 0, _MOST)
    plain = max(0, min(usage.input, _MOST) - read - written)
    spent = plain * price.input + read * price.cached_input + written * price.cache_write + min(usage.output, _MOST) * price.output
    return spent / _UNIT
