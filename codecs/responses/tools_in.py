"""Decode a responses client's tools and tool choice."""

from __future__ import annotations

from typing import Any

from ..fields import Fields, invalid, wrong_type
from ..ledger import Path
from ..request import Request, Tool, ToolChoice
from ..tools import offer_directly, user_location
from . import own_tools

_MODES = frozenset({"none", "auto", "required"})


def decode_tools(request: Request, tools: list[Any], path: Path) -> list[Tool]:
    """The tools of a list of declarations. Raises errors.ClientFault leaves."""
    return [decoded for i, tool in enumerate(tools) for decoded in _decode(request, Fields(tool, (*path, i)))]


def add_later(request: Request, later: list[tuple[Tool, bool]]) -> None:
    """Adds tools that came in mid-conversation, each with whether the model has found it. Of a tool that came twice, the last counts.

    What is offered already keeps its place: providers cache a prompt by its beginning.
    """
    known = {(tool.label, tool.name, tool.namespace): tool for tool in request.tools}
    for tool, by_search in later:
        key = (tool.label, tool.name, tool.namespace)
        before = known.get(key)
        if by_search:
            tool.deferred = False
        if before is not None and not (by_search and not before.deferred):
            del known[key]
        known[key] = tool
    request.tools = list(known.values())


def _decode(request: Request, fields: Fields) -> list[Tool]:
    kind = fields.required("type")
    if kind == "namespace":
        return _namespace(request, fields)
    if kind in ("function", "custom"):
        return [_client_tool(request, fields, kind, None)]
    if kind.startswith("web_search"):
        tool = _web_search(request, fields, kind)
        return [] if tool is None else [tool]
    if kind in own_tools.OWN:
        return [_own_tool(request, fields, kind)]
    return [Tool("hosted", "", fields.path, label=kind[:64])]


def _own_tool(request: Request, fields: Fields, kind: str) -> Tool:
    """What the caller runs goes up as a function; what the provider runs is only named."""
    tool = own_tools.declared(request, fields, kind)
    if tool is None:
        request.defers |= kind == "tool_search"
        return Tool("tool_search" if kind == "tool_search" else "hosted", "", fields.path, label=kind)
    offer_directly(request, fields)
    fields.report(request.ledger)
    return tool


def _namespace(request: Request, fields: Fields) -> list[Tool]:
    """The tools of a namespace: other shapes declare each separately, under both names."""
    namespace, path = fields.required("name"), (*fields.path, "tools")
    description = fields.text("description")
    tools = []
    for i, tool in enumerate(fields.items("tools") or []):
        inner = Fields(tool, (*path, i))
        kind = inner.required("type")
        if kind not in ("function", "custom"):
            raise invalid((*path, i, "type"), "must be function or custom")
        tool = _client_tool(request, inner, kind, namespace)
        if description:
            tool.description = f"{description}\n\n{tool.description}" if tool.description else description
        tools.append(tool)
    fields.report(request.ledger)
    return tools


def _client_tool(request: Request, fields: Fields, kind: str, namespace: str | None) -> Tool:
    offer_directly(request, fields)
    if fields.flag("async"):
        request.ledger.adapt((*fields.path, "async"))
    tool = Tool(kind, fields.required("name"), fields.path, description=fields.text("description"), namespace=namespace)
    if fields.flag("defer_loading"):
        request.defers = tool.deferred = True
        if namespace is None:
            request.self_named.add(tool.name)  # as OpenAI names what was found, and its agents SDK looks it up
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
    name = _own_name(request, kind)
    return ToolChoice("tool", path, name=name or kind, kind="function" if name else "hosted")


def _own_name(request: Request, kind: str) -> str | None:
    """The function that a tool of this type is."""
    return next((name for name, type in request.own_tools.items() if type == kind), None)


def _allowed(request: Request, fields: Fields) -> ToolChoice:
    mode = fields.text("mode") or "auto"
    if mode not in ("auto", "required"):
        raise invalid((*fields.path, "mode"), "must be auto or required")
    names = []
    for i, tool in enumerate(fields.items("tools") or []):
        named = Fields(tool, (*fields.path, "tools", i))
        kind = named.required("type")
        names.append(named.required("name") if kind in ("function", "custom") else _own_name(request, kind) or kind)
        named.ignore("server_label")
        named.report(request.ledger)
    fields.report(request.ledger)
    return ToolChoice("allowed", fields.path, names=tuple(names), required=mode == "required")
