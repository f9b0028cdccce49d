"""Whether what something costs grows as its input does: a ratio of CPU times, so that a busy machine changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time
from typing import Any

SMALL, TIMES = 2_000, 16  # the larger input is so many times the smaller one
MOST = 5 * TIMES  # of the ratio: quadratic cost would be TIMES * TIMES
LEAST = 100e-6  # seconds that count as nothing


def cost(action: Callable[[Any], object], value: Any, rounds: int = 3) -> float:
    """Seconds of CPU, the least of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        begun = thread_time()
        action(value)
        best = min(best, thread_time() - begun)
    return best


def assert_linear(make: Callable[[int], Any], action: Callable[[Any], object], small: int = SMALL) -> None:
    """make: input of a size. Fails when `action` costs much more than in proportion to it."""
    before, after = make(small), make(small * TIMES)
    allowed = MOST * max(cost(action, before), LEAST)
    spent = cost(action, after, 1)
    if spent > allowed:
        spent = cost(action, after)
    assert spent <= allowed, f"{spent * 1000:.1f} ms for {TIMES} times the input, allowed are {allowed * 1000:.1f} ms"


def assert_no_dearer(action: Callable[[Any], object], usual: Callable[[Any], object], value: Any, times: float) -> None:
    """Fails when `action` costs more than `times` what `usual` does: both run in turns, so that both are disturbed."""
    spent = allowed = float("inf")
    for _ in range(12):
        spent, allowed = min(spent, cost(action, value, 1)), min(allowed, times * max(cost(usual, value, 1), LEAST))
        if spent <= allowed:
            return
    raise AssertionError(f"{spent * 1000:.2f} ms, allowed are {allowed * 1000:.2f} ms")
