"""Decode a responses upstream's answer, streamed or complete, into hub events.

A stream is a list of items, each with an output_index that its events repeat; items may overlap. Items are identified by that index
and never by their id, because some providers change ids inside a stream. Tool calls are passed on immediately; of overlapping
messages and reasoning items one is passed on at a time, the others wait. A complete answer is treated as the last event of a stream
without other events: content of the last event that was not streamed is added at the end. Items of hosted tools become one `Opaque`
each. Source: OpenAI, "Responses: streaming events".
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any

import orjson

from .. import compaction, errors, jsontext, quirks
from ..anything import dict_of, dicts_of, int_of, placed_dicts_of, seconds_of, str_of
from ..arguments import behind_nothing, held_of_nothing
from ..chat.errors_in import error_of
from ..endings import UNKNOWN, empty_answer
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
    Refusal,
    Seal,
    Search,
    Start,
    Stop,
    Text,
    TextStart,
    ToolStart,
    with_usage,
)
from ..jsontext import SurrogateJoiner
from ..reply import Reply
from ..sse import Frame
from ..tools import ToolText, not_allowed
from ..usage import Usage, from_responses
from .seen import SeenItem, SeenItems, SeenPart, implied, is_another, placed

_Value = dict[str, Any]

ADDED = "response.output_item.added"
CALLS = {"function_call": "arguments", "custom_tool_call": "input"}  # item type -> the member with its text
# what a delta event belongs to; for reasoning: the kind of text, and the member with its index
_ARGUMENTS = frozenset({"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"})
_THOUGHTS = {
    "response.reasoning_summary_text.delta": ("summary", "summary_index"),
    "response.reasoning_text.delta": ("content", "content_index"),
    "response.reasoning.delta": ("content", "content_index"),
}
_SEARCH, _COMPACTION = "web_search_call", "compaction"
_MOST_OPEN = 256  # items not done at the same time
_LONGEST_LABEL = 64


def _compaction(item: SeenItem, sealed: str) -> Event:
    """A summary of a gateway's; those of providers are for them alone to read."""
    label, summary = f"output[{item.index}]:{item.kind}", compaction.unseal(sealed)
    return Opaque(label) if summary is None else Compaction(summary, compaction.stands_for(sealed), label)


def _search(item: SeenItem, action: _Value) -> Event:
    """The event of a finished web search; opening or searching a page is only reported as opaque."""
    label = f"output[{item.index}]:{item.kind}"
    if action.get("type") != "search":
        return Opaque(label)
    queries = action.get("queries")
    several = [query for query in queries if isinstance(query, str)] if isinstance(queries, list) else []
    query = str_of(action, "query") or ", ".join(several)
    sources = tuple(dict.fromkeys(url for source in dicts_of(action, "sources") if (url := str_of(source, "url"))))
    return Search(item.id, query, sources, label)


class StreamDecoder:
    """Decodes one answer. ended: Stop or Fault was returned; later frames are ignored. counted: the usage is that of all of the answer."""

    def __init__(self, reply: Reply) -> None:
        self.ended = False
        self.usage: Usage | None = None  # this shape reports it only at the end
        self._tools = reply.tools
        self._unsaid = reply.unsaid
        self._logprobs = reply.request.include_logprobs
        self._items = SeenItems()
        self._waiting: list[int] = []  # a heap: items with events that wait for their turn
        self._started = False
        self._parts = 0
        self._shared: set[int] = set()  # indexes used by more than one item
        self._floor: SeenItem | None = None  # the message or reasoning item being passed on
        self._open: SeenItem | None = None  # the item with the open text or reasoning part
        self._message: SeenItem | None = None  # the message of the last text, if no other part followed it
        self._calls = 0
        self._hosted = ""  # the type of the first item that no other shape has

    @property
    def counted(self) -> bool:
        return self.usage is not None and (self.usage.output > 0 or not self._items.of)

    def feed(self, frame: Frame) -> list[Event]:
        """Return the events of one frame. Never raises: an invalid frame becomes a Fault."""
        if self.ended:
            return []
        try:
            value = orjson.loads(frame[1])
        except orjson.JSONDecodeError:
            return self._patient(frame)
        if type(value) is dict:
            text = value.get("delta")
            if type(text) is str and text:
                event = self._usual(value, text)
                if event is not None:
                    return [event]
        return self._frame(frame[0], value)

    def _usual(self, value: _Value, text: str) -> Event | None:
        """The event for the next piece of the open text or call, the most frequent case; None for other frames."""
        kind = value.get("type")
        index = value.get("output_index")
        if kind == "response.output_text.delta":
            item = self._open
            if item is not None and item.index == index and item.plain and item.place == ("text", value.get("content_index")):
                return Text(item.part, text)
        elif type(kind) is not str:
            return None
        elif kind in _THOUGHTS:
            item = self._open
            source, place = _THOUGHTS[kind]
            if item is not None and item.index == index and item.plain and item.thought == (source, value.get(place)):
                return Reasoning(item.part, text)
        elif kind in _ARGUMENTS and type(index) is int:
            item = self._items.of.get(index)
            if item is not None and item.plain and item.begun and not item.done:
                return Arguments(item.part, text)
        return None

    def finish(self, clean: bool) -> list[Event]:
        """Return the last events, at the end of the transport. clean: it was not broken off. Without a terminal event: a Fault."""
        if self.ended:
            return []
        return self._fault(errors.Truncated("The upstream's answer ended before it was complete.", "" if clean else "broken off"))

    def whole(self, body: _Value) -> list[Event]:
        """Return the events of a complete answer. Never raises: an invalid answer becomes a Fault."""
        self._count(body)
        if body.get("object") != "response" and not isinstance(body.get("output"), list):
            return self._error(body) if is_error(body) else self._garbled("an answer that is no response")
        if body.get("status") in ("queued", "in_progress"):
            return self._garbled("a response that has not ended")
        return list(self._terminal({"response": jsontext.mended(body)}))

    # ---- frames ----

    def _patient(self, frame: Frame) -> list[Event]:
        """Read a frame that orjson rejects: lone surrogates, long numbers, the chat shape's [DONE], or invalid JSON."""
        if frame[1].strip() == b"[DONE]":
            return []
        try:
            value = jsontext.loads(frame[1])
        except ValueError:
            return self._garbled("an event that is not JSON")
        if isinstance(value, dict):
            delta = value.pop("delta", None)  # its other half may be in the next frame
            value = jsontext.mended(value) | {"delta": delta}
        return self._frame(frame[0], value)

    def _frame(self, name: bytes, value: Any) -> list[Event]:
        if not isinstance(value, dict):
            return self._garbled("an event that is not a JSON object")
        kind = value.get("type")
        if not isinstance(kind, str):
            kind = name.decode("utf-8", "replace")
        handler = _HANDLERS.get(kind)
        if handler is not None:
            return list(handler(self, value))
        if kind in _OF_ITEMS:
            return list(self._of_item(kind, value))
        broken = kind == "error" or (not kind.startswith("response.") and is_error(value))
        if broken:
            return self._error(value)
        self._ignore(kind, value)
        return []

    def _ignore(self, kind: str, value: _Value) -> None:
        """Report an unknown event, unless it belongs to a hosted tool's item, which is reported as a whole."""
        index = value.get("output_index")
        item = self._items.of.get(index) if isinstance(index, int) else None
        hosted = item is not None and item.kind not in IN_TURN and item.kind not in CALLS
        if not hosted and kind not in _SAID_LATER and not kind.startswith(quirks.PROGRESS):
            self._unsaid.add(f"event:{kind[:_LONGEST_LABEL]}")

    def _created(self, value: _Value) -> Iterator[Event]:
        if not self._started:
            self._started = True
            response = dict_of(value, "response")
            yield Start(str_of(response, "id"), str_of(response, "model"), seconds_of(response, "created_at"))

    def _keepalive(self, value: _Value) -> Iterator[Event]:
        yield Ping()

    def _of_item(self, kind: str, value: _Value) -> Iterator[Event]:
        """Handle an event of one item: immediately, or when its turn comes."""
        yield from self._created({})
        item = self._item(kind, value)
        if item is None:
            yield from self._garbled("too many items at once")
            return
        if item.done or (item.kind in CALLS and kind not in _OF_CALLS):
            return
        if item.kind in CALLS or item.kind not in IN_TURN:
            yield from _OF_ITEMS[kind](self, item, value)
        elif self._floor in (None, item):
            self._floor = item
            yield from _OF_ITEMS[kind](self, item, value)
            if item.done:
                yield from self._next()
        else:
            if not item.waiting:
                heappush(self._waiting, item.index)
            item.waiting.append((kind, value))

    def _next(self) -> Iterator[Event]:
        """Pass on the waiting items, in order, after the current one has ended."""
        self._floor = None
        while self._floor is None and self._waiting:
            item = self._items.of[heappop(self._waiting)]
            waiting, item.waiting = item.waiting, []
            for kind, value in waiting:
                if not item.done:
                    yield from _OF_ITEMS[kind](self, item, value)
            self._floor = None if item.done else item  # its waiting events may have completed it

    def _item(self, kind: str, value: _Value) -> SeenItem | None:
        """The item of an event, created if it was not announced; None if there are too many."""
        whole = dict_of(value, "item")
        index = self._place(kind, value, whole)
        item = self._items.of.get(index)
        if item is None:
            if len(self._items.unfinished) == _MOST_OPEN:
                return None
            item = self._items.add(index, plain=not (self._logprobs or self._shared))
        item.kind = item.kind or (str_of(whole, "type") or implied(kind, value))[:_LONGEST_LABEL]
        name = str_of(whole, "name")
        if item.kind == "custom_tool_call" and name.startswith(quirks.HOSTED_CALLS) and not self._tools.declares(name):
            item.kind = name[:_LONGEST_LABEL]
        item.announced = item.announced or kind == ADDED
        self._items.name(item, str_of(whole, "id") or str_of(value, "item_id"), str_of(whole, "call_id"))
        return item

    def _place(self, kind: str, value: _Value, whole: _Value) -> int:
        """The index of an event's item; a new one if the item is unknown."""
        index = value.get("output_index")
        id, call_id = str_of(value, "item_id") or str_of(whole, "id"), str_of(whole, "call_id")
        if isinstance(index, int):
            item = self._items.of.get(index)
            if item is not None and kind == ADDED and is_another(item, whole):
                self._shared.add(index)  # the server numbers items wrongly: from now on they are identified by id
                item.plain = False
                return self._items.newest + 1
            if index not in self._shared:
                return index
        item = self._items.named(id, call_id)
        if item is None and kind != ADDED and (not id or isinstance(index, int)):  # without an id, the last of its type that is not done
            type = implied(kind, value)
            unfinished = reversed(self._items.unfinished.values())
            item = next((item for item in unfinished if type in ("", item.kind)), None)
        if item is not None:
            return item.index
        return index if isinstance(index, int) else self._items.newest + 1

    # ---- text ----

    def _enter(self, item: SeenItem, place: tuple[str, int], start: Callable[[int], Event]) -> Iterator[Event]:
        """Open a text or reasoning part unless it is open already."""
        if self._open is item and item.place == place:
            return
        yield from self._leave()
        item.part = self._parts
        self._parts += 1
        item.place = place
        self._open = item
        yield start(item.part)

    def _leave(self) -> Iterator[Event]:
        """Close the open text or reasoning part, if any."""
        item, self._open = self._open, None
        if item is None:
            return
        if item.joiner is not None and (rest := item.joiner.finish()):
            yield Text(item.part, rest) if item.place[0] == "text" else Reasoning(item.part, rest)
        yield PartStop(item.part)
        item.part = -1
        item.thought = ("", -1)

    def _piece(self, item: SeenItem, text: str) -> str:
        """The piece of text with surrogate halves joined; a trailing half is held back."""
        if item.joiner is None:
            if text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text):
                return text
            item.joiner = SurrogateJoiner()
            item.plain = False
        return item.joiner.feed(text)

    def _text(self, item: SeenItem, index: int, text: str, logprobs: Any = None) -> Iterator[Event]:
        item.parts.setdefault(("text", index), SeenPart()).streamed |= bool(text)
        text = self._piece(item, text)
        if text:
            apart = self._message not in (None, item)
            self._message = item
            yield from self._enter(item, ("text", index), lambda part: TextStart(part, apart))
            entries = logprobs if self._logprobs and isinstance(logprobs, list) and logprobs else None
            yield Text(item.part, text, entries)

    def _text_delta(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        yield from self._text(item, int_of(value, "content_index"), str_of(value, "delta"), value.get("logprobs"))

    def _text_done(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        index = int_of(value, "content_index")
        if not item.parts.setdefault(("text", index), SeenPart()).streamed:
            yield from self._text(item, index, str_of(value, "text"), value.get("logprobs"))

    def _annotation(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        yield from self._cite(item, int_of(value, "content_index"), dict_of(value, "annotation"))

    def _cite(self, item: SeenItem, index: int, annotation: _Value) -> Iterator[Event]:
        seen = item.parts.setdefault(("text", index), SeenPart())
        seen.cited += 1
        kind, url = str_of(annotation, "type"), str_of(annotation, "url")
        if kind != "url_citation" or not url:
            label = kind[:_LONGEST_LABEL]
            yield Opaque(f"output[{item.index}].content[{index}].annotations[{seen.cited - 1}]:{label}")
        elif self._open is item and item.place == ("text", index):
            start, end = annotation.get("start_index"), annotation.get("end_index")
            ranged = isinstance(start, int) and isinstance(end, int) and 0 <= start < end
            yield Citation(item.part, url, str_of(annotation, "title"), start if ranged else None, end if ranged else None)

    def _refusal(self, item: SeenItem, index: int, text: str) -> Iterator[Event]:
        item.parts.setdefault(("refusal", index), SeenPart()).streamed |= bool(text)
        if text:
            yield from self._leave()
            yield Refusal(text)

    def _refusal_delta(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        yield from self._refusal(item, int_of(value, "content_index"), str_of(value, "delta"))

    def _refusal_done(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        index = int_of(value, "content_index")
        if not item.parts.setdefault(("refusal", index), SeenPart()).streamed:
            yield from self._refusal(item, index, str_of(value, "refusal"))

    def _part_done(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        part, index = dict_of(value, "part"), int_of(value, "content_index")
        yield from self._content(item, index, part)
        if self._open is item and item.kind == "message" and item.place == ("text", index):
            yield from self._leave()

    def _content(self, item: SeenItem, index: int, part: _Value) -> Iterator[Event]:
        """Pass on what was not streamed of a complete content part."""
        kind = str_of(part, "type")
        if kind == "output_text":
            yield from self._text_done(item, {"content_index": index, **part})
            annotations = part.get("annotations")
            seen = item.parts[("text", index)].cited
            for annotation in annotations[seen:] if isinstance(annotations, list) else []:
                yield from self._cite(item, index, annotation if isinstance(annotation, dict) else {})
        elif kind == "refusal":
            yield from self._refusal_done(item, {"content_index": index, **part})
        elif kind == "reasoning_text":
            yield from self._thought_done(item, "content", index, str_of(part, "text"))
        elif ("", index) not in item.parts:
            item.parts["", index] = SeenPart()
            self._unsaid.add(f"output[{item.index}].content[{index}]:{kind[:_LONGEST_LABEL]}")

    # ---- reasoning ----

    def _thought(self, item: SeenItem, source: str, index: int, text: str) -> Iterator[Event]:
        item.source = item.source or source
        if item.source != source or not text:
            return
        seen = item.parts.setdefault((source, index), SeenPart())
        apart = item.text_sent and not seen.streamed
        seen.streamed = True
        text = self._piece(item, text)
        if text:
            yield from self._enter(item, ("reasoning", 0), ReasoningStart)
            self._message = None
            yield Reasoning(item.part, "\n\n" + text if apart else text)
            item.text_sent = True
            item.thought = (source, index)

    def _thought_done(self, item: SeenItem, source: str, index: int, text: str) -> Iterator[Event]:
        seen = item.parts.get((source, index))
        if seen is None or not seen.streamed:
            yield from self._thought(item, source, index, text)

    def _summary_delta(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        yield from self._thought(item, "summary", int_of(value, "summary_index"), str_of(value, "delta"))

    def _summary_done(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        text = str_of(value, "text") or str_of(dict_of(value, "part"), "text")
        yield from self._thought_done(item, "summary", int_of(value, "summary_index"), text)

    def _reasoning_delta(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        yield from self._thought(item, "content", int_of(value, "content_index"), str_of(value, "delta"))

    def _reasoning_done(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        yield from self._thought_done(item, "content", int_of(value, "content_index"), str_of(value, "text"))

    def _seal(self, item: SeenItem, whole: _Value) -> Iterator[Event]:
        """Complete a reasoning item: text that was not streamed, then its seal."""
        summary = tuple(str_of(part, "text") for part in placed_dicts_of(whole, "summary"))
        for index, text in enumerate(summary):
            yield from self._thought_done(item, "summary", index, text)
        for index, part in placed(placed_dicts_of(whole, "content"), item.parts):
            yield from self._content(item, index, part)
        encrypted = str_of(whole, "encrypted_content")
        if encrypted:
            yield from self._enter(item, ("reasoning", 0), ReasoningStart)
            self._message = None
        if self._open is item:
            yield Seal(item.part, "openai", encrypted, str_of(whole, "id") or item.id, summary)

    # ---- tool calls ----

    def _call(self, item: SeenItem, whole: _Value) -> Iterator[Event]:
        """Open a call once its name is known."""
        name = str_of(whole, "name")
        if item.part >= 0 or not name:
            return
        if self._tools.refuses(name):
            yield from self._fault(not_allowed())
            return
        yield from self._leave()
        declared = self._tools.restore(name)
        custom = item.kind == "custom_tool_call"
        if declared.emulated and not custom:
            item.text = ToolText(declared)
            item.plain = False
        item.part = self._parts
        self._parts += 1
        self._calls += 1
        self._message = None
        kind = "custom" if custom or declared.emulated else "function"
        yield ToolStart(item.part, item.call_id, declared.name, kind, str_of(whole, "namespace") or declared.namespace)
        held, item.held = "".join(item.held), []
        if held:
            yield from self._arguments(item, held)

    def _arguments(self, item: SeenItem, text: str) -> Iterator[Event]:
        if item.kind not in CALLS:
            return
        item.streamed |= bool(text)
        if item.part < 0:
            item.held.append(text)
            return
        if not item.begun and item.kind == "function_call":
            text = (item.null + text).lstrip(" \t\r\n")
            if (held := held_of_nothing(text)) is not None:
                item.null = held
                return
            text = behind_nothing(text)
        item.begun = item.begun or bool(text)
        text = self._piece(item, text)
        if item.text is not None:
            text = item.text.feed(text)
        if text:
            yield Arguments(item.part, text)

    def _arguments_delta(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        yield from self._arguments(item, str_of(value, "delta"))

    def _arguments_done(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        yield from self._call(item, value)
        if not item.streamed:
            yield from self._arguments(item, jsontext.argument_text(value.get(CALLS.get(item.kind, "arguments"))))

    def _close_call(self, item: SeenItem) -> Iterator[Event]:
        if item.part < 0:
            if item.held:
                yield from self._garbled("a tool call without a name")
            return
        rest = item.joiner.finish() if item.joiner is not None else ""
        if not item.begun and item.null.strip() != "null":
            rest = item.null
        if item.text is not None:
            rest = item.text.feed(rest) + item.text.finish()
        if rest:
            yield Arguments(item.part, rest)
        yield PartStop(item.part)

    # ---- items ----

    def _added(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        whole = dict_of(value, "item")
        if item.kind in CALLS:
            yield from self._call(item, whole)
            yield from self._arguments(item, jsontext.argument_text(whole.get(CALLS[item.kind]) or None))
        elif item.kind not in IN_TURN and item.kind not in (_SEARCH, _COMPACTION):
            self._hosted = self._hosted or item.kind
            yield Opaque(f"output[{item.index}]:{item.kind}")

    def _done(self, item: SeenItem, value: _Value) -> Iterator[Event]:
        if item.done:
            return
        whole = dict_of(value, "item")
        if item.kind in CALLS:
            yield from self._arguments_done(item, whole)
            yield from self._close_call(item)
        elif item.kind == "message":
            for index, part in placed(placed_dicts_of(whole, "content"), item.parts):
                yield from self._content(item, index, part)
        elif item.kind == "reasoning":
            yield from self._seal(item, whole)
        elif item.kind == _SEARCH:
            yield _search(item, dict_of(whole, "action"))
        elif item.kind == _COMPACTION:
            event = _compaction(item, str_of(whole, "encrypted_content"))
            if isinstance(event, Opaque):
                self._hosted = self._hosted or item.kind
            yield event
        if self._open is item:
            yield from self._leave()
        item.done = True
        del self._items.unfinished[item.index]

    # ---- the end ----

    def _terminal(self, value: _Value) -> Iterator[Event]:
        response = dict_of(value, "response")
        yield from self._created(value)
        self._count(response)
        if response.get("status") in FAILED:
            yield from self._failed(value)
            return
        yield from self._made_up(response)
        for item in list(self._items.of.values()):
            if not self.ended:
                yield from self._done(item, {})
        if self.ended:
            return
        if value.get("type") == "response.incomplete":
            response = response | {"status": "incomplete"}
        reason = reason_of(response, self._calls > 0)
        if self._hosted and reason == "end" and not self._spoke():
            yield from self._fault(empty_answer(self._hosted))
            return
        self._report(response, reason)
        if self.usage is not None:
            yield Metered(self.usage)
        self.ended = True
        yield Stop(reason or UNKNOWN)

    def _spoke(self) -> bool:
        """Whether the model said something, in a text or a refusal."""
        parts = (part for item in self._items.of.values() for part in item.parts.items())
        return any(seen.streamed and kind in ("text", "refusal") for (kind, _), seen in parts)

    def _report(self, response: _Value, reason: str) -> None:
        """Report members of the response that no other shape can express."""
        if not reason:
            why = str_of(dict_of(response, "incomplete_details"), "reason")
            self._unsaid.add(f"incomplete_details.reason:{why}" if why else f"status:{str_of(response, 'status')}")
        for key, member in response.items():
            if member and key not in quirks.OF_A_RESPONSE:
                self._unsaid.add(key[:_LONGEST_LABEL])

    def _made_up(self, response: _Value) -> Iterator[Event]:
        """Pass on what the final list of items contains and the stream did not: items, or their ends.

        An item is matched with the streamed item of the same id, else with the first one of its type that no id matches.
        """
        items = placed_dicts_of(response, "output")
        named = {item.id: item for item in self._items.of.values() if item.id}
        taken = {id(known) for whole in items if (known := named.get(str_of(whole, "id")))}
        rest = defaultdict[str, deque[SeenItem]](deque)  # by type
        for _, item in sorted(self._items.of.items()):
            if id(item) not in taken:
                rest[item.kind].append(item)
        for whole in items:
            if self.ended:
                return
            known = named.get(str_of(whole, "id"))
            if known is None and (alike := rest[str_of(whole, "type")]):
                known = alike.popleft()
            index = self._items.newest + 1 if known is None else known.index
            event = {"output_index": index, "item": whole}
            if known is None:
                yield from self._of_item("response.output_item.added", event)
            if not self.ended:
                yield from self._of_item("response.output_item.done", event)

    def _failed(self, value: _Value) -> Iterator[Event]:
        response = dict_of(value, "response")
        self._count(response)
        if response.get("status") == "cancelled" or value.get("type") == "response.cancelled":
            yield from self._fault(errors.Broken("The upstream cancelled its answer.", code="response_cancelled"))
        else:
            yield from self._error({"error": dict_of(response, "error")})

    def _error(self, value: _Value) -> list[Event]:
        self._count(value)
        return self._fault(error_of(value))

    def _count(self, holder: _Value) -> None:
        """Read the usage, if there is one. holder: the response, or an error."""
        usage = holder.get("usage")
        if isinstance(usage, dict):
            self.usage = from_responses(usage, holder.get("service_tier"), holder.get("tool_usage"))

    def _garbled(self, what: str) -> list[Event]:
        return self._fault(errors.Garbled(f"The upstream sent {what}."))

    def _fault(self, error: errors.GatewayError) -> list[Event]:
        self.ended = True
        return [Fault(error, self.usage if self.counted else None)]


IN_TURN = frozenset({"message", "reasoning"})

_HANDLERS: dict[str, Callable[[StreamDecoder, _Value], Iterator[Event]]] = {
    "response.created": StreamDecoder._created,
    "response.queued": StreamDecoder._created,
    "response.in_progress": StreamDecoder._created,
    "response.completed": StreamDecoder._terminal,
    "response.incomplete": StreamDecoder._terminal,
    "response.failed": StreamDecoder._failed,
    "response.cancelled": StreamDecoder._failed,
    "keepalive": StreamDecoder._keepalive,
}
_OF_ITEMS: dict[str, Callable[[StreamDecoder, SeenItem, _Value], Iterator[Event]]] = {
    "response.output_item.added": StreamDecoder._added,
    "response.output_item.done": StreamDecoder._done,
    "response.output_text.delta": StreamDecoder._text_delta,
    "response.output_text.done": StreamDecoder._text_done,
    "response.output_text.annotation.added": StreamDecoder._annotation,
    "response.refusal.delta": StreamDecoder._refusal_delta,
    "response.refusal.done": StreamDecoder._refusal_done,
    "response.content_part.done": StreamDecoder._part_done,
    "response.reasoning_summary_text.delta": StreamDecoder._summary_delta,
    "response.reasoning_summary_text.done": StreamDecoder._summary_done,
    "response.reasoning_summary_part.done": StreamDecoder._summary_done,
    "response.reasoning_text.delta": StreamDecoder._reasoning_delta,
    "response.reasoning_text.done": StreamDecoder._reasoning_done,
    "response.reasoning.delta": StreamDecoder._reasoning_delta,  # Open Responses
    "response.reasoning.done": StreamDecoder._reasoning_done,
    "response.function_call_arguments.delta": StreamDecoder._arguments_delta,
    "response.function_call_arguments.done": StreamDecoder._arguments_done,
    "response.custom_tool_call_input.delta": StreamDecoder._arguments_delta,
    "response.custom_tool_call_input.done": StreamDecoder._arguments_done,
}
# their content is repeated, more completely, by later events
_SAID_LATER = frozenset({"response.content_part.added", "response.reasoning_summary_part.added"})
# events of a call; text events at its index belong to another item
_OF_CALLS = _ARGUMENTS | {
    "response.output_item.added",
    "response.output_item.done",
    "response.function_call_arguments.done",
    "response.custom_tool_call_input.done",
}
FAILED = ("failed", "cancelled")
_CUT = frozenset({"length", "context", "filter", "refusal", "pause"})  # reasons for which an answer can be incomplete


def is_error(value: _Value) -> bool:
    return value.get("type") == "error" or isinstance(value.get("error"), dict | str)


def decode_response(body: _Value, reply: Reply) -> list[Event]:
    """Decode a complete answer into the events of a stream. Never raises: an invalid answer becomes one Fault."""
    decoder = StreamDecoder(reply)
    return with_usage(decoder.whole(body), decoder.usage)


def reason_of(response: _Value, calls: bool) -> str:
    """The neutral reason of a finished response; "" if it is unknown. calls: whether the model called a tool."""
    status, why = str_of(response, "status"), str_of(dict_of(response, "incomplete_details"), "reason")
    if status == "incomplete":
        reason = quirks.ending(why)
        return reason if reason in _CUT else UNKNOWN if not why else ""
    if status and quirks.ending(status) != "end" and status not in ("queued", "in_progress"):
        return ""
    return "tool" if calls else "end"
