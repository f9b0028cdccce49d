"""A conversation is the same whether its answers are streamed or not: of typical callers, towards a model of each provider."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import cycle
from typing import Any

import orjson
import pytest

from .callers import CALLERS, Caller
from .matrix import Models, driving
from .situations import SHAPES
from .test_unusual import EVERY

# what differs from answer to answer: ids, and what is minted
MINTED = {
    "reasoning_details",
    "id",
    "call_id",
    "tool_use_id",
    "tool_call_id",
    "signature",
    "encrypted_content",
    "thoughtSignature",
    "thought_signature",
    "data",
}
NOTHING: tuple[Any, ...] = (None, {"text": ""})  # content beside calls; what ends a stream of Google's


def plain(value: Any, name: str = "") -> Any:
    """What was said, without what tells one answer from another and how its JSON is spaced."""
    if isinstance(value, dict):
        kept = {key: inner for key, inner in value.items() if key not in MINTED and not (key == "content" and not inner)}
        return {key: plain(inner, key) for key, inner in kept.items() if key not in ("stream", "stream_options")}
    if isinstance(value, list):
        return [plain(inner) for inner in value if inner not in NOTHING]
    return orjson.loads(value) if name == "arguments" else value


def asking(caller: Caller, streamed: bool) -> Caller:
    first = {name: value for name, value in caller.first.items() if name not in ("stream", "stream_options")}
    return replace(caller, first=first | ({"stream": True} if streamed else {}))


def different(models: Models, callers: Iterator[Iterable[Caller]]) -> tuple[int, list[Any]]:
    """How many conversations were had in both ways, and those that went in two or were refused."""
    count, found = 0, []
    with driving(models) as (driver, doubles):
        for id, model in models:
            for caller in next(callers):
                whole, stream = (driver.play(asking(caller, streamed), model, doubles[id]) for streamed in (False, True))
                count += whole.turns > 0
                if whole.rules or stream.rules or whole.failed or stream.failed or plain(whole.said) != plain(stream.said):
                    found.append((caller.name, model, whole, stream))
    return count, found


def test_every_provider_once() -> None:
    """Each with a caller of each API, another one at the next provider."""
    models = list({provider: (provider, model) for provider, model in reversed(EVERY)}.values())
    of_shape = [cycle([caller for caller in CALLERS if caller.shape == shape]) for shape in SHAPES]
    count, found = different(models, iter(lambda: [next(callers) for callers in of_shape], None))
    assert count > 3 * len(models)
    assert found == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_model() -> None:
    assert different(EVERY, cycle([CALLERS]))[1] == []
