"""Whole requests in two shapes, as clients and upstreams write them: what tests of several directions compare with."""

from __future__ import annotations

import copy
from typing import Any

# ---- a responses client ----

_SEALED = (
    "dgr1.eyJrIjoibSIsInUiOiJhbnQiLCJiIjpbeyJ0eXBlIjoidGhpbmtpbmciLCJ0aGlua2luZyI6InBsYW4iLCJzaWduYXR1cmUiOiJTSUcifSx7InR5cGUi"
    "OiJyZWRhY3RlZF90aGlua2luZyIsImRhdGEiOiJSRUQifV19"
)
_N_SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
_A_SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
INPUT_SCHEMA = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"], "additionalProperties": False}

RESPONSES_CLIENT: dict[str, Any] = {
    "model": "smart",
    "instructions": "I",
    "input": [
        {"role": "user", "content": "q"},
        {"type": "reasoning", "id": "rs_a", "summary": [], "encrypted_content": _SEALED},
        {"type": "function_call", "id": "fc_a", "call_id": "toolu_1", "name": "f", "arguments": '{"a":1}'},
        {
            "type": "message",
            "id": "msg_a",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "working", "annotations": []}],
        },
        {"type": "custom_tool_call", "id": "ctc_a", "call_id": "toolu_2", "name": "patch", "input": "*** x"},
        {"type": "custom_tool_call_output", "call_id": "toolu_2", "output": "done"},
        {
            "type": "function_call_output",
            "call_id": "toolu_1",
            "output": [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": "https://h/i.png", "detail": "auto"}],
        },
    ],
    "tools": [
        {"type": "function", "name": "f", "parameters": _A_SCHEMA},
        {"type": "custom", "name": "patch", "description": "p"},
        {"type": "web_search"},
        {"type": "mcp", "server_label": "s", "server_url": "https://m"},
    ],
    "text": {"format": {"type": "json_schema", "name": "o", "schema": _N_SCHEMA}, "verbosity": "low"},
    "reasoning": {"effort": "high"},
    "max_output_tokens": 500,
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "truncation": "auto",
    "prompt_cache_key": "k",
}
# to a host that is not OpenAI's and takes no free-text tools
AS_CHAT: dict[str, Any] = {
    "model": "local",
    "max_tokens": 500,
    "messages": [
        {"role": "system", "content": "I"},
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": "working",
            "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                {"id": "toolu_2", "type": "function", "function": {"name": "patch", "arguments": '{"input":"*** x"}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_2", "content": "done"},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "see"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Image output of tool call toolu_1:"},
                {"type": "image_url", "image_url": {"url": "https://h/i.png", "detail": "auto"}},
            ],
        },
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "parameters": _A_SCHEMA}},
        {"type": "function", "function": {"name": "patch", "description": "p", "parameters": INPUT_SCHEMA}},
    ],
    "response_format": {"type": "json_schema", "json_schema": {"name": "o", "schema": _N_SCHEMA}},
    "reasoning_effort": "high",
}
AS_CHAT_DROPPED = "input[*].encrypted_content,tools[*]:web_search,tools[*]:mcp,text.verbosity,truncation,prompt_cache_key"
AS_CHAT_ADAPTED = "input[*].output[*],tools[*]"
AS_MESSAGES: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 500,
    "system": "I",
    "messages": [
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "plan", "signature": "SIG"},
                {"type": "redacted_thinking", "data": "RED"},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
                {"type": "text", "text": "working"},
                {"type": "tool_use", "id": "toolu_2", "name": "patch", "input": {"input": "*** x"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "done"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [{"type": "text", "text": "see"}, {"type": "image", "source": {"type": "url", "url": "https://h/i.png"}}],
                },
            ],
        },
    ],
    "tools": [
        {"name": "f", "input_schema": _A_SCHEMA},
        {"name": "patch", "description": "p", "input_schema": INPUT_SCHEMA},
        {"type": "web_search_20250305", "name": "web_search"},
    ],
    "output_config": {
        "effort": "high",
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"n": {"type": "integer", "description": '(constraints: {"minimum":1})'}},
                "required": ["n"],
                "additionalProperties": False,
            },
        },
    },
    "thinking": {"type": "adaptive"},
}
AS_MESSAGES_DROPPED = "tools[*]:mcp,text.verbosity,truncation,prompt_cache_key"
AS_MESSAGES_ADAPTED = "tools[*],text.format"

# ---- a chat client ----

CHAT_CLIENT: dict[str, Any] = {
    "model": "smart",
    "messages": [
        {"role": "system", "content": "S1"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
            ],
        },
        {
            "role": "assistant",
            "content": "ok",
            "reasoning_content": "plan",
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "plan",
                    "signature": "SIG",
                    "format": "anthropic-claude-v1",
                    "index": 0,
                    "dragoman_layout": "d",
                }
            ],
            "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                {"id": "toolu_2", "type": "function", "function": {"name": "g", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_2", "content": "two"},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "one"},
        {"role": "developer", "content": "S2"},
        {"role": "user", "content": "go"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": _A_SCHEMA}},
        {"type": "function", "function": {"name": "g"}},
    ],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "reasoning_effort": "minimal",
    "temperature": 1.7,
    "stop": ["END", "\n"],
    "seed": 7,
    "user": "u1",
    "stream": True,
    "stream_options": {"include_usage": True},
}
CHAT_AS_RESPONSES: dict[str, Any] = {
    "model": "gpt-x",
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "input": [
        {"type": "message", "role": "system", "content": "S1"},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
            ],
        },
        {"type": "message", "role": "assistant", "content": "ok"},
        {"type": "function_call", "call_id": "toolu_1", "name": "f", "arguments": '{"a":1}'},
        {"type": "function_call", "call_id": "toolu_2", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "toolu_2", "output": "two"},
        {"type": "function_call_output", "call_id": "toolu_1", "output": "one"},
        {"type": "message", "role": "developer", "content": "S2"},
        {"type": "message", "role": "user", "content": "go"},
    ],
    "tools": [
        {"type": "function", "name": "f", "description": "d", "parameters": _A_SCHEMA, "strict": False},
        {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}, "strict": False},
    ],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "minimal", "summary": "auto"},
    "temperature": 1.7,
    "safety_identifier": "u1",
    "stream": True,
}
CHAT_AS_RESPONSES_DROPPED = "messages[*].reasoning_details,stop,seed"

CHAT_AS_MESSAGES: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 32000,
    "system": [{"type": "text", "text": "S1"}, {"type": "text", "text": "S2"}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "plan", "signature": "SIG"},
                {"type": "text", "text": "ok"},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "two"},
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "one"},
                {"type": "text", "text": "go"},
            ],
        },
    ],
    "tools": [
        {"name": "f", "description": "d", "input_schema": _A_SCHEMA},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
    ],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "thinking": {"type": "disabled"},  # a forced tool rules it out
    "output_config": {"effort": "low"},
    "temperature": 1,
    "stop_sequences": ["END"],
    "metadata": {"user_id": "u1"},
    "stream": True,
}

# ---- a messages client ----


def messages_client(signature: str) -> dict[str, Any]:
    """signature: of the thinking block in its history."""
    return copy.deepcopy(_MESSAGES_CLIENT | {"messages": [_MESSAGES[0], _thinking_turn(signature), _MESSAGES[1]]})


def _thinking_turn(signature: str) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "plan", "signature": signature},
            {"type": "text", "text": "A"},
            {"type": "tool_use", "id": "call_1", "name": "shot", "input": {}},
        ],
    }


_MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": "q"},
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "call_1",
                "is_error": True,
                "content": [
                    {"type": "text", "text": "bad"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
                ],
            },
            {"type": "text", "text": "why?"},
        ],
    },
]
_MESSAGES_CLIENT: dict[str, Any] = {
    "model": "smart",
    "max_tokens": 10,
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=1;"},
        {"type": "text", "text": "S1", "cache_control": {"type": "ephemeral"}},
    ],
    "messages": [],
    "tools": [{"name": "shot", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 8000},
    "top_k": 5,
    "stop_sequences": ["X"],
    "metadata": {"user_id": "u1"},
    "stream": True,
}
# k=r, u=oai, id=rs_1, ec=E1, s=[plan]
RESPONSES_SEAL = "dgr1.eyJrIjoiciIsInUiOiJvYWkiLCJpZCI6InJzXzEiLCJlYyI6IkUxIiwicyI6WyJwbGFuIl19"
MESSAGES_AS_RESPONSES: dict[str, Any] = {
    "model": "gpt-x",
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "instructions": "S1",
    "max_output_tokens": 16,
    "input": [
        {"type": "message", "role": "user", "content": "q"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "plan"}], "encrypted_content": "E1"},
        {"type": "message", "role": "assistant", "content": "A"},
        {"type": "function_call", "call_id": "call_1", "name": "shot", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": [
                {"type": "input_text", "text": "Error: bad"},
                {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
            ],
        },
        {"type": "message", "role": "user", "content": "why?"},
    ],
    "tools": [{"type": "function", "name": "shot", "parameters": {"type": "object"}, "strict": False}],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "safety_identifier": "u1",
    "stream": True,
}
MESSAGES_AS_RESPONSES_DROPPED = "top_k,stop_sequences"
MESSAGES_AS_RESPONSES_ADAPTED = "max_tokens=16,messages[*].content[*].is_error,thinking=medium"

# k=c, u=ds
TEXT_SEAL = "dgr1.eyJrIjoiYyIsInUiOiJkcyJ9"
MESSAGES_AS_CHAT: dict[str, Any] = {
    "model": "ds-chat",
    "max_tokens": 10,
    "messages": [
        {"role": "system", "content": "S1"},
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": "A",
            "reasoning_content": "plan",
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "shot", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "Error: bad"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Image output of tool call call_1:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                {"type": "text", "text": "why?"},
            ],
        },
    ],
    "tools": [{"type": "function", "function": {"name": "shot", "parameters": {"type": "object"}}}],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning_effort": "medium",
    "stop": ["X"],
    "user": "u1",
    "stream": True,
    "stream_options": {"include_usage": True},
}
MESSAGES_AS_CHAT_DROPPED = "top_k"
MESSAGES_AS_CHAT_ADAPTED = "messages[*].content[*].is_error,messages[*].content[*].content[*],thinking=medium"
