"""The control store within one worker: keys in memory, usage on its way, budgets, and what becomes of old rows.

Requests only read and append to memory (`directory`, `record`); everything that asks the store runs in tasks of its own, which begin
again when it was away. So nothing here can fail or delay a request.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any

from ...conf.model import Config
from ...conf.model import Control as Settings
from ..keys.identity import Limited, of_key
from ..keys.quota import Counters
from ..telemetry.account import Account
from ..telemetry.metrics import Metrics
from . import budgets, tables, watch
from .directory import Directory
from .layout import DAY
from .store import Away, Store, Unusable, migrate
from .usage import Recorder

log = logging.getLogger("dragoman")

AT_START = 5.0  # seconds that a start waits for the store
WHOLE = 60.0  # seconds after which everything is read anew in any case
AGAIN = 1.0  # seconds between two attempts at a store that is away
BUDGETS = 10.0  # seconds between two looks at what is spent
PURGE = 600.0  # seconds between two removals of old rows
PURGED_AT_ONCE = 5000  # rows: limits the size of a transaction
BATCHES = 30 * DAY  # seconds that the id of a batch is remembered


class Control:
    """Create it inside the loop that uses it, and `open` it before requests come."""

    def __init__(self, settings: Settings, counters: Counters, metrics: Metrics) -> None:
        """counters: of limits. Raises Unusable."""
        make_folder(settings.folder)
        self.settings = settings
        self.directory = Directory(settings.folder)
        self._counters = counters
        self.store = Store(settings)
        self._metrics = metrics
        self._recorder = Recorder(self.store, settings.folder, settings.spool, metrics)
        self.stale = True  # the store does not answer: what it held last is served
        self._opened = asyncio.Event()
        self._look = asyncio.Event()  # at what budgets have spent
        self._of_file: list[Limited] = []  # the keys of the file that have limits
        self._tasks: list[asyncio.Task[None]] = []

    def reserving(self, config: Config) -> Callable[[], None]:
        """Keys of the file come first: their names are not to be those of others. What they have spent is in the store, too.

        Returns what puts this in force, and cannot fail.
        """
        of_file = [one for key in config.access_keys for one in of_key(key).limits]
        reserve = self.directory.reserving(frozenset(key.name for key in config.access_keys))

        def put() -> None:
            self._of_file = of_file
            reserve()

        return put

    @property
    def record(self) -> Callable[[Account, Callable[[str], bool]], None]:
        return self._recorder.record

    @property
    def note(self) -> str:
        """For /readyz: "" while the store answers."""
        if not self.stale:
            return ""
        read_at = self.directory.read_at
        if read_at is None:
            return "the control store does not answer; none of its keys is known"
        return f"the control store does not answer; its keys are used as of {datetime.fromtimestamp(read_at, UTC):%Y-%m-%d %H:%M:%S} UTC"

    async def open(self) -> None:
        """Read the keys, from the store or (when it does not answer in time) from the file, and go on in the background."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(work()) for work in (self._follow, self._look_at_budgets, self._purge)]
        try:
            async with asyncio.timeout(AT_START):
                await self._opened.wait()
        except TimeoutError:
            pass
        if not self._opened.is_set():
            self._is_away("it did not answer in time")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._recorder.close()
        await self.store.close()

    # ---- keys ----

    async def _follow(self) -> None:
        migrated = False
        while True:
            try:
                if not migrated:
                    await asyncio.to_thread(migrate, self.settings)
                    migrated = True
                await self._fresh()
                await self._change()
            except Away as error:
                self._is_away(str(error))
                await asyncio.sleep(AGAIN)
            except Unusable as error:
                self._is_away(str(error))
                await asyncio.sleep(WHOLE)

    async def _fresh(self) -> None:
        """Read everything."""
        await self.directory.read(self.store, force=True)
        if self.stale and self._opened.is_set():
            log.warning("the control store answers again")
        self.stale = False
        self._metrics.control_away.set(0)
        await asyncio.to_thread(self.directory.save)
        if not self._opened.is_set():
            await self._raise_counts()
        self._opened.set()
        self._look.set()

    async def _change(self) -> None:
        """Wait until something has changed, or everything is due to be read anew."""
        changed = watch.postgres if self.store.postgres else watch.sqlite
        try:
            async with asyncio.timeout(WHOLE):
                await changed(self.store, self.directory.number)
        except TimeoutError:
            pass

    def _is_away(self, why: str) -> None:
        if self.directory.read_at is None:
            self.directory.load()
        if not self.stale or not self._opened.is_set():
            self.stale = True
            self._metrics.control_away.set(1)
            log.error("%s (%s)", self.note, why)
        self._opened.set()

    # ---- now and then ----

    async def _look_at_budgets(self) -> None:
        """After each change of keys, since one may have a budget now, and every BUDGETS seconds."""
        while True:
            try:
                async with asyncio.timeout(BUDGETS):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            await self._tried(self._raise_counts())

    async def _raise_counts(self) -> None:
        """Raises Away."""
        await budgets.raise_counts(self.store, (*self._of_file, *self.directory.limited), self._counters)

    async def _purge(self) -> None:
        while True:
            await asyncio.sleep(PURGE)
            await self._tried(self._remove_old())

    @staticmethod
    async def _tried(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Away as error:
            log.debug("the control store does not answer: %s", error)

    async def _remove_old(self) -> None:
        """Remove rows of usage above the retention, a few at a time; their sums stay."""
        now = time()
        for table, before in ((tables.usage, now - self.settings.retention), (tables.batches, now - BATCHES)):
            removed = PURGED_AT_ONCE
            while removed >= PURGED_AT_ONCE:
                removed = await self.store.remove(table, before, PURGED_AT_ONCE)
                await asyncio.sleep(0.05)


def make_folder(folder: str) -> None:
    """Raises Unusable."""
    try:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"folder: {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        log.warning("%s cannot be written: neither keys nor usage are kept while the control store is away", folder)
