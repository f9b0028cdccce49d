"""The link between the workers and the process of the admin listener: a Unix socket, one line of JSON per message.

From a worker: first its number and process id, then lists of the inspector's messages, and after each change an object with its notes
on upstreams: which are passed over, what was learned. To a worker: whether anyone watches, and whether content is shown. A worker whose
admin process has ended continues as if no one watched, and reconnects; a worker that has ended is removed from the list.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from .ring import Ring
from .taps import Inspector, Message

log = logging.getLogger("dragoman")

_LINE = 16 << 20  # bytes of the longest line
_UNREAD = 8 << 20  # bytes buffered for the admin process, above which messages are dropped
_AGAIN = 1.0  # seconds between attempts to connect


class Note(NamedTuple):
    """mark: of an entry, as of Router.mark. model: the upstream's. until: seconds since the epoch.

    lesson: of what was learned, as of lessons.described, with its `api`.
    """

    mark: str
    model: str
    text: str
    until: float
    lesson: dict[str, str] | None = None


def _path(folder: str) -> str:
    return str(Path(folder) / "admin.sock")


class Link:
    """A worker's end."""

    def __init__(self, folder: str, number: int, inspector: Inspector, notes: Callable[[], list[Note]]) -> None:
        """folder: shared with the admin process. number: this worker's. notes: returns what every `tell` sends."""
        self._path, self._number, self._inspector = _path(folder), number, inspector
        self._notes = notes
        self._writer: asyncio.StreamWriter | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._serve()
            except (OSError, ValueError):
                pass  # the admin process has not started or has ended
            await asyncio.sleep(_AGAIN)

    async def _serve(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=_LINE)
        self._writer = writer
        try:
            writer.write(_line({"worker": self._number, "pid": os.getpid()}))
            self.tell()
            while data := await reader.readline():
                state = orjson.loads(data)
                self._inspector.watch(self._send if state["watch"] else None, state["content"])
        finally:
            self._writer = None
            self._inspector.watch(None)
            writer.close()

    def tell(self) -> None:
        """Send this worker's notes on upstreams, after a change."""
        self._send({"notes": [tuple(note) for note in self._notes()]})

    def _send(self, messages: list[Message] | dict[str, list[tuple[Any, ...]]]) -> None:
        writer = self._writer
        # on uvloop a write to a transport that has just lost its peer raises
        if writer is not None and not writer.is_closing() and writer.transport.get_write_buffer_size() < _UNREAD:
            writer.write(_line(messages))


class Hub:
    """The admin process's end. workers: their numbers and process ids. notes: each worker's notes on upstreams."""

    def __init__(self) -> None:
        self.notes: dict[int, list[Note]] = {}
        self.ring = Ring(self._watch)
        self._links: dict[asyncio.StreamWriter, tuple[int, int]] = {}
        self._state = _line({"watch": False, "content": False})
        self._server: asyncio.Server

    async def open(self, folder: str) -> None:
        path = _path(folder)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # left by a dead process
        self._server = await asyncio.start_unix_server(self._serve, path, limit=_LINE)

    @property
    def workers(self) -> list[tuple[int, int]]:
        return list(self._links.values())

    def _watch(self, looking: bool, content: bool) -> None:
        self._state = _line({"watch": looking, "content": content})
        for writer in self._links:
            if not writer.is_closing():
                writer.write(self._state)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readline()
            if not first:
                return  # the worker ended before it sent anything
            hello = orjson.loads(first)
            number = hello["worker"]
            self._links[writer] = (number, hello["pid"])
            writer.write(self._state)
            while data := await reader.readline():
                message = orjson.loads(data)
                if isinstance(message, dict):
                    self.notes[number] = [Note(*note) for note in message["notes"]]
                else:
                    self.ring.take(message)
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("a worker's link broke: %s", error)
        finally:
            known = self._links.pop(writer, None)
            if known is not None:
                self.ring.lost(known[0])
                self.notes.pop(known[0], None)
            writer.close()

    async def close(self) -> None:
        self.ring.close()
        self._server.close()
        for writer in list(self._links):
            writer.close()


def _line(value: Any) -> bytes:
    return orjson.dumps(value, default=str) + b"\n"
