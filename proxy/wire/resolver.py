"""Resolving the host names of upstreams, so that a slow or failing look-up delays no other name.

The system's getaddrinfo (hosts file, search domains, NSS) resolves as every other program on the machine does, but it blocks, for
half a minute if no name server answers. Event loops run it in a few shared threads, four with uvloop: as many hanging names stop
every new connection. Here each look-up has its own daemon thread, which does not delay the exit of the process; a name has one
look-up at a time, whose result all waiters share; and at most MOST_LOOKUPS run at once.

The last known addresses of a name are used when its look-up takes longer than PATIENCE or fails, until they are LONGEST_KEPT
seconds old (RFC 8767). They are dropped when the name is reported not to exist.

Rejected: an asynchronous resolver, which would have to interpret hosts, nsswitch.conf and resolv.conf as the system does; and a
cache, because getaddrinfo does not return the TTL. Each new connection starts a look-up.
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

MOST_LOOKUPS = 32  # at once; a configuration seldom has more names
PATIENCE = 1.0  # seconds that a look-up may take before the last known addresses are used
LONGEST_KEPT = 3600.0  # seconds

_NO_SUCH_NAME = {getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)}


class Address(NamedTuple):
    """family: AF_INET or AF_INET6. place: what socket.connect() takes."""

    family: int
    place: tuple[Any, ...]


LookUp = Callable[[str], list[Address]]


def system_look_up(host: str) -> list[Address]:
    """The addresses of a name, with port 0, in the order to try. Blocks. Raises OSError, or ValueError for an invalid host name."""
    return [Address(entry[0], entry[4]) for entry in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)]


class _Outcome(NamedTuple):
    addresses: list[Address]
    error: tuple[Any, ...] = ()  # errno and text; an exception would keep its frames alive


class _Known(NamedTuple):
    addresses: list[Address]
    at: float  # loop time


class _Pending(NamedTuple):
    outcome: asyncio.Future[_Outcome]
    since: float  # loop time


class Resolver:
    """The resolver of one loop; create it inside the running loop. look_up: called in threads."""

    def __init__(self, look_up: LookUp = system_look_up) -> None:
        self._loop = asyncio.get_running_loop()
        self._look_up = look_up
        self._pending: dict[str, _Pending] = {}
        self._known: dict[str, _Known] = {}
        self._queue: deque[str] = deque()  # names that wait for a thread
        self._running = 0

    async def addresses(self, host: str, port: int) -> list[Address]:
        """The addresses in the order to try. Has no timeout of its own. Raises OSError, or ValueError for an invalid host name."""
        with contextlib.suppress(socket.gaierror):
            literal = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            return [Address(entry[0], entry[4]) for entry in literal]
        pending = self._pending.get(host) or self._begin(host)
        patience = None if self._last(host) is None else max(0.0, pending.since + PATIENCE - self._loop.time())
        # wait() does not cancel the future with its waiter: others wait for it too
        await asyncio.wait([pending.outcome], timeout=patience)
        outcome = pending.outcome.result() if pending.outcome.done() else None
        addresses = outcome.addresses if outcome and outcome.addresses else self._last(host)
        if not addresses:
            assert outcome is not None
            raise socket.gaierror(*outcome.error)
        return [Address(family, (place[0], port, *place[2:])) for family, place in addresses]

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
            except RuntimeError as error:  # no more threads
                self._answered(host, _Outcome([], (socket.EAI_AGAIN, str(error))))

    def _ask(self, host: str) -> None:
        """Runs in a thread."""
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
