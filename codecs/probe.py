"""What the load tool knows of a shape: the request that it sends, and when an answer is whole.

The functions read answers for themselves rather than with the codecs: what is wrong in both the gateway's encoder and its decoder
would otherwise look right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

Json = dict[str, Any]


class Reading(Protocol):
    """What one answer has brought. stopped: the shape said why it ended. terminal: its last event came. fault: the error instead."""

    stopped: bool
    terminal: bool
    fault: str | None

    def add(self, text: str) -> None:
        """Content came."""


class Probe(NamedTuple):
    """frame and whole raise LookupError, TypeError, ValueError or AttributeError for what is not of the shape.

    request: (turns, words) → a body without `model` and `stream`; a turn is `{"role", "content"}`.
    frame: reads one event's data. whole: reads a parsed answer.
    """

    request: Callable[[list[Json], int], Json]
    frame: Callable[[Reading, bytes], None]
    whole: Callable[[Reading, Json], None]


def message(error: Any) -> str:
    """An error's words."""
    return str(error.get("message", error) if isinstance(error, dict) else error)
