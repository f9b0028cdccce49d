"""Access keys over real sockets: who is let in, and what the vendors' SDKs are told when a limit or a budget is reached."""

from __future__ import annotations

import asyncio
import re
import secrets
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anthropic
import openai
import orjson
import pytest

from ..conftest import Running, Start
from ..proxy.kinds import redis
from ..scripted import Provider, chunk, respond, stream_head, until_closed
from .spoken import PATHS, SHAPES, SPEECH, Judges
from .wire import Wire, ask, request

pytestmark = pytest.mark.slow

LIMIT, CALLERS = 50, 200

CONFIG = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
model_providers: [{model: demo/*}]
"""

KEYS = (
    CONFIG
    + """
access_keys:
  - {key: plain-key, name: plain}
  - {key: echo-key, name: echo, models: [demo/echo]}
  - {key: slow-key, name: slow, requests_per_minute: 2}
prices: {"demo/*": {input: 1000, output: 1000}}
"""
)
# what is counted has a key for each test of its own
COUNTED = "".join(
    f"  - {{key: {kind}-{shape}-{streamed}, name: {kind}-{shape}-{streamed}, {limit}}}\n"
    for kind, limit in (("slow", "requests_per_minute: 2"), ("short", "tokens_per_minute: 3"), ("poor", "budget: {usd: 0.001, per: day}"))
    for shape in ("chat", "messages", "responses")
    for streamed in (False, True)
)


@pytest.fixture(scope="module")
def gateway(start_session: Start) -> Running:
    return start_session(KEYS.replace("prices", COUNTED + "prices"))


def said(shape: str, key: str, model: str = "demo/echo", **more: Any) -> bytes:
    """A request of this shape in bytes."""
    question = [{"role": "user", "content": "Hi there"}]
    body: dict[str, Any] = {"input": question} if shape == "responses" else {"messages": question}
    if shape == "messages":
        body["max_tokens"] = 100
    return request(PATHS[shape], {"model": model} | body | more, authorization=f"Bearer {key}")


# ---- exactly so many ----


async def storm(port: int, data: bytes) -> list[tuple[int, dict[str, str]]]:
    """Status and headers of as many requests as there are callers, all sent when every connection is there."""
    connections = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(CALLERS)))

    async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, dict[str, str]]:
        writer.write(data)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        writer.close()
        await writer.wait_closed()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
        return int(lines[0].split(" ")[1]), headers

    return await asyncio.gather(*(call(*connection) for connection in connections))


def exactly_the_limit(*gateways: Running) -> None:
    data = said("chat", "storm-key")

    async def main() -> list[tuple[int, dict[str, str]]]:
        async with asyncio.timeout(200):
            return [answer for part in await asyncio.gather(*(storm(one.port, data) for one in gateways)) for answer in part]

    answers = asyncio.run(main())
    assert Counter(status for status, _ in answers) == {200: LIMIT, 429: CALLERS * len(gateways) - LIMIT}
    left = [int(headers["x-ratelimit-remaining-requests"]) for status, headers in answers if status == 200]
    assert sorted(left) == list(range(LIMIT))  # no two were given the same place
    assert all(1 <= int(headers["retry-after"]) <= 60 for status, headers in answers if status == 429)


STORM = f"access_keys: [{{key: storm-key, name: NAME, requests_per_minute: {LIMIT}}}]\n"


def test_two_workers_admit_exactly_the_limit(start: Start) -> None:
    exactly_the_limit(start(CONFIG + STORM, "--workers", "2"))


def test_two_replicas_of_two_workers_admit_exactly_the_limit_with_redis(start: Start) -> None:
    with redis() as url:
        config = CONFIG + STORM.replace("NAME", f"storm-{secrets.token_hex(6)}") + f"state_storage: {{type: redis, url: '{url}'}}\n"
        exactly_the_limit(start(config, "--workers", "2"), start(config, "--workers", "2"))


# ---- who is let in ----


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_both_places_of_a_key(gateway: Running, shape: str, header: str) -> None:
    data = said(shape, "plain-key")
    if header == "x-api-key":
        data = data.replace(b"authorization: Bearer ", b"x-api-key: ")
    assert ask(gateway.port, data).status == 200
    wrong = ask(gateway.port, data.replace(b"plain-key", b"wrong-key"))
    assert (wrong.status, wrong.headers["x-should-retry"]) == (401, "false")
    assert "wrong-key" not in gateway.log()


def test_a_strangers_body_is_not_kept(gateway: Running) -> None:
    before = peak(gateway)
    body = orjson.dumps({"model": "demo/echo", "messages": [{"role": "user", "content": "x" * 48 * 2**20}]})
    answer = ask(gateway.port, request(PATHS["chat"], body, authorization="Bearer stranger"))
    assert (answer.status, answer.json["error"]["code"]) == (401, "invalid_api_key")
    assert peak(gateway) - before < 16 * 1024


def peak(gateway: Running) -> int:
    """The most memory that the gateway ever had, kB. Skips where the system does not tell."""
    try:
        status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    except OSError:
        pytest.skip("needs /proc to see a process's memory")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]


def test_models_of_a_key(gateway: Running) -> None:
    for shape in SHAPES:
        assert ask(gateway.port, said(shape, "echo-key")).status == 200
        assert ask(gateway.port, said(shape, "echo-key", model="demo/think")).status == 403
    client = openai.OpenAI(api_key="echo-key", base_url=f"{gateway.url}/v1")
    assert [model.id for model in client.models.list()] == ["demo/echo"]
    client.close()


def test_a_request_that_names_no_model_is_judged_by_the_default(start: Start) -> None:
    gateway = start(
        CONFIG.replace("demo/*", "demo/echo, default: true") + "access_keys: [{key: a, models: [demo/e*]}, {key: b, models: [gpt-*]}]\n"
    )
    for key, status in (("a", 200), ("b", 403)):
        data = said("chat", key).replace(b'"model":"demo/echo"', b'"padding":       ""')
        assert ask(gateway.port, data).status == status
    assert ask(start(KEYS).port, said("chat", "echo-key").replace(b'"model":"demo/echo"', b'"padding":       ""')).status == 400


# ---- what the SDKs are told ----


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_limit_of_requests(gateway: Running, shape: str, streamed: bool) -> None:
    judges = Judges(gateway.url, f"slow-{shape}-{streamed}")
    assert [judges.ask(shape, "demo/echo", streamed=streamed).text for _ in range(2)] == ["Hi", "Hi"]
    refused = judges.ask(shape, "demo/echo", streamed=streamed)
    judges.close()
    assert (refused.status, refused.type) == (429, "rate_limit_error")
    assert refused.code == (None if shape == "messages" else "rate_limit_exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "x-should-retry" not in refused.headers
    if shape == "messages":
        assert refused.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert refused.headers["anthropic-ratelimit-requests-limit"] == "2"
    else:
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert refused.headers["x-ratelimit-limit-requests"] == "2"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_limit_of_tokens(gateway: Running, shape: str, streamed: bool) -> None:
    judges = Judges(gateway.url, f"short-{shape}-{streamed}")
    first, second, third = (judges.ask(shape, "demo/echo", streamed=streamed) for _ in range(3))  # each uses two
    judges.close()
    assert (first.text, second.text) == ("Hi", "Hi")
    assert (third.status, third.type) == (429, "rate_limit_error")
    assert "3 tokens per minute" in third.message


@pytest.mark.parametrize("shape", SHAPES)
def test_a_budget(gateway: Running, shape: str) -> None:
    """The SDKs retry what may be retried; of a used-up budget they are told that nothing helps."""
    key = f"poor-{shape}-False"
    anthropic_client = anthropic.Anthropic(api_key=key, base_url=gateway.url, max_retries=3)
    openai_client = openai.OpenAI(api_key=key, base_url=f"{gateway.url}/v1", max_retries=3)
    create: Any = {
        "chat": lambda: openai_client.chat.completions.create(model="demo/echo", messages=[{"role": "user", "content": "Hi"}]),
        "messages": lambda: anthropic_client.messages.create(model="demo/echo", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]),
        "responses": lambda: openai_client.responses.create(model="demo/echo", input="Hi"),
    }[shape]
    create()
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
        create()
    anthropic_client.close()
    openai_client.close()
    headers = caught.value.response.headers
    assert caught.value.status_code == 429
    assert headers["x-should-retry"] == "false"
    assert 0 < int(headers["retry-after"]) <= 86400
    assert headers.get("anthropic-ratelimit-unified-status") == ("rejected" if shape == "messages" else None)
    error = caught.value.response.json()["error"]
    if shape == "messages":
        assert error["type"] == "billing_error"
    else:
        kind = "usage_limit_reached" if shape == "responses" else "insufficient_quota"  # Codex knows this word
        assert (error["type"], error["code"]) == (kind, "insufficient_quota")
        again = time.time() + int(headers["retry-after"])
        assert error.get("resets_at", again) == pytest.approx(again, abs=60)
        assert ("resets_at" in error) == (shape == "responses")
    assert "0.001 USD per day" in error["message"]
    wait_for(lambda: gateway.log().count(f'"key":"{key}"') >= 2)
    assert gateway.log().count(f'"key":"{key}"') == 2  # it did not try again


def test_limits_stay_counted_when_the_configuration_is_read_again(start: Start, tmp_path: Any) -> None:
    gateway = start(KEYS)
    assert [ask(gateway.port, said("chat", "slow-key")).status for _ in range(3)] == [200, 200, 429]
    file = next(tmp_path.glob("gateway-*.yaml"))
    file.write_text(file.read_text().replace("requests_per_minute: 2", "requests_per_minute: 3"))
    gateway.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration reloaded" in gateway.log())
    assert [ask(gateway.port, said("chat", "slow-key")).status for _ in range(2)] == [200, 429]


# ---- what is counted ----


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


UPSTREAM = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
model_providers:
  - {model: up/chat, base_url: URL, access_key: k, apis: [chat_completions]}
  - {model: up/messages, base_url: URL, access_key: k, apis: [messages], provider_interface: anthropic}
  - {model: up/responses, base_url: URL, access_key: k, apis: [responses]}
access_keys: [{key: caller, name: caller, tokens_per_minute: 100000, budget: {usd: 1000000, per: hour}}]
prices: {"up/*": {input: 1000000, output: 1000000}}
"""


@pytest.mark.parametrize("client", SHAPES)
@pytest.mark.parametrize("upstream", SHAPES)
def test_what_was_written_counts_although_the_client_left(start: Start, client: str, upstream: str) -> None:
    speech = SPEECH[upstream]
    words = [*speech.opening, *[speech.word("so many words ") for _ in range(20)]]
    with Provider([stream_head(), *(chunk(event) for event in words), until_closed]) as provider:
        gateway = start(UPSTREAM.replace("URL", f"{provider.url}"))
        with Wire(gateway.port) as wire:
            wire.send(said(client, "caller", f"up/{upstream}", stream=True))
            heard = b""
            while heard.count(b"so many words") < 20:
                heard += wire.chunk() if heard else wire.until(b"\r\n\r\n")
        wait_for(lambda: '"client_left":true' in gateway.log())
        answer = ask(gateway.port, said(client, "caller", "up/none"))  # refused, after it was counted
        assert answer.status == 404
        line = next(orjson.loads(line) for line in gateway.log().splitlines() if '"client_left":true' in line)
        assert line["tokens"]["input"] >= 12
        assert 20 <= line["tokens"]["output"] < 200
        assert line["cost"] == pytest.approx(line["tokens"]["input"] + line["tokens"]["output"])
        name = "anthropic-ratelimit-tokens-remaining" if client == "messages" else "x-ratelimit-remaining-tokens"
        assert int(answer.headers[name]) == 100_000 - line["tokens"]["input"] - line["tokens"]["output"]


def test_limits_of_the_gateway_stand_in_the_place_of_the_upstreams(start: Start) -> None:
    theirs = {"x_ratelimit_remaining_requests": "7777", "x_ratelimit_remaining_tokens": "7778", "x_ratelimit_limit_images": "7779"}
    with Provider(lambda _: [respond(SPEECH["chat"].whole, **theirs)]) as provider:
        gateway = start(UPSTREAM.replace("URL", provider.url))
        for shape in SHAPES:
            answer = ask(gateway.port, said(shape, "caller", "up/chat"))
            assert answer.status == 200
            assert not {"7777", "7778", "7779"} & set(answer.headers.values())
            assert ("x-ratelimit-limit-tokens" in answer.headers) == (shape != "messages")


def test_other_paths_are_counted_too(start: Start) -> None:
    found = {"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 40, "total_tokens": 40}}
    with Provider(lambda _: [respond(found)]) as provider:
        gateway = start(UPSTREAM.replace("URL", provider.url).replace("tokens_per_minute: 100000", "tokens_per_minute: 70"))
        data = request("/v1/embeddings", {"model": "up/chat", "input": "Hi"}, authorization="Bearer caller")
        answers = [ask(gateway.port, data) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert [answer.headers["x-ratelimit-remaining-tokens"] for answer in answers] == ["70", "30", "0"]
        assert int(answers[2].headers["retry-after"]) <= 60


def test_answers_before_an_upstream_is_asked_tell_what_is_left(start: Start) -> None:
    """Background responses, whose callers are answered at once, and dry runs."""
    models = "listeners: [{type: model, address: 127.0.0.1, port: PORT}]\nmodel_providers: [{model: demo/*}]\n"
    gateway = start(models + "access_keys: [{key: caller, name: c, requests_per_minute: 3}]\n")
    body = {"model": "demo/echo", "input": "Hi", "background": True}
    ways: list[tuple[dict[str, Any], dict[str, str]]] = [({}, {}), ({"stream": True}, {}), ({}, {"X_Dragoman_Dry_Run": "1"})]
    answers = [
        ask(gateway.port, request(PATHS["responses"], body | more, authorization="Bearer caller", **headers)) for more, headers in ways
    ]
    assert [(answer.status, answer.headers.get("x-ratelimit-remaining-requests")) for answer in answers] == [
        (200, "2"),
        (200, "1"),
        (200, "0"),
    ]


def test_token_counts_are_free(start: Start) -> None:
    gateway = start(KEYS)
    body = {"model": "demo/echo", "messages": [{"role": "user", "content": "Hi"}]}
    data = request("/v1/messages/count_tokens", body, authorization="Bearer slow-key")
    assert [ask(gateway.port, data).status for _ in range(5)] == [200] * 5
