"""Tools of this API that its caller runs, as functions for upstreams that do not know them.

Each is one row of OWN: the function that the model is offered, and how the arguments of a call and the members of its item become each
other. The caller declares and answers them in this API's own words, and gets calls in these words too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import jsontext
from ..anything import dicts_in
from ..fields import Fields
from ..request import CallPart, Request, Tool
from ..tools import flat_name

_Value = dict[str, Any]

_TEXT = {"type": "string"}
_WHOLE = {"type": "integer"}
_TEXTS = {"type": "array", "items": _TEXT}


def _object(properties: _Value, *required: str) -> _Value:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTool:
    """One such tool.

    call, output: the types of a call's item and of its output's. holder: the member of a call's item that holds what the model asks for.
    nested: a call's arguments have this member too; else they are what is in it. needs: what stands in it, without which nothing can be
    run, and its type; a single text stands for a list where `single` is set. usual: what else stands in it, unless the model says
    otherwise; beside: what stands beside it. empty: what is in the holder as long as the call's arguments are on their way. cut: the
    status of a call that is not whole.
    """

    call: str
    output: str
    description: str
    schema: _Value
    holder: str
    empty: _Value
    nested: bool = False
    needs: Mapping[str, type] = field(default_factory=dict)
    single: bool = False
    usual: _Value = field(default_factory=dict)
    beside: _Value = field(default_factory=dict)
    cut: str = "incomplete"
    result_text: Callable[[Fields], str]

    def announced(self) -> _Value:
        """The members of a call's item before its arguments are known."""
        return {self.holder: dict(self.empty), **self.beside}

    def item(self, arguments: str) -> _Value | None:
        """The members of a call's item for these arguments, JSON text; None when nothing can be run."""
        try:
            asked = jsontext.loads(arguments or "{}")
        except ValueError:
            return None
        if self.nested and isinstance(asked, dict):
            asked = asked.get(self.holder)
        if not isinstance(asked, dict):
            return None
        asked = {name: value for name, value in asked.items() if value is not None}
        for name, kind in self.needs.items():
            value = asked.get(name)
            if self.single and kind is list and isinstance(value, str):
                asked[name] = value = [value]
            if not isinstance(value, kind) or (isinstance(value, list) and not all(isinstance(each, str) for each in value)):
                return None
        return {self.holder: asked | {name: value for name, value in self.usual.items() if name not in asked}, **self.beside}

    def arguments(self, item: Fields) -> str:
        """The arguments of a call of the history."""
        inside = item.take(self.holder)
        item.ignore(*self.beside)
        if isinstance(inside, str):  # arguments that some callers write down as they were streamed
            return inside
        asked = {name: value for name, value in inside.items() if value is not None} if isinstance(inside, dict) else {}
        if self.nested:
            asked = {self.holder: asked}
        elif self.schema:
            asked = {name: value for name, value in asked.items() if name in self.schema["properties"]}
        return jsontext.dumps(asked).decode()


# ---- what their outputs say ----


def _of_shell(output: Fields) -> str:
    """Each command's output and how it ended."""
    value = output.take("output")
    output.ignore("max_output_length")
    if isinstance(value, str):
        return value
    return jsontext.dumps(
        [{name: chunk[name] for name in ("stdout", "stderr", "outcome") if name in chunk} for chunk in dicts_in(value)]
    ).decode()


def _of_local_shell(output: Fields) -> str:
    return output.text("output") or ""


def _of_patch(output: Fields) -> str:
    return ": ".join(filter(None, (output.text("status"), output.text("output"))))


def _of_search(output: Fields) -> str:
    """The names and descriptions of the tools that were found; the tools themselves are added to the request's."""
    lines = [f"- {name}: {description}" if description else f"- {name}" for name, description in _named(output.items("tools") or [])]
    return "\n".join(["Tools now available:", *lines]) if lines else "No tools found."


def _named(tools: list[Any]) -> list[tuple[str, str]]:
    """Names, as the model knows them, and descriptions."""
    named: list[tuple[str, str]] = []
    for tool in tools:
        if not isinstance(tool, dict):
            continue
        name, description, inner = tool.get("name"), tool.get("description"), tool.get("tools")
        if tool.get("type") == "namespace" and isinstance(inner, list):
            named += [(flat_name(each, str(name)), description) for each, description in _named(inner)]
        elif isinstance(name, str):
            named.append((name, description if isinstance(description, str) else ""))
    return named


_PATCH = {
    "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
    "path": _TEXT,
    "diff": _TEXT | {"description": "In V4A form; not for delete_file."},
}

OWN: Mapping[str, OwnTool] = {
    "shell": OwnTool(
        call="shell_call",
        output="shell_call_output",
        description="Runs shell commands on the user's machine, and returns what each wrote and how it ended.",
        schema=_object({"commands": _TEXTS, "timeout_ms": _WHOLE, "max_output_length": _WHOLE}, "commands"),
        holder="action",
        needs={"commands": list},
        single=True,
        usual={"timeout_ms": None, "max_output_length": None},
        beside={"environment": {"type": "local"}},
        empty={"commands": [], "timeout_ms": None, "max_output_length": None},
        result_text=_of_shell,
    ),
    "local_shell": OwnTool(
        call="local_shell_call",
        output="local_shell_call_output",
        description="Runs one command, given as its program and arguments, on the user's machine, and returns what it wrote.",
        schema=_object(
            {"command": _TEXTS, "env": {"type": "object"}, "timeout_ms": _WHOLE, "user": _TEXT, "working_directory": _TEXT}, "command"
        ),
        holder="action",
        needs={"command": list},
        usual={"type": "exec", "env": {}},
        empty={"type": "exec", "command": [], "env": {}},
        result_text=_of_local_shell,
    ),
    "apply_patch": OwnTool(
        call="apply_patch_call",
        output="apply_patch_call_output",
        description="Creates, updates or deletes one of the user's files by a diff in V4A form.",
        schema=_object({"operation": _object(_PATCH, "type", "path")}, "operation"),
        holder="operation",
        nested=True,
        needs={"type": str, "path": str},
        usual={"diff": ""},
        empty={"type": "update_file", "path": "", "diff": ""},
        cut="in_progress",  # of this type there is no other that is not whole
        result_text=_of_patch,
    ),
    "tool_search": OwnTool(
        call="tool_search_call",
        output="tool_search_output",
        description="Searches for further tools.",
        schema={},  # the caller's own
        holder="arguments",
        beside={"execution": "client"},
        empty={},
        result_text=_of_search,
    ),
}  # fmt: skip

CALLS = {own.call: name for name, own in OWN.items()}
OUTPUTS = {own.call: own.output for own in OWN.values()}
"""Type of a call's item -> type of its output's."""


def give_names(request: Request, calls: Mapping[str, list[CallPart]]) -> None:
    """Give each of the request's own tools a name that no other tool has, and their calls (by tool) the same.

    One that is declared several times is one.
    """
    own = {tool.label: tool for tool in request.tools if tool.label in request.own_tools}
    request.tools = [tool for tool in request.tools if own.get(tool.label, tool) is tool]
    taken = {flat_name(tool.name, tool.namespace) for tool in request.tools if tool.label not in own}
    request.own_tools.clear()
    for label, tool in own.items():
        number = 1
        while tool.name in taken:
            number += 1
            tool.name = f"{label}_{number}"
        request.own_tools[tool.name] = label
        for call in calls.get(label, ()):
            call.name = tool.name


def declared(request: Request, fields: Fields, kind: str) -> Tool | None:
    """A declaration as a function; None: it is one that the provider runs. Raises errors.ClientFault leaves."""
    own = OWN[kind]
    description, schema = own.description, own.schema
    environment = fields.inner("environment")
    if environment is not None:
        if environment.text("type") not in (None, "local"):
            return None
        description += _skills(environment.items("skills") or [])
        environment.report(request.ledger)
    if kind == "tool_search":
        if fields.text("execution") != "client":
            return None
        description = fields.text("description") or description
        schema = fields.members("parameters") or _object({"query": _TEXT}, "query")
    request.ledger.adapt(fields.path)
    request.own_tools[kind] = kind
    return Tool("function", kind, fields.path, description=description, schema=schema, label=kind)


def _skills(skills: list[Any]) -> str:
    """What the shell's environment brings with it."""
    lines = [f"- {skill.get('name')}: {skill.get('description')} (in {skill.get('path')})" for skill in skills if isinstance(skill, dict)]
    return "\n".join(["\n\nSkills that are installed there:", *lines]) if lines else ""
