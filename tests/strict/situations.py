"""Situations that agents and their users get into, said once and written in each caller's API.

A situation is what was said so far (turns) and what is asked for (settings), in neutral words; `written` makes a request of it in one
of the four APIs, or None where that API cannot say it. What only one API can say stands in `own`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import orjson

JSON = dict[str, Any]
Parts = str | list[tuple[str, str]]
Turn = tuple[Any, ...]

SHAPES = ("chat", "messages", "responses", "gemini")
IMAGE, IMAGE_URL, DOCUMENT, TEXT = "image", "image_url", "pdf", "text"
URL = "https://example.com/a.png"
SCHEMA: JSON = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
CLOSED = SCHEMA | {"additionalProperties": False}


def user(parts: Parts = "Is it sunny?") -> Turn:
    return ("user", parts)


def system(text: str) -> Turn:
    return ("system", text)


def developer(text: str) -> Turn:
    return ("developer", text)


def said(text: str | None = None, *calls: tuple[str, str, str], thought: tuple[str, str] | None = None) -> Turn:
    """An answer. calls: id, name, arguments. thought: what was thought and its seal, in the form of the caller's API."""
    return ("assistant", text, calls, thought)


def results(*found: tuple[str, Parts] | tuple[str, Parts, bool]) -> Turn:
    """id and content, and whether it is an error."""
    return ("results", found)


def call(id: str = "call_1", name: str = "weather", arguments: str = '{"a": "x"}') -> tuple[str, str, str]:
    return id, name, arguments


def tool(name: str = "weather", schema: Any = SCHEMA, **more: Any) -> tuple[str, Any, JSON]:
    return name, schema, more


@dataclass(frozen=True)
class Situation:
    """turns: see above. tools: name, schema and what else. settings: by neutral names, see _SETTINGS. own: members by API."""

    turns: tuple[Turn, ...] = (user(),)
    tools: tuple[tuple[str, Any, JSON], ...] = ()
    settings: JSON = field(default_factory=dict)
    own: dict[str, JSON] = field(default_factory=dict)
    only: tuple[str, ...] = SHAPES


def written(situation: Situation, shape: str) -> JSON | None:
    """The request without its model; None where the API has no words for it."""
    if shape not in situation.only:
        return None
    body: JSON = {"chat": _chat, "messages": _messages, "responses": _responses, "gemini": _gemini}[shape](situation)
    if situation.tools:
        body["tools"] = _TOOLS[shape](situation.tools)
    for name, value in situation.settings.items():
        put = _SETTINGS[name].get(shape)
        if put is None:
            return None
        for path, inner in (put(value) if callable(put) else {put: value}).items():
            _put(body, path, inner)
    return body | situation.own.get(shape, {})


def _put(body: JSON, path: str, value: Any) -> None:
    *above, last = path.split(".")
    for name in above:
        body = body.setdefault(name, {})
    body[last] = value


# ---- turns ----


def _chat_parts(parts: Parts) -> Any:
    made = {
        TEXT: lambda text: {"type": "text", "text": text},
        IMAGE: lambda data: {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        IMAGE_URL: lambda url: {"type": "image_url", "image_url": {"url": url}},
        DOCUMENT: lambda data: {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{data}"}},
    }
    return parts if isinstance(parts, str) else [made[kind](value) for kind, value in parts]


def _chat(situation: Situation) -> JSON:
    messages: list[JSON] = []
    for kind, *told in situation.turns:
        if kind in ("user", "system", "developer"):
            messages.append({"role": kind, "content": _chat_parts(told[0])})
        elif kind == "results":
            messages += [{"role": "tool", "tool_call_id": id, "content": _chat_parts(parts)} for id, parts, *_ in told[0]]
        else:
            text, calls, thought = told
            message: JSON = {"role": "assistant", "content": text}
            if calls:
                message["tool_calls"] = [
                    {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}} for id, name, arguments in calls
                ]
            if thought:
                message["reasoning_content"] = thought[0]
            messages.append(message)
    return {"messages": messages}


def _messages_parts(parts: Parts) -> Any:
    made = {
        TEXT: lambda text: {"type": "text", "text": text},
        IMAGE: lambda data: {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
        IMAGE_URL: lambda url: {"type": "image", "source": {"type": "url", "url": url}},
        DOCUMENT: lambda data: {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}},
    }
    return parts if isinstance(parts, str) else [made[kind](value) for kind, value in parts]


def _arguments(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return {}


def _messages(situation: Situation) -> JSON:
    messages: list[JSON] = []
    turns = list(situation.turns)
    body: JSON = {"max_tokens": 4000, "messages": messages}
    leading = [told[0] for kind, *told in itertools.takewhile(lambda turn: turn[0] in ("system", "developer"), turns)]
    if leading:
        body["system"] = [{"type": "text", "text": text} for text in leading]
    for kind, *told in turns[len(leading) :]:
        if kind == "user":
            messages.append({"role": "user", "content": _messages_parts(told[0])})
        elif kind in ("system", "developer"):
            messages.append({"role": "system", "content": told[0]})
        elif kind == "results":
            blocks = [
                {"type": "tool_result", "tool_use_id": id, "content": _messages_parts(parts), **({"is_error": True} if any(error) else {})}
                for id, parts, *error in told[0]
            ]
            messages.append({"role": "user", "content": blocks})
        else:
            text, calls, thought = told
            said: list[JSON] = [] if thought is None else [{"type": "thinking", "thinking": thought[0], "signature": thought[1]}]
            said += [] if text is None else [{"type": "text", "text": text}]
            said += [{"type": "tool_use", "id": id, "name": name, "input": _arguments(arguments)} for id, name, arguments in calls]
            messages.append({"role": "assistant", "content": said})
    return body


def _responses_parts(parts: Parts) -> Any:
    made = {
        TEXT: lambda text: {"type": "input_text", "text": text},
        IMAGE: lambda data: {"type": "input_image", "image_url": f"data:image/png;base64,{data}", "detail": "auto"},
        IMAGE_URL: lambda url: {"type": "input_image", "image_url": url, "detail": "auto"},
        DOCUMENT: lambda data: {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{data}"},
    }
    return parts if isinstance(parts, str) else [made[kind](value) for kind, value in parts]


def _responses(situation: Situation) -> JSON:
    items: list[JSON] = []
    ids = itertools.count()
    for kind, *told in situation.turns:
        if kind in ("user", "system", "developer"):
            items.append({"type": "message", "role": kind, "content": _responses_parts(told[0])})
        elif kind == "results":
            items += [{"type": "function_call_output", "call_id": id, "output": _responses_parts(parts)} for id, parts, *_ in told[0]]
        else:
            text, calls, thought = told
            if thought:
                summary = [{"type": "summary_text", "text": thought[0]}]
                items.append({"type": "reasoning", "id": f"rs_{next(ids)}", "summary": summary, "encrypted_content": thought[1]})
            if text is not None:
                content = [{"type": "output_text", "text": text, "annotations": []}]
                items.append({"type": "message", "role": "assistant", "id": f"msg_{next(ids)}", "status": "completed", "content": content})
            items += [{"type": "function_call", "call_id": id, "name": name, "arguments": arguments} for id, name, arguments in calls]
    return {"input": items}


def _gemini_parts(parts: Parts) -> list[JSON]:
    made = {
        TEXT: lambda text: {"text": text},
        IMAGE: lambda data: {"inlineData": {"mimeType": "image/png", "data": data}},
        IMAGE_URL: lambda url: {"fileData": {"mimeType": "image/png", "fileUri": url}},
        DOCUMENT: lambda data: {"inlineData": {"mimeType": "application/pdf", "data": data}},
    }
    return [{"text": parts}] if isinstance(parts, str) else [made[kind](value) for kind, value in parts]


def _gemini(situation: Situation) -> JSON:
    contents: list[JSON] = []
    names: dict[str, str] = {}
    system = [told[0] for kind, *told in situation.turns if kind in ("system", "developer")]
    for kind, *told in situation.turns:
        if kind == "user":
            contents.append({"role": "user", "parts": _gemini_parts(told[0])})
        elif kind == "results":
            parts = [_gemini_result(id, names.get(id, "weather"), parts, any(error)) for id, parts, *error in told[0]]
            contents.append({"role": "user", "parts": parts})
        elif kind == "assistant":
            text, calls, thought = told
            said: list[JSON] = [] if thought is None else [{"text": thought[0], "thought": True}]
            said += [] if text is None else [{"text": text}]
            for id, name, arguments in calls:
                names[id] = name
                said.append({"functionCall": {"id": id, "name": name, "args": _arguments(arguments)}})
            if thought and len(said) > 1:
                said[1]["thoughtSignature"] = thought[1]
            contents.append({"role": "model", "parts": said})
    body: JSON = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in system]}
    return body


def _gemini_result(id: str, name: str, parts: Parts, error: bool) -> JSON:
    text = parts if isinstance(parts, str) else "".join(value for kind, value in parts if kind == TEXT)
    media = [] if isinstance(parts, str) else [one for one in _gemini_parts(parts) if "text" not in one]
    told: JSON = {"id": id, "name": name, "response": {"error" if error else "output": text}}
    return {"functionResponse": told | ({"parts": media} if media else {})}


# ---- tools ----


def _chat_tools(tools: Any) -> list[JSON]:
    return [
        {"type": "function", "function": {"name": name, "description": "d", **({} if schema is None else {"parameters": schema}), **more}}
        for name, schema, more in tools
    ]


def _messages_tools(tools: Any) -> list[JSON]:
    return [{"name": name, "description": "d", "input_schema": schema or {"type": "object"}, **more} for name, schema, more in tools]


def _responses_tools(tools: Any) -> list[JSON]:
    return [
        {"type": "function", "name": name, "description": "d", "parameters": schema, "strict": False} | more for name, schema, more in tools
    ]


def _gemini_tools(tools: Any) -> list[JSON]:
    given = [({"name": name, "description": "d"}, schema) for name, schema, _ in tools]
    return [{"functionDeclarations": [one if schema is None else one | {"parametersJsonSchema": schema} for one, schema in given]}]


_TOOLS: dict[str, Any] = {"chat": _chat_tools, "messages": _messages_tools, "responses": _responses_tools, "gemini": _gemini_tools}

# ---- settings ----

_CONFIG = "generationConfig."


def _format(form: Any) -> JSON:
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def _stop(words: list[str]) -> JSON:
    return {"stop": words}


def _choice(shape: str) -> Any:
    chat: JSON = {"auto": "auto", "none": "none", "required": "required"}
    gemini = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
    kinds = {"auto": "auto", "none": "none", "required": "any"}

    def put(value: str) -> JSON:
        if shape == "chat":
            return {"tool_choice": chat.get(value, {"type": "function", "function": {"name": value}})}
        if shape == "responses":
            return {"tool_choice": chat.get(value, {"type": "function", "name": value})}
        if shape == "messages":
            return {"tool_choice": {"type": kinds[value]} if value in kinds else {"type": "tool", "name": value}}
        if value in gemini:
            return {"toolConfig.functionCallingConfig": {"mode": gemini[value]}}
        return {"toolConfig.functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [value]}}

    return put


def _parallel(value: bool) -> JSON:
    return {"tool_choice": {"type": "auto", "disable_parallel_tool_use": not value}}


_SETTINGS: dict[str, dict[str, Any]] = {
    "max": {
        "chat": "max_completion_tokens",
        "messages": "max_tokens",
        "responses": "max_output_tokens",
        "gemini": _CONFIG + "maxOutputTokens",
    },
    "old_max": {"chat": "max_tokens"},
    "temperature": {
        "chat": "temperature",
        "messages": "temperature",
        "responses": "temperature",
        "gemini": _CONFIG + "temperature",
    },
    "top_p": {"chat": "top_p", "messages": "top_p", "responses": "top_p", "gemini": _CONFIG + "topP"},
    "top_k": {"chat": "top_k", "messages": "top_k", "gemini": _CONFIG + "topK"},
    "stop": {"chat": "stop", "messages": "stop_sequences", "gemini": _CONFIG + "stopSequences"},
    "n": {"chat": "n", "gemini": _CONFIG + "candidateCount"},
    "seed": {"chat": "seed", "gemini": _CONFIG + "seed"},
    "penalties": {
        "chat": lambda value: {"presence_penalty": value, "frequency_penalty": value},
        "gemini": lambda value: {_CONFIG + "presencePenalty": value, _CONFIG + "frequencyPenalty": value},
    },
    "bias": {"chat": "logit_bias"},
    "logprobs": {
        "chat": lambda value: {"logprobs": True, "top_logprobs": value},
        "responses": lambda value: {"top_logprobs": value, "include": ["message.output_text.logprobs"]},
        "gemini": lambda value: {_CONFIG + "responseLogprobs": True, _CONFIG + "logprobs": value},
    },
    "effort": {
        "chat": "reasoning_effort",
        "messages": lambda value: (
            {"thinking": {"type": "disabled"}}
            if value == "none"
            else {"thinking": {"type": "adaptive"}, "output_config.effort": {"minimal": "low"}.get(value, value)}
        ),
        "responses": "reasoning.effort",
        "gemini": lambda value: {
            _CONFIG + "thinkingConfig": {"thinkingBudget": 0} if value == "none" else {"thinkingLevel": value.upper()}
        },
    },
    "budget": {
        "chat": lambda value: {"thinking": {"type": "enabled", "budget_tokens": value}},
        "messages": lambda value: {"thinking": {"type": "enabled", "budget_tokens": value}},
        "gemini": lambda value: {_CONFIG + "thinkingConfig": {"thinkingBudget": value, "includeThoughts": True}},
    },
    "summary": {"responses": "reasoning.summary"},
    "choice": {shape: _choice(shape) for shape in SHAPES},
    "parallel": {"chat": "parallel_tool_calls", "responses": "parallel_tool_calls", "messages": _parallel},
    "schema": {
        "chat": lambda value: _format({"name": "out", "schema": value}),
        "messages": lambda value: {"output_config.format": {"type": "json_schema", "schema": value}},
        "responses": lambda value: {"text": {"format": {"type": "json_schema", "name": "out", "schema": value}}},
        "gemini": lambda value: {_CONFIG + "responseMimeType": "application/json", _CONFIG + "responseJsonSchema": value},
    },
    "strict_schema": {
        "chat": lambda value: _format({"name": "out", "schema": value, "strict": True}),
        "responses": lambda value: {"text": {"format": {"type": "json_schema", "name": "out", "schema": value, "strict": True}}},
    },
    "json": {
        "chat": lambda _: {"response_format": {"type": "json_object"}},
        "responses": lambda _: {"text": {"format": {"type": "json_object"}}},
        "gemini": lambda _: {_CONFIG + "responseMimeType": "application/json"},
    },
    "tier": {"chat": "service_tier", "messages": "service_tier", "responses": "service_tier"},
    "metadata": {"chat": "metadata", "responses": "metadata"},
    "user": {"chat": "user", "responses": "user", "messages": lambda value: {"metadata": {"user_id": value}}},
    "safety": {"chat": "safety_identifier", "responses": "safety_identifier"},
    "cache_key": {"chat": "prompt_cache_key", "responses": "prompt_cache_key"},
    "retention": {"chat": "prompt_cache_retention", "responses": "prompt_cache_retention"},
    "store": {"chat": "store", "responses": "store"},
    "verbosity": {"chat": "verbosity", "responses": lambda value: {"text": {"verbosity": value}}},
    "modalities": {"chat": "modalities"},
    "prediction": {"chat": lambda value: {"prediction": {"type": "content", "content": value}}},
    "truncation": {"responses": "truncation"},
    "background": {"responses": "background"},
    "options": {"chat": lambda value: {"stream_options": value}},
    "cached": {"messages": lambda value: {"cache_control": value}},
    "system": {
        "messages": "system",
        "responses": "instructions",
        "gemini": lambda value: {"systemInstruction": {"parts": [{"text": value}]}},
    },
}
