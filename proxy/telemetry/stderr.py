"""Non-blocking standard error: output that its reader does not accept is dropped and counted.

Strategy: a record is one or more whole lines. It is written at once as far as the descriptor accepts it; the rest is buffered, up to
MOST bytes in total, and retried by a timer. Further records are dropped; when the buffer has been written, a line reports how many
lines are missing. `install` replaces sys.stderr, so that loggers, warnings, tracebacks and `print` all use it.

The mode of the descriptor is not changed, since O_NONBLOCK would apply to every process that shares it (a shell and its terminal): a
pipe or a terminal is reopened through /proc, a socket is written with MSG_DONTWAIT, and a file does not block. If reopening fails, the
descriptor is made non-blocking after all. Workers share one reader: the writer holds a lock until its lines are complete, since only
small writes to a pipe are atomic.
"""

from __future__ import annotations

import asyncio
import atexit
import fcntl
import io
import os
import socket
import stat
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

MOST = 1 << 20  # bytes that are buffered
PIECE = 1 << 16  # bytes of one write
AGAIN = 0.1  # seconds between retries while the buffer is not empty
LAST = 1.0  # seconds that the process waits for the reader when it ends


class Output:
    """A process's buffered output to a descriptor. Thread-safe."""

    def __init__(self, descriptor: int, notice: Callable[[int], str]) -> None:
        """notice: returns the line that reports a number of dropped lines."""
        self.dropped = 0  # lines, since the start
        self.on_drop: Callable[[int], object] | None = None  # called with the number of lines dropped
        self._notice = notice
        self._untold = 0  # lines dropped since the last notice
        self._send = _sender(descriptor)
        self._between = threading.RLock()  # a finaliser may log while this thread writes
        self._pushing = False
        self._waiting: deque[bytes] = deque()
        self._rest = b""  # the unwritten part of the current record
        self._size = 0  # bytes in both
        self._shared: int | None = None  # the descriptor of the lock between processes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False

    def share(self) -> None:
        """Create the lock. Call before forking processes that write to the same descriptor."""
        with tempfile.TemporaryFile() if not hasattr(os, "memfd_create") else os.fdopen(os.memfd_create("dragoman-log"), "wb") as file:
            self._shared = os.dup(file.fileno())

    def forked(self) -> None:
        """Call in a forked process: drop the buffer, which the parent writes."""
        self._waiting.clear()
        self._rest, self._size, self._untold, self._loop = b"", 0, 0, None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this event loop for retries."""
        self._loop, self._scheduled = loop, False

    def write(self, text: str) -> None:
        """Write whole lines, which are not interleaved with others. Never blocks and never raises."""
        data = text.encode("utf-8", "backslashreplace")
        with self._between:
            if self._size + len(data) > MOST:
                self._drop(data.count(b"\n"))
            else:
                self._waiting.append(data)
                self._size += len(data)
        self.flush()

    def flush(self) -> bool:
        """Write as much as the descriptor accepts. Returns whether the buffer is not empty."""
        with self._between:
            if not self._pushing:
                self._pushing = True
                try:
                    self._push()
                finally:
                    self._pushing = False
            waits = self._size > 0
        if waits and self._loop is not None and not self._scheduled:
            self._scheduled = True
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._later)
        return waits

    def finish(self) -> None:
        """Write the buffer at the end of the process; the reader has LAST seconds."""
        end = time.monotonic() + LAST
        while self.flush() and time.monotonic() < end:
            time.sleep(0.01)

    def _later(self) -> None:
        if self._loop is not None:
            self._loop.call_later(AGAIN, self._retry)

    def _retry(self) -> None:
        self._scheduled = False
        self.flush()

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        self._untold += lines
        if self.on_drop is not None:
            self.on_drop(lines)

    def _push(self) -> None:
        if not (self._size and self._locked()):
            return
        try:
            while self._next():
                count = self._send(self._rest[:PIECE])
                self._rest, self._size = self._rest[count:], self._size - count
        except BlockingIOError:
            pass
        except OSError:  # the reader is gone
            self._drop(self._rest.count(b"\n") + sum(data.count(b"\n") for data in self._waiting))
            self._waiting.clear()
            self._rest, self._size, self._untold = b"", 0, 0
        if not self._rest and self._shared is not None:
            fcntl.lockf(self._shared, fcntl.LOCK_UN)

    def _next(self) -> bool:
        """Take up the next record or notice. Returns whether there is anything to write."""
        if not self._rest and self._waiting:
            self._rest = self._waiting.popleft()
        elif not self._rest and self._untold:
            self._rest = self._notice(self._untold).encode()
            self._size, self._untold = len(self._rest), 0
        return bool(self._rest)

    def _locked(self) -> bool:
        """Acquire the lock between processes, if it is free or already held by this process. Returns whether it is held."""
        if self._shared is None:
            return True
        try:
            fcntl.lockf(self._shared, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def _sender(descriptor: int) -> Callable[[bytes], int]:
    """Return a function that writes to the descriptor and raises BlockingIOError instead of blocking."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return partial(os.write, descriptor)  # the descriptor is closed: every write fails
    if stat.S_ISSOCK(mode):
        sock = socket.socket(fileno=os.dup(descriptor))
        return lambda data: sock.send(data, socket.MSG_DONTWAIT)
    if not stat.S_ISREG(mode):
        try:
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)
        except OSError:
            os.set_blocking(descriptor, False)
    return partial(os.write, descriptor)


class _File(io.TextIOBase):
    """A file object for sys.stderr: text is passed to an Output when its line is complete."""

    def __init__(self, output: Output, descriptor: int) -> None:
        self._output, self._descriptor, self._begun = output, descriptor, ""

    encoding = "utf-8"
    errors = "backslashreplace"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, text: str) -> int:
        lines, end, rest = (self._begun + text).rpartition("\n")
        self._begun = rest
        if end:
            self._output.write(lines + end)
        return len(text)


# ---- the Output of the process ----

_own: Output | None = None  # set by install()


def install(notice: Callable[[int], str]) -> None:
    """Replace sys.stderr, so that no write of this process to it blocks."""
    global _own
    if _own is None:
        _own = Output(2, notice)
        sys.stderr = _File(_own, 2)
        atexit.register(finish)


def own() -> Output | None:
    """The process's Output; None before `install`."""
    return _own


def flush() -> bool:
    return _own is not None and _own.flush()


def forked() -> None:
    if _own is not None:
        _own.forked()


def finish() -> None:
    if _own is not None:
        _own.finish()
