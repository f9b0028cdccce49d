"""Remove the gateway's own additions from a chat request (see `codecs/scrub.py`)."""

from __future__ import annotations

from typing import Any

from ..anything import list_of
from ..capabilities import Capabilities
from ..ledger import Ledger
from ..scrub import LAYOUT


def scrub(body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> None:
    """Change `body` in place; lists are replaced by new ones."""
    messages = []
    for i, message in enumerate(list_of(body, "messages")):
        if _has_layout(message):
            ledger.drop(("messages", i, "reasoning_details"))
            gone = {"reasoning_details"}
            if capabilities.c_reasoning_in != "reasoning_content" and "reasoning_content" in message:
                gone.add("reasoning_content")
                ledger.drop(("messages", i, "reasoning_content"))
            message = {key: value for key, value in message.items() if key not in gone}
        messages.append(message)
    if isinstance(body.get("messages"), list):
        body["messages"] = messages


def _has_layout(message: Any) -> bool:
    details = message.get("reasoning_details") if isinstance(message, dict) else None
    return bool(isinstance(details, list) and details and isinstance(details[0], dict) and LAYOUT in details[0])
