"""Decode a chat upstream's answer, streamed or complete, into hub events.

Chat completions have no explicit parts: the keys of a delta identify the part, and one chunk may contain several. The decoder keeps
at most one open text or reasoning part (`_open`) and one slot per tool call (calls_in.py). A slot becomes a part when its name is known.
The part ends when other content starts and its arguments are complete, because callers run a tool call as soon as its part ends.
The finish_reason does not end the answer: usage and, with some providers, further deltas follow it. The answer ends with [DONE], or
with the end of the stream after a finish_reason.

orjson rejects lone surrogates, so surrogate halves are joined only after it has rejected an event of the stream (`_joining`).

Source: OpenAI API reference, "Chat streaming"; deviations of other providers are named where they are handled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from .. import errors, jsontext, quirks
from ..anything import dicts_in, dicts_of, seconds_of, str_of
from ..arguments import Telling
from ..endings import UNKNOWN, failed, reason_of
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
    Refusal,
    Seal,
    Start,
    Stop,
    Text,
    TextStart,
    ToolStart,
    with_usage,
)
from ..jsontext import SurrogateJoiner
from ..likeness import CONTENT, NOTHING, around
from ..reply import Reply
from ..sse import Frame
from ..tools import ToolText, not_allowed
from ..usage import Usage, count, from_chat, merged
from .calls_in import Slot, Slots
from .chunks import choice_of, usage_of
from .details_in import ANTHROPIC, Entry, Verbatim, entry_text, entry_value, is_shared, seals, with_opaque
from .errors_in import error_of, is_error

INTERRUPTED = "The upstream's stream ended before the answer was complete."

_MOST_LABELS, _LONGEST_LABEL = 64, 64
_MOST_SOURCES = 256
_ANNOTATIONS = "choices[0].message.annotations"
_CALLS = frozenset({"function", "custom", ""})  # types of calls
# members of a delta or message that are read or carry no content
_KNOWN = frozenset(
    {
        "role",
        "content",
        "refusal",
        "annotations",
        "audio",
        "tool_calls",
        "function_call",
        "extra_content",
        "reasoning_details",
        *quirks.REASONING_FIELDS,
    }
)


@dataclass(slots=True)
class _Open:
    """The open text or reasoning part. length: its text so far, in code points."""

    part: int
    kind: type[Text] | type[Reasoning]
    length: int = 0
    joiner: SurrogateJoiner = field(default_factory=SurrogateJoiner)
    entries: dict[tuple[str, int], Entry] = field(default_factory=dict)
    verbatim: Verbatim = field(default_factory=Verbatim)  # instead of entries
    sealed: bool = False


class StreamDecoder:
    """Decodes the frames of one answer. ended: Stop or Fault was returned; later frames are ignored. counted: the usage is that of all
    that has come.
    """

    __slots__ = (
        "_before", "_calls", "_cited", "_early", "_finish", "_foreign", "_joining", "_late", "_lost", "_open",
        "_parts", "_past", "_received", "_sequence", "_slots", "_sources", "_spoken", "_started", "_thought", "_tier", "_tools",
        "_unfinished", "_unsaid", "_usage", "_usual", "_whole", "counted", "ended",
    )  # fmt: skip

    def __init__(self, reply: Reply) -> None:
        self.ended = False
        self._tools = reply.tools
        self._unsaid = reply.unsaid
        self._started = False
        self._parts = 0
        self._open: _Open | None = None
        self._before = 0  # code points in the text parts before the open one
        self._slots = Slots()
        self._unfinished: dict[int, Slot] = {}  # those whose part is open, by its number
        self._calls = 0
        self._joining = False
        self._usual: tuple[_Open, int, bytes, bytes] | None = None  # the open text, and what is around its last piece
        self._thought = Telling()
        self._spoken = False  # reasoning was sent as a string, so details only repeat it
        self._past: set[tuple[str, int]] = set()  # details entries whose part is over
        self._late: list[dict[str, Any]] = []  # entries without text received during a text part, which they must not split
        self._foreign: set[str] = set()  # labels already reported as unknown
        self._received = False  # part of an answer was received
        self._whole = False  # the answer is a complete body, not a stream
        self._lost = False  # content was received that no hub event can carry
        self._cited: set[str] = set()  # URLs
        self._early: list[tuple[str, str]] = []  # URL and title of sources received while no text was open
        self._sources: dict[str, list[Any]] = {}  # sources of the text as a whole, by member name
        self._usage: dict[str, Any] | None = None
        self.counted = False
        self._tier: Any = None
        self._finish: str | None = None
        self._sequence: str | None = None

    @property
    def usage(self) -> Usage | None:
        """The usage reported so far; None before the first report."""
        return None if self._usage is None else from_chat(self._usage, self._tier)

    def feed(self, frame: Frame) -> list[Event]:
        """Return the events of one frame. Never raises: an invalid frame becomes a Fault."""
        name, data = frame
        usual = self._usual
        if usual is not None:
            plain, start, head, tail = usual
            end = data.find(b'"', start)
            if data[end:] == tail and data.startswith(head) and not name:
                try:
                    text = orjson.loads(data[start - 1 : end + 1])
                except ValueError:
                    return self._unparsed(frame)
                if text:
                    plain.length += len(text)
                    return [Text(plain.part, text)]
        if self.ended:
            return []
        if data == _DONE:
            return self._unparsed(frame)
        opened = self._open
        try:
            chunk = orjson.loads(data)
        except ValueError:
            return self._unparsed(frame)
        # the common cases: a further piece of the open text, or of a call's arguments, and nothing else
        if type(chunk) is dict and not self._joining:
            choices = chunk.get("choices")
            if type(choices) is list and len(choices) == 1 and type(choices[0]) is dict:
                choice = choices[0]
                delta = choice.get("delta")
                if (
                    type(delta) is dict
                    and choice.get("finish_reason") is None
                    and choice.get("logprobs") is None
                    and choice.get("index", 0) == 0
                    and chunk.get("usage") is None
                    and not name
                    and _SPECIAL.isdisjoint(chunk)
                    and _SPECIAL.isdisjoint(choice)
                ):
                    if "tool_calls" in delta:
                        further = self._slots.continued(delta)
                        if further is not None:
                            self.counted = False
                            return [further]
                    elif (
                        opened is not None
                        and opened.kind is Text
                        and (len(delta) == 1 or (len(delta) == 2 and "role" in delta))
                        and type(text := delta.get("content")) is str
                        and text
                    ):
                        surroundings = around(data, CONTENT)
                        self._usual = None if surroundings is NOTHING else (opened, *surroundings)
                        self.counted = False
                        opened.length += len(text)
                        return [Text(opened.part, text)]
        return self._chunk(name, chunk)

    def finish(self, clean: bool) -> list[Event]:
        """Return the last events, at the end of the transport. clean: the HTTP body was complete. Must be called once."""
        if self.ended:
            return []
        if clean and self._finish is not None:
            return self._end()
        return self._fault(errors.Truncated(INTERRUPTED, "" if clean else "broken off"))

    def whole(self, body: Any) -> list[Event]:
        """Return the events of a complete body. Never raises: an invalid body becomes a Fault."""
        if not isinstance(body, dict):
            return self._garbled("an answer that is not a JSON object")
        if is_error(body):
            return self._chunk(b"", body)
        choice = choice_of(body)
        if choice is None or not (isinstance(choice.get("message", choice.get("delta")), dict) or choice.get("finish_reason")):
            self._usage = usage_of(body, choice)
            return self._garbled("an answer without a message")  # Azure omits the message when its filter blocked it
        self._joining = self._whole = True
        if isinstance(choice.get("message"), dict):  # Perplexity adds an empty delta
            choice.pop("delta", None)
        events = self._chunk(b"", body)
        return events if self.ended else events + self._end()

    # ---- frames ----

    def _unparsed(self, frame: Frame) -> list[Event]:
        data = frame[1].strip()
        if data == _DONE:
            if self._finish is None and not self._received:
                return self._fault(errors.Truncated(INTERRUPTED, "[DONE] without an answer"))
            return self._end()
        try:
            chunk = jsontext.loads(data)
        except ValueError:
            return self._garbled("an event that is not JSON")
        self._joining, self._usual = True, None
        return self._chunk(frame[0], chunk)

    def _chunk(self, name: bytes, chunk: Any) -> list[Event]:
        if not isinstance(chunk, dict):
            return self._garbled("an event that is not a JSON object")
        choice = choice_of(chunk)
        usage = usage_of(chunk, choice)
        if usage:
            self._usage, self._usual = merged(self._usage, usage), None
            self.counted = self.counted or not self._received or count(usage.get("completion_tokens")) > 0
        self._tier = chunk.get("service_tier") or self._tier
        if name == b"error" or is_error(chunk):
            return self._fault(error_of(chunk))
        if choice is None:
            self._beside(chunk)
            return []
        if is_error(choice):
            return self._fault(error_of(choice))
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            message = choice.get("message")
            delta = message if isinstance(message, dict) and (self._whole or not self._received) else {}
        events: list[Event] = []
        finish = choice.get("finish_reason")
        if not self._started and (str_of(chunk, "id") or any(delta.values()) or finish):
            events.append(self._start(chunk))
        before = len(events)
        self._delta(delta, choice, events)
        if len(events) != before:
            self.counted = usage is not None and count(usage.get("completion_tokens")) > 0
        if finish and finish != "null":
            self._finish = finish = str(finish)
            self._sequence = str_of(choice, "stop_reason") or self._sequence
            if quirks.ending(finish) == quirks.FAILED and not self.ended:
                events += self._fault(failed(finish))
        if finish or not delta:
            self._beside(chunk)
        if len(chunk["choices"]) > 1:
            self._other_choices(chunk, choice, events)
        return events

    def _other_choices(self, chunk: dict[str, Any], first: dict[str, Any], events: list[Event]) -> None:
        """Merge choices of index 0 into one answer: GitHub Copilot sends text in one and tool calls in the next."""
        for choice in dicts_of(chunk, "choices"):
            if choice.get("index"):
                self._ignore(f"choices[{choice['index']}]"[:_LONGEST_LABEL])
            elif choice is not first and not self.ended:
                events += self._chunk(b"", {"choices": [choice]})

    def _beside(self, chunk: dict[str, Any]) -> None:
        """Read the members outside of the choices: store the sources of the text, report unknown members."""
        if chunk.keys() <= quirks.BESIDE_CHOICES:  # none of SOURCES is among them
            return
        for key, value in chunk.items():
            if key in quirks.SOURCES and isinstance(value, list):
                self._sources[key] = value
            elif value and key not in quirks.BESIDE_CHOICES:
                self._ignore(key[:_LONGEST_LABEL])

    def _start(self, chunk: dict[str, Any]) -> Start:
        self._started = True
        return Start(str_of(chunk, "id"), str_of(chunk, "model"), seconds_of(chunk, "created"))

    def _delta(self, delta: dict[str, Any], choice: dict[str, Any], events: list[Event]) -> None:
        """Append the events of one delta, in the order in which models produce them."""
        strange = not delta.keys() <= _KNOWN
        self._reasoning(with_opaque(delta) if strange else delta, events)
        content = delta.get("content")
        if content:
            self._content(content, choice.get("logprobs"), events)
        if delta.get("extra_content"):
            opened = self._open
            spoken = opened is not None and opened.kind is Text
            signature = self._signature(delta["extra_content"], spoken, "choices[0].message.extra_content")
            if signature and opened is not None:
                events.append(Seal(opened.part, "google", signature))
        for annotation in dicts_of(delta, "annotations"):
            self._annotation(annotation, events)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._close(events)
            self._received = True
            logprobs = choice.get("logprobs")
            if isinstance(logprobs, dict) and logprobs.get("refusal"):
                self._ignore("choices[0].logprobs.refusal")
            events.append(Refusal(refusal))
        audio = delta.get("audio")
        if isinstance(audio, dict) and any(audio.values()):
            self._received = self._lost = True
            self._report("choices[0].message.audio", events)
        whole = "delta" not in choice
        for entry in dicts_of(delta, "tool_calls"):
            self._call(entry, len(self._slots.all) if whole else None, events)
        call = delta.get("function_call")
        if isinstance(call, dict) and any(call.values()):
            self._call({"index": 0, "function": call}, None, events)
        if strange:
            for key in delta:
                if key not in _KNOWN and key != quirks.REASONING_OPAQUE and delta[key]:
                    self._lost = True
                    self._ignore(f"choices[0].message.{key[:_LONGEST_LABEL]}")

    # ---- text and reasoning ----

    def _content(self, content: Any, logprobs: Any, events: list[Event]) -> None:
        entries = logprobs.get("content") if isinstance(logprobs, dict) else None
        if isinstance(content, str):
            self._piece(Text, content, events, entries if isinstance(entries, list) and entries else None)
            return
        for part in dicts_in(content):  # Mistral
            if part.get("type") == "thinking":
                inner = part.get("thinking")
                thought = inner if isinstance(inner, str) else "".join(str_of(each, "text") for each in dicts_in(inner))
                self._piece(Reasoning, thought, events)
            else:
                text = str_of(part, "text")
                self._piece(Text, text, events)
                if not text and part.get("type") != "text":
                    self._lost = True
                    self._ignore(f"choices[0].message.content:{str_of(part, 'type')[:_LONGEST_LABEL]}")

    def _ignore(self, label: str) -> None:
        """Report unknown content once per label. It does not become an event of its own."""
        if label not in self._foreign and len(self._foreign) < _MOST_LABELS:
            self._foreign.add(label)
            self._unsaid.add(label)

    def _piece(self, kind: Any, text: str, events: list[Event], logprobs: list[Any] | None = None) -> None:
        """Append a piece of text or reasoning to the open part, or to a new one."""
        if not text:
            return
        opened = self._open
        if opened is None or opened.kind is not kind:
            opened = self._begin(kind, events)
        if self._joining:
            text = opened.joiner.feed(text)
        if text:
            opened.length += len(text)
            events.append(Text(opened.part, text, logprobs) if kind is Text else Reasoning(opened.part, text))

    def _begin(self, kind: Any, events: list[Event]) -> _Open:
        self._close(events)
        self._close_whole_calls(events)
        self._received = True
        self._open = opened = _Open(self._next_part(), kind)
        events.append(TextStart(opened.part) if kind is Text else ReasoningStart(opened.part))
        if self._early and kind is Text:
            events += [Citation(opened.part, *source) for source in self._early]
            self._early = []
        return opened

    def _next_part(self) -> int:
        self._parts += 1
        return self._parts - 1

    def _close(self, events: list[Event]) -> None:
        """Close the open text or reasoning part, if any."""
        opened = self._open
        if opened is None:
            return
        self._open = self._usual = None
        rest = opened.joiner.finish()
        if opened.kind is Reasoning:
            rest += self._thought.finish()
            self._thought = Telling()
        if rest:
            opened.length += len(rest)
            events.append(opened.kind(opened.part, rest))
        if opened.kind is Text:
            self._before += opened.length
        else:
            self._past.update(opened.entries)
            events += opened.verbatim.seals(opened.part) or seals(opened.part, opened.entries.values())
        events.append(PartStop(opened.part))
        if self._late and opened.kind is Text:
            late, self._late = self._late, []
            for detail in late:
                self._verbatim(detail, "", events)
            self._close(events)

    def _reasoning(self, delta: dict[str, Any], events: list[Event]) -> None:
        """Read reasoning: a string, details, or both with the same text, in which case the string is used."""
        if _REASONING.isdisjoint(delta):
            return
        string = next((text for key in quirks.REASONING_FIELDS if (text := str_of(delta, key))), "")
        details = dicts_of(delta, "reasoning_details")
        speaking = [entry for entry in details if entry_text(entry)]
        as_string = self._spoken or bool(string)
        if string and not self._thought.plain:
            string = self._thought.feed(string)
        if string and not speaking:
            if self._open is not None and self._open.sealed:
                self._close(events)
            self._piece(Reasoning, string, events)
        for entry in details:
            text = entry_text(entry)
            if string and len(speaking) == 1:
                text = string if text else ""
            elif as_string and not string:
                text = ""
            elif text and not as_string and not self._thought.plain and entry.get("type") == "reasoning.text":
                text = self._thought.feed(text)
            self._detail(entry, text, events)
        self._spoken = as_string

    def _detail(self, detail: dict[str, Any], text: str, events: list[Event]) -> None:
        """Read one entry of reasoning_details. text: the text of it to show.

        A part contains what one seal covers: the entry after a signature or encrypted data starts a new part.
        """
        index = detail.get("index")
        key = (str_of(detail, "type"), index if isinstance(index, int) else -1)
        if self._is_foreign(detail):
            self._verbatim(detail, text, events)
            return
        value = entry_value(detail)
        opened = self._reasoning_for(key, detail, text, value, events)
        if opened is None:
            return
        entry = opened.entries.get(key)
        if entry is None:
            entry = opened.entries[key] = Entry(key[0])
            if text and opened.length and key[0] == "reasoning.summary" and not self._spoken:
                text = "\n\n" + text
        entry.id = str_of(detail, "id") or entry.id
        entry.format = str_of(detail, "format") or entry.format
        entry.text.append(entry_text(detail))
        if value:
            if key[0] == "reasoning.text":
                entry.value.clear()
            entry.value.append(value)
            opened.sealed = True
        self._piece(Reasoning, text, events)

    def _is_foreign(self, detail: dict[str, Any]) -> bool:
        """Whether the entry, or the one it continues, can only be returned verbatim."""
        opened = self._open
        goes_on = opened is not None and bool(opened.verbatim) and not detail.get("format")
        return goes_on or not is_shared(detail)

    def _verbatim(self, detail: dict[str, Any], text: str, events: list[Event]) -> None:
        opened = self._open
        if opened is not None and opened.kind is Text and not text:
            self._late.append(detail)
            return
        if opened is None or opened.kind is Text or opened.entries:
            opened = self._begin(Reasoning, events)
        began = opened.verbatim.add(detail)
        if began and text and opened.length and detail.get("type") == "reasoning.summary" and not self._spoken:
            text = "\n\n" + text
        self._piece(Reasoning, text, events)

    def _reasoning_for(self, key: tuple[str, int], detail: dict[str, Any], text: str, value: str, events: list[Event]) -> _Open | None:
        """The reasoning part of an entry; None if the entry is empty or its part is already closed."""
        opened = self._open
        if opened is not None and opened.kind is Reasoning and not opened.verbatim:
            # a separate block: redacted, or signed and complete
            own = key[0] == "reasoning.encrypted" and str_of(detail, "format") == ANTHROPIC
            own = own or (key[0] == "reasoning.text" and bool(value and entry_text(detail)) and bool(opened.entries))
            if key in opened.entries or not (opened.sealed or (own and opened.length)):
                return opened
        if not (text or value):
            return None
        if key[0] == "reasoning.text" and not text and (key in self._past or entry_text(detail)):
            self._report("choices[0].message.reasoning_details", events)  # a signature received after its part was closed
            return None
        return self._begin(Reasoning, events)

    def _report(self, label: str, events: list[Event]) -> None:
        if label not in self._foreign:
            self._foreign.add(label)
            events.append(Opaque(label))

    def _annotation(self, annotation: dict[str, Any], events: list[Event]) -> None:
        inner = annotation.get("url_citation")
        cited = inner if isinstance(inner, dict) else annotation
        url = str_of(cited, "url")
        opened = self._open
        if annotation.get("type") != "url_citation" or not url:
            self._report(_ANNOTATIONS, events)
            return
        if opened is None or opened.kind is not Text:  # Xiaomi and OpenRouter name what they have found before the model speaks
            if url not in self._cited and len(self._early) < _MOST_SOURCES:
                self._cited.add(url)
                self._early.append((url, str_of(cited, "title")))
            return
        start, end = cited.get("start_index"), cited.get("end_index")
        citation = Citation(opened.part, url, str_of(cited, "title"))
        if type(start) is int and type(end) is int and self._before <= start < end <= self._before + opened.length:
            citation.start, citation.end = start - self._before, end - self._before
        self._cited.add(url)
        events.append(citation)

    def _cite_sources(self, events: list[Event]) -> None:
        """Cite the sources that Perplexity, xAI and others list outside of the choices, without a position in the text."""
        opened = self._open
        for key in quirks.SOURCES:
            sources = self._sources.get(key, [])[:_MOST_SOURCES]
            if sources and (opened is None or opened.kind is not Text):
                self._ignore(key)
                continue
            for source in sources:
                source = source if isinstance(source, dict) else {"url": source}
                url = str_of(source, "url")
                if opened is not None and url and url not in self._cited:
                    self._cited.add(url)
                    events.append(Citation(opened.part, url, str_of(source, "title")))

    # ---- tool calls ----

    def _call(self, entry: dict[str, Any], position: int | None, events: list[Event]) -> None:
        """Read one entry of `tool_calls`. position: in a complete answer, where each entry is a separate call; else None."""
        if self.ended:
            return
        inner = entry.get("function")
        kind = str_of(entry, "type")
        if not isinstance(inner, dict) and kind not in _CALLS and "custom" not in entry:
            self._lost = True
            self._report(f"choices[0].message.tool_calls:{kind[:_LONGEST_LABEL]}", events)
            return
        custom = entry.get("type") == "custom" or (not isinstance(inner, dict) and isinstance(entry.get("custom"), dict))
        if custom:
            inner = entry.get("custom")
        inner = inner if isinstance(inner, dict) else {}
        name, id = str_of(inner, "name"), str_of(entry, "id")
        text = jsontext.argument_text(inner.get("input" if custom else "arguments"))
        slot = self._slots.find(entry.get("index") if position is None else position, id, name, bool(text))
        if slot is None:
            events += self._garbled("too many tool calls")
            return
        self._received = True
        slot.whole = position is not None
        slot.custom = slot.custom or custom
        if id and not slot.id:
            self._slots.name(slot, id)
        slot.name = slot.name or name
        if "extra_content" in entry:
            slot.signature = self._signature(entry["extra_content"], slot.part < 0, "choices[0].message.tool_calls.extra_content")
        if slot.over:
            text = ""  # anything after a complete object is discarded
        elif text and not slot.custom:
            json = slot.json
            if json.plain and text[0] != "{":
                json.pieces.append(text)
                json.plain = text[-1] != "}"
            else:
                text = json.feed(text)
            self._slots.grown[slot.part] = slot
        if text:
            slot.held.append(text)
        if slot.part < 0 and slot.name and (slot.id or slot.held):
            self._open_call(slot, events)
        if slot.part >= 0 and slot.held:
            self._argue(slot, events)

    def _signature(self, extra: Any, timely: bool, label: str) -> str:
        """Google's thought signature; "" if there is none, or if its part is already closed."""
        google = extra.get("google") if isinstance(extra, dict) else None
        signature = str_of(google, "thought_signature") if isinstance(google, dict) else ""
        if extra and not (signature and timely):
            self._ignore(label)
        return signature if timely else ""

    def _open_call(self, slot: Slot, events: list[Event]) -> None:
        self._close(events)
        self._close_whole_calls(events)
        if self._tools.refuses(slot.name):
            events += self._fault(not_allowed())
            return
        declared = self._tools.restore(slot.name)
        slot.part = self._next_part()
        slot.text = ToolText(declared)
        self._unfinished[slot.part] = self._slots.grown[slot.part] = slot
        self._calls += 1
        kind = "custom" if slot.custom else declared.kind
        seal = Seal(slot.part, "google", slot.signature) if slot.signature else None
        events.append(ToolStart(slot.part, slot.id, declared.name, kind, declared.namespace, seal))

    def _argue(self, slot: Slot, events: list[Event]) -> None:
        text = "".join(slot.held)
        slot.held.clear()
        if self._joining:
            text = slot.joiner.feed(text)
        text = slot.text.feed(text) if slot.text is not None else text
        if text:
            events.append(Arguments(slot.part, text))

    def _close_whole_calls(self, events: list[Event]) -> None:
        """Close the calls whose JSON object is complete, as other content starts. Others stay open."""
        grown, self._slots.grown = self._slots.grown, {}
        for part in sorted(grown):
            slot = self._unfinished.get(part)
            if slot is not None and (slot.whole or (not slot.custom and slot.json.complete())):
                self._close_call(slot, events)

    def _close_call(self, slot: Slot, events: list[Event]) -> None:
        slot.over = True
        del self._unfinished[slot.part]
        slot.held.append(slot.json.finish())
        if any(slot.held):
            self._argue(slot, events)
        rest = slot.joiner.finish()
        if slot.text is not None:
            rest = (slot.text.feed(rest) if rest else "") + slot.text.finish()
        if rest:
            events.append(Arguments(slot.part, rest))
        events.append(PartStop(slot.part))

    # ---- the end ----

    def _end(self) -> list[Event]:
        events: list[Event] = []
        if not self._started:
            events.append(self._start({}))
        self._cite_sources(events)
        if self._early:
            self._report(_ANNOTATIONS, events)
        self._close(events)
        for slot in self._slots.all:
            if slot.part < 0 and slot.name:
                self._open_call(slot, events)
            elif slot.part < 0 and (slot.held or slot.json.complete()):
                return with_usage(events + self._garbled("a tool call without a name"), self.usage)
        for slot in list(self._unfinished.values()):
            self._close_call(slot, events)
        if self.ended:
            return with_usage(events, self.usage)
        reason = self._reason()
        if self._usage is not None:
            events.append(Metered(from_chat(self._usage, self._tier)))
        self.ended = True
        return [*events, Stop(reason, self._sequence if reason == "stop_sequence" else None)]

    def _reason(self) -> str:
        reason = reason_of(self._finish, self._calls > 0, self._sequence)
        if not reason:
            self._unsaid.add(f"choices[0].finish_reason:{self._finish}")
        # an answer that ends for a tool call which could not be carried is not complete
        waits = reason == "end" and self._lost and quirks.ending(self._finish or "") == "tool"
        return UNKNOWN if waits or not reason else reason

    def _garbled(self, what: str) -> list[Event]:
        return self._fault(errors.Garbled(f"The upstream sent {what}."))

    def _fault(self, error: errors.GatewayError) -> list[Event]:
        self.ended, self._usual = True, None
        return [Fault(error, self.usage if self.counted else None)]


def decode_response(body: dict[str, Any], reply: Reply) -> list[Event]:
    """Decode a complete answer into the events of a stream. Never raises: an invalid answer becomes one Fault."""
    decoder = StreamDecoder(reply)
    return with_usage(decoder.whole(body), decoder.usage)


_DONE = b"[DONE]"
_REASONING = frozenset({*quirks.REASONING_FIELDS, "reasoning_details"})
# members of a chunk or choice that exclude the common case
_SPECIAL = frozenset({"error", "x_groq"})
