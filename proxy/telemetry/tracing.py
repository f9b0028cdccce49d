"""Traces: a span per request and one per upstream call, with the attributes of OpenTelemetry's GenAI conventions.

Imported only when the configuration sets `otlp_endpoint`; requires the extra `otel`. The caller's `traceparent` is continued with its
sampling decision; a trace that begins here is sampled by `random_sampling`. Upstreams receive the `traceparent` of the call's span. No
attribute contains a prompt, an answer or a credential. Source of the names: OpenTelemetry, "Semantic conventions for generative AI
client spans".

Strategy: while an exchange runs, only the ids of its spans exist. When it has ended and is sampled, its spans are created and passed
to the SDK, whose thread sends them in batches.

A span is created as the SDK's ReadableSpan. The public API (start_span() with a start time, an IdGenerator that returns the ids sent
upstream, end() with an end time) gives the same span; a test compares the two as OTLP, since an SDK upgrade could make them differ.
It takes 40 µs of CPU for a sampled request's two spans instead of 5 (measured with SDK 1.45): a tenth of the cost of a request.

The processor and its exporter run in daemon threads only: a collector that accepts and never answers does not delay the process's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from importlib.metadata import version
from time import monotonic, time_ns
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from tornado.httputil import HTTPHeaders

from ...conf.model import Tracing
from .account import Account, Call

log = logging.getLogger("dragoman")

CLOSE_SECONDS = 3.0  # for sending the last batch

# the conventions' name of a provider, where it differs from ours
_PROVIDERS = {
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "bedrock": "aws.bedrock",
    "vertex": "gcp.vertex_ai",
    "azure_openai": "azure.ai.openai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
# the conventions' name of an operation, where it differs from ours; a model's answer is their "chat"
_OPERATIONS = {"completions": "text_completion"}
# settings of a request, by the names of the shapes -> the attribute
_SETTINGS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
}
_SECRET = frozenset({"authorization", "x-api-key", "api-key", "cookie", "proxy-authorization", "x-goog-api-key", "x-dragoman-key"})
_LONGEST = 256  # characters of a header or an error message in an attribute
_NAMES = 50  # dropped fields named in a span

_PROPAGATOR = TraceContextTextMapPropagator()
_IDS = RandomIdGenerator()
_SCOPE = InstrumentationScope("dragoman")
_SAMPLED, _UNSAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)
_UNSET = Status(StatusCode.UNSET)


class Tracer:
    """The tracer of one worker. Create it after forking: it starts a thread."""

    def __init__(self, tracing: Tracing) -> None:
        assert tracing.otlp_endpoint is not None
        self._resource = Resource.create({"service.name": "dragoman", "service.version": version("dragoman")})
        self._bound = TraceIdRatioBased.get_bound_for_rate(tracing.random_sampling / 100)
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=traces_url(tracing.otlp_endpoint)))
        self._prefixes = tuple(prefix.lower() for prefix in tracing.header_prefixes)

    def begin(self, headers: HTTPHeaders) -> Trace:
        """Begin the trace of an exchange. headers: the caller's."""
        parent = INVALID_SPAN_CONTEXT
        if "traceparent" in headers:
            carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
            parent = get_current_span(_PROPAGATOR.extract(carrier, Context())).get_span_context()
        if parent.is_valid:
            return Trace(self, headers, parent, self.child(parent))
        trace = _IDS.generate_trace_id()
        sampled = trace & TraceIdRatioBased.TRACE_ID_LIMIT < self._bound
        context = SpanContext(trace, _IDS.generate_span_id(), False, _SAMPLED if sampled else _UNSAMPLED)
        return Trace(self, headers, None, context)

    def child(self, parent: SpanContext) -> SpanContext:
        """The context of a new span within another."""
        return SpanContext(parent.trace_id, _IDS.generate_span_id(), False, parent.trace_flags, parent.trace_state)

    def shown(self, headers: HTTPHeaders) -> dict[str, Any]:
        """The caller's headers that match `header_prefixes`, as attributes; never credentials."""
        return {
            f"http.request.header.{name.lower()}": [value[:_LONGEST]]
            for name, value in headers.get_all()
            if self._prefixes and name.lower().startswith(self._prefixes) and name.lower() not in _SECRET
        }

    def write(
        self,
        name: str,
        kind: SpanKind,
        context: SpanContext,
        parent: SpanContext | None,
        times: tuple[float, float],
        attributes: dict[str, Any],
        status: Status = _UNSET,
    ) -> None:
        """Export a span that has ended. times: its start and end in monotonic seconds."""
        now, wall = monotonic(), time_ns()
        start, end = (wall - int((now - at) * 1e9) for at in times)
        self._processor.on_end(
            ReadableSpan(
                name,
                context,
                parent,
                self._resource,
                attributes,
                kind=kind,
                status=status,
                start_time=start,
                end_time=end,
                instrumentation_scope=_SCOPE,
            )
        )

    async def close(self) -> None:
        """Send the remaining spans, within CLOSE_SECONDS."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(ended.set)

        # not a thread of the loop's executor, which is joined at the end however long it takes
        threading.Thread(target=shut_down, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await ended.wait()
        except TimeoutError:
            log.warning("the tracing endpoint did not accept the last spans within %g s", CLOSE_SECONDS)


class Trace:
    """The spans of one exchange; only their ids while it runs."""

    def __init__(self, tracer: Tracer, headers: HTTPHeaders, parent: SpanContext | None, context: SpanContext) -> None:
        self._tracer = tracer
        self._parent, self._context = parent, context
        self._shown = tracer.shown(headers) if context.trace_flags.sampled else {}

    def call(self) -> tuple[int, dict[str, str]]:
        """Begin an upstream call. Returns the id of its span, and the headers that propagate the trace."""
        context = self._tracer.child(self._context)
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers, set_span_in_context(NonRecordingSpan(context), Context()))
        return context.span_id, headers

    def settle(self, account: Account) -> None:
        """Export the spans of an exchange that has ended, if it is sampled."""
        if not self._context.trace_flags.sampled:
            return
        for call in account.calls:
            if call.span:
                self._write_call(account, call)
        outcome = _UNSET
        attributes = {
            "http.request.method": account.method,
            "http.route": account.route,
            "url.path": account.path,
            "http.response.status_code": account.status,
            "dragoman.request_id": account.request_id,
            "dragoman.operation": account.operation,
        } | self._shown
        if account.key:
            attributes["dragoman.key"] = account.key
        error = account.error
        if error is not None:
            attributes["error.type"] = error.name
            if account.status >= 500 or account.status < 400:  # by convention a 4xx is not an error of a server span
                outcome = Status(StatusCode.ERROR, error.message[:_LONGEST])
        name, times = f"{account.method} {account.route}", (account.begun, account.ended)
        self._tracer.write(name, SpanKind.SERVER, self._context, self._parent, times, attributes, outcome)

    def _write_call(self, account: Account, call: Call) -> None:
        own = self._context
        context = SpanContext(own.trace_id, call.span, False, own.trace_flags, own.trace_state)
        operation = "chat" if account.operation == account.shape else _OPERATIONS.get(account.operation, account.operation)
        attributes, outcome = _attributes(account, call, operation), _UNSET
        if call.error:
            attributes["error.type"] = call.error
            outcome = Status(StatusCode.ERROR, call.error_message[:_LONGEST])
        times = (account.begun if call.sent is None else call.sent, account.ended if call.end is None else call.end)
        self._tracer.write(f"{operation} {call.target.model}", SpanKind.CLIENT, context, own, times, attributes, outcome)


def traces_url(endpoint: str) -> str:
    """The URL that spans are sent to: the endpoint, with OTLP's path if it has none."""
    return endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + "/v1/traces"


def _attributes(account: Account, call: Call, operation: str) -> dict[str, Any]:
    target, usage = call.target, call.usage
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _PROVIDERS.get(target.provider, target.provider),
        "gen_ai.request.model": target.model,
        "gen_ai.request.stream": account.stream,
        "server.address": target.host,
        "server.port": target.port,
        "dragoman.upstream_api": target.api,
        "dragoman.lane": call.lane,
        "dragoman.reason": target.reason,
    }
    attributes |= {_SETTINGS[name]: value for name, value in account.settings.items() if name in _SETTINGS}
    if call.status:
        attributes["http.response.status_code"] = call.status
    if call.stop is not None:
        attributes["gen_ai.response.finish_reasons"] = [call.stop]
    if call.first is not None and call.sent is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = call.first - call.sent
    if call.overtaken:
        attributes["dragoman.overtaken"] = True
    if call.dropped:
        attributes["dragoman.dropped"] = call.dropped[:_NAMES]
    if usage is not None:
        attributes |= {"gen_ai.usage.input_tokens": usage.input, "gen_ai.usage.output_tokens": usage.output}
        details = {"cache_read.input": usage.cache_read, "cache_creation.input": usage.cache_write, "reasoning.output": usage.reasoning}
        attributes |= {f"gen_ai.usage.{name}_tokens": count for name, count in details.items() if count is not None}
        attributes["dragoman.cost_usd"] = call.cost or 0.0
    return attributes
