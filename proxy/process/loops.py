"""The event loop and the limit of descriptors, for the commands that need them."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def raise_file_limit() -> None:
    """Raise the soft limit of descriptors to the hard limit: a stream needs two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` on uvloop if it is installed, else on asyncio's loop."""
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())
