"""Heads: their cost grows as their length, whatever stands in them; and odd bytes are a 4xx or served, never a traceback."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable

import orjson
import pytest
from tornado.httputil import HTTPInputError

from dragoman.codecs import errors
from dragoman.proxy.wire import headers as travel
from dragoman.proxy.wire import http1

from ..gateway.inside import CONFIG, Inside, inside_once
from ..gateway.wire import request
from .growth import assert_linear

FIRST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\n"
LINES: dict[str, Callable[[int], bytes]] = {
    "blanks-and-a-control": lambda n: b"A:" + b" " * n + b"\0\r\n",
    "tabs-and-a-control": lambda n: b"A:" + b"\t " * (n // 2) + b"\x7f\r\n",
    "blanks-in-a-value": lambda n: b"A: a" + b" " * n + b"b\r\n",
    "many-lines-with-a-control": lambda n: b"A: \0\r\n" * (n // 6),
    "one-name": lambda n: b"A: b\r\n" * (n // 6),
    "many-names": lambda n: b"".join(b"A%d:\r\n" % at for at in range(n // 8)),
    "carriage-returns": lambda n: b"A: " + b"\r" * n + b"\r\n",
    "a-long-name": lambda n: b"A" * n + b" : b\r\n",
    "no-colon": lambda n: b"A" * n + b"\r\n",
    "lengths": lambda n: b"Content-Length: " + b"1," * (n // 2) + b"1\r\n",
    "codings": lambda n: b"Transfer-Encoding: " + b"chunked," * (n // 8) + b"\r\n",
    "connection": lambda n: b"Connection: " + b"a," * (n // 2) + b"\r\n",
    "cookies": lambda n: b"Cookie: " + b";=" * (n // 2) + b"\r\n",
    "forwarded-names": lambda n: b"X-Stainless-" + b"a-" * (n // 2) + b"!: b\r\n",
}


def ask(data: bytes) -> None:
    reader = http1.RequestReader()
    with contextlib.suppress(HTTPInputError):
        reader.feed(data)
        head = reader.next()
        if head is not None:
            travel.forwarded_up(head.headers.get_all(), own_credential=True)
            travel.credential(head.headers, "chat")


def hear(data: bytes) -> None:
    with contextlib.suppress(errors.UpstreamFault):
        head = http1.HeadReader().feed(data)
        if head is not None:
            head.keeps_alive()
            travel.forwarded_down(head.headers.get_all(), account=True)
            http1.body_reader("POST", head)


@pytest.mark.parametrize("name", LINES)
def test_costs(name: str) -> None:
    assert_linear(lambda size: FIRST + LINES[name](size) + b"\r\n", ask)
    assert_linear(lambda size: ANSWER + LINES[name](size) + b"\r\n", hear)


@pytest.mark.parametrize("line", [b"GET /" + b"a" * 10, b"GET " + b" " * 10, b"\r\n" * 10, b"G" * 10])
def test_costs_of_a_request_line(line: bytes) -> None:
    assert_linear(lambda size: line[:5] + line[5:] * (size // 8) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", ask)


@pytest.mark.parametrize("piece", [b"1\r\nx\r\n", b"1;\r\nx\r\n", b"0001 \r\nx\r\n", b"2\r\n\r\n\r\n", b"0\r\na:\r\n"])
def test_costs_of_chunks(piece: bytes) -> None:
    def read(data: bytes) -> None:
        http1.Chunked().feed(data)

    assert_linear(lambda size: piece * (size // len(piece)) + b"5;x\r\nab", read)


# ---- odd bytes ----

HALF = b"\\ud83d"
ODD: dict[str, bytes] = {
    **{
        f"query-{method}-{path}": request(f"{path}?a=\xff\xe9&stream=\x80&limit=\xb2&after=\xff", b"", method)
        for method, path in [
            ("GET", "/v1/models"),
            ("GET", "/v1/models/x"),
            ("GET", "/v1/responses/resp_x"),
            ("GET", "/v1/responses/resp_x/input_items"),
            ("DELETE", "/v1/responses/resp_x"),
            ("POST", "/v1/responses/resp_x/cancel"),
            ("GET", "/v1/conversations/conv_x/items"),
            ("GET", "/healthz"),
            ("POST", "/v1/embeddings"),
            ("POST", "/v1/chat/completions"),
            ("GET", "/nothing"),
        ]
    },
    "path": request("/v1/responses/\xff\xfe", b"", "GET"),
    "path-encoded": request("/v1/responses/%ff%fe", b"", "GET"),
    "path-half": request("/v1/models/%ed%a0%bd", b"", "GET"),
    "path-nul": request("/v1/models/%00", b"", "GET"),
    **{
        f"host-{host}": request("/healthz", b"", "GET").replace(b"Host: localhost", b"Host: " + host.encode("latin-1"))
        for host in ("[", "]", "[::1", "[]", "[zz]", "x:y", "x:", ":", "\xff", "a b", "[::1]:80", "x:99999999999")
    },
    **{
        f"half-{path}": request(path, b'{"model":"' + HALF + b'","input":"' + HALF + b'","messages":[],"metadata":{"a":"' + HALF + b'"}}')
        for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings", "/v1/messages/count_tokens")
    },
    "half-metadata": request("/v1/conversations", b'{"metadata":{"a' + HALF + b'":"' + HALF + b'"}}'),
    "half-item": request("/v1/conversations", b'{"items":[{"type":"message","role":"user","content":"' + HALF + b'"}]}'),
    "half-id": request("/v1/responses", b'{"model":"x","previous_response_id":"' + HALF + b'","conversation":"' + HALF + b'"}'),
    "half-field": request("/v1/messages", b'{"model":"chat/m","max_tokens":1,"messages":[],"' + HALF + b'":"' + HALF + b'"}'),
    "credential": request("/v1/models", b"", "GET", authorization="Bearer \xff", x_api_key="\x80"),
    "request-id": request("/v1/models", b"", "GET", x_request_id="\xff"),
    "range": request("/v1/models?limit=" + "9" * 5000, b"", "GET"),
}


@inside_once
async def test_odd_bytes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with Inside(CONFIG.replace("UPSTREAM", "http://127.0.0.1:9")) as gateway:
        for name, data in ODD.items():
            async with gateway.call(data) as caller:
                status, headers = await caller.head()
                body = await caller.body(headers)
            if body:
                json.loads(body)
            assert status < 500 or status in (502, 503, 529), name
            wrong = [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
            assert not [record for record in wrong if record.name != "tornado.access"], name
        assert all(orjson.dumps(line) for line in gateway.lines)
