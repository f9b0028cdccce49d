"""One response on a WebSocket, in the place of an HTTP caller: its exchange writes to it.

What the exchange writes are server-sent events. The data of each becomes a message; those of one read of the upstream leave in one
write. Each response has exactly one end: an `error` event if it has not begun, else `response.completed`, `.incomplete` or `.failed`,
whatever the upstream sent.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Mapping
from time import monotonic
from typing import Any, Protocol

from ...codecs import errors, jsontext, responses
from ...codecs.sse import Splitter, safe_json
from ..wire import websocket
from ..wire.socket import Stream
from . import messages

_DELTA = b".delta"
_ENDS = frozenset({b"response.completed", b"response.incomplete", b"response.failed"})
_FAILED = b"response.failed"
_UNTOLD = frozenset({b"error", b"response.cancelled"})  # how an upstream may end what is told as response.failed here
_REPORTED = ("x-dragoman-upstream", "x-dragoman-lane", "x-dragoman-dropped", "x-dragoman-adapted")


class Connection(Protocol):
    """What a response uses of its connection."""

    @property
    def stream(self) -> Stream: ...

    def send(self, frames: bytes) -> Awaitable[Any] | None:
        """Write. Await the result, if any, before the next write of this response."""

    def broken(self) -> None:
        """An invariant broke: close the connection."""


class Caller:
    """The caller of one response. failed: it ended in an `error` event or in response.failed."""

    has_head = False

    def __init__(self, connection: Connection, stream_id: str | None, max_event: int, reports: bool) -> None:
        """max_event: bytes. reports: the upstream and what was dropped are told in an event of their own."""
        self.committed = self.gone = self.aborted = self.failed = False
        self._connection = connection
        self._stream_id = stream_id
        self._tail = b"" if stream_id is None else b',"stream_id":%b}' % jsontext.dumps(stream_id)
        self._splitter = Splitter(max_event + 65536)
        self._reports = reports
        self._headers: Mapping[str, str] = {}
        self._written = monotonic()
        self._sent = 0  # events
        self._head = b""  # the data of response.created
        self._ended = False

    @property
    def stalled(self) -> bool:
        return getattr(self._connection.stream.error, "errno", None) == errno.ETIMEDOUT

    def idle_since(self, now: float) -> float:
        return 0.0 if self._connection.stream.writing() else now - self._written

    def abort(self) -> None:
        """Called when the response can have no proper end."""
        self.aborted = True
        self._connection.broken()

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """The HTTP answer that an error would have been, as an `error` event."""
        self.committed = self.failed = self._ended = True
        pending = self._connection.send(websocket.text(messages.error(status, body, headers, self._stream_id)))
        if pending is not None:
            await pending

    def start(self, headers: Mapping[str, str], first: bytes, status: int = 200, length: int | None = None) -> Awaitable[Any] | None:
        self.committed = True
        self._headers = headers
        return self.write(first)

    def writer(self) -> Any:
        return self.write

    def write(self, data: bytes) -> Awaitable[Any] | None:
        if self._connection.stream.closed():
            self.gone = self.gone or not self.aborted
            return None
        self._written = monotonic()
        out = []
        for name, payload in self._splitter.feed(data):
            if name[-6:] != _DELTA and (self._ended or not self._notes(name, payload)):
                continue
            self._sent += 1
            if self._tail:
                payload = self._in_lane(payload)
            out.append(websocket.text(payload))
            if self._reports:
                self._report(payload, out)
        if not out:
            return None
        return self._connection.send(out[0] if len(out) == 1 else b"".join(out))

    def _in_lane(self, payload: bytes) -> bytes:
        return payload.rstrip()[:-1] + self._tail

    def _notes(self, name: bytes, payload: bytes) -> bool:
        """See an event that is no delta; returns whether it is sent."""
        if not name:  # of an upstream that does not name its events
            name = str(_object(payload).get("type", "")).encode()
        if name in _UNTOLD:
            return False
        if name in _ENDS:
            self._ended = True
            self.failed = name == _FAILED
        elif name == b"response.created":
            self._head = payload
        return payload[:1] == b"{"

    def _report(self, payload: bytes, out: list[bytes]) -> None:
        """Tell where the answer comes from, behind its first event."""
        self._reports = False
        told = {name.removeprefix("x-dragoman-"): self._headers[name] for name in _REPORTED if name in self._headers}
        report = {"type": "dragoman:report", "response_id": _inner(_object(payload), "response").get("id"), **told}
        data = safe_json(report)
        out.append(websocket.text(self._in_lane(data) if self._tail else data))

    async def finish(self, last: bytes = b"") -> None:
        pending = self.write(last) if last else None
        if pending is not None:
            await pending

    def end(self, error: errors.GatewayError | None) -> None:
        """The exchange is over: tell the response's end if none was. error: why it failed."""
        if self._ended or self.gone or self.aborted or self._connection.stream.closed():
            return
        error = error or errors.Truncated("The answer ended before it was complete.")
        if not self._head:
            refused = {"error": error.openai()}
            frame = messages.error(error.http_status("responses"), jsontext.dumps(refused), self._headers, self._stream_id)
        else:
            response = responses.failed(_inner(_object(self._head), "response"), error)
            value = {"type": "response.failed", "sequence_number": self._sent, "response": response}
            frame = safe_json(value)
            if self._tail:
                frame = self._in_lane(frame)
        self._ended = self.failed = True
        self._connection.send(websocket.text(frame))


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = jsontext.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _inner(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
