"""Lanes, limits and ends of a WebSocket: what runs beside what, what waits, and how each connection is closed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import orjson
import pytest
from wsproto import events as frames

from dragoman import conf
from dragoman.codecs import errors

from ..proxy import frames_corpus
from ..proxy.frames_corpus import frame, ping
from ..scripted import LAST_CHUNK, Gate, Provider, Request, Steps, chunk, respond, stream_head, tls_contexts, wait
from .inside import CONFIG, Inside, inside, inside_once
from .sockets import Socket, connected, quiet
from .spoken import SHAPES, SPEECH
from .test_websocket import ALICE, EVENTS, KEYS, NOBODY, answers, kinds

WORDS = SPEECH["chat"]


class Gated:
    """Each request's answer waits behind its first words; `open` lets those of a text go on."""

    def __init__(self, shape: str = "chat") -> None:
        self._speech = SPEECH[shape]
        self._gates: dict[str, Gate] = {}

    def gate(self, text: str) -> Gate:
        return self._gates.setdefault(text, Gate())

    def open(self, *texts: str) -> None:
        for text in texts:
            self.gate(text).open()

    def __call__(self, request: Request) -> Steps:
        text = next(word for word in request.body.decode().replace('"', " ").split() if word.startswith("w-"))
        speech = self._speech
        return [stream_head(), *map(chunk, [*speech.opening, *speech.words]), wait(self.gate(text)), *map(chunk, speech.ending), LAST_CHUNK]


async def until_delta(socket: Socket, count: int = 1) -> list[dict[str, Any]]:
    """The events up to and including so many first pieces of text."""
    found: list[dict[str, Any]] = []
    while sum(event["type"] == "response.content_part.added" for event in found) < count or not found[-1]["type"].endswith(".delta"):
        found.append(await socket.event())
    return found


def value(gateway: Inside, name: str, **labels: str) -> float:
    return gateway.gateway.metrics.registry.get_sample_value(f"dragoman_{name}", labels) or 0.0


def settings(**members: str) -> str:
    return f"{CONFIG}\nwebsocket: {{{', '.join(f'{name}: {value}' for name, value in members.items())}}}"


# ---- lanes ----


@inside
async def test_lanes_run_beside_each_other() -> None:
    """R11."""
    upstream = Gated()
    with Provider(upstream) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
            for lane in ("a", "b"):
                socket.create(model="chat/m", input=f"w-{lane}", stream_id=lane)
            socket.create(model="chat/m", input="w-c")
            await until_delta(socket, 3)
            assert len(provider.requests) == 3
            upstream.open("w-b")
            events = [event async for event in of_lane(socket, "b")]
            assert kinds(events)[-1] == "completed"
            assert all(list(event)[-1] == "stream_id" for event in events)
            upstream.open("w-a", "w-c")
            assert kinds([event async for event in of_lane(socket, "a")])[-1] == "completed"
            assert kinds([event async for event in of_lane(socket, None)])[-1] == "completed"
            await gateway.until(lambda: len(gateway.lines) == 3)
            assert gateway.lines[0]["stream_id"] == "b"


_left: dict[int, list[dict[str, Any]]] = {}


async def of_lane(socket: Socket, lane: str | None) -> Any:
    """The events of a lane up to its end; those of others are kept for their own turn."""
    kept = _left.setdefault(id(socket), [])
    while True:
        event = next((one for one in kept if one.get("stream_id") == lane), None)
        if event is None:
            event = await socket.event()
            if event.get("stream_id") != lane:
                kept.append(event)
                continue
        else:
            kept.remove(event)
        yield event
        if event["type"] in ("response.completed", "response.failed", "error"):
            return


@inside_once
async def test_lanes_are_limited() -> None:
    """R11: names of lanes, and responses at once."""
    upstream = Gated()
    with Provider(upstream) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
            for number in range(17):
                socket.create(model="chat/m", input=f"w-{number}", stream_id=f"lane.{number}")
            await until_delta(socket, 16)
            assert len(provider.requests) == 16
            upstream.open("w-3")
            await provider.seen(lambda: len(provider.requests) == 17)
            upstream.open(*(f"w-{number}" for number in range(17)))
            ended = 0
            while ended < 17:
                ended += (await socket.event())["type"] == "response.completed"
            for number in range(17, 32):
                assert kinds(await socket.ask(model="chat/m", input="w-3", stream_id=f"lane.{number}", generate=False))[-1] == "completed"
            (event,) = await socket.ask(model="chat/m", input="w-3", stream_id="lane.32")
            assert (event["status"], event["error"]["code"], event["stream_id"]) == (400, "websocket_stream_limit_reached", "lane.32")
            assert kinds(await socket.ask(model="chat/m", input="w-3", generate=False))[-1] == "completed"
            assert kinds(await socket.ask(model="chat/m", input="w-3", stream_id="lane.5", generate=False))[-1] == "completed"


@inside_once
async def test_what_waits_is_limited() -> None:
    """WS-12: one more is an error of its own lane, and pings are answered meanwhile."""
    upstream = Gated()
    with Provider(upstream) as provider:
        async with Inside(settings(queued="2"), provider) as gateway, connected(gateway) as socket:
            socket.create(model="chat/m", input="w-1", stream_id="a")
            await until_delta(socket)
            for _ in range(3):
                socket.create(model="chat/m", input="w-2", stream_id="a")
            event = await socket.event()
            while event["type"] != "error":
                event = await socket.event()
            assert (event["status"], event["error"]["code"], event["stream_id"]) == (429, "rate_limit_exceeded", "a")
            socket.say(frames.Ping(b"x"))
            assert isinstance(await socket.frame(), frames.Pong)
            upstream.open("w-1", "w-2")
            for _ in range(3):
                assert kinds(await socket.response())[-1] == "completed"
            assert len(provider.requests) == 3


@inside_once
async def test_the_bytes_that_wait_are_limited() -> None:
    upstream = Gated()
    with Provider(upstream) as provider:
        async with Inside(settings(max_message="10kB"), provider) as gateway, connected(gateway) as socket:
            assert socket.headers["x-codex-websocket-max-message-bytes"] == "10240"
            socket.create(model="chat/m", input="w-1")
            await until_delta(socket)
            for _ in range(3):
                socket.create(model="chat/m", input="w-2 " + "x" * 4000)
            event = await socket.event()
            while event["type"] != "error":
                event = await socket.event()
            assert event["status"] == 429
            upstream.open("w-1", "w-2")
            for _ in range(3):
                assert kinds(await socket.response())[-1] == "completed"
            await gateway.until(lambda: not gateway.gateway.exchanges)
        assert gateway.gateway.bodies.kept == 0


@inside_once
async def test_a_parent_is_looked_up_when_its_turn_comes() -> None:
    """WS-13: a message may continue the response that it waits for."""
    upstream = Gated()
    with Provider(upstream) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
            socket.create(model="chat/m", input="w-1", store=False)
            id = (await until_delta(socket))[0]["response"]["id"]
            socket.create(model="chat/m", input="w-2", store=False, previous_response_id=id)
            upstream.open("w-1", "w-2")
            assert kinds(await socket.response())[-1] == "completed"
            assert kinds(await socket.response())[-1] == "completed"
            assert b"w-1" in provider.requests[1].body


@inside_once
async def test_a_fork_of_a_lane() -> None:
    """Another lane continues what this one keeps, and the first goes on."""
    with Provider(answers("chat")) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
            first = (await socket.ask(model="chat/m", input="one", store=False, stream_id="a"))[-1]["response"]["id"]
            for lane in ("b", "a"):
                events = await socket.ask(model="chat/m", input=f"in {lane}", store=False, stream_id=lane, previous_response_id=first)
                assert kinds(events)[-1] == "completed"
            assert [b"one" in request.body for request in provider.requests] == [True] * 3


# ---- each message by itself ----


@inside_once
async def test_a_keys_limit_counts_for_messages() -> None:
    """R02 and R13: the upgrade is let through."""
    keys = KEYS.replace("name: alice", "name: alice, requests_per_minute: 1")
    with Provider(answers("chat")) as provider:
        async with Inside(CONFIG + keys, provider) as gateway:
            async with connected(gateway, **ALICE) as socket:
                assert kinds(await socket.ask(model="chat/m", input="hi")) == EVENTS
            async with connected(gateway, **ALICE) as socket:
                (event,) = await socket.ask(model="chat/m", input="hi", stream_id="a")
                assert (event["status"], event["error"]["code"], event["stream_id"]) == (429, "rate_limit_exceeded", "a")
                assert int(event["headers"]["retry-after"]) > 0
                assert await quiet(socket)


@inside_once
async def test_most_streams() -> None:
    upstream = Gated()
    with Provider(upstream) as provider:
        async with Inside(CONFIG + "\nlimits: {max_streams: 1}", provider) as gateway, connected(gateway) as socket:
            socket.create(model="chat/m", input="w-1")
            await until_delta(socket)
            socket.create(model="chat/m", input="w-2", stream_id="b")
            event = [event async for event in of_lane(socket, "b")][-1]
            assert (event["status"], event["error"]["code"], event["headers"]["retry-after"]) == (503, "overloaded", "1")
            upstream.open("w-1")


@inside_once
async def test_a_key_that_is_gone() -> None:
    """R21: the next create is refused, what is under way ends, then the connection is closed."""
    upstream = Gated()
    with Provider(upstream) as provider:
        async with Inside(CONFIG + KEYS, provider) as gateway, connected(gateway, **ALICE) as socket:
            socket.create(model="chat/m", input="w-1")
            await until_delta(socket)
            others = KEYS.replace("alice", "bob")
            gateway.gateway.adopt(conf.loads((CONFIG + others).replace("UPSTREAM", provider.url), environ={}))
            socket.create(model="chat/m", input="w-2", stream_id="b")
            event = [event async for event in of_lane(socket, "b")][-1]
            assert (event["status"], event["error"]["code"]) == (401, "invalid_api_key")
            upstream.open("w-1")
            assert kinds([event async for event in of_lane(socket, None)])[-1] == "completed"
            assert await socket.closed() == 1008
            assert value(gateway, "websockets_closed_total", reason="key") == 1


@pytest.mark.parametrize("reloaded", [f"{KEYS}\nallow_from: [10.0.0.0/8]", KEYS.replace("alice}", "alice, allow_from: [10.0.0.0/8]}")])
@inside_once
async def test_an_address_that_is_served_no_more(reloaded: str) -> None:
    """By the gateway, or with this key: the next create is refused, and what waits; what is under way ends."""
    upstream = Gated()
    with Provider(upstream) as provider:
        async with Inside(CONFIG + KEYS, provider) as gateway, connected(gateway, **ALICE) as socket:
            socket.create(model="chat/m", input="w-1")
            await until_delta(socket)
            socket.create(model="chat/m", input="w-2")
            gateway.gateway.adopt(conf.loads((CONFIG + reloaded).replace("UPSTREAM", provider.url), environ={}))
            socket.create(model="chat/m", input="w-3", stream_id="b")
            refused: set[tuple[Any, ...]] = set()
            while len(refused) < 2:
                event = await socket.event()  # one of them may be the rest of the words
                if event["type"] == "error":
                    refused.add((event["status"], event["error"]["code"], event.get("stream_id")))
            assert refused == {(403, "permission_denied", None), (403, "permission_denied", "b")}
            upstream.open("w-1")
            assert kinds([event async for event in of_lane(socket, None)])[-1] == "completed"
            assert await socket.closed() == 1008
            assert len(provider.requests) == 1


@inside_once
async def test_a_reload_counts_for_the_next_message() -> None:
    upstream = Gated()
    with Provider(upstream) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
            socket.create(model="chat/m", input="w-1")
            await until_delta(socket)
            socket.create(model="chat/m", input="w-2")
            other = CONFIG.replace('"chat/*"', '"other/*"').replace("UPSTREAM", provider.url)
            gateway.gateway.adopt(conf.loads(other, environ={}))
            upstream.open("w-1")
            assert kinds(await socket.response())[-1] == "completed"
            (event,) = await socket.response()
            assert event["status"] == 404


@inside_once
async def test_headers_of_a_message() -> None:
    """WS-8: those of the upgrade, and those that a message brings, as far as they may travel."""
    metadata = {
        "ws_request_header_traceparent": "00-1",
        "ws_request_header_x_codex_beta_features": "b",
        "x-codex-window-id": "w:2",
        "ws_request_header_authorization": "Bearer other",
        "ws_request_header_cookie": "c",
        "ws_request_header_x_codex_bad": "a\r\nx: y",
        "ws_request_header_x_codex_number": 7,
        "user": "u",
    }
    upgraded = {"x_codex_window_id": "w:1", "openai_beta": "responses_websockets=2026-02-06, v2"}
    with Provider(answers("responses")) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway, **upgraded) as socket:
            await socket.ask(model="responses/m", input="hi", client_metadata=metadata)
            await socket.ask(model="responses/m", input="hi")
            first, second = (request.headers for request in provider.requests)
            assert (first["x-codex-window-id"], first["traceparent"], first["x-codex-beta-features"]) == ("w:2", "00-1", "b")
            assert first["openai-beta"] == second["openai-beta"] == "v2"
            assert second["x-codex-window-id"] == "w:1"
            assert "traceparent" not in second
            assert first["authorization"] == "Bearer sk-upstream"
            assert not first.keys() & {"cookie", "x-codex-bad", "x-codex-number", "upgrade", "sec-websocket-key", "x"}


@inside_once
async def test_strict_and_report() -> None:
    """WS-9."""
    with Provider(answers("chat")) as provider:
        async with Inside(CONFIG, provider) as gateway:
            async with connected(gateway, x_dragoman_report="1") as socket:
                events = await socket.ask(model="chat/m", input="hi", stream_id="a", truncation="auto")
                assert kinds(events)[:3] == ["created", "dragoman:report", "in_progress"]
                report = events[1]
                assert report == {
                    "type": "dragoman:report",
                    "response_id": events[0]["response"]["id"],
                    "upstream": "chat/m",
                    "lane": "events",
                    "dropped": "truncation",
                    "stream_id": "a",
                }
                assert [event["sequence_number"] for event in events if "sequence_number" in event] == list(range(10))
            async with connected(gateway, x_dragoman_strict="1") as socket:
                (event,) = await socket.ask(model="chat/m", input="hi", truncation="auto")
                assert (event["status"], event["error"]["code"]) == (400, "unsupported_parameter")


@inside_once
async def test_many_small_messages_at_once() -> None:
    """None is lost: each is answered, and no more than a few wait to be looked at."""
    async with Inside(CONFIG, UPSTREAM=NOBODY) as gateway, connected(gateway) as socket:
        socket.caller.writer.write(frames_corpus.text(b"{}") * 3000)
        codes = [(await socket.event())["error"]["code"] for _ in range(3000)]
        assert set(codes) == {"missing_required_parameter", "rate_limit_exceeded"}
        assert kinds(await socket.ask(model="chat/m", input="x", generate=False)) == ["created", "completed"]


@inside_once
async def test_the_inspector_sees_each_response() -> None:
    with Provider(answers("chat")) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
            told: list[Any] = []
            gateway.gateway.inspector.watch(told.extend, content=True)
            for words in ("one", "two"):
                assert kinds(await socket.ask(model="chat/m", input=words)) == EVENTS
            await gateway.until(lambda: sum(message.get("row", {}).get("done", False) for message in told) == 2)
            names = [record["name"] for message in told for record in message.get("records", ()) if record["pane"] == "out"]
            assert names.count("response.completed") == 2


@inside
async def test_over_tls() -> None:
    contexts = tls_contexts()
    big = "x" * 300_000
    with Provider(answers("chat")) as provider:
        async with Inside(CONFIG, provider, tls=contexts) as gateway, connected(gateway) as socket:
            for _ in range(2):
                assert kinds(await socket.ask(model="chat/m", input=big)) == EVENTS
            assert len(provider.requests[1].body) > 300_000


# ---- ends ----


@pytest.mark.parametrize("how", ["reset", "fin", "close"])
@pytest.mark.parametrize("upstream", SHAPES)
@inside
async def test_a_caller_that_leaves(upstream: str, how: str) -> None:
    """R15: the upstream's connections are closed, and each response is counted."""
    gated = Gated(upstream)
    with Provider(gated) as provider:
        async with Inside(CONFIG, provider) as gateway:
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
    with Provider([wait(None)]) as provider:
        async with Inside(CONFIG, provider) as gateway:
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
    with Provider(upstream) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as idle, connected(gateway) as busy:
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
    with Provider(upstream) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
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
    with Provider(upstream) as provider:
        async with Inside(settings(max_age="1500ms"), provider) as gateway, connected(gateway) as socket:
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
    with Provider(gated) as provider:
        async with Inside(settings(ping="60ms") + section, provider) as gateway, connected(gateway) as socket:
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
    with Provider(upstream) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
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
    """limits.max_bodies holds for messages, too: those that come and those under way."""
    upstream = Gated()
    with Provider(upstream) as provider:
        config = CONFIG + "\nlimits: {max_bodies: 100kB, max_body: 100kB}"
        async with Inside(config, provider) as gateway, connected(gateway) as socket, connected(gateway) as other:
            socket.create(model="chat/m", input="w-1 " + "x" * 60_000)
            await until_delta(socket)
            assert gateway.gateway.bodies.kept > 60_000
            data = orjson.dumps({"type": "response.create", "model": "chat/m", "input": "w-2 " + "x" * 60_000}).decode()
            other.text(data)
            event = await other.event()
            assert (event["status"], event["error"]["code"]) == (503, "overloaded")
            other.caller.writer.write(frame(1, b"x" * 90_000, last=False))
            event = await other.event()
            assert (event["status"], event["error"]["code"]) == (503, "overloaded")
            assert await other.closed() == 1009
            upstream.open("w-1")
            assert kinds(await socket.response())[-1] == "completed"
            await gateway.until(lambda: gateway.gateway.bodies.kept == 0)


@pytest.mark.parametrize("reset", [True, False])
@inside_once
async def test_half_a_message_is_not_counted_for_ever(reset: bool) -> None:
    """Its caller has left: otherwise a few of them would have every request refused."""
    async with Inside(CONFIG, UPSTREAM=NOBODY) as gateway:
        async with connected(gateway) as socket:
            socket.caller.writer.write(frame(1, b"x" * 90_000)[:50_000])
            await gateway.until(lambda: gateway.gateway.bodies.kept > 40_000)
            socket.caller.leave(reset=reset)
        await gateway.until(lambda: not gateway.gateway.live.sockets and gateway.lines)
        assert gateway.gateway.bodies.kept == 0


@inside_once
async def test_a_full_server_closes_idle_ones_first() -> None:
    """A connection with a response under way is not closed for another's sake."""
    upstream = Gated()
    with Provider(upstream) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as busy, connected(gateway) as idle:
            busy.create(model="chat/m", input="w-1")
            await until_delta(busy)
            assert await idle.ask(model="chat/m", input="w-2", generate=False)
            gateway.server.make_room()
            with pytest.raises(EOFError):
                await idle.frame()
            gateway.server.make_room()
            upstream.open("w-1")
            assert kinds(await busy.response())[-1] == "completed"
