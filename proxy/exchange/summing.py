"""Attempts whose answer is a summary of the conversation, for upstreams that do not compact by themselves (codecs/compaction.py).

Such an attempt is one like all others: the request is changed on its way up and the answer's events on their way down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...codecs import compaction, errors, responses
from ...codecs.request import Request
from ...codecs.usage import Usage
from ..routing.router import Candidate

if TYPE_CHECKING:
    from .attempt import Attempt
    from .exchange import Exchange

Body = dict[str, Any]


def ask(exchange: Exchange, request: Request) -> None:
    """Make the caller's request, as it is translated, one for a summary. Raises Malformed when there is nothing to sum up."""
    if all(turn.path == ("instructions",) for turn in request.turns):
        raise responses.nothing_to_compact()
    _mark(exchange, request)
    request.stream = exchange.stream
    asked = exchange.services.config.compaction
    compaction.ask(request, asked.prompt, asked.max_output, tools=exchange.without_tools is None)


def body(exchange: Exchange, candidate: Candidate, request: Request, value: Body) -> Body:
    """The same for a body in the upstream's own API; marks the request that stands for it. Raises as `ask`."""
    _mark(exchange, request)
    asked = exchange.services.config.compaction
    found = responses.question(value, candidate.capabilities, asked.prompt, asked.max_output, exchange.without_tools is None)
    if not exchange.stream:
        found.pop("stream", None)
        found.pop("stream_options", None)
    return found | {"store": False}


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
