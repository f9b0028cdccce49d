"""What decoders do not know goes no further and breaks nothing, but is counted: by its label once, and how often it came."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dragoman.codecs import chat, messages, responses
from dragoman.codecs import events as ev
from dragoman.codecs.reply import LABELS, Reply, Unsaid
from dragoman.codecs.request import Request

from .recited import STREAMS, WHOLE

SHAPES: dict[str, Any] = {"chat": chat, "messages": messages, "responses": responses}


TEXT = {"type": "output_text", "text": "a"}


def reply(upstream: str) -> Reply:
    return Reply(Request("messages" if upstream == "chat" else "chat", "m", {}, True), upstream=upstream)


def streamed(shape: str, values: list[Any]) -> tuple[list[ev.Event], Unsaid]:
    said = reply(shape)
    decoder = SHAPES[shape].StreamDecoder(said)
    found: list[ev.Event] = []
    for value in values:
        found += decoder.feed((b"", json.dumps(value).encode()))
    if not decoder.ended:
        found += decoder.finish(True)
    return found, said.unsaid


def whole(shape: str, body: dict[str, Any]) -> tuple[list[ev.Event], Unsaid]:
    said = reply(shape)
    return SHAPES[shape].decode_response(body, said), said.unsaid


def delta(**members: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": members}]}


# what is put behind the first two events of a recited answer -> what is reported, and how often it came
STREAMED: dict[str, list[tuple[list[Any], list[str], int]]] = {
    "chat": [
        ([delta(images=[{"u": 1}]), delta(images=[{"u": 2}])], ["choices[0].message.images"], 1),
        ([delta(content="", images=[], of_tomorrow=None)], [], 0),
        ([delta(content=[{"type": "hologram", "data": "x"}])], ["choices[0].message.content:hologram"], 1),
        ([delta(**{"x" * 200: 1})], ["choices[0].message." + "x" * 64], 1),
    ],
    "messages": [
        ([{"type": "of_tomorrow"}, {"type": "of_tomorrow"}], ["event:of_tomorrow"], 2),
        ([{"type": "x" * 200}], ["event:" + "x" * 64], 1),
        ([{"no": "type"}], ["event:"], 1),
        ([{"type": "ping"}], [], 0),
    ],
    "responses": [
        ([{"type": "response.of_tomorrow"}] * 3, ["event:response.of_tomorrow"], 3),
        ([{"type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": {}}], [], 0),
    ],
}


@pytest.mark.parametrize(("shape", "values", "labels", "count"), [(shape, *row) for shape, rows in STREAMED.items() for row in rows])
def test_in_a_stream(shape: str, values: list[Any], labels: list[str], count: int) -> None:
    recited = STREAMS[shape]
    usual, before = streamed(shape, recited)
    found, after = streamed(shape, [*recited[:2], *values, *recited[2:]])
    assert [event for event in found if event != ev.Ping()] == [event for event in usual if event != ev.Ping()]
    assert after.labels == labels + before.labels
    assert after.count == before.count + count


def test_an_unknown_delta_of_a_known_block() -> None:
    start = {"type": "message_start", "message": {"id": "msg_1", "usage": {}}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}}
    unknown = {"type": "content_block_delta", "index": 0, "delta": {"type": "hologram_delta", "data": "x"}}
    assert streamed("messages", [start, block, unknown])[1] == Unsaid(1, ["content[0].delta:hologram_delta"])


def test_events_within_a_hosted_item_are_reported_with_it() -> None:
    """By the encoder, which is given an Opaque for the item."""
    item = {"type": "file_search_call", "id": "fs_1", "status": "in_progress"}
    values = [
        {"type": "response.created", "response": {"id": "resp_1"}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.file_search_call.searching", "output_index": 0, "item_id": "fs_1"},
    ]
    found, unsaid = streamed("responses", values)
    assert ev.Opaque("output[0]:file_search_call") in found
    assert unsaid.count == 0


@pytest.mark.parametrize(
    ("shape", "body", "label"),
    [
        (
            "chat",
            {"choices": [{"message": {"content": "a", "hologram": {"x": 1}}, "finish_reason": "stop"}]},
            "choices[0].message.hologram",
        ),
        (
            "responses",
            {"object": "response", "output": [{"type": "message", "content": [{"type": "hologram"}, TEXT]}], "status": "completed"},
            "output[0].content[0]:hologram",
        ),
    ],
)
def test_in_a_whole_answer(shape: str, body: dict[str, Any], label: str) -> None:
    found, unsaid = whole(shape, body)
    assert isinstance(found[-1], ev.Stop)
    assert unsaid == Unsaid(1, [label])


@pytest.mark.parametrize("shape", SHAPES)
def test_what_references_know_is_not_counted(shape: str) -> None:
    assert streamed(shape, STREAMS[shape])[1].count == 0
    assert whole(shape, WHOLE[shape])[1].count == 0


def test_the_report_is_bounded_and_fit_for_a_header() -> None:
    unsaid = Unsaid()
    for number in range(100):
        unsaid.add(f"content[{number}]:{'é,' * 50}")
    assert (unsaid.count, len(unsaid.labels)) == (100, LABELS)
    header = unsaid.header()
    assert header.startswith("content[0]:%C3%A9%2C")
    assert len(header) <= 1024
    names, _, beyond = header.rpartition(",+")
    assert len(names.split(",")) + int(beyond) == LABELS
