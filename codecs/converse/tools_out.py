"""Encode tools and tool choice for Converse."""

from __future__ import annotations

import re
from typing import Any

from .. import schema as schemas
from .. import subsets
from ..capabilities import Capabilities
from ..ledger import Path
from ..request import Request, Tool, ToolChanges, ToolChoice
from ..tools import ToolMap, as_function, is_limited, unfulfilled
from .content_out import Block, ContentWriter

_MOST_STRICT = 20  # tools of one request, of Claude
_CODE = re.compile(r"code_interpreter|code_execution_\d{8}|codeExecution")  # the type of a tool that runs code, in the callers' APIs
UNUSED = "unused"  # the name of a tool that stands for none
_NO_TOOL = "There are no tools. Do not call this one."


class ToolsWriter:
    """Encodes `toolConfig` of one request. fields: members of `additionalModelRequestFields`."""

    def __init__(self, request: Request, capabilities: Capabilities, tools: ToolMap, writer: ContentWriter) -> None:
        self.fields: dict[str, Any] = {}
        self.forced = False
        self._tools: list[Block] = []
        self._choice: dict[str, Any] | None = None
        self._none: ToolChoice | None = None  # the caller's, that no tool is called
        self._dropped: list[Tool] = []
        self._request = request
        self._can = capabilities
        self._map = tools
        self._content = writer
        self._strict = 0
        self._room = schemas.Room()
        self._offered: set[str] = set()  # tools of the service's own

    def changes(self, changes: ToolChanges) -> list[tuple[Path, Block]]:
        """The blocks that tell changes of the tools within the conversation, each with the path of the change."""
        return [(path, {"toolAddition" if added else "toolRemoval": {"tool": self._reference(tool)}}) for added, tool, path in changes.made]

    def _reference(self, tool: Tool) -> Block:
        return {"type": "tool_reference", "name": self._map.wire(tool.name, tool.namespace)}

    def config(self) -> dict[str, Any]:
        """`toolConfig`; empty if there is no tool."""
        if not self._tools:
            return {}
        return {"tools": self._tools} | ({"toolChoice": self._choice} if self._choice is not None else {})

    def write_tools(self) -> None:
        """Write the tools. Raises errors.Malformed for duplicate tool names."""
        for tool in self._request.tools:
            if tool.kind == "web_search" and self._can.v_web_search and not is_limited(tool):
                at = self._request.habits.search_at
                self._search({(*tool.path, *at.get(name, (name,))): value for name, value in tool.search.items()})
            elif tool.kind == "hosted" and self._can.v_code and _CODE.fullmatch(tool.label):
                self._offer(self._can.v_code)
            elif tool.kind not in ("function", "custom"):
                self._dropped.append(tool)
                self._request.ledger.drop(tool.path, tool.label or tool.kind)
            else:
                self._tools.append({"toolSpec": self._spec(tool)})
                if tool.cache is not None and self._can.v_cache_tools:
                    self._content.mark(self._tools, tool.cache, tool.path)
        options = self._request.settings.get("web_search_options")  # of the chat shape
        if options is not None and self._can.v_web_search:
            self._request.take("web_search_options")
            members = options.value.items() if isinstance(options.value, dict) else ()
            self._search({(*options.path, name): value for name, value in members})

    def _search(self, wishes: dict[Path, Any]) -> None:
        """Offer the service's own search of the web, which takes no wishes. wishes: by their paths."""
        self._offer(self._can.v_web_search)
        for path, value in wishes.items():
            if value not in (None, [], "medium"):
                self._request.ledger.drop(path)

    def _offer(self, name: str) -> None:
        """Offer a tool of the service's own."""
        if name not in self._offered:
            self._offered.add(name)
            self._tools.append({"systemTool": {"name": name}})

    def settle(self, used: bool) -> None:
        """Adjust the tools to the turns, after both are written. used: the history holds calls, for which Converse requires tools."""
        if self._none is not None:
            self._call_none(self._none, used)
        if used and not self._tools:
            self._tools = [
                {"toolSpec": {"name": UNUSED, "description": _NO_TOOL, "inputSchema": {"json": {"type": "object", "properties": {}}}}}
            ]
            self._map.placeholder = UNUSED
            if self._can.v_reasoning == "thinking":
                self.fields["tool_choice"] = {"type": "none"}
            self._request.ledger.adapt(("tools",))

    def _spec(self, tool: Tool) -> dict[str, Any]:
        name = self._map.declare(self._request, tool)
        description, schema = as_function(tool)
        spec: dict[str, Any] = {"name": name} | ({"description": description} if description else {})
        restricted = subsets.restricted(schema, self._can.schema_subset, self._room) if self._can.schema_subset else schema
        if restricted is not schema:
            self._request.ledger.adapt(tool.path)
        spec["inputSchema"] = {"json": restricted}
        if tool.examples:
            self._request.ledger.drop((*tool.path, "input_examples"))
        if tool.kind == "function" and self._is_strict(tool, schema):
            spec["strict"] = True
        return spec

    def _is_strict(self, tool: Tool, schema: dict[str, Any]) -> bool:
        if tool.strict is False or not (tool.strict or self._request.habits.strict_by_default):
            return False
        if self._can.v_structured_outputs and self._strict < _MOST_STRICT and schemas.is_compliant(schema):
            self._strict += 1
            return True
        if tool.strict:
            self._request.ledger.drop((*tool.path, *tool.inside, "strict"))
        return False

    # ---- choice ----

    def write_choice(self) -> None:
        """Write the tool choice, after the tools. Raises errors.Unsupported for a choice that cannot be fulfilled."""
        choice: ToolChoice | None = self._request.take("tool_choice")
        parallel = self._request.take_setting("parallel_tool_calls")
        if choice is not None:
            self._choose(choice)
        if parallel is None or parallel.value is not False or not self._tools or self._none is not None:
            return
        if self._can.v_reasoning != "thinking":
            self._request.ledger.drop(parallel.path)
        elif "tool_choice" not in self.fields:  # both at once are refused
            kind = next(iter(self._choice), "auto") if self._choice else "auto"
            named = {"name": self._choice["tool"]["name"]} if self._choice and kind == "tool" else {}
            self.fields["tool_choice"] = {"type": kind, **named, "disable_parallel_tool_use": True}
            self._choice = None

    def _choose(self, choice: ToolChoice) -> None:
        if choice.mode == "allowed":
            allowed = set(choice.names)
            self._tools = [tool for tool in self._tools if self._restored(tool) in allowed]
            self._map.allow(tool["toolSpec"]["name"] for tool in self._tools if "toolSpec" in tool)
            self._request.ledger.adapt(choice.path)
        must = choice.mode in ("required", "tool") or (choice.mode == "allowed" and choice.required)
        if not self._tools:
            if must:
                raise unfulfilled(choice, self._dropped)
            return
        named = self._named(choice) if choice.mode == "tool" else ""
        if choice.mode == "none":
            self._none = choice
        elif must and (not self._can.v_tool_choice or not self._can.m_forced_tools):
            if named:
                self._tools = [tool for tool in self._tools if tool.get("toolSpec", {}).get("name") == named]
            self._request.ledger.adapt(choice.path, "auto")
        elif must:
            self.forced = True
            self._choice = {"tool": {"name": named}} if named else {"any": {}}

    def _call_none(self, choice: ToolChoice, used: bool) -> None:
        """No tool is offered; where the history holds calls Claude is told to call none, and a call of another model is left out."""
        self._tools = [tool for tool in self._tools if used and "systemTool" not in tool]
        if used and self._can.v_reasoning == "thinking":
            self.fields["tool_choice"] = {"type": "none"}
        elif used:
            self._map.allow(())
            self._request.ledger.adapt(choice.path)

    def _named(self, choice: ToolChoice) -> str:
        for tool in self._tools:
            name: str = tool.get("toolSpec", {}).get("name", "")
            if name and choice.kind != "hosted" and choice.name in (name, self._map.restore(name).name):
                return name
        raise unfulfilled(choice, self._dropped)

    def _restored(self, tool: Block) -> str:
        name = tool.get("toolSpec", {}).get("name", "")
        return self._map.restore(name).name if name else ""
