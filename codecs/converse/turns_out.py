"""Encode hub turns as `system` and `messages` of Converse.

User and assistant messages alternate, the first is the user's, the results of all calls of one message stand together in the next one,
and no text is blank. Other orders are rearranged. Some models take nothing beside results, or no assistant message first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..capabilities import Capabilities
from ..errors import Malformed, Unsupported
from ..ledger import Path, concrete
from ..reasoning import without_cut_thoughts
from ..request import Request
from .content_out import BLANK, Block, ContentWriter

_ROLES = {"user": "user", "tool": "user", "function": "user", "assistant": "assistant", "system": "system", "developer": "system"}


@dataclass(slots=True)
class _Message:
    """source: the path of the turn that it begins with."""

    role: str
    blocks: list[Block]
    source: Path


def write_turns(
    request: Request, capabilities: Capabilities, writer: ContentWriter, changes: Sequence[tuple[Path, Block]] = ()
) -> dict[str, Any]:
    """Return `system`, if there is any, and `messages`. Raises subclasses of errors.ClientFault.

    changes: blocks of system messages of their own, each with the path of what it comes from.
    """
    waiting = deque(changes)
    system: list[Block] = []
    messages: list[_Message] = []
    leading = True
    last_system: Path = ()
    for turn in request.turns:
        while waiting and _number(waiting[0][0]) <= _number(turn.path):
            path, block = waiting.popleft()
            _place(request, capabilities, messages, _Message("system", [block], path))
            leading = False
        role = _ROLES[turn.role]
        if role == "system" and leading:
            last_system = turn.path
            for part in turn.parts:
                writer.add(part, system)
            continue
        leading = leading and role == "system"
        blocks: list[Block] = []
        for part in without_cut_thoughts(turn.parts):
            writer.add(part, blocks)
        if not blocks and role != "system" and turn.parts and not capabilities.v_blank_text:
            blocks = [{"text": BLANK}] if any(hasattr(part, "text") and part.text for part in turn.parts) else []
            if blocks:
                request.ledger.adapt(turn.path)
        _place(request, capabilities, messages, _Message(role, blocks, turn.path))
    for path, block in waiting:
        _place(request, capabilities, messages, _Message("system", [block], path))
    if not messages and system:  # only instructions: they become the user's message
        request.ledger.adapt(last_system)
        messages.append(_Message("user", system, last_system))
        system = []
    messages = [message for message in messages if message.blocks]
    for message in messages:
        if message.role == "user":
            _results_first(request, message)
            _text_beside_document(request, message)
    messages = _nothing_beside_results(request, capabilities, messages)
    _first_is_user(request, capabilities, messages)
    _last_is_user(capabilities, messages)
    body: dict[str, Any] = {"system": system} if system else {}
    body["messages"] = [{"role": message.role, "content": message.blocks} for message in messages]
    return body


def _number(path: Path) -> int:
    """The place of a message among the caller's; -1 for what is none of them."""
    return path[1] if len(path) > 1 and isinstance(path[1], int) else -1


def _place(request: Request, capabilities: Capabilities, messages: list[_Message], message: _Message) -> None:
    """Add a message; one of the same role as the last joins it."""
    if not message.blocks:
        return
    if message.role == "system" and not (capabilities.m_mid_system and capabilities.v_system_inside):
        request.ledger.adapt(message.source)
        texts: list[Block] = [{"text": f"<system>{block['text']}</system>"} for block in message.blocks if "text" in block]
        message = _Message("user", texts, message.source)
    if messages and messages[-1].role == message.role:
        messages[-1].blocks += message.blocks
    else:
        messages.append(message)


def _results_first(request: Request, message: _Message) -> None:
    """Move results before all other blocks; of several with the same id, only the last remains."""
    results: dict[str, list[Block]] = {}
    others: list[Block] = []
    behind: list[Block] | None = None
    for block in message.blocks:
        result = block.get("toolResult")
        if result is not None:
            if others or results.pop(result["toolUseId"], None) is not None:
                request.ledger.adapt(message.source)
            results[result["toolUseId"]] = behind = [block]
        elif "cachePoint" in block and behind is not None and not others:
            behind.append(block)
        else:
            others.append(block)
    message.blocks = [block for group in results.values() for block in group] + others


def _text_beside_document(request: Request, message: _Message) -> None:
    """A document needs a text in the same message."""
    if any("document" in block for block in message.blocks) and not any("text" in block for block in message.blocks):
        message.blocks.append({"text": BLANK})
        request.ledger.adapt(message.source)


def _nothing_beside_results(request: Request, capabilities: Capabilities, messages: list[_Message]) -> list[_Message]:
    """Where a model takes nothing beside results, an assistant's turn stands between them and what follows."""
    if capabilities.v_beside_results != "none":
        return messages
    separated: list[_Message] = []
    for message in messages:
        results = [block for block in message.blocks if "toolResult" in block]
        others = [block for block in message.blocks if "toolResult" not in block]
        if not results or not others:
            separated.append(message)
            continue
        request.ledger.adapt(message.source)
        separated.append(_Message("user", results, message.source))
        separated.append(_Message("assistant", [{"text": BLANK}], ()))
        separated.append(_Message("user", others, message.source))
    return separated


def _first_is_user(request: Request, capabilities: Capabilities, messages: list[_Message]) -> None:
    root = request.habits.turns_at
    if not messages:
        raise Malformed(f"{root}: at least one message is required", code="invalid_value", param=root)
    if messages[0].role != "user" and not capabilities.v_leading_assistant:
        request.ledger.adapt(messages[0].source)
        messages.insert(0, _Message("user", [{"text": BLANK}], ()))


def _last_is_user(capabilities: Capabilities, messages: list[_Message]) -> None:
    """Raises Unsupported if an answer was begun by the caller, and the model goes on with none."""
    last = messages[-1]
    if last.role != "assistant" or "toolUse" in last.blocks[-1]:
        return
    if not capabilities.m_prefill:
        raise Unsupported("this model does not accept assistant prefill", param=concrete(last.source))
    text = last.blocks[-1].get("text", "")
    if text != text.rstrip():
        last.blocks[-1] = {"text": text.rstrip()}
