"""The gateway under test, as a process with workers: its configuration, its log, its metrics, and what each of its processes holds."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson
from prometheus_client.parser import text_string_to_metric_families

from dragoman.codecs import errors
from dragoman.proxy.memory.stores import Away

from ..attack.servers import Server
from ..conftest import Running, free_port
from .provider import Provider

WORKERS = 2


def _names(kind: type[errors.GatewayError]) -> set[str]:
    """As the log has them, of a kind of error and of those that are of its kind."""
    return {kind.__name__.lower()}.union(*map(_names, kind.__subclasses__()))


_NOT_OF_UPSTREAMS = set().union(*map(_names, (errors.ClientFault, errors.Unconfigured, errors.LocalBug, Away)))
_LISTENS = (b"model ", b"models ", b"admin ")  # what `serve` says at its start
_ENTRY = '  - {{model: "{model}", name: "{name}", provider_interface: {dialect}, base_url: "http://127.0.0.1:{port}/v1", {more}}}'


def configuration(provider: Provider, server: Server, ports: dict[str, int], folder: Path, chance: random.Random) -> str:
    """A configuration, a little different each time. ports: model, tls, admin."""
    timeouts = f"timeouts: {{connect: 1s, first_byte: {chance.choice(('1s', '2s'))}, idle: {chance.choice(('1s', '2s'))}}}"
    policy = f"retry_policy: {{max_attempts: {chance.randint(1, 3)}, backoff: {{base: 5ms, max: {chance.choice(('20ms', '1s'))}}}}}"
    apis = {"chat": "chat_completions", "messages": "messages", "responses": "responses"}

    def entry(model: str, shape: str, port: int = provider.port, name: str = "", more: str = "") -> str:
        dialect = "anthropic" if shape == "messages" else "openai"
        rest = f"access_key: k, apis: [{apis[shape]}], {timeouts}, capabilities: {{r.stateful: {str(shape == 'responses').lower()}}}{more}"
        return _ENTRY.format(model=model, name=name or f"{model} {shape}", port=port, dialect=dialect, more=rest)

    pool = ["chat", "messages", "responses"]
    chance.shuffle(pool)
    entries = [entry(f"{shape}/*", shape, name=f"{shape}/*", more=f", {policy}" if chance.random() < 0.5 else "") for shape in apis]
    entries.append(entry("pool/m", "chat", provider.closed_port, "closed"))
    entries.append(entry("pool/m", "chat", provider.rude_port, "rude"))
    entries += [entry("pool/m", shape, more=f", {policy}") for shape in pool]
    entries += [entry("weighed/m", shape, name=f"weighed {shape}", more=f", weight: {chance.randint(1, 5)}") for shape in apis]
    entries.append(entry("nowhere/m", "chat", provider.closed_port, more=", retry_policy: {fallback_models: [chat/m]}"))
    key = {"redis": "url", "postgres": "connection_string"}[server.kind]
    return "\n".join(
        [
            "listeners:",
            f"  - {{type: model, address: 127.0.0.1, port: {ports['model']}, timeout: {chance.choice(('30s', '60s'))}}}",
            f"  - {{type: model, name: tls, address: 127.0.0.1, port: {ports['tls']},"
            f" tls: {{cert: {folder}/soak.pem, key: {folder}/soak-key.pem}}}}",
            f"  - {{type: admin, port: {ports['admin']}}}",
            "model_providers:",
            *entries,
            "access_keys:",
            "  - {key: alice-key, name: alice}",
            f"  - {{key: limited-key, name: limited, requests_per_minute: {chance.randint(10**5, 10**6)}, tokens_per_minute: 1000000000}}",
            f'state_storage: {{type: {server.kind}, {key}: "{server.url}", timeout: 2s, ttl: 10m}}',
            f"limits: {{max_answer: 2MB, client_stall: {chance.choice(('3s', '20s'))}}}",
            f"keep_alive: {{stream: {chance.choice(('200ms', '15s'))}, begin_after: {chance.choice(('300ms', '20s'))}}}",
            'prices: {"*": {input: 1, output: 2}}',
        ]
    )


@dataclass
class Counts:
    """What the log, or the metrics, say of all requests together."""

    statuses: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)

    def __sub__(self, other: Counts) -> dict[str, float]:
        """Where the two differ."""
        found = {}
        for name, mine, theirs in (("status ", self.statuses, other.statuses), ("", self.sums, other.sums)):
            found |= {name + key: mine[key] - theirs[key] for key in {*mine, *theirs} if mine[key] != theirs[key]}
        return found


class Soaked:
    """lines: counted from the log. others: what the processes themselves said, by level and text."""

    def __init__(self, config: str, ports: dict[str, int], folder: Path) -> None:
        self.ports, self.file = ports, folder / "soak.yaml"
        self.file.write_text(config)
        self.log_file = folder / "soak.log"
        self._writes, self._reads = self.log_file.open("ab"), self.log_file.open("rb")
        self._rest = b""
        self.lines = Counts()
        self.others: Counter[tuple[str, str]] = Counter()
        arguments = [str(self.file), "--workers", str(WORKERS)]
        self.running = Running(arguments, ports["model"], start_new_session=True, stderr=self._writes)
        self.pid = self.running.process.pid

    def close(self) -> None:
        self.running.close()
        self._writes.close()
        self._reads.close()

    # ---- the log ----

    def read(self) -> list[dict[str, Any]]:
        """The lines of requests that came since the last time."""
        *lines, self._rest = (self._rest + self._reads.read()).split(b"\n")
        found = []
        for line in lines:
            if line.startswith(_LISTENS):
                continue
            value = orjson.loads(line)
            if "logger" in value:
                assert "traceback" not in value, value["traceback"]
                assert "Traceback" not in value["message"], value["message"]
                self.others[value["level"], value["message"]] += 1
            else:
                self._count(value)
                found.append(value)
        return found

    def _count(self, line: dict[str, Any]) -> None:
        self.lines.statuses[str(line["status"])] += 1
        tokens, tried = line.get("tokens", {}), line.get("tried", [])
        for name, count in (
            ("input", tokens.get("input", 0)),
            ("output", tokens.get("output", 0)),
            ("left", line.get("client_left", False)),
            ("further", line.get("attempts", 1) - 1),
        ):
            self.lines.sums[name] += count
        for one in tried:
            _, failed, kind = one.partition("; failed, ")
            if failed and (kind := kind.partition(":")[0]) not in _NOT_OF_UPSTREAMS:
                self.lines.sums["failed: " + kind] += 1

    # ---- the metrics ----

    def metrics(self) -> tuple[Counts, float]:
        """The same counts, and how many streams are open."""
        with urlopen(f"http://127.0.0.1:{self.ports['admin']}/metrics", timeout=30) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        samples = [sample for family in families for sample in family.samples]
        found, streams = Counts(), 0.0
        names = {"client_disconnects": "left", "retries": "further", "fallbacks": "further"}
        for sample in samples:
            name = sample.name.removeprefix("dragoman_").removesuffix("_total")
            if name == "requests":
                found.statuses[sample.labels["status"]] += int(sample.value)
            elif name == "tokens" and sample.labels["kind"] in ("input", "output"):
                found.sums[sample.labels["kind"]] += int(sample.value)
            elif name in names:
                found.sums[names[name]] += int(sample.value)
            elif name == "upstream_errors":
                found.sums["failed: " + sample.labels["kind"]] += int(sample.value)
            elif name == "streams_open":
                streams += sample.value
            elif name == "log_lines_dropped":
                assert not sample.value
        return found, streams

    # ---- the processes ----

    def children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def held(self) -> dict[int, tuple[float, int]]:
        """Resident MB and open descriptors of each process."""
        page = os.sysconf("SC_PAGE_SIZE") / 2**20
        return {
            pid: (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page, len(os.listdir(f"/proc/{pid}/fd")))
            for pid in (self.pid, *self.children())
        }

    def reload(self, config: str) -> None:
        self.file.write_text(config)
        self.running.process.send_signal(signal.SIGHUP)


def free_ports() -> dict[str, int]:
    return {name: free_port() for name in ("model", "tls", "admin")}


def alive(pid: int) -> bool:
    """Until its parent has buried it: before that one of its threads may still hold its sockets."""
    return Path(f"/proc/{pid}").exists()
