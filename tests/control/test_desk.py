"""Who may sign in at the admin listener, and how often they may try."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dragoman import conf
from dragoman.conf.model import ControlAdmin, Oidc
from dragoman.proxy.control import sessions
from dragoman.proxy.control.desk import Desk, Wait
from dragoman.proxy.control.sessions import FREE_TRIES, LONGEST_WAIT, Sessions, Throttle

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


@pytest.mark.parametrize(
    ("failing", "trying", "waits"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("@", "@", True),
    ],
)
def test_who_waits_with_an_address_that_failed(failing: str, trying: str, waits: bool) -> None:
    throttle = Throttle()
    for _ in range(FREE_TRIES):
        throttle.failed(failing)
    assert bool(throttle.wait(trying)) == waits
    throttle.succeeded(failing)
    assert throttle.wait(trying) == 0


def test_however_often_one_fails_one_waits_at_most_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures at the same time are counted all, and a clock may be set back."""
    now = 1e9
    monkeypatch.setattr(sessions, "time", lambda: now)
    throttle = Throttle()
    for _ in range(2000):
        throttle.failed("192.0.2.1")
    assert throttle.wait("192.0.2.1") == LONGEST_WAIT
    now -= 7200
    assert throttle.wait("192.0.2.1") == LONGEST_WAIT
