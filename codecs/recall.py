"""Store what a provider needs back with its tool calls, for callers that do not send it themselves.

Chat agents send back `content` and `tool_calls`, perhaps `reasoning_content`; agents of the other APIs omit thinking blocks and
reasoning items. An encoder therefore records here, when it opens and closes parts, what belongs to the calls of its answer: the
reasoning in envelopes, and each call's seal. The gateway's memory stores this note under a key, and restores it when a history has
these calls without it (`History`). Deltas are not recorded.

A provider's call ids may recur (some count from 0 in every answer), so the key consists of all ids of the turn and the beginning of
the conversation. A note is bound to its domain: a restored part is only sent to the same one.
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

LONGEST = 256 * 1024  # bytes of a note; larger ones are not stored

_TEXT = ""  # the step that represents a text


class Recall:
    """The note on one answer. domain: the origin of the answer."""

    def __init__(self, history: History, domain: str) -> None:
        self._opening = history.opening
        self._domain = domain
        self._steps: list[str | list[str]] = []  # in order: envelopes of reasoning, _TEXT, and calls as [id, form, value]
        self._ids: list[str] = []
        self._wanted = False  # there is something to restore with the calls

    def spoke(self) -> None:
        """Record the start of a text."""
        self._steps.append(_TEXT)

    def thought(self, text: str, seals: list[Seal]) -> None:
        """Record a finished run of reasoning."""
        for seal in seals:
            if seal.form == "openai" and seal.value:
                self._add(reasoning.seal_item(self._domain, seal.id, seal.value, seal.summary))
            elif seal.form == "details":
                self._add(reasoning.seal_details(self._domain, jsontext.loads(seal.value)))
        blocks = reasoning.blocks_of(text, seals)
        if blocks:
            self._add(reasoning.seal_blocks(self._domain, blocks))
        elif text and not seals:
            self._add(reasoning.seal_text(self._domain, text))

    def called(self, id: str, seal: Seal | None) -> None:
        """Record the start of a tool call. id: as sent to the caller."""
        self._ids.append(id)
        self._steps.append([id, "", ""] if seal is None else [id, seal.form, seal.value])
        self._wanted = self._wanted or seal is not None

    def _add(self, envelope: str) -> None:
        self._steps.append(envelope)
        self._wanted = True

    def note(self) -> tuple[str, bytes] | None:
        """Return the key and the value to store; None if there is nothing to restore with the calls."""
        if not (self._ids and self._wanted):
            return None
        note = jsontext.dumps(self._steps)
        return (_key(self._opening, self._ids), note) if len(note) <= LONGEST else None


class History:
    """The turns of a request with tool calls. They are looked at when that is asked for: a long history takes a while."""

    def __init__(self, request: Request) -> None:
        self._request = request

    @cached_property
    def brings(self) -> bool:
        """Whether the caller keeps by itself what belongs to calls: there are some, and no turn in `lacking`."""
        calls = False
        for turn in self._request.turns:
            ids, lacks = _calls(turn)
            if ids and lacks:
                return False
            calls = calls or bool(ids)
        return calls

    @cached_property
    def _lacking(self) -> list[tuple[Turn, list[str]]]:
        checked = [(turn, *_calls(turn)) for turn in self._request.turns]
        return [(turn, ids) for turn, ids, lacks in checked if ids and lacks]

    @property
    def lacking(self) -> list[Turn]:
        """The turns without anything that may belong to their calls."""
        return [turn for turn, _ in self._lacking]

    @cached_property
    def opening(self) -> Any:
        """The hash of the beginning of the conversation, which stays the same in all of its requests."""
        first = next((turn for turn in self._request.turns if turn.role == "user"), None)
        text = "" if first is None else digest("\n".join(part.text for part in first.parts if isinstance(part, TextPart)), 32)
        return hashlib.sha256(text.encode())

    def key(self, ids: list[str]) -> str:
        """The key of the note on a turn with these call ids."""
        return _key(self.opening, ids)

    def keys(self) -> list[str]:
        """The keys of the turns in `lacking`."""
        return [self.key(ids) for _, ids in self._lacking]

    def restore(self, notes: list[bytes | None], domain: str) -> None:
        """Restore the turns in `lacking` from their notes, if these are of this domain."""
        for turn, note in zip(self.lacking, notes, strict=True):
            if note is not None:
                _restore(turn, note, domain)


def _calls(turn: Turn) -> tuple[list[str], bool]:
    """The ids of an assistant turn's calls, and whether it has nothing that may belong to them."""
    ids: list[str] = []
    lacks = True
    for part in turn.parts if turn.role == "assistant" else ():
        if isinstance(part, CallPart):
            ids.append(part.id)
            lacks = lacks and part.seal is None
        elif isinstance(part, ReasoningPart) and part.form != "foreign":
            lacks = False
    return ids, lacks


def _key(opening: Any, ids: list[str]) -> str:
    hashed = opening.copy()
    hashed.update("\n".join(["", *ids]).encode("utf-8", "surrogatepass"))
    return f"calls_{hashed.hexdigest()[:32]}"


def _restore(turn: Turn, note: bytes, domain: str) -> None:
    """Insert reasoning before the text or call that it led to. It replaces unsealed reasoning sent by the caller."""
    path = (STORED,)  # not in this request: what cannot be carried is not reported
    waiting: list[Part] = []
    before: dict[str, list[Part]] = {}  # the parts before the first text and before each call
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
    others = [part for part in turn.parts if not isinstance(part, ReasoningPart)]
    parts = [] if any(isinstance(part, TextPart) for part in others) else before.pop(_TEXT, [])
    for part in others:
        if isinstance(part, TextPart):
            parts += before.pop(_TEXT, [])
        elif isinstance(part, CallPart):
            parts += before.pop(part.id, [])
            part.seal = seals.get(part.id)
        parts.append(part)
    turn.parts = parts + waiting
