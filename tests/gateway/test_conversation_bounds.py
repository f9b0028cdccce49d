"""Items of conversations: what is stored can be continued, and what could not be is refused when it is sent."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import orjson
import pytest

from dragoman.proxy.memory import conversations

from ..scripted import Provider, Request, Steps, chunk, respond, stream_head
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
    async with Provider(answer) as provider, Inside(CONFIG, provider) as gateway:
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
        status, refused = await sent(gateway, "/v1/responses", {"model": "up/m", "input": "x" * (1 << 20), "conversation": made["id"]})
        assert (status, refused["error"]["param"]) == (400, "input")
        assert len(provider.requests) == 1, "nothing was sent"
        nothing, _ = await sent(gateway, f"/v1/conversations/conv_{'0' * 32}/items", {"items": [item(3 << 20)]})
        assert nothing == 404


@pytest.mark.parametrize("stream", [False, True])
@inside_once
async def test_an_answer_above_the_bound_is_kept_and_can_be_deleted(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    monkeypatch.setattr(conversations, "WEIGHT_LIMIT", 1000)

    def script(asked: Request) -> Steps:
        if not asked.json.get("stream"):
            return [respond(orjson.loads(orjson.dumps(SPEECH["chat"].whole).replace(b"Hello world", b"Hello world" * 200)))]
        speech = SPEECH["chat"]
        return [stream_head(), *map(chunk, [*speech.opening, speech.word("x" * 2000), *speech.ending]), b"0\r\n\r\n"]

    async with Provider(script) as provider, Inside(CONFIG, provider) as gateway:
        _, made = await sent(gateway, "/v1/conversations", {"items": [item(100)]})
        path, asked = f"/v1/conversations/{made['id']}", {"model": "up/m", "input": "Hi", "conversation": made["id"]}
        async with gateway.call(request("/v1/responses", asked | {"stream": stream})) as caller:
            status, headers = await caller.head()
            said = await caller.body(headers)
        assert (status, b"failed" in said, said.count(b'"completed"') > 0) == (200, False, True)
        for refused in (
            await sent(gateway, "/v1/responses", asked),
            await sent(gateway, f"{path}/items", {"items": [item(1)]}),
        ):
            assert (refused[0], refused[1]["error"]["code"]) == (400, "context_length_exceeded")
        assert len(provider.requests) == 1
        _, listed = await sent(gateway, f"{path}/items?order=asc", method="GET")
        assert [one["role"] for one in listed["data"]] == ["user", "user", "assistant"]
        answer = listed["data"][-1]
        assert (await sent(gateway, f"{path}/items/{answer['id']}", method="GET"))[1]["content"] == answer["content"]
        status, _ = await sent(gateway, f"{path}/items/{answer['id']}", method="DELETE")
        assert status == 200
        assert (await sent(gateway, f"{path}/items/{answer['id']}", method="GET"))[0] == 404
        assert (await sent(gateway, "/v1/responses", asked))[0] == 200


@inside_once
async def test_two_that_add_at_once_hold_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "WEIGHT_LIMIT", 2000)
    async with Inside("model_providers: [{model: demo/echo}]") as gateway:
        _, made = await sent(gateway, "/v1/conversations", {})
        path = f"/v1/conversations/{made['id']}/items"
        ends = await asyncio.gather(*(sent(gateway, path, {"items": [item(1000)]}) for _ in range(8)))
        assert sorted(status for status, _ in ends) == [200] + [400] * 7
        _, listed = await sent(gateway, path, method="GET")
        assert len(listed["data"]) == 1


@inside_once
async def test_of_a_long_conversation_only_the_items_of_the_page_are_parsed() -> None:
    async with Inside("model_providers: [{model: demo/echo}]") as gateway:
        _, made = await sent(gateway, "/v1/conversations", {"items": [item(number) for number in range(8)]})
        path, store = f"/v1/conversations/{made['id']}/items", gateway.gateway.services.state.conversations
        _, listed = await sent(gateway, f"{path}?order=asc", method="GET")
        ids = [one["id"] for one in listed["data"]]
        owner = gateway.gateway.services.owner("", "")
        await store.extend(owner, made["id"], [b"{no JSON}"] * 600)
        await store.extend(owner, made["id"], [orjson.dumps(item(9) | {"id": "msg_last"})])
        for query, shown, more in [
            ("order=asc&limit=2", ids[:2], True),
            ("order=desc&limit=1", ["msg_last"], True),
            (f"order=asc&limit=3&after={ids[1]}", ids[2:5], True),
            (f"order=desc&after={ids[2]}", [ids[1], ids[0]], False),
            (f"order=asc&limit=2&before={ids[3]}", ids[1:3], True),
            (f"order=asc&after={ids[0]}&before={ids[3]}", ids[1:3], False),
        ]:
            status, page = await sent(gateway, f"{path}?{query}", method="GET")
            assert (status, [one["id"] for one in page["data"]], page["has_more"]) == (200, shown, more), query
            assert (page["first_id"], page["last_id"]) == (shown[0], shown[-1])
        status, refused = await sent(gateway, f"{path}?after=msg_none", method="GET")
        assert (status, refused["error"]["param"]) == (400, "after")


@inside_once
async def test_long_items_are_read_in_a_thread() -> None:
    async with Inside("model_providers: [{model: demo/echo}]") as gateway:
        _, made = await sent(gateway, "/v1/conversations", {"items": [item(1)]})
        _, long = await sent(gateway, "/v1/conversations", {"items": [item(1 << 20)]})
        store, owner = gateway.gateway.services.state.conversations, gateway.gateway.services.owner("", "")
        threads = []
        for id in (made["id"], long["id"]):
            await store._each(owner, id, lambda *_: threads.append(threading.current_thread()))
        assert [thread is threading.main_thread() for thread in threads] == [True, False]
