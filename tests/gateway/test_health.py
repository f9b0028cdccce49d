"""Upstreams that failed: they are probed and come back by themselves, without a request that finds out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dragoman.proxy.routing import ejection, health

from ..proxies import HOST, Authority, tunnel
from ..scripted import Provider, Request, Steps, respond, until_closed
from .inside import Inside, inside_once
from .spoken import APIS, SHAPE_AT, SHAPES, SPEECH

TWO = """
model_providers:
  - {model: up/m, name: one, base_url: "UPSTREAM/one", apis: [API], access_key: sk-one MORE}
  - {model: up/m, name: two, base_url: "UPSTREAM/two", apis: [API], access_key: sk-two}
"""


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ejection, "FIRST", 0.1)
    monkeypatch.setattr(ejection, "LONGEST", 0.2)
    monkeypatch.setattr(health, "PATIENCE", 0.3)


class Upstreams:
    """asked: each request as upstream, method and path. model, probe: what upstream `one` answers to requests and to probes."""

    def __init__(self, model: Steps, probe: Steps) -> None:
        self.asked: list[str] = []
        self.requests: list[Request] = []
        self.model, self.probe = model, probe

    def __call__(self, request: Request) -> Steps:
        name, _, path = request.target[1:].partition("/")
        self.asked.append(f"{name} {request.method} /{path}")
        self.requests.append(request)
        if path == "models" or b"ping" in request.body:
            return self.probe
        return self.model if name == "one" else [respond(SPEECH[SHAPE_AT[f"/v1/{path}"]].whole)]

    def probes(self) -> list[Request]:
        return [request for request in self.requests if request.target.endswith("/models") or b"ping" in request.body]


FAILS: Steps = [respond({"error": {"message": "No.", "type": "server_error"}}, 500)]
LIST: Steps = [respond({"object": "list", "data": []})]


async def ask(gateway: Inside, shape: str = "chat") -> None:
    async with gateway.ask(shape, "up/m") as caller:
        status, headers = await caller.head()
        await caller.body(headers)
        assert status == 200
    await gateway.until(lambda: gateway.idle)


def config(api: str = "chat", more: str = "") -> str:
    return TWO.replace("API", APIS[api]).replace(" MORE", more)


def probed(gateway: Inside, result: str) -> float:
    found: float = gateway.gateway.metrics.probes.labels(result)._value.get()
    return found


@pytest.mark.parametrize("answer", ["list", "none"])
@pytest.mark.parametrize("api", SHAPES)
@inside_once
async def test_it_comes_back_without_a_request(api: str, answer: str) -> None:
    script = Upstreams(FAILS, LIST if answer == "list" else [respond({"error": {"message": "No such path."}}, 404)])
    async with Provider(script) as provider, Inside(config(api), provider) as gateway:
        await ask(gateway)
        assert [note[2] for note in gateway.gateway.notes()] == ["failed recently, tried last"]
        await gateway.until(lambda: probed(gateway, "answered"))
        assert not gateway.gateway.notes()
        (probe,) = script.probes()
        assert probe.target == "/one/models"
        assert {"sk-one", "Bearer sk-one"} & set(probe.headers.values())
        assert ("anthropic-version" in {name.lower() for name in probe.headers}) == (api == "messages")
        script.model = [respond(SPEECH[api].whole)]
        script.asked.clear()
        await ask(gateway)
        assert [asked.partition(" ")[0] for asked in script.asked] == ["one"]
        assert not gateway.gateway.services.ejection._failures


@inside_once
async def test_a_probe_goes_the_way_of_requests(tmp_path: Path) -> None:
    """Through the proxy, with the authority, the certificate and the credential that ends."""
    authority = Authority(tmp_path, "first")
    script = Upstreams(FAILS, LIST)
    cert, key = authority.client
    apart = f"""
model_providers:
  - model: up/m
    name: one
    base_url: https://{HOST}/one
    apis: [chat_completions]
    token_command: [echo, fresh-token]
    proxy: http://u:p@127.0.0.1:PROXY
    ca_file: {authority.ca_file}
    client_cert: {{cert: {cert}, key: {key}}}
  - {{model: up/m, name: two, base_url: "UPSTREAM/two", apis: [chat_completions], access_key: sk-two}}
"""
    with (
        Provider(script) as plain,
        Provider(script, tls=authority.demanding) as provider,
        Provider(tunnel(provider.port, "u:p")) as proxy,
    ):
        async with Inside(apart.replace("PROXY", str(proxy.port)), plain) as gateway:
            await ask(gateway)
            await gateway.until(lambda: probed(gateway, "answered"))
            assert not gateway.gateway.notes()
    (probe,) = script.probes()
    assert probe.headers["authorization"] == "Bearer fresh-token"
    assert probe in provider.requests


@inside_once
async def test_a_probe_that_is_refused_throws_its_credential_away() -> None:
    known: list[str] = []

    class Renewing(Upstreams):
        def __call__(self, request: Request) -> Steps:
            token = request.headers["authorization"]
            if token not in known:
                known.append(token)
            self.probe = LIST if token in known[1:] else [respond({"error": {"message": "No."}}, 401)]
            return super().__call__(request)

    command = "token_command: [mktemp, -u, tokenXXXXXX]"  # another one each time
    with Provider(script := Renewing(FAILS, [])) as provider:
        async with Inside(config().replace("access_key: sk-one", command), provider) as gateway:
            await ask(gateway)
            await gateway.until(lambda: probed(gateway, "answered"))
    tokens = [probe.headers["authorization"] for probe in script.probes()]
    assert len(set(tokens)) == len(tokens) == 2


@pytest.mark.parametrize("probe", [FAILS, [respond({"error": {"message": "No."}}, 401)], [until_closed]], ids=["500", "401", "silence"])
@inside_once
async def test_it_stays_ejected_while_its_probes_fail(probe: Steps) -> None:
    script = Upstreams(FAILS, probe)
    async with Provider(script) as provider, Inside(config(), provider) as gateway:
        await ask(gateway)
        await gateway.until(lambda: probed(gateway, "failed") >= 2)
        script.asked.clear()
        await ask(gateway)
        assert [asked for asked in script.asked if "chat" in asked] == ["two POST /chat/completions"]
        script.probe = LIST
        await gateway.until(lambda: probed(gateway, "answered"))


@pytest.mark.parametrize("api", SHAPES)
@inside_once
async def test_one_token_is_asked_for_where_it_is_configured(api: str) -> None:
    script = Upstreams(FAILS, [respond(SPEECH[api].whole)])
    async with Provider(script) as provider, Inside(config(api, ", health_check: request"), provider) as gateway:
        await ask(gateway)
        await gateway.until(lambda: probed(gateway, "answered"))
        (probe,) = script.probes()
        body = json.loads(probe.body)
        assert probe.method == "POST"
        assert body["model"] == "m"
        assert 1 in body.values() or body["max_output_tokens"]
        assert not body.get("stream")


@pytest.mark.parametrize("alone", ["health_check: off", "passthrough_auth: true", ""])
@inside_once
async def test_who_is_not_probed(alone: str) -> None:
    """It is switched off, only callers have credentials, or nothing could stand in for it."""
    script = Upstreams(FAILS, LIST)
    entries = config("chat", f", {alone}") if alone else "\n".join(config().replace(" MORE", "").splitlines()[:3])
    async with Provider(script) as provider, Inside(entries, provider) as gateway:
        async with gateway.ask("chat", "up/m") as caller:
            await caller.body((await caller.head())[1])
        assert gateway.gateway.services.ejection._failures
        assert not gateway.gateway._health._timers  # type: ignore[union-attr]


@inside_once
async def test_what_failed_again_after_a_probe_is_passed_over_for_longer() -> None:
    script = Upstreams(FAILS, LIST)
    async with Provider(script) as provider, Inside(config(), provider) as gateway:
        await ask(gateway)
        await gateway.until(lambda: probed(gateway, "answered"))
        await ask(gateway)  # the list is there, the model still fails
        (failure,) = gateway.gateway.services.ejection._failures.values()
        assert failure.seconds == pytest.approx(2 * ejection.FIRST)


@inside_once
async def test_a_reload_and_the_end_stop_the_probes() -> None:
    script = Upstreams(FAILS, [until_closed])
    async with Provider(script) as provider, Inside(config(), provider) as gateway:
        await ask(gateway)
        old = gateway.gateway._health
        assert old is not None
        await provider.seen(lambda: len(provider.requests) >= 3)
        await gateway.until(lambda: old._probes)
        gateway.gateway.adopt(gateway.gateway.config)
        await gateway.until(lambda: not old._probes)
        assert not old._timers
