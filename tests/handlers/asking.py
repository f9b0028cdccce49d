"""Questions to an application on Tornado's own server, with its own client."""

from __future__ import annotations

from typing import Any

import orjson
from tornado.httpclient import AsyncHTTPClient, HTTPResponse


async def ask(client: AsyncHTTPClient, url: str, method: str = "GET", body: Any = None, **headers: str) -> HTTPResponse:
    """headers: with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else orjson.dumps(body)
    return await client.fetch(url, method=method, body=data, headers=named, raise_error=False, allow_nonstandard_methods=True)
