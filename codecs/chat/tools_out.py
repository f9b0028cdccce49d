"""Encode tools and tool choice for a chat upstream."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from .. import openai
from ..capabilities import Capabilities
from ..request import Request, Tool, ToolChoice
from ..tools import INPUT_SCHEMA, ToolMap, described, is_limited, unfulfilled


class ToolsWriter:
    """Encodes `tools`, `tool_choice` and related members."""

    def __init__(self, request: Request, capabilities: Capabilities, tools: ToolMap) -> None:
        self._request = request
        self._ledger = request.ledger
        self._capabilities = capabilities
        self._map = tools
        self._tools: list[dict[str, Any]] = []
        self._dropped: list[Tool] = []

    def write(self, body: dict[str, Any]) -> None:
        """Raises errors.Malformed for duplicate tool names, errors.Unsupported for a choice that cannot be fulfilled."""
        for tool in self._request.tools:
            self._add(tool, body)
        choice: ToolChoice | None = self._request.take("tool_choice")
        chosen = None if choice is None else self._choose(choice)
        parallel = self._request.take("parallel_tool_calls")
        if self._tools:
            body["tools"] = self._tools
            if chosen is not None:
                body["tool_choice"] = chosen
            if parallel is False:
                body["parallel_tool_calls"] = False

    # ---- definitions ----

    def _add(self, tool: Tool, body: dict[str, Any]) -> None:
        if tool.kind == "function":
            self._tools.append({"type": "function", "function": self._function(tool)})
        elif tool.kind == "custom":
            self._tools.append(self._custom(tool))
        elif tool.kind == "web_search" and self._capabilities.c_web_search and not is_limited(tool):
            body["web_search_options"] = self._search(tool)
        else:
            self._dropped.append(tool)
            self._ledger.drop(tool.path, tool.label or tool.kind)

    def _function(self, tool: Tool) -> dict[str, Any]:
        written: dict[str, Any] = {"name": self._map.declare(self._request, tool)}
        description = openai.description(self._request, tool)
        if description:
            written["description"] = description
        if tool.schema is not None:
            written["parameters"] = tool.schema
        strict = openai.strict(self._request, tool, self._capabilities.c_strict_tools)
        if strict is not None:
            written["strict"] = strict
        return written

    def _custom(self, tool: Tool) -> dict[str, Any]:
        written: dict[str, Any] = {"name": self._map.declare(self._request, tool)}
        native = self._capabilities.c_custom_tools
        description = tool.description or "" if native else described(tool)
        if description:
            written["description"] = description
        if not native:
            return {"type": "function", "function": written | {"parameters": INPUT_SCHEMA}}
        if tool.grammar is not None:
            written["format"] = {"type": "grammar", "grammar": dict(tool.grammar)}
        return {"type": "custom", "custom": written}

    def _search(self, tool: Tool) -> dict[str, Any]:
        search = dict(tool.search)
        options: dict[str, Any] = {}
        size, location = search.pop("search_context_size", None), search.pop("user_location", None)
        if size is not None:
            options["search_context_size"] = size
        if isinstance(location, dict):
            place = {key: value for key, value in location.items() if key != "type" and value is not None}
            options["user_location"] = {"type": "approximate", "approximate": place}
        for key in search:
            self._ledger.drop((*tool.path, *self._request.habits.search_at.get(key, (key,))))
        return options

    # ---- choice ----

    def _choose(self, choice: ToolChoice) -> Any:
        if choice.mode == "allowed":
            return self._allow(choice)
        if not self._tools:
            self._must_not(choice.mode in ("required", "tool"), choice)
            return None
        return self._named(choice) if choice.mode == "tool" else choice.mode

    def _must_not(self, must: bool, choice: ToolChoice) -> None:
        if must:
            raise unfulfilled(choice, self._dropped)

    def _allow(self, choice: ToolChoice) -> Any:
        """Restrict the choice to some of the tools; if the upstream does not support that, remove the others."""
        names = frozenset(choice.names)
        chosen = [tool for tool in self._tools if self._is_named(tool, names)]
        self._map.allow(map(_name, chosen))
        mode = "required" if choice.required else "auto"
        if chosen and self._capabilities.c_allowed_tools:
            allowed = [{"type": tool["type"], tool["type"]: {"name": _name(tool)}} for tool in chosen]
            return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}
        self._tools = chosen
        self._ledger.adapt(choice.path)
        if not chosen:
            self._must_not(choice.required, choice)
        return mode

    def _named(self, choice: ToolChoice) -> dict[str, Any]:
        chosen = next((tool for tool in self._tools if choice.kind != "hosted" and self._is_named(tool, {choice.name})), None)
        if chosen is None:
            raise unfulfilled(choice, self._dropped)
        return {"type": chosen["type"], chosen["type"]: {"name": _name(chosen)}}

    def _is_named(self, tool: dict[str, Any], names: Set[str]) -> bool:
        return _name(tool) in names or self._map.restore(_name(tool)).name in names


def _name(tool: dict[str, Any]) -> str:
    name: str = tool[tool["type"]]["name"]
    return name
