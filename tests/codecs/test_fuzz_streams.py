"""Upstream streams that are wrong anywhere: no codec raises, hub events keep their order, and every client gets a legal stream."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import errors, machine, sse
from dragoman.codecs import events as ev
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.tools import Declared, ToolMap

from .answers import answers
from .fuzzing import JUNK, damaged, fuzz
from .grammar import GRAMMARS
from .recited import STREAMS, WHOLE
from .wire import Wire

pytestmark = pytest.mark.slow

PAIRS = [pytest.param(client, upstream, id=f"{upstream}-to-{client}") for client in SHAPES for upstream in SHAPES if client != upstream]


def reply(client: str, body: dict[str, Any] | None = None) -> Reply:
    tools = ToolMap()
    tools._declared["f"] = Declared("f", "custom", None, emulated=True)
    return Reply(Request(client, "asked", body or {}, True), tools=tools, domain="x", request_id="req_1", created=7)


def frame(shape: str, value: Any) -> sse.Frame:
    name = value.get("type") if shape != "chat" and isinstance(value, dict) else None
    return (name.encode("utf-8", "replace") if isinstance(name, str) else b"", json.dumps(value).encode())


def decoded(upstream: str, client: str, frames: list[sse.Frame], clean: bool) -> list[list[ev.Event]]:
    """The events of each frame, and those of the end."""
    decoder = SHAPES[upstream].Decoder(reply(client))
    found = [decoder.feed(one) for one in frames]
    found.append(decoder.finish(clean))
    assert decoder.ended
    return found


def served(client: str, batches: list[list[ev.Event]]) -> bytes:
    encoder = Wire(client, reply(client))
    out = b"".join(encoder.feed(batch) + encoder.keep_alive() for batch in batches[:-1])
    out += encoder.feed(batches[-1])
    assert encoder.feed([]) == b""
    return out


def check(client: str, batches: list[list[ev.Event]]) -> None:
    """The events are in order, the client's stream is legal and ends as they do; the same answer collected ends alike."""
    events = [event for batch in batches for event in batch]
    machine.check(events)
    broke = isinstance(events[-1], ev.Fault)
    assert GRAMMARS[client](served(client, batches)) == ("error" if broke else "done")
    collector = SHAPES[client].Collector(reply(client))
    for batch in batches:
        collector.feed(batch)
    assert (collector.error is not None) == broke
    if not broke:
        json.dumps(collector.body())


@st.composite
def disturbed(draw: Any, shape: str) -> list[sse.Frame]:
    """A stream with frames lost, doubled, exchanged, out of nowhere, or damaged inside."""
    values: list[Any] = list(STREAMS[shape])
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(values) - 1))
        action = draw(st.sampled_from(["damage", "damage", "lose", "double", "exchange", "junk", "cut", "other"]))
        if action == "damage":
            values[place] = draw(damaged(values[place]))
        elif action == "lose" and len(values) > 1:
            del values[place]
        elif action == "double":
            values.insert(draw(st.integers(0, len(values))), values[place])
        elif action == "exchange":
            other = draw(st.integers(0, len(values) - 1))
            values[place], values[other] = values[other], values[place]
        elif action == "junk":
            values.insert(place, draw(JUNK))
        elif action == "cut":
            del values[place + 1 :]
        else:
            values.insert(place, draw(st.sampled_from(STREAMS[draw(st.sampled_from(sorted(STREAMS)))])))
    frames = [frame(shape, value) for value in values]
    if draw(st.booleans()):
        frames.append((b"", b"[DONE]"))
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(frames)))
        frames.insert(place, (b"", draw(st.sampled_from([b"{", b"[DONE", b"null", b"\xff\xfe", b'"x"', b"7", b"[1]", b"{}", b"NaN"]))))
    return frames


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_the_streams_themselves(client: str, upstream: str) -> None:
    frames = [frame(upstream, value) for value in STREAMS[upstream]] + [(b"", b"[DONE]")]
    batches = decoded(upstream, client, frames, True)
    check(client, batches)
    assert isinstance(next(reversed([event for batch in batches for event in batch])), ev.Stop)
    for place in range(len(frames)):
        check(client, decoded(upstream, client, frames[:place], True))
        check(client, decoded(upstream, client, frames[:place] + frames[place + 1 :], False))


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@fuzz(120)
@given(data=st.data())
def test_disturbed(client: str, upstream: str, data: st.DataObject) -> None:
    frames = data.draw(disturbed(upstream))
    check(client, decoded(upstream, client, frames, data.draw(st.booleans())))


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@fuzz(80)
@given(data=st.data())
def test_whole(client: str, upstream: str, data: st.DataObject) -> None:
    """A whole answer is decoded to events in order, or to a fault; streamed to a client it is legal, too."""
    body = data.draw(damaged(WHOLE[upstream], 4))
    events = SHAPES[upstream].decode_response(json.loads(json.dumps(body)), reply(client))
    check(client, [events])


@pytest.mark.parametrize("shape", SHAPES)
@fuzz(100)
@given(data=st.data())
def test_observers(shape: str, data: st.DataObject) -> None:
    """An observer looks on, whatever passes."""
    observer = SHAPES[shape].Observer(reply(shape))
    for one in data.draw(disturbed(shape)):
        observer.feed(one)
    assert observer.completed(True) in (True, False)
    assert observer.error is None or isinstance(observer.error, errors.GatewayError)
    observer = SHAPES[shape].Observer(reply(shape))
    observer.observe_whole(json.loads(json.dumps(data.draw(damaged(WHOLE[shape], 4)))))


@pytest.mark.parametrize("client", SHAPES)
@fuzz(80)
@given(events=answers(), data=st.data())
def test_any_answer(client: str, events: list[ev.Event], data: st.DataObject) -> None:
    """Any legal answer is a legal stream; broken off at any place it is the shape's failure."""
    check(client, [[event] for event in events])
    place = data.draw(st.integers(0, len(events) - 1))
    check(client, [[event] for event in events[:place]] + [[ev.Fault(errors.Truncated("It broke off."))]])


@pytest.mark.parametrize("shape", SHAPES)
@fuzz(60)
@given(status=st.integers(300, 599), body=st.one_of(JUNK.map(lambda value: json.dumps(value).encode()), st.binary(max_size=40)))
def test_error_answers(shape: str, status: int, body: bytes) -> None:
    error = SHAPES[shape].decode_error(status, body, "")
    for client in SHAPES:
        assert 400 <= error.http_status(client) < 600
        assert json.loads(error.body(client, "req_1"))["error"]["message"]
