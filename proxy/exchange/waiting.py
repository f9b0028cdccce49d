"""Futures: of writes, and of what goes on beside an attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

SETTLING = 2.0  # seconds that the usage of an answer that is complete may take


async def drained(pending: Awaitable[Any] | None) -> None:
    """Await a write that was not taken at once."""
    if pending is not None:
        await pending


def succeeded(done: asyncio.Future[Any]) -> bool:
    return done.done() and not done.cancelled() and done.exception() is None


def seen(done: asyncio.Future[Any]) -> None:
    """An error that nobody waits for any more is not one to be reported by the loop."""
    if not done.cancelled():
        done.exception()
