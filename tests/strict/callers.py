"""Typical callers: what each sends first, and how each goes on from an answer, as its SDK or agent does.

A caller is given the whole answer in its own shape and appends to its history what the real one would: all blocks of a message,
all items of a response, of a chat message the members that the agent knows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]

SCHEMA: JSON = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
CLOSED = SCHEMA | {"additionalProperties": False}
SYSTEM = "You are a careful agent."
GEMINI_CLI = "gemini-cli"


@dataclass(frozen=True)
class Caller:
    """shape: what it speaks. first: its first request, without the model. reply: appends an answer and the tools' results.

    ends: how many turns it takes at most.
    """

    name: str
    shape: str
    first: JSON
    turns: int = 6
    headers: dict[str, str] = field(default_factory=dict)

    def begin(self, model: str) -> JSON:
        body = {"model": model, **copy.deepcopy(self.first)}
        if self.name == GEMINI_CLI and "gemini-2.0" in model:
            del body["generationConfig"]["thinkingConfig"]  # it knows which models think
        return body

    def go_on(self, body: JSON, answer: JSON) -> bool:
        """Append the answer and what the caller says next; false when nothing was called."""
        return _GO_ON[self.shape](self, body, answer)


# ---- messages ----


def _messages_go_on(caller: Caller, body: JSON, answer: JSON) -> bool:
    body["messages"].append({"role": "assistant", "content": answer["content"]})
    calls = [block for block in answer["content"] if block["type"] == "tool_use"]
    results: list[JSON] = [
        {"type": "tool_result", "tool_use_id": call["id"], "content": _FOUND.get(call["name"], "sunny")} for call in calls
    ]
    if caller.name.startswith("claude code") and calls:
        results.append({"type": "text", "text": "<system-reminder>Keep going.</system-reminder>"})
    body["messages"].append({"role": "user", "content": results or "And tomorrow?"})
    return bool(calls)


_FOUND = {"find": [{"type": "tool_reference", "tool_name": "late"}]}  # what a tool gives that searches others


def _tool(name: str, schema: JSON = SCHEMA, **more: Any) -> JSON:
    return {"name": name, "description": "Looks something up.", "input_schema": schema, **more}


_CLAUDE_CODE: JSON = {
    "max_tokens": 32000,
    "stream": True,
    "system": [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Is it sunny?", "cache_control": {"type": "ephemeral"}}]}],
    "tools": [_tool("weather"), _tool("list_places", {"type": "object"})],
    "metadata": {"user_id": '{"device_id":"d","account_uuid":"a","session_id":"s"}'},
}

# ---- chat ----


def _chat_go_on(caller: Caller, body: JSON, answer: JSON) -> bool:
    message = answer["choices"][0]["message"]
    calls = message.get("tool_calls") or []
    known = ("role", "content", "tool_calls", "reasoning_content", "reasoning_details", "refusal")
    body["messages"].append({name: message[name] for name in known if message.get(name) is not None or name == "content"})
    body["messages"] += [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in calls]
    if not calls:
        body["messages"].append({"role": "user", "content": "And tomorrow?"})
    return bool(calls)


def _function(name: str, **more: Any) -> JSON:
    return {"type": "function", "function": {"name": name, "description": "Looks something up.", "parameters": SCHEMA, **more}}


# ---- responses ----


def _responses_go_on(caller: Caller, body: JSON, answer: JSON) -> bool:
    calls = [item for item in answer["output"] if item["type"] == "function_call"]
    if isinstance(body["input"], str):
        body["input"] = [{"role": "user", "content": body["input"]}]
    body["input"] += answer["output"]
    body["input"] += [{"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"} for call in calls]
    if caller.name == COMPACTS and not calls and not _compacted(body):
        body["input"].append({"type": "compaction_trigger"})
        return True
    if not calls:
        body["input"].append({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And tomorrow?"}]})
    return bool(calls)


def _compacted(body: JSON) -> bool:
    """Whether a compaction has come; what Codex then goes on with are the messages of people, and it."""
    (*before, last) = body["input"]
    if last["type"] == "compaction":
        body["input"] = [*(item for item in before if item.get("role") in ("user", "developer")), last]
    return any(item["type"] == "compaction" for item in body["input"])


def _flat(name: str, **more: Any) -> JSON:
    return {"type": "function", "name": name, "description": "Looks something up.", "parameters": SCHEMA, **more}


COMPACTS = "codex that compacts"
_CODEX: JSON = {
    "instructions": SYSTEM,
    "stream": True,
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "prompt_cache_key": "session-1",
    "tools": [_flat("weather", strict=False), _flat("places", strict=False)],
    "tool_choice": "auto",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandbox: read only."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Is it sunny?"}]},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Now you may write."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go on."}]},
    ],
}

# ---- gemini ----


def _gemini_go_on(caller: Caller, body: JSON, answer: JSON) -> bool:
    content = answer["candidates"][0]["content"]
    parts = _of_gemini_cli(content["parts"]) if caller.name == GEMINI_CLI else content["parts"]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    results: list[JSON] = [
        {"functionResponse": {key: call[key] for key in ("id", "name") if key in call} | {"response": {"output": "sunny"}}}
        for call in calls
    ]
    body["contents"] += [content | {"parts": parts}, {"role": "user", "parts": results or [{"text": "And tomorrow?"}]}]
    return bool(calls)


def _of_gemini_cli(parts: list[JSON]) -> list[JSON]:
    """It forgets the thoughts, keeps adjacent texts as one with the first one's signature, and says of an unsigned call that it may be."""
    kept: list[JSON] = []
    for part in (copy.deepcopy(part) for part in parts if not part.get("thought")):
        if kept and "text" in part and "text" in kept[-1]:
            kept[-1] = part | kept[-1] | {"text": kept[-1]["text"] + part["text"]}
        else:
            kept.append(part)
    first = next((part for part in kept if "functionCall" in part), {})
    first.setdefault("thoughtSignature", "skip_thought_signature_validator")
    return kept


def _declaration(name: str) -> JSON:
    return {"name": name, "description": "Looks something up.", "parametersJsonSchema": SCHEMA}


_CLASSIC = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"]}


_GO_ON: dict[str, Callable[[Caller, JSON, JSON], bool]] = {
    "chat": _chat_go_on,
    "messages": _messages_go_on,
    "responses": _responses_go_on,
    "gemini": _gemini_go_on,
}

CALLERS = [
    Caller(
        "claude code",
        "messages",
        _CLAUDE_CODE | {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}},
        headers={"anthropic-version": "2023-06-01", "anthropic-beta": "interleaved-thinking-2025-05-14", "user-agent": "claude-cli/3.0"},
    ),
    Caller("claude code without thinking", "messages", {**_CLAUDE_CODE, "temperature": 1}),
    Caller(
        "claude code with a search for tools",
        "messages",
        _CLAUDE_CODE
        | {
            "tools": [
                _tool("find"),
                _tool("late", defer_loading=True),
                _tool("later", defer_loading=True),
                {"type": "bash_20250124", "name": "bash"},
                {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
                {"type": "memory_20250818", "name": "memory"},
            ],
        },
        headers={"anthropic-version": "2023-06-01", "anthropic-beta": "advanced-tool-use-2025-11-20", "user-agent": "claude-cli/3.0"},
    ),
    Caller(
        "messages tool loop",
        "messages",
        {"max_tokens": 32000, "messages": [{"role": "user", "content": "Is it sunny?"}], "tools": [_tool("weather"), _tool("places")]},
    ),
    Caller(
        "forced tool",
        "messages",
        {
            "max_tokens": 1000,
            "temperature": 0.2,
            "stop_sequences": ["END"],
            "messages": [{"role": "user", "content": "Is it sunny?"}],
            "tools": [_tool("weather")],
            "tool_choice": {"type": "tool", "name": "weather"},
        },
        turns=1,
    ),
    Caller("codex", "responses", _CODEX),
    Caller(COMPACTS, "responses", _CODEX, turns=8),
    Caller(
        "responses SDK, forced tool",
        "responses",
        {
            "temperature": 0.2,
            "max_output_tokens": 8192,
            "tools": [_flat("weather", strict=True, parameters=CLOSED), _flat("places", strict=False)],
            "tool_choice": {"type": "function", "name": "weather"},
            "input": [{"role": "user", "content": "Is it sunny?"}],
        },
        turns=1,
    ),
    Caller(
        "agents SDK",
        "responses",
        {
            "instructions": SYSTEM,
            "include": ["reasoning.encrypted_content"],
            "tools": [_flat("weather", strict=False), {"type": "function", "name": "no_parameters", "strict": False, "parameters": None}],
            "input": [{"role": "user", "content": "Is it sunny?"}],
        },
    ),
    Caller(
        "agents SDK with its own tools",
        "responses",
        {
            "tools": [
                _flat("weather", strict=False),
                _flat("places", strict=False),
                {"type": "shell"},
                {"type": "apply_patch"},
                {"type": "tool_search"},
                _flat("late", strict=False, defer_loading=True),
            ],
            "input": [{"role": "user", "content": "Is it sunny?"}],
        },
    ),
    Caller(
        "structured output over responses",
        "responses",
        {
            "max_output_tokens": 1000,
            "input": [{"role": "user", "content": "Is it sunny? Answer in JSON."}],
            "text": {"format": {"type": "json_schema", "name": "weather", "strict": True, "schema": CLOSED}},
        },
        turns=2,
    ),
    Caller(
        "langchain",
        "chat",
        {
            "temperature": 0.7,
            "n": 1,
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Is it sunny?"}],
            "tools": [_function("weather"), _function("places")],
        },
    ),
    Caller(
        "plain chat",
        "chat",
        {"max_tokens": 1000, "temperature": 0.3, "messages": [{"role": "user", "content": "Hi"}], "user": "u-1", "stop": ["END"]},
        turns=2,
    ),
    Caller(
        "structured output over chat",
        "chat",
        {
            "max_completion_tokens": 1000,
            "messages": [{"role": "user", "content": "Is it sunny? Answer in JSON."}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "weather", "strict": True, "schema": CLOSED},
            },
        },
        turns=2,
    ),
    Caller(
        GEMINI_CLI,
        "gemini",
        {
            "stream": True,
            "systemInstruction": {"role": "user", "parts": [{"text": SYSTEM}]},
            "contents": [{"role": "user", "parts": [{"text": "Is it sunny?"}]}],
            "tools": [{"functionDeclarations": [_declaration("weather"), _declaration("places")]}],
            "generationConfig": {"temperature": 1, "topP": 0.95, "topK": 64, "thinkingConfig": {"includeThoughts": True}},
        },
        headers={"x-goog-api-client": "google-genai-sdk/1.30.0 gl-node/v22"},
    ),
    Caller(
        "google-genai, a function that must be called",
        "gemini",
        {
            "contents": [{"role": "user", "parts": [{"text": "Is it sunny?"}]}],
            "tools": [{"functionDeclarations": [{"name": "weather", "description": "d", "parameters": _CLASSIC}, _declaration("places")]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
            "generationConfig": {"temperature": 0.2, "maxOutputTokens": 8192, "stopSequences": ["END"], "seed": 7},
        },
        turns=2,
    ),
]
