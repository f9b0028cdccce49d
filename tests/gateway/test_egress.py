"""A gateway whose upstreams are behind proxies and private authorities: what callers, the log and the operator are told."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dragoman import conf
from dragoman.proxy.inspector.redaction import CREDENTIAL

from ..conftest import Start
from ..proxies import ESTABLISHED, HOST, Authority, basic, tunnel
from ..scripted import Provider, Request, Step, Steps, close, respond, stream, until_closed
from .inside import Caller, Inside, inside, inside_once
from .spoken import APIS, ASKED, PATHS, SHAPES, SPEECH
from .test_life import until
from .wire import ask, request

LOGIN, ESCAPED, KEY = "user:hidden p@ss", "user:hidden%20p%40ss", "sk-upstream-hidden"
CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - model: up/m
    base_url: SCHEME://HOST/v1
    access_key: KEY
    apis: [API]
    proxy: http://ESCAPED@127.0.0.1:PROXY
    ca_file: AUTHORITY
    client_cert: {cert: CERT, key: PRIVATE}
    timeouts: {connect: CONNECT}
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "first")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "second")


def configured(authority: Authority, proxy: Provider, shape: str = "chat", config: str = CONFIG, **changed: str) -> str:
    words = {"SCHEME": "https", "HOST": HOST, "KEY": KEY, "API": APIS[shape], "ESCAPED": ESCAPED, "CONNECT": "10s"}
    words |= {"PROXY": str(proxy.port), "AUTHORITY": authority.ca_file, "CERT": authority.client[0], "PRIVATE": authority.client[1]}
    for word, value in (words | changed).items():
        config = config.replace(word, value)
    return config


async def told(caller: Caller) -> tuple[int, dict[str, Any]]:
    status, headers = await caller.head()
    found: dict[str, Any] = json.loads(await caller.body(headers))
    return status, found


def speaking(shape: str) -> Callable[[Request], Steps]:
    def script(asked: Request) -> Steps:
        return stream(*SPEECH[shape].stream) if asked.json.get("stream") else [respond(SPEECH[shape].whole)]

    return script


# ---- answers ----


@inside
@pytest.mark.parametrize("shape", SHAPES)
async def test_c38_answers_through_a_tunnel(authority: Authority, shape: str) -> None:
    """With a login for the proxy, an authority of its own, and a certificate of the gateway's."""
    with Provider(speaking(shape), tls=authority.demanding) as upstream, Provider(tunnel(upstream.port, LOGIN)) as proxy:
        async with Inside(configured(authority, proxy, shape)) as gateway:
            for client in SHAPES:
                async with gateway.ask(client, "up/m") as caller:
                    assert (await told(caller))[0] == 200
                async with gateway.ask(client, "up/m", stream=True) as caller:
                    assert (await caller.head())[0] == 200
                    await caller.until(b" world")
                    while await caller.chunk():
                        pass
            await gateway.until(lambda: gateway.idle)
    assert len(proxy.connections) <= len(SHAPES)  # a stream's connection may still have its end to read when the next request comes
    assert len(upstream.requests) == 2 * len(SHAPES)
    for seen in upstream.requests:
        assert not {name for name in seen.headers if name.startswith("proxy-")}
        assert seen.target.startswith("/v1/")


@inside_once
@pytest.mark.parametrize("shape", SHAPES)
async def test_c38_answers_of_an_http_upstream_behind_a_proxy(authority: Authority, shape: str) -> None:
    with Provider(speaking(shape)) as proxy:
        async with Inside(configured(authority, proxy, shape, SCHEME="http")) as gateway, gateway.ask("chat", "up/m") as caller:
            assert (await told(caller))[0] == 200
    (seen,) = proxy.requests
    assert seen.target.startswith(f"http://{HOST}/v1/")
    assert seen.headers["proxy-authorization"] == basic(LOGIN)


# ---- failures ----

FAILURES: dict[str, tuple[list[Step], str, str]] = {
    "no login": (
        [b"HTTP/1.1 407 No\r\n\r\n", close],
        "The proxy requires credentials, or rejected the configured ones.",
        "407 Proxy Authentication Required: the proxy wants a login",
    ),
    "forbidden": ([b"HTTP/1.1 403 Forbidden\r\n\r\n", close], "The proxy refused to connect to the upstream", "403 Forbidden"),
    "closed": ([close], "The proxy did not open a tunnel to the upstream", ""),
    "cut": ([ESTABLISHED[:30], close], "The proxy did not open a tunnel to the upstream", ""),
    "no HTTP": ([b"\x15\x03\x01\0\2\2\x50", until_closed], "The proxy's answer is malformed", "no HTTP/1 status line"),
    "bytes before TLS": ([ESTABLISHED + b"220 ESMTP\r\n", until_closed], "The proxy's answer is malformed", "bytes before the TLS"),
    "no upstream": ([ESTABLISHED, close], "The TLS handshake with the upstream failed", ""),
    "a repeated login": ([f"HTTP/1.1 403 {basic(LOGIN)}\r\n\r\n".encode(), close], "The proxy refused to connect to the upstream", "403"),
}


ONCE = {"no login", "forbidden", "a repeated login"} | {"no HTTP", "bytes before TLS"}  # and what is no answer of a proxy


@inside_once
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("failure", FAILURES)
async def test_c38_a_failure_on_the_way_is_a_502_that_names_the_step(authority: Authority, failure: str, shape: str) -> None:
    steps, message, detail = FAILURES[failure]
    with Provider(steps) as proxy:
        async with Inside(configured(authority, proxy)) as gateway:
            for streamed in (False, True):
                async with gateway.ask(shape, "up/m", stream=streamed) as caller:
                    status, body = await told(caller)
                assert status == 502
                assert message in body["error"]["message"]
                assert "127.0.0.1" not in str(body)
            assert len(proxy.requests) == (2 if failure in ONCE else 4), "what another attempt finds as it is, is not attempted"
            await gateway.until(lambda: len(gateway.lines) == 2)
            metrics = gateway.gateway.metrics.text().decode()
        for line in gateway.lines:
            assert f"via 127.0.0.1:{proxy.port}" in line["error_detail"]
            assert detail in line["error_detail"]
        for told_to in (str(body), str(gateway.lines), metrics):
            assert "hidden" not in told_to
            assert basic(LOGIN)[6:] not in told_to


@inside_once
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_proxy_that_hangs_is_a_504(authority: Authority, shape: str) -> None:
    with Provider([until_closed]) as proxy:
        async with Inside(configured(authority, proxy, CONNECT="200ms")) as gateway, gateway.ask(shape, "up/m") as caller:
            status, body = await told(caller)
            assert status == 504
            assert "The proxy could not be reached in time (connect)" in body["error"]["message"]
            await gateway.until(lambda: gateway.lines)
        assert "waiting for its answer to CONNECT" in gateway.lines[0]["error_detail"]


@inside_once
@pytest.mark.parametrize("who", ["upstream", "gateway"])
async def test_c39_certificates_that_the_other_side_does_not_accept(authority: Authority, other: Authority, who: str) -> None:
    """Either the upstream is of a strange authority, or the gateway's own certificate is."""
    with Provider([respond()], tls=authority.demanding) as upstream, Provider(tunnel(upstream.port, LOGIN)) as proxy:
        changed = {"AUTHORITY": other.ca_file} if who == "upstream" else {"CERT": other.client[0], "PRIVATE": other.client[1]}
        async with Inside(configured(authority, proxy, **changed)) as gateway, gateway.ask("chat", "up/m") as caller:
            status, body = await told(caller)
            assert status == 502
            assert "The TLS handshake with the upstream failed" in body["error"]["message"]
            await gateway.until(lambda: gateway.lines)
        expected = "certificate verify failed" if who == "upstream" else "alert"
        assert expected in gateway.lines[0]["error_detail"].lower()
    assert not upstream.requests


@inside_once
async def test_a_login_is_not_asked_for_again_whatever_the_policy(authority: Authority) -> None:
    policy = "    retry_policy: {max_attempts: 3, backoff: {base: 1ms, max: 1ms}}\n"
    with Provider([respond(b"who?", status=407)]) as proxy:
        async with Inside(configured(authority, proxy, SCHEME="http") + policy) as gateway, gateway.ask("chat", "up/m") as caller:
            assert (await told(caller))[0] == 502
    assert len(proxy.requests) == 1


@inside_once
async def test_another_candidate_takes_over(authority: Authority) -> None:
    fallback = "  - {model: up/m, base_url: BESIDE/v1, apis: [chat_completions]}\n"
    with Provider([b"HTTP/1.1 407 No\r\n\r\n", close]) as proxy, Provider(speaking("chat")) as beside:
        async with Inside(configured(authority, proxy) + fallback, BESIDE=beside.url) as gateway, gateway.ask("chat", "up/m") as caller:
            assert (await told(caller))[0] == 200
    assert len(beside.requests) == 1


@inside_once
async def test_c40_a_proxys_page_that_repeats_its_login(authority: Authority) -> None:
    """Of an http upstream: the proxy's own errors come as if they were the upstream's."""
    page = f"{LOGIN} hidden%20p%40ss {basic(LOGIN)} {KEY}"
    with Provider([respond({"error": {"message": page, "type": "odd"}}, 400)]) as proxy:
        async with Inside(configured(authority, proxy, SCHEME="http")) as gateway:
            for shape in SHAPES:
                async with gateway.ask(shape, "up/m") as caller:
                    status, body = await told(caller)
                    assert status == 400
                    assert "***" in str(body)
                    assert "hidden" not in str(body)
                    assert basic(LOGIN)[6:] not in str(body)
        assert "hidden" not in str(gateway.lines)


@inside_once
async def test_c40_the_inspector_shows_no_login(authority: Authority) -> None:
    page = f"{LOGIN} {basic(LOGIN)} {KEY}"
    shown: list[bytes] = []
    with Provider([respond({"error": {"message": page, "type": "odd"}}, 400)]) as proxy:
        async with Inside(configured(authority, proxy, SCHEME="http")) as gateway:
            gateway.gateway.inspector.watch(lambda *said: shown.append(str(said).encode()), True)
            async with gateway.ask("chat", "up/m") as caller:
                assert (await told(caller))[0] == 400
            await gateway.until(lambda: CREDENTIAL.encode() in b"".join(shown))
    assert f"via 127.0.0.1:{proxy.port}".encode() in b"".join(shown)
    assert b"hidden" not in b"".join(shown)
    assert basic(LOGIN)[6:].encode() not in b"".join(shown)


# ---- reloads ----


@inside_once
async def test_c39_a_reload_reads_the_certificates_again(authority: Authority, other: Authority, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    shutil.copy(other.ca_file, file)
    with Provider(speaking("chat"), tls=authority.server) as upstream, Provider(tunnel(upstream.port, LOGIN)) as proxy:
        text = configured(authority, proxy, AUTHORITY=str(file))
        async with Inside(text) as gateway:

            async def status() -> int:
                async with gateway.ask("chat", "up/m") as caller:
                    return (await told(caller))[0]

            assert await status() == 502
            shutil.copy(authority.ca_file, file)
            gateway.gateway.adopt(conf.loads(text, environ={}))
            assert await status() == 200
            services = gateway.gateway.services
            file.write_text("no certificate")
            with pytest.raises(conf.ConfigError, match=f"up/m: ca_file: {file}: "):
                gateway.gateway.adopt(conf.loads(text, environ={}))
            assert gateway.gateway.services is services  # all or nothing
            assert await status() == 200
            shutil.copy(other.ca_file, file)
            gateway.gateway.adopt(conf.loads(text, environ={}))
            await upstream.seen(lambda: all(one.closed_by for one in upstream.connections))
            assert await status() == 502  # not over a connection from before


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_c40_mounted_secrets_are_read_again_at_a_reload(start: Start, tmp_path: Path, workers: str) -> None:
    file = tmp_path / "key"
    file.write_text("sk-one\n")
    config = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
model_providers: [{model: up/m, base_url: UPSTREAM/v1, access_key: "${file:FILE}", apis: [chat_completions]}]
"""
    with Provider(speaking("chat")) as upstream:
        gateway = start(config.replace("UPSTREAM", upstream.url).replace("FILE", str(file)), "--workers", workers)
        asked = request(PATHS["chat"], {"model": "up/m", **ASKED["chat"]})

        def sent() -> str:
            assert ask(gateway.port, asked).status == 200
            return upstream.requests[-1].headers["authorization"]

        assert sent() == "Bearer sk-one"
        file.write_text("sk-two\n")
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: gateway.log().count("configuration reloaded") == int(workers))
        assert sent() == "Bearer sk-two"
        file.unlink()
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: gateway.log().count("the configuration was not changed") == int(workers))
        assert f"{file} cannot be read" in gateway.log()
        assert sent() == "Bearer sk-two"
