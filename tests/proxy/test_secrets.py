"""Credentials in an upstream's error, in every form that one has been seen in."""

from __future__ import annotations

import base64
import json
import re
from html import escape
from urllib.parse import quote, quote_plus

import pytest

from dragoman import conf
from dragoman.proxy.keys import secrets

KEY = "sk-live/Ab+c&d=9?f~g<h>ij"

FORMS = {
    "itself": KEY,
    "JSON": json.dumps({"key": KEY}),
    "JSON with slashes escaped": json.dumps({"key": KEY}).replace("/", "\\/"),
    "a URL": f"https://host/?key={quote(KEY, safe='')}",
    "a URL in small letters": "https://host/?key=" + re.sub("%..", lambda found: found[0].lower(), quote(KEY, safe="")),
    "a form": f"key={quote_plus(KEY)}&a=b",
    "a page": f"<p>{escape(KEY)}</p>",
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 in a URL": base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("="),
    **{f"base64 behind {n} bytes": base64.b64encode(b"x" * n + KEY.encode() + b":tail").decode() for n in range(1, 7)},
    "basic": "Basic " + base64.b64encode(f"user:{KEY}".encode()).decode(),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_every_form_is_taken_out(text: str) -> None:
    cleaned = secrets.scrub(f"Incorrect key: {text} (see the manual)".encode(), [None, "", KEY])
    assert cleaned.startswith(b"Incorrect key: ")
    assert cleaned.endswith(b" (see the manual)")
    assert b"***" in cleaned
    for piece in (KEY, KEY[:12], base64.b64encode(KEY.encode())[4:16].decode(), quote(KEY, safe="")):
        assert piece.encode() not in cleaned
    assert decoded(cleaned) == []


def decoded(data: bytes) -> list[bytes]:
    """Where the key is still there behind base64."""
    runs = re.findall(rb"[A-Za-z0-9+/]{4,}", data.replace(b"-", b"+").replace(b"_", b"/"))
    found = [base64.b64decode(run[: len(run) // 4 * 4]) for run in runs]
    return [one for one in found if KEY.encode() in one]


def test_words_are_no_credentials() -> None:
    said = b'{"error": "the key short is not known"}'
    assert secrets.scrub(said, ["short", "key", ""]) == said


def test_a_callers_key_of_any_bytes() -> None:
    odd = b"caf\xe9-caf\xe9-key".decode("latin-1")
    assert secrets.scrub(f"key {odd}!".encode(), [odd]) == b"key ***!"
    assert secrets.scrub(b"nothing", ["\udcff" * 10]) == b"nothing"


def test_what_of_a_provider_is_secret() -> None:
    config = conf.loads(
        """
        model_providers:
          - model: openai/x
            access_key: sk-the-key
            headers: {Authorization: Bearer sk-in-a-header, X-Api-Key: another-key, x-team: platform, ocp-subscription-token: t0ken-of-it}
        """,
        environ={},
    )
    assert sorted(secrets.of(config.model_providers[0])) == ["another-key", "sk-in-a-header", "sk-the-key", "t0ken-of-it"]


def test_a_long_credential_is_not_remembered() -> None:
    """Callers of a gateway without keys choose it, and its forms are many and long."""
    key = "k" * (secrets.LONGEST_CACHED + 1)
    before = secrets._forms.cache_info()
    assert secrets.scrub(f"no such key: {key}".encode(), [key]) == b"no such key: " + secrets.MASK
    assert secrets._forms.cache_info() == before
