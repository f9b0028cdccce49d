"""What of a request is not needed any more once its answer has begun: an agent's request is a megabyte, and its answer takes minutes.

From the first content on no other attempt asks an upstream, unless an answer that breaks off is to be gone on with. What goes then:
the caller's body, as it came and as it was read, and what attempts made of it and sent. What stays: the members that answers show and
that are settled (all but the turns of a stateful API), an estimate of the tokens, and the input where it is stored with the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import spent

if TYPE_CHECKING:
    from .attempt import Attempt
    from .exchange import Exchange

LARGE = 16 * 1024  # bytes of a body; a smaller one stays as it is: that costs less than to tell what of it is needed


def let_go(exchange: Exchange) -> None:
    """Let go of it, in all that refers to it. The exchange's last attempt is the one that answers."""
    exchange.body = b""
    for attempt in exchange.attempts:
        _let_go_of_sent(attempt)
    body, turn, last = exchange.scan.value, exchange.turn, exchange.attempts[-1]
    gone = set(body)
    if turn is not None:
        gone = set() if last.same_shape else {"tools"}  # the encoder has what it shows of them
        if not turn.keeps_input(last.candidate):
            gone.add("input")
    for name in gone:
        if isinstance(body.get(name), list):
            body[name] = []  # in the one object that everything refers to; the place of a name in it is still needed
    exchange.release()


def _let_go_of_sent(attempt: Attempt) -> None:
    """What the attempt read and sent."""
    sent = attempt.request.body if "sent" in attempt.times else None
    if sent is None or len(sent) < LARGE:
        return
    attempt.prompt, attempt.request.body = spent.read(sent), b""
    attempt.history = None
    if not attempt.raw:
        attempt.reply.request.turns, attempt.reply.request.tools = [], []
