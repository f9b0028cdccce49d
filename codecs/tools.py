"""Tools on their way up and down: names that every shape takes, free-text tools as functions, namespaces flattened, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import errors
from .errors import Unsupported
from .fields import Fields
from .ids import digest
from .jsontext import InputUnwrapper
from .ledger import concrete
from .request import CallPart, Request, Tool, ToolChoice

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NOT_NAME = re.compile(r"[^a-zA-Z0-9_-]")

# the schema of a free-text tool that goes up as a function
INPUT_SCHEMA = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


def wire_name(name: str) -> str:
    """The name itself where all shapes take it (`^[a-zA-Z0-9_-]{1,64}$`), else a stable one derived from it."""
    if _NAME.fullmatch(name):
        return name
    return f"{_NOT_NAME.sub('_', name)[:55]}_{digest(name, 8)}"


def flat_name(name: str, namespace: str | None) -> str:
    return wire_name(f"{namespace}__{name}" if namespace else name)


@dataclass(frozen=True, slots=True)
class Declared:
    """A tool as the client knows it. emulated: free text that goes up as `{"input": text}`."""

    name: str
    kind: str = "function"
    namespace: str | None = None
    emulated: bool = False


def user_location(fields: Fields) -> dict[str, Any]:
    """Where the user of a web search is. The type is the only one that there is, and may be left out."""
    fields.ignore("type")
    place = {key: value for key in ("city", "region", "country", "timezone") if (value := fields.text(key)) is not None}
    return {"type": "approximate", **place}


def not_allowed() -> errors.GatewayError:
    """For a call of a tool that the caller does not allow."""
    return errors.Garbled("The model called a tool that `tool_choice` does not allow.")


def unfulfilled(choice: ToolChoice, dropped: Iterable[Tool]) -> Unsupported:
    """A choice that must call a tool which the upstream is not offered. dropped: the tools that it has no way to run."""
    named = (tool for tool in dropped if choice.mode != "tool" or choice.name in (tool.name, tool.label, tool.kind))
    tool = next(named, None)
    if tool is not None:
        what = f"the tool {(tool.label or tool.kind)[:64]} is not supported by the selected model"
        return Unsupported(what, param=concrete(tool.path))
    if choice.mode == "tool":
        what = f"tool_choice names {choice.name[:64]!r}, which is not among the tools"
        return Unsupported(what, param=concrete(choice.path))
    return Unsupported("tool_choice requires tools", param=concrete(choice.path))


def grammar_note(tool: Tool) -> str:
    """What the description of a free-text tool that goes up as a function says of its grammar; "" when it has none."""
    if tool.grammar is None:
        return ""
    syntax, definition = tool.grammar.get("syntax", ""), tool.grammar.get("definition", "")
    return f'\n\nThe "input" string must follow this {syntax} grammar:\n{definition}'


class ToolMap:
    """One exchange's tools: the client's names to the upstream's and back. Built while the request is written."""

    def __init__(self, native_custom: bool = True, native_namespace: bool = False, letter_first: bool = False) -> None:
        """native_custom: the upstream takes free-text tools itself. letter_first: a name has to begin with a letter."""
        self._native_custom = native_custom
        self._letter_first = letter_first
        self._native_namespace = native_namespace
        self._declared: dict[str, Declared] = {}
        self._allowed: frozenset[str] | None = None

    def declare(self, request: Request, tool: Tool) -> str:
        """The upstream's name of a function or custom tool. Reports what was adapted; raises Malformed when two tools collide."""
        name = self._flat(tool.name, tool.namespace)
        if name in self._declared:
            param = concrete((*tool.path, "name"))
            raise errors.Malformed(f"two tools have the name {name[:64]!r}", kind="bad_request", code="invalid_request_error", param=param)
        emulated = tool.kind == "custom" and not self._native_custom
        self._declared[name] = Declared(tool.name, tool.kind, tool.namespace, emulated)
        if emulated or name != tool.name:
            request.ledger.adapt(tool.path)
        return name

    def wire(self, name: str, namespace: str | None = None) -> str:
        """The upstream's name of a tool that history or a tool choice names, declared or not."""
        flat = self._flat(name, namespace)
        if flat != name and flat not in self._declared:
            self._declared[flat] = Declared(name, "function", namespace)
        return flat

    def _flat(self, name: str, namespace: str | None) -> str:
        flat = name if self._native_namespace else flat_name(name, namespace)
        return wire_name(f"t_{flat}") if self._letter_first and not flat[:1].isalpha() else flat

    def declares(self, name: str) -> bool:
        """Whether the upstream's name is one of a declared tool."""
        return name in self._declared

    def emulates(self, call: CallPart) -> bool:
        """Whether this call of history goes up as a function with its text in `input`."""
        return call.kind == "custom" and not self._native_custom

    def allow(self, names: Iterable[str]) -> None:
        """The upstream's names of the tools that may be called, where the caller allows some of them only."""
        self._allowed = frozenset(names)

    def refuses(self, name: str) -> bool:
        """Whether the caller does not allow a call of this tool, by the upstream's name: whatever the upstream was told, it is not told."""
        return self._allowed is not None and name not in self._allowed

    def restore(self, name: str) -> Declared:
        """The client's tool behind the upstream's name; a name that nobody declared is itself."""
        return self._declared.get(name) or Declared(name)


class ToolText:
    """The argument text of one call on its way down: as it is, or taken out of an emulated tool's `{"input": …}`."""

    __slots__ = ("_unwrap",)

    def __init__(self, declared: Declared) -> None:
        self._unwrap = InputUnwrapper() if declared.emulated else None

    def feed(self, text: str) -> str:
        return text if self._unwrap is None else self._unwrap.feed(text)

    def finish(self) -> str:
        return "" if self._unwrap is None else self._unwrap.finish()
