"""`dragoman keys` and `dragoman usage`: the control store from the command line, beside the running gateway."""

from __future__ import annotations

import asyncio
import csv
import getpass
import sys
from argparse import Namespace
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from time import time
from typing import Any

import orjson

from ...conf import read
from ...conf.model import Config, Control
from . import figures
from .records import Invalid, Row
from .registry import Actor, Missing, Registry, Taken
from .store import Away, Store, Unusable, migrate

PATIENCE = 120.0  # seconds for sums of many keys and days
_SHOWN = ("name", "shown", "state", "team", "user", "models", "limits", "expires", "created")
_USED = ("requests", "errors", "input", "output", "cached", "cache_write", "reasoning", "cost_usd")


def run(given: Namespace, config: Config) -> int:
    """The command; returns its exit code. config: has a control store."""
    assert config.control is not None
    work = _keys if given.command == "keys" else _usage
    try:
        migrate(config.control)
        return asyncio.run(work(given, config))
    except (Invalid, Taken, Missing, figures.Invalid, Unusable) as error:
        print(f"dragoman {given.command}: {error}", file=sys.stderr)
        return 2
    except Away as error:
        print(f"dragoman {given.command}: the control store does not answer: {error}", file=sys.stderr)
        return 1


async def _with_store(control: Control, work: Any) -> int:
    store = Store(control)
    try:
        return int(await work(store))
    finally:
        await store.close()


# ---- keys ----


def _keys(given: Namespace, config: Config) -> Coroutine[Any, Any, int]:
    if given.action != "list" and given.name is None:
        raise Invalid("NAME", f"is missing: which key to {given.action}")
    reserved = frozenset(key.name for key in config.access_keys)
    assert config.control is not None
    return _with_store(config.control, lambda store: _ACTIONS[given.action](given, Registry(store, reserved)))


async def _create(given: Namespace, registry: Registry) -> int:
    key, secret = await registry.create_key(given.name, _options(given), _actor())
    _once(given, key, secret.text)
    return 0


async def _rotate(given: Namespace, registry: Registry) -> int:
    key, secret = await registry.rotate_key(given.name, _seconds(given.overlap, "--overlap"), _actor())
    _once(given, key, secret.text)
    if key["previous_until"] is not None:
        print(f"the old key of {given.name} is valid until {_moment(key['previous_until'])}", file=sys.stderr)
    return 0


async def _revoke(given: Namespace, registry: Registry) -> int:
    await registry.revoke_key(given.name, _actor())
    print(f"{given.name} is revoked", file=sys.stderr)
    return 0


async def _list(given: Namespace, registry: Registry) -> int:
    keys = await registry.keys()
    if given.json:
        print(orjson.dumps(keys, option=orjson.OPT_INDENT_2).decode())
    else:
        _table(_SHOWN, [_line(key) for key in keys])
    return 0


_ACTIONS = {"create": _create, "list": _list, "rotate": _rotate, "revoke": _revoke}


def _options(given: Namespace) -> Row:
    """What the options say of a new key."""
    options = {
        "team": given.team,
        "user": given.user,
        "models": given.models and given.models.split(","),
        "allow_from": given.allow_from and given.allow_from.split(","),
        "tags": given.tags and given.tags.split(","),
        "requests_per_minute": given.requests_per_minute,
        "tokens_per_minute": given.tokens_per_minute,
        "budget": None if given.budget is None else {"usd": given.budget, "per": given.per, "unpriced": given.unpriced},
        "expires_at": given.expires and time() + _seconds(given.expires, "--expires"),
    }
    return {name: value for name, value in options.items() if value is not None}


def _once(given: Namespace, key: Row, secret: str) -> None:
    """Print a key: this is the only time."""
    if given.json:
        print(orjson.dumps({**key, "key": secret}, option=orjson.OPT_INDENT_2).decode())
    else:
        print(secret)


def _actor() -> Actor:
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        who = "command"
    return Actor(who, "admin", "command")


def _line(key: Row) -> list[str]:
    limits = [f"{key[name]} {short}" for name, short in (("requests_per_minute", "rpm"), ("tokens_per_minute", "tpm")) if key[name]]
    if key["budget"]:
        limits.append(f"{key['budget']['usd']:g} USD/{key['budget']['per']}")
    expires = "" if key["expires_at"] is None else _moment(key["expires_at"])
    parts = [key["name"], key["shown"], key["state"], key["team"], key["user"], ",".join(key["models"]), ", ".join(limits)]
    return [*parts, expires, _moment(key["created_at"])]


# ---- usage ----


def _usage(given: Namespace, config: Config) -> Coroutine[Any, Any, int]:
    assert config.control is not None
    by = tuple(given.by.split(",")) if given.by else ()
    question = figures.Question(_when(given.since, "--since"), _when(given.until, "--until"), by, most=figures.MOST_GROUPS)
    return _with_store(config.control, lambda store: _figures(given, store, question))


async def _figures(given: Namespace, store: Store, question: figures.Question) -> int:
    rows = await figures.sums(store, question, PATIENCE)
    if len(rows) == figures.MOST_GROUPS:
        print(f"dragoman usage: these are the first {len(rows):,} sums; choose a shorter time, or less --by", file=sys.stderr)
    for row in rows:
        for name in figures.TIMES:
            if name in row:
                row[name] = datetime.fromtimestamp(row[name], UTC).strftime("%Y-%m-%d" if name == "day" else "%Y-%m-%dT%H:00Z")
    names = (*question.by, *_USED)
    if given.json:
        print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
    elif given.csv:
        write_csv(sys.stdout, names, rows)
    else:
        _table(names, [[f"{row[name]:.6f}" if name == "cost_usd" else str(row[name]) for name in names] for row in rows])
    return 0


def write_csv(out: Any, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Write rows. A text that a spreadsheet would take for a formula is quoted by an apostrophe."""
    writer = csv.writer(out)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_harmless(row[name]) for name in names])


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


# ---- texts ----


def _when(text: str, option: str) -> float:
    """A moment: a date or a time in ISO 8601 (UTC where no zone is said), or how long ago."""
    if text == "now":
        return time()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return time() - _seconds(text, option)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _seconds(text: str, option: str) -> float:
    try:
        return 0.0 if text == "0" else read.duration(text)
    except ValueError:
        raise Invalid(option, f"{text!r} is not a time such as 12h, 30d or (where it fits) 2026-11-01") from None


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _table(names: Sequence[str], lines: list[list[str]]) -> None:
    """Columns for people; nothing in them moves a terminal's cursor."""
    lines = [["".join(c if c.isprintable() else "?" for c in cell) for cell in line] for line in lines]
    widths = [max(len(cell) for cell in column) for column in zip(names, *lines, strict=True)]
    for line in ([*names], *lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
