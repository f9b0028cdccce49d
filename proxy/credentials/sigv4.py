"""AWS's Signature Version 4, for requests whose body is whole before they are sent. Pure: the time is passed in.

Signed are `host`, `content-type`, `accept` and every `x-amz…` header; not what a proxy on the way or our own client may change.
Source: AWS, "Create a signed AWS API request". botocore's signer is the tests' oracle.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import parse_qsl, quote

ALGORITHM = "AWS4-HMAC-SHA256"
OWN = ("authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256")  # headers that are added here
_SIGNED = ("host", "content-type", "accept")


def signed(headers: Mapping[str, str]) -> list[str]:
    """The names of the headers that are signed, in order. headers: by lower-case name."""
    return sorted(name for name in headers if name in _SIGNED or name.startswith("x-amz"))


def authorization(
    method: str,
    target: str,
    headers: Mapping[str, str],
    digest: str,
    keys: tuple[str, str, str],
    region: str,
    service: str,
    now: float,
) -> dict[str, str]:
    """The headers to add to a request.

    target: path and query as they are sent. headers: by lower-case name, the host as it is sent among them. digest: the hexadecimal
    SHA-256 of the body. keys: the key's id, the secret, the session token or "". now: seconds since the epoch.
    """
    key_id, secret, token = keys
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": stamp, "x-amz-content-sha256": digest} | ({"x-amz-security-token": token} if token else {})
    every = {**headers, **added}
    names = signed(every)
    path, _, query = target.partition("?")
    lines = [f"{name}:{' '.join(every[name].split())}\n" for name in names]
    request = "\n".join((method, quote(path, safe="/-_.~"), _query(query), "".join(lines), ";".join(names), digest))
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    signature = hmac.new(_key(secret, stamp[:8], region, service), text.encode(), hashlib.sha256).hexdigest()
    return added | {"authorization": f"{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"}


def _query(query: str) -> str:
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{name}={value}" for name, value in pairs)


@lru_cache(64)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    """The key of a day, a region and a service."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
