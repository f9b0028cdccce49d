"""What a messages upstream refuses beside something else; how the rules are applied is in codecs/rules.py.

Source: Anthropic API reference, "Extended thinking" (feature compatibility), "Tool use", "Prompt caching".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .. import subsets
from ..capabilities import Capabilities
from ..rules import Draft, Rule, leave_out

_THOUGHTS = ("thinking", "redacted_thinking")
_LEAST_TOP_P = 0.95  # while the model thinks
_EFFORTS_OF_THOUGHT = ("xhigh", "max")  # not without thinking


@dataclass(slots=True)
class MessagesDraft(Draft):
    """mixed_marks: the cache marks have both lifetimes."""

    mixed_marks: bool = True

    @property
    def thinks(self) -> bool:
        return reasons(self.body, self.capabilities)

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


def reasons(body: dict[str, Any], capabilities: Capabilities) -> bool:
    """Whether a body asks the model to think, or the model always does."""
    thinking = body.get("thinking")
    asked = thinking.get("type") if isinstance(thinking, dict) else None
    return asked in ("enabled", "adaptive") or (asked is None and capabilities.m_thinking == "adaptive_always")


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


def calls_without_thought(body: dict[str, Any]) -> bool:
    """Whether a body asks for thinking within a budget, and calls that are being answered do not begin with a thought, as they must."""
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
    """The thoughts of the turn that goes on are gone: it was begun with another model, or the caller does not keep them."""
    if calls_without_thought(draft.body):
        draft.stop_thinking()


def bind_loosely(draft: MessagesDraft) -> None:
    """Where earlier thoughts are bound to all that stands before them, the provider is to leave out one whose prefix has changed.

    A translation cannot promise that a prefix stays: its caller may add a tool, or say something new in front.
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
    """A long cache mark may not follow a short one: the short ones before the last long one become long."""
    if not draft.mixed_marks:
        return
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
    Rule(lambda can: can.m_thinking == "manual", go_on_without_thinking),
    Rule(lambda can: can.m_thinking != "none", sample_beside_thinking),  # after what may stop it
    Rule(lambda can: can.m_block_binding, bind_loosely),
    Rule(lambda can: True, order_lifetimes),
)
