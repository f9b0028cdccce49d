"""A stream as one JSON array, for callers who did not ask for server-sent events.

Lanes write whole events, whatever the caller reads; this stands between them and the caller and takes the data out of them. A stream that
fails has no closing bracket.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping
from typing import Any

from .caller import Caller, CallerAround
from .lanes import events_of

_DATA = re.compile(rb"^data:[ ]?([^\r\n]*+)", re.MULTILINE)


class ArrayCaller(CallerAround):
    """What an exchange sees of a caller (see caller.Caller)."""

    __slots__ = ("_begun",)

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller)
        self._begun = False  # the array's first element was written

    def start(self, headers: Mapping[str, str], first: bytes, status: int = 200, length: int | None = None) -> Awaitable[Any] | None:
        return self._caller.start({**headers, "content-type": "application/json"}, self._elements(first), status)

    def write(self, data: bytes) -> Awaitable[Any] | None:
        return self._caller.write(self._elements(data))

    async def finish(self, last: bytes = b"") -> None:
        elements = self._elements(last)
        await self._caller.finish(elements + (b"]" if self._begun else b"[]"))

    def _elements(self, events: bytes) -> bytes:
        """The data of these events as elements; white space where there is none, which keeps the connection alive."""
        pieces: list[bytes] = []
        for event in events_of(events):
            data = b"\n".join(_DATA.findall(event))
            if data:
                pieces += (b",\n" if self._begun else b"[", data)
                self._begun = True
        return b"".join(pieces) if pieces or not events else b"\n"
