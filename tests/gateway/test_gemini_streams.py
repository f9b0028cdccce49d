"""Streams of gemini callers and upstreams that are continued, hedged and resumed. Nothing but data lines and blank lines is sent for it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dragoman.codecs.continuation import INSTRUCTION

from ..scripted import LAST_CHUNK, Gate, Provider, Request, Step, Steps, chunk, close, sse, stream_head, until_closed, wait
from .gemini_stage import HI, USAGE, candidate
from .inside import Caller, Inside, inside_once
from .spoken import ASKED, PATHS, SPEECH
from .upstreams import JSON
from .wire import request

APIS = {"chat": "chat_completions", "messages": "messages", "responses": "responses", "gemini": "gemini"}
STREAM = "/v1beta/models/{}:streamGenerateContent"


def word(shape: str, text: str) -> bytes:
    return sse(candidate({"text": text})) if shape == "gemini" else SPEECH[shape].word(text)


def opening(shape: str) -> list[bytes]:
    return [] if shape == "gemini" else SPEECH[shape].opening


def ending(shape: str) -> list[bytes]:
    return [sse(candidate({"text": ""}, finish="STOP", usageMetadata=USAGE))] if shape == "gemini" else SPEECH[shape].ending


def configuration(more: str = "", **models: str) -> str:
    """models: by their first names, the API that each speaks; the second is the first one's fallback."""
    found = ["model_providers:"]
    first, *others = models
    for name, shape in models.items():
        fallback = ", ".join(f"{other}/m" for other in others)
        policy = f"retry_policy: {{max_attempts: 1, continue: text, fallback_models: [{fallback}]}}" if name == first else ""
        base = f"UPSTREAM/{name}/v1beta" if shape == "gemini" else f"UPSTREAM/{name}/v1"
        found.append(f'  - {{model: {name}/m, base_url: "{base}", apis: [{APIS[shape]}], access_key: k, timeouts: {{idle: 5s}}, {policy}}}')
    return "\n".join([*found, more])


def playing(**scripts: list[Step]) -> Any:
    """By the first part of the path what is answered, and what each was asked: (script, asked)."""
    asked: list[tuple[str, JSON]] = []

    def script(request: Request) -> Steps:
        name = request.target.split("/")[1]
        asked.append((name, request.json))
        return [stream_head(), *scripts[name]]

    return script, asked


def calling(shape: str, model: str, query: str = "?alt=sse", **headers: str) -> bytes:
    if shape == "gemini":
        return request(STREAM.format(model) + query, HI, **headers)
    return request(PATHS[shape], ASKED[shape] | {"model": model, "stream": True, "store": False}, **headers)


async def whole(caller: Caller) -> tuple[dict[str, str], bytes]:
    status, headers = await caller.head()
    said = await caller.body(headers)
    assert status == 200, said
    return headers, said


def chunks(said: bytes) -> list[JSON]:
    """The chunks of a gemini stream, which has data lines and blank lines only."""
    if said.startswith(b"["):
        return json.loads(said)  # type: ignore[no-any-return]
    lines = [line for line in said.splitlines() if line.strip()]
    assert all(line.startswith(b"data: {") for line in lines), said
    return [json.loads(line[6:]) for line in lines]


def text_of(found: list[JSON]) -> str:
    return "".join(part.get("text", "") for one in found for part in one["candidates"][0]["content"]["parts"])


PAIRS = [("gemini", "gemini", "messages"), ("gemini", "chat", "gemini"), ("gemini", "messages", "responses"), ("chat", "gemini", "gemini")]


@pytest.mark.parametrize("query", ["?alt=sse", ""])
@pytest.mark.parametrize(("client", "first", "second"), PAIRS)
@inside_once
async def test_an_answer_goes_on(client: str, first: str, second: str, query: str) -> None:
    script, asked = playing(
        bad=[*map(chunk, [*opening(first), word(first, "Hello")]), close],
        good=[*map(chunk, [*opening(second), word(second, " world"), *ending(second)]), LAST_CHUNK],
    )
    with Provider(script) as provider:
        async with (
            Inside(configuration(bad=first, good=second), provider) as gateway,
            gateway.call(calling(client, "bad/m", query)) as caller,
        ):
            _, said = await whole(caller)
            await gateway.until(lambda: gateway.idle and gateway.lines)
            assert (gateway.lines[0]["continued"], gateway.lines[0]["status"]) == (1, 200)
    assert [name for name, _ in asked] == ["bad", "good"]
    assert INSTRUCTION in json.dumps(asked[1][1])
    if client == "gemini":
        found = chunks(said)
        assert text_of(found) == "Hello world"
        assert len({one["responseId"] for one in found}) == 1
        assert [one["candidates"][0].get("finishReason") for one in found].count("STOP") == 1
    else:
        assert b": continued by good/m\n\n" in said
        assert (said.count(b'"Hello"'), said.count(b'" world"')) == (1, 1)


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3.8-flash"])
@inside_once
async def test_a_model_that_goes_on_from_its_turn_is_sent_nothing_else(model: str) -> None:
    script, asked = playing(
        bad=[*map(chunk, [*opening("chat"), word("chat", "Hello")]), close],
        good=[*map(chunk, [word("gemini", " world"), *ending("gemini")]), LAST_CHUNK],
    )
    config = configuration(bad="chat", good="gemini").replace("good/m", f"good/{model}")
    async with Provider(script) as provider, Inside(config, provider) as gateway, gateway.call(calling("gemini", "bad/m")) as caller:
        _, said = await whole(caller)
    assert text_of(chunks(said)) == "Hello world"
    turns = [(turn["role"], turn["parts"][0]["text"]) for turn in asked[1][1]["contents"]]
    assert turns == [("user", "Hi"), ("model", "Hello")] + ([("user", INSTRUCTION)] if model == "gemini-3.8-flash" else [])


@pytest.mark.parametrize("query", ["?alt=sse", ""])
@pytest.mark.parametrize("first", APIS)
@inside_once
async def test_nobody_goes_on(first: str, query: str) -> None:
    """Then it ends with an error, and the connection is closed without HTTP's end."""
    script, _ = playing(bad=[*map(chunk, [*opening(first), word(first, "Hello")]), close])
    with Provider(script) as provider:
        async with Inside(configuration(bad=first), provider) as gateway, gateway.call(calling("gemini", "bad/m", query)) as caller:
            await caller.head()
            said = await caller.reader.read()
    assert b"Hello" in said
    assert b'"error":{"code":502' in said
    assert not said.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(("client", "first", "second"), PAIRS)
@inside_once
async def test_hedging(client: str, first: str, second: str) -> None:
    """The second one answers; the first, which is silent, is left at once."""
    script, asked = playing(
        bad=[*map(chunk, opening(first)), until_closed],
        good=[*map(chunk, [*opening(second), word(second, "Hello"), word(second, " world"), *ending(second)]), LAST_CHUNK],
    )
    with Provider(script) as provider:
        async with Inside(configuration("routing: {hedge_after: 50ms}", bad=first, good=second), provider) as gateway:
            async with gateway.call(calling(client, "bad/m")) as caller:
                headers, said = await whole(caller)
            await provider.seen(lambda: provider.connections[0].closed_by == "peer")
            await gateway.until(lambda: gateway.idle and gateway.lines)
            assert (gateway.lines[0]["hedge"], headers["x-dragoman-upstream"]) == ("second", "good/m")
    assert [name for name, _ in asked] == ["bad", "good"]
    if client == "gemini":
        assert text_of(chunks(said)) == "Hello world"
    else:
        assert (said.count(b'"Hello"'), said.count(b'" world"')) == (1, 1)


@pytest.mark.parametrize("first", APIS)
@inside_once
async def test_a_stream_is_resumed_by_the_number_of_its_chunk(first: str) -> None:
    """Google's SDKs fail at `id` lines: the caller counts the chunks."""
    gate = Gate()
    rest = [word(first, "world"), *ending(first)]
    script, asked = playing(up=[*map(chunk, [*opening(first), word(first, "Hello ")]), wait(gate), *map(chunk, rest), LAST_CHUNK])
    async with Provider(script) as provider, Inside(configuration(up=first), provider) as gateway:
        async with gateway.call(calling("gemini", "up/m", X_Dragoman_Resume="1")) as caller:
            _, headers = await caller.head()
            begun = chunks(await caller.until(b"Hello "))
            caller.leave()
        token = headers["x-dragoman-resume"]
        assert re.fullmatch("[0-9a-f]{32}", token)
        async with gateway.call(calling("gemini", "up/m", Last_Event_ID=f"{token}:{len(begun) - 1}")) as caller:
            gate.open()
            _, said = await whole(caller)
        await gateway.until(lambda: gateway.idle)
    assert text_of(begun + chunks(said)) == "Hello world"
    assert len(asked) == 1


@inside_once
async def test_an_array_is_not_resumed() -> None:
    script, _ = playing(up=[*map(chunk, [word("gemini", "Hello"), *ending("gemini")]), LAST_CHUNK])
    with Provider(script) as provider:
        asked = calling("gemini", "up/m", "", X_Dragoman_Resume="1")
        async with Inside(configuration(up="gemini"), provider) as gateway, gateway.call(asked) as caller:
            headers, said = await whole(caller)
    assert "x-dragoman-resume" not in headers
    assert text_of(chunks(said)) == "Hello"
