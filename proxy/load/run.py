"""The load test: a number of concurrent streams against one endpoint for some seconds.

client.py sends requests and checks responses, shapes.py and each shape's probe know the shapes, report.py counts. This module holds
the plan and the schedule: streams begin one after another over a short ramp, rates are measured from its end to the end of the time,
and responses in progress then get GRACE seconds to end before they are cut.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from ...codecs.registry import SHAPES, USUAL
from ...conf.model import Certificates
from ..wire import egress, http1
from . import report as load_report
from . import shapes as load_shapes
from .client import READ_SIZE, Stream, Target

RAMP = 1.0  # seconds over which the streams begin, at most a quarter of the time
GRACE = 2.0  # seconds for responses in progress at the end
SILENCE = 60.0  # seconds without a byte after which a request fails
TICK = 0.5  # seconds between two progress lines, and two checks for silence
WORDS = 50  # words of a response without a rate
PACED_SECONDS = 5.0  # duration of a response with a rate

# these models return exactly the number of words in the prompt
_EXACT = frozenset({"demo/echo", "demo/slow"})

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Plan:
    """The parameters of a load test.

    url: of the server, of its /v1, or of the endpoint. rate: events per second and stream; None: unlimited. words: per response;
    None: derived from the rate. exact: another number of words is an error. size: bytes of conversation in a request before its
    prompt. whole: responses that are not streamed.
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

    def summary(self) -> dict[str, Any]:
        """The plan for the report, without the key."""
        return asdict(self) | {"key": None, "words": self.asked_words}

    @property
    def asked_words(self) -> int:
        if self.words is not None:
            return self.words
        return max(10, round(self.rate * PACED_SECONDS)) if self.rate else WORDS


def shape_of(url: str) -> str | None:
    """The name of the shape whose path the URL ends with, or None."""
    path = urlsplit(url).path.rstrip("/")
    return next((name for name, shape in SHAPES.items() if path.endswith(shape.path)), None)


def target(plan: Plan) -> Target:
    """The target of a plan. Raises ValueError for an invalid URL or key."""
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
        tls=egress.context(Certificates()) if url.scheme == "https" else None,
        probe=shape.probe,
        request=head + body,
        stream=not plan.whole,
        rate=plan.rate,
        words=words if plan.exact or plan.model in _EXACT else None,
    )


class Load:
    """One run. Create it and call run() once, inside the loop."""

    def __init__(self, plan: Plan, tell: Callable[[str], None] | None = None) -> None:
        """tell: called with a progress line every TICK seconds. Raises ValueError as target() does."""
        self._plan = plan
        self._tell = tell
        self._target = target(plan)
        self._stop = asyncio.Event()
        self.tally = load_report.Tally(plan.key)

    def stop(self) -> None:
        """End early, with the results so far."""
        self._stop.set()

    async def run(self) -> dict[str, Any]:
        """Run the test and return Tally.result()."""
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
        await asyncio.sleep(0)  # lets cancelled connection tasks end
        return tally.result()

    async def _until(self, end: float, streams: list[Stream], resting: bool = False) -> None:
        """Wait until `end`, with progress lines. resting: or until all streams are closed."""
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
    """A function that overwrites the terminal's last line; None if stderr is not a terminal."""
    if not sys.stderr.isatty():
        return None

    def tell(line: str) -> None:
        width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        sys.stderr.write("\r" + line[: width - 1].ljust(width - 1))
        sys.stderr.flush()

    return tell


async def measure(plan: Plan) -> dict[str, Any]:
    """Run the plan until its time is over or a SIGINT or SIGTERM arrives. Raises ValueError as target() does."""
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
