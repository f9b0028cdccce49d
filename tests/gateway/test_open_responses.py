"""Answers as Open Responses describes them, over upstreams of each API: its events, and objects with all members that one must have.

The tables are our own reading of its specification of 2026-04-24: a name and the JSON types that its value may have.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from ..codecs.grammar import GRAMMARS, events_of
from ..scripted import LAST_CHUNK, Gate, Provider, Request, Steps, chunk, close, respond, sse, stream, stream_head, wait
from .inside import Inside, inside_once
from .sockets import ENDS, connected, quiet
from .spoken import SHAPE_AT
from .upstreams import Answer, called, chat_chunk, completion, message, opened, said, thought
from .wire import request

JSON = dict[str, Any]

NULL = type(None)
RESPONSE: dict[str, tuple[type, ...]] = {
    "id": (str,), "object": (str,), "created_at": (int,), "completed_at": (int, NULL), "status": (str,), "incomplete_details": (dict, NULL),
    "model": (str,), "previous_response_id": (str, NULL), "instructions": (str, NULL), "output": (list,), "error": (dict, NULL),
    "tools": (list,), "tool_choice": (str, dict), "truncation": (str,), "parallel_tool_calls": (bool,), "text": (dict,),
    "top_p": (int, float), "temperature": (int, float), "presence_penalty": (int, float), "frequency_penalty": (int, float),
    "top_logprobs": (int,), "reasoning": (dict, NULL), "usage": (dict, NULL),
    "max_output_tokens": (int, NULL), "max_tool_calls": (int, NULL),
    "store": (bool,), "background": (bool,), "service_tier": (str,), "metadata": (dict,), "safety_identifier": (str, NULL),
    "prompt_cache_key": (str, NULL),
}  # fmt: skip
USAGE: dict[str, tuple[type, ...]] = {
    "input_tokens": (int,), "output_tokens": (int,), "total_tokens": (int,),
    "input_tokens_details": (dict,), "output_tokens_details": (dict,),
}  # fmt: skip
FUNCTION: dict[str, tuple[type, ...]] = {
    "type": (str,),
    "name": (str,),
    "description": (str, NULL),
    "parameters": (dict, NULL),
    "strict": (bool, NULL),
}
EVENT: dict[str, tuple[type, ...]] = {"type": (str,), "sequence_number": (int,)}
IN_ITEM = EVENT | {"item_id": (str,), "output_index": (int,)}
IN_PART = IN_ITEM | {"content_index": (int,)}
EVENTS: dict[str, dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(
        (f"response.{step}" for step in ("created", "in_progress", "completed", "failed", "incomplete")), EVENT | {"response": (dict,)}
    ),
    **dict.fromkeys(
        ("response.output_item.added", "response.output_item.done"), EVENT | {"output_index": (int,), "item": (dict,)}
    ),
    **dict.fromkeys(("response.content_part.added", "response.content_part.done"), IN_PART | {"part": (dict,)}),
    "response.output_text.delta": IN_PART | {"delta": (str,)},
    "response.output_text.done": IN_PART | {"text": (str,)},
    "response.reasoning.delta": IN_PART | {"delta": (str,)},
    "response.reasoning.done": IN_PART | {"text": (str,)},
    "response.function_call_arguments.delta": IN_ITEM | {"delta": (str,)},
    "response.function_call_arguments.done": IN_ITEM | {"arguments": (str,)},
    "error": EVENT | {"error": (dict,)},
}  # fmt: skip
ITEMS: dict[str, dict[str, tuple[type, ...]]] = {
    "message": {"id": (str,), "status": (str,), "role": (str,), "content": (list,)},
    "reasoning": {"id": (str,), "summary": (list,)},
    "function_call": {"id": (str,), "call_id": (str,), "name": (str,), "arguments": (str,), "status": (str,)},
}


SDK: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def has(value: JSON, members: dict[str, tuple[type, ...]]) -> None:
    for name, types in members.items():
        assert name in value, name
        assert type(value[name]) in types, (name, value[name])


def check_response(response: JSON) -> None:
    has(response, RESPONSE)
    assert response["object"] == "response"
    if response["usage"] is not None:
        has(response["usage"], USAGE)
    for tool in response["tools"]:
        has(tool, FUNCTION)
    for item in response["output"]:
        has(item, ITEMS[item["type"]])


def check_stream(data: bytes) -> list[JSON]:
    """The events. Their order is the grammar's affair."""
    assert data.endswith(b"\n\ndata: [DONE]\n\n")
    assert data.count(b"[DONE]") == 1
    events = [value for _, value in events_of(data)[:-1]]
    for event in events:
        has(event, EVENTS[event["type"]])
        if "response" in event:
            check_response(event["response"])
        if "item" in event:
            has(event["item"], ITEMS[event["item"]["type"]])
    return events


# ---- upstreams ----

TOOLS = [{"type": "function", "name": "f"}]


def sparse(*items: JSON, deltas: tuple[JSON, ...] = ()) -> Answer:
    """As small servers answer: of a response only what they made."""
    done = {"id": "resp_up", "object": "response", "created_at": 7, "model": "big", "status": "completed", "output": list(items)}
    done["usage"] = {"input_tokens": 3, "output_tokens": 2}
    begun = done | {"status": "in_progress", "output": [], "usage": None}
    events: list[JSON] = [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]
    for index, item in enumerate(items):
        events.append({"type": "response.output_item.added", "output_index": index, "item": item | EMPTY[item["type"]]})
        events += deltas
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": done})
    return Answer([sse({**event, "sequence_number": number}, event["type"]) for number, event in enumerate(events)], done)


EMPTY = {"message": {"content": [], "status": "in_progress"}, "function_call": {"arguments": "", "status": "in_progress"}}
PART = {"type": "output_text", "text": "Hi", "annotations": []}
AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
SPARSE_TEXT = sparse(
    {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [PART]},
    deltas=(
        {"type": "response.content_part.added", **AT, "part": PART | {"text": ""}},
        {"type": "response.output_text.delta", **AT, "delta": "Hi"},
        {"type": "response.output_text.done", **AT, "text": "Hi"},
        {"type": "response.content_part.done", **AT, "part": PART},
    ),
)
SPARSE_CALL = sparse(
    {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}", "status": "completed"},
    deltas=(
        {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 0, "delta": "{}"},
        {"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 0, "arguments": "{}"},
    ),
)
COUNTS = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
WHOLE_CALL = {"tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
TEXTS = {
    "chat": completion({"content": "Hi"}, usage=COUNTS, said={"content": "Hi"}), "messages": message(said("Hi")), "responses": SPARSE_TEXT,
}  # fmt: skip
CALLS = {
    "chat": completion(opened(0, "call_1", "f", "{}"), finish="tool_calls", usage=COUNTS, said=WHOLE_CALL),
    "messages": message(called("call_1", "f", "{}"), stop="tool_use"),
    "responses": SPARSE_CALL,
}

CONFIG = """\
listeners: [{type: model, address: 127.0.0.1}]
RESPONSES
model_providers:
  - {model: chat/*, base_url: UPSTREAM/v1, access_key: sk-upstream, apis: [chat_completions]}
  - {model: messages/*, base_url: UPSTREAM/v1, access_key: sk-upstream, apis: [messages]}
  - {model: responses/*, base_url: UPSTREAM/v1, access_key: sk-upstream, apis: [responses], capabilities: {echo_model: upstream}}
  - {model: kept/*, base_url: UPSTREAM/v1, access_key: sk-upstream, apis: [responses], capabilities: {r.stateful: false}}
"""
OPEN = "responses: {dialect: open}"
LATEST = {"OpenResponses_Version": "latest"}
UPSTREAMS = ("chat", "messages", "responses", "kept")


def answering(text: dict[str, Answer], call: dict[str, Answer] = CALLS) -> Any:
    def script(asked: Request) -> Steps:
        answers = call if asked.json.get("tools") else text
        return answers[SHAPE_AT[asked.target]].steps(bool(asked.json.get("stream")))

    return script


async def ask(gateway: Inside, upstream: str, headers: dict[str, str] | None = None, **body: Any) -> bytes:
    data = request("/v1/responses", {"model": f"{upstream}/m", "input": "q"} | body, **(headers or {}))
    async with gateway.call(data) as caller:
        status, told = await caller.head()
        found = await caller.body(told)
        assert status == 200, found
        return found


# ---- tests ----


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("tools", [[], TOOLS])
@pytest.mark.parametrize("upstream", UPSTREAMS)
@inside_once
async def test_every_object_and_event(upstream: str, tools: list[JSON], store: bool) -> None:
    """R34 and R35."""
    more: JSON = {"store": store} | ({"tools": tools} if tools else {})
    async with Provider(answering(TEXTS)) as provider, Inside(CONFIG, provider, RESPONSES=OPEN) as gateway:
        whole = orjson.loads(await ask(gateway, upstream, **more))
        data = await ask(gateway, upstream, stream=True, **more)
    check_response(whole)
    events = check_stream(data)
    assert GRAMMARS["responses"](data) == "done"
    Response.model_validate(whole)  # it is what OpenAI's SDK expects, too
    for event in events:
        if "response" in event or upstream in ("chat", "messages"):
            SDK.validate_python(event)
    for response in (whole, events[-1]["response"]):
        assert (response["presence_penalty"], response["frequency_penalty"], response["service_tier"]) == (0, 0, "default")
        assert response["status"] == "completed"
        assert response["output"][-1]["type"] == ("function_call" if tools else "message")
        assert response["usage"]["total_tokens"] in (5, 19)
        assert response["store"] is store
        assert [tool["name"] for tool in response["tools"]] == (["f"] if tools else [])


@pytest.mark.parametrize("cut", [1, 3, 7, 50, 4096])
@inside_once
async def test_filling_up_leaves_the_other_bytes(cut: int) -> None:
    """However the upstream's stream is cut, only events that show the response are written anew."""
    data = b"".join([*SPARSE_TEXT.events, b"data: [DONE]\n\n"])
    pieces = [data[n : n + cut] for n in range(0, len(data), cut)]
    with Provider(lambda asked: [stream_head(), *map(chunk, pieces), LAST_CHUNK]) as provider:
        async with Inside(CONFIG, provider, RESPONSES=OPEN) as gateway:
            told = await ask(gateway, "responses", stream=True, store=False)
            assert gateway.lines[0]["lane"] == "edited"
    check_stream(told)
    for event in SPARSE_TEXT.events[2:-1]:
        assert event in told
    assert SPARSE_TEXT.events[0] not in told


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
@inside_once
async def test_what_a_sparse_upstream_says_counts(ends: bytes) -> None:
    """Also numbers that Python would write otherwise, members that nobody knows, and nulls that are values."""
    usual = b'"temperature":0.70,"tools":null,"service_tier":"flex","shiny":{"a":1e3},"error":null'
    data = b"".join(SPARSE_TEXT.events).replace(b'"object":"response"', b'"object":"response",' + usual).replace(b"\n", ends)
    with Provider(lambda asked: [stream_head(), chunk(data), LAST_CHUNK]) as provider:
        async with Inside(CONFIG, provider, RESPONSES=OPEN) as gateway:
            told = await ask(gateway, "responses", stream=True, store=False, temperature=0.2, metadata={"a": "b"}, tools=TOOLS)
    end = check_stream(told.replace(b"\r\n", b"\n"))[-1]["response"]
    assert (end["temperature"], end["service_tier"], end["shiny"], end["error"], end["model"]) == (
        0.7,
        "flex",
        {"a": 1000},
        None,
        "big",
    )
    assert (end["metadata"], end["tools"]) == (
        {"a": "b"},
        [{"type": "function", "name": "f", "description": None, "parameters": None, "strict": None}],
    )
    assert end["usage"]["total_tokens"] == 5


@pytest.mark.parametrize("member", ["tools", "text", "reasoning", "metadata", "instructions", "previous_response_id"])
@pytest.mark.parametrize("value", [5, "x", [], {"format": 5}, [[1]]])
@inside_once
async def test_a_request_that_only_its_upstream_understands(member: str, value: Any) -> None:
    """What it asked is said back as far as it can be; nothing breaks on it."""
    with Provider(answering({"responses": SPARSE_TEXT}, {"responses": SPARSE_TEXT})) as provider:
        async with Inside(CONFIG, provider, RESPONSES=OPEN) as gateway:
            body = {"model": "responses/m", "input": "q", "store": False, "stream": True, member: value}
            async with gateway.call(request("/v1/responses", body)) as caller:
                status, told = await caller.head()
                data = await caller.body(told)
    assert status == 400 or GRAMMARS["responses"](data) == "done"


@inside_once
async def test_a_sparse_upstream_is_left_as_it_is_unless_it_is_asked_for() -> None:
    with Provider(answering(TEXTS)) as provider:
        async with Inside(CONFIG, provider, RESPONSES="responses: {complete: false, dialect: open}") as gateway:
            told = await ask(gateway, "responses", stream=True, store=False)
            assert told == b"".join([*SPARSE_TEXT.events, b"data: [DONE]\n\n"])
            assert orjson.loads(await ask(gateway, "responses", store=False)) == SPARSE_TEXT.whole
        async with Inside(CONFIG, provider, RESPONSES="") as gateway:
            assert await ask(gateway, "responses", stream=True, store=False) == b"".join(SPARSE_TEXT.events)
        async with Inside(CONFIG, provider, RESPONSES="responses: {complete: true}") as gateway:
            told = await ask(gateway, "responses", stream=True, store=False)
            check_stream(told + b"data: [DONE]\n\n")
            check_response(orjson.loads(await ask(gateway, "responses", store=False)))


THINKING = {
    "chat": completion({"reasoning_content": "Hm"}, {"content": "Hi"}), "messages": message(thought("Hm", "sig"), said("Hi")),
}  # fmt: skip


@pytest.mark.parametrize("upstream", THINKING)
@inside_once
async def test_raw_reasoning_is_called_as_the_caller_knows_it(upstream: str) -> None:
    """R36."""
    async with Provider(answering(THINKING)) as provider, Inside(CONFIG, provider, RESPONSES="") as gateway:
        usual = await ask(gateway, upstream, stream=True)
        asked = await ask(gateway, upstream, LATEST, stream=True)
        summed = await ask(gateway, upstream, LATEST, stream=True, reasoning={"summary": "auto"})
    assert b"event: response.reasoning_text.delta" in usual
    assert b"event: response.reasoning_text.done" in usual
    assert b"event: response.reasoning." not in usual
    assert b"[DONE]" not in usual
    kinds = [event["type"] for event in check_stream(asked)]
    assert kinds.count("response.reasoning.delta") == kinds.count("response.reasoning.done") == 1
    assert b"response.reasoning_summary_text.delta" in summed
    assert GRAMMARS["responses"](usual) == GRAMMARS["responses"](asked) == GRAMMARS["responses"](summed) == "done"


# after its first content: a chat upstream that breaks off, and one of the same API whose answer is stored here, or is not
BREAKING: dict[str, list[bytes]] = {
    "chat": [chat_chunk({"role": "assistant", "content": "Hi"})],
    "responses": SPARSE_TEXT.events[:5],
    "kept": SPARSE_TEXT.events[:5],
}


@pytest.mark.parametrize("upstream", BREAKING)
@pytest.mark.parametrize("asked", [True, False])
@inside_once
async def test_the_order_in_which_a_failure_is_told(upstream: str, asked: bool) -> None:
    """R36."""
    headers = LATEST if asked else {}
    async with Provider(lambda _: stream(*BREAKING[upstream])) as provider, Inside(CONFIG, provider, RESPONSES="") as gateway:
        told = await ask(gateway, upstream, headers, stream=True, store=upstream == "kept")
    events = check_stream(told) if asked else [value for _, value in events_of(told)]
    assert [event["type"] for event in events[-2:]] == (["error", "response.failed"] if asked else ["response.failed", "error"])
    failed, error = sorted(events[-2:], key=lambda event: event["type"], reverse=True)
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"]["code"] == "server_error"
    assert error["error"]["type"] == "server_error"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.parametrize("ends", ["well", "broken"])
@pytest.mark.parametrize("upstream", ["chat", "messages", "responses", "kept"])
@inside_once
async def test_the_dialect_over_a_websocket(upstream: str, ends: str) -> None:
    """R36: its events, but no end mark, and no `error` behind response.created."""
    shape = "responses" if upstream == "kept" else upstream
    answer = {**THINKING, "responses": SPARSE_TEXT}[shape]
    pieces = [chunk(event) for event in answer.events[: -1 if ends == "well" else -2]]
    last = [*map(chunk, answer.events[-1:]), LAST_CHUNK] if ends == "well" else [close]
    gate = Gate()
    with Provider(lambda _: [stream_head(), *pieces, wait(gate), *last]) as provider:
        async with Inside(CONFIG, provider, RESPONSES="") as gateway, connected(gateway, **LATEST) as socket:
            socket.create(model=f"{upstream}/m", input="q", store=upstream == "kept")
            texts = [await socket.message()]
            while '.delta"' not in texts[-1] or "reasoning" in texts[-1]:
                texts.append(await socket.message())
            gate.open()
            while not any(end in texts[-1] for end in ENDS):
                texts.append(await socket.message())
            assert await quiet(socket)
    assert not any("[DONE]" in text for text in texts)
    kinds = [orjson.loads(text)["type"] for text in texts]
    assert kinds[-1] == ("response.completed" if ends == "well" else "response.failed")
    assert "error" not in kinds
    if upstream in THINKING:
        assert "response.reasoning.delta" in kinds
        assert "response.reasoning_text.delta" not in kinds


DOCUMENT = "data:application/pdf;base64,JVBERi0xLjQ="
FILE = {"type": "input_file", "filename": "a.pdf", "file_data": DOCUMENT}


@pytest.mark.parametrize("upstream", UPSTREAMS)
@inside_once
async def test_a_call_goes_round(upstream: str) -> None:
    """R34: a streamed call, its output with the history and by the id of its response, and a file."""
    with Provider(answering(TEXTS)) as provider:
        files = CONFIG.replace("apis: [chat_completions]", "apis: [chat_completions], capabilities: {c.file_parts: true}")
        async with Inside(files, provider, RESPONSES=OPEN) as gateway:
            asked: JSON = {"role": "user", "content": [{"type": "input_text", "text": "q"}, FILE]}
            first = check_stream(await ask(gateway, upstream, input=[asked], tools=TOOLS, stream=True))[-1]["response"]
            (call,) = first["output"]
            output = {"type": "function_call_output", "call_id": call["call_id"], "output": "4"}
            ways: list[JSON] = [{"input": [asked, call, output]}]
            if upstream != "responses":  # one that keeps its responses knows them
                ways.append({"input": [output], "previous_response_id": first["id"]})
            for way in ways:
                whole = orjson.loads(await ask(gateway, upstream, **way))
                check_response(whole)
                assert whole["output"][0]["content"][0]["text"] == "Hi"
                assert whole["previous_response_id"] == way.get("previous_response_id")
            sent = [asked.body.decode() for asked in provider.requests]
    assert all("JVBERi0xLjQ=" in body for body in sent)
    assert all(call["call_id"] in body and '"4"' in body for body in sent[1:])


REFUSAL = {
    "code": "bio_policy", "message": "No, says sk-upstream.", "type": "invalid_request_error", "param": "input", "misalignment": {"a": 1}
}  # fmt: skip


@pytest.mark.parametrize("caller", ["responses", "chat"])
@inside_once
async def test_what_an_upstream_says_of_its_failure(caller: str) -> None:
    """Its code and what it is about reach the caller; a key in its words does not."""
    failed = SPARSE_TEXT.whole | {"status": "failed", "error": REFUSAL}
    end = sse({"type": "response.failed", "sequence_number": 9, "response": failed}, "response.failed")
    gate = Gate()
    begun = chunk(b"".join(SPARSE_TEXT.events[:5]))
    with Provider([stream_head(), begun, wait(gate), chunk(end), LAST_CHUNK]) as provider:
        async with Inside(CONFIG, provider, RESPONSES="") as gateway, gateway.ask(caller, "kept/m", stream=True) as asking:
            _, headers = await asking.head()
            told = await asking.until(b"Hi")
            gate.open()
            told += await asking.body(headers)
    assert b"sk-upstream" not in told
    assert GRAMMARS[caller](told) == "error"
    shown = [value for _, value in events_of(told)]
    error = shown[-1]["error"]
    assert (error["code"], error["param"], error["type"]) == ("bio_policy", "input", "invalid_request_error")
    if caller == "responses":
        response = shown[-2]["response"]
        assert response["error"] | {"message": ""} == REFUSAL | {"message": ""}
        assert response["error"]["message"] == error["message"]


@pytest.mark.parametrize("asked", [True, False])
@inside_once
async def test_a_stream_that_was_begun_by_time(asked: bool) -> None:
    headers = LATEST if asked else {}
    config = CONFIG + "keep_alive: {begin_after: 50ms}\n"

    gate = Gate()
    refusal = respond({"error": {"message": "No.", "type": "invalid_request_error"}}, 400)
    async with Provider([wait(gate), refusal]) as provider, Inside(config, provider, RESPONSES="") as gateway:
        data = request("/v1/responses", {"model": "chat/m", "input": "q", "stream": True}, **headers)
        async with gateway.call(data) as caller:
            status, told = await caller.head()
            gate.open()
            found = await caller.body(told)
    assert status == 200
    found = re.sub(rb"^(?::[^\n]*\n\n)+", b"", found)
    kinds = [event["type"] for event in (check_stream(found) if asked else [value for _, value in events_of(found)])]
    assert kinds[-2:] == (["error", "response.failed"] if asked else ["response.failed", "error"])


KEYED = """\
listeners: [{type: model, address: 127.0.0.1}]
responses: {dialect: openai}
access_keys:
  - {key: plain, name: plain}
  - {key: opened, name: opened, responses: {dialect: open}}
  - {key: asking, name: asking, responses: {dialect: auto, complete: false}}
model_providers:
  - {model: chat/*, base_url: UPSTREAM/v1, access_key: sk-upstream, apis: [chat_completions]}
  - {model: entry/*, base_url: UPSTREAM/v1, access_key: sk-upstream, apis: [chat_completions], responses: {dialect: open}}
"""


@pytest.mark.parametrize(
    ("key", "model", "header", "is_open"),
    [
        ("plain", "chat", False, False), ("plain", "chat", True, False), ("plain", "entry", False, True),
        ("opened", "chat", False, True), ("opened", "entry", False, True),
        ("asking", "chat", False, False), ("asking", "chat", True, True), ("asking", "entry", False, False),
    ],
)  # fmt: skip
@inside_once
async def test_who_says_which_dialect(key: str, model: str, header: bool, is_open: bool) -> None:
    headers = {"authorization": f"Bearer {key}"} | (LATEST if header else {})
    async with Provider(answering(TEXTS)) as provider, Inside(KEYED, provider) as gateway:
        told = await ask(gateway, model, headers, stream=True)
    assert told.endswith(b"data: [DONE]\n\n") is is_open


@inside_once
async def test_events_of_a_background_response_are_kept_in_the_usual_dialect() -> None:
    """Whoever reads them later may ask for another."""
    async with Provider(answering(THINKING)) as provider, Inside(CONFIG, provider, RESPONSES=OPEN) as gateway:
        told = await ask(gateway, "chat", stream=True, background=True)
    assert b"event: response.reasoning_text.delta" in told
    assert b"[DONE]" not in told
    assert told.count(b"event: response.completed") == 1


@inside_once
async def test_callers_of_other_apis_have_no_dialect() -> None:
    with Provider(answering(TEXTS)) as provider:
        async with Inside(CONFIG, provider, RESPONSES=OPEN) as gateway, gateway.ask("chat", "responses/m", stream=True) as caller:
            _, told = await caller.head()
            data = await caller.body(told)
    assert GRAMMARS["chat"](data) == "done"


FORM = {"type": "json_schema", "name": "o", "schema": {"type": "object", "properties": {}, "additionalProperties": False}}


@pytest.mark.parametrize("upstream", UPSTREAMS)
@inside_once
async def test_what_was_asked_is_said_back_with_all_members(upstream: str) -> None:
    async with Provider(answering(TEXTS)) as provider, Inside(CONFIG, provider, RESPONSES=OPEN) as gateway:
        whole = orjson.loads(await ask(gateway, upstream, text={"format": FORM}, presence_penalty=0.5, frequency_penalty=-1))
    assert whole["text"]["format"] == FORM | {"description": None, "strict": False}
    assert (whole["presence_penalty"], whole["frequency_penalty"]) == (0.5, -1)
