"""Keys in the query of Google's API: what cannot be a header's value reaches no header, and is an error of the caller's."""

from __future__ import annotations

import pytest

from ..gateway.inside import Inside, inside_once
from ..scripted import Provider, respond

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers: [{model: gemini/*, discover: false, base_url: "UPSTREAM/v1beta", passthrough_auth: true}]
"""
BODY = b'{"contents": [{"parts": [{"text": "Hi"}]}]}'
HEAD = "POST /v1beta/models/gemini-x:{}?key={} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"


@pytest.mark.parametrize("method", ["embedContent", "countTokens"])
@pytest.mark.parametrize(
    ("key", "up"),
    [("abc%0d%0aX-Evil:%201", None), ("a%00b", None), ("%C4%80abc", None), ("%ff%fe", None), ("%C3%A9", "\xe9"), ("a%2Bb", "a+b")],
)
@inside_once
async def test_passed_through(key: str, up: str | None, method: str) -> None:
    async with Provider(lambda _: [respond({"totalTokens": 1})]) as provider, Inside(CONFIG, provider) as gateway:
        async with gateway.call(HEAD.format(method, key, len(BODY)).encode() + BODY) as caller:
            assert (await caller.head())[0] == 200
        (sent,) = provider.requests
        assert (sent.headers.get("x-goog-api-key"), "x-evil" in sent.headers, "?" in sent.target) == (up, False, False)
