"""Answers of a responses upstream on their way to a responses caller, where something of them is stored.

NativeLane   the upstream stores its responses itself: bytes as they come, only their end waits until it is known whose they are
KeptLane     the gateway stores them: every event is given the gateway's id and its own number, the rest stays as it is
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from ...codecs import errors, jsontext, responses
from ...codecs.reply import Reply
from ...codecs.sse import Frame, event_frame, safe_json
from ..memory.answers import own_answer, response_id, response_in
from ..memory.turn import Turn
from ..routing.router import Candidate
from .lanes import INTERRUPTED, NO_JSON, BytesLane, events_of

Item = dict[str, Any]

_DATA = re.compile(rb"^data:[ ]?(.*)$", re.MULTILINE)
_TERMINAL = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete|failed)"')
_ANNOUNCING = frozenset({"response.created", "response.queued"})


class NativeLane(BytesLane):
    """claim: called once, with the response's id, as soon as an event names it; content waits for what it returns."""

    def __init__(self, reply: Reply, max_event: int, claim: Callable[[str], asyncio.Future[None]]) -> None:
        super().__init__(reply, "responses", max_event)
        self._claim = claim
        self._last = b""  # the end
        self._kept_back = 0  # events in it

    def feed(self, chunk: bytes) -> bytes:
        out = super().feed(chunk)
        if self.claimed is None and out:
            self._look(out)
        if not self.ended:
            return out
        events = events_of(out)
        going = next((n for n, event in enumerate(events) if _TERMINAL.search(event)), len(events))
        self._last = b"".join(events[going:])
        self._kept_back = len(events) - going
        return b"".join(events[:going])

    def _look(self, events: bytes) -> None:
        for line in _DATA.findall(events):
            id = response_id(line)
            if id is not None:
                self.claimed = self._claim(id)
                return

    @property
    def response(self) -> Item | None:
        """The whole object, once the answer has ended."""
        return next((found for line in _DATA.findall(self._last) if (found := response_in(line)) is not None), None)

    def close(self) -> bytes:
        return self._last + super().close()

    def fail(self, error: errors.GatewayError) -> bytes:
        """What to write instead of `close` when the end cannot be told."""
        self._last = b""
        self.events -= self._kept_back
        self.break_off(error)
        return super().close()


class KeptLane(BytesLane):
    """response: the whole object, once the answer has ended."""

    def __init__(self, reply: Reply, max_event: int) -> None:
        super().__init__(reply, "responses", max_event)
        self.name = "events"  # they are written anew
        self.response: Item | None = None
        self._number = reply.announced
        self._head: Item = {}
        self._items: list[Item] = []  # those that are over
        self._last: tuple[str, Item] | None = None
        self._kept = 0  # bytes of them

    def feed(self, chunk: bytes) -> bytes:
        out = [self._told(frame) for frame in self._splitter.feed(chunk) if not self.ended]
        return b"".join(out)

    def finish(self, clean: bool) -> bytes:
        out = [self._told(frame) for frame in self._splitter.finish() if not self.ended]
        self.ended = True
        if self.error is None and self._last is None:
            self.break_off(errors.Truncated(INTERRUPTED))
        return b"".join(out)

    def _told(self, frame: Frame) -> bytes:
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
            self._head = value["response"] = own_answer(self._reply, value["response"])
        if self.observer.error is not None:
            self.break_off(self.observer.error)
            return b""
        if self.observer.proof:
            self.ended = True
            self.response, self._last = self._head, (kind, value)
            return b""
        if kind == "response.output_item.done" and isinstance(value.get("item"), dict):
            self._items.append(value["item"])
            self._kept += len(data)
            if self._kept > self._reply.max_answer:
                raise errors.Overlong("The upstream's answer is longer than this gateway keeps.", f"{self._kept} bytes of items")
        if kind in _ANNOUNCING and self._number and self._number <= self._reply.announced:
            return b""
        return self._numbered(kind, value)

    def _numbered(self, kind: str, value: Item) -> bytes:
        value["sequence_number"] = self._number
        self._number += 1
        return event_frame(kind, safe_json(value))

    def close(self) -> bytes:
        if self.error is not None:
            return self.fail(self.error)
        assert self._last is not None
        return self._numbered(*self._last)

    def fail(self, error: errors.GatewayError) -> bytes:
        """The failure; instead of the end when that could not be kept."""
        if self._last is not None and self.error is None:
            self._number -= 1  # `close` has numbered the end already
        self.break_off(error)
        head = self._head or responses.response_object(self._reply)
        self.response = responses.failed(head | {"output": self._items}, error)
        told = self._numbered("response.failed", {"type": "response.failed", "response": self.response})
        return told + self._numbered("error", {"type": "error", **responses.error_event(error)})


def storing_lane(turn: Turn, reply: Reply, candidate: Candidate, max_event: int) -> BytesLane | None:
    """The lane of an answer in the same shape; None when nothing of it is stored."""
    keeping = turn.keeping(candidate)
    if keeping == "here":
        return KeptLane(reply, max_event)
    return NativeLane(reply, max_event, lambda id: turn.claimed(id, candidate)) if keeping == "upstream" else None
