"""Hub events as a messages client gets them: literal frames, the shape's grammar, and its vendor's own accumulator as a judge."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.codecs import errors, machine, messages, reasoning, sse
from dragoman.codecs import events as ev
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.usage import Usage

from .answers import going_on, rest_of
from .wire import Wire

START = ev.Start("chatcmpl-1", "gpt-x", 7)
TEXT = {"type": "text", "text": ""}
THINKING = {"type": "thinking", "thinking": "", "signature": ""}
ENVELOPE = reasoning.seal_text("ds")


def reply() -> Reply:
    return Reply(Request("messages", "asked", {}), domain="ds", request_id="req_1")


def stream(events: list[ev.Event]) -> list[dict[str, Any]]:
    """What the client reads; fed at once and one by one gives the same bytes."""
    encoder = Wire("messages", reply())
    once = encoder.feed(events)
    encoder = Wire("messages", reply())
    assert b"".join(encoder.feed([event]) for event in events) == once
    splitter = sse.Splitter()
    values = []
    for name, data in splitter.feed(once):
        value = orjson.loads(data)
        assert name.decode() == value["type"]
        values.append(value)
    assert splitter.boundary
    return values


def collect(events: list[ev.Event]) -> dict[str, Any]:
    collector = messages.Collector(reply())
    for event in events:
        collector.feed([event])
    assert collector.error is None
    body: dict[str, Any] = orjson.loads(orjson.dumps(collector.body()))
    return body


def judged(values: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that the vendor's SDK makes of a stream, after the grammar of the reference was checked."""
    grammar(values)
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for value in values:
        if value["type"] != "ping":
            snapshot = accumulate_event(event=value, current_snapshot=snapshot, json_bufs=buffers)  # type: ignore[arg-type]
    message: dict[str, Any] = snapshot.to_dict()
    return message


def grammar(values: list[dict[str, Any]]) -> None:
    kinds = [value["type"] for value in values if value["type"] != "ping"]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("message_start") == kinds.count("message_delta") == 1
    index = -1
    open_block: dict[str, Any] | None = None
    takes = {
        "text": {"text_delta", "citations_delta"},
        "thinking": {"thinking_delta", "signature_delta"},
        "tool_use": {"input_json_delta"},
        "redacted_thinking": set(),
    }
    for value in values:
        if value["type"] == "content_block_start":
            assert open_block is None
            index += 1
            open_block = value["content_block"]
        elif value["type"] == "content_block_delta":
            assert open_block is not None
            assert value["delta"]["type"] in takes[open_block["type"]]
        elif value["type"] == "content_block_stop":
            assert open_block is not None
            open_block = None
        assert value.get("index", index) == index
    assert open_block is None


def start(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def tool(index: int, id: str, name: str) -> dict[str, Any]:
    return start(index, {"type": "tool_use", "id": id, "name": name, "input": {}})


def delta(index: int, kind: str, key: str, value: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: value}}


def text(index: int, words: str) -> dict[str, Any]:
    return delta(index, "text_delta", "text", words)


def thinking(index: int, words: str) -> dict[str, Any]:
    return delta(index, "thinking_delta", "thinking", words)


def signature(index: int, value: str) -> dict[str, Any]:
    return delta(index, "signature_delta", "signature", value)


def arguments(index: int, words: str) -> dict[str, Any]:
    return delta(index, "input_json_delta", "partial_json", words)


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def blocks(*events: ev.Event, reason: str = "end") -> list[dict[str, Any]]:
    """The block events of an answer made of these parts; and the collected answer is what the SDK makes of them."""
    whole = [START, *events, ev.Stop(reason)]
    machine.check(whole)
    values = stream(whole)
    assert judged(values)["content"] == collect(whole)["content"]
    return values[1:-2]


# ---- the whole of a stream ----


def test_the_interleaved_stream_of_a_chat_upstream() -> None:
    events = [
        START,
        ev.ReasoningStart(0), ev.Reasoning(0, "plan"), ev.PartStop(0),
        ev.TextStart(1), ev.Text(1, "Hi 😀"), ev.PartStop(1),
        ev.ToolStart(2, "call_1", "f"), ev.ToolStart(3, "call_2", "g"),
        ev.Arguments(2, '{"a":'), ev.Arguments(3, '{"b":2}'), ev.Arguments(2, "1}"),
        ev.TextStart(4), ev.Text(4, "tail"), ev.PartStop(4), ev.PartStop(2), ev.PartStop(3),
        ev.Metered(Usage(input=1130, output=50, cache_read=1000, cache_write=100, reasoning=20)),
        ev.Stop("tool"),
    ]  # fmt: skip
    machine.check(events)
    zeros = {"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    usage = {
        "input_tokens": 30, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 100, "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 20},
    }  # fmt: skip
    head = {"id": "msg_" + "0" * 24, "type": "message", "role": "assistant", "model": "gpt-x"}
    values = stream(events)
    assert values == [
        {"type": "message_start", "message": head | {"content": [], "stop_reason": None, "stop_sequence": None, "usage": zeros}},
        start(0, THINKING), thinking(0, "plan"), signature(0, ENVELOPE), stop(0),
        start(1, TEXT), text(1, "Hi 😀"), stop(1),
        tool(2, "call_1", "f"), arguments(2, '{"a":'), arguments(2, "1}"), stop(2),
        tool(3, "call_2", "g"), arguments(3, '{"b":2}'), stop(3),
        start(4, TEXT), text(4, "tail"), stop(4),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]  # fmt: skip
    assert collect(events) == head | {
        "content": [
            {"type": "thinking", "thinking": "plan", "signature": ENVELOPE},
            {"type": "text", "text": "Hi 😀"},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "call_2", "name": "g", "input": {"b": 2}},
            {"type": "text", "text": "tail"},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": usage,
    }
    assert judged(values)["content"] == collect(events)["content"]


def test_the_frames_themselves() -> None:
    encoder = Wire("messages", reply())
    encoder.feed([START, ev.TextStart(0)])
    head = b"event: content_block_delta\ndata: "
    first = encoder.feed([ev.Text(0, "a")])
    assert first.endswith(head + b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}\n\n')
    for words, written in [
        ('b "\\\n', rb'"b \"\\\n"'),
        ("é\u2028\x85", b'"\xc3\xa9\\u2028\\u0085"'),
        ("x\ud83d", rb'"x\ud83d"'),
        (" ", b'" "'),
    ]:
        frame = head + b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":' + written + b"}}\n\n"
        assert encoder.feed([ev.Text(0, words)]) == frame


# ---- blocks ----


def test_text_that_is_only_white_space_is_no_block() -> None:
    assert blocks(ev.TextStart(0), ev.Text(0, " "), ev.Text(0, "\n"), ev.PartStop(0)) == []
    assert blocks(ev.TextStart(0), ev.PartStop(0)) == []
    words = [ev.TextStart(0), ev.Text(0, " "), ev.Text(0, "\n"), ev.Text(0, "a "), ev.Text(0, " "), ev.PartStop(0)]
    assert blocks(*words) == [start(0, TEXT), text(0, " \na "), text(0, " "), stop(0)]


def test_citations_wait_for_the_text() -> None:
    cited = {"type": "web_search_result_location", "url": "u", "title": "t", "cited_text": "bc", "encrypted_index": "dgr1."}
    citation = ev.Citation(0, "u", "t", 1, 3)
    late = [ev.TextStart(0), ev.Text(0, "a"), ev.Text(0, "bcd"), citation, ev.PartStop(0)]
    assert blocks(*late)[3] == delta(0, "citations_delta", "citation", cited)
    early = [ev.TextStart(0), ev.Citation(0, "u", "t", cited_text="bc"), ev.Text(0, "abc"), ev.PartStop(0)]
    assert blocks(*early)[1:3] == [delta(0, "citations_delta", "citation", cited), text(0, "abc")]
    assert blocks(ev.TextStart(0), citation, ev.PartStop(0)) == []


SIGNED = [start(0, THINKING), thinking(0, "p"), signature(0, "S"), stop(0)]


@pytest.mark.parametrize(
    ("inside", "wanted"),
    [
        ([], []),
        ([ev.Reasoning(0, "p")], [start(0, THINKING), thinking(0, "p"), signature(0, ENVELOPE), stop(0)]),
        (
            [ev.Reasoning(0, "p"), ev.Seal(0, "anthropic", "S")],
            [start(0, THINKING), thinking(0, "p"), signature(0, "S"), stop(0)],
        ),
        ([ev.Seal(0, "anthropic", "S")], [start(0, THINKING), signature(0, "S"), stop(0)]),
        ([ev.Seal(0, "redacted", "R")], [start(0, {"type": "redacted_thinking", "data": "R"}), stop(0)]),
        (
            [ev.Reasoning(0, "p"), ev.Seal(0, "anthropic", "S"), ev.Seal(0, "redacted", "R")],
            [*SIGNED, start(1, {"type": "redacted_thinking", "data": "R"}), stop(1)],
        ),
        (
            [ev.Seal(0, "openai", "E1", "rs_1", ("plan",))],
            [start(0, THINKING), signature(0, reasoning.seal_item("ds", "rs_1", "E1", ["plan"])), stop(0)],
        ),
        ([ev.Seal(0, "openai", "", "rs_1")], []),
        (
            [ev.Reasoning(0, "p"), ev.Seal(0, "openai", "", "rs_1")],
            [start(0, THINKING), thinking(0, "p"), signature(0, ENVELOPE), stop(0)],
        ),
    ],
)
def test_reasoning_is_always_signed(inside: list[ev.Event], wanted: list[dict[str, Any]]) -> None:
    assert blocks(ev.ReasoningStart(0), *inside, ev.PartStop(0)) == wanted


@pytest.mark.parametrize(
    ("pieces", "wanted", "input"),
    [
        ([], [], {}),
        (["  ", "\n"], [], {}),
        (["{}"], ["{}"], {}),
        ([" ", ' {"a"', ":1}"], ['{"a"', ":1}"], {"a": 1}),
        (['{"a":"}', '"}', "  \n"], ['{"a":"}', '"}'], {"a": "}"}),
        (['{"a":1}{"b":2}', "x"], ['{"a":1}'], {"a": 1}),
        (['{"a":1', "}", "}"], ['{"a":1', "}"], {"a": 1}),
        (["tru", "e"], ['{"INVALID_JSON":"true"}'], {"INVALID_JSON": "true"}),
        (['"x'], ['{"INVALID_JSON":"\\"x"}'], {"INVALID_JSON": '"x'}),
    ],
)
def test_arguments(pieces: list[str], wanted: list[str], input: dict[str, Any]) -> None:
    call = [ev.ToolStart(0, "c", "f"), *(ev.Arguments(0, piece) for piece in pieces), ev.PartStop(0)]
    written = [piece["delta"]["partial_json"] for piece in blocks(*call) if piece["type"] == "content_block_delta"]
    assert written == wanted
    assert collect([START, *call, ev.Stop("tool")])["content"][0]["input"] == input


def test_arguments_that_the_limit_cut() -> None:
    call = [START, ev.ToolStart(0, "c", "f"), ev.Arguments(0, '{"path":"/a","te'), ev.PartStop(0), ev.Stop("length")]
    assert collect(call)["content"][0]["input"] == {"path": "/a"}
    assert collect(call)["stop_reason"] == "max_tokens"
    assert judged(stream(call))["content"][0]["input"] == {"path": "/a"}


def test_free_text_of_a_tool_stays_whole() -> None:
    call = [ev.ToolStart(0, "c", "patch", "custom"), ev.Arguments(0, " {x"), ev.Arguments(0, "}"), ev.PartStop(0)]
    assert blocks(*call)[1:] == [arguments(0, '{"input":" {x}"}'), stop(0)]


def test_a_second_call_waits_until_the_first_is_complete_and_no_longer() -> None:
    encoder = Wire("messages", reply())
    encoder.feed([START, ev.ToolStart(0, "a", "f"), ev.ToolStart(1, "b", "g")])
    assert encoder.feed([ev.Arguments(1, '{"y":1}')]) == b""
    assert b"input_json_delta" in encoder.feed([ev.Arguments(0, '{"x":')])
    rest = encoder.feed([ev.Arguments(0, "1}")])
    assert rest.count(b"content_block_stop\n") == 1
    assert b'"name":"g"' in rest
    assert b'{\\"y\\":1}' in rest
    assert encoder.feed([ev.Arguments(0, "junk")]) == b""
    # what comes after a complete call does not wait for it to be closed
    assert b'"text":"B"' in encoder.feed([ev.TextStart(2), ev.Text(2, "B")])


def test_a_call_that_never_closes_its_object_ends_with_its_part() -> None:
    events = [
        ev.ToolStart(0, "a", "f"),
        ev.Arguments(0, '{"x":'),
        ev.TextStart(1),
        ev.Text(1, "t"),
        ev.PartStop(1),
        ev.PartStop(0),
    ]
    assert blocks(*events, reason="length") == [
        tool(0, "a", "f"), arguments(0, '{"x":'), stop(0), start(1, TEXT), text(1, "t"), stop(1),
    ]  # fmt: skip


def test_ids_that_are_missing_or_twice_there() -> None:
    events = [
        START,
        *(e for i in range(4) for e in (ev.ToolStart(i, "" if i < 2 else "c", "f"), ev.PartStop(i))),
        ev.Stop("tool"),
    ]
    ids = [block["id"] for block in collect(events)["content"]]
    assert len(set(ids)) == 4
    assert ids[2] == "c"
    assert all(id.startswith("toolu_") for id in (*ids[:2], ids[3]))
    assert [value["content_block"]["id"] for value in stream(events) if value["type"] == "content_block_start"] == ids


# ---- refusal ----


def test_a_refusal_is_text_and_a_reason() -> None:
    events = [START, ev.Refusal("I "), ev.Refusal("won't"), ev.Stop("end")]
    values = stream(events)
    assert values[1:4] == [start(0, TEXT), text(0, "I "), text(0, "won't")]
    details = {"type": "refusal", "category": None, "explanation": "I won't"}
    assert values[-2]["delta"] == {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
    body = collect(events)
    assert body["content"] == [{"type": "text", "text": "I won't"}]
    assert body["stop_details"] == details


def test_a_refusal_among_parts() -> None:
    words = [ev.TextStart(0), ev.Text(0, "a"), ev.Refusal("r"), ev.Text(0, "b"), ev.PartStop(0), ev.Refusal("s")]
    events = [*words, ev.ToolStart(1, "c", "f"), ev.Refusal("t"), ev.PartStop(1)]
    assert [value["delta"]["text"] for value in blocks(*events) if "delta" in value] == ["a", "b", "r", "s", "t"]
    assert [value["content_block"]["type"] for value in blocks(*events) if "content_block" in value] == ["text"] * 2 + [
        "tool_use",
        "text",
    ]


# ---- the end ----


@pytest.mark.parametrize(
    ("stop", "delta"),
    [
        (ev.Stop("end"), {"stop_reason": "end_turn", "stop_sequence": None}),
        (ev.Stop("stop_sequence", "X"), {"stop_reason": "stop_sequence", "stop_sequence": "X"}),
        (ev.Stop("tool"), {"stop_reason": "tool_use", "stop_sequence": None}),
        (ev.Stop("length"), {"stop_reason": "max_tokens", "stop_sequence": None}),
        (ev.Stop("context"), {"stop_reason": "model_context_window_exceeded", "stop_sequence": None}),
        (ev.Stop("pause"), {"stop_reason": "pause_turn", "stop_sequence": None}),
        (
            ev.Stop("filter"),
            {
                "stop_reason": "refusal",
                "stop_sequence": None,
                "stop_details": {"type": "refusal", "category": None, "explanation": None},
            },
        ),
        (
            ev.Stop("refusal", None, "no"),
            {
                "stop_reason": "refusal",
                "stop_sequence": None,
                "stop_details": {"type": "refusal", "category": None, "explanation": "no"},
            },
        ),
    ],
)
def test_stop_reasons(stop: ev.Stop, delta: dict[str, Any]) -> None:
    values = stream([START, stop])
    assert values[-2]["delta"] == delta
    assert values[-2]["usage"]["output_tokens"] == 0
    body = collect([START, stop])
    assert delta.items() <= body.items()
    assert body["content"] == []


def test_the_model_that_is_shown() -> None:
    for echo, said, shown in [("alias", "gpt-x", "alias"), (None, "gpt-x", "gpt-x"), (None, "", "asked")]:
        told = reply()
        told.echo_model = echo
        encoder = Wire("messages", told)
        assert f'"model":"{shown}"'.encode() in encoder.feed([ev.Start("", said, 0)])


@pytest.mark.parametrize("events", [[], [START, ev.TextStart(0), ev.Text(0, "x")]])
def test_a_fault_is_the_shapes_own_error_and_the_last_word(events: list[ev.Event]) -> None:
    error = errors.Truncated("It broke.")
    encoder = Wire("messages", reply())
    encoder.feed(events)
    wanted = {"type": "error", "error": {"type": "api_error", "message": "It broke."}, "request_id": "req_1"}
    out = encoder.feed([ev.Fault(error), ev.Ping(), ev.Text(0, "y")])
    assert out.startswith(b"event: error\ndata: ")
    assert json.loads(out.split(b"data: ")[1]) == wanted
    assert out.count(b"\n\n") == 1
    assert encoder.keep_alive() == b""
    collector = messages.Collector(reply())
    collector.feed([*events, ev.Fault(error)])
    assert collector.error is error


def test_keep_alives() -> None:
    encoder = Wire("messages", reply())
    assert encoder.keep_alive() == sse.KEEP_ALIVE
    encoder.feed([START])
    assert encoder.keep_alive() == b'event: ping\ndata: {"type": "ping"}\n\n'
    assert encoder.feed([ev.Ping()]) == b""
    encoder.feed([ev.Stop("end")])
    assert encoder.keep_alive() == b""


# ---- any answer ----


@st.composite
def answers(draw: st.DrawFn) -> list[ev.Event]:
    """Any legal answer of a model whose arguments are whole JSON objects."""
    words = st.text('ab \n😀\u2028"\\', min_size=1, max_size=4)
    events: list[ev.Event] = [ev.Start(draw(st.sampled_from(["", "chatcmpl-1"])), "m", 0)]
    part = 0
    calls: dict[int, list[str]] = {}
    for kind in draw(st.lists(st.sampled_from(["text", "reasoning", "tool", "refusal", "go on", "close", "ping"]), max_size=12)):
        if kind == "text":
            inside: list[Any] = [ev.Text(part, piece) for piece in draw(st.lists(words, max_size=3))]
            inside += draw(st.sampled_from([[], [ev.Citation(part, "http://u", "t", 0, 1)]]))
            events += [ev.TextStart(part), *inside, ev.PartStop(part)]
        elif kind == "reasoning":
            inside = [ev.Reasoning(part, piece) for piece in draw(st.lists(words, max_size=3))]
            forms = draw(st.lists(st.sampled_from(["anthropic", "redacted", "openai"]), max_size=2))
            events += [ev.ReasoningStart(part), *inside, *(ev.Seal(part, form, "S") for form in forms), ev.PartStop(part)]
        elif kind == "tool":
            raw = draw(st.sampled_from(["", "  ", "{}", '{"a":"}\\"{"}', ' {"a":{"b":[1,"]"]}} ', '{"a":1}x']))
            cut = draw(st.integers(0, len(raw)))
            calls[part] = [piece for piece in (raw[:cut], raw[cut:]) if piece]
            events.append(ev.ToolStart(part, draw(st.sampled_from(["", "c"])), "f"))
        elif kind == "refusal":
            events.append(ev.Refusal(draw(words)))
        elif kind == "ping":
            events.append(ev.Ping())
        elif calls:
            events += going_on(draw, kind, calls)
        part += kind in ("text", "reasoning", "tool")
    events += rest_of(calls)
    reason = draw(st.sampled_from(["end", "length", "tool", "filter"]))
    return [*events, ev.Metered(Usage(input=5, output=2, cache_read=1)), ev.Stop(reason)]


@settings(max_examples=300)
@given(answers())
def test_streamed_and_collected_are_one_answer(events: list[ev.Event]) -> None:
    machine.check(events)
    values = stream(events)
    body = collect(events)
    message = judged(values)
    assert message["content"] == body["content"]
    for key in ("id", "model", "stop_reason", "stop_sequence"):
        assert message[key] == body[key]
    assert message["usage"].items() >= body["usage"].items()
    for block in body["content"]:
        assert block["type"] != "text" or block["text"].strip()
    # and it can be read again
    again = messages.decode_response(body, reply())
    machine.check(again)
    if isinstance(again[-1], ev.Fault):  # it says nothing
        assert not {"text", "tool_use"} & {block["type"] for block in body["content"]}
        return
    repeated = collect(again)
    assert repeated["content"] == body["content"]
