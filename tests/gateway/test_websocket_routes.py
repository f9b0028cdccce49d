"""Routing over a WebSocket: the next candidate takes over as over HTTP, and the connection goes on from there."""

from __future__ import annotations

from typing import Any

import pytest

from ..scripted import Provider
from . import test_affinity
from .inside import Inside, inside_once
from .sockets import Socket, connected
from .spoken import SHAPES
from .test_causes import Answer, Upstreams, config, filtered, refused, too_long
from .test_first_content import SILENT, configuration
from .test_retries import split, well


def texts(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


async def go_on(socket: Socket, first: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return await socket.ask(model="up/m", input="And?", previous_response_id=first[-1]["response"]["id"], store=False)


CAUSES = [("on_context_window", too_long, api) for api in SHAPES]
CAUSES += [("on_refusal", answer, api) for answer in (filtered, refused) for api in ("chat", "messages")]


@pytest.mark.parametrize(("policy", "answer", "api"), CAUSES)
@inside_once
async def test_fallback_by_cause(policy: str, answer: Answer, api: str) -> None:
    script = Upstreams(first=answer)
    async with Provider(script) as provider, Inside(config(f"{policy}: [up/a]", api), provider) as gateway, connected(gateway) as socket:
        events = await socket.ask(model="up/m", input="Hi", store=False)
        assert events[-1]["type"] == "response.completed"
        assert texts(events).startswith("Hello")
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert (await go_on(socket, events))[-1]["type"] == "response.completed"
    assert script.asked == ["first", "a"] * 2


@pytest.mark.parametrize("second", SHAPES)
@pytest.mark.parametrize("first", SHAPES)
@pytest.mark.parametrize("name", SILENT)
@inside_once
async def test_first_content(name: str, first: str, second: str) -> None:
    seen: list[str] = []
    with Provider(split({"bad": SILENT[name], "good": well}, seen)) as provider:
        async with Inside(configuration(first, second), provider) as gateway, connected(gateway) as socket:
            events = await socket.ask(model="bad/m", input="Hi", store=False)
            assert events[-1]["type"] == "response.completed"
            assert texts(events).startswith("Hello")
            await provider.seen(lambda: provider.connections[0].closed_by == "peer")
    assert seen == ["bad", "good"]


@pytest.mark.parametrize("api", SHAPES)
@inside_once
async def test_a_conversation_stays(api: str) -> None:
    """With nothing but what is new in its messages, and from another connection with all of it."""
    script = test_affinity.Upstreams()
    async with Provider(script) as provider, Inside(test_affinity.config(api), provider) as gateway:
        for topic in range(12):
            async with connected(gateway) as socket:
                opening = [{"role": "user", "content": f"About {topic}."}]
                events = await socket.ask(model="up/m", input=opening, store=False)
                for _ in range(2):
                    events = await go_on(socket, events)
            async with connected(gateway) as socket:
                history = [*opening, *events[-1]["response"]["output"], {"role": "user", "content": "And?"}]
                await socket.ask(model="up/m", input=history, store=False)
    by_topic = [set(script.names[n : n + 4]) for n in range(0, len(script.names), 4)]
    assert [len(names) for names in by_topic] == [1] * 12
    assert len(set().union(*by_topic)) > 1
