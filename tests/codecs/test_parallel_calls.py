"""Several calls in one answer, over a chat upstream, which says nowhere that a call has ended: one ends before the next begins."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from dragoman.codecs import sse
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.tools import Declared, ToolMap

from .chatting import call, calls, finished, says, wire

ONE_BY_ONE = [
    calls(call(0, "c", "read", "")), calls(call(0, arguments='{"a":')), calls(call(0, arguments="1}")),
    calls(call(1, "d", "read", "")), calls(call(1, arguments='{"a":2}')),
]  # fmt: skip
AT_ONCE = [calls(call(0, "c", "read", '{"a":1}'), call(1, "d", "read", '{"a":2}'))]
THEN_TEXT = [*ONE_BY_ONE, says("done")]
FREE_TEXT = [calls(call(0, "c", "patch", '{"input":"x"}')), calls(call(1, "d", "read", '{"a":2}'))]


def seen(shape: str, values: list[Any]) -> list[tuple[str, Any]]:
    """What a caller of the shape reads of items: opened and closed, by their place."""
    tools = ToolMap()
    tools._declared["patch"] = Declared("patch", "custom", emulated=True)
    reply = Reply(Request(shape, "m", {}), tools=tools, upstream="chat")
    decoder, encoder = SHAPES["chat"].Decoder(reply), SHAPES[shape].Encoder(reply)
    splitter, found = sse.Splitter(), []
    for frame in splitter.feed(wire(*values, finished("tool_calls"), "[DONE]")):
        for _, data in encoder.feed(decoder.feed(frame)):
            found += _marks(shape, orjson.loads(data) if data != b"[DONE]" else {})
    return found


def _marks(shape: str, value: dict[str, Any]) -> list[tuple[str, Any]]:
    kind = value.get("type", "")
    if shape == "responses" and kind.startswith("response.output_item."):
        return [("opened" if kind.endswith("added") else "closed", value["output_index"])]
    if shape == "messages" and kind in ("content_block_start", "content_block_stop"):
        return [("opened" if kind.endswith("start") else "closed", value["index"])]
    return []


@pytest.mark.parametrize("shape", ["responses", "messages"])
@pytest.mark.parametrize(("values", "items"), [(ONE_BY_ONE, 2), (AT_ONCE, 2), (THEN_TEXT, 3), (FREE_TEXT, 2)])
def test_an_item_ends_before_the_next_begins(shape: str, values: list[Any], items: int) -> None:
    assert seen(shape, values) == [mark for index in range(items) for mark in (("opened", index), ("closed", index))]
