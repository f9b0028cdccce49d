"""Serialise the frames of an answer as the bytes of a response body.

An encoder returns frames: pairs of an event name and data (see `sse.Frame`). The caller's side serialises them with one of the framings
below. A framing only consists of the bytes around the name and the data, so that a lane can write a single frame without a call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .sse import KEEP_ALIVE, Frame


@dataclass(frozen=True, slots=True)
class Framing:
    """A serialisation of frames: before, the name, between, the data, after.

    content_type: of the response. keep_alive: bytes without meaning that may be written between any two frames. only_data: readers fail
    at comments and at fields besides `data`.
    """

    before: bytes
    between: bytes
    after: bytes
    content_type: str
    keep_alive: bytes
    only_data: bool = False

    def join(self, frames: Iterable[Frame]) -> bytes:
        before, between, after = self.before, self.between, self.after
        pieces: list[bytes] = []
        for name, data in frames:
            pieces += (before, name, between, data, after)
        return b"".join(pieces)


_EVENT_STREAM = "text/event-stream; charset=utf-8"

# server-sent events: without event names, and with a name for each event
DATA_ONLY = Framing(b"data: ", b"", b"\n\n", _EVENT_STREAM, KEEP_ALIVE)
NAMED = Framing(b"event: ", b"\ndata: ", b"\n\n", _EVENT_STREAM, KEEP_ALIVE)

# the same for SDKs that fail at everything else
DATA_LINES = Framing(b"data: ", b"", b"\n\n", _EVENT_STREAM, b"\n", only_data=True)
