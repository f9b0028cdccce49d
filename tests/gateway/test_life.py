"""Start, reload and end of a gateway's processes: what is open ends well, and nothing waits for what will never come."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ..conftest import Running, Start
from ..scripted import LAST_CHUNK, Gate, Provider, Request, Step, chunk, respond, stream_head, until_closed, wait
from .spoken import PATHS, SHAPES, SPEECH
from .wire import Wire, ask, request

pytestmark = pytest.mark.slow

CONFIG = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
model_providers:
  - {model: "up/MODEL", base_url: "UPSTREAM/v1", access_key: k, apis: [chat_completions]}
"""
STREAM = {"model": "up/m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
WHOLE = {"model": "up/m", "messages": [{"role": "user", "content": "Hi"}]}
READY = request("/readyz", method="GET")


class Held:
    """A provider's script: a stream stops behind its content until the gate opens."""

    def __init__(self) -> None:
        self.gate = Gate()

    def __call__(self, asked: Request) -> Iterator[Step]:
        speech = SPEECH["chat"]
        if not asked.json.get("stream"):
            yield respond(speech.whole)
            return
        yield stream_head()
        yield from map(chunk, [*speech.opening, *speech.words])
        yield wait(self.gate)
        yield from map(chunk, speech.ending)
        yield LAST_CHUNK


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def provider(held: Held) -> Iterator[Provider]:
    with Provider(held) as running:
        yield running


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for what another process does and tells nobody."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def begun(gateway: Running) -> Wire:
    """A stream whose content has come."""
    wire = Wire(gateway.port)
    wire.send(request(PATHS["chat"], STREAM))
    assert wire.head()[0] == 200
    wire.until(b" world")
    return wire


def configured(provider: Provider, model: str = "m") -> str:
    return CONFIG.replace("UPSTREAM", provider.url).replace("MODEL", model)


def children(gateway: Running) -> list[int]:
    pid = gateway.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


# ---- the end ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_drain(start: Start, provider: Provider, held: Held, workers: str, number: signal.Signals) -> None:
    """Open streams end; meanwhile probes hear 503 and new requests are refused; then the exit code is 0."""
    gateway = start(configured(provider), "--workers", workers)
    with begun(gateway) as wire, Wire(gateway.port) as idle:
        idle.send(READY)
        assert idle.answer().status == 200
        gateway.process.send_signal(number)
        if workers == "1":  # of several, those without a stream have ended
            until(lambda: ask(gateway.port, READY).status == 503)
            for shape in SHAPES:
                refused = ask(gateway.port, request(PATHS[shape], WHOLE))
                assert refused.status == (529 if shape == "messages" else 503)
                assert refused.headers["retry-after"] == "1"
        held.gate.open()
        wire.until(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert gateway.process.wait(10) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_idle_connections_delay_nothing(start: Start, provider: Provider, workers: str) -> None:
    gateway = start(configured(provider), "--workers", workers)
    with Wire(gateway.port) as silent, Wire(gateway.port) as kept:
        kept.send(request(PATHS["chat"], WHOLE))
        assert kept.answer().status == 200
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(25) == 0  # the grace is longer
        assert "were cut" not in gateway.log()
        assert silent.closed()
        assert kept.closed()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_at_once(start: Start, provider: Provider, workers: str) -> None:
    gateway = start(configured(provider), "--workers", workers)
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: gateway.log().count("configuration reloaded") == int(workers))  # all have begun
    with begun(gateway) as wire:
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: gateway.log().count("draining") == int(workers))
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(25) == 1  # the grace is longer, and its end would be a 0
        with pytest.raises(EOFError):
            wire.until(b"[DONE]")


# ---- what is carried, and what is told from the store ----

SPEECH_REQUEST = {"model": "up/m", "input": "Hi", "voice": "a"}


def drains(gateway: Running) -> None:
    gateway.process.send_signal(signal.SIGTERM)
    until(lambda: ask(gateway.port, READY).status == 503)


def test_a_drain_waits_for_a_raw_answer(start: Start) -> None:
    gate = Gate()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Provider([head, chunk(b"first"), wait(gate), chunk(b"last"), LAST_CHUNK]) as provider:
        gateway = start(configured(provider))
        with Wire(gateway.port) as wire:
            wire.send(request("/v1/audio/speech", SPEECH_REQUEST))
            assert wire.head()[0] == 200
            wire.until(b"first")
            drains(gateway)
            assert ask(gateway.port, request("/v1/audio/speech", SPEECH_REQUEST)).status == 503
            gate.open()
            wire.until(b"last\r\n0\r\n\r\n")
            assert gateway.process.wait(10) == 0


def test_a_drain_waits_for_a_stored_stream(start: Start, provider: Provider, held: Held, tmp_path: Path) -> None:
    """The events of a background response that another gateway runs are sent to their end."""
    config = configured(provider).replace("model_providers", f'state_storage: {{type: sqlite, path: "{tmp_path}/state"}}\nmodel_providers')
    here, there = start(config), start(config)
    with Wire(here.port) as first, Wire(there.port) as wire:
        first.send(request("/v1/responses", {"model": "up/m", "input": "Hi", "background": True, "stream": True}))
        id = re.search(rb'"id":\s*"(resp_[0-9a-f]+)"', first.until(b"response.queued"))
        assert id is not None
        wire.send(request(f"/v1/responses/{id[1].decode()}?stream=true", method="GET"))
        assert wire.head()[0] == 200
        wire.until(b" world")
        drains(there)
        held.gate.open()
        wire.until(b"event: response.completed")
        wire.until(b"0\r\n\r\n")
        assert there.process.wait(10) == 0
        first.until(b"event: response.completed")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_drain_closes_websockets(start: Start, provider: Provider, held: Held, workers: str) -> None:
    """R20: the idle one at once, the other when its response has ended: both with 1012."""
    gateway = start(configured(provider), "--workers", workers)
    with (
        connect(f"ws://127.0.0.1:{gateway.port}/v1/responses") as idle,
        connect(f"ws://127.0.0.1:{gateway.port}/v1/responses") as busy,
    ):
        busy.send(json.dumps({"type": "response.create", "model": "up/m", "input": "Hi"}))
        while b" world" not in busy.recv(timeout=10, decode=False):
            pass
        gateway.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            idle.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        busy.send(json.dumps({"type": "response.create", "model": "up/m", "input": "Hi"}))
        refused = json.loads(busy.recv(timeout=10))
        assert (refused["type"], refused["status"]) == ("error", 503)
        held.gate.open()
        while b"response.completed" not in busy.recv(timeout=10, decode=False):
            pass
        with pytest.raises(ConnectionClosed) as closed:
            busy.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert gateway.process.wait(10) == 0


def test_a_second_signal_cuts_a_raw_answer(start: Start) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Provider([head, chunk(b"first"), until_closed]) as provider:
        gateway = start(configured(provider))
        with Wire(gateway.port) as wire:
            wire.send(request("/v1/audio/speech", SPEECH_REQUEST))
            wire.until(b"first")
            drains(gateway)
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(10) == 1
            with pytest.raises(EOFError):
                wire.until(b"0\r\n\r\n")


# ---- reload ----


def file_of(gateway: Running) -> Path:
    arguments = Path(f"/proc/{gateway.process.pid}/cmdline").read_bytes().split(b"\0")
    return Path(next(argument for argument in arguments if argument.endswith(b".yaml")).decode())


def serves(gateway: Running, model: str) -> bool:
    return ask(gateway.port, request(PATHS["chat"], WHOLE | {"model": f"up/{model}"})).status == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_reload(start: Start, provider: Provider, held: Held, workers: str) -> None:
    """New requests see the new configuration, open streams nothing of it."""
    gateway = start(configured(provider), "--workers", workers)
    file = file_of(gateway)
    with begun(gateway) as wire:
        file.write_text(file.read_text().replace("up/m", "up/new"))
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: gateway.log().count("configuration reloaded") == int(workers))
        assert serves(gateway, "new")
        assert not serves(gateway, "m")
        held.gate.open()
        wire.until(b"[DONE]")
    gateway.stop()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model_providers: [{model: up/new, base_url: 'http://x', acces_key: k}]", "acces_key"),
        ("model_providers: [", "not changed"),
        ("\x00", "not changed"),
        (b"a: \xff", "is not UTF-8 text"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("a: !!int ''", "not a valid YAML value"),
        (None, "not changed"),
    ],
    ids=["unknown-key", "no-yaml", "no-text", "no-unicode", "too-deep", "odd-tag", "no-file"],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bad_file_changes_nothing(
    start: Start, provider: Provider, held: Held, text: str | bytes | None, said: str, workers: str
) -> None:
    gateway = start(configured(provider), "--workers", workers)
    file = file_of(gateway)
    with begun(gateway) as wire:
        if text is None:
            file.unlink()
        else:
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: gateway.log().count("the configuration was not changed") == int(workers))
        held.gate.open()
        wire.until(b"[DONE]")
    assert said in gateway.log()
    assert "reloaded" not in gateway.log()
    assert "traceback" not in gateway.log().lower()
    assert serves(gateway, "m")
    gateway.stop()


# ---- several workers ----


def test_a_dead_worker_is_replaced(start: Start, provider: Provider) -> None:
    """By one with the configuration in force, although it is not the one of the start."""
    gateway = start(configured(provider), "--workers", "2")
    until(lambda: len(children(gateway)) == 2)
    file = file_of(gateway)
    file.write_text(file.read_text().replace("up/m", "up/new"))
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: gateway.log().count("configuration reloaded") == 2)
    before = children(gateway)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(children(gateway)) - set(before)) == 2)
    until(lambda: _answers(gateway))
    assert serves(gateway, "new")
    assert gateway.log().count("starting another") == 2
    gateway.stop()


def _answers(gateway: Running) -> bool:
    try:
        return ask(gateway.port, READY).status == 200
    except (OSError, EOFError):
        return False


def test_a_pause_before_a_restart_delays_no_signal(start: Start, provider: Provider) -> None:
    gateway = start(configured(provider), "--workers", "2")
    for _ in range(4):  # each one that dies young makes the pause longer
        until(lambda: children(gateway))
        pid = children(gateway)[0]
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: pid not in children(gateway))
    assert gateway.log().count("starting another") >= 3
    running = set(children(gateway))
    gateway.process.send_signal(signal.SIGTERM)
    while gateway.process.poll() is None:
        assert set(children(gateway)) <= running  # the next one is due in 2 s: nobody waits for it
    assert gateway.process.returncode == 0


def test_workers_end_with_their_parent(start: Start, provider: Provider) -> None:
    gateway = start(configured(provider), "--workers", "2")
    until(lambda: len(children(gateway)) == 2)
    workers = children(gateway)
    gateway.process.kill()
    until(lambda: all(map(ended, workers)))


def test_a_signal_at_any_time_of_the_start(start: Start, provider: Provider) -> None:
    """However young it is: it ends, and none of its workers stays."""
    for delay in (0.0, 0.05, 0.2):
        gateway = start(configured(provider), "--workers", "2")
        time.sleep(delay)
        workers = children(gateway)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(10) == 0
        until(lambda workers=workers: all(map(ended, workers)))
