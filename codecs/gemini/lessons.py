"""What refusals by gemini upstreams mean (see `codecs/lessons.py`)."""

from __future__ import annotations

from ..lessons import Reading

LESSONS: tuple[Reading, ...] = ()
