"""`timeouts.first_content`: what brings no content in time is left for the next candidate, whatever else it sends."""

from __future__ import annotations

from typing import Any

import pytest

from ..scripted import LAST_CHUNK, Gate, Provider, Step, Steps, chunk, until_closed, wait
from .inside import Inside, inside_once
from .spoken import APIS, SHAPES
from .test_retries import frames, split, well


def configuration(first: str, second: str | None, more: str = "", policy: str = "") -> str:
    """bad/m on the first API, and then good/m on the second; None: nothing comes after bad/m."""
    policy = f"retry_policy: {{max_attempts: 3 {', fallback_models: [good/m]' if second else ''} {policy}}}"
    entries = [f'  - {{model: bad/m, base_url: "UPSTREAM/bad", apis: [{APIS[first]}], access_key: k, timeouts: TIMES, {policy}}}']
    if second:
        entries.append(f'  - {{model: good/m, base_url: "UPSTREAM/good", apis: [{APIS[second]}], access_key: k}}')
    return "\n".join(["model_providers:", *entries, more]).replace("TIMES", "{first_content: 150ms, idle: 20s}")


def nothing(speech: Any, streamed: bool) -> list[Step]:
    """Everything that is not content."""
    return [*frames(*speech.opening, b": a comment\n\n", speech.word(""), b": another\n\n", speech.word("")), until_closed]


SILENT = {
    "no-head": lambda speech, streamed: [until_closed],
    "head": lambda speech, streamed: [*frames(), until_closed],
    "no-content": nothing,
}


@pytest.mark.parametrize("second", SHAPES)
@pytest.mark.parametrize("first", SHAPES)
@pytest.mark.parametrize("name", SILENT)
@inside_once
async def test_the_next_candidate_takes_over(name: str, first: str, second: str) -> None:
    """At once, whatever the policy says of a second attempt; the slow call ends."""
    seen: list[str] = []
    for client in SHAPES:
        with Provider(split({"bad": SILENT[name], "good": well}, seen)) as provider:
            async with Inside(configuration(first, second), provider) as gateway, gateway.ask(client, "bad/m", stream=True) as caller:
                status, headers = await caller.head()
                said = await caller.body(headers)
                assert (status, headers["x-dragoman-upstream"]) == (200, "good/m")
                assert (said.count(b"Hello") > 0, said.index(b"Hello") < said.index(b" world")) == (True, True)
                await gateway.until(lambda: gateway.lines)
                assert "timeout_first_content" in gateway.lines[0]["tried"][0]
                await provider.seen(lambda: provider.connections[0].closed_by == "peer")
    assert seen == ["bad", "good"] * 3


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_content_ends_the_wait(shape: str) -> None:
    """What pauses behind its first word is the idle timer's business."""
    gate = Gate()

    def slow(speech: Any, streamed: bool) -> Steps:
        return [
            *frames(*speech.opening, speech.words[0]),
            wait(gate),
            *map(chunk, [*speech.words[1:], *speech.ending]),
            LAST_CHUNK,
        ]

    with Provider(split({"bad": slow, "good": well})) as provider:
        async with Inside(configuration(shape, "chat"), provider) as gateway, gateway.ask("chat", "bad/m", stream=True) as caller:
            _, headers = await caller.head()
            await caller.until(b"Hello")
            gateway.gateway.loop.call_later(0.3, gate.open)
            assert b"[DONE]" in await caller.until(b"[DONE]")
            assert headers["x-dragoman-upstream"] == "bad/m"
    assert len(provider.requests) == 1


@inside_once
async def test_a_stream_that_was_begun_by_time_goes_on_with_the_next() -> None:
    more = "keep_alive: {stream: 30ms, begin_after: 30ms}"
    with Provider(split({"bad": nothing, "good": well})) as provider:
        async with Inside(configuration("chat", "messages", more), provider) as gateway:
            async with gateway.ask("chat", "bad/m", stream=True) as caller:
                status, headers = await caller.head()
                said = await caller.body(headers)
                assert status == 200
                assert said.startswith(b":")
                assert said.count(b"Hello") == 1
                assert b"[DONE]" in said
            await gateway.until(lambda: gateway.lines)
            assert gateway.lines[0]["attempts"] == 2


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_without_a_next_one_it_is_a_timeout(shape: str) -> None:
    with Provider(split({"bad": nothing})) as provider:
        async with Inside(configuration(shape, None), provider) as gateway, gateway.ask(shape, "bad/m", stream=True) as caller:
            status, headers = await caller.head()
            assert (status, b"(first_content)" in await caller.body(headers)) == (504, True)
            await gateway.until(lambda: gateway.idle)
            assert gateway.lines[0]["timer"] == "first_content"
            assert "without content for 0.15 s" in gateway.gateway.router.explain(shape, "bad/m")[0]
    assert len(provider.requests) == 1


@pytest.mark.parametrize("slow", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_a_whole_answer_that_is_collected_from_a_stream(shape: str, slow: bool) -> None:
    gate = Gate()

    def script(speech: Any, streamed: bool) -> Steps:
        first, *rest = [*speech.words, *speech.ending]
        head = [*frames(*speech.opening)] if slow else [*frames(*speech.opening, first)]
        return [*head, wait(gate), *map(chunk, rest), LAST_CHUNK]

    config = configuration(shape, "chat").replace("access_key: k,", "access_key: k, capabilities: {whole_answers: never},", 1)
    with Provider(split({"bad": script, "good": well})) as provider:
        async with Inside(config, provider) as gateway, gateway.ask("chat", "bad/m") as caller:
            gateway.gateway.loop.call_later(0.5, gate.open)
            status, headers = await caller.head()
            assert (status, headers["x-dragoman-upstream"]) == (200, "good/m" if slow else "bad/m")


@inside_once
async def test_an_answer_that_is_not_streamed_has_no_first_content() -> None:
    gate = Gate()
    with Provider(split({"bad": lambda speech, streamed: [wait(gate), *well(speech, streamed)], "good": well})) as provider:
        async with Inside(configuration("chat", "chat"), provider) as gateway, gateway.ask("chat", "bad/m") as caller:
            gateway.gateway.loop.call_later(0.3, gate.open)
            status, headers = await caller.head()
            assert (status, headers["x-dragoman-upstream"]) == (200, "bad/m")
