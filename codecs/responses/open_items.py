"""The items of a response that are open while its stream is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..events import Seal
from ..sse import Frame
from .own_tools import OwnTool

_Value = dict[str, Any]


@dataclass(slots=True)
class Message:
    """An open message item."""

    index: int
    id: str
    content: list[_Value] = field(default_factory=list)  # the closed parts
    kind: str = ""  # type of the open part: output_text or refusal; "" if none
    pieces: list[str] = field(default_factory=list)
    counted: int = 0  # pieces, and their characters
    length: int = 0
    annotations: list[_Value] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)
    seal: Seal | None = None
    frame: Frame = (b"", b"")  # the next delta; its data has placeholders for the sequence number and the text

    def extent(self) -> int:
        """The characters of the open part so far."""
        self.length += sum(map(len, self.pieces[self.counted :]))
        self.counted = len(self.pieces)
        return self.length

    def part(self) -> _Value:
        text = "".join(self.pieces)
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "text": text, "annotations": self.annotations, "logprobs": self.logprobs}

    def item(self, status: str) -> _Value:
        content = [*self.content, self.part()] if self.kind else self.content
        return {"id": self.id, "type": "message", "role": "assistant", "status": status, "content": content}


@dataclass(slots=True)
class Thinking:
    """An open reasoning item. index: -1 before the client was sent its start."""

    index: int = -1
    id: str = ""
    texts: list[str] = field(default_factory=list)  # the closed runs
    pieces: list[str] = field(default_factory=list)  # the open run
    last: Seal | None = None  # the last seal of the open run
    blocks: list[_Value] = field(default_factory=list)  # thinking and redacted_thinking blocks, in Anthropic's form
    seal: Seal | None = None  # the seal of a responses upstream, of a call that follows, or (of_text) of the message before it
    of_text: bool = False
    frame: Frame = (b"", b"")

    @property
    def sealed(self) -> bool:
        return bool(self.blocks) or self.seal is not None or self.last is not None


@dataclass(slots=True)
class Call:
    """An open tool call."""

    index: int
    item: _Value  # as it was announced
    key: str  # where its text stands; "" in a call of one of this API's own tools, which is told when it is whole
    event: str = ""
    frame: Frame = (b"", b"")
    pieces: list[str] = field(default_factory=list)
    own: OwnTool | None = None

    def cut(self) -> _Value:
        """The item of a call that is not whole."""
        if self.own is not None:
            return self.item | {"status": self.own.cut}
        return self.item | {self.key: "".join(self.pieces), "status": "incomplete"}
