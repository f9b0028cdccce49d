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


def run(arguments: Namespace, config: Config) -> int:
    """The command; returns its exit code. config: has a control store."""
    assert config.control is not None
    work = _keys if arguments.command == "keys" else _usage
    try:
        migrate(config.control)
        return asyncio.run(work(arguments, config))
    except (Invalid, Taken, Missing, figures.Invalid, Unusable) as error:
        print(f"dragoman {arguments.command}: {error}", file=sys.stderr)
        return 2
    except Away as error:
        print(f"dragoman {arguments.command}: the control store does not answer: {error}", file=sys.stderr)
        return 1


async def _with_store(control: Control, work: Any) -> int:
    store = Store(control)
    try:
        return int(await work(store))
    finally:
        await store.close()


# ---- keys ----


def _keys(arguments: Namespace, config: Config) -> Coroutine[Any, Any, int]:
    if arguments.action != "list" and arguments.name is None:
        raise Invalid("NAME", f"is missing: which key to {arguments.action}")
    reserved = frozenset(key.name for key in config.access_keys)
    assert config.control is not None
    return _with_store(config.control, lambda store: _ACTIONS[arguments.action](arguments, Registry(store, reserved)))


async def _create(arguments: Namespace, registry: Registry) -> int:
    key, secret = await registry.create_key(arguments.name, _options(arguments), _actor())
    _once(arguments, key, secret.text)
    return 0


async def _rotate(arguments: Namespace, registry: Registry) -> int:
    key, secret = await registry.rotate_key(arguments.name, _seconds(arguments.overlap, "--overlap"), _actor())
    _once(arguments, key, secret.text)
    if key["previous_until"] is not None:
        print(f"the old key of {arguments.name} is valid until {_moment(key['previous_until'])}", file=sys.stderr)
    return 0


async def _revoke(arguments: Namespace, registry: Registry) -> int:
    await registry.revoke_key(arguments.name, _actor())
    print(f"{arguments.name} is revoked", file=sys.stderr)
    return 0


async def _list(arguments: Namespace, registry: Registry) -> int:
    keys = await registry.keys()
    if arguments.json:
        print(orjson.dumps(keys, option=orjson.OPT_INDENT_2).decode())
    else:
        _table(_SHOWN, [_line(key) for key in keys])
    return 0


_ACTIONS = {"create": _create, "list": _list, "rotate": _rotate, "revoke": _revoke}


def _options(arguments: Namespace) -> Row:
    """What the options say of a new key."""
    options = {
        "team": arguments.team,
        "user": arguments.user,
        "models": arguments.models and arguments.models.split(","),
        "allow_from": arguments.allow_from and arguments.allow_from.split(","),
        "tags": arguments.tags and arguments.tags.split(","),
        "requests_per_minute": arguments.requests_per_minute,
        "tokens_per_minute": arguments.tokens_per_minute,
        "budget": None if arguments.budget is None else {"usd": arguments.budget, "per": arguments.per, "unpriced": arguments.unpriced},
        "expires_at": arguments.expires and time() + _seconds(arguments.expires, "--expires"),
    }
    return {name: value for name, value in options.items() if value is not None}


def _once(arguments: Namespace, key: Row, secret: str) -> None:
    """Print a key: this is the only time."""
    if arguments.json:
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


def _usage(arguments: Namespace, config: Config) -> Coroutine[Any, Any, int]:
    assert config.control is not None
    by = tuple(arguments.by.split(",")) if arguments.by else ()
    question = figures.Question(_when(arguments.since, "--since"), _when(arguments.until, "--until"), by, most=figures.MOST_GROUPS)
    return _with_store(config.control, lambda store: _figures(arguments, store, question))


async def _figures(arguments: Namespace, store: Store, question: figures.Question) -> int:
    rows = await figures.sums(store, question, PATIENCE)
    if len(rows) == figures.MOST_GROUPS:
        print(f"dragoman usage: these are the first {len(rows):,} sums; choose a shorter time, or less --by", file=sys.stderr)
    for row in rows:
        for name in figures.TIMES:
            if name in row:
                row[name] = datetime.fromtimestamp(row[name], UTC).strftime("%Y-%m-%d" if name == "day" else "%Y-%m-%dT%H:00Z")
    names = (*question.by, *_USED)
    if arguments.json:
        print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
    elif arguments.csv:
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
