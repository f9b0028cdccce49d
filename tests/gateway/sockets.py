"""A client of the Responses API over a WebSocket, in wsproto's frames, on the loop of an Inside gateway.

async with connected(gateway) as socket:
    socket.create(model="chat/m", input="hi")
    events = await socket.response()        # up to the response's end
    assert await socket.closed() == 1012
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
import wsproto.connection
from wsproto import events as frames

from .inside import Caller, Inside

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ENDS = ("response.completed", "response.incomplete", "response.failed", "error")


def upgrade(path: str = "/v1/responses", **headers: str) -> bytes:
    """The request. headers: with _ for -; one that is "" is left out."""
    fields = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    }
    for name, value in headers.items():
        dashed = name.replace("_", "-")
        fields = {key: old for key, old in fields.items() if key.lower() != dashed.lower()} | {dashed: value}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Socket:
    """headers: of the 101."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.headers: dict[str, str] = {}
        self._frames = wsproto.connection.Connection(wsproto.connection.ConnectionType.CLIENT)
        self._events = self._frames.events()

    # ---- to the gateway ----

    def say(self, event: frames.Event) -> None:
        self.caller.writer.write(self._frames.send(event))

    def text(self, text: str) -> None:
        self.say(frames.Message(text))

    def create(self, **members: Any) -> None:
        self.text(orjson.dumps({"type": "response.create", **members}).decode())

    # ---- from the gateway ----

    async def frame(self) -> frames.Event:
        """The next frame; a whole message even if it takes several. Raises EOFError."""
        while True:
            for event in self._events:
                return event
            data = await self.caller.reader.read(1 << 16)
            if not data:
                raise EOFError
            self._frames.receive_data(data)
            self._events = self._frames.events()

    async def message(self) -> str:
        """The next text message; pings are answered."""
        pieces = ""
        while True:
            event = await self.frame()
            if isinstance(event, frames.Ping):
                self.say(event.response())
            elif isinstance(event, frames.TextMessage):
                assert not pieces, "a message in fragments"
                pieces += event.data
                if event.message_finished:
                    return pieces
                return pieces + await self._rest()
            else:
                raise AssertionError(event)

    async def _rest(self) -> str:
        """wsproto gives a long message out in pieces."""
        event = await self.frame()
        assert isinstance(event, frames.TextMessage)
        return event.data if event.message_finished else event.data + await self._rest()

    async def event(self) -> dict[str, Any]:
        message = await self.message()
        found: dict[str, Any] = orjson.loads(message)
        assert isinstance(found, dict)
        if found["type"] == "error":
            assert type(found["status"]) is int
            assert found["error"].keys() - {"resets_at"} == {"type", "code", "message", "param"}
        return found

    async def response(self) -> list[dict[str, Any]]:
        """The events of one response, its end included."""
        found = [await self.event()]
        while found[-1]["type"] not in ENDS:
            found.append(await self.event())
        return found

    async def ask(self, **members: Any) -> list[dict[str, Any]]:
        self.create(**members)
        return await self.response()

    async def closed(self) -> int | None:
        """The code of the Close that comes next; it is answered, and the connection ends."""
        event = await self.frame()
        while isinstance(event, frames.Ping):
            event = await self.frame()
        assert isinstance(event, frames.CloseConnection), event
        with contextlib.suppress(wsproto.utilities.LocalProtocolError):
            self.say(event.response())
        assert await self.caller.reader.read() == b""
        return int(event.code)


@contextlib.asynccontextmanager
async def connected(gateway: Inside, **headers: str) -> AsyncIterator[Socket]:
    async with gateway.call(upgrade(**headers)) as caller:
        socket = Socket(caller)
        status, socket.headers = await caller.head()
        assert status == 101, await caller.body(socket.headers)
        yield socket


async def quiet(socket: Socket, seconds: float = 0.05) -> bool:
    """Whether nothing comes for a moment."""
    try:
        async with asyncio.timeout(seconds):
            await socket.frame()
    except TimeoutError:
        return True
    return False
