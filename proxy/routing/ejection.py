"""Ejection of upstreams that failed recently: they are passed over for a while, then a probe or one request tries them again.

Ejection never refuses a request: an upstream that is passed over moves behind all others and is still tried last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...codecs import errors
from .candidate import Candidate

FIRST = 5.0  # seconds of ejection after a first failure, doubled by each further one
LONGEST = 60.0  # seconds
MOST = 1000  # failures; bounded, as callers choose the model names that match a wildcard

# errors that do not indicate a failing upstream when the credential is the caller's own
_CALLERS_OWN = frozenset({"auth", "permission", "billing", "rate_limit"})

Key = tuple[int, str]


@dataclass(slots=True)
class _Failure:
    until: float
    seconds: float
    candidate: Candidate
    tried: bool = False  # a request or a probe is trying it again
    back: bool = False  # a probe was answered: it has its place again; what is known of it counts if it fails once more


class Ejection:
    """The recent failures under one configuration. clock: seconds. changed: called when `passed_over` changes."""

    def __init__(self, clock: Callable[[], float], changed: Callable[[], None] = lambda: None) -> None:
        self._clock, self._changed = clock, changed
        self._failures: dict[Key, _Failure] = {}
        self.on_failed: Callable[[Candidate, float], None] = lambda candidate, until: None  # until: by the clock

    def failed(self, candidate: Candidate, error: errors.GatewayError) -> None:
        """Record a failed attempt. Errors of a caller's own credential (refused, rate limit) are ignored."""
        if candidate.provider.passthrough_auth and error.kind in _CALLERS_OWN:
            return
        key, now = _key(candidate), self._clock()
        known = self._failures.pop(key, None)
        if known is not None and not known.tried and now < known.until:
            self._failures[key] = known  # this attempt began before the ejection
            return
        seconds = min(LONGEST, known.seconds * 2 if known else FIRST)
        until = now + max(seconds, min(error.retry_after or 0.0, LONGEST))
        self._failures[key] = _Failure(until, seconds, candidate)
        if len(self._failures) > MOST:
            del self._failures[next(iter(self._failures))]
        self._changed()
        self.on_failed(candidate, until)

    def worked(self, candidate: Candidate) -> None:
        if self._failures and self._failures.pop(_key(candidate), None) is not None:
            self._changed()

    def trying(self, candidate: Candidate) -> bool:
        """A probe is about to try it; requests still pass it over. Returns whether it is ejected at all."""
        failure = self._failures.get(_key(candidate))
        if failure is None or failure.back:
            return False
        failure.until, failure.tried = self._clock() + failure.seconds, True
        return True

    def knows(self, candidate: Candidate) -> bool:
        """Whether it has failed and not answered a request since."""
        return _key(candidate) in self._failures

    def answers(self, candidate: Candidate) -> None:
        """A probe was answered: requests come to it again."""
        failure = self._failures.get(_key(candidate))
        if failure is not None:
            failure.until, failure.back = self._clock(), True
            self._changed()

    def ordered(self, candidates: tuple[Candidate, ...], tries: bool = True) -> tuple[Candidate, ...]:
        """The candidates, ejected ones last. One whose time is over keeps its place if no sound one precedes it: this request tries it.

        tries: false for a request that is not sent.
        """
        if not self._failures or len(candidates) == 1:
            return candidates
        now = self._clock()
        sound: list[Candidate] = []
        ejected: list[tuple[float, Candidate]] = []
        for candidate in candidates:
            failure = self._failures.get(_key(candidate))
            if failure is None or failure.back:
                sound.append(candidate)
            elif failure.until <= now and not sound:
                if tries:
                    failure.until, failure.tried = now + failure.seconds, True  # other requests still pass it over
                sound.append(candidate)
            else:
                ejected.append((failure.until, candidate))
        ejected.sort(key=lambda pair: pair[0])
        return (*sound, *(candidate for _, candidate in ejected))

    def passed_over(self) -> list[tuple[Candidate, float]]:
        """The ejected candidates, and the seconds left for each."""
        now = self._clock()
        return [(failure.candidate, failure.until - now) for failure in self._failures.values() if failure.until > now]


def _key(candidate: Candidate) -> Key:
    return id(candidate.provider), candidate.model
