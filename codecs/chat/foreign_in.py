"""Rewrite chat requests in the Responses API's form, as Cursor sends them, before any other processing.

Tools may be flat (`{"type": "function", "name": …}`), and the body may contain `input` instead of `messages`. Only these are
rewritten; members that a chat body cannot contain are returned for the report. A chat upstream would refuse the original body.
"""

from __future__ import annotations

from typing import Any

from ..anything import list_of
from ..errors import Unsupported
from ..fields import wrong_type
from ..ledger import Path

_Value = dict[str, Any]

_PARTS = {"input_text": "text", "output_text": "text", "text": "text"}
_CALLS = {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output"})
_FLAT = frozenset({"function", "custom"})
_ELSEWHERE = ("include", "truncation", "background", "prompt", "conversation", "max_tool_calls")


def own_form(body: _Value) -> tuple[_Value, list[Path]] | None:
    """Return the body in this API's form and the paths of dropped members, or None if it already has this form.

    Raises subclasses of errors.ClientFault.
    """
    lost: list[Path] = []
    if "input" in body and "messages" not in body:
        written = _from_items(body, lost)
    elif (tools := body.get("tools")) and isinstance(tools, list) and _is_flat(tools[0]):
        written = dict(body)
    else:
        return None
    if "tools" in body:
        written["tools"] = [_nested(tool) if _is_flat(tool) else tool for tool in list_of(body, "tools")]
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and _is_flat(choice):
        written["tool_choice"] = _nested(choice)
    return written, lost


def _is_flat(tool: Any) -> bool:
    """Whether a tool, or a tool choice, lacks the inner object that contains its name."""
    kind = tool.get("type") if isinstance(tool, dict) else None
    return kind in _FLAT and kind not in tool and isinstance(tool.get("name"), str)


def _nested(tool: _Value) -> _Value:
    kind = tool["type"]
    inner = {key: value for key, value in tool.items() if key not in ("type", "cache_control")}
    form = inner.get("format")
    if kind == "custom" and isinstance(form, dict) and form.get("type") == "grammar" and "grammar" not in form:
        inner["format"] = {"type": "grammar", "grammar": {key: value for key, value in form.items() if key != "type"}}
    return {"type": kind, kind: inner} | {key: tool[key] for key in ("cache_control",) if key in tool}


def _from_items(body: _Value, lost: list[Path]) -> _Value:
    if body.get("previous_response_id") is not None:
        raise Unsupported("previous_response_id: only the Responses API continues responses", param="previous_response_id")
    moved = ("input", "instructions", "max_output_tokens", "reasoning", "text", "previous_response_id", *_ELSEWHERE)
    written = {key: value for key, value in body.items() if key not in moved}
    lost += [(key,) for key in _ELSEWHERE if body.get(key)]
    written["messages"] = _messages(body, lost)
    if body.get("max_output_tokens") is not None:
        written["max_completion_tokens"] = body["max_output_tokens"]
    reasoning, text = body.get("reasoning"), body.get("text")
    if isinstance(reasoning, dict) and reasoning.get("effort") is not None:
        written["reasoning_effort"] = reasoning["effort"]
    if isinstance(text, dict):
        written |= {key: text[key] for key in ("verbosity",) if text.get(key) is not None}
        written |= _format(text.get("format"))
    return written


def _format(form: Any) -> _Value:
    if not isinstance(form, dict) or form.get("type") == "text":
        return {}
    kind = form.get("type")
    inner = {key: value for key, value in form.items() if key != "type"}
    return {"response_format": {"type": kind} | ({kind: inner} if kind == "json_schema" else {})}


# ---- items ----


def _messages(body: _Value, lost: list[Path]) -> list[_Value]:
    input = body["input"]
    messages: list[_Value] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    if isinstance(input, str):
        return [*messages, {"role": "user", "content": input}]
    if not isinstance(input, list):
        raise wrong_type(("input",), "a string or a list")
    for i, item in enumerate(input):
        if not isinstance(item, dict):
            raise wrong_type(("input", i), "an object")
        _add(messages, item, ("input", i), lost)
    return messages


def _add(messages: list[_Value], item: _Value, path: Path, lost: list[Path]) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        messages.append({key: value for key, value in item.items() if key in ("role", "name")} | {"content": _content(item.get("content"))})
    elif kind in _CALLS:
        shape, text = _CALLS[kind]
        if not (messages and messages[-1].get("role") == "assistant"):
            messages.append({"role": "assistant", "content": None})
        call = {"id": item.get("call_id"), "type": shape, shape: {"name": item.get("name"), text: item.get(text) or ""}}
        messages[-1].setdefault("tool_calls", []).append(call)
    elif kind in _RESULTS:
        messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": _content(item.get("output")) or ""})
    else:
        lost.append(path)


def _content(content: Any) -> Any:
    return [_part(part) for part in content] if isinstance(content, list) else content


def _part(part: Any) -> Any:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _PARTS:
        return {"type": "text", "text": part.get("text")}
    if kind == "input_image":
        image = {"url": part.get("image_url")} | ({"detail": part["detail"]} if part.get("detail") else {})
        return {"type": "image_url", "image_url": image}
    if kind == "input_file":
        return {"type": "file", "file": {key: value for key, value in part.items() if key in ("filename", "file_data", "file_id")}}
    return part
