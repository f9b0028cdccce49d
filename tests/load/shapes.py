"""The wire data of the load tests' provider: each shape's answer as prebuilt bytes, and how a drain tells that one is whole.

An answer is `words` times one word. Unpaced, the word is WORD; paced, it is a stamp: @ and 13 digits of CLOCK_MONOTONIC in
microseconds, the time just before the write. So the words that arrive can be counted in any shape without parsing, and their
age is known. (Where a shape repeats the text at its end, it is there a whole number of times.)
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WORD = "@lorem "
STAMP = "@%013d "
MODULUS = 10**13  # of a stamp, in microseconds


def _frame(value: dict[str, Any], named: bool = True) -> bytes:
    event = f"event: {value['type']}\n" if named else ""
    return f"{event}data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


def chunk(data: bytes) -> bytes:
    """As one chunk of an HTTP body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


# ---- chat ----

_CHAT = {"id": "chatcmpl-load", "object": "chat.completion.chunk", "created": 1700000000, "model": "load"}


def _chat_piece(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _frame(_CHAT | {"system_fingerprint": "fp_load", "choices": [choice]}, named=False)


def _chat_usage(words: int) -> dict[str, int]:
    return {"prompt_tokens": 20, "completion_tokens": words, "total_tokens": 20 + words}


def _chat_first() -> list[bytes]:
    return [_chat_piece({"role": "assistant", "content": ""})]


def _chat_last(text: str, words: int) -> list[bytes]:
    usage = _CHAT | {"choices": [], "usage": _chat_usage(words)}
    return [_chat_piece({}, "stop"), _frame(usage, named=False), b"data: [DONE]\n\n"]


def _chat_delta(number: int, text: str) -> bytes:
    return _chat_piece({"content": text})


def _chat_whole(text: str, words: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _CHAT | {"object": "chat.completion", "choices": [choice], "usage": _chat_usage(words)}


# ---- messages ----


def _message(content: list[Any], reason: str | None, words: int) -> dict[str, Any]:
    usage = {"input_tokens": 20, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": words}
    message = {"id": "msg_load", "type": "message", "role": "assistant", "model": "load", "content": content}
    return message | {"stop_reason": reason, "stop_sequence": None, "usage": usage}


def _messages_first() -> list[bytes]:
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return [_frame({"type": "message_start", "message": _message([], None, 1)}), _frame(start)]


def _messages_last(text: str, words: int) -> list[bytes]:
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": words}}
    return [_frame({"type": "content_block_stop", "index": 0}), _frame(delta), _frame({"type": "message_stop"})]


def _messages_delta(number: int, text: str) -> bytes:
    return _frame({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})


def _messages_whole(text: str, words: int) -> dict[str, Any]:
    return _message([{"type": "text", "text": text}], "end_turn", words)


# ---- responses ----


def _response(output: list[Any], status: str, words: int | None) -> dict[str, Any]:
    usage = {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": words,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 20 + (words or 0),
    }
    response = {"id": "resp_load", "object": "response", "created_at": 1700000000, "status": status, "model": "load", "output": output}
    return response | {"error": None, "incomplete_details": None, "usage": usage if words is not None else None}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(content: list[Any], status: str) -> dict[str, Any]:
    return {"id": "msg_load", "type": "message", "status": status, "role": "assistant", "content": content}


_PLACE = {"item_id": "msg_load", "output_index": 0, "content_index": 0}


def _responses_first() -> list[bytes]:
    created = _response([], "in_progress", None)
    return [
        _frame({"type": "response.created", "sequence_number": 0, "response": created}),
        _frame({"type": "response.in_progress", "sequence_number": 1, "response": created}),
        _frame({"type": "response.output_item.added", "sequence_number": 2, "output_index": 0, "item": _item([], "in_progress")}),
        _frame({"type": "response.content_part.added", "sequence_number": 3, **_PLACE, "part": _part("")}),
    ]


def _responses_last(text: str, words: int) -> list[bytes]:
    item = _item([_part(text)], "completed")
    number = 4 + words
    return [
        _frame({"type": "response.output_text.done", "sequence_number": number, **_PLACE, "text": text, "logprobs": []}),
        _frame({"type": "response.content_part.done", "sequence_number": number + 1, **_PLACE, "part": _part(text)}),
        _frame({"type": "response.output_item.done", "sequence_number": number + 2, "output_index": 0, "item": item}),
        _frame({"type": "response.completed", "sequence_number": number + 3, "response": _response([item], "completed", words)}),
    ]


def _responses_delta(number: int, text: str) -> bytes:
    return _frame({"type": "response.output_text.delta", "sequence_number": 4 + number, **_PLACE, "delta": text, "logprobs": []})


def _responses_whole(text: str, words: int) -> dict[str, Any]:
    return _response([_item([_part(text)], "completed")], "completed", words)


# ---- gemini ----


def _gemini_usage(words: int) -> dict[str, Any]:
    details = [{"modality": "TEXT", "tokenCount": 20}]
    return {"promptTokenCount": 20, "candidatesTokenCount": words, "totalTokenCount": 20 + words, "promptTokensDetails": details}


def _gemini(text: str, words: int, finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    return {
        "candidates": [candidate | ({"finishReason": finish} if finish else {})],
        "usageMetadata": _gemini_usage(words),
        "modelVersion": "load",
        "responseId": "load",
    }


def _gemini_last(text: str, words: int) -> list[bytes]:
    return [_frame(_gemini("", words, "STOP"), named=False)]


def _gemini_delta(number: int, text: str) -> bytes:
    return _frame(_gemini(text, number + 1), named=False)


def _gemini_whole(text: str, words: int) -> dict[str, Any]:
    return _gemini(text, words, "STOP")


@dataclass(frozen=True)
class Wire:
    """One shape. path: behind /v1. first, last: the frames around the deltas. terminal: what only a complete stream holds."""

    path: str
    first: Callable[[], list[bytes]]
    delta: Callable[[int, str], bytes]
    last: Callable[[str, int], list[bytes]]
    whole: Callable[[str, int], dict[str, Any]]
    terminal: bytes


WIRES = {
    "chat": Wire("/chat/completions", _chat_first, _chat_delta, _chat_last, _chat_whole, b"data: [DONE]"),
    "messages": Wire("/messages", _messages_first, _messages_delta, _messages_last, _messages_whole, b'"message_stop"'),
    "responses": Wire("/responses", _responses_first, _responses_delta, _responses_last, _responses_whole, b'"response.completed"'),
    "gemini": Wire("/models/load", list, _gemini_delta, _gemini_last, _gemini_whole, b'"finishReason"'),
}


@functools.cache
def deltas(shape: str, words: int) -> list[bytes]:
    """The frames of the deltas of an unpaced answer."""
    return [WIRES[shape].delta(number, WORD) for number in range(words)]


@functools.cache
def around_stamp(shape: str, number: int) -> tuple[bytes, bytes]:
    """The chunk of a paced delta, before and after its stamp."""
    nought = STAMP % 0
    before, _, after = chunk(WIRES[shape].delta(number, nought)).partition(nought.encode())
    return before, after


@functools.cache
def whole(shape: str, words: int) -> bytes:
    return json.dumps(WIRES[shape].whole(WORD * words, words)).encode()
