"""Token counts: asked of an upstream that counts, in its own API or in the Responses API's words; else estimated here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...codecs import errors, estimate, jsontext, responses
from ..routing.router import Candidate
from .operation import INPUT_TOKENS, Operation
from .shapes import SHAPES

if TYPE_CHECKING:
    from .exchange import Exchange

_NOT_COUNTED = ("stream", "store", "max_output_tokens", "include")  # the endpoint refuses them


def native(operation: Operation, candidate: Candidate) -> bool:
    """Whether the caller's own request can be carried to this upstream."""
    return operation.counts is not None and operation.counts(candidate)


def askable(operation: Operation, candidate: Candidate) -> bool:
    """Whether a responses upstream can be asked about a request of another shape."""
    return operation is not INPUT_TOKENS and native(INPUT_TOKENS, candidate)


def question(exchange: Exchange, candidate: Candidate) -> bytes:
    """The body that asks a responses upstream for the count."""
    encoded = responses.encode_request(_decoded(exchange), candidate.capabilities, candidate.model)
    for field in _NOT_COUNTED:
        encoded.body.pop(field, None)
    return jsontext.dumps(encoded.body)


def counted(value: dict[str, Any]) -> int:
    """The count in a responses upstream's answer. Raises Garbled."""
    count = value.get("input_tokens")
    if not isinstance(count, int):
        raise errors.Garbled("The upstream's answer holds no count.", f"keys {list(value)[:20]!r}"[:300])
    return count


def estimated(exchange: Exchange) -> int:
    return estimate.tokens(_decoded(exchange))


def answer(shape: str, count: int) -> bytes:
    """A count as a caller of this shape reads it."""
    members: dict[str, Any] = {"object": "response.input_tokens"} if shape == "responses" else {}
    return jsontext.dumps(members | {"input_tokens": count})


def _decoded(exchange: Exchange) -> Any:
    body = exchange.scan.value
    if exchange.expansion is not None:
        return responses.decode_request(body, exchange.expansion.items())
    return SHAPES[exchange.shape].decode_request({"max_tokens": 1, **body} if exchange.shape == "messages" else body)
