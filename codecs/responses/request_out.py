"""Encode a hub request as the body for a responses upstream.

The gateway stores conversations itself when it translates, so nothing is stored upstream: reasoning is returned encrypted and sent
again. Source: OpenAI API reference, "Create a model response"; "Migrate to the Responses API".
"""

from __future__ import annotations

from typing import Any

from .. import deferral, openai, rules
from ..capabilities import Capabilities
from ..errors import Malformed
from ..reasoning import openai_effort
from ..reply import Encoded
from ..request import OutputFormat, Request, Thinking
from ..tools import ToolMap
from . import rules_out
from .items_out import ItemsWriter
from .tools_out import WEB_SEARCH, ToolsWriter

_SOURCES = "web_search_call.action.sources"
_LOGPROBS = "message.output_text.logprobs"

# settings sent unchanged
_SAME = ("temperature", "top_p", "metadata", "moderation", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention")


def encode_request(request: Request, capabilities: Capabilities, model: str) -> Encoded:
    """Return the upstream's body. Consumes the request's settings; what is not carried is reported in its ledger.

    Raises subclasses of errors.ClientFault for what the upstream cannot express, with `param` set to the client's path.
    """
    if request.defers:
        deferral.settle(request, capabilities.r_tool_search)
    openai.name_json(request)
    names = ToolMap()
    tools = ToolsWriter(request, names)
    tools.write_tools()
    tools.write_choice()
    items = ItemsWriter(request, capabilities, names)
    items.write()
    body: dict[str, Any] = {"model": model, "store": False}
    searches = any(tool["type"] == WEB_SEARCH for tool in tools.tools)
    _include(request, capabilities, body, searches and capabilities.openai_host)
    if items.instructions:
        body["instructions"] = items.instructions
    _limit(request, capabilities, body)
    if not items.items:
        raise Malformed("messages: at least one message is required", code="invalid_value", param="messages")
    body["input"] = items.items
    parallel = request.take("parallel_tool_calls")
    if tools.tools:
        body["tools"] = tools.tools
        if tools.choice is not None:
            body["tool_choice"] = tools.choice
        if parallel is not None:
            body["parallel_tool_calls"] = parallel
    _reasoning(request, capabilities, body)
    _text(request, body)
    _account(request, capabilities, body)
    obfuscation = request.take("include_obfuscation")
    if request.stream:
        body["stream"] = True
        if obfuscation is not None:
            body["stream_options"] = {"include_obfuscation": obfuscation}
    rules.apply(rules_out.RULES, rules_out.ResponsesDraft(body, request, capabilities))
    request.close(capabilities.region)
    return Encoded(body, names)


def _include(request: Request, capabilities: Capabilities, body: dict[str, Any], sources: bool) -> None:
    """Set `include`. sources: whether the results of web searches are requested."""
    store = request.take_setting("store")
    if store is not None and store.value:
        request.ledger.adapt(store.path, "false")
    include = [rules_out.ENCRYPTED] if capabilities.r_encrypted_reasoning else []
    if sources:
        include.append(_SOURCES)
    if request.take("logprobs"):
        include.append(_LOGPROBS)
        if (top := request.take("top_logprobs")) is not None:
            body["top_logprobs"] = top
    if include:
        body["include"] = include


def _limit(request: Request, capabilities: Capabilities, body: dict[str, Any]) -> None:
    setting = request.take_limit()
    if setting is None:
        return
    body["max_output_tokens"] = limit = max(setting.value, capabilities.r_min_output_tokens)
    if limit != setting.value:
        request.ledger.adapt(setting.path, limit)


def _reasoning(request: Request, capabilities: Capabilities, body: dict[str, Any]) -> None:
    thinking: Thinking | None = request.take("thinking")
    if thinking is None:
        return
    reasoning: dict[str, Any] = {}
    effort = openai_effort(request, thinking, capabilities.r_effort_values)
    if effort is not None:
        reasoning["effort"] = effort
    if capabilities.r_summaries and _shows(request, thinking):
        reasoning["summary"] = thinking.summary or "auto"
    if reasoning:
        body["reasoning"] = reasoning


def _shows(request: Request, thinking: Thinking) -> bool:
    """Whether the caller receives the reasoning. With only an effort set, Anthropic's API shows none either."""
    if thinking.level == "off" or thinking.show == "hide":
        return False
    return thinking.show == "summary" or request.habits.shows_thinking or thinking.level in ("budget", "adaptive")


def _text(request: Request, body: dict[str, Any]) -> None:
    text: dict[str, Any] = {}
    output: OutputFormat | None = request.take("output")
    if output is not None:
        text["format"] = openai.output_format(request, output, required=True)
    verbosity = request.take("verbosity")
    if verbosity is not None:
        text["verbosity"] = verbosity
    if text:
        body["text"] = text


def _account(request: Request, capabilities: Capabilities, body: dict[str, Any]) -> None:
    cache = request.take("cache")
    if cache is not None and capabilities.openai_host:
        body["prompt_cache_options"] = {"mode": "implicit"}
    for name in _SAME:
        value = request.take(name)
        if value is not None:
            body[name] = value
    user = openai.user(request)
    if user is not None:
        body["safety_identifier"] = user
    tier = openai.tier(request, capabilities.r_fast_tier)
    if tier is not None:
        body["service_tier"] = tier
