"""What an operator may see of an exchange: its form always, its content only when switched on, credentials never.

Everything is by allow-list: headers and JSON strings that are known to belong to the protocol are shown; of anything else only the
size is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import orjson

from ...codecs import jsontext

LONGEST = 32 * 1024  # characters of a text that are shown
CREDENTIAL = "‹credential›"

_HEADERS = re.compile(
    r"accept|accept-encoding|accept-language|cache-control|connection|content-(?:encoding|length|type)|date|server|server-timing|via|vary"
    r"|host|user-agent|transfer-encoding|traceparent|retry-after(?:-ms)?|x-should-retry|(?:x-)?request-id|x-accel-buffering|x-app|originator"
    r"|anthropic-(?:version|beta|dangerous-direct-browser-access|ratelimit-[a-z-]+)|openai-(?:beta|version|processing-ms|model)"
    r"|x-ratelimit-[a-z-]+|x-goog-api-client|x-server-timeout|x-stainless-[a-z-]+|x-dragoman-[a-z-]+|x-envoy-upstream-service-time|cf-ray|cf-cache-status",
    re.IGNORECASE,
)

_SIGNATURE = re.compile(r"(AWS4-HMAC-SHA256 Credential=)\w{1,128}(/\d{8}/[a-z0-9-]{1,64}/[a-z0-9-]{1,64}/aws4_request), ")

# JSON members whose strings belong to the protocol, if they match _NAME
_NAMES = frozenset(
    {
        "call_id",
        "code",
        "detail",
        "display",
        "effort",
        "blockReason",
        "event",
        "finishReason",
        "finish_reason",
        "form",
        "format",
        "id",
        "index",
        "item_id",
        "kind",
        "media_type",
        "mimeType",
        "mode",
        "model",
        "modelVersion",
        "name",
        "namespace",
        "native_finish_reason",
        "object",
        "param",
        "phase",
        "previous_response_id",
        "reason",
        "request_id",
        "responseId",
        "response_id",
        "role",
        "serviceTier",
        "service_tier",
        "status",
        "stop_reason",
        "stop_sequence",
        "thinkingLevel",
        "tier",
        "tool_call_id",
        "tool_choice",
        "tool_use_id",
        "truncation",
        "ttl",
        "type",
    }
)
_NAME = re.compile(r"[\w.:/@+~-]{1,96}")
# strings in an error are shown
_ERRORS = frozenset({"error", "incomplete_details"})
# objects whose keys are content
_CLOSED = frozenset({
    *("metadata", "input", "arguments", "properties", "schema", "input_schema", "parameters", "user_location", "output"),
    *("args", "response", "parametersJsonSchema", "responseJsonSchema", "responseSchema", "labels"),
})  # fmt: skip


def headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by lower-case name; values of headers that are not known to be harmless are replaced by their length.

    Of a signature what it holds for is shown, as AWS's errors are about that: the day, the region, the service.
    """
    return {name.lower(): value if _HEADERS.fullmatch(name) else _scope(value) or _hidden(value) for name, value in pairs}


def _scope(value: str) -> str:
    scope = _SIGNATURE.match(value)
    return f"{scope[1]}{CREDENTIAL}{scope[2]}" if scope else ""


def target(url: str) -> str:
    """A URL or path without user information and without the values of its query."""
    parts = urlsplit(url)
    names = [piece.partition("=")[0] for piece in parts.query.split("&") if piece]
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else parts.path
    return place + ("?" + "&".join(f"{name}=…" for name in names) if names else "")


def body(data: bytes, content: bool, secrets: Iterable[str] = ()) -> str:
    """The text of a body or an event. content: whether to show it; otherwise only its form is shown, and of what is not JSON the size.

    secrets: credentials that are replaced in the result.
    """
    if not data:
        return ""
    if content:
        return _without(cut(data.decode("utf-8", "replace")), secrets)
    try:
        value = jsontext.loads(data)
    except ValueError:
        text = data.decode("utf-8", "replace")
        return text if text.strip() == "[DONE]" else f"‹{len(data)} bytes›"
    return _without(cut(form(value)), secrets)


def form(value: Any) -> str:
    """JSON of a value without its content."""
    return text(bare(value))


def text(value: Any) -> str:
    """JSON of a value."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:
        return jsontext.dumps(value).decode()  # for lone surrogates


def sound(name: str) -> str:
    """A caller's string without lone surrogates, which JSON in UTF-8 cannot represent."""
    return name.encode("utf-8", "replace").decode()


def bare(value: Any, key: str = "", in_error: bool = False) -> Any:
    """A value without its content. key: the member that holds it. in_error: it is part of an error, whose strings are shown."""
    if isinstance(value, str):
        return value if in_error or (key in _NAMES and _NAME.fullmatch(value)) else _hidden(value)
    if isinstance(value, dict):
        if key in _CLOSED and value:
            return f"‹{len(value)} members›"
        in_error = in_error or key in _ERRORS
        return {name: bare(inner, name, in_error) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [bare(inner, key, in_error) for inner in value]
    return value


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ‹{len(text) - LONGEST} more characters›"


def _hidden(value: str) -> str:
    return f"‹{len(value)}›" if value else ""


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, CREDENTIAL)
    return text
