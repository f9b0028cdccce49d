"""One upstream that can serve a request: how it is called, and what is shown of it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from ...codecs.betas import Betas
from ...codecs.capabilities import Capabilities
from ...codecs.carrier import Carrier
from ...codecs.errors import NoCredential, Unconfigured
from ...codecs.registry import UPSTREAMS
from ...codecs.rules import Rule, for_carried
from ...codecs.shape import Shape
from ...conf.model import Edits, Price, Provider
from ..credentials.credential import Credential, Fault
from ..credentials.source import Source
from .apis import HAS_TOOLS


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One upstream that can serve a request, and how to call it. Compared and hashed by identity, which is fast."""

    provider: Provider
    model: str  # the upstream's name of the model
    shape: str  # the upstream's shape, a name in codecs.registry
    url: str  # for a response that is not streamed
    capabilities: Capabilities
    reason: str
    echo: str | None = None  # the `model` that the caller's response shows; None leaves the upstream's
    price: Price | None = None
    context: ssl.SSLContext | None = None  # of TLS to it, if it has certificates of its own
    source: Source | None = field(default=None, repr=False)  # of a credential that ends; the entry's `way`
    stores: tuple[str, ...] = ()  # collections of objects that it is known to have; only of accounts()
    others: tuple[Candidate, ...] = ()  # the same upstream and model over its other APIs, in order
    seed: bytes = b""  # of this upstream and model, alike in every process and after a reload
    carrier: Carrier | None = None  # how the API travels there, if not as at its own vendor
    # derived once, as every request reads them several times
    name: str = field(init=False)  # `provider/model`, for headers, logs and metrics
    speaks: Shape = field(init=False, repr=False)  # the upstream's shape
    rules: tuple[Rule[Any], ...] = field(init=False, repr=False)  # for bodies of its own API; most upstreams have none
    walks: bool = field(init=False, repr=False)  # whether to find what it refuses of a body takes long
    betas: Betas | None = field(init=False, repr=False)  # the values of `anthropic-beta` that it takes; None: all

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.provider.provider}/{self.model}")
        object.__setattr__(self, "speaks", UPSTREAMS[self.shape])
        object.__setattr__(self, "rules", for_carried(self.speaks.rules, self.capabilities))
        object.__setattr__(self, "walks", any(rule.walks for rule in self.rules))
        betas = self.provider.betas(self.capabilities.v_betas if self.speaks.betas_at else None)
        object.__setattr__(self, "betas", None if betas is None else Betas(betas))

    @property
    def called(self) -> str:
        """For messages: `name`, after the entry's configured name if it has one, which distinguishes two entries of one model."""
        entry = self.provider
        return self.name if entry.name in (entry.model, self.name) else f"{entry.name} ({self.name})"

    @property
    def base_url(self) -> str:
        """The prefix of all URLs of this upstream's API."""
        return self.speaks.base(self.provider.base_url)

    def endpoint(self, stream: bool, query: str, capabilities: Capabilities | None = None) -> str:
        """The URL of a request. query: the caller's, with its question mark, or "". capabilities: as far as they are learned."""
        if self.carrier is not None:
            return self.carrier.url(self.base_url, self.model, stream, (capabilities or self.capabilities).at_detour) + self._query("")
        return self.speaks.endpoint(self.provider.base_url, self.model, stream, self._query(query))

    def beside(self, path: str, query: str = "", *, of_model: bool = False) -> str:
        """The URL of another path than the API's own. query: the caller's. of_model: the upstream may have the model in the path."""
        before = self.carrier.beside.replace("{model}", quote(self.model, safe="")) if of_model and self.carrier is not None else ""
        return self.speaks.join(self.base_url + before, path) + self._query(query)

    def _query(self, query: str) -> str:
        """A caller's query with the entry's own in the place of what is its to say."""
        own = self.provider.query
        if own is None:
            return query
        rest = [pair for pair in query[1:].split("&") if pair and unquote(pair.partition("=")[0]).lower() != "api-version"]
        merged = "&".join([own, *rest] if own else rest)
        return f"?{merged}" if merged else ""

    @property
    def domain(self) -> str:
        """The domain in which opaque reasoning from this upstream can be sent back."""
        return self.capabilities.reasoning_domain or self.provider.provider

    @property
    def built_in(self) -> bool:
        """Whether the gateway itself answers (the demo models), without an upstream."""
        return self.provider.interface == "demo"

    @property
    def acts(self) -> bool:
        """Whether what the operator makes of each request has effects at the upstream (`request`). Where `store` is removed responses are
        stored.
        """
        edits = self.provider.edits
        return edits is not None and (edits.acts or (self.speaks.stateful and "store" in edits.remove))

    def amended(self, body: dict[str, Any]) -> dict[str, Any]:
        """A body with the members that the operator sets as a whole, to tell what the upstream will make of it."""
        return body if self.provider.edits is None else {**body, **dict(self.provider.edits.set)}

    async def grant(self) -> Credential | None:
        """The credential of `source` to send, None without a source; waits only when there is no good one.

        Raises Unconfigured when there is none to be had, NoCredential when it could not be got.
        """
        if self.source is None:
            return None
        credential = self.source.ready()
        if credential is not None:
            return credential
        try:
            return await self.source.fresh()
        except Fault as fault:
            kind = Unconfigured if fault.missing else NoCredential
            message = f"The gateway has no credential for {self.provider.name}: {fault.message}."
            raise kind(message, should_retry=fault.passing) from None

    def headers(self, credential: str | None = None, granted: Credential | None = None) -> dict[str, str]:
        """The configured headers and the credential to send, by lower-case name, in a new dict.

        credential: the caller's, sent only to a provider with `passthrough_auth`. granted: by `source`. Raises Unconfigured when the
        provider's key is not in the environment.
        """
        provider = self.provider
        key = credential if provider.passthrough_auth else provider.access_key
        if key:
            headers = dict(_authorization(provider, self.speaks, key))
        elif granted is not None:
            headers = granted.headers
        elif provider.access_key_missing and not provider.passthrough_auth:
            raise Unconfigured(
                f"The gateway has no credential for {provider.name}: {provider.access_key_missing} is not set in its environment."
            )
        else:
            headers = {}
        if provider.http_host:
            headers["host"] = provider.http_host
        headers.update((name.lower(), value) for name, value in provider.headers)
        return headers

    def without_removed(self, headers: dict[str, str]) -> dict[str, str]:
        """Remove the headers that the operator wants removed (`request.headers.remove`). Changes `headers`, and returns it."""
        edits = self.provider.edits
        for name in () if edits is None else edits.remove_headers:
            headers.pop(name, None)
        return headers


_OF_ONE_API = ("x-api-key", "x-goog-api-key")  # the other APIs of such a provider take bearer tokens


def _authorization(provider: Provider, shape: Shape, key: str) -> list[tuple[str, str]]:
    form = provider.auth
    if form == "both-keys":
        return [("x-api-key", key), ("api-key", key)]
    if form in _OF_ONE_API and (form != shape.key_header or (shape.bearer_prefix and key.startswith(shape.bearer_prefix))):
        form = "bearer"
    return [("authorization", f"Bearer {key}") if form == "bearer" else (form, key)]


def described(candidate: Candidate, *, shared: bool = False) -> str:
    """A candidate as text: its name, API, URL, reason, and whether its key is set."""
    share = f" (weight {candidate.provider.weight or 1})" if shared else ""
    parts = [f"{candidate.speaks.api} {address(candidate.provider, candidate.url)}", candidate.reason, key_state(candidate.provider)]
    if (patience := candidate.provider.timeouts.first_content) is not None:
        parts.append(f"the next one takes over without content for {patience:g} s")
    if candidate.provider.edits is not None:
        parts.append(_edits(candidate.provider.edits))
    if candidate.others and candidate.speaks.refuses(HAS_TOOLS, candidate.capabilities, False):
        other = candidate.others[0]
        parts.append(f"tools beside reasoning go to {other.speaks.api} {other.url}, since the model refuses them here")
    return f"{candidate.called}{share}: {'; '.join(parts)}"


def _edits(edits: Edits) -> str:
    """The operator's changes of a request, without the values."""
    changes = {"sets": [path for path, _ in edits.set], "removes": edits.remove, "removes the headers": sorted(edits.remove_headers)}
    return "request " + ", ".join(f"{verb} {' '.join(names)}" for verb, names in changes.items() if names)


def address(provider: Provider, url: str) -> str:
    """A URL, and the proxy on the way to it."""
    return url if provider.proxy is None else f"{url} via {provider.proxy}"


def key_state(provider: Provider) -> str:
    """Whether there is a credential, and whose."""
    if provider.passthrough_auth:
        return "caller's key"
    if provider.way is not None:
        return provider.way.text
    if provider.access_key_missing:
        return f"key not set (${provider.access_key_missing})"
    return "key set" if provider.access_key else "no key"
