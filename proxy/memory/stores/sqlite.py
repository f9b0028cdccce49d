"""Entries in one SQLite file, shared by all workers of one machine.

All calls of a worker go through one thread, which owns the connection. The file is in WAL mode: readers and a writer do not block each
other, and a commit survives the process. Commits are not flushed to disk (synchronous=NORMAL): a power failure may lose the latest
ones but does not corrupt the file. The file is created readable by the gateway's user only, since it holds callers' content.

A write waits BUSY seconds for another process's write and then fails, since all calls share the thread; retries are guard.py's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any, TypeVar

from . import Entry, Full, Shares, Unusable, driver_errors

T = TypeVar("T")

log = logging.getLogger("dragoman")

BUSY = 0.5  # seconds that a call waits for another worker's write
BUSY_AT_START = 10.0  # seconds that opening waits for a worker that migrates the tables
AGAIN = 0.01  # seconds until a mode that was refused is asked for again
PURGE_EVERY = 300.0  # seconds between removals of expired entries
OLDEST = (3, 35, 0)  # SQLite version that supports RETURNING
AT_ONCE = 500  # names in one statement

# each step migrates from the schema version of its index to the next
MIGRATIONS = (
    """
    CREATE TABLE entries (name TEXT PRIMARY KEY, expires_at REAL NOT NULL, next INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
    CREATE INDEX entries_expiry ON entries (expires_at);
    CREATE TABLE parts (
        name TEXT NOT NULL REFERENCES entries ON DELETE CASCADE, part TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (name, part)
    );
    CREATE TABLE aliases (alias TEXT PRIMARY KEY, name TEXT NOT NULL REFERENCES entries ON DELETE CASCADE) WITHOUT ROWID;
    CREATE INDEX aliases_name ON aliases (name);
    CREATE TABLE log (
        name TEXT NOT NULL REFERENCES entries ON DELETE CASCADE, number INTEGER NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (name, number)
    );
    CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, expires_at REAL NOT NULL) WITHOUT ROWID;
    """,
    """
    ALTER TABLE entries ADD COLUMN owner TEXT NOT NULL DEFAULT '';
    ALTER TABLE entries ADD COLUMN written_at REAL NOT NULL DEFAULT 0;
    ALTER TABLE entries ADD COLUMN token TEXT NOT NULL DEFAULT '';
    CREATE INDEX entries_owner ON entries (owner, written_at) WHERE owner <> '';
    """,
)

_AWAY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})


class SqliteStore:
    """path: the file, created if missing. clock: seconds since the epoch. Raises Unusable when it cannot be opened."""

    def __init__(self, path: str, clock: Callable[[], float] = time, most_per_owner: int | None = None) -> None:
        self._clock = clock
        self._shares = Shares(most_per_owner)
        self._purged = 0.0
        self._thread = ThreadPoolExecutor(1, "dragoman-state")
        try:
            self._base = self._thread.submit(_open, path).result()
        except (sqlite3.Error, OSError) as error:
            self._thread.shutdown()
            raise Unusable(f"{path}: {error}") from None

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        with driver_errors(sqlite3.Error, RuntimeError, away=_is_away):
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A write transaction. IMMEDIATE, since a read transaction that another writer has overtaken cannot be upgraded."""
        base = self._base
        base.execute("BEGIN IMMEDIATE")
        try:
            yield base
        except BaseException:
            base.execute("ROLLBACK")
            raise
        base.execute("COMMIT")

    async def put(self, entry: Entry) -> None:
        await self._run(self._put, entry)

    def _put(self, entry: Entry) -> None:
        now = self._clock()
        with self._writing() as base:
            if now >= self._purged + PURGE_EVERY:
                self._purged = now
                base.execute("DELETE FROM entries WHERE expires_at <= ?", (now,))
                base.execute("DELETE FROM leases WHERE expires_at <= ?", (now,))
            else:
                base.execute("DELETE FROM entries WHERE name = ? AND expires_at <= ?", (entry.name, now))
            base.execute(
                "INSERT INTO entries (name, expires_at, owner, written_at) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE"
                " SET expires_at = excluded.expires_at, owner = excluded.owner, written_at = excluded.written_at",
                (entry.name, entry.expires_at, entry.owner, now),
            )
            base.executemany(
                "INSERT INTO parts VALUES (?, ?, ?) ON CONFLICT (name, part) DO UPDATE SET value = excluded.value",
                [(entry.name, part, value) for part, value in entry.parts.items()],
            )
            base.executemany(
                "INSERT INTO aliases VALUES (?, ?) ON CONFLICT (alias) DO UPDATE SET name = excluded.name",
                [(alias, entry.name) for alias in entry.aliases],
            )
            if self._shares.due(entry.owner):
                base.execute(
                    "DELETE FROM entries WHERE owner = ?1 AND owner <> '' AND written_at < (SELECT written_at FROM entries"
                    " WHERE owner = ?1 AND owner <> '' ORDER BY written_at DESC LIMIT 1 OFFSET ?2)",
                    (entry.owner, (self._shares.most or 1) - 1),
                )

    async def get(self, names: Sequence[str], part: str) -> list[bytes | None]:
        query = "SELECT name, value FROM parts JOIN entries USING (name) WHERE part = ? AND expires_at > ? AND name IN (%s)"
        values = await self._run(self._select, query, (part, self._clock()), names)
        return [values.get(name) for name in names]

    async def resolve(self, aliases: Sequence[str]) -> list[str | None]:
        query = "SELECT alias, name FROM aliases JOIN entries USING (name) WHERE expires_at > ? AND alias IN (%s)"
        names = await self._run(self._select, query, (self._clock(),), aliases)
        return [names.get(alias) for alias in aliases]

    def _select(self, query: str, parameters: tuple[Any, ...], wanted: Sequence[str]) -> dict[str, Any]:
        rows: dict[str, Any] = {}
        for i in range(0, len(wanted), AT_ONCE):
            some = tuple(wanted[i : i + AT_ONCE])
            rows.update(self._base.execute(query % ", ".join("?" * len(some)), parameters + some).fetchall())
        return rows

    async def delete(self, name: str) -> bool:
        return await self._run(self._delete, name)

    def _delete(self, name: str) -> bool:
        with self._writing() as base:
            gone = base.execute("DELETE FROM entries WHERE name = ? RETURNING expires_at", (name,)).fetchall()
        return bool(gone and gone[0][0] > self._clock())

    async def append(
        self, name: str, values: Sequence[bytes], expires_at: float, first: int = 0, token: str = "", most: int | None = None
    ) -> int | None:
        return await self._run(self._append, name, values, expires_at, first, token, most)

    def _append(self, name: str, values: Sequence[bytes], expires_at: float, first: int, token: str, most: int | None) -> int | None:
        with self._writing() as base:
            rows = base.execute(
                "UPDATE entries SET next = next + ?1, expires_at = ?2, token = ?3 WHERE name = ?4 AND expires_at > ?5"
                " AND (token <> ?3 OR ?3 = '')"
                " AND (?6 IS NULL OR ?6 >= ?7 + (SELECT coalesce(sum(length(value)), 0) FROM log WHERE name = ?4)) RETURNING next",
                (len(values), expires_at, token, name, self._clock(), most, sum(map(len, values))),
            ).fetchall()
            if not rows:  # no such entry; a repetition of the last append; or no room
                again = "SELECT next, token <> '' AND token = ? FROM entries WHERE name = ? AND expires_at > ?"
                rows = base.execute(again, (token, name, self._clock())).fetchall()
                if rows and not rows[0][1]:
                    raise Full
                return int(rows[0][0]) if rows else None
            upcoming = int(rows[0][0])
            numbers = range(upcoming - len(values), upcoming)
            base.executemany("INSERT INTO log VALUES (?, ?, ?)", [(name, n, v) for n, v in zip(numbers, values, strict=True)])
            if first:
                base.execute("DELETE FROM log WHERE name = ? AND number < ?", (name, first))
        return upcoming

    async def read(self, name: str, after: int = -1, most: int = 1000) -> list[tuple[int, bytes]]:
        return await self._run(self._read, name, after, most)

    def _read(self, name: str, after: int, most: int) -> list[tuple[int, bytes]]:
        query = (
            "SELECT number, value FROM log JOIN entries USING (name)"
            " WHERE name = ? AND number > ? AND expires_at > ? ORDER BY number LIMIT ?"
        )
        return self._base.execute(query, (name, after, self._clock(), most)).fetchall()

    async def remove(self, name: str, number: int) -> bool:
        return await self._run(self._remove, name, number)

    def _remove(self, name: str, number: int) -> bool:
        with self._writing() as base:
            count: int = base.execute("DELETE FROM log WHERE name = ? AND number = ?", (name, number)).rowcount
        return count > 0

    async def lease(self, name: str, holder: str, seconds: float, force: bool = False) -> bool:
        return await self._run(self._lease, name, holder, seconds, force)

    def _lease(self, name: str, holder: str, seconds: float, force: bool) -> bool:
        now = time()
        with self._writing() as base:
            rows = base.execute(
                "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder,"
                " expires_at = excluded.expires_at WHERE ? OR holder = excluded.holder OR expires_at <= ? RETURNING 1",
                (name, holder, now + seconds, force, now),
            ).fetchall()
        return bool(rows)

    async def release(self, name: str, holder: str) -> None:
        await self._run(self._release, name, holder)

    def _release(self, name: str, holder: str) -> None:
        with self._writing() as base:
            base.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (name, holder))

    async def close(self) -> None:
        await self._run(self._base.close)
        self._thread.shutdown(wait=False)


def _is_away(error: Exception) -> bool:
    """Whether the file is busy: another process writes to it."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _AWAY


def _open(path: str) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < OLDEST:
        raise OSError(f"needs SQLite 3.35, this Python has {sqlite3.sqlite_version}")
    _make_private(path)
    base = sqlite3.connect(path, timeout=BUSY_AT_START, isolation_level=None)
    try:
        base.execute("PRAGMA foreign_keys = ON")
        _migrate(base)
        prepare(base.execute, BUSY, BUSY_AT_START)
    except BaseException:
        base.close()
        raise
    return base


def prepare(execute: Callable[[str], object], busy: float, patience: float) -> None:
    """Set what every connection to a file has; `execute` is its own. Blocks, at most `patience` seconds. Raises OperationalError.

    busy: seconds that a call on it waits for another process's write. SQLite does not wait where two connections change a new file to
    WAL mode at the same time: one of them is refused at once (https://www.sqlite.org/c3ref/busy_handler.html), so it asks again.
    """
    ends = monotonic() + patience
    while True:
        try:
            execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if not _is_away(error) or monotonic() > ends:
                raise
            sleep(AGAIN)
    execute("PRAGMA synchronous = NORMAL")
    execute(f"PRAGMA busy_timeout = {int(busy * 1000)}")


def look(path: str | Path) -> sqlite3.Connection:
    """A connection to an existing file that changes nothing and makes no file beside it.

    It sees nothing of the file's log and takes no lock: while another process writes, what it reads may be broken.
    """
    return sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def fault(path: Path) -> str | None:
    """Why an existing file cannot be used, as far as `look` can tell."""
    try:
        with closing(look(path)) as base:
            _check_version(base)
    except OSError as error:
        return str(error)
    except sqlite3.Error as error:
        return str(error) if is_wrong(error) else None
    return None


def is_wrong(error: object) -> bool:
    """Whether an error says that the file can never be used."""
    return getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN)


def _make_private(path: str) -> None:
    """Create the file for its owner only, regardless of the umask; SQLite gives its -wal and -shm files the same mode."""
    if path == ":memory:":
        return
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        mode = os.stat(path).st_mode & 0o777
        if mode & 0o007:
            log.warning("state_storage: %s can be read by every user of this machine (mode %o): chmod 600", path, mode)
    except OSError:
        pass  # SQLite reports what is wrong with the path


def _migrate(base: sqlite3.Connection) -> None:
    base.execute("BEGIN IMMEDIATE")
    for step in MIGRATIONS[_check_version(base) :]:
        for statement in step.split(";"):
            base.execute(statement)
    base.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    base.execute("COMMIT")


def _check_version(base: sqlite3.Connection) -> int:
    """The schema's version. Raises OSError for one that this program does not know."""
    version: int = base.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise OSError(f"the file has schema {version}; this version of Dragoman supports up to {len(MIGRATIONS)}")
    return version
