"""`dragoman load` against a provider that obeys it, and against providers that fail in each way that it tells apart."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from dragoman.proxy.load import report as load_report
from dragoman.proxy.load import run as load
from dragoman.proxy.process import loops

from ..scripted import LAST_CHUNK, Provider, chunk, close, respond, sse, stream, stream_head
from . import servers, shapes

pytestmark = pytest.mark.slow

SHAPES = tuple(shapes.WIRES)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with servers.provider() as (port, _):
        yield f"http://127.0.0.1:{port}"


def run(url: str, **asked: Any) -> dict[str, Any]:
    plan = load.Plan(url, **{"streams": 4, "seconds": 0.4, "model": "load"} | asked)

    async def main() -> dict[str, Any]:
        return await load.Load(plan).run()

    return loops.run_loop(main)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "whole"])
def test_whole_answers_are_counted(url: str, shape: str, whole: bool) -> None:
    found = run(url, shape=shape, words=30, exact=True, whole=whole)
    assert not found["errors"]
    total = found["total"]
    assert total["requests"] > 4
    assert found["requests_per_s"] > 0
    if not whole:
        assert total["deltas"] >= 30 * total["requests"]
        assert total["events"] > total["deltas"]
        assert 0 < found["time_to_first_token_ms"]["p50"] <= found["answer_ms"]["max"]


@pytest.mark.parametrize("shape", SHAPES)
def test_paced_streams_tell_the_added_latency(url: str, shape: str) -> None:
    found = run(url, shape=shape, rate=100.0, words=20, exact=True, seconds=0.8)
    assert not found["errors"]
    assert found["added_latency_from"] == "stamps"
    assert 0 <= found["added_latency_ms"]["p50"] <= found["added_latency_ms"]["p99"]
    assert found["answer_ms"]["p50"] >= 200


def test_a_long_conversation_goes_before_the_prompt() -> None:
    with Provider([respond({"choices": [{"message": {"content": "so"}, "finish_reason": "stop"}]})]) as provider:
        found = run(provider.url, size=100_000, whole=True, streams=1, seconds=0.2)
        asked = provider.requests[0]
    assert not found["errors"]
    assert 90_000 < len(asked.body) < 110_000
    assert asked.target == "/v1/chat/completions"
    roles = [turn["role"] for turn in asked.json["messages"]]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]


def test_keys_go_as_the_sdks_send_them_and_into_no_report() -> None:
    def answer(request: Any) -> list[bytes]:
        return [respond({"error": {"message": f"who is {request.headers.get('x-api-key')}?"}}, 401)]

    with Provider(answer) as provider:
        found = run(provider.url + "/v1", shape="messages", key="sk-ant-secret", streams=1, seconds=0.2)
        assert provider.requests[0].headers["x-api-key"] == "sk-ant-secret"
        assert provider.requests[0].target == "/v1/messages"
    assert set(found["errors"]) == {"status 401"}
    assert "secret" not in repr(found)
    assert "secret" not in repr(load.Plan(provider.url, key="sk-ant-secret").summary())


DELTA = chunk(sse({"choices": [{"index": 0, "delta": {"content": "one two "}}]}))
FINISH = chunk(sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
DONE = chunk(b"data: [DONE]\n\n")
FAILURES: dict[str, tuple[list[Any], str]] = {
    "status": ([respond({"error": {"message": "slow down"}}, 429)], "status 429"),
    "fault": ([stream_head(), DELTA, chunk(sse({"error": {"message": "it broke"}})), LAST_CHUNK], "fault"),
    "no [DONE]": ([stream_head(), DELTA, FINISH, LAST_CHUNK], "unended"),
    "no finish_reason": ([stream_head(), DELTA, DONE, LAST_CHUNK], "unended"),
    "no content": ([stream_head(), FINISH, DONE, LAST_CHUNK], "empty"),
    "cut": ([stream_head(), DELTA, close], "cut"),
    "cut head": ([b"HTTP/1.1 200 OK\r\n", close], "cut"),
    "no JSON": ([stream_head(), chunk(b"data: {oops\n\n"), LAST_CHUNK], "garbled"),
    "other JSON": ([stream_head(), chunk(sse({"choices": [1]})), LAST_CHUNK], "garbled"),
    "no HTTP": ([b"SSH-2.0-x\r\n\r\n", close], "garbled"),
    "too few words": ([stream_head(), DELTA, FINISH, DONE, LAST_CHUNK], "words"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_each_failure_has_its_kind(name: str) -> None:
    steps, kind = FAILURES[name]
    with Provider(steps) as provider:
        found = run(provider.url, streams=2, seconds=0.2, words=3, exact=True)
    assert set(found["errors"]) == {kind}
    assert not found["total"]["requests"]


def test_silence_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "SILENCE", 0.1)
    monkeypatch.setattr(load, "TICK", 0.05)
    with Provider(stream(sse({"choices": []}))[:-1]) as provider:
        found = run(provider.url, streams=1, seconds=0.5)
    assert set(found["errors"]) == {"timeout"}


def test_a_kept_connection_that_was_closed_meanwhile_is_no_error() -> None:
    whole = [*stream(sse({"choices": [{"index": 0, "delta": {"content": "so"}, "finish_reason": "stop"}]}), b"data: [DONE]\n\n"), close]
    with Provider(whole) as provider:
        found = run(provider.url, streams=1, seconds=0.3)
    assert not found["errors"]
    assert found["total"]["requests"] > 1


def test_what_is_under_way_at_the_end_is_unfinished(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(load, "GRACE", 0.1)
    found = run(url, rate=5.0, words=100, seconds=0.4)
    assert found["unfinished"] == 4
    assert not found["errors"]


def test_nobody_there() -> None:
    assert set(run("http://127.0.0.1:9", seconds=0.2)["errors"]) == {"connect"}


@pytest.mark.parametrize("bad", ["localhost:12000", "ftp://localhost", "http://", "http://user:secret@localhost"])
def test_urls_that_cannot_be_used(bad: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        load.target(load.Plan(bad))


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("http://h", "/v1/chat/completions"),
        ("http://h/", "/v1/chat/completions"),
        ("http://h/v1", "/v1/chat/completions"),
        ("http://h/openai/v1/", "/openai/v1/chat/completions"),
        ("http://h/x/chat/completions?api-version=1", "/x/chat/completions?api-version=1"),
    ],
)
def test_the_path_is_what_the_url_leaves_open(given: str, path: str) -> None:
    assert load.target(load.Plan(given)).request.split(b" ")[1].decode() == path


def test_the_shape_may_be_read_from_the_url() -> None:
    assert load.shape_of("http://h/v1/messages") == "messages"
    assert load.shape_of("http://h/v1/") is None


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "dragoman.proxy", "load", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=30, cwd=tempfile.gettempdir(), check=False)


def test_the_command_reports_for_people_and_as_json(url: str) -> None:
    common = [url, "--model", "load", "--streams", "2", "--seconds", "0.4", "--shape", "messages"]
    told = command(*common)
    assert (told.returncode, told.stderr) == (0, "")
    lines = [line[:22].strip() for line in told.stdout.splitlines()[1:]]
    assert ", 0.4 s\n" in told.stdout
    assert lines == ["measured", "requests/s", "events/s", "time to first token", "time to the end", "added latency", "errors"]
    found = orjson.loads(command(*common, "--json").stdout)
    assert found["plan"]["shape"] == "messages"
    assert found["requests_per_s"] > 0
    assert found["errors"] == {}


def test_the_command_fails_when_answers_do() -> None:
    told = command("http://127.0.0.1:9", "--seconds", "0.2")
    assert told.returncode == 1
    assert "connect" in told.stdout
    assert command("nonsense").returncode == 2


def test_samples_stay_within_one_percent() -> None:
    samples = load_report.Samples()
    for number in range(1, 1001):
        samples.add(number / 1000)
    for share in (0.01, 0.5, 0.99):
        assert samples.quantile(share) == pytest.approx(share, rel=0.011)
    assert samples.quantile(1) == pytest.approx(1, rel=0.011)
    assert load_report.Samples().milliseconds() is None


def test_the_progress_line_tells_rates_since_the_last_one(url: str) -> None:
    lines: list[str] = []

    async def main() -> None:
        await load.Load(load.Plan(url, model="load", streams=2, seconds=1.2), lines.append).run()

    asyncio.run(main())
    assert len(lines) >= 2
    assert all("events/s" in line and "0 errors" in line for line in lines)
