"""A long input that is compacted before it is answered, where the operator lets the gateway do so (`compaction.automatic`)."""

from __future__ import annotations

from functools import partial

import pytest

from dragoman.codecs import compaction

from ..scripted import Provider, respond
from .inside import Inside, inside_once
from .spoken import SHAPES
from .test_compaction import (
    CALL,
    JSON,
    NATIVE,
    OUTPUT,
    PRICED,
    PROMPT,
    TOOL,
    A,
    B,
    C,
    Upstream,
    asked,
    asked_of,
    opened,
    says,
    texts,
)  # fmt: skip
from .upstreams import completion, message, said, spoken
from .upstreams import response as spoken_response
from .wire import request

LONG = {"type": "message", "role": "user", "content": "word " * 4000}  # about 5,000 tokens
MANAGED = [{"type": "compaction", "compact_threshold": 1000}]
AUTOMATIC = PRICED + "\ncompaction: {automatic: true}"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_a_long_input_is_compacted_first(upstream: str, stream: bool) -> None:
    """R32: the summary stands before the answer, which is to the compacted input; what both used is counted together."""
    up = Upstream(partial(says, "S"), partial(says, "Yes."))
    items = [LONG, B, CALL, OUTPUT]
    async with Provider(up) as provider, Inside(AUTOMATIC, provider) as gateway:
        status, headers, answer = await asked(
            gateway, upstream, input=items, tools=[TOOL], context_management=MANAGED, stream=stream, store=False
        )
        metrics = gateway.gateway.metrics.text().decode()
    response = answer["events"][-1]["response"] if stream else answer
    assert (status, headers["x-dragoman-lane"], "x-dragoman-dropped" in headers) == (200, "events", False)
    assert headers["x-dragoman-adapted"] == "input[*],context_management"
    summary, message = response["output"]
    assert (opened(summary), message["content"][0]["text"]) == ("S", "Yes.")
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (24, 14)
    first, second = up.asked
    assert texts(upstream, first)[-1][1].endswith(PROMPT)
    assert texts(upstream, second)[-1][1].endswith(compaction.as_message("S"))
    assert not any(role in ("assistant", "tool", "function_call") for role, _ in texts(upstream, second))
    assert (second.get("stream", False), first.get("stream", False)) == (stream, False)
    assert "context_management" not in first.keys() | second.keys()
    (line,) = gateway.lines
    assert (line["compaction"], line["compaction_input"], line["compaction_output"]) == ("automatic", 12, 7)
    assert line["tokens"] == {"input": 24, "output": 14, "cached": 0}
    assert line["cost"] == pytest.approx(52e-6)
    assert 'dragoman_compactions_total{kind="automatic",result="done"} 1.0' in metrics
    assert "dragoman_retries_total 0.0" in metrics


@inside_once
async def test_a_key_of_repeats_names_neither_of_two_requests() -> None:
    """An upstream that knows the key would answer the second request with the summary."""
    async with Provider(Upstream(partial(says, "S"), partial(says, "Yes."))) as provider, Inside(AUTOMATIC, provider) as gateway:
        body = {"model": "responses/m", "input": [LONG], "context_management": MANAGED, "store": False}
        async with gateway.call(request("/v1/responses", body, idempotency_key="i-1")) as caller:
            assert (await caller.head())[0] == 200
    assert ["idempotency-key" in one.headers for one in provider.requests] == [False, False]


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        (PRICED, {"input": [LONG], "context_management": MANAGED}),
        (AUTOMATIC, {"input": [LONG], "context_management": [{"type": "compaction", "compact_threshold": 999}]}),
        (AUTOMATIC, {"input": [LONG], "context_management": [{"type": "compaction"}]}),
        (AUTOMATIC, {"input": [LONG], "context_management": [*MANAGED, *MANAGED]}),
        (AUTOMATIC, {"input": [LONG], "context_management": "x"}),
        (AUTOMATIC, {"input": [LONG]}),
    ],
)
@inside_once
async def test_other_inputs_are_not(config: str, fields: JSON) -> None:
    """R32."""
    up = Upstream()
    async with Provider(up) as provider, Inside(config, provider) as gateway:
        status, headers, answer = await asked(gateway, "chat", **fields)
    assert (status, [item["type"] for item in answer["output"]]) == (200, ["message"])
    assert headers.get("x-dragoman-dropped") == ("context_management" if "context_management" in fields else None)
    assert len(up.asked) == 1
    assert "compaction" not in gateway.lines[0]


@pytest.mark.parametrize("upstream", ["chat", "messages"])
@inside_once
async def test_of_a_short_input_nothing_is_asked(upstream: str) -> None:
    """It is no loss then that no upstream knows of it: also a strict request is answered."""
    up = Upstream()
    body = {"model": f"{upstream}/m", "input": [A], "context_management": MANAGED}
    with Provider(up) as provider:
        async with Inside(AUTOMATIC, provider) as gateway, gateway.call(request("/v1/responses", body, x_dragoman_strict="1")) as caller:
            status, headers = await caller.head()
    assert (status, len(up.asked)) == (200, 1)
    assert not headers.keys() & {"x-dragoman-dropped", "x-dragoman-adapted"}
    assert "context_management" not in up.asked[0]


@pytest.mark.parametrize("upstream", SHAPES)
@inside_once
async def test_a_chain_that_has_grown(upstream: str) -> None:
    """By what its upstream counted; the next response goes on from the summary."""
    counted = {
        "chat": {"prompt_tokens": 3000, "completion_tokens": 7, "total_tokens": 3007},
        "messages": {"input_tokens": 3000, "output_tokens": 7},
        "responses": {"input_tokens": 3000, "output_tokens": 7, "total_tokens": 3007},
    }[upstream]
    grown = {
        "chat": completion({"content": "B"}, usage=counted, said={"content": "B"}),
        "messages": message(said("B"), usage=counted),
        "responses": spoken_response(spoken("B"), usage=counted),
    }[upstream]
    up = Upstream(lambda shape: grown, partial(says, "S"), partial(says, "D"), partial(says, "E"))
    config = AUTOMATIC.replace("apis: [responses]", "apis: [responses], capabilities: {r.stateful: false}")
    async with Provider(up) as provider, Inside(config, provider) as gateway:
        _, _, first = await asked(gateway, upstream, input=[A], context_management=MANAGED)
        _, _, second = await asked(gateway, upstream, input=[C], context_management=MANAGED, previous_response_id=first["id"])
        await asked(gateway, upstream, input="More.", previous_response_id=second["id"])
        _, _, items = await asked_of(gateway, f"/v1/responses/{second['id']}/input_items")
    assert [item["type"] for item in second["output"]] == ["compaction", "message"]
    assert second["previous_response_id"] == first["id"]
    assert [item["type"] for item in items["data"]] == ["message"]
    assert ("assistant", "B") in texts(upstream, up.asked[1])
    summary = compaction.as_message("S")
    flat = [("user", f"A|C|{summary}")] if upstream == "messages" else [("user", "A"), ("user", "C"), ("user", summary)]
    assert texts(upstream, up.asked[2]) == flat
    assert texts(upstream, up.asked[3])[-2:] == [("assistant", "D"), ("user", "More.")]
    assert texts(upstream, up.asked[3])[:-2] == flat


@pytest.mark.parametrize("stream", [False, True])
@inside_once
async def test_a_summary_that_fails_fails_the_answer(stream: bool) -> None:
    up = Upstream([respond({"error": {"message": "Down."}}, 500)])
    async with Provider(up) as provider, Inside(AUTOMATIC, provider) as gateway:
        status, _, _ = await asked(gateway, "chat", input=[LONG], context_management=MANAGED, stream=stream)
    assert (status, len(up.asked)) == (500, 1)
    assert gateway.lines[0]["compaction"] == "automatic"


@inside_once
async def test_an_answer_that_fails_has_used_the_summary() -> None:
    up = Upstream(partial(says, "S"), [respond({"error": {"message": "Down."}}, 500)])
    async with Provider(up) as provider, Inside(AUTOMATIC, provider) as gateway:
        status, _, _ = await asked(gateway, "chat", input=[LONG], context_management=MANAGED, stream=True)
    assert (status, len(up.asked)) == (500, 2)
    assert gateway.lines[0]["tokens"] == {"input": 12, "output": 7, "cached": 0}
    assert gateway.lines[0]["cost"] == pytest.approx(26e-6)


@inside_once
async def test_an_upstream_that_compacts_does_so_when_it_wants() -> None:
    config = NATIVE + "\ncompaction: {automatic: true}"
    up = Upstream()
    async with Provider(up) as provider, Inside(config, provider) as gateway:
        _, headers, _ = await asked(gateway, "responses", input=[LONG], context_management=MANAGED, store=False)
    assert headers["x-dragoman-lane"] == "bytes"
    assert up.asked[0]["context_management"] == MANAGED
    assert "compaction" not in gateway.lines[0]


@inside_once
async def test_strict_loses_nothing_by_it() -> None:
    up = Upstream()
    body = {"model": "chat/m", "input": [LONG], "context_management": MANAGED}
    with Provider(up) as provider:
        asked_for = request("/v1/responses", body, x_dragoman_strict="1")
        async with Inside(AUTOMATIC, provider) as gateway, gateway.call(asked_for) as caller:
            assert (await caller.head())[0] == 200


@inside_once
async def test_in_the_background() -> None:
    up = Upstream(partial(says, "S"), partial(says, "Yes."))
    async with Provider(up) as provider, Inside(AUTOMATIC, provider) as gateway:
        _, _, queued = await asked(gateway, "messages", input=[LONG], context_management=MANAGED, background=True)
        _, _, done = await asked_of(gateway, f"/v1/responses/{queued['id']}")
    assert [item["type"] for item in done["output"]] == ["compaction", "message"]
