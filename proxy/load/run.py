"""The load test: a number of streams kept open against one endpoint for some seconds, and what came of it.

client.py sends and judges, shapes.py and each shape's probe know the shapes, report.py counts. Here is what is asked for, and when things
begin and end: streams begin one after the other over a short ramp, figures are taken from its end to the end of the time, and
what is still under way then gets a moment to end before it is cut.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from ...codecs.registry import SHAPES, USUAL
from ..wire import http1
from . import report as load_report
from . import shapes as load_shapes
from .client import READ_SIZE, Stream, Target

RAMP = 1.0  # seconds over which the streams begin, at most a quarter of the time
GRACE = 2.0  # seconds for answers under way at the end
SILENCE = 60.0  # seconds without a byte after which an answer has failed
TICK = 0.5  # seconds between two progress lines, and two looks for silence
WORDS = 50  # of an answer without a pace
PACED_SECONDS = 5.0  # of an answer with one

# these models answer with exactly as many words as they were asked for
_EXACT = frozenset({"demo/echo", "demo/slow"})

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    url: of the server, its /v1, or the path itself. rate: events a second and stream; None: as fast as they come. words: of an
    answer; None: what suits the rate. exact: another number of words is an error. size: bytes of conversation in a request before
    its prompt. whole: ask for answers that are not streamed.
    """

    url: str
    shape: str = USUAL.name
    model: str = "demo/echo"
    streams: int = 10
    rate: float | None = None
    seconds: float = 10.0
    key: str | None = None
    words: int | None = None
    exact: bool = False
    size: int = 0
    whole: bool = False

    def told(self) -> dict[str, Any]:
        """For the report: everything but the key."""
        return asdict(self) | {"key": None, "words": self.asked_words}

    @property
    def asked_words(self) -> int:
        if self.words is not None:
            return self.words
        return max(10, round(self.rate * PACED_SECONDS)) if self.rate else WORDS


def shape_of(url: str) -> str | None:
    """The shape whose path the URL ends with."""
    path = urlsplit(url).path.rstrip("/")
    return next((name for name, shape in SHAPES.items() if path.endswith(shape.path)), None)


def target(plan: Plan) -> Target:
    """Where the requests go, and their bytes. Raises ValueError for a URL or a key that cannot be used."""
    url = urlsplit(plan.url)
    if url.scheme not in _DEFAULT_PORTS or not url.hostname or "@" in url.netloc:
        raise ValueError("the URL must be like http://localhost:12000")
    shape = SHAPES[plan.shape]
    base = url.path.rstrip("/").removesuffix(shape.path) or "/v1"
    path = shape.endpoint(base, plan.model, not plan.whole, f"?{url.query}" if url.query else "")
    words = plan.asked_words
    body = load_shapes.body(shape, plan.model, words=words, rate=plan.rate, size=plan.size, stream=not plan.whole)
    fields = [("Content-Type", "application/json"), ("User-Agent", "dragoman-load"), *load_shapes.credential(shape, plan.key)]
    head = http1.request_head("POST", path, url.netloc, fields, len(body))
    return Target(
        host=url.hostname,
        port=url.port or _DEFAULT_PORTS[url.scheme],
        tls=ssl.create_default_context() if url.scheme == "https" else None,
        probe=shape.probe,
        request=head + body,
        stream=not plan.whole,
        rate=plan.rate,
        words=words if plan.exact or plan.model in _EXACT else None,
    )


class Load:
    """One run. Made and run once, inside a loop."""

    def __init__(self, plan: Plan, tell: Callable[[str], None] | None = None) -> None:
        """tell: gets a progress line twice a second. Raises ValueError as target() does."""
        self._plan = plan
        self._tell = tell
        self._target = target(plan)
        self._stop = asyncio.Event()
        self.tally = load_report.Tally(plan.key)

    def stop(self) -> None:
        """End early; what was found so far is the result."""
        self._stop.set()

    async def run(self) -> dict[str, Any]:
        """The figures, see Tally.result()."""
        tally, count = self.tally, self._plan.streams
        buffer = memoryview(bytearray(READ_SIZE))
        streams = [Stream(self._target, tally, buffer) for _ in range(count)]
        begun = self._begun = monotonic()
        ramp = min(RAMP, self._plan.seconds / 4)
        for number, stream in enumerate(streams):
            stream.begin_at(begun + ramp * number / count)
        tally.open_window(begun)
        await self._until(begun + ramp, streams)
        tally.open_window(monotonic())
        await self._until(begun + self._plan.seconds, streams)
        tally.close_window(monotonic())
        for stream in streams:
            stream.stop()
        self._stop.clear()
        await self._until(monotonic() + GRACE, streams, resting=True)
        for stream in streams:
            if not stream.closed:
                stream.cut()
        await asyncio.sleep(0)  # for what cancelled connecting
        return tally.result()

    async def _until(self, end: float, streams: list[Stream], resting: bool = False) -> None:
        """Wait, and tell. resting: also until all streams came to rest."""
        tally = self.tally
        since = (monotonic(), tally.answers, tally.events)
        while (left := end - monotonic()) > 0 and not self._stop.is_set():
            try:
                await asyncio.wait_for(self._stop.wait(), min(left, GRACE / 40 if resting else TICK))
            except TimeoutError:
                pass
            now = monotonic()
            for stream in streams:
                stream.sweep(now - SILENCE)
            if resting and all(stream.closed for stream in streams):
                return
            if self._tell is not None and now - since[0] >= TICK / 2:
                self._tell(load_report.progress(tally, now - self._begun, now, since))
                since = (now, tally.answers, tally.events)


def _teller() -> Callable[[str], None] | None:
    """Writes over the terminal's last line; None where there is no terminal."""
    if not sys.stderr.isatty():
        return None

    def tell(line: str) -> None:
        width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        sys.stderr.write("\r" + line[: width - 1].ljust(width - 1))
        sys.stderr.flush()

    return tell


async def measure(plan: Plan) -> dict[str, Any]:
    """Run the plan until its time is over, or until SIGINT or SIGTERM. Raises ValueError as target() does."""
    tell = _teller()
    load = Load(plan, tell)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, load.stop)
    result = await load.run()
    if tell is not None:
        tell("")
        sys.stderr.write("\r")
    return result
