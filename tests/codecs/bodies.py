"""A request of each shape that uses nearly all that its API reference knows: what the fuzz tests damage."""

from __future__ import annotations

from typing import Any

_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 1}, "days": {"type": ["integer", "null"], "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"x": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/x"}]}},
}

CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}], "name": "boss"},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_PNG}", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "I look.",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "I look.", "signature": "SIG", "format": "anthropic-claude-v1", "index": 0}
            ],
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}},
                {"id": "call_2", "type": "custom", "custom": {"name": "shell", "input": "ls -l"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "a b"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "refusal": None, "annotations": []},
        {"role": "assistant", "content": None, "function_call": {"name": "old", "arguments": "{}"}},
        {"role": "function", "name": "old", "content": "7"},
        {"role": "user", "content": "Go on"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "weather", "description": "d", "parameters": _SCHEMA, "strict": True}},
        {
            "type": "custom",
            "custom": {"name": "shell", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a/"}}},
        },
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "weather"}}]},
    },
    "functions": [{"name": "old", "parameters": {"type": "object"}}],
    "function_call": "auto",
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": _SCHEMA, "strict": True}},
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "max_completion_tokens": 100,
    "max_tokens": 90,
    "temperature": 0.5,
    "top_p": 0.9,
    "n": 1,
    "stop": ["a", "b"],
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "seed": 7,
    "user": "u",
    "safety_identifier": "s",
    "metadata": {"a": "b"},
    "store": False,
    "reasoning_effort": "low",
    "verbosity": "low",
    "service_tier": "auto",
    "prompt_cache_key": "k",
    "prediction": {"type": "content", "content": "x"},
    "modalities": ["text"],
    "web_search_options": {"search_context_size": "low", "user_location": {"type": "approximate", "approximate": {"city": "Ulm"}}},
}

MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PNG}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "hello"},
                    "title": "t",
                    "context": "c",
                    "citations": {"enabled": True},
                },
                {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "part"}]}},
                {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "found"}]},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I look.", "signature": "SIG"},
                {"type": "redacted_thinking", "data": "RED"},
                {"type": "text", "text": "See", "citations": [{"type": "char_location", "cited_text": "h", "document_index": 0}]},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Ulm"}},
                {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
                {
                    "type": "web_search_tool_result",
                    "tool_use_id": "srvtoolu_1",
                    "content": [{"type": "web_search_result", "url": "u", "title": "t"}],
                },
                {
                    "type": "tool_search_tool_result",
                    "tool_use_id": "srvtoolu_2",
                    "content": {"tool_references": [{"type": "tool_reference", "tool_name": "late"}]},
                },
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "is_error": True,
                    "content": [{"type": "text", "text": "Rain"}, {"type": "image"}, {"type": "tool_reference", "tool_name": "late"}],
                },
                {"type": "text", "text": "and"},
            ],
        },
        {"role": "system", "content": "From now on shorter."},
        {"role": "user", "content": "Go on"},
        {"role": "assistant", "content": "So"},
    ],
    "tools": [
        {"name": "weather", "description": "d", "input_schema": _SCHEMA, "strict": True, "cache_control": {"type": "ephemeral"}},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3, "allowed_domains": ["a.example"]},
        {"type": "custom", "name": "other", "input_schema": {"type": "object"}, "eager_input_streaming": True},
        {"name": "late", "input_schema": {"type": "object"}, "defer_loading": True},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 9},
    ],
    "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "summarized"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": _SCHEMA}},
    "stop_sequences": ["a"],
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "metadata": {"user_id": "u"},
    "service_tier": "auto",
    "stream": True,
    "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
    "container": "c",
    "mcp_servers": [{"type": "url", "url": "https://example.com", "name": "n"}],
}

RESPONSES: dict[str, Any] = {
    "model": "m",
    "instructions": "Be kind.",
    "input": [
        {"role": "developer", "content": "Be brief."},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{_PNG}", "detail": "auto"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "I look."}],
            "encrypted_content": "ENC",
            "status": "completed",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [
                {
                    "type": "output_text",
                    "text": "See",
                    "annotations": [{"type": "url_citation", "url": "u", "title": "t", "start_index": 0}],
                }
            ],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Ulm"}', "namespace": "n"},
        {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "Rain"}]},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "shell", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "a b"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "shell_call", "id": "sh_1", "call_id": "call_3", "action": {"commands": ["ls"], "timeout_ms": 5}, "status": "completed"},
        {"type": "shell_call_output", "call_id": "call_3", "output": [{"stdout": "a", "stderr": "", "outcome": {"type": "exit"}}]},
        {"type": "local_shell_call", "id": "lsh_1", "call_id": "call_4", "action": {"type": "exec", "command": ["ls"], "env": {}}},
        {"type": "local_shell_call_output", "id": "lsh_1", "output": "a"},
        {"type": "apply_patch_call", "call_id": "call_5", "operation": {"type": "update_file", "path": "a", "diff": "+b"}},
        {"type": "apply_patch_call_output", "call_id": "call_5", "status": "failed", "output": "no"},
        {"type": "tool_search_call", "call_id": "call_6", "execution": "client", "arguments": {"q": "x"}},
        {
            "type": "tool_search_output",
            "call_id": "call_6",
            "execution": "client",
            "tools": [{"type": "namespace", "name": "m", "description": "d", "tools": [{"type": "function", "name": "g"}]}],
        },
        {"type": "function_call", "call_id": "call_7", "name": "late", "namespace": "late", "arguments": "{}"},
        {"type": "function_call_output", "name": "late", "namespace": "late", "output": "ok"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": "Go on"},
    ],
    "tools": [
        {"type": "function", "name": "weather", "description": "d", "parameters": _SCHEMA, "strict": True},
        {"type": "custom", "name": "shell", "description": "d", "format": {"type": "text"}},
        {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", "name": "f", "parameters": {}}]},
        {"type": "web_search", "search_context_size": "low", "filters": {"allowed_domains": ["a.example"]}},
        {"type": "function", "name": "late", "parameters": {}, "defer_loading": True},
        {"type": "shell", "environment": {"type": "local", "skills": [{"name": "s", "description": "d", "path": "/s"}]}},
        {"type": "local_shell"},
        {"type": "apply_patch", "allowed_callers": ["programmatic"]},
        {"type": "tool_search", "execution": "client", "description": "d", "parameters": _SCHEMA},
    ],
    "tool_choice": {"type": "function", "name": "weather"},
    "parallel_tool_calls": False,
    "reasoning": {"effort": "low", "summary": "auto", "context": "current_turn", "mode": "standard"},
    "moderation": {"model": "m", "policy": {"input": {"mode": "score"}}},
    "prompt_cache_options": {"mode": "explicit", "ttl": "30m", "prewarm": False},
    "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "s", "schema": _SCHEMA, "strict": True}},
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    "max_output_tokens": 100,
    "max_tool_calls": 5,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_logprobs": 2,
    "truncation": "disabled",
    "metadata": {"a": "b"},
    "store": False,
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "user": "u",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "service_tier": "auto",
    "background": False,
    "previous_response_id": None,
    "conversation": None,
    "prompt": None,
    "context_management": [{"type": "compaction"}],
}

GEMINI: dict[str, Any] = {
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "What is this?"}, {"inlineData": {"mimeType": "image/png", "data": _PNG}}]},
        {
            "role": "model",
            "parts": [
                {"text": "I look.", "thought": True},
                {"text": "Well:", "thoughtSignature": "AAAA"},
                {"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Ulm"}}, "thoughtSignature": "QUFBQQ=="},
                {"functionCall": {"name": "old"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "call_1",
                        "name": "weather",
                        "response": {"output": "Rain"},
                        "parts": [{"inlineData": {"mimeType": "image/png", "data": _PNG}}],
                    }
                },
                {"function_response": {"name": "old", "response": {"a": 7}}},
                {"fileData": {"fileUri": "https://example.com/a.pdf", "mimeType": "application/pdf"}},
            ],
        },
        {"role": "model", "parts": [{"executableCode": {"code": "1", "language": "PYTHON"}}, {"text": "No."}]},
        {"parts": {"text": "Go on"}},
    ],
    "tools": [
        {
            "functionDeclarations": [
                {"name": "weather", "description": "d", "parametersJsonSchema": _SCHEMA},
                {
                    "name": "old",
                    "parameters": {
                        "type": "OBJECT",
                        "properties": {"a": {"type": "STRING", "nullable": True, "maxLength": "5", "enum": ["x", "y"]}},
                        "propertyOrdering": ["a"],
                    },
                },
            ]
        },
        {"googleSearch": {"excludeDomains": ["a.example"]}},
        {"urlContext": {}},
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    "generationConfig": {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40.0,
        "candidateCount": 1,
        "maxOutputTokens": "100",
        "stopSequences": ["a", "b"],
        "seed": 7,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.1,
        "responseLogprobs": True,
        "logprobs": 3,
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}},
        "responseModalities": ["TEXT"],
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
        "thinkingConfig": {"include_thoughts": True, "thinkingLevel": "HIGH"},
    },
    "labels": {"team": "a"},
    "serviceTier": "flex",
    "store": False,
}

BODIES = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES, "gemini": GEMINI}
