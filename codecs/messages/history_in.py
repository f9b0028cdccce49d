"""Apply the mid-conversation changes of a messages client's history.

A system message may add and remove tools, change the effort, and clear itself; a compaction block replaces everything before it.
Other shapes have one list of tools, one effort and all turns: the values are those at the end of the history.
Source: Anthropic API reference, "Mid-conversation system messages", "Tool changes", "Compaction".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..compaction import as_message
from ..fields import Fields, invalid, missing, wrong_type
from ..ledger import Path
from ..reasoning import hand_over
from ..request import Part, ReasoningPart, Request, TextPart, Tool, ToolChanges, Turn
from .content_in import decode_block, decode_content, usual_block

_ROLES = frozenset({"user", "assistant", "system"})
_CHANGES = frozenset({"tool_addition", "tool_removal"})


class _Change(NamedTuple):
    """deferred: whether the tool was, before it was added."""

    added: bool
    tool: Tool
    path: Path
    deferred: bool


class History:
    """Adds messages one by one to the request's turns. effort: the effort set by the last system message that sets one, or None."""

    def __init__(self, request: Request, client_tool: Callable[[Request, Fields], Tool]) -> None:
        self.effort: str | None = None
        self._request = request
        self._client_tool = client_tool
        self._offered = list(request.tools)
        self._known = {tool.name: tool for tool in request.tools}
        self._changes: list[_Change] = []  # of the tools
        self._compactions = 0  # how many of these changes stand before the last compaction
        self._first = len(request.turns)  # the first turn that is a message
        self._user: int | None = None  # see _last_user
        self._reasons = False  # there is reasoning in the history

    def add(self, messages: list[Any], i: int) -> None:
        """Add the message at index `i`. Raises subclasses of errors.ClientFault."""
        message, path = messages[i], ("messages", i)
        if type(message) is dict and len(message) == 2:  # nothing but role and content, as nearly all have
            role, content = message.get("role"), message.get("content")
            if (role == "assistant" or role == "user") and content is not None:
                parts = self._parts(content, role, ("messages", i, "content"))
                if parts or not content:
                    self._request.turns.append(Turn(role, parts, path, isinstance(content, str)))
                return
        self._add(Fields(message, path), messages, i)

    def finish(self) -> None:
        """Settle what concerns more than one message, when all are added."""
        if self._reasons:
            hand_over(self._request)
        if self._changes:
            self._settle()

    def _settle(self) -> None:
        """The tools at the end, and their changes."""
        offered = {id(tool): tool for tool in self._offered}
        named: dict[str, list[Tool]] = {}
        for tool in self._offered:
            named.setdefault(tool.name, []).append(tool)
        first: list[Tool] = []
        for number, (added, tool, _, deferred) in enumerate(self._changes):
            if number == self._compactions:
                first = list(offered.values())
            if added and not deferred and id(tool) in offered:
                continue
            for other in named.pop(tool.name, ()):
                del offered[id(other)]
            if added:
                offered[id(tool)] = tool
                named[tool.name] = [tool]
        self._request.tools[:] = offered.values()
        later = self._changes[self._compactions :]
        if later:
            ever = {id(tool): tool for tool in first} | {id(change.tool): change.tool for change in later}
            self._request.changes = ToolChanges(list(ever.values()), [(change.added, change.tool, change.path) for change in later])

    def _add(self, fields: Fields, messages: list[Any], i: int) -> None:
        role = fields.required("role")
        if role not in _ROLES:
            raise wrong_type((*fields.path, "role"), "user, assistant or system")
        content, path = fields.take("content"), (*fields.path, "content")
        settles = role == "system" and self._settings(fields, messages, i)
        if content is None and not settles:
            raise missing(path)
        if content is None or settles == "cleared":
            fields.report(self._request.ledger)
            return
        parts = self._parts(content, role, path)
        fields.report(self._request.ledger)
        if parts or not content:
            self._request.turns.append(Turn(role, parts, fields.path, plain=isinstance(content, str)))

    def _settings(self, fields: Fields, messages: list[Any], i: int) -> str:
        """Apply a system message's settings. Returns "cleared" if it clears itself, else "set" if it has settings, else ""."""
        settled = ""
        config = fields.inner("output_config")
        if config is not None:
            settled = "set"
            effort = config.text("effort")
            if effort is not None:
                self.effort = effort
                self._request.ledger.adapt((*config.path, "effort"))
            config.report(self._request.ledger)
        until = fields.text("clear_at")
        if until == "next_user_message" and i < self._last_user(messages):
            self._request.ledger.adapt((*fields.path, "clear_at"))
            return "cleared"
        return settled

    def _last_user(self, messages: list[Any]) -> int:
        """The index of the last user message; -1 if there is none."""
        if self._user is None:
            users = [i for i, each in enumerate(messages) if isinstance(each, dict) and each.get("role") == "user"]
            self._user = users[-1] if users else -1
        return self._user

    def _parts(self, content: Any, role: str, path: Path) -> list[Part]:
        """The message's parts. Applies changes of tools; a compaction block clears everything before it."""
        if not isinstance(content, list):
            return decode_content(content, role, path, self._request.ledger)
        parts: list[Part] = []
        for i, block in enumerate(content):
            if (usual := usual_block(block, role, (*path, i), self._request.ledger)) is not None:
                parts.append(usual)
                if type(usual) is ReasoningPart:
                    self._reasons = True
                continue
            kind = block.get("type") if isinstance(block, dict) else None
            if role == "system" and kind in _CHANGES:
                self._change(Fields(block, (*path, i)))
            elif kind == "compaction":
                parts.clear()
                self._compacted(Fields(block, (*path, i)))
            else:
                part = decode_block(block, role, (*path, i), self._request.ledger)
                if part is not None:
                    parts.append(part)
                    self._reasons = self._reasons or type(part) is ReasoningPart
        return parts

    def _compacted(self, fields: Fields) -> None:
        """Replace the turns before a compaction block by its summary, and their changes of tools by those that it sums up."""
        summary = fields.text("content")
        if not summary:
            raise invalid((*fields.path, "content"), "a compaction without a summary cannot be continued here")
        self._request.ledger.adapt(fields.path)
        changes = fields.items("tool_changes")
        if changes is not None:
            self._changes.clear()
            for i, change in enumerate(changes):
                self._change(Fields(change, (*fields.path, "tool_changes", i)))
        self._compactions = len(self._changes)  # what they come to are the first tools of what follows
        self._request.turns[self._first :] = [Turn("user", [TextPart(as_message(summary), fields.path)], fields.path)]

    # ---- tools ----

    def _change(self, fields: Fields) -> None:
        kind = fields.required("type")
        if kind not in _CHANGES:
            raise invalid((*fields.path, "type"), "must be tool_addition or tool_removal")
        fields.ignore("cache_control")
        what = fields.inner("tool")
        if what is None:
            raise missing((*fields.path, "tool"))
        self._request.ledger.adapt(fields.path)
        if what.required("type").startswith("mcp_"):
            self._request.ledger.drop(what.path)
            return
        tool, added = self._named(what), kind == "tool_addition"
        self._changes.append(_Change(added, tool, fields.path, tool.deferred))
        if added:
            tool.deferred = False

    def _named(self, what: Fields) -> Tool:
        """The tool referred to: one of `tools`, or one defined inline."""
        definition = what.inner("definition")
        if definition is not None:
            tool = self._client_tool(self._request, definition)
            self._known[tool.name] = tool
            return tool
        name = what.text("name") or what.text("tool_name") or ""
        if name not in self._known:
            raise invalid((*what.path, "name"), f"there is no tool {name[:64]!r}")
        return self._known[name]
