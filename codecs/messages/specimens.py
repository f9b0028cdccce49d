"""Every field of a messages request. Source: Anthropic API reference, "Create a Message"."""

from __future__ import annotations

from typing import Any

from ..specimens import PDF, PNG, SCHEMA, Specimen, Specimens

_TOOL: dict[str, Any] = {"name": "weather", "description": "d", "input_schema": SCHEMA}
_TOOLS: dict[str, Any] = {"tools": [_TOOL]}
_MARK = {"type": "ephemeral"}
_HI = {"role": "user", "content": "Hi"}


def _part(part: dict[str, Any]) -> Specimen:
    return Specimen({"messages": [{"role": "user", "content": [{"type": "text", "text": "Look"}, part]}]})


def _assistant(*parts: dict[str, Any]) -> Specimen:
    return Specimen({"messages": [_HI, {"role": "assistant", "content": [*parts]}, {"role": "user", "content": "Go on"}]})


def _result(*parts: dict[str, Any], **more: Any) -> Specimen:
    called = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Ulm"}}]}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "Rain"}, *parts], **more}
    return Specimen({"messages": [_HI, called, {"role": "user", "content": [result]}]}, _TOOLS)


SPECIMENS = Specimens(
    {"model": "m", "max_tokens": 4096, "messages": [_HI]},
    {
        "system": Specimen({"system": "Be brief."}),
        "system[].cache_control": Specimen({"system": [{"type": "text", "text": "Be brief.", "cache_control": _MARK}]}),
        "messages[].role=system": Specimen({"messages": [_HI, {"role": "system", "content": "Shorter."}]}),
        "messages[].content[].cache_control": _part({"type": "text", "text": "a", "cache_control": _MARK}),
        "messages[].content[].cache_control.ttl=1h": _part({"type": "text", "text": "a", "cache_control": {**_MARK, "ttl": "1h"}}),
        "messages[].content[].image (base64)": _part(
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
        ),
        "messages[].content[].image (url)": _part({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}),
        "messages[].content[].image (file)": _part({"type": "image", "source": {"type": "file", "file_id": "file_1"}}),
        "messages[].content[].document (pdf)": _part(
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
        ),
        "messages[].content[].document (url)": _part({"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}),
        "messages[].content[].document (text)": _part(
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hello"}}
        ),
        "messages[].content[].document.citations": _part(
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hello"}, "citations": {"enabled": True}}
        ),
        "messages[].content[].search_result": _part(
            {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "found"}]}
        ),
        "messages[].content[].tool_use, tool_result": _result(),
        "messages[].content[].tool_result.is_error": _result(is_error=True),
        "messages[].content[].tool_result.content[].image": _result(
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
        ),
        "messages[].content[].thinking": _assistant(
            {"type": "thinking", "thinking": "I look.", "signature": "c2ln"}, {"type": "text", "text": "See"}
        ),
        "messages[].content[].redacted_thinking": _assistant(
            {"type": "redacted_thinking", "data": "UkVE"}, {"type": "text", "text": "See"}
        ),
        "messages[].content[].server_tool_use": _assistant(
            {"type": "text", "text": "See"},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        ),
        "messages (last one of the assistant)": Specimen({"messages": [_HI, {"role": "assistant", "content": "So"}]}),
        "tools": Specimen(_TOOLS),
        "tools[].strict": Specimen({"tools": [{**_TOOL, "strict": True}]}),
        "tools[].cache_control": Specimen({"tools": [{**_TOOL, "cache_control": _MARK}]}),
        "tools[].defer_loading": Specimen({"tools": [{**_TOOL, "defer_loading": True}]}),
        "tools[].eager_input_streaming": Specimen({"tools": [{**_TOOL, "eager_input_streaming": True}]}),
        "tools[].input_examples": Specimen({"tools": [{**_TOOL, "input_examples": [{"city": "Ulm"}]}]}),
        "tools (web_search)": Specimen({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        "tools (web_search).max_uses": Specimen({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]}),
        "tools (web_fetch)": Specimen({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
        "tools (code_execution)": Specimen({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}),
        "tools (bash)": Specimen({"tools": [{"type": "bash_20250124", "name": "bash"}]}),
        "tools (text_editor)": Specimen({"tools": [{"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}]}),
        "tool_choice=any": Specimen({"tool_choice": {"type": "any"}}, _TOOLS),
        "tool_choice=tool": Specimen({"tool_choice": {"type": "tool", "name": "weather"}}, _TOOLS),
        "tool_choice=none": Specimen({"tool_choice": {"type": "none"}}, _TOOLS),
        "tool_choice.disable_parallel_tool_use": Specimen(
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, {**_TOOLS, "tool_choice": {"type": "auto"}}
        ),
        "max_tokens": Specimen({"max_tokens": 100}),
        "temperature": Specimen({"temperature": 0.5}),
        "top_p": Specimen({"top_p": 0.9}),
        "top_k": Specimen({"top_k": 5}),
        "stop_sequences": Specimen({"stop_sequences": ["a"]}),
        "thinking=enabled": Specimen({"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        "thinking=adaptive": Specimen({"thinking": {"type": "adaptive"}}),
        "thinking=disabled": Specimen({"thinking": {"type": "disabled"}}),
        "thinking.display": Specimen({"thinking": {"type": "adaptive", "display": "summarized"}}, {"thinking": {"type": "adaptive"}}),
        "output_config.effort=low": Specimen({"output_config": {"effort": "low"}}),
        "output_config.effort=xhigh": Specimen({"output_config": {"effort": "xhigh"}}),
        "output_config.effort=max": Specimen({"output_config": {"effort": "max"}}),
        "output_config.format": Specimen({"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
        "metadata.user_id": Specimen({"metadata": {"user_id": "u"}}),
        "service_tier=standard_only": Specimen({"service_tier": "standard_only"}),
        "speed=fast": Specimen({"speed": "fast"}),
        "cache_control": Specimen({"cache_control": _MARK}),
        "container": Specimen({"container": "c"}),
        "context_management": Specimen({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}),
        "mcp_servers": Specimen({"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "n"}]}),
        "inference_geo": Specimen({"inference_geo": "eu"}),
        "diagnostics": Specimen({"diagnostics": {"previous_message_id": "msg_1"}}),
        "stream": Specimen({"stream": True}),
    },
)
