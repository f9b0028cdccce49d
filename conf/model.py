"""The configuration as the rest of the code uses it: plain values, validated and complete, no YAML and no marshmallow.

Durations are seconds (float), sizes are bytes (int). Fields that may contain a secret are left out of `repr`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal, NamedTuple

from ..codecs.compaction import PROMPT

Api = str
"""One of `codecs.registry.apis()`."""

Networks = tuple[IPv4Network | IPv6Network, ...]


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
    allow_from: Networks = ()  # of whom it serves; empty: as the top level says
    index: int | None = field(default=None, compare=False)  # in the file; None: it is not there


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
    continues: Literal["off", "text"] = "off"  # key `continue`: what is gone on with when it breaks off after its first content
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
class Proxy:
    """An HTTP proxy. login: `user:password`, or None."""

    host: str
    port: int
    login: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ClientCert:
    """PEM files that prove to an upstream who calls."""

    cert: str
    key: str
    key_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Certificates:
    """What TLS to an upstream is checked with. ca_file: a PEM file, beside the system's authorities or (ca_only) instead of them."""

    ca_file: str | None = None
    ca_only: bool = False
    client_cert: ClientCert | None = None


class Exemption(NamedTuple):
    """One item of a no_proxy list: a name with its subdomains, or a block of addresses. Both None: everything. port: None for any."""

    name: str | None
    block: IPv4Network | IPv6Network | None
    port: int | None

    def fits(self, host: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
        if self.port not in (None, port):
            return False
        if self.block is not None:
            return address is not None and address in self.block
        return self.name is None or host == self.name or host.endswith(f".{self.name}")


@dataclass(frozen=True, slots=True)
class Proxies:
    """By the scheme of what is asked."""

    https: Proxy | None = None
    http: Proxy | None = None


@dataclass(frozen=True, slots=True)
class Egress:
    """How what stands in no `base_url` is reached: hooks, identity providers, and the services that give an entry's credential.

    conf/egress.py says which proxy an address has. credential_timeout: of getting a credential that ends.
    """

    credential_timeout: float = 10.0
    proxies: Proxies = Proxies()
    exempt: tuple[Exemption, ...] = ()
    certificates: Certificates = Certificates()


@dataclass(frozen=True, slots=True)
class TokenCommand:
    """A program that prints a bearer token. argv: it and its arguments."""

    argv: tuple[str, ...] = field(repr=False)

    @property
    def text(self) -> str:
        """For people: without the arguments, which may be secrets."""
        return f"token_command {os.path.basename(self.argv[0])}"


@dataclass(frozen=True, slots=True)
class Google:
    """Google's credentials: of a file, else the application default ones. impersonate: the service account to act as."""

    credentials_file: str | None = None
    impersonate: str | None = None

    @property
    def text(self) -> str:
        """For people."""
        return f"gcp: {'credentials_file' if self.credentials_file else 'default credentials'}"


@dataclass(frozen=True, slots=True)
class Entra:
    """Microsoft Entra's credentials. kind: one of conf.clouds.KINDS; certificate: path of a PEM file."""

    kind: str
    scope: str
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    certificate: str | None = None
    authority: str | None = None

    @property
    def text(self) -> str:
        """For people."""
        return f"azure: {self.kind.replace('_', ' ')}"


@dataclass(frozen=True, slots=True)
class Aws:
    """AWS's credentials: keys, or botocore's chain; role_arn: a role to assume with them, or with the token in a file.

    region: of the token service. duration: seconds of a role's session.
    """

    region: str
    profile: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    role_arn: str | None = None
    external_id: str | None = field(default=None, repr=False)
    session_name: str = "dragoman"
    duration: float = 3600.0
    web_identity_token_file: str | None = None

    @property
    def whole(self) -> bool:
        """Whether these are the keys, so that nobody is asked for others."""
        return bool(self.access_key_id) and not self.role_arn

    @property
    def text(self) -> str:
        """For people."""
        if self.role_arn:
            return "aws: web identity" if self.web_identity_token_file else "aws: assume-role"
        return "aws: static keys" if self.access_key_id else f"aws: profile {self.profile}" if self.profile else "aws: default chain"


Way = TokenCommand | Google | Entra | Aws
"""How a credential that ends is got."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model. None: unknown. Days are as `2026-06-30`, or `2026-06` where only the month is known."""

    display_name: str | None = None
    context_window: int | None = None  # tokens of input and output together
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    input_modalities: tuple[str, ...] | None = None
    output_modalities: tuple[str, ...] | None = None
    efforts: tuple[str, ...] | None = None  # (): it does not reason by effort
    knowledge_cutoff: str | None = None
    released: str | None = None
    lifecycle: Literal["preview", "active", "legacy", "deprecated", "retired"] | None = None
    retired: str | None = None  # the day from which it is not served, also one to come


@dataclass(frozen=True, slots=True)
class Edits:
    """The operator's changes of what an upstream is sent, last of all. Paths are as of codecs.edit.

    set: path and value. remove: paths. remove_headers: lower-case names. acts, forms: what is set has effects at the upstream, or makes an
    answer one that may not be continued; as of codecs.effects and codecs.continuation.
    """

    set: tuple[tuple[str, object], ...] = field(default=(), repr=False)  # a value may be a credential, as secrets.of has it
    remove: tuple[str, ...] = ()
    remove_headers: frozenset[str] = frozenset()
    acts: bool = False
    forms: bool = False

    @property
    def of_body(self) -> bool:
        """Whether anything of a body is changed."""
        return bool(self.set or self.remove)


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
    access_key_file: str | None = None  # that it is taken from
    access_key_missing: str | None = None  # the environment variable that access_key names, if it is not set
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    http_host: str | None = None
    passthrough_auth: bool = False
    auth: Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "both-keys"] = "bearer"
    query: str | None = None  # of every URL, "" for none: callers do not choose the version of the API; None: the callers' alone
    deployment: str | None = None  # the upstream's name of the model, where it differs from model_id
    named: str = ""  # the upstream's names of models, with {model} for the last part of their ids; "": as the ids
    carriers: Mapping[Api, str] = field(default_factory=dict)  # by API, a name in codecs.carriers, where the API travels in its own way
    anthropic_beta: tuple[str, ...] | None = None  # patterns of the values of `anthropic-beta` that it takes; None: all
    own_betas: bool = False  # `anthropic_beta` is in the file
    way: Way | None = None  # instead of access_key: a credential that ends
    signing: tuple[str, str] = ("", "")  # region and service of signatures
    bedrock: Mapping[str, object] = field(default_factory=dict)  # of each request: guardrail, request_metadata, project
    base_model: str | None = None  # the model that an opaque name stands for, where tables are looked up
    default: bool = False
    apis_in_order: bool = False  # `apis` is in the file, in order of preference
    own_base_url: bool = False  # `base_url` is in the file
    capabilities: Mapping[str, object] = field(default_factory=dict)  # from the file, by dotted name
    timeouts: Timeouts = Timeouts()
    retry_policy: RetryPolicy | None = None
    weight: int | None = None  # None: not in the file
    responses: Responses = Responses()
    proxy: Proxy | None = None  # as chosen by conf/egress.py
    certificates: Certificates = Certificates()
    egress: Egress = Egress()  # to the services that give its credential
    health_check: Literal["models", "request", "off"] = "models"
    discover: bool = False  # its list of models is read
    metadata: Mapping[str, object] = field(default_factory=dict)  # fields of Facts that the file says
    edits: Edits | None = None
    families: tuple[tuple[tuple[str, ...], Provider], ...] = ()  # of a wildcard: patterns of models, and what it is for these

    @property
    def wildcard(self) -> bool:
        return self.model_id == "*"

    def full_name(self, model_id: str) -> str:
        """The vendor's name of a model."""
        return self.named.replace("{model}", model_id.rpartition("/")[2]) if self.named else model_id

    def called(self, model_id: str) -> str:
        """The upstream's name of a model."""
        return self.deployment or self.full_name(model_id)

    def betas(self, of_model: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """As `anthropic_beta`, for a model. of_model: its own patterns, which those of the file replace where there are any; None: the
        API of the model has none.
        """
        return self.anthropic_beta if of_model is None or (of_model and self.own_betas) else of_model

    def with_key(self, key: str) -> Provider:
        """The same with another key."""
        families = tuple((family, replace(other, access_key=key)) for family, other in self.families)
        return replace(self, access_key=key, families=families)


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
    allow_from: Networks = ()  # where the key may be used; empty: everywhere


@dataclass(frozen=True, slots=True)
class Oidc:
    """An identity provider that says who may use the admin listener. claim: of the ID token, whose value or values are compared."""

    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    claim: str = "email"
    admins: tuple[str, ...] = ()  # values of the claim; `*` is everybody
    viewers: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    redirect_url: str | None = None  # None: of the host that the browser asks


@dataclass(frozen=True, slots=True)
class ControlAdmin:
    """Who may use the admin listener. password_sha256: a hash in one of the forms of proxy/control/passwords.py."""

    password: str | None = field(default=None, repr=False)
    password_sha256: str | None = field(default=None, repr=False)
    oidc: Oidc | None = None
    metrics_token: str | None = field(default=None, repr=False)  # None: /metrics is open
    session: float = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Control:
    """Keys, teams, budgets, usage and audit at run time. folder: of the keys known last, and of usage that is not in the store yet."""

    store: Literal["sqlite", "postgres"]
    folder: str
    path: str | None = None
    connection_string: str | None = field(default=None, repr=False)
    retention: float = 90 * 86400.0  # of usage rows; their sums by hour and day stay
    spool: int = 256 * 1024 * 1024  # bytes of usage that is not in the store yet, per worker
    admin: ControlAdmin = ControlAdmin()


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
    """Of streams. stream: time without a byte to the caller before a keep-alive is sent. begin_after: before the head is sent.

    progress: without anything but keep-alives, before callers of the Responses API are sent an event.
    """

    stream: float = 15.0
    begin_after: float = 20.0
    progress: float = 60.0


@dataclass(frozen=True, slots=True)
class WebSocket:
    """The Responses API over WebSockets; all but `max_connections` and `memory_total`, which are per worker, of one connection."""

    enabled: bool = True
    origins: tuple[str, ...] = ()  # of web pages that may connect, besides those of the gateway's own origin
    max_message: int | None = None  # None: as limits.max_body
    max_connections: int = 1000
    max_age: float = 3600.0
    idle: float = 600.0
    ping: float = 20.0
    lanes: int = 32
    in_flight: int = 16
    queued: int = 64
    memory: int = 32 * 1024 * 1024
    memory_total: int = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Compaction:
    """How a model is asked to sum up a conversation.

    automatic: also where a request's `context_management` asks for it. max_output: tokens that it may write for that. seal_key: what
    encrypts the summary; the second key only decrypts.
    """

    automatic: bool = False
    prompt: str = PROMPT
    max_output: int = 16_384
    seal_key: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Tracing:
    otlp_endpoint: str | None = None
    random_sampling: float = 100.0  # percent
    header_prefixes: tuple[str, ...] = ()  # request headers that become span attributes


@dataclass(frozen=True, slots=True)
class Routing:
    """Which of several candidates of a model is tried first.

    balance: None: by weight where an entry of the model has one, else in the order of the file. hedge_after: seconds without content after
    which another candidate is asked too; 0: never.
    """

    affinity: Literal["auto", "off"] = "auto"
    balance: Literal["order", "weight", "latency", "least_busy"] | None = None
    hedge_after: float = 0.0


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
    service_tiers: tuple[tuple[str, Price], ...] = ()  # of answers of these tiers, instead


@dataclass(frozen=True, slots=True)
class Cors:
    """origins: of the web pages that may use the gateway, as browsers write them; or `*`. max_age: of a preflight's answer."""

    origins: tuple[str, ...] = ()
    max_age: float = 600.0


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token that say who its holder is: a claim's name, or a path of names with dots. None: nothing is read.

    models: a list, or text with blanks between the patterns.
    """

    name: str = "sub"
    team: str | None = None
    user: str | None = "sub"
    models: str | None = None


@dataclass(frozen=True, slots=True)
class Jwt:
    """Callers with tokens of an identity provider. jwks_url: None: as the issuer's discovery document says."""

    issuer: str
    audience: tuple[str, ...]
    jwks_url: str | None = None
    claims: Claims = Claims()


@dataclass(frozen=True, slots=True)
class Hook:
    """One HTTP call for each request, each answer, or both. content: with their bodies."""

    url: str = field(repr=False)  # its query may hold a secret
    on: tuple[str, ...]
    timeout: float = 2.0
    fail: Literal["open", "closed"] = "open"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    content: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    model_providers: tuple[Provider, ...]
    listeners: tuple[Listener, ...] = (Listener(),)
    model_aliases: Mapping[str, str] = field(default_factory=dict)  # target by alias
    state_storage: StateStorage = StateStorage()
    access_keys: tuple[AccessKey, ...] = ()  # empty and no control: every caller is admitted
    control: Control | None = None
    limits: Limits = Limits()
    drain: Drain = Drain()
    keep_alive: KeepAlive = KeepAlive()
    compaction: Compaction = Compaction()
    websocket: WebSocket = WebSocket()
    egress: Egress = Egress()
    tracing: Tracing = Tracing()
    responses: Responses = Responses()
    routing: Routing = Routing()
    prices: tuple[Price, ...] = ()  # the first match applies
    trusted_proxies: Networks = ()  # whose X-Forwarded-For and X-Forwarded-Proto are believed
    allow_from: Networks = ()  # of whom is served; empty: everybody
    cors: Cors = Cors()
    jwt: Jwt | None = None
    hooks: tuple[Hook, ...] = ()
    version: str | None = None
    warnings: tuple[str, ...] = ()
