"""A stream's one timer: it begins the stream when the upstream takes long, and sends keep-alives while nothing else is sent.

Proxies in front of a gateway close a request that has no head for 60 seconds or so. A stream therefore begins by time, with status
200 and a comment: the exchange can still try other candidates, and tells a failure in the stream's own way.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from ...codecs.sse import KEEP_ALIVE

if TYPE_CHECKING:
    from .exchange import Exchange

EARLY = 0.01  # seconds that a timer may go off too early
SOONEST = 0.05  # seconds until the next look


class Heartbeat:
    """From its making on until `stop`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._times = times = exchange.services.config.keep_alive
        self._timer: asyncio.TimerHandle = exchange.services.loop.call_later(min(times.stream, times.begin_after), self._beat)

    def stop(self) -> None:
        self._timer.cancel()

    def _beat(self) -> None:
        exchange, times, now = self._exchange, self._times, monotonic()
        caller, waited = exchange.client, now - exchange.begun
        if not caller.committed:
            if waited >= times.begin_after - EARLY:
                exchange.begin_by_time(KEEP_ALIVE)
        elif caller.idle_since(now) >= times.stream - EARLY:
            beat = exchange.attempts[-1].keep_alive() if exchange.attempts else KEEP_ALIVE
            if beat:
                caller.write(beat)
        wait = times.stream if caller.committed else max(SOONEST, min(times.stream, times.begin_after - waited))
        self._timer = exchange.services.loop.call_later(wait, self._beat)
