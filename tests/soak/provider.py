"""The upstream of a soak: what it does with each request is drawn from the seed, the caller's number, and which attempt it is.

Beside its own port it has two that are no upstream: one that ends every connection at once, and one where nobody listens.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from dataclasses import dataclass, field

import orjson

from ..conftest import refusing_socket
from .faults import CLOSE, HANG, RESET, Played, play

MARK = "ask-%d-"  # what a caller writes into its request
_MARKED = re.compile(rb"ask-(\d+)-")
_MODELS = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n{"object":"list","data":[]}'
ROUND = 256 * 1024  # bytes of one write


@dataclass
class Provider:
    """attempts: what was done for each caller's number, in order. busy: requests that are being answered."""

    seed: int
    attempts: dict[int, list[Played]] = field(default_factory=dict)
    busy: int = 0
    port: int = 0
    rude_port: int = 0
    closed: socket.socket = field(default_factory=refusing_socket)

    def __post_init__(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()
        self._idle: set[asyncio.StreamWriter] = set()
        self._servers: list[asyncio.Server] = []

    @property
    def closed_port(self) -> int:
        port: int = self.closed.getsockname()[1]
        return port

    async def __aenter__(self) -> Provider:
        for serve in (self._serve, self._slam):
            self._servers.append(await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024))
        self.port, self.rude_port = (server.sockets[0].getsockname()[1] for server in self._servers)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed.close()
        for server in self._servers:
            server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        while self._writers:  # noqa: ASYNC110 - their tasks end by themselves
            await asyncio.sleep(0.01)

    def let_go(self) -> None:
        """Close the connections that are kept without a request."""
        for writer in list(self._idle):
            writer.close()

    async def _slam(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                self._idle.add(writer)
                head = await reader.readuntil(b"\r\n\r\n")
                self._idle.discard(writer)
                self.busy += 1
                try:
                    if not await self._answer(head, reader, writer):
                        return
                finally:
                    self.busy -= 1
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._idle.discard(writer)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        path = lines[0].split(" ")[1].partition("?")[0].removeprefix("/v1")
        marks = _MARKED.findall(body)
        if not marks:  # a health probe asks for the list of models
            writer.write(_MODELS)
            await writer.drain()
            return True
        number = int(marks[-1])  # those before are of the conversation
        before = self.attempts.setdefault(number, [])
        mark = f"a{number}t{len(before)}"
        played = play(path, _read(body), mark, random.Random(f"{self.seed}/{mark}"))
        before.append(played)
        for step in played.steps:
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, bytes):
                for at in range(0, len(step), ROUND):
                    writer.write(step[at : at + ROUND])
                    await writer.drain()
            else:
                await self._end(step, reader, writer)
                return False
        return True

    async def _end(self, how: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if how == HANG:
            await reader.read(1)
        elif how == CLOSE:
            writer.close()
            await writer.wait_closed()
        elif how == RESET:
            reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by a reset."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _read(body: bytes) -> dict[str, object]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
