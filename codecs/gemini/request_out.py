"""Encode a hub request as the body for a gemini upstream. The model and whether to stream are in the URL.

Nothing is sent that is not in Google's reference: an unknown member is refused. Sources: the reference of generateContent; Google,
"Thinking", "Structured outputs", "Function calling".
"""

from __future__ import annotations

from typing import Any

from .. import deferral, rules
from ..anything import at
from ..capabilities import Capabilities
from ..reasoning import effort_of_budget, nearest
from ..reply import Encoded
from ..request import OutputFormat, Request, Thinking
from ..tools import ToolMap
from . import rules_out, schema_out
from .content_out import ContentWriter
from .tools_out import ToolsWriter
from .turns_out import write_turns

_JSON = "application/json"
_TIERS = ("flex", "priority")
_TIER_HEADER = "x-vertex-ai-llm-shared-request-type"  # of Vertex AI, which takes no member for it


def reasons(body: dict[str, Any], capabilities: Capabilities) -> bool:
    """Whether the model thinks when it is sent this body: unless its budget is 0."""
    return capabilities.g_thinking != "none" and at(body, "generationConfig", "thinkingConfig", "thinkingBudget") != 0


def encode_request(request: Request, capabilities: Capabilities, model: str) -> Encoded:
    """Return the upstream's body. Consumes the request's settings; what is not carried is reported in its ledger.

    Raises subclasses of errors.ClientFault for what the upstream cannot express, with `param` set to the client's path.
    """
    if request.defers:
        deferral.settle(request)
    names = ToolMap(native_custom=False, word_first=True)
    tools = ToolsWriter(request, capabilities, names)
    written = tools.write()  # first, because the history uses the names given to tools here
    body = write_turns(request, capabilities, ContentWriter(request, capabilities, names))
    body |= written
    settings = _Settings(request, capabilities, body)
    settings.write()
    request.ignore((*request.habits.endpoint, "cache", "prompt_cache_options", "prompt_cache_retention"))
    rules.apply(rules_out.RULES, rules.Draft(body, request, capabilities))
    request.close(capabilities.region)
    return Encoded(body, names, settings.headers)


class _Settings:
    """Encodes the settings of one request into its body. headers: those that say what it cannot."""

    def __init__(self, request: Request, capabilities: Capabilities, body: dict[str, Any]) -> None:
        self._request = request
        self._ledger = request.ledger
        self._capabilities = capabilities
        self._body = body
        self._config: dict[str, Any] = {}
        self.headers: dict[str, str] = {}

    def write(self) -> None:
        self._limit()
        if self._capabilities.g_sampling == "full":
            self._carry(temperature="temperature", top_p="topP", top_k="topK")
        self._carry(seed="seed")
        if self._capabilities.g_penalties:
            self._carry(presence_penalty="presencePenalty", frequency_penalty="frequencyPenalty")
        self._stop()
        self._logprobs()
        self._output()
        self._thinking()
        self._account()
        if self._config:
            self._body["generationConfig"] = self._config
        if self._capabilities.g_safety:
            pairs = [entry.partition("=") for entry in self._capabilities.g_safety]
            self._body["safetySettings"] = [{"category": category, "threshold": threshold} for category, _, threshold in pairs]

    def _carry(self, **names: str) -> None:
        for name, member in names.items():
            value = self._request.take(name)
            if value is not None:
                self._config[member] = value

    def _limit(self) -> None:
        setting = self._request.take_limit()
        if setting is None:
            return
        limit, most = setting.value, self._capabilities.g_max_output
        if most and limit > most:
            self._ledger.adapt(setting.path, most)
            limit = most
        self._config["maxOutputTokens"] = limit

    def _stop(self) -> None:
        setting = self._request.take_setting("stop")
        if setting is None:
            return
        stops = [setting.value] if isinstance(setting.value, str) else setting.value
        if len(stops) > rules_out.MOST_STOPS:
            self._ledger.drop(setting.path)
        self._config["stopSequences"] = stops[: rules_out.MOST_STOPS]

    def _logprobs(self) -> None:
        """Only of whole answers: "LogProbs is not supported in streaming mode"."""
        if not self._capabilities.g_logprobs or self._request.stream:
            return
        asked, most = self._request.take("logprobs"), self._request.take("top_logprobs")
        if asked or most is not None:
            self._config["responseLogprobs"] = True
        if most:
            self._config["logprobs"] = most

    def _output(self) -> None:
        output: OutputFormat | None = self._request.take("output")
        if output is None:
            return
        if "tools" in self._body and not self._capabilities.g_tools_mixed:
            self._ledger.drop(output.path)
            return
        self._config["responseMimeType"] = _JSON
        if output.kind != "json_schema" or output.schema is None:
            return
        if self._capabilities.g_json_schema:
            converted, key = schema_out.to_json(output.schema, output.path), "responseJsonSchema"
        else:
            converted, key = schema_out.to_classic(output.schema, output.path, self._capabilities.g_integer_enums), "responseSchema"
        if converted.schema is not None:
            self._config[key] = converted.schema
        if converted.adapted or converted.schema is None:
            self._ledger.adapt(output.path)

    # ---- thinking ----

    def _thinking(self) -> None:
        thinking: Thinking | None = self._request.take("thinking")
        mode = self._capabilities.g_thinking
        shows = self._shows(thinking)
        if mode == "none":
            if thinking is not None and thinking.level != "off":
                self._ledger.drop(thinking.path)
            return
        config: dict[str, Any] = {}
        if thinking is not None:
            config = self._budget(thinking) if mode == "budget" else self._level(thinking)
        if shows:
            config["includeThoughts"] = True
        if config:
            self._config["thinkingConfig"] = config

    def _shows(self, thinking: Thinking | None) -> bool:
        """Whether the caller is to see thoughts."""
        if thinking is None:
            return self._request.summary is not None
        if thinking.level == "off":
            return False
        habits = self._request.habits
        return thinking.show == "summary" or habits.shows_thinking or (habits.hides_thinking and thinking.show == "default")

    def _budget(self, thinking: Thinking) -> dict[str, Any]:
        can = self._capabilities
        if thinking.level == "off":
            sent = rules_out.fitted(0, can)
            if sent:
                self._ledger.adapt(thinking.path, sent)
            return {"thinkingBudget": sent}
        if thinking.level == "adaptive" and thinking.effort is None:
            return {"thinkingBudget": -1}
        if thinking.level != "budget":
            return {"thinkingBudget": rules_out.budget_of(thinking.effort or "medium", can)}
        wanted = thinking.budget or 0
        sent = rules_out.fitted(wanted, can)
        if sent != wanted:
            self._ledger.adapt(thinking.path, sent)
        return {"thinkingBudget": sent}

    def _level(self, thinking: Thinking) -> dict[str, Any]:
        levels = self._capabilities.g_thinking_levels
        if thinking.level == "adaptive" and thinking.effort is None:
            return {}
        if thinking.level == "off":
            if self._capabilities.g_budget_off:
                return {"thinkingBudget": 0}
            asked, sent = "none", levels[0] if levels else None
        else:
            asked = effort_of_budget(thinking.budget or 0) if thinking.level == "budget" else thinking.effort or "medium"
            sent = nearest(asked, levels)
        if sent is None:
            self._ledger.drop(thinking.path)
            return {}
        if sent != asked or thinking.level == "budget":
            self._ledger.adapt(thinking.path, sent)
        return {"thinkingLevel": sent.upper()}

    # ---- the rest ----

    def _account(self) -> None:
        setting = self._request.settings.get("service_tier")
        if setting is not None:
            if setting.value in _TIERS:
                where = self._body if self._capabilities.g_server == "developer" else self.headers
                where["serviceTier" if where is self._body else _TIER_HEADER] = self._request.take("service_tier")
            elif setting.value in ("auto", "default"):
                self._request.take("service_tier")
        for name, usual in (("store", False), ("presence_penalty", 0), ("frequency_penalty", 0)):
            setting = self._request.settings.get(name)
            if setting is not None and setting.value == usual:
                self._request.take(name)
