"""The guard of speed: the gateway beside a plain Tornado relay in the same run, and one loud stream beside many calm ones.

Only ratios and differences within one run are judged, with room for a busy machine; what they are on a quiet one is in
docs/performance.md. `tox -e bench` runs all of it, the suite one short round.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
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


HELD = 500  # streams, each of two seconds, one after the other
LIFE = 12  # seconds of a credential, which is renewed from its half on: every six seconds, ten times as often as each minute
_RENEWED = """
  - {model: renewed/*, provider_interface: openai, apis: [chat_completions], base_url: UPSTREAM, gcp: {credentials_file: "FILE"}}
"""


def _late(port: int, model: str) -> float:
    """The longest that any delta was on its way in a run of HELD streams, in ms."""
    words, seconds = 40, 30.0
    request = load.target(load.Plan(f"http://127.0.0.1:{port}", "chat", model, rate=20.0, words=words)).request
    asked = drain.Asked(port, request, words, shapes.WIRES["chat"].terminal, paced=True)
    found = drain.Drain(asked, HELD).run(seconds, 2.0, 60)
    assert not found.errors, found.errors
    return max(found.added) / 1e3


@pytest.mark.skipif(not FULL, reason="tox -e bench measures it: minutes of 500 streams")
@pytest.mark.timeout(600)
def test_the_renewal_of_a_credential_delays_no_delta(upstream: int, tmp_path: Path) -> None:
    """By more than 20 ms, and no request fails. The same load at an entry with a key, in turns; of each the quietest run counts."""
    pytest.importorskip("google.auth")
    found: dict[str, list[float]] = {"chat/load": [], "renewed/load": []}
    with clouds.Tokens(LIFE) as tokens:
        entries = _RENEWED.replace("FILE", str(clouds.service_account(tmp_path, tokens)))
        with servers.under_test("dragoman", upstream, 0, entries=entries) as process:
            for model in [*found] * RUNS:
                found[model].append(_late(process.port, model))
        renewals = len(tokens.asked)
    alone, renewed = map(min, found.values())
    print(
        f"{HELD} streams at 20/s: the latest delta {alone:.1f} ms, beside a credential that is renewed {renewed:.1f} ms ({renewals} times)"
    )
    assert renewals >= 4 * RUNS
    assert renewed - alone < 20


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
