"""Streams that a caller can read on after its connection broke: their events are written down, and any replica can send them again.

The log of a stream is an entry of the store: each event under its number, a marker at the end. Who writes it holds a lease; a log without
an end whose lease is free belongs to a gateway that has died. Who reads it holds another, so that the writer knows that somebody waits.
The owner is part of the entry's name: nobody else can read it.

Bounded: the newest RING bytes of a stream, for STORED seconds after its end; MOST streams and MOST_BYTES of one worker at a time. No stream
begins a log above them, and one that goes above MOST_BYTES while it is written is deleted: its caller gets the rest without ids.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from time import monotonic, time

from ...codecs import errors
from .background import BEAT, LEASE, ORPHAN_CHECK, PAGE, POLL, SILENCE, WAITING, WHILE_RUNNING, unchanged
from .records import entry_name, share
from .stores import Entry, Store
from .stores.guard import Patience, task_apart

log = logging.getLogger("dragoman")

RING = 4 * 1024 * 1024  # bytes of the newest events of a stream
AHEAD = 2.0  # seconds that a caller may be ahead of the store
STORED = 120.0  # seconds that a log is stored after its end
MOST = 1000  # logs of one worker, those that are over included
MOST_BYTES = 256 * 1024 * 1024  # of them together

_END, _CUT = b": end\n\n", b": cut\n\n"  # the last values of a log: the answer is whole, or it broke off
_ENDS = (_END, _CUT)


def log_name(owner: str, token: str) -> str:
    """The name of a log. It cannot clash with an id of a caller's: those contain no slash."""
    return f"{entry_name(owner, token)}/stream"


def alias(owner: str, id: str) -> str:
    """What a response's log is also called."""
    return f"{entry_name(owner, id)}/streamed"


class Cut(Exception):
    """The stream that is read has no proper end."""


class Log:
    """The events of one stream, as they are written. next: the number of the next. lost: nothing is written any more."""

    def __init__(self, streams: Streams, name: str) -> None:
        self.next = 0
        self.lost = False
        self.changed = asyncio.Event()  # set and replaced when the log grows
        self._streams = streams
        self._name = name
        self._holder = secrets.token_hex(8)
        self._queue: list[bytes] = []
        self._waiting = 0
        self._written = 0
        self._sizes: deque[int] = deque()
        self._weight = 0
        self._task: asyncio.Task[None] | None = None
        self._beat: asyncio.Task[None] | None = None

    async def begin(self, owner: str, aliases: tuple[str, ...]) -> None:
        store = self._streams.store
        with Patience():
            await store.lease(self._name, self._holder, LEASE)
            await store.put(Entry(self._name, {"of": b""}, time() + WHILE_RUNNING, aliases, share(owner)))
        self._beat = task_apart(self._renew())

    def add(self, events: list[bytes]) -> Awaitable[None] | None:
        """Write events down. Await the result, if any, before the next ones."""
        if self.lost:
            return None
        self.next += len(events)
        self._queue += events
        size = sum(map(len, events))
        self._waiting += size
        self._streams.bytes += size
        if self._task is None:
            self._task = task_apart(self._write())
        return self._flushed() if self._waiting > WAITING else None

    async def end(self, whole: bool) -> None:
        """No event follows. whole: the answer has its proper end."""
        if not self.lost:
            self.add([_END if whole else _CUT])
            await self._flushed()
        if self._beat is not None:
            self._beat.cancel()
        try:
            await self._streams.store.append(self._name, [], time() + STORED)
            await self._streams.store.release(self._name, self._holder)
        except errors.GatewayError:
            pass  # it expires later, as the lease does
        self._streams.over(self._name, self._weight)

    async def awaited(self) -> bool:
        """Whether somebody reads the log."""
        try:
            return not await self._streams.store.lease(_readers(self._name), self._holder, 0.001)
        except errors.GatewayError:
            return False

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            try:
                if not await self._streams.store.lease(self._name, self._holder, LEASE):
                    self._lose()  # a reader took this gateway for dead
            except errors.GatewayError as error:
                log.warning("the lease of a stream was not renewed: %s", error.detail or error.message)

    async def _flushed(self) -> None:
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _write(self) -> None:
        try:
            while self._queue:
                batch, self._queue, self._waiting = self._queue, [], 0
                self._sizes.extend(map(len, batch))
                self._weight += sum(map(len, batch))
                while self._weight > RING and len(self._sizes) > 1:
                    size = self._sizes.popleft()
                    self._weight -= size
                    self._streams.bytes -= size
                if self._streams.bytes_left() < 0:
                    await self._give_way()
                    return
                self._written += len(batch)
                first = self._written - len(self._sizes)
                with Patience():
                    number = await self._streams.store.append(self._name, batch, time() + WHILE_RUNNING, first)
                if number is None:
                    self._lose()
                self.changed.set()
                self.changed = asyncio.Event()
        except errors.GatewayError as error:
            log.warning("a stream cannot be resumed any more: %s", error.detail or error.message)
            self._lose()
        finally:
            self._task = None

    async def _give_way(self) -> None:
        """Delete the log. Raises GatewayError."""
        log.warning("a stream cannot be resumed any more: those of this worker have more than %d MB of events", MOST_BYTES >> 20)
        self._lose()
        with Patience():
            await self._streams.store.delete(self._name)
        self._streams.bytes -= self._weight
        self._weight = 0

    def _lose(self) -> None:
        self.lost = True
        self._streams.bytes -= sum(map(len, self._queue))  # they are in no store
        self._queue.clear()
        self._waiting = 0
        self.changed.set()
        if self._beat is not None:
            self._beat.cancel()  # whoever reads it elsewhere learns that nothing follows


class Streams:
    """The logs of this worker, and access through the store to those of all. bytes: of the events in them, about."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.bytes = 0
        self._logs: dict[str, Log] = {}  # those that are written
        self._ended: deque[tuple[float, int]] = deque()  # when each of those that are over goes, and its bytes

    async def begin(self, owner: str, id: str | None) -> tuple[str, Log] | None:
        """The token and the log of a new stream; None when there are too many, or the store does not answer. id: of its response."""
        if self.bytes_left() <= 0 or len(self._logs) + len(self._ended) >= MOST:
            return None
        token = secrets.token_hex(16)
        name = log_name(owner, token)
        new_log = Log(self, name)
        try:
            await new_log.begin(owner, () if id is None else (alias(owner, id),))
        except errors.GatewayError as error:
            log.warning("a stream cannot be resumed: %s", error.detail or error.message)
            return None
        self._logs[name] = new_log
        return token, new_log

    def over(self, name: str, size: int) -> None:
        if self._logs.pop(name, None) is not None:
            self._ended.append((monotonic() + STORED, size))

    def bytes_left(self) -> int:
        """What can still be written; negative above the bound."""
        self._forget()
        return MOST_BYTES - self.bytes

    def _forget(self) -> None:
        now = monotonic()
        while self._ended and self._ended[0][0] < now:
            self.bytes -= self._ended.popleft()[1]

    async def of_response(self, owner: str, id: str) -> str | None:
        """The name of the log of a response's stream, if there is one."""
        with Patience():
            (name,) = await self.store.resolve([alias(owner, id)])
        return name

    async def delete(self, owner: str, id: str) -> None:
        """Delete the log of a response's stream."""
        name = await self.of_response(owner, id)
        if name is not None:
            await self.store.delete(name)

    async def check(self, name: str, after: int) -> None:
        """Raise NotFound unless there is this event and those above it are stored."""
        with Patience():
            (part,) = await self.store.get([name], "of")
            page = await self.store.read(name, -1, 1)
            if part is None or (page and page[0][0] > after + 1):
                raise errors.NotFound("The events after this one are no longer stored.")
            if after >= 0 and not await self._has(name, after):
                raise errors.NotFound("There is no such event.")

    async def _has(self, name: str, number: int) -> bool:
        """Whether a stream has or had an event of this number. A caller may have it a moment before it is stored."""
        waited = 0.0
        while not (page := await self.store.read(name, number - 1, 1)) and waited < AHEAD:
            await asyncio.sleep(POLL)
            waited += POLL
        return bool(page) and (page[0][0] > number or page[0][1] not in _ENDS)

    async def follow(self, name: str, after: int) -> AsyncIterator[list[tuple[int, bytes]]]:
        """Yield the events numbered above `after`, several at a time; an empty list now and then while there are none.

        Raises Cut when the stream has no proper end.
        """
        reader, silent, looked, greeted = secrets.token_hex(8), 0.0, 0.0, False
        await self.store.lease(_readers(name), reader, LEASE, force=True)
        while True:
            own = self._logs.get(name)
            changed = None if own is None else own.changed
            page = await self.store.read(name, after, PAGE)
            if page:
                after, last = page[-1]
                events = [one for one in page if one[1] not in _ENDS]
                if events:
                    yield events
                if last == _CUT:
                    raise Cut
                if last == _END:
                    return
                silent = looked = 0.0
                greeted = True
                continue
            if own is not None and own.lost:
                raise Cut
            if not greeted:
                yield []  # the caller's head goes out with it
            greeted = True
            silent += await unchanged(changed, ORPHAN_CHECK)
            if silent - looked >= ORPHAN_CHECK:
                looked = silent
                await self.store.lease(_readers(name), reader, LEASE, force=True)
                if await self._orphaned(name, after):
                    raise Cut
            if silent >= SILENCE:
                silent = looked = 0.0
                yield []

    async def _orphaned(self, name: str, after: int) -> bool:
        """Whether nobody writes the log any more, and it has no end."""
        if name in self._logs or not await self.store.lease(name, secrets.token_hex(8), LEASE):
            return False
        return not await self.store.read(name, after, 1)


def _readers(name: str) -> str:
    return f"{name}/read"
