"""Decode a responses client's tools and tool choice."""

from __future__ import annotations

from typing import Any

from ..fields import Fields, invalid, wrong_type
from ..ledger import Path
from ..request import Request, Tool, ToolChoice
from ..tools import user_location

_MODES = frozenset({"none", "auto", "required"})


def add_tools(request: Request, tools: list[Any], path: Path, replace: bool = False) -> None:
    """Add declarations to the request. replace: whether later declarations replace earlier ones of the same name."""
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
        found = _web_search(request, fields, kind)
        return [] if found is None else [found]
    return [Tool("hosted", "", fields.path, label=kind[:64])]


def _namespace(request: Request, fields: Fields) -> list[Tool]:
    """The tools of a namespace: other shapes declare each separately, under both names."""
    namespace, path = fields.required("name"), (*fields.path, "tools")
    said = fields.text("description")
    found = []
    for i, tool in enumerate(fields.items("tools") or []):
        inner = Fields(tool, (*path, i))
        kind = inner.required("type")
        if kind not in ("function", "custom"):
            raise invalid((*path, i, "type"), "must be function or custom")
        tool = _client_tool(request, inner, kind, namespace)
        if said:
            tool.description = f"{said}\n\n{tool.description}" if tool.description else said
        found.append(tool)
    fields.report(request.ledger)
    return found


def _client_tool(request: Request, fields: Fields, kind: str, namespace: str | None) -> Tool:
    callers = fields.items("allowed_callers")
    if callers and "direct" not in callers:  # offered to the model directly: the program that would call it runs at the provider
        request.ledger.adapt((*fields.path, "allowed_callers"))
    for member in ("defer_loading", "async"):
        if fields.flag(member):
            request.ledger.adapt((*fields.path, member))
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


def _web_search(request: Request, fields: Fields, kind: str) -> Tool | None:
    """The web search tool; None if it may not access the web, which other shapes do not support."""
    if fields.flag("external_web_access") is False:
        request.ledger.drop(fields.path, kind[:64])
        return None
    tool = Tool("web_search", "web_search", fields.path, label=kind[:64])
    filters = fields.inner("filters")
    if filters is not None:
        for key in ("allowed_domains", "blocked_domains"):
            domains = filters.items(key)
            if domains:
                tool.search[key] = domains
        filters.report(request.ledger)
    location, size = fields.inner("user_location"), fields.text("search_context_size")
    if location is not None:
        tool.search["user_location"] = user_location(location)
        location.report(request.ledger)
    if size:
        tool.search["search_context_size"] = size
    fields.report(request.ledger)
    return tool


# ---- choice ----


def decode_choice(request: Request, choice: Any, path: Path) -> ToolChoice | None:
    """Return the tool choice. Raises subclasses of errors.ClientFault for an invalid one."""
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
        return _allowed(request, fields)
    if kind in ("function", "custom"):
        return ToolChoice("tool", path, name=fields.required("name"), kind=kind)
    return ToolChoice("tool", path, name=kind, kind="hosted")


def _allowed(request: Request, fields: Fields) -> ToolChoice:
    mode = fields.text("mode") or "auto"
    if mode not in ("auto", "required"):
        raise invalid((*fields.path, "mode"), "must be auto or required")
    names = []
    for i, tool in enumerate(fields.items("tools") or []):
        named = Fields(tool, (*fields.path, "tools", i))
        kind = named.required("type")
        names.append(named.required("name") if kind in ("function", "custom") else kind)
        named.ignore("server_label")
        named.report(request.ledger)
    fields.report(request.ledger)
    return ToolChoice("allowed", fields.path, names=tuple(names), required=mode == "required")
