"""The common part of the rules of all upstream shapes.

Strategy: an encoder writes a body according to its shape's reference. Then each rule that applies by the capabilities changes what
this upstream would refuse with a 400: it leaves out, replaces or moves members, and reports that in the ledger; only what has no
equivalent is refused by name. A rule is stated once, for all callers and without naming a provider: the upstreams it applies to are data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .capabilities import Capabilities
from .ledger import Path
from .lessons import Body, Lesson
from .request import Request

# members of upstream bodies that represent a setting of another name
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
# members added by the gateway itself, which are not reported
_OWN = frozenset({"stream_options", "include"})
_TURNS = frozenset({"messages", "input", "system", "instructions"})


def asked_at(request: Request, member: str) -> Path:
    """The path in the caller's body of a member of the upstream's body."""
    if member in _TURNS:
        return (request.habits.turns_at,)
    return request.path_of(_SETTINGS.get(member, member))


def follow(lessons: Iterable[Lesson], body: Body, request: Request, own: bool) -> Body:
    """Return the body changed by lessons from earlier refusals. Changes of what the caller requested are reported in the ledger.

    own: whether the body is the caller's, in its own API.
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
    """An encoded body. Rules change it in place."""

    body: dict[str, Any]
    request: Request
    capabilities: Capabilities

    def drop(self, member: str) -> None:
        """Leave out a member, and report the caller's field as dropped."""
        if self.body.pop(member, None) is not None and member not in _OWN:
            self.request.ledger.drop(asked_at(self.request, member))

    def adapt(self, setting: str, value: object = None) -> None:
        """Report a setting as adapted, replacing earlier reports on it."""
        path, ledger = self.request.path_of(setting), self.request.ledger
        ledger.adapted[:] = [entry for entry in ledger.adapted if entry.path != path]
        ledger.adapt(path, value)

    @property
    def history(self) -> Path:
        """The path to report when messages were moved or joined."""
        return ("input",) if "input" in self.request.body else ("messages",)


D = TypeVar("D", bound=Draft)


@dataclass(frozen=True, slots=True)
class Rule(Generic[D]):
    """A rule. holds: whether it applies, by the capabilities. act: changes the draft."""

    holds: Callable[[Capabilities], bool]
    act: Callable[[D], None]


def apply(rules: tuple[Rule[D], ...], draft: D) -> None:
    """Apply the rules to the body. Raises subclasses of errors.ClientFault for what has no equivalent at the upstream."""
    for rule in rules:
        if rule.holds(draft.capabilities):
            rule.act(draft)


def leave_out(draft: Draft) -> None:
    """Leave out members that the upstream refuses (`leave_out`)."""
    for member in draft.capabilities.leave_out:
        draft.drop(member)
