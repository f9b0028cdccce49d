"""What affinity and hedging gain and cost, in virtual time: the whole gateway but its sockets, with upstreams that answer after a drawn
time, or that keep prompts in a cache.
"""

import asyncio
import gc
import io
import random
import sys
from dataclasses import replace

import orjson
import pytest
from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders

from dragoman import conf
from dragoman.proxy.exchange import attempt, exchange, hedging
from dragoman.proxy.gateway import Gateway

from ..gateway.spoken import ASKED, SPEECH
from ..scripted import sse
from .exchanges import exchange_of

REQUESTS = 2000
EVERY = 0.05  # seconds between two requests
CONFIG = """
model_providers:
  - {model: up/m, base_url: "http://fast/v1", access_key: k}
  - {model: up/m, base_url: "http://slow/v1", access_key: k}
routing: {affinity: off, balance: latency, hedge_after: AFTER}
"""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock stands still while something is to be done, and leaps to the next timer otherwise."""

    def __init__(self):
        super().__init__()
        self.now = 0.0

    def time(self):
        return self.now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0]._when)
        super()._run_once()


class Upstreams:
    """Stands for the upstream client. draw: the host → seconds to its first content. open: calls that go on."""

    def __init__(self, loop, draw):
        self.loop, self.draw = loop, draw
        self.asked, self.open = [], set()

    def fetch(self, request):
        host = request.url.split("/")[2]
        self.asked.append(host)
        answer = self.loop.create_future()
        self.open.add(answer)
        answer.add_done_callback(self.open.discard)
        request.sent_at, request.sendings = self.loop.time(), 1
        self.loop.call_later(self.draw(host), self.answer, request, answer)
        return answer

    def answer(self, request, answer):
        if not answer.done():
            request.on_headers(200, HTTPHeaders({"Content-Type": "text/event-stream"}))
            request.streaming_callback(b"".join(SPEECH["chat"].stream))
            answer.set_result(None)

    def close(self):
        pass


class Caller:
    has_head = True
    committed = gone = aborted = stalled = False

    def __init__(self, loop):
        self.loop, self.at, self.body = loop, None, b""

    def idle_since(self, now):
        return 0.0

    def start(self, headers, first, status=200, length=None):
        self.committed, self.at, self.body = True, self.loop.time(), first

    def write(self, data):
        self.body += data

    def writer(self):
        return self.write

    async def answer(self, status, headers, body):
        raise AssertionError(body)

    async def finish(self, last=b""):
        self.body += last


def run(monkeypatch, after, draw, config=CONFIG):
    """The seconds to the first content of each request, and how many were sent up."""
    loop = VirtualLoop()
    for module in (attempt, exchange, hedging):
        monkeypatch.setattr(module, "monotonic", loop.time)

    async def main():
        gateway = Gateway(conf.loads(config.replace("AFTER", after), environ={}))
        gateway._balance._draw.seed(1)
        up = Upstreams(loop, draw)
        served = replace(gateway.services, upstream=up)
        body = orjson.dumps({"model": "up/m", "stream": True} | ASKED["chat"])
        waited, running = [], set()

        async def one():
            caller, begun = Caller(loop), loop.time()
            asked = exchange_of(served, caller, body)
            await asked.run()
            assert caller.body.count(b"Hello") == caller.body.count(b"[DONE]") == 1
            waited.append(caller.at - begun)

        for _ in range(REQUESTS):
            task = loop.create_task(one())
            running.add(task)
            task.add_done_callback(running.discard)
            await asyncio.sleep(EVERY)
        await asyncio.gather(*running)
        assert not up.open
        await gateway.close()
        return waited, len(up.asked)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())


def p99(found):
    return sorted(found)[int(len(found) * 0.99)]


def fast(draw):
    return draw.lognormvariate(-1.2, 0.25)  # 0.3 s at the median, 0.54 s at p99


SLOW = {
    "always": lambda draw: 10 * fast(draw),
    "at its worst": lambda draw: fast(draw) * (10 if draw.random() < 0.04 else 1),
}


# ---- what requests cost that use none of it ----

ALONE = """
model_providers:
  - {model: plain/m, base_url: "http://plain/v1", access_key: k}
"""
BESIDE = (
    ALONE
    + """
  - model: up/m
    name: a
    base_url: "http://a/v1"
    access_key: k
    weight: 1
    health_check: request
    timeouts: {first_content: 5s}
    metadata: {context_window: 1000}
    request: {set: {service_tier: flex}, remove: [user], headers: {remove: [x-a]}}
    retry_policy: {continue: text, fallback_models: [up/b], on_context_window: [up/b], on_refusal: [up/b]}
  - {model: up/m, name: b, base_url: "http://b/v1", access_key: k, weight: 2}
  - {model: up/b, base_url: "http://b/v1", access_key: k}
routing: {affinity: auto, balance: BALANCE, hedge_after: 1s}
"""
)


class Answering(Upstreams):
    """Whole answers, and streams of so many more deltas."""

    def __init__(self, loop, deltas):
        super().__init__(loop, lambda host: 0.0)
        self.deltas = deltas

    def answer(self, request, answer):
        if b'"stream":true' not in request.body:
            kind = HTTPHeaders({"Content-Type": "application/json"})
            request.on_headers(200, kind)
            body = io.BytesIO(orjson.dumps(SPEECH["chat"].whole))
            answer.set_result(HTTPResponse(HTTPRequest("http://x/"), 200, kind, body))
            return
        request.on_headers(200, HTTPHeaders({"Content-Type": "text/event-stream"}))
        speech = SPEECH["chat"]
        for event in (*speech.opening, *speech.words, *[speech.word(" and")] * self.deltas, b"".join(speech.ending)):
            request.streaming_callback(event)
        answer.set_result(None)


class Whole(Caller):
    async def answer(self, status, headers, body):
        assert status == 200


def bytecodes(config, shape, stream, deltas=0):
    """How many one request takes at least: what comes now and then, as a new second in the log, is left out."""
    loop, count, found = VirtualLoop(), 0, []

    def trace(frame, event, arg):
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    async def main():
        nonlocal count
        gateway = Gateway(conf.loads(config, environ={}))
        served = replace(gateway.services, upstream=Answering(loop, deltas))
        body = orjson.dumps({"model": "plain/m", "stream": stream} | ASKED[shape])

        async def one():
            await exchange_of(served, Whole(loop), body, shape).run()

        for _ in range(5):  # what is worked out once
            await one()
        gc.collect()
        gc.disable()  # it would run what other tests left
        try:
            for _ in range(7):
                count = 0
                sys.settrace(trace)
                await one()
                sys.settrace(None)
                found.append(count)
        finally:
            sys.settrace(None)
            gc.enable()
        await gateway.close()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    return min(found)


@pytest.mark.skipif(sys.gettrace() is not None, reason="another tracer counts already")
@pytest.mark.parametrize(("shape", "balance"), [("chat", "latency"), ("messages", "latency"), ("chat", "least_busy")])
def test_a_request_that_uses_none_of_it_pays_nothing_for_it(shape, balance):
    """Neither of a whole answer, nor at a stream's beginning and end, nor of its deltas; the sockets' own cost is left out."""
    with_it = BESIDE.replace("BALANCE", balance)
    for stream in (False, True):
        alone, beside = bytecodes(ALONE, shape, stream), bytecodes(with_it, shape, stream)
        print(f"{shape}, {balance}, {'stream' if stream else 'whole'}: {alone:.0f} bytecodes, {beside - alone:+.0f}")
        assert beside <= 1.01 * alone
    deltas = bytecodes(ALONE, shape, True, 40) - alone, bytecodes(with_it, shape, True, 40) - beside
    print(f"{deltas[0] / 40:.1f} for a delta, {deltas[1] / 40:.1f}")
    assert deltas[1] <= 1.01 * deltas[0]


# ---- caches ----

CONVERSATIONS, TURNS, PAUSE = 200, 20, 240.0  # seconds between two turns
CACHED_FOR = 300.0  # seconds that a provider keeps a prompt since it was read last
FOUR = """
model_providers:
  - {model: up/m, name: a, base_url: "http://a/v1", access_key: k, weight: 1, health_check: off}
  - {model: up/m, name: b, base_url: "http://b/v1", access_key: k, weight: 1, health_check: off}
  - {model: up/m, name: c, base_url: "http://c/v1", access_key: k, weight: 1, health_check: off}
  - {model: up/m, name: d, base_url: "http://d/v1", access_key: k, weight: 1, health_check: off}
routing: {affinity: AFFINITY}
"""


class Caches(Upstreams):
    """Each reads the longest beginning of a prompt that it has kept, and tells so. broken: who answers with an error."""

    def __init__(self, loop):
        super().__init__(loop, lambda host: 0.3)
        self.kept = {}
        self.broken = ""
        self.read = 0

    def answer(self, request, answer):
        host, messages = request.url.split("/")[2], orjson.loads(request.body)["messages"]
        if host == self.broken:
            request.on_headers(500, HTTPHeaders())
            answer.set_result(HTTPResponse(HTTPRequest("http://x/"), 500, HTTPHeaders()))
            return
        now, kept = self.loop.time(), self.kept.setdefault(host, {})
        known = [end for end in range(len(messages), 0, -1) if kept.get(orjson.dumps(messages[:end]), 0.0) > now]
        for end in (*known[:1], len(messages)):
            kept[orjson.dumps(messages[:end])] = now + CACHED_FOR
        read = tokens(messages[: known[0]]) if known else 0
        usage = {"prompt_tokens": tokens(messages), "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": read}}
        *said, done = SPEECH["chat"].stream
        request.on_headers(200, HTTPHeaders({"Content-Type": "text/event-stream"}))
        request.streaming_callback(b"".join([*said, sse({"id": "c", "choices": [], "usage": usage}), done]))
        answer.set_result(None)


def tokens(messages):
    return len(orjson.dumps(messages)) // 4


def share_read(monkeypatch, affinity):
    """The share of the tokens of each prompt's turns before that was read from a cache, by the gateways' metrics."""
    loop, draw = VirtualLoop(), random.Random(3)
    for module in (attempt, exchange, hedging):
        monkeypatch.setattr(module, "monotonic", loop.time)
    talks = [[{"role": "system", "content": "Be brief. " * draw.randint(20, 400)}] for _ in range(CONVERSATIONS)]

    async def main():
        config = conf.loads(FOUR.replace("AFFINITY", affinity), environ={})
        gateways = [Gateway(config), Gateway(config)]
        up = Caches(loop)
        cacheable = 0

        async def turn(talk, gateway):
            nonlocal cacheable
            cacheable += tokens(talk) if len(talk) > 1 else 0
            talk += [{"role": "user", "content": f"{draw.random()} " * draw.randint(1, 60)}]
            body = orjson.dumps({"model": "up/m", "stream": True, "messages": talk})
            caller = Caller(loop)
            served = replace(gateway.services, upstream=up)
            await exchange_of(served, caller, body).run()
            assert caller.body.count(b"[DONE]") == 1
            await asyncio.sleep(1)

        for number in range(TURNS):
            up.broken = "b" if 8 <= number < 12 else ""  # its conversations go to others, and stay there
            if number == 15:
                gateways[0].adopt(config)
            await asyncio.gather(*(turn(talk, gateways[draw.randint(0, 1)]) for talk in talks))
            await asyncio.sleep(PAUSE)
        read = sum(gateway.metrics.registry.get_sample_value("dragoman_tokens_total", {"kind": "cached"}) for gateway in gateways)
        asked = {host: up.asked.count(host) for host in "abcd"}
        for gateway in gateways:
            await gateway.close()
        return read / cacheable, asked

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())


@pytest.mark.slow
def test_prompts_are_read_from_caches(monkeypatch):
    """200 conversations of twenty turns over four candidates and two gateways; one candidate fails for a while, one gateway is reloaded."""
    (with_it, asked), (without, _) = share_read(monkeypatch, "auto"), share_read(monkeypatch, "off")
    print(f"read from cache: {with_it:.1%} with affinity, {without:.1%} without; requests by candidate {asked}")
    assert with_it >= 0.95
    assert without < 0.30
    assert min(asked.values()) > CONVERSATIONS * TURNS / 10


@pytest.mark.parametrize("name", SLOW)
def test_a_candidate_that_is_ten_times_slower_is_not_felt(monkeypatch, name):
    draw = random.Random(7)
    alone = [fast(draw) for _ in range(REQUESTS)]
    waited, asked = run(monkeypatch, "500ms", lambda host: fast(draw) if host == "fast" else SLOW[name](draw))
    assert p99(waited) <= 1.3 * p99(alone), p99(waited) / p99(alone)
    assert asked <= 1.05 * REQUESTS, asked / REQUESTS
    print(f"{name}: p99 {p99(waited) / p99(alone):.2f} times the fast one's, {asked / REQUESTS - 1:.1%} more requests")
