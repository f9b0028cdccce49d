"""What the memory needs of those above it, as protocols: the gateway, one exchange, its caller and its lane.

The rooms above import this one, never the other way round.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ...codecs import errors, splice
from ...codecs.shape import Shape
from ...conf.model import Config
from ..routing.router import Candidate, Router
from .records import Item

if TYPE_CHECKING:
    from .background import Job
    from .turn import State, Turn


class Services(Protocol):
    """What the exchanges of a worker share."""

    @property
    def config(self) -> Config: ...
    @property
    def router(self) -> Router: ...
    @property
    def state(self) -> State: ...

    def lets_through(self, candidate: Candidate) -> bool:
        """Whether a caller may name at this upstream what the gateway has not seen it give to that caller."""


class Caller(Protocol):
    """Who is answered: a connection."""

    @property
    def committed(self) -> bool:
        """Whether the answer has begun."""

    @property
    def gone(self) -> bool:
        """Whether nobody listens any more."""

    def start(self, headers: Mapping[str, str], first: bytes) -> Awaitable[Any] | None:
        """Begin a stream."""

    def write(self, data: bytes) -> Awaitable[Any] | None:
        """Go on with it. What is returned is to be awaited before the next write."""

    async def finish(self, last: bytes = b"") -> None:
        """End it."""

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer."""


class Asked(Protocol):
    """One exchange of a responses caller, as its Turn sees it."""

    turn: Turn | None

    @property
    def services(self) -> Services: ...
    @property
    def shape(self) -> str: ...
    @property
    def speaks(self) -> Shape: ...
    @property
    def owner(self) -> str: ...
    @property
    def nonce(self) -> str: ...
    @property
    def stream(self) -> bool: ...
    @property
    def scan(self) -> splice.Scan: ...
    @property
    def client(self) -> Caller: ...

    def own_headers(self) -> dict[str, str]: ...

    def give_up(self) -> None:
        """End it."""

    def go_on_as(self, job: Job) -> None:
        """Write to the job from now on, as a stream; the caller has its answer."""


class Answer(Protocol):
    """An answer that is streamed, as what writes it out knows it. response: the whole object, once it has ended."""

    response: Item | None

    def fail(self, error: errors.GatewayError) -> bytes:
        """The failure, instead of the end."""


class Lane(Protocol):
    """error: why the answer failed."""

    error: errors.GatewayError | None

    @property
    def usage(self) -> Any:
        """What the upstream counted, as far as the answer has said it."""

    @property
    def answer(self) -> Any:
        """An Answer, of a lane whose response is stored."""

    def fail(self, error: errors.GatewayError) -> bytes:
        """The failure, instead of the end that could not be stored."""
