"""Watching changes nothing: the same exchange, looked at and not, gives the same bytes, the same metrics and the same log line.

And what it is watched by: the account and the events that an observer gets are the exchange's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dragoman.codecs.usage import Usage
from dragoman.proxy.exchange.attempt import Attempt
from dragoman.proxy.exchange.caller import Caller as Answered
from dragoman.proxy.exchange.exchange import Exchange
from dragoman.proxy.telemetry.account import Account, Call, Failure, Target

from ..scripted import LAST_CHUNK, Gate, Provider, Request, Step, chunk, close, respond, stream, stream_head, wait
from .inside import CONFIG, Inside, inside_once
from .spoken import ASKED, PATHS, SHAPE_AT, SHAPES, SPEECH
from .wire import request

DEEP = b"[" * 2000 + b"]" * 2000
HOLOGRAM = {"type": "hologram", "data": "x"}


@dataclass(frozen=True)
class Case:
    """shape: the caller's. upstream: what is spoken there. steps: what it answers with, None: its usual answer."""

    shape: str
    upstream: str
    steps: list[Step] | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    raw: bytes = b""  # a body instead of `asked`
    path: str = ""  # instead of the shape's


def unknown() -> bytes:
    return respond(SPEECH["messages"].whole | {"content": [HOLOGRAM, {"type": "text", "text": "Hello"}]})


def unknown_to_the_decoder() -> bytes:
    message = {"role": "assistant", "content": "Hello", "images": [{"x": 1}]}
    return respond(SPEECH["chat"].whole | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


CASES = {
    "a whole answer, translated": Case("chat", "messages"),
    "a whole answer, as it came": Case("chat", "chat"),
    "a stream, translated": Case("messages", "chat", asked={"stream": True, "top_k": 3}),
    "a stream, as it came": Case("messages", "messages", asked={"stream": True}),
    "something unknown in a whole answer": Case("chat", "messages", [unknown()]),
    "something unknown that the decoder counts": Case("messages", "chat", [unknown_to_the_decoder()]),
    "something unknown where a stream was asked for": Case("chat", "messages", [unknown()], {"stream": True}),
    "the same where a stream was asked for": Case("messages", "chat", [unknown_to_the_decoder()], {"stream": True}),
    "a whole answer that calls itself nothing": Case(
        "chat", "chat", [respond(SPEECH["chat"].whole, Content_Type="text/plain")], {"stream": True}
    ),
    "no JSON": Case("chat", "messages", [respond(b"<html>")]),
    "an error": Case("messages", "chat", [respond({"error": {"message": "No.", "type": "x"}}, 400)]),
    "a cut stream": Case("messages", "chat", [stream_head(), *map(chunk, SPEECH["chat"].opening + SPEECH["chat"].words), close],
                         {"stream": True}),
    "embeddings": Case("chat", "chat", [respond({"object": "list", "data": [], "usage": {"prompt_tokens": 3, "total_tokens": 3}})],
                       {"input": "Hi"}, path="/v1/embeddings"),
    "sound": Case("chat", "chat", [respond(bytes(range(256)) * 40, Content_Type="audio/mpeg")], {"input": "Hi"}, path="/v1/audio/speech"),
    "half a character": Case("chat", "messages", raw=b'{"model":"messages/m","messages":[{"role":"user","content":"\\ud83d"}]}'),
    "deep": Case("chat", "messages", raw=b'{"model":"messages/m","messages":[{"role":"user","content":"a"}],"x":%b}' % DEEP),
    "a model that is none": Case("chat", "messages", raw=b'{"model":"\\ud83d","messages":[]}'),
}  # fmt: skip


def script(steps: list[Step] | None) -> Any:
    def answer(asked: Request) -> list[Step]:
        if steps is not None:
            return steps
        speech = SPEECH[SHAPE_AT[asked.target.partition("?")[0]]]
        return stream(*speech.stream) if b'"stream":true' in asked.body.replace(b" ", b"") else [respond(speech.whole)]

    return answer


_FLEETING = re.compile(rb"[0-9a-f]{16,}|\"created(?:_at)?\":[0-9]+|dur=[0-9.]+")
_TIMES = re.compile("^(?:time|ms_.*)$")


async def outcome(gateway: Inside, case: Case) -> tuple[int, dict[str, str], bytes, dict[str, Any]]:
    """Status, headers and body without what is never the same, and the log line without its times."""
    body = case.raw or {"model": f"{case.upstream}/m", **ASKED[case.shape], **case.asked}
    gateway.lines.clear()
    async with gateway.call(request(case.path or PATHS[case.shape], body, X_Request_Id="the-same")) as caller:
        status, headers = await caller.head()
        answer = await caller.body(headers)
        await gateway.until(lambda: gateway.lines)
    shown = {name: _FLEETING.sub(b"~", value.encode()).decode() for name, value in headers.items() if name != "date"}
    line = {name: value for name, value in gateway.lines[0].items() if not _TIMES.match(name)}
    return status, shown, _FLEETING.sub(b"~", answer), line


def counts(gateway: Inside) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(gateway.gateway.metrics.text().decode())
        for sample in family.samples
        if sample.name.startswith("dragoman_") and not sample.name.endswith(("_bucket", "_sum"))
    }


@pytest.mark.parametrize("content", [False, True], ids=["form", "content"])
@pytest.mark.parametrize("name", CASES)
@inside_once
async def test_watching_changes_nothing(name: str, content: bool) -> None:
    case = CASES[name]
    config = CONFIG + "\nprices: {'*': {input: 1, output: 2}}\n"
    grown, outcomes, seen = [], [], list[dict[str, Any]]()
    with Provider(script(case.steps)) as provider:
        for watched in (False, True):
            async with Inside(config, provider) as gateway:
                if watched:
                    gateway.gateway.inspector.watch(seen.extend, content)
                outcomes.append(await outcome(gateway, case))
                grown.append(counts(gateway))
                if watched:
                    await gateway.until(lambda: any(message.get("row", {}).get("done") for message in seen))
    assert outcomes[0] == outcomes[1]
    assert grown[0] == grown[1]
    orjson.dumps(seen)  # as it goes to the process of the admin listener


@pytest.mark.parametrize("upstream", SHAPES)
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_every_event_of_a_stream_is_shown(shape: str, upstream: str) -> None:
    """Those that come behind the commit, too, from which on something else receives them."""
    seen: list[dict[str, Any]] = []
    gate, speech = Gate(), SPEECH[upstream]
    words = [*map(chunk, speech.opening + speech.words[:1]), wait(gate), *map(chunk, speech.words[1:] + speech.ending), LAST_CHUNK]
    async with Provider([stream_head(), *words]) as provider, Inside(CONFIG, provider) as gateway:
        gateway.gateway.inspector.watch(seen.extend)
        async with gateway.ask(shape, f"{upstream}/m", stream=True) as caller:
            await caller.head()
            await caller.until(b"Hello")
            gate.open()
            await gateway.until(lambda: any(message.get("row", {}).get("done") for message in seen))
    records = [record for message in seen for record in message.get("records", ())]
    shown = [record for record in records if (record["pane"], record["kind"]) == ("down", "event")]
    assert len(shown) == len(SPEECH[upstream].stream)
    assert any(record["pane"] == "out" and record["kind"] == "event" for record in records)
    assert any(record["pane"] == "hub" for record in records) == (shape != upstream)


class Recorder:
    """An observer that keeps what it gets; a watcher, too."""

    def __init__(self) -> None:
        self.accounts: list[Account] = []
        self.seen: list[Any] = []

    def open(self, exchange: Exchange) -> Recorder:
        return self

    def caller(self, caller: Answered) -> Answered:
        return caller

    def attempt(self, attempt: Attempt) -> Recorder:
        self.seen.append("begun")
        return self

    def upstream(self, client: Any) -> Any:
        return client

    def decoder(self, decoder: Any) -> Any:
        return decoder

    def events(self, events: list[Any]) -> None:
        self.seen.append([type(event).__name__ for event in events])

    def ended(self, account: Account | None = None) -> None:
        self.seen.append("ended")
        self.accounts += [account] if account else []


PLAIN = (str, int, float, bool, type(None), list, dict, Account, Call, Target, Failure, Usage)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [value, *(leaf for one in value for leaf in leaves(one))]
    return [value]


@inside_once
async def test_the_account_is_plain_and_complete() -> None:
    recorder = Recorder()
    failing = [respond({"type": "error", "error": {"type": "overloaded_error", "message": "Busy."}}, 529)]
    with Provider(lambda asked: failing if asked.target.startswith("/v1/messages") else script(None)(asked)) as provider:
        config = CONFIG.replace("access_key: sk-upstream, apis: [messages]}", "access_key: sk-upstream, apis: [messages], "
                                "retry_policy: {max_attempts: 2, backoff: {base: 1ms, max: 1ms}, fallback_models: [chat/m]}}")  # fmt: skip
        async with Inside(config + "\nprices: {'chat/*': {input: 1, output: 2}}\n", provider) as gateway:
            gateway.gateway.inspector = recorder  # type: ignore[assignment]
            gateway.gateway.adopt(gateway.gateway.config)
            case = Case("messages", "messages", asked={"top_k": 3})
            await outcome(gateway, case)
    (account,) = recorder.accounts
    assert {type(leaf) for leaf in leaves(account)} <= set(PLAIN)
    assert "Hello" not in str(account)
    assert recorder.seen[:4] == ["begun", "ended", "begun", "ended"]
    assert recorder.seen[4:] == ["begun", ["Start", "TextStart", "Text", "PartStop", "Metered", "Stop"], "ended", "ended"]
    assert (account.request_id, account.operation, account.shape, account.model) == ("the-same", "messages", "messages", "messages/m")
    assert (account.method, account.route, account.path) == ("POST", "/v1/messages", "/v1/messages")
    assert (account.stream, account.status) == (False, 200)
    assert (account.key, account.client_left, account.error, account.settings) == ("", False, None, {})
    first, again, last = account.calls
    assert (first.again, again.again, last.again) == (False, True, False)
    assert first.target is again.target
    assert (first.status, first.error, first.error_message, first.usage, first.cost) == (
        529,
        "overloaded",
        "in the upstream's own words, 5 characters",
        None,
        None,
    )
    assert (last.target.upstream, last.target.provider, last.target.model) == ("chat/m", "chat", "m")
    assert (last.target.shape, last.target.api, last.target.host) == ("chat", "chat_completions", "127.0.0.1")
    assert (last.lane, last.status, last.error, last.error_message, last.stop) == ("events", 200, "", "", "end")
    assert (last.sendings, last.events, last.dropped, last.adapted) == (1, None, ["top_k"], [])
    assert (last.response_dropped, last.unknown, last.span) == ([], 0, 0)
    assert last.usage is not None
    assert last.cost == pytest.approx((last.usage.input + 2 * last.usage.output) / 1e6)
    assert last.sent is not None and last.headers is not None and last.first is not None and last.end is not None  # noqa: PT018
    assert account.begun <= last.sent <= last.headers <= last.first <= last.end <= account.ended
    assert first.end is not None and again.sent is not None and first.end <= again.sent  # noqa: PT018
