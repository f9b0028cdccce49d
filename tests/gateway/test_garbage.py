"""What an exchange made goes when it is over, without the garbage collector: bodies are large, and the collector comes rarely."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ..scripted import LAST_CHUNK, Gate, Provider, Request, Steps, chunk, close, respond, wait
from .inside import CONFIG, Inside, inside, inside_once
from .spoken import PATHS, SHAPE_AT, SPEECH
from .test_faults import frames
from .wire import request

pytestmark = pytest.mark.slow

TIMES = 5


def script(request: Request) -> Steps:
    speech = SPEECH[SHAPE_AT[request.target]]
    if request.json.get("stream"):
        return [*frames(*speech.opening, *speech.words, *speech.ending), LAST_CHUNK]
    return [respond(speech.whole)]


async def ask(gateway: Inside, client: str, upstream: str, stream: bool) -> None:
    async with gateway.ask(client, f"{upstream}/m", stream=stream) as caller:
        status, headers = await caller.head()
        assert status == 200
        await caller.body(headers)
    await gateway.until(lambda: gateway.idle and gateway.server.connections == 0)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "upstream"), [("chat", "chat"), ("messages", "chat"), ("responses", "messages")])
@inside
async def test_an_exchange_leaves_no_cycles(client: str, upstream: str, stream: bool) -> None:
    async with Provider(script) as provider, Inside(CONFIG, provider) as gateway:
        await ask(gateway, client, upstream, stream)  # what is made at first use
        with without_collector():
            for _ in range(TIMES):
                await ask(gateway, client, upstream, stream)
            assert cycles() == []


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def cycles() -> list[str]:
    """What of ours the collector would have to find."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    return [type(thing).__name__ for thing in gc.garbage if type(thing).__module__.startswith(("dragoman.", "tornado."))]


# ---- requests that fail ----

SIZE = 1 << 20  # bytes of a request
MANY = 60
OURS = tuple(f"*/{package}/*.py" for package in ("proxy", "handlers", "codecs"))  # who allocated: the test's own ends keep bytes, too
ROOM = 10 * SIZE  # what all of them together may leave behind


@dataclass(frozen=True)
class Failing:
    """How a request fails. body: besides its padding; garbled: it is no JSON. left: its caller does not wait."""

    steps: Steps
    path: str = PATHS["chat"]
    model: str = "chat/m"
    more: dict[str, Any] | None = None
    config: str = CONFIG
    garbled: bool = False
    left: bool = False

    def request(self, padding: str) -> bytes:
        body = {"model": self.model, "messages": [{"role": "user", "content": padding}], "input": "Hi", "max_tokens": 5}
        data = request(self.path, body | (self.more or {}), x_dragoman_strict="1")
        return data.replace(b'"max_tokens":5', b'"max_tokens":x') if self.garbled else data


FALLBACK = CONFIG.replace(
    "model_providers:",
    'model_providers:\n  - {model: "up/m", base_url: "UPSTREAM/v1", access_key: k, retry_policy: {max_attempts: 2, backoff: {base: 1ms}}}'
    '\n  - {model: "up/m", name: other, base_url: "UPSTREAM/v1", access_key: k, retry_policy: {max_attempts: 2, backoff: {base: 1ms}}}',
)
WORDS = [chunk(word) for word in SPEECH["chat"].words]
OPENING = frames(*SPEECH["chat"].opening)
FAILING = {
    "not-json": Failing([], garbled=True),
    "no-such-model": Failing([], model="nobody"),
    "strict": Failing([], path=PATHS["messages"], more={"top_k": 3}),
    "unkeyed": Failing([], config=CONFIG + "\naccess_keys: [{key: a-key-of-somebody}]"),
    "refused-by-the-upstream": Failing([respond({"error": {"message": "No."}}, 400)]),
    "refused-in-another-shape": Failing([respond({"error": {"message": "No."}}, 400)], path=PATHS["messages"]),
    "closed": Failing([close]),
    "garbled-answer": Failing([respond(b"{", content_type="application/json")]),
    "all-candidates-failed": Failing([respond({}, 503)], config=FALLBACK, model="up/m"),
    "broken-before-content": Failing([*OPENING, close], more={"stream": True}),
    "broken-behind-content": Failing([*OPENING, *WORDS, close], more={"stream": True}),
    "broken-in-another-shape": Failing(
        [*OPENING, *map(chunk, SPEECH["chat"].words), close], path=PATHS["responses"], more={"stream": True}
    ),
    "raw-refused": Failing([respond({"error": {"message": "No."}}, 400)], path="/v1/embeddings"),
    "raw-cut": Failing([respond(b"x" * 100)[:-10], close], path="/v1/embeddings"),
    "count-failed": Failing([respond({}, 500)], path="/v1/messages/count_tokens", model="messages/m"),
    "left": Failing([respond({})[:-1]], left=True),
    "left-a-stream": Failing(OPENING, more={"stream": True}, left=True),
    "left-raw": Failing([respond(b"x" * 100)[:-10]], path="/v1/embeddings", left=True),
}


async def fail(gateway: Inside, provider: Provider, how: Failing, padding: str) -> None:
    asked = len(provider.requests)
    async with gateway.call(how.request(padding)) as caller:
        if how.left:
            await provider.seen(lambda: len(provider.requests) > asked)
            caller.leave()
        else:
            await caller.head()
    await gateway.until(lambda: gateway.idle and gateway.server.connections == 0)
    provider.requests.clear()


@pytest.mark.parametrize("name", FAILING)
@inside_once
async def test_a_request_that_fails_leaves_no_cycles(name: str) -> None:
    how = FAILING[name]
    async with Provider(lambda request: how.steps) as provider, Inside(how.config, provider) as gateway:
        await fail(gateway, provider, how, "Hi")
        with without_collector():
            for _ in range(TIMES):
                await fail(gateway, provider, how, "Hi")
            assert cycles() == []


@inside_once
async def test_a_caller_that_leaves_in_mid_answer_leaves_no_cycles() -> None:
    """The write that fails holds its error, whose frames hold the exchange."""
    loop = asyncio.get_running_loop()

    async def leave(gateway: Inside) -> None:
        with socket.create_connection(("127.0.0.1", gateway.port)) as sock:
            sock.setblocking(False)
            await loop.sock_sendall(sock, Failing(()).request("Hi"))
            await loop.sock_recv(sock, 1)
        await gateway.until(lambda: gateway.idle and gateway.server.connections == 0)

    whole = SPEECH["chat"].whole | {"padding": "x" * (16 << 20)}  # more than sockets take
    async with Provider([respond(whole)]) as provider, Inside(CONFIG, provider) as gateway:
        await leave(gateway)
        with without_collector():
            await leave(gateway)
            assert cycles() == []


@pytest.mark.parametrize("name", FAILING)
@inside_once
async def test_a_request_that_fails_keeps_nothing(name: str) -> None:
    """With the collector off: what a body of a megabyte took is there again when its request is over."""
    how = FAILING[name]
    async with Provider(lambda request: how.steps) as provider, Inside(how.config, provider) as gateway:
        await fail(gateway, provider, how, "Hi")
        with without_collector():
            tracemalloc.start()
            try:
                for _ in range(MANY):
                    await fail(gateway, provider, how, "x" * SIZE)
                ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, path) for path in OURS])
            finally:
                tracemalloc.stop()
            assert sum(statistic.size for statistic in ours.statistics("filename")) < ROOM


@inside
async def test_what_breaks_behind_its_answers_end_is_nobodys_error() -> None:
    """The answer was whole, and its caller has it; that its connection then ends without the last chunk is not reported by the loop."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    gate, speech = Gate(), SPEECH["chat"]
    with Provider([*frames(*speech.opening, *speech.words, *speech.ending), wait(gate), close]) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.ask("chat", "chat/m", stream=True) as caller:
            await caller.body((await caller.head())[1])
            await gateway.until(lambda: gateway.idle)
            gate.open()
            await gateway.until(lambda: not gateway.gateway.upstream._calls)
            gc.collect()
            assert reported == []
