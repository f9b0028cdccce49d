"""What was used: sums by any dimensions, and the single exchanges.

Sums come from the tables of sums: whole days from those by the day, the parts of days at both ends from those by the hour. So a question
about months costs by the number of sums, not of requests. Only users and models together have no sums by the hour, of which there would be
as many as requests; there the rows stand in, as long as they are held.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from time import time
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..keys.quota import NANO
from ..telemetry.account import LEFT
from . import tables
from .records import Line
from .store import Store
from .usage import COUNTED, DAY, HOUR, number_of

COLUMNS = {"key": "key_name", "team": "team", "user": "user_name", "model": "model", "provider": "provider"}
TIMES = ("hour", "day")
BY = (*COLUMNS, *TIMES)
MOST_GROUPS = 10_000
MOST_ROWS = 1000
MOST_HOURS = 35 * 24  # of one question by the hour
MOST_HOURS_OF_ROWS = 3 * 24  # where rows are added up for it
_DAY_HOURS = DAY // HOUR

Row = dict[str, Any]


class Invalid(ValueError):
    """A question that makes no sense."""


class Question(NamedTuple):
    """since, until: seconds since the epoch, widened to whole hours. by: of BY. where: values by names of COLUMNS."""

    since: float
    until: float
    by: tuple[str, ...] = ()
    where: Mapping[str, str] = {}
    most: int = 1000


async def sums(store: Store, question: Question) -> list[Row]:
    """The sums, in order of time, else of cost. Raises Away, Invalid."""
    for name in question.by:
        if name not in BY:
            raise Invalid(f"by: {name[:40]!r} is not one of {', '.join(BY)}")
    pieces = _pieces(question, store)
    if not pieces:
        return []
    query = _together(pieces, question.by) if len(pieces) > 1 else pieces[0]
    times: list[Any] = [sa.literal_column(name) for name in question.by if name in TIMES]
    others: list[Any] = [sa.literal_column(f'"{name}"') for name in question.by if name in COLUMNS]
    query = query.order_by(*times, sa.literal_column("cost_nano").desc(), sa.literal_column("requests").desc(), *others)
    async with store.reading() as connection:
        rows = (await connection.execute(query.limit(min(question.most, MOST_GROUPS)))).mappings().all()
    return [_shown(row, question.by) for row in rows if row["requests"]]


class _Source(NamedTuple):
    """Tables that have what a question needs. hours is the usage itself where there are no such sums."""

    hours: sa.TableClause
    days: sa.TableClause


_WITHOUT_USERS = _Source(tables.hours, tables.days)
_USERS = _Source(tables.user_hours, tables.user_days)
_USERS_AND_MODELS = _Source(tables.usage, tables.user_model_days)


def _source(question: Question) -> _Source:
    names = {*question.by, *question.where}
    if "user" not in names:
        return _WITHOUT_USERS
    return _USERS_AND_MODELS if names & {"model", "provider"} else _USERS


def _pieces(question: Question, store: Store) -> list[sa.Select[Any]]:
    """Selects of sums that cover the time, without overlap."""
    source, now = _source(question), time()
    first, end = int(question.since // HOUR), -int(-question.until // HOUR)
    if end <= first:
        return []
    oldest = (now - store.control.retention) / HOUR if source.hours is tables.usage else -math.inf
    if "hour" in question.by:
        _check_hours(source, first, end, oldest)
        return [_hours(store, source, first, end, question)]
    if first < oldest:
        first -= first % _DAY_HOURS
    if end < oldest or end * HOUR >= now:  # nothing is later than now, so the whole day is what there is of it
        end += -end % _DAY_HOURS
    first_day, end_day = -(-first // _DAY_HOURS), end // _DAY_HOURS
    if first_day >= end_day:
        return [_hours(store, source, first, end, question)]
    parts = ((first, first_day * _DAY_HOURS), (end_day * _DAY_HOURS, end))
    return [
        _piece(source.days, source.days.c.day, (first_day, end_day), {"day": "day"}, question),
        *(_hours(store, source, low, high, question) for low, high in parts if low < high),
    ]


def _check_hours(source: _Source, first: int, end: int, oldest: float) -> None:
    """Raises Invalid."""
    most = MOST_HOURS if source.hours is not tables.usage else MOST_HOURS_OF_ROWS
    if end - first > most + 1:  # parts of hours at both ends
        together = "" if most == MOST_HOURS else " with user and model or provider"
        raise Invalid(f"by: hour{together} is for at most {most // 24} days")
    if first < oldest:
        raise Invalid("by: hour with user and model or provider is for the time whose requests are held (retention)")


def _hours(store: Store, source: _Source, first: int, end: int, question: Question) -> sa.Select[Any]:
    if source.hours is not tables.usage:
        return _piece(source.hours, source.hours.c.hour, (first, end), {"hour": "hour", "day": f"hour / {_DAY_HOURS}"}, question)
    numbers = {name: number_of(store.postgres, size) for name, size in (("hour", HOUR), ("day", DAY))}
    return _piece(tables.usage, tables.usage.c.time, (first * HOUR, end * HOUR), numbers, question)


def _piece(
    table: sa.TableClause, when: sa.ColumnClause[Any], span: tuple[int, int], numbers: Mapping[str, str], question: Question
) -> sa.Select[Any]:
    """numbers: how the number of the hour and of the day are read from the columns."""
    columns = [
        (table.c[COLUMNS[name]] if name in COLUMNS else sa.literal_column(numbers[name], sa.Integer)).label(name) for name in question.by
    ]
    counted = COUNTED if table is tables.usage else {name: f"sum({name})" for name in tables.COUNTS}
    query = sa.select(*columns, *(sa.literal_column(text).label(name) for name, text in counted.items())).select_from(table)
    query = query.where(when >= span[0], when < span[1])
    query = query.where(*(table.c[COLUMNS[name]] == value for name, value in question.where.items()))
    return query.group_by(*map(sa.literal_column, map(str, range(1, len(columns) + 1)))) if columns else query


def _together(pieces: Sequence[sa.Select[Any]], by: Sequence[str]) -> sa.Select[Any]:
    inner = sa.union_all(*pieces).subquery()
    groups = [inner.c[name] for name in by]
    total = [sa.func.sum(inner.c[name]).label(name) for name in tables.COUNTS]
    return sa.select(*groups, *total).group_by(*groups) if groups else sa.select(*total)


def _shown(row: Line, by: Sequence[str]) -> Row:
    found: Row = {}
    for name in by:
        found[name] = row[name] * (HOUR if name == "hour" else DAY) if name in TIMES else row[name]
    counts = {name: int(row[name] or 0) for name in tables.COUNTS}
    found |= {name: counts[name] for name in ("requests", "errors", "input", "output", "cached", "cache_write", "reasoning")}
    found["cost_usd"] = counts["cost_nano"] / NANO
    found["unpriced"] = counts["unpriced"]
    found["ms_total"] = round(counts["ms_total"] / counts["requests"], 1) if counts["requests"] else None
    found["ms_first"] = round(counts["ms_first"] / counts["firsts"], 1) if counts["firsts"] else None
    return found


# ---- the last minutes ----

STEP = 5  # seconds
MOST_STEPS = 1000
_FAILED = sa.case((sa.literal_column(f"status <> {LEFT} AND (status >= 400 OR error <> '')"), 1), else_=0)
_LATELY = (
    sa.func.count().label("requests"),
    sa.func.sum(_FAILED).label("errors"),
    sa.func.sum(tables.usage.c.output).label("output"),
    sa.func.avg(tables.usage.c.ms_first).label("ms_first"),
)


async def steps(store: Store, since: float) -> list[Row]:
    """What ended since then, in steps of STEP seconds; steps without requests are not there. Raises Away."""
    time = tables.usage.c.time
    step = sa.cast(time / STEP, sa.Integer) if not store.postgres else sa.cast(sa.func.floor(time / STEP), sa.Integer)
    query = sa.select((step * STEP).label("time"), *_LATELY).where(time >= since // STEP * STEP).group_by(step).order_by(step)
    return await _lately(store, query)


async def lately(store: Store, since: float) -> list[Row]:
    """The same by provider."""
    columns = tables.usage.c
    query = sa.select(columns.provider, *_LATELY).where(columns.time >= since).group_by(columns.provider)
    return await _lately(store, query)


async def _lately(store: Store, query: sa.Select[Any]) -> list[Row]:
    async with store.reading() as connection:
        rows = [dict(row) for row in (await connection.execute(query.limit(MOST_STEPS))).mappings()]
    for row in rows:
        row |= {name: int(row[name] or 0) for name in ("requests", "errors", "output")}
        row["ms_first"] = None if row["ms_first"] is None else round(float(row["ms_first"]), 1)
    return rows


# ---- single exchanges ----

_FILTERS = {**COLUMNS, "request_id": "request_id", "error": "error", "asked": "asked", "operation": "operation"}
_PARTIAL: dict[str, Any] = {
    name: sa.literal_column(f"{name} <> ''") for name in ("team", "user_name", "error")
}  # the indexes that leave "" out


async def rows(
    store: Store,
    where: Mapping[str, str],
    *,
    since: float | None = None,
    until: float | None = None,
    failed: bool = False,
    status: int | None = None,
    before: str = "",
    most: int = 100,
) -> tuple[list[Row], str]:
    """The newest exchanges first, and what `before` is for those behind them; "" when there are none.

    where: values by names of _FILTERS. failed: only those with a status of 400 or more. Raises Away, Invalid.
    """
    columns = tables.usage.c
    most = min(most, MOST_ROWS)
    query = sa.select(tables.usage).order_by(columns.time.desc(), columns.id.desc()).limit(most + 1)
    query = query.where(*(columns[_FILTERS[name]] == value for name, value in where.items()))
    query = query.where(*(_PARTIAL[_FILTERS[name]] for name, value in where.items() if value and _FILTERS[name] in _PARTIAL))
    if since is not None:
        query = query.where(columns.time >= since)
    if until is not None:
        query = query.where(columns.time < until)
    if failed or (status is not None and status >= 400):
        query = query.where(sa.literal_column("status") >= sa.literal_column("400"))  # so that the index of failures fits
    if status is not None:
        query = query.where(columns.status == status)
    if before:
        time, id = _cursor(before)
        query = query.where(columns.time <= time, sa.or_(columns.time < time, columns.id < id))
    async with store.reading() as connection:
        if (last := _last_day(where)) is not None:
            day = (await connection.execute(last)).scalar()
            if day is None:
                return [], ""
            query = query.where(columns.time < (day + 1) * DAY)
        found = [_row(row) for row in (await connection.execute(query)).mappings()]
    more = found[:most]
    return more, f"{more[-1]['time']!r}:{more[-1]['id']}" if len(found) > most else ""


def _last_day(where: Mapping[str, str]) -> sa.Select[Any] | None:
    """What asks the sums for the last day of such rows, where no index has them: all rows would be read to find that there are none."""
    names = {name: value for name, value in where.items() if name in COLUMNS}
    if "request_id" in where or (len(names) < 2 and "provider" not in names):
        return None
    days = _source(Question(0, 0, (), names)).days
    return sa.select(sa.func.max(days.c.day)).where(*(days.c[COLUMNS[name]] == value for name, value in names.items()))


def _cursor(text: str) -> tuple[float, int]:
    time, _, id = text[:64].partition(":")
    try:
        return float(time), int(id)
    except ValueError:
        raise Invalid("before: is not of an answer before") from None


def _row(row: Line) -> Row:
    found = dict(row)
    cost = found.pop("cost_nano")
    found |= {"key": found.pop("key_name"), "user": found.pop("user_name"), "cost_usd": None if cost is None else cost / NANO}
    found["stream"] = bool(found["stream"])
    return found
