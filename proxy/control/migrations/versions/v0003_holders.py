"""Sums of keys without their models; and no index of requests by key and model: of all that writes usage, it cost the most, and a search
among a key's requests does.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

COUNTS = (
    "requests", "errors", "input", "output", "cached", "cache_write", "reasoning",
    "cost_nano", "unpriced", "ms_total", "ms_first", "firsts",
)  # fmt: skip


def upgrade() -> None:
    op.drop_index("dragoman_usage_key_model", "dragoman_usage")
    op.create_table(
        "dragoman_holder_sums",
        sa.Column("hours", sa.Integer(), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("key_name", sa.Text(), primary_key=True),
        sa.Column("team", sa.Text(), primary_key=True),
        *(sa.Column(count, sa.BigInteger(), nullable=False) for count in COUNTS),
        sqlite_with_rowid=False,
    )
    sums = ", ".join(f"sum({count})" for count in COUNTS)
    op.execute(
        f"INSERT INTO dragoman_holder_sums (hours, number, key_name, team, {', '.join(COUNTS)})"
        f" SELECT hours, number, key_name, team, {sums} FROM dragoman_key_sums GROUP BY hours, number, key_name, team"
    )


def downgrade() -> None:
    raise NotImplementedError("an older version would not add to these sums")
