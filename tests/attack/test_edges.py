"""Who may ask, by address and by origin: what is configured, and what callers and pages make up to get around it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from dragoman import conf
from dragoman.proxy.process.serve import announce
from dragoman.proxy.wire import networks

from ..conftest import Start, free_port
from ..gateway.inside import CONFIG, Caller, Inside, inside_once
from ..gateway.sockets import upgrade
from ..gateway.spoken import ASKED, PATHS, SHAPE_AT, SHAPES, SPEECH
from ..gateway.test_life import until
from ..gateway.wire import ask, request
from ..scripted import Provider, Request, Steps, respond

NOWHERE = CONFIG.replace("UPSTREAM", "http://127.0.0.1:9")
KEYS = "\naccess_keys: [{key: here, allow_from: [127.0.0.0/8]}, {key: there, allow_from: [203.0.113.0/24]}, {key: all}]"
PROXY = "\ntrusted_proxies: [127.0.0.1]"
EVERYWHERE = [
    *(("POST", path) for path in PATHS.values()),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/v1/responses/compact"),
    ("GET", "/v1/responses"),
    ("GET", "/v1/responses/resp_1"),
    ("DELETE", "/v1/responses/resp_1"),
    ("POST", "/v1/responses/resp_1/cancel"),
    ("POST", "/v1/conversations"),
    ("GET", "/v1/conversations/conv_1/items"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/chat/m"),
    ("GET", "/"),
    ("GET", "/no/such/path"),
    ("POST", "/v1beta/messages"),
]


async def told(caller: Caller) -> tuple[int, dict[str, str], Any]:
    status, headers = await caller.head()
    body = await caller.body(headers)
    return status, headers, orjson.loads(body) if body.startswith(b"{") else body


async def status_of(gateway: Inside, path: str, method: str = "GET", **headers: str) -> int:
    async with gateway.call(request(path, b"{}" if method == "POST" else b"", method, **headers)) as caller:
        return (await told(caller))[0]


async def upgraded(gateway: Inside, **headers: str) -> int:
    """The status of an upgrade to a WebSocket."""
    async with gateway.call(upgrade(**headers)) as caller:
        return (await caller.head())[0]


# ---- addresses ----


@pytest.mark.parametrize(("method", "path"), EVERYWHERE)
@pytest.mark.parametrize("keys", ["", KEYS])
@inside_once
async def test_other_addresses_are_refused_everywhere(method: str, path: str, keys: str) -> None:
    """Before the body has come, with or without a key, whatever the caller says of itself."""
    async with Inside(NOWHERE + keys + "\nallow_from: [10.0.0.0/8, '::1']") as gateway:
        for headers in (
            {},
            {"authorization": "Bearer all"},
            {"x_forwarded_for": "10.0.0.1"},
            {"x_real_ip": "10.0.0.1", "forwarded": "for=10.0.0.1"},
        ):
            sent = request(path, b"x" * 5000, method, **headers)[:-100]
            async with gateway.call(sent) as caller:
                status, _, value = await told(caller)
            assert status == 403
            assert value["error"]["message"] == "This gateway does not serve your address."
            if path == PATHS["messages"]:
                assert value["error"]["type"] == "permission_error"
        for probe in ("/healthz", "/readyz"):
            assert await status_of(gateway, probe) == 200
        assert not gateway.gateway.bodies.held


@inside_once
async def test_websockets_are_refused_as_requests_are() -> None:
    async def status(gateway: Inside, key: str, **headers: str) -> int:
        return await upgraded(gateway, authorization=f"Bearer {key}", **headers)

    elsewhere = {"x_forwarded_for": "203.0.113.5"}
    async with Inside(NOWHERE + KEYS + PROXY) as gateway:
        assert [await status(gateway, key) for key in ("here", "there", "all", "wrong")] == [101, 403, 101, 401]
        assert [await status(gateway, key, **elsewhere) for key in ("here", "there", "all")] == [403, 101, 101]
        await gateway.until(lambda: not gateway.gateway.live.sockets)
    for allowed, expected in (("[10.0.0.0/8]", 403), ("[127.0.0.1]", 101)):
        async with Inside(NOWHERE + f"\nallow_from: {allowed}") as gateway:
            assert await status(gateway, "", **elsewhere) == expected
            refused = gateway.gateway.metrics.websocket_refused.labels("403")._value.get()
            assert refused == (expected == 403)
            await gateway.until(lambda: not gateway.gateway.live.sockets)
        async with Inside(NOWHERE.replace("address: 127.0.0.1}", f"address: 127.0.0.1, allow_from: {allowed}}}")) as gateway:
            assert await status(gateway, "") == expected
            await gateway.until(lambda: not gateway.gateway.live.sockets)


@inside_once
async def test_allowed_addresses_are_served() -> None:
    for allowed in ("[127.0.0.1]", "[10.0.0.0/8, 127.0.0.0/8]", "[0.0.0.0/0]", "['::ffff:127.0.0.1']"):
        with Provider([respond(SPEECH["chat"].whole)]) as provider:
            async with Inside(CONFIG + f"\nallow_from: {allowed}", provider) as gateway, gateway.ask("chat", "chat/m") as caller:
                assert (await told(caller))[0] == 200
    async with Inside(NOWHERE + "\nallow_from: ['::/0', 127.0.0.2]") as gateway:
        assert await status_of(gateway, "/v1/models") == 403


# X-Forwarded-For as a trusted proxy at 127.0.0.1 passes it on, and whether 203.0.113.0/24 is served
FORWARDED = [
    ("203.0.113.5", 200),
    ("203.0.113.5:4000", 200),
    ("198.51.100.1, 203.0.113.5", 200),
    ("203.0.113.5, 127.0.0.1", 200),
    ("203.0.113.5, 198.51.100.1", 403),  # the caller's own word, and what the proxy saw
    ("203.0.113.5, 198.51.100.1, 127.0.0.1", 403),
    ("198.51.100.1", 403),
    ("203.0.113.5, unknown", 403),
    ("203.0.113.5,", 403),
    ("unknown", 403),
    ("", 403),
    ("203.0.113.5 198.51.100.1", 403),
    ("203.0.113.5;198.51.100.1", 403),
    (",".join(["203.0.113.5"] + ["127.0.0.1"] * networks.HOPS), 403),
    (",".join(["127.0.0.1"] * 5000), 403),
    ("[" * 20_000, 403),
]


@pytest.mark.parametrize(("value", "status"), FORWARDED, ids=range(len(FORWARDED)))
@inside_once
async def test_a_trusted_proxy_is_believed(value: str, status: int) -> None:
    async with Inside(NOWHERE + PROXY + "\nallow_from: [203.0.113.0/24]") as gateway:
        assert await status_of(gateway, "/v1/models", x_forwarded_for=value) == status
    async with Inside(NOWHERE + "\ntrusted_proxies: [10.0.0.0/8]\nallow_from: [203.0.113.0/24]") as gateway:
        assert await status_of(gateway, "/v1/models", x_forwarded_for=value) == 403


@inside_once
async def test_the_last_of_several_lines_counts() -> None:
    async with Inside(NOWHERE + PROXY + "\nallow_from: [203.0.113.0/24]") as gateway:
        for first, last, status in (("203.0.113.5", "198.51.100.1", 403), ("198.51.100.1", "203.0.113.5", 200)):
            lines = f"X-Forwarded-For: {first}\r\nx-forwarded-for: {last}\r\n\r\n".encode()
            async with gateway.call(request("/v1/models", method="GET")[:-2] + lines) as caller:
                assert (await told(caller))[0] == status


@inside_once
async def test_a_listeners_own_list_counts() -> None:
    for own, all_of_them, status in (("[127.0.0.1]", "[10.0.0.0/8]", 200), ("[10.0.0.0/8]", "[127.0.0.1]", 403)):
        config = NOWHERE.replace("address: 127.0.0.1}", f"address: 127.0.0.1, allow_from: {own}}}")
        assert config != NOWHERE
        for more in ("", f"\nallow_from: {all_of_them}"):
            async with Inside(config + more) as gateway:
                assert await status_of(gateway, "/v1/models") == status


@pytest.mark.parametrize(("method", "path"), EVERYWHERE)
@inside_once
async def test_a_key_is_refused_elsewhere(method: str, path: str) -> None:
    ways: list[Callable[[str], dict[str, str]]] = [lambda key: {"authorization": f"Bearer {key}"}, lambda key: {"x_api_key": key}]
    async with Inside(NOWHERE + KEYS + PROXY) as gateway:
        for way in ways:
            elsewhere = {"x_forwarded_for": "203.0.113.5"}
            assert await status_of(gateway, path, method, **way("there")) == 403
            assert await status_of(gateway, path, method, **way("here"), **elsewhere) == 403
            for allowed in (way("here"), way("all"), way("there") | elsewhere, way("all") | elsewhere, way("wrong")):
                assert await status_of(gateway, path, method, **allowed) != 403
        assert gateway.idle


@inside_once
async def test_both_lists_must_have_it() -> None:
    async with Inside(NOWHERE + KEYS + "\nallow_from: [10.0.0.0/8]") as gateway:
        assert await status_of(gateway, "/v1/models", authorization="Bearer here") == 403
    async with Inside(NOWHERE + KEYS) as gateway:
        for header in ("203.0.113.5", "unknown"):
            assert await status_of(gateway, "/v1/models", authorization="Bearer there", x_forwarded_for=header) == 403


@inside_once
async def test_a_page_of_the_same_name_over_http_is_foreign_behind_https() -> None:
    page = {"origin": "http://localhost"}
    async with Inside(NOWHERE + PROXY) as gateway:
        assert await status_of(gateway, "/v1/models", **page) == 200
        assert await status_of(gateway, "/v1/models", x_forwarded_proto="https", **page) == 403
        assert await status_of(gateway, "/v1/models", x_forwarded_proto="https", origin="https://localhost") == 200
        assert await upgraded(gateway, host="localhost", **page) == 101
        assert await upgraded(gateway, host="localhost", x_forwarded_proto="https", **page) == 403
        assert await upgraded(gateway, host="localhost", x_forwarded_proto="https", origin="https://localhost") == 101
        await gateway.until(lambda: not gateway.gateway.live.sockets)
    async with Inside(NOWHERE) as gateway:
        assert await status_of(gateway, "/v1/models", x_forwarded_proto="https", **page) == 200


@inside_once
async def test_nothing_configured_costs_nothing() -> None:
    for more in ("", "\naccess_keys: [{key: k}]", "\ncors: {origins: []}", "\ncors: {max_age: 1h}"):
        async with Inside(NOWHERE + more) as gateway:
            assert gateway.gateway.services.gate is None
    for more in (KEYS, PROXY, "\nallow_from: ['::1']", "\ncors: {origins: ['http://a']}"):
        async with Inside(NOWHERE + more) as gateway:
            assert gateway.gateway.services.gate is not None


LISTENERS = """
listeners:
  - {type: model, address: 127.0.0.1, port: PORT, allow_from: [MODEL]}
  - {type: admin, address: 127.0.0.1, port: ADMIN}
model_providers: [{model: demo/*}]
trusted_proxies: [127.0.0.1]
allow_from: [ALL]
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_admin_listener_and_a_reload(start: Start, tmp_path: Path, workers: str) -> None:
    admin = free_port()
    text = LISTENERS.replace("ADMIN", str(admin))

    def asked(port: int, path: str, **headers: str) -> int:
        return ask(port, request(path, method="GET", **headers)).status

    gateway = start(text.replace("MODEL", "127.0.0.1").replace("ALL", "203.0.113.0/24"), "--workers", workers)
    assert asked(gateway.port, "/v1/models") == 200
    for path in ("/metrics", "/", "/explain?model=demo/echo", "/inspector/exchanges", "/no/such"):
        assert asked(admin, path) == 403
        assert asked(admin, path, x_forwarded_for="203.0.113.5, 198.51.100.1") == 403
        assert asked(admin, path, x_forwarded_for="203.0.113.5") in (200, 404)
    (file,) = tmp_path.glob("*.yaml")
    file.write_text(text.replace("MODEL", "10.0.0.0/8").replace("ALL", "127.0.0.1").replace("PORT", str(gateway.port)))
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: gateway.log().count("configuration reloaded") == (1 if workers == "1" else 3), 40)  # the admin listener's process too
    assert asked(gateway.port, "/v1/models") == 403
    assert asked(gateway.port, "/healthz") == 200
    assert asked(admin, "/metrics") == 200
    assert "takes effect at the next start" not in gateway.log()


@pytest.mark.parametrize(("more", "who"), [("", "anyone who"), ("\nallow_from: [10.0.0.0/8]", "anyone whom allow_from lists who")])
def test_start_says_who_is_let_in(caplog: pytest.LogCaptureFixture, more: str, who: str) -> None:
    announce(conf.loads("model_providers: [{model: demo/*}]" + more, environ={}))
    assert f"no access_keys: {who} can connect to 0.0.0.0:12000 is accepted" in caplog.text


# ---- origins ----

PAGE = "https://app.example"
CORS = f"\ncors: {{origins: ['{PAGE}', 'http://localhost:3000'], max_age: 5m}}"
ASKS = {"access_control_request_method": "POST", "access_control_request_headers": "authorization,content-type,x-stainless-os"}
FOREIGN = [
    "https://evil.example",
    f"{PAGE}.evil.example",
    f"{PAGE}:8443",
    "http://app.example",
    "http://localhost:3001",
    "null",
    "",
    f"{PAGE},{PAGE}",
]


def crossing(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize("keys", ["", KEYS])
@pytest.mark.parametrize("path", [path for _, path in EVERYWHERE])
@inside_once
async def test_a_preflight_is_answered_without_credentials(path: str, keys: str) -> None:
    async with Inside(NOWHERE + keys + CORS) as gateway:
        for origin in (PAGE, "HTTPS://App.Example", "http://localhost:3000"):
            async with gateway.call(request(path, method="OPTIONS", origin=origin, sec_fetch_site="cross-site", **ASKS) * 2) as caller:
                for _ in range(2):  # on one connection
                    status, headers = await caller.head()
                    assert status == 204
                    assert crossing(headers) == {
                        "access-control-allow-origin": origin,
                        "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
                        "access-control-allow-headers": ASKS["access_control_request_headers"],
                        "access-control-max-age": "300",
                    }
                    assert headers["vary"] == "Origin"
                    assert "content-length" not in headers
        for origin in FOREIGN:
            async with gateway.call(request(path, method="OPTIONS", origin=origin, **ASKS)) as caller:
                status, headers, _ = await told(caller)
            assert status >= 400
            assert not crossing(headers)
        async with gateway.call(request(path, method="OPTIONS", **ASKS)) as caller:
            status, headers, _ = await told(caller)
        assert status >= 400
        assert not crossing(headers)
        assert gateway.idle


@inside_once
async def test_without_cors_a_preflight_is_refused() -> None:
    for keys in ("", KEYS):
        async with Inside(NOWHERE + keys) as gateway, gateway.call(request(PATHS["chat"], method="OPTIONS", origin=PAGE, **ASKS)) as caller:
            status, headers, _ = await told(caller)
        assert status in (403, 405)
        assert not crossing(headers)
        assert "vary" not in headers


def answering(asked: Request) -> Steps:
    """An upstream that says of itself who may read it."""
    return [respond(SPEECH[SHAPE_AT[asked.target]].whole, access_control_allow_origin="https://evil.example", vary="Cookie")]


@pytest.mark.parametrize("keys", ["", KEYS])
@inside_once
async def test_answers_and_errors_can_be_read_by_listed_pages_alone(keys: str) -> None:
    key = {"authorization": "Bearer all"} if keys else {}
    page = {"sec_fetch_site": "cross-site", **key}
    async with Provider(answering) as provider, Inside(CONFIG + keys + CORS + "\nlimits: {max_body: 1kB}", provider) as gateway:
        for shape in SHAPES:
            body = orjson.dumps({"model": f"{shape}/m", **ASKED[shape]})
            for path, sent, more, expected in [
                (PATHS[shape], body, {}, 200),
                (PATHS[shape], b"{", {}, 400),
                (PATHS[shape], b"x" * 2000, {}, 413),
                (PATHS[shape], b"x" * 20, {"content_encoding": "br"}, 415),
                (PATHS[shape], b'{"model": "nobody"}', {}, 404),
                ("/no/such", b"", {}, 404),
                *([(PATHS[shape], body, {"authorization": "Bearer wrong"}, 401)] if keys else []),
            ]:
                async with gateway.call(request(path, sent, origin=PAGE, **(page | more))) as caller:
                    status, headers, value = await told(caller)
                assert status == expected, value
                assert crossing(headers) == {"access-control-allow-origin": PAGE, "access-control-expose-headers": "*"}
                assert headers["vary"] == "Origin"
            before = len(provider.requests)
            for origin in FOREIGN:
                async with gateway.call(request(PATHS[shape], body, origin=origin, **page)) as caller:
                    status, headers, _ = await told(caller)
                assert status == (200 if keys else 403)  # a program with a key may send what it likes
                assert not crossing(headers)
            assert keys or len(provider.requests) == before


@inside_once
async def test_a_stream_can_be_read_by_a_listed_page() -> None:
    async with Inside("listeners: [{type: model, address: 127.0.0.1}]\nmodel_providers: [{model: demo/*}]" + CORS) as gateway:
        for shape in SHAPES:
            body = {"model": "demo/echo", **ASKED[shape], "stream": True}
            async with gateway.call(request(PATHS[shape], body, origin=PAGE, sec_fetch_site="cross-site")) as caller:
                status, headers = await caller.head()
                assert (status, headers["access-control-allow-origin"]) == (200, PAGE)
                assert headers["content-type"].startswith("text/event-stream")


@inside_once
async def test_every_page_where_there_are_keys() -> None:
    async with Inside(NOWHERE + KEYS + "\ncors: {origins: ['*']}") as gateway:
        for origin in ("https://any.example", "null"):
            async with gateway.call(request("/v1/models", method="GET", origin=origin, authorization="Bearer all")) as caller:
                status, headers, _ = await told(caller)
            assert (status, headers["access-control-allow-origin"]) == (200, "*")
            assert "vary" not in headers
            async with gateway.call(request("/v1/models", method="GET", origin=origin)) as caller:
                assert (await told(caller))[0] == 401


@inside_once
async def test_a_listed_page_needs_an_address_and_a_host_all_the_same() -> None:
    async with Inside(NOWHERE + CORS + "\nallow_from: [10.0.0.0/8]") as gateway:
        for method in ("OPTIONS", "GET"):
            assert await status_of(gateway, "/v1/models", method, origin=PAGE, **ASKS) == 403
    async with Inside(NOWHERE + CORS) as gateway:
        for method in ("OPTIONS", "GET"):
            sent = request("/v1/models", method=method, origin=PAGE, **ASKS).replace(b"Host: localhost", b"Host: evil.example")
            async with gateway.call(sent) as caller:
                assert (await told(caller))[0] == 403


@inside_once
async def test_a_preflight_breaks_nothing_of_what_is_sent_behind_it() -> None:
    """A body of its own is read and dropped; odd names of headers are not repeated."""
    odd = ASKS | {"access_control_request_headers": "x: y, <script>"}
    async with Inside(NOWHERE + CORS) as gateway:
        async with gateway.call(request("/v1/models", b"x" * 100, "OPTIONS", origin=PAGE, **odd)) as caller:
            status, headers = await caller.head()
            assert (status, "access-control-allow-headers" in headers) == (204, False)
        await gateway.until(lambda: gateway.idle and not gateway.gateway.bodies.held)
