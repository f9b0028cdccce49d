"""Hub events as a responses client gets them: literal frames, the shape's grammar, and its vendor's own accumulator as a judge."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.codecs import chat, errors, machine, reasoning, responses, sse
from dragoman.codecs import events as ev
from dragoman.codecs.dialect import OPEN, OPENAI, Dialect
from dragoman.codecs.ids import digest
from dragoman.codecs.reply import Reply
from dragoman.codecs.tools import Declared, ToolMap

from .answers import eventful
from .grammar import GRAMMARS
from .responses_stream import (
    START,
    USAGE,
    at,
    between,
    called,
    closed,
    collect,
    item_id,
    judged,
    message,
    opened,
    output_text,
    plain,
    reasoned,
    reply,
    said,
    short,
    stream,
)
from .wire import Wire

# ---- the whole of a stream ----

BLOCKS = [{"type": "thinking", "thinking": "plan", "signature": "SIG"}]
EVERYTHING: list[ev.Event] = [
    START,
    ev.ReasoningStart(0), ev.Reasoning(0, "plan"), ev.Seal(0, "anthropic", "SIG"), ev.PartStop(0),
    ev.TextStart(1), ev.Text(1, "Hi "), ev.Text(1, "😀"), ev.PartStop(1),
    ev.ToolStart(2, "toolu_1", "f"), ev.Arguments(2, '{"a":'), ev.Arguments(2, "1}"), ev.PartStop(2),
    ev.ToolStart(3, "toolu_2", "g"), ev.PartStop(3),
    ev.Metered(USAGE),
    ev.Stop("tool"),
]  # fmt: skip


def test_the_stream_of_a_messages_upstream() -> None:
    told = reply("messages", reasoning={"summary": "auto"}, store=False)
    values = stream(told, EVERYTHING)
    assert short(values) == [
        {"type": "created", "response": "in_progress"},
        {"type": "in_progress", "response": "in_progress"},
        *reasoned(0, ["plan"], encrypted_content=reasoning.seal_blocks("ant", BLOCKS)),
        *said(1, "Hi ", "😀"),
        *called(2, "toolu_1", "f", '{"a":', "1}"),
        *called(3, "toolu_2", "g", "{}"),
        {"type": "completed", "response": "completed"},
    ]
    final = values[-1]["response"]
    assert final["output"] == [value["item"] for value in values if value["type"] == "response.output_item.done"]
    assert final["usage"] == {
        "input_tokens": 1130,
        "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 100},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 20},
        "total_tokens": 1180,
    }
    assert final == collect(told, EVERYTHING)
    assert plain(judged(values)["output"]) == plain(final["output"])


def test_the_stream_of_a_chat_upstream() -> None:
    """Reasoning in the open, and two calls that come interleaved."""
    events = [
        ev.ReasoningStart(0), ev.Reasoning(0, "pl"), ev.Reasoning(0, "an"), ev.PartStop(0),
        ev.TextStart(1), ev.Text(1, "Hi"), ev.PartStop(1),
        ev.ToolStart(2, "call_1", "f"), ev.ToolStart(3, "call_2", "g"),
        ev.Arguments(2, '{"a":'), ev.Arguments(3, '{"b":2}'), ev.Arguments(2, "1}"), ev.PartStop(2), ev.PartStop(3),
    ]  # fmt: skip
    first, second = called(2, "call_1", "f", '{"a":', "1}"), called(3, "call_2", "g", '{"b":2}')
    assert between(reply(), *events, reason="tool") == [
        *reasoned(0, ["pl", "an"], kind="content", encrypted_content=reasoning.seal_text("ant", "plan")),
        *said(1, "Hi"),
        first[0], second[0], first[1], second[1], *first[2:], *second[2:],
    ]  # fmt: skip


def test_the_frames_themselves() -> None:
    encoder = Wire("responses", reply())
    encoder.feed([START, ev.TextStart(0), ev.Text(0, "a")])
    place = b'"item_id":"%b","output_index":0,"content_index":0' % item_id(0, "msg").encode()
    for number, (words, written) in enumerate(
        [('b "\\\n', rb'"b \"\\\n"'), ("é\u2028\x85", b'"\xc3\xa9\\u2028\\u0085"'), ("100 %d%", b'"100 %d%"'), ("x\ud83d", rb'"x\ud83d"')],
        5,
    ):
        assert encoder.feed([ev.Text(0, words)]) == (
            b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":%d,%b,"delta":'
            % (number, place)
            + written
            + b',"logprobs":[]}\n\n'
        )


# ---- the response object ----


def test_the_response_says_back_what_was_asked() -> None:
    asked = {
        "instructions": "I", "max_output_tokens": 5, "max_tool_calls": 2, "metadata": {"a": "b"}, "parallel_tool_calls": False,
        "frequency_penalty": 0.5, "presence_penalty": -0.5,
        "prompt_cache_key": "k", "reasoning": {"effort": "low", "summary": "auto"}, "safety_identifier": "s", "service_tier": "flex",
        "store": False, "temperature": 0.5, "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "tool_choice": {"type": "function", "name": "f"},
        "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True, "description": "d"}],
        "top_logprobs": 2, "top_p": 0.5, "user": "u", "background": True,
    }  # fmt: skip
    told = reply(**asked)
    told.previous_response_id, told.conversation_id, told.echo_model = "resp_0", "conv_1", "alias"
    body = collect(told, [ev.Start("x", "gpt", 7), ev.Stop("end")])
    assert asked.items() <= body.items()
    wanted = {
        "id": "resp_1", "object": "response", "created_at": 7, "completed_at": 11, "status": "completed", "model": "alias", "output": [],
        "previous_response_id": "resp_0", "conversation": {"id": "conv_1"}, "error": None, "incomplete_details": None, "usage": None,
        "truncation": "disabled",
    }  # fmt: skip
    assert wanted.items() <= body.items()


def test_the_response_of_a_bare_request() -> None:
    told = reply()
    values = stream(told, [START, ev.Stop("end")])
    for value in values[:2]:
        assert value["response"]["status"] == "in_progress"
        assert value["response"]["completed_at"] is None
    wanted = {
        "created_at": 9, "model": "claude-x", "background": False, "conversation": None, "instructions": None, "max_output_tokens": None,
        "max_tool_calls": None, "metadata": {}, "parallel_tool_calls": True, "previous_response_id": None, "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None}, "safety_identifier": None,
        "service_tier": "default", "store": True, "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"}, "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 1.0,
        "usage": None, "user": None, "presence_penalty": 0.0, "frequency_penalty": 0.0,
    }  # fmt: skip
    assert wanted.items() <= values[-1]["response"].items()
    told.response_id = ""
    assert collect(told, [START, ev.Stop("end")])["id"] == "resp_" + "0" * 32


# ---- text ----

URL = {"type": "url_citation", "url": "u", "title": "t"}


def test_texts_that_follow_each_other_share_a_part() -> None:
    texts = [ev.TextStart(0), ev.Text(0, "a"), ev.PartStop(0), ev.TextStart(1), ev.Text(1, "b"), ev.PartStop(1)]
    assert between(reply(), *texts) == said(0, "a", "b")
    apart = [*texts[:3], ev.TextStart(1, apart=True), *texts[4:]]
    assert between(reply(), *apart) == [*said(0, "a"), *said(1, "b")]
    assert between(reply(), ev.TextStart(0), ev.PartStop(0)) == []


def test_citations_are_of_the_text_that_was_cited() -> None:
    events = [
        ev.TextStart(0), ev.Text(0, "😀a"), ev.PartStop(0),
        ev.TextStart(1), ev.Citation(1, "u", "t"), ev.Text(1, "bcd"), ev.Citation(1, "u", "t", 1, 2), ev.Citation(1, "u", "t", 2, 99),
        ev.PartStop(1),
        ev.TextStart(2), ev.Text(2, "e"), ev.PartStop(2),
    ]  # fmt: skip
    found = between(reply(), *events)
    ranges = [(2, 5), (3, 4), (4, 5)]
    wanted = [URL | {"start_index": start, "end_index": end} for start, end in ranges]
    here = at(0, "msg", content_index=0)
    assert [value for value in found if value["type"] == "output_text.annotation.added"] == [
        {"type": "output_text.annotation.added", **here, "annotation_index": i, "annotation": annotation}
        for i, annotation in enumerate(wanted)
    ]
    assert found[-1]["item"]["content"] == [output_text("😀abcde", *wanted)]


def test_logprobs_only_for_who_asked() -> None:
    entries: list[Any] = [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}]
    events = [ev.TextStart(0), ev.Text(0, "a", entries), ev.Text(0, "b"), ev.PartStop(0)]
    assert between(reply(), *events) == said(0, "a", "b")
    found = between(reply(include=["message.output_text.logprobs"]), *events)
    assert [value["logprobs"] for value in found if value["type"] == "output_text.delta"] == [entries, []]
    assert found[-1]["item"]["content"][0]["logprobs"] == entries


def test_a_refusal_is_a_part_of_its_message() -> None:
    refused = [
        {"type": "content_part.added", "part": {"type": "refusal", "refusal": ""}},
        {"type": "refusal.delta", "delta": "I "},
        {"type": "refusal.delta", "delta": "won't"},
        {"type": "refusal.done", "refusal": "I won't"},
        {"type": "content_part.done", "part": {"type": "refusal", "refusal": "I won't"}},
    ]
    no = {"type": "refusal", "refusal": "I won't"}
    words = [ev.Refusal("I "), ev.Refusal("won't")]
    found = between(reply(), *words)
    assert found == [
        opened(0, **message(0, status="in_progress")),
        *(value | at(0, "msg", content_index=0) for value in refused),
        closed(0, **message(0, no)),
    ]
    found = between(reply(), ev.TextStart(0), ev.Text(0, "a"), ev.PartStop(0), *words)
    assert found == [
        *said(0, "a")[:-1],
        *(value | at(0, "msg", content_index=1) for value in refused),
        closed(0, **message(0, output_text("a"), no)),
    ]


def test_what_the_provider_says_of_a_refusal() -> None:
    values = stream(reply(), [START, ev.TextStart(0), ev.Text(0, "I can"), ev.PartStop(0), ev.Stop("refusal", None, "no")])
    final = values[-1]["response"]
    assert (final["status"], final["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
    assert final["output"][0]["content"] == [output_text("I can"), {"type": "refusal", "refusal": "no"}]
    # who has declined in words of its own is not quoted twice
    assert len(stream(reply(), [START, ev.Refusal("no"), ev.Stop("refusal", None, "no")])[-1]["response"]["output"][0]["content"]) == 1


# ---- reasoning ----

THOUGHT: list[ev.Event] = [ev.ReasoningStart(0), ev.Reasoning(0, "a"), ev.Seal(0, "anthropic", "S"), ev.PartStop(0)]
MORE: list[ev.Event] = [
    ev.ReasoningStart(1), ev.Seal(1, "redacted", "R"), ev.PartStop(1),
    ev.ReasoningStart(2), ev.Reasoning(2, "b"), ev.Seal(2, "anthropic", "T"), ev.PartStop(2),
]  # fmt: skip
ALL_BLOCKS = [
    {"type": "thinking", "thinking": "a", "signature": "S"},
    {"type": "redacted_thinking", "data": "R"},
    {"type": "thinking", "thinking": "b", "signature": "T"},
]
SUMMARY = {"reasoning": {"summary": "auto"}}


def test_runs_of_thinking_share_an_item() -> None:
    """With what seals them in it, whether the answer is stored or not."""
    sealed = {"encrypted_content": reasoning.seal_blocks("ant", ALL_BLOCKS)}
    for store in (True, False):
        assert between(reply("messages", **SUMMARY, store=store), *THOUGHT, *MORE) == reasoned(0, ["a"], ["b"], **sealed)


def test_who_asked_for_no_summary_gets_content() -> None:
    sealed = {"encrypted_content": reasoning.seal_blocks("ant", ALL_BLOCKS)}
    assert between(reply("messages"), *THOUGHT, *MORE) == reasoned(0, ["a"], ["b"], kind="content", **sealed)


def test_reasoning_without_text_is_an_item() -> None:
    """As its provider's blocks are: the next turn needs them at this place."""
    only: list[ev.Event] = [ev.ReasoningStart(0), ev.Seal(0, "redacted", "R"), ev.PartStop(0)]
    sealed = {"encrypted_content": reasoning.seal_blocks("ant", ALL_BLOCKS[1:2])}
    assert between(reply("messages"), *only) == reasoned(0, kind="content", **sealed)
    assert between(reply("messages", **SUMMARY), *only) == reasoned(0, **sealed)


def test_the_open_text_of_a_chat_model() -> None:
    sealed = {"encrypted_content": reasoning.seal_text("ant", "a")}
    assert between(reply(), *THOUGHT[:2], ev.PartStop(0)) == reasoned(0, ["a"], kind="content", **sealed)
    assert between(reply(**SUMMARY), *THOUGHT[:2], ev.PartStop(0)) == reasoned(0, ["a"], **sealed)
    assert between(reply(), ev.ReasoningStart(0), ev.PartStop(0)) == []


@pytest.mark.parametrize(("upstream", "sealed"), [("responses", "E1"), ("chat", reasoning.seal_item("ant", "rs_9", "E1", ["plan"]))])
def test_a_reasoning_item_of_an_openai_model(upstream: str, sealed: str) -> None:
    events: list[ev.Event] = [
        ev.ReasoningStart(0), ev.Reasoning(0, "plan"), ev.Seal(0, "openai", "E1", "rs_9", ("plan",)), ev.PartStop(0),
        ev.ReasoningStart(1), ev.Reasoning(1, "b"), ev.PartStop(1),
    ]  # fmt: skip
    found = between(reply(upstream, **SUMMARY, store=False), *events)
    bare = {} if upstream == "responses" else {"encrypted_content": reasoning.seal_text("ant", "b")}
    assert found == [*reasoned(0, ["plan"], encrypted_content=sealed), *reasoned(1, ["b"], **bare)]


def raw_of(told: Reply, *events: ev.Event) -> dict[int, Any]:
    collector = responses.Collector(told)
    collector.feed([START, *events, ev.Stop("end")])
    return collector.raw_reasoning


def test_what_is_kept_of_reasoning() -> None:
    text: list[ev.Event] = [ev.TextStart(3), ev.Text(3, "x"), ev.PartStop(3)]
    again: list[ev.Event] = [ev.ReasoningStart(4), ev.Reasoning(4, "open"), ev.PartStop(4)]
    assert raw_of(reply("messages"), *THOUGHT, *MORE, *text, *again) == {0: ALL_BLOCKS, 2: "open"}
    assert raw_of(reply(), ev.ReasoningStart(0), ev.Reasoning(0, "a"), ev.PartStop(0)) == {0: "a"}
    item = {"type": "reasoning", "id": "rs_9", "summary": [{"type": "summary_text", "text": "plan"}], "encrypted_content": "E1"}
    sealed: list[ev.Event] = [ev.ReasoningStart(0), ev.Seal(0, "openai", "E1", "rs_9", ("plan",)), ev.PartStop(0)]
    assert raw_of(reply(), *sealed) == {0: [item]}


def test_reasoning_that_a_refusal_interrupts() -> None:
    events = [ev.ReasoningStart(0), ev.Reasoning(0, "a"), ev.Refusal("no"), ev.Reasoning(0, "b"), ev.PartStop(0)]
    assert [value["item"]["type"] for value in between(reply(), *events) if value["type"] == "output_item.done"] == [
        "reasoning", "message", "reasoning",
    ]  # fmt: skip


# ---- tool calls ----


@pytest.mark.parametrize(
    ("pieces", "written", "status"),
    [
        ([], ["{}"], "completed"),
        ([" "], [" ", "{}"], "completed"),
        (['{"a":', "1}"], ['{"a":', "1}"], "completed"),
        (['{"path":"/a","te'], ['{"path":"/a","te'], "incomplete"),
    ],
)
def test_arguments(pieces: list[str], written: list[str], status: str) -> None:
    events = [ev.ToolStart(0, "c", "f"), *(ev.Arguments(0, piece) for piece in pieces), ev.PartStop(0)]
    assert between(reply(), *events, reason="length") == called(0, "c", "f", *written, status=status)


def test_a_namespace_is_said() -> None:
    events = [ev.ToolStart(0, "c", "f", "function", "n"), ev.Arguments(0, "{}"), ev.PartStop(0)]
    assert between(reply(), *events) == called(0, "c", "f", "{}", namespace="n")


@pytest.mark.parametrize(("reason", "status"), [("tool", "completed"), ("length", "incomplete")])
def test_free_text(reason: str, status: str) -> None:
    events = [ev.ToolStart(0, "c", "sh", "custom"), ev.Arguments(0, "l"), ev.Arguments(0, "s"), ev.PartStop(0)]
    head: dict[str, Any] = {"id": "ctc_0", "type": "custom_tool_call", "call_id": "c", "name": "sh"}
    here = at(0, "ctc")
    assert between(reply(), *events, reason=reason) == [
        opened(0, **head, input="", status="in_progress"),
        {"type": "custom_tool_call_input.delta", **here, "delta": "l"},
        {"type": "custom_tool_call_input.delta", **here, "delta": "s"},
        {"type": "custom_tool_call_input.done", **here, "input": "ls"},
        closed(0, **head, input="ls", status=status),
    ]


def test_free_text_that_something_follows_is_whole() -> None:
    events = [ev.ToolStart(0, "c", "sh", "custom"), ev.Arguments(0, "ls"), ev.PartStop(0), ev.ToolStart(1, "d", "f"), ev.PartStop(1)]
    statuses = [value["item"]["status"] for value in between(reply(), *events, reason="length") if value["type"] == "output_item.done"]
    assert statuses == ["completed", "completed"]


def test_ids_that_are_missing_or_twice_there() -> None:
    events = [e for i in range(4) for e in (ev.ToolStart(i, "" if i < 2 else "c", "f"), ev.PartStop(i))]
    ids = [value["item"]["call_id"] for value in between(reply(), *events) if value["type"] == "output_item.done"]
    assert len(set(ids)) == 4
    assert ids[0] == "call_" + digest("msg_1:0", 24)
    assert ids[2] == "c"


def test_free_text_out_of_a_chat_upstreams_function() -> None:
    """A grammar tool that went up as a function: its text is streamed as it comes, whatever the escapes are cut by."""
    tools = ToolMap(native_custom=False)
    tools._declared["apply_patch"] = Declared("apply_patch", "custom", None, emulated=True)
    told = reply()
    told.tools = tools
    decoder, encoder = chat.StreamDecoder(told), Wire("responses", told)

    def feed(delta: dict[str, Any], finish: str | None = None) -> list[dict[str, Any]]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        data = json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [choice]}).encode()
        return [orjson.loads(data) for _, data in sse.Splitter().feed(encoder.feed(decoder.feed((b"", data))))]

    feed({"role": "assistant", "content": ""})
    feed({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "apply_patch", "arguments": '{"in'}}]})
    deltas = []
    for piece in ('put": "*** Beg', 'in\\n\\"q', '\\" \\ud8', "3d", '\\ude00"', "}"):
        values = feed({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        assert all(value["type"] == "response.custom_tool_call_input.delta" for value in values)
        deltas.append("".join(value["delta"] for value in values))
    assert deltas[:2] == ["*** Beg", 'in\n"q']
    assert "".join(deltas) == '*** Begin\n"q" 😀'
    feed({}, "tool_calls")
    last = [orjson.loads(data) for _, data in sse.Splitter().feed(encoder.feed(decoder.feed((b"", b"[DONE]"))))]
    assert [value["type"] for value in last] == [
        "response.custom_tool_call_input.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert last[-1]["response"]["output"][0]["input"] == '*** Begin\n"q" 😀'


# ---- the end ----


@pytest.mark.parametrize(
    ("reason", "status", "why", "said_status"),
    [
        ("end", "completed", None, "completed"),
        ("stop_sequence", "completed", None, "completed"),
        ("tool", "completed", None, "completed"),
        ("pause", "incomplete", "max_output_tokens", "incomplete"),
        ("length", "incomplete", "max_output_tokens", "incomplete"),
        ("context", "incomplete", "max_output_tokens", "incomplete"),
        ("filter", "incomplete", "content_filter", "incomplete"),
        ("refusal", "incomplete", "content_filter", "completed"),
    ],
)
def test_stop_reasons(reason: str, status: str, why: str | None, said_status: str) -> None:
    events: list[ev.Event] = [START, ev.TextStart(0), ev.Text(0, "a"), ev.PartStop(0), ev.Stop(reason)]
    last = stream(reply(), events)[-1]
    assert last["type"] == f"response.{status}"
    final = last["response"]
    assert final["status"] == status
    assert final["incomplete_details"] == ({"reason": why} if why else None)
    assert final["completed_at"] == (11 if status == "completed" else None)
    assert final["output"][0]["status"] == said_status
    assert final == collect(reply(), events)


BROKEN: list[ev.Event] = [
    START,
    ev.ReasoningStart(0), ev.Reasoning(0, "r"), ev.PartStop(0),
    ev.ToolStart(1, "c", "f"), ev.Arguments(1, '{"a'), ev.ToolStart(2, "d", "sh", "custom"), ev.Arguments(2, "l"), ev.PartStop(2),
    ev.TextStart(3), ev.Text(3, "half a"),
]  # fmt: skip


def test_a_fault_is_told_twice_and_is_the_end() -> None:
    """As the documentation has it, and as the official SDKs raise it; with what there was of the answer."""
    encoder = Wire("responses", reply())
    out = encoder.feed([*BROKEN, ev.Fault(errors.Truncated("It broke."))])
    assert GRAMMARS["responses"](out) == "error"
    values = [orjson.loads(data) for _, data in sse.Splitter().feed(out)]
    failed, error = values[-2:]
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"] == {"code": "server_error", "message": "It broke."}
    assert [(item["type"], item["status"]) for item in failed["response"]["output"]] == [
        ("reasoning", "completed"), ("function_call", "incomplete"), ("custom_tool_call", "completed"), ("message", "incomplete"),
    ]  # fmt: skip
    assert failed["response"]["output"][3]["content"][0]["text"] == "half a"
    flat = {"code": "upstream_stream_interrupted", "message": "It broke.", "param": None}
    assert error == {
        "type": "error", "sequence_number": len(values) - 1, **flat, "error": {"type": "server_error", **flat},
    }  # fmt: skip
    assert encoder.feed([ev.Text(3, "x"), ev.Stop("end")]) == encoder.keep_alive() == b""
    assert encoder.response == failed["response"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Truncated("x"), "server_error"),
        (errors.Answered("x", kind="rate_limit"), "rate_limit_exceeded"),
        (errors.Answered("x", kind="context_too_long"), "context_length_exceeded"),
        (errors.Answered("x", kind="billing"), "insufficient_quota"),
        (errors.Answered("x", kind="content_policy", code="bio_policy"), "bio_policy"),
        (errors.Answered("x", kind="bad_request", code="tool_name_conflict"), "tool_name_conflict"),
        (errors.Answered("x", kind="bad_request"), "invalid_prompt"),
        (errors.Answered("x", kind="server", code="of_tomorrow"), "server_error"),
    ],
)
def test_a_fault_before_the_beginning(error: errors.GatewayError, code: str) -> None:
    out = Wire("responses", reply()).feed([ev.Fault(error)])
    values = [orjson.loads(data) for _, data in sse.Splitter().feed(out)]
    assert [value["type"] for value in values] == ["response.created", "response.in_progress", "response.failed", "error"]
    assert values[2]["response"]["error"]["code"] == code
    collector = responses.Collector(reply())
    collector.feed([ev.Fault(error)])
    assert collector.error is error


def test_an_answer_that_could_not_be_kept() -> None:
    encoder = Wire("responses", reply())
    before = encoder.feed(BROKEN[:4])
    encoder.feed([ev.TextStart(1), ev.Text(1, "a"), ev.PartStop(1), ev.Stop("end")])
    # what Stop gave is thrown away; the frames before it in the same read are not
    lost = encoder.fail(errors.LocalBug("The answer could not be kept."))
    assert b"response.failed" in lost
    assert b"response.completed" not in lost
    assert GRAMMARS["responses"](before + lost) == "error"


def test_keep_alives() -> None:
    encoder = Wire("responses", reply())
    assert encoder.keep_alive() == sse.KEEP_ALIVE
    assert encoder.feed([ev.Ping()]) == b""
    encoder.feed([START])
    assert encoder.keep_alive() == sse.KEEP_ALIVE


def test_what_is_said_of_an_item_does_not_change_later() -> None:
    values = stream(reply(**SUMMARY), EVERYTHING)
    for value in values:
        if value["type"] == "response.output_item.added":
            item = value["item"]
            assert not any(item.get(key) for key in ("content", "summary", "arguments"))
    assert values[0]["response"] == values[1]["response"]
    assert values[0]["response"]["output"] == []


# ---- any answer ----


_ASKED = st.sampled_from([{}, SUMMARY, {"store": False}, SUMMARY | {"store": False}])


@settings(max_examples=200, deadline=None)
@given(eventful(), _ASKED, st.sampled_from(["chat", "messages", "responses"]))
def test_streamed_and_collected_are_one_answer(events: list[ev.Event], asked: dict[str, Any], upstream: str) -> None:
    machine.check(events)
    told = reply(upstream, **asked)
    values = stream(told, events)
    body = collect(told, events)
    assert values[-1]["response"] == body
    assert plain(judged(values)["output"]) == plain(body["output"])
    for item in body["output"]:
        assert item["type"] != "message" or item["content"]


@settings(max_examples=200, deadline=None)
@given(eventful(), _ASKED)
def test_what_was_written_is_read_again(events: list[ev.Event], asked: dict[str, Any]) -> None:
    """Streamed or whole, read by our own decoder and written again: the same items."""
    told = reply("responses", **asked)
    once = Wire("responses", told).feed(events)
    body = collect(told, events)
    decoder = responses.StreamDecoder(told)
    streamed = [event for frame in sse.Splitter().feed(once) for event in decoder.feed(frame)]
    whole = responses.decode_response(body, told)
    for again in (streamed, whole):
        machine.check(again)
        assert contents(collect(told, again)) == contents(body)


@settings(max_examples=100, deadline=None)
@given(eventful(), _ASKED)
def test_the_dialects_differ_in_names_alone(events: list[ev.Event], asked: dict[str, Any]) -> None:
    usual, told = reply(**asked), reply(**asked)
    told.dialect = OPEN
    out = Wire("responses", told).feed(events)
    GRAMMARS["responses"](out + OPEN.end)
    for step in (b"delta", b"done"):
        out = out.replace(b"response.reasoning." + step, b"response.reasoning_text." + step)
    assert out == Wire("responses", usual).feed(events)


@pytest.mark.parametrize("dialect", [OPENAI, OPEN])
@pytest.mark.parametrize("asked", [{}, SUMMARY])
def test_what_a_stream_has_said_so_far(dialect: Dialect, asked: dict[str, Any]) -> None:
    """Of every event on: what is over is whole, what is open has its pieces."""
    told = reply(**asked)
    told.dialect = dialect
    wire, snapshot, seen = Wire("responses", told), responses.Snapshot(), []
    for event in EVERYTHING[:-1]:
        frames = [sse.event_frame(name, data) for name, data in sse.Splitter().feed(wire.feed([event]))]
        snapshot.feed(frame.rstrip(b"\n") for frame in frames)
        seen.append([str(part) for part in snapshot.output])
    assert any("plan" in part for part in seen[2])
    final = collect(told, EVERYTHING)
    assert snapshot.output == final["output"]


def test_a_failure_in_the_other_dialect() -> None:
    told = reply()
    told.dialect = OPEN
    out = Wire("responses", told).feed([*BROKEN, ev.Fault(errors.Truncated("It broke."))])
    assert GRAMMARS["responses"](out + OPEN.end) == "error"
    values = [orjson.loads(data) for _, data in sse.Splitter().feed(out)]
    assert [value["type"] for value in values[-2:]] == ["error", "response.failed"]
    assert [value["sequence_number"] for value in values] == list(range(len(values)))


def contents(body: dict[str, Any]) -> Any:
    """What an answer says: per kind of item, in order. Refusals are bound to no message on their way."""
    found: dict[str, Any] = {"status": body["status"], "text": "", "refusal": ""}
    for item in body["output"]:
        kind = item["type"]
        if kind == "message":
            for part in item["content"]:
                found["text"] += part.get("text", "")
                found["refusal"] += part.get("refusal", "")
        elif kind == "reasoning":
            texts = [part["text"] for part in item["summary"] + item.get("content", [])]
            if texts:  # of an item without any, only its place is said
                found.setdefault("reasoning", []).append("\n\n".join(texts))
        elif kind != "compaction":  # no other API has a place for one
            found.setdefault("calls", []).append([item.get(key) for key in ("type", "call_id", "name", "arguments", "input")])
    return found
