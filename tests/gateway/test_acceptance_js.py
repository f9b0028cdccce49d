"""The acceptance rows that the JavaScript SDKs judge too: stricter accumulators than the Python ones (T06, T15, T22, T37, T40).

Needs node and a folder of installed packages (DRAGOMAN_NODE_MODULES: openai and @anthropic-ai/sdk); skips without them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from dragoman.codecs import events as ev

from ..codecs.answers import answers
from ..codecs.fuzzing import fuzz
from ..scripted import Request, Steps, respond, stream
from .stage import ALICE, PAIRS, TRANSLATED, Stage
from .test_acceptance_endings import broken_off
from .test_acceptance_everything import as_json, recited
from .test_acceptance_reasoning import CALLED, SIGNATURE, THINKING
from .test_acceptance_tools import BUSY
from .upstreams import completion, declined, message, more, opened, response, said, text_answer

MODULES = os.environ.get("DRAGOMAN_NODE_MODULES", "")

pytestmark = pytest.mark.skipif(
    not MODULES or not shutil.which("node"), reason="no node, or DRAGOMAN_NODE_MODULES names no folder with openai and @anthropic-ai/sdk"
)


class Node:
    """A process that asks the gateway through the SDKs, one question a line."""

    def __init__(self, url: str) -> None:
        command = ["node", str(Path(__file__).with_name("js_sdks.mjs")), url, MODULES, ALICE]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def ask(self, client: str, model: str) -> Any:
        """{"answer": what the stream helper gathered} or {"error": what it threw}."""
        self._in.write(json.dumps({"client": client, "model": model}).encode() + b"\n")
        self._in.flush()
        return json.loads(self._out.readline())

    def close(self) -> None:
        self._in.close()
        self._process.wait(20)
        self._out.close()


@pytest.fixture(scope="module")
def node(_stage: Stage) -> Iterator[Node]:
    running = Node(_stage.url)
    yield running
    running.close()


def answered(node: Node, client: str, upstream: str) -> Any:
    told = node.ask(client, f"{upstream}/m")
    assert "error" not in told, told["error"]
    return told["answer"]


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_every_pair(stage: Stage, node: Node, client: str, upstream: str) -> None:
    stage.play(text_answer(upstream, "It ", "rains."))
    found = answered(node, client, upstream)
    if client == "chat":
        assert found["choices"][0]["message"]["content"] == "It rains."
    elif client == "messages":
        assert found["content"] == [{"type": "text", "text": "It rains."}]
    else:
        assert found["output"][0]["content"][0]["text"] == "It rains."


def test_T06_arguments_of_white_space(stage: Stage, node: Node) -> None:
    stage.play(completion(opened(0, "call_1", "a"), more(0, "  "), more(0, "\n"), finish="tool_calls"))
    assert answered(node, "messages", "chat")["content"] == [{"type": "tool_use", "id": "call_1", "name": "a", "input": {}}]


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_T15_a_broken_stream_is_no_answer(stage: Stage, node: Node, client: str, upstream: str) -> None:
    stage.play(broken_off(upstream))
    told = node.ask(client, f"{upstream}/m")
    assert "error" in told, told


def test_T22_reasoning_of_messages_for_chat(stage: Stage, node: Node) -> None:
    stage.play(CALLED)
    found = answered(node, "chat", "messages")["choices"][0]["message"]
    details = found["reasoning_details"]
    assert (details[0]["text"], details[0]["signature"]) == (THINKING, SIGNATURE)
    assert [call["function"]["arguments"] for call in found["tool_calls"]] == ['{"x":1}']


def test_T28_a_refusal(stage: Stage, node: Node) -> None:
    stage.play(response(declined("I ", "won't")))
    assert answered(node, "chat", "responses")["choices"][0]["message"]["refusal"] == "I won't"
    assert answered(node, "messages", "responses")["stop_reason"] == "refusal"


def test_T37_interleaved_calls_and_reasoning(stage: Stage, node: Node) -> None:
    stage.play(BUSY)
    reasoning, text, first, second = answered(node, "responses", "chat")["output"]
    assert reasoning["content"][0]["text"] == "I look"
    assert text["content"][0]["text"] == "Hi you"
    assert [(call["call_id"], call["arguments"]) for call in (first, second)] == [("call_1", '{"x":1}'), ("call_2", '{"y":2}')]
    found = answered(node, "messages", "chat")["content"]
    assert [block["type"] for block in found] == ["thinking", "text", "tool_use", "tool_use"]


def test_T40_an_answer_without_a_word(stage: Stage, node: Node) -> None:
    stage.play(message(said(), stop="end_turn"))
    assert answered(node, "chat", "messages")["choices"][0]["finish_reason"] == "stop"
    assert answered(node, "responses", "messages")["status"] == "completed"


@pytest.mark.parametrize(("client", "upstream"), TRANSLATED)
def test_T40_any_answer(stage: Stage, node: Node, client: str, upstream: str) -> None:
    """What the JavaScript helper gathers of a stream is what the same answer is as a whole."""

    @fuzz(10)
    @given(answers(seals=upstream != "chat"))  # a chat stream brings signatures when the text is long out
    def test(events: list[ev.Event]) -> None:
        streamed, whole = recited(upstream, events)

        def script(request: Request) -> Steps:
            return stream(streamed) if request.json.get("stream") else [respond(whole)]

        stage.play(script)
        assert ESSENCE[client](answered(node, client, upstream)) == ESSENCE[client](stage.whole(client, upstream))

    test()


def _chat(body: Any) -> Any:
    """Without reasoning_content, of which this accumulator keeps the last delta only; `reasoning_details` holds all of it."""
    choice = body["choices"][0]
    found = choice["message"]
    calls = [(call["function"]["name"], as_json(call["function"]["arguments"])) for call in found.get("tool_calls") or []]
    return found.get("content") or "", found.get("reasoning_details") or [], calls, choice["finish_reason"]


def _messages(body: Any) -> Any:
    content = [{key: value for key, value in block.items() if key != "id"} for block in body["content"]]
    return content, body["stop_reason"], body["usage"]["output_tokens"]


def _responses(body: Any) -> Any:
    output = [{key: value for key, value in item.items() if key not in ("id", "call_id", "parsed_arguments")} for item in body["output"]]
    for item in output:
        if "arguments" in item:
            item["arguments"] = as_json(item["arguments"])
        if item["type"] == "message":
            item["content"] = [{key: value for key, value in part.items() if key != "parsed"} for part in item["content"]]
    return output, body["status"], body["usage"]


ESSENCE = {"chat": _chat, "messages": _messages, "responses": _responses}
