"""A gemini upstream behind callers of the other APIs, over real sockets: conversations of two turns, failures, and what is learned."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dragoman.codecs.gemini.facts import DUMMY

from ..codecs import grammar
from ..scripted import Provider, Request, Steps, chunk, close, respond, sse, stream_head
from ..strict.double import Double
from .inside import Inside, inside_once

JSON = dict[str, Any]
Script = Callable[[Request], Steps]

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
state_storage: {type: memory, reasoning_ttl: off}
model_providers:
  - {model: gemini/gemini-3-flash, base_url: "UPSTREAM/v1beta", access_key: sk-up}
  - {model: gemini/gemini-2.5-flash, base_url: "UPSTREAM/v1beta", access_key: sk-up}
  - {model: vertex/google/gemini-3-flash, base_url: "UPSTREAM/v1/publishers/google", access_key: sk-up, apis: [gemini]}
"""
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
GRAMMARS = {"chat": grammar.chat, "messages": grammar.messages, "responses": grammar.responses}
SHAPES = tuple(PATHS)
END = b"0\r\n\r\n"
USAGE = {"promptTokenCount": 20, "candidatesTokenCount": 8, "thoughtsTokenCount": 5, "totalTokenCount": 33}


def generated(*parts: JSON, finish: str = "", **more: Any) -> JSON:
    candidate: JSON = {"content": {"role": "model", "parts": list(parts)}, "index": 0} | ({"finishReason": finish} if finish else {})
    return {"candidates": [candidate], "responseId": "r1", "modelVersion": "g", **more}


def answering(*chunks: JSON | bytes, end: bytes = END, one_byte: bool = False) -> Script:
    """Google's stream of these chunks, or the same whole. end: what ends the body; b"" breaks it off."""

    def script(request: Request) -> Steps:
        if ":streamGenerateContent" not in request.target:
            parts = [part for each in chunks if isinstance(each, dict) for part in each["candidates"][0]["content"]["parts"]]
            last = chunks[-1]
            assert isinstance(last, dict)
            return [respond(last | {"candidates": [last["candidates"][0] | {"content": {"role": "model", "parts": parts}}]})]
        data = b"".join(each if isinstance(each, bytes) else sse(each).replace(b"\n", b"\r\n") for each in chunks)
        pieces = [data[at : at + 1] for at in range(len(data))] if one_byte else [data]
        return [stream_head(), *map(chunk, pieces), end or close]

    return script


GOOGLE = Double("google")
VIOLATED: list[str | None] = []


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    """No request is one that Google refuses, but for signatures, which are made up here."""
    VIOLATED.clear()
    yield
    assert set(VIOLATED) <= {None, "GG06"}


class Upstream:
    """Plays the scripts in turn; the last one again and again."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)

    def __call__(self, request: Request) -> Steps:
        VIOLATED.append(GOOGLE.refuses(request))
        return (self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0])(request)


def asking(shape: str, turns: list[JSON], stream: bool, model: str = "gemini/gemini-3-flash", **more: Any) -> JSON:
    body: JSON = {"model": model, "stream": stream, **more}
    if shape == "responses":
        return {"input": turns, "store": False, "include": ["reasoning.encrypted_content"]} | body
    return {"messages": turns} | ({"max_tokens": 2000, "thinking": {"type": "adaptive"}} if shape == "messages" else {}) | body


async def ask(gateway: Inside, shape: str, body: JSON) -> tuple[int, dict[str, str], bytes]:
    data = json.dumps(body).encode()
    head = f"POST {PATHS[shape]} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    async with gateway.call(head.encode() + data) as caller:
        status, headers = await caller.head()
        return status, headers, await caller.body(headers)


def events(told: bytes) -> list[Any]:
    return [value for _, value in grammar.events_of(told) if value != "[DONE]"]


def answer_of(shape: str, told: bytes, stream: bool) -> JSON:
    """The whole answer, of a stream too, folded as its SDK folds it."""
    if not stream:
        return json.loads(told)  # type: ignore[no-any-return]
    assert GRAMMARS[shape](told) == "done"
    if shape == "responses":
        return events(told)[-1]["response"]  # type: ignore[no-any-return]
    if shape == "messages":
        blocks: list[JSON] = []
        for event in events(told):
            if event["type"] == "content_block_start":
                blocks.append(dict(event["content_block"]) | {"partial": ""})
            elif event["type"] == "content_block_delta":
                delta = event["delta"]
                for key in ("text", "thinking", "signature"):
                    if key in delta:
                        blocks[-1][key] += delta[key]
                blocks[-1]["partial"] += delta.get("partial_json", "")
        for block in blocks:
            partial = block.pop("partial")
            if partial:
                block["input"] = json.loads(partial)
        end = next(event for event in events(told) if event["type"] == "message_delta")
        return {"content": blocks, "stop_reason": end["delta"]["stop_reason"], "usage": end["usage"]}
    message: JSON = {"role": "assistant", "content": "", "tool_calls": []}
    finish = usage = None
    for event in events(told):
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            finish = choice["finish_reason"] or finish
            for key, value in choice["delta"].items():
                if key == "tool_calls":
                    for call in value:
                        if "id" in call:
                            message["tool_calls"].append(call)
                        else:
                            message["tool_calls"][-1]["function"]["arguments"] += call["function"]["arguments"]
                elif key in ("content", "reasoning_content"):
                    message[key] = message.get(key, "") + (value or "")
                else:
                    message[key] = value
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


def results(shape: str, answer: JSON) -> list[JSON]:
    """The turns that follow: the answer as an agent sends it back, and its calls' results."""
    if shape == "chat":
        message = answer["choices"][0]["message"]
        return [message, *({"role": "tool", "tool_call_id": call["id"], "content": "42"} for call in message["tool_calls"])]
    if shape == "messages":
        uses = [block for block in answer["content"] if block["type"] == "tool_use"]
        found = [{"type": "tool_result", "tool_use_id": use["id"], "content": "42"} for use in uses]
        return [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": found}]
    calls = [item["call_id"] for item in answer["output"] if item["type"] == "function_call"]
    return [*answer["output"], *({"type": "function_call_output", "call_id": id, "output": "42"} for id in calls)]


HI = {"role": "user", "content": "hi"}
G01 = (
    generated({"text": "plan", "thought": True}),
    generated({"functionCall": {"id": "a1", "name": "f", "args": {"x": 1}}, "thoughtSignature": "AAAA"}),
    generated({"functionCall": {"id": "a2", "name": "g"}}, finish="STOP", usageMetadata=USAGE),
)
DONE = answering(generated({"text": "Done."}, finish="STOP", usageMetadata=USAGE))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_g01_g02_g03_a_call_and_its_signature_over_two_turns(shape: str, stream: bool) -> None:
    async with Provider(Upstream(answering(*G01), DONE)) as provider, Inside(CONFIG, provider) as gateway:
        status, headers, told = await ask(gateway, shape, asking(shape, [HI], stream))
        assert (status, headers["x-dragoman-lane"]) == (200, "events")
        turns = [HI, *results(shape, answer_of(shape, told, stream))]
        status, headers, told = await ask(gateway, shape, asking(shape, turns, stream))
        assert (status, "x-dragoman-dropped" in headers) == (200, False)
        assert b"Done." in told
    first, second = provider.requests
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    assert first.target == f"/v1beta/models/gemini-3-flash:{method}"
    assert (first.headers["x-goog-api-key"], "authorization" in first.headers) == ("sk-up", False)
    assert second.json["contents"] == [
        {"role": "user", "parts": [{"text": "hi"}]},
        {
            "role": "model",
            "parts": [
                {"functionCall": {"id": "a1", "name": "f", "args": {"x": 1}}, "thoughtSignature": "AAAA"},
                {"functionCall": {"id": "a2", "name": "g", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "a1", "name": "f", "response": {"output": "42"}}},
                {"functionResponse": {"id": "a2", "name": "g", "response": {"output": "42"}}},
            ],
        },
    ]


@inside_once
async def test_g03_by_previous_response_id() -> None:
    with Provider(Upstream(answering(*G01), DONE)) as provider:
        async with Inside(CONFIG.replace("state_storage: {type: memory, reasoning_ttl: off}\n", ""), provider) as gateway:
            model = "gemini/gemini-3-flash"
            _, _, told = await ask(gateway, "responses", {"model": model, "input": "hi"})
            found = [{"type": "function_call_output", "call_id": id, "output": "42"} for id in ("a1", "a2")]
            body = {"model": model, "input": found, "previous_response_id": json.loads(told)["id"]}
            assert (await ask(gateway, "responses", body))[0] == 200
    signed = [part.get("thoughtSignature") for part in provider.requests[1].json["contents"][1]["parts"]]
    assert signed == ["AAAA", None]


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_g05_a_texts_signature_over_two_turns(shape: str) -> None:
    said = answering(
        generated({"text": "Hel"}), generated({"text": "lo"}), generated({"text": "", "thoughtSignature": "BBBB"}, finish="STOP")
    )
    async with Provider(Upstream(said, DONE)) as provider, Inside(CONFIG, provider) as gateway:
        _, _, told = await ask(gateway, shape, asking(shape, [HI], True))
        answer = answer_of(shape, told, True)
        if shape == "chat":
            answer["choices"][0]["message"].pop("tool_calls")
            back = [answer["choices"][0]["message"]]
        else:
            back = [{"role": "assistant", "content": answer["content"]}] if shape == "messages" else answer["output"]
        assert (await ask(gateway, shape, asking(shape, [HI, *back, HI], True)))[0] == 200
    assert provider.requests[1].json["contents"][1] == {"role": "model", "parts": [{"text": "Hello", "thoughtSignature": "BBBB"}]}


@inside_once
async def test_g05_a_signature_that_a_caller_without_thinking_cannot_keep() -> None:
    signed = answering(generated({"text": "Hello", "thoughtSignature": "BBBB"}, finish="STOP"))
    async with Provider(Upstream(signed)) as provider, Inside(CONFIG, provider) as gateway:
        body = asking("messages", [HI], False)
        body.pop("thinking", None)
        status, headers, answer = await ask(gateway, "messages", body)
    assert (status, headers["x-dragoman-response-dropped"]) == (200, "text:thought_signature")
    assert json.loads(answer)["content"] == [{"type": "text", "text": "Hello"}]


CORRUPTED = {"error": {"code": 400, "message": "Corrupted thought signature.", "status": "INVALID_ARGUMENT"}}


@pytest.mark.parametrize("times", [1, 2])
@inside_once
async def test_g06_a_refused_signature(times: int) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    signed = call | {"extra_content": {"google": {"thought_signature": "WRONG"}}}
    turns = [HI, {"role": "assistant", "content": None, "tool_calls": [signed, call | {"id": "b"}]}]
    turns += [{"role": "tool", "tool_call_id": id, "content": "1"} for id in ("a", "b")]
    with Provider(Upstream(*[lambda request: [respond(CORRUPTED, 400)]] * times, DONE)) as provider:
        async with Inside(CONFIG, provider) as gateway:
            status, headers, told = await ask(gateway, "chat", asking("chat", turns, False))
    assert len(provider.requests) == 2
    parts = provider.requests[1].json["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [DUMMY, None]
    if times == 1:
        assert (status, headers["x-dragoman-adapted"]) == (200, "reasoning")
    else:
        assert (status, json.loads(told)["error"]["message"]) == (400, "Corrupted thought signature.")


@inside_once
async def test_g13_an_unusable_answer() -> None:
    bad = answering(generated({"text": "x"}, finish="MALFORMED_FUNCTION_CALL"))
    async with Provider(Upstream(bad)) as provider, Inside(CONFIG, provider) as gateway:
        for shape in SHAPES:
            status, _, told = await ask(gateway, shape, asking(shape, [HI], False))
            assert (status, b"MALFORMED_FUNCTION_CALL" in told) == (502, True)
            status, _, told = await ask(gateway, shape, asking(shape, [HI], True))
            assert (status, GRAMMARS[shape](told)) == (200, "error")


@inside_once
async def test_g14_a_blocked_prompt() -> None:
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7}}

    def script(request: Request) -> Steps:
        streams = ":streamGenerateContent" in request.target
        return [stream_head(), chunk(sse(blocked)), END] if streams else [respond(blocked)]

    async with Provider(Upstream(script)) as provider, Inside(CONFIG, provider) as gateway:
        for stream in (False, True):
            found = {}
            for shape in SHAPES:
                status, _, told = await ask(gateway, shape, asking(shape, [HI], stream))
                assert status == 200
                found[shape] = answer_of(shape, told, stream)
            assert found["chat"]["choices"][0]["finish_reason"] == "content_filter"
            assert found["messages"]["stop_reason"] == "refusal"
            assert found["responses"]["incomplete_details"] == {"reason": "content_filter"}
            assert found["responses"]["usage"]["input_tokens"] == 7


RAW = b'{\n  "error": {\n    "code": 503,\n    "message": "The model is overloaded.",\n    "status": "UNAVAILABLE"\n  }\n}\n'


@pytest.mark.parametrize(
    ("tail", "end", "code"),
    [
        (b"", END, "upstream_stream_interrupted"),
        (b"", b"", "upstream_stream_interrupted"),
        (RAW, END, "overloaded"),
        (sse({"error": {"message": "m", "status": "RESOURCE_EXHAUSTED"}}), END, "rate_limit_exceeded"),
    ],
)
@inside_once
async def test_g15_streams_that_fail(tail: bytes, end: bytes, code: str) -> None:
    with Provider(Upstream(answering(generated({"text": "x"}), *([tail] if tail else []), end=end))) as provider:
        async with Inside(CONFIG, provider) as gateway:
            for shape in SHAPES:
                status, _, told = await ask(gateway, shape, asking(shape, [HI], True))
                assert status != 200 or GRAMMARS[shape](told) == "error"  # in one read, it comes before anything was sent
                if shape == "chat":
                    assert (json.loads(told) if status != 200 else events(told)[-1])["error"]["code"] == code


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_a_finish_reason_proves_the_answer_even_if_the_connection_breaks(shape: str) -> None:
    with Provider(Upstream(answering(generated({"text": "All"}, finish="STOP", usageMetadata=USAGE), end=b""))) as provider:
        async with Inside(CONFIG, provider) as gateway:
            _, _, told = await ask(gateway, shape, asking(shape, [HI], True))
            assert GRAMMARS[shape](told) == "done"


@inside_once
async def test_g19_one_byte_at_a_time() -> None:
    signature = "QUFB" * 2000
    call = {"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}, "thoughtSignature": signature}
    script = answering(b"\r\n\r\n", generated({"text": "é😀\u2028"}), b"\r\n", generated(call, finish="STOP"), one_byte=True)
    async with Provider(Upstream(script)) as provider, Inside(CONFIG, provider) as gateway:
        _, _, told = await ask(gateway, "chat", asking("chat", [HI], True))
    message = answer_of("chat", told, True)["choices"][0]["message"]
    assert message["content"] == "é😀\u2028"
    assert message["tool_calls"][0]["extra_content"]["google"]["thought_signature"] == signature


@inside_once
async def test_g19_an_array_where_events_were_asked_for() -> None:
    chunks = [generated({"text": "a"}), generated({"text": "b"}, finish="STOP", usageMetadata=USAGE)]
    async with Provider(lambda request: [respond(chunks)]) as provider, Inside(CONFIG, provider) as gateway:
        for shape in SHAPES:
            _, _, told = await ask(gateway, shape, asking(shape, [HI], True))
            assert GRAMMARS[shape](told) == "done"


DETAILS = [
    {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "RequestsPerDayPerProject"}]},
    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "14.06s"},
]


@inside_once
async def test_g22_errors() -> None:
    quota = {"error": {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED", "details": DETAILS}}
    long = {"error": {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."}}
    key = {"error": {"code": 400, "message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}}
    for body, status, code in (
        (quota, 429, "rate_limit_exceeded"),
        (long, 400, "context_length_exceeded"),
        (key, 403, "upstream_auth_failed"),
    ):
        with Provider(lambda request, body=body: [respond(body, body["error"]["code"])]) as provider:
            async with Inside(CONFIG, provider) as gateway:
                found, headers, told = await ask(gateway, "chat", asking("chat", [HI], False))
                assert (found, json.loads(told)["error"]["code"]) == (status, code)
                if body is quota:
                    assert (headers["retry-after"], headers["x-should-retry"]) == ("15", "false")


@inside_once
async def test_a_refused_schema_is_written_in_googles_own_form() -> None:
    refused = {"error": {"code": 400, "message": 'Unknown name "parametersJsonSchema" at tools[0]: Cannot find field.'}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"const": 1}}}}}
    async with Provider(Upstream(lambda request: [respond(refused, 400)], DONE)) as provider, Inside(CONFIG, provider) as gateway:
        for _ in range(2):
            assert (await ask(gateway, "chat", asking("chat", [HI], False, tools=[tool])))[0] == 200
    assert [next(iter(r.json["tools"][0]["functionDeclarations"][0].keys() - {"name"})) for r in provider.requests] == [
        "parametersJsonSchema",
        "parameters",
        "parameters",
    ]


@inside_once
async def test_the_tokens_of_a_request() -> None:
    async with Provider(lambda request: [respond({"totalTokens": 31})]) as provider, Inside(CONFIG, provider) as gateway:
        for model in ("gemini/gemini-3-flash", "vertex/google/gemini-3-flash"):
            tools = [{"name": "f", "input_schema": {"type": "object"}}]
            asked = {"model": model, "messages": [HI], "tools": tools, "tool_choice": {"type": "any"}}
            data = json.dumps(asked).encode()
            head = f"POST /v1/messages/count_tokens HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
            async with gateway.call(head.encode() + data) as caller:
                status, headers = await caller.head()
                assert (status, json.loads(await caller.body(headers))) == (200, {"input_tokens": 31})
    counted = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "tools": [{"functionDeclarations": [{"name": "f"}]}]}
    first, second = provider.requests
    assert first.target == "/v1beta/models/gemini-3-flash:countTokens"
    config = {"functionCallingConfig": {"mode": "ANY"}}
    assert first.json == {"generateContentRequest": {"model": "models/gemini-3-flash", "toolConfig": config, **counted}}
    assert second.json == counted  # Vertex AI's has no other members


@inside_once
async def test_the_service_tier_on_vertex_is_a_header() -> None:
    """Up and, where the usage does not name it, down; the body would be refused with it."""
    answer = generated({"text": "Hi"}, finish="STOP", usageMetadata=USAGE)

    def script(request: Request) -> Steps:
        head = {"x_gemini_service_tier": "priority"}
        if ":stream" in request.target:
            return [stream_head(**head), chunk(sse(answer)), END]
        return [respond(answer, **head)]

    async with Provider(Upstream(script)) as provider, Inside(CONFIG, provider) as gateway:
        for model in ("vertex/google/gemini-3-flash", "gemini/gemini-3-flash"):
            for stream in (False, True):
                body = asking("chat", [HI], stream, model, service_tier="priority", stream_options={"include_usage": True})
                status, headers, told = await ask(gateway, "chat", body)
                assert (status, "x-dragoman-dropped" in headers) == (200, False)
                found = [each.get("service_tier") for each in (events(told) if stream else [json.loads(told)])]
                assert found[-1] == "priority"
    name = "x-vertex-ai-llm-shared-request-type"
    said = [(sent.headers.get(name), sent.json.get("serviceTier")) for sent in provider.requests]
    assert said == [*[("priority", None)] * 2, *[(None, "priority")] * 2]
