"""Constants of the messages shape used by both its decoder and its encoder."""

from __future__ import annotations

import re

from ..ids import IdForm
from ..request import Habits

NAME = "messages"

IDS = IdForm("toolu_", re.compile(r"[a-zA-Z0-9_-]+"))

# prefix of the ids of searches made by other providers, which Anthropic did not create and does not accept
SEARCH_IDS = "srvtoolu_dgr1"

# neutral reason -> stop_reason
REASONS = {
    "end": "end_turn",
    "stop_sequence": "stop_sequence",
    "tool": "tool_use",
    "length": "max_tokens",
    "context": "model_context_window_exceeded",
    "filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
}

HABITS = Habits(
    turns_at="messages",
    cache_mark="cache_control",
    open_schemas=True,
    seals_text=True,
    hides_thinking=True,
    results_inside=True,
    system_inside="developer",
)
