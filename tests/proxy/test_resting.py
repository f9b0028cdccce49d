"""Connections that are read once in a while, because what they bring comes faster than anyone reads: nothing else about them changes."""

import asyncio

import pytest

from dragoman.codecs import errors
from dragoman.proxy.wire import pool as connections
from dragoman.proxy.wire.upstream import UpstreamRequest

from ..scripted import LAST_CHUNK, Gate, Provider, chunk, close, send, stream_head, wait
from .loops import all_closed, looped

PIECES = [b"piece %d " % number for number in range(200)]
BODY = b"".join(PIECES)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Two reads within this time are enough."""
    monkeypatch.setattr(connections, "REST", 0.03)
    monkeypatch.setattr(connections, "HURRIED", 1)


def flood(*end):
    """Each piece in a write of its own."""
    return [stream_head(), *(send(chunk(piece), 1 << 16) for piece in PIECES), *end]


@looped
async def test_everything_comes_and_in_fewer_reads(client):
    reads = []
    with Provider(flood(LAST_CHUNK)) as provider:
        for _ in range(3):
            reads.clear()
            await client.fetch(UpstreamRequest(provider.url, streaming_callback=reads.append))
            assert b"".join(reads) == BODY
            assert len(reads) < len(PIECES) / 2
        assert [request.connection for request in provider.requests] == [0, 0, 0]


@looped
async def test_a_slow_caller_still_slows_it(client):
    found = []

    async def take(data):
        found.append(data)
        await asyncio.sleep(0.001)

    with Provider(flood(LAST_CHUNK)) as provider:
        for _ in range(2):
            found.clear()
            await client.fetch(UpstreamRequest(provider.url, streaming_callback=take))
            assert b"".join(found) == BODY


@looped
@pytest.mark.parametrize("framed", [True, False])
async def test_the_end_comes_while_it_rests(client, framed):
    head = stream_head() if framed else b"HTTP/1.1 200 OK\r\n\r\n"
    pieces = [send(chunk(piece) if framed else piece, 1 << 16) for piece in PIECES]
    with Provider([head, *pieces, close]) as provider:
        call = client.fetch(UpstreamRequest(provider.url))
        if framed:
            with pytest.raises(errors.Truncated):
                await call
        else:
            assert (await call).body == BODY
        await all_closed(provider)


@looped
async def test_an_abort_while_it_rests(client):
    gate, found = Gate(), []
    with Provider(flood(wait(gate))) as provider:
        call = client.fetch(UpstreamRequest(provider.url, streaming_callback=found.append))
        while len(b"".join(found)) < len(BODY) // 2:  # noqa: ASYNC110 - its reads tell nobody
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gate.open()
        await all_closed(provider)
        count = len(found)
        await asyncio.sleep(2 * connections.REST)  # the rest is over: nobody reads on
        assert len(found) == count
