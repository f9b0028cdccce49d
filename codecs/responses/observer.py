"""Observe an answer that is passed unchanged to a client of the same shape: usage, ending, error."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import errors, jsontext
from ..anything import dict_of, dicts_of, placed_dicts_of, str_of
from ..chat.errors_in import error_of
from ..endings import UNKNOWN
from ..reply import Reply
from ..sse import Frame, named_alike
from ..usage import Usage, from_responses
from .stream_in import CALLS, FAILED, IN_TURN, is_error, reason_of

_Value = dict[str, Any]

# event types that may precede the first content
_PRELUDE = frozenset({
    "response.created", "response.queued", "response.in_progress", "response.content_part.added",
    "response.reasoning_summary_part.added", "keepalive", "error", "",
})  # fmt: skip
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_NOTABLE = _TERMINAL | {"error"}
_NOTABLE_BYTES = frozenset(kind.encode() for kind in _NOTABLE)
_IN_DATA = tuple(b'"%b"' % kind for kind in sorted(_NOTABLE_BYTES))
_DELTA = b"event: response.output_text.delta\ndata: {"


class Observer:
    """Observes an answer that is passed unchanged to a client of the same shape.

    content: whether content was seen. proof: whether a terminal event completed the answer. error: the provider's error.
    """

    __slots__ = ("_reply", "content", "error", "proof", "stop", "usage")

    bare = 0  # this shape has no events with usage only

    repeats = staticmethod(partial(named_alike, begin=_DELTA))
    """The number of text deltas that `chunk` consists of; 0 if it contains anything else. They need not be fed."""

    def __init__(self, reply: Reply | None = None) -> None:
        self._reply = reply
        self.content = False
        self.proof = False
        self.error: errors.GatewayError | None = None
        self.usage: Usage | None = None
        self.stop: str | None = None

    def feed(self, frame: Frame) -> None:
        """Observe one frame. Never raises. After the first content only events that may end the answer are parsed."""
        name, data = frame
        if self.content and name not in _NOTABLE_BYTES:
            if name and name[:9] == b"response.":
                return
            if not any(mark in data for mark in _IN_DATA):
                return
        try:
            value = jsontext.loads(data)
        except ValueError:
            return
        if isinstance(value, dict):
            self._see(str_of(value, "type") or name.decode("utf-8", "replace"), value)

    @property
    def counted(self) -> bool:
        """Whether the usage is that of all of the answer: this shape reports no other, but one that failed may count nothing of it."""
        return self.usage is not None and (self.usage.output > 0 or not self.content)

    def completed(self, clean: bool) -> bool:
        """Whether the answer was complete when the transport ended; only a terminal event proves that."""
        return self.proof

    def observe_whole(self, body: _Value) -> None:
        """Observe a complete answer."""
        if body.get("object") != "response" and is_error(body):
            self._count(body)
            self.error = error_of(body)
            return
        self.content = bool(placed_dicts_of(body, "output"))
        self._see_end(body)

    def _see(self, kind: str, value: _Value) -> None:
        if kind in _TERMINAL:
            self._see_end(dict_of(value, "response"))
        elif kind == "error" or is_error(value):
            self._count(value)
            self.error = error_of(value)
        elif kind == "response.output_item.added":
            self.content |= str_of(dict_of(value, "item"), "type") not in IN_TURN
        else:
            self.content |= kind not in _PRELUDE and value.get("delta") != ""
            if self._reply is not None and isinstance(value.get("response"), dict):
                self._reply.begun = value["response"]

    def _see_end(self, response: _Value) -> None:
        self._count(response)
        status = response.get("status")
        if status in FAILED:
            self.error = error_of({"error": dict_of(response, "error")})
        else:
            self.proof = True
            self.stop = reason_of(response, any(str_of(item, "type") in CALLS for item in dicts_of(response, "output"))) or UNKNOWN

    def _count(self, holder: _Value) -> None:
        """Read the usage, if there is one. holder: the response, or an error."""
        usage = holder.get("usage")
        if isinstance(usage, dict):
            self.usage = from_responses(usage, holder.get("service_tier"), holder.get("tool_usage"))
