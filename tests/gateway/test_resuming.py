"""`x-dragoman-resume: 1`: a stream whose connection broke is read on with `Last-Event-ID`, or `starting_after`, at any replica."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from wsproto.events import CloseConnection

from dragoman import conf
from dragoman.codecs import errors
from dragoman.proxy.exchange import resuming
from dragoman.proxy.memory import resumable
from dragoman.proxy.memory.stores.memory import MemoryStore

from ..proxy.kinds import cluster, postgres, redis, stop_cluster
from ..scripted import LAST_CHUNK, Gate, Provider, Request, Step, Steps, chunk, close, respond, stream_head, until_closed, wait
from .gemini_stage import HI
from .inside import Caller, Inside, inside_once
from .sockets import connected
from .spoken import APIS, ASKED, PATHS, SHAPE_AT, SHAPES, SPEECH, Judges, Outcome
from .wire import request

_COMMENTS = re.compile(rb"\A(?::[^\n]*(?:\n|\Z))+")  # before an event
_ID = re.compile(rb"^id: ([0-9a-f]{32}):(\d+)$", re.MULTILINE)


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    yield
    stop_cluster()


def configuration(api: str, store: Path | None = None, keys: str = "") -> str:
    entry = f'  - {{model: up/m, base_url: "UPSTREAM/v1", apis: [{APIS[api]}], access_key: k}}'
    storage = "" if store is None else f"state_storage: {{type: sqlite, path: {store}}}"
    return "\n".join(["model_providers:", entry, storage, keys])


def script(*before: str, gate: Gate | None, after: tuple[str, ...] = (" world",), end: list[Step] | None = None) -> Any:
    """before: words that come at once. after: those behind the gate."""

    def answer(request: Request) -> Steps:
        speech = SPEECH[SHAPE_AT[request.target]]
        first = map(chunk, [*speech.opening, *map(speech.word, before)])
        last = map(chunk, [*map(speech.word, after), *speech.ending])
        return [stream_head(), *first, *([] if gate is None else [wait(gate)]), *([*last, LAST_CHUNK] if end is None else end)]

    return answer


@contextlib.asynccontextmanager
async def asking(gateway: Inside, shape: str, key: str | None = None, **more: Any) -> AsyncIterator[Caller]:
    headers = {"x_dragoman_resume": "1"} | ({} if key is None else {"authorization": f"Bearer {key}"})
    async with gateway.call(request(PATHS[shape], {"model": "up/m", "stream": True, **ASKED[shape], **more}, **headers)) as caller:
        yield caller


@contextlib.asynccontextmanager
async def again(gateway: Inside, shape: str, last: bytes, key: str | None = None) -> AsyncIterator[Caller]:
    headers = {"last_event_id": last.decode("latin-1")} | ({} if key is None else {"authorization": f"Bearer {key}"})
    async with gateway.call(request(PATHS[shape], {"model": "up/m", "stream": True, **ASKED[shape]}, **headers)) as caller:
        yield caller


def events(said: bytes) -> list[tuple[bytes, int, bytes]]:
    """The token, the number and the rest of each event; comments are left out."""
    found = []
    for block in said.split(b"\n\n")[:-1]:
        event = _COMMENTS.sub(b"", block)
        if event:
            line, _, rest = event.partition(b"\n")
            match = _ID.fullmatch(line)
            assert match is not None, block
            found.append((match[1], int(match[2]), rest))
    return found


async def some(caller: Caller, mark: bytes) -> list[tuple[bytes, int, bytes]]:
    said = await caller.until(mark)
    return events(said)


@pytest.mark.parametrize("upstream", SHAPES)
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_it_is_read_on_at_another_replica(shape: str, upstream: str, tmp_path: Path) -> None:
    """What the caller reads in two pieces is what it would have read in one; the upstream is asked once, and goes on meanwhile."""
    gate = Gate()
    config = configuration(upstream, tmp_path / "state")
    async with Provider(script("Hello", gate=gate)) as provider, Inside(config, provider) as gateway, Inside(config, provider) as other:
        async with asking(gateway, shape) as caller:
            _, headers = await caller.head()
            first = await some(caller, b"Hello")
            caller.leave()
        token, last, _ = first[-1]
        assert headers["x-dragoman-resume"] == token.decode()
        async with again(other, shape, b"%b:%d" % (token, last)) as caller:
            gate.open()
            status, headers = await caller.head()
            rest = events(await caller.body(headers))
        async with again(gateway, shape, b"%b:%d" % (token, 0)) as caller:
            _, headers = await caller.head()
            all_but_one = events(await caller.body(headers))
        await gateway.until(lambda: gateway.idle and gateway.lines)
        assert (status, gateway.lines[0]["status"], "error" in gateway.lines[0]) == (200, 200, False)
        assert b'dragoman_resumes_total{result="resumed"} 1.0' in other.gateway.metrics.text()
    whole = first + rest
    assert [number for _, number, _ in whole] == list(range(len(whole)))
    assert whole[1:] == all_but_one
    text = b"".join(data for _, _, data in whole)
    assert text.index(b"Hello") < text.index(b" world")
    if shape == "responses":
        numbers = [json.loads(data.partition(b"data: ")[2])["sequence_number"] for _, _, data in whole if b"[DONE]" not in data]
        assert numbers == list(range(len(numbers))) or upstream == "responses"
    assert len(provider.requests) == 1
    assert not {"x-dragoman-resume", "last-event-id"} & provider.requests[0].headers.keys()


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_nothing_is_numbered_without_the_header(shape: str) -> None:
    with Provider(script("Hello", gate=None)) as provider:
        async with Inside(configuration(shape), provider) as gateway, gateway.ask(shape, "up/m", stream=True) as caller:
            _, headers = await caller.head()
            assert b"\nid:" not in b"\n" + await caller.body(headers)
            assert "x-dragoman-resume" not in headers


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_comments_and_the_upstreams_own_ids(shape: str) -> None:
    """OpenAI's SDKs take a comment for an event once they have had an id; and of two ids in an event the last one counts."""

    def answer(request: Request) -> Steps:
        speech = SPEECH[shape]
        own = [b"id: 7\n" + event.rstrip(b"\n") + b"\nid\n\n" for event in speech.stream]
        return [stream_head(), *(chunk(event + b": busy\n\n") for event in own), LAST_CHUNK]

    with Provider(answer) as provider:
        async with Inside(configuration(shape).replace("}", ", capabilities: {r.stateful: false}}"), provider) as gateway:
            judges = Judges(f"http://127.0.0.1:{gateway.port}")
            try:
                more = {"extra_headers": {"x-dragoman-resume": "1"}} | ({"extra_body": {"store": False}} if shape == "responses" else {})
                assert await asyncio.to_thread(judges.ask, shape, "up/m", streamed=True, **more) == Outcome("Hello world")
            finally:
                judges.close()
            async with asking(gateway, shape, **({"store": False} if shape == "responses" else {})) as caller:
                _, headers = await caller.head()
                whole = events(await caller.body(headers))
            assert [number for _, number, _ in whole] == list(range(len(whole)))
            assert not any(re.search(rb"^id|^:", data, re.MULTILINE) for _, _, data in whole)
            async with again(gateway, shape, b"%b:0" % whole[0][0]) as caller:
                _, headers = await caller.head()
                assert events(await caller.body(headers)) == whole[1:]


@pytest.mark.parametrize("shape", ["chat", "messages"])
@inside_once
async def test_a_stream_that_is_over_is_read_again(shape: str) -> None:
    async with Provider(script("Hello", gate=None)) as provider, Inside(configuration("chat"), provider) as gateway:
        async with asking(gateway, shape) as caller:
            _, headers = await caller.head()
            whole = events(await caller.body(headers))
        await gateway.until(lambda: gateway.idle)
        for token, number, _ in whole:
            async with again(gateway, shape, b"%b:%d" % (token, number)) as caller:
                _, headers = await caller.head()
                assert events(await caller.body(headers)) == whole[number + 1 :]


KEYS = "access_keys: [{key: sk-one, name: one}, {key: sk-two, name: two}]"


@inside_once
async def test_only_the_key_that_began_it() -> None:
    async with Provider(script("Hello", gate=None)) as provider, Inside(configuration("chat", keys=KEYS), provider) as gateway:
        async with asking(gateway, "chat", "sk-one") as caller:
            _, headers = await caller.head()
            token, *_ = events(await caller.body(headers))[0]
        found = []
        for key, last in (("sk-two", token), ("sk-one", b"0" * 32), ("sk-none", token), ("sk-one", token)):
            async with again(gateway, "chat", last + b":0", key) as caller:
                status, headers = await caller.head()
                found.append((status, b"Hello" in await caller.body(headers)))
        assert found == [(404, False), (404, False), (401, False), (200, True)]
        assert b'dragoman_resumes_total{result="missed"} 2.0' in gateway.gateway.metrics.text()
    assert len(provider.requests) == 1


TOKEN = b"0" * 32
FOREIGN = (
    *(b"17", b"x:1", b"-1", b"", b":", b"{}", b"null", b"\xff\xfe", b"a" * 5000, TOKEN, TOKEN + b":", TOKEN + b":x", TOKEN + b":-1"),
    *(TOKEN + b":+1", TOKEN + b":1.0", TOKEN + b":12345678901", TOKEN + b":1" * 2000, TOKEN + b":1:1", b"O" + TOKEN[1:] + b":1"),
    "०".encode() + TOKEN[1:] + b":1",
)


@inside_once
async def test_a_key_that_is_revoked_meanwhile(tmp_path: Path) -> None:
    """And a reload that leaves nothing of the configuration: what was begun ends, for who reads on already; nobody else comes in."""
    gate, gone = Gate(), conf.loads("model_providers: [{model: demo/*}]\naccess_keys: [{key: sk-two, name: two}]", environ={})
    config = configuration("chat", tmp_path / "state", KEYS)
    async with Provider(script("Hello", gate=gate)) as provider, Inside(config, provider) as gateway, Inside(config, provider) as other:
        async with asking(gateway, "messages", "sk-one") as caller:
            await caller.head()
            first = await some(caller, b"Hello")
            caller.leave()
        token, last, _ = first[-1]
        async with again(other, "messages", b"%b:%d" % (token, last - 1), "sk-one") as reader:
            await reader.head()
            said = await reader.until(b"Hello")
            for one in (gateway, other):
                one.gateway.adopt(gone)
            async with again(other, "messages", b"%b:0" % token, "sk-one") as caller:
                assert (await caller.head())[0] == 401
            async with again(other, "messages", b"%b:0" % token, "sk-two") as caller:
                assert (await caller.head())[0] == 404
            gate.open()
            said += await reader.until(b"message_stop")
        await gateway.until(lambda: gateway.idle and gateway.lines)
        assert (gateway.lines[0]["status"], "error" in gateway.lines[0], gateway.lines[0]["key"]) == (200, False, "one")
    found = events(said)
    assert [number for _, number, _ in found] == list(range(last, last + len(found)))
    assert len(provider.requests) == 1


@inside_once
async def test_an_id_of_another_kind_is_none_of_ours() -> None:
    async with Provider(script("Hello", gate=None)) as provider, Inside(configuration("chat"), provider) as gateway:
        for last in FOREIGN:
            async with again(gateway, "chat", last) as caller:
                status, headers = await caller.head()
                assert (status, b"Hello" in await caller.body(headers)) == (200, True)
    assert len(provider.requests) == len(FOREIGN)


@pytest.mark.parametrize("runs", [False, True])
@inside_once
async def test_an_event_that_there_is_not(runs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stream that is over, and of one that runs; nothing waits for it, and no upstream is asked."""
    monkeypatch.setattr(resumable, "AHEAD", 0.2)
    gate = Gate()
    async with Provider(script("Hello", gate=gate if runs else None)) as provider, Inside(configuration("chat"), provider) as gateway:
        async with asking(gateway, "responses") as begun:
            _, headers = await begun.head()
            token = headers["x-dragoman-resume"]
            first = await some(begun, b"Hello" if runs else b"response.completed")
            id = json.loads(first[0][2].partition(b"data: ")[2])["response"]["id"]
            if not runs:
                await gateway.until(lambda: gateway.idle)
            last, found = first[-1][1], []
            for number in (last + 1, last + 2, 999_999_999):
                async with again(gateway, "responses", f"{token}:{number}".encode()) as caller:
                    found.append((await caller.head())[0])
            for number in (last + 1, 999_999_999_999_999):
                ask = f"GET /v1/responses/{id}?stream=true&starting_after={number} HTTP/1.1\r\nHost: x\r\n\r\n"
                async with gateway.call(ask.encode()) as caller:
                    found.append((await caller.head())[0])
            assert found == [404] * 5
            async with again(gateway, "responses", f"{token}:{last}".encode()) as caller:
                gate.open()
                status, headers = await caller.head()
                assert (status, b"response.completed" in await caller.body(headers)) == (200, runs)
        await gateway.until(lambda: gateway.idle)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_a_stream_that_fails_is_told_again_as_it_was(shape: str) -> None:
    async with Provider(script("Hello", gate=None, end=[close])) as provider, Inside(configuration("chat"), provider) as gateway:
        async with asking(gateway, shape) as caller:
            _, headers = await caller.head()
            whole = events(await caller.body(headers))
        assert b"error" in whole[-1][2] + whole[-2][2]
        async with again(gateway, shape, whole[0][0] + b":0") as caller:
            _, headers = await caller.head()
            assert events(await caller.body(headers)) == whole[1:]


@inside_once
async def test_what_is_refused_or_no_stream_is_as_ever() -> None:
    def answer(request: Request) -> Steps:
        return [respond(SPEECH["chat"].whole)] if not request.json.get("stream") else [respond({"error": {"message": "No."}}, 400)]

    async with Provider(answer) as provider, Inside(configuration("chat"), provider) as gateway:
        for stream, expected in ((False, 200), (True, 400)):
            async with asking(gateway, "chat", stream=stream) as caller:
                status, headers = await caller.head()
                await caller.body(headers)
                assert (status, "x-dragoman-resume" in headers) == (expected, False)
        await gateway.until(lambda: gateway.idle)


@inside_once
async def test_nobody_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while the upstream's call ends, and what it used is charged."""
    monkeypatch.setattr(resuming, "GOES_ON", 0.2)
    monkeypatch.setattr(resuming, "LOOK", 0.05)
    async with Provider(script("Hello", gate=None, end=[until_closed])) as provider, Inside(configuration("chat"), provider) as gateway:
        async with asking(gateway, "chat") as caller:
            await caller.head()
            await caller.until(b"Hello")
            caller.leave()
            await provider.seen(lambda: provider.connections[0].closed_by == "peer")
        await gateway.until(lambda: gateway.idle and gateway.lines)
        assert (gateway.lines[0]["client_left"], gateway.lines[0]["tokens"]["output"] > 0) == (True, True)


@inside_once
async def test_it_goes_on_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "GOES_ON", 0.1)
    monkeypatch.setattr(resuming, "LOOK", 0.05)
    gate = Gate()
    async with Provider(script("Hello", gate=gate)) as provider, Inside(configuration("chat"), provider) as gateway:
        async with asking(gateway, "chat") as caller:
            await caller.head()
            token, last, _ = (await some(caller, b"Hello"))[-1]
            caller.leave()
        async with again(gateway, "chat", b"%b:%d" % (token, last - 1)) as caller:
            await caller.head()
            await caller.until(b"Hello")
            gateway.gateway.loop.call_later(0.5, gate.open)
            assert b"[DONE]" in await caller.until(b"[DONE]")


@inside_once
async def test_a_gateway_that_died(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What it wrote is sent, and then the connection is closed in the middle: no honest end is known."""
    monkeypatch.setattr(resumable, "LEASE", 0.3)
    monkeypatch.setattr(resumable, "ORPHAN_CHECK", 0.2)
    config = configuration("chat", tmp_path / "state")
    with Provider(script("Hello", gate=None, end=[until_closed])) as provider:
        async with Inside(config, provider) as gateway, Inside(config, provider) as other:
            async with asking(gateway, "chat") as caller:
                await caller.head()
                token, *_ = (await some(caller, b"Hello"))[-1]
                (exchange,) = [one for one in gateway.gateway.exchanges if one.resumable is not None]
                log = exchange.resumable._log  # type: ignore[union-attr]
                log._beat.cancel()  # type: ignore[union-attr]
                async with again(other, "chat", b"%b:%d" % (token, 0)) as reader:
                    await reader.head()
                    await reader.until(b"Hello")
                    with pytest.raises((asyncio.IncompleteReadError, ValueError, ConnectionError)):
                        await reader.until(b"[DONE]")
                caller.leave()
                exchange.client.gone = True
                exchange.give_up()
            await gateway.until(lambda: gateway.idle)


@pytest.mark.parametrize("upstream", ["chat", "messages"])
@inside_once
async def test_a_response_by_its_id_and_number(upstream: str, tmp_path: Path) -> None:
    gate = Gate()
    config = configuration(upstream, tmp_path / "state", KEYS)
    async with Provider(script("Hello", gate=gate)) as provider, Inside(config, provider) as gateway, Inside(config, provider) as other:
        async with asking(gateway, "responses", "sk-one") as caller:
            await caller.head()
            first = await some(caller, b"Hello")
            caller.leave()
        data = [json.loads(rest.partition(b"data: ")[2]) for _, _, rest in first]
        path = f"/v1/responses/{data[0]['response']['id']}?stream=true&starting_after={data[-1]['sequence_number']}"
        for key, expected in (("sk-two", 404), ("sk-one", 200)):
            ask = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
            async with other.call(ask) as caller:
                if expected == 200:
                    gate.open()
                status, headers = await caller.head()
                said = await caller.body(headers)
                assert status == expected
        more = [json.loads(line[6:]) for line in said.splitlines() if line.startswith(b"data: {")]
        numbers = [event["sequence_number"] for event in [*data, *more]]
        assert numbers == list(range(len(numbers)))
        assert more[-1]["response"]["output"][0]["content"][0]["text"] == "Hello world"


@pytest.mark.parametrize("leaves", ["reset", "closed", "Close"])
@pytest.mark.parametrize("upstream", ["chat", "responses"])
@inside_once
async def test_a_response_over_a_websocket(upstream: str, leaves: str, tmp_path: Path) -> None:
    """Read on over HTTP, at any replica; two lanes are two streams."""
    gate = Gate()
    config = configuration(upstream, tmp_path / "state", KEYS).replace("access_key: k", "access_key: k, capabilities: {r.stateful: false}")
    key = {"authorization": "Bearer sk-one"}
    async with Provider(script("Hello", gate=gate)) as provider, Inside(config, provider) as gateway, Inside(config, provider) as other:
        first: dict[str, list[Any]] = {"a": [], "b": []}
        async with connected(gateway, X_Dragoman_Resume="1", **key) as socket:
            for lane in first:
                socket.create(model="up/m", input="Hi", stream_id=lane)
            while not all(any("Hello" in str(event) for event in found) for found in first.values()):
                event = await socket.event()
                first[event["stream_id"]].append(event)
            if leaves == "Close":
                socket.say(CloseConnection(1000))
                assert await socket.closed() == 1000
            else:
                socket.caller.leave(reset=leaves == "reset")
        await gateway.until(lambda: not gateway.gateway.live.sockets)
        gate.open()
        for found in first.values():
            path = f"/v1/responses/{found[0]['response']['id']}?stream=true&starting_after={found[-1]['sequence_number']}"
            async with other.call(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-one\r\n\r\n".encode()) as caller:
                _, headers = await caller.head()
                said = await caller.body(headers)
            more = [json.loads(line[6:]) for line in said.splitlines() if line.startswith(b"data: {")]
            numbers = [event["sequence_number"] for event in [*found, *more]]
            assert numbers == list(range(len(numbers)))
            assert more[-1]["response"]["output"][0]["content"][0]["text"] == "Hello world"
        await gateway.until(lambda: gateway.idle and len(gateway.lines) == 3)
        assert ["error" in line for line in gateway.lines] == [False] * 3
    assert len(provider.requests) == 2


@inside_once
async def test_events_that_are_no_longer_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "RING", 600)
    async with Provider(script(*"abcdefghij", gate=None)) as provider, Inside(configuration("chat"), provider) as gateway:
        async with asking(gateway, "chat") as caller:
            _, headers = await caller.head()
            whole = events(await caller.body(headers))
        await gateway.until(lambda: gateway.idle)
        token, found = whole[0][0], []
        for number in (0, whole[-2][1]):
            async with again(gateway, "chat", b"%b:%d" % (token, number)) as caller:
                status, headers = await caller.head()
                await caller.body(headers)
                found.append(status)
        assert found == [404, 200]


@inside_once
async def test_too_many_are_not_resumable_and_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "MOST", 2)
    async with Provider(script("Hello", gate=None)) as provider, Inside(configuration("chat"), provider) as gateway:
        found = []
        for _ in range(3):
            async with asking(gateway, "chat") as caller:
                status, headers = await caller.head()
                said = await caller.body(headers)
                found.append((status, "x-dragoman-resume" in headers, b"Hello" in said))
            await gateway.until(lambda: gateway.idle)
        assert found == [(200, True, True), (200, True, True), (200, False, True)]
        assert 0 < gateway.gateway.state.streams.bytes < 4000


@inside_once
async def test_a_stream_that_goes_above_the_bound_is_served_without_ids(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its log is deleted, whoever reads it is cut off, and there is room for the next one."""
    monkeypatch.setattr(resumable, "MOST_BYTES", 3000)
    gate = Gate()
    with Provider(script("Hello", gate=gate, after=tuple(f" word{number}" for number in range(40)))) as provider:
        async with Inside(configuration("responses"), provider) as gateway:
            streams = gateway.gateway.state.streams
            async with asking(gateway, "responses") as caller:
                _, headers = await caller.head()
                first = await caller.until(b"Hello")
                event = b"%b:0" % headers["x-dragoman-resume"].encode()
                async with again(gateway, "responses", event) as reader:
                    await reader.head()
                    await reader.until(b"Hello")
                    gate.open()
                    with pytest.raises(ValueError):  # no chunk follows, nor the last one
                        await reader.body({"transfer-encoding": "chunked"})
                said = first + await caller.body(headers)
            await gateway.until(lambda: gateway.idle)
            *_, last = events(first)
            assert b" word39" in said
            assert said.count(b"\nid: ") + said.startswith(b"id: ") < said.count(b"data: ")
            assert streams.bytes == 0
            async with again(gateway, "responses", b"%b:%d" % (last[0], last[1])) as reader:
                status, headers = await reader.head()
                assert (status, b"no longer stored" in await reader.body(headers)) == (404, True)
            async with asking(gateway, "responses") as caller:
                _, headers = await caller.head()
                assert "x-dragoman-resume" in headers
                await caller.body(headers)
            await gateway.until(lambda: gateway.idle)
    assert "a stream cannot be resumed any more" in caplog.text


@inside_once
async def test_a_stream_that_replaces_its_oldest_events_needs_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "RING", 1000)
    monkeypatch.setattr(resumable, "MOST_BYTES", 1100)
    streams = resumable.Streams(MemoryStore(10))
    begun = await streams.begin("ann", None)
    assert begun is not None
    token, log = begun
    for _ in range(50):
        log.add([b"x" * 100])
        await log._flushed()
    assert (log.lost, streams.bytes, len(await streams.store.read(resumable.log_name("ann", token)))) == (False, 1000, 10)
    log.add([b"x" * 1200])
    await log._flushed()
    await log.end(True)
    assert (log.lost, streams.bytes, await streams.store.read(resumable.log_name("ann", token))) == (True, 0, [])


@inside_once
async def test_logs_that_have_expired_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no other stream has begun since."""
    monkeypatch.setattr(resumable, "MOST_BYTES", 1000)
    streams = resumable.Streams(MemoryStore(10))
    old, new = [await streams.begin("ann", None) for _ in range(2)]
    assert old is not None
    assert new is not None
    old[1].add([b"x" * 900])
    await old[1].end(True)
    monkeypatch.setattr(resumable, "monotonic", lambda: monotonic() + 2 * resumable.STORED)
    new[1].add([b"x" * 900])
    await new[1].end(True)
    assert not new[1].lost


GEMINI = "/v1beta/models/up%2Fm:streamGenerateContent?alt=sse"


@contextlib.contextmanager
def state(kind: str, folder: Path) -> Iterator[str]:
    """The section `state_storage` for entries that several gateways share."""
    if kind == "sqlite":
        yield f"state_storage: {{type: sqlite, path: {folder / 'state'}}}"
        return
    if kind == "postgres":
        with postgres() as address:
            yield f'state_storage: {{type: postgres, connection_string: "{address}"}}'
    else:
        with redis() if kind == "redis" else contextlib.nullcontext(cluster().url) as address:
            yield f"state_storage: {{type: redis, url: {address}}}"


class Reader:
    """A caller that leaves after a few events and comes back. events: the data of each that it has, in order."""

    def __init__(self, shape: str, draw: random.Random) -> None:
        self.shape, self._draw = shape, draw
        self.events: list[bytes] = []
        self.token = ""
        self.resumed = 0

    def _asking(self, **headers: str) -> bytes:
        if self.shape == "gemini":
            return request(GEMINI, HI, **headers)
        return request(PATHS[self.shape], {"model": "up/m", "stream": True, **ASKED[self.shape]}, **headers)

    async def begin(self, gateway: Inside) -> None:
        async with gateway.call(self._asking(x_dragoman_resume="1")) as caller:
            self.token = (await caller.head())[1]["x-dragoman-resume"]
            await self._some(caller)

    async def go_on(self, gateway: Inside) -> None:
        """By the last event's id, its place, or its number."""
        self.resumed += 1
        data = self._asking(last_event_id=f"{self.token}:{len(self.events) - 1}")
        if self.shape == "responses" and self._draw.random() < 0.5:
            begun = json.loads(self.events[0].partition(b"data: ")[2])
            path = f"/v1/responses/{begun['response']['id']}?stream=true&starting_after={len(self.events) - 1}"
            data = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        async with gateway.call(data) as caller:
            assert (await caller.head())[0] == 200
            await self._some(caller)

    async def _some(self, caller: Caller) -> None:
        most, said = self._draw.randint(1, 5), b""
        while said.count(b"\n\n") < most and (piece := await caller.chunk()):
            said += piece
        for block in said.split(b"\n\n")[:-1]:
            event = _COMMENTS.sub(b"", block)
            if most and event:
                line, _, rest = event.partition(b"\n")
                if line.startswith(b"id: "):
                    assert line == f"id: {self.token}:{len(self.events)}".encode()
                self.events.append(rest if line.startswith(b"id: ") else event)
                most -= 1

    @property
    def over(self) -> bool:
        end = {"chat": b"[DONE]", "messages": b'"message_stop"', "responses": b'"response.completed"', "gemini": b'"finishReason":"STOP"'}
        return end[self.shape] in self.events[-1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis", "cluster"])
@inside_once
async def test_a_thousand_resumes_lose_and_double_nothing(kind: str, tmp_path: Path) -> None:
    """Callers of each API that leave after a few events and come back at the other replica: while the answer goes on, and after its end."""
    draw, words = random.Random(5), [f" word{number}" for number in range(60)]
    resumed: dict[str, int] = {}

    async def one(gateways: list[Inside], shape: str) -> None:
        reader = Reader(shape, draw)
        await reader.begin(gateways[0])
        while not reader.over:
            await reader.go_on(gateways[(reader.resumed + 1) % 2])
        assert re.findall(r" word\d+", b"".join(filter(is_delta, reader.events)).decode()) == words
        if shape == "responses":
            numbers = [json.loads(data.partition(b"data: ")[2])["sequence_number"] for data in reader.events]
            assert numbers == list(range(len(numbers)))
        resumed[shape] = resumed.get(shape, 0) + reader.resumed

    gates: list[Gate] = []
    with (
        Provider(lambda request: script(*words[:5], gate=gates[-1], after=tuple(words[5:]))(request)) as provider,
        state(kind, tmp_path) as section,
    ):
        config = configuration("chat") + "\n" + section
        async with Inside(config, provider) as gateway, Inside(config, provider) as other:
            for shape in ("chat", "messages", "responses", "gemini") * 3:
                gates.append(Gate())
                gateway.gateway.loop.call_later(0.2, gates[-1].open)  # when some have come back
                await asyncio.gather(*(one([gateway, other], shape) for _ in range(5)))
            await gateway.until(lambda: gateway.idle and other.idle)
            assert len(provider.requests) == 60
            streams = gateway.gateway.state.streams
            assert (len(streams._logs), len(streams._ended)) == (0, 60)
    print(f"{kind}: {resumed}")
    assert sum(resumed.values()) >= 1000


def is_delta(event: bytes) -> bool:
    """Whether an event has a piece of the text, not the text so far."""
    return not re.search(rb'"type":"response\.(?!output_text\.delta)', event)


@inside_once
async def test_what_a_lost_log_could_not_write_counts_no_longer() -> None:
    """Else a store that is away now and then would end all resuming."""
    gone = errors.Overloaded("The store is away.")

    class Failing(MemoryStore):
        async def append(self, *arguments: Any, **more: Any) -> int | None:
            started.set()
            await waits.wait()
            raise gone

    started, waits = asyncio.Event(), asyncio.Event()
    streams = resumable.Streams(Failing(10))
    begun = await streams.begin("ann", None)
    assert begun is not None
    log = begun[1]
    log.add([b"data: 1\n\n"])
    await started.wait()
    log.add([b"x" * 10_000])  # waits behind what is being written
    waits.set()
    await log.end(True)
    assert log.lost
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resumable, "time", lambda: 0.0)  # whatever the clock says, time goes by
        patch.setattr(resumable, "monotonic", lambda: monotonic() + 2 * resumable.STORED)
        streams._forget()
    assert streams.bytes == 0
