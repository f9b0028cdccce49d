"""The keys of the control store in memory: hash to identity, kept fresh, and kept in a file for a start without the store.

Strategy: `dragoman_changes` has a number that every change of keys, teams and users increases. A watcher (watch.py) sees it and reads
all of them anew; lookups never wait. A key that is revoked is so refused everywhere as soon as the watchers have read, and at the
latest when a minute is over. When the store does not answer, what was read last goes on; a process that starts meanwhile reads the
file, which holds hashes only.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path
from time import time
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..keys.identity import Identity, Limited, only_limits
from ..wire.networks import Networks
from . import records, tables
from .store import Store

log = logging.getLogger("dragoman")

FILE = "keys.json"
_FORM = 1  # of the file

Rows = list[dict[str, Any]]


class Contents(NamedTuple):
    """What was read at one time. number: of dragoman_changes."""

    number: int
    keys: Rows
    teams: Rows
    users: Rows


class _Built(NamedTuple):
    """Contents as requests look them up."""

    contents: Contents
    by_hash: dict[str, Identity]
    teams: dict[str, Limited]
    users: dict[tuple[str, str], Limited]


class Directory:
    """A Source (keys/identity.py)."""

    def __init__(self, folder: str) -> None:
        self.reserved: frozenset[str] = frozenset()
        self.number = -1  # of the contents; -1: nothing was read
        self.read_at: float | None = None  # seconds since the epoch
        self.located = False
        self._file = Path(folder) / FILE
        self._written = ""  # the hash of what is in the file
        self._contents = Contents(-1, [], [], [])
        self._by_hash: dict[str, Identity] = {}
        self._teams: dict[str, Limited] = {}
        self._users: dict[tuple[str, str], Limited] = {}

    # ---- as a Source ----

    def find(self, credential: str, digest: str) -> Identity | None:
        return self._by_hash.get(digest)

    def named(self, identity: Identity, user: str) -> Identity:
        if identity.fixed_user or not user:
            return identity
        limited, team = self._users.get((identity.team, user)), _of_team(identity.team)
        own = [one for one in identity.limits if one.name != team]
        return replace(identity, user=user, limits=only_limits(*own, limited, *identity.limits[len(own) :]))

    def limits_of(self, team: str, user: str = "") -> tuple[Limited, ...]:
        """What limits a team and one of its users, for identities that are made elsewhere."""
        return only_limits(self._users.get((team, user)), self._teams.get(team))

    # ---- what is in it ----

    @property
    def limited(self) -> Iterable[Limited]:
        """All keys, teams and users that have limits, once each."""
        by_name = {one.name: one for identity in self._by_hash.values() for one in identity.limits}
        by_name |= {one.name: one for table in (self._teams, self._users) for one in table.values() if one.any}
        return by_name.values()

    def reserve(self, names: frozenset[str]) -> None:
        """Leave out keys of these names: the configuration file has them."""
        self.reserving(names)()

    def reserving(self, names: frozenset[str]) -> Callable[[], None]:
        """All of `reserve` but its end, which is returned, and cannot fail."""
        built = None if names == self.reserved else self._built(self._contents, names)

        def put() -> None:
            self.reserved = names
            if built is not None:
                self._serve(built)

        return put

    def adopt(self, contents: Contents) -> None:
        """Serve these from now on."""
        self._serve(self._built(contents))

    def _serve(self, built: _Built) -> None:
        self._contents, self._by_hash, self._teams, self._users = built
        self.number = built.contents.number
        self.located = any(identity.allow_from for identity in built.by_hash.values())

    def _built(self, contents: Contents, reserved: frozenset[str] | None = None) -> _Built:
        """Look-up tables of these. Some milliseconds for a thousand keys. reserved: None: as they are now."""
        reserved = self.reserved if reserved is None else reserved
        built = _Built(
            contents,
            {},
            {row["name"]: _limited(_of_team(row["name"]), row, "your team") for row in contents.teams},
            {(row["team"], row["name"]): _limited(f"user\0{row['team']}\0{row['name']}", row, "this user") for row in contents.users},
        )
        for row in contents.keys:
            if row["name"] in reserved:
                log.warning("the key %s of the control store is not used: a key of the configuration file has its name", row["name"])
                continue
            try:
                built.by_hash.update(_identities(row, built))
            except (ValueError, TypeError, KeyError) as error:
                log.error("the key %s of the control store cannot be read: %s", row.get("name"), error)
        return built

    # ---- the store ----

    async def read(self, store: Store, force: bool = False) -> bool:
        """Read anew if something has changed, or in any case; return whether something was read. Raises Away."""
        async with store.reading() as connection:
            number = await changes(connection)
            if number == self.number and not force:
                return False
            contents = Contents(number, *[await _all(connection, table) for table in (tables.keys, tables.teams, tables.users)])
        self._serve(await asyncio.to_thread(self._built, contents))
        self.read_at = time()
        return True

    # ---- the file ----

    def save(self) -> None:
        """Write what is served into the file, for a start without the store. Failures are logged."""
        data = orjson.dumps({"form": _FORM, **self._contents._asdict()})
        digest = sha256(data).hexdigest()
        if digest == self._written:
            return
        try:
            descriptor, path = tempfile.mkstemp(prefix=f".{FILE}.", dir=self._file.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(path, self._file)
            except BaseException:
                with suppress(OSError):
                    os.unlink(path)
                raise
        except OSError as error:
            log.warning("the keys cannot be kept for a start without the control store: %s: %s", self._file, error.strerror)
            return
        self._written = digest

    def load(self) -> bool:
        """Serve what is in the file; return whether there is such a file."""
        try:
            saved = orjson.loads(self._file.read_bytes())
            if saved.pop("form") != _FORM:
                raise ValueError("another form")
            self.adopt(Contents(**saved))
            self.read_at = self._file.stat().st_mtime
        except FileNotFoundError:
            return False
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.error("the keys kept from the control store cannot be read: %s: %s", self._file, error)
            return False
        self.number = -1  # the store is read anew as soon as it answers
        return True


def _identities(row: Mapping[str, Any], built: _Built) -> dict[str, Identity]:
    """A key by the hash of its secret, and by that of the one before while that is valid."""
    if row["revoked_at"] is not None:
        return {}
    user = row["user_name"]
    identity = Identity(
        name=row["name"],
        team=row["team"],
        user=user,
        models=tuple(orjson.loads(row["models"])),
        limits=only_limits(
            _limited(row["name"], row), built.users.get((row["team"], user)) if user else None, built.teams.get(row["team"])
        ),
        allow_from=Networks(ip_network(one, strict=False) for one in orjson.loads(row["allow_from"])),
        expires_at=row["expires_at"],
        fixed_user=bool(user),
    )
    by_hash = {row["sha256"]: identity}
    if row["previous_sha256"] is not None:
        until = row["previous_until"]
        by_hash[row["previous_sha256"]] = replace(
            identity, expires_at=until if identity.expires_at is None else min(until, identity.expires_at)
        )
    return by_hash


async def changes(connection: AsyncConnection) -> int:
    return int((await connection.execute(sa.select(tables.changes.c.number))).scalar_one())


async def _all(connection: AsyncConnection, table: sa.TableClause) -> Rows:
    query = sa.select(table)
    if table is tables.keys:
        query = query.where(table.c.revoked_at.is_(None))
    return [dict(row) for row in (await connection.execute(query)).mappings()]


def _of_team(name: str) -> str:
    """The name by which a team is counted."""
    return f"team\0{name}"


def _limited(name: str, row: Mapping[str, Any], what: str = "this API key") -> Limited:
    return Limited(name, row["requests_per_minute"], row["tokens_per_minute"], records.budget_of(row), what)
