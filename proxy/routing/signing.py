"""What a credential changes of a request besides its headers: a part of the URL, and then the signature.

To sign is the last step before a request is sent: whatever is signed must not change any more.
"""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from ...codecs.errors import Unconfigured
from ...conf.clouds import PROJECT
from ..credentials.credential import Credential
from ..wire import bodies
from ..wire.upstream import UpstreamRequest
from .candidate import Candidate

AT_ONCE = 1 << 20  # bytes of a body: the digest of more is made in a thread


def located(url: str, granted: Credential | None, candidate: Candidate) -> str:
    """A candidate's URL, with the project of Google Cloud that nothing but the credential says. Raises Unconfigured where it says none."""
    if PROJECT not in candidate.provider.base_url:
        return url
    if granted is None or granted.project is None:
        lacking = "gcp.project is missing, and its credentials belong to none"
        raise Unconfigured(f"The gateway has no project for {candidate.provider.name}: {lacking}.")
    return url.replace(PROJECT, granted.project, 1)


async def sign(request: UpstreamRequest, granted: Credential, candidate: Candidate) -> None:
    """Add a signature to a request. granted: a credential that signs."""
    parts = urlsplit(request.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers: dict[str, str] = request.headers  # type: ignore[assignment] # as they were given
    body = request.body or b""
    make = partial(granted.sign, request.method, target, {"host": parts.netloc} | headers, body, candidate.provider.signing)
    headers.update(await bodies.apart(len(body) > AT_ONCE, make))
