"""Decode an answer of Converse or ConverseStream into hub events.

A stream is messageStart, then blocks by their index (text has no start of its own), then messageStop with the reason, then metadata with
the usage: the answer ends with that, or with the end of the stream. A complete answer has the same content and takes the same path.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from .. import bedrock, errors, jsontext, passages, quirks
from ..anything import dict_of, dicts_of, list_of, str_of
from ..endings import UNKNOWN, empty_answer
from ..events import (
    Arguments,
    Citation,
    Event,
    Fault,
    Metered,
    Opaque,
    PartStop,
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
from ..reply import Reply
from ..sse import Frame
from ..tools import ToolText, not_allowed
from ..usage import Usage, count

_MALFORMED = "The model's output was malformed."
_MOST_OPEN = 256  # blocks open at the same time
_LONGEST_ID = 256  # characters of a model's
_LONGEST_LABEL = 64
_REASONS = {
    "end_turn": "end",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool",
    "max_tokens": "length",
    "guardrail_intervened": "filter",
    "content_filtered": "filter",
    "model_context_window_exceeded": "context",
    "malformed_model_output": quirks.FAILED,
    "malformed_tool_use": quirks.FAILED,
}
_BLOCKED = "Blocked by the guardrail."


def sealed(blob: bytes) -> str:
    """Redacted reasoning as the messages shape has it: its text, or (it is none) its base64 after a mark."""
    try:
        text = blob.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    return text if text.isprintable() and text else _BINARY + b64encode(blob).decode()


def unsealed(value: str) -> str:
    """The base64 that Converse wants back for what `sealed` returned."""
    return value.removeprefix(_BINARY) if value.startswith(_BINARY) else b64encode(value.encode()).decode()


_BINARY = "base64:"


@dataclass(slots=True)
class _Block:
    """One block of the answer. part: its hub part; -1 if no other shape can express it."""

    index: int
    kind: str  # text, reasoning, tool, or another name
    part: int = -1
    joiner: jsontext.SurrogateJoiner = field(default_factory=jsontext.SurrogateJoiner)
    unwrap: ToolText | None = None
    filled: bool = False
    signature: list[str] = field(default_factory=list)
    redacted: bytearray = field(default_factory=bytearray)


class StreamDecoder:
    """Decodes one answer. ended: Stop or Fault was returned; later frames are ignored."""

    def __init__(self, reply: Reply) -> None:
        self.ended = False
        self._reply = reply
        self._tools = reply.tools
        self._unsaid = reply.unsaid
        self._blocks: dict[int, _Block] = {}
        self._current: _Block | None = None
        self._started = False
        self._parts = 0
        self._calls = 0
        self._misled = False  # a tool was called that only stands for none: the gateway's doing, and no failure of the model
        self._spoke = False
        self._opaque = ""
        self._usage: Usage | None = None
        self._reason: str | None = None  # the upstream's word
        self._sequence: str | None = None

    @property
    def usage(self) -> Usage | None:
        return self._usage

    @property
    def counted(self) -> bool:
        """Whether that is the usage of all of the answer: there is no other."""
        return self._usage is not None

    def feed(self, frame: Frame) -> list[Event]:
        """Return the events of one frame. Never raises: an invalid frame becomes a Fault."""
        if self.ended:
            return []
        name, data = frame
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            try:
                value = jsontext.loads(data)
            except ValueError:
                return self._garbled("an event that is not JSON")
        if not isinstance(value, dict):
            return self._garbled("an event that is not a JSON object")
        handler = _HANDLERS.get(name)
        if handler is not None:
            return handler(self, value)
        if name.startswith(bedrock.FAILURE):
            return self._fault(bedrock.error_of(name.removeprefix(bedrock.FAILURE).decode("utf-8", "replace"), value))
        self._unsaid.add(f"event:{name.decode('utf-8', 'replace')[:_LONGEST_LABEL]}")
        return []

    def finish(self, clean: bool) -> list[Event]:
        """Return the last events, at the end of the transport. clean: it was not broken off. A stop reason proves completion."""
        if self.ended:
            return []
        if self._reason is not None:
            return self._end()
        return self._fault(errors.Truncated("The upstream's answer ended before it was complete.", "" if clean else "broken off"))

    def whole(self, body: dict[str, Any]) -> list[Event]:
        """Return the events of a complete answer. Never raises: an invalid answer becomes a Fault."""
        self._count(body)
        events = self._message_start({})
        for index, block in enumerate(list_of(dict_of(dict_of(body, "output"), "message"), "content")):
            if isinstance(block, dict):
                events += self._whole_block(index, block)
            if self.ended:
                return events
        fields = dict_of(body, "additionalModelResponseFields")
        self._sequence = fields["stop_sequence"] if isinstance(fields.get("stop_sequence"), str) else None
        events += self._message_stop(body)
        return events if self.ended else events + self._metadata(body)

    # ---- frames ----

    def _message_start(self, value: dict[str, Any]) -> list[Event]:
        if self._started:
            return []
        self._started = True
        return [Start(self._reply.answer_id, "", 0)]

    def _block_start(self, value: dict[str, Any]) -> list[Event]:
        start = dict_of(value, "start")
        kind = next(iter(start), "")[:_LONGEST_LABEL]
        call = dict_of(start, "toolUse")
        if kind == "toolUse" and call.get("type") != "server_tool_use":
            if not self._tools.placeholder or call.get("name") != self._tools.placeholder:
                return self._opened(value, "tool", call)
            self._misled = True
            return self._opened(value, kind, call)
        return self._opened(value, str_of(call, "type") or kind, call)

    def _block_delta(self, value: dict[str, Any]) -> list[Event]:
        delta = dict_of(value, "delta")
        index = value.get("contentBlockIndex")
        block = self._current
        if block is None or block.index != index:
            block = self._blocks.get(index) if isinstance(index, int) else None
        kind = next(iter(delta), "")[:_LONGEST_LABEL]
        if kind == "text" and block is not None and block.kind == "text":
            self._current = block
            return self._piece(block, str_of(delta, "text"))
        events: list[Event] = []
        if block is None:
            if kind == "text" and not delta["text"]:
                return []  # opens nothing
            named = {"reasoningContent": "reasoning", "toolUse": "tool", "citation": "text"}.get(kind, kind)
            if named == "tool":
                return self._garbled("arguments of a call that was not begun")
            events += self._opened(value, named, {})
            block = self._current
            if self.ended or block is None:
                return events
        handler = _DELTAS.get((block.kind, kind))
        if handler is not None:
            return events + handler(self, block, delta)
        if block.part >= 0:
            self._unsaid.add(f"content[{block.index}].delta:{kind}")
        return events

    def _block_stop(self, value: dict[str, Any]) -> list[Event]:
        index = value.get("contentBlockIndex")
        block = self._blocks.get(index) if isinstance(index, int) else None
        return [] if block is None else self._close(block)

    def _message_stop(self, value: dict[str, Any]) -> list[Event]:
        if not self._started:
            return self._garbled("the end of a message without its start")
        reason = value.get("stopReason")
        if not isinstance(reason, str):
            return self._garbled("a message without a stop reason")
        self._reason = reason
        fields = dict_of(value, "additionalModelResponseFields")
        if isinstance(fields.get("stop_sequence"), str):
            self._sequence = fields["stop_sequence"]
        self._reply.settled()
        return []

    def _metadata(self, value: dict[str, Any]) -> list[Event]:
        self._count(value)
        if "trace" in value:
            self._unsaid.add("trace")
            self._unsaid.routed = str_of(dict_of(dict_of(value, "trace"), "promptRouter"), "invokedModelId")[:_LONGEST_ID]
        return [] if self._reason is None else self._end()

    def _count(self, value: dict[str, Any]) -> None:
        usage = value.get("usage")
        if isinstance(usage, dict):
            self._usage = usage_of(usage, str_of(dict_of(value, "serviceTier"), "type"))

    # ---- blocks ----

    def _opened(self, value: dict[str, Any], kind: str, call: dict[str, Any]) -> list[Event]:
        """A new block; it becomes the current one."""
        events = [] if self._started else self._message_start({})
        index = value.get("contentBlockIndex")
        if not isinstance(index, int) or len(self._blocks) >= _MOST_OPEN:
            return events + self._garbled("a content block that has no place")
        for other in [one for one in self._blocks.values() if one.index == index or one.kind != "tool"]:
            events += self._close(other)
        self._current = self._blocks[index] = block = _Block(index, kind)
        if kind not in ("text", "reasoning", "tool"):
            self._opaque = self._opaque or kind
            return [*events, Opaque(f"content[{index}]:{kind or 'unknown'}")]
        block.part = self._parts
        self._parts += 1
        if kind == "text":
            return [*events, TextStart(block.part)]
        if kind == "reasoning":
            return [*events, ReasoningStart(block.part)]
        return events + self._open_tool(block, call)

    def _open_tool(self, block: _Block, call: dict[str, Any]) -> list[Event]:
        name = str_of(call, "name")
        if not name:
            return self._garbled("a tool call without a name")
        if self._tools.refuses(name):
            return self._fault(not_allowed())
        self._calls += 1
        declared = self._tools.restore(name)
        block.unwrap = ToolText(declared) if declared.emulated else None
        return [ToolStart(block.part, str_of(call, "toolUseId"), declared.name, declared.kind, declared.namespace)]

    def _piece(self, block: _Block, text: str) -> list[Event]:
        if not text:
            return []
        block.filled = True
        text = block.joiner.feed(text)
        if block.unwrap is not None:
            text = block.unwrap.feed(text)
        return [_MAKE[block.kind](block.part, text)] if text else []

    def _arguments(self, block: _Block, delta: dict[str, Any]) -> list[Event]:
        return self._piece(block, str_of(dict_of(delta, "toolUse"), "input"))

    def _reasoning(self, block: _Block, delta: dict[str, Any]) -> list[Event]:
        content = dict_of(delta, "reasoningContent")
        if signature := str_of(content, "signature"):
            block.signature.append(signature)
        redacted = content.get("redactedContent")
        if isinstance(redacted, str):
            try:
                block.redacted += b64decode(redacted, validate=True)
            except ValueError:
                return self._garbled("redacted reasoning that is not base64")
        return self._piece(block, str_of(content, "text"))

    def _citation(self, block: _Block, delta: dict[str, Any]) -> list[Event]:
        citation = dict_of(delta, "citation")
        web = dict_of(dict_of(citation, "location"), "web")
        url = str_of(web, "url")
        kind = next(iter(dict_of(citation, "location")), "document")[:_LONGEST_LABEL]
        label, passage = f"content[{block.index}].citations:{kind}", passages.of_converse(citation)
        if passage is not None and not url:
            url = passage.source
        if not url.startswith(("https://", "http://")):
            if passage is None:
                return [Opaque(label, within=True)]
            url = ""
        cited = "".join(str_of(one, "text") for one in dicts_of(citation, "sourceContent"))
        title = str_of(citation, "title") or str_of(web, "domain")
        return [Citation(block.part, url, title, cited_text=cited, passage=passage, label="" if url else label)]

    def _close(self, block: _Block) -> list[Event]:
        del self._blocks[block.index]
        if self._current is block:
            self._current = None
        if block.part < 0:
            return []
        self._spoke = self._spoke or (block.kind == "text" and block.filled)
        rest = block.joiner.finish()
        if block.unwrap is not None:
            rest = block.unwrap.feed(rest) + block.unwrap.finish()
        events: list[Event] = [_MAKE[block.kind](block.part, rest)] if rest else []
        if block.signature:
            events.append(Seal(block.part, "anthropic", "".join(block.signature)))
        if block.redacted:
            events.append(Seal(block.part, "redacted", sealed(bytes(block.redacted))))
        return [*events, PartStop(block.part)]

    def _whole_block(self, index: int, block: dict[str, Any]) -> list[Event]:
        """The events of a block of a complete answer."""
        where = {"contentBlockIndex": index}
        kind = next(iter(block), "")
        call = dict_of(block, "toolUse")
        if kind == "toolUse":
            events = self._block_start(where | {"start": block})
            input = call.get("input")
            text = jsontext.input_to_arguments(input) if input else ""
            deltas: list[dict[str, Any]] = [{"toolUse": {"input": text}}] if text else []
        elif kind == "reasoningContent":
            content = dict_of(block, kind)
            text_of = dict_of(content, "reasoningText")
            events, deltas = [], [{kind: text_of | {name: content[name] for name in ("redactedContent",) if name in content}}]
        elif kind == "citationsContent":
            cited = dict_of(block, kind)
            events = self._opened(where, "text", {})
            deltas = [one for one in dicts_of(cited, "content") if "text" in one]
            deltas += [{"citation": one} for one in dicts_of(cited, "citations")]
        elif kind == "text":
            events, deltas = [], [block]
        else:
            events, deltas = self._opened(where, kind, {}), []
        for delta in deltas:
            if not self.ended:
                events += self._block_delta(where | {"delta": delta})
        return events if self.ended else events + self._block_stop(where)

    # ---- ends ----

    def _end(self) -> list[Event]:
        events: list[Event] = []
        for block in list(self._blocks.values()):
            events += self._close(block)
        word = self._reason or ""
        reason = _REASONS.get(word, "")
        if reason == quirks.FAILED:
            return with_usage(events + self._fault(errors.Broken(_MALFORMED, word)), self._usage)
        if not reason:
            what = "The upstream's answer ended for a reason that this gateway does not know."
            return with_usage(events + self._fault(errors.Broken(what, word[:_LONGEST_LABEL])), self._usage)
        if reason in ("end", "tool"):
            if not (self._spoke or self._calls or self._misled) and self._opaque:
                return with_usage(events + self._fault(empty_answer(self._opaque)), self._usage)
            known, reason = reason, "tool" if self._calls else "end"
            if known == "tool" and not self._calls:
                reason = UNKNOWN  # a call that could not be carried
        if self._usage is not None:
            events.append(Metered(self._usage))
        self.ended = True
        sequence = self._sequence if reason == "stop_sequence" else None
        return [*events, Stop(reason, sequence, _BLOCKED if word == "guardrail_intervened" else None)]

    def _garbled(self, what: str) -> list[Event]:
        return self._fault(errors.Garbled(f"The upstream sent {what}."))

    def _fault(self, error: errors.GatewayError) -> list[Event]:
        self.ended = True
        return [Fault(error, self._usage)]


_Make = Callable[[int, str], Event]
_Handler = Callable[[StreamDecoder, dict[str, Any]], list[Event]]
_DeltaHandler = Callable[[StreamDecoder, _Block, dict[str, Any]], list[Event]]

_MAKE: dict[str, _Make] = {"text": Text, "reasoning": Reasoning, "tool": Arguments}
_HANDLERS: dict[bytes, _Handler] = {
    b"messageStart": StreamDecoder._message_start,
    b"contentBlockStart": StreamDecoder._block_start,
    b"contentBlockDelta": StreamDecoder._block_delta,
    b"contentBlockStop": StreamDecoder._block_stop,
    b"messageStop": StreamDecoder._message_stop,
    b"metadata": StreamDecoder._metadata,
}
_DELTAS: dict[tuple[str, str], _DeltaHandler] = {
    ("text", "text"): lambda self, block, delta: self._piece(block, str_of(delta, "text")),
    ("text", "citation"): StreamDecoder._citation,
    ("tool", "toolUse"): StreamDecoder._arguments,
    ("reasoning", "reasoningContent"): StreamDecoder._reasoning,
}


def decode_response(body: dict[str, Any], reply: Reply) -> list[Event]:
    """Decode a complete answer into the events of a stream. Never raises: an invalid answer becomes one Fault."""
    decoder = StreamDecoder(reply)
    return with_usage(decoder.whole(body), decoder.usage)


def usage_of(usage: dict[str, Any], tier: str = "") -> Usage:
    """Convert `usage`, whose input excludes what was read from or written to the cache. tier: of the answer."""
    read, write = count(usage.get("cacheReadInputTokens")), count(usage.get("cacheWriteInputTokens"))
    rows = dicts_of(usage, "cacheDetails")
    converted = Usage(
        input=count(usage.get("inputTokens")) + read + write,
        output=count(usage.get("outputTokens")),
        cache_read=read if "cacheReadInputTokens" in usage else None,
        cache_write=write if "cacheWriteInputTokens" in usage else None,
        cache_write_long=sum(count(row.get("inputTokens")) for row in rows if row.get("ttl") == "1h") if rows else None,
        tier=tier or None,
    )
    total = count(usage.get("totalTokens"))
    if total and total != converted.all:
        converted.total = total
    return converted
