"""What upstreams refused although most take it: believed for an hour, then asked again."""

from __future__ import annotations

from collections.abc import Callable

from ..routing.router import Candidate

SECONDS = 3600.0
KEPT = 1000


class Lessons:
    """One worker's. clock: seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[tuple[str, str], float] = {}  # (upstream, lesson) -> until when it is believed

    def learn(self, candidate: Candidate, lesson: str) -> None:
        """An upstream refused something. lesson: the name of one of a shape's."""
        self._until[candidate.name, lesson] = self._clock() + SECONDS
        if len(self._until) > KEPT:
            self._until.pop(next(iter(self._until)))

    def knows(self, candidate: Candidate, lesson: str) -> bool:
        return self._until.get((candidate.name, lesson), 0.0) > self._clock()
