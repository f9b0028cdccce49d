"""Encode a hub request as the body for a messages upstream.

The capabilities say what the upstream and its model support; nothing is guessed. The order of the steps matters: the token limit
is known before the thinking budget, the tool choice before the thinking, and the thinking before the sampling.
Source: Anthropic API reference, "Create a Message", "Extended thinking", "Adaptive thinking", "Structured outputs".
"""

from __future__ import annotations

import hashlib
from typing import Any

from .. import deferral, outputs, rules
from .. import schema as schemas
from ..capabilities import Capabilities
from ..errors import Malformed
from ..ledger import concrete
from ..reasoning import claude_budget, claude_effort, display, effort_of_budget
from ..reply import Encoded
from ..request import Cache, OutputFormat, Part, ReasoningPart, Request, Setting, Thinking
from ..tools import ToolMap
from . import rules_out
from .content_out import Block, ContentWriter
from .tools_out import ToolsWriter
from .turns_out import write_turns

_DEFAULT_LIMIT = 32_000
_MOST_BREAKPOINTS = 4
_LONGEST_USER = 256
_NO_SAMPLING_SINCE = "2026-10-21"  # the API version that refuses temperature, top_p and top_k


def encode_request(request: Request, capabilities: Capabilities, model: str) -> Encoded:
    """See `Shape.encode_request`."""
    if request.defers:
        deferral.settle(request, capabilities.m_tool_search)
    retention = request.take_setting("prompt_cache_retention")
    names = ToolMap(native_custom=False)
    long_cache = retention is not None and retention.value == "24h"
    _without_earlier_thoughts(request)
    if not capabilities.m_structured_outputs:
        outputs.say_schema(request)
    content = ContentWriter(request, names, capabilities.reasoning_domain, long_cache=long_cache)
    tools = ToolsWriter(request, capabilities, names, content)
    tools.write_tools()
    tools.write_choice()
    body: dict[str, Any] = {"model": model, "max_tokens": _limit(request, capabilities)}
    body |= write_turns(request, capabilities, content)
    tools.write_stubs(content.names)
    if tools.tools:
        body["tools"] = tools.tools
    if tools.choice is not None:
        body["tool_choice"] = tools.choice
    _Settings(request, capabilities, body).write()
    _cache(request, capabilities, body, content, retention)
    if request.summary and "thinking" not in body and capabilities.m_thinking != "adaptive_always":
        request.ledger.drop(("reasoning", "summary"))  # there is no reasoning to summarise
    if request.stream:
        body["stream"] = True
    request.ignore(request.habits.endpoint)
    lifetimes = {block["cache_control"].get("ttl") for block, _ in content.marked if "cache_control" in block}
    rules.apply(rules_out.RULES, rules_out.MessagesDraft(body, request, capabilities, mixed_marks=len(lifetimes) > 1))
    request.close(capabilities.region)
    return Encoded(body, names)


def _without_earlier_thoughts(request: Request) -> None:
    """What the model thought before the last user's turn, where the caller wants only the current one's in context."""
    context = request.take_setting("reasoning_context")
    if context is None or context.value == "all_turns":
        return  # as it is in this API
    if context.value != "current_turn":
        request.ledger.drop(context.path)
        return
    last = max((i for i, turn in enumerate(request.turns) if turn.role == "user"), default=0)
    for turn in request.turns[:last]:
        others: list[Part] = [part for part in turn.parts if not isinstance(part, ReasoningPart)]
        if len(others) != len(turn.parts):
            turn.parts = others
            request.ledger.adapt(context.path)


def _limit(request: Request, capabilities: Capabilities) -> int:
    setting = request.settings.get("max_tokens")
    if setting is None:
        return min(capabilities.m_max_output, _DEFAULT_LIMIT)
    limit: int = setting.value
    if limit < 1:
        param = concrete(setting.path)
        raise Malformed(f"{param} must be at least 1", code="invalid_value", param=param)
    if limit > capabilities.m_max_output:
        request.ledger.adapt(setting.path, capabilities.m_max_output)
    return min(limit, capabilities.m_max_output)


def _cache(request: Request, capabilities: Capabilities, body: dict[str, Any], content: ContentWriter, retention: Setting | None) -> None:
    """Keep the caller's breakpoints, or set the gateway's if there are none, up to the provider's maximum."""
    top: Cache | None = request.take("cache")
    options = request.take_setting("prompt_cache_options")
    asked = options.value if options is not None else {}
    long, lasts = retention is not None and retention.value == "24h", asked.get("ttl") == "12h"
    if options is not None:
        if asked.get("mode") == "implicit":
            top = Cache(long=lasts)
            request.ledger.adapt(options.path)
        for key in asked.keys() - {"mode", "ttl"}:
            request.ledger.drop((*options.path, key))
    if top is None and not content.marked and capabilities.m_auto_cache and asked.get("mode") != "explicit":
        top = Cache(long=lasts)
        for block in _lasting(body):
            content.mark(block, top, ())
    if top is not None:
        body["cache_control"] = {"type": "ephemeral", "ttl": "1h"} if top.long or long else {"type": "ephemeral"}
    surplus = len(content.marked) - _MOST_BREAKPOINTS + (top is not None)
    for block, path in content.marked[: max(0, surplus)]:
        del block["cache_control"]
        request.ledger.adapt(path)
    used = bool(content.marked) or top is not None
    if long and retention is not None:
        (request.ledger.adapt if used else request.ledger.drop)(retention.path)
    if lasts and not used and options is not None:
        request.ledger.drop((*options.path, "ttl"))


def _lasting(body: dict[str, Any]) -> list[Block]:
    """The last blocks of what all turns share: the tools and the instructions.

    The end of the conversation is marked by the top-level member instead, which moves no mark inside it: some models bind their
    thinking to the exact bytes before it.
    """
    if isinstance(body.get("system"), str):
        body["system"] = [{"type": "text", "text": body["system"]}]
    return [blocks[-1] for blocks in (body.get("tools"), body.get("system")) if blocks]


class _Settings:
    """Encodes the settings of one request into its body."""

    def __init__(self, request: Request, capabilities: Capabilities, body: dict[str, Any]) -> None:
        self._request = request
        self._ledger = request.ledger
        self._capabilities = capabilities
        self._body = body
        self._config: dict[str, Any] = {}
        self._manual = False  # thinking with a budget, which excludes most sampling settings

    def write(self) -> None:
        self._thinking()
        self._output()
        if self._config:
            self._body["output_config"] = self._config
        self._request.take("max_tokens")
        self._sampling()
        self._stop()
        self._account()
        setting = self._request.settings.get("verbosity")
        if setting is not None and setting.value == "medium":
            self._request.take("verbosity")
        setting = self._request.settings.get("store")
        if setting is not None and not setting.value:
            self._request.take("store")

    # ---- thinking ----

    def _thinking(self) -> None:
        thinking: Thinking | None = self._request.take("thinking")
        mode = self._capabilities.m_thinking
        if thinking is None:
            return
        if mode == "none":
            if thinking.level != "off":
                self._ledger.drop(thinking.path)
        elif mode == "manual":
            self._budget(thinking)
        elif thinking.level == "off":
            if mode == "adaptive_always":
                self._effort(thinking, "low", adapted=True)
            else:
                self._body["thinking"] = {"type": "disabled"}
        elif thinking.level in ("effort", "budget", "adaptive"):
            self._adaptive(thinking)

    def _adaptive(self, thinking: Thinking) -> None:
        self._body["thinking"] = {"type": "adaptive"} | display(self._request.habits, thinking)
        if thinking.level == "budget":
            effort = effort_of_budget(thinking.budget or 0)
            self._effort(thinking, effort, adapted=True)
        elif thinking.effort is not None:
            self._effort(thinking, thinking.effort)

    def _effort(self, thinking: Thinking, effort: str, adapted: bool = False) -> None:
        sent = claude_effort(self._request, thinking, effort, self._capabilities.m_effort_values, adapted)
        if sent is not None:
            self._config["effort"] = sent

    def _budget(self, thinking: Thinking) -> None:
        """Set the thinking budget, for models that only think within a part of their token limit, in tokens."""
        if thinking.level not in ("effort", "budget", "adaptive"):
            return
        if self._body.get("tool_choice", {}).get("type") in ("any", "tool"):
            self._ledger.adapt(thinking.path)
            return
        wanted = claude_budget(thinking)
        if "max_tokens" not in self._request.settings:
            self._body["max_tokens"] = min(self._capabilities.m_max_output, 8192 + wanted)
        budget = min(wanted, self._body["max_tokens"] - 1024)
        if budget < rules_out.LEAST_BUDGET:
            self._ledger.adapt(thinking.path)
            return
        self._manual = True
        self._body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        if thinking.level == "adaptive" or (thinking.level == "budget" and budget != wanted):
            self._ledger.adapt(thinking.path, budget)

    # ---- the rest ----

    def _output(self) -> None:
        output: OutputFormat | None = self._request.take("output")
        if output is None:
            return
        if output.kind != "json_schema" or output.schema is None or not self._capabilities.m_structured_outputs:
            self._ledger.drop(output.path)
            return
        normal = schemas.norm(output.schema, output.path)
        self._config["format"] = {"type": "json_schema", "schema": normal.schema}
        if normal.adapted:
            self._ledger.adapt(output.path)

    def _sampling(self) -> None:
        sampling = self._capabilities.m_sampling
        if self._capabilities.m_version >= _NO_SAMPLING_SINCE or sampling == "none":
            if self._request.settings.get("temperature", (1,))[0] == 1:
                self._request.take("temperature")
            if self._request.settings.get("top_p", (1,))[0] == 1:
                self._request.take("top_p")
            return
        self._temperature()
        self._top_p(both=sampling == "full" or "temperature" not in self._body)
        if not self._manual and (top_k := self._request.take("top_k")) is not None:
            self._body["top_k"] = top_k

    def _temperature(self) -> None:
        setting = self._request.settings.get("temperature")
        if setting is None:
            return
        temperature = min(setting.value, 1)
        if self._manual and temperature != 1:
            return
        self._request.take("temperature")
        self._body["temperature"] = temperature
        if temperature != setting.value:
            self._ledger.adapt(setting.path, temperature)

    def _top_p(self, both: bool) -> None:
        setting = self._request.settings.get("top_p")
        if setting is None:
            return
        if both and (not self._manual or 0.95 <= setting.value <= 1):
            self._body["top_p"] = setting.value
            self._request.take("top_p")
        elif setting.value == 1:
            self._request.take("top_p")

    def _stop(self) -> None:
        stops = self._request.take_stops()
        if stops:
            self._body["stop_sequences"] = stops

    def _account(self) -> None:
        user = self._request.take_setting("safety_identifier")
        if user is not None:
            name: str = user.value
            if len(name) > _LONGEST_USER:
                name = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
                self._ledger.adapt(user.path)
            self._body["metadata"] = {"user_id": name}
        if (tier := self._request.take("messages_tier")) is not None:
            self._body["service_tier"] = tier
        self._tier()
        speed = self._request.settings.get("speed")
        if speed is not None and self._capabilities.m_fast_speed:
            self._body["speed"] = self._request.take("speed")

    def _tier(self) -> None:
        """Map the OpenAI shapes' service tier; a tier without equivalent stays in the request and is thus reported."""
        setting = self._request.settings.get("service_tier")
        if setting is None:
            return
        if setting.value == "default":
            self._body["service_tier"] = "standard_only"
        elif setting.value == "priority":
            self._body["service_tier"] = "auto"
            self._ledger.adapt(setting.path, "auto")
        elif setting.value == "fast" and self._capabilities.m_fast_speed:
            self._body["speed"] = "fast"
        elif setting.value != "auto":
            return
        self._request.take("service_tier")
