"""A messages upstream's answers as hub events: literal frames, whole bodies, and whatever else a server may send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import chat, errors, machine, messages, sse
from dragoman.codecs import events as ev
from dragoman.codecs.tools import ToolMap
from dragoman.codecs.usage import Usage

from .chatting import known_tools, reply

START = {"type": "message_start", "message": {"id": "msg_1", "model": "claude-x", "content": [], "usage": {"input_tokens": 3}}}
STOP = {"type": "message_stop"}
DONE = [ev.Start("msg_1", "claude-x", 0)]


def frame(value: Any) -> sse.Frame:
    name = value.get("type", "") if isinstance(value, dict) else ""
    return (str(name).encode(), json.dumps(value).encode())


def decode(*values: Any, clean: bool = True, tools: ToolMap | None = None) -> list[ev.Event]:
    decoder = messages.StreamDecoder(reply(tools))
    events: list[ev.Event] = []
    for value in values:
        events += decoder.feed(frame(value))
    events += decoder.finish(clean)
    assert decoder.ended
    assert decoder.feed(frame(START)) == []
    assert decoder.finish(True) == []
    machine.check(events)
    return events


def start(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def text(index: int, words: str) -> dict[str, Any]:
    return delta(index, "text_delta", text=words)


def arguments(index: int, words: str) -> dict[str, Any]:
    return delta(index, "input_json_delta", partial_json=words)


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ending(reason: Any = "end_turn", usage: Any = None, **fields: Any) -> list[dict[str, Any]]:
    return [{"type": "message_delta", "delta": {"stop_reason": reason, **fields}, "usage": usage}, STOP]


def last(events: list[ev.Event]) -> ev.Event:
    return events[-1]


def fault(events: list[ev.Event]) -> errors.GatewayError:
    end = last(events)
    assert isinstance(end, ev.Fault)
    return end.error


# ---- the reference's own stream ----


def test_a_stream_of_everything() -> None:
    events = decode(
        START,
        {"type": "ping"},
        start(0, "thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="pl"),
        delta(0, "thinking_delta", thinking="an"),
        delta(0, "signature_delta", signature="SIG"),
        stop(0),
        start(1, "redacted_thinking", data="RED"),
        stop(1),
        start(2, "text", text=""),
        text(2, "Hi "),
        text(2, "😀"),
        stop(2),
        start(3, "tool_use", id="toolu_1", name="f", input={}),
        arguments(3, ""),
        arguments(3, '{"a":'),
        arguments(3, "1}"),
        stop(3),
        start(4, "tool_use", id="toolu_2", name="g", input={}),
        stop(4),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {
                "input_tokens": 30,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 100,
                "output_tokens": 50,
                "output_tokens_details": {"thinking_tokens": 20},
            },
        },
        STOP,
    )
    assert events == [
        ev.Start("msg_1", "claude-x", 0),
        ev.Ping(),
        ev.ReasoningStart(0),
        ev.Reasoning(0, "pl"),
        ev.Reasoning(0, "an"),
        ev.Seal(0, "anthropic", "SIG"),
        ev.PartStop(0),
        ev.ReasoningStart(1),
        ev.Seal(1, "redacted", "RED"),
        ev.PartStop(1),
        ev.TextStart(2),
        ev.Text(2, "Hi "),
        ev.Text(2, "😀"),
        ev.PartStop(2),
        ev.ToolStart(3, "toolu_1", "f"),
        ev.Arguments(3, '{"a":'),
        ev.Arguments(3, "1}"),
        ev.PartStop(3),
        ev.ToolStart(4, "toolu_2", "g"),
        ev.PartStop(4),
        ev.Metered(Usage(input=1130, output=50, cache_read=1000, cache_write=100, reasoning=20)),
        ev.Stop("tool"),
    ]


WHOLE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "model": "claude-x",
    "content": [
        {"type": "thinking", "thinking": "plan", "signature": "SIG"},
        {"type": "text", "text": "Hi", "citations": None},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1, "é"]}},
        {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 2, "service_tier": "priority"},
}


def test_a_whole_answer_is_the_same_events() -> None:
    events = messages.decode_response(WHOLE, reply())
    machine.check(events)
    assert events == [
        ev.Start("msg_1", "claude-x", 0),
        ev.ReasoningStart(0),
        ev.Reasoning(0, "plan"),
        ev.Seal(0, "anthropic", "SIG"),
        ev.PartStop(0),
        ev.TextStart(1),
        ev.Text(1, "Hi"),
        ev.PartStop(1),
        ev.Opaque("content[2]:server_tool_use"),
        ev.ToolStart(2, "toolu_1", "f"),
        ev.Arguments(2, '{"a":[1,"é"]}'),
        ev.PartStop(2),
        ev.ToolStart(3, "toolu_2", "g"),
        ev.PartStop(3),
        ev.Metered(Usage(input=1, output=2, cache_read=0, cache_write=0, reasoning=0, tier="priority")),
        ev.Stop("tool"),
    ]


# ---- how it ends ----


@pytest.mark.parametrize(
    ("reason", "fields", "wanted"),
    [
        ("end_turn", {}, ev.Stop("end")),
        ("max_tokens", {}, ev.Stop("length")),
        ("stop_sequence", {"stop_sequence": "END"}, ev.Stop("stop_sequence", "END")),
        ("stop_sequence", {"stop_sequence": 7}, ev.Stop("stop_sequence")),
        ("end_turn", {"stop_sequence": "END"}, ev.Stop("end")),
        ("tool_use", {}, ev.Stop("end")),  # there is no call
        ("refusal", {}, ev.Stop("refusal")),
        ("refusal", {"stop_details": {"type": "refusal", "explanation": "no"}}, ev.Stop("refusal", None, "no")),
        ("refusal", {"stop_details": {"type": "refusal", "explanation": None}}, ev.Stop("refusal")),
        ("model_context_window_exceeded", {}, ev.Stop("context")),
        ("compaction", {}, ev.Stop("end")),
        ("of_tomorrow", {}, ev.Stop("length")),
        (["odd"], {}, ev.Stop("length")),
    ],
)
def test_stop_reasons(reason: Any, fields: dict[str, Any], wanted: ev.Stop) -> None:
    assert last(decode(START, *ending(reason, **fields))) == wanted
    body = {"id": "m", "content": [], "stop_reason": reason, **fields}
    assert last(messages.decode_response(body, reply())) == wanted


def test_a_call_corrects_the_stop_reason_but_not_a_limit() -> None:
    call = [START, start(0, "tool_use", id="t", name="f"), stop(0)]
    assert last(decode(*call, *ending("end_turn"))) == ev.Stop("tool")
    assert last(decode(*call, *ending("max_tokens"))) == ev.Stop("length")


def test_usage_is_merged_not_added() -> None:
    late = {"input_tokens": None, "output_tokens": 9, "cache_read_input_tokens": 4}
    events = decode(START, *ending(usage=late))
    assert ev.Metered(Usage(input=7, output=9, cache_read=4, cache_write=0, reasoning=0)) in events


def test_no_usage_is_no_zero() -> None:
    events = decode({"type": "message_start", "message": {"id": "a", "model": "b"}}, *ending())
    assert events == [ev.Start("a", "b", 0), ev.Stop("end")]


@pytest.mark.parametrize("clean", [True, False])
def test_without_proof_the_end_is_a_fault(clean: bool) -> None:
    for values in (
        [],
        [START],
        [START, start(0, "text", text=""), text(0, "x")],
        [START, start(0, "text"), text(0, "x"), stop(0)],
    ):
        assert isinstance(fault(decode(*values, clean=clean)), errors.Truncated)


def test_a_stop_reason_proves_the_end() -> None:
    values = [START, start(0, "text", text="x"), stop(0), ending()[0]]
    assert last(decode(*values)) == ev.Stop("end")


def test_a_message_without_a_stop_reason_is_no_success() -> None:
    assert isinstance(fault(decode(START, *ending(None))), errors.Garbled)
    assert isinstance(fault(messages.decode_response({"content": []}, reply())), errors.Garbled)


@pytest.mark.parametrize(
    "value",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        {"error": {"type": "overloaded_error", "message": "Overloaded"}},
    ],
)
def test_the_providers_own_error(value: dict[str, Any]) -> None:
    error = fault(decode(START, start(0, "text"), text(0, "x"), value))
    assert isinstance(error, errors.Answered)
    assert (error.kind, error.message) == ("overloaded", "Overloaded")
    assert messages.decode_response(value, reply())[0].error.kind == "overloaded"  # type: ignore[union-attr]


# ---- tools ----


def test_free_text_comes_out_of_its_function() -> None:
    first = '{"input":"*** Begin\\n\\"q\\" \\ud83d'
    events = decode(
        START, start(0, "tool_use", id="t", name="apply_patch", input={}), arguments(0, first), arguments(0, '\\ude00"}'),
        stop(0), *ending("tool_use"), tools=known_tools(),
    )  # fmt: skip
    assert events[1] == ev.ToolStart(0, "t", "apply_patch", "custom")
    assert "".join(e.text for e in events if isinstance(e, ev.Arguments)) == '*** Begin\n"q" 😀'


def test_free_text_of_a_whole_answer() -> None:
    call = {"type": "tool_use", "id": "t", "name": "apply_patch", "input": {"input": "x\n"}}
    events = messages.decode_response({"content": [call], "stop_reason": "tool_use"}, reply(known_tools()))
    assert events[1:4] == [ev.ToolStart(0, "t", "apply_patch", "custom"), ev.Arguments(0, "x\n"), ev.PartStop(0)]


def test_names_are_the_clients_again() -> None:
    tools = known_tools()
    wire = tools.wire("a.b")
    events = decode(START, start(0, "tool_use", id="t", name=wire), stop(0), start(1, "tool_use", id="u", name="ns__go"),
                    stop(1), *ending(), tools=tools)  # fmt: skip
    assert events[1] == ev.ToolStart(0, "t", "a.b")
    assert events[3] == ev.ToolStart(1, "u", "go", "function", "ns")


def test_input_that_comes_with_the_start_counts_when_no_delta_does() -> None:
    both = [START, start(0, "tool_use", id="t", name="f", input={"a": 1}), arguments(0, '{"a":1}'), stop(0), *ending()]
    alone = [START, start(0, "tool_use", id="t", name="f", input={"a": 1}), stop(0), *ending()]
    for values in (both, alone):
        assert [e.text for e in decode(*values) if isinstance(e, ev.Arguments)] == ['{"a":1}']


def test_a_call_without_a_name_is_garbled() -> None:
    assert isinstance(fault(decode(START, start(0, "tool_use", id="t"))), errors.Garbled)
    body = {"content": [{"type": "tool_use"}, {"type": "text", "text": "x"}], "stop_reason": "end_turn"}
    events = messages.decode_response(body, reply())
    machine.check(events)
    assert isinstance(fault(events), errors.Garbled)


# ---- citations, blocks of other kinds ----


def test_citations() -> None:
    web = {"type": "web_search_result_location", "url": "https://a", "title": "A", "cited_text": "c", "encrypted_index": "E"}
    own = {"type": "search_result_location", "source": "http://b", "title": None, "cited_text": "d"}
    page = {"type": "page_location", "document_index": 0}
    local = {"type": "search_result_location", "source": "kb/7", "title": "t"}
    events = decode(
        START, start(0, "text", text="", citations=[web]), delta(0, "citations_delta", citation=own),
        delta(0, "citations_delta", citation=page), delta(0, "citations_delta", citation=local), text(0, "x"),
        delta(0, "citations_delta"), stop(0), *ending(),
    )  # fmt: skip
    assert events[2:7] == [
        ev.Citation(0, "https://a", "A", cited_text="c"),
        ev.Citation(0, "http://b", "", cited_text="d"),
        ev.Opaque("content[0].citations:page_location", within=True),
        ev.Opaque("content[0].citations:search_result_location", within=True),
        ev.Text(0, "x"),
    ]


def test_citations_that_are_not_carried_do_not_part_a_text() -> None:
    own = reply()
    decoder, encoder = messages.StreamDecoder(own), chat.StreamEncoder(own)
    page = {"type": "page_location", "document_index": 0}
    values = [START, start(0, "text", text="a "), delta(0, "citations_delta", citation=page), stop(0), start(1, "text", text="b"), stop(1)]
    frames = [data for value in (*values, *ending()) for _, data in encoder.feed(decoder.feed(frame(value)))]
    assert (b'"content":"b"' in b"".join(frames), own.unsaid.labels) == (True, ["content[0].citations:page_location"])


def test_what_only_this_shape_has_is_one_opaque_each() -> None:
    events = decode(
        START, start(0, "server_tool_use", id="s", name="web_search", input={}), arguments(0, '{"query":"x"}'), stop(0),
        start(1, "web_search_tool_result", content=[]), stop(1), start(2, "text", text="a"), stop(2), *ending(),
    )  # fmt: skip
    assert events[1:4] == [
        ev.Opaque("content[0]:server_tool_use"),
        ev.Opaque("content[1]:web_search_tool_result"),
        ev.TextStart(0),
    ]


# ---- oddities ----


def test_what_other_servers_leave_out_or_add() -> None:
    words = [ev.TextStart(0), ev.Text(0, "a"), ev.PartStop(0), ev.TextStart(1), ev.Text(1, "b"), ev.PartStop(1)]
    block = [start(0, "text"), text(0, "a")]
    odd = [{"type": "of_tomorrow"}, delta(0, "of_tomorrow_delta"), text(0, "")]
    # no message_start; blocks that are not stopped; one index for all; what is not known yet
    for values in (
        [*block, stop(0), start(1, "text"), text(1, "b"), stop(1)],
        [START, *block, start(1, "text"), text(1, "b")],
        [START, *block, start(0, "text"), text(0, "b")],
        [START, START, *block, *odd, start(1, "text"), text(1, "b")],
    ):
        events = decode(*values, *ending())
        assert [e for e in events if not isinstance(e, ev.Start | ev.Stop | ev.Metered)] == words


def test_done_and_blank_frames_of_compatible_servers() -> None:
    decoder = messages.StreamDecoder(reply())
    decoder.feed(frame(START))
    assert decoder.feed((b"", b"[DONE]")) == []
    assert decoder.feed((b"", b" [DONE] ")) == []
    assert isinstance(decoder.feed((b"", b"{"))[0], ev.Fault)


def test_the_event_field_names_what_the_json_does_not() -> None:
    decoder = messages.StreamDecoder(reply())
    assert decoder.feed((b"ping", b"{}")) == [ev.Ping()]
    assert decoder.feed((b"message_stop", b'{"type":"ping"}')) == [ev.Ping()]


def test_tools_may_be_open_together() -> None:
    events = decode(
        START, start(0, "tool_use", id="a", name="f"), start(1, "tool_use", id="b", name="g"), arguments(0, '{"x":'),
        arguments(1, "{}"), arguments(0, "1}"), stop(1), stop(0), *ending(),
    )  # fmt: skip
    assert [e.text for e in events if isinstance(e, ev.Arguments) and e.part == 0] == ['{"x":', "1}"]


def test_a_delta_without_a_block_is_garbled() -> None:
    for values in ([text(0, "x")], [start(0, "text"), stop(0), text(0, "x")], [start(0, "text"), text(1, "x")]):
        assert isinstance(fault(decode(START, *values)), errors.Garbled)


def test_blocks_cannot_be_opened_without_end() -> None:
    many = [start(i, "tool_use", id=f"t{i}", name="f") for i in range(1000)]
    assert isinstance(fault(decode(START, *many)), errors.Garbled)


def test_an_emoji_cut_in_two() -> None:
    raw = [
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\\ud83d"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ude00b"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"c\\ud83d"}}',
    ]
    decoder = messages.StreamDecoder(reply())
    events = decoder.feed(frame(START)) + decoder.feed(frame(start(0, "text")))
    for data in raw:
        events += decoder.feed((b"content_block_delta", data))
    events += decoder.feed(frame(stop(0)))
    assert events[2:] == [ev.Text(0, "a"), ev.Text(0, "😀b"), ev.Text(0, "c"), ev.Text(0, "\ufffd"), ev.PartStop(0)]


_SCALARS = st.none() | st.booleans() | st.integers(-2, 3) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3)
_KEYS = st.sampled_from(["type", "text", "id", "name"])
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)
_TYPES = ["text", "thinking", "tool_use", "text_delta", "input_json_delta", "signature_delta", "citations_delta"]
_MEMBERS = ("text", "thinking", "name", "input", "partial_json", "citation", "stop_reason", "content")
_OBJECTS = st.fixed_dictionaries({"type": st.sampled_from(_TYPES)}, optional=dict.fromkeys(_MEMBERS, _JSON))
_VALUES = st.dictionaries(st.sampled_from(["index", "delta", "content_block", "message", "usage", "error"]), _JSON | _OBJECTS, max_size=4)
_KINDS = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop", "x"]
)


@given(st.lists(st.tuples(_KINDS, _VALUES), max_size=12), st.booleans())
def test_no_json_breaks_the_order_of_events(frames: list[tuple[str, dict[str, Any]]], clean: bool) -> None:
    decode(*({"type": kind, **value} for kind, value in frames), clean=clean)


@given(_VALUES | _JSON.filter(lambda value: isinstance(value, dict)))
def test_no_body_breaks_the_order_of_events(body: dict[str, Any]) -> None:
    machine.check(messages.decode_response(body, reply()))


@given(st.binary(max_size=20))
def test_no_bytes_raise(data: bytes) -> None:
    decoder = messages.StreamDecoder(reply())
    machine.check(decoder.feed((b"", data)), whole=False)
    messages.Observer(reply()).feed((b"", data))


# ---- the observer ----


def test_observer_sees_what_the_decoder_sees() -> None:
    observer = messages.Observer(reply())
    feed = [frame(value) for value in (START, {"type": "ping"}, start(0, "text", text=""), text(0, ""))]
    for each in feed:
        observer.feed(each)
    assert not observer.content
    observer.feed(frame(text(0, "x")))
    assert observer.content
    assert not observer.proof
    assert not observer.completed(True)
    for value in (text(0, "y"), stop(0), *ending("max_tokens", {"output_tokens": 5})):
        observer.feed(frame(value))
    assert observer.proof
    assert (observer.stop, observer.error) == ("length", None)
    assert observer.usage == Usage(input=3, output=5, cache_read=0, cache_write=0, reasoning=0)


@pytest.mark.parametrize(
    "value",
    [
        text(0, "x"),
        delta(0, "thinking_delta", thinking="x"),
        arguments(0, "{"),
        start(0, "tool_use", id="t", name="f", input={}),
        start(0, "redacted_thinking", data="x"),
        start(0, "text", text="x"),
    ],
)
def test_observer_content(value: dict[str, Any]) -> None:
    observer = messages.Observer(reply())
    observer.feed(frame(value))
    assert observer.content


def test_observer_of_a_stop_reason_without_message_stop() -> None:
    observer = messages.Observer(reply())
    observer.feed(frame(start(0, "tool_use", id="t", name="f", input={})))
    observer.feed(frame(ending("end_turn")[0]))
    assert not observer.completed(False)  # the block has not ended
    observer.feed(frame(stop(0)))
    assert not observer.proof
    assert observer.completed(False)
    assert observer.stop == "tool"


def test_observer_of_an_error() -> None:
    observer = messages.Observer(reply())
    observer.feed(frame({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}))
    assert observer.error is not None
    assert (observer.error.kind, observer.error.message) == ("rate_limit", "slow")


def test_observer_of_a_whole_answer() -> None:
    observer = messages.Observer(reply())
    observer.observe_whole(WHOLE)
    assert observer.content
    assert observer.proof
    assert observer.stop == "tool"
    assert observer.usage is not None
    assert observer.usage.output == 2
    observer = messages.Observer(reply())
    observer.observe_whole({"type": "error", "error": {"type": "api_error", "message": "x"}})
    assert observer.error is not None
    assert not observer.content
