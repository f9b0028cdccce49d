"""Where a request comes from: networks, and what proxies say."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from tornado.httputil import HTTPHeaders

from dragoman.proxy.wire.networks import HOPS, Networks, address, source

SOME = Networks(map(ip_network, ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::ffff:198.51.100.0/120", "fe80::/10"]))


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("9.255.255.255", False),
        ("192.0.2.7", True),
        ("192.0.2.6", False),
        ("192.0.2.8", False),
        ("::ffff:10.1.2.3", True),  # on an IPv6 socket
        ("::ffff:a01:203", True),
        ("::10.1.2.3", False),  # another address
        ("198.51.100.9", True),
        ("198.51.101.9", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("fe80::1%eth0", True),
        ("a00::", False),  # the first bits of 10.0.0.0
    ],
)
def test_networks(text: str, has: bool) -> None:
    assert (address(text) in SOME) == has


def test_everything_and_nothing() -> None:
    for text, other in (("0.0.0.0/0", "::/0"), ("::/0", "0.0.0.0/0")):
        one = ip_network(text).network_address
        assert one in Networks([ip_network(text)])
        assert one not in Networks([ip_network(other)])
        assert one not in Networks()
    assert None not in Networks([ip_network("0.0.0.0/0"), ip_network("::/0")])
    assert not Networks()
    assert SOME


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1\t", "192.0.2.1"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("[2001:db8::1]:8080", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("192.0.2", None),
        ("192.0.2.1.5", None),
        ("192.0.2.01", None),
        ("3221225985", None),
        ("0xc0000201", None),
        ("192.0.2.1/32", None),
        ("for=192.0.2.1", None),
        ("[192.0.2.1", "192.0.2.1"),
        ("1" * 60_000, None),
        (":" * 60_000, None),
        ("[" * 60_000, None),
        ("\xb9.1.1.1", None),
    ],
)
def test_addresses(text: str, found: str | None) -> None:
    assert address(text) == (None if found is None else ip_address(found))


TRUSTED = Networks(map(ip_network, ["10.0.0.0/8", "::1"]))
CALLER = "203.0.113.5"
# the other side of the connection, X-Forwarded-For, and the caller
TOLD: list[tuple[str, list[str], str | None]] = [
    (CALLER, [], CALLER),
    (CALLER, ["192.168.0.1"], CALLER),  # nobody's word but its own
    (CALLER, ["10.0.0.1"], CALLER),
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", [""], "10.0.0.1"),
    ("10.0.0.1", [CALLER], CALLER),
    ("::1", [CALLER], CALLER),
    ("::ffff:10.0.0.1", [CALLER], CALLER),
    ("10.0.0.1", [f"127.0.0.1, {CALLER}"], CALLER),  # what the caller sent stands to the left
    ("10.0.0.1", [f"192.168.0.1, 10.0.0.9, {CALLER}"], CALLER),
    ("10.0.0.1", ["127.0.0.1", CALLER], CALLER),  # two lines
    ("10.0.0.1", [CALLER, "10.0.0.2"], CALLER),  # two proxies
    ("10.0.0.1", [f"127.0.0.1,{CALLER},10.0.0.3 ,\t10.0.0.2"], CALLER),
    ("10.0.0.1", [f"{CALLER}:4711"], CALLER),
    ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),  # a proxy's own request
    ("10.0.0.1", ["unknown"], None),
    ("10.0.0.1", [f"{CALLER}, unknown"], None),
    ("10.0.0.1", [f"{CALLER},"], None),
    ("10.0.0.1", [f"{CALLER}, x, 10.0.0.2"], None),
    ("10.0.0.1", [",".join([CALLER, *["10.0.0.2"] * (HOPS - 1)])], CALLER),
    ("10.0.0.1", [",".join([CALLER, *["10.0.0.2"] * HOPS])], None),
    ("10.0.0.1", [",".join(["10.0.0.2"] * 7000)], None),
]


@pytest.mark.parametrize(("peer", "told", "caller"), TOLD, ids=range(len(TOLD)))
def test_the_caller_behind_proxies(peer: str, told: list[str], caller: str | None) -> None:
    headers = HTTPHeaders()
    for value in told:
        headers.add("X-Forwarded-For", value)
    assert source(peer, headers, TRUSTED).address == (None if caller is None else ip_address(caller))


@pytest.mark.parametrize(
    ("peer", "told", "secure"),
    [
        ("10.0.0.1", "https", True),
        ("10.0.0.1", "HTTPS ", True),
        ("10.0.0.1", "http, https", True),
        ("10.0.0.1", "https, http", False),
        ("10.0.0.1", "http", False),
        ("10.0.0.1", "", False),
        (CALLER, "https", False),
    ],
)
def test_the_scheme_behind_proxies(peer: str, told: str, secure: bool) -> None:
    for more in ({}, {"X-Forwarded-For": CALLER}, {"X-Forwarded-For": "unknown"}):
        assert source(peer, HTTPHeaders({"X-Forwarded-Proto": told, **more}), TRUSTED).secure == secure
