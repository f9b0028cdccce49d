"""The tables of usage and their columns, by name: what the process that writes SQLite's file (apart.py) knows of them.

Usage is added up while it is written, for each unit of time: an hour, a day, eight days and 64 days, so that any time is covered by few
units. Sums are kept apart by what a question needs: those of users are many, so those without are smaller by far, as are those of keys
without their models, which budgets ask for all the time. Users have none by the hour together with models, of which there would be as many
as requests.
"""

from __future__ import annotations

HOUR = 3600
DAY = 24 * HOUR
BUSY = 5.0  # seconds that a write waits for another process's, in a SQLite file
USAGE = (
    "time", "request_id", "key_name", "team", "user_name", "operation", "shape", "asked", "provider", "model", "api", "lane", "error",
    "status", "stream", "attempts", "input", "output", "cached", "cache_write", "reasoning", "ms_total", "cost_nano", "ms_first",
)  # fmt: skip
UNITS = (1, 24, 8 * 24, 64 * 24)  # of sums, in hours
MODEL = ("provider", "model")
USER = ("key_name", "team", "user_name")
FINEST = ("hour", *USER, *MODEL)  # rows that are the same in these are in the same sums
COUNTS = (
    "requests", "errors", "input", "output", "cached", "cache_write", "reasoning", "cost_nano", "unpriced", "ms_total", "ms_first",
    "firsts",
)  # fmt: skip
SUMS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "dragoman_team_sums": (("team", *MODEL), UNITS),
    "dragoman_holder_sums": (("key_name", "team"), UNITS),
    "dragoman_key_sums": (("key_name", "team", *MODEL), UNITS),
    "dragoman_user_sums": (USER, UNITS),
    "dragoman_user_model_sums": ((*USER, *MODEL), UNITS[1:]),
}
"""The dimensions and the units of each table of sums; the smaller ones come first."""

BETWEEN = b"\t"  # in a batch, its id and its rows, which are JSON: lists of the columns of USAGE
