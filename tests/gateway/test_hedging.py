"""`routing.hedge_after`: a candidate that brings no content in time is not left, but another one is asked beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from dragoman import conf

from ..scripted import LAST_CHUNK, Gate, Provider, Step, Steps, chunk, close, respond, until_closed, wait
from .inside import Inside, inside_once
from .spoken import APIS, ASKED, PATHS, SHAPES
from .test_first_content import SILENT
from .test_retries import BEGINS, UNCOMMITTED, frames, split, well
from .wire import request

PRICES = 'prices: {"*": {input: 1000000, output: 1000000}}'


def configuration(first: str, second: str | None, more: str = "", entry: str = "") -> str:
    """bad/m on the first API and then good/m on the second; None: nothing comes after bad/m."""
    policy = "retry_policy: {max_attempts: 1" + (", fallback_models: [good/m]}" if second else "}")
    entries = [f'  - {{model: bad/m, base_url: "UPSTREAM/bad", apis: [{APIS[first]}], access_key: k, {policy} {entry}}}']
    if second:
        entries.append(f'  - {{model: good/m, base_url: "UPSTREAM/good", apis: [{APIS[second]}], access_key: k {entry}}}')
    return "\n".join(["model_providers:", *entries, PRICES, more or "routing: {hedge_after: 50ms}"])


@pytest.mark.parametrize("second", SHAPES)
@pytest.mark.parametrize("first", SHAPES)
@pytest.mark.parametrize("name", SILENT)
@inside_once
async def test_the_second_one_answers(name: str, first: str, second: str) -> None:
    """The first is cancelled at once, and is charged."""
    seen: list[str] = []
    for client in SHAPES:
        with Provider(split({"bad": SILENT[name], "good": well}, seen)) as provider:
            async with Inside(configuration(first, second), provider) as gateway:
                async with gateway.call(
                    request(PATHS[client], ASKED[client] | {"model": "bad/m", "stream": True, "store": False})
                ) as caller:
                    status, headers = await caller.head()
                    said = await caller.body(headers)
                await provider.seen(lambda: provider.connections[0].closed_by == "peer")
                await gateway.until(lambda: gateway.idle and gateway.lines)
                (line,) = gateway.lines
                metrics = gateway.gateway.metrics.text()
        assert (status, headers["x-dragoman-upstream"]) == (200, "good/m")
        assert (said.count(BEGINS[client]), said.count(b"Hello")) == (1, said.count(b" world"))
        assert (line["hedge"], line["attempts"], line["status"], "error" in line) == ("second", 2, 200, False)
        assert ["overtaken" in tried for tried in line["tried"]] == [True, False]
        assert line["tokens"]["input"] > 12
        assert line["cost"] == line["tokens"]["input"] + line["tokens"]["output"]
        assert b'dragoman_hedges_total{won="second"} 1.0' in metrics
        assert b"dragoman_fallbacks_total 0.0" in metrics
        assert b'dragoman_tokens_total{kind="input"} %d.0' % line["tokens"]["input"] in metrics
    assert sorted(seen) == ["bad"] * 3 + ["good"] * 3  # which of two threads writes first depends on the machine


@pytest.mark.parametrize("second", SHAPES)
@pytest.mark.parametrize("first", SHAPES)
@inside_once
async def test_the_first_one_answers(first: str, second: str) -> None:
    gate = Gate()

    def slow(speech: Any, streamed: bool) -> Steps:
        return [wait(gate), *well(speech, streamed)]

    def late(speech: Any, streamed: bool) -> Iterator[Step]:
        yield from frames(*speech.opening)
        gate.open()
        yield until_closed

    with Provider(split({"bad": slow, "good": late})) as provider:
        async with Inside(configuration(first, second), provider) as gateway:
            async with gateway.ask("chat", "bad/m", stream=True) as caller:
                _, headers = await caller.head()
                said = await caller.body(headers)
            await provider.seen(lambda: provider.connections[1].closed_by == "peer")
            await gateway.until(lambda: gateway.idle and gateway.lines)
            assert headers["x-dragoman-upstream"] == "bad/m"
            assert (said.count(b"Hello"), said.count(b" world"), said.count(b"[DONE]")) == (1, 1, 1)
            assert gateway.lines[0]["hedge"] == "first"
            assert gateway.lines[0]["ms_total"] > gateway.lines[0]["ms_first"] > 0


@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_content_of_both_at_the_same_time(client: str) -> None:
    """One of them answers, whole; nothing of the other is seen."""
    gates = [Gate() for _ in range(10)]
    count = 0

    def script(speech: Any, streamed: bool) -> Iterator[Step]:
        nonlocal count
        gate, second = gates[count // 2], count % 2
        count += 1
        yield from frames(*speech.opening)
        if second:
            gate.open()
        yield wait(gate)
        yield b"".join([*map(chunk, [*speech.words, *speech.ending]), LAST_CHUNK])

    with Provider(split({"bad": script, "good": script})) as provider:
        async with Inside(configuration("chat", "messages"), provider) as gateway:
            for _ in gates:
                async with gateway.ask(client, "bad/m", stream=True) as caller:
                    _, headers = await caller.head()
                    said = await caller.body(headers)
                once = {"chat": 1, "messages": 1, "responses": said.count(b"Hello")}[client]
                assert (said.count(BEGINS[client]), said.count(b"Hello"), said.count(b" world")) == (1, once, once)
            await gateway.until(lambda: gateway.idle)


EFFECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "whole": ("chat", {"stream": False}),
    "store": ("chat", {"store": True}),
    "search": ("chat", {"web_search_options": {}}),
    "web": ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    "mcp": ("messages", {"mcp_servers": [{"type": "url", "url": "https://e.example", "name": "e"}]}),
    "native": ("responses", {}),
    "code": ("responses", {"store": False, "tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}),
    "approval": ("responses", {"store": False, "input": [{"type": "mcp_approval_response", "approval_request_id": "a", "approve": True}]}),
    "unread": ("messages", {"messages": [{"role": "user", "content": [{"type": 1}]}]}),
}
CHANGED: dict[str, tuple[str, str]] = {  # the API, and what the operator changes of each request
    "set store": ("chat", "set: {store: true}"),
    "set background": ("responses", "set: {background: true}"),
    "set search": ("chat", "set: {web_search_options.search_context_size: low}"),
    "set plugins": ("chat", "set: {plugins: [{id: web}]}"),
    "set tools": ("messages", "set: {tools: [{type: web_search_20250305, name: web_search}]}"),
    "remove store": ("responses", "remove: [store]"),
}


@pytest.mark.parametrize("name", [*EFFECTS, *CHANGED])
@inside_once
async def test_what_has_effects_is_asked_once(name: str) -> None:
    client, more = EFFECTS.get(name) or (CHANGED[name][0], {"store": False})
    entry = f", request: {{{CHANGED[name][1]}}}" if name in CHANGED else ""
    gate, seen = Gate(), []  # type: ignore[var-annotated]
    with Provider(split({"bad": lambda speech, streamed: [wait(gate), *well(speech, streamed)], "good": well}, seen)) as provider:
        async with Inside(configuration(client, client, entry=entry), provider) as gateway:
            async with gateway.ask(client, "bad/m", **({"stream": True} | more)) as caller:
                gateway.gateway.loop.call_later(0.2, gate.open)
                status, headers = await caller.head()
                await caller.body(headers)
            await gateway.until(lambda: gateway.lines)
            assert (status, "hedge" in gateway.lines[0]) == (200, False)
    assert seen == ["bad"]


@pytest.mark.parametrize("upstream", ["chat", "messages"])
@inside_once
async def test_a_response_that_the_gateway_stores_is_stored_once(upstream: str) -> None:
    with Provider(split({"bad": SILENT["no-content"], "good": well})) as provider:
        async with Inside(configuration("chat", upstream), provider) as gateway:
            async with gateway.ask("responses", "bad/m", stream=True) as caller:
                _, headers = await caller.head()
                said = await caller.body(headers)
            last = json.loads(said.strip().rpartition(b"data: ")[2])
            async with gateway.call(f"GET /v1/responses/{last['response']['id']} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) as caller:
                status, headers = await caller.head()
                stored = json.loads(await caller.body(headers))
    assert (status, stored["output"]) == (200, last["response"]["output"])


@pytest.mark.parametrize("when", ["before", "after"])
@inside_once
async def test_a_reload_in_the_middle(when: str) -> None:
    """Neither who is asked nor who is cancelled changes: before the second one is asked, and after."""
    gate, gone = Gate(), conf.loads("model_providers: [{model: demo/*}]", environ={})
    count = 1 if when == "before" else 2
    with Provider(split({"bad": SILENT["no-content"], "good": lambda speech, streamed: [wait(gate), *well(speech, streamed)]})) as provider:
        async with Inside(configuration("chat", "messages"), provider) as gateway, gateway.ask("chat", "bad/m", stream=True) as caller:
            await provider.seen(lambda: len(provider.requests) >= count)
            gateway.gateway.adopt(gone)
            gate.open()
            status, headers = await caller.head()
            said = await caller.body(headers)
            await provider.seen(lambda: provider.connections[0].closed_by == "peer")
            await gateway.until(lambda: gateway.idle and gateway.lines)
            assert (status, said.count(b"Hello"), said.count(b"[DONE]"), gateway.lines[0]["hedge"]) == (200, 1, 1, "second")


# ---- faults ----


@pytest.mark.parametrize("second", SHAPES)
@pytest.mark.parametrize("name", UNCOMMITTED)
@inside_once
async def test_a_second_one_that_fails_harms_nothing(name: str, second: str) -> None:
    gate = Gate()

    def failing(speech: Any, streamed: bool) -> Iterator[Step]:
        gate.open()
        yield from UNCOMMITTED[name](speech, streamed)

    slow = SHAPES[(SHAPES.index(second) + 1) % 3]
    with Provider(split({"bad": lambda speech, streamed: [wait(gate), *well(speech, streamed)], "good": failing})) as provider:
        async with Inside(configuration(slow, second), provider) as gateway:
            async with gateway.ask("chat", "bad/m", stream=True) as caller:
                status, headers = await caller.head()
                said = await caller.body(headers)
            await gateway.until(lambda: gateway.idle and gateway.lines)
            assert (status, headers["x-dragoman-upstream"], gateway.lines[0]["hedge"]) == (200, "bad/m", "first")
            assert (said.count(b"Hello"), said.count(b"[DONE]")) == (1, 1)


@pytest.mark.parametrize("first", SHAPES)
@pytest.mark.parametrize("name", UNCOMMITTED)
@inside_once
async def test_a_first_one_that_fails_late_harms_nothing(name: str, first: str) -> None:
    fail, answer = Gate(), Gate()

    def failing(speech: Any, streamed: bool) -> Iterator[Step]:
        yield wait(fail)
        answer.open()
        yield from UNCOMMITTED[name](speech, streamed)

    def second(speech: Any, streamed: bool) -> Iterator[Step]:
        fail.open()
        yield wait(answer)
        yield from well(speech, streamed)

    with Provider(split({"bad": failing, "good": second})) as provider:
        async with Inside(configuration(first, "chat"), provider) as gateway:
            async with gateway.ask("chat", "bad/m", stream=True) as caller:
                status, headers = await caller.head()
                said = await caller.body(headers)
            await gateway.until(lambda: gateway.idle and gateway.lines)
            assert b"dragoman_fallbacks_total 0.0" in gateway.gateway.metrics.text()  # the second one had begun
            assert (status, headers["x-dragoman-upstream"]) == (200, "good/m")
            assert (said.count(b"Hello"), said.count(b"[DONE]")) == (1, 1)


@inside_once
async def test_a_first_one_that_is_refused_in_the_moment_of_the_others_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its failure is seen by the exchange when the other has begun to answer already."""
    fail, answer, wait_for = Gate(), Gate(), asyncio.wait

    def second(speech: Any, streamed: bool) -> Iterator[Step]:
        fail.open()
        yield wait(answer)
        yield from well(speech, streamed)

    async def late(tasks: Any, **more: Any) -> Any:
        done, waiting = await wait_for(tasks, **more)
        if waiting and "return_when" in more:
            (exchange,) = gateway.gateway.exchanges
            answer.open()
            await gateway.until(lambda: exchange.race is not None and exchange.race.winner)
        return done, waiting

    refused = respond({"error": {"message": "No such thing.", "type": "invalid_request_error"}}, 400)
    with Provider(split({"bad": lambda speech, streamed: [wait(fail), refused], "good": second})) as provider:
        async with Inside(configuration("chat", "chat"), provider) as gateway:
            monkeypatch.setattr(asyncio, "wait", late)
            async with gateway.ask("chat", "bad/m", stream=True) as caller:
                status, headers = await caller.head()
                said = await caller.body(headers)
            await gateway.until(lambda: gateway.idle and gateway.lines)
            assert (status, said.count(b"Hello"), said.count(b"[DONE]"), b"No such thing" in said) == (200, 1, 1, False)
            assert (gateway.lines[0]["hedge"], "error" in gateway.lines[0]) == ("second", False)


@inside_once
async def test_both_fail() -> None:
    gate = Gate()

    def second(speech: Any, streamed: bool) -> Iterator[Step]:
        gate.open()
        yield respond({"error": {"message": "No."}}, 500)

    with Provider(split({"bad": lambda speech, streamed: [wait(gate), close], "good": second})) as provider:
        async with Inside(configuration("chat", "chat"), provider) as gateway:
            async with gateway.ask("chat", "bad/m", stream=True) as caller:
                status, headers = await caller.head()
                answer = await caller.body(headers)
            await gateway.until(lambda: gateway.idle and gateway.lines)
            assert (status >= 500, b"All upstreams failed" in answer, gateway.lines[0]["hedge"]) == (True, True, "none")
    assert len(provider.requests) == 2


@inside_once
async def test_a_request_that_is_refused_ends_both() -> None:
    refused = respond({"error": {"message": "No such thing.", "type": "invalid_request_error"}}, 400)
    with Provider(split({"bad": SILENT["no-head"], "good": lambda speech, streamed: [refused]})) as provider:
        async with Inside(configuration("chat", "chat"), provider) as gateway:
            async with gateway.ask("chat", "bad/m", stream=True) as caller:
                status, headers = await caller.head()
                assert (status, b"No such thing." in await caller.body(headers)) == (400, True)
                assert headers["x-dragoman-upstream"] == "good/m"
            await provider.seen(lambda: provider.connections[0].closed_by == "peer")
            await gateway.until(lambda: gateway.idle)


@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_an_answer_that_breaks_off_is_not_taken_over(client: str) -> None:
    def broken(speech: Any, streamed: bool) -> Steps:
        return [*frames(*speech.opening, speech.words[0]), close]

    with Provider(split({"bad": SILENT["head"], "good": broken})) as provider:
        async with Inside(configuration("messages", "chat"), provider) as gateway:
            async with gateway.ask(client, "bad/m", stream=True) as caller:
                _, headers = await caller.head()
                said = await caller.body(headers)
            await gateway.until(lambda: gateway.idle and gateway.lines)
            assert (b"error" in said, b" world" in said, gateway.lines[0]["error"]) == (True, False, "upstream_stream_interrupted")


@pytest.mark.parametrize("reset", [False, True])
@inside_once
async def test_a_caller_that_leaves_ends_both(reset: bool) -> None:
    with Provider(split({"bad": SILENT["no-content"], "good": SILENT["no-content"]})) as provider:
        async with Inside(configuration("chat", "messages"), provider) as gateway:
            async with gateway.ask("chat", "bad/m", stream=True) as caller:
                await provider.seen(lambda: len(provider.requests) == 2)
                caller.leave(reset)
                await provider.seen(lambda: all(connection.closed_by == "peer" for connection in provider.connections))
            await gateway.until(lambda: gateway.idle and gateway.lines)
            assert (gateway.lines[0]["status"], gateway.lines[0]["hedge"]) == (499, "none")


@inside_once
async def test_a_request_that_takes_too_long_ends_both() -> None:
    config = "listeners: [{type: model, address: 127.0.0.1, timeout: 200ms}]\n" + configuration("chat", "messages")
    with Provider(split({"bad": SILENT["head"], "good": SILENT["no-head"]})) as provider:
        async with Inside(config, provider) as gateway:
            async with gateway.ask("chat", "bad/m", stream=True) as caller:
                status, headers = await caller.head()
                await caller.body(headers)
            await provider.seen(lambda: all(connection.closed_by == "peer" for connection in provider.connections))
            await gateway.until(lambda: gateway.idle)
    assert status == 504


@inside_once
async def test_explain() -> None:
    with Provider([]) as provider:
        async with Inside(configuration("chat", "messages"), provider) as gateway:
            lines = gateway.gateway.router.explain("chat", "bad/m")
            assert [line.endswith("another one is asked as well when a stream has no content for 0.05 s") for line in lines] == [True, True]
            assert "another one" not in gateway.gateway.router.explain("chat", "good/m")[0]
