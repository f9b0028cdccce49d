"""Encode hub events for a messages client, as a stream or as one body.

The shape has one open block at a time, numbered without gaps; the hub may have several tool calls open. Blocks are therefore queued:
the first is live, events for the others wait until it is complete. A tool call is complete when its JSON object closes, so that a
second call does not wait for the end of the answer.

A web search made by another API's provider is written in Anthropic's form, as blocks of a server tool, because clients show its links.

`_Blocks` decides what is written; `StreamEncoder` writes it as frames, `Collector` as one object, so both produce the same answer.

Source: Anthropic, "Streaming Messages".
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from .. import jsontext, passages
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
from ..ids import AnswerIds, digest
from ..jsontext import ObjectScanner, arguments_to_input
from ..reasoning import ENVELOPE, seal_call, seal_details, seal_item, seal_text
from ..reply import Reply
from ..sse import Frame, safe_json
from ..usage import Usage, to_messages
from .facts import IDS, REASONS, SEARCH_IDS


@dataclass(slots=True)
class _Block:
    """One block being sent to the client: waiting, then live, then complete."""

    part: int
    kind: str  # text, thinking, tool_use; server: a block received complete
    opening: dict[str, Any]
    custom: bool = False  # a tool with free-text input
    started: bool = False  # its start was sent
    stopped: bool = False  # its part has ended
    over: bool = False
    after_text: bool = False  # a thinking block with the seal of the text before it
    free: bool = False  # a tool whose text is not JSON
    waiting: list[Event] = field(default_factory=list)  # events received before it was live
    pieces: list[str] = field(default_factory=list)  # of a text: all; of a tool call: what has not been scanned
    ends: list[int] = field(default_factory=list)  # where pieces end in a cited text, as far as that was needed
    citations: list[Citation] = field(default_factory=list)  # citations received before the text
    seals: list[Seal] = field(default_factory=list)
    scanner: ObjectScanner = field(default_factory=ObjectScanner)

    @property
    def complete(self) -> bool:
        return self.stopped or self.scanner.complete

    def range(self, begin: int | None, end: int | None) -> tuple[int, int]:
        """A range of its text so far; None: from its beginning, to its end."""
        ends, pieces = self.ends, self.pieces
        while len(ends) < len(pieces):
            ends.append((ends[-1] if ends else 0) + len(pieces[len(ends)]))
        length = ends[-1] if ends else 0
        return begin or 0, length if end is None else min(end, length)

    def excerpt(self, begin: int, end: int) -> str:
        """The text of a range."""
        first = bisect_right(self.ends, begin)
        before = self.ends[first - 1] if first else 0
        return "".join(self.pieces[first : bisect_left(self.ends, end) + 1])[begin - before : end - before]


def _thinking(part: int, **state: Any) -> _Block:
    return _Block(part, "thinking", {"type": "thinking", "thinking": "", "signature": ""}, **state)


_REPEATED = 1_000_000  # characters of the text that citations repeat, all together
_FORMS = frozenset({"anthropic", "redacted", "openai", "details"})  # seal forms that a thinking block can return


class _Blocks:
    """The blocks, their order and content. Subclasses write them."""

    def __init__(self, reply: Reply) -> None:
        self.ended = False
        self._reply = reply
        self._ids = AnswerIds(IDS, reply.numbered_calls)
        self._id = ""  # the upstream's
        self._calls = 0
        self._parts: dict[int, _Block] = {}
        self._queue: deque[_Block] = deque()
        self._live: _Block | None = None
        # the event type and part of the live block's next plain piece, for the fast path in `feed`
        self._next_kind: type | None = None
        self._next_part = -1
        self._pieces: list[str] = []
        self._refusal: _Block | None = None  # the last block, if it is refusal text that may continue
        self._refused: list[str] = []
        self._usage: Usage | None = None
        thinking = reply.request.body.get("thinking")
        self._thinks = isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")  # the caller expects thoughts
        self._searches = 0
        self._unsourced: list[str] = []  # ids of searches whose results are only known from citations
        self._cited: dict[str, str] = {}  # titles by URL
        self._repeatable = _REPEATED

    def _feed(self, events: list[Event]) -> None:
        for event in events:
            if not self.ended:
                _ON[type(event)](self, event)

    # ---- how it is written ----

    def _begin(self, id: str, model: str) -> None:
        raise NotImplementedError

    def _open(self, opening: dict[str, Any]) -> None:
        raise NotImplementedError

    def _piece(self, text: str) -> None:
        raise NotImplementedError

    def _extra(self, type: str, key: str, value: Any) -> None:
        """Write a citation or signature of the open block."""
        raise NotImplementedError

    def _shut(self) -> None:
        raise NotImplementedError

    def _finish(self, delta: dict[str, Any], usage: dict[str, Any]) -> None:
        raise NotImplementedError

    def _fail(self, error: GatewayError) -> None:
        raise NotImplementedError

    def _nothing(self, event: Event) -> None:
        """Ignore an event that this shape does not represent."""

    def _opaque(self, event: Opaque | Compaction | Media) -> None:
        self._reply.unsaid.add(event.label)

    # ---- events ----

    def _start(self, event: Start) -> None:
        self._id = event.id
        # created here: some upstreams number their answers from a small range, and clients treat two with the same id as one
        self._begin(f"msg_{self._reply.nonce[:24]}", self._reply.echo_model or event.model or self._reply.request.model)

    def _text_start(self, event: TextStart) -> None:
        self._settle()
        if self._reply.recall is not None:
            self._reply.recall.spoke()
        self._enter(_Block(event.part, "text", {"type": "text", "text": ""}))

    def _reasoning_start(self, event: ReasoningStart) -> None:
        self._enter(_thinking(event.part))

    def _tool_start(self, event: ToolStart) -> None:
        id = self._ids.call(event.id, self._id, self._calls)
        self._calls += 1
        if event.seal is not None:
            self._carry(event.seal)
        self._settle()
        if self._reply.recall is not None:
            self._reply.recall.called(id, event.seal)
        opening = {"type": "tool_use", "id": id, "name": event.name, "input": {}}
        self._enter(_Block(event.part, "tool_use", opening, custom=event.kind == "custom"))

    def _carry(self, seal: Seal) -> None:
        """Put the seal of the next call into a thinking block, which clients send back with it: the one before it, or one of its own."""
        block = self._live
        if block is not None and block.kind == "thinking" and block.stopped and not self._queue:
            block.seals.append(seal)
        else:
            self._queue.append(_thinking(-1, stopped=True, seals=[seal]))

    def _settle(self) -> None:
        """End thoughts that are over: no seal follows."""
        block = self._live
        if block is not None and block.kind == "thinking" and block.stopped:
            self._advance(True)

    def _enter(self, block: _Block) -> None:
        self._end_refusal()
        self._parts[block.part] = block
        self._queue.append(block)
        self._advance()

    def _within(self, event: Text | Reasoning | Arguments | Citation | Seal) -> None:
        block = self._parts[event.part]
        if block is self._live:
            _INSIDE[type(event)](self, block, event)
            if block.complete:
                self._advance()
        elif not block.over:
            block.waiting.append(event)

    def _part_stop(self, event: PartStop) -> None:
        self._parts.pop(event.part).stopped = True
        self._advance()

    def _refuse(self, event: Refusal) -> None:
        self._refused.append(event.text)
        if self._refusal is None:
            self._refusal = _Block(-1, "text", {"type": "text", "text": ""})
            self._queue.append(self._refusal)
        self._refusal.waiting.append(Text(-1, event.text))
        if self._refusal is self._live:
            self._let_in(self._refusal)
        else:
            self._advance()

    def _end_refusal(self) -> None:
        if self._refusal is not None:
            self._refusal.stopped = True
            self._refusal = None

    def _meter(self, event: Metered) -> None:
        self._usage = event.usage

    def _stop(self, event: Stop) -> None:
        self._end_refusal()
        for id in self._unsourced:
            self._show_sources(id, self._cited)
            self._cited = {}  # the upstream does not tell which search found what
        self._advance(True)
        self._end()
        usage = to_messages(self._usage or Usage())
        if self._searches:
            usage["server_tool_use"] = {"web_search_requests": self._searches, "web_fetch_requests": 0}
        self._finish(self._stop_delta(event), usage)

    def _stop_delta(self, event: Stop) -> dict[str, Any]:
        refused = "".join(self._refused)
        reason = REASONS["refusal" if refused and event.reason == "end" else event.reason]
        delta: dict[str, Any] = {"stop_reason": reason, "stop_sequence": event.sequence}
        if reason == "refusal":
            delta["stop_details"] = {"type": "refusal", "category": None, "explanation": event.explanation or refused or None}
        return delta

    def _fault(self, event: Fault) -> None:
        self._end()
        self._fail(event.error)

    def _end(self) -> None:
        self.ended = True
        self._next_kind = None

    # ---- searches ----

    def _search(self, event: Search) -> None:
        id = SEARCH_IDS + digest(f"{self._reply.nonce}:{self._searches}", 20)
        self._searches += 1
        opening = {"type": "server_tool_use", "id": id, "name": "web_search", "input": {}}
        self._server(opening, jsontext.dumps({"query": event.query}).decode())
        if event.sources:
            self._show_sources(id, {url: url for url in event.sources})
        else:
            self._unsourced.append(id)
        self._advance()

    def _show_sources(self, id: str, titles: dict[str, str]) -> None:
        """titles: by URL."""
        result = {"type": "web_search_result", "page_age": None, "encrypted_content": ENVELOPE}
        results = [result | {"url": url, "title": title} for url, title in titles.items()]
        self._server({"type": "web_search_tool_result", "tool_use_id": id, "content": results})

    def _server(self, opening: dict[str, Any], *pieces: str) -> None:
        self._end_refusal()
        self._queue.append(_Block(-1, "server", opening, stopped=True, pieces=list(pieces)))

    # ---- the queue ----

    def _advance(self, ending: bool = False) -> None:
        """End the live block when it may end, and start the next one with the events waiting for it.

        An unsealed thinking block stays open until something follows, because that may be a call whose seal goes into it. ending:
        nothing does.
        """
        while True:
            block = self._live
            if block is not None:
                if not (block.stopped or (self._queue and block.complete)):
                    return
                if block.kind == "thinking" and not (block.seals or self._queue or ending):
                    return
                self._close(block)
            if not self._queue:
                return
            self._live = block = self._queue.popleft()
            if block.kind == "tool_use":
                self._show(block)
            self._let_in(block)

    def _let_in(self, block: _Block) -> None:
        waiting, block.waiting = block.waiting, []
        for event in waiting:
            _INSIDE[type(event)](self, block, event)

    def _show(self, block: _Block) -> None:
        block.started = True
        self._open(block.opening)

    def _close(self, block: _Block) -> None:
        self._live = None
        self._next_kind = None
        block.over = True
        if block.kind == "thinking":
            self._close_thinking(block)
            return
        if block.kind == "server":
            self._show(block)
            for piece in block.pieces:
                self._piece(piece)
        if block.kind == "tool_use" and (block.free or block.custom):
            raw = "".join(block.pieces)
            self._piece(jsontext.dumps({"input" if block.custom else jsontext.INVALID: raw}).decode())
        if block.started:
            self._shut()

    def _close_thinking(self, block: _Block) -> None:
        signature = self._signature(block)
        if self._reply.recall is not None and block.part >= 0:
            self._reply.recall.thought("".join(block.pieces), [seal for seal in block.seals if seal.form != "google"])
        if signature:
            if not block.started:
                self._show(block)
            self._extra("signature_delta", "signature", signature)
            self._shut()
        for seal in block.seals:
            if seal.form == "redacted":
                self._open({"type": "redacted_thinking", "data": seal.value})
                self._shut()

    def _signature(self, block: _Block) -> str:
        """The signature of a thinking block: the provider's, or an envelope for another form of seal; "" without a seal."""
        for seal in reversed(block.seals):
            if seal.form == "anthropic":
                return seal.value
            if seal.form == "openai" and seal.value:
                return seal_item(self._reply.domain, seal.id, seal.value, seal.summary)
            if seal.form == "details":
                return seal_details(self._reply.domain, jsontext.loads(seal.value), "".join(block.pieces))
            if seal.form == "google":
                return seal_call(self._reply.domain, seal, of_text=block.after_text)
        return seal_text(self._reply.domain) if block.started else ""

    # ---- inside the live block ----

    def _write(self, block: _Block, event: Text | Reasoning) -> None:
        text = event.text
        if not block.started:
            block.pieces.append(text)
            if block.kind == "text" and text.isspace():
                return
            text = "".join(block.pieces)
            block.pieces = []
            self._show(block)
            for citation in block.citations:
                self._cite(block, citation)
            self._expect(type(event), block)
        block.pieces.append(text)
        self._piece(text)

    def _write_arguments(self, block: _Block, event: Arguments) -> None:
        text = event.text
        if block.custom or block.free:
            block.pieces.append(text)
        elif not block.scanner.complete:
            if self._next_kind is None:
                text = text.lstrip(" \t\r\n")
                block.free = text[:1] not in ("", "{")
                if block.free or not text:
                    block.pieces.append(text)
                    return
                self._expect(Arguments, block)
            self._piece(self._scanned(block, text))

    def _scanned(self, block: _Block, text: str) -> str:
        """The part of the text that belongs to the call's JSON object. Text is only scanned if it contains a closing bracket."""
        if "}" not in text:
            block.pieces.append(text)
            return text
        block.scanner.feed("".join(block.pieces))
        block.pieces.clear()
        length = block.scanner.feed(text)
        if length is not None:
            self._next_kind = None
        return text[:length]

    def _expect(self, kind: type, block: _Block) -> None:
        self._next_kind = kind
        self._next_part = block.part
        self._pieces = block.pieces

    def _cite(self, block: _Block, event: Citation) -> None:
        if event.url:
            self._cited[event.url] = event.title or event.url
        if not block.started:
            block.citations.append(event)
            return
        if event.passage is not None:
            citation = passages.to_messages(event.passage, event.title, event.cited_text)
        else:
            cited = event.cited_text or self._cited_text(block, event)
            citation = {"type": "web_search_result_location", "url": event.url, "title": event.title, "cited_text": cited}
            citation["encrypted_index"] = ENVELOPE
        self._extra("citations_delta", "citation", citation)

    def _cited_text(self, block: _Block, event: Citation) -> str:
        """The text that a citation is of; "" where citations have repeated too much of it."""
        begin, end = block.range(event.start, event.end)
        self._repeatable -= max(0, end - begin)
        return block.excerpt(begin, end) if self._repeatable >= 0 else ""

    def _keep_seal(self, block: _Block, event: Seal) -> None:
        if block.kind == "text" and event.form == "google" and self._thinks:
            self._queue.appendleft(_thinking(-1, stopped=True, seals=[event], after_text=True))
            return
        block.seals.append(event)
        if block.kind == "text" or event.form not in _FORMS:
            self._reply.unsaid.add(f"{block.kind}:{'thought_signature' if event.form == 'google' else 'signature'}")


_ON: dict[type, Callable[[Any, Any], None]] = {
    Start: _Blocks._start,
    TextStart: _Blocks._text_start,
    ReasoningStart: _Blocks._reasoning_start,
    ToolStart: _Blocks._tool_start,
    Text: _Blocks._within,
    Reasoning: _Blocks._within,
    Arguments: _Blocks._within,
    Seal: _Blocks._within,
    Citation: _Blocks._within,
    Refusal: _Blocks._refuse,
    Search: _Blocks._search,
    Media: _Blocks._opaque,
    PartStop: _Blocks._part_stop,
    Metered: _Blocks._meter,
    Stop: _Blocks._stop,
    Fault: _Blocks._fault,
    Opaque: _Blocks._opaque,
    Compacting: _Blocks._nothing,
    Compaction: _Blocks._opaque,
    Ping: _Blocks._nothing,
}
_INSIDE: dict[type, Callable[[Any, _Block, Any], None]] = {
    Text: _Blocks._write,
    Reasoning: _Blocks._write,
    Arguments: _Blocks._write_arguments,
    Seal: _Blocks._keep_seal,
    Citation: _Blocks._cite,
}


# ---- streamed ----

_NO_USAGE = {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}
_DELTA = b"content_block_delta"
# block type -> the beginning of its delta's data after the index
_PREFIXES = {
    "text": b'"delta":{"type":"text_delta","text":',
    "thinking": b'"delta":{"type":"thinking_delta","thinking":',
    "tool_use": b'"delta":{"type":"input_json_delta","partial_json":',
    "server_tool_use": b'"delta":{"type":"input_json_delta","partial_json":',
    "redacted_thinking": b"",
    "web_search_tool_result": b"",
}


class StreamEncoder(_Blocks):
    """Encodes one answer as frames."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.started = False
        self._out: list[Frame] = []
        self._index = -1
        self._prefix = b""  # the beginning of a text delta's data in the open block

    def feed(self, events: list[Event]) -> list[Frame]:
        """Return the frames for these events. Events after the end are ignored."""
        event: Any
        if len(events) == 1:  # the next piece of the block: the most frequent case
            event = events[0]
            kind = type(event)
            if kind is self._next_kind and event.part == self._next_part:
                piece: str = event.text
                if kind is not Arguments or "}" not in piece:
                    self._pieces.append(piece)
                    value = orjson.dumps(piece) if piece.isascii() else safe_json(piece)
                    return [(_DELTA, self._prefix + value + b"}}")]
        out = self._out = []
        next_kind, next_part, pieces, prefix = self._next_kind, self._next_part, self._pieces, self._prefix
        for event in events:
            kind = type(event)
            if kind is next_kind and event.part == next_part:
                text: str = event.text
                if kind is not Arguments or "}" not in text:
                    pieces.append(text)
                    out.append((_DELTA, prefix + (orjson.dumps(text) if text.isascii() else safe_json(text)) + b"}}"))
                    continue
            if not self.ended:
                _ON[kind](self, event)
                next_kind, next_part, pieces, prefix = self._next_kind, self._next_part, self._pieces, self._prefix
        self._out = []  # else they stay in memory until the next piece that is not one of the usual
        return out

    def _emit(self, value: dict[str, Any]) -> None:
        self._out.append((value["type"].encode(), safe_json(value)))

    def _begin(self, id: str, model: str) -> None:
        self.started = True
        message: dict[str, Any] = {"id": id, "type": "message", "role": "assistant", "model": model, "content": []}
        message |= {"stop_reason": None, "stop_sequence": None, "usage": _NO_USAGE | {"input_tokens": self._reply.asks}}
        self._emit({"type": "message_start", "message": message})

    def _open(self, opening: dict[str, Any]) -> None:
        self._index += 1
        head = b'{"type":"content_block_delta","index":%d,' % self._index
        self._prefix = head + _PREFIXES[opening["type"]]
        self._emit({"type": "content_block_start", "index": self._index, "content_block": opening})

    def _piece(self, text: str) -> None:
        self._out.append((_DELTA, self._prefix + safe_json(text) + b"}}"))

    def _extra(self, type: str, key: str, value: Any) -> None:
        self._emit({"type": "content_block_delta", "index": self._index, "delta": {"type": type, key: value}})

    def _shut(self) -> None:
        self._emit({"type": "content_block_stop", "index": self._index})

    def _finish(self, delta: dict[str, Any], usage: dict[str, Any]) -> None:
        self._emit({"type": "message_delta", "delta": delta, "usage": usage})
        self._emit({"type": "message_stop"})

    def _fail(self, error: GatewayError) -> None:
        self._emit(error.anthropic(self._reply.request_id or None))


# ---- whole ----


class Collector(_Blocks):
    """Collects one answer in one object. error: the answer failed; its body must not be used. None if it did not."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.error: GatewayError | None = None
        self._message: dict[str, Any] = {}
        self._content: list[dict[str, Any]] = []
        self._texts: list[str] = []  # of the open block
        self._inputs: list[tuple[dict[str, Any], str]] = []  # tool_use blocks and their JSON

    def feed(self, events: list[Event]) -> None:
        self._feed(events)

    def body(self) -> dict[str, Any]:
        """The message. Only complete after Stop was fed."""
        return self._message

    def _begin(self, id: str, model: str) -> None:
        self._message = {"id": id, "type": "message", "role": "assistant", "model": model, "content": self._content}

    def _open(self, opening: dict[str, Any]) -> None:
        self._content.append(dict(opening))
        self._texts = []

    def _piece(self, text: str) -> None:
        self._texts.append(text)

    def _extra(self, type: str, key: str, value: Any) -> None:
        block = self._content[-1]
        if key == "citation":
            block.setdefault("citations", []).append(value)
        else:
            block[key] = value

    def _shut(self) -> None:
        block = self._content[-1]
        text = "".join(self._texts)
        if block["type"] in ("tool_use", "server_tool_use"):
            self._inputs.append((block, text))
        elif block["type"] in block:
            block[block["type"]] = text

    def _finish(self, delta: dict[str, Any], usage: dict[str, Any]) -> None:
        for block, text in self._inputs:
            block["input"] = arguments_to_input(text, truncated=delta["stop_reason"] == "max_tokens")
        self._message |= delta | {"usage": usage}

    def _fail(self, error: GatewayError) -> None:
        self.error = error
