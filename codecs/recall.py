"""What a provider wants back with its tool calls, for callers that do not bring it themselves.

Chat agents send back `content` and `tool_calls`, perhaps `reasoning_content`; agents of the other APIs leave out thinking blocks and
reasoning items. So an encoder notes here, as it opens and closes parts, what belongs to the calls of its answer: the reasoning in
envelopes, and each call's own seal. The memory keeps the note under its key, and gives it back when a history has these calls without
it (`History`). Nothing is noted per delta.

A provider's call ids may recur (some count them from 0 in every answer), so a key is made of all ids of the turn and of the
conversation's first words, too. What a note holds is bound to its domain: a restored part goes to no other host.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

from . import jsontext, reasoning
from .events import Seal
from .ids import digest
from .ledger import STORED
from .request import CallPart, Part, ReasoningPart, Request, Sealed, TextPart, Turn

LONGEST = 256 * 1024  # bytes of a note: more is not worth its room in the memory

_TEXT = ""  # the step that stands for a text


class Recall:
    """The note of one answer, as it grows. domain: whose the answer is."""

    def __init__(self, history: History, domain: str) -> None:
        self._history = history
        self._domain = domain
        self._steps: list[str | list[str]] = []  # in order: envelopes of reasoning, _TEXT, and calls as [id, form, value]
        self._ids: list[str] = []
        self._wanted = False  # there is something that belongs to the calls

    def spoke(self) -> None:
        """A text begins."""
        self._steps.append(_TEXT)

    def thought(self, text: str, seals: list[Seal]) -> None:
        """A run of reasoning is over."""
        blocks: list[dict[str, Any]] = []
        for seal in seals:
            if seal.form == "anthropic":
                blocks.append({"type": "thinking", "thinking": text, "signature": seal.value})
            elif seal.form == "redacted":
                blocks.append({"type": "redacted_thinking", "data": seal.value})
            elif seal.form == "openai" and seal.value:
                self._add(reasoning.seal_item(self._domain, seal.id, seal.value, seal.summary))
            elif seal.form == "details":
                self._add(reasoning.seal_details(self._domain, jsontext.loads(seal.value)))
        if blocks:
            self._add(reasoning.seal_blocks(self._domain, blocks))
        elif text and not seals:
            self._add(reasoning.seal_text(self._domain, text))

    def called(self, id: str, seal: Seal | None) -> None:
        """A tool call begins. id: as the caller gets it."""
        self._ids.append(id)
        self._steps.append([id, "", ""] if seal is None else [id, seal.form, seal.value])
        self._wanted = self._wanted or seal is not None

    def _add(self, envelope: str) -> None:
        self._steps.append(envelope)
        self._wanted = True

    def note(self) -> tuple[str, bytes] | None:
        """The key and what to keep under it; None when nothing belongs to the calls of the answer."""
        if not (self._ids and self._wanted):
            return None
        note = jsontext.dumps(self._steps)
        return (self._history.key(self._ids), note) if len(note) <= LONGEST else None


class History:
    """A request's turns with calls. lacking: those that have nothing of what may belong to their calls."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.lacking: list[Turn] = []
        self._ids: list[list[str]] = []  # of the calls of each turn in `lacking`
        calls = False
        for turn in request.turns:
            if turn.role != "assistant":
                continue
            ids, lacks = [], True
            for part in turn.parts:
                if isinstance(part, CallPart):
                    ids.append(part.id)
                    lacks = lacks and part.seal is None
                elif isinstance(part, ReasoningPart) and part.form != "foreign":
                    lacks = False
            calls = calls or bool(ids)
            if ids and lacks:
                self.lacking.append(turn)
                self._ids.append(ids)
        self.brings = calls and not self.lacking  # the caller keeps by itself what belongs to calls

    @cached_property
    def _opening(self) -> Any:
        """The hash of the first words, which stay the same in all of a conversation."""
        first = next((turn for turn in self._request.turns if turn.role == "user"), None)
        text = "" if first is None else digest("\n".join(part.text for part in first.parts if isinstance(part, TextPart)), 32)
        return hashlib.sha256(text.encode())

    def key(self, ids: list[str]) -> str:
        """Under what the note of a turn with these calls is kept."""
        hashed = self._opening.copy()
        hashed.update("\n".join(["", *ids]).encode("utf-8", "surrogatepass"))
        return f"calls_{hashed.hexdigest()[:32]}"

    def keys(self) -> list[str]:
        """Of the turns in `lacking`."""
        return [self.key(ids) for ids in self._ids]

    def restore(self, notes: list[bytes | None], domain: str) -> None:
        """Put back what was kept of the turns in `lacking`, as far as it is of this domain."""
        for turn, note in zip(self.lacking, notes, strict=True):
            if note is not None:
                _restore(turn, note, domain)


def _restore(turn: Turn, note: bytes, domain: str) -> None:
    """Reasoning stands before the text or call that it led to; what the caller has of it without a seal says nothing new."""
    path = (STORED,)  # nobody sent it this time: what cannot be carried is not reported
    waiting: list[Part] = []
    before: dict[str, list[Part]] = {}  # of the first text, and of each call
    seals: dict[str, Sealed] = {}
    for step in jsontext.loads(note):
        if not isinstance(step, str):
            id, form, value = step
            before[id], waiting = waiting, []
            if form:
                seals[id] = Sealed(form, value, path, domain)
        elif step == _TEXT:
            if _TEXT not in before:
                before[_TEXT], waiting = waiting, []
        else:
            thought = reasoning.opened(step, path)
            if thought.domain != domain:
                return
            waiting.append(thought)
    said = [part for part in turn.parts if not isinstance(part, ReasoningPart)]
    parts = [] if any(isinstance(part, TextPart) for part in said) else before.pop(_TEXT, [])
    for part in said:
        if isinstance(part, TextPart):
            parts += before.pop(_TEXT, [])
        elif isinstance(part, CallPart):
            parts += before.pop(part.id, [])
            part.seal = seals.get(part.id)
        parts.append(part)
    turn.parts = parts + waiting
