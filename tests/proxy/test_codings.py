"""Decoders of content codings: each over literal wire data, cut anywhere."""

from __future__ import annotations

import gzip
import importlib
import tracemalloc
import zlib
from typing import Any

import pytest

from dragoman.codecs import errors
from dragoman.proxy.wire import codings

MB = 1 << 20
BLOCK = 128 * 1024  # bytes that a block of a zstd frame can hold
TEXT = b'{"model": "chat/m", "messages": [' + b'{"role": "user", "content": "a word and another"},' * 40 + b"]}"
MAGIC = bytes.fromhex("28b52ffd")
SKIPPED = bytes.fromhex("502a4d18 03000000 616263")
EMPTY_FRAME = MAGIC + bytes.fromhex("2000 010000")


def raw(text: bytes) -> bytes:
    """A zstd frame that says its length and holds its blocks as they are."""
    blocks = [text[at : at + BLOCK] for at in range(0, len(text), BLOCK)]
    last = len(blocks) - 1
    framed = [((len(block) << 3) | (number == last)).to_bytes(3, "little") + block for number, block in enumerate(blocks)]
    return MAGIC + b"\xa0" + len(text).to_bytes(4, "little") + b"".join(framed)


def repeated(blocks: int, window: int = codings.WINDOW) -> bytes:
    """A zstd frame of blocks that repeat one byte: 128 kB in 4 bytes. window: log2 of its bytes."""
    last = [((BLOCK << 3) | 2 | (number == blocks - 1)).to_bytes(3, "little") + b"x" for number in range(blocks)]
    return MAGIC + bytes([0, (window - 10) << 3]) + b"".join(last)


def module(name: str) -> Any:
    return pytest.importorskip(name, exc_type=ImportError)


def made(kind: str, members: int = 100) -> codings.Decoder:
    match kind:
        case "frames":
            try:
                return codings._Frames(importlib.import_module("compression.zstd"), members)
            except ImportError:
                return codings._Frames(module("backports.zstd"), members)
        case "package":
            return codings._Package(module("zstandard"))
    found = codings.decoder(kind, members)
    assert found is not None
    return found


ZSTDS = ["frames", "package"]
CODED: dict[str, list[bytes]] = {
    "gzip": [gzip.compress(TEXT, mtime=0), gzip.compress(TEXT[:50], mtime=0) + gzip.compress(TEXT[50:], mtime=0)],
    "deflate": [zlib.compress(TEXT)],
    "frames": [raw(TEXT), SKIPPED + raw(TEXT[:9]) + EMPTY_FRAME + SKIPPED + raw(TEXT[9:])],
}
CODED["package"] = CODED["frames"]
CODED["x-gzip"] = CODED["gzip"]
CASES = [(kind, data) for kind, several in CODED.items() for data in several]


@pytest.mark.parametrize(("kind", "data"), CASES)
def test_cut_at_every_byte(kind: str, data: bytes) -> None:
    for size in (1, 2, 3, 7, len(data)):
        decoder = made(kind)
        pieces = [piece for at in range(0, len(data), size) for piece in decoder.feed(data[at : at + size])]
        decoder.finish()
        assert b"".join(pieces) == TEXT
        assert b"" not in pieces
    for cut in range(1, len(data)):
        decoder = made(kind)
        assert b"".join([*decoder.feed(data[:cut]), *decoder.feed(data[cut:])]) == TEXT
        decoder.finish()


@pytest.mark.parametrize("kind", ["gzip", "deflate", *ZSTDS])
def test_what_ends_too_early_is_truncated(kind: str) -> None:
    data = CODED[kind][0]
    for end in range(1, len(data)):
        decoder = made(kind)
        assert TEXT.startswith(b"".join(decoder.feed(data[:end])))
        with pytest.raises(errors.Truncated):
            decoder.finish()


@pytest.mark.parametrize("kind", CODED)
def test_nothing_is_a_whole_body(kind: str) -> None:
    decoder = made(kind)
    assert list(decoder.feed(b"")) == []
    decoder.finish()


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("gzip", b"plain text"),
        ("gzip", gzip.compress(TEXT, mtime=0) + b"more"),
        ("gzip", gzip.compress(TEXT, mtime=0)[:-8] + bytes(8)),
        ("deflate", b"plain text"),
        ("deflate", zlib.compress(TEXT) + b"more"),
        *((kind, data) for kind in ZSTDS for data in (b"plain text", raw(TEXT) + b"more", repeated(1, codings.WINDOW + 1))),
    ],
)
def test_what_cannot_be_decoded(kind: str, data: bytes) -> None:
    with pytest.raises(errors.Garbled):
        list(made(kind).feed(data))


def gzip_bomb(size: int) -> bytes:
    compressor = zlib.compressobj(9, wbits=31)
    return b"".join([*(compressor.compress(bytes(MB)) for _ in range(size // MB)), compressor.flush()])


@pytest.mark.parametrize(
    ("kind", "bomb"),
    [("gzip", gzip_bomb(64 * MB)), ("frames", repeated(64 * MB // BLOCK)), ("package", repeated(64 * MB // BLOCK))],
    ids=["gzip", *ZSTDS],
)
def test_a_bomb_comes_in_small_pieces(kind: str, bomb: bytes) -> None:
    assert len(bomb) < 80_000
    tracemalloc.start()
    total = longest = 0
    for piece in made(kind).feed(bomb):
        total += len(piece)
        longest = max(longest, len(piece))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 64 * MB
    assert longest <= codings.PIECE
    assert peak < 12 * MB  # a zstd window is 8 MB


@pytest.mark.parametrize(("kind", "member"), [("gzip", gzip.compress(b"", mtime=0)), ("frames", EMPTY_FRAME)])
def test_members_are_counted(kind: str, member: bytes) -> None:
    assert list(made(kind, 50).feed(member * 50)) == []
    with pytest.raises(errors.Garbled):
        list(made(kind, 50).feed(member * 51))


def test_small_frames_come_together() -> None:
    """The standard library's are counted. Each piece is a step of its own for who takes it (bodies.py)."""
    frame = raw(b"x")
    pieces = list(made("package").feed(frame * 100_000))
    assert b"".join(pieces) == b"x" * 100_000
    assert len(pieces) == -(-len(frame) * 100_000 // codings.SLICE)


def test_many_members_cost_no_more_than_few_at_a_time() -> None:
    """What is behind a member is copied with each: one read of many costs as much as many reads."""
    from ..attack.growth import LEAST, thread_time

    data = gzip.compress(b"", mtime=0) * 60_000

    def cost(size: int) -> float:
        begun, decoder = thread_time(), codings.Inflater("gzip")
        for at in range(0, len(data), size):
            assert not list(decoder.feed(data[at : at + size]))
        return thread_time() - begun

    assert min(cost(len(data)) for _ in range(3)) < 4 * max(min(cost(2000) for _ in range(3)), LEAST)


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("", []),
        ("identity", []),
        ("GZip", ["gzip"]),
        ("identity, gzip ,", ["gzip"]),
        ("gzip, gzip", ["gzip", "gzip"]),
        ("\tzstd ", ["zstd"]),
    ],
)
def test_names(header: str, named: list[str]) -> None:
    assert codings.named(header) == named


def test_accepted() -> None:
    assert codings.accepted()[:2] == ("gzip", "deflate")
    for name in codings.accepted():
        assert codings.decoder(name, 1) is not None
    assert ("zstd" in codings.accepted()) == (codings.decoder("zstd", 1) is not None)
    for name in ("br", "compress", "aws-chunked", "GZIP", ""):
        assert codings.decoder(name, 1) is None
