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
    """Runs a page's commands in a folder of their own. patience: seconds for a block."""

    patience = 60

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
            ran = subprocess.run(
                command, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False, timeout=self.patience
            )
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


class Patient(Shell):
    """What a page prints may come a moment later: its last command is run again until then. `dragoman serve` runs beside the others."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        super().__init__(folder, environ)
        self.gateway: subprocess.Popen[bytes] | None = None
        self._last = ("", "", "", "")

    def block(self, mark: str, name: str, kind: str, text: str) -> None:
        if kind == "sh" and text.startswith("dragoman serve "):
            self._serve(text.split())
            return
        if kind == "sh":
            self._last = (mark, name, kind, text)
        deadline = time.monotonic() + 30
        while mark == "prints" and time.monotonic() < deadline and not all(line in self.printed for line in text.splitlines()):
            super().block(*self._last)
            self.ran -= 1
        super().block(mark, name, kind, text)

    def _serve(self, words: list[str]) -> None:
        with (self.folder / "log").open("wb") as log:
            self.gateway = subprocess.Popen(words, cwd=self.folder, env=self.environ, stdout=log, stderr=log)
        self.ran += 1
        probe = ["dragoman", "probe", words[2], "--ready"]
        deadline = time.monotonic() + 60
        while subprocess.run(probe, cwd=self.folder, env=self.environ, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            assert self.gateway.poll() is None, (self.folder / "log").read_text()


@pytest.mark.timeout(400)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands need curl")
def test_a_team_of_ten(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy", reason="needs dragoman[control]")
    shell = Patient(tmp_path, {})
    try:
        for found in blocks("tutorial.md"):
            shell.block(*found)
    finally:
        if shell.gateway is not None:
            shell.gateway.terminate()
            shell.gateway.wait(40)
    assert shell.ran == 10
    assert len(list((tmp_path / "keys").iterdir())) == 11
