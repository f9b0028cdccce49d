"""Answers as providers send them, in four shapes: each streamed event by event and, the same, whole.

completion({"content": "Hi"}, finish="stop")                       chat: deltas
message(said("Hi"), called("toolu_1", "f", '{"a":', "1}"))         messages: blocks with their pieces
response(spoken("Hi"), function("call_1", "f", "{}"))              responses: items with their pieces
generated({"text": "Hi"}, {"functionCall": {"name": "f"}})         gemini: parts, each in a chunk of its own
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..scripted import Steps, respond, sse, stream
from .spoken import RESPONSE

JSON = dict[str, Any]


class Answer(NamedTuple):
    """events: of the stream, each with its blank line. whole: the same as one object."""

    events: list[bytes]
    whole: JSON

    def steps(self, streamed: bool) -> Steps:
        return stream(*self.events) if streamed else [respond(self.whole)]


def event(value: JSON) -> bytes:
    return sse(value, value["type"])


# ---- chat ----

_CHAT = {"id": "chatcmpl-1", "created": 1700000000, "model": "m"}


def chat_chunk(delta: JSON, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return sse({**_CHAT, "object": "chat.completion.chunk", "choices": [choice], **more})


def chat_usage(usage: JSON) -> bytes:
    return sse({**_CHAT, "object": "chat.completion.chunk", "choices": [], "usage": usage})


def opened(index: int, id: str, name: str, arguments: str = "") -> JSON:
    """The delta that opens a tool call."""
    call = {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [call]}


def more(index: int, arguments: str) -> JSON:
    """The delta of a further piece of a tool call's arguments."""
    return {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


def completion(*deltas: JSON, finish: str | None = "stop", usage: JSON | None = None, said: JSON | None = None) -> Answer:
    """said: the message of the whole answer."""
    events = [chat_chunk({"role": "assistant", "content": ""}), *map(chat_chunk, deltas)]
    events += [chat_chunk({}, finish)] if finish else []
    events += [chat_usage(usage)] if usage else []
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **(said or {})}, "logprobs": None, "finish_reason": finish}
    whole: JSON = {**_CHAT, "object": "chat.completion", "choices": [choice]} | ({"usage": usage} if usage else {})
    return Answer([*events, sse("[DONE]")], whole)


# ---- messages ----

_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}


class Block(NamedTuple):
    start: JSON
    deltas: list[JSON]
    whole: JSON


def said(*pieces: str) -> Block:
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return Block({"type": "text", "text": ""}, deltas, {"type": "text", "text": "".join(pieces)})


def thought(text: str, signature: str) -> Block:
    deltas = [{"type": "thinking_delta", "thinking": text}, {"type": "signature_delta", "signature": signature}]
    return Block(
        {"type": "thinking", "thinking": "", "signature": ""}, deltas, {"type": "thinking", "thinking": text, "signature": signature}
    )


def redacted(data: str) -> Block:
    block = {"type": "redacted_thinking", "data": data}
    return Block(block, [], block)


def called(id: str, name: str, *pieces: str) -> Block:
    block = {"type": "tool_use", "id": id, "name": name, "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    try:
        given = json.loads("".join(pieces) or "{}")
    except ValueError:
        given = {}  # cut off: there is no whole form of it
    return Block(block, deltas, block | {"input": given})


def message(*blocks: Block, stop: str = "end_turn", usage: JSON | None = None, details: JSON | None = None) -> Answer:
    usage = usage or {"input_tokens": 12, "output_tokens": 7}
    ending = {"stop_reason": stop, "stop_sequence": None} | ({"stop_details": details} if details else {})
    begun = {**_MESSAGE, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage | {"output_tokens": 1}}
    events = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block.start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in block.deltas]
        events.append({"type": "content_block_stop", "index": index})
    counted = {key: usage[key] for key in ("output_tokens", "output_tokens_details", "iterations") if key in usage}
    events += [{"type": "message_delta", "delta": ending, "usage": counted}, {"type": "message_stop"}]
    whole = {**_MESSAGE, "content": [block.whole for block in blocks], **ending, "usage": usage}
    return Answer(list(map(event, events)), whole)


# ---- responses ----

RESPONSE_USAGE = {
    "input_tokens": 12,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 19,
}


class Item(NamedTuple):
    """body: the events between `added` and `done`, without item_id and output_index."""

    added: JSON
    body: list[JSON]
    done: JSON


def spoken(*pieces: str, id: str = "msg_u1") -> Item:
    text = "".join(pieces)
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return _part(id, part, {**part, "text": ""}, [("output_text", {"delta": piece, "logprobs": []}) for piece in pieces], "text", text)


def declined(*pieces: str, id: str = "msg_u1") -> Item:
    text = "".join(pieces)
    part = {"type": "refusal", "refusal": text}
    return _part(id, part, {**part, "refusal": ""}, [("refusal", {"delta": piece}) for piece in pieces], "refusal", text)


def _part(id: str, part: JSON, empty: JSON, deltas: Sequence[tuple[str, JSON]], key: str, text: str) -> Item:
    base = {"id": id, "type": "message", "role": "assistant"}
    at = {"content_index": 0}
    kind = deltas[0][0] if deltas else "output_text"
    done: JSON = {key: text} | ({"logprobs": []} if kind == "output_text" else {})
    body = [
        {"type": "response.content_part.added", **at, "part": empty},
        *({"type": f"response.{name}.delta", **at, **delta} for name, delta in deltas),
        {"type": f"response.{kind}.done", **at, **done},
        {"type": "response.content_part.done", **at, "part": part},
    ]
    return Item({**base, "status": "in_progress", "content": []}, body, {**base, "status": "completed", "content": [part]})


def reasoned(id: str, encrypted: str, *summary: str) -> Item:
    base = {"id": id, "type": "reasoning"}
    body: list[JSON] = []
    for number, text in enumerate(summary):
        at = {"summary_index": number}
        body += [
            {"type": "response.reasoning_summary_part.added", **at, "part": {"type": "summary_text", "text": ""}},
            {"type": "response.reasoning_summary_text.delta", **at, "delta": text},
            {"type": "response.reasoning_summary_text.done", **at, "text": text},
            {"type": "response.reasoning_summary_part.done", **at, "part": {"type": "summary_text", "text": text}},
        ]
    done = {**base, "summary": [{"type": "summary_text", "text": text} for text in summary], "encrypted_content": encrypted}
    return Item({**base, "summary": []}, body, done)


def function(call_id: str, name: str, *pieces: str, id: str = "fc_u1") -> Item:
    base = {"id": id, "type": "function_call", "call_id": call_id, "name": name}
    arguments = "".join(pieces)
    deltas = [{"type": "response.function_call_arguments.delta", "delta": piece} for piece in pieces]
    body = [*deltas, {"type": "response.function_call_arguments.done", "arguments": arguments, "name": name}]
    return Item({**base, "arguments": "", "status": "in_progress"}, body, {**base, "arguments": arguments, "status": "completed"})


def response(*items: Item, usage: JSON | None = None, status: str = "completed", reason: str | None = None) -> Answer:
    output = [item.done for item in items]
    ended = RESPONSE | {"status": status, "output": output, "usage": usage or RESPONSE_USAGE}
    ended |= {"incomplete_details": {"reason": reason}} if reason else {}
    begun = RESPONSE | {"status": "in_progress", "output": [], "usage": None}
    events: list[JSON] = [{"type": f"response.{name}", "response": begun} for name in ("created", "in_progress")]
    for index, item in enumerate(items):
        at = {"output_index": index}
        events.append({"type": "response.output_item.added", **at, "item": item.added})
        events += [value | at | {"item_id": item.done["id"]} for value in item.body]
        events.append({"type": "response.output_item.done", **at, "item": item.done})
    events.append({"type": f"response.{status}", "response": ended})
    numbered = [value | {"sequence_number": number} for number, value in enumerate(events)]
    return Answer(list(map(event, numbered)), ended)


# ---- the same words in each ----


# ---- gemini ----

_GENERATED = {"modelVersion": "m", "responseId": "r1"}
GENERATED_USAGE = {"promptTokenCount": 12, "candidatesTokenCount": 7, "totalTokenCount": 19}


def generated(*parts: JSON, finish: str = "STOP") -> Answer:
    """A text's signature stands on it in the whole answer, and on an empty text of its own in the last chunk of a stream."""
    chunks = [{"candidates": [{"content": {"role": "model", "parts": [_unsigned(part)]}, "index": 0}], **_GENERATED} for part in parts]
    signed = [{"text": "", "thoughtSignature": part["thoughtSignature"]} for part in parts if _unsigned(part) != part]
    last = {"content": {"role": "model", "parts": signed or [{"text": ""}]}, "finishReason": finish, "index": 0}
    chunks.append({"candidates": [last], "usageMetadata": GENERATED_USAGE, **_GENERATED})
    whole = chunks[-1] | {"candidates": [last | {"content": {"role": "model", "parts": list(parts)}}]}
    return Answer([sse(chunk).replace(b"\n", b"\r\n") for chunk in chunks], whole)


def _unsigned(part: JSON) -> JSON:
    return {"text": part["text"]} if "text" in part and "thoughtSignature" in part else part


def text_answer(shape: str, *pieces: str) -> Answer:
    """An answer of nothing but text."""
    if shape == "chat":
        usage = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
        return completion(*({"content": piece} for piece in pieces), usage=usage, said={"content": "".join(pieces)})
    return message(said(*pieces)) if shape == "messages" else response(spoken(*pieces))


def tool_answer(shape: str, name: str, *pieces: str, id: str = "call_1") -> Answer:
    """An answer that is one tool call."""
    if shape == "chat":
        call = {"id": id, "type": "function", "function": {"name": name, "arguments": "".join(pieces)}}
        deltas = [opened(0, id, name), *(more(0, piece) for piece in pieces)]
        return completion(*deltas, finish="tool_calls", said={"content": None, "tool_calls": [call]})
    return message(called(id, name, *pieces), stop="tool_use") if shape == "messages" else response(function(id, name, *pieces))
