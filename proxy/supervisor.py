"""Several workers on one port: a parent that forks them before any loop exists, passes signals on, and replaces the dead.

A worker that keeps dying right after its start is started again ever more slowly, so that a broken machine is not also busy.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable

log = logging.getLogger("dragoman")

SHORT_LIFE = 5.0  # seconds; a worker that lived less is not replaced at once
LONGEST_PAUSE = 30.0


class Supervisor:
    """Runs `work` in `count` processes until a signal ends it."""

    def __init__(self, work: Callable[[], int], count: int) -> None:
        """work: what a worker does, up to its exit code."""
        self._work = work
        self._count = count
        self._born: dict[int, float] = {}
        self._stopping = False
        self._pause = 0.0

    def run(self) -> int:
        """The exit code: 0 after a signal, 1 when a worker did not end well while stopping."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._pass_on)
        for _ in range(self._count):
            self._start()
        worst = 0
        while self._born:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                break
            code = os.waitstatus_to_exitcode(status)
            born = self._born.pop(pid, time.monotonic())
            if self._stopping:
                worst = worst or int(code != 0)
                continue
            lived = time.monotonic() - born
            self._pause = min(LONGEST_PAUSE, max(0.5, self._pause * 2)) if lived < SHORT_LIFE else 0.0
            log.error("worker %d ended with code %d after %.1f s; another is started", pid, code, lived)
            if self._pause:
                time.sleep(self._pause)
            if not self._stopping:
                self._start()
        return worst

    def _start(self) -> None:
        pid = os.fork()
        if pid:
            self._born[pid] = time.monotonic()
            return
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        code = 1
        try:
            code = self._work()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            log.exception("worker failed")
        finally:
            os._exit(code)

    def _pass_on(self, number: int, _: object) -> None:
        if number != signal.SIGHUP:
            self._stopping = True
        for pid in list(self._born):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
