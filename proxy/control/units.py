"""Which units of the sums (tables.py) cover a time: few, however long it is."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from . import tables

Span = tuple[int, int, int]
"""The length of a unit in hours, and the numbers of the first unit and of the one behind the last."""


def cover(first: int, end: int, units: Sequence[int]) -> list[Span]:
    """Units that cover the hours from `first` up to `end`, the longest that fit. Both are whole units of the shortest.

    units: lengths in hours, each a multiple of the one before.
    """
    if first >= end:
        return []
    *shorter, longest = units
    low, high = -(-first // longest), end // longest
    if low >= high:
        return cover(first, end, shorter)
    return [*cover(first, low * longest, shorter), (longest, low, high), *cover(high * longest, end, shorter)]


def units_of(table: sa.TableClause, first: int, end: int, now: float, longest: int) -> list[sa.ColumnElement[bool]]:
    """Conditions, without overlap, for the sums of these hours. longest: that a unit may be.

    A time that ends now ends with its longest unit: nothing is later than now, so that unit holds what there is of it.
    """
    units = [unit for unit in tables.SUMS[table] if unit <= longest]
    if end * 3600 >= now:
        end += -end % units[-1]
    # one by one, so that an index that goes on with the key or the user is searched for each
    return [sa.and_(table.c.hours == unit, table.c.number.in_(range(low, high))) for unit, low, high in cover(first, end, units)]
