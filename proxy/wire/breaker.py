"""Whether a server is worth asking: no caller waits for one that is known not to answer.

Closed, calls go to the server. The first that got no answer in all the time that it had trips the breaker: calls fail at once, those
that are under way too. While it is open a task of the breaker's own asks the server something small, once at a time, and the first
answer closes it. So no caller ever is the one that tries whether the server is back.

A call is abandoned, not waited for, when its time is over: a driver that cancels its query at a frozen server waits for that too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger("dragoman")

PROBE_EVERY = 0.5  # seconds between two questions of an open breaker
PROBE_PATIENCE = 2.0  # seconds that an answer to one may take


class Breaker:
    """opened, closed: what the log says then. probe: asks the server; whatever it raises means that it does not answer."""

    def __init__(self, opened: str, closed: str, probe: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self.reason = ""  # why it is open
        self._messages = (opened, closed)
        self._probe = probe
        self._probing: asyncio.Task[None] | None = None
        self._tripped: asyncio.Future[None] | None = None  # done when it opens; there while somebody waits
        self._closed: asyncio.Future[None] | None = None  # done when it closes; there while it is open
        self._abandoned: set[asyncio.Future[Any]] = set()

    @property
    def open(self) -> bool:
        return self._probing is not None

    async def attempt(self, work: Awaitable[T], seconds: float, insist: bool = False) -> T:
        """What `work` returns or raises. insist: go on waiting when the breaker opens meanwhile.

        Raises TimeoutError when it takes longer than this, or when the breaker opens.
        """
        task = asyncio.ensure_future(work)
        awaited: set[asyncio.Future[Any]] = {task}
        if not insist:
            if self._tripped is None:
                self._tripped = asyncio.get_running_loop().create_future()
            awaited.add(self._tripped)
        try:
            await asyncio.wait(awaited, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._abandon(task)
            raise
        if task.done():
            return task.result()
        self._abandon(task)
        raise TimeoutError(self.reason if self.open else f"no answer within {seconds:.3g} s")

    def _abandon(self, task: asyncio.Future[Any]) -> None:
        self._abandoned.add(task)
        task.add_done_callback(self._over)
        task.cancel()

    def _over(self, task: asyncio.Future[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # seen

    def trip(self, reason: str) -> None:
        """The server does not answer. Nothing happens when that is known."""
        if self.open:
            return
        self.reason = reason
        log.warning("%s (%s)", self._messages[0], reason)
        loop = asyncio.get_running_loop()
        self._closed = loop.create_future()
        self._probing = loop.create_task(self._probe_until_answered(), context=Context())
        if self._tripped is not None:
            self._tripped.set_result(None)
            self._tripped = None

    async def closes(self, seconds: float) -> bool:
        """Wait until it is closed, so long at most; whether it is."""
        if self._closed is not None:
            await asyncio.wait([self._closed], timeout=max(0.0, seconds))
        return not self.open

    async def _probe_until_answered(self) -> None:
        while True:
            await asyncio.sleep(PROBE_EVERY)
            try:
                await self.attempt(self._probe(), PROBE_PATIENCE, insist=True)
                break
            except Exception as error:  # of whatever kind: it did not answer
                log.debug("still no answer: %s", error)
        log.warning("%s", self._messages[1])
        self._probing = None
        if self._closed is not None:
            self._closed.set_result(None)
            self._closed = None

    async def close(self) -> None:
        """The worker ends."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        for task in list(self._abandoned):
            task.cancel()  # a second time: what waited for a query's cancellation stops waiting
        if self._abandoned:
            await asyncio.wait(list(self._abandoned), timeout=1.0)
