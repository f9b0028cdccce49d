"""What a request is made of is let go of when its answer has begun: hundreds of agents wait for long answers to requests of a megabyte."""

from __future__ import annotations

import asyncio
import gc
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from types import FunctionType, ModuleType
from typing import Any

import orjson
import pytest

from dragoman.codecs import bulk, splice
from dragoman.proxy.exchange import spent
from dragoman.proxy.exchange.exchange import Exchange
from dragoman.proxy.exchange.services import Services
from dragoman.proxy.gateway import Gateway
from dragoman.proxy.routing.candidate import Candidate
from dragoman.proxy.wire import bodies

from ..attack.growth import assert_linear
from ..conftest import Start
from ..load import agents, servers
from ..scripted import LAST_CHUNK, Gate, Provider, Request, Step, chunk, respond, stream_head, wait
from .inside import CONFIG, Inside, inside_once
from .sockets import connected
from .spoken import PATHS, SHAPES, SPEECH
from .test_websocket_lanes import until_delta
from .wire import Wire, request

LARGE = 300_000  # bytes of a history
SMALL = 40_000  # what may be left of it: settings, what an encoder holds
LEAF = {"type": "string", "title": "leaf"}
SCHEMA = {"type": "object", "properties": {f"p{number}": LEAF for number in range(1000)}}

_LIVES_ON = (Gateway, Services, Candidate, type, ModuleType, FunctionType, asyncio.AbstractEventLoop)


def history(shape: str) -> dict[str, Any]:
    """A request with many turns, a tool's call and its result, and a tool."""
    words = [f"{number} said again. " * 50 for number in range(LARGE // 800)]
    if shape == "responses":
        turns: list[Any] = [{"type": "message", "role": "user", "content": word} for word in words]
        call = {"type": "function_call", "call_id": "call_1", "name": "find", "arguments": "{}"}
        tool = {"type": "function", "name": "find", "parameters": SCHEMA}
        result = {"type": "function_call_output", "call_id": "call_1", "output": "one"}
        return {"input": [*turns, call, result], "tools": [tool], "store": False}
    turns = [{"role": "user", "content": word} for word in words]
    if shape == "messages":
        call = {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "find", "input": {}}]}
        told = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "one"}]}
        return {"messages": [*turns, call, told], "tools": [{"name": "find", "input_schema": SCHEMA}], "max_tokens": 100}
    call = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "find", "arguments": "{}"}}]}
    tool = {"type": "function", "function": {"name": "find", "parameters": SCHEMA}}
    return {"messages": [*turns, call, {"role": "tool", "tool_call_id": "call_1", "content": "one"}], "tools": [tool]}


def reached(exchange: Exchange) -> Iterator[Any]:
    """What the exchange and its task lead to, but for what lives longer than it and the buffers that are read into."""
    assert exchange._task is not None
    waiting, known = [exchange, exchange._task.get_coro()], set()
    while waiting:
        item = waiting.pop()
        if id(item) in known or isinstance(item, _LIVES_ON):
            continue
        known.add(id(item))
        yield item
        if not isinstance(item, str | bytes):
            waiting += gc.get_referents(item)


def held(exchange: Exchange) -> tuple[int, int]:
    """Bytes of the texts and number of the tools' LEAFs that the exchange leads to."""
    items = list(reached(exchange))
    return sum(len(item) for item in items if isinstance(item, str | bytes)), sum(item == LEAF for item in items)


@pytest.mark.parametrize("client", SHAPES)
@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_an_open_stream_holds_no_request(client: str, upstream: str) -> None:
    gate = Gate()
    speech = SPEECH[upstream]

    def script(asked: Request) -> list[Step]:
        said = [*speech.opening, *speech.words]
        return [stream_head(), *map(chunk, said), wait(gate), *map(chunk, speech.ending), LAST_CHUNK]

    with Provider(script) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.ask(client, f"{upstream}/m", stream=True, **history(client)) as caller:
            await caller.head()
            while b"Hel" not in await caller.chunk():
                pass
            (exchange,) = gateway.gateway.exchanges
            size, leafs = held(exchange)
            assert size < SMALL
            if (client, upstream) != ("responses", "responses"):  # whose answer may lack what it shows of the tools
                assert not leafs
            assert gateway.gateway.bodies.held == 0  # others may send theirs
            gate.open()
            while await caller.chunk():
                pass
            await gateway.until(lambda: gateway.lines)
        assert gateway.lines[0]["status"] == 200
        assert len(provider.requests[0].body) > LARGE


@pytest.mark.parametrize("client", SHAPES)
@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_a_request_that_waits_is_held_as_bytes(client: str, upstream: str) -> None:
    """What it was parsed into, thousands of objects, is let go of when it is sent; what answers show of it is there as JSON."""
    gate = Gate()

    def script(asked: Request) -> list[Step]:
        return [wait(gate), stream_head(), *map(chunk, SPEECH[upstream].stream), LAST_CHUNK]

    async with Provider(script) as provider, Inside(CONFIG, provider) as gateway:
        more = history(client) | ({"instructions": "Be very brief. " * 500} if client == "responses" else {})
        async with gateway.ask(client, f"{upstream}/m", stream=True, **more) as caller:
            await provider.seen(lambda: provider.requests)
            (exchange,) = gateway.gateway.exchanges
            items = list(reached(exchange))
            assert not [item for item in items if isinstance(item, str) and ("said again" in item or "Be very brief" in item)]
            if (client, upstream) != ("responses", "responses"):  # whose tools may make what its caller then owns
                assert LEAF not in items
            assert gateway.gateway.bodies.held > LARGE  # another attempt may need it
            gate.open()
            status, headers = await caller.head()
            said = await caller.body(headers)
    assert (status, b"world" in said) == (200, True)
    if client == "responses" != upstream:
        events = [orjson.loads(line[6:]) for line in said.splitlines() if line.startswith(b"data: {")]
        shown = [event["response"] for event in events if "response" in event]
        assert [tool["parameters"] for response in shown for tool in response["tools"]] == [SCHEMA] * len(shown)
        assert {response["instructions"] for response in shown} == {more["instructions"]}


@pytest.mark.parametrize("over", ["http", "websocket"])
@inside_once
async def test_what_is_stored_with_an_answer_is_held_as_json(over: str) -> None:
    """What its caller goes on from, and what he says himself: not as the thousands of objects that they are parsed into."""
    gates, speech = [Gate(), Gate()], SPEECH["chat"]
    shut = iter(gates)

    def script(asked: Request) -> list[Step]:
        said = [*speech.opening, *speech.words]
        return [stream_head(), *map(chunk, said), wait(next(shut)), *map(chunk, speech.ending), LAST_CHUNK]

    async with Provider(script) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket, AsyncExitStack() as opened:
        more = history("responses") | {"store": over == "http"}
        for gate in gates:
            if over == "http":
                caller = await opened.enter_async_context(gateway.ask("responses", "chat/m", stream=True, **more))
                await caller.head()
                while b"Hel" not in await caller.chunk():
                    pass
            else:
                socket.create(model="chat/m", **more)
                await until_delta(socket)
            (exchange,) = gateway.gateway.exchanges
            assert exchange.turn is not None
            more = {"input": "More.", "previous_response_id": exchange.turn.id, "store": over == "http"}
            assert not [item for item in reached(exchange) if isinstance(item, str) and "said again" in item]
            gate.open()
            while over == "http" and await caller.chunk():
                pass
            if over == "websocket":
                await socket.response()
    first, second = [sent.body.count(b"said again") for sent in provider.requests]
    assert first == second > LARGE // 20


@pytest.mark.parametrize("over", ["http", "websocket"])
@inside_once
async def test_a_request_is_parsed_once(over: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, as it is no longer than AT_ONCE: in steps takes four times as long."""
    parsed: list[int] = []
    scan = splice.scan
    monkeypatch.setattr(splice, "scan", lambda body: parsed.append(len(body)) or scan(body))
    monkeypatch.setattr(bulk, "scan", lambda body, most: pytest.fail("in steps"))

    def script(asked: Request) -> list[Step]:
        return [stream_head(), *map(chunk, SPEECH["chat"].stream), LAST_CHUNK]

    async with Provider(script) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
        if over == "websocket":
            assert (await socket.ask(model="chat/m", stream=True, **history("responses")))[-1]["type"] == "response.completed"
        else:
            async with gateway.ask("responses", "chat/m", stream=True, **history("responses")) as caller:
                _, headers = await caller.head()
                assert b"response.completed" in await caller.body(headers)
    assert len(parsed) == 1
    assert parsed[0] > LARGE


@pytest.mark.parametrize("upstream", ["chat", "messages"])
@inside_once
async def test_a_summary_that_was_made_first_holds_no_request(upstream: str) -> None:
    gate = Gate()

    def script(asked: Request) -> list[Step]:
        if asked.json.get("stream") is not True:  # for the summary
            return [respond(SPEECH[upstream].whole)]
        return [wait(gate), stream_head(), *map(chunk, SPEECH[upstream].stream), LAST_CHUNK]

    more = history("responses") | {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}
    config = CONFIG + "\ncompaction: {automatic: true}"
    with Provider(script) as provider:
        async with Inside(config, provider) as gateway, gateway.ask("responses", f"{upstream}/m", stream=True, **more) as caller:
            await provider.seen(lambda: len(provider.requests) == 2)
            (exchange,) = gateway.gateway.exchanges
            items = list(reached(exchange))
            assert not [item for item in items if isinstance(item, str) and "said again" in item]
            assert LEAF not in items
            gate.open()
            status, headers = await caller.head()
            said = await caller.body(headers)
    assert (status, b"world" in said) == (200, True)


NO_CREDENTIAL = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - model: first/m
    base_url: "UPSTREAM/v1"
    apis: [messages]
    token_command: [PYTHON, no-such-file]
    retry_policy: {fallback_models: [chat/m]}
  - {model: chat/m, base_url: "UPSTREAM/v1", apis: [chat_completions], access_key: k}
"""


@inside_once
async def test_what_was_read_for_an_upstream_that_was_not_asked() -> None:
    gate = Gate()

    def script(asked: Request) -> list[Step]:
        return [wait(gate), stream_head(), *map(chunk, SPEECH["chat"].stream), LAST_CHUNK]

    with Provider(script) as provider:
        async with (
            Inside(NO_CREDENTIAL, provider, PYTHON=sys.executable) as gateway,
            gateway.ask("chat", "first/m", stream=True, **history("chat")) as caller,
        ):
            await provider.seen(lambda: provider.requests)
            (exchange,) = gateway.gateway.exchanges
            assert len(exchange.attempts) == 2
            items = list(reached(exchange))
            assert not [item for item in items if isinstance(item, str) and "said again" in item]
            assert LEAF not in items
            gate.open()
            _, headers = await caller.head()
            assert b"world" in await caller.body(headers)


async def _whole(gateway: Inside, **more: Any) -> dict[str, Any]:
    async with gateway.ask("responses", "responses/m", **more) as caller:
        status, headers = await caller.head()
        found: dict[str, Any] = orjson.loads(await caller.body(headers))
    assert status == 200
    return found


@inside_once
async def test_a_collected_answer_is_stored_with_its_input() -> None:
    """Of an upstream that stores responses, too: the gateway stores what it puts together from a stream, and goes on from that."""

    def script(asked: Request) -> list[Step]:
        return [stream_head(), *map(chunk, SPEECH["responses"].stream), LAST_CHUNK]

    with Provider(script) as provider:
        async with Inside(CONFIG.replace("access_key", "capabilities: {whole_answers: never}, access_key"), provider) as gateway:
            more = history("responses") | {"store": True}
            first = await _whole(gateway, **more)
            await _whole(gateway, previous_response_id=first["id"])
    asked, next_asked = [sent.json["input"] for sent in provider.requests]
    assert [item["content"] for item in next_asked[: LARGE // 800]] == [item["content"] for item in asked[: LARGE // 800]]
    assert len(next_asked) == len(asked) + 2


# ---- what is charged where an upstream tells of no usage ----

IMAGE = b"A" * 5000


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b"", 0),
        (b"word " * 4000, 5000),
        (b"x" * 1999, 499),  # shorter than a file
        (b"x" * 2000, 1600),
        (b"x " * 321 + IMAGE, 160 + 1600),
        (b" " + IMAGE + b" word" * 100, 125 + 1600),
        (b'"' + IMAGE + b'","' + IMAGE + b'"', 1 + 3200),
        (b" " * 999 + b"x" * 2000 + b" ", 250 + 1600),  # wherever it begins
        (b" " * 1001 + b"x" * 2000 + b" ", 250 + 1600),
    ],
)
def test_tokens_of_a_request(body: bytes, tokens: int) -> None:
    assert spent.read(body) == tokens


@pytest.mark.parametrize("pump", ["a", " ", "a" * 999 + " ", "a" * 1999 + " ", "a" * 2000 + " ", "a" * 1000 + " "])
def test_tokens_are_told_in_linear_time(pump: str) -> None:
    assert_linear(lambda size: (pump * (size // len(pump) + 1)).encode(), spent.read)


def test_a_file_is_found_wherever_it_stands() -> None:
    for place in range(0, 2100, 7):
        assert spent.read(b" " * place + b"x" * 2000 + b" " * 40) == (place + 40) // 4 + 1600


# ---- the heap ----

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has a function that trims it")


@inside_once
async def test_the_heap_is_trimmed_after_many_large_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []
    monkeypatch.setattr(bodies, "FREED", 3_000_000)
    monkeypatch.setattr(bodies, "TRIM_AFTER", 0.0)
    monkeypatch.setattr(bodies, "trim_heap", lambda: trimmed.append(counter.held))
    counter = bodies.Bodies(1 << 30)
    for times in (2, 3, 2):  # seven megabytes: five are enough for once, the other two are not yet for a second time
        for _ in range(times):
            body = bodies.Incoming(counter, 1 << 20)
            body.feed(bytes(1_000_000))
            body.release()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.wrap_future(bodies._apart.submit(int))  # what was asked for before has been done
    assert trimmed == [0]


TRIM = """
from dragoman.proxy.wire.bodies import trim_heap
def resident(): return int(open("/proc/self/statm").read().split()[1]) * 4096
texts = [bytes(50_000) for _ in range(2000)]
kept = texts[::50]
del texts
before = resident()
print(trim_heap(), before - resident(), len(kept))
"""


@glibc
def test_a_trimmed_heap_is_smaller() -> None:
    done = subprocess.run([sys.executable, "-c", TRIM], capture_output=True, text=True, check=True, cwd="/")
    gave, freed, _ = done.stdout.split()
    assert gave == "True"
    assert int(freed) > 50_000_000  # of 100 MB, between those that are kept


STREAMS = 60
KEPT = 0.15  # MB for each


@glibc
@pytest.mark.parametrize(("client", "upstream"), [("chat", "chat"), ("chat", "messages"), ("messages", "chat"), ("responses", "chat")])
def test_agents_that_ask_at_once_keep_little(start: Start, client: str, upstream: str) -> None:
    """Each sends 0.6 MB; when their answers have begun, what the requests were parsed into lies nowhere between what is needed."""
    gate, speech = Gate(), SPEECH[upstream]

    def script(asked: Request) -> list[Step]:
        return [stream_head(), *map(chunk, [*speech.opening, *speech.words]), wait(gate)]

    with Provider(script) as provider, ExitStack() as opened:
        config = CONFIG.replace("address: 127.0.0.1", "address: 127.0.0.1, port: PORT")
        gateway = start(config.replace("UPSTREAM", provider.url))
        asked = request(PATHS[client], orjson.loads(agents.body(client, f"{upstream}/m", 100, "Go on.")))
        first = opened.enter_context(Wire(gateway.port))
        first.send(asked)
        first.until(b"world")
        before = servers.memory_mb(gateway.process.pid)
        wires = [opened.enter_context(Wire(gateway.port)) for _ in range(STREAMS)]
        with ThreadPoolExecutor(STREAMS) as senders:
            list(senders.map(lambda wire: wire.send(asked), wires))
        for wire in wires:
            wire.until(b"world")
        deadline = time.monotonic() + 30
        while (kept := (servers.memory_mb(gateway.process.pid) - before) / STREAMS) > KEPT:
            assert time.monotonic() < deadline, f"{kept:.2f} MB each"
            time.sleep(0.1)
        gate.open()
