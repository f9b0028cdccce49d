"""Counters of access keys in Redis, shared by all replicas; each step is one script, hence atomic.

    dragoman:{quota:NAME}:minute            hash: r<second> requests and t<second> tokens, of the last 60 seconds of the server's clock
    dragoman:{quota:NAME}:minute:last       hash: the token of the last amount that each worker sent, for ten minutes
    dragoman:{quota:NAME}:<period><number>  string: billionths of a dollar spent in that period

When Redis does not answer, the machine's own counters decide, which count all of its workers: limits that are too generous for a
while are better than no service. The first admission that times out, or a series of slow ones, opens a breaker (wire/breaker.py),
and admissions do not ask Redis until it answers again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass, field
from urllib.parse import quote

from ...codecs import errors
from ...conf.model import Budget
from ..memory.stores.redis import RedisStore
from ..wire.breaker import Breaker
from .identity import Limited
from .quota import MINUTE, NANO, Bucket, LocalCounters, Standing, period

log = logging.getLogger("dragoman")

PATIENCE = 3.0  # seconds that an admission waits for Redis; more than a busy machine takes, else a burst passes both limits
PAUSE = 2.0  # seconds between two attempts to send usage
UNSURE = 8  # unacknowledged amounts, after which no new ones are sent
UNPAID = 15.0  # seconds after which all workers have sent what they owed
REMEMBERED = 600  # seconds in which a repeated amount is recognised
SKEW = 3600.0  # seconds by which clocks may differ
SLOW = 1.0  # seconds, after which a reply is slow
SLOW_FOR = 5.0  # seconds with slow replies only, after which the breaker opens

_ADMIT = """
local time = redis.call('TIME')
local now = tonumber(time[1])
local fields = redis.call('HGETALL', KEYS[1])
local used, current = {r = 0, t = 0}, {}
for i = 1, #fields, 2 do
  local kind, second, count = string.sub(fields[i], 1, 1), string.sub(fields[i], 2), fields[i + 1]
  if tonumber(second) <= now - MINUTE then
    redis.call('HDEL', KEYS[1], fields[i])
  else
    used[kind] = used[kind] + tonumber(count)
    current[#current + 1] = fields[i]
    current[#current + 1] = count
  end
end
local spent = redis.call('GET', KEYS[2]) or '0'
local function fits(count, limit) return limit == '' or tonumber(count) < tonumber(limit) end
local admitted = fits(used.r, ARGV[1]) and fits(used.t, ARGV[2]) and fits(spent, ARGV[3])
if admitted and ARGV[1] ~= '' and ARGV[4] == '1' then
  redis.call('HINCRBY', KEYS[1], 'r' .. now, 1)
  redis.call('EXPIRE', KEYS[1], MINUTE)
end
return {admitted and 1 or 0, time[1], time[2], spent, current}
""".replace("MINUTE", str(MINUTE))

# a repeated amount has the token of this worker's last one; a count that would overflow keeps its value
_SETTLE = """
if redis.call('HGET', KEYS[3], ARGV[4]) == ARGV[5] then return 1 end
local function add(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err and not string.find(reply.err, 'overflow') then return reply end
end
if tonumber(ARGV[1]) > 0 then
  local refused = add('HINCRBY', KEYS[1], 't' .. redis.call('TIME')[1], ARGV[1])
  if refused then return refused end
  redis.call('EXPIRE', KEYS[1], MINUTE)
end
if tonumber(ARGV[2]) > 0 then
  local refused = add('INCRBY', KEYS[2], ARGV[2])
  if refused then return refused end
  redis.call('PEXPIREAT', KEYS[2], ARGV[3])
end
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
redis.call('EXPIRE', KEYS[3], REMEMBERED)
return 1
""".replace("MINUTE", str(MINUTE)).replace("REMEMBERED", str(REMEMBERED))

# what another replica has counted meanwhile stays
_AT_LEAST = """
local spent = redis.call('GET', KEYS[1])
if not spent or tonumber(spent) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1])
  redis.call('PEXPIREAT', KEYS[1], ARGV[2])
end
return 1
"""

# a write, as a read-only server cannot count
_PROBE = """
redis.call('SET', KEYS[1], '', 'PX', 1)
return 1
"""


@dataclass(frozen=True, slots=True)
class _Owed:
    """Usage of a key to send to Redis. token: unique, so that Redis counts a repeated amount once."""

    key: Limited
    tokens: int
    nano: int
    token: str = field(default_factory=lambda: secrets.token_hex(8))


class RedisCounters:
    """Create it inside the loop that uses it. here: the machine's own counters, which count everything too."""

    def __init__(self, url: str, here: LocalCounters) -> None:
        self._store = RedisStore(url)
        self._here = here
        opened = "limits are counted on this machine only: Redis does not answer"
        self._breaker = Breaker(opened, "limits are counted in Redis again", self._probe)
        self._slow_since: float | None = None  # loop time
        self._owed: dict[str, _Owed] = {}  # usage that was not sent yet, by the key's name
        self._unsure: dict[str, _Owed] = {}  # usage that was sent and not acknowledged, by the key's name
        self._raised: dict[str, tuple[int, int]] = {}  # billionths of a dollar and their period, by the key's name
        self._owing_at = float("-inf")  # loop time when something was owed last, as `at_least` saw it
        self._worker = secrets.token_hex(8)
        self._paying: asyncio.Task[None] | None = None

    async def admit(self, key: Limited) -> Standing:
        return await self._asked(key, self._here.admit_now(key), True)

    async def look(self, key: Limited) -> Standing:
        return await self._asked(key, self._here.look_now(key), False)

    async def _asked(self, key: Limited, here: Standing, counts: bool) -> Standing:
        """Redis' answer; `here` when it gives none. counts: whether an admitted request is counted."""
        if self._breaker.open:
            return here
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            standing = await self._breaker.attempt(self._ask(key, counts), PATIENCE)
        except (errors.GatewayError, TimeoutError) as error:
            self._breaker.trip(getattr(error, "detail", "") or str(error))
            return here
        self._watch(loop.time(), loop.time() - begun)
        return standing

    def _watch(self, now: float, took: float) -> None:
        """Trip the breaker after SLOW_FOR with slow replies only; a single slow reply may be due to a busy machine."""
        if took < SLOW:
            self._slow_since = None
        elif self._slow_since is None:
            self._slow_since = now
        elif now - self._slow_since > SLOW_FOR:
            self._slow_since = None
            self._breaker.trip(f"its answers take {took:.1f} s")

    async def _probe(self) -> None:
        async with asyncio.timeout(SLOW):
            await self._store.script(_PROBE, ["dragoman:{quota}:probe"])

    async def _ask(self, key: Limited, counts: bool) -> Standing:
        wanted = (key.requests_per_minute, key.tokens_per_minute, None if key.budget is None else round(key.budget.usd * NANO))
        limits = ["" if limit is None else limit for limit in wanted]
        admitted, seconds, micros, spent, counters = await self._store.script(_ADMIT, _keys(key), *limits, int(counts))
        buckets: dict[int, list[int]] = {}
        for second, count in zip(counters[::2], counters[1::2], strict=True):
            buckets.setdefault(int(second[1:]), [0, 0])[second[:1] == b"t"] = int(count)
        counted = tuple(Bucket(second, *both) for second, both in buckets.items())
        return Standing(int(seconds) + int(micros) / 1e6, counted, int(spent), bool(admitted))

    def settle(self, key: Limited, tokens: int, nano: int) -> None:
        self._here.settle(key, tokens, nano)
        owed = self._owed.get(key.name)
        self._owed[key.name] = _Owed(key, tokens, nano) if owed is None else _Owed(key, owed.tokens + tokens, owed.nano + nano)
        if self._paying is None or self._paying.done():
            self._paying = asyncio.get_running_loop().create_task(self._pay())

    async def at_least(self, key: Limited, nano: int, number: int) -> None:
        await self._here.at_least(key, nano, number)
        now = asyncio.get_running_loop().time()
        if self._breaker.open or self._owed or self._unsure:
            self._owing_at = now
        if key.budget is None or now - self._owing_at < UNPAID or self._raised.get(key.name) == (nano, number):
            return  # the sum may hold what is still to be sent; or nothing was added to it
        try:
            await self._breaker.attempt(self._store.script(_AT_LEAST, [_spent(key, number)], nano, _until(key.budget)), PATIENCE)
        except (errors.GatewayError, TimeoutError) as error:
            self._breaker.trip(getattr(error, "detail", "") or str(error))
        else:
            self._raised[key.name] = nano, number

    async def _pay(self) -> None:
        """Send the usage until none is left; usage of a key that arrives meanwhile is added up.

        An unacknowledged amount is repeated unchanged, with its token, so that Redis counts it once.
        """
        while self._owed or self._unsure:
            if self._breaker.open and not await self._breaker.closes(PAUSE):
                continue
            name = next((name for name in self._owed if name not in self._unsure), None)
            if name is None or len(self._unsure) >= UNSURE:
                name = next(iter(self._unsure))
            owed = self._unsure.pop(name, None) or self._owed.pop(name)
            try:
                await self._send(owed)
            except errors.GatewayError as error:
                log.debug("the usage of %s is not counted yet: %s", name, error.detail)
                self._unsure[name] = owed  # at the end of the queue
                await asyncio.sleep(PAUSE)

    async def _send(self, owed: _Owed) -> None:
        key = owed.key
        amounts = (owed.tokens if key.tokens_per_minute is not None else 0, owed.nano if key.budget is not None else 0)
        until = _until(key.budget) if key.budget else 0
        minute, spent = _keys(key)
        await self._store.script(_SETTLE, [minute, spent, f"{minute}:last"], *amounts, until, self._worker, owed.token)

    async def close(self) -> None:
        """Wait up to PATIENCE for Redis to accept the remaining usage, then close."""
        if self._paying is not None:
            await asyncio.wait([self._paying], timeout=PATIENCE)
            if not self._paying.done():
                self._paying.cancel()
                log.warning("some usage is not counted: Redis did not answer before the process stopped")
        await self._breaker.close()
        await self._store.close()


def _keys(key: Limited) -> list[str]:
    number = period(key.budget.per if key.budget else "month", time.time()).number
    return [f"{_base(key)}:minute", _spent(key, number)]


def _base(key: Limited) -> str:
    return f"dragoman:{{quota:{quote(key.name, safe='')}}}"


def _spent(key: Limited, number: int) -> str:
    """The key of what is spent in the period of this number."""
    return f"{_base(key)}:{key.budget.per if key.budget else 'month'}{number}"


def _until(budget: Budget) -> int:
    """When Redis may forget what is spent in this period, in milliseconds since the epoch: its clock may be ahead of this machine's."""
    return int((period(budget.per, time.time()).ends.timestamp() + SKEW) * 1000)
