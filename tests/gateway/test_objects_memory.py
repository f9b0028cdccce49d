"""Uploads and downloads of any size in constant memory, by a process of its own."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import Running, Start
from ..scripted import Provider, Request, Steps, respond
from .wire import Wire

MB = 1 << 20
SIZE = int(os.environ.get("DRAGOMAN_OBJECT_MB", "128")) * MB  # as much as is asked for by hand
MOST = 24 * MB  # that the process may grow by: buffers of the kernel are not among it

CONFIG = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
model_providers: [{model: openai/*, discover: false, base_url: UPSTREAM/v1, access_key: sk-upstream}]
"""
PIECE = bytes(range(256)) * (MB // 256)


class Pattern:
    """Notes whether the bytes are those that are sent, in order, however they are cut."""

    def __init__(self) -> None:
        self.size, self.right = 0, True

    def feed(self, data: bytes) -> None:
        at = self.size % 256
        self.right = self.right and data == (PIECE + PIECE)[at : at + len(data)]
        self.size += len(data)


def script(seen: Pattern) -> object:
    def steps(request: Request) -> Steps:
        if request.method == "GET":
            yield b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % SIZE
            for _ in range(SIZE // MB):
                yield PIECE
            return

        def read(connection: object) -> None:
            while seen.size < SIZE:
                seen.feed(connection.read(min(65536, SIZE - seen.size)))  # type: ignore[attr-defined]

        yield read
        yield respond({"id": "file-1"})

    return steps


@pytest.fixture
def seen() -> Pattern:
    return Pattern()


@pytest.fixture
def gateway(start: Start, seen: Pattern) -> Iterator[Running]:
    with Provider(script(seen), early=True) as provider:  # type: ignore[arg-type]
        yield start(CONFIG.replace("UPSTREAM", provider.url))


def memory(pid: int, field: str = "VmHWM") -> int:
    """Bytes of a process and its children; VmHWM is the most that there was."""
    pids = [pid, *(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    lines = [line for one in pids for line in Path(f"/proc/{one}/status").read_text().splitlines() if line.startswith(field)]
    return sum(int(line.split()[1]) * 1024 for line in lines)


def upload(port: int, size: int) -> bytes:
    with Wire(port, seconds=600) as wire:
        wire.send(
            b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: %d\r\n\r\n" % size
        )
        for _ in range(size // MB):
            wire.send(PIECE)
        return wire.answer().body


def download(port: int, seen: Pattern) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=600) as sock:
        sock.sendall(b"GET /v1/files/file-1/content HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        with sock.makefile("rb") as reader:
            assert b" 200 " in reader.readline()
            while reader.readline() != b"\r\n":
                pass
            while data := reader.read(65536):
                seen.feed(data)


@pytest.mark.slow
def test_memory_is_constant(gateway: Running, seen: Pattern) -> None:
    before = memory(gateway.process.pid, "VmRSS")
    assert upload(gateway.port, SIZE) == b'{"id":"file-1"}'
    assert (seen.size, seen.right) == (SIZE, True)
    came = Pattern()
    download(gateway.port, came)
    assert (came.size, came.right) == (SIZE, True)
    most = memory(gateway.process.pid)
    print(f"{SIZE // MB} MB up and down: {before / MB:.1f} MB before, {most / MB:.1f} MB at most")
    assert most < before + MOST


@pytest.mark.slow
def test_memory_is_constant_for_several_at_once(gateway: Running, seen: Pattern) -> None:
    before = memory(gateway.process.pid, "VmRSS")
    came = [Pattern() for _ in range(4)]
    threads = [threading.Thread(target=download, args=(gateway.port, one)) for one in came]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(one.size, one.right) for one in came] == [(SIZE, True)] * 4
    assert memory(gateway.process.pid) < before + MOST
