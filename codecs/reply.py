"""What a decoder and an encoder must know of the exchange to bring an answer down. Pure data: clocks and chance are given, not read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .dialect import OPENAI, Dialect
from .ledger import encoded, joined
from .recall import Recall
from .request import Request
from .tools import ToolMap


class Encoded(NamedTuple):
    """What goes up: the upstream's body, and the tools' names by which its answer is read."""

    body: dict[str, Any]
    tools: ToolMap


MAX_ANSWER = 64 * 1024 * 1024

LABELS, LONGEST = 32, 100  # of Unsaid, and characters of one


@dataclass(slots=True)
class Unsaid:
    """What the upstream said and the client cannot be told: how often, and the first labels (see events.Opaque), each once.

    Encoders add what they are given as Opaque; decoders add what they do not know at all. category: of a refusal, one word of the
    upstream's, for the log; "" when it gave none. It stands here also where the client is told it.
    """

    count: int = 0
    labels: list[str] = field(default_factory=list)
    category: str = ""

    def add(self, label: str) -> None:
        self.count += 1
        if len(self.labels) < LABELS and (label := label[:LONGEST]) not in self.labels:
            self.labels.append(label)

    def header(self) -> str:
        """The value of a report header, as a ledger's."""
        return joined([encoded(label) for label in self.labels])


@dataclass(slots=True)
class Reply:
    """One attempt's answer: the request it answers, and what routing decided.

    Nothing here is shared between exchanges, and nothing is thread-safe.
    """

    request: Request
    tools: ToolMap = field(default_factory=ToolMap)
    echo_model: str | None = None  # the alias that the caller asked for; None leaves what the upstream says
    domain: str = ""  # whose reasoning this is: the upstream's reasoning_domain
    upstream: str = ""  # the shape that answers
    request_id: str = ""
    nonce: str = "0" * 32  # 32 random hex digits, for ids that cannot be derived
    created: int = 0  # when the gateway received the answer, seconds since the epoch
    completed: int = 0  # when it ended, known before Stop is fed; 0: take `created`
    response_id: str = ""  # responses clients: the id to give out; empty: resp_ and the nonce
    previous_response_id: str | None = None
    conversation_id: str | None = None
    # responses, of an answer that is carried as it came: the response object that the client knows, and how many events it was given
    begun: dict[str, Any] | None = None
    given: int = 0
    unsaid: Unsaid = field(default_factory=Unsaid)
    # about how many bytes of a streamed answer may be kept for what its end repeats (see `lanes.Extent`)
    max_answer: int = MAX_ANSWER
    recall: Recall | None = None  # notes what the next request needs of this answer; None: nobody asks
    # responses clients: how the answer is told, and whether an upstream's objects get the members that they lack
    dialect: Dialect = OPENAI
    complete: bool = False
    phases: bool = False  # responses clients: texts are told apart as commentary and final answer
    announced: int = 0  # responses clients: events of this answer that they have got before it began (of a background response)
