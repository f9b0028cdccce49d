"""What may look on while an exchange runs. The inspector implements these protocols; an exchange has one observer, or none.

Strategy: nobody stands on the way of a read unless somebody looks. An observer that wants to see bytes or events is asked, when the
exchange and each of its attempts begin, for something that stands in front of the real thing and has the same public methods: the
caller's side, the upstream client, the decoder. Without an observer these are the real things themselves.

An observer changes nothing: it hands on what it was handed, and raises nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ...codecs.events import Event
from ...codecs.shape import Decoder
from ..telemetry.account import Account
from .caller import Caller

if TYPE_CHECKING:
    from .attempt import Attempt
    from .exchange import Exchange


class Watcher(Protocol):
    """Gives observers."""

    def open(self, exchange: Exchange) -> ExchangeObserver | None:
        """An exchange begins. None: nobody looks at it."""


class ExchangeObserver(Protocol):
    """Looks on at one exchange."""

    def caller(self, caller: Caller) -> Caller:
        """What stands in front of the caller's side from now on: sees the head, and the body or the frames, that the caller gets."""

    def attempt(self, attempt: Attempt) -> AttemptObserver:
        """An attempt begins; nothing of it has been prepared."""

    def ended(self, account: Account) -> None:
        """The exchange is over."""


class AttemptObserver(Protocol):
    """Looks on at one attempt."""

    def upstream(self, client: Any) -> Any:
        """What stands in front of the upstream client: sees the request (which has been prepared), the answer's head, and its body
        or the frames."""

    def decoder(self, decoder: Decoder) -> Decoder:
        """What stands in front of the decoder of a stream: sees the events that it makes."""

    def events(self, events: list[Event]) -> None:
        """Events that were decoded from a whole answer."""

    def ended(self) -> None:
        """The attempt is over, however it ended; why it failed, if it did, is its `error`."""
