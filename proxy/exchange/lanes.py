"""How an answer travels: carried as bytes and observed, or taken apart into hub events and put together again.

A lane is fed what each read of the upstream brought and returns what the client shall get for it. It decides nothing about
attempts, commits or endings; it only tells what it has seen:

content   the first content has come: from here on no other upstream can take over unseen
ended     the answer has ended: its proof of completion came, or its failure
error     the upstream's own error, while nothing was given out for it yet
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from ...codecs import errors, jsontext, splice
from ...codecs import events as ev
from ...codecs.reply import Reply
from ...codecs.sse import KEEP_ALIVE, PING, Splitter
from ...codecs.usage import Usage
from .shapes import SHAPES, Collector, Decoder, Encoder, Observer

# hub events that are content: what a client has seen of them cannot be taken back
CONTENT = (ev.Text, ev.Reasoning, ev.Arguments, ev.ToolStart, ev.Refusal, ev.Seal)

# what ends an event, one event with its end, and what a chunk that carries only usage looks like
_BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r")
_EVENT = re.compile(rb".*?(?>\r\n|\r|\n)(?>\r\n|\r|\n)|.+\Z", re.DOTALL)
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')

INTERRUPTED = "The upstream's stream ended before the answer was complete."
NO_JSON = "The upstream sent an event that is not JSON."

# where a shape's answers name the model: whole, and in a stream
_MODEL_AT: dict[str, tuple[str, ...]] = {"chat": ("model",), "messages": ("message", "model"), "responses": ("response", "model")}


def events_of(whole: bytes) -> list[bytes]:
    """The bytes of each event, its blank line included; at the end what is left, if there is something."""
    if b"\r" in whole:
        return _EVENT.findall(whole)
    *events, rest = whole.split(b"\n\n")
    found = [event + b"\n\n" for event in events]
    return [*found, rest] if rest else found


class BytesLane:
    """The same shape on both sides: bytes go through as they came, an event when it is whole.

    So the client always stands between two events: whatever breaks, it can be told of it, and keep-alives fit in anywhere.
    Two exceptions, each only when asked for: `model` is shown by the alias that the caller used, and a usage chunk that the
    caller did not ask for is withheld. Then frames are looked at one by one; what is not touched keeps its bytes.
    """

    name = "bytes"
    claimed: asyncio.Future[None] | None = None  # what must be done before the client sees of the answer

    def __init__(self, reply: Reply, shape: str, max_event: int, withhold_usage: bool = False) -> None:
        self._splitter = Splitter(max_event)
        self.observer: Observer = SHAPES[shape].Observer(reply)
        self._encoder: Encoder = SHAPES[shape].StreamEncoder(reply)
        self._reply = reply
        self._shape = shape
        self._edits = withhold_usage or reply.echo_model is not None
        self._withhold_usage = withhold_usage
        self._bare = 0  # chunks without choices, which may be usage, that were let through or withheld
        self._rest = bytearray()  # the beginning of an event that is not over
        self._between = False  # the last read ended with an event, and none is edited for its model
        self.ended = False
        self.error: errors.GatewayError | None = None
        self.events = 0
        self._owed = False  # a failure that the upstream did not tell the client itself

    @property
    def content(self) -> bool:
        return self.observer.content

    @property
    def usage(self) -> Usage | None:
        return self.observer.usage

    @property
    def stop(self) -> str | None:
        return self.observer.stop

    def feed(self, chunk: bytes) -> bytes:
        """Raises Garbled for an event over the limit."""
        observer = self.observer
        if self._between and (count := observer.repeats(chunk)):
            self.events += count
            return chunk
        feed = observer.feed
        frames = self._splitter.feed(chunk)
        for frame in frames:
            if frame[1][-1:] != b"}" and not _is_sound(frame[1]):
                self.events += frames.index(frame)
                return self._garbled(chunk, frame[1])
            feed(frame)
        self.events += len(frames)
        if observer.proof or observer.error is not None:
            self.ended = True
            self.error = observer.error
        boundary = self._splitter.boundary
        if self._rest or not boundary:
            chunk = self._whole(chunk)
        self._between = boundary and self._reply.echo_model is None and not self.ended
        out = self._edited(chunk) if self._edits and chunk else chunk
        if self.ended and out.endswith(b"\r\n\r"):
            out += b"\n"  # its own other half would come when nothing is read any more
        return out

    def _whole(self, chunk: bytes) -> bytes:
        """The events that this read completes; the beginning of the next one waits for the rest of it."""
        overlap = len(self._rest[-3:])
        text = bytes(self._rest[-3:]) + chunk
        if self._splitter.boundary:
            end = len(text)
        else:
            end = max((text.rfind(mark) + len(mark) for mark in _BLANK_LINES if mark in text), default=0)
        if end <= overlap:
            self._rest += chunk
            return b""
        done = bytes(self._rest) + text[overlap:end]
        self._rest[:] = text[end:]
        return done

    def _garbled(self, chunk: bytes, data: bytes) -> bytes:
        """An event is no JSON: the client gets what stood before it, and is told."""
        text = bytes(self._rest) + chunk
        self._rest.clear()
        before = text[: max(text.find(data), 0)]
        end = max((before.rfind(mark) + len(mark) for mark in _BLANK_LINES if mark in before), default=0)
        self.break_off(errors.Garbled(NO_JSON, jsontext.described(data)))
        return self._edited(before[:end]) if self._edits else before[:end]

    def _edited(self, whole: bytes) -> bytes:
        if self._reply.echo_model is None:
            bare: int = self.observer.bare  # type: ignore[attr-defined] # only the chat shape has usage to withhold
            if bare == self._bare:
                return whole
            if not self._rest:
                self._bare = bare  # else one of them may still be kept
        return b"".join(map(self._edit, events_of(whole)))

    def _edit(self, event: bytes) -> bytes:
        """One event's bytes, its blank line included."""
        if self._withhold_usage and _NO_CHOICES.search(event) and _is_usage_chunk(event):
            return b""
        model = self._reply.echo_model
        if model is None or b'"model"' not in event:
            return event
        where = _MODEL_AT[self._shape]
        lines = event.splitlines(keepends=True)
        return b"".join(
            b"data:" + splice.replace_answer_model(line[5:], where, model) if line.startswith(b"data:") else line for line in lines
        )

    def finish(self, clean: bool) -> bytes:
        """The upstream's stream is over; without proof of completion that is a failure, however calmly it ended."""
        last = self._splitter.finish()
        for frame in last:
            self.observer.feed(frame)
        self.events += len(last)
        rest, self._rest = bytes(self._rest), bytearray()
        self.ended = True
        self.error = self.error or self.observer.error
        if self.error is None and not self.observer.completed(clean):
            self.break_off(errors.Truncated(INTERRUPTED))
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
            return b""
        self._reply.given = self.events
        return self._encoder.feed([ev.Fault(self.error)])

    def keep_alive(self) -> bytes:
        return PING if self._shape == "messages" and self.events else KEEP_ALIVE


def _is_sound(data: bytes) -> bool:
    """Whether an event's data is what an event may hold: JSON, or the mark of the end."""
    if data.strip() == b"[DONE]":
        return True
    try:
        jsontext.loads(data)
    except ValueError:
        return False
    return True


def _is_usage_chunk(event: bytes) -> bool:
    data = b"".join(line[5:] for line in event.splitlines() if line.startswith(b"data:"))
    try:
        chunk = jsontext.loads(data)
    except ValueError:
        return False
    return isinstance(chunk, dict) and chunk.get("choices") == [] and chunk.get("usage") is not None


class EventsLane:
    """Another shape on the upstream's side: decoder, hub events, encoder.

    The answer's end (usage and Stop) is not given out by `feed` but by `close`: what must be written elsewhere before the client
    learns of completion can be written in between.
    """

    name = "events"
    claimed: asyncio.Future[None] | None = None

    def __init__(self, reply: Reply, upstream_shape: str, client_shape: str, max_event: int) -> None:
        self._splitter = Splitter(max_event)
        self._decoder: Decoder = SHAPES[upstream_shape].StreamDecoder(reply)
        self.encoder: Encoder = SHAPES[client_shape].StreamEncoder(reply)
        self.content = False
        self.ended = False
        self.error: errors.GatewayError | None = None
        self.stop: str | None = None
        self.events = 0
        self._metered: Usage | None = None
        self._closing: list[ev.Event] = []

    @property
    def usage(self) -> Usage | None:
        """The answer's, or as long as it has not ended what the upstream has counted so far."""
        return self._metered or self._decoder.usage

    def feed(self, chunk: bytes) -> bytes:
        decode = self._decoder.feed
        found: list[ev.Event] = []
        frames = self._splitter.feed(chunk)
        for frame in frames:
            found += decode(frame)
        self.events += len(frames)
        return self.pass_on(found)

    def pass_on(self, found: list[ev.Event]) -> bytes:
        """What the client gets for these hub events, their end excepted."""
        if not self.content:
            self.content = any(isinstance(event, CONTENT) for event in found)
        if self._decoder.ended:
            found = self.note(found)
        return self.encoder.feed(found) if found else b""

    def replay(self, found: list[ev.Event]) -> bytes:
        """A whole answer's events, given out as a stream's."""
        return self.encoder.feed(self.note(found))

    def note(self, found: list[ev.Event]) -> list[ev.Event]:
        """The events without their end, which is kept for `close`."""
        self.ended = True
        going: list[ev.Event] = []
        for event in found:
            if isinstance(event, ev.Metered):
                self._metered = event.usage
                self._closing.append(event)
            elif isinstance(event, ev.Stop):
                self.stop = event.reason
                self._closing.append(event)
            elif isinstance(event, ev.Fault):
                self.error = event.error
            else:
                going.append(event)
        return going

    def finish(self, clean: bool) -> bytes:
        """The upstream's stream is over; the decoder judges whether it was whole."""
        found: list[ev.Event] = []
        for frame in self._splitter.finish():
            found += self._decoder.feed(frame)
        if not self._decoder.ended:
            found += self._decoder.finish(clean and not self._splitter.leftover)
        return self.pass_on(found)

    def break_off(self, error: errors.GatewayError) -> None:
        """The transport failed, or the end could not be given out."""
        self.ended = True
        self.error = error

    def close(self) -> bytes:
        """The answer's end, or the shape's own failure."""
        return self.encoder.feed([ev.Fault(self.error)] if self.error is not None else self._closing)

    def keep_alive(self) -> bytes:
        return self.encoder.keep_alive()


def translate_whole(body: bytes, reply: Reply, upstream_shape: str, client_shape: str) -> tuple[Collector, list[ev.Event]]:
    """A whole answer in another shape. Raises what the upstream's answer says went wrong, or Garbled."""
    found: list[ev.Event] = SHAPES[upstream_shape].decode_response(json_object(body), reply)
    collector: Collector = SHAPES[client_shape].Collector(reply)
    collector.feed(found)
    if collector.error is not None:
        raise collector.error
    return collector, found


def json_object(body: bytes) -> dict[str, Any]:
    """Raises Garbled when the upstream's body is not a JSON object."""
    try:
        value = jsontext.loads(body.strip())
    except ValueError:
        raise errors.Garbled("The upstream's answer is not valid JSON.", jsontext.described(body)) from None
    if not isinstance(value, dict):
        raise errors.Garbled("The upstream's answer is not a JSON object.")
    return value
