"""Encode hub turns as `systemInstruction` and `contents` for a gemini upstream.

Between two turns of the model stand the results of the first one's calls, in one content and in the order of the calls, and then what
users say. Other orders are rearranged, without inventing content: calls without results and results without calls are sent unchanged,
and the provider decides. Source: Google, "Function calling"; "Thought signatures"; refusals that other projects report.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..capabilities import Capabilities
from ..errors import Malformed, Unsupported
from ..ledger import Path, concrete
from ..request import CallPart, ReasoningPart, Request, ResultPart, TextPart, Turn
from .content_out import ContentWriter, Piece, sign_first_call
from .signatures import is_signature

CONTINUES = "(conversation continues)"
_SYSTEM = frozenset({"system", "developer"})


@dataclass(slots=True)
class _Content:
    role: str
    pieces: list[Piece]
    path: Path  # of its turn, or of its first call
    calls: bool = False


@dataclass(slots=True)
class _Between:
    """What stands between two turns of the model."""

    results: list[tuple[ResultPart, Path]] = field(default_factory=list)
    places: dict[str, list[int]] = field(default_factory=dict)  # in `results`, by id
    media: list[Piece] = field(default_factory=list)
    users: list[_Content] = field(default_factory=list)


def write_turns(request: Request, capabilities: Capabilities, writer: ContentWriter) -> dict[str, Any]:
    """Return `systemInstruction`, if there is any, and `contents`. Raises subclasses of errors.ClientFault."""
    return _Turns(request, capabilities, writer).write()


class _Turns:
    def __init__(self, request: Request, capabilities: Capabilities, writer: ContentWriter) -> None:
        self._request = request
        self._ledger = request.ledger
        self._capabilities = capabilities
        self._writer = writer
        self._system: list[Piece] = []
        self._contents: list[_Content] = []
        self._between = _Between()
        self._order: dict[str, list[int]] = {}  # the places of the last turn's calls, by the caller's ids, which need not differ
        self._called = 0  # so far

    def write(self) -> dict[str, Any]:
        for turn in self._request.turns:
            if turn.role in _SYSTEM:
                self._instruct(turn)
            elif turn.role == "assistant":
                self._say(turn)
            else:
                self._ask(turn)
        self._flush()
        self._sign()
        self._first_is_user()
        self._last_is_user()
        body: dict[str, Any] = {"systemInstruction": {"parts": self._system}} if self._system else {}
        body["contents"] = [{"role": content.role, "parts": content.pieces} for content in self._contents]
        return body

    def _instruct(self, turn: Turn) -> None:
        pieces = self._pieces(turn)
        if pieces and (self._contents or self._between.users or self._between.results):
            self._ledger.adapt(turn.path)
        self._system += pieces

    def _pieces(self, turn: Turn) -> list[Piece]:
        return [piece for part in turn.parts for piece in self._writer.pieces(part)]

    def _say(self, turn: Turn) -> None:
        """A turn of the model; adjacent ones are one content."""
        self._flush()
        last = self._contents[-1] if self._contents else None
        unneeded = self._in_signatures(turn)
        pieces: list[Piece] = []
        path, calls = turn.path, False
        if last is None or last.role != "model":
            self._order = {}
        for part in turn.parts:
            if unneeded and id(part) in unneeded:
                continue
            written = self._writer.pieces(part)
            if isinstance(part, CallPart):
                path, calls = path if calls else part.path, True
                self._order.setdefault(part.id, []).append(self._called)
                self._called += 1
            pieces += written
        if not pieces:
            return
        if last is not None and last.role == "model":
            last.path, last.calls = last.path if last.calls else path, last.calls or calls
            last.pieces += pieces
        else:
            self._contents.append(_Content("model", pieces, path, calls))

    def _in_signatures(self, turn: Turn) -> set[int]:
        """The identities of the thoughts whose content is in a signature of the same turn."""
        thoughts = [part for part in turn.parts if isinstance(part, ReasoningPart)]
        if not thoughts:
            return set()
        adopted = self._adopt(turn, thoughts)
        sealed = any(
            isinstance(part, TextPart | CallPart)
            and part.seal is not None
            and part.seal.readable("google", self._capabilities.reasoning_domain)
            for part in turn.parts
        )
        return {id(part) for part in thoughts if self._is_own(part) or id(part) in adopted} if sealed else set()

    def _adopt(self, turn: Turn, thoughts: list[ReasoningPart]) -> set[int]:
        """Give calls the signatures that another gateway sent beside them. Returns the identities of the parts that had them."""
        by_id: dict[str, ReasoningPart] = {}  # the first one for each id
        for part in thoughts:
            if part.form == "foreign" and part.sealed is not None and is_signature(part.sealed.value):
                by_id.setdefault(part.id, part)
        adopted: set[int] = set()
        for call in turn.parts if by_id else ():
            if isinstance(call, CallPart) and call.seal is None and call.id in by_id:
                call.seal = by_id[call.id].sealed
                adopted.add(id(by_id[call.id]))
        return adopted

    def _is_own(self, part: ReasoningPart) -> bool:
        """Whether reasoning may be that which a signature of this service holds."""
        return part.form in ("text", "foreign", "carrier") and part.domain in (None, self._capabilities.reasoning_domain)

    def _ask(self, turn: Turn) -> None:
        """A turn of a user, or of tools."""
        between = self._between
        pieces: list[Piece] = []
        for part in turn.parts:
            if isinstance(part, ResultPart):
                if self._add(part, turn.path) or pieces or between.users:
                    self._ledger.adapt(turn.path)
            else:
                pieces += self._writer.pieces(part)
        if pieces:
            between.users.append(_Content("user", pieces, turn.path))

    def _add(self, result: ResultPart, path: Path) -> bool:
        """Whether it takes the place of the last one of its id, because all calls of that have a result."""
        between = self._between
        places = between.places.setdefault(result.id, [])
        if len(places) < max(1, len(self._order.get(result.id, ()))):
            places.append(len(between.results))
            between.results.append((result, path))
            return False
        between.results[places[-1]] = (result, path)
        return True

    def _flush(self) -> None:
        """Write what stands between the last turn of the model and the next one."""
        between, self._between = self._between, _Between()
        results = between.results
        pieces: list[Piece] = []
        for part, _ in self._in_order(between) if len(results) > 1 else results:
            piece, behind = self._writer.result(part)
            pieces.append(piece)
            between.media += behind
        if pieces:
            self._contents.append(_Content("user", pieces, results[0][1]))
            self._order = {}
        if between.media:
            self._contents.append(_Content("user", between.media, results[0][1]))
        self._contents += between.users

    def _in_order(self, between: _Between) -> list[tuple[ResultPart, Path]]:
        """The results in the order of their calls; behind all of them what is without a call."""
        places = [self._called] * len(between.results)
        for id, numbers in between.places.items():
            for number, place in zip(numbers, self._order.get(id, ()), strict=False):
                places[number] = place
        if places != sorted(places):
            self._ledger.adapt(between.results[0][1])
        return [between.results[number] for number in sorted(range(len(places)), key=places.__getitem__)]

    def _sign(self) -> None:
        if self._capabilities.g_signatures != "required":
            return
        for content in self._contents:
            if content.role == "model" and sign_first_call(content.pieces):
                self._ledger.adapt(content.path)

    def _first_is_user(self) -> None:
        root = self._request.habits.turns_at
        if not self._contents:
            raise Malformed(f"{root}: at least one message is required", code="invalid_value", param=root)
        if self._contents[0].role != "user":
            self._ledger.adapt(self._contents[0].path)
            self._contents.insert(0, _Content("user", [{"text": CONTINUES}], ()))

    def _last_is_user(self) -> None:
        last = self._contents[-1]
        if last.role == "model" and "functionCall" not in last.pieces[-1] and not self._capabilities.g_prefill:
            raise Unsupported("this model does not accept assistant prefill", param=concrete(last.path))
