"""The latest tapped exchanges, which the wire inspector shows, bounded in number and in characters.

The ring is in the process of the admin listener, which is a process of its own when there are several workers. A reader waits for
`changed` and then reads what is new; nothing is queued per reader, so a slow page costs nothing. Taps are open while anyone watches
and LINGER seconds longer, so that a page can be reloaded; then content is switched off and removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .taps import Message

EXCHANGES = 200
CHARACTERS = 32 << 20  # of all records together
RECORD_COST = 200  # characters that a record counts for besides its text
LINGER = 20.0  # seconds that taps stay open after the last watcher has left


@dataclass(slots=True)
class Entry:
    """One exchange. changed: the ring's version at its last change."""

    id: str
    row: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    characters: int = 0
    changed: int = 0


class Ring:
    """watch: called with whether anyone watches and whether content is switched on, when either changes."""

    def __init__(self, watch: Callable[[bool, bool], None]) -> None:
        self.version = 0
        self.content = False
        self.entries: dict[str, Entry] = {}
        self._watch = watch
        self._watchers = 0
        self._characters = 0
        self._linger: asyncio.TimerHandle | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    # ---- input ----

    def take(self, messages: list[Message]) -> None:
        """Add messages from a worker's inspector."""
        for message in messages:
            self._take(message)
        self._trim()
        self._wake()

    def lost(self, number: int) -> None:
        """A worker has ended: mark its open exchanges as done."""
        for entry in self.entries.values():
            if not entry.row.get("done") and entry.id.startswith(f"{number}-"):
                self.version += 1
                entry.row |= {"done": True, "error": "worker_lost", "error_message": "The worker that served it has exited."}
                entry.changed = self.version
        self._wake()

    def _take(self, message: Message) -> None:
        id = message["id"]
        entry = self.entries.get(id)
        if entry is None:
            if "begun" not in message.get("row", ()):
                return  # already removed
            entry = self.entries[id] = Entry(id, {"id": id})
        self.version += 1
        entry.changed = self.version
        entry.row |= message.get("row", {})
        for record in message.get("records", ()):
            entry.records.append(record)
            cost = len(record["text"]) + RECORD_COST
            entry.characters += cost
            self._characters += cost

    def _trim(self) -> None:
        while len(self.entries) > EXCHANGES or (self._characters > CHARACTERS and len(self.entries) > 1):
            self._forget(next(iter(self.entries)))

    def _forget(self, id: str) -> None:
        self._characters -= self.entries.pop(id).characters

    # ---- output ----

    def known(self) -> dict[str, int]:
        """Every exchange and the version of its last change, oldest first."""
        return {id: entry.changed for id, entry in self.entries.items()}

    def row(self, id: str) -> dict[str, Any]:
        """An exchange's row in the list, with the number of records by pane."""
        entry = self.entries[id]
        panes: dict[str, int] = {}
        for record in entry.records:
            panes[record["pane"]] = panes.get(record["pane"], 0) + 1
        return entry.row | {"records": panes}

    async def changed(self, seen: int) -> None:
        """Wait until the ring's version differs from `seen`."""
        while self.version == seen:
            future = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    # ---- watchers ----

    def enter(self) -> None:
        """A watcher begins."""
        self._watchers += 1
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        elif self._watchers == 1:
            self._watch(True, self.content)

    def leave(self) -> None:
        """A watcher ends."""
        self._watchers -= 1
        if not self._watchers:
            self._linger = asyncio.get_running_loop().call_later(LINGER, self._rest)

    @property
    def watched(self) -> bool:
        return self._watchers > 0 or self._linger is not None

    def switch(self, content: bool) -> None:
        """Switch content on or off. Switching it off removes the exchanges that were recorded with content."""
        self.content = content
        if not content:
            for id in [id for id, entry in self.entries.items() if entry.row.get("content")]:
                self._forget(id)
        self.version += 1
        self._watch(self.watched, content)
        self._wake()

    def clear(self) -> None:
        for id in list(self.entries):
            self._forget(id)
        self.version += 1
        self._wake()

    def _rest(self) -> None:
        self._linger = None
        if self.content:
            self.switch(False)
        self._watch(False, False)

    def close(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
