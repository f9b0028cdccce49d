"""Encode tools and tool choice for a responses upstream."""

from __future__ import annotations

from typing import Any

from .. import openai
from ..request import Request, Tool, ToolChoice
from ..tools import ToolMap, unfulfilled

WEB_SEARCH = "web_search"


class ToolsWriter:
    """Encodes `tools` and `tool_choice` of one request."""

    def __init__(self, request: Request, tools: ToolMap) -> None:
        self.tools: list[dict[str, Any]] = []
        self.choice: str | dict[str, Any] | None = None
        self._dropped: list[Tool] = []
        self._request = request
        self._map = tools

    # ---- definitions ----

    def write_tools(self) -> None:
        """Write the tools. Raises errors.Malformed for duplicate tool names."""
        for tool in self._request.tools:
            if tool.kind == "function":
                self.tools.append(self._function(tool))
            elif tool.kind == "custom":
                self.tools.append(self._custom(tool))
            elif tool.kind == "web_search":
                self.tools.append(self._web_search(tool))
            else:
                self._dropped.append(tool)
                self._request.ledger.drop(tool.path, tool.label or tool.kind)
        self._web_search_options()

    def _function(self, tool: Tool) -> dict[str, Any]:
        return {
            "type": "function",
            **self._named(tool),
            "parameters": {"type": "object", "properties": {}} if tool.schema is None else tool.schema,
            "strict": openai.strict(self._request, tool, True) or False,  # absence does not mean false here
        }

    def _named(self, tool: Tool) -> dict[str, Any]:
        named = {"name": self._map.declare(self._request, tool)}
        description = openai.description(self._request, tool)
        return named | {"description": description} if description else named

    def _custom(self, tool: Tool) -> dict[str, Any]:
        form = {"format": {"type": "grammar", **tool.grammar}} if tool.grammar else {}
        return {"type": "custom", **self._named(tool), **form}

    def _web_search(self, tool: Tool) -> dict[str, Any]:
        written: dict[str, Any] = {"type": WEB_SEARCH}
        for key, value in tool.search.items():
            if key in ("allowed_domains", "blocked_domains"):
                written.setdefault("filters", {})[key] = value
            elif key in ("user_location", "search_context_size"):
                written[key] = value
            else:
                self._request.ledger.drop((*tool.path, key))
        return written

    def _web_search_options(self) -> None:
        """Declare the web search for the chat shape's `web_search_options`."""
        setting = self._request.settings.get("web_search_options")
        if setting is None or not isinstance(setting.value, dict):
            return
        self._request.take("web_search_options")
        written: dict[str, Any] = {"type": WEB_SEARCH}
        self.tools.append(written | setting.value)

    # ---- choice ----

    def write_choice(self) -> None:
        """Write the tool choice, after the tools. Raises errors.Unsupported for a choice that cannot be fulfilled."""
        choice: ToolChoice | None = self._request.take("tool_choice")
        if choice is None:
            return
        if not self.tools:
            if choice.mode in ("required", "tool") or choice.required:
                raise unfulfilled(choice, self._dropped)
        elif choice.mode == "tool":
            self.choice = self._one(choice)
        elif choice.mode == "allowed":
            named = [self._reference(tool) for tool in self.tools if self._client_name(tool) in choice.names]
            self.choice = {"type": "allowed_tools", "mode": "required" if choice.required else "auto", "tools": named}
        else:
            self.choice = choice.mode

    def _one(self, choice: ToolChoice) -> dict[str, Any]:
        for tool in self.tools:
            if ("name" in tool) != (choice.kind == "hosted") and self._client_name(tool) == choice.name:
                return self._reference(tool)
        raise unfulfilled(choice, self._dropped)

    def _client_name(self, tool: dict[str, Any]) -> str:
        """The client's name of a written tool."""
        return self._map.restore(tool["name"]).name if "name" in tool else str(tool["type"])

    def _reference(self, tool: dict[str, Any]) -> dict[str, Any]:
        return {key: tool[key] for key in ("type", "name") if key in tool}
