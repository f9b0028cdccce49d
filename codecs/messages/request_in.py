"""Decode a messages client's request into the hub's form.

Source: Anthropic API reference, "Create a Message". Null and the documented defaults are treated as absent. A field that only this
shape has is reported as dropped immediately, because a request that needs no translation is not decoded.
"""

from __future__ import annotations

from typing import Any

from ..errors import NO_THREAD, Unsupported
from ..fields import Fields, invalid, missing, wrong_type
from ..ledger import Path
from ..request import OutputFormat, Part, Request, TextPart, Thinking, Tool, ToolChoice, Turn
from ..tools import offer_directly
from .content_in import cache_of, decode_content
from .facts import HABITS, NAME
from .history_in import History
from .own_tools import OWN

_BILLING = "x-anthropic-billing-header"  # prepended to the system prompt by Claude Code, for Anthropic only


def decode_request(body: dict[str, Any]) -> Request:
    """Return the request in hub form. Raises errors.ClientFault and subclasses, with `param` set to the field's path."""
    fields = Fields(body, ())
    request = Request(NAME, fields.text("model") or "", body, habits=HABITS)
    request.stream = fields.flag("stream") or False
    _refuse(request, fields)
    _limits(request, fields)
    _tools(request, fields)
    effort = _turns(request, fields)
    _tool_choice(request, fields)
    _reasoning_and_format(request, fields, effort)
    _sampling(request, fields)
    _account(request, fields)
    fields.ignore("betas")
    fields.report(request.ledger)
    return request


def _refuse(request: Request, fields: Fields) -> None:
    """Refuse fields that must not be left out. Clients that do not need them repeat the request without the field named in the error.

    Raises errors.Unsupported.
    """
    if fields.take("safeguards") not in (None, [], {}):
        raise Unsupported("safeguards is not supported by the selected model", param="safeguards")
    thread = fields.members("thread")
    if thread is not None:
        if thread.get("type") != "create":
            message = "thread is not supported by the selected model: its history is not here"
            raise Unsupported(message, param="thread", code=NO_THREAD)
        request.ledger.drop(("thread",))
    if fields.take("compaction") not in (None, {}):
        raise Unsupported("compaction is not supported by the selected model", param="compaction")
    if (geo := fields.text("inference_geo")) != "global":
        request.set("inference_geo", geo)


def _limits(request: Request, fields: Fields) -> None:
    limit = fields.integer("max_tokens")
    if limit is None:
        raise missing(("max_tokens",))
    if limit < 0:
        raise invalid(("max_tokens",), "must not be negative")
    if limit == 0:
        request.warms = "length"
        request.ledger.adapt(("max_tokens",))
    else:
        request.set("max_tokens", limit)


# ---- messages ----


def _turns(request: Request, fields: Fields) -> str | None:
    """Add the turns. Returns the effort set by the last system message that sets one, or None."""
    system = fields.take("system")
    if system is not None:
        parts = decode_content(system, "system", ("system",), request.ledger)
        request.turns.append(Turn("system", _without_billing(parts), ("system",), plain=isinstance(system, str)))
    messages = fields.items("messages")
    if messages is None:
        raise missing(("messages",))
    history = History(request, client_tool)
    for i in range(len(messages)):
        history.add(messages, i)
    history.finish()
    return history.effort


def _without_billing(parts: list[Part]) -> list[Part]:
    return [part for part in parts if not (isinstance(part, TextPart) and part.text.startswith(_BILLING))]


# ---- tools ----


def _tools(request: Request, fields: Fields) -> None:
    for i, tool in enumerate(fields.items("tools") or []):
        decoded = _tool(request, Fields(tool, ("tools", i)))
        if decoded is not None:
            request.tools.append(decoded)


def _tool(request: Request, fields: Fields) -> Tool | None:
    kind = fields.text("type") or "custom"
    if kind == "custom":
        return client_tool(request, fields)
    if kind in OWN:
        return _own_tool(request, fields, kind)
    name = fields.text("name") or ""
    if kind.startswith("web_search_"):
        tool = Tool("web_search", name or "web_search", fields.path, label=kind, cache=cache_of(fields, request.ledger))
        for key in ("allowed_domains", "blocked_domains", "user_location", "max_uses"):
            value = fields.take(key)
            if value is not None:
                tool.search[key] = value
        offer_directly(request, fields)
        if fields.flag("defer_loading"):
            request.ledger.adapt((*fields.path, "defer_loading"))
        if fields.flag("strict"):
            request.ledger.drop((*fields.path, "strict"))
        fields.report(request.ledger)
        return tool
    if kind.startswith("tool_search_tool_"):
        request.defers = True
        return Tool("tool_search", name, fields.path, label=kind)
    return Tool("hosted", name, fields.path, label=kind)


def _own_tool(request: Request, fields: Fields, kind: str) -> Tool:
    """A tool of this API that its caller runs: what every model of Anthropic's knows of it is said to others."""
    own = OWN[kind]
    fields.ignore("max_characters")  # of what the caller shows
    tool = client_tool(request, fields)
    tool.description, tool.schema, tool.label = own.description, own.schema, kind
    request.ledger.adapt(fields.path)
    return tool


def client_tool(request: Request, fields: Fields) -> Tool:
    """A tool run by the caller."""
    offer_directly(request, fields)
    fields.ignore("type", "eager_input_streaming")
    tool = Tool(
        "function",
        fields.required("name"),
        fields.path,
        description=fields.text("description"),
        schema=fields.members("input_schema"),
        strict=fields.flag("strict"),
        examples=fields.items("input_examples") or [],
        cache=cache_of(fields, request.ledger),
        deferred=fields.flag("defer_loading") or False,
    )
    request.defers |= tool.deferred
    fields.report(request.ledger)
    return tool


def _tool_choice(request: Request, fields: Fields) -> None:
    choice = fields.inner("tool_choice")
    if choice is None:
        return
    path = choice.path
    kind = choice.required("type")
    if kind == "tool":
        decoded = _named_choice(request, choice.required("name"), path)
    elif kind in ("auto", "none"):
        decoded = ToolChoice(kind, path)
    elif kind == "any":
        decoded = ToolChoice("required", path)
    else:
        raise invalid((*path, "type"), "must be auto, any, tool or none")
    request.set("tool_choice", decoded)
    if choice.flag("disable_parallel_tool_use"):
        request.set("parallel_tool_calls", False, *path, "disable_parallel_tool_use")
    choice.report(request.ledger)


def _named_choice(request: Request, name: str, path: Path) -> ToolChoice:
    """A choice by name; for a tool run by the provider, by type, which is what other shapes use."""
    for tool in request.tools:
        if tool.name == name and tool.kind != "function":
            return ToolChoice("tool", path, name="web_search" if tool.kind == "web_search" else tool.label, kind="hosted")
    return ToolChoice("tool", path, name=name)


# ---- settings ----


def _reasoning_and_format(request: Request, fields: Fields, later_effort: str | None) -> None:
    config = fields.inner("output_config")
    effort = output = None
    if config is not None:
        effort = config.text("effort")
        output = _format(request, config.inner("format"))
    effort = later_effort or effort
    old = _format(request, fields.inner("output_format"))  # its name during the beta
    output = output or old
    if output is not None:
        request.set("output", output, *output.path)
    _thinking(request, fields.inner("thinking"), effort)
    if config is not None:
        config.report(request.ledger)


def _format(request: Request, fields: Fields | None) -> OutputFormat | None:
    if fields is None:
        return None
    kind = fields.required("type")
    if kind != "json_schema":
        request.ledger.drop(fields.path)
        return None
    schema = fields.members("schema")
    if schema is None:
        raise missing((*fields.path, "schema"))
    fields.report(request.ledger)
    return OutputFormat("json_schema", fields.path, schema=schema)


_SHOW = {"omitted": "hide", "summarized": "summary"}
_EFFORT: Path = ("output_config", "effort")


def _thinking(request: Request, fields: Fields | None, effort: str | None) -> None:
    if fields is None:
        if effort is not None:
            request.set("thinking", Thinking(_EFFORT, "effort", effort), *_EFFORT)
        return
    path = fields.path
    kind = fields.required("type")
    thinking = Thinking(path, "adaptive", show=_SHOW.get(fields.text("display") or "", "default"))
    if kind == "disabled":
        thinking.level = "off"
    elif kind == "enabled":
        thinking.level = "budget"
        thinking.budget = fields.integer("budget_tokens")
        if thinking.budget is None:
            raise missing((*path, "budget_tokens"))
    elif kind == "between_tools":
        request.ledger.adapt((*path, "type"))
    elif kind != "adaptive":
        raise invalid((*path, "type"), "must be enabled, disabled, adaptive or between_tools")
    if thinking.level == "adaptive" and effort is not None:
        thinking.effort, thinking.path = effort, _EFFORT
    elif effort is not None:
        request.ledger.drop(_EFFORT)  # a budget, or disabled thinking, takes precedence
    request.set("thinking", thinking, *thinking.path)
    fields.report(request.ledger)


def _sampling(request: Request, fields: Fields) -> None:
    temperature = fields.number("temperature")
    request.set("temperature", None if temperature == 1 else temperature)
    request.set("top_p", fields.number("top_p"))
    request.set("top_k", fields.integer("top_k"))
    stops = fields.items("stop_sequences") or []
    for i, stop in enumerate(stops):
        if not isinstance(stop, str):
            raise wrong_type(("stop_sequences", i), "a string")
    request.set("stop", stops or None, "stop_sequences")


def _account(request: Request, fields: Fields) -> None:
    metadata = fields.inner("metadata")
    if metadata is not None:
        request.set("safety_identifier", metadata.text("user_id") or None, "metadata", "user_id")
        metadata.report(request.ledger)
    tier, speed = fields.text("service_tier"), fields.text("speed")
    request.set("messages_tier", None if tier == "auto" else tier, "service_tier")
    request.set("speed", None if speed == "standard" else speed)
    control = cache_of(fields, request.ledger)
    request.set("cache", control, "cache_control")
