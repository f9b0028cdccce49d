"""Traces: a span for each request and one for each call of an upstream, with the attributes of OpenTelemetry's GenAI conventions.

Only imported when the configuration names an `otlp_endpoint`; it needs the extra `otel`. The caller's `traceparent` is continued
and its decision to sample kept; a trace that begins here is sampled by `random_sampling`. Upstreams get the span's own
`traceparent`. No prompt, no answer and no credential is ever an attribute. Source of the names: OpenTelemetry, "Semantic
conventions for generative AI client spans".

Strategy: while an exchange runs only its spans' ids exist. When it is over, and if it is sampled, its spans are written down at
once and given to the SDK, whose thread sends them in batches. The SDK's own way, spans that are begun and filled under locks, costs
three times as much.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any
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

from ...conf.model import Tracing
from ..keys.cost import cost
from ..routing.router import API_OF, PATH_OF
from .metrics import error_kind, status

if TYPE_CHECKING:
    from ..exchange.attempt import Attempt
    from ..exchange.exchange import Exchange

CLOSE_SECONDS = 5  # that the last batch may take to leave

# what the conventions call a provider, where that is not its name here
_PROVIDERS = {
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "bedrock": "aws.bedrock",
    "azure_openai": "azure.ai.openai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
# settings that all shapes call alike -> the attribute
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

    def begin(self, exchange: Exchange) -> Trace:
        parent = INVALID_SPAN_CONTEXT
        if "traceparent" in exchange.headers:
            carrier = {name: exchange.headers[name] for name in ("traceparent", "tracestate") if name in exchange.headers}
            parent = get_current_span(_PROPAGATOR.extract(carrier, Context())).get_span_context()
        if parent.is_valid:
            return Trace(self, exchange, parent, self.child(parent))
        trace = _IDS.generate_trace_id()
        sampled = trace & TraceIdRatioBased.TRACE_ID_LIMIT < self._bound
        return Trace(self, exchange, None, SpanContext(trace, _IDS.generate_span_id(), False, _SAMPLED if sampled else _UNSAMPLED))

    def child(self, parent: SpanContext) -> SpanContext:
        """What names a new span within another."""
        return SpanContext(parent.trace_id, _IDS.generate_span_id(), False, parent.trace_flags, parent.trace_state)

    def told(self, exchange: Exchange) -> dict[str, Any]:
        """The caller's headers that the operator wants to see."""
        return {
            f"http.request.header.{name.lower()}": [value[:_LONGEST]]
            for name, value in exchange.headers.get_all()
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
        """Send what is left."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.get_running_loop().run_in_executor(None, self._processor.shutdown)
        except TimeoutError:
            pass  # nobody takes it


class Trace:
    """One exchange's spans."""

    def __init__(self, tracer: Tracer, exchange: Exchange, parent: SpanContext | None, context: SpanContext) -> None:
        self._tracer = tracer
        self._exchange = exchange
        self._parent, self._context = parent, context
        self._calls: list[tuple[Attempt, SpanContext, float]] = []

    def attempt(self, attempt: Attempt) -> dict[str, str]:
        """A call of an upstream begins; the headers that tell it of the trace."""
        context = self._tracer.child(self._context)
        self._calls.append((attempt, context, monotonic()))
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers, set_span_in_context(NonRecordingSpan(context), Context()))
        return headers

    def settle(self, now: float) -> None:
        """The exchange is over. now: monotonic seconds."""
        if not self._context.trace_flags.sampled:
            return
        exchange, write = self._exchange, self._tracer.write
        for attempt, context, begun in self._calls:
            found, outcome = _call(exchange, attempt), _UNSET
            if attempt.error is not None:
                found["error.type"] = error_kind(attempt.error)
                outcome = Status(StatusCode.ERROR, attempt.error.logged[:_LONGEST])
            times = (begun, attempt.times.get("end", now))
            write(f"chat {attempt.candidate.model}", SpanKind.CLIENT, context, self._context, times, found, outcome)
        path, code, outcome = "/v1" + PATH_OF[API_OF[exchange.shape]], status(exchange), _UNSET
        found = {
            "http.request.method": "POST",
            "http.route": path,
            "url.path": path,
            "http.response.status_code": code,
            "dragoman.request_id": exchange.request_id,
        } | self._tracer.told(exchange)
        if exchange.key_name:
            found["dragoman.key"] = exchange.key_name
        if exchange.error is not None:
            found["error.type"] = exchange.error.code or exchange.error.kind
            if code >= 500 or code < 400:  # a caller's own fault is no error of a server's
                outcome = Status(StatusCode.ERROR, exchange.error.logged[:_LONGEST])
        write(f"POST {path}", SpanKind.SERVER, self._context, self._parent, (exchange.begun, now), found, outcome)


def traces_url(endpoint: str) -> str:
    """Where spans go: a path of its own is taken as it is, else it is OTLP's."""
    return endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + "/v1/traces"


def _call(exchange: Exchange, attempt: Attempt) -> dict[str, Any]:
    candidate, usage, value = attempt.candidate, attempt.spent, exchange.scan.value
    place = urlsplit(candidate.url)
    provider = candidate.provider.provider
    found: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": candidate.model,
        "gen_ai.request.stream": exchange.stream,
        "server.address": place.hostname or "",
        "server.port": place.port or (443 if place.scheme == "https" else 80),
        "dragoman.upstream_api": API_OF[candidate.shape],
        "dragoman.lane": "bytes" if attempt.same_shape else "events",
        "dragoman.reason": candidate.reason,
    }
    for name, attribute in _SETTINGS.items():
        setting = value.get(name)
        if isinstance(setting, int | float) and not isinstance(setting, bool):
            found[attribute] = setting
    if attempt.status:
        found["http.response.status_code"] = attempt.status
    if attempt.stop is not None:
        found["gen_ai.response.finish_reasons"] = [attempt.stop]
    if {"first", "sent"} <= attempt.times.keys():
        found["gen_ai.response.time_to_first_chunk"] = attempt.times["first"] - attempt.times["sent"]
    if attempt.ledger.dropped:
        found["dragoman.dropped"] = attempt.ledger.names(attempt.ledger.dropped, value)[:50]
    if usage is not None:
        found |= {"gen_ai.usage.input_tokens": usage.input, "gen_ai.usage.output_tokens": usage.output}
        details = {"cache_read.input": usage.cache_read, "cache_creation.input": usage.cache_write, "reasoning.output": usage.reasoning}
        found |= {f"gen_ai.usage.{name}_tokens": count for name, count in details.items() if count is not None}
        found["dragoman.cost_usd"] = cost(usage, candidate.price)
    return found
