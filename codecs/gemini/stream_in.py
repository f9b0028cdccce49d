"""Decode a gemini upstream's answer into hub events. Not implemented yet."""

from __future__ import annotations

from typing import Any

from ..events import Event
from ..reply import Reply
from ..sse import Frame
from ..usage import Usage


class StreamDecoder:
    usage: Usage | None = None

    def __init__(self, reply: Reply) -> None:
        self.ended = False

    def feed(self, frame: Frame) -> list[Event]:
        raise NotImplementedError

    def finish(self, clean: bool) -> list[Event]:
        raise NotImplementedError


def decode_response(body: dict[str, Any], reply: Reply) -> list[Event]:
    raise NotImplementedError
