"""Observe a gemini upstream's answer that is passed unchanged to a gemini client: usage, ending, error.

A finish reason proves that the answer is complete, but does not end it: others and more content may follow. Every chunk has a usage and
the last one counts, so that a plain delta is only remembered, and looked at when nothing follows it.
"""

from __future__ import annotations

from typing import Any

from .. import errors, quirks
from ..anything import list_of, object_of
from ..endings import UNKNOWN
from ..reply import Reply
from ..sse import Frame
from ..usage import Usage, from_gemini
from .errors_in import error_of, is_error
from .facts import DEVELOPER_NUMBERS, NOT_BLOCKED, NOT_FINISHED, VERTEX_NUMBERS
from .likeness import NOTHING, alike, around

_OPENING = b"data: {"
_SPECIAL = (b'"finishReason"', b'"error"', b'"functionCall"', b'"promptFeedback"')
"""What a chunk does not hold whose text is all that it says. In a text these quotes are escaped."""


class Observer:
    """Observes an answer that is passed on unchanged.

    content: whether content was seen. proof: whether a whole answer is complete. error: the provider's error inside the stream.
    counted: the usage is that of all that the upstream has written.
    """

    __slots__ = (
        "_blocked",
        "_called",
        "_counted",
        "_finish",
        "_like",
        "_skipped",
        "_tier",
        "_usage",
        "_vertex",
        "content",
        "error",
        "proof",
    )

    bare = 0  # this shape has no events with usage only

    def __init__(self, reply: Reply) -> None:
        self.content = False
        self.proof = False
        self.error: errors.GatewayError | None = None
        self._counted = False
        self._usage: dict[str, Any] = {}
        self._tier = reply.tier
        self._finish: Any = None
        self._blocked = False
        self._called = False
        self._vertex = False
        self._skipped = b""  # the last read or frame of plain deltas, if its usage was not read
        self._like = NOTHING  # the last read of one

    @property
    def usage(self) -> Usage | None:
        if self._skipped:
            data = self._skipped.rstrip(b"\r\n").rpartition(b"\n")[2].removeprefix(b"data: ")
            self._skipped = b""
            self._count(object_of(data))
        return from_gemini(self._usage, self._tier) if self._usage else None

    @property
    def counted(self) -> bool:
        """Whether the usage is that of all that has come: each piece may have that of the pieces before it, too."""
        return self.usage is not None and self._counted

    @property
    def stop(self) -> str | None:
        """The neutral reason; None before it is known."""
        if self._finish is None:
            return "filter" if self._blocked else None
        numbers = VERTEX_NUMBERS if self._vertex else DEVELOPER_NUMBERS
        word = numbers.get(self._finish, "") if isinstance(self._finish, int) else str(self._finish)
        reason = quirks.ending(word)
        if reason == "end" and self._blocked:
            return "filter"
        if reason in ("end", "tool"):
            return "tool" if self._called else "end"
        return UNKNOWN if reason in ("", quirks.FAILED) else reason

    def feed(self, frame: Frame) -> None:
        """Observe one frame. Never raises. Once content was seen, plain deltas are not parsed."""
        data = frame[1]
        if self.content and not any(mark in data for mark in _SPECIAL):
            self._skipped = data
            return
        self._see(object_of(data))

    def repeats(self, chunk: bytes) -> int:
        """The number of plain deltas that `chunk` consists of; 0 if it contains anything else. They need not be fed."""
        if alike(chunk, self._like):
            self._skipped = chunk
            return 1
        end = b"\r\n\r\n" if chunk[-4:] == b"\r\n\r\n" else b"\n\n"
        if not (chunk.startswith(_OPENING) and chunk.endswith(b"}" + end)) or any(mark in chunk for mark in _SPECIAL):
            return 0
        count = chunk.count(b"}" + end + _OPENING) + 1
        if chunk.count(b"\n") != 2 * count or chunk.count(b"\r") != (2 * count if len(end) == 4 else 0):
            return 0
        self._skipped = chunk
        self._like = around(chunk) if count == 1 else NOTHING
        return count

    def completed(self, clean: bool) -> bool:
        """Whether the answer was complete when the transport ended. clean: it was not broken off."""
        return self.proof or self._finish is not None or self._blocked

    def observe_whole(self, body: dict[str, Any]) -> None:
        """Observe a complete answer."""
        self._see(body)
        self.proof = self.error is None and self.completed(True)

    def _see(self, value: dict[str, Any]) -> None:
        if is_error(value):
            self.error = error_of(value)
            before = self.counted or not self.content
            self._count(value)
            self._counted = self._counted or before
            return
        self._skipped = b""
        self._count(value)
        self._vertex = self._vertex or "createTime" in value
        feedback = value.get("promptFeedback")
        self._blocked = self._blocked or (isinstance(feedback, dict) and feedback.get("blockReason") not in NOT_BLOCKED)
        for candidate in list_of(value, "candidates"):
            if isinstance(candidate, dict) and not candidate.get("index"):
                self._see_candidate(candidate)
                break

    def _see_candidate(self, candidate: dict[str, Any]) -> None:
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else []:
            if isinstance(part, dict):
                call = part.get("functionCall")
                self._called = self._called or (isinstance(call, dict) and "name" in call)
                self.content = self.content or any(value for key, value in part.items() if key != "thought")
        finish = candidate.get("finishReason")
        if finish not in (None, 0, *NOT_FINISHED):
            self._finish = finish

    def _count(self, value: dict[str, Any]) -> None:
        usage = value.get("usageMetadata")
        if isinstance(usage, dict):
            self._usage.update((key, count) for key, count in usage.items() if count is not None)
        self._counted = isinstance(usage, dict) and usage.get("candidatesTokenCount") is not None
