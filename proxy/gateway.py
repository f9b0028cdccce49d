"""What all requests of one worker share: the configuration, the upstream client, stored state, metrics, requests in progress.

It holds no logic of a request: that is in exchange/ and the handlers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any

from ..codecs import compaction, lessons
from ..conf import ConfigError
from ..conf.model import Config
from .credentials.mounted import Mounted
from .credentials.sources import Credentials, source_of
from .exchange.demo import DemoClient
from .exchange.envelopes import Keys
from .exchange.exchange import Exchange
from .exchange.hooks import Hooks, Load
from .exchange.lessons import Lessons
from .exchange.services import Live, Services
from .exchange.turnstile import Turnstile
from .inspector.links import Note
from .inspector.taps import Inspector
from .keys.access import Access
from .keys.gate import Gate
from .keys.quota import Counters, LocalCounters, Quota
from .memory import recent, stores
from .memory.turn import State
from .routing.balance import Balance
from .routing.candidate import Candidate
from .routing.discovery import Discovery
from .routing.ejection import Ejection
from .routing.health import Health
from .routing.listing import Listing
from .routing.router import Router
from .telemetry.metrics import Metrics
from .wire import egress
from .wire.bodies import Bodies
from .wire.others import Others
from .wire.upstream import UpstreamClient

if TYPE_CHECKING:
    from .control.control import Control
    from .keys.tokens import Tokens
    from .telemetry.tracing import Tracer

log = logging.getLogger("dragoman")

CLOSING = 2.0  # seconds for hooks to be told of the last answers


class Gateway:
    """The shared state of one worker; create it inside the running loop. services: for exchanges that begin now."""

    services: Services

    def __init__(
        self,
        config: Config,
        tell: Callable[[dict[str, Any]], None] | None = None,
        counters: LocalCounters | None = None,
        number: int = 0,
    ) -> None:
        """tell: called with each exchange's log line; None logs nothing. counters: shared by the workers of this machine.

        number: of this worker, 0 if it is the only one.
        """
        self.metrics = Metrics()
        self.bodies = Bodies(0)
        self.inspector = Inspector(number)
        self.tracer = _tracer(config)  # None: tracing is off
        self.credentials = Credentials(self.metrics.renewed)
        self._mounted = Mounted(self._rotated)
        self.upstream = UpstreamClient(force_instance=True, max_idle=1024)
        self.ready = True  # whether /readyz answers 200
        self.state = State(stores.make(config.state_storage), config.state_storage.ttl, config.state_storage.reasoning_ttl)
        self.live = Live()
        self._turnstile = Turnstile()
        self.recent = recent.Worker(lambda cause: self.metrics.websocket_evicted.labels(cause).inc())
        self.loop = asyncio.get_running_loop()
        self._demo = DemoClient()
        self._counters = _counters(config, counters or LocalCounters())
        self._tell = tell
        self.on_notes: Callable[[], None] = lambda: None  # called when `notes` changes
        self._lessons = Lessons(self.loop.time, lambda: self.on_notes())
        self._balance = Balance(self.loop.time, changed=lambda: self.on_notes())
        self._health: Health | None = None
        self._discovery = Discovery(self.upstream)
        self.control = _control(config, self._counters, self.metrics)
        self._tokens: Tokens | None = None
        self._hook_load = Load()
        self.adopt(config)

    async def open(self) -> None:
        """Read what must be known before requests come."""
        if self.control is not None:
            await self.control.open()

    def adopt(self, config: Config) -> None:
        """Apply a configuration to new exchanges; those in progress keep the old one. All or nothing.

        Raises ConfigError for files of certificates, and what else keeps it from being built.
        """
        contexts = egress.contexts(config)
        lock = Keys(config.compaction.seal_key) if config.compaction.seal_key else None
        sources = self.credentials.prepared(config)
        others = Others(self.upstream, config.egress, contexts)
        tokens = self._tokens_of(config)
        callers = (None if self.control is None else self.control.directory, tokens)
        access = Access(config.access_keys, [source for source in callers if source is not None])
        reserve = None if self.control is None else self.control.reserving(config)
        router = Router(config, contexts=contexts, source=partial(source_of, sources))
        listers = router.listers()
        services = Services(
            config=config,
            router=router,
            listing=Listing(router, self._discovery),
            ejection=Ejection(self.loop.time, lambda: self.on_notes()),
            balance=self._balance,
            access=access,
            gate=Gate(config, access) if Gate.needed(config) else None,
            place_gate=Gate(config, access),
            tokens=tokens,
            others=others,
            hooks=Hooks(config.hooks, others, self.metrics, self._hook_load) if config.hooks else None,
            quota=Quota(self._counters),
            state=self.state,
            upstream=self.upstream,
            demo=self._demo,
            lessons=self._lessons,
            metrics=self.metrics,
            watcher=self.inspector,
            tracer=self.tracer,
            tell=self._tell,
            record=None if self.control is None else self.control.record,
            live=self.live,
            turnstile=self._turnstile,
            loop=self.loop,
            paces=self._balance if config.routing.balance == "latency" else None,
            counts=self._balance if config.routing.balance == "least_busy" else None,
            own_credentials=any(entry.passthrough_auth for entry in config.model_providers),
        )
        health = Health(router, services.ejection, self.upstream, self.metrics.probed)
        entries = config.model_providers
        self._mounted.adopt({entry.access_key_file: entry.access_key for entry in entries if entry.access_key_file and entry.access_key})

        # all is there: what follows puts it in force, and does not fail
        if self._health is not None:
            self._health.close()
        if self._tokens is not None and self._tokens is not tokens:
            self._tokens.close()
        self.services, self._health, self._tokens = services, health, tokens
        self.upstream.renew()
        compaction.lock_with(lock)
        self.bodies.most = max(config.limits.max_body, config.limits.max_bodies)
        if reserve is not None:
            reserve()
        self.credentials.adopt(sources)
        if tokens is not None:
            tokens.use(others, *(() if self.control is None else (self.control.directory.limits_of,)))
        self._discovery.adopt(listers)
        self.on_notes()

    def _rotated(self, keys: Mapping[str, str]) -> None:
        """Use new keys from now on. keys: by the file."""
        pairs = ((entry, keys.get(entry.access_key_file or "")) for entry in self.config.model_providers)
        entries = tuple(entry if key is None else entry.with_key(key) for entry, key in pairs)
        try:
            self.adopt(replace(self.config, model_providers=entries))
        except ConfigError as error:  # of certificates
            log.error("new keys were not taken: %s", error)
        else:
            log.info("new keys were taken from %s", ", ".join(sorted(keys)))

    def _tokens_of(self, config: Config) -> Tokens | None:
        """The tokens of the issuer, with its keys where that is as it was."""
        if config.jwt is None:
            return None
        if self._tokens is not None and self._tokens.settings == config.jwt:
            return self._tokens
        from .keys.tokens import Tokens

        return Tokens(config.jwt)

    def notes(self) -> list[Note]:
        """Notes on upstreams for operators."""
        now, mark, services = time(), self.services.router.mark, self.services

        def note(one: Candidate, text: str, left: float, lesson: dict[str, str] | None = None) -> Note:
            return Note(mark(one.provider), one.model, text, now + left, lesson)

        notes = [note(one, "failed recently, tried last", left) for one, left in services.ejection.passed_over()]
        for one, lesson, left in self._lessons.all():
            api = one.speaks.api
            notes.append(note(one, f"learned over {api}: {lesson.text},", left, {"api": api} | lessons.described(lesson)))
        for one, pace, left in services.balance.paces():
            notes.append(note(one, f"{pace * 1e3:.3g} ms to the first content per token of input, shown", left))
        for one, count, left in services.balance.moved():
            notes.append(note(one, f"{count} conversations of others moved here, remembered", left))
        return notes

    @property
    def config(self) -> Config:
        return self.services.config

    @property
    def router(self) -> Router:
        return self.services.router

    @property
    def exchanges(self) -> set[Exchange]:
        """The exchanges in progress."""
        return self.live.exchanges

    @property
    def serving(self) -> set[object]:
        """All requests in progress, exchanges and others."""
        return self.live.serving

    @property
    def draining(self) -> bool:
        """Whether new exchanges are refused."""
        return self.live.draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self.live.draining = draining
        for socket in list(self.live.sockets) if draining else ():
            socket.drain()

    async def close(self) -> None:
        if self._health is not None:
            self._health.close()
        self._discovery.close()
        await self._hook_load.close(CLOSING)
        self.upstream.close()
        self.credentials.close()
        self._mounted.close()
        if self.control is not None:
            await self.control.close()
        if self._tokens is not None:
            self._tokens.close()
        await self._counters.close()
        await self.state.close()
        if self.tracer is not None:
            await self.tracer.close()
        self.metrics.flush()


def _tracer(config: Config) -> Tracer | None:
    """The tracer, or None. Imported lazily, so that OpenTelemetry is loaded only when an endpoint is configured."""
    if config.tracing.otlp_endpoint is None:
        return None
    try:
        from .telemetry.tracing import Tracer
    except ImportError as error:
        log.error("tracing is off: it needs the extra dragoman[otel] (%s)", error)
        return None
    return Tracer(config.tracing)


def _control(config: Config, counters: Counters, metrics: Metrics) -> Control | None:
    """The control store's part in this worker; None where none is configured, and nothing of it is imported."""
    if config.control is None:
        return None
    from .control.control import Control

    return Control(config.control, counters, metrics)


def _counters(config: Config, here: LocalCounters) -> Counters:
    """The counters of access keys: in Redis, for all replicas, when the state is stored there; else `here`."""
    if config.state_storage.type != "redis":
        return here
    stores.check(config.state_storage)
    from .keys.quota_redis import RedisCounters

    return RedisCounters(config.state_storage.url or "", here)
