"""Server-sent events: from the reads of a socket to frames, and from JSON to the bytes of a frame.

Source: WHATWG HTML, "Server-sent events", 9.2.6 Interpreting an event stream. `id` and `retry` are ignored, frames without
data are not returned, and at the end of the stream a last event that is whole is kept although its blank line is missing.

Strategy: nearly every read is a few whole blocks of `data: …` or `event: …`, `data: …` with LF line ends, which one regular
expression cuts. Any other is cut at b"\\n\\n", and such blocks in it are sliced, not parsed. CR is rewritten to LF first, only
where there is one. Bytes are never decoded here: JSON may hold raw U+2028 and U+0085, which are line ends to `str.splitlines`
but not to this protocol.
"""

from __future__ import annotations

import re
from typing import Any

from . import errors, jsontext

Frame = tuple[bytes, bytes]
"""The `event` field (b"" when there is none) and the data: its lines joined by LF."""

LIMIT = 16 * 2**20
BOM = b"\xef\xbb\xbf"
KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"

# from here on a block is collected in a bytearray: joining it to every read would cost the square of its length
_LONG = 8192


class Splitter:
    """Cuts one stream of bytes into frames, wherever the reads end.

    limit: the longest event in bytes, line ends counted. leftover: after `finish`, that the stream ended inside an event.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.leftover = False
        self._limit = limit
        self._threshold = min(limit, _LONG)
        self._tail = b""
        self._long = bytearray()  # in use instead of _tail once that is long
        self._odd = True  # the next read begins in a special way: the stream's first bytes, or a CR came last
        self._start: bytes | None = b""  # the stream's first bytes as long as they may be a BOM, then None

    @property
    def bytes_pending(self) -> int:
        """Bytes that are kept because their event is not over."""
        return len(self._tail) + len(self._long) + len(self._start or b"")

    @property
    def boundary(self) -> bool:
        """Whether what was fed so far ends between two events (the very start included)."""
        return not (self._long or self._start or self._tail.strip(b"\n"))

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that this read completes. Raises errors.Garbled for an event over the limit."""
        if self._odd:
            chunk = self._plain(chunk)
        if not (self._tail or self._long) and len(chunk) <= self._limit and (usual := _usual(chunk)):
            return usual
        if b"\r" in chunk:
            chunk = self._plain(chunk)
        if self._long:
            chunk = self._lengthened(chunk)
        elif self._tail:
            chunk = self._tail + chunk
        blocks = chunk.split(b"\n\n")
        self._tail = blocks.pop()
        if len(chunk) > self._threshold:
            self._bounded(blocks, len(chunk))
        frames: list[Frame] = []
        for block in blocks:
            if block[:6] == b"data: " and b"\n" not in block:
                data = block[6:]
                kind = b""
            elif block[:7] == b"event: " and len(lines := block.split(b"\n")) == 2 and lines[1][:6] == b"data: ":
                kind, data = lines[0][7:], lines[1][6:]
            else:
                kind, data = _parsed(block)
            if data and not data.isspace():
                frames.append((kind, data))
        return frames

    def finish(self) -> list[Frame]:
        """The end of the stream: the pending event if it is whole. To be called once."""
        pending = (self._start or b"") + bytes(self._long) + self._tail
        frame = _parsed(pending)
        if is_whole(frame[1]):
            return [frame]
        self.leftover = any(line and line[:1] != b":" for line in pending.split(b"\n"))
        return []

    def _plain(self, chunk: bytes) -> bytes:
        """The read with LF as its only line end, and without the stream's BOM."""
        if self._start is not None:
            chunk = self._start + chunk
            if len(chunk) < len(BOM) and BOM.startswith(chunk):
                self._start = chunk
                return b""
            self._start = None
            self._odd = False
            chunk = chunk.removeprefix(BOM)
        if not chunk:
            return chunk
        if self._odd and chunk[:1] == b"\n":
            chunk = chunk[1:]
        self._odd = chunk[-1:] == b"\r"
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _lengthened(self, chunk: bytes) -> bytes:
        """Adds to a long block; gives it back with all that follows when it is over."""
        over = b"\n\n" in chunk or (self._long[-1:] == b"\n" and chunk[:1] == b"\n")
        self._long += chunk
        if not over:
            if len(self._long) > self._limit:
                self._garbled()
            return b""
        chunk = bytes(self._long)
        self._long.clear()
        return chunk

    def _bounded(self, blocks: list[bytes], length: int) -> None:
        """Holds the limit; a long tail is put where it can grow cheaply. length: of all the blocks and the tail."""
        if length > self._limit and (len(self._tail) > self._limit or any(len(block) >= self._limit for block in blocks)):
            self._garbled()
        if len(self._tail) >= self._threshold:
            self._long += self._tail
            self._tail = b""

    def _garbled(self) -> None:
        self._tail = b""
        self._long.clear()
        raise errors.Garbled("The upstream sent an event that is too long.", f"over {self._limit} bytes")


# an event of one line of data, without a name and with one
_DATA = re.compile(rb"^()data: (\S[^\n]*+)\n\n", re.MULTILINE)
_NAMED = re.compile(rb"^event: ([^\n]++)\ndata: (\S[^\n]*+)\n\n", re.MULTILINE)


def _usual(chunk: bytes) -> list[Frame]:
    """The frames of a read that is nothing but such events from end to end; none of any other."""
    if chunk[-2:] != b"\n\n" or b"\r" in chunk:
        return []
    first, end = chunk.find(b"\n"), len(chunk) - 2
    if chunk[:6] == b"data: ":
        if first == end and chunk[6:7].strip():  # one event
            return [(b"", chunk[6:end])]
        lines, event = 2, _DATA
    elif chunk[:7] == b"event: ":
        place = first + 7
        if chunk.find(b"\n", place) == end and chunk[first + 1 : place] == b"data: " and chunk[place : place + 1].strip() and first > 7:
            return [(chunk[7:first], chunk[place:end])]
        lines, event = 3, _NAMED
    else:
        return []
    frames: list[Frame] = event.findall(chunk)
    # each begins a line: when they have all the line ends, nothing stands between them
    return frames if chunk.count(b"\n") == lines * len(frames) else []


def named_alike(chunk: bytes, begin: bytes) -> int:
    """How many events a read holds that all begin so (`event: …`, `data: {`) and end with `}`; 0 when anything else is in it."""
    count, odd = divmod(chunk.count(b"\n"), 3)
    if odd or not chunk.startswith(begin) or chunk[-3:] != b"}\n\n" or b"\r" in chunk:
        return 0
    return count if count == 1 or chunk.count(b"}\n\n" + begin) == count - 1 else 0


def _parsed(block: bytes) -> Frame:
    """One event's lines, by the letter."""
    kind = b""
    data = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            kind = value.removeprefix(b" ")
    return kind, b"\n".join(data)


def is_whole(data: bytes) -> bool:
    """Whether an event's data is what an event may hold: JSON, or the mark of the end."""
    if data.strip() == b"[DONE]":
        return True
    try:
        jsontext.loads(data)
    except ValueError:
        return False
    return True


# ---- frames out ----

_LINE_ENDS = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")
_ESCAPED = {b"\xc2\x85": rb"\u0085", b"\xe2\x80\xa8": rb"\u2028", b"\xe2\x80\xa9": rb"\u2029"}


def data_frame(json: bytes) -> bytes:
    """A frame of the chat shape. json: one line."""
    return b"data: %b\n\n" % json


def event_frame(type: bytes | str, json: bytes) -> bytes:
    """A frame of the messages and responses shapes. json: one line."""
    return b"event: %b\ndata: %b\n\n" % (type.encode() if isinstance(type, str) else type, json)


def safe_json(value: Any) -> bytes:
    """Compact JSON that no client's line splitter cuts: U+0085, U+2028, U+2029 and lone surrogates are escaped."""
    text = jsontext.dumps(value)
    if text.isascii():
        return text
    return _LINE_ENDS.sub(lambda match: _ESCAPED[match[0]], text)
