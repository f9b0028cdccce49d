"""Scripts in a process of their own, and in a network of their own: no limit, no name server and no queue there is anybody else's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# a name server on the namespace's loopback: names that begin with `slow` get no answer, all others are 127.0.0.1
NAMES_SERVER = """
import pathlib, socket, struct, subprocess, tempfile, threading

asked = set()
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))

def answer():
    while True:
        query, client = server.recvfrom(512)
        name = query[13 : 13 + query[12]].decode()
        if name.startswith("slow"):
            asked.add(name)
            continue
        question = query[12 : query.index(0, 12) + 5]
        is_a = question[-4:-2] == bytes([0, 1])
        record = struct.pack("!HHHIH4B", 0xC00C, 1, 1, 60, 4, 127, 0, 0, 1) if is_a else b""
        server.sendto(query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(is_a), 0, 0) + question + record, client)

threading.Thread(target=answer, daemon=True).start()
file = pathlib.Path(tempfile.mkdtemp(), "resolv.conf")
file.write_text("nameserver 127.0.0.1\\noptions timeout:30 attempts:1\\n")
subprocess.run(["mount", "--bind", file, "/etc/resolv.conf"], check=True)
"""


def run(script: str, *arguments: str, before: tuple[str, ...] = ()) -> str:
    """What the script writes. It fails the test when it fails, or does not end within a minute."""
    command = [*before, sys.executable, "-W", "ignore", "-c", script, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_namespace(script: str, *arguments: str) -> str:
    """`run` with a network and mounts of its own, where this user may make them; else the test is skipped."""
    unshare = shutil.which("unshare")
    inside = (unshare or "", "-rnm", "sh", "-c", 'ip link set lo up && exec "$0" "$@"')
    if unshare is None or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("needs unshare, ip and the right to make namespaces")
    return run(script, *arguments, before=inside)
