"""Hedging: when no content has come after a while, another candidate is asked too, and the first content decides.

Strategy: the candidates are one queue, and a line takes one after the other from it, as an exchange without hedging does. A race
begins with one line; a second one begins when `routing.hedge_after` is over. An attempt claims the race when it has content (when it
commits); the other line is cancelled in the same turn of the loop, and its upstream's connection closed. Nothing of an attempt is seen
outside of it before that claim.

Only streams are hedged: of a whole answer nothing is known until it is complete. Requests that make an upstream do more than answer
are not (`codecs/effects.py`), and whether one does is looked at when it is late, so that one in time pays nothing for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Literal

from ...codecs import effects, errors
from ...codecs.errors import GatewayError
from ..routing.candidate import Candidate
from ..wire import bodies
from .waiting import seen

if TYPE_CHECKING:
    from .attempt import Attempt
    from .exchange import Exchange

Failed = list[tuple[Candidate, GatewayError]]
Ask = Callable[[Candidate, Failed], Awaitable[bool]]


def possible(exchange: Exchange, candidates: tuple[Candidate, ...]) -> bool:
    """Whether a request may be hedged, as far as that is known before it is read."""
    if not exchange.services.config.routing.hedge_after or len(candidates) < 2 or not exchange.stream:
        return False
    turn = exchange.turn
    if exchange.operation.lane != "shape" or exchange.compacting or any(candidate.acts for candidate in candidates):
        return False
    return turn is None or (turn.job is None and not any(turn.keeping(candidate) == "upstream" for candidate in candidates))


class Race:
    """The candidates of one exchange, asked by up to two lines. hedged: the second line has begun. winner: the line that answers."""

    __slots__ = ("_ask", "_candidates", "_exchange", "_lines", "_tasks", "hedged", "winner")

    def __init__(self, exchange: Exchange, candidates: tuple[Candidate, ...], ask: Ask) -> None:
        """ask: tries a candidate, as Exchange._try."""
        self._exchange = exchange
        self._candidates = iter(candidates)
        self._ask = ask
        self._tasks: list[asyncio.Task[bool]] = []
        self._lines: dict[Attempt, asyncio.Task[bool] | None] = {}
        self.hedged = False
        self.winner: asyncio.Task[bool] | None = None

    @property
    def outcome(self) -> Literal["", "first", "second", "none"]:
        """Which line's content came first; "" without a second line."""
        if not self.hedged:
            return ""
        if self.winner is None:
            return "none"
        return "first" if self.winner is self._tasks[0] else "second"

    async def run(self, failed: Failed) -> bool:
        """Whether a candidate answered. Raises GatewayError when no candidate could mend it, or an answer that was begun failed."""
        after = self._exchange.services.config.routing.hedge_after
        try:
            self._begin(failed)
            await asyncio.wait(self._tasks, timeout=after)
            if await self._hedges():
                self.hedged = True
                self._begin(failed)
            return await self._answered()
        finally:
            await self._end()

    def begins(self, attempt: Attempt) -> None:
        """An attempt begins; called in its line."""
        self._lines[attempt] = asyncio.current_task()

    def claim(self, attempt: Attempt) -> bool:
        """An attempt is about to give out its answer. False: another line does."""
        line = self._lines[attempt]
        if self.winner is None:
            self.winner = line
            self._last(attempt)
            for task in self._tasks:
                if task is not line:
                    task.cancel()
            for other, its in self._lines.items():
                if its is not line and "end" not in other.times:
                    self._overtaken(other)
        return self.winner is line

    # ---- lines ----

    def _begin(self, failed: Failed) -> None:
        self._tasks.append(self._exchange.services.loop.create_task(self._line(failed)))

    async def _line(self, failed: Failed) -> bool:
        for candidate in self._candidates:
            if await self._ask(candidate, failed):
                return True
        return False

    async def _hedges(self) -> bool:
        """Whether a second line is to begin now."""
        exchange = self._exchange
        if self.winner is not None or self._tasks[0].done() or exchange.client.gone:
            return False
        try:
            acts = await bodies.apart(exchange.heavy, partial(_acts, exchange))
        except errors.ClientFault:
            return False  # what cannot be read may have effects
        return not acts and self.winner is None and not self._tasks[0].done()

    async def _answered(self) -> bool:
        waiting = set(self._tasks)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if self._result(task):
                    return True
        return False

    def _result(self, task: asyncio.Task[bool]) -> bool:
        if task.cancelled():
            return False  # overtaken
        if self.winner not in (None, task):
            return False  # it failed in the moment in which the other one's content came
        try:
            return task.result()
        except GatewayError as error:
            for attempt in self._exchange.attempts:
                if attempt.error is error:
                    self._last(attempt)
                    break
            raise

    async def _end(self) -> None:
        """Both lines are over, so that the exchange can be settled."""
        for task in self._tasks:
            task.cancel()
        live = [task for task in self._tasks if not task.done()]
        if live:
            await asyncio.wait(live)
        for task in self._tasks:
            seen(task)
        self._lines.clear()

    # ---- the claim ----

    def _last(self, attempt: Attempt) -> None:
        """The last attempt is the one that the caller is told of."""
        attempts = self._exchange.attempts
        attempts.remove(attempt)
        attempts.append(attempt)

    def _overtaken(self, attempt: Attempt) -> None:
        attempt.overtaken = True
        services, sent = self._exchange.services, attempt.times.get("sent")
        if services.paces is not None and sent is not None and self.winner is not self._tasks[0]:
            services.paces.waited(attempt.candidate, monotonic() - sent, len(attempt.request.body or b""))


def _acts(exchange: Exchange) -> bool:
    """Raises ClientFault for a body that cannot be read."""
    turn = exchange.turn
    items = () if turn is None else (turn.items(),)
    return effects.acts(exchange.speaks.decode_request(exchange.scan.value, *items), exchange.speaks.stateful)
