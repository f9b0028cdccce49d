"""The gemini shape as the load tool sees it (see `codecs/probe.py`). A stream has no last event: its finish reason stands for it."""

from __future__ import annotations

import orjson

from ..probe import Json, Probe, Reading, message

_ROLES = {"assistant": "model"}


def _request(turns: list[Json], words: int) -> Json:
    contents = [{"role": _ROLES.get(turn["role"], turn["role"]), "parts": [{"text": turn["content"]}]} for turn in turns]
    return {"contents": contents, "generationConfig": {"maxOutputTokens": max(1024, 4 * words)}}


def _frame(reading: Reading, data: bytes) -> None:
    _whole(reading, orjson.loads(data))


def _whole(reading: Reading, value: Json) -> None:
    if "error" in value:
        reading.fault = message(value["error"])
        return
    for candidate in value["candidates"]:
        for part in candidate.get("content", {}).get("parts", ()):
            if part.get("text"):
                reading.add(part["text"])
        reading.stopped = reading.terminal = reading.stopped or bool(candidate.get("finishReason"))


PROBE = Probe(_request, _frame, _whole)
