"""What upstreams refused and could be asked without: believed for an hour, then asked again (see `codecs/lessons.py`).

A lesson is believed only once a request that followed it was answered. Until then it is that request's alone: what a caller puts into
an error's words cannot take anything from other callers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...codecs.capabilities import Capabilities
from ...codecs.lessons import Lesson, known
from ..routing.candidate import Candidate

SECONDS = 3600.0
MODELS = 1000  # at most, of all upstreams: names that a wildcard lets through come from outside
MOST = 8  # of one request; and of one upstream's model the latest four times as many

Key = tuple[str, str, str, str]


class Lessons:
    """One worker's. clock: seconds. changed: called when something was learned."""

    def __init__(self, clock: Callable[[], float], changed: Callable[[], None] = lambda: None) -> None:
        self._clock, self._changed = clock, changed
        self._learned: dict[Key, dict[str, tuple[float, Lesson]]] = {}  # by what it is about: until when it is believed
        self._candidates: dict[Key, Candidate] = {}

    def learn(self, candidate: Candidate, lesson: Lesson) -> None:
        """To be believed of this upstream, model and API."""
        key = _key(candidate)
        learned = self._learned.pop(key, {})
        learned.pop(lesson.about, None)
        learned[lesson.about] = (self._clock() + SECONDS, lesson)
        if len(learned) > 4 * MOST:
            del learned[next(iter(learned))]
        self._learned[key], self._candidates[key] = learned, candidate
        if len(self._learned) > MODELS:
            oldest = next(iter(self._learned))
            del self._learned[oldest], self._candidates[oldest]
        self._changed()

    def of(self, candidate: Candidate) -> tuple[Lesson, ...]:
        """What is believed of an upstream's model at the moment."""
        if not self._learned or (learned := self._learned.get(_key(candidate))) is None:
            return ()
        now = self._clock()
        return tuple(lesson for until, lesson in learned.values() if until > now)

    def all(self) -> list[tuple[Candidate, Lesson, float]]:
        """Everything that is believed, and for how many seconds still."""
        now = self._clock()
        return [
            (self._candidates[key], lesson, until - now)
            for key, learned in self._learned.items()
            for until, lesson in learned.values()
            if until > now
        ]


class Taught:
    """What one request knows of its upstreams: what is believed, and what they have refused it."""

    def __init__(self, lessons: Lessons) -> None:
        self._lessons = lessons
        self._here: list[tuple[Key, Lesson]] = []
        self._confirmed = 0  # of those

    def add(self, candidate: Candidate, lesson: Lesson) -> bool:
        """Note a lesson; false when this request has had it already, or enough of them."""
        entry = _key(candidate)
        if len(self._here) >= MOST or any(
            key == entry and one.about == lesson.about and one.text == lesson.text for key, one in self._here
        ):
            return False
        self._here.append((entry, lesson))
        return True

    def of(self, candidate: Candidate) -> tuple[Lesson, ...]:
        """Of an upstream's model, in the order in which it was learned."""
        believed = self._lessons.of(candidate)
        if not self._here:
            return believed
        key = _key(candidate)
        return believed + tuple(lesson for place, lesson in self._here if place == key)

    def capabilities(self, candidate: Candidate) -> Capabilities:
        lessons = self.of(candidate)
        return known(lessons, candidate.capabilities) if lessons else candidate.capabilities

    def answered(self, candidate: Candidate) -> None:
        """An upstream has answered this request: what it refused of it is believed from now on."""
        for key, lesson in self._here[self._confirmed :]:
            for one in (candidate, *candidate.others):
                if _key(one) == key and lesson.lasting:
                    self._lessons.learn(one, lesson)
        self._confirmed = len(self._here)

    def over(self, candidate: Candidate, shape: str, body: dict[str, Any]) -> Candidate:
        """The same upstream over the first API that does not refuse what a caller's body asks; shape: the caller's."""
        apis = (candidate, *candidate.others)
        return next((one for one in apis if not self._refuses(one, shape, body)), candidate)

    def _refuses(self, candidate: Candidate, shape: str, body: dict[str, Any]) -> bool:
        capabilities = self.capabilities(candidate)
        if candidate.speaks.api in capabilities.unserved:
            return True
        return candidate.speaks.refuses(candidate.amended(body), capabilities, candidate.shape == shape)


def _key(candidate: Candidate) -> Key:
    provider = candidate.provider
    return (provider.name, provider.base_url, candidate.model, candidate.shape)
