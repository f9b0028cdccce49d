"""Requests that are wrong in every way: each is a 4xx in the caller's own shape, nothing is sent on, and nobody gets another's answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from ..conftest import Running, Start
from ..scripted import Gate, Provider, Request, Steps, chunk, respond, stream_head, wait
from .spoken import PATHS, SHAPE_AT, SHAPES, SPEECH
from .wire import Answer, Wire, ask, request

MAX_BODY = 100_000
CONFIG = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
limits: {max_body: 100000B}
model_providers:
  - {model: "chat/*", base_url: "UPSTREAM/v1", access_key: k, apis: [chat_completions], provider_interface: openai}
  - {model: "messages/*", base_url: "UPSTREAM/v1", access_key: k, apis: [messages], provider_interface: openai}
  - {model: "responses/*", base_url: "UPSTREAM/v1", access_key: k, apis: [responses], provider_interface: openai}
"""

HELLO = [{"role": "user", "content": "Hi"}]
GOOD: dict[str, dict[str, Any]] = {
    "chat": {"messages": HELLO},
    "messages": {"messages": HELLO, "max_tokens": 10},
    "responses": {"input": "Hi"},
}


def good(shape: str, upstream: str, **more: Any) -> dict[str, Any]:
    return {"model": f"{upstream}/m", **GOOD[shape], **more}


class Gated:
    """Answers with the model's last word; a model that begins with `slow` waits at the gate first."""

    def __init__(self) -> None:
        self.gate = Gate()

    def __call__(self, asked: Request) -> Steps:
        speech = SPEECH[SHAPE_AT[asked.target.partition("?")[0]]]
        body = asked.json
        if body["model"].startswith("slow"):
            yield wait(self.gate)
        if body.get("stream"):
            yield stream_head()
            yield b"".join(map(chunk, [*speech.opening, speech.word(body["model"]), *speech.ending])) + b"0\r\n\r\n"
        else:
            yield respond(orjson.loads(orjson.dumps(speech.whole).replace(b"Hello world", body["model"].encode())))


@pytest.fixture(scope="module")
def script() -> Gated:
    return Gated()


@pytest.fixture(scope="module")
def provider(script: Gated) -> Iterator[Provider]:
    with Provider(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(start_session: Start, provider: Provider) -> Iterator[Running]:
    running = start_session(CONFIG.replace("UPSTREAM", provider.url))
    yield running
    written = running.log()
    assert "traceback" not in written.lower(), written[written.lower().index("traceback") - 500 :][:3000]


@pytest.fixture
def port(gateway: Running, provider: Provider) -> Iterator[int]:
    """The gateway's; a test that uses it sends nothing on to the provider."""
    before = len(provider.requests)
    yield gateway.port
    assert len(provider.requests) == before


def check_form(answer: Answer, shape: str) -> tuple[str, str | None, str | None]:
    """type, code and param of an error, whose form must be the shape's to the letter."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    value = answer.json
    error = value["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    if shape == "messages":
        assert set(value) == {"type", "error", "request_id"}
        assert set(error) == {"type", "message"}
        assert value["type"] == "error"
        return error["type"], None, None
    assert set(value) == ({"error"} if shape != "shared" else {"type", "error", "request_id"})
    assert set(error) == {"message", "type", "param", "code"}
    return error["type"], error["code"], error["param"]


def check_refused(answer: Answer, shape: str, status: int = 400, code: str | None = None, param: str | None = None) -> None:
    assert answer.status == status, answer
    type, told_code, told_param = check_form(answer, shape)
    assert type == ("request_too_large" if (shape, status) == ("messages", 413) else "invalid_request_error")
    if shape != "messages":
        assert (told_code, told_param) == (code, param)
    elif param:
        assert param in answer.json["error"]["message"]


PAIRS = [pytest.param(shape, upstream, id=f"{shape}-to-{upstream}") for shape in SHAPES for upstream in SHAPES]

# ---- bodies ----

BODIES = {
    "empty": b"",
    "blank": b"  \r\n ",
    "text": b"hello",
    "cut": b'{"model": "chat/m", "messages": [',
    "single-quotes": b"{'model': 'chat/m'}",
    "trailing": b'{"model": "chat/m"} {}',
    "array": b"[]",
    "string": b'"model"',
    "null": b"null",
    "number": b"7",
    "not-utf-8": b'{"model": "chat/m", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "utf-16": '{"model": "chat/m"}'.encode("utf-16"),
    "overlong-utf-8": b'{"model": "chat/\xc0\xaf"}',
    "nan": b'{"model": "chat/m", "temperature": NaN}',
    "infinity": b'{"model": "chat/m", "temperature": -Infinity}',
    "control-character": b'{"model": "chat/m\x01"}',
    "deep": b'{"model": "chat/m", "messages": ' + b"[" * 40_000 + b"]" * 40_000 + b"}",
    "deep-and-open": b'{"a":' * 19_000,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", BODIES)
def test_no_json_object(port: int, shape: str, name: str) -> None:
    check_refused(ask(port, request(PATHS[shape], BODIES[name])), shape, code="invalid_json")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("key", ["model", "stream"])
@pytest.mark.parametrize("second", [b'"%b"', b'"\\u%04x%b"'], ids=["plain", "escaped"])
def test_twice(port: int, shape: str, key: str, second: bytes) -> None:
    """Two parsers may disagree on which of two members counts."""
    name = key.encode()
    spelled = second % name if b"%04x" not in second else second % (name[0], name[1:])
    body = b'{"model": "chat/m", "stream": false, %b: null, "messages": []}' % spelled
    check_refused(ask(port, request(PATHS[shape], body)), shape, code="invalid_json", param=key)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("value", [7, True, [], {}, ["chat/m"]], ids=repr)
def test_model_is_no_string(port: int, shape: str, value: Any) -> None:
    answer = ask(port, request(PATHS[shape], GOOD[shape] | {"model": value}))
    check_refused(answer, shape, code="invalid_type", param="model")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("value", [1, "true", [], {}], ids=repr)
def test_stream_is_no_boolean(port: int, shape: str, value: Any) -> None:
    answer = ask(port, request(PATHS[shape], good(shape, "chat", stream=value)))
    check_refused(answer, shape, code="invalid_type", param="stream")


@pytest.mark.parametrize("shape", SHAPES)
def test_no_model(port: int, shape: str) -> None:
    check_refused(ask(port, request(PATHS[shape], GOOD[shape])), shape, code="missing_required_parameter", param="model")


MODELS = {
    "unknown-provider": b'"nobody/m"',
    "unknown-name": b'"nothing"',
    "empty": b'""',
    "slash": b'"/"',
    "prefix-alone": b'"chat"',
    "half-a-character": b'"nobody/\\ud83d"',
    "line-break": b'"nobody/a\\r\\nx-injected: 1"',
    "very-long": b'"nobody/' + b"m" * 50_000 + b'"',
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MODELS)
def test_unknown_model(port: int, shape: str, name: str) -> None:
    answer = ask(port, request(PATHS[shape], orjson.dumps(GOOD[shape])[:-1] + b',"model":' + MODELS[name] + b"}"))
    assert answer.status == 404
    assert len(answer.body) < 1000
    type, code, param = check_form(answer, shape)
    assert type == ("not_found_error" if shape == "messages" else "invalid_request_error")
    assert shape == "messages" or (code, param) == ("model_not_found", None)


# what only a translation reads: (shape, the member, a value or None for absent, the error's code)
MISSING = "missing_required_parameter"
FIELDS = [
    ("chat", "messages", None, MISSING),
    ("messages", "messages", None, MISSING),
    ("messages", "max_tokens", None, MISSING),
    ("responses", "input", None, MISSING),
    *(("chat", "messages", value, "invalid_type") for value in (7, "Hi", {}, True, [7], ["Hi"], [None], [[]])),
    *(("messages", "messages", value, "invalid_type") for value in (7, "Hi", {}, True, [7], ["Hi"], [None], [[]])),
    *(("responses", "input", value, "invalid_type") for value in (7, {}, True, [7], [None], [[]])),
    *(("messages", "max_tokens", value, "invalid_type") for value in ("7", [], {}, True, 1.5)),
    *(("messages", "system", value, "invalid_type") for value in (7, True, {}, [7])),
    *(("responses", "instructions", value, "invalid_type") for value in (7, True, {})),
    *((shape, "tools", value, "invalid_type") for shape in SHAPES for value in (7, "x", True, {"a": 1}, [7], ["x"], [[]])),
    *((shape, "tool_choice", value, "invalid_type") for shape in SHAPES for value in (7, True, [1])),
]


def _told(value: object) -> str:
    return "absent" if value is None else orjson.dumps(value).decode()


@pytest.mark.parametrize(
    ("shape", "upstream", "member", "value", "code"),
    [
        pytest.param(shape, upstream, member, value, code, id=f"{shape}-to-{upstream}-{member}-{_told(value)}")
        for shape, member, value, code in FIELDS
        for upstream in SHAPES
        if upstream != shape
    ],
)
def test_wrong_member(port: int, shape: str, upstream: str, member: str, value: Any, code: str) -> None:
    body = good(shape, upstream)
    body.pop(member, None)
    if value is not None:
        body[member] = value
    if member == "tool_choice":
        body["tools"] = {
            "chat": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "messages": [{"name": "f", "input_schema": {"type": "object"}}],
            "responses": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        }[shape]
    answer = ask(port, request(PATHS[shape], body))
    assert answer.status == 400, answer
    type, told, param = check_form(answer, shape)
    assert type == "invalid_request_error"
    if shape != "messages":
        assert told == code
        assert (param or "").startswith(member)
    else:
        assert member in answer.json["error"]["message"]


# ---- paths and methods ----


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v2/chat/completions",
        "/v1/chat",
        "/%00",
        "/\xff\xfe",
        "//evil.example/x",
        "/v1/../etc/passwd",
        "*",
    ],
)
def test_unknown_path(port: int, path: str) -> None:
    answer = ask(port, request(path, good("chat", "chat")))
    assert answer.status == 404
    check_form(answer, "shared")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_wrong_method(port: int, shape: str, method: str) -> None:
    answer = ask(port, request(PATHS[shape], good(shape, shape), method))
    if (shape, method) == ("responses", "GET"):
        check_refused(answer, shape, 426, "upgrade_required")  # a WebSocket is asked for: the client goes on over HTTP
    elif (shape, method) == ("chat", "GET"):
        check_refused(answer, shape, 404, code="model_not_found")  # stored answers, of which no upstream here has a list
    else:
        check_refused(answer, shape, 405)


@pytest.mark.parametrize("shape", SHAPES)
def test_head(port: int, shape: str) -> None:
    with Wire(port) as wire:
        wire.send(request(PATHS[shape], b"", "HEAD", connection="close"))
        status, _ = wire.head()
        assert status in (405, 426)
        assert wire.closed()


def test_absolute_form(port: int) -> None:
    """A request as a proxy gets it: this is none."""
    answer = ask(port, request("http://other.example/v1/chat/completions", good("chat", "chat")))
    assert answer.status == 404
    check_form(answer, "shared")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "query", ["?x=\xe9\xff", "?beta=true&x=%C3%A9", "?%", "?x= y".replace(" ", "%20"), "?a=1&a=2&&;", "?" + "q" * 30_000]
)
def test_any_query(gateway: Running, provider: Provider, shape: str, query: str) -> None:
    """It reaches an upstream of the same shape, as plain ASCII."""
    answer = ask(gateway.port, request(PATHS[shape] + query, good(shape, shape)))
    assert answer.status == 200, answer
    target = provider.requests[-1].target
    assert target == PATHS[shape] + query.replace("\xe9", "%E9").replace("\xff", "%FF")


# ---- HTTP ----


@pytest.mark.parametrize("shape", SHAPES)
def test_too_large(port: int, shape: str) -> None:
    """Refused by its Content-Length, before the body came; the connection is of no further use."""
    with Wire(port) as wire:
        wire.send(request(PATHS[shape], b"x" * (MAX_BODY + 1)).removesuffix(b"x" * MAX_BODY))
        check_refused(wire.answer(), shape, 413, "request_too_large")
        assert wire.closed()


@pytest.mark.parametrize("shape", SHAPES)
def test_too_large_in_chunks(port: int, shape: str) -> None:
    head = request(PATHS[shape]).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    with Wire(port) as wire:
        wire.send(head + chunk(b" " * 60_000) + chunk(b" " * 60_000))
        check_refused(wire.answer(), shape, 413, "request_too_large")
        assert wire.closed()


def test_as_large_as_allowed(gateway: Running) -> None:
    body = orjson.dumps(good("chat", "chat"))
    assert ask(gateway.port, request(PATHS["chat"], body + b" " * (MAX_BODY - len(body)))).status == 200


def test_in_chunks(gateway: Running) -> None:
    body = orjson.dumps(good("chat", "chat"))
    head = request(PATHS["chat"]).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    assert ask(gateway.port, head + chunk(body[:9]) + chunk(body[9:]) + b"0\r\n\r\n").status == 200


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("coding", ["br", "compress", "gzip, gzip", "nonsense"])
def test_unknown_codings(port: int, shape: str, coding: str) -> None:
    answer = ask(port, request(PATHS[shape], b"\x1f\x8b", content_encoding=coding))
    check_refused(answer, shape, 415, "unsupported_media_type")


def test_any_content_type(gateway: Running) -> None:
    """What it is called does not matter; no form and no parts are looked for."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", ";;"):
        body = request(PATHS["chat"], good("chat", "chat")).replace(b"Content-Type: application/json", b"Content-Type: " + kind.encode())
        assert ask(gateway.port, body).status == 200


BODY = orjson.dumps(good("chat", "chat"))
POST = b"POST /v1/chat/completions HTTP/1.1\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
NOT_HTTP = {
    "both-lengths": POST + b"Host: localhost\r\n" + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-lengths": POST + b"Host: localhost\r\n" + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY,
    "signed-length": POST + b"Host: localhost\r\nContent-Length: +5\r\n\r\nhello",
    "hex-length": POST + b"Host: localhost\r\nContent-Length: 0x5\r\n\r\nhello",
    "negative-length": POST + b"Host: localhost\r\nContent-Length: -1\r\n\r\n",
    "unknown-coding": POST + b"Host: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding-twice": POST + b"Host: localhost\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "space-before-colon": POST + b"Host: localhost\r\n" + LENGTH.replace(b":", b" :") + b"\r\n" + BODY,
    "folded": POST + b"Host: localhost\r\nX-A: a\r\n b\r\n" + LENGTH + b"\r\n" + BODY,
    "no-host": POST + LENGTH + b"\r\n" + BODY,
    "two-hosts": POST + b"Host: localhost\r\nHost: y\r\n" + LENGTH + b"\r\n" + BODY,
    "header-without-colon": POST + b"Host: localhost\r\njunk\r\n" + LENGTH + b"\r\n" + BODY,
    "control-in-header": POST + b"Host: localhost\r\nX-A: a\x00b\r\n" + LENGTH + b"\r\n" + BODY,
    "lone-cr-in-header": POST + b"Host: localhost\r\nX-A: a\rTransfer-Encoding: chunked\r\n" + LENGTH + b"\r\n" + BODY,
    "h2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "version": b"POST /v1/chat/completions HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "no-version": b"GET /\r\n\r\n",
    "words": b"hello there you\r\n\r\n",
    "bad-chunk": POST + b"Host: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "huge-chunk": POST + b"Host: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    "huge-head": POST + b"Host: localhost\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", NOT_HTTP)
def test_not_http(port: int, name: str) -> None:
    """No request can be made out: at most a bare 400, and the end of the connection. A second request behind it is not served."""
    with Wire(port) as wire:
        wire.send(NOT_HTTP[name] + request("/healthz", method="GET"))
        said = b""
        try:
            said = wire.until(b"never said")
        except EOFError as end:
            said = end.args[0]
        assert said in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n") or said.startswith(b"HTTP/1.1 400 "), said
        assert b'{"status":"ok"}' not in said
    assert ask(port, request("/healthz", method="GET")).status == 200


def test_bare_line_feeds(gateway: Running) -> None:
    """Accepted, and read as one and the same request by everybody."""
    data = request(PATHS["chat"], good("chat", "chat"))
    head, _, body = data.partition(b"\r\n\r\n")
    with Wire(gateway.port) as wire:
        wire.send(head.replace(b"\r\n", b"\n") + b"\n\n" + body)
        assert wire.answer().status == 200
        wire.send(data)
        assert wire.answer().status == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-request-id", "a b"),
        ("x-request-id", "x" * 500),
        ("x-request-id", "\xe9"),
        ("authorization", "Bearer"),
        ("authorization", "Basic \xff\xff"),
        ("x-api-key", "\xff"),
        ("anthropic-version", "\xe9"),
        ("anthropic-beta", "x" * 20_000),
        ("user-agent", "\xe9\x80"),
        ("expect", "100-continue"),
        ("expect", "nonsense"),
        ("cookie", ";=;=" * 2000),
        ("accept", "text/html;q=0"),
        ("x-dragoman-strict", "\xff"),
        ("upgrade", "websocket"),
        ("range", "bytes=0-1"),
        ("if-none-match", "*"),
        ("content-range", "bytes 0-1/2"),
        ("x-http-method-override", "DELETE"),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_odd_headers(gateway: Running, name: str, value: str) -> None:
    """None of them changes the answer."""
    for shape in SHAPES:
        with Wire(gateway.port) as wire:
            wire.send(
                request(PATHS[shape], good(shape, shape)).replace(
                    b"Host: localhost", f"Host: localhost\r\n{name}: {value}".encode("latin-1")
                )
            )
            status, headers = wire.head()
            while status == 100:
                status, headers = wire.head()
            assert status == 200
            assert len(headers["x-request-id"]) < 200


# ---- connections ----


def test_pipelined(gateway: Running, script: Gated, provider: Provider) -> None:
    """Requests that are sent at once are answered in order, each with its own answer: streams, whole answers and errors."""
    asked = [
        ("chat", "chat", "one", True),
        ("messages", "chat", "two", False),
        ("responses", "messages", "three", True),
        ("chat", "nobody", "four", True),
        ("messages", "messages", "five", True),
        ("chat", "responses", "six", False),
    ]
    with Wire(gateway.port) as wire:
        wire.send(
            b"".join(
                request(PATHS[shape], {"model": f"{upstream}/{word}", "stream": streamed, **GOOD[shape]}, x_request_id=word)
                for shape, upstream, word, streamed in asked
            )
        )
        for _, upstream, word, streamed in asked:
            answer = wire.answer()
            assert answer.headers["x-request-id"] == word
            assert answer.status == (404 if upstream == "nobody" else 200)
            assert word.encode() in answer.body
            others = {other for _, _, other, _ in asked} - {word}
            assert not [other for other in others if b'"' + other.encode() in answer.body]
            assert answer.headers["content-type"].startswith("text/event-stream") == (streamed and answer.status == 200)


def test_pipelined_behind_a_waiting_one(start: Start) -> None:
    """The second waits until the first is over: its answer is not mixed in."""
    script = Gated()
    with Provider(script) as provider:
        gateway = start(CONFIG.replace("UPSTREAM", provider.url))
        with Wire(gateway.port) as wire:
            wire.send(request(PATHS["chat"], good("chat", "chat", stream=True) | {"model": "chat/slow-one"}))
            wire.send(request(PATHS["chat"], good("chat", "chat") | {"model": "chat/quick"}))
            provider.wait_for(lambda: provider.requests)
            script.gate.open()
            assert b"slow-one" in wire.answer().body
            assert b"quick" in wire.answer().body
            assert [asked.json["model"] for asked in provider.requests] == ["slow-one", "quick"]


@pytest.mark.parametrize("shape", SHAPES)
def test_one_byte_at_a_time(gateway: Running, shape: str) -> None:
    data = request(PATHS[shape], good(shape, shape))
    with Wire(gateway.port) as wire:
        for place in range(len(data)):
            wire.send(data[place : place + 1])
        assert wire.answer().status == 200


def test_a_body_that_never_ends_costs_nobody(gateway: Running) -> None:
    """Slow uploads stand beside others' requests."""
    data = request(PATHS["chat"], good("chat", "chat"))
    slow = [Wire(gateway.port) for _ in range(50)]
    try:
        for wire in slow:
            wire.send(data[:-5])
        assert ask(gateway.port, data).status == 200
        for wire in slow:
            wire.send(data[-5:])
        assert [wire.answer().status for wire in slow] == [200] * 50
    finally:
        for wire in slow:
            wire.sock.close()


@pytest.mark.parametrize("cut", [0, 10, 60, -1])
def test_left_within_the_request(port: int, cut: int) -> None:
    with Wire(port) as wire:
        wire.send(request(PATHS["chat"], good("chat", "chat"))[:cut])
        wire.reset()
    assert ask(port, request("/healthz", method="GET")).status == 200


def test_half_closed(gateway: Running, provider: Provider) -> None:
    """A client that says no more counts as gone; its upstream call ends with it."""
    with Wire(gateway.port) as wire:
        wire.send(request(PATHS["chat"], good("chat", "chat", stream=True) | {"model": "chat/slow-forever"}))
        provider.wait_for(lambda: provider.requests and provider.requests[-1].json["model"] == "slow-forever")
        connection = provider.connections[provider.requests[-1].connection]
        wire.half_close()
        provider.wait_for(lambda: connection.closed_by == "peer")


def test_http_1_0(gateway: Running) -> None:
    """An old client gets its stream unframed, up to the end of the connection."""
    data = request(PATHS["chat"], good("chat", "chat", stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0")
    with Wire(gateway.port) as wire:
        wire.send(data)
        said = b""
        try:
            wire.until(b"never said")
        except EOFError:
            said = wire._buffer
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
        assert b"chunked" not in head.lower()
        assert body.startswith(b"data: ")
        assert body.endswith(b"data: [DONE]\n\n")
