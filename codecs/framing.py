"""How the frames of an answer become the bytes of a response body.

An encoder returns frames: pairs of an event name and its data (see `sse.Frame`). It does not know how they travel; the caller's side
serialises them with one of the objects below. All of them stand on operations that CPython runs without a Python frame, so that
framing a delta costs no Python call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .sse import KEEP_ALIVE, Frame


@dataclass(frozen=True, slots=True)
class Framing:
    """One way to serialise frames.

    content_type: of the response. form: the bytes of one frame. keep_alive: bytes that may be written between any two frames and
    say nothing, b"" where there is no such thing.
    """

    content_type: str
    form: Callable[[Frame], bytes]
    keep_alive: bytes

    def join(self, frames: Iterable[Frame]) -> bytes:
        return b"".join(map(self.form, frames))


_EVENT_STREAM = "text/event-stream; charset=utf-8"

# server-sent events; `%.0b` takes the name and writes nothing
DATA_ONLY = Framing(_EVENT_STREAM, b"%.0bdata: %b\n\n".__mod__, KEEP_ALIVE)
NAMED = Framing(_EVENT_STREAM, b"event: %b\ndata: %b\n\n".__mod__, KEEP_ALIVE)
