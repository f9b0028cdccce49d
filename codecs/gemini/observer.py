"""Observe a gemini answer that is passed on unchanged. Not implemented yet."""

from __future__ import annotations

from typing import Any

from ..errors import GatewayError
from ..reply import Reply
from ..sse import Frame
from ..usage import Usage


class Observer:
    bare = 0

    def __init__(self, reply: Reply) -> None:
        self.content = False
        self.proof = False
        self.error: GatewayError | None = None
        self.usage: Usage | None = None
        self.stop: str | None = None

    def feed(self, frame: Frame) -> None:
        raise NotImplementedError

    def repeats(self, chunk: bytes) -> int:
        return 0

    def completed(self, clean: bool) -> bool:
        return self.proof

    def observe_whole(self, body: dict[str, Any]) -> None:
        raise NotImplementedError
