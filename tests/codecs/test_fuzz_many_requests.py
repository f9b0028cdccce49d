"""Very many requests that are wrong anywhere, in their JSON or in their bytes: what test_fuzz_requests.py asks of a few."""

from __future__ import annotations

import random
from typing import Any

import pytest

from dragoman.codecs import errors, jsontext, splice

from .bodies import BODIES
from .fuzzing import bitten, odd, rounds, spoiled
from .test_fuzz_requests import CAPABILITIES, SHAPES, carry, told

pytestmark = pytest.mark.slow

REQUIRED = {"model", "messages", "input", "contents", "max_tokens"}
WRITTEN = {shape: {key: jsontext.dumps(value) for key, value in body.items()} for shape, body in BODIES.items()}


def spoilt_body(dice: random.Random, shape: str) -> dict[str, Any]:
    share = dice.random()
    body = {key: jsontext.loads(value) for key, value in WRITTEN[shape].items() if key in REQUIRED or dice.random() < share}
    if dice.random() < 0.1:
        other = dice.choice(sorted(WRITTEN))
        key = dice.choice(sorted(WRITTEN[other]))
        body[key] = jsontext.loads(WRITTEN[other][key])
    if dice.random() < 0.1:
        body[dice.choice(sorted(body))] = odd(dice)
    return spoiled(dice, body)


@pytest.mark.parametrize("shape", SHAPES)
def test_many_requests(shape: str) -> None:
    def play(dice: random.Random) -> None:
        body = spoilt_body(dice, shape)
        if dice.random() < 0.2:
            try:
                body = splice.scan(bitten(dice, jsontext.dumps(body))).value
            except errors.ClientFault as fault:
                told(fault, {})
                return
        carry(shape, body, dice.choice(CAPABILITIES))

    rounds(f"requests {shape}", len(SHAPES), 200, play)
