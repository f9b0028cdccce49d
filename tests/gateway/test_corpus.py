"""Recorded answers of real providers, played through a gateway in all nine pairs and judged by what the vendors' SDKs reassemble.

The recordings and their judge are not part of this repository: DRAGOMAN_CORPUS names their folder. Answers that have no faithful
form in another shape stand in expected_differences.yaml, each with its reason; one that comes out right after all must go from there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import Running, free_port

CORPUS = os.environ.get("DRAGOMAN_CORPUS", "")
PAIRS = [(upstream, client) for upstream in ("chat", "messages", "responses") for client in ("chat", "messages", "responses")]
EXPECTED: dict[str, str] = yaml.safe_load(Path(__file__).with_name("expected_differences.yaml").read_text()) or {}

_DIFFERENCE = re.compile(r"(\w+)->(\w+) (stream|whole) (\S+): (.*)")
_ROW = re.compile(r"\s*(\w+) -> (\w+)\s+(stream|whole)\s+(\d+) of\s+(\d+)")

pytestmark = pytest.mark.skipif(not CORPUS, reason="DRAGOMAN_CORPUS names no folder of recordings")


@pytest.fixture(scope="module")
def corpus_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, int]]:
    """A gateway with the judge's configuration, and the port where the judge plays the provider."""
    provider, port = free_port(), free_port()
    asked = [sys.executable, str(Path(CORPUS) / "judge.py"), "--print-config", str(provider), str(port)]
    config = tmp_path_factory.mktemp("corpus") / "corpus.yaml"
    config.write_bytes(subprocess.run(asked, check=True, capture_output=True).stdout)
    gateway = Running([str(config)], port)
    yield gateway, provider
    gateway.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("upstream", "client"), PAIRS, ids=[f"{upstream}-{client}" for upstream, client in PAIRS])
def test_recordings_arrive_whole(corpus_gateway: tuple[Running, int], upstream: str, client: str) -> None:
    gateway, provider = corpus_gateway
    fixtures = ["--fixtures", str(Path(CORPUS) / "recordings"), "--only", f"{upstream}:{client}", "-v"]
    command = [sys.executable, str(Path(CORPUS) / "judge.py"), *fixtures, "--gateway", gateway.url, "--port", str(provider)]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    rows = [found for line in output if (found := _ROW.fullmatch(line))]
    assert rows, "\n".join(output)
    differing = {f"{m[1]}->{m[2]} {m[3]} {m[4]}": m[5] for line in output if (m := _DIFFERENCE.fullmatch(line))}
    assert sum(int(row[5]) - int(row[4]) for row in rows) == len(differing)
    unexpected = {name: what for name, what in differing.items() if name not in EXPECTED}
    assert not unexpected, "\n".join(f"{name}: {what}" for name, what in unexpected.items())
    resolved = {name for name in EXPECTED if name.startswith(f"{upstream}->{client} ")} - differing.keys()
    assert not resolved, f"no longer different: {sorted(resolved)}"
