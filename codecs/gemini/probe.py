"""The gemini shape as the load tool sees it (see `codecs/probe.py`). Not implemented yet."""

from __future__ import annotations

from ..probe import Json, Probe, Reading


def _request(turns: list[Json], words: int) -> Json:
    raise NotImplementedError


def _frame(reading: Reading, data: bytes) -> None:
    raise NotImplementedError


def _whole(reading: Reading, value: Json) -> None:
    raise NotImplementedError


PROBE = Probe(_request, _frame, _whole)
