"""Encode a hub request as the body of Converse and ConverseStream, which is the same.

What a family of models takes is in the capabilities `v.*`; Claude's own settings are those of the messages shape (`m.*`) and stand in
`additionalModelRequestFields`, where every family has what Converse itself has no word for.
"""

from __future__ import annotations

import re
from typing import Any

from .. import deferral, jsontext, outputs, subsets
from .. import schema as schemas
from ..bedrock import MOST_METADATA
from ..capabilities import Capabilities
from ..errors import NotFound
from ..reasoning import claude_budget, claude_effort, display, effort_of_budget, nearest, openai_effort
from ..reply import Encoded
from ..request import Cache, OutputFormat, Request, Thinking
from ..tools import ToolMap
from .content_out import ContentWriter
from .tools_out import ToolsWriter
from .turns_out import write_turns

_DEFAULT_LIMIT = 32_000
_UNKNOWN_LIMIT = 4096
_LEAST_BUDGET = 1024
_LONGEST_NAME = 200  # characters of a model's that are shown
_NOT_METADATA = re.compile(r"[^a-zA-Z0-9\s:_@$#=/+,.-]")
_LONGEST_METADATA = 256  # characters of a name or a value
_HIGH = "high"  # Nova's effort with which it takes neither a limit of tokens nor sampling
_TIERS = frozenset({"priority", "default", "flex", "reserved"})
# where a family's effort stands in `additionalModelRequestFields`
_EFFORT_AT = {
    "reasoning_effort": ("reasoning_effort",),
    "reasoning.effort": ("reasoning", "effort"),
    "reasoning_config": ("reasoning_config",),
}


def encode_request(request: Request, capabilities: Capabilities, model: str) -> Encoded:
    """See `Shape.encode_request`."""
    if not capabilities.v_answers:
        raise NotFound(f"The model `{model[:_LONGEST_NAME]}` answers no conversation.", param="model")
    changes = request.changes if capabilities.m_mid_system and capabilities.v_system_inside else None
    if changes is not None:
        request.tools[:] = changes.tools
    if request.defers:
        deferral.settle(request, False)
    if not capabilities.v_structured_outputs:
        outputs.say_schema(request)
    retention = request.take_setting("prompt_cache_retention")
    names = ToolMap(native_custom=False)
    content = ContentWriter(request, names, capabilities, long_cache=retention is not None and retention.value == "24h")
    tools = ToolsWriter(request, capabilities, names, content)
    tools.write_tools()
    tools.write_choice()
    body = write_turns(request, capabilities, content, () if changes is None else tools.changes(changes))
    request.ledger.carried(content.cited)
    tools.settle(bool(content.calls))
    body["inferenceConfig"] = {"maxTokens": _limit(request, capabilities)}
    if config := tools.config():
        body["toolConfig"] = config
    settings = _Settings(request, capabilities, body, tools)
    settings.write()
    _cache(request, capabilities, body, content)
    if capabilities.v_request_metadata:
        _metadata(request, body)
    request.ignore((*request.habits.endpoint, "safety_identifier"))
    if not content.marked and retention is not None:
        request.ledger.drop(retention.path)
    request.close(capabilities.region)
    return Encoded(body, names)


def _limit(request: Request, capabilities: Capabilities) -> int:
    """Always said: without it the service reserves the model's maximum against the quota."""
    setting = request.take_limit()
    most = capabilities.m_max_output if capabilities.v_reasoning == "thinking" else capabilities.v_max_output
    if setting is None:
        return min(most, _DEFAULT_LIMIT) if most else _UNKNOWN_LIMIT
    limit: int = setting.value
    if most and limit > most:
        request.ledger.adapt(setting.path, most)
        return most
    return limit


def _metadata(request: Request, body: dict[str, Any]) -> None:
    """The caller's metadata and user, as the service takes them."""
    user, metadata = request.take_setting("safety_identifier"), request.take_setting("metadata")
    entries: dict[str, str] = {}
    for setting, values in ((user, {"user": user and user.value}), (metadata, {} if metadata is None else metadata.value)):
        if setting is None:
            continue
        texts = [(name, value if isinstance(value, str) else jsontext.dumps(value).decode()) for name, value in values.items()]
        cleaned = {name: text for name, text in ((_cleaned(name), _cleaned(text)) for name, text in texts) if name}
        entries |= dict(list(cleaned.items())[: MOST_METADATA - len(entries)])
        if any(entries.get(name) != text for name, text in texts):
            request.ledger.adapt(setting.path)
    if entries:
        body["requestMetadata"] = entries


def _cleaned(text: str) -> str:
    return _NOT_METADATA.sub("", text)[:_LONGEST_METADATA]


def _cache(request: Request, capabilities: Capabilities, body: dict[str, Any], content: ContentWriter) -> None:
    """Keep at most as many cache points as the model takes, the last ones, and no long one behind a short one."""
    top: Cache | None = request.take("cache")
    if top is not None and capabilities.v_cache_points:
        content.mark(body["messages"][-1]["content"], top, ())
    options = request.take_setting("prompt_cache_options")
    if options is not None and not content.marked:
        request.ledger.drop(options.path)
    lists = [body.get("toolConfig", {}).get("tools", ()), body.get("system", ()), *(message["content"] for message in body["messages"])]
    order = [(blocks, block) for blocks in lists for block in blocks if "cachePoint" in block]
    paths = {id(point): path for point, path in content.marked}
    surplus = max(0, len(order) - capabilities.v_cache_points)
    gone = {id(point) for _, point in order[:surplus]}
    for blocks in {id(blocks): blocks for blocks, _ in order[:surplus]}.values():
        blocks[:] = [block for block in blocks if id(block) not in gone]
    for _, point in order[:surplus]:
        if paths[id(point)]:
            request.ledger.adapt(paths[id(point)])
    left = [point["cachePoint"] for _, point in order[surplus:]]
    last = max((n for n, point in enumerate(left) if "ttl" in point), default=-1)
    for point in left[: last + 1]:
        if "ttl" not in point:
            point["ttl"] = "1h"
            request.ledger.adapt((request.habits.turns_at,))


class _Settings:
    """Encodes the settings of one request into its body."""

    def __init__(self, request: Request, capabilities: Capabilities, body: dict[str, Any], tools: ToolsWriter) -> None:
        self._request = request
        self._ledger = request.ledger
        self._can = capabilities
        self._body = body
        self._config: dict[str, Any] = body["inferenceConfig"]
        self._tools = tools
        self._fields: dict[str, Any] = tools.fields  # additionalModelRequestFields
        self._claude = capabilities.v_reasoning == "thinking"
        self._thinks = False

    def write(self) -> None:
        self._thinking()
        self._output()
        self._sampling()
        self._stop()
        self._tier()
        for name, idle in (("verbosity", "medium"), ("store", False)):
            setting = self._request.settings.get(name)
            if setting is not None and (setting.value == idle or (name == "store" and not setting.value)):
                self._request.take(name)
        if self._thinks and self._tools.forced:
            self._ledger.adapt(self._request.path_of("tool_choice"), "auto")
            self._body["toolConfig"].pop("toolChoice", None)
            if "tool_choice" in self._fields:
                self._fields["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
        if not self._config:
            del self._body["inferenceConfig"]
        if self._fields:
            self._body["additionalModelRequestFields"] = self._fields

    # ---- reasoning ----

    def _thinking(self) -> None:
        thinking: Thinking | None = self._request.take("thinking")
        if thinking is None:
            self._thinks = self._claude and self._can.m_thinking == "adaptive_always"
        elif self._claude:
            self._claudes(thinking)
        else:
            self._efforts(thinking)

    def _efforts(self, thinking: Thinking) -> None:
        """The effort of a family with a member of its own."""
        if self._can.v_reasoning == "reasoningConfig":
            self._novas(thinking)
            return
        member = _EFFORT_AT.get(self._can.v_reasoning)
        if member is None:
            if thinking.level != "off":
                self._ledger.drop(thinking.path)
            return
        effort = openai_effort(self._request, thinking, self._can.v_effort_values)
        if effort is not None:
            inner: Any = effort
            for name in reversed(member):
                inner = {name: inner}
            self._fields |= inner

    def _novas(self, thinking: Thinking) -> None:
        """Off is the default. What the caller limits is worth more than the highest effort, which takes no limit."""
        if thinking.level == "off":
            return
        limited = "max_tokens" in self._request.taken or not self._request.settings.keys().isdisjoint(("temperature", "top_p", "top_k"))
        allowed = tuple(effort for effort in self._can.v_effort_values if not (limited and effort == _HIGH))
        if thinking.level == "adaptive" and thinking.effort is None:
            effort = nearest("medium", allowed)
            self._ledger.adapt(thinking.path, effort)
        else:
            effort = openai_effort(self._request, thinking, allowed)
        if effort is None:
            return
        self._fields["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": effort}
        if effort == _HIGH:
            del self._config["maxTokens"]

    def _claudes(self, thinking: Thinking) -> None:
        mode = self._can.m_thinking
        if mode == "none":
            if thinking.level != "off":
                self._ledger.drop(thinking.path)
        elif mode == "manual":
            self._budget(thinking)
        elif thinking.level == "off":
            if mode == "adaptive_always":
                self._thinks = True
                self._effort(thinking, "low", adapted=True)
            else:
                self._fields["thinking"] = {"type": "disabled"}
        else:
            self._thinks = True
            self._fields["thinking"] = {"type": "adaptive"} | display(self._request.habits, thinking)
            if thinking.level == "budget":
                self._effort(thinking, effort_of_budget(thinking.budget or 0), adapted=True)
            elif thinking.effort is not None:
                self._effort(thinking, thinking.effort)

    def _effort(self, thinking: Thinking, effort: str, adapted: bool = False) -> None:
        sent = claude_effort(self._request, thinking, effort, self._can.m_effort_values, adapted)
        if sent is None:
            return
        if self._can.v_effort_in == "output_config":
            self._body["outputConfig"] = {"effort": sent}
        else:
            self._fields["output_config"] = {"effort": sent}

    def _budget(self, thinking: Thinking) -> None:
        """A budget within the token limit; none where that is too small for both, or a tool is forced."""
        if thinking.level == "off":
            return
        wanted = claude_budget(thinking)
        if "max_tokens" not in self._request.taken:
            self._config["maxTokens"] = min(self._can.m_max_output, 8192 + wanted)
        budget = min(wanted, self._config["maxTokens"] - 1024)
        if budget < _LEAST_BUDGET or self._tools.forced:
            self._ledger.adapt(thinking.path)
            return
        if _calls_without_thought(self._body["messages"]):
            self._fields["thinking"] = {"type": "disabled"}
            self._ledger.adapt(thinking.path)
            return
        self._thinks = True
        self._fields["thinking"] = {"type": "enabled", "budget_tokens": budget}
        if thinking.level == "adaptive" or (thinking.level == "budget" and budget != wanted):
            self._ledger.adapt(thinking.path, budget)

    # ---- the rest ----

    def _output(self) -> None:
        output: OutputFormat | None = self._request.take("output")
        if output is None:
            return
        if output.kind != "json_schema" or output.schema is None or not self._can.v_structured_outputs:
            self._ledger.drop(output.path)
            return
        normal = schemas.norm(output.schema, output.path)
        schema = subsets.restricted(normal.schema, self._can.schema_subset) if self._can.schema_subset else normal.schema
        if normal.adapted or schema is not normal.schema:
            self._ledger.adapt(output.path)
        inner: dict[str, Any] = {"schema": jsontext.dumps(schema).decode()}
        for name in ("name", "description"):
            value = getattr(output, name)
            if value:
                inner[name] = value
        config: dict[str, Any] = self._body.setdefault("outputConfig", {})
        config["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": inner}}

    def _sampling(self) -> None:
        takes_both = self._can.m_sampling == "full" if self._claude else True
        none = self._can.m_sampling == "none" if self._claude else not self._can.v_sampling
        for name, member in (("temperature", "temperature"), ("top_p", "topP")):
            setting = self._request.settings.get(name)
            if setting is None:
                continue
            value = min(max(setting.value, 0), 1)
            if none or self._thinks or (member == "topP" and not takes_both and "temperature" in self._config):
                if setting.value == 1:
                    self._request.take(name)
                continue
            self._request.take(name)
            self._config[member] = value
            if value != setting.value:
                self._ledger.adapt(setting.path, value)
        if self._can.v_top_k == "none" or none or self._thinks or (top_k := self._request.take("top_k")) is None:
            return
        self._fields |= {"top_k": top_k} if self._can.v_top_k == "top_k" else {"inferenceConfig": {"topK": top_k}}

    def _stop(self) -> None:
        stops = self._request.take_stops()
        if stops:
            self._config["stopSequences"] = stops
            if self._claude:
                self._body["additionalModelResponseFieldPaths"] = ["/stop_sequence"]

    def _tier(self) -> None:
        """A tier without an equivalent stays in the request, and is thus reported."""
        messages = self._request.take("messages_tier")
        if messages == "standard_only":
            self._body["serviceTier"] = {"type": "default"}
        setting = self._request.settings.get("service_tier")
        if setting is None:
            return
        if setting.value in _TIERS:
            self._body["serviceTier"] = {"type": setting.value}
        elif setting.value != "auto":
            return
        self._request.take("service_tier")


def _calls_without_thought(messages: list[dict[str, Any]]) -> bool:
    """Whether the turn that is continued calls tools and does not start with thinking, as Claude requires while it thinks."""
    for message in reversed(messages):
        if message["role"] == "user" and not any("toolResult" in block for block in message["content"]):
            return False
        if message["role"] == "assistant" and any("toolUse" in block for block in message["content"]):
            return "reasoningContent" not in message["content"][0]
    return False
