"""Observe a chat upstream's answer that is passed unchanged to a chat client: usage, ending, error."""

from __future__ import annotations

from typing import Any

from .. import errors, jsontext
from ..anything import dicts_of, str_of
from ..endings import UNKNOWN, reason_of
from ..likeness import CONTENT, NOTHING, around
from ..reply import Reply
from ..sse import Frame
from ..usage import Usage, count, from_chat, merged
from .chunks import usage_of
from .errors_in import error_of, is_error


class Observer:
    """Observes an answer that is passed unchanged to a client of the same shape.

    content: whether content was seen. proof: whether the answer is complete. error: the provider's error inside the stream.
    stop: the neutral reason, once known. bare: the number of chunks without choices. counted: the usage is that of all that has come.
    """

    __slots__ = (
        "_begun",
        "_called",
        "_event",
        "_finish",
        "_head",
        "_length",
        "_quotes",
        "_sequence",
        "_tail",
        "_tier",
        "_usage",
        "bare",
        "content",
        "counted",
        "error",
        "proof",
    )

    def __init__(self, reply: Reply) -> None:
        self._length, self._head, self._tail = NOTHING  # of the last ordinary delta
        self._event = NOTHING  # the same for its entire event
        self._quotes = 0  # in it
        self.bare = 0
        self.content = False
        self.proof = False
        self._begun = False
        self.error: errors.GatewayError | None = None
        self.counted = False
        self._usage: dict[str, Any] | None = None
        self._tier: Any = None
        self._finish: str | None = None
        self._sequence = ""
        self._called = False

    @property
    def usage(self) -> Usage | None:
        return None if self._usage is None else from_chat(self._usage, self._tier)

    @property
    def stop(self) -> str | None:
        """The neutral reason; None before it is known."""
        ended = self.proof or self._finish is not None
        return reason_of(self._finish, self._called, self._sequence) or UNKNOWN if ended else None

    def completed(self, clean: bool) -> bool:
        """Whether the answer was complete when the transport ended. clean: the HTTP body was complete."""
        return self.proof or (clean and self._finish is not None)

    def feed(self, frame: Frame) -> None:
        """Observe one frame. Never raises. Once content was seen, a plain delta costs a few substring searches and no parsing."""
        name, data = frame
        if data[data.find(b'"', self._length) :] == self._tail and data.startswith(self._head) and not name:
            return
        if (
            self.content
            and not name
            and (b'"finish_reason":null' in data or b'"finish_reason"' not in data)
            and (b'"usage"' not in data or b'"usage":null' in data)
            and (b'"tool_calls"' not in data or self._called or b'"tool_calls":null' in data)
            and b'"error"' not in data
            and data[:1] == b"{"
            and data[-1:] == b"}"
        ):
            self._length, self._head, self._tail = around(data, CONTENT)
            self._event = (self._length + 6, b"data: " + self._head, self._tail + b"\n\n")
            self._quotes = self._head.count(b'"') + self._tail.count(b'"')
            self.counted = False
            return
        if data.strip() == b"[DONE]":
            self.proof = self._begun  # alone it proves nothing
            return
        try:
            chunk = jsontext.loads(data)
        except ValueError:
            return
        if isinstance(chunk, dict):
            self._begun = True
            self._see(name, chunk, "delta")

    def repeats(self, chunk: bytes) -> int:
        """The number of deltas like the last one that `chunk` consists of; 0 if it contains anything else. They need not be fed."""
        length, head, tail = self._event
        if not chunk.startswith(head) or chunk.find(b"\r") >= 0:  # `in` takes twice as long
            return 0
        if chunk[chunk.find(b'"', length) :] == tail:
            return 1 if chunk.find(b"\n") == len(chunk) - 2 else 0
        # each starts and ends alike, and there are only as many quotes and line ends as that requires: the texts have none
        count = chunk.count(tail + head) + 1
        alike = chunk.endswith(tail) and chunk.count(b"\n") == 2 * count and chunk.count(b'"') == count * self._quotes
        return count if alike else 0

    def observe_whole(self, body: dict[str, Any]) -> None:
        """Observe a complete answer."""
        self._see(b"", body, "message")
        self.proof = self.error is None

    def _see(self, name: bytes, chunk: dict[str, Any], member: str) -> None:
        choices = dicts_of(chunk, "choices")
        usage = usage_of(chunk, next(iter(choices), None))
        if any(_says(choice.get(member)) for choice in choices):
            self.content, self.counted = True, False
        if usage:
            self._usage = merged(self._usage, usage)
            self.counted = self.counted or not self.content or count(usage.get("completion_tokens")) > 0
            (self._length, self._head, self._tail), self._event = NOTHING, NOTHING  # the next delta is looked at
        self._tier = chunk.get("service_tier") or self._tier
        if name == b"error" or is_error(chunk):
            self.error = error_of(chunk)
            return
        self.bare += not choices
        for choice in choices:
            if is_error(choice):
                self.error = error_of(choice)
            message = choice.get(member)
            if isinstance(message, dict):
                self._called = self._called or bool(message.get("tool_calls") or message.get("function_call"))
            self._finish = str_of(choice, "finish_reason") or self._finish
            self._sequence = str_of(choice, "stop_reason") or self._sequence


def _says(message: Any) -> bool:
    """Whether a message or delta has any content."""
    return isinstance(message, dict) and any(value for key, value in message.items() if key != "role")
