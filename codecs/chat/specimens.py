"""Every field of a chat request. Source: OpenAI API reference, "Create chat completion"."""

from __future__ import annotations

from typing import Any

from ..specimens import PDF, PNG, SCHEMA, Specimen, Specimens

_TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}
_CUSTOM = {"type": "custom", "custom": {"name": "shell", "description": "d"}}
_TOOLS: dict[str, Any] = {"tools": [_TOOL]}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}}


def _conversation(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [*messages, {"role": "user", "content": "Go on"}]}


def _part(part: dict[str, Any]) -> Specimen:
    return Specimen({"messages": [{"role": "user", "content": [{"type": "text", "text": "Look"}, part]}]})


def _called(**more: Any) -> Specimen:
    called = {"role": "assistant", "content": None, "tool_calls": [_CALL], **more}
    return Specimen(
        _conversation({"role": "user", "content": "Hi"}, called, {"role": "tool", "tool_call_id": "call_1", "content": "Rain"}), _TOOLS
    )


SPECIMENS = Specimens(
    {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    {
        "messages[].role=system": Specimen(_conversation({"role": "system", "content": "Be brief."})),
        "messages[].role=developer": Specimen(_conversation({"role": "developer", "content": "Be brief."})),
        "messages[].name": Specimen({"messages": [{"role": "user", "content": "Hi", "name": "ann"}]}),
        "messages[].content[].image_url (data)": _part({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}),
        "messages[].content[].image_url (address)": _part({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
        "messages[].content[].image_url.detail": _part(
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}}
        ),
        "messages[].content[].file.file_data": _part(
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}
        ),
        "messages[].content[].file.file_data (address)": _part({"type": "file", "file": {"file_data": "https://example.com/a.pdf"}}),
        "messages[].content[].document_url": _part({"type": "document_url", "document_url": "https://example.com/a.pdf"}),
        "messages[].content[].file_url": _part({"type": "file_url", "file_url": {"url": "https://example.com/a.pdf"}}),
        "messages[].content[].video_url": _part({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}),
        "messages[].content[].file.file_id": _part({"type": "file", "file": {"file_id": "file-1"}}),
        "messages[].content[].input_audio": _part({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
        "messages[].content[].prompt_cache_breakpoint": _part(
            {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}
        ),
        "messages[].tool_calls": _called(),
        "messages[].reasoning_content": _called(reasoning_content="I look."),
        "messages[].refusal": Specimen(
            _conversation({"role": "user", "content": "Hi"}, {"role": "assistant", "content": None, "refusal": "No."})
        ),
        "messages (last one of the assistant)": Specimen(
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "So"}]}
        ),
        "tools (function)": Specimen(_TOOLS),
        "tools[].function.strict": Specimen({"tools": [{**_TOOL, "function": {**_TOOL["function"], "strict": True}}]}),  # type: ignore[dict-item]
        "tools (custom)": Specimen({"tools": [_CUSTOM]}),
        "tools (custom, grammar)": Specimen(
            {
                "tools": [
                    {
                        "type": "custom",
                        "custom": {
                            "name": "shell",
                            "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a/"}},
                        },
                    }
                ]
            }
        ),
        "tool_choice=required": Specimen({"tool_choice": "required"}, _TOOLS),
        "tool_choice=none": Specimen({"tool_choice": "none"}, _TOOLS),
        "tool_choice (named)": Specimen({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, _TOOLS),
        "tool_choice (allowed_tools)": Specimen(
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "weather"}}]},
                }
            },
            _TOOLS,
        ),
        "parallel_tool_calls=false": Specimen({"parallel_tool_calls": False}, _TOOLS),
        "functions": Specimen({"functions": [{"name": "old", "parameters": {"type": "object"}}]}),
        "function_call": Specimen({"function_call": {"name": "old"}}, {"functions": [{"name": "old", "parameters": {"type": "object"}}]}),
        "response_format (json_object)": Specimen({"response_format": {"type": "json_object"}}),
        "response_format (json_schema)": Specimen(
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA, "strict": True}}}
        ),
        "max_completion_tokens": Specimen({"max_completion_tokens": 100}),
        "max_tokens": Specimen({"max_tokens": 100}),
        "temperature": Specimen({"temperature": 0.5}),
        "top_p": Specimen({"top_p": 0.9}),
        "top_k": Specimen({"top_k": 5}),
        "stop": Specimen({"stop": ["a"]}),
        "seed": Specimen({"seed": 7}),
        "n": Specimen({"n": 2}),
        "presence_penalty": Specimen({"presence_penalty": 0.1}),
        "frequency_penalty": Specimen({"frequency_penalty": 0.1}),
        "logit_bias": Specimen({"logit_bias": {"50256": -100}}),
        "logprobs": Specimen({"logprobs": True}),
        "top_logprobs": Specimen({"top_logprobs": 2}, {"logprobs": True}),
        "reasoning_effort=none": Specimen({"reasoning_effort": "none"}),
        "reasoning_effort=low": Specimen({"reasoning_effort": "low"}),
        "reasoning_effort=xhigh": Specimen({"reasoning_effort": "xhigh"}),
        "verbosity": Specimen({"verbosity": "low"}),
        "modalities (audio)": Specimen({"modalities": ["text", "audio"]}),
        "audio": Specimen({"audio": {"voice": "alloy", "format": "wav"}}),
        "prediction": Specimen({"prediction": {"type": "content", "content": "x"}}),
        "moderation": Specimen({"moderation": {"model": "m"}}),
        "web_search_options": Specimen({"web_search_options": {"search_context_size": "low"}}),
        "service_tier=flex": Specimen({"service_tier": "flex"}),
        "service_tier=priority": Specimen({"service_tier": "priority"}),
        "service_tier=fast": Specimen({"service_tier": "fast"}),
        "store": Specimen({"store": True}),
        "metadata": Specimen({"metadata": {"a": "b"}}),
        "user": Specimen({"user": "u"}),
        "safety_identifier": Specimen({"safety_identifier": "s"}),
        "prompt_cache_key": Specimen({"prompt_cache_key": "k"}),
        "prompt_cache_options": Specimen({"prompt_cache_options": {"mode": "implicit"}}),
        "prompt_cache_retention": Specimen({"prompt_cache_retention": "24h"}),
        "stream": Specimen({"stream": True}),
        "stream_options.include_usage": Specimen({"stream_options": {"include_usage": True}}, {"stream": True}),
        "stream_options.include_obfuscation": Specimen({"stream_options": {"include_obfuscation": False}}, {"stream": True}),
    },
)
