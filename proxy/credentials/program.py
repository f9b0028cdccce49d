"""A program whose output is wanted: started without a shell, bounded in time and output.

It has a process group of its own, which ends with it: what it leaves running is killed. Of one that is ended before it ends by itself the
processes that it has started are killed as well, in whatever groups they are (Linux); only who has left their parent, by a second fork,
goes on. What it writes to standard error is thrown away, as it may hold secrets.

It runs behind this process (child.py), further when nobody waits for what it prints.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from glob import glob
from time import monotonic

from ..child import BEHIND
from .credential import Fault

MOST = 64 * 1024  # bytes of output
LOOK = 0.05  # seconds between two looks whether the program has ended
FAR_BEHIND = 15  # steps of priority, as child.BEHIND: it gets a thirtieth


class Program:
    """Runs one program, once at a time. subject: of the sentences that say what went wrong, with a blank behind it.

    surroundings: makes its environment; None: that of this process.
    """

    def __init__(
        self, argv: Sequence[str], timeout: float, subject: str = "", surroundings: Callable[[], Mapping[str, str]] | None = None
    ) -> None:
        self._argv, self._timeout, self._subject, self._surroundings = argv, timeout, subject, surroundings
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def output(self, data: bytes = b"", *, ahead: bool = False) -> bytes:
        """What it prints. data: its standard input, less than fits into a pipe. ahead: nobody waits for it. Blocks. Raises Fault."""
        if self._closed:
            raise self._fault("was ended with the gateway")
        deadline = monotonic() + self._timeout
        try:
            process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE if data else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=0,
                env=self._surroundings and self._surroundings(),
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise self._fault(f"cannot be started: {reason or 'its arguments are not usable'}", missing=True) from None
        self._process = process
        try:
            with process:
                try:
                    with suppress(OSError):  # it has ended already
                        os.setpriority(os.PRIO_PGRP, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + (FAR_BEHIND if ahead else BEHIND))
                    if process.stdin is not None:
                        with suppress(BrokenPipeError), process.stdin as pipe:
                            pipe.write(data)
                    printed = self._read(process, deadline)
                    code = process.wait(max(0.0, deadline - monotonic()))
                except subprocess.TimeoutExpired:
                    raise self._fault(f"did not end within {self._timeout:g} s", passing=True) from None
                finally:
                    _kill(process)  # also what it has left running in its session
        finally:
            self._process = None
        if self._closed:
            raise self._fault("was ended with the gateway")
        if code:
            raise self._fault(f"ended with status {code}" if code > 0 else f"was ended by signal {-code}", passing=True)
        return printed

    def close(self) -> None:
        """End it, and start it no more. Called from another thread."""
        self._closed = True
        if (process := self._process) is not None:
            _kill(process)

    def _read(self, process: subprocess.Popen[bytes], deadline: float) -> bytes:
        """What it prints, until it closes its output or ends. Raises Fault, TimeoutExpired."""
        assert process.stdout is not None
        out, printed = process.stdout.fileno(), b""
        poll = select.poll()  # select() takes no descriptor above 1023
        poll.register(out, select.POLLIN)
        while True:
            left = deadline - monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(process.args, 0)
            ended = process.poll() is not None  # before the look: what it printed last is seen
            if not poll.poll(0 if ended else min(left, LOOK) * 1e3):
                if ended:  # something that it started has its output still
                    return printed
                continue
            piece = os.read(out, MOST)
            if not piece:
                return printed
            printed += piece
            if len(printed) > MOST:
                raise self._fault(f"printed more than {MOST >> 10} kB")

    def _fault(self, what: str, *, missing: bool = False, passing: bool = False) -> Fault:
        return Fault(self._subject + what, missing=missing, passing=passing)


def _kill(process: subprocess.Popen[bytes]) -> None:
    family = _descendants(process.pid) if process.returncode is None else []  # as long as they have their parents
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for pid in family:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have. Nothing where the system does not tell."""
    pids = [pid]
    for parent in pids:  # which grows
        for file in glob(f"/proc/{parent}/task/*/children"):
            with suppress(OSError), open(file) as children:
                pids += map(int, children.read().split())
    return pids[1:]
