"""Keys in mounted files (`access_key: ${file:/path}`), read again when their files have changed.

A thread looks at the files, as a file system can hang; what it finds is handed to the loop. A file that cannot be read leaves the key as
it was: whoever rotates a secret may take it away for a moment.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from ...conf import read

log = logging.getLogger("dragoman")

PAUSE = 5.0  # seconds between two looks

Keys = Mapping[str, str]
"""By file."""


class Mounted:
    """changed: called in the loop with the new keys of those files that have changed."""

    def __init__(self, changed: Callable[[Keys], None]) -> None:
        self._changed = changed
        self._keys: Keys = {}
        self._states: dict[str, object] = {}  # of the files, as last looked at; only the thread's
        self._stop: threading.Event | None = None

    def adopt(self, keys: Keys) -> None:
        """Watch these files. keys: those in force. Call inside the running loop."""
        self._keys = keys
        if keys and self._stop is None:
            stop = threading.Event()
            arguments = (asyncio.get_running_loop(), stop)
            threading.Thread(target=self._watch, args=arguments, name="mounted keys", daemon=True).start()
            self._stop = stop

    def close(self) -> None:
        """The thread is not waited for."""
        if self._stop is not None:
            self._stop.set()

    # ---- in the thread ----

    def _watch(self, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        while not stop.is_set():
            changed = {file: key for file, held in self._keys.items() if (key := self._looked(file)) not in (None, held)}
            if changed:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(self._changed, changed)
            stop.wait(PAUSE)

    def _looked(self, file: str) -> str | None:
        """The key in a file that has changed since the last look; None without one."""
        try:
            status = os.stat(file)
            state: object = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError as error:
            state = error.errno
        if self._states.get(file) == state:
            return None
        self._states[file] = state
        try:
            key = read.secret(f"${{file:{file}}}")
        except ValueError as error:  # which names the file, and not what is in it
            log.warning("access_key is as before: %s", error)
            return None
        return key if isinstance(key, str) else None
