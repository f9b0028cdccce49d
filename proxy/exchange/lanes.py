"""How an answer travels: carried as bytes and observed, or taken apart into hub events and put together again.

A lane is fed what each read of the upstream brought and returns what the client shall get for it. It decides nothing about
attempts, commits or endings; it only tells what it has seen:

content   the first content has come: from here on no other upstream can take over unseen
heard     the upstream has sent content, also where it is collected and can still be discarded
ended     the answer has ended: its proof of completion came, or its failure
error     the upstream's own error, while nothing was given out for it yet
counted   the upstream has counted all that it has written, at its end, with its failure or on the way
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from ...codecs import carrier, errors, jsontext, splice
from ...codecs import events as ev
from ...codecs.registry import SHAPES, UPSTREAMS
from ...codecs.reply import Reply
from ...codecs.shape import Collector, Decoder, Encoder, Observer, StatefulEncoder
from ...codecs.sse import BOM, ERROR_LINE, Frame, Splitter, event_frame, is_whole, safe_json
from ...codecs.usage import Usage
from ..memory.answers import response_id, response_in

# hub events that are content: what a client has seen of them cannot be taken back
CONTENT = (ev.Text, ev.Reasoning, ev.Arguments, ev.ToolStart, ev.Refusal, ev.Seal, ev.Compacting, ev.Compaction)
_ENDS = frozenset({ev.Metered, ev.Stop, ev.Fault})

# what ends an event, and one event with its end
_BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r")
_EVENT = re.compile(rb".*?(?>\r\n|\r|\n)(?>\r\n|\r|\n)|.+\Z", re.DOTALL)

# the data of an event as it is on the wire, and what ends a response there
_DATA = re.compile(rb"^data:[ ]?(.*)$", re.MULTILINE)
_DONE = re.compile(rb"data:[ ]?\[DONE\]\s*")
_TERMINAL = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete|failed)"')

_IN_PROGRESS = "response.in_progress"

_KEPT_OF_EVENT = 64  # bytes of memory that the piece of text of one event takes at least
_SPARSEST = 3  # at least one byte of so many counts as text, in case that events are shorter than usual
_SHORTEST = 8  # so much faster may what is kept grow than what is received, with the shortest of events

INTERRUPTED = "The upstream's stream ended before the answer was complete."
NO_JSON = "The upstream sent an event that is not JSON."


def events_of(whole: bytes) -> list[bytes]:
    """The bytes of each event, its blank line included; at the end what is left, if there is something."""
    if b"\r" in whole:
        return _EVENT.findall(whole)
    *events, rest = whole.split(b"\n\n")
    complete = [event + b"\n\n" for event in events]
    return [*complete, rest] if rest else complete


def _end_of_events(text: bytes) -> int:
    """The place behind the last blank line; 0 without one."""
    marks = _BLANK_LINES if b"\r" in text else _BLANK_LINES[:1]
    ends = ((text.rfind(mark), len(mark)) for mark in marks)
    return max((place + length for place, length in ends if place >= 0), default=0)


def _with_data(event: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """An event's bytes with the text of each `data` line changed."""
    lines = event.splitlines(keepends=True)
    return b"".join(b"data:" + change(line[5:]) if line.startswith(b"data:") else line for line in lines)


class BytesLane:
    """The same shape on both sides: bytes go through as they came, an event when it is whole.

    So the client always stands between two events: whatever breaks, it can be told of it, and keep-alives fit in anywhere.
    Three exceptions, each only when asked for: `model` is shown by the alias that the caller used, a usage chunk that the caller did
    not ask for is withheld, and what shows the whole answer is given the members that it lacks. Then frames are looked at one by one;
    what is not touched keeps its bytes, and the lane is called `edited`.
    """

    name = "bytes"
    claimed: asyncio.Future[None] | None = None  # what must be done before the client sees of the answer

    def __init__(self, reply: Reply, shape: str, max_event: int, withhold_usage: bool = False) -> None:
        self._splitter = Splitter(max_event)
        self._shape = SHAPES[shape]
        self.observer: Observer = self._shape.Observer(reply)
        self._reply = reply
        self._end = reply.dialect.end
        self._edits = withhold_usage or reply.echo_model is not None or reply.complete
        if self._edits:
            self.name = "edited"
        self._withhold_usage = withhold_usage
        self._bare = 0  # chunks without choices, which may be usage, that were let through or withheld
        self._rest = bytearray()  # the beginning of an event that is not over
        self._mark: bytes | None = b""  # the first bytes as long as they may be a byte order mark, which is not passed on; then None
        self._between = False  # content was seen, the last read ended with an event, and none is edited for its model or number
        self._shift = 0  # events of our own that stand in a numbered stream
        self.ended = False
        self.error: errors.GatewayError | None = None
        self.events = 0
        self._owed = False  # a failure that the upstream did not tell the client itself
        self._lacks_end = False  # the answer is complete, but its last event did not come

    @property
    def answer(self) -> BytesLane:
        """What knows the response, of a lane whose response is stored."""
        return self

    @property
    def content(self) -> bool:
        return self.observer.content

    @property
    def heard(self) -> bool:
        return self.observer.content

    @property
    def untold(self) -> bool:
        """Whether the answer failed, and the client has not been told of it."""
        return self._owed

    @property
    def usage(self) -> Usage | None:
        return self.observer.usage

    @property
    def counted(self) -> bool:
        return self.observer.proof or self.observer.counted or (self.ended and self.error is None)

    @property
    def stop(self) -> str | None:
        return self.observer.stop

    def feed(self, chunk: bytes) -> bytes:
        """Raises Garbled for an event over the limit."""
        if self._between and (count := self.observer.repeats(chunk)):
            self.events += count
            return chunk
        return self._read(chunk)

    def _read(self, chunk: bytes) -> bytes:
        """As `feed`, of what is not only pieces of text."""
        observer = self.observer
        feed = observer.feed
        frames = self._splitter.feed(chunk)
        if self._mark is not None:
            chunk = self._unmarked(chunk)
        for number, frame in enumerate(frames):
            if frame[0] == ERROR_LINE or (frame[1][-1:] != b"}" and not is_whole(frame[1])):
                self.events += number
                return self._cut(chunk, number, frame)
            feed(frame)
        self.events += len(frames)
        if observer.proof or observer.error is not None:
            self.ended = True
            self.error = observer.error
        boundary = self._splitter.boundary
        if self._rest or not boundary:
            chunk = self._whole(chunk)
        self._between = boundary and observer.content and self._reply.echo_model is None and not (self.ended or self._shift)
        out = self._edited(chunk) if self._edits and chunk else chunk
        if not self.ended:
            return out
        if out.endswith(b"\r\n\r"):
            out += b"\n"  # its own other half would come when nothing is read any more
        return b"".join(event for event in events_of(out) if not _DONE.fullmatch(event)) if self._end else out

    def _unmarked(self, chunk: bytes) -> bytes:
        """The first reads without the mark: the caller's stream may have begun before, and there it is a part of the first line."""
        first = (self._mark or b"") + chunk
        self._mark = first if BOM.startswith(first) and first != BOM else None
        return b"" if self._mark is not None else first.removeprefix(BOM)

    def _whole(self, chunk: bytes) -> bytes:
        """The events that this read completes; the beginning of the next one waits for the rest of it."""
        overlap = len(self._rest[-3:])
        text = bytes(self._rest[-3:]) + chunk
        if self._splitter.boundary:
            end = len(text)
        else:
            end = _end_of_events(text)
        if end <= overlap:
            self._rest += chunk
            return b""
        done = bytes(self._rest) + text[overlap:end]
        self._rest[:] = text[end:]
        return done

    def _cut(self, chunk: bytes, number: int, frame: Frame) -> bytes:
        """This frame of a read is none that a client can read: it gets the events before it, and is told, unless these ended the answer.

        number: of the frames before it.
        """
        observer = self.observer
        before = _before(bytes(self._rest) + chunk, number)
        self._rest.clear()
        if observer.proof or observer.error is not None:
            self.ended, self.error = True, observer.error
        else:
            observer.feed(frame)
            self.break_off(observer.error or errors.Garbled(NO_JSON, jsontext.described(frame[1])))
        return self._edited(before) if self._edits else before

    def _edited(self, whole: bytes) -> bytes:
        if self._reply.echo_model is None and not (self._reply.complete or self._shift):
            bare = self.observer.bare
            if bare == self._bare:
                return whole
            if not self._rest:
                self._bare = bare  # else one of them may still be kept
        return b"".join(map(self._edit, events_of(whole)))

    def _edit(self, event: bytes) -> bytes:
        """One event's bytes, its blank line included."""
        demand = self._shape.usage_on_demand
        if self._withhold_usage and demand is not None and demand.is_usage(event):
            return b""
        model, where = self._reply.echo_model, self._shape.stream_model_at
        if self._reply.complete and b'"%b"' % where[0].encode() in event:
            event = self._filled(event, where[0])
        if model is not None and where[-1].encode() in event:
            event = _with_data(event, lambda data: splice.replace_answer_model(data, where, model))
        if self._shift:
            event = _with_data(event, lambda data: splice.shift_number(data, "sequence_number", self._shift))
        return event

    def progress(self) -> bytes:
        """An event that says nothing new, and what comes behind it numbered anew; b"" in an API without one, and before the answer."""
        begun, model = self._reply.begun, self._reply.echo_model
        if begun is None or self.ended or not self._shape.stateful:
            return b""
        event = {
            "type": _IN_PROGRESS,
            "sequence_number": self.events + self._shift,
            "response": begun | ({"model": model} if model else {}),
        }
        self._shift += 1
        self._edits, self._between = True, False
        return event_frame(_IN_PROGRESS, safe_json(event))

    def _filled(self, event: bytes, holder: str) -> bytes:
        """An event that shows the answer, with every member of it. holder: where it stands in the event's data."""
        match = _DATA.search(event)
        if match is None:
            return event
        try:
            value = jsontext.loads(match[1])
        except ValueError:  # in several lines
            return event
        if not isinstance(value, dict) or not isinstance(shown := value.get(holder), dict):
            return event
        filled = self._shape.filled(shown, self._reply)
        end = match.start(1) + len(match[1].rstrip(b"\r"))
        return event if filled is shown else event[: match.start(1)] + safe_json(value | {holder: filled}) + event[end:]

    def finish(self, clean: bool) -> bytes:
        """The upstream's stream is over; without proof of completion that is a failure, however calmly it ended.

        One that ends within an event did not end in order: what the event would have said is not known.
        """
        last = self._splitter.finish()
        for frame in last:
            self.observer.feed(frame)
        self.events += len(last)
        rest, self._rest = bytes(self._rest), bytearray()
        self.ended = True
        self.error = self.error or self.observer.error
        if self.error is None and not self.observer.completed(clean and not self._splitter.leftover):
            self.break_off(errors.Truncated(INTERRUPTED))
        self._lacks_end = self.error is None and not self.observer.proof
        if self.error is not None and last and last[0][0] == ERROR_LINE:
            self.break_off(self.error)
            return b""
        if not last:
            return b""  # at most the beginning of an event
        if not rest.endswith(_BLANK_LINES):
            rest += b"\n\n"
        return self._edit(rest) if self._edits else rest

    def break_off(self, error: errors.GatewayError) -> None:
        """The transport failed: the client is owed the shape's own failure."""
        self.ended = True
        self.error = error
        self._owed = True

    def close(self) -> bytes:
        """What ends the client's stream: nothing when the upstream said it itself."""
        if not self._owed or self.error is None:
            return (self._shape.last_event if self._lacks_end else b"") + self._end
        self._reply.events_sent = self.events + self._shift
        return self._shape.framing.join(self._shape.Encoder(self._reply).feed([ev.Fault(self.error)])) + self._end

    def fail(self, error: errors.GatewayError) -> bytes:
        """What to write instead of `close` when the end could not be stored."""
        self.break_off(error)
        return self.close()

    def keep_alive(self) -> bytes:
        return self._shape.keep_alive(self.events > 0)


def _before(text: bytes, number: int) -> bytes:
    """The bytes of the events before the one whose frame has so many frames before it, as a stream's reader counts them."""
    splitter, before = Splitter(len(text)), bytearray()
    for event in events_of(text):
        number -= len(splitter.feed(event))
        if number < 0:
            break
        before += event
    return bytes(before)


class NativeLane(BytesLane):
    """Of an answer under the upstream's own id, which somebody remembers: its end waits until that is done.

    claim: called once, with the response's id, as soon as an event names it; content waits for what it returns. None: nobody is told
    """

    def __init__(self, reply: Reply, max_event: int, claim: Callable[[str], asyncio.Future[None]] | None) -> None:
        super().__init__(reply, "responses", max_event)
        self._claim = claim
        self._last = b""  # the end
        self._kept_back = 0  # events in it

    def feed(self, chunk: bytes) -> bytes:
        if self._between and (self._claim is None or self.claimed is not None) and (count := self.observer.repeats(chunk)):
            self.events += count
            return chunk  # as in the base: no call more for a delta
        out = self._read(chunk)
        if self._claim is not None and self.claimed is None and out:
            self._look(out, self._claim)
        if not self.ended:
            return out
        ending = _TERMINAL.search(out)
        if ending is None:
            return out
        going = _end_of_events(out[: ending.start()])
        self._last = out[going:]
        self._kept_back = len(events_of(self._last))
        return out[:going]

    def _look(self, events: bytes, claim: Callable[[str], asyncio.Future[None]]) -> None:
        for line in _DATA.findall(events):
            id = response_id(line)
            if id is not None:
                self.claimed = claim(id)
                return

    @property
    def response(self) -> dict[str, Any] | None:
        """The whole object, once the answer has ended."""
        return next((response for line in _DATA.findall(self._last) if (response := response_in(line)) is not None), None)

    def close(self) -> bytes:
        return self._last + super().close()

    def fail(self, error: errors.GatewayError) -> bytes:
        """What to write instead of `close` when the end cannot be told."""
        self._last = b""
        self.events -= self._kept_back
        self.break_off(error)
        return super().close()


class ReframedLane(BytesLane):
    """Of a stream that is no server-sent events on its way here: each frame goes through with its data as it came.

    splitter: of the upstream's stream.
    """

    def __init__(self, reply: Reply, shape: str, max_event: int, splitter: carrier.Splitter) -> None:
        super().__init__(reply, shape, max_event)
        self._frames = splitter

    def feed(self, chunk: bytes) -> bytes:
        frames = self._frames.feed(chunk)
        if len(frames) == 1:
            name, data = frames[0]
            return super().feed(b"event: %b\ndata: %b\n\n" % (name, data))
        return super().feed(self._shape.framing.join(frames)) if frames else b""

    def finish(self, clean: bool) -> bytes:
        for _ in self._frames.finish():
            raise AssertionError("a frame that is whole was given out by feed")
        return super().finish(clean and not self._frames.leftover)


class Extent:
    """About how much of a streamed answer is kept: an end that repeats all of it needs several times as much memory.

    What was received is known for nothing; what of it is text is estimated, so that no delta has to be counted. `look` is how many
    bytes may be received before `check` has to be asked.
    """

    def __init__(self, most: int, overhead: int) -> None:
        """most: bytes. overhead: bytes of an event that are not kept."""
        self._most, self._overhead = most, overhead
        self.look = most // _SHORTEST

    def check(self, received: int, events: int) -> None:
        """Raises Overlong."""
        estimate = max(received - events * self._overhead, received // _SPARSEST, events * _KEPT_OF_EVENT)
        if estimate > self._most:
            raise errors.Overlong("The upstream's answer is larger than this gateway can buffer.", f"{received} bytes in {events} events")
        self.look = received + max(1, (self._most - estimate) // _SHORTEST)


class EventsLane:
    """Another shape on the upstream's side: decoder, hub events, encoder.

    The answer's end (usage and Stop) is not given out by `feed` but by `close`: what must be written elsewhere before the client
    learns of completion can be written in between.
    """

    name = "events"
    claimed: asyncio.Future[None] | None = None

    def __init__(
        self, reply: Reply, upstream_shape: str, client_shape: str, max_event: int, splitter: carrier.Splitter | None = None
    ) -> None:
        """splitter: of the upstream's stream; None: server-sent events."""
        self._splitter = splitter or Splitter(max_event)
        self.decoder: Decoder = UPSTREAMS[upstream_shape].Decoder(reply)
        self._end = reply.dialect.end
        self._shape = SHAPES[client_shape]
        self.encoder: Encoder = self._shape.Encoder(reply)
        framing = self._shape.framing
        self._before, self._between, self._after = framing.before, framing.between, framing.after
        self.content = False
        self.ended = False
        self.error: errors.GatewayError | None = None
        self.stop: str | None = None
        self.events = 0
        self._received = 0
        self._extent = Extent(reply.max_answer, UPSTREAMS[upstream_shape].overhead)
        self._metered: Usage | None = None
        self._closing: list[ev.Event] = []

    @property
    def heard(self) -> bool:
        return self.content

    @property
    def answer(self) -> Encoder:
        """What knows the response, where that is stored."""
        return self.encoder

    @property
    def usage(self) -> Usage | None:
        """What the upstream has counted of this answer so far; of a whole one, which has not come by the decoder, what its events say."""
        return self.decoder.usage or self._metered

    @property
    def counted(self) -> bool:
        return self.decoder.counted or self._metered is not None or (self.ended and self.error is None)

    def feed(self, chunk: bytes) -> bytes:
        decode = self.decoder.feed
        frames = self._splitter.feed(chunk)
        self.events += len(frames)
        self._received = received = self._received + len(chunk)
        if received > self._extent.look:
            self._extent.check(received, self.events)
        if len(frames) == 1:  # as in nearly every read of a paced stream
            return self.pass_on(decode(frames[0]))
        decoded: list[ev.Event] = []
        for frame in frames:
            decoded += decode(frame)
        return self.pass_on(decoded)

    def pass_on(self, events: list[ev.Event]) -> bytes:
        """What the client gets for these hub events, their end excepted."""
        if not self.content:
            self.content = any(isinstance(event, CONTENT) for event in events)
        if self.decoder.ended:
            events = self.note(events)
        if not events:
            return b""
        frames = self.encoder.feed(events)
        if len(frames) == 1:
            name, data = frames[0]
            return b"".join((self._before, name, self._between, data, self._after))
        if not frames and type(events[-1]) is ev.Ping:
            return self.keep_alive()
        return self._shape.framing.join(frames)

    def replay(self, events: list[ev.Event]) -> bytes:
        """A whole answer's events, given out as a stream's."""
        return self._shape.framing.join(self.encoder.feed(self.note(events)))

    def note(self, events: list[ev.Event]) -> list[ev.Event]:
        """The events without their end, which is kept for `close`."""
        self.ended = True
        ends = [event for event in events if type(event) in _ENDS]
        for event in ends:
            if isinstance(event, ev.Metered):
                self._metered = event.usage
                self._closing.append(event)
            elif isinstance(event, ev.Stop):
                self.stop = event.reason
                self._closing.append(event)
            elif isinstance(event, ev.Fault):
                self.error = event.error
                self._metered = event.usage or self._metered
        first = len(events) - len(ends)
        return events[:first] if events[first:] == ends else [event for event in events if type(event) not in _ENDS]

    def finish(self, clean: bool) -> bytes:
        """The upstream's stream is over; the decoder judges whether it was whole."""
        decoded: list[ev.Event] = []
        for frame in self._splitter.finish():
            decoded += self.decoder.feed(frame)
        if not self.decoder.ended:
            decoded += self.decoder.finish(clean and not self._splitter.leftover)
        return self.pass_on(decoded)

    def break_off(self, error: errors.GatewayError) -> None:
        """The transport failed, or the end could not be given out."""
        self.ended = True
        self.error = error

    def close(self) -> bytes:
        """The answer's end, or the shape's own failure."""
        events: list[ev.Event] = [ev.Fault(self.error)] if self.error is not None else self._closing
        return self._shape.framing.join(self.encoder.feed(events)) + self._end

    def fail(self, error: errors.GatewayError) -> bytes:
        """What to write instead of what `close` gave, when the answer could not be stored."""
        return self._shape.framing.join(cast(StatefulEncoder, self.encoder).fail(error)) + self._end

    def progress(self) -> bytes:
        """An event that says nothing new; b"" in an API without one, and before the answer."""
        return self._shape.framing.join(cast(StatefulEncoder, self.encoder).progress()) if self._shape.stateful else b""

    def keep_alive(self) -> bytes:
        """What a silent stream is kept alive with; b"" after its end."""
        return b"" if self.encoder.ended else self._shape.keep_alive(self.encoder.started)


class CollectingLane(EventsLane):
    """A whole answer from an upstream that only streams: nothing is given out before its end, and nothing at all if it breaks."""

    def __init__(
        self, reply: Reply, upstream_shape: str, client_shape: str, max_event: int, splitter: carrier.Splitter | None = None
    ) -> None:
        super().__init__(reply, upstream_shape, client_shape, max_event, splitter)
        self.collector: Collector = SHAPES[client_shape].Collector(reply)
        self._heard = False

    @property
    def heard(self) -> bool:
        return self._heard

    def pass_on(self, events: list[ev.Event]) -> bytes:
        if not self._heard:
            self._heard = any(isinstance(event, CONTENT) for event in events)
        if self.decoder.ended:
            self.note(events)
        self.collector.feed(events)
        return b""


Write = Callable[[bytes], Awaitable[Any] | None]  # what it returns is to be awaited before the next


class Feeding(Protocol):
    """What a lane is to a Flow."""

    ended: bool

    def feed(self, chunk: bytes) -> bytes: ...


class Flow:
    """A committed answer on its way: from here on the upstream's streaming_callback. The hot path, with nothing else on it.

    ended: called with what the last read brought for the caller, when the lane has ended with it.
    """

    __slots__ = ("_ended", "_lane", "_write", "received")

    def __init__(
        self, lane: Feeding, write: Callable[[bytes], Awaitable[Any] | None], ended: Callable[[bytes], Awaitable[Any] | None]
    ) -> None:
        self._lane = lane
        self._write = write
        self._ended = ended
        self.received = 0  # bytes

    def feed(self, chunk: bytes) -> Awaitable[Any] | None:
        """What one read of the upstream brought. What is returned is to be waited for before the next read."""
        lane = self._lane
        if lane.ended:
            return None
        self.received += len(chunk)
        out = lane.feed(chunk)
        if lane.ended:
            return self._ended(out)
        write = self._write  # a call of a slot's content is slow in CPython
        return write(out) if out else None


def collected(events: list[ev.Event], reply: Reply, client_shape: str) -> Collector:
    """A whole answer's events in another shape. Raises what the upstream's answer says went wrong."""
    collector: Collector = SHAPES[client_shape].Collector(reply)
    collector.feed(events)
    if collector.error is not None:
        raise collector.error
    return collector


def json_object(body: bytes) -> dict[str, Any]:
    """Raises Garbled when the upstream's body is not a JSON object."""
    try:
        value = jsontext.loads(body.strip())
    except ValueError:
        raise errors.Garbled("The upstream's answer is not valid JSON.", jsontext.described(body)) from None
    if not isinstance(value, dict):
        raise errors.Garbled("The upstream's answer is not a JSON object.")
    return value
