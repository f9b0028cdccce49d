"""Map tools between client and upstream: names valid in all shapes, free-text tools as functions, flattened namespaces."""

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
_NO_WORD = frozenset("0123456789-")  # what a word does not begin with
_NOT_NAME = re.compile(r"[^a-zA-Z0-9_-]")

# the schema of a free-text tool sent as a function
INPUT_SCHEMA = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


def wire_name(name: str) -> str:
    """The name if all shapes accept it (`^[a-zA-Z0-9_-]{1,64}$`), else one derived from it deterministically."""
    if _NAME.fullmatch(name):
        return name
    return f"{_NOT_NAME.sub('_', name)[:55]}_{digest(name, 8)}"


def flat_name(name: str, namespace: str | None) -> str:
    return wire_name(f"{namespace}__{name}" if namespace else name)


@dataclass(frozen=True, slots=True)
class Declared:
    """A tool as declared by the client. emulated: whether its free text is sent as `{"input": text}`."""

    name: str
    kind: str = "function"
    namespace: str | None = None
    emulated: bool = False


def user_location(fields: Fields) -> dict[str, Any]:
    """The user's location for a web search. Its type is optional, because there is only one."""
    fields.ignore("type")
    place = {key: value for key in ("city", "region", "country", "timezone") if (value := fields.text(key)) is not None}
    return {"type": "approximate", **place}


def offer_directly(request: Request, fields: Fields) -> None:
    """Offer a tool to the model itself: a program that would call it runs at its own provider."""
    callers = fields.items("allowed_callers")
    if callers and "direct" not in callers:
        request.ledger.adapt((*fields.path, "allowed_callers"))


def is_limited(tool: Tool, *sayable: str) -> bool:
    """Whether a search is limited to certain domains other than by the members in sayable: a search without the limit is another."""
    return any(tool.search.get(name) for name in ("allowed_domains", "blocked_domains") if name not in sayable)


def not_allowed() -> errors.GatewayError:
    """For a call of a tool that the caller does not allow."""
    return errors.Garbled("The model called a tool that `tool_choice` does not allow.")


def unfulfilled(choice: ToolChoice, dropped: Iterable[Tool]) -> Unsupported:
    """The error for a choice that requires a tool which cannot be offered to the upstream. dropped: the tools left out."""
    named = (tool for tool in dropped if choice.mode != "tool" or choice.name in (tool.name, tool.label, tool.kind))
    tool = next(named, None)
    if tool is not None:
        what = f"the tool {(tool.label or tool.kind)[:64]} is not supported by the selected model"
        return Unsupported(what, param=concrete(tool.path))
    if choice.mode == "tool":
        what = f"tool_choice names {choice.name[:64]!r}, which is not among the tools"
        return Unsupported(what, param=concrete(choice.path))
    return Unsupported("tool_choice requires tools", param=concrete(choice.path))


def described(tool: Tool) -> str:
    """The description of a free-text tool that is sent as a function, with its grammar."""
    if tool.grammar is None:
        return (tool.description or "").strip()
    syntax, definition = tool.grammar.get("syntax", ""), tool.grammar.get("definition", "")
    return f'{tool.description or ""}\n\nThe "input" string must follow this {syntax} grammar:\n{definition}'.strip()


def as_function(tool: Tool) -> tuple[str, dict[str, Any]]:
    """The description and the schema, for an API whose tools are all functions with the schema of an object."""
    if tool.kind == "custom":
        return described(tool), INPUT_SCHEMA
    schema = {"type": "object", "properties": {}} if tool.schema is None else tool.schema
    return tool.description or "", schema if "type" in schema else {"type": "object", **schema}


class ToolMap:
    """Maps the client's tool names to the upstream's and back, for one exchange. Filled while the request is encoded."""

    def __init__(
        self, native_custom: bool = True, native_namespace: bool = False, letter_first: bool = False, word_first: bool = False
    ) -> None:
        """native_custom: the upstream supports free-text tools. letter_first: names must start with a letter; word_first: or with `_`."""
        self._native_custom = native_custom
        self._letter_first = letter_first
        self._word_first = word_first
        self._native_namespace = native_namespace
        self._declared: dict[str, Declared] = {}
        self._wired: dict[tuple[str, str | None], str] = {}  # what `wire` has answered: a history calls the same tools again
        self._allowed: frozenset[str] | None = None
        self.placeholder = ""  # the name of a tool that is there because the upstream requires one; a call of it is nobody's

    def declare(self, request: Request, tool: Tool) -> str:
        """Return the upstream's name of a function or custom tool. Reports adaptations. Raises Malformed if two names collide."""
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
        """The upstream's name of a tool in the history or tool choice, declared or not."""
        flat = self._wired.get((name, namespace))
        if flat is None:
            flat = self._wired[name, namespace] = self._flat(name, namespace)
            if flat != name and flat not in self._declared:
                self._declared[flat] = Declared(name, "function", namespace)
        return flat

    def _flat(self, name: str, namespace: str | None) -> str:
        flat = name if self._native_namespace else flat_name(name, namespace)
        if self._word_first and flat[:1] in _NO_WORD:
            return wire_name(f"_{flat}")
        return wire_name(f"t_{flat}") if self._letter_first and not flat[:1].isalpha() else flat

    def declares(self, name: str) -> bool:
        """Whether the upstream's name is that of a declared tool."""
        return name in self._declared

    def emulates(self, call: CallPart) -> bool:
        """Whether this call in the history is sent as a function with its text in `input`."""
        return call.kind == "custom" and not self._native_custom

    def allow(self, names: Iterable[str]) -> None:
        """The upstream's names of the tools that may be called, where the caller allows some of them only."""
        self._allowed = frozenset(names)

    def refuses(self, name: str) -> bool:
        """Whether the caller does not allow a call of this tool, by the upstream's name: whatever the upstream was told, it is not told."""
        return self._allowed is not None and name not in self._allowed

    def restore(self, name: str) -> Declared:
        """The client's tool for the upstream's name; an undeclared name is returned unchanged."""
        return self._declared.get(name) or Declared(name)


class ToolText:
    """The argument text of one call for the client: unchanged (`plain`), or extracted from an emulated tool's `{"input": …}`."""

    __slots__ = ("_unwrap", "plain")

    def __init__(self, declared: Declared) -> None:
        self._unwrap = InputUnwrapper() if declared.emulated else None
        self.plain = self._unwrap is None

    def feed(self, text: str) -> str:
        return text if self._unwrap is None else self._unwrap.feed(text)

    def finish(self) -> str:
        return "" if self._unwrap is None else self._unwrap.finish()
