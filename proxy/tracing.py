"""Traces: a span for each request and one for each call of an upstream, with the attributes of OpenTelemetry's GenAI conventions.

Only imported when the configuration names an `otlp_endpoint`; it needs the extra `otel`. The caller's `traceparent` is continued
and its decision to sample kept; a trace that begins here is sampled by `random_sampling`. Upstreams get the span's own
`traceparent`. No prompt, no answer and no credential is ever an attribute. Spans leave the process in batches, by a thread of the
SDK. Source of the names: OpenTelemetry, "Semantic conventions for generative AI client spans".
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
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..conf.model import Tracing
from .cost import cost
from .metrics import error_kind, status
from .routing import API_OF, PATH_OF

if TYPE_CHECKING:
    from .attempt import Attempt
    from .exchange import Exchange

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


class Tracer:
    """One worker's. Make it after the workers were forked: it starts a thread."""

    def __init__(self, tracing: Tracing) -> None:
        assert tracing.otlp_endpoint is not None
        resource = Resource.create({"service.name": "dragoman", "service.version": version("dragoman")})
        sampler = ParentBased(TraceIdRatioBased(tracing.random_sampling / 100))
        self._provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=traces_url(tracing.otlp_endpoint))))
        self._tracer = self._provider.get_tracer("dragoman")
        self._prefixes = tuple(prefix.lower() for prefix in tracing.header_prefixes)

    def begin(self, exchange: Exchange) -> Trace:
        carrier = {name: exchange.headers[name] for name in ("traceparent", "tracestate") if name in exchange.headers}
        path = "/v1" + PATH_OF[API_OF[exchange.shape]]
        span = self._tracer.start_span(
            f"POST {path}",
            _PROPAGATOR.extract(carrier),
            SpanKind.SERVER,
            {"http.request.method": "POST", "http.route": path, "url.path": path, "dragoman.request_id": exchange.request_id},
        )
        if span.is_recording():
            span.set_attributes(self._told(exchange))
        return Trace(self._tracer, exchange, span)

    def _told(self, exchange: Exchange) -> dict[str, Any]:
        """The caller's headers that the operator wants to see."""
        return {
            f"http.request.header.{name.lower()}": [value[:_LONGEST]]
            for name, value in exchange.headers.get_all()
            if self._prefixes and name.lower().startswith(self._prefixes) and name.lower() not in _SECRET
        }

    async def close(self) -> None:
        """Send what is left."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.get_running_loop().run_in_executor(None, self._provider.shutdown)
        except TimeoutError:
            pass  # nobody takes it


class Trace:
    """One exchange's spans."""

    def __init__(self, tracer: Any, exchange: Exchange, span: Span) -> None:
        self._tracer = tracer
        self._exchange = exchange
        self._span = span
        self._context = set_span_in_context(span, Context())
        self._calls: list[tuple[Attempt, Span]] = []

    def attempt(self, attempt: Attempt) -> dict[str, str]:
        """A call of an upstream begins; the headers that tell it of the trace."""
        candidate = attempt.candidate
        span: Span = self._tracer.start_span(f"chat {candidate.model}", self._context, SpanKind.CLIENT)
        self._calls.append((attempt, span))
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers, set_span_in_context(span, Context()))
        return headers

    def settle(self, now: float) -> None:
        """The exchange is over. now: monotonic seconds."""
        exchange, span = self._exchange, self._span
        for attempt, call in self._calls:
            if call.is_recording():
                call.set_attributes(_call(exchange, attempt))
                if attempt.error is not None:
                    call.set_attribute("error.type", error_kind(attempt.error))
                    call.set_status(Status(StatusCode.ERROR, attempt.error.message[:_LONGEST]))
            call.end(_wall(attempt.times.get("end", now)))
        if span.is_recording():
            code = status(exchange)
            span.set_attribute("http.response.status_code", code)
            if exchange.key_name:
                span.set_attribute("dragoman.key", exchange.key_name)
            if exchange.error is not None:
                span.set_attribute("error.type", exchange.error.code or exchange.error.kind)
                if code >= 500 or code < 400:  # a caller's own fault is no error of a server's
                    span.set_status(Status(StatusCode.ERROR, exchange.error.message[:_LONGEST]))
        span.end(_wall(now))


def traces_url(endpoint: str) -> str:
    """Where spans go: a path of its own is taken as it is, else it is OTLP's."""
    return endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + "/v1/traces"


def _wall(at: float) -> int:
    """Nanoseconds since the epoch of a moment in monotonic seconds."""
    return time_ns() - int((monotonic() - at) * 1e9)


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
