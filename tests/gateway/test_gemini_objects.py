"""What Google stores for an account: files and their uploads, cached contents, batches; by its paths, and by its SDK."""

from __future__ import annotations

import asyncio
import re
from io import BytesIO

import httpx
import orjson
import pytest
from google import genai

from ..scripted import Provider, Request, Steps, respond
from .inside import Inside, inside_once
from .wire import request

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - {model: gemini/*, discover: false, base_url: UPSTREAM/v1beta/openai, apis: [gemini], access_key: AIza-upstream}
  - {model: openai/*, discover: false, base_url: UPSTREAM/v1, access_key: sk-upstream}
  - {model: vertex/google/g, base_url: UPSTREAM/v1/publishers/google, access_key: k}
"""
OF_GOOGLE = {"x_goog_api_key": "own"}


def answer(request: Request) -> Steps:
    """What it was asked, in short."""
    return [respond({"asked": f"{request.method} {request.target}", "key": request.headers.get("x-goog-api-key")})]


CARRIED = {
    "list": ("GET", "/v1beta/files?pageSize=2", "/v1beta/files?pageSize=2"),
    "read": ("GET", "/v1beta/files/abc", "/v1beta/files/abc"),
    "another version": ("DELETE", "/v1alpha/files/abc", "/v1beta/files/abc"),
    "download": ("GET", "/v1beta/files/abc:download?alt=media", "/v1beta/files/abc:download?alt=media"),
    "register": ("POST", "/v1beta/files:register", "/v1beta/files:register"),
    "the newest SDK's": ("GET", "/v1/files/abc", "/v1beta/files/abc"),
    "a key in the query": ("GET", "/v1/batches?key=secret&pageSize=1", "/v1beta/batches?pageSize=1"),
    "cached contents": ("POST", "/v1beta/cachedContents", "/v1beta/cachedContents"),
    "changed": ("PATCH", "/v1beta/cachedContents/c1?updateMask=ttl", "/v1beta/cachedContents/c1?updateMask=ttl"),
    "cancel": ("POST", "/v1beta/batches/b1:cancel", "/v1beta/batches/b1:cancel"),
    "operation": ("GET", "/v1beta/fileSearchStores/s1/operations/o1", "/v1beta/fileSearchStores/s1/operations/o1"),
    "upload": ("POST", "/upload/v1beta/files", "/upload/v1beta/files"),
    "upload to a store": ("POST", "/upload/v1/fileSearchStores/s:upload", "/upload/v1beta/fileSearchStores/s:upload"),
}  # fmt: skip


@inside_once
async def test_carried() -> None:
    async with Provider(answer) as provider, Inside(CONFIG, provider) as gateway:
        for method, path, target in CARRIED.values():
            headers = {} if "key=" in path else OF_GOOGLE
            body = b'{"name":"x"}' if method in ("POST", "PATCH") else b""
            async with gateway.call(request(path, body, method, **headers)) as caller:
                status, received = await caller.head()
                got = orjson.loads(await caller.body(received))
            assert (status, got) == (200, {"asked": f"{method} {target}", "key": "AIza-upstream"})
            assert (received["x-dragoman-upstream"], received["x-dragoman-lane"]) == ("gemini/*", "raw")
        await gateway.until(lambda: gateway.idle)
        assert "secret" not in str(gateway.lines)


ELSEWHERE: dict[str, tuple[str, dict[str, str], str | None]] = {
    "another API's files": ("/v1/files", {"authorization": "Bearer x"}, "/v1/files"),
    "of another provider": ("/v1beta/files", {"x_dragoman_provider": "openai"}, None),
    "no such path": ("/v1beta/files/%2E%2E/models", {}, None),
    "no collection": ("/v1beta/corpora", {}, None),
}


@inside_once
async def test_what_goes_elsewhere() -> None:
    async with Provider(answer) as provider, Inside(CONFIG, provider) as gateway:
        for path, headers, found in ELSEWHERE.values():
            async with gateway.call(request(path, b"", "GET", **headers)) as caller:
                status, received = await caller.head()
                told = orjson.loads(await caller.body(received))
            assert status == (200 if found else 404)
            assert told.get("asked") == (f"GET {found}" if found else None)
    assert len(provider.requests) == 1


VERTEX = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - {model: vertex/google/g, name: cloud, base_url: UPSTREAM/v1/projects/p/locations/eu/publishers/google, access_key: ya29.token}
"""
DEVELOPER = "  - {model: gemini/*, discover: false, base_url: UPSTREAM/v1beta, access_key: AIza-upstream}\n"
CACHED = "/v1/projects/p/locations/eu/cachedContents"
OF_VERTEX = {
    "the SDK's": ("POST", "/v1beta1/projects/mine/locations/us/cachedContents", {}, CACHED),
    "its name": ("PATCH", f"{CACHED}/1?updateMask=ttl", {}, f"{CACHED}/1?updateMask=ttl"),
    "an operation": ("GET", "/v1/projects/p/locations/eu/operations/o1", {}, "/v1/projects/p/locations/eu/operations/o1"),
    "by name": ("GET", "/v1beta/cachedContents/1", {"x_dragoman_provider": "cloud"}, f"{CACHED}/1"),
    "alone": ("GET", "/v1beta/cachedContents", {}, CACHED),
    "what it has not": ("GET", "/v1/projects/p/locations/eu/files", {}, None),
    "files": ("GET", "/v1beta/files", {}, None),
    "no project": ("GET", "/v1/projects/%2E%2E/locations/eu/cachedContents", {}, None),
}


@pytest.mark.parametrize("beside", ["", DEVELOPER])
@pytest.mark.parametrize("asked", OF_VERTEX)
@inside_once
async def test_of_vertex(asked: str, beside: str) -> None:
    """The project and the location are the entry's, whatever the caller's are. Paths without one are Google's own API's first."""
    method, path, headers, target = OF_VERTEX[asked]
    if beside and asked in ("alone", "files"):
        target = path
    with Provider(answer) as provider:
        async with Inside(VERTEX + beside, provider) as gateway:
            body = b'{"model":"x"}' if method in ("POST", "PATCH") else b""
            async with gateway.call(request(path, body, method, **headers)) as caller:
                status, received = await caller.head()
                told = orjson.loads(await caller.body(received))
        if target is None:
            assert (status, len(provider.requests)) == (404, 0)
        else:
            assert (status, told["asked"]) == (200, f"{method} {target}")
            (sent,) = provider.requests
            credential = ("x-goog-api-key", "AIza-upstream") if beside and target == path and "projects" not in path else None
            name, value = credential or ("authorization", "Bearer ya29.token")
            assert sent.headers[name] == value


KEYS = "access_keys: [{key: one-key-0000000, name: one}%s]\n"
TWO = KEYS % ", {key: two-key-0000000, name: two}"


@inside_once
async def test_callers_that_are_kept_apart() -> None:
    async with Provider(answer) as provider, Inside(TWO + CONFIG, provider) as gateway:
        for path in ("/v1beta/files/abc", "/v1beta/cachedContents"):
            async with gateway.call(request(path, b"", "GET", x_goog_api_key="one-key-0000000")) as caller:
                status, received = await caller.head()
                assert (status, orjson.loads(await caller.body(received))["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert not provider.requests


class Drive:
    """Google's resumable uploads, in pieces. held: what came of a file."""

    def __init__(self) -> None:
        self.held = b""
        self.url = ""

    def script(self, request: Request) -> Steps:
        if request.target == "/upload/v1beta/files":
            assert request.headers["x-goog-upload-protocol"] == "resumable"
            return [respond(b"", x_goog_upload_url=f"{self.url}/upload/v1beta/files?upload_id=U1&upload_protocol=resumable&key=AIza")]
        if request.target == "/upload/v1beta/files?upload_id=U1&upload_protocol=resumable":
            assert int(request.headers["x-goog-upload-offset"]) == len(self.held)
            self.held += request.body
            if "finalize" not in request.headers["x-goog-upload-command"]:
                return [respond(b"", x_goog_upload_status="active")]
            return [
                respond({"file": {"name": "files/f1", "uri": "https://x/files/f1", "mimeType": "text/plain"}}, x_goog_upload_status="final")
            ]
        return [respond({"files": [{"name": "files/f1"}]} if request.target == "/v1beta/files" else {"name": "files/f1"})]


@pytest.mark.parametrize("keys", ["", KEYS % ""])
@inside_once
async def test_the_sdk_uploads(keys: str) -> None:
    """It sends no key with the pieces: where there are keys, the URL has it."""
    drive = Drive()
    data = b"0123456789" * (900_000 if keys else 9)  # in two pieces, or one
    with Provider(drive.script) as provider:
        drive.url = provider.url
        async with Inside(keys + CONFIG, provider) as gateway:
            client = genai.Client(api_key="one-key-0000000", http_options={"base_url": f"http://127.0.0.1:{gateway.port}"})
            file = await asyncio.to_thread(lambda: client.files.upload(file=BytesIO(data), config={"mime_type": "text/plain"}))
            assert (file.name, drive.held) == ("files/f1", data)
            assert (await asyncio.to_thread(lambda: client.files.get(name="files/f1"))).name == "files/f1"
            assert [each.name for each in await asyncio.to_thread(lambda: list(client.files.list()))] == ["files/f1"]
            await gateway.until(lambda: gateway.idle)
            assert "one-key" not in str(gateway.lines)
    assert {sent.headers.get("x-goog-api-key") for sent in provider.requests} == {"AIza-upstream"}
    assert not any("one-key" in sent.target for sent in provider.requests)


@inside_once
async def test_where_an_upload_goes_on() -> None:
    drive = Drive()
    with Provider(drive.script) as provider:
        drive.url = provider.url
        async with Inside(KEYS % "" + CONFIG, provider) as gateway, httpx.AsyncClient() as client:
            start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start", "x-goog-api-key": "one-key-0000000"}
            answer = await client.post(f"http://127.0.0.1:{gateway.port}/upload/v1beta/files", headers=start, content=b"{}")
            url = answer.headers["x-goog-upload-url"]
            assert re.fullmatch(
                r"http://127\.0\.0\.1:\d+/upload/v1beta/files\?upload_id=U1&upload_protocol=resumable&key=one-key-0000000", url
            )
            sending = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
            assert (await client.post(url.partition("&key")[0], headers=sending, content=b"x")).status_code == 401
            answer = await client.post(url, headers=sending, content=b"x")
            assert (answer.status_code, answer.headers["x-goog-upload-status"]) == (200, "final")
