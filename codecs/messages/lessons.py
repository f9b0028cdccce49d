"""What refusals by messages upstreams mean (see `codecs/lessons.py`)."""

from __future__ import annotations

import re
from typing import Any

from .. import jsontext
from ..ledger import Path
from ..lessons import ONLY_STREAMS, OTHER_ROUTE, Body, Reading, not_served
from .rules_out import calls_without_thought, short_marks

_THOUGHTS = ("thinking", "redacted_thinking")


def _without_reasoning(body: Body) -> tuple[Body, Path | None]:
    """Remove earlier reasoning from the history, which this upstream cannot read or no longer accepts."""
    messages: list[Any] = []
    first: Path | None = None
    for number, message in enumerate(body.get("messages") or ()):
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            kept = [block for block in content if not (isinstance(block, dict) and block.get("type") in _THOUGHTS)]
            if len(kept) != len(content):
                first = first or ("messages", number)
                if not kept:
                    continue
                message = message | {"content": kept}
        messages.append(message)
    if first is None:
        return body, None
    changed = body | {"messages": messages}
    if calls_without_thought(changed):
        changed["thinking"] = {"type": "disabled"}
    return changed, first


def _without_thinking(body: Body) -> tuple[Body, Path | None]:
    """A body that does not ask for thinking, where the thoughts of the turn that goes on are gone."""
    return (body | {"thinking": {"type": "disabled"}}, ("thinking",)) if calls_without_thought(body) else (body, None)


def _long_marks(body: Body) -> tuple[Body, Path | None]:
    """A body in which no long cache mark follows a short one."""
    if not short_marks(body):
        return body, None
    body = jsontext.loads(jsontext.dumps(body))  # a copy
    for mark in short_marks(body):
        mark["ttl"] = "1h"
    return body, ("messages",)


LESSONS = (
    not_served("messages"),
    Reading(
        "thinking",
        re.compile(
            r"expected .{0,3}thinking|thinking block.{0,20}(?:first|start|begin)|(?:start|begin) with a thinking block", re.IGNORECASE
        ),
        "thinking is switched off where the thoughts of a turn with tools are gone",
        sent=b'"tool_use"',
        change=_without_thinking,
        adapts="thinking",
        lasting=False,
    ),
    Reading(
        "lifetimes",
        re.compile(r"\b1h\b.{0,80}\b(?:after|before)\b.{0,80}\b5m\b", re.DOTALL),
        "cache marks before a long one live as long",
        sent=b'"1h"',
        change=_long_marks,
        adapts="messages",
    ),
    Reading(
        "reasoning",
        re.compile(r"invalid `?signature|thinking.{0,60}(?:cannot be modified|belongs to|bound to|binding)", re.IGNORECASE | re.DOTALL),
        "earlier reasoning is left out",
        sent=b'"signature"',
        change=_without_reasoning,
        adapts="reasoning",
        lasting=False,
    ),
    Reading(
        "betas",
        re.compile(r"invalid beta flag|unexpected value\(s\).{1,400}anthropic-beta", re.IGNORECASE | re.DOTALL),
        "no value of anthropic-beta is sent",
        flags={"m_betas": False},
    ),
    ONLY_STREAMS,
    OTHER_ROUTE,
)
