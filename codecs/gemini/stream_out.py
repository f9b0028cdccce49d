"""Encode hub events as a gemini answer. Not implemented yet."""

from __future__ import annotations

from typing import Any

from ..errors import GatewayError
from ..events import Event
from ..reply import Reply
from ..sse import Frame


class StreamEncoder:
    def __init__(self, reply: Reply) -> None:
        self.started = False
        self.ended = False

    def feed(self, events: list[Event]) -> list[Frame]:
        raise NotImplementedError


class Collector:
    error: GatewayError | None = None

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def feed(self, events: list[Event]) -> None:
        raise NotImplementedError

    def body(self) -> dict[str, Any]:
        raise NotImplementedError
