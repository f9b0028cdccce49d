"""The three shapes by name, and what the proxy asks of a codec: the one place that lists them."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Protocol

from ...codecs import chat, messages, responses
from ...codecs.errors import GatewayError
from ...codecs.events import Event
from ...codecs.sse import Frame
from ...codecs.usage import Usage

SHAPES: dict[str, ModuleType] = {"chat": chat, "messages": messages, "responses": responses}


class Decoder(Protocol):
    """An upstream's frames to hub events."""

    ended: bool

    @property
    def usage(self) -> Usage | None: ...
    def feed(self, frame: Frame) -> list[Event]: ...
    def finish(self, clean: bool) -> list[Event]: ...


class Encoder(Protocol):
    """Hub events to a client's frames."""

    def feed(self, events: list[Event]) -> bytes: ...
    def keep_alive(self) -> bytes: ...


class Collector(Protocol):
    """Hub events to a whole answer."""

    error: GatewayError | None

    def feed(self, events: list[Event]) -> object: ...
    def body(self) -> dict[str, Any]: ...


class Observer(Protocol):
    """Looks on while frames are carried unchanged."""

    content: bool
    proof: bool
    usage: Usage | None
    error: GatewayError | None
    stop: str | None

    def feed(self, frame: Frame) -> object: ...
    def repeats(self, chunk: bytes) -> int: ...
    def completed(self, clean: bool) -> bool: ...
    def observe_whole(self, body: dict[str, Any]) -> None: ...
