"""Recorded streams as the vendors' JavaScript SDKs reassemble them: stricter accumulators than the Python ones.

Needs node, a folder of installed packages (DRAGOMAN_NODE_MODULES: openai and @anthropic-ai/sdk) and the recordings (DRAGOMAN_CORPUS).
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Start
from tests.scripted import LAST_CHUNK, Provider, Request, chunk, stream_head

from .test_corpus import EXPECTED

CORPUS = os.environ.get("DRAGOMAN_CORPUS", "")
MODULES = os.environ.get("DRAGOMAN_NODE_MODULES", "")
CONFIG = """\
listeners: [{type: model, port: PORT, address: 127.0.0.1}]
model_providers:
  - {model: chat/*, provider_interface: openai, apis: [chat_completions], base_url: "URL", access_key: k}
  - {model: messages/*, provider_interface: anthropic, apis: [messages], base_url: "URL", access_key: k}
  - {model: responses/*, provider_interface: openai, apis: [responses], base_url: "URL", access_key: k}
"""
SHAPES = ("chat", "messages", "responses")

pytestmark = [
    pytest.mark.skipif(not CORPUS, reason="DRAGOMAN_CORPUS names no folder of recordings"),
    pytest.mark.skipif(not MODULES or not shutil.which("node"), reason="no node, or DRAGOMAN_NODE_MODULES names no packages"),
]


def _judge() -> Any:
    spec = importlib.util.spec_from_file_location("corpus_judge", Path(CORPUS) / "judge.py")
    assert spec is not None
    assert spec.loader is not None
    judge = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(judge)
    return judge


@pytest.mark.timeout(300)
@pytest.mark.parametrize("client", SHAPES)
def test_recorded_streams(start: Start, client: str) -> None:
    judge = _judge()
    played = [row for row in judge.load(Path(CORPUS) / "recordings", None, None) if row[2] and row[1] != client]
    assert played
    bodies = {name: raw for name, _, _, raw, _ in played}

    def script(request: Request) -> list[Any]:
        return [stream_head(), chunk(bodies[request.json["model"]]), LAST_CHUNK]

    with Provider(script) as provider:
        gateway = start(CONFIG.replace("URL", provider.url))
        command = ["node", str(Path(__file__).with_name("js_sdks.mjs")), gateway.url, MODULES]
        asked = "\n".join(json.dumps({"client": client, "model": f"{shape}/{name}"}) for name, shape, *_ in played)
        ran = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=280, check=False)
    assert ran.returncode == 0, ran.stderr
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(told) == len(played)
    wrong = []
    for (name, shape, _, _, want), found in zip(played, told, strict=True):
        why = EXPECTED.get(f"{shape}->{client} stream {name}", "")
        if "error" in found:
            if not why.startswith("an error"):
                wrong.append(f"{shape} {name}: {found['error']}")
            continue
        got = judge.TRUTH[client]([found["answer"]], False)
        if client == "chat":  # this accumulator keeps the last delta only of what it does not know
            got = got._replace(reasoning=want.reasoning)
        if not why:
            wrong += [f"{shape} {name}: {what}" for what in judge.differences(want, got, client)]
    assert not wrong, "\n".join(wrong)
