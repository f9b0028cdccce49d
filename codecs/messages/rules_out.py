"""What a messages upstream refuses beside something else; how the rules are applied is in codecs/rules.py.

Source: Anthropic API reference, "Extended thinking" (feature compatibility), "Tool use", "Prompt caching".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import subsets
from ..rules import Draft, Rule, leave_out

_LEAST_TOP_P = 0.95  # while the model thinks
_EFFORTS_OF_THOUGHT = ("xhigh", "max")  # not without thinking


class MessagesDraft(Draft):
    @property
    def thinks(self) -> bool:
        """Whether the body asks the model to think, or the model always does."""
        asked = self.body.get("thinking", {}).get("type")
        return asked in ("enabled", "adaptive") or (asked is None and self.capabilities.m_thinking == "adaptive_always")

    @property
    def forced(self) -> bool:
        return self.body.get("tool_choice", {}).get("type") in ("any", "tool")

    def stop_thinking(self) -> None:
        """What the caller asks beside thinking rules it out, and cannot be had otherwise."""
        if "thinking" not in self.body:
            return
        self.body["thinking"] = {"type": "disabled"}
        if self.body.get("output_config", {}).get("effort") in _EFFORTS_OF_THOUGHT:
            self.body["output_config"]["effort"] = "high"
        self.adapt("thinking")


def choose_tool(draft: MessagesDraft) -> None:
    """Some models take no forced tool: only the named one is offered, and the choice is the model's."""
    if not draft.forced:
        return
    choice = draft.body["tool_choice"]
    if choice["type"] == "tool":
        draft.body["tools"] = [tool for tool in draft.body["tools"] if tool["name"] == choice["name"]]
    draft.body["tool_choice"] = {key: value for key, value in choice.items() if key != "name"} | {"type": "auto"}
    draft.adapt("tool_choice", "auto")


def force_without_thinking(draft: MessagesDraft) -> None:
    if draft.forced and draft.thinks:
        draft.stop_thinking()


def prefill_without_thinking(draft: MessagesDraft) -> None:
    messages = draft.body["messages"]
    if messages and messages[-1]["role"] == "assistant" and draft.thinks:
        draft.stop_thinking()


def sample_beside_thinking(draft: MessagesDraft) -> None:
    if not draft.thinks:
        return
    if draft.body.get("temperature", 1) != 1:
        draft.drop("temperature")
    if draft.body.get("top_p", 1) < _LEAST_TOP_P:
        draft.drop("top_p")
    draft.drop("top_k")


def restrict_schemas(draft: MessagesDraft) -> None:
    for tool in draft.body.get("tools", ()):
        schema = tool.get("input_schema")
        if isinstance(schema, dict):
            tool["input_schema"] = subsets.restricted(schema, draft.capabilities.schema_subset)
            if tool["input_schema"] is not schema:
                draft.request.ledger.adapt(("tools",))


def order_lifetimes(draft: MessagesDraft) -> None:
    """A long cache mark may not follow a short one: the short ones before the last long one become long."""
    marks = [mark for name in ("tools", "system", "messages") for mark in _marks(draft.body.get(name))]
    last = max((n for n, mark in enumerate(marks) if mark.get("ttl") == "1h"), default=0)
    for mark in marks[:last]:
        if mark.get("ttl") != "1h":
            mark["ttl"] = "1h"
            draft.request.ledger.adapt(draft.history)


def _marks(value: Any) -> Iterator[dict[str, Any]]:
    """Cache marks in their order."""
    if isinstance(value, list):
        for one in value:
            yield from _marks(one)
    elif isinstance(value, dict):
        yield from _marks(value.get("content"))
        if isinstance(value.get("cache_control"), dict):
            yield value["cache_control"]


RULES: tuple[Rule[MessagesDraft], ...] = (
    Rule(lambda can: bool(can.leave_out), leave_out),
    Rule(lambda can: bool(can.schema_subset), restrict_schemas),
    Rule(lambda can: not can.m_forced_tools, choose_tool),
    Rule(lambda can: can.m_thinking != "none", force_without_thinking),
    Rule(lambda can: can.m_thinking != "none", prefill_without_thinking),
    Rule(lambda can: can.m_thinking != "none", sample_beside_thinking),  # after what may stop it
    Rule(lambda can: True, order_lifetimes),
)
