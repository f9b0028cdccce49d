"""Compaction: a model's summary takes the place of the older part of a conversation.

The vendors' own compactions are theirs to read. Over every other upstream the gateway asks the same model for a summary in an ordinary
request: the same instructions, tools and history, so that the prompt cache is read, and one more message that asks. The caller gets the
summary in an envelope, which any replica can open without a store, and which stands in every later request for what was before it.

The envelope is `dgc1.` and base64url of JSON. It holds what the caller said or was answered, and takes the place of a user's words when
it comes back: so it is neither signed nor secret. A hash tells one that was damaged. Operators who must not show summaries have them
encrypted: `dgc2.` and base64url of what the process's lock made of the same JSON. What is not encrypted is read all the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol

from . import jsontext
from .errors import NoSummary
from .events import Compacting, Compaction, Event, Fault, Metered, Opaque, Ping, Refusal, Start, Stop, Text, TextStart, ToolStart
from .ledger import STORED, Path
from .request import Request, Setting, TextPart, ToolChoice, Turn
from .shape import Decoder
from .sse import Frame
from .usage import Usage, added, count

ENVELOPE, LOCKED = "dgc1.", "dgc2."
LONGEST = 262_144  # bytes of a summary
LONGEST_ENVELOPE = 10_485_760  # characters
FIRST_LINE = "Summary of the conversation so far, made by the model when older messages were removed:"
PROMPT = """\
Write a summary of this conversation. It will replace all messages so far, and whoever goes on with the work will know nothing else of \
them. Write down:

- the task and its constraints, in the user's own words where they matter;
- the decisions that were made, and why;
- the state of files, commands and tests, with their exact names, paths and values;
- what was tried and failed, and how;
- results of tools that are still needed;
- what is to be done next.

Write the summary alone: no greeting, no question. Do not call a tool."""

_KIND = "s"
_PRELUDE = (Start, Ping, Opaque, Fault)
_COMPLETE = frozenset({"end", "stop_sequence", "tool"})  # reasons to stop with which a summary is whole
# settings that say how another answer is to look
_ANSWERS_FORM = ("output", "stop", "logprobs", "top_logprobs", "max_tokens")


# ---- the envelope ----


class Lock(Protocol):
    """Encrypts envelopes."""

    def close(self, inside: bytes) -> bytes: ...
    def open(self, closed: bytes) -> bytes | None:
        """None for what it did not close, or what was changed since."""


_locks: list[Lock] = []  # that of this process, if it has one


def lock_with(lock: Lock | None) -> None:
    """From now on, use this lock; without one, envelopes are not encrypted."""
    _locks[:] = [] if lock is None else [lock]


def seal(summary: str, model: str, made: int, tokens: int) -> str:
    """A summary as the caller keeps it. model: as the caller named it. made: seconds since the epoch. tokens: that it stands for."""
    inside = {"k": _KIND, "s": summary, "m": model, "t": made, "n": tokens, "h": _hash(summary)}
    data, prefix = jsontext.dumps(inside), ENVELOPE
    for lock in _locks:
        data, prefix = lock.close(data), LOCKED
    return prefix + base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def is_sealed(text: Any) -> bool:
    """Whether it is an envelope of a gateway's: one that cannot be read is damaged, and no other provider's either."""
    return isinstance(text, str) and text.startswith((ENVELOPE, LOCKED))


def unseal(text: str) -> str | None:
    """The summary in an envelope of ours; None for one that is damaged."""
    inside = _inside(text)
    return None if inside is None else inside["s"]


def stands_for(text: str) -> int:
    """The tokens that the summary in an envelope of ours stands for; 0 if nobody counted them."""
    return count((_inside(text) or {}).get("n"))


def _inside(text: str) -> dict[str, Any] | None:
    raw = text[len(ENVELOPE) :]
    if len(text) > LONGEST_ENVELOPE or not is_sealed(text) or not raw.isascii():
        return None
    try:
        data: bytes | None = base64.b64decode(raw + "=" * (-len(raw) % 4), altchars=b"-_", validate=True)
        if text.startswith(LOCKED):
            data = next((lock.open(data) for lock in _locks if data), None)
        inside = jsontext.loads(data or b"")
    except (ValueError, binascii.Error):
        return None
    if not isinstance(inside, dict) or inside.get("k") != _KIND:
        return None
    summary = inside.get("s")
    if not isinstance(summary, str) or not is_readable(summary) or inside.get("h") != _hash(summary):
        return None
    return inside


def is_readable(summary: str) -> bool:
    """Whether a text is one that can stand for a conversation: there is some, and not too much."""
    return bool(summary.strip()) and len(_bytes(summary)) <= LONGEST


def as_message(summary: str) -> str:
    """What a model gets instead of what was summed up: a message of the user, since a summary of what strangers wrote may not instruct."""
    return f"{FIRST_LINE}\n\n{summary}"


def _hash(summary: str) -> str:
    return hashlib.sha256(_bytes(summary)).hexdigest()[:16]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# ---- the request ----


def ask(request: Request, prompt: str, limit: int, tools: bool = True) -> None:
    """Make a request for an answer one for a summary of it. limit: tokens. tools: whether the model may call one all the same."""
    path: Path = (STORED,)  # nothing of this is the caller's
    request.turns.append(Turn("user", [TextPart(prompt, path)], path, plain=True))
    for name in _ANSWERS_FORM:
        request.settings.pop(name, None)
    request.include_logprobs = False
    request.set("max_tokens", limit, *path)
    choice = request.settings.get("tool_choice")
    if not tools:
        request.settings["tool_choice"] = Setting(ToolChoice("none", path), path)
    elif choice is not None and choice.value.mode not in ("none", "auto"):
        request.settings["tool_choice"] = choice._replace(value=ToolChoice("auto", choice.path))


# ---- the answer ----


class Summary:
    """Hub events of an answer that is a summary: its text as one Compaction, the rest of it left out.

    An answer without a text, or that was cut, refused or filtered, ends in a Fault: half a summary would lose the other half.
    """

    def __init__(self, spent: Usage | None = None) -> None:
        """spent: what was used before for the same summary, and counts with it."""
        self._spent = spent
        self._pieces: list[str] = []
        self._size = 0  # bytes
        self._apart = False
        self._called = False
        self._refused = False
        self._usage: Usage | None = None

    def feed(self, events: Iterable[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if isinstance(event, Text):
                out += self._text(event.text)
            elif isinstance(event, TextStart):
                self._apart = event.apart and self._size > 0
            elif isinstance(event, ToolStart):
                self._called = True
            elif isinstance(event, Refusal):
                self._refused = True
            elif isinstance(event, Metered):
                self._usage = with_spent(event.usage, self._spent)
            elif isinstance(event, Stop):
                out += self._end(event.reason)
            elif isinstance(event, Start | Ping):
                out.append(event)
            elif isinstance(event, Fault):
                out.append(Fault(event.error, event.usage and with_spent(event.usage, self._spent)))
        return out

    def _text(self, text: str) -> list[Event]:
        text, self._apart = "\n\n" + text if self._apart else text, False
        first, self._size = not self._size, self._size + len(_bytes(text))
        if self._size <= LONGEST:
            self._pieces.append(text)
        return [Compacting()] if first else []

    def _end(self, reason: str) -> list[Event]:
        summary, usage = "".join(self._pieces), self._usage
        metered: list[Event] = [] if usage is None else [Metered(usage)]
        if self._refused or self._size > LONGEST or reason not in _COMPLETE or not is_readable(summary):
            return [*metered, Fault(NoSummary("The model returned no summary.", reason, called=self._called and not self._size))]
        return [Compaction(summary, 0 if usage is None else usage.input, "compaction"), *metered, Stop("end")]


class Summing:
    """The decoder of an answer that is a summary, around that of the upstream's API."""

    def __init__(self, decoder: Decoder, spent: Usage | None) -> None:
        self.ended = False
        self._decoder = decoder
        self._spent = spent
        self._summary = Summary(spent)

    @property
    def usage(self) -> Usage | None:
        return with_spent(self._decoder.usage, self._spent)

    @property
    def counted(self) -> bool:
        return self._decoder.counted

    def feed(self, frame: Frame) -> list[Event]:
        return self._over(self._decoder.feed(frame))

    def finish(self, clean: bool) -> list[Event]:
        return self._over(self._decoder.finish(clean))

    def _over(self, events: list[Event]) -> list[Event]:
        self.ended = self._decoder.ended
        return self._summary.feed(events)


def with_spent(usage: Usage | None, spent: Usage | None) -> Usage | None:
    """A usage, and what was used before it."""
    return usage if spent is None else spent if usage is None else added(usage, spent)


class Preceded:
    """The decoder of an answer that a summary precedes: the summary comes first, and what it used counts with the answer."""

    def __init__(self, decoder: Decoder | None, summary: Compaction, spent: Usage | None) -> None:
        """decoder: None for a whole answer, whose events `over` is given."""
        self.ended = False
        self._decoder = decoder
        self._summary: Compaction | None = summary  # until it was told
        self._spent = spent

    @property
    def usage(self) -> Usage | None:
        return with_spent(None if self._decoder is None else self._decoder.usage, self._spent)

    @property
    def counted(self) -> bool:
        return self._decoder is not None and self._decoder.counted

    def feed(self, frame: Frame) -> list[Event]:
        assert self._decoder is not None
        return self._passed(self._decoder.feed(frame))

    def finish(self, clean: bool) -> list[Event]:
        assert self._decoder is not None
        return self._passed(self._decoder.finish(clean))

    def _passed(self, events: list[Event]) -> list[Event]:
        self.ended = self._decoder is not None and self._decoder.ended
        return self.over(events)

    def over(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if self._summary is not None and not isinstance(event, _PRELUDE):  # before it another upstream may take over
                out.append(self._summary)
                self._summary = None
            if isinstance(event, Metered | Fault) and event.usage is not None and self._spent is not None:
                event = replace(event, usage=added(event.usage, self._spent))
            out.append(event)
        return out
