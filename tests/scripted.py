"""A scripted provider: a server on a real socket whose every byte, pause and ending a test decides.

    gate = Gate()

    def script(request):
        if request.target == "/v1/models":
            return [respond({"data": []})]
        return [stream_head(), chunk(sse({"n": 1})), wait(gate), chunk(sse("[DONE]")), LAST_CHUNK]

    with Provider(script) as provider:
        ...                                     # use provider.url
        gate.open()
        provider.wait_for(lambda: provider.connections[0].closed_by == "peer")      # in an async test: await provider.seen(...)
        assert provider.requests[0].body == b"..."

A script gives the steps that answer one request: bytes are sent as they are, a function is called with the connection (send,
wait, close and so on, below, make such functions). After the last step the next request on the connection is read (keep-alive),
unless a step closed it. A script may be a generator, which then runs between its steps; a list of steps serves every request.

Strategy: one thread a connection, in plain blocking calls, so that sync tests with the real SDKs and async tests use the same
server. A script that raises fails the test when the `with` block ends. Requests are read by their Content-Length only.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import select
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson
import pytest

Step = bytes | Callable[["Connection"], None]
Steps = Iterable[Step]


@dataclass
class Request:
    """A request as it came. headers: names in lower case. connection: which of provider.connections brought it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Gate:
    """Shut until open() is called; a step waits at it with wait(gate)."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def open(self) -> None:
        os.write(self._write, b"x")  # never read, so it stays open

    def fileno(self) -> int:
        return self._read

    def __del__(self) -> None:
        os.close(self._read)
        os.close(self._write)


class PeerGone(Exception):
    """The peer closed the connection."""


@dataclass(eq=False)
class Connection:
    """One accepted connection. sent: bytes that the kernel took. closed_by: "" while open, then "peer" or "script"."""

    provider: Provider
    sock: socket.socket
    number: int
    requests: list[Request] = field(default_factory=list)
    sent: int = 0
    closed_by: str = ""

    def send(self, data: bytes, every: int = 64 * 1024) -> None:
        view = memoryview(data)
        while view:
            try:
                count = self.sock.send(view[:every])
            except OSError:
                raise PeerGone from None
            view = view[count:]
            with self.provider.changed:
                self.sent += count
                self.provider.changed.notify_all()

    def wait(self, gate: Gate | None) -> None:
        """Until the gate opens. Raises PeerGone when the peer closes first."""
        poll = select.poll()
        poll.register(self.sock, getattr(select, "POLLRDHUP", 0))
        if gate is not None:
            poll.register(gate, select.POLLIN)
        ready = [fd for fd, _ in poll.poll()]
        if gate is None or gate.fileno() not in ready:
            raise PeerGone

    def read(self, size: int) -> bytes:
        """Bytes of a body that was not read before the script (early=True). Raises PeerGone."""
        try:
            data = self.reader.read(size)
        except OSError:
            raise PeerGone from None
        if len(data) < size:
            raise PeerGone
        return data

    def close(self, reset: bool = False) -> None:
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end("script")

    # -- the thread --

    def serve(self, script: Callable[[Request], Steps], on_connect: Steps, early: bool, tls: ssl.SSLContext | None) -> None:
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.perform(on_connect)
            if self.closed_by:
                return
            if tls is not None:
                self.sock = tls.wrap_socket(self.sock, server_side=True)
            self.reader = self.sock.makefile("rb")
            while not self.closed_by:
                request = self.next_request(early)
                with self.provider.changed:
                    self.requests.append(request)
                    self.provider.requests.append(request)
                    self.provider.changed.notify_all()
                self.perform(script(request))
        except (PeerGone, OSError):
            self.end("peer")
        except Exception as error:
            self.provider.failures.append(error)
            self.end("script")

    def perform(self, steps: Steps) -> None:
        for step in steps:
            if isinstance(step, bytes):
                self.send(step)
            else:
                step(self)
            if self.closed_by:
                return

    def next_request(self, early: bool) -> Request:
        lines = []
        while (line := self.reader.readline()) not in (b"\r\n", b""):
            lines.append(line.decode("latin-1").rstrip("\r\n"))
        if not line:
            raise PeerGone
        method, target, _ = lines[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        body = b"" if early else self.read(int(headers.get("content-length", 0)))
        return Request(method, target, headers, body, self.number)

    def end(self, by: str) -> None:
        with self.provider.changed:
            if not self.closed_by:
                self.closed_by = by
                with contextlib.suppress(AttributeError, OSError):
                    self.reader.close()
                self.sock.close()
                self.provider.changed.notify_all()


class Provider:
    """The server; listens within its `with` block.

    script: the steps for a request, or a function of the request that gives them. on_connect: steps for each new connection,
    before TLS and before anything is read. early: the script runs when a request's head is there, and its body is left for
    read_body(). tls: the server's context, see tls_contexts().

    url, port; requests, all in order; connections, in order; changed: the condition notified whenever one of them changes.
    """

    def __init__(
        self,
        script: Steps | Callable[[Request], Steps],
        *,
        on_connect: Steps = (),
        early: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.connections: list[Connection] = []
        self.changed = threading.Condition(threading.RLock())
        self.failures: list[Exception] = []
        steps = script if callable(script) else list(script)
        self._serve = (steps if callable(steps) else lambda request: steps, list(on_connect), early, tls)
        self._stop = Gate()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Provider:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        scheme, host = ("https", "localhost") if self._serve[3] else ("http", "127.0.0.1")
        self.url = f"{scheme}://{host}:{self.port}"
        self._start(self._accept)
        return self

    async def __aenter__(self) -> Self:
        """So that `async with` can open it beside what is used in the loop."""
        self.__enter__()
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.__exit__(kind, error, trace)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._stop.open()
        self._threads[0].join()
        self._listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        if self.failures and error is None:
            raise self.failures[0]

    def wait_for(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Block until `condition` is true; it is asked whenever something changed here, and now and then, as it may look elsewhere."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while not condition():
                assert time.monotonic() < deadline, "the provider never saw what the test waits for"
                self.changed.wait(0.1)

    async def seen(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """wait_for() for async tests."""
        await asyncio.to_thread(self.wait_for, condition, seconds)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        while self._stop.fileno() not in [fd for fd, _ in poll.poll()]:
            sock, _ = self._listener.accept()
            with self.changed:
                connection = Connection(self, sock, len(self.connections))
                self.connections.append(connection)
                self.changed.notify_all()
            self._start(connection.serve, *self._serve)


# ---- steps ----


def send(data: bytes, every: int) -> Step:
    """Send in writes of `every` bytes."""
    return lambda connection: connection.send(data, every)


def wait(gate: Gate) -> Step:
    """Wait until the gate opens; when the peer closes first, the connection ends."""
    return lambda connection: connection.wait(gate)


def until_closed(connection: Connection) -> None:
    """Wait until the peer closes."""
    connection.wait(None)


def read_body(size: int) -> Step:
    """Read so many bytes of the body, with Provider(early=True)."""

    def step(connection: Connection) -> None:
        connection.read(size)

    return step


def close(connection: Connection) -> None:
    """Close in order (FIN)."""
    connection.close()


def reset(connection: Connection) -> None:
    """Close by a reset (RST)."""
    connection.close(reset=True)


# ---- bytes ----

LAST_CHUNK = b"0\r\n\r\n"


def respond(body: Any = b"", status: int = 200, **headers: str) -> bytes:
    """A whole response. body: bytes, or what becomes JSON. headers: with _ for -."""
    if not isinstance(body, bytes):
        body = orjson.dumps(body)
        headers = {"content_type": "application/json"} | headers
    data: bytes = body
    return _head(status, headers | {"content_length": str(len(data))}) + data


def stream_head(status: int = 200, **headers: str) -> bytes:
    """The head of a chunked event stream."""
    return _head(status, {"content_type": "text/event-stream"} | headers | {"transfer_encoding": "chunked"})


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def sse(data: Any, event: str | None = None) -> bytes:
    """One event: a string as it is, anything else as JSON."""
    text = data.encode() if isinstance(data, str) else orjson.dumps(data)
    return (b"event: %b\n" % event.encode() if event else b"") + b"data: %b\n\n" % text


def frames(*events: bytes) -> list[Step]:
    """A stream of these events that is not over."""
    return [stream_head(), *map(chunk, events)]


def stream(*events: bytes) -> list[Step]:
    """A whole event stream, one write for each event."""
    return [stream_head(), *(chunk(event) for event in events), LAST_CHUNK]


# ---- TLS ----


@functools.cache
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Server's and client's context for a fresh self-signed certificate of localhost. Skips the test if there is no openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = str(Path(folder, "key.pem")), str(Path(folder, "certificate.pem"))
        command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
        subprocess.run(command, check=True, capture_output=True)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, key)
        client = ssl.create_default_context(cafile=certificate)
    return server, client
