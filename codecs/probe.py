"""The load tool's view of a shape: the request that it sends, and when an answer is complete.

The functions read answers independently of the codecs: a fault in both the gateway's encoder and its decoder would otherwise not be
detected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

Json = dict[str, Any]


class Reading(Protocol):
    """The state of one answer. stopped: a stop reason was received. terminal: the last event was received. fault: an error."""

    stopped: bool
    terminal: bool
    fault: str | None

    def add(self, text: str) -> None:
        """Add received content."""


class Probe(NamedTuple):
    """The functions of a shape. frame and whole raise LookupError, TypeError, ValueError or AttributeError for invalid answers.

    request: (turns, words) → a body without `model` and `stream`; a turn is `{"role", "content"}`.
    frame: reads one event's data. whole: reads a parsed answer.
    """

    request: Callable[[list[Json], int], Json]
    frame: Callable[[Reading, bytes], None]
    whole: Callable[[Reading, Json], None]


def message(error: Any) -> str:
    """The message of an error object."""
    return str(error.get("message", error) if isinstance(error, dict) else error)
