"""Remove the gateway's envelopes from a history sent to an upstream of the caller's shape.

A conversation started with a model of another shape contains reasoning in the gateway's envelope (`dgr1.`), which the provider of this
shape would refuse. Only a body that contains one is changed. In a short body two substring searches rule that out; in a long one
it is cheaper to check the places where one may be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .capabilities import Capabilities
from .ledger import Ledger
from .reasoning import ENVELOPE

LAYOUT = "dragoman_layout"
DOMAIN = "dragoman_domain"

Scrub = Callable[[dict[str, Any], Capabilities, Ledger], None]

_TRIGGERS = (ENVELOPE.encode(), LAYOUT.encode(), b"srvtoolu_dgr1")
_SHORT = 64 * 1024  # bytes


def is_foreign(body: bytes) -> bool:
    """Whether the body may contain envelopes, as far as that is cheap to determine."""
    return len(body) > _SHORT or any(trigger in body for trigger in _TRIGGERS)


def scrub(shape: Scrub, body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> bool:
    """Remove the gateway's additions from a request body. Changes `body`; its lists are replaced, not changed.

    shape: the shape's own scrub function. Returns whether anything was removed.
    """
    before = len(ledger.dropped)
    shape(body, capabilities, ledger)
    return len(ledger.dropped) > before


def list_of(body: dict[str, Any], key: str) -> list[Any]:
    value = body.get(key)
    return value if isinstance(value, list) else []
