"""What exchanges that have ended add to the metrics, until it is given to the library: counting there costs ten times this.

A lock, several calls and a search through the buckets for each value are nothing once a while, and a twentieth of a whole answer where
they are done for each of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from .account import Call

KINDS = ("input", "output", "cached", "cache_write", "reasoning")  # of tokens
Labels = tuple[str, str, str, str, str]


class Observed:
    """Values by the bucket that they fall into. bounds: the highest value of each; the last is infinite."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.counts, self.total = bounds, [0] * len(bounds), 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Tally:
    """requests: by the labels of a request. tokens: in the order of KINDS. cost: in USD."""

    __slots__ = ("cost", "first", "overhead", "requests", "seconds", "tokens")

    def __init__(self, seconds: Sequence[float], overhead: Sequence[float]) -> None:
        """The bounds of the histograms."""
        self.requests: defaultdict[Labels, int] = defaultdict(int)
        self.tokens = [0] * len(KINDS)
        self.cost = 0.0
        self.seconds, self.first, self.overhead = Observed(seconds), Observed(seconds), Observed(overhead)

    def spend(self, calls: Sequence[Call]) -> None:
        """Add what these calls took."""
        for call in calls:
            usage = call.usage
            if usage is None:
                continue
            tokens = self.tokens
            tokens[0] += usage.input
            tokens[1] += usage.output
            if usage.cache_read:
                tokens[2] += usage.cache_read
            if usage.cache_write:
                tokens[3] += usage.cache_write
            if usage.reasoning:
                tokens[4] += usage.reasoning
            if call.cost is not None:
                self.cost += call.cost
