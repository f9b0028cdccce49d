"""The configuration as the rest of the code sees it: plain values, checked and complete, no YAML and no marshmallow.

Durations are seconds (float), sizes are bytes (int). What could hold a secret is left out of `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
    timeout: float | None = None  # of a whole request
    tls: Tls | None = None
    hosts: tuple[str, ...] = ()  # names that it is asked by, in small letters, besides this machine's own


@dataclass(frozen=True, slots=True)
class Timeouts:
    connect: float = 10.0
    first_byte: float = 600.0  # until the headers of the response
    idle: float = 300.0  # between two bytes


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


@dataclass(frozen=True, slots=True)
class Provider:
    """One entry of `model_providers`."""

    model: str  # as written: provider/model, or provider/*
    provider: str  # what stands before the first slash
    model_id: str  # what stands behind it: the upstream's own name, or "*"
    name: str
    interface: str  # the known provider whose dialect is spoken
    base_url: str  # with the path prefix, without a slash at the end
    apis: tuple[Api, ...]
    access_key: str | None = field(default=None, repr=False)
    access_key_missing: str | None = None  # the environment variable that is named but not set
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    http_host: str | None = None
    passthrough_auth: bool = False
    auth: Literal["bearer", "x-api-key", "api-key"] = "bearer"
    default: bool = False
    apis_in_order: bool = False  # `apis` was written by hand: it is an order of preference
    own_base_url: bool = False  # `base_url` was written by hand
    capabilities: Mapping[str, object] = field(default_factory=dict)  # as written, dotted names
    timeouts: Timeouts = Timeouts()
    retry_policy: RetryPolicy | None = None
    weight: int | None = None  # None: not written

    @property
    def wildcard(self) -> bool:
        return self.model_id == "*"


@dataclass(frozen=True, slots=True)
class StateStorage:
    """Where the Responses API's memory is kept. `max_entries` bounds what a single process keeps."""

    type: Literal["memory", "sqlite", "postgres", "redis"] = "memory"
    path: str | None = None
    connection_string: str | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    ttl: float = 30 * 86400.0
    reasoning_ttl: float = 86400.0  # of what belongs to tool calls; 0: it is not kept
    max_entries: int = 10_000
    max_entries_per_key: int | None = None  # of one access key; None: as many as there is room for
    timeout: float = 5.0  # that a request waits for the store
    shared_upstream_ids: bool = False  # every access key may name what an upstream keeps, whoever made it


@dataclass(frozen=True, slots=True)
class Budget:
    usd: float
    per: Literal["hour", "day", "week", "month"] = "month"
    unpriced: Literal["allow", "refuse"] = "allow"  # models without a price, which no budget can stop


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A caller's key, known by the hexadecimal SHA-256 of its UTF-8 bytes alone."""

    key_sha256: str = field(repr=False)
    name: str
    models: tuple[str, ...] = ("*",)  # patterns of the names that a caller may ask for
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    max_body: int = 64 * 1024 * 1024
    max_streams: int | None = None  # per worker
    max_event: int = 64 * 1024 * 1024
    client_stall: float = 120.0
    max_bodies: int = 512 * 1024 * 1024  # bytes of all requests' bodies at once, per worker
    max_values: int = 500_000  # JSON values of one body
    max_answer: int = 64 * 1024 * 1024  # kept of one streamed answer
    max_background: int = 256  # background responses, per worker
    max_background_per_key: int = 64  # of one access key


@dataclass(frozen=True, slots=True)
class Drain:
    """The end of a process. delay: how long it serves on while /readyz says 503; timeout: how long open requests may take then."""

    timeout: float = 30.0
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Of streams, in seconds. stream: without a byte for the caller before a keep-alive. begin_after: before the head is sent."""

    stream: float = 15.0
    begin_after: float = 20.0


@dataclass(frozen=True, slots=True)
class Tracing:
    otlp_endpoint: str | None = None
    random_sampling: float = 100.0  # percent
    header_prefixes: tuple[str, ...] = ()  # request headers that become span attributes


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, of the models whose id fits the pattern."""

    pattern: str
    input: float
    output: float
    cached_input: float
    cache_write: float


@dataclass(frozen=True, slots=True)
class Config:
    model_providers: tuple[Provider, ...]
    listeners: tuple[Listener, ...] = (Listener(),)
    model_aliases: Mapping[str, str] = field(default_factory=dict)  # the alias, and what it stands for
    state_storage: StateStorage = StateStorage()
    access_keys: tuple[AccessKey, ...] = ()  # empty: every caller is let in
    limits: Limits = Limits()
    drain: Drain = Drain()
    keep_alive: KeepAlive = KeepAlive()
    tracing: Tracing = Tracing()
    prices: tuple[Price, ...] = ()  # the first that fits counts
    version: str | None = None
    warnings: tuple[str, ...] = ()
