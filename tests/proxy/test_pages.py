"""Which requests are a web page's, by their headers alone."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPHeaders

from dragoman.codecs import errors
from dragoman.handlers.openapi import methods
from dragoman.proxy.app import routes
from dragoman.proxy.wire.pages import Cors, Hosts, Origins, check

OURS = Hosts(["gateway.example", "Other.Example."])


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:12000", True),
        ("127.1.2.3:1", True),
        ("10.0.0.7:12000", True),  # an address cannot be made to lead elsewhere
        ("[::1]:12000", True),
        ("[fe80::1]", True),
        ("2130706433", True),
        ("localhost", True),
        ("LOCALHOST.:80", True),
        ("a.localhost:12000", True),
        ("host.docker.internal:12000", True),
        ("", True),  # no browser sends it
        ("gateway.example", True),
        ("GATEWAY.example.:443", True),
        ("other.example", True),
        ("evil.example", False),
        ("evil.example:12000", False),
        ("localhost.evil.example", False),
        ("gateway.example.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil-localhost", False),
        ("x@evil.example", False),
        ("[", False),
        ("[::1", False),
        ("a" * 5000, False),
    ],
)
def test_hosts(host: str, answered: bool) -> None:
    assert OURS.has(host) == answered


JSON = {"Content-Type": "application/json", "Content-Length": "2"}
OWN = {"Host": "localhost:12000", "Origin": "http://localhost:12000"}
# headers, and the status of the refusal
CHECKED: list[tuple[str, dict[str, str], int | None]] = [
    ("POST", {}, None),
    ("POST", {"Host": "localhost:12000"} | JSON, None),
    ("POST", {"Host": "localhost:12000", "Content-Type": "text/plain", "Content-Length": "2"}, None),  # a program's
    ("POST", {"Host": "localhost:12000", "Sec-Fetch-Mode": "cors"} | JSON, None),  # Node's fetch
    ("GET", {"Host": "localhost:12000", "Sec-Fetch-Site": "none"}, None),
    ("GET", {"Host": "localhost:12000", "Sec-Fetch-Site": "same-origin"}, None),
    ("POST", OWN | JSON, None),
    ("POST", OWN | JSON | {"Content-Type": "Application/JSON; charset=utf-8"}, None),
    ("POST", OWN | JSON | {"Content-Type": "application/vnd.api+json"}, None),
    ("POST", OWN, None),  # without a body
    ("POST", {"Host": "LOCALHOST:12000", "Origin": "http://localhost:12000"} | JSON, None),
    ("POST", OWN | JSON | {"Content-Type": "text/plain"}, 415),
    ("POST", OWN | {"Content-Length": "2"}, 415),
    ("POST", OWN | {"Transfer-Encoding": "chunked", "Content-Type": "text/plain;a=application/json"}, 415),
    ("POST", OWN | JSON | {"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ("POST", OWN | JSON | {"Origin": "http://evil.example"}, 403),
    ("POST", OWN | JSON | {"Origin": "http://localhost:3000"}, 403),
    ("POST", OWN | JSON | {"Origin": "http://localhost"}, 403),
    ("POST", OWN | JSON | {"Origin": "null"}, 403),
    ("POST", OWN | JSON | {"Origin": ""}, 403),
    ("POST", {"Origin": "http://evil.example"}, 403),
    ("GET", OWN | {"Origin": "http://evil.example"}, 403),
    ("OPTIONS", OWN | {"Origin": "http://evil.example"}, 403),
    ("DELETE", OWN | {"Origin": "http://evil.example"}, 403),
    ("GET", {"Host": "localhost:12000", "Sec-Fetch-Site": "cross-site"}, 403),
    ("POST", OWN | JSON | {"Sec-Fetch-Site": "cross-site"}, 403),
    ("POST", {"Host": "evil.example:12000", "Origin": "http://evil.example:12000"} | JSON, 403),
    ("GET", {"Host": "evil.example:12000"}, 403),
]


@pytest.mark.parametrize(("method", "headers", "status"), CHECKED)
def test_requests(method: str, headers: dict[str, str], status: int | None) -> None:
    if status is None:
        check(method, HTTPHeaders(headers), OURS)
        return
    with pytest.raises(errors.ClientFault) as refusal:
        check(method, HTTPHeaders(headers), OURS)
    assert refusal.value.http_status("chat") == status


def test_where_no_names_are_known_any_host_is_one() -> None:
    check("POST", HTTPHeaders({"Host": "any.example", "Origin": "https://any.example"} | JSON), None)


# ---- origins that are listed ----

LISTED = Origins(["https://app.example", "http://localhost:3000"], 600.0)
ASKS = {"Access-Control-Request-Method": "POST"}
# the origin, and whether it is listed
JUDGED: list[tuple[str, bool]] = [
    ("https://app.example", True),
    ("HTTPS://App.Example", True),
    ("http://localhost:3000", True),
    ("http://app.example", False),
    ("https://app.example:443", False),  # no browser writes it
    ("https://app.example:8443", False),
    ("https://app.example/", False),
    ("https://app.example.evil.example", False),
    ("https://evil.example/https://app.example", False),
    ("https://evilapp.example", False),
    ("https://app.example@evil.example", False),
    ("https://app.example,https://evil.example", False),
    ("http://localhost", False),
    ("http://localhost:30000", False),
    ("null", False),
    ("", False),
    ("*", False),
    ("https://app.example\0", False),
    ("x" * 60_000, False),
]


@pytest.mark.parametrize(("origin", "listed"), JUDGED, ids=range(len(JUDGED)))
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_only_listed_origins_are_told_that_they_may(method: str, origin: str, listed: bool) -> None:
    for headers in ({}, ASKS):
        found = LISTED.judge(method, HTTPHeaders({"Origin": origin, **headers}))
        assert found.listed == listed
        assert found.preflight == (listed and method == "OPTIONS" and bool(headers))
        assert found.headers.get("Access-Control-Allow-Origin") == (origin if listed else None)
        assert found.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in found.headers
        if not listed:
            assert list(found.headers) == ["Vary"]


def test_two_origins_are_none() -> None:
    headers = HTTPHeaders()
    for _ in range(2):
        headers.add("Origin", "https://app.example")
    assert not LISTED.judge("POST", headers).listed


@pytest.mark.parametrize("origin", ["https://any.example", "null", "chrome-extension://x"])
def test_any_origin(origin: str) -> None:
    found = Origins(["*"], 60.0).judge("OPTIONS", HTTPHeaders({"Origin": origin, **ASKS}))
    assert (found.listed, found.preflight) == (True, True)
    assert found.headers["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in found.headers
    assert Origins(["*"], 60.0).judge("GET", HTTPHeaders()) == Cors({})


def test_a_preflights_answer() -> None:
    asked = "authorization, content-type, x-api-key,anthropic-version, x-stainless-os"
    found = LISTED.judge("OPTIONS", HTTPHeaders({"Origin": "https://app.example", "Access-Control-Request-Headers": asked, **ASKS}))
    assert found.headers == {
        "Access-Control-Allow-Origin": "https://app.example",
        "Vary": "Origin",
        "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
        "Access-Control-Max-Age": "600",
        "Access-Control-Allow-Headers": asked,
    }
    for odd in ("", "a: b", 'x"', "a\tb", "\xe9", "a;b", "x" * 4097):
        found = LISTED.judge("OPTIONS", HTTPHeaders({"Origin": "https://app.example", "Access-Control-Request-Headers": odd, **ASKS}))
        assert "Access-Control-Allow-Headers" not in found.headers


def test_a_preflight_allows_every_method_that_is_served() -> None:
    found = LISTED.judge("OPTIONS", HTTPHeaders({"Origin": "https://app.example", **ASKS}))
    served = {method.upper() for route in routes() for method in methods(route.handler)}
    assert served <= set(found.headers["Access-Control-Allow-Methods"].split(", "))


def test_nothing_is_listed_where_nothing_is_configured() -> None:
    for origin in ("https://app.example", "null", "*", ""):
        assert Origins([], 600.0).judge("POST", HTTPHeaders({"Origin": origin})) == Cors({})


def test_what_a_listed_page_may() -> None:
    """All that a program may, but for the Host: a page whose name was made to lead here has an origin of its own."""
    page = {"Host": "localhost:12000", "Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
        check("POST", HTTPHeaders(page | JSON | {"Content-Type": kind}), OURS, listed=True)
    for headers in (page | JSON, {"Sec-Fetch-Site": "cross-site"}):
        with pytest.raises(errors.Forbidden):
            check("POST", HTTPHeaders(headers), OURS)
    with pytest.raises(errors.Forbidden):
        check("POST", HTTPHeaders(page | JSON | {"Host": "evil.example"}), OURS, listed=True)


@pytest.mark.parametrize(
    ("scheme", "secure", "allowed"), [("http", False, True), ("https", True, True), ("https", False, True), ("http", True, False)]
)
def test_a_page_that_came_over_http_is_of_another_origin(scheme: str, secure: bool, allowed: bool) -> None:
    headers = HTTPHeaders({"Host": "gateway.example", "Origin": f"{scheme}://gateway.example"} | JSON)
    if allowed:
        check("POST", headers, OURS, secure=secure)
    else:
        with pytest.raises(errors.Forbidden):
            check("POST", headers, OURS, secure=secure)
