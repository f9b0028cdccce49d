"""What is done when an exchange is over: one account is made of it, and everything that is counted, logged or charged is made of that.

This is the one place that reads live exchanges and attempts for telemetry; nothing that it calls sees more than the account.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from time import monotonic, time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...codecs import errors
from ...conf import providers
from ...conf.model import Price
from ..keys.cost import charged
from ..routing.candidate import Candidate, described
from ..telemetry import LEFT
from ..telemetry import log as journal
from ..telemetry.account import LONGEST_MODEL, Account, Call, Target, error_kind, failure
from ..wire import headers as travel
from .spent import used

if TYPE_CHECKING:
    from .attempt import Attempt
    from .exchange import Exchange

_DATE = re.compile(r"-[0-9]{8}\Z")  # at the end of a model's name

# settings of a request that traces show, all of them numbers
_SETTINGS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "seed",
)


def settle(exchange: Exchange) -> None:
    """Charge, count, trace and log an exchange that is over, however it ended. To be called once."""
    done = account(exchange)
    if not exchange.dry:
        _count(exchange, done)
    if exchange.services.tell is not None:
        exchange.services.tell(journal.line(done))
    if exchange.observer is not None:
        exchange.observer.ended(done)


def _count(exchange: Exchange, done: Account) -> None:
    shared = exchange.services
    if exchange.identity.limits:
        for call in done.charged:
            shared.quota.settle(exchange.identity, call.usage, call.cost or 0.0)
    shared.metrics.settled(done, shared.router.declares)
    if shared.record is not None:
        shared.record(done, shared.router.declares)
    if exchange.trace is not None:
        exchange.trace.settle(done)
    if shared.hooks is not None:
        shared.hooks.after(exchange, done)


def account(exchange: Exchange) -> Account:
    """What is known of an exchange when nothing of it goes on any more."""
    client, error, operation, scan = exchange.client, exchange.error, exchange.operation, exchange.scan
    calls: list[Call] = []
    called: set[tuple[int, bytes]] = set()  # upstreams; over another API one is the same
    for attempt in exchange.attempts:
        upstream = (id(attempt.candidate.provider), attempt.candidate.seed)
        calls.append(_call(exchange, attempt, upstream in called))
        called.add(upstream)
    # without names, in the order of the class: naming the fields of both records costs a tenth of the whole settlement
    return Account(
        time(),
        exchange.request_id,
        exchange.identity.name,
        operation.name,
        exchange.shape,
        operation.method,
        f"/v1{operation.path}",
        exchange.caller_path,
        (scan.model or "")[:LONGEST_MODEL],
        exchange.stream,
        LEFT if client.gone and not client.committed else exchange.status,
        exchange.begun,
        monotonic(),
        client.gone,
        None if error is None else failure(error),
        calls,
        {} if exchange.trace is None else _settings(scan.value),
        exchange.compacting and _compaction(exchange),
        None if exchange.summary is None else exchange.summary.usage,
        None if exchange.message is None else exchange.message.via,
        exchange.identity.team,
        exchange.identity.user,
        "" if exchange.placing is None else exchange.placing.chosen,
        "" if exchange.race is None else exchange.race.outcome,
        exchange.dry,
    )


def _compaction(exchange: Exchange) -> str:
    """How the conversation was compacted."""
    native = bool(exchange.attempts) and not exchange.attempts[-1].compacting
    if exchange.compacting == "automatic":
        return "" if native else "automatic"  # what the upstream does by itself is its own affair
    return "native" if native else exchange.compacting


def _call(exchange: Exchange, attempt: Attempt, again: bool) -> Call:
    error, times, ledger, price = attempt.error, attempt.times, attempt.ledger, attempt.candidate.price
    usage, spent, whole = used(attempt), None, True
    if usage is not None and price is not None:
        spent, whole = charged(usage, price, partial(_price_of, attempt))
    return Call(
        _target(attempt.candidate),
        again,
        attempt.lane_name,
        attempt.status,
        "" if error is None else error_kind(error),
        "" if error is None else error.logged,
        times.get("sent"),
        times.get("headers"),
        times.get("first"),
        times.get("end"),
        attempt.request.sendings if "sent" in times else 0,
        None if attempt.lane is None else attempt.lane.events,
        usage,
        spent,
        whole,
        attempt.stop,
        attempt.unsaid.category,
        ledger.names(ledger.dropped, exchange.scan.value) if ledger.dropped else [],
        ledger.names(ledger.adapted, exchange.scan.value) if ledger.adapted else [],
        attempt.unsaid.labels,
        attempt.unsaid.count,
        attempt.span,
        attempt.overtaken,
        attempt.continued,
        attempt.unsaid.routed,
        attempt.upstream_id or "",
        travel.region(attempt.upstream_headers),
        isinstance(error, errors.UpstreamFault),
    )


def _price_of(attempt: Attempt, model: str) -> Price | None:
    """The price of a model that the upstream names in its answer. The one that was asked for may be named with its date."""
    candidate = attempt.candidate
    if _DATE.sub("", model) == _DATE.sub("", candidate.model):
        return candidate.price
    return providers.price_of(attempt.exchange.services.config.prices, candidate.provider.provider, model)


@lru_cache(256)
def _target(candidate: Candidate) -> Target:
    """What an account says of a candidate, worked out once."""
    parts = urlsplit(candidate.url)
    return Target(
        upstream=candidate.name,
        provider=candidate.provider.provider,
        model=candidate.model,
        shape=candidate.shape,
        api=candidate.speaks.api,
        host=parts.hostname or "",
        port=parts.port or (443 if parts.scheme == "https" else 80),
        reason=candidate.reason,
        explained=described(candidate),
    )


def _settings(body: dict[str, object]) -> dict[str, float]:
    members = ((name, body.get(name)) for name in _SETTINGS)
    return {name: value for name, value in members if isinstance(value, int | float) and not isinstance(value, bool)}
