"""Hub events as a chat client gets them: literal chunks, the shape's grammar, and its vendor's own accumulator as a judge."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from dragoman.codecs import chat, errors, machine, sse
from dragoman.codecs import events as ev
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request, Tool
from dragoman.codecs.usage import Usage

from . import grammar
from .answers import going_on, rest_of
from .fuzzing import fuzz
from .wire import Wire

START = ev.Start("msg_1", "claude-x", 0)
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 99, "model": "claude-x"}
USAGE = Usage(input=1130, output=50, cache_read=1000, cache_write=100, reasoning=20)
COUNTS = {
    "prompt_tokens": 1130,
    "completion_tokens": 50,
    "total_tokens": 1180,
    "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 100},
    "completion_tokens_details": {"reasoning_tokens": 20},
}


def reply(**asked: Any) -> Reply:
    return Reply(Request("chat", "asked", {}, True, **asked), domain="ant", request_id="req_1", created=99)


def stream(events: list[ev.Event], **asked: Any) -> list[Any]:
    """What the client reads; fed at once and one by one gives the same bytes."""
    once = Wire("chat", reply(**asked)).feed(events)
    encoder = Wire("chat", reply(**asked))
    assert b"".join(encoder.feed([event]) for event in events) == once
    grammar.chat(once)
    return [value for name, value in grammar.events_of(once)]


def collect(events: list[ev.Event], **asked: Any) -> dict[str, Any]:
    collector = chat.Collector(reply(**asked))
    for event in events:
        collector.feed([event])
    assert collector.error is None
    body: dict[str, Any] = orjson.loads(orjson.dumps(collector.body()))
    return body


def judged(values: list[Any]) -> dict[str, Any]:
    """The completion that the vendor's SDK makes of a stream."""
    state: Any = ChatCompletionStreamState()
    for value in values[:-1]:
        state.handle_chunk(ChatCompletionChunk.construct(**value))
    completion: dict[str, Any] = state.current_completion_snapshot.to_dict()
    return completion


def deltas(*events: ev.Event, reason: str = "end", **asked: Any) -> list[dict[str, Any]]:
    """The deltas of an answer made of these parts, without the first and the last; collected, it is what the SDK makes of them."""
    whole = [START, *events, ev.Stop(reason)]
    machine.check(whole)
    values = stream(whole, **asked)
    same(values, collect(whole, **asked))
    assert values[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    return [value["choices"][0]["delta"] for value in values[1:-2]]


def same(values: list[Any], body: dict[str, Any]) -> None:
    """That a stream and a whole answer are one, as far as the SDK's accumulator can tell."""
    choice, made = body["choices"][0], judged(values)["choices"][0]
    assert made["finish_reason"] == choice["finish_reason"]
    said, whole = made["message"], choice["message"]
    assert (said.get("content") or "") == (whole["content"] or "")
    for key in ("refusal", "reasoning_content", "reasoning_details", "annotations"):
        assert without_index(said.get(key)) == without_index(whole.get(key))
    found = [(call["id"], call["type"], call["function"]["name"], call["function"]["arguments"]) for call in said.get("tool_calls") or []]
    calls = whole.get("tool_calls", [])
    assert found == [(call["id"], call["type"], call["function"]["name"], call["function"]["arguments"]) for call in calls]


def without_index(entries: Any) -> Any:
    if not isinstance(entries, list):
        return entries
    return [{key: value for key, value in entry.items() if key != "index"} for entry in entries]


def text(part: int, *pieces: str) -> list[ev.Event]:
    return [ev.TextStart(part), *(ev.Text(part, piece) for piece in pieces), ev.PartStop(part)]


def thought(part: int, *pieces: str, seals: tuple[ev.Event, ...] = ()) -> list[ev.Event]:
    return [ev.ReasoningStart(part), *(ev.Reasoning(part, piece) for piece in pieces), *seals, ev.PartStop(part)]


def called(part: int, id: str, name: str, *pieces: str, kind: str = "function") -> list[ev.Event]:
    return [ev.ToolStart(part, id, name, kind), *(ev.Arguments(part, piece) for piece in pieces), ev.PartStop(part)]


def opened(index: int, id: str, name: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]}


def argued(index: int, text: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


def signed(text: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": text, "signature": "SIG", "format": "anthropic-claude-v1", "index": index} | more


SIG = (ev.Seal(0, "anthropic", "SIG"),)

# ---- the whole of a stream ----


EVENTS = [
    START,
    *thought(0, "plan", seals=SIG),
    *text(1, "Hi ", "😀"),
    *called(2, "toolu_1", "f", '{"a":', "1}"),
    *called(3, "toolu_2", "g"),
    ev.Metered(USAGE),
    ev.Stop("tool"),
]


def test_the_stream_of_a_messages_upstream() -> None:
    machine.check(EVENTS)
    said = [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "plan"},
        {"content": "Hi "},
        {"content": "😀"},
        opened(0, "toolu_1", "f"),
        argued(0, '{"a":'),
        argued(0, "1}"),
        opened(1, "toolu_2", "g"),
        argued(1, "{}"),
        {"reasoning_details": [signed("plan", dragoman_layout="d", dragoman_domain="ant")]},
    ]
    values = stream(EVENTS, include_usage=True)
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in said]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "tool_calls"})
    assert values == [
        *(HEAD | {"choices": [choice], "usage": None} for choice in choices),
        HEAD | {"choices": [], "usage": COUNTS},
        "[DONE]",
    ]
    assert stream(EVENTS) == [*(HEAD | {"choices": [choice]} for choice in choices), "[DONE]"]
    message = {
        "role": "assistant",
        "content": "Hi 😀",
        "refusal": None,
        "reasoning_content": "plan",
        "reasoning_details": [signed("plan", dragoman_layout="d", dragoman_domain="ant")],
        "tool_calls": [
            {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
            {"id": "toolu_2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }
    whole = HEAD | {"object": "chat.completion", "usage": COUNTS}
    assert collect(EVENTS) == whole | {"choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}]}
    same(values, collect(EVENTS))
    assert judged(values)["usage"] == COUNTS


def test_the_vendors_helper_hears_of_each_call_once() -> None:
    """What its users get as events: arguments are parsed when a call is done, even those of a strict tool without any."""
    interleaved = [
        START, ev.ToolStart(0, "c", "f"), ev.ToolStart(1, "d", "g"), ev.Arguments(0, '{"a":'), ev.ToolStart(2, "e", "f"),
        ev.Arguments(2, '{"a":3}'), ev.PartStop(1), ev.Arguments(0, "1}"), ev.PartStop(2), ev.PartStop(0), ev.Stop("tool"),
    ]  # fmt: skip
    machine.check(interleaved)
    names: list[dict[str, Any]] = [{"type": "function", "function": {"name": name, "strict": True}} for name in "fg"]
    state: Any = ChatCompletionStreamState(input_tools=names)
    heard = [event for value in stream(interleaved)[:-1] for event in state.handle_chunk(ChatCompletionChunk.construct(**value))]
    done = [event for event in heard if event.type == "tool_calls.function.arguments.done"]
    assert [(event.index, event.name, event.arguments, event.parsed_arguments) for event in done] == [
        (0, "f", '{"a":1}', {"a": 1}),
        (1, "g", "{}", {}),
        (2, "f", '{"a":3}', {"a": 3}),
    ]


def test_the_frames_themselves() -> None:
    encoder = Wire("chat", reply())
    head = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":99,"model":"claude-x","choices":[{"index":0,"delta":'
    tail = b',"logprobs":null,"finish_reason":null}]}\n\n'
    assert encoder.feed([START]) == head + b'{"role":"assistant","content":""}' + tail
    encoder.feed([ev.TextStart(0)])
    for words, written in [
        ("a", b'"a"'),
        ('b "\\\n', rb'"b \"\\\n"'),
        ("é\u2028\x85", b'"\xc3\xa9\\u2028\\u0085"'),
        ("x\ud83d", rb'"x\ud83d"'),
        (" ", b'" "'),
    ]:
        assert encoder.feed([ev.Text(0, words)]) == head + b'{"content":' + written + b"}" + tail
    encoder.feed([ev.PartStop(0), ev.ToolStart(1, "c", "f")])
    for words, written in [('{"a":"', rb'"{\"a\":\""'), ("é\u2028", b'"\xc3\xa9\\u2028"')]:
        wanted = head + b'{"tool_calls":[{"index":0,"function":{"arguments":' + written + b"}}]}" + tail
        assert encoder.feed([ev.Arguments(1, words)]) == wanted


@pytest.mark.parametrize(
    ("echo", "start", "head"),
    [
        (None, ev.Start("resp_a.b", "m", 5), ("chatcmpl-ab", "m", 5)),
        ("alias", ev.Start("chatcmpl-x", "m", 5), ("chatcmpl-x", "alias", 5)),
        (None, ev.Start("", "", 0), ("chatcmpl-" + "0" * 24, "asked", 99)),
    ],
)
def test_whose_answer_it_is(echo: str | None, start: ev.Start, head: tuple[str, str, int]) -> None:
    told = reply()
    told.echo_model = echo
    first = grammar.events_of(Wire("chat", told).feed([start]))[0][1]
    assert (first["id"], first["model"], first["created"]) == head
    collector = chat.Collector(told)
    collector.feed([start, ev.Stop("end")])
    assert (collector.body()["id"], collector.body()["model"], collector.body()["created"]) == head


# ---- text and reasoning ----


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([], []),
        (text(0), []),
        (text(0, "a", "b"), ["a", "b"]),
        (text(0, " ", "\n"), [" ", "\n"]),
        # adjacent texts are one, what stood apart stays so
        ([*text(0, "a"), *text(1, "b")], ["a", "b"]),
        ([*text(0, "a"), ev.TextStart(1, apart=True), ev.Text(1, "b"), ev.PartStop(1)], ["a", "\n\nb"]),
        ([*text(0, "a"), *called(1, "c", "f", "{}"), *text(2, "b", "c")], ["a", "\n\nb", "c"]),
        ([*called(0, "c", "f", "{}"), *text(1, "b")], ["b"]),
        ([*text(0, "a"), *called(1, "c", "f", "{}"), *text(2), *text(3, "b")], ["a", "\n\nb"]),
        ([*text(0, "a"), ev.Opaque("content[1]:server_tool_use"), *text(1, "b")], ["a", "\n\nb"]),
        ([*text(0, "a"), *thought(1, "p"), *text(2, "b")], ["a", "\n\nb"]),
        ([*text(0, "a"), *thought(1), *text(2, "b")], ["a", "b"]),  # nothing that is said stands between
    ],
)
def test_text(events: list[ev.Event], found: list[str]) -> None:
    assert [delta["content"] for delta in deltas(*events) if "content" in delta] == found


@pytest.mark.parametrize(
    ("events", "found"),
    [
        (thought(0, "p", "q"), ["p", "q"]),
        (thought(0), []),
        ([*thought(0, "p"), *thought(1, "q", "r")], ["p", "\n\nq", "r"]),
        ([*thought(0, "p"), *text(1, "a"), *thought(2), *thought(3, "q")], ["p", "\n\nq"]),
    ],
)
def test_reasoning(events: list[ev.Event], found: list[str]) -> None:
    said = deltas(*events)
    assert [delta["reasoning_content"] for delta in said if "reasoning_content" in delta] == found
    assert not any("reasoning_details" in delta for delta in said)  # text alone needs none


def details(*events: ev.Event) -> tuple[str, list[dict[str, Any]]]:
    """The layout and the entries, the first without it; they come in one delta, right before the end."""
    last = deltas(*events)[-1]
    entries = last["reasoning_details"]
    assert [entry["index"] for entry in entries] == list(range(len(entries)))
    assert entries[0].pop("dragoman_domain") == "ant"  # whose they are
    return entries[0].pop("dragoman_layout"), entries


def encrypted(data: str, index: int, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "data": data, "index": index} | more


CLAUDE = {"format": "anthropic-claude-v1"}
ITEM = {"id": "rs_1", "format": "openai-responses-v1"}


@pytest.mark.parametrize(
    ("events", "layout", "entries"),
    [
        (thought(0, "p", seals=SIG), "d", [signed("p")]),
        (thought(0, seals=SIG), "d", [signed("")]),
        (thought(0, seals=(ev.Seal(0, "redacted", "RED"),)), "d", [encrypted("RED", 0) | CLAUDE]),
        (
            [*thought(0, "p", seals=SIG), *thought(1, seals=(ev.Seal(1, "redacted", "RED"),)), *text(2, "a")],
            "d",
            [signed("p"), encrypted("RED", 1) | CLAUDE],
        ),
        (
            thought(0, "p", "\n\n", "q", seals=(ev.Seal(0, "openai", "E", "rs_1", ("p", "q")),)),
            "d",
            [
                {"type": "reasoning.summary", "summary": "p", "index": 0} | ITEM,
                {"type": "reasoning.summary", "summary": "q", "index": 1} | ITEM,
                encrypted("E", 2) | ITEM,
            ],
        ),
        (
            [*thought(0, "p", seals=SIG), *thought(1, "q")],
            "d",
            [signed("p"), {"type": "reasoning.text", "text": "q", "index": 1}],
        ),
        (
            [*thought(0, "p", seals=SIG), *text(1, "é😀"), *thought(2, "q", seals=(ev.Seal(2, "anthropic", "SIG"),)), *called(3, "c", "f")],
            "r0,t2,r1,u0",
            [signed("p"), signed("q", 1)],
        ),
        (
            [*called(0, "c", "f"), *thought(1, "p", seals=(ev.Seal(1, "anthropic", "SIG"),)), *called(2, "d", "g"), *text(3, "ab")],
            "u0,r0,u1,t2",
            [signed("p")],
        ),
        ([*thought(0, "p", seals=SIG), *called(1, "c", "f"), *called(2, "d", "g")], "d", [signed("p")]),
        ([*thought(0, "p", seals=SIG), *text(1, "a"), *text(2, "b")], "r0,t1,t1", [signed("p")]),
        (
            [*thought(0, "p", seals=SIG), *text(1, "a"), ev.Opaque("content[2]:x"), *text(2, "b"), *called(3, "c", "f")],
            "r0,t1,t3,u0",
            [signed("p")],
        ),
    ],
)
def test_sealed_reasoning(events: list[ev.Event], layout: str, entries: list[dict[str, Any]]) -> None:
    assert details(*events) == (layout, entries)


def test_log_probabilities() -> None:
    entries = [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}]
    events = [START, ev.TextStart(0), ev.Text(0, "a", entries), ev.Text(0, "b"), ev.PartStop(0), ev.Stop("end")]
    asked = stream(events, include_logprobs=True)
    assert [value["choices"][0]["logprobs"] for value in asked[:-1]] == [None, {"content": entries, "refusal": None}, None, None]
    assert collect(events, include_logprobs=True)["choices"][0]["logprobs"] == {"content": entries, "refusal": None}
    assert all(value["choices"][0]["logprobs"] is None for value in stream(events)[:-1])
    assert collect(events)["choices"][0]["logprobs"] is None


# ---- citations ----


@pytest.mark.parametrize(
    ("events", "ranges"),
    [
        ([ev.TextStart(0), ev.Text(0, "ab"), ev.Citation(0, "u", "t", 0, 1), ev.PartStop(0)], [(0, 1)]),
        ([ev.TextStart(0), ev.Citation(0, "u", "t"), ev.Text(0, "a"), ev.Text(0, "😀"), ev.PartStop(0)], [(0, 2)]),
        ([*text(0, "ab"), ev.TextStart(1), ev.Text(1, "cd"), ev.Citation(1, "u", "t"), ev.PartStop(1)], [(2, 4)]),
        (
            [*text(0, "ab"), *called(1, "c", "f"), ev.TextStart(2), ev.Citation(2, "u", "t", 1, 2), ev.Text(2, "cd"), ev.PartStop(2)],
            [(5, 6)],
        ),
    ],
)
def test_citations(events: list[ev.Event], ranges: list[tuple[int, int]]) -> None:
    cited = [{"url": "u", "title": "t", "start_index": start, "end_index": end} for start, end in ranges]
    assert deltas(*events)[-1] == {"annotations": [{"type": "url_citation", "url_citation": each} for each in cited]}


# ---- tool calls ----


@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        ([], ["{}"]),
        (["{}"], ["{}"]),
        (["  ", "\n"], ["{}"]),
        ([" ", ' {"a"', ":1}"], ['{"a"', ":1}"]),
        (["tru", "e"], ["tru", "e"]),
        (['{"a":1', "}", " "], ['{"a":1', "}", " "]),
    ],
)
def test_arguments(pieces: list[str], found: list[str]) -> None:
    said = deltas(*called(0, "c", "f", *pieces), reason="tool")
    assert said == [opened(0, "c", "f"), *(argued(0, piece) for piece in found)]


def test_calls_come_one_after_the_other() -> None:
    events = [
        ev.ToolStart(0, "c", "f"), ev.ToolStart(1, "d", "g"), ev.Arguments(0, '{"x":'), ev.Arguments(1, '{"y":'),
        ev.Arguments(1, "2}"), ev.Arguments(0, "1}"), ev.PartStop(1), ev.PartStop(0),
    ]  # fmt: skip
    assert deltas(*events, reason="tool") == [
        opened(0, "c", "f"),
        argued(0, '{"x":'),
        argued(0, "1}"),
        opened(1, "d", "g"),
        argued(1, '{"y":2}'),
    ]


def test_a_second_call_waits_until_the_first_is_complete_and_no_longer() -> None:
    encoder = Wire("chat", reply())
    encoder.feed([START, ev.ToolStart(0, "a", "f"), ev.ToolStart(1, "b", "g")])
    assert encoder.feed([ev.Arguments(1, '{"y":1}')]) == b""
    encoder.feed([ev.Arguments(0, '{"x":')])
    rest = encoder.feed([ev.Arguments(0, "1}")])  # its object is closed, its part is not
    assert b'"name":"g"' in rest
    assert b'{\\"y\\":1}' in rest
    assert encoder.feed([ev.Arguments(0, "junk")]) == b""
    assert b'"content":"B"' in encoder.feed([ev.TextStart(2), ev.Text(2, "B")])


def test_a_call_that_the_limit_cut() -> None:
    events = [START, *called(0, "c", "f", '{"path":"/a","te'), ev.Stop("length")]
    choice = collect(events)["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"path":"/a","te'


def test_ids_that_are_missing_or_twice_there() -> None:
    events = [START, *(e for i in range(4) for e in called(i, "" if i < 2 else "c", "f")), ev.Stop("tool")]
    ids = [call["id"] for call in collect(events)["choices"][0]["message"]["tool_calls"]]
    assert len(set(ids)) == 4
    assert ids[2] == "c"
    assert all(id.startswith("call_") for id in (*ids[:2], ids[3]))
    opening = [value["choices"][0]["delta"].get("tool_calls", [{}])[0].get("id") for value in stream(events)[:-1]]
    assert [id for id in opening if id] == ids


FREE = [START, ev.ToolStart(0, "c", "patch", "custom"), ev.Arguments(0, " {x"), ev.Arguments(0, '"'), ev.PartStop(0), ev.Stop("tool")]


def test_free_text_of_a_tool() -> None:
    tools = [Tool("custom", "patch", ("tools", 0))]
    said = [value["choices"][0]["delta"] for value in stream(FREE, tools=tools)[1:-2]]
    assert said == [
        {"tool_calls": [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "patch", "input": ""}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": " {x"}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": '"'}}]},
    ]
    call = collect(FREE, tools=tools)["choices"][0]["message"]["tool_calls"][0]
    assert call == {"id": "c", "type": "custom", "custom": {"name": "patch", "input": ' {x"'}}


def test_free_text_for_a_client_that_declared_no_such_tool() -> None:
    assert deltas(*FREE[1:-1], reason="tool") == [opened(0, "c", "patch"), argued(0, '{"input":" {x\\""}')]


def test_a_call_that_functions_of_old_do_not_get_is_reported() -> None:
    reply = Reply(Request("chat", "m", {}, legacy_functions=True), response_id="r")
    Wire("chat", reply).feed([START, *called(1, "c", "f", "{}"), *called(2, "d", "g", "{}"), ev.Stop("tool")])
    assert list(reply.unsaid.labels) == ["tool_call:second"]


def test_functions_of_old_get_the_first_call_only() -> None:
    events = [START, *text(0, "a"), *called(1, "c", "f", "{", "}"), *called(2, "d", "g", "{}"), ev.Stop("tool")]
    said = [value["choices"][0]["delta"] for value in stream(events, legacy_functions=True)[1:-1]]
    assert said == [
        {"content": "a"},
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{"}},
        {"function_call": {"arguments": "}"}},
        {},
    ]
    choice = collect(events, legacy_functions=True)["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"] == {
        "role": "assistant",
        "content": "a",
        "refusal": None,
        "function_call": {"name": "f", "arguments": "{}"},
    }


# ---- refusal and the end ----


@pytest.mark.parametrize(
    ("events", "stop", "content", "refusal", "finish"),
    [
        ([], ev.Stop("end"), "", None, "stop"),
        (text(0, "a"), ev.Stop("stop_sequence", "X"), "a", None, "stop"),
        (text(0, "a"), ev.Stop("length"), "a", None, "length"),
        (text(0, "a"), ev.Stop("context"), "a", None, "length"),
        (text(0, "a"), ev.Stop("pause"), "a", None, "length"),
        (text(0, "a"), ev.Stop("filter"), "a", None, "content_filter"),
        (text(0, "I can"), ev.Stop("refusal", None, "no"), "I can", "no", "content_filter"),
        (text(0, "a"), ev.Stop("refusal"), "a", None, "content_filter"),
        ([ev.Refusal("I "), ev.Refusal("won't")], ev.Stop("end"), None, "I won't", "stop"),
        ([ev.Refusal("No")], ev.Stop("refusal", None, "no"), None, "No", "content_filter"),
        (called(0, "c", "f"), ev.Stop("tool"), None, None, "tool_calls"),
    ],
)
def test_how_it_ends(events: list[ev.Event], stop: ev.Stop, content: str | None, refusal: str | None, finish: str) -> None:
    whole = [START, *events, stop]
    choice = collect(whole)["choices"][0]
    assert (choice["message"]["content"], choice["message"]["refusal"], choice["finish_reason"]) == (content, refusal, finish)
    same(stream(whole), collect(whole))


def test_usage_and_tier() -> None:
    metered = [START, ev.Metered(Usage(input=3, output=2, tier="priority")), ev.Stop("end")]
    plain = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    values = stream(metered, include_usage=True)
    assert [value.get("service_tier") for value in values[:-1]] == [None, "priority", "priority"]
    assert values[-2]["usage"] == plain
    assert (collect(metered)["usage"], collect(metered)["service_tier"]) == (plain, "priority")
    # what is not known is not said
    unknown = stream([START, ev.Stop("end")], include_usage=True)
    assert [value["usage"] for value in unknown[:-1]] == [None, None]
    assert "usage" not in collect([START, ev.Stop("end")])


@pytest.mark.parametrize("events", [[], [START, ev.TextStart(0), ev.Text(0, "x")], [START, ev.ToolStart(0, "c", "f")]])
def test_a_fault_is_the_shapes_own_error_and_the_last_word(events: list[ev.Event]) -> None:
    error = errors.Truncated("It broke.")
    encoder = Wire("chat", reply())
    encoder.feed(events)
    out = encoder.feed([ev.Fault(error), ev.Ping(), ev.Text(0, "y"), ev.Stop("end")])
    wanted = {"message": "It broke.", "type": "server_error", "param": None, "code": "upstream_stream_interrupted"}
    assert json.loads(out.removeprefix(b"data: ")) == {"error": wanted}
    assert out.count(b"\n\n") == 1
    assert encoder.keep_alive() == b""
    collector = chat.Collector(reply())
    collector.feed([*events, ev.Fault(error)])
    assert collector.error is error


def test_keep_alives() -> None:
    encoder = Wire("chat", reply())
    assert encoder.keep_alive() == sse.KEEP_ALIVE
    encoder.feed([START])
    assert encoder.keep_alive() == sse.KEEP_ALIVE
    assert encoder.feed([ev.Ping()]) == b""
    encoder.feed([ev.Stop("end")])
    assert encoder.keep_alive() == b""


# ---- any answer ----


@st.composite
def answers(draw: st.DrawFn) -> list[ev.Event]:
    """Any legal answer of a model whose arguments are whole JSON objects, and whose reasoning is sealed or is not."""
    sealing = draw(st.booleans())
    words = st.text('ab \n😀\u2028"\\', min_size=1, max_size=4)
    events: list[ev.Event] = [ev.Start(draw(st.sampled_from(["", "msg_1"])), "m", 5)]
    part = 0
    calls: dict[int, list[str]] = {}
    for kind in draw(st.lists(st.sampled_from(["text", "reasoning", "tool", "refusal", "go on", "close", "ping", "opaque"]), max_size=12)):
        if kind == "text":
            inside: list[Any] = [ev.Text(part, piece) for piece in draw(st.lists(words, max_size=3))]
            inside += draw(st.sampled_from([[], [ev.Citation(part, "http://u", "t")]])) if inside else []
            events += [ev.TextStart(part, draw(st.booleans())), *inside, ev.PartStop(part)]
        elif kind == "reasoning":
            inside = [ev.Reasoning(part, piece) for piece in draw(st.lists(words, max_size=3))]
            said = "".join(piece.text for piece in inside)
            seals = [
                ev.Seal(part, "anthropic", "S"),
                ev.Seal(part, "openai", "E", f"rs_{part}", (said,)) if said else ev.Seal(part, "redacted", "R"),
            ]
            events += [ev.ReasoningStart(part), *inside, *([draw(st.sampled_from(seals))] if sealing else []), ev.PartStop(part)]
        elif kind == "tool":
            raw = draw(st.sampled_from(["", "  ", "{}", '{"a":"}\\"{"}', ' {"a":{"b":[1,"]"]}}']))
            cut = draw(st.integers(0, len(raw)))
            calls[part] = [piece for piece in (raw[:cut], raw[cut:]) if piece]
            events.append(ev.ToolStart(part, draw(st.sampled_from(["", "c"])), "f"))
        elif kind in ("refusal", "ping", "opaque"):
            events.append({"refusal": ev.Refusal("r"), "ping": ev.Ping(), "opaque": ev.Opaque("content[0]:x")}[kind])
        elif calls:
            events += going_on(draw, kind, calls)
        part += kind in ("text", "reasoning", "tool")
    events += rest_of(calls)
    called = any(isinstance(event, ev.ToolStart) for event in events)
    reason = draw(st.sampled_from(["tool" if called else "end", "length", "filter"]))
    return [*events, ev.Metered(Usage(input=5, output=2, cache_read=1)), ev.Stop(reason)]


@fuzz(150)
@given(answers())
def test_streamed_and_collected_are_one_answer(events: list[ev.Event]) -> None:
    machine.check(events)
    values = stream(events, include_usage=True)
    body = collect(events)
    same(values, body)
    assert judged(values)["usage"] == body["usage"]
    assert (values[0]["id"], values[0]["model"]) == (body["id"], body["model"])


@fuzz(150)
@given(answers())
def test_what_is_read_again_is_the_same_answer(events: list[ev.Event]) -> None:
    """Encoded, decoded and encoded once more, whole and as a stream, nothing of an answer changes."""
    body = collect(events)
    whole = chat.decode_response(body, reply())
    machine.check(whole)
    again = collect(whole)
    assert forgotten(again) == forgotten(body)
    decoder = chat.StreamDecoder(reply())
    out = Wire("chat", reply(include_usage=True)).feed(events)
    streamed = [event for frame in sse.Splitter().feed(out) for event in decoder.feed(frame)]
    machine.check(streamed)
    repeated = collect(streamed)
    for message in (again["choices"][0]["message"], repeated["choices"][0]["message"]):
        message.pop("annotations", None)
        message.pop("reasoning_details", None)
    assert without_space(repeated) == without_space(again)


def forgotten(body: dict[str, Any]) -> dict[str, Any]:
    """Without what a whole answer does not say: in which order its parts came."""
    message = dict(body["choices"][0]["message"])
    message["reasoning_details"] = [
        {key: value for key, value in entry.items() if key != "dragoman_layout"} for entry in message.get("reasoning_details", [])
    ]
    return body | {"choices": [body["choices"][0] | {"message": message}]}


def without_space(body: dict[str, Any]) -> str:
    """Blank lines between parts are made anew where parts come again in their order."""
    return json.dumps(body).replace("\\n", "").replace(" ", "")
