"""Operations that are carried as they are: each of them has the same life as a request in one of the three APIs.

What can go wrong with an upstream, for each operation: before the answer's head the caller is told in its API's words; behind it the
connection is cut, and never ended as if the answer were whole. And callers that leave, in every phase.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from tornado.web import HTTPError

from dragoman.codecs import errors
from dragoman.handlers import base

from ..scripted import LAST_CHUNK, Gate, Provider, Request, Steps, chunk, close, reset, respond, sse, stream_head, until_closed, wait
from .inside import CONFIG as PLAIN
from .inside import Caller, Inside, inside_once
from .wire import request

CONFIG = PLAIN.replace("apis: [responses]", "apis: [responses], capabilities: {r.compact: true}")
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nchat/m\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--x--\r\n'
)
ITEMS = {"model": "responses/m", "input": [{"role": "user", "content": "Hi"}]}


@dataclass(frozen=True)
class Asked:
    """name: in the log. upstream: its path there. shape: the caller's, which decides how errors read."""

    name: str
    path: str
    body: Any = b""
    method: str = "POST"
    shape: str = "chat"
    counted: bool = True

    def request(self) -> bytes:
        asked = request(self.path, self.body, self.method)
        return asked.replace(b"application/json", b"multipart/form-data; boundary=x") if self.body is FORM else asked


def model(name: str, **more: Any) -> dict[str, Any]:
    return {"model": name, **more}


ASKED = {
    "embeddings": Asked("embeddings", "/v1/embeddings", model("chat/m", input="Hi")),
    "completions": Asked("completions", "/v1/completions", model("chat/m", prompt="Hi")),
    "completions-streamed": Asked("completions", "/v1/completions", model("chat/m", prompt="Hi", stream=True)),
    "moderations": Asked("moderations", "/v1/moderations", model("chat/m", input="Hi")),
    "rerank": Asked("rerank", "/v1/rerank", model("chat/m", query="Hi", documents=[])),
    "images": Asked("images.generations", "/v1/images/generations", model("chat/m", prompt="Hi")),
    "speech": Asked("audio.speech", "/v1/audio/speech", model("chat/m", input="Hi", voice="a")),
    "transcriptions": Asked("audio.transcriptions", "/v1/audio/transcriptions", FORM),
    "of-a-responses-upstream": Asked("embeddings", "/v1/embeddings", model("responses/m", input="Hi")),
    "count_tokens": Asked(
        "count_tokens", "/v1/messages/count_tokens", model("messages/m", messages=[{"role": "user", "content": "Hi"}]), shape="messages"
    ),
    "input_tokens": Asked("input_tokens", "/v1/responses/input_tokens", ITEMS, shape="responses"),
    "compact": Asked("compact", "/v1/responses/compact", ITEMS, shape="responses"),
    "response": Asked("response.read", "/v1/responses/resp_1", method="GET", shape="responses"),
    "response-streamed": Asked("response.read", "/v1/responses/resp_1?stream=true", method="GET", shape="responses"),
    "input_items": Asked("response.input_items", "/v1/responses/resp_1/input_items", method="GET", shape="responses"),
    "cancel": Asked("response.cancel", "/v1/responses/resp_1/cancel", shape="responses"),
    "delete": Asked("response.delete", "/v1/responses/resp_1", method="DELETE", shape="responses"),
}

BYTES = bytes(range(256)) * 20
OWN_ERROR = {"error": {"message": "Not like this.", "type": "invalid_request_error", "param": None, "code": None}}
LEAKY = {"error": {"message": "The key sk-upstream has no rights.", "type": "x", "param": None, "code": None}}
PAGE = b"<html><h1>Welcome</h1></html>"


@dataclass(frozen=True)
class Fault:
    """status: of a refusal, for the OpenAI shapes and for messages; None when the answer's head is out and the connection is cut."""

    steps: Steps
    status: tuple[int, int] | None
    code: str


def same(status: int) -> tuple[int, int]:
    return status, status


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

REFUSED = {
    "closed-before-headers": Fault([close], same(502), "upstream_unreachable"),
    "reset-before-headers": Fault([reset], same(502), "upstream_unreachable"),
    "cut-in-headers": Fault([b"HTTP/1.1 200 OK\r\nConte", close], same(502), "upstream_stream_interrupted"),
    "not-http": Fault([b"220 mail.example ESMTP\r\n", until_closed], same(502), "upstream_protocol_error"),
    "silent": Fault([until_closed], same(504), "upstream_timeout"),
    "silent-after-headers": Fault([CHUNKED, until_closed], same(504), "upstream_timeout"),
    "closed-after-headers": Fault([CHUNKED, close], same(502), "upstream_stream_interrupted"),
    "brotli": Fault([respond(b"\x0b\x02\x80", content_encoding="br")], same(502), "upstream_protocol_error"),
    "302": Fault([respond(PAGE, 302, location="/stolen")], same(502), "upstream_protocol_error"),
    "401": Fault([respond(LEAKY, 401)], same(403), "upstream_auth_failed"),
    "page-500": Fault([respond(PAGE, 500, content_type="text/html")], same(500), "server"),
    "502-cut": Fault([respond(PAGE, 502, content_type="text/html")[:-5], close], same(502), "upstream_stream_interrupted"),
}

CUT = {
    "counted-short": Fault([HEAD + b"Content-Length: 9000\r\n\r\n" + BYTES, close], None, "upstream_stream_interrupted"),
    "cut-in-a-chunk": Fault([CHUNKED + b"2000\r\n" + BYTES, close], None, "upstream_stream_interrupted"),
    "no-last-chunk": Fault([CHUNKED, chunk(BYTES), close], None, "upstream_stream_interrupted"),
    "reset": Fault([CHUNKED, chunk(BYTES), reset], None, "upstream_stream_interrupted"),
    "bad-chunk": Fault([CHUNKED, chunk(BYTES), b"xyz\r\n"], None, "upstream_protocol_error"),
    "silent-in-the-body": Fault([CHUNKED, chunk(BYTES), until_closed], None, "upstream_timeout"),
}

HASTY = CONFIG.replace("access_key:", "timeouts: {first_byte: 300ms, idle: 300ms}, access_key:")


async def until_cut(caller: Caller) -> bytes:
    """All bytes behind the head, up to an end of the connection of any kind."""
    found = b""
    try:
        while piece := await caller.reader.read(1 << 16):
            found += piece
    except ConnectionResetError:
        pass
    return found


def line_of(gateway: Inside, asked: Asked) -> dict[str, Any]:
    (line,) = gateway.lines
    assert (line["operation"], line["lane"]) == (asked.name, "raw")
    return line


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("fault", REFUSED)
@inside_once
async def test_refused(fault: str, name: str) -> None:
    """Nothing of an answer was sent: the caller is told in its API's own words."""
    at, asked = REFUSED[fault], ASKED[name]
    assert at.status is not None
    async with Provider(lambda request: at.steps) as provider, Inside(HASTY, provider) as gateway, gateway.call(asked.request()) as caller:
        status, headers = await caller.head()
        body = await caller.body(headers)
        assert status == at.status[asked.shape == "messages"]
        assert headers["content-type"] == "application/json"
        assert headers["x-request-id"] == headers["request-id"]
        assert b"sk-upstream" not in body
        told = orjson.loads(body)
        if asked.shape == "messages":
            assert told["type"] == "error"
        elif at.code != "server":
            assert told["error"]["code"] == at.code
        await gateway.until(lambda: gateway.idle)
        assert len(provider.requests) == 1  # what the upstream has read is not sent again
        line = line_of(gateway, asked)
        assert (line["status"], line["error"]) == (status, at.code)
        assert "client_left" not in line


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("fault", CUT)
@inside_once
async def test_cut(fault: str, name: str) -> None:
    """Some of the answer was sent: the connection ends without the answer's end."""
    at, asked = CUT[fault], ASKED[name]
    async with Provider(lambda request: at.steps) as provider, Inside(HASTY, provider) as gateway, gateway.call(asked.request()) as caller:
        status, headers = await caller.head()
        body = await until_cut(caller)
        assert (status, headers["content-type"]) == (200, "audio/mpeg")
        if fault == "counted-short":
            assert headers["content-length"] == "9000"
            assert body == BYTES
        else:
            assert body.startswith(b"%x\r\n" % len(BYTES))
            assert not body.endswith(b"0\r\n\r\n")
        await gateway.until(lambda: gateway.idle)
        line = line_of(gateway, asked)
        assert (line["status"], line["error"]) == (200, at.code)
        assert "client_left" not in line


@pytest.mark.parametrize("fault", CUT)
@inside_once
async def test_cut_where_nothing_frames_the_answer(fault: str) -> None:
    """A caller of HTTP/1.0 knows the end of an answer by the end of the connection alone: it sees a reset."""
    data = ASKED["speech"].request().replace(b"HTTP/1.1", b"HTTP/1.0")
    async with Provider(lambda request: CUT[fault].steps) as provider, Inside(HASTY, provider) as gateway, gateway.call(data) as caller:
        _, headers = await caller.head()
        if "content-length" in headers:
            assert await caller.reader.read() == BYTES
        else:
            with pytest.raises(ConnectionResetError):
                await caller.reader.read()


WHOLE = {
    "counted": [respond(BYTES, content_type="audio/mpeg")],
    "chunked": [CHUNKED, chunk(BYTES[:1000]), chunk(BYTES[1000:]), LAST_CHUNK],
    "until-closed": [HEAD + b"Connection: close\r\n\r\n" + BYTES, close],
    "gzip": [respond(gzip.compress(BYTES), content_type="audio/mpeg", content_encoding="gzip")],
}


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("form", WHOLE)
@inside_once
async def test_whole(form: str, name: str) -> None:
    """The same bytes, under the length that the upstream promised; and the connection goes on."""
    asked = ASKED[name]
    with Provider(lambda request: WHOLE[form]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(asked.request()) as caller:
            for number in range(2):
                status, headers = await caller.head()
                assert await caller.body(headers) == BYTES
                assert (status, headers["content-type"], headers["x-dragoman-lane"]) == (200, "audio/mpeg", "raw")
                assert ("content-length" in headers) == (form == "counted")
                assert headers["x-dragoman-upstream"].endswith("/m") or asked.body == b""
                if not number:
                    caller.writer.write(asked.request())
            await gateway.until(lambda: gateway.idle)
            assert [line["operation"] for line in gateway.lines] == [asked.name] * 2
            sent = provider.requests[0]
            assert sent.target.partition("?")[0] == asked.path.partition("?")[0]
            assert sent.method == asked.method
            assert sent.headers["authorization"] == "Bearer sk-upstream"
            if isinstance(asked.body, dict):
                assert sent.json == asked.body | {"model": "m"}
            elif asked.body is FORM:
                assert sent.body == FORM.replace(b"chat/m", b"m")


@pytest.mark.parametrize("name", ASKED)
@inside_once
async def test_an_upstreams_own_refusal(name: str) -> None:
    with Provider([respond(OWN_ERROR, 404)]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(ASKED[name].request()) as caller:
            status, headers = await caller.head()
            assert (status, orjson.loads(await caller.body(headers))) == (404, OWN_ERROR)
            await gateway.until(lambda: gateway.lines)
            assert gateway.lines[0]["status"] == 404


@inside_once
async def test_without_a_body() -> None:
    with Provider([b"HTTP/1.1 204 No Content\r\n\r\n"]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(ASKED["delete"].request()) as caller:
            assert (await caller.head())[0] == 204
            await gateway.until(lambda: gateway.idle)


# ---- as every other request ----


@pytest.mark.parametrize("name", ["embeddings", "speech", "transcriptions", "compact", "count_tokens"])
@inside_once
async def test_another_candidate_takes_over(name: str) -> None:
    """And what failed is asked last from then on."""
    shape = {"compact": "responses", "count_tokens": "messages"}.get(name, "chat")
    entry = next(line for line in CONFIG.splitlines() if f'"{shape}/*"' in line)
    first = entry.replace(f'"{shape}/*"', f'"{shape}/m"').replace("UPSTREAM", "FIRST")
    config = CONFIG.replace("model_providers:", f"model_providers:\n{first}\n{first.replace('FIRST', 'UPSTREAM')[:-1]}, name: other}}")
    with Provider([respond({}, 503)]) as failing, Provider([respond(BYTES, content_type="x/y")]) as provider:
        async with Inside(config, provider, FIRST=failing.url) as gateway:
            for asked in range(2):
                async with gateway.call(ASKED[name].request()) as caller:
                    status, headers = await caller.head()
                    assert (status, await caller.body(headers)) == (200, BYTES)
                await gateway.until(lambda asked=asked: len(gateway.lines) == asked + 1)
            assert [line["attempts"] for line in gateway.lines] == [2, 1]
            assert len(failing.requests) == 1


@pytest.mark.parametrize("name", ASKED)
@inside_once
async def test_none_begins_while_draining(name: str) -> None:
    asked = ASKED[name]
    async with Provider([respond(BYTES)]) as provider, Inside(CONFIG, provider) as gateway:
        gateway.gateway.draining = True
        async with gateway.call(asked.request()) as caller:
            status, headers = await caller.head()
            assert (status, headers["retry-after"]) == (529 if asked.shape == "messages" else 503, "1")
        assert not provider.requests


@pytest.mark.parametrize("name", ASKED)
@inside_once
async def test_the_listeners_timeout(name: str) -> None:
    config = CONFIG.replace("address: 127.0.0.1", "address: 127.0.0.1, timeout: 300ms")
    async with Provider([until_closed]) as provider, Inside(config, provider) as gateway, gateway.call(ASKED[name].request()) as caller:
        assert (await caller.head())[0] == 504
        assert gateway.lines[0]["timer"] == "timeout"
        await provider.seen(lambda: provider.connections[0].closed_by == "peer")


@inside_once
async def test_the_listeners_timeout_cuts_what_has_begun() -> None:
    config = CONFIG.replace("address: 127.0.0.1", "address: 127.0.0.1, timeout: 300ms")
    with Provider([CHUNKED, chunk(BYTES), until_closed]) as provider:
        async with Inside(config, provider) as gateway, gateway.call(ASKED["speech"].request()) as caller:
            await caller.head()
            assert not (await until_cut(caller)).endswith(b"0\r\n\r\n")
            assert gateway.lines[0]["timer"] == "timeout"


@pytest.mark.parametrize("name", ASKED)
@inside_once
async def test_no_more_at_once_than_allowed(name: str) -> None:
    gate = Gate()
    with Provider([wait(gate), respond(BYTES)]) as provider:
        async with Inside(CONFIG + "\nlimits: {max_streams: 1}", provider) as gateway, gateway.call(ASKED[name].request()) as first:
            await provider.seen(lambda: provider.requests)
            async with gateway.call(ASKED[name].request()) as second:
                assert (await second.head())[0] in (503, 529)
            gate.open()
            assert (await first.head())[0] == 200


# ---- callers that leave ----

PHASES: dict[str, tuple[Steps, bool]] = {
    "headers": ([until_closed], False),
    "body": ([CHUNKED, chunk(BYTES), until_closed], True),
    "counted-body": ([respond(BYTES + BYTES)[: -len(BYTES)], until_closed], True),
}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("phase", PHASES)
@inside_once
async def test_leaving(phase: str, name: str, reset: bool) -> None:
    """Whatever goes on for them ends, and the upstream's connection with it."""
    steps, begun = PHASES[phase]
    asked = ASKED[name]
    async with Provider(lambda request: steps) as provider, Inside(CONFIG, provider) as gateway:
        async with gateway.call(asked.request()) as caller:
            await provider.seen(lambda: provider.requests)
            if begun:
                await caller.head()
            caller.leave(reset)
            await provider.seen(lambda: provider.connections[0].closed_by == "peer")
            await gateway.until(lambda: gateway.idle and gateway.lines)
        line = line_of(gateway, asked)
        assert line["client_left"] is True
        assert "error" not in line
        assert len(provider.requests) == 1


# ---- what is charged ----

USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


def completion(text: str, **more: Any) -> bytes:
    return sse({"id": "c", "object": "text_completion", "choices": [{"text": text, "index": 0}], **more})


CHARGED: dict[str, tuple[str, Steps, dict[str, int]]] = {
    "whole": ("completions", [respond({"choices": [], "usage": USAGE})], {"input": 11, "output": 5, "cached": 0}),
    "streamed": (
        "completions-streamed",
        [stream_head(), chunk(completion("a")), chunk(sse({"choices": [], "usage": USAGE}) + sse("[DONE]")), LAST_CHUNK],
        {"input": 11, "output": 5, "cached": 0},
    ),
    "streamed, and cut behind its count": (
        "completions-streamed",
        [stream_head(), chunk(completion("word " * 900)), chunk(sse({"choices": [], "usage": USAGE})), close],
        {"input": 11, "output": 5, "cached": 0},
    ),
    "compact": (
        "compact",
        [respond({"output": [], "usage": {"input_tokens": 30, "output_tokens": 4}})],
        {"input": 30, "output": 4, "cached": 0},
    ),
}


@pytest.mark.parametrize("name", CHARGED)
@inside_once
async def test_charged(name: str) -> None:
    operation, steps, tokens = CHARGED[name]
    async with Provider(steps) as provider, Inside(CONFIG, provider) as gateway, gateway.call(ASKED[operation].request()) as caller:
        await caller.reader.read(1)
        await gateway.until(lambda: gateway.lines)
        assert gateway.lines[0]["tokens"] == tokens


@inside_once
async def test_a_stream_whose_usage_never_comes_is_estimated() -> None:
    """One token an event, as for a stream of the other APIs."""
    with Provider([stream_head(), *(chunk(completion("word")) for _ in range(50)), chunk(sse("[DONE]")), LAST_CHUNK]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(ASKED["completions-streamed"].request()) as caller:
            _, headers = await caller.head()
            await caller.body(headers)
            await gateway.until(lambda: gateway.lines)
            assert gateway.lines[0]["tokens"]["output"] >= 50
            assert gateway.lines[0]["tokens"]["input"] > 0


@pytest.mark.parametrize("name", ["embeddings", "compact", "chat"])
@inside_once
async def test_the_prompt_of_a_whole_answer_that_nobody_waits_for_is_charged(name: str) -> None:
    body = {"model": "chat/m", "messages": [{"role": "user", "content": "word " * 800}]}
    asked = (
        request("/v1/chat/completions", body) if name == "chat" else request(ASKED[name].path, ASKED[name].body | {"input": "word " * 800})
    )
    async with Provider([until_closed]) as provider, Inside(CONFIG, provider) as gateway, gateway.call(asked) as caller:
        await provider.seen(lambda: provider.requests)
        caller.leave()
        await gateway.until(lambda: gateway.lines)
        assert 900 < gateway.lines[0]["tokens"]["input"] < 1100


@inside_once
async def test_counts_are_free() -> None:
    with Provider([respond({"input_tokens": 9, "usage": USAGE})]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(ASKED["count_tokens"].request()) as caller:
            await caller.head()
            await gateway.until(lambda: gateway.lines)
            assert "tokens" not in gateway.lines[0]


# ---- estimates ----


@inside_once
async def test_an_estimate_is_a_request_like_others() -> None:
    """One line in the log; no upstream is called."""
    body = {"model": "chat/m", "messages": [{"role": "user", "content": "Hi"}]}
    with Provider([]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(request("/v1/messages/count_tokens", body)) as caller:
            status, headers = await caller.head()
            assert (status, headers["x-dragoman-estimate"]) == (200, "true")
            assert orjson.loads(await caller.body(headers))["input_tokens"] > 0
            await gateway.until(lambda: gateway.idle)
            (line,) = gateway.lines
            assert (line["operation"], line["status"], line["shape"]) == ("count_tokens", 200, "messages")
            assert "upstream" not in line
            assert not provider.requests


@pytest.mark.parametrize(
    "answer", [respond({"input_tokens": 42}), respond({}, 500), respond({"hello": 1})], ids=["counts", "fails", "garbled"]
)
@inside_once
async def test_a_responses_upstream_is_asked_first(answer: bytes) -> None:
    """For a messages caller; when it does not say, the count is estimated."""
    body = {"model": "responses/m", "messages": [{"role": "user", "content": "Hi"}]}
    with Provider([answer]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(request("/v1/messages/count_tokens", body)) as caller:
            status, headers = await caller.head()
            count = orjson.loads(await caller.body(headers))["input_tokens"]
            assert status == 200
            assert (count == 42) == ("x-dragoman-estimate" not in headers)
            assert provider.requests[0].target == "/v1/responses/input_tokens"
            await gateway.until(lambda: gateway.lines)
            assert gateway.lines[0]["status"] == 200


ABSENT = [
    respond({"type": "error", "error": {"type": "not_supported", "message": "no count"}}, 501),
    respond(b"", 405),
    respond({"detail": "Not Found"}, 404),
    respond(b"<h1>Not Found</h1>", 404, content_type="text/html"),
]
UNKNOWN = respond({"type": "error", "error": {"type": "not_found_error", "message": "model: m"}}, 404)


@pytest.mark.parametrize("answer", ABSENT, ids=["not supported", "no method", "no path", "a page"])
@inside_once
async def test_an_upstream_without_a_count_is_estimated(answer: bytes) -> None:
    """Its own callers' API, and no such path."""
    async with Provider([answer]) as provider, Inside(CONFIG, provider) as gateway, gateway.call(ASKED["count_tokens"].request()) as caller:
        status, headers = await caller.head()
        assert (status, headers["x-dragoman-estimate"]) == (200, "true")
        assert orjson.loads(await caller.body(headers))["input_tokens"] > 0
        assert provider.requests[0].target == "/v1/messages/count_tokens"


@inside_once
async def test_a_model_that_the_counting_upstream_does_not_know() -> None:
    with Provider([UNKNOWN]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(ASKED["count_tokens"].request()) as caller:
            status, headers = await caller.head()
            assert (status, "x-dragoman-estimate" in headers) == (404, False)


# ---- the end of the process ----


@inside_once
async def test_a_cancelled_exchange_is_cut() -> None:
    """As when the process ends at once: an answer that has begun does not look whole."""
    with Provider([CHUNKED, chunk(BYTES), until_closed]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(ASKED["speech"].request()) as caller:
            await caller.head()
            (exchange,) = gateway.gateway.exchanges
            assert exchange._task is not None
            exchange._task.cancel()
            assert not (await until_cut(caller)).endswith(b"0\r\n\r\n")
            await asyncio.sleep(0)


class Broken(base.Handler):
    """Fails behind the beginning of its answer."""

    async def get(self, how: str) -> None:
        self.write("half of it")
        await self.flush()
        raise {"bug": ValueError("a bug"), "http": HTTPError(500), "ours": errors.LocalBug("ours")}[how]


@pytest.mark.parametrize("how", ["bug", "http", "ours"])
@inside_once
async def test_a_begun_answer_of_any_handler_is_never_ended_by_an_error(how: str) -> None:
    """Tornado would write the last chunk."""
    async with Inside(CONFIG.replace("UPSTREAM", "http://127.0.0.1:9")) as gateway:
        application: Any = gateway.server.request_callback
        application.add_handlers(".*", [("/broken/(.*)", Broken, {"gateway": gateway.gateway})])
        async with gateway.call(request(f"/broken/{how}", method="GET")) as caller:
            assert (await caller.head())[0] == 200
            assert await until_cut(caller) == b"a\r\nhalf of it\r\n"
            await gateway.until(lambda: gateway.idle)


# ---- background responses that an upstream runs itself ----

KEYED = CONFIG + "\naccess_keys: [{key: a-key-of-somebody, name: alice, tokens_per_minute: 1000000}]"
QUEUED = {"id": "resp_1", "object": "response", "status": "queued", "output": [], "usage": None}
DONE = QUEUED | {"status": "completed", "usage": {"input_tokens": 30, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 1}}}
EVENTS = [
    sse({"type": "response.created", "response": QUEUED, "sequence_number": 0}, "response.created"),
    sse({"type": "response.completed", "response": DONE, "sequence_number": 1}, "response.completed"),
]


DELTA = sse(
    {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": "Hello", "sequence_number": 1},
    "response.output_text.delta",
)


async def call(gateway: Inside, path: str, body: Any = b"", method: str = "POST") -> bytes:
    seen = len(gateway.lines)
    async with gateway.call(request(path, body, method, authorization="Bearer a-key-of-somebody")) as caller:
        status, headers = await caller.head()
        assert status == 200
        found = await caller.body(headers)
    await gateway.until(lambda: len(gateway.lines) > seen and gateway.idle)
    return found


@pytest.mark.parametrize("streamed", [False, True], ids=["polled", "streamed"])
@inside_once
async def test_a_native_background_response_is_charged_once(streamed: bool) -> None:
    """By whoever reads its end first: not when it begins, and not each time that it is read."""
    answers = iter([QUEUED, QUEUED, DONE, DONE])

    def script(asked: Request) -> Steps:
        if "stream=true" in asked.target:
            return [stream_head(), *map(chunk, EVENTS), LAST_CHUNK]
        return [respond(next(answers))]

    async with Provider(script) as provider, Inside(KEYED, provider) as gateway:
        await call(gateway, "/v1/responses", ITEMS | {"background": True})
        await call(gateway, "/v1/responses/resp_1", method="GET")
        if streamed:
            await call(gateway, "/v1/responses/resp_1?stream=true", method="GET")
        for _ in range(2):
            await call(gateway, "/v1/responses/resp_1", method="GET")
        tokens = [line.get("tokens") for line in gateway.lines]
        assert tokens == [None, None, {"input": 30, "output": 4, "cached": 0}, *[None] * (len(tokens) - 3)]
        assert all(line["upstream"] == "responses/m" for line in gateway.lines)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@inside_once
async def test_a_caller_who_closes_behind_the_last_byte_has_not_left(reset: bool, tmp_path: Path) -> None:
    """Something may still be done for the answer when all bytes of its Content-Length are sent: here the charge waits for the state."""
    answers, file = iter([QUEUED, DONE]), tmp_path / "state.db"
    with Provider(lambda asked: [respond(next(answers))]) as provider:
        async with Inside(f"{KEYED}\nstate_storage: {{type: sqlite, path: {file}}}", provider) as gateway:
            await call(gateway, "/v1/responses", ITEMS | {"background": True})
            with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                asked = request("/v1/responses/resp_1", b"", "GET", authorization="Bearer a-key-of-somebody")
                async with gateway.call(asked) as caller:
                    _, headers = await caller.head()
                    assert orjson.loads(await caller.body(headers)) == DONE
                    (exchange,) = gateway.gateway.exchanges
                    caller.leave(reset)
                    await gateway.until(lambda: not gateway.server._connections)
                assert exchange in gateway.gateway.exchanges
                other.execute("ROLLBACK")
            await gateway.until(lambda: len(gateway.lines) == 2 and gateway.idle)
            line = gateway.lines[1]
            assert (line["status"], line.get("client_left", False), line["tokens"]["output"]) == (200, False, 4)


@inside_once
async def test_a_native_background_stream_is_charged_at_its_own_end() -> None:
    def script(asked: Request) -> Steps:
        return [stream_head(), *map(chunk, EVENTS), LAST_CHUNK] if asked.method == "POST" else [respond(DONE)]

    async with Provider(script) as provider, Inside(KEYED, provider) as gateway:
        await call(gateway, "/v1/responses", ITEMS | {"background": True, "stream": True})
        await call(gateway, "/v1/responses/resp_1", method="GET")
        assert ["tokens" in line for line in gateway.lines] == [True, False]


@inside_once
async def test_a_native_background_stream_that_is_left_is_charged_when_it_is_read() -> None:
    def script(asked: Request) -> Steps:
        return [stream_head(), chunk(EVENTS[0]), chunk(DELTA), until_closed] if asked.method == "POST" else [respond(DONE)]

    body = ITEMS | {"background": True, "stream": True}
    async with Provider(script) as provider, Inside(KEYED, provider) as gateway:
        async with gateway.call(request("/v1/responses", body, authorization="Bearer a-key-of-somebody")) as caller:
            await caller.head()
            caller.leave()
            await gateway.until(lambda: gateway.idle and gateway.lines)
        await call(gateway, "/v1/responses/resp_1", method="GET")
        assert ["tokens" in line for line in gateway.lines] == [False, True]
