"""The control store in a gateway: made, used, counted and revoked while it runs; and what happens while the store is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from tornado.netutil import bind_sockets

from dragoman import conf
from dragoman.conf.model import Control
from dragoman.proxy.control import control as module
from dragoman.proxy.control import usage
from dragoman.proxy.control.store import migrate

from ..gateway.inside import Inside
from ..gateway.sockets import connected
from ..proxy.kinds import postgres
from .conftest import section
from .using import ME, looped, opened, rows, until

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers: [{model: demo/*}]
prices: {"demo/*": {input: 1000, output: 1000}}
"""
ASKED = {"model": "demo/echo", "messages": [{"role": "user", "content": "Hi there"}]}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "EVERY", 0.02)
    monkeypatch.setattr(usage, "AGAIN", 0.05)
    monkeypatch.setattr(module, "AGAIN", 0.05)


class Asking:
    """A gateway over a store, and a client of it."""

    def __init__(self, gateway: Inside, http: httpx.AsyncClient) -> None:
        self.gateway, self.http = gateway, http

    async def status(self, key: str, **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await self.http.post("/v1/chat/completions", json=ASKED, headers={"authorization": f"Bearer {key}", **named})).status_code

    async def is_known(self, key: str) -> bool:
        return await self.status(key) == 200


@contextlib.asynccontextmanager
async def gateway(control: Control, more: str = "") -> AsyncIterator[Asking]:
    async with (
        Inside(CONFIG + section(control) + more) as running,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}", timeout=20) as http,
    ):
        yield Asking(running, http)


@looped
async def test_a_key_lives_while_the_gateway_runs(control):
    async with opened(control) as (store, registry), gateway(control) as asking:
        assert await asking.status("dk-unknown") == 401
        _, secret = await registry.create_key("alice", {"team": "ml"}, ME)
        await until(lambda: asking.is_known(secret.text))
        assert await asking.status(secret.text, x_dragoman_user="bob") == 200
        counted = "SELECT sum(requests), sum(cost_nano) FROM dragoman_user_sums WHERE hours = 24 AND user_name = 'bob'"
        await until(lambda: _is(store, counted, (1, 4_000_000)))
        await registry.change_key("alice", {"models": ["other"]}, ME)

        async def forbidden():
            return await asking.status(secret.text) == 403

        await until(forbidden)
        await registry.revoke_key("alice", ME)

        async def refused():
            return await asking.status(secret.text) == 401

        await until(refused, 5.0)
        assert (await asking.http.get("/readyz")).json() == {"status": "ok"}


@looped
async def test_a_key_is_revoked_while_its_answers_come(control):
    """What was admitted comes to its end and is counted; the connection begins nothing else."""
    async with opened(control) as (store, registry), gateway(control) as asking:
        _, secret = await registry.create_key("alice", {}, ME)
        await until(lambda: asking.is_known(secret.text))
        key = {"authorization": f"Bearer {secret.text}"}
        async with connected(asking.gateway, **key) as socket:
            slow = ASKED | {"model": "demo/slow", "stream": True}
            async with asking.http.stream("POST", "/v1/chat/completions", json=slow, headers=key) as answer:
                lines = answer.aiter_lines()
                while "content" not in await anext(lines):
                    pass
                await registry.revoke_key("alice", ME)

                async def refused():
                    return await asking.status(secret.text) == 401

                await until(refused, 5.0)
                assert [line async for line in lines if line][-1] == "data: [DONE]"
            socket.create(model="demo/echo", input="Hi")
            (event,) = await socket.response()
            assert (event["status"], event["error"]["code"]) == (401, "invalid_api_key")
            assert await socket.closed() == 1008
        slow_ones = "SELECT count(*), sum(output) FROM dragoman_usage WHERE model = 'slow' AND status = 200 AND error = ''"
        await until(lambda: _is(store, slow_ones, (1, 2)))


async def _is(store, query, row):
    ((*found,),) = await rows(store, query)
    return [int(value or 0) for value in found] == list(row)


@looped
async def test_keys_of_the_file_and_networks(control):
    async with opened(control) as (_, registry):
        _, secret = await registry.create_key("far", {"allow_from": ["10.0.0.0/8"]}, ME)
        _, near = await registry.create_key("near", {"allow_from": ["127.0.0.0/8"]}, ME)
        async with gateway(control, "access_keys: [{key: in-the-file, name: f}]\n") as asking:
            assert await asking.status("in-the-file") == 200
            assert await asking.status(secret.text) == 403
            assert await asking.status(near.text) == 200


@looped
async def test_budgets_survive_a_restart(control):
    async with opened(control) as (store, registry):
        _, secret = await registry.create_key("alice", {"budget": {"usd": 0.01, "per": "month"}}, ME)
        async with gateway(control) as asking:
            statuses = [await asking.status(secret.text) for _ in range(4)]
            assert statuses == [200, 200, 200, 429], "each costs 0.004"
        assert await _is(store, "SELECT sum(requests), sum(cost_nano) FROM dragoman_team_sums WHERE hours = 24", (4, 12_000_000))
        async with gateway(control) as asking:
            assert await asking.status(secret.text) == 429
            await registry.change_key("alice", {"budget": {"usd": 0.02, "per": "month"}}, ME)
            await until(lambda: asking.is_known(secret.text))


@looped
async def test_budgets_of_keys_of_the_file_survive_a_restart(control):
    key = "access_keys: [{key: in-the-file, name: f, budget: {usd: 0.01, per: month}}]\n"
    async with gateway(control, key) as asking:
        assert [await asking.status("in-the-file") for _ in range(4)] == [200, 200, 200, 429], "each costs 0.004"
    async with gateway(control, key) as asking:
        assert await asking.status("in-the-file") == 429


@looped
async def test_limits_of_a_team_and_its_users(control):
    async with opened(control) as (_, registry):
        await registry.set_team("ml", {"requests_per_minute": 3}, ME)
        await registry.set_user("ml", "bob", {"requests_per_minute": 1}, ME)
        _, first = await registry.create_key("first", {"team": "ml"}, ME)
        _, second = await registry.create_key("second", {"team": "ml"}, ME)
        async with gateway(control) as asking:
            assert [await asking.status(key.text) for key in (first, second)] == [200, 200]
            assert [await asking.status(first.text, x_dragoman_user="bob") for _ in range(2)] == [200, 429]
            assert await asking.status(second.text) == 429


@looped
async def test_a_user_above_its_limit_takes_nothing_from_its_team(control):
    async with opened(control) as (_, registry):
        await registry.set_team("ml", {"requests_per_minute": 3}, ME)
        await registry.set_user("ml", "bob", {"requests_per_minute": 1}, ME)
        _, key = await registry.create_key("alice", {"team": "ml"}, ME)
        async with gateway(control) as asking:
            assert [await asking.status(key.text, x_dragoman_user="bob") for _ in range(5)] == [200, 429, 429, 429, 429]
            assert [await asking.status(key.text) for _ in range(3)] == [200, 200, 429]


# ---- a store that is away ----


class Relay:
    """A TCP relay to PostgreSQL, which a test cuts and mends."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._open: set[asyncio.StreamWriter] = set()
        self._up = True
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Relay:
        (sock,) = bind_sockets(0, "127.0.0.1")
        self.port = sock.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=sock)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        self._up = False
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        self._up = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(task := asyncio.current_task())
        task.add_done_callback(self._tasks.discard)
        if not self._up:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection(*self._to)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
        self._open -= {writer, back}

    @staticmethod
    async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
def server(tmp_path) -> Iterator[Control]:
    with postgres() as address:
        (tmp_path / "kept").mkdir()
        control = Control("postgres", str(tmp_path / "kept"), connection_string=address)
        migrate(control)
        yield control


def through(control: Control, relay: Relay) -> Control:
    """The same store, through a relay."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    options = conninfo_to_dict(control.connection_string) | {"host": "127.0.0.1", "port": relay.port, "sslmode": "disable"}
    return Control("postgres", control.folder, connection_string=make_conninfo(**options).replace("'", "''"))


def place(control: Control) -> tuple[str, int]:
    from psycopg.conninfo import conninfo_to_dict

    options = conninfo_to_dict(control.connection_string)
    return options.get("host", "127.0.0.1"), int(options.get("port", 5432))


@looped
async def test_a_server_that_restarts_under_load_fails_no_request(server, caplog):
    async with opened(server) as (store, registry), Relay(*place(server)) as relay:
        _, secret = await registry.create_key("alice", {"budget": {"usd": 100}}, ME)
        with caplog.at_level(logging.CRITICAL):
            async with gateway(through(server, relay)) as asking:
                metrics = asking.gateway.gateway.metrics
                away, waiting = metrics.control_away, metrics.usage_waiting
                statuses: list[int] = []
                going = True

                async def load() -> None:
                    while going:
                        statuses.append(await asking.status(secret.text))

                callers = [asyncio.create_task(load()) for _ in range(8)]
                for _ in range(3):
                    count = len(statuses)
                    await until(lambda count=count: len(statuses) > count + 20)
                    relay.cut()
                    count = len(statuses)
                    await until(lambda count=count: len(statuses) > count + 20)
                    await until(lambda: (away._value.get(), waiting._value.get() > 0) == (1, True))
                    relay.mend()
                    await until(lambda: not asking.gateway.gateway.control.stale, 20.0)
                going = False
                await asyncio.gather(*callers)
                assert set(statuses) == {200}
                counted = "SELECT sum(requests), sum(cost_nano) FROM dragoman_team_sums WHERE hours = 24"
                await until(lambda: _is(store, counted, (len(statuses), len(statuses) * 4_000_000)), 20.0)
                assert await _is(store, "SELECT count(*), 0 FROM dragoman_usage", (len(statuses), 0))
                assert [metric._value.get() for metric in (metrics.usage_lost, waiting, away)] == [0, 0, 0]


@looped
async def test_a_start_without_the_store_uses_the_keys_known_last(server, caplog):
    async with opened(server) as (_, registry), Relay(*place(server)) as relay:
        _, secret = await registry.create_key("alice", {}, ME)
        away = through(server, relay)
        async with gateway(away) as asking:
            assert await asking.status(secret.text) == 200
        relay.cut()
        with caplog.at_level(logging.CRITICAL):
            async with gateway(away) as asking:
                assert await asking.status(secret.text) == 200
                assert await asking.status("dk-unknown") == 401
                ready = await asking.http.get("/readyz")
                assert ready.status_code == 200
                assert "the control store does not answer; its keys are used as of 20" in ready.json()["control"]
                assert asking.gateway.gateway.metrics.control_away._value.get() == 1
                await registry.revoke_key("alice", ME)
                relay.mend()

                async def refused():
                    return await asking.status(secret.text) == 401

                await until(refused, 20.0)
                assert "control" not in (await asking.http.get("/readyz")).json()


@looped
async def test_the_first_start_without_the_store(tmp_path, caplog):
    pytest.importorskip("psycopg", reason="needs psycopg (dragoman[postgres])")
    nowhere = Control("postgres", str(tmp_path / "kept"), connection_string="postgresql://x:geheim@127.0.0.1:1/x")
    async with gateway(nowhere, "access_keys: [{key: in-the-file, name: f}]\n") as asking:
        assert await asking.status("in-the-file") == 200
        assert await asking.status("dk-unknown") == 401
        assert "none of its keys is known" in (await asking.http.get("/readyz")).json()["control"]
    assert "geheim" not in caplog.text


def test_nothing_is_imported_without_it():
    import subprocess
    import sys

    code = (
        "import sys, dragoman.proxy.process.serve, dragoman.proxy.cli; assert not {'sqlalchemy', 'alembic', 'authlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{store: sqlite}", "control.path: is missing"),
        ("{store: postgres}", "control.connection_string: is missing"),
        ("{store: sqlite, path: a, connection_string: b}", "control.connection_string: belongs to store postgres"),
        ("{store: redis}", "control.store: must be one of sqlite, postgres"),
        ("{path: a}", "control.store: is missing"),
        ("{store: sqlite, path: a, admin: {password: a, password_sha256: " + "0" * 64 + "}}", "needs either password"),
        ("{store: sqlite, path: a, admin: {password_sha256: abc}}", "must be pbkdf2_sha256"),
        ("{store: sqlite, path: a, admin: {password: $NONE}}", "NONE is not set"),
        ("{store: sqlite, path: a, admin: {oidc: {issuer: 'https://x'}}}", "client_id: is missing"),
        ("{store: sqlite, path: a, retention: 0}", "control.retention"),
    ],
)
def test_configurations_that_are_refused(text, message):
    with pytest.raises(conf.ConfigError) as caught:
        conf.loads(f"model_providers: [{{model: demo/*}}]\ncontrol: {text}", environ={})
    assert message in str(caught.value)
