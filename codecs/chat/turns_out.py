"""Encode hub turns as `messages` for a chat upstream.

A chat message contains one text and its tool calls; the results must follow immediately, one text message each. Other orders are
rearranged, without inventing content: images of a result follow in a user message, and a result that comes later is moved up to its
calls; of several for one call the last remains. Source: OpenAI API reference, "Create chat completion"; providers refuse every other order.
"""

from __future__ import annotations

from typing import Any

from ..capabilities import Capabilities
from ..errors import Malformed
from ..request import CallPart, Part, ReasoningPart, RefusalPart, Request, ResultPart, TextPart, Turn
from .content_out import Content, ContentWriter, is_marked


def write_turns(request: Request, capabilities: Capabilities, writer: ContentWriter) -> list[dict[str, Any]]:
    """Return `messages`. Raises subclasses of errors.ClientFault."""
    turns = _Turns(request, capabilities, writer)
    for turn in _joined(request.turns):
        turns.add(turn)
    messages = turns.close()
    if not messages:
        root = request.habits.turns_at
        raise Malformed(f"{root}: at least one message is required", code="invalid_value", param=root)
    return messages


def _joined(turns: list[Turn]) -> list[Turn]:
    """Merge adjacent assistant turns, so that the results of all calls follow."""
    joined: list[Turn] = []
    copied = False  # the last one
    for turn in turns:
        if not (joined and turn.role == joined[-1].role == "assistant"):
            joined.append(turn)
            copied = False
            continue
        if not copied:
            joined[-1] = Turn("assistant", [*joined[-1].parts], turn.path)
            copied = True
        joined[-1].parts += turn.parts
        joined[-1].path = turn.path
    return joined


class _Turns:
    def __init__(self, request: Request, capabilities: Capabilities, writer: ContentWriter) -> None:
        self._messages: list[dict[str, Any]] = []
        self._hoisted: list[dict[str, Any]] = []  # system messages that stand before those, the last one first
        self._instructions = 0  # how many of the messages are a system's or a developer's
        self._instructed: list[str] | None = None  # the texts of the first one, which get more of them; None where it has cache marks
        self._habits = request.habits
        self._ledger = request.ledger
        self._capabilities = capabilities
        self._writer = writer
        self._answers: int | None = None  # index of the next tool message: after the last calls and their results
        self._late: dict[int, list[Content]] = {}  # tool messages that come when others stand there already, by such an index
        self._results: dict[str, Content] = {}  # those tool messages by call id
        self._attached: list[Content] = []  # of the results so far, for the next user message
        self._last: Turn | None = None

    def add(self, turn: Turn) -> None:
        role = turn.role
        if role == "assistant":
            if self._attached:
                self._attach([])
            self._assistant(turn)
        elif role == "system" or role == "developer":
            self._system(turn)
        else:
            self._user(turn)
        self._last = turn

    def close(self) -> list[dict[str, Any]]:
        """All messages."""
        self._attach([])
        last = self._last
        if last is not None and last.role == "assistant" and not (last.parts and type(last.parts[-1]) is CallPart):
            self._ledger.adapt(last.path)  # the beginning of an answer
        messages = self._messages
        if self._late:
            messages, at = [], 0
            for place, late in self._late.items():  # in order
                messages += self._messages[at:place]
                messages += late
                at = place
            messages += self._messages[at:]
        if self._hoisted:
            messages = self._hoisted[::-1] + messages
        self._join(messages[0] if messages else {})
        return messages

    # ---- system ----

    def _system(self, turn: Turn) -> None:
        parts = self._writer.text_only(turn.parts)
        if not parts:
            return
        role = turn.role if self._capabilities.c_developer_role else "system"
        leading = self._instructions == len(self._messages)
        first = self._hoisted[-1] if self._hoisted else self._messages[0] if self._messages else None
        hoisted = self._capabilities.c_single_system and not leading
        if hoisted:
            self._ledger.adapt(turn.path)
        if first is not None and first["role"] == role == "system" and (hoisted or (leading and not self._capabilities.c_developer_role)):
            self._instruct(first, parts)
            return
        message: Content = {"role": role, "content": _system_content(parts)}
        if hoisted:
            assert first is not None
            self._join(first)
            self._hoisted.append(message)
        else:
            self._attach([])
            self._messages.append(message)
            self._instructions += 1
        if hoisted or first is None:
            self._instructed = [message["content"]] if type(message["content"]) is str else None

    def _instruct(self, first: Content, parts: list[Content]) -> None:
        """Add to the first message. Its texts are joined at the end; from the first cache mark on each part stays one."""
        if self._instructed is None:
            first["content"] += parts
        elif is_marked(parts):
            first["content"] = [{"type": "text", "text": "\n\n".join(self._instructed)}, *parts]
            self._instructed = None
        else:
            self._instructed += [part["text"] for part in parts]

    def _join(self, first: Content) -> None:
        """Write the texts that `_instruct` has added."""
        if self._instructed is not None and len(self._instructed) > 1:
            first["content"] = "\n\n".join(self._instructed)

    # ---- user and tools ----

    def _user(self, turn: Turn) -> None:
        content: list[Content] = []
        for part in turn.parts:
            if isinstance(part, ResultPart):
                self._result(part, turn)
            elif self._answers is None:
                content += self._writer.parts(part)
            else:  # with tool results, where agents put the files that their tools read
                content += self._writer.noted(part)
        if turn.role != "tool":
            self._attach(content)

    def _result(self, part: ResultPart, turn: Turn) -> None:
        message, attached = self._writer.result(part)
        self._attached += attached
        before = self._results.setdefault(message["tool_call_id"], message)
        if before is not message:  # of several with the same id, only the last remains
            before["content"] = message["content"]
            self._ledger.adapt(turn.path)
            return
        if self._answers is None or self._answers == len(self._messages):
            self._messages.append(message)
            self._answers = len(self._messages)
        else:
            self._ledger.adapt((self._habits.turns_at,) if self._habits.one_list else turn.path)
            self._late.setdefault(self._answers, []).append(message)

    def _attach(self, content: list[Content]) -> None:
        """Add a user message with the attachments of earlier results and this content."""
        apart = not self._habits.results_inside and self._attached
        written = [self._attached, content] if apart else [[*self._attached, *content]]
        for parts in written:
            if parts:
                self._messages.append({"role": "user", "content": self._writer.content(parts)})
        self._attached = []

    # ---- the model ----

    def _assistant(self, turn: Turn) -> None:
        texts: list[str] = []
        before: Part | None = None
        refusal = ""
        calls: list[Content] = []
        extra: Content = {}
        thoughts: list[ReasoningPart] = []
        for part in turn.parts:
            if type(part) is CallPart:
                calls.append(self._writer.call(part))
            elif type(part) is TextPart and part.cache is None and part.seal is None:
                _say(texts, part.text, part, before)
            elif isinstance(part, ReasoningPart):
                thoughts.append(part)
            elif isinstance(part, RefusalPart):
                refusal += part.text
            else:
                for content in self._writer.text_only([part]):
                    _say(texts, content["text"], part, before)
                if isinstance(part, TextPart):
                    extra |= self._writer.sealed(part)
            before = part
        reasoning = self._writer.reasoning(thoughts, bool(calls)) if thoughts else {}
        if not (texts or calls or refusal or reasoning):
            return
        silent = calls or refusal
        message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) or (None if silent else "")}
        if refusal:
            message["refusal"] = refusal
        if reasoning or extra:
            message |= reasoning | extra
        if calls:
            message["tool_calls"] = calls
        self._messages.append(message)
        self._answers = len(self._messages) if calls else None
        self._results = {}


def _say(texts: list[str], more: str, part: Part, before: Part | None) -> None:
    """Add a text to those of one message; separate parts stay separated by a blank line."""
    if not texts or not texts[0]:
        texts[:] = [more]
    elif (
        isinstance(part, TextPart)
        and isinstance(before, TextPart)
        and part.path[:-1] == before.path[:-1]
        and not (part.apart or before.apart)
    ):
        texts.append(more)
    elif more:
        texts += "\n\n", more


def _system_content(parts: list[Content]) -> str | list[Content]:
    return parts if is_marked(parts) else "\n\n".join(part["text"] for part in parts)
