"""The third lane: bytes of any kind, carried as they come. Nothing is decoded; usage is read from the end of the answer.

The lane has no way to tell a failure within an answer, and no proof of completion but HTTP's own: an answer that breaks is aborted.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from ...codecs import errors, jsontext, scrub, splice
from ...codecs.ledger import Ledger
from ...codecs.usage import Usage, from_chat, from_responses
from ..routing.candidate import Candidate
from .lanes import INTERRUPTED

if TYPE_CHECKING:
    from .exchange import Exchange

TAIL = 2048  # bytes at the end of an answer where its usage is looked for

_USAGE = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]++|\{[^{}]*+\})*+\})')


class RawLane:
    """An operation's answer as it is. It speaks as the other lanes do."""

    name = "raw"
    counted = True  # its operations tell a usage at their end
    stop: str | None = None
    claimed: asyncio.Future[None] | None = None

    def __init__(self, streamed: bool, metered: bool = True, whole: bool = False) -> None:
        """streamed: the upstream sends events, which are counted: without a usage they are what can be charged. metered: see
        Operation. whole: nothing is sent before all has come.
        """
        self.content = self.heard = not whole  # whatever comes is for the caller
        self._metered = metered
        self.ended = False
        self.error: errors.GatewayError | None = None
        self.events = 0
        self._streamed = streamed
        self._tail = b""

    @property
    def usage(self) -> Usage | None:
        """What the upstream itself counted, as far as the answer has said it."""
        for data in reversed(_USAGE.findall(self._tail)) if self._metered else ():
            try:
                value = jsontext.loads(data)
            except ValueError:
                continue
            return from_responses(value) if "input_tokens" in value else from_chat(value)
        return None

    def feed(self, chunk: bytes) -> bytes:
        self._tail = chunk[-TAIL:] if len(chunk) >= TAIL else (self._tail + chunk)[-TAIL:]
        if self._streamed:
            self.events += chunk.count(b"data:")
        return chunk

    def finish(self, clean: bool) -> bytes:
        """The upstream's answer is over, in good order by HTTP."""
        self.ended = True
        if not clean:
            self.error = errors.Truncated(INTERRUPTED)
        return b""

    def break_off(self, error: errors.GatewayError) -> None:
        self.ended = True
        self.error = error

    def close(self) -> bytes:
        return b""

    def keep_alive(self) -> bytes:
        return b""


def carried(exchange: Exchange, candidate: Candidate, ledger: Ledger) -> bytes | None:
    """The caller's bytes with the model's name replaced, and with what the upstream cannot know of the caller's conversation."""
    body, scan, field, state = exchange.body, exchange.scan, exchange.form_field, exchange.state
    if exchange.operation.model == "none":
        return body or (b"" if exchange.operation.method == "POST" else None)
    if field is not None:
        return body[: field[0]] + candidate.model.encode() + body[field[1] :]
    inlined = None if state is None else state.inlined(candidate, ledger)
    if inlined is not None or (state is not None and scrub.is_foreign(body, candidate.speaks.marks)):
        value = dict(scan.value) if inlined is None else inlined
        if scrub.scrub(candidate.speaks.scrub, value, candidate.capabilities, ledger) or inlined is not None:
            body = jsontext.dumps(value)
            scan = splice.scan(body)
    return body if scan.model == candidate.model else candidate.speaks.rename(body, scan, candidate.model)
