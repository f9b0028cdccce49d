"""The vendors' JavaScript SDKs store things through the gateway: what arrives, and what comes back, is as without it.

Needs node and a folder of installed packages (DRAGOMAN_NODE_MODULES: openai, @anthropic-ai/sdk and @google/genai); skips without them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Running, Start
from ..scripted import Provider, Request, Steps, respond
from .test_objects_sdks import CONFIG, seen, stored

MODULES = os.environ.get("DRAGOMAN_NODE_MODULES", "")
CLIENTS = {"openai": "openai", "anthropic": "@anthropic-ai/sdk", "google": "@google/genai"}
_OF_GOOGLE = "  - {model: gemini/*, discover: false, base_url: UPSTREAM/v1beta/openai, apis: [gemini], access_key: sk-upstream}\n"

pytestmark = pytest.mark.skipif(
    not MODULES or not shutil.which("node"), reason="no node, or DRAGOMAN_NODE_MODULES names no folder with the vendors' packages"
)

Call = Callable[[str, int, str], Any]


class Double(Provider):
    """Has everything that it is asked for. Google's uploads go on at a URL that it gives."""

    def __init__(self) -> None:
        super().__init__(self.script)

    def script(self, request: Request) -> Steps:
        if request.target == "/upload/v1beta/files":
            return [respond({}, x_goog_upload_url=f"{self.url}/upload/v1beta/files?upload_id=U1", x_goog_upload_status="active")]
        if request.target.startswith("/upload/v1beta/files?"):
            return [respond({"file": {"name": "files/f1", "mimeType": "text/plain"}}, x_goog_upload_status="final")]
        if request.target.startswith("/v1beta/"):
            item = {"name": "x/1"}
            names = ("files", "cachedContents", "operations", "fileSearchStores")
            return [respond(item | {name: [item] for name in names})]
        return stored(request)


@pytest.fixture(scope="module")
def double() -> Iterator[Double]:
    with Double() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(start_session: Start, double: Double) -> Running:
    return start_session((CONFIG + _OF_GOOGLE).replace("UPSTREAM", double.url))


@pytest.fixture(scope="module")
def call(double: Double, gateway: Running) -> Iterator[Call]:
    command = ["node", str(Path(__file__).with_name("js_objects.mjs")), double.url, gateway.url, MODULES]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        asks, answers = process.stdin, process.stdout
        assert asks is not None
        assert answers is not None

        def one(client: str, where: int, method: str) -> Any:
            asks.write(json.dumps({"client": client, "where": where, "method": method}).encode() + b"\n")
            asks.flush()
            return json.loads(answers.readline())

        yield one
        asks.close()
        process.wait(20)


def bare(told: dict[str, Any]) -> dict[str, Any]:
    """Without the headers of the answer, which Google's SDK shows."""
    return {name: value for name, value in told.items() if name != "sdkHttpResponse"}


@pytest.mark.parametrize("client", CLIENTS)
def test_what_arrives_and_comes_back_is_the_same(client: str, call: Call, double: Double, gateway: Running) -> None:
    if not (Path(MODULES) / CLIENTS[client]).is_dir():
        pytest.skip(f"DRAGOMAN_NODE_MODULES has no {CLIENTS[client]}")
    names = call(client, 0, "")["methods"]
    assert len(names) >= 14
    for name in names:
        found = []
        for where in (0, 1):
            double.requests.clear()
            told = call(client, where, name)
            assert "answer" in told, (name, where, told)
            sent = [seen(request) for request in double.requests]
            assert sent, name
            credentials = {request.headers.get("x-goog-api-key", "sk-upstream") for request in double.requests}
            assert credentials == {"sk-upstream"}, name
            found.append((sent, json.loads(json.dumps(told).replace(gateway.url, double.url), object_hook=bare)))
        assert found[1] == found[0], name
