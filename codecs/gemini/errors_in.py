"""Decode a gemini upstream's error answer, or the same object inside a stream.

The form is {"error": {"code", "message", "status", "details"}}, sometimes in a list of one element. Within a stream `code` may be
missing. Other forms, of proxies before the upstream, are read as for every shape.
Source: google.rpc.Code and google.rpc error_details; section "Errors" of Google's guide; recorded errors.
"""

from __future__ import annotations

import re
from math import ceil
from typing import Any

from .. import jsontext
from ..anything import dicts_of, str_of
from ..chat import errors_in
from ..errors import Answered

# google.rpc.Code: the word of `status` -> the kind
_WORDS = {
    **dict.fromkeys(("INVALID_ARGUMENT", "OUT_OF_RANGE"), "bad_request"),
    **dict.fromkeys(("FAILED_PRECONDITION", "PERMISSION_DENIED"), "permission"),
    **dict.fromkeys(("ALREADY_EXISTS", "ABORTED"), "conflict"),
    **dict.fromkeys(("INTERNAL", "UNKNOWN", "DATA_LOSS"), "server"),
    **dict.fromkeys(("DEADLINE_EXCEEDED", "CANCELLED"), "timeout"),
    "UNAUTHENTICATED": "auth",
    "NOT_FOUND": "not_found",
    "RESOURCE_EXHAUSTED": "rate_limit",
    "UNIMPLEMENTED": "bad_gateway",
    "UNAVAILABLE": "overloaded",
}
_CODES = {
    401: "auth",
    402: "billing",
    403: "permission",
    404: "not_found",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    429: "rate_limit",
    499: "timeout",
    500: "server",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
# ErrorInfo.reason, which is more specific
_REASONS = {
    "API_KEY_INVALID": "auth",
    "ACCESS_TOKEN_EXPIRED": "auth",
    "BILLING_DISABLED": "billing",
}
_NO_KEY = "API key not valid"
_TOO_LONG = re.compile(r"input token count .{0,40}exceeds|exceeds the maximum number of (?:input )?tokens", re.IGNORECASE)
_WAIT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")
_WAIT_IN_WORDS = re.compile(r"retry in ([0-9]{1,9}(?:\.[0-9]{1,9})?)s", re.IGNORECASE)
_UNKNOWN_NAME = re.compile(r"""Unknown name "(\w{1,64})"(?: at '([\w.\[\]]{1,256})')?""")
_LONGEST_SCAN = 20_000


def decode_error(status: int, body: bytes, content_type: str = "") -> Answered:
    """Decode an error answer. status: of HTTP. body: raw bytes. content_type: the header's value, "" if absent."""
    body = body.strip().removeprefix(b"data:")  # a stream's, which did not begin
    try:
        value = jsontext.loads(body)
    except ValueError:
        value = None
    value = _alone(value)
    if isinstance(value, dict) and isinstance(value.get("error"), dict):
        return error_of(value, status)
    return errors_in.decode_error(status, body, content_type)


def is_error(value: dict[str, Any]) -> bool:
    """Whether a frame or body is an error rather than an answer."""
    return isinstance(value.get("error"), dict | str) and bool(value["error"])


def error_of(value: dict[str, Any], status: int | None = None) -> Answered:
    """Decode the error in a JSON object. status: of HTTP; None inside a stream."""
    error = value.get("error")
    if not isinstance(error, dict):
        return errors_in.error_of(value, status)
    message = str_of(error, "message")
    details = dicts_of(error, "details")
    kind = _kind(error, message, details, status)
    if kind is None:
        return errors_in.error_of(value, status)
    return Answered(
        message or "The upstream reported an error.",
        kind=kind,
        param=_member(message),
        code="model_not_found" if kind == "not_found" and "model" in message[:_LONGEST_SCAN].lower() else None,
        retry_after=None if kind == "billing" else _wait(details, message),
        should_retry=False if kind == "billing" or (kind == "rate_limit" and _per_day(details)) else None,
    )


def _alone(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _kind(error: dict[str, Any], message: str, details: list[dict[str, Any]], status: int | None) -> str | None:
    """A key of errors.KINDS; None if neither a word nor a code of Google's tells it."""
    for detail in details:
        if (kind := _REASONS.get(str(detail.get("reason")))) is not None:
            return kind
    code = error.get("code")
    code = code if type(code) is int and 400 <= code < 600 else status
    kind = _WORDS.get(str(error.get("status")))
    if kind is None and code is not None:
        kind = _CODES.get(code) or ("bad_request" if code < 500 else "bad_gateway")
    if kind == "bad_request":
        if _NO_KEY in message:
            return "auth"
        if _TOO_LONG.search(message[:_LONGEST_SCAN]):
            return "context_too_long"
    return kind


def _member(message: str) -> str | None:
    """The member that Google does not know, with its path, which is in snake_case."""
    match = _UNKNOWN_NAME.search(message[:_LONGEST_SCAN])
    return None if match is None else f"{match[2]}.{match[1]}" if match[2] else match[1]


def _wait(details: list[dict[str, Any]], message: str) -> float | None:
    """The seconds to wait: of RetryInfo, or of the message."""
    matched = next((match for each in details if (match := _WAIT.fullmatch(str(each.get("retryDelay"))))), None)
    matched = matched or _WAIT_IN_WORDS.search(message[:_LONGEST_SCAN])
    return None if matched is None else float(ceil(float(matched[1])))


def _per_day(details: list[dict[str, Any]]) -> bool:
    """Whether a quota of a day is used up: to repeat the request soon is of no use."""
    violations = [each for detail in details for each in dicts_of(detail, "violations")]
    return any("PerDay" in str(each.get("quotaId")) for each in violations)
