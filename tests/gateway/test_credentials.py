"""Credentials that end, in requests: the header that goes up, who waits, what a caller is told, and that no secret is seen anywhere."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from pathlib import Path
from time import time
from typing import Any

import pytest

from dragoman.proxy.credentials import mounted

from ..scripted import LAST_CHUNK, Provider, Request, Steps, chunk, respond, sse, stream_head
from .inside import Inside, inside, inside_once
from .test_metrics import whole, word
from .wire import request

ENTRY = '  - {{model: {model}, base_url: "UPSTREAM/v1", token_command: [{command}], apis: [{api}]}}\n'
TOKEN = "token_command token"


class Program:
    """A token_command: it prints what `says` writes into its file, and counts its runs by lines of another."""

    def __init__(self, folder: Path) -> None:
        self._says, self._runs, self.path = folder / "says", folder / "runs", folder / "token"
        self._runs.write_text("")
        self.path.write_text(f"#!{sys.executable} -S\nimport os, sys\n" + _PROGRAM.format(says=self._says, runs=self._runs))
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    def says(self, text: str, status: int = 0) -> None:
        new = self._says.with_suffix(".new")
        new.write_text(json.dumps({"text": text, "status": status}))
        os.replace(new, self._says)

    @property
    def runs(self) -> int:
        return len(self._runs.read_text())


_PROGRAM = """
import json
descriptor = os.open("{runs}", os.O_WRONLY | os.O_APPEND)
os.write(descriptor, b"x")
found = json.load(open("{says}"))
print(found["text"].replace("RUN", str(os.path.getsize("{runs}"))))
sys.exit(found["status"])
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def config(program: Program, *models: str, api: str = "chat_completions", more: str = "") -> str:
    entries = "".join(ENTRY.format(model=model, command=f'"{program.path}"', api=api) for model in models or ("up/m",))
    return f"listeners: [{{type: model, address: 127.0.0.1}}]\n{more}model_providers:\n{entries}"


def authorizations(provider: Provider) -> list[str | None]:
    return [request.headers.get("authorization") for request in provider.requests]


def answers(_: Request) -> Steps:
    return [whole()]


async def asked(gateway: Inside, model: str = "up/m", shape: str = "chat") -> tuple[int, dict[str, str], bytes]:
    async with gateway.ask(shape, model) as caller:
        status, headers = await caller.head()
        return status, headers, await caller.body(headers)


@inside
async def test_the_token_goes_up_as_a_bearer(program: Program) -> None:
    program.says('{"access_token": "tok-RUN", "expires_in": 3600}')
    async with Provider(answers) as provider, Inside(config(program), provider) as gateway:
        for _ in range(3):
            assert (await asked(gateway))[0] == 200
        metrics = gateway.gateway.metrics.text().decode()
    assert authorizations(provider) == ["Bearer tok-1"] * 3
    assert program.runs == 1, "asked for at the start, and once"
    assert 'dragoman_credential_refresh_total{provider="up/m",result="ok"} 1.0' in metrics
    assert 'dragoman_credential_expiry_seconds{provider="up/m"} 1' in metrics


@inside_once
@pytest.mark.parametrize("shape", ["messages", "responses"])
async def test_a_translated_request_has_it_too(program: Program, shape: str) -> None:
    program.says("tok")
    async with Provider(answers) as provider, Inside(config(program), provider) as gateway:
        assert (await asked(gateway, shape=shape))[0] == 200
    assert authorizations(provider) == ["Bearer tok"]


@inside_once
async def test_entries_with_the_same_way_share_it(program: Program) -> None:
    program.says("tok-RUN")
    async with Provider(answers) as provider, Inside(config(program, "up/a", "up/b"), provider) as gateway:
        assert (await asked(gateway, "up/a"))[0] == (await asked(gateway, "up/b"))[0] == 200
    assert authorizations(provider) == ["Bearer tok-1"] * 2


@inside_once
async def test_a_reload_keeps_what_has_not_changed(program: Program) -> None:
    program.says("tok-RUN")
    async with Provider(answers) as provider, Inside(config(program), provider) as gateway:
        assert (await asked(gateway))[0] == 200
        gateway.gateway.adopt(gateway.gateway.config)
        assert (await asked(gateway))[0] == 200
    assert authorizations(provider) == ["Bearer tok-1"] * 2


@inside_once
@pytest.mark.parametrize(
    ("text", "status", "said", "retry"),
    [
        ("secret-of-the-program", 3, f"{TOKEN}: ended with status 3.", "true"),
        ("", 0, f"{TOKEN}: printed nothing.", "false"),
        ('{"token": "secret-of-the-program", "expires_in": -5}', 0, f"{TOKEN}: the credential that came has ended already.", "false"),
    ],
)
@pytest.mark.parametrize("shape", ["chat", "messages", "responses"])
async def test_a_failure_is_a_502_that_names_the_step(program: Program, shape: str, text: str, status: int, said: str, retry: str) -> None:
    program.says(text, status)
    async with Provider(answers) as provider, Inside(config(program), provider) as gateway:
        code, headers, body = await asked(gateway, shape=shape)
        metrics = gateway.gateway.metrics.text().decode()
    assert (code, headers["x-should-retry"]) == (502, retry)
    error = json.loads(body)["error"]
    assert error["message"] == f"The gateway has no credential for up/m: {said}"
    assert error.get("code", "upstream_auth_failed") == "upstream_auth_failed"
    assert provider.requests == [], "nothing is sent"
    assert 'dragoman_credential_refresh_total{provider="up/m",result="failed"} 1.0' in metrics
    assert "secret-of-the-program" not in metrics + str(gateway.lines) + body.decode()
    assert f"failed, nocredential: The gateway has no credential for up/m: {said}" in gateway.lines[0]["tried"][0]


@inside_once
async def test_a_program_that_takes_too_long(tmp_path: Path) -> None:
    """Its time is over, or the request's is: either may work soon."""
    entry = ENTRY.format(model="up/m", command='sleep, "3600"', api="chat_completions")
    with Provider(answers) as provider:
        async with Inside(f"egress: {{credential_timeout: 200ms}}\nmodel_providers:\n{entry}", provider) as gateway:
            code, headers, body = await asked(gateway)
    assert (code, headers["x-should-retry"], json.loads(body)["error"]["code"]) == (502, "true", "upstream_auth_failed")
    assert "within 0.2 s." in body.decode()


@inside_once
async def test_an_operation_that_is_carried_has_it_too(program: Program) -> None:
    program.says("tok-RUN")
    vectors = {"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}

    def script(_: Request) -> Steps:
        return [respond({"error": {"message": "expired"}}, 401)] if len(provider.requests) == 1 else [respond(vectors)]

    with Provider(script) as provider:
        ask = request("/v1/embeddings", {"model": "up/m", "input": "a"})
        async with Inside(config(program), provider) as gateway, gateway.call(ask) as caller:
            status, headers = await caller.head()
            assert json.loads(await caller.body(headers)) == vectors
    assert status == 200
    assert authorizations(provider) == ["Bearer tok-1", "Bearer tok-2"]


@inside_once
async def test_a_caller_that_leaves_while_it_waits(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    entry = ENTRY.format(model="up/m", command=f"cat, {fifo}", api="chat_completions")
    async with Provider(answers) as provider, Inside(f"model_providers:\n{entry}", provider) as gateway:
        async with gateway.ask("chat", "up/m") as caller:
            await gateway.until(lambda: gateway.gateway.exchanges)
            caller.leave()
            await gateway.until(lambda: gateway.idle)
        await asyncio.to_thread(fifo.write_text, "tok")
        assert (await asked(gateway))[0] == 200
    assert authorizations(provider) == ["Bearer tok"]


@inside_once
async def test_a_program_that_is_not_there_is_missing(tmp_path: Path) -> None:
    entry = ENTRY.format(model="up/m", command="/no/such/program, --secret=hunter2hunter2", api="chat_completions")
    async with Provider(answers) as provider, Inside(f"model_providers:\n{entry}", provider) as gateway:
        code, headers, body = await asked(gateway)
        explained = "\n".join(gateway.gateway.router.explain("chat", "up/m"))
    error = json.loads(body)["error"]
    assert (code, error["code"], headers["x-should-retry"]) == (502, "upstream_auth_missing", "false")
    assert error["message"].endswith("token_command program: cannot be started: No such file or directory.")
    assert "token_command program" in explained
    assert "hunter2" not in explained + body.decode() + str(gateway.lines)


@inside_once
async def test_the_next_candidate_answers_instead(program: Program) -> None:
    program.says("", 1)
    more = '  - {model: up/m, base_url: "UPSTREAM/v1", access_key: spare-key, apis: [chat_completions]}\n'
    async with Provider(answers) as provider, Inside(config(program) + more, provider) as gateway:
        for _ in range(2):
            assert (await asked(gateway))[0] == 200
        assert not gateway.gateway.notes(), "no upstream has failed: none is passed over"
    assert authorizations(provider) == ["Bearer spare-key"] * 2


@inside_once
async def test_a_slow_program_delays_nobody_else(program: Program, tmp_path: Path) -> None:
    """A hundred requests wait for one run; the loop and other entries' requests go on."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    slow = f"  - {{model: slow/m, base_url: 'UPSTREAM/v1', token_command: [cat, '{fifo}'], apis: [chat_completions]}}\n"
    program.says("tok")
    async with Provider(answers) as provider, Inside(config(program) + slow, provider) as gateway:
        waiting = [asyncio.create_task(asked(gateway, "slow/m")) for _ in range(100)]
        await gateway.until(lambda: len(gateway.gateway.exchanges) == 100)
        for _ in range(5):
            assert (await asked(gateway))[0] == 200
        assert not any(task.done() for task in waiting)
        await asyncio.to_thread(fifo.write_text, "slow-token")
        assert {(await task)[0] for task in waiting} == {200}
    assert authorizations(provider).count("Bearer slow-token") == 100


@inside_once
async def test_a_refused_one_is_replaced_once_and_the_request_sent_again(program: Program) -> None:
    program.says("tok-RUN-secret")

    def script(request: Request) -> Steps:
        token = request.headers["authorization"].removeprefix("Bearer ")
        return [whole()] if token == "tok-2-secret" else [respond({"error": {"message": f"{token} is no good", "code": "x"}}, 401)]

    async with Provider(script) as provider, Inside(config(program), provider) as gateway:
        assert (await asked(gateway))[0] == 200
    assert authorizations(provider) == ["Bearer tok-1-secret", "Bearer tok-2-secret"]


@inside_once
async def test_one_that_stays_refused(program: Program) -> None:
    program.says("tok-RUN-secret")

    def script(request: Request) -> Steps:
        return [respond({"error": {"message": f"{request.headers['authorization']} is no good", "type": "x", "code": "x"}}, 401)]

    async with Provider(script) as provider, Inside(config(program), provider) as gateway:
        replies = [await asked(gateway) for _ in range(3)]
    assert [(status, json.loads(body)["error"]["code"]) for status, _, body in replies] == [(502, "upstream_auth_failed")] * 3
    assert authorizations(provider) == ["Bearer tok-1-secret", *["Bearer tok-2-secret"] * 3]
    assert "secret" not in str(replies) + str(gateway.lines)


@inside_once
async def test_a_request_is_sent_again_once_however_often_there_is_another_token(program: Program) -> None:
    """Other requests may have replaced the refused token each time, as with tokens that live for seconds."""
    program.says("tok-RUN")

    def script(_: Request) -> Steps:
        (source,) = gateway.gateway.credentials._sources.values()
        source._held, source._soft = None, 0.0
        return [respond({"error": {"message": "no"}}, 401)] if len(provider.requests) < 6 else [whole()]

    async with Provider(script) as provider, Inside(config(program), provider) as gateway:
        assert (await asked(gateway))[0] == 502
    assert authorizations(provider) == ["Bearer tok-1", "Bearer tok-2"]


@inside_once
async def test_c40_an_upstream_that_repeats_the_token_in_a_stream_does_not_tell_it(program: Program) -> None:
    program.says("tok-secret-token")

    def script(request: Request) -> Steps:
        return [stream_head(), chunk(sse({"error": {"message": f"bad {request.headers['authorization']}", "code": 500}})), LAST_CHUNK]

    with Provider(script) as provider:
        async with Inside(config(program), provider) as gateway, gateway.ask("chat", "up/m", stream=True) as caller:
            _, headers = await caller.head()
            body = await caller.body(headers)
    assert b"secret" not in body


@inside_once
async def test_c40_the_inspector_does_not_show_it(program: Program) -> None:
    program.says("tok-secret-token")
    told: list[Any] = []

    def script(request: Request) -> Steps:
        return [respond({"error": {"message": f"bad {request.headers['authorization']}", "code": "x"}}, 400)]

    async with Provider(script) as provider, Inside(config(program), provider) as gateway:
        gateway.gateway.inspector.watch(told.append, True)
        await asked(gateway)
        await gateway.until(lambda: "'done': True" in str(told))
    assert "authorization: " in str(told)
    assert "bad Bearer ***" in str(told)
    assert "secret" not in str(told)


# ---- keys in files ----

MOUNTED = """
model_providers:
  - {model: up/m, base_url: "UPSTREAM/v1", access_key: "${file:FILE}", apis: [chat_completions]}
  - {model: other/*, base_url: "UPSTREAM/v1", access_key: "${file:FILE}", apis: [messages]}
"""


@inside_once
async def test_c40_a_key_in_a_file_is_read_again_when_the_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(mounted, "PAUSE", 0.01)
    file = tmp_path / "key"
    file.write_text("sk-one\n")
    async with Provider(answers) as provider, Inside(MOUNTED, provider, FILE=str(file)) as gateway:
        assert (await asked(gateway))[0] == 200
        for away in (file.unlink, lambda: file.write_text(""), lambda: file.write_bytes(b"\xff"), lambda: file.write_text("a\nb")):
            before = caplog.text.count("access_key is as before")
            away()
            await gateway.until(lambda before=before: caplog.text.count("access_key is as before") > before)
            assert (await asked(gateway))[0] == 200
        new = tmp_path / "new"
        new.write_text("sk-two\n")
        new.rename(file)  # as mounted secrets are replaced
        await gateway.until(lambda: f"new keys were taken from {file}" in caplog.text)
        assert (await asked(gateway))[0] == 200
        await asked(gateway, "other/x", "messages")
    assert authorizations(provider) == [*["Bearer sk-one"] * 5, *["Bearer sk-two"] * 2]
    assert "sk-" not in caplog.text


class Ticking:
    """A clock that goes on with each stream that is over, so that a token's life is a number of streams on any machine."""

    def __init__(self) -> None:
        self._begun, self.streams = time(), 0

    def __call__(self) -> float:
        return self._begun + self.streams * 0.004


@inside
async def test_fifty_streams_under_a_credential_that_is_renewed_every_second(program: Program) -> None:
    """Each caller asks for stream after stream until the token has been renewed often enough; none of them fails."""
    program.says('{"token": "tok-RUN", "expires_in": 1}')
    wanted, clock = 6, Ticking()

    def script(request: Request) -> Steps:
        if not (request.headers.get("authorization") or "").startswith("Bearer tok-"):
            return [respond({"error": {"message": "no token"}}, 400)]
        return [stream_head(), chunk(word("Yes.")), chunk(_STOP), chunk(sse("[DONE]")), LAST_CHUNK]

    outcomes: list[bool] = []

    async def call(gateway: Inside) -> None:
        while program.runs < wanted:
            async with gateway.ask("chat", "up/m", stream=True) as caller:
                status, headers = await caller.head()
                body = await caller.body(headers)
                outcomes.append(status == 200 and body.endswith(b"data: [DONE]\n\n"))
                clock.streams += 1

    async with Provider(script) as provider, Inside(config(program), provider) as gateway:
        (source,) = gateway.gateway.credentials._sources.values()
        source._clock = source._giver._clock = clock  # type: ignore[attr-defined]
        await asyncio.gather(*(call(gateway) for _ in range(50)))
        errors = [line for line in gateway.lines if line.get("error")]
    assert all(outcomes)
    assert errors == []
    assert len(outcomes) >= 250, "of two lives"
    assert len(set(authorizations(provider))) >= wanted - 1


_STOP = sse({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
