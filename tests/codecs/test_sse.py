"""The splitter against literal streams, cut everywhere, and against a line parser that follows the standard by the letter."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dragoman.codecs import errors, sse
from dragoman.codecs.sse import ERROR_LINE, Frame, Splitter, is_stream

from ..counting import counted

BOM = b"\xef\xbb\xbf"

# the stream, its frames, whether it ends at an event boundary, whether something is left over
STREAMS: list[tuple[bytes, list[Frame], bool, bool]] = [
    (b"", [], True, False),
    (b"data: x\n\n", [(b"", b"x")], True, False),
    (b"data:x\n\n", [(b"", b"x")], True, False),
    (b"data:  x \n\n", [(b"", b" x ")], True, False),
    (b"event: e\ndata: x\n\n", [(b"e", b"x")], True, False),
    (b"data: x\nevent: e\n\n", [(b"e", b"x")], True, False),
    (b"event:e\ndata:x\n\n", [(b"e", b"x")], True, False),
    (b"event: e\nevent: f\ndata: x\n\n", [(b"f", b"x")], True, False),
    (b"event: e\nid: 7\ndata: x\nretry: 10\n\n", [(b"e", b"x")], True, False),
    (b"data: x\n\ndata: y\n\n", [(b"", b"x"), (b"", b"y")], True, False),
    (b"data: x\ndata: y\n\n", [(b"", b"x\ny")], True, False),
    (b"data: x\ndata\ndata:y\n\n", [(b"", b"x\n\ny")], True, False),
    (b"event: e\ndata: x\ndata: y\n\n", [(b"e", b"x\ny")], True, False),
    (b"event: e\n: c\ndata: y\n\n", [(b"e", b"y")], True, False),
    # any line end, and any mixture
    (b"data: x\r\n\r\n", [(b"", b"x")], True, False),
    (b"data: x\r\r", [(b"", b"x")], True, False),
    (b"data: x\n\r", [(b"", b"x")], True, False),
    (b"data: x\r\n\n", [(b"", b"x")], True, False),
    (b"data: x\n\r\n", [(b"", b"x")], True, False),
    (b"data: x\r\n\rdata: y\r\r\n", [(b"", b"x"), (b"", b"y")], True, False),
    (b"data: x\r\ndata: y\rdata: z\n\n", [(b"", b"x\ny\nz")], True, False),
    (b"event: e\r\ndata: x\r\n\r\n", [(b"e", b"x")], True, False),
    # more blank lines than needed
    (b"\n\n\n\r\n\rdata: x\n\n\n", [(b"", b"x")], True, False),
    (b"data: x\n\n\ndata: y\n\n\n\n", [(b"", b"x"), (b"", b"y")], True, False),
    (b"\ndata: x\n\n", [(b"", b"x")], True, False),
    # comments and fields that mean nothing
    (b": keep-alive\n\n", [], True, False),
    (b":\n\ndata: x\n\n", [(b"", b"x")], True, False),
    (b": c\ndata: x\n: d\n\n", [(b"", b"x")], True, False),
    (b"retry: 3000\n\n", [], True, False),
    (b"id: 1\n\n", [], True, False),
    (b"datax: 1\n\n Data: 2\n\nDATA: 3\n\n", [], True, False),
    # no data, or nothing in it
    (b"event: ping\n\n", [], True, False),
    (b"data\n\n", [], True, False),
    (b"data:\n\n", [], True, False),
    (b"data:  \t \n\n", [], True, False),
    (b"event: e\ndata: \n\n", [], True, False),
    (b"event: e\n\ndata: x\n\n", [(b"", b"x")], True, False),
    # a field that is none of the specification's
    (b'error: {"a":1}\n\n', [(ERROR_LINE, b'{"error":{"a":1}}')], True, False),
    (b'data: x\n\nerror:{"a":1}\n\ndata: y\n\n', [(b"", b"x"), (ERROR_LINE, b'{"error":{"a":1}}'), (b"", b"y")], True, False),
    (b'error: {"a":1}', [(ERROR_LINE, b'{"error":{"a":1}}')], False, False),
    (b'error: {"error":"a"}\n\n', [(ERROR_LINE, b'{"error":"a"}')], True, False),
    (b"error: {a}\n\n", [(ERROR_LINE, b"{a}")], True, False),
    (b"error: no\n\nerror\n\n", [], True, False),
    (b'event: error:\ndata: {"a":1}\n\n', [(b"error:", b'{"a":1}')], True, False),
    (b'data: x\nerror: {"a":1}\n\n', [(b"", b"x")], True, False),
    # the BOM is skipped where the stream begins, and only there
    (BOM + b"data: x\n\n", [(b"", b"x")], True, False),
    (BOM + BOM + b"data: x\n\ndata: y\n\n", [(b"", b"y")], True, False),
    (b"data: " + BOM + b"\n\n" + BOM + b"data: y\n\n", [(b"", BOM)], True, False),
    (BOM, [], True, False),
    (BOM[:2], [], False, True),
    (b"\xef\xbbdata: x\n\n", [], True, False),
    # what is a line end to others, bytes that are no UTF-8, NUL
    (
        "data: a\u2028b\u2029c\u0085d\x0b\x0c\x1c\n\n".encode(),
        [(b"", "a\u2028b\u2029c\u0085d\x0b\x0c\x1c".encode())],
        True,
        False,
    ),
    (b"data: \xff\xfe\x00\n\n", [(b"", b"\xff\xfe\x00")], True, False),
    (b"event: \xc3\ndata: \xa9\n\n", [(b"\xc3", b"\xa9")], True, False),
    # the stream ends before the blank line
    (b'data: {"a":1}', [(b"", b'{"a":1}')], False, False),
    (b'data: {"a":1}\n', [(b"", b'{"a":1}')], False, False),
    (b'data: {"a":1}\r', [(b"", b'{"a":1}')], False, False),
    (b'data: {"a":\ndata: 1}', [(b"", b'{"a":\n1}')], False, False),
    (b'event: e\ndata: {"a":1}\nid', [(b"e", b'{"a":1}')], False, False),
    (b'data: {"a":"\\ud83d"}', [(b"", b'{"a":"\\ud83d"}')], False, False),
    (b"data: x\n\ndata: [DONE]", [(b"", b"x"), (b"", b"[DONE]")], False, False),
    (b"data: [DONE] \r\n", [(b"", b"[DONE] ")], False, False),
    (b'data: {"a":', [], False, True),
    (b"data: [DON", [], False, True),
    (b"data: ", [], False, True),
    (b"da", [], False, True),
    (b"event: message_stop\n", [], False, True),
    (b"data: x\n\n: keep-al", [(b"", b"x")], False, False),
    (b": c\n", [], False, False),
]


def cuts(stream: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, with empty reads, and cut in two at every byte."""
    yield [stream]
    yield [stream[i : i + 1] for i in range(len(stream))]
    yield [read for i in range(len(stream)) for read in (b"", stream[i : i + 1], b"")]
    for i in range(1, len(stream)):
        yield [stream[:i], stream[i:]]


def run(splitter: Splitter, reads: Iterable[bytes]) -> list[Frame]:
    frames = [frame for read in reads for frame in splitter.feed(read)]
    return frames + splitter.finish()


def lines_of(stream: bytes) -> list[bytes]:
    return re.split(rb"\r\n|\r|\n", stream.removeprefix(BOM))


def event_of(lines: list[bytes]) -> Frame:
    kind, data = b"", []
    for line in lines:
        name, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value
    return kind, b"\n".join(data)


def is_whole(data: bytes) -> bool:
    try:
        return data.strip() == b"[DONE]" or json.loads(data.decode("utf-8", "replace").removeprefix("\ufeff")) is not Ellipsis
    except ValueError:
        return False


def frame_of(lines: list[bytes]) -> Frame:
    """The frame of an event's lines, or of JSON in its place, or of the error in a field of that name."""
    text = b"\n".join(lines)
    if text[:1] in (b"{", b"[") and is_whole(text):
        return b"", text
    fields = [line.partition(b":") for line in lines]
    last = next((value.strip() for name, _, value in reversed(fields) if name == b"error"), b"")
    aside = last[:1] == b"{" and all(name != b"data" for name, _, _ in fields)
    return (ERROR_LINE, as_error(last)) if aside else event_of(lines)


def as_error(text: bytes) -> bytes:
    if not is_whole(text):
        return text
    value = json.loads(text.decode("utf-8", "replace"))
    if value.get("error") and isinstance(value["error"], dict | str):
        return text
    return b'{"error":' + (text if value else b'{"message":""}') + b"}"


def by_the_letter(stream: bytes) -> tuple[list[Frame], bool]:
    """The frames as the standard has them, and whether something is left over.

    With our four deviations: events without data are left out, a whole event at the end of the stream is kept, and JSON that stands in
    the place of an event is one, as is an object in a field `error` without any data.
    """
    frames: list[Frame] = []
    event: list[bytes] = []
    *lines, rest = lines_of(stream)
    for line in lines:
        if line:
            event.append(line)
            continue
        if frame_of(event)[1].strip():
            frames.append(frame_of(event))
        event = []
    pending = [line for line in [*event, rest] if line]
    if is_whole(frame_of(pending)[1]):
        return [*frames, frame_of(pending)], False
    return frames, any(line[:1] != b":" for line in pending)


@pytest.mark.parametrize(("stream", "frames", "boundary", "leftover"), STREAMS)
def test_frames_of_a_stream_wherever_it_is_cut(stream: bytes, frames: list[Frame], boundary: bool, leftover: bool) -> None:
    for reads in cuts(stream):
        splitter = Splitter()
        assert run(splitter, reads) == frames, reads
        assert (splitter.boundary, splitter.leftover) == (boundary, leftover), reads


@pytest.mark.parametrize(("stream", "frames", "boundary", "leftover"), STREAMS)
def test_the_table_agrees_with_the_standard(stream: bytes, frames: list[Frame], boundary: bool, leftover: bool) -> None:
    assert by_the_letter(stream) == (frames, leftover)


def test_an_event_is_dispatched_by_the_first_byte_of_its_blank_line() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: x\r\n\r") == [(b"", b"x")]
    assert splitter.boundary
    assert splitter.feed(b"\ndata: y\r\n") == []
    assert splitter.feed(b"\n") == [(b"", b"y")]


@pytest.mark.parametrize("event", [b"data: {}\n\n", b"event: e\ndata: {}\n\n", b"data: {}\r\n\r\n"])
def test_many_events_of_a_read_take_no_call_each(event: bytes) -> None:
    """Wherever in an event the read begins and ends."""
    frame = (b"e" if b"event" in event else b"", b"{}")
    for cut in range(len(event)):
        splitter = Splitter()
        before = splitter.feed(event + event[:cut])
        frames, calls = counted(lambda: splitter.feed(event[cut:] + event * 999 + event[:cut]))  # noqa: B023
        assert before + frames + splitter.feed(event[cut:]) == [frame] * 1002
        assert calls < 50


def test_pending_bytes_are_counted() -> None:
    splitter = Splitter()
    for read, pending in [(b"\xef\xbb", 2), (b"\xbfdata", 4), (b": x\n", 8), (b"\n", 0), (b"d" * 20_000, 20_000)]:
        splitter.feed(read)
        assert splitter.bytes_pending == pending


PIECES = [
    b"data: ",
    b"data:",
    b"data",
    b"event: ",
    b"event:",
    b"id: 1",
    b"retry",
    b":",
    b" ",
    b"\n",
    b"\n\n",
    b"\r",
    b"\r\n",
    b"x",
]
PIECES += [b'error: {"a":1}', b'{"a":1}', b'{"a":', b"[DONE]", BOM, b"\xef", b"\xbb\xbf", "\u2028".encode(), b"\xc2\x85", b"\x00", b"1"]
PIECES += [b"data: x\n\n", b"event: e\ndata: y\n\n", b": c\n"]
streams = st.lists(st.sampled_from(PIECES), max_size=24).map(b"".join)


def sliced(stream: bytes, places: Iterable[int]) -> list[bytes]:
    edges = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@given(streams, st.lists(st.integers(0, 400), max_size=8))
@example(b"data: x\r\n\r\ndata: y\r\n\r\n", [8, 10])
@example(b'\n{"a":1}\n', [])
def test_any_stream_in_any_cut_is_as_the_standard_says(stream: bytes, places: list[int]) -> None:
    splitter = Splitter()
    frames, leftover = by_the_letter(stream)
    assert run(splitter, sliced(stream, places)) == frames
    assert splitter.leftover == leftover


def longest_event(stream: bytes) -> int:
    """With its lines' ends as one byte each, and the blank lines before it that are left when they are taken in pairs."""
    blocks = b"\n".join(lines_of(stream)).split(b"\n\n")
    return max([*(len(block) + 1 for block in blocks[:-1]), len(blocks[-1])])


@given(streams, st.lists(st.integers(0, 400), max_size=8))
@example(b"data: " + BOM + b'{"a":1}', [])
def test_the_limit_is_exact_in_any_cut(stream: bytes, places: list[int]) -> None:
    longest = longest_event(stream)
    frames, _ = by_the_letter(stream)
    assert run(Splitter(longest), sliced(stream, places)) == frames
    if longest > 3:  # as long as the first bytes may be a BOM they are not looked at
        with pytest.raises(errors.Garbled):
            run(Splitter(longest - 1), sliced(stream, places))


@given(streams, st.lists(st.integers(0, 400), max_size=8))
def test_an_error_can_be_appended_at_any_place(stream: bytes, places: list[int]) -> None:
    """At a boundary as it is, elsewhere after two line ends: the next event is then seen alone."""
    splitter = Splitter()
    for read in sliced(stream, places):
        splitter.feed(read)
    gap = b"" if splitter.boundary else b"\n\n"
    frames, _ = by_the_letter(stream + gap + b"event: error\ndata: 1\n\n")
    assert frames[-1] == (b"error", b"1")


@pytest.mark.parametrize("size", [1, 7, 4096, 65536])
def test_long_events_are_whole(size: int) -> None:
    data = b'{"image":"%b"}' % (b"0123456789abcdef" * (40 if size == 1 else 5000))
    stream = b"event: image\r\ndata: " + data + b"\r\n\r\ndata: after\n\n"
    splitter = Splitter()
    reads = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert run(splitter, reads) == [(b"image", data), (b"", b"after")]
    assert splitter.bytes_pending == 0


def test_an_endless_event_is_refused_and_forgotten() -> None:
    splitter = Splitter(limit=100_000)
    read = b"data: " + b"x" * 994
    for _ in range(100):
        assert splitter.feed(read) == []
    with pytest.raises(errors.Garbled) as refusal:
        splitter.feed(b"x")
    assert refusal.value.code == "upstream_protocol_error"
    assert splitter.bytes_pending == 0


def test_endless_blank_lines_and_comments_take_no_memory() -> None:
    splitter = Splitter(limit=1000)
    for read in [b"\n", b"\r\n", b"\n\n\n", b": keep-alive\n\n", b"\r"] * 500:
        assert splitter.feed(read) == []
        assert splitter.bytes_pending <= 16


# ---- frames out ----


@pytest.mark.parametrize(
    ("body", "stream"),
    [
        (b"data: 1\n\n", True),
        (BOM + b"\r\n\r\ndata: 1\n\n", True),
        (b"event: a", True),
        (b": hello", True),
        (b'\n  {"a":1}', False),
        (b"date: 1", False),
        (b"<html>", False),
    ],
)
def test_a_body_is_known_by_its_first_bytes(body: bytes, stream: bool) -> None:
    verdicts = [is_stream(body[:end]) for end in range(len(body) + 1)]
    known = verdicts.index(stream)
    assert verdicts == [None] * known + [stream] * (len(verdicts) - known)


def test_frames_are_one_line_of_data() -> None:
    assert sse.data_frame(b'{"a":1}') == b'data: {"a":1}\n\n'
    assert sse.event_frame("ping", b"{}") == sse.event_frame(b"ping", b"{}") == b"event: ping\ndata: {}\n\n"
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    assert run(Splitter(), [sse.KEEP_ALIVE, ping, sse.DONE]) == [
        (b"ping", b'{"type": "ping"}'),
        (b"", b"[DONE]"),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": "b", "c": [1, 2.5, None, True]}, b'{"a":"b","c":[1,2.5,null,true]}'),
        ("é–😀", '"é–😀"'.encode()),
        ("a\u0085b\u2028c\u2029d", rb'"a\u0085b\u2028c\u2029d"'),
        ("\\\u2028\\u2028", rb'"\\\u2028\\u2028"'),
        ({"\u2028": "\u2027\u202a\u0084\u0086"}, '{"\\u2028":"\u2027\u202a\u0084\u0086"}'.encode()),
        ("\ud83d", rb'"\ud83d"'),
        (["x\ude00\u2028é"], '["x\\ude00\\u2028é"]'.encode()),
        ({"\udfff": 1}, rb'{"\udfff":1}'),
    ],
)
def test_json_for_a_frame(value: Any, text: bytes) -> None:
    assert sse.safe_json(value) == text


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=12,
)


@given(anything)
def test_json_for_a_frame_means_the_value_and_is_one_line(value: Any) -> None:
    text = sse.safe_json(value)
    assert json.loads(text) == value
    assert len(text.decode().splitlines()) == 1


def test_usual_json_is_written_as_orjson_writes_it() -> None:
    value = {"type": "x", "delta": {"text": "Grüße, 世界"}}
    assert sse.safe_json(value) == orjson.dumps(value)
