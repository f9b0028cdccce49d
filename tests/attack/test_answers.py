"""Answers of upstreams, streamed and whole: what it takes to read and to translate them grows as they do.

The rows are odd and hostile answers (answers.py); each is read by its shape's decoder and written in every other shape.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dragoman.codecs import continuation, responses
from dragoman.codecs import events as ev
from dragoman.codecs.recall import History, Recall
from dragoman.codecs.registry import SHAPES, UPSTREAMS
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.sse import Frame, event_frame
from dragoman.proxy.exchange.lanes import BytesLane, collected
from dragoman.proxy.wire.http1 import Chunked

from .answers import STREAMS, WHOLE, Make, responses_messages, responses_pieces
from .growth import TIMES, assert_linear

SMALL = 100
# where each time that something is done again costs little; chat answers have at most answers.CALLS calls
READ = {
    "chat_by_id": 40,
    "chat_encrypted_pieces": 4000,
    "chat_in_turn": 40,
    "chat_nameless": 250,
    "converse_signature": 250,
    "messages_counts": 1000,
    "messages_summary": 250,
    "responses_at_the_end": 1000,
    "responses_messages": 800,
    "responses_renamed_at_the_end": 1400,
}
WRITTEN = {
    "chat_cited": 500,
    "gemini_signed_texts": 200,
    "messages_cited_texts": 200,
    "messages_texts": 200,
}

ROWS = [(shape, make) for shape, makes in STREAMS.items() for make in makes.values()]
BODIES = [(shape, make) for shape, makes in WHOLE.items() for make in makes.values()]


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    """What a collection costs depends on the whole process."""
    gc.disable()
    yield
    gc.enable()


def _reply(caller: str, upstream: str) -> Reply:
    request = Request(caller, "m", {}, True, include_logprobs=True)
    reply = Reply(request, domain="d", upstream=upstream, response_id="resp_1")
    reply.recall = Recall(History(request), "d")
    return reply


def _decoded(shape: str, frames: list[Frame]) -> list[list[ev.Event]]:
    decoder = UPSTREAMS[shape].Decoder(_reply("chat", shape))
    found = [decoder.feed(frame) for frame in frames]
    return found if decoder.ended else [*found, decoder.finish(True)]


def _encoded(caller: str, shape: str, events: list[list[ev.Event]]) -> int:
    """The bytes that a caller is sent."""
    reply = _reply(caller, shape)
    encoder = SHAPES[caller].Encoder(reply)
    size = sum(len(data) for found in events for _, data in encoder.feed(found))
    assert reply.recall is not None
    reply.recall.note()
    return size


def _names(rows: list[tuple[str, Any]]) -> list[str]:
    return [make.__name__ for _, make in rows]


@pytest.mark.parametrize(("shape", "make"), ROWS, ids=_names(ROWS))
def test_streams(shape: str, make: Make) -> None:
    assert_linear(lambda size: list(make(size)), lambda frames: _decoded(shape, frames), READ.get(make.__name__, SMALL))
    small = WRITTEN.get(make.__name__, SMALL)
    by_size = {size: _decoded(shape, list(make(size))) for size in (small, TIMES * small)}
    assert not any(isinstance(event, ev.Fault) for found in by_size[TIMES * small] for event in found)
    for caller in SHAPES:
        if caller != shape:
            assert_linear(by_size.__getitem__, lambda events, caller=caller: _encoded(caller, shape, events), small)  # type: ignore[misc]


@pytest.mark.parametrize(("shape", "make"), BODIES, ids=_names(BODIES))
def test_whole_answers(shape: str, make: Callable[[int], dict[str, Any]]) -> None:
    def collect(body: dict[str, Any]) -> None:
        reply = _reply(caller, shape)
        collected(UPSTREAMS[shape].decode_response(body, reply), reply, caller).body()

    for caller in SHAPES:
        if caller != shape:
            assert_linear(make, collect, SMALL)


@pytest.mark.parametrize(
    ("shape", "make", "most"),
    [("chat", STREAMS["chat"]["chat_cited_as_a_whole"], 3e6), ("chat", STREAMS["chat"]["chat_signed_afterwards"], 3e6)],
)
@pytest.mark.parametrize("caller", ["messages", "responses", "gemini"])
def test_what_is_sent_is_no_multiple_of_what_came(caller: str, shape: str, make: Make, most: float) -> None:
    assert _encoded(caller, shape, _decoded(shape, list(make(1000)))) < most


def test_the_items_of_a_background_response() -> None:
    def make(size: int) -> list[bytes]:
        return [event_frame(*frame) for frame in responses_pieces(size)]

    def feed(frames: list[bytes]) -> None:
        snapshot = responses.Snapshot()
        snapshot.feed(frames)
        assert snapshot.cut()

    assert_linear(make, feed, 150)


@pytest.mark.parametrize("read", [7, 1 << 30])
@pytest.mark.parametrize("alias", [None, "alias"])
def test_carried_bytes(read: int, alias: str | None) -> None:
    def feed(data: bytes) -> None:
        lane = BytesLane(Reply(Request("responses", "m", {}, True), echo_model=alias), "responses", 1 << 24)
        for at in range(0, len(data), read):
            lane.feed(data[at : at + read])
        lane.finish(True)

    assert_linear(lambda size: b"".join(event_frame(*frame) for frame in responses_messages(size)), feed, 10)


CHUNKS: list[Callable[[int], bytes]] = [
    lambda size: b"1\r\nx\r\n" * size,
    lambda size: b"1;a=b\r\nx\r\n" * size,
    lambda size: b"4\r\n\r\n\r\n\r\n" * size,
    lambda size: b"0\r\na: " + b"b" * size,
    lambda size: b"0\r\n" + b"a: b\r\n" * (size // 6),
]


@pytest.mark.parametrize("read", [1, 1 << 30])
@pytest.mark.parametrize("make", CHUNKS)
def test_chunks(make: Callable[[int], bytes], read: int) -> None:
    def feed(data: bytes) -> None:
        reader = Chunked()
        for at in range(0, len(data), read):
            reader.feed(data[at : at + read])

    assert_linear(make, feed, 1000)


def test_pings_within_a_text_that_may_have_to_go_on() -> None:
    def tell(size: int) -> None:
        told = continuation.Transcript()
        told.feed([ev.Start("", "", 0), ev.TextStart(0)])
        for _ in range(size):
            told.feed([ev.Text(0, "x" * 40), ev.Ping()])
        assert told.texts() == ["x" * 40 * size]

    assert_linear(int, tell, 1000)
