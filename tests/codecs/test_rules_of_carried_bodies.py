"""Rules over a body that is carried in its caller's own API: what goes up, what is reported, and that nothing else is touched."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import errors, jsontext, rules
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.chat.message_rules import NOT_READ
from dragoman.codecs.gemini.facts import DUMMY
from dragoman.codecs.outputs import in_words
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.request import Request

JSON = dict[str, Any]

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "ok"}
UNION = {"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}}]}
JOINED = {"type": "object", "properties": {"a": {"type": "string"}}}


def function(name: str = "f", **more: Any) -> JSON:
    return {"type": "function", "function": {"name": name, **more}}


def thought(name: str) -> JSON:
    return {"name": name, "input_schema": {"type": "object"}}


def amended(shape: str, flags: JSON, body: JSON) -> tuple[JSON, str, str]:
    """The body that goes up, and what was dropped and adapted."""
    own, capabilities = SHAPES[shape], Capabilities.from_flags(flags)
    request = Request(shape, "m", body)
    after = rules.amended(rules.for_carried(own.rules, capabilities), own.Draft(body, request, capabilities, own=True))
    ledger = request.ledger
    return after, ledger.header(ledger.dropped, body), ledger.header(ledger.adapted, body)


PARTS = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
NO_TEXT, IMAGE = {"type": "input_text", "text": ""}, {"type": "input_image", "image_url": "u"}
AS_JSON = {"responseMimeType": "application/json"}
REASONED = {"type": "reasoning", "id": "rs_1", "summary": []}
UNTHOUGHT = [
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]},
]
LEVELS: JSON = {"g.thinking": "level", "g.thinking_levels": ["low", "high"]}
BUDGETS: JSON = {"g.thinking": "budget", "g.budget_min": 128, "g.budget_max": 32_768}
THINKING = "generationConfig.thinkingConfig"

BETWEEN = {"type": "disabled", "between_tools": True}
AS_SCHEMA = {"type": "json_schema"}
OPEN: JSON = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = OPEN | {"additionalProperties": False}
PAUSED = [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, {"type": "text", "text": "So"}]
JSON_TEXT = {"format": {"type": "json_object"}}
SYSTEM = {"role": "system", "content": "Be."}
TEXT: JSON = {"type": "text", "text": "See."}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aa"}}
FILE = {"type": "file", "file": {"file_id": "f"}}
ASKING: JSON = {"role": "user", "parts": [{"text": "Hi"}]}
GIVEN: JSON = {"functionCall": {"name": "f", "args": {}}}
SIGNED = {"function_call": {}, "thought_signature": "s"}
FOUND: JSON = {"functionResponse": {"name": "f", "response": {}}}

# shape, flags, what the caller sends, what of it goes up otherwise (None: nothing), dropped, adapted
ROWS: list[tuple[str, JSON, JSON, JSON, str, str]] = [
    ("chat", {"leave_out": ["user", "n"]}, {"user": "u", "n": 2}, {"user": None, "n": None}, "user,n", ""),
    ("chat", {"leave_out": ["n"]}, {"n": 1}, {"n": None}, "", ""),
    ("chat", {"leave_out": ["user"]}, {"user": None}, {"user": None}, "", ""),
    (
        "chat",
        {"leave_out": ["tools[].function.strict"]},
        {"tools": [function(strict=True), function("g"), {"type": "custom", "custom": {"name": "c"}}]},
        {"tools": [function(), function("g"), {"type": "custom", "custom": {"name": "c"}}]},
        "tools[*].function.strict",
        "",
    ),
    (
        "chat",
        {"leave_out": ["max_tokens"], "c.max_tokens_field": "max_completion_tokens"},
        {"max_tokens": 5},
        {"max_tokens": None, "max_completion_tokens": 5},
        "",
        "max_tokens",
    ),
    ("chat", {"leave_out": ["max_completion_tokens"]}, {"max_completion_tokens": 5}, {"max_completion_tokens": None, "max_tokens": 5}, "",
     "max_completion_tokens"),
    ("chat", {"c.max_output": 10}, {"max_completion_tokens": 50}, {"max_completion_tokens": 10}, "", "max_completion_tokens=10"),
    ("chat", {"c.effort_values": ["low"]}, {"reasoning_effort": "xhigh"}, {"reasoning_effort": "low"}, "", "reasoning_effort=low"),
    ("chat", {"c.effort_values": []}, {"reasoning_effort": "low"}, {"reasoning_effort": None}, "reasoning_effort", ""),
    ("chat", {"c.effort_values": ["low"]}, {"reasoning_effort": "none"}, {"reasoning_effort": None}, "reasoning_effort", ""),
    (
        "chat",
        {"c.effort_values": ["low"], "c.thinking_switch": "enable_thinking"},
        {"reasoning_effort": "none"},
        {"reasoning_effort": None, "enable_thinking": False},
        "",
        "reasoning_effort",
    ),
    (
        "chat",
        {"c.sampling": "unless_reasoning", "c.reasons": "unless_off"},
        {"temperature": 0.2, "top_p": 1, "presence_penalty": 0, "logit_bias": {"5": 1}, "logprobs": True},
        {"temperature": None, "top_p": None, "presence_penalty": None, "logit_bias": None, "logprobs": None},
        "temperature,logit_bias,logprobs",
        "",
    ),
    ("chat", {"c.json_schema": False, "c.json_object": False}, {"response_format": {"type": "json_schema", "json_schema": {}}},
     {"response_format": None}, "response_format", ""),
    (
        "chat",
        {"c.tool_choice": "required"},
        {"tools": [function("f"), function("g")], "tool_choice": function("g")},
        {"tools": [function("g")], "tool_choice": "required"},
        "",
        "tool_choice=required",
    ),
    (
        "chat",
        {"c.tool_choice_reasoning": "auto", "c.reasons": "unless_off", "c.thinking_switch": "thinking"},
        {"tools": [function()], "tool_choice": "required"},
        {"thinking": {"type": "disabled"}},
        "",
        "thinking",
    ),
    ("chat", {"c.tool_choice": "required"}, {"tools": [function("f")], "tool_choice": function("else")}, {}, "", ""),
    ("chat", {"schema_subset": ["no_root_union"]}, {"tools": [function(parameters=UNION)]}, {"tools": [function(parameters=JOINED)]}, "",
     "tools"),
    ("chat", {"schema_subset": ["complete"]}, {"tools": [function()]},
     {"tools": [function(parameters={"type": "object", "properties": {}})]}, "", "tools"),
    (
        "chat",
        {"c.single_system": True},
        {"messages": [USER, {"role": "system", "content": "Be."}, {"role": "developer", "content": [{"type": "text", "text": "Do."}]}]},
        {"messages": [{"role": "system", "content": "Be.\n\nDo."}, USER]},
        "",
        "messages",
    ),
    (
        "chat",
        {"c.system_role": False},
        {"messages": [{"role": "system", "content": "Be."}, {"role": "developer", "content": "Do."}, USER]},
        {"messages": [{"role": "user", "content": "Be."}, {"role": "user", "content": "Do."}, USER]},
        "",
        "messages",
    ),
    ("chat", {"c.content_parts": False}, {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
     {"messages": [USER]}, "", "messages"),
    ("chat", {"c.null_content": False}, {"messages": [USER, CALLED, RESULT]}, {"messages": [USER, CALLED | {"content": ""}, RESULT]}, "",
     "messages"),
    ("chat", {"c.user_after_tool": False}, {"messages": [USER, CALLED, RESULT, USER]},
     {"messages": [USER, CALLED, RESULT | {"content": "ok\n\nHi"}]}, "", "messages"),
    ("chat", {"c.alternate": True}, {"messages": [USER, USER]}, {"messages": [{"role": "user", "content": "Hi\n\nHi"}]}, "", "messages"),
    (
        "chat",
        {"c.reasoning_required_with_tools": True, "c.reasons": "unless_off"},
        {"messages": [USER, CALLED, RESULT]},
        {"messages": [USER, CALLED | {"reasoning_content": " "}, RESULT]},
        "",
        "messages",
    ),
    ("chat", {"c.reasoning_required_with_tools": True, "c.reasons": "unless_off"},
     {"messages": [USER, CALLED, RESULT], "thinking": {"type": "disabled"}}, {}, "", ""),
    ("messages", {"m.sampling": "none"}, {"temperature": 1, "top_k": 5}, {"temperature": None, "top_k": None}, "top_k", ""),
    ("messages", {"m.sampling": "temperature_or_top_p"}, {"temperature": 0.5, "top_p": 0.9}, {"top_p": None}, "top_p", ""),
    ("messages", {"m.thinking": "both"}, {"temperature": 0.2, "top_p": 0.5, "thinking": {"type": "adaptive"}},
     {"temperature": None, "top_p": None}, "temperature,top_p", ""),
    (
        "messages",
        {"m.thinking": "adaptive"},
        {"thinking": {"type": "enabled", "budget_tokens": 20000, "display": "omitted"}},
        {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "high"}},
        "",
        "thinking",
    ),
    ("messages", {"m.thinking": "adaptive_always"}, {"thinking": {"type": "disabled"}},
     {"thinking": None, "output_config": {"effort": "low"}}, "", "thinking"),
    ("messages", {"m.thinking": "adaptive_always", "m.between_tools": True}, {"thinking": BETWEEN}, {}, "", ""),
    ("messages", {"m.thinking": "adaptive_always"}, {"thinking": BETWEEN}, {"thinking": None, "output_config": {"effort": "low"}}, "",
     "thinking"),
    (
        "messages",
        {"m.structured_outputs": True},
        {"output_config": {"effort": "low", "format": AS_SCHEMA | {"schema": OPEN}}},
        {"output_config": {"effort": "low", "format": AS_SCHEMA | {"schema": CLOSED}}},
        "",
        "output_config.format",
    ),
    ("messages", {"m.structured_outputs": True}, {"output_config": {"format": AS_SCHEMA | {"schema": CLOSED}}}, {}, "", ""),
    ("messages", {"m.structured_outputs": True}, {"output_format": AS_SCHEMA | {"schema": OPEN}},
     {"output_format": AS_SCHEMA | {"schema": CLOSED}}, "", "output_format"),
    ("messages", {"m.structured_outputs": False},
     {"messages": [USER], "output_config": {"effort": "low", "format": AS_SCHEMA | {"schema": OPEN}}},
     {"output_config": {"effort": "low"}, "messages": [USER | {"content": f"{USER['content']}\n\n{in_words(OPEN)}"}]},
     "output_config.format", "messages"),
    ("messages", {"m.prefill": False}, {"messages": [USER, {"role": "assistant", "content": " "}]}, {"messages": [USER]}, "", "messages"),
    ("messages", {"m.prefill": False}, {"messages": [USER, {"role": "assistant", "content": PAUSED}]}, {}, "", ""),
    ("messages", {"m.prefill": False}, {"messages": [USER]}, {}, "", ""),
    ("messages", {"m.thinking": "manual"}, {"max_tokens": 5000, "thinking": {"type": "adaptive"}},
     {"thinking": {"type": "enabled", "budget_tokens": 3976}}, "", "thinking"),
    ("messages", {"m.thinking": "manual"}, {"max_tokens": 1500, "thinking": {"type": "adaptive"}},
     {"thinking": {"type": "disabled"}}, "", "thinking"),
    ("messages", {"m.thinking": "none"}, {"thinking": {"type": "adaptive"}}, {"thinking": None}, "thinking", ""),
    ("messages", {"m.effort_values": ["low", "medium"]}, {"output_config": {"effort": "max"}},
     {"output_config": {"effort": "medium"}}, "", "output_config.effort=medium"),
    ("messages", {"m.effort_values": []}, {"output_config": {"effort": "max"}}, {"output_config": None}, "output_config.effort", ""),
    ("messages", {"m.effort_values": ["xhigh"]}, {"output_config": {"effort": "xhigh"}, "thinking": {"type": "disabled"}},
     {"output_config": {"effort": "high"}}, "", "output_config.effort=high"),
    (
        "messages",
        {"m.forced_tools": False},
        {"tools": [thought("f"), thought("g")], "tool_choice": {"type": "tool", "name": "g", "disable_parallel_tool_use": True}},
        {"tools": [thought("g")], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        "",
        "tool_choice=auto",
    ),
    ("messages", {"m.thinking": "both"}, {"tool_choice": {"type": "any"}, "thinking": {"type": "adaptive"}},
     {"thinking": {"type": "disabled"}}, "", "thinking"),
    ("messages", {"schema_subset": ["no_root_union"]}, {"tools": [{"name": "f", "input_schema": UNION}, thought("g")]},
     {"tools": [{"name": "f", "input_schema": JOINED}, thought("g")]}, "", "tools"),
    ("responses", {"r.effort_values": [], "r.summaries": False}, {"reasoning": {"effort": "low", "summary": "auto"}},
     {"reasoning": None}, "reasoning.effort,reasoning.summary", ""),
    ("responses", {"r.effort_values": ["low"]}, {"reasoning": {"effort": "max"}}, {"reasoning": {"effort": "low"}}, "",
     "reasoning.effort=low"),
    ("responses", {"r.encrypted_reasoning": False}, {"include": ["reasoning.encrypted_content", "a.b"]}, {"include": ["a.b"]},
     "include[reasoning.encrypted_content]", ""),
    ("responses", {"r.sampling": "unless_reasoning", "r.reasons": "unless_off"}, {"temperature": 0.2, "top_p": 1, "top_logprobs": 3},
     {"temperature": None, "top_p": None, "top_logprobs": None}, "temperature,top_logprobs", ""),
    ("responses", {"openai_host": True}, {"max_output_tokens": 5}, {"max_output_tokens": 16}, "", "max_output_tokens=16"),
    ("responses", {"leave_out": ["input[].status", "context_management"]},
     {"input": [USER | {"status": "completed"}, USER, "?"], "context_management": []},
     {"input": [USER, USER, "?"], "context_management": None}, "input[*].status,context_management", ""),
    ("responses", {"r.instructions_required": True}, {"input": "Hi"}, {"input": [USER], "instructions": "You are a helpful assistant."}, "",
     "instructions"),
    (
        "responses",
        {"r.instructions_required": True},
        {"instructions": "Be.", "input": [{"role": "system", "content": [{"type": "input_text", "text": "Do."}]}, USER]},
        {"instructions": "Be.\n\nDo.", "input": [USER]},
        "",
        "input",
    ),
    *(
        ("gemini", flags, {"generationConfig": {"topK": 5, "thinkingConfig": asked}},
         {} if sent is None else {"generationConfig": {"topK": 5, "thinkingConfig": sent}}, "", told)
        for flags, asked, sent, told in (
            (LEVELS, {"thinkingLevel": "MINIMAL"}, {"thinkingLevel": "LOW"}, f"{THINKING}=LOW"),
            (LEVELS, {"thinkingLevel": "low"}, None, ""),
            (LEVELS, {"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None, ""),
            (LEVELS, {"thinkingBudget": 100}, None, ""),
            (BUDGETS, {"thinkingBudget": 0}, {"thinkingBudget": 128}, f"{THINKING}=128"),
            (BUDGETS, {"thinkingBudget": -1}, None, ""),
            (BUDGETS, {"thinkingBudget": 50_000}, {"thinkingBudget": 32_768}, f"{THINKING}=32768"),
            (BUDGETS | {"g.budget_off": True}, {"thinkingBudget": 0}, None, ""),
            (BUDGETS, {"thinkingLevel": "MEDIUM"}, {"thinkingBudget": 8192}, f"{THINKING}=8192"),
            (BUDGETS, {"thinkingLevel": "LOW", "thinkingBudget": 512}, {"thinkingBudget": 512}, f"{THINKING}=512"),
            ({}, {"thinkingLevel": "MINIMAL"}, None, ""),
            ({"g.thinking": "none"}, {"thinkingLevel": "MINIMAL"}, None, ""),
        )
    ),
    (
        "gemini",
        BUDGETS,
        {"generation_config": {"thinking_config": {"thinking_level": "HIGH"}}},
        {"generation_config": {"thinking_config": {"thinkingBudget": 24_576}}},
        "",
        "generation_config.thinking_config=24576",
    ),
    ("chat", {"c.system_parts": False}, {"messages": [{"role": "system", "content": [{"type": "text", "text": "Be."}]}, PARTS]},
     {"messages": [{"role": "system", "content": "Be."}, PARTS]}, "", "messages"),
    ("chat", {"c.empty_content": False}, {"messages": [USER, CALLED, RESULT | {"content": []}]},
     {"messages": [USER, CALLED, RESULT | {"content": "(no output)"}]}, "", "messages"),
    ("chat", {"c.tool_choice": "required"}, {"tools": [function()], "tool_choice": None}, {"tool_choice": None}, "", ""),
    (
        "responses",
        {"r.empty_content": False},
        {"input": [USER, {"role": "assistant", "content": ""}, {"role": "user", "content": [NO_TEXT]}, REASONED]},
        {"input": [USER, REASONED]},
        "",
        "input",
    ),
    ("responses", {"openai_host": True}, {"text": JSON_TEXT, "input": "Hi"}, {"input": "Hi\n\nAnswer in JSON."}, "", "input"),
    (
        "responses",
        {"openai_host": True},
        {"text": JSON_TEXT, "input": [REASONED, {"role": "user", "content": [IMAGE]}]},
        {"input": [REASONED, {"role": "user", "content": [IMAGE, {"type": "input_text", "text": "Answer in JSON."}]}]},
        "",
        "input",
    ),
    ("responses", {"openai_host": True}, {"text": JSON_TEXT, "input": "As json."}, {}, "", ""),
    ("responses", {"openai_host": True}, {"text": {"verbosity": "low"}, "input": "Hi"}, {}, "", ""),
    ("chat", {"openai_host": True}, {"response_format": JSON_TEXT["format"], "messages": [SYSTEM, USER]},
     {"messages": [SYSTEM, {"role": "user", "content": "Hi\n\nAnswer in JSON."}]}, "", "messages"),
    ("chat", {"openai_host": True}, {"response_format": JSON_TEXT["format"], "messages": [USER, {"role": "user", "content": "JSON!"}]}, {},
     "", ""),
    ("chat", {"openai_host": True}, {"messages": [USER]}, {}, "", ""),
    ("chat", {"openai_host": True, "c.web_search": False}, {"web_search_options": {}}, {"web_search_options": None}, "web_search_options",
     ""),
    ("chat", {"c.web_search": False}, {"web_search_options": {}}, {}, "", ""),  # other hosts search for any model
    ("chat", {"openai_host": True, "c.null_content": False}, {"messages": [USER, CALLED, RESULT, {"role": "assistant", "content": None}]},
     {"messages": [USER, CALLED, RESULT, {"role": "assistant", "content": ""}]}, "", "messages"),
    ("chat", {"c.images": False}, {"messages": [USER, CALLED, RESULT | {"content": [TEXT, PICTURE, FILE]}]},
     {"messages": [USER, CALLED, RESULT | {"content": [TEXT, NOT_READ, NOT_READ]}]}, "", "messages"),
    ("chat", {"c.images": False, "c.file_parts": True}, {"messages": [{"role": "user", "content": [FILE]}]}, {}, "", ""),
    ("chat", {"c.image_urls": False}, {"messages": [{"role": "user", "content": [FILE]}]}, {}, "", ""),
    (
        "chat",
        {"c.thinking_switch": "thinking", "c.reasons": "never", "c.tool_choice_reasoning": "auto"},
        {"tools": [function()], "tool_choice": "required", "thinking": {"type": "enabled"}},
        {"tool_choice": "auto"},
        "",
        "tool_choice=auto",
    ),
    ("responses", {"r.empty_content": False}, {"input": [{"role": "user", "content": [IMAGE]}]}, {}, "", ""),
    (
        "messages",
        {"m.thinking": "manual"},
        {"max_tokens": 9000, "thinking": {"type": "adaptive"}, "messages": [USER, *UNTHOUGHT]},
        {"thinking": {"type": "disabled"}},
        "",
        "thinking",
    ),
    (
        "gemini",
        {"g.thinking": "level", "g.max_output": 100},
        {"generationConfig": {"maxOutputTokens": 500, "stopSequences": [*"ABCDEF"]}},
        {"generationConfig": {"maxOutputTokens": 100, "stopSequences": [*"ABCDE"]}},
        "generationConfig.stopSequences",
        "generationConfig.maxOutputTokens=100",
    ),
    (
        "gemini",
        {"g.tools_mixed": False},
        {"tools": [{"function_declarations": []}], "generationConfig": AS_JSON | {"responseSchema": {}, "topK": 1}},
        {"generationConfig": {"topK": 1}},
        "generationConfig.responseMimeType",
        "",
    ),
    ("gemini", {"g.tools_mixed": False}, {"generationConfig": AS_JSON}, {}, "", ""),
    (
        "gemini",
        {"g.signatures": "required"},
        {"contents": [ASKING, {"role": "model", "parts": [{"text": "a"}, GIVEN, GIVEN]}]},
        {"contents": [ASKING, {"role": "model", "parts": [{"text": "a"}, GIVEN | {"thoughtSignature": DUMMY}, GIVEN]}]},
        "",
        "contents",
    ),
    ("gemini", {"g.signatures": "required"}, {"contents": [{"role": "model", "parts": [SIGNED]}]}, {}, "", ""),
    (
        "gemini",
        {"g.result_media": False},
        {"contents": [{"role": "user", "parts": [FOUND, {"functionResponse": {"name": "g", "parts": [{"inlineData": {}}]}}]}]},
        {
            "contents": [
                {"role": "user", "parts": [FOUND, {"functionResponse": {"name": "g"}}]},
                {"role": "user", "parts": [{"text": "Output of g:"}, {"inlineData": {}}]},
            ]
        },
        "",
        "contents",
    ),
    ("gemini", {"g.prefill": False}, {"contents": [ASKING, {"role": "model", "parts": [{"text": ""}]}]}, {"contents": [ASKING]}, "",
     "contents"),
    ("gemini", {"g.prefill": False}, {"contents": [ASKING, {"role": "model", "parts": [GIVEN]}]}, {}, "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "flags", "sent", "changed", "dropped", "adapted"), ROWS)
def test_what_goes_up(shape: str, flags: JSON, sent: JSON, changed: JSON, dropped: str, adapted: str) -> None:
    before = jsontext.dumps(sent)
    after, lost, otherwise = amended(shape, flags, sent)
    assert jsontext.dumps(sent) == before  # the next attempt may be at another upstream
    assert after == {name: value for name, value in (sent | changed).items() if value is not None}
    assert (lost, otherwise) == (dropped, adapted)


@pytest.mark.parametrize(("shape", "flags", "sent", "changed", "dropped", "adapted"), ROWS)
def test_a_body_that_breaks_no_rule_is_the_same_object(
    shape: str, flags: JSON, sent: JSON, changed: JSON, dropped: str, adapted: str
) -> None:
    """What has become of one is such a body; and so is one of an upstream of which nothing is known."""
    right, _, _ = amended(shape, flags, sent)
    assert amended(shape, flags, right)[0] is right
    assert rules.for_carried(SHAPES[shape].rules, Capabilities.from_flags({"owns_key": True})) == ()


@pytest.mark.parametrize("body", [{"tools": [function()]}, {"messages": [USER, CALLED, RESULT]}])
def test_tools_are_refused_by_name(body: JSON) -> None:
    with pytest.raises(errors.Unsupported, match="tools are not supported") as refused:
        amended("chat", {"c.tools": False}, body)
    assert refused.value.param == "tools"


@pytest.mark.parametrize(
    ("flags", "url", "param"),
    [
        ({"c.images": False}, "data:image/png;base64,aa", "messages[1].content[1]"),
        ({"c.image_urls": False}, "https://h/a.png", "messages[1].content[1]"),
        ({"c.image_urls": False}, "data:image/png;base64,aa", None),
        ({}, "https://h/a.png", None),
    ],
)
def test_images_that_a_model_does_not_take_are_refused_by_name(flags: JSON, url: str, param: str | None) -> None:
    image = {"type": "image_url", "image_url": {"url": url}}
    body = {"messages": [USER, {"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]}
    if param is None:
        assert amended("chat", flags, body) == (body, "", "")
        return
    with pytest.raises(errors.UnsupportedContent) as raised:
        amended("chat", flags, body)
    assert raised.value.param == param


ANSWER = {"role": "assistant", "content": "It"}


@pytest.mark.parametrize(
    ("shape", "flags", "body", "param"),
    [
        ("messages", {"m.prefill": False}, {"messages": [USER, ANSWER]}, "messages[1]"),
        ("messages", {"m.prefill": False, "m.thinking": "both"}, {"messages": [USER, ANSWER, SYSTEM]}, "messages[1]"),
        ("gemini", {"g.prefill": False}, {"contents": [ASKING, {"role": "model", "parts": [{"text": "It"}]}]}, "contents[1]"),
        ("responses", {"r.empty_content": False}, {"input": [{"role": "user", "content": ""}]}, "input"),
        ("chat", {"c.file_parts": False}, {"messages": [{"role": "user", "content": [TEXT, FILE]}]}, "messages[0].content[1]"),
        ("messages", {"m.structured_outputs": True}, {"output_config": {"format": AS_SCHEMA | {"schema": {"$ref": "#"}}}},
         "output_config.format.schema"),
    ],
)  # fmt: skip
def test_what_has_no_equivalent_is_refused_by_name(shape: str, flags: JSON, body: JSON, param: str) -> None:
    with pytest.raises(errors.ClientFault) as raised:
        amended(shape, flags, body)
    assert raised.value.param == param


@pytest.mark.parametrize(("name", "translated"), [("7zip", True), ("_x", True), ("zip7", False), ("größe", False), (7, False)])
def test_tools_by_names_that_a_host_does_not_take_are_translated(name: Any, translated: bool) -> None:
    body = {"tools": [{"type": "function"}, function(name)]}
    assert SHAPES["chat"].translates(body, Capabilities.from_flags({"c.letter_names": True})) is translated
    assert not SHAPES["chat"].translates(body, Capabilities())
