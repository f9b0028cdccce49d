"""The client of a load test: a Stream sends one request after another on its connection and checks each response.

Strategy: a response on a reused connection needs no Future and no task, all connections share one read buffer, and each request is
one write of the same bytes. The parsers that the gateway uses for upstreams read the head, the framing and the frames; the shape's
probe reads the frames' contents. An incomplete response is counted as an error and not repeated, with the usual exception: a reused
connection that the server closes before any byte of the response.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from time import monotonic
from typing import cast

import orjson

from ...codecs import errors, sse
from ...codecs.probe import Probe
from ..wire import http1
from .report import Tally
from .shapes import Reading, verdict

READ_SIZE = 256 * 1024
MAX_WHOLE = 256 * 2**20  # bytes of a response that is not streamed
KEPT_OF_ERROR = 1000  # bytes of an error's body, after which no more is stored
BACKOFF = 0.05, 1.0  # seconds after a failed request: the first delay, doubled up to the second

_GATEWAY_TIME = re.compile(r"\bgateway\s*;\s*dur=([0-9.]+)")


@dataclass(frozen=True)
class Target:
    """Where requests go and what is sent. request: head and body. rate: events per second and stream. words: see verdict()."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    probe: Probe
    request: bytes
    stream: bool
    rate: float | None
    words: int | None


class Stream(asyncio.BufferedProtocol):
    """One of the concurrent streams of a load test.

    Start it once with begin() or begin_at(). stop() lets the current response end and starts no other; cut() ends at once.
    closed: the stream has ended.
    """

    def __init__(self, target: Target, tally: Tally, buffer: memoryview) -> None:
        """buffer: for reads; all streams of a loop can share it."""
        self.closed = False
        self._target, self._tally, self._view = target, tally, buffer
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._failures = 0
        self._reading: Reading | None = None  # None between requests
        self._heard = 0.0

    def begin_at(self, when: float) -> None:
        """Begin at this loop time."""
        self._timer = self._loop.call_at(when, self.begin)

    def begin(self) -> None:
        """Send a request."""
        self._timer = None
        self._begun = self._heard = monotonic()
        self._reading = Reading(self._target.words is not None)
        self._tally.open += 1
        self._send()

    def _send(self) -> None:
        self._head_reader = http1.HeadReader()
        self._head: http1.Head | None = None
        self._body: http1.BodyReader | None = None
        self._splitter = sse.Splitter()
        self._whole = bytearray()
        self._reused = self._transport is not None
        if self._transport is None:
            self._connecting = self._loop.create_task(self._connect())
        else:
            self._transport.write(self._target.request)

    def stop(self) -> None:
        """Let the current response end; start no other request."""
        self._stopping = True
        if self._reading is None:
            self._close()

    def cut(self) -> None:
        """End now; a response in progress counts as unfinished."""
        self._stopping = True
        if self._reading is not None:
            self._over()
            self._tally.unfinished += 1
        self._close()

    def sweep(self, before: float) -> None:
        """Fail the current request if nothing was received since `before`, in monotonic seconds."""
        if self._reading is not None and self._heard < before:
            self._fail("timeout", "no data was received in time", reusable=False)

    # ---- the connection ----

    async def _connect(self) -> None:
        target = self._target
        try:
            await self._loop.create_connection(lambda: self, target.host, target.port, ssl=target.tls)
        except OSError as error:
            if self._reading is not None:
                self._fail("connect", error.strerror or str(error), reusable=False)
        finally:
            self._connecting = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._reading is None:  # cut or failed while connecting
            cast(asyncio.Transport, transport).abort()
            return
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._target.request)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        if self._reading is None:
            self._disconnect()  # unsolicited bytes
            return
        self._heard = monotonic()
        try:
            self._receive(bytes(self._view[:nbytes]), self._reading)
        except errors.GatewayError as error:
            self._fail("garbled", error.detail or error.message, reusable=False)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self._fail("garbled", f"not valid in the shape: {type(error).__name__}: {error}", reusable=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._reading is None:
            return
        if self._body is not None:
            self._body.eof(exc is None)
            if self._body.fault is None:
                self._end(self._reading)
                return
        if self._reused and self._heard == self._begun:
            self._send()
        else:
            self._fail("cut", str(exc or "") or "the connection was closed before the end", reusable=False)

    def _disconnect(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    # ---- the response ----

    def _receive(self, data: bytes, reading: Reading) -> None:
        if self._body is None:
            self._head = self._head_reader.feed(data)
            if self._head is None:
                return
            self._body = http1.body_reader("POST", self._head)
            data = self._head_reader.rest
            self._gateway_time(self._head)
        if data:
            payload = self._body.feed(data)
            if payload:
                self._payload(payload, reading)
        if self._body.ended:
            self._end(reading)

    def _gateway_time(self, head: http1.Head) -> None:
        match = _GATEWAY_TIME.search(head.headers.get("Server-Timing", ""))
        if match:
            self._tally.gateway.add(float(match[1]) / 1e3)

    def _payload(self, payload: bytes, reading: Reading) -> None:
        assert self._head is not None
        if self._head.status != 200:
            if len(self._whole) < KEPT_OF_ERROR:
                self._whole += payload
            return
        if not self._target.stream:
            self._whole += payload
            if len(self._whole) > MAX_WHOLE:
                raise errors.Garbled("too large", f"an answer of more than {MAX_WHOLE} bytes")
            return
        self._frames(self._splitter.feed(payload), reading)

    def _frames(self, frames: list[sse.Frame], reading: Reading) -> None:
        had = reading.deltas
        frame = self._target.probe.frame
        for _, data in frames:
            frame(reading, data)
        reading.events += len(frames)
        tally = self._tally
        tally.events += len(frames)
        tally.deltas += reading.deltas - had
        if not had and reading.deltas:
            tally.first_token.add(self._heard - self._begun)
        for age in reading.added:
            tally.added.add(age / 1e6)
        reading.added.clear()

    def _end(self, reading: Reading) -> None:
        """Judge the response at the end of its body."""
        assert self._head is not None
        assert self._body is not None
        reusable = self._body.reusable and self._head.keeps_alive()
        if self._body.fault is not None:
            self._fail("garbled", self._body.fault.detail or self._body.fault.message, reusable=False)
        elif self._head.status != 200:
            self._fail(f"status {self._head.status}", self._whole.decode("utf-8", "replace"), reusable)
        else:
            self._read_rest(reading)
            wrong = verdict(reading, self._target.words)
            if wrong is None:
                self._succeed(reading, reusable)
            else:
                self._fail(*wrong, reusable)

    def _read_rest(self, reading: Reading) -> None:
        if self._target.stream:
            self._frames(self._splitter.finish(), reading)
            return
        self._target.probe.whole(reading, orjson.loads(self._whole))
        for age in reading.added:
            self._tally.added.add(age / 1e6)

    def _succeed(self, reading: Reading, reusable: bool) -> None:
        took = monotonic() - self._begun
        self._tally.answers += 1
        self._tally.answer.add(took)
        self._failures = 0
        due = reading.deltas / self._target.rate if self._target.rate else 0.0
        self._next(due - took, reusable)

    def _fail(self, kind: str, detail: str, reusable: bool) -> None:
        self._tally.fail(kind, detail)
        first, longest = BACKOFF
        self._failures += 1
        self._next(min(longest, first * 2 ** min(self._failures - 1, 10)), reusable)

    def _next(self, wait: float, reusable: bool) -> None:
        self._over()
        if self._stopping:
            self._close()
            return
        if not reusable:
            self._disconnect()
        # through the loop even without a wait, so that fast responses do not starve other streams
        self._timer = self._loop.call_later(max(0.0, wait), self.begin)

    def _over(self) -> None:
        self._reading = None
        self._tally.open -= 1

    def _close(self) -> None:
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._disconnect()
        if self._connecting is not None:
            self._connecting.cancel()
