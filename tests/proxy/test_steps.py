"""Whole answers that are asked for at once are made step by step, each step for all of them; their log lines come in any case."""

import asyncio
import io
from dataclasses import replace

import orjson
import pytest
from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders

from dragoman import conf
from dragoman.proxy.exchange import exchange
from dragoman.proxy.gateway import Gateway

from ..gateway.spoken import ASKED, SPEECH
from .exchanges import exchange_of

CONFIG = """
model_providers:
  - {model: up/m, base_url: "http://up/v1", access_key: k}
"""
REQUESTS = 3


class Upstream:
    """Stands for the upstream client: answers in the next iteration of the loop."""

    def __init__(self, seen):
        self.seen = seen

    def fetch(self, request):
        loop = asyncio.get_running_loop()
        self.seen.append("sent")
        request.sent_at, request.sendings = loop.time(), 1
        answer = loop.create_future()
        loop.call_soon(self.answer, request, answer)
        return answer

    def answer(self, request, answer):
        kind = HTTPHeaders({"Content-Type": "application/json"})
        request.on_headers(200, kind)
        answer.set_result(HTTPResponse(HTTPRequest("http://up/"), 200, kind, io.BytesIO(orjson.dumps(SPEECH["chat"].whole))))

    def close(self):
        pass


class Caller:
    has_head = True
    committed = gone = aborted = stalled = False

    def __init__(self, seen, answered):
        self.seen, self.answered = seen, answered

    async def answer(self, status, headers, body):
        assert status == 200
        self.committed = True
        self.seen.append("answered")
        self.answered()
        await asyncio.sleep(0)  # the socket sends it at the end of the turn

    def abort(self):
        self.aborted = True


def run(monkeypatch, answered=lambda: None):
    """What was done for REQUESTS of them, in order. answered: called with each answer."""
    seen = []
    read = exchange.splice.scan
    monkeypatch.setattr(exchange.splice, "scan", lambda body: (seen.append("read"), read(body))[1])
    settle = exchange.settle
    monkeypatch.setattr(exchange, "settle", lambda one: (seen.append("logged"), settle(one))[1])

    async def main():
        gateway = Gateway(conf.loads(CONFIG, environ={}))
        served = replace(gateway.services, upstream=Upstream(seen))
        body = orjson.dumps({"model": "up/m"} | ASKED["chat"])

        async def one():
            caller = Caller(seen, answered)
            await exchange_of(served, caller, body).run()

        over = await asyncio.gather(*[one() for _ in range(REQUESTS)], return_exceptions=True)
        await gateway.close()
        return over

    return asyncio.run(main()), seen


def test_each_step_is_done_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    over, seen = run(monkeypatch)
    assert over == [None] * REQUESTS
    assert seen == [step for step in ("read", "sent", "answered", "logged") for _ in range(REQUESTS)]


def test_a_request_that_is_cancelled_when_it_is_answered_has_its_log_line(monkeypatch: pytest.MonkeyPatch) -> None:
    over, seen = run(monkeypatch, lambda: asyncio.current_task().cancel())
    assert [type(one) for one in over] == [asyncio.CancelledError] * REQUESTS
    assert seen.count("logged") == REQUESTS
