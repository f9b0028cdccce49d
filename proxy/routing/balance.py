"""Which of several candidates at one place a request tries first.

Affinity: a conversation goes to the candidate that wins its rendezvous hash, which every worker, replica and reload computes alike. A
candidate that is added or removed moves only its own share. One that has failed loses its conversations to the next of the same order,
and they stay there: that is remembered by this worker alone, bounded, as long as a provider's cache may live.

Requests without a conversation are balanced: by weight, by the better of two drawn at random (latency), or by what is in progress
here (least busy). Figures are this worker's own and are kept over a reload. Where one has sunk for want of news, one request finds out,
not all that come meanwhile. Ejection comes after all of this: see ejection.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Mapping
from hashlib import blake2b
from math import exp, log
from typing import Any

from .candidate import Candidate

MOVED = 4096  # conversations that are remembered at another candidate than their own
MOVED_FOR = 3600.0  # seconds since their last request
PACES = 1024  # candidates with figures; bounded, as callers choose the model names that match a wildcard
HALVED = 30.0  # seconds after which a figure counts half
FRESH = 5.0  # seconds in which a figure is no reason to ask again
BYTES_PER_TOKEN = 4
INTERVAL = 5.0  # seconds between two calls of `changed`
SHOWN = 120.0  # seconds that a figure is shown

AFFINITY, ELSEWHERE = "affinity", "moved"
_SPACE = 1 << 64


class Balance:
    """The choices of one worker.

    clock: seconds. draw: the random source. changed: called, not too often, when `paces` or `moved` change.
    """

    def __init__(self, clock: Callable[[], float], draw: random.Random | None = None, changed: Callable[[], None] = lambda: None) -> None:
        self._clock, self._changed = clock, changed
        self._notified = 0.0
        self._draw = draw or random.Random()
        self._moved: dict[bytes, tuple[Candidate, float]] = {}  # by session: where it is, and until when
        self._paces: dict[bytes, _Pace] = {}
        self._busy: dict[bytes, int] = {}

    def arranged(
        self, ranks: Mapping[bytes, int], candidates: tuple[Candidate, ...], session: bytes | None, how: str, asks: bool = True
    ) -> tuple[tuple[Candidate, ...], str]:
        """The candidates in the order to try, and what chose the first: `affinity`, `moved`, or `how`; "" if there was no choice.

        ranks: each candidate's place, by its seed. session: a digest; None without affinity. how: `weight`, `latency` or `least_busy`.
        asks: false for a request that is not sent.
        """
        places: dict[int, list[Candidate]] = {}
        for candidate in candidates:
            places.setdefault(ranks.get(candidate.seed, len(ranks)), []).append(candidate)
        ordered: list[Candidate] = []
        chosen = ""
        for rank in sorted(places):
            place = places[rank]
            if len(place) > 1:
                by = self._order(place, session, how, asks)
                if not ordered:
                    chosen = by
            ordered += place
        return tuple(ordered), chosen

    def answered(self, session: bytes, first: Candidate, candidate: Candidate, ranks: Mapping[bytes, int]) -> None:
        """A request was answered. first: the candidate that it was meant for. Another one of that place keeps the conversation."""
        if candidate.seed == first.seed or ranks.get(candidate.seed) != ranks.get(first.seed):
            return
        self._moved.pop(session, None)
        self._moved[session] = candidate, self._clock() + MOVED_FOR
        if len(self._moved) > MOVED:
            del self._moved[next(iter(self._moved))]
        self._tell(self._clock())

    def moved(self) -> list[tuple[Candidate, int, float]]:
        """The candidates at which there are conversations of others, how many, and the seconds until the last of them is forgotten."""
        now, by_seed = self._clock(), dict[bytes, tuple[Candidate, int, float]]()
        for candidate, end in self._moved.values():
            if end > now:
                _, count, left = by_seed.get(candidate.seed, (candidate, 0, 0.0))
                by_seed[candidate.seed] = candidate, count + 1, max(left, end - now)
        return list(by_seed.values())

    def _order(self, place: list[Candidate], session: bytes | None, how: str, asks: bool) -> str:
        """Sort a place, the first choice first; returns what chose it."""
        if session is not None:
            place.sort(key=lambda candidate: _draw_of(session, candidate), reverse=True)
            return self._affine(place, session, asks)
        draw = self._draw.random
        if how == "least_busy":
            place.sort(key=lambda candidate: (self._busy.get(candidate.seed, 0) / (candidate.provider.weight or 1), draw()))
            return how
        place.sort(key=lambda candidate: draw() ** (1 / (candidate.provider.weight or 1)), reverse=True)
        if how == "latency" and self.pace(place[1]) < self.pace(place[0]):
            place[0], place[1] = place[1], place[0]
        if asks and how == "latency" and (known := self._paces.get(place[0].seed)) is not None:
            known.asked(self._clock())
        return how

    def _affine(self, place: list[Candidate], session: bytes, asks: bool) -> str:
        """The candidate at which the conversation has been since its own failed comes first."""
        known = self._moved.get(session)
        if known is None:
            return AFFINITY
        at = next((n for n, candidate in enumerate(place) if candidate.seed == known[0].seed), 0)
        if known[1] < self._clock() or not at:
            del self._moved[session]
            return AFFINITY
        if asks:
            del self._moved[session]
            self._moved[session] = known[0], self._clock() + MOVED_FOR
        place.insert(0, place.pop(at))
        return ELSEWHERE

    # ---- figures ----

    def pace(self, candidate: Candidate) -> float:
        """Seconds to the first content per token of input; 0 for one that was not asked lately, so that it is asked again."""
        known = self._paces.get(candidate.seed)
        return 0.0 if known is None else known.now(self._clock())

    def began(self, candidate: Candidate, seconds: float, size: int) -> None:
        """The first content of a stream has come. size: bytes of the request."""
        pace, now = self._paces.pop(candidate.seed, None) or _Pace(candidate), self._clock()
        self._paces[candidate.seed] = pace
        if len(self._paces) > PACES:
            del self._paces[next(iter(self._paces))]
        pace.add(now, seconds, max(1.0, size / BYTES_PER_TOKEN))
        self._tell(now)

    def _tell(self, now: float) -> None:
        if now - self._notified >= INTERVAL:
            self._notified = now
            self._changed()

    def waited(self, candidate: Candidate, seconds: float, size: int) -> None:
        """No content of a stream has come in this time, and it was given up: the figure is that at least."""
        if seconds / max(1.0, size / BYTES_PER_TOKEN) > self.pace(candidate):
            self.began(candidate, seconds, size)

    def paces(self) -> list[tuple[Candidate, float, float]]:
        """The candidates asked lately, the pace of each, and the seconds that are left until it is no longer shown."""
        now = self._clock()
        known = [(pace.candidate, pace.now(now), pace.at + SHOWN - now) for pace in self._paces.values()]
        return [one for one in known if one[2] > 0]

    def busy(self, candidate: Candidate) -> int:
        """The attempts in progress at a candidate that `counted` runs."""
        return self._busy.get(candidate.seed, 0)

    async def counted(self, candidate: Candidate, attempt: Coroutine[Any, Any, None]) -> None:
        """Run an attempt, counted as in progress."""
        busy, seed = self._busy, candidate.seed
        busy[seed] = busy.get(seed, 0) + 1
        try:
            await attempt
        finally:
            if busy[seed] == 1:
                del busy[seed]
            else:
                busy[seed] -= 1


class _Pace:
    """A decaying mean: of the seconds by the tokens, each sum decaying, so that a large request counts by its size."""

    __slots__ = ("_asked", "_seconds", "_tokens", "at", "candidate")

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.at = self._asked = self._seconds = self._tokens = 0.0

    def add(self, now: float, seconds: float, tokens: float) -> None:
        faded = exp((self.at - now) * log(2) / HALVED)
        self.at, self._seconds, self._tokens = now, self._seconds * faded + seconds, self._tokens * faded + tokens

    def asked(self, now: float) -> None:
        """A request is about to find out whether it is faster by now: others wait for what it finds."""
        if now - self.at > FRESH:
            self._asked = now

    def now(self, now: float) -> float:
        """The mean; without new figures it sinks, since the candidate may be faster by now."""
        return self._seconds / self._tokens * float(exp((max(self.at, self._asked) - now) * log(2) / HALVED))


def _draw_of(session: bytes, candidate: Candidate) -> float:
    """The candidate's chance in the rendezvous of this session: the greatest wins, in proportion to the weights."""
    number = int.from_bytes(blake2b(session + candidate.seed, digest_size=8).digest())
    return (candidate.provider.weight or 1) / -log((number + 1) / (_SPACE + 1))
