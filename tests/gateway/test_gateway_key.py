"""`x-dragoman-key`: the gateway's key in a header of its own, so that the others can carry the caller's credential to an upstream."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ..scripted import Provider, respond
from .inside import Inside, inside_once
from .sockets import connected
from .spoken import PATHS, SHAPES, SPEECH
from .wire import request

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
access_keys: [{key: gw-key-0123456789, name: alice}]
model_providers:
  - {model: own/*, base_url: "UPSTREAM/v1", passthrough_auth: true, apis: [chat_completions, messages, responses]}
  - {model: owng/*, provider_interface: gemini, base_url: "UPSTREAM/v1beta", passthrough_auth: true, discover: false}
  - {model: ours/*, provider_interface: openai, base_url: "UPSTREAM/v1", access_key: sk-operators-own-1, apis: [chat_completions]}
"""
KEY, OWN = "gw-key-0123456789", "sk-callers-own-9876"
WAYS = {  # how the caller's own credential comes
    "bearer": {"authorization": f"Bearer {OWN}"},
    "x-api-key": {"x-api-key": OWN},
    "api-key": {"api-key": OWN},
    "x-goog-api-key": {"x-goog-api-key": OWN},
}
ASKED: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
    "responses": {"input": "Hi", "store": False},
}
LISTED = ["/v1/models", "/v1/conversations/conv_none", "/v1/responses/resp_none", "/api/oauth/usage"]


def answer(shape: str) -> list[bytes]:
    return [respond(SPEECH[shape].whole)]


def asked(shape: str, model: str, **headers: str) -> bytes:
    return request(PATHS[shape], {"model": model, **ASKED[shape]}, **headers)


def by_shape(provider_request: Any) -> list[bytes]:
    return answer(next(shape for shape in SHAPES if provider_request.target.endswith(PATHS[shape].removeprefix("/v1"))))


def hidden(sent: Any) -> bool:
    """Whether nothing that the upstream got names the gateway's key."""
    return (
        KEY not in str(sent.headers) and KEY not in sent.target and KEY.encode() not in sent.body and "x-dragoman-key" not in sent.headers
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", ASKED)
@inside_once
async def test_the_caller_s_own_goes_up_and_the_key_does_not(shape: str, way: str) -> None:
    async with Provider(by_shape) as provider, Inside(CONFIG, provider) as gateway:
        async with gateway.call(asked(shape, "own/m", **{"x-dragoman-key": KEY}, **WAYS[way])) as caller:
            assert (await caller.head())[0] == 200
        (sent,) = provider.requests
        assert OWN in (sent.headers.get("authorization", "").removeprefix("Bearer "), sent.headers.get("x-api-key"))
        assert hidden(sent)
        assert gateway.lines[0]["key"] == "alice"


@inside_once
async def test_another_upstream_gets_the_operator_s() -> None:
    async with Provider(by_shape) as provider, Inside(CONFIG, provider) as gateway:
        async with gateway.call(asked("messages", "ours/m", **{"x-dragoman-key": KEY}, **WAYS["bearer"])) as caller:
            assert (await caller.head())[0] == 200
        (sent,) = provider.requests
        assert sent.headers["authorization"] == "Bearer sk-operators-own-1"
        assert OWN not in str(sent.headers)
        assert hidden(sent)


@pytest.mark.parametrize("way", [{}, WAYS["bearer"], {"authorization": f"Bearer {KEY}"}], ids=["alone", "with another", "with a good one"])
@inside_once
async def test_one_that_is_not_known_admits_nobody(way: dict[str, str]) -> None:
    async with Provider(by_shape) as provider, Inside(CONFIG, provider) as gateway:
        for data in (
            *(asked(shape, "own/m", **{"x-dragoman-key": "gw-other"}, **way) for shape in ASKED),
            *(request(path, method="GET", **{"x-dragoman-key": "gw-other"}, **way) for path in LISTED),
        ):
            async with gateway.call(data) as caller:
                assert (await caller.head())[0] == 401
        assert not provider.requests


@pytest.mark.parametrize("path", LISTED)
@inside_once
async def test_it_admits_everywhere(path: str) -> None:
    data = request(path, method="GET", **{"x-dragoman-key": KEY}, **WAYS["bearer"])
    with Provider(lambda _: [respond({"error": {"message": "None."}}, 404)]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(data) as caller:
            assert (await caller.head())[0] in (200, 404)


@inside_once
async def test_it_may_come_alone() -> None:
    """As where the SDK's own header is taken by a proxy in between."""
    async with Provider(by_shape) as provider, Inside(CONFIG, provider) as gateway:
        for model, sent_up in (("ours/m", "Bearer sk-operators-own-1"), ("own/m", None)):
            async with gateway.call(asked("chat", model, **{"x-dragoman-key": KEY})) as caller:
                assert (await caller.head())[0] == 200
            assert provider.requests[-1].headers.get("authorization") == sent_up
            assert hidden(provider.requests[-1])


@pytest.mark.parametrize("query", [True, False])
@inside_once
async def test_google_s_callers(query: bool) -> None:
    """Whose own key may stand in the query."""
    path = "/v1beta/models/owng%2Fgemini-x:countTokens"
    mine = {} if query else WAYS["x-goog-api-key"]
    target = f"{path}?key={OWN}" if query else path
    async with Provider(lambda _: [respond({"totalTokens": 1})]) as provider, Inside(CONFIG, provider) as gateway:
        data = request(target, {"contents": [{"parts": [{"text": "Hi"}]}]}, **{"x-dragoman-key": KEY}, **mine)
        async with gateway.call(data) as caller:
            assert (await caller.head())[0] == 200
        (sent,) = provider.requests
        assert sent.headers["x-goog-api-key"] == OWN
        assert hidden(sent)


@inside_once
async def test_over_a_websocket() -> None:
    async with Provider(by_shape) as provider, Inside(CONFIG, provider) as gateway:
        async with connected(gateway, **{"x-dragoman-key": KEY}, **WAYS["bearer"]) as socket:
            socket.create(model="own/m", input="Hi", store=False)
            await socket.event()
        await gateway.until(lambda: bool(provider.requests))
        assert provider.requests[0].headers["authorization"] == f"Bearer {OWN}"
        assert hidden(provider.requests[0])


@inside_once
async def test_a_stored_object_s_body_is_sent_on_as_it_comes() -> None:
    """Before it has all come, so the key is asked at its head."""
    async with Provider(lambda _: [respond({"id": "file-1", "object": "file"})]) as provider, Inside(CONFIG, provider) as gateway:
        body = b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x--\r\n'
        head = (
            "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            f"x-dragoman-provider: own\r\nx-dragoman-key: {KEY}\r\nAuthorization: Bearer {OWN}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        async with gateway.call(head.encode() + body) as caller:
            assert (await caller.head())[0] == 200
        (sent,) = provider.requests
        assert sent.headers["authorization"] == f"Bearer {OWN}"
        assert hidden(sent)


@inside_once
async def test_google_s_upload_goes_on_by_an_url_alone() -> None:
    """Its SDKs send no key with the parts of an upload: the URL that they are given has both."""
    up = "UPLOAD/upload/v1beta/files?upload_id=1&upload_protocol=resumable"
    with Provider(
        lambda asked: [respond({"file": {"name": "files/1"}}, **{"x-goog-upload-url": up.replace("UPLOAD", provider.url)})]
    ) as provider:
        async with Inside(CONFIG, provider) as gateway:
            begun = request(
                "/upload/v1beta/files",
                {"file": {}},
                **{"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start", "x-dragoman-provider": "owng"},
                **{"x-dragoman-key": KEY},
                **WAYS["x-goog-api-key"],
            )
            async with gateway.call(begun) as caller:
                status, headers = await caller.head()
            assert status == 200
            url = headers["x-goog-upload-url"]
            part = request(url.removeprefix("http://localhost"), b"data", **{"x-goog-upload-command": "upload, finalize"})
            async with gateway.call(part) as caller:
                assert (await caller.head())[0] == 200
            assert [sent.headers["x-goog-api-key"] for sent in provider.requests] == [OWN, OWN]
            assert all(map(hidden, provider.requests))


@inside_once
async def test_a_dry_run_shows_neither() -> None:
    async with Inside(CONFIG.replace("UPSTREAM", "http://127.0.0.1:9")) as gateway:
        data = asked("chat", "own/m", **{"x-dragoman-key": KEY, "x-dragoman-dry-run": "1"}, **WAYS["bearer"])
        async with gateway.call(data) as caller:
            status, headers = await caller.head()
            shown = await caller.body(headers)
        assert status == 200
        assert orjson.loads(shown)["request"]["headers"]["authorization"] == "[hidden]"
        assert KEY.encode() not in shown
        assert OWN.encode() not in shown
