"""What the rules of every upstream shape have in common: a body that is written, and what it was written from.

Strategy: an encoder writes what its shape's reference knows. Then each rule whose flags say so looks at the whole body and changes what
this upstream would answer with a 400: it leaves out, replaces or moves, and reports that in the ledger; only what has no equal is
refused by name. A rule is stated once, for all callers, and knows no provider: which upstream it holds for is data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .capabilities import Capabilities
from .ledger import Path
from .lessons import Body, Lesson
from .request import Request

# members of upstream bodies that stand for a setting of another name
_SETTINGS = {
    "max_output_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "user": "safety_identifier",
    "stop_sequences": "stop",
    "response_format": "output",
    "reasoning_effort": "thinking",
    "reasoning": "thinking",
    "output_config": "thinking",
}
# what the gateway itself adds: nobody asked for it
_OWN = frozenset({"stream_options", "include"})
_TURNS = frozenset({"messages", "input", "system", "instructions"})


def asked_at(request: Request, member: str) -> Path:
    """Where the caller's body has what stands in this member of the upstream's."""
    if member in _TURNS:
        return (request.habits.turns_at,)
    return request.path_of(_SETTINGS.get(member, member))


def follow(lessons: Iterable[Lesson], body: Body, request: Request, own: bool) -> Body:
    """A body without what the upstream has refused before; reports in the request's ledger what the caller asked of it.

    own: the body is the caller's own, in its own API.
    """
    for lesson in lessons:
        if lesson.change is None:
            continue
        body, path = lesson.change(body)
        if path is None:
            continue
        member = str(path[0])
        place = path if own else asked_at(request, member)
        if lesson.adapts:
            request.ledger.adapt((lesson.adapts,))
        elif place[0] in request.body and (own or member not in _OWN):
            request.ledger.drop(place)
    return body


@dataclass(slots=True)
class Draft:
    """A body that is written. Rules change it in place."""

    body: dict[str, Any]
    request: Request
    capabilities: Capabilities

    def drop(self, member: str) -> None:
        """Leave a member out, and report the caller's own field."""
        if self.body.pop(member, None) is not None and member not in _OWN:
            self.request.ledger.drop(asked_at(self.request, member))

    def adapt(self, setting: str, value: object = None) -> None:
        """Report a setting as adapted; what was reported of it before no longer holds."""
        path, ledger = self.request.path_of(setting), self.request.ledger
        ledger.adapted[:] = [entry for entry in ledger.adapted if entry.path != path]
        ledger.adapt(path, value)

    @property
    def history(self) -> Path:
        """What a report names when messages were moved or joined."""
        return ("input",) if "input" in self.request.body else ("messages",)


D = TypeVar("D", bound=Draft)


@dataclass(frozen=True, slots=True)
class Rule(Generic[D]):
    """holds: whether the upstream needs it. act: what it changes."""

    holds: Callable[[Capabilities], bool]
    act: Callable[[D], None]


def apply(rules: tuple[Rule[D], ...], draft: D) -> None:
    """Make the body one that the upstream takes. Raises errors.ClientFault leaves for what has no equal there."""
    for rule in rules:
        if rule.holds(draft.capabilities):
            rule.act(draft)


def leave_out(draft: Draft) -> None:
    """Members that the upstream refuses by name."""
    for member in draft.capabilities.leave_out:
        draft.drop(member)
