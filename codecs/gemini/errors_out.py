"""The gemini shape's form of errors and of rate limits.

Source: google.rpc.Status, google.rpc.RetryInfo, QuotaFailure and ErrorInfo. Google has no headers of rate limits.
"""

from __future__ import annotations

import re
from math import ceil
from typing import Any

from ..errors import KINDS, ErrorForm, GatewayError
from ..limits import LimitForm

_TYPE = "type.googleapis.com/google.rpc."
_DOMAIN = "dragoman"
_COUNT = re.compile(r"(?<![\w.,])[0-9][0-9,]{2,11}(?![\w.])")
_LONGEST = 2000  # characters of a message that are looked at
_PER_DAY = "DragomanBudgetPerDay"
"""gemini-cli stops, and does not ask again, at a quota whose id says PerDay."""


def error_object(error: GatewayError, request_id: str | None = None) -> dict[str, Any]:
    """The complete error, as a body and as a chunk of a stream."""
    kind = KINDS[error.kind]
    message = _too_long(error.message) if error.kind == "context_too_long" else error.message
    if error.param and error.param not in message:
        message = f"{message} ({error.param})"
    members: dict[str, Any] = {"code": _status(error), "message": message, "status": kind.google_status}
    details = _details(error)
    return {"error": members | {"details": details} if details else members}


def _too_long(message: str) -> str:
    """In Google's words, which clients look for, with the two numbers that other providers' messages have: the tokens, and the limit."""
    if "input token count" in message:
        return message
    numbers = sorted({int(number.replace(",", "")) for number in _COUNT.findall(message[:_LONGEST])})
    if len(numbers) != 2:
        return message
    limit, count = numbers
    return f"The input token count ({count}) exceeds the maximum number of tokens allowed ({limit})."


def _status(error: GatewayError) -> int:
    return KINDS[error.kind].google_code if error.status is None else error.status


def _details(error: GatewayError) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = []
    if error.kind == "billing":
        details.append({"@type": f"{_TYPE}QuotaFailure", "violations": [{"subject": _DOMAIN, "quotaId": _PER_DAY}]})
    elif error.retry_after is not None:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{max(0, ceil(error.retry_after))}s"})
    code = error.code or KINDS[error.kind].openai_code
    if code:
        details.append({"@type": f"{_TYPE}ErrorInfo", "reason": code.upper(), "domain": _DOMAIN})
    return details


GOOGLE = ErrorForm(lambda kind: kind.google_code, error_object, waits_for_money=False)
LIMITS = LimitForm(lambda headers, now: {}, lambda headers, now: {}, milliseconds=False)
