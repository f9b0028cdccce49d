"""What is measured, and how one measurement is made."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from dragoman.codecs.registry import SHAPES
from dragoman.proxy.load import run as load
from dragoman.proxy.load import shapes as load_shapes
from dragoman.proxy.wire import http1

from ..gateway.sockets import upgrade
from ..proxy import frames_corpus
from . import agents, drain, servers, shapes

PATIENCE = 30.0  # seconds beyond a workload's own time


@dataclass(frozen=True)
class Workload:
    """upstream and client: shapes. words: of each answer. rate: words a second and stream; None: as fast as they come.

    seconds: how long answers follow each other; None: one a connection. size: bytes of conversation in each request. rounds: of an
    agent's history in it; thinks: with its thoughts. beside: how many such requests a second, translated, are made beside it.
    websocket: each connection is one, and its requests are messages.
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
    rounds: int = 0
    thinks: bool = False
    beside: int = 0
    websocket: bool = False

    @property
    def per(self) -> str:
        return "delta" if self.stream and not self.rounds else "answer"


def _direction(upstream: str, client: str) -> Workload:
    return Workload(f"{upstream} → {client}, unpaced, 16 streams", upstream, client)


def _paced(count: int, client: str = "chat", upstream: str = "chat", websocket: bool = False) -> Workload:
    title = f"{upstream} → {client}{' over WebSockets' if websocket else ''}, {count:,} streams at 20/s"
    return Workload(title, upstream, client, words=100, rate=20.0, connections=count, seconds=None, websocket=websocket)


def _agents(upstream: str, client: str, rounds: int = 120, thinks: bool = False) -> Workload:
    title = f"agent's turn of {rounds} rounds{' with thoughts' if thinks else ''}, {upstream} → {client}, 2 at once"
    return Workload(title, upstream, client, words=50, connections=2, rounds=rounds, thinks=thinks)


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
    "paced-responses": _paced(1000, "responses"),
    "paced-responses-ws": _paced(1000, "responses", websocket=True),
    "paced-carried": _paced(1000, "responses", "responses"),
    "paced-carried-ws": _paced(1000, "responses", "responses", websocket=True),
    "paced-2000": _paced(2000),
    "paced-4000": _paced(4000),
    "body": Workload("chat → chat, 1 MB bodies, 4 at once", stream=False, words=20, connections=4, size=1 << 20),
    "body-messages": Workload("chat → messages, 1 MB bodies, 4 at once", "chat", "messages", False, 20, None, 4, size=1 << 20),
    "agent-chat": _agents("chat", "chat"),
    "agent-messages": _agents("messages", "messages"),
    "agent-messages-over-chat": _agents("chat", "messages"),
    "agent-responses-over-chat": _agents("chat", "responses"),
    "agent-chat-over-messages": _agents("messages", "chat"),
    "agent-thinking-over-chat": _agents("chat", "messages", 200, thinks=True),
    "agents-open": replace(
        _agents("chat", "messages", 170), title="a hundred agents' streams with 1 MB each", connections=100, rate=5.0, seconds=None
    ),
    "calm": replace(_paced(200), title="200 calm streams at 20/s"),
    "calm-beside-agents": replace(_paced(200), title="200 calm streams at 20/s beside ten agents' turns a second", beside=10),
}


@dataclass
class Measured:
    """One run. us: of CPU for each delta, or for each answer. Latencies in milliseconds. kb: memory for each stream."""

    us: float
    answers_per_s: float
    words_per_s: float
    busy: float  # share of a core
    first_ms: tuple[float, float] | None
    added_ms: tuple[float, float] | None
    late: float | None  # share of deltas that came over 100 ms late
    mb: float
    kb: float
    units: float | None = None  # of an agent's turn: its CPU beside that to parse and write its JSON
    errors: dict[str, int] = field(default_factory=dict)


def _asked(workload: Workload, under: servers.Under) -> drain.Asked:
    model = f"{workload.upstream}/load" if under.translates else "load"
    if workload.rounds:
        return _agent(workload, under.port, model)
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
    asked = drain.Asked(under.port, load.target(plan).request, workload.words, terminal, paced=workload.rate is not None)
    return _over_websocket(asked) if workload.websocket else asked


def _over_websocket(asked: drain.Asked) -> drain.Asked:
    """The same, as a message whose response is kept by the connection alone."""
    body = orjson.loads(asked.request.partition(b"\r\n\r\n")[2])
    message = orjson.dumps({"type": "response.create", "store": False} | body)
    return replace(asked, request=frames_corpus.text(message), upgrade=upgrade())


def _agent(workload: Workload, port: int, model: str) -> drain.Asked:
    shape = SHAPES[workload.client]
    ask = load_shapes.prompt(workload.words, workload.rate)
    body = agents.body("thinking" if workload.thinks else shape.name, model, workload.rounds, ask)
    head = http1.request_head("POST", f"/v1{shape.path}", f"127.0.0.1:{port}", [("Content-Type", "application/json")], len(body))
    terminal = shapes.WIRES[shape.name].terminal
    return drain.Asked(port, head + body, workload.words, terminal, paced=workload.rate is not None, body=len(head))


@contextmanager
def _beside(workload: Workload, under: servers.Under) -> Iterator[None]:
    """So many agents' turns a second, one after the other."""
    if not workload.beside:
        yield
        return
    turn, over = _agent(_agents("chat", "messages"), under.port, "chat/load"), threading.Event()

    def ask() -> None:
        while not over.wait(1 / workload.beside):
            drain.Drain(turn, 1).run(None, 0.0, PATIENCE)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


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
    with _beside(workload, under):
        found = drain.Drain(asked, workload.connections).run(workload.seconds, ramp, own + ramp + PATIENCE)
    cpu = servers.cpu_seconds(under.pid) - cpu
    mb = peak.stop()
    one = _measured(workload, found, cpu, mb, before)
    return replace(one, units=one.us / agents.unit(asked.request[asked.body :])) if workload.rounds else one


@dataclass
class Steady:
    """Paced streams while all of them run. us: of CPU for each delta; kb: of memory for each stream."""

    us: float
    kb: float
    errors: dict[str, int]


def steady(workload: Workload, under: servers.Under, ramp: float = 2.0) -> Steady:
    """One run after a short one that warms: what beginnings and ends cost counts for none. ramp: seconds in which the streams begin."""
    assert workload.rate is not None
    drain.Drain(_asked(replace(workload, words=20), under), 50).run(None, 0.1, PATIENCE)
    drained, samples, over = drain.Drain(_asked(workload, under), workload.connections), [], threading.Event()
    own, begun, before = workload.words / workload.rate, time.monotonic(), servers.memory_mb(under.pid)

    def look() -> None:
        while not over.wait(0.25):
            if ramp + 1 < time.monotonic() - begun < own - 0.5:
                samples.append((servers.cpu_seconds(under.pid), len(drained.found.added), servers.memory_mb(under.pid)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    found = drained.run(None, ramp, own + ramp + PATIENCE)
    over.set()
    thread.join()
    (cpu, words, _), (cpu_then, words_then, mb) = samples[0], samples[-1]
    return Steady((cpu_then - cpu) * 1e6 / (words_then - words), (mb - before) * 1024 / workload.connections, dict(found.errors))


def _measured(workload: Workload, found: drain.Found, cpu: float, mb: float, before: float) -> Measured:
    count = found.words if workload.per == "delta" else found.answers
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
