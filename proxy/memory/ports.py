"""What this package needs from the packages above it, as protocols: the gateway, an exchange, its caller and its lane.

The packages above import this one, never the reverse.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ...codecs import errors, splice
from ...conf.model import Config
from ..routing.candidate import Candidate
from ..routing.router import Router
from .records import Item

if TYPE_CHECKING:
    from .background import Job
    from .recent import Lane as RecentLane
    from .turn import State, Turn


class Services(Protocol):
    """What the exchanges of a worker share."""

    @property
    def config(self) -> Config: ...
    @property
    def router(self) -> Router: ...
    @property
    def state(self) -> State: ...

    def one_team(self) -> bool:
        """Whether all callers may use the names that any of them was given."""

    def lets_through(self, candidate: Candidate) -> bool:
        """Whether a caller may use names at this upstream that no answer has given to that caller."""


class Caller(Protocol):
    """The connection that an answer is sent to."""

    @property
    def committed(self) -> bool:
        """Whether the answer has begun."""

    @property
    def gone(self) -> bool:
        """Whether the connection is closed."""

    def start(self, headers: Mapping[str, str], first: bytes) -> Awaitable[Any] | None:
        """Begin a stream. Await the result, if any, before the next write."""

    def write(self, data: bytes) -> Awaitable[Any] | None:
        """Continue the stream. Await the result, if any, before the next write."""

    async def finish(self, last: bytes = b"") -> None:
        """End the stream."""

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a complete answer."""


class Asked(Protocol):
    """The members of an exchange that its Turn uses."""

    turn: Turn | None

    @property
    def services(self) -> Services: ...
    @property
    def owner(self) -> str: ...
    @property
    def nonce(self) -> str: ...
    @property
    def stream(self) -> bool: ...
    @property
    def dry(self) -> bool:
        """Whether the request is not sent."""

    @property
    def scan(self) -> splice.Scan: ...
    @property
    def heavy(self) -> bool:
        """Whether what looks at all of the request's body is done in a thread."""

    @property
    def client(self) -> Caller: ...
    @property
    def recent(self) -> RecentLane | None:
        """Of a connection that keeps its recent responses."""

    def own_headers(self) -> dict[str, str]: ...

    def give_up(self) -> None:
        """End the exchange."""

    def go_on_as(self, job: Job) -> None:
        """Write to the job from now on, as a stream; the caller has been answered."""


class Answer(Protocol):
    """A streamed answer, as its encoder knows it. response: the complete object, set when the answer has ended."""

    response: Item | None

    def fail(self, error: errors.GatewayError) -> bytes:
        """The bytes of a failure that replaces the end of the answer."""


class Lane(Protocol):
    """A lane whose response may be stored. error: why the answer failed."""

    error: errors.GatewayError | None

    @property
    def usage(self) -> Any:
        """The usage that the upstream has reported so far."""

    @property
    def answer(self) -> Any:
        """An Answer when the response is stored."""

    def fail(self, error: errors.GatewayError) -> bytes:
        """The bytes of a failure that replaces the end of an answer that could not be stored."""
