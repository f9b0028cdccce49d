"""Items of conversations: what is stored can be continued, and what could not be is refused when it is sent."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from dragoman.proxy.memory import conversations

from ..scripted import Provider, Request, Steps, respond
from .inside import Inside, inside_once
from .spoken import SPEECH
from .wire import request

CONFIG = """
model_providers: [{model: up/m, base_url: "UPSTREAM/v1", apis: [chat_completions], access_key: k}]
"""


def answer(_: Request) -> Steps:
    return [respond(SPEECH["chat"].whole)]


def item(size: int) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": "x" * size}


async def sent(gateway: Inside, path: str, body: Any = b"", method: str = "POST") -> tuple[int, Any]:
    async with gateway.call(request(path, body, method)) as caller:
        status, headers = await caller.head()
        return status, orjson.loads(await caller.body(headers))


@inside_once
async def test_items_above_the_bound_are_refused_when_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "WEIGHT_LIMIT", 2 << 20)
    with Provider(answer) as provider:
        async with Inside(CONFIG, provider) as gateway:
            status, refused = await sent(gateway, "/v1/conversations", {"items": [item(3 << 20)]})
            assert (status, refused["error"]["param"]) == (400, "items")
            assert "2 MB of items" in refused["error"]["message"]
            _, made = await sent(gateway, "/v1/conversations", {"items": [item(1 << 20)]})
            path = f"/v1/conversations/{made['id']}"
            status, refused = await sent(gateway, f"{path}/items", {"items": [item(1), item(1 << 20)]})
            assert (status, refused["error"]["code"]) == (400, "context_length_exceeded")
            _, listed = await sent(gateway, f"{path}/items", method="GET")
            assert len(listed["data"]) == 1
            status, _ = await sent(gateway, f"{path}/items", {"items": [item(1000)]})
            assert status == 200
            status, _ = await sent(gateway, "/v1/responses", {"model": "up/m", "input": "Hi", "conversation": made["id"]})
            assert status == 200
            nothing, _ = await sent(gateway, f"/v1/conversations/conv_{'0' * 32}/items", {"items": [item(3 << 20)]})
            assert nothing == 404
