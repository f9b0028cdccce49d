"""The control store within the process of the admin listeners: who may sign in, and what they see and change."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
import logging
from collections.abc import Mapping
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ...conf.model import Config, ControlAdmin, Oidc
from ...conf.model import Control as Settings
from ..keys.identity import Limited
from ..keys.quota import NANO
from . import budgets, passwords, records, tables
from .registry import Actor, Registry
from .sessions import ENDED, Role, Session, Sessions, Throttle
from .store import Away, Store

if TYPE_CHECKING:
    from .oidc import Provider

log = logging.getLogger("dragoman")

HIDDEN = "***"
LOOK = 5.0  # seconds until it is asked again whether a session was ended
BRIEF = 1.0  # seconds for the answer
_LONGEST_CREDENTIAL = 1024  # characters


class Wait(Exception):
    """Too many have failed to sign in. seconds: until another try."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Desk:
    """Create it inside the loop that uses it."""

    def __init__(self, config: Config) -> None:
        """config: has a control store. Raises Unusable."""
        assert config.control is not None
        self.settings: Settings = config.control
        self.store = Store(self.settings)
        self.registry = Registry(self.store)
        self.sessions = Sessions(self.settings.admin)
        self.oidc = None if self.settings.admin.oidc is None else _provider(self.settings.admin.oidc)
        self._throttle = Throttle()
        self._looked: dict[str, float] = {}  # ids of sessions, and when it was asked whether they were ended
        self._trying = asyncio.Semaphore(2)  # hashing takes processor and memory
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        self.config = config
        self.registry.reserved = frozenset(key.name for key in config.access_keys)

    async def close(self) -> None:
        if self.oidc is not None:
            self.oidc.close()
        await self.store.close()

    @property
    def admin(self) -> ControlAdmin:
        return self.settings.admin

    def scrapes(self, token: str | None) -> bool:
        """Whether /metrics may be read with this bearer token, or is open."""
        wanted = self.admin.metrics_token
        return wanted is None or (token is not None and hmac.compare_digest(token.encode(), wanted.encode()))

    # ---- sign-in ----

    async def by_password(self, password: str, address: str) -> Session | None:
        """The session of the operator, None for a wrong password. Raises Wait."""
        self.may_try(address)
        async with self._trying:
            self.may_try(address)  # others may have failed while this one waited
            good = await asyncio.to_thread(self._is_password, password)
        return await self._done("admin" if good else None, "admin", address)

    async def by_key(self, key: str, address: str) -> Session | None:
        """The session of who has a key, None for one that is not valid. Raises Wait, Away."""
        self.may_try(address)
        digest = hashlib.sha256(key[:_LONGEST_CREDENTIAL].encode("utf-8", "surrogateescape")).hexdigest()
        row = await self._holder(digest)
        return await self._done(None if row is None else "key", "" if row is None else row["name"], address, digest)

    async def signed_in(self, role: Role, name: str, address: str) -> Session:
        """The session of who has signed in elsewhere."""
        session = self.sessions.begin(role, name)
        await self.note(Actor(name, role, "api", address), "login")
        return session

    async def refused(self, why: str, address: str) -> None:
        """Somebody was not signed in elsewhere."""
        self._throttle.failed(address)
        await self.note(Actor("", "", "api", address), "login.refused", why)

    async def still(self, session: Session) -> bool:
        """Whether a session counts: it may have been ended on another replica, or its key revoked. Raises Away for a key holder's."""
        try:
            if await self._was_ended(session):
                return False
        except Away:
            if session.role == "key":
                raise
        return session.role != "key" or await self._holder(session.sha256) is not None

    async def _was_ended(self, session: Session) -> bool:
        """Raises Away; then the next look is later, so that pages do not wait for each of their files."""
        now = monotonic()
        if now - self._looked.get(session.id, -LOOK) < LOOK:
            return False
        if len(self._looked) >= ENDED:
            self._looked.clear()
        self._looked[session.id] = now
        async with self.store.reading(BRIEF) as connection:
            row = (await connection.execute(sa.select(tables.ended.c.id).where(tables.ended.c.id == session.id))).first()
        if row is not None:
            self.sessions.end(session)
        return row is not None

    async def end(self, session: Session) -> None:
        """End a session here and on all replicas; there within LOOK seconds."""
        self.sessions.end(session)
        try:
            async with self.store.writing() as connection:
                await connection.execute(
                    sa.delete(tables.ended).where(sa.or_(tables.ended.c.until < time(), tables.ended.c.id == session.id))
                )
                await connection.execute(sa.insert(tables.ended).values(id=session.id, until=session.until))
        except Away as error:
            log.warning("a session is ended on this replica only, until it is over: %s", error)

    def may_try(self, address: str) -> None:
        """Raises Wait."""
        wait = self._throttle.wait(address)
        if wait:
            raise Wait(wait)

    async def _done(self, role: Role | None, name: str, address: str, sha256: str = "") -> Session | None:
        if role is None:
            await self.refused("", address)
            return None
        self._throttle.succeeded(address)
        await self.note(Actor(name, role, "api", address), "login")
        return self.sessions.begin(role, name, sha256 if role == "key" else "")

    async def note(self, actor: Actor, action: str, subject: str = "") -> None:
        """Write into the audit; that it cannot be written keeps nobody out."""
        try:
            await self.registry.note(actor, action, subject)
        except Away as error:
            log.warning("%s by %s from %s is not in the audit: %s", action, actor.who or "?", actor.address, error)

    def _is_password(self, password: str) -> bool:
        if self.admin.password is not None:
            return hmac.compare_digest(_digest(password), _digest(self.admin.password))
        return self.admin.password_sha256 is not None and passwords.matches(password, self.admin.password_sha256)

    async def _holder(self, digest: str) -> records.Line | None:
        """The key with this hash, if it is valid."""
        keys = tables.keys.c
        own = sa.or_(keys.sha256 == digest, sa.and_(keys.previous_sha256 == digest, keys.previous_until > time()))
        async with self.store.reading() as connection:
            row = (await connection.execute(sa.select(tables.keys).where(own))).mappings().first()
        return row if row is not None and records.state(row, time()) == "active" else None

    # ---- what is spent ----

    async def spent(self, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """USD in the current period of each budget, by the names that counters have. wanted: what is shown of their limits."""
        limited = [
            Limited(name, budget=records.budget(shown["budget"])) for name, shown in wanted.items() if shown.get("budget") is not None
        ]
        return {one.name: spent.nano / NANO for one, spent in (await budgets.spent(self.store, limited)).items()}

    # ---- the configuration ----

    def shown_config(self) -> Any:
        """The configuration in force, without secrets."""
        return shown(self.config)


def _provider(settings: Oidc) -> Provider:
    """Imported here, since few have one and its libraries take long."""
    from .oidc import Provider

    return Provider(settings)


def shown(value: Any) -> Any:
    """Plain values for JSON. A field that may hold a secret, which is one that `repr` leaves out, is hidden."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: shown(part) if field.repr else (HIDDEN if part else None)
            for field in dataclasses.fields(value)
            for part in (getattr(value, field.name),)
        }
    if isinstance(value, Mapping):
        return {str(name): shown(part) for name, part in value.items()}
    if isinstance(value, tuple | list | frozenset | set):
        return [shown(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
