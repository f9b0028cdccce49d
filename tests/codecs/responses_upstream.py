"""Requests of chat and messages clients, encoded for a responses upstream."""

from __future__ import annotations

from typing import Any

from dragoman.codecs import chat, messages, responses
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.request import Request

DECODE = {"chat": chat.decode_request, "messages": messages.decode_request}
PLAIN: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "q"}]},
    "messages": {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "q"}]},
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
STRICT = SCHEMA | {"required": ["a"], "additionalProperties": False}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def encode(shape: str, capabilities: Capabilities | None = None, **fields: Any) -> tuple[dict[str, Any], Request]:
    request = DECODE[shape](PLAIN[shape] | fields)
    encoded = responses.encode_request(request, capabilities or Capabilities(), "up")
    assert request.settings == {}
    return encoded.body, request


def lost(request: Request) -> str:
    return request.ledger.header(request.ledger.dropped, request.body)


def changed(request: Request) -> str:
    return request.ledger.header(request.ledger.adapted, request.body)
