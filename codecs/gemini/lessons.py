"""What refusals by gemini upstreams mean (see `codecs/lessons.py`). Sources: recorded refusals, and users' reports that quote them."""

from __future__ import annotations

import re
from typing import Any

from ..ledger import Path
from ..lessons import Body, Change, Reading, each, without
from .facts import DUMMY
from .rules_out import place_of_thinking

_SIGNATURES = ("thoughtSignature", "thought_signature")
_CALLS = ("functionCall", "function_call")


def _without_signatures(body: Body) -> tuple[Body, Path | None]:
    """Remove the signatures of the history; the first call of each content gets the stand-in that switches the check off."""
    return each(body, "contents", _bare)


def _bare(content: dict[str, Any]) -> dict[str, Any]:
    """The content without signatures; the same object if there is nothing to change."""
    parts = content.get("parts")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return content
    call = next((number for number, part in enumerate(parts) if not part.keys().isdisjoint(_CALLS)), -1)
    bare_parts = []
    for number, part in enumerate(parts):
        bare = {name: value for name, value in part.items() if name not in _SIGNATURES}
        if number == call:
            bare["thoughtSignature"] = DUMMY
        if bare and (bare != {"text": ""} or len(bare) == len(part)):
            bare_parts.append(bare)
    return content if bare_parts == parts or not bare_parts else content | {"parts": bare_parts}


def _without_thinking(body: Body) -> tuple[Body, Path | None]:
    return without(body, place_of_thinking(body))


_SIGNATURE = re.compile(r"thought[ _]signature", re.IGNORECASE)
_JSON_SCHEMA = re.compile(r"(?:parameters|response)_?json_?schema", re.IGNORECASE)


def _leaving(*members: str) -> Change:
    """Settings by both spellings."""

    def changed(body: Body) -> tuple[Body, Path | None]:
        first: Path | None = None
        for steps in [(outer, member) for outer in ("generationConfig", "generation_config") for member in members]:
            body, path = without(body, steps)
            first = first or path
        return body, first

    return changed


LESSONS = (
    Reading(
        "penalties",
        re.compile(r"\bpenalty is not (?:enabled|supported)", re.IGNORECASE),
        "penalties are left out",
        change=_leaving("presencePenalty", "presence_penalty", "frequencyPenalty", "frequency_penalty"),
    ),
    Reading(
        "logprobs",
        re.compile(r"\blogprobs (?:is|are) not (?:enabled|supported)", re.IGNORECASE),
        "logprobs are left out",
        change=_leaving("responseLogprobs", "response_logprobs", "logprobs"),
    ),
    Reading(
        "thinking",
        re.compile(r"\bthinking (?:mode )?is not (?:enabled|supported)", re.IGNORECASE),
        "nothing is said of thinking",
        flags={"g_thinking": "none"},
        change=_without_thinking,
    ),
    Reading(
        "reasoning",
        _SIGNATURE,
        "earlier signatures are left out",
        change=_without_signatures,
        adapts="reasoning",
        lasting=False,
    ),
    Reading(
        "json_schema",
        _JSON_SCHEMA,
        "schemas are written in Google's own form",
        flags={"g_json_schema": False},
        written=True,
    ),
)
