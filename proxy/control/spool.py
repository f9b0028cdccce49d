"""A bounded file of batches that wait for the store: each is appended before it is sent, and dropped when the store has it.

So a process that is killed loses what it had not appended yet, whatever the store does. The file is locked by its process; what a dead
process left behind is taken over by another one. Without a usable folder the batches wait in memory, within MOST_IN_MEMORY.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from collections import deque
from pathlib import Path

log = logging.getLogger("dragoman")

MOST_IN_MEMORY = 32 * 1024 * 1024  # bytes, where there is no file
SUFFIX = ".usage"
_END = b"\n"
_READ = 1 << 20  # bytes


class Spool:
    """Batches in order. most: bytes in the file. A batch is one line of bytes."""

    def __init__(self, folder: str, most: int) -> None:
        self._most = most
        self._path: Path | None = Path(folder) / f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        self._file = -1
        self._end = 0  # of the file
        self._waiting: deque[tuple[int, int, bytes | None]] = deque()  # place and length of each; its bytes where they are at hand
        try:
            self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_EXCL, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            log.warning("usage that the control store does not take is kept in memory only: %s: %s", self._path, error.strerror)
            self._close_file()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return sum(length for _, length, _ in self._waiting)

    def append(self, batch: bytes) -> bool:
        """Add a batch; return whether there was room for it."""
        length = len(batch)
        if self._file < 0:
            if self.size + length > min(self._most, MOST_IN_MEMORY):
                return False
            self._waiting.append((0, length, batch))
            return True
        if self._end + length + 1 > self._most:
            return False
        try:
            written = os.pwrite(self._file, batch + _END, self._end)
            if written < length + 1:
                raise OSError(0, "the disk is full")
        except OSError as error:
            log.warning("usage cannot be kept for the control store: %s: %s", self._path, error.strerror)
            return False
        self._waiting.append((self._end, length, batch if not self._waiting else None))
        self._end += length + 1
        return True

    def first(self) -> bytes:
        """The oldest batch. Raises OSError, IndexError."""
        place, length, batch = self._waiting[0]
        return batch if batch is not None else os.pread(self._file, length, place)

    def drop_first(self) -> None:
        """The store has the oldest batch."""
        self._waiting.popleft()
        if not self._waiting and self._file >= 0:
            self._end = 0
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Leave what waits to the next process."""
        empty = not self._waiting
        self._close_file()
        if empty and self._path is not None:
            self._path.unlink(missing_ok=True)

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Left:
    """What a dead process left behind. Use it as a context manager."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor

    def batches(self, place: int = 0) -> tuple[bytes | None, int]:
        """The batch at this place, None behind the last whole one; and the place of the next. Raises OSError."""
        pieces: list[bytes] = []
        at = place
        while piece := os.pread(self._descriptor, _READ, at):
            line, end, _ = piece.partition(_END)
            pieces.append(line)
            at += len(line) + len(end)
            if end:
                return b"".join(pieces), at
        return None, at

    def remove(self) -> None:
        """The store has all of it."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self._descriptor)


def left(folder: str) -> list[Left]:
    """The files that no process holds, locked for this one."""
    files: list[Left] = []
    for path in sorted(Path(folder).glob(f"*{SUFFIX}")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        files.append(Left(path, descriptor))
    return files
