"""Background responses: run to their end whether or not anyone listens, told from the store to whoever asks, on whatever replica.

A Job stands where a Client stands: an exchange that runs in the background writes its events to it, and it writes them to a log in
the store, each under its sequence number, the oldest ones let go when there are too many. While it runs it holds a lease. Whoever
finds a response unfinished and its lease free knows that its gateway has died; who cancels takes the lease away, and the job,
which cannot write any more, ends.
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
from ..exchange.caller import SSE_HEADERS, Caller
from .records import FINAL, Item, Native, Record, Records, entry_name
from .stores import Entry, Store

log = logging.getLogger("dragoman")

LIMIT = 256  # jobs of one worker
BEAT = 2.0  # seconds between two renewals of the lease
LEASE = 10.0  # seconds after which a silent gateway is taken for dead
RING = 16 * 1024 * 1024  # bytes of one job's events that are kept
KEPT = 600.0  # seconds that they are kept after the end
WHILE_RUNNING = 3600.0
WAITING = 256 * 1024  # bytes of events on their way to the store, beyond which the upstream is read no further
POLL = 0.1  # seconds between two looks at a job of another worker or replica
ORPHAN_CHECK = 3.0  # seconds of silence of such a job before its lease is looked at
SILENCE = 15.0  # seconds before a listener gets a keep-alive
PAGE = 500

_LAST = (b"event: response.completed\n", b"event: response.incomplete\n", b"event: error\n")


def events_name(owner: str, id: str) -> str:
    """The name of a job's log: no id from outside holds a slash."""
    return f"{entry_name(owner, id)}/events"


class Job:
    """One background response while it runs here. committed, gone and stalled as of Client."""

    def __init__(self, background: Background, owner: str, record: Record, stop: Callable[[], object]) -> None:
        """stop: ends the exchange."""
        self.committed = False
        self.gone = False
        self.aborted = False
        self.stalled = False
        self.changed = asyncio.Event()  # set, and replaced, when the log has grown or the job is over
        self._background = background
        self._owner, self._record = owner, record
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
        self._telling: asyncio.Task[None] | None = None

    # ---- its life ----

    async def begin(self) -> None:
        """Write down that it is queued. From here on the caller may know its id."""
        store, record = self._background.store, self._record
        await self.hold()
        await self._background.records.put(self._owner, record)
        await store.put(Entry(self._name, {"of": record.id.encode()}, time() + WHILE_RUNNING))
        self.write(announcement(record))
        await self._flushed()
        self._beat = asyncio.create_task(self._renew())

    async def hold(self) -> None:
        """Take or renew the lease. Raises CancelledError when it is another's: the job was cancelled."""
        if not await self._background.store.lease(entry_name(self._owner, self._record.id), self._holder, LEASE):
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
        """End the exchange; nothing more is written."""
        if not self.gone:
            self.gone = True
            self._queue.clear()
            self._stop()

    def tell(self, client: Caller, headers: Mapping[str, str]) -> None:
        """Let the caller hear of it."""
        self._telling = asyncio.create_task(self._background.tell(client, headers, self._owner, self._record.id, -1))

    def left(self) -> None:
        """The caller has closed its connection; the job goes on."""
        if self._telling is not None:
            self._telling.cancel()

    async def over(self) -> None:
        """The exchange has ended, and what became of it is written down. Returns when the caller has heard of it."""
        for task in (self._beat, self._writing):
            if task is not None:
                task.cancel()
        self._news()
        try:
            await self._background.store.release(entry_name(self._owner, self._record.id), self._holder)
        except errors.GatewayError:
            pass  # it ends by itself
        if self._telling is not None:
            await asyncio.wait([self._telling])

    # ---- as a client ----

    def idle_since(self, now: float) -> float:
        return 0.0

    def start(self, headers: Mapping[str, str], first: bytes, status: int = 200, length: int | None = None) -> Awaitable[Any] | None:
        self.committed = True
        return self.write(first)

    def write(self, data: bytes) -> Awaitable[Any] | None:
        """Whole events."""
        if self.gone:
            return None
        self._queue += [block + b"\n\n" for block in data.split(b"\n\n") if block and block[:1] != b":"]
        self._waiting += len(data)
        if self._writing is None and self._queue:
            self._writing = asyncio.create_task(self._write())
        return self._flushed() if self._waiting > WAITING else None

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """An exchange answers so when it failed before anything was written; the events of that are written by `write`."""
        await self.finish()

    def abort(self) -> None:
        self.stop()

    async def finish(self, last: bytes = b"") -> None:
        if last:
            self.write(last)
        await self._flushed()
        if not self.gone:
            await self._background.store.append(self._name, [], time() + KEPT)

    async def _flushed(self) -> None:
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def _write(self) -> None:
        try:
            while self._queue:
                batch, self._queue, self._waiting = self._queue, [], 0
                for frame in batch:
                    self._sizes.append(len(frame))
                    self._weight += len(frame)
                while self._weight > RING and len(self._sizes) > 1:
                    self._weight -= self._sizes.popleft()
                self._next += len(batch)
                first = self._next - len(self._sizes)
                if await self._background.store.append(self._name, batch, time() + WHILE_RUNNING, first) is None:
                    self.stop()  # somebody cancelled it
                self._news()
        except errors.GatewayError as error:
            log.error("the events of %s could not be written: %s", self._record.id, error.detail or error.message)
            self.stop()
        finally:
            self._writing = None

    def _news(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Background:
    """The jobs of this worker, and the sight of all others."""

    def __init__(self, store: Store, records: Records) -> None:
        self.store = store
        self.records = records
        self._jobs: dict[str, Job] = {}  # by response id

    async def begin(self, owner: str, record: Record, stop: Callable[[], object]) -> Job:
        """Raises OverQuota when too many run here."""
        if len(self._jobs) >= LIMIT:
            raise errors.OverQuota("Too many background responses are running.")
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
        """The record as it is; one that will never be finished, because its gateway has died, has failed. None when it is gone."""
        if record.final or record.id in self._jobs or not await self._take(owner, record.id, force=False):
            return record
        error = errors.GatewayError("The gateway that ran this response ended before the response did.")
        return await self._end(owner, record.id, lambda response: responses.failed(response, error))

    async def cancel(self, owner: str, record: Record) -> Record | None:
        """The record, cancelled unless it was final before; None when it is gone."""
        settled = await self.settled(owner, record)
        if settled is None or settled.final:
            return settled
        await self._take(owner, record.id, force=True)
        now = await self._end(owner, record.id, lambda response: response | {"status": "cancelled"})
        if record.id in self._jobs:
            self._jobs[record.id].stop()
        return now

    async def _take(self, owner: str, id: str, force: bool) -> bool:
        """Take a job's lease. It is never given back: the job, should it live, shall find it taken."""
        return await self.store.lease(entry_name(owner, id), secrets.token_hex(8), LEASE, force)

    async def _end(self, owner: str, id: str, ended: Callable[[Item], Item]) -> Record | None:
        """Write down how a response ended that its job will not end."""
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
        found, after = responses.Snapshot(), -1
        while page := await self.store.read(events_name(owner, id), after, PAGE):
            found.feed(raw for _, raw in page)
            after = page[-1][0]
        return found

    async def shown(self, owner: str, record: Record) -> Item:
        """The response object of a record that was not final, with what it has said by now."""
        snapshot = await self._snapshot(owner, record.id)
        if snapshot.response.get("status") in FINAL:  # the record was written before its last event
            now = await self.records.whole(owner, record.id)
            return now.shown() if isinstance(now, Record) else record.shown()
        return record.response | snapshot.response | {"output": snapshot.output}

    async def follow(self, owner: str, id: str, after: int) -> AsyncIterator[bytes]:
        """The events numbered above `after`, those to come included, some at a time; keep-alives while there are none."""
        name, silent, asked = events_name(owner, id), 0.0, 0.0
        greeted = False  # who listens gets something at once, if only a comment: headers wait for it
        while True:
            job = self._jobs.get(id)
            changed = job.changed if job is not None else None
            page = await self.store.read(name, after, PAGE)
            if page:
                yield b"".join(raw for _, raw in page)
                after = page[-1][0]
                if page[-1][1].startswith(_LAST):
                    return
                silent = asked = 0.0
                greeted = True
                continue
            if not greeted:
                greeted = True
                yield KEEP_ALIVE
                continue
            if changed is None:
                if silent == asked == 0.0 or silent - asked >= ORPHAN_CHECK:
                    asked = silent
                    ending = await self._ending(owner, id, after)
                    if ending is not None:
                        yield ending
                        return
                await asyncio.sleep(POLL)
                silent += POLL
            else:
                try:
                    await asyncio.wait_for(changed.wait(), SILENCE)
                    silent = 0.0
                except TimeoutError:
                    silent = SILENCE
            if silent >= SILENCE:
                silent = asked = 0.0
                yield KEEP_ALIVE

    async def tell(self, client: Caller, headers: Mapping[str, str], owner: str, id: str, after: int) -> None:
        """As `follow`, to a client, up to the end of its stream."""
        headers = {**headers, **SSE_HEADERS}
        try:
            async for events in self.follow(owner, id, after):
                pending = client.write(events) if client.committed else client.start(headers, events)
                if pending is not None:
                    await pending
                if client.gone:
                    return
        except errors.GatewayError as error:
            if not client.committed:
                raise
            client.write(event_frame("error", safe_json({"type": "error", "sequence_number": 0, **responses.error_event(error)})))
        if client.committed:
            await client.finish()

    async def _ending(self, owner: str, id: str, after: int) -> bytes | None:
        """What ends a stream whose log says no more; None while the response is not final."""
        found = await self.records.whole(owner, id)
        record = await self.settled(owner, found) if isinstance(found, Record) else None
        if record is None:
            return b""
        if not record.final:
            return None
        if await self.store.read(events_name(owner, id), after, 1):
            return None  # the end itself came in between
        kind = record.status if record.status in ("completed", "failed") else "incomplete"
        told = event_frame(f"response.{kind}", safe_json({
            "type": f"response.{kind}", "sequence_number": after + 1, "response": record.shown()
        }))  # fmt: skip
        if kind == "failed":
            error = errors.GatewayError(record.response["error"]["message"], code=record.response["error"]["code"])
            members = {"type": "error", "sequence_number": after + 2, **responses.error_event(error)}
            told += event_frame("error", safe_json(members))
        return told

    async def oldest(self, owner: str, id: str) -> int:
        """The number of the oldest event that is kept; 0 where there is none."""
        page = await self.store.read(events_name(owner, id), -1, 1)
        return page[0][0] if page else 0

    def close(self) -> None:
        """The worker ends: what still runs is found unfinished by the next that asks."""
        for job in list(self._jobs.values()):
            job.stop()


ANNOUNCED = 2  # events that stand in a log before the answer begins


def announcement(record: Record) -> bytes:
    return b"".join(
        event_frame(kind, safe_json({"type": kind, "sequence_number": number, "response": record.shown()}))
        for number, kind in enumerate(("response.created", "response.queued"))
    )
