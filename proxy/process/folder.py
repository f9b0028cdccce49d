"""The folder where several workers meet the process of the admin listeners: files of their metrics, and its socket.

Whoever uses a folder holds a lock in it, which is gone with the last process that has it: so a folder that was left behind by
processes that were killed is known from one in use, and the next start removes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "dragoman-metrics-"
LOCK = "in-use"
LONGEST = 70  # bytes of the path above: the address of a Unix socket has 108


@contextmanager
def common() -> Iterator[str]:
    """The path of a new folder, for this process and those that it forks. Raises OSError where none can be made."""
    _remove_unused()
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST:
        raise OSError(errno.ENAMETOOLONG, "the path of temporary files (TMPDIR) is too long for a socket below it", tempfile.gettempdir())
    path = tempfile.mkdtemp(prefix=PREFIX)
    lock = _lock(path, os.O_CREAT)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _remove_unused() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if path.stat().st_uid == os.geteuid() and (lock := _lock(str(path))) is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _lock(path: str, flags: int = 0) -> int | None:
    """The descriptor that holds the folder's lock; None while others hold it. Raises OSError for a folder without one."""
    descriptor = os.open(Path(path) / LOCK, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
