"""One WebSocket of a caller's: its messages in, its lanes, its ends.

A message becomes an exchange like an HTTP request's. Responses of one lane (`stream_id`; without one the default lane) follow each
other; those of different lanes run beside each other, up to a limit. Messages that cannot begin wait in the order in which they came,
up to a limit. Reading goes on meanwhile: only a caller that does not take what it is sent is not read.

The configuration in force counts for each message; what is of the connection itself (sizes, times, lanes) is that of its upgrade.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic, time
from typing import Any, NamedTuple, Protocol

from tornado.httputil import HTTPHeaders

from ...codecs import errors
from ..exchange.exchange import Exchange, Message
from ..exchange.operation import asking
from ..exchange.refusal import refusal
from ..exchange.services import Live, Services
from ..exchange.turnstile import Passage, Read
from ..memory.recent import Connection as Memory
from ..memory.recent import Lane as MemoryLane
from ..memory.recent import Worker as MemoryOfWorker
from ..telemetry import log as journal
from ..telemetry.account import SocketAccount, Via
from ..telemetry.metrics import Metrics
from ..wire import bodies, websocket
from ..wire import headers as travel
from ..wire.inbound import READ_SIZE, Inbound
from ..wire.networks import Networks
from ..wire.socket import Stream
from . import messages
from .caller import Caller

log = logging.getLogger("dragoman")

READ = 8 * 1024  # bytes of one read: of the shortest frames they take 10 ms
CLOSING = 5.0  # seconds for the caller to answer a Close
DISCARDED = 512 * 1024  # bytes read after a Close
UNANSWERED = 3  # pings
SOONEST = 0.01  # seconds until the next look at what is due


class Ending(NamedTuple):
    """Why a connection is closed, as metrics name it, and the Close that is sent."""

    reason: str
    code: int
    text: str


IDLE = Ending("idle", websocket.AWAY, "nothing was asked for a while")
AGE = Ending("age", websocket.AWAY, "the connection has reached its greatest age")
DRAIN = Ending("drain", websocket.RESTART, "the gateway is shutting down")
KEY = Ending("key", websocket.POLICY, "the access key is not valid any more")
PLACE = Ending("key", websocket.POLICY, "your address is not served any more")
BUG = Ending("bug", websocket.BUG, "internal error")
FULL = Ending("size", websocket.TOO_BIG, "the gateway holds too many request bodies")


class House(Protocol):
    """What the connections of a worker share."""

    @property
    def services(self) -> Services: ...
    @property
    def live(self) -> Live: ...
    @property
    def bodies(self) -> bodies.Bodies: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def recent(self) -> MemoryOfWorker: ...


class Opening(NamedTuple):
    """The upgrade. peer: the address of the connection's other side. model: the path's.

    allowed, timeout: the networks that the listener serves, and seconds for a whole response, as they are configured at that time.
    """

    headers: HTTPHeaders
    request_id: str
    key: str  # its name
    peer: str
    allowed: Callable[[], Networks]
    timeout: Callable[[], float | None]
    model: str | None = None


class _Waiting(NamedTuple):
    stream_id: str | None
    create: messages.Create


class Session:
    """Created when the upgrade is accepted; `wire.inbound.Upgraded` of its connection."""

    def __init__(self, house: House, connection: Inbound, opening: Opening) -> None:
        self._house, self._connection, self._opening = house, connection, opening
        services = house.services
        self._settings = settings = services.config.websocket
        self.stream: Stream = connection.stream
        self.stream.close_after(services.config.limits.client_stall)
        most = settings.max_message
        self._most = services.config.limits.max_body if most is None else most
        self._reader = websocket.Reader(self._most)
        self._memory = Memory(house.recent, settings.memory, settings.memory_total)
        self._loop = services.loop
        self._arrived: deque[bytes] = deque()  # messages that were not looked at yet
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._counted = 0  # bytes of messages that count in house.bodies
        self._names: set[str] = set()  # of lanes
        self._exchanges: dict[str | None, Exchange] = {}  # by lane: those under way
        self._bodies: dict[str | None, int] = {}  # bytes of their messages
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._reason = ""  # why we close; "" as long as we do not
        self._code = 0  # of the Close that was sent or received
        self._discarded = 0
        self._begun = self._heard = self._active = monotonic()
        self._pings = 0  # that were not answered
        self._messages = self._responses = self._bytes_in = self._bytes_out = 0
        self._due: Ending | None = None  # how it ends when nothing is under way any more
        self._timer = self._loop.call_later(self._next_look(), self._look)
        connection.since = self._loop.time()
        house.live.sockets.add(self)
        house.metrics.websockets.inc()

    # ---- as the connection's protocol ----

    @property
    def idle(self) -> bool:
        return not (self._exchanges or self._arrived or self._looking)

    @property
    def wanted(self) -> int:
        return min(max(READ, self._reader.left), READ_SIZE)

    def received(self, data: bytes) -> None:
        self._heard = monotonic()
        self._pings = 0
        self._bytes_in += len(data)
        if self._reason:
            self._discarded += len(data)
            if self._discarded > DISCARDED:
                self.stream.pause()
        if self._reader.ended:
            if self._reason == "protocol" and websocket.begins_close(data):
                self.stream.close()
            return
        for event in self._reader.feed(data):
            _ON[type(event)](self, event)
            if self.stream.closed():
                return
        self._count()

    def closed(self) -> None:
        """The connection has closed, for whatever reason."""
        self._timer.cancel()
        if not self._reason:
            stalled = getattr(self.stream.error, "errno", None) == errno.ETIMEDOUT
            self._reason = "stall" if stalled else "caller"
        self._leave()
        if self._looking is not None:
            self._looking.cancel()
        self._house.bodies.freed(self._memory.weight)
        self._memory.close()
        self._reader.end()
        self._count()
        house = self._house
        house.live.sockets.discard(self)
        house.live.serving.discard(self)
        house.metrics.websockets.dec()
        house.metrics.websockets_closed.labels(self._reason).inc()
        self._tell()

    # ---- what a caller sends ----

    def _text(self, event: websocket.Text) -> None:
        if self._reason:
            return
        self._messages += 1
        self._active = self._heard
        settings, size = self._settings, sum(map(len, self._arrived)) + self._waiting_bytes + len(event.data)
        room = settings.queued + settings.in_flight - len(self._arrived) - len(self._waiting)
        if self._arrived and (size > self._most or room <= 0):
            self._drop(event.data, _too_many())
            return
        self._arrived.append(event.data)
        self._count()
        if self._house.bodies.held > self._house.bodies.most:
            self._drop(self._arrived.pop(), _full())
            return
        if self._looking is None:
            self._looking = self._loop.create_task(self._look_at())

    def _drop(self, data: bytes, error: errors.GatewayError) -> None:
        """Refuse a message before it is looked at; only a large one is not read for the lane that it is for."""
        stream_id, previous = messages.lane(data) if len(data) <= bodies.SHORT else (None, None)
        self._refuse(error, stream_id)
        self._memory.failed(stream_id, previous)

    def _ping(self, event: websocket.Ping) -> None:
        if not self._reason:
            self._say(websocket.pong(event.payload))

    def _pong(self, event: websocket.Pong) -> None:
        """That something came is noted already."""

    def _closing(self, event: websocket.Closed) -> None:
        if self._reason:  # it answers ours
            self.stream.close()
            return
        self._reason, self._code = "caller", event.code or 1005
        self._leave()
        self._say(websocket.close(event.code))
        self._close_when_written()

    def _fault(self, event: websocket.Fault) -> None:
        if self._reason:
            return
        if event.code == websocket.TOO_BIG:
            self._refuse(errors.TooLarge(f"The message is larger than {self._most} bytes."), None)
        self._close(Ending("size" if event.code == websocket.TOO_BIG else "protocol", event.code, event.reason))

    async def _look_at(self) -> None:
        """Read the messages that have arrived, one after the other: a large one takes several turns of the loop."""
        try:
            while self._arrived and not self._reason:
                await self._take(self._arrived[0])
                if self._arrived:
                    self._arrived.popleft()
                self._count()
        finally:
            self._looking = None
        self._settle()

    async def _take(self, data: bytes) -> None:
        stream_id: str | None = None
        previous: Any = None
        passage: Passage | None = None
        try:
            services = self._house.services
            scan, made, passage = await services.turnstile.read(data, services.config.limits.max_values)
            await asyncio.sleep(0)  # others run between two messages, and what the one before has begun
            if self._reason:
                return
            stream_id = messages.stream_id(scan.value)
            if messages.kind(scan.value) == messages.STEER:
                self._say(websocket.text(messages.not_steered(scan.value)))
                return
            previous = scan.value.get("previous_response_id")
            create = await bodies.apart(len(data) > bodies.AT_ONCE, partial(messages.create, data, scan))
            if not self._reason and self._enter(_Waiting(stream_id, create), made, passage):
                passage = None  # the exchange has it
        except errors.GatewayError as error:
            self._refuse(error, stream_id)
            self._memory.failed(stream_id, previous)
        except Exception as error:
            log.exception("a message on %s failed", self._opening.request_id)
            errors.forget(error)
            self.broken()
        finally:
            if passage is not None:
                passage.leave()

    # ---- lanes ----

    def _enter(self, message: _Waiting, made: int, passage: Passage | None) -> bool:
        """Begin the message's response, or let it wait; whether it has begun. made, passage: as of Read. Raises GatewayError."""
        name = message.stream_id
        self._check_place()
        if self._due in _REFUSALS:
            raise _REFUSALS[self._due]()
        if name is not None and name not in self._names:
            if len(self._names) >= self._settings.lanes:
                text = f"A connection may have at most {self._settings.lanes} values of `stream_id`."
                raise messages.Limit(text, code="websocket_stream_limit_reached", param="stream_id")
            self._names.add(name)
        if self._may_begin(name) and not any(one.stream_id == name for one in self._waiting):
            scan = message.create.scan
            self._begin(message, None if scan is None else Read(scan, made, passage))
            return scan is not None
        size = len(message.create.body)
        if len(self._waiting) >= self._settings.queued or self._waiting_bytes + size > self._most:
            raise _too_many()
        self._waiting.append(message._replace(create=message.create._replace(scan=None)))  # it waits as bytes
        self._waiting_bytes += size
        return False

    def _check_place(self) -> None:
        """The networks that are served, or where the key may be used, can have changed: then nothing else begins."""
        opening = self._opening
        try:
            self._house.services.check_place(opening.peer, opening.headers, opening.allowed(), "responses")
        except errors.Forbidden:
            self._end(PLACE)
        except errors.Unauthorized:
            pass  # so is the message's own request

    def _may_begin(self, name: str | None) -> bool:
        return name not in self._exchanges and len(self._exchanges) < self._settings.in_flight

    def _begin(self, message: _Waiting, parsed: Read | None = None) -> None:
        """parsed: the body, if it is parsed already."""
        name, create = message
        house, opening = self._house, self._opening
        self._responses += 1
        services = house.services
        headers = opening.headers
        if create.headers:
            headers = headers.copy()
            headers.update(create.headers)
        reports = headers.get("X-Dragoman-Report", "").strip() == "1"
        caller = Caller(self, name, services.config.limits.max_event, reports)
        lane = MemoryLane(self._memory, name)
        exchange = Exchange(
            services,
            asking("responses"),
            caller,
            headers,
            create.body,
            key=travel.key(headers, "responses"),
            credential=travel.credential(headers, "responses"),
            nonce=travel.nonce(16),
            request_id=f"{opening.request_id}.{self._responses}",
            timeout=opening.timeout(),
            model=opening.model,
            message=Message(Via(opening.request_id, name), lane, create.prepares),
            parsed=parsed,
            release=partial(self._released, name),
        )
        self._exchanges[name] = exchange
        self._bodies[name] = len(create.body)
        self._connection.since = 0.0
        house.live.serving.add(self)
        self.stream.close_after(services.config.limits.client_stall)
        previous = create.previous
        del create, message, parsed
        task = self._loop.create_task(self._respond(name, exchange, caller, lane, previous))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _respond(self, name: str | None, exchange: Exchange, caller: Caller, lane: MemoryLane, previous: Any) -> None:
        try:
            await exchange.run()
        finally:
            self._exchanges.pop(name, None)
            self._bodies.pop(name, None)
            self._active = monotonic()
        caller.end(exchange.error)
        self._bytes_out += caller.bytes
        if caller.failed:
            lane.failed(previous)
        if isinstance(exchange.error, errors.Unauthorized) and not self._reason:
            self._due = self._due or KEY
        self._settle()
        self._count()

    def _released(self, name: str | None) -> None:
        """The body of this lane's request is not held any more."""
        self._bodies.pop(name, None)
        self._count()

    def _settle(self) -> None:
        """Begin what can begin now; close if that is due and nothing is under way."""
        if self._waiting:
            self._check_place()
        if self._reason:
            return
        begun = set()
        for message in list(self._waiting):
            if message.stream_id not in begun and self._may_begin(message.stream_id):
                begun.add(message.stream_id)
                self._waiting.remove(message)
                self._waiting_bytes -= len(message.create.body)
                self._begin(message)
            elif len(self._exchanges) >= self._settings.in_flight:
                break
        if not self.idle:
            return
        self._connection.since = self._loop.time()
        self._house.live.serving.discard(self)
        if self._due is AGE:
            self._refuse(_too_old(), None)
        if self._due is not None:
            self._close(self._due)

    # ---- ends ----

    def drain(self) -> None:
        """The process ends: what is under way goes on, nothing else begins."""
        self._end(DRAIN)

    def _end(self, ending: Ending) -> None:
        """Close when what is under way has ended; refuse what waits, and whatever comes."""
        if self._reason:
            return
        self._due, error = ending, _REFUSALS[ending]()
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        for message in waiting:
            self._refuse(error, message.stream_id)
        self._count()
        self._settle()

    def broken(self) -> None:
        """An invariant of ours broke."""
        if not self._reason:
            self._close(BUG)

    def _close(self, ending: Ending) -> None:
        """Send a Close, and close the connection when the caller has answered it. Responses under way end."""
        self._reason, self._code = ending.reason, ending.code
        self._leave()
        self._say(websocket.close(ending.code, ending.text))
        self._house.live.serving.add(self)  # the process waits for the caller's answer
        self._timer.cancel()
        self._timer = self._loop.call_later(CLOSING, self.stream.close)

    def _leave(self) -> None:
        """Nobody takes an answer any more."""
        self._waiting.clear()
        self._arrived.clear()
        self._waiting_bytes = 0
        for exchange in list(self._exchanges.values()):
            exchange.leave()

    def _close_when_written(self) -> None:
        """The caller's Close is answered: close as soon as the answer is out."""
        self._timer.cancel()
        self._timer = self._loop.call_later(CLOSING, self.stream.close)
        if not self.stream.writing():
            self.stream.close()

    # ---- time ----

    def _next_look(self) -> float:
        """Seconds until something may be due."""
        settings, now = self._settings, monotonic()
        due = [settings.ping if self.stream.writing() else settings.ping * (self._pings + 1) - (now - self._heard)]
        if self.idle:
            due.append(settings.idle - (now - self._active))
        if self._due is None:
            due.append(settings.max_age - (now - self._begun))
        return max(SOONEST, min(due))

    def _look(self) -> None:
        settings, now = self._settings, monotonic()
        if self._due is None and now - self._begun >= settings.max_age:
            self._end(AGE)
        elif self.idle and now - self._active >= settings.idle:
            self._close(IDLE)
        elif now - self._heard >= settings.ping * (self._pings + 1) and not self.stream.writing():  # else client_stall decides
            if self._pings >= UNANSWERED:
                self._reason = "caller"
                self.stream.close()
            else:
                self._pings += 1
                self._say(websocket.ping())
        if not self._reason:
            self._timer = self._loop.call_later(self._next_look(), self._look)

    # ---- what a caller is sent ----

    def send(self, frames: bytes) -> Awaitable[Any] | None:
        if self._reason:
            return None  # nothing may follow a Close
        self._bytes_out += len(frames)
        return self.stream.offer(frames)

    def _say(self, frame: bytes) -> None:
        """Send what is no part of a response. While the caller takes nothing it is not read: else this would pile up."""
        self._bytes_out += len(frame)
        pending = self.stream.offer(frame) or self.stream.flush()
        if pending is not None:
            self.stream.pause()
            pending.add_done_callback(self._read_on)

    def _read_on(self, _: object) -> None:
        if self._reason == "caller":
            self.stream.close()  # its Close is answered
        elif self._discarded <= DISCARDED:
            self.stream.resume()

    def _refuse(self, error: errors.GatewayError, stream_id: str | None) -> None:
        """Answer a message for which there is no exchange."""
        status, headers, body = refusal(error, "responses", self._opening.request_id)
        self._say(websocket.text(messages.error(status, body, headers, stream_id)))

    # ---- accounts ----

    def _count(self) -> None:
        """Count the bytes of messages that are held, as those of HTTP requests are."""
        held = self._reader.held + sum(map(len, self._arrived)) + self._waiting_bytes + sum(self._bodies.values())
        worker_bodies, more = self._house.bodies, held - self._counted
        self._counted = held
        if more < 0:
            worker_bodies.free(-more)
        else:
            worker_bodies.held += more
        if worker_bodies.held > worker_bodies.most and self._reader.held and not self._reason:
            self._refuse(_full(), None)
            self._close(FULL)

    def _tell(self) -> None:
        """The log line of the connection."""
        tell = self._house.services.tell
        if tell is None:
            return
        opening, code = self._opening, self._code or 1006
        counts = (self._messages, self._responses, self._bytes_in, self._bytes_out)
        done = SocketAccount(time(), opening.request_id, opening.key, monotonic() - self._begun, *counts, code, self._reason)
        tell(journal.socket_line(done))


def _too_many() -> errors.GatewayError:
    return errors.OverQuota("Too many messages wait on this connection.")


def _full() -> errors.GatewayError:
    return errors.Overloaded("The gateway holds too many request bodies at the moment.", retry_after=1)


def _draining() -> errors.GatewayError:
    return errors.Overloaded("The gateway is shutting down.", retry_after=1)


def _too_old() -> errors.GatewayError:
    text = "The connection has reached its greatest age: open a new one."
    return messages.Limit(text, code="websocket_connection_limit_reached")


def _elsewhere() -> errors.GatewayError:
    return errors.Forbidden("Your address is not served any more.")


_REFUSALS: dict[Ending | None, Callable[[], errors.GatewayError]] = {AGE: _too_old, DRAIN: _draining, PLACE: _elsewhere}

_ON: dict[type, Callable[[Session, Any], None]] = {
    websocket.Text: Session._text,
    websocket.Ping: Session._ping,
    websocket.Pong: Session._pong,
    websocket.Closed: Session._closing,
    websocket.Fault: Session._fault,
}
