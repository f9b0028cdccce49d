"""Attempts whose answer is a summary of the conversation, for upstreams that do not compact by themselves (codecs/compaction.py).

Such an attempt is one like all others: the request is changed on its way up and the answer's events on their way down.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ...codecs import compaction, errors, estimate, jsontext, responses
from ...codecs.events import Compaction, Event
from ...codecs.request import Request
from ...codecs.shape import Decoder
from ...codecs.usage import Usage
from ..memory import input_items
from ..memory.expansion import compacts
from ..wire import bodies
from .spent import read

if TYPE_CHECKING:
    from ..memory.turn import Turn
    from .attempt import Attempt
    from .exchange import Exchange

Body = dict[str, Any]

_MANAGEMENT = "context_management"


class Made(NamedTuple):
    """A summary that precedes an answer: as the caller's next input has it, as an event, and what it used."""

    item: Body
    event: Compaction
    usage: Usage


Part = Literal["", "first", "answer", "after"]


def part(attempt: Attempt) -> Part:
    """What an attempt does for a compaction: it asks for a summary, which is the answer, or comes "first" and is for the next attempt;
    or it asks for the answer "after" a summary. "": nothing, since its upstream compacts by itself.
    """
    exchange = attempt.exchange
    if exchange.summary is not None:
        return "after"
    if not attempt.asks or compacts(attempt.candidate):
        return ""
    return "first" if exchange.compacting == "automatic" else "answer"


async def due(exchange: Exchange, turn: Turn) -> bool:
    """Whether the input has grown so long that the request wants it compacted first."""
    body = exchange.scan.value
    threshold = responses.threshold(body)
    if threshold is None or (body.get("background") is True and turn.job is None):  # the upstream runs it, whatever it does
        return False
    known = await turn.counted()
    if known is not None:
        return known + read(jsontext.dumps(input_items.own_input(body))) >= threshold
    return await bodies.apart(exchange.heavy, partial(_estimated, exchange, turn)) >= threshold


def _estimated(exchange: Exchange, turn: Turn) -> int:
    try:
        return estimate.tokens(exchange.speaks.decode_request(exchange.scan.value, turn.items()))
    except errors.ClientFault:  # what cannot be read here is its upstream's to judge
        return 0


def decoded(attempt: Attempt) -> Request:
    """The caller's request, with what it continues; one for a summary, or one that goes on from a summary. Raises ClientFault."""
    exchange, state = attempt.exchange, attempt.exchange.state
    body, items = exchange.scan.value, None if state is None else state.items()
    automatic = exchange.services.config.compaction.automatic and exchange.turn is not None
    if automatic and responses.threshold(body) is not None:  # of an input that is still short it asks nothing
        body = {name: value for name, value in body.items() if name != _MANAGEMENT}
    made = exchange.summary
    if made is not None:
        body = {**body, "input": [*input_items.own_input(body), made.item]}
        items = None if items is None else [*items, made.item]
    request = exchange.speaks.decode_request(body) if state is None else exchange.speaks.decode_request(body, items)
    request.model, request.stream = request.model or exchange.scan.model or "", attempt.stream  # they may stand in the path
    if made is not None:
        request.ledger.adapt((_MANAGEMENT,))
    elif attempt.compacting:
        _ask(attempt, request)
    return request


def _ask(attempt: Attempt, request: Request) -> None:
    if all(turn.path == ("instructions",) for turn in request.turns):
        raise responses.nothing_to_compact()
    exchange = attempt.exchange
    _mark(exchange, request)
    asked = exchange.services.config.compaction
    compaction.ask(request, asked.prompt, asked.max_output, tools=exchange.without_tools is None)


def body(attempt: Attempt, request: Request, value: Body) -> Body:
    """The same for a body in the upstream's own API; marks the request that stands for it. Raises Malformed."""
    exchange = attempt.exchange
    _mark(exchange, request)
    asked = exchange.services.config.compaction
    question = responses.question(value, attempt.candidate.capabilities, asked.prompt, asked.max_output, exchange.without_tools is None)
    if not attempt.stream:
        question.pop("stream", None)
        question.pop("stream_options", None)
    return question | {"store": False}


def continued(attempt: Attempt, made: Made, value: Body) -> Body:
    """A body in the upstream's own API that goes on from a summary."""
    attempt.ledger.adapt((_MANAGEMENT,))
    left = (_MANAGEMENT, "previous_response_id", "conversation")  # of these the summary is
    members = {name: member for name, member in value.items() if name not in left}
    return members | {"input": [*input_items.own_input(value), made.item]}


def _mark(exchange: Exchange, request: Request) -> None:
    request.compacts = True
    if exchange.expansion is not None:  # of the endpoint
        request.users = responses.users(exchange.expansion.everything())


def asks_again(attempt: Attempt, error: errors.GatewayError) -> bool:
    """Whether the model called a tool and said nothing, and is to be asked once more without tools."""
    exchange = attempt.exchange
    if not isinstance(error, errors.NoSummary) or not error.called or attempt.committed or exchange.without_tools is not None:
        return False
    exchange.without_tools = attempt.usage or Usage()
    return True


def decoder(attempt: Attempt, inner: Decoder) -> Decoder:
    """What reads the answer, around the decoder of its API."""
    made = attempt.exchange.summary
    if made is None:
        return compaction.Summing(inner, attempt.exchange.without_tools)
    return compaction.Preceded(inner, made.event, made.usage)


def events(attempt: Attempt, decoded: list[Event]) -> list[Event]:
    """The same for the events of a whole answer."""
    made = attempt.exchange.summary
    if made is None:
        return compaction.Summary(attempt.exchange.without_tools).feed(decoded)
    return compaction.Preceded(None, made.event, made.usage).over(decoded)


def made(attempt: Attempt, collector: Any) -> None:
    """A summary is there that precedes the answer, which is asked for now."""
    exchange, usage = attempt.exchange, attempt.usage or Usage()
    (item,) = collector.response["output"]
    text = compaction.unseal(item["encrypted_content"])
    assert text is not None
    exchange.summary = Made(item, Compaction(text, usage.input, "compaction"), usage)
