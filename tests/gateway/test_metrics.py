"""Each metric moves for its own cause, and for no other: real exchanges over sockets, counted before and after."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dragoman.proxy.telemetry.metrics import Metrics

from ..scripted import Provider, Request, Step, Steps, chunk, close, respond, sse, stream_head, until_closed
from .inside import Inside, inside_once
from .spoken import ASKED, PATHS
from .wire import request

ENTRY = '  - {{model: up/{name}, base_url: "UPSTREAM/{name}", access_key: k, apis: [{api}], {more}}}\n'
USAGE = {"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130}
DETAILS = {"prompt_tokens_details": {"cached_tokens": 60}, "completion_tokens_details": {"reasoning_tokens": 20}}


def whole(usage: dict[str, Any] = USAGE) -> bytes:
    message = {"role": "assistant", "content": "Yes."}
    return respond(
        {
            "id": "c",
            "object": "chat.completion",
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": usage,
        }
    )


def claude(*content: dict[str, Any], **usage: int) -> bytes:
    body = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
    }
    return respond(body | {"usage": {"input_tokens": 10, "output_tokens": 5} | usage})


def error(status: int, kind: str, code: str | None = None) -> bytes:
    return respond({"error": {"message": "No.", "type": kind, "param": None, "code": code}}, status)


def word(text: str) -> bytes:
    return sse(
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "model": "m",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
        }
    )


ANY: Any = object()  # an estimate


@dataclass(frozen=True)
class Case:
    """steps: what the upstream does. more: of its entry. asked: of the request. grown: besides requests and their seconds; ANY: some."""

    steps: list[Step]
    grown: dict[str, Any]
    more: str = ""
    api: str = "chat_completions"
    shape: str = "chat"
    asked: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    key: str = "k"


PRICES = 'prices: {"up/*": {input: 1, output: 2, cached_input: 0.1, cache_write: 3}}\n'
ESTIMATED = dict.fromkeys(("dragoman_tokens_total{kind=input}", "dragoman_tokens_total{kind=output}", "dragoman_cost_usd_total"), ANY)
ERRORS = "dragoman_upstream_errors_total"
ONCE = "retry_policy: {max_attempts: 1}"
CASES = {
    "a retry": Case(
        [error(503, "server_error")],
        {"dragoman_retries_total": 1, f"{ERRORS}{{kind=overloaded}}": 2},
        "retry_policy: {max_attempts: 2, backoff: {base: 1ms, max: 1ms}}",
        status=503,
    ),
    "a fallback": Case(
        [error(500, "server_error")],
        {
            "dragoman_fallbacks_total": 1,
            f"{ERRORS}{{kind=server}}": 1,
            "dragoman_tokens_total{kind=input}": 100,
            "dragoman_tokens_total{kind=output}": 30,
            "dragoman_cost_usd_total": 160e-6,
        },
        ONCE[:-1] + ", fallback_models: [up/good]}",
    ),
    "a fallback of one without a credential": Case(
        [],
        {
            "dragoman_fallbacks_total": 1,
            "dragoman_tokens_total{kind=input}": 100,
            "dragoman_tokens_total{kind=output}": 30,
            "dragoman_cost_usd_total": 160e-6,
        },
        "retry_policy: {fallback_models: [up/good]}",
        key="$NONE",
    ),
    "a choice": Case(
        [whole()],
        {
            "dragoman_choices_total{by=affinity}": 1,
            "dragoman_tokens_total{kind=input}": 100,
            "dragoman_tokens_total{kind=output}": 30,
            "dragoman_cost_usd_total": 160e-6,
        },
        "weight: 1}\n  - {model: up/case, base_url: UPSTREAM/case, access_key: k, apis: [chat_completions]",  # two entries
    ),
    "a wrong key": Case(
        [error(401, "invalid_request_error", "invalid_api_key")], {f"{ERRORS}{{kind=authentication}}": 1}, ONCE, status=403
    ),
    "too many requests": Case([error(429, "rate_limit_error")], {f"{ERRORS}{{kind=rate_limit}}": 1}, ONCE, status=429),
    "no answer in time": Case(
        [until_closed], {f"{ERRORS}{{kind=timeout_first_byte}}": 1}, ONCE + ", timeouts: {first_byte: 50ms}", status=504
    ),
    "silence in the answer": Case(
        [stream_head(), chunk(word("Yes")), until_closed],
        ESTIMATED | {f"{ERRORS}{{kind=timeout_idle}}": 1, "dragoman_time_to_first_token_seconds_count": 1},
        ONCE + ", timeouts: {idle: 50ms}",
        asked={"stream": True},
    ),
    "a cut answer": Case(
        [stream_head(), chunk(word("Yes")), close],
        ESTIMATED | {f"{ERRORS}{{kind=truncated}}": 1, "dragoman_time_to_first_token_seconds_count": 1},
        ONCE,
        asked={"stream": True},
    ),
    "an answer that is not JSON": Case(
        [respond(b"<html>")],
        {"dragoman_tokens_total{kind=input}": ANY, "dragoman_cost_usd_total": ANY, f"{ERRORS}{{kind=garbled}}": 1},
        ONCE,
        shape="messages",
        status=502,
    ),
    "tokens by kind": Case(
        [whole(USAGE | DETAILS)],
        {
            "dragoman_tokens_total{kind=input}": 100,
            "dragoman_tokens_total{kind=output}": 30,
            "dragoman_tokens_total{kind=cached}": 60,
            "dragoman_tokens_total{kind=reasoning}": 20,
            "dragoman_cost_usd_total": (40 + 60 * 0.1 + 30 * 2) * 1e-6,
        },
    ),
    "written to a cache": Case(
        [claude({"type": "text", "text": "Yes."}, cache_creation_input_tokens=7)],
        {
            "dragoman_tokens_total{kind=input}": 17,
            "dragoman_tokens_total{kind=output}": 5,
            "dragoman_tokens_total{kind=cache_write}": 7,
            "dragoman_cost_usd_total": (10 + 7 * 3 + 5 * 2) * 1e-6,
        },
        api="messages",
    ),
    "a dropped field": Case(
        [whole()],
        {
            "dragoman_dropped_fields_total{field=top_k}": 1,
            "dragoman_tokens_total{kind=input}": 100,
            "dragoman_tokens_total{kind=output}": 30,
            "dragoman_cost_usd_total": 160e-6,
        },
        shape="messages",
        asked={"top_k": 3},
    ),
    "a compaction": Case(
        [whole()],
        {
            "dragoman_compactions_total{kind=trigger}": 1,
            "dragoman_tokens_total{kind=input}": 100,
            "dragoman_tokens_total{kind=output}": 30,
            "dragoman_cost_usd_total": 160e-6,
        },
        shape="responses",
        asked={"input": [{"role": "user", "content": "Hi"}, {"type": "compaction_trigger"}]},
    ),
    "something new in an answer": Case(
        [claude({"type": "hologram", "data": "x"}, {"type": "text", "text": "Yes."})],
        {
            "dragoman_unknown_upstream_total": 1,
            "dragoman_tokens_total{kind=input}": 10,
            "dragoman_tokens_total{kind=output}": 5,
            "dragoman_cost_usd_total": 20e-6,
        },
        api="messages",
    ),
}
TELLING = {
    "dragoman_requests_total": "status",
    ERRORS: "kind",
    "dragoman_tokens_total": "kind",
    "dragoman_dropped_fields_total": "field",
    "dragoman_compactions_total": "kind",
    "dragoman_choices_total": "by",
}


def samples(gateway: Inside) -> dict[str, float]:
    """By name, of those in TELLING with that label; without buckets and sums of seconds."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(gateway.gateway.metrics.text().decode()):
        for sample in family.samples:
            if sample.name.startswith("dragoman_") and not sample.name.endswith(("_bucket", "_sum")):
                label = TELLING.get(sample.name)
                name = f"{sample.name}{{{label}={sample.labels[label]}}}" if label else sample.name
                found[name] = found.get(name, 0) + sample.value
    return found


def grown(gateway: Inside, before: dict[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0) for name, value in samples(gateway).items() if value != before.get(name, 0)}


@pytest.mark.parametrize("name", CASES)
@inside_once
async def test_what_moves_and_nothing_else(name: str) -> None:
    case = CASES[name]

    def script(request: Request) -> Steps:
        return [whole()] if request.target.startswith("/good") else case.steps

    entries = ENTRY.replace("access_key: k", f"access_key: {case.key}").format(name="case", api=case.api, more=case.more)
    entries += ENTRY.format(name="good", api="chat_completions", more="")
    with Provider(script) as provider:
        async with Inside(f"model_providers:\n{entries}{PRICES}", provider) as gateway:
            before = samples(gateway)
            async with gateway.ask(case.shape, "up/case", **case.asked) as caller:
                status, headers = await caller.head()
                await caller.body(headers)
                await gateway.until(lambda: gateway.lines)
            always = {
                f"dragoman_requests_total{{status={status}}}": 1,
                "dragoman_request_seconds_count": 1,
                "dragoman_overhead_seconds_count": 1,
            }
            assert status == case.status
            expected, found = always | case.grown, grown(gateway, before)
            assert found.keys() == expected.keys()
            assert found == pytest.approx({name: found[name] if value is ANY else value for name, value in expected.items()})


@inside_once
async def test_a_stream_is_open_until_its_client_leaves() -> None:
    entry = ENTRY.format(name="case", api="chat_completions", more="")
    with Provider([stream_head(), chunk(word("Yes")), until_closed]) as provider:
        async with Inside(f"model_providers:\n{entry}{PRICES}", provider) as gateway:
            before = samples(gateway)
            async with gateway.ask("messages", "up/case", stream=True) as caller:
                await caller.head()
                await caller.until(b"Yes")
                assert grown(gateway, before) == {"dragoman_streams_open": 1}
                caller.leave()
                await gateway.until(lambda: gateway.lines)
            found = grown(gateway, before)
            assert found.pop("dragoman_tokens_total{kind=input}") > 0  # estimates
            assert found.pop("dragoman_tokens_total{kind=output}") > 0
            assert found.pop("dragoman_cost_usd_total") > 0
            counts = ("request_seconds_count", "overhead_seconds_count", "time_to_first_token_seconds_count", "client_disconnects_total")
            assert found == {f"dragoman_{name}": 1 for name in counts} | {"dragoman_requests_total{status=200}": 1}


@pytest.mark.parametrize(
    ("more", "shape", "api", "asked", "headers", "status"),
    [
        ("", "messages", "chat_completions", {"top_k": 3}, {"x_dragoman_strict": "1"}, 400),
        ("", "chat", "messages", {"n": 2}, {}, 400),
        ("access_key: $NONE", "chat", "chat_completions", {}, {}, 502),
    ],
    ids=["strict", "untranslatable", "no key"],
)
@inside_once
async def test_what_is_refused_here_is_no_error_of_the_upstream(
    more: str, shape: str, api: str, asked: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    entry = ENTRY.replace("access_key: k, ", "") if more else ENTRY
    body = {"model": "up/case", **ASKED[shape], **asked}
    with Provider([]) as provider:
        async with Inside(f"model_providers:\n{entry.format(name='case', api=api, more=more)}", provider) as gateway:
            before = samples(gateway)
            async with gateway.call(request(PATHS[shape], body, **headers)) as caller:
                assert (await caller.head())[0] == status
                await gateway.until(lambda: gateway.lines)
            found = grown(gateway, before)
            assert found[f"dragoman_requests_total{{status={status}}}"] == 1
            assert not [name for name in found if name.startswith(ERRORS)]
            assert "; failed, " in gateway.lines[0]["tried"][0]
        assert not provider.requests


def test_every_metric_of_requests_is_driven_here() -> None:
    moved = {name.partition("{")[0] for case in CASES.values() for name in case.grown}
    here = {"requests_total", "request_seconds_count", "overhead_seconds_count", "streams_open", "client_disconnects_total"}
    made = {name for name, instrument in vars(Metrics()).items() if hasattr(instrument, "describe") and name != "registry"}
    made -= {"log_dropped", "renewals", "expiry", "probes"}  # of the process, not of a request; see test_credentials.py, test_health.py
    made -= {"hedges", "continued", "resumes"}  # driven in test_hedging.py, test_continuing.py, test_resuming.py
    made -= {"hooks", "hook_seconds"}  # see test_hooks.py
    made -= {"usage_lost", "usage_waiting", "control_away"}  # of the control store, in tests/control
    made -= {"websockets", "websockets_closed", "websocket_refused", "websocket_evicted"}  # of connections: in test_websocket*.py
    assert len(moved | {f"dragoman_{name}" for name in here}) == len(made) == 15
