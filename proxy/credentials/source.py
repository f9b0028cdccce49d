"""A credential that ends, renewed off the event loop before it does.

A Giver gets a credential and may block; a Source calls it in a thread of its own, one call at a time, and holds what it gave.

From the soft time on (four fifths of the life, ten minutes before the end, or half of a short life) the held credential is still used and a
request starts its renewal in the background; from the hard time on (a minute before the end) it is used no more, and requests wait for
the renewal. Nothing runs by time: a source that nobody uses renews nothing. A failure is remembered for NEGATIVE seconds, so that a
thousand requests are one question.

A giver bounds its own time. Should it hang all the same, its thread is left alone, requests are refused meanwhile, and what it brings
late is used: a second thread would hang as well. The sources of a worker share Turns, so that a start or a common end of many
credentials does not begin as many processes; what takes longer than a request would wait keeps no other from its turn.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic, time
from typing import Protocol

from .credential import Credential, Fault

log = logging.getLogger("dragoman")

SOFT = 0.8  # of a life
SOFT_LEAST = 600.0  # seconds before the end; of shorter lives from their half on
HARD = 60.0  # seconds before the end, but at most a tenth of a life
JITTER = 0.1  # of the time to the soft one, so that workers do not all ask at once
PAUSES = (5.0, 15.0, 45.0, 60.0)  # seconds between failed renewals of a credential that is still good
NEGATIVE = 5.0  # seconds for which a failure is the answer
REFUSED = 60.0  # seconds between two credentials thrown away because an upstream refused them
AHEAD = 30.0  # seconds before the hard time up to which a renewal need not hurry
AT_ONCE = 4  # renewals
TELLING = 60.0  # seconds between two log lines about failures


class Giver(Protocol):
    """Gets credentials. name: for people."""

    name: str

    def get(self, *, ahead: bool = False) -> Credential:
        """A new credential. Blocks, for a bounded time. ahead: nobody waits for it, so that it may take what time others leave.

        Raises Fault.
        """

    def close(self) -> None:
        """End a `get` that is under way, if that can be done. Called from another thread."""


Report = Callable[[str, str, float | None], None]
"""Called after each renewal with the source's label; "ok", "missing" or "failed"; the end of a credential if it is known."""


class Turns:
    """Begins renewals, so many at once, the others in the order in which they are wanted. Everything runs in the event loop."""

    def __init__(self, free: int = AT_ONCE) -> None:
        self._free = free
        self._waiting: deque[Callable[[], None]] = deque()

    def take(self, begin: Callable[[], None]) -> None:
        """Call this when there is a turn; whoever got one gives it back."""
        if self._free:
            self._free -= 1
            begin()
        else:
            self._waiting.append(begin)

    def hurry(self, begin: Callable[[], None]) -> None:
        """A request waits for this one: it comes before those that are only made ready."""
        if begin in self._waiting:
            self._waiting.remove(begin)
            self._waiting.appendleft(begin)

    def give(self) -> None:
        self._free += 1
        if self._waiting:
            self._free -= 1
            self._waiting.popleft()()


class Source:
    """One giver's credential. Everything but the giver runs in the event loop.

    label: of whose credential it is, for the log and the metrics. patience: seconds that a request waits. clock: seconds since the epoch,
    by which credentials end. pace: seconds that never go back, for pauses. turns: shared with the other sources.
    """

    def __init__(
        self,
        giver: Giver,
        label: str,
        patience: float,
        report: Report = lambda *_: None,
        clock: Callable[[], float] = time,
        pace: Callable[[], float] = monotonic,
        turns: Turns | None = None,
    ) -> None:
        self.label = label
        self._giver, self._patience, self._report, self._clock, self._pace = giver, patience, report, clock, pace
        self._turns = turns or Turns()
        self._turn: asyncio.TimerHandle | None = None  # while the renewal has one
        self._held: Credential | None = None
        self._soft = self._hard = 0.0  # by the clock
        self._under_way: asyncio.Future[Credential | Fault] | None = None
        self._begun = 0.0  # monotonic, of that
        self._ahead = False  # whether nobody waits for it
        self._fault: Fault | None = None  # of the last renewal
        self._failures = 0  # in a row
        self._again = self._denied_until = self._tell_again = self._keep_until = 0.0  # by the pace
        self._closed = False

    @property
    def name(self) -> str:
        return self._giver.name

    def ready(self) -> Credential | None:
        """The credential to use now, or None: then `fresh` must be awaited. Never blocks."""
        now = self._clock()
        if now < self._soft:
            return self._held
        if self._held is None or now >= self._hard:
            return None
        if self._under_way is None and self._pace() >= self._again:
            self._renew(ahead=self._failures == 0 and self._hard - now >= AHEAD)
        return self._held

    async def fresh(self) -> Credential:
        """A good credential, by the renewal under way or a new one. Raises Fault."""
        if (held := self.ready()) is not None:
            return held
        if self._under_way is None and self._pace() >= self._denied_until:
            self._renew()
        under_way = self._under_way
        if under_way is None:
            assert self._fault is not None
            raise _again(self._fault)
        self._ahead = False  # where it has not begun
        self._turns.hurry(self._start)
        left = self._begun + self._patience - monotonic()
        if left > 0 or under_way.done():
            with suppress(TimeoutError):
                outcome = await asyncio.wait_for(asyncio.shield(under_way), max(left, 0))
                if isinstance(outcome, Fault):
                    raise _again(outcome)
                return outcome
        raise Fault(f"{self.name}: no answer within {self._patience:g} s", passing=True)

    def refused(self, credential: Credential) -> bool:
        """An upstream refused this credential: throw it away. Returns whether there may be another; after that it pays to ask again."""
        if self._held is not credential:
            return True  # another request had it thrown away
        now = self._pace()
        if now < self._keep_until:
            return False
        self._keep_until = now + REFUSED
        self._held, self._soft, self._hard = None, 0.0, 0.0
        return True

    def warm(self) -> None:
        """Begin to get the first credential."""
        if self._held is None and self._under_way is None:
            self._renew()

    def close(self) -> None:
        """No thread is waited for: they end by themselves, or with the process."""
        self._closed = True
        self._giver.close()

    # ---- a renewal ----

    def _renew(self, ahead: bool = False) -> None:
        self._begun, self._ahead = monotonic(), ahead
        self._under_way = asyncio.get_running_loop().create_future()
        self._turns.take(self._start)

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._turn = loop.call_later(self._patience, self._give_turn)
        if self._closed:
            return self._came(Fault(f"{self.name}: was ended with the gateway"), 0.0)
        try:
            threading.Thread(target=self._work, args=(loop, self._ahead), name=f"credential of {self.label}", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._came(Fault(f"{self.name}: no thread can be started", passing=True), 0.0)

    def _give_turn(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
            self._turns.give()

    def _work(self, loop: asyncio.AbstractEventLoop, ahead: bool) -> None:
        """In the thread."""
        outcome: Credential | Fault
        try:
            outcome = self._giver.get(ahead=ahead)
        except Fault as fault:
            outcome = Fault(f"{self.name}: {fault.message}", missing=fault.missing, passing=fault.passing)
        except Exception as error:  # of a library: its text can hold what was sent
            outcome = Fault(f"{self.name}: failed ({type(error).__name__})")
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(partial(self._came, outcome, monotonic() - self._begun))

    def _came(self, outcome: Credential | Fault, seconds: float) -> None:
        self._give_turn()
        now = self._clock()
        if isinstance(outcome, Credential) and outcome.ended(now):
            outcome = Fault(f"{self.name}: the credential that came has ended already")
        if isinstance(outcome, Credential):
            self._hold(outcome, now)
        else:
            self._failed(outcome)
        under_way, self._under_way = self._under_way, None
        if under_way is not None and not under_way.done():
            under_way.set_result(outcome)
        if self._closed:
            return
        if isinstance(outcome, Credential):
            log.info("credential of %s renewed in %.2f s (%s)", self.label, seconds, self.name)
            self._report(self.label, "ok", outcome.ends)
        else:
            self._report(self.label, "missing" if outcome.missing else "failed", None)
            if self._pace() >= self._tell_again:
                self._tell_again = self._pace() + TELLING
                log.warning("credential of %s could not be had after %.2f s: %s", self.label, seconds, outcome.message)

    def _hold(self, credential: Credential, now: float) -> None:
        self._held, self._fault, self._failures = credential, None, 0
        self._again = self._tell_again = self._denied_until = 0.0
        early = 1 + random.uniform(-JITTER, JITTER)
        if credential.ends is None:
            self._hard = float("inf")
            self._soft = credential.renew_at or self._hard
            return
        life = credential.ends - now
        wait = min(SOFT * life, max(life - SOFT_LEAST, life / 2)) * early
        self._soft = now + wait
        if credential.renew_at is not None and credential.renew_at > now:
            self._soft = min(self._soft, credential.renew_at)
        self._hard = credential.ends - min(HARD, HARD / SOFT_LEAST * life)

    def _failed(self, fault: Fault) -> None:
        self._fault, now = fault, self._pace()
        self._again = now + PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        self._denied_until = now + NEGATIVE  # without another


def _again(fault: Fault) -> Fault:
    """The same as a new exception, since each that is raised grows a traceback."""
    return Fault(fault.message, missing=fault.missing, passing=fault.passing)
