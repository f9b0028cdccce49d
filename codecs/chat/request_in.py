"""Decode a chat client's request into the hub's form.

Source: OpenAI API reference, "Create chat completion"; additions of other providers' clients are read if they have a meaning here.
Null and the documented defaults are treated as absent. A field that only this shape has is reported as dropped immediately, because
a request that needs no translation is not decoded.
"""

from __future__ import annotations

from typing import Any

from ..errors import Unsupported
from ..fields import Fields, invalid, missing, wrong_type
from ..request import OutputFormat, Request, Thinking
from ..tools import user_location
from .content_in import MessageReader
from .facts import HABITS, NAME
from .tools_in import decode_choice, decode_tools


def decode_request(body: dict[str, Any]) -> Request:
    """Return the request in hub form. Raises errors.ClientFault and subclasses, with `param` set to the field's path."""
    fields = Fields(body, ())
    request = Request(NAME, fields.text("model") or "", body, habits=HABITS)
    request.stream = fields.flag("stream") or False
    _stream_options(request, fields)
    _one_text(fields)
    _limit(request, fields)
    _turns(request, fields)
    decode_tools(request, fields)
    decode_choice(request, fields)
    _output(request, fields)
    _thinking(request, fields)
    _sampling(request, fields)
    _account(request, fields)
    _unchanged(request, fields)
    fields.report(request.ledger)
    return request


def _stream_options(request: Request, fields: Fields) -> None:
    options = fields.inner("stream_options")
    if options is None:
        return
    request.include_usage = options.flag("include_usage") or False
    request.set("include_obfuscation", options.flag("include_obfuscation"), "stream_options", "include_obfuscation")
    options.report(request.ledger)


def _one_text(fields: Fields) -> None:
    """Refuse several answers and answers other than text, which no other shape supports."""
    count = fields.integer("n")
    if count is not None and count < 1:
        raise invalid(("n",), "must be at least 1")
    if count is not None and count > 1:
        raise Unsupported("n: more than one answer is not supported by the selected model", param="n")
    if any(kind != "text" for kind in fields.items("modalities") or []):
        raise Unsupported("modalities: answers other than text are not supported by the selected model", param="modalities")
    if fields.take("audio") is not None:
        raise Unsupported("audio is not supported by the selected model", param="audio")


def _limit(request: Request, fields: Fields) -> None:
    limits = {name: fields.integer(name) for name in ("max_completion_tokens", "max_tokens")}
    for name, limit in limits.items():
        if limit is not None:
            if limit < 1:
                raise invalid((name,), "must be at least 1")
            request.set("max_tokens", limit, name)
            return


def _turns(request: Request, fields: Fields) -> None:
    messages = fields.items("messages")
    if messages is None:
        raise missing(("messages",))
    reader = MessageReader(request.ledger)
    request.turns += [reader.turn(message, i) for i, message in enumerate(messages)]


# ---- settings ----


def _output(request: Request, fields: Fields) -> None:
    response_format = fields.inner("response_format")
    if response_format is None:
        return
    kind = response_format.required("type")
    output = None
    if kind == "json_object":
        output = OutputFormat(kind, response_format.path)
    elif kind == "json_schema":
        output = _schema(request, response_format)
    elif kind != "text":
        request.ledger.drop(response_format.path)
        return
    response_format.report(request.ledger)
    request.set("output", output, *response_format.path)


def _schema(request: Request, response_format: Fields) -> OutputFormat:
    inner = response_format.inner("json_schema")
    if inner is None:
        raise missing((*response_format.path, "json_schema"))
    output = OutputFormat(
        "json_schema",
        response_format.path,
        name=inner.text("name"),
        schema=inner.members("schema"),
        strict=inner.flag("strict"),
        description=inner.text("description"),
    )
    inner.report(request.ledger)
    return output


def _thinking(request: Request, fields: Fields) -> None:
    effort = fields.text("reasoning_effort")
    if effort is not None:
        _ask(request, "off" if effort == "none" else "effort", "reasoning_effort", effort=effort)
        return
    asked = fields.inner("reasoning")  # OpenRouter's form
    if asked is None:
        _thinking_of_others(request, fields)
        return
    effort, budget, enabled = asked.text("effort"), asked.integer("max_tokens"), asked.flag("enabled")
    if effort is not None:
        _ask(request, "off" if effort == "none" else "effort", "reasoning", "effort", effort=effort)
    elif budget is not None:
        _ask(request, "budget", "reasoning", "max_tokens", budget=budget)
    elif enabled is not None:
        _ask(request, "adaptive" if enabled else "off", "reasoning", "enabled")
    if asked.flag("exclude"):
        request.ledger.drop(("reasoning", "exclude"))
    asked.report(request.ledger)


def _thinking_of_others(request: Request, fields: Fields) -> None:
    """Read the `thinking` of the messages API and Alibaba's members."""
    switch = fields.flag("enable_thinking")
    asked = fields.inner("thinking")
    if asked is None:
        if switch is not None:
            _ask(request, "adaptive" if switch else "off", "enable_thinking")
        return
    kind, budget = asked.text("type"), asked.integer("budget_tokens")
    if budget is not None and kind == "enabled":
        _ask(request, "budget", "thinking", budget=budget)
    elif kind is not None:
        _ask(request, "off" if kind == "disabled" else "adaptive", "thinking")
    asked.report(request.ledger)


def _ask(request: Request, level: str, *path: str, effort: str | None = None, budget: int | None = None) -> None:
    request.set("thinking", Thinking(path, level, effort if level == "effort" else None, budget), *path)


def _sampling(request: Request, fields: Fields) -> None:
    for name, default in (("temperature", 1), ("top_p", 1), ("presence_penalty", 0), ("frequency_penalty", 0)):
        value = fields.number(name)
        request.set(name, None if value == default else value)
    for name in ("top_k", "seed", "top_logprobs"):
        request.set(name, fields.integer(name))
    request.set("logit_bias", fields.members("logit_bias") or None)
    request.include_logprobs = fields.flag("logprobs") or False
    request.set("logprobs", request.include_logprobs or None)
    _stop(request, fields)


def _stop(request: Request, fields: Fields) -> None:
    stops = fields.take("stop")
    if isinstance(stops, str):
        stops = [stops]
    if stops is None:
        return
    if not isinstance(stops, list):
        raise wrong_type(("stop",), "a string or a list")
    for i, stop in enumerate(stops):
        if not isinstance(stop, str):
            raise wrong_type(("stop", i), "a string")
    request.set("stop", stops or None)


def _account(request: Request, fields: Fields) -> None:
    users = {name: fields.text(name) for name in ("safety_identifier", "user")}
    named = next((name for name, value in users.items() if value), None)
    if named is not None:
        request.set("safety_identifier", users[named], named)
    request.set("metadata", fields.members("metadata") or None)
    request.set("store", fields.flag("store") or None)
    tier, verbosity = fields.text("service_tier"), fields.text("verbosity")
    request.set("service_tier", None if tier == "auto" else tier)
    request.set("verbosity", None if verbosity == "medium" else verbosity)
    request.set("prompt_cache_key", fields.text("prompt_cache_key"))
    request.set("prompt_cache_options", fields.members("prompt_cache_options") or None)
    request.set("prompt_cache_retention", fields.text("prompt_cache_retention"))


def _unchanged(request: Request, fields: Fields) -> None:
    """Read the objects that are passed to the upstream unchanged."""
    for name in ("moderation", "prediction"):
        request.set(name, fields.take(name) or None)
    search = fields.inner("web_search_options")
    if search is not None:
        request.set("web_search_options", _search(request, search))


def _search(request: Request, fields: Fields) -> dict[str, Any]:
    options: dict[str, Any] = {}
    size, location = fields.text("search_context_size"), fields.inner("user_location")
    if size is not None:
        options["search_context_size"] = size
    if location is not None:
        place = location.inner("approximate") or location  # some callers omit this level
        options["user_location"] = user_location(place)
        if place is not location:
            location.ignore("type")
            location.report(request.ledger)
        place.report(request.ledger)
    fields.report(request.ledger)
    return options
