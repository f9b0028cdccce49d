"""What a chat upstream sends, as tests of its decoder write it; and the hub events that are expected of it."""

from __future__ import annotations

import json
from typing import Any

from dragoman.codecs import chat, errors, machine, sse
from dragoman.codecs import events as ev
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request, Tool
from dragoman.codecs.tools import ToolMap

BEGUN = ev.Start("chatcmpl-1", "m", 7)
END = [ev.Stop("end")]
USAGE = {
    "prompt_tokens": 1130,
    "completion_tokens": 50,
    "total_tokens": 1180,
    "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 100},
    "completion_tokens_details": {"reasoning_tokens": 20},
}


def reply(tools: ToolMap | None = None) -> Reply:
    return Reply(Request("messages", "m", {}), tools=tools or ToolMap())


def known_tools() -> ToolMap:
    tools = ToolMap(native_custom=False)
    request = Request("responses", "m", {})
    tools.declare(request, Tool("custom", "apply_patch", ("tools", 0)))
    tools.declare(request, Tool("function", "go", ("tools", 1), namespace="ns"))
    tools.declare(request, Tool("function", "a.b", ("tools", 2)))
    return tools


def chunk(delta: Any, finish: Any = None, **choice: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish} | choice]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": choices}


def says(content: Any, **more: Any) -> dict[str, Any]:
    return chunk({"content": content} | more)


def finished(reason: str = "stop", **choice: Any) -> dict[str, Any]:
    return chunk({}, reason, **choice)


def calls(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return chunk({"tool_calls": list(entries)} | more)


def call(index: Any = 0, id: Any = None, name: Any = None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    """An entry with what is given; `...` as index leaves it out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    entry = {key: value for key, value in (("index", index), ("id", id)) if value not in (None, ...)}
    return entry | {"function": function} | more


def wire(*values: Any) -> bytes:
    """The bytes of a stream: values as JSON, strings as they are."""
    return b"".join(b"data: " + (value.encode() if isinstance(value, str) else json.dumps(value).encode()) + b"\n\n" for value in values)


def read(data: bytes, cut: int | None = None, clean: bool = True, tools: ToolMap | None = None) -> list[ev.Event]:
    """The events of a stream's bytes, at once or cut in two."""
    splitter, decoder = sse.Splitter(), chat.StreamDecoder(reply(tools))
    events: list[ev.Event] = []
    for piece in (data,) if cut is None else (data[:cut], data[cut:]):
        for frame in splitter.feed(piece):
            events += decoder.feed(frame)
    for frame in splitter.finish():
        events += decoder.feed(frame)
    events += decoder.finish(clean and not splitter.leftover)
    assert decoder.ended
    assert decoder.feed((b"", b"{}")) == decoder.finish(True) == []
    return events


def decode(*values: Any, clean: bool = True, tools: ToolMap | None = None) -> list[ev.Event]:
    """The events of a stream that is cut at every byte, and they are always the same."""
    data = wire(*values)
    events = read(data, clean=clean, tools=tools)
    machine.check(events)
    for cut in range(1, len(data), 1 if len(data) < 400 else 11):
        assert repr(read(data, cut, clean, tools)) == repr(events)  # faults have no other equality
    return events


def inside(*values: Any, tools: ToolMap | None = None) -> list[ev.Event]:
    """What stands between Start and Stop, of a stream that ends well."""
    events = decode(*values, finished(), "[DONE]", tools=tools)
    assert events[0] == BEGUN
    assert isinstance(events[-1], ev.Stop)
    return events[1:-1]


def fault(events: list[ev.Event]) -> errors.GatewayError:
    end = events[-1]
    assert isinstance(end, ev.Fault)
    return end.error


def text(part: int, *pieces: str) -> list[ev.Event]:
    return [ev.TextStart(part), *(ev.Text(part, piece) for piece in pieces), ev.PartStop(part)]


def thought(part: int, *pieces: str) -> list[ev.Event]:
    return [ev.ReasoningStart(part), *(ev.Reasoning(part, piece) for piece in pieces), ev.PartStop(part)]


def called(part: int, id: str, name: str, *pieces: str) -> list[ev.Event]:
    return [ev.ToolStart(part, id, name), *(ev.Arguments(part, piece) for piece in pieces), ev.PartStop(part)]


def cited(start: Any = 0, end: Any = 1, **more: Any) -> dict[str, Any]:
    return {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": start, "end_index": end} | more}
