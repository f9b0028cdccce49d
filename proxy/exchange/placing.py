"""The order in which a request tries its candidates, where several stand at one place: by its conversation, else by the balance.

And whom a request is surely too long for, so that those who stand in for that are asked at once (`retry_policy.on_context_window`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...codecs.opening import digest, opening
from ..routing.candidate import Candidate
from ..routing.router import TOO_LONG
from ..wire import bodies
from ..wire.headers import SESSIONS
from .spent import read

if TYPE_CHECKING:
    from .exchange import Exchange


_SESSIONS = frozenset(SESSIONS)  # as HTTPHeaders writes names
LONG = 8  # bytes of a token at most, twice as many as are usual


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


async def least_tokens(body: bytes) -> int:
    """The tokens that a request surely has. What it continues of stored responses is not counted."""
    return await bodies.apart(len(body) > bodies.AT_ONCE, lambda: read(body)) // 2


def fitting(exchange: Exchange, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """The candidates, with those that stand in for it in the place of one for which the request is too long."""

    def takes(one: Candidate) -> bool:
        return exchange.tokens <= exchange.route.windows.get(one.seed, exchange.tokens)

    by_seed: dict[bytes, Candidate] = {}
    for candidate in candidates:
        others = () if takes(candidate) else tuple(filter(takes, exchange.instead(candidate, TOO_LONG)))
        for one in others or (candidate,):
            by_seed.setdefault(one.seed, one)
    return tuple(by_seed.values())


def in_region(exchange: Exchange, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """The candidates that process requests where this one must be processed, or are told so in their own API.

    If there is none, all of them: the first refuses it.
    """
    member = exchange.speaks.region_at
    wanted = exchange.scan.value.get(member) if member else None
    if wanted in (None, "global"):
        return candidates
    able = tuple([one for one in candidates if one.shape == exchange.shape or one.capabilities.region == wanted])
    return able or candidates


def session(exchange: Exchange) -> bytes | None:
    """What tells the conversation of a request from others; None where nothing does, and for what is no conversation."""
    if not _SESSIONS.isdisjoint(exchange.headers):
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
