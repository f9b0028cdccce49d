"""What refusals by responses upstreams mean (see `codecs/lessons.py`)."""

from __future__ import annotations

import re

from ..ledger import Path
from ..lessons import MISSING_PROPERTIES, ONLY_STREAMS, OTHER_ROUTE, Body, Reading, leave_out, not_served


def _without_reasoning(body: Body) -> tuple[Body, Path | None]:
    """Remove earlier reasoning from the input, which this upstream cannot read."""
    items = body.get("input")
    if not isinstance(items, list):
        return body, None
    kept = [item for item in items if not (isinstance(item, dict) and item.get("type") == "reasoning")]
    return (body, None) if len(kept) == len(items) else (body | {"input": kept}, ("input",))


LESSONS = (
    not_served("responses"),
    Reading(
        "summary",
        re.compile(r"reasoning\.summary"),
        "reasoning.summary is left out",
        sent=b'"summary"',
        flags={"r_summaries": False},
        change=leave_out("reasoning", "summary"),
    ),
    Reading(
        "reasoning",
        re.compile(r"invalid_encrypted_content|encrypted content\b.{0,80}\bverif"),
        "earlier reasoning is left out",
        sent=b'"encrypted_content"',
        change=_without_reasoning,
        adapts="reasoning",
        lasting=False,
    ),
    MISSING_PROPERTIES,
    ONLY_STREAMS,
    OTHER_ROUTE,
)
