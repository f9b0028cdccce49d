"""WebSocket frames without I/O, in the server role (RFC 6455).

Strategy: `feed` takes what a socket brought, however it is cut, and returns what became complete by it: whole text messages, and
control frames. A payload is unmasked piece by piece as it arrives, by Tornado's C function, so that a message of many megabytes never
holds up the loop. The announced length of a frame counts before its bytes are read: nothing beyond `limit` is buffered.

The first violation is the last thing that is returned: a Fault with the code of the Close frame to send. After it, and after a Close,
nothing more is read.

It negotiates no extension and no subprotocol, and refuses binary messages (1003): no API that is served here sends them.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import hashlib
from typing import NamedTuple

from tornado.util import _websocket_mask as unmask

VERSION = "13"
MAX_CONTROL = 125  # bytes of a control frame's payload
MAX_REASON = MAX_CONTROL - 2

# close codes (RFC 6455, 7.4.1, and IANA's registry)
NORMAL, AWAY, PROTOCOL, UNACCEPTABLE = 1000, 1001, 1002, 1003
NOT_UTF8, POLICY, TOO_BIG, BUG, RESTART = 1007, 1008, 1009, 1011, 1012

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_LAST, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_CLOSE_HEAD = bytes((_LAST | _CLOSE,))
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_UTF8 = codecs.getincrementaldecoder("utf-8")


class Text(NamedTuple):
    """A whole message. data: UTF-8."""

    data: bytes


class Ping(NamedTuple):
    payload: bytes


class Pong(NamedTuple):
    payload: bytes


class Closed(NamedTuple):
    """The caller's Close. code: None when it says none."""

    code: int | None


class Fault(NamedTuple):
    """code: of the Close frame that answers it."""

    code: int
    reason: str


Event = Text | Ping | Pong | Closed | Fault


def accept(key: str) -> str | None:
    """The Sec-WebSocket-Accept for a Sec-WebSocket-Key; None when that is not the base64 of 16 bytes."""
    try:
        if len(key) != 24 or len(base64.b64decode(key, validate=True)) != 16:
            return None
    except (binascii.Error, ValueError):
        return None
    return base64.b64encode(hashlib.sha1(key.encode() + _MAGIC).digest()).decode()


def _head(opcode: int, size: int) -> bytes:
    if size < 126:
        return bytes((opcode, size))
    return b"%c\x7e%b" % (opcode, size.to_bytes(2, "big")) if size < 65536 else b"%c\x7f%b" % (opcode, size.to_bytes(8, "big"))


def begins_close(data: bytes) -> bool:
    """Whether these bytes look like the beginning of a Close: behind a violation nothing is read that would tell for sure."""
    return data[:1] == _CLOSE_HEAD


def text_head(size: int) -> bytes:
    """The bytes before the payload of an unfragmented text message."""
    return _head(_LAST | _TEXT, size)


def text(payload: bytes) -> bytes:
    """One unfragmented text message. payload: UTF-8."""
    return text_head(len(payload)) + payload


def ping(payload: bytes = b"") -> bytes:
    return _head(_LAST | _PING, len(payload)) + payload


def pong(payload: bytes) -> bytes:
    return _head(_LAST | _PONG, len(payload)) + payload


def close(code: int | None, reason: str = "") -> bytes:
    """code: None for an empty Close, which answers one without a code. reason: cut to MAX_REASON bytes."""
    encoded = reason.encode()[:MAX_REASON].decode("utf-8", "ignore").encode()
    payload = b"" if code is None else code.to_bytes(2, "big") + encoded
    return _head(_LAST | _CLOSE, len(payload)) + payload


def is_code(code: int) -> bool:
    """Whether a Close frame may carry this code."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class Reader:
    """What a caller sends. ended: nothing more is read. held: bytes of the message that is not complete yet."""

    def __init__(self, limit: int) -> None:
        """limit: bytes of one message, all of its fragments together."""
        self.ended = False
        self._limit = limit
        self._head = b""  # an incomplete frame head
        self._left = 0  # bytes of the current frame's payload that have not come
        self._in_frame = False
        self._opcode = 0  # of the current frame
        self._last = False  # the current frame ends its message
        self._mask = b""  # from the next byte of the payload on
        self._control = b""  # payload of the current control frame
        self._message = bytearray()
        self._in_message = False
        self._announced = 0  # bytes of the message's frames so far, the current one as a whole
        self._decoder = _UTF8()

    @property
    def held(self) -> int:
        return len(self._message)

    @property
    def left(self) -> int:
        """Bytes of the current frame's payload that have not come."""
        return self._left

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes complete."""
        events: list[Event] = []
        if self._head:
            data, self._head = self._head + data, b""
        at = 0
        while not self.ended:
            if self._in_frame:
                at = self._payload(data, at, events)
                if self._in_frame or self.ended:
                    break
            elif (at := self._begin(data, at, events)) < 0:
                break
        return events

    def _begin(self, data: bytes, at: int, events: list[Event]) -> int:
        """Read a frame's head; returns where its payload begins, -1 when the head is not complete or not valid."""
        if len(data) < at + 2:
            return self._wait(data, at)
        first, second = data[at], data[at + 1]
        fault = self._head_fault(first, second)
        if fault:
            return self._fail(events, PROTOCOL, fault)
        size, end = second & _LENGTH, at + 2
        if size > MAX_CONTROL:
            width = 2 if size == 126 else 8
            end += width
            if len(data) < end:
                return self._wait(data, at)
            size = int.from_bytes(data[end - width : end], "big")
            if size < (126 if width == 2 else 65536) or size >> 63:
                return self._fail(events, PROTOCOL, "the length of a frame is not in its shortest form")
        opcode = first & _OPCODE
        if opcode == _BINARY:
            return self._fail(events, UNACCEPTABLE, "binary messages are not accepted")
        if opcode < _CLOSE:
            self._announced += size
            if self._announced > self._limit:
                return self._fail(events, TOO_BIG, f"a message is larger than {self._limit} bytes")
        if len(data) < end + 4:
            if opcode < _CLOSE:
                self._announced -= size  # the head is read again
            return self._wait(data, at)
        self._mask = data[end : end + 4]
        self._in_frame, self._left = True, size
        self._opcode, self._last = opcode, bool(first & _LAST)
        if opcode < _CLOSE:
            self._in_message = True
        return end + 4

    def _head_fault(self, first: int, second: int) -> str:
        """What is wrong with the first two bytes of a frame; "" when nothing is."""
        opcode, last = first & _OPCODE, first & _LAST
        if first & _RESERVED:
            return "reserved bits are set"
        if not second & _MASKED:
            return "a frame is not masked"
        if opcode >= _CLOSE:
            if opcode > _PONG:
                return "unknown opcode"
            return "" if last and second & _LENGTH <= MAX_CONTROL else "a control frame is fragmented or too long"
        if opcode > _BINARY:
            return "unknown opcode"
        if opcode == _CONTINUATION:
            return "" if self._in_message else "a continuation without a beginning"
        return "a message begins within another" if self._in_message else ""

    def _wait(self, data: bytes, at: int) -> int:
        """Keep an incomplete head: at most 14 bytes."""
        self._head = data[at:]
        return -1

    def _fail(self, events: list[Event], code: int, reason: str) -> int:
        events.append(Fault(code, reason))
        self.end()
        return -1

    def end(self) -> None:
        """Read nothing more; a message that is not complete is forgotten."""
        self.ended = True
        self._head = b""
        self._message = bytearray()

    def _payload(self, data: bytes, at: int, events: list[Event]) -> int:
        """Unmask what has come of the payload; at its end the frame is complete. Returns where the next frame begins."""
        piece = data[at : at + self._left] if at or len(data) > self._left else data
        if piece:
            size = len(piece)
            clear = unmask(self._mask, piece)
            self._left -= size
            at += size
            if self._left and (turn := size & 3):
                self._mask = self._mask[turn:] + self._mask[:turn]
            if self._opcode >= _CLOSE:
                self._control += clear
            else:
                self._message += clear
                try:
                    self._decoder.decode(clear)
                except UnicodeDecodeError:
                    return self._fail(events, NOT_UTF8, "a text message is not UTF-8")
        if not self._left:
            self._in_frame = False
            self._complete(events)
        return at

    def _complete(self, events: list[Event]) -> None:
        if self._opcode >= _CLOSE:
            payload, self._control = self._control, b""
            if self._opcode == _CLOSE:
                self._close(payload, events)
            else:
                events.append(Ping(payload) if self._opcode == _PING else Pong(payload))
        elif self._last:
            if self._decoder.getstate()[0]:
                self._fail(events, NOT_UTF8, "a text message is not UTF-8")
                return
            events.append(Text(bytes(self._message)))
            self._message = bytearray()
            self._in_message, self._announced = False, 0

    def _close(self, payload: bytes, events: list[Event]) -> None:
        if not payload:
            events.append(Closed(None))
            self.end()
            return
        code = int.from_bytes(payload[:2], "big")
        if len(payload) == 1 or not is_code(code):
            self._fail(events, PROTOCOL, "the code of a Close is not valid")
            return
        try:
            payload[2:].decode()
        except UnicodeDecodeError:
            self._fail(events, NOT_UTF8, "the reason of a Close is not UTF-8")
            return
        events.append(Closed(code))
        self.end()
