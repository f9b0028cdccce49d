"""Rules for what a messages upstream refuses in combination; codecs/rules.py applies them.

Source: Anthropic API reference, "Extended thinking" (feature compatibility), "Tool use", "Prompt caching".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import subsets
from ..capabilities import Capabilities
from ..rules import Draft, Rule, leave_out

_THOUGHTS = ("thinking", "redacted_thinking")
_LEAST_TOP_P = 0.95  # the lowest top_p allowed while the model thinks
_EFFORTS_OF_THOUGHT = ("xhigh", "max")  # only allowed with thinking


class MessagesDraft(Draft):
    @property
    def thinks(self) -> bool:
        return reasons(self.body, self.capabilities)

    @property
    def forced(self) -> bool:
        return self.body.get("tool_choice", {}).get("type") in ("any", "tool")

    def stop_thinking(self) -> None:
        """Disable thinking, because another request of the caller excludes it and has no alternative."""
        if "thinking" not in self.body:
            return
        self.body["thinking"] = {"type": "disabled"}
        if self.body.get("output_config", {}).get("effort") in _EFFORTS_OF_THOUGHT:
            self.body["output_config"]["effort"] = "high"
        self.adapt("thinking")


def reasons(body: dict[str, Any], capabilities: Capabilities) -> bool:
    """Whether the body enables thinking, or the model always thinks."""
    thinking = body.get("thinking")
    asked = thinking.get("type") if isinstance(thinking, dict) else None
    return asked in ("enabled", "adaptive") or (asked is None and capabilities.m_thinking == "adaptive_always")


def choose_tool(draft: MessagesDraft) -> None:
    """Replace a forced tool, which some models refuse: only the named tool is offered and the choice is left to the model."""
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


def calls_without_thought(body: dict[str, Any]) -> bool:
    """Whether thinking with a budget is enabled and the turn being continued does not start with thinking, as the API requires."""
    if (body.get("thinking") or {}).get("type") != "enabled":
        return False
    for message in reversed(body["messages"]):
        content = message["content"]
        kinds = [block.get("type") for block in content] if isinstance(content, list) else ["text"]
        if message["role"] == "user" and "tool_result" not in kinds:
            return False
        if message["role"] == "assistant" and "tool_use" in kinds and kinds[0] not in _THOUGHTS:
            return True
    return False


def go_on_without_thinking(draft: MessagesDraft) -> None:
    """Disable thinking if that of the continued turn is missing: another model began it, or the caller does not store it."""
    if calls_without_thought(draft.body):
        draft.stop_thinking()


def bind_loosely(draft: MessagesDraft) -> None:
    """If earlier thinking is bound to its prefix, let the provider drop a block whose prefix has changed.

    A translation cannot guarantee a stable prefix: the caller may add a tool or insert text before it.
    """
    thought = any(block.get("type") in _THOUGHTS for message in draft.body["messages"] for block in _blocks(message))
    if thought and draft.thinks:
        draft.body["thinking"] = draft.body.get("thinking", {"type": "adaptive"}) | {"block_binding": "drop_block"}


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    return message["content"] if isinstance(message["content"], list) else []


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
    """Make short-lived breakpoints before the last long-lived one long-lived: a long one may not follow a short one."""
    marks = [mark for name in ("tools", "system", "messages") for mark in _marks(draft.body.get(name))]
    last = max((n for n, mark in enumerate(marks) if mark.get("ttl") == "1h"), default=0)
    for mark in marks[:last]:
        if mark.get("ttl") != "1h":
            mark["ttl"] = "1h"
            draft.request.ledger.adapt(draft.history)


def _marks(value: Any) -> Iterator[dict[str, Any]]:
    """The cache breakpoints, in order."""
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
    Rule(lambda can: can.m_thinking == "manual", go_on_without_thinking),
    Rule(lambda can: can.m_thinking != "none", sample_beside_thinking),  # after the rules that may disable thinking
    Rule(lambda can: can.m_block_binding, bind_loosely),
    Rule(lambda can: True, order_lifetimes),
)
