"""Use of access keys counted in Redis: one script for each step, so that all replicas together admit no more than the limit.

    dragoman:{quota:NAME}:minute            hash: r<second> requests and t<second> tokens, of the last 60 seconds of the server's clock
    dragoman:{quota:NAME}:<period><number>  string: billionths of a dollar spent in that period

Without an answer from Redis the machine's own counters decide, which see all that its workers do: a gateway that is a little too
generous for a while is better than none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from urllib.parse import quote

from ...codecs import errors
from ...conf.model import AccessKey
from ..memory.stores.redis import RedisStore
from .quota import MINUTE, NANO, Bucket, LocalCounters, Standing, period

log = logging.getLogger("dragoman")

PATIENCE = 3.0  # seconds that an admission waits for Redis: beyond what a busy machine takes, or a storm would be let in twice
PAUSE = 2.0  # seconds without asking it, after it did not answer

_ADMIT = """
local time = redis.call('TIME')
local now = tonumber(time[1])
local fields = redis.call('HGETALL', KEYS[1])
local used, kept = {r = 0, t = 0}, {}
for i = 1, #fields, 2 do
  local kind, second, count = string.sub(fields[i], 1, 1), string.sub(fields[i], 2), fields[i + 1]
  if tonumber(second) <= now - MINUTE then
    redis.call('HDEL', KEYS[1], fields[i])
  else
    used[kind] = used[kind] + tonumber(count)
    kept[#kept + 1] = fields[i]
    kept[#kept + 1] = count
  end
end
local spent = redis.call('GET', KEYS[2]) or '0'
local function fits(count, limit) return limit == '' or tonumber(count) < tonumber(limit) end
local admitted = fits(used.r, ARGV[1]) and fits(used.t, ARGV[2]) and fits(spent, ARGV[3])
if admitted and ARGV[1] ~= '' then
  redis.call('HINCRBY', KEYS[1], 'r' .. now, 1)
  redis.call('EXPIRE', KEYS[1], MINUTE)
end
return {admitted and 1 or 0, time[1], time[2], spent, kept}
""".replace("MINUTE", str(MINUTE))

_SETTLE = """
if tonumber(ARGV[1]) > 0 then
  redis.call('HINCRBY', KEYS[1], 't' .. redis.call('TIME')[1], ARGV[1])
  redis.call('EXPIRE', KEYS[1], MINUTE)
end
if tonumber(ARGV[2]) > 0 then
  redis.call('INCRBY', KEYS[2], ARGV[2])
  redis.call('PEXPIREAT', KEYS[2], ARGV[3])
end
return 1
""".replace("MINUTE", str(MINUTE))


class RedisCounters:
    """Make it inside the loop that will use it. here: the machine's own counters, kept beside."""

    def __init__(self, url: str, here: LocalCounters) -> None:
        self._store = RedisStore(url)
        self._here = here
        self._silent_until = 0.0  # loop time
        self._owed: dict[str, tuple[AccessKey, int, int]] = {}  # what answers used that Redis does not know yet, by key
        self._paying: asyncio.Task[None] | None = None

    async def admit(self, key: AccessKey) -> Standing:
        here = self._here.admit_now(key)
        loop = asyncio.get_running_loop()
        if loop.time() < self._silent_until:
            return here
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._ask(key)
        except (errors.GatewayError, TimeoutError) as error:
            self._silent_until = loop.time() + PAUSE
            log.warning("limits are counted on this machine alone: Redis does not answer (%s)", _reason(error))
            return here

    async def _ask(self, key: AccessKey) -> Standing:
        wanted = (key.requests_per_minute, key.tokens_per_minute, None if key.budget is None else round(key.budget.usd * NANO))
        given = ["" if limit is None else limit for limit in wanted]
        admitted, seconds, micros, spent, kept = await self._store.script(_ADMIT, _keys(key), *given)
        buckets: dict[int, list[int]] = {}
        for field, count in zip(kept[::2], kept[1::2], strict=True):
            buckets.setdefault(int(field[1:]), [0, 0])[field[:1] == b"t"] = int(count)
        counted = tuple(Bucket(second, *counts) for second, counts in buckets.items())
        return Standing(int(seconds) + int(micros) / 1e6, counted, int(spent), bool(admitted))

    def settle(self, key: AccessKey, tokens: int, nano: int) -> None:
        self._here.settle(key, tokens, nano)
        _, owed_tokens, owed_nano = self._owed.get(key.name, (key, 0, 0))
        self._owed[key.name] = (key, owed_tokens + tokens, owed_nano + nano)
        if self._paying is None or self._paying.done():
            self._paying = asyncio.get_running_loop().create_task(self._pay())

    async def _pay(self) -> None:
        """Tell Redis what is owed, again and again until nothing is; what comes in between is added up."""
        while self._owed:
            name, (key, tokens, nano) = next(iter(self._owed.items()))
            del self._owed[name]
            given = (tokens if key.tokens_per_minute is not None else 0, nano if key.budget is not None else 0)
            ends = int(period(key.budget.per, time.time()).ends.timestamp() * 1000) if key.budget else 0
            try:
                await self._store.script(_SETTLE, _keys(key), *given, ends)
            except errors.GatewayError:
                _, more_tokens, more_nano = self._owed.get(name, (key, 0, 0))
                self._owed[name] = (key, tokens + more_tokens, nano + more_nano)
                await asyncio.sleep(PAUSE)

    async def close(self) -> None:
        """Waits a moment for what is owed to be told."""
        if self._paying is not None:
            await asyncio.wait([self._paying], timeout=PATIENCE)
            self._paying.cancel()
        await self._store.close()


def _keys(key: AccessKey) -> list[str]:
    base = f"dragoman:{{quota:{quote(key.name, safe='')}}}"
    per = key.budget.per if key.budget else "month"
    return [f"{base}:minute", f"{base}:{per}{period(per, time.time()).number}"]


def _reason(error: BaseException) -> str:
    return getattr(error, "detail", "") or f"no answer within {PATIENCE:g} s"
