import asyncio
import gc
import gzip
import hashlib
import zlib

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest

from dragoman.codecs import errors
from dragoman.proxy.wire.upstream import UpstreamRequest

from ..scripted import (
    LAST_CHUNK,
    Gate,
    Provider,
    chunk,
    close,
    read_body,
    respond,
    send,
    sse,
    stream,
    stream_head,
    tls_contexts,
    until_closed,
    wait,
)
from .loops import all_closed, closed_by, fault, hanging_handshake, https, looped

# ---- requests and responses ----


@looped
async def test_a_request_and_its_response(client):
    with Provider([respond({"id": "r1"}, x_request_id="abc")]) as provider:
        request = UpstreamRequest(f"{provider.url}/v1/messages?beta=true", "POST", {"x-api-key": "k", "Connection": "close"}, b"{}")
        before = asyncio.get_running_loop().time()
        response = await client.fetch(request)
    assert (response.code, response.reason, response.body) == (200, "Scripted", b'{"id":"r1"}')
    assert response.headers["X-Request-Id"] == "abc"
    assert response.request is request
    assert before <= request.sent_at <= request.first_byte_at
    (seen,) = provider.requests
    assert (seen.method, seen.target, seen.body) == ("POST", "/v1/messages?beta=true", b"{}")
    assert seen.headers == {"host": f"127.0.0.1:{provider.port}", "x-api-key": "k", "content-length": "2"}


@looped
async def test_methods_and_bodies(client):
    with Provider([respond(b"x")]) as provider:
        for method, body, length in (
            ("GET", None, None),
            ("DELETE", None, None),
            ("POST", None, "0"),
            ("PUT", b"", "0"),
            ("DELETE", b"ab", "2"),
        ):
            response = await client.fetch(UpstreamRequest(provider.url, method, body=body))
            assert response.body == b"x"
            seen = provider.requests[-1]
            assert (seen.method, seen.target, seen.headers.get("content-length")) == (method, "/", length)
    assert len(provider.connections) == 1


@looped
async def test_a_host_header_overrides(client):
    with Provider([respond()]) as provider:
        await client.fetch(UpstreamRequest(provider.url, headers={"Host": "api.example"}))
    assert provider.requests[0].headers["host"] == "api.example"


@looped
async def test_error_statuses_are_responses(client):
    with Provider([respond({"error": {}}, status=429, retry_after="3")]) as provider:
        response = await client.fetch(UpstreamRequest(provider.url))
        assert (response.code, response.headers["Retry-After"], response.body) == (429, "3", b'{"error":{}}')
        with pytest.raises(HTTPClientError) as caught:
            await client.fetch(UpstreamRequest(provider.url), raise_error=True)
        assert caught.value.code == 429


@looped
async def test_redirects_are_responses(client):
    with Provider([respond(status=307, location="/elsewhere")]) as provider:
        response = await client.fetch(UpstreamRequest(provider.url))
    assert (response.code, response.headers["Location"], len(provider.requests)) == (307, "/elsewhere", 1)


@looped
async def test_responses_without_a_body(client):
    def script(request):
        return [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" if request.method == "HEAD" else b"HTTP/1.1 204 No Content\r\n\r\n"]

    with Provider(script) as provider:
        assert (await client.fetch(UpstreamRequest(provider.url, "HEAD"))).headers["Content-Length"] == "9"
        assert (await client.fetch(UpstreamRequest(provider.url, "GET"))).code == 204
    assert len(provider.connections) == 1


@looped
async def test_informational_responses_are_skipped(client):
    heads = []
    with Provider([b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", respond(b"x")]) as provider:
        await client.fetch(UpstreamRequest(provider.url, on_headers=lambda status, headers: heads.append((status, dict(headers)))))
    assert heads == [(200, {"Content-Length": "1"})]


@looped
async def test_a_stream(client):
    gate = Gate()
    seen = []

    def on_headers(status, headers):
        seen.append((status, headers["Content-Type"]))

    def on_bytes(data):
        seen.append(data)
        gate.open()

    # the four chunks of the first write come in one read, and so in one call
    first = stream_head() + b"".join(chunk(sse(str(i))) for i in range(4))
    with Provider([first, wait(gate), chunk(sse("[DONE]")), LAST_CHUNK]) as provider:
        request = UpstreamRequest(provider.url, on_headers=on_headers, streaming_callback=on_bytes)
        response = await client.fetch(request)
    assert (response.code, response.body) == (200, b"")
    assert seen == [(200, "text/event-stream"), b"data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\n", b"data: [DONE]\n\n"]


@looped
async def test_on_headers_chooses_who_gets_the_body(client):
    def script(request):
        return stream(sse("a")) if request.target == "/good" else [respond(b"no", status=500)]

    with Provider(script) as provider:
        for target, expected in (("/good", (b"", [b"data: a\n\n"])), ("/bad", (b"no", []))):
            seen = []
            request = UpstreamRequest(provider.url + target)

            def on_headers(status, headers, request=request, seen=seen):
                if status == 200:
                    request.streaming_callback = seen.append

            request.on_headers = on_headers
            response = await client.fetch(request)
            assert (response.body, seen) == expected


@looped
@pytest.mark.parametrize("every", [1, 7])
async def test_a_response_in_small_pieces(client, every):
    wire = stream_head(x_a="b") + b"".join(chunk(sse({"n": i})) for i in range(20)) + LAST_CHUNK
    with Provider([send(wire, every)]) as provider:
        seen = []
        await client.fetch(UpstreamRequest(provider.url, streaming_callback=seen.append))
        assert b"".join(seen) == b"".join(sse({"n": i}) for i in range(20))
        assert b"" not in seen
        assert (await client.fetch(UpstreamRequest(provider.url))).body == b"".join(seen)
    assert len(provider.connections) == 1


@looped
async def test_compressed_bodies(client):
    events = [sse(str(i)) for i in range(3)]
    compressor = zlib.compressobj(wbits=31)
    coded = [compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH) for event in events] + [compressor.flush()]
    gates = [Gate() for _ in events]

    def script(request):
        if request.target == "/whole":
            return [respond(gzip.compress(b"text" * 1000), content_encoding="gzip")]
        steps = [stream_head(content_encoding="gzip")]
        for data, gate in zip(coded, gates, strict=False):
            steps += [chunk(data), wait(gate)]
        return [*steps, chunk(coded[-1]), LAST_CHUNK]

    def on_bytes(data):
        seen.append(data)
        gates[len(seen) - 1].open()

    with Provider(script) as provider:
        seen = []
        await client.fetch(UpstreamRequest(provider.url, streaming_callback=on_bytes))
        assert seen == events
        response = await client.fetch(UpstreamRequest(f"{provider.url}/whole"))
        assert response.body == b"text" * 1000
        assert "Content-Encoding" not in response.headers
    assert len(provider.connections) == 1


@looped
async def test_many_at_once(client):
    def script(request):
        return stream(*(sse({"n": request.target, "i": i}) for i in range(5)))

    async def one(number):
        seen = []
        await client.fetch(UpstreamRequest(f"{provider.url}/{number}", "POST", body=b"x" * number, streaming_callback=seen.append))
        assert b"".join(seen) == b"".join(sse({"n": f"/{number}", "i": i}) for i in range(5))

    with Provider(script) as provider:
        for _ in range(3):
            await asyncio.gather(*(one(number) for number in range(40)))
        assert len(provider.connections) <= 40
        assert "" in closed_by(provider)


# ---- what is refused before anything is sent ----


@looped
@pytest.mark.parametrize(
    "url",
    [
        "/v1",
        "ftp://h/",
        "http://",
        "http:///x",
        "http://user:secret@h/",
        "http://h/a b",
        "http://h/\r\nX: secret",
        "http://h:x/",
        "http://h/é",
    ],
)
async def test_bad_urls(client, url):
    with pytest.raises(ValueError) as caught:
        client.fetch(UpstreamRequest(url))
    assert "secret" not in repr(caught.value)


@looped
async def test_header_injection(client):
    with Provider([respond()]) as provider:
        with pytest.raises(ValueError):
            client.fetch(UpstreamRequest(provider.url, headers={"Authorization": "Bearer k\r\nX-Admin: 1"}))
        assert provider.connections == []


@looped
async def test_wrong_use(client):
    with pytest.raises(TypeError):
        client.fetch("http://h/")
    with pytest.raises(TypeError):
        client.fetch(HTTPRequest("http://h/"))
    client.close()
    with pytest.raises(RuntimeError):
        client.fetch(UpstreamRequest("http://h/"))


# ---- uploads ----


@looped
@pytest.mark.parametrize("secure", [False, True])
async def test_a_large_upload(client, secure):
    body = hashlib.shake_256(b"seed").digest(1 << 20) * 32
    server, trust = tls_contexts() if secure else (None, None)
    with Provider([respond(b"x")], tls=server) as provider:
        for _ in range(2):
            request = UpstreamRequest(provider.url, "POST", body=body, ssl_context=trust)
            assert (await client.fetch(request)).body == b"x"
            assert request.sent_at is not None
        assert all(request.body == body for request in provider.requests)
        assert len(provider.connections) == 1


@looped
@pytest.mark.parametrize("end", [close, until_closed])
async def test_an_early_refusal_of_an_upload_is_seen(client, end):
    with Provider([read_body(1000), respond(b"too much", status=413), end], early=True) as provider:
        request = UpstreamRequest(provider.url, "POST", body=bytes(32 << 20))
        response = await client.fetch(request)
        assert (response.code, response.body, request.sent_at) == (413, b"too much", None)
        await all_closed(provider)


# ---- waiting for the caller ----


@looped
async def test_a_pause_stops_reading(client):
    total = 64 << 20
    loop = asyncio.get_running_loop()
    pause = loop.create_future()
    paused = asyncio.Event()
    sizes = []

    def on_bytes(data):
        sizes.append(len(data))
        if len(sizes) == 1:
            paused.set()
            return pause
        return None

    def script(request):
        return [respond(bytes(total))] if request.target == "/big" else [respond(b"x")]

    with Provider(script) as provider:
        call = client.fetch(UpstreamRequest(f"{provider.url}/big", streaming_callback=on_bytes))
        await paused.wait()
        for _ in range(50):  # the loop does a lot meanwhile
            await client.fetch(UpstreamRequest(provider.url))
        assert len(sizes) == 1
        assert provider.connections[0].sent < total // 2
        pause.set_result(None)
        await call
        assert sum(sizes) == total
        # and the connection reads again when it is used again
        seen = await asyncio.gather(*(client.fetch(UpstreamRequest(provider.url)) for _ in range(2)))
        assert [response.body for response in seen] == [b"x", b"x"]
        assert len(provider.connections) == 2


@looped
async def test_coroutine_callbacks_are_awaited_in_order(client):
    log = []

    async def on_bytes(data):
        log.append(("begin", len(data)))
        await asyncio.sleep(0.001)
        log.append(("end", len(data)))

    with Provider([respond(bytes(1_000_000))]) as provider:
        await client.fetch(UpstreamRequest(provider.url, streaming_callback=on_bytes))
        assert sum(size for word, size in log if word == "end") == 1_000_000
        assert [word for word, _ in log] == ["begin", "end"] * (len(log) // 2)
        # the last piece's callback was awaited, too, and the connection is none the worse for it
        assert (await client.fetch(UpstreamRequest(provider.url))).code == 200
        assert len(provider.connections) == 1


@looped
async def test_a_done_future_is_no_pause(client):
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    seen = []
    with Provider(stream(b"a", b"b")) as provider:
        await client.fetch(UpstreamRequest(provider.url, streaming_callback=lambda data: seen.append(data) or done))
    assert b"".join(seen) == b"ab"


@looped
async def test_each_piece_of_a_compressed_body_can_pause(client):
    size = 5_000_000
    running = 0
    sizes = []

    async def on_bytes(data):
        nonlocal running
        running += 1
        assert running == 1
        sizes.append(len(data))
        await asyncio.sleep(0)
        running -= 1

    with Provider([respond(gzip.compress(bytes(size)), content_encoding="gzip")]) as provider:
        await client.fetch(UpstreamRequest(provider.url, streaming_callback=on_bytes))
    assert (sum(sizes), max(sizes) <= 256 * 1024) == (size, True)


@looped
async def test_an_end_during_a_pause_is_judged_after_it(client):
    pause = asyncio.get_running_loop().create_future()
    first = asyncio.Event()
    seen = []

    def on_bytes(data):
        seen.append(data)
        first.set()
        return pause if len(seen) == 1 else None

    gate = Gate()
    with Provider([stream_head(), chunk(b"one"), wait(gate), chunk(b"two"), close]) as provider:
        call = asyncio.ensure_future(fault(client, UpstreamRequest(provider.url, streaming_callback=on_bytes)))
        await first.wait()
        gate.open()
        await all_closed(provider)
        assert seen == [b"one"]
        pause.set_result(None)
        assert isinstance(await call, errors.Truncated)
    assert seen == [b"one", b"two"]


# ---- the caller's errors and cancellation ----


class Oops(Exception):
    pass


def fails(*_):
    raise Oops


async def fails_later(_):
    await asyncio.sleep(0)
    raise Oops


def stops(*_):
    return next(iter(()))


@looped
@pytest.mark.parametrize(
    ("callbacks", "error"),
    [
        ({"on_headers": fails}, Oops),
        ({"streaming_callback": fails}, Oops),
        ({"streaming_callback": fails_later}, Oops),
        ({"streaming_callback": stops}, RuntimeError),
    ],
)
async def test_a_callback_that_raises_aborts(client, callbacks, error):
    with Provider([stream_head(), chunk(b"x"), until_closed]) as provider:
        with pytest.raises(error):
            await client.fetch(UpstreamRequest(provider.url, **callbacks))
        await all_closed(provider)


@looped
async def test_a_cancelled_awaitable_cancels_the_call(client):
    pause = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, pause.cancel)
    with Provider([stream_head(), chunk(b"x"), until_closed]) as provider:
        call = client.fetch(UpstreamRequest(provider.url, streaming_callback=lambda data: pause))
        with pytest.raises(asyncio.CancelledError):
            await call
        await all_closed(provider)


@looped
@pytest.mark.parametrize("where", ["on_headers", "streaming_callback"])
async def test_a_callback_that_cancels_its_call_hears_no_more(client, where):
    heard = []

    def cancel(*_):
        heard.append(where)
        call.cancel()

    steps = [stream_head() + chunk(b"a") + LAST_CHUNK]
    if where == "streaming_callback":
        steps = [respond(gzip.compress(bytes(1_000_000)), content_encoding="gzip")]
    with Provider(steps) as provider:
        callbacks = {"streaming_callback": lambda data: heard.append(data), where: cancel}
        call = client.fetch(UpstreamRequest(provider.url, **callbacks))
        with pytest.raises(asyncio.CancelledError):
            await call
        await all_closed(provider)
    assert heard == [where]


@looped
@pytest.mark.parametrize("phase", ["before", "upload", "first byte", "head", "body", "pause", "own task"])
async def test_cancel(client, phase):
    steps = {
        "upload": [until_closed],
        "first byte": [until_closed],
        "head": [b"HTTP/1.1 200 OK\r\n", until_closed],
    }.get(phase, [stream_head(), chunk(b"x"), until_closed])
    reached = asyncio.Event()
    pause = asyncio.get_running_loop().create_future()
    cancelled = []

    async def own_task():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.append("own task")
            raise

    def on_bytes(data):
        reached.set()
        return pause if phase == "pause" else own_task() if phase == "own task" else None

    with Provider(steps, early=phase == "upload") as provider:
        body = bytes(32 << 20) if phase == "upload" else b"x"
        call = client.fetch(UpstreamRequest(provider.url, "POST", body=body, streaming_callback=on_bytes))
        if phase in ("upload", "first byte", "head"):
            await provider.seen(lambda: provider.requests)
        elif phase != "before":
            await reached.wait()
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert call.cancelled()
        await all_closed(provider)
        assert not pause.done()
        assert len(provider.connections) == (phase != "before")
        if phase == "own task":
            await asyncio.sleep(0)
            assert cancelled == ["own task"]


@looped
async def test_cancel_while_connecting(client):
    _, trust = tls_contexts()
    with hanging_handshake() as provider:
        call = client.fetch(UpstreamRequest(https(provider), ssl_context=trust))
        await provider.seen(lambda: provider.connections)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await all_closed(provider)


@looped
@pytest.mark.parametrize("secure", [False, True])
async def test_cancel_at_every_turn_of_the_loop_leaves_nothing_open(client, secure):
    server, trust = tls_contexts() if secure else (None, None)
    with Provider([stream_head(), chunk(b"x"), until_closed], tls=server) as provider:
        for turns in range(30):
            for pause in (0, 0.001):  # without and with time for the network
                call = client.fetch(UpstreamRequest(provider.url, ssl_context=trust))
                for _ in range(turns):
                    await asyncio.sleep(pause)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
        await all_closed(provider)
        assert provider.connections


@looped
async def test_no_callback_after_cancel_in_the_same_turn(client):
    """Two streams are readable in one turn: the first to be served cancels the other."""
    gate = Gate()
    calls = {}
    heard = []
    both = asyncio.Event()

    def on_bytes(name):
        def heard_from(data):
            heard.append(name)
            if len(heard) == 2:
                both.set()
            if data == b"go":
                calls[{"a": "b", "b": "a"}[name]].cancel()

        return heard_from

    with Provider([stream_head(), chunk(b"1"), wait(gate), chunk(b"go"), until_closed]) as provider:
        for name in "ab":
            calls[name] = client.fetch(UpstreamRequest(provider.url, streaming_callback=on_bytes(name)))
        await both.wait()
        gate.open()
        # blocking the loop, so that it finds both readable in its next turn
        provider.wait_for(lambda: all(connection.sent == len(stream_head()) + 13 for connection in provider.connections))
        await asyncio.wait(calls.values(), return_when=asyncio.FIRST_COMPLETED)
        assert len(heard) == 3
        for call in calls.values():
            call.cancel()
        await asyncio.wait(calls.values())


@looped
async def test_close_fails_what_is_under_way(client):
    _, trust = tls_contexts()
    with hanging_handshake() as connecting, Provider([stream_head(), chunk(b"x"), until_closed]) as provider:
        requests = [UpstreamRequest(https(connecting), ssl_context=trust), UpstreamRequest(provider.url)]
        faults = [asyncio.ensure_future(fault(client, request)) for request in requests]
        await connecting.seen(lambda: connecting.connections)
        await provider.seen(lambda: provider.requests)
        client.close()
        assert [type(await each) for each in faults] == [errors.Refused, errors.Refused]
        await all_closed(provider)
        await all_closed(connecting)


@looped
async def test_a_call_leaves_no_cycles(client):
    with Provider(lambda request: stream(b"a", b"b") if request.target == "/s" else [respond(b"x")]) as provider:
        for target in ("/s", "/"):
            callback = (lambda data: None) if target == "/s" else None
            await client.fetch(UpstreamRequest(provider.url + target, "POST", body=b"x", streaming_callback=callback))
            gc.collect()
            gc.disable()
            try:
                for _ in range(20):
                    await client.fetch(UpstreamRequest(provider.url + target, "POST", body=b"x", streaming_callback=callback))
                assert gc.collect() < 20
            finally:
                gc.enable()
