"""The messages shape as the load tool sees it (see `codecs/probe.py`)."""

from __future__ import annotations

import orjson

from ..probe import Json, Probe, Reading, message


def _request(turns: list[Json], words: int) -> Json:
    return {"max_tokens": max(1024, 4 * words), "messages": turns}


def _frame(reading: Reading, data: bytes) -> None:
    value = orjson.loads(data)
    kind = value["type"]
    if kind == "content_block_delta":
        delta = value["delta"]
        text = delta.get("text") or delta.get("thinking") or delta.get("partial_json")
        if text:
            reading.add(text)
    elif kind == "message_delta":
        reading.stopped = reading.stopped or bool(value["delta"].get("stop_reason"))
    elif kind == "message_stop":
        reading.terminal = True
    elif kind == "error":
        reading.fault = message(value["error"])


def _whole(reading: Reading, value: Json) -> None:
    if value["type"] == "error":
        reading.fault = message(value["error"])
        return
    for block in value["content"]:
        reading.add(block.get("text") or block.get("thinking") or "")
    reading.stopped = reading.terminal = bool(value["stop_reason"])


PROBE = Probe(_request, _frame, _whole)
