"""What of a request is not needed any more once it is sent, and once its answer has begun: an agent's request is a megabyte, and its
answer takes minutes.

While an upstream is asked, the caller's bytes are enough, and what its answer shows of the tools: another attempt parses them again
(`reread`). From the first content on no other attempt asks an upstream, unless an answer that breaks off is to be gone on with. What
goes then: the caller's body, as it came and as it was read, and what attempts made of it and sent. What stays: the members that
answers show and that are settled (all but the turns of a stateful API), an estimate of the tokens, and, as JSON, the input where it is
stored with the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...codecs import responses
from . import spent

if TYPE_CHECKING:
    from ..memory.turn import Turn
    from .attempt import Attempt
    from .exchange import Exchange

MANY = 16  # items that a request continues
LARGE = 16 * 1024  # bytes of a body; a smaller one stays as it is: that costs less than to tell what of it is needed
MEMBERS = ("messages", "input", "contents", "tools")  # of a body that are large
UNREAD = object()  # stands for such a member that was let go of: whoever uses it by mistake fails, and sends nothing without it


def lighten(attempt: Attempt) -> None:
    """Let go of the body as it was read: the attempt's request is written."""
    exchange = attempt.exchange
    body = exchange.scan.value
    if _is_large(exchange) and exchange.race is None and exchange.operation.lane != "count":
        attempt.ledger.arrange(body)
        if exchange.turn is not None and (exchange.turn.laid or _stores_input(attempt, exchange.turn)):
            exchange.turn.lay_by()
        needed = _needed_later(attempt)
        stands: dict[str, object] = {name: UNREAD for name in MEMBERS if name not in needed and isinstance(body.get(name), list)}
        if exchange.turn is not None:
            stands |= responses.shown({name: value for name, value in body.items() if name not in needed})
        body |= stands
        exchange.unread = tuple(stands)
        for one in exchange.attempts:  # one that failed before it was sent has read it, too
            _let_go_of_read(one, body)
    exchange.pass_on()


def _is_large(exchange: Exchange) -> bool:
    return len(exchange.body) >= LARGE or (exchange.turn is not None and exchange.turn.continued >= MANY)


def _stores_input(attempt: Attempt, turn: Turn) -> bool:
    """Whether the input is needed to the end as it was read: what is collected is stored here, whoever else stores it."""
    return not turn.laid and (attempt.collects or turn.keeps_input(attempt.candidate))


def _let_go_of_read(attempt: Attempt, body: dict[str, Any]) -> None:
    attempt.history = None
    reply = getattr(attempt, "reply", None)
    request = getattr(attempt, "asked", None) if reply is None else reply.request
    if request is not None:
        request.body = body  # where a summary is made it is a copy, which holds all of it
        request.turns, request.tools = [], [tool for tool in request.tools if tool.kind == "custom"]  # of which an encoder must know


def _needed_later(attempt: Attempt) -> set[str]:
    """Members of a stateful API's body that are needed to the end: what is stored, and tools that may make what its caller then owns."""
    turn = attempt.exchange.turn
    if turn is None:
        return set()
    return ({"input"} if _stores_input(attempt, turn) else set()) | ({"tools"} if attempt.same_shape else set())


async def reread(exchange: Exchange) -> None:
    """Bring back what `lighten` let go of: the exchange is to look at it again, or to make another attempt."""
    if exchange.turn is not None:
        exchange.turn.take_up()
    if exchange.unread:
        most = len(exchange.body)  # it was let through: in its API's own form it may have more values than it came with
        value = (await exchange.parse(most)).value
        for name in exchange.unread:
            exchange.scan.value[name] = value[name]
        exchange.unread = ()


def let_go(exchange: Exchange) -> None:
    """Let go of it, in all that refers to it. The exchange's last attempt is the one that answers."""
    exchange.body, body = b"", exchange.scan.value
    for attempt in exchange.attempts:
        _let_go_of_sent(attempt, body)
    last = exchange.attempts[-1]
    for name in (set(body) if exchange.turn is None else {"input", "tools"}) - _needed_later(last):
        if isinstance(body.get(name), list):
            body[name] = []  # in the one object that everything refers to; the place of a name in it is still needed
    exchange.release()


def _let_go_of_sent(attempt: Attempt, body: dict[str, Any]) -> None:
    """What the attempt read and sent."""
    sent = attempt.request.body if "sent" in attempt.times else None
    if sent is None or len(sent) < LARGE:
        return
    attempt.prompt, attempt.request.body = spent.read(sent), b""
    _let_go_of_read(attempt, body)
