"""Streams that can be resumed (`x-dragoman-resume: 1`): their events have ids, and are sent again after the one that a caller had last.

Strategy: the caller's side is wrapped. What goes to the caller goes to a log, too (memory/resumable.py), each event with its number, and to
the caller with an `id` line. When the caller has gone, the answer goes on for GOES_ON seconds, and as long as somebody reads the log.
A caller comes back by the same request with `Last-Event-ID`, at any replica: the log is read then, and no upstream is asked.
Where SDKs fail at `id` lines, events have their numbers without them: the caller counts. Over a WebSocket the responses have ids and
numbers of their own, and a caller reads on over HTTP.

Without the header nothing of this runs.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

from tornado.iostream import StreamClosedError

from ...codecs import errors
from ...codecs.framing import Framing
from ..memory.resumable import Cut, Log, Streams
from ..wire.headers import SSE_HEADERS
from .caller import Caller, Client, Writer
from .lanes import events_of
from .waiting import drained

if TYPE_CHECKING:
    from .exchange import Exchange

HEADER = "X-Dragoman-Resume"
GOES_ON = 60.0  # seconds that an answer goes on without its caller
LOOK = 5.0  # seconds between two looks whether somebody reads on

_ID = re.compile(r"([0-9a-f]{32}):([0-9]{1,9})")
_ID_LINE = re.compile(rb"(?:\A|(?<=[\r\n]))id(?::[^\r\n]*+)?+(?:\r\n?|\n)")


def asked(exchange: Exchange) -> bool:
    """Whether the caller wants its stream to be resumable, and it can be: a stream of events."""
    if not exchange.stream or exchange.headers.get(HEADER, "").strip() != "1":
        return False
    job = exchange.turn is not None and exchange.turn.job is not None
    events = exchange.speaks.framing.content_type.startswith("text/event-stream") and not exchange.speaks.array(exchange.target)
    return events and not job and exchange.operation.lane == "shape"


async def begin(exchange: Exchange) -> None:
    """Wrap the caller's side of an exchange; nothing happens where the log cannot be written."""
    turn = exchange.turn
    id = None if turn is None or any(turn.keeping(candidate) == "upstream" for candidate in exchange.route.candidates) else turn.id
    if id is None and exchange.message is not None:
        return  # nothing names it
    stream = await exchange.services.state.streams.begin(exchange.owner, id)
    if stream is not None and not exchange.client.gone:
        exchange.resumable = Resumable(exchange, *stream)
        exchange.client = exchange.resumable
    elif stream is not None:
        await stream[1].end(False)


class Resumable:
    """A caller whose stream is also written down."""

    def __init__(self, exchange: Exchange, token: str, log: Log) -> None:
        self.gone = False  # the answer is given up
        self.aborted = False
        self._caller: Caller | None = exchange.client  # None: it has left
        self.has_head = exchange.client.has_head
        self.committed = exchange.client.committed
        self.stalled = False
        self._token, self._log = token, log
        self._counts = exchange.speaks.framing.only_data or exchange.message is not None  # the caller itself
        self._give_up = exchange.give_up
        self._ended = False  # the whole answer is in the log
        self._waiting: asyncio.Task[None] | None = None

    # ---- the caller ----

    def left(self) -> None:
        """The caller has closed its connection."""
        caller, self._caller = self._caller, None
        if caller is not None:
            caller.gone = True
            self.stalled = caller.stalled
            self._waiting = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        """Give the answer up when nobody has come for it."""
        waited = 0.0
        while not self._log.lost and (waited < GOES_ON or await self._log.awaited()):
            await asyncio.sleep(LOOK)
            waited += LOOK
        self.gone = True
        self._give_up()

    async def over(self) -> None:
        """The exchange has ended."""
        if self._waiting is not None:
            self._waiting.cancel()
        await self._log.end(self._ended)

    # ---- as a caller ----

    def idle_since(self, now: float) -> float:
        return 0.0 if self._caller is None else self._caller.idle_since(now)

    def abort(self) -> None:
        self.aborted = True
        if self._caller is not None:
            self._caller.abort()

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """It is no stream after all."""
        self.committed = True
        if self._caller is not None:
            await self._caller.answer(status, headers, body)

    def start(self, headers: Mapping[str, str], first: bytes, status: int = 200, length: int | None = None) -> Awaitable[Any] | None:
        self.committed = True
        out, stored = self._numbered(first)
        if self._caller is None:
            return stored
        return self._sent(self._caller.start({**headers, HEADER.lower(): self._token}, out, status, length), stored)

    def write(self, data: bytes) -> Awaitable[Any] | None:
        out, stored = self._numbered(data)
        if self._caller is None:
            return stored
        return self._sent(self._caller.write(out), stored)

    def writer(self) -> Writer:
        return self.write

    async def finish(self, last: bytes = b"") -> None:
        out, stored = self._numbered(last)
        self._ended = True
        if stored is not None:
            await stored
        if self._caller is not None:
            try:
                await self._caller.finish(out)
            except StreamClosedError as error:
                errors.forget(error)  # the log has it

    def _numbered(self, data: bytes) -> tuple[bytes, Awaitable[None] | None]:
        """Whole events with their ids, for the caller, and what is to be awaited before the next are written down."""
        if not data:
            return data, None
        out, events, number, lost = [], [], self._log.next, self._log.lost
        for event in events_of(data):
            if self._counts:
                out.append(event)
            elif event.startswith(b":") or not event.strip():
                out.append(_comment(event))
            else:
                event = _without_id(event)
                out += (event,) if lost else (_line(self._token, number), event)
            if not lost and event.strip() and not event.startswith(b":"):
                events.append(event)
                number += 1
        return b"".join(out), self._log.add(events) if events else None

    def _sent(self, sending: Awaitable[Any] | None, stored: Awaitable[None] | None) -> Awaitable[Any] | None:
        if sending is None:
            return stored
        return self._both(sending, stored)

    async def _both(self, sending: Awaitable[Any], stored: Awaitable[None] | None) -> None:
        try:
            await sending
        except StreamClosedError as error:
            errors.forget(error)  # it has left, which `left` is told of
        if stored is not None:
            await stored


def _comment(event: bytes) -> bytes:
    """A comment as a line before the next event: to SDKs a blank line behind it is another event, once they have had an id."""
    comment = event.strip(b"\r\n")
    return comment + b"\n" if comment else b""


def _without_id(event: bytes) -> bytes:
    """An event without ids of the upstream's own: the last one in an event counts."""
    return _ID_LINE.sub(b"", event) if event.startswith(b"id") or b"\nid" in event or b"\rid" in event else event


def _line(token: str, number: int) -> bytes:
    return b"id: %b:%d\n" % (token.encode(), number)


# ---- to come back ----


def last_event(value: str | None) -> tuple[str, int] | None:
    """The token and the number in a `Last-Event-ID` of this gateway's; None for any other."""
    match = None if value is None else _ID.fullmatch(value.strip())
    return None if match is None else (match[1], int(match[2]))


async def resume(streams: Streams, caller: Client, headers: Mapping[str, str], framing: Framing, name: str, token: str, after: int) -> None:
    """Send what follows an event of a stream. name: of its log. token: "" for events without ids. Raises NotFound."""
    await streams.check(name, after)
    headers = {**headers, **SSE_HEADERS} | ({HEADER.lower(): token} if token else {})
    ids = bool(token) and not framing.only_data
    quiet = _comment(framing.keep_alive) if ids else framing.keep_alive
    try:
        async for events in streams.follow(name, after):
            data = b"".join([(_line(token, number) if ids else b"") + raw for number, raw in events]) or quiet
            await drained(caller.write(data) if caller.committed else caller.start(headers, data))
            if caller.gone:
                return
    except (Cut, errors.GatewayError):
        if not caller.committed:
            raise errors.Truncated("The stream ended before the answer was complete.") from None
        caller.abort()
        return
    if caller.committed:
        await caller.finish()
    else:
        await drained(caller.start(headers, framing.keep_alive))
        await caller.finish()
