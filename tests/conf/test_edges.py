"""`trusted_proxies`, `allow_from` and `cors` in a file."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from dragoman import conf

BASE = "model_providers: [{model: demo/*}]\n"
KEYED = BASE + "access_keys: [{key: k}]\n"


def problems(text: str) -> list[str]:
    with pytest.raises(conf.ConfigError) as caught:
        conf.loads(text, "c.yaml", {})
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def test_what_arrives() -> None:
    config = conf.loads(
        """
        model_providers: [{model: demo/*}]
        listeners: [{type: model, allow_from: [10.1.0.0/16]}, {type: admin, allow_from: ["::1", 127.0.0.1]}]
        access_keys: [{key: k, allow_from: ["2001:db8::/32"]}, {key: l}]
        trusted_proxies: [$PROXY, 10.0.0.0/8]
        allow_from: [192.168.0.0/16]
        cors: {origins: ["https://App.example.com/", "http://localhost:3000"], max_age: 1h}
        """,
        "c.yaml",
        {"PROXY": "10.9.9.9"},
    )
    assert [listener.allow_from for listener in config.listeners] == [
        (ip_network("10.1.0.0/16"),),
        (ip_network("::1"), ip_network("127.0.0.1")),
    ]
    assert [key.allow_from for key in config.access_keys] == [(ip_network("2001:db8::/32"),), ()]
    assert config.trusted_proxies == (ip_network("10.9.9.9/32"), ip_network("10.0.0.0/8"))
    assert config.allow_from == (ip_network("192.168.0.0/16"),)
    assert (config.cors.origins, config.cors.max_age) == (("https://app.example.com", "http://localhost:3000"), 3600)
    assert config.warnings == ()


def test_without_them() -> None:
    config = conf.loads(BASE, "c.yaml", {})
    assert (config.trusted_proxies, config.allow_from, config.cors.origins, config.cors.max_age) == ((), (), (), 600)
    assert config.listeners[0].allow_from == ()


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://APP.Example.com/", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("http://localhost:03000", "http://localhost:3000"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("app://obsidian.md", "app://obsidian.md"),
        ("*", "*"),
    ],
)
def test_origins(written: str, origin: str) -> None:
    assert conf.loads(KEYED + f"cors: {{origins: ['{written}']}}", "c.yaml", {}).cors.origins == (origin,)


@pytest.mark.parametrize(
    "written",
    [
        *("app.example.com", "https://", "https://app.example.com/path", "https://*.example.com", "https://a b", "//x", "://x", "https:/x"),
        *("https://user@app.example.com", "https://app.example.com:port", "https://app.example.com?x", "https://a,https://b", "file://"),
        *("https://bücher.example", "https://a:123456", "https://[::1", "ht tp://x"),
    ],
)
def test_wrong_origins(written: str) -> None:
    (problem,) = problems(KEYED + f"cors: {{origins: ['{written}']}}")
    assert problem.startswith("cors.origins[0]: must be an origin such as https://")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("trusted_proxies: [10.0.0.1/8]", "trusted_proxies[0]: must be a network such as 10.0.0.0/8 or 2001:db8::/32, or an address: the"),
        ("allow_from: [10.0.0.0/8, example.com]", "allow_from[1]: must be a network such as"),
        ("allow_from: [10.0.0.0/33]", "allow_from[0]: must be a network such as"),
        ("allow_from: [10]", "allow_from[0]: must be text"),
        ("allow_from: 10.0.0.0/8", "allow_from: must be a list"),
        ("allow_from: []", "allow_from: must not be empty: remove it to allow every address"),
        ("listeners: [{type: model, allow_from: []}]", "listeners[0].allow_from: must not be empty"),
        ("access_keys: [{key: k, allow_from: []}]", "access_keys[0].allow_from: must not be empty"),
        ("access_keys: [{key: k, allow_from: [x]}]", "access_keys[0].allow_from[0]: must be a network such as"),
        ("cors: {origins: ['null']}", "cors.origins[0]: cannot be listed: any page can make this its origin"),
        ("cors: {origins: ['https://a.example', '*']}", "cors.origins[1]: lets every web page use the gateway: list the origins, or"),
        ("cors: {origin: ['*']}", "cors.origin: unknown key; the nearest known one is origins"),
        ("cors: {max_age: never}", "cors.max_age: must be a time such as"),
        ("trusted_proxy: [10.0.0.0/8]", "trusted_proxy: unknown key; the nearest known one is trusted_proxies"),
    ],
)
def test_problems(text: str, problem: str) -> None:
    (found,) = problems(BASE + text)
    assert found.startswith(problem)


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_to_trust_everybody_is_warned_of(network: str) -> None:
    (warning,) = conf.loads(BASE + f"trusted_proxies: ['{network}']", "c.yaml", {}).warnings
    assert warning.startswith("c.yaml:2:19: trusted_proxies[0]: trusts every address")
