"""What belongs to the tool calls of answers, kept for callers that do not send it back: see codecs/recall.py.

It is kept in the state storage, each owner's apart, for a short while: an agent's next request comes when its tools have run. It is
written after the answer has gone out, and a request of this worker that comes before that is done finds it here. None of it is worth a
failure: where the storage does not answer, a request goes up without.
"""

from __future__ import annotations

import asyncio
import logging
from time import time

from ...codecs import errors
from .records import entry_name, share
from .stores import Entry, Store
from .stores.guard import Patience, task_apart
from .stores.memory import MemoryStore

log = logging.getLogger("dragoman")

PATIENCE = 1.0  # seconds that a request waits at most
MOST = 500  # notes of one request: the latest
MOST_WRITES = 1000  # at once
_PART = "note"


class Seals:
    """ttl: seconds that a note is kept; 0: nothing is."""

    def __init__(self, store: Store, ttl: float) -> None:
        self._store = store
        self._own = store if isinstance(store, MemoryStore) else None  # which nobody else writes to
        self._ttl = ttl
        self._pending: dict[str, bytes] = {}
        self._writes: set[asyncio.Task[None]] = set()

    @property
    def enabled(self) -> bool:
        return self._ttl > 0

    def keep(self, owner: str, key: str, note: bytes) -> None:
        """Write it in the background."""
        if len(self._writes) >= MOST_WRITES:
            return
        name = entry_name(owner, key)
        self._pending[name] = note
        task = task_apart(self._write(Entry(name, {_PART: note}, time() + self._ttl, owner=_share(owner))))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _write(self, entry: Entry) -> None:
        try:
            await self._store.put(entry)
        except errors.GatewayError as error:
            log.warning("the reasoning of a tool call was not stored: %s", error.detail or error.message)
        finally:
            self._pending.pop(entry.name, None)

    def may_hold(self, owner: str) -> bool:
        """Whether there can be a note of this owner's. Most agents' answers have none, and to look for each of 120 calls is dear."""
        return self.enabled and (self._own is None or bool(self._pending) or self._own.has_any(_share(owner)))

    async def find(self, owner: str, keys: list[str]) -> list[bytes | None]:
        """The note of each key; None where there is none."""
        prefix = entry_name(owner, "")
        names = [prefix + key for key in keys]
        asked = [name for name in names[-MOST:] if name not in self._pending]
        notes: dict[str, bytes | None] = dict(self._pending)
        if asked:
            try:
                with Patience(PATIENCE):
                    notes |= zip(asked, await self._store.get(asked, _PART), strict=True)
            except errors.GatewayError as error:
                log.warning("the reasoning of earlier tool calls could not be read: %s", error.detail or error.message)
        return [notes.get(name) for name in names]

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writes:
            await asyncio.wait(self._writes)


def _share(owner: str) -> str:
    return f"{share(owner)}/calls"
