"""Metrics for Prometheus: one call when an exchange has ended and one when a stream begins; none per event.

Strategy: prometheus-client counts; what exchanges add is gathered for it first (tally.py). In a single process its values are in memory,
and whoever reads them gets what is gathered. With several, each worker writes to its own files in a common folder (the library's
multiprocess mode), named after the worker's number rather than its process: the successor of a dead worker continues its counts, so that
no sum decreases and no file is left over. `collected` adds the files up. There no more is gathered than one iteration of the loop brings,
since it would be lost with a worker that is killed.

Labels are bounded: a model that no entry declares and a field beyond the first FIELDS are counted as `other`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from .account import Account, Call
from .tally import KINDS, Labels, Observed, Tally

EVERY = 0.25  # seconds between two times that the library gets what there is
OTHER = "other"
NONE = "none"  # no upstream was chosen
FIELDS = 256  # dropped fields with labels of their own
FIELD_LENGTH = 80

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client reads it from the environment only
_ENDLESS = float("inf")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 600, _ENDLESS)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, _ENDLESS)

_number = 0  # of this worker

disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series per metric, which is not needed


def share(folder: str) -> None:
    """Store the metrics of this process and of its forks in this folder. Call before creating Metrics."""
    os.environ[_FOLDER] = folder
    values.ValueClass = values.MultiProcessValue(lambda: _number)  # type: ignore[no-untyped-call]


def unshare() -> None:
    """Undo `share`."""
    os.environ.pop(_FOLDER, None)
    values.ValueClass = values.MutexValue


def count_as(number: int) -> None:
    """Set the number of this worker, from 1; unique among live workers."""
    global _number
    _number = number


class _Registry(CollectorRegistry):
    """before: called before the metrics are read."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__()
        self._before = before

    def collect(self) -> Iterable[Metric]:
        self._before()
        return super().collect()


class _Histogram(Histogram):
    def add(self, observed: Observed) -> None:
        """As `observe` for each value."""
        self._sum.inc(observed.total)
        for bucket, count in zip(self._buckets, observed.counts, strict=True):
            if count:
                bucket.inc(count)


class Metrics:
    """The metrics of one worker."""

    def __init__(self) -> None:
        self.registry = registry = _Registry(self.flush)
        self._tally: Tally | None = None  # what the library has not got yet
        self._every = 0.0 if _FOLDER in os.environ else EVERY
        ProcessCollector(registry=registry)
        self._fields: set[tuple[str, str, str]] = set()
        labels = ("shape", "upstream_api", "provider", "model", "status")
        self.requests = Counter("dragoman_requests", "Finished requests to models.", labels, registry=registry)
        self.streams = Gauge("dragoman_streams_open", "Streams in progress.", registry=registry, multiprocess_mode="sum")
        self.seconds = _Histogram(
            "dragoman_request_seconds",
            "Seconds from the request body to the end of the answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.first = _Histogram(
            "dragoman_time_to_first_token_seconds",
            "Seconds from the request body to the first content.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.overhead = _Histogram(
            "dragoman_overhead_seconds",
            "Seconds spent in the gateway before the first upstream is called and after a complete answer was received.",
            buckets=_OVERHEAD,
            registry=registry,
        )
        self.tokens = Counter(
            "dragoman_tokens",
            "Tokens; input includes cached and cache_write, output includes reasoning.",
            ("kind",),
            registry=registry,
        )
        self.cost = Counter("dragoman_cost_usd", "Cost of answers in USD, by the price table.", registry=registry)
        self.upstream_errors = Counter(
            "dragoman_upstream_errors", "Attempts that failed at an upstream, by kind.", ("kind",), registry=registry
        )
        self.retries = Counter("dragoman_retries", "Attempts repeated at the upstream that failed.", registry=registry)
        self.fallbacks = Counter("dragoman_fallbacks", "Attempts at another upstream after a failure.", registry=registry)
        self.choices = Counter(
            "dragoman_choices", "Requests with several candidates at one place, by what chose the first.", ("by",), registry=registry
        )
        self.hedges = Counter(
            "dragoman_hedges",
            "Requests for which a second attempt was made beside the first, by the one that answered.",
            ("won",),
            registry=registry,
        )
        self.continued = Counter("dragoman_continued", "Answers that broke off and that another attempt went on with.", registry=registry)
        self.resumes = Counter("dragoman_resumes", "Streams that a caller came back for.", ("result",), registry=registry)
        self.probes = Counter("dragoman_probes", "Probes of ejected upstreams.", ("result",), registry=registry)
        self.hooks = Counter("dragoman_hooks", "Calls to hooks.", ("on", "result"), registry=registry)
        self.hook_seconds = Histogram("dragoman_hook_seconds", "Seconds of a call to a hook.", buckets=_SECONDS, registry=registry)
        self.dropped = Counter(
            "dragoman_dropped_fields",
            "Request fields dropped because the upstream's API has no equivalent.",
            ("shape", "upstream_api", "field"),
            registry=registry,
        )
        self.compactions = Counter(
            "dragoman_compactions", "Compactions of conversations that are over.", ("kind", "result"), registry=registry
        )
        self.renewals = Counter(
            "dragoman_credential_refresh",
            "Renewals of credentials that end, by the entry that is named first for them.",
            ("provider", "result"),
            registry=registry,
        )
        self.expiry = Gauge(
            "dragoman_credential_expiry_seconds",
            "When the credential of an entry ends, in seconds since the epoch.",
            ("provider",),
            registry=registry,
            multiprocess_mode="min",
        )
        self.disconnects = Counter("dragoman_client_disconnects", "Clients that disconnected before the end.", registry=registry)
        self.unknown = Counter("dragoman_unknown_upstream", "Unknown or untranslatable parts of upstream answers.", registry=registry)
        self.log_dropped = Counter(
            "dragoman_log_lines_dropped", "Log lines dropped because standard error was not read in time.", registry=registry
        )
        self.websockets = Gauge("dragoman_websockets_open", "WebSockets of callers.", registry=registry, multiprocess_mode="sum")
        self.websockets_closed = Counter(
            "dragoman_websockets_closed", "WebSockets that are over, by what closed them.", ("reason",), registry=registry
        )
        self.websocket_refused = Counter(
            "dragoman_websocket_refused", "Upgrades to a WebSocket that were refused, by status.", ("status",), registry=registry
        )
        self.websocket_evicted = Counter(
            "dragoman_websocket_evicted", "Responses that a WebSocket keeps no longer, by cause.", ("cause",), registry=registry
        )
        self.usage_lost = Counter(
            "dragoman_usage_rows_lost", "Exchanges whose usage did not reach the control store and never will.", registry=registry
        )
        self.usage_waiting = Gauge(
            "dragoman_usage_batches_waiting",
            "Batches of usage that the control store does not have yet.",
            registry=registry,
            multiprocess_mode="sum",
        )
        self.control_away = Gauge(
            "dragoman_control_away",
            "Workers whose control store does not answer, so that they use the keys that they read last.",
            registry=registry,
            multiprocess_mode="sum",
        )
        # the library's own lookup of a child costs more than counting
        self._requests, self._tokens, self._choices = cache(self.requests.labels), cache(self.tokens.labels), cache(self.choices.labels)
        for gauge in (self.streams, self.websockets, self.usage_waiting, self.control_away):
            gauge.set(0)  # a dead worker of this number may have left another value

    def opened(self) -> None:
        """A stream begins; `settled` must follow."""
        self.streams.inc()

    def renewed(self, label: str, result: str, ends: float | None) -> None:
        """A credential was asked for. label: the entry's name. result: ok, missing or failed. ends: seconds since the epoch."""
        self.renewals.labels(label, result).inc()
        if ends is not None:
            self.expiry.labels(label).set(ends)

    def probed(self, result: str) -> None:
        """An ejected upstream was probed: `answered` or `failed`."""
        self.probes.labels(result).inc()

    def hook(self, on: str, result: str, seconds: float | None) -> None:
        """A hook was called. on: request or answer. result: passed, blocked, failed or dropped. seconds: of a call that was answered."""
        self.hooks.labels(on, result).inc()
        if seconds is not None:
            self.hook_seconds.observe(seconds)

    def settled(self, account: Account, declared: Callable[[str], bool]) -> None:
        """An exchange has ended. declared: whether a model's name may be a label."""
        tally = self._tally or self._begin()
        calls = account.calls
        last = calls[-1] if calls else None
        if account.stream:
            self.streams.dec()
        tally.requests[_labels(account, last, declared)] += 1
        tally.seconds.add(account.ended - account.begun)
        if account.client_left:
            self.disconnects.inc()
        if account.chosen:
            self._choices(account.chosen).inc()
        if account.hedge:
            self.hedges.labels(account.hedge).inc()
        if account.compaction:
            done = account.error is None and not account.client_left and account.status == 200
            self.compactions.labels(account.compaction, "done" if done else "failed").inc()
        if last is None:
            return
        _times(tally, account)
        tally.spend(account.charged)
        if len(calls) > 1 or last.error:
            self._failed(calls)
        for field in last.dropped:
            self.dropped.labels(*self._field(account.shape, last.target.shape, field)).inc()
        if last.unknown:
            self.unknown.inc(last.unknown)

    def _begin(self) -> Tally:
        self._tally = Tally(_SECONDS, _OVERHEAD)
        asyncio.get_running_loop().call_later(self._every, self.flush)
        return self._tally

    def flush(self) -> None:
        """Give the library what there is."""
        tally, self._tally = self._tally, None
        if tally is None:
            return
        for labels, count in tally.requests.items():
            self._requests(*labels).inc(count)
        for kind, count in zip(KINDS, tally.tokens, strict=True):
            if count:
                self._tokens(kind).inc(count)
        if tally.cost:
            self.cost.inc(tally.cost)
        self.seconds.add(tally.seconds)
        self.first.add(tally.first)
        self.overhead.add(tally.overhead)

    def _failed(self, calls: Sequence[Call]) -> None:
        for call in _following(calls):
            (self.retries if call.again else self.fallbacks).inc()
        for call in calls:
            if call.continued:
                self.continued.inc()
            if call.of_upstream:
                self.upstream_errors.labels(call.error).inc()

    def _field(self, shape: str, api: str, field: str) -> tuple[str, str, str]:
        """The labels of a dropped field, bounded because the caller can send any name."""
        labels = (shape, api, field)
        if labels in self._fields:
            return labels
        if len(self._fields) >= FIELDS or len(field) > FIELD_LENGTH:
            return shape, api, OTHER
        self._fields.add(labels)
        return labels

    def text(self) -> bytes:
        """The metrics of this process in Prometheus' text format."""
        return generate_latest(self.registry)


def _following(calls: Sequence[Call]) -> Iterator[Call]:
    """The calls that were made because one before them had failed. Each failure leads to one; a hedge begins before any."""
    failed: list[float] = []  # when they ended, those that no call has followed
    for call in calls:
        begun = call.end if call.sent is None else call.sent
        if (followed := next((end for end in failed if begun is None or end <= begun), None)) is not None:
            failed.remove(followed)
            yield call
        if call.error and call.end is not None:
            failed.append(call.end)


def _times(tally: Tally, account: Account) -> None:
    first, sent = account.first, account.calls[0].sent
    if len(account.calls) > 1:  # one may not have been sent, and hedged ones are not in the order in which they began
        sent = min((call.sent for call in account.calls if call.sent is not None), default=None)
    if first is not None and account.stream:
        tally.first.add(first - account.begun)
    if sent is not None:
        whole = account.ended - first if first is not None and not account.stream else 0.0
        tally.overhead.add(max(0.0, sent - account.begun + whole))


def _labels(account: Account, last: Call | None, declared: Callable[[str], bool]) -> Labels:
    code = str(account.status)
    if last is None:
        return account.shape, NONE, NONE, OTHER, code
    target = last.target
    return account.shape, target.shape, target.provider, target.model if declared(target.upstream) else OTHER, code


# ---- exposition ----


def collected(folder: str, workers: Iterable[tuple[int, int]]) -> bytes:
    """The sum over all workers of a `share`d folder, and the process metrics of each worker. workers: number and process id."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    registry.register(_Processes(workers))
    return generate_latest(registry)


class _Processes(Collector):
    """The process metrics of several workers, with the label `worker`."""

    def __init__(self, workers: Iterable[tuple[int, int]]) -> None:
        self._workers = sorted(workers)

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for number, pid in self._workers:
            for metric in ProcessCollector(pid=_constant(pid), registry=None).collect():
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    family.add_sample(sample.name, sample.labels | {"worker": str(number)}, sample.value)
        return families.values()


def _constant(pid: int) -> Callable[[], int]:
    return lambda: pid
