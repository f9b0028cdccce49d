"""Few large requests at a time are on their way from being parsed to being sent.

Parsed, a body is tens of thousands of small objects, two to three times its bytes. Where a hundred are parsed before the first of them
is sent, what each of them keeps lies between what the others had, and no allocator can give that back: 0.4 to 1.0 MB for each stream
that they began, where 0.05 is needed. Those that wait for their turn wait as bytes. They wait no longer than they would for the
processor, and are served in the order in which they came.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from ...codecs import splice
from ..wire import bodies

AT_ONCE = 4
LONGEST = 0.05  # seconds; who takes longer waits for something else (a store, a credential), and not for the processor


class Turnstile:
    """One worker's."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)

    async def enter(self) -> Passage:
        """Wait until there is room. To be left when the request is sent, or goes to wait for something."""
        await self._free.acquire()
        return Passage(self._free)

    async def read(self, body: bytes, most: int, passage: Passage | None = None) -> Read:
        """Parse a body; a large one waits until there is room. most: JSON values. passage: through the turnstile, where it is at hand.

        Raises ClientFault, and then has left.
        """
        if passage is None and len(body) > bodies.LONG:
            passage = await self.enter()
        try:
            return Read(*await bodies.read(body, most), passage)
        except BaseException:
            if passage is not None:
                passage.leave()
            raise


class Passage:
    """A place behind the turnstile; it ends by itself after LONGEST."""

    __slots__ = ("_free", "_timer")

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free = free
        self._timer: asyncio.TimerHandle | None = asyncio.get_running_loop().call_later(LONGEST, self.leave)

    def leave(self) -> None:
        """Make room for another one. May be called repeatedly."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            self._free.release()


class Read(NamedTuple):
    """A body that was parsed. made: objects and lists in it, as of `bodies.parsed`. passage: None for a small one."""

    scan: splice.Scan
    made: int
    passage: Passage | None
