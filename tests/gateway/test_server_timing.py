"""`server-timing`: what the caller waited for is the upstream's or the gateway's. Pauses here are lower bounds: they may take longer."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

import pytest

from ..scripted import Connection, Provider, Request, Steps, respond
from . import wire
from .inside import Inside, inside_once
from .upstreams import completion

CONFIG = """\
listeners: [{type: model, address: 127.0.0.1}]
keep_alive: {begin_after: BEGIN}
model_providers:
  - {model: up/m, name: one, base_url: UPSTREAM/one, access_key: k, apis: [chat_completions]}
  - {model: up/m, name: two, base_url: UPSTREAM/two, access_key: k, apis: [chat_completions]}
"""
ANSWER = completion({"content": "Hi"}, said={"content": "Hi"})
PAUSE = 0.2


def pause(connection: Connection) -> None:
    time.sleep(PAUSE)


def parted(answer: bytes) -> Steps:
    """The head, and a while later the body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return [head + b"\r\n\r\n", pause, body]


def slowly(request: Request) -> Steps:
    if request.target.endswith("/embeddings"):
        return parted(respond({"object": "list", "data": []}))
    if not request.json.get("stream"):
        return parted(respond(ANSWER.whole))
    head, role, *rest = ANSWER.steps(True)
    return [head, role, pause, *rest]


def failing(request: Request) -> Steps:
    if request.target.startswith("/one"):
        return [pause, respond({"error": {"message": "No."}}, 500)]
    return [respond(ANSWER.whole)]


async def asked(provider: Provider, path: str, begin_after: str = "1h", **more: object) -> dict[str, str]:
    """The headers of a whole answer."""
    body = {"model": "up/m", "input": "x", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **more}
    async with Inside(CONFIG, provider, BEGIN=begin_after) as gateway, gateway.call(wire.request(f"/v1/{path}", body)) as caller:
        _, headers = await caller.head()
        await caller.body(headers)
        return headers


def waited(headers: Mapping[str, str]) -> float:
    """The milliseconds of the upstream; the gateway's are never negative."""
    match = re.fullmatch(r"gateway;dur=\d+\.\d\d, upstream;dur=(\d+\.\d\d)", headers["server-timing"])
    assert match, headers["server-timing"]
    return float(match[1])


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("path", ["chat/completions", "messages", "embeddings"])
@inside_once
async def test_waiting_for_content_is_the_upstream_s(path: str, streamed: bool) -> None:
    """Also after the upstream's headers."""
    with Provider(slowly) as provider:
        assert waited(await asked(provider, path, stream=streamed)) >= PAUSE * 1000


@inside_once
async def test_of_a_head_that_is_sent_by_time() -> None:
    """Content is awaited still. What is not the upstream's is the time until the request is sent."""

    def very_slowly(request: Request) -> Steps:
        head, role, *rest = ANSWER.steps(True)
        return [head, role, *[pause] * 4, *rest]

    with Provider(very_slowly) as provider:
        assert waited(await asked(provider, "messages", f"{2 * PAUSE}s", stream=True)) >= PAUSE * 1000


@inside_once
async def test_attempts_that_failed_are_the_upstreams_too() -> None:
    with Provider(failing) as provider:
        headers = await asked(provider, "chat/completions")
    assert provider.requests[-1].target.startswith("/two")
    assert waited(headers) >= PAUSE * 1000
