"""Remove the gateway's own additions from a messages request (see `codecs/scrub.py`)."""

from __future__ import annotations

from typing import Any

from ..anything import list_of
from ..capabilities import Capabilities
from ..ledger import Ledger
from ..reasoning import is_sealed
from .facts import SEARCH_IDS

_PLAIN = frozenset({"text", "tool_use", "tool_result", "image", "document"})


def scrub(body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> None:
    """Change `body` in place; lists are replaced by new ones."""
    messages = []
    for i, message in enumerate(list_of(body, "messages")):
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list) or _is_plain(content):
            messages.append(message)
            continue
        blocks = []
        for j, block in enumerate(content):
            if isinstance(block, dict) and (is_sealed(block.get("signature")) or _is_our_search(block)):
                ledger.drop(("messages", i, "content", j), str(block.get("type")))
            else:
                blocks.append(_without_our_citations(block, ("messages", i, "content", j), ledger))
        if blocks:
            messages.append(message | {"content": blocks})
    if isinstance(body.get("messages"), list):
        body["messages"] = messages


def _is_plain(content: list[Any]) -> bool:
    """Whether all of it is of types of which the gateway adds none, and has nothing that it adds to these: nearly every message."""
    for block in content:
        if type(block) is not dict or type(kind := block.get("type")) is not str or kind not in _PLAIN:
            return False
        if "citations" in block or "signature" in block:
            return False
    return True


def _is_our_search(block: dict[str, Any]) -> bool:
    id = block.get("id") or block.get("tool_use_id")
    return isinstance(id, str) and id.startswith(SEARCH_IDS)


def _without_our_citations(block: Any, path: tuple[str | int, ...], ledger: Ledger) -> Any:
    citations = block.get("citations") if isinstance(block, dict) else None
    if not isinstance(citations, list):
        return block
    remaining = [c for c in citations if not (isinstance(c, dict) and is_sealed(c.get("encrypted_index")))]
    if len(remaining) == len(citations):
        return block
    ledger.drop((*path, "citations"))
    rest = {key: value for key, value in block.items() if key != "citations"}
    return rest | {"citations": remaining} if remaining else rest
