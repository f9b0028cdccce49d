"""What processes have in common that a worker starts to do something apart from it: asked on standard input, answering on standard output.

What they do would hold the interpreter, and no stream would move meanwhile. They import no more than they need. They stay in the worker's
session, as Linux shares a processor among sessions first (sched_autogroup), and by priority only within one.
"""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from typing import TextIO

MEMORY = 1 << 30  # bytes: what such a process is given or asks for must not take the machine's
# steps of priority behind the worker, for whose streams others wait: with them a process gets a sixth of a processor that is fully used
BEHIND = 7


def argv(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of `proxy`."""
    return (sys.executable, "-P", "-m", f"dragoman.proxy.{module}", *arguments)


def begin(behind: int = BEHIND) -> TextIO:
    """Called first in the process; returns where its answers go. behind: 0 where who starts it sets its priority."""
    os.nice(behind)
    with suppress(ValueError, OSError):  # it has less already, or none can be set here
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no answer
    return out
