"""The faults of `test_faults.py` with every feature of routing on: affinity, hedging, a time for the first content, retries, fallbacks by
cause, answers that go on, streams that can be resumed, changed requests.

Whoever is asked first has the fault; whoever is asked next is sound, or has it too. However that ends: an answer without an error is
whole, one with an error is a beginning of the whole, no text comes twice, and no call is left at any upstream.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import orjson
import pytest

from dragoman.codecs.continuation import INSTRUCTION
from dragoman.proxy.exchange import resuming

from ..scripted import Provider, Request, Steps, respond
from .inside import Inside, inside_once
from .spoken import APIS, ASKED, PATHS, SHAPE_AT, SHAPES, SPEECH, TEXT, Judges
from .test_faults import FAULTS, LIMIT, LISTENING
from .test_resuming import events
from .upstreams import text_answer
from .wire import request

RESUME = {"x-dragoman-resume": "1"}
PAIRS = [("chat", "messages"), ("messages", "responses"), ("responses", "chat")]  # the APIs of the two candidates
MORE = " and more"  # of an answer that broke off
CALLERS_OWN = {"400", "404"}  # what nobody else could mend
PASSED_ON = {"error-later"}  # what an upstream of the caller's own API says, and of others a failure in its words


def configuration(first: str, second: str) -> str:
    shared: dict[str, Any] = {
        "access_key": "k",
        "weight": 1,
        "health_check": "off",
        "capabilities": {"r.stateful": False},
        "timeouts": {"first_content": "100ms", "first_byte": "150ms", "idle": "150ms"},
        "request": {"set": {"metadata.user_id": "edited"}, "remove": ["top_p"], "headers": {"remove": ["x-stainless-os"]}},
    }
    spare = {cause: ["up/spare"] for cause in ("fallback_models", "on_context_window", "on_refusal")}
    policy = {"retry_policy": {"max_attempts": 2, "backoff": {"base": "1ms", "max": "1ms"}, "continue": "text", **spare}}
    entries = [
        {"model": f"up/{model}", "name": name, "base_url": f"UPSTREAM/{name}/v1", "apis": [APIS[api]], **shared, **more}
        for model, name, api, more in (("m", "one", first, policy), ("m", "two", second, policy), ("spare", "spare", first, {}))
    ]
    routing = {"affinity": "auto", "balance": "latency", "hedge_after": "60ms"}
    return orjson.dumps({"limits": {"max_event": f"{LIMIT}B"}, "model_providers": entries, "routing": routing}).decode()


class Upstreams:
    """All candidates. fault: of who is asked first; sound: whether the next ones have none."""

    def begin(self, fault: str, sound: bool) -> None:
        self.fault, self.sound, self.asked = fault, sound, 0
        self.whole = "x" * (LIMIT - 100_000) if fault == "large-event" else TEXT

    def __call__(self, request: Request) -> Steps:
        shape, streamed = SHAPE_AT[f"/v1/{request.target.partition('/v1/')[2]}"], bool(request.json.get("stream"))
        assert request.json["metadata"]["user_id"] == "edited"
        if INSTRUCTION.encode() in request.body:
            return text_answer(shape, MORE).steps(True) if self.sound else [respond({"error": {"message": "No."}}, 500)]
        self.asked += 1
        name = self.fault if self.asked == 1 or not self.sound or self.fault == "large-event" else "none"
        return FAULTS[name].script(SPEECH[shape], streamed)


async def judged(
    gateway: Inside, script: Upstreams, judges: Judges, pair: tuple[str, str], client: str, name: str, streamed: bool, sound: bool
) -> None:
    script.begin(name, sound)
    LISTENING.begin()
    gateway.lines.clear()
    services = gateway.gateway.services
    services.ejection._failures.clear()  # each case meets the candidates as the first one did
    more: dict[str, Any] = {"extra_headers": RESUME} if streamed else {}
    found = await asyncio.to_thread(judges.ask, client, "up/m", streamed=streamed, heard=LISTENING.hear, **more)
    where = (client, name, streamed, sound, found)
    await gateway.until(lambda: gateway.idle and gateway.lines and not gateway.gateway.upstream._calls)
    (line,) = gateway.lines
    assert ("error" in line) == (found.type is not None), (where, line)
    if found.type is None:
        assert found.text == script.whole + (MORE if "continued" in line else ""), (where, line)
    else:
        assert script.whole.startswith(found.text), where
        carried = client == "responses" and "responses" in pair and bool(found.text)  # and not written anew: that is not continued
        slow = line["error"] in ("upstream_timeout", "timeout") and "silent" not in name  # the machine was busy
        assert not sound or name in CALLERS_OWN | PASSED_ON or carried or slow, (where, line)


async def read_twice(gateway: Inside, script: Upstreams, client: str, name: str, sound: bool) -> None:
    """A stream as it comes, and again from its first event on."""
    script.begin(name, sound)
    LISTENING.begin()
    LISTENING.hear(TEXT)  # faults do not wait
    body = {"model": "up/m", "stream": True, **ASKED[client]}
    async with gateway.call(request(PATHS[client], body, X_Dragoman_Resume="1")) as caller:
        status, headers = await caller.head()
        said = await caller.body(headers)
    assert (status == 200) == ("x-dragoman-resume" in headers)
    if status == 200:
        first = events(said)
        assert [number for _, number, _ in first] == list(range(len(first)))
        async with gateway.call(request(PATHS[client], body, Last_Event_ID=f"{headers['x-dragoman-resume']}:0")) as caller:
            status, headers = await caller.head()
            assert (status, events(await caller.body(headers))) == (200, first[1:])
    await gateway.until(lambda: gateway.idle and not gateway.gateway.upstream._calls)


RUNS = [
    pytest.param(
        client, pair, streamed, sound, marks=[] if (client, pair, streamed, sound) == ("chat", PAIRS[1], True, True) else pytest.mark.slow
    )
    for client in SHAPES
    for pair in PAIRS
    for streamed in (True, False)
    for sound in (True, False)
]


@pytest.mark.parametrize(("client", "pair", "streamed", "sound"), RUNS)
@inside_once
async def test_faults(client: str, pair: tuple[str, str], streamed: bool, sound: bool) -> None:
    script = Upstreams()
    with Provider(script) as provider:
        async with Inside(configuration(*pair), provider) as gateway:
            judges = Judges(f"http://127.0.0.1:{gateway.port}")
            try:
                for name, fault in FAULTS.items():
                    if (fault.streamed if streamed else fault.whole) is not None:
                        await judged(gateway, script, judges, pair, client, name, streamed, sound)
                        if streamed and name != "large-event":  # of which not all is kept
                            await read_twice(gateway, script, client, name, sound)
            finally:
                judges.close()
        await provider.seen(lambda: all(connection.closed_by for connection in provider.connections))


# ---- many at once ----

STORM = 600
CONTINUED = (TEXT + MORE, TEXT.partition(" ")[0] + MORE)  # a reset takes with it what was sent and not read yet
TEXTS = {
    "chat": lambda event: "".join(choice["delta"].get("content") or "" for choice in event.get("choices", [])),
    "messages": lambda event: event["delta"].get("text", "") if event["type"] == "content_block_delta" else "",
    "responses": lambda event: event["delta"] if event["type"] == "response.output_text.delta" else "",
}
ENDS = {"chat": b"data: [DONE]", "messages": b"event: message_stop", "responses": b"event: response.completed"}


class Storm:
    """Callers that leave and come back, of upstreams that have any fault at any time."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.names = [name for name, fault in FAULTS.items() if fault.streamed is not None and "large" not in name]
        self.outcomes: Counter[str] = Counter()

    def __call__(self, request: Request) -> Steps:
        shape = SHAPE_AT[f"/v1/{request.target.partition('/v1/')[2]}"]
        name = "none" if self.draw.random() < 0.4 else self.draw.choice(self.names)
        if INSTRUCTION.encode() in request.body:
            if name == "none" or "before" in name:
                return text_answer(shape, MORE).steps(True)
            return [respond({"error": {"message": "No."}}, 500)]
        return FAULTS[name].script(SPEECH[shape], True)

    async def one(self, gateway: Inside) -> None:
        shape = self.draw.choice(SHAPES)
        body = {"model": "up/m", "stream": True, **ASKED[shape]}
        found: list[tuple[bytes, int, bytes]] = []
        data = request(PATHS[shape], body, X_Dragoman_Resume="1", X_Dragoman_Session=str(self.draw.randint(0, 50)))
        for _ in range(9):
            async with gateway.call(data) as caller:
                status, headers = await caller.head()
                if status != 200:
                    assert not found, (status, found)
                    self.outcomes["refused"] += 1
                    await caller.body(headers)
                    return
                leaves, said = self.draw.random() < 0.6, b""
                try:
                    while piece := await caller.chunk():
                        said += piece
                        if leaves and self.draw.random() < 0.3:
                            caller.leave(reset=self.draw.random() < 0.5)
                            break
                    else:
                        leaves = False
                except (asyncio.IncompleteReadError, ValueError, ConnectionError):
                    self.outcomes["cut"] += 1
                    return
                found += events(said)
                if not leaves:
                    break
                if not found or self.draw.random() < 0.2:
                    self.outcomes["left"] += 1
                    return
                data = request(PATHS[shape], body, Last_Event_ID=f"{found[-1][0].decode()}:{found[-1][1]}")
        assert [number for _, number, _ in found] == list(range(len(found)))
        datas = [line[6:] for _, _, event in found for line in event.splitlines() if line.startswith(b"data: {")]
        text = "".join(TEXTS[shape](orjson.loads(one)) for one in datas)
        if any(event.startswith(ENDS[shape]) for _, _, event in found) and not any(b'"error":{' in one for one in datas):
            assert text in (TEXT, *CONTINUED), (shape, found)
            self.outcomes["whole"] += 1
        else:
            assert any(whole.startswith(text) for whole in CONTINUED), (shape, found)
            assert any(b"error" in one for one in datas), (shape, found)
            self.outcomes["failed"] += 1


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
@inside_once
async def test_a_storm(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left behind: no call, no task, no log that is written, no lost count of bytes."""
    monkeypatch.setattr(resuming, "GOES_ON", 0.3)
    monkeypatch.setattr(resuming, "LOOK", 0.1)
    LISTENING.begin()
    LISTENING.hear(TEXT)  # faults do not wait
    storm = Storm(11)
    async with Provider(storm) as provider, Inside(configuration(*pair), provider) as gateway:
        before = len(asyncio.all_tasks())
        for _ in range(STORM // 30):
            await asyncio.gather(*(storm.one(gateway) for _ in range(30)))
        await gateway.until(lambda: gateway.idle and len(gateway.lines) == STORM)
        await gateway.until(lambda: not gateway.gateway.upstream._calls and len(asyncio.all_tasks()) <= before)
        streams = gateway.gateway.state.streams
        assert not streams._logs
        assert streams.bytes == sum(size for _, size in streams._ended)
        assert b"dragoman_streams_open 0.0" in gateway.gateway.metrics.text()
    print(pair, dict(storm.outcomes))
    assert storm.outcomes["whole"] > STORM / 10  # on a busy machine most find both upstreams too slow
