"""Hooks over real sockets: who is asked what, who may refuse, and what happens when one does not answer."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
import pytest

from dragoman.proxy.exchange import hooks

from ..scripted import Gate, Provider, Request, respond, wait
from .inside import Inside, inside_once
from .sockets import connected
from .spoken import ASKED, PATHS, SHAPES, SPEECH
from .wire import request

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - {model: chat/m, base_url: "http://UP/v1", access_key: sk-upstream, apis: [chat_completions]}
  - {model: demo/*}
access_keys: [{key: sk-secret, name: ann}]
hooks:
  - {url: "UPSTREAM/hook?token=in-the-url", on: WHEN, fail: HOW, timeout: 300ms, content: WHOLE, headers: {x-hook-key: hk-secret}}
"""
WORDS = {"WHEN": "[request, answer]", "HOW": "open", "WHOLE": "false"}


def scripted(*answers: Any) -> Any:
    """Each answer in its turn, the last one from then on: a JSON value, a status, bytes, or steps."""
    left = list(answers)

    def script(asked: Request) -> Any:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, list):
            return answer
        return [respond({}, status=answer) if isinstance(answer, int) else respond(answer)]

    return script


def gateway(hook: Provider, upstream: Provider | None = None, **words: str) -> Inside:
    place = "127.0.0.1:9" if upstream is None else upstream.url.removeprefix("http://")
    return Inside(CONFIG, hook, **{"http://UP/": f"http://{place}/"}, **(WORDS | words))


async def ask(inside: Inside, shape: str = "chat", model: str = "demo/echo", **more: Any) -> tuple[int, dict[str, str], Any]:
    data = request(PATHS[shape], {"model": model, **ASKED[shape], **more}, authorization="Bearer sk-secret", x_request_id="req-1")
    async with inside.call(data) as caller:
        status, headers = await caller.head()
        body = await caller.body(headers)
        return status, headers, orjson.loads(body) if headers["content-type"].startswith("application/json") else body


def count(inside: Inside, on: str, result: str) -> float:
    return inside.gateway.metrics.hooks.labels(on, result)._value.get()  # type: ignore[attr-defined, no-any-return]


# ---- what a hook is told ----


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stream", [False, True])
@inside_once
async def test_what_hooks_are_told(shape: str, stream: bool) -> None:
    async with Provider(scripted({"block": False})) as hook, gateway(hook) as inside:
        assert (await ask(inside, shape, stream=stream))[0] == 200
        await hook.seen(lambda: len(hook.requests) == 2)
        first, second = (asked.json for asked in hook.requests)
        common = {
            "request_id": "req-1",
            "key": "ann",
            "team": "",
            "user": "",
            "operation": shape,
            "shape": shape,
            "path": PATHS[shape],
            "model": "demo/echo",
            "stream": stream,
        }
        assert {name: first[name] for name in common} == common
        assert first.keys() - common.keys() == {"on", "time"}
        assert (first["on"], second["on"]) == ("request", "answer")
        assert {name: second[name] for name in common} == common
        assert (second["status"], second["error"], second["upstream"]) == (200, None, "demo/echo")
        assert second["tokens"]["output"] > 0
        assert not {"body", "answer"} & (first.keys() | second.keys())
        assert hook.requests[0].headers["x-hook-key"] == "hk-secret"
        assert hook.requests[0].headers["content-type"] == "application/json"
        assert "sk-secret" not in str(hook.requests)
        await inside.until(lambda: count(inside, "answer", "passed") == 1)
        assert count(inside, "request", "passed") == 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stream", [False, True])
@inside_once
async def test_content(shape: str, stream: bool) -> None:
    async with Provider(scripted({"block": False})) as hook, gateway(hook, WHOLE="true") as inside:
        body = (await ask(inside, shape, stream=stream))[2]
        await hook.seen(lambda: len(hook.requests) == 2)
        first, second = (asked.json for asked in hook.requests)
        assert first["body"] == {"model": "demo/echo", **ASKED[shape], "stream": stream}
        assert second["answer_cut"] is False
        assert (second["answer"].encode() if stream else orjson.loads(second["answer"])) == body


@pytest.mark.parametrize(
    ("path", "body", "kind", "expected"),
    [
        ("messages/batches", b'{"requests": ["Hi"]}', "application/json", {"requests": ["Hi"]}),
        ("files", b"--x--", "multipart/form-data; boundary=x", {"base64": "LS14LS0="}),
    ],
)
@inside_once
async def test_content_of_what_else_would_be_sent_on_while_it_arrives(path: str, body: bytes, kind: str, expected: Any) -> None:
    """A hook that reads bodies is asked before any of one goes up."""
    with Provider(scripted({"block": True})) as hook, Provider(scripted({"id": "x"})) as upstream:
        async with gateway(hook, upstream, WHOLE="true") as inside:
            head = f"POST /v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-secret\r\nContent-Type: {kind}\r\n"
            head += f"x-dragoman-provider: chat\r\nContent-Length: {len(body)}\r\n\r\n"
            async with inside.call(head.encode() + body) as caller:
                status, headers = await caller.head()
                assert (status, b"policy_blocked" in await caller.body(headers)) == (400, True)
            assert hook.requests[0].json["body"] == expected
            assert not upstream.requests


# ---- what it may do ----


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_a_refusal(shape: str) -> None:
    """The upstream is not asked; the caller gets the message and the request's id; Claude Code and the SDKs do not ask again."""
    with (
        Provider(scripted({"block": True, "message": "No\ncustomer data, please."})) as hook,
        Provider([respond(SPEECH["chat"].whole)]) as upstream,
    ):
        async with gateway(hook, upstream) as inside:
            status, headers, answer = await ask(inside, shape, "chat/m", stream=True)
            assert (status, headers["x-should-retry"]) == (400, "false")
            error = answer["error"]
            assert error["message"] == "No customer data, please. (request id: req-1)"
            if shape == "messages":
                assert (error["type"], answer["request_id"]) == ("policy_blocked", "req-1")
            else:
                assert (error["type"], error["code"]) == ("invalid_request_error", "policy_blocked")
            assert not upstream.requests
            assert count(inside, "request", "blocked") == 1
            await hook.seen(lambda: len(hook.requests) == 2)
            assert (hook.requests[1].json["status"], hook.requests[1].json["error"]) == (400, "policy_blocked")


@inside_once
async def test_a_refusal_over_a_websocket() -> None:
    answers = ({"block": False}, {"block": True, "message": "Not this."}, {"block": False})
    with Provider(scripted(*answers)) as hook:
        async with gateway(hook, WHEN="request") as inside, connected(inside, authorization="Bearer sk-secret") as socket:
            assert (await socket.ask(model="demo/echo", input="one"))[-1]["type"] == "response.completed"
            (event,) = await socket.ask(model="demo/echo", input="two")
            assert (event["status"], event["error"]["code"]) == (400, "policy_blocked")
            assert event["error"]["message"].startswith("Not this. (request id: ")
            assert (await socket.ask(model="demo/echo", input="three"))[-1]["type"] == "response.completed"
            assert [asked.json["operation"] for asked in hook.requests] == ["responses"] * 3


OTHERS = [  # every other operation that may reach an upstream
    ("/v1/embeddings", {"model": "chat/m", "input": "Hi"}),
    ("/v1/messages/count_tokens", {"model": "demo/echo", "messages": [{"role": "user", "content": "Hi"}]}),
    ("/v1/responses/input_tokens", {"model": "demo/echo", "input": "Hi"}),
    ("/v1/responses/compact", {"model": "demo/echo", "input": "Hi"}),
]


@pytest.mark.parametrize(
    ("path", "key", "operation"),
    [
        ("/v1beta/models/demo/echo:streamGenerateContent", "?key=sk-secret&alt=sse", "gemini"),
        ("/v1beta/models/demo/echo:countTokens", "?key=sk-secret", "countTokens"),
    ],
)
@inside_once
async def test_the_path_is_the_callers_where_it_names_the_model(path: str, key: str, operation: str) -> None:
    async with Provider(scripted({"block": False})) as hook, gateway(hook) as inside:
        async with inside.call(request(path + key, {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})) as caller:
            assert (await caller.head())[0] == 200
        await hook.seen(lambda: len(hook.requests) == 2)
        for asked in hook.requests:
            assert (asked.json["path"], asked.json["operation"]) == (path, operation)
            assert "sk-secret" not in str(asked)


@pytest.mark.parametrize(("path", "body"), OTHERS)
@inside_once
async def test_every_operation_is_asked_for(path: str, body: dict[str, Any]) -> None:
    with Provider(scripted({"block": True, "message": "No."})) as hook:
        async with gateway(hook) as inside, inside.call(request(path, body, authorization="Bearer sk-secret")) as caller:
            status, headers = await caller.head()
            assert status == 400
            assert b"policy_blocked" in await caller.body(headers)


@inside_once
async def test_who_is_not_let_in_is_not_told() -> None:
    async with Provider(scripted({"block": False})) as hook, gateway(hook, WHEN="request") as inside:
        async with inside.call(request(PATHS["chat"], {"model": "demo/echo", **ASKED["chat"]}, authorization="Bearer x")) as caller:
            assert (await caller.head())[0] == 401
        assert not hook.requests


@inside_once
async def test_the_first_of_several_that_refuses_decides() -> None:
    config = CONFIG.replace("hooks:", 'hooks:\n  - {url: "FIRST/a", on: request}\n')
    with Provider(scripted({"block": True, "message": "First."})) as first, Provider(scripted({"block": False})) as hook:
        async with Inside(config, hook, FIRST=first.url, **{"http://UP/": "http://127.0.0.1:9/"}, **WORDS) as inside:
            assert (await ask(inside))[2]["error"]["message"].startswith("First.")
            assert [asked.json["on"] for asked in hook.requests] in ([], ["answer"])


# ---- when it does not work ----

PASSES = [
    ("no body", [respond(b"", status=204)]),
    ("block is false", {"block": False, "message": "x"}),
]


@pytest.mark.parametrize("answer", [pytest.param(answer, id=name) for name, answer in PASSES])
@inside_once
async def test_passed(answer: Any) -> None:
    async with Provider(scripted(answer)) as hook, gateway(hook, HOW="closed", WHEN="request") as inside:
        assert (await ask(inside))[0] == 200


FAILS = [
    ("a status", 500, "it answered with 500"),
    ("a redirect", 302, "it answered with 302"),
    ("no JSON", [respond(b"<html>", content_type="text/html")], "its answer is no JSON"),
    ("no decision", {"blocked": True}, "its answer has no boolean `block`"),
    ("a word", {"block": "yes"}, "its answer has no boolean `block`"),
    ("a list", [respond([True])], "its answer has no boolean `block`"),
    ("too much", [respond(b" " * (hooks.LARGEST + 1))], ""),
]


@pytest.mark.parametrize("fail", ["open", "closed"])
@pytest.mark.parametrize(("answer", "why"), [pytest.param(answer, why, id=name) for name, answer, why in FAILS])
@inside_once
async def test_failures(fail: str, answer: Any, why: str, caplog: pytest.LogCaptureFixture) -> None:
    with Provider(scripted(answer)) as hook, caplog.at_level(logging.WARNING, "dragoman"):
        async with gateway(hook, HOW=fail, WHEN="request") as inside:
            status, _, body = await ask(inside)
            await ask(inside)
            assert count(inside, "request", "failed") == 2
            (record,) = [record.getMessage() for record in caplog.records]  # one line a minute
            assert record.startswith("hooks[0] (127.0.0.1) failed: ")
            assert why in record
            assert "in-the-url" not in caplog.text
            assert "hk-secret" not in caplog.text
            assert status == (200 if fail == "open" else 400)
            if fail == "closed":
                assert body["error"]["code"] == "policy_blocked"
                assert body["error"]["message"] == "The policy of this gateway could not be asked. (request id: req-1)"


@pytest.mark.parametrize("fail", ["open", "closed"])
@inside_once
async def test_silence(fail: str) -> None:
    gate = Gate()
    with Provider(scripted([wait(gate), respond({"block": False})])) as hook:
        async with gateway(hook, HOW=fail, WHEN="request") as inside:
            assert (await ask(inside))[0] == (200 if fail == "open" else 400)
            assert count(inside, "request", "failed") == 1
        gate.open()


@inside_once
async def test_nobody_is_there() -> None:
    with Provider(scripted({"block": False})) as hook:
        pass
    async with gateway(hook, HOW="closed") as inside:
        assert (await ask(inside))[2]["error"]["code"] == "policy_blocked"
        await inside.until(lambda: count(inside, "answer", "failed") == 1)


@inside_once
async def test_a_caller_that_leaves_does_not_wait() -> None:
    gate = Gate()
    config = {"WHEN": "request", "HOW": "closed"}
    with Provider(scripted([wait(gate), respond({"block": False})])) as hook:
        async with Inside(CONFIG.replace("300ms", "30s"), hook, **{"http://UP/": "http://127.0.0.1:9/"}, **(WORDS | config)) as inside:
            data = request(PATHS["chat"], {"model": "demo/echo", **ASKED["chat"]}, authorization="Bearer sk-secret")
            async with inside.call(data) as caller:
                await hook.seen(lambda: hook.requests)
                caller.leave()
                await inside.until(lambda: inside.lines)
            assert inside.lines[0]["status"] == 499
        gate.open()


@inside_once
async def test_answers_that_nobody_takes_are_given_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """They are bounded, counted and logged, and no caller waits for them."""
    monkeypatch.setattr(hooks, "CALLS", 2)
    monkeypatch.setattr(hooks, "WAITING", 3)
    gate = Gate()
    with Provider(scripted([wait(gate), respond({})])) as hook, caplog.at_level(logging.WARNING, "dragoman"):
        config = CONFIG.replace("300ms", "30s")
        async with Inside(config, hook, **{"http://UP/": "http://127.0.0.1:9/"}, **(WORDS | {"WHEN": "answer"})) as inside:
            answers = await asyncio.gather(*(ask(inside) for _ in range(10)))
            assert {status for status, _, _ in answers} == {200}
            await inside.until(lambda: count(inside, "answer", "dropped") == 5)
            gate.open()
            await inside.until(lambda: count(inside, "answer", "passed") == 5)
            assert len(hook.requests) == 5
            assert "hooks[0] (127.0.0.1) is not told of some answers: 5 calls to hooks are not over" in caplog.text


@inside_once
async def test_answers_that_wait_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "HELD", 1)
    gate = Gate()
    with Provider(scripted([wait(gate), respond({})])) as hook:
        config = CONFIG.replace("300ms", "30s")
        async with Inside(config, hook, **{"http://UP/": "http://127.0.0.1:9/"}, **(WORDS | {"WHEN": "answer", "WHOLE": "true"})) as inside:
            for _ in range(3):
                assert (await ask(inside))[0] == 200
            await inside.until(lambda: count(inside, "answer", "dropped") == 2)
            gate.open()
            await inside.until(lambda: count(inside, "answer", "passed") == 1)
            assert (await ask(inside))[0] == 200
            await inside.until(lambda: count(inside, "answer", "passed") == 2)


@inside_once
async def test_a_long_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "CONTENT", 40)
    async with Provider(scripted({"block": False})) as hook, gateway(hook, WHOLE="true", WHEN="answer") as inside:
        body = (await ask(inside, stream=True))[2]
        await hook.seen(lambda: hook.requests)
        told = hook.requests[0].json
        assert (told["answer"], told["answer_cut"]) == (body[:40].decode(), True)
