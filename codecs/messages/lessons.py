"""What refusals by messages upstreams mean (see `codecs/lessons.py`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from .. import jsontext, media
from ..anything import list_of
from ..ids import CallIds, with_id
from ..ledger import Path
from ..lessons import ONLY_STREAMS, OTHER_ROUTE, REFUSED_BETAS, Body, Reading, each, leave_out, not_served, surrogates
from ..rules import whole
from .content_out import FAILED
from .facts import IDS
from .rules_out import DEPTH, LEAST_BUDGET, calls_without_thought, format_renamed, marked, short_marks, systems_lifted, thinking_within

_THOUGHTS = ("thinking", "redacted_thinking")
_MOST_MARKS = 4


def _without_reasoning(body: Body) -> tuple[Body, Path | None]:
    """Remove earlier reasoning from the history, which this upstream cannot read or no longer accepts."""
    return _without_thoughts(body, lambda block: block.get("type") in _THOUGHTS)


def _without_unsigned(body: Body) -> tuple[Body, Path | None]:
    """Remove earlier reasoning that has no signature: an upstream without seals has made it."""
    return _without_thoughts(body, lambda block: block.get("type") == "thinking" and not block.get("signature"))


def _without_thoughts(body: Body, over: Callable[[dict[str, Any]], bool]) -> tuple[Body, Path | None]:
    """over: whether a block is removed."""
    messages: list[Any] = []
    first: Path | None = None
    for number, message in enumerate(list_of(body, "messages")):
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            remaining = [block for block in content if not (isinstance(block, dict) and over(block))]
            if len(remaining) != len(content):
                first = first or ("messages", number)
                if not remaining:
                    continue
                message = message | {"content": remaining}
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


def _without_systems(body: Body) -> tuple[Body, Path | None]:
    """A body whose instructions stand before the conversation: newer Claude models alone take messages of the system."""
    lifted = systems_lifted(body)
    return (body, None) if lifted is body else (lifted, ("messages",))


# ---- what an agent writes now and then: one mark too many, a mark or a block of nothing ----


def _fewer_marks(body: Body) -> tuple[Body, Path | None]:
    """A body whose marks are at places that can have one, and at most four: the last ones, as the longest prefix is worth most."""
    blocks = marked(body)
    sound = [block for block in blocks if block.get("type") not in _THOUGHTS and block.get("text") != ""]
    room = _MOST_MARKS - (body.get("cache_control") is not None)
    within = {id(block) for block in sound[max(0, len(sound) - room) :]}
    over = {id(block) for block in blocks} - within

    def unmarked(value: Any, depth: int = DEPTH) -> Any:
        if isinstance(value, list):
            return [unmarked(one, depth) if isinstance(one, dict) else one for one in value]
        if not isinstance(value, dict):
            return value
        copy = {name: member for name, member in value.items() if name != "cache_control" or id(value) not in over}
        return copy | {"content": unmarked(copy["content"], depth - 1)} if depth and isinstance(copy.get("content"), list) else copy

    if not over:
        return body, None
    return body | {name: unmarked(body[name]) for name in ("tools", "system", "messages") if name in body}, ("messages",)


def _without_blanks(body: Body) -> tuple[Body, Path | None]:
    """A body without texts of nothing but white space, and without messages that hold nothing else.

    Unchanged where the last message would no longer be a user's: what is to be answered is missing, and the caller has to say it.
    """
    system, messages = body.get("system"), body.get("messages")
    if not (isinstance(messages, list) and messages):
        return body, None
    remaining = [one for message in messages if not _is_blank(one := _filled(message))]
    filled = {"messages": remaining} | ({"system": _filled_blocks(system)} if isinstance(system, list) else {})
    asks = _role(messages[-1]) != "user" or _role(remaining[-1] if remaining else None) == "user"
    if not remaining or not asks or all(body[name] == value for name, value in filled.items()):
        return body, None
    return {name: filled.get(name, value) for name, value in body.items() if name != "system" or filled.get(name, value)}, ("messages",)


def _filled(message: Any, depth: int = DEPTH) -> Any:
    """A message, or a result, without its blank texts."""
    content = message.get("content") if depth and isinstance(message, dict) else None
    return message | {"content": _filled_blocks(content, depth - 1)} if isinstance(content, list) else message


def _filled_blocks(blocks: list[Any], depth: int = 1) -> list[Any]:
    """The blocks without blank texts; the mark of one ends the same prefix at the block before."""
    filled: list[Any] = []
    for block in blocks:
        block = _filled(block, depth)
        if not (isinstance(block, dict) and block.get("type") == "text" and _blank(block.get("text"))):
            filled.append(block)
        elif "cache_control" in block and filled and isinstance(filled[-1], dict) and filled[-1].get("type") not in _THOUGHTS:
            filled[-1] = {"cache_control": block["cache_control"]} | filled[-1]
    return filled


def _is_blank(message: Any) -> bool:
    content = message.get("content") if isinstance(message, dict) else message
    return content == [] or _blank(content)


def _blank(text: Any) -> bool:
    return isinstance(text, str) and not text.strip()


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def _without_last_space(body: Body) -> tuple[Body, Path | None]:
    """A body whose answer so far does not end in white space."""
    messages = body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    content = last.get("content") if isinstance(last, dict) else None
    if isinstance(content, str):
        cut: Any = content.rstrip()
    elif isinstance(content, list) and content and isinstance(content[-1], dict) and isinstance(content[-1].get("text"), str):
        cut = [*content[:-1], content[-1] | {"text": content[-1]["text"].rstrip()}]
    else:
        return body, None
    return (body, None) if cut == content else (body | {"messages": [*messages[:-1], last | {"content": cut}]}, ("messages",))  # type: ignore[index,operator]


def _results_first(body: Body) -> tuple[Body, Path | None]:
    """A body in whose messages the results of tools stand before all else."""
    return each(body, "messages", lambda one: one | {"content": sorted(one["content"], key=_no_result)} if _mixed(one) else one)


def _no_result(block: Any) -> bool:
    return not (isinstance(block, dict) and block.get("type") == "tool_result")


def _mixed(message: Any) -> bool:
    content = message.get("content") if isinstance(message, dict) else None
    return isinstance(content, list) and any(_no_result(one) and not _no_result(two) for one, two in pairwise(content))


def _fitting_ids(body: Body) -> tuple[Body, Path | None]:
    """Ids of calls in the form of this API, and each once, as other providers do not give them."""
    ids = CallIds(IDS, own_vendor=True)

    def fitting(block: dict[str, Any]) -> dict[str, Any]:
        return with_id(with_id(block, "id", ids.call), "tool_use_id", ids.result) if _is_of_tool(block) else block

    return _each_block(body, fitting)


def _is_of_tool(block: dict[str, Any]) -> bool:
    return block.get("type") in ("tool_use", "tool_result")


def _fitting_budget(body: Body) -> tuple[Body, Path | None]:
    """Thinking with a budget within the token limit, or none where that is too small for both."""
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if not isinstance(thinking, dict) or not whole(budget):
        return body, None
    sent = thinking_within(max(budget, LEAST_BUDGET), body.get("max_tokens"))
    sent = thinking | sent if sent["type"] == "enabled" else sent
    return (body, None) if sent == thinking else (body | {"thinking": sent}, ("thinking",))


def _mixed_errors(body: Body) -> tuple[Body, Path | None]:
    """Results of failed tools with more than text, as results that say so."""

    def as_content(block: dict[str, Any]) -> dict[str, Any]:
        content = block.get("content") if block.get("is_error") is True else None
        if not isinstance(content, list) or all(isinstance(one, dict) and one.get("type") == "text" for one in content):
            return block
        return {name: value for name, value in block.items() if name != "is_error"} | {"content": [FAILED, *content]}

    return _each_block(body, as_content)


def _fitting_pictures(body: Body) -> tuple[Body, Path | None]:
    """Pictures, also in the results of tools, with the media type that they have."""
    return _each_block(
        body, lambda block: each(block, "content", _fitting_picture)[0] if block.get("type") == "tool_result" else _fitting_picture(block)
    )


def _fitting_picture(block: dict[str, Any]) -> dict[str, Any]:
    source = block.get("source") if block.get("type") == "image" else None
    if not isinstance(source, dict) or not isinstance(source.get("data"), str):
        return block
    try:
        kind = media.image_type("", source["data"])
    except ValueError:  # no base64
        kind = ""
    return block | {"source": source | {"media_type": kind}} if kind and kind != source.get("media_type") else block


def _each_block(body: Body, change: Callable[[dict[str, Any]], dict[str, Any]]) -> tuple[Body, Path | None]:
    """The body with the blocks of its messages changed; see `each`."""
    return each(body, "messages", lambda message: each(message, "content", change)[0])


LESSONS = (
    not_served("messages"),
    Reading(
        "results",
        re.compile(r"without `?tool_result`?.{0,10}(?:immediately|right) after", re.IGNORECASE),
        "the results of tools stand before all else in a message",
        sent=b'"tool_result"',
        change=_results_first,
        adapts="messages",
    ),
    Reading(
        "ids",
        re.compile(r"\btool_use(?:\.id|_id)\b.{0,40}pattern|`?tool_use`? ids must be unique", re.IGNORECASE),
        "ids of calls have this API's form",
        sent=b'"tool_use"',
        change=_fitting_ids,
        adapts="messages",
    ),
    Reading(
        "budget",
        re.compile(
            r"\bbudget(?:_tokens)?\b.{0,60}(?:greater|at least|does not fit)|greater than .{0,20}budget_tokens", re.IGNORECASE | re.DOTALL
        ),
        "the budget for thinking is within the token limit",
        sent=b'"budget_tokens"',
        change=_fitting_budget,
        adapts="thinking",
    ),
    Reading(
        "pictures",
        re.compile(r"does not match the provided media type|specified using the .{1,40} media type|declared media_type is", re.IGNORECASE),
        "pictures have the media type of their bytes",
        sent=b'"base64"',
        change=_fitting_pictures,
        adapts="messages",
    ),
    Reading(
        "errors",
        re.compile(r"is_error|error result takes text only", re.IGNORECASE),
        "results of failed tools say so where they hold more than text",
        sent=b'"is_error"',
        change=_mixed_errors,
        adapts="messages",
    ),
    Reading(
        "marks",
        re.compile(
            r"(?:maximum|at most|four|\b4\b).{0,40}cache_control|cache_control.{0,40}(?:maximum|at most)"
            r"|cache_control.{0,40}\b(?:empty|thinking)\b|thinking\.cache_control",
            re.IGNORECASE | re.DOTALL,
        ),
        "at most four cache marks are sent, and none on an empty text or on thinking",
        sent=b'"cache_control"',
        change=_fewer_marks,
        adapts="messages",
    ),
    Reading(
        "blanks",
        re.compile(r"non-empty|non-whitespace|\bis empty\b|must not be empty", re.IGNORECASE),
        "empty texts are left out",
        change=_without_blanks,
        adapts="messages",
    ),
    Reading(
        "last space",
        re.compile(r"(?:trailing|ends? with) white ?space", re.IGNORECASE),
        "the answer so far ends without white space",
        change=_without_last_space,
        adapts="messages",
    ),
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
        "system",
        re.compile(
            r"role.{0,3}system\b.{0,80}(?:misplaced|must|only|follow|unexpected|not allowed|two in a row)", re.IGNORECASE | re.DOTALL
        ),
        "messages of the system stand before all others",
        sent=b'"system"',
        change=_without_systems,
        adapts="messages",
        lasting=False,
    ),
    Reading(
        "system",
        re.compile(
            r"(?:unexpected|unknown|invalid) (?:message )?role\b.{0,4}system|\brole\b.{0,80}should be .?user\b.{1,8}\bassistant\b",
            re.IGNORECASE | re.DOTALL,
        ),
        "there are no messages of the system",
        sent=b'"system"',
        change=_without_systems,
        adapts="messages",
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
        "unsigned reasoning",
        re.compile(r"\bsignature`?: field required", re.IGNORECASE),
        "earlier reasoning without a signature is left out",
        sent=b'"thinking"',
        change=_without_unsigned,
        adapts="reasoning",
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
        "thinking",
        re.compile(r"thinking\.type\.enabled.{0,4} is not supported", re.IGNORECASE),
        "thinking is adaptive",
        sent=b'"thinking"',
        flags={"m_thinking": "adaptive"},
    ),
    Reading(
        "thinking",
        re.compile(
            r"adaptive thinking is not supported|thinking.{0,60}input tag 'adaptive'"
            r"|thinking\.type: input should be 'enabled' or 'disabled'",
            re.IGNORECASE,
        ),
        "thinking has a budget",
        sent=b'"thinking"',
        flags={"m_thinking": "manual"},
    ),
    Reading(
        "effort",
        re.compile(r"does not support the effort parameter|thinking.{0,20}cannot be disabled when reasoning_effort", re.IGNORECASE),
        "no effort is sent",
        sent=b'"effort"',
        change=leave_out("output_config", "effort"),
    ),
    Reading(
        "format",
        re.compile(r"\boutput_format\b.{0,100}(?:deprecated|not permitted|no longer|unknown|unexpected)", re.IGNORECASE | re.DOTALL),
        "output_format is called output_config.format",
        sent=b'"output_format"',
        change=format_renamed,
        adapts="output_format",
    ),
    surrogates("messages"),
    REFUSED_BETAS,
    ONLY_STREAMS,
    OTHER_ROUTE,
)
