"""The configuration as the rest of the code uses it: plain values, validated and complete, no YAML and no marshmallow.

Durations are seconds (float), sizes are bytes (int). Fields that may contain a secret are left out of `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..codecs.compaction import PROMPT

Api = str
"""One of `codecs.registry.apis()`."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of a listener."""

    cert: str
    key: str


@dataclass(frozen=True, slots=True)
class Listener:
    type: Literal["model", "admin"] = "model"
    name: str = "model"
    address: str = "0.0.0.0"
    port: int = 12000
    timeout: float | None = None  # of a complete request
    tls: Tls | None = None
    hosts: tuple[str, ...] = ()  # lower-case host names that requests may use, besides this machine's


@dataclass(frozen=True, slots=True)
class Timeouts:
    connect: float = 10.0
    first_byte: float = 600.0  # until the headers of the response
    idle: float = 300.0  # without a byte
    first_content: float | None = None  # of a stream: until text, reasoning or a tool call


@dataclass(frozen=True, slots=True)
class Backoff:
    base: float = 0.2
    max: float = 5.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    max_attempts: int = 2
    on_status_codes: frozenset[int] = frozenset({429, 500, 502, 503, 504, 529})
    backoff: Backoff = Backoff()
    fallback_models: tuple[str, ...] = ()
    on_context_window: tuple[str, ...] = ()  # instead of these, for a request that is too long
    on_refusal: tuple[str, ...] = ()  # and for one that the provider's policy refused


AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Responses:
    """How answers of the Responses API are told. None: as the next more general section says.

    dialect: one of `Shape.dialects`, or AUTO for the one that the request asks for. complete: whether the objects of upstreams of this
    API are given the members that they lack; where no section says, the dialect does.
    """

    dialect: str | None = None
    complete: bool | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """One entry of `model_providers`."""

    model: str  # as written: provider/model, or provider/*
    provider: str  # the part before the first slash
    model_id: str  # the part after it: the upstream's name of the model, or "*"
    name: str
    interface: str  # the known provider whose APIs the upstream serves
    base_url: str  # with the path prefix, without a trailing slash
    apis: tuple[Api, ...]
    access_key: str | None = field(default=None, repr=False)
    access_key_missing: str | None = None  # the environment variable that access_key names, if it is not set
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    http_host: str | None = None
    passthrough_auth: bool = False
    auth: Literal["bearer", "x-api-key", "api-key"] = "bearer"
    default: bool = False
    apis_in_order: bool = False  # `apis` is in the file, in order of preference
    own_base_url: bool = False  # `base_url` is in the file
    capabilities: Mapping[str, object] = field(default_factory=dict)  # from the file, by dotted name
    timeouts: Timeouts = Timeouts()
    retry_policy: RetryPolicy | None = None
    weight: int | None = None  # None: not in the file
    responses: Responses = Responses()
    health_check: Literal["models", "request", "off"] = "models"

    @property
    def wildcard(self) -> bool:
        return self.model_id == "*"


@dataclass(frozen=True, slots=True)
class StateStorage:
    """Where the state of the Responses API is stored. max_entries: bound of the type memory, per process."""

    type: Literal["memory", "sqlite", "postgres", "redis"] = "memory"
    path: str | None = None
    connection_string: str | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    ttl: float = 30 * 86400.0
    reasoning_ttl: float = 86400.0  # of what belongs to tool calls; 0: it is not kept
    max_entries: int = 10_000
    max_entries_per_key: int | None = None  # of one access key; None: unbounded
    timeout: float = 5.0  # of a request's calls to the store together
    shared_upstream_ids: bool = False  # every access key may use all ids at an upstream, whoever created them


@dataclass(frozen=True, slots=True)
class Budget:
    usd: float
    per: Literal["hour", "day", "week", "month"] = "month"
    unpriced: Literal["allow", "refuse"] = "allow"  # what happens to models without a price


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A caller's key, stored only as the hexadecimal SHA-256 of its UTF-8 bytes."""

    key_sha256: str = field(repr=False)
    name: str
    models: tuple[str, ...] = ("*",)  # patterns of the model names that the caller may use
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    budget: Budget | None = None
    responses: Responses = Responses()


@dataclass(frozen=True, slots=True)
class Limits:
    max_body: int = 64 * 1024 * 1024
    max_streams: int | None = None  # per worker
    max_event: int = 64 * 1024 * 1024
    client_stall: float = 120.0
    max_bodies: int = 512 * 1024 * 1024  # bytes of all requests' bodies at once, per worker
    max_values: int = 500_000  # JSON values in one body
    max_answer: int = 64 * 1024 * 1024  # buffered of one streamed answer
    max_background: int = 256  # background responses, per worker
    max_background_per_key: int = 64  # of one access key


@dataclass(frozen=True, slots=True)
class Drain:
    """The end of a process. delay: while it still serves and /readyz returns 503. timeout: then, for open requests to finish."""

    timeout: float = 30.0
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Of streams. stream: time without a byte to the caller before a keep-alive is sent. begin_after: before the head is sent."""

    stream: float = 15.0
    begin_after: float = 20.0


@dataclass(frozen=True, slots=True)
class Compaction:
    """How a model is asked to sum up a conversation.

    automatic: also where a request's `context_management` asks for it. max_output: tokens that it may write for that.
    """

    automatic: bool = False
    prompt: str = PROMPT
    max_output: int = 16_384


@dataclass(frozen=True, slots=True)
class Tracing:
    otlp_endpoint: str | None = None
    random_sampling: float = 100.0  # percent
    header_prefixes: tuple[str, ...] = ()  # request headers that become span attributes


@dataclass(frozen=True, slots=True)
class Routing:
    """Which of several candidates of a model is tried first.

    balance: None: by weight where an entry of the model has one, else in the order of the file.
    """

    affinity: Literal["auto", "off"] = "auto"
    balance: Literal["order", "weight", "latency", "least_busy"] | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, of the models whose id matches the pattern."""

    pattern: str
    input: float
    output: float
    cached_input: float
    cache_write: float
    cache_write_1h: float | None = None  # of tokens that stay in the cache for longer than minutes; None: as cache_write
    web_search: float | None = None  # USD per thousand searches of the provider's own; None: unknown
    fast: float | None = None  # by how much all tokens are dearer at the speed "fast"; None: unknown


@dataclass(frozen=True, slots=True)
class Config:
    model_providers: tuple[Provider, ...]
    listeners: tuple[Listener, ...] = (Listener(),)
    model_aliases: Mapping[str, str] = field(default_factory=dict)  # target by alias
    state_storage: StateStorage = StateStorage()
    access_keys: tuple[AccessKey, ...] = ()  # empty: every caller is admitted
    limits: Limits = Limits()
    drain: Drain = Drain()
    keep_alive: KeepAlive = KeepAlive()
    compaction: Compaction = Compaction()
    tracing: Tracing = Tracing()
    responses: Responses = Responses()
    routing: Routing = Routing()
    prices: tuple[Price, ...] = ()  # the first match applies
    version: str | None = None
    warnings: tuple[str, ...] = ()
