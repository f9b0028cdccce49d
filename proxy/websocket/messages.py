"""The messages of the Responses API over a WebSocket: what a caller's say, and those that are not events of an answer.

A `response.create` holds a request's body and a few members of its own. These are cut out of the bytes, and what is left is the body:
the other bytes stay as they came, so that prompt caches and numbers do not change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...codecs import errors, jsontext, splice
from ...codecs.anything import object_of, str_of
from ...codecs.sse import safe_json
from ..wire import headers as travel

CREATE, STEER = "response.create", "response.steer"

# `type` as the first member, where nearly every caller writes it: finding it among those of all items would take as long as parsing
_FIRST = re.compile(rb'[ \t\n\r]*+\{[ \t\n\r]*+"type"[ \t\n\r]*+:[ \t\n\r]*+"[a-z.]*+"[ \t\n\r]*+,')
_STREAM_ID = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_OWN = ("type", "stream_id", "generate", "stream_options", "background_options")  # members that are no part of a request's body
_HEADER = "ws_request_header_"
_AS_HEADERS = ("x-codex-turn-metadata", "x-codex-window-id")  # members of client_metadata that have a header's name
_LONGEST_HEADER = 16 * 1024  # characters


class Create(NamedTuple):
    """body: of the request. scan: of that, if it is at hand.

    prepares: no model is asked. previous: `previous_response_id`. headers: of this request alone.
    """

    body: bytes
    scan: splice.Scan | None
    prepares: bool
    previous: Any
    headers: dict[str, str]


class Limit(errors.ClientFault):
    """A limit of the connection."""


def stream_id(value: dict[str, Any]) -> str | None:
    """The name of a message's lane; None for the default lane. Raises ClientFault."""
    name = value.get("stream_id")
    if name is not None and not (isinstance(name, str) and _STREAM_ID.fullmatch(name)):
        message = "`stream_id` must be 1 to 256 characters of A-Z, a-z, 0-9, `_`, `-` and `.`."
        raise Limit(message, code="invalid_stream_id", param="stream_id")
    return name


def lane(data: bytes) -> tuple[str | None, Any]:
    """The `stream_id` and the `previous_response_id` of a message that is refused in any case; None for what it has not."""
    try:
        value = jsontext.loads(data)
        return (stream_id(value), value.get("previous_response_id")) if isinstance(value, dict) else (None, None)
    except (ValueError, Limit):
        return None, None


def kind(value: dict[str, Any]) -> str:
    """CREATE or STEER. Raises ClientFault for a message of another type."""
    message_type = value.get("type")
    if message_type is None:
        raise errors.Missing(f"`type` is required: `{CREATE}`.", param="type")
    if message_type not in (CREATE, STEER):
        raise errors.ClientFault(f"Messages of type {str(message_type)[:64]!r} are not supported.", code="invalid_value", param="type")
    return str(message_type)


def create(data: bytes, scan: splice.Scan) -> Create:
    """A `response.create`. Raises ClientFault."""
    value = scan.value
    if value.get("background"):
        raise errors.Unsupported("`background` is not supported over a WebSocket.", param="background")
    generate, options = value.get("generate"), value.get("prompt_cache_options")
    if not isinstance(generate, bool | None):
        raise errors.WrongType("`generate` must be a boolean.", param="generate")
    prewarm = isinstance(options, dict) and options.get("prewarm") is True
    rest = {key: inner for key, inner in value.items() if key not in _OWN}
    body_scan = None
    first = _FIRST.match(data)
    if first is not None and scan.stream is True and len(rest) == len(value) - 1:  # as agents write it: nothing else is to be cut out
        body = b"".join((b"{", memoryview(data)[first.end() :]))
        body_scan = _moved(scan, rest, 1 - first.end())
    else:
        body = splice.without(data if first is None else b"{" + data[first.end() :], value, _OWN if first is None else _OWN[1:])
        if scan.stream is not True:
            body = splice.ask_stream(body, splice.Scan(rest, None, None, None))
    return Create(body, body_scan, generate is False or prewarm, value.get("previous_response_id"), _headers(value.get("client_metadata")))


def _moved(scan: splice.Scan, value: dict[str, Any], by: int) -> splice.Scan:
    """A body's scan, whose members stand as many bytes further on in another one. value: the members."""
    model = None if scan.model_span is None else (scan.model_span[0] + by, scan.model_span[1] + by)
    return splice.Scan(value, scan.model, model, scan.stream, None if scan.stream_at is None else scan.stream_at + by)


def _headers(metadata: Any) -> dict[str, str]:
    """The headers that a message brings in its `client_metadata`, as far as they may travel to an upstream."""
    headers = {}
    for name, value in metadata.items() if isinstance(metadata, dict) else ():
        header = name[len(_HEADER) :].replace("_", "-").lower() if name.startswith(_HEADER) else name
        if (header is not name or name in _AS_HEADERS) and _is_value(value) and travel.travels_up(header):
            headers[header] = value
    return headers


def _is_value(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_HEADER and value.isascii() and value.isprintable()


# ---- to the caller ----


_FORWARDED = ("retry-after", "x-request-id")
_BUDGET = "x-codex-primary-"  # headers of the gateway's own, codecs/limits.py


def error(status: int, body: bytes, headers: Mapping[str, str], stream_id: str | None) -> bytes:
    """An error before a response exists. body: of the HTTP answer that would have been; an upstream's own may be anything."""
    value = object_of(body)
    inner = value.get("error", value)
    if not isinstance(inner, dict):
        inner = {"message": inner} if isinstance(inner, str) else {}
    details = {
        "type": str_of(inner, "type") or ("server_error" if status >= 500 else "invalid_request_error"),
        "code": inner.get("code"),
        "message": str_of(inner, "message") or f"The upstream answered with status {status}.",
        "param": inner.get("param"),
    }
    event: dict[str, Any] = {"type": "error", "status": status, "error": details}
    if "resets_at" in inner:
        details["resets_at"] = inner["resets_at"]  # of a budget: by this Codex tells its user
    forwarded = {name: value for name, value in headers.items() if name in _FORWARDED or name.startswith(_BUDGET)}
    if forwarded:
        event["headers"] = forwarded
    return safe_json(event if stream_id is None else event | {"stream_id": stream_id})


def not_steered(value: dict[str, Any]) -> bytes:
    """The answer to a `response.steer`."""
    details = {
        "code": "steering_not_supported",
        "message": "A response cannot be steered here: send the input with the next `response.create`.",
        "type": "invalid_request_error",
    }
    steer = {key: value.get(key) for key in ("previous_response_id", "input")}
    return safe_json({"type": "response.steer.failed", "sequence_number": 0, "error": details, "steer": steer})
