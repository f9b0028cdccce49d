"""Usage: one row for each exchange, and the sums of these for units of time (tables.py), from the exchange's account to the store.

`Recorder.record` runs within a request and only appends a row. Each second what has gathered becomes a batch, which goes to the spool
(spool.py) and from there to the store, which also adds it up. A batch has an id, which the store remembers: one whose fate is unknown,
because the connection broke at its commit, is sent again and counted once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from time import time
from typing import Any

import orjson
from sqlalchemy.exc import DataError, IntegrityError

from ...codecs.usage import Usage
from ..keys.quota import MOST_NANO, MOST_TOKENS, NANO
from ..telemetry import LEFT
from ..telemetry.account import Account, Target
from ..telemetry.metrics import Metrics
from . import spool
from .layout import BETWEEN, FINEST, HOUR, SUMS, USAGE
from .store import Away, Refused, Store

log = logging.getLogger("dragoman")

EVERY = 1.0  # seconds between two batches
AGAIN = 1.0  # seconds between two attempts at a store that is away
MOST_ROWS = 100_000  # of one batch
MOST_USERS = 10_000  # names of users of one key in one hour, as one process sees it
OTHER_USERS = "other"
CLOSING = 3.0  # seconds for the last batches at the end
_SHOWN = 200  # characters of a text

Row = tuple[Any, ...]


def row_of(account: Account, model: str, user: str) -> Row:
    """The columns of layout.USAGE. model: that answered, or that was asked last. user: the account's, or what stands for it.

    One expression, without unpacking and further calls, as it is made for each request: those cost as much as all the rest.
    """
    calls, error, begun = account.calls, account.error, account.begun
    if calls:
        last = calls[-1]
        target, lane, first, usage, cost = last.target, last.lane, last.first, last.usage, last.cost
        if len(calls) > 1:
            first = account.first
            usage, cost, _ = account.spent()
    else:
        target, lane, first, usage, cost = _NOBODY, "", None, None, None
    if usage is None:
        usage = _NOTHING
    read, written, reasoning = usage.cache_read or 0, usage.cache_write or 0, usage.reasoning or 0
    if usage.input + usage.output + read + written + reasoning > MOST_TOKENS:
        usage = Usage(min(usage.input, MOST_TOKENS), min(usage.output, MOST_TOKENS))
        read, written, reasoning = min(read, MOST_TOKENS), min(written, MOST_TOKENS), min(reasoning, MOST_TOKENS)
    return (
        account.time,
        account.request_id,
        account.key,
        account.team,
        user,
        account.operation,
        account.shape,
        account.model,
        target.provider,
        model,
        target.shape,
        lane,
        "" if error is None else error.name[:_SHOWN],
        account.status,
        1 if account.stream else 0,
        len(calls),
        usage.input,
        usage.output,
        read,
        written,
        reasoning,
        int((account.ended - begun) * 1000 + 0.5),
        None if cost is None else int(cost * NANO + 0.5) if cost < _MOST_COST else MOST_NANO,
        None if first is None else int((first - begun) * 1000 + 0.5),
    )


_NOTHING = Usage()
_NOBODY = Target("", "", "", "", "", "", 0, "", "")  # no upstream was asked
_MOST_COST = MOST_NANO / NANO


class Recorder:
    """Takes accounts and writes them into the store."""

    def __init__(self, store: Store, folder: str, most: int, metrics: Metrics) -> None:
        """folder, most: of the spool; most in bytes."""
        self._store, self._folder, self._metrics = store, folder, metrics
        self._spool = spool.Spool(folder, most)
        self._rows: list[Row] = []
        self._users: set[tuple[int, str, str]] = set()  # hour, key and user
        self._users_of: dict[tuple[int, str], int] = {}
        self._wake = asyncio.Event()
        self._away = False
        self._closing = False
        loop = asyncio.get_running_loop()
        self._ticking = loop.create_task(self._tick())
        self._sending = loop.create_task(self._send_all())

    # ---- within a request ----

    def record(self, account: Account, declared: Callable[[str], bool]) -> None:
        """Take one account. declared: whether a model's name is the operator's own, or what callers make up."""
        key, user, calls = account.key, account.user, account.calls
        if not key:
            return  # of a caller that was not let in
        if len(self._rows) >= MOST_ROWS:
            self._lost(1, "too many in one second")
            return
        model = ""
        if calls:
            target = calls[-1].target
            if account.status < 400 or declared(target.upstream):
                model = target.model[:_SHOWN]
        self._rows.append(row_of(account, model, user and self._known(int(account.time) // HOUR, key, user)))

    def _known(self, hour: int, key: str, user: str) -> str:
        """The user's name, or what stands for it: callers choose names, and sums are kept for ever."""
        if (hour, key, user) in self._users:
            return user
        count = self._users_of.get((hour, key), 0)
        if count >= MOST_USERS:
            return OTHER_USERS
        if self._users_of and next(iter(self._users_of))[0] != hour:
            self._users.clear()
            self._users_of.clear()
        self._users.add((hour, key, user))
        self._users_of[hour, key] = count + 1
        return user

    # ---- each second ----

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            self._gather()

    def _gather(self) -> None:
        """Append what there is to the spool."""
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        try:
            data = orjson.dumps(rows)
        except TypeError:  # a lone surrogate, in a name that a caller or an upstream made up
            rows = [tuple(_representable(value) for value in row) for row in rows]
            data = orjson.dumps(rows)
        data = secrets.token_hex(12).encode() + BETWEEN + data
        if self._spool.append(data):
            self._waits()
            self._wake.set()
        else:
            self._lost(len(rows), "the spool is full or cannot be written")

    async def _send_all(self) -> None:
        while True:
            try:
                await self._send_left()
                while len(self._spool):
                    await write(self._store, self._spool.first())
                    self._drop_first()
                self._answers()
            except Away as error:
                self._does_not(str(error))
                if self._closing:
                    return
                await asyncio.sleep(AGAIN)
                continue
            except (OSError, Refused) as error:
                log.error("a batch of usage cannot be read or written: %s", error)
                self._lost(1, "a batch was unreadable")
                if len(self._spool):
                    self._drop_first()
                continue
            if self._closing:
                return
            await self._wake.wait()
            self._wake.clear()

    async def _send_left(self) -> None:
        """What dead processes left behind. Raises Away."""
        for one in spool.left(self._folder):
            try:
                batch, place = one.batches()
                while batch is not None:
                    try:
                        await write(self._store, batch)
                    except Refused as error:  # it may have been cut
                        log.error("usage that another process left behind cannot be read: %s: %s", one.path, error)
                        self._lost(1, "a batch was unreadable")
                    batch, place = one.batches(place)
                one.remove()
            finally:
                one.close()

    def _drop_first(self) -> None:
        self._spool.drop_first()
        self._waits()

    def _waits(self) -> None:
        self._metrics.usage_waiting.set(len(self._spool))

    def _lost(self, rows: int, why: str) -> None:
        """This many rows have to be given up."""
        self._metrics.usage_lost.inc(rows)
        log.error("%d rows of usage are lost: %s", rows, why)

    def _answers(self) -> None:
        if self._away:
            self._away = False
            log.warning("usage is written into the control store again")

    def _does_not(self, why: str) -> None:
        if not self._away:
            self._away = True
            log.warning("usage is kept until the control store answers (%s)", why)

    async def close(self) -> None:
        """Write what there is, within CLOSING; what cannot be written stays in the spool."""
        self._ticking.cancel()
        self._gather()
        self._closing = True
        self._wake.set()
        await asyncio.wait([self._sending], timeout=CLOSING)
        if not self._sending.done():
            self._sending.cancel()
        await asyncio.wait([self._ticking, self._sending])
        if len(self._spool):
            log.warning("%d batches of usage are left for the next start: the control store does not take them", len(self._spool))
        self._spool.close()


def _representable(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


# ---- in the store ----

_TYPES = {"time": "float8", **dict.fromkeys(USAGE[13:16], "int"), **dict.fromkeys(USAGE[16:], "bigint")}
_COLUMNS = ", ".join(USAGE)
_PARTS = ", ".join(f"(r->>{n})::{_TYPES.get(name, 'text')} AS {name}" for n, name in enumerate(USAGE))
_TOKENS = ("input", "output", "cached", "cache_write", "reasoning")
# of a row that is counted as an error: refused, or broken off, but not where the caller left; an index has the same words
FAILED = f"status <> {LEFT} AND (status >= 400 OR error <> '')"
COUNTED = {  # what a row adds to COUNTS
    "requests": "1",
    "errors": f"CASE WHEN {FAILED} THEN 1 ELSE 0 END",
    **{name: name for name in _TOKENS},
    "cost_nano": "coalesce(cost_nano, 0)",
    "unpriced": f"CASE WHEN cost_nano IS NULL AND {' + '.join(_TOKENS)} > 0 THEN 1 ELSE 0 END",
    "ms_total": "ms_total",
    "ms_first": "coalesce(ms_first, 0)",
    "firsts": "CASE WHEN ms_first IS NULL THEN 0 ELSE 1 END",
}


def hour_of(postgres: bool) -> str:
    """The number of a row's hour."""
    return f"CAST(floor(time / {HOUR}) AS integer)" if postgres else f"CAST(time / {HOUR} AS integer)"


def _grouped(source: str, postgres: bool) -> str:
    """A query that adds rows up as finely as any sums need it, so that each row is looked at once."""
    sums = ", ".join(f"sum({text}) AS {name}" for name, text in COUNTED.items())
    by = ", ".join(FINEST[1:])
    return f"SELECT {hour_of(postgres)} AS hour, {by}, {sums} FROM {source} GROUP BY 1, {by}"


def _sums(table: str) -> str:
    """A statement that adds `grouped` to a table of sums, in all units of time."""
    dimensions, units = SUMS[table]
    key, by = ", ".join(("hours", "number", *dimensions)), ", ".join(("1", "2", *dimensions))
    values = ", ".join(("hours", "hour / hours", *dimensions, *(f"sum({name})" for name in COUNTED)))
    each = " UNION ALL SELECT ".join(map(str, units[1:]))
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in COUNTED)
    return (
        f"INSERT INTO {table} ({key}, {', '.join(COUNTED)})"
        f" SELECT {values} FROM grouped, (SELECT {units[0]} AS hours UNION ALL SELECT {each}) AS units"
        f" GROUP BY {by} ORDER BY {by}"  # everyone locks sums in this order
        f" ON CONFLICT ({key}) DO UPDATE SET {added}"
    )


_ADD = tuple(map(_sums, SUMS))
_POSTGRES = (
    "WITH once AS (INSERT INTO dragoman_batches (id, time) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING id),"
    f" batch AS MATERIALIZED (SELECT {_PARTS} FROM once, jsonb_array_elements(%s::jsonb) AS r),"
    f" rows AS (INSERT INTO dragoman_usage ({_COLUMNS}) SELECT {_COLUMNS} FROM batch),"
    f" grouped AS MATERIALIZED ({_grouped('batch', True)}),"
    f" {', '.join(f'sums{n} AS ({statement})' for n, statement in enumerate(_ADD[1:]))}"
    f" {_ADD[0]}"
)


async def write(store: Store, batch: bytes) -> None:
    """One batch, once. Raises Away, Refused."""
    if not store.postgres:
        await store.apart(b"write " + batch)
        return
    id, _, rows = batch.partition(BETWEEN)
    try:
        text = rows.decode().replace("\\u0000", "\\ufffd")  # which PostgreSQL's texts cannot hold
        await store.one_statement(_POSTGRES, (id.decode(), time(), text))
    except (IntegrityError, DataError, ValueError) as error:
        raise Refused(type(error).__name__) from None
