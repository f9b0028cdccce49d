"""Who may sign in at the admin listener, and how often they may try."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dragoman import conf
from dragoman.conf.model import ControlAdmin, Oidc
from dragoman.proxy.control.desk import Desk, Wait
from dragoman.proxy.control.sessions import FREE_TRIES, Sessions

from .using import looped

CONFIG = """
model_providers: [{model: demo/*}]
control: {store: sqlite, path: PATH, admin: {password: right-password}}
"""


@looped
async def test_tries_at_the_same_time_are_no_more_than_one_after_the_other(tmp_path: Path) -> None:
    """Each waits for the processor, and by then those before it have failed."""
    desk = Desk(conf.loads(CONFIG.replace("PATH", str(tmp_path / "control.db")), environ={}))
    try:
        tried: list[str] = []
        desk._is_password = lambda password: tried.append(password) is not None  # type: ignore[method-assign]
        found: list[Any] = await asyncio.gather(*(desk.by_password(f"guess {n}", "192.0.2.1") for n in range(40)), return_exceptions=True)
        assert {type(one) for one in found} == {type(None), Wait}
        assert len(tried) <= FREE_TRIES + 1  # two are at it at a time
        with pytest.raises(Wait):
            await desk.by_password("right-password", "192.0.2.1")
    finally:
        await desk.close()


def test_other_members_of_the_roles_end_all_sessions() -> None:
    oidc = Oidc("https://idp.example", "dragoman", client_secret="secret", admins=("ann", "bob"))
    sessions = Sessions(ControlAdmin(oidc=oidc))
    cookie = sessions.write(sessions.begin("admin", "bob"))
    assert Sessions(ControlAdmin(oidc=oidc)).read(cookie) is not None
    assert Sessions(ControlAdmin(oidc=replace(oidc, admins=("ann",)))).read(cookie) is None
