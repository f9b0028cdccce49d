"""Hub turns as `system` and `messages` for a messages upstream.

The shape wants turns of user and assistant in alternation, the results of tools at the start of the user turn right after their
calls, and no empty text. What stands otherwise is moved, never invented: calls without results and results without calls go up
as they are, and the provider says what it thinks of them. Source: Anthropic, "Create a Message", "How to implement tool use".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..capabilities import Capabilities
from ..errors import Malformed, Unsupported
from ..ledger import Path, concrete
from ..request import Part, ReasoningPart, Request
from .content_out import Block, ContentWriter, one_text

CONTINUES = "(conversation continues)"
_ROLES = {"user": "user", "tool": "user", "function": "user", "assistant": "assistant", "system": "system", "developer": "system"}


@dataclass(slots=True)
class _Message:
    role: str
    blocks: list[Block]
    sources: list[Path]  # the hub turn that each block is from


def write_turns(request: Request, capabilities: Capabilities, writer: ContentWriter) -> dict[str, Any]:
    """`system` (when there is any) and `messages`. Raises errors.ClientFault leaves."""
    system: list[Block] = []
    last: tuple[Path, list[Block]] = ((), [])  # of the system's turns
    messages: list[_Message] = []
    roles = [_ROLES[turn.role] for turn in request.turns]
    for turn, role, place in zip(request.turns, roles, _places(roles), strict=True):
        message = _Message(role, [], [])
        for part in _without_cut_thoughts(turn.parts):
            message.blocks += writer.blocks(part)
        message.sources = [turn.path] * len(message.blocks)
        if place == "inside" and capabilities.m_mid_system:
            place = ""
        if place:
            system += message.blocks
            last = (turn.path, message.blocks) if message.blocks else last
            if place != "leading" and message.blocks:
                request.ledger.adapt(turn.path)
        else:
            _append(messages, message)
    if not messages and last[1]:  # nothing but instructions: the last of them are what is asked
        request.ledger.adapt(last[0])
        del system[-len(last[1]) :]
        messages.append(_Message("user", last[1], [last[0]] * len(last[1])))
    for message in messages:
        if message.role == "user":
            _results_first(request, message)
    _first_is_user(request, capabilities, messages)
    _last_is_user(request, capabilities, messages)
    body: dict[str, Any] = {"system": one_text(system)} if system else {}
    body["messages"] = [{"role": message.role, "content": one_text(message.blocks)} for message in messages]
    return body


def _without_cut_thoughts(parts: list[Part]) -> list[Part]:
    """A turn's parts without unsealed reasoning at its end: the token limit cut it before it was signed, and nothing came of it."""
    end = len(parts)
    while end and isinstance(part := parts[end - 1], ReasoningPart) and part.form == "text":
        end -= 1
    return parts[:end]


def _places(roles: list[str]) -> list[str]:
    """Of each system turn: leading, inside where it may stand (after a user's, before an assistant's or the end), or odd."""
    places = [""] * len(roles)
    after = "assistant"
    for i in reversed(range(len(roles))):
        if roles[i] == "system":
            places[i] = "inside" if after == "assistant" else "odd"
        else:
            after = roles[i]
    before = "leading"
    for i, role in enumerate(roles):
        if role != "system":
            before = role
        elif before == "leading":
            places[i] = "leading"
        elif before != "user":
            places[i] = "odd"
    return places


def _append(messages: list[_Message], message: _Message) -> None:
    """Adds a message that is not empty; turns of one role are one."""
    if not message.blocks:
        return
    if not messages or messages[-1].role != message.role:
        messages.append(message)
        return
    last = messages[-1]
    last.blocks += message.blocks
    last.sources += message.sources


def _results_first(request: Request, message: _Message) -> None:
    """Puts results before everything else, of several with one id the last."""
    results: dict[str, tuple[Block, Path]] = {}
    others: list[tuple[Block, Path]] = []
    for block, source in zip(message.blocks, message.sources, strict=True):
        if block["type"] != "tool_result":
            others.append((block, source))
            continue
        if others or results.pop(block["tool_use_id"], None) is not None:
            request.ledger.adapt(source)
        results[block["tool_use_id"]] = (block, source)
    message.blocks = [block for block, _ in (*results.values(), *others)]
    message.sources = [source for _, source in (*results.values(), *others)]


def _first_is_user(request: Request, capabilities: Capabilities, messages: list[_Message]) -> None:
    root = request.habits.turns_at
    if not messages:
        raise Malformed(f"{root}: at least one message is required", code="invalid_value", param=root)
    if messages[0].role != "user" and capabilities.m_first_user_required:
        request.ledger.adapt(messages[0].sources[0])
        messages.insert(0, _Message("user", [{"type": "text", "text": CONTINUES}], [()]))


def _last_is_user(request: Request, capabilities: Capabilities, messages: list[_Message]) -> None:
    """An answer's beginning that the model shall continue: not every model takes one, and none with white space at its end."""
    last = messages[-1]
    block, source = last.blocks[-1], last.sources[-1]
    if last.role != "assistant" or block["type"] == "tool_use":
        return
    if not capabilities.m_prefill:
        raise Unsupported("this model does not accept assistant prefill", param=concrete(source))
    text = block.get("text", "")
    if text != text.rstrip():
        block["text"] = text.rstrip()
        request.ledger.adapt(source)
