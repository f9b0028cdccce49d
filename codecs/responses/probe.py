"""The responses shape as the load tool sees it (see `codecs/probe.py`)."""

from __future__ import annotations

import orjson

from ..probe import Json, Probe, Reading, message

_ENDS = frozenset({"response.completed", "response.incomplete"})


def _request(turns: list[Json], words: int) -> Json:
    return {"input": turns}


def _frame(reading: Reading, data: bytes) -> None:
    if data == b"[DONE]":  # some servers append the chat shape's end marker
        return
    value = orjson.loads(data)
    kind: str = value["type"]
    if kind.endswith(".delta"):
        delta = value["delta"]
        reading.add(delta if isinstance(delta, str) else "")
    elif kind in _ENDS:
        reading.stopped = reading.terminal = True
    elif kind == "response.failed":
        reading.fault = message(value["response"]["error"])
    elif kind == "error":
        reading.fault = message(value.get("error") or value)


def _whole(reading: Reading, value: Json) -> None:
    if value.get("error"):
        reading.fault = message(value["error"])
        return
    for item in value["output"]:
        texts = [part.get("text") or part.get("refusal") or "" for part in item.get("content") or ()]
        if texts or item["type"] != "message":
            reading.add("".join(texts))
    reading.stopped = reading.terminal = value["status"] in ("completed", "incomplete")


PROBE = Probe(_request, _frame, _whole)
