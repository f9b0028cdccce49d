"""Conversations over candidates that share a place: each stays at one of them, whatever the API, and moves once when that one fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dragoman.proxy.inspector.admin import Admin
from dragoman.proxy.inspector.ring import Ring

from ..scripted import LAST_CHUNK, Gate, Provider, Request, Step, Steps, chunk, respond, stream_head, wait
from .inside import Inside, inside_once
from .spoken import APIS, PATHS, SHAPE_AT, SHAPES, SPEECH
from .wire import request

FOUR = "\n".join(
    ["model_providers:"]
    + [
        f'  - {{model: up/m, name: n{n}, base_url: "UPSTREAM/{n}", apis: [API], access_key: k, weight: 1, health_check: off}}'
        for n in range(4)
    ]
    + ["routing: {ROUTING}"]
)


def config(api: str, routing: str = "affinity: auto") -> str:
    return FOUR.replace("API", APIS[api]).replace("ROUTING", routing)


class Upstreams:
    """Four upstreams behind one address. seen: which one each request reached, its body. broken: those that fail."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.broken: set[str] = set()

    def __call__(self, request: Request) -> Steps:
        name, _, path = request.target[1:].partition("/")
        self.seen.append((name, request.json))
        assert not any(header.lower().startswith("x-dragoman") for header in request.headers)
        if name in self.broken:
            return [respond({"error": {"message": "No.", "type": "server_error"}}, 500)]
        speech = SPEECH[SHAPE_AT[f"/v1/{path}"]]
        if request.json.get("stream"):
            return [stream_head(), *map(chunk, speech.stream), LAST_CHUNK]
        return [respond(speech.whole)]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.seen]


def turns(shape: str, topic: int, count: int) -> dict[str, Any]:
    """A request of a conversation with so many turns."""
    history: list[dict[str, Any]] = [{"role": "user", "content": f"About {topic}."}]
    for number in range(count):
        history += [{"role": "assistant", "content": "Well."}, {"role": "user", "content": f"And {number}?"}]
    if shape == "responses":
        return {"input": history, "instructions": "Be brief."}
    if shape == "messages":
        return {"messages": history, "system": "Be brief.", "max_tokens": 99}
    return {"messages": [{"role": "system", "content": "Be brief."}, *history]}


async def ask(gateway: Inside, shape: str, body: dict[str, Any], status: int = 200, **headers: str) -> bytes:
    data = request(PATHS[shape], {"model": "up/m", **body}, **headers)
    async with gateway.call(data) as caller:
        found, fields = await caller.head()
        answer = await caller.body(fields)
        assert found == status, answer
        return answer


@pytest.mark.parametrize("upstream", SHAPES)
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_each_conversation_stays(shape: str, upstream: str) -> None:
    """And two gateways agree."""
    script = Upstreams()
    with Provider(script) as provider:
        for _ in range(2):
            async with Inside(config(upstream), provider) as gateway:
                for topic in range(12):
                    for count in range(3):
                        await ask(gateway, shape, turns(shape, topic, count))
                await gateway.until(lambda: len(gateway.lines) == 36)
                assert {line["chosen_by"] for line in gateway.lines} == {"affinity"}
    places = [script.names[start : start + 3] for start in range(0, 72, 3)]
    assert all(len(set(place)) == 1 for place in places)
    assert places[:12] == places[12:]
    assert len({place[0] for place in places}) > 1


@pytest.mark.parametrize(
    "header",
    ["x_dragoman_session", "x_claude_code_session_id", "session_id", "thread_id", "conversation_id", "x_session_id", "x_session_affinity"],
)
@inside_once
async def test_a_session_that_is_named(header: str) -> None:
    script = Upstreams()
    async with Provider(script) as provider, Inside(config("chat"), provider) as gateway:
        for topic in range(12):
            await ask(gateway, "chat", turns("chat", topic, 0), **{header: "one"})
        assert len(set(script.names)) == 1
        for topic in range(12):
            await ask(gateway, "chat", turns("chat", 0, 0), **{header: f"session {topic}"})
        assert len(set(script.names)) > 1


@pytest.mark.parametrize("more", [{"prompt_cache_key": "one"}, {"conversation": None}])
@inside_once
async def test_a_key_in_the_body(more: dict[str, Any]) -> None:
    script = Upstreams()
    async with Provider(script) as provider, Inside(config("chat"), provider) as gateway:
        if "conversation" in more:
            async with gateway.call(request("/v1/conversations", {})) as caller:
                more = {"conversation": json.loads(await caller.body((await caller.head())[1]))["id"]}
        for topic in range(12):
            await ask(gateway, "responses", turns("responses", topic, 0) | more)
    assert len(set(script.names)) == 1


@pytest.mark.parametrize("upstream", ["chat", "messages"])
@inside_once
async def test_a_response_that_is_continued_stays(upstream: str) -> None:
    script = Upstreams()
    async with Provider(script) as provider, Inside(config(upstream), provider) as gateway:
        for topic in range(12):
            answer = json.loads(await ask(gateway, "responses", turns("responses", topic, 0)))
            for number in range(3):
                more = {"input": f"And {number}?", "instructions": "Be brief.", "previous_response_id": answer["id"]}
                answer = json.loads(await ask(gateway, "responses", more))
    places = [set(script.names[start : start + 4]) for start in range(0, 48, 4)]
    assert {len(place) for place in places} == {1}
    assert len(set(script.names)) > 1


@inside_once
async def test_it_moves_once_when_its_candidate_fails_and_stays() -> None:
    script, now = Upstreams(), 0.0
    async with Provider(script) as provider, Inside(config("chat"), provider) as gateway:
        gateway.gateway.services.ejection._clock = lambda: now
        await ask(gateway, "chat", turns("chat", 1, 0))
        (home,) = script.names
        script.broken.add(home)
        await ask(gateway, "chat", turns("chat", 1, 1))
        await ask(gateway, "chat", turns("chat", 1, 2))
        away = script.seen[-1][0]
        assert script.names == [home, home, away, away]
        script.broken.clear()
        now += 600
        for count in range(3, 6):
            await ask(gateway, "chat", turns("chat", 1, count))
        assert script.names[4:] == [away] * 3
        await gateway.until(lambda: len(gateway.lines) == 6)
        assert [line["chosen_by"] for line in gateway.lines] == ["affinity"] * 2 + ["moved"] * 4


@inside_once
async def test_prompt_caches_are_of_use() -> None:
    """Thirty conversations of ten turns: what an upstream has read before is read from its cache."""
    read: dict[str, int] = {}
    for affinity in ("auto", "off"):
        script = Upstreams()
        async with Provider(script) as provider, Inside(config("chat", f"affinity: {affinity}"), provider) as gateway:
            for count in range(10):
                for topic in range(30):
                    await ask(gateway, "chat", turns("chat", topic, count))
        known: dict[str, set[str]] = {name: set() for name in "0123"}
        read[affinity] = 0
        for name, body in script.seen:
            read[affinity] += str(body["messages"][:-2]) in known[name]  # all of the turn before
            known[name].add(str(body["messages"]))
    assert read["auto"] == 30 * 9
    assert read["off"] < 30 * 9 * 0.5


@inside_once
async def test_a_reload_moves_nothing() -> None:
    script = Upstreams()
    async with Provider(script) as provider, Inside(config("chat"), provider) as gateway:
        for _ in range(2):
            for topic in range(10):
                await ask(gateway, "chat", turns("chat", topic, 0))
            gateway.gateway.adopt(gateway.gateway.config)
    assert script.names[:10] == script.names[10:]


@inside_once
async def test_off() -> None:
    script = Upstreams()
    async with Provider(script) as provider, Inside(config("chat", "affinity: off"), provider) as gateway:
        for _ in range(40):
            await ask(gateway, "chat", turns("chat", 1, 0))
        await gateway.until(lambda: len(gateway.lines) == 40)
        assert {line["chosen_by"] for line in gateway.lines} == {"weight"}
    assert len(set(script.names)) > 1


@inside_once
async def test_one_candidate_chooses_nothing() -> None:
    """The first entries' order is the plan; nothing is looked at."""
    script = Upstreams()
    async with Provider(script) as provider, Inside(config("chat", "balance: order"), provider) as gateway:
        for topic in range(5):
            await ask(gateway, "chat", turns("chat", topic, 0))
        await gateway.until(lambda: len(gateway.lines) == 5)
        assert not any("chosen_by" in line for line in gateway.lines)
    assert set(script.names) == {"0"}


# ---- balance, over the wire ----


def answering(slow: set[str], gate: Gate, seen: list[str]) -> Callable[[Request], Steps]:
    def script(request: Request) -> Steps:
        name = request.target[1:].partition("/")[0]
        seen.append(name)
        waits: list[Step] = [wait(gate)] if name in slow else []
        return [stream_head(), *waits, *map(chunk, SPEECH["chat"].stream), LAST_CHUNK]

    return script


@inside_once
async def test_latency_leaves_the_slow_one() -> None:
    """And measures those that it asks."""
    seen: list[str] = []
    with Provider(answering(set(), Gate(), seen)) as provider:
        async with Inside(config("chat", "affinity: off, balance: latency"), provider) as gateway:
            balance, candidates = gateway.gateway.services.balance, gateway.gateway.router.candidates("chat", "up/m").candidates
            balance.began(candidates[0], 1000.0, 10)
            for _ in range(20):
                async with gateway.ask("chat", "up/m", stream=True) as caller:
                    await caller.body((await caller.head())[1])
            await gateway.until(lambda: len(gateway.lines) == 20)
            assert {line["chosen_by"] for line in gateway.lines} == {"latency"}
            told = [note.text for note in gateway.gateway.notes()]
            assert sum("ms to the first content per token of input" in text for text in told) == len(told) >= 2
            assert {name for name in "123" if balance.pace(candidates[int(name)])} == set(seen) <= {"1", "2", "3"}


@inside_once
async def test_latency_measures_no_answer_that_nobody_was_asked_for() -> None:
    """One of a request that only prepares a cache, where the upstream has none, says nothing of how fast it is."""
    seen: list[str] = []
    with Provider(answering(set(), Gate(), seen)) as provider:
        async with Inside(config("chat", "affinity: off, balance: latency"), provider) as gateway:
            async with gateway.ask("messages", "up/m", stream=True, max_tokens=0) as caller:
                assert b"message_stop" in await caller.body((await caller.head())[1])
            await gateway.until(lambda: gateway.lines)
            assert not seen
            assert not gateway.gateway.services.balance.paces()


@inside_once
async def test_least_busy_goes_round() -> None:
    """Four streams that do not end reach four candidates."""
    seen: list[str] = []
    gate = Gate()
    with Provider(answering({"0", "1", "2", "3"}, gate, seen)) as provider:
        async with Inside(config("chat", "affinity: off, balance: least_busy"), provider) as gateway:
            async with (
                gateway.ask("chat", "up/m", stream=True) as one,
                gateway.ask("chat", "up/m", stream=True) as two,
                gateway.ask("chat", "up/m", stream=True) as three,
                gateway.ask("chat", "up/m", stream=True) as four,
            ):
                await gateway.until(lambda: len(seen) == 4)
                assert set(seen) == {"0", "1", "2", "3"}
                gate.open()
                for caller in (one, two, three, four):
                    await caller.body((await caller.head())[1])
            await gateway.until(lambda: len(gateway.lines) == 4)
            assert {line["chosen_by"] for line in gateway.lines} == {"least_busy"}
            assert not gateway.gateway.services.balance._busy


@inside_once
async def test_explain_tells_where_a_conversation_goes() -> None:
    """By its session; and how many went elsewhere, since the candidate of theirs had failed."""
    script = Upstreams()
    async with Provider(script) as provider, Inside(config("chat"), provider) as gateway:
        admin = Admin(gateway.gateway.config, Ring(lambda looking, content: None), lambda: b"", lambda: {0: gateway.gateway.notes()})
        for session in ("a", "b", "c", "d"):
            await ask(gateway, "chat", turns("chat", 0, 0), x_dragoman_session=session)
            order = admin.places("up/m", "chat", session)["chat"]
            assert next(name.partition(" ")[0] for name in order) == f"n{script.names[-1]}"
            assert len(set(order)) == 4
        home = script.names[-1]
        script.broken.add(home)
        await ask(gateway, "chat", turns("chat", 0, 0), x_dragoman_session="d")
        moved = script.names[-1]
        assert moved != home
        lines = admin.explain("up/m", "chat")["chat"]
        (line,) = [line for line in lines if "1 conversations of others moved here, remembered until" in line]
        assert f" n{moved} " in line
        assert "failed recently, tried last until" in next(line for line in lines if f" n{home} " in line)
        assert admin.routing()["affinity"] == "auto"
        assert admin.places("nobody", None, "a") == {}


@pytest.mark.parametrize("weighted", [False, True])
@inside_once
async def test_explain_tells_it_where_each_entry_has_its_own_place(weighted: bool) -> None:
    """Entries without weights: no session changes their order."""
    script = Upstreams()
    text = config("chat") if weighted else config("chat").replace(", weight: 1", "")
    async with Provider(script) as provider, Inside(text, provider) as gateway:
        admin = Admin(gateway.gateway.config, Ring(lambda looking, content: None), lambda: b"", dict)
        first = set()
        for session in "abcdefgh":
            await ask(gateway, "chat", turns("chat", 0, 0), x_dragoman_session=session)
            order = admin.places("up/m", "chat", session)["chat"]
            assert order[0].partition(" ")[0] == f"n{script.names[-1]}"
            first.add(order[0])
        assert (len(first) > 1) is weighted
