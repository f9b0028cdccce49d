"""The tables as queries name them; the modules of migrations/versions make them.

Usage is added up while it is written, for each unit of time: an hour, a day, eight days and 64 days, so that any time is covered by few
units. Sums are kept apart by what a question needs: those of users are many, so those without are smaller by far, as are those of keys
without their models, which budgets ask for all the time. Users have none by the hour together with models, of which there would be as many
as requests.
"""

from __future__ import annotations

from sqlalchemy import TableClause, column, table

LIMITS = ("requests_per_minute", "tokens_per_minute", "budget_usd", "budget_per", "budget_unpriced")
KEY = (
    "name", "sha256", "shown", "previous_sha256", "previous_until", "team", "user_name", "models", *LIMITS, "allow_from", "tags",
    "expires_at", "created_at", "created_by", "rotated_at", "revoked_at",
)  # fmt: skip
USAGE = (
    "time", "request_id", "key_name", "team", "user_name", "operation", "shape", "asked", "provider", "model", "api", "lane", "error",
    "status", "stream", "attempts", "input", "output", "cached", "cache_write", "reasoning", "ms_total", "cost_nano", "ms_first",
)  # fmt: skip
UNITS = (1, 24, 8 * 24, 64 * 24)  # of sums, in hours
MODEL = ("provider", "model")
USER = ("key_name", "team", "user_name")
COUNTS = (
    "requests", "errors", "input", "output", "cached", "cache_write", "reasoning", "cost_nano", "unpriced", "ms_total", "ms_first",
    "firsts",
)  # fmt: skip

keys = table("dragoman_keys", *map(column, KEY))
teams = table("dragoman_teams", *map(column, ("name", *LIMITS, "created_at")))
users = table("dragoman_users", *map(column, ("team", "name", *LIMITS, "created_at")))
changes = table("dragoman_changes", column("id"), column("number"))
audit = table("dragoman_audit", *map(column, ("id", "time", "who", "role", "how", "action", "subject", "detail", "address")))
usage = table("dragoman_usage", column("id"), *map(column, USAGE))
batches = table("dragoman_batches", column("id"), column("time"))
ended = table("dragoman_ended", column("id"), column("until"))


def _sums(name: str, *dimensions: str) -> TableClause:
    """hours: of the unit. number: of units since the epoch."""
    return table(name, *map(column, ("hours", "number", *dimensions, *COUNTS)))


team_sums = _sums("dragoman_team_sums", "team", *MODEL)
holder_sums = _sums("dragoman_holder_sums", "key_name", "team")
key_sums = _sums("dragoman_key_sums", "key_name", "team", *MODEL)
user_sums = _sums("dragoman_user_sums", *USER)
user_model_sums = _sums("dragoman_user_model_sums", *USER, *MODEL)
SUMS = {team_sums: UNITS, holder_sums: UNITS, key_sums: UNITS, user_sums: UNITS, user_model_sums: UNITS[1:]}
"""The units of each; the smaller tables come first."""
