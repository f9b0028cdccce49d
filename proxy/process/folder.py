"""The folder that workers share with the process of the admin listeners: their metrics files, and its socket.

The processes hold a lock in the folder, which the kernel releases with the last of them. A folder without a lock was left behind by
killed processes, and the next start removes it.
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
LONGEST = 70  # bytes of the parent's path: the address of a Unix socket has at most 108


@contextmanager
def common() -> Iterator[str]:
    """Create a folder for this process and those that it forks, and remove it at the end. Raises OSError."""
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
    """Take the folder's lock and return its descriptor; None while others hold it. Raises OSError if there is no lock file."""
    descriptor = os.open(Path(path) / LOCK, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
