"""Control stores for tests: a SQLite file, and a schema of its own in a real PostgreSQL (skipped, and says so, when there is none)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dragoman.conf.model import Control

from ..proxy.kinds import postgres

ACTOR = ("tester", "admin", "command", "")


@contextlib.contextmanager
def settings_of(kind: str, folder: Path) -> Iterator[Control]:
    kept = str(folder / "kept")
    if kind == "sqlite":
        yield Control("sqlite", kept, path=str(folder / "control.db"))
        return
    with postgres() as address:
        yield Control("postgres", kept, connection_string=address)


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Control]:
    """A store without tables."""
    with settings_of(request.param, tmp_path) as found:
        (tmp_path / "kept").mkdir()
        yield found


@pytest.fixture
def control(settings: Control) -> Control:
    """A store with its tables."""
    pytest.importorskip("sqlalchemy", reason="needs dragoman[control]")
    from dragoman.proxy.control.store import migrate

    migrate(settings)
    return settings


def section(control: Control, more: str = "") -> str:
    """The configuration of this store."""
    place = f"path: {control.path}" if control.store == "sqlite" else f"connection_string: '{control.connection_string}'"
    return f"control: {{store: {control.store}, folder: {control.folder}, {place}{more}}}\n"
