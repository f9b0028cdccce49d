"""A circuit breaker for a server such as Redis: nobody waits for a server that is known not to answer.

While the breaker is closed, calls go to the server. The user of the breaker trips it after a timeout; calls in progress then fail at
once, and further calls are not to be made. While it is open its own task probes the server, one probe at a time, and the first
success closes it. So no request serves as the probe.

A call that times out is cancelled but not awaited: a driver that cancels its query on a frozen server waits for that too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger("dragoman")

PROBE_EVERY = 0.5  # seconds between two probes
PROBE_PATIENCE = 2.0  # seconds for a probe


class Breaker:
    """opened, closed: log messages. probe: a small call to the server; any exception means that it does not answer."""

    def __init__(self, opened: str, closed: str, probe: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self.reason = ""  # why it is open
        self._messages = (opened, closed)
        self._probe = probe
        self._probing: asyncio.Task[None] | None = None
        self._tripped: asyncio.Future[None] | None = None  # done when the breaker opens; None without waiters
        self._closed: asyncio.Future[None] | None = None  # done when the breaker closes; None while it is closed
        self._abandoned: set[asyncio.Future[Any]] = set()

    @property
    def open(self) -> bool:
        return self._probing is not None

    async def attempt(self, work: Awaitable[T], seconds: float, insist: bool = False) -> T:
        """Return or raise what `work` does, within so many seconds. insist: keep waiting when the breaker opens.

        Raises TimeoutError after that time, or when the breaker opens.
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
            task.exception()  # mark it as retrieved

    def trip(self, reason: str) -> None:
        """Open the breaker and start to probe. Does nothing while it is open."""
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
        """Wait until the breaker is closed, for so many seconds at most; return whether it is."""
        if self._closed is not None:
            await asyncio.wait([self._closed], timeout=max(0.0, seconds))
        return not self.open

    async def _probe_until_answered(self) -> None:
        while True:
            await asyncio.sleep(PROBE_EVERY)
            try:
                await self.attempt(self._probe(), PROBE_PATIENCE, insist=True)
                break
            except Exception as error:  # of any kind: the server did not answer
                log.debug("still no answer: %s", error)
        log.warning("%s", self._messages[1])
        self._probing = None
        if self._closed is not None:
            self._closed.set_result(None)
            self._closed = None

    async def close(self) -> None:
        """Stop probing, and cancel the abandoned calls again."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        for task in list(self._abandoned):
            task.cancel()  # a second time: ends a driver's wait for the cancellation of its query
        if self._abandoned:
            await asyncio.wait(list(self._abandoned), timeout=1.0)
