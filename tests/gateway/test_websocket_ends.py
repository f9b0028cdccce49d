"""Ends of a WebSocket: who leaves, drains, ages, is silent or does not read, and what each leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import time

import orjson
import pytest
from wsproto import events as frames

from dragoman.codecs import errors

from ..proxy.frames_corpus import frame, ping
from ..scripted import LAST_CHUNK, Gate, Provider, Request, Step, Steps, chunk, respond, stream_head, wait
from .inside import CONFIG, Inside, inside, inside_once
from .sockets import Socket, connected, quiet
from .spoken import SHAPES, SPEECH
from .test_websocket import NOBODY, kinds
from .test_websocket_lanes import WORDS, Gated, settings, until_delta, value


@pytest.mark.parametrize("how", ["reset", "fin", "close"])
@pytest.mark.parametrize("upstream", SHAPES)
@inside
async def test_a_caller_that_leaves(upstream: str, how: str) -> None:
    """R15: the upstream's connections are closed, and each response is counted."""
    gated = Gated(upstream)
    async with Provider(gated) as provider, Inside(CONFIG, provider) as gateway:
        async with connected(gateway) as socket:
            for lane in ("a", "b"):
                socket.create(model=f"{upstream}/m", input=f"w-{lane}", stream_id=lane)
            await until_delta(socket, 2)
            if how == "close":
                assert await quiet_deltas(socket)
                socket.say(frames.CloseConnection(1000))
                assert await socket.closed() == 1000
            socket.caller.leave(reset=how == "reset")
            await provider.seen(lambda: all(connection.closed_by for connection in provider.connections))
        assert [connection.closed_by for connection in provider.connections] == ["peer", "peer"]
        await gateway.until(lambda: len(gateway.lines) == 3)
        responses = [line for line in gateway.lines if line["operation"] == "responses"]
        assert [(line["client_left"], line["transport"]) for line in responses] == [(True, "websocket")] * 2
        assert value(gateway, "client_disconnects_total") == 2
        assert value(gateway, "websockets_closed_total", reason="caller") == 1
        assert gateway.idle
        assert not gateway.gateway.live.sockets


@inside_once
async def test_a_caller_that_leaves_before_an_answer() -> None:
    """R15: as over HTTP, 499."""
    async with Provider([wait(None)]) as provider, Inside(CONFIG, provider) as gateway:
        async with connected(gateway) as socket:
            socket.create(model="chat/m", input="hi")
            await provider.seen(lambda: provider.requests)
        await gateway.until(lambda: len(gateway.lines) == 2)
        assert {(line["status"], line["transport"]) for line in gateway.lines} == {(101, "websocket"), (499, "websocket")}
        assert value(gateway, "client_disconnects_total") == 1


@inside
async def test_draining() -> None:
    """R20: idle connections are closed at once, the others when their response has ended."""
    upstream = Gated()
    async with Provider(upstream) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as idle, connected(gateway) as busy:
        busy.create(model="chat/m", input="w-1")
        await until_delta(busy)
        busy.create(model="chat/m", input="w-2")
        assert await quiet_deltas(busy)
        gateway.gateway.draining = True
        assert await idle.closed() == 1012
        event = await busy.event()
        assert (event["type"], event["status"], event["error"]["code"]) == ("error", 503, "overloaded")
        assert event["headers"]["retry-after"] == "1"
        busy.create(model="chat/m", input="w-3", stream_id="b")
        event = await busy.event()
        assert (event["status"], event["stream_id"]) == (503, "b")
        upstream.open("w-1")
        assert kinds(await busy.response())[-1] == "completed"
        assert gateway.gateway.serving or gateway.gateway.exchanges  # the process waits for the Close's answer
        assert await busy.closed() == 1012
        await gateway.until(lambda: gateway.idle)
        assert value(gateway, "websockets_closed_total", reason="drain") == 2


async def quiet_deltas(socket: Socket) -> bool:
    while not await quiet(socket, 0.03):
        pass
    return True


@inside_once
async def test_the_grace_is_over() -> None:
    """WS-29: what is still under way fails in its own way, then the Close."""
    upstream = Gated()
    async with Provider(upstream) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
        socket.create(model="chat/m", input="w-1")
        await until_delta(socket)
        gateway.gateway.draining = True
        for exchange in list(gateway.gateway.exchanges):
            exchange.end(errors.Overloaded("The gateway is shutting down."))
        events = await socket.response()
        assert kinds(events)[-1] == "failed"
        assert events[-1]["response"]["error"]["code"] == "server_error"
        assert await socket.closed() == 1012


@inside_once
async def test_age() -> None:
    """R19."""
    upstream = Gated()
    async with Provider(upstream) as provider, Inside(settings(max_age="1500ms"), provider) as gateway, connected(gateway) as socket:
        socket.create(model="chat/m", input="w-1")
        await until_delta(socket)
        socket.create(model="chat/m", input="w-2", stream_id="a")
        socket.create(model="chat/m", input="w-3")
        event = await socket.event()
        while event["type"] != "error":
            event = await socket.event()
        assert (event["status"], event["error"]["code"]) == (400, "websocket_connection_limit_reached")
        assert "stream_id" not in event
        socket.create(model="chat/m", input="w-4", stream_id="b")
        event = await socket.event()
        while event["type"] != "error":
            event = await socket.event()
        assert (event["error"]["code"], event["stream_id"]) == ("websocket_connection_limit_reached", "b")
        upstream.open("w-1", "w-2")
        for _ in range(2):
            assert kinds(await socket.response())[-1] == "completed"
        event = await socket.event()
        assert event["error"]["code"] == "websocket_connection_limit_reached"
        assert await socket.closed() == 1001
        assert value(gateway, "websockets_closed_total", reason="age") == 1


@inside_once
async def test_age_of_an_idle_connection() -> None:
    async with Inside(settings(max_age="100ms"), UPSTREAM=NOBODY) as gateway, connected(gateway) as socket:
        event = await socket.event()
        assert event["error"]["code"] == "websocket_connection_limit_reached"
        assert await socket.closed() == 1001


@inside_once
async def test_an_idle_connection() -> None:
    """One with a response under way is none."""
    upstream = Gated()
    with Provider(upstream) as provider:
        async with Inside(settings(idle="200ms", ping="20ms"), provider) as gateway, connected(gateway) as socket:
            socket.create(model="chat/m", input="w-1")
            await until_delta(socket)
            for _ in range(20):  # more than half a second of pings
                event = await socket.frame()
                if isinstance(event, frames.Ping):
                    socket.say(event.response())
                    await asyncio.sleep(0.02)
            upstream.open("w-1")
            assert kinds(await socket.response())[-1] == "completed"
            code = None
            while code is None:
                event = await socket.frame()
                if isinstance(event, frames.Ping):
                    socket.say(event.response())
                elif isinstance(event, frames.CloseConnection):
                    code = event.code
            assert code == 1001
            await gateway.until(lambda: value(gateway, "websockets_closed_total", reason="idle") == 1, 10)


@inside
async def test_pings() -> None:
    """WS-26: three without an answer end the connection; anything that comes is an answer."""
    async with Inside(settings(ping="40ms"), UPSTREAM=NOBODY) as gateway, connected(gateway) as socket:
        for _ in range(5):
            event = await socket.frame()
            assert isinstance(event, frames.Ping)
            socket.say(frames.Pong(b"whatever"))
        for _ in range(3):
            assert isinstance(await socket.frame(), frames.Ping)
        with pytest.raises(EOFError):
            await socket.frame()
        await gateway.until(lambda: value(gateway, "websockets_closed_total", reason="caller") == 1)


@inside_once
async def test_pings_go_on_after_a_busy_moment() -> None:
    """The loop was held up for longer than several pings take, with a response under way: the next ping comes all the same."""
    upstream = Gated()
    with Provider(upstream) as provider:
        async with Inside(settings(ping="150ms", idle="160ms"), provider) as gateway, connected(gateway) as socket:
            socket.create(model="chat/m", input="w-1")
            await until_delta(socket)
            for _ in range(2):
                time.sleep(0.4)  # noqa: ASYNC251 - the gateway's own loop
                while not isinstance(await socket.frame(), frames.Ping):
                    pass
                socket.say(frames.Pong(b""))
            upstream.open("w-1")


@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_a_silent_upstream(upstream: str) -> None:
    """R18: pings, and response.in_progress again and again, with rising numbers."""
    gated = Gated(upstream)
    section = "\nkeep_alive: {stream: 20ms, begin_after: 40ms, progress: 80ms}"
    async with Provider(gated) as provider, Inside(settings(ping="60ms") + section, provider) as gateway, connected(gateway) as socket:
        socket.create(model=f"{upstream}/m", input="w-1", store=False)
        events = [await socket.event()]
        while kinds(events).count("in_progress") < 4:
            events.append(await socket.event())
        gated.open("w-1")
        events += await socket.response()
        numbers = [event["sequence_number"] for event in events]
        assert numbers == list(range(len(events))) or upstream == "responses"
        assert kinds(events)[-1] == "completed"


@inside_once
async def test_nothing_is_begun_by_time() -> None:
    """WS-24: a refusal that takes long is an error with its status, behind pings alone."""
    gate = Gate()
    section = "\nkeep_alive: {stream: 20ms, begin_after: 40ms, progress: 60ms}"
    with Provider([wait(gate), respond({"error": {"message": "Not like this."}}, 400)]) as provider:
        async with Inside(CONFIG + section, provider) as gateway, connected(gateway) as socket:
            socket.create(model="chat/m", input="hi")
            assert await quiet(socket, 0.3)
            gate.open()
            (event,) = await socket.response()
            assert (event["status"], event["error"]["message"]) == (400, "Not like this.")


@inside
async def test_a_caller_that_does_not_read() -> None:
    """R22: its upstream is not read either, others are served, and in the end it is a stall."""
    words = [chunk(WORDS.word("x" * 60_000)) for _ in range(400)]

    def script(request: Request) -> Steps:
        return [stream_head(), *map(chunk, [*WORDS.opening, *WORDS.words]), *words, *map(chunk, WORDS.ending), LAST_CHUNK]

    with Provider(script) as provider:
        async with Inside(CONFIG + "\nlimits: {client_stall: 1s}", provider) as gateway, connected(gateway) as socket:
            with contextlib.suppress(ValueError):
                socket.caller.reader._transport.pause_reading()  # type: ignore[attr-defined]
            socket.create(model="chat/m", input="hi")
            (session,) = gateway.gateway.live.sockets
            await gateway.until(lambda: session.stream.writing())  # type: ignore[attr-defined]
            sent = provider.connections[0].sent
            (waiting,) = session.stream._waiting  # type: ignore[attr-defined]
            assert len(waiting[0]) < 1 << 20  # of one read of the upstream
            async with connected(gateway) as other:
                assert kinds(await other.ask(model="chat/m", input="hi", generate=False))[-1] == "completed"
            assert provider.connections[0].sent < 400 * 60_000
            assert sent < 400 * 60_000
            await gateway.until(lambda: value(gateway, "websockets_closed_total", reason="stall") == 1, 30)
            await gateway.until(lambda: any(line.get("timer") == "client_stall" for line in gateway.lines))


@inside_once
async def test_a_caller_that_does_not_read_is_not_read() -> None:
    """What piles up for a caller that only sends is bounded: its pings are not taken any more."""
    async with Inside(CONFIG, UPSTREAM=NOBODY) as gateway, connected(gateway) as socket:
        with contextlib.suppress(ValueError):
            socket.caller.reader._transport.pause_reading()  # type: ignore[attr-defined]
        (session,) = gateway.gateway.live.sockets
        pings = ping(b"p" * 125) * 1000
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                while not session.stream.writing():  # type: ignore[attr-defined]
                    socket.caller.writer.write(pings)
                    await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0))])
                    if socket.caller.writer.transport.get_write_buffer_size() > 64 << 20:
                        break
        await gateway.until(lambda: session.stream.writing())  # type: ignore[attr-defined]
        waiting = sum(len(data) for data, _ in session.stream._waiting)  # type: ignore[attr-defined]
        assert waiting < 1 << 20


@inside_once
async def test_a_close_is_answered_while_a_response_is_under_way() -> None:
    """A Close in the middle, with nothing behind it."""
    upstream = Gated()
    async with Provider(upstream) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
        socket.create(model="chat/m", input="w-1")
        await until_delta(socket)
        socket.say(frames.CloseConnection(1001, "bye"))
        event = await socket.frame()
        while not isinstance(event, frames.CloseConnection):
            event = await socket.frame()
        assert event.code == 1001
        await gateway.until(lambda: gateway.idle)


@inside_once
async def test_bodies_are_counted() -> None:
    """limits.max_bodies holds for messages, too: those that come and those whose answer has not begun."""
    begin, end, speech = Gate(), Gate(), SPEECH["chat"]

    def script(asked: Request) -> list[Step]:
        said = [*speech.opening, *speech.words]
        return [wait(begin), stream_head(), *map(chunk, said), wait(end), *map(chunk, speech.ending), LAST_CHUNK]

    with Provider(script) as provider:
        config = CONFIG + "\nlimits: {max_bodies: 100kB, max_body: 100kB}"
        async with Inside(config, provider) as gateway, connected(gateway) as socket, connected(gateway) as other:
            socket.create(model="chat/m", input="w-1 " + "x" * 60_000)
            await provider.seen(lambda: provider.requests)
            assert gateway.gateway.bodies.held > 60_000
            data = orjson.dumps({"type": "response.create", "model": "chat/m", "input": "w-2 " + "x" * 60_000}).decode()
            other.text(data)
            event = await other.event()
            assert (event["status"], event["error"]["code"]) == (503, "overloaded")
            other.caller.writer.write(frame(1, b"x" * 90_000, last=False))
            event = await other.event()
            assert (event["status"], event["error"]["code"]) == (503, "overloaded")
            assert await other.closed() == 1009
            begin.open()
            await until_delta(socket)
            await gateway.until(lambda: gateway.gateway.bodies.held == 0)
            end.open()
            assert kinds(await socket.response())[-1] == "completed"


@pytest.mark.parametrize("reset", [True, False])
@inside_once
async def test_half_a_message_is_not_counted_for_ever(reset: bool) -> None:
    """Its caller has left: otherwise a few of them would have every request refused."""
    async with Inside(CONFIG, UPSTREAM=NOBODY) as gateway:
        async with connected(gateway) as socket:
            socket.caller.writer.write(frame(1, b"x" * 90_000)[:50_000])
            await gateway.until(lambda: gateway.gateway.bodies.held > 40_000)
            socket.caller.leave(reset=reset)
        await gateway.until(lambda: not gateway.gateway.live.sockets and gateway.lines)
        assert gateway.gateway.bodies.held == 0


@inside_once
async def test_a_full_server_closes_idle_ones_first() -> None:
    """A connection with a response under way is not closed for another's sake."""
    upstream = Gated()
    async with Provider(upstream) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as busy, connected(gateway) as idle:
        busy.create(model="chat/m", input="w-1")
        await until_delta(busy)
        assert await idle.ask(model="chat/m", input="w-2", generate=False)
        gateway.server.make_room()
        with pytest.raises(EOFError):
            await idle.frame()
        gateway.server.make_room()
        upstream.open("w-1")
        assert kinds(await busy.response())[-1] == "completed"
