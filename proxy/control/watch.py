"""Sees changes of the control store: PostgreSQL's notifications, or the data version of a SQLite file; and asks now and then all the same.

The connection that waits for notifications asks for the number of the changes between two of them, so that a connection that is dead
without a word is found within seconds.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import sqlalchemy as sa

from . import tables
from .store import CHANNEL, Away, Store, address

LOOK = 0.5  # seconds between two looks at a file's data version
ASK = 2.0  # seconds without a notification before the number is asked for
_NUMBER = str(sa.select(tables.changes.c.number))


async def postgres(store: Store, number: int) -> None:
    """Return when the number of the changes is another. Raises Away."""
    import psycopg

    connection: psycopg.AsyncConnection[Any] | None = None
    try:
        async with asyncio.timeout(ASK * 2):
            connection = await psycopg.AsyncConnection.connect(address(store.control), autocommit=True, prepare_threshold=None)
            await connection.execute(f"LISTEN {CHANNEL}".encode())
        while True:
            async with asyncio.timeout(ASK):
                row = await (await connection.execute(_NUMBER.encode())).fetchone()
            if row is None or row[0] != number:
                return
            async for _ in connection.notifies(timeout=ASK, stop_after=1):
                pass
    except (psycopg.Error, OSError, TimeoutError) as error:
        raise Away("it did not answer in time" if isinstance(error, TimeoutError) else type(error).__name__) from None
    finally:
        if connection is not None:
            connection.pgconn.finish()  # at once: closing in order could wait for a server that is away


async def sqlite(store: Store, number: int) -> None:
    """Return when the number of the changes is another. Raises Away."""
    version = -1

    def look(connection: sqlite3.Connection) -> int | None:
        """The number, if something was written since the last look."""
        nonlocal version
        (now,) = connection.execute("PRAGMA data_version").fetchone()
        if now == version:
            return None
        version = now
        return int(connection.execute(_NUMBER).fetchone()[0])

    while True:
        if await store.watching(look) not in (None, number):
            return
        await asyncio.sleep(LOOK)
