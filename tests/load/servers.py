"""The processes of the load tests: the provider, and what stands before it. Each ends with its `with` block."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_GATEWAY = """
version: v0.3.0
listeners: [{{type: model, name: load, address: 127.0.0.1, port: {port}}}]
model_providers:
  - {{model: chat/*, provider_interface: openai, apis: [chat_completions], base_url: "http://127.0.0.1:{upstream}", access_key: k}}
  - {{model: messages/*, provider_interface: anthropic, apis: [messages], base_url: "http://127.0.0.1:{other}", access_key: k}}
  - {{model: responses/*, provider_interface: openai, apis: [responses], base_url: "http://127.0.0.1:{upstream}", access_key: k}}
"""

_NGINX = """
worker_processes 1; worker_rlimit_nofile 20000; pid nginx.pid; error_log stderr error; daemon off;
events {{ worker_connections 12000; }}
http {{
  access_log off; client_max_body_size 100m; client_body_buffer_size 2m; keepalive_requests 1000000;
  client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 4096; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
  }}
}}
"""

# uvloop hidden, as if it were not installed
_WITHOUT_UVLOOP = "import sys; sys.modules['uvloop'] = None; from dragoman.proxy.cli import main; sys.exit(main(sys.argv[1:]))"

# nothing is counted, logged or traced when an exchange begins and ends: what these cost is the difference
_SILENT = (
    "import sys; from dragoman.proxy.cli import main; "
    "from dragoman.proxy.exchange import exchange; from dragoman.proxy.telemetry import metrics; "
    "exchange.settle = lambda *_: None; metrics.Metrics.opened = lambda *_: None; sys.exit(main(sys.argv[1:]))"
)
_PROGRAMS = {"dragoman-asyncio": ["-c", _WITHOUT_UVLOOP], "dragoman-silent": ["-c", _SILENT]}
_TRACING = 'tracing: {{otlp_endpoint: "http://127.0.0.1:{upstream}", random_sampling: 100}}\n'


@dataclass(frozen=True)
class Under:
    """What is measured. pid: of the process (its children count too). log: what it prints."""

    port: int
    pid: int
    translates: bool
    log: Path


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def pinned(core: int | None) -> list[str]:
    """A command prefix that keeps a process on one core, where there is more than one."""
    return ["taskset", "-c", str(core)] if core is not None and shutil.which("taskset") and (os.cpu_count() or 1) > 1 else []


@contextlib.contextmanager
def provider(core: int | None = None) -> Iterator[tuple[int, int]]:
    """Its port and its process id."""
    command = [*pinned(core), sys.executable, "-m", "tests.load.provider", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def commands(name: str, port: int, upstream: int, folder: Path, other: int | None = None, entries: str = "") -> list[str]:
    """How something under test is started. other: the provider of the messages shape. entries: more of the gateway's `model_providers`,
    with UPSTREAM for the provider's URL.

    Raises LookupError without its program.
    """
    if name.startswith("dragoman"):
        config = folder / "gateway.yaml"
        ports = {"port": port, "upstream": upstream, "other": other or upstream}
        traced = _TRACING.format(**ports) if name == "dragoman-traced" else ""
        config.write_text(_GATEWAY.format(**ports) + entries.replace("UPSTREAM", f"http://127.0.0.1:{upstream}") + traced)
        start = _PROGRAMS.get(name, ["-m", "dragoman.proxy"])
        workers = ["--workers", name.removeprefix("dragoman-x")] if name.startswith("dragoman-x") else []
        return [sys.executable, *start, "serve", str(config), *workers]
    if name == "relay":
        return [sys.executable, "-m", "tests.load.relay", str(port), str(upstream)]
    program = shutil.which("nginx")
    if program is None:
        raise LookupError("nginx is not installed")
    (folder / "nginx.conf").write_text(_NGINX.format(port=port, upstream=upstream))
    return [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]


NAMES = ("dragoman", "dragoman-asyncio", "relay", "nginx")  # what is measured unless something else is asked for


@contextlib.contextmanager
def under_test(name: str, upstream: int, core: int | None = None, other: int | None = None, entries: str = "") -> Iterator[Under]:
    """One of NAMES, dragoman-xN (N workers), dragoman-silent or dragoman-traced, before the provider at this port.

    dragoman-silent counts, logs and traces nothing; dragoman-traced traces every request, with the provider as collector.
    entries: as of commands().
    """
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = commands(name, port, upstream, Path(folder), other, entries)
        clean = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
        with open(Path(folder) / "log", "w+") as log:
            process = subprocess.Popen([*pinned(core), *command], stderr=log, stdout=log, cwd=ROOT, env=clean)
            try:
                _await_answer(port, process, Path(folder) / "log")
                yield Under(port, process.pid, name.startswith("dragoman"), Path(folder) / "log")
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _await_answer(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/readyz")
            connection.getresponse().read()
            connection.close()
            return
        time.sleep(0.005)
    raise RuntimeError(f"not ready: {log.read_text()[-500:]}")


# ---- accounting ----


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """What a process and its descendants have run so far, from the scheduler's own account (nanoseconds)."""
    return sum(_run(one) for one in tree(pid)) / 1e9


def _run(pid: int) -> int:
    total = 0
    for task in _tasks(pid):
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total


def _tasks(pid: int) -> Sequence[Path]:
    with contextlib.suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def memory_mb(pid: int) -> float:
    """Resident memory, shared pages counted once for each process."""
    pages = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
