"""Decode a messages upstream's answer, streamed or complete, into hub events; or only observe it.

A stream is message_start, then blocks one after the other (start, deltas, stop), then message_delta with the stop reason and the
final usage, then message_stop. A complete answer has the same content and takes the same path. Blocks of kinds that only this shape
has (server tools and their results, containers) become one `Opaque` each. Deviations from the reference are accepted if they are
unambiguous: a block without a stop ends where the next one starts, a message without a start starts with its first block.
Source: Anthropic, "Streaming Messages".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from .. import compaction, errors, jsontext, passages, quirks
from ..anything import dict_of, list_of, str_of
from ..arguments import behind_nothing, held_of_nothing
from ..chat.errors_in import error_of
from ..endings import UNKNOWN, empty_answer, failed
from ..events import (
    Arguments,
    Citation,
    Compaction,
    Event,
    Fault,
    Metered,
    Opaque,
    PartStop,
    Ping,
    Reasoning,
    ReasoningStart,
    Seal,
    Start,
    Stop,
    Text,
    TextStart,
    ToolStart,
    with_usage,
)
from ..likeness import NOTHING, around
from ..reply import Reply
from ..sse import Frame, named_alike
from ..tools import ToolText, not_allowed
from ..usage import OF_MESSAGES, Usage, count, from_messages, merged

_Delta = Callable[[int, str], Event]

# block type -> its delta's type, that delta's field, and the event it becomes
_DELTAS: dict[str, tuple[str, str, _Delta]] = {
    "text": ("text_delta", "text", Text),
    "thinking": ("thinking_delta", "thinking", Reasoning),
    "tool_use": ("input_json_delta", "partial_json", Arguments),
}
_OPENED_BY = {"text_delta": "text", "thinking_delta": "thinking"}
_KEYS = {"text": b'"text":"', "thinking": b'"thinking":"'}  # where the text of such a delta begins
_COMPACTION = "compaction"
_MOST_OPEN = 256  # blocks open at the same time; the reference allows one
_LONGEST_LABEL = 64
_COMPACTED = "compaction"  # a stop reason: nothing had to be said
_UNTOLD_COUNTS = frozenset({"server_tool_use"})  # members of usage that are not reported


@dataclass(slots=True)
class _Block:
    """One content block that is open upstream. part: its hub part; -1 if other shapes cannot express it."""

    index: int
    kind: str
    part: int = -1
    delta: str | None = None  # its entry in _DELTAS
    key: str = ""
    make: _Delta = Text
    plain: bool = False  # its text is passed on unchanged: no surrogate half is held, no free text is unwrapped
    joiner: jsontext.SurrogateJoiner = field(default_factory=jsontext.SurrogateJoiner)
    unwrap: ToolText | None = None
    input: str = ""  # a tool's whole arguments, given with its start
    summary: list[str] = field(default_factory=list)  # of a compaction, so far
    held: str = ""  # the beginning of a tool's arguments, as long as it may become null, or an empty object
    seal: Seal | None = None
    filled: bool = False


class StreamDecoder:
    """Decodes one answer. ended: Stop or Fault was returned; later frames are ignored. counted: the usage is that of all of the answer."""

    def __init__(self, reply: Reply) -> None:
        self.ended = False
        self._tools = reply.tools
        self._unsaid = reply.unsaid
        self._blocks: dict[int, _Block] = {}
        self._current: _Block | None = None  # the block of the last delta or start
        self._usual: tuple[_Block, int, bytes, bytes] | None = None  # the current block, and what is around its last piece
        self._started = False
        self._parts = 0
        self._calls = 0
        self._usage: dict[str, Any] | None = None
        self.counted = False
        self._stop: dict[str, Any] = {}
        self._answered: set[str] = set()  # server tools that have their result, of a whole answer
        self._programs: dict[str, int] = {}  # calls by programs, by the server tool that runs it
        self._opaque = ""  # the first block that no other shape can say
        self._spoke = False

    @property
    def usage(self) -> Usage | None:
        """The usage reported so far; None before the first report."""
        return None if self._usage is None else from_messages(self._usage)

    def feed(self, frame: Frame) -> list[Event]:
        """Return the events of one frame. Never raises: an invalid frame becomes a Fault."""
        data = frame[1]
        usual = self._usual
        if usual is not None:
            block, start, head, tail = usual
            end = data.find(b'"', start)
            if data[end:] == tail and data.startswith(head):
                try:
                    text = orjson.loads(data[start - 1 : end + 1])
                except ValueError:
                    return self._patient(frame)
                if text:
                    return [block.make(block.part, text)]
        if self.ended:
            return []
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            return self._patient(frame)
        # the common case: the next piece of the same block as before
        current = self._current
        if current is not None and current.plain and type(value) is dict and value.get("index") == current.index:
            delta = value.get("delta")
            if type(delta) is dict and delta.get("type") == current.delta:
                text = delta.get(current.key)
                if type(text) is str and text and value.get("type") == "content_block_delta":
                    current.filled = True
                    if current.kind != "tool_use":  # whose pieces have quotes in them
                        surroundings = around(data, _KEYS[current.key])
                        self._usual = None if surroundings is NOTHING else (current, *surroundings)
                    return [current.make(current.part, text)]
        self._usual = None
        return self._frame(frame[0], value)

    def finish(self, clean: bool) -> list[Event]:
        """Return the last events, at the end of the transport. clean: it was not broken off. A stop reason proves completion."""
        if self.ended:
            return []
        if self._stop.get("stop_reason") is not None and not self._blocks:
            return self._message_stop({})
        return self._fault(errors.Truncated("The upstream's answer ended before it was complete.", "" if clean else "broken off"))

    def whole(self, body: dict[str, Any]) -> list[Event]:
        """Return the events of a complete answer. Never raises: an invalid answer becomes a Fault."""
        if _is_error(body):
            return self._error(body)
        events = self._message_start({"message": body})
        events += self._message_delta({"delta": body})
        return events if self.ended else events + self._message_stop({})

    # ---- frames ----

    def _patient(self, frame: Frame) -> list[Event]:
        """Read a frame that orjson rejects: lone surrogates, long numbers, the OpenAI shapes' [DONE], or invalid JSON."""
        self._usual = None
        if frame[1].strip() == b"[DONE]":
            return []
        try:
            value = jsontext.loads(frame[1])
        except ValueError:
            return self._garbled("an event that is not JSON")
        return self._frame(frame[0], value)

    def _frame(self, name: bytes, value: Any) -> list[Event]:
        if not isinstance(value, dict):
            return self._garbled("an event that is not a JSON object")
        kind = value.get("type")
        if not isinstance(kind, str):
            kind = name.decode("utf-8", "replace")
        handler = _HANDLERS.get(kind)
        if handler is not None:
            return handler(self, value)
        if _is_error(value):
            return self._error(value)
        self._unsaid.add(f"event:{kind[:_LONGEST_LABEL]}")
        return []

    def _message_start(self, value: dict[str, Any]) -> list[Event]:
        if self._started:
            return []
        message = dict_of(value, "message")
        self._started = True
        self._usage = _merged_usage(None, message)
        events: list[Event] = [Start(str_of(message, "id"), str_of(message, "model"), 0)]
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        content = content if isinstance(content, list) else []
        results = [block for block in content if isinstance(block, dict) and str_of(block, "type").endswith("_tool_result")]
        self._answered = {str_of(block, "tool_use_id") for block in results} - {""}
        for index, block in enumerate(content):
            events += self._block_start({"index": index, "content_block": block})
            if self.ended:
                break
            events += self._block_stop({"index": index})
        return events

    def _block_start(self, value: dict[str, Any]) -> list[Event]:
        events = [] if self._started else self._message_start({})
        index = value.get("index")
        if not isinstance(index, int) or len(self._blocks) == _MOST_OPEN:
            return events + self._garbled("a content block that has no place")
        content = dict_of(value, "content_block")
        kind = str_of(content, "type")[:_LONGEST_LABEL]
        opener = _OPENERS.get(kind)
        if kind == "tool_use" and self._is_answered(content):
            opener = None
        elif kind.endswith("_tool_result"):
            self._calls -= self._programs.pop(str_of(content, "tool_use_id"), 0)
        # only tool calls may be open at the same time as others, and an index has one block
        for other in [b for b in self._blocks.values() if b.index == index or b.kind != "tool_use"]:
            if other.kind == "tool_use" != kind and ~index not in self._blocks:
                self._set_aside(other)
            else:
                events += self._close(other)
        self._current = self._blocks[index] = block = _Block(index, kind)
        if kind == _COMPACTION:
            block.summary.append(str_of(content, "content"))
            return events
        if opener is None:
            self._opaque = self._opaque or kind
            return [*events, Opaque(f"content[{index}]:{kind}")]
        if kind in _DELTAS:
            block.delta, block.key, block.make = _DELTAS[kind]
            block.plain = True
        block.part = self._parts
        self._parts += 1
        return events + opener(self, block, content)

    def _is_answered(self, content: dict[str, Any]) -> bool:
        """Whether a call was made by a program of the provider whose result is in the same message: it has been answered."""
        program = str_of(dict_of(content, "caller"), "tool_id")
        if program in self._answered:
            return True
        if program:
            self._programs[program] = self._programs.get(program, 0) + 1
        return False

    def _set_aside(self, block: _Block) -> None:
        """Keep a tool call whose index another block reuses while its arguments continue (MiniMax), under a free index."""
        del self._blocks[block.index]
        block.index = ~block.index
        self._blocks[block.index] = block

    def _open_text(self, block: _Block, content: dict[str, Any]) -> list[Event]:
        events: list[Event] = [TextStart(block.part)]
        events += self._piece(block, str_of(content, "text"))
        for citation in list_of(content, "citations"):
            events += self._citation(block, {"citation": citation})
        return events

    def _open_thinking(self, block: _Block, content: dict[str, Any]) -> list[Event]:
        self._signature(block, content)
        return [ReasoningStart(block.part), *self._piece(block, str_of(content, "thinking"))]

    def _open_redacted(self, block: _Block, content: dict[str, Any]) -> list[Event]:
        block.seal = Seal(block.part, "redacted", str_of(content, "data"))
        return [ReasoningStart(block.part)]

    def _open_tool(self, block: _Block, content: dict[str, Any]) -> list[Event]:
        name = str_of(content, "name")
        if not name:
            return self._garbled("a tool call without a name")
        if self._tools.refuses(name):
            return self._fault(not_allowed())
        self._calls += 1
        declared = self._tools.restore(name)
        if declared.emulated:
            block.plain = False
            block.unwrap = ToolText(declared)
        input = content.get("input")
        block.input = jsontext.input_to_arguments(input) if input and input != "null" else ""
        block.plain = False  # until the arguments have started
        return [ToolStart(block.part, str_of(content, "id"), declared.name, declared.kind, declared.namespace)]

    def _block_delta(self, value: dict[str, Any]) -> list[Event]:
        index = value.get("index")
        block = self._blocks.get(index) if isinstance(index, int) else None
        if block is None:
            return self._garbled("a delta for a content block that is not open")
        self._current = block
        delta = dict_of(value, "delta")
        kind = str_of(delta, "type")
        if kind == "input_json_delta" != block.delta and ~block.index in self._blocks:
            self._current = block = self._blocks[~block.index]
        if kind == block.delta:
            return self._piece(block, str_of(delta, block.key))
        extra = _EXTRA_DELTAS.get((block.kind, kind))
        if extra is not None:
            return extra(self, block, delta)
        opened = _OPENED_BY.get(kind)
        if opened is not None and block.part >= 0 and str_of(delta, opened):  # SGLang: text in a block of thinking, or of a tool
            return self._block_start({"index": index, "content_block": {"type": opened}}) + self._block_delta(value)
        if block.part >= 0:  # otherwise the entire block was reported
            self._unsaid.add(f"content[{index}].delta:{kind[:_LONGEST_LABEL]}")
        return []

    def _piece(self, block: _Block, text: str) -> list[Event]:
        """Return the events for a piece of a block's text; an incomplete end is held back."""
        if block.kind == "tool_use" and not block.filled:
            text = (block.held + text).lstrip(" \t\r\n")
            if (held := held_of_nothing(text)) is not None:
                block.held = held
                return []
            text = behind_nothing(text)
            block.plain = block.unwrap is None
        if text:
            block.filled = True
            if not text.isascii() or not block.plain:
                text = self._joined(block, text)
        return [block.make(block.part, text)] if text else []

    def _joined(self, block: _Block, text: str) -> str:
        joined = block.joiner.feed(text)
        if joined is not text:
            block.plain = False
        return joined if block.unwrap is None else block.unwrap.feed(joined)

    def _citation(self, block: _Block, delta: dict[str, Any]) -> list[Event]:
        citation = dict_of(delta, "citation")
        kind = str_of(citation, "type")[:_LONGEST_LABEL]
        url = str_of(citation, _CITED_URL.get(kind, ""))
        label, passage = f"content[{block.index}].citations:{kind}", passages.of_messages(citation)
        if not url.startswith(("https://", "http://")):
            if passage is None:
                return [Opaque(label, within=True)]
            url = ""
        title = str_of(citation, "title") or str_of(citation, "document_title")
        return [Citation(block.part, url, title, cited_text=str_of(citation, "cited_text"), passage=passage, label="" if url else label)]

    def _signature(self, block: _Block, delta: dict[str, Any]) -> list[Event]:
        signature = str_of(delta, "signature")
        if signature:
            block.seal = Seal(block.part, "anthropic", signature)
        return []

    def _block_stop(self, value: dict[str, Any]) -> list[Event]:
        index = value.get("index")
        block = self._blocks.get(index, self._blocks.get(~index)) if isinstance(index, int) else None
        return [] if block is None else self._close(block)

    def _close(self, block: _Block) -> list[Event]:
        del self._blocks[block.index]
        if self._current is block:
            self._current = None
        if block.part < 0:
            return self._compacted(block) if block.kind == _COMPACTION else []
        self._spoke = self._spoke or (block.kind == "text" and block.filled)
        rest = block.joiner.finish()
        if block.kind == "tool_use" and not block.filled:
            rest = block.input or ("" if block.held.strip() == "null" else block.held)
        if block.unwrap is not None:
            rest = block.unwrap.feed(rest) + block.unwrap.finish()
        events: list[Event] = [block.make(block.part, rest)] if rest else []
        if block.seal is not None:
            events.append(block.seal)
        events.append(PartStop(block.part))
        return events

    def _summary(self, block: _Block, delta: dict[str, Any]) -> list[Event]:
        block.summary.append(str_of(delta, "content"))
        return []

    def _compacted(self, block: _Block) -> list[Event]:
        """A summary of the provider's, unless it is in a form that only the provider can read."""
        label = f"content[{block.index}]:{_COMPACTION}"
        summary = "".join(block.summary)
        return [Compaction(summary, 0, label) if compaction.is_readable(summary) else Opaque(label)]

    def _message_delta(self, value: dict[str, Any]) -> list[Event]:
        events = [] if self._started else self._message_start({})
        self._usage = _merged_usage(self._usage, value)
        delta = dict_of(value, "delta")
        self._stop |= {key: delta[key] for key in ("stop_reason", "stop_sequence", "stop_details") if delta.get(key) is not None}
        self.counted = self.counted or ("stop_reason" in self._stop and isinstance(value.get("usage"), dict))
        return events

    def _message_stop(self, value: dict[str, Any]) -> list[Event]:
        if not self._started or self._stop.get("stop_reason") is None:
            return self._garbled("a message without a stop reason")
        events: list[Event] = []
        for block in list(self._blocks.values()):
            events += self._close(block)
        stop = stop_of(self._stop, self._calls > 0)
        word = str(self._stop["stop_reason"])
        if stop.reason == quirks.FAILED:
            return with_usage(events + self._fault(failed(word)), self.usage)
        if not (self._spoke or self._calls) and (stop.reason == "pause" or (self._opaque and stop.reason == "end" and word != _COMPACTED)):
            return with_usage(events + self._fault(empty_answer(self._opaque)), self.usage)
        if stop.reason in ("", "pause"):
            self._unsaid.add(f"stop_reason:{word}")
        # a turn that ends for a tool call which could not be carried is not complete
        if not stop.reason or (stop.reason == "end" and self._opaque and quirks.ending(word) == "tool"):
            stop.reason = UNKNOWN
        self._report()
        if self._usage is not None:
            events.append(Metered(from_messages(self._usage)))
        self.ended = True
        return [*events, stop]

    def _report(self) -> None:
        """Report members of the end that no other shape can express."""
        self._unsaid.category = category = _category(self._stop)
        if dict_of(self._stop, "stop_details").get("category"):
            self._unsaid.add(f"stop_details.category:{category}")
        for name, counts in (self._usage or {}).items():
            if name in _UNTOLD_COUNTS and isinstance(counts, dict) and any(counts.values()):
                self._unsaid.add(f"usage.{name}")

    def _ping(self, value: dict[str, Any]) -> list[Event]:
        return [Ping()]

    def _error(self, value: dict[str, Any]) -> list[Event]:
        self._usage = _merged_usage(self._usage, value)
        self.counted = self.counted or _counts(value, self._parts > 0)
        return self._fault(self._unsaid.failure or error_of(value))

    def _garbled(self, what: str) -> list[Event]:
        return self._fault(errors.Garbled(f"The upstream sent {what}."))

    def _fault(self, error: errors.GatewayError) -> list[Event]:
        self.ended = True
        return [Fault(error, self.usage if self.counted else None)]


_Handler = Callable[[StreamDecoder, dict[str, Any]], list[Event]]
_Opener = Callable[[StreamDecoder, _Block, dict[str, Any]], list[Event]]

_HANDLERS: dict[str, _Handler] = {
    "message_start": StreamDecoder._message_start,
    "content_block_start": StreamDecoder._block_start,
    "content_block_delta": StreamDecoder._block_delta,
    "content_block_stop": StreamDecoder._block_stop,
    "message_delta": StreamDecoder._message_delta,
    "message_stop": StreamDecoder._message_stop,
    "ping": StreamDecoder._ping,
    "vertex_event": StreamDecoder._ping,  # Vertex AI's own, beside the pings
    "error": StreamDecoder._error,
}
_OPENERS: dict[str, _Opener] = {
    "text": StreamDecoder._open_text,
    "thinking": StreamDecoder._open_thinking,
    "redacted_thinking": StreamDecoder._open_redacted,
    "tool_use": StreamDecoder._open_tool,
}
_EXTRA_DELTAS: dict[tuple[str, str], _Opener] = {
    ("text", "citations_delta"): StreamDecoder._citation,
    ("thinking", "signature_delta"): StreamDecoder._signature,
    (_COMPACTION, "compaction_delta"): StreamDecoder._summary,
}
_CITED_URL = {"web_search_result_location": "url", "search_result_location": "source"}


def decode_response(body: dict[str, Any], reply: Reply) -> list[Event]:
    """Decode a complete answer into the events of a stream. Never raises: an invalid answer becomes one Fault."""
    decoder = StreamDecoder(reply)
    return with_usage(decoder.whole(body), decoder.usage)


def _category(delta: dict[str, Any]) -> str:
    """Why the provider refused, where it says so in one word."""
    category = str_of(dict_of(delta, "stop_details"), "category")
    return category if category.isascii() and category.isidentifier() and len(category) <= _LONGEST_LABEL else ""


def stop_of(delta: dict[str, Any], calls: bool) -> Stop:
    """Read the Stop of a message_delta's `delta` or a complete message. Its reason is quirks.FAILED for a failure, "" if unknown.

    calls: whether the model called one of the client's tools.
    """
    word = delta.get("stop_reason")
    reason = quirks.ending(word) if isinstance(word, str) else ""
    if reason in ("end", "tool"):
        reason = "tool" if calls else "end"
    sequence = delta.get("stop_sequence") if reason == "stop_sequence" else None
    explanation = str_of(dict_of(delta, "stop_details"), "explanation") if reason == "refusal" else ""
    return Stop(reason, sequence if isinstance(sequence, str) else None, explanation or None)


_DELTA = b"event: content_block_delta\ndata: {"


class Observer:
    """Observes an answer that is passed unchanged to a client of the same shape.

    content: whether content was seen. proof: whether the last event was seen. error: the provider's error inside the stream.
    counted: the usage is that of all that the upstream has written.
    """

    __slots__ = ("_calls", "_open", "_stop", "_unsaid", "_usage", "content", "counted", "error", "proof")

    bare = 0  # this shape has no events with usage only

    repeats = staticmethod(partial(named_alike, begin=_DELTA))
    """The number of deltas that `chunk` consists of; 0 if it contains anything else. Deltas need not be fed."""

    def __init__(self, reply: Reply) -> None:
        self.content = False
        self.proof = False
        self.error: errors.GatewayError | None = None
        self.counted = False
        self._usage: dict[str, Any] | None = None
        self._stop: dict[str, Any] | None = None
        self._open: Any = None  # the index of the last block, until its end comes
        self._unsaid = reply.unsaid
        self._calls = False

    @property
    def usage(self) -> Usage | None:
        return None if self._usage is None else from_messages(self._usage)

    @property
    def stop(self) -> str | None:
        """The neutral reason; None before it is known."""
        return None if self._stop is None else stop_of(self._stop, self._calls).reason or UNKNOWN

    def feed(self, frame: Frame) -> None:
        """Observe one frame. Never raises. Once content was seen, deltas are not parsed."""
        name, data = frame
        if self.content and (name == b"content_block_delta" or b'"content_block_delta"' in data[:64]):
            return
        try:
            value = jsontext.loads(data)
        except ValueError:
            return
        if isinstance(value, dict):
            self._see(str_of(value, "type") or name.decode("utf-8", "replace"), value)

    def completed(self, clean: bool) -> bool:
        """Whether the answer was complete when the transport ended. clean: it was not broken off."""
        return self.proof or (self._stop is not None and self._open is None)

    def observe_whole(self, body: dict[str, Any]) -> None:
        """Observe a complete answer."""
        if _is_error(body):
            self._fail(body, error_of(body))
            return
        for block in list_of(body, "content"):
            self._see_block(block)
        self._see_end(body, body)
        self.proof = self._stop is not None

    def _see(self, kind: str, value: dict[str, Any]) -> None:
        if kind == "content_block_delta":
            # any kind of delta with a non-empty member besides its type
            self.content = any(piece for key, piece in dict_of(value, "delta").items() if key != "type")
        elif kind == "content_block_start":
            self._see_block(value.get("content_block"))
            self._open = value.get("index")
        elif kind == "content_block_stop":
            self._open = None if value.get("index") == self._open else self._open
        elif kind == "message_start":
            self._see_usage(dict_of(value, "message"))
        elif kind == "message_delta":
            self._see_end(dict_of(value, "delta"), value)
        elif kind == "message_stop":
            self.proof = True
        elif _is_error(value):
            self._fail(value, self._unsaid.failure or error_of(value))

    def _fail(self, holder: dict[str, Any], error: errors.GatewayError) -> None:
        self._see_usage(holder)
        self.error, self.counted = error, self.counted or _counts(holder, self.content)

    def _see_block(self, block: Any) -> None:
        if not isinstance(block, dict):
            return
        kind = block.get("type")
        self._calls = self._calls or kind == "tool_use"
        self.content = self.content or kind not in ("text", "thinking") or bool(block.get(kind))

    def _see_end(self, delta: dict[str, Any], holder: dict[str, Any]) -> None:
        self._see_usage(holder)
        if delta.get("stop_reason") is not None:
            self._stop = {key: delta.get(key) for key in ("stop_reason", "stop_sequence", "stop_details")}
            self.counted = self.counted or isinstance(holder.get("usage"), dict)
            self._unsaid.category = _category(self._stop)

    def _see_usage(self, holder: dict[str, Any]) -> None:
        self._usage = _merged_usage(self._usage, holder)


def _merged_usage(known: dict[str, Any] | None, holder: dict[str, Any]) -> dict[str, Any] | None:
    usage = holder.get("usage")
    if not isinstance(usage, dict):
        return known
    return merged(known, {key: count for key, count in usage.items() if key in OF_MESSAGES}, partial=True)


def _counts(error: dict[str, Any], spoke: bool) -> bool:
    """Whether the usage that comes with an error is that of all that was written. spoke: something was."""
    usage = error.get("usage")
    return isinstance(usage, dict) and (not spoke or count(usage.get("output_tokens")) > 0)


def _is_error(value: dict[str, Any]) -> bool:
    return value.get("type") == "error" or isinstance(value.get("error"), dict | str)
