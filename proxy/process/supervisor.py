"""Several workers on one port: a parent that forks them before any loop exists, passes signals on, and replaces the dead.

Strategy: the parent does nothing in its signal handlers but wake its one loop, which then looks at what came: so no signal is
lost between a fork and its note, and none waits for a pause to end. A worker that keeps dying right after its start is started
again ever more slowly, so that a broken machine is not also busy. When the parent itself is gone, its workers end: each
holds one end of a pipe of which the parent alone has the other.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterable

log = logging.getLogger("dragoman")

SHORT_LIFE = 5.0  # seconds; a worker that lived less is not replaced at once
LONGEST_PAUSE = 30.0

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Supervisor:
    """Runs `work` in one process for each number, until a signal ends it."""

    def __init__(self, work: Callable[[int], int], numbers: Iterable[int], renew: Callable[[], None]) -> None:
        """work: what the process of a number does, up to its exit code. Who replaces a dead one has its number.

        renew: what SIGHUP means for the processes that are started after it.
        """
        self._work = work
        self._numbers = numbers
        self._renew = renew
        self._born: dict[int, tuple[int, float]] = {}  # process id -> its number, and when it began
        self._due: list[tuple[float, int]] = []  # when the process of which number is to be started, monotonic seconds
        self._stopping = False
        self._worst = 0
        self._pause = 0.0

    def run(self) -> int:
        """The exit code: 0 after a signal, 1 when a worker did not end well while stopping."""
        self._signals, woken = os.pipe()
        self._alive, self._held = os.pipe()
        for end in (self._signals, woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        for name in (*_PASSED_ON, signal.SIGCHLD):
            signal.signal(name, _ignored)
        self._due = [(0.0, number) for number in self._numbers]
        while self._born or (self._due and not self._stopping):
            self._start_due()
            self._wait()
            self._bury()
        return self._worst

    def _wait(self) -> None:
        """Until a signal came or a worker is due; signals are passed on."""
        now = time.monotonic()
        seconds = max(0.0, min(self._due)[0] - now) if self._due and not self._stopping else None
        if not select.select([self._signals], [], [], seconds)[0]:
            return
        for number in os.read(self._signals, 1024):
            if number in _PASSED_ON:
                self._stopping = self._stopping or number != signal.SIGHUP
                if number == signal.SIGHUP:
                    self._renew()
                for pid in list(self._born):
                    os.kill(pid, number)  # none is gone for good before _bury has seen it

    def _bury(self) -> None:
        while self._born:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            number, born = self._born.pop(pid)
            lived = time.monotonic() - born
            if self._stopping:
                self._worst = self._worst or int(code not in (0, -signal.SIGTERM, -signal.SIGINT))  # those had not begun
                continue
            self._pause = min(LONGEST_PAUSE, max(0.5, self._pause * 2)) if lived < SHORT_LIFE else 0.0
            log.error("worker %d ended with code %d after %.1f s; another is started", pid, code, lived)
            self._due.append((time.monotonic() + self._pause, number))

    def _start_due(self) -> None:
        now = time.monotonic()
        due = [number for at, number in self._due if at <= now]
        if due and not self._stopping:
            self._due = [(at, number) for at, number in self._due if at > now]
            for number in due:
                self._start(number)

    def _start(self, number: int) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # in the worker until it can read its configuration again
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            self._born[pid] = number, time.monotonic()
            return
        code = 1
        try:
            self._begin()
            code = self._work(number)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            log.exception("worker failed")
        finally:
            os._exit(code)

    def _begin(self) -> None:
        """In the new worker: nothing of the parent's but the pipe that tells of its end."""
        signal.set_wakeup_fd(-1)
        for number in (*_PASSED_ON, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.close(self._held)
        threading.Thread(target=_watch, args=(self._alive,), daemon=True).start()


def _watch(alive: int) -> None:
    os.read(alive, 1)  # returns when the parent has ended, since nobody writes
    os.kill(os.getpid(), signal.SIGTERM)


def _ignored(number: int, frame: object) -> None:
    """What must be done is done in the loop, which the wake-up descriptor has woken."""
