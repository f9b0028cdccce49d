"""Removing credentials from upstream output: an error may quote the rejected key, or a whole request with its headers.

A credential is searched for verbatim and as encoded in JSON, HTML, a URL and base64 (in three forms, by its offset modulo 3). A
truncated, masked or encrypted credential is not found.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache
from html import escape
from urllib.parse import quote, quote_plus

from ...codecs import jsontext
from ...conf.model import Provider

MASK = b"***"
LONGEST_CACHED = 4096  # characters of a credential; the forms of one are twenty times as long
SHORTEST = 8  # bytes of a form that is searched for; shorter ones may be ordinary words

HOLDS_SECRET = re.compile(r"auth|key|token|secret|password|cookie|signature", re.IGNORECASE)
_ESCAPE = re.compile("%..")
_SCHEME = re.compile(r"(?:bearer|basic|token) +", re.IGNORECASE)


def scrub(data: bytes, credentials: Iterable[str | None]) -> bytes:
    """The bytes with each credential replaced by a mask."""
    for credential in filter(None, credentials):
        forms = _forms if len(credential) <= LONGEST_CACHED else _forms.__wrapped__
        for form in forms(credential):
            data = data.replace(form, MASK)
    return data


def of(provider: Provider) -> Iterator[str]:
    """The operator's credentials for this provider: its key, its proxy's login, and what it is sent under names that suggest a secret."""
    if provider.access_key:
        yield provider.access_key
    if provider.proxy and provider.proxy.login:
        yield b64encode(provider.proxy.login.encode()).decode()
        yield provider.proxy.login
        yield provider.proxy.login.partition(":")[2]
    for name, value in provider.headers:
        if HOLDS_SECRET.search(name):
            yield _SCHEME.sub("", value, count=1)
    for path, setting in () if provider.edits is None else provider.edits.set:
        yield from _in_body(path.rpartition(".")[2], setting)


def _in_body(name: str, value: object) -> Iterator[str]:
    """The texts under names that suggest a secret in a value that a body is given."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _in_body(key, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _in_body(name, inner)
    elif isinstance(value, str) and HOLDS_SECRET.search(name):
        yield _SCHEME.sub("", value, count=1)


@lru_cache(256)
def _forms(credential: str) -> tuple[bytes, ...]:
    """The forms to search for, the longest first, as one may contain another."""
    raw = credential.encode("utf-8", "surrogateescape")
    forms = {raw, jsontext.dumps(credential)[1:-1], escape(credential).encode("utf-8", "surrogateescape")}
    forms.add(jsontext.dumps(credential)[1:-1].replace(b"/", rb"\/"))
    for quoted in (quote(raw, safe=""), quote_plus(raw)):
        forms |= {quoted.encode(), _ESCAPE.sub(lambda escaped: escaped[0].lower(), quoted).encode()}
    for before in range(3):
        form = _base64(raw, before)
        forms |= {form, form.translate(_URL_SAFE), form.replace(b"+", b"%2B").replace(b"/", b"%2F")}
    return tuple(sorted((form for form in forms if len(form) >= SHORTEST), key=len, reverse=True))


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _base64(raw: bytes, before: int) -> bytes:
    """The base64 characters that do not depend on the surrounding bytes. before: number of preceding bytes, modulo 3."""
    first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
    return b64encode(b"\0" * before + raw)[first:last]
