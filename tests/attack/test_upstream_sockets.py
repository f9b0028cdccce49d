"""Upstreams whose sockets misbehave: they harm nobody else, and a request that may have been read is not sent twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from dragoman.codecs import errors
from dragoman.proxy.wire import pool
from dragoman.proxy.wire.connect import in_turn
from dragoman.proxy.wire.resolver import Address
from dragoman.proxy.wire.upstream import UpstreamRequest

from ..proxy.loops import fault, looped, options
from ..scripted import Provider, respond, until_closed
from .apart import in_namespace, run


@contextlib.contextmanager
def deaf(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """The port of a listener whose queue is full: the kernel drops what else comes, as a firewall does."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, port), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def v4(*hosts: str) -> list[Address]:
    return [Address(socket.AF_INET, (host, 0)) for host in hosts]


# ---- several addresses ----


def test_the_families_take_turns() -> None:
    four, six = [Address(socket.AF_INET, (str(n), 0)) for n in range(4)], [Address(socket.AF_INET6, (str(n), 0)) for n in range(2)]
    assert in_turn([*four, *six]) == [four[0], six[0], four[1], six[1], four[2], four[3]]
    assert in_turn([six[0], *four[:2]]) == [six[0], four[0], four[1]]
    assert in_turn([]) == []


@looped
async def test_an_address_that_drops_everything_does_not_hold_up_the_others_of_its_family(client):
    with Provider([respond(b"x")]) as provider, deaf("127.0.0.2", provider.port), deaf("127.0.0.3", provider.port):
        async with options(look_up=lambda host: v4("127.0.0.2", "127.0.0.3", "127.0.0.1")) as client:
            # far less than the kernel takes to give up an address
            request = UpstreamRequest(f"http://up.test:{provider.port}/", "POST", connect_timeout=20)
            assert (await client.fetch(request)).body == b"x"


@looped
async def test_addresses_that_refuse_are_passed_at_once(client, monkeypatch):
    with Provider([respond(b"x")]) as provider:
        monkeypatch.setattr("dragoman.proxy.wire.connect.DELAY", 3600.0)
        async with options(look_up=lambda host: v4("127.0.0.2", "127.0.0.3", "127.0.0.1")) as client:
            assert (await client.fetch(UpstreamRequest(f"http://up.test:{provider.port}/", "POST"))).body == b"x"
        async with options(look_up=lambda host: v4("127.0.0.2", "127.0.0.3")) as client:
            with pytest.raises(errors.Refused) as caught:
                await client.fetch(UpstreamRequest(f"http://up.test:{provider.port}/", "POST"))
        assert caught.value.sent is False
        assert all(f"Connection refused ({host})" in caught.value.detail for host in ("127.0.0.2", "127.0.0.3"))


@looped
async def test_a_connection_that_comes_too_late_is_closed(client, monkeypatch):
    """All addresses are tried at once: one connection is used, and none of the others stays."""
    monkeypatch.setattr("dragoman.proxy.wire.connect.DELAY", 0.0)
    async with Provider([respond(b"x")]) as provider, options(look_up=lambda host: v4(*["127.0.0.1"] * 5)) as client:
        for _ in range(3):
            assert (await client.fetch(UpstreamRequest(f"http://up.test:{provider.port}/", "POST"))).body == b"x"
        await provider.seen(lambda: [connection.closed_by for connection in provider.connections].count("") == 1)


@looped
async def test_giving_up_leaves_no_socket(client):
    before = len(os.listdir("/proc/self/fd"))
    with deaf() as port:
        calls = [client.fetch(UpstreamRequest(f"http://127.0.0.1:{port}/", "POST", connect_timeout=0.05)) for _ in range(5)]
        for call in calls[2:]:
            call.cancel()
        for call in calls[:2]:
            with pytest.raises(errors.Timeout) as caught:
                await call
            assert "connecting to 127.0.0.1" in caught.value.detail
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) <= before


# ---- one upstream and the others ----


@looped
async def test_an_upstream_that_does_not_answer_takes_few_descriptors(client, monkeypatch):
    monkeypatch.setattr(pool, "MOST_OPENING", 3)
    with deaf() as port, Provider([respond(b"x")]) as provider:
        before = len(os.listdir("/proc/self/fd"))
        hanging = [client.fetch(UpstreamRequest(f"http://127.0.0.1:{port}/", "POST", connect_timeout=None)) for _ in range(50)]
        assert (await client.fetch(UpstreamRequest(provider.url, "POST"))).body == b"x"
        assert len(os.listdir("/proc/self/fd")) <= before + 3 + 4  # and both ends of the good one, and what the loop needs
        late = await fault(client, UpstreamRequest(f"http://127.0.0.1:{port}/", "POST", connect_timeout=0.05))
        assert (type(late), "3 other connections are being opened" in late.detail) == (errors.Timeout, True)
        for call in hanging:
            call.cancel()
        await asyncio.wait(hanging)


@looped
async def test_who_waits_for_a_turn_gets_it(client, monkeypatch):
    monkeypatch.setattr(pool, "MOST_OPENING", 2)
    with Provider([respond(b"x")]) as provider:
        calls = [client.fetch(UpstreamRequest(provider.url, "POST")) for _ in range(30)]
        calls[5].cancel()
        assert {response.body for response in await asyncio.gather(*calls[:5], *calls[6:])} == {b"x"}


NO_DESCRIPTORS = """
import asyncio, os, resource, sys
import uvloop
from dragoman.codecs import errors
from dragoman.proxy.wire.upstream import UpstreamClient, UpstreamRequest

async def main():
    client = UpstreamClient(force_instance=True)
    await asyncio.gather(*(client.fetch(UpstreamRequest(sys.argv[1], "POST")) for _ in range(3)))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            os.dup(0)
    except OSError:
        pass
    for _ in range(2):
        print((await client.fetch(UpstreamRequest(sys.argv[2], "POST"))).body)
    hanging = [asyncio.ensure_future(client.fetch(UpstreamRequest(sys.argv[2] + "hang", "POST"))) for _ in range(4)]
    done, _ = await asyncio.wait(hanging, return_when=asyncio.FIRST_COMPLETED)
    print(len(done), done.pop().exception().detail.partition(": ")[2])  # no idle one is left to make room
    client.close()

(uvloop if sys.argv[3] == "uvloop" else asyncio).run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_without_a_descriptor_left_the_longest_idle_connection_makes_room(loop: str) -> None:
    with (
        Provider([respond(b"x")]) as first,
        Provider(lambda request: [until_closed if "hang" in request.target else respond(b"y")]) as second,
    ):
        written = run(NO_DESCRIPTORS, first.url, second.url + "/", loop)
        assert written == "b'y'\nb'y'\n1 [Errno 24] Too many open files\n"


# ---- an answer that does not come ----


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no TCP_USER_TIMEOUT")
@looped
async def test_bytes_that_nobody_acknowledges_end_the_connection(client, monkeypatch):
    monkeypatch.setattr(pool, "UNACKNOWLEDGED", 0.3)
    with Provider([until_closed], early=True) as provider:  # reads nothing: its window closes
        request = UpstreamRequest(provider.url, "POST", body=bytes(32 << 20), first_byte_timeout=None)
        lost = await fault(client, request)
        assert (type(lost), lost.sent, request.sendings) == (errors.Refused, True, 1)
        assert "acknowledging" in lost.message


# the loopback is slow: what the server sends last waits behind other packets while the client sends its request
KEEP_ALIVE_RACE = """
import asyncio, socket, ssl, subprocess, sys
import uvloop
from tests.scripted import Gate, Provider, close, respond, tls_contexts, wait
from dragoman.proxy.wire.upstream import UpstreamClient, UpstreamRequest

subprocess.run(["ip", "link", "set", "lo", "mtu", "1500"], check=True)
subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "200kbit", "burst", "2kb", "limit", "1mb"], check=True)
server, trust = tls_contexts() if sys.argv[2] == "secure" else (None, None)
gate = Gate()

def script(request):
    return [respond(b"y")] if request.connection else [respond(b"x"), wait(gate), close]

async def main():
    client = UpstreamClient(force_instance=True, ssl_context=trust)
    with Provider(script, tls=server) as provider:
        await client.fetch(UpstreamRequest(provider.url, "POST"))
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(10):
            other.sendto(bytes(1400), ("127.0.0.1", 9))
        gate.open()
        provider.wait_for(lambda: provider.connections[0].closed_by)  # its FIN is on the way; the loop is held up meanwhile
        request = UpstreamRequest(provider.url, "POST", body=bytes(int(sys.argv[3])))
        print((await client.fetch(request)).body, request.sendings, len(provider.requests))
    client.close()

(uvloop if sys.argv[1] == "uvloop" else asyncio).run(main())
"""


@pytest.mark.parametrize("size", ["0", "8000"])
@pytest.mark.parametrize("secure", ["plain", "secure"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_close_that_crosses_the_request_is_seen_as_one(loop: str, secure: str, size: str) -> None:
    """The server decided to close before anything of the request had reached it: it is sent anew, once, and that is counted."""
    assert in_namespace(KEEP_ALIVE_RACE, loop, secure, size) == "b'y' 2 2\n"


# ---- heads that make no sense ----

FIELD = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n%b: %b\r\n\r\nx"

ABSURD = {
    "status 999": b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 No\r\nContent-Length: 0\r\n\r\n",
    "status 000": b"HTTP/1.1 000 No\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
    "status 2000": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status -1": b"HTTP/1.1 -1 OK\r\nContent-Length: 0\r\n\r\n",
    "status in other digits": "HTTP/1.1 ２００ OK\r\nContent-Length: 0\r\n\r\n".encode(),
    "no status": b"HTTP/1.1\r\n\r\n",
    "version 9": b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a flood of 100": b"HTTP/1.1 100 Continue\r\n\r\n" * 2000,
    "a flood of 199 with heads": (b"HTTP/1.1 199 More\r\n" + b"a: b\r\n" * 5000 + b"\r\n") * 101,
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "a head of a megabyte": b"HTTP/1.1 200 OK\r\na: " + b"x" * (1 << 20) + b"\r\n\r\n",
    "ten thousand fields": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000 * 2 + b"\r\n",
    "a field without an end": b"HTTP/1.1 200 OK\r\na",
    "length 10^30": b"HTTP/1.1 200 OK\r\nContent-Length: 1" + b"0" * 30 + b"\r\n\r\nx",
    "length of 4000 digits": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 4000 + b"\r\n\r\nx",
    "length -1": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
    "length 1e3": b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\nx",
    "lengths 1 and 2": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "length in other digits": "HTTP/1.1 200 OK\r\nContent-Length: ٣\r\n\r\nx".encode(),
    "NUL in a value": FIELD % (b"a", b"\0"),
    "CR in a value": FIELD % (b"a", b"b\rc"),
    "a name with a space": FIELD % (b"a b", b"c"),
    "no name": FIELD % (b"", b"c"),
    "a chunk of 10^30": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\nx",
    "an unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", ABSURD)
@looped
async def test_absurd_heads_are_garbled(client, name):
    with Provider([ABSURD[name], until_closed]) as provider:
        waits = UpstreamRequest(provider.url, "POST", first_byte_timeout=0.3 if name == "a field without an end" else 30)
        found = await fault(client, waits)
        assert type(found) is (errors.Timeout if name == "a field without an end" else errors.Garbled)
        assert found.sent is True
