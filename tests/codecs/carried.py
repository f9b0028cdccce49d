"""Requests of other shapes on their way to a chat upstream, with what was reported of them."""

from __future__ import annotations

from typing import Any

from dragoman.codecs import chat, messages, responses
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.request import Request

# what OpenAI's own host takes
OPENAI: dict[str, Any] = {
    "openai_host": True,
    "c_max_tokens_field": "max_completion_tokens",
    "c_developer_role": True,
    "c_custom_tools": True,
    "c_allowed_tools": True,
    "c_file_parts": True,
    "c_web_search": True,
    "c_effort_values": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "c_reasoning_in": "none",
}


class Carried:
    """What became of one request: the upstream's body and the two reports."""

    def __init__(self, request: Request, flags: dict[str, Any]) -> None:
        self.body = chat.encode_request(request, Capabilities(**flags), "up").body
        self.messages: list[dict[str, Any]] = self.body["messages"]
        self.dropped = request.ledger.header(request.ledger.dropped, request.body)
        self.adapted = request.ledger.header(request.ledger.adapted, request.body)


def from_messages(flags: dict[str, Any] | None = None, **fields: Any) -> Carried:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}]} | fields
    return Carried(messages.decode_request(body), flags or {})


def from_responses(flags: dict[str, Any] | None = None, **fields: Any) -> Carried:
    return Carried(responses.decode_request({"model": "m", "input": "q"} | fields), flags or {})


# ---- what stands in histories ----


def call(id: str = "c", name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def use(id: str = "c", name: str = "f", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": given}


def result(content: Any, id: str = "c", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content} | more
