"""A responses client's items, and what its request is in the hub's words."""

from __future__ import annotations

import copy
from typing import Any

from dragoman.codecs import responses
from dragoman.codecs.request import CallPart, Request, ResultPart, Turn


def decode(items: list[dict[str, Any]] | None = None, **fields: Any) -> Request:
    body = {"model": "m", "input": "q"} | fields
    before = copy.deepcopy(body)
    request = responses.decode_request(body, items)
    assert body == before
    assert request.body is body
    return request


def dropped(request: Request) -> list[str]:
    return request.ledger.names(request.ledger.dropped, request.body)


def adapted(request: Request) -> list[str]:
    return request.ledger.names(request.ledger.adapted, request.body)


def ask(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def call(id: str, name: str = "f") -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": name, "arguments": "{}"}


def out(id: str, text: str = "r") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": text}


def line_of(turn: Turn) -> str:
    """A turn in one line: its role, and its parts by what they say."""
    words = []
    for part in turn.parts:
        if isinstance(part, CallPart):
            words.append(f"call {part.id}")
        elif isinstance(part, ResultPart):
            words.append(f"{part.id}={part.content}")
        else:
            words.append(getattr(part, "text", "?") or "thought")
    return f"{turn.role}: {', '.join(words)}"
