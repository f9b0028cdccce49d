"""Requests signed with a credential, as the last step before they are sent: whatever is signed must not change any more."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from ..credentials.credential import Credential
from ..wire import bodies
from ..wire.upstream import UpstreamRequest
from .router import Candidate

AT_ONCE = 1 << 20  # bytes of a body: the digest of more is made in a thread


async def sign(request: UpstreamRequest, granted: Credential, candidate: Candidate) -> None:
    """Add a signature to a request. granted: a credential that signs."""
    parts = urlsplit(request.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers: dict[str, str] = request.headers  # type: ignore[assignment] # as they were given
    body = request.body or b""
    make = partial(granted.sign, request.method, target, {"host": parts.netloc} | headers, body, candidate.provider.signing)
    headers.update(await bodies.apart(len(body) > AT_ONCE, make))
