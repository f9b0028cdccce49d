"""Settings and tools that OpenAI's two APIs express in the same way.

The functions remove the settings they encode from the request, and report what they change or cannot express.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from . import jsontext, outputs, schema
from .anything import dicts_of
from .request import OutputFormat, Request, TextPart, Tool

# other operations with a model, some of which upstreams of OpenAI's family serve
OPERATIONS = re.compile(r"/(?:embeddings|completions|moderations|rerank|images/[a-z]+|audio/[a-z]+)")

_LONGEST_USER = 128
_NOT_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_FILES = frozenset({"file", "document"})  # types of content, of chat and of messages


def user(request: Request) -> str | None:
    """The end user's identifier (`safety_identifier` or `user`), at most 128 characters."""
    setting = request.take_setting("safety_identifier")
    if setting is None:
        return None
    name: str = setting.value
    if len(name) > _LONGEST_USER:
        name = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        request.ledger.adapt(setting.path)
    return name


def output_format(request: Request, output: OutputFormat, required: bool = False) -> dict[str, Any]:
    """The flat format of structured output; a schema without a name gets one. required: whether a schema is required."""
    if output.kind != "json_schema":
        return {"type": output.kind}
    written: dict[str, Any] = {"type": "json_schema", "name": output.name or _name_of(output.schema)}
    if output.schema is not None:
        written["schema"] = output.schema
    elif required:
        request.ledger.adapt(output.path)
        return written | {"schema": {"type": "object", "additionalProperties": True}, "strict": False}
    strict = schema.is_strict(output.schema) if request.habits.open_schemas else output.strict
    if strict is not None:
        written["strict"] = strict
    if output.description is not None:
        written["description"] = output.description
    return written


def name_json(request: Request) -> None:
    """Say that JSON is wanted, if nothing does: without the word both APIs refuse `json_object`, which needs none in the caller's.

    It stands in the first turn of a user, and nothing behind that is looked at, so that the beginning stays as it is while the
    conversation grows.
    """
    setting = request.settings.get("output")
    if setting is None or setting.value.kind != "json_object" or not request.habits.silent_json:
        return
    first = outputs.first_of_user(request)
    if first is None:
        return
    parts = (part for turn in request.turns[: first + 1] for part in turn.parts)
    if not any(isinstance(part, TextPart) and "json" in part.text.lower() for part in parts):
        request.ledger.adapt(setting.value.path)
        outputs.note(request, first, outputs.IN_JSON)


def saying_json(messages: Any, kind: str) -> list[Any] | None:
    """Messages of a caller's own body with the note of `name_json`; None where one speaks of JSON, or none is a user's.

    kind: the type of a part that is a text.
    """
    turns = messages if isinstance(messages, list) else []
    if any("json" in text.lower() for message in turns for text in _texts(message)):
        return None
    return outputs.noted(turns, outputs.IN_JSON, kind)


def _texts(message: Any) -> list[str]:
    content = message.get("content") if isinstance(message, dict) else None
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return [text for text in texts if isinstance(text, str)]


def _name_of(schema: dict[str, Any] | None) -> str:
    title = (schema or {}).get("title")
    return _NOT_NAME.sub("_", title)[:64] if isinstance(title, str) and title else "output"


def tier(request: Request, fast: bool) -> str | None:
    """The service tier in OpenAI's terms, from any shape's setting. fast: whether the upstream has a tier "fast"."""
    setting = request.take_setting("messages_tier")
    if setting is not None and setting.value == "standard_only":
        request.ledger.adapt(setting.path, "default")
        return "default"
    if setting is not None:
        request.ledger.drop(setting.path)
    speed = request.settings.get("speed")
    if speed is not None and speed.value == "fast" and fast:
        request.take("speed")
        return "fast"
    asked = request.settings.get("service_tier")
    if asked is None or asked.value == "ultrafast" or (asked.value == "fast" and not (fast or request.habits.fast_tier)):
        return None
    value: str = request.take("service_tier")
    if value == "fast" and not fast:
        value = "priority"  # what OpenAI itself reports it as
        request.ledger.adapt(asked.path, value)
    return value


# ---- tools ----


def description(request: Request, tool: Tool) -> str | None:
    """A tool's description, including the examples, for which only the messages shape has a field."""
    if not tool.examples:
        return tool.description
    request.ledger.adapt((*tool.path, "input_examples"))
    lines = [jsontext.dumps(example).decode() for example in tool.examples]
    return "\n".join([f"{tool.description or ''}\n\nExamples:", *lines]).strip()


def strict(request: Request, tool: Tool, taken: bool) -> bool | None:
    """Whether a function is strict; None if the member is to be left out. taken: whether the upstream supports strict tools.

    OpenAI's APIs require a closed schema; an open schema from a caller whose API accepts any is not strict here.
    """
    habits = request.habits
    if tool.strict is None:
        default = habits.strict_by_default and taken and schema.is_strict(tool.schema)
        return True if default else None
    if taken and (not habits.open_schemas or (tool.strict and schema.is_strict(tool.schema))):
        return tool.strict
    if tool.strict:
        request.ledger.drop((*tool.path, *tool.inside, "strict"))
    return None


def holds_files(body: dict[str, Any]) -> bool:
    """Whether a caller's messages hold files."""
    contents = [message.get("content") for message in dicts_of(body, "messages")]
    parts = (part for content in contents if isinstance(content, list) for part in content)
    return any(isinstance(part, dict) and part.get("type") in _FILES for part in parts)
