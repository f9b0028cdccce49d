"""Answers of a responses upstream on their way to a responses caller, where the gateway stores them.

Every event is given the gateway's id and its own number, the rest stays as it is. Where the upstream stores its responses itself, or
nobody does and a connection keeps them, the lane is `lanes.NativeLane`.
"""

from __future__ import annotations

from typing import Any

from ...codecs import errors, jsontext, responses
from ...codecs.reply import Reply
from ...codecs.sse import Frame, event_frame, safe_json
from ..memory.answers import own_answer
from ..memory.turn import Turn
from ..routing.candidate import Candidate
from .lanes import INTERRUPTED, NO_JSON, BytesLane, NativeLane

Item = dict[str, Any]

_ANNOUNCING = frozenset({"response.created", "response.queued"})


class StoredLane(BytesLane):
    """response: the whole object, once the answer has ended."""

    def __init__(self, reply: Reply, max_event: int) -> None:
        super().__init__(reply, "responses", max_event)
        self.name = "events"  # they are written anew
        self.response: Item | None = None
        self._number = reply.announced
        self._head: Item = {}
        self._items: list[Item] = []  # those that are over
        self._last: tuple[str, Item] | None = None
        self._buffered = 0  # bytes of them

    def feed(self, chunk: bytes) -> bytes:
        out = [self._rewritten(frame) for frame in self._splitter.feed(chunk) if not self.ended]
        return b"".join(out)

    def finish(self, clean: bool) -> bytes:
        out = [self._rewritten(frame) for frame in self._splitter.finish() if not self.ended]
        self.ended = True
        if self.error is None and self._last is None:
            self.break_off(errors.Truncated(INTERRUPTED))
        return b"".join(out)

    def _rewritten(self, frame: Frame) -> bytes:
        name, data = frame
        if data.strip() == b"[DONE]":
            return b""
        self.events += 1
        self.observer.feed(frame)
        try:
            value = jsontext.loads(data)
        except ValueError:
            self.break_off(errors.Garbled(NO_JSON, jsontext.described(data)))
            return b""
        if not isinstance(value, dict):
            return b""
        kind = str(value.get("type") or name.decode("utf-8", "replace"))
        if isinstance(value.get("response"), dict):
            response = responses.filled(value["response"], self._reply) if self._reply.complete else value["response"]
            self._head = value["response"] = own_answer(self._reply, response)
        if self.observer.error is not None:
            self.break_off(self.observer.error)
            return b""
        if self.observer.proof:
            self.ended = True
            self.response, self._last = self._head, (kind, value)
            return b""
        if kind == "response.output_item.done" and isinstance(value.get("item"), dict):
            self._items.append(value["item"])
            self._buffered += len(data)
            if self._buffered > self._reply.max_answer:
                raise errors.Overlong("The upstream's answer is larger than this gateway can buffer.", f"{self._buffered} bytes of items")
        if kind in _ANNOUNCING and self._number and self._number <= self._reply.announced:
            return b""
        return self._numbered(kind, value)

    def _numbered(self, kind: str, value: Item) -> bytes:
        value["sequence_number"] = self._number
        self._number += 1
        return event_frame(kind, safe_json(value))

    def progress(self) -> bytes:
        kind = "response.in_progress"
        return b"" if self.ended or not self._head else self._numbered(kind, {"type": kind, "response": self._head})

    def close(self) -> bytes:
        if self.error is not None:
            return self.fail(self.error)
        assert self._last is not None
        return self._numbered(*self._last) + self._end

    def fail(self, error: errors.GatewayError) -> bytes:
        """The failure; instead of the end when that could not be kept."""
        if self._last is not None and self.error is None:
            self._number -= 1  # `close` has numbered the end already
        self.break_off(error)
        head = self._head or responses.response_object(self._reply)
        self.response = responses.failed(head | {"output": self._items}, error)
        final_events = responses.failure(self._reply, self.response, error)
        return b"".join(self._numbered(kind, {"type": kind, **members}) for kind, members in final_events) + self._end


def storing_lane(turn: Turn, reply: Reply, candidate: Candidate, max_event: int) -> BytesLane | None:
    """The lane of an answer in the same shape; None when nothing of it is stored."""
    keeping = turn.keeping(candidate)
    if keeping == "here":
        return StoredLane(reply, max_event)
    if keeping is None:
        return None
    return NativeLane(reply, max_event, None if keeping == "connection" else lambda id: turn.claimed(id, candidate))
