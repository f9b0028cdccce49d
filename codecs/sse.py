"""Server-sent events: splitting the reads of a socket into frames, and serialising JSON as frames.

Source: WHATWG HTML, "Server-sent events", 9.2.6 Interpreting an event stream. `id` and `retry` are ignored, frames without
data are not returned, and a complete last event is returned even if the stream ends without its blank line. A field `error` is one of
some servers' own, see ERROR_LINE.

Strategy: most reads consist of a few complete blocks of `data: …` or `event: …`, `data: …` with LF line ends, which one regular
expression splits, or of one `data: …` with CRLF. Other reads are first completed with what was left of the last one, and CR, if there is
any, is replaced by LF; if their complete blocks are still of another form, they are split at b"\\n\\n", and blocks of that form are
sliced, not parsed. Bytes are never decoded here: JSON may contain raw U+2028 and U+0085, which are line ends for
`str.splitlines` but not in this protocol.
"""

from __future__ import annotations

import re
from typing import Any

from . import errors, jsontext

Frame = tuple[bytes, bytes]
"""The `event` field (b"" if absent) and the data: its lines joined by LF."""

ERROR_LINE = b"\nerror"  # no event can have this name
"""The name of a frame whose data was in a field `error` (llama.cpp until 2025, GPUStack), which clients ignore. The data is an object
with a member `error`, or no JSON."""

LIMIT = 16 * 2**20
BOM = b"\xef\xbb\xbf"
KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"

_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
BLANK = BOM + b"\r\n "  # bytes that may precede a body, and say nothing

# bytes from which a block is collected in a bytearray: joining it with every read would take quadratic time
_LONG = 8192


class Splitter:
    """Splits one stream of bytes into frames, independent of the boundaries of reads.

    limit: the maximum length of an event in bytes, including line ends. leftover: after `finish`, whether the stream ended in an event.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.leftover = False
        self._limit = limit
        self._threshold = min(limit, _LONG)
        self._tail = b""
        self._long = bytearray()  # used instead of _tail once that is long
        self._odd = True  # the next read needs special handling: it is the first, or follows a CR
        self._start: bytes | None = b""  # the stream's first bytes while they may be a BOM, then None

    @property
    def bytes_pending(self) -> int:
        """The number of buffered bytes of an incomplete event."""
        return len(self._tail) + len(self._long) + len(self._start or b"")

    @property
    def boundary(self) -> bool:
        """Whether the bytes fed so far end between two events (also true at the start)."""
        return not (self._long or self._start or self._tail.strip(b"\n"))

    def feed(self, chunk: bytes) -> list[Frame]:
        """Return the frames completed by this read. Raises errors.Garbled for an event above the limit."""
        if self._odd:
            chunk = self._plain(chunk)
        if not (self._tail or self._long) and len(chunk) <= self._limit and (usual := _usual(chunk)):
            return usual
        tried = chunk
        if b"\r" in chunk:
            chunk = self._plain(chunk)
        if self._long:
            chunk = self._lengthened(chunk)
        elif self._tail:
            chunk = self._tail + chunk
        complete = chunk[: chunk.rfind(b"\n\n") + 2]
        if 1 < len(complete) <= self._limit and complete is not tried and (usual := _usual(complete)):
            self._tail = chunk[len(complete) :]
            self._bounded([], len(self._tail))
            return usual
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
        """Return the pending event, if complete, at the end of the stream. Must be called once."""
        pending = (self._start or b"") + bytes(self._long) + self._tail
        frame = _parsed(pending)
        if is_whole(frame[1]):
            return [frame]
        self.leftover = any(line and line[:1] != b":" for line in pending.split(b"\n"))
        return []

    def _plain(self, chunk: bytes) -> bytes:
        """The read with all line ends replaced by LF, and without the stream's BOM."""
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
        """Append to a long block. Returns it with the following bytes once it is complete, else nothing."""
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
        """Enforce the limit, and move a long tail to the bytearray. length: of all blocks and the tail, in bytes."""
        if length > self._limit and (len(self._tail) > self._limit or any(len(block) >= self._limit for block in blocks)):
            self._garbled()
        if len(self._tail) >= self._threshold:
            self._long += self._tail
            self._tail = b""

    def _garbled(self) -> None:
        self._tail = b""
        self._long.clear()
        raise errors.Garbled("The upstream sent an event that is too long.", f"over {self._limit} bytes")


# an event with one line of data, without and with a name
_DATA = re.compile(rb"^()data: (\S[^\n]*+)\n\n", re.MULTILINE)
_NAMED = re.compile(rb"^event: ([^\n]++)\ndata: (\S[^\n]*+)\n\n", re.MULTILINE)


def _usual(chunk: bytes) -> list[Frame]:
    """The frames of a read that only consists of such events; empty for any other read."""
    if chunk[-2:] != b"\n\n" or chunk.find(b"\r") >= 0:  # `in` takes twice as long
        end = len(chunk) - 4  # one event with CRLF, as Google sends them
        if chunk[end:] == b"\r\n\r\n" and chunk[:6] == b"data: " and chunk.find(b"\r") == end and chunk.find(b"\n") == end + 1:
            return [(b"", chunk[6:end])] if chunk[6:7].strip() else []
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
    # each starts a line: if they account for all line ends, there is nothing between them
    return frames if chunk.count(b"\n") == lines * len(frames) else []


def named_alike(chunk: bytes, begin: bytes) -> int:
    """The number of events in a read that all start with `begin` (`event: …`, `data: {`) and end with `}`; 0 if it has others."""
    count, odd = divmod(chunk.count(b"\n"), 3)
    if odd or not chunk.startswith(begin) or chunk[-3:] != b"}\n\n" or chunk.find(b"\r") >= 0:
        return 0
    return count if count == 1 or chunk.count(b"}\n\n" + begin) == count - 1 else 0


def _parsed(block: bytes) -> Frame:
    """Parse the lines of one event according to the specification."""
    kind = error = b""
    data = []
    bare = block.strip(b"\n")
    if bare[:1] in (b"{", b"[") and is_whole(bare):  # an error that a server puts into its stream as it would answer with it
        return kind, bare
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            kind = value.removeprefix(b" ")
        elif name == b"error":
            error = value.strip()
    if error[:1] == b"{" and not data:
        return ERROR_LINE, _as_error(error)
    return kind, b"\n".join(data)


def _as_error(value: bytes) -> bytes:
    """The value of such a line as each API reads an error: in a member `error`. What is no JSON stays as it is."""
    try:
        details = jsontext.loads(value)
    except ValueError:
        return value
    if details.get("error") and isinstance(details["error"], dict | str):
        return value
    return b'{"error":%b}' % (value if details else b'{"message":""}')


def is_stream(first: bytes) -> bool | None:
    """Whether a body that begins with these bytes is a stream of events; None as long as they are too few to say."""
    head = first.lstrip(BLANK)
    return True if head.startswith(_FIELDS) else None if any(field.startswith(head) for field in _FIELDS) else False


def is_whole(data: bytes) -> bool:
    """Whether an event's data is complete: JSON, or the end marker."""
    if data.strip() == b"[DONE]":
        return True
    try:
        jsontext.loads(data)
    except ValueError:
        return False
    return True


# ---- frames out ----

# the first byte, which is much faster to look for; all bytes; the escape
_LINE_ENDS = (
    (b"\xc2", b"\xc2\x85", rb"\u0085"),
    (b"\xe2", b"\xe2\x80\xa8", rb"\u2028"),
    (b"\xe2", b"\xe2\x80\xa9", rb"\u2029"),
)


def data_frame(json: bytes) -> bytes:
    """Return a frame of the chat shape. json: a single line."""
    return b"data: %b\n\n" % json


def event_frame(type: bytes | str, json: bytes) -> bytes:
    """Return a frame of the messages and responses shapes. json: a single line."""
    return b"event: %b\ndata: %b\n\n" % (type.encode() if isinstance(type, str) else type, json)


def safe_json(value: Any) -> bytes:
    """Return compact JSON with U+0085, U+2028, U+2029 (line ends for some clients) and lone surrogates escaped."""
    text = jsontext.dumps(value)
    if not text.isascii():
        for first, end, escaped in _LINE_ENDS:
            if first in text:
                text = text.replace(end, escaped)
    return text
