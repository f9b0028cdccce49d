"""The connection to the control store: a SQLite file or PostgreSQL, by SQLAlchemy.

`migrate` makes and changes the tables, under a lock, before anything else uses them. Every other access is a transaction of `Store`,
which raises Away when the store does not answer in time; whoever uses it goes on without.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ...conf import ConfigError
from ...conf.model import Control
from ..memory.stores.redaction import misplaced, redact
from ..memory.stores.sqlite import is_wrong, look, prepare
from .layout import BUSY
from .writer import Writer

T = TypeVar("T")

CONNECTIONS = 4  # of one process, at most
PATIENCE = 5.0  # seconds for a transaction
CONNECT = 5  # seconds to open a connection
CHANNEL = "dragoman_control"  # of PostgreSQL's notifications

# of one transaction: else many groups are sorted on disk, and what is compiled for a query costs more than the query
_MEMORY = "SELECT set_config('work_mem', '32MB', true), set_config('jit', 'off', true)"

_LOCK = 0x647261676F6D6374  # the advisory lock of a migration
_MIGRATIONS = Path(__file__).parent / "migrations"
_VERSIONS = sorted(path.name[1:5] for path in (_MIGRATIONS / "versions").glob("v[0-9]*.py"))


class Unusable(ConfigError):
    """The store cannot be used as it is configured."""

    def __init__(self, message: str) -> None:
        super().__init__([])
        self.args = (f"control: {message}",)


class Away(Exception):
    """The store does not answer. The message holds no secret."""


class Refused(Exception):
    """What the store would not take, whenever it is sent. The message holds nothing of it."""


class Store:
    """Transactions on the store. Create it inside the loop that uses it."""

    def __init__(self, control: Control) -> None:
        """Raises Unusable."""
        self.control = control
        self.postgres = control.store == "postgres"
        self.engine = _postgres(control) if self.postgres else _sqlite(control)
        self._watcher, self._writer = _Watcher(control), Writer(control.path or "")

    @asynccontextmanager
    async def reading(self, seconds: float = PATIENCE) -> AsyncIterator[AsyncConnection]:
        """A connection that reads. Raises Away."""
        async with self._transaction(seconds, write=False) as connection:
            yield connection

    @asynccontextmanager
    async def adding_up(self, seconds: float = PATIENCE) -> AsyncIterator[AsyncConnection]:
        """A connection that reads, and has memory for many sums. Raises Away."""
        async with self.reading(seconds) as connection:
            if self.postgres:
                await connection.exec_driver_sql(_MEMORY)
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end. Raises Away: whether it was committed is unknown then."""
        async with self._transaction(PATIENCE, write=True) as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self, seconds: float, write: bool) -> AsyncIterator[AsyncConnection]:
        with self.errors():
            async with asyncio.timeout(seconds), self.engine.connect() as connection:
                await connection.execution_options(dragoman_write=write)
                async with connection.begin():
                    yield connection

    async def one_statement(self, text: str, parameters: tuple[Any, ...]) -> None:
        """Run one statement of the driver's own form, as a transaction of its own (PostgreSQL). Raises as `writing`."""
        with self.errors():
            async with asyncio.timeout(PATIENCE), self.engine.connect() as connection:
                autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
                await autocommit.exec_driver_sql(text, parameters)

    async def apart(self, line: bytes) -> int:
        """Have something done by the process that writes (SQLite): one of apart.py's ways. Raises Refused, and as `writing`."""
        with self.errors():
            answer = await self._writer.ask(line)
        how, _, rest = answer.partition(" ")
        if how == "done":
            return int(rest)
        raise Refused(rest) if how == "refused" else Away(rest)

    async def remove(self, table: sa.TableClause, before: float, most: int) -> int:
        """Remove rows of a table from before a time, the oldest first; return how many. Raises as `writing`."""
        if not self.postgres:
            return await self.apart(f"remove {table.name} {before!r} {most}".encode())
        old = sa.select(table.c.id).where(table.c.time < before).order_by(table.c.time).limit(most)
        async with self.writing() as connection:
            return (await connection.execute(sa.delete(table).where(table.c.id.in_(old)))).rowcount
        raise AssertionError  # `errors` raises

    async def watching(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run something in a thread with a connection that writes nothing: its data version changes with all that others write (SQLite).

        Raises Away.
        """
        with self.errors():
            return await self._watcher.run(work)
        raise AssertionError  # `errors` raises

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Convert the errors of drivers to Away, without the secrets of the store's address."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError, TimeoutError) as error:
            if isinstance(error, sa.exc.IntegrityError | sa.exc.DataError | sqlite3.IntegrityError | sqlite3.DataError):
                raise  # not the store's fault
            cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            text = "it did not answer in time" if isinstance(error, TimeoutError | PoolTimeout) else f"{type(cause).__name__}: {cause}"
            raise Away(redact(text.strip().partition("\n")[0], self.control.connection_string or "")) from None

    async def close(self) -> None:
        await self._writer.close()
        await self._watcher.close()
        await self.engine.dispose()


class _Watcher:
    """A thread with a connection to the SQLite file; both are made when they are first used."""

    def __init__(self, control: Control) -> None:
        self._path = control.path or ""
        self._pool: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "dragoman-control")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._work, work)

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None)
            prepare(self._connection.execute, BUSY, BUSY)
        return work(self._connection)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def close(self) -> None:
        if self._pool is not None:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._close)
            self._pool.shutdown()


def _postgres(control: Control) -> AsyncEngine:
    conninfo = address(control)

    async def connect() -> Any:
        import psycopg

        return await psycopg.AsyncConnection.connect(conninfo, prepare_threshold=None)  # None: poolers cannot

    return create_async_engine(
        "postgresql+psycopg://", async_creator=connect, pool_size=CONNECTIONS, max_overflow=0, pool_timeout=PATIENCE, pool_pre_ping=True
    )


def _sqlite(control: Control) -> AsyncEngine:
    create_file(control)
    url = sa.URL.create("sqlite+aiosqlite", database=control.path)  # whatever characters are in its name
    engine = create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0, connect_args={"timeout": BUSY})
    _prepare_sqlite(engine.sync_engine)
    return engine


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Let a transaction that writes begin as one, so that it waits for another instead of failing when it first writes."""

    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver begins no transactions
        cursor = connection.cursor()
        prepare(cursor.execute, BUSY, BUSY)
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        write = connection.get_execution_options().get("dragoman_write", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def create_file(control: Control) -> None:
    """Create the SQLite file, readable by the gateway's user only. Raises Unusable.

    One that is there is not opened: to close it would end the locks that connections of this process have on it, so that another process
    takes itself for the last one and removes the log that they write to (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    path = control.path or ""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not os.path.isfile(path) or not os.access(path, os.R_OK | os.W_OK):
            raise Unusable(f"{path}: is not a file that can be read and written") from None
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None


def address(control: Control) -> str:
    """PostgreSQL's address in libpq's form. Raises Unusable."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    text = control.connection_string or ""
    if misplaced(text):
        raise Unusable("connection_string: special characters in the password are written as %XX")
    try:
        options: dict[str, Any] = conninfo_to_dict(text)
    except psycopg.ProgrammingError:
        raise Unusable("connection_string is not a valid PostgreSQL connection string") from None
    options.setdefault("connect_timeout", CONNECT)
    options.setdefault("application_name", "dragoman")
    options.setdefault("target_session_attrs", "read-write")
    return make_conninfo(**options)


# ---- the tables ----


def migrate(control: Control) -> None:
    """Bring the tables up to date. Blocks; one process at a time does it. Raises Away, Unusable."""
    engine = _blocking(control)
    try:
        with engine.connect() as connection:
            if _version(connection) == _VERSIONS[-1]:
                return
        with _locked(control), engine.connect() as connection, connection.begin():
            if control.store == "postgres":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            _version(connection)
            _upgrade(connection)
    except (SQLAlchemyError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        raise Away(redact(f"{type(cause).__name__}: {cause}".strip().partition("\n")[0], control.connection_string or "")) from None
    finally:
        engine.dispose()


def fault(control: Control) -> str | None:
    """Why the store cannot be used, as far as that can be told without a server and without making a file; None if nothing is wrong."""
    try:
        if control.store == "postgres":
            address(control)
        elif os.path.exists(control.path or ""):
            engine = sa.create_engine("sqlite://", creator=lambda: look(control.path or ""), poolclass=sa.NullPool)
            with engine.connect() as connection:
                _version(connection)
    except Unusable as error:
        return str(error)
    except DBAPIError as error:
        return f"control: {control.path}: {error.orig}" if is_wrong(error.orig) else None
    return None


def _upgrade(connection: sa.Connection, version: str = "head") -> None:
    """Alembic is imported here: tables are seldom changed, and it is half of what the store imports."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it says a lot while it is imported
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, version)


def _version(connection: sa.Connection) -> str | None:
    """The version of the tables, None where there are none. Raises Unusable for a later one than this program knows."""
    if not sa.inspect(connection).has_table("dragoman_control_version"):
        return None
    version: str | None = connection.exec_driver_sql("SELECT max(version_num) FROM dragoman_control_version").scalar()
    if version is not None and version not in _VERSIONS:
        raise Unusable(f"its tables have version {version}, which this version of Dragoman does not know")
    return version


def _blocking(control: Control) -> sa.Engine:
    if control.store == "postgres":
        import psycopg

        conninfo = address(control)
        return sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo), poolclass=sa.NullPool)
    create_file(control)
    engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(control.path or "", timeout=BUSY), poolclass=sa.NullPool)
    _prepare_sqlite(engine)
    return engine


@contextmanager
def _locked(control: Control) -> Iterator[None]:
    """Hold a lock of this machine while a file's tables are migrated; PostgreSQL has its own."""
    if control.store == "postgres":
        yield
        return
    descriptor = os.open(f"{control.path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
