"""A stream's events folded to the whole answer, as the vendors' SDKs fold them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

JSON = dict[str, Any]


def events(data: bytes) -> list[JSON]:
    """The JSON of every event of an SSE stream."""
    lines = [line[5:].strip() for line in data.split(b"\n") if line.startswith(b"data:")]
    return [orjson.loads(line) for line in lines if line != b"[DONE]"]


def fold(shape: str, data: bytes) -> JSON:
    """The answer. Raises AssertionError when the stream ended in a failure, or without its end."""
    return {"chat": _chat, "messages": _messages, "responses": _responses, "gemini": _gemini}[shape](events(data))


def _chat(chunks: Iterable[JSON]) -> JSON:
    message: JSON = {"role": "assistant", "content": None}
    calls: dict[int, JSON] = {}
    finish = None
    for chunk in chunks:
        assert "error" not in chunk, chunk
        for choice in chunk["choices"]:
            finish = choice.get("finish_reason") or finish
            for name, value in choice["delta"].items():
                if name == "tool_calls":
                    for call in value:
                        _merge(calls.setdefault(call["index"], {}), {key: part for key, part in call.items() if key != "index"})
                elif name != "role" and value is not None:
                    _merge(message, {name: value})
    assert finish, "the stream ended without its end"
    if calls:
        message["tool_calls"] = list(calls.values())
    return {"choices": [{"message": message, "finish_reason": finish}]}


def _merge(whole: JSON, delta: JSON) -> None:
    for name, value in delta.items():
        before = whole.get(name)
        if isinstance(value, dict):
            _merge(whole.setdefault(name, {}), value)
        elif isinstance(value, str) and isinstance(before, str) and name not in ("type", "id"):
            whole[name] = before + value
        elif isinstance(value, list) and isinstance(before, list):
            before += value
        elif value is not None:
            whole[name] = value


def _messages(found: Iterable[JSON]) -> JSON:
    blocks: list[JSON] = []
    ended = False
    for event in found:
        assert event["type"] != "error", event
        if event["type"] == "content_block_start":
            blocks.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            _add(blocks[event["index"]], event["delta"])
        elif event["type"] == "content_block_stop":
            block = blocks[event["index"]]
            if "partial" in block:
                block["input"] = orjson.loads(block.pop("partial") or b"{}")
        ended = ended or event["type"] == "message_stop"
    assert ended, "the stream ended without its end"
    return {"content": blocks}


def _add(block: JSON, delta: JSON) -> None:
    member = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}.get(delta["type"])
    if member is not None:
        block[member] = block.get(member, "") + delta[member]
    elif delta["type"] == "input_json_delta":
        block["partial"] = block.get("partial", "") + delta["partial_json"]


def _responses(found: Iterable[JSON]) -> JSON:
    last = list(found)[-1]
    assert last["type"] in ("response.completed", "response.incomplete"), last
    response: JSON = last["response"]
    return response


def _gemini(chunks: Iterable[JSON]) -> JSON:
    """The parts of all chunks, as the chats of Google's SDK keep them."""
    parts: list[JSON] = []
    finish = None
    for chunk in chunks:
        assert "error" not in chunk, chunk
        (candidate,) = chunk["candidates"]
        parts += candidate["content"]["parts"]
        finish = candidate.get("finishReason") or finish
    assert finish, "the stream ended without its end"
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish}]}
