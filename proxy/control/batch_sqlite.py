"""One batch of usage into a SQLite file: its rows, and the sums of these, which are worked out here.

To group rows in SQL costs ten times what `add_up` does. Statements are few, each for many rows. Imported by the process of apart.py.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import itemgetter
from time import time
from typing import Any

import orjson

from ..telemetry import LEFT
from .layout import BETWEEN, COUNTS, FINEST, HOUR, SUMS, USAGE

_AT_ONCE = (100, 10, 1)  # rows of one statement

Row = Sequence[Any]
Sums = dict[tuple[Any, ...], list[int]]


def write(connection: sqlite3.Connection, batch: bytes) -> None:
    """Add a batch, once. Raises ValueError, TypeError for bytes that are none."""
    id, between, data = batch.partition(BETWEEN)
    if not between:
        raise ValueError("a batch without an id")
    rows = orjson.loads(data)
    if any(len(row) != len(USAGE) for row in rows):
        raise ValueError("rows of another form")
    finest = add_up(rows)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute(_ONCE, (id.decode(), time())).rowcount:
            _execute(connection, _ROWS, rows)
            for name, statement in _SUMS.items():
                _execute(connection, statement, of_table(name, finest))
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def add_up(rows: Iterable[Row]) -> Sums:
    """The sums of rows by hour, key, team, user, provider and model, in the order of COUNTS."""
    places: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        places[row[_TIME] // HOUR, row[_KEY], row[_TEAM], row[_USER], row[_PROVIDER], row[_MODEL]].append(row)
    return {(int(hour), *names): _counts(same) for (hour, *names), same in places.items()}


_TIME, _KEY, _TEAM, _USER, _PROVIDER, _MODEL = map(USAGE.index, ("time", *FINEST[1:]))
_ERROR, _COUNTS = USAGE.index("error"), USAGE.index("input")


def _counts(rows: Sequence[Row]) -> list[int]:
    """What rows of one place add. By columns, which are added up without a step of the interpreter for each number."""
    columns = list(zip(*rows, strict=True))
    errors, statuses = columns[_ERROR : _ERROR + 2]
    failed = 0
    if any(errors) or max(statuses) >= 400:
        failed = sum((status >= 400 or error != "") and status != LEFT for error, status in zip(errors, statuses, strict=True))
    *tokens, ms, costs, firsts = columns[_COUNTS:]
    unpriced = 0
    if None in costs:
        unpriced = sum(cost is None and sum(used) > 0 for cost, *used in zip(costs, *tokens, strict=True))
        costs = tuple(cost or 0 for cost in costs)
    known = [first for first in firsts if first is not None]
    return [len(rows), failed, *map(sum, tokens), sum(costs), unpriced, sum(ms), sum(known), len(known)]


def of_table(name: str, finest: Sums) -> list[list[Any]]:
    """The rows that `finest` adds to a table of sums."""
    units, dimensions = _TABLES[name]
    totals: Sums = {}
    for place, counts in finest.items():
        hour, *rest = dimensions(place)
        for unit in units:
            key = (unit, hour // unit, *rest)
            sums = totals.get(key)
            totals[key] = counts if sums is None else list(map(int.__add__, sums, counts))
    return [[*key, *counts] for key, counts in totals.items()]


_TABLES: dict[str, tuple[tuple[int, ...], Callable[[tuple[Any, ...]], tuple[Any, ...]]]] = {
    name: (units, itemgetter(0, *map(FINEST.index, dimensions))) for name, (dimensions, units) in SUMS.items()
}


# ---- statements ----

_ONCE = "INSERT INTO dragoman_batches (id, time) VALUES (?, ?) ON CONFLICT DO NOTHING"


def _texts(table: str, columns: Sequence[str], end: str = "") -> dict[int, str]:
    """The statement for each number of rows of _AT_ONCE."""
    values = f"({', '.join('?' * len(columns))})"
    return {count: f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([values] * count)}{end}" for count in _AT_ONCE}


def _adding(name: str, dimensions: Sequence[str]) -> dict[int, str]:
    key = ("hours", "number", *dimensions)
    added = ", ".join(f"{count} = {count} + excluded.{count}" for count in COUNTS)
    return _texts(name, (*key, *COUNTS), f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {added}")


_ROWS = _texts("dragoman_usage", USAGE)
_SUMS = {name: _adding(name, dimensions) for name, (dimensions, _) in SUMS.items()}


def _execute(connection: sqlite3.Connection, texts: dict[int, str], rows: Sequence[Row]) -> None:
    """Raises ValueError for a value that no column can hold."""
    at = 0
    for count, text in texts.items():
        while len(rows) - at >= count:
            try:
                connection.execute(text, list(chain.from_iterable(rows[at : at + count])))
            except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
                raise ValueError("a value of another form") from None
            at += count
