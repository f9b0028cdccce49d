"""Addresses of upstreams' names. A name whose look-up hangs or fails holds up nobody but itself, and not even itself for long.

The system's getaddrinfo (hosts file, search domains, NSS) answers like every other program on the machine, but it blocks, for half a
minute where no name server answers. Loops run it in a few threads that everything shares, four with uvloop: as many names that hang
stop every new connection. So each look-up has a daemon thread of its own, which also holds up no exit; for a name there is one
look-up at a time, whose outcome all that wait for it share; and no more than MOST_LOOKUPS run at once.

The last addresses of a name are used while its look-up takes longer than PATIENCE, and when it fails, until they are LONGEST_KEPT
old (RFC 8767). A name server that says that the name does not exist is believed.

Rejected: an asynchronous resolver, which would have to read hosts, nsswitch.conf and resolv.conf as the system does; and a cache,
which could not know how long a record lives, as getaddrinfo does not say it: each new connection asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

MOST_LOOKUPS = 32  # at once; the names of a configuration are seldom more
PATIENCE = 1.0  # seconds that a look-up may take before the last known addresses are used
LONGEST_KEPT = 3600.0  # seconds

_NO_SUCH_NAME = {getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)}


class Address(NamedTuple):
    """family: AF_INET or AF_INET6. place: what socket.connect() takes."""

    family: int
    place: tuple[Any, ...]


LookUp = Callable[[str], list[Address]]


def system_look_up(host: str) -> list[Address]:
    """The addresses of a name, with port 0, in the order to try. Blocks. Raises OSError, or ValueError for what is no host name."""
    return [Address(found[0], found[4]) for found in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)]


class _Outcome(NamedTuple):
    addresses: list[Address]
    error: tuple[Any, ...] = ()  # errno and text, not an exception: that would keep the frames of whoever raised it


class _Known(NamedTuple):
    addresses: list[Address]
    at: float  # loop time


class _Pending(NamedTuple):
    outcome: asyncio.Future[_Outcome]
    since: float  # loop time


class Resolver:
    """One loop's. Make it inside the running loop. look_up: called in threads, one name at a time in each."""

    def __init__(self, look_up: LookUp = system_look_up) -> None:
        self._loop = asyncio.get_running_loop()
        self._look_up = look_up
        self._pending: dict[str, _Pending] = {}
        self._known: dict[str, _Known] = {}
        self._queue: deque[str] = deque()  # names that wait for a thread
        self._running = 0

    async def addresses(self, host: str, port: int) -> list[Address]:
        """In the order to try. Raises OSError, or ValueError for what is no host name. Does not end while there is no answer at all."""
        with contextlib.suppress(socket.gaierror):
            literal = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            return [Address(found[0], found[4]) for found in literal]
        pending = self._pending.get(host) or self._begin(host)
        patience = None if self._last(host) is None else max(0.0, pending.since + PATIENCE - self._loop.time())
        # wait() leaves the future alone when this caller is cancelled; others wait for it too
        await asyncio.wait([pending.outcome], timeout=patience)
        outcome = pending.outcome.result() if pending.outcome.done() else None
        found = outcome.addresses if outcome and outcome.addresses else self._last(host)
        if not found:
            assert outcome is not None
            raise socket.gaierror(*outcome.error)
        return [Address(family, (place[0], port, *place[2:])) for family, place in found]

    def _last(self, host: str) -> list[Address] | None:
        known = self._known.get(host)
        return known.addresses if known is not None and known.at + LONGEST_KEPT > self._loop.time() else None

    def _begin(self, host: str) -> _Pending:
        pending = self._pending[host] = _Pending(self._loop.create_future(), self._loop.time())
        self._queue.append(host)
        self._start()
        return pending

    def _start(self) -> None:
        while self._queue and self._running < MOST_LOOKUPS:
            host = self._queue.popleft()
            self._running += 1
            try:
                threading.Thread(target=self._ask, args=(host,), name=f"look-up of {host}", daemon=True).start()
            except RuntimeError as error:  # the system has no thread to give
                self._answered(host, _Outcome([], (socket.EAI_AGAIN, str(error))))

    def _ask(self, host: str) -> None:
        """In a thread."""
        try:
            addresses = self._look_up(host)
            outcome = _Outcome(addresses, () if addresses else (socket.EAI_NONAME, "no address"))
        except OSError as error:
            outcome = _Outcome([], (error.errno or errno.EIO, error.strerror or str(error)))
        except Exception as error:
            outcome = _Outcome([], (socket.EAI_FAIL, str(error)))
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._answered, host, outcome)

    def _answered(self, host: str, outcome: _Outcome) -> None:
        now = self._loop.time()
        if outcome.addresses:
            self._known[host] = _Known(outcome.addresses, now)
        elif outcome.error[0] in _NO_SUCH_NAME:
            self._known.pop(host, None)
        for name in [name for name, known in self._known.items() if known.at + LONGEST_KEPT <= now]:
            del self._known[name]
        self._pending.pop(host).outcome.set_result(outcome)
        self._running -= 1
        self._start()
