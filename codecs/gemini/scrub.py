"""Remove the gateway's own additions from a gemini request (see `codecs/scrub.py`). Not implemented yet."""

from __future__ import annotations

from typing import Any

from ..capabilities import Capabilities
from ..ledger import Ledger


def scrub(body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> None:
    """Change `body` in place; lists are replaced by new ones."""
