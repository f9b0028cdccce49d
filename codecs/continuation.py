"""Going on with an answer that broke off within a text: what the caller has of it, and the events of the answer that goes on.

Strategy: a text can be continued without a seam, by the beginning of a last assistant turn where the model goes on from there
(prefill), else by asking for the rest in words. A tool call cannot, and neither can reasoning, whose seal is bound to all of it: an
answer with a call, or one that ends in reasoning, is left as it broke off. The reasoning of the answer that goes on is not shown, since
the text before it would be closed by it.

A model that is asked in words may repeat the last ones, or begin again. `Overlap` drops what repeats all of the end of the text, 16
characters at least; what only looks like it is given out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from .capabilities import Capabilities
from .compaction import with_spent
from .errors import Unsupported
from .events import (
    Arguments,
    Citation,
    Event,
    Fault,
    Metered,
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
)
from .reply import Reply
from .request import Request, Setting, TextPart, Turn
from .shape import Decoder, Shape
from .sse import Frame
from .usage import Usage

INSTRUCTION = (
    "Your previous answer was cut off in transmission. Continue it exactly where it ends, in the middle of a word or sentence if need be. "
    "Write only what is missing: no repetition, no introduction, no comment on the interruption."
)
LONGEST = 1 << 20  # characters of an answer that can be continued
MOST_EVENTS = 1000  # of it, besides pieces of text
SHORTEST = 16  # characters that a repetition has at least
TAIL = 4096  # characters at the end of a text in which a repetition may begin
_TOKEN = 4  # characters
# what gives an answer a form, or wants a call: members of every API, and of Google's `generationConfig`
_FORMS = frozenset({
    "response_format", "text", "output_config", "output_format", "tool_choice", "toolConfig", "logprobs", "top_logprobs", "n",
    "responseSchema", "responseJsonSchema", "responseMimeType", "responseLogprobs", "candidateCount", "guided_json", "structured_outputs",
})  # fmt: skip
_LIMITS = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens"})

_PLAIN = (Start, TextStart, ReasoningStart, Seal, PartStop, Citation, Metered, Ping)


class Transcript:
    """What a caller has been told of an answer. sound: its content is such that it may be continued. next: the number of its next part."""

    def __init__(self) -> None:
        self.sound = True
        self.next = 0
        self._events: list[Event] = []
        self._pieces: list[str] = []  # of the last Text or Reasoning
        self._open = -1  # the text part that is not closed
        self._size = 0

    def feed(self, events: list[Event]) -> None:
        for event in events:
            if not self.sound:
                return
            if type(event) is Text or type(event) is Reasoning:
                self._say(event)
            elif isinstance(event, _PLAIN):
                self._note(event)
            elif type(event) is not Fault:  # a call, a refusal, a search, an end
                self._lose()

    def _say(self, event: Text | Reasoning) -> None:
        last = self._events[-1]
        self._size += len(event.text)
        if self._size > LONGEST:
            self._lose()
        elif type(last) is type(event) and last.part == event.part:
            self._pieces.append(event.text)
        else:
            self._join()
            self._events.append(replace(event, logprobs=None) if isinstance(event, Text) else event)
            self._pieces = [event.text]

    def _join(self) -> None:
        """Write the pieces into the event that they belong to."""
        if self._pieces:
            last = self._events[-1]
            assert isinstance(last, Text | Reasoning)
            self._events[-1] = replace(last, text="".join(self._pieces))
            self._pieces = [self._events[-1].text]  # type: ignore[union-attr]

    def _note(self, event: Event) -> None:
        if isinstance(event, Ping | Metered):
            return
        self._join()
        self._pieces = []
        self._events.append(event)
        if isinstance(event, TextStart | ReasoningStart):
            self.next = event.part + 1
        if isinstance(event, TextStart):
            self._open = event.part
        elif isinstance(event, PartStop) and event.part == self._open:
            self._open = -1
        if len(self._events) > MOST_EVENTS:
            self._lose()

    def _lose(self) -> None:
        self.sound = False
        self._events.clear()
        self._pieces.clear()

    @property
    def part(self) -> int:
        """The text part that is open; -1: none is, or the answer cannot be continued."""
        return self._open if self.sound and self.texts() else -1

    def texts(self) -> list[str]:
        """The texts, the open one last."""
        self._join()
        return [event.text for event in self._events if isinstance(event, Text)]

    def events(self) -> list[Event]:
        self._join()
        return list(self._events)


class Listener:
    """Stands for a decoder, or before an observer's frames: what it decodes is what the caller is told."""

    def __init__(self, decoder: Decoder, transcript: Transcript) -> None:
        self.ended = False
        self._decoder, self._transcript = decoder, transcript

    @property
    def usage(self) -> Usage | None:
        return self._decoder.usage

    @property
    def counted(self) -> bool:
        return self._decoder.counted

    def feed(self, frame: Frame) -> list[Event]:
        return self._noted(self._decoder.feed(frame))

    def finish(self, clean: bool) -> list[Event]:
        return self._noted(self._decoder.finish(clean))

    def _noted(self, events: list[Event]) -> list[Event]:
        self.ended = self._decoder.ended
        self._transcript.feed(events)
        return events


class Overlap:
    """Drops the beginning of a text that repeats the end of another. text: the other. over: nothing is held any more."""

    def __init__(self, text: str) -> None:
        self.over = not text
        self._text = text
        self._held: list[str] = []
        self._size = 0  # characters of that
        self._places: list[int] | None = None  # where in the text a repetition may have begun; None: too short to tell

    def feed(self, piece: str) -> str:
        """What is to be given out now."""
        if self.over:
            return piece
        before, text = self._size, self._text
        self._held.append(piece)
        self._size += len(piece)
        if self._places is None:
            if self._size < SHORTEST:
                return ""
            before, piece = 0, "".join(self._held)
            self._places = self._beginnings(piece[:SHORTEST])
        for place in self._places:  # what came before this piece is the same at all of them
            left = len(text) - place - before
            if left <= len(piece) and piece.startswith(text[-left:]):
                return self._release(piece[left:])
        self._places = [place for place in self._places if text.startswith(piece, place + before)]
        return "" if self._places else self.finish()

    def finish(self) -> str:
        """What is still held."""
        return "" if self.over else self._release("".join(self._held))

    def _release(self, text: str) -> str:
        self.over, self._held = True, []
        return text

    def _beginnings(self, start: str) -> list[int]:
        """The beginning of the text, and places near its end; the longest repetition first."""
        text = self._text
        places = [0] if text.startswith(start) else []
        place = text.find(start, max(1, len(text) - TAIL))
        while place >= 0:
            places.append(place)
            place = text.find(start, place + 1)
        return places


class Joined:
    """The decoder of an answer that goes on with another. transcript: of the other; what follows is added to it.

    usage: of this answer alone; the caller is told of both.
    """

    def __init__(self, decoder: Decoder, transcript: Transcript, spent: Usage | None, reply: Reply, exact: bool) -> None:
        """spent: by the other. exact: the model went on from the text itself, so that nothing is repeated."""
        self.ended = False
        self._decoder, self._transcript, self._spent, self._reply = decoder, transcript, spent, reply
        text = "".join(transcript.texts()[-1:])
        self._overlap = Overlap("" if exact else text)
        self._space = text[len(text.rstrip()) :] if exact else ""  # which the model has not seen
        self._open = transcript.part  # of the other; -1: closed
        self._next = transcript.next
        self._parts: dict[int, int] = {}  # of this answer → of the whole; the reasoning's have none
        self._sent = False

    @property
    def usage(self) -> Usage | None:
        return self._decoder.usage

    @property
    def counted(self) -> bool:
        return self._decoder.counted

    def feed(self, frame: Frame) -> list[Event]:
        return self._joined(self._decoder.feed(frame))

    def finish(self, clean: bool) -> list[Event]:
        return self._joined(self._decoder.finish(clean))

    def _joined(self, events: list[Event]) -> list[Event]:
        self.ended = self._decoder.ended
        out: list[Event] = []
        for event in events:
            self._pass(event, out)
        self._transcript.feed(out)
        return out

    def _pass(self, event: Event, out: list[Event]) -> None:
        part = getattr(event, "part", None)
        if isinstance(event, Start):
            return
        if isinstance(event, Ping):
            if self._sent:
                out.append(event)
        elif isinstance(event, ReasoningStart | Reasoning) or (isinstance(event, Seal) and part not in self._parts):
            self._reply.unsaid.add("continuation:reasoning")
        elif isinstance(event, TextStart) and self._open >= 0 and self._open not in self._parts.values():
            self._parts[event.part] = self._open
        elif isinstance(event, Text) and self._parts.get(event.part) == self._open:
            self._say(event, out)
        elif isinstance(event, PartStop) and part not in self._parts:
            return
        elif isinstance(event, PartStop) and self._parts[event.part] == self._open:
            self._close(out)
        else:
            self._other(event, out)

    def _say(self, event: Text, out: list[Event]) -> None:
        text = event.text
        if self._space:
            stripped = text.lstrip()
            begin = text[: len(text) - len(stripped)]
            text = begin.removeprefix(self._space) + stripped if begin.startswith(self._space) else text
            self._space = ""
        text = self._overlap.feed(text)
        if text:
            self._sent = True
            out.append(Text(self._open, text))

    def _close(self, out: list[Event]) -> None:
        """End the text that both share."""
        if self._open >= 0:
            if rest := self._overlap.finish():
                out.append(Text(self._open, rest))
            out.append(PartStop(self._open))
            self._open = -1

    def _other(self, event: Event, out: list[Event]) -> None:
        """What does not belong to the text that both share."""
        if isinstance(event, TextStart | ToolStart | Metered | Stop):
            self._close(out)
        self._sent = True
        if isinstance(event, Metered):
            event = Metered(with_spent(event.usage, self._spent) or event.usage)
        elif isinstance(event, Citation):  # its place in the text of both is not known
            event = replace(event, part=self._parts[event.part], start=None, end=None)
        elif isinstance(event, TextStart | ToolStart):
            self._parts[event.part] = self._next
            event = replace(event, part=self._next)
            self._next += 1
            if isinstance(event, ToolStart) and event.seal is not None:
                event = replace(event, seal=replace(event.seal, part=event.part))
        elif isinstance(event, Text | Arguments | Seal | PartStop):
            event = replace(event, part=self._parts[event.part])
        out.append(event)


def continuable(request: Request) -> bool:
    """Whether an answer to this request may be continued: free text, of any length, that no tool has to be called for."""
    choice = request.settings.get("tool_choice")
    forced = choice is not None and (choice.value.mode in ("required", "tool") or choice.value.required)
    return not forced and "output" not in request.settings and not request.include_logprobs and not request.compacts


def formed(changes: Iterable[tuple[str, object]]) -> bool:
    """Whether members that an operator sets, by their paths, make an answer one that may not be continued."""
    return any(name in _FORMS for path, value in changes if value is not None for name in (*path.split("."), *_names(value)))


def _names(value: object) -> Iterable[str]:
    return value if isinstance(value, dict) else ()


def lowered(changes: Iterable[tuple[str, object]], texts: list[str]) -> list[tuple[str, object]]:
    """These changes, with a limit of tokens that is set less by those of the texts. Raises Unsupported when none are left."""
    return [(path, _lowered(path.rpartition(".")[2], value, texts)) for path, value in changes]


def _lowered(name: str, value: object, texts: list[str]) -> object:
    if isinstance(value, dict):
        return {inner: _lowered(inner, limit, texts) for inner, limit in value.items()}
    return _left(value, texts) if name in _LIMITS else value


def ask(request: Request, texts: list[str], upstream: Shape, capabilities: Capabilities) -> bool:
    """Change a request so that its answer goes on where these texts end. Returns whether it does so exactly, by prefill.

    Raises Unsupported when the answer may have no more tokens.
    """
    where = (request.habits.turns_at,)
    _limit(request, texts)
    thinking = request.settings.get("thinking")
    exact = upstream.prefills(capabilities) and (thinking is None or thinking.value.level == "off") and bool(texts[-1].strip())
    request.turns.append(Turn("assistant", [TextPart(text, where) for text in texts if text], where))
    if not exact:
        request.turns.append(Turn("user", [TextPart(INSTRUCTION, where)], where))
    return exact


def _limit(request: Request, texts: list[str]) -> None:
    limit = request.settings.get("max_tokens")
    if limit is not None:
        request.settings["max_tokens"] = Setting(_left(limit.value, texts), limit.path)


def _left(limit: Any, texts: list[str]) -> Any:
    if not isinstance(limit, int):
        return limit
    left = limit - sum(map(len, texts)) // _TOKEN
    if left < 1:
        raise Unsupported("the answer has had its tokens", param="max_tokens")
    return left
