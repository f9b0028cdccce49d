"""What an answer cost, in every direction, and usage chunks that were or were not asked for (acceptance T10–T14)."""

from __future__ import annotations

from typing import Any

import pytest

from ..codecs import grammar
from ..scripted import respond, sse, stream
from .stage import Stage
from .upstreams import chat_chunk, chat_usage, completion, message, said

MESSAGES: Any = [{"role": "user", "content": "Hi"}]

COUNTED = message(
    said("Hi"),
    usage={
        "input_tokens": 30,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 100,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 20},
    },
)
CHAT_COUNTS = {
    "prompt_tokens": 1130,
    "completion_tokens": 50,
    "total_tokens": 1180,
    "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 100},
    "completion_tokens_details": {"reasoning_tokens": 20},
}
RESPONSE_COUNTS = {
    "input_tokens": 1130,
    "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 100},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 1180,
}


def chat_usages(raw: bytes) -> list[Any]:
    return [value["usage"] for _, value in grammar.events_of(raw) if value != "[DONE]" and value.get("usage")]


def test_T10_cached_tokens_of_messages_for_chat(stage: Stage) -> None:
    stage.play(COUNTED)
    assert stage.whole("chat", "messages")["usage"] == CHAT_COUNTS
    assert chat_usages(stage.raw("chat", "messages", stream_options={"include_usage": True})) == [CHAT_COUNTS]
    usage = stage.oai.chat.completions.create(model="messages/m", messages=MESSAGES).usage
    assert (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.total_tokens) == (1130, 1000, 1180)


def test_T10_cached_tokens_of_messages_for_responses(stage: Stage) -> None:
    stage.play(COUNTED)
    assert stage.whole("responses", "messages")["usage"] == RESPONSE_COUNTS
    last = grammar.events_of(stage.raw("responses", "messages"))[-1][1]
    assert last["response"]["usage"] == RESPONSE_COUNTS
    with stage.oai.responses.stream(model="messages/m", input="Hi") as told:
        assert told.get_final_response().usage.to_dict() == RESPONSE_COUNTS


def test_T11_cached_tokens_of_chat_for_messages(stage: Stage) -> None:
    counts = {
        "prompt_tokens": 1130,
        "completion_tokens": 50,
        "total_tokens": 1180,
        "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 100},
    }
    stage.play(completion({"content": "Hi"}, usage=counts, said={"content": "Hi"}))
    expected = {"input_tokens": 30, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 100, "output_tokens": 50}
    whole = stage.ant.messages.create(model="chat/m", max_tokens=10, messages=MESSAGES).usage
    with stage.ant.messages.stream(model="chat/m", max_tokens=10, messages=MESSAGES) as told:
        streamed = told.get_final_message().usage
    for usage in (whole, streamed):
        assert {key: getattr(usage, key) for key in expected} == expected
        assert usage.output_tokens_details is None  # the upstream said nothing of reasoning
    deltas = [value for name, value in grammar.events_of(stage.raw("messages", "chat")) if name == "message_delta"]
    assert [delta["usage"] for delta in deltas] == [expected]


def growing(total: int) -> dict[str, int]:
    return {"prompt_tokens": 70, "completion_tokens": total - 70, "total_tokens": total}


ON_EVERY_CHUNK = [
    chat_chunk({"role": "assistant", "content": ""}, usage=growing(71)),
    chat_chunk({"content": "Hello"}, usage=growing(74)),
    chat_chunk({}, "stop", usage=growing(77)),
    sse("[DONE]"),
]


def test_T12_usage_on_every_chunk_is_not_added_up(stage: Stage) -> None:
    stage.play(stream(*ON_EVERY_CHUNK))
    with stage.ant.messages.stream(model="chat/m", max_tokens=10, messages=MESSAGES) as told:
        usage = told.get_final_message().usage
    assert (usage.input_tokens, usage.output_tokens) == (70, 7)


def test_T12_usage_on_every_chunk_stays_as_it_is_in_its_own_shape(stage: Stage) -> None:
    stage.play(stream(*ON_EVERY_CHUNK))
    answer = stage.post("chat", {"model": "bare-chat", "messages": MESSAGES, "stream": True})
    assert answer.content == b"".join(ON_EVERY_CHUNK)


BODY = b'{"messages": [{"role":"user","content":"Hi"}],\t"stream" : true, "model":"bare-chat", "n": 1.0 }'
WITH_USAGE = [
    chat_chunk({"role": "assistant", "content": ""}, usage=None),
    chat_chunk({"content": "Hello"}, usage=None),
    chat_chunk({}, "stop", usage=None),
    chat_usage(growing(77)),
    sse("[DONE]"),
]


def test_T13_usage_that_only_the_gateway_wants(stage: Stage) -> None:
    stage.play(stream(*WITH_USAGE))
    answer = stage.post("chat", BODY)
    asked = stage.requests[0].body
    added = asked.replace(b" ", b"").index(b'"stream_options":{"include_usage":true}')
    assert added > 0
    end = len(BODY.rstrip(b" }"))
    assert asked[:end] == BODY[:end]
    assert asked[-1:] == b"}"
    assert stage.asked[0] == {**_loads(BODY), "stream_options": {"include_usage": True}}
    assert answer.content == b"".join(event for event in WITH_USAGE if b'"choices":[]' not in event)


def test_T13_usage_that_the_caller_wants(stage: Stage) -> None:
    body = BODY.replace(b'"n": 1.0 ', b'"stream_options": {"include_usage" : true }')
    stage.play(stream(*WITH_USAGE))
    answer = stage.post("chat", body)
    assert stage.requests[0].body == body
    assert answer.content == b"".join(WITH_USAGE)


@pytest.mark.parametrize("asked", [True, False])
def test_the_usage_of_a_whole_answer_in_the_place_of_a_stream(stage: Stage, asked: bool) -> None:
    """As of an upstream that ignores `stream: true`."""
    whole = completion(said={"content": "Hi"}, usage={"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}).whole
    stage.play([respond(whole)])
    usages = chat_usages(stage.raw("chat", "chat", stream_options={"include_usage": asked}))
    assert [usage["total_tokens"] for usage in usages] == ([7] if asked else [])


def _loads(body: bytes) -> Any:
    import json

    return json.loads(body)


@pytest.mark.parametrize("asked", [True, False])
def test_T14_the_usage_chunk_comes_only_when_asked_for(stage: Stage, asked: bool) -> None:
    stage.play(COUNTED)
    raw = stage.raw("chat", "messages", stream_options={"include_usage": asked})
    events = [value for _, value in grammar.events_of(raw)]
    assert events[-1] == "[DONE]"
    if asked:
        assert events[-2]["choices"] == []
        assert events[-2]["usage"]["total_tokens"] == 1180
        assert all(event["usage"] is None for event in events[:-2])
    else:
        assert all("usage" not in event for event in events[:-1])
        assert all(event["choices"] for event in events[:-1])


def test_a_stream_begins_with_about_what_was_asked(stage: Stage) -> None:
    """Messages callers show and add up the tokens that a stream begins with; its end tells what the upstream counted."""
    asked: Any = {"messages": [{"role": "user", "content": "Hi " * 700}], "system": "Be brief."}
    stage.play(completion({"content": "Hi"}, usage={"prompt_tokens": 650, "completion_tokens": 3, "total_tokens": 653}))
    events = grammar.events_of(stage.raw("messages", "chat", **asked))
    first, last = (next(value for _, value in events if value["type"] == kind) for kind in ("message_start", "message_delta"))
    assert 500 < first["message"]["usage"]["input_tokens"] < 800
    assert first["message"]["usage"]["output_tokens"] == 0
    assert (last["usage"]["input_tokens"], last["usage"]["output_tokens"]) == (650, 3)
    with stage.ant.messages.stream(model="chat/m", max_tokens=99, **asked) as told:
        usage = told.get_final_message().usage
    assert (usage.input_tokens, usage.output_tokens) == (650, 3)
