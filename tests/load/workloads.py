"""What is measured, and how one measurement is made."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from dragoman.proxy.load import run as load

from . import drain, servers, shapes

PATIENCE = 30.0  # seconds beyond a workload's own time


@dataclass(frozen=True)
class Workload:
    """upstream and client: shapes. words: of each answer. rate: words a second and stream; None: as fast as they come.

    seconds: how long answers follow each other; None: one a connection. size: bytes of conversation in each request.
    """

    title: str
    upstream: str = "chat"
    client: str = "chat"
    stream: bool = True
    words: int = 200
    rate: float | None = None
    connections: int = 16
    seconds: float | None = 2.0
    size: int = 0

    @property
    def per(self) -> str:
        return "delta" if self.stream else "answer"


def _direction(upstream: str, client: str) -> Workload:
    return Workload(f"{upstream} → {client}, unpaced, 16 streams", upstream, client)


def _paced(count: int, client: str = "chat") -> Workload:
    title = f"chat → {client}, {count:,} streams at 20/s"
    return Workload(title, "chat", client, words=100, rate=20.0, connections=count, seconds=None)


WORKLOADS = {
    "whole": Workload("chat → chat, whole answers, 32 at once", stream=False, words=20, connections=32),
    "stream": _direction("chat", "chat"),
    "messages": _direction("messages", "messages"),
    "responses": _direction("responses", "responses"),
    "chat-messages": _direction("chat", "messages"),
    "chat-responses": _direction("chat", "responses"),
    "messages-chat": _direction("messages", "chat"),
    "messages-responses": _direction("messages", "responses"),
    "responses-chat": _direction("responses", "chat"),
    "responses-messages": _direction("responses", "messages"),
    "paced": _paced(1000),
    "paced-messages": _paced(1000, "messages"),
    "paced-2000": _paced(2000),
    "paced-4000": _paced(4000),
    "body": Workload("chat → chat, 1 MB bodies, 4 at once", stream=False, words=20, connections=4, size=1 << 20),
    "body-messages": Workload("chat → messages, 1 MB bodies, 4 at once", "chat", "messages", False, 20, None, 4, size=1 << 20),
}


@dataclass
class Measured:
    """One run. us: of CPU for each delta, or for each whole answer. Latencies in milliseconds. kb: memory for each stream."""

    us: float
    answers_per_s: float
    words_per_s: float
    busy: float  # share of a core
    first_ms: tuple[float, float] | None
    added_ms: tuple[float, float] | None
    late: float | None  # share of deltas that came over 100 ms late
    mb: float
    kb: float
    errors: dict[str, int] = field(default_factory=dict)


def _asked(workload: Workload, under: servers.Under) -> drain.Asked:
    model = f"{workload.upstream}/load" if under.translates else "load"
    plan = load.Plan(
        f"http://127.0.0.1:{under.port}",
        workload.client,
        model,
        rate=workload.rate,
        words=workload.words,
        size=workload.size,
        whole=not workload.stream,
    )
    terminal = shapes.WIRES[workload.client].terminal if workload.stream else b""
    return drain.Asked(under.port, load.target(plan).request, workload.words, terminal, paced=workload.rate is not None)


def _quantiles(micros: Any) -> tuple[float, float] | None:
    if len(micros) < 2:
        return None
    ordered = sorted(micros)
    return ordered[len(ordered) // 2] / 1e3, ordered[len(ordered) * 99 // 100] / 1e3


class _Peak(threading.Thread):
    """Looks at a process's memory now and then."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._over = pid, threading.Event()
        self.mb = servers.memory_mb(pid)

    def run(self) -> None:
        while not self._over.wait(0.5):
            self.mb = max(self.mb, servers.memory_mb(self._pid))

    def stop(self) -> float:
        self._over.set()
        self.join()
        return max(self.mb, servers.memory_mb(self._pid))


def measure(workload: Workload, under: servers.Under, warm: float = 0.5) -> Measured:
    """One run after a short one that warms. warm: its seconds."""
    asked = _asked(workload, under)
    if workload.seconds is not None:
        drain.Drain(asked, workload.connections).run(warm, timeout=PATIENCE)
    own = workload.words / workload.rate if workload.rate else workload.seconds or 0.0
    before, peak, cpu = servers.memory_mb(under.pid), _Peak(under.pid), servers.cpu_seconds(under.pid)
    peak.start()
    ramp = min(2.0, workload.connections / 1000) if workload.rate else 0.0
    found = drain.Drain(asked, workload.connections).run(workload.seconds, ramp, own + ramp + PATIENCE)
    cpu = servers.cpu_seconds(under.pid) - cpu
    mb = peak.stop()
    return _measured(workload, found, cpu, mb, before)


def _measured(workload: Workload, found: drain.Found, cpu: float, mb: float, before: float) -> Measured:
    count = found.words if workload.stream else found.answers
    late = sum(age > 100_000 for age in found.added) / len(found.added) if found.added else None
    return Measured(
        us=cpu * 1e6 / max(1, count),
        answers_per_s=found.answers / found.seconds,
        words_per_s=found.words / found.seconds,
        busy=cpu / found.seconds,
        first_ms=_quantiles(found.first),
        added_ms=_quantiles(found.added),
        late=late,
        mb=mb,
        kb=(mb - before) * 1024 / workload.connections,
        errors=dict(found.errors),
    )


def median(runs: list[Measured]) -> Measured:
    """Figure by figure; errors are added up."""

    def of(name: str) -> Any:
        values = [value for run in runs if (value := getattr(run, name)) is not None]
        if not values:
            return None
        if isinstance(values[0], tuple):
            return tuple(statistics.median(column) for column in zip(*values, strict=True))
        return statistics.median(values)

    errors: dict[str, int] = {}
    for run in runs:
        for kind, count in run.errors.items():
            errors[kind] = errors.get(kind, 0) + count
    names = [name for name in Measured.__dataclass_fields__ if name != "errors"]
    return Measured(**{name: of(name) for name in names}, errors=errors)


@dataclass
class Start:
    """seconds: from the command to the first answer. mb: of memory then, after a second of rest."""

    seconds: float
    cpu: float
    mb: float


def start(name: str, upstream: int, core: int | None) -> Start:
    begun = time.monotonic()
    with servers.under_test(name, upstream, core) as under:
        took, cpu = time.monotonic() - begun, servers.cpu_seconds(under.pid)
        time.sleep(1.0)
        return Start(took, cpu, servers.memory_mb(under.pid))
