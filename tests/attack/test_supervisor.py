"""What the supervisor of several workers meets: children that are not its own, and workers that cannot start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import free_port
from ..gateway.test_life import READY, until
from ..gateway.wire import ask

CONFIG = "listeners: [{type: model, address: 127.0.0.1, port: PORT}]\nmodel_providers: [{model: demo/*}]\n"

# as PID 1 of a container inherits orphans, this process has a child that the supervisor has not started
WITH_A_STRANGER = """
import os, sys
from dragoman.proxy.cli import main
end = int(sys.argv.pop(1))
if not os.fork():
    os.read(end, 1)
    os._exit(3)
sys.exit(main(sys.argv[1:]))
"""


def test_the_end_of_a_foreign_child_ends_nothing(tmp_path: Path) -> None:
    port, file, log = free_port(), tmp_path / "gateway.yaml", tmp_path / "log"
    file.write_text(CONFIG.replace("PORT", str(port)))
    reading, writing = os.pipe()
    command = [sys.executable, "-W", "ignore", "-c", WITH_A_STRANGER, str(reading), "serve", str(file), "--workers", "2"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stderr=out, pass_fds=[reading])
    try:
        until(lambda: len(_children(process.pid)) == 3)
        (stranger, *workers) = sorted(_children(process.pid))
        until(lambda: _ready(port))
        os.write(writing, b"x")
        until(lambda: not Path(f"/proc/{stranger}").exists())  # it is buried too
        assert sorted(_children(process.pid)) == workers
        assert ask(port, READY).status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert "worker" not in log.read_text()
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(writing)


WITH_A_BUG = """
import sys
from dragoman import conf
from dragoman.proxy.cli import main
load = conf.load

def broken(path, *rest):
    if "bug" in open(path).read():
        raise LookupError("none of the errors that a configuration has")
    return load(path, *rest)

conf.load = broken
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bug_in_the_loader_ends_nothing_at_a_reload(tmp_path: Path, workers: str) -> None:
    """The running configuration stays, also for a worker that starts later."""
    port, file, log = free_port(), tmp_path / "gateway.yaml", tmp_path / "log"
    file.write_text(CONFIG.replace("PORT", str(port)))
    command = [sys.executable, "-W", "ignore", "-c", WITH_A_BUG, "serve", str(file), "--workers", workers]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stderr=out)
    try:
        until(lambda: _ready(port))
        file.write_text("# bug\n" + CONFIG.replace("PORT", str(port)))
        process.send_signal(signal.SIGHUP)
        until(lambda: log.read_text().count("the configuration was not changed") == int(workers))
        if workers == "2":
            until(lambda: "have the configuration from before" in log.read_text())
            before = _children(process.pid)
            os.kill(before[0], signal.SIGKILL)
            until(lambda: len(set(_children(process.pid)) - set(before)) == 1)
        until(lambda: _ready(port))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _ready(port: int) -> bool:
    try:
        return ask(port, READY).status == 200
    except (OSError, EOFError):
        return False


CREW = """
import os, sys
from dragoman.proxy.process.supervisor import SERVING, Supervisor

class Crew:
    def open(self, number):
        os.write(1, b"start\\n")
        return {}
    def renew(self):
        pass
    def work(self, number, sockets, orders):
        WORK
        return 0

sys.exit(Supervisor(Crew(), range(1, 3)).run())
"""


def crew(work: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CREW.replace("WORK", work)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("code", [1, 2])
def test_workers_that_cannot_start_are_not_started_for_ever(code: int) -> None:
    with crew(f"sys.exit({code}) if number == 1 else orders.recv(1)") as process:
        out, err = process.communicate(timeout=20)
        assert process.returncode == code
    assert out.count(b"start") <= 2
    assert b"could not start" in err


def test_a_worker_that_served_before_it_failed_is_replaced() -> None:
    with crew("orders.send(SERVING); orders.recv(1); orders.recv(1) if number == 1 else sys.exit(1)") as process:
        assert process.stdout is not None
        try:
            assert [process.stdout.readline() for _ in range(2)] == [b"start\n"] * 2
            until(lambda: len(_children(process.pid)) == 2)
            process.send_signal(signal.SIGHUP)  # an order, at which number 2 fails
            assert process.stdout.readline() == b"start\n"
        finally:
            process.kill()


def test_a_worker_that_obeys_nothing_is_killed_after_a_second_signal() -> None:
    with crew("orders.send(SERVING); import threading; threading.Event().wait()") as process:
        assert process.stdout is not None
        for _ in range(2):
            process.stdout.readline()
        until(lambda: len(_children(process.pid)) == 2)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 1


def test_workers_hear_of_the_end_of_their_supervisor_however_many_they_are() -> None:
    """None of them holds the parent's end of another one's orders."""
    with crew("\n        while orders.recv(1): pass") as process:
        assert process.stdout is not None
        for _ in range(2):
            process.stdout.readline()
        until(lambda: len(_children(process.pid)) == 2)
        workers = _children(process.pid)
        process.kill()
        until(lambda: not any(Path(f"/proc/{pid}").exists() and _alive(pid) for pid in workers))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
