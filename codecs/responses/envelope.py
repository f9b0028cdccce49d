"""The response object that contains every answer of this shape and echoes the client's settings."""

from __future__ import annotations

from typing import Any

from ..errors import GatewayError
from ..ids import digest
from ..reply import Reply
from ..sse import Frame, safe_json
from ..usage import Usage, to_responses

# settings echoed as the client sent them, and their default values
_ECHOES: dict[str, Any] = {
    "instructions": None,
    "frequency_penalty": 0.0,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": (),
    "top_logprobs": 0,
    "top_p": 1.0,
    "user": None,
    "metadata": {},
}
# kind of error -> the code in a response, if clients know one; others become server_error
_CODES = {
    "context_too_long": "context_length_exceeded",
    "rate_limit": "rate_limit_exceeded",
    "billing": "insufficient_quota",
}
_PREFIXES = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_", "custom_tool_call": "ctc_"}


def response_object(reply: Reply, status: str = "in_progress", model: str = "", created: int = 0) -> dict[str, Any]:
    """A response without output. status: queued, in_progress, …; model, created: the upstream's ("" and 0 if unknown)."""
    body = reply.request.body
    echo = {key: default if body.get(key) is None else body[key] for key, default in _ECHOES.items()}
    echo["tools"] = [_tool(tool) for tool in echo["tools"]]
    return {
        "id": reply.response_id or f"resp_{reply.nonce}",
        "object": "response",
        "created_at": created or reply.created,
        "status": status,
        "background": body.get("background") is True,
        "completed_at": None,
        "conversation": {"id": reply.conversation_id} if reply.conversation_id else None,
        "error": None,
        "incomplete_details": None,
        "model": reply.echo_model or model or reply.request.model,
        "output": [],
        "previous_response_id": reply.previous_response_id,
        "reasoning": _members(body, "reasoning", effort=None, summary=None),
        "text": _members(body, "text", format={"type": "text"}, verbosity="medium"),
        "truncation": "disabled",
        "usage": None,
        **echo,
    }


def _tool(tool: Any) -> Any:
    """A tool as it is echoed: a function with all members."""
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None, **tool}


def _members(body: dict[str, Any], key: str, **defaults: Any) -> dict[str, Any]:
    asked = body.get(key)
    if not isinstance(asked, dict):
        return defaults
    return {name: default if asked.get(name) is None else asked[name] for name, default in defaults.items()}


def item_id(response_id: str, index: int, kind: str) -> str:
    """The id of an output item. OpenAI refuses a replayed item whose id lacks the prefix of its type."""
    return _PREFIXES[kind] + digest(f"{response_id}:{index}", 32)


def failed(response: dict[str, Any], error: GatewayError) -> dict[str, Any]:
    """The response with status failed and this error."""
    return response | {"status": "failed", "error": {"code": _CODES.get(error.kind, "server_error"), "message": error.message}}


def prepared(reply: Reply) -> tuple[list[Frame], dict[str, Any]]:
    """The frames of an answer without output, of which no model was asked, and its response object."""
    head = response_object(reply)
    done = head | {"status": "completed", "completed_at": head["created_at"], "usage": to_responses(Usage(0, 0))}
    steps = (("response.created", head), ("response.completed", done))
    return [
        (kind.encode(), safe_json({"type": kind, "sequence_number": number, "response": shown}))
        for number, (kind, shown) in enumerate(steps)
    ], done


def error_event(error: GatewayError) -> dict[str, Any]:
    """The members of the `error` event that follows response.failed.

    The flat members are the documented form; the official SDKs raise only for the nested one.
    """
    told = error.openai()
    flat = {key: told[key] for key in ("code", "message", "param")}
    return {**flat, "error": {"type": told["type"], **flat}}
