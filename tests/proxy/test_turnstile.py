"""Few large requests at a time are between being parsed and being sent."""

from __future__ import annotations

import asyncio

import pytest

from dragoman.proxy.exchange import turnstile
from dragoman.proxy.exchange.turnstile import Passage, Turnstile
from dragoman.proxy.wire import bodies

from ..gateway.inside import CONFIG, Inside, inside_once
from ..gateway.spoken import SPEECH
from ..scripted import LAST_CHUNK, Gate, Provider, Request, Step, chunk, respond, stream_head, wait


async def entered(waiting: list[asyncio.Task[Passage]]) -> list[bool]:
    for _ in range(5):
        await asyncio.sleep(0)
    return [task.done() for task in waiting]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "LONGEST", 3600.0)


@inside_once
async def test_they_come_in_order_when_there_is_room() -> None:
    gate = Turnstile()
    tasks = [asyncio.ensure_future(gate.enter()) for _ in range(turnstile.AT_ONCE + 3)]
    assert await entered(tasks) == [True] * turnstile.AT_ONCE + [False] * 3
    tasks[2].result().leave()
    tasks[2].result().leave()  # once more makes no more room
    assert await entered(tasks) == [True] * (turnstile.AT_ONCE + 1) + [False] * 2
    tasks[turnstile.AT_ONCE + 1].cancel()  # its caller has left
    tasks[0].result().leave()
    assert await entered(tasks) == [True] * len(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result().leave()
    more = [asyncio.ensure_future(gate.enter()) for _ in range(turnstile.AT_ONCE + 1)]
    assert sum(await entered(more)) == turnstile.AT_ONCE
    more[-1].cancel()


@inside_once
async def test_who_waits_for_something_else_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "LONGEST", 0.001)
    gate = Turnstile()
    places = [await gate.enter() for _ in range(3 * turnstile.AT_ONCE)]
    places[0].leave()
    monkeypatch.setattr(turnstile, "LONGEST", 3600.0)
    await asyncio.sleep(0.01)
    more = [asyncio.ensure_future(gate.enter()) for _ in range(turnstile.AT_ONCE + 1)]
    assert sum(await entered(more)) == turnstile.AT_ONCE
    more[-1].cancel()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["chat/m", "messages/m", "nobody/m"])
@inside_once
async def test_a_request_leaves_however_it_ends(model: str, stream: bool) -> None:
    """Answered or refused: none of them keeps a place, which would be free an hour later."""

    def script(asked: Request) -> list[Step]:
        speech = SPEECH["messages" if asked.target.endswith("messages") else "chat"]
        return [stream_head(), *map(chunk, speech.stream), LAST_CHUNK]

    async with Provider(script) as provider, Inside(CONFIG, provider) as gateway:
        for content in ("word " * bodies.LONG, 7):
            for _ in range(turnstile.AT_ONCE + 1):
                more = {"messages": [{"role": "user", "content": content}], "user": "x" * bodies.LONG}
                async with gateway.ask("chat", model, stream=stream, **more) as caller:
                    _, headers = await caller.head()
                    await caller.body(headers)
        assert gateway.gateway.services.turnstile._free._value == turnstile.AT_ONCE


@inside_once
async def test_who_waits_for_a_hook_or_an_upstream_holds_nobody_up() -> None:
    hook, upstream = Gate(), Gate()

    def script(asked: Request) -> list[Step]:
        return [wait(hook), respond({})] if asked.target == "/hook" else [wait(upstream), respond(SPEECH["chat"].whole)]

    config = CONFIG + '\nhooks: [{url: "UPSTREAM/hook", on: [request], timeout: 60s}]'
    requests = turnstile.AT_ONCE + 2
    async with Provider(script) as provider, Inside(config, provider) as gateway, asyncio.TaskGroup() as group:

        async def ask() -> None:
            async with gateway.ask("chat", "chat/m", user="x" * bodies.LONG) as caller:
                assert (await caller.head())[0] == 200

        for _ in range(requests):
            group.create_task(ask())
        await provider.seen(lambda: len(provider.requests) == requests)
        hook.open()
        await provider.seen(lambda: len(provider.requests) == 2 * requests)
        upstream.open()
