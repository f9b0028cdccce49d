"""Answers of a responses upstream on their way to a responses client, where something is to be kept of them.

NativeLane   the upstream keeps its responses itself: bytes as they come, only their end waits until it is known whose they are
KeptLane     the gateway keeps them: every event is given the gateway's id and its own number, the rest stays as it is
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from ...codecs import errors, jsontext, responses
from ...codecs.reply import Reply
from ...codecs.sse import Frame, event_frame, safe_json
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

    def close(self) -> bytes:
        return self._last + super().close()

    def fail(self, error: errors.GatewayError) -> bytes:
        """What to write instead of `close` when the end cannot be told."""
        self._last = b""
        self.events -= self._kept_back
        self.break_off(error)
        return super().close()


def response_id(data: bytes) -> str | None:
    """The id of the response that an event's data, or a whole body, holds."""
    try:
        value = jsontext.loads(data)
    except ValueError:
        return None
    response = value.get("response", value) if isinstance(value, dict) else None
    id = response.get("id") if isinstance(response, dict) and response.get("object") == "response" else None
    return id if isinstance(id, str) else None


class KeptLane(BytesLane):
    """response: the whole object, once the answer has ended."""

    def __init__(self, reply: Reply, max_event: int) -> None:
        super().__init__(reply, "responses", max_event)
        self.response: Item | None = None
        self._number = reply.announced
        self._head: Item = {}
        self._items: list[Item] = []  # those that are over
        self._last: tuple[str, Item] | None = None

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


def own_answer(reply: Reply, response: Item) -> Item:
    """An upstream's response object as the gateway's own: by its id, and with what the upstream was not told."""
    body = reply.request.body
    own: Item = {
        "id": reply.response_id,
        "previous_response_id": reply.previous_response_id,
        "conversation": {"id": reply.conversation_id} if reply.conversation_id else None,
        "store": body.get("store") is not False,
        "background": body.get("background") is True,
    }
    if reply.announced:
        own["created_at"] = reply.created
    return response | own | ({"model": reply.echo_model} if reply.echo_model else {})
