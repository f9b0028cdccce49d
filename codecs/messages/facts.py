"""The messages shape's words that its reader and its writer share."""

from __future__ import annotations

import re

from ..ids import IdForm
from ..request import Habits

NAME = "messages"

IDS = IdForm("toolu_", re.compile(r"[a-zA-Z0-9_-]+"))

# how the ids of searches begin that another API's provider made: Anthropic did not give them, and does not take them back
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
