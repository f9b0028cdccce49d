"""What the log line says of an answer besides its tokens: what was used apart, whether the cost is all of it, why it was refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..scripted import Provider, sse
from .inside import Inside, inside_once
from .upstreams import RESPONSE_USAGE, Answer, message, response, said, spoken

JSON = dict[str, Any]

CONFIG = """\
listeners: [{type: model, address: 127.0.0.1}]
prices:
  "bare/m": {input: 1, output: 2}
  "full/b-1": {input: 3, output: 5}
  "full/*": {input: 1, output: 2, cache_write: 3, cache_write_1h: 4, web_search: 10, fast: 6,
    service_tiers: {flex: {input: 0.5, output: 1}}}
model_providers:
  - {model: bare/*, base_url: UPSTREAM/v1, access_key: sk-upstream, provider_interface: INTERFACE, apis: [API]}
  - {model: full/*, base_url: UPSTREAM/v1, access_key: sk-upstream, provider_interface: INTERFACE, apis: [API]}
"""
USAGE = {"input_tokens": 1_000_000, "output_tokens": 0}
SEARCHED = message(said("Hi"), usage=USAGE | {"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}})
FAST = message(said("Hi"), usage=USAGE | {"speed": "fast"})
WRITTEN = {"cache_creation_input_tokens": 1_000_000, "cache_creation": {"ephemeral_1h_input_tokens": 1_000_000}}
LONG = message(said("Hi"), usage=WRITTEN | {"input_tokens": 0, "output_tokens": 0})
ROUND = {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "input_tokens": 0, "output_tokens": 0}
COMPACTED = ROUND | WRITTEN | {"type": "compaction"}
ADVISED = ROUND | {"type": "advisor_message", "model": "b-1", "input_tokens": 1_000_000, "output_tokens": 1_000_000}
DATED = ROUND | {"type": "message", "model": "m-20261101", "input_tokens": 1_000_000}
ROUNDS = [
    message(said("Hi"), usage=USAGE | {"iterations": [*rounds, ROUND | USAGE | {"type": "message"}]})
    for rounds in ([COMPACTED], [ADVISED], [DATED])
]
REFUSED = message(said("No"), stop="refusal", usage=USAGE, details={"type": "refusal", "category": "cyber", "explanation": None})
WORDY = message(said("No"), stop="refusal", usage=USAGE, details={"type": "refusal", "category": "as you said: x", "explanation": None})
HOSTED = response(spoken("Hi"), usage=RESPONSE_USAGE | {"input_tokens": 1_000_000, "output_tokens": 0, "total_tokens": 1_000_000})
HOSTED.whole["tool_usage"] = {"web_search": {"num_requests": 4}, "image_gen": {"total_tokens": 0}}


async def line(answer: Answer, api: str, model: str, shape: str, streamed: bool) -> JSON:
    config = CONFIG.replace("API", api).replace("INTERFACE", "anthropic" if api == "messages" else "openai")
    async with Provider(lambda asked: answer.steps(streamed)) as provider, Inside(config, provider) as gateway:
        async with gateway.ask(shape, f"{model}/m", stream=streamed) as caller:
            _, headers = await caller.head()
            await caller.body(headers)
        await gateway.until(lambda: gateway.lines)
        return gateway.lines[0]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("shape", ["messages", "chat"])
@pytest.mark.parametrize(
    ("answer", "said_of_it", "bare", "full"),
    [
        (message(said("Hi"), usage=USAGE), {}, 1.0, 1.0),
        (SEARCHED, {"tools": {"web_search": 2, "web_fetch": 1}}, (1.0,), 1.02),
        (FAST, {"fast": True}, (1.0,), 6.0),
        (LONG, {}, 1.0, 4.0),
        (ROUNDS[0], {}, 2.0, 5.0),  # with the lifetime that the round names
        (ROUNDS[1], {}, (4.0,), 9.0),  # at the price of the round's own model
        (ROUNDS[2], {}, 2.0, 2.0),  # whose name may have a date
        (REFUSED, {"stop_category": "cyber"}, 1.0, 1.0),
        (WORDY, {}, 1.0, 1.0),  # what may repeat a prompt is not logged
    ],
)
@inside_once
async def test_a_messages_upstream(answer: Answer, said_of_it: JSON, bare: Any, full: float, shape: str, streamed: bool) -> None:
    """bare: the cost where there are no prices but tokens'; in a tuple: it is not all of it."""
    for model, cost in (("bare", bare), ("full", full)):
        told = await line(answer, "messages", model, shape, streamed)
        assert {key: told[key] for key in ("tools", "fast", "stop_category") if key in told} == said_of_it
        assert told["cost"] == pytest.approx(cost[0] if isinstance(cost, tuple) else cost, abs=1e-4)
        assert told.get("cost_incomplete", False) is isinstance(cost, tuple)


@pytest.mark.parametrize("shape", ["responses", "messages"])
@inside_once
async def test_a_responses_upstream(shape: str) -> None:
    told = await line(HOSTED, "responses", "full", shape, False)
    assert told["tools"] == {"web_search": 4}
    assert told["cost"] == pytest.approx(1.04)
    assert "cost_incomplete" in await line(HOSTED, "responses", "bare", shape, False)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("shape", ["responses", "messages"])
@inside_once
async def test_the_tier_that_answered_is_paid(shape: str, streamed: bool) -> None:
    flexible = response(spoken("Hi"), usage=RESPONSE_USAGE | {"input_tokens": 1_000_000, "output_tokens": 0, "total_tokens": 1_000_000})
    flexible.whole["service_tier"] = "flex"
    last = json.loads(flexible.events[-1].split(b"data: ")[1])
    last["response"]["service_tier"] = "flex"
    answer = Answer([*flexible.events[:-1], sse(last, last["type"])], flexible.whole)
    assert (await line(answer, "responses", "full", shape, streamed))["cost"] == pytest.approx(0.5)
    assert (await line(answer, "responses", "bare", shape, streamed))["cost"] == pytest.approx(1.0)
