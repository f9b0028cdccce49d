"""A chat upstream's answers as hub events: literal frames, cut at every byte, whole bodies, and whatever else a server may send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dragoman.codecs import errors
from dragoman.codecs import events as ev
from dragoman.codecs.usage import Usage

from .chatting import (
    BEGUN,
    END,
    USAGE,
    call,
    called,
    calls,
    chunk,
    cited,
    decode,
    fault,
    finished,
    inside,
    known_tools,
    read,
    says,
    text,
    thought,
    wire,
)

# ---- the reference's own stream ----


COUNTED = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [], "usage": USAGE}


def test_interleaved_calls_and_text_after_them() -> None:
    events = decode(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "plan"}),
        says("Hi 😀"),
        calls(call(0, "call_1", "f", ""), call(1, "call_2", "g", "")),
        calls(call(0, arguments='{"a":')),
        calls(call(1, arguments='{"b":2}')),
        calls(call(0, arguments="1}")),
        says("tail"),
        finished("stop"),
        COUNTED,
        "[DONE]",
    )
    assert events == [
        BEGUN,
        *thought(0, "plan"),
        *text(1, "Hi 😀"),
        ev.ToolStart(2, "call_1", "f"),
        ev.ToolStart(3, "call_2", "g"),
        ev.Arguments(2, '{"a":'),
        ev.Arguments(3, '{"b":2}'),
        ev.Arguments(2, "1}"),
        ev.PartStop(2),
        ev.PartStop(3),
        *text(4, "tail"),
        ev.Metered(Usage(input=1130, output=50, cache_read=1000, cache_write=100, reasoning=20)),
        ev.Stop("tool"),
    ]


# ---- when it begins ----


FILTERED = {"id": "", "model": "", "object": "", "created": 0, "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}


@pytest.mark.parametrize(
    ("values", "start"),
    [
        ([says("a")], BEGUN),
        ([FILTERED, says("a")], BEGUN),
        ([{"id": "", "choices": [{"delta": {"role": "assistant"}}]}, says("a")], ev.Start("", "", 0)),
        ([{"choices": [{"delta": {"content": "a"}}]}], ev.Start("", "", 0)),
        ([{"id": "x", "model": "m", "created": 7.9, "choices": [{"delta": {"content": "a"}}]}], ev.Start("x", "m", 7)),
        ([{"id": 5, "model": None, "created": "now", "choices": [{"delta": {"content": "a"}}]}], ev.Start("", "", 0)),
    ],
)
def test_the_start(values: list[dict[str, Any]], start: ev.Start) -> None:
    assert decode(*values, "[DONE]") == [start, *text(0, "a"), *END]


# ---- how it ends ----


@pytest.mark.parametrize(
    ("reason", "choice", "stop"),
    [
        ("stop", {}, ev.Stop("end")),
        ("eos", {}, ev.Stop("end")),
        ("end_turn", {}, ev.Stop("end")),
        ("stop", {"stop_reason": "END"}, ev.Stop("stop_sequence", "END")),
        ("stop", {"stop_reason": 151645}, ev.Stop("end")),  # vLLM: the token that ended it
        ("length", {}, ev.Stop("length")),
        ("max_tokens", {}, ev.Stop("length")),
        ("model_length", {}, ev.Stop("length")),
        ("content_filter", {}, ev.Stop("filter")),
        ("content-filter", {}, ev.Stop("filter")),
        ("tool_calls", {}, ev.Stop("end")),  # there is no call
        ("function_call", {}, ev.Stop("end")),
        ("of_tomorrow", {}, ev.Stop("length")),
    ],
)
@pytest.mark.parametrize("tail", [["[DONE]"], []])
def test_finish_reasons(reason: str, choice: dict[str, Any], stop: ev.Stop, tail: list[str]) -> None:
    assert decode(says("a"), finished(reason, **choice), *tail) == [BEGUN, *text(0, "a"), stop]


@pytest.mark.parametrize(("reason", "stop"), [("stop", "tool"), ("tool_call", "tool"), ("length", "length"), ("content_filter", "filter")])
def test_finish_reasons_with_calls(reason: str, stop: str) -> None:
    assert decode(calls(call(0, "c", "f", "{}")), finished(reason), "[DONE]")[-1] == ev.Stop(stop)


def test_what_comes_after_the_finish_still_counts() -> None:
    late = decode(says("a"), finished("tool_calls"), says("b"), calls(call(0, "c", "f", "{}")), finished("tool_calls"), COUNTED, "[DONE]")
    assert late[:-2] == [BEGUN, *text(0, "a", "b"), *called(1, "c", "f", "{}")]
    assert late[-1] == ev.Stop("tool")


def test_of_two_finishes_the_last_counts() -> None:
    assert decode(says("a"), finished("length"), finished("stop"), "[DONE]")[-1] == ev.Stop("end")
    assert decode(says("a"), finished("length"), chunk({}, None), "[DONE]")[-1] == ev.Stop("length")


def test_a_finish_with_content() -> None:
    assert decode(chunk({"content": "a"}, "stop")) == [BEGUN, *text(0, "a"), *END]
    alone = decode(chunk({"content": "a", "tool_calls": [call(0, "c", "f", "{}"), call(1, "d", "g", "{}")]}, "tool_calls"), "[DONE]")
    assert alone == [
        BEGUN, *text(0, "a"), *called(1, "c", "f", "{}"), *called(2, "d", "g", "{}"), ev.Stop("tool"),
    ]  # fmt: skip


def test_done_without_a_finish() -> None:
    assert decode(says("a"), "[DONE]", says("b")) == [BEGUN, *text(0, "a"), *END]
    assert decode(calls(call(0, "c", "f", "{}")), "[DONE]")[-1] == ev.Stop("tool")
    for values in ([], [chunk({"role": "assistant", "content": ""})], [COUNTED]):
        assert isinstance(fault(decode(*values, "[DONE]")), errors.Truncated)


@pytest.mark.parametrize("values", [[], [says("a")], [FILTERED], [calls(call(0, "c", "f", "{}"))], [COUNTED]])
@pytest.mark.parametrize("clean", [True, False])
def test_without_proof_the_end_is_a_fault(values: list[Any], clean: bool) -> None:
    error = fault(decode(*values, clean=clean))
    assert isinstance(error, errors.Truncated)
    assert error.code == "upstream_stream_interrupted"


def test_a_transport_that_breaks_after_the_finish_breaks_the_answer() -> None:
    assert isinstance(fault(decode(says("a"), finished(), clean=False)), errors.Truncated)
    assert decode(says("a"), finished(), "[DONE]", clean=False)[-1] == ev.Stop("end")


def test_a_last_event_without_its_blank_line() -> None:
    data = wire(says("a"), finished())
    assert read(data.rstrip())[-1] == ev.Stop("end")
    assert read(wire(says("a")) + b"data: [DONE]")[-1] == ev.Stop("end")
    assert isinstance(fault(read(data[:-10])), errors.Truncated | errors.Garbled)


# ---- text ----


LOGPROBS = [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}]


@pytest.mark.parametrize(
    ("values", "events"),
    [
        ([], []),
        ([chunk({"role": "assistant", "content": ""}), chunk({"role": "assistant", "content": None}), chunk({})], []),
        ([chunk({"content": "", "tool_calls": [], "reasoning_content": "", "refusal": None, "function_call": None})], []),
        ([chunk(None), chunk([]), says(7), says({"a": 1})], []),
        ([says("a", role="assistant"), says("b", role="assistant")], text(0, "a", "b")),
        ([says("a"), says("", tool_calls=None), says("b")], text(0, "a", "b")),
        ([says("a"), chunk({"content": "x"}, index=1), says("b")], text(0, "a", "b")),
        ([says([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], text(0, "a", "b")),
        (
            [says([{"type": "thinking", "thinking": [{"type": "text", "text": "p"}]}]), says([{"type": "text", "text": "a"}])],
            [*thought(0, "p"), *text(1, "a")],
        ),
        ([says([{"type": "thinking", "thinking": "p"}, {"type": "text"}, 7])], thought(0, "p")),
        ([says("<think>p</think>a")], text(0, "<think>p</think>a")),
        ([chunk({"content": "a"}, logprobs={"content": LOGPROBS})], [ev.TextStart(0), ev.Text(0, "a", LOGPROBS), ev.PartStop(0)]),
        ([chunk({"content": "a"}, logprobs={"content": []}), chunk({"content": "b"}, logprobs=[7])], text(0, "a", "b")),
        # Perplexity: the whole message beside each delta, other names of objects
        ([chunk({"content": "a"}, message={"role": "assistant", "content": "a"}) | {"object": "chat.completion"}], text(0, "a")),
        ([chunk(None, message={"content": "ab"}), chunk(None, message={"content": "abc"})], text(0, "ab")),
        ([says("\u2028\x85\u2029")], text(0, "\u2028\x85\u2029")),
    ],
)
def test_text(values: list[dict[str, Any]], events: list[ev.Event]) -> None:
    assert inside(chunk({"role": "assistant"}), *values) == events


@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        (["a\\ud83d", "\\ude00b"], ["a", "😀b"]),
        (["\\ud83d", "\\ude00"], ["😀"]),
        (["\\ud83d", "x"], ["\ufffdx"]),
        (["a\\ud83d"], ["a", "\ufffd"]),
        (["\\ude00"], ["\ufffd"]),
    ],
)
def test_an_emoji_cut_in_two(pieces: list[str], found: list[str]) -> None:
    raw = [f'{{"id":"chatcmpl-1","created":7,"model":"m","choices":[{{"delta":{{"content":"{piece}"}}}}]}}' for piece in pieces]
    assert inside(*raw) == text(0, *found)
    arguments = [
        '{"id":"chatcmpl-1","created":7,"model":"m","choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":'
        f'{{"name":"f","arguments":"{piece}"}}}}]}}}}]}}'
        for piece in pieces
    ]
    assert inside(*arguments) == called(0, "c", "f", *found)


# ---- reasoning ----


def detail(**entry: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"} | entry


def details(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return chunk({"reasoning_details": list(entries)} | more)


SUMMARY = {"type": "reasoning.summary", "format": "openai-responses-v1", "id": "rs_1", "text": None}
ENCRYPTED = {"type": "reasoning.encrypted", "format": "openai-responses-v1", "id": "rs_1", "text": None}


GEMINI = {"type": "reasoning.text", "format": "google-gemini-v1", "index": 0, "id": None}
HIDDEN = [{"type": "reasoning.encrypted", "format": "google-gemini-v1", "index": 0, "id": id, "data": "E"} for id in ("call_1", "call_2")]
XAI = {"type": "reasoning.summary", "format": "xai-responses-v1", "index": 0}


def verbatim(part: int, *entries: dict[str, Any]) -> ev.Event:
    return ev.Seal(part, "details", json.dumps(entries, separators=(",", ":"), ensure_ascii=False))


def sealed(part: int, seals: list[ev.Event], *pieces: str) -> list[ev.Event]:
    return [ev.ReasoningStart(part), *(ev.Reasoning(part, piece) for piece in pieces), *seals, ev.PartStop(part)]


@pytest.mark.parametrize(
    ("values", "events"),
    [
        ([chunk({"reasoning_content": "p"}), chunk({"reasoning_content": "q"})], thought(0, "p", "q")),
        ([chunk({"reasoning": "p"})], thought(0, "p")),
        ([chunk({"reasoning_text": "p"})], thought(0, "p")),
        ([chunk({"reasoning_content": "p", "reasoning": "p"})], thought(0, "p")),
        ([chunk({"reasoning_content": "", "reasoning": "p"})], thought(0, "p")),
        ([chunk({"reasoning_content": "p", "content": "a"})], [*thought(0, "p"), *text(1, "a")]),
        ([says("a"), chunk({"reasoning": "p"}), says("b")], [*text(0, "a"), *thought(1, "p"), *text(2, "b")]),
        ([chunk({"reasoning": {"odd": 1}, "reasoning_details": "odd"})], []),
        # details alone
        ([details(detail(text="p")), details(detail(text="q"))], thought(0, "p", "q")),
        ([details(detail(text="p")), details(detail(signature="SIG"))], sealed(0, [ev.Seal(0, "anthropic", "SIG")], "p")),
        ([details(detail(text="p", signature="SIG", format=None))], sealed(0, [ev.Seal(0, "anthropic", "SIG")], "p")),
        (
            [details(detail(type="reasoning.encrypted", data="RED"))],
            sealed(0, [ev.Seal(0, "redacted", "RED")]),
        ),
        (
            [details(SUMMARY | {"summary": "p", "index": 0}), details(ENCRYPTED | {"data": "E", "index": 1})],
            sealed(0, [ev.Seal(0, "openai", "E", "rs_1", ("p",))], "p"),
        ),
        # both, with the same text: once
        (
            [chunk({"reasoning": "p", "reasoning_details": [detail(text="p")]}), details(detail(signature="SIG"))],
            sealed(0, [ev.Seal(0, "anthropic", "SIG")], "p"),
        ),
        ([chunk({"reasoning": "p"}), details(detail(text="p"))], thought(0, "p")),
        # what nobody else can read
        (
            [details(detail(type="reasoning.encrypted", format="xai", data="X"))],
            sealed(0, [verbatim(0, detail(type="reasoning.encrypted", format="xai", data="X"))]),
        ),
        # its text is joined, and nothing else is
        (
            [
                chunk({"reasoning": "p", "reasoning_details": [GEMINI | {"text": "p"}]}),
                chunk({"reasoning": "p", "reasoning_details": [GEMINI | {"text": "p"}]}),
                details(*HIDDEN),
                details(HIDDEN[1]),
            ],
            sealed(0, [verbatim(0, GEMINI | {"text": "pp"}, *HIDDEN)], "p", "p"),
        ),
        (
            [details(GEMINI | {"text": "p"}), details({"type": "reasoning.text", "index": 0, "signature": "S", "text": "q"})],
            sealed(0, [verbatim(0, GEMINI | {"text": "pq", "signature": "S"})], "p", "q"),
        ),
        ([details({"type": "reasoning.of_tomorrow", "x": [1]})], sealed(0, [verbatim(0, {"type": "reasoning.of_tomorrow", "x": [1]})])),
        (
            [details(XAI | {"summary": "p"}), details(XAI | {"summary": "q", "index": 1})],
            sealed(0, [verbatim(0, XAI | {"summary": "p"}, XAI | {"summary": "q", "index": 1})], "p", "\n\nq"),
        ),
        # what comes within a text does not cut it in two
        (
            [says("a"), details(HIDDEN[0]), says("b")],
            [*text(0, "a", "b"), *sealed(1, [verbatim(1, HIDDEN[0])])],
        ),
        (
            [calls(call(0, "c", "f", "")), details(HIDDEN[0]), calls(call(0, arguments='{"a":1}'))],
            [
                ev.ToolStart(0, "c", "f"),
                *sealed(1, [verbatim(1, HIDDEN[0])])[:1],
                ev.Arguments(0, '{"a":1}'),
                *sealed(1, [verbatim(1, HIDDEN[0])])[1:],
                ev.PartStop(0),
            ],
        ),
        ([details(detail(signature="S1"), detail(index=1, text="q"))], [*sealed(0, [ev.Seal(0, "anthropic", "S1")]), *thought(1, "q")]),
        (
            [chunk({"reasoning": "p"}), details(detail(signature="S1")), chunk({"reasoning": "q"})],
            [*sealed(0, [ev.Seal(0, "anthropic", "S1")], "p"), *thought(1, "q")],
        ),
        (
            [details(SUMMARY | {"summary": "p", "index": 0}), details(SUMMARY | {"summary": "q", "index": 1})],
            thought(0, "p", "\n\nq"),
        ),
        # signed and whole is a block of its own
        (
            [details(detail(text="p")), details(detail(text="q", signature="S2", index=1))],
            [*thought(0, "p"), *sealed(1, [ev.Seal(1, "anthropic", "S2")], "q")],
        ),
        # a new block after a seal
        (
            [details(detail(text="p", signature="S1")), details(detail(text="q", signature="S2", index=1))],
            [*sealed(0, [ev.Seal(0, "anthropic", "S1")], "p"), *sealed(1, [ev.Seal(1, "anthropic", "S2")], "q")],
        ),
    ],
)
def test_reasoning(values: list[dict[str, Any]], events: list[ev.Event]) -> None:
    assert inside(chunk({"role": "assistant"}), *values) == events


# ---- tool calls ----


@pytest.mark.parametrize(
    ("values", "events"),
    [
        ([calls(call(0, "c", "f", "")), calls(call(0, arguments="{}"))], called(0, "c", "f", "{}")),
        ([calls(call(0, "c", "f"))], called(0, "c", "f")),
        ([calls(call(0, "c", "f", '{"a":1}'))], called(0, "c", "f", '{"a":1}')),
        # arguments before the name
        (
            [calls(call(0, arguments='{"q":"')), calls(call(0, "c", "f")), calls(call(0, arguments='x"}'))],
            called(0, "c", "f", '{"q":"', 'x"}'),
        ),
        # an id that never comes, and a name that waits for it
        ([calls(call(0, None, "f")), calls(call(0, arguments="{}"))], called(0, "", "f", "{}")),
        ([calls(call(0, None, "f"))], called(0, "", "f")),
        ([calls(call(0, None, "f")), calls(call(0, "c"))], called(0, "c", "f")),
        # repeats of what is known, and an id that becomes empty (Alibaba)
        (
            [calls(call(0, "c", "f", "")), calls(call(0, "c", "f", "{")), calls(call(0, "", "", "}"))],
            called(0, "c", "f", "{", "}"),
        ),
        # white space alone
        ([calls(call(0, "c", "f", "  ")), calls(call(0, arguments="\n"))], called(0, "c", "f")),
        ([calls(call(0, "c", "f", "  {")), calls(call(0, arguments=" }"))], called(0, "c", "f", "{", " }")),
        # an object instead of text
        ([calls(call(0, "c", "f", {"a": "é"}))], called(0, "c", "f", '{"a":"é"}')),
        # numbered from one, or below zero (Z.ai), or all alike with ids of their own
        ([calls(call(1, "c", "f", "{}"))], called(0, "c", "f", "{}")),
        ([calls(call(-1, "c", "f", "{}"))], called(0, "c", "f", "{}")),
        (
            [calls(call(0, "c", "f", '{"a":1}')), calls(call(0, "d", "g", '{"b":')), calls(call(0, arguments="2}"))],
            [*called(0, "c", "f", '{"a":1}'), *called(1, "d", "g", '{"b":', "2}")],
        ),
        # all alike, and without ids
        (
            [calls(call(0, None, "f", '{"a":"}')), calls(call(0, None, "f", '"}')), calls(call(0, None, "f", "{}"))],
            [*called(0, "", "f", '{"a":"}', '"}'), *called(1, "", "f", "{}")],
        ),
        # each piece has an id of its own (Poolside, mlx-openai-server)
        (
            [calls(call(0, "c", "f", "")), calls(call(0, "d", arguments="{")), calls(call(0, "e", arguments="}"))],
            called(0, "c", "f", "{", "}"),
        ),
        (
            [
                calls(call(0, "c", "f", "{")),
                calls(call(0, "d", arguments="}")),
                calls(call(0, "e", "g", "")),
                calls(call(0, "h", arguments="{}")),
            ],
            [*called(0, "c", "f", "{", "}"), *called(1, "e", "g", "{}")],
        ),
        # not numbered at all (Mistral of old)
        (
            [calls(call(..., "c", "f", "{}"), call(..., "d", "g", "{}"))],
            [*called(0, "c", "f", "{}"), *called(1, "d", "g", "{}")],
        ),
        ([calls(call(..., "c", "f", "{")), calls(call(..., arguments="}"))], called(0, "c", "f", "{", "}")),
        ([calls(call(..., "c", "f", "{")), calls(call(..., "c", arguments="}"))], called(0, "c", "f", "{", "}")),
        ([calls(call(True, "c", "f", "{}"))], called(0, "c", "f", "{}")),
        # said nothing that makes a call
        ([calls(call(0))], []),
        ([chunk({"tool_calls": None}), chunk({"tool_calls": {}}), chunk({"tool_calls": [7]})], []),
        # the call of old
        (
            [chunk({"function_call": {"name": "f", "arguments": ""}}), chunk({"function_call": {"arguments": "{}"}})],
            called(0, "", "f", "{}"),
        ),
        # around text
        (
            [says("a"), calls(call(0, "c", "f", "{}")), says("b"), calls(call(0, arguments=" "))],
            [*text(0, "a"), *called(1, "c", "f", "{}"), *text(2, "b")],
        ),
        # free text
        (
            [
                calls({"index": 0, "id": "c", "type": "custom", "custom": {"name": "f", "input": ""}}),
                calls({"index": 0, "custom": {"input": "ls"}}),
            ],
            [ev.ToolStart(0, "c", "f", "custom"), ev.Arguments(0, "ls"), ev.PartStop(0)],
        ),
    ],
)
def test_calls(values: list[dict[str, Any]], events: list[ev.Event]) -> None:
    assert inside(chunk({"role": "assistant"}), *values) == events


def test_a_call_without_a_name_is_garbled() -> None:
    assert isinstance(fault(decode(calls(call(0, "c", None, "{}")), finished(), "[DONE]")), errors.Garbled)


def test_calls_cannot_be_opened_without_end() -> None:
    many = [calls(*(call(i, f"c{i}", "f", "{}") for i in range(k, k + 100))) for k in range(0, 2000, 100)]
    assert isinstance(fault(read(wire(*many))), errors.Garbled)


def test_tools_are_the_clients_again() -> None:
    tools = known_tools()
    raw = ['{"input":"*** Begin\\n\\"q\\" \\ud83d', '\\ude00"}']
    events = inside(calls(call(0, "c", "apply_patch", "")), *(calls(call(0, arguments=piece)) for piece in raw), tools=tools)
    assert events[0] == ev.ToolStart(0, "c", "apply_patch", "custom")
    assert "".join(event.text for event in events if isinstance(event, ev.Arguments)) == '*** Begin\n"q" 😀'
    events = inside(calls(call(0, "c", tools.wire("a.b"), "{}")), calls(call(1, "d", "ns__go", "{}")), tools=tools)
    assert [event for event in events if isinstance(event, ev.ToolStart)] == [
        ev.ToolStart(0, "c", "a.b"),
        ev.ToolStart(1, "d", "go", "function", "ns"),
    ]


# ---- refusal, citations, sound ----


OPAQUE = [ev.Opaque("choices[0].message.annotations")]


@pytest.mark.parametrize(
    ("values", "events"),
    [
        ([chunk({"refusal": "No"}), chunk({"refusal": "."})], [ev.Refusal("No"), ev.Refusal(".")]),
        ([says("a"), chunk({"refusal": "No"})], [*text(0, "a"), ev.Refusal("No")]),
        (
            [says("a", refusal="No", annotations=[cited()])],
            [*text(0, "a")[:-1], ev.Citation(0, "u", "t", 0, 1), ev.PartStop(0), ev.Refusal("No")],
        ),
        ([says("ab"), chunk({"annotations": [cited()]})], [*text(0, "ab")[:-1], ev.Citation(0, "u", "t", 0, 1), ev.PartStop(0)]),
        ([says("ab", annotations=[cited(1, 2)])], [*text(0, "ab")[:-1], ev.Citation(0, "u", "t", 1, 2), ev.PartStop(0)]),
        ([says("ab", annotations=[cited(1, 9)])], [*text(0, "ab")[:-1], ev.Citation(0, "u", "t"), ev.PartStop(0)]),
        ([says("ab", annotations=[cited(None, "x")])], [*text(0, "ab")[:-1], ev.Citation(0, "u", "t"), ev.PartStop(0)]),
        ([says("a", annotations=[{"type": "url_citation", "url": "u"}])], [*text(0, "a")[:-1], ev.Citation(0, "u", ""), ev.PartStop(0)]),
        ([chunk({"annotations": [cited()]})], OPAQUE),
        (  # what was searched for before the model speaks
            [chunk({"annotations": [cited(), cited(url="v")]}), chunk({"annotations": [cited()]}), says("ab")],
            [ev.TextStart(0), ev.Citation(0, "u", "t"), ev.Citation(0, "v", "t"), ev.Text(0, "ab"), ev.PartStop(0)],
        ),
        (  # and while it thinks
            [chunk({"reasoning_content": "hm", "annotations": [cited()]}), says("ab")],
            [
                *(ev.ReasoningStart(0), ev.Reasoning(0, "hm"), ev.PartStop(0)),
                *(ev.TextStart(1), ev.Citation(1, "u", "t"), ev.Text(1, "ab"), ev.PartStop(1)),
            ],
        ),
        ([chunk({"annotations": [{"type": "file_citation"}, cited(url="")]})], OPAQUE),
        ([chunk({"annotations": [7, None]}), chunk({"annotations": {}})], []),
        ([says("a", audio={"id": "a", "data": "x"})], [*text(0, "a")[:-1], ev.Opaque("choices[0].message.audio"), ev.PartStop(0)]),
    ],
)
def test_refusals_citations_and_sound(values: list[dict[str, Any]], events: list[ev.Event]) -> None:
    assert inside(chunk({"role": "assistant"}), *values) == events


# ---- usage ----


def metered(**usage: Any) -> list[ev.Event]:
    return [ev.Metered(Usage(**usage))]


SMALL = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        ([finished()], []),
        ([finished() | {"usage": SMALL}], metered(input=3, output=2)),
        ([says("b") | {"usage": USAGE}, finished(), COUNTED | {"usage": SMALL}], metered(input=3, output=2)),
        (
            [says("b") | {"usage": USAGE}, finished(), COUNTED | {"usage": dict.fromkeys(SMALL, 0)}],
            metered(input=1130, output=50, cache_read=1000, cache_write=100, reasoning=20),
        ),
        ([says("b") | {"usage": SMALL}, finished() | {"usage": None}], metered(input=3, output=2)),
        ([finished() | {"usage": {}}], []),
        ([finished(usage=SMALL)], metered(input=3, output=2)),  # Moonshot
        ([finished() | {"x_groq": {"usage": SMALL}}], metered(input=3, output=2)),
        ([finished() | {"x_groq": {"id": "x"}}], []),
        ([finished() | {"usage": SMALL | {"prompt_cache_hit_tokens": 1}}], metered(input=3, output=2, cache_read=1)),  # DeepSeek
        ([finished() | {"usage": SMALL | {"cached_tokens": 1}}], metered(input=3, output=2, cache_read=1)),
        ([finished() | {"usage": SMALL | {"total_tokens": 77}}], metered(input=3, output=74)),  # Google
        ([finished() | {"usage": SMALL, "service_tier": "flex"}], metered(input=3, output=2, tier="flex")),
        ([finished() | {"usage": {"prompt_tokens": None, "completion_tokens": -1, "prompt_tokens_details": None}}], metered()),
    ],
)
def test_usage(values: list[dict[str, Any]], counted: list[ev.Event]) -> None:
    events = decode(says("a"), *values, "[DONE]")
    assert [event for event in events if isinstance(event, ev.Metered)] == counted


# ---- errors ----


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ({"error": {"message": "slow", "type": "rate_limit_error", "code": 429}}, "rate_limit", "slow"),
        ({"error": {"message": "slow", "code": 502}}, "bad_gateway", "slow"),
        ({"error": "broken"}, "server", "broken"),
        ({"object": "error", "message": "broken"}, "server", "broken"),
        (chunk({}, "error", error={"message": "broken", "code": 503}), "overloaded", "broken"),
        (finished("error"), "bad_gateway", "The upstream reported that it failed to answer."),
        (finished("abort"), "bad_gateway", "The upstream reported that it failed to answer."),
    ],
)
def test_errors_in_the_stream(value: dict[str, Any], kind: str, message: str) -> None:
    for before in ([], [says("a")]):
        error = fault(decode(*before, value, "[DONE]"))
        assert (error.kind, error.message) == (kind, message)


def test_an_event_that_is_called_error() -> None:
    error = fault(read(b'event: error\ndata: {"message":"broken"}\n\n'))
    assert error.message == "broken"


@pytest.mark.parametrize("value", ["{", "null", "7", "[]", '"x"', "NaN", "[DONE"])
def test_an_event_that_is_none(value: str) -> None:
    assert isinstance(fault(decode(says("a"), value)), errors.Garbled)


@pytest.mark.parametrize(
    "data",
    [
        b": OPENROUTER PROCESSING\n\n%b: x\ndata: [DONE]\n\n",
        b"retry: 3000\n\n%bid: 7\ndata: [DONE]\n\n",
        b"\xef\xbb\xbf%bdata:[DONE]\n\n",
        b"data:\n\n%bdata: [DONE] \n\n",
        b"data: \n\n%bevent: message\ndata: [DONE]\n\n",
    ],
)
def test_framing_of_other_servers(data: bytes) -> None:
    value = says("é\u2028")
    whole = data % (b"data:" + json.dumps(value, ensure_ascii=False).encode() + b"\n\n")
    for raw in (whole, whole.replace(b"\n", b"\r\n"), whole.replace(b"\n", b"\r")):
        for cut in range(len(raw)):
            assert read(raw, cut) == [BEGUN, *text(0, "é\u2028"), *END]
