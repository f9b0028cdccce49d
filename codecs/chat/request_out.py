"""Encode a hub request as the body for a chat upstream.

The capabilities say what the upstream and its model support; nothing is guessed. Source: OpenAI API reference, "Create chat
completion"; the configuration's tables contain what other hosts support of it.
"""

from __future__ import annotations

from typing import Any

from .. import deferral, openai, rules
from ..capabilities import Capabilities
from ..reasoning import openai_effort
from ..reply import Encoded
from ..request import OutputFormat, Request, Thinking
from ..tools import ToolMap
from . import rules_out
from .content_out import ContentWriter
from .draft import ChatDraft
from .tools_out import ToolsWriter
from .turns_out import write_turns

_MOST_STOPS = 4
_CACHE_LIVES = ("30m",)  # accepted for the entire prompt; parts accept more values


def encode_request(request: Request, capabilities: Capabilities, model: str) -> Encoded:
    """See `Shape.encode_request`."""
    if request.defers:
        deferral.settle(request)
    openai.name_json(request)
    names = ToolMap(native_custom=capabilities.c_custom_tools, letter_first=capabilities.c_letter_names)
    body: dict[str, Any] = {"model": model}
    limit = request.take("max_tokens")
    if limit is not None:
        body[capabilities.c_max_tokens_field] = limit
    tools: dict[str, Any] = {}
    ToolsWriter(request, capabilities, names).write(tools)  # first, because the history uses the names given to tools here
    body["messages"] = write_turns(request, capabilities, ContentWriter(request, capabilities, names))
    body |= tools
    _Settings(request, capabilities, body).write()
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    request.ignore(request.habits.endpoint)
    rules.apply(rules_out.RULES, ChatDraft(body, request, capabilities))
    request.close(capabilities.region)
    return Encoded(body, names)


class _Settings:
    """Encodes the settings of one request into its body."""

    def __init__(self, request: Request, capabilities: Capabilities, body: dict[str, Any]) -> None:
        self._request = request
        self._ledger = request.ledger
        self._capabilities = capabilities
        self._body = body

    def write(self) -> None:
        self._reasoning()
        self._output()
        self._carry("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
        if self._capabilities.c_top_k:
            self._carry("top_k")
        self._stop()
        self._logprobs()
        self._account()
        self._cache()

    def _carry(self, *names: str) -> None:
        for name in names:
            value = self._request.take(name)
            if value is not None:
                self._body[name] = value

    def _reasoning(self) -> None:
        thinking: Thinking | None = self._request.take("thinking")
        if thinking is None:
            return
        switch, values = self._capabilities.c_thinking_switch, self._capabilities.c_effort_values
        if thinking.show == "hide" and thinking.level != "off" and self._request.habits.hides_thinking:
            self._ledger.adapt((*thinking.path[:1], "display") if thinking.path[0] == "thinking" else ("thinking", "display"))
        if thinking.level == "off" and switch != "none" and "none" not in values:
            self._body.update(rules_out.SWITCHES[switch])
            return
        effort = openai_effort(self._request, thinking, values)
        if effort is not None:
            self._body["reasoning_effort"] = effort

    def _output(self) -> None:
        output: OutputFormat | None = self._request.take("output")
        if output is None:
            return
        form = openai.output_format(self._request, output)
        kind = form.pop("type")
        self._body["response_format"] = {"type": kind, kind: form} if form else {"type": kind}

    def _stop(self) -> None:
        setting = self._request.take_setting("stop")
        if setting is None:
            return
        if len(setting.value) > _MOST_STOPS:
            self._ledger.drop(setting.path)
        self._body["stop"] = setting.value[:_MOST_STOPS]

    def _logprobs(self) -> None:
        asked, most = self._request.take("logprobs"), self._request.take("top_logprobs")
        if asked or most is not None:
            self._body["logprobs"] = True
        if most is not None:
            self._body["top_logprobs"] = most

    def _account(self) -> None:
        host = self._capabilities.openai_host
        user = openai.user(self._request)
        if user is not None:
            self._body["safety_identifier" if host else "user"] = user
        tier = openai.tier(self._request, self._capabilities.c_fast_tier)
        if tier is not None:
            self._body["service_tier"] = tier
        if host:
            self._carry("verbosity", "prompt_cache_key", "prompt_cache_retention")

    def _cache(self) -> None:
        """Write the cache settings of the entire prompt; other hosts cache automatically or not at all."""
        top = self._request.take("cache")
        if not self._capabilities.openai_host:
            return
        if top is not None:
            self._body["prompt_cache_options"] = {"mode": "implicit"}
        options = self._request.take_setting("prompt_cache_options")
        if options is None:
            return
        self._body["prompt_cache_options"] = options.value
        if options.value.get("ttl") not in (None, *_CACHE_LIVES):
            self._body["prompt_cache_options"] = options.value | {"ttl": _CACHE_LIVES[-1]}
            self._ledger.adapt((*options.path, "ttl"), _CACHE_LIVES[-1])
