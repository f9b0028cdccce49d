"""Bodies: what one request, and all together, can make a worker hold; and that nothing is held afterwards.

DRAGOMAN_ATTACK=1 sends all of the many failing requests; the suite sends fewer.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from dragoman.codecs import bulk, errors, parts, splice
from dragoman.proxy.exchange import question
from dragoman.proxy.exchange.attempt import Attempt
from dragoman.proxy.wire import bodies

from ..conftest import Start
from ..gateway.inside import CONFIG, Caller, Inside, inside_once
from ..gateway.wire import Wire, request
from ..load.servers import memory_mb
from ..scripted import Gate, Provider, Request, Steps, chunk, close, respond, stream_head, wait
from .growth import LEAST, assert_linear, assert_no_dearer, thread_time

UNREACHABLE = CONFIG.replace("UPSTREAM", "http://127.0.0.1:9")
MB = 1 << 20


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture
def traced(no_collector: None) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


async def answered(caller: Caller) -> tuple[int, Any]:
    status, headers = await caller.head()
    body = await caller.body(headers)
    return status, orjson.loads(body) if body else None


# ---- all together ----


@inside_once
async def test_all_bodies_together_are_bounded() -> None:
    """Whoever comes when there is no room is told to come back, before the body was read; afterwards there is room again."""
    gate = Gate()
    body = orjson.dumps({"model": "chat/m", "messages": [], "x": "y" * 600_000})
    with Provider([wait(gate), respond({"choices": [], "usage": None})]) as provider:
        async with Inside(CONFIG + "\nlimits: {max_body: 1MB, max_bodies: 1MB}", provider) as gateway:
            asked = request("/v1/chat/completions", body)
            async with gateway.call(asked) as first, gateway.call(asked) as second:
                await gateway.until(lambda: provider.requests)
                status, value = await answered(second)
                assert (status, value["error"]["code"]) == (503, "overloaded")
                assert gateway.gateway.bodies.held == len(body)
                gate.open()
                await first.head()
                await gateway.until(lambda: not gateway.gateway.bodies.held)
            async with gateway.call(asked) as third:
                assert (await third.head())[0] == 200


@inside_once
async def test_what_is_announced_takes_nothing_from_others() -> None:
    """A body counts as it comes, also in chunks."""
    async with Inside(UNREACHABLE + "\nlimits: {max_body: 1MB, max_bodies: 1MB}") as gateway:
        head = request("/v1/chat/completions").replace(b"Content-Length: 0", b"Content-Length: 1000000")
        async with gateway.call(head), gateway.call(head), gateway.call(head + b"x" * 700_000):
            await gateway.until(lambda: gateway.gateway.bodies.held == 700_000)
            chunked = head.replace(b"Content-Length: 1000000", b"Transfer-Encoding: chunked")
            async with gateway.call(chunked + b"f4240\r\n" + b"x" * 400_000) as late:
                status, value = await answered(late)
                assert (status, value["error"]["code"]) == (503, "overloaded")
        await gateway.until(lambda: not gateway.gateway.bodies.held)


# ---- paths that read no body ----


UNREAD = [
    ("GET", "/healthz"),
    ("POST", "/healthz"),
    ("GET", "/v1/models"),
    ("GET", "/nothing"),
    ("POST", "/nothing"),
    ("DELETE", "/v1/responses/resp_x"),
    ("POST", "/v1/responses/resp_x/cancel"),
    ("GET", "/v1/chat/completions"),
    ("GET", "/v1/responses"),
    ("GET", "/v1beta/models/m:countTokens"),
    ("GET", "/v1/conversations/conv_x"),
    ("DELETE", "/v1/conversations/conv_x"),
    ("GET", "/v1/conversations/conv_x/items"),
]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(("method", "path"), UNREAD)
@inside_once
async def test_who_reads_no_body_takes_none(method: str, path: str, framing: str) -> None:
    """Refused at its head where it says its length, and else once more than a little has come; never kept."""
    async with Inside(UNREACHABLE) as gateway:
        head = request(path, method=method)
        if framing == "length":
            sent = head.replace(b"Content-Length: 0", b"Content-Length: 60000000")
        else:
            sent = head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"11170\r\n" + b"x" * 70_000
        async with gateway.call(sent) as caller:
            status, headers = await caller.head()
            assert status in (413, 404, 405, 426)
            assert headers["connection"] == "close"
            assert not gateway.gateway.bodies.held
            assert gateway.idle


@inside_once
async def test_a_little_body_that_nobody_reads_does_no_harm() -> None:
    async with Inside(UNREACHABLE) as gateway, gateway.call(request("/healthz", b"{}", "GET") * 2) as caller:
        for _ in range(2):
            assert (await answered(caller))[0] == 200


# ---- values ----


def values(count: int) -> bytes:
    return b'{"model":"chat/m","messages":[' + b",".join([b"[]"] * (count // 2)) + b"]}"


PATHS = ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings", "/v1/messages/count_tokens", "/v1/conversations"]


@pytest.mark.parametrize("path", PATHS)
@inside_once
async def test_the_values_of_a_body_are_bounded(path: str) -> None:
    async with Inside(UNREACHABLE + "\nlimits: {max_values: 500}") as gateway, gateway.call(request(path, values(1200))) as caller:
        status, value = await answered(caller)
        assert status == 413
        assert "500 JSON values" in value["error"]["message"]


def test_a_large_body_is_read_in_many_steps() -> None:
    """And a small one at once."""
    large = values(800_000)
    steps = sum(1 for _ in bulk.scan(large, 1_000_000))
    assert steps > len(large) // bulk.SLICE

    async def turns(body: bytes) -> int:
        counted = 0

        async def count() -> None:
            nonlocal counted
            while True:
                counted += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        await bodies.scan(body, 1_000_000)
        counting.cancel()
        return counted

    assert asyncio.run(turns(large)) >= steps
    assert bodies.at_once(values(1000), 1_000_000)
    assert not bodies.at_once(large, 1_000_000)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("make", [values, lambda size: b'{"model":"chat/m","a":"' + b"x\\n" * size + b'"}', lambda size: b"[" * size])
def test_no_step_is_long(make: Callable[[int], bytes]) -> None:
    """The longest of a large body's steps costs no more than a body does that is read at once."""
    limit = make(bodies.AT_ONCE // 4)[: bodies.AT_ONCE]

    def at_once() -> float:
        begun = thread_time()
        try:
            splice.scan(limit)
        except errors.ClientFault:
            pass
        return thread_time() - begun

    def longest() -> float:
        worst, steps = 0.0, bulk.scan(make(400_000), 10_000_000)
        while True:
            begun = thread_time()
            try:
                next(steps)
            except (StopIteration, errors.ClientFault):
                return worst
            worst = max(worst, thread_time() - begun)

    assert min(longest() for _ in range(2)) <= 20 * max(min(at_once() for _ in range(5)), 10 * LEAST)


# (before, what is repeated, after): what the cutting of a body into parts could take for a border, or lose time with
BORDERS = {
    "brackets-in-a-string": (b'{"a":"', b"],", b'"}'),
    "brackets": (b'{"model":"m","messages":[', b"[],", b"0]}"),
    "openings": (b'{"model":"m","messages":', b"[", b""),
    "closings": (b'{"model":"m","messages":[', b"]", b""),
    "blanks": (b'{"messages":[]', b" ", b',"model":"m"}'),
    "keys-within": (b'{"model":"m","messages":[', b'{"a":[],"stream":1},', b"0]}"),
    "lists-within": (b'{"model":"m","x":[', b'{"a":1,"messages":[]},', b"0]}"),
    "keys": (b'{"messages":[]', b',"tools":[],"seed":1', b"}"),
    "a-key-over-and-over": (b'{"model":"m","messages":[]', b',"stream":[]', b"}"),
    "a-late-error": (b'{"model":"m","messages":[', b'"word",', b'x],"stream":true}'),
    "half-a-character": (b'{"model":"m","messages":[', b'"word",', b'"\\ud83d"],"stream":true}'),
    "wrong-borders": (b'{"x":["', b"word ", b'",{"a":[],"stream":1},{"b":1,"messages":[]}]}'),
}


def _tried(body: bytes) -> None:
    try:
        splice.scan(body)
    except errors.ClientFault:
        pass


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", BORDERS)
def test_no_body_is_dear_to_cut(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it costs to read grows as it does, and is not much more than to read it without cutting."""
    before, pump, after = BORDERS[name]

    def make(size: int) -> bytes:
        return before + pump * (size // len(pump)) + after

    assert_linear(make, _tried, parts.LARGE)
    body = make(64 * parts.LARGE)  # what is looked at in vain is bounded: in a body as large as an agent's it counts for little

    def uncut(body: bytes) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(parts, "LARGE", len(body) + 1)
            _tried(body)

    assert_no_dearer(_tried, uncut, body, 2.5)


@inside_once
async def test_a_large_body_is_put_together_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 MB take 50 ms to copy; Python lets other threads run while it joins bytes, and only those."""
    threads = []
    take = bodies.Incoming.take

    def asked(self: bodies.Incoming) -> bytes:
        assert all(type(piece) is bytes for piece in self._pieces)
        threads.append(threading.current_thread())
        return take(self)

    monkeypatch.setattr(bodies.Incoming, "take", asked)
    large = orjson.dumps({"model": "chat/m", "messages": [{"role": "user", "content": "y" * bodies.SPARSE}]})
    with Provider([respond({"choices": [], "usage": None})]) as provider:
        async with Inside(CONFIG, provider) as gateway:
            for body in (large, b'{"model":"chat/m","messages":[]}'):
                async with gateway.call(request("/v1/chat/completions", body)) as caller:
                    assert (await answered(caller))[0] == 200
        assert provider.requests[0].json == orjson.loads(large) | {"model": "m"}
    assert [thread is not threading.main_thread() for thread in threads] == [True, False]


def many_parts(count: int) -> bytes:
    content = b",".join([b'{"type":"text","text":"x"}'] * count)
    return b'{"model":"messages/m","messages":[{"role":"user","content":[%b]}]}' % content


@pytest.fixture
def few_collections() -> Iterator[None]:
    """As in a worker: while a body is parsed nothing is collected."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 50, 100)
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(
    ("body", "alone"),
    [
        (many_parts(100), False),
        (many_parts(3000), False),
        (many_parts(3000).replace(b'"x"', b'"%b{[{["' % (b"x" * 200)), False),  # few for its size, and what stands in strings is none
        (many_parts(5000), True),
        (many_parts(30_000), True),
    ],
)
@pytest.mark.usefixtures("few_collections")
@inside_once
async def test_a_body_of_many_parts_is_translated_beside_the_loop(monkeypatch: pytest.MonkeyPatch, body: bytes, alone: bool) -> None:
    """30,000 parts take more than a third of a second; nobody waits for them, and of a usual request nothing takes a thread."""
    threads = []
    write = question._question

    def asked(attempt: Attempt) -> tuple[str, bytes | None]:
        threads.append(threading.current_thread())
        return write(attempt)

    monkeypatch.setattr(question, "_question", asked)
    answer = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "yes"}], "stop_reason": "end_turn"}
    with Provider([respond(answer)]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(request("/v1/chat/completions", body)) as caller:
            status, value = await answered(caller)
        assert status == 200, value
        [sent] = provider.requests
        assert orjson.loads(sent.body)["messages"][0]["content"] == orjson.loads(body)["messages"][0]["content"]
    assert [thread is not threading.main_thread() for thread in threads] == [alone]


@pytest.mark.usefixtures("few_collections")
def test_what_a_body_holds_is_counted() -> None:
    for count in (0, 1000, 10_000):
        scan, made = bodies.parsed(many_parts(count))
        assert count - 200 <= made <= count + 200  # free lists
        del scan
    gc.set_threshold(500, 10, 10)
    assert bodies.parsed(many_parts(10_000))[1] == -1
    assert bodies.heavy(many_parts(10_000), -1)
    assert not bodies.heavy(many_parts(100), -1)


@inside_once
async def test_an_answer_of_many_parts_is_translated_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    collected = Attempt._collected

    def asked(self: Attempt, value: dict[str, Any]) -> Any:
        threads.append(threading.current_thread())
        return collected(self, value)

    monkeypatch.setattr(Attempt, "_collected", asked)
    content = [{"type": "text", "text": "x"}] * 20_000
    with Provider([respond({"type": "message", "role": "assistant", "content": content, "stop_reason": "end_turn"})]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.ask("chat", "messages/m") as caller:
            status, value = await answered(caller)
        assert status == 200, value
        assert value["choices"][0]["message"]["content"] == "x" * 20_000
    assert [thread is not threading.main_thread() for thread in threads] == [True]


# ---- afterwards ----

BIG = b" " * MB
KEYED = UNREACHABLE + "\naccess_keys: [{key: right, name: a}]"


def posted(path: str, body: bytes, **headers: str) -> bytes:
    return request(path, body, authorization="Bearer right", **headers)


CHUNKED = b"POST %b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer right\r\nTransfer-Encoding: chunked\r\n\r\n"
FAILING: dict[str, bytes] = {
    "not-json": posted("/v1/embeddings", b'{"a"' + BIG),
    "not-json-large": posted("/v1/embeddings", b'{"a":"' + BIG),
    "no-model": posted("/v1/embeddings", b"{" + BIG + b"}"),
    "unknown-model": posted("/v1/embeddings", b'{"model":"x"' + BIG + b"}"),
    "form": posted("/v1/audio/transcriptions", b"--b\r\n" + BIG, content_type="multipart/form-data; boundary=b"),
    "count": posted("/v1/messages/count_tokens", b'{"model":"x"' + BIG + b"}"),
    "conversation": posted("/v1/conversations", b'{"metadata":7' + BIG + b"}"),
    "stranger": request("/v1/embeddings", BIG),
    "unread": posted("/healthz", BIG),
    "broken-chunk": CHUNKED % b"/v1/embeddings" + b"100000\r\n" + BIG + b"x\r\n",
    "too-large": CHUNKED % b"/v1/embeddings" + b"300000\r\n" + BIG * 3,
    "exchange-not-json": posted("/v1/chat/completions", b'{"a"' + BIG),
    "exchange-unknown-model": posted("/v1/chat/completions", b'{"model":"x"' + BIG + b"}"),
}


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("name", FAILING)
@inside_once
async def test_a_failed_request_leaves_nothing(name: str) -> None:
    """Neither its body nor a part of it, without the collector's help."""
    logging.getLogger("tornado.general").setLevel(logging.WARNING)
    async with Inside(KEYED + "\nlimits: {max_body: 2MB}") as gateway:

        async def fail() -> None:
            async with gateway.call(FAILING[name]) as caller:
                assert 400 <= (await caller.head())[0] < 500
            await gateway.until(lambda: not gateway.server.connections)

        await fail()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(4):
            await fail()
        after, _ = tracemalloc.get_traced_memory()
        assert after - before < MB
        assert not gateway.gateway.bodies.held


@pytest.mark.usefixtures("traced")
@inside_once
async def test_who_leaves_within_a_body_leaves_nothing() -> None:
    async with Inside(KEYED) as gateway:

        async def leave() -> None:
            async with gateway.call(posted("/v1/chat/completions", BIG)[:-10]):
                await gateway.until(lambda: gateway.gateway.bodies.held > MB - 1000)
            await gateway.until(lambda: not gateway.server.connections)

        await leave()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(4):
            await leave()
        after, _ = tracemalloc.get_traced_memory()
        assert after - before < MB
        assert not gateway.gateway.bodies.held
        assert gateway.idle


# ---- a process ----

TIMES = 3000 if os.environ.get("DRAGOMAN_ATTACK") else 150
MOST = 80.0  # MB that the process may hold afterwards
ASKED = b'{"model":"%b","max_tokens":5,"messages":[{"role":"user","content":"%b"}]}'
PROSE = b"word " * (MB // 5)

MANY = {
    "not-json": posted("/v1/chat/completions", ASKED[:-1] % (b"chat/m", PROSE)),
    "unknown-model": posted("/v1/chat/completions", ASKED % (b"nobody", PROSE)),
    "unread": posted("/healthz", PROSE),
    "stranger": request("/v1/messages", PROSE),
    "refused": posted("/v1/chat/completions", ASKED % (b"chat/refused", PROSE)),
    "closed": posted("/v1/messages", ASKED % (b"chat/closed", PROSE)),
    "broken": posted("/v1/messages", b'{"stream":true,' + ASKED[1:] % (b"chat/broken", PROSE)),
    "raw": posted("/v1/embeddings", ASKED % (b"chat/closed", PROSE)),
    "count": posted("/v1/messages/count_tokens", ASKED % (b"messages/closed", PROSE)),
}


def failing(asked: Request) -> Steps:
    how = asked.json["model"]
    if how == "refused":
        return [respond({"error": {"message": "No."}}, 400)]
    return [stream_head(), chunk(b'data: {"choices": []}\n\n'), close] if how == "broken" else [close]


@pytest.mark.timeout(900)
def test_many_failed_requests_leave_the_process_small(start: Start) -> None:
    with Provider(failing) as provider:
        keys = "\naccess_keys: [{key: right, name: a}]"
        gateway = start(CONFIG.replace("127.0.0.1}", "127.0.0.1, port: PORT}").replace("UPSTREAM", provider.url) + keys)
        for asked in itertools.islice(itertools.cycle(MANY.values()), TIMES):
            with Wire(gateway.port) as wire:
                wire.send(asked)
                status, _ = wire.head()
                assert status != 200
            provider.requests.clear()
            provider.connections.clear()
        held = memory_mb(gateway.process.pid)
        print(f"{TIMES} failed requests of 1 MB: {held:.0f} MB resident")
        assert held <= MOST
