"""A real gateway in a process of its own, for tests that drive it over sockets with the vendors' SDKs."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.request import urlopen

import pytest
from hypothesis import HealthCheck, settings
from packaging.version import parse

# pytest-tornado asks pkg_resources for one function, and setuptools has no pkg_resources any more
_versions = ModuleType("pkg_resources")
_versions.parse_version = parse  # type: ignore[attr-defined]
sys.modules.setdefault("pkg_resources", _versions)
pytest_plugins = ["pytest_tornado.plugin"]


# the same examples in every run, and no limits of time: nothing fails by chance, or because the machine is busy; `tox -e long` draws others
_LONG = "DRAGOMAN_FUZZ" in os.environ
settings.register_profile("suite", deadline=None, derandomize=not _LONG, suppress_health_check=list(HealthCheck))
settings.load_profile("suite")

PORTS, FIRST_PORT = 1000, 13_000  # of each process that runs tests; below the ports that the kernel gives to those who name none
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 19
_PORTS = itertools.cycle(random.sample(range(FIRST_PORT + _PROCESS * PORTS, FIRST_PORT + (_PROCESS + 1) * PORTS), PORTS))


def free_port() -> int:
    """A port that nobody has, and that no other test is given before it is used."""
    for port in _PORTS:
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def refusing_socket() -> socket.socket:
    """Of a port that refuses connections as long as this is open: nobody else can be given it meanwhile."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


class Running:
    """A gateway process. url: its root. log(): what it wrote to stderr so far."""

    def __init__(self, arguments: list[str], port: int, environ: dict[str, str] | None = None, **how: Any) -> None:
        """how: for Popen, instead of a log in a file and the folder of temporary files."""
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = tempfile.TemporaryFile("a+b")  # who reads it here does not move the place where the process writes
        clean = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
        command = [sys.executable, "-W", "ignore", "-m", "dragoman.proxy", "serve", *arguments]
        how = {"stderr": self._log, "cwd": tempfile.gettempdir()} | how
        self.process = subprocess.Popen(command, env=clean | (environ or {}), **how)
        try:
            self._await_ready()
        except BaseException:  # nobody has it yet who would end it
            self.process.kill()
            self.process.wait()
            raise

    def _await_ready(self) -> None:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the gateway ended with {self.process.returncode}:\n{self.log()}")
            try:
                with urlopen(self.url + "/readyz", timeout=5):
                    return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"the gateway is not ready:\n{self.log()}")

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode()

    def stop(self, expected: int | None = 0) -> None:
        """SIGTERM, and the exit code that belongs to it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(100)
        self._log.seek(0)
        if expected is not None:
            assert code == expected, self.log()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()


Start = Callable[..., Running]


@pytest.fixture(scope="session")
def start_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    yield from _starting(tmp_path_factory.mktemp("gateways"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(config_text, **environ) runs a gateway with that configuration (`PORT` in it is replaced); it ends with the test."""
    yield from _starting(tmp_path)


def _starting(folder: Path) -> Iterator[Start]:
    started: list[Running] = []

    def run(config: str | None = None, *arguments: str, **environ: str) -> Running:
        port = free_port()
        if config is None:
            gateway = Running(["--port", str(port), "--host", "127.0.0.1", *arguments], port, environ)
        else:
            file = folder / f"gateway-{len(started)}.yaml"
            file.write_text(config.replace("PORT", str(port)))
            gateway = Running([str(file), *arguments], port, environ)
        started.append(gateway)
        return gateway

    try:
        yield run
    finally:
        for gateway in started:
            gateway.close()
