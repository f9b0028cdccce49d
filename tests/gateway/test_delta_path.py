"""What a streamed delta passes, as docs/architecture.md says: counted while one is on its way, not read off the code."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from ..scripted import LAST_CHUNK, Gate, Provider, chunk, stream_head, wait
from .inside import CONFIG, Inside, inside_once
from .sockets import connected
from .spoken import SHAPES, SPEECH

HOUSE = Path(__file__).resolve().parents[2]
PACKAGES = ("codecs", "conf", "proxy", "handlers")
DELTAS = 8
MOST = {"bytes": 6, "events": 8}
PAIRS = [(client, upstream) for client in SHAPES for upstream in SHAPES]


class Entered:
    """The product's files that are entered between `begin` and `end`, in the order in which they are first entered."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def begin(self) -> None:
        self.files = []
        sys.setprofile(self._seen)

    def end(self) -> list[str]:
        sys.setprofile(None)
        return self.files

    def _seen(self, frame: FrameType, event: str, arg: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(HOUSE):
            name = path.relative_to(HOUSE).as_posix()
            if name.partition("/")[0] in PACKAGES and name not in self.files:
                self.files.append(name)


@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_files_over_a_websocket(upstream: str) -> None:
    """One more than over HTTP: what makes messages of events."""
    gates = [Gate() for _ in range(DELTAS)]
    speech = SPEECH[upstream]
    words = [step for number, gate in enumerate(gates) for step in (wait(gate), chunk(speech.word(f" w{number}")))]
    script = [stream_head(), *map(chunk, [*speech.opening, *speech.words]), *words, *map(chunk, speech.ending), LAST_CHUNK]
    path, found = Entered(), list[list[str]]()
    async with Provider(script) as provider, Inside(CONFIG, provider) as gateway, connected(gateway) as socket:
        socket.create(model=f"{upstream}/m", input="hi", store=False, include=["reasoning.encrypted_content"])
        while (await socket.event())["type"] != "response.output_text.delta":
            pass
        await socket.event()
        tasks = asyncio.all_tasks()
        for number, gate in enumerate(gates):
            path.begin()
            gate.open()
            await asyncio.sleep(0)
            assert (await socket.event())["delta"] == f" w{number}"
            found.append(path.end())
            assert asyncio.all_tasks() <= tasks  # the last one may have ended
    shortest = min(found, key=len)
    assert "proxy/websocket/session.py" not in shortest
    assert len(shortest) <= MOST["events"] + 1, shortest


@pytest.mark.parametrize(("client", "upstream"), PAIRS, ids=lambda shape: shape)
@inside_once
async def test_files(client: str, upstream: str) -> None:
    gates = [Gate() for _ in range(DELTAS)]
    speech = SPEECH[upstream]
    words = [step for number, gate in enumerate(gates) for step in (wait(gate), chunk(speech.word(f" w{number}")))]
    script = [stream_head(), *map(chunk, [*speech.opening, *speech.words]), *words, *map(chunk, speech.ending), LAST_CHUNK]
    path, found = Entered(), list[list[str]]()
    with Provider(script) as provider:
        async with Inside(CONFIG, provider) as gateway, gateway.ask(client, f"{upstream}/m", stream=True) as caller:
            _, headers = await caller.head()
            await caller.until(b"world")
            for number, gate in enumerate(gates):
                path.begin()
                gate.open()
                await asyncio.sleep(0)  # the test's own way to the answer is not the product's
                await caller.until(f" w{number}".encode())
                found.append(path.end())
    shortest = min(found, key=len)  # a timer may have gone off during another
    assert len(shortest) <= MOST[headers["x-dragoman-lane"]], shortest
