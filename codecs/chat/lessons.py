"""What refusals by chat upstreams mean (see `codecs/lessons.py`). Sources: users' reports quoting the hosts' messages."""

from __future__ import annotations

import re
from typing import Any

from ..ids import CallIds, with_id
from ..ledger import Path
from ..lessons import (
    MISSING_PROPERTIES,
    ONLY_STREAMS,
    OTHER_ROUTE,
    ROOT_UNIONS,
    Body,
    Reading,
    each,
    leave_out,
    not_served,
    rename,
    setting,
    surrogates,
    without,
)
from .facts import IDS
from .message_rules import NO_SIGNATURE

_THOUGHTS = ("reasoning_details", "reasoning_content", "reasoning", "extra_content")


def _no_developer(body: Body) -> tuple[Body, Path | None]:
    """Rename the role developer to system, which all upstreams support."""
    changed, path = each(body, "messages", lambda one: one | {"role": "system"} if one.get("role") == "developer" else one)
    return changed, path and (*path, "role")


def _without_reasoning(body: Body) -> tuple[Body, Path | None]:
    """Remove earlier reasoning from the history; a Google signature is replaced by the placeholder for calls without one."""
    return each(body, "messages", _bare)


def _bare(message: dict[str, Any]) -> dict[str, Any]:
    """The message without reasoning; the same object if it has none."""
    if message.get("role") != "assistant":
        return message
    bare = {name: value for name, value in message.items() if name not in _THOUGHTS}
    calls: list[Any] = message["tool_calls"] if isinstance(message.get("tool_calls"), list) else []
    signed = [isinstance(call, dict) and "extra_content" in call for call in calls]
    if any(signed):
        stand_in = {"extra_content": {"google": {"thought_signature": NO_SIGNATURE}}}
        bare["tool_calls"] = [
            {name: value for name, value in call.items() if name != "extra_content"} | (stand_in if number == 0 else {}) if sealed else call
            for number, (call, sealed) in enumerate(zip(calls, signed, strict=True))
        ]
    return bare if any(signed) or len(bare) != len(message) else message


def _fitting_ids(body: Body) -> tuple[Body, Path | None]:
    """Ids of calls that are too long, as other providers give them."""
    ids = CallIds(IDS, own_vendor=True)

    def changed(message: dict[str, Any]) -> dict[str, Any]:
        message, _ = each(message, "tool_calls", lambda call: with_id(call, "id", ids.call))
        return with_id(message, "tool_call_id", ids.result)

    return each(body, "messages", changed)


def _adaptive(body: Body) -> tuple[Body, Path | None]:
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return body, None
    return body | {"thinking": {"type": "adaptive"}}, ("thinking", "type")


def _without_idle_effort(body: Body) -> tuple[Body, Path | None]:
    """Leave out the effort of thinking that is switched off."""
    thinking = body.get("thinking")
    off = isinstance(thinking, dict) and thinking.get("type") == "disabled"
    return without(body, ("reasoning_effort",)) if off else (body, None)


def _without_limit(body: Body) -> tuple[Body, Path | None]:
    """Leave the length of the answer to the upstream: callers of other APIs have to name one. A limit of 0 is not too much."""
    named = next((name for name in _LIMITS if body.get(name)), None)
    return (body, None) if named is None else ({name: value for name, value in body.items() if name not in _LIMITS}, (named,))


_LIMITS = ("max_tokens", "max_completion_tokens")
_LIMIT = r"max_(?:completion_)?tokens\b"
_TOO_MUCH = (
    rf"{_LIMIT}['\"`]?(?:=\d{{1,12}})? {{0,2}}"
    r"(?:value, the valid range|is too large|cannot be (?:larger|greater)|must be (?:less|smaller|at most|<=))"
    rf"|range of {_LIMIT}"
)
_REFUSED_SEAL = re.compile(r"(?:corrupted|invalid) thought.signature|invalid `?signature`?|invalid_encrypted_content", re.IGNORECASE)
_TOOLS_BESIDE_REASONING = re.compile(r"tools.{0,60}reasoning_effort|reasoning_effort.{0,60}tools", re.IGNORECASE | re.DOTALL)

LESSONS = (
    Reading(
        "tools",
        _TOOLS_BESIDE_REASONING,
        "tools are refused beside reasoning over chat_completions",
        sent=b'"tools"',
        flags={"c_tools_beside_reasoning": False, "c_reasons": "unless_off"},
        elsewhere=True,
    ),
    Reading(
        "tools",
        _TOOLS_BESIDE_REASONING,
        "tools are refused beside reasoning",
        sent=b'"tools"',
        change=setting("reasoning_effort", "none"),
        adapts="reasoning_effort",
        written=True,
    ),
    Reading(
        "stream_options",
        re.compile(r"stream_options"),
        "stream_options is left out",
        sent=b'"stream_options"',
        change=leave_out("stream_options"),
    ),
    not_served("chat_completions"),
    Reading(
        "limit",
        re.compile(_TOO_MUCH, re.IGNORECASE),
        "the answer's length is not limited beyond what the upstream has room for",
        sent=b'_tokens"',
        change=_without_limit,
        written=True,
        lasting=False,
    ),
    Reading(
        "max_tokens",
        re.compile(
            rf"\A(?!.*(?:{_TOO_MUCH})).*(?:max_tokens\b.{{0,80}}\bmax_completion_tokens|use [`'\"]?max_completion_tokens)",
            re.DOTALL | re.IGNORECASE,
        ),
        "max_tokens is called max_completion_tokens",
        sent=b'"max_tokens"',
        flags={"c_max_tokens_field": "max_completion_tokens"},
        change=rename("max_tokens", "max_completion_tokens"),
        adapts="max_tokens",
    ),
    Reading(
        "max_tokens",
        re.compile(rf"\A(?!.*(?:{_TOO_MUCH})).*max_completion_tokens", re.DOTALL | re.IGNORECASE),
        "max_completion_tokens is called max_tokens",
        sent=b'"max_completion_tokens"',
        flags={"c_max_tokens_field": "max_tokens"},
        change=rename("max_completion_tokens", "max_tokens"),
        adapts="max_completion_tokens",
    ),
    Reading(
        "developer",
        re.compile(r"\bdeveloper\b"),
        "the role developer is called system",
        sent=b'"developer"',
        flags={"c_developer_role": False},
        change=_no_developer,
        adapts="messages",
    ),
    Reading(
        "system",
        re.compile(r"system (?:message|role|prompt)s?\b.{0,40}\b(?:beginning|first|start)\b|multiple system", re.IGNORECASE),
        "one system message is taken, at the beginning",
        sent=b'"system"',
        flags={"c_single_system": True},
    ),
    Reading(
        "user after tool",
        re.compile(r"\buser\b.{0,30}\b(?:after|follow)\b.{0,20}\btool\b", re.IGNORECASE),
        "a user's message may not follow a tool's",
        sent=b'"tool"',
        flags={"c_user_after_tool": False},
    ),
    Reading(
        "tool_choice",
        re.compile(r"tool_choice.{0,120}\bthinking\b|\bthinking\b.{0,120}tool_choice", re.IGNORECASE | re.DOTALL),
        "no tool can be forced while the model reasons",
        sent=b'"tool_choice"',
        flags={"c_tool_choice_reasoning": "auto", "c_reasons": "unless_off"},
    ),
    Reading(
        "temperature",
        re.compile(r"invalid temperature: only", re.IGNORECASE),
        "temperature is left out",
        sent=b'"temperature"',
        change=leave_out("temperature"),
    ),
    Reading(
        "effort",
        re.compile(r"thinking.{0,20}cannot be disabled when reasoning_effort", re.IGNORECASE),
        "no effort is sent where thinking is switched off",
        sent=b'"reasoning_effort"',
        change=_without_idle_effort,
    ),
    Reading(
        "roles",
        re.compile(r"roles must alternate", re.IGNORECASE),
        "messages of the user and the assistant alternate",
        sent=b'"messages"',
        flags={"c_alternate": True},
    ),
    MISSING_PROPERTIES,
    ROOT_UNIONS,
    *(
        Reading(
            "reasoning",
            _REFUSED_SEAL,
            "earlier reasoning is left out",
            sent=sent,
            change=_without_reasoning,
            adapts="reasoning",
            lasting=False,
        )
        for sent in (b'"thought_signature"', b'"reasoning_details"')
    ),
    Reading(
        "reasoning_content",
        re.compile(r"reasoning_content\b.{0,60}\b(?:passed back|come back|missing|required)|missing .?reasoning_content", re.IGNORECASE),
        "reasoning has to come back beside tool calls",
        sent=b'"tool_calls"',
        flags={"c_reasoning_required_with_tools": True, "c_reasoning_in": "reasoning_content", "c_reasons": "unless_off"},
    ),
    Reading(
        "ids",
        re.compile(r"tool_call(?:s|_id)\b.{0,40}\btoo long|\bid too long", re.IGNORECASE),
        "longer ids of calls are replaced",
        sent=b'"tool_call_id"',
        change=_fitting_ids,
        adapts="messages",
    ),
    Reading(
        "thinking type",
        re.compile(r"invalid thinking\.type", re.IGNORECASE),
        "thinking is adaptive",
        sent=b'"thinking"',
        change=_adaptive,
        adapts="thinking",
    ),
    Reading(
        "content",
        re.compile(
            r"invalid type: sequence, expected a string|cannot unmarshal array into .{1,80}\bcontent\b"
            r"|\bcontent\b.{0,60}\b(?:must be a|expected a|valid) string\b",
            re.IGNORECASE,
        ),
        "content is a string",
        sent=b'"content"',
        flags={"c_content_parts": False, "c_null_content": False},
    ),
    Reading(
        "content",
        re.compile(r"\bcontent\b.{0,60}\b(?:null|None|nil|a string|valid string)\b|invalid type: null, expected a string"),
        "content is never null",
        sent=b'"content"',
        flags={"c_null_content": False},
    ),
    surrogates("messages"),
    ONLY_STREAMS,
    OTHER_ROUTE,
)
