"""Wrappers around an exchange's caller, upstream client and decoder, which report to a tap what passes through.

They use only the public methods of what they wrap. An event stream is reported frame by frame; anything else as one body when it is
complete, of which at most BODY bytes are buffered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from tornado.httpclient import HTTPResponse
from tornado.httputil import HTTPHeaders

from ...codecs import errors
from ...codecs import events as ev
from ...codecs.sse import Frame, Splitter, is_stream
from ...codecs.usage import Usage
from ..exchange.caller import Caller, CallerAround

if TYPE_CHECKING:
    from ...codecs.shape import Decoder
    from ..exchange.attempt import Attempt
    from ..wire.upstream import UpstreamRequest
    from .taps import Tap

BODY = 1 << 20  # bytes of a body that are buffered


class Flow:
    """The bytes of one direction of an exchange. pane: where they are shown."""

    def __init__(self, tap: Tap, pane: str) -> None:
        self._tap, self._pane = tap, pane
        self._splitter: Splitter | None = None  # None: not an event stream
        self._unknown = True  # what has come is too short to say what it is
        self._body = bytearray()
        self._size = 0

    def begin(self, kind: str) -> None:
        """kind: the content type, or "". `feed` also recognises an event stream by its first bytes."""
        if kind.lower().startswith("text/event-stream"):
            self._splitter = Splitter()

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._unknown and self._splitter is None:
            verdict = is_stream(bytes(self._body[-8:]) + data)  # as long as it is unknown, more of it is blank
            self._unknown = verdict is None
            if verdict:
                self._splitter, data = Splitter(), bytes(self._body) + data
        if self._splitter is None:
            self._body += data[: BODY - len(self._body)]
        elif data:
            self._frames(self._splitter, data)

    def _frames(self, splitter: Splitter, data: bytes) -> None:
        try:
            frames = splitter.feed(data)
        except errors.Garbled:
            self._tap.record(self._pane, "note", "an event above the size limit", len(data))
            return
        if frames:
            self._tap.frames(self._pane, frames)
        elif data.lstrip().startswith(b":"):
            self._tap.record(self._pane, "comment", "keep-alive", len(data))

    def finish(self) -> None:
        """The direction has ended: report the body."""
        if self._splitter is None:
            self._tap.body(self._pane, bytes(self._body), self._size)
            self._body.clear()


class WatchedCaller(CallerAround):
    """A Caller whose answer is reported."""

    def __init__(self, caller: Caller, tap: Tap) -> None:
        super().__init__(caller)
        self._tap = tap
        self._flow = Flow(tap, "out")

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._tap.head("out", f"HTTP {status}", headers.items())
        self._tap.body("out", body)
        await self._caller.answer(status, headers, body)

    def start(self, headers: Mapping[str, str], first: bytes, status: int = 200, length: int | None = None) -> Awaitable[Any] | None:
        self._tap.head("out", f"HTTP {status}", headers.items())
        self._flow.begin(headers.get("content-type", ""))
        self._flow.feed(first)
        return self._caller.start(headers, first, status, length)

    def write(self, data: bytes) -> Awaitable[Any] | None:
        self._flow.feed(data)
        return self._caller.write(data)

    async def finish(self, last: bytes = b"") -> None:
        self._flow.feed(last)
        self._flow.finish()
        await self._caller.finish(last)

    def abort(self) -> None:
        self._flow.finish()
        self._caller.abort()


class WatchedUpstream:
    """An upstream client for one call of an attempt, whose request and answer are reported."""

    def __init__(self, client: Any, tap: Tap, attempt: Attempt) -> None:
        self._client, self._tap, self._attempt = client, tap, attempt
        self._flow = Flow(tap, "down")
        self._own: Callable[[bytes], Any] | None = None  # our streaming_callback of the request
        self._callback: Callable[[bytes], Any]  # the attempt's streaming_callback, which ours calls

    def fetch(self, request: UpstreamRequest) -> asyncio.Future[HTTPResponse]:
        self._tap.sent(request, self._attempt)
        on_headers = request.on_headers

        def watched(status: int, headers: HTTPHeaders) -> None:
            self._tap.head("down", f"HTTP {status}", headers.get_all())
            self._flow.begin(headers.get("Content-Type", ""))
            if on_headers is not None:
                on_headers(status, headers)
            self._stand_in(request)

        request.on_headers = watched
        future: asyncio.Future[HTTPResponse] = self._client.fetch(request)
        future.add_done_callback(self._over)
        return future

    def _stand_in(self, request: UpstreamRequest) -> None:
        """Wrap the request's streaming_callback. Called again after each chunk, since the attempt may replace it."""
        callback = request.streaming_callback
        if callback is None or callback is self._own:
            return
        self._callback = callback
        if self._own is None:

            def receive(chunk: bytes) -> Any:
                self._flow.feed(chunk)
                pending = self._callback(chunk)
                self._stand_in(request)
                return None if pending is None else self._waited(pending, request)

            self._own = receive
        request.streaming_callback = self._own

    async def _waited(self, pending: Awaitable[Any], request: UpstreamRequest) -> None:
        await pending
        self._stand_in(request)  # the attempt may have replaced it meanwhile

    def _over(self, future: asyncio.Future[HTTPResponse]) -> None:
        self._own = None  # it refers to this object: break the cycle
        self._flow.finish()
        if not future.cancelled() and future.exception() is None:
            self._tap.body("down", future.result().body)


class WatchedDecoder:
    """A Decoder whose events are reported. failed: one of them was a Fault."""

    def __init__(self, decoder: Decoder, tap: Tap) -> None:
        self._decoder, self._tap = decoder, tap
        self.failed = False

    @property
    def ended(self) -> bool:
        return self._decoder.ended

    @ended.setter
    def ended(self, ended: bool) -> None:
        self._decoder.ended = ended

    @property
    def usage(self) -> Usage | None:
        return self._decoder.usage

    @property
    def counted(self) -> bool:
        return self._decoder.counted

    def feed(self, frame: Frame) -> list[ev.Event]:
        return self._seen(self._decoder.feed(frame))

    def finish(self, clean: bool) -> list[ev.Event]:
        return self._seen(self._decoder.finish(clean))

    def _seen(self, events: list[ev.Event]) -> list[ev.Event]:
        self._tap.events(events)
        self.failed = self.failed or any(isinstance(event, ev.Fault) for event in events)
        return events
