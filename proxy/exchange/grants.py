"""Credentials that end: thrown away when the upstream refuses them. `Candidate.grant` gets them before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..credentials.source import UNAUTHORIZED

if TYPE_CHECKING:
    from .attempt import Attempt


def refused(attempt: Attempt) -> bool:
    """Whether the upstream refused a credential that ends, and the same request is worth another one: once in a request."""
    granted, source = attempt.granted, attempt.candidate.source
    if granted is None or source is None or attempt.status != UNAUTHORIZED:
        return False
    provider = attempt.candidate.provider
    before = [one for one in attempt.exchange.attempts if one.candidate.provider is provider and one.status == UNAUTHORIZED]
    return source.refused(granted) and len(before) <= 1
