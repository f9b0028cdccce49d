"""Requests to what stands in no entry of the configuration: identity providers and hooks.

They leave as `egress` says, each within a time, and their answers are whole and bounded.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from ...codecs import errors
from ...conf import egress as ways
from ...conf.model import Certificates, Egress
from .egress import Contexts
from .upstream import UpstreamClient, UpstreamRequest

LARGEST = 1 << 20  # bytes of an answer
_COMMON = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "dragoman"}


class Answer(NamedTuple):
    status: int
    body: bytes


class Others:
    """The way to them under one configuration."""

    def __init__(self, client: UpstreamClient, egress: Egress, contexts: Contexts) -> None:
        self._client, self._egress = client, egress
        self._context = contexts.get(egress.certificates) if egress.certificates != Certificates() else None

    async def ask(
        self, url: str, seconds: float, body: bytes | None = None, headers: dict[str, str] | None = None, largest: int = LARGEST
    ) -> Answer:
        """Send a POST with a JSON body, or without a body a GET. seconds: that it may take. Raises GatewayError."""
        own = _COMMON if body is None else _COMMON | {"content-type": "application/json"}
        request = UpstreamRequest(
            url,
            "GET" if body is None else "POST",
            own | (headers or {}),
            body,
            connect_timeout=seconds,
            first_byte_timeout=seconds,
            idle_timeout=seconds,
            max_body=largest,
            ssl_context=self._context,
            proxy=ways.proxy_of(self._egress, url),
        )
        try:
            async with asyncio.timeout(seconds):
                response = await self._client.fetch(request)
        except TimeoutError:
            raise errors.Timeout("timeout", "There was no answer in time.") from None
        return Answer(response.code, response.body or b"")
