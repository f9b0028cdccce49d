"""Decode a gemini client's request into the hub's form.

The model and whether to stream stand in the path (`paths.py`). Members that only Google's servers can honour are reported as dropped, or
refused where the answer would be about something else without them.

Source: the types of google-genai 3.6.1 and @google/genai 2.32.0; the protos of google-ai-generativelanguage 0.12.1.
"""

from __future__ import annotations

from typing import Any

from .. import schema
from ..errors import Unsupported, unsupported_content
from ..fields import invalid, missing, wrong_type
from ..ledger import Ledger, concrete
from ..request import OutputFormat, Request, Thinking, Turn
from .content_in import Contents
from .facts import HABITS, NAME
from .protojson import Message
from .schema_in import from_classic, lowered
from .tools_in import decode_tool_config, decode_tools

_ONLY_THERE = ("cachedContent", "continuationToken")  # the name of content that only Google has
_TIERS = {"STANDARD": "default", "FLEX": "flex", "PRIORITY": "priority"}
_LEVELS = ("UNSPECIFIED", "LOW", "HIGH", "MEDIUM", "MINIMAL", "XHIGH")
_MODALITIES = ("UNSPECIFIED", "TEXT", "IMAGE", "AUDIO")


def decode_request(body: dict[str, Any]) -> Request:
    """Return the request in hub form. Raises errors.ClientFault and subclasses, with `param` set to the member's path."""
    message, ledger = Message(body, ()), Ledger()
    counted = message.message("generateContentRequest")  # of a token count
    if counted is not None:
        message.report(ledger)
        message = counted
    request = Request(NAME, "", body, habits=HABITS, ledger=ledger)
    message.ignore("model")
    for key in _ONLY_THERE:
        if message.take(key):
            raise unsupported_content(key, message.at(key))
    _contents(request, message)
    decode_tools(request, message)
    decode_tool_config(request, message.message("toolConfig"))
    config = message.message("generationConfig")
    if config is not None:
        _sampling(request, config)
        _output(request, config)
        _modalities(config)
        _thinking(request, config.message("thinkingConfig"))
        config.report(request.ledger)
    _account(request, message)
    message.report(request.ledger)
    return request


def _contents(request: Request, message: Message) -> None:
    contents = Contents(request.ledger)
    system = message.message("systemInstruction")
    if system is not None:
        system.ignore("role")
        parts = contents.instruction(system)
        if parts:
            request.turns.append(Turn("system", list(parts), system.path))
    items, path = message.listed("contents"), message.at("contents")
    if not items:
        raise missing(path)
    request.turns += contents.turns(items, path)


# ---- generationConfig ----


def _sampling(request: Request, config: Message) -> None:
    limit = config.integer("maxOutputTokens")
    if limit is not None and limit < 1:
        raise invalid(config.at("maxOutputTokens"), "must be positive")
    for name, value in (
        ("max_tokens", limit),
        ("temperature", config.number("temperature")),
        ("top_p", config.number("topP")),
        ("top_k", config.integer("topK")),
        ("seed", config.integer("seed")),
        ("presence_penalty", config.number("presencePenalty") or None),
        ("frequency_penalty", config.number("frequencyPenalty") or None),
    ):
        request.set(name, value, *config.at(_MEMBERS[name]))
    stops = config.items("stopSequences") or []
    for i, stop in enumerate(stops):
        if not isinstance(stop, str):
            raise wrong_type((*config.at("stopSequences"), i), "a string")
    request.set("stop", stops or None, *config.at("stopSequences"))
    if (config.integer("candidateCount") or 1) > 1:
        raise Unsupported("candidateCount above 1 is not supported by the selected model", param=concrete(config.at("candidateCount")))
    request.include_logprobs = config.flag("responseLogprobs") or False
    request.set("logprobs", request.include_logprobs or None, *config.at("responseLogprobs"))
    request.set("top_logprobs", config.integer("logprobs") or None, *config.at("logprobs"))


_MEMBERS = {
    "max_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}


def _modalities(config: Message) -> None:
    path = config.at("responseModalities")
    for i, value in enumerate(config.items("responseModalities") or []):
        word = Message({"modality": value}, (*path, i)).word("modality", _MODALITIES)
        if word not in (None, "TEXT"):
            raise unsupported_content(f"the modality {word[:32]}", (*path, i))


def _output(request: Request, config: Message) -> None:
    path = config.at("responseMimeType")
    kind = (config.text("responseMimeType") or "").lower()
    form = config.message("responseFormat")
    text = None if form is None else form.message("text")
    output = _schema_of(config, path)
    if text is not None:
        kind = (text.text("mimeType") or "").lower() or kind
        output = output or _schema_of(text, text.path)
        text.report(request.ledger)
    if form is not None:
        form.report(request.ledger)
    if output is not None and kind in ("", "application/json"):
        strict = True if schema.is_strict(output.schema) else None
        output.name, output.strict = "output", strict
        request.set("output", output, *output.path)
    elif kind == "application/json":
        request.set("output", OutputFormat("json_object", path), *path)
    elif kind not in ("", "text/plain"):
        raise Unsupported(f"the response type {kind[:64]} is not supported by the selected model", param=concrete(path))


def _schema_of(message: Message, path: tuple[str | int, ...]) -> OutputFormat | None:
    """The schema of the answer, in any of its forms."""
    for key, convert in (
        ("responseJsonSchema", lowered),
        ("schema", lowered),
        ("responseSchema", from_classic),
    ):
        value = message.members(key)
        if value is not None:
            path = message.at(key)
            return OutputFormat("json_schema", path, schema=convert(value))
    return None


def _thinking(request: Request, config: Message | None) -> None:
    if config is None:
        return
    path = config.path
    shows = config.flag("includeThoughts")
    budget, level = config.integer("thinkingBudget"), config.word("thinkingLevel", _LEVELS)
    if budget is not None and level is not None:
        raise invalid(config.at("thinkingLevel"), "cannot be set together with thinkingBudget")
    request.show_thoughts = shows or False
    config.report(request.ledger)
    show = "summary" if shows else "hide"
    if level is not None:
        thinking = Thinking(config.at("thinkingLevel"), "effort", level.lower(), show=show)
    elif budget is None:
        if not shows:
            return
        thinking = Thinking(path, "adaptive", show=show)
    elif budget < 0:
        thinking = Thinking(config.at("thinkingBudget"), "adaptive", show=show)
    else:
        thinking = Thinking(config.at("thinkingBudget"), "budget" if budget else "off", budget=budget or None, show=show)
    request.set("thinking", thinking, *thinking.path)


# ---- the rest ----


def _account(request: Request, message: Message) -> None:
    path = message.at("serviceTier")
    tier = message.word("serviceTier", ("UNSPECIFIED", "STANDARD", "FLEX", "PRIORITY"))
    if tier is not None:
        tier = tier.removeprefix("SERVICE_TIER_")
        request.set("service_tier", _TIERS.get(tier, tier.lower()), *path)
    if message.flag("store"):
        request.ledger.drop(message.at("store"))
    request.set("metadata", message.members("labels") or None, *message.at("labels"))
