"""Traces, as a collector of OTLP over HTTP gets them; and that nothing of OpenTelemetry is loaded without one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from time import monotonic
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, set_span_in_context

from dragoman.conf.model import Tracing
from dragoman.proxy.telemetry.tracing import Tracer

from ..conftest import Running, Start
from ..scripted import Provider, Request, Steps, respond, until_closed
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


def test_a_collector_that_accepts_and_never_answers_does_not_hold_the_process(start: Start) -> None:
    """The process ends by itself, before whoever waits for it ends it: the exit code tells."""

    def script(asked: Request) -> Steps:
        return [until_closed] if asked.target == "/v1/traces" else [respond(WHOLE)]

    with Provider(script) as provider:
        config = CONFIG.replace("UPSTREAM", provider.url).replace("COLLECTOR", provider.url).replace("SAMPLING", "100")
        gateway = start(config)
        assert _call(gateway, "real") == 200
        provider.wait_for(lambda: any(asked.target == "/v1/traces" for asked in provider.requests))
        assert _call(gateway, "real") == 200  # its spans wait behind those
        gateway.stop()
        assert "did not accept the last spans" in gateway.log()


def test_a_span_is_what_the_api_makes_of_it() -> None:
    """Written down as the SDK's own class, it is exported like one that was begun and ended through OpenTelemetry's API."""

    class Ids(RandomIdGenerator):
        def generate_span_id(self) -> int:
            return 7

    attributes = {"text": "a", "number": 1, "share": 0.5, "flag": True, "list": ["a", "b"]}
    parent = SpanContext(int(TRACE, 16), int(PARENT, 16), False, TraceFlags(1))

    async def written() -> None:
        tracer = Tracer(Tracing(otlp_endpoint=provider.url))
        own = SpanContext(parent.trace_id, 7, False, parent.trace_flags)
        outcome = Status(StatusCode.ERROR, "why")
        tracer.write("a name", SpanKind.CLIENT, own, parent, (monotonic() - 2, monotonic() - 1), attributes, outcome)
        await tracer.close()

    with Provider([respond(b"")]) as provider:
        asyncio.run(written())
        (found,) = provider.requests
    (resource,) = ExportTraceServiceRequest.FromString(found.body).resource_spans
    (scope,) = resource.scope_spans
    (ours,) = scope.spans
    spans = InMemorySpanExporter()
    api = TracerProvider(id_generator=Ids(), shutdown_on_exit=False)
    api.add_span_processor(SimpleSpanProcessor(spans))
    around = set_span_in_context(NonRecordingSpan(parent), Context())
    span = api.get_tracer("dragoman").start_span("a name", around, SpanKind.CLIENT, attributes, start_time=ours.start_time_unix_nano)
    span.set_status(Status(StatusCode.ERROR, "why"))
    span.end(ours.end_time_unix_nano)
    (theirs,) = encode_spans(spans.get_finished_spans()).resource_spans[0].scope_spans
    assert ours == theirs.spans[0]
    assert scope.scope == theirs.scope
    assert 0.9e9 < ours.end_time_unix_nano - ours.start_time_unix_nano < 1.1e9


def test_nothing_is_loaded_when_it_is_off() -> None:
    code = "import sys, dragoman.proxy.process.worker; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
