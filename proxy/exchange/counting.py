"""Token counts: asked of an upstream that counts, in the caller's API or in its own; else estimated here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...codecs import errors, estimate, jsontext
from ...codecs.request import Request
from ...codecs.shape import TokenCount
from ..routing.router import Candidate

if TYPE_CHECKING:
    from .exchange import Exchange


def count_of(candidate: Candidate) -> TokenCount | None:
    """How an upstream counts; None when it does not."""
    count = candidate.speaks.count
    return count if count is not None and getattr(candidate.capabilities, count.flag) else None


def native(shape: str, candidate: Candidate) -> bool:
    """Whether the caller's own request can be carried to this upstream."""
    return candidate.shape == shape and count_of(candidate) is not None


def askable(shape: str, candidate: Candidate) -> bool:
    """Whether an upstream of another shape can be asked about the caller's request."""
    count = count_of(candidate)
    return candidate.shape != shape and count is not None and count.leaves is not None


def question(exchange: Exchange, candidate: Candidate) -> tuple[str, bytes]:
    """The path and the body that ask an upstream of another shape for the count."""
    count = count_of(candidate)
    assert count is not None
    encoded = candidate.speaks.encode_request(_decoded(exchange), candidate.capabilities, candidate.model)
    for field in count.leaves or ():
        encoded.body.pop(field, None)
    path = candidate.speaks.place(count.path, candidate.model)
    return path, jsontext.dumps(count.wrapped(encoded.body, candidate.model, candidate.capabilities))


def counted(candidate: Candidate, value: dict[str, Any]) -> int:
    """The count in an upstream's answer. Raises Garbled."""
    own = candidate.speaks.count
    member = own.member if own is not None else ""
    count = value.get(member)
    if not isinstance(count, int):
        raise errors.Garbled("The upstream's answer contains no token count.", f"{len(value)} members, and no `{member}`")
    return count


def estimated(exchange: Exchange) -> int:
    return estimate.tokens(_decoded(exchange))


def answer(exchange: Exchange, count: int) -> bytes:
    """A count as the caller reads it."""
    own = exchange.speaks.count
    assert own is not None
    return jsontext.dumps({**own.answer, own.member: count})


def _decoded(exchange: Exchange) -> Request:
    own, body = exchange.speaks, exchange.scan.value
    if exchange.expansion is not None:
        return own.decode_request(body, exchange.expansion.items())
    least = own.count.least if own.count is not None else {}
    return own.decode_request({**least, **body})
