"""What is unusual, from callers of each API: no provider refuses what is translated, and of what is carried only what its API's book does.

    python -m tests.strict.test_unusual [part of a model's name …]        # every cell, and what was refused

A situation is played towards a few models, other ones for each: every situation and every model has its turn.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from dragoman.codecs.registry import SHAPES as SPOKEN

from .callers import CALLERS, Caller
from .clouds import CONVERSED, INVOKED, ON_VERTEX, Behind, configuration
from .double import Double
from .matrix import MODELS, Cell, Driver, Models, apis, driving
from .situations import SHAPES, written
from .unusual import BROKEN, BY_THE_BOOK, UNUSUAL

MORE: Models = [
    *(("openai", f"openai/{name}") for name in ("gpt-4o", "o4-mini", "gpt-5-mini", "gpt-5.2", "gpt-6.1-sol")),
    *(("anthropic", f"anthropic/claude-{name}") for name in ("opus-4-1", "opus-4-7", "sonnet-5", "haiku-4-5")),
    *(("azure_openai", f"azure_openai/{name}") for name in ("gpt-4.1", "gpt-5")),
    *(("google", f"google/gemini-{name}") for name in ("3.1-pro", "2.5-flash-lite")),
    *(("moonshotai", f"moonshotai/{name}") for name in ("kimi-k2-thinking", "kimi-k2-instruct")),
    *(("zai", f"zai/{name}") for name in ("glm-5.2",)),
    *(("qwen", f"qwen/{name}") for name in ("qwen-plus", "qwen3-max-thinking")),
    *(("mistral", f"mistral/{name}") for name in ("devstral-2512", "mistral-small-latest")),
    *(("xai", f"xai/grok-{name}") for name in ("4.3", "4-0709", "code-fast-1", "3-mini", "build-0.1", "4.6")),
    ("groq", "groq/compound"),
    ("cerebras", "cerebras/kimi-k3"),
    ("ollama", "ollama/deepseek-v4-cloud"),
    *(("openrouter", f"openrouter/{name}") for name in ("minimax/minimax-m3", "openai/gpt-5.6-sol")),
    *(("copilot", f"copilot/{name}") for name in ("gpt-4.1", "gpt-5-mini")),
    ("databricks", "databricks/databricks-gpt-oss-120b"),
    ("snowflake", "snowflake/llama3.3-70b"),
    ("deepseek", "deepseek/deepseek-reasoner"),
]
EVERY = MODELS + MORE
Key = tuple[str, str, str, bool]  # situation, shape of the caller, model, streamed


def play(driver: Driver, double: Double, key: Key) -> Cell | None:
    """One request; None where the API has no words for it."""
    name, shape, model, streamed = key
    body = written(UNUSUAL[name], shape)
    if body is None:
        return None
    headers = {"anthropic-version": "2023-06-01"} if shape == "messages" else {}
    return driver.play(Caller(name, shape, {**body, **({"stream": True} if streamed else {})}, turns=1, headers=headers), model, double)


def wrong(key: Key, cell: Cell) -> str:
    """What must not come of a request: a provider's refusal, or an error that no rule explains.

    Of one that is carried a provider may refuse what the API's own book does, and all else once, as long as its caller does not see it.
    """
    name, shape, *_ = key
    if cell.failed and not cell.rules:
        return cell.failed
    may = name in BROKEN if "bytes" not in cell.lanes else cell.turns or name in BY_THE_BOOK[shape]
    return "" if may else " ".join(cell.rules)


def sample(each: int, shapes: tuple[str, ...] = SHAPES) -> Iterator[tuple[str, Key]]:
    """Provider and cell: so many models for each situation and shape, other ones each time."""
    turn = itertools.cycle(EVERY)
    streamed = itertools.cycle((False, True, False))
    for name, shape in itertools.product(UNUSUAL, shapes):
        for provider, model in itertools.islice(turn, each):
            yield provider, (name, shape, model, next(streamed))


def found(each: int, shapes: tuple[str, ...] = SHAPES, every: int = 1) -> dict[Key, str]:
    """What is wrong. every: only each so manieth cell."""
    with driving(EVERY) as (driver, doubles):
        keys = itertools.islice(sample(each, shapes), 0, None, every)
        cells = {key: cell for id, key in keys if (cell := play(driver, doubles[id], key)) is not None}
    assert sum("events" in cell.lanes for cell in cells.values()) > len(cells) / 5  # of chat callers a quarter is translated
    return {key: told for key, cell in cells.items() if (told := wrong(key, cell))}


def test_a_sample() -> None:
    assert found(1, every=5) == {}


def own_shapes() -> list[tuple[str, str, str]]:
    """Provider, model and shape of all that may be carried."""
    return [(id, model, shape) for id, model in EVERY for shape in SHAPES if SPOKEN[shape].api in apis(id, model)]


def carried(every: int, first: int = 0) -> tuple[int, dict[Key, str]]:
    """How many bodies were carried, and what is wrong. every, first: which of the cells."""
    with driving(EVERY) as (driver, doubles):
        keys = [(id, (name, shape, model, False)) for id, model, shape in own_shapes() for name in UNUSUAL]
        cells = {key: cell for id, key in keys[first::every] if (cell := play(driver, doubles[id], key)) is not None}
    return sum("bytes" in cell.lanes for cell in cells.values()), {key: told for key, cell in cells.items() if (told := wrong(key, cell))}


def test_a_sample_of_carried_bodies() -> None:
    count, told = carried(37)
    assert count > 500
    assert told == {}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_carried_body() -> None:
    assert carried(1)[1] == {}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_greater_sample(shape: str) -> None:
    assert found(2, (shape,)) == {}


BEHIND_CLOUDS = [*INVOKED[2:3], *CONVERSED[:3], *CONVERSED[-3:-2], *ON_VERTEX[1:2]]
# may be a tool that is deferred, or not: refused once, sent without
LEARNED_THERE = {"BR12"}


def test_a_sample_behind_clouds() -> None:
    """Claude by Bedrock's InvokeModel and on Vertex AI, and models of several vendors by Converse."""
    with driving(BEHIND_CLOUDS, kind=Behind, configured=configuration) as (driver, doubles):
        turn = itertools.cycle([(id, model, streamed) for streamed in (False, True) for id, model in BEHIND_CLOUDS])
        cells = {}
        for name, shape in itertools.islice(itertools.product(UNUSUAL, SHAPES), 0, None, 13):
            id, model, streamed = next(turn)
            key = (name, shape, model, streamed)
            if (cell := play(driver, doubles[id], key)) is not None:
                cells[key] = cell
        for (id, model), caller in zip(BEHIND_CLOUDS, CALLERS, strict=False):
            cell = driver.play(caller, model, doubles[id])
            assert cell.failed == ""
            assert {*cell.rules} <= LEARNED_THERE
    assert len(cells) > 50
    assert {key: told for key, cell in cells.items() if (told := wrong(key, cell))} == {}


IN_TURN = [
    ("anthropic", "anthropic/claude-opus-5-5"),
    ("openai", "openai/gpt-5.6-sol"),
    ("google", "google/gemini-3.8-flash"),
    ("xai", "xai/grok-4.5"),
    ("deepseek", "deepseek/deepseek-v4-flash"),
    ("openrouter", "openrouter/google/gemini-3.7-flash"),
    ("mistral", "mistral/mistral-large-latest"),
]
# of another provider's sealed reasoning, in its own form, only the upstream can tell that it is not its own: refused once, sent without
LEARNED = {"OP07"}


def test_models_in_turn() -> None:
    """Within a conversation, and within the calls of one of its turns; back to the first, with the seals of all in the history."""
    callers = [caller for caller in CALLERS if caller.name in ("claude code", "codex", "langchain", "gemini-cli")]
    assert len(callers) == len(SHAPES)
    with driving(IN_TURN) as (driver, doubles):
        for caller, width in itertools.product(callers, (1, 2)):
            order = [(doubles[id], model) for id, model in [*IN_TURN, *IN_TURN[:2]] for _ in range(width)]
            cell = driver.play_in_turn(caller, order)
            assert (cell.failed, cell.refused, cell.turns) == ("", "", len(order)), caller.name
            assert {rule.partition(" ")[0] for rule in cell.rules} <= LEARNED, (caller.name, cell.rules)


def main(parts: list[str]) -> None:
    models = [one for one in EVERY if not parts or any(part in one[1] for part in parts)]
    refused: Counter[str] = Counter()
    count = bad = 0
    with driving(models) as (driver, doubles):
        for (id, model), name, shape, streamed in itertools.product(models, UNUSUAL, SHAPES, (False, True)):
            key = (name, shape, model, streamed)
            if (cell := play(driver, doubles[id], key)) is None:
                continue
            count += 1
            if told := wrong(key, cell):
                bad += 1
                print(*key, told)
            elif "bytes" in cell.lanes and not cell.turns:
                refused.update(cell.rules)
    print(f"{count} cells, {bad} wrong; refused to callers of the provider's own API: {dict(refused)}")


if __name__ == "__main__":
    main(sys.argv[1:])
