"""What Bedrock's runtime was recorded to say: streams of Claude by InvokeModel, answers of its mantle, counts and errors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dragoman.codecs import errors, machine
from dragoman.codecs import events as ev
from dragoman.codecs.bedrock import CHUNKS, error_of, read_error
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply, Unsaid
from dragoman.codecs.request import Request

CORPUS = Path(os.environ.get("DRAGOMAN_CORPUS", "/nowhere")) / "recordings"
BEDROCK = CORPUS / "bedrock"


def meta(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path.parent / "meta.json").read_text())
    return found


def of_claude(path: Path) -> bool:
    return "anthropic.claude" in str(meta(path)["model"]) and "invoke" in meta(path)["api"] and "instant" not in meta(path)["model"]


STREAMS = [path for path in sorted(CORPUS.glob("*/stream/*/response.eventstream")) if of_claude(path)]
BODIES = [path for path in sorted(BEDROCK.glob("json/*/response.json")) if of_claude(path)]
MANTLE = sorted(BEDROCK.glob("mantle/*/response.json"))
ERRORS = sorted(BEDROCK.glob("error/*/response.json"))


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.parent.name)
def test_streams_of_claude(path: Path) -> None:
    data, shape = path.read_bytes(), SHAPES["messages"]
    seen = []
    for size in (len(data), 5):
        unsaid = Unsaid()
        splitter, reply = CHUNKS.Splitter(1 << 24, unsaid), Reply(Request("messages", "m", {}, True))
        decoder, observer = shape.Decoder(reply), shape.Observer(reply)
        frames = [frame for at in range(0, len(data), size) for frame in splitter.feed(data[at : at + size])]
        assert not splitter.finish()
        assert not splitter.leftover
        for frame in frames:
            observer.feed(frame)
        events = [event for frame in frames for event in decoder.feed(frame)]
        events += [] if decoder.ended else decoder.finish(True)
        machine.check(events)
        assert isinstance(events[-1], ev.Stop), events[-1]
        assert observer.completed(True)
        assert observer.usage == decoder.usage
        assert unsaid.count == 0
        assert not any(b"\n" in data for _, data in frames)
        seen.append(frames)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.parent.name)
def test_answers_of_claude(path: Path) -> None:
    events = SHAPES["messages"].decode_response(json.loads(path.read_text()), Reply(Request("messages", "m", {})))
    machine.check(events)
    assert isinstance(events[-1], ev.Stop)


@pytest.mark.parametrize("path", MANTLE, ids=lambda path: path.parent.name)
def test_answers_of_the_mantle(path: Path) -> None:
    shape = SHAPES["responses" if "responses" in meta(path)["api"] else "chat"]
    body = json.loads(path.read_text())
    if shape.is_error(body):
        assert shape.decode_error(int(meta(path)["status"]), path.read_bytes()).message
        return
    events = shape.decode_response(body, Reply(Request(shape.name, "m", {})))
    machine.check(events)
    assert isinstance(events[-1], ev.Stop)


KINDS = {
    "claude-opus-4-v1--amazon-bedrock-basic": "rate_limit",
    "handles-context-length-exceeded-errors--ecfc5fe0": "context_too_long",
    "handles-context-length-exceeded-errors--c653d7d7": "too_large",
    "meta-invoke-error": "upstream_auth",
    "cohere-command-model": "upstream_auth",
    "bare-profile-only-model-id": "bad_gateway",
    "test-converse-with-invalid-model": "bad_gateway",
    "count-tokens-error": "bad_request",
    "test-anthropic-images": "bad_request",
}


@pytest.mark.parametrize("path", ERRORS, ids=lambda path: path.parent.name)
def test_errors(path: Path) -> None:
    recorded = meta(path)
    error = read_error(recorded["status"], path.read_bytes(), recorded.get("response_headers") or {})
    wanted = next((kind for words, kind in KINDS.items() if words in path.parent.name), error.kind)
    assert error.kind == wanted, error.message
    assert error.message
    assert isinstance(error, errors.Answered)


@pytest.mark.parametrize(
    ("name", "value", "status", "kind"),
    [
        ("ThrottlingException", {"message": "m"}, 429, "rate_limit"),
        ("throttlingException", {}, None, "rate_limit"),
        ("", {"message": "m", "__type": "x#ValidationException"}, 400, "bad_request"),
        ("ModelErrorException", {"originalStatusCode": 503}, 424, "overloaded"),
        ("ModelErrorException", {"originalStatusCode": 400}, 424, "bad_request"),
        ("ModelErrorException", {"originalStatusCode": 403}, 424, "bad_request"),
        ("ModelErrorException", {"originalStatusCode": "x"}, 424, "bad_gateway"),
        ("ValidationException", {"message": "data retention is needed for this model"}, 400, "upstream_auth"),
        ("Unheard", {}, 418, "bad_request"),
        ("Unheard", {}, 500, "server"),
        ("Unheard", {}, None, "server"),
        ("x" * 1000, {"message": ["m"]}, None, "server"),
    ],
)
def test_kinds(name: str, value: dict[str, Any], status: int | None, kind: str) -> None:
    assert error_of(name, value, status).kind == kind


def test_bodies_that_are_no_objects() -> None:
    for body in (b"", b"[]", b"<html>", b"\xff", b'"x"'):
        assert read_error(500, body, {"x-amzn-errortype": "InternalServerException"}).kind == "server"
