"""Responses that the store does not take, most of them in the background: what their caller is answered, and what the log says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dragoman.proxy.memory.stores import Away, Entry
from dragoman.proxy.memory.stores.memory import MemoryStore

from ..scripted import Gate, Provider, respond
from .inside import Inside, inside_once
from .talk import Said, Talk
from .wire import request

CONFIG = """\
listeners: [{type: model, address: 127.0.0.1}]
model_providers: [{model: "chat/*", base_url: "UPSTREAM/v1", access_key: sk-upstream, apis: [chat_completions]}]
"""


class Failing(MemoryStore):
    """Appends nothing that `fails` is true of."""

    def __init__(self, fails: Callable[[bytes], bool]) -> None:
        super().__init__(100)
        self._fails = fails

    async def append(
        self, name: str, values: Sequence[bytes], expires_at: float, first: int = 0, token: str = "", most: int | None = None
    ) -> int | None:
        if self._fails(b"".join(values)):
            raise Away("gone")
        return await super().append(name, values, expires_at, first, token, most)


async def answered(gateway: Inside, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = request(path, body) if method == "POST" else f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    async with gateway.call(data) as caller:
        status, headers = await caller.head()
        return status, json.loads(await caller.body(headers))


@pytest.mark.parametrize(
    ("fails", "waits", "status", "end", "cause"),
    [
        pytest.param(lambda events: b"response.queued" in events, False, 500, None, "state_unavailable", id="the announcement"),
        pytest.param(lambda events: b"output_text.delta" in events, True, 200, "failed", "state_unavailable", id="a delta"),
        pytest.param(lambda events: b"response.completed" in events, False, 200, "completed", None, id="the end, once it is stored"),
    ],
)
@inside_once
async def test_events_that_cannot_be_stored(
    fails: Callable[[bytes], bool], waits: bool, status: int, end: str | None, cause: str | None
) -> None:
    """waits: the upstream goes on only when the response is over."""
    talk, gate = Talk(), Gate()
    if not waits:
        gate.open()
    talk.says(Said(text="Once upon a time", gate=gate))
    async with Provider(talk.script) as provider, Inside(CONFIG, provider) as gateway:
        gateway.gateway.services.state.background.store = Failing(fails)
        found, value = await answered(gateway, "POST", "/v1/responses", {"model": "chat/m", "input": "Hello", "background": True})
        await gateway.until(lambda: gateway.idle and gateway.lines)
        gate.open()
        (line,) = gateway.lines
        assert (found, line["status"], line.get("error")) == (status, status, cause)
        if end is None:
            assert value["error"]["message"] == "The gateway's state storage does not answer."
        else:
            _, now = await answered(gateway, "GET", f"/v1/responses/{value['id']}")
            assert now["status"] == end


class Full(MemoryStore):
    """Stores nothing."""

    async def put(self, entry: Entry) -> None:
        raise Away("gone")


@inside_once
async def test_an_answer_that_came_whole_instead_of_as_a_stream() -> None:
    """Nothing of it has been sent when it cannot be stored: it is an error as of any answer, and the log says so."""
    whole = Said(text="Once").whole("chat/completions", "m")
    async with Provider(lambda _: [respond(whole)]) as provider, Inside(CONFIG, provider) as gateway:
        gateway.gateway.services.state.records._store = Full(100)
        found, value = await answered(gateway, "POST", "/v1/responses", {"model": "chat/m", "input": "Hello", "stream": True})
        await gateway.until(lambda: gateway.idle and gateway.lines)
    (line,) = gateway.lines
    assert (found, line["status"], line["error"]) == (500, 500, "state_unavailable")
    assert value["error"]["message"] == "The gateway's state storage does not answer."
