"""Standard error that nobody waits for: what its reader does not take is dropped and counted.

Strategy: every record is a whole text of lines. It is written at once as far as the descriptor takes it; the rest waits, MOST bytes at
most, and is tried again by a timer. Records beyond that are dropped, and as soon as everything else is out a line says how many lines
are missing. `install` puts this in the place of sys.stderr, so that loggers, warnings, tracebacks and `print` take the same way.

The descriptor itself stays as it is, since O_NONBLOCK would hold for everybody who shares it (a shell and its terminal): a pipe or a
terminal is opened anew through /proc, a socket is asked for each write, and a file never waits for a reader. Where that cannot be done
the descriptor is made non-blocking after all. Workers share one reader: whoever writes holds a lock up to the end of its lines, since
only small writes to a pipe are indivisible.
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

MOST = 1 << 20  # bytes that wait for the reader
PIECE = 1 << 16  # bytes of one write
AGAIN = 0.1  # seconds between two attempts while something waits
LAST = 1.0  # seconds that the end of the process waits for the reader


class Output:
    """One process's way to a descriptor. May be used from every thread."""

    def __init__(self, descriptor: int, notice: Callable[[int], str]) -> None:
        """notice: the text that says how many lines were dropped."""
        self.dropped = 0  # lines, since the start
        self.on_drop: Callable[[int], object] | None = None  # is called with a number of lines
        self._notice = notice
        self._untold = 0  # lines dropped since the last notice
        self._send = _sender(descriptor)
        self._between = threading.RLock()  # a finaliser may log while this thread writes
        self._pushing = False
        self._waiting: deque[bytes] = deque()
        self._rest = b""  # of what is being written
        self._size = 0  # of both
        self._shared: int | None = None  # the file whose lock writers of several processes hold
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False

    def share(self) -> None:
        """Before other processes are forked that write to the same descriptor."""
        with tempfile.TemporaryFile() if not hasattr(os, "memfd_create") else os.fdopen(os.memfd_create("dragoman-log"), "wb") as file:
            self._shared = os.dup(file.fileno())

    def forked(self) -> None:
        """In the new process: what waits is written by the old one."""
        self._waiting.clear()
        self._rest, self._size, self._untold, self._loop = b"", 0, 0, None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """What waits from now on is tried again by this loop."""
        self._loop, self._scheduled = loop, False

    def write(self, text: str) -> None:
        """Whole lines, never torn. Blocks never, raises nothing."""
        data = text.encode("utf-8", "backslashreplace")
        with self._between:
            if self._size + len(data) > MOST:
                self._drop(data.count(b"\n"))
            else:
                self._waiting.append(data)
                self._size += len(data)
        self.flush()

    def flush(self) -> bool:
        """Write what the reader takes; whether something still waits."""
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
        """The end of the process: the reader has LAST seconds."""
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
        except OSError:  # nobody will ever read it
            self._drop(self._rest.count(b"\n") + sum(data.count(b"\n") for data in self._waiting))
            self._waiting.clear()
            self._rest, self._size, self._untold = b"", 0, 0
        if not self._rest and self._shared is not None:
            fcntl.lockf(self._shared, fcntl.LOCK_UN)

    def _next(self) -> bool:
        """Whether there is something to write."""
        if not self._rest and self._waiting:
            self._rest = self._waiting.popleft()
        elif not self._rest and self._untold:
            self._rest = self._notice(self._untold).encode()
            self._size, self._untold = len(self._rest), 0
        return bool(self._rest)

    def _locked(self) -> bool:
        """Whether no other process is within its lines. Who has the lock already gets it again."""
        if self._shared is None:
            return True
        try:
            fcntl.lockf(self._shared, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def _sender(descriptor: int) -> Callable[[bytes], int]:
    """What writes to the descriptor without ever waiting; it raises BlockingIOError instead."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return partial(os.write, descriptor)  # it is closed: every write fails
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
    """An Output as sys.stderr: what is written becomes a record when its line ends."""

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


# ---- the process's own ----

_own: Output | None = None  # once it is installed


def install(notice: Callable[[int], str]) -> None:
    """From now on nothing that this process writes to standard error can hold it up."""
    global _own
    if _own is None:
        _own = Output(2, notice)
        sys.stderr = _File(_own, 2)
        atexit.register(finish)


def own() -> Output | None:
    """The process's Output; None when it writes to standard error as ever."""
    return _own


def flush() -> bool:
    return _own is not None and _own.flush()


def forked() -> None:
    if _own is not None:
        _own.forked()


def finish() -> None:
    if _own is not None:
        _own.finish()
