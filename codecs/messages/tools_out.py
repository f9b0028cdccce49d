"""Encode tools and tool choice for a messages upstream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import schema as schemas
from ..capabilities import Capabilities
from ..errors import Malformed
from ..ledger import Path, concrete
from ..request import Request, Tool, ToolChoice
from ..tools import ToolMap, as_function, unfulfilled
from .content_out import ContentWriter

WEB_SEARCH = "web_search"
_TOOL_SEARCH = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}


class ToolsWriter:
    """Encodes `tools` and `tool_choice` of one request."""

    def __init__(self, request: Request, capabilities: Capabilities, tools: ToolMap, writer: ContentWriter) -> None:
        self.tools: list[dict[str, Any]] = []
        self.choice: dict[str, Any] | None = None
        self._dropped: list[Tool] = []
        self._request = request
        self._capabilities = capabilities
        self._map = tools
        self._content = writer

    # ---- definitions ----

    def write_tools(self) -> None:
        """Write the tools. Raises errors.Malformed for duplicate tool names."""
        for tool in self._request.tools:
            if tool.kind in ("function", "custom"):
                self._add(tool, self._client_tool(tool))
            elif tool.kind == "web_search" and self._capabilities.m_web_search:
                self._add(tool, self._web_search(tool))
            elif tool.kind == "tool_search":
                self.tools.append(dict(_TOOL_SEARCH))
            else:
                self._dropped.append(tool)
                self._request.ledger.drop(tool.path, tool.label or tool.kind)
        if self._capabilities.m_web_search:
            self._web_search_options()

    def write_stubs(self, names: Iterable[str]) -> None:
        """Declare the tools called in the history, and forbid calls, for upstreams that refuse a history of calls without tools."""
        if self._capabilities.m_tools_required_with_history and not self.tools:
            self.tools = [{"name": name, "input_schema": {"type": "object"}} for name in names]
            if self.tools:
                self.choice = {"type": "none"}

    def _add(self, tool: Tool, written: dict[str, Any]) -> None:
        self._append(written, tool.path)
        if tool.cache is not None:
            self._content.mark(written, tool.cache, tool.path)

    def _append(self, written: dict[str, Any], path: Path) -> None:
        """Add a tool. Client tools have distinct names already; the search's name may collide with one."""
        if written["name"] == WEB_SEARCH and any(tool["name"] == WEB_SEARCH for tool in self.tools):
            param = concrete((*path, "name"))
            raise Malformed(f"two tools have the name {WEB_SEARCH!r}", code="invalid_request_error", param=param)
        self.tools.append(written)

    def _client_tool(self, tool: Tool) -> dict[str, Any]:
        name = self._map.declare(self._request, tool)
        description, schema = as_function(tool)
        written: dict[str, Any] = {"name": name}
        if description:
            written["description"] = description
        written["input_schema"] = schema
        if tool.examples:
            written["input_examples"] = tool.examples
        if tool.kind == "function" and self._is_strict(tool, schema):
            written["strict"] = True
        if tool.deferred:
            written["defer_loading"] = True
        return written

    def _is_strict(self, tool: Tool, schema: dict[str, Any]) -> bool:
        """Whether the tool is strict: as requested, else the default of the caller's API, if the provider accepts the schema unchanged."""
        default = self._request.habits.strict_by_default
        if tool.strict is False or not (tool.strict or default):
            return False
        if self._capabilities.m_strict_tools and schemas.is_compliant(schema):
            return True
        if tool.strict:
            self._request.ledger.drop((*tool.path, *tool.inside, "strict"))
        return False

    def _web_search(self, tool: Tool) -> dict[str, Any]:
        search = dict(tool.search)
        if search.pop("search_context_size", None) not in (None, "medium"):
            self._request.ledger.drop((*tool.path, "search_context_size"))
        return self._searching(search)

    def _web_search_options(self) -> None:
        """Declare the web search for the chat shape's `web_search_options`."""
        setting = self._request.take_setting("web_search_options")
        options = setting.value if setting is not None else None
        if setting is None or not isinstance(options, dict):
            return
        if options.get("search_context_size") not in (None, "medium"):
            self._request.ledger.drop((*setting.path, "search_context_size"))
        search = {key: options[key] for key in ("user_location",) if key in options}
        self._append(self._searching(search), setting.path)

    def _searching(self, search: dict[str, Any]) -> dict[str, Any]:
        return {"type": self._capabilities.m_web_search, "name": WEB_SEARCH, **search}

    # ---- choice ----

    def write_choice(self) -> None:
        """Write the tool choice, after the tools. Raises errors.Unsupported for a choice that cannot be fulfilled."""
        choice: ToolChoice | None = self._request.take("tool_choice")
        parallel = self._request.take("parallel_tool_calls")
        if choice is not None:
            self._choose(choice)
        if parallel is False and self.tools:
            self.choice = self.choice or {"type": "auto"}
            if self.choice["type"] != "none":
                self.choice["disable_parallel_tool_use"] = True

    def _choose(self, choice: ToolChoice) -> None:
        if choice.mode == "allowed":
            self._allow(choice)
        must = choice.mode in ("required", "tool") or (choice.mode == "allowed" and choice.required)
        if not self.tools:
            if must:
                raise unfulfilled(choice, self._dropped)
        elif choice.mode == "tool":
            self.choice = {"type": "tool", "name": self._named(choice)}
        else:
            self.choice = {"type": "any" if must else "none" if choice.mode == "none" else "auto"}

    def _allow(self, choice: ToolChoice) -> None:
        """Remove the tools that the choice excludes: this shape cannot name several."""
        allowed = {WEB_SEARCH if name.startswith(WEB_SEARCH) else name for name in choice.names}
        self.tools = [tool for tool in self.tools if tool["name"] in allowed or self._map.restore(tool["name"]).name in allowed]
        self._map.allow(tool["name"] for tool in self.tools)
        self._request.ledger.adapt(choice.path)

    def _named(self, choice: ToolChoice) -> str:
        hosted = choice.kind == "hosted"
        name = choice.name if not hosted else WEB_SEARCH if choice.name.startswith(WEB_SEARCH) else ""
        for tool in self.tools:
            written: str = tool["name"]
            if hosted == ("type" in tool) and name in (written, self._map.restore(written).name):
                return written
        raise unfulfilled(choice, self._dropped)
