"""Collect hub events in one response object."""

from __future__ import annotations

from typing import Any

from ..errors import GatewayError
from ..events import Event, Fault
from ..reply import Reply
from .stream_out import StreamEncoder

_Value = dict[str, Any]


class Collector:
    """Collects one answer in one object. error: that of a Fault, or None. response, raw_reasoning: see `StreamEncoder`."""

    def __init__(self, reply: Reply) -> None:
        self.error: GatewayError | None = None
        self._encoder = StreamEncoder(reply, whole=True)

    @property
    def response(self) -> _Value | None:
        return self._encoder.response

    @property
    def raw_reasoning(self) -> dict[int, list[_Value] | str]:
        return self._encoder.raw_reasoning

    def feed(self, events: list[Event]) -> None:
        self._encoder.feed(events)
        self.error = next((event.error for event in events if isinstance(event, Fault)), self.error)

    def body(self) -> _Value:
        """The response object. Must be called after Stop."""
        assert self.response is not None
        return self.response
