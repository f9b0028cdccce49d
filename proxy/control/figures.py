"""What was used: sums by any dimensions, and the single exchanges. Each question reads a bounded number of rows.

Sums come from the smallest table of sums that has what is asked for, and from few units of time (units.py), so that a question about
months costs by the number of keys or users, not of requests. Over time only the largest groups are asked for one by one (`series`). Users
with models have no sums by the hour: for a day at most the usage itself is added up, as long as it is held, half a day of it at each end.

A search for single exchanges reads SEARCHED of them at once, along one index, and says where to go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import time
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..keys.quota import NANO
from ..telemetry import LEFT
from . import layout, tables
from .layout import DAY, HOUR
from .records import Line
from .store import PATIENCE, Store
from .units import Part, cover, part_of, units_of
from .usage import COUNTED, FAILED, hour_of

COLUMNS = {"key": "key_name", "team": "team", "user": "user_name", "model": "model", "provider": "provider"}
TIMES = ("hour", "day")
BY = (*COLUMNS, *TIMES)
ORDERS = {"cost": ("cost_nano",), "tokens": ("input", "output"), "requests": ("requests",), "errors": ("errors",)}
MOST_GROUPS = 10_000
MOST_ROWS = 1000
MOST_TOP = 20
MOST_HOURS = 3 * 24  # of one question by the hour
MOST_HOURS_OF_ROWS = 24  # where rows are added up
SEARCHED = 20_000  # exchanges that one search reads
_DAY_HOURS = DAY // HOUR

Row = dict[str, Any]


class Invalid(ValueError):
    """A question that makes no sense."""


class Question(NamedTuple):
    """since, until: seconds since the epoch, widened to whole hours. by: of BY. where: values by names of COLUMNS. order: of ORDERS."""

    since: float
    until: float
    by: tuple[str, ...] = ()
    where: Mapping[str, str | tuple[str, ...]] = {}
    most: int = 1000
    order: str = "cost"


class Span(NamedTuple):
    """Hours since the epoch, and the table that is asked for them: the usage itself, or one of sums. longest: unit of the sums."""

    first: int
    end: int
    table: sa.TableClause
    longest: int


async def sums(store: Store, question: Question, seconds: float = PATIENCE) -> list[Row]:
    """The sums, in order of time, else the largest first. Raises Away (after these seconds), Invalid."""
    span = _span(question, store)
    async with store.adding_up(seconds) as connection:
        return [_shown(row, question.by) for row in await _asked(connection, store, question, span)]


async def series(store: Store, question: Question, top: int) -> list[Row]:
    """The sums over time of the largest groups, and of all others as one, whose name is None. Raises as `sums`.

    question: by one of COLUMNS and one of TIMES.
    """
    names, times = ([name for name in question.by if name in some] for some in (COLUMNS, TIMES))
    if (len(names), len(times)) != (1, 1):
        raise Invalid(f"top: goes with `by` of one of {', '.join(COLUMNS)} and one of {', '.join(TIMES)}")
    (name,), (when,) = names, times
    span = _span(question, store)
    whole = question._replace(most=MOST_GROUPS)
    async with store.adding_up() as connection:
        largest = question._replace(by=(name,), most=min(top, MOST_TOP))
        leaders = tuple(row[name] for row in await _asked(connection, store, largest, span._replace(longest=layout.UNITS[-1])))
        shown = await _asked(connection, store, whole._replace(where={**question.where, name: leaders}), span)
        together = await _asked(connection, store, whole._replace(by=(when,)), span._replace(table=_of_all(span, question)))
    if len(shown) == MOST_GROUPS:
        raise Invalid(f"by: {when} is for fewer of them")
    others = {row[when]: {**row, name: None} for row in together}
    for row in shown:
        for count in layout.COUNTS:
            others[row[when]][count] -= row[count]
    return [_shown(row, question.by) for row in (*shown, *(row for row in others.values() if row["requests"]))]


def _of_all(span: Span, question: Question) -> sa.TableClause:
    """The table for the sums of all groups: the smallest one, unless only that of the groups has what is asked for."""
    table = _table(set(question.where))
    return table if span.table is not tables.usage and table is not tables.user_model_sums else span.table


def _table(names: set[str]) -> sa.TableClause:
    """The smallest that has all these dimensions."""
    wanted = {COLUMNS[name] for name in names if name in COLUMNS}
    return next(table for table in tables.SUMS if wanted <= set(table.c.keys()))


def _span(question: Question, store: Store) -> Span:
    """What to read. Raises Invalid."""
    for name in question.by:
        if name not in BY:
            raise Invalid(f"by: {name[:40]!r} is not one of {', '.join(BY)}")
    if len(set(question.by)) < len(question.by):
        raise Invalid("by: something is named twice")
    if question.order not in ORDERS:
        raise Invalid(f"order: {question.order[:40]!r} is not one of {', '.join(ORDERS)}")
    first, end = int(question.since // HOUR), -int(-question.until // HOUR)
    table = _table({*question.by, *question.where})
    longest = next((length for name, length in (("hour", 1), ("day", _DAY_HOURS)) if name in question.by), layout.UNITS[-1])
    if table is tables.user_model_sums:
        held = first >= (time() - store.control.retention) / HOUR
        if held and end - first <= MOST_HOURS_OF_ROWS + 1:  # parts of hours at both ends
            return Span(first, end, tables.usage, longest)
        if longest == 1:
            raise Invalid("by: hour with user and model or provider is for one day, whose requests are still held (retention)")
        return Span(first - first % _DAY_HOURS, end + -end % _DAY_HOURS, table, longest)
    if longest == 1 and end - first > MOST_HOURS + 1:
        raise Invalid(f"by: hour is for at most {MOST_HOURS // 24} days")
    return Span(first, end, table, longest)


async def _asked(connection: AsyncConnection, store: Store, question: Question, span: Span) -> list[Row]:
    parts = _parts(store, question, span)
    if not parts:
        return []
    inner = sa.union_all(*parts).subquery()
    groups = [inner.c[name] for name in question.by]
    total = {name: _sum(inner.c[name], store.postgres).label(name) for name in layout.COUNTS}
    largest: Any = sum(_sum(inner.c[name], store.postgres) for name in ORDERS[question.order])
    times = [inner.c[name] for name in question.by if name in TIMES]
    others = [inner.c[name] for name in question.by if name in COLUMNS]
    query = sa.select(*groups, *total.values())
    if groups:
        query = query.group_by(*groups).having(total["requests"].element > 0)  # nothing is left of some
    query = query.order_by(*times, sa.desc(largest), total["requests"].desc(), *others).limit(min(question.most, MOST_GROUPS))
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    for row in rows:
        row |= {name: int(row[name] or 0) for name in layout.COUNTS}
    return [row for row in rows if row["requests"]]


def _sum(count: sa.ColumnElement[Any], postgres: bool) -> sa.Function[Any]:
    """PostgreSQL adds up large integers as decimals, which costs more than all else; doubles are exact up to 9 million dollars."""
    return sa.func.sum(sa.cast(count, sa.Double) if postgres else count)


def _parts(store: Store, question: Question, span: Span) -> list[sa.Select[Any]]:
    """Queries for the columns that are added up."""
    if span.table is tables.usage:
        return [_part(store, question, *part) for part in _with_rows(store, span)]
    parts = units_of(span.table, span.first, span.end, time(), span.longest)
    return [_part(store, question, span.table, part) for part in parts]


def _with_rows(store: Store, span: Span) -> Iterator[tuple[sa.TableClause, Part]]:
    """Few rows of the usage: the day's sums have the others, or some too much, which are subtracted."""
    first, end, now = span.first, span.end, time()
    units = [1]
    if span.longest > 1 and first // _DAY_HOURS * DAY >= now - store.control.retention:
        units.append(_DAY_HOURS)
        if end * HOUR >= now:
            end += -end % _DAY_HOURS  # nothing is later than now
    for one in cover(first, end, units):
        if one.hours == 1:
            when = tables.usage.c.time
            yield tables.usage, Part(sa.and_(when >= one.first * HOUR, when < one.end * HOUR), one.sign)
        else:
            yield tables.user_model_sums, part_of(tables.user_model_sums, one)


def _part(store: Store, question: Question, table: sa.TableClause, part: Part) -> sa.Select[Any]:
    counts: dict[str, Any]
    if table is tables.usage:
        hour = hour_of(store.postgres)
        times = {"hour": hour, "day": f"{hour} / {_DAY_HOURS}"}
        counts = {name: sa.literal_column(text) for name, text in COUNTED.items()}
    else:
        times = {"hour": "number", "day": f"number / ({_DAY_HOURS} / hours)"}
        counts = {name: table.c[name] for name in layout.COUNTS}
    columns: list[Any] = [sa.literal_column(times[name]).label(name) for name in question.by if name in times]
    columns += [table.c[COLUMNS[name]].label(name) for name in question.by if name not in times]
    columns += [(count if part.sign > 0 else -count).label(name) for name, count in counts.items()]
    where = [table.c[COLUMNS[name]].in_([value] if isinstance(value, str) else value) for name, value in question.where.items()]
    return sa.select(*columns).where(part.condition, *where)


def _shown(row: Row, by: tuple[str, ...]) -> Row:
    shown: Row = {}
    for name in by:
        shown[name] = row[name] * (HOUR if name == "hour" else DAY) if name in TIMES else row[name]
    shown |= {name: row[name] for name in ("requests", "errors", "input", "output", "cached", "cache_write", "reasoning")}
    shown["cost_usd"] = row["cost_nano"] / NANO
    shown["unpriced"] = row["unpriced"]
    shown["ms_total"] = round(row["ms_total"] / row["requests"], 1)
    shown["ms_first"] = round(row["ms_first"] / row["firsts"], 1) if row["firsts"] else None
    return shown


# ---- the last minutes ----

STEP = 5  # seconds
MOST_STEPS = 1000
_FAILED: sa.ColumnElement[int] = sa.case((sa.literal_column(FAILED), 1), else_=0)
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

_FILTERS = {**COLUMNS, "request_id": "request_id", "error": "error", "asked": "asked", "operation": "operation", "status": "status"}
# filters that an index goes through by time, the most selective ones first; some indexes leave "" out
_INDEXED = (("request_id",), ("error",), ("user",), ("key",), ("team",), ("failed",), ("model",))
_PARTIAL = ("error", "user", "team")


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
    """The newest exchanges first, and what `before` is for those behind them, if there may be some; else "".

    where: values by names of _FILTERS. failed: only those that are counted as errors. Raises Away, Invalid.
    """
    columns, most = tables.usage.c, min(most, MOST_ROWS)
    wanted: dict[str, Any] = {**where, **({} if status is None else {"status": status})}
    if failed or (status is not None and status >= 400 and status != LEFT):
        wanted["failed"] = True
    along = next((names for names in _INDEXED if all(wanted.get(name) for name in names)), ())
    conditions = [_is(name, wanted.pop(name)) for name in along]
    conditions += [columns[_FILTERS[name]] != sa.literal_column("''") for name in along if name in _PARTIAL]
    conditions += _between(since, until, before)
    query = sa.select(tables.usage).where(*conditions, *(_is(name, value, sought=False) for name, value in wanted.items()))
    async with store.reading() as connection:
        end = None
        if wanted:
            window = sa.select(columns.time).where(*conditions).order_by(columns.time.desc()).offset(SEARCHED - 1).limit(1)
            end = (await connection.execute(window)).scalar()
        if end is not None:
            query = query.where(columns.time >= end)
        query = query.order_by(columns.time.desc(), columns.id.desc()).limit(most + 1)
        exchanges = [_row(row) for row in (await connection.execute(query)).mappings()]
    if len(exchanges) > most:
        end, id = exchanges[most - 1]["time"], exchanges[most - 1]["id"]
    else:
        id = 0  # all that ended then were searched
    return exchanges[:most], "" if end is None else f"{end!r}:{id}"


def _is(name: str, value: Any, sought: bool = True) -> sa.ColumnElement[bool]:
    """A filter. sought: an index may be used; not for a second filter, whose index could lead through all rows to find none."""
    if name == "failed":
        return sa.and_(sa.text(FAILED)) if sought else _FAILED == 1
    column: sa.ColumnElement[Any] = tables.usage.c[_FILTERS[name]]
    if not sought:
        column = sa.func.coalesce(column, sa.literal_column("0" if name == "status" else "''"))
    condition: sa.ColumnElement[bool] = column == value
    return condition


def _between(since: float | None, until: float | None, before: str) -> Iterator[sa.ColumnElement[bool]]:
    """Raises Invalid."""
    columns = tables.usage.c
    if since is not None:
        yield columns.time >= since
    if until is not None:
        yield columns.time < until
    if before:
        time, id = _cursor(before)
        yield columns.time <= time
        yield sa.or_(columns.time < time, columns.id < id)


def _cursor(text: str) -> tuple[float, int]:
    time, _, id = text[:64].partition(":")
    try:
        cursor = float(time), int(id)
    except ValueError:
        cursor = 0.0, -1
    if not 0 <= cursor[1] < 2**63:
        raise Invalid("before: is not of an answer before")
    return cursor


def _row(row: Line) -> Row:
    fields = dict(row)
    cost = fields.pop("cost_nano")
    fields |= {"key": fields.pop("key_name"), "user": fields.pop("user_name"), "cost_usd": None if cost is None else cost / NANO}
    fields["stream"] = bool(fields["stream"])
    return fields
