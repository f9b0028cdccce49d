"""The guard of speed: the gateway beside a plain Tornado relay in the same run, and one loud stream beside many calm ones.

Only ratios and differences within one run are judged, with room for a busy machine; what they are on a quiet one is in
docs/performance.md. `tox -e bench` runs all of it, the suite one short round.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from dragoman.proxy.load import run as load

from ..gateway import clouds
from . import drain, servers, shapes
from .workloads import WORKLOADS, Steady, measure, median, steady

pytestmark = pytest.mark.slow

FULL = bool(os.environ.get("DRAGOMAN_BENCH"))
RUNS, SECONDS = (3, 2.0) if FULL else (1, 0.5)
CALM = 1000 if FULL else 100

# workload -> how much more CPU than the relay the gateway may take for one answer or delta
MOST = {"whole": 0.65, "stream": 0.6, "messages": 0.5, "responses": 0.65, "body": 2.3}


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    with servers.provider() as (port, _):
        yield port


@pytest.mark.timeout(180)
def test_a_request_and_an_event_cost_no_more_than_in_a_plain_relay(upstream: int) -> None:
    found: dict[str, dict[str, float]] = {}
    names = tuple(MOST) if FULL else ("whole", "stream")
    for under in ("dragoman", "relay"):
        with servers.under_test(under, upstream) as process:
            for name in names:
                run = median([measure(replace(WORKLOADS[name], seconds=SECONDS), process, 0.2) for _ in range(RUNS)])
                assert not run.errors
                found.setdefault(name, {})[under] = run.us
    ratios = {name: both["dragoman"] / both["relay"] for name, both in found.items()}
    print({name: f"{ratio:.2f}" for name, ratio in ratios.items()})
    assert {name: ratio for name, ratio in ratios.items() if ratio > MOST[name]} == {}


@pytest.mark.skipif(not FULL, reason="tox -e bench measures it: seconds of 1,000 streams")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("lane", ["paced-responses", "paced-carried"])
def test_a_delta_over_a_websocket_costs_no_more_than_over_http(lane: str, upstream: int) -> None:
    """And a connection with its stream takes at most 40 kB."""
    found: dict[str, list[Steady]] = {}
    for name in (lane, f"{lane}-ws") * RUNS:
        with servers.under_test("dragoman", upstream, 0) as process:
            found.setdefault(name, []).append(steady(replace(WORKLOADS[name], rate=5.0, words=60), process))
    http, websocket = ([statistics.median(run.us for run in runs), max(run.kb for run in runs)] for runs in found.values())
    print(f"{lane}: {http[0]:.2f} µs a delta, {http[1]:.0f} kB a stream; over WebSockets {websocket[0]:.2f} µs, {websocket[1]:.0f} kB")
    assert not any(run.errors for runs in found.values() for run in runs)
    assert websocket[0] <= 1.1 * http[0]
    assert websocket[1] <= 40


HELD, WARM = 500, 5.0  # streams, each of two seconds, one after the other; seconds in which they begin
SETTLE = 0.2  # seconds after a renewal in which what it held up still comes
_RENEWED = """
  - {model: renewed/*, provider_interface: openai, apis: [chat_completions], base_url: UPSTREAM, gcp: {credentials_file: "FILE"}}
"""


def _renewals(log: Path) -> list[tuple[float, float]]:
    """When each began and ended, by monotonic time."""
    ahead, found = time.time() - time.monotonic(), []
    for line in log.read_text().splitlines():
        if took := re.search(r'"time":"([^"]+)".* renewed in ([\d.]+) s', line):
            end = datetime.fromisoformat(took[1]).timestamp() - ahead
            found.append((end - float(took[2]), end))
    return found


def _held(seconds: float, port: int) -> drain.Found:
    """HELD streams at 20 words a second, at the entry whose credential is renewed."""
    words = 40
    request = load.target(load.Plan(f"http://127.0.0.1:{port}", "chat", "renewed/load", rate=20.0, words=words)).request
    return drain.Drain(drain.Asked(port, request, words, shapes.WIRES["chat"].terminal, paced=True), HELD).run(seconds, WARM, seconds + 60)


def _parted(latest: dict[int, int], renewals: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The latest delta of each tenth of a second in which a credential was renewed, and of each in which none was: in ms, in order."""
    tenths: dict[int, int] = {}
    for at, age in latest.items():
        tenths[at // 10] = max(age, tenths.get(at // 10, 0))
    renewing = set(itertools.chain(*(range(int(begin * 10), int((end + SETTLE) * 10) + 1) for begin, end in renewals)))
    beside, alone = (sorted(age / 1e3 for at, age in tenths.items() if (at in renewing) is wanted) for wanted in (True, False))
    return beside, alone


@pytest.mark.skipif(not FULL, reason="tox -e bench measures it: minutes of 500 streams")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("life", "seconds", "most"), [(120, 260.0, 20), (12, 60.0, 100)], ids=["each minute", "every six seconds"])
def test_the_renewal_of_a_credential_delays_no_delta(life: int, seconds: float, most: float, tmp_path: Path) -> None:
    """By more than 20 ms, and no request fails. most: milliseconds.

    What comes while a credential is renewed, from its half on, is compared with the rest of the same run: with how late the deltas of the
    latest fiftieth part of the tenths of a second are. A life of twelve seconds leaves so little time that each renewal hurries, as one
    does that requests wait for: the deltas are later then.
    """
    pytest.importorskip("google.auth")
    with clouds.Tokens(life) as tokens, servers.provider(1) as (upstream, _), _on(1):
        entries = _RENEWED.replace("FILE", str(clouds.service_account(tmp_path, tokens)))
        with servers.under_test("dragoman", upstream, 0, entries=entries) as process:
            found = _held(seconds, process.port)
            renewals = _renewals(process.log)
    start = min(found.latest) / 100 + WARM
    renewals = [renewal for renewal in renewals if renewal[0] > start]
    beside, alone = _parted({at: age for at, age in found.latest.items() if at > start * 100}, renewals)
    late = [ages[len(ages) * 49 // 50] for ages in (beside, alone)]
    print(
        f"{HELD} streams at 20/s, {len(renewals)} renewals of {statistics.median(end - begin for begin, end in renewals):.1f} s: "
        f"the fiftieth part of the deltas' tenths of a second is later than {late[0]:.1f} ms, the latest {beside[-1]:.1f} ms; "
        f"while none is renewed {late[1]:.1f} ms and {alone[-1]:.1f} ms"
    )
    assert not found.errors, found.errors
    assert len(renewals) >= 3
    assert late[0] - late[1] < most


@contextlib.contextmanager
def _on(core: int) -> Iterator[None]:
    """Run this process on one core, where there is more than one: the other is left to what is measured."""
    if not servers.pinned(core):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def flooding(port: int) -> Iterator[None]:
    """A stream without pauses, read in a process of its own, which leaves the cores to the others."""
    command = ["nice", "-n", "19", *servers.pinned(1), sys.executable, "-m", "dragoman.proxy", "load", f"http://127.0.0.1:{port}"]
    command += ["--model", "messages/load", "--shape", "messages", "--streams", "1", "--words", "5000", "--seconds", "120"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        assert process.poll() is None
        process.kill()
        process.wait()


def _added(port: int) -> float:
    """The median of what is added to the events of CALM paced streams, in ms."""
    words = 60
    request = load.target(load.Plan(f"http://127.0.0.1:{port}", "chat", "chat/load", rate=20.0, words=words)).request
    calm = drain.Asked(port, request, words, shapes.WIRES["chat"].terminal, paced=True)
    found = drain.Drain(calm, CALM).run(None, CALM / 1000, 60)
    assert not found.errors
    return statistics.median(found.added) / 1e3


@pytest.mark.timeout(120)
def test_a_stream_that_floods_hardly_delays_the_others() -> None:
    with servers.provider(1) as (calm, _), servers.provider(1) as (loud, _), servers.under_test("dragoman", calm, 0, loud) as process:
        alone = _added(process.port)
        with flooding(process.port):
            beside = _added(process.port)
    print(f"{CALM} streams at 20/s: {alone:.2f} ms at the median, beside one that floods {beside:.2f} ms")
    assert beside - alone < (5.0 if FULL else 50.0)
