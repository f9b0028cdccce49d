"""Inline media: data URLs, base64 and the type of the file in it. Nothing is ever downloaded.

Sources: RFC 2397 (data URLs), RFC 4648 section 4 (base64), the magic bytes of the formats that the messages shape takes.
"""

from __future__ import annotations

import binascii
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from . import errors
from .ledger import Path, concrete

# the image types of the messages shape
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
PDF = "application/pdf"
TEXT = "text/plain"

WAV, MP3 = "audio/wav", "audio/mpeg"

# common names that are not the registered ones
_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png", "application/x-pdf": PDF}
_ALIASES |= {"audio/x-wav": WAV, "audio/wave": WAV, "audio/vnd.wave": WAV, "audio/mp3": MP3}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", PDF),
)
_SOUND = (
    (b"ID3", MP3),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"\xff\xf1", "audio/aac"),
    (b"\xff\xf9", "audio/aac"),
    (b"\xff\xfb", MP3),
    (b"\xff\xf3", MP3),
    (b"\xff\xf2", MP3),
)
_HEAD = re.compile(r"data:([^,;]*+)((?:;[^,;]*+)*+),", re.IGNORECASE)
_LONGEST_HEAD = 1024


class Inline(NamedTuple):
    """A file inside the request. data: padded base64 without white space. media_type: lower case, without parameters."""

    media_type: str
    data: str

    @property
    def url(self) -> str:
        return f"data:{self.media_type};base64,{self.data}"


def is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def parse_data_url(url: str, path: Path) -> Inline:
    """Return the file of a data URL. Without a media type the magic bytes decide.

    Raises errors.Malformed (not a data URL, not base64, empty) and errors.UnsupportedContent (unknown type of file).
    """
    head = _HEAD.match(url, 0, _LONGEST_HEAD)
    if head is None:
        raise _malformed("not a data URL", path)
    payload = url[head.end() :]
    parameters = [parameter.strip().lower() for parameter in head[2].split(";")]
    data = clean_base64(payload, path) if "base64" in parameters else _encoded(payload, path)
    return Inline(media_type(head[1]) or _known(data, path), data)


def parse_file(text: str, path: Path) -> Inline:
    """Return a file given as data URL or plain base64. Raises as `parse_data_url`."""
    if is_data_url(text):
        return parse_data_url(text, path)
    data = clean_base64(text, path)
    return Inline(_known(data, path), data)


def clean_base64(text: str, path: Path) -> str:
    """Return the base64 padded and without white space. Raises errors.Malformed if it is invalid or empty."""
    words = text.split()
    data = words[0] if len(words) == 1 else "".join(words)
    if data and not data.endswith("="):
        data += "=" * (-len(data) % 4)
    try:
        whole = binascii.a2b_base64(data, strict_mode=True)
    except ValueError:  # binascii.Error, or a non-ASCII character
        whole = b""
    if not whole:
        raise _malformed("not base64", path)
    return data


def media_type(text: str) -> str:
    """Normalise a media type: lower case, without parameters, the registered name. "" stays ""."""
    name = text.partition(";")[0].strip().lower()
    return _ALIASES.get(name, name)


def sniff(data: str) -> str:
    """The media type by the first bytes of clean base64: jpeg, png, gif, webp or pdf; "" if unknown."""
    return _sniffed(data, _MAGIC, b"WEBP", "image/webp")


def image_type(declared: str, data: str) -> str:
    """The media type of an image by its first bytes, as tools often declare another; the declared one if they say nothing."""
    kind = sniff(data)
    return kind if kind in IMAGE_TYPES else declared


def sniff_sound(data: str) -> str:
    """The media type of sound by the first bytes of clean base64: wav, mp3, ogg, flac or aac; "" if unknown."""
    return _sniffed(data, _SOUND, b"WAVE", WAV)


def _sniffed(data: str, table: tuple[tuple[bytes, str], ...], form: bytes, riff: str) -> str:
    """form: of the RIFF files that are of the type `riff`."""
    head = binascii.a2b_base64(data[:24])
    if head[:4] == b"RIFF" and head[8:12] == form:
        return riff
    return next((kind for magic, kind in table if head.startswith(magic)), "")


def decoded_text(data: str, path: Path) -> str:
    """Decode a text file in clean base64. Raises errors.Malformed if it is not UTF-8."""
    try:
        return binascii.a2b_base64(data).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _malformed("not UTF-8 text", path) from None


def encoded_text(text: str) -> str:
    """Encode a text as base64 of its UTF-8; lone surrogates become question marks."""
    return binascii.b2a_base64(text.encode("utf-8", "replace"), newline=False).decode()


def _encoded(payload: str, path: Path) -> str:
    """Convert a data URL's percent-encoded payload to base64."""
    raw = unquote_to_bytes(payload.encode("utf-8", "replace"))
    if not raw:
        raise _malformed("empty", path)
    return binascii.b2a_base64(raw, newline=False).decode()


def _known(data: str, path: Path) -> str:
    kind = sniff(data)
    if not kind:
        where = concrete(path)
        raise errors.UnsupportedContent(f"{where} does not say its media type, and it is no known kind of file", param=where)
    return kind


def _malformed(what: str, path: Path) -> errors.Malformed:
    where = concrete(path)
    return errors.Malformed(f"{where} is {what}", code="invalid_value", param=where)
