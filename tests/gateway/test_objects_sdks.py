"""The vendors' SDKs store things through the gateway."""

from __future__ import annotations

from collections.abc import Iterator
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
