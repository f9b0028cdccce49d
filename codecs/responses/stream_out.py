"""Encode hub events for a responses client, as a stream or as one body.

The answer is a list of items. Adjacent texts share one part of one message, adjacent runs of reasoning share one reasoning item, and
each is closed by the next other item; several tool calls may be open at the same time. Reasoning is written to summary parts for a
client that requested a summary, else to content parts, so that it is never lost. Every object is serialised when its event is
created, so that later changes do not affect earlier events.

`collector.Collector` is the same encoder with its frames discarded, so both modes produce the same object.

Source: OpenAI, "Responses: streaming events".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from .. import compaction, jsontext, reasoning
from ..dialect import OPEN, OPENAI
from ..errors import Garbled, GatewayError
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
from ..ids import AnswerIds
from ..logprobs import spelt_out
from ..reply import Reply
from ..sse import Frame, safe_json
from ..usage import Usage, to_responses
from .envelope import failed, failure, item_id, response_object, write_tools
from .facts import IDS, NAME, REASONS
from .open_items import Call, Message, Thinking
from .own_tools import OWN, OwnTool

_Value = dict[str, Any]

_FORMS = frozenset({"anthropic", "redacted", "openai", "details"})  # seal forms that a reasoning item can return

# kind of call -> type of its item, the member with its text, and the name of its events
_CALLS = {
    "function": ("function_call", "arguments", "response.function_call_arguments"),
    "custom": ("custom_tool_call", "input", "response.custom_tool_call_input"),
}


class _Shown(NamedTuple):
    """Where reasoning is written: the member with the part's index, the event names, and the type of the parts."""

    place: str
    text: str
    part: str
    kind: str


_SUMMARY = _Shown("summary_index", "response.reasoning_summary_text", "response.reasoning_summary_part", "summary_text")
# reasoning that is no summary, by what a dialect calls its events
_CONTENT = {name: _Shown("content_index", name, "response.content_part", "reasoning_text") for name in (OPENAI.thoughts, OPEN.thoughts)}


class StreamEncoder:
    """Encodes one answer as frames.

    response: the entire response object, after Stop or Fault. raw_reasoning: by output index of a reasoning item, what its provider
    needs back and the item may not contain: Anthropic's blocks, OpenAI's reasoning item (as the only element), or plain text.
    """

    def __init__(self, reply: Reply, whole: bool = False) -> None:
        """whole: nobody reads the frames, only `response`."""
        self._whole_only = whole
        self.response: _Value | None = None
        self.raw_reasoning: dict[int, list[_Value] | str] = {}
        self._reply = reply
        request = reply.request
        self._logprobs = request.include_logprobs
        self._shown = _CONTENT[reply.dialect.thoughts] if request.summary is None else _SUMMARY
        self._phases = reply.phases
        self._ids = AnswerIds(IDS, reply.numbered_calls)
        self._upstream_id = ""
        self._head: _Value | None = None
        self._sequence = reply.announced
        self._out: list[Frame] = []
        self._items: list[_Value] = []  # by output index; placeholders for open items
        self._message: Message | None = None
        self._thinking: Thinking | None = None
        self._calls: dict[int, Call] = {}
        self._own_calls: dict[int, Call] = {}
        self._unread: list[Call] = []  # those that are over and cannot be read; only the answer's end tells whether they were cut
        self._cut: Call | None = None  # a call that is over, of free text or broken JSON; only the answer's end tells if it is whole
        self._tools = 0
        # the hub's text part: its number, its start in the message's part, and its sources
        self._text_part = -1
        self._base = 0
        self._citations: list[Citation] = []
        self._apart = False  # a part that is not carried was received since the last text started
        self._refused = False
        self._usage: Usage | None = None
        self._unsaid: tuple[list[Frame], int] = ([], 0)  # the frames before the terminal one, and its sequence number, for `fail`

    @property
    def started(self) -> bool:
        return self._head is not None

    @property
    def ended(self) -> bool:
        return self.response is not None

    def feed(self, events: list[Event]) -> list[Frame]:
        """Return the frames for these events. Events after the end are ignored."""
        event: Any
        if len(events) == 1:
            event = events[0]
            kind = type(event)
            # the next piece of the open part: the most frequent case
            if kind is Text:
                message = self._message
                if message is not None and message.kind == "output_text" and not self._logprobs:
                    text: str = event.text
                    message.pieces.append(text)
                    number = self._sequence
                    self._sequence = number + 1
                    name, data = message.frame
                    return [(name, data % (number, orjson.dumps(text) if text.isascii() else safe_json(text)))]
            elif kind is Arguments:
                call = self._calls.get(event.part)
                if call is not None and self._cut is None:
                    return [self._piece(call, event.text)]
            elif kind is Reasoning:
                thinking = self._thinking
                if thinking is not None and thinking.pieces:
                    return [self._piece(thinking, event.text)]
        out = self._out = []
        message = self._message
        for event in events:
            kind = type(event)
            if kind is Text and message is not None and message.kind == "output_text" and not self._logprobs:
                text = event.text
                message.pieces.append(text)
                number = self._sequence
                self._sequence = number + 1
                name, data = message.frame
                out.append((name, data % (number, orjson.dumps(text) if text.isascii() else safe_json(text))))
            elif kind is Arguments and self._cut is None and (call := self._calls.get(event.part)) is not None:
                out.append(self._piece(call, event.text))
            elif self.response is None:
                if self._cut is not None and kind not in _LEAVE_CUT:
                    self._close_call(self._cut, "completed")
                _ON[kind](self, event)
                message = self._message
        self._out = []  # else they stay in memory until the next piece that is not one of the usual
        return out

    def progress(self) -> list[Frame]:
        """What may be told between two events of an answer that has begun, and tells nothing new."""
        if self._head is None or self.response is not None:
            return []
        self._out = []
        self._emit("response.in_progress", response=self._head)
        return self._out

    def fail(self, error: GatewayError) -> list[Frame]:
        """Return the frames to send instead of those for Stop if the answer could not be stored. Must be called after Stop."""
        frames, self._sequence = self._unsaid
        self._out = list(frames)
        self._failed(error)
        return self._out

    # ---- frames ----

    def _piece(self, holder: Message | Thinking | Call, text: str) -> Frame:
        holder.pieces.append(text)
        number = self._sequence
        self._sequence = number + 1
        name, data = holder.frame
        return name, data % (number, safe_json(text))

    def _emit(self, kind: str, **members: Any) -> None:
        value = {"type": kind, "sequence_number": self._sequence, **members}
        self._sequence += 1
        self._out.append((kind.encode(), safe_json(value)))

    def _delta_frame(self, kind: str, place: _Value, end: bytes = b"}") -> Frame:
        """A delta's frame with placeholders for its sequence number and text. place: members without a percent sign."""
        name, members = kind.encode(), safe_json(place)[1:-1]
        return name, b'{"type":"%b","sequence_number":%%d,%b,"delta":%%b%b' % (name, members, end)

    def _announce(self, kind: str, **members: Any) -> tuple[int, str]:
        """Announce an item. Returns its index and id."""
        index = len(self._items)
        assert self._head is not None
        id = item_id(self._head["id"], index, kind)
        item = {"id": id, "type": kind, **members}
        self._items.append(item)
        self._emit("response.output_item.added", output_index=index, item=item)
        return index, id

    def _done(self, index: int, item: _Value) -> None:
        self._items[index] = item
        self._emit("response.output_item.done", output_index=index, item=item)

    # ---- the answer ----

    def _start(self, event: Start) -> None:
        self._upstream_id = event.id
        announced = self._reply.announced
        self._head = response_object(self._reply, "in_progress", event.model, 0 if announced else event.created)
        if not self._whole_only:
            write_tools(self._head)
        if not announced:
            self._emit("response.created", response=self._head)
        self._emit("response.in_progress", response=self._head)

    def _metered(self, event: Metered) -> None:
        self._usage = event.usage

    def _stop(self, event: Stop) -> None:
        if event.explanation and event.reason == "refusal" and not self._refused:
            if self._cut is not None:
                self._close_call(self._cut, "completed")
            self._refusal(Refusal(event.explanation))
        status, why = REASONS[event.reason]
        for call in self._unread:
            self._leave_unread(call, status)
        if self._cut is not None:
            self._close_call(self._cut, status)
        self._leave("completed" if event.reason == "refusal" else status, "final_answer" if status == "completed" else "")
        self._unsaid = (list(self._out), self._sequence)
        self.response = self._whole(status, self._items)
        self.response["incomplete_details"] = {"reason": why} if why else None
        if status == "completed":
            self.response["completed_at"] = self._reply.completed or self.response["created_at"]
        self._emit(f"response.{status}", response=self.response)

    def _whole(self, status: str, items: list[_Value]) -> _Value:
        assert self._head is not None
        whole = self._head | {"status": status, "output": items}
        if self._usage is not None:
            whole["usage"] = to_responses(self._usage)
            whole["service_tier"] = self._usage.tier or whole["service_tier"]
        return whole

    def _fault(self, event: Fault) -> None:
        if self._head is None:
            self._go_on()
        self._failed(event.error)

    def _go_on(self) -> None:
        """Continue after the events that the client was already sent unchanged, if any (`Reply.begun`); else start the answer."""
        begun = self._reply.begun
        if begun is None or not isinstance(begun.get("id"), str):
            self._start(Start("", "", 0))
            return
        model = self._reply.echo_model or begun.get("model")
        self._head = response_object(self._reply) | begun | {"model": model}
        self._sequence = self._reply.events_sent

    def _failed(self, error: GatewayError) -> None:
        self.response = failed(self._whole("failed", self._so_far()), error)
        self._message = self._thinking = self._cut = None
        self._calls.clear()
        self._own_calls.clear()
        self._unread.clear()
        for kind, members in failure(self._reply, self.response, error):
            self._emit(kind, **members)

    def _so_far(self) -> list[_Value]:
        """The items of an answer that broke off: open items are incomplete."""
        items = list(self._items)
        if self._message is not None:
            items[self._message.index] = self._message.item("incomplete")
        if self._thinking is not None and self._thinking.index >= 0:
            items[self._thinking.index] = self._thinking_item(self._thinking, "incomplete")
        for call in [*self._calls.values(), *self._own_calls.values(), *self._unread, *([self._cut] if self._cut else [])]:
            items[call.index] = call.cut()
        return items

    def _leave(self, status: str = "completed", phase: str = "commentary") -> None:
        """Closes the open message or reasoning item. phase: of a message; what something follows is no final answer."""
        if self._thinking is not None:
            self._close_thinking(self._thinking)
        if self._message is not None:
            self._close_message(self._message, status, phase)

    # ---- messages ----

    def _text_start(self, event: TextStart) -> None:
        if event.apart or self._apart or self._message is None:
            self._leave()
        if self._reply.recall is not None:
            self._reply.recall.spoke()
        self._apart = False
        self._text_part = event.part
        self._citations = []
        self._base = 0
        if self._message is not None and self._message.kind == "output_text":
            self._base = self._message.extent()

    def _text(self, event: Text) -> None:
        message = self._message_part("output_text")
        if not self._logprobs or not event.logprobs:
            self._out.append(self._piece(message, event.text))
            return
        message.pieces.append(event.text)
        entries = spelt_out(event.logprobs)
        message.logprobs += entries
        self._emit("response.output_text.delta", **self._place(message), delta=event.text, logprobs=entries)

    def _refusal(self, event: Refusal) -> None:
        self._refused = True
        self._out.append(self._piece(self._message_part("refusal"), event.text))

    def _citation(self, event: Citation) -> None:
        if event.url:
            self._citations.append(event)
        else:
            self._reply.unsaid.add(event.label)

    def _message_part(self, kind: str) -> Message:
        """The message with an open part of this kind, opened if necessary."""
        message = self._message
        if message is None:
            self._leave()
            index, id = self._announce("message", role="assistant", status="in_progress", content=[])
            message = self._message = Message(index, id)
        if message.kind != kind:
            self._close_part(message)
            message.kind = kind
            place = self._place(message)
            if kind == "refusal":
                message.frame = self._delta_frame("response.refusal.delta", place)
            else:
                message.frame = self._delta_frame("response.output_text.delta", place, b',"logprobs":[]}')
                self._base = 0
            self._emit("response.content_part.added", **place, part=message.part())
        return message

    def _place(self, message: Message) -> _Value:
        return {"item_id": message.id, "output_index": message.index, "content_index": len(message.content)}

    def _cite(self, message: Message) -> None:
        """Write the citations of the hub's text part that just ended."""
        end = message.extent()
        for citation in self._citations:
            whole = citation.start is None or citation.end is None
            annotation = {
                "type": "url_citation",
                "url": citation.url,
                "title": citation.title,
                "start_index": self._base if whole else min(self._base + citation.start, end),  # type: ignore[operator]
                "end_index": end if whole else min(self._base + citation.end, end),  # type: ignore[operator]
            }
            self._emit(
                "response.output_text.annotation.added",
                **self._place(message), annotation_index=len(message.annotations), annotation=annotation,
            )  # fmt: skip
            message.annotations.append(annotation)

    def _close_part(self, message: Message) -> None:
        if not message.kind:
            return
        place, part = self._place(message), message.part()
        if message.kind == "refusal":
            self._emit("response.refusal.done", **place, refusal=part["refusal"])
        else:
            self._emit("response.output_text.done", **place, text=part["text"], logprobs=part["logprobs"])
        self._emit("response.content_part.done", **place, part=part)
        message.content.append(part)
        message.kind = ""
        message.pieces, message.annotations, message.logprobs = [], [], []
        message.counted = message.length = 0

    def _close_message(self, message: Message, status: str, phase: str) -> None:
        self._close_part(message)
        self._message = None
        item = message.item(status)
        self._done(message.index, item | {"phase": phase} if self._phases and phase else item)
        if message.seal is not None and status == "completed":
            self._close_thinking(Thinking(seal=message.seal, of_text=True))
        elif message.seal is not None:  # nothing may follow an item that is incomplete
            self._reply.unsaid.add("message:signature")

    # ---- reasoning ----

    def _reasoning_start(self, event: ReasoningStart) -> None:
        if self._message is not None or (self._thinking is not None and self._thinking.seal is not None):
            self._leave()
        self._thinking = self._thinking or Thinking()

    def _open_thinking(self) -> Thinking:
        """The open reasoning item; a new one if a refusal closed it."""
        if self._thinking is None:
            self._leave()
            self._thinking = Thinking()
        return self._thinking

    def _reasoning(self, event: Reasoning) -> None:
        thinking = self._open_thinking()
        if thinking.index < 0:
            self._announce_thinking(thinking)
        if not thinking.pieces:
            place = self._thinking_place(thinking)
            thinking.frame = self._delta_frame(f"{self._shown.text}.delta", place)
            self._emit(f"{self._shown.part}.added", **place, part={"type": self._shown.kind, "text": ""})
        self._out.append(self._piece(thinking, event.text))

    def _announce_thinking(self, thinking: Thinking) -> None:
        members: _Value = {"summary": []} if self._shown is _SUMMARY else {"summary": [], "content": []}
        thinking.index, thinking.id = self._announce("reasoning", **members)

    def _thinking_place(self, thinking: Thinking) -> _Value:
        return {"item_id": thinking.id, "output_index": thinking.index, self._shown.place: len(thinking.texts)}

    def _seal(self, event: Seal) -> None:
        if event.part == self._text_part and event.form == "google" and self._keeps_seals:
            if self._message is None:
                self._close_thinking(Thinking(seal=event, of_text=True))
            else:
                self._message.seal = event
        elif event.part == self._text_part or event.form not in _FORMS:
            self._reply.unsaid.add(f"{'message' if event.part == self._text_part else 'reasoning'}:signature")
        else:
            self._open_thinking().last = event

    @property
    def _keeps_seals(self) -> bool:
        """Whether what follows a text and is of no use but to come back is kept: by the caller, who asks for it, or with the response."""
        body = self._reply.request.body
        include = body.get("include")
        return body.get("store") is not False or (isinstance(include, list) and "reasoning.encrypted_content" in include)

    def _close_run(self, thinking: Thinking) -> None:
        """End one hub part of reasoning; the item stays open for an adjacent part."""
        text = "".join(thinking.pieces)
        if text:
            place = self._thinking_place(thinking)
            self._emit(f"{self._shown.text}.done", **place, text=text)
            self._emit(f"{self._shown.part}.done", **place, part={"type": self._shown.kind, "text": text})
            thinking.texts.append(text)
            thinking.pieces = []
        last, thinking.last = thinking.last, None
        if self._reply.recall is not None:
            self._reply.recall.thought(text, [] if last is None else [last])
        if last is None:
            return
        if last.form == "anthropic":
            thinking.blocks.append({"type": "thinking", "thinking": text, "signature": last.value})
        elif last.form == "redacted":
            thinking.blocks.append({"type": "redacted_thinking", "data": last.value})
        else:
            thinking.seal = last

    def _close_thinking(self, thinking: Thinking) -> None:
        self._thinking = None
        self._close_run(thinking)
        raw = self._raw(thinking)
        if not raw:
            return
        if thinking.index < 0:
            self._announce_thinking(thinking)
        self.raw_reasoning[thinking.index] = raw
        self._done(thinking.index, self._thinking_item(thinking, "completed"))

    def _raw(self, thinking: Thinking) -> list[_Value] | str:
        """What the upstream of the next turn needs of the item."""
        if thinking.blocks:
            return thinking.blocks
        seal = thinking.seal
        if seal is not None and seal.value:
            summary = [{"type": "summary_text", "text": text} for text in seal.summary]
            value = seal.value if seal.form == "openai" else self._enveloped(thinking)
            return [{"type": "reasoning", "id": seal.id, "summary": summary, "encrypted_content": value}]
        return "\n\n".join(thinking.texts)

    def _thinking_item(self, thinking: Thinking, status: str) -> _Value:
        texts = [*thinking.texts, "".join(thinking.pieces)] if thinking.pieces else thinking.texts
        parts = [{"type": self._shown.kind, "text": text} for text in texts]
        item: _Value = {"id": thinking.id, "type": "reasoning", "summary": []}
        item["summary" if self._shown is _SUMMARY else "content"] = parts
        sealed = self._sealed(thinking)
        if sealed is not None:
            item["encrypted_content"] = sealed
        return item | {"status": status}

    def _sealed(self, thinking: Thinking) -> str | None:
        """The encrypted_content for the client to send back: the provider's own for this shape, else the gateway's envelope."""
        if thinking.blocks:
            return reasoning.seal_blocks(self._reply.domain, thinking.blocks)
        seal = thinking.seal
        if seal is None or not seal.value:
            foreign = thinking.texts and self._reply.upstream != NAME
            return reasoning.seal_text(self._reply.domain, "\n\n".join(thinking.texts)) if foreign else None
        if seal.form != "openai":
            return self._enveloped(thinking)
        if self._reply.upstream == NAME:
            return seal.value
        return reasoning.seal_item(self._reply.domain, seal.id, seal.value, seal.summary)

    def _enveloped(self, thinking: Thinking) -> str:
        """The envelope of a seal that items of this shape cannot contain."""
        seal = thinking.seal
        assert seal is not None
        if seal.form == "details":
            return reasoning.seal_details(self._reply.domain, jsontext.loads(seal.value))
        return reasoning.seal_call(self._reply.domain, seal, thinking.of_text)

    # ---- tool calls ----

    def _tool_start(self, event: ToolStart) -> None:
        if event.seal is not None:  # in a reasoning item directly before the call, which clients send back with it
            if self._message is not None or self._thinking is None or self._thinking.sealed:
                self._leave()
            thinking = self._thinking or Thinking()
            self._close_run(thinking)
            thinking.seal = event.seal
            self._close_thinking(thinking)
        self._leave()
        members: _Value = {"call_id": self._ids.call(event.id, self._upstream_id, self._tools)}
        if self._reply.recall is not None:
            self._reply.recall.called(members["call_id"], event.seal)
        self._tools += 1
        type = self._reply.request.own_tools.get(event.name)
        if type is not None:
            own = OWN[type]
            index, _ = self._announce(own.call, **members, **own.announced(), status="in_progress")
            self._own_calls[event.part] = Call(index, self._items[index], "", own=own)
            return
        kind, key, name = _CALLS.get(event.kind, _CALLS["function"])
        members["name"] = event.name
        namespace = event.namespace or (event.name if event.name in self._reply.request.self_named else None)
        if namespace is not None:
            members["namespace"] = namespace
        index, id = self._announce(kind, **members, **{key: ""}, status="in_progress")
        frame = self._delta_frame(f"{name}.delta", {"item_id": id, "output_index": index})
        self._calls[event.part] = Call(index, self._items[index], key, name, frame)

    def _arguments(self, event: Arguments) -> None:
        call = self._own_calls.get(event.part)
        if call is not None:
            call.pieces.append(event.text)
        else:
            self._out.append(self._piece(self._calls[event.part], event.text))

    def _part_stop(self, event: PartStop) -> None:
        call = self._calls.pop(event.part, None) or self._own_calls.pop(event.part, None)
        if call is not None:
            self._call_over(call)
        elif event.part == self._text_part:
            self._text_part = -1
            if self._citations and self._message is not None and self._message.kind == "output_text":
                self._cite(self._message)
        elif self._thinking is not None:
            self._close_run(self._thinking)

    def _call_over(self, call: Call) -> None:
        if call.own is not None:
            self._own_over(call, call.own)
            return
        text = "".join(call.pieces)
        if call.key == "arguments" and not text.strip():  # no arguments at all; the official SDKs parse them as JSON
            self._out.append(self._piece(call, text := "{}"))
        if call.index == len(self._items) - 1 and (call.key == "input" or not jsontext.is_json(text)):
            self._cut = call
        else:  # also what something stands behind: only the last item of an answer can be incomplete
            self._close_call(call, "completed")

    def _close_call(self, call: Call, status: str) -> None:
        self._cut = None
        text = "".join(call.pieces)
        self._emit(f"{call.event}.done", item_id=call.item["id"], output_index=call.index, **{call.key: text})
        self._done(call.index, call.item | {call.key: text, "status": status})

    def _own_over(self, call: Call, own: OwnTool) -> None:
        members = own.item("".join(call.pieces))
        if members is None:
            self._unread.append(call)
        else:
            self._done(call.index, call.item | members | {"status": "completed"})

    def _leave_unread(self, call: Call, status: str) -> None:
        """Raises errors.Garbled for a call that its caller cannot run, unless the answer was cut."""
        if status == "completed":
            kind = call.item["type"]
            raise Garbled(f"The model's {kind} cannot be read.", jsontext.described("".join(call.pieces).encode()))
        self._done(call.index, call.cut())

    # ---- summaries ----

    def _compacting(self, event: Compacting) -> None:
        self._leave()
        assert self._head is not None
        index = len(self._items)
        self._emit("response.compaction.compacting", item_id=item_id(self._head["id"], index, "compaction"), output_index=index)

    def _compaction(self, event: Compaction) -> None:
        self._leave()
        model = self._reply.request.model
        sealed = compaction.seal(event.summary, model, self._reply.completed or self._reply.created, event.tokens)
        index, _ = self._announce("compaction", encrypted_content=sealed)
        self._done(index, self._items[index])

    def _media(self, event: Media) -> None:
        """An image that the model made, as the image tool's call."""
        self._leave()
        index, _ = self._announce("image_generation_call", status="in_progress", result=None)
        self._done(index, self._items[index] | {"status": "completed", "result": event.data})

    # ---- events without a form in this shape ----

    def _ping(self, event: Ping) -> None:
        """Ignored: keeping the stream alive is up to the code that serialises frames."""

    def _opaque(self, event: Opaque | Search) -> None:
        self._apart = self._apart or not (isinstance(event, Opaque) and event.within)
        self._reply.unsaid.add(event.label)


_LEAVE_CUT = (Metered, Stop, Ping, Opaque, Fault)

_ON: dict[type, Callable[[StreamEncoder, Any], None]] = {
    Start: StreamEncoder._start,
    TextStart: StreamEncoder._text_start,
    Text: StreamEncoder._text,
    ReasoningStart: StreamEncoder._reasoning_start,
    Reasoning: StreamEncoder._reasoning,
    Seal: StreamEncoder._seal,
    ToolStart: StreamEncoder._tool_start,
    Arguments: StreamEncoder._arguments,
    Refusal: StreamEncoder._refusal,
    Citation: StreamEncoder._citation,
    PartStop: StreamEncoder._part_stop,
    Opaque: StreamEncoder._opaque,
    Search: StreamEncoder._opaque,
    Media: StreamEncoder._media,
    Compacting: StreamEncoder._compacting,
    Compaction: StreamEncoder._compaction,
    Metered: StreamEncoder._metered,
    Stop: StreamEncoder._stop,
    Fault: StreamEncoder._fault,
    Ping: StreamEncoder._ping,
}
