"""The callers of a soak: what each asks, in which manner, and what came of it. Everything of one is drawn from the seed and its number."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from ..gateway.spoken import PATHS, SHAPES
from .judge import Heard
from .provider import MARK, reset

PATIENCE = 180.0  # seconds: no answer takes so long, unless the machine is very busy
SHAPE_MODELS = ("chat/m", "messages/m", "responses/m", "pool/m", "pool/m", "weighed/m", "nowhere/m")
RAW = {  # operations that are carried as they are, with a model
    "/v1/embeddings": {"input": "PROMPT"},
    "/v1/completions": {"prompt": "PROMPT"},
    "/v1/completions?stream": {"prompt": "PROMPT", "stream": True},
    "/v1/moderations": {"input": "PROMPT"},
    "/v1/rerank": {"query": "PROMPT", "documents": []},
    "/v1/audio/speech": {"input": "PROMPT", "voice": "a"},
    "/v1/audio/transcriptions": {},
}
FORM = b'--the-boundary\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n'
FORM += b'--the-boundary\r\nContent-Disposition: form-data; name="file"\r\n\r\n%b\r\n--the-boundary--\r\n'


@dataclass(eq=False)
class Ask:
    """One request. shape: in which its answer is read, "" for bytes. lines: how many lines of the log it may leave.

    may_be: statuses below 500 that its own doing explains. harmed: a worker was killed meanwhile. left: the caller did not wait.
    slow: the caller reads slowly. over: nothing more is heard. final: a background response that has ended.
    """

    number: int
    path: str
    body: bytes = b""
    method: str = "POST"
    key: str = "alice"
    shape: str = ""
    stream: bool = False
    content_type: str = "application/json"
    lines: range = range(1, 2)
    may_be: tuple[int, ...] = ()
    harmed: bool = False
    left: bool = False
    slow: bool = False
    over: bool = False
    heard: Heard = field(default_factory=Heard)
    final: Any = None
    seen: list[dict[str, Any]] = field(default_factory=list)  # its lines of the log

    @property
    def id(self) -> str:
        return f"soak-{self.number}"

    @property
    def settled(self) -> bool:
        """Whether nothing more is expected of it."""
        return self.over and len(self.seen) >= self.lines.start

    def bytes(self, version: str = "1.1", close: bool = False) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/{version}", "Host: gateway", f"X-Request-Id: {self.id}"]
        lines.append(f"Authorization: Bearer {self.key}-key")
        if self.body or self.method == "POST":
            lines += [f"Content-Type: {self.content_type}", f"Content-Length: {len(self.body)}"]
        if close or version == "1.0":
            lines.append(f"Connection: {'close' if close else 'keep-alive'}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


# ---- what is asked ----


def talk(number: int, chance: random.Random, **more: Any) -> Ask:
    """A request in one of the three APIs. more: members of its body."""
    shape = more.pop("shape", None) or chance.choice(SHAPES)
    stream = more.pop("stream", chance.random() < 0.6)
    text = MARK % number + " please. " + "word " * (chance.randint(20_000, 180_000) if chance.random() < 0.02 else chance.randint(1, 50))
    body: dict[str, Any] = {"model": chance.choice(SHAPE_MODELS), "stream": stream}
    if shape == "responses":
        body |= {"input": text, "store": chance.random() < 0.5}
    else:
        body |= {"messages": [{"role": "user", "content": text}], "max_tokens": 1000}
    if shape == "chat" and stream and chance.random() < 0.5:
        body["stream_options"] = {"include_usage": True}
    path = PATHS[shape] + chance.choice(("", "", "?beta=true"))
    return Ask(number, path, orjson.dumps(body | more), key=key(chance), shape=shape, stream=stream)


def key(chance: random.Random) -> str:
    return chance.choice(("alice", "alice", "limited"))


def raw(number: int, chance: random.Random) -> Ask:
    path = chance.choice(list(RAW))
    model, text = chance.choice(("chat/m", "pool/m", "nowhere/m")), MARK % number + " please"
    asked = Ask(number, path.partition("?")[0], key=key(chance), stream=path.endswith("?stream"))
    if RAW[path]:
        body = {name: text if value == "PROMPT" else value for name, value in RAW[path].items()}
        asked.body = orjson.dumps({"model": model, **body})
    else:
        asked.body = FORM % (model.encode(), text.encode() + chance.randbytes(chance.randint(1, 100_000)))
        asked.content_type = "multipart/form-data; boundary=the-boundary"
    return asked


def count(number: int, chance: random.Random) -> Ask:
    messages = [{"role": "user", "content": MARK % number}]
    body = {"model": "messages/m", "messages": messages}
    return Ask(number, "/v1/messages/count_tokens", orjson.dumps(body), key=key(chance))


def odd(number: int, chance: random.Random) -> Ask:
    """What never reaches an upstream."""
    none = range(1)
    asked = [
        Ask(number, PATHS[chance.choice(SHAPES)], b'{"model": "chat/m", "mess', may_be=(400,)),
        Ask(number, PATHS[chance.choice(SHAPES)], b'{"model": "nobody/m", "messages": [], "input": ""}', may_be=(400, 404)),
        Ask(number, "/v1/embeddings", b"{}", key="nobody", may_be=(401,)),
        Ask(number, "/v1/nothing", may_be=(404,), lines=none),
        Ask(number, "/v1/models", method="GET", lines=none),
        Ask(number, "/healthz", method="GET", lines=none),
        Ask(number, "/healthz", b"x" * 100_000, lines=none, may_be=(413,)),
        Ask(number, "/v1/responses/resp_nothing", method="GET", lines=none, may_be=(404,)),
        Ask(number, PATHS["messages"], method="GET", lines=none, may_be=(405,)),
    ]
    return chance.choice(asked)


# ---- how it is asked ----


@dataclass(frozen=True)
class Manner:
    """How a caller behaves. leaves: after which part of its request, or (above 1) after so many bytes of the answer; None: it stays.

    slow: bytes that it reads at a time, with pauses. pieces: its request comes in so many.
    """

    version: str = "1.1"
    close: bool = False
    tls: bool = False
    slow: int = 0
    pieces: int = 1
    leaves: float | None = None
    by_reset: bool = True

    @classmethod
    def drawn(cls, chance: random.Random) -> Manner:
        manner = cls(tls=chance.random() < 0.1, close=chance.random() < 0.2)
        kind = chance.random()
        if kind < 0.1:
            return cls("1.0", chance.random() < 0.5, manner.tls)
        if kind < 0.2:
            return cls(tls=manner.tls, close=manner.close, slow=chance.choice((100, 1000, 20_000)))
        if kind < 0.25:
            return cls(tls=manner.tls, close=manner.close, pieces=chance.randint(2, 5))
        if kind < 0.4:
            when = chance.choice((0.5, 0.99, 1.0, 1.0, 1 + chance.randint(1, 5000)))
            return cls(tls=manner.tls, leaves=when, by_reset=chance.random() < 0.7)
        return manner


@dataclass(eq=False)
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    tls: bool
    harmed: bool = False  # a worker was killed meanwhile

    def end(self, by_reset: bool = False) -> None:
        if by_reset:
            reset(self.writer)
        else:
            self.writer.close()


class Left(Exception):
    """The caller went away, as it was to."""


@dataclass
class Callers:
    """Whoever calls one gateway. port, tls_port: its own. connections: those that are open."""

    port: int
    tls_port: int
    context: ssl.SSLContext
    connections: set[Connection] = field(default_factory=set)

    async def connect(self, tls: bool) -> Connection:
        host, port, context = ("localhost", self.tls_port, self.context) if tls else ("127.0.0.1", self.port, None)
        connection = Connection(*await asyncio.open_connection(host, port, ssl=context, limit=1 << 18), tls)
        self.connections.add(connection)
        return connection

    def drop(self, connection: Connection, by_reset: bool = False) -> None:
        self.connections.discard(connection)
        connection.end(by_reset)

    async def ask(self, asked: Ask, manner: Manner, kept: Connection | None) -> Connection | None:
        """Ask, on the kept connection if there is one that fits. Fills in what was heard; returns the connection if it can be kept."""
        connection, asked.slow = kept, bool(manner.slow)
        try:
            async with asyncio.timeout(PATIENCE):
                if connection is not None and connection.tls != manner.tls:
                    self.drop(connection)
                    connection = None
                if connection is None:
                    connection = await self.connect(manner.tls)
                keep = await self._ask(asked, manner, connection)
        except Left:
            assert connection is not None
            asked.left, keep = True, False
            self.drop(connection, manner.by_reset)
            return None
        except (OSError, asyncio.IncompleteReadError):
            keep = False
        if connection is not None:
            asked.harmed |= connection.harmed
            if not keep:
                self.drop(connection)
                return None
        return connection

    async def _ask(self, asked: Ask, manner: Manner, connection: Connection) -> bool:
        data = asked.bytes(manner.version, manner.close)
        if manner.leaves is not None and manner.leaves <= 1:
            connection.writer.write(data[: int(len(data) * manner.leaves)])
            with contextlib.suppress(OSError):
                await connection.writer.drain()
            asked.lines = range(asked.lines.stop)
            raise Left
        size = len(data) // manner.pieces + 1
        for at in range(0, len(data), size):
            connection.writer.write(data[at : at + size])
            await connection.writer.drain()
            await asyncio.sleep(0.01 * (manner.pieces > 1))
        listening = _Listening(asked, connection.reader, manner)
        await listening.whole()
        return not manner.close and listening.keeps


class _Listening:
    """Reads one answer into what was heard, strictly, as far as it comes."""

    def __init__(self, asked: Ask, reader: asyncio.StreamReader, manner: Manner) -> None:
        self._asked, self._reader, self._manner = asked, reader, manner
        self._read = 0
        self.keeps = False

    async def whole(self) -> None:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
        status = int(lines[0].split(" ")[1])
        found = bytearray()
        self._asked.heard = Heard(status, headers)
        try:
            async for piece in self._body(headers):
                found += piece
        except BaseException:
            self._asked.heard = Heard(status, headers, bytes(found))
            raise
        self._asked.heard = Heard(status, headers, bytes(found), True)

    async def _body(self, headers: dict[str, str]) -> AsyncIterator[bytes]:
        """The pieces; returns when its end was seen."""
        told = headers.get("connection", "").lower()
        self.keeps = "close" not in told if self._manner.version == "1.1" else "keep-alive" in told
        if headers.get("transfer-encoding") == "chunked":
            assert self._manner.version == "1.1"
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                async for piece in self._some(size):
                    yield piece
                assert await self._reader.readexactly(2) == b"\r\n"
            assert await self._reader.readexactly(2) == b"\r\n"
        elif "content-length" in headers:
            async for piece in self._some(int(headers["content-length"])):
                yield piece
        else:
            assert self._manner.version == "1.0"
            self.keeps = False
            while piece := await self._next(1 << 16):
                yield piece

    async def _some(self, size: int) -> AsyncIterator[bytes]:
        while size:
            piece = await self._next(size)
            if not piece:
                raise asyncio.IncompleteReadError(b"", size)
            size -= len(piece)
            yield piece

    async def _next(self, most: int) -> bytes:
        slow, leaves = self._manner.slow, self._manner.leaves
        if slow:
            await asyncio.sleep(0.02 if self._read < 50 * slow else 0)  # a slow caller, not one that never ends
        piece = await self._reader.read(min(most, slow or 1 << 16))
        self._read += len(piece)
        if leaves is not None and self._read >= leaves - 1:
            raise Left
        return piece
