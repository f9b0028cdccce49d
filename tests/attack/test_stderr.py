"""Standard error that nobody reads, that is read slowly, by several at once; and values that try to look like other lines."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dragoman.proxy.telemetry import stderr
from dragoman.proxy.telemetry.log import LogFormat, as_json, as_text

from ..conftest import free_port
from ..gateway.test_life import until
from ..gateway.wire import Wire, ask, request
from .conftest import Serve

CONFIG = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}, {type: admin, port: ADMIN}]
model_providers: [{model: demo/*}]
"""
# nobody serves this model: a long line in the log for little work
WRONG = request("/v1/chat/completions", {"model": "x" * 200, "messages": [{"role": "user", "content": "Hi"}]})
AT_ONCE = 50


def flood(port: int, lines: int) -> None:
    with Wire(port) as wire:
        for _ in range(lines // AT_ONCE):
            wire.send(WRONG * AT_ONCE)
            for _ in range(AT_ONCE):
                assert wire.answer().status == 404


class Reader:
    """Reads a pipe or a socket to its end, a little at a time."""

    def __init__(self, descriptor: int) -> None:
        self.found = bytearray()
        self._descriptor = descriptor
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while data := os.read(self._descriptor, 1000):
            self.found += data

    def lines(self) -> list[bytes]:
        """All, when the last writer has closed."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        return bytes(self.found).split(b"\n")


def told(found: bytes) -> int:
    """How many lines are missing, as the log says."""
    return sum(map(int, re.findall(rb'"(\d+) log lines were dropped', found)))


def missing(admin: int) -> float:
    text = ask(admin, request("/metrics", method="GET")).body.decode()
    return float(re.findall(r"^dragoman_log_lines_dropped_total (\S+)", text, re.MULTILINE)[0])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_log_that_nobody_reads_stops_nothing(serve: Serve, workers: str) -> None:
    admin = free_port()
    reading, writing = os.pipe()
    gateway = serve(CONFIG.replace("ADMIN", str(admin)), "--workers", workers, stderr=writing)
    os.close(writing)
    while not missing(admin):
        flood(gateway.port, 1000)
        assert ask(gateway.port, request("/healthz", method="GET")).status == 200
    dropped = missing(admin)
    reader = Reader(reading)
    until(lambda: told(bytes(reader.found)) >= dropped, 30)  # although nothing more is logged
    gateway.stop()
    lines = reader.lines()
    began = next(number for number, line in enumerate(lines) if line.startswith(b"models ")) + 1
    assert len([json.loads(line) for line in lines[began:] if line]) > 1000  # none is torn
    os.close(reading)


def test_a_process_whose_log_nobody_reads_ends_all_the_same(serve: Serve) -> None:
    reading, writing = os.pipe()
    gateway = serve(CONFIG.replace("ADMIN", str(free_port())), stderr=writing)
    os.close(writing)
    flood(gateway.port, 500)  # the pipe is full
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(10) == 0
    os.close(reading)


def test_the_descriptor_itself_stays_as_it_was(serve: Serve) -> None:
    """Others share it: a shell's terminal that does not block any more breaks what runs there next."""
    reading, writing = os.pipe()
    serve(CONFIG.replace("ADMIN", str(free_port())), stderr=writing)
    assert os.get_blocking(writing)
    os.close(writing)
    os.close(reading)


# ---- lines ----

WRITERS = """
import os, sys
from dragoman.proxy.telemetry import stderr
stderr.install(lambda count: "dropped\\n")
stderr.own().share()
child = os.fork()
if not child:
    stderr.forked()
letter = "b" if child else "a"
for length in [10, 20_000] * 8:
    print(letter * length, file=sys.stderr)
while stderr.flush():
    pass
if child:
    os.waitpid(child, 0)
os._exit(0)
"""


@pytest.mark.parametrize("kind", ["pipe", "socket", "file"])
def test_lines_of_several_processes_are_whole(tmp_path: Path, kind: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", WRITERS]
    if kind == "file":
        with (tmp_path / "log").open("wb") as file:
            subprocess.run(command, stderr=file, check=True, timeout=30)
        lines = (tmp_path / "log").read_bytes().split(b"\n")
    else:
        ends = os.pipe() if kind == "pipe" else tuple(sock.detach() for sock in socket.socketpair())
        with subprocess.Popen(command, stderr=ends[1]) as process:
            os.close(ends[1])
            lines = Reader(ends[0]).lines()
            assert process.wait(10) == 0
        os.close(ends[0])
    assert sorted(map(len, lines)) == [0] + [10] * 16 + [20_000] * 16
    assert all(len(set(line)) <= 1 for line in lines)


def test_what_is_dropped_is_counted_and_told_as_soon_as_it_can_be() -> None:
    reading, writing = os.pipe()
    output = stderr.Output(writing, lambda count: f"missing {count}\n")
    counted: list[int] = []
    output.on_drop = counted.append
    for number in range(3000):
        output.write(f"{number:>999}\n")
    assert output.dropped == sum(counted) > 1000
    kept = 3000 - output.dropped
    found = b""
    while output.flush() or select.select([reading], [], [], 0)[0]:
        found += os.read(reading, 1 << 20)
    lines = found.decode().splitlines()
    assert [line.strip() for line in lines] == [*map(str, range(kept)), f"missing {output.dropped}"]
    output.write("and on\n")
    assert os.read(reading, 100) == b"and on\n"
    os.close(reading)
    output.write("to nobody\n")  # raises nothing
    assert not output.flush()
    os.close(writing)


# ---- forgery ----

FOUND = {"time": "T", "status": 200, "shape": "chat", "operation": "chat", "ms_total": 1.0, "key": ""}
NASTY = ["a\nT 200 chat 1 ms", "a\r\x1b[2J", 'a" status=500 "', "a status=500", "\x9b31m", "\u202egnp", "\u2028", "\ud800", "\x00\x7f"]


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize("field", ["key", "error_message", "upstream", "tried"])
def test_a_value_stays_one_value_of_one_line(value: str, field: str) -> None:
    found = FOUND | {"lane": "bytes", "upstream_api": "chat", "upstream": "up/m"} | {field: [value] if field == "tried" else value}
    text = as_text(found)
    assert text.isprintable()
    assert text.count("status=") == text.count(r"status=500") * (" " in value or '"' in value)
    assert re.fullmatch(r'T 200 chat=chat ("([^"\\]|\\.)*"|[^ "]+) 1 ms( [a-z_]+=("([^"\\]|\\.)*"|[^ "=]+))*', text), text


@pytest.mark.parametrize("value", NASTY)
def test_a_line_of_json_holds_nothing_that_a_terminal_obeys(value: str) -> None:
    text = as_json(FOUND | {"key": value, "big": 1 << 70})
    assert text.isprintable()
    assert json.loads(text)["key"] == value


@pytest.mark.parametrize("form", ["text", "json"])
def test_messages_and_tracebacks_forge_no_line(form: str) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(LogFormat(form))
    logger = logging.Logger("dragoman")
    logger.addHandler(handler)
    try:
        raise ValueError("x\n2026-01-01 00:00:00,000 INFO dragoman: forged\x1b[2J")
    except ValueError:
        logger.exception("failed: %s", "POST /\n2026-01-01 00:00:00,000 INFO dragoman: forged")
    lines = out.getvalue().splitlines()
    assert all(line.isprintable() for line in lines)
    first, *more = lines
    assert "failed: POST /" in first
    assert len(lines) > 3 if form == "text" else len(lines) == 1
    assert all(line.startswith("    ") for line in more)
