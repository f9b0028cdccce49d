"""The results of a load test, as text and as JSON. Memory is bounded, however long the test runs."""

from __future__ import annotations

from collections import Counter
from math import ceil, exp, log
from typing import Any

_CLASSES = 100  # histogram buckets per factor e: each is 1 % wide
_DETAIL = 200  # characters stored of the first error of a kind


class Samples:
    """A histogram of durations in seconds, with buckets 1 % wide. max: the longest."""

    def __init__(self) -> None:
        self.count = 0
        self.max = 0.0
        self._classes: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        self.count += 1
        if seconds > self.max:
            self.max = seconds
        self._classes[int(log(max(0.0, seconds) * 1e6 + 1) * _CLASSES)] += 1

    def quantile(self, share: float) -> float | None:
        """The duration that a fraction `share` of the samples does not exceed; None without samples."""
        rank = ceil(share * self.count)
        for number, count in sorted(self._classes.items()):
            rank -= count
            if rank <= 0:
                return min(self.max, (exp((number + 0.5) / _CLASSES) - 1) / 1e6)
        return None

    def milliseconds(self) -> dict[str, float] | None:
        """p50, p99 and max; None without samples."""
        p50, p99 = self.quantile(0.5), self.quantile(0.99)
        if p50 is None or p99 is None:
            return None
        return {"p50": round(p50 * 1e3, 3), "p99": round(p99 * 1e3, 3), "max": round(self.max * 1e3, 3)}


class Tally:
    """The counts of a run. Totals cover the whole run, rates the time between open_window() and close_window()."""

    def __init__(self, secret: str | None = None) -> None:
        """secret: replaced by a mask in error details."""
        self.answers = self.events = self.deltas = self.unfinished = 0
        self.open = 0
        self.first_token = Samples()
        self.answer = Samples()
        self.added = Samples()
        self.gateway = Samples()  # the gateway's own time, from Server-Timing headers
        self.errors: Counter[str] = Counter()
        self.details: dict[str, str] = {}
        self._secret = secret
        self._window = (0.0, 0.0, 0.0)  # seconds, responses per second, events per second
        self._since = (0.0, 0, 0)

    def fail(self, kind: str, detail: str) -> None:
        """Count a failed request. detail: text, possibly the server's; the first of each kind is stored."""
        self.errors[kind] += 1
        if kind not in self.details:
            if self._secret:
                detail = detail.replace(self._secret, "***")
            self.details[kind] = "".join(c if c.isprintable() else " " for c in detail[:_DETAIL])

    def open_window(self, now: float) -> None:
        self._since = (now, self.answers, self.events)

    def close_window(self, now: float) -> None:
        self._window = self.rates(now, self._since)

    def rates(self, now: float, since: tuple[float, int, int]) -> tuple[float, float, float]:
        """Seconds since then, responses per second and events per second."""
        seconds = max(now - since[0], 1e-9)
        return seconds, (self.answers - since[1]) / seconds, (self.events - since[2]) / seconds

    def _latency(self) -> tuple[str | None, dict[str, float] | None]:
        """The source of the added latency ("stamps" in the deltas, else "server-timing") and its figures."""
        for source, samples in (("stamps", self.added), ("server-timing", self.gateway)):
            if samples.count:
                return source, samples.milliseconds()
        return None, None

    def result(self) -> dict[str, Any]:
        """The figures, for JSON. Times are in milliseconds, and None where nothing was measured."""
        seconds, answers, events = self._window
        source, added = self._latency()
        return {
            "measured_seconds": round(seconds, 3),
            "requests_per_s": round(answers, 2),
            "events_per_s": round(events, 1),
            "time_to_first_token_ms": self.first_token.milliseconds(),
            "answer_ms": self.answer.milliseconds(),
            "added_latency_ms": added,
            "added_latency_from": source,
            "errors": dict(self.errors),
            "error_details": self.details,
            "unfinished": self.unfinished,
            "total": {"requests": self.answers, "events": self.events, "deltas": self.deltas},
        }


_LATENCY_FROM = {
    "stamps": "of each event, from the provider's stamp to here",
    "server-timing": "of each answer, as the gateway's Server-Timing says",
    None: "no timestamps from the provider and no Server-Timing header",
}


def _quantiles(figures: dict[str, float] | None) -> str:
    return f"p50 {figures['p50']:,.2f} ms   p99 {figures['p99']:,.2f} ms" if figures else "not measured"


def text(plan: dict[str, Any], result: dict[str, Any]) -> str:
    """The report as text. plan: Plan.summary()."""
    kind = "whole answers" if plan["whole"] else "streams"
    pace = f" at {plan['rate']:g} events/s each" if plan["rate"] else ""
    lines = [
        f"{plan['url']}: {plan['shape']}, {plan['model']}, {plan['streams']:,} {kind}{pace}, {plan['seconds']:g} s",
        f"{'measured':<22}the last {result['measured_seconds']:.3g} s, after all streams had started",
        f"{'requests/s':<22}{result['requests_per_s']:,.1f}",
    ]
    if not plan["whole"]:
        lines.append(f"{'events/s':<22}{result['events_per_s']:,.1f}")
        lines.append(f"{'time to first token':<22}{_quantiles(result['time_to_first_token_ms'])}")
    lines.append(f"{'time to the end':<22}{_quantiles(result['answer_ms'])}")
    added = _quantiles(result["added_latency_ms"])
    lines.append(f"{'added latency':<22}{added}   ({_LATENCY_FROM[result['added_latency_from']]})")
    if result["unfinished"]:
        lines.append(f"{'unfinished':<22}{result['unfinished']:,} answers were still in progress at the end")
    lines.append(f"{'errors':<22}{sum(result['errors'].values()):,}")
    for error, count in sorted(result["errors"].items(), key=lambda pair: -pair[1]):
        lines.append(f"  {error:<20}{count:,}   first: {result['error_details'][error]}")
    return "\n".join(lines)


def progress(tally: Tally, elapsed: float, now: float, since: tuple[float, int, int]) -> str:
    """A progress line: rates since the last line, latencies since the start."""
    _, answers, events = tally.rates(now, since)
    parts = [f"{elapsed:4.0f} s", f"{tally.open:,} open", f"{answers:,.1f} requests/s", f"{events:,.0f} events/s"]
    for name, samples in (("first token", tally.first_token), ("added", tally.added)):
        figures = samples.milliseconds()
        if figures:
            parts.append(f"{name} p50 {figures['p50']:,.1f} p99 {figures['p99']:,.1f} ms")
    parts.append(f"{sum(tally.errors.values()):,} errors")
    return "  ".join(parts)
