"""Requests of the gateway's own to an upstream: probes, and lists of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..credentials.credential import Answer, Credential
from ..wire.upstream import UpstreamClient, UpstreamRequest
from .candidate import Candidate
from .signing import located, sign

_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "dragoman"}
_OF_BODY = {"content-type": "application/json"}


async def asked(
    upstream: UpstreamClient,
    candidate: Candidate,
    url: str,
    body: bytes | None = None,
    *,
    patience: float,
    chunk: Callable[[bytes], Any] | None = None,
    max_body: int = 1 << 20,
) -> tuple[int, bytes]:
    """Ask with the upstream's own credential, proxy and certificates; return the status and the body.

    patience: seconds for each step, at most what the entry's `timeouts` say. chunk: gets the body instead. Raises GatewayError.
    """
    timeouts = candidate.provider.timeouts
    granted: Credential | None = await candidate.grant()
    request = UpstreamRequest(
        located(url, granted, candidate),
        "GET" if body is None else "POST",
        candidate.without_removed(
            candidate.speaks.headers(candidate.capabilities)
            | _HEADERS
            | ({} if body is None else _OF_BODY)
            | candidate.headers(granted=granted)
        ),
        body,
        connect_timeout=min(timeouts.connect, patience),
        first_byte_timeout=min(timeouts.first_byte, patience),
        idle_timeout=min(timeouts.idle, patience),
        streaming_callback=chunk,
        max_body=max_body,
        ssl_context=candidate.context,
        proxy=candidate.provider.proxy,
    )
    if granted is not None and granted.signs:
        await sign(request, granted, candidate)
    response = await upstream.fetch(request)
    answer = Answer(response.code, response.headers, response.body)
    if granted is not None and candidate.source is not None and granted.refused(answer):
        candidate.source.refused(granted)
    return response.code, response.body
