"""Clients that leave: whatever goes on for them ends within a second, in every phase; what it has cost so far is settled."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dragoman.proxy.exchange import attempt

from ..scripted import Gate, Provider, Request, Steps, frames, respond, until_closed, wait
from .inside import CONFIG, Caller, Inside, descriptors, inside
from .spoken import SHAPE_AT, SHAPES, SPEECH

pytestmark = pytest.mark.slow

AT_ONCE = 40


@dataclass(frozen=True)
class Phase:
    """Where a request stands when its client leaves."""

    script: Callable[[Any], Steps]  # of the upstream's Speech
    streamed: bool = True
    words: bool = False  # the client has the first words; else it leaves as soon as the upstream has the request


PHASES = {
    "headers": Phase(lambda speech: [until_closed]),
    "headers-of-a-whole-answer": Phase(lambda speech: [until_closed], streamed=False),
    "body": Phase(lambda speech: [respond(speech.whole)[:-10], until_closed], streamed=False),
    "before-content": Phase(lambda speech: [*frames(*speech.opening), until_closed]),
    "streaming": Phase(lambda speech: [*frames(*speech.opening, *speech.words), until_closed], words=True),
    "in-an-event": Phase(lambda speech: [*frames(*speech.opening, *speech.words, b'data: {"id'), until_closed], words=True),
    "linger": Phase(lambda speech: [*frames(*speech.opening, *speech.words, *speech.ending[:-1]), until_closed], words=True),
}


async def said(caller: Caller) -> None:
    status, _ = await caller.head()
    assert status == 200
    await caller.until(b" world")


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("upstream", SHAPES)
@pytest.mark.parametrize("client", SHAPES)
@pytest.mark.parametrize("phase", PHASES)
@inside
async def test_leaving(monkeypatch: pytest.MonkeyPatch, phase: str, client: str, upstream: str, reset: bool) -> None:
    """No timer ends it: all are longer than this test waits."""
    monkeypatch.setattr(attempt, "LINGER", 1000.0)
    at = PHASES[phase]
    async with Provider(lambda request: at.script(SPEECH[SHAPE_AT[request.target]])) as provider, Inside(CONFIG, provider) as gateway:
        async with gateway.ask(client, f"{upstream}/m", stream=at.streamed) as caller:
            await provider.seen(lambda: provider.requests)
            if at.words:
                await said(caller)
            caller.leave(reset)
            await provider.seen(lambda: provider.connections[0].closed_by == "peer")
            await gateway.until(lambda: gateway.idle and gateway.lines)
        (line,) = gateway.lines
        assert line["client_left"] is True
        assert "error" not in line
        assert len(provider.requests) == 1
        if at.words and upstream == "messages":  # its stream begins with the tokens that were read
            assert line["tokens"]["input"] == 12


@inside
async def test_while_connecting() -> None:
    """The upstream has accepted, and never answers the TLS handshake."""
    with Provider([], on_connect=[until_closed]) as provider:
        url = provider.url.replace("http://127.0.0.1", "https://localhost")
        config = CONFIG.replace("UPSTREAM", url).replace("access_key:", "timeouts: {connect: 1h}, access_key:")
        async with Inside(config) as gateway, gateway.ask("chat", "chat/m", stream=True) as caller:
            await provider.seen(lambda: provider.connections)
            caller.leave()
            await provider.seen(lambda: provider.connections[0].closed_by == "peer")
            await gateway.until(lambda: gateway.idle)


@inside
async def test_while_waiting_for_the_next_attempt() -> None:
    policy = "{max_attempts: 5, backoff: {base: 1h, max: 1h}}"
    config = CONFIG.replace("access_key:", f"retry_policy: {policy}, access_key:")
    async with Provider([respond({}, 503)]) as provider, Inside(config, provider) as gateway, gateway.ask("chat", "chat/m") as caller:
        await provider.seen(lambda: provider.requests)
        await gateway.until(lambda: next(iter(gateway.gateway.exchanges)).attempts[0].error)
        caller.leave()
        await gateway.until(lambda: gateway.idle)
        assert len(provider.requests) == 1


@inside
async def test_a_large_request_half_sent() -> None:
    """The upstream takes no more of the body."""
    with Provider([], on_connect=[until_closed]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.ask("chat", "chat/m", padding="x" * 20_000_000) as caller:
            await provider.seen(lambda: provider.connections)
            await gateway.until(lambda: gateway.gateway.exchanges)
            caller.leave()
            await provider.seen(lambda: provider.connections[0].closed_by == "peer")
            await gateway.until(lambda: gateway.idle)


@inside
async def test_storm() -> None:
    """Many streams, left at any place, leave nothing behind: no descriptor, no task, no connection."""
    gate = Gate()

    def script(request: Request) -> Steps:
        speech = SPEECH[SHAPE_AT[request.target]]
        return [*frames(*speech.opening, *speech.words), wait(gate)]

    async with Provider(script) as provider, Inside(CONFIG, provider) as gateway:

        async def leave(number: int) -> None:
            client, upstream = SHAPES[number % 3], SHAPES[number // 3 % 3]
            async with gateway.ask(client, f"{upstream}/m", stream=True) as caller:
                if number % 4:
                    await said(caller)
                caller.leave(reset=number % 2 == 0)

        async def storm(rounds: int) -> None:
            for _ in range(rounds):
                await asyncio.gather(*map(leave, range(AT_ONCE)))
            await gateway.until(lambda: gateway.idle and gateway.server.connections == 0)
            await provider.seen(lambda: all(connection.closed_by for connection in provider.connections))

        await storm(1)  # what is made at first use, and what other tests left
        gc.collect()
        before = descriptors(), len(asyncio.all_tasks())
        await storm(4)
        await gateway.until(lambda: descriptors() <= before[0] and len(asyncio.all_tasks()) <= before[1])
        assert len(gateway.lines) == 5 * AT_ONCE
        assert all(line.get("client_left") for line in gateway.lines)
