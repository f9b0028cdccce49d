"""Many clients, clients that do not read, clients that leave: bounded memory, nobody delayed, nothing left behind.

DRAGOMAN_STORM=1 runs each at its full size; the suite runs smaller ones.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from dragoman.proxy.load import run as load

from ..conftest import Running, Start
from ..load import servers
from ..scripted import LAST_CHUNK, Connection, Provider, Request, Step, chunk, stream_head
from .spoken import APIS, PATHS, SHAPES, SPEECH
from .wire import Wire, request

pytestmark = pytest.mark.slow

FULL = bool(os.environ.get("DRAGOMAN_STORM"))
FLOOD = (256 if FULL else 48) << 20  # bytes
ABORTED = 2000 if FULL else 300
STREAMS = 4000 if FULL else 400

MIB = 1 << 20
CONFIG = "\n".join(
    [
        "listeners: [{type: model, address: 127.0.0.1, port: PORT}]",
        "model_providers:",
        *(f'  - {{model: "{shape}/*", base_url: "UPSTREAM/v1", access_key: k, apis: [{APIS[shape]}]}}' for shape in SHAPES),
    ]
)


def resident(gateway: Running) -> float:
    """MiB."""
    return servers.memory_mb(gateway.process.pid)


def descriptors(gateway: Running) -> int:
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def asked(client: str, upstream: str, model: str = "m") -> bytes:
    prompt = {"input": "Hi"} if client == "responses" else {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}
    return request(PATHS[client], {"model": f"{upstream}/{model}", "stream": True, **prompt})


def shape_of(asked: Request) -> str:
    return next(shape for shape in SHAPES if PATHS[shape] == asked.target)


def flood(asked: Request) -> Iterator[Step]:
    speech = SPEECH[shape_of(asked)]
    word = chunk(speech.word("x" * 60_000))
    yield stream_head()
    yield from map(chunk, speech.opening)
    for _ in range(FLOOD // len(word)):
        yield word
    yield from map(chunk, [*speech.words, *speech.ending])
    yield LAST_CHUNK


def settled(connection: Connection) -> bool:
    """Whether nothing was taken for a while."""
    before = connection.sent
    time.sleep(0.3)
    return connection.sent == before


@pytest.mark.parametrize(("client", "upstream"), [("chat", "chat"), ("responses", "messages"), ("messages", "responses")])
def test_a_client_that_does_not_read(start: Start, client: str, upstream: str) -> None:
    """The upstream is held back; when the client reads on, it gets everything."""
    with Provider(flood) as provider:
        gateway = start(CONFIG.replace("UPSTREAM", provider.url))
        with Wire(gateway.port) as warm:
            warm.send(asked(client, upstream))
            warm.until(b"xxxx")
        until(lambda: provider.connections[0].closed_by == "peer")
        before = resident(gateway)
        with Wire(gateway.port, receive_buffer=65536) as wire:
            wire.send(asked(client, upstream))
            until(lambda: len(provider.connections) > 1)
            until(lambda: settled(provider.connections[1]))
            assert provider.connections[1].sent < FLOOD / 2
            stalled = resident(gateway) - before
            assert stalled < 16
            taken = 0
            while taken < FLOOD - MIB:  # at most what is left in the buffer of this client was counted twice
                taken += len(wire.sock.recv(MIB))
            if client == upstream:  # else the whole text may be needed for the end of the answer
                assert resident(gateway) - before < 16
        print(f"{upstream} to {client}, one stalled client on {FLOOD >> 20} MiB: {stalled:.1f} MiB more")


def test_clients_that_do_not_read_delay_nobody(start: Start) -> None:
    """Healthy streams have a provider and a client in processes of their own; this one is busy with the others."""
    with Provider(flood) as provider, servers.provider() as (port, _):
        config = f'  - {{model: "healthy/*", base_url: "http://127.0.0.1:{port}", access_key: k, apis: [chat_completions]}}'
        gateway = start(CONFIG.replace("UPSTREAM", provider.url) + "\n" + config)

        def measured() -> subprocess.Popen[bytes]:
            options = ["--model", "healthy/load", "--streams", "5", "--rate", "20", "--seconds", "3", "--json"]
            command = [sys.executable, "-W", "ignore", "-m", "dragoman.proxy", "load", gateway.url, *options]
            return subprocess.Popen(command, stdout=subprocess.PIPE)

        def median(load: subprocess.Popen[bytes]) -> float:
            """Milliseconds that the gateway adds to a word."""
            found = orjson.loads(load.communicate(timeout=30)[0])
            assert not found["errors"]
            return float(found["added_latency_ms"]["p50"])

        quiet = median(measured())
        before = resident(gateway)
        healthy = measured()
        stalled = [Wire(gateway.port, receive_buffer=65536) for _ in range(100)]
        try:
            for number, wire in enumerate(stalled):
                wire.send(asked(SHAPES[number % 3], SHAPES[number // 3 % 3]))
            during = median(healthy)
            grown = resident(gateway) - before
        finally:
            for wire in stalled:
                wire.reset()
        until(lambda: all(connection.closed_by for connection in provider.connections))
        print(f"100 stalled clients: a word is {during:.2f} ms late, {quiet:.2f} without them; {grown / 100:.2f} MiB each")
        assert during - quiet < 50
        assert grown < 150


def test_streams_that_are_left(start: Start) -> None:
    """Many of them leave no descriptor and no memory."""

    def script(asked: Request) -> Iterator[Step]:
        speech = SPEECH[shape_of(asked)]
        yield stream_head()
        yield from map(chunk, [*speech.opening, *speech.words])
        yield lambda connection: connection.wait(None)

    with Provider(script) as provider:
        gateway = start(CONFIG.replace("UPSTREAM", provider.url))

        def storm(times: int) -> None:
            for begin in range(0, times, 50):
                wires = [Wire(gateway.port) for _ in range(50)]
                for number, wire in enumerate(wires, begin):
                    wire.send(asked(SHAPES[number % 3], SHAPES[number // 3 % 3]))
                for number, wire in enumerate(wires, begin):
                    if number % 5:
                        wire.until(b" world")
                    if number % 2:
                        wire.reset()
                    else:
                        wire.sock.close()
                until(lambda: all(connection.closed_by for connection in provider.connections))
                provider.connections.clear()

        storm(200)
        until(lambda: gateway.log().count('"client_left":true') == 200)
        before, memory = descriptors(gateway), resident(gateway)
        storm(ABORTED)
        until(lambda: gateway.log().count('"client_left":true') == 200 + ABORTED)
        until(lambda: descriptors(gateway) <= before)
        print(f"{ABORTED} aborted streams: {resident(gateway) - memory:.1f} MiB more, {descriptors(gateway) - before} descriptors more")
        assert resident(gateway) - memory < 10
        assert "traceback" not in gateway.log().lower()
        gateway.stop()


@pytest.mark.timeout(180)
def test_many_streams_at_once(start: Start) -> None:
    """Each at an event a second: no error, and so much memory each."""
    seconds = 20.0 if FULL else 4.0
    with servers.provider() as (upstream, _):
        gateway = start(CONFIG.replace("UPSTREAM", f"http://127.0.0.1:{upstream}"))
        plan = load.Plan(gateway.url, shape="chat", model="chat/load", streams=50, rate=10.0, seconds=1.0, words=5)
        asyncio.run(load.Load(plan).run())
        before, most = resident(gateway), 0.0

        async def main() -> dict[str, object]:
            nonlocal most
            plan = load.Plan(gateway.url, shape="chat", model="messages/load", streams=STREAMS, rate=1.0, seconds=seconds, words=60)
            running = asyncio.ensure_future(load.Load(plan).run())
            while not running.done():
                most = max(most, resident(gateway))
                await asyncio.wait([running], timeout=0.5)
            return running.result()

        found = asyncio.run(main())
        each = (most - before) * 1024 / STREAMS
        print(f"{STREAMS} streams at 1/s: {each:.1f} KiB each, {found['errors']}, added latency {found['added_latency_ms']}")
        assert not found["errors"]
        assert gateway.log().count('"status":200') >= 50
        assert each < 32 or not FULL
        assert Path(f"/proc/{gateway.process.pid}").exists()
