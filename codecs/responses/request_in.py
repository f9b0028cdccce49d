"""Decode a responses client's request into the hub's form.

Source: OpenAI API reference, "Create a model response". Null and the documented defaults are treated as absent. A field that only
this shape has is reported as dropped immediately, because a request that needs no translation is not decoded. Features provided by
the gateway itself (stored responses, conversations, background) are consumed without a report.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ..errors import ClientFault, Unsupported
from ..fields import Fields, invalid, missing
from ..ledger import Path
from ..request import OutputFormat, Request, Setting, TextPart, Thinking, Turn
from .facts import HABITS, NAME
from .items_in import Unpaired, decode_items, placed
from .tools_in import decode_choice, decode_tools

_ENCRYPTED = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"


def decode_request(body: dict[str, Any], items: list[dict[str, Any]] | None = None) -> Request:
    """Return the request in hub form. Raises errors.ClientFault and subclasses, with `param` set to the field's path.

    items: the entire expanded input if it continues stored items: these first, the request's own last. None otherwise.
    """
    fields = Fields(body, ())
    request = Request(NAME, fields.text("model") or "", body, habits=HABITS)
    request.stream = fields.flag("stream") or False
    _state(request, fields, known=items is not None)
    instructions = fields.text("instructions")
    if instructions:
        request.turns.append(Turn("system", [TextPart(instructions, ("instructions",))], ("instructions",), plain=True))
    request.tools = decode_tools(request, fields.items("tools") or [], ("tools",))
    fields.ignore("input")
    changed = decode_items(request, placed(body, items))
    request.set("tool_choice", decode_choice(request, fields.take("tool_choice"), ("tool_choice",)))
    _answer(request, fields)
    _reasoning(request, fields.inner("reasoning"), changed.get("reasoning"))
    _text(request, fields.inner("text"), changed.get("text"))
    _sampling(request, fields)
    _account(request, fields)
    fields.ignore("client_metadata")  # for the caller's own use
    fields.report(request.ledger)
    return request


def check_request(body: dict[str, Any], items: list[dict[str, Any]] | None) -> None:
    """Raise what decode_request raises, except for calls without outputs: they may follow in a later request."""
    with suppress(Unpaired):
        decode_request(body, items)


def _state(request: Request, fields: Fields, known: bool) -> None:
    """Read the members of stored state. known: the continued items were found. Raises errors.Unsupported for a stored prompt."""
    if fields.members("prompt") is not None:
        raise Unsupported("a stored prompt is not supported by the selected model", param="prompt")
    agents = fields.members("multi_agent")
    if agents is not None and agents.get("enabled"):
        raise Unsupported("multi_agent is not supported by the selected model", param="multi_agent")
    continued = {"previous_response_id": fields.text("previous_response_id"), "conversation": fields.take("conversation")}
    if None not in continued.values():
        message = "previous_response_id and conversation cannot both be given"
        raise ClientFault(message, code="mutually_exclusive_parameters", param="previous_response_id")
    for key, id in continued.items():
        if id is not None and not known:
            request.ledger.drop((key,))
    fields.flag("background")
    fields.ignore("metadata")


def _answer(request: Request, fields: Fields) -> None:
    """Read the settings of the answer's format."""
    limit = fields.integer("max_output_tokens")
    if limit is not None and limit < 1:
        raise invalid(("max_output_tokens",), "must be at least 1")
    request.set("max_tokens", limit, "max_output_tokens")
    fields.flag("store")
    for value in fields.items("include") or []:
        path: Path = (f"include[{str(value)[:64]}]",)
        if value == _LOGPROBS:
            request.set("logprobs", True, *path)
        elif value != _ENCRYPTED:  # which every caller gets
            request.ledger.drop(path)
    top = fields.integer("top_logprobs")
    if top:
        request.settings.setdefault("logprobs", Setting(True, ("top_logprobs",)))
        request.set("top_logprobs", top)
    request.include_logprobs = "logprobs" in request.settings
    request.set("parallel_tool_calls", False if fields.flag("parallel_tool_calls") is False else None)
    options = fields.inner("stream_options")
    if options is not None:
        options.ignore("include_obfuscation", "reasoning_summary_delivery")
        options.report(request.ledger)
    if fields.text("truncation") not in (None, "disabled"):
        request.ledger.drop(("truncation",))


def _reasoning(request: Request, initial: Fields | None, later: Fields | None) -> None:
    reasoning = initial or later
    if reasoning is None:
        return
    path: Path = ("reasoning", "effort")
    effort, summary = reasoning.text("effort"), reasoning.text("summary")
    if later is not None and later is not reasoning:
        effort, path = later.text("effort") or effort, (*later.path, "effort")
        later.report(request.ledger)
    summary = summary or reasoning.text("generate_summary")  # its former name
    reasoning.ignore("generate_summary")
    request.summary = None if summary == "none" else summary
    if effort is not None:
        show = "hide" if request.summary is None else "summary"
        thinking = Thinking(path, "off" if effort == "none" else "effort", effort, show=show, summary=request.summary)
        request.set("thinking", thinking, *path)
    context = reasoning.text("context")
    request.set("reasoning_context", None if context == "auto" else context, *reasoning.path, "context")
    if reasoning.text("mode") not in (None, "standard"):
        request.ledger.drop((*reasoning.path, "mode"))
    reasoning.report(request.ledger)


def _text(request: Request, initial: Fields | None, later: Fields | None) -> None:
    text = initial or later
    if text is None:
        return
    output = _format(request, text.inner("format"))
    if later is not None and later is not text:
        output = _format(request, later.inner("format")) or output
        later.report(request.ledger)
    if output is not None:
        request.set("output", output, *output.path)
    verbosity = text.text("verbosity")
    request.set("verbosity", None if verbosity == "medium" else verbosity, "text", "verbosity")
    text.report(request.ledger)


def _format(request: Request, fields: Fields | None) -> OutputFormat | None:
    if fields is None:
        return None
    kind, path = fields.required("type"), fields.path
    if kind not in ("text", "json_object", "json_schema"):
        raise invalid((*path, "type"), "must be text, json_object or json_schema")
    output = OutputFormat(kind, path)
    if kind == "json_schema":
        output.schema = fields.members("schema")
        if output.schema is None:
            raise missing((*path, "schema"))
        output.name, output.strict, output.description = fields.required("name"), fields.flag("strict"), fields.text("description")
    fields.report(request.ledger)
    return None if kind == "text" else output


def _sampling(request: Request, fields: Fields) -> None:
    for key, usual in (("temperature", 1), ("top_p", 1), ("presence_penalty", 0), ("frequency_penalty", 0)):
        value = fields.number(key)
        request.set(key, None if value == usual else value)


def _account(request: Request, fields: Fields) -> None:
    user, identifier = fields.text("user"), fields.text("safety_identifier")
    request.set("safety_identifier", identifier or user or None, "safety_identifier" if identifier else "user")
    tier = fields.text("service_tier")
    if tier == "ultrafast":
        request.ledger.drop(("service_tier",))
    elif tier != "auto":
        request.set("service_tier", tier)
    request.set("prompt_cache_key", fields.text("prompt_cache_key"))
    request.set("prompt_cache_retention", fields.text("prompt_cache_retention"))
    request.set("moderation", fields.take("moderation") or None)
    options = fields.inner("prompt_cache_options")
    if options is not None:
        if options.flag("prewarm"):
            request.warms = "end"
            request.ledger.adapt((*options.path, "prewarm"))
        cache_options = {key: value for key in ("mode", "ttl") if (value := options.take(key)) is not None}
        request.set("prompt_cache_options", cache_options or None)
        options.report(request.ledger)
