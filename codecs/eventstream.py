"""Split a stream of `application/vnd.amazon.eventstream` into messages.

A message is: its length (u32), the length of its headers (u32), the CRC-32 of these 8 bytes, the headers, the payload, the CRC-32 of
all that; big-endian. A header is the length of its name (u8), the name, the type of its value (u8), the value; only strings matter
here, other types are skipped by their lengths.
Source: AWS, "Event stream encoding"; botocore 1.44 `eventstream.py`, whose parser is the tests' oracle and whose limits are these.

Strategy: messages are cut out of the read as it came; only an incomplete one is buffered, in a bytearray. The headers of one delta are
those of the one before, byte for byte, so they are parsed once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

from . import errors
from .reply import Unsaid
from .sse import LIMIT, Frame

PRELUDE = 12  # bytes
LEAST = 16  # bytes of a message: the prelude, and the CRC at the end
MOST_HEADERS = 128 * 1024
MOST_PAYLOAD = 24 * 1024 * 1024

_PRELUDE = struct.Struct(">III")
_U32 = struct.Struct(">I")
_U16 = struct.Struct(">H")
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # bytes of a value by its type; types 6 and 7 say their own
_WITH_LENGTH = (6, 7)  # bytes, string
_STRING = 7


class Message(NamedTuple):
    """headers: those whose values are strings. kind: event, exception or error. name: of the event or the exception; an error's code."""

    headers: dict[str, str]
    kind: str
    name: str
    payload: bytes


Read = Callable[[Message, Unsaid], Frame | None]
"""(message, reply's unsaid) → its frame; None if there is nothing to say."""


class Splitter:
    """As sse.Splitter. limit: bytes of a message. read: what a message says."""

    def __init__(self, limit: int = LIMIT, unsaid: Unsaid | None = None, *, read: Read) -> None:
        self.leftover = False
        self._limit = min(limit, LEAST + MOST_HEADERS + MOST_PAYLOAD)
        self._unsaid = unsaid or Unsaid()
        self._read = read
        self._pending = bytearray()  # an incomplete message
        self._wanted = PRELUDE  # bytes of it that are needed to go on
        self._raw = b""  # the headers of the last message
        self._head: tuple[dict[str, str], str, str] = ({}, "event", "")

    @property
    def bytes_pending(self) -> int:
        """The number of buffered bytes of an incomplete message."""
        return len(self._pending)

    def feed(self, chunk: bytes) -> list[Frame]:
        """Return the frames completed by this read. Raises errors.Garbled for a message that is too long or damaged."""
        pending = self._pending
        if pending:
            pending += chunk
            if len(pending) < self._wanted:
                return []
            chunk = bytes(pending)
            pending.clear()
        frames: list[Frame] = []
        at, end = 0, len(chunk)
        while end - at >= PRELUDE:
            length = self._length(chunk, at)
            if end - at < length:
                self._wanted = length
                break
            frame = self._read(self._message(chunk, at, length), self._unsaid)
            if frame is not None:
                frames.append(frame)
            at += length
        else:
            self._wanted = PRELUDE
        if at < end:
            pending += chunk[at:]
        return frames

    def finish(self) -> list[Frame]:
        """At the end of the stream: a message is given out as soon as it is complete, what is left is none."""
        self.leftover = bool(self._pending)
        return []

    def _length(self, chunk: bytes, at: int) -> int:
        """The length of a message, whose prelude is good. Raises Garbled."""
        length, headers, check = _PRELUDE.unpack_from(chunk, at)
        if crc32(chunk[at : at + 8]) != check:
            raise _damaged("the checksum of a prelude")
        if not LEAST <= length <= self._limit or headers > min(length - LEAST, MOST_HEADERS):
            raise _damaged(f"a message of {length} bytes with {headers} bytes of headers")
        return length  # type: ignore[no-any-return]

    def _message(self, chunk: bytes, at: int, length: int) -> Message:
        """Raises Garbled."""
        end = at + length - 4
        if crc32(memoryview(chunk)[at:end]) != _U32.unpack_from(chunk, end)[0]:
            raise _damaged("the checksum of a message")
        begin = at + PRELUDE
        payload = begin + _U32.unpack_from(chunk, at + 4)[0]
        raw = chunk[begin:payload]
        if raw != self._raw:
            self._head = _parts_of(parsed(raw))
            self._raw = raw
        return Message(*self._head, chunk[payload:end])


_NAMED_BY = {"exception": ":exception-type", "error": ":error-code"}


def _parts_of(headers: dict[str, str]) -> tuple[dict[str, str], str, str]:
    """The headers, the kind of the message, and its name. Old services leave out the kind."""
    kind = headers.get(":message-type", "event")
    return headers, kind, headers.get(_NAMED_BY.get(kind, ":event-type"), "")


def parsed(raw: bytes) -> dict[str, str]:
    """The headers of a message whose values are strings. Raises Garbled."""
    headers: dict[str, str] = {}
    at = 0
    try:
        while at < len(raw):
            name_end = at + 1 + raw[at]
            name, kind = raw[at + 1 : name_end], raw[name_end]
            at = name_end + 1
            size = _SIZES.get(kind)
            if size is None:
                if kind not in _WITH_LENGTH:
                    raise _damaged(f"a header of the type {kind}")
                (size,) = _U16.unpack_from(raw, at)
                at += 2
            value = raw[at : at + size]
            at += size
            if at > len(raw):
                raise _damaged("a header")
            if kind == _STRING:
                headers[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    except (IndexError, struct.error):
        raise _damaged("a header") from None
    return headers


def _damaged(what: str) -> errors.Garbled:
    return errors.Garbled("The upstream sent an event that is damaged or too long.", what)
