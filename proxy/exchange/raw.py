"""The third lane: bytes of any kind, carried as they come. Nothing is decoded; usage is read from the end of the answer.

The lane has no way to tell a failure within an answer, and no proof of completion but HTTP's own: an answer that breaks is aborted.
"""

from __future__ import annotations

import asyncio
import re

from ...codecs import errors, jsontext
from ...codecs.usage import Usage, from_chat, from_responses
from .lanes import INTERRUPTED

TAIL = 2048  # bytes at the end of an answer where its usage is looked for

_USAGE = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]++|\{[^{}]*+\})*+\})')


class RawLane:
    """An operation's answer as it is. It speaks as the other lanes do."""

    name = "raw"
    content = True  # whatever comes is for the caller
    stop: str | None = None
    claimed: asyncio.Future[None] | None = None

    def __init__(self, streamed: bool) -> None:
        """streamed: the upstream sends events, which are counted: without a usage they are what can be charged."""
        self.ended = False
        self.error: errors.GatewayError | None = None
        self.events = 0
        self._streamed = streamed
        self._tail = b""

    @property
    def usage(self) -> Usage | None:
        """What the upstream itself counted, as far as the answer has said it."""
        for found in reversed(_USAGE.findall(self._tail)):
            try:
                value = jsontext.loads(found)
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
