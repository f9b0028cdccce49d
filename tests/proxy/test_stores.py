import asyncio
import functools
import gc
import inspect
import secrets
import subprocess
import sys
import tracemalloc
from time import process_time, time

import orjson
import pytest

from dragoman.codecs import errors
from dragoman.conf.model import StateStorage
from dragoman.proxy.memory import stores
from dragoman.proxy.memory.background import Background, Job, events_name
from dragoman.proxy.memory.records import Record, Records
from dragoman.proxy.memory.stores import Away, Entry, Full
from dragoman.proxy.memory.stores.guard import Guard
from dragoman.proxy.memory.stores.memory import MemoryStore
from dragoman.proxy.memory.turn import Turn

from ..load import agents
from .kinds import KINDS, cluster, place, stop_cluster
from .loops import LOOPS

SOON = 60.0


@pytest.fixture(scope="module", autouse=True)
def _cluster():
    yield
    stop_cluster()


def stored(test):
    """Run an async test over each kind of store, on each kind of loop; it gets what makes stores over the same entries."""

    def run(kind, loop_factory, tmp_path):
        async def main(make):
            async with asyncio.timeout(200):
                await test(make)

        with place(kind, tmp_path) as make, asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main(make))

    run.__signature__ = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("kind", "loop_factory", "tmp_path")]
    )
    kinds = getattr(test, "kinds", KINDS)
    run.pytestmark = [pytest.mark.parametrize("kind", kinds).mark, pytest.mark.parametrize("loop_factory", LOOPS).mark]
    run.__name__ = test.__name__
    return run


def only(*kinds):
    def mark(test):
        test.kinds = kinds
        return test

    return mark


SHARED = tuple(kind for kind in KINDS if kind != "memory")


class opened:
    """A store for a `with` block, and a name that no other test has."""

    def __init__(self, make, **options):
        self._store = make(**options)

    async def __aenter__(self):
        return self._store, f"o-{secrets.token_hex(8)}"

    async def __aexit__(self, *_):
        await self._store.close()


# ---- parts ----


@stored
async def test_parts_are_written_and_read(make):
    async with opened(make) as (store, name):
        assert await store.get([name], "a") == [None]
        await store.put(Entry(name, {"a": b"1", "b": b"\x00\xff"}, time() + SOON))
        assert await store.get([name], "a") == [b"1"]
        assert await store.get([name], "b") == [b"\x00\xff"]
        assert await store.get([name], "c") == [None]
        await store.put(Entry(name, {"a": b"2"}, time() + SOON))
        assert await store.get([name], "a") == [b"2"]
        assert await store.get([name], "b") == [b"\x00\xff"], "other parts stay"


@stored
async def test_many_names_at_once_keep_their_order(make):
    async with opened(make) as (store, name):
        names = [f"{name}-{n}" for n in range(600)]
        for n in (0, 7, 599):
            await store.put(Entry(names[n], {"a": b"%d" % n}, time() + SOON))
        found = await store.get(names[::-1], "a")
        assert {599 - at: value for at, value in enumerate(found) if value is not None} == {0: b"0", 7: b"7", 599: b"599"}
        assert await store.get([], "a") == []
        assert await store.get([names[7], names[7]], "a") == [b"7", b"7"]


@stored
async def test_a_long_history_is_written_at_the_cost_of_its_json(make):
    """Reading and writing it as JSON is the unit; of both the best of some."""
    text = agents.body("responses", "m", 60, "Go on.")
    async with opened(make) as (store, name):
        wrote = []
        for number in range(8):
            begun = process_time()
            await store.put(Entry(f"{name}-{number}", {"head": text}, time() + SOON))
            wrote.append(process_time() - begun)
    parsed = []
    for _ in range(8):
        begun = process_time()
        orjson.dumps(orjson.loads(text))
        parsed.append(process_time() - begun)
    assert min(wrote) < 2 * min(parsed)


@stored
async def test_large_values(make):
    async with opened(make) as (store, name):
        value = secrets.token_bytes(1 << 20) * 4
        await store.put(Entry(name, {"a": value}, time() + SOON))
        assert await store.get([name], "a") == [value]


@stored
async def test_an_entry_is_found_by_its_aliases(make):
    async with opened(make) as (store, name):
        await store.put(Entry(name, {"a": b"1"}, time() + SOON, (f"{name}-x", f"{name}-y", f"{name}-x")))
        await store.put(Entry(name, {"a": b"2"}, time() + SOON))
        assert await store.resolve([f"{name}-y", f"{name}-z", f"{name}-x"]) == [name, None, name]
        assert await store.resolve([]) == []
        await store.delete(name)
        found = await store.resolve([f"{name}-y"])
        assert found == [None] or await store.get([name], "a") == [None]


@stored
async def test_deleting(make):
    async with opened(make) as (store, name):
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
        await store.append(name, [b"x"], time() + SOON)
        assert await store.delete(name) is True
        assert await store.delete(name) is False
        assert await store.get([name], "a") == [None]
        assert await store.read(name) == []
        assert await store.append(name, [b"x"], time() + SOON) is None


@stored
async def test_what_has_expired_is_gone(make):
    async with opened(make) as (store, name):
        await store.put(Entry(name, {"a": b"1"}, time() + SOON, (f"{name}-x",)))
        await store.append(name, [b"x"], time() + SOON)
        await store.put(Entry(name, {"b": b"2"}, time() - 1))
        assert await store.get([name, name], "a") == [None, None]
        assert await store.get([name], "b") == [None]
        assert await store.append(name, [b"y"], time() + SOON) is None
        assert await store.read(name) == []
        assert await store.delete(name) is False
        await store.put(Entry(name, {"b": b"3"}, time() + SOON))
        assert await store.get([name], "a") == [None], "nothing of it comes back"
        assert await store.read(name) == []


@stored
async def test_writing_moves_the_expiry(make):
    async with opened(make) as (store, name):
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
        await store.append(name, [b"x"], time() - 1)
        assert await store.get([name], "a") == [None]


# ---- logs ----


@stored
async def test_a_log_is_numbered(make):
    async with opened(make) as (store, name):
        assert await store.append(name, [b"x"], time() + SOON) is None, "there is no entry"
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
        assert await store.read(name) == []
        assert await store.append(name, [b"x", b""], time() + SOON) == 2
        assert await store.append(name, [b"z"], time() + SOON) == 3
        assert await store.read(name) == [(0, b"x"), (1, b""), (2, b"z")]
        assert await store.read(name, 0) == [(1, b""), (2, b"z")]
        assert await store.read(name, 2) == []
        assert await store.read(name, -1, 2) == [(0, b"x"), (1, b"")]
        assert await store.get([name], "a") == [b"1"]


@stored
async def test_values_of_a_log_are_taken_out(make):
    async with opened(make) as (store, name):
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
        await store.append(name, [b"x", b"y", b"z"], time() + SOON)
        assert await store.remove(name, 1) is True
        assert await store.remove(name, 1) is False
        assert await store.remove(name, 9) is False
        assert await store.remove(name, 2) is True
        assert await store.append(name, [b"w"], time() + SOON) == 4, "numbers are not given twice"
        assert await store.read(name) == [(0, b"x"), (3, b"w")]


@stored
async def test_a_log_forgets_its_beginning(make):
    async with opened(make) as (store, name):
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
        for n in range(10):
            await store.append(name, [b"%d" % n], time() + SOON, first=max(0, n - 2))
        assert await store.read(name) == [(7, b"7"), (8, b"8"), (9, b"9")]
        assert await store.read(name, 7) == [(8, b"8"), (9, b"9")]


@stored
async def test_concurrent_appends_lose_nothing(make):
    async with opened(make) as (store, name):
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
        await asyncio.gather(*(store.append(name, [b"%d" % n, b"%d" % n], time() + SOON) for n in range(20)))
        found = await store.read(name)
        assert [number for number, _ in found] == list(range(40))
        values = [value for _, value in found]
        assert sorted(values[::2]) == sorted(b"%d" % n for n in range(20))
        assert values[::2] == values[1::2], "each append stands together"


@stored
async def test_a_log_has_a_bound(make):
    async with opened(make) as (store, name):
        with_bound = functools.partial(store.append, name, expires_at=time() + SOON, most=10)
        assert await with_bound([b"x"]) is None, "there is no entry"
        await store.put(Entry(name, {"a": bytes(20)}, time() + SOON))
        await store.append(name, [b"12", b"345"], time() + SOON)  # without a bound it counts all the same
        with pytest.raises(Full):
            await with_bound([b"678", b"901"])
        assert await store.read(name) == [(0, b"12"), (1, b"345")], "all or none"
        assert await with_bound([b"678", b"90"], token="t") == 4
        assert await with_bound([b"678", b"90"], token="t") == 4, "a repetition, though it is full now"
        with pytest.raises(Full):
            await with_bound([b"1"])
        assert await with_bound([b""]) == 5
        await store.remove(name, 1)
        await store.remove(name, 1)
        with pytest.raises(Full):
            await with_bound([b"1234"])
        assert await with_bound([b"123"]) == 6
        assert await store.append(name, [bytes(100)], time() + SOON) == 7, "without a bound there is none"
        with pytest.raises(Full):
            await with_bound([])
        await store.remove(name, 6)
        assert await with_bound([]) == 7
        assert sum(len(value) for _, value in await store.read(name)) == 10
        await store.append(name, [b""], time() + SOON, first=5)
        assert await with_bound([bytes(7)]) == 9
        assert await store.read(name, 4) == [(5, b"123"), (7, b""), (8, bytes(7))]


@stored
async def test_concurrent_appends_hold_the_bound(make):
    async with opened(make) as (store, name), opened(make) as (other, _):
        other = store if isinstance(store, MemoryStore) else other
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
        asked = [each.append(name, [bytes(10), bytes(10)], time() + SOON, most=100) for each in (store, other) * 8]
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert sorted(end for end in ends if not isinstance(end, Full)) == [2, 4, 6, 8, 10]
        assert len(await store.read(name)) == 10


@stored
@only("redis", "cluster")
async def test_redis_counts_a_log_of_an_older_version(make):
    async with opened(make) as (store, name):
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
        await store.append(name, [b"%03d" % n for n in range(250)], time() + SOON)
        assert await store.get([name], "#size") == [None]
        with pytest.raises(Full):
            await store.append(name, [b"x"], time() + SOON, most=750)
        assert await store.append(name, [b"x"], time() + SOON, most=751) == 251
        assert await store.get([name], "#size") == [b"751"]


# what replicas of versions before #size do to a log that has one, in a rolling upgrade
OLDER_APPEND = """
local number = tonumber(redis.call('HGET', KEYS[1], '#next'))
for i = 1, #ARGV do
  number = number + 1
  redis.call('XADD', KEYS[2], number .. '-0', 'v', ARGV[i])
end
redis.call('HSET', KEYS[1], '#next', number, '#token', 'older')
"""
OLDER_REMOVE = "redis.call('XDEL', KEYS[2], ARGV[1])"


@stored
@only("redis", "cluster")
async def test_redis_counts_a_log_that_an_older_version_has_changed(make):
    async with opened(make) as (store, name):
        inner = getattr(store, "store", store)
        keys = [f"dragoman:{{{name}}}", f"dragoman:{{{name}}}:log"]
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
        await store.append(name, [bytes(100)], time() + SOON, most=1000)
        await inner.script(OLDER_APPEND, keys, bytes(400), bytes(400))
        with pytest.raises(Full):
            await store.append(name, [bytes(101)], time() + SOON, most=1000)
        await inner.script(OLDER_REMOVE, keys, "2-0")
        assert await store.append(name, [bytes(400)], time() + SOON, most=1000) == 4
        with pytest.raises(Full):
            await store.append(name, [bytes(101)], time() + SOON, most=1000)
        await inner.script(OLDER_REMOVE, keys, "3-0")
        await inner.script(OLDER_APPEND, keys, bytes(500))  # as many as before, and longer ones
        with pytest.raises(Full):
            await store.append(name, [bytes(1)], time() + SOON, most=1000)


@stored
@only("memory")
async def test_memory_keeps_a_log_that_it_has_no_room_for(make):
    async with opened(make, max_bytes=10_000) as (store, name):
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
        await store.append(name, [bytes(3000)], time() + SOON)
        with pytest.raises(errors.GatewayError):
            await store.append(name, [bytes(3000)], time() + SOON)
        assert await store.read(name) == [(0, bytes(3000))]


# ---- leases ----


@stored
async def test_leases(make):
    async with opened(make) as (store, name):
        assert await store.lease(name, "a", SOON)
        assert await store.lease(name, "a", SOON), "renewed"
        assert not await store.lease(name, "b", SOON)
        await store.release(name, "b")
        assert not await store.lease(name, "b", SOON)
        await store.release(name, "a")
        assert await store.lease(name, "b", SOON)
        assert await store.lease(name, "c", SOON, force=True)
        assert not await store.lease(name, "b", SOON)
        await store.release(name, "b")
        assert not await store.lease(name, "a", SOON)


@stored
async def test_one_of_many_gets_the_lease(make):
    async with opened(make) as (store, name):
        got = await asyncio.gather(*(store.lease(name, str(n), SOON) for n in range(20)))
        assert sum(got) == 1


@stored
async def test_a_lease_runs_out(make):
    async with opened(make) as (store, name):
        assert await store.lease(name, "a", 0.001)
        async with asyncio.timeout(10):
            while not await store.lease(name, "b", SOON):
                pass


# ---- more than one ----


@stored
@only(*SHARED)
async def test_stores_of_one_place_share(make):
    async with opened(make) as (one, name), opened(make) as (other, _):
        await one.put(Entry(name, {"a": b"1"}, time() + SOON))
        assert await other.get([name], "a") == [b"1"]
        await asyncio.gather(*(store.append(name, [b"x"], time() + SOON) for store in [one, other] * 10))
        assert [number for number, _ in await other.read(name)] == list(range(20))
        assert await one.lease(name, "a", SOON)
        assert not await other.lease(name, "b", SOON)


@stored
@only(*SHARED)
async def test_what_was_written_outlives_the_store(make):
    async with opened(make) as (store, name):
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
    async with opened(make) as (store, _):
        assert await store.get([name], "a") == [b"1"]


WRITER = """
import sys
from dragoman.proxy.memory.stores.sqlite import SqliteStore
import asyncio, time
from dragoman.proxy.memory.stores import Entry
async def main():
    store = SqliteStore(sys.argv[1])
    await store.put(Entry(sys.argv[2], {"a": b"1"}, time.time() + 60))
    for n in range(20):
        await store.append("log", [b"x"], time.time() + 60)
    await store.close()
asyncio.run(main())
"""


def test_sqlite_of_many_workers_that_start_together(tmp_path):
    path = str(tmp_path / "state.db")
    command = [sys.executable, "-W", "ignore", "-c", WRITER, path]
    workers = [subprocess.Popen([*command, name], stderr=subprocess.PIPE) for name in ("log", "b", "c", "d")]
    assert [worker.communicate()[1] for worker in workers] == [b""] * 4

    async def count():
        store = stores.make(StateStorage("sqlite", path=path))
        found = await store.get(["log", "b", "c", "d"], "a")
        await store.close()
        return found

    assert asyncio.run(count()) == [b"1"] * 4


# ---- bounds of the memory ----


@stored
@only("memory")
async def test_memory_keeps_the_newest(make):
    now = 1000.0
    async with opened(make, clock=lambda: now) as (store, _):
        store._max_entries = 3
        for n in range(5):
            await store.put(Entry(f"e{n}", {"a": b"1"}, 2000.0, (f"alias{n}",)))
        assert await store.get([f"e{n}" for n in range(5)], "a") == [None, None, b"1", b"1", b"1"]
        assert await store.resolve(["alias0", "alias4"]) == [None, "e4"]
        assert len(store._aliases) == 3


@stored
@only("memory")
async def test_memory_has_a_weight(make):
    async with opened(make, max_bytes=10_000) as (store, _):
        for n in range(5):
            await store.put(Entry(f"e{n}", {"a": bytes(3000)}, time() + SOON))
        assert [value is None for value in await store.get([f"e{n}" for n in range(5)], "a")] == [True] * 3 + [False] * 2 or [
            value is None for value in await store.get([f"e{n}" for n in range(5)], "a")
        ] == [True] * 2 + [False] * 3
        for _ in range(50):
            await store.put(Entry("e4", {"a": bytes(3000)}, time() + SOON))
            await store.append("e4", [bytes(100)], time() + SOON, first=10**6)
        assert await store.get(["e3"], "a") == [bytes(3000)], "what is replaced weighs nothing any more"
        for n in range(5):
            await store.delete(f"e{n}")
        assert store._weight == 0


@stored
@only("memory")
async def test_memory_lets_expired_entries_go(make):
    now = 1000.0
    async with opened(make, clock=lambda: now) as (store, _):
        for n in range(5):
            await store.put(Entry(f"e{n}", {"a": b"1"}, 1010.0))
        now = 1010.0
        await store.put(Entry("new", {"a": b"1"}, 2000.0))
        assert list(store._entries) == ["new"]


# ---- what goes wrong ----


def test_sqlite_that_cannot_be_opened(tmp_path):
    with pytest.raises(stores.Unusable, match=r"state_storage: .*unable to open"):
        stores.make(StateStorage("sqlite", path=str(tmp_path / "no" / "state.db")))
    (tmp_path / "other").write_bytes(b"something else entirely" * 100)
    with pytest.raises(stores.Unusable, match="not a database"):
        stores.make(StateStorage("sqlite", path=str(tmp_path / "other")))


def test_sqlite_of_a_newer_version(tmp_path):
    import sqlite3

    base = sqlite3.connect(tmp_path / "state.db")
    base.execute("PRAGMA user_version = 99")
    base.close()
    with pytest.raises(stores.Unusable, match="supports up to"):
        stores.make(StateStorage("sqlite", path=str(tmp_path / "state.db")))


@pytest.mark.parametrize(("kind", "package"), [("postgres", "psycopg"), ("redis", "redis")], ids=lambda value: value)
def test_a_missing_package_is_named(monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(stores.Unusable, match=rf"needs the package {package}: pip install 'dragoman\[{kind}\]'"):
        stores.check(StateStorage(kind, url="redis://x", connection_string="postgresql://x"))


def test_an_address_that_is_none():
    async def make(storage):
        return stores.make(storage)

    with pytest.raises(stores.Unusable, match="connection_string"):
        asyncio.run(make(StateStorage("postgres", connection_string="postgresql+asyncpg://secret@host/x")))
    with pytest.raises(stores.Unusable, match="url"):
        asyncio.run(make(StateStorage("redis", url="http://host")))


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_server_that_is_not_there_is_an_error_to_the_caller(kind):
    pytest.importorskip({"postgres": "psycopg", "redis": "redis"}[kind])
    address = "://user:secret@127.0.0.1:1/0"

    async def main():
        storage = StateStorage(kind, connection_string="postgresql" + address, url="redis" + address, timeout=0.2)
        store = stores.make(storage)
        with pytest.raises(errors.GatewayError) as caught:
            await store.get(["x"], "a")
        await store.close()
        return caught.value

    error = asyncio.run(main())
    assert (error.kind, error.code) == ("server", "state_unavailable")
    assert "secret" not in error.message + error.detail + repr(error)
    assert "127.0.0.1" not in error.message


@stored
@only("postgres")
async def test_postgres_connections_that_were_cut(make):
    psycopg = pytest.importorskip("psycopg")
    async with opened(make) as (store, name):
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
        mine = store._pool.conninfo
        async with await psycopg.AsyncConnection.connect(mine, autocommit=True) as other:
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid()"
            )
        assert await Guard(store, SOON).get([name], "a") == [b"1"]


@stored
@only("redis")
async def test_redis_connections_that_were_cut(make):
    async with opened(make) as (store, name):
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
        own = await store._client.client_id()
        async with opened(make) as (other, _):
            await other.get([name], "a")
            await other._client.client_kill_filter(_id=own)
        assert await store.get([name], "a") == [b"1"]
        assert await store.append(name, [b"x"], time() + SOON) == 1


@stored
@only("cluster")
async def test_connections_to_a_cluster_that_were_cut(make):
    driver = pytest.importorskip("redis")
    async with opened(make) as (store, name):
        names = [f"{name}-{n}" for n in range(8)]
        for each in names:
            await store.put(Entry(each, {"a": b"1"}, time() + SOON))
        for port in cluster().ports:
            with driver.Redis(port=port) as node:
                node.client_kill_filter(_type="normal", skipme=True)
        assert await store.get(names, "a") == [b"1"] * 8
        for port in cluster().ports:
            with driver.Redis(port=port) as node:
                node.client_kill_filter(_type="normal", skipme=True)
        for each in names:
            assert await store.append(each, [b"x"], time() + SOON) == 1


@stored
@only("redis", "cluster")
async def test_redis_lets_keys_expire(make):
    async with opened(make) as (store, name):
        await store.put(Entry(name, {"a": b"1"}, time() + SOON, (f"{name}-x",)))
        await store.append(name, [b"x"], time() + SOON)
        await store.lease(name, "a", SOON)
        keys = [f"dragoman:{{{name}}}{end}" for end in ("", ":log", ":lease")] + [f"dragoman:{{{name}-x}}:name"]
        for key in keys:
            assert 0 < await store._client.pttl(key) <= SOON * 1000


@stored
@only("postgres", "sqlite")
async def test_what_has_expired_is_removed(make):
    async with opened(make) as (store, name):
        for n in range(5):
            await store.put(Entry(f"{name}-{n}", {"a": b"1"}, time() - 1, (f"{name}-x{n}",)))
        store._purged = 0.0
        await store.put(Entry(name, {"a": b"1"}, time() + SOON))
        if hasattr(store, "_pool"):
            async with store._pool.connection() as connection:
                cursor = await connection.execute("SELECT name FROM dragoman_entries")
                left = await cursor.fetchall()
        else:
            left = await store._run(lambda: store._base.execute("SELECT name FROM entries").fetchall())
        assert left == [(name,)]


def test_a_job_ends_although_its_store_has_gone_away(caplog):
    """Its events are written; only their log expires later. An error at its end would be one that nobody can be told of."""

    class Leaving(MemoryStore):
        async def append(self, name, values, expires_at, first=0, token="", most=None):
            if not values:
                raise Away("frozen")
            return await super().append(name, values, expires_at, first, token, most)

    async def main():
        store = Leaving(10)
        record = Record("resp_1", 1.0, "queued", [], [], response={"id": "resp_1", "status": "queued"})
        job = Job(Background(store, Records(store, 60.0)), "me", record, lambda: None)
        await job.begin()
        await job.finish(b"event: response.completed\ndata: {}\n\n")
        await job.over()
        return [value for _, value in await store.read(events_name("me", "resp_1"))]

    assert asyncio.run(main())[-1].startswith(b"event: response.completed")
    assert "expires late" in caplog.text


def test_the_last_events_of_a_response_are_waited_for():
    """It is stored before they are. Another worker's reader who looks in between makes no end of his own, unless the job has died."""

    async def main(ends):
        store = MemoryStore(10)
        records = Records(store, SOON)
        here, there = Background(store, records), Background(store, records)
        id = "resp_1"
        record = Record(id, time(), "queued", [], [], response={"id": id, "status": "queued"}, background=True, stream=True)
        job = await here.begin("me", record, lambda: None, 9, 9)
        record.status = record.response["status"] = "completed"
        await records.put("me", record)
        early = await there._ending("me", id, 1)
        if ends:
            await job.finish(b"event: response.completed\ndata: {}\n\n")
        await here.over(id)
        return early, b"".join([part async for part in there.follow("me", id, 1)])

    assert asyncio.run(main(True)) == (None, b"event: response.completed\ndata: {}\n\n")
    early, told = asyncio.run(main(False))
    assert early is None
    assert told.startswith(b": keep-alive\n\nevent: response.completed\n")
    assert b'"sequence_number":2' in told


def test_a_claim_that_nobody_awaits_is_no_error_of_the_loop():
    """An answer broke off after its upstream's id was known, while the store was away."""

    async def main():
        reported = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        turn = Turn.__new__(Turn)
        turn._body = {}

        async def away(*_):
            raise Away("frozen")

        turn._remember = away
        claim = turn.claimed("resp_1", None)
        await asyncio.wait([claim])
        with pytest.raises(Away):
            await claim
        claim = turn.claimed("resp_2", None)
        await asyncio.wait([claim])
        del claim, turn
        gc.collect()
        return reported

    assert asyncio.run(main()) == []


def test_memory_takes_what_is_counted():
    """orjson leaves short texts in blocks of 4 kB: 100 entries of two thirds of one would take six times as much as they weigh."""

    async def fill():
        store = MemoryStore(1000)
        for number in range(100):
            await store.put(Entry(f"a/{number}", {"head": orjson.dumps("x" * 600)}, time() + SOON))
            await store.append(f"a/{number}", [orjson.dumps("y" * 600)], time() + SOON)
        return store

    asyncio.run(fill())
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        store = asyncio.run(fill())
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 2 * store._weight
    finally:
        tracemalloc.stop()
