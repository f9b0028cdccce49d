"""What a refusal teaches: which member it names, in whatever form an error has, and what is never left out."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import jsontext, lessons
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.registry import SHAPES, UPSTREAMS

JSON = dict[str, Any]

CALL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}
CHAT: JSON = {
    "model": "m",
    "messages": [
        {"role": "user", "content": "Hi", "name": "ann"},
        {"role": "assistant", "content": "Well", "reasoning_content": "Hm."},
        {"role": "user", "content": [{"type": "text", "text": "So?", "cache_control": {"type": "ephemeral"}}]},
    ],
    "tools": [CALL],
    "tool_choice": "required",
    "temperature": 0.2,
    "reasoning_effort": "minimal",
    "user": "u",
    "stop": ["END"],
    "max_tokens": 100,
    "stream": True,
    "stream_options": {"include_usage": True},
    "response_format": {"type": "json_object"},
    "presence_penalty": 0,
}
RESPONSES: JSON = {
    "model": "m",
    "input": [{"type": "message", "role": "user", "content": "Hi", "status": "completed"}],
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "json_object"}, "verbosity": "low"},
    "include": ["reasoning.encrypted_content"],
    "max_output_tokens": 50,
    "store": False,
}
MESSAGES: JSON = {
    "model": "m",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "Be.", "cache_control": {"type": "ephemeral", "scope": "global"}}],
    "messages": [{"role": "user", "content": "Hi"}],
    "tools": [{"name": "f", "input_schema": {"type": "object"}, "strict": True, "eager_input_streaming": True}],
    "thinking": {"type": "adaptive", "display": "summarized"},
    "top_k": 5,
}
GEMINI: JSON = {
    "systemInstruction": {"parts": [{"text": "Be."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [{"functionCall": {"id": "c", "name": "f"}}]},
    ],
    "tools": [{"functionDeclarations": [{"name": "f"}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY"}, "includeServerSideToolInvocations": True},
    "generationConfig": {"responseMimeType": "application/json", "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True}},
    "serviceTier": "flex",
}
BODIES = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES, "gemini": GEMINI}


def openai(message: str, param: str | None = None, code: str | None = None) -> JSON:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def anthropic(message: str) -> JSON:
    return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}


def google(name: str, place: str = "") -> JSON:
    at = f" at '{place}'" if place else ""
    message = f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'
    return {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}


def extra(*loc: str | int) -> JSON:
    return {"detail": [{"type": "extra_forbidden", "loc": ["body", *loc], "msg": "Extra inputs are not permitted", "input": None}]}


def taught(shape: str, refusal: Any, own: bool = False, elsewhere: bool = False, body: JSON | None = None) -> lessons.Lesson | None:
    body = body or BODIES[shape]
    sent = jsontext.dumps(body)
    error = SHAPES[shape].decode_error(400, jsontext.dumps(refusal))
    return lessons.read(SHAPES[shape].lessons, error, sent, own, elsewhere)


# the shape, what the upstream says, the member that is left out (None: the refusal is the caller's)
MEMBERS: list[tuple[str, Any, str | None]] = [
    ("chat", openai("Unsupported parameter: 'temperature' is not supported.", "temperature", "unsupported_parameter"), "temperature"),
    ("chat", openai("Unsupported value. Only the default (1) value is supported.", "temperature", "unsupported_value"), "temperature"),
    ("chat", openai("Unrecognized request argument supplied: user"), "user"),
    ("chat", openai("invalid parameter stream_options: not supported"), "stream_options"),
    ("chat", openai("property 'reasoning_content' is unsupported"), "messages[].reasoning_content"),
    ("chat", openai("'messages.2' : property 'cache_control' is unsupported"), "messages[].content[].cache_control"),
    ("chat", openai("unknown field strict"), "tools[].function.strict"),
    ("chat", openai("Unknown name", "messages[0].name"), "messages[].name"),
    ("chat", {"code": "invalid-argument", "error": "Argument not supported on this model: presencePenalty"}, "presence_penalty"),
    ("chat", {"code": "invalid-argument", "error": "Argument not supported on this model: stop"}, "stop"),
    ("chat", extra("user"), "user"),
    ("chat", extra("messages", 1, "reasoning_content"), "messages[].reasoning_content"),
    ("chat", [{"error": {"code": 400, "message": 'Unknown name "user": Cannot find field.', "status": "INVALID_ARGUMENT"}}], "user"),
    ("responses", {"detail": "Unsupported parameter: max_output_tokens"}, "max_output_tokens"),
    ("responses", openai("Unsupported parameter", "reasoning.effort", "unsupported_parameter"), "reasoning.effort"),
    ("responses", openai("Argument not supported on this model: reasoningEffort"), "reasoning.effort"),
    ("responses", openai("Unknown parameter: 'input[0].status'.", "input[0].status", "unknown_parameter"), "input[].status"),
    ("responses", openai("Unsupported parameter", "text.verbosity", "unsupported_parameter"), "text.verbosity"),
    ("responses", openai("Unknown parameter: 'include'.", "include"), "include"),
    ("messages", anthropic("top_k: Extra inputs are not permitted"), "top_k"),
    ("messages", anthropic("thinking.adaptive.display: Extra inputs are not permitted"), "thinking.display"),
    ("messages", anthropic("system.0.cache_control.scope: Extra inputs are not permitted"), None),  # its parent could be
    ("messages", anthropic("tools.0.custom.strict: Extra inputs are not permitted"), "tools[].strict"),
    ("messages", anthropic("tools.0.custom.eager_input_streaming: Extra inputs are not permitted"), "tools[].eager_input_streaming"),
    ("gemini", google("serviceTier"), "serviceTier"),
    ("gemini", google("id", "contents[1].parts[0].function_call"), "contents[].parts[].functionCall.id"),
    ("gemini", google("includeServerSideToolInvocations", "tool_config"), "toolConfig.includeServerSideToolInvocations"),
    ("gemini", google("thinkingLevel", "generation_config.thinking_config"), "generationConfig.thinkingConfig.thinkingLevel"),
    # what the request is about
    ("gemini", google("systemInstruction"), None),
    ("gemini", google("toolConfig"), None),
    ("gemini", google("responseMimeType", "generation_config"), None),
    ("gemini", google("args", "contents[1].parts[0].function_call"), None),
    ("chat", openai("Unsupported parameter", "tools", "unsupported_parameter"), None),
    ("chat", openai("tools are not supported by this model"), None),
    ("chat", openai("Unsupported parameter", "tool_choice", "unsupported_parameter"), None),
    ("chat", openai("This response_format type is not supported", "response_format"), None),
    ("chat", openai("Unsupported", "messages[0].content", "unsupported_parameter"), None),
    ("chat", openai("Unsupported", "tools[0].function.parameters", "unsupported_parameter"), None),
    ("responses", openai("Unsupported", "text.format", "unsupported_parameter"), None),
    ("responses", openai("Unsupported", "text", "unsupported_parameter"), None),
    ("messages", anthropic("messages.0.content: Extra inputs are not permitted"), None),
    # what says nothing of support, or names nothing
    ("chat", openai("Invalid type for 'temperature': expected a number.", "temperature", "invalid_type"), None),
    ("chat", openai("The user has asked for something that is not allowed."), None),
    ("chat", openai("Bad request."), None),
    ("chat", "Bad request.", None),
    ("messages", anthropic("`temperature` may only be set to 1 when thinking is enabled"), None),
    ("messages", anthropic("messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`."), None),
]


@pytest.mark.parametrize(("shape", "refusal", "member"), MEMBERS)
def test_the_member_that_is_named(shape: str, refusal: Any, member: str | None) -> None:
    found = taught(shape, refusal)
    assert (found and found.about) == member
    if found is not None:
        assert found.change is not None
        changed, path = found.change(BODIES[shape])
        assert path is not None
        assert found.change(changed) == (changed, None)


def test_a_value_is_the_gateways_own_affair_alone() -> None:
    refusal = openai("Unsupported value: 'reasoning_effort' does not support 'minimal'.", "reasoning_effort", "unsupported_value")
    assert taught("chat", refusal, own=True) is None
    found = taught("chat", refusal)
    assert found is not None
    assert found.change is not None
    assert "reasoning_effort" not in found.change(CHAT)[0]
    assert found.change(CHAT | {"reasoning_effort": "high"})[1] is None


def test_a_choice_that_chooses_nothing_can_be_left_out() -> None:
    refusal = openai('"auto" tool choice requires flags: parameter tool_choice is not supported', "tool_choice")
    assert taught("chat", refusal, body=CHAT | {"tool_choice": "auto"}) is not None
    assert taught("chat", refusal) is None


def test_without() -> None:
    body: JSON = {"a": {"b": 1}, "c": [{"d": 1, "e": 2}, {"e": 3}, {"d": 4}], "f": 5}
    assert lessons.without(body, ("a", "b")) == ({"c": body["c"], "f": 5}, ("a", "b"))
    assert lessons.without(body, ("c", "[]", "d")) == ({"a": {"b": 1}, "c": [{"e": 2}, {"e": 3}, {}], "f": 5}, ("c", 0, "d"))
    for nothing in (("x",), ("a", "x"), ("f", "x"), ("f", "[]", "x"), ("c", "[]", "x")):
        found, path = lessons.without(body, nothing)
        assert found is body
        assert path is None
    assert lessons.without(body, ("f",), 6) == (body, None)


ONLY_STRINGS: JSON = {"c_content_parts": False, "c_null_content": False}
REASONING_BACK: JSON = {"c_reasoning_required_with_tools": True, "c_reasoning_in": "reasoning_content", "c_reasons": "unless_off"}

# the shape, the refusal, members of the body besides, flags that it means
TABLES: list[tuple[str, str, JSON, JSON]] = [
    ("chat", "Use 'max_completion_tokens' instead of 'max_tokens'.", {}, {"c_max_tokens_field": "max_completion_tokens"}),
    ("chat", "max_completion_tokens: Extra inputs are not permitted", {"max_completion_tokens": 5}, {"c_max_tokens_field": "max_tokens"}),
    ("chat", "unknown variant `developer`", {"messages": [{"role": "developer", "content": "x"}]}, {"c_developer_role": False}),
    ("chat", "System message must be at the beginning.", {"messages": [{"role": "system", "content": "x"}]}, {"c_single_system": True}),
    ("chat", "Unexpected role 'user' after role 'tool'", {"messages": [{"role": "tool", "content": "x"}]}, {"c_user_after_tool": False}),
    ("chat", "tool_choice is incompatible with thinking", {}, {"c_tool_choice_reasoning": "auto", "c_reasons": "unless_off"}),
    ("chat", "Stream must be set to true", {}, {"whole_answers": "never"}),
    ("chat", "Conversation roles must alternate user/assistant/user/assistant/...", {}, {"c_alternate": True}),
    ("chat", "messages[0]: invalid type: sequence, expected a string at line 1 column 90", {}, ONLY_STRINGS),
    ("chat", "json: cannot unmarshal array into Go struct field Message.messages.content of type string", {}, ONLY_STRINGS),
    ("chat", "messages.0.content: Input should be a valid string", {}, ONLY_STRINGS),
    ("chat", "content must be a string", {}, ONLY_STRINGS),
    ("chat", "messages[2].content: expected one of a string or array of objects, but got null instead.", {}, {"c_null_content": False}),
    ("chat", "Missing `reasoning_content` field in the assistant message at index 2", {"messages": [{"tool_calls": []}]}, REASONING_BACK),
    ("messages", '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive".', {}, {"m_thinking": "adaptive"}),
    ("messages", "adaptive thinking is not supported on this model", {}, {"m_thinking": "manual"}),
    ("messages", "thinking.type: Input tag 'adaptive' found using 'type' does not match: 'enabled'", {}, {"m_thinking": "manual"}),
    ("messages", "body.thinking.type: Input should be 'enabled' or 'disabled'", {}, {"m_thinking": "manual"}),
    ("responses", "reasoning.summary needs a verified organization", {}, {"r_summaries": False}),
]


@pytest.mark.parametrize(("shape", "message", "more", "flags"), TABLES)
def test_what_words_mean(shape: str, message: str, more: JSON, flags: JSON) -> None:
    found = taught(shape, openai(message), body=BODIES[shape] | more)
    assert found is not None
    assert found.flags == flags
    capabilities = lessons.known((found,), Capabilities())
    assert {name: getattr(capabilities, name) for name in flags} == flags


@pytest.mark.parametrize(
    "message",
    [
        "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions. Please use /v1/responses instead.",
        "This model is only supported in v1/responses and not in v1/chat/completions.",
        "The model 'x' does not support the '/v1/chat/completions' API",
        "model gpt-5.4 is not accessible via the /chat/completions endpoint",
    ],
)
def test_another_api(message: str) -> None:
    """Where there is none, the refusal is the caller's, or what can be left out is."""
    found = taught("chat", openai(message, code="unsupported_api_for_model" if "accessible" in message else None), own=True, elsewhere=True)
    assert found is not None
    assert found.elsewhere
    nowhere = taught("chat", openai(message), own=True)
    assert nowhere is None


EFFORT: JSON = {"output_config": {"effort": "high"}}
OFF: JSON = {"thinking": {"type": "disabled"}}
SPENT = "'max_tokens' or 'max_completion_tokens' is too large: 100. This model's maximum context length is 40960 tokens"
CALL_ITEM: JSON = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
RESULT_ITEM: JSON = {"type": "function_call_output", "call_id": "c", "output": "x"}
THOUGHT_ITEM: JSON = {"type": "reasoning", "id": "rs_1", "summary": []}
ONCE = "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."

# the shape, the refusal, members of the body besides, what of the body goes up instead (None: it is the caller's affair)
CHANGED: list[tuple[str, str, JSON, JSON | None]] = [
    ("chat", "invalid temperature: only 1 is allowed for this model", {}, {"temperature": None}),
    ("chat", "thinking options type cannot be disabled when reasoning_effort is set", OFF, {"reasoning_effort": None}),
    ("chat", "thinking options type cannot be disabled when reasoning_effort is set", {}, {}),
    ("messages", "thinking options type cannot be disabled when reasoning_effort is set", OFF | EFFORT, {"output_config": None}),
    ("messages", "This model does not support the effort parameter.", EFFORT, {"output_config": None}),
    ("responses", ONCE, {"input": [THOUGHT_ITEM, CALL_ITEM | {"id": "fc_1"}, RESULT_ITEM]}, {"input": [CALL_ITEM, RESULT_ITEM]}),
    ("responses", ONCE, {"input": [{"type": "item_reference", "id": "rs_1"}, THOUGHT_ITEM]}, {}),
    (
        "responses",
        "The encrypted content could not be verified. Reason: Encrypted content could not be decrypted or parsed.",
        {"input": [THOUGHT_ITEM, CALL_ITEM, RESULT_ITEM]},
        {"input": [CALL_ITEM, RESULT_ITEM]},
    ),
    (
        "responses",
        "Invalid 'input[1].id': 'call_1'. Expected an ID that begins with 'fc'.",
        {"input": [THOUGHT_ITEM, CALL_ITEM | {"id": "call_1"}, RESULT_ITEM | {"id": "x"}]},
        {"input": [THOUGHT_ITEM, CALL_ITEM, RESULT_ITEM]},
    ),
    (
        "responses",
        "Invalid 'input[0].id': string too long. Expected a string with maximum length 64, but got a string with length 200 instead.",
        {"input": [{"role": "user", "content": "Hi", "id": "m" * 200}, {"type": "item_reference", "id": "rs_1"}]},
        {"input": [{"role": "user", "content": "Hi"}, {"type": "item_reference", "id": "rs_1"}]},
    ),
]


@pytest.mark.parametrize(("shape", "message", "more", "instead"), CHANGED)
def test_what_goes_up_instead(shape: str, message: str, more: JSON, instead: JSON) -> None:
    body = BODIES[shape] | more
    found = taught(shape, openai(message), own=True, body=body)
    assert found is not None
    assert found.change is not None
    changed, _ = found.change(body)
    assert changed == {name: value for name, value in (body | instead).items() if value is not None}
    assert found.change(changed) == (changed, None)


JPEG = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBD"


@pytest.mark.parametrize(
    "message",
    [
        "messages.0.content.1.image.source.base64.data: Image does not match the provided media type image/png",
        "The image was specified using the image/png media type, but the image appears to be a image/jpeg image",
        "Could not process image at index 0. Declared media_type is image/png, but the data appears to be image/jpeg",
    ],
)
def test_pictures_that_are_declared_as_others(message: str) -> None:
    def picture(kind: str, data: str = JPEG) -> JSON:
        return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}

    def history(kind: str) -> JSON:
        result = {"type": "tool_result", "tool_use_id": "t", "content": [picture(kind)]}
        return {"messages": [{"role": "user", "content": [result, picture(kind), picture("image/png", "AAAA"), picture("image/png", "+")]}]}

    found = taught("messages", anthropic(message), own=True, body=MESSAGES | history("image/png"))
    assert found is not None
    assert found.change is not None
    changed, _ = found.change(MESSAGES | history("image/png"))
    assert changed == MESSAGES | history("image/jpeg")
    assert found.change(changed) == (changed, None)


@pytest.mark.parametrize(("shape", "member"), [("chat", "messages"), ("messages", "messages"), ("responses", "input")])
def test_text_that_was_cut_within_a_character(shape: str, member: str) -> None:
    body = BODIES[shape] | {member: [{"role": "user", "content": "a\ud83d b 😀"}]}
    refusal = openai("The request body is not valid JSON: no low surrogate in string: line 1 column 90 (char 89)")
    found = taught(shape, refusal, own=True, body=body)
    assert found is not None
    assert found.change is not None
    assert not found.lasting
    assert found.change(body) == (BODIES[shape] | {member: [{"role": "user", "content": "a\ufffd b 😀"}]}, (member,))
    assert taught(shape, refusal, own=True) is None


@pytest.mark.parametrize(
    "message",
    [
        SPENT,
        "max_tokens is too large: 100. This model supports at most 50 completion tokens",
        "max_completion_tokens is too large: 100. This model supports at most 50 completion tokens",
        "max_tokens=100 cannot be greater than max_model_len=max_total_tokens=50.",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 50]",
        "`max_tokens` must be less than or equal to `50`",
        "Range of max_tokens should be [1, 50]",
    ],
)
def test_an_answer_for_which_there_is_no_room(message: str) -> None:
    """Callers of other APIs have to name a limit; one of the upstream's own API has chosen it."""
    assert taught("chat", openai(message, "max_tokens"), own=True) is None
    found = taught("chat", openai(message, "max_tokens"))
    assert found is not None
    assert found.change is not None
    assert not found.lasting
    assert found.change(CHAT) == ({name: value for name, value in CHAT.items() if name != "max_tokens"}, ("max_tokens",))


@pytest.mark.parametrize(
    "message",
    [
        "`max_tokens` must be greater than `thinking.budget_tokens`",
        "max_tokens must be greater than 0",
        "max_tokens cannot be less than 1",
    ],
)
def test_a_limit_that_is_too_small(message: str) -> None:
    """It stays: the answer would be longer than the caller pays for."""
    assert taught("chat", openai(message, "max_tokens")) is None


def test_a_limit_of_nothing() -> None:
    found = taught("chat", openai("Range of max_tokens should be [1, 50]", "max_tokens"))
    assert found is not None
    assert found.change is not None
    body = CHAT | {"max_tokens": 0}
    assert found.change(body) == (body, None)


def test_an_item_whose_type_is_no_text() -> None:
    """It is its upstream's to refuse."""
    found = taught(
        "responses", openai("Invalid 'input[0].id': 'x'. Expected an ID that begins with 'msg'."), own=True, body={"input": [{"id": "x"}]}
    )
    assert found is not None
    assert found.change is not None
    body = {"input": [{"type": {}, "id": "x"}]}
    assert found.change(body) == (body, None)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("shape", ["chat", "responses"])
def test_alternatives_at_the_root_of_a_schema(shape: str, own: bool) -> None:
    def tools(schema: JSON) -> list[JSON]:
        function = {"name": "f", "parameters": schema}
        return [{"type": "function", "function": function} if shape == "chat" else {"type": "function", **function}]

    one: JSON = {"properties": {"a": {"type": "string"}}, "required": ["a"]}
    other: JSON = {"properties": {"b": {"type": "string"}}}
    body = BODIES[shape] | {"tools": tools({"type": "object", "anyOf": [one, other]})}
    refusal = "Invalid schema for function 'f': schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf' at the top level."
    found = taught(shape, openai(refusal, "tools[0].parameters", "invalid_function_parameters"), own, body=body)
    assert found is not None
    assert found.change is not None
    assert found.change(body)[0] == body | {"tools": tools({"type": "object", "properties": one["properties"] | other["properties"]})}


SCHEMA: JSON = {"type": "object", "properties": {"a": {"type": "array"}}}
WHOLE: JSON = {"type": "object", "properties": {"a": {"type": "array", "items": {}}}}
NO_ARGUMENTS: JSON = {"type": "object", "properties": {}}


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("shape", ["chat", "responses"])
def test_what_a_schema_has_to_say(shape: str, own: bool) -> None:
    """An object's `properties` and an array's `items`; nothing else is touched."""

    def tools(*schemas: JSON | None) -> list[JSON]:
        functions: list[JSON] = [{"name": "f"} | ({} if schema is None else {"parameters": schema}) for schema in schemas]
        written = [{"type": "function", "function": one} if shape == "chat" else {"type": "function", **one} for one in functions]
        return [*written, {"type": "custom", "name": "c"}]

    body = BODIES[shape] | {"tools": tools(SCHEMA, None, WHOLE)}
    found = taught(shape, openai("object schema missing properties."), own, body=body)
    assert found is not None
    assert found.change is not None
    changed, path = found.change(body)
    assert changed == body | {"tools": tools(WHOLE, NO_ARGUMENTS, WHOLE)}
    assert path == ("tools", 0)
    assert found.change(changed) == (changed, None)


MARK: JSON = {"cache_control": {"type": "ephemeral"}}
LONG: JSON = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def test_a_long_cache_mark_after_a_short_one() -> None:
    refusal = "messages.0.content.0.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block."
    said = [{"role": "user", "content": [{"type": "text", "text": "Hi"} | LONG, {"type": "text", "text": "so"} | MARK]}]
    body = MESSAGES | {"system": [{"type": "text", "text": "Be."} | MARK], "messages": said}
    found = taught("messages", anthropic(refusal), own=True, body=body)
    assert found is not None
    assert found.change is not None
    before = jsontext.dumps(body)
    changed, _ = found.change(body)
    assert changed == body | {"system": [{"type": "text", "text": "Be."} | LONG]}
    assert jsontext.dumps(body) == before
    assert found.change(changed) == (changed, None)


def test_thoughts_of_a_turn_that_are_gone() -> None:
    refusal = "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`."
    turn = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": THOUGHTS[1:]}, RESULT]
    body = MESSAGES | {"messages": turn, "thinking": {"type": "enabled", "budget_tokens": 2000}}
    found = taught("messages", anthropic(refusal), own=True, body=body)
    assert found is not None
    assert found.change is not None
    assert not found.lasting
    assert found.change(body)[0] == body | {"thinking": {"type": "disabled"}}


def test_a_name_is_changed_in_its_place() -> None:
    found = taught("chat", openai("'max_tokens' is not supported. Use 'max_completion_tokens' instead.", "max_tokens"), own=True)
    assert found is not None
    assert found.change is not None
    body, path = found.change(CHAT)
    assert path == ("max_tokens",)
    assert [*body] == ["max_completion_tokens" if name == "max_tokens" else name for name in CHAT]


THOUGHTS = [
    {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
    {"type": "tool_use", "id": "t", "name": "f", "input": {}},
]
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}


@pytest.mark.parametrize(
    "message",
    [
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified.",
        "the thinking block belongs to another prefix",
    ],
)
def test_thoughts_that_are_not_believed(message: str) -> None:
    """They are left out; and within calls that are being answered, thinking with a budget is, since it wants its thoughts there."""
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": THOUGHTS}, RESULT]
    body = MESSAGES | {"messages": history}
    found = taught("messages", anthropic(message), own=True, body=body)
    assert found is not None
    assert found.change is not None
    assert not found.lasting
    assert found.change(body)[0]["messages"] == [history[0], {"role": "assistant", "content": THOUGHTS[1:]}, RESULT]
    assert found.change(body)[0]["thinking"] == MESSAGES["thinking"]
    budget = body | {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    assert found.change(budget)[0]["thinking"] == {"type": "disabled"}


ODD: list[Any] = [None, 1, "x", {}, [], [1], [None], [[]], [{}], {"type": 1}, [{"type": {}}], [{"role": []}], [{"role": "user"}]]
ODD += [[{"role": role, "content": content}] for role in ("assistant", "developer", 1) for content in (1, {}, [1], [{}], [{"type": []}])]


@pytest.mark.parametrize("shape", UPSTREAMS)
def test_no_body_breaks_a_change(shape: str) -> None:
    """Believed for an hour, it is made of whatever callers send; what is odd is the upstream's to judge."""
    rows = [row for row in UPSTREAMS[shape].lessons if row.change is not None]
    for row in rows:
        for member in ("messages", "input", "tools", "system", "thinking", "reasoning", "tool_choice", "include", "max_tokens"):
            for value in ODD:
                assert row.change is not None
                row.change({"model": "m", member: value})
