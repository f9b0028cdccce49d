"""Decode a chat client's tools and tool choice, including the deprecated `functions` and `function_call`."""

from __future__ import annotations

from typing import Any

from ..fields import Fields, invalid, missing, wrong_type
from ..ledger import Path
from ..request import Request, Tool, ToolChoice
from .content_in import cache_of


def decode_tools(request: Request, fields: Fields) -> None:
    """Add the tools to the request. Raises subclasses of errors.ClientFault."""
    for i, tool in enumerate(fields.items("tools") or []):
        request.tools.append(_tool(request, Fields(tool, ("tools", i))))
    functions = fields.items("functions") or []
    request.legacy_functions = bool(functions) and not request.tools
    for i, function in enumerate(functions):
        request.tools.append(_function(request, Fields(function, ("functions", i)), ("functions", i)))


def _tool(request: Request, fields: Fields) -> Tool:
    kind = fields.text("type") or "function"
    if kind not in ("function", "custom"):
        return Tool("hosted", fields.text("name") or "", fields.path, label=kind)
    inner = fields.inner(kind)
    if inner is None:
        raise missing((*fields.path, kind))
    tool = (_function if kind == "function" else _custom)(request, inner, fields.path)
    tool.cache = cache_of(fields, request.ledger)
    tool.inside = (kind,)
    fields.report(request.ledger)
    return tool


def _function(request: Request, fields: Fields, path: Path) -> Tool:
    tool = Tool(
        "function",
        fields.required("name"),
        path,
        description=fields.text("description"),
        schema=fields.members("parameters"),
        strict=fields.flag("strict"),
    )
    fields.report(request.ledger)
    return tool


def _custom(request: Request, fields: Fields, path: Path) -> Tool:
    tool = Tool("custom", fields.required("name"), path, description=fields.text("description"))
    form = fields.inner("format")
    if form is not None:
        kind = form.required("type")
        if kind == "grammar":
            grammar = form.inner("grammar")
            if grammar is None:
                raise missing((*form.path, "grammar"))
            tool.grammar = {"syntax": grammar.required("syntax"), "definition": grammar.required("definition")}
            grammar.report(request.ledger)
        elif kind != "text":
            raise invalid((*form.path, "type"), "must be text or grammar")
        form.report(request.ledger)
    fields.report(request.ledger)
    return tool


# ---- choice ----

_MODES = {"none": "none", "auto": "auto", "required": "required", "any": "required"}  # "any": Mistral's name


def decode_choice(request: Request, fields: Fields) -> None:
    """Set the request's tool choice. Raises subclasses of errors.ClientFault."""
    choice, legacy = fields.take("tool_choice"), fields.take("function_call")
    request.set("parallel_tool_calls", False if fields.flag("parallel_tool_calls") is False else None)
    if choice is not None:
        request.set("tool_choice", _choice(request, choice))
    elif legacy is not None:
        path = ("function_call",)
        if isinstance(legacy, str):
            decoded = _mode(legacy, path)
        else:
            decoded = ToolChoice("tool", path, Fields(legacy, path).required("name"))
        request.set("tool_choice", decoded, *path)


def _mode(word: str, path: Path) -> ToolChoice:
    if word not in _MODES:
        raise invalid(path, "must be none, auto, required or an object that names a tool")
    return ToolChoice(_MODES[word], path)


def _choice(request: Request, choice: Any) -> ToolChoice:
    path = ("tool_choice",)
    if isinstance(choice, str):
        return _mode(choice, path)
    if not isinstance(choice, dict):
        raise wrong_type(path, "a string or an object")
    fields = Fields(choice, path)
    kind = fields.required("type")
    if kind == "allowed_tools":
        decoded = _allowed(request, fields)
    elif kind in ("function", "custom"):
        decoded = ToolChoice("tool", path, _named(fields, kind), kind)
    elif kind in _MODES:  # {"type": "auto"}: an object instead of a string
        decoded = _mode(kind, path)
    else:
        decoded = ToolChoice("tool", path, kind, "hosted")
    fields.report(request.ledger)
    return decoded


def _named(fields: Fields, kind: str) -> str:
    inner = fields.inner(kind)
    if inner is None:
        raise missing((*fields.path, kind))
    return inner.required("name")


def _allowed(request: Request, fields: Fields) -> ToolChoice:
    inner = fields.inner("allowed_tools")
    if inner is None:
        raise missing((*fields.path, "allowed_tools"))
    mode = inner.required("mode")
    if mode not in ("auto", "required"):
        raise invalid((*inner.path, "mode"), "must be auto or required")
    names = []
    for i, tool in enumerate(inner.items("tools") or []):
        named = Fields(tool, (*inner.path, "tools", i))
        names.append(_named(named, named.text("type") or "function"))
        named.report(request.ledger)
    inner.report(request.ledger)
    return ToolChoice("allowed", fields.path, names=tuple(names), required=mode == "required")
