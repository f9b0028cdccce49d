"""Decode an upstream's error answer, or the same object inside a stream.

The OpenAI shapes' form is {"error": {"message", "type", "param", "code"}}, the messages shape's {"type": "error", "error": {"type",
"message"}}. Compatible servers send an error that is a string, one without the `error` key, a number as code, FastAPI's `detail`,
a list, an HTML page. One reader accepts all of these forms for all shapes.
Source: OpenAI, "Error codes"; Anthropic, "Errors"; provider-specific forms are named where they are read.
"""

from __future__ import annotations

import html
import re
from typing import Any

from .. import jsontext
from ..anything import at
from ..errors import Answered

_LONGEST_PAGE = 500  # characters of a body that is not JSON
_LONGEST_WAIT = 366 * 86_400  # seconds
_LONGEST_SCAN = 20_000  # characters searched for keywords

_STATUSES = {
    401: "auth",
    402: "billing",
    403: "permission",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media",
    422: "bad_request",
    429: "rate_limit",
    500: "server",
    503: "overloaded",
    504: "timeout",
    524: "timeout",
    529: "overloaded",
}
# values of `code` or `type` that are more specific than a status
_TELLING = {
    "context_length_exceeded": "context_too_long",
    "exceed_context_size_error": "context_too_long",  # llama.cpp
    "content_filter": "content_policy",
    "DeploymentNotFound": "bad_gateway",  # Azure: the operator's configuration names one that there is not
    "content_policy_violation": "content_policy",
    "image_content_policy_violation": "content_policy",
    "bio_policy": "content_policy",
    "misalignment": "content_policy",
    "misalignment_policy_violation": "content_policy",
    "insufficient_quota": "billing",
    "insufficient_balance_error": "billing",  # MiniMax, with 429
    "insufficient_balance": "billing",
    "INSUFFICIENT_BALANCE": "billing",  # Venice
    "billing_hard_limit_reached": "billing",
    "billing_error": "billing",
}
# keywords in the message, used if no status decides
_WORDS = {
    "invalid_request_error": "bad_request",
    "BadRequestError": "bad_request",
    "INVALID_ARGUMENT": "bad_request",
    "invalid_api_key": "auth",
    "authentication_error": "auth",
    "UNAUTHENTICATED": "auth",
    "permission_error": "permission",
    "permission_denied": "permission",
    "PERMISSION_DENIED": "permission",
    "model_not_found": "not_found",
    "not_found_error": "not_found",
    "NotFoundError": "not_found",
    "NOT_FOUND": "not_found",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "RESOURCE_EXHAUSTED": "rate_limit",
    "overloaded": "overloaded",
    "overloaded_error": "overloaded",
    "server_is_overloaded": "overloaded",  # OpenAI, within a stream; Codex does not ask again after this word
    "slow_down": "overloaded",
    "service_unavailable": "overloaded",
    "service_unavailable_error": "overloaded",
    "engine_overloaded_error": "overloaded",  # Moonshot
    "UNAVAILABLE": "overloaded",
    "timeout": "timeout",
    "timeout_error": "timeout",
    "conflict_error": "conflict",
    "request_too_large": "too_large",
    "api_error": "server",
    "server_error": "server",
    "DEADLINE_EXCEEDED": "timeout",
    "upstream_error": "bad_gateway",
}
# unknown values that blame the request: otherwise callers would repeat it
_BLAMING = (
    (re.compile(r".+_(?:policy|policy_violation|blocked)|(?:moderation|safety|policy)_.+"), "content_policy"),
    (re.compile(r"(?:invalid|unsupported|missing|malformed|unknown|empty|duplicate|image|failed_to_[a-z]+)_.+"), "bad_request"),
    (re.compile(r".+_(?:invalid|unsupported|not_(?:found|supported)|mismatch|conflict|unresolved|too_[a-z]+)"), "bad_request"),
)
_TOO_LONG = re.compile(
    r"prompt is too long|context_length_exceeded|context (?:length|size|window)|exceeds? (?:the )?(?:model's )?(?:maximum )?context"
    r"|input is too long|too many (?:input )?tokens"
    r"|reduce the length of (?:either|(?:the |your )?(?:input|messages?|prompts?|conversation|context|chat|text|request)\b)"
    # xAI; GLM; Qwen; Kimi; Copilot; Together
    r"|maximum prompt length|prompt exceeds max|range of input length|exceeded model token limit|token count (?:of |\()\d{1,12}\)? exceeds"
    r"|`inputs` tokens \+ `max_new_tokens`",
    re.IGNORECASE,
)
# kinds with a fixed code, whatever the provider's
_OWN_CODE = frozenset({"context_too_long", "billing", "rate_limit", "overloaded", "timeout", "bad_gateway"})
_MISLAID = ("404", "Resource not found")  # Azure: of a path that its resource does not have
_CODE = re.compile(r"(?=[^0-9])[A-Za-z0-9_.:-]{1,64}")
# each alternative also ends at the end of the text, so that an unclosed one is not retried at every later bracket
_NOT_TEXT = re.compile(r"<(script|style|head)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^>]*(?:>|\Z)", re.DOTALL | re.IGNORECASE)


def decode_error(status: int, body: bytes, content_type: str = "") -> Answered:
    """Decode an error answer of any form. status: of HTTP. body: raw bytes. content_type: the header's value, "" if absent."""
    try:
        value = jsontext.loads(body)
    except ValueError:
        value = None
    if isinstance(value, list) and value:  # Google: [{"error": …}]
        value = value[0]
    if isinstance(value, dict):
        return error_of(value, status)
    return _answered({}, value if isinstance(value, str) else _plain(body.decode("utf-8", "replace")), status)


def error_of(value: dict[str, Any], status: int | None = None) -> Answered:
    """Decode the error in a JSON object. status: of HTTP; None inside a stream, where the object tells its kind."""
    error = value.get("error")
    if isinstance(error, dict):
        inner = error.get("error")  # a gateway's wrapper around the provider's error
        return _answered(inner if isinstance(inner, dict) else error, _behind(error, _message(error) or _message(value)), status)
    details = value.get("details")
    if isinstance(error, str) and isinstance(details, dict) and isinstance(details.get("error"), dict):  # Pollinations
        return _answered(details["error"], _message(details["error"]) or error, status)
    return _answered(value, _message(value), status)


def is_error(value: dict[str, Any]) -> bool:
    """Whether a frame or body is an error rather than an answer."""
    error = value.get("error")
    return (bool(error) and isinstance(error, dict | str)) or value.get("object") == "error"


def _answered(error: dict[str, Any], message: str, status: int | None) -> Answered:
    if status is None or status < 400:
        status = _status_of(error)
    kind = _kind(error, message, status)
    details = error.get("details")  # Anthropic
    code, param = error.get("code"), error.get("param")
    code = details.get("error_code") if code is None and isinstance(details, dict) else code
    if kind in _OWN_CODE or not (isinstance(code, str) and _CODE.fullmatch(code)):
        code = "model_not_found" if kind == "not_found" and _is_about_model(message, param) else None
    odd = status is not None and 400 < status < 500 and status not in _STATUSES
    used_up = error.get("type") == "usage_limit_reached"
    return Answered(
        message or (f"The upstream answered with status {status}." if status else "The upstream reported an error."),
        kind=kind,
        code=code,
        param=param if isinstance(param, str) and param else None,
        status=status if odd else None,
        retry_after=_seconds(error.get("resets_in_seconds")) if used_up else None,
        should_retry=False if kind == "billing" or used_up else None,
    )


def _seconds(wait: Any) -> float | None:
    """How long a subscription's limit lasts, which ChatGPT says in the error alone."""
    return float(wait) if type(wait) in (int, float) and 0 <= wait <= _LONGEST_WAIT else None


def _status_of(error: dict[str, Any]) -> int | None:
    """The HTTP status in an error object: `code` (OpenRouter, llama.cpp), `status_code` (Groq) or `status` (Azure)."""
    for key in ("status_code", "status", "code"):
        status = error.get(key)
        if isinstance(status, str) and status.isascii() and status.isdecimal() and len(status) == 3:
            status = int(status)
        if type(status) is int and 400 <= status < 600:
            return status
    return None


def _kind(error: dict[str, Any], message: str, status: int | None) -> str:
    """The key of errors.KINDS: by the specific codes first, then by status, then by keywords in the message."""
    words = [word for key in ("code", "type", "status") if isinstance(word := error.get(key), str)]
    if (error.get("code"), message) == _MISLAID:
        return "bad_gateway"
    telling = next((_TELLING[word] for word in words if word in _TELLING), None)
    if telling is not None:
        return telling
    if status in (None, 400, 413, 422) and _TOO_LONG.search(message[:_LONGEST_SCAN]):
        return "context_too_long"
    if status is None:
        return next((_WORDS[word] for word in words if word in _WORDS), "") or _blamed(words) or "server"
    return _STATUSES.get(status) or ("bad_request" if status < 500 else "bad_gateway")


def _blamed(words: list[str]) -> str:
    return next((kind for word in words for form, kind in _BLAMING if form.fullmatch(word)), "")


def _is_about_model(message: str, param: Any) -> bool:
    return param == "model" or "model" in message[:_LONGEST_SCAN].lower()


def _message(value: dict[str, Any]) -> str:
    """The message of an error object of any known form; "" if it has none."""
    for key in ("message", "detail", "error", "errors", "msg", "title"):  # Cloudflare: errors
        message = value.get(key)
        if isinstance(message, list):
            message = "; ".join(filter(None, map(_detail, message[:8])))
        elif isinstance(message, dict):
            inner = message.get("detail")  # Mistral nests FastAPI's list one level deeper
            message = "; ".join(filter(None, map(_detail, inner[:8]))) if isinstance(inner, list) else _detail(message)
        if isinstance(message, str) and message:
            return message
    return ""


def _behind(error: dict[str, Any], message: str) -> str:
    """A router's message with the provider's own appended (OpenRouter: metadata.raw), which is the specific one."""
    raw = at(error, "metadata", "raw")
    if not isinstance(raw, str) or not raw:
        return message
    try:
        value = jsontext.loads(raw)
    except ValueError:
        value = None
    provider_message = error_of(value).message if isinstance(value, dict) else _plain(raw)
    return f"{message}: {provider_message}" if message else provider_message


def _detail(value: Any) -> str:
    """The text of one of FastAPI's details, {"loc": ["body", "messages", 0], "msg": …}, or of any other error value."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    words = next((value[key] for key in ("message", "msg", "detail") if isinstance(value.get(key), str)), "")
    where = value.get("loc")
    return f"{'.'.join(map(str, where[:16]))}: {words}" if words and isinstance(where, list) and where else words


def _plain(text: str) -> str:
    """The beginning of a page's text, without markup."""
    if "<" in text:
        text = html.unescape(_NOT_TEXT.sub(" ", text[:_LONGEST_SCAN]))
    return " ".join(text[:_LONGEST_SCAN].split())[:_LONGEST_PAGE]
