"""What an exchange works with: one frozen record, made anew for each configuration.

An exchange keeps the record that it began with, so a reload changes nothing for requests under way. What must outlive a
configuration (the upstream clients, the memory, the metrics, who is being served) is the same object in each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from ...codecs import errors
from ...codecs.ids import digest
from ...conf.model import Config
from ..keys.access import Access
from ..keys.cost import cost
from ..keys.quota import Quota
from ..routing.ejection import Ejection
from ..routing.router import Candidate, Router
from ..telemetry import log as journal
from ..telemetry.metrics import Metrics
from ..wire.upstream import UpstreamClient
from .demo import DemoClient
from .lessons import Lessons

if TYPE_CHECKING:
    from ..memory.turn import State
    from ..telemetry.tracing import Tracer
    from .exchange import Exchange


class Watcher(Protocol):
    """Who may look on while an exchange runs: gives the exchange its tap, or None."""

    def open(self, exchange: Exchange) -> Any: ...


@dataclass(slots=True)
class Live:
    """Who is being served by this worker.

    exchanges: requests that reach an upstream. serving: every request that is read or answered. draining: no new exchange begins.
    """

    exchanges: set[Exchange] = field(default_factory=set)
    serving: set[object] = field(default_factory=set)
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Services:
    """tell: gets each exchange's log line; None logs nothing. timeout: seconds of a whole request, None for no limit."""

    config: Config
    router: Router
    ejection: Ejection
    access: Access
    quota: Quota
    state: State
    upstream: UpstreamClient
    demo: DemoClient
    lessons: Lessons
    metrics: Metrics
    watcher: Watcher
    tracer: Tracer | None
    tell: Callable[[dict[str, Any]], None] | None
    live: Live
    loop: asyncio.AbstractEventLoop
    timeout: float | None
    own_credentials: bool  # some provider is called with the caller's own credential

    def upstream_for(self, candidate: Candidate) -> UpstreamClient | DemoClient:
        return self.demo if candidate.built_in else self.upstream

    def admit(self, exchange: Exchange) -> None:
        """Raises Unauthorized for a caller without a key, Overloaded when this worker takes no more."""
        exchange.key_name = self.access.admit(exchange.credential)
        most = self.config.limits.max_streams
        if self.live.draining or (most is not None and len(self.live.exchanges) > most):
            error = errors.Overloaded("The gateway takes no more requests at the moment.")
            error.retry_after = 1
            raise error

    def check_model(self, name: str, model: str | None) -> None:
        """Raises Forbidden when the key called `name` may not use the model; None means the default model, if there is one."""
        asked = self.router.default if model is None else model
        if asked is not None:
            self.access.check_model(name, asked)

    def owner(self, key_name: str, credential: str | None) -> str:
        """Whose the state is that this caller makes and sees: its access key's, or (where callers bring their own) its credential's."""
        return key_name if key_name or credential is None or not self.own_credentials else f"credential {digest(credential, 32)}"

    def lets_through(self, candidate: Candidate) -> bool:
        """Whether a caller may name at this upstream what the gateway has not seen it give to that caller: it is nobody else's, or all
        callers are one team.
        """
        shared = self.config.state_storage.shared_upstream_ids
        return shared or not self.config.access_keys or candidate.provider.passthrough_auth

    def settle(self, exchange: Exchange) -> None:
        """Count, charge, trace and log an exchange that is over, however it ended."""
        now = monotonic()
        self.metrics.settled(exchange, now, self.router.declares)
        attempt = exchange.attempts[-1] if exchange.attempts else None
        if attempt is not None:
            self.quota.settle(exchange.key_name, attempt.spent, cost(attempt.spent, attempt.candidate.price))
        if exchange.trace is not None:
            exchange.trace.settle(now)
        line = journal.line(exchange, now)
        if self.tell is not None:
            self.tell(line)
        if exchange.tap is not None:
            exchange.tap.close(line)
