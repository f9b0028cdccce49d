"""How the frames of an answer become the bytes of a response body.

An encoder returns frames: pairs of an event name and its data (see `sse.Frame`). It does not know how they travel; the caller's side
serialises them by one of the framings below. A framing is nothing but the bytes around a name and its data, so that a lane can write
the one frame of an ordinary read without a call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .sse import KEEP_ALIVE, Frame


@dataclass(frozen=True, slots=True)
class Framing:
    """One way to serialise frames: before, the name, between, the data, after.

    content_type: of the response. keep_alive: bytes that may be written between any two frames and say nothing.
    """

    before: bytes
    between: bytes
    after: bytes
    content_type: str
    keep_alive: bytes

    def join(self, frames: Iterable[Frame]) -> bytes:
        before, between, after = self.before, self.between, self.after
        pieces: list[bytes] = []
        for name, data in frames:
            pieces += (before, name, between, data, after)
        return b"".join(pieces)


_EVENT_STREAM = "text/event-stream; charset=utf-8"

# server-sent events: whose events have no names, and whose all have one
DATA_ONLY = Framing(b"data: ", b"", b"\n\n", _EVENT_STREAM, KEEP_ALIVE)
NAMED = Framing(b"event: ", b"\ndata: ", b"\n\n", _EVENT_STREAM, KEEP_ALIVE)
