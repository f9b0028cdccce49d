"""What decoders and encoders of an answer need to know of the exchange. Pure data: time and random values are passed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from .dialect import OPENAI, Dialect
from .errors import GatewayError
from .ledger import encoded, joined
from .recall import Recall
from .request import Request
from .tools import ToolMap

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Encoded(NamedTuple):
    """An encoded request: the upstream's body, the tool names needed to decode its answer, and headers for what the body cannot say."""

    body: dict[str, Any]
    tools: ToolMap
    headers: Mapping[str, str] = _NO_HEADERS


MAX_ANSWER = 64 * 1024 * 1024

LABELS, LONGEST = 32, 100  # number of labels in Unsaid, and characters of one


@dataclass(slots=True)
class Unsaid:
    """Upstream content that could not be sent to the client: its number, and the first distinct labels (see events.Opaque).

    Encoders add what they are given as Opaque; decoders add what they do not know at all. category: of a refusal, one word of the
    upstream's, for the log; "" when it gave none. It stands here also where the client is told it. routed: the model to which the upstream
    gave the request, likewise. failure: what went wrong, as the upstream's framing told it, where an event can say less.
    """

    count: int = 0
    labels: list[str] = field(default_factory=list)
    category: str = ""
    routed: str = ""
    failure: GatewayError | None = None

    def add(self, label: str) -> None:
        self.count += 1
        if len(self.labels) < LABELS and (label := label[:LONGEST]) not in self.labels:
            self.labels.append(label)

    def header(self) -> str:
        """The value of the report header, in the form of Ledger.header."""
        return joined([encoded(label) for label in self.labels])


@dataclass(slots=True)
class Reply:
    """The context of one attempt's answer: the request, and the decisions of routing.

    Not shared between exchanges, and not thread-safe.
    """

    request: Request
    tools: ToolMap = field(default_factory=ToolMap)
    echo_model: str | None = None  # the alias requested by the caller; None: the upstream's name is passed on
    domain: str = ""  # the origin of the reasoning: the upstream's reasoning_domain
    upstream: str = ""  # the shape of the upstream
    tier: str = ""  # the service tier that the upstream names in a header
    numbered_calls: bool = False  # the upstream's ids of calls begin anew in each answer
    answer_id: str = ""  # of the answer, that the upstream names in a header
    request_id: str = ""
    nonce: str = "0" * 32  # 32 random hex digits, for ids that cannot be derived
    asks: int = 0  # tokens of the request, about: for a stream that tells them before its upstream has counted
    created: int = 0  # time of the answer's receipt, seconds since the epoch
    completed: int = 0  # time of its end, set before Stop is fed; 0: use `created`
    response_id: str = ""  # responses clients: the response id; empty: resp_ and the nonce
    previous_response_id: str | None = None
    conversation_id: str | None = None
    # responses: if the beginning was passed on unchanged, the response object sent to the client, and the number of events sent
    begun: dict[str, Any] | None = None
    events_sent: int = 0
    unsaid: Unsaid = field(default_factory=Unsaid)
    # approximate limit in bytes of a streamed answer buffered for its end, which repeats it (see `lanes.Extent`)
    max_answer: int = MAX_ANSWER
    settled: Callable[[], object] = lambda: None  # called by a decoder whose answer is complete, but for a usage that may follow
    # of an answer that its upstream gives in several: what the last one says to ask for the next one with, "" if it is over (set by the
    # decoder); and how many were asked for after the first
    rest: str = ""
    followed: int = 0
    recall: Recall | None = None  # records what the next request needs of this answer; None: not needed
    # responses clients: how the answer is told, and whether an upstream's objects get the members that they lack
    dialect: Dialect = OPENAI
    complete: bool = False
    phases: bool = False  # responses clients: texts are told apart as commentary and final answer
    announced: int = 0  # responses clients: number of events sent before the answer started (of a background response)
