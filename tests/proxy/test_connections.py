import asyncio

import pytest

from dragoman.codecs import errors
from dragoman.proxy.wire import pool
from dragoman.proxy.wire.upstream import UpstreamRequest

from ..scripted import (
    LAST_CHUNK,
    Gate,
    Provider,
    chunk,
    close,
    reset,
    respond,
    sse,
    stream,
    stream_head,
    tls_contexts,
    until_closed,
    wait,
)
from .loops import all_closed, closed_by, fault, first_only, looped, options

# ---- connections ----


@looped
async def test_connections_are_kept(client):
    with Provider([respond(b"x")]) as provider:
        for _ in range(20):
            await client.fetch(UpstreamRequest(provider.url, "POST", body=b"abc"))
        assert [request.connection for request in provider.requests] == [0] * 20
        await asyncio.gather(*(client.fetch(UpstreamRequest(provider.url)) for _ in range(3)))
        assert len(provider.connections) == 3
        assert closed_by(provider) == ["", "", ""]


@looped
async def test_the_latest_used_connection_is_taken_first(client):
    gates = [Gate(), Gate()]

    def script(request):
        return [wait(gates[int(request.target[1])]), respond()] if request.target != "/" else [respond()]

    with Provider(script) as provider:
        calls = [client.fetch(UpstreamRequest(f"{provider.url}/{n}")) for n in range(2)]
        await provider.seen(lambda: len(provider.requests) == 2)
        by_target = {request.target: request.connection for request in provider.requests}
        for n in (1, 0):
            gates[n].open()
            await calls[n]
        for _ in range(3):
            await client.fetch(UpstreamRequest(provider.url))
        assert {request.connection for request in provider.requests[2:]} == {by_target["/0"]}


@looped
async def test_idle_connections_expire(client):
    async with Provider([respond()]) as provider, options(idle_seconds=0.05) as brief:
        await asyncio.gather(*(brief.fetch(UpstreamRequest(provider.url)) for _ in range(3)))
        await all_closed(provider)
        await brief.fetch(UpstreamRequest(provider.url))  # the sweep goes on for those that come later
        assert len(provider.connections) == 4
        await all_closed(provider)


@looped
@pytest.mark.parametrize("max_idle", [0, 1])
async def test_idle_connections_are_few(client, max_idle):
    async with Provider([respond()]) as provider, options(max_idle=max_idle) as narrow:
        await asyncio.gather(*(narrow.fetch(UpstreamRequest(provider.url)) for _ in range(3)))
        await provider.seen(lambda: closed_by(provider).count("peer") == 3 - max_idle)
        await narrow.fetch(UpstreamRequest(provider.url))
        assert len(provider.connections) == 4 - max_idle


@looped
async def test_close_closes_idle_connections(client):
    with Provider([respond()]) as provider:
        await client.fetch(UpstreamRequest(provider.url))
        client.close()
        client.close()
        await all_closed(provider)


@looped
@pytest.mark.parametrize(
    "steps",
    [
        [respond(b"x", connection="close")],
        [b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\n\r\nx", close],
        [b"HTTP/1.0 200 OK\r\n\r\nx", close],
        [respond(b"x") + b"HTTP/1.1 200 OK\r\n"],
        [stream_head() + chunk(b"x") + LAST_CHUNK + b"\r\n"],
    ],
)
async def test_doubtful_connections_are_not_kept(client, steps):
    with Provider(steps) as provider:
        for _ in range(2):
            assert (await client.fetch(UpstreamRequest(provider.url))).body == b"x"
        await all_closed(provider)
    assert [request.connection for request in provider.requests] == [0, 1]


@looped
@pytest.mark.parametrize("later", [b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", close, reset])
async def test_what_comes_on_an_idle_connection_drops_it(client, later):
    gate = Gate()
    with Provider([respond(b"x"), wait(gate), later]) as provider:
        await client.fetch(UpstreamRequest(provider.url))
        gate.open()
        await all_closed(provider)
        assert (await client.fetch(UpstreamRequest(provider.url))).body == b"x"
        assert [request.connection for request in provider.requests] == [0, 1]


@looped
@pytest.mark.parametrize("end", [close, reset])
async def test_a_stale_connection_is_replaced_for_an_idempotent_request(client, end):
    with Provider(first_only(end)) as provider:
        for sendings in (1, 2, 2):
            request = UpstreamRequest(provider.url)
            assert (await client.fetch(request)).body == b"x"
            assert request.sendings == sendings
    assert [request.connection for request in provider.requests] == [0, 0, 1, 1, 2]


@looped
@pytest.mark.parametrize("end", [close, reset])
@pytest.mark.parametrize("body", [b"", b"y" * 3_000_000])
async def test_what_was_read_is_not_sent_again(client, end, body):
    """Neither on a connection of its own nor on a pooled one."""
    with Provider(first_only(end)) as provider:
        for _ in range(2):
            assert (await client.fetch(UpstreamRequest(provider.url, "POST", body=body))).body == b"x"
            request = UpstreamRequest(provider.url, "POST", body=body)
            refused = await fault(client, request)
            assert (type(refused), refused.sent, request.sendings) == (errors.Refused, True, 1)
    assert [request.connection for request in provider.requests] == [0, 0, 1, 1]


@looped
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("later", [b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", close, reset])
async def test_a_connection_that_ended_while_the_loop_was_busy_is_not_used(client, later, secure):
    server, trust = tls_contexts() if secure else (None, None)
    gate = Gate()

    def script(request):
        return [respond(b"x")] if request.target == "/again" else [respond(b"x"), wait(gate), later, until_closed]

    with Provider(script, tls=server) as provider:
        await client.fetch(UpstreamRequest(provider.url, "POST", ssl_context=trust))
        gate.open()
        # blocking the loop, so that it has not seen the end
        provider.wait_for(lambda: closed_by(provider) == ["script"] or provider.connections[0].sent > len(respond(b"x")))
        request = UpstreamRequest(f"{provider.url}/again", "POST", ssl_context=trust)
        assert (await client.fetch(request)).body == b"x"
        assert [request.connection for request in provider.requests] == [0, 1]
        assert request.sendings == 1


@looped
async def test_an_old_connection_is_not_used_again(client, monkeypatch):
    with Provider([respond(b"x")]) as provider:
        monkeypatch.setattr(pool, "OLDEST", -1.0)
        for _ in range(2):
            await client.fetch(UpstreamRequest(provider.url))
        await all_closed(provider)
        monkeypatch.undo()
        for _ in range(2):
            await client.fetch(UpstreamRequest(provider.url))
        assert [request.connection for request in provider.requests] == [0, 1, 2, 2]


@looped
async def test_a_stale_connection_is_not_replaced_from_the_pool(client):
    gate = Gate()

    def script(request):
        return [*first_only(close)[:1], *([wait(gate)] if request.target == "/" else []), respond(b"x")]

    with Provider(script) as provider:
        calls = [client.fetch(UpstreamRequest(provider.url)) for _ in range(3)]
        await provider.seen(lambda: len(provider.requests) == 3)
        gate.open()
        await asyncio.gather(*calls)
        assert (await client.fetch(UpstreamRequest(f"{provider.url}/again"))).body == b"x"
        assert len(provider.requests) == 5
        assert provider.requests[-1].connection == 3


@looped
async def test_only_silence_on_a_reused_connection_is_retried(client):
    def script(request):
        return [wait(Gate())] if request.target == "/silent" else [b"HTTP/1.1 2", close] if request.target == "/cut" else [respond()]

    with Provider(script) as provider:
        assert (await client.fetch(UpstreamRequest(provider.url))).code == 200
        assert isinstance(await fault(client, UpstreamRequest(f"{provider.url}/cut")), errors.Truncated)
        assert (await client.fetch(UpstreamRequest(provider.url))).code == 200
        late = await fault(client, UpstreamRequest(f"{provider.url}/silent", first_byte_timeout=0.05))
        assert isinstance(late, errors.Timeout)
    assert [request.target for request in provider.requests] == ["/", "/cut", "/", "/silent"]


# ---- TLS ----


@looped
async def test_tls(client):
    server, trust = tls_contexts()
    big = b"x" * 5_000_000
    with Provider(lambda request: stream(sse("a"), big), tls=server) as provider:
        async with options(ssl_context=trust) as trusting:
            for _ in range(3):
                response = await trusting.fetch(UpstreamRequest(provider.url, "POST", body=big))
                assert response.body == sse("a") + big
                assert provider.requests[-1].body == big
        assert len(provider.connections) == 1
        # a context of the request's own is another origin
        response = await client.fetch(UpstreamRequest(provider.url, ssl_context=trust))
        assert response.body == sse("a") + big
        assert len(provider.connections) == 2


@looped
async def test_tls_faults(client):
    server, trust = tls_contexts()
    with Provider([respond()], tls=server) as provider:
        untrusted = await fault(client, UpstreamRequest(provider.url))
        assert isinstance(untrusted, errors.Refused)
        other_name = provider.url.replace("localhost", "127.0.0.1")
        assert isinstance(await fault(client, UpstreamRequest(other_name, ssl_context=trust)), errors.Refused)
        spoken_plainly = provider.url.replace("https", "http")
        assert isinstance(await fault(client, UpstreamRequest(spoken_plainly)), errors.UpstreamFault)
    with Provider([respond()], on_connect=[b"HTTP/1.1 400 Bad Request\r\n\r\n", close]) as provider:
        url = provider.url.replace("http://127.0.0.1", "https://localhost")
        assert isinstance(await fault(client, UpstreamRequest(url, ssl_context=trust)), errors.Refused)


@looped
@pytest.mark.parametrize("end", [close, reset])
async def test_tls_endings(client, end):
    server, trust = tls_contexts()
    with Provider(first_only(end), tls=server) as provider:
        for _ in range(3):
            assert (await client.fetch(UpstreamRequest(provider.url, ssl_context=trust))).body == b"x"
    assert len(provider.connections) == 3
    with Provider([stream_head(), chunk(b"x"), end], tls=server) as provider:
        assert isinstance(await fault(client, UpstreamRequest(provider.url, ssl_context=trust)), errors.Truncated)
