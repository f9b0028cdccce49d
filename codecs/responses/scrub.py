"""Remove the gateway's own additions from a responses request (see `codecs/scrub.py`)."""

from __future__ import annotations

from typing import Any

from .. import compaction
from ..anything import list_of
from ..capabilities import Capabilities
from ..ledger import Ledger
from ..reasoning import is_sealed
from .compaction import expanded


def scrub(body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> None:
    """Change `body` in place; lists are replaced by new ones."""
    items: list[Any] = []
    compacted = -1
    for i, item in enumerate(list_of(body, "input")):
        sealed = item.get("encrypted_content") if isinstance(item, dict) else None
        if sealed is not None and is_sealed(sealed):
            ledger.drop(("input", i, "encrypted_content"))
            continue
        if sealed is not None and compaction.is_sealed(sealed):
            compacted = i - len(items)  # left out before it
        items.append(item)
    if compacted >= 0:
        items = [item for item, _ in expanded([(item, ("input", i + compacted)) for i, item in enumerate(items)], ledger)]
    if isinstance(body.get("input"), list):
        body["input"] = items
