"""Keys, teams and users as the store holds them, and what an operator may say of one.

A key's secret is random, is returned once when it is made, and is stored only as its SHA-256 with its first and last four characters.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_network
from typing import Any

import orjson

from ...conf.model import Budget

PERIODS = ("hour", "day", "week", "month")
UNPRICED = ("allow", "refuse")
PREFIX = "dk-"  # of a key's secret
MOST = 2**53  # of a limit
LISTED = 200  # members of a list

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._@+-]{0,62}[A-Za-z0-9._@+-])?")
_TEXTS = ("team", "user")
_LISTS = ("models", "allow_from", "tags")
LIMITS = ("requests_per_minute", "tokens_per_minute", "budget")
_KEY_FIELDS = frozenset({*_TEXTS, *_LISTS, *LIMITS, "expires_at"})

Row = dict[str, Any]
Line = Mapping[Any, Any]  # a row as SQLAlchemy returns it


class Invalid(ValueError):
    """A value that an operator gave is wrong. param: which member."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(f"{param}: {message}")
        self.param = param


@dataclass(frozen=True, slots=True)
class Secret:
    """A key's secret. text: what its caller sends."""

    text: str

    @property
    def sha256(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    @property
    def shown(self) -> str:
        """What may be shown of it later."""
        return f"{self.text[:4]}…{self.text[-4:]}"


def new_secret() -> Secret:
    return Secret(PREFIX + secrets.token_urlsafe(32))


def name(value: object, param: str = "name") -> str:
    """Raises Invalid."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise Invalid(param, "must be 1 to 64 letters, digits, blanks and any of . _ @ + -, and begin with a letter or a digit")
    return value


def key_fields(fields: Mapping[str, Any]) -> Row:
    """The columns of a key for these members; a member that is missing changes nothing. Raises Invalid."""
    row = limit_fields(fields, _KEY_FIELDS)
    for field, column in (("team", "team"), ("user", "user_name")):
        if field in fields:
            row[column] = name(fields[field], field) if fields[field] else ""
    for field in _LISTS:
        if field in fields:
            row[field] = orjson.dumps(_list(field, fields[field])).decode()
    if "expires_at" in fields:
        row["expires_at"] = _moment(fields["expires_at"])
    return row


def limit_fields(fields: Mapping[str, Any], known: frozenset[str] = frozenset(LIMITS)) -> Row:
    """The columns of limits and the budget; None removes one. Raises Invalid."""
    for field in fields:
        if field not in known:
            raise Invalid(str(field)[:64], f"is not known; known are {', '.join(sorted(known))}")
    row: Row = {}
    for field in LIMITS[:2]:
        if field in fields:
            row[field] = _count(field, fields[field])
    if "budget" in fields:
        parsed = budget(fields["budget"])
        row |= {
            "budget_usd": parsed and parsed.usd,
            "budget_per": parsed and parsed.per,
            "budget_unpriced": parsed and parsed.unpriced,
        }
    return row


def _count(field: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
        raise Invalid(field, f"must be a whole number from 1 to {MOST}, or null")
    return value


def budget(value: object) -> Budget | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or set(value) - {"usd", "per", "unpriced"} or "usd" not in value:
        raise Invalid("budget", "must be an object with usd and per, or null")
    usd, per, unpriced = value["usd"], value.get("per", "month"), value.get("unpriced", "allow")
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not math.isfinite(usd) or not 0 <= usd <= 1e9:
        raise Invalid("budget.usd", "must be a number from 0 to 1000000000")
    if per not in PERIODS:
        raise Invalid("budget.per", f"must be one of {', '.join(PERIODS)}")
    if unpriced not in UNPRICED:
        raise Invalid("budget.unpriced", f"must be one of {', '.join(UNPRICED)}")
    return Budget(float(usd), per, unpriced)


def _list(field: str, value: object) -> list[str]:
    if not isinstance(value, list) or len(value) > LISTED or not all(isinstance(one, str) and 0 < len(one) <= 200 for one in value):
        raise Invalid(field, f"must be a list of at most {LISTED} texts")
    if field == "models" and not value:
        raise Invalid(field, "must name at least one pattern; * is every model")
    if field == "allow_from":
        for one in value:
            try:
                ip_network(one)
            except ValueError:
                raise Invalid(field, "must be networks such as 10.0.0.0/8 or 2001:db8::/32, or addresses") from None
    return value


def _moment(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:
        raise Invalid("expires_at", "must be seconds since the epoch, or null")
    return float(value)


# ---- as the API shows them ----


def budget_of(row: Line) -> Budget | None:
    if row["budget_usd"] is None:
        return None
    return Budget(row["budget_usd"], row["budget_per"] or "month", row["budget_unpriced"] or "allow")


def shown_limits(row: Line) -> Row:
    budget = budget_of(row)
    return {
        "requests_per_minute": row["requests_per_minute"],
        "tokens_per_minute": row["tokens_per_minute"],
        "budget": budget and {"usd": budget.usd, "per": budget.per, "unpriced": budget.unpriced},
    }


def shown_key(row: Line, now: float) -> Row:
    """A key for people: nothing that could be used in its place."""
    overlap = row["previous_until"] if row["previous_until"] is not None and row["previous_until"] > now else None
    return {
        "name": row["name"],
        "shown": row["shown"],
        "state": state(row, now),
        "team": row["team"],
        "user": row["user_name"],
        "models": orjson.loads(row["models"]),
        **shown_limits(row),
        "allow_from": orjson.loads(row["allow_from"]),
        "tags": orjson.loads(row["tags"]),
        "expires_at": row["expires_at"],
        "created_at": row["created_at"],
        "created_by": row["created_by"],
        "rotated_at": row["rotated_at"],
        "previous_until": overlap,
        "revoked_at": row["revoked_at"],
    }


def state(row: Line, now: float) -> str:
    """`active`, `expired` or `revoked`."""
    if row["revoked_at"] is not None:
        return "revoked"
    return "expired" if row["expires_at"] is not None and row["expires_at"] <= now else "active"
