"""The tables as queries name them; the modules of migrations/versions make them."""

from __future__ import annotations

from sqlalchemy import TableClause, column, table

from . import layout

LIMITS = ("requests_per_minute", "tokens_per_minute", "budget_usd", "budget_per", "budget_unpriced")
KEY = (
    "name", "sha256", "shown", "previous_sha256", "previous_until", "team", "user_name", "models", *LIMITS, "allow_from", "tags",
    "expires_at", "created_at", "created_by", "rotated_at", "revoked_at",
)  # fmt: skip

keys = table("dragoman_keys", *map(column, KEY))
teams = table("dragoman_teams", *map(column, ("name", *LIMITS, "created_at")))
users = table("dragoman_users", *map(column, ("team", "name", *LIMITS, "created_at")))
changes = table("dragoman_changes", column("id"), column("number"))
audit = table("dragoman_audit", *map(column, ("id", "time", "who", "role", "how", "action", "subject", "detail", "address")))
usage = table("dragoman_usage", column("id"), *map(column, layout.USAGE))
batches = table("dragoman_batches", column("id"), column("time"))
ended = table("dragoman_ended", column("id"), column("until"))


def _sums(name: str) -> TableClause:
    """hours: of the unit. number: of units since the epoch."""
    return table(name, *map(column, ("hours", "number", *layout.SUMS[name][0], *layout.COUNTS)))


SUMS = {_sums(name): units for name, (_, units) in layout.SUMS.items()}
"""The units of each; the smaller tables come first."""
team_sums, holder_sums, key_sums, user_sums, user_model_sums = SUMS
