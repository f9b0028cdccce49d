"""Stores that restart, fail over, freeze and lock: a wait once, no lost answer, and no caller who waits for what is known to be away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from time import time
from typing import Any

import openai
import orjson
import pytest

from dragoman.codecs import errors
from dragoman.codecs.usage import Usage
from dragoman.conf.model import StateStorage
from dragoman.proxy.keys.identity import Identity, Limited
from dragoman.proxy.keys.quota import LocalCounters, Quota
from dragoman.proxy.memory import stores
from dragoman.proxy.memory.stores import Away, Entry
from dragoman.proxy.memory.stores.guard import Guard, Patience

from ..conftest import Start
from ..gateway.spoken import SPEECH
from ..gateway.talk import Said, Talk, config
from ..gateway.test_life import until
from ..proxy.loops import LOOPS
from ..scripted import Gate, Provider, chunk, stream_head, until_closed, wait
from .servers import Address, OwnPostgres, OwnRedis, Server, running

SERVERS = ("redis", "postgres")
LONG = 40.0  # seconds: no test waits so long, unless the machine is very busy


@pytest.fixture(scope="module", params=SERVERS)
def server(request: Any) -> Iterator[Server]:
    with running(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def redis_server() -> Iterator[OwnRedis]:
    with running("redis") as found:
        assert isinstance(found, OwnRedis)
        yield found


@pytest.fixture(params=LOOPS)
def run(request: Any) -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """Run a coroutine on each kind of loop."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@contextlib.asynccontextmanager
async def opened(server: Server, patience: float, port: int | None = None) -> AsyncIterator[Guard]:
    """The store as the gateway makes it. port: another than the server's own."""
    url = server.url.replace(f":{server.port}/", f":{port or server.port}/")
    store = stores.make(StateStorage(server.kind, url=url, connection_string=url, timeout=patience))  # type: ignore[arg-type]
    assert isinstance(store, Guard)
    try:
        yield store
    finally:
        await store.close()


def entry(value: bytes = b"1") -> Entry:
    return Entry(f"o-{secrets.token_hex(8)}", {"a": value}, time() + 600)


async def answers_again(store: Guard) -> None:
    assert await store.breaker.closes(LONG)


# ---- restart ----


def test_a_restart_costs_a_wait_and_no_error(server: Server, run: Any) -> None:
    async def main() -> None:
        async with opened(server, LONG) as store:
            await asyncio.gather(*(store.put(entry()) for _ in range(6)))  # connections that stand
            await asyncio.to_thread(server.stop)
            entries = [entry(b"%d" % n) for n in range(6)]
            puts = [asyncio.create_task(store.put(one)) for one in entries]
            await asyncio.to_thread(server.start)
            await asyncio.gather(*puts)
            assert [(await store.get([one.name], "a"))[0] for one in entries] == [b"%d" % n for n in range(6)]
            assert not store.breaker.open

    run(main())


def test_an_answer_that_got_lost_is_not_counted_twice(server: Server, run: Any) -> None:
    """The server did it, and its answer did not come: the repetition adds nothing."""

    async def main() -> None:
        async with opened(server, LONG) as store:
            one = entry()
            await store.put(one)
            for _ in range(3):
                assert await store.append(one.name, [b"x", b"y"], time() + 600, token="same") == 2
            assert await store.append(one.name, [b"z"], time() + 600) == 3
            assert [value for _, value in await store.read(one.name)] == [b"x", b"y", b"z"]
            assert await store.append("o-none", [b"x"], time() + 600, token="same") is None

    run(main())


def test_tables_that_take_long_to_bring_up_to_date(run: Any) -> None:
    """Who asks meanwhile is refused in time, and the work is not begun again and again."""
    from dragoman.proxy.memory.stores.postgres import MIGRATIONS

    with running("postgres") as server:
        assert isinstance(server, OwnPostgres)
        server.execute(MIGRATIONS[0], "CREATE TABLE dragoman_schema AS SELECT 1 AS version")
        with server.psycopg.connect(server.url) as reader:
            reader.execute("SELECT * FROM dragoman_entries")  # an open transaction, which the migration waits for

            async def main() -> None:
                async with opened(server, 0.3) as store:
                    with pytest.raises(Away):
                        await store.get(["x"], "a")
                    working = store.store._preparing
                    with contextlib.suppress(Away):
                        await store.get(["x"], "a")
                    assert store.store._preparing is working
                    assert not working.done()
                    reader.rollback()
                    await answers_again(store)
                    await store.put(entry())

            run(main())


# ---- failover ----


def test_a_failover_costs_a_wait_and_no_error(server: Server, run: Any) -> None:
    """The address leads to another server, and the connections that stand lead to one that only reads."""

    async def main() -> None:
        with running(server.kind) as other:
            async with Address(server.port) as address, opened(server, LONG, address.port) as store:
                await asyncio.gather(*(store.put(entry()) for _ in range(6)))
                try:
                    await asyncio.to_thread(server.demote)
                    address.target = other.port
                    entries = [entry(b"%d" % n) for n in range(12)]
                    await asyncio.gather(*(store.put(one) for one in entries))
                    assert [(await store.get([one.name], "a"))[0] for one in entries] == [b"%d" % n for n in range(12)]
                finally:
                    await asyncio.to_thread(server.demote, False)

    run(main())


def test_a_server_that_only_reads_is_not_asked_again_and_again(server: Server, run: Any) -> None:
    async def main() -> None:
        async with opened(server, 0.4) as store:
            await store.put(entry())
            try:
                await asyncio.to_thread(server.demote)
                with pytest.raises(Away):
                    await store.put(entry())
                assert store.breaker.open
            finally:
                await asyncio.to_thread(server.demote, False)
            await answers_again(store)
            async with asyncio.timeout(LONG):
                while True:  # a connection that the probe did not have may still be the old one's
                    with contextlib.suppress(Away):
                        await store.put(entry())
                        break

    run(main())


# ---- frozen ----


def test_a_frozen_server_is_waited_for_once(server: Server, run: Any) -> None:
    async def main() -> None:
        async with opened(server, 1.0) as store:
            await asyncio.gather(*(store.put(entry()) for _ in range(4)))
            server.freeze()
            try:
                found = await asyncio.gather(*(store.get(["x"], "a") for _ in range(30)), return_exceptions=True)
                assert {type(one) for one in found} == {Away}
                assert store.breaker.open
                asked = _counted(store)
                for _ in range(30):
                    with pytest.raises(Away):
                        await store.get(["x"], "a")
                assert asked == [], "who comes now waits for nothing, and is not the one who tries"
            finally:
                server.thaw()
            await answers_again(store)
            await store.put(entry())

    run(main())


async def _outcome(call: Any) -> Any:
    try:
        return await call
    except Away as error:
        return error


def _counted(store: Guard) -> list[str]:
    """The calls of `get` that get through to the server from now on."""
    asked: list[str] = []
    get = store.store.get

    async def counting(names: Any, part: str) -> Any:
        asked.append(part)
        return await get(names, part)

    store.store.get = counting  # type: ignore[method-assign]
    return asked


def test_who_waits_is_released_when_the_server_is_known_not_to_answer(server: Server, run: Any) -> None:
    """A call that began late does not wait all its own time: it ends with the first one that had waited enough."""

    async def main() -> None:
        async with opened(server, LONG * 10) as store:
            await store.put(entry())
            server.freeze()
            try:
                late = asyncio.create_task(store.get(["x"], "a"))
                with Patience(0.2), pytest.raises(Away):
                    await store.get(["x"], "a")
                assert not store.breaker.open, "who had less than half of the time proves nothing"
                store.breaker.trip("as another call found")
                with pytest.raises(Away):
                    await asyncio.wait_for(late, LONG)
            finally:
                server.thaw()
            await answers_again(store)

    run(main())


def test_one_request_waits_once_for_all_its_calls(server: Server, run: Any) -> None:
    async def main() -> None:
        async with Address(server.port) as address, opened(server, LONG, address.port) as store:
            await store.put(entry())
            address.delay = 0.3
            with Patience(1.0):
                found = [await _outcome(store.get(["x"], "a")) for _ in range(10)]
            assert found.count([None]) <= 3
            assert isinstance(found[-1], Away)
            assert not store.breaker.open, "it is slow, and it answers"
            assert await store.get(["x"], "a") == [None], "the next request has its own time"

    run(main())


def test_who_left_is_not_waited_for(server: Server, run: Any) -> None:
    """A caller's task that is cancelled ends at once, though the driver waits for its query's cancellation."""

    async def main() -> None:
        async with opened(server, LONG * 10) as store:
            await store.put(entry())
            server.freeze()
            try:
                task = asyncio.create_task(store.get(["x"], "a"))
                await asyncio.sleep(0)
                task.cancel()
                done, _ = await asyncio.wait([task], timeout=LONG)
                assert done
                assert task.cancelled()
            finally:
                server.thaw()

    run(main())


# ---- sqlite ----


@contextlib.contextmanager
def locked(path: Any) -> Iterator[None]:
    """Another process writes to the file, and goes on."""
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        base.execute("ROLLBACK")
        base.close()


def test_a_locked_file_is_waited_for_once(tmp_path: Any, run: Any) -> None:
    async def main() -> None:
        store = stores.make(StateStorage("sqlite", path=str(tmp_path / "state.db"), timeout=1.0))
        assert isinstance(store, Guard)
        with locked(tmp_path / "state.db"):
            found = await asyncio.gather(*(store.put(entry()) for _ in range(20)), return_exceptions=True)
            assert {type(one) for one in found} == {Away}
            assert store.breaker.open
        await answers_again(store)
        await store.put(entry())
        await store.close()

    run(main())


def test_a_file_that_is_locked_for_a_moment(tmp_path: Any, run: Any) -> None:
    async def main() -> None:
        store = stores.make(StateStorage("sqlite", path=str(tmp_path / "state.db"), timeout=LONG))
        one = entry()
        with locked(tmp_path / "state.db"):
            put = asyncio.create_task(store.put(one))
            await asyncio.wait([put], timeout=0.7)  # longer than SQLite itself waits
            assert not put.done()
        await put
        assert await store.get([one.name], "a") == [b"1"]
        await store.close()

    run(main())


def test_nobody_else_reads_the_file(tmp_path: Any) -> None:
    async def main() -> None:
        store = stores.make(StateStorage("sqlite", path=str(tmp_path / "state.db")))
        await store.put(entry())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert modes == dict.fromkeys(("state.db", "state.db-wal", "state.db-shm"), 0o600)
        await store.close()

    asyncio.run(main())


def test_a_file_that_everybody_reads_is_told_of(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.db"
    path.touch()
    path.chmod(0o644)

    async def main() -> None:
        await stores.make(StateStorage("sqlite", path=str(path))).close()

    asyncio.run(main())
    assert "can be read by every user of this machine (mode 644)" in caplog.text


# ---- shares ----


def test_an_owner_pushes_out_its_own_entries_alone(tmp_path: Any, server: Server) -> None:
    sections = [
        StateStorage("memory", max_entries=40),
        StateStorage("memory", max_entries_per_key=20),
        StateStorage("sqlite", path=str(tmp_path / "state.db"), max_entries_per_key=20),
        StateStorage(server.kind, url=server.url, connection_string=server.url, max_entries_per_key=20),  # type: ignore[arg-type]
    ]

    async def main(section: StateStorage) -> None:
        store, place = stores.make(section), secrets.token_hex(8)
        own = [Entry(f"{place}a/{n}", {"a": b"1"}, time() + 600, owner=f"{place}a") for n in range(5)]
        flood = [Entry(f"{place}b/{n}", {"a": b"1"}, time() + 600, owner=f"{place}b") for n in range(100)]
        for one in own + flood:
            await store.put(one)
        assert await store.get([one.name for one in own], "a") == [b"1"] * 5, "nobody else's"
        left = [value is not None for value in await store.get([one.name for one in flood], "a")]
        most = section.max_entries_per_key or section.max_entries - 5
        assert most <= sum(left) <= most + 1
        assert left == sorted(left), "the oldest go first"
        await store.close()

    for section in sections:
        asyncio.run(main(section))


def test_in_memory_the_heaviest_owner_makes_room(tmp_path: Any) -> None:
    from dragoman.proxy.memory.stores.memory import MemoryStore

    async def main() -> None:
        store = MemoryStore(1000, max_bytes=100_000)
        await store.put(Entry("a/1", {"a": bytes(1000)}, time() + 600, owner="a"))
        for n in range(50):
            await store.put(Entry(f"b/{n}", {"a": bytes(10_000)}, time() + 600, owner="b"))
        assert await store.get(["a/1"], "a") == [bytes(1000)]
        assert await store.get(["b/49"], "a") == [bytes(10_000)]
        with pytest.raises(errors.GatewayError, match="too large"):
            await store.put(Entry("b/50", {"a": bytes(60_000)}, time() + 600, owner="b"))
        assert await store.get(["a/1", "b/49"], "a") == [bytes(1000), bytes(10_000)]
        with pytest.raises(errors.GatewayError, match="too large"):
            await store.append("b/49", [bytes(10_000)] * 5, time() + 600)
        assert await store.get(["a/1"], "a") == [bytes(1000)]

    asyncio.run(main())


# ---- secrets ----

URLS = [
    ("redis", "redis://:S3C/RET@127.0.0.1:1/0"),
    ("redis", "redis://S3C:RET/x@127.0.0.1:1/0"),
    ("redis", "redis://u:S3C%2FRET@127.0.0.1:1/0"),
    ("redis", "redis://u:S3C#RET@127.0.0.1:1/0"),
    ("redis", "redis://u:S3C?RET@127.0.0.1:1/0"),
    ("redis", "redis:S3C/RET"),
    ("redis", "http://:S3CRET@127.0.0.1:1/0"),
    ("postgres", "postgresql://u:S3C/RET@127.0.0.1:1/x"),
    ("postgres", "postgresql://u:S3C%2FRET@127.0.0.1:1/x"),
    ("postgres", "postgresql://127.0.0.1:1/x?password=S3CRET"),
    ("postgres", "host=127.0.0.1 port=1 password='S3C RET' dbname=x"),
    ("postgres", "host=127.0.0.1 port=1 password=S3CRET nonsense"),
    ("postgres", "host=S3C.RET.invalid port=1 password=S3C.RET"),
]


@pytest.mark.parametrize(("kind", "address"), URLS, ids=[address for _, address in URLS])
def test_no_part_of_a_password_is_shown(kind: str, address: str, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip({"postgres": "psycopg", "redis": "redis"}[kind])

    async def main() -> list[str]:
        try:
            store = stores.make(StateStorage(kind, connection_string=address, url=address, timeout=0.2))  # type: ignore[arg-type]
        except stores.Unusable as error:
            return [str(error)]
        with pytest.raises(errors.GatewayError) as caught:
            await store.get(["x"], "a")
        await store.close()
        return [caught.value.message, caught.value.detail]

    caplog.set_level(logging.DEBUG, "dragoman")
    shown = "\n".join([*asyncio.run(main()), caplog.text])
    assert "S3C" not in shown
    assert "RET" not in shown


# ---- limits of access keys ----


def limited_key() -> Limited:
    return Limited(f"key-{secrets.token_hex(6)}", requests_per_minute=1000, tokens_per_minute=10**6)


def test_a_frozen_redis_holds_up_the_first_requests_alone(redis_server: OwnRedis, monkeypatch: Any, caplog: Any, run: Any) -> None:
    from dragoman.proxy.keys import quota_redis

    monkeypatch.setattr(quota_redis, "PATIENCE", 0.5)
    one = limited_key()

    async def main() -> None:
        counters = quota_redis.RedisCounters(redis_server.url, LocalCounters())
        limits, caller = Quota(counters), Identity(one.name, limits=(one,))
        await limits.admit(caller, "chat")
        redis_server.freeze()
        try:
            await asyncio.gather(*(limits.admit(caller, "chat") for _ in range(20)))
            script, asked = counters._store.script, []

            async def counting(text: str, *rest: Any) -> Any:
                asked.append(text)
                return await script(text, *rest)

            counters._store.script = counting  # type: ignore[method-assign]
            headers = [await limits.admit(caller, "chat") for _ in range(50)]
            assert quota_redis._ADMIT not in asked
            assert headers[-1]["x-ratelimit-remaining-requests"] == str(1000 - 71), "the machine has counted all of them"
            limits.settle(caller, Usage(input=5, output=5), 0.0)
        finally:
            redis_server.thaw()
        assert await counters._breaker.closes(LONG)
        assert counters._paying is not None
        await counters._paying
        standing = await counters.admit(one)
        assert sum(bucket.tokens for bucket in standing.buckets) == 10, "what was used meanwhile is told, once"
        await counters.close()

    run(main())
    opened = [record for record in caplog.records if "on this machine only" in record.getMessage()]
    assert len(opened) == 1


def test_a_redis_that_only_reads_counts_nothing(redis_server: OwnRedis, run: Any) -> None:
    from dragoman.proxy.keys import quota_redis

    one = limited_key()

    async def main() -> None:
        counters = quota_redis.RedisCounters(redis_server.url, LocalCounters())
        assert (await counters.admit(one)).admitted
        redis_server.demote()
        try:
            for _ in range(3):
                assert (await counters.admit(one)).admitted
            assert counters._breaker.open
            counters.settle(one, 7, 0)
        finally:
            redis_server.demote(False)
        assert await counters._breaker.closes(LONG)
        assert counters._paying is not None
        await counters._paying
        assert sum(bucket.tokens for bucket in (await counters.admit(one)).buckets) == 7
        await counters.close()

    run(main())


# ---- a whole gateway ----


def section(server: Server, timeout: str) -> str:
    """The `state_storage` section for this server."""
    key = {"redis": "url", "postgres": "connection_string"}[server.kind]
    return f'state_storage: {{type: {server.kind}, {key}: "{server.url}", timeout: {timeout}}}\n'


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_paid_answer_outlives_a_restart_of_the_store(start: Start, server: Server, streamed: bool) -> None:
    """The store is away when the model's answer ends, and back before the caller's patience is."""
    talk, gate = Talk(), Gate()
    with Provider(talk.script) as provider:
        gateway = start(config(provider, section(server, "30s")))
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="alice-key", max_retries=0) as client:
            talk.says(Said(text="First."), Said(text="Paid for."), Said(text="Paid for.", gate=gate))
            client.responses.create(model="chat/m", input="Hi")
            if streamed:
                talk.answers.popleft() if hasattr(talk.answers, "popleft") else talk.answers.pop(0)
                with client.responses.stream(model="chat/m", input="Hi") as stream:
                    for event in stream:
                        if event.type == "response.output_text.delta":
                            server.stop()
                            gate.open()
                            server.start()
                            break
                    final = stream.get_final_response()
            else:
                server.stop()
                with _starting_again(server):
                    final = client.responses.create(model="chat/m", input="Hi")
            assert final.output_text == "Paid for."
            assert client.responses.retrieve(final.id).output_text == "Paid for."
        gateway.stop()


def test_no_model_is_paid_while_the_store_is_away(start: Start, server: Server) -> None:
    talk = Talk()
    key = {"redis": "url", "postgres": "connection_string"}[server.kind]
    section = f'state_storage: {{type: {server.kind}, {key}: "{server.url}", timeout: 1s}}\n'
    with Provider(talk.script) as provider:
        gateway = start(config(provider, section))
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="alice-key", max_retries=0) as client:
            talk.says(*[Said(text="Yes.")] * 3)
            client.responses.create(model="chat/m", input="Hi")
            server.freeze()
            try:
                for _ in range(5):
                    with pytest.raises(openai.InternalServerError, match="state storage"):
                        client.responses.create(model="chat/m", input="Hi")
                assert len(talk.requests) == 2, "the first one found out"
                assert client.responses.create(model="chat/m", input="Hi", store=False).output_text == "Yes."
            finally:
                server.thaw()


@contextlib.contextmanager
def _starting_again(server: Server) -> Iterator[None]:
    import threading

    thread = threading.Thread(target=server.start)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_background_response_whose_store_went_away_is_told_of_in_its_line(start: Start, server: Server) -> None:
    """Nobody left: it ended because what it said could not be kept."""
    gate, speech = Gate(), SPEECH["chat"]
    steps = [stream_head(), *map(chunk, speech.opening), wait(gate), *map(chunk, speech.words), until_closed]
    with Provider(steps) as provider:
        gateway = start(config(provider, section(server, "300ms")))
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="alice-key", max_retries=0) as client:
            client.responses.create(model="chat/m", input="Hi", background=True)
            server.freeze()
            try:
                gate.open()
                until(lambda: '"operation":"responses"' in gateway.log(), LONG)
            finally:
                server.thaw()
        line = next(line for line in gateway.log().splitlines() if '"operation":"responses"' in line)
        assert orjson.loads(line)["error"] == "state_unavailable"
        gateway.stop()
