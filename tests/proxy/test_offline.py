"""`dragoman translate`: requests, whole answers and recorded streams in every direction, with the ledger on stderr."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from dragoman.proxy import cli
from dragoman.proxy import translate as offline

from ..codecs import worked
from ..codecs.grammar import GRAMMARS, events_of
from ..gateway.upstreams import Answer, called, completion, function, message, more, opened, reasoned, response, said, spoken, thought
from ..scripted import sse

SHAPES = ("chat", "messages", "responses")
TRANSLATED = [(source, target) for source in SHAPES for target in SHAPES if source != target]

# ---- requests ----

ASKED: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}], "max_tokens": 50},
    "messages": {"model": "m", "system": "S", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50},
    "responses": {"model": "m", "instructions": "S", "input": "Hi", "max_output_tokens": 50, "store": False},
}
AS_RESPONSES = {
    "model": "m",
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "max_output_tokens": 50,
}
EXPECTED: dict[tuple[str, str], dict[str, Any]] = {
    ("chat", "messages"): ASKED["messages"],
    ("responses", "messages"): ASKED["messages"],
    ("messages", "chat"): ASKED["chat"],
    ("responses", "chat"): ASKED["chat"],
    ("messages", "responses"): {
        **AS_RESPONSES,
        "instructions": "S",
        "input": [{"type": "message", "role": "user", "content": "Hi"}],
    },
    ("chat", "responses"): {
        **AS_RESPONSES,
        "input": [{"type": "message", "role": role, "content": text} for role, text in (("system", "S"), ("user", "Hi"))],
    },
}


def translated(data: bytes, source: str, target: str) -> tuple[Any, list[str]]:
    out, report, code = offline.translate(data, source, target)
    assert code == 0, report
    assert out.endswith(b"\n")
    return orjson.loads(out), report


@pytest.mark.parametrize(("source", "target"), TRANSLATED)
def test_a_request_in_another_shape(source: str, target: str) -> None:
    assert translated(orjson.dumps(ASKED[source]), source, target) == (EXPECTED[source, target], [])


def test_the_ledger_says_what_was_lost_and_what_was_changed() -> None:
    body, report = translated(orjson.dumps(worked.RESPONSES_CLIENT), "responses", "messages")
    assert body == {**worked.AS_MESSAGES, "model": "smart"}
    dropped = [f"dropped: {name}" for name in worked.AS_MESSAGES_DROPPED.split(",")]
    assert report == dropped + [f"adapted: {name}" for name in worked.AS_MESSAGES_ADAPTED.split(",")]


def test_a_value_that_was_changed_is_said() -> None:
    asked = orjson.dumps({**ASKED["chat"], "temperature": 1.7, "seed": 7})
    assert translated(asked, "chat", "messages")[1] == ["dropped: seed", "adapted: temperature=1"]


# ---- whole answers and streams ----

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
ANSWERS: dict[str, Answer] = {
    "chat": completion(
        {"reasoning_content": "I see."},
        {"content": "Hi "},
        {"content": "you"},
        opened(0, "call_1", "f"),
        more(0, '{"x":1}'),
        finish="tool_calls",
        usage={"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
        said={"content": "Hi you", "reasoning_content": "I see.", "tool_calls": [CALL]},
    ),
    "messages": message(thought("I see.", "SIG"), said("Hi ", "you"), called("call_1", "f", '{"x":1}'), stop="tool_use"),
    "responses": response(reasoned("rs_1", "ENC", "I see."), spoken("Hi ", "you"), function("call_1", "f", '{"x":1}')),
}


def essence(shape: str, body: Any) -> Any:
    """What a whole answer says: reasoning, text, call, how it ended, tokens."""
    if shape == "chat":
        choice, usage = body["choices"][0], body["usage"]
        said, call = choice["message"], choice["message"]["tool_calls"][0]
        parts = (said["reasoning_content"], said["content"], call["id"], orjson.loads(call["function"]["arguments"]))
        return (*parts, choice["finish_reason"], usage["prompt_tokens"], usage["completion_tokens"])
    if shape == "messages":
        thinking, text, call = body["content"]
        assert thinking["signature"]
        usage = body["usage"]
        parts = (thinking["thinking"], text["text"], call["id"], call["input"])
        return (*parts, {"tool_use": "tool_calls"}.get(body["stop_reason"]), usage["input_tokens"], usage["output_tokens"])
    reasoning, said, call = body["output"]
    text = (reasoning["summary"] or reasoning["content"])[0]["text"]
    parts = (text, said["content"][0]["text"], call["call_id"], orjson.loads(call["arguments"]))
    assert body["status"] == "completed"
    return (*parts, "tool_calls", body["usage"]["input_tokens"], body["usage"]["output_tokens"])


ESSENCE = ("I see.", "Hi you", "call_1", {"x": 1}, "tool_calls", 12, 7)


@pytest.mark.parametrize(("source", "target"), TRANSLATED)
def test_a_whole_answer_in_another_shape(source: str, target: str) -> None:
    body, report = translated(orjson.dumps(ANSWERS[source].whole, option=orjson.OPT_INDENT_2), source, target)
    assert essence(target, body) == ESSENCE
    assert report == []


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize(("source", "target"), TRANSLATED)
def test_a_recorded_stream_in_another_shape(source: str, target: str, line_end: bytes) -> None:
    recording = b"\xef\xbb\xbf: recorded\n\n" + b"".join(ANSWERS[source].events)
    out, report, code = offline.translate(recording.replace(b"\n", line_end), source, target)
    assert (report, code) == ([], 0)
    assert GRAMMARS[target](out) == "done"
    whole, _ = translated(orjson.dumps(ANSWERS[source].whole), source, target)
    if target == "responses":
        assert essence(target, events_of(out)[-1][1]["response"]) == essence(target, whole)
    elif target == "messages":
        assert [value["delta"]["text"] for name, value in events_of(out) if b"text_delta" in orjson.dumps(value)] == ["Hi ", "you"]
    else:
        assert events_of(out)[-2][1]["usage"]["total_tokens"] == 19


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("target", ["chat", "responses"])
def test_what_no_other_shape_can_say_is_reported(target: str, streamed: bool) -> None:
    searched = said("x")._replace(start={"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, deltas=[])
    searched = searched._replace(whole=searched.start)
    answer = message(searched, said("Hi"))
    data = b"".join(answer.events) if streamed else orjson.dumps(answer.whole)
    out, report, code = offline.translate(data, "messages", target)
    assert (report, code) == (["dropped: content[0]:server_tool_use"], 0)
    assert b"Hi" in out
    assert b"web_search" not in out


@pytest.mark.parametrize("shape", SHAPES)
def test_its_own_shape_keeps_every_byte(shape: str) -> None:
    odd = b' {"model" : "m", "x": 1.0, "x": 1e2}\n'
    for data in (odd, b"".join(ANSWERS[shape].events), orjson.dumps(ANSWERS[shape].whole)):
        assert offline.translate(data, shape, shape) == (data, [], 0)


# ---- what is wrong ----

ERRORS = {
    "chat": {"error": {"message": "Slow down.", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}},
    "messages": {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}, "request_id": None},
    "responses": {"error": {"message": "Slow down.", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}},
}


@pytest.mark.parametrize(("source", "target"), TRANSLATED)
def test_an_error_answer_in_another_shape(source: str, target: str) -> None:
    assert translated(orjson.dumps(ERRORS[source]), source, target) == (ERRORS[target], [])


@pytest.mark.parametrize(("source", "target"), TRANSLATED)
def test_a_recording_that_breaks_off_is_told(source: str, target: str) -> None:
    out, report, code = offline.translate(b"".join(ANSWERS[source].events[:-4]), source, target)
    assert code == 1
    assert len(report) == 1
    assert report[0].startswith("error: ")
    assert GRAMMARS[target](out) == "error"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_recording_that_breaks_off_is_told_in_its_own_shape_too(shape: str) -> None:
    data = b"".join(ANSWERS[shape].events[:-4])
    out, report, code = offline.translate(data, shape, shape)
    assert (out, len(report), code) == (data, 1, 1)


BAD = [
    (b"", "error: neither a JSON object nor a stream of server-sent events"),
    (b"hello", "error: neither a JSON object nor a stream of server-sent events"),
    (b"[1]", "error: neither a JSON object nor a stream of server-sent events"),
    (b'"text"', "error: neither a JSON object nor a stream of server-sent events"),
    (b'{"model": ', "error: not valid JSON: "),
    (b"\xff\xfe{\x00}\x00", "error: neither"),
    (b'{"model": "m"}', "error: messages: "),
    (b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}], "n": 3}', "error: n: "),
    (b'{"model": "m", "messages": ' + b"[" * 5000 + b"]" * 5000 + b"}", "error: "),
]


@pytest.mark.parametrize(("data", "told"), BAD, ids=range(len(BAD)))
def test_bad_input_is_told_in_one_line(data: bytes, told: str) -> None:
    out, report, code = offline.translate(data, "chat", "messages")
    assert (out, code) == (b"", 1)
    assert len(report) == 1
    assert report[0].startswith(told)


# ---- the command ----


def test_the_command_reads_a_file(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file = tmp_path / "request.json"
    file.write_bytes(orjson.dumps({**ASKED["chat"], "seed": 7}))
    assert cli.main(["translate", "--from", "chat", "--to", "messages", str(file)]) == 0
    out, err = capfdbinary.readouterr()
    assert orjson.loads(out) == ASKED["messages"]
    assert err == b"dropped: seed\n"
    assert cli.main(["translate", "--from", "chat", "--to", "messages", str(tmp_path / "nothing")]) == 2
    assert capfdbinary.readouterr()[1] == f"{tmp_path}/nothing: No such file or directory\n".encode()


def run(data: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "dragoman.proxy", "translate", *arguments]
    return subprocess.run(command, input=data, capture_output=True, cwd="/", check=False)


def test_the_command_reads_standard_input() -> None:
    done = run(sse({"error": {"message": "rate", "type": "rate_limit_error"}}), "--from", "chat", "--to", "messages")
    assert (done.returncode, done.stderr) == (1, b"error: rate\n")
    assert GRAMMARS["messages"](done.stdout) == "error"
    wrong = run(b"{}", "--from", "chat", "--to", "bedrock")
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    assert b"bedrock" in wrong.stderr


def test_a_reader_that_has_enough_is_no_error() -> None:
    """As `| head` is: what it reads no more is not written, and nobody is told of it."""
    command = [sys.executable, "-m", "dragoman.proxy", "translate", "--from", "chat", "--to", "messages"]
    body = orjson.dumps(ASKED["chat"] | {"messages": [{"role": "user", "content": "x" * (1 << 20)}]})
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/") as running:
        assert running.stdin
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        running.stdin.write(body)
        running.stdin.close()
        assert running.stderr.read() == b""
        assert running.wait() == 1
