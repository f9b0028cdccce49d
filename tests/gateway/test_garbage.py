"""What an exchange made goes when it is over, without the garbage collector: bodies are large, and the collector comes rarely."""

from __future__ import annotations

import gc

import pytest

from ..scripted import LAST_CHUNK, Provider, Request, Steps, respond
from .inside import CONFIG, Inside, inside
from .spoken import SHAPE_AT, SPEECH
from .test_faults import frames

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
    with Provider(script) as provider:
        async with Inside(CONFIG, provider) as gateway:
            await ask(gateway, client, upstream, stream)  # what is made at first use
            gc.collect()
            gc.disable()
            try:
                for _ in range(TIMES):
                    await ask(gateway, client, upstream, stream)
                gc.set_debug(gc.DEBUG_SAVEALL)
                gc.collect()
                ours = [type(thing).__name__ for thing in gc.garbage if type(thing).__module__.startswith(("dragoman.", "tornado."))]
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()
            assert ours == []
