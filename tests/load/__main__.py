"""Measures the gateway, a plain Tornado relay and (where it is installed) nginx under the same load.

    python -m tests.load [--under dragoman,relay,nginx] [--workloads whole,stream,…] [--runs N] [--json FILE]

CPU time is the figure to compare: the process's own, from /proc, for each text delta or each whole answer. What is measured runs on
core 0, the provider and the client on core 1. Each run lasts some seconds; the table has the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from dragoman.proxy.process import loops

from . import servers
from .workloads import WORKLOADS, Measured, Start, Workload, measure, median, start

CORE_UNDER, CORE_LOAD = 0, 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--under",
        default=",".join(servers.NAMES),
        help="what is measured (%(default)s); dragoman-xN has N workers, dragoman-silent no metrics and no log, dragoman-traced traces",
    )
    parser.add_argument("--workloads", default=",".join([*WORKLOADS, "start"]), help="%(default)s")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def _run(name: str, upstream: int, wanted: list[str], runs: int) -> Iterator[tuple[str, Measured | Start]]:
    if "start" in wanted:
        starts = [start(name, upstream, CORE_UNDER) for _ in range(runs)]
        yield "start", sorted(starts, key=lambda one: one.seconds)[len(starts) // 2]
    core = None if name.startswith("dragoman-x") else CORE_UNDER
    with servers.under_test(name, upstream, core) as under:
        for key in (key for key in wanted if key != "start"):
            workload = WORKLOADS[key]
            if not under.translates and workload.upstream != workload.client:
                continue
            yield key, median([measure(workload, under) for _ in range(runs)])


def _pair(value: tuple[float, float] | None) -> str:
    return f"{value[0]:,.1f} / {value[1]:,.1f}" if value else ""


def rows(workload: Workload, found: dict[str, Measured]) -> Iterator[str]:
    """A workload's table."""
    yield f"\n**{workload.title}**\n"
    per = workload.per
    yield f"| | µs a {per} | of a core | {per}s/s | first ms p50/p99 | added ms p50/p99 | MB | kB a stream | × JSON | errors |"
    yield "|---" * 10 + "|"
    for name, one in found.items():
        pace = one.words_per_s if workload.per == "delta" else one.answers_per_s
        cells = [f"{one.us:,.2f}" if workload.per == "delta" else f"{one.us:,.0f}", f"{one.busy:.2f}", f"{pace:,.0f}", _pair(one.first_ms)]
        cells += [_pair(one.added_ms), f"{one.mb:,.0f}", f"{one.kb:,.0f}"]
        cells += [f"{one.units:.2f}" if one.units else "", str(one.errors or 0)]
        yield f"| {name} | {' | '.join(cells)} |"


def start_rows(found: dict[str, Start]) -> Iterator[str]:
    yield "\n**start-up**\n"
    yield "| | s to the first answer | CPU s | MB at rest |"
    yield "|---|---|---|---|"
    for name, one in found.items():
        yield f"| {name} | {one.seconds:.2f} | {one.cpu:.2f} | {one.mb:.0f} |"


def main() -> int:
    given = arguments()
    loops.raise_file_limit()
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {CORE_LOAD})
    wanted = given.workloads.split(",")
    found: dict[str, dict[str, Any]] = {key: {} for key in wanted}
    with servers.provider() as (upstream, _):
        for name in given.under.split(","):
            try:
                for key, one in _run(name, upstream, wanted, given.runs):
                    found[key][name] = one
                    print(f"{name} {key}: {one}", file=sys.stderr, flush=True)
            except LookupError as error:
                print(f"{name}: {error}", file=sys.stderr)
    for key in wanted:
        for line in start_rows(found[key]) if key == "start" else rows(WORKLOADS[key], found[key]):
            print(line)
    if given.json:
        told = {key: {name: asdict(one) for name, one in by_name.items()} for key, by_name in found.items()}
        with open(given.json, "w") as file:
            json.dump(told, file, indent=2)
    return 1 if any(getattr(one, "errors", None) for by_name in found.values() for one in by_name.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
