"""The hub's vocabulary: what any model's answer is made of, whatever shape carried it.

A decoder turns an upstream's frames into these, an encoder turns these into a client's frames. What every decoder guarantees
(the table is in `machine.py`, and encoders rely on it):

- `Start` first and once; exactly one of `Stop` and `Fault` last, nothing after it; `Stop` only after proof of completion;
- every part is opened once and closed once, its number is fresh and ascending from 0;
- at most one of {text, reasoning} is open, and it is closed before any other part opens; tools may be open concurrently.

The records are mutable only because that makes them cheap to build; nobody changes one after it was handed on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import GatewayError
from .usage import Usage


@dataclass(slots=True)
class Start:
    """The model has begun to answer."""

    id: str  # the upstream's id of the answer; "" when it gave none
    model: str  # what the upstream calls the model; "" when it does not say
    created: int  # seconds since the epoch; 0 when the upstream does not say


@dataclass(slots=True)
class TextStart:
    part: int
    apart: bool = False  # begins a message of its own: where an answer has one text only, a blank line comes before it


@dataclass(slots=True)
class Text:
    part: int
    text: str  # never empty
    logprobs: list[Any] | None = None  # the OpenAI shapes' token entries for this piece


@dataclass(slots=True)
class ReasoningStart:
    """A run of thinking; what seals it (signature, encrypted form) comes before its `PartStop`."""

    part: int


@dataclass(slots=True)
class Reasoning:
    part: int
    text: str  # never empty; "\n\n" stands between two summary parts of one item


@dataclass(slots=True)
class Seal:
    """What the provider wants back with this part, verbatim, on the next turn: with reasoning or text, while it is open.

    form: what the value is. "anthropic": a thinking block's signature. "redacted": a redacted block's data. "openai": encrypted_content.
    "details": entries of a chat upstream's `reasoning_details` as JSON, the part's text among them, when no other form says all of them.
    "google": a thought signature. A tool call's stands in its ToolStart, since callers must have it before the call or with it.
    """

    part: int
    form: str
    value: str  # may be "" in the openai form
    id: str = ""  # openai form: the reasoning item's id
    summary: tuple[str, ...] = ()  # openai form: the item's summary parts


@dataclass(slots=True)
class ToolStart:
    part: int
    id: str  # "" when the upstream gave none: the encoder mints one
    name: str  # as the client declared it
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
    """The model declines, in words of its own. Not bound to a part."""

    text: str


@dataclass(slots=True)
class Citation:
    """A source for a stretch of a text part; comes while that part is open."""

    part: int
    url: str
    title: str
    start: int | None = None  # code points into the part's text; None: the whole part
    end: int | None = None
    cited_text: str = ""


@dataclass(slots=True)
class Search:
    """The provider has searched the web for this answer. Not bound to a part."""

    id: str  # the upstream's of the call; "" when it gave none
    query: str
    sources: tuple[str, ...]  # URLs that were found; empty when the upstream does not tell
    label: str  # as of Opaque, for callers whose API has no word for it


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
    """Something of the upstream's that no other shape can say; reported, not carried."""

    label: str  # a path in the upstream's answer, e.g. content[2]:server_tool_use


@dataclass(slots=True)
class Metered:
    """What the answer cost in tokens; at most once, right before `Stop`."""

    usage: Usage


@dataclass(slots=True)
class Stop:
    """The model has finished, and the upstream proved it."""

    reason: str  # one of REASONS
    sequence: str | None = None  # reason "stop_sequence": which one
    explanation: str | None = None  # reason "refusal": the provider's words


@dataclass(slots=True)
class Fault:
    """The answer broke off."""

    error: GatewayError


@dataclass(slots=True)
class Ping:
    """The upstream says that it is still there."""


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
"""Why an answer may have stopped, in the hub's words. Each shape has its own for every one of them."""
