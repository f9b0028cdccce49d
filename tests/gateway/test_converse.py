"""Converse and ConverseStream behind callers of every API, over real sockets, with the double that verifies signatures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anthropic
import botocore.session
import openai
import orjson
import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.parsers import EventStreamJSONParser

from dragoman.proxy.exchange import attempt

from ..scripted import LAST_CHUNK, Gate, Request, Steps, chunk, respond, stream_head, until_closed, wait
from .aws import KEY_ID, SECRET, Bedrock, event, exception, frame, refused, streamed
from .bedrock import EVENT_STREAM, IN_REQUESTS, ask, asked
from .inside import Inside, inside_once
from .spoken import SHAPES
from .wire import request

JSON = dict[str, Any]
NOVA = "us.amazon.nova-2-lite-v1:0"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
KEYS = f"region: us-east-1, access_key_id: {KEY_ID}, secret_access_key: {SECRET}"
USAGE = {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8, "cacheReadInputTokens": 0, "cacheWriteInputTokens": 0}


def config(model: str = NOVA, more: str = "") -> str:
    return f'model_providers:\n  - {{model: "bedrock/{model}", name: c, base_url: "UPSTREAM", aws: {{{KEYS}}}{more}}}\n'


def delta(index: int, **inner: Any) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": inner, "p": "abc"})


def stop(index: int) -> bytes:
    return event("contentBlockStop", {"contentBlockIndex": index})


START = event("messageStart", {"role": "assistant"})


def ends(reason: str = "end_turn") -> list[bytes]:
    return [event("messageStop", {"stopReason": reason}), event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}})]


def whole(*content: JSON, reason: str = "end_turn") -> JSON:
    return {"output": {"message": {"role": "assistant", "content": list(content)}}, "stopReason": reason, "usage": USAGE}


class Answers:
    """Answers with the content of a complete answer, streamed where a stream is asked for."""

    def __init__(self, *frames: bytes, body: JSON | None = None) -> None:
        self.seen: list[Request] = []
        self.frames = frames or (START, delta(0, text="H"), delta(0, text="i"), stop(0), *ends())
        self.body = body or whole({"text": "Hi"})

    def __call__(self, request: Request) -> Steps:
        self.seen.append(request)
        return streamed(*self.frames) if request.target.endswith("-stream") else [respond(self.body, x_amzn_requestid="req-1")]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_every_caller_is_answered(shape: str, stream: bool) -> None:
    answers = Answers()
    async with Bedrock(answers) as up, Inside(config(), up) as gateway:
        status, headers, answer = await ask(gateway, shape, asked(shape, stream=stream))
        (line,) = gateway.lines
    assert (status, up.wrong) == (200, [])
    (sent,) = answers.seen
    assert sent.target == "/model/us.amazon.nova-2-lite-v1%3A0/converse" + ("-stream" if stream else "")
    assert sent.headers["accept"] == (EVENT_STREAM if stream else "application/json")
    assert not {"model", "stream"} & sent.json.keys()
    assert headers["x-dragoman-lane"] == "events"
    assert headers["x-dragoman-upstream-request-id"] == "req-1"
    assert b"Hi" in answer or (b'"H"' in answer and b'"i"' in answer)
    assert line["tokens"] == {"input": 3, "output": 5, "cached": 0}
    assert line["upstream_api"] == "converse"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@inside_once
async def test_guardrails_of_an_entry_are_members(stream: bool) -> None:
    answers = Answers()
    text = config().replace(KEYS, f"{KEYS}, {IN_REQUESTS}, metadata_from_caller: true")
    async with Bedrock(answers) as up, Inside(text, up) as gateway:
        await ask(gateway, "chat", asked("chat", stream=stream, user="u", metadata={"team": "not a", "n": "1"}))
    sent = answers.seen[0].json
    mode = {"streamProcessingMode": "async"} if stream else {}
    assert sent["guardrailConfig"] == {"guardrailIdentifier": "gr1", "guardrailVersion": "3", "trace": "enabled"} | mode
    assert (sent["requestMetadata"], sent["projectIdentifier"]) == ({"team": "a", "user": "u", "n": "1"}, "p1")


BETAS = "context-1m-2025-08-07, oauth-2025-04-20,thinking-binding-controls-2026-08-01"


@pytest.mark.parametrize(
    ("model", "betas", "sent", "dropped"),
    [
        (CLAUDE, BETAS, ["context-1m-2025-08-07", "thinking-binding-controls-2026-08-01"], True),
        (CLAUDE, "context-1m-2025-08-07", ["context-1m-2025-08-07"], False),
        (CLAUDE, "oauth-2025-04-20", None, True),
        (NOVA, BETAS, None, True),
    ],
)
@inside_once
async def test_betas_of_claude_are_a_field_of_the_model(model: str, betas: str, sent: list[str] | None, dropped: bool) -> None:
    answers = Answers()
    async with Bedrock(answers) as up, Inside(config(model, ", apis: [converse]"), up) as gateway:
        status, headers, _ = await ask(gateway, "messages", asked(), anthropic_beta=betas)
        assert (status, up.wrong) == (200, [])
        assert headers.get("x-dragoman-dropped") == ("header:anthropic-beta" if dropped else None)
        status, _, _ = await ask(gateway, "messages", asked(), anthropic_beta=betas, x_dragoman_strict="1")
        assert status == (400 if dropped else 200)
    assert answers.seen[0].json.get("additionalModelRequestFields", {}).get("anthropic_beta") == sent
    assert "anthropic-beta" not in answers.seen[0].headers


@pytest.mark.parametrize(
    ("patterns", "sent"), [("['*']", ["context-1m-2025-08-07", "new-1"]), ("['!context-*', '*']", ["new-1"]), ("[]", None)]
)
@inside_once
async def test_the_betas_of_an_entry_are_its_own(patterns: str, sent: list[str] | None) -> None:
    for model, wanted in ((CLAUDE, sent), (NOVA, None)):
        answers = Answers()
        async with Bedrock(answers) as up, Inside(config(model, f", apis: [converse], anthropic_beta: {patterns}"), up) as gateway:
            status, _, _ = await ask(gateway, "messages", asked(), anthropic_beta="context-1m-2025-08-07,new-1")
        assert (status, up.wrong) == (200, [])
        assert answers.seen[0].json.get("additionalModelRequestFields", {}).get("anthropic_beta") == wanted


@inside_once
async def test_c17_a_beta_that_is_refused_is_left_out_from_then_on() -> None:
    seen: list[JSON] = []

    def script(request: Request) -> Steps:
        seen.append(request.json.get("additionalModelRequestFields", {}))
        return (
            refused(400, "ValidationException", "invalid beta flag") if "anthropic_beta" in seen[-1] else [respond(whole({"text": "Hi"}))]
        )

    async with Bedrock(script) as up, Inside(config(CLAUDE, ", apis: [converse]"), up) as gateway:
        for _ in range(2):
            status, headers, _ = await ask(gateway, "messages", asked(), anthropic_beta="context-1m-2025-08-07")
            assert (status, headers["x-dragoman-dropped"]) == (200, "header:anthropic-beta")
    assert ["anthropic_beta" in fields for fields in seen] == [True, False, False]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@inside_once
async def test_the_log_names_the_model_that_a_prompt_router_chose(stream: bool) -> None:
    trace = {"promptRouter": {"invokedModelId": "arn:aws:bedrock:us-east-1::foundation-model/x"}}
    answers = Answers(START, delta(0, text="Hi"), stop(0), ends()[0], event("metadata", {"usage": USAGE, "trace": trace}))
    answers.body |= {"trace": trace}
    async with Bedrock(answers) as up, Inside(config(), up) as gateway:
        await ask(gateway, "chat", asked("chat", stream=stream))
        (line,) = gateway.lines
    assert line["routed_model"] == "arn:aws:bedrock:us-east-1::foundation-model/x"


FINISH = {
    "end_turn": ("stop", "end_turn", "completed"),
    "stop_sequence": ("stop", "stop_sequence", "completed"),
    "max_tokens": ("length", "max_tokens", "incomplete"),
    "guardrail_intervened": ("content_filter", "refusal", "incomplete"),
    "content_filtered": ("content_filter", "refusal", "incomplete"),
    "model_context_window_exceeded": ("length", "model_context_window_exceeded", "incomplete"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("shape", ["chat", "messages", "responses"])
@pytest.mark.parametrize("reason", FINISH)
@inside_once
async def test_c22_stop_reasons(reason: str, shape: str, stream: bool) -> None:
    answers = Answers(START, delta(0, text="Hi"), stop(0), *ends(reason), body=whole({"text": "Hi"}, reason=reason))
    async with Bedrock(answers) as up, Inside(config(), up) as gateway:
        status, _, answer = await ask(gateway, shape, asked(shape, stream=stream))
    assert status == 200
    word = FINISH[reason][["chat", "messages", "responses"].index(shape)]
    key = {"chat": "finish_reason", "messages": "stop_reason", "responses": "status"}[shape]
    assert f'"{key}":"{word}"'.encode() in answer.replace(b'": "', b'":"')


CALLED = {
    "chat": (b'"finish_reason":"tool_calls"', b'"f"'),
    "messages": (b'"stop_reason":"tool_use"', b'"tooluse_1"'),
    "responses": (b'"status":"completed"', b'"function_call"'),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("shape", CALLED)
@pytest.mark.parametrize("reason", ["tool_use", "end_turn"])
@inside_once
async def test_c22_an_answer_that_calls_a_tool(reason: str, shape: str, stream: bool) -> None:
    call = {"toolUseId": "tooluse_1", "name": "f"}
    begun = event("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": call}})
    body = whole({"toolUse": call | {"input": {"a": 1}}}, reason=reason)
    answers = Answers(START, begun, delta(0, toolUse={"input": '{"a":1}'}), stop(0), *ends(reason), body=body)
    async with Bedrock(answers) as up, Inside(config(), up) as gateway:
        status, _, answer = await ask(gateway, shape, asked(shape, stream=stream))
    assert (status, up.wrong) == (200, [])
    assert [word in answer.replace(b'": ', b'":') for word in CALLED[shape]] == [True, True]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("shape", ["chat", "messages", "responses"])
@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use", "a_new_word"])
@inside_once
async def test_c22_failures_are_not_told_as_complete(reason: str, shape: str, stream: bool) -> None:
    gate = Gate()
    body = whole({"text": "Hi"}, reason=reason)
    begun = [stream_head(content_type=EVENT_STREAM), chunk(START + delta(0, text="Hi"))]

    def script(request: Request) -> Steps:
        if not stream:
            return [respond(body)]
        return [*begun, wait(gate), chunk(stop(0) + b"".join(ends(reason))), LAST_CHUNK]

    async with Bedrock(script) as up, Inside(config(), up) as gateway, gateway.ask(shape, "c", stream=stream) as caller:
        status, headers = await caller.head()
        if not stream:
            answer = await caller.body(headers)
        else:
            answer = await caller.until(b"Hi")
            gate.open()
            while piece := await caller.chunk():
                answer += piece
    assert status == (200 if stream else 502)
    assert b"error" in answer
    for complete in (b"message_stop", b"response.completed", b'"finish_reason":"'):
        assert complete not in answer


@pytest.mark.parametrize("shape", ["chat", "messages", "responses"])
@inside_once
async def test_an_answer_without_its_usage_is_complete(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upstream says no more behind its stop reason, and does not end."""
    monkeypatch.setattr(attempt, "SETTLING", 0.01)
    said = chunk(START + delta(0, text="Hi") + stop(0) + ends()[0])
    async with Bedrock(lambda _: [stream_head(content_type=EVENT_STREAM), said, until_closed]) as up, Inside(config(), up) as gateway:
        status, _, answer = await ask(gateway, shape, asked(shape, stream=True))
    assert (status, b"error" in answer.replace(b'"error":null', b"")) == (200, False)
    assert {"chat": b"[DONE]", "messages": b"message_stop", "responses": b"response.completed"}[shape] in answer


BROKEN = {
    "exception": exception("modelStreamErrorException", "It broke."),
    "error": frame({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "It broke."}, b""),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("shape", ["chat", "messages", "responses"])
@inside_once
async def test_c23_an_exception_after_content_is_the_apis_failure(shape: str, kind: str) -> None:
    gate = Gate()
    begun = [stream_head(content_type=EVENT_STREAM), chunk(START + delta(0, text="Hi"))]
    with Bedrock(lambda _: [*begun, wait(gate), chunk(BROKEN[kind]), LAST_CHUNK]) as up:
        async with Inside(config(), up) as gateway, gateway.ask(shape, "c", stream=True) as caller:
            await caller.head()
            answer = await caller.until(b"Hi")
            gate.open()
            while piece := await caller.chunk():
                answer += piece
    assert b"It broke." in answer
    assert b"message_stop" not in answer


@pytest.mark.parametrize("shape", ["chat", "messages", "responses"])
@inside_once
async def test_c23_an_exception_before_content_goes_to_the_next_candidate(shape: str) -> None:
    def script(request: Request) -> Steps:
        if "nova" in request.target:
            return streamed(START, exception("throttlingException", "Too many requests"))
        return streamed(START, delta(0, text="Hi"), stop(0), *ends())

    second = config("meta.llama3-70b-instruct-v1:0").removeprefix("model_providers:\n")
    async with Bedrock(script) as up, Inside(config() + second, up) as gateway:
        status, headers, answer = await ask(gateway, shape, asked(shape, stream=True))
    assert (status, headers["x-dragoman-upstream"]) == (200, "bedrock/meta.llama3-70b-instruct-v1:0")
    assert b"Too many" not in answer


@pytest.mark.parametrize("shape", ["chat", "messages", "responses"])
@inside_once
async def test_c25_throttling_is_told_without_a_time(shape: str) -> None:
    async with Bedrock(lambda _: refused(429, "ThrottlingException", "Too many requests")) as up, Inside(config(), up) as gateway:
        status, headers, answer = await ask(gateway, shape, asked(shape))
    assert (status, len(up.requests)) == (429, 1)
    assert b"Too many requests" in answer
    assert "retry-after" not in headers


@pytest.mark.parametrize("shape", ["chat", "messages", "responses"])
@inside_once
async def test_c25_throttling_is_tried_again_where_the_policy_says_so(shape: str) -> None:
    answers = iter([refused(429, "ThrottlingException", "m"), [respond(whole({"text": "Hi"}))]])
    policy = ", retry_policy: {backoff: {base: 1ms}}"
    async with Bedrock(lambda _: next(answers)) as up, Inside(config(more=policy), up) as gateway:
        status, _, _ = await ask(gateway, shape, asked(shape))
    assert (status, len(up.requests)) == (200, 2)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Input is too long for requested model.", b"Input is too long"),
        ("The model returned the following errors: Input Tokens Exceeded: 300000", b"Input Tokens Exceeded"),
    ],
)
@inside_once
async def test_c26_a_context_that_is_too_long(message: str, shown: bytes) -> None:
    async with Bedrock(lambda _: refused(400, "ValidationException", message)) as up, Inside(config(), up) as gateway:
        _, _, answer = await ask(gateway, "messages", asked())
        status, _, told = await ask(gateway, "chat", asked("chat"))
    assert shown in answer
    assert (status, orjson.loads(told)["error"]["code"]) == (400, "context_length_exceeded")


THINKS = (
    START,
    delta(0, reasoningContent={"text": "hm"}),
    delta(0, reasoningContent={"signature": "SIG+/=="}),
    stop(0),
    delta(1, reasoningContent={"redactedContent": "RXU4RQ=="}),
    stop(1),
    event("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "tooluse_1", "name": "f"}}}),
    delta(2, toolUse={"input": '{"a":1}'}),
    stop(2),
    *ends("tool_use"),
)
THOUGHTS = [{"reasoningText": {"text": "hm", "signature": "SIG+/=="}}, {"redactedContent": "RXU4RQ=="}]


@inside_once
async def test_c20_signatures_return_byte_for_byte_to_messages_callers() -> None:
    answers = Answers(*THINKS)
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    more: JSON = {"tools": tools, "max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000}, "stream": True}
    async with Bedrock(answers) as up, Inside(config(CLAUDE, ", apis: [converse]"), up) as gateway:
        _, _, answer = await ask(gateway, "messages", asked(**more))
        blocks = _blocks(answer)
        assert [block["type"] for block in blocks] == ["thinking", "redacted_thinking", "tool_use"]
        result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": blocks[2]["id"], "content": "1"}]}
        turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": blocks}, result]
        status, _, _ = await ask(gateway, "messages", asked(**more | {"messages": turns}))
    assert (status, up.wrong) == (200, [])
    assert answers.seen[1].json["additionalModelRequestFields"]["thinking"]["type"] == "enabled"
    sent = [block["reasoningContent"] for block in answers.seen[1].json["messages"][1]["content"] if "reasoningContent" in block]
    assert sent == THOUGHTS


def _blocks(answer: bytes) -> list[JSON]:
    """The content of a streamed message."""
    found: list[JSON] = []
    for line in answer.splitlines():
        if not line.startswith(b"data: {"):
            continue
        value = orjson.loads(line[6:])
        if value["type"] == "content_block_start":
            found.append(value["content_block"])
        elif value["type"] == "content_block_delta":
            for key, piece in value["delta"].items():
                if key == "partial_json":
                    found[-1]["input"] = orjson.loads(piece)
                elif key != "type":
                    found[-1][key] = found[-1].get(key, "") + piece
    return found


@inside_once
async def test_c20_signatures_return_byte_for_byte_to_chat_callers() -> None:
    answers = Answers(
        body=whole(
            {"reasoningContent": THOUGHTS[0]},
            {"reasoningContent": THOUGHTS[1]},
            {"toolUse": {"toolUseId": "tooluse_1", "name": "f", "input": {}}},
            reason="tool_use",
        )
    )
    more: JSON = {"tools": [{"type": "function", "function": {"name": "f"}}], "reasoning_effort": "low"}
    async with Bedrock(answers) as up, Inside(config(CLAUDE, ", apis: [converse]"), up) as gateway:
        _, _, answer = await ask(gateway, "chat", asked("chat", **more))
        said = orjson.loads(answer)["choices"][0]["message"]
        turns = [{"role": "user", "content": "q"}, said, {"role": "tool", "tool_call_id": "tooluse_1", "content": "1"}]
        status, _, _ = await ask(gateway, "chat", asked("chat", **more | {"messages": turns}))
    assert (status, up.wrong) == (200, [])
    sent = [block["reasoningContent"] for block in answers.seen[1].json["messages"][1]["content"] if "reasoningContent" in block]
    assert sent == THOUGHTS


# ---- recordings, with the vendors' SDKs as judges (C19) ----

CORPUS = Path(os.environ.get("DRAGOMAN_CORPUS", "/nowhere")) / "recordings" / "bedrock" / "stream"
RECORDED = [path.read_bytes() for path in sorted(CORPUS.glob("*/response.eventstream")) if b"messageStart" in path.read_bytes()][::3]


def _by_botocore(data: bytes) -> tuple[str, list[str], int, int]:
    """The text, the arguments of each call, and the tokens in and out that a stream says."""
    shape = botocore.session.Session().get_service_model("bedrock-runtime").operation_model("ConverseStream").get_event_stream_output()
    buffer, parser = EventStreamBuffer(), EventStreamJSONParser()
    buffer.add_data(data)
    text, calls, usage = "", dict[int, str](), dict[str, int]()
    for one in buffer:
        parsed = parser.parse(one.to_response_dict(), shape)
        piece = parsed.get("contentBlockDelta", {})
        text += piece.get("delta", {}).get("text", "")
        if "toolUse" in piece.get("delta", {}):
            index = piece["contentBlockIndex"]
            calls[index] = calls.get(index, "") + piece["delta"]["toolUse"]["input"]
        usage |= parsed.get("metadata", {}).get("usage", {})
    read = usage["inputTokens"] + usage.get("cacheReadInputTokens", 0) + usage.get("cacheWriteInputTokens", 0)
    return text, [json.dumps(json.loads(one)) for one in calls.values()], read, usage["outputTokens"]


@pytest.mark.skipif(not RECORDED, reason="DRAGOMAN_CORPUS names no folder of recordings")
@inside_once
async def test_c19_the_sdks_read_what_botocore_does() -> None:
    wanted, current = [_by_botocore(data) for data in RECORDED], [b""]
    async with Bedrock(lambda _: streamed(current[0])) as up, Inside(config(CLAUDE, ", apis: [converse]"), up) as gateway:
        base = f"http://127.0.0.1:{gateway.port}"
        open_ai = openai.AsyncOpenAI(api_key="k", base_url=f"{base}/v1", max_retries=0)
        async with open_ai, anthropic.AsyncAnthropic(api_key="k", base_url=base, max_retries=0) as messages:
            for current[0], one in zip(RECORDED, wanted, strict=True):
                assert await _of_chat(open_ai) == one
                assert await _of_responses(open_ai) == one
                assert await _of_messages(messages) == one
    assert up.wrong == []


async def _of_chat(client: openai.AsyncOpenAI) -> tuple[str, list[str], int, int]:
    text, calls, usage = "", dict[int, str](), None
    asked_for: Any = {"messages": [{"role": "user", "content": "q"}], "stream_options": {"include_usage": True}}
    async for part in await client.chat.completions.create(model="c", stream=True, **asked_for):
        usage = part.usage or usage
        for choice in part.choices:
            text += choice.delta.content or ""
            for call in choice.delta.tool_calls or ():
                calls[call.index] = calls.get(call.index, "") + (call.function.arguments if call.function else "")
    assert usage is not None
    return text, [json.dumps(json.loads(one)) for one in calls.values()], usage.prompt_tokens, usage.completion_tokens


async def _of_responses(client: openai.AsyncOpenAI) -> tuple[str, list[str], int, int]:
    async for part in await client.responses.create(model="c", input="q", stream=True):
        last = part
    assert last.type in ("response.completed", "response.incomplete")
    found = last.response
    calls = [json.dumps(json.loads(item.arguments)) for item in found.output if item.type == "function_call"]
    assert found.usage is not None
    return found.output_text, calls, found.usage.input_tokens, found.usage.output_tokens


async def _of_messages(client: anthropic.AsyncAnthropic) -> tuple[str, list[str], int, int]:
    async with client.messages.stream(model="c", max_tokens=9, messages=[{"role": "user", "content": "q"}]) as stream:
        found = await stream.get_final_message()
    text = "".join(block.text for block in found.content if block.type == "text")
    calls = [json.dumps(block.input) for block in found.content if block.type == "tool_use"]
    usage = found.usage
    read = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return text, calls, read, usage.output_tokens


@pytest.mark.parametrize(
    ("answer", "counted", "questions"),
    [
        (respond({"inputTokens": 42}), 42, 2),
        (refused(400, "ValidationException", "The provided model doesn't support counting tokens.")[0], None, 1),  # remembered
    ],
)
@inside_once
async def test_c28_tokens_are_counted_without_a_geography(answer: bytes, counted: int | None, questions: int) -> None:
    seen: list[Request] = []

    def script(request: Request) -> Steps:
        seen.append(request)
        return [answer]

    async with Bedrock(script) as up, Inside(config(NOVA.removeprefix("us.")), up) as gateway:
        body = {"model": "c", "system": "s", "messages": [{"role": "user", "content": "count me"}]}
        for _ in range(2):
            async with gateway.call(request("/v1/messages/count_tokens", body)) as caller:
                status, headers = await caller.head()
                found = orjson.loads(await caller.body(headers))["input_tokens"]
            assert (status, up.wrong, "x-dragoman-estimate" in headers) == (200, [], counted is None)
            assert found == counted or (counted is None and found > 0)
    assert [one.target for one in seen] == ["/model/amazon.nova-2-lite-v1%3A0/count-tokens"] * questions
    said = {"messages": [{"role": "user", "content": [{"text": "count me"}]}], "system": [{"text": "s"}]}
    assert seen[0].json == {"input": {"converse": said}}


@inside_once
async def test_c28_tokens_are_estimated() -> None:
    async with Bedrock(Answers()) as up, Inside(config(), up) as gateway:
        body = {"model": "c", "messages": [{"role": "user", "content": "count me"}]}
        async with gateway.call(request("/v1/messages/count_tokens", body)) as caller:
            status, headers = await caller.head()
            counted = orjson.loads(await caller.body(headers))
    assert (status, headers["x-dragoman-estimate"], up.requests) == (200, "true", [])
    assert counted["input_tokens"] > 0


# ---- the caller leaves (C27) ----


@inside_once
async def test_c27_the_upstream_is_let_go_when_the_caller_leaves() -> None:
    begun = [stream_head(content_type=EVENT_STREAM), chunk(START), chunk(delta(0, text="Hello")), until_closed]
    async with Bedrock(lambda _: begun) as up, Inside(config(), up) as gateway:
        async with gateway.ask("chat", "c", stream=True) as caller:
            await caller.head()
            await caller.until(b"Hello")
            caller.leave()
            await gateway.until(lambda: gateway.idle)
        await up.seen(lambda: up.connections[0].closed_by == "peer")
    assert up.wrong == []
