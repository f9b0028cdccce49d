"""Constants of the responses shape used by both its decoder and its encoder."""

from __future__ import annotations

import re

from ..ids import IdForm
from ..request import Habits

NAME = "responses"

IDS = IdForm("call_", vendor=re.compile("[a-zA-Z0-9_-]{1,64}"))

# neutral reason -> status, and the reason of an incomplete response
REASONS: dict[str, tuple[str, str | None]] = {
    "end": ("completed", None),
    "stop_sequence": ("completed", None),
    "tool": ("completed", None),
    "length": ("incomplete", "max_output_tokens"),
    "context": ("incomplete", "max_output_tokens"),
    "filter": ("incomplete", "content_filter"),
    "refusal": ("incomplete", "content_filter"),
    "pause": ("incomplete", "max_output_tokens"),  # there is more to come, and no way to ask for it
}

HABITS = Habits(
    turns_at="input",
    endpoint=("include_obfuscation", "store", "metadata"),
    cache_mark="prompt_cache_breakpoint",
    strict_by_default=True,
    one_list=True,
    search_at={"allowed_domains": ("filters", "allowed_domains"), "blocked_domains": ("filters", "blocked_domains")},
)
