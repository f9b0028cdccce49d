"""What a model seals comes back to it: several turns of tools over strict doubles, from callers that bring it and from those that do not.

The doubles stand for both of Google's APIs (signatures on calls), OpenRouter (details of a format of its own), Anthropic (signatures) and
OpenAI (encrypted items). A caller that forgets sends back what its users see: texts, calls and results.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dragoman.codecs.registry import SHAPES

from ..conftest import Running, Start
from ..scripted import Provider, Request, Steps, respond
from ..strict.double import Double
from ..strict.folding import fold
from .spoken import PATHS
from .upstreams import called, completion, message, said, text_answer, thought

JSON = dict[str, Any]

MODELS = {
    "gemini": ("gemini-3.8-flash", "chat"),
    "google": ("gemini-3.8-flash", "gemini"),
    "openrouter": ("google/gemini-3.7-flash", "chat"),
    "anthropic": ("claude-opus-4-6", "messages"),
    "openai": ("gpt-5", "responses"),
}
SCHEMA: JSON = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
CASES = [(id, shape) for id, (_, upstream) in MODELS.items() for shape in PATHS if shape != upstream]
ASK = "Is it sunny?"


def unsigned(request: Request) -> Steps:
    """A messages upstream that signs nothing, and calls a tool once."""
    body = json.loads(request.body)
    answered = "tool_result" in str(body)
    answer = message(said("ok")) if answered else message(thought("let me see", ""), called("call_0", "f", "{}"), stop="tool_use")
    UNSIGNED.append(body)
    return answer.steps(body.get("stream") is True)


UNSIGNED: list[JSON] = []


def another_account(request: Request) -> Steps:
    """Gemini, which does not take back what it gave to somebody else."""
    body = json.loads(request.body)
    SIGNED.append(body)
    if not any(one["role"] == "tool" for one in body["messages"]):
        function = {"name": "weather", "arguments": '{"a":"x"}'}
        call = {"id": "a", "type": "function", "function": function, "extra_content": {"google": {"thought_signature": "SIG-A"}}}
        return completion({"tool_calls": [{"index": 0, **call}]}, finish="tool_calls", said={"tool_calls": [call]}).steps(False)
    if "SIG-A" in str(body):
        return [respond({"error": {"code": 400, "message": "Corrupted thought signature.", "status": "INVALID_ARGUMENT"}}, 400)]
    return text_answer("chat", "ok").steps(body.get("stream") is True)


SIGNED: list[JSON] = []


class Place:
    def __init__(self, gateway: Running, doubles: dict[str, Double]) -> None:
        self.doubles = doubles
        self.url = gateway.url

    def ask(self, shape: str, body: JSON, key: str = "alice-key-000000") -> JSON:
        answer = httpx.post(self.url + PATHS[shape], json=body, headers={"authorization": f"Bearer {key}"}, timeout=30)
        assert answer.status_code == 200, answer.text
        self.headers = answer.headers
        return fold(shape, answer.content) if body.get("stream") else answer.json()


@pytest.fixture(scope="module")
def place(start_session: Start) -> Iterator[Place]:
    doubles = {id: Double(id) for id in MODELS}
    lines = ["listeners: [{type: model, address: 127.0.0.1, port: PORT}]", "access_keys:"]
    lines += ["  - {key: alice-key-000000, name: alice}", "  - {key: bob-key-00000000, name: bob}", "model_providers:"]
    running = {id: Provider(double.script) for id, double in doubles.items()}
    with (
        Provider(unsigned) as plain,
        Provider(another_account) as other,
        running["gemini"],
        running["google"],
        running["openrouter"],
        running["anthropic"],
        running["openai"],
    ):
        for id, (model, upstream) in MODELS.items():
            host = "http_host: api.openai.com, " if id == "openai" else ""
            where = f'base_url: "{running[id].url}/v1", access_key: sk-upstream-key, apis: [{SHAPES[upstream].api}]'
            lines.append(f'  - {{model: "{id}/{model}", {host}{where}}}')
        lines.append(f'  - {{model: "vllm/q", base_url: "{plain.url}/v1", apis: [messages]}}')
        lines.append(f'  - {{model: "sglang/q", base_url: "{plain.url}/v1/other", apis: [messages]}}')
        lines.append(f'  - {{model: "google/gemini-3-pro", base_url: "{other.url}/v1", apis: [chat_completions], access_key: k}}')
        yield Place(start_session("\n".join(lines)), doubles)


def first(shape: str, model: str, stream: bool) -> JSON:
    tool = {"name": "weather", "description": "Looks it up."}
    asked: dict[str, JSON] = {
        "chat": {
            "messages": [{"role": "user", "content": ASK}],
            "reasoning_effort": "medium",
            "tools": [{"type": "function", "function": tool | {"parameters": SCHEMA}}],
        },
        "messages": {
            "messages": [{"role": "user", "content": ASK}],
            "max_tokens": 32000,
            "thinking": {"type": "enabled", "budget_tokens": 8000},
            "tools": [tool | {"input_schema": SCHEMA}],
        },
        "responses": {
            "input": [{"type": "message", "role": "user", "content": ASK}],
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "reasoning": {"effort": "medium"},
            "tools": [{"type": "function", "parameters": SCHEMA, "strict": False} | tool],
        },
    }
    return {"model": model, **asked[shape], **({"stream": True} if stream else {})}


def go_on(shape: str, body: JSON, answer: JSON, forgets: bool) -> int:
    """Append the answer as the caller remembers it, and the tools' results; how many tools were called."""
    if shape == "chat":
        said = answer["choices"][0]["message"]
        calls = said.get("tool_calls") or []
        if forgets:
            said = {key: said[key] for key in ("role", "content", "reasoning_content") if said.get(key) is not None}
            said["tool_calls"] = [{key: call[key] for key in ("id", "type", "function")} for call in calls]
        body["messages"] += [said, *({"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in calls)]
    elif shape == "messages":
        blocks = [block for block in answer["content"] if not (forgets and "thinking" in block["type"])]
        calls = [block for block in blocks if block["type"] == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "sunny"} for call in calls]
        body["messages"] += [{"role": "assistant", "content": blocks}, {"role": "user", "content": results}]
    else:
        items = [item for item in answer["output"] if not (forgets and item["type"] == "reasoning")]
        calls = [item for item in items if item["type"] == "function_call"]
        results = [{"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"} for call in calls]
        body["input"] += [*items, *results]
    return len(calls)


def minted(double: Double, since: int, until: int) -> list[str]:
    """The opaque values that the double has given out between two of its answers."""
    found = [value for value in double._prefixes if since < int(value[-4:]) <= until]
    return [base64.b64encode(value.encode()).decode() for value in found] if double.provider.id == "google" else found


@pytest.mark.parametrize("forgets", [False, True], ids=["brings", "forgets"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("id", "shape"), CASES)
def test_every_turn_has_what_it_was_sealed_with(place: Place, id: str, shape: str, stream: bool, forgets: bool) -> None:
    double = place.doubles[id]
    before, asked = double._turns, len(double.asked)
    body = first(shape, f"{id}/{MODELS[id][0]}", stream)
    wanted: list[str] = []
    for _ in range(3):
        count = double._turns
        calls = go_on(shape, body, place.ask(shape, body), forgets)
        up = json.dumps(double.asked[-1].body)
        assert [value for value in wanted if value not in up] == []
        assert "x-dragoman-dropped" not in place.headers
        assert "dgr1." not in up
        wanted += minted(double, count, double._turns) if calls else []
    assert len(double.asked) - asked == 3
    assert len(wanted) == 2
    assert double._turns > before
    assert double.violations == []


def test_openrouters_details_are_what_they_were(place: Place) -> None:
    double = place.doubles["openrouter"]
    for shape in ("messages", "responses"):
        body = first(shape, "openrouter/google/gemini-3.7-flash", True)
        go_on(shape, body, place.ask(shape, body), forgets=False)
        given = next(reversed(double._prefixes))
        place.ask(shape, body)
        assistant = double.asked[-1].body["messages"][1]
        assert assistant["reasoning_details"] == [
            {"type": "reasoning.text", "text": "The tool knows.", "format": "google-gemini-v1", "index": 0},
            {"type": "reasoning.encrypted", "data": given, "id": "r1", "format": "google-gemini-v1", "index": 1},
        ]


def test_what_is_kept_is_each_keys_own_and_each_hosts(place: Place) -> None:
    double = place.doubles["anthropic"]
    body = first("chat", "anthropic/claude-opus-4-6", False)
    go_on("chat", body, place.ask("chat", body), forgets=True)
    signature = next(reversed(double._prefixes))
    place.ask("chat", body | {"reasoning_effort": "none"}, key="bob-key-00000000")
    assert signature not in json.dumps(double.asked[-1].body)
    place.ask("chat", body | {"model": "openai/gpt-5"})
    assert signature not in json.dumps(place.doubles["openai"].asked[-1].body)
    place.ask("chat", body)
    assert signature in json.dumps(double.asked[-1].body)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("shape", ["chat", "responses"])
def test_unsigned_thinking_goes_back_to_the_upstream_that_thought_it(place: Place, shape: str, stream: bool) -> None:
    body = first(shape, "vllm/q", stream)
    words = f"{ASK} {shape} {stream}"  # this upstream gives every call the same id: the conversation tells them apart
    body["messages" if shape == "chat" else "input"][0]["content"] = words
    go_on(shape, body, place.ask(shape, body), forgets=shape == "chat")
    place.ask(shape, body)
    assert UNSIGNED[-1]["messages"][1]["content"][0] == {"type": "thinking", "thinking": "let me see", "signature": ""}
    place.ask(shape, body | {"model": "sglang/q"})
    assert UNSIGNED[-1]["messages"][1]["content"][0]["type"] == "tool_use"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_unsigned_thinking_is_stored(place: Place, stream: bool) -> None:
    asked = {"model": "vllm/q", "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}], "stream": stream}
    answer = place.ask("responses", asked | {"input": f"{ASK} stored {stream}"})
    result = [{"type": "function_call_output", "call_id": "call_0", "output": "7"}]
    place.ask("responses", asked | {"input": result, "previous_response_id": answer["id"]})
    assert UNSIGNED[-1]["messages"][1]["content"][0] == {"type": "thinking", "thinking": "let me see", "signature": ""}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_reasoning_named_by_its_id_alone_is_found(place: Place, stream: bool) -> None:
    asked = {"model": "vllm/q", "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}], "stream": stream}
    question = {"type": "message", "role": "user", "content": f"{ASK} by id {stream}"}
    answer = place.ask("responses", asked | {"input": [question]})
    reasoning, call = answer["output"]
    named = {"type": "reasoning", "id": reasoning["id"], "summary": []}
    result = {"type": "function_call_output", "call_id": "call_0", "output": "7"}
    place.ask("responses", asked | {"input": [question, named, call, result]})
    assert UNSIGNED[-1]["messages"][1]["content"][0] == {"type": "thinking", "thinking": "let me see", "signature": ""}
    place.ask("responses", asked | {"input": [question, named | {"id": "rs_unknown"}, call, result]}, key="bob-key-00000000")
    assert UNSIGNED[-1]["messages"][1]["content"][0]["type"] == "tool_use"


def unsigned_history(shape: str) -> JSON:
    body = first(shape, "google/gemini-3-pro", False)
    body["input" if shape == "responses" else "messages"][0]["content"] = "Begun with another model"
    if shape == "messages":
        blocks = [{"type": "tool_use", "id": "a", "name": "weather", "input": {"a": "x"}}]
        result = {"type": "tool_result", "tool_use_id": "a", "content": "7"}
        body["messages"] += [{"role": "assistant", "content": blocks}, {"role": "user", "content": [result]}]
        return body
    call = {"type": "function_call", "call_id": "a", "name": "weather", "arguments": '{"a":"x"}'}
    body["input"] += [call, {"type": "function_call_output", "call_id": "a", "output": "7"}]
    return body


@pytest.mark.parametrize("shape", ["messages", "responses"])
def test_a_refused_signature_gives_way_to_the_stand_in(place: Place, shape: str) -> None:
    body = first(shape, "google/gemini-3-pro", False)
    go_on(shape, body, place.ask(shape, body), forgets=False)
    before = len(SIGNED)
    place.ask(shape, body)
    refused, mended = SIGNED[before:]
    signatures = [asked["messages"][1]["tool_calls"][0]["extra_content"]["google"]["thought_signature"] for asked in (refused, mended)]
    assert signatures == ["SIG-A", "skip_thought_signature_validator"]
    assert "reasoning" in place.headers["x-dragoman-adapted"]


@pytest.mark.parametrize("shape", ["messages", "responses"])
def test_a_history_that_never_had_a_signature(place: Place, shape: str) -> None:
    place.ask(shape, unsigned_history(shape))
    (call,) = SIGNED[-1]["messages"][1]["tool_calls"]
    assert call["extra_content"] == {"google": {"thought_signature": "skip_thought_signature_validator"}}
    assert "x-dragoman-adapted" in place.headers
