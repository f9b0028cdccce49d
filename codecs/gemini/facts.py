"""Constants of the gemini shape used by both its decoders and its encoders.

Sources: the enums of google-ai-generativelanguage 0.12.1 and of aiplatform v1, revision 20261106.
"""

from __future__ import annotations

from ..ids import IdForm
from ..request import Habits

NAME = "gemini"
API = "gemini"

IDS = IdForm("call_")

HABITS = Habits(turns_at="contents", cache_mark="", open_schemas=True, seals_text=True, results_inside=True, silent_json=True)

# neutral reason -> finishReason
REASONS = {
    "end": "STOP",
    "stop_sequence": "STOP",
    "tool": "STOP",
    "pause": "STOP",  # as Google has no word for it
    "length": "MAX_TOKENS",
    "context": "MAX_TOKENS",
    "filter": "SAFETY",
    "refusal": "SAFETY",
}

STREAM, WHOLE = "streamGenerateContent", "generateContent"
"""The methods of a model, after the last colon of the path."""

# finishReason as a number: the same in both services, then those of the Developer API and of Vertex AI
_NUMBERS = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}
DEVELOPER_NUMBERS = _NUMBERS | {
    6: "LANGUAGE",
    7: "BLOCKLIST",
    8: "PROHIBITED_CONTENT",
    9: "SPII",
    10: "MALFORMED_FUNCTION_CALL",
}
VERTEX_NUMBERS = _NUMBERS | {6: "BLOCKLIST", 7: "PROHIBITED_CONTENT", 8: "SPII", 9: "MALFORMED_FUNCTION_CALL"}

CONTINUED = "CONTINUATION"
"""The finish reason of an answer that goes on in another one."""

NOT_FINISHED = ("", "FINISH_REASON_UNSPECIFIED")
NOT_BLOCKED = (None, "", 0, "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED")

DUMMY = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""base64 of `skip_thought_signature_validator`: in place of a signature it switches off the check of a call's signature."""
