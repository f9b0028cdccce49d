"""Encode hub events for a gemini client, as a stream or as one body.

Every chunk holds new parts of the one candidate. Text and reasoning leave as they come, a tool call when it is whole: a client runs what
it sees, so a call whose arguments were cut off is left out. Calls leave in the order of their starts, a later one waits for an earlier one.

What the provider needs back of its reasoning rides as `thoughtSignature` on the part that follows it: a call, or the first piece of a
text, so that the history itself has the order, whatever a client drops of it (gemini-cli drops the thoughts).

`_Parts` decides what is written; `StreamEncoder` writes it as frames, `Collector` as one object, so both produce the same answer.

Source: the types of google-genai 3.6.1 and @google/genai 2.32.0, and what their stream parsers accept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
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
from ..reply import Reply
from ..sse import Frame, safe_json
from ..usage import Usage, to_gemini
from .errors_out import error_object
from .facts import IDS, REASONS
from .grounding_out import Grounding, logprobs_result
from .signatures import Run

_REFUSAL = -2  # in the place of a hub part's number
_CUT = frozenset({"length", "context"})  # reasons for which a call without whole arguments is left out


@dataclass(slots=True)
class _Call:
    """A tool call that has not been written yet."""

    id: str
    name: str
    signature: str  # for its part; "" if there is none
    custom: bool  # of a tool whose input is free text
    pieces: list[str] = field(default_factory=list)
    stopped: bool = False
    broken: bool = False  # what it has when it stopped is no JSON object


class _Parts:
    """The parts of the candidate and their order. Subclasses write them."""

    def __init__(self, reply: Reply) -> None:
        self.ended = False
        self._reply = reply
        self._shows = reply.request.show_thoughts
        self._ids = AnswerIds(IDS, reply.numbered_calls)
        self._id = ""  # the upstream's
        self._count = 0  # of calls
        self._calls: dict[int, _Call] = {}  # that were not written yet, by their hub parts
        self._order: deque[int] = deque()  # of these parts
        self._run: Run | None = None  # of reasoning, whose seal has not been written yet
        self._signature = ""  # of the next part: of reasoning that is over
        self._text_part = -1  # the open text whose next piece is plain
        self._grounding = Grounding()
        self._logprobs: list[Any] = []
        self._refused: list[str] = []
        self._usage: Usage | None = None

    # ---- how it is written ----

    def _begin(self, id: str, model: str) -> None:
        raise NotImplementedError

    def _emit(self, part: dict[str, Any], source: int = -1) -> None:
        """Write a part. source: the hub's part of a piece of text, which belongs with others of the same."""
        raise NotImplementedError

    def _finish(self, part: dict[str, Any], candidate: dict[str, Any], usage: dict[str, Any] | None) -> None:
        """Write the end. part: the last one, with an empty text. candidate: members of the candidate beside its content."""
        raise NotImplementedError

    def _fail(self, error: GatewayError) -> None:
        raise NotImplementedError

    # ---- events ----

    def _handle(self, event: Event) -> None:
        if not self.ended:
            _ON[type(event)](self, event)

    def _nothing(self, event: Event) -> None:
        """Ignore an event that this shape does not represent."""

    def _opaque(self, event: Opaque | Compaction | Search | Media) -> None:
        self._reply.unsaid.add(event.label)

    def _start(self, event: Start) -> None:
        self._id = event.id
        model = self._reply.echo_model or event.model or self._reply.request.model
        self._begin(tail(event.id, self._reply.nonce), model)

    def _reasoning_start(self, event: ReasoningStart) -> None:
        if self._calls:
            self._let_go(goes_on=True)
        if self._run is None:
            self._run = Run(self._reply.domain)
        self._run.begin()

    def _reasoning(self, event: Reasoning) -> None:
        assert self._run is not None
        self._run.texts.append(event.text)
        if self._shows:
            self._emit({"text": event.text, "thought": True})

    def _seal(self, event: Seal) -> None:
        if self._run is not None and self._run.open:
            self._run.seals.append(event)
        elif event.form == "google":  # of a text, as Google itself sends it
            self._emit({"text": "", "thoughtSignature": event.value})
        else:
            self._reply.unsaid.add("text:signature")

    def _part_stop(self, event: PartStop) -> None:
        call = self._calls.get(event.part)
        if call is not None:
            call.stopped = True
            self._let_go()
        elif self._run is not None and self._run.open:
            self._end_of_reasoning()
        else:
            self._text_part = -1

    def _end_of_reasoning(self) -> None:
        """Another run that cannot be told with this one in one signature makes this one ride on a part of its own."""
        assert self._run is not None
        if self._reply.recall is not None:
            self._reply.recall.thought("".join(self._run.texts), self._run.seals)
        for signature in self._run.end():
            self._emit({"text": "", "thoughtSignature": signature})

    def _take_signature(self) -> str:
        """What the next part carries; "" if nothing waits."""
        run, self._run = self._run, None
        return "" if run is None else run.signature()

    def _text_start(self, event: TextStart) -> None:
        if self._calls:
            self._let_go(goes_on=True)
        if self._reply.recall is not None:
            self._reply.recall.spoke()
        self._grounding.text_of(event.part)

    def _text(self, event: Text) -> None:
        if event.logprobs:
            self._logprobs += event.logprobs
        self._say(event.text, event.part)
        self._text_part = event.part

    def _say(self, text: str, part: int) -> None:
        self._grounding.text_of(part)
        self._grounding.pieces.append(text)
        signature = self._take_signature()
        self._emit({"text": text, "thoughtSignature": signature} if signature else {"text": text}, part)

    def _refuse(self, event: Refusal) -> None:
        self._refused.append(event.text)
        self._say(event.text, _REFUSAL)
        self._text_part = -1

    def _media(self, event: Media) -> None:
        self._emit({"inlineData": {"mimeType": event.media_type, "data": event.data}})

    def _cite(self, event: Citation) -> None:
        if event.url:
            self._grounding.citations.append(event)
        else:
            self._reply.unsaid.add(event.label)

    def _tool_start(self, event: ToolStart) -> None:
        id = self._ids.call(event.id, self._id, self._count)
        self._count += 1
        if self._reply.recall is not None:
            self._reply.recall.called(id, event.seal)
        signature = self._take_signature()
        if event.seal is not None and event.seal.form == "google":
            if signature:
                self._emit({"text": "", "thoughtSignature": signature})
            signature = event.seal.value
        self._calls[event.part] = _Call(id, event.name, signature, event.kind == "custom")
        self._order.append(event.part)

    def _arguments(self, event: Arguments) -> None:
        call = self._calls.get(event.part)
        if call is not None:
            call.pieces.append(event.text)

    def _let_go(self, reason: str = "", goes_on: bool = False) -> None:
        """Write the calls that are whole, up to the first that is not.

        reason: why the answer ended, "" as long as it has not. goes_on: something follows, so that what has stopped was not cut off.
        """
        while self._order:
            call = self._calls[self._order[0]]
            if not reason and (not call.stopped or (call.broken and not goes_on)):
                return
            raw = "".join(call.pieces)
            args = {"input": raw} if call.custom and call.stopped else _object(raw)
            if not reason and not goes_on and args is None:
                call.broken = True
                return
            del self._calls[self._order.popleft()]
            if args is None and reason in _CUT:
                self._reply.unsaid.add("tool_call:incomplete")
                continue
            args = jsontext.arguments_to_input(raw) if args is None else args
            part: dict[str, Any] = {"functionCall": {"id": call.id, "name": call.name, "args": args}}
            self._emit(part | {"thoughtSignature": call.signature} if call.signature else part)

    def _meter(self, event: Metered) -> None:
        self._usage = event.usage

    def _stop(self, event: Stop) -> None:
        self._let_go(event.reason)
        self._end()
        refused = "".join(self._refused)
        reason = "refusal" if refused and event.reason == "end" else event.reason
        candidate: dict[str, Any] = {"finishReason": REASONS[reason]}
        if REASONS[reason] == REASONS["filter"] and (explanation := event.explanation or refused):
            candidate["finishMessage"] = explanation
        if (grounding := self._grounding.metadata()) is not None:
            candidate["groundingMetadata"] = grounding
        if self._logprobs:
            candidate["logprobsResult"] = logprobs_result(self._logprobs)
        signature = self._take_signature()
        part = {"text": "", "thoughtSignature": signature} if signature else {"text": ""}
        self._finish(part, candidate, None if self._usage is None else to_gemini(self._usage))

    def _fault(self, event: Fault) -> None:
        self._end()
        self._fail(event.error)

    def _end(self) -> None:
        self.ended = True
        self._text_part = -1


def _object(raw: str) -> dict[str, Any] | None:
    """The arguments of a call as they came, None unless they are one JSON object: what is empty may have been cut off, too."""
    try:
        value = jsontext.loads(raw) if raw.strip() else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


_ON: dict[type, Callable[[Any, Any], None]] = {
    Start: _Parts._start,
    TextStart: _Parts._text_start,
    Text: _Parts._text,
    ReasoningStart: _Parts._reasoning_start,
    Reasoning: _Parts._reasoning,
    Seal: _Parts._seal,
    ToolStart: _Parts._tool_start,
    Arguments: _Parts._arguments,
    Refusal: _Parts._refuse,
    Citation: _Parts._cite,
    Search: _Parts._opaque,
    Media: _Parts._media,
    PartStop: _Parts._part_stop,
    Metered: _Parts._meter,
    Stop: _Parts._stop,
    Fault: _Parts._fault,
    Opaque: _Parts._opaque,
    Compacting: _Parts._nothing,
    Compaction: _Parts._opaque,
    Ping: _Parts._nothing,
}


# ---- streamed ----

_BEFORE = b'{"candidates":[{"content":{"role":"model","parts":['
_TEXT = _BEFORE + b'{"text":'


class StreamEncoder(_Parts):
    """Encodes one answer as frames."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.started = False
        self._out: list[Frame] = []
        self._after = b""  # what stands behind the part of every chunk but the last
        self._after_text = b""
        self._answer: dict[str, Any] = {}  # the members of a chunk beside its candidates

    def feed(self, events: list[Event]) -> list[Frame]:
        """Return the frames for these events. Events after the end are ignored."""
        event: Any
        if len(events) == 1:  # the next piece of the open text: the most frequent case
            event = events[0]
            if type(event) is Text and event.part == self._text_part and event.logprobs is None:
                text: str = event.text
                self._grounding.pieces.append(text)
                value = orjson.dumps(text) if text.isascii() else safe_json(text)
                return [(b"", b"".join((_TEXT, value, self._after_text)))]
        out = self._out = []
        for event in events:
            self._handle(event)
        self._out = []  # else they stay in memory until the next piece that is not one of the usual
        return out

    def _begin(self, id: str, model: str) -> None:
        self.started = True
        self._answer = {"modelVersion": model, "responseId": id}
        self._after = b']},"index":0}],' + safe_json(self._answer)[1:]
        self._after_text = b"}" + self._after

    def _emit(self, part: dict[str, Any], source: int = -1) -> None:
        self._out.append((b"", _BEFORE + safe_json(part) + self._after))

    def _finish(self, part: dict[str, Any], candidate: dict[str, Any], usage: dict[str, Any] | None) -> None:
        content = {"content": {"role": "model", "parts": [part]}}
        chunk: dict[str, Any] = {"candidates": [content | candidate | {"index": 0}]}
        chunk |= {} if usage is None else {"usageMetadata": usage}
        self._out.append((b"", safe_json(chunk | self._answer)))

    def _fail(self, error: GatewayError) -> None:
        self._out.append((b"", safe_json(error_object(error))))


# ---- whole ----


class Collector(_Parts):
    """Collects one answer in one object. error: the answer failed; its body must not be used. None if it did not."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.error: GatewayError | None = None
        self._answer: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []
        self._texts: list[str] = []  # of the last part, if more may follow
        self._source = (-1, False)  # of that: the hub's part, and whether it is a thought

    def feed(self, events: list[Event]) -> None:
        for event in events:
            self._handle(event)

    def body(self) -> dict[str, Any]:
        """The answer. Only complete after Stop was fed."""
        return self._answer

    def _begin(self, id: str, model: str) -> None:
        self._answer = {"modelVersion": model, "responseId": id}

    def _emit(self, part: dict[str, Any], source: int = -1) -> None:
        thought = "thought" in part
        joins = (thought or source != -1) and self._source == (source, thought) and "thoughtSignature" not in part
        if joins and self._texts:
            self._texts.append(part["text"])
            return
        self._close()
        self._parts.append(part)
        self._source = (source, thought)
        self._texts = [part["text"]] if thought or source != -1 else []

    def _close(self) -> None:
        if self._texts:
            self._parts[-1]["text"] = "".join(self._texts)
        self._texts = []

    def _part_stop(self, event: PartStop) -> None:
        super()._part_stop(event)
        self._close()

    def _finish(self, part: dict[str, Any], candidate: dict[str, Any], usage: dict[str, Any] | None) -> None:
        self._close()
        if "thoughtSignature" in part or not self._parts:  # a content without parts makes SDKs forget the turn
            self._parts.append(part)
        content = {"content": {"role": "model", "parts": self._parts}}
        body: dict[str, Any] = {"candidates": [content | candidate | {"index": 0}]}
        body |= {} if usage is None else {"usageMetadata": usage}
        self._answer = body | self._answer

    def _fail(self, error: GatewayError) -> None:
        self.error = error
