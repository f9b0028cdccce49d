"""Constants of the gemini shape used by both its decoders and its encoders."""

from __future__ import annotations

from ..ids import IdForm
from ..request import Habits

NAME = "gemini"
API = "gemini"

IDS = IdForm("call_")

HABITS = Habits(turns_at="contents", cache_mark="", open_schemas=True, seals_text=True, results_inside=True)

# neutral reason -> finishReason
REASONS = {
    "end": "STOP",
    "stop_sequence": "STOP",
    "tool": "STOP",
    "pause": "STOP",
    "length": "MAX_TOKENS",
    "context": "MAX_TOKENS",
    "filter": "SAFETY",
    "refusal": "SAFETY",
}
