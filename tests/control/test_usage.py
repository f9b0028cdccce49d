"""Usage: rows and sums, once whatever happens on the way to the store."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import subprocess
import sys

import orjson
import pytest

from dragoman.codecs import errors
from dragoman.proxy.control import layout, spool, usage
from dragoman.proxy.control.spool import Spool, left
from dragoman.proxy.control.store import Away, Store
from dragoman.proxy.control.usage import COUNTED, hour_of, write
from dragoman.proxy.telemetry.account import failure

from .using import NOON, TARGET, account, left_in, looped, opened, recording, rows, until, written

SUMMED = "requests, errors, input, output, cost_nano, unpriced, ms_total, ms_first, firsts"
USED = f"SELECT key_name, team, provider, model, {SUMMED}"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(usage, "EVERY", 0.02)
    monkeypatch.setattr(usage, "AGAIN", 0.02)


def declared(name):
    return name == "openai/gpt"


@looped
async def test_rows_and_their_sums(control):
    async with opened(control) as (store, _):
        async with recording(control, store) as recorder:
            recorder.record(account(team="t", user="u"), declared)
            recorder.record(account(team="t", user="u", cost=0.002, tokens=(1, 2), request_id="req_2"), declared)
            recorder.record(account(time=NOON + 3600, cost=None), declared)
            recorder.record(account(time=NOON + 86400, status=500, error=failure(errors.Overloaded("full"))), declared)
            recorder.record(account(status=499, client_left=True), declared)
            recorder.record(account(calls=[], status=404, model="made-up"), declared)
            recorder.record(account(status=404, target=TARGET._replace(upstream="openai/made-up", model="made-up")), declared)
            recorder.record(account(key=""), declared)
        assert recorder.lost() == 0
        assert sorted(await rows(store, f"{USED}, number - {int(NOON // 3600)} FROM dragoman_key_sums WHERE hours = 1")) == [
            ("k", "", "", "", 1, 1, 0, 0, 0, 0, 500, 0, 0, 0),
            ("k", "", "openai", "", 1, 1, 10, 5, 1_000_000, 0, 500, 200, 1, 0),
            ("k", "", "openai", "gpt", 1, 0, 10, 5, 0, 1, 500, 200, 1, 1),
            ("k", "", "openai", "gpt", 1, 0, 10, 5, 1_000_000, 0, 500, 200, 1, 0),
            ("k", "", "openai", "gpt", 1, 1, 10, 5, 1_000_000, 0, 500, 200, 1, 24),
            ("k", "t", "openai", "gpt", 2, 0, 11, 7, 3_000_000, 0, 1000, 400, 2, 0),
        ]  # fmt: skip
        assert sorted(await rows(store, f"{USED}, number - {int(NOON // 86400)} FROM dragoman_key_sums WHERE hours = 24"))[2:4] == [
            ("k", "", "openai", "gpt", 1, 1, 10, 5, 1_000_000, 0, 500, 200, 1, 1),
            ("k", "", "openai", "gpt", 2, 0, 20, 10, 1_000_000, 1, 1000, 400, 2, 0),
        ]  # fmt: skip
        in_all = "SELECT hours, team, sum(requests), sum(cost_nano) FROM {} WHERE hours > {} GROUP BY hours, team ORDER BY hours, team"
        each = [("", 5, 3_000_000), ("t", 2, 3_000_000)]
        for table, shortest in (("team", 0), ("key", 0), ("user", 0), ("user_model", 1)):
            found = await rows(store, in_all.format(f"dragoman_{table}_sums", shortest))
            assert found == [(hours, *one) for hours in (1, 24, 192, 1536) if hours > shortest for one in each]
        assert await rows(store, "SELECT user_name, sum(requests) FROM dragoman_user_sums WHERE hours = 1536 GROUP BY 1 ORDER BY 1") == [
            ("", 5), ("u", 2),
        ]  # fmt: skip
        assert await rows(store, "SELECT count(*) FROM dragoman_user_model_sums WHERE hours = 24") == [(5,)]
        assert await rows(store, "SELECT count(*) FROM dragoman_usage") == [(7,)]
        first = "SELECT request_id, asked, api, lane, status, stream, attempts, input, cost_nano, ms_first FROM dragoman_usage"
        assert (await rows(store, f"{first} ORDER BY id"))[:1] == [("req_1", "openai/gpt", "chat", "bytes", 200, 0, 1, 10, 1_000_000, 200)]


@looped
async def test_a_batch_that_is_sent_twice_counts_once(control):
    async with opened(control) as (store, _):
        for id in ("a", "a", "b"):
            await written(store, id, account())
        assert await rows(store, "SELECT requests FROM dragoman_team_sums WHERE hours = 24") == [(2,)]


@looped
async def test_sums_are_what_the_rows_add_up_to(control):
    """SQLite's are worked out in Python, PostgreSQL's in SQL: both are compared with what SQL makes of the rows."""
    choices = itertools.product(("k", "l"), ("", "u"), (200, 404, 499, 529), (None, 0.25), (0, 3))
    accounts = [
        account(
            time=NOON + hours * 3600 + 0.5,
            key=key,
            user=user,
            team=user and "t",
            status=status,
            cost=cost,
            tokens=(hours, 2 * hours),
            error=failure(errors.Overloaded("full")) if status == 529 or cost is None else None,
        )
        for key, user, status, cost, hours in choices
    ]
    lines = [usage.row_of(one, "gpt" if number % 3 else "o4", one.user) for number, one in enumerate(accounts)]
    async with opened(control) as (store, _):
        for at in (0, 7, 30):
            await write(store, b"batch %d\t" % at + orjson.dumps(lines[at : {0: 7, 7: 30, 30: None}[at]]))
        counts = ", ".join(f"sum({text})" for text in COUNTED.values())
        for table, (dimensions, units) in layout.SUMS.items():
            names = ", ".join(dimensions)
            for unit in units:
                number = f"{hour_of(store.postgres)} / {unit}"
                wanted = await rows(store, f"SELECT {unit}, {number}, {names}, {counts} FROM dragoman_usage GROUP BY {number}, {names}")
                found = await rows(store, f"SELECT hours, number, {names}, {', '.join(COUNTED)} FROM {table} WHERE hours = {unit}")
                assert sorted(found) == sorted(wanted)


@looped
async def test_odd_texts_and_numbers(control):
    async with opened(control) as (store, _):
        async with recording(control, store) as recorder:
            recorder.record(account(user="a\0b\ud800", model="x" * 10_000, tokens=(2**70, -5), cost=1e30), declared)
            recorder.record(account(user="it's \\u0000; DROP TABLE x --", cost=float("inf")), declared)
        assert recorder.lost() == 0
        assert await rows(store, "SELECT count(*) FROM dragoman_usage") == [(2,)]
        assert (await rows(store, "SELECT max(input), max(cost_nano) FROM dragoman_usage")) == [(10**12, 10**15)]


@looped
async def test_users_that_callers_make_up_are_bounded(control, monkeypatch):
    monkeypatch.setattr(usage, "MOST_USERS", 2)
    async with opened(control) as (store, _):
        async with recording(control, store) as recorder:
            for hour in (0, 1):
                for user in ("a", "b", "a", "c", "d"):
                    recorder.record(account(user=user, time=NOON + hour * 3600), declared)
        found = await rows(
            store, "SELECT user_name, sum(requests) FROM dragoman_user_sums WHERE hours = 1 GROUP BY user_name ORDER BY user_name"
        )
        assert [(name, int(count)) for name, count in found] == [("a", 4), ("b", 2), ("other", 4)]


class Fickle:
    """A store that answers when a test lets it."""

    def __init__(self, store: Store) -> None:
        self.store, self.postgres, self.away, self.doubt = store, store.postgres, True, False

    async def one_statement(self, text, parameters):
        await self._done(self.store.one_statement(text, parameters))

    async def apart(self, line):
        await self._done(self.store.apart(line))

    async def _done(self, writing):
        if self.away:
            writing.close()
            raise Away("it is away")
        await writing
        if self.doubt:  # the transaction is committed, and nobody knows
            self.doubt = False
            raise Away("the connection broke")


@looped
async def test_a_store_that_is_away_gets_everything_later(control, caplog):
    async with opened(control) as (store, _):
        fickle = Fickle(store)
        async with recording(control, fickle) as recorder:
            for number in range(3):
                recorder.record(account(request_id=f"req_{number}"), declared)
                await until(lambda number=number: recorder.waiting() == number + 1)
            fickle.away, fickle.doubt = False, True
            await until(lambda: recorder.waiting() == 0)
            assert await rows(store, "SELECT requests FROM dragoman_team_sums WHERE hours = 24") == [(3,)]
            assert [line.levelname for line in caplog.records if "usage is" in line.message] == ["WARNING"] * 2
        assert left_in(control) == []


@looped
async def test_a_full_spool_says_what_it_loses(control):
    async with opened(control) as (store, _):
        fickle = Fickle(store)
        async with recording(control, fickle, most=400) as recorder:
            recorder.record(account(), declared)
            await until(lambda: recorder.waiting())
            for _ in range(5):
                recorder.record(account(), declared)
            await until(lambda: recorder.lost())
            assert recorder.lost() == 5
            fickle.away = False
            await until(lambda: not recorder.waiting())
            recorder.record(account(), declared)
        assert await rows(store, "SELECT requests FROM dragoman_team_sums WHERE hours = 24") == [(2,)]


@looped
async def test_the_next_process_sends_what_a_dead_one_left(control, caplog):
    async with opened(control) as (store, _):
        fickle = Fickle(store)
        async with recording(control, fickle) as recorder:
            recorder.record(account(), declared)
        (file,) = left_in(control)
        good = file.read_bytes()
        odd = (b"no batch", b"id\t[[1]]", b"id\t" + orjson.dumps([[{}] * 24]), b"id\t[[1,2")
        file.write_bytes(good + b"".join(line + b"\n" for line in odd) + good[:-20])  # the last one was cut
        with caplog.at_level(logging.CRITICAL):
            async with recording(control, store) as recorder:
                await until(lambda: not file.exists())
        assert recorder.lost() == 4
        assert await rows(store, "SELECT requests FROM dragoman_team_sums WHERE hours = 24") == [(1,)]


@looped
async def test_a_batch_that_the_store_refuses_does_not_stop_the_others(control, caplog):
    async with opened(control) as (store, _):
        with caplog.at_level(logging.CRITICAL):
            async with recording(control, store) as recorder:
                recorder._spool.append(b"id\t" + orjson.dumps([[*usage.row_of(account(), "gpt", "")[:13], None, *range(10)]]))
                recorder.record(account(), declared)
                await until(lambda: recorder.lost())
        assert recorder.lost() == 1
        assert await rows(store, "SELECT requests FROM dragoman_team_sums WHERE hours = 24") == [(1,)]


def test_a_spool_in_a_folder_that_cannot_be_written_is_memory(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(spool, "MOST_IN_MEMORY", 10)
    held = Spool(str(tmp_path / "none"), 1 << 20)
    assert held.append(b"12345")
    assert held.append(b"12345")
    assert not held.append(b"1")
    assert (held.first(), len(held), held.size) == (b"12345", 2, 10)
    held.drop_first()
    held.drop_first()
    assert len(held) == 0
    held.close()
    assert "in memory only" in caplog.text


def test_a_spool_that_another_process_holds_is_left_alone(tmp_path):
    held = Spool(str(tmp_path), 1 << 20)
    held.append(b"one")
    held.append(b"two")
    assert left(str(tmp_path)) == []
    held.close()
    (found,) = left(str(tmp_path))
    batch, place = found.batches()
    assert (batch, found.batches(place)[0], found.batches(found.batches(place)[1])[0]) == (b"one", b"two", None)
    assert left(str(tmp_path)) == []
    found.remove()
    found.close()
    assert left(str(tmp_path)) == []


KILLED = """
import asyncio, sys
from dragoman.proxy.control.spool import Spool
spool = Spool(sys.argv[1], 1 << 20)
spool.append(b"id\\t[]")
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_process_that_is_killed_leaves_what_it_had_appended(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    (found,) = left(str(tmp_path))
    assert found.batches()[0] == b"id\t[]"
    found.close()
