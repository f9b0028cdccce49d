"""Structured output in words, for upstreams that are given no schema.

The words stand in the first message of a user, so that the beginning of the prompt stays as it is while the conversation grows. They bind
nobody: whether the format itself is left out, or asked for in another way, is for those to report who write it.
"""

from __future__ import annotations

from typing import Any

from . import jsontext
from .anything import at
from .request import Request, ResultPart, TextPart, Turn

IN_JSON = "Answer in JSON."
_BY_SCHEMA = "Answer with one JSON value, and nothing else, that is valid by this JSON schema:"


def in_words(schema: Any) -> str:
    return f"{_BY_SCHEMA}\n{jsontext.dumps(schema).decode()}" if isinstance(schema, dict) else IN_JSON


def say_schema(request: Request) -> None:
    """Add the words for the schema that is asked for, if there is one, to a request of another API."""
    setting = request.settings.get("output")
    if setting is None or setting.value.schema is None:
        return
    first = first_of_user(request)
    if first is not None:
        note(request, first, in_words(setting.value.schema))
        request.ledger.adapt((request.habits.turns_at,))


def first_of_user(request: Request) -> int | None:
    """The place of the first turn that a user says something in; None if there is none."""
    for number, turn in enumerate(request.turns):
        if turn.role == "user" and not any(isinstance(part, ResultPart) for part in turn.parts):
            return number
    return None


def note(request: Request, number: int, text: str) -> None:
    """Add a text to the end of a turn."""
    turn = request.turns[number]
    request.turns[number] = Turn(turn.role, [*turn.parts, TextPart(text, turn.path)], turn.path)


def noted(messages: Any, text: str, kind: str = "text") -> list[Any] | None:
    """Messages of an upstream's body with a text more; None where none is a user's. kind: the type of a part that is a text."""
    turns = messages if isinstance(messages, list) else []
    first = next((number for number, one in enumerate(turns) if at(one, "role") == "user" and _is_content(one.get("content"))), None)
    if first is None:
        return None
    content = turns[first]["content"]
    extended: Any = f"{content}\n\n{text}" if isinstance(content, str) else [*content, {"type": kind, "text": text}]
    return [*turns[:first], turns[first] | {"content": extended}, *turns[first + 1 :]]


def _is_content(value: Any) -> bool:
    """Whether this says something, and is not for the upstream to refuse."""
    return bool(value) and isinstance(value, str | list)
