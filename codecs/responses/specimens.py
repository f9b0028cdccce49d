"""Every field of a responses request. Source: OpenAI API reference, "Create a model response".

What only names stored things (`previous_response_id`, `conversation`, `background`) is the gateway's state, not a field that is encoded.
"""

from __future__ import annotations

from typing import Any

from ..specimens import PDF, PNG, SCHEMA, Specimen, Specimens

_TOOL: dict[str, Any] = {"type": "function", "name": "weather", "description": "d", "parameters": SCHEMA, "strict": False}
_TOOLS: dict[str, Any] = {"tools": [_TOOL]}
_HI = {"role": "user", "content": "Hi"}
_GO = {"role": "user", "content": "Go on"}


def _items(*items: dict[str, Any]) -> dict[str, Any]:
    return {"input": [_HI, *items, _GO]}


def _part(part: dict[str, Any]) -> Specimen:
    return Specimen({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Look"}, part]}]})


def _called(output: Any) -> Specimen:
    call = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Ulm"}'}
    return Specimen(_items(call, {"type": "function_call_output", "call_id": "call_1", "output": output}), _TOOLS)


def _tool(**members: Any) -> Specimen:
    return Specimen({"tools": [members]})


SPECIMENS = Specimens(
    {"model": "m", "input": [_HI]},
    {
        "instructions": Specimen({"instructions": "Be brief."}),
        "input[].role=developer": Specimen({"input": [{"role": "developer", "content": "Be brief."}, _HI]}),
        "input[].role=system": Specimen({"input": [{"role": "system", "content": "Be brief."}, _HI]}),
        "input[].content[].input_image (data)": _part({"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}),
        "input[].content[].input_image (address)": _part({"type": "input_image", "image_url": "https://example.com/a.png"}),
        "input[].content[].input_image.file_id": _part({"type": "input_image", "file_id": "file-1"}),
        "input[].content[].input_file.file_data": _part(
            {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
        ),
        "input[].content[].input_file.file_url": _part({"type": "input_file", "file_url": "https://example.com/a.pdf"}),
        "input[].content[].input_file.file_id": _part({"type": "input_file", "file_id": "file-1"}),
        "input[].function_call, function_call_output": _called("Rain"),
        "input[].function_call_output.output[].input_image": _called(
            [{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]
        ),
        "input[].custom_tool_call": Specimen(
            _items(
                {"type": "custom_tool_call", "call_id": "call_2", "name": "shell", "input": "ls"},
                {"type": "custom_tool_call_output", "call_id": "call_2", "output": "a b"},
            ),
            {"tools": [{"type": "custom", "name": "shell", "description": "d"}]},
        ),
        "input[].reasoning": Specimen(
            _items(
                {
                    "type": "reasoning",
                    "id": "rs_1",
                    "summary": [{"type": "summary_text", "text": "I look."}],
                    "encrypted_content": "ENC",
                },
                {"role": "assistant", "content": "See"},
            )
        ),
        "input[].web_search_call": Specimen(
            _items({"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}})
        ),
        "input[].shell_call": Specimen(
            _items(
                {"type": "shell_call", "call_id": "call_3", "action": {"commands": ["ls"]}, "status": "completed"},
                {"type": "shell_call_output", "call_id": "call_3", "output": [{"stdout": "a", "stderr": "", "outcome": {"type": "exit"}}]},
            )
        ),
        "tools (function)": Specimen(_TOOLS),
        "tools[].strict": Specimen({"tools": [{**_TOOL, "strict": True}]}),
        "tools (custom)": _tool(type="custom", name="shell", description="d"),
        "tools (namespace)": _tool(type="namespace", name="n", description="d", tools=[_TOOL]),
        "tools (web_search)": _tool(type="web_search"),
        "tools (web_search).filters": _tool(type="web_search", filters={"allowed_domains": ["a.example"]}),
        "tools (file_search)": _tool(type="file_search", vector_store_ids=["vs_1"]),
        "tools (code_interpreter)": _tool(type="code_interpreter", container={"type": "auto"}),
        "tools (image_generation)": _tool(type="image_generation"),
        "tools (mcp)": _tool(type="mcp", server_label="s", server_url="https://example.com"),
        "tools (local_shell)": _tool(type="local_shell"),
        "tools (apply_patch)": _tool(type="apply_patch"),
        "tool_choice=required": Specimen({"tool_choice": "required"}, _TOOLS),
        "tool_choice=none": Specimen({"tool_choice": "none"}, _TOOLS),
        "tool_choice (named)": Specimen({"tool_choice": {"type": "function", "name": "weather"}}, _TOOLS),
        "parallel_tool_calls=false": Specimen({"parallel_tool_calls": False}, _TOOLS),
        "max_tool_calls": Specimen({"max_tool_calls": 5}, _TOOLS),
        "max_output_tokens": Specimen({"max_output_tokens": 100}),
        "temperature": Specimen({"temperature": 0.5}),
        "top_p": Specimen({"top_p": 0.9}),
        "top_logprobs": Specimen({"top_logprobs": 2}),
        "reasoning.effort=none": Specimen({"reasoning": {"effort": "none"}}),
        "reasoning.effort=low": Specimen({"reasoning": {"effort": "low"}}),
        "reasoning.effort=xhigh": Specimen({"reasoning": {"effort": "xhigh"}}),
        "reasoning.effort=max": Specimen({"reasoning": {"effort": "max"}}),
        "reasoning.summary": Specimen({"reasoning": {"summary": "auto"}}),
        "reasoning.context": Specimen({"reasoning": {"context": "current_turn"}}),
        "reasoning.mode": Specimen({"reasoning": {"mode": "pro"}}),
        "text.format (json_object)": Specimen({"text": {"format": {"type": "json_object"}}}),
        "text.format (json_schema)": Specimen({"text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA, "strict": True}}}),
        "text.verbosity": Specimen({"text": {"verbosity": "low"}}),
        "include=reasoning.encrypted_content": Specimen({"include": ["reasoning.encrypted_content"]}),
        "include=message.output_text.logprobs": Specimen({"include": ["message.output_text.logprobs"]}),
        "include=web_search_call.action.sources": Specimen({"include": ["web_search_call.action.sources"]}),
        "truncation=auto": Specimen({"truncation": "auto"}),
        "prompt": Specimen({"prompt": {"id": "pmpt_1"}}),
        "moderation": Specimen({"moderation": {"model": "m"}}),
        "context_management": Specimen({"context_management": [{"type": "compaction", "compact_threshold": 100_000}]}),
        "service_tier=flex": Specimen({"service_tier": "flex"}),
        "service_tier=priority": Specimen({"service_tier": "priority"}),
        "metadata": Specimen({"metadata": {"a": "b"}}),
        "user": Specimen({"user": "u"}),
        "safety_identifier": Specimen({"safety_identifier": "s"}),
        "prompt_cache_key": Specimen({"prompt_cache_key": "k"}),
        "prompt_cache_options": Specimen({"prompt_cache_options": {"mode": "implicit"}}),
        "store=false": Specimen({"store": False}),
        "stream": Specimen({"stream": True}),
        "stream_options.include_obfuscation": Specimen({"stream_options": {"include_obfuscation": False}}, {"stream": True}),
    },
)
