"""The form of every key of a configuration by itself, as marshmallow schemas.

checks.py validates keys together, model.py has the defaults. `foreign` lists keys of a Plano configuration that have no meaning here:
they are accepted and named in one warning. Any other key that is not a field is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from ..codecs import registry
from ..codecs.capabilities import EFFORTS
from . import aws, clouds, egress, flags, read
from .document import Path
from .model import AUTO

VERSIONS = ("v0.1", "v0.1.0", "0.1-beta", "0.2.0", "v0.2.0", "v0.3.0", "v0.4.0")
FOREIGN_LISTENERS = ("agent", "prompt")

MODALITIES = ("text", "image", "audio", "video", "pdf")
TIERS = ("flex", "priority", "scale", "reserved", "fast", "ultrafast")  # as answers name them; the usual one is `default`

NOT_A_MAPPING = "must be a mapping of keys to values"


def _api(value: Any) -> str:
    return str(read.one_of(*registry.apis())(value))


class Section(Schema):
    """A mapping of known keys."""

    foreign: ClassVar[frozenset[str]] = frozenset()
    error_messages: dict[str, str] = {"type": NOT_A_MAPPING}  # noqa: RUF012 (marshmallow's own attribute, not a ClassVar there)

    class Meta:
        unknown = EXCLUDE  # strangers() reports them


class Value(fields.Field[Any]):
    """One value, read by a reader of read.py."""

    def __init__(self, reader: read.Reader, *, required: bool = False) -> None:
        super().__init__(required=required, error_messages={"required": "is missing", "null": "is empty"})
        self.reader = reader

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        try:
            return self.reader(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None


def nested(section: type[Section]) -> fields.Nested:
    """A nested mapping."""
    return fields.Nested(section, error_messages={"null": "is empty"})


def several(inner: fields.Field[Any], *, required: bool = False) -> fields.List[Any]:
    """A list whose items have one form."""
    return fields.List(inner, required=required, error_messages={"required": "is missing", "invalid": "must be a list"})


class Table(fields.Field[dict[str, Any]]):
    """A mapping whose keys the operator chooses."""

    def __init__(self, inner: fields.Field[Any], *, key: Callable[[str], str] = read.text) -> None:
        super().__init__()
        self.inner = inner
        self.key = key

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValidationError(NOT_A_MAPPING)
        table: dict[str, Any] = {}
        wrong: dict[str, Any] = {}
        for key, inner in value.items():
            try:
                table[self.key(key)] = self.inner.deserialize(inner)
            except ValidationError as error:
                wrong[key] = error.messages
            except ValueError as error:
                wrong[key] = [str(error)]
        if wrong:
            raise ValidationError(wrong)
        return table


class OneOrMore(fields.List[Any]):
    """A value, or a list of some."""

    def __init__(self, inner: fields.Field[Any], *, required: bool = False) -> None:
        super().__init__(inner, required=required, error_messages={"required": "is missing", "null": "is empty"})

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> list[Any]:
        if value == []:
            raise ValidationError("must not be empty")
        return super()._deserialize(value if isinstance(value, list) else [value], attr, data, **kwargs)


class Capabilities(fields.Field[dict[str, object]]):
    """Capability flags, dotted or in groups."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> dict[str, object]:
        if not isinstance(value, Mapping):
            raise ValidationError(NOT_A_MAPPING)
        valid, wrong = flags.check(value)
        messages: dict[str, Any] = {}
        for path, message in wrong.items():
            group = messages.setdefault(path[0], {}) if len(path) > 1 else messages
            group[path[-1]] = [message]
        if messages:
            raise ValidationError(messages)
        return valid


_COUNT = read.whole(1, 2**53)
_PORT = read.whole(0, 65535)
_PRICE = read.number(0, 1e6)


class Tls(Section):
    cert = Value(read.expanded, required=True)
    key = Value(read.expanded, required=True)


class Listener(Section):
    foreign = frozenset({"router", "max_retries", "agents", "input_filters", "output_filters", "message_format"})

    type = Value(read.one_of("model", "admin", *FOREIGN_LISTENERS))
    name = Value(read.text)
    address = Value(read.expanded)
    port = Value(_PORT)
    timeout = Value(read.duration)
    tls = nested(Tls)
    hosts = several(Value(read.host_name))
    allow_from = several(Value(read.network))


class Timeouts(Section):
    connect = Value(read.duration)
    first_byte = Value(read.duration)
    idle = Value(read.duration)
    first_content = Value(read.duration)


class Backoff(Section):
    base = Value(read.duration)
    max = Value(read.duration)


class RetryPolicy(Section):
    max_attempts = Value(read.whole(1, 20))
    on_status_codes = several(Value(read.status_codes))
    backoff = nested(Backoff)
    fallback_models = several(Value(read.text))
    on_context_window = several(Value(read.text))
    on_refusal = several(Value(read.text))
    vars()["continue"] = Value(read.one_of("off", "text"))  # a word of Python's


class Responses(Section):
    dialect = Value(read.one_of(AUTO, *(name for shape in registry.SHAPES.values() for name in shape.dialects)))
    complete = Value(read.boolean)


class ClientCert(Section):
    cert = Value(read.expanded, required=True)
    key = Value(read.expanded, required=True)
    key_password = Value(read.expanded)


class Leaving(Section):
    """How connections to upstreams leave: of one entry, or the default of all."""

    proxy = Value(egress.proxy)
    ca_file = Value(read.expanded)
    ca_only = Value(read.boolean)
    client_cert = nested(ClientCert)


class Egress(Leaving):
    no_proxy = several(Value(egress.exemption))
    allow_link_local = Value(read.boolean)
    credential_timeout = Value(read.duration)


class Gcp(Section):
    project = Value(read.google_name)
    location = Value(read.location)
    credentials_file = Value(read.expanded)
    impersonate = Value(read.expanded)
    quota_project = Value(read.google_name)
    endpoint = Value(read.google_name)
    workspace_id = Value(read.google_name)


class Guardrail(Section):
    id = Value(read.header_text, required=True)
    version = Value(read.header_text, required=True)
    trace = Value(read.one_of(*aws.TRACES))
    stream_mode = Value(read.one_of(*aws.STREAM_MODES))


class AwsSection(Section):
    guardrail = nested(Guardrail)
    request_metadata = Table(Value(read.header_text))
    metadata_from_caller = Value(read.boolean)
    project = Value(read.header_text)
    region = Value(read.aws_region)
    endpoint = Value(read.one_of(*aws.ENDPOINTS))
    service = Value(read.google_name)
    workspace_id = Value(read.header_text)
    profile = Value(read.expanded)
    access_key_id = Value(read.expanded)
    secret_access_key = Value(read.expanded)
    session_token = Value(read.expanded)
    role_arn = Value(read.expanded)
    external_id = Value(read.expanded)
    session_name = Value(read.google_name)
    duration = Value(read.duration)
    web_identity_token_file = Value(read.expanded)


class Foundry(Section):
    resource = Value(read.resource)


class Azure(Section):
    api_version = Value(read.api_version)
    deployment = Value(read.expanded)
    credential = Value(read.one_of(*clouds.KINDS))
    tenant_id = Value(read.expanded)
    client_id = Value(read.expanded)
    client_secret = Value(read.expanded)
    certificate = Value(read.expanded)
    scope = Value(read.expanded)
    authority = Value(read.host_name)


class Metadata(Section):
    """Facts of models: of an entry, and of rows of models.yaml."""

    display_name = Value(read.text)
    context_window = Value(_COUNT)
    max_input_tokens = Value(_COUNT)
    max_output_tokens = Value(_COUNT)
    input_modalities = several(Value(read.one_of(*MODALITIES)))
    output_modalities = several(Value(read.one_of(*MODALITIES)))
    efforts = several(Value(read.one_of(*EFFORTS)))
    knowledge_cutoff = Value(read.day)
    released = Value(read.day)
    lifecycle = Value(read.one_of("preview", "active", "legacy", "deprecated", "retired"))
    retired = Value(read.day)


class HeaderEdits(Section):
    remove = several(Value(read.header_name))


class RequestEdits(Section):
    set = Table(Value(read.anything), key=read.member)
    remove = several(Value(read.members))
    headers = nested(HeaderEdits)


class ModelProvider(Leaving):
    foreign = frozenset({"routing_preferences", "usage", "stream", "rate_limits", "internal"})

    model = Value(read.model_name, required=True)
    name = Value(read.text)
    access_key = Value(read.secret)
    token_command = Value(read.command)
    gcp = nested(Gcp)
    azure = nested(Azure)
    aws = nested(AwsSection)
    foundry = nested(Foundry)
    base_model = Value(read.text)
    default = Value(read.boolean)
    base_url = Value(partial(read.url, instead="access_key or headers"))
    http_host = Value(read.host)
    passthrough_auth = Value(read.boolean)
    provider_interface = Value(read.text)
    headers = Table(Value(read.header), key=read.header_name)
    apis = several(Value(_api))
    anthropic_beta = several(Value(read.text))
    capabilities = Capabilities()
    timeouts = nested(Timeouts)
    retry_policy = nested(RetryPolicy)
    weight = Value(read.whole(1, 1_000_000))
    health_check = Value(read.one_of("models", "request", "off"))
    responses = nested(Responses)
    discover = Value(read.boolean)
    metadata = nested(Metadata)
    request = nested(RequestEdits)


class Alias(Section):
    target = Value(read.text, required=True)


class StateStorage(Section):
    type = Value(read.one_of("memory", "sqlite", "postgres", "redis"))
    path = Value(read.expanded)
    connection_string = Value(read.expanded)
    url = Value(read.expanded)
    ttl = Value(read.duration)
    reasoning_ttl = Value(read.duration_or_off)
    max_entries = Value(_COUNT)
    max_entries_per_key = Value(_COUNT)
    timeout = Value(read.duration)
    shared_upstream_ids = Value(read.boolean)


class Budget(Section):
    usd = Value(read.number(0), required=True)
    per = Value(read.one_of("hour", "day", "week", "month"))
    unpriced = Value(read.one_of("allow", "refuse"))


class AccessKey(Section):
    key = Value(read.caller_key)
    key_sha256 = Value(read.sha256)
    name = Value(read.text)
    models = several(Value(read.text))
    requests_per_minute = Value(_COUNT)
    tokens_per_minute = Value(_COUNT)
    budget = nested(Budget)
    responses = nested(Responses)
    allow_from = several(Value(read.network))


class Oidc(Section):
    issuer = Value(read.url, required=True)
    client_id = Value(read.expanded, required=True)
    client_secret = Value(read.expanded)
    claim = Value(read.text)
    admins = several(Value(read.text))
    viewers = several(Value(read.text))
    scopes = several(Value(read.text))
    redirect_url = Value(read.url)


class ControlAdmin(Section):
    password = Value(read.expanded)
    password_sha256 = Value(read.password_hash)
    oidc = nested(Oidc)
    metrics_token = Value(read.caller_key)
    session = Value(read.duration)


class Control(Section):
    store = Value(read.one_of("sqlite", "postgres"), required=True)
    path = Value(read.expanded)
    connection_string = Value(read.expanded)
    folder = Value(read.expanded)
    retention = Value(read.duration)
    spool = Value(read.size)
    admin = nested(ControlAdmin)


class Claims(Section):
    name = Value(read.text)
    team = Value(read.text)
    user = Value(read.text)
    models = Value(read.text)


class Jwt(Section):
    issuer = Value(read.issuer, required=True)
    audience = OneOrMore(Value(read.expanded), required=True)
    jwks_url = Value(read.url_with_query)
    claims = nested(Claims)


class Hook(Section):
    url = Value(partial(read.url_with_query, instead="headers"), required=True)
    on = OneOrMore(Value(read.one_of("request", "answer")), required=True)
    timeout = Value(read.duration)
    fail = Value(read.one_of("open", "closed"))
    headers = Table(Value(read.header), key=read.header_name)
    content = Value(read.boolean)


class Limits(Section):
    max_body = Value(read.size)
    max_bodies = Value(read.size)
    max_values = Value(_COUNT)
    max_streams = Value(_COUNT)
    max_event = Value(read.size)
    max_answer = Value(read.size)
    client_stall = Value(read.duration)
    max_background = Value(_COUNT)
    max_background_per_key = Value(_COUNT)


class Drain(Section):
    timeout = Value(read.duration)
    delay = Value(read.duration)


class KeepAlive(Section):
    stream = Value(read.duration)
    begin_after = Value(read.duration)
    progress = Value(read.duration)


class WebSocket(Section):
    enabled = Value(read.boolean)
    origins = several(Value(read.one_origin))
    max_message = Value(read.size)
    max_connections = Value(_COUNT)
    max_age = Value(read.duration)
    idle = Value(read.duration)
    ping = Value(read.duration)
    lanes = Value(_COUNT)
    in_flight = Value(_COUNT)
    queued = Value(_COUNT)
    memory = Value(read.size)
    memory_total = Value(read.size)


class Compaction(Section):
    automatic = Value(read.boolean)
    prompt = Value(read.text)
    max_output = Value(read.whole(256, 10_000_000))
    seal_key = Value(read.aes_keys)


class Cors(Section):
    origins = several(Value(read.origin))
    max_age = Value(read.duration)


class SpanAttributes(Section):
    foreign = frozenset({"static"})

    header_prefixes = several(Value(read.text))


class Tracing(Section):
    foreign = frozenset({"trace_arch_internal", "opentracing_grpc_endpoint", "exporters"})

    otlp_endpoint = Value(read.url)
    random_sampling = Value(read.number(0, 100))
    span_attributes = nested(SpanAttributes)


class Routing(Section):
    foreign = frozenset({"llm_provider", "model_provider", "session_cache", "session_max_entries", "session_ttl_seconds"})

    affinity = Value(read.one_of("auto", "off"))
    balance = Value(read.one_of("order", "weight", "latency", "least_busy"))
    hedge_after = Value(read.duration_or_off)


class TokenPrice(Section):
    input = Value(_PRICE, required=True)
    output = Value(_PRICE, required=True)
    cached_input = Value(_PRICE)
    cache_write = Value(_PRICE)
    cache_write_1h = Value(_PRICE)


class Price(TokenPrice):
    web_search = Value(_PRICE)
    fast = Value(read.number(1, 1000))
    service_tiers = Table(nested(TokenPrice), key=read.one_of(*TIERS))


class Root(Section):
    foreign = frozenset(
        {
            "agents",
            "endpoints",
            "error_target",
            "filters",
            "mode",
            "model_metrics_sources",
            "overrides",
            "prompt_guards",
            "prompt_targets",
            "ratelimits",
            "routing_preferences",
            "system_prompt",
        }
    )

    version = Value(read.one_of(*VERSIONS))
    listeners = several(nested(Listener))
    model_providers = several(nested(ModelProvider), required=True)
    model_aliases = Table(nested(Alias))
    state_storage = nested(StateStorage)
    access_keys = several(nested(AccessKey))
    control = nested(Control)
    limits = nested(Limits)
    drain = nested(Drain)
    keep_alive = nested(KeepAlive)
    compaction = nested(Compaction)
    websocket = nested(WebSocket)
    egress = nested(Egress)
    tracing = nested(Tracing)
    responses = nested(Responses)
    routing = nested(Routing)
    prices = Table(nested(Price))
    trusted_proxies = several(Value(read.network))
    allow_from = several(Value(read.network))
    cors = nested(Cors)
    jwt = nested(Jwt)
    hooks = several(nested(Hook))


def strangers(section: Section, data: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, str | None]]:
    """Path of every key that is not a field, with the nearest field's name, or None for a foreign key."""
    for key, value in data.items():
        below = (*path, key)
        if key in section.fields:
            yield from _inside(section.fields[key], value, below)
        elif key in section.foreign:
            yield below, None
        else:
            yield below, flags.nearest(key, section.fields)


def _inside(field: fields.Field[Any], value: Any, path: Path) -> Iterator[tuple[Path, str | None]]:
    if isinstance(field, fields.Nested) and isinstance(field.schema, Section) and isinstance(value, Mapping):
        yield from strangers(field.schema, value, path)
    elif isinstance(field, fields.List) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _inside(field.inner, item, (*path, index))
    elif isinstance(field, Table) and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _inside(field.inner, item, (*path, key))
    elif isinstance(field, Capabilities) and isinstance(value, Mapping):
        yield from (((*path, *below), near) for below, near in flags.unknown(value))


def flatten(messages: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """marshmallow's tree of messages as pairs of path and message."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            yield from flatten(inner, path if key == "_schema" else (*path, key))
    else:
        for message in messages:
            yield path, str(message)
