"""One word of an answer is not known, or one thing in it is of a kind that nobody knows: it does not vanish unreported, and is no success.

Exhaustive: every word and every list of an answer in each API, whole and streamed, for callers of each.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from dragoman.codecs import errors, jsontext
from dragoman.codecs import events as ev
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.sse import Splitter

from ..gateway import upstreams as up

JSON = dict[str, Any]
Step = str | int

TOMORROW = "of_tomorrow"
MARKS = ("a-thought", "a-text", "more-text", "an-argument", "a-name")
CALLED = '{"a": "an-argument"}'

_CALL = {"id": "call_1", "type": "function", "function": {"name": "a-name", "arguments": CALLED}}
ANSWERS: dict[str, up.Answer] = {
    "chat": up.completion(
        {"reasoning_content": "a-thought"},
        {"content": "a-text"},
        {"content": " and more-text"},
        {"tool_calls": [{"index": 0, **_CALL}]},
        finish="tool_calls",
        usage={"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
        said={"reasoning_content": "a-thought", "content": "a-text and more-text", "tool_calls": [_CALL]},
    ),
    "messages": up.message(
        up.thought("a-thought", "sig"), up.said("a-text", " and more-text"), up.called("toolu_1", "a-name", CALLED), stop="tool_use"
    ),
    "responses": up.response(
        up.reasoned("rs_1", "enc", "a-thought"), up.spoken("a-text", " and more-text"), up.function("call_1", "a-name", CALLED)
    ),
    "gemini": up.generated(
        {"text": "a-thought", "thought": True},
        {"text": "a-text and more-text"},
        {"functionCall": {"id": "c1", "name": "a-name", "args": {"a": "an-argument"}}},
    ),
}
WORDS = frozenset({"type", "status", "role", "finish_reason", "stop_reason", "finishReason", "reason"})
NEW = "a-new-thing"
LISTS = {"chat": ("tool_calls",), "messages": ("content",), "responses": ("output", "content", "summary"), "gemini": ("parts",)}
NEWEST: dict[str, JSON] = {
    "gemini": {"ofTomorrow": {"text": NEW}},
    **{shape: {"type": TOMORROW, "text": NEW, "id": "x_1"} for shape in ("chat", "messages", "responses")},
}
BEGINNINGS = (b"response.created", b"response.in_progress", b"response.output_item.added", b"message_start")  # nothing is said in them
SUCCESS = {
    "chat": ("stop", "tool_calls"),
    "messages": ("end_turn", "tool_use"),
    "responses": ("completed",),
    "gemini": ("STOP",),
}


def places(value: Any, path: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    """Every member of a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        if isinstance(value, dict):
            yield (*path, key)
        yield from places(one, (*path, key))


def at(value: Any, path: tuple[Step, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def changed(value: Any, path: tuple[Step, ...]) -> Any:
    """The value with another word at the place."""
    after = copy.deepcopy(value)
    at(after, path[:-1])[path[-1]] = TOMORROW
    return after


def words(value: Any) -> Iterator[tuple[str, Any]]:
    """The value with one of its words changed, and where."""
    for path in places(value):
        if path[-1] in WORDS and isinstance(at(value, path), str):
            yield ".".join(map(str, path)), changed(value, path)


def longer(upstream: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The value with one more thing in one of its lists."""
    for path in places(value):
        if path[-1] in LISTS[upstream] and isinstance(at(value, path), list):
            after = copy.deepcopy(value)
            at(after, path).append(NEWEST[upstream])
            yield ".".join(map(str, path)), after


def reply(upstream: str, caller: str) -> Reply:
    request = Request(caller, "m", {}, True, include_usage=True, summary="auto", show_thoughts=True)
    return Reply(request, upstream=upstream, domain="d")


def outcome(caller: str, said: Reply, events: list[ev.Event]) -> tuple[str, bool, list[str]]:
    """What the caller is told, whether it is told as a success, and what is reported."""
    collector = SHAPES[caller].Collector(said)
    collector.feed(events)
    if collector.error is not None:
        return "", False, said.unsaid.labels
    body = collector.body()
    text = jsontext.dumps(body).decode()
    return text, any(f'"{word}"' in text for word in SUCCESS[caller]) and not _unfinished(caller, body), said.unsaid.labels


def _unfinished(caller: str, body: JSON) -> bool:
    if caller == "chat":
        return body["choices"][0]["finish_reason"] not in SUCCESS[caller]
    if caller == "messages":
        return body["stop_reason"] not in SUCCESS[caller]
    if caller == "responses":
        return body["status"] not in SUCCESS[caller]
    return body["candidates"][0]["finishReason"] not in SUCCESS[caller]


def whole(upstream: str, caller: str, body: JSON) -> tuple[str, bool, list[str]]:
    said = reply(upstream, caller)
    try:
        return outcome(caller, said, SHAPES[upstream].decode_response(body, said))
    except errors.GatewayError:
        return "", False, said.unsaid.labels


def streamed(upstream: str, caller: str, frames: list[tuple[bytes, bytes]]) -> tuple[str, bool, list[str]]:
    said = reply(upstream, caller)
    decoder = SHAPES[upstream].Decoder(said)
    found: list[ev.Event] = []
    for frame in frames:
        found += decoder.feed(frame)
    if not decoder.ended:
        found += decoder.finish(True)
    return outcome(caller, said, found)


def lost(right: tuple[str, bool, list[str]], now: tuple[str, bool, list[str]]) -> list[str]:
    """The marks that a caller no longer gets, of an answer that is told as a success without a report."""
    told, success, labels = now
    if not success or labels:
        return []
    return [mark for mark in MARKS if mark in right[0] and mark not in told]


@pytest.mark.parametrize("caller", SHAPES)
@pytest.mark.parametrize("upstream", ANSWERS)
def test_in_a_whole_answer(upstream: str, caller: str) -> None:
    body = ANSWERS[upstream].whole
    right = whole(upstream, caller, body)
    assert right[1]
    assert right[2] == []
    assert {place: marks for place, other in words(body) if (marks := lost(right, whole(upstream, caller, other)))} == {}
    for place, other in longer(upstream, body):
        told, success, labels = whole(upstream, caller, other)
        assert labels or NEW in told or not success, place


@pytest.mark.parametrize("caller", SHAPES)
@pytest.mark.parametrize("upstream", ANSWERS)
def test_in_a_stream(upstream: str, caller: str) -> None:
    """In one event at a time."""
    frames = Splitter().feed(b"".join(ANSWERS[upstream].events))
    right = streamed(upstream, caller, frames)
    assert right[1]
    assert right[2] == []
    for number, (name, data) in enumerate(frames):
        if not data.startswith(b"{"):
            continue
        event = json.loads(data)
        more = [] if name in BEGINNINGS else list(longer(upstream, event))
        if name == b"response.completed":  # what has come before is only repeated
            more = [(place, other) for place, other in more if place == "response.output"]
        for place, other in [*words(event), *more]:
            frame = (other["type"].encode() if name else name, json.dumps(other).encode())
            now = streamed(upstream, caller, [*frames[:number], frame, *frames[number + 1 :]])
            assert lost(right, now) == [], (number, name, place)
            assert NEW.encode() not in frame[1] or now[2] or NEW in now[0] or not now[1], (number, name, place)


@pytest.mark.parametrize("caller", SHAPES)
@pytest.mark.parametrize("upstream", ANSWERS)
def test_an_unknown_end_is_no_success(upstream: str, caller: str) -> None:
    """A finish reason or a status."""
    body = ANSWERS[upstream].whole
    ends = [path for path in places(body) if path[-1] in ("finish_reason", "stop_reason", "finishReason") or path == ("status",)]
    assert ends
    for path in ends:
        assert not whole(upstream, caller, changed(body, path))[1]
