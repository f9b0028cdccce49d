"""Entries in PostgreSQL, shared by all replicas that use the same database.

The tables are created and migrated on first use, under an advisory lock, so that replicas can start together. The gateway also starts
without the server: requests that need the state are refused until it is available.

A connection is opened when a call needs one, and a call whose connection cannot be opened fails at once; retries are guard.py's. So
the first call after a restart of the server is served, which a pool that reconnects at intervals would not do.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from time import time
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from . import Entry, Full, Shares, Unusable, driver_errors
from .redaction import misplaced

CONNECTIONS = 8  # of one worker, at most
PATIENCE = 5.0  # seconds to open a connection
PURGE_EVERY = 300.0  # seconds between removals of expired entries
PURGED_AT_ONCE = 5000  # entries: limits the size of a transaction

_LOCK = 0x647261676F6D616E  # the advisory lock of a migration

# each step migrates from the schema version of its index to the next
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
    """
    ALTER TABLE dragoman_entries ADD COLUMN owner text NOT NULL DEFAULT '', ADD COLUMN written_at float8 NOT NULL DEFAULT 0,
        ADD COLUMN token text NOT NULL DEFAULT '';
    CREATE INDEX dragoman_entries_owner ON dragoman_entries (owner, written_at) WHERE owner <> '';
    """,
)

# SQLSTATEs: connection failure, shutdown or start, transaction rolled back, read-only standby, too many connections, no such table
_AWAY = ("08", "57", "40", "25006", "53300", "42P01")
_NO_TABLES = "42P01"
_FULL = -1  # in the place of a number


class PostgresStore:
    """connection_string: a URL or key=value pairs, in libpq's format. clock: seconds since the epoch. Raises Unusable."""

    def __init__(self, connection_string: str, clock: Callable[[], float] = time, most_per_owner: int | None = None) -> None:
        if misplaced(connection_string):
            raise Unusable("connection_string: special characters in the password are written as %XX")
        try:
            options: dict[str, Any] = conninfo_to_dict(connection_string)
        except psycopg.ProgrammingError:
            raise Unusable("connection_string is not a valid PostgreSQL connection string") from None
        options.setdefault("connect_timeout", int(PATIENCE))
        options.setdefault("application_name", "dragoman")
        options.setdefault("target_session_attrs", "read-write")  # not a standby
        self._address = connection_string
        self._clock = clock
        self._shares = Shares(most_per_owner)
        self._purged = 0.0
        self._ready = False
        self._preparing: asyncio.Task[None] | None = None
        self._pool = _Pool(make_conninfo(**options))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection in a transaction that is committed at the end."""
        with driver_errors(psycopg.Error, OSError, away=self._is_away, address=self._address):
            if not self._ready:
                await asyncio.shield(self._prepared())
            async with self._pool.connection() as connection:
                yield connection

    def _is_away(self, error: Exception) -> bool:
        state = getattr(error, "sqlstate", None)
        if state is None:  # not reported by a server: there is no connection, or it broke
            return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | ConnectionError)
        if not state.startswith(_AWAY):
            return False
        if state == _NO_TABLES:
            self._ready = False
        self._pool.forget()  # the other connections are to the same server
        return True

    def _prepared(self) -> asyncio.Task[None]:
        """Migrate the tables in a task that all calls share; it continues when they time out, since a large table takes long."""
        if self._preparing is None or self._preparing.done():
            self._preparing = asyncio.create_task(self._prepare(), context=Context())
            self._preparing.add_done_callback(lambda task: task.cancelled() or task.exception())  # mark as retrieved
        return self._preparing

    async def _prepare(self) -> None:
        async with self._pool.connection() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            await connection.execute("CREATE TABLE IF NOT EXISTS dragoman_schema (version int NOT NULL)")
            row = await (await connection.execute("SELECT max(version) FROM dragoman_schema")).fetchone()
            version = (row[0] if row else None) or 0
            if version > len(MIGRATIONS):
                raise OSError(f"the tables have schema {version}; this version of Dragoman supports up to {len(MIGRATIONS)}")
            for number, step in enumerate(MIGRATIONS[version:], version + 1):
                await connection.execute(step)
                await connection.execute("INSERT INTO dragoman_schema VALUES (%s)", (number,))
        self._ready = True

    async def put(self, entry: Entry) -> None:
        now = self._clock()
        async with self._connection() as connection, connection.pipeline():
            await connection.execute("DELETE FROM dragoman_entries WHERE name = %s AND expires_at <= %s", (entry.name, now))
            await connection.execute(
                "INSERT INTO dragoman_entries (name, expires_at, owner, written_at) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (name) DO UPDATE SET expires_at = excluded.expires_at, owner = excluded.owner,"
                " written_at = excluded.written_at",
                (entry.name, entry.expires_at, entry.owner, now),
            )
            await connection.execute(
                "INSERT INTO dragoman_parts SELECT %s, * FROM unnest(%s::text[], %b::bytea[])"
                " ON CONFLICT (name, part) DO UPDATE SET value = excluded.value",
                (entry.name, list(entry.parts), list(entry.parts.values())),
            )
            if entry.aliases:
                await connection.execute(
                    "INSERT INTO dragoman_aliases SELECT unnest(%s::text[]), %s ON CONFLICT (alias) DO UPDATE SET name = excluded.name",
                    (sorted(set(entry.aliases)), entry.name),
                )
        if self._shares.due(entry.owner):
            await self._trim(entry.owner)
        if now >= self._purged + PURGE_EVERY:
            self._purged = now
            await self._purge(now)

    async def _trim(self, owner: str) -> None:
        """Remove an owner's entries above its share, oldest first."""
        async with self._connection() as connection:
            await connection.execute(
                "DELETE FROM dragoman_entries WHERE name IN (SELECT name FROM dragoman_entries WHERE owner = %(owner)s AND owner <> ''"
                " AND written_at < (SELECT written_at FROM dragoman_entries WHERE owner = %(owner)s AND owner <> ''"
                " ORDER BY written_at DESC OFFSET %(most)s LIMIT 1) ORDER BY written_at LIMIT %(at_once)s FOR UPDATE SKIP LOCKED)",
                {"owner": owner, "most": (self._shares.most or 1) - 1, "at_once": PURGED_AT_ONCE},
            )

    async def _purge(self, now: float) -> None:
        async with self._connection() as connection:
            await connection.execute(
                "DELETE FROM dragoman_entries WHERE name IN (SELECT name FROM dragoman_entries WHERE expires_at <= %s"
                " LIMIT %s FOR UPDATE SKIP LOCKED)",
                (now, PURGED_AT_ONCE),
            )
            await connection.execute("DELETE FROM dragoman_leases WHERE expires_at <= clock_timestamp()")

    async def get(self, names: Sequence[str], part: str) -> list[bytes | None]:
        values = await self._select(
            "SELECT name, value FROM dragoman_parts JOIN dragoman_entries USING (name)"
            " WHERE part = %s AND expires_at > %s AND name = ANY(%s)",
            (part, self._clock(), list(names)),
        )
        return [values.get(name) for name in names]

    async def resolve(self, aliases: Sequence[str]) -> list[str | None]:
        names = await self._select(
            "SELECT alias, name FROM dragoman_aliases JOIN dragoman_entries USING (name) WHERE expires_at > %s AND alias = ANY(%s)",
            (self._clock(), list(aliases)),
        )
        return [names.get(alias) for alias in aliases]

    async def _select(self, query: str, parameters: tuple[Any, ...]) -> dict[str, Any]:
        async with self._connection() as connection:
            cursor = await connection.cursor(binary=True).execute(query, parameters)
            return dict(await cursor.fetchall())

    async def delete(self, name: str) -> bool:
        async with self._connection() as connection:
            cursor = await connection.execute("DELETE FROM dragoman_entries WHERE name = %s RETURNING expires_at", (name,))
            gone = await cursor.fetchone()
        return gone is not None and gone[0] > self._clock()

    async def append(
        self, name: str, values: Sequence[bytes], expires_at: float, first: int = 0, token: str = "", most: int | None = None
    ) -> int | None:
        number = await self._append(name, values, expires_at, first, token, most)
        if number == _FULL:  # raised here: an error closes the connection
            raise Full
        return number

    async def _append(self, name: str, values: Sequence[bytes], expires_at: float, first: int, token: str, most: int | None) -> int | None:
        async with self._connection() as connection:
            if most is not None:  # the next statement sees what others have appended before this one has the row
                await connection.execute("SELECT FROM dragoman_entries WHERE name = %s FOR UPDATE", (name,))
            cursor = await connection.execute(
                "UPDATE dragoman_entries SET next = next + %(count)s, expires_at = %(expires_at)s, token = %(token)s"
                " WHERE name = %(name)s AND expires_at > %(now)s AND (token <> %(token)s OR %(token)s = '')"
                " AND (%(most)s::bigint IS NULL OR %(most)s::bigint >= %(size)s::bigint"
                " + (SELECT coalesce(sum(octet_length(value)), 0) FROM dragoman_log WHERE name = %(name)s)) RETURNING next",
                {
                    "name": name,
                    "count": len(values),
                    "expires_at": expires_at,
                    "token": token,
                    "now": self._clock(),
                    "most": most,
                    "size": sum(map(len, values)),
                },
            )
            row = await cursor.fetchone()
            if row is None:  # no such entry; a repetition of the last append; or no room
                again = "SELECT next, token <> '' AND token = %s FROM dragoman_entries WHERE name = %s AND expires_at > %s"
                row = await (await connection.execute(again, (token, name, self._clock()))).fetchone()
                if row is not None and not row[1]:
                    return _FULL
                return None if row is None else int(row[0])
            upcoming = int(row[0])
            await connection.execute(
                "INSERT INTO dragoman_log SELECT %s, %s + ordinality - 1, value FROM unnest(%b::bytea[]) WITH ORDINALITY AS given (value)",
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
        """Uses the server's clock: replicas' clocks differ, and leases are short."""
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
        if self._preparing is not None and not self._preparing.done():
            self._preparing.cancel()
            await asyncio.wait([self._preparing], timeout=1.0)
        await self._pool.close()


class _Pool:
    """Connections to one address, opened when needed. conninfo: in libpq's format."""

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[psycopg.AsyncConnection[Any]] = []
        self._generation = 0  # connections of an older generation are not reused

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection for one transaction; after any error it is closed, since its state is unknown."""
        async with self._places:
            connection, generation = await self._taken(), self._generation
            try:
                yield connection
                await connection.commit()
            except BaseException:
                await connection.close()
                raise
            if generation == self._generation:
                self._idle.append(connection)
            else:
                await connection.close()

    async def _taken(self) -> psycopg.AsyncConnection[Any]:
        while self._idle:
            connection = self._idle.pop()
            if not _has_news(connection):
                return connection
            await connection.close()
        # prepared statements do not work through a pooler between the gateway and the server
        return await psycopg.AsyncConnection.connect(self.conninfo, prepare_threshold=None)

    def forget(self) -> None:
        """Close the idle connections, and do not reuse the others: they are to a server that is no longer the right one."""
        self._generation += 1
        for connection in self._idle:
            connection.pgconn.finish()
        self._idle.clear()

    async def close(self) -> None:
        self.forget()


def _has_news(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether an idle connection was closed or has unread input: the server ends the connection or has changed its role."""
    if connection.closed:
        return True
    poll = select.poll()  # not select(), which is limited to low descriptors
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))
