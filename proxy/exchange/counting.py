"""Token counts: asked of an upstream that counts, in the caller's API or in its own; else estimated here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...codecs import errors, estimate, jsontext
from ...codecs.betas import NO_BETAS
from ...codecs.carrier import Carrier
from ...codecs.lessons import Lesson
from ...codecs.request import Request
from ...codecs.shape import TokenCount
from ..routing.candidate import Candidate

if TYPE_CHECKING:
    from .attempt import Attempt
    from .exchange import Exchange

_NO_PATH = frozenset({405, 501})


def count_of(candidate: Candidate) -> TokenCount | None:
    """How an upstream counts; None when it does not."""
    count = candidate.speaks.count
    return count if count is not None and getattr(candidate.capabilities, count.flag) else None


def native(shape: str, candidate: Candidate) -> bool:
    """Whether the caller's own request can be carried to this upstream."""
    own = candidate.carrier is None or candidate.carrier.own_count != ""
    return own and candidate.shape == shape and count_of(candidate) is not None


def askable(exchange: Exchange, candidate: Candidate) -> bool:
    """Whether an upstream can be asked about the caller's request in a form of its own; the estimate stands in for its failures."""
    count, carrier = count_of(candidate), candidate.carrier
    if carrier is not None:
        able = count is not None and carrier.count is not None and carrier.count.counts(candidate.model)
        return able and getattr(exchange.taught.capabilities(candidate), count.flag)  # type: ignore[union-attr]
    return candidate.shape != exchange.shape and count is not None and count.leaves is not None


def refused(exchange: Exchange, candidate: Candidate, error: errors.GatewayError) -> None:
    """An upstream did not count. That a model has no count is believed for a while; what is wrong with a body is that body's alone."""
    count, carrier = count_of(candidate), candidate.carrier
    form = None if carrier is None else carrier.count
    if count is not None and form is not None and form.lacking.match(error.message):
        exchange.services.lessons.learn(candidate, Lesson("count of tokens", "it counts no tokens of this model", {count.flag: False}))


def lacks(attempt: Attempt) -> bool:
    """Whether an upstream that failed has no such path: 405, Claude Code's 501 `not_supported`, or a 404 that is no error of the API."""
    shown = attempt.refusal
    return attempt.status in _NO_PATH or (attempt.status == 404 and (shown is None or b'"error"' not in shown[2]))


def question(exchange: Exchange, candidate: Candidate) -> tuple[str, bytes]:
    """The path and the body that ask an upstream for the count, in another API or in a form of its own."""
    count = count_of(candidate)
    assert count is not None
    if candidate.carrier is not None:
        return _carried(exchange, candidate, candidate.carrier)
    encoded = candidate.speaks.encode_request(_decoded(exchange), candidate.capabilities, candidate.model)
    for field in count.leaves or ():
        encoded.body.pop(field, None)
    path = candidate.speaks.place(count.path, candidate.model)
    return path, jsontext.dumps_whole(count.wrapped(encoded.body, candidate.model, candidate.capabilities))


def _carried(exchange: Exchange, candidate: Candidate, carrier: Carrier) -> tuple[str, bytes]:
    """The same of an upstream with a carrier: it counts the body that it would be sent."""
    assert carrier.count is not None
    own = candidate.speaks
    if candidate.shape == exchange.shape:
        value = {**exchange.scan.value, **{name: least for name, least in _least(exchange).items() if name not in exchange.scan.value}}
    else:
        value = own.encode_request(_decoded(exchange), candidate.capabilities, candidate.model).body
    body = jsontext.dumps_whole(carrier.parcel(value, own.headers(candidate.capabilities), NO_BETAS).of(value))
    return carrier.filled(carrier.count.path, candidate.model), carrier.count.write(body)


def counted(candidate: Candidate, value: dict[str, Any]) -> int:
    """The count in an upstream's answer. Raises Garbled."""
    carrier, own = candidate.carrier, candidate.speaks.count
    form = own if carrier is None or carrier.count is None else carrier.count
    member = "" if form is None else form.member
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
    return own.decode_request({**_least(exchange), **body})


def _least(exchange: Exchange) -> Mapping[str, Any]:
    """Members that a request must have although it is only counted."""
    count = exchange.speaks.count
    return count.least if count is not None else {}
