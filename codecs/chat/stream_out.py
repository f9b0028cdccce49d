"""Encode hub events for a chat client, as chunks or as one completion.

A chat answer is one message with text, reasoning, refusal and tool calls as separate members, which loses the order of the model's
parts. If the order is not reasoning, text, calls, it is sent as `dragoman_layout` on the first of the `reasoning_details`, which
clients send back: interleaved thinking must be replayed in its place. `dragoman_domain` on the same entry names who can read them.

Lists and objects that accumulators cannot merge (`reasoning_details`, `annotations`) are sent in one delta right before the end.

The hub may have several tool calls open. A chat client receives them one after the other, because SDK helpers treat a call as
complete when the next index appears. A call ends when its part stops, or when its JSON object closes while another call waits.

`_Message` decides the content; `StreamEncoder` writes it as chunks, `Collector` as one object, so both produce the same answer.

Source: OpenAI API reference, "Chat" and "Chat streaming"; OpenRouter's documentation, "Preserving reasoning".
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from .. import jsontext
from ..errors import GatewayError
from ..events import (
    Arguments,
    Citation,
    Compacting,
    Compaction,
    Event,
    Fault,
    Media,
    Metered,
    Opaque,
    PartStop,
    Ping,
    Reasoning,
    ReasoningStart,
    Refusal,
    Seal,
    Search,
    Start,
    Stop,
    Text,
    TextStart,
    ToolStart,
)
from ..ids import AnswerIds, tail
from ..jsontext import ObjectScanner
from ..logprobs import spelt_out
from ..reply import Reply
from ..scrub import DOMAIN, LAYOUT
from ..sse import Frame, safe_json
from ..usage import CHAT_TIERS, Usage, to_chat
from .facts import IDS, REASONS

_ANTHROPIC, _OPENAI = "anthropic-claude-v1", "openai-responses-v1"
_REASONING_FORMS = frozenset({"anthropic", "redacted", "openai", "details"})


@dataclass(slots=True)
class _Call:
    """One tool call being sent to the client.

    waiting: argument text received before the call is live; for free text sent as a function's `input`, the entire text.
    """

    index: int
    part: int
    id: str
    name: str
    kind: str
    seal: Seal | None = None
    wrapped: bool = False  # free text, for a client that only supports functions
    stopped: bool = False  # its part has ended
    over: bool = False
    waiting: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)  # written but not yet scanned
    written: bool = False
    scanner: ObjectScanner = field(default_factory=ObjectScanner)

    def complete(self) -> bool:
        """Whether its JSON object is closed, so that no argument text can follow."""
        if not self.stopped and self.kind == "function" and self.pieces:
            self.scanner.feed("".join(self.pieces))
            self.pieces.clear()
        return self.stopped or self.scanner.complete


class _Message:
    """The content of the answer and its order. Subclasses write it."""

    __slots__ = (
        "_annotations", "_apart", "_begin", "_calls", "_citations", "_details", "_ids", "_images", "_layout", "_length", "_live",
        "_next_arguments", "_next_text", "_opened", "_queue", "_reasoned", "_refused", "_reply", "_request", "_sealed",
        "_seals", "_takes_custom", "_text_part", "_thoughts", "_token_begin", "_unsaid", "_upstream_id", "_usage", "ended",
    )  # fmt: skip

    def __init__(self, reply: Reply) -> None:
        self.ended = False
        self._reply = reply
        self._request = reply.request
        self._ids = AnswerIds(IDS, reply.numbered_calls)
        self._upstream_id = ""
        # text: code points written so far, and where the open part and its layout token start
        self._length = 0
        self._text_part = -1
        self._begin = 0
        self._token_begin = 0
        self._apart = False  # another part was received since the last text
        self._unsaid = False  # since the last text there was a boundary that the layout does not represent
        self._citations: list[Citation] = []
        self._annotations: list[dict[str, Any]] = []
        self._refused = False
        # reasoning: the open part, and what all parts return for the next turn
        self._thoughts: list[str] = []
        self._seals: list[Seal] = []
        self._reasoned = False
        self._sealed = False
        self._images: list[dict[str, Any]] = []
        self._details: list[dict[str, Any]] = []
        self._layout: list[str] = []
        self._calls: dict[int, _Call] = {}  # by part
        self._queue: deque[_Call] = deque()
        self._live: _Call | None = None
        self._opened = 0  # number of calls so far
        self._takes_custom = any(tool.kind == "custom" for tool in self._request.tools)
        self._usage: Usage | None = None
        # the part whose next plain piece takes the fast path in `feed`
        self._next_text = -1
        self._next_arguments = -1

    def _feed(self, events: list[Event]) -> None:
        for event in events:
            if not self.ended:
                _ON[type(event)](self, event)

    # ---- how it is written ----

    def _open(self, id: str, created: int, model: str) -> None:
        raise NotImplementedError

    def _say(self, delta: dict[str, Any], logprobs: list[Any] | None = None) -> None:
        raise NotImplementedError

    def _say_arguments(self, call: _Call, text: str) -> None:
        raise NotImplementedError

    def _finish(self, reason: str, usage: Usage | None) -> None:
        raise NotImplementedError

    def _fail(self, error: GatewayError) -> None:
        raise NotImplementedError

    # ---- events ----

    def _start(self, event: Start) -> None:
        self._upstream_id = event.id
        model = self._reply.echo_model or event.model or self._request.model
        self._open("chatcmpl-" + tail(event.id, self._reply.nonce), event.created or self._reply.created, model)

    def _nothing(self, event: Event) -> None:
        """Ignore an event that this shape does not represent."""

    def _opaque(self, event: Opaque | Search | Compaction) -> None:
        self._unsaid = self._unsaid or not (isinstance(event, Opaque) and event.within)
        self._reply.unsaid.add(event.label)

    def _text_start(self, event: TextStart) -> None:
        self._text_part = event.part
        self._begin = self._token_begin = self._length
        if self._reply.recall is not None:
            self._reply.recall.spoke()
        self._unsaid = self._unsaid or event.apart

    def _text(self, event: Text) -> None:
        text = event.text
        if self._next_text != event.part:
            self._next_text = event.part
            if self._length and (self._apart or self._unsaid):
                text = "\n\n" + text
                self._begin = self._length + 2
                # a separator that the layout does not imply is part of the text
                self._token_begin = self._begin if self._apart else self._length
            self._apart = self._unsaid = False
        self._length += len(text)
        self._say({"content": text}, event.logprobs)

    def _cite(self, event: Citation) -> None:
        if event.url:
            self._citations.append(event)
        else:
            self._reply.unsaid.add(event.label)

    def _text_stop(self) -> None:
        self._next_text = self._text_part = -1
        if self._length > self._token_begin:
            self._layout.append(f"t{self._length - self._token_begin}")
        for event in self._citations:
            start = self._begin if event.start is None else self._begin + event.start
            end = self._length if event.end is None else self._begin + event.end
            cited = {"url": event.url, "title": event.title, "start_index": start, "end_index": end}
            self._annotations.append({"type": "url_citation", "url_citation": cited})
        self._citations.clear()

    def _reasoning(self, event: Reasoning) -> None:
        text = event.text
        if self._reasoned and not self._thoughts:
            text = "\n\n" + text
        self._reasoned = True
        self._thoughts.append(event.text)
        self._say({"reasoning_content": text})

    def _seal(self, event: Seal) -> None:
        if event.part == self._text_part:
            self._say({"extra_content": _extra(event)})
        elif event.form in _REASONING_FORMS:
            self._seals.append(event)
        else:
            self._reply.unsaid.add(f"reasoning:{event.form}")

    def _reasoning_stop(self) -> None:
        text = "".join(self._thoughts)
        if self._reply.recall is not None:
            self._reply.recall.thought(text, self._seals)
        self._sealed = self._sealed or bool(self._seals)
        details = [detail for seal in self._seals for detail in _details(seal, text)]
        if text and not details:
            details = [{"type": "reasoning.text", "text": text}]
        for detail in details:
            self._layout.append(f"r{len(self._details)}")
            self._details.append(detail | {"index": len(self._details)})
        self._apart = self._apart or bool(details)
        self._thoughts = []
        self._seals = []

    def _media(self, event: Media) -> None:
        """An image that the model made, in OpenRouter's form."""
        self._apart = True
        self._images.append({"type": "image_url", "image_url": {"url": f"data:{event.media_type};base64,{event.data}"}})

    def _refuse(self, event: Refusal) -> None:
        self._refused = True
        self._say({"refusal": event.text})

    def _part_stop(self, event: PartStop) -> None:
        call = self._calls.pop(event.part, None)
        if call is not None:
            call.stopped = True
            self._advance()
        elif event.part == self._text_part:
            self._text_stop()
        else:
            self._reasoning_stop()

    def _meter(self, event: Metered) -> None:
        self._usage = usage = event.usage
        if usage.tier not in (None, *CHAT_TIERS):
            self._reply.unsaid.add(f"service_tier:{usage.tier}")
            self._usage = replace(usage, tier=None)
        if usage.cache_write_long:
            self._reply.unsaid.add("usage.cache_creation")

    def _stop(self, event: Stop) -> None:
        reason = REASONS[event.reason]
        if self._request.legacy_functions and reason == "tool_calls":
            reason = "function_call"
        if event.explanation and event.reason == "refusal" and not self._refused:
            self._say({"refusal": event.explanation})
        extras: dict[str, Any] = {"images": self._images} if self._images else {}
        if self._sealed:
            whose = {DOMAIN: self._reply.domain} if self._reply.domain else {}
            self._details[0] |= {LAYOUT: self._layout_value()} | whose
            extras["reasoning_details"] = self._details
        if self._annotations:
            extras["annotations"] = self._annotations
        if extras:
            self._say(extras)
        self._end()
        self._finish(reason, self._usage)

    def _fault(self, event: Fault) -> None:
        self._end()
        self._fail(event.error)

    def _end(self) -> None:
        self.ended = True
        self._next_text = self._next_arguments = -1

    def _layout_value(self) -> str:
        kinds = "".join(token[0] for token in self._layout)
        return "d" if kinds == "".join(sorted(kinds, key="rtu".index)) and kinds.count("t") < 2 else ",".join(self._layout)

    # ---- tool calls ----

    def _tool_start(self, event: ToolStart) -> None:
        id = self._ids.call(event.id, self._upstream_id, self._opened)
        wrapped = event.kind == "custom" and not self._takes_custom
        kind = "function" if wrapped else event.kind
        call = self._calls[event.part] = _Call(self._opened, event.part, id, event.name, kind, event.seal, wrapped)
        self._opened += 1
        if self._request.legacy_functions and call.index:
            call.over = self._unsaid = True  # `function_call` can contain only one
            self._reply.unsaid.add("tool_call:second")
            return
        if self._reply.recall is not None:
            self._reply.recall.called(id, event.seal)
        self._apart = True
        self._layout.append(f"u{call.index}")
        self._queue.append(call)
        self._next_arguments = -1
        self._advance()

    def _arguments(self, event: Arguments) -> None:
        call = self._calls[event.part]
        if call.over:
            return
        if call is not self._live or call.wrapped:
            call.waiting.append(event.text)
            return
        self._write(call, event.text)
        if self._queue:
            self._advance()

    def _write(self, call: _Call, text: str) -> None:
        if not call.written and call.kind == "function":
            text = text.lstrip(" \t\r\n")
        if not text:
            return
        call.written = True
        call.pieces.append(text)
        self._say_arguments(call, text)
        if not self._queue:
            self._next_arguments = call.part

    def _advance(self) -> None:
        """End the live call when it may end, and start the next one with the text waiting for it."""
        while True:
            call = self._live
            if call is not None:
                if not (call.stopped or (self._queue and call.complete())):
                    return
                self._end_call(call)
            if not self._queue:
                return
            self._live = call = self._queue.popleft()
            self._say(self._opening(call))
            if not call.wrapped:
                self._write(call, "".join(call.waiting))
                call.waiting.clear()

    def _end_call(self, call: _Call) -> None:
        if call.wrapped:
            self._write(call, jsontext.dumps({"input": "".join(call.waiting)}).decode())
        if not call.written and call.kind == "function":
            self._say_arguments(call, "{}")
        call.over = True
        self._live = None
        self._next_arguments = -1

    def _opening(self, call: _Call) -> dict[str, Any]:
        if self._request.legacy_functions:
            return {"function_call": {"name": call.name, "arguments": ""}}
        text = "input" if call.kind == "custom" else "arguments"
        opening = {"index": call.index, "id": call.id, "type": call.kind, call.kind: {"name": call.name, text: ""}}
        if call.seal is not None:
            opening["extra_content"] = _extra(call.seal)
        return {"tool_calls": [opening]}


_ON: dict[type, Callable[[Any, Any], None]] = {
    Start: _Message._start,
    TextStart: _Message._text_start,
    Text: _Message._text,
    Citation: _Message._cite,
    ReasoningStart: _Message._nothing,
    Reasoning: _Message._reasoning,
    Seal: _Message._seal,
    ToolStart: _Message._tool_start,
    Arguments: _Message._arguments,
    Refusal: _Message._refuse,
    PartStop: _Message._part_stop,
    Opaque: _Message._opaque,
    Search: _Message._opaque,
    Media: _Message._media,
    Compacting: _Message._nothing,
    Compaction: _Message._opaque,
    Metered: _Message._meter,
    Stop: _Message._stop,
    Fault: _Message._fault,
    Ping: _Message._nothing,
}


def _extra(seal: Seal) -> dict[str, Any]:
    """The `extra_content` that returns the seal of a text or call, in the form of Google's endpoint."""
    return {"google": {"thought_signature": seal.value}}


def _details(seal: Seal, text: str) -> list[dict[str, Any]]:
    """The entries of `reasoning_details` that return a seal. text: the text of the sealed part."""
    if seal.form == "anthropic":
        return [{"type": "reasoning.text", "text": text, "signature": seal.value, "format": _ANTHROPIC}]
    if seal.form == "redacted":
        return [{"type": "reasoning.encrypted", "data": seal.value, "format": _ANTHROPIC}]
    if seal.form == "details":
        entries: list[dict[str, Any]] = jsontext.loads(seal.value)
        return entries
    item = {"id": seal.id, "format": _OPENAI}
    details: list[dict[str, Any]] = [{"type": "reasoning.summary", "summary": part} | item for part in seal.summary]
    if seal.value:
        details.append({"type": "reasoning.encrypted", "data": seal.value} | item)
    return details


# ---- streamed ----


class StreamEncoder(_Message):
    """Encodes one answer as chunks."""

    __slots__ = (
        "_arguments_head", "_arguments_tail", "_envelope", "_head", "_out", "_tail", "_text_head", "_text_tail", "_usage_key",
    )  # fmt: skip

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self._out: list[Frame] = []
        self._head = b""  # of each chunk: the bytes before the delta
        self._envelope: dict[str, Any] = {}
        self._usage_key = b',"usage":null' if self._request.include_usage else b""
        self._tail = b',"logprobs":null,"finish_reason":null}]' + self._usage_key + b"}"
        self._text_head = self._text_tail = b""
        self._arguments_head = self._arguments_tail = b""

    @property
    def started(self) -> bool:
        return bool(self._head)

    def feed(self, events: list[Event]) -> list[Frame]:
        """Return the chunks for these events. Events after the end are ignored."""
        event: Any
        if len(events) == 1:  # the next piece of the text: the most frequent case
            event = events[0]
            if type(event) is Text and event.part == self._next_text and event.logprobs is None:
                piece: str = event.text
                self._length += len(piece)
                value = orjson.dumps(piece) if piece.isascii() else safe_json(piece)
                return [(b"", b"".join((self._text_head, value, self._text_tail)))]
        out = self._out = []
        for event in events:
            kind = type(event)
            if kind is Text and event.part == self._next_text and event.logprobs is None:
                text: str = event.text
                self._length += len(text)
                value = orjson.dumps(text) if text.isascii() else safe_json(text)
                out.append((b"", b"".join((self._text_head, value, self._text_tail))))
            elif kind is Arguments and event.part == self._next_arguments:
                text = event.text
                self._live.pieces.append(text)  # type: ignore[union-attr]
                out.append((b"", self._arguments_head + safe_json(text) + self._arguments_tail))
            elif not self.ended:
                _ON[kind](self, event)
        self._out = []  # else they stay in memory until the next piece that is not one of the usual
        return out

    def _open(self, id: str, created: int, model: str) -> None:
        self._envelope = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = safe_json(self._envelope)[:-1] + b',"choices":[{"index":0,"delta":'
        self._text_head, self._text_tail = self._head + b'{"content":', b"}" + self._tail
        self._say({"role": "assistant", "content": ""})

    def _say(self, delta: dict[str, Any], logprobs: list[Any] | None = None) -> None:
        tail = self._tail
        if logprobs and self._request.include_logprobs:
            tail = b',"logprobs":' + safe_json({"content": spelt_out(logprobs), "refusal": None})
            tail += b',"finish_reason":null}]' + self._usage_key + b"}"
        self._out.append((b"", self._head + safe_json(delta) + tail))

    def _say_arguments(self, call: _Call, text: str) -> None:
        if call.part != self._next_arguments:
            self._arguments_head, self._arguments_tail = self._around_arguments(call)
        self._out.append((b"", self._arguments_head + safe_json(text) + self._arguments_tail))

    def _around_arguments(self, call: _Call) -> tuple[bytes, bytes]:
        if self._request.legacy_functions:
            return self._head + b'{"function_call":{"arguments":', b"}}" + self._tail
        inner = b'"custom":{"input":' if call.kind == "custom" else b'"function":{"arguments":'
        return self._head + b'{"tool_calls":[{"index":%d,' % call.index + inner, b"}}]}" + self._tail

    def _finish(self, reason: str, usage: Usage | None) -> None:
        last = dict(self._envelope)
        if usage is not None and usage.tier is not None:
            last["service_tier"] = usage.tier
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}
        asked = self._request.include_usage
        self._out.append((b"", safe_json(last | {"choices": [choice]} | ({"usage": None} if asked else {}))))
        if asked and usage is not None:
            self._out.append((b"", safe_json(last | {"choices": [], "usage": to_chat(usage)})))
        self._out.append((b"", b"[DONE]"))

    def _fail(self, error: GatewayError) -> None:
        self._out.append((b"", safe_json({"error": error.openai()})))


# ---- whole ----


class Collector(_Message):
    """Collects one answer in one object. error: the answer failed; its body must not be used. None if it did not."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.error: GatewayError | None = None
        self._answer: dict[str, Any] = {}
        self._pieces: dict[str, list[str]] = {"content": [], "refusal": [], "reasoning_content": []}
        self._logprobs: list[Any] = []
        self._extras: dict[str, Any] = {}
        self._tool_calls: list[dict[str, Any]] = []
        self._texts: defaultdict[int, list[str]] = defaultdict(list)  # of each call

    def feed(self, events: list[Event]) -> None:
        self._feed(events)

    def body(self) -> dict[str, Any]:
        """The completion. Only complete after Stop was fed."""
        return self._answer

    def _open(self, id: str, created: int, model: str) -> None:
        self._answer = {"id": id, "object": "chat.completion", "created": created, "model": model}

    def _say(self, delta: dict[str, Any], logprobs: list[Any] | None = None) -> None:
        self._logprobs += spelt_out(logprobs or [])
        for key, value in delta.items():
            if key in self._pieces:
                self._pieces[key].append(value)
            elif key == "tool_calls":
                self._tool_calls.append({name: member for name, member in value[0].items() if name != "index"})
            else:
                self._extras[key] = value

    def _say_arguments(self, call: _Call, text: str) -> None:
        self._texts[call.index].append(text)

    def _finish(self, reason: str, usage: Usage | None) -> None:
        probed = self._logprobs and self._request.include_logprobs
        choice = {
            "index": 0,
            "message": self._message(),
            "logprobs": {"content": self._logprobs, "refusal": None} if probed else None,
            "finish_reason": reason,
        }
        self._answer["choices"] = [choice]
        if usage is not None:
            self._answer["usage"] = to_chat(usage)
            if usage.tier is not None:
                self._answer["service_tier"] = usage.tier

    def _message(self) -> dict[str, Any]:
        for index, call in enumerate(self._tool_calls):
            inner = call[call["type"]]
            inner["input" if call["type"] == "custom" else "arguments"] = "".join(self._texts[index])
        if "function_call" in self._extras:
            self._extras["function_call"]["arguments"] = "".join(self._texts[0])
        content, refusal, reasoning = ("".join(self._pieces[key]) for key in ("content", "refusal", "reasoning_content"))
        silent = self._tool_calls or refusal or "function_call" in self._extras
        message: dict[str, Any] = {
            "role": "assistant",
            "content": content or (None if silent else ""),
            "refusal": refusal or None,
        }
        if reasoning:
            message["reasoning_content"] = reasoning
        message |= self._extras
        if self._tool_calls:
            message["tool_calls"] = self._tool_calls
        return message

    def _fail(self, error: GatewayError) -> None:
        self.error = error
