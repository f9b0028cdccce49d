"""An error that a messages upstream answers with, and the same object inside a stream.

The shape's own form is {"type": "error", "error": {"type", "message"}}, and `type` says what kind it is. Compatible servers and
the proxies before them send other forms, which are read as far as they go: no form is a reason to lose the status or the words.
Source: Anthropic, "Errors".
"""

from __future__ import annotations

import html
import re
from typing import Any

from .. import jsontext
from ..errors import KINDS, Answered

_LONGEST_PAGE = 500  # characters of a body that is no JSON
_LONGEST_SCAN = 20_000

_TYPES = {
    "invalid_request_error": "bad_request",
    "authentication_error": "auth",
    "billing_error": "billing",
    "permission_error": "permission",
    "not_found_error": "not_found",
    "conflict_error": "conflict",
    "request_too_large": "too_large",
    "rate_limit_error": "rate_limit",
    "api_error": "server",
    "overloaded_error": "overloaded",
    "timeout_error": "timeout",
}
# statuses that say more than a type does
_STATUSES = {
    401: "auth",
    402: "billing",
    403: "permission",
    404: "not_found",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    422: "bad_request",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    524: "timeout",
    529: "overloaded",
}
_OUT_OF_MONEY = frozenset({"insufficient_quota", "billing_error"})
_TOO_LONG = re.compile(
    r"prompt is too long|exceeds? (?:the )?(?:model's )?context (?:limit|window|length)|context_length_exceeded", re.I
)
_CODE_OF_TOO_LONG = "context_length_exceeded"
# each alternative also ends with the text: what is not closed must not be tried again at every further bracket
_NOT_TEXT = re.compile(r"<(script|style|head)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^>]*(?:>|\Z)", re.DOTALL | re.IGNORECASE)


def decode_error(status: int, body: bytes, content_type: str = "") -> Answered:
    """An error answer. status: of HTTP. body: as it came, of whatever form. content_type: the header, "" when there was none."""
    try:
        value = jsontext.loads(body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return error_of(value, status)
    text = value if isinstance(value, str) else _plain(body.decode("utf-8", "replace"))
    return _answered({}, text, status)


def error_of(value: dict[str, Any], status: int | None = None) -> Answered:
    """The error in a JSON object. status: of HTTP; None inside a stream, where nothing but the object itself says its kind."""
    error = value.get("error")
    if isinstance(error, dict):
        inner = error.get("error")  # a gateway's wrapping around a provider's own
        return _answered(inner if isinstance(inner, dict) else error, _message(error) or _message(value), status)
    message = error if isinstance(error, str) else _message(value)
    return _answered(value, message, status)


def _answered(error: dict[str, Any], message: str, status: int | None) -> Answered:
    code, param = error.get("code"), error.get("param")
    kind = _kind(error, message, status)
    odd = status is not None and 400 < status < 500 and status not in _STATUSES
    return Answered(
        message or (f"The upstream answered with status {status}." if status else "The upstream reported an error."),
        kind=kind,
        code=code if isinstance(code, str) and code and kind != "context_too_long" else None,
        param=param if isinstance(param, str) and param else None,
        status=status if odd else None,
    )


def _kind(error: dict[str, Any], message: str, status: int | None) -> str:
    """The key of errors.KINDS: by the words where only they tell, then by status, then by type."""
    words = {word for key in ("type", "code") if isinstance(word := error.get(key), str)}
    if status in (None, 400, 413, 422) and (_TOO_LONG.search(message[:_LONGEST_SCAN]) or _CODE_OF_TOO_LONG in words):
        return "context_too_long"
    if words & _OUT_OF_MONEY:
        return "billing"
    if status in _STATUSES:
        return _STATUSES[status]
    by_type = next((_TYPES[word] for word in sorted(words) if word in _TYPES), None)
    if status is None or status < 400:
        return by_type or "server"
    if by_type and (KINDS[by_type].messages_status < 500) == (status < 500):
        return by_type
    return "server" if status == 500 else "bad_request" if status < 500 else "bad_gateway"


def _message(value: Any) -> str:
    """The words of an error object of any known form; "" when it has none."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    for key in ("message", "detail", "error", "msg", "title"):
        found = value.get(key)
        if isinstance(found, list):  # FastAPI: [{"loc", "msg", "type"}]
            found = "; ".join(filter(None, (_first_string(item) for item in found[:8])))
        elif isinstance(found, dict):
            found = _first_string(found)
        if isinstance(found, str) and found:
            return found
    return ""


def _first_string(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    return next((value[key] for key in ("message", "msg", "detail") if isinstance(value.get(key), str)), "")


def _plain(text: str) -> str:
    """The first words of a page, without its markup."""
    if "<" in text:
        text = html.unescape(_NOT_TEXT.sub(" ", text[:_LONGEST_SCAN]))
    return " ".join(text[:_LONGEST_SCAN].split())[:_LONGEST_PAGE]
