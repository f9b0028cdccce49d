"""Refusals that teach, over the wire: what goes up the second time, what every later request goes without, what the caller is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from dragoman.proxy.exchange import lessons
from dragoman.proxy.inspector.admin import Admin
from dragoman.proxy.inspector.links import Note
from dragoman.proxy.inspector.ring import Ring

from ..scripted import Provider, Request, Steps, respond
from .inside import CONFIG, Inside, inside_once
from .spoken import ASKED, PATHS, SHAPE_AT, SHAPES
from .upstreams import text_answer
from .wire import request

JSON = dict[str, Any]
Refusal = tuple[int, JSON]
Strict = Callable[[JSON], Refusal | None]

FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
FLAT = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
TWO = "\n".join(
    [
        "listeners: [{type: model, address: 127.0.0.1}]",
        "model_providers:",
        '  - {model: "up/*", base_url: "UPSTREAM/v1", access_key: sk-upstream, provider_interface: openai,',
        "     apis: [chat_completions, responses]}",
    ]
)


def error(message: str, param: str | None = None, code: str | None = None, status: int = 400) -> Refusal:
    return status, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def unsupported(member: str) -> Refusal:
    return error(f"Unsupported parameter: '{member}' is not supported with this model.", member, "unsupported_parameter")


def without(*members: str) -> Strict:
    """A provider that refuses these members, one a time."""
    return lambda body: next((unsupported(member) for member in members if member in body), None)


class Upstream:
    """A provider that refuses what `strict` does. asked: what it was sent, by API."""

    def __init__(self, strict: Strict) -> None:
        self.strict = strict
        self.asked: list[tuple[str, JSON]] = []

    def script(self, request: Request) -> Steps:
        shape = SHAPE_AT[request.target]
        body = orjson.loads(request.body)
        self.asked.append((shape, body))
        refusal = self.strict(body)
        if refusal is not None:
            return [respond(refusal[1], refusal[0], content_type="application/json")]
        return text_answer(shape, "Hi").steps(body.get("stream") is True)

    @property
    def bodies(self) -> list[JSON]:
        return [body for _, body in self.asked]


async def ask(gateway: Inside, shape: str, model: str, **more: Any) -> tuple[int, dict[str, str], bytes]:
    async with gateway.ask(shape, model, **more) as caller:
        status, headers = await caller.head()
        return status, headers, await caller.body(headers)


def takes_no_adaptive_thinking(body: JSON) -> Refusal | None:
    """oMLX."""
    detail = {"type": "literal_error", "loc": ["body", "thinking", "type"], "msg": "Input should be 'enabled' or 'disabled'"}
    return (422, {"detail": [detail]}) if body["thinking"]["type"] == "adaptive" else None


@inside_once
async def test_what_was_learned_is_known_of_the_callers_own_bodies() -> None:
    up = Upstream(takes_no_adaptive_thinking)
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        for _ in range(2):
            status, headers, _ = await ask(gateway, "messages", "messages/m", max_tokens=9000, thinking={"type": "adaptive"})
            assert status == 200
            assert headers["x-dragoman-adapted"] == "thinking"
    assert [body["thinking"]["type"] for body in up.bodies] == ["adaptive", "enabled", "enabled"]


@inside_once
async def test_an_answer_for_which_there_is_no_room_is_as_long_as_it_can_be() -> None:
    """vLLM; Claude Code asks for 32,000 tokens and more. The next request may have the room."""
    told = "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is 32768 tokens"
    up = Upstream(lambda body: error(told, "max_tokens") if "max_tokens" in body else None)
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        for _ in range(2):
            status, headers, _ = await ask(gateway, "messages", "chat/m", max_tokens=32000)
            assert status == 200
            assert headers["x-dragoman-dropped"] == "max_tokens"
        status, _, body = await ask(gateway, "chat", "chat/m", max_tokens=32000)
        assert status == 400
        assert told.encode() in body
    assert ["max_tokens" in body for body in up.bodies] == [True, False, True, False, True]


@inside_once
async def test_halves_of_characters_are_not_sent_to_another_api() -> None:
    up = Upstream(lambda body: None)
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        asked = b'{"model": "messages/m", "messages": [{"role": "user", "content": "a\\ud83d b"}]}'
        async with gateway.call(request(PATHS["chat"], asked)) as caller:
            assert (await caller.head())[0] == 200
    assert [body["messages"][0]["content"] for body in up.bodies] == ["a\ufffd b"]


@inside_once
async def test_items_that_were_never_stored() -> None:
    """OpenAI answers 404; what is no row of the table teaches nothing by that status."""
    told = "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    up = Upstream(lambda body: error(told, "input", status=404) if thought in body["input"] else None)
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        said = {"type": "message", "id": "msg_1", "role": "assistant", "content": "Hi"}
        status, headers, _ = await ask(gateway, "responses", "responses/m", input=[thought, said, {"role": "user", "content": "So?"}])
        assert status == 200
        assert headers["x-dragoman-adapted"] == "reasoning"
        assert up.bodies[-1]["input"] == [{"type": "message", "role": "assistant", "content": "Hi"}, {"role": "user", "content": "So?"}]
        up.strict = lambda body: (404, unsupported("temperature")[1])
        status, _, _ = await ask(gateway, "chat", "chat/m", temperature=0.5)
        assert status == 404
    assert len(up.bodies) == 3


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_a_member_is_left_out_from_then_on(client: str, stream: bool) -> None:
    """In every lane; and in the next request at once."""
    up = Upstream(without("temperature"))
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        for _ in range(2):
            status, headers, body = await ask(gateway, client, "chat/m", temperature=0.5, stream=stream)
            assert status == 200
            assert b"Hi" in body
            assert headers["x-dragoman-dropped"] == "temperature"
    assert ["temperature" in body for body in up.bodies] == [True, False, False]


@inside_once
async def test_several_are_learned_one_after_the_other() -> None:
    members = ("temperature", "top_p", "user", "stop")
    up = Upstream(without(*members))
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        status, headers, _ = await ask(gateway, "chat", "chat/m", temperature=0.5, top_p=0.5, user="u", stop=["END"])
        assert status == 200
        assert headers["x-dragoman-dropped"] == "temperature,top_p,user,stop"
    assert len(up.asked) == 5


@inside_once
async def test_it_ends() -> None:
    """Of an upstream that always finds something, the last refusal is the caller's; nothing of it is believed."""
    names = [f"setting_{number}" for number in range(20)]
    up = Upstream(without(*names))
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        status, _, body = await ask(gateway, "chat", "chat/m", **dict.fromkeys(names, 1))
        assert status == 400
        assert b"setting_8" in body
        assert gateway.gateway.notes() == []
    assert len(up.asked) == 1 + lessons.MOST


@inside_once
async def test_the_same_refusal_again_is_the_callers() -> None:
    up = Upstream(lambda body: unsupported("temperature"))
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        status, _, body = await ask(gateway, "messages", "chat/m", temperature=0.5)
        assert status == 400
        assert b"temperature" in body
        assert gateway.gateway.notes() == []  # nobody else is to go without it
    assert len(up.asked) == 2


NEEDED = [
    ("chat", {"tools": [FUNCTION]}, "tools"),
    ("chat", {"tools": [FUNCTION], "tool_choice": "required"}, "tool_choice"),
    ("chat", {"response_format": {"type": "json_object"}}, "response_format"),
    ("chat", {}, "messages"),
    ("responses", {"tools": [FLAT], "tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
    ("responses", {}, "input"),
]


@pytest.mark.parametrize(("shape", "more", "member"), NEEDED)
@inside_once
async def test_what_a_request_is_about_is_not_left_out(shape: str, more: JSON, member: str) -> None:
    up = Upstream(without(member))
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        status, _, body = await ask(gateway, shape, f"{shape}/m", **more)
        assert status == 400
        assert member.encode() in body
    assert len(up.asked) == 1


@pytest.mark.parametrize("client", ["chat", "messages"])
@inside_once
async def test_a_strict_caller_loses_nothing(client: str) -> None:
    """Of its own API it gets the refusal; of another it is told what cannot be carried."""
    up = Upstream(without("temperature"))
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        for learn in (False, True):
            if learn:
                assert (await ask(gateway, client, "chat/m", temperature=0.5))[0] == 200
            body = {"model": "chat/m", **ASKED[client], "temperature": 0.5}
            async with gateway.call(request(PATHS[client], body, x_dragoman_strict="1")) as caller:
                status, headers = await caller.head()
                assert status == 400
                assert b"temperature" in await caller.body(headers)


@inside_once
async def test_usage_is_not_asked_where_that_is_refused() -> None:
    """Added by the gateway itself: nothing is reported."""
    up = Upstream(without("stream_options"))
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        for client in ("chat", "messages", "chat"):
            status, headers, _ = await ask(gateway, client, "chat/m", stream=True)
            assert status == 200
            assert "x-dragoman-dropped" not in headers
    assert ["stream_options" in body for body in up.bodies] == [True, False, False, False]


@pytest.mark.parametrize("client", ["chat", "messages"])
@inside_once
async def test_a_name_that_a_model_has_for_it(client: str) -> None:
    message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    up = Upstream(lambda body: error(message, "max_tokens", "unsupported_parameter") if "max_tokens" in body else None)
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        for _ in range(2):
            assert (await ask(gateway, client, "chat/m", max_tokens=77))[0] == 200
    assert [body.get("max_completion_tokens") for body in up.bodies] == [None, 77, 77]


@inside_once
async def test_a_value_that_the_gateway_chose() -> None:
    def strict(body: JSON) -> Refusal | None:
        if body.get("reasoning_effort") == "high":
            return error("Unsupported value: 'reasoning_effort' does not support 'high'.", "reasoning_effort", "unsupported_value")
        return None

    up = Upstream(strict)
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        for effort in ("high", "low"):
            thinking = {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}}
            assert (await ask(gateway, "messages", "chat/m", **thinking))[0] == 200
        status, _, _ = await ask(gateway, "chat", "chat/m", reasoning_effort="high")
        assert status == 200  # it is known by now
    assert [body.get("reasoning_effort") for body in up.bodies] == ["high", None, "low", None]


@inside_once
async def test_a_callers_own_value_is_its_own_affair() -> None:
    refused = error("Unsupported value: 'reasoning_effort' does not support 'high'.", "reasoning_effort", "unsupported_value")
    up = Upstream(lambda body: refused)
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        status, _, body = await ask(gateway, "chat", "chat/m", reasoning_effort="high")
        assert status == 400
        assert orjson.loads(body) == refused[1]
    assert len(up.asked) == 1


SEALED: dict[str, tuple[JSON, Refusal]] = {
    "responses": (
        {
            "input": [
                {"role": "user", "content": "Hi"},
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "theirs"},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Well"}]},
                {"role": "user", "content": "So?"},
            ],
            "store": False,
        },
        error("The encrypted content theirs could not be verified.", None, "invalid_encrypted_content"),
    ),
    "messages": (
        {
            "messages": [
                {"role": "user", "content": "Hi"},
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "Hm.", "signature": "theirs"}, {"type": "text", "text": "Well"}],
                },
                {"role": "user", "content": "So?"},
            ]
        },
        (
            400,
            {
                "type": "error",
                "error": {"type": "invalid_request_error", "message": "messages.1.content.0: Invalid `signature` in `thinking` block"},
            },
        ),
    ),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("shape", SEALED)
@inside_once
async def test_a_seal_that_is_refused_in_its_own_shape(shape: str, stream: bool) -> None:
    """The conversation goes on without it; the next one is asked with its own, which may be sound."""
    history, refusal = SEALED[shape]
    up = Upstream(lambda body: refusal if b"theirs" in orjson.dumps(body) else None)
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        for _ in range(2):
            status, headers, body = await ask(gateway, shape, f"{shape}/m", stream=stream, **history)
            assert status == 200
            assert b"Hi" in body
            assert headers["x-dragoman-adapted"] == "reasoning"
        assert gateway.gateway.notes() == []
    assert [b"theirs" in orjson.dumps(body) for body in up.bodies] == [True, False] * 2
    assert all(b"Well" in orjson.dumps(body) for body in up.bodies)


@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_a_model_that_is_served_over_another_api(client: str) -> None:
    refusal = error("model m is not accessible via this endpoint", None, "unsupported_api_for_model")
    up = Upstream(lambda body: refusal if "messages" in body else None)
    async with Provider(up.script) as provider, Inside(TWO, provider) as gateway:
        for _ in range(2):
            status, _, body = await ask(gateway, client, "up/m")
            assert status == 200
            assert b"Hi" in body
    apis = [shape for shape, _ in up.asked]
    assert apis == (["responses"] * 2 if client == "responses" else ["chat", "responses", "responses"])


@inside_once
async def test_tools_beside_reasoning() -> None:
    """Plain requests stay where they are."""
    message = "Function tools with reasoning_effort are not supported for m in /v1/chat/completions. Please use /v1/responses instead."
    up = Upstream(lambda body: error(message) if "messages" in body and body.get("tools") else None)
    tools = {"tools": [FUNCTION], "reasoning_effort": "low"}
    async with Provider(up.script) as provider, Inside(TWO, provider) as gateway:
        lanes = []
        for more in (tools, tools, {}):
            status, headers, _ = await ask(gateway, "chat", "up/m", **more)
            assert status == 200
            lanes.append(headers["x-dragoman-lane"])
        metrics = gateway.gateway.metrics.text()
    assert b"dragoman_retries_total 1.0" in metrics  # the same upstream, over another API
    assert b"dragoman_fallbacks_total 0.0" in metrics
    assert [shape for shape, _ in up.asked] == ["chat", "responses", "responses", "chat"]
    assert lanes == ["events", "events", "bytes"]


@inside_once
async def test_tools_without_reasoning_where_there_is_no_other_api() -> None:
    message = "Function tools with reasoning_effort are not supported in /v1/chat/completions: use /v1/responses or effort none"
    up = Upstream(lambda body: error(message) if body.get("tools") and body.get("reasoning_effort") != "none" else None)
    tools = {"tools": [{"name": "f", "input_schema": {"type": "object"}}], "thinking": {"type": "adaptive"}}
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        status, headers, _ = await ask(gateway, "messages", "chat/m", **tools, output_config={"effort": "low"})
        assert status == 200
        assert headers["x-dragoman-adapted"] == "reasoning_effort"
    assert up.bodies[-1]["reasoning_effort"] == "none"


@inside_once
async def test_it_is_told_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    up = Upstream(without("temperature"))
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        told = []
        gateway.gateway.on_notes = lambda: told.append(gateway.gateway.notes())
        await ask(gateway, "messages", "chat/m", temperature=0.5)
        assert len(told) == 1
        admin = Admin(gateway.gateway.config, Ring(lambda *_: None), lambda: b"", lambda: {0: gateway.gateway.notes()})
        (line,) = admin.explain("chat/m", "messages")["messages"]
        assert "learned over chat_completions: temperature is left out, until " in line
        assert " UTC" in line
        (other,) = admin.explain("chat/other", "messages")["messages"]
        assert "learned" not in other

        learned = gateway.gateway._lessons
        now = learned._clock()
        learned._clock = lambda: now + lessons.SECONDS + 1
        assert gateway.gateway.notes() == []
        await ask(gateway, "messages", "chat/m", temperature=0.5)
    assert ["temperature" in body for body in up.bodies] == [True, False, True, False]


TEACHING: dict[str, tuple[str, Strict, JSON, str, str, str]] = {
    # the caller's shape, what is refused, a request, the field, what becomes of it, what is learned
    "member": ("chat", without("temperature"), {"temperature": 0.5}, "temperature", "dropped", "temperature is left out"),
    "translated": ("messages", without("temperature"), {"temperature": 0.5}, "temperature", "dropped", "temperature is left out"),
    "value": (
        "messages",
        lambda body: (
            error("Unsupported value: 'reasoning_effort' does not support 'low'.", "reasoning_effort", "unsupported_value")
            if body.get("reasoning_effort") == "low"
            else None
        ),
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
        "output_config.effort=low",
        "dropped",
        "reasoning_effort 'low' is left out",
    ),
    "row": (
        "chat",
        lambda body: (
            error("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")
            if "max_tokens" in body
            else None
        ),
        {"max_tokens": 7},
        "max_tokens",
        "adapted",
        "max_tokens is called max_completion_tokens",
    ),
    "api": (
        "chat",
        lambda body: error("not accessible via this endpoint", None, "unsupported_api_for_model") if "messages" in body else None,
        {},
        "seed",
        "dropped",
        "the model is not served over chat_completions",
    ),
}


@pytest.mark.parametrize("name", TEACHING)
@inside_once
async def test_capabilities_tells_it_field_by_field(name: str) -> None:
    """Also of another process, which is sent the notes as JSON; and until it is forgotten."""
    client, strict, more, field, outcome, text = TEACHING[name]
    async with Provider(Upstream(strict).script) as provider, Inside(TWO, provider) as gateway:

        def told() -> dict[int, list[Note]]:
            return {1: [Note(*note) for note in orjson.loads(orjson.dumps([*map(tuple, gateway.gateway.notes())]))]}

        admin = Admin(gateway.gateway.config, Ring(lambda *_: None), lambda: b"", told)
        (before,) = admin.capabilities("up/m")[client]
        assert (await ask(gateway, client, "up/m", **more))[0] == 200
        (after,) = admin.capabilities("up/m")[client]
        (found,) = [one for one in after["fields"] if one["field"] == field]
        (usual,) = [one for one in before["fields"] if one["field"] == field]
        assert (found["outcome"], found["learned"]) == (outcome, (text,)), found
        assert (usual["outcome"] == outcome and usual["api"] == found["api"], usual["learned"]) == (False, ())
        (note,) = after["learned"]
        assert note.startswith(f"learned over chat_completions: {text}, until ")
        assert all(one in before["fields"] for one in after["fields"] if not one["learned"])
        assert admin.capabilities("up/other")[client][0]["fields"] == before["fields"]
        learned = gateway.gateway._lessons
        now = learned._clock()
        learned._clock = lambda: now + lessons.SECONDS + 1
        assert admin.capabilities("up/m")[client] == [before]


@inside_once
async def test_what_is_learned_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "MODELS", 3)
    up = Upstream(without("temperature"))
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        for number in range(6):
            assert (await ask(gateway, "chat", f"chat/m{number}", temperature=0.5))[0] == 200
        assert [note.model for note in gateway.gateway.notes()] == ["m3", "m4", "m5"]


IMAGE = "data:image/png;base64,iVBORw0KGgo="
PICTURES: dict[str, Any] = {
    "chat": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE}}]}]},
    "messages": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}],
            }
        ]
    },
    "responses": {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": IMAGE}]}]},
}


@pytest.mark.parametrize("client", SHAPES)
@inside_once
async def test_a_header_that_images_need(client: str) -> None:
    """In every lane; and not for words about them."""
    seen: list[str | None] = []

    def script(request: Request) -> Steps:
        seen.append(request.headers.get("copilot-vision-request"))
        return text_answer(SHAPE_AT[request.target], "Hi").steps(False)

    config = CONFIG.replace("access_key", "capabilities: {image_header: copilot-vision-request}, access_key")
    words = {"input": '{"type": "image"}'} if client == "responses" else {"messages": [{"role": "user", "content": '{"type": "image"}'}]}
    async with Provider(script) as provider, Inside(config, provider) as gateway:
        for upstream in SHAPES:
            for asked in (PICTURES[client], words):
                assert (await ask(gateway, client, f"{upstream}/m", **asked))[0] == 200
    assert seen == ["true", None] * 3


# what servers of the Messages API say of a role that newer Claude models alone take, and how often one is asked for two requests
ROLES = [
    ('messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" as a role.', 3),
    ("messages.1.role: Input should be 'user' or 'assistant'", 3),
    ("invalid params, invalid message role: system (2013)", 3),
    ("messages.1: role 'system' must follow a user message", 4),  # of this place: the next request may have it at another
]


@pytest.mark.parametrize("model", ["m", "claude-opus-5"])
@pytest.mark.parametrize(("words", "asked"), ROLES)
@inside_once
async def test_messages_of_the_system_where_there_are_none(words: str, asked: int, model: str) -> None:
    """Claude Code writes them for every model that it does not know."""
    refused = {"type": "error", "error": {"type": "invalid_request_error", "message": words}}
    up = Upstream(lambda body: (400, refused) if any(one["role"] == "system" for one in body["messages"]) else None)
    user, system = {"role": "user", "content": "Hi"}, {"role": "system", "content": "Be brief."}
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        for _ in range(2):
            status, headers, _ = await ask(gateway, "messages", f"messages/{model}", system="Be kind.", messages=[user, system])
            assert (status, headers["x-dragoman-lane"], headers["x-dragoman-adapted"]) == (200, "bytes", "messages")
    assert len(up.asked) == asked
    assert up.bodies[-1]["messages"] == [user]
    assert up.bodies[-1]["system"] == [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be brief."}]


@inside_once
async def test_reasoning_that_has_to_come_back() -> None:
    """Of a model that no table knows, asked by a caller of its own API that does not send it: many agents leave it out."""
    words = "thinking is enabled but reasoning_content is missing in assistant tool call message at index 1"
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns: list[JSON] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ]
    up = Upstream(lambda body: None if "reasoning_content" in body["messages"][1] else error(words))
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        for _ in range(2):
            status, headers, _ = await ask(gateway, "chat", "chat/m", messages=turns, tools=[FUNCTION])
            assert (status, headers["x-dragoman-lane"], headers["x-dragoman-adapted"]) == (200, "bytes", "messages")
    assert len(up.asked) == 3
    assert up.bodies[-1]["messages"] == [turns[0], turns[1] | {"reasoning_content": " "}, turns[2]]


@inside_once
async def test_reasoning_without_a_signature() -> None:
    """Claude Code sends it back as a server without signatures has made it, to the model that goes on; what is signed stays."""
    words = "messages.1.content.0.thinking.signature: Field required"
    signed, unsigned = ({"type": "thinking", "thinking": "Hm.", **more} for more in ({"signature": "s"}, {}))
    text = {"type": "text", "text": "Well"}
    turns: list[JSON] = [{"role": role, "content": "Hi"} for role in ("user", "assistant", "user", "assistant", "user")]
    turns[1] = {"role": "assistant", "content": [unsigned, text]}
    turns[3] = {"role": "assistant", "content": [signed, text]}

    def strict(body: JSON) -> Refusal | None:
        blocks = [block for turn in body["messages"] if isinstance(turn["content"], list) for block in turn["content"]]
        lacking = any(block["type"] == "thinking" and "signature" not in block for block in blocks)
        return (400, {"type": "error", "error": {"type": "invalid_request_error", "message": words}}) if lacking else None

    up = Upstream(strict)
    async with Provider(up.script) as provider, Inside(CONFIG, provider) as gateway:
        for _ in range(2):
            status, headers, _ = await ask(gateway, "messages", "messages/m", messages=turns)
            assert (status, headers["x-dragoman-lane"], headers["x-dragoman-adapted"]) == (200, "bytes", "reasoning")
    assert len(up.asked) == 3
    assert up.bodies[-1]["messages"] == [turns[0], turns[1] | {"content": [text]}, *turns[2:]]
