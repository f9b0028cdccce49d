"""What exchanges add to the metrics is gathered for a moment, and gives the library the same as counting it at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, values

from dragoman.codecs.usage import Usage
from dragoman.proxy.telemetry import metrics
from dragoman.proxy.telemetry.account import Account, Call, Target
from dragoman.proxy.telemetry.metrics import Metrics
from dragoman.proxy.telemetry.tally import Observed

BOUNDS = (0.5, 1, 2.5, float("inf"))


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0, 1.1, 2.5, 3.0, 1e9])))
def test_a_histogram_holds_what_observing_each_value_gives(seen: list[float]) -> None:
    one, other = CollectorRegistry(), CollectorRegistry()
    at_once = Histogram("h", "h", buckets=BOUNDS, registry=one)
    later = metrics._Histogram("h", "h", buckets=BOUNDS, registry=other)
    observed = Observed(BOUNDS)
    for value in seen:
        at_once.observe(value)
        observed.add(value)
    later.add(observed)
    names = [("h_bucket", {"le": bound}) for bound in ("0.5", "1.0", "2.5", "+Inf")] + [("h_count", {}), ("h_sum", {})]
    assert [one.get_sample_value(*name) for name in names] == pytest.approx([other.get_sample_value(*name) for name in names])


def ended(cached: int | None = None, cost: float | None = 0.25, status: int = 200) -> Account:
    target = Target("openai/m", "openai", "m", "chat", "openai", "", 0, "", "")
    usage = Usage(3, 5, cached)
    call = Call(target, False, "bytes", status, "", "", 1.0, 2.0, 2.0, 4.0, 1, None, usage, cost, True, "end", "", [], [], [], 0, 0)
    return Account(0.0, "r", "", "chat", "chat", "POST", "/", "/", "m", False, status, 1.0, 4.0, False, None, [call], {})


def test_it_is_whole_whenever_it_is_read() -> None:
    async def main() -> None:
        found = Metrics()
        read = found.registry.get_sample_value
        asked = {"shape": "chat", "upstream_api": "chat", "provider": "openai", "model": "other", "status": "200"}
        for count in (1, 2):
            found.settled(ended(cached=2 * count), lambda name: False)
            found.settled(ended(cost=None, status=500), lambda name: False)
            assert read("dragoman_requests_total", asked) == count
            assert read("dragoman_requests_total", asked | {"status": "500"}) == count
        assert [read("dragoman_tokens_total", {"kind": kind}) for kind in ("input", "output", "cached", "reasoning")] == [12, 20, 6, None]
        assert read("dragoman_cost_usd_total") == 0.5
        assert read("dragoman_request_seconds_sum") == 12.0

    asyncio.run(main())


def test_other_processes_see_it_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody asks a worker whose metrics lie in files."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(metrics, "EVERY", 60.0)

    async def main() -> None:
        found = Metrics()
        found.settled(ended(), lambda name: False)
        assert isinstance(found.cost._value, values.MutexValue)
        await asyncio.sleep(0.001)  # timers run in their order
        assert found.cost._value.get() == 0.25

    asyncio.run(main())
