"""Answers of other APIs' models to callers of Google's SDK: acceptance G07, G08, G09, G11, G12, G20 and G21."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.genai import errors, types

from ..scripted import Gate, chunk, close, sse, stream_head, wait
from .gemini_stage import HI, UPSTREAMS, Google, parts_of
from .upstreams import (
    JSON,
    Answer,
    called,
    chat_chunk,
    completion,
    function,
    message,
    more,
    opened,
    reasoned,
    response,
    said,
    spoken,
    text_answer,
    thought,
)  # fmt: skip
from .wire import Wire

TOOLS: JSON = {"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}, {"name": "g"}]}


def asks(**more: Any) -> JSON:
    return {**HI, "tools": [TOOLS], **more}


def envelope(signature: str) -> JSON:
    raw = base64.b64decode(signature)
    assert raw.startswith(b"dgr1.{")
    return json.loads(raw[5:])  # type: ignore[no-any-return]


def turn(role: str, *parts: JSON) -> JSON:
    return {"role": role, "parts": list(parts)}


RESULT = turn("user", {"functionResponse": {"name": "f", "response": {"output": "42"}}})


def as_gemini_cli_keeps(parts: list[JSON]) -> list[JSON]:
    """Without thoughts, with adjacent texts merged, the first one's signature kept."""
    found: list[JSON] = []
    for part in parts:
        if part.get("thought"):
            continue
        if "text" in part and found and "text" in found[-1]:
            found[-1] = {**part, **found[-1], "text": found[-1]["text"] + part["text"]}
        else:
            found.append(dict(part))
    return found


# ---- G07, G08, G09: what the provider needs back of its reasoning ----

CALLING = {
    "messages": message(thought("p", "S1"), said("ok"), called("t1", "f", '{"x":1}'), stop="tool_use"),
    "responses": response(reasoned("rs_1", "E1", "p"), function("t1", "f", '{"x":1}')),
    "chat": completion({"reasoning_content": "r"}, opened(0, "t1", "f", '{"x":1}'), finish="tool_calls"),
}
DONE = {"messages": message(said("Done")), "responses": response(spoken("Done")), "chat": completion({"content": "Done"})}


def test_G07_the_blocks_of_a_messages_model_return(google: Google) -> None:
    google.play(CALLING["messages"], DONE["messages"])
    parts = parts_of(google.chunks(asks(), "messages/m"))
    assert [sorted(part) for part in parts] == [["text", "thoughtSignature"], ["functionCall"], ["text"]]
    assert parts[1]["functionCall"] == {"id": "t1", "name": "f", "args": {"x": 1}}
    assert parts[0]["thoughtSignature"].startswith("ZGdyMS57")
    assert envelope(parts[0]["thoughtSignature"])["b"] == [{"type": "thinking", "thinking": "p", "signature": "S1"}]
    parts[0]["thoughtSignature"] = parts[0]["thoughtSignature"].replace("+", "-").replace("/", "_").rstrip("=")  # as the SDKs write it
    google.chunks(asks(contents=[*HI["contents"], turn("model", *as_gemini_cli_keeps(parts)), RESULT]), "messages/m")
    assert google.asked[1]["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "p", "signature": "S1"},
                {"type": "text", "text": "ok"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "42"}]},
    ]


@pytest.mark.parametrize("shows", [False, True])
def test_G07_the_sdk_s_chat_returns_them(google: Google, shows: bool) -> None:
    google.play(CALLING["messages"], DONE["messages"])
    tools: Any = [types.Tool(function_declarations=[types.FunctionDeclaration(name="f", parameters_json_schema={"type": "object"})])]
    config = types.GenerateContentConfig(tools=tools, thinking_config=types.ThinkingConfig(include_thoughts=shows))
    chat = google.client.chats.create(model="messages/m", config=config)
    pieces = [part for one in chat.send_message_stream("Hi") for part in one.candidates[0].content.parts]  # type: ignore[index,union-attr]
    assert [part.text for part in pieces if part.thought] == (["p"] if shows else [])
    assert len(chat.get_history(curated=True)) > 1
    answer = chat.send_message(types.Part.from_function_response(name="f", response={"output": "42"}))
    assert answer.text == "Done"
    content = google.asked[1]["messages"][1]["content"]
    assert content[0] == {"type": "thinking", "thinking": "p", "signature": "S1"}
    assert [block["type"] for block in content] == ["thinking", "text", "tool_use"]
    assert google.asked[1]["messages"][2]["content"][0]["tool_use_id"] == "t1"


def test_G08_the_items_of_a_responses_model_return(google: Google) -> None:
    google.play(CALLING["responses"], DONE["responses"])
    parts = as_gemini_cli_keeps(parts_of(google.chunks(asks(), "responses/m")))
    google.chunks(asks(contents=[*HI["contents"], turn("model", *parts), RESULT]), "responses/m")
    kinds = [(item["type"], item.get("id") or item.get("call_id")) for item in google.asked[1]["input"][1:]]
    assert kinds == [("reasoning", "rs_1"), ("function_call", "t1"), ("function_call_output", "t1")]
    assert google.asked[1]["input"][1]["encrypted_content"] == "E1"


def test_G09_the_text_of_a_chat_model_returns(google: Google) -> None:
    google.play(CALLING["chat"], DONE["chat"])
    parts = as_gemini_cli_keeps(parts_of(google.chunks(asks(), "chat/m")))
    google.chunks(asks(contents=[*HI["contents"], turn("model", *parts), RESULT]), "chat/m")
    assert google.asked[1]["messages"][1]["reasoning_content"] == "r"


def test_redacted_blocks_are_in_one_envelope(google: Google) -> None:
    from .upstreams import redacted

    google.play(message(thought("a", "S1"), redacted("R"), thought("b", "S2"), said("x")))
    parts = google.whole(HI, "messages/m")["candidates"][0]["content"]["parts"]
    assert [part["text"] for part in parts] == ["x"]
    assert [block.get("signature") or block["data"] for block in envelope(parts[0]["thoughtSignature"])["b"]] == ["S1", "R", "S2"]


def test_reasoning_with_nothing_behind_it(google: Google) -> None:
    google.play(message(said("x"), thought("a", "S1")))
    parts = google.whole(HI, "messages/m")["candidates"][0]["content"]["parts"]
    assert [part["text"] for part in parts] == ["x", ""]
    assert envelope(parts[1]["thoughtSignature"])["b"][0]["signature"] == "S1"


# ---- G11, G12: calls ----


def test_G11_calls_are_whole_and_in_order(google: Google) -> None:
    google.play(
        completion(opened(0, "a1", "f"), opened(1, "a2", "g"), more(0, '{"x":'), more(0, "1}"), more(1, ""), finish="tool_calls"),
    )
    chunks = google.chunks(asks(), "chat/m")
    assert [part["functionCall"] for part in parts_of(chunks) if "functionCall" in part] == [
        {"id": "a1", "name": "f", "args": {"x": 1}},
        {"id": "a2", "name": "g", "args": {}},
    ]
    assert [one["candidates"][0].get("finishReason") for one in chunks] == [None, None, "STOP"]


CUT = {
    "chat": Answer(
        completion(opened(0, "a1", "f", '{"x":1}'), opened(1, "a2", "g", '{"path":"/a","te'), finish="length").events,
        completion(
            finish="length",
            said={
                "tool_calls": [
                    {"id": "a1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                    {"id": "a2", "type": "function", "function": {"name": "g", "arguments": '{"path":"/a","te'}},
                ]
            },
        ).whole,
    ),
    "messages": message(called("a1", "f", '{"x":1}'), called("a2", "g", '{"path":"/a","te'), stop="max_tokens"),
}


@pytest.mark.parametrize("upstream", CUT)
def test_G12_a_call_that_was_cut_off_is_left_out(google: Google, upstream: str) -> None:
    google.play(CUT[upstream])
    chunks = google.chunks(asks(), f"{upstream}/m")
    assert [part["functionCall"]["id"] for part in parts_of(chunks) if "functionCall" in part] == ["a1"]
    assert chunks[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_G12_also_of_a_whole_answer(google: Google) -> None:
    google.play(CUT["chat"])
    answer = google.post("/v1beta/models/chat/m:generateContent", asks())
    body = answer.json()["candidates"][0]
    assert [part["functionCall"]["id"] for part in body["content"]["parts"]] == ["a1"]
    assert body["finishReason"] == "MAX_TOKENS"
    assert answer.headers["x-dragoman-response-dropped"] == "tool_call:incomplete"


# ---- G20: silence, line ends, the chats of the SDK ----


@pytest.mark.parametrize("upstream", ["messages", "chat"])
@pytest.mark.parametrize("query", ["?alt=sse", ""])
def test_G20_silence_is_filled_with_blank_lines(google: Google, upstream: str, query: str) -> None:
    gate = Gate()
    events = text_answer(upstream, "a\u2028b").events
    first = next(number for number, event in enumerate(events) if b"\\u2028" in event or "\u2028".encode() in event)
    google.play(
        [
            stream_head(),
            *map(chunk, events[: first + 1]),
            wait(gate),
            *map(chunk, events[first + 1 :]),
            chunk(b""),
        ]
    )
    with google.wire(f"{upstream}/m", query=query) as wire:
        status, headers = wire.head()
        heard = b""
        while heard.count(b"\n") < 6 or not heard.endswith(b"\n\n"):
            heard += wire.chunk()
        gate.open()
        while piece := wire.chunk():
            heard += piece
    assert status == 200
    if query:
        assert headers["content-type"].startswith("text/event-stream")
        assert all(line == b"" or line.startswith(b"data: {") for line in heard.split(b"\n"))
        chunks = [json.loads(line[6:]) for line in heard.split(b"\n") if line]
    else:
        assert headers["content-type"] == "application/json"
        chunks = json.loads(heard)
    assert "\u2028".encode() not in heard
    assert "".join(part["text"] for part in parts_of(chunks)) == "a\u2028b"
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("streamed", [False, True])
def test_G20_the_turn_stays_in_the_sdk_s_history(google: Google, upstream: str, streamed: bool) -> None:
    google.play(text_answer(upstream, "Good ", "morning"))
    chat = google.client.chats.create(model=f"{upstream}/m")
    if streamed:
        text = "".join(one.text or "" for one in chat.send_message_stream("Hi"))
    else:
        text = chat.send_message("Hi").text or ""
    assert text == "Good morning"
    history = chat.get_history(curated=True)
    assert [content.role for content in history][:2] == ["user", "model"]
    assert google.asked[0]["model"] == "m"


# ---- G21: failures within a stream ----

OVERLOADED = {
    "chat": (sse({"error": {"message": "Overloaded", "type": "overloaded_error", "code": 529}}), 503),
    "messages": (sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error"), 503),
    "responses": (
        sse({"type": "error", "code": "server_error", "message": "Overloaded", "param": None, "sequence_number": 9}, "error"),
        500,
    ),
}


def begun(upstream: str) -> list[bytes]:
    """A stream up to its text."""
    events = text_answer(upstream, "Good ").events
    last = next(number for number, event in enumerate(events) if b"Good " in event)
    return events[: last + 1]


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("fault", ["cut", "error"])
def test_G21_the_sdk_raises(google: Google, upstream: str, fault: str) -> None:
    gate = Gate()  # the error comes when the text has been read
    tail = [close] if fault == "cut" else [chunk(OVERLOADED[upstream][0]), close]
    google.play([stream_head(), *map(chunk, begun(upstream)), wait(gate), *tail])
    code = 502 if fault == "cut" else OVERLOADED[upstream][1]
    found = google.client.models.generate_content_stream(model=f"{upstream}/m", contents="Hi")
    assert next(found).text == "Good "
    gate.open()
    with pytest.raises(errors.APIError) as raised:
        next(found)
    assert raised.value.code == code


@pytest.mark.parametrize("query", ["?alt=sse", "", "?alt=json"])
@pytest.mark.parametrize("upstream", [*UPSTREAMS, "google"])
def test_G21_the_connection_is_closed_without_an_end(google: Google, upstream: str, query: str) -> None:
    if upstream == "google":
        first = sse({"candidates": [{"content": {"role": "model", "parts": [{"text": "Good "}]}, "index": 0}]})
        google.play([stream_head(), chunk(first), close])
    else:
        google.play([stream_head(), *map(chunk, begun(upstream)), close])
    with google.wire(f"{upstream}/m", query=query) as wire:
        wire.head()
        heard, ended = rest(wire)
    assert not ended
    assert b"Good " in heard
    start = heard.rindex(b'{"error"')
    error = json.loads(heard[start : heard.rindex(b"}") + 1])["error"]
    assert (error["code"], error["status"]) == (502, "UNAVAILABLE")
    assert not heard.endswith(b"]")


def rest(wire: Wire) -> tuple[bytes, bool]:
    """The rest of a stream, and whether HTTP says that it is whole."""
    heard = b""
    try:
        while piece := wire.chunk():
            heard += piece
    except EOFError:
        return heard, False
    return heard, True


def test_chunks_of_a_chat_model_as_google_writes_them(google: Google) -> None:
    google.play(text_answer("chat", "Good ", "morning"))
    chunks = google.chunks(HI, "chat/m")
    base = {"modelVersion": "m", "responseId": "1"}
    assert chunks == [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "Good "}]}, "index": 0}], **base},
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "morning"}]}, "index": 0}], **base},
        {
            "candidates": [{"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 7, "totalTokenCount": 19},
            **base,
        },
    ]


def test_a_chat_upstream_s_signature_returns_as_it_came(google: Google) -> None:
    """Google's own endpoint for OpenAI's API sends signatures in `extra_content`."""
    call = {**opened(0, "c1", "f", "{}")["tool_calls"][0], "extra_content": {"google": {"thought_signature": "AAAA"}}}
    google.play([stream_head(), *map(chunk, [chat_chunk({"tool_calls": [call]}), chat_chunk({}, "tool_calls"), sse("[DONE]"), b""])])
    parts = parts_of(google.chunks(asks(), "chat/m"))
    assert parts[0] == {"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": "AAAA"}
