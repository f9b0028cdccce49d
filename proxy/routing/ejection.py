"""Which upstreams failed lately: they are passed over for a while, then one request tries whether they work again.

Nobody is ever refused for it: what is passed over stands behind everything else, and is asked when nothing else is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...codecs import errors
from .router import Candidate

FIRST = 5.0  # seconds that the first failure costs; each further one twice as long
LONGEST = 60.0
KEPT = 1000  # failures: names that a wildcard lets through come from outside

# what says nothing of an upstream when the credential is the caller's own
_CALLERS_OWN = frozenset({"auth", "permission", "billing", "rate_limit"})

Key = tuple[int, str]


@dataclass(slots=True)
class _Failure:
    until: float
    seconds: float
    candidate: Candidate
    tried: bool = False  # a request is on its way to find out


class Ejection:
    """Of one configuration. clock: seconds. changed: called when one more is passed over, or one less."""

    def __init__(self, clock: Callable[[], float], changed: Callable[[], None] = lambda: None) -> None:
        self._clock, self._changed = clock, changed
        self._failures: dict[Key, _Failure] = {}

    def failed(self, candidate: Candidate, error: errors.GatewayError) -> None:
        """An attempt failed so. Where the credential was the caller's own, its refusal or rate limit is nobody else's."""
        if candidate.provider.passthrough_auth and error.kind in _CALLERS_OWN:
            return
        key, now = _key(candidate), self._clock()
        known = self._failures.pop(key, None)
        if known is not None and not known.tried and now < known.until:
            self._failures[key] = known  # this was under way already when another failed
            return
        seconds = min(LONGEST, known.seconds * 2 if known else FIRST)
        self._failures[key] = _Failure(now + max(seconds, min(error.retry_after or 0.0, LONGEST)), seconds, candidate)
        if len(self._failures) > KEPT:
            del self._failures[next(iter(self._failures))]
        self._changed()

    def worked(self, candidate: Candidate) -> None:
        if self._failures and self._failures.pop(_key(candidate), None) is not None:
            self._changed()

    def ordered(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """The same candidates, those that failed lately last. The first whose time is over comes as if nothing had been."""
        if not self._failures or len(candidates) == 1:
            return candidates
        now = self._clock()
        sound: list[Candidate] = []
        ejected: list[tuple[float, Candidate]] = []
        for candidate in candidates:
            failure = self._failures.get(_key(candidate))
            if failure is None:
                sound.append(candidate)
            elif failure.until <= now and not sound:
                failure.until, failure.tried = now + failure.seconds, True  # the others go on without it meanwhile
                sound.append(candidate)
            else:
                ejected.append((failure.until, candidate))
        ejected.sort(key=lambda pair: pair[0])
        return (*sound, *(candidate for _, candidate in ejected))

    def passed_over(self) -> list[tuple[Candidate, float]]:
        """The candidates that are asked last at the moment, and for how many seconds still."""
        now = self._clock()
        return [(failure.candidate, failure.until - now) for failure in self._failures.values() if failure.until > now]


def _key(candidate: Candidate) -> Key:
    return id(candidate.provider), candidate.model
