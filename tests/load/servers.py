"""The load tests' provider as a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def provider(prefix: tuple[str, ...] = ()) -> Iterator[tuple[int, int]]:
    """Its port and its process id. prefix: a command before it, as taskset."""
    command = [*prefix, sys.executable, "-m", "tests.load.provider", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
