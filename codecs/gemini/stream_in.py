"""Decode a gemini upstream's answer, streamed or complete, into hub events.

A stream is a series of answers with new parts each, without names or a last event: the transport's end completes it, if a finish reason
came before. A finish reason ends nothing by itself: parts and other finish reasons may follow, the last one counts. A complete answer
has the same form as one chunk and takes the same path.
A part with a signature keeps it: it is never joined with another one.
A long answer may come as several ones, each asked for with the token of the one before (`CONTINUATION`): they are decoded as one, and
what they used is added up. Source: see the package; section "Streaming" of Google's guide.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

import orjson

from .. import errors, jsontext, quirks
from ..anything import dicts_of, str_of
from ..endings import UNKNOWN, empty_answer, failed
from ..events import (
    Arguments,
    Citation,
    Event,
    Fault,
    Media,
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
from ..tools import Declared, ToolText, not_allowed
from ..usage import Usage, added, from_gemini
from .errors_in import error_of, is_error
from .facts import CONTINUED, DEVELOPER_NUMBERS, NOT_BLOCKED, NOT_FINISHED, VERTEX_NUMBERS
from .grounding import sources
from .likeness import DIGITS, NOTHING, USAGE, around
from .partial import PartialArguments, Unplaceable

INTERRUPTED = "The upstream closed the stream before the answer was complete."

_LONGEST_LABEL = 64
_TEXT, _THOUGHT = "text", "thought"
# members of a chunk and of a candidate that an ordinary delta does not have
_SPECIAL = frozenset({"error", "promptFeedback"})
_OF_ORDINARY = frozenset({"content", "index", "safetyRatings", "role", "avgLogprobs", "tokenCount"})
# members of a part that do not say what kind it is
_BESIDE = frozenset({"thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata"})
_OF_THOUGHT = _BESIDE | {"text"}
_ENDS_CALL = frozenset({"willContinue", "partialArgs"})  # all that the end of a call has
_LIMITS = ("max", "limit")  # an unknown finish reason with such a word says that a limit was reached
_TO_STANDARD = str.maketrans("-_", "+/")


class _Call:
    """A call whose arguments come in pieces."""

    __slots__ = ("arguments", "declared", "part")

    def __init__(self, part: int, declared: Declared, begun: Any) -> None:
        self.part = part
        self.declared = declared
        self.arguments = PartialArguments(begun)


class StreamDecoder:
    """Decodes one answer. ended: Stop or Fault was returned; later frames are ignored. counted: the usage is that of all that has come."""

    __slots__ = (
        "_after_opaque",
        "_before",
        "_blocked",
        "_call",
        "_calls",
        "_citations",
        "_counted",
        "_finish",
        "_followed",
        "_grounding",
        "_head",
        "_joiner",
        "_kind",
        "_known",
        "_length",
        "_logprobs",
        "_middle",
        "_note",
        "_opaque",
        "_part",
        "_parts",
        "_pending",
        "_pieces",
        "_places",
        "_plain",
        "_reply",
        "_sealed",
        "_spent",
        "_spoke",
        "_started",
        "_tail",
        "_tier",
        "_tools",
        "_unread",
        "_unsaid",
        "_vertex",
        "ended",
    )  # fmt: skip

    def __init__(self, reply: Reply) -> None:
        self.ended = False
        self._tools = reply.tools
        self._unsaid = reply.unsaid
        self._reply = reply
        self._followed = reply.followed  # answers after the first, so far
        self._spent: Usage | None = None  # by the answers before this one
        self._tier = reply.tier
        self._started = False
        self._parts = 0  # hub parts
        self._places = 0  # parts of the upstream
        self._kind = ""  # of the open part: _TEXT, _THOUGHT, or none
        self._part = -1  # its number
        self._plain = False  # an unsigned text is open
        self._length, self._head, self._middle, self._tail = NOTHING  # what surrounded the last piece of it
        self._unread = b""  # the last piece's frame, if its usage was not read
        self._sealed = False  # the open text has a signature
        self._after_opaque = False  # the next text continues one that was interrupted
        self._pending = ""  # a thought's signature, for the next part
        self._call: _Call | None = None
        self._calls = 0
        self._pieces: list[str] = []  # of the answer's text
        self._before = 0  # pieces before the open text
        self._spoke = False
        self._opaque = ""  # the first part that no other shape can express
        self._joiner: jsontext.SurrogateJoiner | None = None  # from the first lone surrogate on
        self._known: dict[str, Any] = {}
        self._counted = False  # that is the usage of all that has come
        self._finish: Any = None
        self._note = ""
        self._blocked: dict[str, Any] | None = None
        self._grounding: dict[str, Any] = {}
        self._citations: list[Any] = []
        self._logprobs: list[Any] | None = None
        self._vertex = False

    @property
    def usage(self) -> Usage | None:
        """The usage reported so far; None before the first report."""
        self._read_usage()
        usage = from_gemini(self._known, self._tier) if self._known else None
        if self._spent is None:
            return usage
        return self._spent if usage is None else added(self._spent, usage)

    @property
    def counted(self) -> bool:
        self._read_usage()
        return self._counted

    def feed(self, frame: Frame) -> list[Event]:
        """Return the events of one frame. Never raises: an invalid frame becomes a Fault."""
        if self.ended:
            return []
        data = frame[1]
        try:
            if self._plain and data.startswith(self._head):  # like the last piece but for its text and usage: nearly always
                end = data.find(b'"', self._length)
                at = data.find(USAGE, end)
                if data[end:at] == self._middle and data[at:].translate(None, DIGITS) == self._tail:
                    text = orjson.loads(data[self._length - 1 : end + 1])
                    if text:
                        self._unread = data
                        self._places += 1
                        self._pieces.append(text)
                        return [Text(self._part, text)]
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            return self._patient(data)
        # the common case: a further piece of the open text and nothing else
        if self._plain and type(value) is dict and _SPECIAL.isdisjoint(value):
            candidates = value.get("candidates")
            if type(candidates) is list and len(candidates) == 1 and type(candidate := candidates[0]) is dict:
                content = candidate.get("content")
                if type(content) is dict and _OF_ORDINARY.issuperset(candidate) and not candidate.get("index"):
                    parts = content.get("parts")
                    if type(parts) is list and len(parts) == 1 and type(part := parts[0]) is dict and len(part) == 1:
                        text = part.get("text")
                        if type(text) is str and text:
                            usage = value.get("usageMetadata")
                            if type(usage) is dict:
                                self._known.update(usage)
                                self._unread = b""
                            self._counted = type(usage) is dict and "candidatesTokenCount" in usage
                            self._length, self._head, self._middle, self._tail = around(data)
                            self._places += 1
                            self._pieces.append(text)
                            return [Text(self._part, text)]
        return self._frame(value)

    def finish(self, clean: bool) -> list[Event]:
        """Return the last events, at the end of the transport. A finish reason proves completion, however the transport ended."""
        if self.ended:
            return []
        if self._finish is None and self._blocked is None:
            return self._fault(errors.Truncated(INTERRUPTED, "" if clean else "broken off"))
        return self._end()

    def whole(self, body: Any) -> list[Event]:
        """Return the events of a complete answer. Never raises: an invalid answer becomes a Fault."""
        events = self._frame(body)
        return events if self.ended else events + self.finish(True)

    # ---- frames ----

    def _patient(self, data: bytes) -> list[Event]:
        """Read a frame that orjson rejects: lone surrogates, long numbers, the OpenAI shapes' [DONE], or invalid JSON."""
        if data.strip() == b"[DONE]":
            return []
        try:
            value = jsontext.loads(data)
        except ValueError:
            return self._garbled("an event that is not JSON")
        self._joiner = self._joiner or jsontext.SurrogateJoiner()
        self._plain = False
        return self._frame(value)

    def _frame(self, value: Any) -> list[Event]:
        if isinstance(value, list):  # the array of a stream that is no event stream
            events: list[Event] = []
            for each in value:
                if isinstance(each, list) and self._started:  # the answers to several requests
                    self._follow()
                events += [] if self.ended else self._frame(each)
            return events
        if not isinstance(value, dict):
            return self._garbled("an event that is not a JSON object")
        if self._unread:
            self._read_usage()
        if is_error(value):
            before = self._counted or not self._places
            self._count(value)
            self._counted = self._counted or (before and bool(self._known))
            return self._fault(error_of(value))
        if self._reply.followed != self._followed:
            self._followed = self._reply.followed
            self._follow()
        events = [] if self._started else self._start(value)
        self._count(value)
        feedback = value.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason") not in NOT_BLOCKED:
            self._blocked = feedback
        candidate = next((each for each in dicts_of(value, "candidates") if not each.get("index")), None)
        if candidate is not None:
            self._candidate(candidate, events)
        return events

    def _read_usage(self) -> None:
        """Read the usage of the pieces that were not parsed: the last one's counts."""
        data, self._unread = self._unread, b""
        if data:
            with suppress(ValueError):
                self._count(jsontext.loads(data))

    def _count(self, value: dict[str, Any]) -> None:
        """Read the usage of a piece, if it has one: it is that of the pieces before it, too."""
        usage = value.get("usageMetadata")
        if isinstance(usage, dict):
            self._known.update((key, count) for key, count in usage.items() if count is not None)
        self._counted = isinstance(usage, dict) and usage.get("candidatesTokenCount") is not None

    def _start(self, value: dict[str, Any]) -> list[Event]:
        self._started = True
        created = value.get("createTime")
        self._vertex = created is not None
        return [Start(str_of(value, "responseId"), str_of(value, "modelVersion"), _seconds(created))]

    def _follow(self) -> None:
        """What comes from here on is the next answer, which goes on where the last one ended."""
        self._spent, self._known = self.usage, {}
        self._finish, self._note, self._reply.rest = None, "", ""
        self._plain = self._kind == _TEXT and not self._sealed and self._joiner is None

    def _candidate(self, candidate: dict[str, Any], events: list[Event]) -> None:
        self._beside(candidate)
        content = candidate.get("content") or {}
        parts = (content.get("parts") or []) if isinstance(content, dict) else content
        if not isinstance(parts, list):
            events += self._garbled("content that is not a list of parts")
            return
        for part in parts:
            if isinstance(part, dict) and not self.ended:
                self._one(part, events)
            self._places += 1
        finish = candidate.get("finishReason")
        if finish not in (None, 0, *NOT_FINISHED):
            self._finish = finish
            self._note = str_of(candidate, "finishMessage")
            self._reply.rest = _rest(candidate)
            self._plain = self._plain and not self._reply.rest

    def _beside(self, candidate: dict[str, Any]) -> None:
        """Keep what is told of the answer as a whole: the last sources of ranges, all citations."""
        grounding = candidate.get("groundingMetadata")
        if isinstance(grounding, dict):
            self._grounding.update(grounding)
        cited = candidate.get("citationMetadata")
        if isinstance(cited, dict):
            for name in ("citationSources", "citations"):
                self._citations += cited[name] if isinstance(cited.get(name), list) else []
        logprobs = candidate.get("logprobsResult")
        if isinstance(logprobs, dict):
            self._logprobs = _entries(logprobs)

    # ---- parts ----

    def _one(self, part: dict[str, Any], events: list[Event]) -> None:
        """A part holds one thing; where it has a call beside a text, both are taken: a call must not get lost."""
        signature = _signature(part)
        text, call = part.get("text"), part.get("functionCall")
        if part.get("thought") is True and _OF_THOUGHT.issuperset(part) and isinstance(text or "", str):
            self._pending = signature or self._pending
            if text:
                self._think(text, events)
            return
        if self._pending and not signature:
            signature = self._pending
        self._pending = ""
        if isinstance(call, dict):
            if isinstance(text, str) and text:
                self._write(text, "", events)
            self._called(call, signature, events)
        elif isinstance(text, str):
            self._write(text, signature, events)
        elif signature and _BESIDE.issuperset(part):
            self._write("", signature, events)
        elif any(value is not None for key, value in part.items() if key not in _BESIDE):
            self._other(part, events)

    def _think(self, text: str, events: list[Event]) -> None:
        if self._kind != _THOUGHT:
            self._open(_THOUGHT, events)
        text = self._joined(text)
        if text:
            events.append(Reasoning(self._part, text))

    def _write(self, text: str, signature: str, events: list[Event]) -> None:
        if not text and not signature:
            return
        if self._kind != _TEXT or self._sealed:
            self._open(_TEXT, events)
        text = self._joined(text) if text else text
        if text:
            self._pieces.append(text)
            self._spoke = True
            logprobs, self._logprobs = self._logprobs, None
            events.append(Text(self._part, text, logprobs))
        if signature:
            self._sealed = True
            self._plain = False
            events.append(Seal(self._part, "google", signature))

    def _joined(self, text: str) -> str:
        return text if self._joiner is None else self._joiner.feed(text)

    def _open(self, kind: str, events: list[Event]) -> None:
        self._close(events)
        self._finish_call(events)
        self._kind, self._part = kind, self._parts
        self._parts += 1
        self._sealed = False
        if kind == _TEXT:
            self._plain = self._joiner is None
            events.append(TextStart(self._part, apart=self._after_opaque))
            self._before = len(self._pieces)
            self._after_opaque = False
        else:
            events.append(ReasoningStart(self._part))

    def _close(self, events: list[Event]) -> None:
        if not self._kind:
            return
        if self._joiner is not None and (rest := self._joiner.finish()):
            events.append(Text(self._part, rest) if self._kind == _TEXT else Reasoning(self._part, rest))
        events.append(PartStop(self._part))
        self._kind, self._part, self._plain = "", -1, False

    def _other(self, part: dict[str, Any], events: list[Event]) -> None:
        """A part of a kind that is no text and no call."""
        kind = next((key for key in part if key not in _BESIDE), "part")[:_LONGEST_LABEL]
        label = f"content.parts[{self._places}]:{kind}"
        self._after_opaque = self._after_opaque or self._spoke
        self._close(events)
        self._finish_call(events)
        data = part.get("inlineData") if part.get("thought") is not True else None
        if isinstance(data, dict) and str_of(data, "mimeType").startswith("image/") and str_of(data, "data"):
            events.append(Media(data["mimeType"], data["data"], label))
            if "thoughtSignature" in part:
                self._unsaid.add(f"content.parts[{self._places}]:thoughtSignature")
            return
        self._opaque = self._opaque or kind
        events.append(Opaque(label))

    # ---- calls ----

    def _called(self, call: dict[str, Any], signature: str, events: list[Event]) -> None:
        name = str_of(call, "name")
        pieces = call.get("partialArgs")
        goes_on = call.get("willContinue") is True
        if name:
            self._begin_call(name, call, signature, events)
        elif self._call is None:
            if goes_on or pieces or not _ENDS_CALL.issuperset(call):
                events += self._garbled("a tool call without a name")
            return
        current = self._call
        if current is None:
            return  # the answer has failed
        try:
            for piece in pieces if isinstance(pieces, list) else []:
                if isinstance(piece, dict):
                    current.arguments.add(piece)
        except Unplaceable as error:
            events += self._garbled(str(error))
            return
        if not goes_on:
            self._finish_call(events)

    def _begin_call(self, name: str, call: dict[str, Any], signature: str, events: list[Event]) -> None:
        self._close(events)
        self._finish_call(events)
        if self.ended:
            return
        if self._tools.refuses(name):
            events += self._fault(not_allowed())
            return
        args = _arguments(call.get("args"))
        if args is None:
            events += self._garbled("a tool call whose arguments are not an object")
            return
        declared = self._tools.restore(name)
        part, self._parts = self._parts, self._parts + 1
        self._calls += 1
        self._call = _Call(part, declared, args)
        seal = Seal(part, "google", signature) if signature else None
        events.append(ToolStart(part, str_of(call, "id"), declared.name, declared.kind, declared.namespace, seal))

    def _finish_call(self, events: list[Event]) -> None:
        """Give out the call that is being put together, with its arguments as one piece."""
        call, self._call = self._call, None
        if call is None:
            return
        try:
            call.arguments.finish()
        except Unplaceable as error:
            events += self._garbled(str(error))
            return
        if call.arguments.value or call.declared.emulated:
            text = jsontext.input_to_arguments(call.arguments.value)
            if call.declared.emulated:
                unwrap = ToolText(call.declared)
                text = unwrap.feed(text) + unwrap.finish()
            if text:
                events.append(Arguments(call.part, text))
        events.append(PartStop(call.part))

    # ---- the end ----

    def _end(self) -> list[Event]:
        events: list[Event] = []
        self._finish_call(events)
        if self.ended:
            return with_usage(events, self.usage)
        pending, self._pending = self._pending, ""
        self._write("", pending, events)
        self._cite(events)
        self._close(events)
        stop, error = self._stop()
        if error is not None:
            return with_usage(events + self._fault(error), self.usage)
        usage = self.usage
        if usage is not None:
            events.append(Metered(usage))
        self.ended = True
        return [*events, stop]

    def _stop(self) -> tuple[Stop, errors.GatewayError | None]:
        word = self._word()
        reason = quirks.ending(word)
        if self._blocked is not None and (self._finish is None or reason == "end"):
            reason = str(self._blocked["blockReason"])[:_LONGEST_LABEL]
            return Stop("filter", explanation=str_of(self._blocked, "blockReasonMessage") or reason), None
        if reason == quirks.FAILED:
            return Stop(UNKNOWN), _unusable(word, self._note)
        if reason in ("end", "tool"):
            if not (self._spoke or self._calls) and self._opaque:
                return Stop(UNKNOWN), empty_answer(self._opaque)
            return Stop("tool" if self._calls else "end"), None
        if reason == "filter":
            return Stop("filter", explanation=self._note or word), None
        if not reason:
            if not any(limit in word.lower() for limit in _LIMITS):
                self._unsaid.add(f"finishReason:{word}")
            reason = UNKNOWN
        return Stop(reason), None

    def _word(self) -> str:
        finish = self._finish
        if type(finish) is int:
            return (VERTEX_NUMBERS if self._vertex else DEVELOPER_NUMBERS).get(finish, str(finish))
        return str(finish)[:_LONGEST_LABEL]

    def _cite(self, events: list[Event]) -> None:
        """Append the citations of the open text. Sources of ranges outside of it are cited for all of it."""
        if self._grounding.get("searchEntryPoint"):
            self._unsaid.add("groundingMetadata.searchEntryPoint")
        if not (self._grounding or self._citations):
            return
        cited = sources("".join(self._pieces), self._grounding, self._citations)
        if cited and self._kind != _TEXT:
            self._unsaid.add("groundingMetadata.groundingChunks")
            return
        before, length = sum(map(len, self._pieces[: self._before])), sum(map(len, self._pieces[self._before :]))
        for url, title, start, end in cited:
            inside = start is not None and end is not None and before <= start < end <= before + length
            first, last = (start - before, end - before) if inside and start is not None and end is not None else (None, None)
            events.append(Citation(self._part, url, title, first, last))

    def _garbled(self, what: str) -> list[Event]:
        return self._fault(errors.Garbled(f"The upstream sent {what}."))

    def _fault(self, error: errors.GatewayError) -> list[Event]:
        self.ended = True
        return [Fault(error, self.usage if self.counted else None)]


def decode_response(body: Any, reply: Reply) -> list[Event]:
    """Decode a complete answer into the events of a stream. Never raises: an invalid answer becomes one Fault."""
    decoder = StreamDecoder(reply)
    return with_usage(decoder.whole(body), decoder.usage)


def token(answer: dict[str, Any]) -> str:
    """What a complete answer says to ask for its continuation with; "" if it is over."""
    return next((_rest(each) for each in dicts_of(answer, "candidates") if not each.get("index")), "")


def _rest(candidate: dict[str, Any]) -> str:
    return str_of(candidate, "continuationToken") if candidate.get("finishReason") == CONTINUED else ""


def _unusable(word: str, note: str) -> errors.GatewayError:
    error = failed(word)
    error.message = f"The model's answer was not usable: {word}" + (f" ({note})" if note else "")
    return error


def _signature(part: dict[str, Any]) -> str:
    """A part's signature as padded standard base64; "" if it has none."""
    value = part.get("thoughtSignature")
    if not isinstance(value, str):
        return ""
    value = value.translate(_TO_STANDARD) if "-" in value or "_" in value else value
    return value + "=" * (-len(value) % 4)


def _entries(result: dict[str, Any]) -> list[Any]:
    """The tokens of a logprobsResult as the OpenAI shapes' entries."""
    tops = result.get("topCandidates")
    entries = []
    for number, chosen in enumerate(dicts_of(result, "chosenCandidates")):
        top = tops[number] if isinstance(tops, list) and number < len(tops) and isinstance(tops[number], dict) else {}
        entries.append(_entry(chosen) | {"top_logprobs": [_entry(each) for each in dicts_of(top, "candidates")]})
    return entries


def _entry(chosen: dict[str, Any]) -> dict[str, Any]:
    token, probability = str_of(chosen, "token"), chosen.get("logProbability")
    logprob = probability if isinstance(probability, int | float) and not isinstance(probability, bool) else 0
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}


def _arguments(args: Any) -> dict[str, Any] | None:
    """A call's arguments, which some servers of this API write as text; None if they are no object."""
    if isinstance(args, str) and args:
        try:
            args = jsontext.loads(args)
        except ValueError:
            return None
    return args if isinstance(args, dict) else None if args else {}


def _seconds(text: Any) -> int:
    """RFC 3339 as seconds since the epoch; 0 if it is none."""
    try:
        return int(datetime.fromisoformat(text).timestamp()) if isinstance(text, str) else 0
    except (ValueError, OverflowError):
        return 0
