"""Calls that are carried to a model's upstream as they are: embeddings, images, audio, completions, token counts.

One candidate, no translation: the model's name is replaced (in JSON, or in a multipart form's `model` field), everything else goes
through, up and down, streamed or whole.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Mapping
from types import MappingProxyType
from typing import Any

from tornado.httpclient import HTTPResponse
from tornado.httputil import HTTPHeaders

from ...codecs import errors, jsontext, limits, multipart, splice
from ...codecs.usage import Usage, from_chat, from_responses
from ..gateway import Gateway
from ..routing.router import Candidate
from ..wire import bodies
from ..wire import headers as travel
from ..wire.upstream import UpstreamRequest
from .caller import Client

_USAGE = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]++|\{[^{}]*+\})*+\})')
USAGE_WITHIN = 2048  # bytes at the end of an answer where its usage is looked for


class Asked:
    """The model that a body names, and the body with another name in its place."""

    def __init__(self, body: bytes, scan: splice.Scan | None, field: multipart.Model | None) -> None:
        """scan: of a JSON body. field: of a form."""
        self._body, self._scan, self._field = body, scan, field
        self.model = scan.model if scan is not None else field.name if field is not None else None

    def renamed(self, model: str) -> bytes:
        if self._field is not None:
            return self._body[: self._field.start] + model.encode() + self._body[self._field.end :]
        return splice.replace_model(self._body, self._scan, model) if self._scan is not None else self._body


async def asked(body: bytes, content_type: str, most: int) -> Asked:
    """most: JSON values. Raises ClientFault for a body that is neither a JSON object nor a multipart form."""
    if content_type.lower().startswith("multipart/form-data"):
        return Asked(body, None, multipart.find_model(body, content_type))
    return Asked(body, await bodies.scan(body, most), None)


def upstream_request(
    candidate: Candidate, path: str, given: HTTPHeaders, body: bytes | None, credential: str | None, max_body: int, method: str = "POST"
) -> UpstreamRequest:
    """A request of `path` (with its leading slash) to the candidate. Raises Unconfigured without a credential."""
    headers = {"content-type": given.get("Content-Type", "application/json"), "user-agent": "dragoman"}
    headers |= travel.forwarded_up(given.get_all(), own_credential=candidate.provider.passthrough_auth)
    headers = candidate.speaks.headers(candidate.capabilities) | headers
    headers |= {"accept-encoding": "identity"} | candidate.headers(credential)
    timeouts = candidate.provider.timeouts
    return UpstreamRequest(
        candidate.base_url + path,
        method,
        headers,
        body,
        connect_timeout=timeouts.connect,
        first_byte_timeout=timeouts.first_byte,
        idle_timeout=timeouts.idle,
        max_body=max_body,
    )


async def carry(
    gateway: Gateway,
    client: Client,
    candidate: Candidate,
    request: UpstreamRequest,
    own: dict[str, str],
    limited: Mapping[str, str] = MappingProxyType({}),
) -> Usage | None:
    """Bring the upstream's answer to the client as it is. Returns what it used, where it says that at its end.

    own: the gateway's own headers of the answer. limited: those of the caller's limits, if it has any.
    """
    status, kind, down, tail = 502, "application/json", dict[str, str](), b""

    def headers() -> dict[str, str]:
        return limits.replaced(own | down | {"content-type": kind, "x-dragoman-upstream": candidate.name}, limited)

    def on_headers(code: int, headers: HTTPHeaders) -> None:
        nonlocal status, kind, down
        status, kind, down = code, headers.get("Content-Type", "application/octet-stream"), travel.forwarded_down(headers)
        if 200 <= code < 300:
            request.streaming_callback = on_chunk

    def on_chunk(chunk: bytes) -> Awaitable[Any] | None:
        nonlocal tail
        tail = (tail + chunk)[-USAGE_WITHIN:]
        if client.committed:
            return client.write(chunk)
        return client.start(headers(), chunk)

    request.on_headers = on_headers
    fetch: asyncio.Future[HTTPResponse] = gateway.upstream.fetch(request)
    try:
        response = await fetch
    finally:
        fetch.cancel()
    if 300 <= status < 400:
        raise errors.Garbled("The upstream answered with a redirect.", f"status {status}")
    if client.committed:
        await client.finish()
    else:
        await client.answer(status, headers(), response.body)
    return _usage(tail)


def _usage(tail: bytes) -> Usage | None:
    """The last `usage` object of an answer of an OpenAI path."""
    for found in reversed(_USAGE.findall(tail)):
        try:
            value = jsontext.loads(found)
        except ValueError:
            continue
        return from_responses(value) if "input_tokens" in value else from_chat(value)
    return None
