"""A client in bare bytes: what no SDK would send, and every byte of what comes back.

with Wire(port) as wire:
    wire.send(b"POST /v1/messages HTTP/1.1\\r\\n…")
    answer = wire.answer()              # one answer, parsed strictly
    assert wire.closed()
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import orjson

HOST = b"127.0.0.1"


@dataclass(frozen=True)
class Answer:
    """headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def request(path: str, body: Any = b"", method: str = "POST", **headers: str) -> bytes:
    """A request with a Content-Length. body: bytes, or what becomes JSON. headers: with _ for -."""
    data: bytes = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


class Wire:
    """One connection. Whatever takes longer than `seconds` fails the test."""

    def __init__(self, port: int, seconds: float = 20.0, receive_buffer: int | None = None) -> None:
        """receive_buffer: bytes that the kernel keeps for a client that does not read."""
        self.sock = socket.socket()
        self.sock.settimeout(seconds)
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.sock.connect((HOST.decode(), port))
        except OSError:
            self.sock.close()
            raise
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # -- what comes back --

    def until(self, mark: bytes) -> bytes:
        """Everything up to and including the mark. Raises EOFError."""
        while mark not in self._buffer:
            self._more()
        at = self._buffer.index(mark) + len(mark)
        found, self._buffer = self._buffer[:at], self._buffer[at:]
        return found

    def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def closed(self) -> bool:
        """Whether nothing but the end of the connection follows."""
        try:
            self._more()
        except EOFError:
            return not self._buffer
        return False

    def head(self) -> tuple[int, dict[str, str]]:
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")[:-2]
        version, status, _ = lines[0].split(" ", 2)
        assert version == "HTTP/1.1"
        return int(status), {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}

    def chunk(self) -> bytes:
        """One chunk of a chunked body; b"" is the last."""
        size = int(self.until(b"\r\n"), 16)
        data = self.exactly(size + 2)
        assert data[-2:] == b"\r\n"
        return data[:-2]

    def answer(self) -> Answer:
        status, headers = self.head()
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while piece := self.chunk():
                body += piece
        else:
            body = self.exactly(int(headers.get("content-length", "0")))
        return Answer(status, headers, body)

    def _more(self) -> None:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise EOFError(self._buffer[:500])
        self._buffer += data


def ask(port: int, data: bytes) -> Answer:
    """One request on a connection of its own."""
    with Wire(port) as wire:
        wire.send(data)
        return wire.answer()


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for what another process does and tells nobody."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
