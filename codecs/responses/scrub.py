"""Remove the gateway's own additions from a responses request (see `codecs/scrub.py`)."""

from __future__ import annotations

from typing import Any

from ..capabilities import Capabilities
from ..ledger import Ledger
from ..reasoning import is_sealed
from ..scrub import list_of


def scrub(body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> None:
    """Change `body` in place; lists are replaced by new ones."""
    kept = []
    for i, item in enumerate(list_of(body, "input")):
        if isinstance(item, dict) and is_sealed(item.get("encrypted_content")):
            ledger.drop(("input", i, "encrypted_content"))
        else:
            kept.append(item)
    if isinstance(body.get("input"), list):
        body["input"] = kept
