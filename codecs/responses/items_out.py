"""Encode hub turns as `instructions` and `input` for a responses upstream.

Only reasoning items have an id, the provider's own: OpenAI refuses ids that it does not know. Source: OpenAI API reference,
"Create a model response" (input), "Reasoning models" (keeping reasoning items in context).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..capabilities import Capabilities
from ..ids import CallIds
from ..ledger import Path
from ..request import CallPart, ForeignPart, Part, ReasoningPart, RefusalPart, Request, ResultPart, TextPart, Turn
from ..tools import ToolMap
from .content_out import Content, ContentWriter
from .facts import IDS

Item = dict[str, Any]

# kind of call -> type of its item, the member with its text, and the type of its result's item
_CALLS = {
    "function": ("function_call", "arguments", "function_call_output"),
    "custom": ("custom_tool_call", "input", "custom_tool_call_output"),
}


class ItemsWriter:
    """Encodes the input of one request."""

    def __init__(self, request: Request, capabilities: Capabilities, tools: ToolMap) -> None:
        self.instructions = ""
        self.items: list[Item] = []
        self._request = request
        self._ledger = request.ledger
        self._tools = tools
        self._content = ContentWriter(request, capabilities)
        self._ids = CallIds(IDS, capabilities.openai_host)
        self._kinds: dict[str, str] = {}  # the kind of the called tool, by call id
        self._reads = capabilities.r_encrypted_reasoning
        self._domain = capabilities.reasoning_domain

    def write(self) -> None:
        """Write the input. Raises subclasses of errors.ClientFault."""
        turns = self._request.turns
        if turns and turns[0].path == ("system",):  # the `system` member of a messages client
            self.instructions = "\n\n".join(_texts(turns[0]))
            turns = turns[1:]
        for turn in turns:
            if turn.role == "assistant":
                _Answer(self, turn).write()
            else:
                self._asked(turn)

    def _asked(self, turn: Turn) -> None:
        """Write a turn of a user, system or tool: results first, as in each shape."""
        others: list[Content] = []
        for part in turn.parts:
            if isinstance(part, ResultPart):
                self._result(part)
            elif isinstance(part, ForeignPart):
                self._ledger.drop(part.path, part.label)
            else:
                others += self._content.content(part)
        role = self._request.habits.system_inside if turn.role == "system" else turn.role
        if len(others) == 1 and others[0].keys() == {"type", "text"}:
            self.items.append({"type": "message", "role": role, "content": others[0]["text"]})
        elif others:
            self.items.append({"type": "message", "role": role, "content": others})

    def _result(self, part: ResultPart) -> None:
        kind = _CALLS[self._kinds.get(part.id, part.kind)][2]
        self.items.append({"type": kind, "call_id": self._ids.result(part.id), "output": self._content.output(part)})

    def call(self, part: CallPart) -> Item:
        if part.seal is not None:
            self._ledger.drop(part.seal.path)
        kind, key, _ = _CALLS[part.kind]
        self._kinds[part.id] = part.kind
        text = part.arguments if part.kind == "custom" or part.arguments.strip() else "{}"
        return {"type": kind, "call_id": self._ids.call(part.id), "name": self._tools.wire(part.name), key: text}

    def reasoning(self, part: ReasoningPart) -> Item | None:
        """A reasoning item, for the provider that sealed it, or that produced it if it never seals."""
        if part.form == "text" and part.text and part.domain == self._domain and not self._reads:
            return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": part.text}]}
        known = part.form == "openai" and part.encrypted and part.domain in (None, self._domain)
        if not known or not self._reads:
            return None
        summary = [{"type": "summary_text", "text": text} for text in part.summary]
        return {"type": "reasoning", "id": part.id, "summary": summary, "encrypted_content": part.encrypted}


class _Answer:
    """Encodes one assistant turn as items; adjacent texts become one message."""

    def __init__(self, writer: ItemsWriter, turn: Turn) -> None:
        self._writer = writer
        self._turn = turn
        self._ledger = writer._ledger
        self._texts: list[str] = []
        self._held: list[tuple[Item, Path]] = []  # reasoning items, held until another item follows

    def write(self) -> None:
        for part in self._turn.parts:
            _PARTS.get(type(part), _Answer._other)(self, part)
        self._message()
        for _, path in self._held:  # the provider refuses a reasoning item without a following item
            self._ledger.drop(path)

    def _text(self, part: TextPart) -> None:
        if part.apart:
            self._message()
        self._texts.append(part.text)
        if part.apart:
            self._message()

    def _refusal(self, part: RefusalPart) -> None:
        self._message()
        self._texts.append(part.text)
        self._message()

    def _reasoning(self, part: ReasoningPart) -> None:
        item = self._writer.reasoning(part)
        if item is None:
            self._ledger.drop(part.path)
            return
        self._message()
        self._held.append((item, part.path))

    def _call(self, part: CallPart) -> None:
        self._message()
        self._add(self._writer.call(part))

    def _other(self, part: Part) -> None:
        """Drop a part that this shape's assistant turns cannot contain, and report it."""
        self._ledger.drop(part.path, part.label if isinstance(part, ForeignPart) else "")

    def _message(self) -> None:
        text, self._texts = "".join(self._texts), []
        if text:
            self._add({"type": "message", "role": "assistant", "content": text})

    def _add(self, item: Item) -> None:
        self._writer.items += [held for held, _ in self._held]
        self._writer.items.append(item)
        self._held = []


_PARTS: dict[type, Callable[[_Answer, Any], None]] = {
    TextPart: _Answer._text,
    RefusalPart: _Answer._refusal,
    ReasoningPart: _Answer._reasoning,
    CallPart: _Answer._call,
}


def _texts(turn: Turn) -> list[str]:
    return [part.text for part in turn.parts if isinstance(part, TextPart) and part.text]
