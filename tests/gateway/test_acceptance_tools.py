"""Tool calls on their way down: interleaved, cut, without arguments, without names, with free text (acceptance T01–T09, T35, T37)."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import pydantic_function_tool
from pydantic import BaseModel

from ..codecs import grammar
from ..scripted import LAST_CHUNK, chunk, sse, stream, stream_head
from .stage import Stage
from .upstreams import Answer, called, chat_chunk, completion, message, more, opened, said

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
TOOLS = ("a", "b", "f")
MESSAGES_TOOLS: Any = [{"name": name, "input_schema": {"type": "object"}} for name in TOOLS]
RESPONSES_TOOLS: Any = [{"type": "function", "name": name, "parameters": {"type": "object"}, "strict": False} for name in TOOLS]
CHAT_TOOLS: Any = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in TOOLS]


def final(stage: Stage, model: str = "chat/m") -> Any:
    """What the messages SDK makes of a stream, and its wire form in order."""
    with stage.ant.messages.stream(model=model, max_tokens=100, messages=MESSAGES, tools=MESSAGES_TOOLS) as told:
        return told.get_final_message()


def blocks(message: Any) -> list[Any]:
    return [(block.type, block.text if block.type == "text" else (block.id, block.name, block.input)) for block in message.content]


def in_order(stage: Stage, upstream: str = "chat") -> list[tuple[str, int]]:
    """Starts and stops of a messages stream, which keeps to its grammar."""
    raw = stage.raw("messages", upstream, tools=MESSAGES_TOOLS)
    assert grammar.messages(raw) == "done"
    marks = {"content_block_start": "start", "content_block_stop": "stop"}
    return [(marks[value["type"]], value["index"]) for _, value in grammar.events_of(raw) if value["type"] in marks]


def starts_and_stops(count: int) -> list[tuple[str, int]]:
    return [(mark, index) for index in range(count) for mark in ("start", "stop")]


def test_T01_text_a_tool_and_text_again_are_three_blocks(stage: Stage) -> None:
    stage.play(completion({"content": "A"}, opened(0, "call_1", "a", "{}"), {"content": "B"}, finish="tool_calls"))
    answer = final(stage)
    assert blocks(answer) == [("text", "A"), ("tool_use", ("call_1", "a", {})), ("text", "B")]
    assert answer.stop_reason == "tool_use"
    assert in_order(stage) == starts_and_stops(3)


def test_T02_interleaved_calls_come_one_after_the_other(stage: Stage) -> None:
    stage.play(
        completion(
            opened(0, "call_1", "a"),
            opened(1, "call_2", "b"),
            more(0, '{"x":'),
            more(1, '{"y":'),
            more(0, "1}"),
            more(1, "2}"),
            finish="tool_calls",
        )
    )
    assert blocks(final(stage)) == [("tool_use", ("call_1", "a", {"x": 1})), ("tool_use", ("call_2", "b", {"y": 2}))]
    assert in_order(stage) == starts_and_stops(2)


def test_T03_everything_in_one_chunk(stage: Stage) -> None:
    calls = [*opened(0, "call_1", "a", '{"x":1}')["tool_calls"], *opened(1, "call_2", "b", '{"y":2}')["tool_calls"]]
    stage.play(stream(chat_chunk({"role": "assistant", "content": "Hi", "tool_calls": calls}, "tool_calls"), sse("[DONE]")))
    answer = final(stage)
    assert blocks(answer) == [("text", "Hi"), ("tool_use", ("call_1", "a", {"x": 1})), ("tool_use", ("call_2", "b", {"y": 2}))]
    assert answer.stop_reason == "tool_use"
    assert in_order(stage) == starts_and_stops(3)


def test_T04_two_calls_that_share_an_index(stage: Stage) -> None:
    stage.play(
        completion(
            opened(0, "call_1", "a"), more(0, '{"x":1}'), opened(0, "call_2", "b"), more(0, '{"y":'), more(0, "2}"), finish="tool_calls"
        )
    )
    assert blocks(final(stage)) == [("tool_use", ("call_1", "a", {"x": 1})), ("tool_use", ("call_2", "b", {"y": 2}))]
    assert in_order(stage) == starts_and_stops(2)


def test_T05_arguments_before_their_name(stage: Stage) -> None:
    named = {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f"}}]}
    stage.play(completion(more(0, '{"q":"'), named, more(0, 'x"}'), finish="tool_calls"))
    with stage.oai.responses.stream(model="chat/m", input="Hi", tools=RESPONSES_TOOLS) as told:
        seen = [event.type for event in told]
        answer = told.get_final_response()
    assert [(item.type, item.name, item.arguments, item.call_id) for item in answer.output] == [
        ("function_call", "f", '{"q":"x"}', "call_1")
    ]
    assert seen.index("response.output_item.added") < seen.index("response.function_call_arguments.delta")
    assert grammar.responses(stage.raw("responses", "chat", tools=RESPONSES_TOOLS)) == "done"


def test_T06_arguments_of_white_space_are_none(stage: Stage) -> None:
    stage.play(completion(opened(0, "call_1", "a"), more(0, "  "), more(0, "\n"), finish="tool_calls"))
    assert blocks(final(stage)) == [("tool_use", ("call_1", "a", {}))]
    assert in_order(stage) == starts_and_stops(1)


class Nothing(BaseModel):
    """A tool without arguments."""


def test_T07_a_call_without_arguments_has_an_empty_object(stage: Stage) -> None:
    stage.play(message(called("toolu_1", "Nothing"), stop="tool_use"))
    tools: Any = [pydantic_function_tool(Nothing)]
    whole = stage.oai.chat.completions.create(model="messages/m", messages=MESSAGES, tools=tools)
    assert whole.choices[0].message.tool_calls[0].function.arguments == "{}"
    with stage.oai.chat.completions.stream(model="messages/m", messages=MESSAGES, tools=tools) as told:
        for _ in told:
            pass
        answer = told.get_final_completion()
    call = answer.choices[0].message.tool_calls[0]
    assert (call.id, call.function.name, call.function.arguments) == ("toolu_1", "Nothing", "{}")
    assert call.function.parsed_arguments == Nothing()
    assert answer.choices[0].finish_reason == "tool_calls"


def test_T08_stop_with_calls_means_the_calls(stage: Stage) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "a", "arguments": '{"x":1}'}}
    stage.play(completion(finish="stop", said={"content": None, "tool_calls": [call]}))
    answer = stage.ant.messages.create(model="chat/m", max_tokens=100, messages=MESSAGES, tools=MESSAGES_TOOLS)
    assert blocks(answer) == [("tool_use", ("call_1", "a", {"x": 1}))]
    assert answer.stop_reason == "tool_use"


# ---- cut calls ----

CUT = '{"path":"/a","te'
CUT_IN_CHAT = completion(opened(0, "call_1", "f"), more(0, CUT), finish="length")


def test_T09_a_call_that_the_limit_cut_for_messages(stage: Stage) -> None:
    stage.play(CUT_IN_CHAT)
    answer = final(stage)
    assert answer.stop_reason == "max_tokens"
    assert [(block.type, block.name) for block in answer.content] == [("tool_use", "f")]
    assert answer.content[0].input == {"path": "/a"}


def test_T09_a_call_that_the_limit_cut_for_responses(stage: Stage) -> None:
    stage.play(CUT_IN_CHAT)
    events = list(stage.oai.responses.create(model="chat/m", input="Hi", tools=RESPONSES_TOOLS, stream=True))
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [(item.type, item.status, item.arguments) for item in done] == [("function_call", "incomplete", CUT)]
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.status == "incomplete"
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert last.response.output == done


def test_T09_a_call_that_the_limit_cut_for_chat(stage: Stage) -> None:
    stage.play(message(called("toolu_1", "f", CUT), stop="max_tokens"))
    chunks = list(stage.oai.chat.completions.create(model="messages/m", messages=MESSAGES, tools=CHAT_TOOLS, stream=True))
    choices = [choice for one in chunks for choice in one.choices]
    assert "".join(call.function.arguments for choice in choices for call in choice.delta.tool_calls or []) == CUT
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["length"]
    with (
        pytest.raises(openai.LengthFinishReasonError),  # by its own design, not ours
        stage.oai.chat.completions.stream(model="messages/m", messages=MESSAGES, tools=[pydantic_function_tool(Nothing)]) as told,
    ):
        list(told)


# ---- free text ----

PATCH: Any = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin"'},
}
PIECES = (r'{"input":"*** Begin\n\"q\" \ud83d', r'\ude00"}')
DECODED = '*** Begin\n"q" \N{GRINNING FACE}'


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_T35_a_free_text_tool_over_functions(stage: Stage, upstream: str) -> None:
    call = Answer([], {})
    if upstream == "chat":
        call = completion(opened(0, "call_1", "apply_patch"), *(more(0, piece) for piece in PIECES), finish="tool_calls")
    else:
        call = message(called("call_1", "apply_patch", *PIECES), stop="tool_use")
    done = completion({"content": "ok"}) if upstream == "chat" else message(said("ok"))
    stage.play(call, done)
    with stage.oai.responses.stream(model=f"{upstream}/m", input="edit", tools=[PATCH], store=False) as told:
        events = list(told)
        answer = told.get_final_response()
    pieces = [event.delta for event in events if event.type == "response.custom_tool_call_input.delta"]
    assert "".join(pieces) == DECODED
    assert len(pieces) > 1
    assert [(item.type, item.call_id, item.name, item.input) for item in answer.output] == [
        ("custom_tool_call", "call_1", "apply_patch", DECODED)
    ]
    result = {"type": "custom_tool_call_output", "call_id": "call_1", "output": "done"}
    history: Any = [{"role": "user", "content": "edit"}, *(item.to_dict() for item in answer.output), result]
    with stage.oai.responses.stream(model=f"{upstream}/m", input=history, tools=[PATCH], store=False) as told:
        assert told.get_final_response().output_text == "ok"
    first, second = stage.asked
    if upstream == "chat":
        tool = first["tools"][0]["function"]
        assert second["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "done"}
    else:
        tool = first["tools"][0] | {"parameters": first["tools"][0]["input_schema"]}
        assert second["messages"][-1]["content"] == [{"type": "tool_result", "tool_use_id": "call_1", "content": "done"}]
        assert second["messages"][-2]["content"] == [
            {"type": "tool_use", "id": "call_1", "name": "apply_patch", "input": {"input": DECODED}}
        ]
    assert tool["parameters"]["properties"] == {"input": {"type": "string"}}
    assert tool["description"] == 'Edits files.\n\nThe "input" string must follow this lark grammar:\nstart: "*** Begin"'


# ---- everything at once ----

BUSY = completion(
    {"reasoning_content": "I "},
    {"reasoning_content": "look"},
    {"content": "Hi "},
    {"content": "you"},
    opened(0, "call_1", "a"),
    opened(1, "call_2", "b"),
    more(0, '{"x":'),
    more(1, '{"y":'),
    more(1, "2}"),
    more(0, "1}"),
    finish="tool_calls",
    usage={"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
)


def test_T37_a_responses_stream_keeps_to_its_grammar(stage: Stage) -> None:
    stage.play(BUSY)
    raw = stage.raw("responses", "chat", tools=RESPONSES_TOOLS)
    assert grammar.responses(raw) == "done"
    events = [value for _, value in grammar.events_of(raw)]
    assert [value["sequence_number"] for value in events] == list(range(len(events)))
    assert b'"phase"' not in raw
    assert b'"obfuscation"' not in raw
    items: dict[int, set[str]] = {}
    for value in events:
        if "output_index" in value:
            items.setdefault(value["output_index"], set()).add(value.get("item_id") or value["item"]["id"])
    assert [len(ids) for ids in items.values()] == [1, 1, 1, 1]
    assert [next(iter(ids)).partition("_")[0] for ids in items.values()] == ["rs", "msg", "fc", "fc"]
    assert events[-1]["response"]["usage"]["total_tokens"] == 19


def test_T37_the_helper_reads_it(stage: Stage) -> None:
    stage.play(BUSY)
    with stage.oai.responses.stream(model="chat/m", input="Hi", tools=RESPONSES_TOOLS) as told:
        answer = told.get_final_response()
    reasoning, said_, first, second = answer.output
    assert reasoning.content[0].text == "I look"
    assert said_.content[0].text == answer.output_text == "Hi you"
    assert [(call.call_id, call.name, call.arguments) for call in (first, second)] == [
        ("call_1", "a", '{"x":1}'),
        ("call_2", "b", '{"y":2}'),
    ]


# ---- ends ----


def test_T16_done_without_a_finish_reason(stage: Stage) -> None:
    stage.play(completion({"content": "Hello"}, finish=None))
    answer = final(stage)
    assert (blocks(answer), answer.stop_reason) == ([("text", "Hello")], "end_turn")
    stage.play(completion(finish=None))
    refused = stage.post("messages", {"model": "chat/m", "max_tokens": 10, "messages": MESSAGES, "stream": True})
    assert refused.status_code == 502
    assert refused.json()["error"]["type"] == "api_error"


def test_T17_a_finish_without_done(stage: Stage) -> None:
    events = completion({"content": "Hello"}).events[:-1]
    cut = events[-1].rstrip(b"\n")
    stage.play([stream_head(), *map(chunk, events[:-1]), chunk(cut), LAST_CHUNK])
    answer = final(stage)
    assert (blocks(answer), answer.stop_reason) == ([("text", "Hello")], "end_turn")
    assert grammar.messages(stage.raw("messages", "chat")) == "done"
