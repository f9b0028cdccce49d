"""Rate-limit and retry headers, in the form of the caller's API.

OpenAI sends durations (`x-ratelimit-reset-tokens: 1m30s`), Anthropic points in time
(`anthropic-ratelimit-tokens-reset: 2026-11-22T10:00:00Z`). Unreadable values are left out; nothing is invented.
Sources: OpenAI, "Rate limits in headers"; Anthropic, "Rate limits: response headers"; RFC 9110 10.2.3 (Retry-After).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import ceil
from typing import NamedTuple

_OF_LIMITS = ("x-ratelimit-", "anthropic-ratelimit-", "anthropic-priority-", "anthropic-fast-")
_READ = (*_OF_LIMITS, "retry-after", "x-should-retry")
_LONGEST = 64  # characters of a value that is parsed
_FAMILIES = ("requests", "tokens")
_COUNTS = ("limit", "remaining")
_COUNT = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")
_DURATION = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{0,12})?(?:h|ms|us|µs|ns|m|s))+")
_STEP = re.compile(r"([0-9.]+)(h|ms|us|µs|ns|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_LATEST = 253402300799.0  # seconds since the epoch; the end of the year 9999


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds to wait requested by the upstream, at least 0; None if there is no request. now: seconds since the epoch."""
    received = _lowered(headers)
    milliseconds = _number(received.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = received.get("retry-after", "")
    seconds = _number(value)
    if seconds is not None:
        return seconds
    moment = _http_date(value)
    return None if moment is None else max(0.0, moment - now)


class Cap(NamedTuple):
    """A budget's standing. used: the fraction that is spent. resets_at: seconds since the epoch. per: hour, day, week or month."""

    used: float
    resets_at: float
    per: str

    @property
    def reached(self) -> bool:
        return self.used >= 1

    @property
    def shown(self) -> float:
        """`used` with two decimals; below 1 as long as the budget is not reached."""
        return 1.0 if self.reached else min(0.99, round(self.used, 2))


class LimitForm(NamedTuple):
    """One vendor's form of these headers.

    read: (headers with lower-case names, now) → the same in OpenAI's form. write: the reverse. milliseconds: whether `retry-after-ms`
    is supported. capped: the headers that report a budget, of good answers and of the refusal when it is reached.
    """

    read: Callable[[Mapping[str, str], float], dict[str, str]]
    write: Callable[[Mapping[str, str], float], dict[str, str]]
    milliseconds: bool
    capped: Callable[[Cap], dict[str, str]] = lambda cap: {}


def answer_headers(
    upstream: LimitForm, caller: LimitForm, headers: Mapping[str, str], now: float, *, account: bool = True
) -> dict[str, str]:
    """Translate the upstream's rate-limit and retry headers for a caller of another shape.

    now: seconds since the epoch. account: also what is left of the account that answered.
    """
    received = _lowered(headers)
    if not received:
        return {}
    retry = _retry_headers(received, caller, now)
    if not account:
        return retry
    if upstream is caller:
        return retry | _openai(received, now)
    return retry | caller.write(upstream.read(received, now), now)


def own_headers(caller: LimitForm, families: Mapping[str, tuple[int, int, float]], now: float) -> dict[str, str]:
    """Headers for the gateway's own limits. families: for `requests` and `tokens`: limit, remaining, seconds until the reset."""
    limits: dict[str, str] = {}
    for family, (limit, remaining, wait) in families.items():
        limits[f"x-ratelimit-limit-{family}"] = str(limit)
        limits[f"x-ratelimit-remaining-{family}"] = str(remaining)
        limits[f"x-ratelimit-reset-{family}"] = _go_duration(wait)
    return caller.write(limits, now)


def replaced(headers: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """An answer's headers with the upstream's limits replaced by the gateway's own, if there are any."""
    if not own:
        return dict(headers)
    return {name: value for name, value in headers.items() if not name.startswith(_OF_LIMITS)} | dict(own)


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Of the headers those that are read here, with lower-case names, without values that must not be sent on."""
    lowered = {lower: headers[name].strip() for name in headers if (lower := name.lower()).startswith(_READ)}
    return {name: value for name, value in lowered.items() if 0 < len(value) <= _LONGEST and value.isprintable()}


def _retry_headers(received: Mapping[str, str], caller: LimitForm, now: float) -> dict[str, str]:
    headers: dict[str, str] = {}
    milliseconds = _number(received.get("retry-after-ms", ""))
    if milliseconds is not None and caller.milliseconds:
        headers["retry-after-ms"] = received["retry-after-ms"]
    asked = {name: value for name, value in received.items() if name == "retry-after"}
    if not asked and milliseconds is not None and not caller.milliseconds:
        asked = {"retry-after-ms": received["retry-after-ms"]}
    seconds = retry_after(asked, now)
    if seconds is not None:
        headers["retry-after"] = str(ceil(seconds))
    if received.get("x-should-retry") in ("true", "false"):
        headers["x-should-retry"] = received["x-should-retry"]
    return headers


def _is_limit(name: str) -> bool:
    prefix, _, family = name.rpartition("-")
    return family in _FAMILIES and prefix in ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


def _openai(headers: Mapping[str, str], now: float) -> dict[str, str]:
    return {name: value for name, value in headers.items() if _is_limit(name)}


def _to_messages(limits: Mapping[str, str], now: float) -> dict[str, str]:
    headers: dict[str, str] = {}
    for family in _FAMILIES:
        for count in _COUNTS:
            value = limits.get(f"x-ratelimit-{count}-{family}", "")
            if _COUNT.fullmatch(value):
                headers[f"anthropic-ratelimit-{family}-{count}"] = value
        wait = _duration(limits.get(f"x-ratelimit-reset-{family}", ""))
        if wait is not None and now + wait < _LATEST:
            moment = datetime.fromtimestamp(ceil(now + wait), UTC)
            headers[f"anthropic-ratelimit-{family}-reset"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return headers


def _from_messages(received: Mapping[str, str], now: float) -> dict[str, str]:
    limits: dict[str, str] = {}
    for family in _FAMILIES:
        source = f"anthropic-ratelimit-{family}-"
        if family == "tokens" and not any(name.startswith(source) for name in received):
            source = "anthropic-ratelimit-input-tokens-"
        for count in _COUNTS:
            value = received.get(source + count, "")
            if _COUNT.fullmatch(value):
                limits[f"x-ratelimit-{count}-{family}"] = value
        moment = _timestamp(received.get(source + "reset", ""))
        if moment is not None:
            limits[f"x-ratelimit-reset-{family}"] = _go_duration(max(0.0, moment - now))
    return limits


_THRESHOLDS = (0.95, 0.75)  # past each of them Claude Code tells its user once
_PERIODS = {"day": "daily", "week": "weekly", "month": "monthly"}


def _capped_of_messages(cap: Cap) -> dict[str, str]:
    """The headers by which Claude Code shows its user the standing of a budget, and that it is reached.

    Source: "Usage-limit headers" of the protocol that `claude gateway` 2.1.332 serves at /protocol. A refusal has neither
    `representative-claim` nor `overage-status`: with them the client prints a line of its own in the place of the message.
    """
    threshold = 1 if cap.reached else next((threshold for threshold in _THRESHOLDS if cap.used > threshold), None)
    status = "rejected" if cap.reached else "allowed" if threshold is None else "allowed_warning"
    reset = str(ceil(cap.resets_at))
    entries = {"status": status, "reset": reset, "overage-reset": reset, "overage-utilization": f"{cap.shown:g}"}
    if threshold is not None:
        entries["overage-surpassed-threshold"] = str(threshold)
    if not cap.reached:
        entries |= {"representative-claim": "overage", "overage-status": status}
    else:
        entries["overage-disabled-reason"] = "org_spend_cap_reached"
        if cap.per in _PERIODS:
            entries["overage-period"] = _PERIODS[cap.per]
    return {f"anthropic-ratelimit-unified-{name}": value for name, value in entries.items()}


_MINUTES = {"hour": 60, "day": 1440, "week": 10_080, "month": 43_200}


def _capped_of_responses(cap: Cap) -> dict[str, str]:
    """The headers by which Codex shows its user the standing of a budget (codex-rs/codex-api/src/rate_limits.rs, 0.171).

    A window of 43,200 minutes is a month there, however long it is.
    """
    entries = {"used-percent": f"{100 * cap.shown:g}", "window-minutes": str(_MINUTES[cap.per]), "reset-at": str(ceil(cap.resets_at))}
    return {f"x-codex-primary-{name}": value for name, value in entries.items()}


OPENAI = LimitForm(_openai, _openai, milliseconds=True)
RESPONSES = OPENAI._replace(capped=_capped_of_responses)
ANTHROPIC = LimitForm(_from_messages, _to_messages, milliseconds=False, capped=_capped_of_messages)


# ---- values ----


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _timestamp(text: str) -> float | None:
    """Parse an RFC 3339 time. Returns seconds since the epoch, or None."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _duration(text: str) -> float | None:
    """Parse `6m0s`, `12ms`, `1h2m3.5s` or a number of seconds. Returns seconds, or None."""
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _STEP.findall(text))
    return _number(text)


def _go_duration(seconds: float) -> str:
    """Format as `0s`, `850ms`, `1m30s`, `1h2m3s`: milliseconds below a second, else seconds, rounded up."""
    milliseconds = ceil(seconds * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds > 0 else "0s"
    whole = ceil(seconds - 1e-6)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if whole >= 60 else "") + f"{rest}s"
