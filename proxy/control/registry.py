"""Changes of keys, teams and users. Each is one transaction with its line in the audit and the number that tells workers to read again.

A name belongs to a key for ever: usage, counts and stored responses are its name's, and must not become another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from . import records, tables
from .records import Invalid, Line, Row, Secret
from .store import CHANNEL, Store

AUDIT_DETAIL = 2000  # characters
AUDIT_AT_ONCE = 1000  # lines


class Missing(LookupError):
    """There is no such key, team or user."""


class Taken(ValueError):
    """The name is used already."""


class Actor(NamedTuple):
    """Who changes something. how: `api` or `command`."""

    who: str
    role: str
    how: str
    address: str = ""


class Registry:
    """The store's keys, teams and users. Every method raises Away when the store does not answer."""

    def __init__(self, store: Store, reserved: frozenset[str] = frozenset()) -> None:
        """reserved: names of keys in the file, which no other key may have."""
        self._store = store
        self.reserved = reserved

    # ---- keys ----

    async def create_key(self, name: str, fields: Mapping[str, Any], actor: Actor) -> tuple[Row, Secret]:
        """Make a key; return it as it is shown, and its secret. Raises Invalid, Taken."""
        secret, now = records.new_secret(), time()
        row = _NEW_KEY | records.key_fields(fields) | {"name": records.name(name), "created_at": now, "created_by": actor.who}
        row |= {"sha256": secret.sha256, "shown": secret.shown}
        if name in self.reserved:
            raise Taken(f"the name {name} belongs to a key of the configuration file")
        async with self._store.writing() as connection:
            await self._ensure_team(connection, row["team"], now)
            try:
                await connection.execute(sa.insert(tables.keys).values(row))
            except IntegrityError:
                raise Taken(f"the name {name} is taken: names of revoked keys are not used again") from None
            await _changed(connection, self._store, actor, "key.create", name, fields)
        return records.shown_key(row, now), secret

    async def change_key(self, name: str, fields: Mapping[str, Any], actor: Actor) -> Row:
        """Change fields of a key. Raises Invalid, Missing."""
        row = records.key_fields(fields)
        async with self._store.writing() as connection:
            await self._active(connection, name)
            if row:
                await self._ensure_team(connection, row.get("team", ""), time())
                await connection.execute(sa.update(tables.keys).where(tables.keys.c.name == name).values(row))
                await _changed(connection, self._store, actor, "key.change", name, fields)
            return records.shown_key(await _key(connection, name), time())

    async def rotate_key(self, name: str, overlap: float, actor: Actor) -> tuple[Row, Secret]:
        """Give a key a new secret; the old one is valid for `overlap` seconds more. Raises Missing."""
        secret, now = records.new_secret(), time()
        async with self._store.writing() as connection:
            old = await self._active(connection, name)
            row = {"sha256": secret.sha256, "shown": secret.shown, "rotated_at": now}
            row |= {"previous_sha256": old["sha256"] if overlap > 0 else None, "previous_until": now + overlap if overlap > 0 else None}
            await connection.execute(sa.update(tables.keys).where(tables.keys.c.name == name).values(row))
            await _changed(connection, self._store, actor, "key.rotate", name, {"overlap": overlap})
            return records.shown_key(await _key(connection, name), now), secret

    async def revoke_key(self, name: str, actor: Actor) -> Row:
        """Refuse a key from now on, its old secret too. Raises Missing."""
        now = time()
        async with self._store.writing() as connection:
            row = await _key(connection, name)
            if row["revoked_at"] is None:
                values = {"revoked_at": now, "previous_sha256": None, "previous_until": None}
                await connection.execute(sa.update(tables.keys).where(tables.keys.c.name == name).values(values))
                await _changed(connection, self._store, actor, "key.revoke", name, {})
            return records.shown_key(await _key(connection, name), now)

    async def keys(self) -> list[Row]:
        """All keys, as they are shown."""
        async with self._store.reading() as connection:
            rows = (await connection.execute(sa.select(tables.keys).order_by(tables.keys.c.name))).mappings().all()
        now = time()
        return [records.shown_key(row, now) for row in rows]

    async def key(self, name: str) -> Row:
        """Raises Missing."""
        async with self._store.reading() as connection:
            return records.shown_key(await _key(connection, name), time())

    @staticmethod
    async def _active(connection: AsyncConnection, name: str) -> Line:
        row = await _key(connection, name)
        if row["revoked_at"] is not None:
            raise Missing(f"the key {name} is revoked")
        return row

    @staticmethod
    async def _ensure_team(connection: AsyncConnection, team: str, now: float) -> None:
        """Make the team of a key if there is none of its name."""
        rows = await connection.execute(sa.select(tables.teams.c.name).where(tables.teams.c.name == team))
        if team and rows.first() is None:
            await connection.execute(sa.insert(tables.teams).values(name=team, created_at=now))

    # ---- teams and users ----

    async def teams(self) -> list[Row]:
        """All teams, each with its users that have limits."""
        async with self._store.reading() as connection:
            teams = (await connection.execute(sa.select(tables.teams).order_by(tables.teams.c.name))).mappings().all()
            users = (await connection.execute(sa.select(tables.users).order_by(tables.users.c.name))).mappings().all()
        alone = {user["team"] for user in users} - {team["name"] for team in teams}
        shown = [{"name": team["name"], **records.shown_limits(team), "created_at": team["created_at"]} for team in teams]
        shown += [{"name": team, **_NO_LIMITS, "created_at": None} for team in sorted(alone)]
        for team in shown:
            own = [user for user in users if user["team"] == team["name"]]
            team["users"] = [{"name": user["name"], **records.shown_limits(user), "created_at": user["created_at"]} for user in own]
        return shown

    async def set_team(self, name: str, fields: Mapping[str, Any], actor: Actor) -> None:
        """Make a team, or change its limits. Raises Invalid."""
        await self._set(tables.teams, {"name": records.name(name)}, fields, actor, "team.set", name)

    async def remove_team(self, name: str, actor: Actor) -> None:
        """Remove a team that has no keys any more. Raises Missing, Taken."""
        async with self._store.writing() as connection:
            keys = tables.keys.c
            if (await connection.execute(sa.select(keys.name).where(keys.team == name, keys.revoked_at.is_(None)).limit(1))).first():
                raise Taken(f"the team {name} has keys: revoke them or move them first")
            await self._remove(connection, tables.teams, {"name": name}, actor, "team.remove", name)
            await connection.execute(sa.delete(tables.users).where(tables.users.c.team == name))

    async def set_user(self, team: str, name: str, fields: Mapping[str, Any], actor: Actor) -> None:
        """Give a user of a team ("": of keys without one) limits. Raises Invalid."""
        place = {"team": records.name(team, "team") if team else "", "name": user_name(name)}
        await self._set(tables.users, place, fields, actor, "user.set", f"{team}/{name}")

    async def remove_user(self, team: str, name: str, actor: Actor) -> None:
        """Raises Missing."""
        async with self._store.writing() as connection:
            await self._remove(connection, tables.users, {"team": team, "name": name}, actor, "user.remove", f"{team}/{name}")

    async def _set(self, table: sa.TableClause, place: Row, fields: Mapping[str, Any], actor: Actor, action: str, subject: str) -> None:
        row = records.limit_fields(fields)
        async with self._store.writing() as connection:
            where = [table.c[column] == value for column, value in place.items()]
            existing = (await connection.execute(sa.select(table.c.name).where(*where))).first()
            if existing is None:
                await connection.execute(sa.insert(table).values({**_NO_COLUMNS, **row, **place, "created_at": time()}))
            elif row:
                await connection.execute(sa.update(table).where(*where).values(row))
            await _changed(connection, self._store, actor, action, subject, fields)

    async def _remove(
        self, connection: AsyncConnection, table: sa.TableClause, place: Row, actor: Actor, action: str, subject: str
    ) -> None:
        done = await connection.execute(sa.delete(table).where(*(table.c[column] == value for column, value in place.items())))
        if not done.rowcount:
            raise Missing(f"there is no {action.partition('.')[0]} {subject}")
        await _changed(connection, self._store, actor, action, subject, {})

    # ---- audit ----

    async def note(self, actor: Actor, action: str, subject: str = "") -> None:
        """Write a line of audit that belongs to no change, as a refused login."""
        async with self._store.writing() as connection:
            await _audit(connection, actor, action, subject, {})

    async def audit(self, *, subject: str = "", who: str = "", action: str = "", before: int | None = None, most: int = 100) -> list[Row]:
        """The newest lines first. before: an id; only older ones."""
        columns = tables.audit.c
        query = sa.select(tables.audit).order_by(columns.id.desc()).limit(min(most, AUDIT_AT_ONCE))
        for column, value in ((columns.subject, subject), (columns.who, who), (columns.action, action)):
            if value:
                query = query.where(column == value)
        if before is not None:
            query = query.where(columns.id < before)
        async with self._store.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [dict(row) | {"detail": orjson.loads(row["detail"] or "{}")} for row in rows]


_NO_COLUMNS: Row = dict.fromkeys(tables.LIMITS)
_NO_LIMITS: Row = dict.fromkeys(records.LIMITS)
_NEW_KEY: Row = {
    **_NO_COLUMNS,
    "previous_sha256": None,
    "previous_until": None,
    "team": "",
    "user_name": "",
    "models": '["*"]',
    "allow_from": "[]",
    "tags": "[]",
    "expires_at": None,
    "rotated_at": None,
    "revoked_at": None,
}


def user_name(value: object) -> str:
    """A user's name, as requests say it. Raises Invalid."""
    if not isinstance(value, str) or not 0 < len(value) <= 128 or not value.isprintable():
        raise Invalid("user", "must be 1 to 128 printable characters")
    return value


async def _key(connection: AsyncConnection, name: str) -> Line:
    row = (await connection.execute(sa.select(tables.keys).where(tables.keys.c.name == name))).mappings().first()
    if row is None:
        raise Missing(f"there is no key {name}")
    return row


async def _changed(connection: AsyncConnection, store: Store, actor: Actor, action: str, subject: str, fields: Mapping[str, Any]) -> None:
    """Write the audit, and let all workers know."""
    await _audit(connection, actor, action, subject, fields)
    await connection.execute(sa.update(tables.changes).values(number=tables.changes.c.number + 1))
    if store.postgres:
        await connection.exec_driver_sql(f"NOTIFY {CHANNEL}")


async def _audit(connection: AsyncConnection, actor: Actor, action: str, subject: str, detail: Mapping[str, Any]) -> None:
    row = {"time": time(), "who": actor.who[:128], "role": actor.role, "how": actor.how, "action": action, "subject": subject[:256]}
    text = orjson.dumps(dict(detail), default=str).decode()
    row |= {"detail": text if len(text) <= AUDIT_DETAIL else "{}", "address": actor.address}
    await connection.execute(sa.insert(tables.audit).values(row))
