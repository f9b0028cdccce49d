"""Limits of access keys: requests and tokens per minute, and a budget in USD per period, counted over all workers.

A request is counted when it is admitted, so the limit of requests is exact under any concurrency. Tokens and cost are known only at
the end of a response: they are added then, nothing is reserved, and requests are refused once the key's limit is reached. Requests
in progress continue, so these two limits can be exceeded by the responses that are in progress.

    LocalCounters    memory shared by the workers of one machine, created before they are forked, gone when the last one ends
    RedisCounters    (quota_redis.py) all replicas together, with state_storage of type redis

A minute is a sliding window of the last 60 seconds, including the current one. A budget's periods are calendar periods in UTC; weeks
begin on Monday. Money is counted in integral billionths of a dollar.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from math import ceil
from typing import NamedTuple, Protocol

from ...codecs import errors, limits
from ...codecs.registry import SHAPES
from ...codecs.usage import Usage
from ...conf.model import Budget, Config
from .identity import Identity, Limited, of_key

log = logging.getLogger("dragoman")

MINUTE = 60  # seconds in the sliding window
NANO = 1_000_000_000  # parts of a dollar
MOST_TOKENS = 10**12  # of one response; an upstream's count is clamped to 0 … MOST_TOKENS
MOST_NANO = 10**15  # of one response, likewise
GREATEST = 2**63 - 1  # the largest value of a cell
ROOM = 65536  # slots in the shared memory; unused ones take no memory


class Bucket(NamedTuple):
    """The counts of one second. second: of the counters' clock."""

    second: int
    requests: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A key's counts when a request was about to be admitted. now: seconds of the buckets' clock."""

    now: float
    buckets: tuple[Bucket, ...]
    spent: int  # billionths of a dollar, in this period
    admitted: bool = False


class Counters(Protocol):
    """The storage of the counts, by the name of whom is counted. Only those that have a limit are counted."""

    async def admit(self, key: Limited) -> Standing:
        """Count one request if the limits allow it, atomically."""

    async def look(self, key: Limited) -> Standing:
        """The counts; counts nothing. `admitted` means nothing."""

    def settle(self, key: Limited, tokens: int, nano: int) -> None:
        """Add the usage of a response. nano: billionths of a dollar."""

    async def at_least(self, key: Limited, nano: int, number: int) -> None:
        """Count what was spent in one period of its budget as `nano` billionths of a dollar, unless more is counted already.

        number: of that period. By now another one may have begun, which must not inherit it.
        """

    async def close(self) -> None: ...


class Quota:
    """The limits of callers, applied to the counters."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def admit(self, identity: Identity, shape: str) -> dict[str, str]:
        """Count a request and return the rate-limit headers for the response, as the shape names them. Raises OverQuota.

        Each limit of the identity is asked in turn, its own key's first: a request that its team's limit refuses counts for the key,
        so that a caller above its own limits takes nothing from others.
        """
        headers: dict[str, str] = {}
        form = SHAPES[shape].limits
        fullest: limits.Cap | None = None
        for one in identity.limits:
            standing = await self._counters.admit(one)
            own = _headers(one, standing, shape)
            cap = None if one.budget is None else _cap(one.budget, standing.spent)
            if not standing.admitted:
                error = _refusal(one, standing)
                error.headers |= own | (form.capped(cap) if cap is not None and cap.reached else {})
                raise error
            headers = own | headers  # the key's own, where it has such a limit
            if cap is not None and (fullest is None or cap.used > fullest.used):
                fullest = cap
        return headers if fullest is None else headers | form.capped(fullest)

    async def budgets(self, identity: Identity) -> list[tuple[Budget, int, limits.Cap]]:
        """The caller's budgets, what is spent of each in billionths of a dollar, and their standing."""
        budgets = []
        for one in identity.limits:
            if one.budget is not None:
                spent = (await self._counters.look(one)).spent
                budgets.append((one.budget, spent, _cap(one.budget, spent)))
        return budgets

    def settle(self, identity: Identity, usage: Usage | None, usd: float) -> None:
        """Add the usage of a response, however it ended."""
        if usage is not None:
            for one in identity.limits:
                self._counters.settle(one, _bounded(usage.all, MOST_TOKENS), _bounded(usd * NANO, MOST_NANO))


def _bounded(count: float, most: int) -> int:
    """The count rounded and clamped to 0 … most; 0 for NaN."""
    return max(0, min(most, round(min(count, most)))) if count == count else 0


def note(config: Config) -> str | None:
    """A warning when the limits of this configuration are counted per machine, else None."""
    stored = config.control is not None  # what budgets have spent is in the control store
    limited = [one for key in config.access_keys for one in of_key(key).limits]
    by_minute = any(one.requests_per_minute is not None or one.tokens_per_minute is not None for one in limited)
    if config.state_storage.type == "redis" or not (by_minute or (limited and not stored)):
        return None
    what = "limits by the minute" if stored else "limits"
    return (
        f"{what} of access_keys are counted on this machine only, for all its workers: they are reset by a restart and not shared with "
        "other replicas; use state_storage of type redis to share them"
    )


# ---- arithmetic ----


class _Use(NamedTuple):
    """The use of one limit. fits_in, full_in: seconds until another request is allowed, and until the whole limit is available."""

    limit: int
    used: int
    fits_in: float
    full_in: float


def _use(counts: Iterable[tuple[int, int]], now: float, limit: int) -> _Use:
    """counts: pairs of second and count, in any order."""
    current = sorted((second, count) for second, count in counts if count and int(now) - MINUTE < second <= int(now))
    used = left = sum(count for _, count in current)
    fits_in = 0.0
    for second, count in current:
        if left < limit:
            break
        left -= count
        fits_in = second + MINUTE - now
    return _Use(limit, used, fits_in, current[-1][0] + MINUTE - now if current else 0.0)


def _requests(key: Limited, standing: Standing) -> _Use | None:
    if key.requests_per_minute is None:
        return None
    return _use(((b.second, b.requests) for b in standing.buckets), standing.now, key.requests_per_minute)


def _tokens(key: Limited, standing: Standing) -> _Use | None:
    if key.tokens_per_minute is None:
        return None
    return _use(((b.second, b.tokens) for b in standing.buckets), standing.now, key.tokens_per_minute)


def allows(key: Limited, standing: Standing) -> bool:
    """Whether the limits allow another request."""
    uses = (_requests(key, standing), _tokens(key, standing))
    return not _over_budget(key, standing.spent) and all(use is None or use.used < use.limit for use in uses)


def _over_budget(key: Limited, spent: int) -> bool:
    return key.budget is not None and spent >= round(key.budget.usd * NANO)


def _cap(budget: Budget, spent: int) -> limits.Cap:
    """The standing of a budget. spent: billionths of a dollar."""
    most = round(budget.usd * NANO)
    return limits.Cap(spent / most if most else 1.0, period(budget.per, time.time()).ends.timestamp(), budget.per)


def _headers(key: Limited, standing: Standing, shape: str) -> dict[str, str]:
    """The rate-limit headers, with this request counted."""
    requests, tokens = _requests(key, standing), _tokens(key, standing)
    families = {}
    if requests is not None:
        full_in = MINUTE - standing.now % 1 if standing.admitted else requests.full_in
        families["requests"] = (requests.limit, max(0, requests.limit - requests.used - standing.admitted), full_in)
    if tokens is not None:
        families["tokens"] = (tokens.limit, max(0, tokens.limit - tokens.used), tokens.full_in)
    return limits.own_headers(SHAPES[shape].limits, families, time.time())


def _refusal(key: Limited, standing: Standing) -> errors.OverQuota:
    if key.budget is not None and _over_budget(key, standing.spent):
        now = time.time()
        ends = period(key.budget.per, now).ends
        anew = ends.strftime("%Y-%m-%d %H:%M UTC")
        message = f"The budget of {key.what} ({key.budget.usd:g} USD per {key.budget.per}) is exhausted. It resets at {anew}."
        error = errors.OverQuota(message, kind="billing", status=429, retry_after=ends.timestamp() - now, should_retry=False)
        error.resets_at = ends.timestamp()
        return error
    waits = [
        (use.fits_in, f"{use.limit} {word} per minute")
        for word, use in (("requests", _requests(key, standing)), ("tokens", _tokens(key, standing)))
        if use is not None and use.used >= use.limit
    ]
    wait, limit = max(waits)
    seconds = max(1, ceil(wait))
    return errors.OverQuota(f"The limit of {key.what}, {limit}, is reached. Try again in {seconds} s.", retry_after=seconds)


class Period(NamedTuple):
    """One period of a budget. number: unique among periods of the same length."""

    number: int
    ends: datetime


def period(per: str, now: float) -> Period:
    """The hour, day, week or month that contains `now`, in seconds since the epoch."""
    moment = datetime.fromtimestamp(now, UTC)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "hour":
        hour = day.replace(hour=moment.hour)
        return Period(int(now) // 3600, hour + timedelta(hours=1))
    if per == "day":
        return Period(day.toordinal(), day + timedelta(days=1))
    if per == "week":
        monday = day - timedelta(days=day.weekday())
        return Period(monday.toordinal(), monday + timedelta(days=7))
    after = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return Period(day.year * 12 + day.month, after)


# ---- the workers of one machine ----

_PERIODS = ("hour", "day", "week", "month")
_NAME, _SECONDS, _REQUESTS, _TOKENS = 0, 4, 4 + MINUTE, 4 + 2 * MINUTE  # offsets in a slot, in cells of 8 bytes
_PERIOD, _SPENT, _SLOT = 4 + 3 * MINUTE, 5 + 3 * MINUTE, 6 + 3 * MINUTE


class LocalCounters:
    """Counters in a memory mapping, shared by processes that are forked after its creation.

    Each key has a slot: the hash of its name, a ring of 60 seconds, and the money spent in the current period. The kernel releases
    the lock of a worker that dies; its replacement continues with the same counts.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, calendar: Callable[[], float] = time.time) -> None:
        """clock: monotonic seconds, the same in all processes of the machine. calendar: seconds since the epoch."""
        self._clock, self._calendar = clock, calendar
        self._file = _memory_file()
        weakref.finalize(self, os.close, self._file)
        os.ftruncate(self._file, ROOM * _SLOT * 8)
        self._cells: memoryview[int] = memoryview(mmap.mmap(self._file, ROOM * _SLOT * 8)).cast("q")
        self._slots: dict[str, int] = {}

    async def admit(self, key: Limited) -> Standing:
        return self.admit_now(key)

    async def look(self, key: Limited) -> Standing:
        return self.look_now(key)

    def look_now(self, key: Limited) -> Standing:
        with self._locked():
            at = self._slot(key.name)
            return Standing(self._clock(), tuple(self._buckets(at)), self._spent(at, key))

    def admit_now(self, key: Limited) -> Standing:
        with self._locked():
            at = self._slot(key.name)
            now = self._clock()
            standing = Standing(now, tuple(self._buckets(at)), self._spent(at, key))
            if not allows(key, standing):
                return standing
            if key.requests_per_minute is not None:
                self._cells[self._second(at, int(now)) + _REQUESTS] += 1
        return replace(standing, admitted=True)

    def settle(self, key: Limited, tokens: int, nano: int) -> None:
        with self._locked():
            at = self._slot(key.name)
            if key.tokens_per_minute is not None:
                place = self._second(at, int(self._clock())) + _TOKENS
                self._cells[place] = min(GREATEST, self._cells[place] + tokens)
            if key.budget is not None:
                self._cells[at + _SPENT] = min(GREATEST, self._spent(at, key) + nano)

    async def at_least(self, key: Limited, nano: int, number: int) -> None:
        if key.budget is None or period(key.budget.per, self._calendar()).number != number:
            return
        with self._locked():
            at = self._slot(key.name)
            self._cells[at + _SPENT] = min(GREATEST, max(self._spent(at, key), nano))

    async def close(self) -> None:
        """Does nothing: the memory is freed with the last process."""

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _slot(self, name: str) -> int:
        """The offset of a key's slot: a hash table with linear probing."""
        known = self._slots.get(name)
        if known is not None:
            return known
        digest = memoryview(sha256(name.encode()).digest()).cast("q")
        first = digest[0] % ROOM
        at = first * _SLOT
        for number in (*range(first, ROOM), *range(first)):
            held = self._cells[number * _SLOT : number * _SLOT + _SECONDS]
            if not any(held):
                held[:] = digest
            if held == digest:
                at = number * _SLOT
                break
        self._slots[name] = at
        return at

    def _buckets(self, at: int) -> Iterator[Bucket]:
        cells = self._cells[at : at + _SLOT].tolist()
        columns = (cells[begin : begin + MINUTE] for begin in (_SECONDS, _REQUESTS, _TOKENS))
        return (Bucket(*row) for row in zip(*columns, strict=True) if row[1] or row[2])

    def _second(self, at: int, second: int) -> int:
        """The offset of this second in the ring; clears the counts of an older second there."""
        place = at + second % MINUTE
        if self._cells[place + _SECONDS] != second:
            self._cells[place + _SECONDS] = second
            self._cells[place + _REQUESTS] = self._cells[place + _TOKENS] = 0
        return place

    def _spent(self, at: int, key: Limited) -> int:
        """The money spent in the current period, in billionths of a dollar; starts a new period at 0."""
        if key.budget is None:
            return 0
        number = period(key.budget.per, self._calendar()).number * len(_PERIODS) + _PERIODS.index(key.budget.per)
        if self._cells[at + _PERIOD] != number:
            self._cells[at + _PERIOD], self._cells[at + _SPENT] = number, 0
        return self._cells[at + _SPENT]


def _memory_file() -> int:
    """An anonymous file, in memory if possible, as the disk may be read-only."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("dragoman-quota")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
