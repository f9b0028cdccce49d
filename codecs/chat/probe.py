"""The chat shape as the load tool sees it (see `codecs/probe.py`)."""

from __future__ import annotations

import orjson

from ..probe import Json, Probe, Reading, message


def _request(turns: list[Json], words: int) -> Json:
    return {"messages": turns}


def _frame(reading: Reading, data: bytes) -> None:
    if data == b"[DONE]":
        reading.terminal = True
        return
    value = orjson.loads(data)
    if value.get("error"):
        reading.fault = message(value["error"])
        return
    for choice in value.get("choices") or ():
        delta = choice.get("delta") or {}
        text = delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning") or delta.get("refusal")
        if text:
            reading.add(text)
        elif delta.get("tool_calls"):
            reading.add("")
        if choice.get("finish_reason"):
            reading.stopped = True


def _whole(reading: Reading, value: Json) -> None:
    if value.get("error"):
        reading.fault = message(value["error"])
        return
    for choice in value["choices"]:
        answer = choice["message"]
        text = answer.get("content") or answer.get("reasoning_content") or answer.get("refusal")
        if text or answer.get("tool_calls"):
            reading.add(text or "")
        reading.stopped = reading.terminal = bool(choice["finish_reason"])


PROBE = Probe(_request, _frame, _whole)
