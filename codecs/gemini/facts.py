"""Constants of the gemini shape used by both its decoders and its encoders."""

from __future__ import annotations

from ..ids import IdForm
from ..request import Habits

NAME = "gemini"
API = "gemini"

IDS = IdForm("call_")

HABITS = Habits(turns_at="contents", cache_mark="", open_schemas=True, hides_thinking=True)
