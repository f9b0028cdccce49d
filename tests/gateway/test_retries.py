"""Retries and fallbacks: before the first content another upstream takes over unseen, after it nobody does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from dragoman.proxy.routing import ejection

from ..scripted import LAST_CHUNK, Provider, Request, Step, Steps, close, frames, reset, respond, until_closed
from .inside import Inside, inside_once
from .spoken import APIS, SHAPE_AT, SHAPES, SPEECH

Answer = Callable[[Any, bool], Steps]


def well(speech: Any, streamed: bool) -> Steps:
    return [*frames(*speech.stream), LAST_CHUNK] if streamed else [respond(speech.whole)]


# what no client has heard of yet: headers, a role, message_start, response.created, pings
UNCOMMITTED: dict[str, Answer] = {
    "refused": lambda speech, streamed: [close],
    "reset": lambda speech, streamed: [reset],
    "500": lambda speech, streamed: [respond({"error": {"message": "No."}}, 500)],
    "429": lambda speech, streamed: [respond({"error": {"message": "Slow down."}}, 429)],
    "529": lambda speech, streamed: [respond({"error": {"message": "Busy."}}, 529)],
    "page": lambda speech, streamed: [respond(b"<html>", content_type="text/html")],
    "silent": lambda speech, streamed: [until_closed],
    "cut-before-content": lambda speech, streamed: [*frames(*speech.opening), close],
    "cut-after-pings": lambda speech, streamed: [*frames(*speech.opening, b": ping\n\n", b": ping\n\n"), close],
    "not-ended": lambda speech, streamed: [*frames(*speech.opening), LAST_CHUNK],
    "silent-before-content": lambda speech, streamed: [*frames(*speech.opening), until_closed],
}


def configuration(first: str, second: str, more: str = "") -> str:
    """bad/m on the first shape, and then good/m on the second."""
    hasty = "timeouts: {first_byte: 100ms, idle: 100ms}"
    policy = f"retry_policy: {{max_attempts: 1, fallback_models: [good/m] {more}}}"
    return f"""
model_providers:
  - {{model: bad/m, base_url: "UPSTREAM/bad", apis: [{APIS[first]}], access_key: k, {hasty}, {policy}}}
  - {{model: good/m, base_url: "UPSTREAM/good", apis: [{APIS[second]}], access_key: k}}
"""


def split(answers: dict[str, Answer], seen: list[str] | None = None) -> Callable[[Request], Steps]:
    """Each upstream, by the beginning of its path, has its own answer."""

    def script(request: Request) -> Steps:
        name, _, path = request.target[1:].partition("/")
        if path == "models":  # one that was slow, and is passed over, is probed on a busy machine
            return [respond({}, 404)]
        if seen is not None:
            seen.append(name)
        return answers[name](SPEECH[SHAPE_AT[f"/v1/{path}"]], bool(request.json.get("stream")))

    return script


BEGINS = {"chat": b'"role"', "messages": b"event: message_start", "responses": b"event: response.created"}


@pytest.mark.parametrize("second", SHAPES)
@pytest.mark.parametrize("first", SHAPES)
@pytest.mark.parametrize("name", UNCOMMITTED)
@inside_once
async def test_another_takes_over(name: str, first: str, second: str) -> None:
    """Also one of another shape; the client sees one whole answer and nothing of the first."""
    client = SHAPES[(SHAPES.index(first) + SHAPES.index(second)) % 3]
    with Provider(split({"bad": UNCOMMITTED[name], "good": well})) as provider:
        async with Inside(configuration(first, second), provider) as gateway, gateway.ask(client, "bad/m", stream=True) as caller:
            status, headers = await caller.head()
            said = await caller.body(headers)
            assert status == 200
            assert headers["x-dragoman-upstream"] == "good/m"
            assert said.count(BEGINS[client]) == 1
            assert said.index(b"Hello") < said.index(b" world")
            await gateway.until(lambda: gateway.lines)
            assert gateway.lines[0]["attempts"] == 2
            assert len(gateway.lines[0]["tried"]) == 2


@pytest.mark.parametrize("first", SHAPES)
@pytest.mark.parametrize("name", ["refused", "500", "page", "silent"])
@inside_once
async def test_another_takes_over_a_whole_answer(name: str, first: str) -> None:
    with Provider(split({"bad": UNCOMMITTED[name], "good": well})) as provider:
        async with Inside(configuration(first, "chat"), provider) as gateway, gateway.ask("messages", "bad/m") as caller:
            status, headers = await caller.head()
            assert b"Hello world" in await caller.body(headers)
            assert (status, headers["x-dragoman-upstream"]) == (200, "good/m")


@pytest.mark.parametrize("first", SHAPES)
@inside_once
async def test_nobody_takes_over_after_the_first_content(first: str) -> None:
    seen: list[str] = []

    def bad(speech: Any, streamed: bool) -> Iterator[Step]:
        yield from frames(*speech.opening, *speech.words)
        yield lambda connection: heard.wait(20) and None
        yield close

    heard = Event()
    with Provider(split({"bad": bad, "good": well}, seen)) as provider:
        async with Inside(configuration(first, "chat"), provider) as gateway, gateway.ask("chat", "bad/m", stream=True) as caller:
            status, headers = await caller.head()
            said = await caller.until(b" world")
            heard.set()
            said += await caller.body(headers)
            assert status == 200
            assert b"upstream_stream_interrupted" in said
            assert b"[DONE]" not in said
    assert seen == ["bad"]


@pytest.mark.parametrize("status", [400, 404, 413, 422])
@inside_once
async def test_a_fault_of_the_request_is_nobody_elses(status: int) -> None:
    seen: list[str] = []
    bad = respond({"error": {"message": "Wrong.", "type": "invalid_request_error"}}, status)
    with Provider(split({"bad": lambda speech, streamed: [bad], "good": well}, seen)) as provider:
        async with Inside(configuration("chat", "chat"), provider) as gateway, gateway.ask("chat", "bad/m") as caller:
            assert (await caller.head())[0] == status
    assert seen == ["bad"]


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_when_everything_failed_what_was_tried_is_told(shape: str) -> None:
    answers = {"bad": UNCOMMITTED["refused"], "good": UNCOMMITTED["500"]}
    with Provider(split(answers)) as provider:
        async with Inside(configuration("chat", "messages"), provider) as gateway, gateway.ask(shape, "bad/m", stream=True) as caller:
            status, headers = await caller.head()
            said = await caller.body(headers)
            assert status >= 500
            assert b"bad/m" in said
            assert b"good/m" in said
            assert b"127.0.0.1" not in said


NAMED = """
model_providers:
  - {name: first, model: up/m, base_url: "http://127.0.0.1:1/up", apis: [chat_completions], access_key: k}
  - {name: second, model: up/m, base_url: "UPSTREAM/up", apis: [messages], access_key: k}
  - {name: third, model: up/m, base_url: "UPSTREAM/up", access_key: $NOT_SET_ANYWHERE}
"""


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_entries_of_one_model_are_told_apart_when_all_of_them_failed(shape: str) -> None:
    overloaded = respond({"type": "error", "error": {"type": "overloaded_error", "message": "Full."}}, 529)
    with Provider([overloaded]) as provider:
        async with Inside(NAMED, provider) as gateway, gateway.ask(shape, "up/m") as caller:
            said = (await caller.body((await caller.head())[1])).decode()
            explained = gateway.gateway.router.explain(shape, "up/m")
        unset = "The gateway has no credential for third: NOT_SET_ANYWHERE is not set in its environment."
        failures = ["refused: The upstream could not be reached."] * 2 + [
            "overloaded: in the upstream's own words, 5 characters",
            f"unconfigured: {unset}",
        ]
        places = [explained[0], *explained]  # the refused connection was tried once more
        assert gateway.lines[0]["sendings"] == 1
        assert gateway.lines[0]["tried"] == [f"{place[3:]}; failed, {fault}" for place, fault in zip(places, failures, strict=True)]
    for number, name in enumerate(("first", "second", "third"), 1):
        assert explained[number - 1].startswith(f"{number}. {name} (up/m): ")
    assert "key not set ($NOT_SET_ANYWHERE)" in explained[2]
    told = f"first (up/m): The upstream could not be reached.; second (up/m): Full.; third (up/m): {unset}"
    assert f"All upstreams failed. {told}" in said


# ---- one upstream, several times ----


def once(policy: str) -> str:
    return f"""
model_providers:
  - {{model: up/m, base_url: "UPSTREAM/up", apis: [chat_completions], access_key: k, {policy}}}
"""


def in_turn(*answers: list[Step]) -> Callable[[Request], Steps]:
    rest = list(answers)
    return lambda request: rest.pop(0)


BUSY = {"error": {"message": "Busy.", "type": "server_error", "code": "busy"}}


@inside_once
async def test_attempts_are_counted() -> None:
    policy = "retry_policy: {max_attempts: 3, backoff: {base: 10ms, max: 20ms}}"
    async with Provider([respond(BUSY, 503)]) as provider, Inside(once(policy), provider) as gateway, gateway.ask("chat", "up/m") as caller:
        assert (await caller.head())[0] == 503
        assert len(provider.requests) == 3


@inside_once
async def test_the_third_attempt_succeeds() -> None:
    policy = "retry_policy: {max_attempts: 3, backoff: {base: 10ms, max: 20ms}}"
    script = in_turn([respond(BUSY, 503)], [respond(BUSY, 500)], [respond(SPEECH["chat"].whole)])
    async with Provider(script) as provider, Inside(once(policy), provider) as gateway, gateway.ask("chat", "up/m") as caller:
        assert (await caller.head())[0] == 200


@inside_once
async def test_only_the_listed_statuses() -> None:
    policy = "retry_policy: {max_attempts: 3, on_status_codes: [503], backoff: {base: 10ms, max: 20ms}}"
    async with Provider([respond(BUSY, 500)]) as provider, Inside(once(policy), provider) as gateway, gateway.ask("chat", "up/m") as caller:
        assert (await caller.head())[0] == 500
        assert len(provider.requests) == 1


@pytest.mark.parametrize(("seconds", "requests"), [("1", 2), ("9", 1)])
@inside_once
async def test_retry_after(seconds: str, requests: int) -> None:
    """Honoured as far as the policy allows a pause; beyond that the caller is told it."""
    policy = "retry_policy: {max_attempts: 2, backoff: {base: 10ms, max: 2s}}"
    busy = respond({"error": {"message": "Later.", "type": "rate_limit_error"}}, 429, retry_after=seconds)
    async with Provider([busy]) as provider, Inside(once(policy), provider) as gateway, gateway.ask("chat", "up/m") as caller:
        began = asyncio.get_running_loop().time()
        status, headers = await caller.head()
        assert (status, headers["retry-after"]) == (429, seconds)
        assert len(provider.requests) == requests
        assert (asyncio.get_running_loop().time() - began > 0.9) == (requests == 2)


@inside_once
async def test_without_a_policy_a_status_goes_to_the_caller_as_it_is() -> None:
    with Provider([respond(BUSY, 503)]) as provider:
        async with Inside(once("weight: 1"), provider) as gateway, gateway.ask("chat", "up/m") as caller:
            status, headers = await caller.head()
            assert status == 503
            assert b'"busy"' in await caller.body(headers)
            assert len(provider.requests) == 1


@pytest.mark.parametrize("end", [close, reset])
@pytest.mark.parametrize(
    ("policy", "requests"),
    [
        ("weight: 1", 1),
        ("retry_policy: {max_attempts: 1}", 1),
        ("retry_policy: {max_attempts: 3, on_status_codes: [429, 503], backoff: {base: 10ms}}", 1),
        ("retry_policy: {max_attempts: 3, on_status_codes: [502], backoff: {base: 10ms}}", 3),
    ],
)
@inside_once
async def test_what_was_read_and_not_answered_is_sent_again_only_where_the_policy_says_so(policy: str, requests: int, end: Step) -> None:
    async with Provider([end]) as provider, Inside(once(policy), provider) as gateway:
        async with gateway.ask("chat", "up/m") as caller:
            assert (await caller.head())[0] == 502
        await gateway.until(lambda: gateway.lines)
        assert len(provider.requests) == requests
        assert (gateway.lines[0]["attempts"], gateway.lines[0]["sendings"]) == (requests, requests)


@pytest.mark.parametrize("policy", ["weight: 1", "retry_policy: {max_attempts: 1}"])
@inside_once
async def test_a_kept_connection_on_which_the_request_was_read_is_not_stale(policy: str) -> None:
    async with Provider(in_turn([respond(SPEECH["chat"].whole)], [close])) as provider, Inside(once(policy), provider) as gateway:
        for status in (200, 502):
            async with gateway.ask("chat", "up/m") as caller:
                assert (await caller.head())[0] == status
        await gateway.until(lambda: len(gateway.lines) == 2)
        assert [line["sendings"] for line in gateway.lines] == [1, 1]
        assert len(provider.requests) == 2


@inside_once
async def test_a_failed_connection_is_tried_once_more_without_a_policy() -> None:
    config = once("weight: 1").replace("UPSTREAM", "http://127.0.0.1:1")
    async with Inside(config) as gateway:
        async with gateway.ask("chat", "up/m") as caller:
            assert (await caller.head())[0] == 502
        await gateway.until(lambda: gateway.lines)
        assert (gateway.lines[0]["attempts"], gateway.lines[0]["sendings"]) == (2, 0)


# ---- several candidates ----

THREE = """
model_providers:
  - {model: up/m, name: one, base_url: "UPSTREAM/one", apis: [chat_completions], access_key: k WEIGHT1}
  - {model: up/m, name: two, base_url: "UPSTREAM/two", apis: [chat_completions], access_key: k WEIGHT2}
"""


async def ask(gateway: Inside, times: int, status: int = 200) -> None:
    for _ in range(times):
        async with gateway.ask("chat", "up/m") as caller:
            found, headers = await caller.head()
            await caller.body(headers)
            assert found == status


@inside_once
async def test_candidates_in_order() -> None:
    seen: list[str] = []
    async with Provider(split({"one": well, "two": well}, seen)) as provider, Inside(THREE, provider, WEIGHT1="", WEIGHT2="") as gateway:
        await ask(gateway, 3)
    assert seen == ["one"] * 3


@inside_once
async def test_candidates_by_weight() -> None:
    seen: list[str] = []
    with Provider(split({"one": well, "two": well}, seen)) as provider:
        async with Inside(THREE + "routing: {affinity: off}", provider, WEIGHT1=", weight: 3", WEIGHT2=", weight: 1") as gateway:
            await ask(gateway, 200)
    assert 110 < Counter(seen)["one"] < 185


@inside_once
async def test_who_failed_is_passed_over_for_a_while() -> None:
    """And is tried again later, by one request; when it works again it has its place back."""
    seen: list[str] = []
    answers = {"one": UNCOMMITTED["500"], "two": well}
    async with Provider(split(answers, seen)) as provider, Inside(THREE, provider, WEIGHT1="", WEIGHT2="") as gateway:
        now = 0.0
        clocked = ejection.Ejection(lambda: now, lambda: None)
        gateway.gateway.services = replace(gateway.gateway.services, ejection=clocked)
        await ask(gateway, 3)
        assert seen == ["one", "two", "two", "two"]
        now += ejection.FIRST
        await ask(gateway, 2)
        assert seen[4:] == ["one", "two", "two"]
        answers["one"] = well
        now += 2 * ejection.FIRST
        await ask(gateway, 2)
        assert seen[7:] == ["one", "one"]


@pytest.mark.parametrize("status", [401, 402, 403, 429])
@pytest.mark.parametrize(("own", "kept"), [("true", True), ("false", False)])
@inside_once
async def test_a_callers_own_credential_passes_nobody_over(status: int, own: str, kept: bool) -> None:
    """Where the gateway's own is used, its refusal concerns everybody."""
    seen: list[str] = []
    refused: Steps = [respond({"error": {"message": "No.", "type": "whatever"}}, status)]
    answers: dict[str, Answer] = {"one": lambda speech, streamed: refused, "two": well}
    policy = f", passthrough_auth: {own}, retry_policy: {{max_attempts: 1, on_status_codes: [401-403, 429]}}"
    async with Provider(split(answers, seen)) as provider, Inside(THREE, provider, WEIGHT1=policy, WEIGHT2="") as gateway:
        await ask(gateway, 1)
        answers["one"] = well
        await ask(gateway, 1)
    assert seen == ["one", "two", "one" if kept else "two"]


@inside_once
async def test_a_callers_own_limit_told_within_a_stream_passes_nobody_over() -> None:
    seen: list[str] = []
    limited = frames(b'data: {"error": {"message": "Slow down.", "type": "rate_limit_error"}}\n\n')
    answers: dict[str, Answer] = {"one": lambda speech, streamed: [*limited, LAST_CHUNK], "two": well}
    with Provider(split(answers, seen)) as provider:
        async with Inside(THREE, provider, WEIGHT1=", passthrough_auth: true", WEIGHT2="") as gateway:
            for _ in range(2):
                async with gateway.ask("chat", "up/m", stream=True) as caller:
                    assert b"Hello" in await caller.body((await caller.head())[1])
    assert seen == ["one", "two"] * 2


@inside_once
async def test_nobody_is_refused_because_all_failed_lately() -> None:
    seen: list[str] = []
    answers = {"one": UNCOMMITTED["500"], "two": UNCOMMITTED["500"]}
    async with Provider(split(answers, seen)) as provider, Inside(THREE, provider, WEIGHT1="", WEIGHT2="") as gateway:
        await ask(gateway, 1, 500)
        answers["two"] = well
        await ask(gateway, 1)
    assert seen[-1] == "two"
