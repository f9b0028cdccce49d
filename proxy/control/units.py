"""Which units of the sums (tables.py) cover a time: few, however long it is.

A unit that reaches beyond the time is read too, and what it has too much is subtracted, where that is less than to read the time's part
of it: seven days of eight are eight less one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from . import tables


class Span(NamedTuple):
    """hours: the length of a unit. first, end: the numbers of the first unit and of the one behind the last. sign: 1, or -1 to subtract."""

    hours: int
    first: int
    end: int
    sign: int = 1


class Part(NamedTuple):
    """Rows of a table of sums: to be added, or (sign -1) to be subtracted."""

    condition: sa.ColumnElement[bool]
    sign: int


def cover(first: int, end: int, units: Sequence[int]) -> list[Span]:
    """The fewest units whose sum is that of the hours from `first` up to `end`. Both are whole units of the shortest.

    units: lengths in hours, each a multiple of the one before.
    """
    if first >= end:
        return []
    *shorter, longest = units
    if not shorter:
        return [Span(longest, first // longest, end // longest)]
    covers = [cover(first, end, shorter)] if end - first < 2 * longest else []
    for low in {first // longest, -(-first // longest)}:
        for high in {end // longest, -(-end // longest)}:
            if low < high:
                covers.append([*_from(first, low * longest, shorter), Span(longest, low, high), *_from(high * longest, end, shorter)])
    return min(covers, key=lambda spans: sum(span.end - span.first for span in spans))


def _from(first: int, end: int, units: Sequence[int]) -> list[Span]:
    """The same, where the end may come first: to be subtracted then."""
    if first <= end:
        return cover(first, end, units)
    return [span._replace(sign=-span.sign) for span in cover(end, first, units)]


def units_of(table: sa.TableClause, first: int, end: int, now: float, longest: int) -> list[Part]:
    """The sums of these hours. longest: that a unit may be. now: seconds since the epoch; infinite for exactly these hours.

    A time that ends now ends with its longest unit: nothing is later than now, so that unit holds what there is of it.
    """
    units = [unit for unit in tables.SUMS[table] if unit <= longest]
    if end * 3600 >= now:
        end += -end % units[-1]
    return [part_of(table, span) for span in cover(first, end, units)]


def part_of(table: sa.TableClause, span: Span) -> Part:
    # one by one, so that an index that goes on with the key or the user is searched for each
    return Part(sa.and_(table.c.hours == span.hours, table.c.number.in_(range(span.first, span.end))), span.sign)
