"""The tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # sqlite numbers rows only by an INTEGER
LIMITS = ("requests_per_minute", "tokens_per_minute")
COUNTS = (
    "requests", "errors", "input", "output", "cached", "cache_write", "reasoning",
    "cost_nano", "unpriced", "ms_total", "ms_first", "firsts",
)  # fmt: skip
TEXTS = ("request_id", "key_name", "team", "user_name", "operation", "shape", "asked", "provider", "model", "api", "lane", "error")
MODELS = ("key_name", "team", "provider", "model")
USERS = ("key_name", "team", "user_name")
SUMS = {
    "dragoman_hours": ("hour", *MODELS),
    "dragoman_days": ("day", *MODELS),
    "dragoman_user_hours": ("hour", *USERS),
    "dragoman_user_days": ("day", *USERS),
    "dragoman_user_model_days": ("day", *USERS, "provider", "model"),
}


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, server_default="")


def _limits() -> list[sa.Column[Any]]:
    return [
        *(sa.Column(name, sa.BigInteger()) for name in LIMITS),
        sa.Column("budget_usd", sa.Double()),
        sa.Column("budget_per", sa.Text()),
        sa.Column("budget_unpriced", sa.Text()),
    ]


def upgrade() -> None:
    op.create_table(
        "dragoman_keys",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("sha256", sa.Text(), nullable=False, unique=True),
        _text("shown"),
        sa.Column("previous_sha256", sa.Text()),
        sa.Column("previous_until", sa.Double()),
        _text("team"),
        _text("user_name"),
        sa.Column("models", sa.Text(), nullable=False),
        *_limits(),
        sa.Column("allow_from", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("created_at", sa.Double(), nullable=False),
        _text("created_by"),
        sa.Column("rotated_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
    )
    op.create_table(
        "dragoman_teams",
        sa.Column("name", sa.Text(), primary_key=True),
        *_limits(),
        sa.Column("created_at", sa.Double(), nullable=False),
    )
    op.create_table(
        "dragoman_users",
        sa.Column("team", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        *_limits(),
        sa.Column("created_at", sa.Double(), nullable=False),
    )
    changes = op.create_table("dragoman_changes", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("number", sa.BigInteger()))
    op.bulk_insert(changes, [{"id": 1, "number": 1}])
    op.create_table(
        "dragoman_audit",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("time", sa.Double(), nullable=False),
        _text("who"),
        _text("role"),
        _text("how"),
        _text("action"),
        _text("subject"),
        _text("detail"),
        _text("address"),
    )
    op.create_index("dragoman_audit_time", "dragoman_audit", ["time"])
    op.create_index("dragoman_audit_subject", "dragoman_audit", ["subject", "time"])
    _usage()


def _usage() -> None:
    op.create_table(
        "dragoman_usage",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("time", sa.Double(), nullable=False),
        *map(_text, TEXTS),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("stream", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("input", "output", "cached", "cache_write", "reasoning", "ms_total")
        ),
        sa.Column("cost_nano", sa.BigInteger()),
        sa.Column("ms_first", sa.BigInteger()),
    )
    op.create_index("dragoman_usage_time", "dragoman_usage", ["time"])
    op.create_index("dragoman_usage_request", "dragoman_usage", ["request_id"])
    op.create_index("dragoman_usage_key", "dragoman_usage", ["key_name", "time"])
    op.create_index("dragoman_usage_key_model", "dragoman_usage", ["key_name", "model", "time"])
    op.create_index("dragoman_usage_model", "dragoman_usage", ["model", "time"])
    _partial("failed", ["time", "status"], "status >= 400")
    for name, column in (("team", "team"), ("user", "user_name"), ("error", "error")):
        _partial(name, [column, "time"], f"{column} <> ''")
    for table, (when, *dimensions) in SUMS.items():
        op.create_table(
            table,
            sa.Column(when, sa.Integer(), primary_key=True),
            *(sa.Column(name, sa.Text(), primary_key=True) for name in dimensions),
            *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        )
    op.create_table("dragoman_batches", sa.Column("id", sa.Text(), primary_key=True), sa.Column("time", sa.Double(), nullable=False))


def _partial(name: str, columns: list[str], where: str) -> None:
    """An index of the rows that have something: the others cost it nothing."""
    condition = sa.text(where)
    op.create_index(f"dragoman_usage_{name}", "dragoman_usage", columns, postgresql_where=condition, sqlite_where=condition)


def downgrade() -> None:
    for table in (*(f"dragoman_{name}" for name in ("keys", "teams", "users", "changes", "audit", "usage", "batches")), *SUMS):
        op.drop_table(table)
