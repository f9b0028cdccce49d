"""The tables as queries name them; migrations/versions makes them.

Sums are kept apart by what a question needs. Users are many: with them there are nearly as many sums by the hour as requests, so the sums
that most questions add up are without, and users have sums of their own, with the model only by the day.
"""

from __future__ import annotations

from sqlalchemy import column, table

LIMITS = ("requests_per_minute", "tokens_per_minute", "budget_usd", "budget_per", "budget_unpriced")
KEY = (
    "name", "sha256", "shown", "previous_sha256", "previous_until", "team", "user_name", "models", *LIMITS, "allow_from", "tags",
    "expires_at", "created_at", "created_by", "rotated_at", "revoked_at",
)  # fmt: skip
USAGE = (
    "time", "request_id", "key_name", "team", "user_name", "operation", "shape", "asked", "provider", "model", "api", "lane", "error",
    "status", "stream", "attempts", "input", "output", "cached", "cache_write", "reasoning", "ms_total", "cost_nano", "ms_first",
)  # fmt: skip
MODELS = ("key_name", "team", "provider", "model")
USERS = ("key_name", "team", "user_name")
USER_MODELS = (*USERS, "provider", "model")
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
hours = table("dragoman_hours", column("hour"), *map(column, (*MODELS, *COUNTS)))
days = table("dragoman_days", column("day"), *map(column, (*MODELS, *COUNTS)))
user_hours = table("dragoman_user_hours", column("hour"), *map(column, (*USERS, *COUNTS)))
user_days = table("dragoman_user_days", column("day"), *map(column, (*USERS, *COUNTS)))
user_model_days = table("dragoman_user_model_days", column("day"), *map(column, (*USER_MODELS, *COUNTS)))
batches = table("dragoman_batches", column("id"), column("time"))
