"""The loop that is current around pytest-tornado's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def loop_around() -> Iterator[None]:
    """Tornado puts back the loop that was current before its own; asked without one, asyncio makes a loop that nobody closes."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
