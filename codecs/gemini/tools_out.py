"""Encode tools and tool choice for a gemini upstream."""

from __future__ import annotations

from typing import Any

from ..capabilities import Capabilities
from ..request import Request, Tool, ToolChoice
from ..schema import Room
from ..tools import INPUT_SCHEMA, ToolMap, described, is_limited, unfulfilled
from . import schema_out


class ToolsWriter:
    """Encodes `tools` and `toolConfig` of one request. declared: the names of the functions, as the upstream knows them."""

    def __init__(self, request: Request, capabilities: Capabilities, tools: ToolMap) -> None:
        self.declarations: list[dict[str, Any]] = []
        self._searches: list[dict[str, Any]] = []
        self._config: dict[str, Any] = {}
        self._dropped: list[Tool] = []
        self._request = request
        self._ledger = request.ledger
        self._capabilities = capabilities
        self._map = tools
        self._room = Room()
        self._may_search = capabilities.g_tools_mixed or not any(tool.kind in ("function", "custom") for tool in request.tools)
        self._sayable = ("blocked_domains",) if capabilities.g_server == "vertex" else ()

    def write(self) -> dict[str, Any]:
        """The members `tools` and `toolConfig`. Raises errors.Malformed for duplicate names, errors.Unsupported for what must be called
        and cannot be."""
        for tool in self._request.tools:
            self._add(tool)
        self._search_options()
        choice: ToolChoice | None = self._request.take("tool_choice")
        if self._request.settings.get("parallel_tool_calls", (True,))[0] is True:
            self._request.take("parallel_tool_calls")
        if choice is not None:
            self._choose(choice)
        self._be_strict()
        body: dict[str, Any] = {}
        functions = [{"functionDeclarations": self.declarations}] if self.declarations else []
        if functions or self._searches:
            body["tools"] = [*functions, *self._searches]
        if functions and self._searches and self._capabilities.g_server == "developer":
            self._config["includeServerSideToolInvocations"] = True
        if self._config:
            body["toolConfig"] = self._config
        return body

    # ---- definitions ----

    def _add(self, tool: Tool) -> None:
        if tool.kind in ("function", "custom"):
            self.declarations.append(self._declaration(tool))
        elif tool.kind == "web_search" and not self._searches and self._may_search and not is_limited(tool, *self._sayable):
            self._searches.append({"googleSearch": self._search(tool)})
        else:
            self._dropped.append(tool)
            self._ledger.drop(tool.path, tool.label or tool.kind)

    def _declaration(self, tool: Tool) -> dict[str, Any]:
        written: dict[str, Any] = {"name": self._map.declare(self._request, tool)}
        description = tool.description or ""
        schema = tool.schema
        if tool.kind == "custom":
            description = described(tool)
            schema = INPUT_SCHEMA
        if tool.examples:
            self._ledger.drop((*tool.path, "input_examples"))
        if description:
            written["description"] = description
        if schema is None:
            return written
        path = (*tool.path, *tool.inside)
        if self._capabilities.g_json_schema:
            converted, key = schema_out.to_json(schema, path, self._room), "parametersJsonSchema"
        else:
            converted, key = schema_out.to_classic(schema, path, self._capabilities.g_integer_enums, self._room), "parameters"
        if converted.schema is not None:
            written[key] = converted.schema
        if converted.adapted:
            self._ledger.adapt(tool.path)
        return written

    def _search(self, tool: Tool) -> dict[str, Any]:
        written: dict[str, Any] = {}
        at = self._request.habits.search_at
        for name, value in tool.search.items():
            if name in self._sayable:
                written["excludeDomains"] = value
            elif value not in (None, [], "medium"):
                self._ledger.drop((*tool.path, *at.get(name, (name,))))
        return written

    def _search_options(self) -> None:
        """Declare the search for the chat shape's `web_search_options`."""
        setting = self._request.take_setting("web_search_options")
        if setting is None:
            return
        if not self._may_search:
            self._ledger.drop(setting.path)
            return
        self._searches.append({"googleSearch": {}})
        for name, value in setting.value.items() if isinstance(setting.value, dict) else ():
            if value not in (None, "medium"):
                self._ledger.drop((*setting.path, name))

    # ---- choice ----

    def _choose(self, choice: ToolChoice) -> None:
        must = choice.mode in ("required", "tool") or (choice.mode == "allowed" and choice.required)
        hosted = choice.mode == "tool" and choice.kind == "hosted"
        if hosted and self._searches and not self.declarations and choice.name.startswith("web_search"):
            self._ledger.adapt(choice.path)  # the model searches as it sees fit
            return
        if not self.declarations:
            if must:
                raise unfulfilled(choice, self._dropped)
            return
        if choice.mode == "none":
            self._mode("NONE")
        elif choice.mode == "required":
            self._mode("ANY")
        elif choice.mode == "tool":
            names = [] if hosted else self._named((choice.name,))
            if not names:
                raise unfulfilled(choice, self._dropped)
            self._mode("ANY", names)
        elif choice.mode == "allowed":
            self._allow(choice)

    def _allow(self, choice: ToolChoice) -> None:
        names = self._named(choice.names)
        if choice.required:
            if not names:
                raise unfulfilled(choice, self._dropped)
            self._mode("ANY", names)
        elif names and self._capabilities.g_validated:
            self._mode("VALIDATED", names)
        else:
            allowed = frozenset(names)
            self.declarations = [each for each in self.declarations if each["name"] in allowed]
            self._ledger.adapt(choice.path)
        if not any(name.startswith("web_search") for name in choice.names):
            self._searches = []
        self._map.allow(names)

    def _named(self, names: tuple[str, ...]) -> list[str]:
        """The upstream's names of the declared functions that the caller calls so."""
        known = frozenset(names)
        return [each["name"] for each in self.declarations if each["name"] in known or self._map.restore(each["name"]).name in known]

    def _mode(self, mode: str, names: list[str] | None = None) -> None:
        config: dict[str, Any] = {"mode": mode}
        if names is not None:
            config["allowedFunctionNames"] = names
        self._config["functionCallingConfig"] = config

    def _be_strict(self) -> None:
        """Have arguments follow their schemas, if a function asks for it: of all functions, and where the model may choose."""
        strict = [tool for tool in self._request.tools if tool.kind == "function" and tool.strict]
        if not strict or not self.declarations or "functionCallingConfig" in self._config:
            return
        if self._capabilities.g_validated:
            self._mode("VALIDATED")
            return
        for tool in strict:
            self._ledger.drop((*tool.path, *tool.inside, "strict"))
