"""The client side of a load test: one Stream sends one request after another on its connection and judges each answer.

Strategy: no Future, task or timer for an answer on a kept connection, one buffer for the reads of all connections, one write of
the same bytes for each request. What the head, the framing and the frames of an answer are is decided by the parsers that the
gateway uses for providers; what is in the frames by the shape's probe. An answer that is not whole is counted and never repeated, with one
exception that every HTTP client makes: a kept connection that the server closed before a byte of the answer.
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
MAX_WHOLE = 256 * 2**20  # bytes of an answer that is not streamed
KEPT_OF_ERROR = 1000  # bytes of an error answer's body
BACKOFF = 0.05, 1.0  # seconds before the request after a failed one, doubled up to the second number

_GATEWAY_TIME = re.compile(r"\bgateway\s*;\s*dur=([0-9.]+)")


@dataclass(frozen=True)
class Target:
    """Where requests go and what is sent. request: head and body. rate: events a second and stream. words: see verdict()."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    probe: Probe
    request: bytes
    stream: bool
    rate: float | None
    words: int | None


class Stream(asyncio.BufferedProtocol):
    """One of the streams that a load test keeps open.

    Made, begun once with begin() or begin_at(); stop() lets the answer under way end and starts no other, cut() ends at once.
    `closed` tells that it came to rest.
    """

    def __init__(self, target: Target, tally: Tally, buffer: memoryview) -> None:
        """buffer: for reads; may be the same for all streams of a loop."""
        self.closed = False
        self._target, self._tally, self._view = target, tally, buffer
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._failures = 0
        self._reading: Reading | None = None  # while an answer is under way
        self._heard = 0.0

    def begin_at(self, when: float) -> None:
        """Begin at this time of the loop."""
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
        self._kept = self._transport is not None
        if self._transport is None:
            self._connecting = self._loop.create_task(self._connect())
        else:
            self._transport.write(self._target.request)

    def stop(self) -> None:
        """Let the answer under way end; begin no other."""
        self._stopping = True
        if self._reading is None:
            self._close()

    def cut(self) -> None:
        """End now; an answer under way counts as unfinished."""
        self._stopping = True
        if self._reading is not None:
            self._over()
            self._tally.unfinished += 1
        self._close()

    def sweep(self, before: float) -> None:
        """Fail the answer under way if nothing of it was heard since then."""
        if self._reading is not None and self._heard < before:
            self._fail("timeout", "nothing was received for too long", reusable=False)

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
        if self._reading is None:  # it was given up while it connected
            cast(asyncio.Transport, transport).abort()
            return
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._target.request)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        if self._reading is None:
            self._disconnect()  # nothing was asked
            return
        self._heard = monotonic()
        try:
            self._receive(bytes(self._view[:nbytes]), self._reading)
        except errors.GatewayError as error:
            self._fail("garbled", error.detail or error.message, reusable=False)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self._fail("garbled", f"not of the shape: {type(error).__name__}: {error}", reusable=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._reading is None:
            return
        if self._body is not None:
            self._body.eof(exc is None)
            if self._body.fault is None:
                self._end(self._reading)
                return
        if self._kept and self._heard == self._begun:
            self._send()
        else:
            self._fail("cut", str(exc or "") or "the connection was closed before the end", reusable=False)

    def _disconnect(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    # ---- an answer ----

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
        found = _GATEWAY_TIME.search(head.headers.get("Server-Timing", ""))
        if found:
            self._tally.gateway.add(float(found[1]) / 1e3)

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
        """The body ended."""
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
        # not at once, even without a wait: who answers fast must not keep the others from their turn
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
