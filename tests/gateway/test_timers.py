"""The timers: each ends what waits too long and is named; nothing ends otherwise. And keep-alives while an upstream thinks."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import orjson
import pytest

from dragoman.proxy.process import server
from dragoman.proxy.wire import inbound

from ..scripted import LAST_CHUNK, Gate, Provider, Request, Steps, chunk, close, frames, respond, stream_head, until_closed, wait
from .inside import CONFIG, Inside, inside, inside_once
from .spoken import SHAPES, SPEECH, Judges

pytestmark = pytest.mark.slow

SHORT = "timeouts: {first_byte: 100ms, idle: 100ms, connect: 100ms}"


def timed(settings: str) -> str:
    return CONFIG.replace("access_key:", f"{settings}, access_key:")


# ---- each timer, and its name ----


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_connect(shape: str) -> None:
    with Provider([], on_connect=[until_closed]) as provider:  # TLS never begins
        url = provider.url.replace("http://127.0.0.1", "https://localhost")
        async with Inside(timed(SHORT).replace("UPSTREAM", url)) as gateway, gateway.ask(shape, "chat/m", stream=True) as caller:
            status, headers = await caller.head()
            assert status == 504
            assert b"(connect)" in await caller.body(headers)
            assert gateway.lines[0]["timer"] == "connect"


WAITS = {
    "first_byte": [until_closed],
    "first_byte-of-many": [b"HTTP/1.1 200 OK\r\nX-A", until_closed],
    "idle": [stream_head(), until_closed],
    "idle-in-a-body": [respond({"a": "b"})[:-1], until_closed],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", WAITS)
@inside_once
async def test_silence(name: str, shape: str) -> None:
    timer = name.partition("-")[0]
    with Provider(WAITS[name]) as provider:
        async with Inside(timed(SHORT), provider) as gateway, gateway.ask(shape, "messages/m", stream=True) as caller:
            status, headers = await caller.head()
            assert status == 504
            assert f"({timer})".encode() in await caller.body(headers)
            await gateway.until(lambda: gateway.idle)
            assert gateway.lines[0]["timer"] == timer


@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_every_byte_counts(upstream: str) -> None:
    """An answer that takes longer than the idle timer, and never pauses nearly that long."""
    pauses = [Gate() for _ in range(5)]

    def script(request: Request) -> Steps:
        speech = SPEECH[upstream]
        beats = [step for pause in pauses for step in (wait(pause), chunk(b": still here\n\n"))]
        return [*frames(*speech.opening), *beats, *map(chunk, [*speech.words, *speech.ending]), LAST_CHUNK]

    with Provider(script) as provider:
        config = timed("timeouts: {first_byte: 5s, idle: 2s}")
        async with Inside(config, provider) as gateway, gateway.ask("chat", f"{upstream}/m", stream=True) as caller:
            began = time.monotonic()
            for pause in pauses:
                asyncio.get_running_loop().call_later(0.45 * (1 + pauses.index(pause)), pause.open)
            status, headers = await caller.head()
            assert b"[DONE]" in await caller.body(headers)
            assert (status, time.monotonic() - began > 2) == (200, True)


@pytest.mark.parametrize("begun", [False, True], ids=["before-content", "after-content"])
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_whole_request(shape: str, begun: bool) -> None:
    """A listener's own timeout, which nobody has unless it is written."""
    speech = SPEECH["chat"]
    said = frames(*speech.opening, *speech.words) if begun else frames(*speech.opening)
    config = CONFIG.replace("address: 127.0.0.1", "address: 127.0.0.1, timeout: 200ms")
    with Provider([*said, until_closed]) as provider:
        async with Inside(config, provider) as gateway, gateway.ask(shape, "chat/m", stream=True) as caller:
            status, headers = await caller.head()
            assert status == (200 if begun else 504)
            assert b"(timeout)" in await caller.body(headers)
            assert gateway.lines[0]["timer"] == "timeout"
            await provider.seen(lambda: provider.connections[0].closed_by == "peer")


@pytest.mark.parametrize("whole", [False, True], ids=["stream", "whole"])
@pytest.mark.parametrize("upstream", SHAPES)
@inside
async def test_client_stall(upstream: str, whole: bool) -> None:
    """A client that takes nothing: its connection is closed, its upstream call ends, and the log says why."""
    speech = SPEECH[upstream]

    def script(request: Request) -> Steps:
        if whole:
            yield respond(respond(speech.whole).partition(b"\r\n\r\n")[2].replace(b"Hello world", b"x" * 20_000_000))
            return
        yield from frames(*speech.opening)
        while True:
            yield chunk(speech.word("x" * 50_000))

    config = CONFIG + "\nlimits: {client_stall: 300ms}"
    with Provider(script) as provider:
        async with Inside(config, provider) as gateway, gateway.ask("chat", f"{upstream}/m", stream=not whole) as caller:
            caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await gateway.until(lambda: gateway.lines, 20)
            assert gateway.lines[0]["timer"] == gateway.lines[0]["error"] == "client_stall"
            assert gateway.lines[0]["client_left"] is True
            await gateway.until(lambda: gateway.idle)
            if not whole:
                await provider.seen(lambda: provider.connections[0].closed_by == "peer")


@inside_once
async def test_a_slow_client_is_no_stalled_one() -> None:
    speech = SPEECH["chat"]
    size = 12_000_000
    config = CONFIG + "\nlimits: {client_stall: 2s}"
    events = [speech.word("x" * 50_000)] * (size // 50_000)
    with Provider([*frames(*speech.opening, *events, *speech.ending), LAST_CHUNK]) as provider:
        async with Inside(config, provider) as gateway, gateway.ask("chat", "chat/m", stream=True) as caller:
            began, taken = time.monotonic(), b""
            while len(taken) < size:
                piece = await caller.reader.read(400_000)
                assert piece, gateway.lines
                taken += piece
                await asyncio.sleep(0.1)
            assert time.monotonic() - began > 2.5
        await gateway.until(lambda: gateway.lines)
        assert "timer" not in gateway.lines[0]


# ---- keep-alives ----

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
COMMENT = b": keep-alive\n\n"


# keep-alives, and the heads of silent streams, after moments instead of many seconds
QUICK = "\nkeep_alive: {stream: 50ms, begin_after: 120ms}"


@pytest.mark.parametrize("place", ["before-content", "after-content"])
@pytest.mark.parametrize("upstream", SHAPES)
@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_keep_alives(client: str, upstream: str, place: str) -> None:
    """A stream that is silent for long begins by time, and is kept alive: by comments, behind its content in its shape's own way."""
    gate = Gate()
    speech = SPEECH[upstream]
    first = speech.words if place == "after-content" else []
    last = [] if first else speech.words
    script = [*frames(*speech.opening, *first), wait(gate), *map(chunk, [*last, *speech.ending]), LAST_CHUNK]
    with Provider(script) as provider:
        async with Inside(CONFIG + QUICK, provider) as gateway, gateway.ask(client, f"{upstream}/m", stream=True) as caller:
            status, headers = await caller.head()
            beat = PING if client == "messages" and first else COMMENT
            said = await caller.until(beat)
            said += await caller.until(beat)
            gate.open()
            said += await caller.body(headers)
            assert status == 200
            assert said.index(b"Hello") < said.index(b" world")
            assert b"[DONE]" in said if client == "chat" else b"message_stop" in said or b"response.completed" in said
            assert "error" not in gateway.lines[0]


PROGRESS = "\nkeep_alive: {stream: 30ms, begin_after: 60ms, progress: 100ms}"


@pytest.mark.parametrize("native", [False, True], ids=["", "native"])
@pytest.mark.parametrize("asked", [{}, {"store": False}], ids=["stored", "not-stored"])
@pytest.mark.parametrize("place", ["before-content", "after-content"])
@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_progress(upstream: str, place: str, asked: dict[str, Any], native: bool) -> None:
    """R18: callers of the Responses API are sent an event after a long silence, and every event has its own number."""
    gate = Gate()
    speech = SPEECH[upstream]
    opening = [piece.replace(b'"sequence_number":4', b'"sequence_number":5') if b" world" in piece else piece for piece in speech.words]
    first, last = (opening[:1], opening[1:]) if place == "after-content" else ([], opening)
    script = [*frames(*speech.opening, *first), wait(gate), *map(chunk, [*last, *speech.ending]), LAST_CHUNK]
    config = CONFIG.replace("apis: [responses]", "apis: [responses], capabilities: {r.stateful: true}") if native else CONFIG
    with Provider(script) as provider:
        async with (
            Inside(config + PROGRESS, provider) as gateway,
            gateway.ask("responses", f"{upstream}/m", stream=True, **asked) as caller,
        ):
            _, headers = await caller.head()
            said = b""
            while said.count(b"event: response.in_progress") < 3:
                said += await caller.chunk()
            gate.open()
            said += await caller.body(headers)
            events = [orjson.loads(line[6:]) for line in said.split(b"\n") if line.startswith(b"data: ")]
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            repeated = [event["response"] for event in events if event["type"] == "response.in_progress"]
            assert {response["status"] for response in repeated} == {"in_progress"}
            assert len({response["id"] for response in repeated} | {events[-1]["response"]["id"]}) == 1
            assert events[-1]["type"] == "response.completed"
            assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == "Hello world"
            await gateway.until(lambda: gateway.lines)
            assert "error" not in gateway.lines[0]


@pytest.mark.parametrize("asked", [{}, {"store": False}], ids=["stored", "not-stored"])
@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_a_failure_behind_progress(upstream: str, asked: dict[str, Any]) -> None:
    """It is told under the next number, in the response that was begun."""
    gate = Gate()
    speech = SPEECH[upstream]
    with Provider([*frames(*speech.opening, *speech.words[:1]), wait(gate), close]) as provider:
        async with (
            Inside(CONFIG + PROGRESS, provider) as gateway,
            gateway.ask("responses", f"{upstream}/m", stream=True, **asked) as caller,
        ):
            _, headers = await caller.head()
            said = b""
            while said.count(b"event: response.in_progress") < 2:
                said += await caller.chunk()
            gate.open()
            said += await caller.body(headers)
            events = [orjson.loads(line[6:]) for line in said.split(b"\n") if line.startswith(b"data: ")]
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert [event["type"] for event in events[-2:]] == ["response.failed", "error"]


@pytest.mark.parametrize("client", ["chat", "messages"])
@inside_once
async def test_other_callers_get_no_progress(client: str) -> None:
    gate = Gate()
    speech = SPEECH["responses"]
    script = [*frames(*speech.opening), wait(gate), *map(chunk, [*speech.words, *speech.ending]), LAST_CHUNK]
    with Provider(script) as provider:
        async with Inside(CONFIG + PROGRESS, provider) as gateway, gateway.ask(client, "responses/m", stream=True) as caller:
            _, headers = await caller.head()
            said = b"".join([await caller.until(COMMENT) for _ in range(8)])
            assert said.replace(COMMENT, b"") == b""
            gate.open()
            await caller.body(headers)


@pytest.mark.parametrize("upstream", SHAPES)
@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_keep_alives_before_anything(client: str, upstream: str) -> None:
    """Headers came and no event yet: nothing but comments fits in; what fails after them is told in the stream."""
    async with Provider([stream_head(), until_closed]) as provider, Inside(timed("timeouts: {idle: 400ms}") + QUICK, provider) as gateway:
        async with gateway.ask(client, f"{upstream}/m", stream=True) as caller:
            status, headers = await caller.head()
            assert status == 200
            said = await caller.until(COMMENT) + await caller.body(headers)
            assert PING not in said
            assert said.count(COMMENT) >= 1
            assert b"(idle)" in said
        assert gateway.lines[0]["timer"] == "idle"


@pytest.mark.parametrize("upstream", SHAPES)
@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_keep_alives_before_the_headers(client: str, upstream: str) -> None:
    """The upstream has not even answered: the stream begins all the same, and the upstream's refusal is an error in it."""
    gate = Gate()
    with Provider([wait(gate), respond({"error": {"message": "Not like this."}}, 400)]) as provider:
        async with Inside(CONFIG + QUICK, provider) as gateway, gateway.ask(client, f"{upstream}/m", stream=True) as caller:
            status, headers = await caller.head()
            assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
            assert headers["x-dragoman-upstream"] == f"{upstream}/m"
            said = await caller.until(COMMENT) + await caller.until(COMMENT)
            gate.open()
            said += await caller.body(headers)
            assert b"Not like this." in said
            assert b"event: error" in said if client != "chat" else b'data: {"error"' in said
            await gateway.until(lambda: gateway.lines)
            assert "error" in gateway.lines[0]


@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_an_error_before_the_stream_begins_is_a_status(upstream: str) -> None:
    with Provider([respond({"error": {"message": "no"}}, 400)]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.ask("chat", f"{upstream}/m", stream=True) as caller:
            assert (await caller.head())[0] == 400


@pytest.mark.parametrize("late", [False, True], ids=["no-headers", "no-content"])
@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_another_candidate_takes_over_behind_keep_alives(client: str, late: bool) -> None:
    """Nothing but keep-alives was sent: the caller gets the whole answer of the next upstream, and nothing of the first."""
    gate = Gate()
    speech = SPEECH["chat"]
    first = [*(frames(*speech.opening) if late else []), wait(gate), *([] if late else [respond({}, 503, connection="close")]), close]
    answers = iter([first, [*frames(*speech.opening, *speech.words, *speech.ending), LAST_CHUNK]])
    config = CONFIG.replace("model_providers:", 'model_providers:\n  - {model: "up/m", base_url: "UPSTREAM/v1", access_key: k}') + (
        '\n  - {model: "up/m", name: other, base_url: "UPSTREAM/v1", access_key: k}'
    )
    with Provider(lambda request: next(answers)) as provider:
        async with Inside(config + QUICK, provider) as gateway, gateway.ask(client, "up/m", stream=True) as caller:
            status, headers = await caller.head()
            said = await caller.until(COMMENT)
            gate.open()
            said += await caller.body(headers)
            assert status == 200
            assert said.count(b"Hello") >= 1
            assert (
                said.count({"chat": b'"role"', "messages": b"event: message_start", "responses": b"event: response.created"}[client]) == 1
            )
            await gateway.until(lambda: gateway.lines)
            assert gateway.lines[0]["attempts"] == 2
            assert "error" not in gateway.lines[0]


@inside_once
async def test_a_stream_begins_between_two_attempts() -> None:
    """While a retry waits for its turn the caller is kept alive, too."""
    policy = "retry_policy: {max_attempts: 2, backoff: {base: 400ms, max: 1s}}"
    speech = SPEECH["chat"]
    answers = iter([[respond({}, 503)], [*frames(*speech.opening, *speech.words, *speech.ending), LAST_CHUNK]])
    with Provider(lambda request: next(answers)) as provider:
        async with Inside(timed(policy) + QUICK, provider) as gateway, gateway.ask("messages", "chat/m", stream=True) as caller:
            _, headers = await caller.head()
            said = await caller.body(headers)
            assert said.startswith(COMMENT)
            assert b"message_stop" in said


@pytest.mark.parametrize("client", SHAPES)
def test_the_sdk_takes_keep_alives(client: str) -> None:
    """The vendors' SDKs hear nothing of them."""
    speech = SPEECH["chat"]
    gates = [Gate() for _ in range(3)]
    steps: list[Any] = [*frames(*speech.opening), wait(gates[0]), chunk(speech.words[0]), wait(gates[1]), chunk(speech.words[1])]

    def script(request: Request) -> Steps:
        return [*steps, wait(gates[2]), *map(chunk, speech.ending), LAST_CHUNK]

    async def main() -> None:
        async with Provider(script) as provider, Inside(CONFIG + QUICK, provider) as gateway:
            judges = Judges(f"http://127.0.0.1:{gateway.port}")
            for number, gate in enumerate(gates, 1):
                asyncio.get_running_loop().call_later(0.3 * number, gate.open)
            outcome = await asyncio.to_thread(judges.ask, client, "chat/m", streamed=True)
            judges.close()
            assert outcome.text == "Hello world"

    asyncio.run(main())


# ---- callers that ask for nothing, or very slowly ----

UNFINISHED = {
    "nothing": b"",
    "a head that goes on": b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-A: a",
    "a body that goes on": b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    "a body in chunks": b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "nothing after an answer": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("name", UNFINISHED)
@inside_once
async def test_a_slow_request_is_given_up(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """However steadily its bytes come: what counts is the time since it began."""
    monkeypatch.setattr(server, "SWEEP", 0.05)
    monkeypatch.setattr(inbound, "HEAD_PATIENCE" if "head" in name or name == "nothing" else "PATIENCE", 1.0)
    async with Inside(CONFIG.replace("UPSTREAM", "http://127.0.0.1:9")) as gateway, gateway.call(UNFINISHED[name]) as caller:

        async def trickle() -> None:
            while not caller.writer.is_closing():
                caller.writer.write(b"1\r\n \r\n" if "chunks" in name else b"a")
                await asyncio.sleep(0.02)  # the pace is what is tested

        going_on = asyncio.create_task(trickle()) if "goes on" in name or "chunks" in name else None
        await gateway.until(lambda: gateway.server.connections == 1)
        await gateway.until(lambda: gateway.server.connections == 0)
        assert gateway.idle
        if going_on is not None:
            going_on.cancel()


@inside_once
async def test_a_request_that_is_being_answered_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SWEEP", 0.02)
    monkeypatch.setattr(inbound, "PATIENCE", 0.1)
    gate = Gate()
    with Provider(
        [*frames(*SPEECH["chat"].opening, *SPEECH["chat"].words), wait(gate), *map(chunk, SPEECH["chat"].ending), LAST_CHUNK]
    ) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.ask("chat", "chat/m", stream=True) as caller:
            await caller.head()
            begun = time.monotonic()
            await gateway.until(lambda: time.monotonic() - begun > 0.4)
            gate.open()
            await caller.until(b"[DONE]")


@inside_once
@pytest.mark.parametrize("end", ["left", "answered"])
async def test_more_connections_than_there_may_be_wait_for_their_turn(end: str) -> None:
    """They are not refused: whoever comes when all places are taken by requests is served as soon as one of these is over."""
    health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    gate = Gate()
    with Provider(
        [*frames(*SPEECH["chat"].opening, *SPEECH["chat"].words), wait(gate), *map(chunk, SPEECH["chat"].ending), LAST_CHUNK]
    ) as provider:
        async with Inside(CONFIG, provider) as gateway, contextlib.AsyncExitStack() as others:
            gateway._acceptor._most = 3
            asked = [gateway.ask("chat", "chat/m", stream=True) for _ in range(3)]
            callers = [await others.enter_async_context(one) for one in asked]
            assert [(await caller.head())[0] for caller in callers] == [200] * 3
            async with gateway.call(health) as late:
                answered = asyncio.create_task(late.head())
                await gateway.until(lambda: gateway._acceptor._full)
                assert (gateway.server.connections, answered.done()) == (3, False)
                callers[0].leave() if end == "left" else gate.open()
                assert (await answered)[0] == 200
