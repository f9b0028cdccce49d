"""The process that writes usage into a SQLite file in a worker's place: it may die, its worker may, and the file may be in the way."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dragoman.conf.model import Control
from dragoman.proxy.child import BEHIND
from dragoman.proxy.control import apart, tables, usage, writer
from dragoman.proxy.control.store import Away, Refused, migrate

from .using import account, left_in, opened, recording, rows, until, written

SUMS = "SELECT sum(requests) FROM dragoman_team_sums WHERE hours = 24"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file with the tables, to be copied."""
    folder = tmp_path_factory.mktemp("tables")
    migrate(Control("sqlite", str(folder), path=str(folder / "control.db")))
    return (folder / "control.db").read_bytes()


@pytest.fixture
def control(file, tmp_path):
    (tmp_path / "a file?#%.db").write_bytes(file)
    return Control("sqlite", str(tmp_path), path=str(tmp_path / "a file?#%.db"))


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Run a coroutine in a loop of this kind."""
    factory = None if request.param == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    def main(coroutine):
        async def bounded():
            async with asyncio.timeout(200):
                await coroutine

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(bounded())

    return main


@contextmanager
def locked(control):
    """Another process writes into the file."""
    connection = sqlite3.connect(control.path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


def pid_of(store):
    return store._writer._started.result().pid


def is_reaped(pid):
    """Whether a child of this process has ended and left nothing."""
    with suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return False
    return True


async def summed(store):
    return int((await rows(store, SUMS))[0][0] or 0)


def test_it_runs_behind_its_worker(control, run):
    """In its session, among whose processes Linux shares a processor by their priority; but no signal of its group is meant for it."""

    async def main():
        async with opened(control) as (store, _):
            await written(store, "first", account())
            pid = pid_of(store)
            assert (os.getsid(pid), os.getpgid(pid)) == (os.getsid(0), pid)
            assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + BEHIND

    run(main())


def test_it_dies_in_the_middle_of_a_batch(control, run, monkeypatch):
    """The batch is sent again, to another process, and counts once."""
    monkeypatch.setattr(usage, "EVERY", 0.02)
    monkeypatch.setattr(usage, "AGAIN", 0.02)

    async def main():
        async with opened(control) as (store, _), recording(control, store) as recorder:
            await written(store, "first", account())
            first = pid_of(store)
            with locked(control):
                recorder.record(account(), lambda _: True)
                await until(store._writer._turn.locked)
                os.kill(first, signal.SIGKILL)
                await until(lambda: recorder._away)
                assert recorder.waiting() == 1
            await until(lambda: not recorder.waiting())
            assert (await summed(store), recorder.lost()) == (2, 0)
            assert pid_of(store) != first
            assert is_reaped(first)

    run(main())


DIES_AFTERWARDS = """
import os, sys
from dragoman.proxy.control import apart
answer = apart.File.answer
def once(file, line):
    said = answer(file, line)
    try:
        os.close(os.open(sys.argv[1].partition("?")[0].removeprefix("file://").partition("%")[0] + ".died", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return said
    os._exit(9)
apart.File.answer = once
apart.main()
"""


def test_it_dies_before_it_can_say_what_it_has_written(control, run, monkeypatch):
    async def main():
        async with opened(control) as (store, _):
            *_, uri = store._writer._argv
            store._writer._argv = (sys.executable, "-P", "-c", DIES_AFTERWARDS, uri)
            with pytest.raises(Away, match="has ended"):
                await written(store, "a", account())
            assert await summed(store) == 1
            await written(store, "a", account())
            assert await summed(store) == 1

    run(main())


def test_it_dies_while_nothing_is_asked(control, run):
    """The next batch does not notice."""

    async def main():
        async with opened(control) as (store, _):
            await written(store, "a", account())
            first = store._writer._started.result()
            os.kill(first.pid, signal.SIGKILL)
            await until(lambda: first.returncode is not None)
            await written(store, "b", account())
            assert (await summed(store), is_reaped(first.pid)) == (2, True)

    run(main())


def test_it_ends_with_the_store_and_not_by_other_signals(control, run):
    async def main():
        async with opened(control) as (store, _):
            await written(store, "a", account())
            pid = pid_of(store)
            for number in (signal.SIGTERM, signal.SIGINT):
                os.kill(pid, number)
            await written(store, "b", account())
            assert pid_of(store) == pid
            assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)
        assert is_reaped(pid)

    run(main())
    assert not Path(f"{control.path}-wal").exists()  # it has closed the file in order, as the last one


def test_nobody_waits_any_more_while_it_starts(control, run):
    async def main():
        async with opened(control) as (store, _):
            asking = asyncio.create_task(store.apart(b"write a\t[]"))
            await until(lambda: store._writer._started)
            asking.cancel()
            await asyncio.wait([asking])
            assert asking.cancelled()
            started = store._writer._started
        assert is_reaped(started.result().pid)

    run(main())


def test_it_cannot_be_started(control, run):
    async def main():
        async with opened(control) as (store, _):
            argv, store._writer._argv = store._writer._argv, ("/nonexistent",)
            for _ in range(2):
                with pytest.raises(Away, match="No such file"):
                    await written(store, "a", account())
            store._writer._argv = argv
            await written(store, "a", account())
            assert await summed(store) == 1

    run(main())


def test_closing_does_not_wait_for_a_file_that_is_in_use(control, run, monkeypatch):
    """The batch stays in the spool: its fate is unknown."""
    monkeypatch.setattr(usage, "CLOSING", 0.05)
    monkeypatch.setattr(writer, "ENDING", 0.05)

    async def main():
        async with opened(control) as (store, _):
            await written(store, "first", account())
            pid = pid_of(store)
            with locked(control):
                async with recording(control, store) as recorder:
                    recorder.record(account(), lambda _: True)
                await store.close()
                assert is_reaped(pid)

    async def afterwards():
        async with opened(control) as (store, _), recording(control, store):
            pass
        async with opened(control) as (store, _):
            assert await summed(store) == 2

    run(main())
    assert len(left_in(control)) == 1
    monkeypatch.undo()
    run(afterwards())
    assert left_in(control) == []


WORKER = """
import asyncio, sys
from dragoman.proxy.control.writer import Writer
async def main():
    writer = Writer(sys.argv[1])
    print(await writer.ask(b"remove dragoman_batches 0.0 1"), writer._started.result().pid, flush=True)
    await asyncio.sleep(60)
if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.run(main())
asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_it_ends_with_a_worker_that_is_killed(control, loop):
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with subprocess.Popen([sys.executable, "-c", WORKER, control.path, loop], stdout=subprocess.PIPE, text=True) as worker:
        done, count, pid = worker.stdout.readline().split()
        assert (done, count) == ("done", "0")
        worker.kill()

    def has_ended():
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"  # the machine's first process may not reap
        except (FileNotFoundError, ProcessLookupError):
            return True

    asyncio.run(until(has_ended))


def test_what_is_in_the_way_of_a_batch(control, run):
    """Each keeps the batch, which is written when it has gone."""

    async def main():
        async with opened(control) as (store, _):
            os.rename(control.path, f"{control.path}.gone")
            with pytest.raises(Away, match="unable to open database file"):
                await written(store, "a", account())
            assert await asyncio.to_thread(os.listdir, control.folder) == [Path(f"{control.path}.gone").name]
            os.rename(f"{control.path}.gone", control.path)
            await written(store, "a", account())
            unlimited = resource.prlimit(pid_of(store), resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            with pytest.raises(Away, match="disk"):
                await written(store, "b", account())
            resource.prlimit(pid_of(store), resource.RLIMIT_FSIZE, unlimited)
            await written(store, "b", account())
            assert await summed(store) == 2
            for odd in (b"write none", b"write id\t[[1,2", b"write id\t[[1]]", b"else", b"write \xff\t[]"):
                with pytest.raises(Refused):
                    await store.apart(odd)

    run(main())


def test_a_file_that_is_locked(control, monkeypatch):
    monkeypatch.setattr(apart, "BUSY", 0.01)
    file = apart.File(f"{Path(control.path).as_uri()}?mode=rw")
    with locked(control):
        assert file.answer(b"write a\t[]") == "away OperationalError: database is locked"
    assert file.answer(b"write a\t[]") == "done 0"
    file._connection.close()


def test_old_rows_are_removed_a_few_at_a_time(control, run):
    async def main():
        async with opened(control) as (store, _):
            await written(store, "a", *(account(time=float(second)) for second in range(5)))
            assert [await store.remove(tables.usage, 3.5, 3) for _ in range(3)] == [3, 1, 0]
            assert await rows(store, "SELECT time FROM dragoman_usage") == [(4.0,)]

    run(main())


def test_it_is_small():
    text = "import sys, dragoman.proxy.control.apart; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-P", "-c", text], capture_output=True, text=True, check=True).stdout.split()
    assert {"sqlite3", "orjson"} <= set(found)
    assert not {"asyncio", "tornado", "sqlalchemy", "yaml", "marshmallow", "logging"} & set(found)
