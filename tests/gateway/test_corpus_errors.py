"""Recorded failures of real providers, and the answers that no SDK reads, played through a gateway in all nine pairs.

Whatever the provider sent, the caller gets an error of its own shape with the provider's own words, or an answer; never a page of
HTML, a hang, or a success that was none. The recordings are not part of this repository: DRAGOMAN_CORPUS names their folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Running, free_port
from tests.scripted import LAST_CHUNK, Provider, Request, chunk, close, respond, stream_head

CORPUS = os.environ.get("DRAGOMAN_CORPUS", "")
SHAPES = ("chat", "messages", "responses")
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
ASKED: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "x"}]},
    "messages": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 64},
    "responses": {"input": "x"},
}
CONFIG = """\
listeners: [{type: model, port: PORT, address: 127.0.0.1}]
model_providers:
  - {model: chat/*, provider_interface: openai, apis: [chat_completions], base_url: "URL", passthrough_auth: true}
  - {model: messages/*, provider_interface: anthropic, apis: [messages], base_url: "URL", passthrough_auth: true}
  - {model: responses/*, provider_interface: openai, apis: [responses], base_url: "URL", passthrough_auth: true}
"""

pytestmark = pytest.mark.skipif(not CORPUS, reason="DRAGOMAN_CORPUS names no folder of recordings")


@dataclass(frozen=True)
class Recording:
    name: str
    shape: str
    kind: str
    status: int
    content_type: str
    body: bytes


def _recordings() -> dict[str, Recording]:
    found = {}
    for file in sorted(Path(CORPUS).glob("recordings/*/*/*/meta.json")):
        meta = json.loads(file.read_text())
        if meta["shape"] not in SHAPES:
            continue
        body = next(file.parent.glob("response.*"))
        kind = "text/event-stream" if body.suffix == ".sse" else "application/json"
        status = meta.get("status") or 200
        found[meta["name"]] = Recording(meta["name"], meta["shape"], meta["kind"], status, kind, body.read_bytes())
    return found


RECORDINGS = _recordings() if CORPUS else {}
FAILED = [r for r in RECORDINGS.values() if r.kind == "error"]
BROKEN_STREAMS = [r for r in RECORDINGS.values() if r.kind == "stream_error"]
ANSWERS = [r for r in RECORDINGS.values() if r.kind in ("stream", "json")]


def _script(request: Request) -> list[Any]:
    recording = RECORDINGS[request.json["model"]]
    if recording.content_type == "text/event-stream":
        return [stream_head(recording.status), chunk(recording.body), LAST_CHUNK]
    return [respond(recording.body, recording.status, content_type=recording.content_type, connection="close"), close]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with Provider(_script) as provider:
        port = free_port()
        file = tmp_path_factory.mktemp("errors") / "errors.yaml"
        file.write_text(CONFIG.replace("PORT", str(port)).replace("URL", provider.url))
        running = Running([str(file)], port)
        try:
            with httpx.Client(base_url=running.url, timeout=20, headers={"authorization": "Bearer k"}) as client:
                yield client
        finally:
            running.close()


def _ask(gateway: httpx.Client, recording: Recording, client: str, stream: bool) -> httpx.Response:
    asked = {"model": f"{recording.shape}/{recording.name}", "stream": stream, **ASKED[client]}
    return gateway.post(PATHS[client], json=asked)


def _error(client: str, value: dict[str, Any]) -> dict[str, Any]:
    """The error object of a body of this shape, judged by its form."""
    error = value["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    if client == "messages":
        assert value["type"] == "error"
        assert value["request_id"]
    else:
        assert error.keys() == {"message", "type", "param", "code"}
    return error


def _words(value: Any) -> str:
    """All strings in a recorded body, to look for the gateway's message in them."""
    if isinstance(value, dict):
        return " ".join(map(_words, value.values()))
    if isinstance(value, list):
        return " ".join(map(_words, value))
    return str(value)


@pytest.mark.parametrize("client", SHAPES)
@pytest.mark.parametrize("recording", FAILED, ids=lambda r: r.name)
def test_a_recorded_error_is_told_in_the_callers_shape(gateway: httpx.Client, recording: Recording, client: str) -> None:
    answer = _ask(gateway, recording, client, stream=False)
    if b"DeploymentNotFound" in recording.body or b'"Resource not found"' in recording.body:
        assert answer.status_code == 502  # of Azure: the operator's configuration names a deployment that there is not
        return
    if client == recording.shape and recording.status >= 400 and recording.body.lstrip().startswith(b"{"):
        assert (answer.status_code, answer.content) == (recording.status, recording.body)
        return
    assert answer.status_code >= 400
    error = _error(client, answer.json())
    if recording.status in (400, 404, 429):
        message = error["message"].removeprefix("prompt is too long: ").rpartition(" (")[0] or error["message"]
        try:
            said = _words(json.loads(recording.body))
        except ValueError:
            said = recording.body.decode("utf-8", "replace")
        assert message[:40] in said or message.partition(": ")[0] in said  # one that several members tell together


@pytest.mark.parametrize("client", SHAPES)
@pytest.mark.parametrize("recording", BROKEN_STREAMS, ids=lambda r: r.name)
def test_a_recorded_stream_that_fails_does_not_end_well(gateway: httpx.Client, recording: Recording, client: str) -> None:
    answer = _ask(gateway, recording, client, stream=True)
    if answer.status_code != 200:
        _error(client, answer.json())
        return
    if client == recording.shape:
        assert answer.content.startswith(recording.body)
        return
    data = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    assert "[DONE]" not in data
    last = json.loads(data[-1])
    assert "error" in last
    assert last.get("type") in (None, "error")


@pytest.mark.parametrize("client", SHAPES)
def test_every_recording_ends_as_an_answer_or_as_an_error(gateway: httpx.Client, client: str) -> None:
    """Those too that were cut, that repeat themselves, or that the vendors' SDKs do not read."""
    wrong = []
    for recording in ANSWERS:
        answer = _ask(gateway, recording, client, stream=recording.kind == "stream")
        if answer.status_code in (500, 400) or (answer.status_code != 200 and not answer.json()["error"]["message"]):
            wrong.append(f"{recording.shape} {recording.name}: {answer.status_code} {answer.text[:200]}")
        elif answer.status_code == 200 and recording.kind == "stream" and not _ended(client, answer.text):
            wrong.append(f"{recording.shape} {recording.name}: ended with {answer.text[-200:]!r}")
    assert not wrong, "\n".join(wrong)


def _ended(client: str, text: str) -> bool:
    """Whether a stream ended in one of its shape's own ways."""
    data = [line[5:].strip() for line in text.replace("\r\n", "\n").split("\n") if line.startswith("data:")]
    if client == "chat":
        return data[-1] == "[DONE]" or '"error"' in data[-1] or any('"finish_reason":' in line for line in data[-3:])
    kind = json.loads(data[-1] if data[-1] != "[DONE]" else data[-2]).get("type")
    terminal = ("message_stop", "message_delta") if client == "messages" else ("response.completed", "response.incomplete")
    return kind in (*terminal, "error", "response.failed", "ping")
