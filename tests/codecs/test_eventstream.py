"""Messages of `application/vnd.amazon.eventstream`, cut everywhere, and compared with botocore's parser."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer

from dragoman.codecs import errors
from dragoman.codecs.eventstream import Message, Splitter, parsed
from dragoman.codecs.reply import Unsaid
from dragoman.codecs.sse import Frame

CORPUS = os.environ.get("DRAGOMAN_CORPUS", "")
RECORDINGS = sorted(Path(CORPUS).glob("recordings/*/stream/*/response.eventstream")) if CORPUS else []


def made(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack(">I", crc32(prelude))
    return prelude + headers + payload + struct.pack(">I", crc32(prelude + headers + payload))


def text(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()


class Reader:
    """Keeps the messages."""

    def __init__(self, limit: int = 1 << 24) -> None:
        self.messages: list[Message] = []
        self.splitter = Splitter(limit, read=self._read)

    def _read(self, message: Message, unsaid: Unsaid) -> Frame:
        self.messages.append(message)
        return message.name.encode(), message.payload


ONE = made(text(":event-type", "chunk") + text(":message-type", "event"), b'{"a":1}')
TWO = made(text(":exception-type", "throttlingException") + text(":message-type", "exception"), b'{"message":"m"}')
THREE = made(b"", b"")
FRAMES = [(b"chunk", b'{"a":1}'), (b"throttlingException", b'{"message":"m"}'), (b"", b"")]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11, 12, 13, 16, 17, 64, 1000])
def test_any_boundaries_of_reads(size: int) -> None:
    data = ONE + TWO + THREE
    reader = Reader()
    frames = [frame for at in range(0, len(data), size) for frame in reader.splitter.feed(data[at : at + size])]
    assert frames == FRAMES
    assert reader.splitter.finish() == []
    assert not reader.splitter.leftover


def test_what_is_left_at_the_end() -> None:
    for cut in range(1, len(ONE)):
        reader = Reader()
        assert reader.splitter.feed(ONE[:cut]) == []
        assert reader.splitter.bytes_pending == cut
        assert reader.splitter.finish() == []
        assert reader.splitter.leftover


@pytest.mark.parametrize("at", range(len(ONE)))
def test_a_changed_byte_is_noticed(at: int) -> None:
    data = bytearray(ONE + TWO)
    data[at] ^= 1
    with pytest.raises(errors.Garbled):
        Reader().splitter.feed(bytes(data))


@pytest.mark.parametrize(("length", "headers"), [(15, 0), (0, 0), (2**32 - 1, 0), (1 << 20, 0), (20, 5), (1 << 19, (128 << 10) + 1)])
def test_lengths_that_cannot_be(length: int, headers: int) -> None:
    prelude = struct.pack(">II", length, headers)
    with pytest.raises(errors.Garbled):
        Reader(600_000).splitter.feed(prelude + struct.pack(">I", crc32(prelude)))


EVERY_TYPE = b"".join(
    bytes([1]) + name + bytes([kind]) + value
    for name, kind, value in [
        (b"a", 0, b""), (b"b", 1, b""), (b"c", 2, b"\x01"), (b"d", 3, b"\0\1"), (b"e", 4, b"\0\0\0\1"), (b"f", 5, b"\0" * 8),
        (b"g", 6, b"\0\3xyz"), (b"h", 7, b"\0\2hi"), (b"i", 8, b"\0" * 8), (b"j", 9, b"\0" * 16),
    ]
)  # fmt: skip


def test_values_of_other_types_are_passed_over() -> None:
    assert parsed(EVERY_TYPE + text(":event-type", "x")) == {"h": "hi", ":event-type": "x"}


@pytest.mark.parametrize("raw", [b"\x05ab", b"\x01a", b"\x01a\x07\0", b"\x01a\x07\0\5abc", b"\x01a\x0a", b"\x01a\x04\0\0"])
def test_headers_that_are_none(raw: bytes) -> None:
    with pytest.raises(errors.Garbled):
        parsed(raw)


def test_a_long_message_takes_linear_time() -> None:
    """A byte at a time: what is pending is copied only when it is complete."""
    data = made(text(":event-type", "chunk"), b"x" * 300_000)
    reader = Reader()
    for at in range(len(data) - 1):
        assert not reader.splitter.feed(data[at : at + 1])
    assert reader.splitter.feed(data[-1:]) == [(b"chunk", b"x" * 300_000)]


@pytest.mark.skipif(not RECORDINGS, reason="DRAGOMAN_CORPUS names no folder of recordings")
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.parent.name)
def test_recordings_are_read_as_botocore_reads_them(path: Path) -> None:
    data = path.read_bytes()
    oracle = EventStreamBuffer()
    oracle.add_data(data)
    wanted = [({name: value for name, value in event.headers.items() if isinstance(value, str)}, event.payload) for event in oracle]
    for size in (len(data), 1, 7, 1024):
        reader = Reader()
        for at in range(0, len(data), size):
            reader.splitter.feed(data[at : at + size])
        assert [(message.headers, message.payload) for message in reader.messages] == wanted
