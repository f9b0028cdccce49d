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

from ...codecs import errors, jsontext, limits, splice
from ...codecs.usage import Usage, from_chat, from_responses
from ..gateway import Gateway
from ..keys import secrets
from ..routing.router import Candidate
from ..wire import headers as travel
from ..wire.upstream import UpstreamRequest
from .caller import Client

_MODEL_FIELD = re.compile(
    rb'(\r?\n|^)(--[^\r\n]+\r\n(?:[^\r\n]+\r\n)*?content-disposition:[^\r\n]*;\s*name="model"[^\r\n]*\r\n'
    rb"(?:[^\r\n]+\r\n)*\r\n)([^\r\n]{0,256})\r\n",
    re.IGNORECASE,
)
_USAGE = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})')
USAGE_WITHIN = 2048  # bytes at the end of an answer where its usage is looked for


class Asked:
    """The model that a body names, and the body with another name in its place."""

    def __init__(self, body: bytes, content_type: str) -> None:
        """Raises ClientFault for a body that is neither a JSON object nor a multipart form."""
        self._body = body
        self.scan: splice.Scan | None = None
        self._field: re.Match[bytes] | None = None
        if content_type.lower().startswith("multipart/form-data"):
            self._field = _MODEL_FIELD.search(body)
            self.model = self._field[3].decode("utf-8", "replace") if self._field else None
        else:
            self.scan = splice.scan(body)
            self.model = self.scan.model

    def renamed(self, model: str) -> bytes:
        if self._field is not None:
            start, end = self._field.span(3)
            return self._body[:start] + model.encode() + self._body[end:]
        return splice.replace_model(self._body, self.scan, model) if self.scan is not None else self._body


def upstream_request(
    candidate: Candidate, path: str, given: HTTPHeaders, body: bytes | None, credential: str | None, max_body: int, method: str = "POST"
) -> UpstreamRequest:
    """A request of `path` (with its leading slash) to the candidate. Raises Unconfigured without a credential."""
    headers = {"content-type": given.get("Content-Type", "application/json"), "user-agent": "dragoman"}
    headers |= travel.forwarded_up(given.get_all(), own_credential=candidate.provider.passthrough_auth)
    if candidate.shape == "messages":
        headers.setdefault("anthropic-version", candidate.capabilities.m_version)
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
        credential = request.headers.get("authorization", "").partition(" ")[2]
        await client.answer(status, headers(), secrets.scrub(response.body, (*secrets.of(candidate.provider), credential)))
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
