"""Answers that broke off within a text after their first content, and that another attempt goes on with (`retry_policy.continue`).

Strategy: while such an answer runs, what the caller is told of it is noted (codecs/continuation.py). When the upstream breaks off, the
next candidate, else the same one, is asked for the rest, and its events are written by the encoder of the first answer. Of an answer that
was carried as bytes there is none yet: one is made, and fed with what the caller was told.

What is not continued: anything but text, a request with effects at the upstream, an answer with a required form, a stored response of an
upstream's own, and responses that are carried to callers of the same API, whose ids and numbers are the upstream's. An error that the
upstream itself has told in the caller's API has been passed on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...codecs import continuation, effects, errors
from ...codecs.continuation import Joined, Listener, Transcript
from ...codecs.reply import Reply, Unsaid
from ...codecs.shape import Encoder, Observer
from ...codecs.sse import Frame
from ...codecs.usage import Usage, added
from ..routing.candidate import Candidate
from ..wire import bodies
from .lanes import BytesLane, EventsLane
from .spent import used
from .unneeded import reread

if TYPE_CHECKING:
    from .attempt import Attempt
    from .exchange import Exchange

MOST = 3  # times that one answer is continued


def begins(attempt: Attempt) -> Transcript | None:
    """What to note the answer of an attempt in, where it may be continued; None: it may not."""
    exchange = attempt.exchange
    if exchange.cut is not None:
        return exchange.cut.transcript
    policy = attempt.candidate.provider.retry_policy
    if policy is None or policy.continues == "off" or not attempt.stream or not attempt.asks or exchange.compacting:
        return None
    if exchange.speaks.stateful and (attempt.same_shape or _stored_there(exchange, attempt.candidate)):
        return None
    return Transcript() if _plain(attempt.candidate) else None


def _plain(candidate: Candidate) -> bool:
    """Whether what the operator sets allows an answer to be continued there."""
    edits = candidate.provider.edits
    return edits is None or not (candidate.acts or edits.forms)


def _stored_there(exchange: Exchange, candidate: Candidate) -> bool:
    return exchange.turn is not None and exchange.turn.keeping(candidate) == "upstream"


def listen(attempt: Attempt, transcript: Transcript) -> None:
    """From now on record in the transcript what the caller is sent of an attempt's answer."""
    lane, cut = attempt.lane, attempt.exchange.cut
    if cut is not None:
        return  # Joined records it
    if isinstance(lane, EventsLane):
        lane.decoder = Listener(lane.decoder, transcript)
    elif isinstance(lane, BytesLane):
        decoder = attempt.candidate.speaks.Decoder(_apart(attempt.reply))
        lane.observer = _Observed(lane.observer, Listener(decoder, transcript))


def _apart(reply: Reply) -> Reply:
    """A reply for what is decoded or encoded beside the answer, and reports nothing."""
    return replace(reply, unsaid=Unsaid(), recall=None)


class _Observed:
    """An observer whose frames are decoded as well."""

    def __init__(self, observer: Observer, decoder: Listener) -> None:
        self._observer, self._decoder = observer, decoder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._observer, name)

    def feed(self, frame: Frame) -> object:
        result = self._observer.feed(frame)
        if self._observer.error is None:
            self._decoder.feed(frame)
        return result

    def repeats(self, chunk: bytes) -> int:
        return 0  # each frame is looked at


def cuts(attempt: Attempt, lane: BytesLane | EventsLane) -> bool:
    """Whether an answer that has broken off can be continued; the exchange has the cut then."""
    transcript, exchange, before = attempt.transcript, attempt.exchange, attempt.exchange.cut
    if transcript is None or transcript.part < 0 or exchange.client.gone or not isinstance(lane.error, errors.UpstreamFault):
        return False
    if before is not None and before.count >= MOST:
        return False
    if isinstance(lane, EventsLane):
        encoder = lane.encoder
    elif lane.untold:
        encoder = exchange.speaks.Encoder(_apart(attempt.reply))
        encoder.feed(transcript.events())
    else:
        return False
    if encoder.ended:
        return False
    exchange.cut = Cut(attempt, transcript, encoder, before)
    return True


class Cut:
    """An answer that has broken off. attempt: the last that sent some of it. transcript: what was sent. count: how often it has."""

    __slots__ = ("_encoder", "_exact", "attempt", "count", "spent", "transcript")

    def __init__(self, attempt: Attempt, transcript: Transcript, encoder: Encoder, before: Cut | None) -> None:
        self.attempt, self.transcript, self._encoder = attempt, transcript, encoder
        self.count: int = 1 if before is None else before.count + 1
        self.spent: Usage | None = None if before is None else before.spent  # by all attempts so far
        self._exact = False

    def spend(self) -> None:
        """Count what the attempt used, as far as it can be known."""
        usage = used(self.attempt)
        if usage is not None:
            self.spent = usage if self.spent is None else added(self.spent, usage)

    def ask(self, attempt: Attempt) -> None:
        """Change the request of an attempt into one for the rest. Raises Unsupported."""
        request = attempt.asked
        self._exact = continuation.ask(request, self.transcript.texts(), attempt.candidate.speaks, attempt.capabilities)

    def lowered(self, changes: Iterable[tuple[str, object]]) -> list[tuple[str, object]]:
        """What the operator sets in a request for the rest. Raises Unsupported."""
        return continuation.lowered(changes, self.transcript.texts())

    def join(self, attempt: Attempt, lane: EventsLane) -> None:
        """Have the answer of an attempt written behind this one."""
        lane.encoder = self._encoder
        lane.decoder = Joined(lane.decoder, self.transcript, self.spent, attempt.reply, self._exact)

    def mark(self, attempt: Attempt) -> bytes:
        """A comment in the caller's stream that says who goes on; b"" in a framing without comments."""
        self.attempt.continued = True
        name = "".join(filter(str.isprintable, attempt.candidate.name))
        return b"" if attempt.exchange.speaks.framing.only_data else b": continued by %b\n\n" % name.encode()


async def go_on(exchange: Exchange, cut: Cut, ask: Callable[[Candidate], Awaitable[bool]]) -> bool:
    """Ask others for the rest of an answer; without success its failure is told. Always True: the caller has an answer."""
    attempt = cut.attempt
    cut.spend()
    await reread(exchange)
    if await bodies.apart(exchange.heavy, lambda: _may(exchange)):
        for candidate in _order(exchange, attempt.candidate):
            try:
                if await ask(candidate):
                    return True
            except errors.GatewayError:
                if exchange.cut is not cut:
                    raise
    lane = attempt.lane
    assert isinstance(lane, BytesLane | EventsLane)
    _last(exchange, attempt)
    await attempt.conclude(lane)
    return True


def _may(exchange: Exchange) -> bool:
    """Whether the request allows its answer to be continued, and may be sent again."""
    items = () if exchange.turn is None else (exchange.turn.items(),)
    try:
        request = exchange.speaks.decode_request(exchange.scan.value, *items)
    except errors.ClientFault:
        return False
    return continuation.continuable(request) and not effects.acts(request, exchange.speaks.stateful)


def _order(exchange: Exchange, own: Candidate) -> tuple[Candidate, ...]:
    """Who to ask for the rest: those that were not asked yet, then the one that broke off."""
    asked = {attempt.candidate.seed for attempt in exchange.attempts}
    others = tuple(one for one in exchange.order if one.seed not in asked and _plain(one) and not _stored_there(exchange, one))
    return (*exchange.services.ejection.ordered(others), own)


def _last(exchange: Exchange, attempt: Attempt) -> None:
    """The last attempt is the one that the caller is told of."""
    exchange.attempts.remove(attempt)
    exchange.attempts.append(attempt)
