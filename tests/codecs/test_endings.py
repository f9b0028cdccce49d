"""Why an answer ended: words of any provider, told to every caller. What nobody knows, or says failure, is no complete answer."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from dragoman.codecs import events as ev
from dragoman.codecs import quirks
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request

USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def completion(word: Any, **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "The ans"} | message, "finish_reason": word}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}


def message(word: Any, **more: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": "The ans"}]
    whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": word}
    return whole | {"stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}} | more


def response(status: Any, why: Any = None, **more: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": "The ans", "annotations": [], "logprobs": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    details = None if why is None else {"reason": why}
    return {"id": "resp_1", "object": "response", "status": status, "output": [item], "incomplete_details": details} | more


def told(upstream: str, caller: str, body: dict[str, Any]) -> tuple[str, list[str]]:
    """How the answer ends for a caller, in the caller's word or "failed"; and what is reported."""
    reply = Reply(Request(caller, "m", {}), upstream=upstream)
    collector = SHAPES[caller].Collector(reply)
    collector.feed(SHAPES[upstream].decode_response(body, reply))
    if collector.error is not None:
        return "failed", reply.unsaid.labels
    answer = collector.body()
    if caller == "chat":
        return answer["choices"][0]["finish_reason"], reply.unsaid.labels
    if caller == "messages":
        return answer["stop_reason"], reply.unsaid.labels
    if caller == "gemini":
        return answer["candidates"][0]["finishReason"], reply.unsaid.labels
    details = answer["incomplete_details"]
    return details["reason"] if details else answer["status"], reply.unsaid.labels


ENDS = {
    "done": {"chat": "stop", "messages": "end_turn", "responses": "completed", "gemini": "STOP"},
    "length": {"chat": "length", "messages": "max_tokens", "responses": "max_output_tokens", "gemini": "MAX_TOKENS"},
    "context": {"chat": "length", "messages": "model_context_window_exceeded", "responses": "max_output_tokens", "gemini": "MAX_TOKENS"},
    "filter": {"chat": "content_filter", "messages": "refusal", "responses": "content_filter", "gemini": "SAFETY"},
    "pause": {"chat": "length", "messages": "pause_turn", "responses": "max_output_tokens", "gemini": "STOP"},
    "failed": dict.fromkeys(SHAPES, "failed"),
}
FINISHES = {
    "done": ["stop", "STOP", "eos", "eos_token", "COMPLETE", "end_turn", None, "null"],
    "length": ["length", "MAX_TOKENS", "max_output_tokens"],
    "context": ["model_context_window_exceeded"],
    "filter": [
        "sensitive", "guardrail_intervened", "content_filtered", "content-filter", "content_filter: PROHIBITED_CONTENT",
        "content_filter: SAFETY", "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "ERROR_TOXIC",
    ],
    "failed": [
        "error", "abort", "network_error", "insufficient_system_resource", "function_call_filter: MALFORMED_FUNCTION_CALL",
        "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "malformed_model_output", "malformed_tool_use", "cancelled",
        "OTHER", "IMAGE_OTHER",
    ],
}  # fmt: skip


@pytest.mark.parametrize("caller", ["messages", "responses"])
@pytest.mark.parametrize(("end", "word"), [(end, word) for end, words in FINISHES.items() for word in words])
def test_finish_reasons(caller: str, end: str, word: Any) -> None:
    assert told("chat", caller, completion(word)) == (ENDS[end][caller], [])


@pytest.mark.parametrize("caller", ["messages", "responses"])
@pytest.mark.parametrize("word", ["content_filter: PROHIBITED_CONTENT", "SAFETY"])
def test_a_filtered_answer_without_a_message(caller: str, word: str) -> None:
    body = completion(word)
    del body["choices"][0]["message"]
    assert told("chat", caller, body) == (ENDS["filter"][caller], [])


@pytest.mark.parametrize("caller", ["chat", "responses"])
@pytest.mark.parametrize("end", ["filter", "failed"])
def test_a_messages_server_speaks_the_same_words(caller: str, end: str) -> None:
    for word in FINISHES[end]:
        assert told("messages", caller, message(word)) == (ENDS[end][caller], [])


@pytest.mark.parametrize("caller", ["chat", "messages"])
@pytest.mark.parametrize(
    ("status", "why", "end", "label"),
    [
        ("incomplete", "max_output_tokens", "length", ""),
        ("incomplete", "content_filter", "filter", ""),
        ("incomplete", "model_context_window_exceeded", "context", ""),
        ("incomplete", None, "length", ""),  # nothing is unknown where nothing was said
        ("incomplete", "max_messages", "length", "incomplete_details.reason:max_messages"),
        ("incomplete", "steered", "length", "incomplete_details.reason:steered"),
        ("incomplete", "of_tomorrow", "length", "incomplete_details.reason:of_tomorrow"),
        ("incomplete", "stop", "length", "incomplete_details.reason:stop"),  # whatever it says, it is not complete
        ("complete", None, "done", ""),
        ("expired", None, "length", "status:expired"),
        ("failed", None, "failed", ""),
        ("cancelled", None, "failed", ""),
    ],
)
def test_responses(caller: str, status: str, why: str | None, end: str, label: str) -> None:
    """R39."""
    assert told("responses", caller, response(status, why)) == (ENDS[end][caller], [label] if label else [])


def generated(word: Any, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A gemini answer."""
    content = {"role": "model", "parts": [*parts] or [{"text": "The ans"}]}
    return {"candidates": [{"content": content, "finishReason": word, "index": 0} | more], "responseId": "r", "modelVersion": "m"}


UNKNOWN = {
    "chat": completion,
    "messages": message,
    "responses": lambda word: response("incomplete", word),
    "gemini": generated,
}


@pytest.mark.parametrize(("upstream", "caller"), [pair for pair in product(SHAPES, SHAPES) if pair[0] != pair[1]])
def test_what_nobody_knows_is_reported_and_not_complete(upstream: str, caller: str) -> None:
    end, labels = told(upstream, caller, UNKNOWN[upstream]("of_tomorrow"))
    assert end == ENDS["length"][caller]
    assert [label.rpartition(":")[2] for label in labels] == ["of_tomorrow"]


@pytest.mark.parametrize(("upstream", "word", "stop"), [
    ("chat", "network_error", quirks.FAILED), ("chat", "of_tomorrow", "length"), ("chat", "sensitive", "filter"),
    ("messages", "guardrail_intervened", "filter"), ("messages", "of_tomorrow", "length"), ("responses", "steered", "length"),
])  # fmt: skip
def test_the_log_of_a_carried_answer_says_it_too(upstream: str, word: str, stop: str) -> None:
    observer = SHAPES[upstream].Observer(Reply(Request(upstream, "m", {})))
    observer.observe_whole(UNKNOWN[upstream](word))
    assert observer.stop == stop


@pytest.mark.parametrize("caller", ["chat", "responses", "gemini"])
def test_a_pause_is_no_end(caller: str) -> None:
    """There is more to come, and a caller of another API has no way to ask for it. Google's has no word for it either, but STOP."""
    assert told("messages", caller, message("pause_turn")) == (ENDS["pause"][caller], ["stop_reason:pause_turn"])
    assert told("messages", caller, message("pause_turn", content=[]))[0] == "failed"


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
ALONE = ("shell_call", "apply_patch_call", "tool_search_call", "program", "program_output", "mcp_approval_request", "compaction")
HOSTED = [
    ("messages", message("end_turn", content=[{"type": "mcp_tool_listing", "tools": []}])),
    ("messages", message("end_turn", content=[THOUGHT, {"type": "container_upload", "file_id": "f"}])),
    ("messages", message("pause_turn", content=[{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}])),
    *(
        ("responses", response("completed") | {"output": [{"type": "reasoning", "id": "rs_1", "summary": []}, {"type": kind, "id": "i_1"}]})
        for kind in ALONE
    ),
]


@pytest.mark.parametrize("caller", SHAPES)
@pytest.mark.parametrize(("upstream", "body"), HOSTED)
def test_an_answer_of_which_nothing_can_be_told_is_no_empty_one(caller: str, upstream: str, body: dict[str, Any]) -> None:
    if caller != upstream:
        assert told(upstream, caller, body)[0] == "failed"
        words: list[Any] = [{"type": "text", "text": "a"}] if upstream == "messages" else response("completed")["output"]
        key = "content" if upstream == "messages" else "output"
        end, labels = told(upstream, caller, body | {key: [*body[key], *words]})
        assert end == ENDS["pause" if body.get("stop_reason") == "pause_turn" else "done"][caller]
        assert labels


@pytest.mark.parametrize("caller", ["chat", "responses"])
def test_an_empty_answer_is_one_where_nothing_else_was_there(caller: str) -> None:
    assert told("messages", caller, message("end_turn", content=[])) == (ENDS["done"][caller], [])
    assert told("messages", caller, message("max_tokens", content=[{"type": "mcp_tool_listing"}]))[0] == ENDS["length"][caller]


SHINY = {"id": "call_1", "type": "shiny", "shiny": {"name": "f", "input": "x"}}
SERVER = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}


@pytest.mark.parametrize("caller", ["messages", "responses"])
def test_a_call_of_an_unknown_type_is_not_an_end(caller: str) -> None:
    label = "choices[0].message.tool_calls:shiny"
    assert told("chat", caller, completion("tool_calls", tool_calls=[SHINY])) == (ENDS["length"][caller], [label])


@pytest.mark.parametrize("caller", ["chat", "responses"])
def test_neither_is_one_that_only_the_messages_shape_has(caller: str) -> None:
    body = message("tool_use", content=[{"type": "text", "text": "a"}, {"type": "of_tomorrow_use", "id": "t", "name": "f"}])
    assert told("messages", caller, body) == (ENDS["length"][caller], ["content[1]:of_tomorrow_use"])


def test_calls_that_a_program_of_the_provider_made_and_got_answered_are_nobodys() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}, "caller": {"type": "code_execution", "tool_id": "srvtoolu_1"}}
    result = {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_1", "content": {}}
    text = {"type": "text", "text": "Done."}
    end, labels = told("messages", "chat", message("end_turn", content=[SERVER, call, result, text]))
    assert (end, labels[1]) == ("stop", "content[1]:tool_use")
    own = {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}}
    assert told("messages", "chat", message("tool_use", content=[SERVER, call, result, own]))[0] == "tool_calls"
    end, _ = told("messages", "chat", message("tool_use", content=[SERVER, call]))
    assert end == "tool_calls"


def test_the_same_in_a_stream() -> None:
    """The calls are on their way when the result shows that they were answered."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}, "caller": {"type": "code_execution", "tool_id": "srvtoolu_1"}}
    result = {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_1", "content": {}}
    decoder = SHAPES["messages"].Decoder(Reply(Request("chat", "m", {})))
    values: list[dict[str, Any]] = [{"type": "message_start", "message": {"id": "msg_1", "content": []}}]
    for index, block in enumerate([SERVER, call, result, {"type": "text", "text": "a"}]):
        values += [{"type": "content_block_start", "index": index, "content_block": block}, {"type": "content_block_stop", "index": index}]
    values += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
    events = [event for value in values for event in decoder.feed((b"", json.dumps(value).encode()))]
    assert events[-1] == ev.Stop("end")


@pytest.mark.parametrize("word", [5, True, {"a": 1}, ["stop"]])
def test_a_word_that_is_no_word(word: Any) -> None:
    assert told("chat", "messages", completion(word))[0] == ENDS["length"]["messages"]
    assert told("messages", "chat", message(word))[0] == ENDS["length"]["chat"]
