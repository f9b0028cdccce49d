"""A stream's one timer: it begins the stream when the upstream takes long, and sends keep-alives while nothing else is sent.

Proxies in front of a gateway close a request that has no head for 60 seconds or so. A stream therefore begins by time, with status
200 and a comment: the exchange can still try other candidates, and tells a failure in the stream's own way.

Callers of a stateful API are also sent an event now and then: agents have timers that neither comments nor pings reset.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exchange import Exchange

EARLY = 0.01  # seconds that a timer may go off too early
SOONEST = 0.05  # seconds until the next look


class Heartbeat:
    """From its making on until `stop`."""

    __slots__ = (
        "_beaten",
        "_exchange",
        "_silence",
        "_timer",
        "_times",
    )

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._times = times = exchange.services.config.keep_alive
        self._timer: asyncio.TimerHandle = exchange.services.loop.call_later(min(times.stream, times.begin_after), self._beat)
        self._beaten = 0.0  # when the last keep-alive was written, in monotonic seconds
        self._silence = 0.0  # seconds up to then without anything but keep-alives

    def stop(self) -> None:
        self._timer.cancel()

    def _beat(self) -> None:
        exchange, times, now = self._exchange, self._times, monotonic()
        caller, waited = exchange.client, now - exchange.begun
        if not caller.committed and caller.has_head:
            if waited >= times.begin_after - EARLY:
                exchange.begin_by_time(exchange.speaks.keep_alive(False))
                self._beaten, self._silence = monotonic(), waited
            wait = times.stream if caller.committed else max(SOONEST, min(times.stream, times.begin_after - waited))
        else:
            idle = caller.idle_since(now)
            wait = times.stream
            if idle >= times.stream - EARLY:
                self._keep_alive(now, idle)
            else:
                wait -= idle
        self._timer = exchange.services.loop.call_later(wait, self._beat)

    def _keep_alive(self, now: float, idle: float) -> None:
        """idle: seconds since the last write, which may have been a keep-alive."""
        exchange, caller = self._exchange, self._exchange.client
        attempt = exchange.attempts[-1] if exchange.attempts else None
        self._silence = self._silence + idle if now - idle <= self._beaten else idle
        progress = b""
        if attempt is not None and exchange.speaks.stateful and self._silence >= self._times.progress - EARLY:
            progress, self._silence = attempt.progress(), 0.0
        beat = progress or (attempt.keep_alive() if attempt is not None else exchange.speaks.keep_alive(False))
        if beat:
            caller.write(beat)
            self._beaten = monotonic()
