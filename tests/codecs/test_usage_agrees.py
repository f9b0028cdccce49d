"""What an answer used is told alike whole and streamed, to callers of each API, however its provider counts; and nothing is below zero."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.sse import Splitter

from ..gateway import upstreams as up

JSON = dict[str, Any]

_CHAT: JSON = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
_RESPONSE: JSON = {"input_tokens": 100, "output_tokens": 50, "total_tokens": 150}
_CACHED, _REASONED = {"prompt_tokens_details": {"cached_tokens": 40}}, {"completion_tokens_details": {"reasoning_tokens": 20}}
# who counts so: the API, and the usage; then input with what was cached, the cached share, output with reasoning, and reasoning
COUNTS: dict[str, tuple[str, JSON, tuple[int, int, int, int]]] = {
    "OpenAI, inside": ("chat", _CHAT | _CACHED | _REASONED, (100, 40, 50, 20)),
    "xAI, beside": ("chat", _CHAT | _CACHED | _REASONED | {"completion_tokens": 30}, (100, 40, 50, 20)),
    "Gemini, beside and not said": ("chat", _CHAT | {"completion_tokens": 30}, (100, 0, 50, 0)),
    "DeepSeek": ("chat", _CHAT | {"prompt_cache_hit_tokens": 40, "prompt_cache_miss_tokens": 60} | _REASONED, (100, 40, 50, 20)),
    "Moonshot": ("chat", _CHAT | {"cached_tokens": 40}, (100, 40, 50, 0)),
    "Mistral, sound beside": ("chat", _CHAT | {"prompt_tokens": 20, "prompt_audio_seconds": 5}, (100, 0, 50, 0)),
    "Mistral, sound beside and cached text": (
        "chat",
        _CHAT | {"prompt_tokens": 20, "prompt_audio_seconds": 0, "prompt_tokens_details": {"audio_tokens": 80, "cached_tokens": 9}},
        (100, 9, 50, 0),
    ),
    "details that are null": ("chat", _CHAT | {"prompt_tokens_details": None, "completion_tokens_details": None}, (100, 0, 50, 0)),
    "no total": ("chat", {"prompt_tokens": 100, "completion_tokens": 50}, (100, 0, 50, 0)),
    "below zero": ("chat", {"prompt_tokens": 100, "completion_tokens": -9}, (100, 0, 0, 0)),
    "Anthropic, beside": (
        "messages",
        {"input_tokens": 60, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 7, "output_tokens": 50},
        (107, 40, 50, 0),
    ),
    "OpenAI's responses, inside": (
        "responses",
        _RESPONSE | {"input_tokens_details": {"cached_tokens": 40}, "output_tokens_details": {"reasoning_tokens": 20}},
        (100, 40, 50, 20),
    ),
    "xAI's responses, beside": (
        "responses",
        _RESPONSE | {"output_tokens": 30, "output_tokens_details": {"reasoning_tokens": 20}},
        (100, 0, 50, 20),
    ),
}


def answered(shape: str, usage: JSON) -> up.Answer:
    if shape == "chat":
        return up.completion({"content": "a"}, usage=usage, said={"content": "a"})
    return up.message(up.said("a"), usage=usage) if shape == "messages" else up.response(up.spoken("a"), usage=usage)


def told(caller: str, reply: Reply, events: Any) -> Any:
    collector = SHAPES[caller].Collector(reply)
    collector.feed(events)
    return collector.body()["usageMetadata" if caller == "gemini" else "usage"]


def read(caller: str, usage: JSON) -> tuple[int, int, int, int]:
    """Input, its cached share, output, and its share of reasoning, from what a caller is told."""
    if caller == "chat":
        cached, reasoned = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
        counts = usage["prompt_tokens"], cached.get("cached_tokens", 0), usage["completion_tokens"], reasoned.get("reasoning_tokens", 0)
        assert usage["total_tokens"] == counts[0] + counts[2]
        return counts
    if caller == "responses":
        cached, reasoned = usage["input_tokens_details"], usage["output_tokens_details"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        return usage["input_tokens"], cached["cached_tokens"], usage["output_tokens"], reasoned["reasoning_tokens"]
    if caller == "messages":
        read, made = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
        thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0)
        return usage["input_tokens"] + read + made, read, usage["output_tokens"], thought
    thought = usage.get("thoughtsTokenCount", 0)
    output = usage["candidatesTokenCount"] + thought
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + output
    return usage["promptTokenCount"], usage.get("cachedContentTokenCount", 0), output, thought


@pytest.mark.parametrize("caller", SHAPES)
@pytest.mark.parametrize(("shape", "usage", "counts"), COUNTS.values(), ids=COUNTS)
def test_whole_and_streamed(shape: str, usage: JSON, counts: tuple[int, int, int, int], caller: str) -> None:
    answer = answered(shape, usage)
    replies = [Reply(Request(caller, "m", {}, True, include_usage=True), upstream=shape) for _ in range(2)]
    whole = told(caller, replies[0], SHAPES[shape].decode_response(answer.whole, replies[0]))
    decoder = SHAPES[shape].Decoder(replies[1])
    events = [event for frame in Splitter().feed(b"".join(answer.events)) for event in decoder.feed(frame)]
    assert told(caller, replies[1], events + ([] if decoder.ended else decoder.finish(True))) == whole
    assert read(caller, whole)[:3] == counts[:3]
    assert read(caller, whole)[3] == counts[3] or caller == "messages"  # older callers are not told it
