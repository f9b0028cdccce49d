"""PostgreSQL and Redis servers of a test's own, which it may stop, freeze, demote and start again; and an address that moves between them.

A test whose server program is not installed is skipped and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import pytest

from ..conftest import free_port

STARTS_WITHIN = 30.0  # seconds, of a server on a busy machine


def _until(ready: Any, what: str) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Server:
    """kind: as of `state_storage.type`. url: where it is reached."""

    kind = ""
    url = ""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """For good."""
        if self.process is not None:
            self.thaw()
            self.process.kill()
            self.process.wait()

    def demote(self, on: bool = True) -> None:
        """Make it a server that only reads, without closing a connection; or one that writes again."""
        raise NotImplementedError

    def stop(self) -> None:
        """As an administrator's restart does it: connections are ended."""
        if self.process is not None:
            self.thaw()
            self.process.send_signal(signal.SIGINT)
            self.process.wait(STARTS_WITHIN)
            self.process = None

    def _family(self) -> list[int]:
        assert self.process is not None
        found, unseen = [], [self.process.pid]
        while unseen:
            pid = unseen.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                unseen += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def freeze(self) -> None:
        """It takes connections and bytes, and answers nothing."""
        for pid in self._family():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class OwnRedis(Server):
    kind = "redis"

    def __init__(self, *options: str) -> None:
        """options: of the command, beside our own."""
        pytest.importorskip("redis", reason="needs redis (dragoman[redis])")
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            pytest.skip("needs the redis-server command")
        super().__init__()
        self._program, self._options = program, options
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *self._options]
        self.process = subprocess.Popen([self._program, *options], stdout=subprocess.DEVNULL, cwd=tempfile.gettempdir())
        _until(self._answers, "redis-server did not start")

    def client(self) -> Any:
        import redis

        return redis.Redis(port=self.port)

    def _answers(self) -> bool:
        import redis

        try:
            with self.client() as client:
                return bool(client.ping())
        except (redis.RedisError, OSError):
            return False

    def demote(self, on: bool = True) -> None:
        with self.client() as client:
            client.config_set("replica-serve-stale-data", "yes")
            client.execute_command("REPLICAOF", *(("127.0.0.1", "1") if on else ("NO", "ONE")))


class OwnPostgres(Server):
    kind = "postgres"

    def __init__(self) -> None:
        self.psycopg = pytest.importorskip("psycopg", reason="needs psycopg (dragoman[postgres])")
        folders = [os.path.dirname(shutil.which("initdb") or ""), *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
        program = next((folder for folder in folders if folder and os.path.exists(f"{folder}/postgres")), None)
        if program is None:
            pytest.skip("needs PostgreSQL's initdb and postgres commands")
        super().__init__()
        self._program = program
        self._user = "nobody" if os.getuid() == 0 else None  # it refuses to run as root
        self._folder = tempfile.mkdtemp(prefix="dragoman-pg-")
        if self._user is not None:
            os.chown(self._folder, pwd.getpwnam(self._user).pw_uid, -1)
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._run("initdb", "-D", self._folder, "-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions", "-E", "UTF8").wait()

    def _run(self, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        account: dict[str, Any] = {} if self._user is None else {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid}
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self._folder}
        return subprocess.Popen([f"{self._program}/{command}", *arguments], **account, **quiet)

    def start(self) -> None:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "1MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.process = self._run("postgres", "-D", self._folder, *options)
        _until(self._answers, "postgres did not start")

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except self.psycopg.OperationalError:
            return False
        return True

    def execute(self, *statements: str) -> None:
        with self.psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            for statement in statements:
                connection.execute(statement)

    def demote(self, on: bool = True) -> None:
        self.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}", "SELECT pg_reload_conf()")

        def took_over() -> bool:
            with self.psycopg.connect(self.url) as connection:
                row = connection.execute("SHOW default_transaction_read_only").fetchone()
            return bool(row and row[0] == ("on" if on else "off"))

        _until(took_over, "the setting was not taken over")

    def end(self) -> None:
        super().end()
        shutil.rmtree(self._folder, ignore_errors=True)


def running(kind: str) -> Server:
    """A server of this kind that runs within a `with` block."""
    return OwnRedis() if kind == "redis" else OwnPostgres()


class Address:
    """A TCP address that leads to one server now and perhaps to another later; connections that stand stay where they are.

    delay: seconds that each piece of an answer takes longer.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0
        self.taken = 0  # connections
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Address:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        pumps = [asyncio.create_task(self._pump(reader, up_writer, False)), asyncio.create_task(self._pump(up_reader, writer, True))]
        self._tasks.update(pumps)
        for pump in pumps:
            pump.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        try:
            while data := await reader.read(65536):
                if answers and self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
