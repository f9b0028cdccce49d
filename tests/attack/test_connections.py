"""Connections: who asks for nothing keeps nobody out, and an answer's end is always seen."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct

import orjson
import pytest

from dragoman.proxy.process import server
from dragoman.proxy.wire import inbound

from ..conftest import Start, free_port
from ..gateway.inside import CONFIG, Caller, Inside, inside, inside_once
from ..gateway.spoken import SPEECH
from ..gateway.wire import Wire, request
from ..scripted import LAST_CHUNK, Gate, Provider, chunk, respond, stream_head, tls_contexts, until_closed, wait

UNREACHABLE = CONFIG.replace("UPSTREAM", "http://127.0.0.1:9")
HEALTH = request("/healthz", method="GET")
SAID = SPEECH["chat"]

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture(scope="module")
def tls() -> Contexts:
    return tls_contexts()


async def served(caller: Caller) -> int:
    status, headers = await caller.head()
    await caller.body(headers)
    return status


async def gone(caller: Caller) -> bool:
    with contextlib.suppress(ConnectionResetError):
        return await caller.reader.read(1) == b""
    return True


IDLE = {
    "silent": b"",
    "kept-alive": HEALTH,
    "within-a-head": HEALTH[:20],
    "within-a-second-head": HEALTH + HEALTH[:20],
}


@pytest.mark.parametrize("name", IDLE)
@inside
async def test_the_longest_idle_makes_room(name: str) -> None:
    async with Inside(UNREACHABLE) as gateway, contextlib.AsyncExitStack() as all_of_them:
        gateway._acceptor._most = 3
        idle = []
        for number in range(3):
            caller = await all_of_them.enter_async_context(gateway.call(IDLE[name]))
            await gateway.until(lambda number=number: gateway.server.connections == number + 1)
            if HEALTH in IDLE[name]:
                assert await served(caller) == 200
            idle.append(caller)
            now = asyncio.get_running_loop().time()  # whose steps may be milliseconds: none of them is idle for as long as another
            await gateway.until(lambda now=now: asyncio.get_running_loop().time() > now)
        for caller in idle:
            late = await all_of_them.enter_async_context(gateway.call(HEALTH))
            assert await served(late) == 200
            assert await gone(caller)
            assert gateway.server.connections == 3


@inside_once
async def test_who_is_served_keeps_the_place() -> None:
    """However many silent ones come."""
    gate = Gate()
    with Provider([stream_head(), *map(chunk, [*SAID.opening, *SAID.words]), wait(gate), *map(chunk, SAID.ending), LAST_CHUNK]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.ask("chat", "chat/m", stream=True) as caller:
            gateway._acceptor._most = 2
            assert (await caller.head())[0] == 200
            async with gateway.call(request("/v1/chat/completions", b"{}")[:-1]) as slow:  # its body is being received
                await gateway.until(lambda: len(gateway.gateway.serving) == 2)
                async with gateway.call(HEALTH) as late:
                    await gateway.until(lambda: gateway._acceptor._full)
                    slow.leave()
                    assert await served(late) == 200
                for _ in range(5):
                    async with gateway.call(b""):
                        await gateway.until(lambda: gateway.server.connections == 2)
            gate.open()
            await caller.until(b"[DONE]")


@inside
async def test_a_half_finished_handshake_makes_room(tls: Contexts) -> None:
    async with Inside(UNREACHABLE, tls=tls) as gateway, contextlib.AsyncExitStack() as opened:
        gateway._acceptor._most = 2
        silent = [opened.enter_context(socket.create_connection(("127.0.0.1", gateway.port))) for _ in range(2)]
        silent[1].sendall(b"\x16\x03\x01")
        await gateway.until(lambda: gateway.server.connections == 2)
        async with gateway.call(HEALTH) as caller:
            assert await served(caller) == 200


@pytest.mark.parametrize("secure", [False, True])
@inside_once
async def test_a_first_request_has_a_heads_time(tls: Contexts, monkeypatch: pytest.MonkeyPatch, secure: bool) -> None:
    """A connection that has been served once may rest longer."""
    monkeypatch.setattr(server, "SWEEP", 0.02)
    monkeypatch.setattr(inbound, "HEAD_PATIENCE", 0.1)
    async with Inside(UNREACHABLE, tls=tls if secure else None) as gateway, gateway.call(HEALTH) as caller:
        assert await served(caller) == 200
        with socket.create_connection(("127.0.0.1", gateway.port)):
            await gateway.until(lambda: gateway.server.connections == 2)
            await gateway.until(lambda: gateway.server.connections == 1)
        caller.writer.write(HEALTH)
        assert await served(caller) == 200


@inside_once
async def test_a_body_that_stops_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SWEEP", 0.02)
    monkeypatch.setattr(inbound, "HEAD_PATIENCE", 0.1)
    async with Inside(UNREACHABLE) as gateway, gateway.call(request("/v1/chat/completions", b"{}")[:-1]) as caller:
        assert await gone(caller)
        assert gateway.idle


# ---- where an answer ends ----


@pytest.mark.parametrize("kept", [True, False])
@inside_once
async def test_an_old_client_sees_the_end_of_a_stream(kept: bool) -> None:
    """HTTP/1.0 knows no chunks: the end of the connection is the end of the answer, whatever it wished."""
    data = request("/v1/chat/completions", {"model": "chat/m", "messages": [], "stream": True}).replace(b"HTTP/1.1", b"HTTP/1.0")
    if kept:
        data = data.replace(b"Host: localhost", b"Host: localhost\r\nConnection: keep-alive")
    with Provider([stream_head(), *map(chunk, [*SAID.opening, *SAID.words, *SAID.ending]), LAST_CHUNK]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(data) as caller:
            status, headers = await caller.head()
            assert status == 200
            assert headers.get("connection", "close") == "close"
            assert "transfer-encoding" not in headers
            assert (await caller.reader.read()).endswith(b"data: [DONE]\n\n")


@inside_once
async def test_an_old_client_is_kept_where_the_length_is_told() -> None:
    data = HEALTH.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: localhost", b"Host: localhost\r\nConnection: Keep-Alive")
    async with Inside(UNREACHABLE) as gateway, gateway.call(data * 2) as caller:
        for _ in range(2):
            status, headers = await caller.head()
            assert (status, headers["connection"]) == (200, "Keep-Alive")
            await caller.body(headers)


@inside_once
async def test_pipelined_without_end() -> None:
    """What comes early waits in the kernel, not here."""
    gate = Gate()
    with Provider([stream_head(), *map(chunk, [*SAID.opening, *SAID.words]), wait(gate), *map(chunk, SAID.ending), LAST_CHUNK]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.ask("chat", "chat/m", stream=True) as caller:
            await caller.head()
            flood = asyncio.create_task(_flood(caller))
            (connection,) = gateway.server._connections
            await gateway.until(lambda: not connection.stream._reading)
            assert len(connection._reader.buffer) <= inbound.AHEAD + inbound.LITTLE
            gate.open()
            await caller.until(b"[DONE]")
            flood.cancel()


@inside_once
async def test_pipelined_behind_a_body() -> None:
    """A body is read in large pieces, and what follows it in little ones."""
    gate = Gate()
    body = orjson.dumps({"model": "chat/m", "messages": [{"role": "user", "content": "x" * 300_000}]})
    with Provider([wait(gate), respond({"choices": [], "usage": None})]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(request("/v1/chat/completions", body)[:-9]) as caller:
            await gateway.until(lambda: gateway.gateway.bodies.held == len(body) - 9)
            flood = asyncio.create_task(_flood(caller, body[-9:]))
            (connection,) = gateway.server._connections
            await gateway.until(lambda: not connection.stream._reading)
            assert len(connection._reader.buffer) <= inbound.AHEAD + inbound.LITTLE
            gate.open()
            assert await served(caller) == 200
            flood.cancel()


async def _flood(caller: Caller, first: bytes = b"") -> None:
    caller.writer.write(first + HEALTH * 4000)
    while True:
        caller.writer.write(HEALTH * 1000)
        await caller.writer.drain()


STALLING = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}, {type: admin, port: ADMIN}]
model_providers: [{model: demo/*}]
limits: {client_stall: 1s}
"""


def test_answers_that_nobody_reads(start: Start) -> None:
    """What no exchange answers, on either kind of listener. The connection would be busy, and could not make room for another."""
    admin = free_port()
    gateway = start(STALLING.replace("ADMIN", str(admin)))
    for port, path in ((gateway.port, "/openapi.json"), (gateway.port, "/nothing"), (admin, "/metrics")):
        with Wire(port, 60.0, receive_buffer=4096) as wire, pytest.raises((ConnectionResetError, BrokenPipeError)):
            ask_without_end(wire, request(path, method="GET") * 1000)


def ask_without_end(wire: Wire, asked: bytes) -> None:
    while True:
        wire.send(asked)


# ---- resets ----

ASKED = request("/v1/chat/completions", {"model": "chat/m", "messages": [{"role": "user", "content": "x" * 300_000}]})
RESET = {
    "within-a-head": ASKED[:30],
    "behind-a-head": ASKED[:-300_000],
    "within-a-body": ASKED[:-1000],
    "behind-a-request": ASKED,
    "behind-a-second-request": HEALTH + ASKED,
}


def thrown(port: int, data: bytes) -> None:
    """Send, and reset the connection: all of it is there when the gateway looks, as this is its own thread."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.setblocking(False)
        sock.send(data)


@pytest.mark.parametrize("name", RESET)
@inside
async def test_a_reset_that_comes_with_the_last_bytes_is_seen(name: str) -> None:
    """A loop on libuv reports it once, with the data before it."""
    async with Provider([until_closed]) as provider, Inside(CONFIG, provider) as gateway:
        thrown(gateway.port, RESET[name])
        async with gateway.call(HEALTH) as later:  # accepted behind it
            assert await served(later) == 200
        await gateway.until(lambda: gateway.idle and not gateway.server.connections)


@inside
async def test_a_reset_within_a_handshake_is_seen(tls: Contexts) -> None:
    async with Inside(UNREACHABLE, tls=tls) as gateway:
        for data in (b"", b"\x16\x03\x01\x02\x00\x01", b"nonsense"):
            thrown(gateway.port, data)
        async with gateway.call(HEALTH) as later:
            assert await served(later) == 200
        await gateway.until(lambda: not gateway.server.connections)
