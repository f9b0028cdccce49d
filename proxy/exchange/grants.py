"""Credentials that end, as attempts use them: got before anything is sent, and thrown away when the upstream refuses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...codecs import errors
from ..credentials.source import Credential, Fault, Source
from ..routing.router import Candidate

if TYPE_CHECKING:
    from .attempt import Attempt

REFUSALS = 401  # the status of an upstream that does not know a credential, or any more


async def granted(candidate: Candidate, source: Source) -> Credential:
    """The credential to send; waits only when there is no good one. Raises Unconfigured when there is none to be had."""
    found = source.ready()
    if found is not None:
        return found
    try:
        return await source.fresh()
    except Fault as fault:
        kind = errors.Unconfigured if fault.missing else errors.NoCredential
        message = f"The gateway has no credential for {candidate.provider.name}: {fault.message}."
        raise kind(message, should_retry=fault.passing) from None


def refused(attempt: Attempt) -> bool:
    """Whether the upstream refused a credential that ends, and the same request is worth another one: once in a request."""
    granted, source = attempt.granted, attempt.candidate.source
    if granted is None or source is None or attempt.status != REFUSALS:
        return False
    provider = attempt.candidate.provider
    before = [one for one in attempt.exchange.attempts if one.candidate.provider is provider and one.status == REFUSALS]
    return source.refused(granted) and len(before) <= 1
