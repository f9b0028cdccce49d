"""Which requests are a web page's, by their headers alone."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPHeaders

from dragoman.codecs import errors
from dragoman.proxy.wire.pages import Hosts, check

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
