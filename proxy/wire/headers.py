"""Allow-lists of the headers that are forwarded between caller and upstream; all others are dropped.

Credentials and cookies are on no list; Candidate.headers (routing) sets the credential for the upstream. Names are lower-case.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from time import time
from urllib.parse import unquote_plus

from tornado.httputil import HTTPHeaders, HTTPServerRequest

from ...codecs.registry import SHAPES, USUAL

# to an upstream of the caller's shape: identification by SDKs and coding agents, and headers that select features
_UP = re.compile(
    r"(?:anthropic-(?:version|beta|dangerous-direct-browser-access)|openai-beta|x-stainless-[a-z-]+|user-agent|x-app|originator"
    r"|x-client-request-id|x-claude-code-[a-z-]+|x-codex-[a-z-]+|x-openai-[a-z-]+|x-responsesapi-include-timing-metrics|version"
    r"|openresponses-version|session[-_]id|thread[-_]id"
    r"|conversation[-_]id|x-session-(?:id|affinity)|x-affinity|x-initiator|x-interaction-type|idempotency-key|accept-language"
    r"|traceparent|tracestate|x-goog-api-client|x-goog-request-params|x-server-timeout|x-vertex-ai-llm-(?:shared-)?request-type)"
)
# to such an upstream, but only with the caller's own credential: they name something of the account
_OF_ACCOUNT = ("anthropic-workspace-id", "anthropic-user-profile-id", "anthropic-use-case-id")
_UP_WITH_CREDENTIAL = frozenset({"openai-organization", "openai-project", "x-oai-attestation", "x-goog-user-project", *_OF_ACCOUNT})

# reported where they are not forwarded: each changes what is answered, or whose it is
REPEATS = "idempotency-key"
_REPORTED = ("anthropic-beta", REPEATS, *_OF_ACCOUNT)
_AS_HEADERS = frozenset(name.title() for name in _REPORTED)

# to a caller of the upstream's shape
_DOWN = re.compile(
    r"(?:retry-after(?:-ms)?|x-should-retry|x-ratelimit-[a-z-]+|anthropic-(?!organization)[a-z-]+|openai-(?:processing-ms|version|model)"
    r"|content-(?:disposition|range)|accept-ranges|x-codex-[a-z-]+|x-models-etag|x-reasoning-included|x-dragoman-estimate"
    r"|x-gemini-service-tier|x-goog-upload-[a-z-]+)"
)
# of these, the ones that tell how much the account behind the credential has left
_USE_OF_ACCOUNT = re.compile(
    r"(?:x-ratelimit|anthropic-(?:ratelimit|priority|fast))-[a-z-]+|x-codex-(?!turn-state|safety-|websocket-)[a-z-]+"
)

_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")  # of X-Server-Timeout, which Google's SDKs send

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_REGION = re.compile(r"[A-Za-z0-9 ._-]{1,64}")

# of every event stream to a caller
SSE_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


# of a request: which conversation it belongs to, the gateway's own header first, then those of coding agents and SDKs
SESSIONS = (
    "X-Dragoman-Session",
    "X-Claude-Code-Session-Id",
    "Session-Id",
    "Session_id",
    "Thread-Id",
    "Thread_id",
    "Conversation-Id",
    "Conversation_id",
    "X-Session-Id",
    "X-Session-Affinity",
    "X-Affinity",
)

KEY = "X-Dragoman-Key"  # the gateway's key, where the other headers have what a provider is sent

_LONGEST = 128  # characters; longer names are dropped before they reach the caches


@lru_cache(1024)
def _upwards(name: str) -> tuple[str, bool, bool]:
    """The name in lower case, whether it is forwarded, and whether only with the caller's own credential."""
    lower = name.lower()
    return lower, _UP.fullmatch(lower) is not None, lower in _UP_WITH_CREDENTIAL


@lru_cache(1024)
def _downwards(name: str) -> tuple[str, bool] | None:
    """The name in lower case if it is forwarded to the caller, and whether only where the account is the caller's; else None."""
    lower = name.lower()
    return (lower, _USE_OF_ACCOUNT.fullmatch(lower) is not None) if _DOWN.fullmatch(lower) else None


def without_beta(headers: HTTPHeaders, name: str) -> HTTPHeaders:
    """The headers without what `OpenAI-Beta` says of one feature, which ends here. name: of the feature, without its version."""
    value = headers.get("OpenAI-Beta")
    if value is None or name not in value:
        return headers
    copy = headers.copy()
    others = [one for one in value.split(",") if one.strip().partition("=")[0] != name]
    del copy["OpenAI-Beta"]
    if others:
        copy["OpenAI-Beta"] = ",".join(others).strip()
    return copy


def travels_up(name: str) -> bool:
    """Whether a caller's header of this name is forwarded to an upstream whosever credential that gets."""
    return len(name) <= _LONGEST and _upwards(name)[1]


def forwarded_up(headers: Iterable[tuple[str, str]], *, own_credential: bool) -> dict[str, str]:
    """The caller's headers to forward to an upstream of the same shape; repeated ones are joined with commas."""
    forwarded: dict[str, str] = {}
    for name, value in headers:
        if len(name) > _LONGEST:
            continue
        lower, plain, credential = _upwards(name)
        if plain or (own_credential and credential):
            forwarded[lower] = f"{forwarded[lower]}, {value}" if lower in forwarded else value
    return forwarded


def asked_of_objects(headers: Mapping[str, str]) -> dict[str, str]:
    """Of a request for something stored, what says which form or which part of it is wanted. headers: HTTPHeaders."""
    fields = {name.lower(): headers[name] for name in ("Accept", "Range", "If-Range") if name in headers}
    return fields | {name.lower(): value for name, value in headers.items() if name.startswith("X-Goog-Upload-")}


def left_out(headers: Mapping[str, str], *, same_shape: bool, own_credential: bool) -> list[str]:
    """The caller's headers that would have changed the answer and are not forwarded. headers: HTTPHeaders."""
    if _AS_HEADERS.isdisjoint(headers):  # the usual case
        return []
    return [name for name in _REPORTED if name in headers and not (same_shape and (own_credential or name not in _OF_ACCOUNT))]


def forwarded_down(headers: Iterable[tuple[str, str]], *, account: bool) -> dict[str, str]:
    """An upstream's headers to forward to a caller of the same shape; repeated ones are joined with commas.

    account: also what is left of the account that answered.
    """
    forwarded: dict[str, str] = {}
    for name, value in headers:
        known = _downwards(name) if len(name) <= _LONGEST else None
        if known is not None and (account or not known[1]):
            lower = known[0]
            forwarded[lower] = f"{forwarded[lower]},{value}" if lower in forwarded else value
    return forwarded


_IDS = ("request-id", "x-request-id", "x-amzn-requestid", "apim-request-id", "x-ms-request-id")


def upstream_request_id(headers: Mapping[str, str]) -> str | None:
    for name in _IDS:
        if value := headers.get(name):
            return plain_id(value)
    return None


def plain_id(value: str | None) -> str | None:
    """An upstream's id, if it can stand in a header and in the log."""
    return value if value and _REQUEST_ID.fullmatch(value) else None


def region(headers: Mapping[str, str]) -> str:
    """Where an upstream has answered, as Azure says it; "" if nothing does."""
    value = headers.get("x-ms-region")
    return value if value and _REGION.fullmatch(value) else ""


_chance = bytearray()  # random bytes in stock


def nonce(size: int) -> str:
    """`size` random bytes as hex digits, like secrets.token_hex but without a system call for each."""
    if len(_chance) < size:
        _chance.extend(os.urandom(4096))
    taken = _chance[-size:].hex()
    del _chance[-size:]
    return taken


os.register_at_fork(after_in_child=_chance.clear)  # else parent and child would return the same bytes


def request_id(proposed: str | None, nonce: str) -> str:
    """The caller's request id if it is well-formed, else a new one. nonce: random hex digits.

    New ones are in the order of time, so that an index of them grows at its end, which costs a quarter of what random ones do.
    """
    return proposed if proposed and _REQUEST_ID.fullmatch(proposed) else f"req_{int(time() * 1000):011x}{nonce[:13]}"


def key(headers: Mapping[str, str], shape: str) -> str | None:
    """What admits the caller: the gateway's key in its own header, else the credential."""
    return keys(headers, shape)[0]


def keys(headers: Mapping[str, str], shape: str) -> tuple[str | None, str | None]:
    """What admits the caller, and its credential."""
    own = credential(headers, shape)
    return headers.get(KEY, "").strip() or own, own


def credential(headers: Mapping[str, str], shape: str) -> str | None:
    """The caller's credential, from the first of the shape's headers that has one; an unknown shape uses the usual shape's headers."""
    for name in SHAPES.get(shape, USUAL).credentials:
        value = headers.get(name)
        if value is None:
            continue
        if name == "authorization":
            value = value[7:] if value[:7].lower() == "bearer " else ""
        if value := value.strip():
            return value
    return None


def take_credential(request: HTTPServerRequest, secrets: tuple[str, ...]) -> None:
    """Remove these members of the query, and KEY; the first and KEY become headers, unless there are such, or they could be none.

    secrets: names. Done before anything else reads the request, so that the query can be logged and forwarded.
    """
    secrets = (*secrets, KEY.lower())
    pieces = request.query.split("&")
    members = [(unquote_plus(piece.partition("=")[0]), piece) for piece in pieces]
    if not any(name in secrets for name, _ in members):
        return
    request.query = "&".join(piece for name, piece in members if name not in secrets)
    request.uri = request.path + (f"?{request.query}" if request.query else "")
    for name in secrets:
        request.arguments.pop(name, None)
        request.query_arguments.pop(name, None)
    values = {name: unquote_plus(piece.partition("=")[2]) for name, piece in reversed(members)}
    places = ((secrets[0], "X-Goog-Api-Key", credential(request.headers, "")), (secrets[-1], KEY, request.headers.get(KEY, "").strip()))
    for name, header, present in places:
        value = values.get(name, "")
        if value and _is_value(value) and not present:
            request.headers[header] = value


def _is_value(text: str) -> bool:
    """Whether a text can be a header's value."""
    return text.isprintable() and max(text) <= "\xff"


def timeout(headers: Mapping[str, str], most: float | None) -> float | None:
    """Seconds that the whole request may take: what its SDK waits for, at most the listener's. most: None for any."""
    asked = headers.get("X-Server-Timeout")
    if asked is None or not _SECONDS.fullmatch(asked) or not float(asked):
        return most
    return float(asked) if most is None else min(float(asked), most)


def is_loopback(host: str) -> bool:
    """Whether an address or a name means this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
