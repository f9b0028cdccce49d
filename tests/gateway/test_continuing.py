"""`retry_policy.continue: text`: another attempt goes on with an answer that broke off within a text, for the caller without a seam."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from dragoman import conf
from dragoman.codecs.continuation import INSTRUCTION

from ..scripted import LAST_CHUNK, Gate, Provider, Request, Step, Steps, chunk, close, reset, respond, sse, stream_head, until_closed, wait
from .inside import Inside, inside_once
from .spoken import APIS, ASKED, PATHS, SHAPE_AT, SHAPES, SPEECH, Judges, Outcome, Speech
from .wire import request

PRICES = 'prices: {"*": {input: 1000000, output: 1000000}}'


def configuration(first: str, second: str | None, more: str = "continue: text", entry: str = "", rest: str = "") -> str:
    """bad/m on the first API and then good/m on the second; None: nothing comes after bad/m."""
    policy = f"retry_policy: {{max_attempts: 1, {more} {', fallback_models: [good/m]' if second else ''}}}"
    hasty = "timeouts: {idle: 150ms}"
    entries = [f'  - {{model: bad/m, base_url: "UPSTREAM/bad", apis: [{APIS[first]}], access_key: k, {hasty}, {policy} {entry}}}']
    if second:
        entries.append(f'  - {{model: good/m, base_url: "UPSTREAM/good", apis: [{APIS[second]}], access_key: k, {hasty} {entry}}}')
    return "\n".join(["model_providers:", *entries, PRICES, rest])


def events(speech: Speech, *texts: str, end: bool = True) -> list[bytes]:
    return [*speech.opening, *map(speech.word, texts), *(speech.ending if end else [])]


def stream(*frames: bytes) -> list[Step]:
    return [stream_head(), *map(chunk, frames)]


Answer = Callable[[Speech, Request], Steps]


class Upstreams:
    """answers: of bad and good, one after the other. seen: what each was asked."""

    def __init__(self, **answers: Answer | list[Answer]) -> None:
        self.answers = {name: answer if isinstance(answer, list) else [answer] for name, answer in answers.items()}
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, request: Request) -> Steps:
        name, _, path = request.target[1:].partition("/")
        self.seen.append((name, request.json))
        answers = self.answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer(SPEECH[SHAPE_AT[f"/v1/{path}"]], request)


CUTS: dict[str, list[Step]] = {
    "closed": [close],
    "reset": [reset],
    "not-ended": [LAST_CHUNK],
    "silent": [until_closed],
    "garbled": [chunk(b"data: {broken\n\n"), until_closed],
    "in-an-event": [chunk(b'data: {"choices": [{"index": 0, "del'), close],
}


def cut(name: str, *texts: str, gate: Gate | None = None) -> Answer:
    """gate: to be waited at before the end."""
    end = CUTS[name] if gate is None else [wait(gate), *CUTS[name]]
    return lambda speech, request: [*stream(*events(speech, *texts or ("Hello",), end=False)), *end]


def rest(*texts: str) -> Answer:
    return lambda speech, request: [*stream(*events(speech, *texts or (" world",))), LAST_CHUNK]


async def judged(gateway: Inside, shape: str, model: str = "bad/m", **more: Any) -> Outcome:
    judges = Judges(f"http://127.0.0.1:{gateway.port}")
    try:
        return await asyncio.to_thread(judges.ask, shape, model, streamed=True, **more)
    finally:
        judges.close()


def asked(body: dict[str, Any]) -> list[tuple[str, str]]:
    """The turns of a request as (role, text)."""
    found = []
    for turn in body.get("messages") or body["input"]:
        content = turn["content"]
        found.append((turn["role"], content if isinstance(content, str) else "".join(part["text"] for part in content)))
    return found


PAIRS = [(client, first) for client in SHAPES for first in SHAPES if (client, first) != ("responses", "responses")]


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize(("client", "first"), PAIRS)
@inside_once
async def test_the_next_one_goes_on(client: str, first: str, name: str) -> None:
    for second in ("chat", "messages", "responses"):
        gate = Gate()
        more: dict[str, Any] = {"store": False} if client == "responses" else {}
        upstreams = Upstreams(bad=cut(name, gate=gate), good=rest())
        async with Provider(upstreams) as provider, Inside(configuration(first, second), provider) as gateway:
            assert await judged(gateway, client, heard=lambda text, gate=gate: gate.open(), **more) == Outcome("Hello world")
            await gateway.until(lambda: gateway.idle and gateway.lines)
            (line,) = gateway.lines
            metrics = gateway.gateway.metrics.text()
        assert [name for name, _ in upstreams.seen] == ["bad", "good"]
        assert asked(upstreams.seen[1][1]) == [("user", "Hi"), ("assistant", "Hello"), ("user", INSTRUCTION)]
        assert (line["status"], line["continued"], line["attempts"], "error" in line) == (200, 1, 2, False)
        assert ["was continued" in tried for tried in line["tried"]] == [True, False]
        assert line["tokens"]["output"] >= 7 + 1 if second == "messages" else line["tokens"]["output"] >= 1
        assert line["cost"] == line["tokens"]["input"] + line["tokens"]["output"]
        assert b"dragoman_continued_total 1.0" in metrics


@pytest.mark.parametrize("second", ["messages", "responses"])
@inside_once
async def test_each_attempt_is_charged_once(second: str) -> None:
    """What the caller is told, of both, is what is charged."""
    with Provider(Upstreams(bad=cut("closed"), good=rest())) as provider:
        async with Inside(configuration("chat", second), provider) as gateway, gateway.ask("messages", "bad/m", stream=True) as caller:
            _, headers = await caller.head()
            told = json.loads((await caller.body(headers)).partition(b"event: message_delta\ndata: ")[2].partition(b"\n")[0])["usage"]
            await gateway.until(lambda: gateway.lines)
            tokens = gateway.lines[0]["tokens"]
    assert (tokens["input"], tokens["output"]) == (told["input_tokens"], told["output_tokens"])


@inside_once
async def test_a_caller_of_chat_has_the_usage_that_it_asks_for() -> None:
    with Provider(Upstreams(bad=cut("closed"), good=rest())) as provider:
        asked = {"stream": True, "stream_options": {"include_usage": True}}
        async with Inside(configuration("chat", "messages"), provider) as gateway, gateway.ask("chat", "bad/m", **asked) as caller:
            _, headers = await caller.head()
            said = await caller.body(headers)
    told = [json.loads(line[6:]).get("usage") for line in said.splitlines() if line.startswith(b"data: {")]
    assert told[-1]["completion_tokens"] > 7  # of both


@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_what_the_caller_sees(client: str) -> None:
    """One answer with one id; a comment tells of the other upstream."""
    with Provider(Upstreams(bad=cut("closed"), good=rest())) as provider:
        async with Inside(configuration("chat", "messages"), provider) as gateway, gateway.ask(client, "bad/m", stream=True) as caller:
            _, headers = await caller.head()
            said = await caller.body(headers)
    assert (headers["x-dragoman-upstream"], headers["x-dragoman-continue"]) == ("bad/m", "text")
    assert said.index(b"Hello") < said.index(b": continued by good/m\n\n") < said.index(b" world")
    data = [json.loads(line[6:]) for line in said.splitlines() if line.startswith(b"data: {")]
    if client == "chat":
        assert {event["id"] for event in data} == {"chatcmpl-1"}
        assert sum(event["choices"][0]["finish_reason"] == "stop" for event in data) == 1
    elif client == "messages":
        starts = [event["type"] for event in data]
        assert [starts.count(kind) for kind in ("message_start", "content_block_start", "content_block_stop", "message_stop")] == [1] * 4
        (delta,) = [event for event in data if event["type"] == "message_delta"]
        assert delta["usage"]["output_tokens"] > 7  # of both
    else:
        assert [event["sequence_number"] for event in data] == list(range(len(data)))
        assert data[-1]["response"]["output"][0]["content"][0]["text"] == "Hello world"


@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_a_response_is_stored_whole(client: str) -> None:
    with Provider(Upstreams(bad=cut("closed"), good=rest())) as provider:
        async with Inside(configuration("chat", "messages"), provider) as gateway:
            async with gateway.ask("responses", "bad/m", stream=True) as caller:
                _, headers = await caller.head()
                last = json.loads((await caller.body(headers)).strip().rpartition(b"data: ")[2])
            more = {"model": "bad/m", "input": "More", "previous_response_id": last["response"]["id"]}
            async with gateway.call(request(PATHS["responses"], more)) as caller:
                status, headers = await caller.head()
                await caller.body(headers)
    assert ("assistant", "Hello world") in asked(provider.requests[-1].json)
    assert status in (200, 502)


@inside_once
async def test_prefill_where_the_model_goes_on_from_it() -> None:
    """White space at the end of the text, which is not sent, is not doubled either."""
    for text, more in (
        ("Hello", " world"),
        ("Hello ", "world"),
        ("Hello ", " world"),
        ("Hello\n\n", "\n\n world"),
        ("Hello \n", "\nworld"),
    ):
        upstreams = Upstreams(bad=cut("closed", text), good=rest(more))
        with Provider(upstreams) as provider:
            config = configuration("chat", "messages", entry=", capabilities: {m.prefill: true}")
            async with Inside(config, provider) as gateway:
                said = await judged(gateway, "chat")
        assert asked(upstreams.seen[1][1])[1:] == [("assistant", "Hello")]
        space = text[5:]
        assert said.text == text + (more[len(space) :] if more.startswith(space) else more)


@inside_once
async def test_the_same_one_when_there_is_no_other() -> None:
    for first in ("chat", "messages"):
        upstreams = Upstreams(bad=[cut("closed"), rest()])
        async with Provider(upstreams) as provider, Inside(configuration(first, None), provider) as gateway:
            assert await judged(gateway, "chat") == Outcome("Hello world")
        assert [name for name, _ in upstreams.seen] == ["bad", "bad"]


REPEATS = {
    "the last words": ("One two three four five six", "three four five six seven", "One two three four five six seven"),
    "everything": ("One two three four five six", "One two three four five six seven", "One two three four five six seven"),
    "too little": ("One two three four five six", "six seven", "One two three four five sixsix seven"),
    "not quite": ("One two three four five six", "three four five sev", "One two three four five sixthree four five sev"),
    "nothing": ("One two three four five six", " seven", "One two three four five six seven"),
    "and ends": ("One two three four five six", "two three four five six", "One two three four five six"),
    "short": ("One two three four five six", ".", "One two three four five six."),
}


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("name", REPEATS)
@inside_once
async def test_a_model_that_repeats_itself(name: str, size: int) -> None:
    text, more, whole = REPEATS[name]
    pieces = [more[at : at + size] for at in range(0, len(more), size)]
    with Provider(Upstreams(bad=cut("closed", text), good=rest(*pieces))) as provider:
        async with Inside(configuration("messages", "chat"), provider) as gateway:
            assert await judged(gateway, "messages") == Outcome(whole)


# ---- what goes wrong ----


FAILURES: dict[str, Answer] = {
    "500": lambda speech, request: [respond({"error": {"message": "No."}}, 500)],
    "400": lambda speech, request: [respond({"error": {"message": "No."}}, 400)],
    "closed": lambda speech, request: [close],
    "no-content": lambda speech, request: [*stream(*speech.opening), close],
    "whole": lambda speech, request: [respond(speech.whole)],
    "silent": lambda speech, request: [stream_head(), until_closed],
    "page": lambda speech, request: [respond(b"<html>", content_type="text/html")],
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize(("client", "first"), PAIRS)
@inside_once
async def test_nobody_goes_on(client: str, first: str, name: str) -> None:
    """The caller is told as if nothing had been tried."""
    upstreams = Upstreams(bad=[cut("closed"), FAILURES[name]], good=FAILURES[name])
    async with Provider(upstreams) as provider, Inside(configuration(first, "chat"), provider) as gateway:
        found = await judged(gateway, client)
        assert (found.text, found.status, found.type is not None) == ("Hello", 200, True)
        await gateway.until(lambda: gateway.idle and gateway.lines)
        assert gateway.lines[0]["error"] == "upstream_stream_interrupted"
        assert "continued" not in gateway.lines[0]
    assert [name for name, _ in upstreams.seen] == ["bad", "good", "bad"]


@pytest.mark.parametrize(("client", "first"), PAIRS)
@inside_once
async def test_it_breaks_off_again_and_again(client: str, first: str) -> None:
    later = [" is less than two,", " which is less than three,", " which nobody doubts"]
    upstreams = Upstreams(bad=cut("closed", "One"), good=[cut("closed", text) for text in later])
    async with Provider(upstreams) as provider, Inside(configuration(first, "chat"), provider) as gateway:
        found = await judged(gateway, client)
        await gateway.until(lambda: gateway.idle and gateway.lines)
    assert (found.text, found.type is not None) == ("".join(["One", *later]), True)
    assert asked(upstreams.seen[2][1])[1] == ("assistant", f"One{later[0]}")
    assert gateway.lines[0]["continued"] == 3
    assert len(upstreams.seen) == 4


CALL = {
    "chat": [sse({"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "t", "type": "function",
                                                                                "function": {"name": "f", "arguments": ""}}]}}]})],
    "messages": [sse({"type": "content_block_stop", "index": 0}, "content_block_stop"),
                 sse({"type": "content_block_start", "index": 1,
                      "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}}, "content_block_start")],
}  # fmt: skip
LEFT: dict[str, tuple[str, str, dict[str, Any]]] = {  # the caller's shape, the policy, what is asked
    "off": ("chat", "continue: off", {}),
    "json": ("chat", "continue: text", {"response_format": {"type": "json_object"}}),
    "forced": ("chat", "continue: text", {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"}),
    "logprobs": ("chat", "continue: text", {"logprobs": True}),
    "store": ("chat", "continue: text", {"store": True}),
    "search": ("messages", "continue: text", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    "used up": ("messages", "continue: text", {"max_tokens": 1}),
}
SET: dict[str, tuple[str, str, dict[str, Any]]] = {  # the API, what the operator sets in each request, what is asked
    "set store": ("chat", "store: true", {}),
    "set search": ("messages", "tools: [{type: web_search_20250305, name: s}]", {}),
    "set json": ("chat", "response_format.type: json_object", {}),
    "set choice": ("messages", "tool_choice.type: any", {}),
    "set limit": ("messages", "max_tokens: 1", {"max_tokens": 99}),
}


@pytest.mark.parametrize("name", [*LEFT, *SET])
@inside_once
async def test_what_is_not_continued(name: str) -> None:
    client, policy, more = LEFT.get(name) or (SET[name][0], "continue: text", SET[name][2])
    entry = f", request: {{set: {{{SET[name][1]}}}}}" if name in SET else ""
    upstreams = Upstreams(bad=cut("closed", "Hello wide"), good=rest())
    with Provider(upstreams) as provider:
        config, asking = configuration(client, client, policy, entry), {"stream": True} | more
        async with Inside(config, provider) as gateway, gateway.ask(client, "bad/m", **asking) as caller:
            _, headers = await caller.head()
            said = await caller.body(headers)
    assert (b"Hello wide" in said, b"error" in said, b" world" in said) == (True, True, False)
    known = name == "off" or (name in SET and name != "set limit")  # what a request says is looked at when its answer has broken off
    assert ("x-dragoman-continue" in headers) == (not known)
    assert len(upstreams.seen) == 1


@pytest.mark.parametrize("first", CALL)
@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_a_call_is_not_continued(client: str, first: str) -> None:
    def bad(speech: Speech, request: Request) -> Steps:
        return [*stream(*events(speech, "Hello", end=False), *CALL[first]), close]

    upstreams = Upstreams(bad=bad, good=rest())
    with Provider(upstreams) as provider:
        async with Inside(configuration(first, "chat"), provider) as gateway, gateway.ask(client, "bad/m", stream=True) as caller:
            _, headers = await caller.head()
            assert b"error" in await caller.body(headers)
    assert len(upstreams.seen) == 1


@inside_once
async def test_a_native_response_is_not_continued() -> None:
    upstreams = Upstreams(bad=cut("closed"), good=rest())
    with Provider(upstreams) as provider:
        for store in (True, False):
            async with Inside(configuration("responses", "chat"), provider) as gateway:
                assert (await judged(gateway, "responses", store=store)).type is not None
    assert len(upstreams.seen) == 2


@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_the_caller_leaves_while_the_rest_is_awaited(client: str) -> None:
    upstreams = Upstreams(bad=cut("closed"), good=lambda speech, request: [stream_head(), until_closed])
    config = configuration("chat", "messages").replace("{idle: 150ms}}", "{idle: 20s}}")
    async with Provider(upstreams) as provider, Inside(config, provider) as gateway:
        async with gateway.ask(client, "bad/m", stream=True) as caller:
            await provider.seen(lambda: len(provider.requests) == 2)
            caller.leave()
            await provider.seen(lambda: provider.connections[1].closed_by == "peer")
        await gateway.until(lambda: gateway.idle and gateway.lines)


@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_time_is_over_while_the_rest_is_awaited(client: str) -> None:
    upstreams = Upstreams(bad=cut("closed"), good=lambda speech, request: [stream_head(), until_closed])
    config = configuration("chat", "messages", rest="listeners: [{type: model, address: 127.0.0.1, timeout: 100ms}]")
    async with Provider(upstreams) as provider, Inside(config.replace("idle: 150ms", "idle: 20s"), provider) as gateway:
        found = await judged(gateway, client)
        assert (found.text, found.type is not None) == ("Hello", True)
        await provider.seen(lambda: provider.connections[1].closed_by == "peer")
        await gateway.until(lambda: gateway.idle)


@inside_once
async def test_a_reload_in_the_middle() -> None:
    gate = Gate()
    with Provider(Upstreams(bad=cut("closed", gate=gate), good=rest())) as provider:
        async with Inside(configuration("chat", "messages"), provider) as gateway:

            def heard(text: str) -> None:
                gone = conf.loads("model_providers: [{model: demo/*}]", environ={})
                gateway.gateway.loop.call_soon_threadsafe(lambda: (gateway.gateway.adopt(gone), gate.open()))

            assert await judged(gateway, "chat", heard=lambda text: heard(text) if text == "Hello" else None) == Outcome("Hello world")
            await gateway.until(lambda: gateway.idle and gateway.lines)
            assert gateway.lines[0]["continued"] == 1


@inside_once
async def test_with_hedging() -> None:
    """Both together: the first is silent, the second breaks off, the third goes on."""
    upstreams = Upstreams(bad=lambda speech, request: [stream_head(), until_closed], good=[cut("closed"), rest()])
    config = configuration("chat", "chat", "continue: text", rest="routing: {hedge_after: 50ms}").replace("idle: 150ms", "idle: 20s")
    config = config.replace(
        '/good", apis: [chat_completions], access_key: k,',
        '/good", apis: [chat_completions], access_key: k, retry_policy: {continue: text},',
    )
    async with Provider(upstreams) as provider, Inside(config, provider) as gateway:
        assert await judged(gateway, "chat") == Outcome("Hello world")
        await gateway.until(lambda: gateway.idle and gateway.lines)
        assert (gateway.lines[0]["hedge"], gateway.lines[0]["continued"]) == ("second", 1)
    assert [name for name, _ in upstreams.seen] == ["bad", "good", "good"]


@pytest.mark.parametrize(
    ("entry", "left"), [("", 96), (", request: {set: {max_tokens: 50}}", 46), (", request: {set: {config: {maxTokens: 50}}}", 96)]
)
@pytest.mark.parametrize("first", ["chat", "messages"])
@inside_once
async def test_a_token_limit_is_what_is_left_of_it(first: str, entry: str, left: int) -> None:
    """Also of one that the operator sets."""
    upstreams = Upstreams(bad=cut("closed", "Hello wide world"), good=rest())
    with Provider(upstreams) as provider:
        data = request(PATHS["messages"], ASKED["messages"] | {"model": "bad/m", "stream": True})
        async with Inside(configuration(first, "messages", entry=entry), provider) as gateway, gateway.call(data) as caller:
            await caller.body((await caller.head())[1])
    assert upstreams.seen[1][1]["max_tokens"] == left
    assert upstreams.seen[1][1].get("config", {"maxTokens": 46}) == {"maxTokens": 46}
