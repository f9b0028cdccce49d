"""Bodies of requests: received within bounds, counted together, read without holding the loop.

A worker keeps at most so many bytes of bodies at a time, over all requests (`limits.max_bodies`): a body counts from its first byte
until its request is over. It counts as what came, not as what was announced, so that a caller who announces and does not send takes
nothing from others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ...codecs import bulk, errors, splice

_T = TypeVar("_T")

PIECE = 32 * 1024  # bytes that are kept as they came; less is joined at once
AT_ONCE = 512 * 1024  # bytes of a body that is read in one turn of the loop
SHORT = 64 * 1024  # bytes of a body that is translated in one turn of the loop, however dense it is
DENSE = 2000  # braces in a body that is
_apart = ThreadPoolExecutor(2, "translation")  # it starts its threads when they are needed: in the worker


class Bodies:
    """What the requests of one worker keep of bodies. most: bytes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept = 0


class Incoming:
    """One request's body. Let go of it with `release` when the request is over."""

    __slots__ = ("_bodies", "_dropped", "_limit", "_pieces", "_size", "_tail")

    def __init__(self, bodies: Bodies, limit: int) -> None:
        """limit: bytes that are accepted."""
        self._bodies, self._limit = bodies, limit
        self._size = self._dropped = 0
        self._pieces: list[bytes] = []
        self._tail = bytearray()  # behind the pieces: what came in little ones

    def expect(self, length: int) -> None:
        """The request announces a body of this length. Raises TooLarge, Overloaded."""
        if length > self._limit:
            raise self._too_large()
        if self._bodies.kept + length > self._bodies.most:
            raise _overloaded()

    def feed(self, data: bytes, drop: bool = False) -> None:
        """drop: count and do not keep. Raises TooLarge, Overloaded; then nothing is kept any more."""
        size = len(data)
        if drop:
            self._dropped += size
            if self._dropped > self._limit:
                raise self._too_large()
            return
        bodies, whole = self._bodies, self._size + size
        if whole > self._limit or bodies.kept + size > bodies.most:
            self.release()
            raise self._too_large() if whole > self._limit else _overloaded()
        self._size = whole
        bodies.kept += size
        if size < PIECE:
            self._tail += data
        else:
            self._pieces += [bytes(self._tail), data] if self._tail else [data]
            self._tail = bytearray()

    def take(self) -> bytes:
        """Everything that came; nothing of it is kept here, but it counts until `release`."""
        pieces, tail = self._pieces, self._tail
        self._pieces, self._tail = [], bytearray()
        return b"".join([*pieces, tail]) if pieces else bytes(tail)

    def release(self) -> None:
        """The body counts no more. May be called again."""
        if self._size:
            self._bodies.kept -= self._size
            self._size = 0
            self._pieces, self._tail = [], bytearray()

    def _too_large(self) -> errors.TooLarge:
        return errors.TooLarge(f"The request body is larger than {self._limit} bytes.")


def _overloaded() -> errors.Overloaded:
    return errors.Overloaded("The gateway holds too many request bodies at the moment.", retry_after=1)


async def scan(body: bytes, most: int) -> splice.Scan:
    """splice.scan; of a large body in steps, between which others have their turn. most: JSON values. Raises as it, and TooLarge."""
    if len(body) <= AT_ONCE and len(body) <= most:  # there are fewer values than bytes
        return splice.scan(body)
    return await in_steps(bulk.scan(body, most))


async def apart(body: bytes, work: Callable[[], _T]) -> _T:
    """What `work` makes of a body that was read. It runs in a thread where it takes long: the loop has its turn every 5 ms then.

    An object costs up to 12 us to translate, so 64 kB of the shortest, or DENSE of them, hold the loop for some 30 ms at most.
    """
    if len(body) <= SHORT or (len(body) <= AT_ONCE and body.count(b"{") <= DENSE):
        return work()
    return await asyncio.get_running_loop().run_in_executor(_apart, work)


async def in_steps(steps: Generator[None, None, _T], at_once: bool = False) -> _T:
    """What a generator returns; at each of its yields others have their turn. at_once: it is short, they need none."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: _T = end.value
            return found
        if not at_once:
            await asyncio.sleep(0)
