"""Answers to gemini callers as Google's JavaScript SDK reads them, which gemini-cli uses, too: acceptance G07, G20 and G21.

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

from ..scripted import chunk, close, stream_head
from .gemini_stage import UPSTREAMS, Google
from .stage import ALICE
from .test_gemini_answers import CALLING, OVERLOADED, begun
from .upstreams import message, said, text_answer

MODULES = os.environ.get("DRAGOMAN_NODE_MODULES", "")
HAS_IT = MODULES and (Path(MODULES) / "@google" / "genai").is_dir() and shutil.which("node")

pytestmark = pytest.mark.skipif(not HAS_IT, reason="no node, or DRAGOMAN_NODE_MODULES names no folder with @google/genai")

Ask = Callable[[str], Any]


@pytest.fixture(scope="module")
def ask(_google: Google) -> Iterator[Ask]:
    command = ["node", str(Path(__file__).with_name("js_sdks.mjs")), _google.url, MODULES, ALICE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        asks, answers = process.stdin, process.stdout
        assert asks is not None
        assert answers is not None

        def one(model: str) -> Any:
            asks.write(json.dumps({"client": "gemini", "model": model}).encode() + b"\n")
            asks.flush()
            return json.loads(answers.readline())

        yield one
        asks.close()
        process.wait(20)


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_G20_the_turn_stays_in_the_history(google: Google, ask: Ask, upstream: str) -> None:
    google.play(text_answer(upstream, "Good\u2028 ", "morning"))
    told = ask(f"{upstream}/m")["answer"]
    assert "".join(part["text"] for part in told["parts"]) == "Good\u2028 morning"
    assert (told["finish"], set(told["history"])) == ("STOP", {"user", "model"})


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_G07_calls_and_signatures(google: Google, ask: Ask, upstream: str) -> None:
    google.play(CALLING[upstream])
    told = ask(f"{upstream}/m")["answer"]
    assert [part["functionCall"] for part in told["parts"] if "functionCall" in part] == [{"id": "t1", "name": "f", "args": {"x": 1}}]
    assert [part["thoughtSignature"][:8] for part in told["parts"] if "thoughtSignature" in part] == ["ZGdyMS57"]
    assert set(told["history"]) == {"user", "model"}


@pytest.mark.parametrize("upstream", [*UPSTREAMS, "demo"])
def test_G21_it_throws(google: Google, ask: Ask, upstream: str) -> None:
    if upstream != "demo":
        google.play([stream_head(), *map(chunk, begun(upstream)), close])
    assert "error" in ask("demo/error" if upstream == "demo" else f"{upstream}/m")


def test_G21_an_error_of_the_upstream(google: Google, ask: Ask) -> None:
    google.play([stream_head(), chunk(OVERLOADED["messages"][0]), close])
    assert "503" in ask("messages/m")["error"]


def test_an_answer_without_text(google: Google, ask: Ask) -> None:
    google.play(message(said("")))
    assert set(ask("messages/m")["answer"]["history"]) == {"user", "model"}
