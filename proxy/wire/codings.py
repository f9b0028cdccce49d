"""Content codings, decoded in pieces of bounded size, so that the reader can stop a decompression bomb (RFC 9110, section 8.4.1).

gzip (RFC 1952) and deflate are the standard library's; zstd (RFC 8878, RFC 9659) is there with Python 3.14 or the package zstandard.
Upstreams are asked for gzip alone (http1.inflater); callers may send whatever accepted() names (bodies.py).

A decoder raises Garbled for data that it cannot decode and Truncated where data is missing, both worded for an upstream's answer.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol

from ...codecs import errors

PIECE = 256 * 1024  # bytes of one decompressed piece
SLICE = 16 * 1024  # bytes decoded at a time: what is left of them is copied for each piece and for each member
ZLIB = ("gzip", "x-gzip", "deflate")
WINDOW = 23  # log2 of the bytes that a zstd decoder looks back, at most: what RFC 9659 allows
_MARK = b"dragoman: the end"


class Decoder(Protocol):
    """Decodes one body."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded pieces of `data`, none of them empty or longer than PIECE. Raises Garbled."""
        ...

    def finish(self) -> None:
        """Call at the end of the body. Raises Truncated when the compressed data is incomplete; an empty body is accepted."""
        ...


def named(header: str) -> list[str]:
    """The codings in a Content-Encoding, in lower case, without those that change nothing."""
    return [coding for coding in (one.strip(" \t").lower() for one in header.split(",")) if coding not in ("", "identity")]


def accepted() -> tuple[str, ...]:
    """The codings that decoder() accepts, without synonyms."""
    return ("gzip", "deflate", "zstd") if _zstd() is not None else ("gzip", "deflate")


def decoder(coding: str, members: int) -> Decoder | None:
    """The decoder of a coding in lower case; None if it is not accepted. members: of a gzip body, at most; frames of a zstd body, where the
    standard library reads them.
    """
    if coding in ZLIB:
        return Inflater(coding, members)
    made = _zstd() if coding == "zstd" else None
    return made(members) if made is not None else None


class Inflater:
    """gzip or deflate."""

    def __init__(self, coding: str, members: int | None = None) -> None:
        """members: of a gzip body, at most."""
        self._gzip = coding != "deflate"
        self._held = b""
        self._inflate: zlib._Decompress | None = None
        self._members = members

    def feed(self, data: bytes) -> Iterator[bytes]:
        """See Decoder."""
        if self._held:
            data = self._held + data
        if self._inflate is None and len(data) < 2:
            self._held = data
            return
        self._held = b""
        if len(data) <= SLICE:
            yield from self._feed(data)
            return
        for at in range(0, len(data), SLICE):
            yield from self._feed(data[at : at + SLICE])

    def _feed(self, data: bytes) -> Iterator[bytes]:
        more = bool(data)
        while more:
            if self._inflate is None or (self._inflate.eof and self._gzip):
                self._inflate = self._begin(data)
            try:
                piece = self._inflate.decompress(data, PIECE)
            except zlib.error:
                raise _garbled("undecodable content coding") from None
            if piece:
                yield piece
            ended = self._inflate.eof
            data = self._inflate.unused_data if ended else self._inflate.unconsumed_tail
            if ended and data and not self._gzip:
                raise _garbled("data after a deflated body")
            # a piece of full size may have left output inside zlib even though all input is consumed
            more = bool(data) or (len(piece) == PIECE and not ended)

    def finish(self) -> None:
        """See Decoder."""
        if self._held or (self._inflate is not None and not self._inflate.eof):
            raise _truncated()

    def _begin(self, data: bytes) -> zlib._Decompress:
        if self._gzip:
            self._members = _fewer(self._members)
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        # "deflate" is the zlib format, but some servers send raw deflate, whose first two bytes are not a zlib header
        zlib_header = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
        return zlib.decompressobj(zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)


# ---- zstd ----


@lru_cache(1)
def _zstd() -> Callable[[int], Decoder] | None:
    with suppress(ImportError):
        frames = import_module("compression.zstd")
        return lambda members: _Frames(frames, members)
    with suppress(ImportError):
        package = import_module("zstandard")
        return lambda members: _Package(package)
    return None


class _Frames:
    """zstd by the standard library, whose decompressors read one frame each."""

    def __init__(self, module: Any, members: int) -> None:
        self._module, self._members = module, members
        self._options = {module.DecompressionParameter.window_log_max: WINDOW}
        self._frame: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), SLICE):
            yield from self._feed(data[at : at + SLICE])

    def _feed(self, data: bytes) -> Iterator[bytes]:
        more = True
        while more:
            if self._frame is None or self._frame.eof:
                self._members = _fewer(self._members) or 0
                self._frame = self._module.ZstdDecompressor(options=self._options)
            try:
                piece = self._frame.decompress(data, PIECE)
            except self._module.ZstdError:
                raise _garbled("undecodable content coding") from None
            if piece:
                yield piece
            ended = self._frame.eof
            data = self._frame.unused_data if ended else b""
            more = bool(data) if ended else not self._frame.needs_input

    def finish(self) -> None:
        if self._frame is not None and not self._frame.eof:
            raise _truncated()


class _Hungry(Exception):
    """The decoder has used all data so far."""


class _Package:
    """zstd by the package zstandard, for which a frame costs less than a microsecond, so that nobody counts them.

    Of its interfaces only the reader of a file bounds its output; so this is a file that raises Hungry where it has no more. The
    reader does not tell whether it is within a frame: at the end of the body a frame is read whose content is known.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        self._data = b""
        self._begun = False
        options = {"read_size": SLICE, "read_across_frames": True}
        self._reader = module.ZstdDecompressor(max_window_size=1 << WINDOW).stream_reader(self, **options)

    def read(self, size: int) -> bytes:
        """Called by the reader."""
        if not self._data:
            raise _Hungry
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), SLICE):
            self._begun = True
            self._data = data[at : at + SLICE]
            while piece := self._piece():
                yield piece

    def _piece(self) -> bytes:
        """What the data decodes to, up to PIECE; b"" if it has all been decoded. A frame may hold a single byte."""
        pieces, room = [], PIECE
        while room:
            try:
                pieces.append(self._reader.read1(room))
            except _Hungry:
                break
            except self._module.ZstdError:
                raise _garbled("undecodable content coding") from None
            room -= len(pieces[-1])
        return b"".join(pieces)

    def finish(self) -> None:
        if not self._begun:
            return
        try:
            decoded = b"".join(self.feed(self._module.ZstdCompressor().compress(_MARK)))
        except errors.Garbled:
            decoded = b""
        if decoded != _MARK:
            raise _truncated()


def _fewer(members: int | None) -> int | None:
    """One member less. Raises Garbled when none is left."""
    if members == 0:
        raise _garbled("too many members of a compressed body")
    return None if members is None else members - 1


def _garbled(detail: str) -> errors.Garbled:
    return errors.Garbled("The upstream's answer is not valid HTTP.", detail)


def _truncated() -> errors.Truncated:
    return errors.Truncated("The upstream's compressed answer is truncated.")
