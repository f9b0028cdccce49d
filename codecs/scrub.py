"""Taking foreign envelopes out of a history that goes to an upstream of the caller's own shape.

A conversation that was begun over another shape's model carries reasoning in our envelope (`dgr1.`); the provider of this shape
would refuse it. Only a body that holds such a thing is changed. In a short one two searches tell that it cannot; in a long one
it is cheaper to look where it may stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .capabilities import Capabilities
from .ledger import Ledger
from .reasoning import ENVELOPE, is_sealed

LAYOUT = "dragoman_layout"

_TRIGGERS = (ENVELOPE.encode(), LAYOUT.encode())
_SHORT = 64 * 1024  # bytes


def is_foreign(body: bytes) -> bool:
    """Whether the body may hold something of ours, as far as that is cheap to tell."""
    return len(body) > _SHORT or any(trigger in body for trigger in _TRIGGERS)


def scrub(shape: str, body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> bool:
    """Remove what is ours from a request body of this shape; changes `body` (whose lists are made anew, not changed).

    Returns whether there was anything.
    """
    before = len(ledger.dropped)
    _SCRUBS[shape](body, capabilities, ledger)
    return len(ledger.dropped) > before


def _messages(body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> None:
    kept = []
    for i, message in enumerate(_list(body, "messages")):
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list):
            kept.append(message)
            continue
        blocks = []
        for j, block in enumerate(content):
            if isinstance(block, dict) and is_sealed(block.get("signature")):
                ledger.drop(("messages", i, "content", j), str(block.get("type")))
            else:
                blocks.append(_without_our_citations(block, ("messages", i, "content", j), ledger))
        if blocks or not content:
            kept.append(message | {"content": blocks})
    if isinstance(body.get("messages"), list):
        body["messages"] = kept


def _without_our_citations(block: Any, path: tuple[str | int, ...], ledger: Ledger) -> Any:
    citations = block.get("citations") if isinstance(block, dict) else None
    if not isinstance(citations, list):
        return block
    kept = [c for c in citations if not (isinstance(c, dict) and is_sealed(c.get("encrypted_index")))]
    if len(kept) == len(citations):
        return block
    ledger.drop((*path, "citations"))
    rest = {key: value for key, value in block.items() if key != "citations"}
    return rest | {"citations": kept} if kept else rest


def _responses(body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> None:
    kept = []
    for i, item in enumerate(_list(body, "input")):
        if isinstance(item, dict) and is_sealed(item.get("encrypted_content")):
            ledger.drop(("input", i, "encrypted_content"))
        else:
            kept.append(item)
    if isinstance(body.get("input"), list):
        body["input"] = kept


def _chat(body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> None:
    kept = []
    for i, message in enumerate(_list(body, "messages")):
        if _has_layout(message):
            ledger.drop(("messages", i, "reasoning_details"))
            gone = {"reasoning_details"}
            if capabilities.c_reasoning_in != "reasoning_content" and "reasoning_content" in message:
                gone.add("reasoning_content")
                ledger.drop(("messages", i, "reasoning_content"))
            message = {key: value for key, value in message.items() if key not in gone}
        kept.append(message)
    if isinstance(body.get("messages"), list):
        body["messages"] = kept


def _has_layout(message: Any) -> bool:
    details = message.get("reasoning_details") if isinstance(message, dict) else None
    return bool(isinstance(details, list) and details and isinstance(details[0], dict) and LAYOUT in details[0])


def _list(body: dict[str, Any], key: str) -> list[Any]:
    value = body.get(key)
    return value if isinstance(value, list) else []


_SCRUBS: dict[str, Callable[[dict[str, Any], Capabilities, Ledger], None]] = {
    "messages": _messages,
    "responses": _responses,
    "chat": _chat,
}
