"""What the rules of every upstream shape have in common: a body that goes up, and what it was made from.

Strategy: an encoder writes a body according to its shape's reference. Then each rule that applies by the capabilities changes what
this upstream would refuse with a 400: it leaves out, replaces or moves members, and reports that in the ledger; only what has no
equivalent is refused by name. A rule is stated once, for all callers and without naming a provider: the upstreams it applies to are data.

A body that is carried in the caller's own API passes the rules that say so. It is as the caller wrote it: a rule takes whatever is not
of its form as if it were not there, and what no rule changes stays the same object, so that the caller's bytes go up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeGuard, TypeVar

from .anything import dicts_of
from .capabilities import Capabilities
from .ledger import Path
from .lessons import EACH, IDLE, Body, Lesson, steps_to, without
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
    """A body on its way up. Rules replace its members, and change nothing within them.

    own: it is the caller's own, in its own API: reports name its members as they are.
    """

    body: dict[str, Any]
    request: Request
    capabilities: Capabilities
    own: bool = False

    def drop(self, member: str) -> None:
        """Leave out a member, or what stands in lists (`input[].status`), and report the caller's own field."""
        head, *inner = steps_to(member)
        if head not in self.body:
            return
        place: Path = (head,)
        if not inner:
            value = self.body.pop(head)
            if value is None or value in IDLE.get(head, ()):
                return
        else:
            rest, removed = without(self.body, (head, *inner))
            if removed is None:
                return
            place, self.body[head] = removed, rest.get(head)
            if head not in rest:
                del self.body[head]  # it was all that stood there
        if self.own:
            self.request.ledger.drop(place)
        elif head not in _OWN:
            report = self.request.ledger.adapt if inner else self.request.ledger.drop
            report(asked_at(self.request, head))

    def leave_default(self, member: str, default: object) -> None:
        """Leave out a member that says no more than its absence does: nothing is lost."""
        if self.body.get(member) == default:
            del self.body[member]

    def adapt(self, setting: str, value: object = None, member: str = "") -> None:
        """Report a setting as adapted; what was reported of it before no longer holds. member: its name in this API, if it is another."""
        path, ledger = (member or setting,) if self.own else self.request.path_of(setting), self.request.ledger
        ledger.adapted[:] = [entry for entry in ledger.adapted if entry.path != path]
        ledger.adapt(path, value)

    def moved(self) -> None:
        """Report that messages were moved, joined or filled."""
        self.request.ledger.adapt(self.history)

    def all_of(self, member: str) -> list[dict[str, Any]]:
        """The objects of a list."""
        return dicts_of(self.body, member)

    def each(self, member: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
        """Change the objects of a list; whether there was anything to change. change: returns what it does not change as it is."""
        before = self.body.get(member)
        if not isinstance(before, list):
            return False
        after = [change(one) if isinstance(one, dict) else one for one in before]
        if all(new is old for new, old in zip(after, before, strict=True)):
            return False
        self.body[member] = after
        return True

    @property
    def history(self) -> Path:
        """The path to report when messages were moved or joined."""
        return ("input",) if "input" in self.request.body else ("messages",)


D = TypeVar("D", bound=Draft)


@dataclass(frozen=True, slots=True)
class Rule(Generic[D]):
    """holds: whether the upstream needs it. act: what it changes.

    of: the bodies that it is for: those that an encoder has written, those that are carried as their callers wrote them, or all.
    rests_on: a field of the capabilities whose default is a guess: while it is one, what a caller writes in the upstream's own API stands.
    walks: it looks at all that stands in lists, which may take long.
    """

    holds: Callable[[Capabilities], bool]
    act: Callable[[D], None]
    of: Literal["written", "carried", "all"] = "all"
    rests_on: str = ""
    walks: bool = False


def apply(rules: tuple[Rule[D], ...], draft: D) -> None:
    """Apply the rules to the body. Raises subclasses of errors.ClientFault for what has no equivalent at the upstream."""
    for rule in _for_written(rules, draft.capabilities):
        rule.act(draft)


_MOST_CHOSEN = 1024
_chosen: dict[tuple[int, int], tuple[Capabilities, tuple[Rule[Any], ...]]] = {}  # by identity: their objects are kept, so it lasts


def _for_written(rules: tuple[Rule[D], ...], capabilities: Capabilities) -> tuple[Rule[D], ...]:
    """The rules that an upstream has for bodies that an encoder has written: found once, since an upstream's capabilities last."""
    key = id(rules), id(capabilities)
    cached = _chosen.get(key)
    if cached is None:
        if len(_chosen) >= _MOST_CHOSEN:
            _chosen.clear()
        chosen = tuple(rule for rule in rules if rule.of != "carried" and rule.holds(capabilities))
        cached = _chosen[key] = capabilities, chosen
    return cached[1]


def for_carried(rules: tuple[Rule[Any], ...], capabilities: Capabilities) -> tuple[Rule[Any], ...]:
    """The rules that an upstream has for bodies of its own API."""
    known = capabilities.known | {""}
    return tuple(rule for rule in rules if rule.of != "written" and rule.rests_on in known and rule.holds(capabilities))


def amended(rules: tuple[Rule[Any], ...], draft: Draft) -> Body:
    """A caller's own body as the upstream takes it; the same object where it breaks no rule. Raises as apply. rules: of for_carried."""
    before = draft.body
    draft.body = dict(before)
    for rule in rules:
        rule.act(draft)
    after = draft.body
    same = len(after) == len(before) and all(name in after and after[name] is value for name, value in before.items())
    return before if same else after


def leave_out(draft: Draft) -> None:
    """Leave out members that the upstream refuses (`leave_out`)."""
    for member in draft.capabilities.leave_out:
        if EACH not in member:
            draft.drop(member)


def leave_out_inside(draft: Draft) -> None:
    """The same of what stands in lists."""
    for member in draft.capabilities.leave_out:
        if EACH in member:
            draft.drop(member)


LEAVE_OUT: tuple[Rule[Any], ...] = (
    Rule(lambda can: any(EACH not in member for member in can.leave_out), leave_out),
    Rule(lambda can: any(EACH in member for member in can.leave_out), leave_out_inside, walks=True),
)
"""Of every shape."""


def whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
