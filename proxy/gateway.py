"""What all exchanges of one worker share: the configuration in force, the upstream clients, the memory, and who is being served."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..codecs import errors, model_names, splice
from ..codecs.ids import digest
from ..conf.model import Config
from .exchange.demo import DemoClient
from .exchange.exchange import Exchange
from .inspector.taps import Inspector
from .keys.access import Access
from .keys.cost import cost
from .keys.quota import Counters, LocalCounters, Quota
from .memory import stores
from .memory.turn import State
from .routing.ejection import Ejection
from .routing.router import Candidate, Router
from .telemetry import log as journal
from .telemetry.metrics import Metrics
from .wire.upstream import UpstreamClient

if TYPE_CHECKING:
    from .telemetry.tracing import Tracer

log = logging.getLogger("dragoman")

LESSON_SECONDS = 3600.0
LESSONS_KEPT = 1000


class Gateway:
    """One worker's. Make it inside the running loop."""

    def __init__(
        self,
        config: Config,
        tell: Callable[[dict[str, Any]], None] | None = None,
        counters: LocalCounters | None = None,
        number: int = 0,
    ) -> None:
        """tell: what gets each exchange's log line; None logs nothing. counters: what the workers of this machine share.

        number: this worker's among several.
        """
        self.metrics = Metrics()
        self.inspector = Inspector(number)
        self.tracer = _tracer(config)  # None: nothing is traced
        self.upstream = UpstreamClient(force_instance=True, max_idle=1024)
        self.demo = DemoClient()
        self.exchanges: set[Exchange] = set()
        self.serving: set[object] = set()  # requests that are read or answered, exchanges and others
        self.draining = False
        self.state = State(stores.make(config.state_storage), config.state_storage.ttl)
        self._counters = _counters(config, counters or LocalCounters())
        self._tell = tell
        self.loop = asyncio.get_running_loop()
        self._learned: dict[tuple[str, str], float] = {}  # (upstream, what it refuses) -> until when that is believed, loop time
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Put a configuration in force for the exchanges to come; those under way keep what they have."""
        router = Router(config)
        self.ejection = Ejection(self.loop.time)
        self.access = Access(config.access_keys)
        self.quota = Quota(config.access_keys, self._counters)
        self.config, self.router = config, router
        self._own_credentials = any(entry.passthrough_auth for entry in config.model_providers)
        self.timeout = next((one.timeout for one in config.listeners if one.type == "model"), None)

    def upstream_for(self, candidate: Candidate) -> Any:
        return self.demo if candidate.built_in else self.upstream

    def learn(self, candidate: Candidate, lesson: str) -> None:
        """An upstream refused something that most take; believed for an hour. lesson: a name of attempt.LESSONS."""
        self._learned[candidate.name, lesson] = self.loop.time() + LESSON_SECONDS
        if len(self._learned) > LESSONS_KEPT:
            self._learned.pop(next(iter(self._learned)))

    def knows(self, candidate: Candidate, lesson: str) -> bool:
        return self._learned.get((candidate.name, lesson), 0.0) > self.loop.time()

    def admit(self, exchange: Exchange) -> None:
        """Raises Unauthorized for a caller without a key, Overloaded when this worker takes no more."""
        exchange.key_name = self.access.admit(exchange.credential)
        most = self.config.limits.max_streams
        if self.draining or (most is not None and len(self.exchanges) > most):
            error = errors.Overloaded("The gateway takes no more requests at the moment.")
            error.retry_after = 1
            raise error

    def check_model(self, name: str, model: str | None) -> None:
        """Raises Forbidden when the key called `name` may not use the model; without one the default is meant, if there is one."""
        asked = self.router.default if model is None else model
        if asked is not None:
            self.access.check_model(name, asked)

    def check_models(self, name: str, scan: splice.Scan, body: bytes, query: str = "") -> None:
        """Raises Forbidden when the key called `name` may not use every model that a request asks for; Malformed and WrongType too.

        What the body names besides `model` reaches the upstream as it is written: the gateway's own aliases mean nothing there.
        """
        self.check_model(name, scan.model)
        if not self.access.restricted(name):
            return
        for named in model_names.names(body, scan, query):
            if named.name in self.config.model_aliases:
                raise errors.Forbidden(f"`{named.name[:200]}` is an alias of this gateway: name the model itself.", param=named.param)
            self.access.check_model(name, named.name, named.param)

    def affordable(self, name: str, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """The candidates that the budget of the key called `name` can count. Raises Forbidden when there is none."""
        if not self.access.wants_prices(name):
            return candidates
        found = tuple(candidate for candidate in candidates if candidate.price is not None or candidate.built_in)
        if not found:
            raise errors.Forbidden("The budget of this API key allows no model without a price.", param="model")
        return found

    def owner(self, key_name: str, credential: str | None) -> str:
        """Whose the state is that this caller makes and sees: its access key's, or (where callers bring their own) its credential's."""
        return key_name if key_name or credential is None or not self._own_credentials else f"credential {digest(credential, 32)}"

    def lets_through(self, candidate: Candidate) -> bool:
        """Whether a caller may name at this upstream what the gateway has not seen it make: it can be nobody else's."""
        return not self.config.access_keys or candidate.provider.passthrough_auth

    def settle(self, exchange: Exchange) -> None:
        """The exchange is over, however it ended."""
        now = monotonic()
        self.metrics.settled(exchange, now, self.router.declares)
        attempt = exchange.attempts[-1] if exchange.attempts else None
        if attempt is not None:
            self.quota.settle(exchange.key_name, attempt.spent, cost(attempt.spent, attempt.candidate.price))
        if exchange.trace is not None:
            exchange.trace.settle(now)
        line = journal.line(exchange, now)
        if self._tell is not None:
            self._tell(line)
        if exchange.tap is not None:
            exchange.tap.close(line)

    async def close(self) -> None:
        self.upstream.close()
        await self._counters.close()
        await self.state.close()
        if self.tracer is not None:
            await self.tracer.close()


def _tracer(config: Config) -> Tracer | None:
    """Imported here and not above: without an endpoint nothing of OpenTelemetry is loaded."""
    if config.tracing.otlp_endpoint is None:
        return None
    try:
        from .telemetry.tracing import Tracer
    except ImportError as error:
        log.error("tracing is off: it needs the extra dragoman[otel] (%s)", error)
        return None
    return Tracer(config.tracing)


def _counters(config: Config, here: LocalCounters) -> Counters:
    """Where the use of access keys is counted: in Redis when that keeps the state, for all replicas."""
    if config.state_storage.type != "redis":
        return here
    stores.check(config.state_storage)
    from .keys.quota_redis import RedisCounters

    return RedisCounters(config.state_storage.url or "", here)
