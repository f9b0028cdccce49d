"""Fallback by cause: too long for the context window, refused by the provider's policy before any content, an account that is used up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dragoman import conf
from dragoman.conf import ConfigError

from ..scripted import LAST_CHUNK, Provider, Request, Step, Steps, chunk, respond, sse, stream_head
from .inside import Inside, inside_once
from .spoken import APIS, PATHS, SHAPE_AT, SHAPES, SPEECH
from .wire import request

Answer = Callable[[str, bool], Steps]


def config(policy: str, api: str = "chat", facts: str = "") -> str:
    """facts: of the first one and of `a`."""
    known = f", metadata: {{{facts}}}" if facts else ""
    entries = [
        f'  - {{model: up/m, base_url: "UPSTREAM/{name}", apis: [{APIS[api]}], access_key: k {more}}}'
        for name, more in (("first", f"{known}, retry_policy: {{max_attempts: 1, {policy}}}"), ("second", ""))
    ]
    for name, more in (("a", known), ("b", "")):
        entries.append(f'  - {{model: up/{name}, base_url: "UPSTREAM/{name}", apis: [chat_completions], access_key: k {more}}}')
    return "\n".join(["model_providers:", *entries, "model_aliases: {other: {target: up/b}}"])


def well(shape: str, streamed: bool) -> Steps:
    speech = SPEECH[shape]
    return [stream_head(), *map(chunk, speech.stream), LAST_CHUNK] if streamed else [respond(speech.whole)]


def too_long(shape: str, streamed: bool) -> Steps:
    if shape == "messages":
        error = {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}
        return [respond({"type": "error", "error": error}, 400)]
    error = {"message": "Too long.", "type": "invalid_request_error", "code": "context_length_exceeded", "param": "messages"}
    return [respond({"error": error}, 400)]


def filtered(shape: str, streamed: bool) -> Steps:
    return [respond({"error": {"message": "Filtered.", "type": "invalid_request_error", "code": "content_filter", "param": "prompt"}}, 400)]


def refused(shape: str, streamed: bool) -> Steps:
    """An answer that ends by the policy, and says nothing before."""
    if shape == "chat":
        whole: dict[str, Any] = SPEECH["chat"].whole
        message = {"role": "assistant", "content": None}
        empty = whole | {"choices": [{"index": 0, "message": message, "finish_reason": "content_filter"}]}
        delta = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        events: list[bytes] = [
            sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})
            for choice in (delta, {"index": 0, "delta": {}, "finish_reason": "content_filter"})
        ]
        events.append(sse("[DONE]"))
    else:
        whole = SPEECH["messages"].whole
        empty = whole | {"content": [], "stop_reason": "refusal"}
        end = {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_sequence": None}, "usage": {"output_tokens": 0}}
        events = [SPEECH["messages"].opening[0], sse(end, "message_delta"), sse({"type": "message_stop"}, "message_stop")]
    steps: list[Step] = [stream_head(), *map(chunk, events), LAST_CHUNK]
    return steps if streamed else [respond(empty)]


class Upstreams:
    def __init__(self, **answers: Answer) -> None:
        self.answers, self.asked = answers, list[str]()

    def __call__(self, request: Request) -> Steps:
        name, _, path = request.target[1:].partition("/")
        self.asked.append(name)
        return self.answers.get(name, well)(SHAPE_AT[f"/v1/{path}"], bool(request.json.get("stream")))


async def ask(gateway: Inside, shape: str, streamed: bool, model: str = "up/m") -> tuple[int, dict[str, str], bytes]:
    async with gateway.ask(shape, model, **({"stream": True} if streamed else {})) as caller:
        status, headers = await caller.head()
        return status, headers, await caller.body(headers)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("api", SHAPES)
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_what_is_too_long_goes_to_who_takes_it(shape: str, api: str, streamed: bool) -> None:
    """To no other candidate: that is as short; and nobody is passed over for it."""
    script = Upstreams(first=too_long, a=too_long)
    async with Provider(script) as provider, Inside(config("on_context_window: [up/a, other]", api), provider) as gateway:
        status, headers, answer = await ask(gateway, shape, streamed)
        assert (status, headers["x-dragoman-upstream"], b"Hello" in answer) == (200, "up/b", True)
        assert not gateway.gateway.notes()
        told = gateway.gateway.router.explain(shape, "up/m")
        assert [line[:7] for line in told] == ["1. up/m", "2. up/m", "3. up/a", "4. up/b"]
        assert "for what is too long for up/m, declared by this name" in told[2]
        await gateway.until(lambda: gateway.lines)
        assert gateway.lines[0]["attempts"] == 3
    assert script.asked == ["first", "a", "b"]


LENGTHS: dict[str, tuple[int, str, list[str], str]] = {  # words, the first one's metadata, who is asked, by whom it is answered
    "short": (10, "max_input_tokens: 1000", ["first"], "up/m"),
    "perhaps": (1500, "max_input_tokens: 1000", ["first"], "up/m"),
    "too long": (9000, "max_input_tokens: 1000", ["b"], "up/b"),
    "of both": (9000, "context_window: 1000", ["b"], "up/b"),
    "takes it": (9000, "context_window: 1000, max_input_tokens: 100000", ["first"], "up/m"),
    "unknown": (9000, "max_output_tokens: 5", ["first"], "up/m"),
    "a picture": (-9000, "max_input_tokens: 3000", ["first"], "up/m"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", LENGTHS)
@inside_once
async def test_what_is_surely_too_long_is_not_asked_of_who_cannot_take_it(name: str, stream: bool) -> None:
    """By what is known of the model (`metadata`): twice as long as it would usually be. `a` takes no more than the first."""
    words, facts, asked, upstream = LENGTHS[name]
    text = "Word " * words if words > 0 else "A" * -4 * words  # a picture is one long run
    script = Upstreams()
    async with Provider(script) as provider, Inside(config("on_context_window: [up/a, other]", facts=facts), provider) as gateway:
        more = {"messages": [{"role": "user", "content": text}], "stream": stream}
        async with gateway.ask("chat", "up/m", **more) as caller:
            _, headers = await caller.head()
            await caller.body(headers)
        assert (headers["x-dragoman-upstream"], script.asked) == (upstream, asked)
        told = "what surely has more than" in gateway.gateway.router.explain("chat", "up/m")[0]
        assert told == (name != "unknown")
        data = request(PATHS["chat"], {"model": "up/m", **more}, X_Dragoman_Dry_Run="1")
        async with gateway.call(data) as caller:
            _, headers = await caller.head()
            assert headers["x-dragoman-upstream"] == upstream


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("answer", [filtered, refused])
@pytest.mark.parametrize("api", ["chat", "messages"])
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_what_a_policy_refuses(shape: str, api: str, answer: Answer, streamed: bool) -> None:
    script = Upstreams(first=answer)
    async with Provider(script) as provider, Inside(config("on_refusal: [up/a]", api), provider) as gateway:
        status, headers, said = await ask(gateway, shape, streamed)
        assert (status, headers["x-dragoman-upstream"], b"Hello" in said) == (200, "up/a", True)
        assert b"content_filter" not in said
        assert not gateway.gateway.notes()
    assert script.asked == ["first", "a"]


@pytest.mark.parametrize("policy", ["on_context_window: [up/a]", "fallback_models: [up/a]"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@inside_once
async def test_a_refusal_is_told_as_it_is_where_nobody_stands_in(policy: str, streamed: bool) -> None:
    script = Upstreams(first=refused)
    async with Provider(script) as provider, Inside(config(policy), provider) as gateway:
        status, _, said = await ask(gateway, "chat", streamed)
        assert (status, b"content_filter" in said) == (200, True)
    assert script.asked == ["first"]


@inside_once
async def test_a_refusal_after_content_is_the_answer() -> None:
    def halfway(shape: str, streamed: bool) -> Steps:
        whole = SPEECH["messages"].whole
        return [respond(whole | {"stop_reason": "refusal"})]

    script = Upstreams(first=halfway)
    async with Provider(script) as provider, Inside(config("on_refusal: [up/a]", "messages"), provider) as gateway:
        for shape in SHAPES:
            status, _, said = await ask(gateway, shape, False)
            assert (status, b"Hello" in said) == (200, True)
    assert script.asked == ["first"] * 3


@pytest.mark.parametrize("api", ["chat", "messages"])
@inside_once
async def test_a_refusal_in_a_stream_that_is_collected(api: str) -> None:
    script = Upstreams(first=refused)
    text = config("on_refusal: [up/a]", api).replace("access_key: k ,", "access_key: k, capabilities: {whole_answers: never},", 1)
    async with Provider(script) as provider, Inside(text, provider) as gateway:
        status, headers, said = await ask(gateway, "chat", False)
        assert (status, headers["x-dragoman-upstream"], b"Hello" in said) == (200, "up/a", True)


@inside_once
async def test_the_last_refusal_is_the_answer() -> None:
    script = Upstreams(first=refused, a=refused)
    async with Provider(script) as provider, Inside(config("on_refusal: [up/a]"), provider) as gateway:
        status, headers, said = await ask(gateway, "chat", False)
        assert (status, headers["x-dragoman-upstream"], b"content_filter" in said) == (200, "up/a", True)


@inside_once
async def test_who_stands_in_fails_too() -> None:
    """The caller still learns that its request is too long: agents shorten it then."""
    script = Upstreams(first=too_long, a=too_long, b=too_long)
    async with Provider(script) as provider, Inside(config("on_context_window: [up/a, up/b]"), provider) as gateway:
        status, _, said = await ask(gateway, "chat", False)
        assert (status, b"context_length_exceeded" in said) == (400, True)
        status, _, said = await ask(gateway, "chat", False, "up/a")  # asked for itself, it has nobody
        assert (status, b"Too long." in said) == (400, True)
    assert script.asked == ["first", "a", "b", "a"]


@inside_once
async def test_a_plain_failure_takes_the_plain_way() -> None:
    def down(shape: str, streamed: bool) -> Steps:
        return [respond({"error": {"message": "No.", "type": "server_error"}}, 500)]

    script = Upstreams(first=down)
    async with Provider(script) as provider, Inside(config("on_context_window: [up/a], on_refusal: [up/b]"), provider) as gateway:
        assert (await ask(gateway, "chat", False))[0] == 200
    assert script.asked == ["first", "second"]


USED_UP = {"error": {"message": "Pay.", "type": "insufficient_quota", "code": "insufficient_quota"}}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "in-the-stream"])
@pytest.mark.parametrize("own", [False, True], ids=["gateways", "callers"])
@inside_once
async def test_an_account_that_is_used_up(own: bool, streamed: bool) -> None:
    """The gateway's own: the next candidate, and not again the same one. A caller's own is the caller's affair."""

    def used_up(shape: str, streamed: bool) -> Steps:
        return [stream_head(), chunk(sse(USED_UP)), LAST_CHUNK] if streamed else [respond(USED_UP, 402)]

    script = Upstreams(first=used_up)
    text = config("on_status_codes: [429, 500]").replace("max_attempts: 1", "max_attempts: 3")
    if own:
        text = text.replace("access_key: k ,", "passthrough_auth: true,", 1)
    async with Provider(script) as provider, Inside(text, provider) as gateway:
        status, _, said = await ask(gateway, "chat", streamed)
        assert (status == 200, b"Hello" in said) == (not own, not own)
    assert script.asked == (["first"] if own else ["first", "second"])


@pytest.mark.parametrize("key", ["on_context_window", "on_refusal"])
def test_a_model_that_there_is_not(key: str) -> None:
    with pytest.raises(ConfigError, match=f"retry_policy.{key}"):
        conf.loads(config(f"{key}: [nobody]").replace("UPSTREAM", "http://h"), environ={})


PLACES = """\
model_providers:
  - {model: up/m, base_url: "UPSTREAM/nowhere", apis: [chat_completions], access_key: k}
  - {model: up/m, base_url: "UPSTREAM/eu", apis: [chat_completions], access_key: k, capabilities: {region: eu}}
  - {model: up/m, base_url: "UPSTREAM/us", apis: [chat_completions], access_key: k, capabilities: {region: us}}
  - {model: up/m, base_url: "UPSTREAM/own", apis: [messages], access_key: k}
"""


@pytest.mark.parametrize(
    ("config", "place", "asked", "status"),
    [
        (PLACES, "us", ["us", "own"], 500),
        (PLACES, "global", ["nowhere", "eu", "us", "own"], 500),
        (PLACES, None, ["nowhere", "eu", "us", "own"], 500),
        (PLACES.partition('  - {model: up/m, base_url: "UPSTREAM/own"')[0], "moon", [], 400),
    ],
)
@inside_once
async def test_a_request_stays_in_its_region(config: str, place: str | None, asked: list[str], status: int) -> None:
    """Every candidate of the region is asked, and one of its own API, which is told; no other, whatever fails."""
    seen: list[str] = []

    def script(request: Request) -> Steps:
        seen.append(request.target.split("/")[1])
        return [respond({"error": {"message": "Down.", "type": "server_error"}}, 500)]

    body = {"model": "up/m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "inference_geo": place}
    async with Provider(script) as provider, Inside(config, provider) as gateway, gateway.call(request("/v1/messages", body)) as caller:
        assert (await caller.head())[0] == status
    assert list(dict.fromkeys(seen)) == asked
