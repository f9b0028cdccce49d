"""What a client may rely on in a stream of each shape, checked event by event. Each function raises AssertionError.

They know the references' own rules and nothing of our code: an answer ends once, or in the shape's error; parts are opened before
they are spoken of, closed before the end, and numbered without gaps.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any


def events_of(data: bytes) -> list[tuple[str, Any]]:
    """(event field, value) of each frame, "[DONE]" as it is. Strict: LF only, one data line, nothing but whole frames and comments."""
    assert b"\r" not in data
    assert data == b"" or data.endswith(b"\n\n")
    found = []
    for block in data.split(b"\n\n")[:-1]:
        if block.startswith(b":"):
            assert b"\n" not in block
            continue
        name = b""
        if block.startswith(b"event: "):
            name, _, block = block[7:].partition(b"\n")
        assert block.startswith(b"data: ")
        assert b"\n" not in block
        # what a careless client takes for line ends
        assert not [mark for mark in ("\u0085", "\u2028", "\u2029") if mark.encode() in block]
        found.append((name.decode(), "[DONE]" if block == b"data: [DONE]" else json.loads(block[6:])))
    return found


def chat(data: bytes) -> str:
    """How it ended: done, or error."""
    events = [value for _, value in events_of(data)]
    assert not any(name for name, _ in events_of(data))
    end = events.pop()
    if end != "[DONE]":
        assert set(end) == {"error"}
        assert isinstance(end["error"]["message"], str)
    ids, finished, calls = set(), 0, 0
    for value in events:
        assert value["object"] == "chat.completion.chunk"
        assert isinstance(value["created"], int)
        assert isinstance(value["model"], str)
        ids.add(value["id"])
        for choice in value["choices"]:
            assert choice["index"] == 0
            assert not finished
            for call in choice["delta"].get("tool_calls") or []:
                if "id" in call:
                    assert call["index"] == calls
                    assert call["id"]
                    assert call[call["type"]]["name"]
                    calls += 1
                else:  # one after the other: the SDK's helper depends on it
                    assert call["index"] == calls - 1
            finished += choice["finish_reason"] is not None
        assert value["choices"] or value.get("usage")
    assert len(ids) <= 1
    assert finished == 1 if end == "[DONE]" else finished == 0
    return "done" if end == "[DONE]" else "error"


_DELTAS = {
    "text_delta": {"text"},
    "citations_delta": {"text"},
    "thinking_delta": {"thinking"},
    "signature_delta": {"thinking"},
    "input_json_delta": {"tool_use", "server_tool_use"},
}


def messages(data: bytes) -> str:
    events = [value for name, value in events_of(data) if name != "ping"]
    for name, value in events_of(data):
        assert name == value["type"]
    if events[-1]["type"] == "error":
        assert set(events[-1]) == {"type", "error", "request_id"}
        end = "error"
        events.pop()
    else:
        end = "done"
        assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
        assert events[-2]["delta"]["stop_reason"]
        assert isinstance(events[-2]["usage"]["output_tokens"], int)
        events = events[:-2]
    blocks: list[str] = []
    opened = False
    for place, value in enumerate(events):
        kind = value["type"]
        if kind == "message_start":
            assert place == 0
            assert value["message"]["content"] == []
            assert isinstance(value["message"]["usage"]["input_tokens"], int)
            assert value["message"]["id"]
        elif kind == "content_block_start":
            assert not opened
            assert value["index"] == len(blocks)
            blocks.append(value["content_block"]["type"])
            opened = True
        else:
            assert opened
            assert value["index"] == len(blocks) - 1
            if kind == "content_block_delta":
                assert blocks[-1] in _DELTAS[value["delta"]["type"]]
            else:
                assert kind == "content_block_stop"
                opened = False
    assert not events or events[0]["type"] == "message_start"
    assert not (opened and end == "done")
    return end


_TERMINAL = {"response.completed": "done", "response.incomplete": "done", "response.failed": "error"}


def responses(data: bytes) -> str:
    """In either dialect: [DONE] stands at the end of all answers of the one, and the error before the failed response."""
    named = events_of(data)
    is_open = named[-1] == ("", "[DONE]")
    if is_open:
        named.pop()
    events = [value for _, value in named]
    for number, (name, value) in enumerate(named):
        assert name == value["type"]
        assert value["sequence_number"] == number
    kinds = [value["type"] for value in events]
    assert "response.reasoning_text.delta" not in kinds if is_open else "response.reasoning.delta" not in kinds
    if "error" in kinds:
        assert len(kinds) == 1 or kinds[-2:] == (["error", "response.failed"] if is_open else ["response.failed", "error"])
        error = events.pop(kinds.index("error"))
        assert error["message"] == error["error"]["message"]
        if not events:  # it broke before it began
            return "error"
    last = events[-1]
    end = _TERMINAL[last["type"]]
    items = _Items()
    for place, value in enumerate(events[:-1]):
        if value["type"] in ("response.created", "response.in_progress"):
            assert place == ("response.created", "response.in_progress").index(value["type"])
        else:
            items.feed(value)
    response = last["response"]
    assert response["status"] == last["type"].partition(".")[2]
    assert {value["response"]["id"] for value in events if "response" in value} == {response["id"]}
    if end == "done":
        assert not items.open
        assert response["output"] == [items.done[index] for index in sorted(items.done)]
        assert sorted(items.done) == list(range(len(items.done)))
        incomplete = [index for index, item in items.done.items() if item.get("status") == "incomplete"]
        assert len(incomplete) <= 1  # not always the last: a model may think on within a call, which is closed behind that
        assert not incomplete or response["status"] == "incomplete"
    return end


class _Items:
    """The output items of one stream."""

    def __init__(self) -> None:
        self.open: dict[int, dict[str, Any]] = {}
        self.done: dict[int, Any] = {}
        self._texts: dict[tuple[Any, ...], str] = {}

    def feed(self, value: dict[str, Any]) -> None:
        kind = value["type"].removeprefix("response.")
        index = value["output_index"]
        if kind == "output_item.added":
            assert index == len(self.open) + len(self.done)
            self.open[index] = value["item"]
            return
        if kind == "compaction.compacting":  # the item is announced when it is whole
            assert index == len(self.open) + len(self.done)
            return
        assert index in self.open, f"{kind} of an item that is not open"
        if kind == "output_item.done":
            assert value["item"]["id"] == self.open[index]["id"]
            assert value["item"]["type"] == self.open[index]["type"]
            self.done[index] = value["item"]
            del self.open[index]
            return
        assert value["item_id"] == self.open[index]["id"]
        what, _, step = kind.rpartition(".")
        key = (index, what, value.get("content_index"), value.get("summary_index"))
        if what in ("content_part", "reasoning_summary_part"):
            at = (index, "part", what, value.get("content_index"), value.get("summary_index"))
            assert (at in self._texts) == (step == "done")
            self._texts[at] = ""
        elif step == "delta":
            self._texts[key] = self._texts.get(key, "") + value["delta"]
        elif step == "done":
            full = next(value[name] for name in ("text", "refusal", "arguments", "input") if name in value)
            assert self._texts.get(key, "") == full
        else:
            assert step == "added", kind  # an annotation


def gemini(data: bytes) -> str:
    """What Google's SDKs take: no names, comments or end marker; every chunk has a part; one finish reason, in the last chunk."""
    data = re.sub(rb"\n{3,}", b"\n\n", data).lstrip(b"\n")  # blank lines keep the connection alive
    assert b"\n:" not in data
    events = [value for name, value in events_of(data) if name == "" and value != "[DONE]"]
    assert len(events) == len(events_of(data))
    end = events.pop()
    if "error" in end:
        error = end["error"]
        assert (type(error["code"]), type(error["message"]), type(error["status"])) == (int, str, str)
        ended = "error"
    else:
        ended = "done"
        assert isinstance(end["candidates"][0]["finishReason"], str)
        assert end["candidates"][0]["content"]["parts"]
    for value in events:
        (candidate,) = value["candidates"]
        assert (candidate["index"], candidate["content"]["role"], "finishReason" in candidate) == (0, "model", False)
        for part in candidate["content"]["parts"]:
            assert len(part.keys() & {"text", "functionCall", "inlineData"}) == 1
            if "functionCall" in part:
                assert part["functionCall"]["id"]
                assert isinstance(part["functionCall"]["args"], dict)
            if "thoughtSignature" in part:
                base64.b64decode(part["thoughtSignature"], validate=True)
        assert candidate["content"]["parts"]
    return ended


GRAMMARS: dict[str, Callable[[bytes], str]] = {"chat": chat, "messages": messages, "responses": responses, "gemini": gemini}
