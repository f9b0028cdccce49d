"""Inline media: data URLs, base64 and what kind of file it holds. Nothing is ever downloaded.

Sources: RFC 2397 (data URLs), RFC 4648 section 4 (base64), the magic bytes of the formats that the messages shape takes.
"""

from __future__ import annotations

import binascii
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from . import errors
from .ledger import Path, concrete

# what the messages shape takes as an image
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
PDF = "application/pdf"
TEXT = "text/plain"

# names in use that are not the registered ones
_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png", "application/x-pdf": PDF}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", PDF),
)
_HEAD = re.compile(r"data:([^,;]*+)((?:;[^,;]*+)*+),", re.IGNORECASE)
_LONGEST_HEAD = 1024


class Inline(NamedTuple):
    """A file that travels in the request. data: base64, padded, without white space. media_type: lower case, no parameters."""

    media_type: str
    data: str

    @property
    def url(self) -> str:
        return f"data:{self.media_type};base64,{self.data}"


def is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def parse_data_url(url: str, path: Path) -> Inline:
    """A data URL's file. Where it names no media type the magic bytes decide.

    Raises errors.Malformed (not a data URL, not base64, empty) and errors.UnsupportedContent (a file of no known kind).
    """
    head = _HEAD.match(url, 0, _LONGEST_HEAD)
    if head is None:
        raise _malformed("not a data URL", path)
    payload = url[head.end() :]
    parameters = [parameter.strip().lower() for parameter in head[2].split(";")]
    data = clean_base64(payload, path) if "base64" in parameters else _encoded(payload, path)
    return Inline(media_type(head[1]) or _known(data, path), data)


def parse_file(text: str, path: Path) -> Inline:
    """A file that is a data URL or bare base64. Raises as `parse_data_url` does."""
    if is_data_url(text):
        return parse_data_url(text, path)
    data = clean_base64(text, path)
    return Inline(_known(data, path), data)


def clean_base64(text: str, path: Path) -> str:
    """The same base64 without white space, padded. Raises errors.Malformed for what is not base64, and for nothing at all."""
    words = text.split()
    data = words[0] if len(words) == 1 else "".join(words)
    if data and not data.endswith("="):
        data += "=" * (-len(data) % 4)
    try:
        whole = binascii.a2b_base64(data, strict_mode=True)
    except ValueError:  # binascii.Error, or a character that is not ASCII
        whole = b""
    if not whole:
        raise _malformed("not base64", path)
    return data


def media_type(text: str) -> str:
    """A media type as the references write it: lower case, without parameters, by its registered name. "" stays ""."""
    name = text.partition(";")[0].strip().lower()
    return _ALIASES.get(name, name)


def sniff(data: str) -> str:
    """The media type that clean base64 shows by its first bytes; "" when they are none of jpeg, png, gif, webp and pdf."""
    head = binascii.a2b_base64(data[:24])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")


def decoded_text(data: str, path: Path) -> str:
    """The text of a text file in clean base64. Raises errors.Malformed when it is not UTF-8."""
    try:
        return binascii.a2b_base64(data).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _malformed("not UTF-8 text", path) from None


def encoded_text(text: str) -> str:
    """A text as clean base64 of its UTF-8; what UTF-8 cannot say (a lone surrogate) becomes a question mark."""
    return binascii.b2a_base64(text.encode("utf-8", "replace"), newline=False).decode()


def _encoded(payload: str, path: Path) -> str:
    """A data URL's payload that is not base64, as base64."""
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
