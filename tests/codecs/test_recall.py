"""What belongs to an answer's calls, noted while it is encoded and put back into a history that lacks it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dragoman.codecs import events as ev
from dragoman.codecs.recall import LONGEST, History, Recall
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import CallPart, ReasoningPart, Request, TextPart, Turn

# a gemini caller gets them with its calls, in the place of Google's own signatures
ASKED = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
    "responses": {"input": "Hi"},
}


def thought(part: int, text: str, *seals: ev.Event) -> list[ev.Event]:
    return [ev.ReasoningStart(part), *([ev.Reasoning(part, text)] if text else []), *seals, ev.PartStop(part)]


def called(part: int, id: str, seal: ev.Seal | None = None) -> list[ev.Event]:
    return [ev.ToolStart(part, id, "f", seal=seal), ev.Arguments(part, "{}"), ev.PartStop(part)]


def said(part: int, text: str) -> list[ev.Event]:
    return [ev.TextStart(part), ev.Text(part, text), ev.PartStop(part)]


def noted(shape: str, *events: ev.Event) -> tuple[str, bytes] | None:
    request = SHAPES[shape].decode_request({"model": "m", **ASKED[shape]})
    reply = Reply(request, domain="home", upstream="other", recall=Recall(History(request), "home"))
    SHAPES[shape].Encoder(reply).feed([ev.Start("i", "m", 0), *events, ev.Stop("tool")])
    assert reply.recall is not None
    return reply.recall.note()


def forgotten(*ids: str, text: str = "", opening: str = "Hi", before: str = "") -> Request:
    """A history that holds nothing but what its user saw."""
    parts: list[Any] = [ReasoningPart((), "foreign", before)] if before else []
    parts += [TextPart(text, ())] if text else []
    parts += [CallPart(id, "f", "{}", ()) for id in ids]
    turns = [Turn("user", [TextPart(opening, ())], ()), Turn("assistant", parts, ())]
    return Request("chat", "m", {}, turns=turns)


def told(turn: Turn) -> list[str]:
    """Each part in a word."""
    words = []
    for part in turn.parts:
        if isinstance(part, ReasoningPart):
            words.append(f"{part.form} {part.text or part.encrypted or part.blocks}")
        elif isinstance(part, CallPart):
            words.append(part.id + (f" {part.seal.value}" if part.seal else ""))
        else:
            assert isinstance(part, TextPart)
            words.append(part.text)
    return words


SIGNED = {"type": "thinking", "thinking": "p", "signature": "S"}
RED = {"type": "redacted_thinking", "data": "R"}
ENTRY = {"type": "reasoning.encrypted", "data": "E", "format": "x"}
# an answer's events, the history that comes back, and what it is again
NOTES: list[tuple[list[ev.Event], Request, list[str]]] = [
    ([*thought(0, "p", ev.Seal(0, "anthropic", "S")), *called(1, "a")], forgotten("a", before="p"), [f"anthropic {[SIGNED]}", "a"]),
    ([*thought(0, "", ev.Seal(0, "redacted", "R")), *called(1, "a")], forgotten("a"), [f"anthropic {[RED]}", "a"]),
    ([*thought(0, "p", ev.Seal(0, "openai", "E", "rs", ("p",))), *called(1, "a")], forgotten("a"), ["openai E", "a"]),
    (
        [*thought(0, "p", ev.Seal(0, "details", '[{"type":"reasoning.encrypted","data":"E","format":"x"}]')), *called(1, "a")],
        forgotten("a"),
        [f"details {[ENTRY]}", "a"],
    ),
    ([*thought(0, "p"), *called(1, "a")], forgotten("a"), ["text p", "a"]),
    ([*called(0, "a", ev.Seal(0, "google", "G")), *called(1, "b")], forgotten("a", "b"), ["a G", "b"]),
    ([*thought(0, "p"), *said(1, "So."), *called(2, "a")], forgotten("a", text="So."), ["text p", "So.", "a"]),
    ([*thought(0, "p"), *said(1, "So."), *called(2, "a")], forgotten("a"), ["text p", "a"]),
    ([*said(0, "So."), *thought(1, "p"), *called(2, "a")], forgotten("a", text="So."), ["So.", "text p", "a"]),
    ([*called(0, "a"), *thought(1, "p"), *called(2, "b")], forgotten("a", "b"), ["a", "text p", "b"]),
]


@pytest.mark.parametrize("shape", ASKED)
@pytest.mark.parametrize(("events", "request_", "found"), NOTES)
def test_what_was_forgotten_is_put_back(shape: str, events: list[ev.Event], request_: Request, found: list[str]) -> None:
    note = noted(shape, *events)
    assert note is not None
    history = History(copy.deepcopy(request_))
    assert (history.keys(), history.brings) == ([note[0]], False)
    history.restore([note[1]], "another")
    assert not any("text" in word or "anthropic" in word for word in told(history.lacking[0]))
    history.restore([note[1]], "home")
    assert told(history.lacking[0]) == found


@pytest.mark.parametrize("shape", ASKED)
def test_nothing_is_noted_without_calls_or_without_anything_that_belongs_to_them(shape: str) -> None:
    assert noted(shape, *thought(0, "p", ev.Seal(0, "anthropic", "S")), *said(1, "So.")) is None
    assert noted(shape, *said(0, "So."), *called(1, "a")) is None
    assert noted(shape, *thought(0, "x" * LONGEST), *called(1, "a")) is None


def test_the_same_ids_of_another_conversation_are_others() -> None:
    keys = [History(forgotten(*ids, opening=opening)).keys() for ids in (["a"], ["a", "b"], ["b"]) for opening in ("Hi", "Ho")]
    assert len({key for one in keys for key in one}) == 6


def test_a_caller_that_brings_it_lacks_nothing() -> None:
    sealed = forgotten("a")
    sealed.turns[1].parts.insert(0, ReasoningPart((), "anthropic", "p", [SIGNED]))
    for request, brings in ((sealed, True), (Request("chat", "m", {}, turns=sealed.turns[:1]), False)):
        history = History(request)
        assert (history.lacking, history.brings) == ([], brings)
