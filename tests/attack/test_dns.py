"""Names whose look-up hangs, fails or lies: they harm nobody else, and the last known addresses bridge the time."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from dragoman.codecs import errors
from dragoman.proxy.wire import resolver
from dragoman.proxy.wire.resolver import Address
from dragoman.proxy.wire.upstream import UpstreamRequest

from ..proxy.loops import looped, options
from ..scripted import Provider, respond
from .apart import NAMES_SERVER, in_namespace, run

THERE = [Address(socket.AF_INET, ("127.0.0.1", 0))]
MANY = 8  # names; libuv's pool has four threads


class Names:
    """A name server as a look-up: names that begin with `slow` hang until released, others are what `answers` says."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Address] | OSError] = {}
        self.hangs = lambda host: host.startswith("slow")
        self.asked: list[str] = []
        self.running = 0
        self._changed = threading.Condition()
        self._released = False

    def look_up(self, host: str) -> list[Address]:
        with self._changed:
            self.asked.append(host)
            self.running += 1
            self._changed.notify_all()
            while self.hangs(host) and not self._released:
                self._changed.wait()
            self.running -= 1
            self._changed.notify_all()
        answer = self.answers.get(host, THERE)
        if isinstance(answer, OSError):
            raise answer
        return answer

    def release(self) -> None:
        with self._changed:
            self._released = True
            self._changed.notify_all()

    async def seen(self, condition) -> None:
        await asyncio.to_thread(self._wait, condition)

    def _wait(self, condition) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, 20)


def at(provider: Provider, name: str, **given) -> UpstreamRequest:
    return UpstreamRequest(f"http://{name}:{provider.port}/", "POST", connect_timeout=None, **given)


@pytest.fixture
def names():
    found = Names()
    yield found
    found.release()


@pytest.fixture
def provider():
    with Provider([respond(b"x", connection="close")]) as provider:
        yield provider


@looped
async def test_names_that_hang_harm_only_themselves(client, names, provider):
    async with options(look_up=names.look_up) as client:
        hanging = [client.fetch(at(provider, f"slow{number}.test")) for number in range(MANY)]
        await names.seen(lambda: names.running == MANY)
        assert (await client.fetch(at(provider, "good.test"))).body == b"x"
        assert not any(call.done() for call in hanging)
        names.release()
        assert [(await call).body for call in hanging] == [b"x"] * MANY


@looped
async def test_a_name_that_hangs_is_a_timeout_of_its_own(client, names, provider):
    async with options(look_up=names.look_up) as client:
        request = UpstreamRequest(f"http://slow.test:{provider.port}/", "POST", connect_timeout=0.1)
        with pytest.raises(errors.Timeout) as caught:
            await client.fetch(request)
        assert (caught.value.timer, caught.value.sent, request.sendings) == ("connect", False, 0)
        assert "resolving its name" in caught.value.detail


@looped
async def test_one_look_up_of_a_name_at_a_time(client, names, provider):
    async with options(look_up=names.look_up) as client:
        calls = [client.fetch(at(provider, "slow.test")) for _ in range(50)]
        await names.seen(lambda: names.running == 1)
        calls[0].cancel()  # the others still wait for what it waited for
        calls.append(client.fetch(at(provider, "slow.test")))
        await client.fetch(at(provider, "good.test"))
        assert names.asked == ["slow.test", "good.test"]
        names.release()
        assert [(await call).body for call in calls[1:]] == [b"x"] * 50


@looped
async def test_the_threads_are_few(client, names, provider, monkeypatch):
    monkeypatch.setattr(resolver, "MOST_LOOKUPS", 3)
    async with options(look_up=names.look_up) as client:
        calls = [client.fetch(at(provider, f"slow{number}.test")) for number in range(5)]
        await names.seen(lambda: names.running == 3)
        assert (await client.fetch(at(provider, "127.0.0.1"))).body == b"x"  # an address needs no thread
        assert len(names.asked) == 3
        names.release()
        assert [(await call).body for call in calls] == [b"x"] * 5


@looped
async def test_the_last_addresses_bridge_a_look_up_that_hangs(client, names, provider, monkeypatch):
    monkeypatch.setattr(resolver, "PATIENCE", 0.01)
    async with options(look_up=names.look_up) as client:
        await client.fetch(at(provider, "up.test"))
        names.hangs = lambda host: host == "up.test"
        for _ in range(3):
            assert (await client.fetch(at(provider, "up.test"))).body == b"x"
        assert names.asked == ["up.test"] * 2  # the second is still under way


@looped
@pytest.mark.parametrize("code", [socket.EAI_AGAIN, socket.EAI_FAIL, 5])
async def test_the_last_addresses_bridge_a_look_up_that_fails(client, names, provider, code):
    async with options(look_up=names.look_up) as client:
        await client.fetch(at(provider, "up.test"))
        names.answers["up.test"] = socket.gaierror(code, "no")
        for _ in range(3):
            assert (await client.fetch(at(provider, "up.test"))).body == b"x"
        assert len(names.asked) == 4


@looped
async def test_a_name_that_no_longer_exists_is_not_bridged(client, names, provider):
    async with options(look_up=names.look_up) as client:
        await client.fetch(at(provider, "up.test"))
        for code in (socket.EAI_NONAME, socket.EAI_AGAIN):  # nor does a failure after that bring it back
            names.answers["up.test"] = socket.gaierror(code, "no such name")
            with pytest.raises(errors.Refused) as caught:
                await client.fetch(at(provider, "up.test"))
            assert (caught.value.sent, "no such name" in caught.value.detail) == (False, True)


@looped
async def test_old_addresses_are_forgotten(client, names, provider, monkeypatch):
    async with options(look_up=names.look_up) as client:
        await client.fetch(at(provider, "up.test"))
        monkeypatch.setattr(resolver, "LONGEST_KEPT", -1.0)
        names.answers["up.test"] = socket.gaierror(socket.EAI_AGAIN, "no")
        with pytest.raises(errors.Refused):
            await client.fetch(at(provider, "up.test"))


@looped
async def test_a_name_that_moved_is_followed(client, names, provider):
    async with options(look_up=names.look_up) as client:
        names.answers["up.test"] = [Address(socket.AF_INET, ("127.0.0.9", 0))]
        with pytest.raises(errors.Refused):
            await client.fetch(at(provider, "up.test"))
        names.answers["up.test"] = THERE
        assert (await client.fetch(at(provider, "up.test"))).body == b"x"


@looped
@pytest.mark.parametrize("answer", [[], ValueError("what is this")])
async def test_a_look_up_without_sense_is_a_refusal(client, answer):
    def look_up(host):
        if isinstance(answer, ValueError):
            raise answer
        return answer

    async with options(look_up=look_up) as client:
        with pytest.raises(errors.Refused):
            await client.fetch(UpstreamRequest("http://up.test/"))


HANGING_AT_EXIT = """
import asyncio, sys, threading
from dragoman.codecs import errors
from dragoman.proxy.wire.upstream import UpstreamClient, UpstreamRequest

async def main():
    client = UpstreamClient(force_instance=True, look_up=lambda host: threading.Event().wait())
    try:
        await client.fetch(UpstreamRequest("http://slow.test/", connect_timeout=0.05))
    except errors.Timeout:
        print("timeout")
    client.close()

asyncio.run(main())
"""


def test_a_look_up_that_hangs_does_not_hold_the_exit() -> None:
    assert run(HANGING_AT_EXIT) == "timeout\n"


WITH_A_NAME_SERVER = (
    NAMES_SERVER
    + """
import asyncio, sys
import uvloop
from tests.scripted import Provider, respond
from dragoman.proxy.wire.upstream import UpstreamClient, UpstreamRequest

async def main():
    client = UpstreamClient(force_instance=True)
    with Provider([respond(b"x", connection="close")]) as provider:
        url = f"http://%s.test:{provider.port}/"
        hanging = [client.fetch(UpstreamRequest(url % f"slow{n}", "POST", connect_timeout=None)) for n in range(8)]
        await provider.seen(lambda: len(asked) >= 8)
        print((await client.fetch(UpstreamRequest(url % "good", "POST"))).body, any(call.done() for call in hanging))
        for call in hanging:
            call.cancel()
    client.close()

(uvloop if sys.argv[1] == "uvloop" else asyncio).run(main())
"""
)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_with_the_systems_resolver_and_a_name_server_that_swallows_questions(loop: str) -> None:
    assert in_namespace(WITH_A_NAME_SERVER, loop) == "b'x' False\n"
