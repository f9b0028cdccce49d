"""How many calls something takes: a measure that no busy machine changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


def counted(function: Callable[[], T]) -> tuple[T, int]:
    """What it returns, and how many calls it makes, those of C functions included."""
    calls = 0

    def see(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(see)
    try:
        result = function()
    finally:
        sys.setprofile(None)
    return result, calls
