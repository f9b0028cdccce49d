"""Entries in PostgreSQL, shared by every replica that is given the same database.

The tables are made, and brought up to date, when they are first used; replicas that start together wait for each other. The
gateway starts without the server too: requests that need the state are refused until it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from time import time
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from . import Entry, Unusable, told

CONNECTIONS = 8  # of one worker, at most
PATIENCE = 5.0  # seconds to wait for a connection
LONGEST = 15.0  # seconds that a call may take, waiting included
PURGE_EVERY = 300.0  # seconds between two removals of what has expired
PURGED_AT_ONCE = 5000  # entries: a transaction shall not grow with what was left undone

_LOCK = 0x647261676F6D616E  # the advisory lock of a migration

# each step leads from the schema version of its index to the next
MIGRATIONS = (
    """
    CREATE TABLE dragoman_entries (name text PRIMARY KEY, expires_at float8 NOT NULL, next bigint NOT NULL DEFAULT 0);
    CREATE INDEX dragoman_entries_expiry ON dragoman_entries (expires_at);
    CREATE TABLE dragoman_parts (
        name text NOT NULL REFERENCES dragoman_entries ON DELETE CASCADE,
        part text NOT NULL, value bytea NOT NULL, PRIMARY KEY (name, part)
    );
    CREATE TABLE dragoman_aliases (alias text PRIMARY KEY, name text NOT NULL REFERENCES dragoman_entries ON DELETE CASCADE);
    CREATE INDEX dragoman_aliases_name ON dragoman_aliases (name);
    CREATE TABLE dragoman_log (
        name text NOT NULL REFERENCES dragoman_entries ON DELETE CASCADE,
        number bigint NOT NULL, value bytea NOT NULL, PRIMARY KEY (name, number)
    );
    CREATE TABLE dragoman_leases (name text PRIMARY KEY, holder text NOT NULL, expires_at timestamptz NOT NULL);
    """,
)


class PostgresStore:
    """connection_string: a URL or key=value pairs, as libpq reads them. clock: seconds since the epoch."""

    def __init__(self, connection_string: str, clock: Callable[[], float] = time) -> None:
        try:
            given: dict[str, Any] = conninfo_to_dict(connection_string)
        except psycopg.ProgrammingError:
            raise Unusable("connection_string is not one that PostgreSQL understands") from None
        given.setdefault("connect_timeout", int(PATIENCE))
        given.setdefault("application_name", "dragoman")
        self._clock = clock
        self._purged = 0.0
        self._ready = False
        self._preparing = asyncio.Lock()
        self._pool = AsyncConnectionPool(
            make_conninfo(**given),
            min_size=1,
            max_size=CONNECTIONS,
            timeout=PATIENCE,
            open=False,
            check=AsyncConnectionPool.check_connection,  # one that died while idle is replaced before it is used
            # prepared statements do not survive a pooler between us and the server
            kwargs={"prepare_threshold": None},
        )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection in a transaction, which is committed at the end."""
        with told(psycopg.Error, PoolTimeout, PoolClosed, TooManyRequests, OSError):
            async with asyncio.timeout(LONGEST):
                if not self._ready:
                    await self._prepare()
                async with self._pool.connection() as connection:
                    yield connection

    async def _prepare(self) -> None:
        async with self._preparing:
            if self._ready:
                return
            await self._pool.open()
            async with self._pool.connection() as connection:
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                await connection.execute("CREATE TABLE IF NOT EXISTS dragoman_schema (version int NOT NULL)")
                row = await (await connection.execute("SELECT max(version) FROM dragoman_schema")).fetchone()
                version = (row[0] if row else None) or 0
                if version > len(MIGRATIONS):
                    raise OSError(f"the tables are of a newer version (schema {version}, this one knows {len(MIGRATIONS)})")
                for number, step in enumerate(MIGRATIONS[version:], version + 1):
                    await connection.execute(step)
                    await connection.execute("INSERT INTO dragoman_schema VALUES (%s)", (number,))
            self._ready = True

    async def put(self, entry: Entry) -> None:
        now = self._clock()
        async with self._connection() as connection, connection.pipeline():
            await connection.execute("DELETE FROM dragoman_entries WHERE name = %s AND expires_at <= %s", (entry.name, now))
            await connection.execute(
                "INSERT INTO dragoman_entries (name, expires_at) VALUES (%s, %s)"
                " ON CONFLICT (name) DO UPDATE SET expires_at = excluded.expires_at",
                (entry.name, entry.expires_at),
            )
            await connection.execute(
                "INSERT INTO dragoman_parts SELECT %s, * FROM unnest(%s::text[], %s::bytea[])"
                " ON CONFLICT (name, part) DO UPDATE SET value = excluded.value",
                (entry.name, list(entry.parts), list(entry.parts.values())),
            )
            if entry.aliases:
                await connection.execute(
                    "INSERT INTO dragoman_aliases SELECT unnest(%s::text[]), %s ON CONFLICT (alias) DO UPDATE SET name = excluded.name",
                    (sorted(set(entry.aliases)), entry.name),
                )
        if now >= self._purged + PURGE_EVERY:
            self._purged = now
            await self._purge(now)

    async def _purge(self, now: float) -> None:
        async with self._connection() as connection:
            await connection.execute(
                "DELETE FROM dragoman_entries WHERE name IN (SELECT name FROM dragoman_entries WHERE expires_at <= %s"
                " LIMIT %s FOR UPDATE SKIP LOCKED)",
                (now, PURGED_AT_ONCE),
            )
            await connection.execute("DELETE FROM dragoman_leases WHERE expires_at <= clock_timestamp()")

    async def get(self, names: Sequence[str], part: str) -> list[bytes | None]:
        found = await self._select(
            "SELECT name, value FROM dragoman_parts JOIN dragoman_entries USING (name)"
            " WHERE part = %s AND expires_at > %s AND name = ANY(%s)",
            (part, self._clock(), list(names)),
        )
        return [found.get(name) for name in names]

    async def resolve(self, aliases: Sequence[str]) -> list[str | None]:
        found = await self._select(
            "SELECT alias, name FROM dragoman_aliases JOIN dragoman_entries USING (name) WHERE expires_at > %s AND alias = ANY(%s)",
            (self._clock(), list(aliases)),
        )
        return [found.get(alias) for alias in aliases]

    async def _select(self, query: str, given: tuple[Any, ...]) -> dict[str, Any]:
        async with self._connection() as connection:
            cursor = await connection.cursor(binary=True).execute(query, given)
            return dict(await cursor.fetchall())

    async def delete(self, name: str) -> bool:
        async with self._connection() as connection:
            cursor = await connection.execute("DELETE FROM dragoman_entries WHERE name = %s RETURNING expires_at", (name,))
            gone = await cursor.fetchone()
        return gone is not None and gone[0] > self._clock()

    async def append(self, name: str, values: Sequence[bytes], expires_at: float, first: int = 0) -> int | None:
        async with self._connection() as connection:
            cursor = await connection.execute(
                "UPDATE dragoman_entries SET next = next + %s, expires_at = %s WHERE name = %s AND expires_at > %s RETURNING next",
                (len(values), expires_at, name, self._clock()),
            )
            row = await cursor.fetchone()
            if row is None:
                return None
            upcoming = int(row[0])
            await connection.execute(
                "INSERT INTO dragoman_log SELECT %s, %s + ordinality - 1, value FROM unnest(%s::bytea[]) WITH ORDINALITY AS given (value)",
                (name, upcoming - len(values), list(values)),
            )
            if first:
                await connection.execute("DELETE FROM dragoman_log WHERE name = %s AND number < %s", (name, first))
        return upcoming

    async def read(self, name: str, after: int = -1, most: int = 1000) -> list[tuple[int, bytes]]:
        async with self._connection() as connection:
            cursor = await connection.cursor(binary=True).execute(
                "SELECT number, value FROM dragoman_log JOIN dragoman_entries USING (name)"
                " WHERE name = %s AND number > %s AND expires_at > %s ORDER BY number LIMIT %s",
                (name, after, self._clock(), most),
            )
            return await cursor.fetchall()

    async def remove(self, name: str, number: int) -> bool:
        async with self._connection() as connection:
            cursor = await connection.execute("DELETE FROM dragoman_log WHERE name = %s AND number = %s", (name, number))
        return cursor.rowcount > 0

    async def lease(self, name: str, holder: str, seconds: float, force: bool = False) -> bool:
        """By the server's clock: replicas' clocks differ, and a lease is short."""
        async with self._connection() as connection:
            cursor = await connection.execute(
                "INSERT INTO dragoman_leases AS held VALUES (%(name)s, %(holder)s, clock_timestamp() + make_interval(secs => %(seconds)s))"
                " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at"
                " WHERE %(force)s OR held.holder = excluded.holder OR held.expires_at <= clock_timestamp() RETURNING 1",
                {"name": name, "holder": holder, "seconds": seconds, "force": force},
            )
            return await cursor.fetchone() is not None

    async def release(self, name: str, holder: str) -> None:
        async with self._connection() as connection:
            await connection.execute("DELETE FROM dragoman_leases WHERE name = %s AND holder = %s", (name, holder))

    async def close(self) -> None:
        await self._pool.close()
