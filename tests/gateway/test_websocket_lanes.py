"""Lanes and limits of a WebSocket: what runs beside what, what waits, and what counts for each message."""

from __future__ import annotations

from typing import Any

import pytest
from wsproto import events as frames

from dragoman import conf

from ..proxy import frames_corpus
from ..scripted import LAST_CHUNK, Gate, Provider, Request, Steps, chunk, stream_head, tls_contexts, wait
from .inside import CONFIG, Inside, inside, inside_once
from .sockets import Socket, connected, quiet
from .spoken import SPEECH
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
    async with Provider(upstream) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
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
    async with Provider(upstream) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
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
    async with Provider(upstream) as provider, Inside(settings(queued="2"), provider) as gateway, connected(gateway) as socket:
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
async def test_messages_of_one_segment_are_refused_by_their_lane() -> None:
    """WS-12, WS-23: also those that are refused before anything is looked at."""
    with Provider(answers("chat")) as provider:
        async with Inside(settings(queued="1", in_flight="1"), provider) as gateway, connected(gateway) as socket:
            for name in ("a", "b", "c d", None):
                for _ in range(3):
                    socket.create(model="chat/m", input="x", **({} if name is None else {"stream_id": name}))
            socket.text("[")
            refused = []
            while len(refused) < 11:
                event = await socket.event()
                if event["type"] == "error":
                    refused.append(event)
            assert {event["status"] for event in refused} == {429}
            names = [event.get("stream_id") for event in refused]
            assert names == ["a", "b", "b", "b", *[None] * 7]


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
        assert gateway.gateway.bodies.held == 0


@inside_once
async def test_a_parent_is_looked_up_when_its_turn_comes() -> None:
    """WS-13: a message may continue the response that it waits for."""
    upstream = Gated()
    async with Provider(upstream) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
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
    async with Provider(answers("chat")) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
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
    async with Provider(answers("chat")) as provider, Inside(CONFIG + keys, provider) as gateway:
        async with connected(gateway, **ALICE) as socket:
            assert kinds(await socket.ask(model="chat/m", input="hi")) == EVENTS
        async with connected(gateway, **ALICE) as socket:
            (event,) = await socket.ask(model="chat/m", input="hi", stream_id="a")
            assert (event["status"], event["error"]["code"], event["stream_id"]) == (429, "rate_limit_exceeded", "a")
            assert int(event["headers"]["retry-after"]) > 0
            assert await quiet(socket)


@inside_once
async def test_a_budget_that_is_used_up_on_the_way() -> None:
    """The next message is refused; the connection stays, and what costs nothing goes on."""
    budget = KEYS.replace("name: alice", "name: alice, budget: {usd: 0.00001, per: day}") + '\nprices: {"*": {input: 1000, output: 1000}}'
    async with Provider(answers("chat")) as provider, Inside(CONFIG + budget, provider) as gateway, connected(gateway, **ALICE) as socket:
        assert kinds(await socket.ask(model="chat/m", input="hi", store=False)) == EVENTS
        for stream_id in ("a", "b"):
            (event,) = await socket.ask(model="chat/m", input="hi", stream_id=stream_id)
            assert (event["status"], event["error"]["code"], event["stream_id"]) == (429, "insufficient_quota", stream_id)
        assert await quiet(socket)
        assert len(provider.requests) == 1


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
    async with Provider(upstream) as provider, Inside(CONFIG + KEYS, provider) as gateway, connected(gateway, **ALICE) as socket:
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
    async with Provider(upstream) as provider, Inside(CONFIG + KEYS, provider) as gateway, connected(gateway, **ALICE) as socket:
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
    async with Provider(upstream) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
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
    async with Provider(answers("responses")) as provider, Inside(CONFIG, provider) as gateway, connected(gateway, **upgraded) as socket:
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
    async with Provider(answers("chat")) as provider, Inside(CONFIG, provider) as gateway:
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
    async with Provider(answers("chat")) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
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
    async with Provider(answers("chat")) as provider, Inside(CONFIG, provider, tls=contexts) as gateway, connected(gateway) as socket:
        for size in (9_000, 12_000, 300_000):  # the first two are one record each, and more than one read takes of a frame
            assert kinds(await socket.ask(model="chat/m", input="x" * size)) == EVENTS
            assert len(provider.requests[-1].body) > size
