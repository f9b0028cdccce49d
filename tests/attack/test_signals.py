"""Signals: to the whole process group, twice, too early, while a certificate is half renewed; and what the callers hear of it."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import Running, free_port
from ..gateway.spoken import ASKED, PATHS, SHAPES, SPEECH
from ..gateway.test_life import READY, STREAM, WHOLE, Held, begun, children, configured, file_of, until
from ..gateway.wire import Wire, ask, request
from ..scripted import Gate, Provider, Request, Step, chunk, stream_head, wait
from .conftest import Serve, certify

ENDED = b"0\r\n\r\n"
WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def provider(held: Held) -> Iterator[Provider]:
    with Provider(held) as running:
        yield running


def rest(wire: Wire) -> tuple[bytes, bool]:
    """Everything that still comes, and whether the connection ended in a reset."""
    found = wire._buffer
    while True:
        try:
            data = wire.sock.recv(65536)
        except ConnectionResetError:
            return found, True
        if not data:
            return found, False
        found += data


# ---- one signal to the group ----


@WORKERS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_counts_once(
    serve: Serve, provider: Provider, held: Held, workers: str, number: signal.Signals
) -> None:
    gateway = serve(configured(provider), "--workers", workers)
    with begun(gateway) as wire:
        os.killpg(gateway.process.pid, number)
        until(lambda: "draining" in gateway.log())
        held.gate.open()
        wire.until(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert gateway.process.wait(10) == 0


def test_a_signal_to_a_worker_is_not_obeyed(serve: Serve, provider: Provider, held: Held) -> None:
    gateway = serve(configured(provider), "--workers", "2")
    until(lambda: len(children(gateway)) == 2)
    with begun(gateway) as wire:
        for pid in children(gateway):
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGHUP)
        held.gate.open()
        wire.until(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    gateway.stop()
    assert "starting another" not in gateway.log()


# ---- a second signal ----

UPSTREAMS = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
model_providers:
  - {model: "chat/m", base_url: "UPSTREAM/v1", access_key: k, provider_interface: openai, apis: [chat_completions]}
"""


def speaking(gate: Gate) -> object:
    """A provider whose answers, events or bytes, stop in the middle."""

    def script(asked: Request) -> Iterator[Step]:
        yield stream_head(**{} if asked.json.get("stream") else {"content_type": "audio/mpeg"})
        yield from map(chunk, [*SPEECH["chat"].opening, *SPEECH["chat"].words] if asked.json.get("stream") else [b"sound"])
        yield wait(gate)

    return script


CALLS = {
    "chat": (PATHS["chat"], ASKED["chat"] | {"stream": True}, b" world"),
    "messages": (PATHS["messages"], ASKED["messages"] | {"stream": True}, b" world"),
    "responses": (PATHS["responses"], ASKED["responses"] | {"stream": True, "store": False}, b" world"),
    "audio": ("/v1/audio/speech", {"input": "Hi"}, b"sound"),
}


@WORKERS
@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)])
def test_a_second_signal_ends_no_answer_as_if_it_were_whole(serve: Serve, workers: str, signals: tuple[int, int]) -> None:
    with Provider(speaking(Gate())) as provider:  # type: ignore[arg-type]
        gateway = serve(UPSTREAMS.replace("UPSTREAM", provider.url), "--workers", workers)
        wires = []
        for path, body, mark in CALLS.values():
            wires.append(Wire(gateway.port))
            wires[-1].send(request(path, {"model": "chat/m", **body}))
            wires[-1].until(mark)
        wires.append(Wire(gateway.port))  # its answer ends with the connection: only a reset tells that it is cut
        wires[-1].send(request(PATHS["chat"], {"model": "chat/m", **CALLS["chat"][1]}).replace(b"HTTP/1.1", b"HTTP/1.0"))
        wires[-1].until(b" world")
        for number in signals:
            gateway.process.send_signal(number)
            until(lambda: "draining" in gateway.log())
        for wire in wires:
            found, reset = rest(wire)
            assert ENDED not in found
            assert reset
            wire.sock.close()
        assert gateway.process.wait(10) == 1
        assert "traceback" not in gateway.log().lower()


# ---- the end of the time ----


@pytest.fixture
def silent() -> Iterator[Provider]:
    """Of each shape, a stream that stops after its words; and no answer at all where none is streamed."""
    gate = Gate()

    def script(asked: Request) -> Iterator[Step]:
        speech = SPEECH["chat"]
        if asked.json.get("stream"):
            yield stream_head()
            yield from map(chunk, [*speech.opening, *speech.words])
        yield wait(gate)

    with Provider(script) as provider:
        yield provider


FAILURE = {"chat": b'data: {"error"', "messages": b"event: error\n", "responses": b"event: response.failed\n"}


@WORKERS
@pytest.mark.parametrize("shape", SHAPES)
def test_streams_hear_of_their_end_before_their_connections_close(serve: Serve, silent: Provider, workers: str, shape: str) -> None:
    gateway = serve(configured(silent) + "drain: {timeout: 200ms}\n", "--workers", workers)
    with Wire(gateway.port) as streamed, Wire(gateway.port) as whole:
        streamed.send(request(PATHS[shape], {"model": "up/m", **ASKED[shape], "stream": True}))
        streamed.until(b" world")
        whole.send(request(PATHS[shape], {"model": "up/m", **ASKED[shape]}))
        silent.wait_for(lambda: len(silent.requests) == 2)
        gateway.process.send_signal(signal.SIGTERM)
        found, reset = rest(streamed)
        assert FAILURE[shape] in found
        assert found.endswith(ENDED)
        assert not reset
        refused = whole.answer()
        assert refused.status == (529 if shape == "messages" else 503)
        assert refused.headers["retry-after"] == "1"
    assert gateway.process.wait(10) == 0
    assert gateway.log().count('"error":"overloaded"') == 2


def test_the_log_counts_what_is_aborted_once(serve: Serve, silent: Provider) -> None:
    """The process of the admin listeners waits for the workers; it has no requests of its own to abort."""
    text = configured(silent).replace("port: PORT}]", "port: PORT}, {type: admin, port: 0}]")
    gateway = serve(text + "drain: {timeout: 200ms}\n", "--workers", "2")
    with begun(gateway):
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(10) == 0
    assert re.findall(r"(\d+) requests are aborted", gateway.log()) == ["1"]


def test_while_the_delay_lasts_everything_is_served(serve: Serve, provider: Provider, held: Held) -> None:
    """Only /readyz says that the end is near."""
    gateway = serve(configured(provider) + "drain: {delay: 1h}\n")
    with Wire(gateway.port) as kept:
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: ask(gateway.port, READY).status == 503)
        for _ in range(2):
            kept.send(request(PATHS["chat"], WHOLE))
            assert kept.answer().status == 200
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(10) == 1


# ---- SIGHUP ----


def holds_back(pid: int, number: int) -> bool:
    """Whether the process has blocked the signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    blocked = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")), 16)
    return bool(blocked >> (number - 1) & 1)


class Early(Running):
    """A gateway that gets SIGHUP as soon as its own code runs."""

    def _await_ready(self) -> None:
        until(lambda: self.process.poll() is not None or holds_back(self.process.pid, signal.SIGHUP))
        self.process.send_signal(signal.SIGHUP)
        super()._await_ready()


@WORKERS
def test_a_reload_during_the_start_is_obeyed_afterwards(tmp_path: Path, provider: Provider, workers: str) -> None:
    port, file = free_port(), tmp_path / "early.yaml"
    file.write_text(configured(provider).replace("PORT", str(port)))
    gateway = Early([str(file), "--workers", workers], port)
    try:
        until(lambda: gateway.log().count("configuration reloaded") == int(workers))
        gateway.stop()
    finally:
        gateway.close()


def shown(port: int) -> bytes:
    """The certificate that a listener shows."""
    context = ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", port)) as sock, context.wrap_socket(sock) as secure:
        return secure.getpeercert(binary_form=True) or b""


@WORKERS
def test_a_half_renewed_certificate_changes_nothing(tmp_path: Path, serve: Serve, provider: Provider, workers: str) -> None:
    old, new = certify(tmp_path, "old"), certify(tmp_path, "new")
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    for file, source in zip(files, old, strict=True):
        file.write_bytes(source.read_bytes())
    port = free_port()
    tls = f"listeners: [{{type: model, address: 127.0.0.1, port: {port}}}, {{type: model, address: 127.0.0.1, port: TLS, "
    tls += f"tls: {{cert: {files[0]}, key: {files[1]}}}}}]"
    secure = free_port()
    config = configured(provider).replace("listeners: [{type: model, address: 127.0.0.1, port: PORT}]", tls.replace("TLS", str(secure)))
    gateway = serve(config, "--workers", workers, port=port)
    file_of(gateway).write_text(file_of(gateway).read_text().replace("up/m", "up/new"))
    was = ssl.PEM_cert_to_DER_cert(old[0].read_text())
    files[0].write_bytes(new[0].read_bytes())
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: gateway.log().count("the configuration was not changed") == int(workers))
    assert str(files[0]) in gateway.log()
    assert shown(secure) == was
    assert ask(port, request(PATHS["chat"], WHOLE)).status == 200  # the file was not taken over either
    if workers == "2":  # who replaces a dead one has what is in force
        before = children(gateway)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(set(children(gateway)) - set(before)) == 2)
        assert shown(secure) == was
    files[1].write_bytes(new[1].read_bytes())
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: gateway.log().count("configuration reloaded") == int(workers))
    assert shown(secure) == ssl.PEM_cert_to_DER_cert(new[0].read_text())
    gateway.stop()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("state_storage: {type: memory, max_entries: 5}", "state_storage has changed"),
        ("tracing: {random_sampling: 5}", "tracing has changed"),
    ],
)
def test_what_waits_for_a_restart_is_named(serve: Serve, provider: Provider, more: str, named: str) -> None:
    gateway = serve(configured(provider))
    file = file_of(gateway)
    file.write_text(f"{file.read_text()}\n{more}\n")
    for count in (1, 2):  # every time, as long as it is so
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda count=count: gateway.log().count("configuration reloaded") == count)
        assert gateway.log().count(named) == count
    gateway.stop()


def test_each_listener_has_its_own_timeout(serve: Serve, silent: Provider) -> None:
    """Also after a reload that changes one of them."""
    other = free_port()
    listeners = (
        f"listeners: [{{type: model, address: 127.0.0.1, port: PORT}}, {{type: model, address: 127.0.0.1, port: {other}, timeout: 100ms}}]"
    )
    gateway = serve(configured(silent).replace("listeners: [{type: model, address: 127.0.0.1, port: PORT}]", listeners))
    with Wire(gateway.port) as patient:
        patient.send(request(PATHS["chat"], STREAM))
        patient.until(b" world")
        assert ask(other, request(PATHS["chat"], WHOLE)).status == 504
        assert ask(other, request(PATHS["chat"], WHOLE)).status == 504
        file_of(gateway).write_text(file_of(gateway).read_text().replace(f"port: {gateway.port}", f"port: {gateway.port}, timeout: 100ms"))
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: "configuration reloaded" in gateway.log())
        assert "listener" not in gateway.log().split("models ")[1].split("reloaded")[0].replace("Listener", "")
        assert ask(gateway.port, request(PATHS["chat"], WHOLE)).status == 504
        assert patient.sock.gettimeout()  # what began without a timeout goes on
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(10) == 0
