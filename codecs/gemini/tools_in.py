"""Decode a gemini client's tools, and which of them may or must be called."""

from __future__ import annotations

from ..fields import invalid, wrong_type
from ..request import Request, Tool, ToolChoice
from .protojson import Message
from .schema_in import from_classic, lowered

_MODES = ("UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")
_BEHAVIOURS = ("UNSPECIFIED", "BLOCKING", "NON_BLOCKING")
_SEARCHES = {"googleSearch": False, "googleSearchRetrieval": True, "enterpriseWebSearch": True}
"""Tools that search the web, and whether another one in their place is reported."""


def decode_tools(request: Request, message: Message) -> None:
    """Add the tools to the request. Raises subclasses of errors.ClientFault."""
    for tool in message.messages("tools"):
        for function in tool.messages("functionDeclarations"):
            request.tools.append(_function(request, function))
        for key in tool.rest:
            _own(request, tool, key)


def _function(request: Request, fields: Message) -> Tool:
    name = fields.required("name")
    description = fields.text("description")
    json_schema, classic = fields.members("parametersJsonSchema"), fields.members("parameters")
    if json_schema is not None:
        schema = lowered(json_schema)
    else:
        schema = {"type": "object", "properties": {}} if classic is None else from_classic(classic)
    if fields.word("behavior", _BEHAVIOURS) == "NON_BLOCKING":
        request.ledger.drop(fields.at("behavior"))
    fields.report(request.ledger)
    return Tool("function", name, fields.path, description=description, schema=schema)


def _own(request: Request, tool: Message, key: str) -> None:
    """Add a tool that Google runs. All searches are one: other APIs have one, and refuse two of a name."""
    value = tool.take(key)
    if key not in _SEARCHES:
        request.tools.append(Tool("hosted", "", tool.path, label=key))
        return
    search_tool = next((one for one in request.tools if one.kind == "web_search"), None)
    if search_tool is None:
        search_tool = Tool("web_search", "web_search", tool.path, label=key)
        request.tools.append(search_tool)
    options = Message(value if isinstance(value, dict) else {}, (*tool.path, key))
    if domains := options.items("excludeDomains"):
        search_tool.search["blocked_domains"] = [*search_tool.search.get("blocked_domains", ()), *domains]
    options.report(request.ledger)
    if _SEARCHES[key]:
        request.ledger.adapt((*tool.path, key))


def decode_tool_config(request: Request, config: Message | None) -> None:
    if config is None:
        return
    calling = config.message("functionCallingConfig")
    if calling is not None:
        _choice(request, calling)
        calling.report(request.ledger)
    config.report(request.ledger)


def _choice(request: Request, calling: Message) -> None:
    path = calling.path
    mode, names = calling.word("mode", _MODES) or "AUTO", calling.items("allowedFunctionNames") or []
    if not all(isinstance(name, str) for name in names):
        raise wrong_type(calling.at("allowedFunctionNames"), "a list of strings")
    if mode not in _MODES:
        raise invalid(calling.at("mode"), "must be AUTO, ANY, NONE or VALIDATED")
    if mode == "NONE":
        choice = ToolChoice("none", path)
    elif mode == "ANY" and len(names) == 1:
        choice = ToolChoice("tool", path, name=names[0])
    elif names and mode != "AUTO":
        choice = ToolChoice("allowed", path, names=tuple(names), required=mode == "ANY")
    elif mode == "ANY":
        choice = ToolChoice("required", path)
    else:
        choice = None
        if names:
            request.ledger.drop(calling.at("allowedFunctionNames"))
    if mode == "VALIDATED":
        request.ledger.adapt(calling.at("mode"), "AUTO")
    request.set("tool_choice", choice, *path)
