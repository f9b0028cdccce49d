"""What is parsed of a large request is let go of when it is sent: an attempt that is made later sends all of it nevertheless."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dragoman.proxy.exchange import unneeded

from ..scripted import LAST_CHUNK, Provider, Request, Step, Steps, chunk, close, respond, stream_head, until_closed
from .inside import Inside, inside_once
from .spoken import APIS, SHAPE_AT, SHAPES, SPEECH
from .test_unneeded import history

TURNS = 375  # of `history`, each with a text of its own
POLICY = "retry_policy: {max_attempts: 2, backoff: {base: 1ms, max: 2ms}, continue: text, fallback_models: [second/m]}"
Answer = Callable[[str, dict[str, Any]], Steps]


def config(first: str, second: str, rest: str) -> str:
    entries = [(name, shape) for name, shape in (("first", first), ("second", second))]
    lines = [
        f'  - {{model: {name}/m, base_url: "UPSTREAM/{name}", apis: [{APIS[shape]}], access_key: k, {POLICY if name == "first" else ""}}}'
        for name, shape in entries
    ]
    return "\n".join(["model_providers:", *lines, rest])


def unavailable(shape: str, body: dict[str, Any]) -> Steps:
    return [respond({"error": {"message": "busy", "type": "server_error"}}, 503, content_type="application/json")]


def choosy(shape: str, body: dict[str, Any]) -> Steps:
    if "temperature" not in body:
        return whole(shape, body)
    message = "Unsupported parameter: 'temperature' is not supported with this model."
    refusal = {"error": {"message": message, "type": "invalid_request_error", "param": "temperature", "code": "unsupported_parameter"}}
    return [respond(refusal, 400, content_type="application/json")]


def breaks_off(shape: str, body: dict[str, Any]) -> Steps:
    speech = SPEECH[shape]
    return [stream_head(), *map(chunk, [*speech.opening, speech.word("Hello")]), close]


def silent(shape: str, body: dict[str, Any]) -> Steps:
    return [stream_head(), until_closed]


def whole(shape: str, body: dict[str, Any]) -> Steps:
    found: list[Step] = [stream_head(), *map(chunk, SPEECH[shape].stream), LAST_CHUNK]
    return found


# what the first upstream does -> how often it is asked, what else is configured
WAYS: dict[str, tuple[Answer, int, str]] = {
    "it is unavailable": (unavailable, 2, ""),
    "it refuses a member": (choosy, 2, ""),
    "its answer breaks off": (breaks_off, 1, ""),
    "it is late": (silent, 1, "routing: {hedge_after: 50ms}"),
}


def texts(value: Any) -> list[str]:
    """The turns' own texts, wherever an API has them."""
    if isinstance(value, str):
        return [value] if value.endswith("said again. ") else []
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for member in members for text in texts(member)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("second", SHAPES)
@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_it_sends_all(client: str, second: str, way: str) -> None:
    answer, times, rest = WAYS[way]
    seen: list[tuple[str, dict[str, Any]]] = []

    def script(request: Request) -> Steps:
        name, _, path = request.target[1:].partition("/")
        seen.append((name, request.json))
        return (answer if name == "first" else whole)(SHAPE_AT[f"/v1/{path}"], request.json)

    body = history(client)
    if way == "its answer breaks off":
        del body["tools"]  # an answer to a request with tools is not continued
        body = {name: [turn for turn in value if texts(turn)] if isinstance(value, list) else value for name, value in body.items()}
    first = "messages" if client == "chat" else "chat"
    async with Provider(script) as provider, Inside(config(first, second, rest), provider) as gateway:
        async with gateway.ask(client, "first/m", stream=True, temperature=0.5, **body) as caller:
            status, headers = await caller.head()
            said = await caller.body(headers)
        await gateway.until(lambda: gateway.idle and gateway.lines)
        (line,) = gateway.lines
    assert (status, b"world" in said, "error" in line) == (200, True, False)
    asked = [name for name, _ in seen]
    assert sorted(asked) == ["first"] * times + ([] if way == "it refuses a member" else ["second"])
    for name, sent in seen:
        assert len(set(texts(sent))) == TURNS, name
        assert len(sent.get("tools", ())) == ("tools" in body), name
    if times == 2:
        assert seen[0][1] == seen[1][1] | ({"temperature": 0.5} if way == "it refuses a member" else {})


@inside_once
async def test_values_are_counted_once() -> None:
    """In its API's own form a body may have more of them than it came with, and than are let through."""
    answers = [respond({"error": {"message": "busy"}}, 503, content_type="application/json"), respond(SPEECH["chat"].whole)]
    tools = [{"type": "function", "name": f"f{number}", "parameters": {}} for number in range(10)]
    limited = config("chat", "chat", "limits: {max_values: 58}")
    more = {"user": "x" * unneeded.LARGE, "tools": tools}
    with Provider(lambda request: [answers.pop(0)]) as provider:
        async with Inside(limited, provider) as gateway, gateway.ask("chat", "first/m", **more) as caller:
            assert (await caller.head())[0] == 200
    first, second = [sent.json for sent in provider.requests]
    assert first == second
    assert len(first["tools"]) == 10
