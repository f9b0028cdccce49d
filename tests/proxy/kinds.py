"""The four stores as tests meet them: real servers, found by DRAGOMAN_TEST_POSTGRES and DRAGOMAN_TEST_REDIS or on their usual ports.

A test of a store whose server (or driver) is not there is skipped and says so.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlsplit

import pytest

from ..conftest import free_port

KINDS = ("memory", "sqlite", "postgres", "redis", "cluster")

POSTGRES = os.environ.get("DRAGOMAN_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")
REDIS = os.environ.get("DRAGOMAN_TEST_REDIS", "redis://127.0.0.1:6379/15")


def reachable(url: str, port: int) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or port), 2).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A connection string with a schema of its own."""
    psycopg = pytest.importorskip("psycopg", reason="needs psycopg (dragoman[postgres])")
    if not reachable(POSTGRES, 5432):
        pytest.skip(f"no PostgreSQL at {urlsplit(POSTGRES).hostname}: set DRAGOMAN_TEST_POSTGRES")
    schema = f"dragoman_{secrets.token_hex(6)}"
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    try:
        glue = "&" if "?" in POSTGRES else "?"
        yield f"{POSTGRES}{glue}options={quote(f'-csearch_path={schema}')}&application_name={schema}"
    finally:
        with psycopg.connect(POSTGRES, autocommit=True) as connection:
            connection.execute("SET client_min_messages = warning")
            for _ in range(9):  # a gateway that was killed may still be in a transaction there
                with contextlib.suppress(psycopg.errors.DeadlockDetected):
                    connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
                    break


@contextlib.contextmanager
def redis() -> Iterator[str]:
    pytest.importorskip("redis", reason="needs redis (dragoman[redis])")
    if not reachable(REDIS, 6379):
        pytest.skip(f"no Redis at {urlsplit(REDIS).hostname}: set DRAGOMAN_TEST_REDIS")
    yield REDIS


class Cluster:
    """A Redis cluster of two servers in processes of their own."""

    def __init__(self, program: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.ports = [free_port() for _ in range(2)]
        self._servers = []
        for port in self.ports:
            options = ["--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--save", "", "--appendonly", "no"]
            options += ["--cluster-port", str(free_port()), "--cluster-config-file", f"{self._folder.name}/{port}.conf"]
            self._servers.append(subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, cwd=self._folder.name))
        self.url = f"redis://127.0.0.1:{self.ports[0]}"

    def form(self) -> None:
        import redis as driver

        nodes = [driver.Redis(port=port) for port in self.ports]
        deadline = time.monotonic() + 20
        for node in nodes:
            while time.monotonic() < deadline and not _answers(node):
                time.sleep(0.02)
        half = 8192
        nodes[0].execute_command("CLUSTER ADDSLOTSRANGE", 0, half - 1)
        nodes[1].execute_command("CLUSTER ADDSLOTSRANGE", half, 16383)
        bus = int(nodes[1].config_get("cluster-port")["cluster-port"])
        nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", self.ports[1], bus)
        while time.monotonic() < deadline and any(n.cluster("info")["cluster_state"] != "ok" for n in nodes):
            time.sleep(0.02)
        for node in nodes:
            node.close()

    def stop(self) -> None:
        for server in self._servers:
            server.kill()
            server.wait()
        self._folder.cleanup()


def _answers(node) -> bool:
    try:
        return bool(node.ping())
    except OSError:
        return False
    except Exception as error:  # redis' own exceptions, without importing it for tests that do not need it
        if type(error).__module__.startswith("redis"):
            return False
        raise


@functools.cache
def cluster() -> Cluster:
    """One cluster for the whole run; `stop_cluster` ends it."""
    pytest.importorskip("redis", reason="needs redis (dragoman[redis])")
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("needs the redis-server command to make a cluster")
    found = Cluster(program)
    found.form()
    return found


def stop_cluster() -> None:
    if cluster.cache_info().currsize:
        cluster().stop()
        cluster.cache_clear()


@contextlib.contextmanager
def place(kind: str, folder) -> Iterator[Callable]:
    """A way to make stores of this kind which all keep the same entries."""
    from dragoman.proxy.memory.stores.memory import MemoryStore
    from dragoman.proxy.memory.stores.sqlite import SqliteStore

    if kind == "memory":
        yield lambda **options: MemoryStore(1000, **options)
    elif kind == "sqlite":
        yield functools.partial(SqliteStore, str(folder / "state.db"))
    elif kind == "postgres":
        with postgres() as address:
            from dragoman.proxy.memory.stores.postgres import PostgresStore

            yield functools.partial(PostgresStore, address)
    else:
        with redis() if kind == "redis" else contextlib.nullcontext(cluster().url) as url:
            from dragoman.proxy.memory.stores.redis import RedisStore

            yield functools.partial(RedisStore, url)
