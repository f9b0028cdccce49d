"""Traces, as a collector of OTLP over HTTP gets them; and that nothing of OpenTelemetry is loaded without one."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ..conftest import Running, Start
from ..scripted import Provider, Request, respond
from .wire import ask, request

pytestmark = pytest.mark.slow

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

CONFIG = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
model_providers:
  - {model: demo/*}
  - {model: openai/real, base_url: "UPSTREAM", access_key: sk-of-the-gateway}
  - model: openai/broken
    base_url: "http://127.0.0.1:1"
    access_key: sk-of-the-gateway
    retry_policy: {max_attempts: 1, fallback_models: [demo/echo]}
tracing:
  otlp_endpoint: "COLLECTOR"
  random_sampling: SAMPLING
  span_attributes: {header_prefixes: [x-team-, authorization]}
prices: {"demo/*": {input: 1, output: 2}}
"""

WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "real-2026",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "prompt_tokens_details": {"cached_tokens": 4}},
}


def _script(asked: Request) -> list[Any]:
    return [respond(b"") if asked.target == "/v1/traces" else respond(WHOLE)]


def _spans(provider: Provider) -> list[dict[str, Any]]:
    """Everything that was exported, the parts that matter."""
    found = []
    for asked in provider.requests:
        if asked.target != "/v1/traces":
            continue
        message = ExportTraceServiceRequest.FromString(asked.body)
        for one in (span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans):
            values = {item.key: _value(item.value) for item in one.attributes}
            found.append(
                {
                    "name": one.name,
                    "kind": one.kind,
                    "trace": one.trace_id.hex(),
                    "id": one.span_id.hex(),
                    "parent": one.parent_span_id.hex(),
                    "failed": one.status.code == 2,
                    "seconds": (one.end_time_unix_nano - one.start_time_unix_nano) / 1e9,
                    "attributes": values,
                }
            )
    return found


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


def _call(gateway: Running, model: str, path: str = "/v1/messages", **headers: str) -> int:
    body = {"model": model, "max_tokens": 50, "temperature": 0.5, "messages": [{"role": "user", "content": "My s3cret words"}]}
    return ask(gateway.port, request(path, body, Authorization="Bearer sk-of-the-caller", **headers)).status


def _traced(start: Start, provider: Provider, calls: Any, sampling: float = 100) -> list[dict[str, Any]]:
    """The spans of what `calls` asks a gateway; all have come when it has ended."""
    config = CONFIG.replace("UPSTREAM", provider.url).replace("COLLECTOR", provider.url).replace("SAMPLING", str(sampling))
    gateway = start(config)
    calls(gateway)
    gateway.stop()
    spans = _spans(provider)
    assert "s3cret" not in str(spans)
    assert "sk-of" not in str(spans)
    return spans


def test_a_trace_is_continued_and_passed_on(start: Start) -> None:
    with Provider(_script) as provider:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1", "x_team_name": "blue"}
        spans = _traced(start, provider, lambda gateway: _call(gateway, "real", **headers), sampling=0)
        asked = next(one for one in provider.requests if one.target == "/v1/chat/completions")
    server = next(span for span in spans if span["kind"] == 2)
    client = next(span for span in spans if span["kind"] == 3)
    assert (server["trace"], server["parent"], server["name"]) == (TRACE, PARENT, "POST /v1/messages")
    assert (client["trace"], client["parent"], client["name"]) == (TRACE, server["id"], "chat real")
    assert asked.headers["traceparent"] == f"00-{TRACE}-{client['id']}-01"
    assert asked.headers["tracestate"] == "vendor=1"
    assert server["attributes"]["http.request.header.x-team-name"] == ["blue"]
    assert server["attributes"]["http.response.status_code"] == 200
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "real",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.finish_reasons": ["end"],
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "server.address": "127.0.0.1",
        "dragoman.lane": "events",
    }
    assert expected.items() <= client["attributes"].items()
    assert 0 < client["seconds"] <= server["seconds"] < 10


def test_every_attempt_is_a_span(start: Start) -> None:
    with Provider(_script) as provider:
        spans = _traced(start, provider, lambda gateway: _call(gateway, "broken"))
    calls = [span for span in spans if span["kind"] == 3]
    assert [(span["name"], span["failed"]) for span in calls] == [("chat broken", True), ("chat echo", False)]
    assert calls[0]["attributes"]["error.type"] == "refused"
    assert calls[1]["attributes"]["dragoman.cost_usd"] > 0
    server = next(span for span in spans if span["kind"] == 2)
    assert not server["failed"]
    assert {span["parent"] for span in calls} == {server["id"]}


@pytest.mark.parametrize(("sampling", "count"), [(0, 0), (100, 40)])
def test_sampling(start: Start, sampling: float, count: int) -> None:
    with Provider(_script) as provider:
        spans = _traced(start, provider, lambda gateway: [_call(gateway, "demo/echo") for _ in range(20)], sampling)
    assert len(spans) == count


def test_a_collector_that_is_gone_harms_nobody(start: Start) -> None:
    config = CONFIG.replace("UPSTREAM", "http://127.0.0.1:1").replace("COLLECTOR", "http://127.0.0.1:1").replace("SAMPLING", "100")
    gateway = start(config)
    assert _call(gateway, "demo/echo") == 200
    gateway.stop()


def test_nothing_is_loaded_when_it_is_off() -> None:
    code = "import sys, dragoman.proxy.process.server; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
