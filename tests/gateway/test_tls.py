"""TLS on the gateway's own listener: whatever the network cuts and whoever fails, the connection is served or closed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from dragoman.proxy.process import server
from dragoman.proxy.wire import inbound

from ..scripted import tls_contexts
from .inside import Caller, Inside, inside
from .spoken import PATHS
from .wire import request

CONFIG = "listeners: [{type: model, address: 127.0.0.1}]\nmodel_providers: [{model: demo/*}]\n"


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture
def tls() -> Contexts:
    return tls_contexts()


def asked(words: str, **more: Any) -> bytes:
    return request(PATHS["chat"], {"model": "demo/echo", "messages": [{"role": "user", "content": words}], **more})


async def whole(caller: Caller) -> str:
    status, headers = await caller.head()
    assert status == 200
    said: str = json.loads(await caller.body(headers))["choices"][0]["message"]["content"]
    return said


@inside
async def test_one_request_after_another(tls: Contexts) -> None:
    async with Inside(CONFIG, tls=tls) as gateway, gateway.call(asked("one")) as caller:
        assert "one" in await whole(caller)
        caller.writer.write(asked("two", stream=True))
        assert (await caller.head())[0] == 200
        await caller.until(b"[DONE]")
        assert await caller.chunk() == b""
        caller.writer.write(asked("three"))
        assert "three" in await whole(caller)


@inside
async def test_megabytes_both_ways(tls: Contexts) -> None:
    words = "0123456789abcdef " * (1 << 17)
    async with Inside(CONFIG, tls=tls) as gateway, gateway.call(asked(words)) as caller:
        assert words.strip() in await whole(caller)


def shaken(context: ssl.SSLContext, port: int, size: int) -> tuple[socket.socket, ssl.SSLObject, ssl.MemoryBIO]:
    """A handshake in writes of so many bytes, up to the client's last, which is not sent yet."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    while True:
        try:
            client.do_handshake()
            return sock, client, outgoing
        except ssl.SSLWantReadError:
            data = outgoing.read()
            for at in range(0, len(data), size):
                sock.sendall(data[at : at + size])
            incoming.write(sock.recv(1 << 16))


@inside
async def test_a_request_that_comes_with_the_end_of_the_handshake(tls: Contexts) -> None:
    async with Inside(CONFIG, tls=tls) as gateway:
        sock, client, outgoing = await asyncio.to_thread(shaken, tls[1], gateway.port, 1 << 16)
        with sock:
            client.write(asked("at once"))
            sock.sendall(outgoing.read())
            assert await asyncio.to_thread(sock.recv, 1 << 16)
            await gateway.until(lambda: gateway.lines)
        assert gateway.lines[0]["status"] == 200


@inside
async def test_a_handshake_byte_by_byte(tls: Contexts) -> None:
    async with Inside(CONFIG, tls=tls) as gateway:
        sock, client, outgoing = await asyncio.to_thread(shaken, tls[1], gateway.port, 1)
        with sock:
            client.write(asked("slowly"))
            for byte in outgoing.read():
                sock.sendall(bytes([byte]))
            await gateway.until(lambda: gateway.lines)
        assert gateway.lines[0]["status"] == 200


def plain(port: int, _: Contexts) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(asked("no TLS"))
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(4096):
                pass


def reset(port: int, _: Contexts) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def distrusting(port: int, _: Contexts) -> None:
    sock = socket.create_connection(("127.0.0.1", port))
    context = ssl.create_default_context()
    with context.wrap_socket(sock, server_hostname="localhost", do_handshake_on_connect=False) as client, pytest.raises(ssl.SSLError):
        client.do_handshake()


@pytest.mark.parametrize("client", [plain, reset, distrusting])
@inside
async def test_who_does_not_shake_hands_is_let_go(tls: Contexts, client: Callable[[int, Contexts], None]) -> None:
    async with Inside(CONFIG, tls=tls) as gateway:
        await asyncio.to_thread(client, gateway.port, tls)
        await gateway.until(lambda: not gateway.server.connections)
        async with gateway.call(asked("still there")) as caller:
            assert "still there" in await whole(caller)


@inside
async def test_who_says_nothing_is_let_go(tls: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound, "HEAD_PATIENCE", 0.1)
    monkeypatch.setattr(server, "SWEEP", 0.05)
    async with Inside(CONFIG, tls=tls) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)):
            await gateway.until(lambda: gateway.server.connections)
            await gateway.until(lambda: not gateway.server.connections)
