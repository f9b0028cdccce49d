"""The link between a worker and the admin process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dragoman.proxy.inspector.links import Hub, Link

from .loops import LOOPS


class Unwatched:
    """An inspector that nobody looks at."""

    def watch(self, send: Any, content: bool = False) -> None:
        pass


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_notes_to_an_admin_process_that_has_just_gone_are_dropped(tmp_path: Path, loop_factory: Callable[[], Any]) -> None:
    """A request that ejects an upstream sends a note: whatever becomes of that, it is no error of the request's."""

    async def main() -> None:
        hub = Hub()
        await hub.open(str(tmp_path))
        link = Link(str(tmp_path), 0, Unwatched(), list)  # type: ignore[arg-type]
        while not hub.workers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert link._writer is not None
        for writer in hub._links:
            writer.transport.abort()
        link._writer.transport.abort()
        async with asyncio.timeout(60):
            while link._writer is not None:  # from the moment that it closes until its reader has noticed
                link.tell()
                hub._watch(True, False)
                await asyncio.sleep(0)
        await link.close()
        await hub.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
