"""Credentials that end: what an upstream's refusal of one means. `Candidate.grant` gets them before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .attempt import Attempt


def mended(attempt: Attempt) -> bool:
    """Whether the same request is worth another attempt, once: its credential is replaced, or the clock of its signature is set."""
    granted, source = attempt.granted, attempt.candidate.source
    if granted is None or source is None:
        return False
    status, headers = attempt.status, attempt.upstream_headers
    corrected = granted.corrected(status, headers)
    if not corrected and not granted.refused(status, headers):
        return False
    provider = attempt.candidate.provider
    before = [one for one in attempt.exchange.attempts if one.candidate.provider is provider and one.denied]
    attempt.denied = True
    return (corrected or source.refused(granted)) and not before
