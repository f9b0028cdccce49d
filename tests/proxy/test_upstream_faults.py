import asyncio
import gzip
import socket
import time

import pytest

from dragoman.codecs import errors
from dragoman.proxy.wire.upstream import UpstreamRequest

from ..scripted import (
    LAST_CHUNK,
    Gate,
    Provider,
    chunk,
    close,
    reset,
    respond,
    stream,
    stream_head,
    tls_contexts,
    until_closed,
    wait,
)
from .loops import all_closed, closed_by, fault, hanging_handshake, https, looped

# ---- faults ----


@looped
async def test_nobody_listens(client):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    refused = await fault(client, UpstreamRequest(f"http://127.0.0.1:{port}/"))
    assert isinstance(refused, errors.Refused)
    assert "refused" in refused.detail


@looped
@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example"])
async def test_no_host_name(client, host):
    assert isinstance(await fault(client, UpstreamRequest(f"http://{host}:80/")), errors.Refused)


@looped
@pytest.mark.parametrize("end", [close, reset])
async def test_closed_without_an_answer(client, end):
    with Provider([end]) as provider:
        assert isinstance(await fault(client, UpstreamRequest(provider.url, "POST", body=b"x")), errors.Refused)
    assert len(provider.requests) == 1


@looped
@pytest.mark.parametrize("end", [close, reset])
async def test_closed_at_once(client, end):
    with Provider([], on_connect=[end]) as provider:
        assert isinstance(await fault(client, UpstreamRequest(provider.url)), errors.Refused)


@looped
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("steps", "kind", "payload"),
    [
        ([b"HTTP/1.1 200 OK\r\nConte", close], errors.Truncated, b""),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", close], errors.Truncated, b""),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", close], errors.Truncated, b"hello"),
        ([b"HTTP/1.1 200 OK\r\n\r\nhello", reset], errors.Truncated, b"hello"),
        ([stream_head(), chunk(b"hello"), close], errors.Truncated, b"hello"),
        ([stream_head(), chunk(b"hello"), reset], errors.Truncated, b"hello"),
        ([stream_head(), chunk(b"hello"), b"0\r\n", close], errors.Truncated, b"hello"),
        ([respond(gzip.compress(b"hello", mtime=0)[:-1], content_encoding="gzip")], errors.Truncated, b"hello"),
        ([b"SSH-2.0-OpenSSH\r\n", until_closed], errors.Garbled, b""),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000, until_closed], errors.Garbled, b""),
        ([b"HTTP/1.1 102 Processing\r\n\r\n" * 101, until_closed], errors.Garbled, b""),
        ([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", until_closed], errors.Garbled, b""),
        ([stream_head() + chunk(b"hello") + b"+5\r\nhello\r\n", until_closed], errors.Garbled, b"hello"),
        ([respond(b"hello", content_encoding="br"), until_closed], errors.Garbled, b""),
        ([respond(b"hello", content_encoding="gzip"), until_closed], errors.Garbled, b""),
    ],
)
async def test_broken_answers(client, steps, kind, payload, streamed):
    seen = []
    # what is sent before a reset must have been read when that comes
    gate = Gate()
    if reset in steps:
        steps = [*steps[:-1], wait(gate), reset]

    def on_bytes(data):
        seen.append(data)
        gate.open()

    with Provider(steps) as provider:
        if streamed:
            request = UpstreamRequest(provider.url, streaming_callback=on_bytes)
        else:
            request = UpstreamRequest(provider.url, on_headers=lambda status, headers: gate.open())
        assert type(await fault(client, request)) is kind
        assert b"".join(seen) == (payload if streamed else b"")
        await all_closed(provider)


@looped
@pytest.mark.parametrize("secure", [False, True])
async def test_data_before_a_reset_is_read(client, secure):
    server, trust = tls_contexts() if secure else (None, None)
    ready = Gate()
    sizes = []

    def on_headers(status, headers):
        ready.open()
        # blocking the loop, so that it finds data and reset in one turn
        provider.wait_for(lambda: closed_by(provider) == ["script"])

    with Provider([stream_head(), wait(ready), chunk(bytes(200_000)), reset], tls=server) as provider:
        request = UpstreamRequest(
            provider.url, on_headers=on_headers, streaming_callback=lambda data: sizes.append(len(data)), ssl_context=trust
        )
        assert isinstance(await fault(client, request), errors.Truncated)
    assert sizes  # the kernel may lose some of it


@looped
async def test_collected_bodies_are_bounded(client):
    bomb = gzip.compress(bytes(50_000_000))

    def script(request):
        if request.target == "/bomb":
            return [respond(bomb, content_encoding="gzip")]
        return [respond(b"x" * int(request.target[1:]))]

    with Provider(script) as provider:
        assert len((await client.fetch(UpstreamRequest(f"{provider.url}/1000", max_body=1000))).body) == 1000
        assert isinstance(await fault(client, UpstreamRequest(f"{provider.url}/1001", max_body=1000)), errors.Garbled)
        assert isinstance(await fault(client, UpstreamRequest(f"{provider.url}/bomb", max_body=1_000_000)), errors.Garbled)


# ---- time ----


@looped
async def test_connect_timeout(client):
    _, trust = tls_contexts()
    with hanging_handshake() as provider:
        late = await fault(client, UpstreamRequest(https(provider), connect_timeout=0.1, ssl_context=trust))
        assert (type(late), late.timer) == (errors.Timeout, "connect")
        await all_closed(provider)


@looped
@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nX", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_first_byte_timeout(client, sent):
    with Provider([sent, until_closed]) as provider:
        started = time.monotonic()
        late = await fault(client, UpstreamRequest(provider.url, first_byte_timeout=0.2))
        assert (type(late), late.timer) == (errors.Timeout, "first_byte")
        assert time.monotonic() - started > 0.19
        await all_closed(provider)


@looped
@pytest.mark.parametrize("first_byte_timeout", [None, 60])
async def test_idle_timeout(client, first_byte_timeout):
    with Provider([stream_head(), chunk(b"x"), until_closed]) as provider:
        request = UpstreamRequest(provider.url, first_byte_timeout=first_byte_timeout, idle_timeout=0.2)
        late = await fault(client, request)
        assert (type(late), late.timer) == (errors.Timeout, "idle")
        await all_closed(provider)


@looped
async def test_no_timeouts(client):
    with Provider([respond(b"x")]) as provider:
        request = UpstreamRequest(provider.url, connect_timeout=0, first_byte_timeout=None, idle_timeout=0)
        assert (await client.fetch(request)).body == b"x"


@looped
async def test_the_idle_time_is_the_shorter_one_after_a_long_first_byte(client):
    """The head comes when the idle time alone would be over; what counts from then on is the idle time, not what is left of the other."""
    gate = Gate()
    with Provider([wait(gate), stream_head(), chunk(b"x"), until_closed]) as provider:
        call = asyncio.ensure_future(fault(client, UpstreamRequest(provider.url, first_byte_timeout=1000, idle_timeout=0.1)))
        await asyncio.sleep(0.3)  # this time is what is tested
        gate.open()
        late = await call
        assert (type(late), late.timer) == (errors.Timeout, "idle")


@looped
async def test_each_read_starts_the_idle_time_again(client):
    gates = [Gate() for _ in range(8)]
    steps = [stream_head()]
    for gate in gates:
        steps += [wait(gate), b"1\r\n", b"x\r\n"]

    loop = asyncio.get_running_loop()
    for n, gate in enumerate(gates):
        loop.call_later(0.1 * (n + 1), gate.open)
    with Provider([*steps, LAST_CHUNK]) as provider:
        assert (await client.fetch(UpstreamRequest(provider.url, idle_timeout=0.5))).body == b"x" * 8


@looped
async def test_the_idle_time_does_not_run_while_the_callback_waits(client):
    loop = asyncio.get_running_loop()
    seen = []

    def on_bytes(data):
        seen.append(data)
        later = loop.create_future()
        loop.call_later(0.4, later.set_result, None)
        return later

    with Provider(stream(b"one")) as provider:
        await client.fetch(UpstreamRequest(provider.url, idle_timeout=0.1, streaming_callback=on_bytes))
    assert seen == [b"one"]


@looped
async def test_the_first_byte_time_starts_when_the_request_is_sent(client):
    def slow(connection):
        for _ in range(40):
            connection.read(1 << 20)
            time.sleep(0.07)  # a slow link

    with Provider([slow, respond(b"x")], early=True) as provider:
        # the kernels' buffers hold some 10 MB of it at the end
        request = UpstreamRequest(provider.url, "POST", body=bytes(40 << 20), first_byte_timeout=2)
        started = asyncio.get_running_loop().time()
        assert (await client.fetch(request)).body == b"x"
        assert request.sent_at - started > 0.1
        assert request.first_byte_at - started > 2


@looped
async def test_a_stuck_upload_ends(client):
    with Provider([until_closed], early=True) as provider:
        request = UpstreamRequest(provider.url, "POST", body=bytes(64 << 20), first_byte_timeout=0.2)
        late = await fault(client, request)
        assert (late.timer, request.sent_at) == ("first_byte", None)
        await all_closed(provider)
