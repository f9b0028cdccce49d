"""A long answer of each shape with nearly everything that its reference knows, as an upstream streams it: what fuzz tests damage."""

from __future__ import annotations

from typing import Any

# ---- chat ----


def _chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [choice], **more}


def _call(index: int, **more: Any) -> dict[str, Any]:
    return _chunk({"tool_calls": [{"index": index, **more}]})


_DETAIL = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"}
_USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 7,
    "total_tokens": 19,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
CHAT: list[dict[str, Any]] = [
    {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
    _chunk({"role": "assistant", "content": "", "refusal": None}),
    _chunk({"reasoning_content": "I "}),
    _chunk({"reasoning": "look", "reasoning_details": [_DETAIL | {"text": "look"}]}),
    _chunk({"reasoning_details": [_DETAIL | {"signature": "SIG"}, {"type": "reasoning.encrypted", "data": "ENC", "id": "rs_1"}]}),
    _chunk({"content": "Hello"}),
    _chunk({"content": " \ud83d"}),
    _chunk({"content": "\ude00 \u2028world"}),
    _chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "so"}]}),
    _chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 3}}]}),
    _call(0, id="call_1", type="function", function={"name": "f", "arguments": ""}),
    _call(0, function={"arguments": '{"a": '}),
    _call(1, id="call_2", type="custom", custom={"name": "shell", "input": "ls"}),
    _call(0, function={"arguments": "1}"}),
    _call(1, custom={"input": " -l"}),
    _chunk({"function_call": {"name": "old", "arguments": "{}"}}),
    _chunk({"refusal": "No."}),
    _chunk({}, "tool_calls", service_tier="default"),
    _chunk({"content": "late"}),
    {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [], "usage": _USAGE},
]

# ---- messages ----


def _block(index: int, *deltas: dict[str, Any], **block: Any) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


MESSAGES: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 12, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 1, "output_tokens": 1},
        },
    },
    {"type": "ping"},
    *_block(
        0, {"type": "thinking_delta", "thinking": "I look"}, {"type": "signature_delta", "signature": "SIG"}, type="thinking", thinking=""
    ),
    *_block(1, type="redacted_thinking", data="RED"),
    *_block(
        2,
        {"type": "text_delta", "text": " "},
        {"type": "text_delta", "text": "Hello \ud83d"},
        {"type": "text_delta", "text": "\ude00"},
        {
            "type": "citations_delta",
            "citation": {"type": "web_search_result_location", "url": "u", "title": "t", "cited_text": "c", "encrypted_index": "e"},
        },
        type="text",
        text="",
    ),
    *_block(3, type="server_tool_use", id="srvtoolu_1", name="web_search", input={"query": "q"}),
    *_block(4, type="web_search_tool_result", tool_use_id="srvtoolu_1", content=[]),
    *_block(
        5,
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"input": "l'},
        {"type": "input_json_delta", "partial_json": 's"}'},
        type="tool_use",
        id="toolu_1",
        name="f",
        input={},
    ),
    *_block(6, type="tool_use", id="toolu_2", name="g", input={"a": 1}),
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None, "stop_details": None},
        "usage": {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 2}},
    },
    {"type": "message_stop"},
]

# ---- responses ----

_BEGUN: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 7,
    "model": "m",
    "status": "in_progress",
    "output": [],
    "usage": None,
}
_REASONING = {"id": "rs_1", "type": "reasoning", "summary": [], "content": []}
_SUMMARY = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
_TEXT = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
_REFUSAL = {"item_id": "msg_1", "output_index": 1, "content_index": 1}
_PART = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
_FUNCTION = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "", "status": "in_progress"}
_CUSTOM = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "call_2", "name": "shell", "input": "", "status": "in_progress"}
_CITATION = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 3}
_REASONED = _REASONING | {"summary": [{"type": "summary_text", "text": "I look"}], "encrypted_content": "ENC"}
_SAID = _MESSAGE | {"status": "completed", "content": [_PART | {"text": "Hello \ud83d\ude00"}, {"type": "refusal", "refusal": "No."}]}
_CALLED = _FUNCTION | {"status": "completed", "arguments": '{"a": 1}'}
_RAN = _CUSTOM | {"status": "completed", "input": "ls"}
_COUNTS = {
    "input_tokens": 12,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 19,
}
RESPONSES: list[dict[str, Any]] = [
    {"type": f"response.{kind}", "sequence_number": number, **more}
    for number, (kind, more) in enumerate(
        [
            ("created", {"response": _BEGUN}),
            ("in_progress", {"response": _BEGUN}),
            ("output_item.added", {"output_index": 0, "item": _REASONING}),
            ("reasoning_summary_part.added", {**_SUMMARY, "part": {"type": "summary_text", "text": ""}}),
            ("reasoning_summary_text.delta", {**_SUMMARY, "delta": "I "}),
            ("reasoning_summary_text.delta", {**_SUMMARY, "delta": "look"}),
            ("reasoning_summary_text.done", {**_SUMMARY, "text": "I look"}),
            ("reasoning_summary_part.done", {**_SUMMARY, "part": {"type": "summary_text", "text": "I look"}}),
            ("output_item.done", {"output_index": 0, "item": _REASONED}),
            ("output_item.added", {"output_index": 1, "item": _MESSAGE}),
            ("content_part.added", {**_TEXT, "part": _PART}),
            ("output_text.delta", {**_TEXT, "delta": "Hello \ud83d", "logprobs": []}),
            ("output_text.delta", {**_TEXT, "delta": "\ude00", "logprobs": [], "obfuscation": "x"}),
            ("output_text.annotation.added", {**_TEXT, "annotation_index": 0, "annotation": _CITATION}),
            ("output_text.done", {**_TEXT, "text": "Hello \ud83d\ude00", "logprobs": []}),
            ("content_part.done", {**_TEXT, "part": _PART | {"text": "Hello \ud83d\ude00"}}),
            ("content_part.added", {**_REFUSAL, "part": {"type": "refusal", "refusal": ""}}),
            ("refusal.delta", {**_REFUSAL, "delta": "No."}),
            ("refusal.done", {**_REFUSAL, "refusal": "No."}),
            ("content_part.done", {**_REFUSAL, "part": {"type": "refusal", "refusal": "No."}}),
            ("output_item.done", {"output_index": 1, "item": _SAID}),
            ("output_item.added", {"output_index": 2, "item": _FUNCTION}),
            ("output_item.added", {"output_index": 3, "item": _CUSTOM}),
            ("function_call_arguments.delta", {"item_id": "fc_1", "output_index": 2, "delta": '{"a": '}),
            ("custom_tool_call_input.delta", {"item_id": "ctc_1", "output_index": 3, "delta": "ls"}),
            ("function_call_arguments.delta", {"item_id": "fc_1", "output_index": 2, "delta": "1}"}),
            ("function_call_arguments.done", {"item_id": "fc_1", "output_index": 2, "arguments": '{"a": 1}'}),
            ("output_item.done", {"output_index": 2, "item": _CALLED}),
            ("custom_tool_call_input.done", {"item_id": "ctc_1", "output_index": 3, "input": "ls"}),
            ("output_item.done", {"output_index": 3, "item": _RAN}),
            ("output_item.added", {"output_index": 4, "item": {"id": "ws_1", "type": "web_search_call", "status": "in_progress"}}),
            ("web_search_call.completed", {"item_id": "ws_1", "output_index": 4}),
            ("output_item.done", {"output_index": 4, "item": {"id": "ws_1", "type": "web_search_call", "status": "completed"}}),
            ("completed", {"response": _BEGUN | {"status": "completed", "output": [_REASONED, _SAID, _CALLED, _RAN], "usage": _COUNTS}}),
        ]
    )
]

# ---- gemini ----


def _generated(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}
    usage = {"promptTokenCount": 12, "candidatesTokenCount": 7, "thoughtsTokenCount": 2, "totalTokenCount": 21}
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": "m",
        "responseId": "r1",
        "createTime": "2026-11-29T10:00:00Z",
    }


_PIECES = [{"jsonPath": "$.a", "stringValue": "x", "willContinue": True}]
GEMINI: list[dict[str, Any]] = [
    _generated({"text": "I think.", "thought": True}),
    _generated({"text": "Hel"}),
    _generated({"text": "lo", "thoughtSignature": "AAAA"}),
    _generated({"executableCode": {"language": "PYTHON", "code": "1"}}, {"text": "So"}),
    _generated({"functionCall": {"id": "c1", "name": "g", "args": {"x": 1}}, "thoughtSignature": "QUFB"}),
    _generated({"functionCall": {"name": "f", "willContinue": True}}),
    _generated({"functionCall": {"partialArgs": _PIECES, "willContinue": True}}),
    _generated({"functionCall": {}}),
    _generated({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}),
    _generated(
        {"text": "Hello again"},
        finishReason="STOP",
        groundingMetadata={
            "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}],
            "groundingSupports": [{"segment": {"endIndex": 5, "text": "Hello"}, "groundingChunkIndices": [0]}],
        },
    ),
]

_PARTS = [*[part for chunk in GEMINI for part in chunk["candidates"][0]["content"]["parts"]][:5], {"text": "end"}]

STREAMS = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES, "gemini": GEMINI}

# ---- whole ----

WHOLE: dict[str, dict[str, Any]] = {
    "chat": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "logprobs": {"content": [{"token": "H", "logprob": -0.1, "bytes": [72], "top_logprobs": []}]},
                "message": {
                    "role": "assistant",
                    "content": "Hello \ud83d\ude00",
                    "refusal": None,
                    "reasoning_content": "I look",
                    "reasoning_details": [_DETAIL | {"text": "I look", "signature": "SIG"}],
                    "annotations": [{"type": "url_citation", "url_citation": _CITATION}],
                    "tool_calls": [
                        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
                        {"id": "call_2", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
                    ],
                },
            }
        ],
        "usage": _USAGE,
    },
    "messages": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "I look", "signature": "SIG"},
            {"type": "redacted_thinking", "data": "RED"},
            {
                "type": "text",
                "text": "Hello \ud83d\ude00",
                "citations": [{"type": "web_search_result_location", "url": "u", "title": "t", "cited_text": "c"}],
            },
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "cache_read_input_tokens": 3, "output_tokens": 7},
    },
    "responses": _BEGUN | {"status": "completed", "output": [_REASONED, _SAID, _CALLED, _RAN], "usage": _COUNTS},
    "gemini": GEMINI[-1] | {"candidates": [GEMINI[-1]["candidates"][0] | {"content": {"role": "model", "parts": _PARTS}}]},
}
