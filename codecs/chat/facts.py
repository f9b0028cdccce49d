"""Constants of the chat shape used by both its decoder and its encoder."""

from __future__ import annotations

import re

from ..ids import IdForm
from ..request import Habits

NAME = "chat"

IDS = IdForm("call_", vendor=re.compile(".{1,40}", re.DOTALL))  # "string too long: maximum length 40"

# neutral reason -> finish_reason
REASONS = {
    "end": "stop",
    "stop_sequence": "stop",
    "tool": "tool_calls",
    "length": "length",
    "context": "length",
    "filter": "content_filter",
    "refusal": "content_filter",
    "pause": "length",  # there is more to come, and no way to ask for it
}

HABITS = Habits(
    turns_at="messages",
    endpoint=("include_obfuscation",),
    cache_mark="prompt_cache_breakpoint",
    image_detail_at=("image_url", "detail"),
    shows_thinking=True,
    fast_tier=False,
)
