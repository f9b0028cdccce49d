"""The commands of the pages that lead by example are run, in their order, and print what the pages say.

In a page, `<!-- file: NAME -->` stands before a block that becomes a file, `<!-- prints -->` before what the commands above print: each
line is part of a line of theirs. Blocks marked `sh` are run; ports are replaced by free ones.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import free_port

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"(?:<!-- (file|prints)(?:: (\S+))? -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
KEYS = ("OPENAI_API_KEY", "AZURE_API_KEY", "ANTHROPIC_API_KEY", "LITELLM_MASTER_KEY")


class Shell:
    """Runs a page's commands in a folder of their own."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.ports = {"12000": str(free_port()), "12001": str(free_port()), "port: 4000": f"port: {free_port()}"}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environ = {"PATH": path, "HOME": str(folder)} | environ
        self.printed = ""
        self.ran = 0

    def placed(self, text: str) -> str:
        for written, free in self.ports.items():
            text = text.replace(written, free)
        return text

    def block(self, mark: str, name: str, kind: str, text: str) -> None:
        if mark == "file":
            (self.folder / name).write_text(self.placed(text))
        elif mark == "prints":
            missing = [line for line in text.splitlines() if line not in self.printed]
            assert not missing, self.printed
        elif kind == "sh":
            command = ["bash", "-e", "-o", "pipefail", "-c", self.placed(text)]
            ran = subprocess.run(command, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False, timeout=60)
            assert ran.returncode == 0, f"{text}\n{ran.stdout}{ran.stderr}"
            self.printed = ran.stdout + ran.stderr
            self.ran += 1


def blocks(page: str) -> list[tuple[str, str, str, str]]:
    return BLOCK.findall((DOCS / page).read_text())


def test_coming_from_litellm(tmp_path: Path) -> None:
    shell = Shell(tmp_path, dict.fromkeys(KEYS, "k"))
    for found in blocks("litellm.md"):
        shell.block(*found)
    assert shell.ran == 1
    assert "model_list[1].litellm_params.rpm: limits are of callers' keys" in shell.printed
    assert "gpt-4o goes to" in shell.printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands need curl")
def test_troubleshooting(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {})
    first, *others = blocks("troubleshooting.md")
    shell.block(*first)
    command = [sys.executable, "-m", "dragoman.proxy", "serve", "dragoman.yaml"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, cwd=tmp_path, env=shell.environ, stderr=log) as gateway,
    ):
        try:
            deadline = time.monotonic() + 60
            probe = [*command[:3], "probe", "dragoman.yaml", "--ready"]
            while subprocess.run(probe, cwd=tmp_path, env=shell.environ, capture_output=True, check=False).returncode:
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                assert gateway.poll() is None, (tmp_path / "log").read_text()
            for found in others:
                shell.block(*found)
        finally:
            gateway.terminate()
    assert shell.ran == 11
