"""A streamed delta stays cheap in every direction, by comparison with its JSON alone; and the benchmark measures what it says."""

from __future__ import annotations

import pytest

from . import codecs, shapes

MOST = 7.0  # times reading and writing the delta's JSON; measured: see docs/performance.md


@pytest.mark.parametrize(("upstream", "client"), codecs.DIRECTIONS)
def test_a_delta_costs_little_more_than_its_json(upstream: str, client: str) -> None:
    for _ in range(3):  # a busy machine may disturb one
        cost = codecs.measure(upstream, client, rounds=5)
        if cost.ratio <= MOST:
            return
    pytest.fail(f"{cost.us:.1f} µs a delta, {cost.ratio:.1f} times its JSON")


@pytest.mark.parametrize(("upstream", "client"), codecs.DIRECTIONS)
def test_what_is_measured_is_one_frame_a_delta(upstream: str, client: str) -> None:
    feed, reads = codecs.opened(upstream, client)
    for read in reads[:5]:
        frame = feed(read)
        assert frame.count(b"\n\n") == 1
        assert frame.count(shapes.WORD.encode()) == 1
