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
from ...codecs.anything import dict_of, object_of
from ...codecs.sse import Splitter, safe_json
from ..wire import websocket
from ..wire.socket import Stream
from . import messages

FRAMED = 4096  # bytes of events whose message's head is at hand
_HEADS = [websocket.text_head(size) for size in range(FRAMED + 512)]  # a stream_id is longer than what it replaces

_END = b"}\n\n"  # of an event
_BRACE = ord("}")
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
        self._connection, self._stream = connection, connection.stream
        self._offer = connection.stream.offer
        self._stream_id = stream_id
        self._tail = b"}" if stream_id is None else b',"stream_id":%b}' % jsontext.dumps(stream_id)  # how each message ends
        self._splitter = Splitter(max_event + 65536)
        self._reports = reports
        self._headers: Mapping[str, str] = {}
        self._written = monotonic()
        self._sent = 0  # events
        self.bytes = 0  # of events that were not sent through the connection
        # the bytes before the data of the delta that is expected; how many; how many more an event has than its message; what stands
        # between two such events
        self._begin, self._begun, self._around, self._next = b"\0", 1, 0, b"\0"
        self._head = b""  # the data of response.created
        self._ended = False

    @property
    def stalled(self) -> bool:
        return getattr(self._stream.error, "errno", None) == errno.ETIMEDOUT

    def idle_since(self, now: float) -> float:
        return 0.0 if self._stream.writing() else now - self._written

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
        """Complete events. One more delta of the kind before, as nearly every read brings, is not looked at any closer."""
        if not data.isascii():
            data = _utf8(data)
        if data.startswith(self._begin) and not self.gone:
            begun, length = self._begun, len(data)
            if data.find(b"\n", begun) == length - 2 and data[-3] == _BRACE and length < FRAMED:
                self._written = monotonic()
                self._sent += 1
                self.bytes += length
                return self._offer(b"".join((_HEADS[length - self._around], data[begun:-3], self._tail)))
            pieces = data[begun:-3].split(self._next)
            if data.count(b"\n") == 3 * len(pieces) and data[-3:] == _END:
                return self._deltas(pieces)
        if self._stream.closed():
            self.gone = self.gone or not self.aborted
        if self.gone:
            return None
        self._written = monotonic()
        return self._events(data)

    def _deltas(self, pieces: list[bytes]) -> Awaitable[Any] | None:
        """Several deltas of one kind. pieces: the data of each, without its last brace."""
        tail, heads, more = self._tail, _HEADS, len(self._tail)
        out: list[bytes] = []
        for piece in pieces:
            size = len(piece) + more
            out += (heads[size] if size < FRAMED else websocket.text_head(size), piece, tail)
        self._sent += len(pieces)
        self._written = monotonic()
        return self._connection.send(b"".join(out))

    def _events(self, data: bytes) -> Awaitable[Any] | None:
        out = []
        frames = self._splitter.feed(data)
        for name, payload in frames:
            if self._ended or (name[-6:] != _DELTA and not self._notes(name, payload)):
                continue
            self._sent += 1
            out.append(websocket.text(payload if self._stream_id is None else self._in_lane(payload)))
            if self._reports:
                self._report(payload, out)
        if frames and name[-6:] == _DELTA and self._splitter.boundary:
            self._expect(name)
        return self._connection.send(out[0] if len(out) == 1 else b"".join(out)) if out else None

    def _expect(self, name: bytes) -> None:
        """A delta of this name comes next, probably."""
        self._begin = b"event: %b\ndata: " % name
        self._begun = len(self._begin)
        self._around = self._begun + len(_END) - len(self._tail)
        self._next = _END + self._begin

    def _in_lane(self, payload: bytes) -> bytes:
        return payload.rstrip()[:-1] + self._tail

    def _notes(self, name: bytes, payload: bytes) -> bool:
        """See an event that is no delta; returns whether it is sent."""
        if not name:  # of an upstream that does not name its events
            name = str(object_of(payload).get("type", "")).encode()
        if name in _UNTOLD:
            return False
        if name in _ENDS:
            self._ended = True
            self.failed = name == _FAILED
        elif name == b"response.created":
            self._head = payload
        return payload.lstrip()[:1] == b"{"

    def _report(self, payload: bytes, out: list[bytes]) -> None:
        """Tell where the answer comes from, behind its first event."""
        self._reports = False
        fields = {name.removeprefix("x-dragoman-"): self._headers[name] for name in _REPORTED if name in self._headers}
        report = {"type": "dragoman:report", "response_id": dict_of(object_of(payload), "response").get("id"), **fields}
        data = safe_json(report)
        out.append(websocket.text(data if self._stream_id is None else self._in_lane(data)))

    async def finish(self, last: bytes = b"") -> None:
        pending = self.write(last) if last else None
        if pending is not None:
            await pending

    def end(self, error: errors.GatewayError | None) -> None:
        """The exchange is over: tell the response's end if none was. error: why it failed."""
        if self._ended or self.gone or self.aborted or self._stream.closed():
            return
        error = error or errors.Truncated("The answer ended before it was complete.")
        if not self._head:
            refused = {"error": error.openai()}
            frame = messages.error(error.http_status("responses"), jsontext.dumps(refused), self._headers, self._stream_id)
        else:
            response = responses.failed(dict_of(object_of(self._head), "response"), error)
            value = {"type": "response.failed", "sequence_number": self._sent, "response": response}
            frame = safe_json(value)
            if self._stream_id is not None:
                frame = self._in_lane(frame)
        self._ended = self.failed = True
        self._connection.send(websocket.text(frame))


def _utf8(data: bytes) -> bytes:
    """The same, with U+FFFD for bytes that are not UTF-8: a message with one of them would end the connection."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode(errors="replace").encode()
    return data
