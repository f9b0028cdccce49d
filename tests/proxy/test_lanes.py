"""Lanes: how the bytes of one shape are cut into events. What lanes do with whole answers is tested end to end."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import errors, sse
from dragoman.codecs.reply import MAX_ANSWER, Reply
from dragoman.codecs.request import Request
from dragoman.codecs.sse import is_whole
from dragoman.proxy.exchange.lanes import _EVENT, BytesLane, EventsLane, events_of

from ..gateway.spoken import CHAT, SPEECH


@pytest.mark.parametrize(
    ("whole", "events"),
    [
        (b"", []),
        (b"data: 1\n\n", [b"data: 1\n\n"]),
        (b"data: 1\n\nevent: a\ndata: 2\n\n", [b"data: 1\n\n", b"event: a\ndata: 2\n\n"]),
        (b"data: 1\r\n\r\ndata: 2\n\n", [b"data: 1\r\n\r\n", b"data: 2\n\n"]),
        (b"data: 1\n\n\ndata: 2\n\ndata", [b"data: 1\n\n", b"\ndata: 2\n\n", b"data"]),
    ],
)
def test_events(whole: bytes, events: list[bytes]) -> None:
    assert events_of(whole) == events


@given(st.text("ab\n").map(str.encode))
def test_both_ways_to_cut_agree(whole: bytes) -> None:
    assert events_of(whole) == _EVENT.findall(whole)


PING = b'event: ping\ndata: {"type": "ping"}\n\n'
START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[]}}\n\n'
)


@pytest.mark.parametrize(("caller", "waits"), [("chat", b": keep-alive\n\n"), ("responses", b": keep-alive\n\n")])
def test_a_ping_of_the_upstream_keeps_the_caller_waiting(caller: str, waits: bytes) -> None:
    lane = EventsLane(Reply(Request(caller, "m", {}, True)), "messages", caller, 1 << 20)
    assert lane.feed(PING) == waits
    assert lane.feed(START + PING)  # something comes: no keep-alive is needed beside it
    assert lane.feed(PING) == waits == lane.keep_alive()
    lane.break_off(errors.Truncated("gone"))
    assert lane.close()
    assert lane.keep_alive() == b""


def test_pings_toward_a_caller_whose_api_has_them() -> None:
    lane = EventsLane(Reply(Request("messages", "m", {}, True)), "chat", "messages", 1 << 20)
    assert lane.keep_alive() == b": keep-alive\n\n"
    lane.feed(b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n')
    assert lane.keep_alive() == PING


END = b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}\n\n'
LAST = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize(("came", "given"), [(END, LAST), (END + LAST, b""), (b"", None)])
def test_the_last_event_of_a_complete_answer_is_not_missed(came: bytes, given: bytes | None, clean: bool) -> None:
    """Anthropic's JavaScript SDK fails without it. What is not complete has no end but a failure."""
    lane = BytesLane(Reply(Request("messages", "m", {}, True)), "messages", 1 << 20)
    assert lane.feed(START + came) == START + came
    if not lane.ended:
        assert lane.finish(clean) == b""
    told = lane.close()
    assert told == given if given is not None else b'"type":"error"' in told and LAST not in told


DELTA = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
ASIDE = [
    b'error: {"code":500,"message":"failed to decode","type":"server_error"}\n\n',
    b'error: {"detail":"failed to decode","error":{"message":"failed to decode"}}\n\ndata: [DONE]\n\n',
    b'error: {"error":{"message":"failed to decode"}}',
]


@pytest.mark.parametrize("caller", ["chat", "messages", "responses", "gemini"])
@pytest.mark.parametrize("last", ASIDE)
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_an_error_where_no_client_reads_it(caller: str, last: bytes, size: int) -> None:
    """llama.cpp and GPUStack write a failure as a line `error: …`, which parsers of events skip."""
    reply = Reply(Request(caller, "m", {}, True))
    lane = BytesLane(reply, "chat", 1 << 20) if caller == "chat" else EventsLane(reply, "chat", caller, 1 << 20)
    stream = DELTA + last
    sent = b"".join(lane.feed(stream[at : at + size]) for at in range(0, len(stream), size) if not lane.ended)
    if not lane.ended:
        sent += lane.finish(True)
    sent += lane.close()
    assert b"Hi" in sent
    read = [json.loads(line[6:]) for line in sent.split(b"\n") if line.startswith(b"data: ") and line != b"data: [DONE]"]
    assert b"error: " not in sent
    assert "failed to decode" in json.dumps(read[-1])
    assert lane.error is not None


BEGUN = {
    "chat": DELTA,
    "messages": START
    + b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hi"}}\n\n',
    "responses": b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","output_index":0,"delta":"Hi"}\n\n',
    "gemini": b'data: {"candidates":[{"content":{"parts":[{"text":"Hi"}]}}]}\n\n',
}


@pytest.mark.parametrize("api", BEGUN)
@pytest.mark.parametrize("value", [b'{"code":500,"message":"Hi","type":"server_error"}', b"{}", b"{broken}", b'{"broken'])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_such_an_error_in_every_api(api: str, value: bytes, size: int) -> None:
    """Whatever its value is: the caller gets the events before it, one error in its API, and nothing behind that."""
    stream = BEGUN[api] + b"error: " + value + b"\n\n" + BEGUN[api]
    for lane in (
        BytesLane(Reply(Request(api, "m", {}, True)), api, 1 << 20),
        EventsLane(Reply(Request("chat", "m", {}, True)), api, "chat", 1 << 20),
    ):
        sent = b"".join(lane.feed(stream[at : at + size]) for at in range(0, len(stream), size) if not lane.ended)
        assert lane.ended
        assert lane.error is not None
        assert isinstance(lane.error, errors.Garbled) == (b"broken" in value)
        if isinstance(lane, BytesLane):
            assert sent == BEGUN[api]
            assert lane.untold
        assert lane.close().count(b"error") >= 1


def second(event: bytes) -> bytes:
    """The same of the next block."""
    return event.replace(b'"index":0', b'"index":1')


STREAMS = {name: b"".join(speech.stream) for name, speech in SPEECH.items()} | {
    "chat, with its usage": b"".join(CHAT.stream[:-1]) + b'data: {"choices":[],"usage":{"completion_tokens":2}}\n\n' + CHAT.ending[-1],
    "chat, and a call behind": b"".join(CHAT.stream[:-1])
    + b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f"}}]}}]}\n\n',
    "messages, a block that stays open": b"".join(SPEECH["messages"].stream).replace(SPEECH["messages"].ending[0], b""),
    "messages, a block that the next one ends": b"".join([*SPEECH["messages"].opening, *map(second, SPEECH["messages"].stream[1:])]),
    "gemini": BEGUN["gemini"] + BEGUN["gemini"].replace(b'"content"', b'"finishReason":"STOP","content"') + BEGUN["gemini"],
}


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("name", STREAMS)
def test_an_answer_that_ends_anywhere_is_complete_in_both_lanes_or_in_none(name: str, clean: bool) -> None:
    """In its last third. clean: HTTP's own end came."""
    api, stream = name.partition(",")[0], STREAMS[name]
    caller = "messages" if api == "chat" else "chat"
    complete = []
    for end in range(len(stream) * 2 // 3, len(stream) + 1):
        failed = []
        for lane in (
            BytesLane(Reply(Request(api, "m", {}, True)), api, 1 << 20),
            EventsLane(Reply(Request(caller, "m", {}, True)), api, caller, 1 << 20),
        ):
            lane.feed(stream[:end])
            if not lane.ended:
                lane.finish(clean)
            failed.append(type(lane.error))
        assert failed[0] == failed[1], stream[:end]
        complete += [stream[:end]] if failed[0] is type(None) else []
    if api == "chat":  # a finish reason proves something only where nothing has begun behind it
        assert all(is_whole(events_of(one)[-1].removeprefix(b"data:").strip()) for one in complete)


@pytest.mark.parametrize("alias", [None, "alias"])
@pytest.mark.parametrize("api", SPEECH)
def test_a_byte_order_mark_is_not_passed_on_wherever_the_network_cuts(api: str, alias: str | None) -> None:
    """In the caller's stream it may not stand first: then it would be part of a line, which is not read."""

    def carried(*reads: bytes) -> bytes:
        lane = BytesLane(Reply(Request(api, "m", {}, True), echo_model=alias), api, 1 << 20)
        return b"".join([*map(lane.feed, reads), lane.close()])

    stream = b"".join(SPEECH[api].stream)
    plain = carried(stream)
    assert plain
    for first, second in itertools.combinations_with_replacement(range(13), 2):
        marked = sse.BOM + stream
        assert carried(marked[:first], marked[first:second], marked[second:]) == plain
        assert carried(stream[:first], stream[first:second], stream[second:]) == plain


TELLING = b'data: {"error":{"message":"failed"}}\n\n'
SECOND = b'error: {"message":"failed"}\n\n'


@pytest.mark.parametrize(
    ("before", "untold"),
    [
        (DELTA + TELLING, False),  # it has been told already
        (DELTA + b"data: [DONE]\n\n", False),  # the answer is complete
        (b'data: {"choices":[{"index":0,"delta":{"content":"failed {}"}}]}\n\n', True),
        (DELTA + b': {"message":"failed"}\n\nerror: no\n\n' + DELTA, True),
        (DELTA.replace(b"\n", b"\r\n"), True),
        (b'data: {"choices":\ndata: [{"index":0,"delta":{"content":"Hi"}}]}\n\n', True),
    ],
)
@pytest.mark.parametrize("last", [SECOND, b"error: {}\n\n", b"data: failed\n\n", b'data: [\ndata: failed {"\n\n'])
def test_an_event_that_nobody_can_read_takes_nothing_else_with_it(before: bytes, last: bytes, untold: bool) -> None:
    """Its data stand in other events, too, and in one read with them."""
    for parts in ([before + last + DELTA], [before, last, DELTA]):
        lane = BytesLane(Reply(Request("chat", "m", {}, True)), "chat", 1 << 20)
        assert b"".join(lane.feed(part) for part in parts if not lane.ended) == before
        assert lane.untold == untold
        assert (b"error" in lane.close()) == untold


def delta(text: str) -> bytes:
    return b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text.encode()


@pytest.mark.parametrize("text", ["x", "x" * 300, "x" * 5000])
@pytest.mark.parametrize("caller", ["messages", "responses"])
def test_an_answer_that_does_not_end(caller: str, text: str) -> None:
    """What is kept of it stays near the limit, however small its pieces are; then it ends in the shape's own failure."""
    most = 1 << 20
    lane = EventsLane(Reply(Request(caller, "m", {}, True), max_answer=most), "chat", caller, 1 << 20)
    with pytest.raises(errors.Overlong) as caught:
        feed_on(lane, delta(text))
    assert most / 4 < lane.events * max(len(text), 64) < most * 3
    lane.break_off(caught.value)
    assert b"larger than this gateway can buffer" in lane.close()


def feed_on(lane: EventsLane, one: bytes) -> None:
    for _ in range(1 << 20):
        lane.feed(one)


def test_an_answer_of_ordinary_length_is_not_cut() -> None:
    """A hundred thousand tokens, framed as the vendors frame them, are far from the limit."""
    chunk = {"id": "chatcmpl-" + "c" * 29, "object": "chat.completion.chunk", "created": 1, "model": "m", "system_fingerprint": "f" * 90}
    choice = {"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}
    one = b"data: %b\n\n" % json.dumps(chunk | {"choices": [choice]}).encode()
    lane = EventsLane(Reply(Request("messages", "m", {}, True), max_answer=MAX_ANSWER // 4), "chat", "messages", 1 << 20)
    for _ in range(100):
        lane.feed(one * 1000)
    assert lane.events == 100_000
