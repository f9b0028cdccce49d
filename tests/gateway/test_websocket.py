"""The Responses API over a WebSocket: the upgrade, one lane, its events, errors and limits of frames."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from wsproto import events as frames

from dragoman.proxy.websocket.session import CLOSING

from ..proxy.frames_corpus import frame, more, ping, text
from ..scripted import LAST_CHUNK, Gate, Provider, Request, Step, Steps, chunk, close, respond, sse, stream_head, wait
from .inside import CONFIG, Inside, inside, inside_once
from .sockets import KEY, Socket, connected, quiet, upgrade
from .spoken import SHAPES, SPEECH, TEXT

NOBODY = "http://127.0.0.1:9"  # of tests that ask no upstream
KEYS = "\naccess_keys: [{key: alice-key-000000, name: alice}]"
ALICE = {"authorization": "Bearer alice-key-000000"}

EVENTS = [
    *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
    *("output_text.done", "content_part.done", "output_item.done", "completed"),
]


def answers(shape: str) -> list[Any]:
    return [stream_head(), *map(chunk, SPEECH[shape].stream), LAST_CHUNK]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def not_found(id: str) -> dict[str, Any]:
    return {
        "type": "invalid_request_error",
        "code": "previous_response_not_found",
        "message": f"Previous response with id '{id}' not found.",
        "param": "previous_response_id",
    }


# ---- the upgrade ----


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "//v1/responses/", "/v1/responses?x=1"])
@inside
async def test_the_upgrade(path: str) -> None:
    """R01."""
    async with Inside(CONFIG, UPSTREAM=NOBODY) as gateway:
        data = upgrade(
            path, Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits", Sec_WebSocket_Protocol="x", X_Request_Id="up-1"
        )
        async with gateway.call(data) as caller:
            status, headers = await caller.head()
            assert status == 101
            assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            assert headers["upgrade"] == "websocket"
            assert headers["connection"] == "Upgrade"
            assert headers["x-codex-websocket-max-message-bytes"] == "67108864"
            assert headers["x-request-id"] == "up-1"
            assert not headers.keys() & {"sec-websocket-extensions", "sec-websocket-protocol", "content-length", "transfer-encoding"}


GATE = CONFIG + "\nwebsocket: {origins: ['https://chat.example'], max_connections: 1}"
OFF = CONFIG + "\nwebsocket: {enabled: false}"
# configuration, headers of the upgrade, status, headers of the answer
UPGRADES: dict[str, tuple[str, dict[str, str], int, dict[str, str]]] = {
    "as it should be": (CONFIG, {}, 101, {}),
    "in other letters": (CONFIG, {"upgrade": "WebSocket", "connection": "keep-alive, upgrade"}, 101, {}),
    "disabled": (OFF, {}, 426, {}),
    "no upgrade": (CONFIG, {"upgrade": ""}, 426, {}),
    "another upgrade": (CONFIG, {"upgrade": "h2c"}, 426, {}),
    "an upgrade for the next hop": (CONFIG, {"connection": "keep-alive"}, 426, {}),
    "version 8": (CONFIG, {"sec_websocket_version": "8"}, 426, {"sec-websocket-version": "13"}),
    "no version": (CONFIG, {"sec_websocket_version": ""}, 426, {"sec-websocket-version": "13"}),
    "a short key": (CONFIG, {"sec_websocket_key": "abc"}, 400, {}),
    "no key": (CONFIG, {"sec_websocket_key": ""}, 400, {}),
    "a body": (CONFIG, {"content_length": "1"}, 400, {}),
    "a body in chunks": (CONFIG, {"transfer_encoding": "chunked"}, 400, {}),
    "an empty body": (CONFIG, {"content_length": "0"}, 101, {}),
    "another origin": (CONFIG, {"origin": "http://evil.example"}, 403, {}),
    "another port": (CONFIG, {"origin": "http://127.0.0.1:81", "host": "127.0.0.1:80"}, 403, {}),
    "its own origin": (CONFIG, {"origin": "http://127.0.0.1:80", "host": "127.0.0.1:80"}, 101, {}),
    "no page's origin": (CONFIG, {"origin": "null"}, 403, {}),
    "a listed origin": (GATE, {"origin": "https://Chat.example"}, 101, {}),
    "one of no list": (GATE, {"origin": "https://chat.example.org"}, 403, {}),
    "another origin, with keys": (CONFIG + KEYS, {"origin": "http://evil.example", **ALICE}, 403, {}),
    "a name that is bound anew": (CONFIG, {"host": "evil.example", "origin": "http://evil.example"}, 403, {}),
    "no credential": (CONFIG + KEYS, {}, 401, {}),
    "a wrong one": (CONFIG + KEYS, {"authorization": "Bearer other"}, 401, {}),
    "the right one": (CONFIG + KEYS, ALICE, 101, {}),
    "in another header": (CONFIG + KEYS, {"x_api_key": "alice-key-000000"}, 101, {}),
    "as a subprotocol": (CONFIG + KEYS, {"sec_websocket_protocol": "openai-insecure-api-key.alice-key-000000"}, 401, {}),
}


@pytest.mark.parametrize("name", UPGRADES)
@inside_once
async def test_refusals(name: str) -> None:
    """R02."""
    config, fields, wanted, more = UPGRADES[name]
    async with Inside(config, UPSTREAM=NOBODY) as gateway:
        async with gateway.call(upgrade(**fields)) as caller:
            status, headers = await caller.head()
            assert status == wanted
            assert more.items() <= headers.items()
            if status != 101:
                told = orjson.loads(await caller.body(headers))
                assert told["error"]["message"]
                asked = fields.get("upgrade", "websocket") == "websocket" and "connection" not in fields
                assert gateway.gateway.metrics.registry.get_sample_value("dragoman_websocket_refused_total", {"status": str(status)}) == (
                    1 if asked else None
                )
        await gateway.until(lambda: gateway.idle)


@inside_once
async def test_a_key_in_the_query_is_none() -> None:
    async with Inside(CONFIG + KEYS, UPSTREAM=NOBODY) as gateway, gateway.call(upgrade("/v1/responses?api_key=alice-key-000000")) as caller:
        assert (await caller.head())[0] == 401


@pytest.mark.parametrize("why", ["full", "draining"])
@inside_once
async def test_there_is_no_room(why: str) -> None:
    """R02."""
    async with Inside(GATE, UPSTREAM=NOBODY) as gateway, connected(gateway):
        if why == "draining":
            gateway.gateway.draining = True
        async with gateway.call(upgrade()) as caller:
            status, headers = await caller.head()
            assert status == 503
            assert headers["retry-after"] == "1"
            assert headers["connection"] == "close"
            await caller.body(headers)
            assert await caller.reader.read() == b""


@inside_once
async def test_http_1_0_is_refused() -> None:
    async with Inside(CONFIG, UPSTREAM=NOBODY) as gateway, gateway.call(upgrade().replace(b"HTTP/1.1", b"HTTP/1.0")) as caller:
        assert (await caller.head())[0] == 400


# ---- an answer ----


@pytest.mark.parametrize(
    "asked", [{}, {"store": False}, {"stream": True}, {"stream": False}, {"stream_options": {"include_obfuscation": True}}]
)
@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_a_response(upstream: str, asked: dict[str, Any]) -> None:
    """R03, and of R24."""
    async with Provider(answers(upstream)) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
        events = await socket.ask(model=f"{upstream}/m", input="hi", **asked)
        assert kinds(events) == EVENTS
        assert [event["sequence_number"] for event in events] in (list(range(10)), [0, 1, 2, 3, 4, 4, 6, 7, 8, 9])
        assert "".join(event["delta"] for event in events if "delta" in event) == TEXT
        assert not any("stream_id" in event for event in events)
        assert await quiet(socket)
        body = provider.requests[0].json
        assert body["stream"] is True
        assert not body.keys() & {"type", "generate", "stream_id"}
        await gateway.until(lambda: gateway.lines)
        line = gateway.lines[0]
        id = socket.headers["x-request-id"]
        assert (line["transport"], line["connection"], line["request_id"], line["status"]) == ("websocket", id, f"{id}.1", 200)
        assert "stream_id" not in line


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "as it should be": lambda event: event,
    "without names": lambda event: event[event.index(b"data:") :],
    "with CR LF": lambda event: event.replace(b"\n", b"\r\n"),
    "with blanks": lambda event: event.replace(b"data: {", b"data:   {").replace(b"}\n\n", b"} \n\n"),
    "with comments": lambda event: b": hello\n\n" + event,
    "on several lines": lambda event: event.replace(b'","', b'",\ndata: "', 1),
    "with an end mark": lambda event: event + (b"data: [DONE]\n\n" if b"response.completed" in event else b""),
    "with more behind the end": lambda event: event + (SPEECH["responses"].word("late") if b"response.completed" in event else b""),
}


@pytest.mark.parametrize("lane", [{}, {"stream_id": "a"}], ids=["", "lane"])
@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("form", FORMS)
@inside_once
async def test_however_an_upstream_writes_its_events(form: str, at_once: bool, store: bool, lane: dict[str, str]) -> None:
    """Each becomes one message of JSON, in one read or in many."""
    speech = SPEECH["responses"]
    words = [speech.word(f" w{number}") for number in range(5)]
    events = [FORMS[form](event) for event in [*speech.opening, *speech.words, *words, *speech.ending]]
    steps = [chunk(b"".join(events))] if at_once else [step for event in events for step in (chunk(event), lambda _: time.sleep(0.002))]
    async with Provider([stream_head(), *steps, LAST_CHUNK]) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
        told = await socket.ask(model="responses/m", input="hi", store=store, **lane)
        assert "".join(event["delta"] for event in told if "delta" in event) == "Hello world w0 w1 w2 w3 w4"
        assert kinds(told) == [*EVENTS[:4], *["output_text.delta"] * 7, *EVENTS[6:]]
        assert {event.get("stream_id") for event in told} == {lane.get("stream_id")}
        assert await quiet(socket, 0.02)


@inside_once
async def test_the_body_keeps_its_bytes() -> None:
    """Only the members of the message's own are cut out."""
    async with Provider(answers("responses")) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
        include = '"include":["reasoning.encrypted_content"]'
        own = f'"input" : "hi","temperature": 1.10, "store":false,{include}, "x":{{"type":"a","generate":[1]}}'
        socket.text(f'{{"type":"response.create", "model":"responses/m", "stream_id":"a" , {own},"generate":true}}')
        await socket.response()
        assert provider.requests[0].body == f'{{ "model":"m",  {own},"stream":true}}'.encode()


@pytest.mark.parametrize("upstream", SHAPES)
@inside
async def test_one_after_the_other(upstream: str) -> None:
    """R10: of two that come at once, the second is asked for when the first has ended."""
    gate = Gate()
    speech = SPEECH[upstream]

    def script(request: Request) -> Steps:
        return [stream_head(), *map(chunk, [*speech.opening, *speech.words]), wait(gate), *map(chunk, speech.ending), LAST_CHUNK]

    async with Provider(script) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
        socket.create(model=f"{upstream}/m", input="one")
        socket.create(model=f"{upstream}/m", input="two")
        while (await socket.event())["type"] != "response.output_text.delta":
            pass
        assert len(provider.requests) == 1
        assert await quiet_but(socket, "response.output_text.delta")
        assert len(provider.requests) == 1
        gate.open()
        assert kinds(await socket.response())[-1] == "completed"
        assert kinds(await socket.response())[-1] == "completed"
        assert [b"one" in request.body for request in provider.requests] == [True, False]


async def quiet_but(socket: Socket, kind: str) -> bool:
    """Whether nothing comes for a moment after events of this kind."""
    while not await quiet(socket, 0.02):
        pass
    return True


@pytest.mark.parametrize("lane", [{}, {"stream_id": "a"}], ids=["", "lane"])
@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_what_is_no_utf_8(upstream: str, at_once: bool, store: bool, lane: dict[str, str]) -> None:
    """One byte of an upstream would end the connection, and the responses of all lanes."""
    speech = SPEECH[upstream]
    wrong = [speech.word(text).replace(b"?", b"\xff\xe2\x82") for text in ("a?", "b?", "\N{PILE OF POO}")]
    gates = [Gate() for _ in wrong]
    paced = [step for word, gate in zip(wrong, gates, strict=True) for step in (wait(gate), chunk(word))]
    steps = [chunk(b"".join(wrong))] if at_once else paced
    whole = [stream_head(), *map(chunk, [*speech.opening, *speech.words]), *steps, *map(chunk, speech.ending), LAST_CHUNK]
    async with Provider(whole) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
        socket.create(model=f"{upstream}/m", input="hi", store=store, **lane)
        told: list[dict[str, Any]] = []
        for text in ("world", "a", "b"):
            while not at_once and text not in str(told):
                told.append(await socket.event())
            gates.pop(0).open()
        told += await socket.response()
        said = "".join(event["delta"] for event in told if "delta" in event)
        assert said == "Hello worlda\ufffd\ufffdb\ufffd\ufffd\N{PILE OF POO}"
        assert kinds(told)[-1] == "completed"


# ---- errors ----


@inside
async def test_what_was_not_kept_is_not_found() -> None:
    """R06."""
    async with Provider(answers("chat")) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
        (event,) = await socket.ask(model="chat/m", input="hi", previous_response_id="resp_abc")
        assert event.pop("headers") == {"x-request-id": f"{socket.headers['x-request-id']}.1"}
        assert event == {"type": "error", "status": 400, "error": not_found("resp_abc")}
        assert list(event) == ["type", "status", "error"]
        assert kinds(await socket.ask(model="chat/m", input="hi")) == EVENTS


# the message, and of the error: status, code, param
WRONG: dict[str, tuple[str, int, str | None, str | None]] = {
    "not JSON": ("{", 400, "invalid_json", None),
    "no object": ("[]", 400, "invalid_json", None),
    "nothing": ("", 400, "invalid_json", None),
    "no type": ("{}", 400, "missing_required_parameter", "type"),
    "another type": ('{"type":"response.inject"}', 400, "invalid_value", "type"),
    "a type that is none": ('{"type":[1]}', 400, "invalid_value", "type"),
    "background": ('{"type":"response.create","model":"chat/m","background":true}', 400, "unsupported_parameter", "background"),
    "two models": ('{"type":"response.create","model":"chat/m","model":"chat/n"}', 400, "invalid_json", "model"),
    "generate": ('{"type":"response.create","model":"chat/m","generate":"no"}', 400, "invalid_type", "generate"),
    "no model": ('{"type":"response.create","input":"hi"}', 400, "missing_required_parameter", "model"),
    "an unknown model": ('{"type":"response.create","model":"nobody/x","input":"hi"}', 404, "model_not_found", None),
    "no input": ('{"type":"response.create","model":"chat/m"}', 400, "missing_required_parameter", "input"),
    "a bad stream_id": (
        '{"type":"response.create","model":"chat/m","input":"hi","stream_id":"a b"}',
        400,
        "invalid_stream_id",
        "stream_id",
    ),
    "an empty stream_id": (
        '{"type":"response.create","model":"chat/m","input":"hi","stream_id":""}',
        400,
        "invalid_stream_id",
        "stream_id",
    ),
    "a long stream_id": (
        '{"type":"response.create","model":"chat/m","input":"hi","stream_id":"%s"}' % ("a" * 257),
        400,
        "invalid_stream_id",
        "stream_id",
    ),
}


@pytest.mark.parametrize("name", WRONG)
@inside_once
async def test_wrong_messages(name: str) -> None:
    """R23 and R24: an error of its own, and the connection stays."""
    message, status, code, param = WRONG[name]
    async with Provider(answers("chat")) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
        socket.text(message)
        event = await socket.event()
        assert (event["type"], event["status"], event["error"]["code"], event["error"]["param"]) == ("error", status, code, param)
        assert "stream_id" not in event
        assert kinds(await socket.ask(model="chat/m", input="hi")) == EVENTS


@inside_once
async def test_steering() -> None:
    """R23."""
    async with Inside(CONFIG, UPSTREAM=NOBODY) as gateway, connected(gateway) as socket:
        socket.text('{"type":"response.steer","previous_response_id":"r","input":"x"}')
        event = await socket.event()
        assert event["type"] == "response.steer.failed"
        assert (event["error"]["code"], event["error"]["type"]) == ("steering_not_supported", "invalid_request_error")
        assert event["steer"] == {"previous_response_id": "r", "input": "x"}


@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_a_refusal_of_the_upstream(upstream: str) -> None:
    """R13: its status, and when to come back; the connection stays."""
    error = {"message": "Slow down.", "type": "rate_limit_error", "code": "rate_limit_exceeded", "param": None}
    refused: dict[str, Any] = (
        {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}} if upstream == "messages" else {"error": error}
    )
    with Provider([respond(refused, 429, retry_after="7")]) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
            for number in (1, 2):
                (event,) = await socket.ask(model=f"{upstream}/m", input="hi", store=False)
                assert (event["status"], event["error"]["code"], event["error"]["message"]) == (429, "rate_limit_exceeded", "Slow down.")
                assert event["headers"] == {"retry-after": "7", "x-request-id": f"{socket.headers['x-request-id']}.{number}"}


@inside_once
async def test_a_page_of_html_is_an_error_too() -> None:
    with Provider([respond(b"<html>no</html>", 502, content_type="text/html")]) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
            (event,) = await socket.ask(model="responses/m", input="hi")
            assert event["status"] == 502
            assert event["error"]["message"]


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("upstream", SHAPES)
@inside
async def test_an_answer_that_breaks(upstream: str, store: bool) -> None:
    """R14: response.failed is the last that comes, and the next create works."""
    speech = SPEECH[upstream]
    broken = [stream_head(), *map(chunk, [*speech.opening, *speech.words[:1]]), close]
    scripts = iter([broken, answers(upstream)])
    async with Provider(lambda request: next(scripts)) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
        events = await socket.ask(model=f"{upstream}/m", input="hi", store=store)
        assert kinds(events)[-2:] == ["output_text.delta", "failed"]
        assert events[-1]["response"]["status"] == "failed"
        assert events[-1]["response"]["error"]["code"] == "server_error"
        assert [event["sequence_number"] for event in events] == list(range(6))
        assert await quiet(socket)
        assert kinds(await socket.ask(model=f"{upstream}/m", input="hi", store=store)) == EVENTS


FAILED = SPEECH["responses"].whole | {"status": "failed", "output": [], "error": {"code": "server_error", "message": "It broke."}}


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("order", ["error", "error failed", "failed error", "failed", "cancelled"])
@inside_once
async def test_how_an_upstream_may_fail(order: str, apart: bool, store: bool) -> None:
    """R14: whatever it sends, and in however many reads: one response.failed."""
    error = {"type": "error", "code": "server_error", "message": "It broke.", "param": None, "sequence_number": 5}
    told = {
        "error": sse(error, "error"),
        "failed": sse({"type": "response.failed", "response": FAILED, "sequence_number": 5}, "response.failed"),
        "cancelled": sse(
            {"type": "response.cancelled", "response": FAILED | {"status": "cancelled"}, "sequence_number": 5}, "response.cancelled"
        ),
    }
    ends = [told[name] for name in order.split()]
    last = [chunk(end) for end in ends] if apart else [chunk(b"".join(ends))]
    events = await failing(store, *last)
    assert kinds(events)[-2:] == ["output_text.delta", "failed"]
    assert events[-1]["response"]["status"] == "failed"
    if order != "cancelled":
        assert events[-1]["response"]["error"]["message"] == "It broke."
    assert events[-1]["sequence_number"] == 5


async def failing(store: bool, *last: Step) -> list[dict[str, Any]]:
    """The events of a response whose upstream ends so behind its first piece of text."""
    gate, speech = Gate(), SPEECH["responses"]
    with Provider([stream_head(), *map(chunk, [*speech.opening, *speech.words[:1]]), wait(gate), *last, LAST_CHUNK]) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
            socket.create(model="responses/m", input="hi", store=store)
            events = [await socket.event()]
            while events[-1]["type"] != "response.output_text.delta":
                events.append(await socket.event())
            gate.open()
            events += await socket.response()
            assert await quiet(socket)
            return events


@inside_once
async def test_an_upstreams_key_is_not_told_in_the_failure() -> None:
    error = {"type": "error", "code": "server_error", "message": "bad key sk-upstream here", "param": None, "sequence_number": 5}
    for store in (True, False):
        events = await failing(store, chunk(sse(error, "error")))
        assert kinds(events)[-1] == "failed"
        assert "sk-upstream" not in str(events)


# ---- frames ----


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (frame(2, b"{}"), 1003, "protocol"),
        (text(b"\xff\xfe"), 1007, "protocol"),
        (frame(1, b"{}", key=None), 1002, "protocol"),
        (frame(1, b"{}", bits=0x40), 1002, "protocol"),
        (more(b"x"), 1002, "protocol"),
        (frame(8, b"\x03\xe8bye"), 1000, "caller"),
        (frame(8), 1005, "caller"),
    ],
)
@inside
async def test_how_a_connection_is_closed(data: bytes, code: int, reason: str) -> None:
    """R16."""
    async with Inside(CONFIG, UPSTREAM=NOBODY) as gateway, connected(gateway) as socket:
        socket.caller.writer.write(data)
        async with asyncio.timeout(CLOSING / 2):  # its answer is seen, also where nothing else is read
            assert await socket.closed() == code
        await gateway.until(lambda: gateway.lines)
        line = gateway.lines[0]
        assert (line["operation"], line["close_code"], line["closed_by"], line["messages"], line["responses"]) == (
            "websocket",
            code,
            reason,
            0,
            0,
        )
        assert line["bytes_in"] >= len(data)
        value = gateway.gateway.metrics.registry.get_sample_value
        assert value("dragoman_websockets_closed_total", {"reason": reason}) == 1
        assert value("dragoman_websockets_open") == 0


@inside
async def test_a_message_that_is_too_long() -> None:
    """R16: it is refused by its announced length."""
    async with Inside(CONFIG, UPSTREAM=NOBODY) as gateway, connected(gateway) as socket:
        socket.caller.writer.write(text(b"x" * 70000)[:2] + ((64 << 20) + 1).to_bytes(8, "big") + b"abcd" + b"x" * 1000)
        event = await socket.event()
        assert (event["status"], event["error"]["code"]) == (413, "request_too_large")
        assert await socket.closed() == 1009
        await gateway.until(lambda: gateway.lines)
        assert gateway.lines[0]["bytes_in"] < 1 << 20
        assert gateway.lines[0]["closed_by"] == "size"


@inside
async def test_a_message_in_fragments() -> None:
    """R17: a ping between them is answered before the message is."""
    body = orjson.dumps({"type": "response.create", "model": "chat/m", "input": "hi"})
    data = frame(1, body[:7], last=False) + frame(0, body[7:20], last=False) + ping(b"p") + frame(0, body[20:])
    async with Provider(answers("chat")) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
        socket.caller.writer.write(data)
        pong = await socket.frame()
        assert isinstance(pong, frames.Pong)
        assert bytes(pong.payload) == b"p"
        assert kinds(await socket.response()) == EVENTS
        for cut in range(1, len(data)):
            socket.caller.writer.write(data[:cut])
            await socket.caller.writer.drain()
            if cut % 2:
                await quiet_frames(socket, cut > data.index(b"\x89") + 6)
            socket.caller.writer.write(data[cut:])
            assert kinds([event async for event in behind_pongs(socket)]) == EVENTS


async def quiet_frames(socket: Socket, ponged: bool) -> None:
    """Give the first part of the bytes a turn of its own."""
    if not ponged:
        await quiet(socket, 0.002)


async def behind_pongs(socket: Socket) -> Any:
    while True:
        event = await socket.frame()
        if isinstance(event, frames.Pong):
            continue
        assert isinstance(event, frames.TextMessage)
        assert event.message_finished
        found = orjson.loads(event.data)
        yield found
        if found["type"] == "response.completed":
            return


@inside
async def test_a_large_message() -> None:
    """As a caller with images sends it: it takes several turns of the loop, and what comes behind it keeps its place."""
    big = "x" * (3 << 20)
    with Provider(answers("chat")) as provider:
        async with Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
            socket.create(model="chat/m", input=big, stream_options={"a": [1, {"b": "}"}]})
            socket.create(model="chat/m", input="small")
            for _ in range(2):
                assert kinds(await socket.response()) == EVENTS
            sizes = [len(request.body) for request in provider.requests]
            assert sizes[0] > 3 << 20
            assert sizes[1] < 1000
        await gateway.until(lambda: not gateway.gateway.bodies.held)


@inside
async def test_frames_behind_the_head() -> None:
    """A message in the same segment as the upgrade."""
    message = text(orjson.dumps({"type": "response.create", "model": "chat/m", "input": "hi"}))
    async with Provider(answers("chat")) as provider, Inside(CONFIG, provider) as gateway, gateway.call(upgrade() + message) as caller:
        assert (await caller.head())[0] == 101
        assert kinds(await Socket(caller).response()) == EVENTS


def test_the_key_of_the_example() -> None:
    assert re.fullmatch(r"[A-Za-z0-9+/]{22}==", KEY)
