"""An encoder and its framing: the bytes that a caller gets, as a lane writes them."""

from __future__ import annotations

from typing import Any

from dragoman.codecs import events as ev
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply


class Wire:
    """Stands for the encoder; what it gives is serialised."""

    def __init__(self, shape: str, reply: Reply) -> None:
        self._shape = SHAPES[shape]
        self.encoder: Any = self._shape.Encoder(reply)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)

    def feed(self, events: list[ev.Event]) -> bytes:
        return self._shape.framing.join(self.encoder.feed(events))

    def fail(self, error: Any) -> bytes:
        return self._shape.framing.join(self.encoder.fail(error))

    def keep_alive(self) -> bytes:
        return b"" if self.encoder.ended else self._shape.keep_alive(self.encoder.started)
