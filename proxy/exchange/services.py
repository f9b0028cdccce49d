"""What an exchange works with: one frozen record, made anew for each configuration.

An exchange keeps the record that it began with, so a reload changes nothing for requests under way. What must outlive a
configuration (the upstream clients, the memory, the metrics, who is being served) is the same object in each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tornado.httputil import HTTPHeaders

from ...codecs import errors, model_names, splice
from ...codecs.ids import digest
from ...conf.model import Config
from ..keys.access import Access
from ..keys.gate import Gate
from ..keys.identity import Identity
from ..keys.quota import Quota
from ..routing.balance import Balance
from ..routing.candidate import Candidate
from ..routing.ejection import Ejection
from ..routing.listing import Listing
from ..routing.router import Router
from ..telemetry.account import Account
from ..telemetry.metrics import Metrics
from ..wire import bodies
from ..wire.networks import UNKNOWN, Networks, Source
from ..wire.others import Others
from ..wire.upstream import UpstreamClient
from .demo import DemoClient
from .lessons import Lessons
from .turnstile import Turnstile

if TYPE_CHECKING:
    from ..keys.tokens import Tokens
    from ..memory.turn import State
    from ..telemetry.tracing import Tracer
    from .exchange import Exchange
    from .hooks import Hooks
    from .observer import Watcher


class Socket(Protocol):
    """A connection that outlives its requests. drain: the process ends: close when those under way have ended."""

    def drain(self) -> None: ...


@dataclass(slots=True)
class Live:
    """Who is being served by this worker.

    exchanges: requests that reach an upstream. serving: every request that is read or answered. sockets: connections that serve one
    request after the other. draining: no new exchange begins.
    """

    exchanges: set[Exchange] = field(default_factory=set)
    serving: set[object] = field(default_factory=set)
    sockets: set[Socket] = field(default_factory=set)
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Services:
    """tell: gets each exchange's log line; None logs nothing. record: gets each account, and what tells whether a model is declared.

    paces, counts: the balance, where it needs to be told of attempts.
    """

    config: Config
    router: Router
    listing: Listing
    ejection: Ejection
    balance: Balance
    access: Access
    tokens: Tokens | None  # None: no `jwt` is configured
    others: Others
    hooks: Hooks | None  # None: none is configured
    gate: Gate | None  # None: nothing is configured that it checks
    place_gate: Gate  # for when a key turns up that may be used from certain networks only
    quota: Quota
    state: State
    upstream: UpstreamClient
    demo: DemoClient
    lessons: Lessons
    metrics: Metrics
    watcher: Watcher
    tracer: Tracer | None
    tell: Callable[[dict[str, Any]], None] | None
    record: Callable[[Account, Callable[[str], bool]], None] | None  # None: there is no control store
    live: Live
    turnstile: Turnstile
    loop: asyncio.AbstractEventLoop
    paces: Balance | None
    counts: Balance | None
    own_credentials: bool  # some provider is called with the caller's own credential

    def upstream_for(self, candidate: Candidate) -> UpstreamClient | DemoClient:
        return self.demo if candidate.built_in else self.upstream

    def admit(self, exchange: Exchange) -> None:
        """Raises Unauthorized for a caller without a key, Overloaded when this worker takes no more."""
        exchange.identity = self.access.admit(exchange.key)
        most = self.config.limits.max_streams
        if self.live.draining or (most is not None and len(self.live.exchanges) > most):
            error = errors.Overloaded("The gateway accepts no more requests at the moment.")
            error.retry_after = 1
            raise error

    def check_place(self, peer: str, headers: HTTPHeaders, allowed: Networks, shape: str) -> Source:
        """Where a request comes from. Raises Forbidden for an address that may not use the listener, or the caller's key. See Gate."""
        gate = self.place_gate if self.gate is None and self.access.located else self.gate
        if gate is None:
            return UNKNOWN
        source = gate.source(peer, headers, allowed)
        gate.check_key(headers, shape, source)
        return source

    def check_model(self, identity: Identity, model: str | None) -> None:
        """Raises Forbidden when the caller may not use the model; None means the default model, if there is one."""
        asked = self.router.default if model is None else model
        if asked is not None:
            identity.check_model(asked)

    async def check_models(self, identity: Identity, scan: splice.Scan, body: bytes, query: str) -> None:
        """Raises Forbidden when the caller may not use every model that a request asks for; Malformed and WrongType too.

        What the body names besides `model` reaches the upstream as it is written: the gateway's own aliases mean nothing there.
        """
        self.check_model(identity, scan.model)
        if not identity.restricted:
            return
        for named in await bodies.in_steps(model_names.names(body, scan, query), len(body) <= bodies.AT_ONCE):
            if named.name in self.config.model_aliases:
                raise errors.Forbidden(f"`{named.name[:200]}` is an alias of this gateway: name the model itself.", param=named.param)
            identity.check_model(named.name, named.param)

    def affordable(self, identity: Identity, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """The candidates that the caller's budgets can count. Raises Forbidden when there is none."""
        if not identity.wants_prices:
            return candidates
        priced = tuple(candidate for candidate in candidates if candidate.price is not None or candidate.built_in)
        if not priced:
            raise errors.Forbidden("The budget of this API key allows no model without a price.", param="model")
        return priced

    def owner(self, key_name: str, credential: str | None) -> str:
        """Whose the state is that this caller makes and sees: its access key's, or (where callers bring their own) its credential's."""
        return key_name if key_name or credential is None or not self.own_credentials else f"credential {digest(credential, 32)}"

    def one_team(self) -> bool:
        """Whether all callers may name what any of them was given by an upstream."""
        return self.access.open or self.config.state_storage.shared_upstream_ids

    def lets_through(self, candidate: Candidate) -> bool:
        """Whether a caller may name at this upstream what the gateway has not seen it give to that caller: it is nobody else's, or all
        callers are one team.
        """
        return candidate.provider.passthrough_auth or self.one_team()
