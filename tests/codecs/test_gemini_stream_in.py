"""Answers of a gemini upstream: literal chunks, streamed and whole, as callers of the other APIs get them; and every recording."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dragoman.codecs import events as ev
from dragoman.codecs import machine
from dragoman.codecs.gemini.errors_in import decode_error
from dragoman.codecs.gemini.grounding import sources
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.sse import Splitter
from dragoman.codecs.usage import from_gemini, to_chat, to_messages

from . import grammar
from .wire import Wire

JSON = dict[str, Any]
GEMINI = SHAPES["gemini"]
CLIENTS = ("chat", "messages", "responses")
GRAMMARS = {"chat": grammar.chat, "messages": grammar.messages, "responses": grammar.responses}


def chunk(*parts: JSON, finish: Any = None, usage: JSON | None = None, **more: Any) -> JSON:
    candidate: JSON = {"content": {"role": "model", "parts": list(parts)}, "index": 0} | ({"finishReason": finish} if finish else {})
    return {"candidates": [candidate | more], "responseId": "r1", "modelVersion": "g"} | ({"usageMetadata": usage} if usage else {})


def text(words: str, **more: Any) -> JSON:
    return {"text": words} | more


def called(name: str, **more: Any) -> JSON:
    signature = {"thoughtSignature": more.pop("sign")} if "sign" in more else {}
    return {"functionCall": {"name": name, **more}} | signature


def reply(shape: str = "chat", **body: Any) -> Reply:
    return Reply(Request(shape, "m", body, include_usage=True), domain="gemini", upstream="gemini")


def decoded(*chunks: JSON, clean: bool = True, told: Reply | None = None) -> list[ev.Event]:
    decoder = GEMINI.Decoder(told or reply())
    events = [event for each in chunks for event in decoder.feed((b"", json.dumps(each).encode()))]
    events += decoder.finish(clean)
    machine.check(events)
    return events


def as_whole(*chunks: JSON) -> JSON:
    """The same answer, not streamed."""
    parts = [part for each in chunks for part in each["candidates"][0]["content"]["parts"]]
    last = chunks[-1]
    return last | {"candidates": [last["candidates"][0] | {"content": {"role": "model", "parts": parts}}]}


def told(shape: str, *chunks: JSON, **body: Any) -> tuple[bytes, Any]:
    """The stream that a caller gets, and the whole answer."""
    given = reply(shape, **body)
    wire = Wire(shape, given)
    out = b"".join(wire.feed([event]) for event in decoded(*chunks, told=given))
    end = GRAMMARS[shape](out)
    given = reply(shape, **body)
    collector = SHAPES[shape].Collector(given)
    collector.feed(GEMINI.decode_response(as_whole(*chunks), given))
    assert (end == "error") == (collector.error is not None)
    return out, collector.error or collector.body()


USAGE = {"promptTokenCount": 20, "candidatesTokenCount": 8, "thoughtsTokenCount": 5, "totalTokenCount": 33}
G01 = (chunk(text("plan", thought=True)), chunk(called("f", id="a1", args={"x": 1}, sign="AAAA"), finish="STOP", usage=USAGE))


def test_g01_messages() -> None:
    out, body = told("messages", *G01)
    thinking, use = body["content"]
    assert (thinking["thinking"], thinking["signature"][:5]) == ("plan", "dgr1.")
    assert (use["id"], use["input"], body["stop_reason"]) == ("a1", {"x": 1}, "tool_use")
    assert out.count(b"content_block_start") // 2 == 2
    assert thinking["signature"].encode() in out


def test_g02_chat() -> None:
    out, body = told("chat", chunk(called("f", id="a", sign="AAAA")), chunk(called("g", id="b", args={}), finish="STOP", usage=USAGE))
    choice = body["choices"][0]
    first, second = choice["message"]["tool_calls"]
    assert (first["extra_content"], "extra_content" in second) == ({"google": {"thought_signature": "AAAA"}}, False)
    assert [call["function"]["arguments"] for call in (first, second)] == ["{}", "{}"]
    assert choice["finish_reason"] == "tool_calls"
    assert out.count(b'"thought_signature":"AAAA"') == 1
    assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 5}


def test_g03_responses() -> None:
    _, body = told("responses", *G01)
    assert [item["type"] for item in body["output"]] == ["reasoning", "function_call"]
    assert body["output"][0]["encrypted_content"].startswith("dgr1.")
    assert body["output"][1]["call_id"] == "a1"


G05 = (chunk(text("Hel")), chunk(text("lo")), chunk(text("", thoughtSignature="BBBB"), finish="STOP", usage=USAGE))


def test_g05_the_signature_of_a_text() -> None:
    out, body = told("chat", *G05)
    assert out.count(b"extra_content") == 1
    message = body["choices"][0]["message"]
    assert (message["content"], message["extra_content"]["google"]["thought_signature"]) == ("Hello", "BBBB")
    _, body = told("messages", *G05, thinking={"type": "adaptive"})
    assert [(block["type"], block.get("text", block.get("thinking"))) for block in body["content"]] == [("text", "Hello"), ("thinking", "")]
    _, body = told("messages", *G05)
    assert [block["type"] for block in body["content"]] == ["text"]
    _, body = told("responses", *G05, store=False, include=["reasoning.encrypted_content"])
    assert [item["type"] for item in body["output"]] == ["message", "reasoning"]
    _, body = told("responses", *G05, store=False)
    assert [item["type"] for item in body["output"]] == ["message"]


WORDS = {
    "STOP": "end", "MAX_TOKENS": "length", "CONTINUATION": "length", "NEW_LIMIT": "length", "NEW_WORD": "length", "RAPID_BLOCK": "filter",
    **dict.fromkeys((
        "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR", "ESCALATION", "PUP_LIMITED_DISABLED",
        "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
    ), "filter"),
    **dict.fromkeys((
        "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE",
        "OTHER", "NO_IMAGE", "IMAGE_OTHER", "NEW_ERROR",
    ), "failed"),
}  # fmt: skip


@pytest.mark.parametrize(("word", "reason"), WORDS.items())
def test_g13_finish_reasons(word: str, reason: str) -> None:
    given = reply()
    *_, last = decoded(chunk(text("x"), finish=word, finishMessage="why"), told=given)
    if reason == "failed":
        assert isinstance(last, ev.Fault)
        assert (last.error.kind, last.error.message) == ("bad_gateway", f"The model's answer was not usable: {word} (why)")
    else:
        assert isinstance(last, ev.Stop)
        assert last.reason == reason
        assert last.explanation == ("why" if reason == "filter" else None)
    assert given.unsaid.labels == (["finishReason:NEW_WORD"] if word == "NEW_WORD" else [])


@pytest.mark.parametrize(
    ("number", "vertex", "reason"),
    [
        (1, False, "end"),
        (2, False, "length"),
        (6, False, "filter"),
        (8, True, "filter"),
        (9, True, "failed"),
        (10, False, "failed"),
        (99, False, "length"),
    ],
)
def test_g13_numbers(number: int, vertex: bool, reason: str) -> None:
    created = {"createTime": "2026-11-29T10:00:00.123456789Z"} if vertex else {}
    events = decoded(chunk(text("x"), finish=number) | created)
    last = events[-1]
    assert getattr(last, "reason", "failed") == reason
    assert events[0] == ev.Start("r1", "g", 1795946400 if vertex else 0)


def test_g13_a_limit_wins_over_a_call() -> None:
    assert decoded(chunk(called("f"), finish="MAX_TOKENS"))[-1] == ev.Stop("length")
    assert decoded(chunk(called("f"), finish="STOP"))[-1] == ev.Stop("tool")


BLOCKED = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7}}


def test_g14_a_blocked_prompt() -> None:
    ends = {}
    for shape in CLIENTS:
        given = reply(shape)
        collector = SHAPES[shape].Collector(given)
        collector.feed(GEMINI.decode_response(BLOCKED, given))
        ends[shape] = collector.body()
    assert ends["chat"]["choices"][0]["finish_reason"] == "content_filter"
    assert ends["chat"]["usage"]["prompt_tokens"] == 7
    assert ends["messages"]["stop_reason"] == "refusal"
    assert ends["messages"]["stop_details"]["explanation"] == "PROHIBITED_CONTENT"
    assert (ends["responses"]["status"], ends["responses"]["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})


@pytest.mark.parametrize(
    ("chunks", "kind"),
    [
        ([chunk(text("x"))], "bad_gateway"),
        ([chunk(text("x")), {"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}], "overloaded"),
        ([chunk(text("x")), {"error": {"message": "m", "status": "RESOURCE_EXHAUSTED"}}], "rate_limit"),
        ([chunk(text("x")), {"error": {"message": "m", "status": "INTERNAL"}}], "server"),
        ([chunk(text("x")), [{"error": {"code": 400, "message": "m"}}]], "bad_request"),
        ([chunk({"functionCall": {"args": {}}}, finish="STOP")], "bad_gateway"),
        ([chunk({"functionCall": {"partialArgs": [{"jsonPath": "$.a", "numberValue": 1}]}}, finish="STOP")], "bad_gateway"),
        ([chunk(called("f", args=[1]), finish="STOP")], "bad_gateway"),
        ([chunk(called("f", args='{"x":'), finish="STOP")], "bad_gateway"),
        ([{"candidates": [{"content": "x", "finishReason": "STOP"}]}], "bad_gateway"),
        ([{"candidates": [{"content": {"parts": {"text": "x"}}, "finishReason": "STOP"}]}], "bad_gateway"),
        ([{"candidates": [{"index": 1, "content": {"parts": [text("x")]}, "finishReason": "STOP"}]}], "bad_gateway"),
        ([{"promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"}}], "bad_gateway"),
    ],
)
def test_g15_streams_that_fail(chunks: list[Any], kind: str) -> None:
    last = decoded(*chunks)[-1]
    assert isinstance(last, ev.Fault)
    assert last.error.kind == kind


def test_g15_an_error_outside_of_an_event() -> None:
    first = b'data: {"candidates": [{"content": {"parts": [{"text": "x"}]}}]}\r\n\r\n'
    wire = first + b'{\n  "error": {\n    "code": 503,\n    "message": "m"\n  }\n}\n'
    for size in (1, 7, len(wire)):
        splitter, decoder = Splitter(), GEMINI.Decoder(reply())
        frames = [frame for at in range(0, len(wire), size) for frame in splitter.feed(wire[at : at + size])] + splitter.finish()
        events = [event for frame in frames for event in decoder.feed(frame)]
        assert isinstance(events[-1], ev.Fault)
        assert events[-1].error.kind == "overloaded"


def test_g16_several_finish_reasons() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    chunks = (
        chunk(text("a"), finish="STOP", usage={"promptTokenCount": 4, "candidatesTokenCount": 6, "totalTokenCount": 10}),
        chunk(code),
        chunk(text("b"), finish="STOP", usage={"promptTokenCount": 4, "candidatesTokenCount": 26, "totalTokenCount": 30}),
    )
    out, body = told("chat", *chunks)
    assert body["choices"][0]["message"]["content"] == "a\n\nb"
    assert body["usage"]["total_tokens"] == 30
    assert out.count(b'"finish_reason":"stop"') == 1


def test_g17_usage() -> None:
    given = from_gemini({
        "promptTokenCount": 20, "cachedContentTokenCount": 12, "toolUsePromptTokenCount": 3, "candidatesTokenCount": 198,
        "thoughtsTokenCount": 405, "totalTokenCount": 626, "serviceTier": "STANDARD",
    })  # fmt: skip
    assert to_chat(given) == {
        "prompt_tokens": 23,
        "completion_tokens": 603,
        "total_tokens": 626,
        "prompt_tokens_details": {"cached_tokens": 12},
        "completion_tokens_details": {"reasoning_tokens": 405},
    }
    out = to_messages(given)
    assert (out["input_tokens"], out["cache_read_input_tokens"], out["output_tokens"]) == (11, 12, 603)
    assert given.tier == "default"
    absent = from_gemini({"candidatesTokenCount": 5, "totalTokenCount": 30, "thoughtsTokenCount": 5})
    assert (absent.input, absent.output, absent.total) == (20, 10, None)
    first, second = {"promptTokenCount": 9, "cachedContentTokenCount": 4}, {"promptTokenCount": 9, "cachedContentTokenCount": None}
    events = decoded(chunk(text("a"), usage=first), chunk(text("b"), finish="STOP", usage=second))
    (meter,) = [event for event in events if isinstance(event, ev.Metered)]
    assert (meter.usage.input, meter.usage.cache_read) == (9, 4)


def piece(path: str, goes_on: bool = False, **value: Any) -> JSON:
    return {"jsonPath": path, **value} | ({"willContinue": True} if goes_on else {})


def partial(*pieces: JSON) -> JSON:
    return {"functionCall": {"partialArgs": list(pieces), "willContinue": True}}


PARTIAL = (
    {"functionCall": {"name": "f", "id": "a", "willContinue": True}, "thoughtSignature": "AAAA"},
    partial(piece("$.city", True, stringValue="Par")),
    partial(piece("$.city", True, stringValue="is")),
    partial(piece("$.city", stringValue="")),
    partial(piece("$.n[0]", numberValue=1)),
    partial(piece("$.n[]")),
)


@pytest.mark.parametrize("ending", [[chunk({"functionCall": {}})], []])
def test_g18_arguments_in_pieces(ending: list[JSON]) -> None:
    events = decoded(*map(chunk, PARTIAL), *ending, chunk(text(""), finish="STOP"))
    assert events[1:-1] == [
        ev.ToolStart(0, "a", "f", seal=ev.Seal(0, "google", "AAAA")),
        ev.Arguments(0, '{"city":"Paris","n":[1]}'),
        ev.PartStop(0),
    ]
    assert events[-1] == ev.Stop("tool")


@pytest.mark.parametrize("path", ["$", "city", "$.a[3]", "$.a..b", "$.a[" + "9" * 9 + "]", "$" + ".a" * 200, "$.x.y[0]z"])
def test_pieces_without_a_place(path: str) -> None:
    events = decoded(chunk({"functionCall": {"name": "f", "willContinue": True}}), chunk(partial(piece(path, numberValue=1))))
    assert isinstance(events[-1], ev.Fault)


def test_paths_of_pieces() -> None:
    pieces = [
        piece("$.a.b[0].c", boolValue=True),
        piece("$.a.b[1]['x y']", nullValue="NULL_VALUE"),
        piece('$["q"]', numberValue=1.5),
        piece("$.s", stringValue=""),
    ]
    events = decoded(chunk({"functionCall": {"name": "f", "partialArgs": pieces}}, finish="STOP"))
    assert json.loads(events[2].text) == {"a": {"b": [{"c": True}, {"x y": None}]}, "q": 1.5, "s": ""}  # type: ignore[union-attr]


def test_g19_a_signature_over_many_reads() -> None:
    signature = "QUFB" * 50_000
    wire = b"".join(
        b"data: %b\r\n\r\n\r\n" % json.dumps(each).encode()
        for each in (chunk(text("é😀")), chunk(called("f", args={"a": 1}, sign=signature), finish="STOP"))
    )
    splitter, decoder = Splitter(), GEMINI.Decoder(reply())
    events = [event for at in range(len(wire)) for frame in splitter.feed(wire[at : at + 1]) for event in decoder.feed(frame)]
    assert events[2] == ev.Text(0, "é😀")
    assert events[4] == ev.ToolStart(1, "", "f", seal=ev.Seal(1, "google", signature))
    assert decoder.finish(True)[-1] == ev.Stop("tool")


def test_g19_an_array_instead_of_events() -> None:
    events = GEMINI.decode_response([chunk(text("a")), chunk(text("b"), finish="STOP")], reply())
    assert "".join(event.text for event in events if isinstance(event, ev.Text)) == "ab"
    assert events[-1] == ev.Stop("end")


def test_parts_keep_their_signatures() -> None:
    events = decoded(chunk(text("a", thoughtSignature="S-_x"), text("b")), chunk({"thoughtSignature": "T"}, finish="STOP"))
    assert events[1:-1] == [
        ev.TextStart(0), ev.Text(0, "a"), ev.Seal(0, "google", "S+/x"), ev.PartStop(0),
        ev.TextStart(1), ev.Text(1, "b"), ev.Seal(1, "google", "T==="), ev.PartStop(1),
    ]  # fmt: skip


def test_what_cannot_be_told_is_reported() -> None:
    given = reply()
    parts = [text("a"), {"inlineData": {"mimeType": "audio/wav", "data": "AA=="}}, {"toolCall": {"toolType": "X"}}, {"of_tomorrow": {}}]
    events = decoded(chunk(*parts, finish="STOP"), told=given)
    labels = [event.label for event in events if isinstance(event, ev.Opaque)]
    assert labels == ["content.parts[1]:inlineData", "content.parts[2]:toolCall", "content.parts[3]:of_tomorrow"]
    for part in ({"executableCode": {"code": "1"}}, {"audioTranscription": {"text": "a"}}):
        assert isinstance(decoded(chunk(part, finish="STOP"))[-1], ev.Fault)
    beside = decoded(chunk(text("a", audioTranscription={"text": "a"}), finish="STOP"))
    assert not [event for event in beside if isinstance(event, ev.Opaque)]


CALL = {"functionCall": {"name": "f", "args": {"x": 1}}}
ODD: dict[str, tuple[list[JSON], list[Any]]] = {
    "a call beside a text": ([chunk(text("a") | CALL, finish="STOP")], ["a", "f", '{"x":1}', "tool"]),
    "a call beside an empty text": ([chunk(text("") | CALL, finish="STOP")], ["f", '{"x":1}', "tool"]),
    "a call that is a thought": ([chunk({"thought": True} | CALL, finish="STOP")], ["f", '{"x":1}', "tool"]),
    "arguments as text": ([chunk(called("f", args='{"x": 1}'), finish="STOP")], ["f", '{"x":1}', "tool"]),
    "the end of no call": ([chunk(text("a")), chunk({"functionCall": {"willContinue": False}}, finish="STOP")], ["a", "end"]),
    "a null text": ([chunk({"text": None}, text("a"), finish="STOP")], ["a", "end"]),
    "a thought's signature at the end": (
        [chunk(text("a")), chunk(text("t", thought=True, thoughtSignature="AAAA"), finish="STOP")],
        ["a", "t", "AAAA", "end"],
    ),
    "two first candidates": (
        [{"candidates": [chunk(text(words), finish="STOP")["candidates"][0] | {"index": None} for words in "ab"]}],
        ["a", "end"],
    ),
    "a prompt that is blocked after all": (
        [chunk(text("a"), finish="STOP"), {"promptFeedback": {"blockReason": "SAFETY"}}],
        ["a", "filter"],
    ),
    "a prompt that is blocked midway": ([chunk(text("a")), {"promptFeedback": {"blockReason": "SAFETY"}}], ["a", "filter"]),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_answers(name: str) -> None:
    """Nothing gets lost, and what is no success is not told as one; the observer of carried bytes sees the same end."""
    chunks, wanted = ODD[name]
    found: list[Any] = []
    for event in decoded(*chunks):
        if isinstance(event, ev.Text | ev.Reasoning | ev.Arguments):
            found.append(event.text)
        elif isinstance(event, ev.ToolStart | ev.Seal | ev.Stop):
            found.append(event.name if isinstance(event, ev.ToolStart) else event.value if isinstance(event, ev.Seal) else event.reason)
    assert found == wanted
    observer = GEMINI.Observer(reply())
    for each in chunks:
        observer.feed((b"", json.dumps(each).encode()))
    assert (observer.completed(True), observer.stop) == (True, wanted[-1])


def test_images_of_thoughts_are_not_shown() -> None:
    data = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    given = reply()
    events = decoded(chunk(data | {"thought": True}, data | {"thoughtSignature": "AAAA"}, finish="STOP"), told=given)
    assert [type(event) for event in events if isinstance(event, ev.Media | ev.Opaque)] == [ev.Opaque, ev.Media]
    assert given.unsaid.labels == ["content.parts[1]:thoughtSignature"]


def test_images() -> None:
    image = chunk({"inlineData": {"mimeType": "image/png", "data": "AA=="}}, finish="STOP")
    _, body = told("chat", image)
    assert body["choices"][0]["message"]["images"] == [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    _, body = told("responses", image)
    (item,) = body["output"]
    assert (item["type"], item["status"], item["result"]) == ("image_generation_call", "completed", "AA==")
    given = reply("messages")
    collector = SHAPES["messages"].Collector(given)
    collector.feed(GEMINI.decode_response(image, given))
    assert given.unsaid.labels == ["content.parts[0]:inlineData"]


def test_logprobs() -> None:
    result = {
        "chosenCandidates": [{"token": "é", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "é", "logProbability": -0.5}, {"token": "e", "logProbability": -1}]}],
    }
    events = GEMINI.decode_response(chunk(text("é"), finish="STOP", logprobsResult=result), reply())
    entry = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    other = {"token": "e", "logprob": -1, "bytes": [101]}
    assert events[2] == ev.Text(0, "é", [entry | {"top_logprobs": [entry, other]}])


# ---- sources ----

CHUNKS = [
    {"web": {"uri": "https://a.example", "title": "A"}},
    {"retrievedContext": {"title": "no uri"}},
    {"maps": {"uri": "https://m.example"}},
]


@pytest.mark.parametrize(
    ("segment", "range"),
    [
        ({"endIndex": 8, "text": "é😀 x"}, (0, 4)),
        ({"startIndex": 2, "endIndex": 6}, (1, 2)),
        ({"startIndex": 1, "endIndex": 3, "text": "x"}, (3, 4)),
        ({"startIndex": 0, "endIndex": 99}, (None, None)),
        ({"startIndex": 5, "endIndex": 2, "text": "nowhere"}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_g30_ranges_of_bytes(segment: JSON, range: tuple[int | None, int | None]) -> None:
    grounding = {"groundingChunks": CHUNKS, "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0, 1, 7]}]}
    assert sources("é😀 x", grounding, []) == [("https://a.example", "A", *range)]


def test_citations() -> None:
    support = {"segment": {"startIndex": 0, "endIndex": 2, "text": "ab"}, "groundingChunkIndices": [0, 2]}
    grounding = {"groundingChunks": CHUNKS, "groundingSupports": [support], "searchEntryPoint": {"renderedContent": "<div>"}}
    given = reply()
    events = decoded(chunk(text("ab")), chunk(text("cd"), finish="STOP", groundingMetadata=grounding), told=given)
    assert events[4:6] == [ev.Citation(0, "https://a.example", "A", 0, 2), ev.Citation(0, "https://m.example", "", 0, 2)]
    assert given.unsaid.labels == ["groundingMetadata.searchEntryPoint"]
    cited = {"citationSources": [{"startIndex": 1, "endIndex": 3, "uri": "https://c.example"}, {"uri": "file:///x"}]}
    events = decoded(chunk(text("abcd"), finish="STOP", citationMetadata=cited))
    assert events[3] == ev.Citation(0, "https://c.example", "", 1, 3)


# ---- errors ----

DETAIL = "type.googleapis.com/google.rpc."
QUOTA = [
    {"@type": f"{DETAIL}QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}]},
    {"@type": f"{DETAIL}RetryInfo", "retryDelay": "14.06s"},
]


@pytest.mark.parametrize(
    ("status", "error", "kind", "wait", "retry"),
    [
        (429, {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": QUOTA}, "rate_limit", 15, False),
        (429, {"code": 429, "message": "Please retry in 3.2s.", "status": "RESOURCE_EXHAUSTED"}, "rate_limit", 4, None),
        (400, {"code": 400, "message": "m", "details": [{"reason": "API_KEY_INVALID"}], "status": "INVALID_ARGUMENT"}, "auth", None, None),
        (400, {"code": 400, "message": "API key not valid. Please pass one."}, "auth", None, None),
        (
            400,
            {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."},
            "context_too_long",
            None,
            None,
        ),
        (403, {"code": 403, "message": "m", "details": [{"reason": "BILLING_DISABLED"}]}, "billing", None, False),
        (400, {"code": 400, "message": "m", "status": "FAILED_PRECONDITION"}, "permission", None, None),
        (404, {"code": 404, "message": "models/x is not found", "status": "NOT_FOUND"}, "not_found", None, None),
        (499, {"code": 499, "message": "m", "status": "CANCELLED"}, "timeout", None, None),
        (529, {"message": "m"}, "overloaded", None, None),
        (502, {"code": 502, "message": "m"}, "bad_gateway", None, None),
        (501, {"code": 501, "message": "m", "status": "UNIMPLEMENTED"}, "bad_gateway", None, None),
    ],
)
def test_g22_errors(status: int, error: JSON, kind: str, wait: int | None, retry: bool | None) -> None:
    for body in ({"error": error}, [{"error": error}]):
        found = decode_error(status, json.dumps(body).encode())
        assert (found.kind, found.message, found.retry_after, found.should_retry) == (kind, error["message"], wait, retry)
    streamed = decode_error(status, b"data: " + json.dumps({"error": error}).encode() + b"\r\n\r\n")
    assert streamed.kind == kind


def test_errors_of_proxies() -> None:
    assert decode_error(502, b"<html>Bad gateway</html>", "text/html").kind == "bad_gateway"
    assert decode_error(401, b'{"detail": "no key"}').message == "no key"


# ---- recordings ----

CORPUS = Path(os.environ.get("DRAGOMAN_CORPUS", "/nowhere"), "recordings", "gemini")
RECORDINGS = sorted(meta.parent for meta in CORPUS.glob("*/*/meta.json"))


def chunks_of(recording: Path) -> list[Any]:
    (file,) = recording.glob("response.*")
    raw = file.read_bytes()
    if file.suffix == ".sse":
        splitter = Splitter()
        return [json.loads(data) for _, data in (*splitter.feed(raw), *splitter.finish())]
    value = json.loads(raw)
    return value if isinstance(value, list) else [value]


def truth(chunks: list[Any]) -> tuple[str, str, list[tuple[str, Any]]]:
    """The text, the thoughts and the calls, read without our code."""
    said, thought, calls = "", "", []
    for each in chunks:
        for candidate in each.get("candidates") or []:
            for part in (candidate.get("content") or {}).get("parts") or [] if not candidate.get("index") else []:
                if part.get("thought"):
                    thought += part.get("text", "")
                else:
                    said += part.get("text") or ""
                if (part.get("functionCall") or {}).get("name"):
                    calls.append((part["functionCall"]["name"], part["functionCall"].get("args") or {}))
    return said, thought, calls


@pytest.mark.skipif(not RECORDINGS, reason="needs DRAGOMAN_CORPUS")
@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: f"{path.parent.name}-{path.name}"[:90])
def test_every_recording(recording: Path) -> None:
    meta = json.loads((recording / "meta.json").read_text())
    if meta["kind"] == "error":
        (file,) = recording.glob("response.*")
        assert decode_error(meta["status"], file.read_bytes()).message
        return
    chunks = chunks_of(recording)
    events = decoded(*chunks)
    said, thought, calls = truth(chunks)
    assert "".join(event.text for event in events if isinstance(event, ev.Text)) == said
    assert "".join(event.text for event in events if isinstance(event, ev.Reasoning)) == thought
    starts = [event for event in events if isinstance(event, ev.ToolStart)]
    arguments = {event.part: json.loads(event.text) for event in events if isinstance(event, ev.Arguments)}
    assert [start.name for start in starts] == [name for name, _ in calls]
    if "partialArgs" not in json.dumps(chunks):
        assert [arguments.get(start.part, {}) for start in starts] == [args for _, args in calls]
    last = events[-1]
    finished = any(c.get("finishReason") for each in chunks for c in each.get("candidates") or []) or "blockReason" in json.dumps(chunks)
    assert finished or isinstance(last, ev.Fault)
    for shape in CLIENTS:
        given = reply(shape)
        wire = Wire(shape, given)
        out = wire.feed(decoded(*chunks, told=given))
        assert GRAMMARS[shape](out) == ("error" if isinstance(last, ev.Fault) else "done")
