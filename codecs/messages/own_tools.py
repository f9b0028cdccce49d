"""Tools of this API that its caller runs, as functions for models that do not know them: by type, what Anthropic's models know of them.

A call and its result are an ordinary tool's in this API, so nothing else has to be said. Source: Anthropic API reference, "Bash tool",
"Text editor tool", "Memory tool".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_Schema = dict[str, Any]

_TEXT = {"type": "string"}
_LINE = {"type": "integer"}
_RANGE = {"type": "array", "items": _LINE, "minItems": 2, "maxItems": 2, "description": "First and last line, from 1; -1 for the end."}


class OwnTool(NamedTuple):
    description: str
    schema: _Schema


def _commands(commands: str, required: tuple[str, ...], **members: _Schema) -> _Schema:
    """The schema of a tool that has several commands, each with some of the members."""
    properties = {"command": {"type": "string", "enum": commands.split()}, **members}
    return {"type": "object", "properties": properties, "required": list(required)}


_BASH = OwnTool(
    "Runs a command in a bash session that lasts, and returns what it wrote; `restart` begins a new session.",
    {"type": "object", "properties": {"command": _TEXT, "restart": {"type": "boolean"}}},
)


def _editor(*more: str) -> OwnTool:
    """more: commands that only some versions have."""
    return OwnTool(
        "Views, creates and edits text files. `old_str` must stand in the file exactly once; `insert` puts `new_str` behind `insert_line`.",
        _commands(
            " ".join(("view", "create", "str_replace", "insert", *more)),
            ("command", "path"),
            path=_TEXT,
            file_text=_TEXT,
            old_str=_TEXT,
            new_str=_TEXT,
            insert_line=_LINE,
            view_range=_RANGE,
        ),
    )


_MEMORY = OwnTool(
    "Keeps notes in files under /memories, which outlive this conversation: view them before a task, write down what will be of use.",
    _commands(
        "view create str_replace insert delete rename",
        ("command",),
        path=_TEXT,
        file_text=_TEXT,
        old_str=_TEXT,
        new_str=_TEXT,
        insert_line=_LINE,
        insert_text=_TEXT,
        old_path=_TEXT,
        new_path=_TEXT,
        view_range=_RANGE,
    ),
)

OWN: Mapping[str, OwnTool] = {
    "bash_20241022": _BASH,
    "bash_20250124": _BASH,
    "text_editor_20241022": _editor("undo_edit"),
    "text_editor_20250124": _editor("undo_edit"),
    "text_editor_20250429": _editor(),
    "text_editor_20250728": _editor(),
    "memory_20250818": _MEMORY,
}
