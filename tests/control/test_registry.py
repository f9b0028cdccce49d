"""Keys, teams and users in the store, what is said of them, and the audit of it."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dragoman.conf.model import Control
from dragoman.proxy.control import figures, layout, records, tables
from dragoman.proxy.control import store as module
from dragoman.proxy.control.records import Invalid
from dragoman.proxy.control.registry import Missing, Registry, Taken
from dragoman.proxy.control.store import Store, Unusable, migrate
from dragoman.proxy.memory.stores import sqlite

from .conftest import settings_of
from .using import ME, NOON, looped, opened, rows


def test_tables_are_made_once_by_whoever_comes_first(settings):
    """Several processes start at the same time."""
    failed = []

    def work():
        try:
            migrate(settings)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed

    async def main():
        async with opened(settings) as (store, registry):
            assert await registry.keys() == []
            assert await rows(store, "SELECT number FROM dragoman_changes") == [(1,)]

    asyncio.run(main())


def _new_state(folder):
    sqlite._open(str(folder / "state.db")).close()


def _new_control(folder):
    engine = module._blocking(Control("sqlite", str(folder), path=str(folder / "c.db")))
    engine.connect().close()


@pytest.mark.parametrize("connect", [_new_state, _new_control])
def test_a_new_file_is_opened_by_many_at_the_same_time(connect, tmp_path):
    """Without a second try a quarter of the rounds fail: SQLite does not wait while two change to WAL mode."""
    with ThreadPoolExecutor(8) as pool:
        for number in range(30):
            folder = tmp_path / str(number)
            folder.mkdir()
            assert list(pool.map(connect, [folder] * 8)) == [None] * 8


def test_tables_of_a_later_version_are_left_alone(tmp_path):
    from dragoman.conf.model import Control

    control = Control("sqlite", str(tmp_path), path=str(tmp_path / "c.db"))
    migrate(control)
    with sqlite3.connect(control.path) as connection:
        connection.execute("UPDATE dragoman_control_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(Unusable, match="version 9999"):
        migrate(control)


def test_sums_of_an_older_version_stay(settings):
    """Of the version before the present one, with its data."""
    counts = ", ".join(f"{number} AS {name}" for number, name in enumerate(layout.COUNTS, 1))
    key, model, day = "'k' AS key_name, 't' AS team", "'p' AS provider, 'm' AS model", int(NOON // 86400)
    by_model, by_user = f"{key}, {model}", f"{key}, 'u' AS user_name"
    engine = module._blocking(settings)
    with engine.begin() as connection:
        module._upgrade(connection, "0001")
        for name, when, dimensions in (
            ("hours", f"{day * 24} AS hour", by_model),
            ("days", f"{day} AS day", by_model),
            ("days", f"{day - 8} AS day", by_model),
            ("user_hours", f"{day * 24} AS hour", by_user),
            ("user_days", f"{day} AS day", by_user),
            ("user_model_days", f"{day} AS day", f"{by_user}, {model}"),
        ):
            text = f"SELECT {when}, {dimensions}, {counts}"
            columns = ", ".join(part.rpartition(" AS ")[2] for part in text.removeprefix("SELECT ").split(", "))
            connection.exec_driver_sql(f"INSERT INTO dragoman_{name} ({columns}) {text}")
    engine.dispose()
    migrate(settings)

    async def main():
        async with opened(settings) as (store, _):
            for by, count in (("team",), 2), (("key",), 2), (("user",), 1), (("user", "model"), 1):
                (row,) = await figures.sums(store, figures.Question(NOON - 9 * 86400, NOON + 86400 * 60, by))
                assert (row["requests"], row["errors"], row["cost_usd"], row["ms_first"]) == (count, 2 * count, count * 8 / 1e9, 0.9)
            (row,) = await figures.sums(store, figures.Question(day * 86400, day * 86400 + 3600, ("key", "hour")))
            assert (row["key"], row["hour"], row["requests"]) == ("k", day * 86400, 1)
            assert [len(await rows(store, f"SELECT 1 FROM {table.name} WHERE hours > 1")) for table in tables.SUMS] == [5, 5, 5, 3, 3]

    asyncio.run(main())


@looped
async def test_a_key_and_its_secret(control):
    async with opened(control) as (store, registry):
        said = {"team": "ml", "models": ["gpt-*"], "budget": {"usd": 5, "per": "day"}, "requests_per_minute": 3, "tags": ["prod"]}
        key, secret = await registry.create_key("alice", said, ME)
        assert secret.text.startswith("dk-")
        assert len(secret.text) > 40
        assert key == await registry.key("alice")
        assert key | {"created_at": 0, "shown": ""} == {
            "name": "alice", "shown": "", "state": "active", "team": "ml", "user": "", "models": ["gpt-*"], "requests_per_minute": 3,
            "tokens_per_minute": None, "budget": {"usd": 5.0, "per": "day", "unpriced": "allow"}, "allow_from": [], "tags": ["prod"],
            "expires_at": None, "created_at": 0, "created_by": "tester", "rotated_at": None, "previous_until": None, "revoked_at": None,
        }  # fmt: skip
        assert key["shown"] == f"{secret.text[:4]}…{secret.text[-4:]}"
        assert [team["name"] for team in await registry.teams()] == ["ml"]
        held = str(await rows(store, "SELECT * FROM dragoman_keys")) + str(await rows(store, "SELECT * FROM dragoman_audit"))
        assert secret.text not in held
        assert hashlib.sha256(secret.text.encode()).hexdigest() in held


@looped
async def test_a_name_is_used_once(control):
    async with opened(control) as (store, registry):
        await registry.create_key("alice", {}, ME)
        await registry.revoke_key("alice", ME)
        with pytest.raises(Taken, match="not used again"):
            await registry.create_key("alice", {}, ME)
        with pytest.raises(Taken, match="configuration file"):
            await Registry(store, frozenset({"bob"})).create_key("bob", {}, ME)
        made = await asyncio.gather(*(registry.create_key("carol", {}, ME) for _ in range(4)), return_exceptions=True)
        assert sorted(isinstance(one, Taken) for one in made) == [False, True, True, True]


@looped
async def test_changes(control):
    async with opened(control) as (store, registry):
        await registry.create_key("alice", {"budget": {"usd": 5}}, ME)
        before = (await rows(store, "SELECT number FROM dragoman_changes"))[0][0]
        key = await registry.change_key("alice", {"budget": None, "tokens_per_minute": 100, "user": "al"}, ME)
        assert (key["budget"], key["tokens_per_minute"], key["user"]) == (None, 100, "al")
        assert (await rows(store, "SELECT number FROM dragoman_changes"))[0][0] == before + 1
        assert await registry.change_key("alice", {}, ME) == key
        assert (await rows(store, "SELECT number FROM dragoman_changes"))[0][0] == before + 1, "nothing has changed"
        rotated, secret = await registry.rotate_key("alice", 60.0, ME)
        assert rotated["shown"] == secret.shown != key["shown"]
        assert 50 < rotated["previous_until"] - rotated["rotated_at"] < 70
        assert (await registry.rotate_key("alice", 0.0, ME))[0]["previous_until"] is None
        assert (await registry.revoke_key("alice", ME))["state"] == "revoked"
        assert (await registry.revoke_key("alice", ME))["state"] == "revoked"
        for change in (registry.change_key("alice", {}, ME), registry.rotate_key("alice", 1.0, ME), registry.key("nobody")):
            with pytest.raises(Missing):
                await change
        lines = await registry.audit(subject="alice")
        assert [line["action"] for line in lines] == ["key.revoke", "key.rotate", "key.rotate", "key.change", "key.create"]
        assert lines[-1] | {"time": 0, "id": 0} == {
            "id": 0, "time": 0, "who": "tester", "role": "admin", "how": "command", "action": "key.create", "subject": "alice",
            "detail": {"budget": {"usd": 5}}, "address": "",
        }  # fmt: skip
        older = await registry.audit(before=lines[2]["id"], most=1)
        assert [line["id"] for line in older] == [lines[3]["id"]]
        assert [line["action"] for line in await registry.audit(action="key.create", who="tester")] == ["key.create"]


@looped
async def test_teams_and_users(control):
    async with opened(control) as (_, registry):
        await registry.set_team("ml", {"requests_per_minute": 10}, ME)
        await registry.set_team("ml", {"budget": {"usd": 1}}, ME)
        await registry.set_user("ml", "bob@example", {"budget": {"usd": 2, "per": "hour", "unpriced": "refuse"}}, ME)
        await registry.set_user("", "alone", {}, ME)
        team, alone = await registry.teams()
        assert (alone["name"], [user["name"] for user in alone["users"]]) == ("", ["alone"])
        assert (team["requests_per_minute"], team["budget"]["usd"]) == (10, 1.0)
        assert team["users"][0]["budget"] == {"usd": 2.0, "per": "hour", "unpriced": "refuse"}
        await registry.create_key("alice", {"team": "ml"}, ME)
        with pytest.raises(Taken, match="has keys"):
            await registry.remove_team("ml", ME)
        await registry.revoke_key("alice", ME)
        await registry.remove_user("", "alone", ME)
        await registry.remove_team("ml", ME)
        assert await registry.teams() == []
        for removal in (registry.remove_team("ml", ME), registry.remove_user("ml", "bob@example", ME)):
            with pytest.raises(Missing):
                await removal


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"model": ["x"]}, "model"),
        ({"models": []}, "models"),
        ({"models": "gpt"}, "models"),
        ({"models": [1]}, "models"),
        ({"models": ["x"] * 201}, "models"),
        ({"tags": ["x" * 201]}, "tags"),
        ({"allow_from": ["10.0.0.0/40"]}, "allow_from"),
        ({"team": "a\nb"}, "team"),
        ({"user": "x" * 65}, "user"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"requests_per_minute": True}, "requests_per_minute"),
        ({"tokens_per_minute": 2**60}, "tokens_per_minute"),
        ({"tokens_per_minute": "5"}, "tokens_per_minute"),
        ({"budget": 5}, "budget"),
        ({"budget": {"per": "day"}}, "budget"),
        ({"budget": {"usd": float("nan")}}, "budget.usd"),
        ({"budget": {"usd": -1}}, "budget.usd"),
        ({"budget": {"usd": 1, "per": "year"}}, "budget.per"),
        ({"budget": {"usd": 1, "unpriced": "maybe"}}, "budget.unpriced"),
        ({"budget": {"usd": 1, "eur": 1}}, "budget"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": -5}, "expires_at"),
    ],
)
def test_what_cannot_be_said_of_a_key(said, param):
    with pytest.raises(Invalid) as caught:
        records.key_fields(said)
    assert caught.value.param == param


@pytest.mark.parametrize("name", ["", " a", "a ", "é", "a/b", "-a", "a" * 65, None, 5, "a\0b", "team\0x"])
def test_what_is_no_name(name):
    with pytest.raises(Invalid):
        records.name(name)


@looped
async def test_another_process_leaves_the_log_of_this_one(tmp_path):
    """SQLite's log stays while a connection of this process has it, also when the file is made ready once more in between."""
    with settings_of("sqlite", tmp_path) as control:
        (tmp_path / "kept").mkdir()
        migrate(control)
        async with opened(control) as (store, _):
            (before,) = await rows(store, "SELECT number FROM dragoman_changes")
            migrate(control)
            await Store(control).close()
            work = f"import sqlite3; c = sqlite3.connect({control.path!r}); c.execute('UPDATE dragoman_changes SET number = number + 1'); "
            await asyncio.to_thread(subprocess.run, [sys.executable, "-c", work + "c.commit(); c.close()"], check=True)
            assert (tmp_path / "control.db-wal").exists()
            assert await rows(store, "SELECT number FROM dragoman_changes") == [(before[0] + 1,)]


@pytest.mark.parametrize("kind", ["folder", "nowhere"])
def test_files_that_cannot_be_used(tmp_path, kind):
    path = tmp_path if kind == "folder" else tmp_path / "no" / "file"
    with pytest.raises(Unusable, match=re.escape(str(path))):
        migrate(Control("sqlite", str(tmp_path), path=str(path)))


def test_a_store_that_does_not_answer_tells_no_secret(tmp_path):
    from dragoman.proxy.control.store import Away

    pytest.importorskip("psycopg", reason="needs psycopg (dragoman[postgres])")
    control = Control("postgres", str(tmp_path), connection_string="postgresql://user:geheim@127.0.0.1:1/x")

    async def main():
        store = Store(control)
        try:
            with pytest.raises(Away) as caught:
                await Registry(store).keys()
        finally:
            await store.close()
        assert "geheim" not in str(caught.value)

    asyncio.run(main())
    with pytest.raises(Away) as caught:
        migrate(control)
    assert "geheim" not in str(caught.value)
