"""The response object that contains every answer of this shape and echoes the client's settings."""

from __future__ import annotations

from typing import Any

import orjson

from .. import dialect, jsontext
from ..errors import KINDS, GatewayError
from ..ids import digest
from ..reply import Reply
from ..sse import Frame, safe_json
from ..usage import Usage, count, to_responses

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
# kind of error -> a response's own code where clients know one; every other is the error's where it blames the request, else server_error
_CODES = {
    "context_too_long": "context_length_exceeded",
    "rate_limit": "rate_limit_exceeded",
    "billing": "insufficient_quota",
}
_BLAMED = "invalid_prompt"  # of an error that blames the request and has no code: clients repeat what is told as server_error
# what every usage tells in detail, and what that is where nothing is said of it
_DETAILS = {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
_PREFIXES = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "image_generation_call": "ig_",
    "custom_tool_call": "ctc_",
    "shell_call": "sh_",
    "local_shell_call": "lsh_",
    "apply_patch_call": "apc_",
    "tool_search_call": "tsc_",
    "compaction": "cmp_",
}


def response_object(reply: Reply, status: str = "in_progress", model: str = "", created: int = 0) -> dict[str, Any]:
    """A response without output. status: queued, in_progress, …; model, created: the upstream's ("" and 0 if unknown)."""
    body = reply.request.body
    echo = _ECHOES | {key: body[key] for key in _ECHOES.keys() & body.keys() if body[key] is not None}
    if not isinstance(echo["tools"], orjson.Fragment):
        echo["tools"] = _tools(echo["tools"])
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
        "text": _text(body),
        "truncation": "disabled",
        "usage": None,
        **echo,
    }


def write_tools(response: dict[str, Any]) -> None:
    """Write a response's tools as JSON, once for all of its events: an agent's take a third of the memory while the answer streams."""
    if isinstance(response["tools"], list) and response["tools"]:
        response["tools"] = _written(response["tools"])


def shown(body: dict[str, Any]) -> dict[str, orjson.Fragment]:
    """The large members of a request that its answers show, as JSON that can stand in the body instead of them."""
    members: dict[str, Any] = {}
    if isinstance(body.get("tools"), list):
        members["tools"] = _tools(body["tools"])
    if isinstance(body.get("instructions"), str):
        members["instructions"] = body["instructions"]
    return {name: _written(value) for name, value in members.items()}


def _written(value: Any) -> orjson.Fragment:
    return orjson.Fragment(jsontext.trimmed(jsontext.dumps(value)))


def _tools(tools: Any) -> list[Any]:
    return [_tool(tool) for tool in tools] if isinstance(tools, list) else []


def _tool(tool: Any) -> Any:
    """A tool as it is echoed: a function with all members."""
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None, **tool}


def _text(body: dict[str, Any]) -> dict[str, Any]:
    """What was asked of the text; of a schema, all members."""
    text = _members(body, "text", format={"type": "text"}, verbosity="medium")
    form = text["format"]
    if isinstance(form, dict) and form.get("type") == "json_schema":
        text["format"] = {"description": None, "schema": None, **form, "strict": form.get("strict") is True}
    return text


def _members(body: dict[str, Any], key: str, **defaults: Any) -> dict[str, Any]:
    asked = body.get(key)
    if not isinstance(asked, dict):
        return defaults
    return {name: default if asked.get(name) is None else asked[name] for name, default in defaults.items()}


def item_id(response_id: str, index: int, kind: str) -> str:
    """The id of an output item. OpenAI refuses a replayed item whose id lacks the prefix of its type."""
    return _PREFIXES[kind] + digest(f"{response_id}:{index}", 32)


def filled(response: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """An upstream's response object with every member that a response has; itself where none lacks.

    What is said of the request is taken from it, the rest is the default. Null is a value where the default is null.
    """
    usual = response_object(reply)
    del usual["status"]  # no default: it is how the answer ended
    lacking = {key: value for key, value in usual.items() if response.get(key) is None and (value is not None or key not in response)}
    usage = response.get("usage")
    if isinstance(usage, dict) and (counted := _counted(usage)) != usage:
        lacking["usage"] = counted
    return response | lacking if lacking else response


def _counted(usage: dict[str, Any]) -> dict[str, Any]:
    """A usage with all of its counts."""
    total = count(usage.get("input_tokens")) + count(usage.get("output_tokens"))
    details = {key: usual | (reported if isinstance(reported := usage.get(key), dict) else {}) for key, usual in _DETAILS.items()}
    return {"input_tokens": 0, "output_tokens": 0, "total_tokens": total, **usage, **details}


def failed(response: dict[str, Any], error: GatewayError) -> dict[str, Any]:
    """The response, ended by an error. What the upstream's own error object contains besides the message stays."""
    rendered, upstream_error = error.openai(), response.get("error")
    blamed = rendered["code"] or _BLAMED if KINDS[error.kind].openai_status < 500 else "server_error"
    own = {"code": _CODES.get(error.kind, blamed)} | ({"type": rendered["type"], "param": error.param} if error.param else {})
    return response | {
        "status": "failed",
        "error": own | (upstream_error if isinstance(upstream_error, dict) else {}) | {"message": error.message},
    }


def failure(reply: Reply, response: dict[str, Any], error: GatewayError) -> list[tuple[str, dict[str, Any]]]:
    """The events that tell a caller of a failure, each with its members. response: what `failed` made of it."""
    members = {dialect.FAILED: {"response": response}, dialect.ERROR: error_event(error)}
    return [(kind, members[kind]) for kind in reply.dialect.failure]


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
    """The members of the `error` event that stands beside response.failed.

    The flat members are the documented form; the official SDKs raise only for the nested one.
    """
    rendered = error.openai()
    flat = {key: rendered[key] for key in ("code", "message", "param")}
    return {**flat, "error": {"type": rendered["type"], **flat}}
