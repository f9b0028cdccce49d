"""Objects that an upstream stores, carried in all methods: which upstream, whose credential, and bodies that are never held."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from typing import Any

import orjson
import pytest

from ..scripted import LAST_CHUNK, Gate, Provider, Request, Step, Steps, chunk, close, read_body, reset, respond, until_closed, wait
from .inside import Caller, Inside, inside, inside_once
from .wire import request

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - {model: openai/*, discover: false, base_url: UPSTREAM/v1, access_key: sk-upstream}
  - {model: openai/gpt-5.5, base_url: UPSTREAM/v1, access_key: sk-upstream}
  - {model: anthropic/*, discover: false, base_url: UPSTREAM/ant/v1, access_key: sk-ant-upstream}
"""
ANTHROPIC = {"anthropic_version": "2023-06-01", "anthropic_beta": "files-api-2025-04-14"}
MB = 1 << 20


def answer(request: Request) -> Steps:
    """What it was asked, in short."""
    seen = {name: request.headers.get(name) for name in ("authorization", "x-api-key", "content-type", "anthropic-version")}
    return [respond({"asked": f"{request.method} {request.target}", "size": len(request.body)} | seen)]


# ---- paths and methods ----

CARRIED = {
    "list": ("GET", "/v1/files?limit=2&after=file-1", "/v1/files?limit=2&after=file-1"),
    "read": ("GET", "/v1/files/file-1", "/v1/files/file-1"),
    "content": ("GET", "/v1/files/file-1/content", "/v1/files/file-1/content"),
    "delete": ("DELETE", "/v1/files/file-1", "/v1/files/file-1"),
    "create": ("POST", "/v1/batches", "/v1/batches"),
    "cancel": ("POST", "/v1/batches/batch_1/cancel", "/v1/batches/batch_1/cancel"),
    "parts": ("POST", "/v1/uploads/upload_1/parts", "/v1/uploads/upload_1/parts"),
    "container": ("GET", "/v1/containers/cntr_1/files/cfile_1/content", "/v1/containers/cntr_1/files/cfile_1/content"),
    "search": ("POST", "/v1/vector_stores/vs_1/search", "/v1/vector_stores/vs_1/search"),
    "skills": ("GET", "/v1/skills/skill_1/versions/1759178010641129", "/v1/skills/skill_1/versions/1759178010641129"),
    "completions": ("GET", "/v1/chat/completions?metadata[a]=b", "/v1/chat/completions?metadata[a]=b"),
    "completion": ("GET", "/v1/chat/completions/chatcmpl-1/messages", "/v1/chat/completions/chatcmpl-1/messages"),
    "put": ("PUT", "/v1/files/file-1", "/v1/files/file-1"),
    "patch": ("PATCH", "/v1/files/file-1", "/v1/files/file-1"),
    "slashes": ("GET", "/v1//files///file-1/", "/v1/files/file-1"),
    "encoded": ("GET", "/v1/files/file%2D1%2Fcontent", "/v1/files/file-1/content"),
    "without-v1": ("GET", "/files/file-1", "/v1/files/file-1"),
}


@pytest.mark.parametrize("name", CARRIED)
@inside_once
async def test_carried(name: str) -> None:
    method, path, target = CARRIED[name]
    body = b'{"name":"x"}' if method in ("POST", "PUT", "PATCH") else b""
    with Provider(answer) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(request(path, body, method, authorization="Bearer own")) as caller:
            status, headers = await caller.head()
            got = orjson.loads(await caller.body(headers))
            assert status == 200
            assert got["asked"] == f"{method} {target}"
            assert (got["size"], got["authorization"], got["x-api-key"]) == (len(body), "Bearer sk-upstream", None)
            assert (headers["x-dragoman-upstream"], headers["x-dragoman-lane"]) == ("openai/*", "raw")
            await gateway.until(lambda: gateway.idle)
            (line,) = gateway.lines
            assert (line["status"], line["upstream"], line["lane"], line["attempts"]) == (200, "openai/*", "raw", 1)
            assert "tokens" not in line


@pytest.mark.parametrize("framed", ["length", "none", "empty"])
@inside_once
async def test_a_body_with_delete(framed: str) -> None:
    """Google's SDK for JavaScript sends `{}`."""
    head = b"DELETE /v1/files/file-1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    body = {
        "length": b"Content-Length: 2\r\n\r\n{}",
        "none": b"\r\n",
        "empty": b"Content-Length: 0\r\n\r\n",
    }[framed]
    size = 2 if framed == "length" else 0
    with Provider(answer) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(head + body) as caller:
            for _ in range(2):  # on the same connection
                status, headers = await caller.head()
                assert (status, orjson.loads(await caller.body(headers))["size"]) == (200, size)
                caller.writer.write(head + body)
        assert [one.body for one in provider.requests][:2] == [b"{}" if size else b""] * 2


@pytest.mark.parametrize("size", [10, 5000])
@inside_once
async def test_a_body_with_delete_is_bounded_where_it_is_held(size: int) -> None:
    """Callers of several keys are kept apart: what a body names is looked at first."""
    keys = "access_keys: [{key: KEY-1}, {key: KEY-2}]\nlimits: {max_body: 4kB}\n"
    own = request("/v1/files", b"{}", authorization="Bearer KEY-1")
    body = request("/v1/files/file-1", b'{"x":"%b"}' % (b"x" * (size - 8)), "DELETE", authorization="Bearer KEY-1")
    with Provider(lambda request: [respond({"id": "file-1", "size": len(request.body)})]) as provider:
        async with Inside(CONFIG + keys, provider) as gateway, gateway.call(own) as caller:
            status, headers = await caller.head()
            await caller.body(headers)
            caller.writer.write(body)
            status, headers = await caller.head()
            told = orjson.loads(await caller.body(headers))
    assert (status, told.get("size")) == ((200, size) if size < 4096 else (413, None)), told


MESSAGES = {
    "files": ("GET", "/v1/files/file_1/content"),
    "batches": ("POST", "/v1/messages/batches"),
    "results": ("GET", "/v1/messages/batches/msgbatch_1/results"),
    "skills": ("GET", "/v1/skills?source=custom"),
}


@pytest.mark.parametrize("name", MESSAGES)
@inside_once
async def test_carried_for_callers_of_messages(name: str) -> None:
    method, path = MESSAGES[name]
    with Provider(answer) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(request(path, b"", method, **ANTHROPIC)) as caller:
            status, headers = await caller.head()
            got = orjson.loads(await caller.body(headers))
            assert (status, got["asked"]) == (200, f"{method} /ant{path}")
            assert (got["x-api-key"], got["authorization"], got["anthropic-version"]) == ("sk-ant-upstream", None, "2023-06-01")
            assert provider.requests[0].headers["anthropic-beta"] == "files-api-2025-04-14"


@inside_once
async def test_batches_of_messages_are_known_by_their_path() -> None:
    with Provider(answer) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(request("/v1/messages/batches/b_1", b"", "GET")) as caller:
            status, headers = await caller.head()
            assert (status, orjson.loads(await caller.body(headers))["asked"]) == (200, "GET /ant/v1/messages/batches/b_1")


@inside_once
async def test_head() -> None:
    steps = [b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\nContent-Length: 12345\r\n\r\n"]
    with Provider(steps) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(request("/v1/files/file-1/content", b"", "HEAD")) as caller:
            status, headers = await caller.head()
            assert (status, headers["content-length"], headers["content-type"]) == (200, "12345", "application/pdf")
            caller.writer.write(request("/healthz", b"", "GET"))
            assert (await caller.head())[0] == 200


ODD = ["/v1/files/../models", "/v1/files/%2e%2e", "/v1/files/.", "/v1/files/a;b", "/v1/files/" + "x" * 257, "/v1/filesystem"]


@pytest.mark.parametrize("path", ODD)
@inside_once
async def test_paths_that_may_mean_something_else_upstream(path: str) -> None:
    async with Provider(answer) as provider, Inside(CONFIG, provider) as gateway, gateway.call(request(path, b"", "GET")) as caller:
        assert (await caller.head())[0] == 404
        assert not provider.requests


@inside_once
async def test_a_part_of_a_file() -> None:
    """Headers about the wanted form and part go up, and what tells of them comes down."""

    def part(request: Request) -> Steps:
        assert (request.headers["range"], request.headers["accept"]) == ("bytes=0-3", "application/binary")
        return [respond(b"abcd", 206, content_type="application/pdf", content_range="bytes 0-3/9", content_disposition='a; filename="b"')]

    asked = request("/v1/files/file-1/content", b"", "GET", range="bytes=0-3", accept="application/binary")
    async with Provider(part) as provider, Inside(CONFIG, provider) as gateway, gateway.call(asked) as caller:
        status, headers = await caller.head()
        assert (status, await caller.body(headers)) == (206, b"abcd")
        assert (headers["content-range"], headers["content-disposition"]) == ("bytes 0-3/9", 'a; filename="b"')


# ---- which upstream ----

TWO = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - {model: openai/*, discover: false, name: first, base_url: UPSTREAM/a/v1, access_key: sk-a}
  - {model: groq/*, discover: false, base_url: UPSTREAM/b/v1, access_key: sk-b}
  - {model: acme/*, discover: false, base_url: UPSTREAM/c/v1, access_key: sk-c}
"""
KEYS = "{region: us-east-1, access_key_id: a, secret_access_key: s, workspace_id: w}"
SIGNED = f"  - {{model: claude_aws/*, discover: false, base_url: UPSTREAM/d/v1, aws: {KEYS}}}\n"
CHOSEN: dict[str, tuple[str, str, dict[str, str], int, str]] = {
    "only-one-has-it": (TWO, "containers", {}, 200, "/a/"),
    "several-have-it": (TWO, "files", {}, 400, "first, groq/*"),
    "named-by-entry": (TWO, "files", {"x_dragoman_provider": "first"}, 200, "/a/"),
    "named-by-provider": (TWO, "files", {"x_dragoman_provider": "groq"}, 200, "/b/"),
    "unknown-to-us": (TWO, "vector_stores", {"x_dragoman_provider": "acme"}, 200, "/c/"),
    "the-default": (
        TWO.replace("access_key: sk-b", "access_key: sk-b, default: true").replace("groq/*", "groq/m"),
        "files",
        {},
        200,
        "/b/",
    ),
    "nobody": (TWO, "messages/batches", {}, 404, "No provider here is known to have /messages/batches"),
    "no-such-provider": (TWO, "files", {"x_dragoman_provider": "nobody"}, 404, "There is no provider `nobody` here."),
    "signed": (TWO + SIGNED, "files", {"x_dragoman_provider": "claude_aws"}, 200, "/d/"),
    "the-only-one-that-has-it": (TWO + SIGNED, "messages/batches", {}, 200, "/d/"),
    "models-alone": (
        TWO + SIGNED.replace("claude_aws/*", "bedrock/anthropic.claude-opus-5"),
        "files",
        {"x_dragoman_provider": "bedrock"},
        404,
        "There is no provider `bedrock` here.",
    ),
    "models-alone-by-a-key": (
        f"{TWO}  - {{model: bedrock/anthropic.claude-opus-5, base_url: UPSTREAM/e, access_key: k, aws: {{region: us-east-1}}}}",
        "files",
        {"x_dragoman_provider": "bedrock"},
        404,
        "There is no provider `bedrock` here.",
    ),
    "of-the-callers-vendor": (CONFIG, "files", ANTHROPIC, 200, "/ant/"),
}


@pytest.mark.parametrize("name", CHOSEN)
@inside_once
async def test_which_upstream(name: str) -> None:
    config, collection, headers, status, told = CHOSEN[name]
    with Provider(answer) as provider:
        async with Inside(config, provider) as gateway, gateway.call(request(f"/v1/{collection}/x", b"", "GET", **headers)) as caller:
            found, received = await caller.head()
            assert (found, told in (await caller.body(received)).decode()) == (status, True)
            assert len(provider.requests) == (status == 200)
            assert all("x-dragoman-provider" not in asked.headers for asked in provider.requests)


@inside_once
async def test_an_upstreams_error_is_told_as_it_is() -> None:
    said = {"error": {"message": "No such File object: file-1", "type": "invalid_request_error", "param": "id", "code": None}}
    with Provider([respond(said, 404)]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(request("/v1/files/file-1", b"", "GET")) as caller:
            status, headers = await caller.head()
            assert (status, orjson.loads(await caller.body(headers))) == (404, said)


# ---- bodies that go up while they arrive ----


def head(path: str, size: int | None, **headers: str) -> bytes:
    """Of a request whose body follows."""
    framing = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: multipart/form-data; boundary=x", framing]
    return "\r\n".join([*lines, *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()), "", ""]).encode()


@inside
async def test_a_body_goes_up_before_it_is_complete() -> None:
    with Provider([read_body(5), respond({"id": "file-1"})], early=True) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(head("/v1/files", 10)) as caller:
            await provider.seen(lambda: provider.requests)
            caller.writer.write(b"01234")
            status, headers = await caller.head()
            assert (status, await caller.body(headers)) == (200, b'{"id":"file-1"}')
            assert provider.requests[0].headers["content-length"] == "10"
            assert provider.requests[0].headers["content-type"] == "multipart/form-data; boundary=x"
            assert await caller.reader.read() == b""  # the answer came before the body's end: the connection is not used again


@inside
async def test_a_body_of_unknown_length() -> None:
    sent = b"%x\r\n%b\r\n" % (5, b"01234")
    with Provider([read_body(len(sent) * 2 + len(LAST_CHUNK)), respond({"id": "file-1"})], early=True) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(head("/v1/files", None) + sent) as caller:
            await provider.seen(lambda: provider.requests)
            caller.writer.write(sent + LAST_CHUNK)
            status, headers = await caller.head()
            assert (status, await caller.body(headers)) == (200, b'{"id":"file-1"}')
            assert provider.requests[0].headers["transfer-encoding"] == "chunked"
            caller.writer.write(request("/healthz", b"", "GET"))  # the connection goes on
            assert (await caller.head())[0] == 200


class Reader:
    """A step that reads a body of any size, and notes how much and whether it is what a test sends."""

    def __init__(self, size: int, gate: Gate | None = None) -> None:
        self.size, self.done, self.right, self._gate = size, 0, True, gate

    def __call__(self, connection: Any) -> None:
        if self._gate is not None:
            connection.wait(self._gate)
        while self.done < self.size:
            data = connection.read(min(MB, self.size - self.done))
            self.right = self.right and data.count(b"x") == len(data)
            self.done += len(data)


@inside
async def test_a_caller_is_read_no_faster_than_its_upstream_takes() -> None:
    """64 MB for an upstream that waits: neither the gateway nor the caller's writes go on."""
    size, gate = 64 * MB, Gate()
    reader = Reader(size, gate)
    with Provider([reader, respond({"id": "file-1"})], early=True) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(head("/v1/files", size)) as caller:
            writing = asyncio.ensure_future(written(caller.writer, size))
            await provider.seen(lambda: provider.requests)
            (exchange,) = gateway.gateway.exchanges
            await settled(caller, exchange)
            assert gateway.gateway.bodies.held == 0
            assert not writing.done()
            gate.open()
            status, headers = await caller.head()
            assert (status, await caller.body(headers)) == (200, b'{"id":"file-1"}')
            assert reader.right
            await writing


async def settled(caller: Caller, exchange: Any) -> None:
    """Wait until nothing of an upload moves any more."""
    seen: list[int] = []
    while len(seen) < 3 or len(set(seen[-3:])) > 1 or not seen[-1]:
        await asyncio.sleep(0.1)
        seen.append(caller.writer.transport.get_write_buffer_size())


async def written(writer: asyncio.StreamWriter, size: int) -> None:
    piece = b"x" * MB
    for _ in range(size // MB):
        writer.write(piece)
        await writer.drain()


@pytest.mark.parametrize("size", [MB, 64 * MB])
@inside
async def test_a_caller_that_leaves_ends_its_upload(size: int) -> None:
    """Also while nothing is read of it, since the upstream takes nothing."""
    with Provider([until_closed], early=True) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(head("/v1/files", 100 * MB)) as caller:
            writing = asyncio.ensure_future(written(caller.writer, size))
            await provider.seen(lambda: provider.requests)
            if size == MB:
                await writing
            else:
                await settled(caller, *gateway.gateway.exchanges)
                writing.cancel()
            caller.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.leave(reset=True)
            await provider.seen(lambda: provider.connections[0].closed_by == "peer")
            await gateway.until(lambda: gateway.idle)
            (line,) = gateway.lines
            assert (line["status"], line["client_left"]) == (499, True)


BROKEN: dict[str, tuple[list[Step], int, str]] = {
    "closed": ([read_body(1000), close], 502, "upstream_unreachable"),
    "reset": ([read_body(1000), reset], 502, "upstream_unreachable"),
    "too-large": ([respond({"error": {"message": "Too large."}}, 413), until_closed], 413, "too_large"),
    "not-http": ([b"220 mail\r\n", until_closed], 502, "upstream_protocol_error"),
}


@pytest.mark.parametrize("name", BROKEN)
@inside_once
async def test_an_upstream_that_breaks_during_an_upload(name: str) -> None:
    steps, expected, code = BROKEN[name]
    with Provider(steps, early=True) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(head("/v1/files", 100 * MB) + b"x" * MB) as caller:
            status, headers = await caller.head()
            body = await caller.body(headers)
            assert (status, b"sk-upstream" in body) == (expected, False)
            await gateway.until(lambda: gateway.idle)
            (line,) = gateway.lines
            assert (line["status"], line["error"], len(provider.requests)) == (expected, code, 1)


@inside_once
async def test_a_body_that_is_not_what_its_head_says() -> None:
    """The upstream must not take it for complete."""
    with Provider([until_closed], early=True) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(head("/v1/files", None) + b"5\r\n01234\r\nxyz\r\n") as caller:
            assert (await caller.head())[0] == 400
            await gateway.until(lambda: gateway.idle)
            await provider.seen(lambda: all(connection.closed_by == "peer" for connection in provider.connections))


@inside_once
async def test_a_slow_caller_is_not_taken_for_a_slow_upstream() -> None:
    config = CONFIG.replace("access_key: sk-upstream", "access_key: sk-upstream, timeouts: {first_byte: 200ms}")
    with Provider([read_body(5), respond({"id": "file-1"})], early=True) as provider:
        async with Inside(config, provider) as gateway, gateway.call(head("/v1/files", 5) + b"012") as caller:
            await provider.seen(lambda: provider.requests)
            await asyncio.sleep(0.5)  # longer than the upstream may take
            caller.writer.write(b"34")
            assert (await caller.head())[0] == 200


@inside_once
async def test_an_upstream_that_takes_nothing_is_slow() -> None:
    config = CONFIG.replace("access_key: sk-upstream", "access_key: sk-upstream, timeouts: {first_byte: 200ms}")
    with Provider([until_closed], early=True) as provider:
        async with Inside(config, provider) as gateway, gateway.call(head("/v1/files", 5) + b"01234") as caller:
            assert (await caller.head())[0] == 504


@inside_once
async def test_a_compressed_body_arrives_plain() -> None:
    data = gzip.compress(b'{"name": "x"}')
    with Provider(answer) as provider:
        asked = request("/v1/vector_stores", data, content_encoding="gzip")
        async with Inside(CONFIG, provider) as gateway, gateway.call(asked) as caller:
            status, headers = await caller.head()
            assert (status, orjson.loads(await caller.body(headers))["size"]) == (200, 13)
            assert provider.requests[0].body == b'{"name": "x"}'


# ---- answers ----


@inside_once
async def test_a_download_that_breaks_is_cut() -> None:
    steps = [b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\nContent-Length: 1000\r\n\r\nabc", close]
    with Provider(steps) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(request("/v1/files/f/content", b"", "GET")) as caller:
            assert (await caller.head())[0] == 200
            assert await caller.reader.read() == b"abc"
            await gateway.until(lambda: gateway.idle)
            assert gateway.lines[0]["error"] == "upstream_stream_interrupted"


@inside_once
async def test_a_caller_that_leaves_ends_its_download() -> None:
    steps = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(b"abc"), until_closed]
    with Provider(steps) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(request("/v1/files/f/content", b"", "GET")) as caller:
            assert (await caller.head())[0] == 200
            caller.leave()
            await provider.seen(lambda: provider.connections[0].closed_by == "peer")


@inside_once
async def test_a_usage_is_not_charged_each_time_that_it_is_read() -> None:
    batch = {"id": "batch_1", "status": "completed", "usage": {"input_tokens": 1000, "output_tokens": 9}}
    with Provider([respond(batch)]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(request("/v1/batches/batch_1", b"", "GET")) as caller:
            assert (await caller.head())[0] == 200
            await gateway.until(lambda: gateway.lines)
            assert "tokens" not in gateway.lines[0]


@inside_once
async def test_draining_and_the_listeners_time() -> None:
    gate = Gate()
    config = CONFIG.replace("address: 127.0.0.1", "address: 127.0.0.1, timeout: 300ms")
    async with Provider([wait(gate)]) as provider, Inside(config, provider) as gateway:
        async with gateway.call(request("/v1/files", b"", "GET")) as caller:
            assert (await caller.head())[0] == 504
        gateway.gateway.live.draining = True
        async with gateway.call(head("/v1/files", 10)) as caller:
            assert (await caller.head())[0] == 503
        await gateway.until(lambda: gateway.idle)
        assert [line["status"] for line in gateway.lines] == [504, 503]


@inside_once
async def test_a_dry_run_shows_the_body() -> None:
    async with Provider(answer) as provider, Inside(CONFIG, provider) as gateway:
        asked = request("/v1/files", {"a": 1}, x_dragoman_dry_run="1", x_dragoman_provider="openai")
        async with gateway.call(asked) as caller:
            status, headers = await caller.head()
            shown = orjson.loads(await caller.body(headers))
        assert (status, shown["request"]["method"], shown["request"]["body"]) == (200, "POST", {"a": 1})
        assert not provider.requests
