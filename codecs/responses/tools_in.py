"""A responses client's tools and tool choice in the hub's words."""

from __future__ import annotations

from typing import Any

from ..fields import Fields, invalid, wrong_type
from ..ledger import Path
from ..request import Request, Tool, ToolChoice

_MODES = frozenset({"none", "auto", "required"})


def add_tools(request: Request, tools: list[Any], path: Path, replace: bool = False) -> None:
    """Adds declarations to the request. replace: they may be there already, and the later ones count."""
    for i, tool in enumerate(tools):
        for decoded in _decode(request, Fields(tool, (*path, i))):
            if replace:
                request.tools = [known for known in request.tools if _key(known) != _key(decoded)]
            request.tools.append(decoded)


def _key(tool: Tool) -> tuple[str, str | None]:
    return tool.name or tool.label, tool.namespace


def _decode(request: Request, fields: Fields) -> list[Tool]:
    kind = fields.required("type")
    if kind == "namespace":
        return _namespace(request, fields)
    if kind in ("function", "custom"):
        return [_client_tool(request, fields, kind, None)]
    if kind.startswith("web_search"):
        return [_web_search(request, fields, kind)]
    return [Tool("hosted", "", fields.path, label=kind[:64])]


def _namespace(request: Request, fields: Fields) -> list[Tool]:
    """A group of tools: elsewhere each stands for itself, under both names."""
    namespace, path = fields.required("name"), (*fields.path, "tools")
    fields.ignore("description")
    found = []
    for i, tool in enumerate(fields.items("tools") or []):
        inner = Fields(tool, (*path, i))
        kind = inner.required("type")
        if kind not in ("function", "custom"):
            raise invalid((*path, i, "type"), "must be function or custom")
        found.append(_client_tool(request, inner, kind, namespace))
    fields.report(request.ledger)
    return found


def _client_tool(request: Request, fields: Fields, kind: str, namespace: str | None) -> Tool:
    fields.ignore("defer_loading", "allowed_callers", "output_schema")
    tool = Tool(kind, fields.required("name"), fields.path, description=fields.text("description"), namespace=namespace)
    if kind == "function":
        tool.schema = fields.members("parameters")
        tool.strict = fields.flag("strict")
    else:
        tool.grammar = _grammar(request, fields.inner("format"))
    fields.report(request.ledger)
    return tool


def _grammar(request: Request, fields: Fields | None) -> dict[str, str] | None:
    if fields is None:
        return None
    kind = fields.required("type")
    if kind == "text":
        return None
    if kind != "grammar":
        raise invalid((*fields.path, "type"), "must be text or grammar")
    grammar = {"syntax": fields.required("syntax"), "definition": fields.required("definition")}
    fields.report(request.ledger)
    return grammar


def _web_search(request: Request, fields: Fields, kind: str) -> Tool:
    tool = Tool("web_search", "web_search", fields.path, label=kind[:64])
    filters = fields.inner("filters")
    if filters is not None:
        domains = filters.items("allowed_domains")
        if domains:
            tool.search["allowed_domains"] = domains
        filters.report(request.ledger)
    location, size = fields.members("user_location"), fields.text("search_context_size")
    if location:
        tool.search["user_location"] = {"type": "approximate", **location}  # the one type, which only this shape may leave out
    if size:
        tool.search["search_context_size"] = size
    fields.report(request.ledger)
    return tool


# ---- choice ----


def decode_choice(choice: Any, path: Path) -> ToolChoice | None:
    """Raises errors.ClientFault leaves for what is no choice."""
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in _MODES:
            raise invalid(path, "must be none, auto, required or an object")
        return ToolChoice(choice, path)
    if not isinstance(choice, dict):
        raise wrong_type(path, "a string or an object")
    fields = Fields(choice, path)
    kind = fields.required("type")
    if kind == "allowed_tools":
        return _allowed(fields)
    if kind in ("function", "custom"):
        return ToolChoice("tool", path, name=fields.required("name"), kind=kind)
    return ToolChoice("tool", path, name=kind, kind="hosted")


def _allowed(fields: Fields) -> ToolChoice:
    mode = fields.text("mode") or "auto"
    if mode not in ("auto", "required"):
        raise invalid((*fields.path, "mode"), "must be auto or required")
    names = []
    for i, tool in enumerate(fields.items("tools") or []):
        named = Fields(tool, (*fields.path, "tools", i))
        kind = named.required("type")
        names.append(named.required("name") if kind in ("function", "custom") else kind)
    return ToolChoice("allowed", fields.path, names=tuple(names), required=mode == "required")
