"""What becomes of each field of a request at an upstream: carried, adapted, dropped or refused.

Each specimen of the caller's shape (`codecs/specimens.py`) is sent through the same decoder, encoder and rules as requests are, with the
upstream's capabilities, what was learned from its refusals, and the operator's changes; what the ledger then says, compared with the same
request without the field, is the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from ...codecs import edit, errors, jsontext, rules
from ...codecs.ledger import Entry, Ledger
from ...codecs.lessons import Lesson, known
from ...codecs.request import Request
from ...codecs.shape import Shape
from .candidate import Candidate

Outcome = Literal["carried", "adapted", "dropped", "refused"]
Learned = Mapping[str, tuple[Lesson, ...]]
"""What was learned of an upstream, by its API."""
NOTHING: Learned = MappingProxyType({})


class FieldOutcome(NamedTuple):
    """What becomes of one field. details: what was dropped or adapted, as in the headers; or why it is refused.

    into: the members of the upstream's body that differ by it; none where the gateway itself does what the field asks for. api: the
    upstream's, which may be another one for some fields. learned: what makes it so, of what was learned; else it is known for good.
    """

    field: str
    outcome: Outcome
    details: list[str]
    into: list[str]
    api: str
    learned: tuple[str, ...] = ()


class _Sent(NamedTuple):
    body: dict[str, Any]
    ledger: Ledger
    over: Candidate


def fields(own: Shape, candidate: Candidate, learned: Learned = NOTHING) -> list[FieldOutcome]:
    """What becomes of the fields of a caller's shape at an upstream, in the order of the API's reference."""
    return list(_fields_of(own, candidate, learned))


def _fields_of(own: Shape, candidate: Candidate, learned: Learned) -> Iterator[FieldOutcome]:
    for name in own.specimens.fields:
        field = _field(own, candidate, name, learned)
        if learned and (usual := _field(own, candidate, name, NOTHING)) != field:
            lessons = [(api, lesson) for api, known in learned.items() for lesson in known]
            why = [lesson.text for api, lesson in lessons if _field(own, candidate, name, {api: (lesson,)}) != usual]
            field = field._replace(learned=tuple(why or (lesson.text for _, lesson in lessons)))
        yield field


def _field(own: Shape, candidate: Candidate, name: str, learned: Learned) -> FieldOutcome:
    members, beside = own.specimens.fields[name]
    plain = {**own.specimens.least, **beside}
    try:
        before, after = _sent(own, candidate, plain, learned), _sent(own, candidate, plain | members, learned)
    except errors.ClientFault as error:
        return _refused(name, error, candidate)
    return _compared(name, plain | members, before, after)


def _refused(name: str, error: errors.ClientFault, candidate: Candidate) -> FieldOutcome:
    return FieldOutcome(name, "refused", [error.message], [], candidate.speaks.api)


def _compared(name: str, body: dict[str, Any], before: _Sent, after: _Sent) -> FieldOutcome:
    dropped, adapted = _new(before.ledger.dropped, after.ledger.dropped), _new(before.ledger.adapted, after.ledger.adapted)
    outcome: Outcome = "dropped" if dropped else "adapted" if adapted else "carried"
    into = [key for key in dict.fromkeys((*after.body, *before.body)) if after.body.get(key) != before.body.get(key)]
    return FieldOutcome(name, outcome, after.ledger.names([*dropped, *adapted], body), into, after.over.speaks.api)


def _new(before: list[Entry], after: list[Entry]) -> list[Entry]:
    return [entry for entry in after if entry not in before]


def _sent(own: Shape, candidate: Candidate, body: dict[str, Any], learned: Learned) -> _Sent:
    """The body that the upstream gets for a caller's body. Raises ClientFault."""
    body = deepcopy(body)
    over = _over(candidate, own, body, learned)
    speaks, lessons = over.speaks, learned.get(over.speaks.api, ())
    capabilities = known(lessons, over.capabilities)
    as_it_is = speaks is own and not own.translates(body, capabilities)
    if as_it_is:
        request = Request(own.name, over.model, body)
        value = rules.follow(lessons, body, request, own=True)
        carried = rules.for_carried(own.rules, capabilities) if lessons else over.rules
        value = rules.amended(carried, speaks.Draft(value, request, capabilities, own=True))
    else:
        request = own.decode_request(body)
        value = speaks.encode_request(request, capabilities, over.model).body
        value = rules.follow(lessons, value, request, own=False)
    edits = over.provider.edits
    if edits is not None:
        edited = edit.edited(jsontext.dumps(value), edits.set, edits.remove)
        edit.report(edited, request.ledger, body, None if as_it_is else lambda head: rules.asked_at(request, head))
        value = jsontext.loads(edited.body)
    return _Sent(value, request.ledger, over)


def _over(candidate: Candidate, own: Shape, body: dict[str, Any], learned: Learned) -> Candidate:
    """The first API of the upstream that does not refuse what the body asks, as an exchange chooses it."""

    def refuses(one: Candidate) -> bool:
        capabilities = known(learned.get(one.speaks.api, ()), one.capabilities)
        return one.speaks.api in capabilities.unserved or one.speaks.refuses(one.amended(body), capabilities, one.speaks is own)

    return next((one for one in (candidate, *candidate.others) if not refuses(one)), candidate)
