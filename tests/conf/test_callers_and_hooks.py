"""The sections of callers with tokens and of hooks: forms, mistakes, and the way to what stands in no entry."""

from __future__ import annotations

import pytest

from dragoman import conf
from dragoman.conf import egress
from dragoman.conf.model import Claims, Hook, Jwt, Proxy

BASE = "model_providers: [{model: demo/*}]\n"


def load(text: str, **environ: str) -> conf.Config:
    return conf.loads(BASE + text, environ=environ)


JWTS = [
    ("{issuer: https://a.example/, audience: d}", Jwt("https://a.example/", ("d",))),
    ("{issuer: $ISSUER, audience: [d, e]}", Jwt("https://b.example", ("d", "e"))),
    (
        "{issuer: https://a.example, audience: d, jwks_url: 'https://a.example/keys?v=2', claims: {name: email, team: a.b, models: m}}",
        Jwt("https://a.example", ("d",), "https://a.example/keys?v=2", Claims("email", "a.b", "sub", "m")),
    ),
]


@pytest.mark.parametrize(("text", "expected"), JWTS)
def test_jwt(text: str, expected: Jwt) -> None:
    assert load(f"jwt: {text}", ISSUER="https://b.example").jwt == expected


HOOKS = [
    ("{url: http://h/x, on: request}", Hook("http://h/x", ("request",))),
    ("{url: 'http://h/x?key=$KEY', on: [answer]}", Hook("http://h/x?key=k", ("answer",))),
    (
        "{url: https://h, on: [request, answer], timeout: 500ms, fail: closed, content: true, headers: {x-key: $KEY}}",
        Hook("https://h", ("request", "answer"), 0.5, "closed", (("x-key", "k"),), True),
    ),
]


@pytest.mark.parametrize(("text", "expected"), HOOKS)
def test_hooks(text: str, expected: Hook) -> None:
    assert load(f"hooks: [{text}]", KEY="k").hooks == (expected,)
    assert "key=k" not in repr(load(f"hooks: [{text}]", KEY="k"))


WRONG = [
    ("hooks: [{on: request}]", "hooks[0].url: is missing"),
    ("hooks: [{url: http://h}]", "hooks[0].on: is missing"),
    ("hooks: [{url: http://h, on: question}]", "must be one of request, answer"),
    ("hooks: [{url: http://h, on: request, fail: shut}]", "hooks[0].fail: must be one of open, closed"),
    ("hooks: [{url: h, on: request}]", "hooks[0].url: must begin with http:// or https://"),
    ("jwt: {audience: d}", "jwt.issuer: is missing"),
    ("jwt: {issuer: https://a.example}", "jwt.audience: is missing"),
    ("jwt: {issuer: https://a.example, audience: []}", "jwt.audience: must not be empty"),
    ("jwt: {issuer: login, audience: d}", "jwt.issuer: must begin with http:// or https://"),
    ("jwt: {issuer: https://a.example, audience: d, jwks_url: 'https://a.example/k#x'}", "jwt.jwks_url: must not contain a #"),
    ("jwt: {issuer: 'https://u:p@a.example', audience: d}", "jwt.issuer: must not contain a user name or password\n"),
    ("hooks: [{url: 'http://u:p@h?x=1', on: request}]", "hooks[0].url: must not contain a user name or password: use headers\n"),
    ("jwt: {issuer: https://a.example, audience: d, claim: {}}", "jwt.claim: unknown key; the nearest known one is claims"),
    ("jwt: {issuer: https://a.example, audience: d, claims: {name: [a]}}", "jwt.claims.name: must be text"),
]


@pytest.mark.parametrize(("text", "problem"), WRONG)
def test_mistakes(text: str, problem: str) -> None:
    with pytest.raises(conf.ConfigError) as caught:
        load(text)
    assert problem in f"{caught.value}\n"


WAYS = [  # of the section, the environment, and an address: by which proxy it is reached
    ("{}", {}, "https://a.example/keys", None),
    ("{}", {"HTTPS_PROXY": "http://p:1"}, "https://a.example/keys", Proxy("p", 1)),
    ("{}", {"HTTPS_PROXY": "http://p:1"}, "http://a.example/keys", None),
    ("{proxy: none}", {"HTTPS_PROXY": "http://p:1"}, "https://a.example/keys", None),
    ("{proxy: 'http://q:2'}", {"HTTPS_PROXY": "http://p:1"}, "https://a.example/keys", Proxy("q", 2)),
    ("{proxy: 'http://q:2', no_proxy: [.example]}", {}, "https://a.example/keys", None),
    ("{proxy: 'http://q:2'}", {"NO_PROXY": "a.example"}, "https://a.example/keys", None),
    ("{proxy: 'http://q:2'}", {}, "http://127.0.0.1:9/keys", None),
]


@pytest.mark.parametrize(("section", "environ", "url", "proxy"), WAYS)
def test_the_way_to_what_stands_in_no_entry(section: str, environ: dict[str, str], url: str, proxy: Proxy | None) -> None:
    config = load(f"egress: {section}\njwt: {{issuer: https://a.example, audience: d}}", **environ)
    assert egress.proxy_of(config.egress, url) == proxy


def test_a_proxy_of_the_environment_that_is_none() -> None:
    with pytest.raises(conf.ConfigError) as caught:
        load("jwt: {issuer: https://a.example, audience: d}", HTTPS_PROXY="socks5://p:1")
    assert "egress.proxy" in str(caught.value)
    assert "HTTPS_PROXY" in str(caught.value)
    assert load("", HTTPS_PROXY="socks5://p:1")  # nothing is reached by it
