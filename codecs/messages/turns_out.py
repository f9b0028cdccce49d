"""Encode hub turns as `system` and `messages` for a messages upstream.

The shape requires alternating user and assistant turns, tool results at the start of the user turn right after their calls, and no
empty text. Other orders are rearranged, without inventing content: calls without results and results without calls are sent
unchanged, and the provider decides. Source: Anthropic, "Create a Message", "How to implement tool use".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..capabilities import Capabilities
from ..errors import Malformed, Unsupported
from ..ledger import Path, concrete
from ..reasoning import without_cut_thoughts
from ..request import ReasoningPart, Request
from .content_out import Block, ContentWriter, one_text

CONTINUES = "(conversation continues)"
_ROLES = {"user": "user", "tool": "user", "function": "user", "assistant": "assistant", "system": "system", "developer": "system"}


@dataclass(slots=True)
class _Message:
    role: str
    blocks: list[Block]
    sources: list[Path]  # for each block, the path of its hub turn


def write_turns(request: Request, capabilities: Capabilities, writer: ContentWriter) -> dict[str, Any]:
    """Return `system`, if there is any, and `messages`. Raises subclasses of errors.ClientFault."""
    system: list[Block] = []
    last: tuple[Path, list[Block]] = ((), [])  # path and blocks of the last system turn
    messages: list[_Message] = []
    roles = [_ROLES[turn.role] for turn in request.turns]
    for turn, role, place in zip(request.turns, roles, _places(roles), strict=True):
        parts = turn.parts
        if parts and type(parts[-1]) is ReasoningPart:
            parts = without_cut_thoughts(parts)
        blocks: list[Block] = []
        for part in parts:
            blocks += writer.blocks(part)
        message = _Message(role, blocks, [turn.path] * len(blocks))
        if place == "inside" and capabilities.m_mid_system:
            place = ""
        if place:
            system += blocks
            last = (turn.path, blocks) if blocks else last
            if place != "leading" and blocks:
                request.ledger.adapt(turn.path)
        elif blocks:
            _append(messages, message)
    if not messages and last[1]:  # only instructions: the last of them become the user's message
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


def _places(roles: list[str]) -> list[str]:
    """The place of each system turn: leading, inside (allowed: after user, before assistant or the end), or odd."""
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
    """Add a message; merge it with a previous one of the same role."""
    if not messages or messages[-1].role != message.role:
        messages.append(message)
        return
    last = messages[-1]
    last.blocks += message.blocks
    last.sources += message.sources


def _results_first(request: Request, message: _Message) -> None:
    """Move results before all other blocks; of several with the same id, only the last remains."""
    if len(message.blocks) == 1:
        return
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
    """Strip white space from the end of a last assistant message (prefill). Raises Unsupported if the model accepts no prefill."""
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
