"""Rules between settings of a chat body: each row says what a flag changes, and what is reported."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import chat, errors, messages
from dragoman.codecs.capabilities import Capabilities

TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
OTHER = {"name": "g", "input_schema": {"type": "object", "properties": {}}}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_01", "name": "f", "input": {}}]}


def result(*more: dict[str, Any], content: Any = "ok") -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_01", "content": content}, *more]}


def written(body: dict[str, Any], **flags: Any) -> tuple[dict[str, Any], str, str]:
    """The body that goes up, and what was dropped and adapted."""
    request = messages.decode_request({"max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **body})
    encoded = chat.encode_request(request, Capabilities(**flags), "m")
    ledger = request.ledger
    return encoded.body, ledger.header(ledger.dropped, request.body), ledger.header(ledger.adapted, request.body)


EFFORT = {"output_config": {"effort": "medium"}, "thinking": {"type": "adaptive"}}
FORCED = {"tools": [TOOL, OTHER], "tool_choice": {"type": "tool", "name": "f"}}
OFF = {"thinking": {"type": "disabled"}}
TOOLS = {"tools": [TOOL]}
CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}
OPENAI = {"openai_host": True, "c_tools_beside_reasoning": False, "c_effort_values": ("none", "low", "medium")}
# the caller's body, flags, what the upstream's body has (None: it has no such member), dropped, adapted
SETTINGS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str, str]] = [
    ({"temperature": 0.2}, {}, {"temperature": 0.2}, "", ""),
    ({"temperature": 0.2}, {"c_sampling": "none"}, {"temperature": None}, "temperature", ""),
    ({"temperature": 1}, {"c_sampling": "none"}, {"temperature": None}, "", ""),
    ({"temperature": 0.2}, {"c_sampling": "unless_reasoning"}, {"temperature": 0.2}, "", ""),
    ({"temperature": 0.2}, {"c_sampling": "unless_reasoning", "c_reasons": "unless_off"}, {"temperature": None}, "temperature", ""),
    ({"top_p": 0.9, **EFFORT}, {"c_sampling": "unless_reasoning"}, {"top_p": None, "reasoning_effort": "medium"}, "top_p", ""),
    ({"stop_sequences": ["x"]}, {"leave_out": ("stop",)}, {"stop": None}, "stop_sequences", ""),
    ({"metadata": {"user_id": "u"}}, {"leave_out": ("user",)}, {"user": None}, "metadata.user_id", ""),
    (
        {"tools": [TOOL | {"strict": True, "input_schema": CLOSED}]},
        {"leave_out": ("tools[].function.strict",)},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": CLOSED}}]},
        "",
        "tools",
    ),
    (
        {"max_tokens": 100},
        {"leave_out": ("max_tokens",), "c_max_tokens_field": "max_completion_tokens"},
        {"max_completion_tokens": 100},
        "",
        "",
    ),
    ({"max_tokens": 100}, {"c_max_output": 50}, {"max_tokens": 50}, "", "max_tokens=50"),
    (FORCED, {}, {"tool_choice": {"type": "function", "function": {"name": "f"}}}, "", ""),
    (FORCED, {"c_tool_choice": "required"}, {"tool_choice": "required"}, "", "tool_choice=required"),
    (FORCED, {"c_tool_choice": "auto"}, {"tool_choice": "auto"}, "", "tool_choice=auto"),
    (
        FORCED,
        {"c_tool_choice_reasoning": "auto", "c_reasons": "unless_off", "c_thinking_switch": "thinking"},
        {"thinking": {"type": "disabled"}, "tool_choice": {"type": "function", "function": {"name": "f"}}},
        "",
        "",
    ),
    (
        FORCED,
        {"c_tool_choice_reasoning": "auto", "c_reasons": "unless_off", "c_thinking_switch": "enable_thinking"},
        {"enable_thinking": False},
        "",
        "",
    ),
    (
        FORCED | {"output_config": {"effort": "high"}},  # asked for: it is not switched off
        {"c_tool_choice_reasoning": "auto", "c_reasons": "unless_off", "c_thinking_switch": "thinking"},
        {"thinking": None, "tool_choice": "auto"},
        "",
        "tool_choice=auto",
    ),
    # what switches reasoning off is said in the upstream's words
    (OFF, {"c_thinking_switch": "thinking"}, {"thinking": {"type": "disabled"}, "reasoning_effort": None}, "", ""),
    (OFF, {"c_thinking_switch": "enable_thinking"}, {"enable_thinking": False}, "", ""),
    (OFF, {"c_thinking_switch": "thinking", "c_effort_values": ("none", "low")}, {"thinking": None, "reasoning_effort": "none"}, "", ""),
    (OFF, {}, {"thinking": None, "reasoning_effort": None}, "thinking", ""),
    # tools beside reasoning, where there is no other API
    (TOOLS | EFFORT, OPENAI, {"reasoning_effort": "none"}, "", "output_config.effort=none"),
    (TOOLS | EFFORT, OPENAI | {"openai_host": False}, {"reasoning_effort": "medium"}, "", ""),  # who knows what stands there
    (TOOLS, OPENAI, {"reasoning_effort": None}, "", ""),
    (TOOLS, OPENAI | {"c_reasons": "unless_off"}, {"reasoning_effort": "none"}, "", "thinking=none"),
    (EFFORT, OPENAI, {"reasoning_effort": "medium"}, "", ""),
    ({}, {"leave_out": ("stream_options",)}, {"stream_options": None}, "", ""),
]


@pytest.mark.parametrize(("body", "flags", "found", "dropped", "adapted"), SETTINGS)
def test_settings(body: dict[str, Any], flags: dict[str, Any], found: dict[str, Any], dropped: str, adapted: str) -> None:
    upstream, lost, changed = written(body | {"stream": True}, **flags)
    assert {name: upstream.get(name) for name in found} == found
    assert (lost, changed) == (dropped, adapted)


def test_tools_beside_reasoning_that_cannot_be_switched_off() -> None:
    with pytest.raises(errors.Unsupported, match="tools beside reasoning"):
        written(TOOLS | EFFORT, **OPENAI | {"c_effort_values": ("low", "medium")})


def test_a_named_tool_is_the_only_one() -> None:
    upstream, _, _ = written(FORCED, c_tool_choice="required")
    assert [tool["function"]["name"] for tool in upstream["tools"]] == ["f"]


SAY = {"type": "text", "text": "Go on."}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
# the caller's messages, flags, roles and contents of the upstream's
MESSAGES: list[tuple[list[dict[str, Any]], dict[str, Any], list[tuple[str, Any]]]] = [
    ([USE, result()], {}, [("assistant", None), ("tool", "ok")]),
    ([USE, result()], {"c_null_content": False}, [("assistant", ""), ("tool", "ok")]),
    ([USE, result(content="")], {"c_empty_content": False}, [("assistant", None), ("tool", "(no output)")]),
    ([USE, result(SAY)], {}, [("assistant", None), ("tool", "ok"), ("user", "Go on.")]),
    ([USE, result(SAY)], {"c_user_after_tool": False}, [("assistant", None), ("tool", "ok\n\nGo on.")]),
    (
        [USE, result(PNG)],
        {"c_user_after_tool": False},
        [
            ("assistant", None),
            ("tool", "ok"),
            ("assistant", "."),
            ("user", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]),
        ],
    ),
    (
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}],
        {"c_alternate": True},
        [("user", "a\n\nb"), ("assistant", "c")],
    ),
]


@pytest.mark.parametrize(("said", "flags", "found"), MESSAGES)
def test_messages(said: list[dict[str, Any]], flags: dict[str, Any], found: list[tuple[str, Any]]) -> None:
    upstream, _, _ = written({"messages": said, "tools": [TOOL]}, **flags)
    assert [(message["role"], message["content"]) for message in upstream["messages"]] == found


def test_call_ids_of_nine() -> None:
    upstream, _, _ = written({"messages": [USE, result()], "tools": [TOOL]}, c_call_ids="nine")
    (call,) = upstream["messages"][0]["tool_calls"]
    assert len(call["id"]) == 9
    assert call["id"].isalnum()
    assert upstream["messages"][1]["tool_call_id"] == call["id"]


def test_reasoning_that_every_message_needs() -> None:
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    upstream, _, _ = written({"messages": said}, c_reasoning_required=True)
    assert [message.get("reasoning_content") for message in upstream["messages"]] == [None, " ", None]


def test_calls_without_a_signature_have_a_stand_in() -> None:
    history = {"messages": [{"role": "user", "content": "Hi"}, USE, result()]}
    upstream, _, adapted = written(history, c_signed_calls=True)
    (call,) = upstream["messages"][1]["tool_calls"]
    assert (call["extra_content"], adapted) == ({"google": {"thought_signature": "skip_thought_signature_validator"}}, "messages")
    upstream, _, adapted = written(history)
    assert (list(upstream["messages"][1]["tool_calls"][0]), adapted) == (["id", "type", "function"], "")


def test_a_name_that_has_to_begin_with_a_letter() -> None:
    request = messages.decode_request(
        {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "tools": [{**TOOL, "name": "7zip"}]}
    )
    encoded = chat.encode_request(request, Capabilities(c_letter_names=True), "m")
    assert encoded.body["tools"][0]["function"]["name"] == "t_7zip"
    assert encoded.tools.restore("t_7zip").name == "7zip"


def test_strict_tools_beside_others() -> None:
    closed = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    tools = [{**TOOL, "strict": True, "input_schema": closed}, OTHER]
    upstream, _, adapted = written({"tools": tools}, c_mixed_strict=False)
    assert not any("strict" in tool["function"] for tool in upstream["tools"])
    assert adapted == "tools"


def test_a_model_without_tools_refuses_them_by_name() -> None:
    with pytest.raises(errors.Unsupported) as refused:
        written({"tools": [TOOL]}, c_tools=False)
    assert refused.value.param == "tools"


@pytest.mark.parametrize("flags", [{"c_images": False}, {"c_image_urls": False}])
def test_images_that_a_model_does_not_take(flags: dict[str, Any]) -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    with pytest.raises(errors.UnsupportedContent) as refused:
        written({"messages": [{"role": "user", "content": [image]}]}, **flags)
    assert refused.value.param == "messages[0].content[0]"
