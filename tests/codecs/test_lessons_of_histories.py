"""What agents send now and then in an upstream's own API, and its vendor refuses: what is sent instead, and what remains the caller's."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import jsontext
from dragoman.codecs.ids import digest
from dragoman.codecs.registry import SHAPES

from .test_lessons import BODIES, GEMINI, JSON, LONG, MARK, MESSAGES, anthropic, google, openai, taught


def text(said: str, **more: Any) -> JSON:
    return {"type": "text", "text": said, **more}


def said(*turns: Any) -> list[JSON]:
    """Turns of a user and an assistant, one after the other."""
    return [{"role": ("user", "assistant")[number % 2], "content": content} for number, content in enumerate(turns)]


THOUGHT: JSON = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
FIVE = {
    "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"cache_control": {"type": "string"}}}} | MARK],
    "system": [text("a", **MARK)],
    "messages": said(
        [text("b", **MARK), text("c", **MARK)], "d", [{"type": "tool_result", "tool_use_id": "t", "content": [text("e", **MARK)]}]
    ),
}
# what the upstream says, members of the body, what of them goes up instead
OFTEN: list[tuple[str, JSON, JSON]] = [
    (
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        FIVE,
        FIVE | {"tools": [{name: value for name, value in FIVE["tools"][0].items() if name != "cache_control"}]},
    ),
    (
        "messages.0.content.0.text: cache_control cannot be set for empty text blocks",
        {"messages": said([text("", **MARK), text("b", **MARK)])},
        {"messages": said([text(""), text("b", **MARK)])},
    ),
    (
        "messages.1.content.0.thinking.cache_control: Extra inputs are not permitted",
        {"messages": said("a", [THOUGHT | MARK, text("b", **MARK)], "c")},
        {"messages": said("a", [THOUGHT, text("b", **MARK)], "c")},
    ),
    (
        "messages: text content blocks must be non-empty",
        {"system": [text(""), text("s")], "messages": said([text("a"), text(" ", **LONG)], [THOUGHT, text("", **MARK)], [text("c")])},
        {"system": [text("s")], "messages": said([text("a", **LONG)], [THOUGHT], [text("c")])},
    ),
    (
        "messages.1: all messages must have non-empty content except for the optional final assistant message",
        {"messages": [*said("a", "", "b", [text("\n")]), *said("c")]},
        {"messages": [*said("a"), *said("b"), *said("c")]},
    ),
    (
        "messages: text content blocks must contain non-whitespace text",
        {"messages": said([{"type": "tool_result", "tool_use_id": "t", "content": [text("")]}, text("a")])},
        {"messages": said([{"type": "tool_result", "tool_use_id": "t", "content": []}, text("a")])},
    ),
    (
        "messages: final assistant content cannot end with trailing whitespace",
        {"messages": said("a", [text("b \n")])},
        {"messages": said("a", [text("b")])},
    ),
    ("messages: final assistant content cannot end with trailing whitespace", {"messages": said("a", "b ")}, {"messages": said("a", "b")}),
]


@pytest.mark.parametrize(("refusal", "more", "instead"), OFTEN)
def test_what_agents_send_now_and_then(refusal: str, more: JSON, instead: JSON) -> None:
    """Marks and texts of nothing; what is sent instead breaks the rule no more, and the caller's body stays as it was."""
    body = MESSAGES | {"system": "s"} | more
    found = taught("messages", anthropic(refusal), own=True, body=body)
    assert found is not None
    assert found.change is not None
    before = jsontext.dumps(body)
    changed, path = found.change(body)
    assert (changed, path, found.adapts) == (body | instead, ("messages",), "messages")
    assert jsontext.dumps(body) == before
    assert found.change(changed) == (changed, None)


@pytest.mark.parametrize("messages", [said(""), said("a", "b", ""), said("a", "b", [text(" ")])])
def test_nothing_to_answer_is_the_callers(messages: list[JSON]) -> None:
    """Without its last message the conversation would be another one."""
    body = MESSAGES | {"messages": messages}
    found = taught("messages", anthropic("messages: text content blocks must be non-empty"), own=True, body=body)
    assert found is not None
    assert found.change is not None
    assert found.change(body) == (body, None)


def test_thinking_that_a_model_of_google_does_not_know() -> None:
    refusal = {"error": {"code": 400, "message": "Thinking is not enabled for models/gemini-2.0-flash", "status": "INVALID_ARGUMENT"}}
    body = GEMINI | {"generation_config": {"thinking_config": {"include_thoughts": True}, "topK": 5}}
    del body["generationConfig"]
    found = taught("gemini", refusal, own=True, body=body)
    assert found is not None
    assert found.change is not None
    assert found.flags == {"g_thinking": "none"}
    assert found.change(body) == (body | {"generation_config": {"topK": 5}}, ("generation_config", "thinking_config"))


ALLOWED: list[tuple[str, str, JSON]] = [
    ("messages", "safeguards", {"safeguards": {"a": 1}}),
    ("messages", "inference_geo", {"inference_geo": "eu"}),
    ("messages", "thread", {"thread": {"type": "continue", "id": "t"}}),
    ("responses", "moderation", {"moderation": {"policy": {"input": {"mode": "block"}}}}),
    ("gemini", "safetySettings", {"safetySettings": [{"category": "C", "threshold": "BLOCK_NONE"}]}),
]


@pytest.mark.parametrize(("shape", "member", "more"), ALLOWED)
def test_what_a_caller_allows_or_forbids_is_not_left_out(shape: str, member: str, more: JSON) -> None:
    """Where an answer is made, and what may be in it: whether to go on without that is the caller's decision."""
    refusal = google(member) if shape == "gemini" else anthropic(f"{member}: Extra inputs are not permitted")
    assert taught(shape, refusal, own=True, body=BODIES[shape] | more) is None
    assert taught("messages", anthropic("inference_geo: Extra inputs are not permitted"), body=MESSAGES | {"inference_geo": "global"})


CALL: JSON = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT: JSON = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
PICTURE: JSON = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}}
DIGESTED = "toolu_" + digest("functions.f:0", 24)
OF_RESPONSES = "call_" + digest("a|b", 24)
OF_CHAT, LONGEST = "call_" + digest("x" * 41, 24), "x" * 41


def called(id: str) -> JSON:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }


def item(kind: str, **more: Any) -> JSON:
    return {"type": kind, **more}


# shape, what the upstream says, members of the body, what of them goes up instead, what is reported
LATER: list[tuple[str, JSON, JSON, JSON, str]] = [
    (
        "messages",
        anthropic("messages.2: `tool_use` ids were found without `tool_result` blocks immediately after: t."),
        {"messages": said("a", [CALL], [text("b"), RESULT, text("c")])},
        {"messages": said("a", [CALL], [RESULT, text("b"), text("c")])},
        "messages",
    ),
    (
        "messages",
        anthropic("messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"),
        {"messages": said("a", [CALL | {"id": "functions.f:0"}], [RESULT | {"tool_use_id": "functions.f:0"}])},
        {"messages": said("a", [CALL | {"id": DIGESTED}], [RESULT | {"tool_use_id": DIGESTED}])},
        "messages",
    ),
    (
        "messages",
        anthropic("`max_tokens` must be greater than `thinking.budget_tokens`."),
        {"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 5000, "display": "omitted"}},
        {"thinking": {"type": "enabled", "budget_tokens": 3072, "display": "omitted"}},
        "thinking",
    ),
    (
        "messages",
        anthropic("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"),
        {"max_tokens": 1000, "thinking": {"type": "enabled", "budget_tokens": 500}},
        {"thinking": {"type": "disabled"}},
        "thinking",
    ),
    (
        "messages",
        anthropic("messages.2.content.0.tool_result: all content must be type text if `is_error` is true"),
        {"messages": said("a", [CALL], [RESULT | {"content": [PICTURE], "is_error": True}])},
        {"messages": said("a", [CALL], [RESULT | {"content": [text("Error:"), PICTURE]}])},
        "messages",
    ),
    (
        "chat",
        openai("Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got 41 instead."),
        {"messages": [called(LONGEST), {"role": "tool", "tool_call_id": LONGEST, "content": "x"}]},
        {"messages": [called(OF_CHAT), {"role": "tool", "tool_call_id": OF_CHAT, "content": "x"}]},
        "messages",
    ),
    ("chat", openai("invalid thinking.type (2013)"), {"thinking": {"type": "enabled"}}, {"thinking": {"type": "adaptive"}}, "thinking"),
    (
        "responses",
        openai("Item 'rs_1' of type 'reasoning' was provided without its required following item."),
        {"input": [item("reasoning", id="rs_1", summary=[]), item("message", id="msg_1", role="user", content="Hi")]},
        {"input": [item("message", role="user", content="Hi")]},
        "reasoning",
    ),
    (
        "responses",
        openai("Item 'fc_1' of type 'function_call' was provided without its required 'reasoning' item: 'rs_1'."),
        {"reasoning": None, "input": [item("function_call", id="fc_1", call_id="c", name="f", arguments="{}")]},
        {"input": [item("function_call", call_id="c", name="f", arguments="{}")]},
        "reasoning",
    ),
    (
        "responses",
        openai("Invalid type for 'input[0].status': expected one of 'completed' or 'incomplete', but got null instead."),
        {"input": [item("function_call", call_id="c", name="f", arguments="{}", status=None, namespace=None)]},
        {"input": [item("function_call", call_id="c", name="f", arguments="{}")]},
        "input",
    ),
    (
        "responses",
        openai("Invalid 'input[0].call_id': string too long. Expected a string with maximum length 64."),
        {"input": [item("function_call", call_id="a|b", name="f"), item("function_call_output", call_id="a|b", output="x")]},
        {"input": [item("function_call", call_id=OF_RESPONSES, name="f"), item("function_call_output", call_id=OF_RESPONSES, output="x")]},
        "input",
    ),
    (
        "gemini",
        {"error": {"code": 400, "message": "Penalty is not enabled for this model", "status": "INVALID_ARGUMENT"}},
        {"generationConfig": {"presencePenalty": 0.5, "frequency_penalty": 0.5, "topK": 5}},
        {"generationConfig": {"topK": 5}},
        "",
    ),
]


@pytest.mark.parametrize(("shape", "refusal", "more", "instead", "told"), LATER)
def test_what_other_providers_have_made_of_a_history(shape: str, refusal: JSON, more: JSON, instead: JSON, told: str) -> None:
    """And what SDKs write down of answers: ids, orders and members that this provider does not take."""
    body = BODIES[shape] | more
    found = taught(shape, refusal, own=True, body=body)
    assert found is not None
    assert found.change is not None
    before = jsontext.dumps(body)
    changed, path = found.change(body)
    assert path is not None
    assert (changed, found.adapts) == (body | instead, told)
    assert jsontext.dumps(body) == before
    assert found.change(changed) == (changed, None)


def test_a_result_that_is_missing_is_the_callers() -> None:
    body = MESSAGES | {"messages": said("a", [CALL], "b")}
    body["messages"].append({"role": "user", "content": [RESULT]})
    found = taught(
        "messages", anthropic("`tool_use` ids were found without `tool_result` blocks immediately after: t."), own=True, body=body
    )
    assert found is not None
    assert found.change is not None
    assert found.change(body) == (body, None)


@pytest.mark.parametrize("member", ["content", "parts", "output"])
@pytest.mark.parametrize(
    ("shape", "name"), [("chat", "messages"), ("messages", "messages"), ("responses", "input"), ("gemini", "contents")]
)
def test_histories_may_be_as_deep_as_can_be_read(shape: str, name: str, member: str) -> None:
    deep: Any = {"type": "text", "text": "", "cache_control": {"type": "ephemeral"}}
    for _ in range(500):  # orjson reads 1,024 levels
        deep = {"type": "tool_result", "is_error": True, member: [deep]}
    body = {name: [{"role": "user", member: [deep]}]}
    for lesson in SHAPES[shape].lessons:
        if lesson.change is not None:
            lesson.change(body)
