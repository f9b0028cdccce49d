"""The order in which a request tries its candidates, where several stand at one place: by its conversation, else by the balance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...codecs.opening import digest, opening
from ..routing.router import Candidate
from ..wire.headers import SESSIONS

if TYPE_CHECKING:
    from .exchange import Exchange


class Placing:
    """The choice for one request. chosen: what chose the first candidate, as Balance.arranged says it; "" if there was no choice."""

    __slots__ = ("_exchange", "_first", "_session", "candidates", "chosen")

    def __init__(self, exchange: Exchange, candidates: tuple[Candidate, ...]) -> None:
        """candidates: those that can serve the request. Afterwards they are in the order to try, ejected ones not yet considered."""
        services, self._exchange = exchange.services, exchange
        routing = services.config.routing
        self._session = session(exchange) if routing.affinity == "auto" else None
        self.candidates, self.chosen = services.balance.arranged(
            exchange.route.ranks, candidates, self._session, routing.balance or "weight", asks=not exchange.dry
        )
        self._first = self.candidates[0]

    def answered(self, candidate: Candidate) -> None:
        """This candidate answered: the conversation stays there."""
        if self._session is not None:
            self._exchange.services.balance.answered(self._session, self._first, candidate, self._exchange.route.ranks)


def session(exchange: Exchange) -> bytes | None:
    """What tells the conversation of a request from others; None where nothing does, and for what is no conversation."""
    for name in SESSIONS:
        value = exchange.headers.get(name)
        if value:
            return digest("session", value)
    if exchange.operation.lane == "raw":
        return None
    body, state = exchange.scan.value, exchange.state
    key = body.get("prompt_cache_key")
    if isinstance(key, str) and key:
        return digest("prompt_cache_key", key)
    conversation = body.get("conversation")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
    if isinstance(conversation, str) and conversation:
        return digest("conversation", conversation)
    return opening(body, [] if state is None else state.beginning)
