"""In which dialect of its API a caller is answered: what its key says counts before its model's entry, and that before the whole file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...codecs.dialect import FAILED, Dialect
from ...codecs.reply import Reply
from ...conf.model import AUTO, Responses
from ..routing.candidate import Candidate

if TYPE_CHECKING:
    from .exchange import Exchange

_NOTHING = Responses()


def in_dialect(reply: Reply, exchange: Exchange, candidate: Candidate | None = None) -> Reply:
    """The reply with what its caller's dialect decides. candidate: whose answer it is; None: nobody's."""
    dialects = exchange.speaks.dialects
    if not dialects:
        return reply
    services = exchange.services
    key, config = exchange.identity.responses, services.config.responses
    entry = _NOTHING if candidate is None else candidate.provider.responses
    name = key.dialect or entry.dialect or config.dialect or AUTO
    dialect = _asked(dialects, exchange.headers) if name == AUTO else dialects[name]
    complete = next((settings.complete for settings in (key, entry, config) if settings.complete is not None), dialect.complete)
    if exchange.turn is not None and exchange.turn.job is not None:
        dialect = _usual(dialects)  # whoever reads its events later may ask for another
    if exchange.message is not None:  # each event is a message, and an answer has one end
        dialect = dialect._replace(end=b"", failure=(FAILED,))
    reply.dialect, reply.complete = dialect, complete
    reply.phases = reply.request.phases or (candidate is not None and candidate.capabilities.phase)
    return reply


def _usual(dialects: Mapping[str, Dialect]) -> Dialect:
    return next(iter(dialects.values()))


def _asked(dialects: Mapping[str, Dialect], headers: Mapping[str, str]) -> Dialect:
    return next((each for each in dialects.values() if each.asked_by and each.asked_by in headers), _usual(dialects))
