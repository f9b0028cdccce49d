"""Answers of Converse and ConverseStream as hub events: literal frames, and recordings compared with what botocore reads in them."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.parsers import EventStreamJSONParser
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import errors, machine
from dragoman.codecs import events as ev
from dragoman.codecs.bedrock import EVENTS
from dragoman.codecs.converse.stream_in import StreamDecoder, decode_response, sealed, unsealed
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply, Unsaid
from dragoman.codecs.request import Request
from dragoman.codecs.usage import Usage

from ..gateway.aws import event as sent
from .fuzzing import damaged, fuzz

JSON = dict[str, Any]
CORPUS = Path(os.environ.get("DRAGOMAN_CORPUS", "/nowhere")) / "recordings"
STREAMS = [path for path in sorted(CORPUS.glob("*/stream/*/response.eventstream")) if b"messageStart" in path.read_bytes()]
BODIES = [path for path in sorted(CORPUS.glob("bedrock/json/*/response.json")) if "stopReason" in path.read_text()]
START: tuple[str, JSON] = ("messageStart", {"role": "assistant", "p": "abc"})
USAGE = {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}


def reply() -> Reply:
    return Reply(Request("chat", "m", {}))


def delta(index: int, **inner: Any) -> tuple[str, JSON]:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": inner}


def stop(index: int) -> tuple[str, JSON]:
    return "contentBlockStop", {"contentBlockIndex": index}


def call(index: int, id: str = "t1", name: str = "f", **more: Any) -> tuple[str, JSON]:
    return "contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": {"toolUseId": id, "name": name, **more}}}


def ends(reason: str = "end_turn", **more: Any) -> list[tuple[str, JSON]]:
    return [("messageStop", {"stopReason": reason, **more}), ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}})]


def decode(*frames: tuple[str, JSON], clean: bool = True, unsaid: Unsaid | None = None) -> list[ev.Event]:
    own = reply()
    if unsaid is not None:
        own.unsaid = unsaid
    decoder = StreamDecoder(own)
    events = [event for name, value in frames for event in decoder.feed((name.encode(), json.dumps(value).encode()))]
    events += decoder.finish(clean)
    machine.check(events)
    assert decoder.ended
    return events


def inside(*frames: tuple[str, JSON], reason: str = "end_turn") -> list[ev.Event]:
    events = decode(START, *frames, *ends(reason))
    assert events[0] == ev.Start("", "", 0)
    return events[1:-2]


def fault(*frames: tuple[str, JSON], clean: bool = True) -> errors.GatewayError:
    last = decode(*frames, clean=clean)[-1]
    assert isinstance(last, ev.Fault)
    return last.error


def test_text() -> None:
    assert inside(delta(0, text="H"), delta(0, text="i"), stop(0)) == [ev.TextStart(0), ev.Text(0, "H"), ev.Text(0, "i"), ev.PartStop(0)]


def test_an_empty_delta_opens_nothing() -> None:
    """gpt-oss: block 0 with "", then reasoning in block 1."""
    events = inside(delta(0, text=""), stop(0), delta(1, reasoningContent={"text": "r"}), stop(1), delta(2, text="a"), stop(2))
    assert events == [
        *(ev.ReasoningStart(0), ev.Reasoning(0, "r"), ev.PartStop(0)),
        *(ev.TextStart(1), ev.Text(1, "a"), ev.PartStop(1)),
    ]


def test_reasoning_with_its_seals() -> None:
    events = inside(
        delta(0, reasoningContent={"text": "r"}),
        delta(0, reasoningContent={"signature": "SIG"}),
        delta(1, reasoningContent={"redactedContent": "RXU4"}),
        delta(1, reasoningContent={"redactedContent": "RQ=="}),
        delta(2, reasoningContent={"signature": "only"}),
        delta(3, text="a"),
    )
    assert events == [
        *(ev.ReasoningStart(0), ev.Reasoning(0, "r"), ev.Seal(0, "anthropic", "SIG"), ev.PartStop(0)),
        *(ev.ReasoningStart(1), ev.Seal(1, "redacted", "Eu8E"), ev.PartStop(1)),
        *(ev.ReasoningStart(2), ev.Seal(2, "anthropic", "only"), ev.PartStop(2)),
        *(ev.TextStart(3), ev.Text(3, "a"), ev.PartStop(3)),
    ]


@pytest.mark.parametrize("blob", [b"RXU4", b"\x00\xff", b" a b "])
def test_redacted_reasoning_goes_back_byte_for_byte(blob: bytes) -> None:
    assert b64decode(unsealed(sealed(blob))) == blob


def test_calls_side_by_side() -> None:
    events = inside(
        *(call(0), call(3, "t2", "g"), delta(0, toolUse={"input": '{"a'}), delta(3, toolUse={"input": ""})),
        *(delta(0, toolUse={"input": '":1}'}), stop(0), stop(3)),
        reason="tool_use",
    )
    assert events == [
        *(ev.ToolStart(0, "t1", "f"), ev.ToolStart(1, "t2", "g"), ev.Arguments(0, '{"a'), ev.Arguments(0, '":1}')),
        *(ev.PartStop(0), ev.PartStop(1)),
    ]


def test_a_server_tool_is_reported() -> None:
    unsaid = Unsaid()
    events = decode(
        START, call(0, type="server_tool_use", name="nova_grounding"), delta(0, toolUse={"input": "{}"}), stop(0),
        ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolResult": {"toolUseId": "t", "type": "nova_grounding_result"}}}),
        delta(1, toolResult=[{"text": "x"}]), stop(1), delta(2, text="a"),
        delta(2, citation={"location": {"web": {"url": "https://h/x", "domain": "h"}}, "title": "T", "sourceContent": [{"text": "c"}]}),
        delta(2, citation={"location": {"documentChunk": {"documentIndex": 0}}}), stop(2), *ends(), unsaid=unsaid,
    )  # fmt: skip
    assert [event for event in events if isinstance(event, ev.Opaque)] == [
        ev.Opaque("content[0]:server_tool_use"),
        ev.Opaque("content[1]:toolResult"),
        ev.Opaque("content[2].citations:documentChunk", within=True),
    ]
    assert ev.Citation(0, "https://h/x", "T", cited_text="c") in events


@pytest.mark.parametrize(
    ("reason", "hub"),
    [
        ("end_turn", "end"), ("stop_sequence", "stop_sequence"), ("max_tokens", "length"), ("guardrail_intervened", "filter"),
        ("content_filtered", "filter"), ("model_context_window_exceeded", "context"), ("tool_use", "length"),
    ],
)  # fmt: skip
def test_c22_stop_reasons(reason: str, hub: str) -> None:
    last = decode(START, delta(0, text="a"), *ends(reason, additionalModelResponseFields={"stop_sequence": "END"}))[-1]
    assert isinstance(last, ev.Stop)
    assert last.reason == hub
    assert last.sequence == ("END" if hub == "stop_sequence" else None)


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use", "a_new_word", ""])
def test_c22_reasons_that_are_failures(reason: str) -> None:
    assert isinstance(fault(START, delta(0, text="a"), *ends(reason)), errors.Broken)


def test_the_end_comes_with_the_usage_or_the_end_of_the_stream() -> None:
    stopped, metadata = ends()
    assert decode(START, delta(0, text="a"), stopped, metadata)[-2:] == [ev.Metered(Usage(3, 5)), ev.Stop("end")]
    assert decode(START, delta(0, text="a"), stopped, clean=False)[-1] == ev.Stop("end")
    assert isinstance(fault(START, delta(0, text="a"), clean=True), errors.Truncated)


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        ((START, ("exception:throttlingException", {"message": "m"})), "rate_limit"),
        ((START, ("exception:modelStreamErrorException", {"message": "m", "originalStatusCode": 503})), "overloaded"),
        ((START, ("exception:validationException", {"message": "Input is too long for requested model."})), "context_too_long"),
        ((START, ("exception:InternalFailure", {"message": "m"})), "server"),
    ],
)
def test_c23_exceptions_in_a_stream(frames: tuple[tuple[str, JSON], ...], kind: str) -> None:
    assert fault(*frames).kind == kind


STREAM = [
    START,
    *(delta(0, reasoningContent={"text": "hm"}), delta(0, reasoningContent={"signature": "S"}), stop(0)),
    *(delta(1, text="H"), delta(1, text="i"), stop(1)),
    *(call(2), delta(2, toolUse={"input": '{"a":'}), delta(2, toolUse={"input": "1}"}), stop(2)),
    *ends("tool_use"),
]


@pytest.mark.parametrize("at", range(len(STREAM)))
def test_c23_an_exception_at_any_place_is_the_end(at: int) -> None:
    broken = [*STREAM[:at], ("exception:throttlingException", {"message": "m"}), *STREAM[at:]]
    assert [type(event) for event in decode(*broken) if isinstance(event, ev.Fault | ev.Stop)] == [ev.Fault]
    assert fault(*broken).kind == "rate_limit"


def test_c24_a_stream_that_is_cut_at_any_byte_or_damaged_is_not_complete() -> None:
    frames = [sent(name, value) for name, value in STREAM]
    data, proof = b"".join(frames), len(b"".join(frames[:-1]))  # behind messageStop
    for cut in range(len(data) + 1):
        assert _ending(data[:cut]) is (ev.Stop if cut >= proof else ev.Fault)
    for at in range(proof):
        assert _ending(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]) is ev.Fault


def _ending(data: bytes) -> type[ev.Event]:
    """What a stream that came in one read, and is over, ends with."""
    splitter, decoder = EVENTS.Splitter(1 << 20, Unsaid()), StreamDecoder(reply())
    try:
        frames = splitter.feed(data)
    except errors.Garbled:
        return ev.Fault
    found = [event for frame in frames for event in decoder.feed(frame)]
    return type([*found, *decoder.finish(True)][-1])


@pytest.mark.parametrize(
    "frames",
    [
        (START, delta(0, toolUse={"input": "{}"})),
        (START, call(0, name="")),
        (START, ("contentBlockDelta", {"delta": {"text": "a"}})),
        (START, delta(0, reasoningContent={"redactedContent": "?"})),
        (("messageStop", {"stopReason": "end_turn"}),),
        (START, ("messageStop", {})),
        *((START, call(0), call(1), *(call(n) for n in range(2, 300))),),
    ],
)
def test_what_makes_no_sense_is_a_fault(frames: tuple[tuple[str, JSON], ...]) -> None:
    assert isinstance(fault(*frames), errors.Garbled)


def test_usage_with_caches() -> None:
    """Recorded: 3 + 2074 + 297 + 61 = 2435, so what was cached is not within inputTokens."""
    usage = {
        "inputTokens": 3, "outputTokens": 61, "cacheReadInputTokens": 2074, "cacheWriteInputTokens": 297, "totalTokens": 2435,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 100}, {"ttl": "1h", "inputTokens": 197}], "serverToolUsage": {},
    }  # fmt: skip
    events = decode(START, delta(0, text="a"), ends()[0], ("metadata", {"usage": usage, "serviceTier": {"type": "flex"}}))
    assert events[-2] == ev.Metered(Usage(2374, 61, 2074, 297, 197, tier="flex"))


def test_unknown_events_are_reported() -> None:
    unsaid = Unsaid()
    decode(START, ("newEvent", {}), delta(0, text="a"), delta(0, image={"x": 1}), *ends(), unsaid=unsaid)
    assert unsaid.labels == ["event:newEvent", "content[0].delta:image"]


WHOLE: JSON = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "r", "signature": "s"}}},
                {"reasoningContent": {"redactedContent": "RXU4"}},
                {"text": ""},
                {"text": "a"},
                {"citationsContent": {"content": [{"text": "b"}], "citations": [{"location": {"web": {"url": "https://h"}}}]}},
                {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}},
                {"toolUse": {"toolUseId": "t2", "name": "g", "input": {}}},
                {"image": {}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": USAGE,
}


def test_a_complete_answer_has_the_same_events() -> None:
    events = decode_response(WHOLE, reply())
    machine.check(events)
    assert events == [
        ev.Start("", "", 0),
        *(ev.ReasoningStart(0), ev.Reasoning(0, "r"), ev.Seal(0, "anthropic", "s"), ev.PartStop(0)),
        *(ev.ReasoningStart(1), ev.Seal(1, "redacted", "Eu8"), ev.PartStop(1)),
        *(ev.TextStart(2), ev.Text(2, "a"), ev.PartStop(2)),
        *(ev.TextStart(3), ev.Text(3, "b"), ev.Citation(3, "https://h", ""), ev.PartStop(3)),
        *(ev.ToolStart(4, "t1", "f"), ev.Arguments(4, '{"a":1}'), ev.PartStop(4)),
        *(ev.ToolStart(5, "t2", "g"), ev.PartStop(5)),
        ev.Opaque("content[7]:image"),
        ev.Metered(Usage(3, 5)),
        ev.Stop("tool"),
    ]


@fuzz(300)
@given(data=st.data())
def test_damaged_answers_never_raise(data: st.DataObject) -> None:
    body = data.draw(damaged(WHOLE))
    if isinstance(body, dict):
        machine.check(decode_response(body, reply()))
    frames = [START, delta(0, text="a"), call(1), delta(1, toolUse={"input": "{}"}), delta(2, reasoningContent={"text": "r"}), *ends()]
    decoder, events = StreamDecoder(reply()), []
    for name, value in frames:
        events += decoder.feed((name.encode(), json.dumps(data.draw(damaged(value))).encode()))
    machine.check([*events, *decoder.finish(True)])


# ---- recordings (C19) ----


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.parent.name)
def test_c19_recorded_streams(path: Path) -> None:
    data = path.read_bytes()
    shape = botocore.session.Session().get_service_model("bedrock-runtime").operation_model("ConverseStream").get_event_stream_output()
    buffer, parser = EventStreamBuffer(), EventStreamJSONParser()
    buffer.add_data(data)
    theirs: dict[str, str] = {"text": "", "reasoning": "", "input": ""}
    usage: JSON = {}
    for event in buffer:
        parsed = parser.parse(event.to_response_dict(), shape)
        found = parsed.get("contentBlockDelta", {}).get("delta", {})
        theirs["text"] += found.get("text", "")
        theirs["reasoning"] += found.get("reasoningContent", {}).get("text", "")
        theirs["input"] += found.get("toolUse", {}).get("input", "")
        usage |= parsed.get("metadata", {}).get("usage", {})
    for size in (len(data), 7):
        splitter, decoder = EVENTS.Splitter(1 << 24, Unsaid()), StreamDecoder(reply())
        frames = [frame for at in range(0, len(data), size) for frame in splitter.feed(data[at : at + size])]
        events = [event for frame in frames for event in decoder.feed(frame)]
        events += decoder.finish(True)
        machine.check(events)
        assert isinstance(events[-1], ev.Stop)
        assert "".join(event.text for event in events if isinstance(event, ev.Text)) == theirs["text"]
        assert "".join(event.text for event in events if isinstance(event, ev.Reasoning)) == theirs["reasoning"]
        hosted = any(isinstance(event, ev.Opaque) for event in events)
        assert hosted or "".join(event.text for event in events if isinstance(event, ev.Arguments)) == theirs["input"]
        for caller in SHAPES:
            encoder = SHAPES[caller].Encoder(Reply(Request(caller, "m", {}, True)))
            assert encoder.feed(events)
            assert encoder.ended
        if usage:
            assert decoder.usage is not None
            assert decoder.usage.output == usage["outputTokens"]
            assert decoder.usage.all == usage["totalTokens"]


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.parent.name)
def test_c19_recorded_bodies(path: Path) -> None:
    body = json.loads(path.read_text())
    events = decode_response(body, reply())
    machine.check(events)
    assert isinstance(events[-1], ev.Stop), events[-1]
    texts = [block["text"] for block in body["output"]["message"]["content"] if "text" in block]
    found = "".join(event.text for event in events if isinstance(event, ev.Text))
    assert all(text in found for text in texts)
    calls = [block["toolUse"] for block in body["output"]["message"]["content"] if "toolUse" in block]
    assert [event.name for event in events if isinstance(event, ev.ToolStart)] == [one["name"] for one in calls]
    for caller in SHAPES:
        collector = SHAPES[caller].Collector(Reply(Request(caller, "m", {})))
        collector.feed(events)
        assert collector.error is None
        assert collector.body()
