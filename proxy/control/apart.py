"""The process that writes into a SQLite file in a worker's place: a line for each thing to do, and one for how it went.

What can be asked is in _WAYS. The answer is "done", "away" or "refused", with a number of rows or the reason behind it. Whatever it was
told to end by, it ends with its input, as its worker may have to write something still, and does so even when that was killed.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress

from .. import child
from . import batch_sqlite
from .layout import BUSY

_AT_ONCE = 1 << 18  # bytes of one read


class File:
    """The connection to the file, which is opened when it is needed: it may be away."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._connection: sqlite3.Connection | None = None

    def answer(self, line: bytes) -> str:
        """line: without its end."""
        what, _, rest = line.partition(b" ")
        try:
            if self._connection is None:
                connection = sqlite3.connect(self._uri, uri=True, timeout=BUSY, isolation_level=None)
                connection.execute("PRAGMA synchronous = NORMAL")  # as memory/stores/sqlite.py; the rest of it is the file's own
                self._connection = connection
            return f"done {_WAYS[what](self._connection, rest)}"
        except (sqlite3.IntegrityError, sqlite3.DataError, ValueError, TypeError, LookupError, OverflowError) as error:
            return f"refused {type(error).__name__}"  # whenever it is sent
        except (sqlite3.Error, OSError, MemoryError) as error:
            return f"away {type(error).__name__}: {error}"


def _write(connection: sqlite3.Connection, batch: bytes) -> int:
    batch_sqlite.write(connection, batch)
    return 0


def _remove(connection: sqlite3.Connection, rest: bytes) -> int:
    """Rows of a table from before a time, the oldest first."""
    table, before, most = rest.decode().split()
    old = f"SELECT id FROM {table} WHERE time < ? ORDER BY time LIMIT ?"
    return connection.execute(f"DELETE FROM {table} WHERE id IN ({old})", (float(before), int(most))).rowcount


_WAYS: dict[bytes, Callable[[sqlite3.Connection, bytes], int]] = {b"write": _write, b"remove": _remove}


def main() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.setpgid(0, 0)  # else a signal for the worker's group would come here, too
    out = child.begin()
    file = File(sys.argv[1])
    with suppress(BrokenPipeError):
        for line in os.fdopen(0, "rb", _AT_ONCE):
            if line.endswith(b"\n"):  # else the worker died in the middle of it
                print(file.answer(line[:-1]).partition("\n")[0], file=out, flush=True)


if __name__ == "__main__":
    main()
