"""What refusals by messages upstreams mean (see `codecs/lessons.py`)."""

from __future__ import annotations

import re
from typing import Any

from ..ledger import Path
from ..lessons import ONLY_STREAMS, Body, Reading, not_served
from .rules_out import calls_without_thought

_THOUGHTS = ("thinking", "redacted_thinking")


def _without_reasoning(body: Body) -> tuple[Body, Path | None]:
    """Remove earlier reasoning from the history, which this upstream cannot read or no longer accepts."""
    messages: list[Any] = []
    first: Path | None = None
    for number, message in enumerate(body.get("messages") or ()):
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            kept = [block for block in content if not (isinstance(block, dict) and block.get("type") in _THOUGHTS)]
            if len(kept) != len(content):
                first = first or ("messages", number)
                if not kept:
                    continue
                message = message | {"content": kept}
        messages.append(message)
    if first is None:
        return body, None
    changed = body | {"messages": messages}
    if calls_without_thought(changed):
        changed["thinking"] = {"type": "disabled"}
    return changed, first


LESSONS = (
    not_served("messages"),
    Reading(
        "reasoning",
        re.compile(r"invalid `?signature|thinking.{0,60}(?:cannot be modified|belongs to|bound to|binding)", re.IGNORECASE | re.DOTALL),
        "earlier reasoning is left out",
        sent=b'"signature"',
        change=_without_reasoning,
        adapts="reasoning",
        lasting=False,
    ),
    ONLY_STREAMS,
)
