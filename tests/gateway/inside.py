"""A gateway within the test's own loop, so that a test can look at what it holds; and clients of bare bytes on the same loop.

@inside
async def test_something(...):
    async with Inside(CONFIG, provider) as gateway, gateway.ask("chat", "chat/m", stream=True) as caller:
        status, headers = await caller.head()
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tornado.netutil import bind_sockets

from dragoman import conf
from dragoman.proxy.app import ModelApplication
from dragoman.proxy.gateway import Gateway
from dragoman.proxy.keys import secrets
from dragoman.proxy.process.server import Acceptor, Server

from ..proxy.loops import LOOPS
from ..scripted import Provider
from .spoken import APIS, ASKED, PATHS, SHAPES
from .wire import request

PATIENCE = 60  # seconds
CONFIG = "\n".join(
    [
        "listeners: [{type: model, address: 127.0.0.1}]",
        "model_providers:",
        *(f'  - {{model: "{shape}/*", base_url: "UPSTREAM/v1", access_key: sk-upstream, apis: [{APIS[shape]}]}}' for shape in SHAPES),
    ]
)


def inside(test: Callable[..., Any], loops: Any = tuple(LOOPS)) -> Callable[..., Any]:
    """Run an async test on each kind of loop. The bound is there for what hangs, not for a machine that is busy."""

    @functools.wraps(test)
    def run(loop_factory: Any, **arguments: Any) -> None:
        async def main() -> None:
            async with asyncio.timeout(200):
                await test(**arguments)

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())

    del run.__wrapped__  # type: ignore[attr-defined]
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in inspect.signature(test).parameters.values()]
    run.__signature__ = inspect.Signature([inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY), *own])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("loop_factory", loops)(run)


def inside_once(test: Callable[..., Any]) -> Callable[..., Any]:
    """The same on asyncio's own loop alone, for what does not depend on it."""
    return inside(test, LOOPS[:1])


class Inside:
    """gateway: the Gateway. lines: what it logged of each exchange. port: where it listens."""

    def __init__(
        self, config: str, provider: Provider | None = None, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None, **words: str
    ) -> None:
        """config: YAML; UPSTREAM in it is the provider's URL, other words are replaced as they are named. tls: see tls_contexts()."""
        self._tls = tls or (None, None)
        for word, value in (({"UPSTREAM": provider.url} if provider else {}) | words).items():
            config = config.replace(word, value)
        # processes that get credentials import much, which takes a busy machine more than the usual 10 s
        if "egress:" not in config and not config.startswith("{"):  # nothing can be put below JSON
            config += f"\negress: {{credential_timeout: {PATIENCE}s}}\n"
        self._config = conf.loads(config, environ={})
        self.lines: list[dict[str, Any]] = []

    async def __aenter__(self) -> Inside:
        self._logged = _Logged()
        logging.getLogger("dragoman").addHandler(self._logged)
        self.gateway = Gateway(self._config, self.lines.append)
        await self.gateway.open()
        limit = self._config.limits.max_body
        self.server = Server(
            ModelApplication(self.gateway, self._config.listeners[0]),
            max_body_size=limit,
            max_buffer_size=limit + (1 << 20),
            chunk_size=262144,
        )
        (sock,) = bind_sockets(0, "127.0.0.1", backlog=4096)
        self.port: int = sock.getsockname()[1]
        self._acceptor = Acceptor(sock, self.server, self._tls[0], 20_000)
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        given = list(self._secrets())
        metrics = self.gateway.metrics.text().decode() if self.gateway.credentials._sources else ""
        told = "\n".join((*map(str, self.lines), *self._logged.messages, metrics))
        logging.getLogger("dragoman").removeHandler(self._logged)
        self._acceptor.stop()
        await self.server.close_all_connections()
        await self.gateway.close()
        await asyncio.sleep(0)
        if kind is None:  # C40, of every test that has a gateway within its loop
            assert not [secret for secret in given if secret in told], "a credential stands in the log or the metrics"

    def _secrets(self) -> Iterator[str]:
        """The operator's credentials, those of the configuration and those that were got."""
        sources = self.gateway.credentials._sources.values()
        held = [secret for source in sources if source._held is not None for secret in source._held.secrets]
        for secret in (*held, *(one for entry in self.gateway.config.model_providers for one in secrets.of(entry))):
            if len(secret) >= secrets.SHORTEST and not secret.isalpha():  # no ordinary word
                yield secret

    @contextlib.asynccontextmanager
    async def ask(self, shape: str, model: str, **more: Any) -> AsyncIterator[Caller]:
        """A connection on which this request is sent."""
        async with self.call(request(PATHS[shape], {"model": model, **ASKED[shape], **more})) as caller:
            yield caller

    @contextlib.asynccontextmanager
    async def call(self, data: bytes) -> AsyncIterator[Caller]:
        host = "localhost" if self._tls[1] else "127.0.0.1"
        caller = Caller(*await asyncio.open_connection(host, self.port, limit=1 << 26, ssl=self._tls[1]))
        try:
            caller.writer.write(data)
            yield caller
        finally:
            caller.writer.close()
            with contextlib.suppress(OSError):
                await caller.writer.wait_closed()

    async def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until the condition, asked at every turn of the loop, is true."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what a test waits for tells nobody
                await asyncio.sleep(0.001)

    @property
    def idle(self) -> bool:
        """Whether nothing is served any more."""
        return not self.gateway.exchanges and not self.gateway.serving


class _Logged(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


class Caller:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        fields = (line.partition(":") for line in lines[1:])
        return int(lines[0].split(" ")[1]), {name.lower(): value.strip() for name, _, value in fields}

    async def chunk(self) -> bytes:
        """One chunk of a chunked body; b"" is the last."""
        size = int(await self.reader.readline(), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.readexactly(int(headers["content-length"]))
        pieces = []
        while piece := await self.chunk():
            pieces.append(piece)
        return b"".join(pieces)

    async def until(self, mark: bytes) -> bytes:
        """A stream's bytes up to and including the chunk that holds the mark."""
        found = b""
        while mark not in found:
            piece = await self.chunk()
            if not piece:
                raise EOFError(found)
            found += piece
        return found

    def leave(self, reset: bool = False) -> None:
        """Close the connection: in order, or by a reset."""
        if reset:
            self.writer.transport.abort()
        else:
            self.writer.close()
