"""Removes the secrets of a store's address from messages; addresses are URLs or libpq keyword strings.

Drivers repeat in their messages what they parsed as host, port or database. If a password contains a character that should have been
percent-encoded, that is a part of the password; so each piece of a secret is replaced, not only the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote

HIDDEN = "***"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(.*)", re.DOTALL)
_KEYWORD = re.compile(r"\b(?:ssl)?pass(?:word|file)\s*=\s*('(?:[^'\\]|\\.)*+'?|\S+)")
_PIECES = re.compile(r"[:/?#@\s]+")
_SECRET_PARAMETERS = frozenset({"password", "sslpassword", "passfile"})
_SHORTEST = 2  # characters: replacing pieces of a single character would make messages unreadable


def redact(text: str, address: str) -> str:
    """The text with all secrets of this address, and their pieces, replaced. address: a URL or libpq's keyword=value pairs."""
    for secret in sorted(set(_secrets(address)), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def misplaced(address: str) -> bool:
    """Whether a URL's `@` follows the end of its host: the password contains `/` or `#` and is not percent-encoded."""
    url = _URL.fullmatch(address)
    if url is None:
        return False
    host = re.split("[/?#]", url[1], maxsplit=1)[0]
    return "@" not in host and "@" in url[1].partition("?")[0]


def _secrets(address: str) -> Iterator[str]:
    url = _URL.fullmatch(address)
    if url is None:
        for match in _KEYWORD.finditer(address):
            value = match[1]
            yield from _forms(value)
            yield from _forms(re.sub(r"\\(.)", r"\1", value.strip("'")))
        return
    user_info, at, _ = url[1].rpartition("@")
    if at:
        user, colon, password = user_info.partition(":")
        yield from _forms(password if colon else user)
    for name, value in parse_qsl(url[1].partition("?")[2], keep_blank_values=True):
        if name.lower() in _SECRET_PARAMETERS:
            yield from _forms(value)


def _forms(secret: str) -> Iterator[str]:
    for form in (secret, unquote(secret)):
        yield from (piece for piece in (form, *_PIECES.split(form)) if len(piece) >= _SHORTEST)
