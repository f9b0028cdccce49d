"""A chat request as rules change it (rules_out.py, message_rules.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..capabilities import Capabilities
from ..rules import Draft

Message = dict[str, Any]


class ChatDraft(Draft):
    @property
    def messages(self) -> list[Message]:
        return self.all_of("messages")

    @property
    def functions(self) -> list[dict[str, Any]]:
        values = (tool.get("function") for tool in self.all_of("tools") if tool.get("type") == "function")
        return [function for function in values if isinstance(function, dict)]

    @property
    def reasons(self) -> bool:
        return reasons(self.body, self.capabilities)

    @property
    def asks_thinking(self) -> bool:
        """Whether the caller has said how much the model is to reason."""
        return ("reasoning_effort" in self.body or "thinking" in self.body) if self.own else "thinking" in self.request.taken

    def each_function(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
        """As `each`, of what stands in `tools`."""

        def changed(tool: dict[str, Any]) -> dict[str, Any]:
            before = tool.get("function")
            if tool.get("type") != "function" or not isinstance(before, dict) or (after := change(before)) is before:
                return tool
            return tool | {"function": after}

        return self.each("tools", changed)

    def each_message(self, change: Callable[[Message], Message]) -> bool:
        return self.each("messages", change)


def reasons(body: dict[str, Any], capabilities: Capabilities) -> bool:
    """Whether the model reasons when it is sent this body, as far as the settings in it tell."""
    when, effort = capabilities.c_reasons, body.get("reasoning_effort")
    thinking = body.get("thinking")
    switched_off = thinking == {"type": "disabled"} or body.get("enable_thinking") is False
    if isinstance(thinking, dict) and thinking.get("type") == "enabled" and capabilities.c_thinking_switch == "thinking":
        return True
    if when in ("never", "always"):
        return when == "always"
    if switched_off or (effort == "none" and (capabilities.c_thinking_switch == "none" or "none" in capabilities.c_effort_values)):
        return False
    return when == "unless_off" or effort is not None
