"""The vendors' SDKs store things through the gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest

from ..conftest import Running, Start
from ..scripted import Provider, Request, Steps, respond

CONFIG = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
model_providers:
  - {model: openai/*, discover: false, base_url: UPSTREAM/v1, access_key: sk-upstream}
  - {model: anthropic/*, discover: false, base_url: UPSTREAM/v1, access_key: sk-upstream}
"""
FILE = {"id": "file-1", "object": "file", "bytes": 3, "created_at": 1, "filename": "a.txt", "purpose": "user_data", "status": "processed"}
BATCH = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "input_file_id": "file-1",
    "completion_window": "24h",
    "status": "validating",
    "created_at": 1,
}
MESSAGE_BATCH = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "in_progress",
    "request_counts": {"processing": 1, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
    "created_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-02T00:00:00Z",
}
RESULT = b'{"custom_id":"a","result":{"type":"canceled"}}\n'
ANSWERS: dict[str, Any] = {
    "POST /v1/files": FILE,
    "GET /v1/files": {"object": "list", "data": [FILE], "has_more": False},
    "GET /v1/files/file-1/content": b"abc",
    "DELETE /v1/files/file-1": {"id": "file-1", "object": "file", "deleted": True},
    "POST /v1/batches": BATCH,
    "POST /v1/batches/batch_1/cancel": BATCH | {"status": "cancelling"},
    "GET /v1/vector_stores/vs_1/files": {"object": "list", "data": [], "has_more": False},
    "POST /v1/messages/batches": MESSAGE_BATCH,
    "GET /v1/messages/batches/msgbatch_1": MESSAGE_BATCH | {"results_url": "https://x/y", "processing_status": "ended"},
    "GET /v1/messages/batches/msgbatch_1/results": RESULT,
}


def answer(request: Request) -> Steps:
    found = ANSWERS[f"{request.method} {request.target.partition('?')[0]}"]
    own = "x-api-key" if "anthropic-version" in request.headers else "authorization"
    assert request.headers[own].removeprefix("Bearer ") == "sk-upstream"
    return [respond(found, content_type="application/octet-stream") if isinstance(found, bytes) else respond(found)]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(answer) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(start_session: Start, provider: Provider) -> Running:
    return start_session(CONFIG.replace("UPSTREAM", provider.url))


def test_openai(gateway: Running, provider: Provider) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="own", max_retries=0) as client:
        file = client.files.create(file=("a.txt", b"abc"), purpose="user_data")
        assert file.id == "file-1"
        assert b'name="file"; filename="a.txt"' in provider.requests[-1].body
        assert [one.id for one in client.files.list()] == ["file-1"]
        assert client.files.content("file-1").read() == b"abc"
        assert client.files.delete("file-1").deleted
        batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        assert client.batches.cancel(batch.id).status == "cancelling"
        assert list(client.vector_stores.files.list("vs_1")) == []


def test_anthropic(gateway: Running, provider: Provider) -> None:
    asked: Any = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    with anthropic.Anthropic(base_url=gateway.url, api_key="own", max_retries=0) as client:
        batch = client.messages.batches.create(requests=[{"custom_id": "a", "params": asked}])
        assert batch.id == "msgbatch_1"
        assert provider.requests[-1].json["requests"][0]["params"] == asked
        assert client.messages.batches.retrieve(batch.id).processing_status == "ended"


# ---- all methods: what arrives, and what comes back, is as without the gateway ----

ASKED: Any = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
FORM = ("a.jsonl", b"{}", "application/jsonl")
SKILL = ("s/SKILL.md", b"---\nname: s\n---", "text/markdown")

OPENAI: dict[str, Callable[[openai.OpenAI], Any]] = {
    "files.content": lambda c: c.files.content("file-1").read(),
    "files.create": lambda c: c.files.create(file=FORM, purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}),
    "files.delete": lambda c: c.files.delete("file-1"),
    "files.list": lambda c: list(c.files.list(purpose="batch", limit=2)),
    "files.retrieve": lambda c: c.files.retrieve("file-1"),
    "batches.cancel": lambda c: c.batches.cancel("batch_1"),
    "batches.create": lambda c: c.batches.create(input_file_id="file-1", endpoint="/v1/responses", completion_window="24h"),
    "batches.list": lambda c: list(c.batches.list(after="batch_0")),
    "batches.retrieve": lambda c: c.batches.retrieve("batch_1"),
    "uploads.cancel": lambda c: c.uploads.cancel("upload_1"),
    "uploads.complete": lambda c: c.uploads.complete("upload_1", part_ids=["part_1"]),
    "uploads.create": lambda c: c.uploads.create(bytes=2, filename="a", mime_type="text/plain", purpose="assistants"),
    "uploads.parts.create": lambda c: c.uploads.parts.create("upload_1", data=b"\0\xff"),
    "vector_stores.create": lambda c: c.vector_stores.create(name="n", file_ids=["file-1"]),
    "vector_stores.delete": lambda c: c.vector_stores.delete("vs_1"),
    "vector_stores.list": lambda c: list(c.vector_stores.list()),
    "vector_stores.retrieve": lambda c: c.vector_stores.retrieve("vs_1"),
    "vector_stores.search": lambda c: list(c.vector_stores.search("vs_1", query="q")),
    "vector_stores.update": lambda c: c.vector_stores.update("vs_1", name="n"),
    "vector_stores.files.content": lambda c: list(c.vector_stores.files.content("file-1", vector_store_id="vs_1")),
    "vector_stores.files.create": lambda c: c.vector_stores.files.create("vs_1", file_id="file-1"),
    "vector_stores.files.delete": lambda c: c.vector_stores.files.delete("file-1", vector_store_id="vs_1"),
    "vector_stores.files.list": lambda c: list(c.vector_stores.files.list("vs_1", filter="completed")),
    "vector_stores.files.retrieve": lambda c: c.vector_stores.files.retrieve("file-1", vector_store_id="vs_1"),
    "vector_stores.files.update": lambda c: c.vector_stores.files.update("file-1", vector_store_id="vs_1", attributes={"a": 1}),
    "vector_stores.file_batches.cancel": lambda c: c.vector_stores.file_batches.cancel("vsfb_1", vector_store_id="vs_1"),
    "vector_stores.file_batches.create": lambda c: c.vector_stores.file_batches.create("vs_1", file_ids=["file-1"]),
    "vector_stores.file_batches.list_files": lambda c: list(c.vector_stores.file_batches.list_files("vsfb_1", vector_store_id="vs_1")),
    "vector_stores.file_batches.retrieve": lambda c: c.vector_stores.file_batches.retrieve("vsfb_1", vector_store_id="vs_1"),
    "containers.create": lambda c: c.containers.create(name="n", file_ids=["file-1"]),
    "containers.delete": lambda c: c.containers.delete("cntr_1"),
    "containers.list": lambda c: list(c.containers.list()),
    "containers.retrieve": lambda c: c.containers.retrieve("cntr_1"),
    "containers.files.content": lambda c: c.containers.files.content.retrieve("cfile_1", container_id="cntr_1").read(),
    "containers.files.create": lambda c: c.containers.files.create("cntr_1", file=FORM),
    "containers.files.delete": lambda c: c.containers.files.delete("cfile_1", container_id="cntr_1"),
    "containers.files.list": lambda c: list(c.containers.files.list("cntr_1")),
    "containers.files.retrieve": lambda c: c.containers.files.retrieve("cfile_1", container_id="cntr_1"),
    "skills.content": lambda c: c.skills.content.retrieve("skill_1").read(),
    "skills.create": lambda c: c.skills.create(files=[SKILL]),
    "skills.delete": lambda c: c.skills.delete("skill_1"),
    "skills.list": lambda c: list(c.skills.list()),
    "skills.retrieve": lambda c: c.skills.retrieve("skill_1"),
    "skills.update": lambda c: c.skills.update("skill_1", default_version="2"),
    "skills.versions.content": lambda c: c.skills.versions.content.retrieve("2", skill_id="skill_1").read(),
    "skills.versions.create": lambda c: c.skills.versions.create("skill_1", files=[SKILL]),
    "skills.versions.delete": lambda c: c.skills.versions.delete("2", skill_id="skill_1"),
    "skills.versions.list": lambda c: list(c.skills.versions.list("skill_1")),
    "skills.versions.retrieve": lambda c: c.skills.versions.retrieve("2", skill_id="skill_1"),
    "chat.completions.delete": lambda c: c.chat.completions.delete("chatcmpl-1"),
    "chat.completions.list": lambda c: list(c.chat.completions.list(model="m", metadata={"a": "b"})),
    "chat.completions.messages.list": lambda c: list(c.chat.completions.messages.list("chatcmpl-1")),
    "chat.completions.retrieve": lambda c: c.chat.completions.retrieve("chatcmpl-1"),
    "chat.completions.update": lambda c: c.chat.completions.update("chatcmpl-1", metadata={"a": "b"}),
}  # fmt: skip
ANTHROPIC: dict[str, Callable[[anthropic.Anthropic], Any]] = {
    "beta.files.delete": lambda c: c.beta.files.delete("file_1"),
    "beta.files.download": lambda c: c.beta.files.download("file_1").read(),
    "beta.files.list": lambda c: list(c.beta.files.list(limit=2)),
    "beta.files.retrieve_metadata": lambda c: c.beta.files.retrieve_metadata("file_1"),
    "beta.files.upload": lambda c: c.beta.files.upload(file=FORM),
    "beta.skills.create": lambda c: c.beta.skills.create(files=[SKILL]),
    "beta.skills.delete": lambda c: c.beta.skills.delete("skill_1"),
    "beta.skills.list": lambda c: list(c.beta.skills.list()),
    "beta.skills.retrieve": lambda c: c.beta.skills.retrieve("skill_1"),
    "beta.skills.versions.create": lambda c: c.beta.skills.versions.create("skill_1", files=[SKILL]),
    "beta.skills.versions.download": lambda c: c.beta.skills.versions.download("2", skill_id="skill_1").read(),
    "beta.skills.versions.delete": lambda c: c.beta.skills.versions.delete("2", skill_id="skill_1"),
    "beta.skills.versions.list": lambda c: list(c.beta.skills.versions.list("skill_1")),
    "beta.skills.versions.retrieve": lambda c: c.beta.skills.versions.retrieve("2", skill_id="skill_1"),
    "beta.messages.batches.create": lambda c: c.beta.messages.batches.create(requests=[{"custom_id": "a", "params": ASKED}], betas=["x-1"]),
    "messages.batches.cancel": lambda c: c.messages.batches.cancel("msgbatch_1"),
    "messages.batches.create": lambda c: c.messages.batches.create(requests=[{"custom_id": "a", "params": ASKED}]),
    "messages.batches.delete": lambda c: c.messages.batches.delete("msgbatch_1"),
    "messages.batches.list": lambda c: list(c.messages.batches.list()),
    "messages.batches.results": lambda c: list(c.messages.batches.results("msgbatch_1")),
    "messages.batches.retrieve": lambda c: c.messages.batches.retrieve("msgbatch_1"),
}
# made of the others, or no request
COMPOSED = (
    "upload",
    "upload_file_chunked",
    "retrieve_content",
    "wait_for_processing",
    "poll",
    "with_",
    "parse",
    "stream",
    "create_and_poll",
)


def stored(request: Request) -> Steps:
    """An object, whatever is asked for; bytes where content is."""
    path = request.target.partition("?")[0]
    if path.endswith("/results"):
        return [respond(RESULT, content_type="application/x-jsonl")]
    if path.endswith("/content") and "vector_stores" not in path:
        return [respond(bytes(range(256)), content_type="application/octet-stream")]
    item = {"id": "x_1", "type": "y", "status": "completed", "created_at": 1}
    own = {"results_url": f"http://{request.headers['host']}{path}/results", "processing_status": "ended"}
    return [respond(item | own | {"object": "list", "data": [item], "has_more": False}, request_id="req_1", x_request_id="req_1")]


CARRIED = (
    "content-type",
    "anthropic-version",
    "anthropic-beta",
    "openai-beta",
    "accept",
    "idempotency-key",
    "user-agent",
    "x-stainless-lang",
)


def seen(request: Request) -> tuple[Any, ...]:
    """What of a request has to be the same. The boundary of a form is drawn anew for each."""
    headers = {name: value for name, value in request.headers.items() if name in CARRIED}
    boundary = headers.get("content-type", "").partition("boundary=")[2]
    if boundary:
        headers["content-type"] = "multipart/form-data"
    return request.method, request.target, headers, request.body.replace(boundary.encode() or b"\0\0", b"BOUNDARY")


@pytest.fixture(scope="module")
def double() -> Iterator[Provider]:
    with Provider(stored) as running:
        yield running


@pytest.fixture(scope="module")
def between(start_session: Start, double: Provider) -> Running:
    return start_session(CONFIG.replace("UPSTREAM", double.url))


def compared(call: Callable[[Any], Any], direct: Any, through: Any, double: Provider) -> None:
    double.requests.clear()
    wanted = call(direct)
    asked = [seen(request) for request in double.requests]
    double.requests.clear()
    found = call(through)
    assert [seen(request) for request in double.requests] == asked
    hosts = [str(client.base_url).split("/")[2] for client in (direct, through)]
    assert repr(found).replace(hosts[1], hosts[0]) == repr(wanted)


@pytest.fixture(scope="module")
def of_openai(between: Running, double: Provider) -> Iterator[tuple[openai.OpenAI, openai.OpenAI]]:
    with (
        openai.OpenAI(base_url=f"{double.url}/v1", api_key="sk-upstream", max_retries=0) as direct,
        openai.OpenAI(base_url=f"{between.url}/v1", api_key="own", max_retries=0) as through,
    ):
        yield direct, through


@pytest.fixture(scope="module")
def of_anthropic(between: Running, double: Provider) -> Iterator[tuple[anthropic.Anthropic, anthropic.Anthropic]]:
    with (
        anthropic.Anthropic(base_url=double.url, api_key="sk-upstream", max_retries=0) as direct,
        anthropic.Anthropic(base_url=between.url, api_key="own", max_retries=0) as through,
    ):
        yield direct, through


@pytest.mark.parametrize("name", OPENAI)
def test_every_method_of_openai(name: str, of_openai: tuple[openai.OpenAI, openai.OpenAI], double: Provider) -> None:
    compared(OPENAI[name], *of_openai, double)


@pytest.mark.parametrize("name", ANTHROPIC)
def test_every_method_of_anthropic(name: str, of_anthropic: tuple[anthropic.Anthropic, anthropic.Anthropic], double: Provider) -> None:
    compared(ANTHROPIC[name], *of_anthropic, double)


def test_no_method_is_forgotten() -> None:
    tables: tuple[tuple[Any, dict[str, Any]], ...] = (
        (openai.OpenAI(api_key="x"), OPENAI),
        (anthropic.Anthropic(api_key="x"), ANTHROPIC),
    )
    for client, table in tables:
        for resource in {name.rpartition(".")[0] for name in table}:
            holder = client
            for part in resource.split("."):
                holder = getattr(holder, part)
            methods = {name for name in dir(holder) if not name.startswith("_") and callable(getattr(type(holder), name, None))}
            left = {name for name in methods if f"{resource}.{name}" not in table and not name.startswith(COMPOSED)}
            if resource in ("chat.completions", "beta.messages.batches"):  # a model is asked; alike without beta
                left -= {"create", "cancel", "delete", "list", "results", "retrieve"}
            assert not left, resource
