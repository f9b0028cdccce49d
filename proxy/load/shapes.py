"""The requests of a load test, and the check of each response.

No I/O; only the clock is read. The shape's probe (`codecs/probe.py`) fills a Reading for each response, and verdict() checks it at
the end.

The prompt asks for a number of words and, with a rate, for a pace: "Answer in 200 words, 20 a second: …". A mock provider for load
tests follows it; a model may; an echo returns the prompt, which has that many words.

A mock provider on the same machine can stamp its deltas with words of the form @1234567890123: CLOCK_MONOTONIC in microseconds
modulo 10^13 just before its write, in 13 digits. The added latency is computed from them.
"""

from __future__ import annotations

import re
from time import monotonic_ns
from typing import Any

import orjson

from ...codecs.capabilities import Capabilities
from ...codecs.shape import Shape

Json = dict[str, Any]

_STAMP = re.compile(r"@([0-9]{13})(?![0-9])")
_STAMPS = 10**13  # microseconds after which stamps wrap around
_PLAUSIBLE = 3600 * 10**6  # microseconds; an older "stamp" is ordinary text, or from another machine
_FILLER = ["the", "quick", "brown", "fox", "said", "hello", "to", "the", "lazy", "dog", "and", "went", "home"]
# a turn of about 2 kB with characters that JSON escapes
_TURN = 'The quick brown fox said "hello" to the lazy dog.\n' * 40


class Reading:
    """What has been read of one response.

    events: frames of the stream. deltas: those with content. stopped: a stop reason was read. terminal: the shape's last event was
    read. fault: the error in the response. added: microseconds from each stamp to its arrival. words: in the text, 0 unless
    `count_words`.
    """

    __slots__ = ("_texts", "added", "deltas", "events", "fault", "stopped", "terminal")

    def __init__(self, count_words: bool = False) -> None:
        self.events = self.deltas = 0
        self.stopped = self.terminal = False
        self.fault: str | None = None
        self.added: list[int] = []
        self._texts: list[str] | None = [] if count_words else None

    def add(self, text: str) -> None:
        """Called by the probe for each delta with content."""
        self.deltas += 1
        if self._texts is not None:
            self._texts.append(text)
        if "@" in text:
            now = monotonic_ns() // 1000
            ages = ((now - int(stamp)) % _STAMPS for stamp in _STAMP.findall(text))
            self.added += [age for age in ages if age < _PLAUSIBLE]

    @property
    def words(self) -> int:
        return len("".join(self._texts or ()).split())


def verdict(reading: Reading, words: int | None) -> tuple[str, str] | None:
    """The kind of error and a detail, or None for a complete response. words: the required number of words, or None."""
    if reading.fault is not None:
        return "fault", reading.fault
    if not (reading.terminal and reading.stopped):
        return "unended", f"no terminal event after {reading.events} events"
    if not reading.deltas:
        return "empty", "an answer without content"
    if words is not None and reading.words != words:
        return "words", f"{reading.words} words instead of {words}"
    return None


# ---- requests ----


def prompt(words: int, rate: float | None) -> str:
    """A prompt for `words` words, `rate` per second, which itself has `words` words if that is enough for its text."""
    pace = f", {rate:g} a second" if rate else ""
    parts = f"Answer in {words} words{pace}:".split()
    parts += (_FILLER * (words // len(_FILLER) + 1))[: max(0, words - len(parts))]
    return " ".join(parts)


def _turns(size: int) -> list[Json]:
    """Earlier turns of a conversation, about `size` bytes, the last one the assistant's."""
    count = size // len(orjson.dumps({"role": "assistant", "content": _TURN})) // 2 * 2
    return [{"role": ("user", "assistant")[n % 2], "content": f"{n}: {_TURN}"} for n in range(count)]


def body(shape: Shape, model: str, *, words: int, rate: float | None, size: int, stream: bool) -> bytes:
    """A request's body. size: bytes of conversation before the prompt."""
    turns = [*_turns(size), {"role": "user", "content": prompt(words, rate)}]
    asked = shape.probe.request(turns, words)
    if shape.url is None:  # other shapes have the model and the streaming in the URL
        asked = {"model": model, **asked} | ({"stream": True} if stream else {})
    return orjson.dumps(asked)


def credential(shape: Shape, key: str | None) -> list[tuple[str, str]]:
    """The headers that carry the key, as the vendors' SDKs send it."""
    headers = list(shape.headers(Capabilities()).items())
    if key is not None:
        headers.append((shape.key_header, key) if shape.key_header else ("Authorization", f"Bearer {key}"))
    return headers
