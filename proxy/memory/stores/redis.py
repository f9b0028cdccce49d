"""Entries in Redis or Valkey (6.2 or newer), a single server or a cluster; the server expires them.

An entry's keys have its name as hash tag, so that a cluster stores them in one slot and a script can access them all:

    dragoman:{name}         hash: the parts, and #next (the log's next number), #token (of the last append), #size (bytes of the
                            log's values; counted when it is first asked for) and #sized (#next and the number of values
                            then: if they are others now, a version that keeps no #size has changed the log)
    dragoman:{name}:log     stream: value n has the id (n+1)-0
    dragoman:{name}:lease   string: the holder
    dragoman:{alias}:name   string: the name that an alias stands for
    dragoman:{owner}:share  sorted set: the names of an owner's entries by time of writing; only where shares are bounded

When a server answers that it is read-only, loading its data or no longer in the cluster, its connections are closed, and the next
call connects again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from time import time
from typing import Any, TypeVar

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer

from . import Entry, Full, Shares, Unusable, driver_errors
from .redaction import misplaced

T = TypeVar("T")

PATIENCE = 5.0  # seconds to open a connection, and to receive an answer

_WRONG_SERVER = (ReadOnlyError, BusyLoadingError, ClusterDownError, RedisClusterException, AskError, TryAgainError)
_WRONG_SERVER_WORDS = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS")  # in the text of a script's error
IDLE_CHECK = 30  # seconds idle after which a connection is checked before use

_PUT = """
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIREAT', KEYS[2], ARGV[1])
return redis.call('PEXPIREAT', KEYS[1], ARGV[1])
"""

# by its token a retry, after a connection that broke before the answer arrived, is recognised
_APPEND = """
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local number = tonumber(redis.call('HGET', KEYS[1], '#next') or '0')
if redis.call('HGET', KEYS[1], '#token') == ARGV[3] then return number end
local size = tonumber(redis.call('HGET', KEYS[1], '#size'))
local length = size and redis.call('XLEN', KEYS[2])
if size and redis.call('HGET', KEYS[1], '#sized') ~= number .. ':' .. length then size = nil end
if ARGV[4] ~= '' and not size then
  size = 0
  length = redis.call('XLEN', KEYS[2])
  local from = '-'
  repeat
    local some = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 100)
    for i = 1, #some do
      size = size + #some[i][2][2]
      from = '(' .. some[i][1]
    end
  until #some == 0
end
if size then
  for i = 5, #ARGV do size = size + #ARGV[i] end
  if ARGV[4] ~= '' and size > tonumber(ARGV[4]) then return -1 end
  local more = #ARGV - 4
  redis.call('HSET', KEYS[1], '#size', size, '#sized', number + more .. ':' .. length + more)
end
for i = 5, #ARGV do
  number = number + 1
  redis.call('XADD', KEYS[2], number .. '-0', 'v', ARGV[i])
end
redis.call('HSET', KEYS[1], '#next', number, '#token', ARGV[3])
if tonumber(ARGV[2]) > 0 then
  redis.call('XTRIM', KEYS[2], 'MINID', (ARGV[2] + 1) .. '-0')
  redis.call('HDEL', KEYS[1], '#size', '#sized')
end
redis.call('PEXPIREAT', KEYS[2], ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
return number
"""

_REMOVE = """
local value = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1]
if not value then return 0 end
local length = redis.call('XLEN', KEYS[2])
local number = redis.call('HGET', KEYS[1], '#next') or '0'
redis.call('XDEL', KEYS[2], ARGV[1])
if redis.call('HGET', KEYS[1], '#sized') == number .. ':' .. length then
  redis.call('HINCRBY', KEYS[1], '#size', -#value[2][2])
  redis.call('HSET', KEYS[1], '#sized', number .. ':' .. length - 1)
end
return 1
"""

_LEASE = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] and ARGV[3] == '0' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
"""


# removes the owner's oldest entries above its share from the sorted set, and returns their names
_SHARE = """
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIREAT', KEYS[1], ARGV[3])
if ARGV[5] == '0' then return {} end
local over = redis.call('ZCARD', KEYS[1]) - ARGV[4]
if over <= 0 then return {} end
local oldest = redis.call('ZPOPMIN', KEYS[1], math.min(over, 1000))
local names = {}
for i = 1, #oldest, 2 do names[#names + 1] = oldest[i] end
return names
"""


class RedisStore:
    """url: redis://, rediss:// or unix://, in redis-py's format. Raises Unusable."""

    def __init__(self, url: str, most_per_owner: int | None = None) -> None:
        self._url = url
        self._shares = Shares(most_per_owner)
        if misplaced(url):
            raise Unusable("url: special characters in the password are written as %XX")
        try:
            if "://" not in url:
                raise ValueError  # redis-py would use localhost
            self._single: Redis = Redis.from_url(url, **_options(), health_check_interval=IDLE_CHECK)
        except ValueError:  # its message repeats parts of the URL
            raise Unusable("url is not a valid Redis URL: redis://, rediss:// or unix://, special characters as %XX") from None
        self._client: Any = None  # the single server, or the cluster that it belongs to; None: not connected
        self._connecting = asyncio.Lock()

    async def _connected(self) -> Any:
        if self._client is None:
            async with self._connecting:
                if self._client is None:
                    self._client = await self._find_cluster() or self._single
        return self._client

    async def _find_cluster(self) -> Any:
        about = await self._single.info("cluster")
        if not about.get("cluster_enabled"):
            return None
        cluster = RedisCluster.from_url(self._url, **_options())
        return await cluster.initialize()

    async def _ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        with driver_errors(RedisError, RedisClusterException, OSError, away=_is_away, address=self._url):
            try:
                return await question(await self._connected())
            except (RedisError, RedisClusterException) as error:
                if _is_wrong_server(error):
                    await self._forget()
                raise

    async def _forget(self) -> None:
        """Close the connections; the next call connects again."""
        client, self._client = self._client, None
        await self._single.connection_pool.disconnect(inuse_connections=False)
        if client is not None and client is not self._single:
            await client.aclose()

    async def script(self, script: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """Run a script and return its result. Raises GatewayError."""
        return await self._ask(lambda client: client.eval(script, len(keys), *keys, *arguments))

    async def put(self, entry: Entry) -> None:
        expiry = int(entry.expires_at * 1000)
        for alias in entry.aliases:
            _key(alias)
        parts = [piece for part, value in entry.parts.items() for piece in (part, value)]

        async def write(client: Any) -> None:
            # aliases first: with the entry last, an interrupted write leaves no entry without its aliases
            pipeline = client.pipeline(transaction=False)
            for alias in entry.aliases:
                pipeline.set(f"{_key(alias)}:name", entry.name, pxat=expiry)
            if entry.aliases:
                await pipeline.execute()
            await client.eval(_PUT, 2, _key(entry.name), f"{_key(entry.name)}:log", expiry, *parts)

        await self._ask(write)
        if self._shares.most is not None and entry.owner:
            await self._count(entry, expiry)

    async def _count(self, entry: Entry, expiry: int) -> None:
        """Add the entry to its owner's share, and remove the entries above it, oldest first."""
        due = int(self._shares.due(entry.owner))
        too_many = await self.script(_SHARE, [f"{_key(entry.owner)}:share"], str(time()), entry.name, expiry, self._shares.most or 0, due)
        for name in too_many:
            await self.delete(name.decode())

    async def get(self, names: Sequence[str], part: str) -> list[bytes | None]:
        async def fetch(client: Any) -> list[bytes | None]:
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.hget(_key(name), part)
            values: list[bytes | None] = await pipeline.execute()
            return values

        return await self._ask(fetch) if names else []

    async def resolve(self, aliases: Sequence[str]) -> list[str | None]:
        async def fetch(client: Any) -> list[str | None]:
            pipeline = client.pipeline(transaction=False)
            for alias in aliases:
                pipeline.get(f"{_key(alias)}:name")
            return [None if name is None else name.decode() for name in await pipeline.execute()]

        return await self._ask(fetch) if aliases else []

    async def delete(self, name: str) -> bool:
        count = await self._ask(lambda client: client.delete(_key(name), f"{_key(name)}:log"))
        return bool(count)

    async def append(
        self, name: str, values: Sequence[bytes], expires_at: float, first: int = 0, token: str = "", most: int | None = None
    ) -> int | None:
        keys, bound = [_key(name), f"{_key(name)}:log"], "" if most is None else most
        number = await self.script(_APPEND, keys, int(expires_at * 1000), first, token or secrets.token_hex(8), bound, *values)
        if number == -1:
            raise Full
        return None if number is None else int(number)

    async def read(self, name: str, after: int = -1, most: int = 1000) -> list[tuple[int, bytes]]:
        entries = await self._ask(lambda client: client.xrange(f"{_key(name)}:log", f"{after + 2}-0", "+", most))
        return [(int(id.partition(b"-")[0]) - 1, fields[b"v"]) for id, fields in entries]

    async def remove(self, name: str, number: int) -> bool:
        return bool(await self.script(_REMOVE, [_key(name), f"{_key(name)}:log"], f"{number + 1}-0"))

    async def lease(self, name: str, holder: str, seconds: float, force: bool = False) -> bool:
        return bool(await self.script(_LEASE, [f"{_key(name)}:lease"], holder, max(1, int(seconds * 1000)), int(force)))

    async def release(self, name: str, holder: str) -> None:
        await self.script(_RELEASE, [f"{_key(name)}:lease"], holder)

    async def close(self) -> None:
        if self._client is not None and self._client is not self._single:
            await self._client.aclose()
        await self._single.aclose()


def _options() -> dict[str, Any]:
    """Connection options. A call whose connection breaks is retried on a new one: every call can be repeated."""
    retry: Any = Retry(ExponentialBackoff(cap=0.5, base=0.05), 2)
    return {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE, "retry": retry}


def _is_away(error: Exception) -> bool:
    """Whether there was no connection or no answer, or the wrong server answered."""
    return isinstance(error, NoConnection | NoAnswer | OSError) or _is_wrong_server(error)


def _is_wrong_server(error: Exception) -> bool:
    return isinstance(error, _WRONG_SERVER) or any(word in str(error) for word in _WRONG_SERVER_WORDS)


def _key(name: str) -> str:
    return f"dragoman:{{{name}}}"
