"""What budgets have spent, read from the store: at the start, so that a restart forgives nothing, and now and then, so that replicas
whose counts are not shared in Redis see each other's.

The store's sums lag behind the counts of a running gateway by about a second, so they only ever raise a count.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from time import time
from typing import NamedTuple

import sqlalchemy as sa

from ..keys.identity import Limited
from ..keys.quota import Counters, period
from . import layout, tables
from .layout import DAY, HOUR
from .store import Store
from .units import units_of

_PLACES = {"key": ("key_name",), "team": ("team",), "user": ("team", "user_name")}


class Spent(NamedTuple):
    """Billionths of a dollar, and the number of the budget's period (quota.Period) that they were spent in."""

    nano: int
    number: int


async def spent(store: Store, limited: Iterable[Limited]) -> dict[Limited, Spent]:
    """What each has spent in the current period of its budget. Raises Away."""
    wanted: dict[tuple[str, str], list[Limited]] = {}
    for one in limited:
        if one.budget is not None:
            wanted.setdefault((one.budget.per, _kind(one)), []).append(one)
    amounts: dict[Limited, Spent] = {}
    for (per, kind), members in wanted.items():
        number = period(per, time()).number
        sums = await _sums(store, per, kind)
        if period(per, time()).number != number:
            continue  # they are of the period before
        for one in members:
            amounts[one] = Spent(sums.get(_place(one), 0), number)
    return amounts


async def raise_counts(store: Store, limited: Iterable[Limited], counters: Counters) -> None:
    """Raises Away."""
    for one, (nano, number) in (await spent(store, limited)).items():
        if nano:
            await counters.at_least(one, nano, number)


def _kind(one: Limited) -> str:
    kind, nul, _ = one.name.partition("\0")
    return kind if nul else "key"


def _place(one: Limited) -> tuple[str, ...]:
    _, nul, rest = one.name.partition("\0")
    return tuple(rest.split("\0")) if nul else (one.name,)


async def _sums(store: Store, per: str, kind: str) -> dict[tuple[str, ...], int]:
    now = time()
    table = {"key": tables.holder_sums, "team": tables.team_sums, "user": tables.user_sums}[kind]
    # up to the period's end, and no further: replicas whose clocks are ahead write into hours that have not begun here
    ends = int(period(per, now).ends.timestamp()) // HOUR
    units = units_of(table, int(_begins(per, now)) // HOUR, ends, inf, layout.UNITS[-1])
    names = _PLACES[kind]
    parts = [
        sa.select(*(table.c[name] for name in names), (table.c.cost_nano * part.sign).label("cost_nano")).where(part.condition)
        for part in units
    ]
    sums = sa.union_all(*parts).subquery()
    columns = [sums.c[name] for name in names]
    async with store.adding_up() as connection:
        rows = (await connection.execute(sa.select(*columns, sa.func.sum(sums.c.cost_nano)).group_by(*columns))).all()
    return {tuple(row[:-1]): int(row[-1]) for row in rows}


def _begins(per: str, now: float) -> float:
    """When the current period began, in seconds since the epoch."""
    ends = period(per, now).ends
    end = ends.timestamp()
    if per == "hour":
        return end - HOUR
    if per == "day":
        return end - DAY
    if per == "week":
        return end - 7 * DAY
    before = ends.replace(year=ends.year - (ends.month == 1), month=12 if ends.month == 1 else ends.month - 1)
    return before.timestamp()
