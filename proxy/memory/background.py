"""Background responses: they run to completion without a listener, and any replica can read them from the store.

A Job takes the caller's place: the exchange writes its events to the job, and the job appends them to a log in the store, each under
its sequence number. The oldest events are removed when the log exceeds its limit. A running job holds a lease. A response that is
unfinished while its lease is free belongs to a gateway that has died: the reader that finds it marks it failed. Cancelling takes the
lease over; the job then fails to write, and stops.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from time import time
from typing import Any

from ...codecs import errors, responses
from ...codecs.sse import KEEP_ALIVE, event_frame, safe_json
from ..wire.headers import SSE_HEADERS
from .ports import Caller
from .records import FINAL, Item, Native, Record, Records, entry_name, share
from .stores import Entry, Store
from .stores.guard import Patience, task_apart

log = logging.getLogger("dragoman")

BEAT = 2.0  # seconds between renewals of the lease
LEASE = 10.0  # seconds without a renewal after which the gateway is considered dead
RING = 16 * 1024 * 1024  # bytes of the newest events that the log of one job holds
AFTER_END = 600.0  # seconds that the log is stored after the end
WHILE_RUNNING = 3600.0  # seconds that the log is stored after an append
WAITING = 256 * 1024  # bytes of events not yet stored, above which reading from the upstream pauses
POLL = 0.1  # seconds between reads of the log of a job on another worker or replica
ORPHAN_CHECK = 3.0  # seconds without an event of such a job before its lease is checked
SILENCE = 15.0  # seconds without an event before a listener gets a keep-alive
PAGE = 500

_LAST = (b"event: response.completed\n", b"event: response.incomplete\n", b"event: error\n")


def events_name(owner: str, id: str) -> str:
    """The name of a job's log. It cannot clash with an id of a caller's: those contain no slash."""
    return f"{entry_name(owner, id)}/events"


class Job:
    """One background response that runs in this worker; its exchange uses it as the caller. stalled: always False."""

    has_head = False

    def __init__(self, background: Background, owner: str, record: Record, stop: Callable[[], object]) -> None:
        """stop: ends the exchange."""
        self.committed = False
        self.gone = False
        self.aborted = False
        self.stalled = False
        self.error: errors.GatewayError | None = None  # why it stopped before its end was stored, unless it was cancelled
        self.recorded = False  # the response's end is stored: readers who miss events get it from there
        self.changed = asyncio.Event()  # set and replaced when the log grows and when the job ends
        self._background = background
        self.owner, self._record = owner, record
        self._name = events_name(owner, record.id)
        self._stop = stop
        self._holder = secrets.token_hex(8)
        self._queue: list[bytes] = []
        self._waiting = 0
        self._writing: asyncio.Task[None] | None = None
        self._next = 0
        self._sizes: deque[int] = deque()
        self._weight = 0
        self._beat: asyncio.Task[None] | None = None
        self._streaming: asyncio.Task[None] | None = None  # to the caller that started the job

    # ---- life cycle ----

    async def begin(self) -> None:
        """Store the response as queued. The caller may be sent its id afterwards. Raises GatewayError."""
        store, record = self._background.store, self._record
        await self.hold()
        await self._background.records.put(self.owner, record)
        await store.put(Entry(self._name, {"of": record.id.encode()}, time() + WHILE_RUNNING, owner=share(self.owner)))
        await self._append(_events(announcement(record)))
        self._beat = task_apart(self._renew())

    async def hold(self) -> None:
        """Take or renew the lease. Raises CancelledError when another holds it: the job was cancelled."""
        if not await self._background.store.lease(entry_name(self.owner, self._record.id), self._holder, LEASE):
            self.stop()
            raise asyncio.CancelledError

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            try:
                await self.hold()
            except errors.GatewayError as error:
                log.warning("the lease of %s was not renewed: %s", self._record.id, error.detail or error.message)

    def stop(self) -> None:
        """End the exchange; drop events that are not yet stored."""
        if not self.gone:
            self.gone = True
            self._queue.clear()
            self._stop()

    def stream_to(self, caller: Caller, headers: Mapping[str, str]) -> None:
        """Send the events to the caller that started the job, as they are stored."""
        self._streaming = task_apart(self._background.tell(caller, headers, self.owner, self._record.id, -1))

    def left(self) -> None:
        """The caller has closed its connection: stop sending to it; the job continues."""
        if self._streaming is not None:
            self._streaming.cancel()

    async def over(self) -> None:
        """The exchange has ended and its result is stored. Returns when the caller has received its whole stream."""
        for task in (self._beat, self._writing):
            if task is not None:
                task.cancel()
        self._wake()
        try:
            await self._background.store.release(entry_name(self.owner, self._record.id), self._holder)
        except errors.GatewayError:
            pass  # the lease expires
        if self._streaming is not None:
            await asyncio.wait([self._streaming])

    # ---- as a caller ----

    def idle_since(self, now: float) -> float:
        return 0.0

    def start(self, headers: Mapping[str, str], first: bytes, status: int = 200, length: int | None = None) -> Awaitable[Any] | None:
        self.committed = True
        return self.write(first)

    def write(self, data: bytes) -> Awaitable[Any] | None:
        """Append complete events to the log; comments are dropped. Await the result, if any, before the next write."""
        if self.gone:
            return None
        self._queue += _events(data)
        self._waiting += len(data)
        if self._writing is None and self._queue:
            self._writing = task_apart(self._write())
        return self._flushed() if self._waiting > WAITING else None

    def writer(self) -> Callable[[bytes], Awaitable[Any] | None]:
        return self.write

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Called when the exchange failed before it wrote anything. `Turn.failed` has written the events of the failure."""
        await self.finish()

    def abort(self) -> None:
        self.stop()

    async def finish(self, last: bytes = b"") -> None:
        if last:
            self.write(last)
        await self._flushed()
        if not self.gone:
            try:
                await self._background.store.append(self._name, [], time() + AFTER_END)
            except errors.GatewayError as error:  # all events are written: their log only expires later
                log.warning("the log of %s expires late: %s", self._record.id, error.detail or error.message)

    async def _flushed(self) -> None:
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def _write(self) -> None:
        try:
            while self._queue:
                batch, self._queue, self._waiting = self._queue, [], 0
                await self._append(batch)
        except errors.GatewayError as error:
            level = logging.WARNING if self.recorded else logging.ERROR
            log.log(level, "the events of %s could not be written: %s", self._record.id, error.detail or error.message)
            self.error = None if self.recorded else error
            self.stop()
        finally:
            self._writing = None

    async def _append(self, batch: list[bytes]) -> None:
        """Append events to the log in the store, and remove the oldest. Raises GatewayError."""
        for frame in batch:
            self._sizes.append(len(frame))
            self._weight += len(frame)
        while self._weight > RING and len(self._sizes) > 1:
            self._weight -= self._sizes.popleft()
        self._next += len(batch)
        first = self._next - len(self._sizes)
        with Patience(insist=True):
            number = await self._background.store.append(self._name, batch, time() + WHILE_RUNNING, first)
        if number is None:
            self.stop()  # the log is gone: the job was cancelled
        self._wake()

    def _wake(self) -> None:
        """Wake those who wait for the log to change."""
        self.changed.set()
        self.changed = asyncio.Event()


class Background:
    """The jobs of this worker, and access through the store to the jobs of all workers."""

    def __init__(self, store: Store, records: Records) -> None:
        self.store = store
        self.records = records
        self._jobs: dict[str, Job] = {}  # by response id

    async def begin(self, owner: str, record: Record, stop: Callable[[], object], most: int, most_of_owner: int) -> Job:
        """Start a job. most, most_of_owner: how many may run in this worker at once. Raises OverQuota when that many run."""
        if len(self._jobs) >= most:
            raise errors.OverQuota("Too many background responses are running.")
        if sum(job.owner == owner for job in self._jobs.values()) >= most_of_owner:
            raise errors.OverQuota("Too many background responses of this API key are running.")
        job = self._jobs[record.id] = Job(self, owner, record, stop)
        try:
            await job.begin()
        except BaseException:
            del self._jobs[record.id]
            raise
        return job

    async def over(self, id: str) -> None:
        job = self._jobs.pop(id, None)
        if job is not None:
            await job.over()

    async def settled(self, owner: str, record: Record) -> Record | None:
        """Return the record, marked failed when the gateway that ran it has died; None when it was deleted."""
        if record.final or record.id in self._jobs or not await self._take(owner, record.id, force=False):
            return record
        error = errors.GatewayError("The gateway stopped before this response was complete.")
        return await self._end(owner, record.id, lambda response: responses.failed(response, error))

    async def cancel(self, owner: str, record: Record) -> Record | None:
        """Cancel the response unless it is final. Returns its record; None when it was deleted."""
        settled = await self.settled(owner, record)
        if settled is None or settled.final:
            return settled
        await self._take(owner, record.id, force=True)
        now = await self._end(owner, record.id, lambda response: response | {"status": "cancelled"})
        if record.id in self._jobs:
            self._jobs[record.id].stop()
        return now

    async def _take(self, owner: str, id: str, force: bool) -> bool:
        """Take a job's lease. It is not released, so that a job that is still alive cannot renew it."""
        return await self.store.lease(entry_name(owner, id), secrets.token_hex(8), LEASE, force)

    async def _end(self, owner: str, id: str, ended: Callable[[Item], Item]) -> Record | None:
        """Store the end of a response whose job will not write one."""
        now = await self.records.whole(owner, id)
        if isinstance(now, Native) or now is None:
            return None
        if not now.final:
            now.output = (await self._snapshot(owner, id)).cut()
            now.response = ended(now.response)
            now.status = now.response["status"]
            await self.records.put(owner, now)
            await self.store.delete(events_name(owner, id))
        return now

    async def _snapshot(self, owner: str, id: str) -> responses.Snapshot:
        snapshot, after = responses.Snapshot(), -1
        with Patience():
            while page := await self.store.read(events_name(owner, id), after, PAGE):
                snapshot.feed(raw for _, raw in page)
                after = page[-1][0]
        return snapshot

    async def shown(self, owner: str, record: Record) -> Item:
        """The response object of a record that was not final when it was read, with its output so far."""
        snapshot = await self._snapshot(owner, record.id)
        if snapshot.response.get("status") in FINAL:  # the record was written before its last event
            now = await self.records.whole(owner, record.id)
            return now.shown() if isinstance(now, Record) else record.shown()
        return record.response | snapshot.response | {"output": snapshot.output}

    async def follow(self, owner: str, id: str, after: int) -> AsyncIterator[bytes]:
        """Yield the events numbered above `after` until the stream ends, several at a time; keep-alives while there are none."""
        name = events_name(owner, id)
        silent, checked = 0.0, -ORPHAN_CHECK  # seconds without an event, and when in them the job was last looked after
        greeted = False  # the response head is sent with the first bytes: if there is no event yet, send a comment
        while True:
            job = self._jobs.get(id)
            changed = None if job is None else job.changed
            if page := await self.store.read(name, after, PAGE):
                yield b"".join(raw for _, raw in page)
                after, last = page[-1]
                if last.startswith(_LAST):
                    return
                silent, checked, greeted = 0.0, -ORPHAN_CHECK, True
            elif not greeted:
                greeted = True
                yield KEEP_ALIVE
            elif changed is None and silent - checked >= ORPHAN_CHECK:
                checked = silent
                ending = await self._ending(owner, id, after)
                if ending is not None:
                    yield ending
                    return
            else:
                silent += await unchanged(changed, SILENCE)
                if silent >= SILENCE:
                    silent, checked = 0.0, -ORPHAN_CHECK
                    yield KEEP_ALIVE

    async def tell(self, caller: Caller, headers: Mapping[str, str], owner: str, id: str, after: int) -> None:
        """Send what `follow` yields to a caller, and end its stream."""
        headers = {**headers, **SSE_HEADERS}
        try:
            async for events in self.follow(owner, id, after):
                pending = caller.write(events) if caller.committed else caller.start(headers, events)
                if pending is not None:
                    await pending
                if caller.gone:
                    return
        except errors.GatewayError as error:
            if not caller.committed:
                raise
            caller.write(event_frame("error", safe_json({"type": "error", "sequence_number": 0, **responses.error_event(error)})))
        if caller.committed:
            await caller.finish()

    async def _ending(self, owner: str, id: str, after: int) -> bytes | None:
        """The events that end a stream whose log has no more; None while the response is not final."""
        stored = await self.records.whole(owner, id)
        record = await self.settled(owner, stored) if isinstance(stored, Record) else None
        if record is None:
            return b""
        if not record.final:
            return None
        name = events_name(owner, id)
        if await self.store.read(name, after, 1):
            return None  # the end was appended to the log in the meantime
        if await self.store.read(name, -1, 1) and not await self._take(owner, id, force=False):
            return None  # it is about to be: its job lives, and stores the response first
        kind = record.status if record.status in ("completed", "failed") else "incomplete"
        ending = event_frame(f"response.{kind}", safe_json({
            "type": f"response.{kind}", "sequence_number": after + 1, "response": record.shown()
        }))  # fmt: skip
        if kind == "failed":
            error = errors.GatewayError(record.response["error"]["message"], code=record.response["error"]["code"])
            members = {"type": "error", "sequence_number": after + 2, **responses.error_event(error)}
            ending += event_frame("error", safe_json(members))
        return ending

    async def oldest(self, owner: str, id: str) -> int:
        """The number of the oldest event in the log; 0 when the log is empty."""
        page = await self.store.read(events_name(owner, id), -1, 1)
        return page[0][0] if page else 0

    def close(self) -> None:
        """The worker ends: stop its jobs. Their leases expire, and the next reader marks them failed."""
        for job in list(self._jobs.values()):
            job.stop()


async def unchanged(changed: asyncio.Event | None, longest: float) -> float:
    """Wait until a log of this worker grows, or for a moment; the seconds that nothing has come, about. changed: None: not of this one."""
    if changed is None:
        await asyncio.sleep(POLL)
        return POLL
    try:
        await asyncio.wait_for(changed.wait(), longest)
    except TimeoutError:
        return longest
    return 0.0


def _events(data: bytes) -> list[bytes]:
    """The events in these bytes, without comments."""
    return [block + b"\n\n" for block in data.split(b"\n\n") if block and block[:1] != b":"]


ANNOUNCED = 2  # events in a log before the answer begins


def announcement(record: Record) -> bytes:
    return b"".join(
        event_frame(kind, safe_json({"type": kind, "sequence_number": number, "response": record.shown()}))
        for number, kind in enumerate(("response.created", "response.queued"))
    )
