"""The judge of the soak sees dishonest answers, and takes honest ones: else a soak that passes would say nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from ..gateway.spoken import SHAPES
from .faults import APIS, FAULTS, Answer, Content, Played, fine, good
from .judge import CUT, FAILED, REFUSED, WHOLE, Heard, judge

PATHS = dict(zip(SHAPES, APIS, strict=True))
LINE: dict[str, Any] = {"status": 200}
REFUSAL = b'{"error":{"message":"No."}}'


def answer(shape: str, stream: bool) -> Answer:
    return good(PATHS[shape], {"model": "m", "stream": stream}, "a1t0", random.Random(5))


def body(answer: Answer) -> bytes:
    """Without the framing of its chunks."""
    if answer.counted:
        return b"".join(answer.pieces)
    return b"".join(piece.partition(b"\r\n")[2][:-2] for piece in answer.pieces)


EACH = [(shape, stream) for shape in SHAPES for stream in (False, True)]


@pytest.mark.parametrize(("shape", "stream"), EACH)
def test_whole(shape: str, stream: bool) -> None:
    said = answer(shape, stream)
    played, heard = fine(said, random.Random(5)), Heard(200, {}, body(said), True)
    assert judge(heard, shape, stream, [played], LINE) == WHOLE
    for attempts in ([], [Played([], None, 200)], [replace(played, content=Content("Something else."))]):
        with pytest.raises(AssertionError, match="sent no such answer whole"):
            judge(heard, shape, stream, attempts, LINE)
    with pytest.raises(AssertionError, match="the caller does not see"):
        judge(heard, shape, stream, [played], LINE | {"error": "x"})


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stream_without_its_proof(shape: str) -> None:
    said = answer(shape, True)
    cut = body(replace(said, pieces=said.pieces[: -said.proof]))
    with pytest.raises((AssertionError, LookupError)):
        judge(Heard(200, {}, cut, True), shape, True, [Played([], None, 200)], LINE | {"error": "x"})
    assert judge(Heard(200, {}, cut), shape, True, [Played([], None, 200)], LINE | {"error": "x"}) == CUT
    with pytest.raises(AssertionError, match="does not say why"):
        judge(Heard(200, {}, cut), shape, True, [Played([], None, 200)], LINE)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stream_that_fails(shape: str) -> None:
    (failure,) = (fault for fault in FAULTS if fault.__name__ == "failure")
    played = failure(answer(shape, True), random.Random(1))
    pieces = [step for step in played.steps if isinstance(step, bytes)][1:-1]
    heard = Heard(200, {}, body(replace(answer(shape, True), pieces=pieces)), True)
    assert judge(heard, shape, True, [played], LINE | {"error": "x"}) == FAILED
    with pytest.raises(AssertionError, match="does not say why"):
        judge(heard, shape, True, [played], LINE)


def test_refusals() -> None:
    line = {"status": 502, "error": "upstream_unreachable"}
    assert judge(Heard(502, {}, REFUSAL, True), "chat", False, [], line) == REFUSED
    with pytest.raises(AssertionError, match="without a cause"):
        judge(Heard(502, {}, REFUSAL, True), "chat", False, [], {"status": 502})
    with pytest.raises(AssertionError):
        judge(Heard(503, {}, REFUSAL, True), "chat", False, [], line)
    assert judge(Heard(429, {}, REFUSAL, True), "chat", False, [Played([], None, 429)], {"status": 429}) == REFUSED
    with pytest.raises(AssertionError, match="nobody sent"):
        judge(Heard(429, {}, REFUSAL, True), "chat", False, [], {"status": 429})
    assert judge(Heard(404, {}, REFUSAL, True), "chat", False, [], {"status": 404}, (404,)) == REFUSED


def test_every_fault_of_every_answer_can_be_played() -> None:
    for path in [*APIS, "/embeddings", "/completions", "/audio/speech"]:
        for stream in (False, True):
            for seed, fault in enumerate(FAULTS):
                played = fault(good(path, {"model": "m", "stream": stream}, "a1t0", random.Random(seed)), random.Random(seed))
                assert played.steps
                assert played.content is None or played.status == 200
