"""A store of a shared type behind a limit on waiting and a circuit breaker.

All calls of a request share one `Patience`. Within it a call that raises Away is retried on a new connection, so that a restart, a
failover or a lock held for a second causes a delay rather than an error. When waiting was in vain the breaker opens
(wire/breaker.py).

Every call can be repeated without further effect; `append` takes a token by which the store recognises a repetition.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import ContextVar, Token, copy_context
from typing import Any, TypeVar

from ...wire.breaker import Breaker
from . import Away, Entry, Store

T = TypeVar("T")

FIRST_PAUSE = 0.05  # seconds before the first retry; the pause doubles with each further one
LONGEST_PAUSE = 0.4


class Patience:
    """Limits the total time that the calls in a `with` block wait. In a nested block the outer one's settings apply.

    left: seconds that may still be waited for the store; None: its own `timeout`. insist: also wait for an open breaker to close.
    """

    __slots__ = ("_token", "insist", "left")

    def __init__(self, seconds: float | None = None, insist: bool = False) -> None:
        self.left = seconds
        self.insist = insist
        self._token: Token[Patience | None] | None = None

    def __enter__(self) -> None:
        if _patience.get() is None:
            self._token = _patience.set(self)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _patience.reset(self._token)


_patience: ContextVar[Patience | None] = ContextVar("patience", default=None)


def task_apart(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Create a task that may outlive its creator, and does not share the creator's patience."""
    context = copy_context()
    context.run(_patience.set, None)
    return asyncio.get_running_loop().create_task(work, context=context)


class Guard:
    """timeout: seconds that a request waits for the store at most; outside a `Patience` block, the limit of each call."""

    def __init__(self, store: Store, timeout: float) -> None:
        self.store = store
        self.timeout = timeout
        opened = "the state storage does not answer: requests that need it are refused at once until it does"
        self.breaker = Breaker(opened, "the state storage answers again", self._probe)

    async def _probe(self) -> None:
        """A write, since a read-only server is of no use."""
        await self.store.lease("-/probe", "probe", 0.001, force=True)

    async def _call(self, work: Callable[[], Awaitable[T]]) -> T:
        allowed = _patience.get() or Patience()
        if allowed.left is None:
            allowed.left = self.timeout
        loop, pause, waited = asyncio.get_running_loop(), FIRST_PAUSE, 0.0
        while True:
            begun, left = loop.time(), allowed.left
            try:
                return await self._attempt(work, left, allowed.insist)
            except Away as error:
                trouble = error
            finally:
                took = loop.time() - begun
                allowed.left -= took
                waited += took
            if self.breaker.open and not allowed.insist:
                raise trouble
            if allowed.left <= pause:
                if waited >= self.timeout / 2:  # less: the request had used up its time before this call
                    self.breaker.trip(trouble.detail)
                raise trouble
            await asyncio.sleep(pause)
            allowed.left -= pause
            waited += pause
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _attempt(self, work: Callable[[], Awaitable[T]], left: float, insist: bool) -> T:
        breaker = self.breaker
        if breaker.open and not (insist and await breaker.closes(left)):
            raise Away(breaker.reason)
        # half of the timeout: an attempt on a dead connection must leave time for a second one
        try:
            return await breaker.attempt(work(), min(left, self.timeout / 2), insist)
        except TimeoutError as error:
            raise Away(str(error)) from None

    def check(self) -> None:
        """Raise Away while the breaker is open; does no I/O."""
        if self.breaker.open:
            raise Away(self.breaker.reason)

    async def put(self, entry: Entry) -> None:
        await self._call(lambda: self.store.put(entry))

    async def get(self, names: Sequence[str], part: str) -> list[bytes | None]:
        return await self._call(lambda: self.store.get(names, part))

    async def resolve(self, aliases: Sequence[str]) -> list[str | None]:
        return await self._call(lambda: self.store.resolve(aliases))

    async def delete(self, name: str) -> bool:
        return await self._call(lambda: self.store.delete(name))

    async def append(
        self, name: str, values: Sequence[bytes], expires_at: float, first: int = 0, token: str = "", most: int | None = None
    ) -> int | None:
        token = token or secrets.token_hex(8)
        return await self._call(lambda: self.store.append(name, values, expires_at, first, token, most))

    async def read(self, name: str, after: int = -1, most: int = 1000) -> list[tuple[int, bytes]]:
        return await self._call(lambda: self.store.read(name, after, most))

    async def remove(self, name: str, number: int) -> bool:
        return await self._call(lambda: self.store.remove(name, number))

    async def lease(self, name: str, holder: str, seconds: float, force: bool = False) -> bool:
        return await self._call(lambda: self.store.lease(name, holder, seconds, force))

    async def release(self, name: str, holder: str) -> None:
        await self._call(lambda: self.store.release(name, holder))

    async def close(self) -> None:
        await self.breaker.close()
        await self.store.close()
