"""Stored objects and access keys: models that a key may not use, and what belongs to another key."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from dragoman import conf
from dragoman.proxy.keys.identity import of_key

from ..scripted import Provider, Request, Steps, respond
from .inside import Inside, inside_once
from .wire import request

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - {model: openai/*, discover: false, base_url: UPSTREAM/a/v1, access_key: sk-upstream}
  - {model: groq/*, discover: false, base_url: UPSTREAM/b/v1, access_key: sk-upstream}
access_keys:
  - {key: sk-alice, name: alice}
  - {key: sk-bob, name: bob}
  - {key: sk-mini, name: mini, models: ["openai/gpt-4o-mini", "gpt-*"]}
  - {key: sk-open, name: open, models: ["openai/*"]}
  - {key: sk-priced, name: priced, budget: {usd: 5, unpriced: refuse}}
state_storage: {type: memory}
"""
TEAM = CONFIG.replace("{type: memory}", "{type: memory, shared_upstream_ids: true}")
ALONE = "\n".join(line for line in CONFIG.splitlines() if "name: " not in line or "alice" in line)


def answer(request: Request) -> Steps:
    """An object for each thing that is created, and what was asked for."""
    if request.target.endswith("/complete"):
        return [respond({"id": "upload_1", "file": {"id": "file-big"}, "metadata": {"file_id": "file-bobs"}})]
    if request.target.endswith("/content"):
        return [respond({"id": "file-bobs"})]
    name = {"files": "file-alices", "vector_stores": "vs_alices", "batches": "batch_alices", "uploads": "upload_1"}.get(
        request.target.rpartition("/")[2], "x"
    )
    if request.method == "GET":
        name = request.target.rpartition("/")[2]
    return [respond({"id": name, "upstream": request.target.split("/")[1]})]


Told = tuple[int, Any]


async def told(gateway: Inside, key: str, method: str, path: str, body: Any = b"", **headers: str) -> Told:
    asked = request(path, body, method, authorization=f"Bearer {key}", **headers)
    if body is FORM:
        asked = asked.replace(b"application/json", b"multipart/form-data; boundary=x")
    async with gateway.call(asked) as caller:
        status, received = await caller.head()
        return status, orjson.loads(await caller.body(received))


def test_which_patterns_reach_a_provider() -> None:
    def reaches(*patterns: str) -> bool:
        text = f"model_providers: [{{model: demo/*}}]\naccess_keys: [{{key: k, name: k, models: {orjson.dumps(patterns).decode()}}}]"
        return of_key(conf.loads(text, environ={}).access_keys[0]).reaches("openai")

    wide = ["*", "openai/*", "open*", "o*", "openai*", "*/*", "?penai/*", "[a-z]penai/*"]
    narrow = ["openai/gpt-*", "gpt-*", "openai/?", "openai/[*]", "openai", "?", "*mini", "openai/*mini", "azure_openai/*", "openai/**x"]
    assert [pattern for pattern in wide if not reaches(pattern)] == []
    assert [pattern for pattern in narrow if reaches(pattern)] == []
    assert reaches("gpt-*", "openai/*")


@inside_once
async def test_a_key_that_may_not_use_all_models() -> None:
    async with Provider(answer) as provider, Inside(TEAM, provider) as gateway:
        for headers in ({}, {"x_dragoman_provider": "openai"}, {"x_dragoman_provider": "groq"}):
            status, body = await told(gateway, "sk-mini", "GET", "/v1/files/file-1", **headers)
            assert (status, body["error"]["code"]) == (403, "permission_denied")
        assert not provider.requests
        assert (await told(gateway, "sk-open", "GET", "/v1/files/file-1"))[1]["upstream"] == "a"  # the only one within its rights
        assert (await told(gateway, "sk-open", "GET", "/v1/files/file-1", x_dragoman_provider="groq"))[0] == 403
        assert len(provider.requests) == 1


@inside_once
async def test_without_a_key_nothing_goes_up() -> None:
    async with Provider(answer) as provider, Inside(CONFIG, provider) as gateway:
        assert (await told(gateway, "sk-wrong", "POST", "/v1/files", b"x" * 100_000))[0] == 401
        assert not provider.requests


@inside_once
async def test_a_budget_that_refuses_what_has_no_price() -> None:
    async with Provider(answer) as provider, Inside(TEAM, provider) as gateway:
        openai = {"x_dragoman_provider": "openai"}
        assert (await told(gateway, "sk-priced", "POST", "/v1/batches", {}, **openai))[0] == 403
        assert (await told(gateway, "sk-priced", "GET", "/v1/batches/batch_1", **openai))[0] == 200


OPENAI = {"x_dragoman_provider": "openai"}
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--x--\r\n'


async def alices(gateway: Inside) -> None:
    for path in ("/v1/files", "/v1/vector_stores"):
        assert (await told(gateway, "sk-alice", "POST", path, {}, **OPENAI))[0] == 200


# what a caller asks of alice's objects, and whether she may herself
ASKED: dict[str, tuple[str, str, Any, bool]] = {
    "read": ("GET", "/v1/files/file-alices", b"", True),
    "content": ("GET", "/v1/files/file-alices/content", b"", True),
    "delete": ("DELETE", "/v1/files/file-alices", b"", True),
    "below": ("GET", "/v1/vector_stores/vs_alices/files", b"", True),
    "in-a-body": ("POST", "/v1/vector_stores", {"file_ids": ["file-alices"]}, True),
    "deep-in-a-body": ("POST", "/v1/vector_stores", {"expires_after": {"x": [{"file_id": "file-alices"}]}}, True),
    "list": ("GET", "/v1/files", b"", False),
    "batch": ("POST", "/v1/batches", {"input_file_id": "file-alices"}, False),
    "skills": ("GET", "/v1/skills", b"", False),
    "completions": ("GET", "/v1/chat/completions", b"", False),
    "completion": ("GET", "/v1/chat/completions/chatcmpl-1", b"", False),
}


@pytest.mark.parametrize("name", ASKED)
@inside_once
async def test_what_belongs_to_another_key(name: str) -> None:
    method, path, body, own = ASKED[name]
    async with Provider(answer) as provider, Inside(CONFIG, provider) as gateway:
        await alices(gateway)
        before = len(provider.requests)
        status, _ = await told(gateway, "sk-bob", method, path, body, **OPENAI)
        assert status in (403, 404)
        assert len(provider.requests) == before
        assert ((await told(gateway, "sk-alice", method, path, body, **OPENAI))[0] == 200) is own


@pytest.mark.parametrize("config", ["team", "alone"])
@pytest.mark.parametrize("name", ASKED)
@inside_once
async def test_callers_who_are_not_kept_apart(name: str, config: str) -> None:
    method, path, body, _ = ASKED[name]
    async with Provider(answer) as provider, Inside({"team": TEAM, "alone": ALONE}[config], provider) as gateway:
        status, _ = await told(gateway, "sk-alice", method, path, body, **OPENAI)
        assert status == 200


@inside_once
async def test_an_answer_gives_what_its_upstream_wrote_and_not_what_a_caller_did() -> None:
    async with Provider(answer) as provider, Inside(CONFIG, provider) as gateway:
        await alices(gateway)
        assert (await told(gateway, "sk-alice", "GET", "/v1/files/file-alices/content", **OPENAI))[1] == {"id": "file-bobs"}
        assert (await told(gateway, "sk-alice", "GET", "/v1/files/file-bobs", **OPENAI))[0] == 404


@inside_once
async def test_a_file_that_was_uploaded_can_be_named_in_requests() -> None:
    asked = {"model": "openai/gpt-5.5", "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-alices"}}]}]}
    async with Provider(answer) as provider, Inside(CONFIG, provider) as gateway:
        assert (await told(gateway, "sk-alice", "POST", "/v1/files", FORM, **OPENAI))[0] == 200
        assert (await told(gateway, "sk-bob", "POST", "/v1/vector_stores", {"file_ids": ["file-alices"]}, **OPENAI))[0] == 404
        assert (await told(gateway, "sk-bob", "POST", "/v1/chat/completions", asked))[0] == 404


@inside_once
async def test_an_upload_in_parts() -> None:
    """The file at its end belongs to who completed it."""
    async with Provider(answer) as provider, Inside(CONFIG, provider) as gateway:
        assert (await told(gateway, "sk-alice", "POST", "/v1/uploads", {"filename": "a"}, **OPENAI))[0] == 200
        assert (await told(gateway, "sk-bob", "POST", "/v1/uploads/upload_1/parts", FORM, **OPENAI))[0] == 404
        assert (await told(gateway, "sk-alice", "POST", "/v1/uploads/upload_1/parts", FORM, **OPENAI))[0] == 200
        done = {"part_ids": ["part_1"]}
        assert (await told(gateway, "sk-bob", "POST", "/v1/uploads/upload_1/complete", done, **OPENAI))[0] == 404
        assert (await told(gateway, "sk-alice", "POST", "/v1/uploads/upload_1/complete", done, **OPENAI))[0] == 200
        assert (await told(gateway, "sk-alice", "GET", "/v1/files/file-big", **OPENAI))[0] == 200
        assert (await told(gateway, "sk-bob", "GET", "/v1/files/file-big", **OPENAI))[0] == 404
        assert (await told(gateway, "sk-alice", "GET", "/v1/files/file-bobs", **OPENAI))[0] == 404  # a member that a caller can set


@inside_once
async def test_a_form_that_could_name_another_keys_file() -> None:
    """Only uploads of files take forms here: elsewhere a field of one may be `file_id`."""
    async with Provider(answer) as provider, Inside(CONFIG, provider) as gateway:
        assert (await told(gateway, "sk-alice", "POST", "/v1/vector_stores", {}, **OPENAI))[0] == 200
        assert (await told(gateway, "sk-alice", "POST", "/v1/vector_stores/vs_alices/files", FORM, **OPENAI))[0] == 415


ELSEWHERE = TEAM.replace("{key: sk-alice, name: alice}", "{key: sk-alice, name: alice, allow_from: [192.0.2.0/24]}")
BOTH = "{} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nx-api-key: sk-alice\r\nx-dragoman-provider: openai\r\n{}\r\n"


@pytest.mark.parametrize("other", ["sk-wrong", "sk-bob"])
@pytest.mark.parametrize(
    "asked",
    ["POST /v1/files", "GET /v1/files/file-1", "POST /v1/messages//batches", "POST /v1/messages", "GET /v1/models", "GET /v1beta/models"],
)
@inside_once
async def test_the_key_whose_address_is_checked_is_the_one_that_is_used(asked: str, other: str) -> None:
    """Of two keys that a request shows, its API decides; no path may check the one and take the other."""
    body = b"{}" if asked.startswith("POST") else b""
    for more in ("", "anthropic-version: 2023-06-01\r\n"):
        async with Provider(answer) as provider, Inside(ELSEWHERE, provider) as gateway:
            head = BOTH.format(asked, other, f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}")
            async with gateway.call(head.encode() + body) as caller:
                status, _ = await caller.head()
            assert "alice" not in {line.get("key") for line in gateway.lines}
            assert status == 200 or not provider.requests
