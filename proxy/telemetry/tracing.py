"""Traces: a span for each request and one for each call of an upstream, with the attributes of OpenTelemetry's GenAI conventions.

Only imported when the configuration names an `otlp_endpoint`; it needs the extra `otel`. The caller's `traceparent` is continued
and its decision to sample kept; a trace that begins here is sampled by `random_sampling`. Upstreams get the span's own
`traceparent`. No prompt, no answer and no credential is ever an attribute. Source of the names: OpenTelemetry, "Semantic
conventions for generative AI client spans".

Strategy: while an exchange runs only its spans' ids exist. When it is over, and if it is sampled, its spans are written down at
once and given to the SDK, whose thread sends them in batches.

A span is written down as the SDK's ReadableSpan. The API's way (start_span() with a start time, an IdGenerator that gives the ids that
went upstream, end() with an end time) makes the same span: a test compares the two as OTLP, as an upgrade of the SDK could part them.
It takes 40 µs of CPU for a sampled request's two spans instead of 5 (measured with SDK 1.45): a tenth of what a whole request costs.

The processor and its exporter run in daemon threads only: a collector that accepts and never answers does not hold the process.
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

CLOSE_SECONDS = 3.0  # that the last batch may take to leave

# what the conventions call a provider, where that is not its name here
_PROVIDERS = {
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "bedrock": "aws.bedrock",
    "azure_openai": "azure.ai.openai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
# what the conventions call an operation, where that is not its name here; an answer of a model is their "chat"
_OPERATIONS = {"completions": "text_completion"}
# settings of a request, as the shapes call them -> the attribute
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
_SECRET = frozenset({"authorization", "x-api-key", "api-key", "cookie", "proxy-authorization", "x-goog-api-key"})
_LONGEST = 256  # characters of a header that becomes an attribute
_NAMES = 50  # of dropped fields

_PROPAGATOR = TraceContextTextMapPropagator()
_IDS = RandomIdGenerator()
_SCOPE = InstrumentationScope("dragoman")
_SAMPLED, _UNSAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)
_UNSET = Status(StatusCode.UNSET)


class Tracer:
    """One worker's. Make it after the workers were forked: it starts a thread."""

    def __init__(self, tracing: Tracing) -> None:
        assert tracing.otlp_endpoint is not None
        self._resource = Resource.create({"service.name": "dragoman", "service.version": version("dragoman")})
        self._bound = TraceIdRatioBased.get_bound_for_rate(tracing.random_sampling / 100)
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=traces_url(tracing.otlp_endpoint)))
        self._prefixes = tuple(prefix.lower() for prefix in tracing.header_prefixes)

    def begin(self, headers: HTTPHeaders) -> Trace:
        """An exchange begins. headers: the caller's."""
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
        """What names a new span within another."""
        return SpanContext(parent.trace_id, _IDS.generate_span_id(), False, parent.trace_flags, parent.trace_state)

    def shown(self, headers: HTTPHeaders) -> dict[str, Any]:
        """The caller's headers that the operator wants to see, as attributes."""
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
        """A span that is over. times: its start and end in monotonic seconds."""
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
        """Send what is left, within CLOSE_SECONDS."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]
            with contextlib.suppress(RuntimeError):  # the loop did not wait
                loop.call_soon_threadsafe(ended.set)

        # a thread of the loop's executor would be waited for at the end, however long it takes
        threading.Thread(target=shut_down, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await ended.wait()
        except TimeoutError:
            log.warning("the tracing endpoint did not take the last spans within %g s", CLOSE_SECONDS)


class Trace:
    """One exchange's spans: their ids while it runs."""

    def __init__(self, tracer: Tracer, headers: HTTPHeaders, parent: SpanContext | None, context: SpanContext) -> None:
        self._tracer = tracer
        self._parent, self._context = parent, context
        self._shown = tracer.shown(headers) if context.trace_flags.sampled else {}

    def call(self) -> tuple[int, dict[str, str]]:
        """A call of an upstream begins: the id of its span, and the headers that continue the trace there."""
        context = self._tracer.child(self._context)
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers, set_span_in_context(NonRecordingSpan(context), Context()))
        return context.span_id, headers

    def settle(self, account: Account) -> None:
        """The exchange is over."""
        if not self._context.trace_flags.sampled:
            return
        for call in account.calls:
            if call.span:
                self._write_call(account, call)
        outcome = _UNSET
        found = {
            "http.request.method": account.method,
            "http.route": account.route,
            "url.path": account.path,
            "http.response.status_code": account.status,
            "dragoman.request_id": account.request_id,
            "dragoman.operation": account.operation,
        } | self._shown
        if account.key:
            found["dragoman.key"] = account.key
        error = account.error
        if error is not None:
            found["error.type"] = error.name
            if account.status >= 500 or account.status < 400:  # a caller's own fault is no error of a server's
                outcome = Status(StatusCode.ERROR, error.message[:_LONGEST])
        name, times = f"{account.method} {account.route}", (account.begun, account.ended)
        self._tracer.write(name, SpanKind.SERVER, self._context, self._parent, times, found, outcome)

    def _write_call(self, account: Account, call: Call) -> None:
        own = self._context
        context = SpanContext(own.trace_id, call.span, False, own.trace_flags, own.trace_state)
        operation = "chat" if account.operation == account.shape else _OPERATIONS.get(account.operation, account.operation)
        found, outcome = _attributes(account, call, operation), _UNSET
        if call.error:
            found["error.type"] = call.error
            outcome = Status(StatusCode.ERROR, call.error_message[:_LONGEST])
        times = (account.begun if call.sent is None else call.sent, account.ended if call.end is None else call.end)
        self._tracer.write(f"{operation} {call.target.model}", SpanKind.CLIENT, context, own, times, found, outcome)


def traces_url(endpoint: str) -> str:
    """Where spans go: a path of its own is taken as it is, else it is OTLP's."""
    return endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + "/v1/traces"


def _attributes(account: Account, call: Call, operation: str) -> dict[str, Any]:
    target, usage = call.target, call.usage
    found: dict[str, Any] = {
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
    found |= {_SETTINGS[name]: value for name, value in account.settings.items() if name in _SETTINGS}
    if call.status:
        found["http.response.status_code"] = call.status
    if call.stop is not None:
        found["gen_ai.response.finish_reasons"] = [call.stop]
    if call.first is not None and call.sent is not None:
        found["gen_ai.response.time_to_first_chunk"] = call.first - call.sent
    if call.dropped:
        found["dragoman.dropped"] = call.dropped[:_NAMES]
    if usage is not None:
        found |= {"gen_ai.usage.input_tokens": usage.input, "gen_ai.usage.output_tokens": usage.output}
        details = {"cache_read.input": usage.cache_read, "cache_creation.input": usage.cache_write, "reasoning.output": usage.reasoning}
        found |= {f"gen_ai.usage.{name}_tokens": count for name, count in details.items() if count is not None}
        found["dragoman.cost_usd"] = call.cost or 0.0
    return found
