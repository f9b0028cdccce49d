"""Credentials that end: what an upstream's refusal of one means. `Candidate.grant` gets them before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...codecs import errors
from ..credentials.credential import Answer

if TYPE_CHECKING:
    from .attempt import Attempt


def mended(attempt: Attempt, body: bytes) -> bool:
    """Whether the same request is worth another attempt, once: its credential is replaced, or the clock of its signature is set."""
    granted, source = attempt.granted, attempt.candidate.source
    if granted is None or source is None:
        return False
    answer = Answer(attempt.status, attempt.upstream_headers, body)
    corrected = granted.corrected(answer)
    if not corrected and not granted.refused(answer):
        return False
    provider = attempt.candidate.provider
    before = [one for one in attempt.exchange.attempts if one.candidate.provider is provider and one.denied]
    attempt.denied = True
    return (corrected or source.refused(granted)) and not before


def refused(attempt: Attempt, body: bytes) -> errors.Answered | None:
    """The error of an upstream that does not know the credential which a source gave; None where it says nothing of the kind.

    Like one that could not be got: a 502 that names where it came from. (A plain key is a 403, and so is what the credential may not do.)
    """
    granted, source = attempt.granted, attempt.candidate.source
    if granted is None or source is None or not granted.unknown(Answer(attempt.status, attempt.upstream_headers, body)):
        return None
    return errors.Answered(
        f"The gateway's credential for {attempt.candidate.provider.name} was refused by the upstream ({source.name}).",
        f"status {attempt.status}",
        kind="bad_gateway",
        code=errors.NoCredential.code,
        should_retry=False,
    )
