"""The supervisor of several workers on one port: forks them before any event loop exists, sends them orders, replaces dead ones.

Strategy: signal handlers only wake the parent's select loop, which then handles the signals, so that none is lost during a fork or
delayed by a pause. Workers follow the parent's orders and ignore signals: Ctrl-C in a terminal and SIGTERM from systemd reach every
process of the group and would otherwise count twice. Orders are bytes on a socket pair, which buffers them for a worker that is
still starting; EOF tells the worker that the parent is gone. The worker reports on the same pair when it serves: if one exits with
an error before any process of its number has served, all are stopped, since a replacement would fail too. A worker that keeps dying
soon after its start is restarted with exponential backoff.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ...conf import ConfigError
from ..telemetry import stderr
from .start import Sockets

log = logging.getLogger("dragoman")

DRAIN, CUT, RELOAD = b"d", b"c", b"r"  # orders
SERVING = b"s"  # a worker's report

SHORT_LIFE = 5.0  # seconds; a worker that lived less is replaced after a pause
LONGEST_PAUSE = 30.0  # seconds
CUT_SECONDS = 3.0  # from a second signal until workers are killed
LOG_SECONDS = 0.2  # between two attempts to write buffered log lines

_OBEYED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_HELD = {*_OBEYED, signal.SIGCHLD}


class Crew(Protocol):
    """The processes to run, by number; a replacement has the number of the dead process."""

    def open(self, number: int) -> Sockets:
        """Called in the parent before the fork. Raises OSError or ConfigError."""

    def work(self, number: int, sockets: Sockets, orders: socket.socket) -> int:
        """Run the process and return its exit code. Called in the child."""

    def renew(self) -> None:
        """Reload the configuration for processes started later. Called in the parent on SIGHUP. Does not raise."""


@dataclass
class _Child:
    number: int
    born: float  # monotonic seconds
    orders: socket.socket


class Supervisor:
    """Runs the crew until a signal ends it."""

    def __init__(self, crew: Crew, numbers: Iterable[int]) -> None:
        self._crew = crew
        self._numbers = numbers
        self._children: dict[int, _Child] = {}  # by process id
        self._served: set[int] = set()  # numbers
        self._due: list[tuple[float, int]] = []  # monotonic seconds and number of the processes to start
        self._stopping = False
        self._kill_at: float | None = None
        self._worst = 0
        self._pause = 0.0

    def run(self) -> int:
        """Run until all processes have ended. Returns 0, the exit code of one that could not start, or 1 if one failed while stopping."""
        self._signals, self._woken = os.pipe()
        for end in (self._signals, self._woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for name in _HELD:
            signal.signal(name, _ignored)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        self._due = [(0.0, number) for number in self._numbers]
        while self._children or (self._due and not self._stopping):
            self._start_due()
            self._wait()
            self._bury()
        return self._worst

    def _wait(self) -> None:
        """Wait for a signal or for the next thing due, and handle the signals."""
        now = time.monotonic()
        if self._kill_at is not None and self._kill_at <= now:
            for pid in self._children:
                os.kill(pid, signal.SIGKILL)
        until = [min(self._due)[0]] if self._due and not self._stopping else []
        if self._kill_at is not None:
            until.append(max(self._kill_at, now + CUT_SECONDS / 10))
        if stderr.flush():
            until.append(now + LOG_SECONDS)
        seconds = max(0.0, min(until) - now) if until else None
        if select.select([self._signals], [], [], seconds)[0]:
            for number in os.read(self._signals, 1024):
                self._heard(number)

    def _heard(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._crew.renew()
            self._order(RELOAD)
        elif number in _OBEYED and self._stopping:
            self._order(CUT)
            self._kill_at = self._kill_at or time.monotonic() + CUT_SECONDS
        elif number in _OBEYED:
            self._stop()

    def _stop(self) -> None:
        self._stopping = True
        self._order(DRAIN)

    def _order(self, order: bytes) -> None:
        for child in self._children.values():
            with suppress(OSError):  # it has just died, or no longer reads
                child.orders.send(order)

    # ---- the end of a child ----

    def _bury(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = self._children.pop(pid, None)
            if child is not None:  # else an orphan: PID 1 of a container inherits them
                self._ended(pid, child, os.waitstatus_to_exitcode(status))

    def _ended(self, pid: int, child: _Child, code: int) -> None:
        with suppress(OSError):
            if child.orders.recv(1) == SERVING:
                self._served.add(child.number)
        child.orders.close()
        lived = time.monotonic() - child.born
        if self._stopping:
            self._worst = self._worst or min(abs(code), 1)
        elif code > 0 and child.number not in self._served:
            self._cannot_start(code)
        else:
            self._pause = min(LONGEST_PAUSE, max(0.5, self._pause * 2)) if lived < SHORT_LIFE else 0.0
            log.error("worker %d exited with code %d after %.1f s; starting another", pid, code, lived)
            self._due.append((time.monotonic() + self._pause, child.number))

    def _cannot_start(self, code: int) -> None:
        log.error("a worker could not start: stopping all workers")
        self._worst = code
        self._stop()

    # ---- the start of a child ----

    def _start_due(self) -> None:
        now = time.monotonic()
        for at, number in [due for due in self._due if due[0] <= now]:
            if not self._stopping:
                self._due.remove((at, number))
                self._try_to_start(number)

    def _try_to_start(self, number: int) -> None:
        sockets: Sockets = {}
        try:
            sockets = self._crew.open(number)
            self._start(number, sockets)
        except (OSError, ConfigError) as error:
            log.error("a worker could not be started: %s", error)
            if not self._served:
                self._cannot_start(1)
            self._due.append((time.monotonic() + SHORT_LIFE, number))
        finally:
            for sock in _all(sockets):
                sock.close()  # the worker has its own

    def _start(self, number: int, sockets: Sockets) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)  # signals during the fork are delivered to the parent alone
        try:
            pid = os.fork()
            if not pid:
                self._be(number, sockets, theirs, ours, before)
            self._children[pid] = _Child(number, time.monotonic(), ours)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _be(self, number: int, sockets: Sockets, orders: socket.socket, parents: socket.socket, mask: Iterable[int]) -> None:
        """Run the child process and exit, after closing the descriptors that belong to the parent."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (self._signals, self._woken):
                os.close(end)
            for sock in (parents, *(child.orders for child in self._children.values())):
                sock.close()  # else the workers would see no EOF when the parent dies
            stderr.forked()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            code = self._crew.work(number, sockets, orders)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            log.exception("worker failed")
        finally:
            stderr.finish()
            os._exit(code)


def _all(sockets: Sockets) -> list[socket.socket]:
    return [sock for some in sockets.values() for sock in some]


def _ignored(number: int, frame: object) -> None:
    """Does nothing: in the parent the wake-up descriptor wakes the loop, and workers follow orders only."""
