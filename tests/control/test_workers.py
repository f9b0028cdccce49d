"""Keys of the control store over several workers and replicas: limits under a storm of callers, revocation, and a kill."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections import Counter
from typing import Any

import pytest

from ..conftest import Running, Start, free_port
from ..gateway.spoken import PATHS
from ..gateway.wire import ask, request
from ..proxy.kinds import redis
from .conftest import section
from .using import ME, opened, rows

pytestmark = pytest.mark.slow

CALLERS, LIMIT = 200, 50
CONFIG = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
model_providers: [{model: demo/*}]
prices: {"demo/*": {input: 1000, output: 1000}}
"""
BODY = {"model": "demo/echo", "messages": [{"role": "user", "content": "Hi there"}]}  # costs 0.004 USD


def said(key: str) -> bytes:
    return request(PATHS["chat"], BODY, authorization=f"Bearer {key}")


async def storm(data: bytes, ports: list[int]) -> Counter[int]:
    """The statuses of requests, one for each of these ports, all sent when every connection is there."""
    connections = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for port in ports))

    async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        writer.write(data)
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return int(line.split(b" ")[1])

    return Counter(await asyncio.gather(*(call(*connection) for connection in connections)))


def stormed(data: bytes, *gateways: Running, callers: int = CALLERS) -> Counter[int]:
    """Storm these gateways with so many callers in all."""
    ports = [gateways[number % len(gateways)].port for number in range(callers)]

    async def main() -> Counter[int]:
        async with asyncio.timeout(200):
            return await storm(data, ports)

    return asyncio.run(main())


def made(control: Any, name: str, **limits: Any) -> str:
    async def main() -> str:
        async with opened(control) as (_, registry):
            return (await registry.create_key(name, limits, ME))[1].text

    return asyncio.run(main())


def status(gateway: Running, key: str) -> int:
    return ask(gateway.port, said(key)).status


def test_two_workers_admit_exactly_the_limit(control, start: Start) -> None:
    key = made(control, f"storm-{secrets.token_hex(4)}", requests_per_minute=LIMIT)
    gateway = start(CONFIG + section(control), "--workers", "2")
    assert stormed(said(key), gateway) == {200: LIMIT, 429: CALLERS - LIMIT}


def test_three_replicas_admit_exactly_the_limit_with_redis(control, start: Start) -> None:
    """And a budget is exceeded by no more than what was running. A replica that Redis kept waiting counts by itself, and says so."""
    with redis() as url:
        config = CONFIG + section(control) + f"state_storage: {{type: redis, url: '{url}'}}\n"
        key = made(control, f"storm-{secrets.token_hex(4)}", requests_per_minute=LIMIT)
        poor = made(control, f"poor-{secrets.token_hex(4)}", budget={"usd": 0.02, "per": "month"})
        replicas = [start(config) for _ in range(3)]
        found = stormed(said(key), *replicas)
        if not any("limits are counted on this machine only" in replica.log() for replica in replicas):
            assert found == {200: LIMIT, 429: CALLERS - LIMIT}
        assert set(found) == {200, 429}
        assert LIMIT <= found[200] <= LIMIT * len(replicas)
        first = stormed(said(poor), *replicas, callers=30)
        assert set(first) <= {200, 429}
        assert first[200] >= 5
        deadline = time.monotonic() + 50
        while stormed(said(poor), *replicas, callers=3) != {429: 3}:
            assert time.monotonic() < deadline


def test_a_revoked_key_is_refused_by_every_worker(control, start: Start) -> None:
    gateway = start(CONFIG + section(control), "--workers", "2")
    key = made(control, "alice")

    def all_say(wanted: int) -> bool:
        return stormed(said(key), gateway, callers=40) == {wanted: 40}

    deadline = time.monotonic() + 20
    while not all_say(200):
        assert time.monotonic() < deadline

    async def revoke() -> None:
        async with opened(control) as (_, registry):
            await registry.revoke_key("alice", ME)

    asyncio.run(revoke())
    deadline = time.monotonic() + 5
    while not all_say(401):
        assert time.monotonic() < deadline


def test_what_a_killed_worker_had_gathered_is_not_lost(control, start: Start) -> None:
    """But for the last second."""
    key = made(control, "alice", budget={"usd": 0.02, "per": "month"})
    config = CONFIG + section(control)
    gateway = start(config)
    assert [status(gateway, key) for _ in range(3)] == [200] * 3
    time.sleep(2.5)  # what is lost is what came within the last second: nothing tells when that is over
    os.kill(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait()
    gateway = start(config)
    assert Counter(status(gateway, key) for _ in range(4)) == {200: 2, 429: 2}
    gateway.stop()

    async def counted() -> Any:
        async with opened(control) as (store, _):
            return await rows(store, "SELECT sum(requests), sum(cost_nano) FROM dragoman_team_sums WHERE hours = 24")

    ((requests, nano),) = asyncio.run(counted())
    assert (int(requests), int(nano)) == (7, 20_000_000)


def test_a_gateway_with_several_workers_asks_for_a_login(control, start: Start) -> None:
    admin = free_port()
    listeners = CONFIG.replace("port: PORT}]", f"port: PORT}}, {{type: admin, port: {admin}}}]")
    gateway = start(listeners + section(control, ", admin: {password: sesame}"), "--workers", "2")
    assert ask(admin, b"GET /api/keys HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 401
    assert ask(admin, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 200
    answer = ask(admin, request("/api/session", {"password": "sesame"}))
    assert answer.json["session"]["role"] == "admin"
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert ask(admin, f"GET /api/keys HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode()).json == {"keys": []}
    gateway.stop()
    assert "sesame" not in gateway.log()
