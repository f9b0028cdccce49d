"""Remove the gateway's envelopes from a history sent to an upstream of the caller's shape.

A conversation that was begun over another shape's model carries reasoning in our envelope (`dgr1.`), one that was compacted a summary
(`dgc1.`); the provider of this shape would refuse them. Only a body that holds such a thing is changed. In a short one a few searches
tell that it cannot; in a long one it is cheaper to look where it may stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .capabilities import Capabilities
from .ledger import Ledger

LAYOUT = "dragoman_layout"
DOMAIN = "dragoman_domain"

Scrub = Callable[[dict[str, Any], Capabilities, Ledger], None]

_SHORT = 64 * 1024  # bytes


def is_foreign(body: bytes, marks: tuple[bytes, ...]) -> bool:
    """Whether the body may contain envelopes, as far as that is cheap to determine. marks: what such a body of the shape contains."""
    return len(body) > _SHORT or any(map(body.__contains__, marks))


def scrub(shape: Scrub, body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> bool:
    """Remove the gateway's additions from a request body. Changes `body`; its lists are replaced, not changed.

    shape: the shape's own scrub function. Returns whether anything was removed.
    """
    before = len(ledger.dropped), len(ledger.adapted)
    shape(body, capabilities, ledger)
    return (len(ledger.dropped), len(ledger.adapted)) != before
