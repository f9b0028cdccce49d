"""How an error is told before anything of an answer has been sent: the one place that makes an HTTP answer of it."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from ...codecs.errors import FORMS, GatewayError


class Refusal(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def own_headers(request_id: str) -> dict[str, str]:
    """The headers of every answer of the gateway's: the request's id under both vendors' names."""
    return {"x-request-id": request_id, "request-id": request_id}


def refusal(error: GatewayError, shape: str, request_id: str) -> Refusal:
    """An error as a caller of this shape reads it; shape "shared" is read by both vendors' SDKs."""
    headers = own_headers(request_id) | hints(error) | {"content-type": "application/json"}
    if error.kind == "billing" and not FORMS[shape].waits_for_money:
        headers.pop("retry-after", None)
    return Refusal(error.http_status(shape), headers, error.body(shape, request_id))


def hints(error: GatewayError) -> dict[str, str]:
    """The headers that tell a caller when, and whether, to try again."""
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["retry-after"] = str(max(0, ceil(error.retry_after)))
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    return headers
