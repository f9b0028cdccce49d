"""Compaction over every upstream: by its own means where it has them, else by a summary that its model is asked for."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from typing import Any

import openai
import orjson
import pytest

from dragoman.codecs import compaction
from dragoman.conf.model import Compaction

from ..codecs.grammar import GRAMMARS
from ..scripted import LAST_CHUNK, Gate, Provider, Request, Steps, chunk, close, respond, stream_head, until_closed, wait
from .inside import CONFIG, Inside, inside_once
from .spoken import SHAPE_AT, SHAPES
from .upstreams import Answer, completion, message, said, text_answer, tool_answer
from .wire import request

JSON = dict[str, Any]

TRIGGER = {"type": "compaction_trigger"}
A, B, C = ({"type": "message", "role": role, "content": text} for role, text in (("user", "A"), ("assistant", "B"), ("user", "C")))
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "4"}
TOOL = {"type": "function", "name": "f", "description": None, "parameters": {"type": "object", "properties": {}}, "strict": False}
PROMPT = Compaction().prompt
PRICED = CONFIG + '\nprices: {"*": {input: 1, output: 2}}'
NATIVE = PRICED.replace("apis: [responses]", "apis: [responses], capabilities: {r.compact: true}")
OWN = {"type": "compaction", "id": "cmp_up", "encrypted_content": "gAAAAA"}
SUMMARY = "S" * 40
CHANGED = compaction.seal(SUMMARY, "m", 7, 9)  # with one byte that is another
CHANGED = CHANGED[:30] + ("A" if CHANGED[30] != "A" else "B") + CHANGED[31:]
COMPACTED = {
    "id": "resp_up", "object": "response.compaction", "created_at": 1, "output": [OWN], "usage": {"input_tokens": 30, "output_tokens": 4},
}  # fmt: skip


def says(text: str, shape: str) -> Answer:
    return text_answer(shape, text)


class Upstream:
    """Answers by what it is asked. asked: the bodies, and paths; says: the answers in turn, then "S"."""

    def __init__(self, *says: Callable[[str], Answer] | Steps) -> None:
        self.asked: list[JSON] = []
        self.paths: list[str] = []
        self._says = list(says)

    def __call__(self, request: Request) -> Steps:
        body = orjson.loads(request.body)
        self.asked.append(body)
        self.paths.append(request.target)
        if request.target.endswith("/compact"):
            return [respond(COMPACTED)]
        answer = self._says.pop(0) if self._says else partial(says, "S")
        return answer(SHAPE_AT[request.target]).steps(body.get("stream") is True) if callable(answer) else answer


def texts(shape: str, body: JSON) -> list[tuple[str, str]]:
    """Role and text of each message that an upstream was sent."""
    items = body["input"] if shape == "responses" else body["messages"]
    return [(item.get("role") or item["type"], _text(item.get("content"))) for item in items]


def _text(content: Any) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    return "|".join(part.get("text", part["type"]) for part in content)


def events(data: bytes) -> list[JSON]:
    GRAMMARS["responses"](data)
    return [orjson.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: {")]


def opened(item: JSON) -> str | None:
    assert item["type"] == "compaction"
    return compaction.unseal(item["encrypted_content"])


async def asked(gateway: Inside, upstream: str, path: str = "/v1/responses", **fields: Any) -> tuple[int, dict[str, str], JSON]:
    async with gateway.call(request(path, {"model": f"{upstream}/m", **fields})) as caller:
        status, headers = await caller.head()
        data = await caller.body(headers)
    await gateway.until(lambda: gateway.idle)
    if headers["content-type"].startswith("text/event-stream"):
        return status, headers, {"events": events(data)}
    return status, headers, orjson.loads(data)


# ---- the trigger ----


@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_a_trigger_streamed(upstream: str) -> None:
    """R28."""
    up = Upstream()
    async with Provider(up) as provider, Inside(PRICED, provider) as gateway:
        status, headers, answer = await asked(gateway, upstream, input=[A, B, C, TRIGGER], stream=True, tools=[TOOL], store=False)
        metrics = gateway.gateway.metrics.text().decode()
    assert (status, headers["x-dragoman-lane"]) == (200, "events")
    assert "x-dragoman-dropped" not in headers
    kinds = [event["type"].removeprefix("response.") for event in answer["events"]]
    assert kinds == ["created", "in_progress", "compaction.compacting", "output_item.added", "output_item.done", "completed"]
    response = answer["events"][-1]["response"]
    (item,) = response["output"]
    assert opened(item) == "S"
    assert answer["events"][2]["item_id"] == item["id"]
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (12, 7)
    (sent,) = up.asked
    told = texts(upstream, sent)
    assert ("assistant", "B") in told
    assert told[-1][0] == "user"
    assert told[-1][1].endswith(PROMPT)
    assert sent["tools"][0].get("name", sent["tools"][0].get("function", {}).get("name")) == "f"
    (line,) = gateway.lines
    assert (line["operation"], line["compaction"], line["status"], line["stop"]) == ("responses", "trigger", 200, "end")
    assert line["tokens"] == {"input": 12, "output": 7, "cached": 0}
    assert line["cost"] == pytest.approx(26e-6)
    assert 'dragoman_compactions_total{kind="trigger",result="done"} 1.0' in metrics


@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_a_trigger_whole_and_the_next_request(upstream: str) -> None:
    """Without state, as Codex goes on; and by the id of what was stored."""
    up = Upstream()
    async with Provider(up) as provider, Inside(CONFIG, provider) as gateway:
        status, _, answer = await asked(gateway, upstream, input=[A, B, CALL, OUTPUT, TRIGGER], tools=[TOOL], tool_choice="required")
        assert (status, answer["object"], answer["status"]) == (200, "response", "completed")
        assert opened(answer["output"][0]) == "S"
        await asked(gateway, upstream, input=[A, answer["output"][0], C], store=False)
        await asked(gateway, upstream, input=[C], previous_response_id=answer["id"])
    summary = compaction.as_message("S")
    flat = [("user", f"A|{summary}|C")] if upstream == "messages" else [("user", "A"), ("user", summary), ("user", "C")]
    first, *later = up.asked
    assert first.get("tool_choice") in ("auto", {"type": "auto"})
    for sent in later:
        assert texts(upstream, sent) == flat
        assert "dgc1." not in orjson.dumps(sent).decode()
        assert "previous_response_id" not in sent


@pytest.mark.parametrize("upstream", [*SHAPES, "native"])
@inside_once
async def test_a_summary_in_the_middle(upstream: str) -> None:
    """R29."""
    item = {"type": "compaction", "encrypted_content": compaction.seal("S", "m", 7, 9)}
    up, shape = Upstream(), "responses" if upstream == "native" else upstream
    async with Provider(up) as provider, Inside(NATIVE if upstream == "native" else CONFIG, provider) as gateway:
        assert (await asked(gateway, shape, input=[A, B, item, C]))[0] == 200
    (sent,) = up.asked
    summary = compaction.as_message("S")
    flat = [("user", f"A|{summary}|C")] if shape == "messages" else [("user", "A"), ("user", summary), ("user", "C")]
    if shape == "responses":
        assert "dgc1." not in str(sent)
    assert texts(shape, sent) == flat


@inside_once
async def test_what_is_stored_is_compacted() -> None:
    """A trigger over a chain; then a chain over the summary, and a second one over that."""
    up = Upstream(*(partial(says, text) for text in ("B", "B", "S1", "D")))
    async with Provider(up) as provider, Inside(CONFIG, provider) as gateway:
        _, _, first = await asked(gateway, "chat", input=[A])
        _, _, second = await asked(gateway, "chat", input=[C], previous_response_id=first["id"])
        _, _, third = await asked(gateway, "chat", input=[TRIGGER], previous_response_id=second["id"], stream=True)
        id = third["events"][-1]["response"]["id"]
        _, _, fourth = await asked(gateway, "chat", input="More.", previous_response_id=id)
        _, _, fifth = await asked(gateway, "chat", input=[TRIGGER], previous_response_id=fourth["id"])
        status, _, seen = await asked_of(gateway, f"/v1/responses/{id}")
        _, _, items = await asked_of(gateway, f"/v1/responses/{id}/input_items")
    assert (status, opened(seen["output"][0])) == (200, "S1")
    assert [item["type"] for item in items["data"]] == ["compaction_trigger"]
    assert texts("chat", up.asked[2])[:-1] == [("user", "A"), ("assistant", "B"), ("user", "C"), ("assistant", "B")]
    before = [("user", "A"), ("user", "C"), ("user", compaction.as_message("S1")), ("user", "More.")]
    assert texts("chat", up.asked[3]) == before
    assert texts("chat", up.asked[4]) == [*before, ("assistant", "D"), ("user", PROMPT)]
    assert opened(fifth["output"][0]) == "S"


async def asked_of(gateway: Inside, path: str) -> tuple[int, dict[str, str], JSON]:
    async with gateway.call(request(path, method="GET")) as caller:
        status, headers = await caller.head()
        return status, headers, orjson.loads(await caller.body(headers))


@inside_once
async def test_a_conversation_and_a_background_response() -> None:
    up = Upstream()
    async with Provider(up) as provider, Inside(CONFIG, provider) as gateway:
        async with gateway.call(request("/v1/conversations", {"items": [A]})) as caller:
            _, headers = await caller.head()
            id = orjson.loads(await caller.body(headers))["id"]
        await asked(gateway, "responses", input=[C, TRIGGER], conversation=id)
        await asked(gateway, "responses", input=[C], conversation=id)
        _, _, queued = await asked(gateway, "responses", input=[C, TRIGGER], background=True)
        _, _, done = await asked_of(gateway, f"/v1/responses/{queued['id']}")
    assert texts("responses", up.asked[1]) == [("user", "A"), ("user", "C"), ("user", compaction.as_message("S")), ("user", "C")]
    assert "background" not in up.asked[2]
    assert (done["status"], opened(done["output"][0])) == ("completed", "S")


@inside_once
async def test_an_upstream_of_the_same_api_reads_its_cache() -> None:
    """What goes before the question is, byte for byte, what the caller sent."""
    up = Upstream()
    fields = {"instructions": "I", "tools": [TOOL, {"type": "file_search", "vector_store_ids": ["v"]}], "metadata": {"n": "1.0"}}
    async with Provider(up) as provider, Inside(CONFIG, provider) as gateway:
        await asked(gateway, "responses", input=[A, B, C], store=False, **fields)
        status, headers, _ = await asked(gateway, "responses", input=[A, B, C, TRIGGER], store=False, **fields)
    assert (status, headers["x-dragoman-lane"]) == (200, "events")
    first, second = up.asked
    assert second["input"][:-1] == first["input"]
    assert second.pop("max_output_tokens") == 16_384
    assert {**second, "input": 0} == {**first, "input": 0}


@inside_once
async def test_the_operators_own_words() -> None:
    up = Upstream()
    config = CONFIG + "\ncompaction: {prompt: In short., max_output: 900}"
    async with Provider(up) as provider, Inside(config, provider) as gateway:
        for upstream in SHAPES:
            await asked(gateway, upstream, input=[A, TRIGGER], max_output_tokens=20)
    assert [texts(shape, sent)[-1][1].endswith("In short.") for shape, sent in zip(SHAPES, up.asked, strict=True)] == [True] * 3
    assert [sent.get("max_tokens", sent.get("max_output_tokens")) for sent in up.asked] == [900] * 3


# ---- summaries that are none ----


def cut(shape: str) -> Answer:
    return (
        completion({"content": "S"}, finish="length", said={"content": "S"}) if shape == "chat" else message(said("S"), stop="max_tokens")
    )


@pytest.mark.parametrize("upstream", ["chat", "messages"])
@inside_once
async def test_half_a_summary_is_none(upstream: str) -> None:
    """R31."""
    async with Provider(Upstream(cut)) as provider, Inside(CONFIG, provider) as gateway:
        status, _, answer = await asked(gateway, upstream, input=[A, TRIGGER])
        metrics = gateway.gateway.metrics.text().decode()
    assert (status, answer["error"]["type"], answer["error"]["message"]) == (502, "server_error", "The model returned no summary.")
    (line,) = gateway.lines
    assert (line["compaction"], line["error_message"]) == ("trigger", "The model returned no summary.")
    assert 'dragoman_compactions_total{kind="trigger",result="failed"} 1.0' in metrics


@inside_once
async def test_half_a_summary_is_none_in_a_stream_that_has_begun() -> None:
    """R31."""
    gate, pieces = Gate(), cut("chat").events
    with Provider([stream_head(), *map(chunk, pieces[:2]), wait(gate), *map(chunk, pieces[2:]), LAST_CHUNK]) as provider:
        async with Inside(CONFIG, provider) as gateway:
            async with gateway.call(request("/v1/responses", {"model": "chat/m", "input": [A, TRIGGER], "stream": True})) as caller:
                _, headers = await caller.head()
                begun = await caller.until(b"response.compaction.compacting")
                gate.open()
                found = events(begun + await caller.body(headers))
            await gateway.until(lambda: gateway.lines)
    failed = found[-2]
    assert (failed["type"], failed["response"]["output"]) == ("response.failed", [])
    assert failed["response"]["error"] == {"code": "server_error", "message": "The model returned no summary."}
    assert gateway.lines[0]["error_message"] == "The model returned no summary."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_a_model_that_calls_a_tool_is_asked_again(upstream: str, stream: bool) -> None:
    """Without tools to call; both answers are charged, and the caller sees the second alone."""
    up = Upstream(lambda shape: tool_answer(shape, "f", "{}"))
    async with Provider(up) as provider, Inside(PRICED, provider) as gateway:
        _, _, answer = await asked(gateway, upstream, input=[A, TRIGGER], tools=[TOOL], stream=stream)
    response = answer["events"][-1]["response"] if stream else answer
    assert opened(response["output"][0]) == "S"
    first, second = up.asked
    assert second.pop("tool_choice") in ("none", {"type": "none"})
    assert second == first
    (line,) = gateway.lines
    counted = (12, 7) if upstream == "chat" else (24, 14)  # the chat double does not count calls
    assert (line["tokens"]["input"], line["tokens"]["output"]) == counted
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == counted
    assert line["attempts"] == 2


@inside_once
async def test_one_that_calls_again_gave_none() -> None:
    up = Upstream(*[lambda shape: tool_answer(shape, "f", "{}")] * 2)
    async with Provider(up) as provider, Inside(CONFIG, provider) as gateway:
        status, _, answer = await asked(gateway, "messages", input=[A, TRIGGER], tools=[TOOL], stream=True)
    assert (status, answer["error"]["message"]) == (502, "The model returned no summary.")
    assert len(up.asked) == 2


@inside_once
async def test_another_upstream_sums_up() -> None:
    """Before the first words of the summary, a failure is another candidate's turn."""
    fallback = 'retry_policy: {max_attempts: 1, fallback_models: ["messages/m"]}, access_key'
    config = CONFIG.replace("access_key", fallback, 1)
    up = Upstream([respond({"error": {"message": "Down."}}, 500)])
    async with Provider(up) as provider, Inside(config, provider) as gateway:
        _, headers, answer = await asked(gateway, "chat", input=[A, TRIGGER], stream=True)
    assert headers["x-dragoman-upstream"] == "messages/m"
    assert opened(answer["events"][-1]["response"]["output"][0]) == "S"


@inside_once
async def test_a_summary_that_breaks_off() -> None:
    pieces = text_answer("chat", "S", "T").events
    async with Provider([stream_head(), *map(chunk, pieces[:2]), close]) as provider, Inside(CONFIG, provider) as gateway:
        _, _, answer = await asked(gateway, "chat", input=[A, TRIGGER], stream=True)
    kinds = [event["type"].removeprefix("response.") for event in answer["events"]]
    assert kinds == ["created", "in_progress", "compaction.compacting", "failed", "error"]


@inside_once
async def test_too_long_for_the_model() -> None:
    refused = {"error": {"message": "Too long.", "type": "invalid_request_error", "code": "context_length_exceeded", "param": None}}
    async with Provider([respond(refused, 400)]) as provider, Inside(CONFIG, provider) as gateway:
        status, _, answer = await asked(gateway, "chat", input=[A, TRIGGER], stream=True)
    assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("upstream", ["chat", "messages"])
@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": [A, TRIGGER, C]}, "invalid_value", "input[1]"),
        ({"input": [TRIGGER]}, "invalid_value", "input"),
        ({"input": [A, CALL, TRIGGER]}, None, "input"),
        ({"input": [A, OWN, C]}, "unsupported_content", "input[1]"),
        ({"input": [A, OWN | {"encrypted_content": "dgc1.AAAA"}, C]}, "invalid_encrypted_content", "input[1].encrypted_content"),
        ({"input": [A, OWN | {"encrypted_content": CHANGED}, C]}, "invalid_encrypted_content", "input[1].encrypted_content"),
    ],
)
@inside_once
async def test_refused(upstream: str, fields: JSON, code: str | None, param: str) -> None:
    """R31."""
    up = Upstream()
    async with Provider(up) as provider, Inside(CONFIG, provider) as gateway:
        status, _, answer = await asked(gateway, upstream, **fields)
    assert (status, answer["error"]["code"], answer["error"]["param"]) == (400, code, param)
    assert not up.asked


@pytest.mark.parametrize("config", [CONFIG, NATIVE])
@inside_once
async def test_a_damaged_one_reaches_no_upstream(config: str) -> None:
    up = Upstream()
    damaged = OWN | {"encrypted_content": "dgc1.AAAA"}
    async with Provider(up) as provider, Inside(config, provider) as gateway:
        for path in ("/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens"):
            status, _, answer = await asked(gateway, "responses", path, input=[A, damaged, C])
            assert (status, answer["error"]["code"]) == (400, "invalid_encrypted_content")
    assert not up.asked


OLD, NEW = "00" * 32, "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo="


def locked(*keys: str) -> str:
    return f"{CONFIG}\ncompaction: {{seal_key: [{', '.join(repr(key) for key in keys)}]}}\n"


@inside_once
async def test_a_summary_that_its_caller_cannot_read() -> None:
    """Replicas with the key open it, after a rotation too; one without it gives it to no upstream."""
    up = Upstream()
    kept: list[JSON] = []
    with Provider(up) as provider:
        for config in (locked(OLD), CONFIG):
            async with Inside(config, provider) as gateway:
                kept.append((await asked(gateway, "chat", input=[A, TRIGGER]))[2]["output"][0])
        first, plain = kept
        assert first["encrypted_content"].startswith("dgc2.")
        assert b'"S"' not in base64.urlsafe_b64decode(first["encrypted_content"][5:] + "==")
        changed = first | {"encrypted_content": first["encrypted_content"][:-3] + "AAA"}
        for config, item, status in (
            (locked(OLD), first, 200), (locked(NEW, OLD), first, 200), (locked(NEW), plain, 200),
            (locked(OLD), changed, 400), (locked(NEW), first, 400), (CONFIG, first, 400),
        ):  # fmt: skip
            up.asked.clear()
            async with Inside(config, provider) as gateway:
                for upstream in ("messages", "responses"):
                    assert (await asked(gateway, upstream, input=[A, item, C]))[0] == status
            sent = [text for shape, body in zip(("messages", "responses"), up.asked, strict=False) for _, text in texts(shape, body)]
            assert sum(compaction.as_message("S") in text for text in sent) == len(up.asked) == (2 if status == 200 else 0)


# ---- the endpoint ----


@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_the_endpoint(upstream: str) -> None:
    """R30."""
    up = Upstream()
    async with Provider(up) as provider, Inside(PRICED, provider) as gateway:
        status, _, answer = await asked(gateway, upstream, "/v1/responses/compact", input=[A, B, C], stream=True, max_tool_calls=2)
        metrics = gateway.gateway.metrics.text().decode()
    assert (status, answer["object"], answer["id"][:5]) == (200, "response.compaction", "resp_")
    assert [(item["type"], item.get("role")) for item in answer["output"]] == [
        ("message", "user"),
        ("message", "user"),
        ("compaction", None),
    ]
    assert [item["content"][0]["text"] for item in answer["output"][:2]] == ["A", "C"]
    assert opened(answer["output"][2]) == "S"
    assert answer["usage"]["input_tokens"] == 12
    (sent,) = up.asked
    assert not sent.get("stream")
    assert upstream != "responses" or sent["store"] is False
    assert ("assistant", "B") in texts(upstream, sent)
    (line,) = gateway.lines
    assert (line["operation"], line["compaction"], line["lane"]) == ("compact", "endpoint", "events")
    assert line["cost"] == pytest.approx(26e-6)
    assert 'dragoman_compactions_total{kind="endpoint",result="done"} 1.0' in metrics


@pytest.mark.parametrize("upstream", SHAPES)
@pytest.mark.parametrize("given", [{}, {"input": [C]}])
@inside_once
async def test_the_endpoint_over_what_is_stored(upstream: str, given: JSON) -> None:
    """R30."""
    up = Upstream(partial(says, "B"))
    config = PRICED.replace("apis: [responses]", "apis: [responses], capabilities: {r.stateful: false}")
    async with Provider(up) as provider, Inside(config, provider) as gateway:
        _, _, first = await asked(gateway, upstream, input=[A])
        status, _, answer = await asked(gateway, upstream, "/v1/responses/compact", previous_response_id=first["id"], **given)
        missing, _, refused = await asked(gateway, upstream, "/v1/responses/compact", previous_response_id="resp_none")
    assert status == 200
    assert [item["content"][0]["text"] for item in answer["output"][:-1]] == ["A", "C"][: 1 + len(given)]
    assert [role for role, _ in texts(upstream, up.asked[1])][:2] == ["user", "assistant"]
    assert (missing, refused["error"]["code"]) == (400, "previous_response_not_found")
    assert len(up.asked) == 2


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"input": [A]}, "missing_required_parameter", "model"),
        ({"model": "chat/m"}, "missing_required_parameter", "input"),
        ({"model": "responses/m"}, "invalid_value", "input"),
        ({"model": "chat/m", "input": [], "instructions": "I"}, "invalid_value", "input"),
        ({"model": "chat/m", "input": [A, CALL]}, None, "input"),
    ],
)
@inside_once
async def test_what_the_endpoint_refuses(body: JSON, code: str | None, param: str) -> None:
    """R31."""
    up = Upstream()
    with Provider(up) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.call(request("/v1/responses/compact", body)) as caller:
            status, headers = await caller.head()
            answer = orjson.loads(await caller.body(headers))
    assert (status, answer["error"]["code"], answer["error"]["param"]) == (400, code, param)
    assert not up.asked


@inside_once
async def test_a_compaction_without_a_summary_is_a_502() -> None:
    async with Provider(Upstream(cut)) as provider, Inside(CONFIG, provider) as gateway:
        status, _, answer = await asked(gateway, "chat", "/v1/responses/compact", input=[A])
    assert (status, answer["error"]["type"]) == (502, "server_error")


@inside_once
async def test_an_upstream_that_only_streams() -> None:
    config = CONFIG.replace("access_key", "capabilities: {whole_answers: never}, access_key")
    up = Upstream()
    async with Provider(up) as provider, Inside(config, provider) as gateway:
        for upstream in SHAPES:
            for path in ("/v1/responses", "/v1/responses/compact"):
                status, _, answer = await asked(gateway, upstream, path, input=[A, *([TRIGGER] if path == "/v1/responses" else [])])
                assert status == 200
                assert opened(answer["output"][-1]) == "S"
    assert all(sent["stream"] for sent in up.asked)


# ---- upstreams that compact by themselves ----


@inside_once
async def test_a_native_compaction_is_carried() -> None:
    """R30."""
    up = Upstream()
    async with Provider(up) as provider, Inside(NATIVE, provider) as gateway:
        _, headers, _ = await asked(gateway, "responses", input=[A, TRIGGER], store=False)
        status, _, answer = await asked(gateway, "responses", "/v1/responses/compact", input=[A, B])
        metrics = gateway.gateway.metrics.text().decode()
    assert headers["x-dragoman-lane"] == "bytes"
    assert up.asked == [{"model": "m", "input": [A, TRIGGER], "store": False}, {"model": "m", "input": [A, B]}]
    assert up.paths == ["/v1/responses", "/v1/responses/compact"]
    assert (status, answer) == (200, COMPACTED)
    assert [line["compaction"] for line in gateway.lines] == ["native", "native"]
    assert gateway.lines[1]["tokens"] == {"input": 30, "output": 4, "cached": 0}
    assert gateway.lines[1]["cost"] == pytest.approx(38e-6)
    assert 'dragoman_compactions_total{kind="native",result="done"} 2.0' in metrics


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens"])
@inside_once
async def test_no_upstream_gets_what_is_ours(path: str) -> None:
    """R29: not even one that compacts by itself, nor in a long body."""
    item = {"type": "compaction", "encrypted_content": compaction.seal("S", "m", 7, 9)}
    up = Upstream(*[[respond({"input_tokens": 9})] if path.endswith("tokens") else partial(says, "B")] * 2)
    async with Provider(up) as provider, Inside(NATIVE, provider) as gateway:
        for length in (1, 70_000):
            status, headers, _ = await asked(gateway, "responses", path, input=[A, B, item, {**C, "content": "C" * length}])
            assert status == 200
            assert headers.get("x-dragoman-adapted") == "input[*]"
    for sent in up.asked:
        assert [role for role, _ in texts("responses", sent)] == ["user"] * 3
        assert texts("responses", sent)[1][1] == compaction.as_message("S")


@inside_once
async def test_the_chain_of_a_native_one_is_the_gateways() -> None:
    """An upstream that compacts but stores nothing is sent the chain."""
    config = NATIVE.replace("r.compact: true", "r.compact: true, r.stateful: false")
    up = Upstream(partial(says, "B"))
    async with Provider(up) as provider, Inside(config, provider) as gateway:
        _, _, first = await asked(gateway, "responses", input=[A])
        await asked(gateway, "responses", "/v1/responses/compact", previous_response_id=first["id"])
    assert texts("responses", up.asked[1]) == [("user", "A"), ("assistant", "B")]
    assert "previous_response_id" not in up.asked[1]


@inside_once
async def test_a_chain_that_the_upstream_stores_and_cannot_compact() -> None:
    """It is asked for the summary of what it stores; the answer is the gateway's, and so is the chain from there on."""
    up = Upstream(partial(says, "B"))
    async with Provider(up) as provider, Inside(CONFIG, provider) as gateway:
        _, _, first = await asked(gateway, "responses", input=[A])
        _, _, second = await asked(gateway, "responses", input=[TRIGGER], previous_response_id=first["id"])
        await asked(gateway, "responses", input=[C], previous_response_id=second["id"])
    assert second["id"] != first["id"] == up.asked[1]["previous_response_id"]
    assert (texts("responses", up.asked[1]), up.asked[1]["store"]) == ([("user", PROMPT)], False)
    assert texts("responses", up.asked[2]) == [("user", compaction.as_message("S")), ("user", "C")]
    assert "previous_response_id" not in up.asked[2]


@inside_once
async def test_what_only_its_maker_can_read_goes_there() -> None:
    """A candidate of another API would have to refuse it."""
    fallback = 'retry_policy: {max_attempts: 1, fallback_models: ["responses/m"]}, access_key'
    config = NATIVE.replace("access_key", fallback, 1)
    up = Upstream()
    async with Provider(up) as provider, Inside(config, provider) as gateway:
        status, headers, _ = await asked(gateway, "chat", input=[A, OWN, C])
        ours = {"type": "compaction", "encrypted_content": compaction.seal("S", "m", 7, 9)}
        _, other, _ = await asked(gateway, "chat", input=[A, OWN, ours, C])
    assert (status, headers["x-dragoman-upstream"]) == (200, "responses/m")
    assert up.asked[0]["input"] == [A, OWN, C]
    assert other["x-dragoman-upstream"] == "chat/m"


# ---- the account ----


@inside_once
async def test_access_and_budget_come_first() -> None:
    keys = "\naccess_keys: [{key: alice-key, name: alice, models: [chat/m], requests_per_minute: 1}]"
    up = Upstream()
    async with Provider(up) as provider, Inside(PRICED + keys, provider) as gateway:
        statuses = []
        for model, key in (("chat/m", "none"), ("messages/m", "alice-key"), ("chat/m", "alice-key"), ("chat/m", "alice-key")):
            sent = request("/v1/responses/compact", {"model": model, "input": [A]}, authorization=f"Bearer {key}")
            async with gateway.call(sent) as caller:
                status, headers = await caller.head()
                await caller.body(headers)
                statuses.append(status)
    assert statuses[0] == 401
    assert statuses[1] == 403
    assert statuses[-1] == 429
    assert len(up.asked) <= 1


@inside_once
async def test_a_caller_that_leaves_ends_the_summary() -> None:
    pieces = text_answer("chat", "S").events
    async with Provider([stream_head(), chunk(pieces[0]), chunk(pieces[1]), until_closed]) as provider, Inside(CONFIG, provider) as gateway:
        async with gateway.call(request("/v1/responses", {"model": "chat/m", "input": [A, TRIGGER], "stream": True})) as caller:
            await caller.head()
            await caller.until(b"response.compaction.compacting")
            caller.leave()
            await provider.seen(lambda: provider.connections[0].closed_by == "peer")
        await gateway.until(lambda: gateway.lines)
    assert (gateway.lines[0]["client_left"], gateway.lines[0]["compaction"]) == (True, "trigger")


@inside_once
async def test_what_an_anthropic_compaction_used_is_counted() -> None:
    """R33: carried as it came, and over another API."""
    usage = {"input_tokens": 0, "output_tokens": 0, "iterations": [{"type": "compaction", "input_tokens": 1000, "output_tokens": 50}]}
    block = {"type": "compaction", "content": "SUM", "signature": "x"}
    answer = message().whole | {"content": [block], "stop_reason": "compaction", "usage": usage}
    async with Provider([respond(answer)]) as provider, Inside(PRICED, provider) as gateway:
        for shape in SHAPES:
            async with gateway.ask(shape, "messages/m") as caller:
                _, headers = await caller.head()
                told = orjson.loads(await caller.body(headers))
            if shape == "responses":
                assert opened(told["output"][0]) == "SUM"
                assert told["usage"]["input_tokens"] == 1000
            if shape == "chat":
                assert told["usage"]["total_tokens"] == 1050
        await gateway.until(lambda: len(gateway.lines) == 3)
        value = partial(gateway.gateway.metrics.registry.get_sample_value, "dragoman_tokens_total")
        assert [value({"kind": kind}) for kind in ("input", "output")] == [3000, 150]
    for line in gateway.lines:
        assert line["tokens"] == {"input": 1000, "output": 50, "cached": 0}
        assert line["cost"] == pytest.approx(1100e-6)


@inside_once
async def test_a_messages_callers_compactions() -> None:
    """R33: what its history holds is read; one that it asks for is refused."""
    up = Upstream()
    block = {"type": "compaction", "content": "SUM", "signature": "x"}
    turns = [A, {"role": "assistant", "content": [block]}, {"role": "user", "content": "hi"}]
    body: JSON = {"model": "chat/m", "max_tokens": 9, "messages": [{"role": turn["role"], "content": turn["content"]} for turn in turns]}
    statuses = []
    async with Provider(up) as provider, Inside(CONFIG, provider) as gateway:
        for more in ({}, {"compaction": {"type": "summarize"}}):
            async with gateway.call(request("/v1/messages", body | more)) as caller:
                status, headers = await caller.head()
                statuses.append((status, orjson.loads(await caller.body(headers)).get("error", {}).get("message")))
    assert statuses == [(200, None), (400, "compaction is not supported by the selected model")]
    (sent,) = up.asked
    assert texts("chat", sent) == [("user", compaction.as_message("SUM")), ("user", "hi")]


# ---- judges ----


def sdk(gateway: Inside) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key="k")


@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_openais_sdk(upstream: str) -> None:
    with Provider(Upstream()) as provider:
        async with (
            Inside(CONFIG, provider) as gateway,
            openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key="k") as client,
        ):
            model, items = f"{upstream}/m", [A, B, C]
            compacted = await client.responses.compact(model=model, input=items)  # type: ignore[arg-type]
            assert compacted.usage.output_tokens == 7
            assert [item.type for item in compacted.output] == ["message", "message", "compaction"]
            following = [item.model_dump(exclude_none=True, warnings=False) for item in compacted.output]
            after = await client.responses.create(model=model, input=[*following, C])  # type: ignore[list-item]
            assert after.output_text == "S"
            async with client.responses.stream(model=model, input=[*items, TRIGGER]) as stream:  # type: ignore[list-item]
                final = await stream.get_final_response()
            (item,) = final.output
            assert item.type == "compaction"
            assert compaction.unseal(item.encrypted_content) == "S"
