"""Sums for units of time: of 8 and 64 days too, and by teams and models alone; and sessions that were ended."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

DAY = 24  # hours
UNITS = (DAY, 8 * DAY, 64 * DAY)
COUNTS = (
    "requests", "errors", "input", "output", "cached", "cache_write", "reasoning",
    "cost_nano", "unpriced", "ms_total", "ms_first", "firsts",
)  # fmt: skip
MODEL = ("provider", "model")
USER = ("key_name", "team", "user_name")
TABLES = {  # dimensions, and the tables by the hour and by the day that had them
    "dragoman_team_sums": (("team", *MODEL), "dragoman_hours", "dragoman_days"),
    "dragoman_key_sums": (("key_name", "team", *MODEL), "dragoman_hours", "dragoman_days"),
    "dragoman_user_sums": (USER, "dragoman_user_hours", "dragoman_user_days"),
    "dragoman_user_model_sums": ((*USER, *MODEL), "", "dragoman_user_model_days"),
}


def upgrade() -> None:
    for name, (dimensions, hours, days) in TABLES.items():
        op.create_table(
            name,
            sa.Column("hours", sa.Integer(), primary_key=True),
            sa.Column("number", sa.Integer(), primary_key=True),
            *(sa.Column(dimension, sa.Text(), primary_key=True) for dimension in dimensions),
            *(sa.Column(count, sa.BigInteger(), nullable=False) for count in COUNTS),
            sqlite_with_rowid=False,
        )
        if hours:
            op.execute(_filled(name, dimensions, hours, "1", "hour"))
        for unit in UNITS:
            op.execute(_filled(name, dimensions, days, str(unit), f"day * {DAY} / {unit}"))
        if "user_name" in dimensions:
            op.create_index(f"{name}_user", name, ["user_name", "hours", "number"])
    # in the order of a search: with the status in it, SQLite took the index of all
    op.drop_index("dragoman_usage_failed", "dragoman_usage")
    failed = sa.text("status >= 400")
    op.create_index("dragoman_usage_failed", "dragoman_usage", ["time"], postgresql_where=failed, sqlite_where=failed)
    op.create_table("dragoman_ended", sa.Column("id", sa.Text(), primary_key=True), sa.Column("until", sa.Double(), nullable=False))
    for table in sorted({table for _, *both in TABLES.values() for table in both if table}):
        op.drop_table(table)


def _filled(name: str, dimensions: Sequence[str], source: str, unit: str, number: str) -> str:
    """A statement that adds up an older table."""
    sums = ", ".join(f"sum({count})" for count in COUNTS)
    columns = ", ".join(dimensions)
    return (
        f"INSERT INTO {name} (hours, number, {columns}, {', '.join(COUNTS)})"
        f" SELECT {unit}, {number}, {columns}, {sums} FROM {source} GROUP BY {number}, {columns}"
    )


def downgrade() -> None:
    raise NotImplementedError("an older version has other sums")
