"""The hub's events: the elements of a model's answer, independent of the shape.

A decoder turns an upstream's frames into events, an encoder turns events into a client's frames. Every decoder guarantees the
following order (the table is in `machine.py`), and encoders rely on it:

- `Start` is first and occurs once; exactly one of `Stop` and `Fault` is last; `Stop` requires proof of completion;
- every part is opened once and closed once; parts are numbered in ascending order from 0;
- at most one text or reasoning part is open, and it is closed before any other part opens; tools may be open concurrently.

The records are mutable only because creating them is then cheaper; they are not changed after they were returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import GatewayError
from .usage import Usage


@dataclass(slots=True)
class Start:
    """The answer has started."""

    id: str  # the upstream's id of the answer; "" if it sent none
    model: str  # the upstream's name of the model; "" if it sent none
    created: int  # seconds since the epoch; 0 if the upstream sent none


@dataclass(slots=True)
class TextStart:
    part: int
    apart: bool = False  # starts a separate message: in shapes with a single text, a blank line precedes it


@dataclass(slots=True)
class Text:
    part: int
    text: str  # never empty
    logprobs: list[Any] | None = None  # the OpenAI shapes' token entries for this piece


@dataclass(slots=True)
class ReasoningStart:
    """A run of reasoning. Its seals (signature, encrypted form) precede its `PartStop`."""

    part: int


@dataclass(slots=True)
class Reasoning:
    part: int
    text: str  # never empty; "\n\n" separates two summary parts of one item


@dataclass(slots=True)
class Seal:
    """Opaque data that the provider needs back verbatim on the next turn. For an open reasoning or text part.

    form: the type of the value. "anthropic": a thinking block's signature. "redacted": a redacted block's data. "openai":
    encrypted_content. "details": entries of a chat upstream's `reasoning_details` as JSON, including the part's text, if no other form
    represents them completely. "google": a thought signature. The seal of a tool call is in its ToolStart, because callers need it
    before or with the call.
    """

    part: int
    form: str
    value: str  # may be "" in the openai form
    id: str = ""  # openai form: the reasoning item's id
    summary: tuple[str, ...] = ()  # openai form: the item's summary parts


@dataclass(slots=True)
class ToolStart:
    part: int
    id: str  # "" if the upstream sent none: the encoder creates one
    name: str  # as declared by the client
    kind: str = "function"  # "function" (arguments are JSON text) or "custom" (free text)
    namespace: str | None = None
    seal: Seal | None = None  # of this part


@dataclass(slots=True)
class Arguments:
    """A piece of a tool call's arguments (JSON text), or of a custom tool's input."""

    part: int
    text: str  # never empty


@dataclass(slots=True)
class Refusal:
    """A piece of the model's refusal. Not bound to a part."""

    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A place in a document or a search result of the request. kind: as a citation of the Messages API has it. See passages.py."""

    kind: str
    index: int
    start: int
    end: int
    source: str = ""  # of a search result


@dataclass(slots=True)
class Citation:
    """A source for a range of a text part, sent while that part is open."""

    part: int
    url: str  # "" if it is no web page: then there is a passage
    title: str
    start: int | None = None  # offset in the part's text in code points; None: the entire part
    end: int | None = None
    cited_text: str = ""
    passage: Passage | None = None
    label: str = ""  # as in Opaque, for callers whose API has web pages alone; only without a url


@dataclass(slots=True)
class Search:
    """A web search made by the provider for this answer. Not bound to a part."""

    id: str  # the upstream's id of the call; "" if it sent none
    query: str
    sources: tuple[str, ...]  # URLs of the results; empty if the upstream sent none
    label: str  # as in Opaque, for callers whose API cannot express it


@dataclass(slots=True)
class Media:
    """An image that the model made. Not bound to a part."""

    media_type: str
    data: str  # base64
    label: str  # as in Opaque, for callers whose API cannot express it


@dataclass(slots=True)
class Compacting:
    """The model has begun to sum up the conversation. Not bound to a part."""


@dataclass(slots=True)
class Compaction:
    """A summary that takes the place of all that stood before it. Not bound to a part."""

    summary: str  # never empty
    tokens: int  # that it stands for; 0 when nobody counted them
    label: str  # as of Opaque, for callers whose API has no word for it


@dataclass(slots=True)
class PartStop:
    part: int


@dataclass(slots=True)
class Opaque:
    """Upstream content that no other shape can express: reported, not carried."""

    label: str  # a path in the upstream's answer, e.g. content[2]:server_tool_use
    within: bool = False  # a text, which goes on behind it: else what follows stands apart


@dataclass(slots=True)
class Metered:
    """The usage in tokens; at most once, right before `Stop`."""

    usage: Usage


@dataclass(slots=True)
class Stop:
    """The answer is complete, as proved by the upstream."""

    reason: str  # one of REASONS
    sequence: str | None = None  # the matched sequence, for reason "stop_sequence"
    explanation: str | None = None  # the provider's text, for reason "refusal"


@dataclass(slots=True)
class Fault:
    """The answer broke off, or failed."""

    error: GatewayError
    usage: Usage | None = None  # of all of the answer, if the upstream said it before the failure or with it


@dataclass(slots=True)
class Ping:
    """A keep-alive of the upstream."""


Event = (
    Start
    | TextStart
    | Text
    | ReasoningStart
    | Reasoning
    | Seal
    | ToolStart
    | Arguments
    | Refusal
    | Citation
    | Search
    | Media
    | Compacting
    | Compaction
    | PartStop
    | Opaque
    | Metered
    | Stop
    | Fault
    | Ping
)

REASONS = ("end", "stop_sequence", "tool", "length", "context", "filter", "refusal", "pause")
"""The neutral stop reasons. Each shape has an equivalent for each of them."""


def with_usage(events: list[Event], usage: Usage | None) -> list[Event]:
    """The last events of an answer; if it failed, with the usage of all of it."""
    last = events[-1] if events else None
    return [*events[:-1], Fault(last.error, usage)] if isinstance(last, Fault) else events


def metered(events: list[Event]) -> Usage | None:
    """The usage of a complete answer, also of one that failed."""
    usages = (event.usage for event in reversed(events) if isinstance(event, Metered | Fault))
    return next((usage for usage in usages if usage is not None), None)
